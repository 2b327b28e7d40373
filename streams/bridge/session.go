package bridge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
)

// A session is one connection, from its handshake to its end.
type session struct {
	conn   *amqp.Connection
	cork   *cork // of conn; with TLS it holds the ciphertext
	window int
	closed chan *amqp.Error   // the connection's end
	blocks chan amqp.Blocking // the broker's alarms
	broken chan error         // a lane's verdict that the connection is no use
	over   chan struct{}      // closed when the session is
	slots  chan struct{}      // one per lane that is leased
	worked atomic.Bool        // the broker has confirmed something

	bgMu sync.Mutex     // guards close of over against wg.Go
	wg   sync.WaitGroup // of background

	mu    sync.Mutex
	idle  []*lane
	clear chan struct{} // closed unless the broker is blocking

	idMu    sync.Mutex
	idKnown bool      // identity.dx was seen
	idUntil time.Time // and is believed missing until then
}

// connect makes a session and declares what is ours. at is the address that
// answered.
func (p *Publisher) connect(ctx context.Context, nodes *broker.Cluster) (s *session, at string, err error) {
	var wire *cork
	conn, at, err := nodes.Dial(ctx, broker.Dialing{
		Name: p.cfg.Name, Timeout: p.cfg.ConnectTimeout, Heartbeat: p.cfg.Heartbeat,
		Wrap: func(c net.Conn) net.Conn {
			wire = &cork{Conn: c}
			return wire
		},
	})
	if err != nil {
		return nil, "", err
	}
	s = &session{
		conn:   conn,
		cork:   wire,
		window: p.cfg.Window,
		closed: conn.NotifyClose(make(chan *amqp.Error, 1)),
		blocks: conn.NotifyBlocked(make(chan amqp.Blocking, 8)),
		broken: make(chan error, 1),
		over:   make(chan struct{}),
		slots:  make(chan struct{}, p.cfg.Channels),
		clear:  make(chan struct{}),
	}
	close(s.clear)
	if !p.cfg.NoDeclare {
		for _, exchange := range []string{BeatExchange, CoffeeExchange} {
			if err := broker.DeclareExchange(conn, exchange); err != nil {
				if conn.IsClosed() {
					s.close()
					return nil, at, err
				}
				// Forbidden, or declared otherwise by somebody: publishing may
				// work all the same, and says so if it does not.
				p.lg.ErrorContext(ctx, "exchange cannot be declared", "exchange", exchange, "err", err)
			}
		}
	}
	return s, at, nil
}

// close ends the session and waits for what it started. The broker gets two
// seconds to say goodbye.
func (s *session) close() {
	_ = s.conn.CloseDeadline(time.Now().Add(2 * time.Second))
	s.bgMu.Lock()
	close(s.over)
	s.bgMu.Unlock()
	s.wg.Wait()
}

// background runs f, which ends at the latest when the connection does.
func (s *session) background(f func()) {
	s.bgMu.Lock()
	defer s.bgMu.Unlock()
	select {
	case <-s.over:
		return
	default:
		s.wg.Go(f)
	}
}

func (s *session) isLost() bool { return s.conn.IsClosed() }

// giveUp makes Run drop the connection.
func (s *session) giveUp(err error) {
	select {
	case s.broken <- err:
	default:
	}
}

func (s *session) identityGone(recheck time.Duration) {
	s.idMu.Lock()
	defer s.idMu.Unlock()
	s.idKnown = false
	s.idUntil = time.Now().Add(recheck)
}

func (s *session) block(active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.clear:
		if active {
			s.clear = make(chan struct{})
		}
	default:
		if !active {
			close(s.clear)
		}
	}
}

// unblocked is closed while the broker takes messages.
func (s *session) unblocked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clear
}

// lease gives a channel to one Publish alone, so that what comes back over it
// is about that one's messages.
func (s *session) lease(ctx context.Context) (*lane, error) {
	for _, gate := range []<-chan struct{}{s.unblocked(), nil} {
		var slots chan struct{}
		if gate == nil {
			slots = s.slots
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.over:
			return nil, amqp.ErrClosed
		case <-gate:
		case slots <- struct{}{}:
		}
	}
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		l := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return l, nil
	}
	s.mu.Unlock()
	l, err := newLane(s)
	if err != nil {
		<-s.slots
	}
	return l, err
}

// release takes a lane back; one with something in flight is thrown away.
func (s *session) release(l *lane, good bool) {
	s.mu.Lock()
	if good && !l.ch.IsClosed() {
		s.idle = append(s.idle, l)
	} else {
		s.background(func() { _ = l.ch.Close() })
	}
	s.mu.Unlock()
	<-s.slots
}

// A lane is one channel in confirm mode.
type lane struct {
	s       *session
	ch      *amqp.Channel
	closed  chan *amqp.Error
	returns chan amqp.Return
	flight  []*amqp.DeferredConfirmation // ring of what is unconfirmed
}

func newLane(s *session) (*lane, error) {
	ch, err := s.conn.Channel()
	if err != nil {
		return nil, err
	}
	l := &lane{
		s:      s,
		ch:     ch,
		closed: ch.NotifyClose(make(chan *amqp.Error, 1)),
		// Never full, so the connection's reader never waits: there are no
		// more returns to read than messages in flight.
		returns: ch.NotifyReturn(make(chan amqp.Return, s.window)),
		flight:  make([]*amqp.DeferredConfirmation, s.window),
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	return l, nil
}

var errSilent = errors.New("bridge: the broker confirms nothing")

// send publishes b.todo in order and sets the fate of each message. With an
// error the lane is of no more use, and what nothing was heard of is open.
func (l *lane) send(ctx context.Context, silence time.Duration, b *batch) error {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	n, w := len(b.todo), len(l.flight)
	sent, heard, back := 0, 0, 0 // positions in b.todo
	held := false                // the cork, while there is something to send at once
	let := func() {
		if held {
			l.s.cork.let()
			held = false
		}
	}
	defer let()
	for heard < n {
		if !held && sent < n {
			l.s.cork.hold()
			held = true
		}
		for sent < n && sent-heard < w {
			m := &b.msgs[b.todo[sent]]
			dc, err := l.ch.PublishWithDeferredConfirm(m.Exchange, m.Key, true, false, amqp.Publishing{
				ContentType:     "application/json",
				ContentEncoding: "utf-8",
				DeliveryMode:    amqp.Persistent,
				MessageId:       m.ID,
				Body:            m.Body,
			})
			if err != nil {
				let() // lost may wait
				return l.lost(ctx, err, b, sent, heard, back)
			}
			l.flight[sent%w] = dc
			sent++
		}
		dc := l.flight[heard%w]
		select {
		case <-dc.Done():
		default:
			let()
			timer.Reset(silence)
			select {
			case <-dc.Done():
			case <-ctx.Done():
				l.sift(b, sent, heard, back)
				return context.Cause(ctx)
			case <-timer.C:
				select {
				case <-l.s.unblocked():
					l.sift(b, sent, heard, back)
					return errSilent
				default: // it said that it would be silent
					continue
				}
			}
		}
		if !dc.Acked() && l.ch.IsClosed() {
			let()
			return l.lost(ctx, amqp.ErrClosed, b, sent, heard, back)
		}
		if heard == 0 && dc.Acked() {
			l.s.worked.Store(true)
		}
		// The return of a message comes before its confirmation.
		back = l.readReturns(b, sent, back)
		i := b.todo[heard]
		switch {
		case !dc.Acked():
			b.fate[i] = refused
		case b.fate[i] == open:
			b.fate[i] = done
		}
		heard++
	}
	return nil
}

// readReturns marks the messages that came back. They come back in the order
// in which they were sent, so the search goes on where the last one ended;
// ids alone would not do, as one may occur twice.
func (l *lane) readReturns(b *batch, sent, back int) int {
	for {
		select {
		case r, ok := <-l.returns:
			if !ok {
				return back
			}
			for j := back; j < sent; j++ {
				if i := b.todo[j]; b.msgs[i].ID == r.MessageId && b.msgs[i].Key == r.RoutingKey {
					b.fate[i] = returned
					back = j + 1
					break
				}
			}
		default:
			return back
		}
	}
}

// sift sets the fates that are known when a send breaks off.
func (l *lane) sift(b *batch, sent, heard, back int) {
	l.readReturns(b, sent, back)
	for ; heard < sent; heard++ {
		if i := b.todo[heard]; l.flight[heard%len(l.flight)].Acked() && b.fate[i] == open {
			b.fate[i] = done
		}
	}
}

// lost waits until the end of the channel is official, and says why it ended.
func (l *lane) lost(ctx context.Context, err error, b *batch, sent, heard, back int) error {
	// amqp ends the connection by itself after a failed write. Five seconds
	// are for a scheduler under load.
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case why, ok := <-l.closed:
		if ok && why != nil {
			err = why
		}
	case <-l.s.over:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-t.C:
		l.s.giveUp(err)
	}
	l.sift(b, sent, heard, back)
	return fmt.Errorf("bridge: channel lost: %w", err)
}
