package archive

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// pullBytes is how much of RAW a reader has on its way. It must be more than the
// largest message.
const pullBytes = 32 << 20

// allRaw are the subjects of RAW.
const allRaw = "beat.raw.>"

// onTheWay is how long a message may take that the stream has.
const onTheWay = 5 * time.Second

// A tail reads RAW in order.
type tail struct {
	run int64
	js  jetstream.JetStream
	c   jetstream.Consumer
	it  jetstream.MessagesContext
}

// tail begins to read at a sequence, and says how many messages there are from
// there on. subjects nil is all of it.
func (a *Archive) tail(ctx context.Context, run int64, from uint64, subjects []string, headersOnly bool) (t *tail, pending uint64, err error) {
	c, err := a.js.OrderedConsumer(ctx, bus.Raw, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1), FilterSubjects: subjects, HeadersOnly: headersOnly,
	})
	if err != nil {
		return nil, 0, fmt.Errorf("archive: read %s: %w", bus.Raw, err)
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("archive: read %s: %w", bus.Raw, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(500, pullBytes))
	if err != nil {
		return nil, 0, fmt.Errorf("archive: read %s: %w", bus.Raw, err)
	}
	return &tail{run, a.js, c, it}, info.NumPending, nil
}

// close ends the reading. The server would forget about it by itself, but only
// after minutes.
func (t *tail) close() {
	t.it.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.js.DeleteConsumer(ctx, bus.Raw, t.c.CachedInfo().Name) // else the server does it later
}

// next is the next message, as it is stored but for the packing of its body,
// and how many follow it. The error is ctx's if that ends first.
func (t *tail) next(ctx context.Context) (r Raw, pending uint64, err error) {
	m, err := t.it.Next(jetstream.NextContext(ctx))
	if err != nil {
		if ctx.Err() != nil {
			return r, 0, ctx.Err()
		}
		return r, 0, fmt.Errorf("archive: read %s: %w", bus.Raw, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return r, 0, fmt.Errorf("archive: read %s: %w", bus.Raw, err)
	}
	h, data := m.Headers(), m.Data()
	// What cannot be unpacked is kept as it is.
	if plain, err := bus.Unpack(h, data); err == nil {
		data = plain
		delete(h, bus.HeaderEncoding)
	}
	size := len(data)
	if n, err := strconv.Atoi(h.Get(nats.MsgSize)); err == nil {
		size = n // of a body that was not asked for, packed
	}
	e := entryOf(Position{t.run, meta.Sequence.Stream}, meta.Timestamp, m.Subject(), h, size)
	return Raw{Entry: e, Header: h, Data: data}, meta.NumPending, nil
}

// collect reads the next segment: from behind at, until it is full, or until
// its first message is Every old and there are no more.
func (a *Archive) collect(ctx context.Context, at Position, first uint64) (*draft, error) {
	t, _, err := a.tail(ctx, at.Run, first, nil, false)
	if err != nil {
		return nil, err
	}
	defer t.close()
	d := newDraft(at.Run, first)
	var until time.Time // since there is a message
	var pending uint64
	for d.plain < int64(a.cfg.SegmentBytes) {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if !d.empty() {
			by := until
			if least := time.Now().Add(onTheWay); pending > 0 && by.Before(least) {
				by = least
			}
			wait, cancel = context.WithDeadline(ctx, by)
		}
		r, n, err := t.next(wait)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, err
		}
		if d.empty() {
			until = r.At.Add(a.cfg.Every)
		}
		d.add(&r)
		if pending = n; pending == 0 && !time.Now().Before(until) {
			break
		}
	}
	return d, nil
}

// again reads what of a segment is still in the stream; nil if nothing is.
func (a *Archive) again(ctx context.Context, p *place, g *Segment) (*draft, error) {
	t, _, err := a.tail(ctx, g.Run, g.First, nil, false)
	if err != nil {
		return nil, err
	}
	defer t.close()
	d := newDraft(g.Run, g.First)
	for next := g.First; next <= g.Last; next = d.last + 1 {
		wait, cancel := context.WithTimeout(ctx, onTheWay)
		r, _, err := t.next(wait)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// Nothing comes behind what has gone from the end.
			m, err := p.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(allRaw))
			if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Sequence > g.Last {
				break
			}
			return nil, fmt.Errorf("archive: message %d of %s does not come", next, bus.Raw)
		}
		if err != nil {
			return nil, err
		}
		if r.Seq > g.Last {
			break
		}
		d.add(&r)
	}
	if d.empty() {
		return nil, nil
	}
	d.last = g.Last
	return d, nil
}
