package bus_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"beat/streams/bus"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var quiet = slog.New(slog.DiscardHandler)

// within polls until ok or fails the test after d.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", d, what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks; the wait is for ok
	}
}

// holds waits until a stream has exactly n messages. Acks are handled after
// they are received, so the number may lag.
func holds(t testing.TB, js jetstream.JetStream, stream string, n int) {
	t.Helper()
	got := -1
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = stored(t, js, stream); got == n {
			return
		}
	}
	t.Fatalf("%s: got %d messages, want %d", stream, got, n)
}

func stored(t testing.TB, js jetstream.JetStream, stream string) int {
	t.Helper()
	s, err := js.Stream(context.Background(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// read reads one message of a stream.
func read(t testing.TB, js jetstream.JetStream, stream string, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ensure(t testing.TB, js jetstream.JetStream, consumers ...bus.Consumer) {
	t.Helper()
	drift, err := bus.Ensure(t.Context(), js, bus.Options{}, consumers)
	if err != nil {
		t.Fatal(err)
	}
	if len(drift) > 0 {
		t.Fatalf("new streams differ from the table: %v", drift)
	}
}

func newPub(t testing.TB, js jetstream.JetStream, cfg bus.PublisherConfig) *bus.Publisher {
	t.Helper()
	p := bus.NewPublisher(quiet, js, cfg)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func send(t testing.TB, p *bus.Publisher, outs ...bus.Out) {
	t.Helper()
	if err := p.Send(t.Context(), outs...); err != nil {
		t.Fatal(err)
	}
}

// run starts a router and stops it, at the latest with the test.
func run(t testing.TB, r *bus.Router) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	select {
	case <-r.Running():
	case err := <-done:
		t.Fatalf("router ended: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("router: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func header(k, v string) nats.Header { return nats.Header{k: {v}} }

// noise is n bytes that do not shrink.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}
