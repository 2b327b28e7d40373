package archive

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// A place is how far the archive has come in RAW as it is now.
type place struct {
	Position // of the last message that is stored in the archive
	stream   jetstream.Stream
	state    jetstream.StreamState
	created  int64 // of the stream, and its first run
	known    bool  // something of this stream is stored
}

// next is the first sequence of RAW that is there and not archived; it is after
// the last one if there is none.
func (p *place) next() uint64 { return max(p.Seq+1, p.state.FirstSeq) }

// place finds the end of what is archived. If the stream was set back since, the
// place is where it parted from what was archived, in a new run.
func (a *Archive) place(ctx context.Context) (p place, err error) {
	if p.stream, err = a.js.Stream(ctx, bus.Raw); err != nil {
		return p, fmt.Errorf("archive: stream %s: %w", bus.Raw, err)
	}
	info := p.stream.CachedInfo()
	p.state, p.created = info.State, info.Created.UnixNano()
	p.Position = Position{Run: p.created}
	g, ok, err := a.newest(ctx, p.created)
	if err != nil || !ok {
		return p, err
	}
	p.known, p.Position = true, Position{g.Run, g.Last}
	same, err := p.holds(ctx, g.Last, g.LastAt)
	if err != nil || same {
		return p, err
	}
	parted, err := a.parted(ctx, &p, g.Run)
	if err != nil {
		return p, err
	}
	p.Position = Position{g.Run + 1, min(parted-1, p.state.LastSeq)}
	return p, nil
}

// holds reports whether the stream has, as far as can be told, the same message
// under a sequence as when it was archived.
func (p *place) holds(ctx context.Context, seq uint64, at time.Time) (bool, error) {
	switch {
	case seq > p.state.LastSeq:
		return false, nil
	case seq < p.state.FirstSeq:
		return true, nil // it went since
	}
	m, err := p.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return true, nil // likewise, on its own
	}
	if err != nil {
		return false, fmt.Errorf("archive: message %d of %s: %w", seq, bus.Raw, err)
	}
	return micros(m.Time).Equal(micros(at)), nil
}

// parted is the first sequence under which the stream has another message than
// the run that is archived.
func (a *Archive) parted(ctx context.Context, p *place, run int64) (uint64, error) {
	gs, err := a.segments(ctx, `state = 'stored' AND run = $1 ORDER BY first_seq`, run)
	if err != nil {
		return 0, err
	}
	var failed error
	differs := func(seq uint64, at time.Time) bool {
		if failed != nil {
			return true
		}
		same, err := p.holds(ctx, seq, at)
		failed = err
		return !same
	}
	i := sort.Search(len(gs), func(i int) bool { return differs(gs[i].Last, gs[i].LastAt) })
	if failed != nil || i == len(gs) {
		return p.Seq + 1, failed
	}
	x, err := a.index(ctx, &gs[i])
	if err != nil {
		return 0, err
	}
	j := sort.Search(len(x.items), func(j int) bool { return differs(x.items[j].Seq, x.items[j].At) })
	if failed != nil || j == len(x.items) {
		return gs[i].Last + 1, failed
	}
	return x.items[j].Seq, nil
}

// index fetches the index of a segment.
func (a *Archive) index(ctx context.Context, g *Segment) (*index, error) {
	data, err := a.get(ctx, g.Index())
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	x, err := openIndex(g, data)
	if err != nil {
		return nil, fmt.Errorf("archive: %s: %w", g.Index(), err)
	}
	return x, nil
}
