package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// A Handler turns one message into the messages that follow from it. It may be
// called again with the same message, also while an earlier call still runs
// somewhere; what it returns then has the same ids. The router stores the
// outgoing messages and acknowledges m after that. Its error decides about m,
// see Later, Park and Drop; what it returns beside an error is not sent.
//
// ctx ends only when a stopping router runs out of patience.
type Handler func(ctx context.Context, m *Msg) ([]Out, error)

// Route is a handler and what it reads: one role, or a part of one. A zero
// field means its default.
type Route struct {
	Name     string   // a metric label and the last token of dead letters' subject
	Consumer Consumer // must exist, see Ensure
	// Concurrency is how many handlers run in this process. The consumer's
	// MaxAckPending bounds all processes together, and is the default.
	Concurrency int
	// MaxDeliver is after how many deliveries an ordinary error parks the
	// message. Default 8. Deliveries that ended in Later count, but only an
	// error parks.
	MaxDeliver int
	Backoff    []time.Duration // after ordinary errors, the last repeating; default 1s, 2s, 5s, 10s, 30s
	Handle     Handler
}

// RouterConfig is what all routes of a process share. A zero field means its
// default.
type RouterConfig struct {
	// StopTimeout is how long held messages may take once the router is told to
	// stop; then their handlers' context ends. Default 30s.
	StopTimeout time.Duration
	// MaxRedeliver parks a message unseen that was delivered this often, for
	// whatever reason: its handler never comes back. Default 1000, so that no
	// outage of hours, with a Later every ten seconds, parks anything.
	MaxRedeliver int
	// Version is that of the parser which reads m, 0 for none. Its dead letter says
	// it, whatever m has died of. May be nil.
	Version func(m *Msg) int
	// OnDead may add messages to a dead letter, such as the failure of the
	// task. They are stored after the letter and before the message is gone.
	OnDead func(ctx context.Context, m *Msg, cause string, err error) []Out
	// Middleware goes around every handler, inside of the bus's own.
	Middleware []message.HandlerMiddleware
	Metrics    *Metrics // default unregistered ones
}

// Router runs routes on a Watermill router. Run it once.
type Router struct {
	lg  *slog.Logger
	js  jetstream.JetStream
	pub *Publisher
	cfg RouterConfig

	routes   []*route
	stopping atomic.Bool

	// The context of handlers and of what follows them; set by Run.
	work    context.Context
	giveUp  context.CancelFunc
	running chan struct{}
}

type route struct {
	Route
	r   *Router
	sub *Subscriber

	delivered, acked, naked, parked prometheus.Counter
	seconds                         prometheus.Observer
}

// NewRouter returns a Router that reads through js and writes through pub.
func NewRouter(lg *slog.Logger, js jetstream.JetStream, pub *Publisher, cfg RouterConfig) *Router {
	if cfg.StopTimeout <= 0 {
		cfg.StopTimeout = 30 * time.Second
	}
	if cfg.MaxRedeliver <= 0 {
		cfg.MaxRedeliver = 1000
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	return &Router{lg: lg, js: js, pub: pub, cfg: cfg, running: make(chan struct{})}
}

// Add takes routes; only before Run. It panics on a row that cannot be right.
func (r *Router) Add(routes ...Route) {
	for _, rt := range routes {
		switch {
		case rt.Name == "", rt.Handle == nil, rt.Consumer.Stream == "", rt.Consumer.Durable == "":
			panic(fmt.Sprintf("bus: route %q needs a name, a handler, a stream and a durable", rt.Name))
		}
		for _, other := range r.routes {
			if other.Name == rt.Name {
				panic(fmt.Sprintf("bus: two routes are named %q", rt.Name))
			}
		}
		if rt.MaxDeliver <= 0 {
			rt.MaxDeliver = 8
		}
		if len(rt.Backoff) == 0 {
			rt.Backoff = backoff
		}
		m := r.cfg.Metrics
		r.routes = append(r.routes, &route{
			Route:     rt,
			r:         r,
			delivered: m.Delivered.WithLabelValues(rt.Name),
			acked:     m.Acked.WithLabelValues(rt.Name),
			naked:     m.Naked.WithLabelValues(rt.Name),
			parked:    m.Parked.WithLabelValues(rt.Name),
			seconds:   m.Seconds.WithLabelValues(rt.Name),
			sub: NewSubscriber(r.lg.With("route", rt.Name), r.js, SubscriberConfig{
				Consumer:    func(string) Consumer { return rt.Consumer },
				MaxInFlight: rt.Concurrency,
				Backoff:     rt.Backoff,
				// Handlers are told to end before that; this is for those
				// that do not listen.
				CloseTimeout: r.cfg.StopTimeout + 2*time.Second,
			}),
		})
	}
}

// Running is closed once all routes take messages.
func (r *Router) Running() <-chan struct{} { return r.running }

// Run works until ctx ends; then it takes no more, gives back what no handler
// has begun, lets the others finish within StopTimeout, and returns nil.
func (r *Router) Run(ctx context.Context) error {
	if len(r.routes) == 0 {
		close(r.running)
		<-ctx.Done()
		return nil
	}
	for _, t := range r.routes {
		if _, err := r.js.Consumer(ctx, t.Consumer.Stream, t.Consumer.Durable); err != nil {
			return fmt.Errorf("bus: route %s: consumer %s/%s: %w", t.Name, t.Consumer.Stream, t.Consumer.Durable, err)
		}
	}
	r.work, r.giveUp = context.WithCancel(context.WithoutCancel(ctx))
	defer r.giveUp()

	wr, err := message.NewRouter(message.RouterConfig{CloseTimeout: r.cfg.StopTimeout + 3*time.Second}, logger{r.lg})
	if err != nil {
		return fmt.Errorf("bus: router: %w", err)
	}
	for _, t := range r.routes {
		h := wr.AddConsumerHandler(t.Name, t.Consumer.Stream+"/"+t.Consumer.Durable, t.sub, t.handle)
		h.AddMiddleware(t.decide)
		h.AddMiddleware(r.cfg.Middleware...)
		h.AddMiddleware(recoverPanic)
	}

	stopped := context.AfterFunc(ctx, func() {
		r.stopping.Store(true)
		r.lg.Info("stopping", "timeout", r.cfg.StopTimeout)
		patience := time.AfterFunc(r.cfg.StopTimeout, r.giveUp)
		context.AfterFunc(r.work, func() { patience.Stop() })
	})
	defer stopped()
	go func() {
		select {
		case <-wr.Running():
			close(r.running)
		case <-r.work.Done():
		}
	}()

	trim := newTrimmer(r.js, r.routes)
	trimCtx, stopTrim := context.WithCancel(r.work)
	trimmed := make(chan struct{})
	go func() {
		defer close(trimmed)
		trim.run(trimCtx, func(err error) { r.lg.Warn("acked messages not removed yet", "err", err) })
	}()
	defer func() {
		stopTrim()
		<-trimmed
	}()

	err = wr.Run(ctx)
	if err != nil { // a consumer vanished since we looked
		r.stopping.Store(true)
		r.giveUp()
		for _, t := range r.routes {
			_ = t.sub.Close()
		}
		go wr.Close() // waits, in vain, for the routes that never began
		return fmt.Errorf("bus: router: %w", err)
	}
	for _, t := range r.routes {
		_ = t.sub.Close() // waits for the held ones, and flushes the acks
	}
	stopTrim()
	<-trimmed
	if err := trim.last(context.WithoutCancel(ctx)); err != nil {
		r.lg.Debug("acked messages not removed yet", "err", err) // the next process does
	}
	if ctx.Err() == nil {
		return errors.New("bus: router: all subscriptions ended")
	}
	return nil
}

// handle is the Watermill handler: the route's own, then the publishing.
func (t *route) handle(w *message.Message) error {
	m, ok := Info(w)
	if !ok {
		return errors.New("bus: not a message of this bus")
	}
	outs, err := t.Handle(t.r.work, m)
	if err != nil || len(outs) == 0 {
		return err
	}
	return t.r.pub.Send(t.r.work, outs...)
}

// loud is the delivery whose failure is worth a line of the log: a hiccup heals
// before, and what does not is to be seen once for each message.
const loud = 3

// decide is the outermost middleware: it turns the error of everything inside
// into what happens to the message.
func (t *route) decide(next message.HandlerFunc) message.HandlerFunc {
	return func(w *message.Message) ([]*message.Message, error) {
		d, _ := w.Context().Value(deliveryKey{}).(*delivery)
		if d == nil {
			return nil, errors.New("bus: not a message of this bus")
		}
		start := time.Now()
		t.delivered.Inc()
		var err error
		if d.Delivered > t.r.cfg.MaxRedeliver {
			err = Park(CauseDelivered, fmt.Errorf("delivered %d times", d.Delivered))
		} else {
			_, err = next(w)
		}
		v, wait, p := t.judge(err, d.Delivered, t.r.stopping.Load())
		if v == park {
			if err := t.bury(d, p); err != nil {
				t.r.lg.Warn("dead letter not stored, trying again", "route", t.Name, "seq", d.Seq, "err", err)
				v, wait = delay, t.delay(d.Delivered)
			}
		}
		t.settle(d, v, wait)
		t.seconds.Observe(time.Since(start).Seconds())
		if err != nil && v != park {
			level := slog.LevelDebug
			if d.Delivered == loud {
				level = slog.LevelWarn
			}
			t.r.lg.Log(w.Context(), level, "handler failed", "route", t.Name, "seq", d.Seq, "attempt", d.Delivered, "err", err)
		}
		return nil, nil
	}
}

func (t *route) settle(d *delivery, v verdict, wait time.Duration) {
	switch v {
	case ack:
		t.acked.Inc()
		d.w.Ack()
	case park:
		t.parked.Inc()
		d.deed = terminate
		d.w.Ack()
	case release:
		t.naked.Inc()
		d.deed = giveBack
		d.w.Nack()
	case delay:
		t.naked.Inc()
		d.deed, d.delay = postpone, wait
		d.w.Nack()
	}
}

// bury stores a message's dead letter, and what the application adds to it.
// Only then may the message be terminated.
func (t *route) bury(d *delivery, p *parkError) error {
	outs := []Out{letter(t.Name, &d.Msg, p, time.Now())}
	if t.r.cfg.Version != nil {
		if v := t.r.cfg.Version(&d.Msg); v > 0 {
			ReadBy(v)(outs[0].Header)
		}
	}
	if t.r.cfg.OnDead != nil {
		outs = append(outs, t.r.cfg.OnDead(t.r.work, &d.Msg, p.cause, p.err)...)
	}
	if err := t.r.pub.Send(t.r.work, outs...); err != nil {
		return err
	}
	t.r.lg.Error("message parked", "route", t.Name, "stream", d.Stream, "seq", d.Seq,
		"cause", p.cause, "attempt", d.Delivered, "err", p.err)
	return nil
}

// recoverPanic is the innermost middleware: a panic is a reason to park.
func recoverPanic(next message.HandlerFunc) message.HandlerFunc {
	return func(w *message.Message) (out []*message.Message, err error) {
		defer func() {
			if x := recover(); x != nil {
				err = &parkError{cause: CausePanic, err: fmt.Errorf("%v", x), stack: debug.Stack()}
			}
		}()
		return next(w)
	}
}

// logger lets Watermill speak through slog. What it says per message is dropped,
// since decide says it better.
type logger struct{ lg *slog.Logger }

func (l logger) Error(msg string, err error, f watermill.LogFields) {
	l.lg.Error("watermill: "+msg, "err", err)
}
func (l logger) Info(msg string, f watermill.LogFields)             {}
func (l logger) Debug(msg string, f watermill.LogFields)            {}
func (l logger) Trace(msg string, f watermill.LogFields)            {}
func (l logger) With(f watermill.LogFields) watermill.LoggerAdapter { return l }
