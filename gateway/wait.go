package gateway

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
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
	by map[int64]*awaited
}

// An awaited is a task that somebody waits for.
type awaited struct {
	flow    string
	waiting bool // it was PENDING when it was looked at last
	wake    map[chan struct{}]struct{}
}

func (w *waiters) add(id int64, flow string) (woken <-chan struct{}, leave func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[int64]*awaited{}
	}
	if w.by[id] == nil {
		w.by[id] = &awaited{flow: flow, waiting: true, wake: map[chan struct{}]struct{}{}}
	}
	w.by[id].wake[ch] = struct{}{}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.by[id].wake, ch)
		if len(w.by[id].wake) == 0 {
			delete(w.by, id)
		}
	}
}

// note remembers what a look at the row of task id has shown.
func (w *waiters) note(id int64, status string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a := w.by[id]; a != nil {
		a.waiting = status == social.Pending
	}
}

// Held is how many tasks of each flow the requests of this process wait for that
// nobody has begun.
func (g *Gateway) Held() map[string]int {
	g.waiters.mu.Lock()
	defer g.waiters.mu.Unlock()
	out := map[string]int{}
	for _, a := range g.waiters.by {
		if a.waiting {
			out[a.flow]++
		}
	}
	return out
}

// TaskDone tells the requests that wait for task id to look at its row. It
// never blocks, and may be called for any task, any number of times.
func (g *Gateway) TaskDone(id int64) {
	g.waiters.mu.Lock()
	defer g.waiters.mu.Unlock()
	a := g.waiters.by[id]
	if a == nil {
		return
	}
	for ch := range a.wake {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// errTimeout: the task has not ended in the time a client is kept waiting. It
// goes on, and its rows will be there for the next request.
var errTimeout = errors.New("the task has not ended yet")

// A failure is the data of a task that failed.
type failure string

func (f failure) Error() string { return "the task failed: " + string(f) }

// tuple is how the failure of a provider begins (contract/http.md 8).
var tuple = regexp.MustCompile(`^\((\d{1,3}), (?:'([^']*)'|"([^"]*)")\)`)

// status is the code and the message of the provider; false when the task did
// not fail for what one said.
func (f failure) status() (code int, message string, ok bool) {
	m := tuple.FindStringSubmatch(string(f))
	if m == nil {
		return 0, "", false
	}
	code, err := strconv.Atoi(m[1])
	return code, m[2] + m[3], err == nil
}

// outage reports whether err is that a provider, or we, did not answer in time:
// older values are then better than none.
func outage(err error) bool {
	if f, ok := errors.AsType[failure](err); ok {
		code, _, told := f.status()
		return told && (code == 0 || code >= 500)
	}
	return errors.Is(err, errTimeout)
}

// ended waits for task id, which is of a flow, and returns nil when it is
// COMPLETE, a failure when it is FAILED. Failing reads are tried again until ctx
// ends. It returns errTimeout when that, or the drain of the process, comes first,
// and at once when the task is put off for longer than that.
func (g *Gateway) ended(ctx context.Context, id int64, flow string) error {
	woken, leave := g.waiters.add(id, flow)
	defer leave()
	drained := g.drain.over()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		o, err := g.outcome(ctx, id)
		switch {
		case err == nil && o.status == social.Complete:
			return nil
		case err == nil && o.status == social.Failed:
			return fmt.Errorf("task %d: %w", id, failure(o.data))
		}
		if err != nil && ctx.Err() == nil {
			g.lg.WarnContext(ctx, "read task status", "task", id, "err", err)
		}
		if err == nil {
			g.waiters.note(id, o.status)
			if end, ok := ctx.Deadline(); ok && o.runAt != nil && o.runAt.After(end) {
				return errTimeout
			}
		}
		select {
		case <-ctx.Done():
			return errTimeout
		case <-drained:
			return errTimeout
		case <-woken:
		case <-tick.C:
		}
	}
}

// An outcome is what the row of a task says.
type outcome struct {
	status, data string
	runAt        *time.Time // not before; nil: as soon as can be
}

func (g *Gateway) outcome(ctx context.Context, id int64) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err = g.db.QueryRow(ctx, `SELECT coalesce(status, ''), coalesce(data, ''), run_at FROM scrape_request_log WHERE id = $1`, id).
		Scan(&o.status, &o.data, &o.runAt)
	return o, err
}
