package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
)

// A Subscriber reads queues over one connection. It is a Watermill
// message.Subscriber and safe for concurrent use; its topics are names of queues.
//
// Each subscription has as many consumers as its row of Queues says, each with a
// channel of its own and one message in hand. A message that is nacked comes
// again from here, after Config.Backoff; see the package comment.
type Subscriber struct {
	lg      *slog.Logger
	cfg     Config
	queues  func(topic string) (Queue, bool)
	metrics *metrics
	stop    context.Context // ends with Close
	end     context.CancelFunc
	wg      sync.WaitGroup // consumers

	mu    sync.Mutex
	sess  *session      // nil while there is no connection
	ready chan struct{} // closed when sess is set, replaced when it is cleared
	said  map[string]time.Time
}

// A session is one connection.
type session struct {
	conn *amqp.Connection
	over chan struct{} // closed once it is lost
}

// ErrClosed is the error of Subscribe after Close.
var ErrClosed = errors.New("listen: subscriber is closed")

// NewSubscriber returns a Subscriber. It does no I/O: Run does.
func NewSubscriber(lg *slog.Logger, cfg Config) *Subscriber {
	s := &Subscriber{lg: lg.With("stage", "listen"), cfg: cfg.withDefaults(), queues: queue, metrics: newMetrics(),
		ready: make(chan struct{}), said: map[string]time.Time{}}
	s.stop, s.end = context.WithCancel(context.Background())
	return s
}

// Run keeps a connection until ctx ends. It returns nil then, and an error at
// once if the address is none.
func (s *Subscriber) Run(ctx context.Context) error {
	nodes, err := broker.Parse(s.cfg.URL, s.cfg.CA)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	wait := backoff{min: s.cfg.RetryMin, max: s.cfg.RetryMax}
	away := false // has been said
	for {
		conn, at, err := nodes.Dial(ctx, broker.Dialing{Name: "beat-listen"})
		switch {
		case ctx.Err() != nil:
			if err == nil {
				s.bye(conn)
			}
			return nil
		case err != nil:
			if !away {
				s.lg.WarnContext(ctx, "rabbitmq unreachable", "broker", nodes.String(), "err", err)
			}
		default:
			s.lg.InfoContext(ctx, "rabbitmq connected", "broker", at)
			begin := time.Now()
			why := s.serve(ctx, conn)
			if ctx.Err() != nil {
				return nil
			}
			s.metrics.reconnects.Inc()
			s.lg.WarnContext(ctx, "rabbitmq connection lost", "broker", at, "err", why)
			if time.Since(begin) > wait.max {
				wait.last = 0
			}
		}
		away = true
		if !sleep(ctx, wait.next(), nil) {
			return nil
		}
	}
}

// serve lends out the connection until it is lost or ctx ends.
func (s *Subscriber) serve(ctx context.Context, conn *amqp.Connection) error {
	sess := &session{conn, make(chan struct{})}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	s.metrics.up.Set(1)
	s.mu.Lock()
	s.sess = sess
	close(s.ready)
	s.mu.Unlock()
	defer func() {
		s.metrics.up.Set(0)
		s.metrics.blocked.Set(0)
		s.mu.Lock()
		s.sess, s.ready = nil, make(chan struct{})
		s.mu.Unlock()
		close(sess.over)
		s.bye(conn)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err, ok := <-closed:
			if !ok || err == nil {
				return amqp.ErrClosed
			}
			return err
		case b, ok := <-blocks:
			if !ok { // the connection is ending, closed will say why
				blocks = nil
				continue
			}
			s.metrics.blocked.Set(0)
			if b.Active {
				s.metrics.blocked.Set(1)
			}
			s.lg.WarnContext(ctx, "rabbitmq blocks its publishers", "blocked", b.Active, "reason", b.Reason)
		}
	}
}

// bye closes a connection. The broker gets two seconds to say goodbye.
func (s *Subscriber) bye(conn *amqp.Connection) {
	_ = conn.CloseDeadline(time.Now().Add(2 * time.Second))
}

// session waits for a connection.
func (s *Subscriber) session(ctx context.Context) *session {
	for {
		s.mu.Lock()
		sess, ready := s.sess, s.ready
		s.mu.Unlock()
		if sess != nil {
			return sess
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
	}
}

// Subscribe reads a queue until ctx ends or Close is called; then its channel is
// closed. It waits for no connection.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	q, ok := s.queues(topic)
	if !ok {
		return nil, fmt.Errorf("listen: %q is no queue of beat", topic)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(s.stop, cancel)
	out := make(chan *message.Message)
	var all sync.WaitGroup
	for n := range q.Consumers {
		all.Go(func() { s.consumer(ctx, q, n == 0, out) })
	}
	s.wg.Go(func() {
		all.Wait()
		unhook()
		cancel()
		close(out)
	})
	return out, nil
}

// Close ends all subscriptions, waits for what is in hand, and gives back the
// rest. Run has to go on meanwhile, for the acks.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.end()
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// consumer reads q over one connection after the other.
func (s *Subscriber) consumer(ctx context.Context, q Queue, first bool, out chan<- *message.Message) {
	wait := backoff{min: s.cfg.RetryMin, max: s.cfg.RetryMax}
	for {
		sess := s.session(ctx)
		if sess == nil {
			return
		}
		begin := time.Now()
		err := s.consume(ctx, sess, q, first, out)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > wait.max {
			wait.last = 0
		}
		if !sess.conn.IsClosed() && s.complain("read "+q.Name) {
			s.lg.WarnContext(ctx, "queue is not read, trying again", "queue", q.Name, "err", err)
		}
		if !sleep(ctx, wait.next(), nil) {
			return
		}
	}
}

// consume reads q over a channel, until that ends or ctx does.
func (s *Subscriber) consume(ctx context.Context, sess *session, q Queue, first bool, out chan<- *message.Message) error {
	var recheck <-chan time.Time
	if !s.cfg.NoDeclare && !s.ensure(ctx, sess, q) && first {
		t := time.NewTicker(s.cfg.Recheck)
		defer t.Stop()
		recheck = t.C
	}
	ch, err := sess.conn.Channel()
	if err != nil {
		return err
	}
	lost := make(chan struct{})
	var why *amqp.Error // once lost is closed
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	go func() {
		why = <-closed
		close(lost)
	}()
	defer func() {
		if !ch.IsClosed() {
			ch.Close() //nolint:errcheck // what is not acked goes back either way
		}
		<-lost
	}()
	if err := ch.Qos(q.Prefetch, 0, false); err != nil {
		return err
	}
	in, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	s.metrics.consumers.WithLabelValues(q.Name).Inc()
	defer s.metrics.consumers.WithLabelValues(q.Name).Dec()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-recheck:
			if s.ensure(ctx, sess, q) {
				recheck = nil
			}
		case d, ok := <-in:
			if ok {
				s.hold(ctx, lost, q, d, out)
				continue
			}
			select {
			case <-lost:
				if why != nil {
					return why
				}
				return amqp.ErrClosed
			default:
				return errors.New("the broker ended the consumer: the queue was deleted, or moves")
			}
		}
	}
}

// ensure declares and binds. What fails may still be readable: somebody else may
// have made it.
func (s *Subscriber) ensure(ctx context.Context, sess *session, q Queue) (bound bool) {
	bound, err := broker.Ensure(sess.conn, q.binding(), s.cfg.QueueType)
	switch {
	case sess.conn.IsClosed():
	case err != nil:
		if s.complain("ensure " + q.Name) {
			s.lg.ErrorContext(ctx, "queue cannot be declared and bound", "queue", q.Name, "err", err)
		}
	case !bound && s.complain("bind "+q.Name):
		s.lg.WarnContext(ctx, "exchange is missing: the queue is read unbound", "queue", q.Name, "exchange", q.Exchange)
	}
	return bound
}

// complain reports whether what may be said now.
func (s *Subscriber) complain(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.said[what]) < s.cfg.Recheck {
		return false
	}
	s.said[what] = time.Now()
	return true
}

// hold has one delivery in hand until it is settled.
func (s *Subscriber) hold(ctx context.Context, lost <-chan struct{}, q Queue, d amqp.Delivery, out chan<- *message.Message) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { // patience with what is in hand
		t := time.AfterFunc(s.cfg.Stop, cancel)
		context.AfterFunc(work, func() { t.Stop() })
	})()
	since := time.Now()
	for try := 1; ; try++ {
		m := newMessage(work, q, d, try)
		select {
		case <-ctx.Done():
			s.giveBack(q, d)
			return
		case <-lost:
			return
		case out <- m:
		}
		select {
		case <-m.Acked():
		case <-m.Nacked():
		case <-lost:
			cancel() // it comes again, and its twin need not wait for this one
			select {
			case <-m.Acked():
			case <-m.Nacked():
			}
			return
		}
		select {
		case <-m.Acked():
			_ = d.Ack(false) // a lost one means one more delivery
			return
		default:
		}
		wait := s.cfg.Backoff[min(try, len(s.cfg.Backoff))-1]
		if !sleep(ctx, wait, lost) || time.Since(since) > s.cfg.Hold {
			s.giveBack(q, d)
			return
		}
	}
}

func (s *Subscriber) giveBack(q Queue, d amqp.Delivery) {
	s.metrics.messages.WithLabelValues(q.Name, "given back").Inc()
	_ = d.Nack(false, true) // without a channel it goes back by itself
}

// backoff doubles from min to max, each delay a random part of 50 to 100 %.
type backoff struct{ min, max, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(b.last*2, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1)
}

// sleep reports whether it slept all of d. either ends it, as ctx does.
func sleep(ctx context.Context, d time.Duration, either <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-either:
		return false
	case <-t.C:
		return true
	}
}
