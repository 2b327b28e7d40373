package schedule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

// ErrEnded is what Cancel says of a task that has ended, and Retry of one that
// is complete.
var ErrEnded = errors.New("the task has ended")

// ErrNoTask means that there is no row with this id.
var ErrNoTask = errors.New("there is no such task")

// Cancelled is the data of a task that a person has cancelled. 409: the target
// is not to be given up for it.
const Cancelled = "(409, 'cancelled')"

const cancelSQL = `
UPDATE scrape_request_log
SET status = 'PROCESSING', run_at = NULL, resume = NULL, waits_for = NULL,
    fence = nextval('beat_fence_seq'),
    picked_at = coalesce(picked_at, now() AT TIME ZONE 'UTC'),
    lease_owner = 'cancelled', lease_until = now() AT TIME ZONE 'UTC' + interval '1 minute'
WHERE id = $1 AND status IN ('PENDING', 'PROCESSING')
RETURNING fence, coalesce(flow, ''), coalesce(platform, '')`

// Cancel ends a waiting or running task as FAILED, by the way that every run
// ends, under a fence of its own: from now on nothing that its run says counts.
// What the run had already stored stays.
// Killed before send, a waiting task is waiting again a minute later.
func (q *Queue) Cancel(ctx context.Context, send Sender, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := social.TaskRef{ID: id}
	var platform string
	err := q.db.QueryRow(ctx, cancelSQL, id).Scan(&t.Fence, &t.Flow, &platform)
	if errors.Is(err, pgx.ErrNoRows) {
		return q.absent(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("cancel task %d: %w", id, err)
	}
	t.Platform = social.Platform(platform)
	o, err := FailedRun(t, 0, social.Raw{ID: social.ID("cancelled", t.ID, t.Fence), At: time.Now().UTC().Truncate(time.Microsecond)}, Cancelled)
	if err != nil {
		return err
	}
	if err := send.Send(ctx, o); err != nil {
		return fmt.Errorf("cancel task %d: %w", id, err)
	}
	return nil
}

const retrySQL = `
UPDATE scrape_request_log
SET status = 'PENDING', run_at = NULL, resume = NULL, waits_for = NULL, data = NULL, scraped_at = NULL, fence = NULL,
    join_key = NULL, lease_owner = NULL, lease_until = NULL, retry_count = coalesce(retry_count, 0) + 1,
    expires_at = now() AT TIME ZONE 'UTC' + $2::interval
WHERE id = $1 AND (status <> 'COMPLETE' OR $3)
RETURNING id`

// Retry makes a task wait again, from its beginning: a failed one, a running
// one, whose run is refused from now on, and with complete also one that is
// COMPLETE.
func (q *Queue) Retry(ctx context.Context, id int64, complete bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := q.db.QueryRow(ctx, retrySQL, id, expires, complete).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return q.absent(ctx, id)
	}
	if err != nil {
		return fmt.Errorf("retry task %d: %w", id, err)
	}
	// Only an insert wakes the schedulers by itself.
	if _, err := q.db.Exec(ctx, `SELECT pg_notify('beat_task', '')`); err != nil {
		return fmt.Errorf("retry task %d: %w", id, err)
	}
	return nil
}

// absent says why a task was not found in the wanted state.
func (q *Queue) absent(ctx context.Context, id int64) error {
	var status string
	err := q.db.QueryRow(ctx, `SELECT coalesce(status, '') FROM scrape_request_log WHERE id = $1`, id).Scan(&status)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("task %d: %w", id, ErrNoTask)
	case err != nil:
		return fmt.Errorf("task %d: %w", id, err)
	}
	return fmt.Errorf("task %d is %s: %w", id, status, ErrEnded)
}
