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
// Each stream has one writer. A message handed to an idle one is sent at once;
// where syncs are dear, what is handed over until its answer makes the next
// commit, so batches grow by themselves under load and nothing waits for company.
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
			answered:  make(chan struct{}, 1),
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

// writer stores the messages of one stream, in one of two ways which costs
// chooses. Where every message costs the server a sync, commits go one after the
// other and what queues up meanwhile makes the next batch. Where it does not,
// nothing is gained by waiting and messages are sent as they come.
//
// Its goroutine lives while there is a queue.
type writer struct {
	p                *Publisher
	stream           string
	published        prometheus.Counter
	singles, atomics prometheus.Observer
	measured         atomic.Bool   // costs knows what a single message costs
	answered         chan struct{} // receives after unanswered has changed

	mu         sync.Mutex
	queue      []*group
	running    bool
	unanswered int // messages that were sent as they came

	// Only the running goroutine.
	cost costs
}

func (w *writer) run() {
	var take []*group
	most := w.p.cfg.MaxBatch
	for {
		learn := w.cost.due(time.Now())
		limit := most
		if learn {
			limit = min(most, probeSize)
		}
		take = take[:0]
		n, size := 0, 0
		w.mu.Lock()
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

		switch {
		case !w.p.nc.IsConnected():
			err := fmt.Errorf("%w: not connected", ErrUnavailable)
			for _, g := range take {
				g.done <- err
			}
		case learn:
			w.atMost(0)
			start := time.Now()
			if w.together(take, n) {
				w.cost.tookSingle(n, time.Since(start))
				w.measured.Store(w.cost.each > 0)
			}
		case w.cost.batch(n):
			w.batch(take, n)
		case w.cost.batch(most):
			w.together(take, n) // few; more may queue up meanwhile
		default:
			w.atMost(maxUnanswered - n)
			w.mu.Lock()
			w.unanswered += n
			w.mu.Unlock()
			w.p.busy.Add(len(take))
			w.singles.Observe(float64(n))
			for _, g := range take {
				w.send(g, func(bool) {
					w.mu.Lock()
					w.unanswered -= len(g.msgs)
					w.mu.Unlock()
					select {
					case w.answered <- struct{}{}:
					default:
					}
					w.p.busy.Done()
				})
			}
		}
	}
}

// maxUnanswered keeps the server's ingest queue, of 10,000 messages for each
// stream, from running over.
const maxUnanswered = 4000

// atMost waits until no more than n messages are unanswered.
func (w *writer) atMost(n int) {
	for {
		w.mu.Lock()
		u := w.unanswered
		w.mu.Unlock()
		if u <= max(n, 0) {
			return
		}
		<-w.answered // every round ends in time
	}
}

// send sends the messages of a group one after the other and answers the group
// when all are answered.
func (w *writer) send(g *group, then func(stored bool)) {
	r := w.p.replies
	x, err := r.begin(len(g.msgs), w.p.cfg.Timeout, func(x *round) {
		stored := 0
		var first error
		for _, err := range x.errs {
			if err == nil {
				stored++
			} else if first == nil {
				first = err
			}
		}
		w.published.Add(float64(stored))
		g.done <- first
		then(first == nil)
	})
	if err != nil {
		g.done <- sendError(err)
		then(false)
		return
	}
	for i, m := range g.msgs {
		m.Reply = r.subject(x, i)
		if err := w.p.nc.PublishMsg(m); err != nil {
			r.settle(x.id, i, nil, sendError(err))
		}
	}
}

// together sends groups and waits for all answers; true if all is stored.
func (w *writer) together(groups []*group, n int) bool {
	w.singles.Observe(float64(n))
	var wait sync.WaitGroup
	var failed atomic.Bool
	wait.Add(len(groups))
	for _, g := range groups {
		w.send(g, func(stored bool) {
			if !stored {
				failed.Store(true)
			}
			wait.Done()
		})
	}
	wait.Wait()
	return !failed.Load()
}

// batch stores groups as one atomic batch; or one by one, if the server refuses
// the batch as a whole: for a duplicate, usually. Nothing of it is stored then,
// and one by one the ids decide and what can be stored is.
func (w *writer) batch(groups []*group, n int) {
	start := time.Now()
	err := w.atomic(groups, n)
	w.atomics.Observe(float64(n))
	var refused *refusal
	if errors.As(err, &refused) {
		w.p.lg.Debug("batch refused", "stream", w.stream, "messages", n, "err", err)
		for _, g := range groups {
			for _, m := range g.msgs {
				delete(m.Header, jetstreamext.BatchIDHeader)
				delete(m.Header, jetstreamext.BatchSeqHeader)
				delete(m.Header, jetstreamext.BatchCommitHeader)
			}
		}
		w.together(groups, n)
		return
	}
	if err == nil {
		w.cost.tookBatch(n, time.Since(start))
		w.published.Add(float64(n))
	}
	for _, g := range groups {
		g.done <- err
	}
}

// atomic sends n messages as a batch, of which the server stores all or
// nothing. Only the commit is answered: had anything before it gone wrong or
// got lost, the commit is refused as incomplete.
func (w *writer) atomic(groups []*group, n int) error {
	r := w.p.replies
	done := make(chan struct{})
	x, err := r.begin(1, w.p.cfg.Timeout, func(*round) { close(done) })
	if err != nil {
		return sendError(err)
	}
	id := nuid.Next()
	ids := []string{id}
	i := 0
	for _, g := range groups {
		for _, m := range g.msgs {
			i++
			m.Reply = ""
			m.Header[jetstreamext.BatchIDHeader] = ids
			m.Header[jetstreamext.BatchSeqHeader] = []string{strconv.Itoa(i)}
			if i == n {
				m.Header[jetstreamext.BatchCommitHeader] = []string{"1"}
				m.Reply = r.subject(x, 0)
			}
			if err := w.p.nc.PublishMsg(m); err != nil {
				r.settle(x.id, 0, nil, err) // the server drops the torn batch by itself
				return sendError(err)
			}
		}
	}
	<-done
	if x.errs[0] != nil {
		return x.errs[0]
	}
	var ack jetstreamext.BatchAck
	if err := json.Unmarshal(x.ack, &ack); err != nil {
		return fmt.Errorf("%w: unreadable answer: %w", ErrUnavailable, err)
	}
	if ack.BatchID != id || ack.BatchSize != uint64(n) {
		return fmt.Errorf("%w: batch of %d was answered as %d", ErrUnavailable, n, ack.BatchSize)
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
