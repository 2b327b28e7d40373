package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// A Segment is a row of table archive_segment.
type Segment struct {
	Run          int64      `json:"run" db:"run"`
	First        uint64     `json:"first_seq" db:"first_seq"`
	Last         uint64     `json:"last_seq" db:"last_seq"`
	State        string     `json:"state" db:"state"` // writing, stored or removing
	FirstAt      time.Time  `json:"first_at" db:"first_at"`
	LastAt       time.Time  `json:"last_at" db:"last_at"`
	ObservedFrom time.Time  `json:"observed_from" db:"observed_from"`
	ObservedTo   time.Time  `json:"observed_to" db:"observed_to"`
	Count        int        `json:"count" db:"count"`
	Subjects     []string   `json:"subjects" db:"subjects"`
	Object       string     `json:"object" db:"object"`
	Bytes        int64      `json:"bytes" db:"bytes"`
	Sum          Sum        `json:"sha256" db:"sha256"`
	IndexBytes   int64      `json:"index_bytes" db:"index_bytes"`
	IndexSum     Sum        `json:"index_sha256" db:"index_sha256"`
	PlainBytes   int64      `json:"plain_bytes" db:"plain_bytes"`
	ClaimedBytes int64      `json:"claimed_bytes" db:"claimed_bytes"`
	CreatedAt    time.Time  `json:"created_at" db:"created_at"`
	Until        *time.Time `json:"retained_until,omitempty" db:"retained_until"`
}

// The states of a segment.
const (
	writing  = "writing"
	stored   = "stored"
	removing = "removing"
)

// A Sum is a SHA-256.
type Sum []byte

// MarshalText writes it in hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s), nil }

func sumOf(b []byte) Sum {
	s := sha256.Sum256(b)
	return s[:]
}

// Index is the name of the segment's index.
func (g *Segment) Index() string { return g.Object + ".idx" }

// objectOf names the segment. The name says all that makes it: made again, it
// is in the same place.
func objectOf(run int64, first, last uint64) string {
	return fmt.Sprintf("raw/%d/%020d-%020d.zst", run, first, last)
}

// A draft is a segment that is being collected.
type draft struct {
	run         int64
	first, last uint64 // what it covers, with sequences that nobody has

	index index
	open  []byte // messages of the chunk that is not packed yet
	data  []byte // packed chunks
	plain int64
	claim int64
}

// newDraft begins a segment at a sequence.
func newDraft(run int64, first uint64) *draft {
	return &draft{run: run, first: first, last: first, index: index{run: run, first: first}}
}

// add takes the next message.
func (d *draft) add(r *Raw) {
	before := len(d.open)
	d.open = appendMessage(d.open, r)
	it := item{Entry: r.Entry, chunk: len(d.index.chunks), off: before, len: len(d.open) - before}
	// A message that does not fit begins a chunk, so that a large one costs the
	// reader of its neighbours nothing.
	if before > 0 && len(d.open) > chunkBytes {
		message := slices.Clone(d.open[before:])
		d.open = d.open[:before]
		d.seal()
		d.open = append(d.open, message...)
		it.chunk, it.off = it.chunk+1, 0
	}
	d.plain += int64(it.len)
	if r.Claim != "" {
		d.claim += int64(r.Size)
	}
	d.index.items = append(d.index.items, it)
	d.last = r.Seq
	if len(d.open) >= chunkBytes {
		d.seal()
	}
}

func (d *draft) seal() {
	if len(d.open) == 0 {
		return
	}
	off := len(d.data)
	d.data = packer.EncodeAll(d.open, d.data)
	d.index.chunks = append(d.index.chunks, chunk{off: int64(off), len: int64(len(d.data) - off), plain: len(d.open)})
	d.open = d.open[:0]
}

// empty reports whether there is no message in it.
func (d *draft) empty() bool { return len(d.index.items) == 0 }

// finish packs what is left and describes the whole. The same messages give the
// same bytes.
func (d *draft) finish() (g Segment, data, idx []byte) {
	d.seal()
	d.index.last = d.last
	data, idx = d.data, pack(appendIndex(nil, &d.index))
	g = Segment{
		Run: d.run, First: d.first, Last: d.last, State: writing, Count: len(d.index.items), Object: objectOf(d.run, d.first, d.last),
		Bytes: int64(len(data)), Sum: sumOf(data), IndexBytes: int64(len(idx)), IndexSum: sumOf(idx), PlainBytes: d.plain, ClaimedBytes: d.claim,
		CreatedAt: time.Now().UTC(),
	}
	seen := map[string]bool{}
	for i := range d.index.items {
		e := &d.index.items[i].Entry
		if i == 0 {
			g.FirstAt, g.ObservedFrom, g.ObservedTo = e.At, e.Observed, e.Observed
		}
		g.LastAt = e.At
		if e.Observed.Before(g.ObservedFrom) {
			g.ObservedFrom = e.Observed
		}
		if e.Observed.After(g.ObservedTo) {
			g.ObservedTo = e.Observed
		}
		if !seen[e.Subject] {
			seen[e.Subject] = true
			g.Subjects = append(g.Subjects, e.Subject)
		}
	}
	slices.Sort(g.Subjects)
	return g, data, idx
}

// openIndex reads a segment's index as stored.
func openIndex(g *Segment, idx []byte) (*index, error) {
	plain, err := unpack(idx, -1)
	if err != nil {
		return nil, err
	}
	x, err := readIndex(plain)
	if err != nil {
		return nil, err
	}
	var n int64
	for _, c := range x.chunks {
		n += c.len
	}
	if x.run != g.Run || x.first != g.First || x.last != g.Last || len(x.items) != g.Count || n != g.Bytes {
		return nil, corrupt("index of another segment")
	}
	return x, nil
}
