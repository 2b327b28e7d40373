package schedule

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"beat/streams/event"
	"beat/streams/social"
)

// An update ends a run that is under way, or lets the task run again, once.
func TestUpdate(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	var s sent
	say := func(id int64, status string) {
		t.Helper()
		s.outs = nil
		if err := q.Update(ctx, &s, Update{ID: id, Status: status, RetryCount: 2, Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	id := one(t, q)
	run := claim(t, q, 1, 1)[0]
	say(id, social.Failed)
	if live, err := q.Renew(ctx, []social.TaskRef{run.TaskRef}); err != nil || len(live) > 0 {
		t.Errorf("the run goes on: %v, %v", live, err)
	}
	if fs, err := End(ctx, db, []Finish{{ID: id, Fence: run.Fence, Status: social.Complete}}); err != nil || len(fs) > 0 {
		t.Errorf("the run ended it: %v, %v", fs, err)
	}
	first := s.outs[0].ID
	say(id, social.Failed)
	if s.outs[0].ID == first { // said again is another fact
		t.Error("both events have one id")
	}
	say(id, social.Pending)
	var e event.Task
	if err := json.Unmarshal(s.outs[0].Data, &e); err != nil || e.Status != social.Pending || *e.RetryCount != 2 || e.ExpiresAt == nil || !e.ExpiresAt.After(time.Now().UTC()) {
		t.Errorf("told %+v, %v", e, err)
	}
	again := claim(t, q, 1, 1)
	if len(again) != 1 || again[0].ID != id || again[0].Fence == run.Fence || again[0].Fence == e.Fence || again[0].Announce || *again[0].RetryCount != 2 {
		t.Fatalf("claimed %+v", again)
	}
	if fs, err := End(ctx, db, []Finish{{ID: id, Fence: again[0].Fence, Status: social.Complete, Data: "None"}}); err != nil || len(fs) != 1 {
		t.Errorf("the new run ended %v, %v", fs, err)
	}

	// Not told, not done.
	s.err = errors.New("no")
	if err := q.Update(ctx, &s, Update{ID: id, Status: social.Failed, Params: json.RawMessage(`{}`)}); !errors.Is(err, s.err) {
		t.Errorf("got %v", err)
	}
	if status, data, fence := state(t, db, id); status != social.Complete || data != "None" || fence != again[0].Fence {
		t.Errorf("the row is %s, %s, %d", status, data, fence)
	}
	s.err = nil
	if err := q.Update(ctx, &s, Update{ID: id + 1000, Status: social.Failed, Params: json.RawMessage(`{}`)}); !errors.Is(err, ErrNoTask) {
		t.Errorf("no row: got %v", err)
	}
}

// A task whose join key another has taken meanwhile can wait again.
func TestUpdateOfAJoinedTask(t *testing.T) {
	q, _ := newQueue(t, 0)
	r := Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`), JoinKey: new("k")}
	a, err := q.Enqueue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var s sent
	u := Update{ID: a.ID, Status: social.Failed, Flow: "f", Platform: social.Instagram, Params: json.RawMessage(`{}`)}
	if err := q.Update(t.Context(), &s, u); err != nil {
		t.Fatal(err)
	}
	if b, err := q.Enqueue(t.Context(), r); err != nil || b.Joined {
		t.Fatalf("got %+v, %v", b, err)
	}
	u.Status = social.Pending
	if err := q.Update(t.Context(), &s, u); err != nil {
		t.Error(err)
	}
}
