package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

var work = bus.Consumer{Stream: bus.Tasks, Durable: "work", Filter: []string{"beat.task.a.b"}, MaxAckPending: 100}

// started is a server with one consumer and a router with one route on it.
func started(t *testing.T, c bus.Consumer, cfg bus.RouterConfig, rt bus.Route) (jetstream.JetStream, *bus.Publisher) {
	t.Helper()
	_, _, js := natstest.New(t)
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})
	r := bus.NewRouter(quiet, js, p, cfg)
	rt.Name, rt.Consumer = "some.route", c
	r.Add(rt)
	run(t, r)
	return js, p
}

func task(id string) bus.Out {
	return bus.Out{Subject: "beat.task.a.b", ID: id, Data: []byte(id), Header: nats.Header{"Color": {"blue"}}}
}

func tasks(n int) []bus.Out {
	outs := make([]bus.Out, n)
	for i := range outs {
		outs[i] = task(strconv.Itoa(i))
	}
	return outs
}

func TestHandle(t *testing.T) {
	js, p := started(t, work, bus.RouterConfig{}, bus.Route{Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		if m.Stream != bus.Tasks || m.Seq == 0 || m.Delivered != 1 || time.Since(m.Time) > time.Minute || m.Header.Get("Color") != "blue" {
			t.Errorf("got %+v", m)
		}
		if m.ID() == "7" {
			return nil, bus.Drop("not wanted")
		}
		return []bus.Out{{Subject: "beat.raw.a.b.c", ID: m.ID(), Data: m.Data}}, nil
	}})
	send(t, p, tasks(100)...)
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Raw, 99)
	holds(t, js, bus.Dead, 0)
}

func TestPanicIsParked(t *testing.T) {
	var calls atomic.Int32
	var dead atomic.Int32
	js, p := started(t, work, bus.RouterConfig{
		OnDead: func(_ context.Context, m *bus.Msg, cause string, err error) []bus.Out {
			dead.Add(1)
			return []bus.Out{{Subject: "beat.event.0.a.failed", ID: "failed " + m.ID(), Data: []byte(cause + ": " + err.Error())}}
		},
	}, bus.Route{Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) {
		calls.Add(1)
		panic("index 17 out of\nrange")
	}})
	start := time.Now()
	send(t, p, task("bad"))
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Dead, 1)
	holds(t, js, bus.Events, 1)
	if calls.Load() != 1 || dead.Load() != 1 {
		t.Errorf("%d calls, %d hooks; want one each", calls.Load(), dead.Load())
	}
	m := read(t, js, bus.Dead, 1)
	if got, want := m.Subject, "beat.dead.some_route"; got != want {
		t.Errorf("subject: got %s, want %s", got, want)
	}
	if string(m.Data) != "bad" || m.Header.Get("Color") != "blue" {
		t.Errorf("letter lost its message: %q %v", m.Data, m.Header)
	}
	d := bus.ReadDead(m.Header)
	if !strings.Contains(d.Stack, "\n") || !strings.Contains(d.Stack, "route_test.go") {
		t.Errorf("stack: %q", d.Stack)
	}
	if d.At.Before(start.Add(-time.Second)) || d.Fingerprint != bus.Fingerprint("panic", "index 99 out of range") {
		t.Errorf("got %+v", d)
	}
	d.Stack, d.At, d.Fingerprint = "", time.Time{}, ""
	want := bus.DeadLetter{Stage: "some.route", Cause: "panic", Error: "index 17 out of range", Subject: "beat.task.a.b", Stream: bus.Tasks, Seq: 1, Attempts: 1}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	if got, want := string(read(t, js, bus.Events, 1).Data), "panic: index 17 out of\nrange"; got != want {
		t.Errorf("hook: got %q, want %q", got, want)
	}

	// Sent once more it is a new message, and fails again as one.
	send(t, p, bus.Original(m.Header, m.Data))
	holds(t, js, bus.Dead, 2)
	if again := read(t, js, bus.Dead, 2); bus.ReadDead(again.Header).Seq != 2 || string(again.Data) != "bad" {
		t.Errorf("got %v", again.Header)
	}
}

func TestErrorIsRetriedThenParked(t *testing.T) {
	var calls atomic.Int32
	js, p := started(t, work, bus.RouterConfig{}, bus.Route{
		MaxDeliver: 3, Backoff: []time.Duration{20 * time.Millisecond},
		Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
			if n := calls.Add(1); int(n) != m.Delivered {
				t.Errorf("call %d is delivery %d", n, m.Delivered)
			}
			return []bus.Out{{Subject: "beat.raw.a.b.c"}}, fmt.Errorf("no luck with %s", m.ID())
		},
	})
	send(t, p, task("4711"))
	holds(t, js, bus.Dead, 1)
	holds(t, js, bus.Tasks, 0)
	d := bus.ReadDead(read(t, js, bus.Dead, 1).Header)
	if d.Cause != bus.CauseRetries || d.Attempts != 3 || d.Error != "no luck with 4711" || d.Stack != "" {
		t.Errorf("got %+v", d)
	}
	if calls.Load() != 3 {
		t.Errorf("got %d calls, want 3", calls.Load())
	}
	if n := stored(t, js, bus.Raw); n != 0 {
		t.Errorf("%d messages were sent beside an error", n)
	}
}

func TestParkAndLater(t *testing.T) {
	const wait = 300 * time.Millisecond
	var mu sync.Mutex
	times := map[string][]time.Time{}
	js, p := started(t, work, bus.RouterConfig{}, bus.Route{
		MaxDeliver: 1, // Later is not an error
		Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
			mu.Lock()
			defer mu.Unlock()
			times[m.ID()] = append(times[m.ID()], time.Now())
			switch {
			case m.ID() == "park":
				return nil, fmt.Errorf("wrapped: %w", bus.Park("malformed", errors.New("no id")))
			case m.Delivered < 3:
				return nil, bus.Later(wait, errors.New("limited"))
			}
			return nil, nil
		},
	})
	send(t, p, task("park"), task("later"))
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Dead, 1)
	if d := bus.ReadDead(read(t, js, bus.Dead, 1).Header); d.Cause != "malformed" || d.Error != "no id" || d.Attempts != 1 {
		t.Errorf("got %+v", d)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(times["park"]) != 1 || len(times["later"]) != 3 {
		t.Fatalf("got %v", times)
	}
	if d := times["later"][2].Sub(times["later"][0]); d < 2*wait {
		t.Errorf("two waits of %s took %s", wait, d)
	}
}

// A message that comes again and again for no reason anyone reports is parked
// without its handler.
func TestMaxRedeliver(t *testing.T) {
	var calls atomic.Int32
	js, p := started(t, work, bus.RouterConfig{MaxRedeliver: 4}, bus.Route{
		Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) {
			calls.Add(1)
			return nil, bus.Later(time.Millisecond, nil)
		},
	})
	send(t, p, task("x"))
	holds(t, js, bus.Dead, 1)
	holds(t, js, bus.Tasks, 0)
	if d := bus.ReadDead(read(t, js, bus.Dead, 1).Header); d.Cause != bus.CauseDelivered || calls.Load() != 4 {
		t.Errorf("after %d calls got %+v", calls.Load(), d)
	}
}

// A message whose dead letter cannot be stored stays.
func TestNoLetterNoTerm(t *testing.T) {
	_, _, js := natstest.New(t)
	ensure(t, js, work)
	if err := js.DeleteStream(t.Context(), bus.Dead); err != nil {
		t.Fatal(err)
	}
	p := newPub(t, js, bus.PublisherConfig{Timeout: time.Second})
	var calls atomic.Int32
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: work, Backoff: []time.Duration{10 * time.Millisecond}, Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) {
		calls.Add(1)
		return nil, bus.Park("bad", nil)
	}})
	run(t, r)
	send(t, p, task("x"))
	within(t, 10*time.Second, "it is tried again", func() bool { return calls.Load() >= 2 })
	if n := stored(t, js, bus.Tasks); n != 1 {
		t.Fatalf("got %d messages, want 1", n)
	}
	ensure(t, js, work)
	holds(t, js, bus.Dead, 1)
	holds(t, js, bus.Tasks, 0)
}

// A full target gives the message back however often, and loses nothing.
func TestFullTargetHoldsBack(t *testing.T) {
	_, _, js := natstest.New(t)
	next := bus.Consumer{Stream: bus.Parsed, Durable: "next", Filter: []string{"beat.parsed.>"}}
	if _, err := bus.Ensure(t.Context(), js, bus.Options{MaxBytes: map[string]int64{bus.Parsed: 20_000}}, []bus.Consumer{work, next}); err != nil {
		t.Fatal(err)
	}
	p := newPub(t, js, bus.PublisherConfig{})
	var calls atomic.Int32
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: work, MaxDeliver: 2, Backoff: []time.Duration{10 * time.Millisecond}, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		calls.Add(1)
		return []bus.Out{{Subject: "beat.parsed.a.b", ID: "of " + m.ID(), Data: make([]byte, 1000)}}, nil
	}})
	run(t, r)
	const n = 50
	send(t, p, tasks(n)...)
	within(t, 10*time.Second, "messages come again", func() bool { return calls.Load() > 4*n })
	if d := stored(t, js, bus.Dead); d != 0 {
		t.Fatalf("%d messages parked for a full target", d)
	}
	var got atomic.Int32
	r2 := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r2.Add(bus.Route{Name: "next", Consumer: next, Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) {
		got.Add(1)
		return nil, nil
	}})
	run(t, r2)
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Parsed, 0)
	if got.Load() != n {
		t.Errorf("got %d, want %d", got.Load(), n)
	}
}

// Two processes on one durable share its messages; MaxAckPending bounds both
// together, and Concurrency each.
func TestFleet(t *testing.T) {
	_, _, js := natstest.New(t)
	c := work
	c.MaxAckPending = 6
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})

	var now, peak atomic.Int32
	var by, nowBy, peakBy [2]atomic.Int32
	free := make(chan struct{})
	rise := func(n *atomic.Int32, peak *atomic.Int32) {
		for v := n.Add(1); ; {
			if old := peak.Load(); v <= old || peak.CompareAndSwap(old, v) {
				return
			}
		}
	}
	for i := range 2 {
		r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
		r.Add(bus.Route{Name: "r", Consumer: c, Concurrency: 4, Handle: func(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
			rise(&now, &peak)
			rise(&nowBy[i], &peakBy[i])
			by[i].Add(1)
			<-free
			now.Add(-1)
			nowBy[i].Add(-1)
			return nil, nil
		}})
		run(t, r)
	}
	const n = 200
	send(t, p, tasks(n)...)
	within(t, 10*time.Second, "six are in flight", func() bool { return now.Load() == 6 })
	close(free)
	holds(t, js, bus.Tasks, 0)
	if peak.Load() != 6 || peakBy[0].Load() > 4 || peakBy[1].Load() > 4 {
		t.Errorf("peak %d of 6; %d and %d of 4", peak.Load(), peakBy[0].Load(), peakBy[1].Load())
	}
	if a, b := by[0].Load(), by[1].Load(); a == 0 || b == 0 || a+b != n {
		t.Errorf("handled %d and %d of %d", a, b, n)
	}
}

// A handler longer than AckWait keeps its message, and so does a message that
// nobody has taken out of the channel yet.
func TestInProgress(t *testing.T) {
	c := work
	c.AckWait = 400 * time.Millisecond
	var calls atomic.Int32
	js, p := started(t, c, bus.RouterConfig{}, bus.Route{Handle: func(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
		calls.Add(1)
		if m.Delivered != 1 {
			t.Errorf("%s: delivery %d", m.ID(), m.Delivered)
		}
		select {
		case <-time.After(3 * c.AckWait): // the work itself
		case <-ctx.Done():
		}
		return nil, nil
	}})
	send(t, p, tasks(5)...)
	holds(t, js, bus.Tasks, 0)
	if calls.Load() != 5 {
		t.Errorf("got %d calls, want 5", calls.Load())
	}
}

func TestUntakenMessageIsKept(t *testing.T) {
	_, _, js := natstest.New(t)
	c := work
	c.AckWait = 300 * time.Millisecond
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})
	send(t, p, tasks(10)...)
	s := bus.NewSubscriber(quiet, js, bus.SubscriberConfig{Consumer: func(string) bus.Consumer { return c }, MaxInFlight: 10})
	msgs, err := s.Subscribe(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	cons, err := js.Consumer(t.Context(), c.Stream, c.Durable)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	within(t, 5*time.Second, "three AckWaits pass", func() bool { return time.Since(start) > 3*c.AckWait })
	info, err := cons.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.NumRedelivered != 0 || info.NumAckPending != 10 {
		t.Errorf("%d redelivered, %d pending; want 0 and 10", info.NumRedelivered, info.NumAckPending)
	}
	for i := range 10 { // in the order of the stream
		m := <-msgs
		if in, ok := bus.Info(m); !ok || in.Seq != uint64(i+1) || m.UUID != strconv.Itoa(i) || m.Metadata["Color"] != "blue" {
			t.Errorf("message %d: %s %v %+v", i, m.UUID, m.Metadata, in)
		}
		m.Ack()
	}
	within(t, 5*time.Second, "the acks arrive", func() bool {
		info, err := cons.Info(t.Context())
		return err == nil && info.NumAckPending == 0 && info.AckFloor.Stream == 10
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := bus.Info(message.NewMessage("x", nil)); ok {
		t.Error("a stranger has Info")
	}
}

// Routers come and go under load: nothing is lost and nothing done twice.
func TestGracefulStop(t *testing.T) {
	_, _, js := natstest.New(t)
	c := work
	c.AckWait = time.Minute // what is not given back does not come back in this test
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})
	const n = 3000
	send(t, p, tasks(n)...)
	var done atomic.Int32
	for round := 0; done.Load() < n && round < 1000; round++ {
		r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
		enough := make(chan struct{})
		var once sync.Once
		var mine atomic.Int32
		r.Add(bus.Route{Name: "r", Consumer: c, Concurrency: 20, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
			if mine.Add(1) == 300 || done.Add(1) == n {
				once.Do(func() { close(enough) })
			}
			return []bus.Out{{Subject: "beat.raw.a.b.c", Data: m.Data}}, nil // no id: twice would show
		}})
		stop := run(t, r)
		select {
		case <-enough:
		case <-time.After(time.Second): // the rest was already done by the round before
		}
		stop()
		if stored(t, js, bus.Raw) >= n {
			break
		}
	}
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Raw, n)
}

// A handler that outlasts StopTimeout is told to end; its message goes to
// someone else at once, not after AckWait.
func TestStopTimeout(t *testing.T) {
	_, _, js := natstest.New(t)
	c := work
	c.AckWait = time.Minute
	ensure(t, js, c)
	p := newPub(t, js, bus.PublisherConfig{})
	begun := make(chan struct{})
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{StopTimeout: 100 * time.Millisecond})
	r.Add(bus.Route{Name: "r", Consumer: c, MaxDeliver: 1, Handle: func(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	stop := run(t, r)
	send(t, p, task("x"))
	<-begun
	stop()

	again := make(chan int, 1)
	r = bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: c, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		again <- m.Delivered
		return nil, nil
	}})
	run(t, r)
	select {
	case d := <-again:
		if d != 2 {
			t.Errorf("got delivery %d, want 2", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the message did not come again")
	}
	holds(t, js, bus.Tasks, 0)
	holds(t, js, bus.Dead, 0)
}

func TestRunWithoutConsumer(t *testing.T) {
	_, _, js := natstest.New(t)
	ensure(t, js)
	p := newPub(t, js, bus.PublisherConfig{})
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	r.Add(bus.Route{Name: "r", Consumer: work, Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) { return nil, nil }})
	if err := r.Run(t.Context()); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("got %v, want ErrConsumerNotFound", err)
	}
}

func TestBadRoutesPanic(t *testing.T) {
	handle := func(context.Context, *bus.Msg) ([]bus.Out, error) { return nil, nil }
	for name, routes := range map[string][]bus.Route{
		"no name":     {{Consumer: work, Handle: handle}},
		"no handler":  {{Name: "r", Consumer: work}},
		"no consumer": {{Name: "r", Handle: handle}},
		"twice":       {{Name: "r", Consumer: work, Handle: handle}, {Name: "r", Consumer: work, Handle: handle}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, js := natstest.New(t)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			bus.NewRouter(quiet, js, newPub(t, js, bus.PublisherConfig{}), bus.RouterConfig{}).Add(routes...)
		})
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	_, _, js := natstest.New(t)
	ensure(t, js, work)
	here := goleak.IgnoreCurrent()
	p := bus.NewPublisher(quiet, js, bus.PublisherConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := bus.NewRouter(quiet, js, p, bus.RouterConfig{})
	var left atomic.Int32
	left.Store(100)
	r.Add(bus.Route{Name: "r", Consumer: work, Handle: func(context.Context, *bus.Msg) ([]bus.Out, error) {
		if left.Add(-1) == 0 {
			cancel()
		}
		return []bus.Out{{Subject: "beat.raw.a.b.c"}}, nil
	}})
	send(t, p, tasks(100)...)
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, here,
		// The server's own, which come and go with what it stores.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).startGoRoutine.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*consumerFileStore).flushLoop"),
	)
}

func TestFingerprint(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"digits", "post 123 has 4 fields", "post 77 has 5 fields", true},
		{"ids", "no user C-x9_Qa in answer", "no user 17841400 in answer", true},
		{"words", "no user", "no post", false},
	} {
		if got := bus.Fingerprint("x", c.a) == bus.Fingerprint("x", c.b); got != c.same {
			t.Errorf("%s: %q and %q: got %v, want %v", c.name, c.a, c.b, got, c.same)
		}
	}
	if bus.Fingerprint("x", "y") == bus.Fingerprint("y", "y") {
		t.Error("the cause makes no difference")
	}
}
