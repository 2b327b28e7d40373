package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/event"
	"beat/streams/social"
)

// An Update is what a client says has become of a task, whatever we know of it
// (contract/http.md 3.11).
type Update struct {
	ID         int64
	Status     string // Pending, Complete or Failed: only a claim makes a task Processing
	RetryCount int

	// As the client has them. The row keeps its own; these are told.
	Flow     string
	Platform social.Platform
	Params   json.RawMessage
}

// The fence is new, so that nothing that a run of before has left in the streams
// counts. The join key is given up: once the task has ended, another may have
// taken it.
const updateSQL = `
UPDATE scrape_request_log
SET status = $2, retry_count = $3, fence = nextval('beat_fence_seq'), join_key = NULL, lease_owner = NULL, lease_until = NULL,
    run_at = NULL, resume = NULL, waits_for = NULL, announced = CASE WHEN announced IS NOT NULL THEN true END,
    data = CASE WHEN $2 = 'PENDING' THEN NULL ELSE data END,
    scraped_at = CASE WHEN $2 = 'PENDING' THEN NULL ELSE scraped_at END,
    expires_at = CASE WHEN $2 = 'PENDING' THEN now() AT TIME ZONE 'UTC' + $4::interval ELSE expires_at END
WHERE id = $1
RETURNING fence, priority, picked_at, expires_at`

// Update sets the status and the retry count of a task and tells it. A task that
// becomes Pending will run again from its beginning. The error wraps ErrNoTask
// when there is no such row.
//
// The event is sent before the row is committed: killed in between it was told
// and is not so, and the client, who got no answer, says it again.
func (q *Queue) Update(ctx context.Context, send Sender, u Update) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		e := event.Task{ID: u.ID, Flow: u.Flow, Platform: u.Platform, Params: u.Params, Status: u.Status,
			At: time.Now().UTC().Truncate(time.Microsecond), RetryCount: &u.RetryCount}
		err := tx.QueryRow(ctx, updateSQL, u.ID, u.Status, u.RetryCount, expires).Scan(&e.Fence, &e.Priority, &e.PickedAt, &e.ExpiresAt)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoTask
		}
		if err != nil {
			return err
		}
		e.EventID = event.ID("update", e.ID, e.Fence, e.Status) // each is a fact of its own, also the second PENDING
		if u.Status == social.Pending {                         // only an insert wakes the schedulers by itself
			if _, err := tx.Exec(ctx, `SELECT pg_notify('beat_task', '')`); err != nil {
				return err
			}
		}
		return send.Send(ctx, TaskEventOut(e))
	})
	if err != nil {
		return fmt.Errorf("update task %d: %w", u.ID, err)
	}
	return nil
}
