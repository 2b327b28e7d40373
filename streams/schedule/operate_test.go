package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// sent is a Sender that keeps what it gets, or fails.
type sent struct {
	err  error
	outs []bus.Out
}

func (s *sent) Send(_ context.Context, outs ...bus.Out) error {
	if s.err == nil {
		s.outs = append(s.outs, outs...)
	}
	return s.err
}

// finish writes the ends that were sent, as the projections do.
func (s *sent) finish(t *testing.T, q *Queue) (ended []Finished) {
	t.Helper()
	for _, o := range s.outs {
		c, err := event.UnmarshalCommit(o.Data)
		if err != nil {
			t.Fatal(err)
		}
		fs, err := End(t.Context(), q.db, []Finish{{ID: c.Task.ID, Fence: c.Task.Fence, Status: c.Final.Status, Data: c.Final.Data}})
		if err != nil {
			t.Fatal(err)
		}
		ended = append(ended, fs...)
	}
	s.outs = nil
	return ended
}

func one(t *testing.T, q *Queue) int64 {
	t.Helper()
	e, err := q.Enqueue(t.Context(), Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func state(t *testing.T, db *pgxpool.Pool, id int64) (status, data string, fence int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), "SELECT status, coalesce(data, ''), coalesce(fence, 0) FROM scrape_request_log WHERE id = $1", id).Scan(&status, &data, &fence); err != nil {
		t.Fatal(err)
	}
	return status, data, fence
}

func TestCancel(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()

	// A running one: what its run still says is refused.
	id := one(t, q)
	ref := claim(t, q, 1, 1)[0].TaskRef
	var s sent
	if err := q.Cancel(ctx, &s, id); err != nil {
		t.Fatal(err)
	}
	if fs := s.finish(t, q); len(fs) != 1 || fs[0].Status != social.Failed || fs[0].PickedAt == nil {
		t.Errorf("the cancel ended %+v", fs)
	}
	end(t, q, ref, social.Complete, 0)
	if err := q.Defer(ctx, social.Ask{Task: ref, Fetch: social.Reels, Keys: []string{"1"}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if live, err := q.Renew(ctx, []social.TaskRef{ref}); err != nil || len(live) != 0 {
		t.Errorf("the run is alive: %v, %v", live, err)
	}
	if status, data, _ := state(t, db, id); status != social.Failed || data != Cancelled {
		t.Errorf("it is %s with %q", status, data)
	}

	// What its run does before the end is written does not undo the cancel.
	id = one(t, q)
	ref = claim(t, q, 1, 1)[0].TaskRef
	if err := q.Cancel(ctx, &s, id); err != nil {
		t.Fatal(err)
	}
	if err := q.Defer(ctx, social.Ask{Task: ref, Fetch: social.Reels, Keys: []string{"1"}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	end(t, q, ref, social.Complete, 0)
	if fs := s.finish(t, q); len(fs) != 1 {
		t.Error("the run undid its cancel")
	}

	// A waiting one, also one that was put back in the middle of its run.
	for _, sql := range []string{"", `UPDATE scrape_request_log SET run_at = 'infinity', waits_for = 'pause:x', resume = '{"seq":3}', fence = 1 WHERE id = $1`} {
		id := one(t, q)
		if sql != "" {
			if _, err := db.Exec(ctx, sql, id); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Cancel(ctx, &s, id); err != nil {
			t.Fatal(err)
		}
		if len(claim(t, q, 10, 10)) != 0 {
			t.Error("a cancelled task is claimed")
		}
		s.finish(t, q)
		if status, data, fence := state(t, db, id); status != social.Failed || data != Cancelled || fence < 2 {
			t.Errorf("it is %s with %q, fence %d", status, data, fence)
		}
		for _, want := range []error{ErrEnded, ErrNoTask} {
			if err := q.Cancel(ctx, &s, id); !errors.Is(err, want) {
				t.Errorf("cancel of %d: %v, want %v", id, err, want)
			}
			id = 4711
		}
	}
	if len(s.outs) != 0 {
		t.Errorf("%d messages of refused cancels", len(s.outs))
	}
}

// Killed, or without NATS, before the end is sent: the task is not lost. It
// waits again once the cancel's lease is over, and can be cancelled again.
func TestCancelThatWasNotSent(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	id := one(t, q)
	s := sent{err: bus.ErrUnavailable}
	if err := q.Cancel(ctx, &s, id); !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if _, err := db.Exec(ctx, "UPDATE scrape_request_log SET lease_until = lease_until - interval '1 minute' WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	if e, err := q.Expire(ctx, []string{"f"}, 10, nil); err != nil || len(e.Again) != 1 {
		t.Fatalf("expire: %+v, %v", e, err)
	}
	if status, _, _ := state(t, db, id); status != social.Pending {
		t.Errorf("it is %s", status)
	}
	s.err = nil
	if err := q.Cancel(ctx, &s, id); err != nil {
		t.Fatal(err)
	}
	s.finish(t, q)
	if status, _, _ := state(t, db, id); status != social.Failed {
		t.Errorf("it is %s", status)
	}
}

func TestRetry(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	retry := func(id int64, complete bool, want error) {
		t.Helper()
		if err := q.Retry(ctx, id, complete); !errors.Is(err, want) {
			t.Errorf("retry: %v, want %v", err, want)
		}
	}
	id := one(t, q)
	ref := claim(t, q, 1, 1)[0].TaskRef
	retry(id, false, nil) // a running one
	end(t, q, ref, social.Complete, 0)
	again := claim(t, q, 1, 1)[0]
	if again.ID != id || again.Fence <= ref.Fence || again.RetryCount == nil || *again.RetryCount != 1 {
		t.Errorf("claimed again as %+v after fence %d", again, ref.Fence)
	}
	end(t, q, again.TaskRef, social.Failed, 1)
	retry(id, false, nil) // a failed one
	if status, data, _ := state(t, db, id); status != social.Pending || data != "" {
		t.Errorf("it is %s with %q", status, data)
	}
	end(t, q, claim(t, q, 1, 1)[0].TaskRef, social.Complete, 1)
	retry(id, false, ErrEnded)
	retry(id, true, nil)
	retry(4711, true, ErrNoTask)

	// One that was put back begins at its beginning.
	if _, err := db.Exec(ctx, `UPDATE scrape_request_log SET run_at = 'infinity', waits_for = 'pause:x', resume = '{"seq":3}' WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	retry(id, false, nil)
	if got := claim(t, q, 1, 1); len(got) != 1 || got[0].Resume != nil {
		t.Errorf("claimed as %+v", got)
	}
}

// A retry wakes the schedulers of all processes.
func TestRetryWakes(t *testing.T) {
	q, db := newQueue(t, 0)
	id := one(t, q)
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), "LISTEN beat_task"); err != nil {
		t.Fatal(err)
	}
	if err := q.Retry(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := conn.Conn().WaitForNotification(ctx); err != nil {
		t.Error(err)
	}
}

// Whoever comes first, a task that is cancelled, retried and ended at once
// ends in one state, and nothing of a former run changes it.
func TestCancelRetryAndEndAtOnce(t *testing.T) {
	q, db := newQueue(t, 0)
	for range 20 {
		id := one(t, q)
		ref := claim(t, q, 1000, 1)[0].TaskRef
		var s sent
		var wg sync.WaitGroup
		for _, do := range []func() error{
			func() error { return q.Cancel(context.Background(), &s, id) },
			func() error { return q.Retry(context.Background(), id, false) },
			func() error {
				_, err := End(context.Background(), db, []Finish{{ID: id, Fence: ref.Fence, Status: social.Complete, Data: "None"}})
				return err
			},
		} {
			wg.Go(func() {
				if err := do(); err != nil && !errors.Is(err, ErrEnded) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.finish(t, q)
		status, data, _ := state(t, db, id)
		if ok := map[string]bool{"PENDING": data == "", "FAILED": data == Cancelled, "COMPLETE": data == "None"}; !ok[status] {
			t.Errorf("it is %s with %q", status, data)
		}
		if status == social.Pending { // leave none for the next round
			if _, err := db.Exec(t.Context(), "DELETE FROM scrape_request_log WHERE id = $1", id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !strings.HasPrefix(Cancelled, "(409, ") {
		t.Errorf("%s may make a client give its target up", Cancelled)
	}
}

// The progress of a task that has ended is forgotten an hour after its last
// answer, that of a running one is not.
func TestSweep(t *testing.T) {
	q, db := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `
UPDATE scrape_request_log SET status = CASE WHEN id = (SELECT min(id) FROM scrape_request_log) THEN 'PROCESSING' ELSE 'FAILED' END;
INSERT INTO task_progress (task_id, fence, seen, updated_at)
SELECT id, 1, '{}', now() AT TIME ZONE 'UTC' - CASE WHEN id = (SELECT max(id) FROM scrape_request_log) THEN interval '1 minute' ELSE interval '2 hours' END
FROM scrape_request_log`); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := q.Sweep(t.Context()); err != nil || n != want {
			t.Errorf("%d rows swept, %v, want %d", n, err, want)
		}
	}
}
