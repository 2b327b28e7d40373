package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"beat/streams/objects"
)

// A Problem is something in the archive that is not as it should be.
type Problem struct {
	Kind string `json:"kind"` // see the constants
	// Object is what is affected; empty for a gap.
	Object string `json:"object,omitempty"`
	Run    int64  `json:"run,omitempty"`
	From   uint64 `json:"from,omitempty"` // sequences of RAW, both included
	To     uint64 `json:"to,omitempty"`
	Says   string `json:"says"`
}

// The kinds of problem.
const (
	Gap     = "gap"     // RAW lost these messages before they were archived
	Missing = "missing" // an object is gone
	Damaged = "damaged" // an object is not what was written
	Unknown = "unknown" // an object that no row names
)

// A Report is what Verify found.
type Report struct {
	Segments int       `json:"segments"`
	Messages int       `json:"messages"`
	Removed  uint64    `json:"removed"` // sequences within segments whose messages had gone one by one
	Bodies   int       `json:"bodies"`  // of claims
	Bytes    int64     `json:"bytes"`   // read
	Problems []Problem `json:"problems"`
}

// Verify reads everything that is archived since then, and compares it with its
// hashes, its index and its row. Its error is that it could not; what it found
// until then is in the report.
func (a *Archive) Verify(ctx context.Context, since time.Time) (rep Report, err error) {
	rep.Problems = []Problem{}
	if a.store == nil {
		return rep, ErrNone
	}
	// Before the rows: an object is written after its row, and deleted before.
	objects := map[string]bool{}
	for key, err := range a.store.List(ctx, "raw/") {
		if err != nil {
			return rep, fmt.Errorf("archive: %w", err)
		}
		objects[key] = true
	}
	all, err := a.segments(ctx, `true ORDER BY run, first_seq`)
	if err != nil {
		return rep, err
	}
	var gs []*Segment
	var before *Segment
	for i := range all {
		g := &all[i]
		delete(objects, g.Object)
		delete(objects, g.Index())
		if g.State != stored || g.LastAt.Before(since) {
			continue
		}
		if before != nil && before.Run == g.Run && before.Last+1 < g.First {
			rep.gap(g.Run, before.Last+1, g.First-1)
		}
		before = g
		gs = append(gs, g)
	}
	p, err := a.place(ctx)
	if err != nil {
		return rep, err
	}
	if p.known && p.state.FirstSeq > p.Seq+1 {
		rep.gap(p.Run, p.Seq+1, p.state.FirstSeq-1)
	}
	if err := a.verifyAll(ctx, gs, &rep); err != nil {
		return rep, err
	}
	for key := range objects {
		if _, err := a.store.Size(ctx, key); err == nil {
			rep.Problems = append(rep.Problems, Problem{Kind: Unknown, Object: key, Says: "no row names it"})
		}
	}
	return rep, nil
}

func (r *Report) gap(run int64, from, to uint64) {
	r.Problems = append(r.Problems, Problem{Kind: Gap, Run: run, From: from, To: to,
		Says: fmt.Sprintf("%d messages went from the stream before they were archived", to-from+1)})
}

func (a *Archive) verifyAll(ctx context.Context, gs []*Segment, rep *Report) error {
	each := func(context.Context) iter.Seq2[*Segment, error] {
		return func(yield func(*Segment, error) bool) {
			for _, g := range gs {
				if !yield(g, nil) {
					return
				}
			}
		}
	}
	for one, err := range inOrder(ctx, 3, each, a.verify) {
		if err != nil {
			return err
		}
		rep.Segments += one.Segments
		rep.Messages += one.Messages
		rep.Removed += one.Removed
		rep.Bodies += one.Bodies
		rep.Bytes += one.Bytes
		rep.Problems = append(rep.Problems, one.Problems...)
	}
	return nil
}

// verify reads one segment.
func (a *Archive) verify(ctx context.Context, g *Segment) (rep Report, err error) {
	rep.Segments, rep.Removed = 1, g.Last-g.First+1-uint64(g.Count)
	problem := func(object string, err error) error {
		kind := Damaged
		switch {
		case errors.Is(err, objects.ErrNotFound):
			kind = Missing
		case !errors.Is(err, ErrLost) && !errors.Is(err, errCorrupt):
			return err
		}
		if gone := a.unlessGone(ctx, g, errCorrupt); gone == nil {
			return nil
		}
		rep.Problems = append(rep.Problems, Problem{Kind: kind, Object: object, Run: g.Run, From: g.First, To: g.Last, Says: err.Error()})
		return nil
	}
	var data [2][]byte
	for i, o := range []struct {
		key string
		sum Sum
	}{{g.Object, g.Sum}, {g.Index(), g.IndexSum}} {
		if data[i], err = a.get(ctx, o.key); err == nil && !bytes.Equal(sumOf(data[i]), o.sum) {
			err = fmt.Errorf("%d bytes: %w", len(data[i]), corrupt("hash"))
		}
		if err != nil {
			return rep, problem(o.key, err)
		}
		rep.Bytes += int64(len(data[i]))
	}
	x, err := openIndex(g, data[1])
	if err != nil {
		return rep, problem(g.Index(), err)
	}
	raws, err := unpackItems(x, x.items, data[0], 0)
	if err != nil {
		return rep, problem(g.Object, err)
	}
	rep.Messages = len(raws)
	for i := range raws {
		r := &raws[i]
		if r.Claim == "" {
			continue
		}
		body, err := a.Body(ctx, r.Header, r.Data)
		if err != nil {
			if err := problem(strings.TrimSpace(r.Claim), err); err != nil {
				return rep, err
			}
			continue
		}
		rep.Bodies++
		rep.Bytes += int64(len(body))
	}
	return rep, nil
}
