package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
)

// Config says how to reach RabbitMQ. A zero field means its default.
type Config struct {
	URL       string // amqp:// or amqps://, required; nodes of one cluster separated by commas
	CA        string // PEM file of the authorities that amqps is trusted by; default the system's
	NoDeclare bool   // do not declare beat.dx and coffee.dx: some brokers forbid it
	Name      string // of the connection, as the broker's operator sees it; default beat-bridge

	// Channels is how many Publish may be under way together, the others
	// wait. Default 16, one for each shard of EVENTS.
	Channels int

	// Window is how many messages of one Publish may be unconfirmed. Default
	// 512: measured with 1 KB, 256 costs the broker 10 % more CPU and 1024
	// gains nothing over 512.
	Window int

	ConnectTimeout time.Duration // of TCP, TLS and AMQP handshake together; default 10s
	Heartbeat      time.Duration // default 10s; a silent peer is given up after three

	// ConfirmTimeout is for how long the broker may confirm nothing while
	// something is due, before the connection is given up. Default 60s.
	ConfirmTimeout time.Duration

	RetryMin time.Duration // first delay after a refusal or a return; default 1s
	RetryMax time.Duration // last one; default 30s

	// Recheck is how long a missing identity.dx is believed missing, and how
	// often a repeated complaint is logged. Default one minute.
	Recheck time.Duration
}

func (c Config) withDefaults() Config {
	orDefault(&c.Name, "beat-bridge")
	orDefault(&c.Channels, 16)
	orDefault(&c.Window, 512)
	orDefault(&c.ConnectTimeout, 10*time.Second)
	orDefault(&c.Heartbeat, 10*time.Second)
	orDefault(&c.ConfirmTimeout, time.Minute)
	orDefault(&c.RetryMin, time.Second)
	orDefault(&c.RetryMax, 30*time.Second)
	orDefault(&c.Recheck, time.Minute)
	return c
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// ErrStopped is what Publish returns when Run has returned.
var ErrStopped = errors.New("bridge: publisher has stopped")

// A Publisher holds one connection to RabbitMQ. Its methods are safe for
// concurrent use; Run is called once.
type Publisher struct {
	lg      *slog.Logger
	cfg     Config
	metrics *metrics
	stopped chan struct{} // closed when Run returns

	mu    sync.Mutex
	sess  *session      // nil while there is no connection
	ready chan struct{} // closed when sess is set, replaced when it is cleared

	said [len(kinds)][maxKeys]atomic.Int64 // when each complaint was last logged, Unix nanoseconds
}

const maxKeys = 16 // ≥ len(Keys)

// The kinds of complaint that are logged at most once per Config.Recheck.
const (
	complainReturned = iota
	complainOptional
	complainRefused
	complainIdentity
)

var kinds = [...]string{"returned", "optional", "refused", "identity"}

// New returns a Publisher. It does no I/O: Run does.
func New(lg *slog.Logger, cfg Config) *Publisher {
	return &Publisher{
		lg:      lg.With("stage", "bridge"),
		cfg:     cfg.withDefaults(),
		metrics: newMetrics(),
		stopped: make(chan struct{}),
		ready:   make(chan struct{}),
	}
}

// Run connects, and connects again whenever the connection is lost, until ctx
// ends. It returns nil then, and an error at once if the URL is none.
func (p *Publisher) Run(ctx context.Context) error {
	defer close(p.stopped)
	nodes, err := broker.Parse(p.cfg.URL, p.cfg.CA)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	wait := backoff{min: 100 * time.Millisecond, max: 10 * time.Second}
	away := false // has been said
	for {
		s, addr, err := p.connect(ctx, nodes)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !away {
				p.lg.WarnContext(ctx, "rabbitmq unreachable", "broker", nodes.String(), "err", err)
				away = true
			}
			if sleep(ctx, wait.next()) != nil {
				return nil
			}
			continue
		}
		away = false
		p.lg.InfoContext(ctx, "rabbitmq connected", "broker", addr)
		begin := time.Now()
		p.set(s)
		err = p.watch(ctx, s)
		p.clear()
		s.close()
		if ctx.Err() != nil {
			return nil
		}
		p.metrics.reconnects.Inc()
		p.lg.WarnContext(ctx, "rabbitmq connection lost", "broker", addr, "err", err)
		away = true
		if s.worked.Load() || time.Since(begin) > wait.max {
			wait.reset()
		}
		if sleep(ctx, wait.next()) != nil {
			return nil
		}
	}
}

// watch returns when the connection is lost or ctx ends.
func (p *Publisher) watch(ctx context.Context, s *session) error {
	defer p.metrics.blocked.Set(0)
	blocks := s.blocks
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err, ok := <-s.closed:
			if !ok {
				return amqp.ErrClosed
			}
			return err
		case err := <-s.broken:
			return err
		case b, ok := <-blocks:
			if !ok { // the connection is ending, closed will say why
				blocks = nil
				continue
			}
			s.block(b.Active)
			if b.Active {
				p.metrics.blocked.Set(1)
				p.lg.ErrorContext(ctx, "rabbitmq takes no messages", "reason", b.Reason)
			} else {
				p.metrics.blocked.Set(0)
				p.lg.InfoContext(ctx, "rabbitmq takes messages again")
			}
		}
	}
}

func (p *Publisher) set(s *session) {
	p.metrics.up.Set(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sess = s
	close(p.ready)
}

func (p *Publisher) clear() {
	p.metrics.up.Set(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sess = nil
	p.ready = make(chan struct{})
}

// session waits for a connection.
func (p *Publisher) session(ctx context.Context) (*session, error) {
	for {
		p.mu.Lock()
		s, ready := p.sess, p.ready
		p.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.stopped:
			return nil, ErrStopped
		case <-ready:
		}
	}
}

// What became of a message of a Publish.
type fate uint8

const (
	open     fate = iota // to be sent, or sent and nothing heard
	done                 // confirmed, or given up as the rules say
	returned             // no queue took it
	refused              // basic.nack
)

// A batch is one Publish under way. Only the goroutine of Publish touches it.
type batch struct {
	msgs    []Message
	key     []uint8 // row in Keys of each message
	fate    []fate
	left    int           // messages that are not done
	blocked [maxKeys]bool // keys of which only the first message is sent, to see whether the rest would be taken
	todo    []int         // scratch of pass
}

// Publish returns nil when the broker has confirmed all of msgs, which it
// sends in order. Until then it waits and sends again, through reconnects and
// refusals, as the package comment tells. It fails when ctx ends, when Run
// has returned, and at once for a message that can never be sent: one whose
// key is not in Keys.
//
// The bodies are not changed and not kept.
func (p *Publisher) Publish(ctx context.Context, msgs []Message) error {
	b, err := newBatch(msgs)
	if err != nil {
		return err
	}
	wait := backoff{min: p.cfg.RetryMin, max: p.cfg.RetryMax}
	for b.left > 0 {
		s, err := p.session(ctx)
		if err != nil {
			return err
		}
		before := b.left
		again, err := p.pass(ctx, s, b)
		if ctx.Err() != nil && b.left > 0 {
			return context.Cause(ctx)
		}
		if b.left < before {
			wait.reset()
		}
		switch {
		case b.left == 0 || again:
		case s.isLost():
			select { // not before Run has noticed, or session returns it again
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-s.over:
			}
		default:
			if err != nil && p.complain(complainRefused, 0) {
				p.lg.ErrorContext(ctx, "rabbitmq refuses messages", "err", err)
			}
			if err := sleep(ctx, wait.next()); err != nil {
				return err
			}
		}
	}
	return nil
}

func newBatch(msgs []Message) (*batch, error) {
	b := &batch{
		msgs: msgs,
		key:  make([]uint8, len(msgs)),
		fate: make([]fate, len(msgs)),
		left: len(msgs),
		todo: make([]int, 0, len(msgs)),
	}
	for i := range msgs {
		k := keyIndex(msgs[i].Exchange, msgs[i].Key)
		if k < 0 || len(msgs[i].ID) > 255 { // 255: of a short string in AMQP
			return nil, fmt.Errorf("bridge: message %q for %s/%s cannot be published", msgs[i].ID, msgs[i].Exchange, msgs[i].Key)
		}
		b.key[i] = uint8(k)
	}
	return b, nil
}

// pass sends what is open, exchange by exchange, and settles what became of
// it. again means that more can be sent at once; otherwise what is left waits
// for a delay or a connection.
func (p *Publisher) pass(ctx context.Context, s *session, b *batch) (again bool, err error) {
	for _, exchange := range exchanges {
		b.todo = b.todo[:0]
		var probing [maxKeys]bool
		held := false
		for i, f := range b.fate {
			k := b.key[i]
			switch {
			case f == done || Keys[k].Exchange != exchange:
			case probing[k]:
				held = true
			default:
				probing[k] = b.blocked[k]
				b.fate[i] = open
				b.todo = append(b.todo, i)
			}
		}
		if len(b.todo) == 0 {
			continue
		}
		if exchange == IdentityExchange && !p.identity(ctx, s) {
			p.dropTraces(ctx, b)
			continue
		}
		err1 := p.send(ctx, s, b)
		if exchange == IdentityExchange && err1 != nil && ctx.Err() == nil && !s.isLost() {
			s.identityGone(p.cfg.Recheck)
			p.dropTraces(ctx, b)
			err1 = nil
		}
		if err1 != nil && err == nil {
			err = err1
		}
		if ctx.Err() != nil || s.isLost() {
			p.settle(ctx, b)
			return false, err1
		}
		if err1 != nil {
			// The exchange may be missing. It comes back before its queues do:
			// of a full batch the head would be returned and the tail taken.
			b.probe()
		}
		if p.settle(ctx, b) && held {
			again = true
		}
	}
	return again, err
}

// probe blocks the keys of b.todo that are not done.
func (b *batch) probe() {
	for _, i := range b.todo {
		if b.fate[i] != done {
			b.blocked[b.key[i]] = true
		}
	}
}

// send leases a channel and sends b.todo through it.
func (p *Publisher) send(ctx context.Context, s *session, b *batch) error {
	l, err := s.lease(ctx)
	if err != nil {
		return err
	}
	err = l.send(ctx, p.cfg.ConfirmTimeout, b)
	if errors.Is(err, errSilent) {
		s.giveUp(err)
	}
	s.release(l, err == nil)
	return err
}

// settle counts and judges what b.todo became. freed means that a key that
// was blocked is not any more.
func (p *Publisher) settle(ctx context.Context, b *batch) (freed bool) {
	var confirmed, back, nacks [maxKeys]int
	var broken [maxKeys]bool // a message of the key is not done
	for _, i := range b.todo {
		k := b.key[i]
		switch b.fate[i] {
		case done:
			confirmed[k]++
		case returned:
			back[k]++
			if !Keys[k].Required {
				b.fate[i] = done
			}
		case refused:
			nacks[k]++
		}
		switch {
		case broken[k]: // send again what overtook
			b.fate[i] = open
		case b.fate[i] == done:
			b.left--
		default:
			broken[k] = true
		}
	}
	for k := range Keys {
		m := &p.metrics.keys[k]
		m.confirmed.Add(float64(confirmed[k]))
		m.returned.Add(float64(back[k]))
		m.refused.Add(float64(nacks[k]))
		switch {
		case back[k] > 0 && Keys[k].Required:
			b.blocked[k] = true
			if p.complain(complainReturned, k) {
				p.lg.ErrorContext(ctx, "no queue takes a required message: will be tried again",
					"exchange", Keys[k].Exchange, "key", Keys[k].Key, "queue", Keys[k].Queue, "messages", back[k])
			}
		case back[k] > 0:
			if p.complain(complainOptional, k) {
				p.lg.WarnContext(ctx, "no queue takes a message: dropped",
					"exchange", Keys[k].Exchange, "key", Keys[k].Key, "messages", back[k])
			}
		case confirmed[k] > 0 && b.blocked[k] && !broken[k]:
			b.blocked[k] = false
			freed = true
			if p.said[complainReturned][k].Swap(0) != 0 {
				p.lg.InfoContext(ctx, "a queue takes messages again", "exchange", Keys[k].Exchange, "key", Keys[k].Key)
			}
		}
		if nacks[k] > 0 && p.complain(complainRefused, k) {
			p.lg.ErrorContext(ctx, "rabbitmq refuses messages", "exchange", Keys[k].Exchange, "key", Keys[k].Key, "messages", nacks[k])
		}
	}
	b.todo = b.todo[:0]
	return freed
}

// dropTraces gives up what is left of b.todo, which is for identity.dx.
func (p *Publisher) dropTraces(ctx context.Context, b *batch) {
	n := 0
	for _, i := range b.todo {
		m := &p.metrics.keys[b.key[i]]
		if b.fate[i] == done {
			m.confirmed.Inc()
			continue
		}
		b.fate[i] = done
		m.dropped.Inc()
		n++
	}
	b.left -= len(b.todo)
	b.todo = b.todo[:0]
	if n > 0 && p.complain(complainIdentity, 0) {
		p.lg.WarnContext(ctx, "exchange is missing: traces are dropped", "exchange", IdentityExchange, "messages", n)
	}
}

// identity reports whether identity.dx exists, as far as is known.
func (p *Publisher) identity(ctx context.Context, s *session) bool {
	s.idMu.Lock()
	defer s.idMu.Unlock()
	if time.Now().Before(s.idUntil) {
		return false
	}
	if s.idKnown {
		return true
	}
	ch, err := s.conn.Channel()
	if err != nil {
		return true // the connection is going; send will find out
	}
	err = ch.ExchangeDeclarePassive(IdentityExchange, amqp.ExchangeDirect, true, false, false, false, nil)
	if err != nil {
		if !s.isLost() {
			s.idUntil = time.Now().Add(p.cfg.Recheck)
			return false
		}
		return true
	}
	s.idKnown = true
	s.background(func() { _ = ch.Close() })
	return true
}

// complain reports whether the complaint may be logged now.
func (p *Publisher) complain(kind, key int) bool {
	at := &p.said[kind][key]
	last, now := at.Load(), time.Now().UnixNano()
	return (last == 0 || now-last >= int64(p.cfg.Recheck)) && at.CompareAndSwap(last, now)
}

// backoff doubles from min to max, each delay a random part of 50 to 100 %.
type backoff struct{ min, max, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(b.last*2, b.min), b.max)
	return b.last/2 + rand.N(b.last/2+1)
}

func (b *backoff) reset() { b.last = 0 }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
