package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// History reads raw answers in the order in which they were stored, the archived
// ones from the archive and the others from RAW, each message once and none
// left out: also what is archived and purged while the reading is under way. It
// ends with what was there when it began.
//
// A raw id comes more than once if its answer was stored more than once, as by a
// dead letter that was sent once more; the later one is what was meant last.
//
// Bodies are there, of claims too. The archive is read ahead in parallel, by
// some 8 MiB for each processor, and no further while the caller is busy; what
// is not selected is not fetched. An answer that cannot be read ends the history
// with an error that wraps ErrLost, and names it. Without an archive the history
// is what RAW has; if something is archived and this process does not know
// where, the error is ErrNone.
//
//	for raw, err := range a.History(ctx, archive.Filter{Sources: []string{"graphapi"}}) {
//		if err != nil {
//			return err
//		}
//		b, err := call.Parse(ask, raw.Observed, raw.Data)
//		…
//		done = raw.Position // where to go on: Filter.After
//	}
func (a *Archive) History(ctx context.Context, f Filter) iter.Seq2[Raw, error] {
	return func(yield func(Raw, error) bool) { a.walk(ctx, f, true, yield) }
}

// Entries is History without headers and bodies, which are not fetched: to count
// or to look for something.
func (a *Archive) Entries(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		a.walk(ctx, f, false, func(r Raw, err error) bool { return yield(r.Entry, err) })
	}
}

// End is where the history ends now.
func (a *Archive) End(ctx context.Context) (Position, error) {
	p, err := a.place(ctx)
	return Position{p.Run, p.state.LastSeq}, err
}

// Span bounds the history, for Filter.After and Filter.To, to what RAW stored from
// one time to another, both included. It is quick where the history is long: RAW
// finds a time by itself, and of the archive nothing is left out that Filter.Since
// would not leave out.
func (a *Archive) Span(ctx context.Context, from, to time.Time) (after, end Position, err error) {
	p, err := a.place(ctx)
	if err != nil {
		return after, end, err
	}
	run := p.Run
	before := func(at time.Time) (uint64, error) { // the sequence before the first that was stored at a time or later
		c, err := p.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at, AckPolicy: jetstream.AckNonePolicy,
			HeadersOnly: true, MemoryStorage: true, InactiveThreshold: time.Minute,
		})
		if err != nil {
			return 0, fmt.Errorf("archive: find %s in %s: %w", at.Format(time.RFC3339), bus.Raw, err)
		}
		defer p.stream.DeleteConsumer(context.WithoutCancel(ctx), c.CachedInfo().Name) //nolint:errcheck // it ends by itself
		return c.CachedInfo().Delivered.Stream, nil
	}
	if end.Seq, err = before(to.UTC().Add(1)); err != nil {
		return after, end, err
	}
	first, err := before(from.UTC())
	if err == nil && first >= p.state.FirstSeq { // else it may have left RAW for the archive
		after = Position{run, first}
	}
	return after, Position{run, end.Seq}, err
}

// Msg is the answer as a handler of RAW gets it.
func (r *Raw) Msg() *bus.Msg {
	return &bus.Msg{Subject: r.Subject, Header: r.Header, Data: r.Data, Stream: bus.Raw, Seq: r.Seq, Delivered: 1, Time: r.At}
}

// walk goes through the history.
func (a *Archive) walk(ctx context.Context, f Filter, whole bool, yield func(Raw, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := a.place(ctx)
	if err != nil {
		yield(Raw{}, err)
		return
	}
	end := Position{p.Run, p.state.LastSeq}
	if (f.To == Position{}) || f.To.Compare(end) > 0 {
		f.To = end
	}
	sel, at, archived := f.selection(), f.After, p.known || a.store != nil
	for {
		sel.After = at
		// Again after each part: what was in the stream may be archived by now,
		// and no longer in the stream.
		gs, err := a.after(ctx, at, f.To)
		if err != nil {
			yield(Raw{}, err)
			return
		}
		if len(gs) > 0 {
			if archived = true; !a.fromArchive(ctx, gs, &sel, whole, yield) {
				return
			}
			g := gs[len(gs)-1]
			at = Position{g.Run, g.Last}
			continue
		}
		if f.To.Run < p.Run {
			return
		}
		from := p.Seq + 1
		if at.Run == p.Run {
			from = max(from, at.Seq+1)
		}
		if at, err = a.fromStream(ctx, Position{p.Run, from}, &sel, whole, archived, yield); err != nil {
			if !errors.Is(err, errStop) {
				yield(Raw{}, err)
			}
			return
		}
		if at.Compare(f.To) >= 0 {
			return
		}
	}
}

// errStop says that the caller wants no more.
var errStop = errors.New("stop")

// after are the next stored segments that have something between after and to.
func (a *Archive) after(ctx context.Context, after, to Position) ([]Segment, error) {
	if a.db == nil {
		return nil, nil
	}
	return a.segments(ctx, `state = 'stored' AND (run, last_seq) > ($1, $2) AND (run, first_seq) <= ($3, $4) ORDER BY run, first_seq LIMIT 2000`,
		after.Run, after.Seq, to.Run, to.Seq)
}

// fromStream reads RAW from a position to the end, and returns how far it came: to
// the end, or to a place behind which the stream has no more what is archived
// now.
func (a *Archive) fromStream(ctx context.Context, from Position, sel *selection, whole, archived bool, yield func(Raw, error) bool) (at Position, err error) {
	at = Position{from.Run, from.Seq - 1}
	if from.Compare(sel.To) > 0 {
		return sel.To, nil
	}
	// Only without gaps can be told what has gone. Where nothing is archived,
	// there is nothing else to read it from, and the server may select.
	var subjects []string
	if !archived {
		subjects = sel.subjects()
	}
	t, pending, err := a.tail(ctx, from.Run, from.Seq, subjects, !whole)
	if err != nil {
		return at, err
	}
	defer t.close()
	for pending > 0 {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		r, n, err := t.next(wait)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return at, nil // perhaps it has gone: look again what there is
		}
		if err != nil {
			return at, err
		}
		if archived && r.Seq > at.Seq+1 {
			gs, err := a.after(ctx, at, Position{r.Run, r.Seq - 1})
			if err != nil || len(gs) > 0 {
				return at, err
			}
		}
		pending = n
		if r.Position.Compare(sel.To) > 0 {
			break
		}
		at = r.Position
		if !sel.has(&r.Entry) {
			continue
		}
		if whole {
			if r.Data, err = a.Body(ctx, r.Header, r.Data); err != nil {
				return at, fmt.Errorf("raw answer %s at %s: %w", r.ID, r.Position, err)
			}
		}
		if !yield(r, nil) {
			return at, errStop
		}
	}
	return sel.To, nil
}

// Kept says where the bytes of an answer are: in RAW, in an object of the archive,
// or in both.
type Kept struct {
	InStream bool
	Object   string // "" in none
}

// Where are the bytes at a position.
func (a *Archive) Where(ctx context.Context, at Position) (k Kept, err error) {
	p, err := a.place(ctx)
	if err != nil {
		return k, err
	}
	k.InStream = at.Run == p.Run && at.Seq >= p.state.FirstSeq && at.Seq <= p.state.LastSeq
	if a.db == nil {
		return k, nil
	}
	gs, err := a.segments(ctx, `state = 'stored' AND run = $1 AND first_seq <= $2 AND last_seq >= $2`, at.Run, at.Seq)
	if len(gs) > 0 {
		k.Object = gs[0].Object
	}
	return k, err
}
