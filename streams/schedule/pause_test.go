package schedule

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"
)

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestPauses(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	p := NewPauses(silent(), db)
	paused := func(want ...string) {
		t.Helper()
		if err := p.Load(ctx); err != nil {
			t.Fatal(err)
		}
		all, err := q.Paused(ctx)
		if err != nil || len(all) != len(want) {
			t.Fatalf("paused: %+v, %v; want %v", all, err, want)
		}
		for i, name := range want {
			if _, ok := p.Of(name); !ok || all[i].Name != name {
				t.Errorf("%s is not paused: %+v", name, all)
			}
		}
	}
	put := func(v Pause) {
		t.Helper()
		if err := q.Pause(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	paused()
	put(Pause{Name: "f", Kind: PauseFlow, Reason: new("why")})
	until := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	put(Pause{Name: "s", Kind: PauseSource, Until: &until})
	paused("f", "s")
	if v, _ := p.Of("s"); v.Kind != PauseSource || v.Until == nil || !v.Until.Equal(until) || v.Reason != nil || time.Since(v.Since) > time.Minute {
		t.Errorf("read as %+v", v)
	}
	put(Pause{Name: "f", Kind: PauseFlow}) // again: the last one counts
	if paused("f", "s"); true {
		if v, _ := p.Of("f"); v.Reason != nil {
			t.Errorf("the reason of an earlier pause is kept: %s", *v.Reason)
		}
	}

	// One with an end ends by itself, also where the table is not read again.
	until = time.Now().Add(300 * time.Millisecond)
	put(Pause{Name: "s", Kind: PauseSource, Until: &until})
	paused("f", "s")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, ok := p.Of("s"); !ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a pause does not end")
		}
	}
	if time.Now().Before(until) {
		t.Error("a pause ended early")
	}
	paused("f")

	for _, want := range []bool{true, false} {
		if was, err := q.Resume(ctx, "f"); err != nil || was != want {
			t.Errorf("resume: %v, %v; want %v", was, err, want)
		}
	}
	paused()
	if err := q.Pause(ctx, Pause{Name: "x", Kind: "planet"}); err == nil {
		t.Error("an unknown kind is stored")
	}
}

// Without Postgres what was last read holds: a pause must not end by an outage.
func TestPausesOutliveTheDatabase(t *testing.T) {
	q, db := newQueue(t, 0)
	if err := q.Pause(t.Context(), Pause{Name: "f", Kind: PauseFlow}); err != nil {
		t.Fatal(err)
	}
	p := NewPauses(silent(), db)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, ok := p.Of("f"); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Run does not read the table")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run ended with %v", err)
	}
	db.Close()
	if err := p.Load(t.Context()); err == nil {
		t.Error("a closed database can be read")
	}
	if _, ok := p.Of("f"); !ok {
		t.Error("the pause is forgotten")
	}
}
