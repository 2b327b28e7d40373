package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"beat/streams/bus"
	"beat/streams/bus/natsd"
	"beat/streams/bus/natsd/natstest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

func TestSendOncePerID(t *testing.T) {
	_, _, js := natstest.New(t)
	ensure(t, js)
	p := newPub(t, js, bus.PublisherConfig{})
	out := bus.Out{Subject: "beat.raw.a.b.c", ID: "one", Header: nats.Header{"A": {"b"}, "Nats-Batch-Id": {"stray"}}, Data: []byte("x")}
	for range 3 {
		send(t, p, out, out)
	}
	holds(t, js, bus.Raw, 1)
	m := read(t, js, bus.Raw, 1)
	for k, want := range map[string]string{"A": "b", bus.HeaderMsgID: "one", "Nats-Batch-Id": ""} {
		if got := m.Header.Get(k); got != want {
			t.Errorf("header %s: got %q, want %q", k, got, want)
		}
	}
	// Without an id every message is a new one.
	send(t, p, bus.Out{Subject: "beat.raw.a.b.c"}, bus.Out{Subject: "beat.raw.a.b.c"})
	holds(t, js, bus.Raw, 3)
}

// A stream that syncs always is written in atomic batches, which one known id
// refuses as a whole.
func TestDuplicateInBatch(t *testing.T) {
	_, _, js := natstest.Start(t, natsd.Config{Dir: t.TempDir(), Port: -1, SyncAlways: true})
	ensure(t, js)
	reg := prometheus.NewRegistry()
	metrics := bus.NewMetrics()
	reg.MustRegister(metrics.Collectors()...)
	p := newPub(t, js, bus.PublisherConfig{Metrics: metrics})

	const n = 300
	outs := func(round int) []bus.Out {
		outs := make([]bus.Out, n)
		for i := range outs {
			id := fmt.Sprint(round, "/", i)
			if i == n/2 {
				id = "the same in every round"
			}
			outs[i] = bus.Out{Subject: "beat.raw.a.b.c", ID: id, Data: []byte(id)}
		}
		return outs
	}
	const rounds = 5
	for round := range rounds {
		send(t, p, outs(round)...)
	}
	holds(t, js, bus.Raw, rounds*n-(rounds-1))
	// Order within a Send, also through the fallback.
	last, lastRound := -1, -1
	for seq := range uint64(rounds*n - (rounds - 1)) {
		var round, i int
		if _, err := fmt.Sscanf(string(read(t, js, bus.Raw, seq+1).Data), "%d/%d", &round, &i); err != nil {
			continue // the same in every round
		}
		if round != lastRound {
			last, lastRound = -1, round
		}
		if i < last {
			t.Fatalf("round %d: message %d stored after %d", round, i, last)
		}
		last = i
	}
	batches := 0
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if l.GetValue() == "atomic" {
					batches += int(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	if batches == 0 {
		t.Error("no atomic batch was used")
	}
}

func TestConcurrentSendersAllStored(t *testing.T) {
	for _, f := range fsyncs {
		t.Run(f.name, func(t *testing.T) {
			_, _, js := natstest.Start(t, natsd.Config{Dir: t.TempDir(), Port: -1, SyncAlways: f.always})
			ensure(t, js)
			p := newPub(t, js, bus.PublisherConfig{})
			const callers, each = 50, 20
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range each {
						id := fmt.Sprint(c, "/", i)
						err := p.Send(t.Context(),
							bus.Out{Subject: "beat.raw.a.b.c", ID: id, Data: []byte(id)},
							bus.Out{Subject: "beat.task.a.b", ID: id, Data: []byte(id)})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			holds(t, js, bus.Raw, callers*each)
			holds(t, js, bus.Tasks, callers*each)
		})
	}
}

// What must exist first is sent first: were RAW not complete, nothing may be in
// TASKS.
func TestSendStreamByStream(t *testing.T) {
	_, _, js := natstest.New(t)
	ensure(t, js)
	if err := js.DeleteStream(t.Context(), bus.Raw); err != nil {
		t.Fatal(err)
	}
	p := newPub(t, js, bus.PublisherConfig{Timeout: time.Second})
	err := p.Send(t.Context(), bus.Out{Subject: "beat.raw.a.b.c"}, bus.Out{Subject: "beat.task.a.b"})
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if n := stored(t, js, bus.Tasks); n != 0 {
		t.Errorf("%d messages in TASKS before RAW was stored", n)
	}
}

func TestFullStream(t *testing.T) {
	for _, f := range fsyncs {
		t.Run(f.name, func(t *testing.T) {
			_, _, js := natstest.Start(t, natsd.Config{Dir: t.TempDir(), Port: -1, SyncAlways: f.always})
			c := bus.Consumer{Stream: bus.Parsed, Durable: "p", Filter: []string{"beat.parsed.>"}}
			if _, err := bus.Ensure(t.Context(), js, bus.Options{MaxBytes: map[string]int64{bus.Parsed: 200_000}}, []bus.Consumer{c}); err != nil {
				t.Fatal(err)
			}
			p := newPub(t, js, bus.PublisherConfig{})
			outs := make([]bus.Out, 100)
			for i := range outs {
				outs[i] = bus.Out{Subject: "beat.parsed.a.b", ID: strconv.Itoa(i), Data: noise(4000)}
			}
			if err := p.Send(t.Context(), outs...); !errors.Is(err, bus.ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			}
			s, err := js.Stream(t.Context(), bus.Parsed)
			if err != nil {
				t.Fatal(err)
			}
			first, err := s.GetMsg(t.Context(), 1)
			if err != nil || first.Header.Get(bus.HeaderMsgID) != "0" {
				t.Errorf("the oldest message is gone: %v", err)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	_, _, js := natstest.Start(t, natsd.Config{Dir: t.TempDir(), Port: -1, MaxPayload: 10_000})
	ensure(t, js)
	p := newPub(t, js, bus.PublisherConfig{})
	err := p.Send(t.Context(), bus.Out{Subject: "beat.raw.a.b.c", Data: noise(20_000)})
	if !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	send(t, p, bus.Out{Subject: "beat.raw.a.b.c", Data: noise(9_000)})
}

func TestClosedPublisher(t *testing.T) {
	_, nc, js := natstest.New(t)
	ensure(t, js)
	p := newPub(t, js, bus.PublisherConfig{})
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Send(t.Context(), bus.Out{Subject: "beat.raw.a.b.c"}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if !nc.IsConnected() {
		t.Error("the shared connection was closed")
	}
}

func TestScheduled(t *testing.T) {
	_, _, js := natstest.New(t)
	c := bus.Consumer{Stream: bus.Tasks, Durable: "d", Filter: []string{"beat.task.a.b"}, MaxAckPending: 10}
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})

	const n = 20 // enough for a batch
	at := time.Now().Add(1500 * time.Millisecond)
	outs := []bus.Out{{Subject: "beat.task.a.b", ID: "past", Data: []byte("past"), At: time.Now().Add(-time.Hour)}}
	for i := range n {
		id := "later " + strconv.Itoa(i)
		outs = append(outs, bus.Out{Subject: "beat.task.a.b", ID: id, Data: []byte(id), At: at, Header: header("Color", "blue")})
	}
	for range 2 { // the second is a duplicate
		send(t, p, outs...)
	}
	holds(t, js, bus.Tasks, n+1)

	var mu sync.Mutex
	got := map[string]time.Time{}
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: c, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := got[m.ID()]; twice {
			t.Errorf("%s came twice", m.ID())
		}
		got[m.ID()] = time.Now()
		if m.ID() != string(m.Data) || m.Subject != "beat.task.a.b" {
			t.Errorf("got id %q, data %q on %s", m.ID(), m.Data, m.Subject)
		}
		if m.ID() != "past" && m.Header.Get("Color") != "blue" {
			t.Errorf("%s lost its header: %v", m.ID(), m.Header)
		}
		return nil, nil
	}})
	run(t, r)
	within(t, 10*time.Second, "all arrive", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == n+1
	})
	for id, when := range got {
		if id == "past" {
			if when.After(at) {
				t.Errorf("past came at %s", when)
			}
			continue
		}
		if late := when.Sub(at); late < 0 || late > 3*time.Second {
			t.Errorf("%s came %s after its time", id, late)
		}
	}
	holds(t, js, bus.Tasks, 0)

	err := p.Send(t.Context(), bus.Out{Subject: "beat.parsed.a.b", At: time.Now().Add(time.Hour)})
	if err == nil {
		t.Error("a message of PARSED was scheduled; an interest stream drops those")
	}
}

// The server goes away in the middle and comes back on the same directory:
// senders get errors, try again, and everything is stored exactly once.
func TestServerRestart(t *testing.T) {
	dir := t.TempDir()
	srv, err := natsd.Start(natsd.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { srv.Stop() }()
	var port int
	if _, err := fmt.Sscanf(srv.URL(), "nats://127.0.0.1:%d", &port); err != nil {
		t.Fatal(err, srv.URL())
	}
	nc, err := nats.Connect(srv.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c := bus.Consumer{Stream: bus.Tasks, Durable: "d", Filter: []string{"beat.task.>"}, MaxAckPending: 50, AckWait: 2 * time.Second}
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{Timeout: time.Second})
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: c, Backoff: []time.Duration{50 * time.Millisecond}, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		return []bus.Out{{Subject: "beat.raw.a.b.c", ID: "of " + m.ID(), Data: m.Data}}, nil
	}})
	run(t, r)

	const callers, each = 10, 100
	var failed sync.Map
	half, down := make(chan struct{}, callers), make(chan struct{})
	var wg sync.WaitGroup
	for k := range callers {
		wg.Go(func() {
			for i := range each {
				if i == each/2 {
					half <- struct{}{}
					if k%2 == 0 { // these meet the outage for sure, the others in full run
						<-down
					}
				}
				id := fmt.Sprint(k, "/", i)
				for {
					err := p.Send(t.Context(), bus.Out{Subject: "beat.task.a.b", ID: id, Data: []byte(id)})
					if err == nil {
						break
					}
					failed.Store(id, true)
					if !errors.Is(err, bus.ErrUnavailable) {
						t.Errorf("got %v, want ErrUnavailable", err)
						return
					}
					select {
					case <-t.Context().Done():
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
			}
		})
	}
	<-half
	srv.Stop()
	close(down)
	within(t, 10*time.Second, "a sender notices", func() bool {
		noticed := false
		failed.Range(func(_, _ any) bool { noticed = true; return false })
		return noticed
	})
	if srv, err = natsd.Start(natsd.Config{Dir: dir, Port: port}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Raw, callers*each)
	seen := map[string]bool{}
	for seq := range uint64(callers * each) {
		seen[string(read(t, js, bus.Raw, seq+1).Data)] = true
	}
	if len(seen) != callers*each {
		t.Errorf("got %d different messages, want %d", len(seen), callers*each)
	}
}
