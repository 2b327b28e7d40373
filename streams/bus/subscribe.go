package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// backoff is the delay before delivery n+2 after failed delivery n+1; the last
// one repeats. The eight tries of a route take about two minutes.
var backoff = []time.Duration{
	1 * time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// SubscriberConfig says what a Subscriber reads and how much it holds. A zero
// field means its default.
type SubscriberConfig struct {
	// Consumer names the durable that serves a topic; only Stream and Durable
	// are read. It must exist, see Ensure. Required.
	Consumer func(topic string) Consumer
	// MaxInFlight bounds the messages held by one subscription, buffered ones
	// included. No more than the consumer's MaxAckPending; that is the default.
	MaxInFlight int
	// Backoff is the delay of a nacked message by delivery, the last repeating.
	// Default 1s, 2s, 5s, 10s, 30s.
	Backoff []time.Duration
	// CloseTimeout is how long Close waits for the messages still held; after
	// that they are given back. Default 30s.
	CloseTimeout time.Duration
}

// Subscriber reads durable pull consumers. It is a Watermill message.Subscriber
// and safe for concurrent use; the connection stays the caller's.
//
// It asks the server for exactly as many messages as it has room for, so what
// it holds is never more than MaxInFlight and a slow process keeps nothing from
// a fast one. Messages arrive in stream order. While one is held the server is
// told so every half AckWait.
//
// When the context of Subscribe ends, or Close is called, it stops taking,
// gives back what nobody has received, and closes the channel. What was
// received may still be acked or nacked until Close gives up.
type Subscriber struct {
	lg  *slog.Logger
	js  jetstream.JetStream
	nc  *nats.Conn
	cfg SubscriberConfig

	mu     sync.Mutex
	closed bool
	stop   context.Context // ends with Close
	end    context.CancelFunc
	pulls  map[*pull]struct{}
	gone   sync.WaitGroup // pulls
}

// NewSubscriber returns a Subscriber on the connection of js.
func NewSubscriber(lg *slog.Logger, js jetstream.JetStream, cfg SubscriberConfig) *Subscriber {
	if cfg.Backoff == nil {
		cfg.Backoff = backoff
	}
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = 30 * time.Second
	}
	s := &Subscriber{lg: lg, js: js, nc: js.Conn(), cfg: cfg, pulls: map[*pull]struct{}{}}
	s.stop, s.end = context.WithCancel(context.Background())
	return s
}

// Subscribe starts reading the topic's consumer.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	c := s.cfg.Consumer(topic)
	cons, err := s.js.Consumer(ctx, c.Stream, c.Durable)
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe %s/%s: %w", c.Stream, c.Durable, err)
	}
	have := cons.CachedInfo().Config
	most := s.cfg.MaxInFlight
	if have.MaxAckPending > 0 && (most <= 0 || most > have.MaxAckPending) {
		most = have.MaxAckPending
	}
	if most <= 0 {
		most = 256
	}
	p := newPull(s, ctx, c.Stream, c.Durable, most, have.AckWait)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		p.cancel()
		return nil, fmt.Errorf("bus: subscriber: %w", ErrClosed)
	}
	if err := p.start(); err != nil {
		p.cancel()
		return nil, fmt.Errorf("bus: subscribe %s/%s: %w", c.Stream, c.Durable, err)
	}
	s.pulls[p] = struct{}{}
	s.gone.Go(func() {
		p.run()
		s.mu.Lock()
		delete(s.pulls, p)
		s.mu.Unlock()
	})
	return p.out, nil
}

// Close stops taking, waits for what is held, and gives back what is not settled
// in time. The connection stays open.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()

	done := make(chan struct{})
	go func() {
		s.gone.Wait()
		close(done)
	}()
	t := time.NewTimer(s.cfg.CloseTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		s.mu.Lock()
		for p := range s.pulls {
			p.abandon()
		}
		s.mu.Unlock()
		<-done
	}
	// Acks are only written to the connection so far.
	if err := s.nc.FlushTimeout(time.Second); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.lg.Warn("acks may be lost; their messages will come again", "err", err)
	}
	return nil
}

func (s *Subscriber) delay(delivered int) time.Duration {
	b := s.cfg.Backoff
	if len(b) == 0 {
		return 0
	}
	return b[min(max(delivered, 1), len(b))-1]
}
