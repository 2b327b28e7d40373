package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

const deferSQL = `
UPDATE scrape_request_log
SET status = 'PENDING', run_at = $3::timestamp, waits_for = $4, resume = $5, lease_owner = NULL, lease_until = NULL,
    expires_at = greatest(expires_at, $3::timestamp + $6::interval)
WHERE id = $1 AND fence = $2 AND status = 'PROCESSING'`

// Defer puts a run back until a time: its task waits as PENDING, holding
// nothing, and goes on with a under the same fence. It does nothing when the
// run is not the row's any more, or was put back already.
func (q *Queue) Defer(ctx context.Context, a social.Ask, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resume, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode ask: %w", err)
	}
	var b pgx.Batch
	b.Queue(lockSQL, []int64{a.Task.ID})
	b.Queue(deferSQL, a.Task.ID, a.Task.Fence, until.UTC().Truncate(time.Microsecond), a.Waits, resume, expires)
	if err := q.db.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("defer task %d: %w", a.Task.ID, err)
	}
	return nil
}

const dueSQL = `
WITH due AS MATERIALIZED (
    SELECT id FROM scrape_request_log
    WHERE status = 'PENDING' AND run_at IS NOT NULL AND (run_at <= $1 OR waits_for = ANY($2))
    ORDER BY run_at LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE scrape_request_log SET run_at = NULL, waits_for = NULL WHERE id = ANY(ARRAY(SELECT id FROM due))`

// Due makes up to limit tasks claimable whose time has come, or that wait for
// one of the things that are there again.
func (q *Queue) Due(ctx context.Context, there []string, limit int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := q.db.Exec(ctx, dueSQL, time.Now().UTC(), there, limit)
	if err != nil {
		return 0, fmt.Errorf("find tasks that are due: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

const waitingSQL = `
SELECT w.flow, (SELECT count(*) FROM (
    SELECT FROM scrape_request_log s WHERE s.status = 'PENDING' AND s.flow = w.flow AND s.run_at IS NULL
    ORDER BY coalesce(s.created_at, timestamp '2000-01-01') - coalesce(s.priority, 1) * interval '1 minute', s.id
    LIMIT $2) p)
FROM unnest($1::text[]) AS w(flow)`

// Waiting counts the claimable tasks of each flow, up to most. In the order of
// a claim, so that it reads the index of a claim.
func (q *Queue) Waiting(ctx context.Context, flows []string, most int) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rows, err := q.db.Query(ctx, waitingSQL, flows, most)
	if err != nil {
		return nil, fmt.Errorf("count waiting tasks: %w", err)
	}
	out := make(map[string]int, len(flows))
	var flow string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&flow, &n}, func() error { out[flow] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count waiting tasks: %w", err)
	}
	return out, nil
}

const sweepSQL = `
DELETE FROM task_progress WHERE task_id = ANY(ARRAY(
    SELECT p.task_id FROM task_progress p JOIN scrape_request_log s ON s.id = p.task_id
    WHERE s.status IN ('COMPLETE', 'FAILED') AND p.updated_at < $1 LIMIT 1000))`

// sweepAfter is how long after its last answer the progress of an ended task is
// kept: long enough for answers that are still on their way.
const sweepAfter = time.Hour

// Sweep forgets the progress of tasks that have ended otherwise, such as
// cancelled ones whose run went on for an answer or two.
func (q *Queue) Sweep(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := q.db.Exec(ctx, sweepSQL, time.Now().UTC().Add(-sweepAfter))
	if err != nil {
		return 0, fmt.Errorf("sweep the progress of ended tasks: %w", err)
	}
	return int(tag.RowsAffected()), nil
}
