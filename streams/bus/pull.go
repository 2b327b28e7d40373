package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

const (
	pullExpires   = 30 * time.Second // of one request; then it is made again
	pullHeartbeat = 5 * time.Second  // the server's sign of life while a request waits
	pullSilence   = 2*pullHeartbeat + time.Second
	pullRetry     = time.Second // after a refusal
	drainTimeout  = 2 * time.Second
)

var (
	wireAck      = []byte("+ACK")
	wireNak      = []byte("-NAK")
	wireProgress = []byte("+WPI")
	wireTerm     = []byte("+TERM")
)

// pull is one subscription: it keeps `held + asked == most`.
//
// The client library's own Consume asks for more as soon as its callback
// returns, so what waits in its buffer counts against the fleet's MaxAckPending
// and ages towards AckWait while nobody works on it. Hence this one.
type pull struct {
	s       *Subscriber
	lg      *slog.Logger
	subject string // of the server's API
	most    int
	few     int // ask again only for this many, unless nothing is asked for
	ackWait time.Duration

	ctx    context.Context // of all its messages
	cancel context.CancelFunc
	out    chan *message.Message // most long, so that the callback does not block

	// deliver holds it while it sends on out; stopping closes out under it.
	sending sync.Mutex
	shut    bool

	abandoned   chan struct{}
	abandonOnce sync.Once
	again       chan time.Duration // ask anew, on a new inbox, after that long
	idle        chan struct{}      // something was settled while stopping

	mu      sync.Mutex
	held    map[*delivery]struct{}
	asked   int // requested and not yet received
	stopped bool
	inbox   *inbox
}

// inbox is where one generation of requests is answered. After a reconnect or a
// refusal nobody knows which old requests still live, so the next ones get a new
// inbox and their own count.
type inbox struct {
	sub     *nats.Subscription
	subject string
	heard   time.Time     // guarded by pull.mu
	drained chan struct{} // closed when nothing more can come
}

func newPull(s *Subscriber, ctx context.Context, stream, durable string, most int, ackWait time.Duration) *pull {
	prefix := "$JS.API."
	o := s.js.Options()
	switch {
	case o.Domain != "":
		prefix = "$JS." + o.Domain + ".API."
	case o.APIPrefix != "":
		prefix = strings.TrimSuffix(o.APIPrefix, ".") + "."
	}
	p := &pull{
		s:         s,
		lg:        s.lg.With("stream", stream, "consumer", durable),
		subject:   prefix + "CONSUMER.MSG.NEXT." + stream + "." + durable,
		most:      most,
		few:       max(1, most/4),
		ackWait:   ackWait,
		out:       make(chan *message.Message, most),
		abandoned: make(chan struct{}),
		again:     make(chan time.Duration, 1),
		idle:      make(chan struct{}, 1),
		held:      map[*delivery]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	return p
}

// start opens the first inbox and asks for messages.
func (p *pull) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renew()
}

// renew gives up the inbox and all that was asked for there and starts again.
// p.mu is held.
func (p *pull) renew() error {
	if p.inbox != nil {
		_ = p.inbox.sub.Drain()
		p.inbox = nil
	}
	p.asked = 0
	b := &inbox{subject: p.s.nc.NewInbox(), heard: time.Now(), drained: make(chan struct{})}
	sub, err := p.s.nc.Subscribe(b.subject, func(m *nats.Msg) { p.deliver(b, m) })
	if err != nil {
		return err
	}
	_ = sub.SetPendingLimits(-1, -1) // bounded by what was asked for
	sub.SetClosedHandler(func(string) { close(b.drained) })
	b.sub = sub
	p.inbox = b
	p.ask()
	return nil
}

// ask requests what there is room for. p.mu is held.
func (p *pull) ask() {
	n := p.most - len(p.held) - p.asked
	if n <= 0 || p.stopped || p.inbox == nil || (p.asked > 0 && n < p.few) {
		return
	}
	p.asked += n
	req := make([]byte, 0, 96)
	req = append(req, `{"batch":`...)
	req = strconv.AppendInt(req, int64(n), 10)
	req = append(req, `,"expires":`...)
	req = strconv.AppendInt(req, int64(pullExpires), 10)
	req = append(req, `,"idle_heartbeat":`...)
	req = strconv.AppendInt(req, int64(pullHeartbeat), 10)
	req = append(req, '}')
	if err := p.s.nc.PublishRequest(p.subject, p.inbox.subject, req); err != nil {
		p.later(pullRetry)
	}
}

// later makes run renew the inbox after d.
func (p *pull) later(d time.Duration) {
	select {
	case p.again <- d:
	default: // on its way already
	}
}

// deliver is the callback of an inbox, one call at a time for each.
func (p *pull) deliver(b *inbox, m *nats.Msg) {
	d, ok := newDelivery(m)
	if !ok {
		p.status(b, m)
		return
	}
	p.mu.Lock()
	b.heard = time.Now()
	if b == p.inbox {
		p.asked--
	}
	stopped := p.stopped
	if !stopped {
		p.held[d] = struct{}{}
	}
	p.mu.Unlock()
	if stopped {
		p.tell(d, wireNak)
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	d.toWatermill(ctx)
	go p.settle(d, cancel)

	p.sending.Lock()
	defer p.sending.Unlock()
	if !p.shut {
		select {
		case p.out <- d.w:
			return
		case <-p.ctx.Done():
		}
	}
	d.requeue.Store(true)
	d.w.Nack()
}

// settle waits for a message's end and tells the server. Nothing here depends
// on the handler's context.
func (p *pull) settle(d *delivery, cancel context.CancelFunc) {
	acked := false
	select {
	case <-d.w.Acked():
		acked = true
	case <-d.w.Nacked():
	case <-p.abandoned:
		d.requeue.Store(true)
	}
	switch {
	case d.requeue.Load():
		p.tell(d, wireNak)
	case d.deed == terminate:
		p.tell(d, wireTerm)
	case d.deed == giveBack:
		p.tell(d, wireNak)
	case d.deed == postpone:
		p.tell(d, nak(d.delay))
	case acked:
		p.tell(d, wireAck)
	default:
		p.tell(d, nak(p.s.delay(d.Delivered)))
	}
	cancel()

	p.mu.Lock()
	delete(p.held, d)
	if p.stopped {
		if len(p.held) == 0 {
			select {
			case p.idle <- struct{}{}:
			default:
			}
		}
	} else {
		p.ask()
	}
	p.mu.Unlock()
}

func nak(d time.Duration) []byte {
	if d <= 0 {
		return wireNak
	}
	return fmt.Appendf(nil, `-NAK {"delay": %d}`, d.Nanoseconds())
}

// tell answers for one message. An answer that is lost means that the message
// comes again, which everyone here must bear anyway.
func (p *pull) tell(d *delivery, what []byte) {
	if err := p.s.nc.Publish(d.reply, what); err != nil {
		p.lg.Debug("could not answer for a message", "seq", d.Seq, "err", err)
	}
}

// status reads a control message of the server.
func (p *pull) status(b *inbox, m *nats.Msg) {
	code, text := m.Header.Get("Status"), m.Header.Get("Description")
	p.mu.Lock()
	defer p.mu.Unlock()
	b.heard = time.Now()
	if b != p.inbox || code == "100" {
		return
	}
	if left := m.Header.Get("Nats-Pending-Messages"); left != "" && (code == "408" || code == "409") {
		// A request has ended with that many still to come.
		n, err := strconv.Atoi(left)
		if err == nil && n <= p.asked {
			p.asked -= n
			p.ask()
			return
		}
	}
	// Nobody answers, the consumer is gone or moved, the server stops: it is
	// not known what is still asked for.
	if text == "" {
		text = code
	}
	p.lg.Warn("pull ended", "err", text)
	p.later(pullRetry)
}

// run keeps the subscription alive until its context ends and all it holds is
// settled.
func (p *pull) run() {
	changed := p.s.nc.StatusChanged(nats.CONNECTED)
	defer p.s.nc.RemoveStatusListener(changed)
	beat := time.NewTicker(max(p.ackWait/2, 10*time.Millisecond))
	defer beat.Stop()
	watch := time.NewTicker(pullHeartbeat)
	defer watch.Stop()
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	defer retry.Stop()

	for taking := true; taking; {
		select {
		case <-p.ctx.Done():
			taking = false
		case <-p.s.stop.Done():
			taking = false
		case <-beat.C:
			p.inProgress()
		case d := <-p.again:
			retry.Reset(d)
		case <-retry.C:
			p.restart()
		case <-changed:
			p.restart()
		case <-watch.C:
			p.mu.Lock()
			silent := p.asked > 0 && time.Since(p.inbox.heard) > pullSilence && p.s.nc.IsConnected()
			p.mu.Unlock()
			if silent {
				p.lg.Warn("pull ended", "err", "no sign of life")
				p.restart()
			}
		}
	}

	drained := p.stopTaking()
	wait := time.NewTimer(drainTimeout)
	defer wait.Stop()
	for drained != nil || p.holds() {
		select {
		case <-drained:
			drained = nil
		case <-wait.C:
			drained = nil
		case <-beat.C:
			p.inProgress()
		case <-p.idle:
		}
	}
}

func (p *pull) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.renew(); err != nil {
		p.lg.Warn("pull failed", "err", err)
		p.later(pullRetry)
	}
}

// stopTaking ends the subscription at the server and gives back what lies in
// the channel. The returned channel closes when nothing more can arrive.
func (p *pull) stopTaking() <-chan struct{} {
	p.cancel() // also frees a callback that waits for room
	p.mu.Lock()
	p.stopped = true
	b := p.inbox
	p.mu.Unlock()
	var drained <-chan struct{}
	if b != nil && b.sub.Drain() == nil {
		drained = b.drained
	}

	p.sending.Lock()
	defer p.sending.Unlock()
	p.shut = true
	for {
		select {
		case w := <-p.out:
			if d, _ := w.Context().Value(deliveryKey{}).(*delivery); d != nil {
				d.requeue.Store(true)
			}
			w.Nack()
			continue
		default:
		}
		break
	}
	close(p.out)
	return drained
}

// inProgress tells the server that what is held is still being worked on.
func (p *pull) inProgress() {
	p.mu.Lock()
	held := make([]*delivery, 0, len(p.held))
	for d := range p.held {
		held = append(held, d)
	}
	p.mu.Unlock()
	for _, d := range held {
		p.tell(d, wireProgress)
	}
}

func (p *pull) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held) > 0
}

// abandon gives back all that is held, finished or not.
func (p *pull) abandon() { p.abandonOnce.Do(func() { close(p.abandoned) }) }
