package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"beat/streams/objects"
)

const (
	// readBytes is what a request for a part of a segment fetches, unpacked: a
	// tenth of it goes over the network.
	readBytes = 8 << 20
	// skipBytes is how much of an object is rather fetched in vain than left out
	// by a request of its own.
	skipBytes = 128 << 10
	// indexes are fetched so many at once: small, and all waiting.
	indexes = 8
)

// A found is what is selected of a segment.
type found struct {
	g     *Segment
	x     *index
	items []item
}

// A part is what one request fetches of a segment.
type part struct {
	found
	from, to int // chunks, to excluded
}

// fromArchive gives what is selected of the segments. It is false if the caller wants
// no more, or an error was given.
func (a *Archive) fromArchive(ctx context.Context, gs []Segment, sel *selection, whole bool, yield func(Raw, error) bool) bool {
	gs = slices.DeleteFunc(slices.Clone(gs), func(g Segment) bool { return !sel.may(&g) })
	if len(gs) > 0 && a.store == nil {
		return yield(Raw{}, fmt.Errorf("archive: %w", ErrNone)) && false
	}
	if !whole {
		for f, err := range a.search(ctx, gs, sel) {
			if err != nil {
				return yield(Raw{}, err) && false
			}
			for i := range f.items {
				if !yield(Raw{Entry: f.items[i].Entry}, nil) {
					return false
				}
			}
		}
		return true
	}
	parts := func(ctx context.Context) iter.Seq2[part, error] {
		return func(yield func(part, error) bool) {
			for f, err := range a.search(ctx, gs, sel) {
				if err != nil {
					yield(part{}, err)
					return
				}
				for _, p := range f.parts() {
					if !yield(p, nil) {
						return
					}
				}
			}
		}
	}
	for raws, err := range inOrder(ctx, max(2, runtime.GOMAXPROCS(0)), parts, a.fetch) {
		if err != nil {
			return yield(Raw{}, err) && false
		}
		for i := range raws {
			if !yield(raws[i], nil) {
				return false
			}
		}
	}
	return true
}

// search looks into the indexes of segments.
func (a *Archive) search(ctx context.Context, gs []Segment, sel *selection) iter.Seq2[found, error] {
	each := func(context.Context) iter.Seq2[*Segment, error] {
		return func(yield func(*Segment, error) bool) {
			for i := range gs {
				if !yield(&gs[i], nil) {
					return
				}
			}
		}
	}
	return inOrder(ctx, indexes, each, func(ctx context.Context, g *Segment) (found, error) {
		x, err := a.index(ctx, g)
		if err != nil {
			return found{}, a.unlessGone(ctx, g, err)
		}
		f := found{g: g, x: x, items: x.items[:0:0]}
		for i := range x.items {
			if sel.has(&x.items[i].Entry) {
				f.items = append(f.items, x.items[i])
			}
		}
		return f, nil
	})
}

// parts divides what was found into requests.
func (f found) parts() (out []part) {
	for len(f.items) > 0 {
		p := part{found: found{g: f.g, x: f.x}, from: f.items[0].chunk, to: f.items[0].chunk + 1}
		n, plain := 0, f.x.chunks[p.from].plain
		for ; n < len(f.items); n++ {
			c := f.items[n].chunk
			if c < p.to {
				continue
			}
			last, next := f.x.chunks[p.to-1], f.x.chunks[c]
			if next.off-last.off-last.len > skipBytes || plain+next.plain > readBytes {
				break
			}
			plain += next.plain
			p.to = c + 1
		}
		p.items, f.items = f.items[:n], f.items[n:]
		out = append(out, p)
	}
	return out
}

// fetch gets the messages of a part.
func (a *Archive) fetch(ctx context.Context, p part) ([]Raw, error) {
	first, last := p.x.chunks[p.from], p.x.chunks[p.to-1]
	data, err := patiently(ctx, func() ([]byte, error) {
		return a.store.Range(ctx, p.g.Object, first.off, last.off+last.len-first.off)
	})
	if err != nil {
		return nil, a.unlessGone(ctx, p.g, fmt.Errorf("archive: %w", err))
	}
	raws, err := unpackItems(p.x, p.items, data, first.off)
	if err != nil {
		return nil, fmt.Errorf("archive: %s: %w: %w", p.g.Object, ErrLost, err)
	}
	for i := range raws {
		r := &raws[i]
		if r.Data, err = a.Body(ctx, r.Header, r.Data); err != nil {
			return nil, fmt.Errorf("raw answer %s at %s: %w", r.ID, r.Position, err)
		}
	}
	return raws, nil
}

// unpackItems reads messages out of the object's bytes from off on.
func unpackItems(x *index, items []item, data []byte, off int64) ([]Raw, error) {
	raws := make([]Raw, 0, len(items))
	open, plain := -1, []byte(nil)
	for i := range items {
		it := &items[i]
		if it.chunk != open {
			c := x.chunks[it.chunk]
			from := c.off - off
			if from < 0 || from+c.len > int64(len(data)) {
				return nil, corrupt("cut off")
			}
			var err error
			if plain, err = unpack(data[from:from+c.len], c.plain); err != nil {
				return nil, err
			}
			open = it.chunk
		}
		r, err := readMessage(it, plain[it.off:it.off+it.len:it.off+it.len])
		if err != nil {
			return nil, err
		}
		raws = append(raws, r)
	}
	return raws, nil
}

// unlessGone is nil if the segment has outlived its retention while it was read,
// and otherwise an error that says whether it is lost.
func (a *Archive) unlessGone(ctx context.Context, g *Segment, err error) error {
	if !errors.Is(err, objects.ErrNotFound) && !errors.Is(err, objects.ErrShort) && !errors.Is(err, errCorrupt) {
		return err
	}
	gs, dberr := a.segments(ctx, `state = 'stored' AND run = $1 AND first_seq = $2`, g.Run, g.First)
	if dberr == nil && len(gs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// inOrder calls f for what in gives, n at a time, and gives the results in their
// order. It takes from in only as far as there is room: n results may wait. The
// first error is the last that is given. Nothing of it runs once it returns.
func inOrder[T, R any](ctx context.Context, n int, in func(context.Context) iter.Seq2[T, error], f func(context.Context, T) (R, error)) iter.Seq2[R, error] {
	type result struct {
		r   R
		err error
	}
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		line := make(chan chan result, n-1)
		all.Go(func() {
			defer close(line)
			for v, err := range in(ctx) {
				c := make(chan result, 1)
				select {
				case line <- c:
				case <-ctx.Done():
					return
				}
				if err != nil {
					c <- result{err: err}
					return
				}
				all.Go(func() {
					r, err := f(ctx, v)
					c <- result{r, err}
				})
			}
		})
		for c := range line {
			x := <-c
			if !yield(x.r, x.err) || x.err != nil {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			var none R
			yield(none, err)
		}
	}
}
