package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/bus"
)

// A Delivery is a message as its handler sees it. Body must not be changed.
// Nothing else is told: the producers send neither content type nor ids
// (contract/amqp.md 5).
type Delivery struct {
	Queue     string
	Body      []byte
	Again     bool // it was delivered before, and may have had its effect
	Try       int  // of this delivery, 1 the first
	MessageID string
}

// A Handler gives a message its effect, and returns once that is stored. It may
// be called again with the same message, also while an earlier call still runs
// elsewhere. Its error decides about the message, see the package comment.
type Handler func(ctx context.Context, d Delivery) error

type poison struct {
	cause string
	err   error
	stack []byte
}

func (e *poison) Error() string { return e.cause + ": " + e.err.Error() }
func (e *poison) Unwrap() error { return e.err }

// Poison says that a message can never succeed. The cause is a constant word
// that groups such messages; err names the field and what shape it has, and
// shows no value: it may be a secret.
func Poison(cause string, err error) error { return &poison{cause: cause, err: err} }

// Malformed is Poison for a message whose shape is wrong.
func Malformed(format string, args ...any) error {
	return Poison("malformed", fmt.Errorf(format, args...))
}

type ignore struct{ why string }

func (e *ignore) Error() string { return "ignored: " + e.why }

// Ignore says that a message asks for nothing that beat does, and why.
func Ignore(why string) error { return &ignore{why} }

// Ignored reports whether err is of Ignore.
func Ignored(err error) bool {
	_, ok := errors.AsType[*ignore](err)
	return ok
}

type outage struct{ err error }

func (e *outage) Error() string { return e.err.Error() }
func (e *outage) Unwrap() error { return e.err }

// Outage says that no message can succeed now, for a server is away.
func Outage(err error) error { return &outage{err} }

// A Sender stores messages. *bus.Publisher is one.
type Sender interface {
	Send(ctx context.Context, outs ...bus.Out) error
}

// A Listener runs handlers on the queues.
type Listener struct {
	lg       *slog.Logger
	sub      *Subscriber
	dead     Sender
	handlers map[string]Handler
}

// New returns a Listener of the queues that have a handler, by name. Dead letters
// go to dead. It does no I/O, and panics on a queue that is none of beat's.
func New(lg *slog.Logger, dead Sender, cfg Config, handlers map[string]Handler) *Listener {
	for name := range handlers {
		if _, ok := queue(name); !ok {
			panic(fmt.Sprintf("listen: %q is no queue of beat", name))
		}
	}
	return &Listener{lg.With("stage", "listen"), NewSubscriber(lg, cfg), dead, handlers}
}

// Collectors are the listener's metrics, to be registered once.
func (l *Listener) Collectors() []prometheus.Collector { return l.sub.metrics.all }

// Run listens until ctx ends; then it finishes what is in hand and returns nil.
func (l *Listener) Run(ctx context.Context) error {
	wr, err := message.NewRouter(message.RouterConfig{CloseTimeout: l.sub.cfg.Stop + 3*time.Second}, logger{l.lg})
	if err != nil {
		return fmt.Errorf("listen: router: %w", err)
	}
	for name, h := range l.handlers {
		q, _ := queue(name)
		wr.AddConsumerHandler(name, name, l.sub, l.decide(ctx, q, h))
	}
	// The connection is needed until the last ack is out.
	conn, cut := context.WithCancel(context.WithoutCancel(ctx))
	lost := make(chan error, 1)
	routed, halt := context.WithCancel(ctx)
	defer halt()
	go func() {
		lost <- l.sub.Run(conn)
		halt() // it ends before we say so only if the address is none
	}()
	err = wr.Run(routed)
	l.sub.Close() //nolint:errcheck // it has none
	cut()
	return errors.Join(err, <-lost)
}

// decide is the Watermill handler of q: the only place that says what the error
// of a handler means for its message.
func (l *Listener) decide(ctx context.Context, q Queue, h Handler) message.NoPublishHandlerFunc {
	count := func(outcome string) { l.sub.metrics.messages.WithLabelValues(q.Name, outcome).Inc() }
	return func(m *message.Message) error {
		d := delivery(q, m)
		begin := time.Now()
		err := l.call(m.Context(), d, h)
		l.sub.metrics.seconds.WithLabelValues(q.Name).Observe(time.Since(begin).Seconds())
		var (
			bad  *poison
			skip *ignore
			away *outage
		)
		switch {
		case err == nil:
			count("done")
			m.Ack()
			return nil
		case errors.As(err, &skip):
			count("ignored")
			l.lg.InfoContext(ctx, "message ignored", "queue", q.Name, "why", skip.why)
			m.Ack()
			return nil
		case errors.As(err, &bad):
		case ctx.Err() != nil || m.Context().Err() != nil: // it goes back to the queue
		case errors.As(err, &away):
		case d.Try >= l.sub.cfg.Tries:
			bad = &poison{cause: bus.CauseRetries, err: err}
		}
		if bad != nil {
			why := l.dead.Send(m.Context(), letter(q, d, bad, l.sub.cfg.MaxBody))
			if why == nil {
				count("dead")
				l.lg.ErrorContext(ctx, "message parked", "queue", q.Name, "cause", bad.cause, "err", bad.err)
				m.Ack()
				return nil
			}
			err = fmt.Errorf("dead letter not stored: %w", why)
		}
		count("again")
		level := slog.LevelDebug
		if d.Try == loud {
			level = slog.LevelWarn
		}
		l.lg.Log(ctx, level, "message not handled, trying again", "queue", q.Name, "attempt", d.Try, "err", err)
		m.Nack() // not by an error, which Watermill would log each time
		return nil
	}
}

// loud is the try whose failure is worth a line of the log.
const loud = 3

// call calls the handler; a panic is poison.
func (l *Listener) call(ctx context.Context, d Delivery, h Handler) (err error) {
	if len(d.Body) > l.sub.cfg.MaxBody {
		return Poison("oversized", fmt.Errorf("%d bytes, more than %d", len(d.Body), l.sub.cfg.MaxBody))
	}
	defer func() {
		if x := recover(); x != nil {
			// Not x itself: it may hold a part of the message.
			err = &poison{cause: bus.CausePanic, err: fmt.Errorf("a %T", x), stack: debug.Stack()}
		}
	}()
	return h(ctx, d)
}

// Metadata of the subscriber's messages.
const (
	metaAgain = "amqp_redelivered"
	metaTry   = "amqp_try"
	metaID    = "amqp_message_id"
)

func newMessage(ctx context.Context, _ Queue, d amqp.Delivery, try int) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), d.Body)
	m.Metadata[metaAgain] = strconv.FormatBool(d.Redelivered)
	m.Metadata[metaTry] = strconv.Itoa(try)
	m.Metadata[metaID] = d.MessageId
	m.SetContext(ctx)
	return m
}

func delivery(q Queue, m *message.Message) Delivery {
	try, _ := strconv.Atoi(m.Metadata[metaTry]) //nolint:errcheck // ours
	return Delivery{Queue: q.Name, Body: m.Payload, Again: m.Metadata[metaAgain] == "true" || try > 1, Try: try, MessageID: m.Metadata[metaID]}
}

// logger lets Watermill speak through slog, of errors only.
type logger struct{ lg *slog.Logger }

func (l logger) Error(msg string, err error, _ watermill.LogFields) {
	l.lg.Error("watermill: "+msg, "err", err)
}
func (l logger) Info(string, watermill.LogFields)                 {}
func (l logger) Debug(string, watermill.LogFields)                {}
func (l logger) Trace(string, watermill.LogFields)                {}
func (l logger) With(watermill.LogFields) watermill.LoggerAdapter { return l }
