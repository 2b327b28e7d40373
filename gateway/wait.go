package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"beat/streams/social"
)

// pollEvery is how often the row is read while nobody says that the task is
// done: the notice comes from a subject that may lose messages.
const pollEvery = 250 * time.Millisecond

// waiters are the requests of this process that wait for a task. Nothing of
// it outlives the process; the row is what counts.
type waiters struct {
	mu sync.Mutex
	by map[int64]map[chan struct{}]struct{}
}

func (w *waiters) add(id int64) (woken <-chan struct{}, leave func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[int64]map[chan struct{}]struct{}{}
	}
	if w.by[id] == nil {
		w.by[id] = map[chan struct{}]struct{}{}
	}
	w.by[id][ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.by[id], ch)
		if len(w.by[id]) == 0 {
			delete(w.by, id)
		}
	}
}

// TaskDone tells the requests that wait for task id to look at its row. It
// never blocks, and may be called for any task, any number of times.
func (g *Gateway) TaskDone(id int64) {
	g.waiters.mu.Lock()
	defer g.waiters.mu.Unlock()
	for ch := range g.waiters.by[id] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// errTimeout: the task has not ended in the time a client is kept waiting. It
// goes on, and its rows will be there for the next request.
var errTimeout = errors.New("the task has not ended yet")

// wait returns how task id ended. Failing reads are tried again until ctx ends.
func (g *Gateway) wait(ctx context.Context, id int64) (string, error) {
	woken, leave := g.waiters.add(id)
	defer leave()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		status, err := g.status(ctx, id)
		if err == nil && (status == social.Complete || status == social.Failed) {
			return status, nil
		}
		if err != nil && ctx.Err() == nil {
			g.lg.WarnContext(ctx, "read task status", "task", id, "err", err)
		}
		select {
		case <-ctx.Done():
			return "", errTimeout
		case <-woken:
		case <-tick.C:
		}
	}
}

func (g *Gateway) status(ctx context.Context, id int64) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var s *string
	err := g.db.QueryRow(ctx, `SELECT status FROM scrape_request_log WHERE id = $1`, id).Scan(&s)
	return value(s), err
}
