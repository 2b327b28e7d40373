package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/bus"
	"beat/streams/social"
)

// A Reopened says what became of Reopen.
type Reopened struct {
	OK     bool
	Task   Task   // the new run; zero unless OK
	Status string // of the row before; "" when there is no such row
}

// Event is the PROCESSING event of the run.
func (r Reopened) Event() bus.Out {
	return taskEvent(r.Task, social.Processing, r.Task.PickedAt, &r.Task.PickedAt)
}

// The row is changed and the progress of the run is written by one statement.
// The join key is given up: while the task was FAILED another may have taken
// it, and only one live task may have it.
const reopenSQL = `
WITH was AS MATERIALIZED (
    SELECT id, status, fence, lease_owner FROM scrape_request_log WHERE id = $1 FOR UPDATE
), run AS (
    UPDATE scrape_request_log s
    SET status = 'PROCESSING', data = NULL, scraped_at = NULL, join_key = NULL, lease_owner = $3, lease_until = $5,
        run_at = NULL, resume = NULL, waits_for = NULL,
        expires_at = greatest(s.expires_at, $4::timestamp + $7::interval),
        picked_at = CASE WHEN was.status = 'FAILED' THEN $4::timestamp ELSE s.picked_at END,
        fence = CASE WHEN was.status = 'FAILED' THEN nextval('beat_fence_seq') ELSE s.fence END
    FROM was
    WHERE s.id = was.id
      AND (was.status = 'FAILED' AND was.fence = $2 OR was.status = 'PROCESSING' AND was.lease_owner = $3)
    RETURNING s.id, s.fence, s.flow, s.platform, s.params, s.priority, s.picked_at, s.expires_at, s.retry_count
), progress AS (
    INSERT INTO task_progress (task_id, fence, seen) SELECT id, fence, $6 FROM run
    ON CONFLICT (task_id) DO UPDATE SET fence = excluded.fence, seen = excluded.seen, final = NULL,
        updated_at = excluded.updated_at
    WHERE task_progress.fence < excluded.fence
)
SELECT coalesce(was.status, ''), run.id, run.fence, run.flow, coalesce(run.platform, ''), run.params, run.priority,
       run.picked_at, run.expires_at, run.retry_count
FROM was LEFT JOIN run ON true`

// Reopen makes a task that run t failed PROCESSING again, for owner, who has
// the message that the run is missing: the answer or the ask at place seq of its
// chain. All places before it count as seen. The retry count stays.
//
// It is a new run with a fence of its own, so that nothing the failed one left
// in the streams can end it, and so that its own failure is a new fact. A task
// that is not failed, or that another run has failed, is left alone. Called
// again by the same owner it finds the run that it has opened and renews its
// lease: a crash between Reopen and publishing is repaired by doing both again,
// or by the end of the lease.
func (q *Queue) Reopen(ctx context.Context, t social.TaskRef, seq int, owner string) (Reopened, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	seen, err := seenBefore(seq)
	if err != nil {
		return Reopened{}, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	until := now.Add(q.lease)
	var r Reopened
	err = pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		// The lock of the projections for this task, first as there: they lock
		// its progress before its row, the statement below the row before that.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('beat:progress'), ($1::int8 % 2147483647)::int)`, t.ID); err != nil {
			return err
		}
		var id, fence *int64
		var flow, platform *string
		var picked *time.Time
		err := tx.QueryRow(ctx, reopenSQL, t.ID, t.Fence, owner, now, until, seen, expires).Scan(&r.Status, &id, &fence, &flow, &platform,
			&r.Task.Params, &r.Task.Priority, &picked, &r.Task.ExpiresAt, &r.Task.RetryCount)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil || id == nil {
			return err
		}
		r.OK = true
		r.Task.TaskRef = social.TaskRef{ID: *id, Fence: *fence, Flow: *flow, Platform: social.Platform(*platform), LeaseUntil: until}
		r.Task.PickedAt = *picked
		return nil
	})
	if err != nil {
		return Reopened{}, fmt.Errorf("reopen task %d: %w", t.ID, err)
	}
	return r, nil
}

// seenBefore is task_progress.seen of a run of which the answers before seq
// have arrived, each in one part.
func seenBefore(seq int) ([]byte, error) {
	type answer struct {
		N   int   `json:"n"`
		Got []int `json:"got"`
	}
	seen := make(map[int]answer, seq)
	for i := range seq {
		seen[i] = answer{1, []int{0}}
	}
	return json.Marshal(seen)
}

// A State is what decides whether a run can be reopened.
type State struct {
	Status string
	Fence  int64  // of the last run; 0: it never ran
	Owner  string // of the lease
}

// Reopens reports whether Reopen would reopen the task.
func (s State) Reopens(t social.TaskRef, owner string) bool {
	return s.Status == social.Failed && s.Fence == t.Fence || s.Status == social.Processing && s.Owner == owner
}

// States reads the rows of tasks. A task without a row is not in the map.
func (q *Queue) States(ctx context.Context, ids []int64) (map[int64]State, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := q.db.Query(ctx, `
SELECT id, coalesce(status, ''), coalesce(fence, 0), coalesce(lease_owner, '') FROM scrape_request_log WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read %d tasks: %w", len(ids), err)
	}
	out := make(map[int64]State, len(ids))
	var id int64
	var s State
	_, err = pgx.ForEachRow(rows, []any{&id, &s.Status, &s.Fence, &s.Owner}, func() error {
		out[id] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %d tasks: %w", len(ids), err)
	}
	return out, nil
}
