package schedule

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/social"
)

// A sending sends what a scheduler publishes.
type sending func(ctx context.Context, outs ...bus.Out) error

func (s sending) Send(ctx context.Context, outs ...bus.Out) error { return s(ctx, outs...) }

// Nobody can claim a task while it is announced. A claim that has passed it over is
// made again at once and not with the next poll.
func TestClaimFollowsAnnouncing(t *testing.T) {
	q, db := newQueue(t, time.Hour)
	f, _ := flow.ByName("refresh_post_by_shortcode")
	if err := q.EnqueueAll(t.Context(), []Request{{Flow: f.Name, Platform: social.Instagram, Params: json.RawMessage(`{"shortcode":"CxQ7aBcD123"}`)}}); err != nil {
		t.Fatal(err)
	}
	var open atomic.Bool
	announcing, release, first := make(chan struct{}), make(chan struct{}), true
	s := NewScheduler(slog.New(slog.DiscardHandler), q, sending(func(ctx context.Context, outs ...bus.Out) error {
		if first { // the only thing to be sent until it is over
			first = false
			close(announcing)
			<-release
		}
		return nil
	}), []flow.Flow{f}, Config{Owner: "me", Poll: 3 * time.Second, Admit: func(_ context.Context, wants []Want) (Admission, error) {
		if !open.Load() {
			wants[0].Max = 0
		}
		return Admission{}, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	<-announcing
	open.Store(true)
	s.Wake()
	time.Sleep(200 * time.Millisecond) // the claim that finds nothing
	status := func() (out string) {
		if err := db.QueryRow(t.Context(), "SELECT status FROM scrape_request_log").Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := status(); got != social.Pending {
		t.Fatalf("the task is %s while it is announced", got)
	}
	began := time.Now()
	close(release)
	for status() != social.Processing {
		if time.Since(began) > 1500*time.Millisecond {
			t.Fatal("the task waits for the next poll")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
