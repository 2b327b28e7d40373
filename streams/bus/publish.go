package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// PublisherConfig bounds a Publisher. A zero field means its default.
type PublisherConfig struct {
	MaxBatch      int           // messages of one commit; default 500, at most the server's 1000
	MaxBatchBytes int           // default 4 MiB
	Timeout       time.Duration // of one commit; default 5s
	Metrics       *Metrics      // default unregistered ones
}

// Publisher stores messages in streams. It is a Watermill message.Publisher and
// safe for concurrent use; the connection stays the caller's.
//
// Each stream has one writer, and a writer has one commit in flight. What is
// handed over meanwhile makes the next commit, so batches grow by themselves
// under load and a lone message never waits for company.
type Publisher struct {
	lg      *slog.Logger
	js      jetstream.JetStream
	nc      *nats.Conn
	cfg     PublisherConfig
	replies *replies

	mu      sync.Mutex
	writers map[string]*writer
	foreign map[string]string // subject to stream, for subjects that are not ours
	closed  bool
	busy    sync.WaitGroup // running writers
}

// NewPublisher returns a Publisher on the connection of js.
func NewPublisher(lg *slog.Logger, js jetstream.JetStream, cfg PublisherConfig) *Publisher {
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 500
	}
	cfg.MaxBatch = min(cfg.MaxBatch, 1000)
	if cfg.MaxBatchBytes <= 0 {
		cfg.MaxBatchBytes = 4 << 20
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	return &Publisher{
		lg:      lg,
		js:      js,
		nc:      js.Conn(),
		cfg:     cfg,
		replies: newReplies(js.Conn()),
		writers: map[string]*writer{},
		foreign: map[string]string{},
	}
}

// Publish stores Watermill messages, all on one subject. It returns nil when
// every one is persisted. The UUID is the message id, unless the metadata has a
// Nats-Msg-Id.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	ctx := context.Background() // each commit has its own timeout
	stream, err := p.stream(ctx, topic)
	if err != nil {
		return err
	}
	out := make([]*nats.Msg, len(msgs))
	for i, m := range msgs {
		out[i] = fromWatermill(topic, m)
	}
	return p.put(ctx, stream, out)
}

// Send stores messages and returns nil when every one of them is persisted;
// an id that is stored already counts as that. After an error any number of
// them may be stored, and sending all again with the same ids is the repair.
//
// Messages of several streams go stream by stream in the order in which the
// streams appear, each only after the one before is complete: put first what
// must exist before the other is acted on. The order within a stream is kept.
// When ctx ends early, what was handed over may still be stored.
func (p *Publisher) Send(ctx context.Context, outs ...Out) error {
	now := time.Now()
	var streams []string
	by := make([][]*nats.Msg, 0, 2)
next:
	for _, o := range outs {
		m, err := o.msg(now)
		if err != nil {
			return err
		}
		s, err := p.stream(ctx, m.Subject)
		if err != nil {
			return err
		}
		for i := range streams {
			if streams[i] == s {
				by[i] = append(by[i], m)
				continue next
			}
		}
		streams = append(streams, s)
		by = append(by, append(make([]*nats.Msg, 0, len(outs)), m))
	}
	for i, s := range streams {
		if err := p.put(ctx, s, by[i]); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for the commits in flight. It does not close the connection.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.busy.Wait()
	p.replies.close()
	return nil
}

// stream says where a subject is stored.
func (p *Publisher) stream(ctx context.Context, subject string) (string, error) {
	if s := streamOf(subject); s != "" {
		return s, nil
	}
	p.mu.Lock()
	s := p.foreign[subject]
	p.mu.Unlock()
	if s != "" {
		return s, nil
	}
	s, err := p.js.StreamNameBySubject(ctx, subject)
	if err != nil {
		return "", fmt.Errorf("bus: no stream for %s: %w", subject, err)
	}
	p.mu.Lock()
	if len(p.foreign) >= 10_000 { // not meant for subjects without end
		clear(p.foreign)
	}
	p.foreign[subject] = s
	p.mu.Unlock()
	return s, nil
}

// put hands messages to a stream's writer and waits until they are stored, in
// pieces that fit a commit.
func (p *Publisher) put(ctx context.Context, stream string, msgs []*nats.Msg) error {
	most := p.nc.MaxPayload()
	w := p.writer(stream)
	for len(msgs) > 0 {
		n, size, limit := 0, 0, p.cfg.MaxBatch
		if !w.measured.Load() {
			limit = min(limit, probeSize)
		}
		for n < len(msgs) && n < limit {
			s := msgs[n].Size()
			// The batch's headers add to the size, some 100 bytes.
			if most > 0 && int64(s)+256 > most {
				return fmt.Errorf("bus: publish to %s: %w: %d bytes, server takes %d", msgs[n].Subject, ErrTooLarge, s, most)
			}
			if n > 0 && size+s > p.cfg.MaxBatchBytes {
				break
			}
			size += s
			n++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		g := &group{msgs: msgs[:n], size: size, done: make(chan error, 1)}
		if err := p.enqueue(w, g); err != nil {
			return err
		}
		select {
		case err := <-g.done:
			if err != nil {
				return fmt.Errorf("bus: publish to %s: %w", stream, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		msgs = msgs[n:]
	}
	return nil
}

func (p *Publisher) writer(stream string) *writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.writers[stream]
	if w == nil {
		w = &writer{
			p:         p,
			stream:    stream,
			published: p.cfg.Metrics.Published.WithLabelValues(stream),
			singles:   p.cfg.Metrics.Batch.WithLabelValues(stream, "single"),
			atomics:   p.cfg.Metrics.Batch.WithLabelValues(stream, "atomic"),
		}
		p.writers[stream] = w
	}
	return w
}

func (p *Publisher) enqueue(w *writer, g *group) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("bus: publisher: %w", ErrClosed)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, g)
	if !w.running {
		w.running = true
		p.busy.Go(w.run)
	}
	return nil
}

// group is what one Send hands to one stream at a time. It is never split.
type group struct {
	msgs []*nats.Msg
	size int
	done chan error // receives once
}

// writer commits to one stream. Its goroutine lives while there is work.
type writer struct {
	p                *Publisher
	stream           string
	published        prometheus.Counter
	singles, atomics prometheus.Observer

	mu      sync.Mutex
	queue   []*group
	running bool

	measured atomic.Bool // cost knows what a single message costs

	// Only the running goroutine.
	cost    costs
	scratch []*nats.Msg
}

func (w *writer) run() {
	var take []*group
	for {
		take = take[:0]
		n, size := 0, 0
		w.mu.Lock()
		limit := w.cost.limit(w.p.cfg.MaxBatch)
		for _, g := range w.queue {
			if len(take) > 0 && (n+len(g.msgs) > limit || size+g.size > w.p.cfg.MaxBatchBytes) {
				break
			}
			take = append(take, g)
			n += len(g.msgs)
			size += g.size
		}
		if len(take) == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		left := copy(w.queue, w.queue[len(take):])
		clear(w.queue[left:])
		w.queue = w.queue[:left]
		w.mu.Unlock()
		w.commit(take, n)
	}
}

// commit stores groups of n messages altogether and tells each how it went.
func (w *writer) commit(groups []*group, n int) {
	msgs := w.scratch[:0]
	for _, g := range groups {
		msgs = append(msgs, g.msgs...)
	}
	w.scratch = msgs
	defer clear(w.scratch)

	if !w.p.nc.IsConnected() {
		err := fmt.Errorf("%w: not connected", ErrUnavailable)
		for _, g := range groups {
			g.done <- err
		}
		return
	}
	start := time.Now()
	fallback := false
	if w.cost.atomic(n) {
		err := w.atomic(msgs)
		w.atomics.Observe(float64(n))
		var refused *refusal
		if err == nil || !errors.As(err, &refused) {
			if err == nil {
				w.cost.tookAtomic(n, time.Since(start))
				w.published.Add(float64(n))
			}
			for _, g := range groups {
				g.done <- err
			}
			return
		}
		// Refused as a whole, for a duplicate usually: nothing of it is stored.
		// One by one the ids decide, and what can be stored is.
		w.p.lg.Debug("batch refused", "stream", w.stream, "messages", n, "err", err)
		for _, m := range msgs {
			delete(m.Header, jetstreamext.BatchIDHeader)
			delete(m.Header, jetstreamext.BatchSeqHeader)
			delete(m.Header, jetstreamext.BatchCommitHeader)
		}
		fallback = true
	}
	w.singles.Observe(float64(n))
	errs := w.single(msgs)
	stored := 0
	i := 0
	for _, g := range groups {
		var first error
		for range g.msgs {
			if errs[i] == nil {
				stored++
			} else if first == nil {
				first = errs[i]
			}
			i++
		}
		g.done <- first
	}
	// Duplicates are answered without a write, so a fallback teaches nothing.
	if took := time.Since(start); !fallback && (stored == n || took >= w.p.cfg.Timeout) {
		w.cost.tookSingle(n, took)
		w.measured.Store(w.cost.each > 0)
	}
	w.published.Add(float64(stored))
}

// single sends messages one after the other without waiting in between, then
// waits for all answers.
func (w *writer) single(msgs []*nats.Msg) []error {
	r := w.p.replies
	x, err := r.begin(len(msgs), false)
	if err != nil {
		return repeat(fmt.Errorf("%w: %w", ErrUnavailable, err), len(msgs))
	}
	for i, m := range msgs {
		m.Reply = r.subject(x, i)
		if err := w.p.nc.PublishMsg(m); err != nil {
			r.failed(x, i, sendError(err))
		}
	}
	return r.wait(x, w.p.cfg.Timeout)
}

// atomic sends messages as one batch, of which the server stores all or
// nothing. Only the commit is answered: had anything before it gone wrong or
// got lost, the commit is refused as incomplete.
func (w *writer) atomic(msgs []*nats.Msg) error {
	r := w.p.replies
	x, err := r.begin(1, true)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	id := nuid.Next()
	ids := []string{id}
	last := len(msgs) - 1
	for i, m := range msgs {
		m.Reply = ""
		m.Header[jetstreamext.BatchIDHeader] = ids
		m.Header[jetstreamext.BatchSeqHeader] = []string{strconv.Itoa(i + 1)}
		if i == last {
			m.Header[jetstreamext.BatchCommitHeader] = []string{"1"}
			m.Reply = r.subject(x, 0)
		}
		if err := w.p.nc.PublishMsg(m); err != nil {
			r.failed(x, 0, err)
			return sendError(err) // the server drops the torn batch by itself
		}
	}
	if err := r.wait(x, w.p.cfg.Timeout)[0]; err != nil {
		return err
	}
	var ack jetstreamext.BatchAck
	if err := json.Unmarshal(x.acks[0], &ack); err != nil {
		return fmt.Errorf("%w: unreadable answer: %w", ErrUnavailable, err)
	}
	if ack.BatchID != id || ack.BatchSize != uint64(len(msgs)) {
		return fmt.Errorf("%w: batch of %d was answered as %d", ErrUnavailable, len(msgs), ack.BatchSize)
	}
	return nil
}

var errNoAnswer = fmt.Errorf("%w: no answer in time", ErrUnavailable)

func sendError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// costs learns whether a commit is cheaper as one atomic batch or as pipelined
// single messages, which depends on the server's settings and cannot be asked
// for. Measured on one node with 1 KB messages:
//
//	                 sync_interval: always    lazy fsync
//	single           400 µs each              10–15 µs each
//	atomic batch     6 ms + 20 µs each        5 ms + 20 µs each
//
// The fixed part is the batch's staging file, which is synced in either case.
// So with "always" batches win from 16 messages on; with lazy fsync never.
type costs struct {
	each    time.Duration // of one message among pipelined singles; 0: not known
	fixed   time.Duration // of an atomic batch; 0: not known
	commits int
}

const (
	batchEach   = 20 * time.Microsecond
	batchFixed  = 6 * time.Millisecond // until measured
	probeSize   = 16                   // about 6 ms of singles in the worst case
	probeEvery  = 200                  // commits; 6 ms in each 200 is nothing
	minMeasured = 4                    // fewer messages show the round trip, not the cost
)

// limit is how many messages the next commit may have: few while the cost of
// singles is still unknown, or is to be learned again.
func (c *costs) limit(most int) int {
	if c.each == 0 || c.commits%probeEvery == probeEvery-1 {
		return min(most, probeSize)
	}
	return most
}

// atomic chooses the way for n messages.
func (c *costs) atomic(n int) bool {
	if n < minMeasured {
		return false
	}
	c.commits++
	if c.each == 0 {
		return n > probeSize // handed over before anything was measured
	}
	fixed := c.fixed
	if fixed == 0 {
		fixed = batchFixed
	}
	atomic := fixed+time.Duration(n)*batchEach < time.Duration(n)*c.each
	if c.commits%probeEvery == 0 && n <= probeSize {
		return !atomic // try the other way; the machine may have changed
	}
	return atomic
}

func (c *costs) tookSingle(n int, d time.Duration) {
	if n >= minMeasured {
		c.each = blend(c.each, d/time.Duration(n))
	}
}

func (c *costs) tookAtomic(n int, d time.Duration) {
	c.fixed = blend(c.fixed, max(time.Millisecond/10, d-time.Duration(n)*batchEach))
}

func blend(old, now time.Duration) time.Duration {
	if old == 0 {
		return now
	}
	return (3*old + now) / 4
}
