package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/bus"
	"beat/streams/social"
)

// Tasks are told of in small batches with a rest between them: the messages of a run
// go into the same stream, and do not wait behind many.
const (
	announceBatch = 50
	announceRest  = 20 * time.Millisecond
)

// announce tells of tasks that stay PENDING for a while. Whoever creates them by the
// thousand does not make a run wait: it goes on beside the claims.
func (s *Scheduler) announce(ctx context.Context) {
	rest := s.cfg.Poll
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		began := time.Now()
		// Most are claimed at once, and told of with that.
		n, err := s.queue.Announce(ctx, announceBatch, began.Add(-s.cfg.Poll), func(ctx context.Context, tasks []Task) error {
			outs := make([]bus.Out, len(tasks))
			for i, t := range tasks {
				outs[i] = pendingEvent(t)
			}
			return s.send.Send(ctx, outs...)
		})
		if err != nil && ctx.Err() == nil {
			s.lg.Warn("announce failed, trying again", "err", err)
		}
		if n > 0 {
			s.Wake() // a claim has passed them over
		}
		rest = s.cfg.Poll
		if err == nil && n == announceBatch {
			rest = min(rest, max(2*time.Since(began), announceRest))
		}
	}
}

const unannouncedSQL = `
SELECT id, flow, coalesce(platform, ''), params, priority, created_at, expires_at, retry_count, reason
FROM scrape_request_log WHERE announced = false AND status = 'PENDING' AND coalesce(created_at <= $2, true)
ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`

// inOrderSQL keeps a plan of a small table from reading all that waits, to sort it.
const inOrderSQL = `SET LOCAL enable_bitmapscan = off`

// Announce hands up to limit tasks that have waited since before a time, and whose
// PENDING event is not out yet, to publish, and marks them. Killed in between, they
// are announced again with the same event ids. Nobody claims them meanwhile.
func (q *Queue) Announce(ctx context.Context, limit int, before time.Time, publish func(context.Context, []Task) error) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inOrderSQL); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, unannouncedSQL, limit, before.UTC())
		if err != nil {
			return err
		}
		var ids []int64
		tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Task, error) {
			t := Task{Announce: true}
			var platform string
			err := row.Scan(&t.ID, &t.Flow, &platform, &t.Params, &t.Priority, &t.CreatedAt, &t.ExpiresAt, &t.RetryCount, &t.Reason)
			t.Platform = social.Platform(platform)
			ids = append(ids, t.ID)
			return t, err
		})
		if err != nil || len(tasks) == 0 {
			return err
		}
		n = len(tasks)
		if err := publish(ctx, tasks); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE scrape_request_log SET announced = true WHERE id = ANY($1)`, ids)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("announce: %w", err)
	}
	return n, nil
}
