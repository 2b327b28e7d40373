package schedule

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"beat/streams/event"
	"beat/streams/social"
)

// failed is a claimed task that has failed.
func failed(t *testing.T, q *Queue, r Request) social.TaskRef {
	t.Helper()
	if _, err := q.Enqueue(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	ref := claim(t, q, 1, 1)[0].TaskRef
	end(t, q, ref, social.Failed, 1)
	return ref
}

func end(t *testing.T, q *Queue, ref social.TaskRef, status string, want int) {
	t.Helper()
	f, err := End(t.Context(), q.db, []Finish{{ID: ref.ID, Fence: ref.Fence, Status: status, Data: "(409, 'x')"}})
	if err != nil || len(f) != want {
		t.Fatalf("end as %s: %d rows, %v; want %d", status, len(f), err, want)
	}
}

func reopen(t *testing.T, q *Queue, ref social.TaskRef, seq int, owner string) Reopened {
	t.Helper()
	r, err := q.Reopen(t.Context(), ref, seq, owner)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReopen(t *testing.T) {
	q, db := newQueue(t, time.Minute)
	retries := 3
	ref := failed(t, q, Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`), RetryCount: &retries})
	if _, err := db.Exec(t.Context(), "UPDATE scrape_request_log SET run_at = 'infinity', resume = '{}', waits_for = 'x' WHERE id = $1", ref.ID); err != nil {
		t.Fatal(err)
	}
	began := time.Now().UTC().Add(-time.Second)
	r := reopen(t, q, ref, 2, "letter 1")
	if !r.OK || r.Status != social.Failed || r.Task.Fence <= ref.Fence || r.Task.Flow != "f" || r.Task.Platform != social.Instagram {
		t.Fatalf("got %+v", r)
	}
	var status, owner, seen string
	var data *string
	var until, picked time.Time
	var retry int
	var fence, progress int64
	if err := db.QueryRow(t.Context(), `
SELECT s.status, s.lease_owner, s.data, s.lease_until, s.picked_at, s.retry_count, s.fence, p.fence, p.seen::text
FROM scrape_request_log s JOIN task_progress p ON p.task_id = s.id AND p.final IS NULL WHERE s.id = $1`, ref.ID).
		Scan(&status, &owner, &data, &until, &picked, &retry, &fence, &progress, &seen); err != nil {
		t.Fatal(err)
	}
	if status != social.Processing || owner != "letter 1" || data != nil || retry != retries || picked.Before(began) ||
		until.Before(began.Add(time.Minute)) {
		t.Errorf("row: %s, owner %s, data %v, %d retries, picked %v, until %v", status, owner, data, retry, picked, until)
	}
	if fence != r.Task.Fence || progress != fence {
		t.Errorf("fences of row and progress: %d, %d, want %d", fence, progress, r.Task.Fence)
	}
	if want := `{"0": {"n": 1, "got": [0]}, "1": {"n": 1, "got": [0]}}`; seen != want {
		t.Errorf("seen: got %s, want %s", seen, want)
	}
	var e event.Task
	if err := json.Unmarshal(r.Event().Data, &e); err != nil || e.Status != social.Processing || e.Fence != fence || *e.RetryCount != retries {
		t.Errorf("event: %+v, %v", e, err)
	}

	var waits bool
	if err := db.QueryRow(t.Context(), "SELECT coalesce(run_at::text, waits_for, resume::text) IS NOT NULL FROM scrape_request_log WHERE id = $1", ref.ID).Scan(&waits); err != nil || waits {
		t.Errorf("it still waits: %v, %v", waits, err)
	}

	// The same owner finds its run, another finds that it is taken.
	if again := reopen(t, q, ref, 2, "letter 1"); !again.OK || again.Task.Fence != fence || again.Status != social.Processing {
		t.Errorf("again: %+v", again)
	}
	if other := reopen(t, q, ref, 2, "letter 2"); other.OK || other.Status != social.Processing {
		t.Errorf("another letter: %+v", other)
	}
	end(t, q, ref, social.Failed, 0) // a late failure of the old run
	end(t, q, r.Task.TaskRef, social.Complete, 1)
	if late := reopen(t, q, ref, 2, "letter 1"); late.OK || late.Status != social.Complete {
		t.Errorf("after the end: %+v", late)
	}
}

// What is not the failure of that run is left alone.
func TestReopenLeavesAlone(t *testing.T) {
	q, db := newQueue(t, 0)
	r := Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`)}
	ref := failed(t, q, r)
	for _, c := range []struct {
		name, set string
		ref       social.TaskRef
		status    string
	}{
		{"no such task", "id = id", social.TaskRef{ID: ref.ID + 1, Fence: ref.Fence}, ""},
		{"failed by another run", "fence = nextval('beat_fence_seq')", ref, social.Failed},
		{"waits", "status = 'PENDING', fence = NULL", ref, social.Pending},
		{"runs", "status = 'PROCESSING', lease_owner = 'scheduler'", ref, social.Processing},
		{"is complete", "status = 'COMPLETE'", ref, social.Complete},
	} {
		if _, err := db.Exec(t.Context(), "UPDATE scrape_request_log SET status = 'FAILED', fence = $2 WHERE id = $1", ref.ID, ref.Fence); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), "UPDATE scrape_request_log SET "+c.set+" WHERE id = $1", ref.ID); err != nil {
			t.Fatal(err)
		}
		states, err := q.States(t.Context(), []int64{c.ref.ID})
		if err != nil || states[c.ref.ID].Reopens(c.ref, "me") {
			t.Errorf("%s: states %v, %v", c.name, states, err)
		}
		if got := reopen(t, q, c.ref, 1, "me"); got.OK || got.Status != c.status {
			t.Errorf("%s: got %+v, want status %q", c.name, got, c.status)
		}
	}
	var n int
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM task_progress").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows of progress, %v", n, err)
	}
}

// While the task was failed another may have taken its join key.
func TestReopenBesideItsSuccessor(t *testing.T) {
	q, _ := newQueue(t, 0)
	key := "profile/x"
	r := Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`), JoinKey: &key}
	ref := failed(t, q, r)
	if e, err := q.Enqueue(t.Context(), r); err != nil || e.Joined {
		t.Fatalf("successor: %+v, %v", e, err)
	}
	if got := reopen(t, q, ref, 0, "me"); !got.OK {
		t.Errorf("got %+v", got)
	}
}

// Of many who reopen one task at once, one does.
func TestReopenAtOnce(t *testing.T) {
	q, _ := newQueue(t, 0)
	ref := failed(t, q, Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`)})
	got := make(chan bool)
	for i := range 8 {
		go func() {
			r, err := q.Reopen(context.Background(), ref, 0, string(rune('a'+i)))
			if err != nil {
				t.Error(err)
			}
			got <- r.OK
		}()
	}
	n := 0
	for range 8 {
		if <-got {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d reopened it, want 1", n)
	}
}
