package archive

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"beat/streams/bus"
)

// drafted is a segment of n answers, one of them large.
func drafted(n int) (*draft, []Raw) {
	d := newDraft(7, 100)
	var raws []Raw
	for i := range n {
		o, _ := answer(i)
		if i == 3 {
			o.Data = bytes.Repeat([]byte("0123456789abcdef"), 150_000)
		}
		r := Raw{Entry: entryOf(Position{7, uint64(100 + 2*i)}, time.Unix(1790000000, int64(i)*123456789).UTC(), o.Subject, o.Header, len(o.Data)),
			Header: o.Header, Data: o.Data}
		raws = append(raws, r)
		d.add(&r)
	}
	return d, raws
}

// Everything comes back, in chunks that are frames of their own; and the same
// messages are the same bytes.
func TestSegment(t *testing.T) {
	t.Parallel()
	d, want := drafted(700)
	g, data, idx := d.finish()
	x, err := openIndex(&g, idx)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.chunks) < 3 {
		t.Errorf("%d chunks", len(x.chunks))
	}
	got, err := unpackItems(x, x.items, data, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if len(want[i].Data) == 0 {
			want[i].Data, got[i].Data = nil, nil
		}
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("message %d: got %+v, want %+v", i, got[i].Entry, want[i].Entry)
		}
	}
	whole, err := unpack(data, -1)
	if err != nil || int64(len(whole)) != g.PlainBytes {
		t.Errorf("the object as one zstd file: %d bytes, %v, want %d", len(whole), err, g.PlainBytes)
	}
	t.Logf("%d messages of %d bytes: %d, index %d", g.Count, g.PlainBytes, g.Bytes, g.IndexBytes)
	d, _ = drafted(700)
	h, _, _ := d.finish()
	if !bytes.Equal(g.Sum, h.Sum) || !bytes.Equal(g.IndexSum, h.IndexSum) || g.Object != h.Object {
		t.Error("made again, the segment differs")
	}
	if g.ObservedTo.Before(want[699].Observed) || g.ObservedFrom.After(want[0].Observed) {
		t.Errorf("observed from %s to %s", g.ObservedFrom, g.ObservedTo)
	}
}

// Every damage to an object is found.
func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(200)
	stop := w.run(a)
	gs := w.archived(a)
	stop()
	rep := w.clean(a)
	if rep.Segments != len(gs) || rep.Messages != 200 || rep.Bytes == 0 {
		t.Errorf("report: %+v", rep)
	}
	for name, c := range map[string]struct {
		object, kind string
		damage       func([]byte) []byte
	}{
		"a bit":          {gs[0].Object, Damaged, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		"cut off":        {gs[0].Object, Damaged, func(b []byte) []byte { return b[:len(b)-1] }},
		"empty":          {gs[0].Object, Damaged, func([]byte) []byte { return nil }},
		"gone":           {gs[0].Object, Missing, nil},
		"a bit of index": {gs[1].Index(), Damaged, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		"index gone":     {gs[1].Index(), Missing, nil},
		"another":        {gs[1].Index(), Damaged, func([]byte) []byte { b, _ := os.ReadFile(w.file(gs[0].Index())); return b }},
	} {
		was, err := os.ReadFile(w.file(c.object))
		if err != nil {
			t.Fatal(err)
		}
		if c.damage == nil {
			err = w.store.Delete(t.Context(), c.object)
		} else {
			err = w.store.Put(t.Context(), c.object, c.damage(bytes.Clone(was)))
		}
		if err != nil {
			t.Fatal(err)
		}
		rep, err := a.Verify(t.Context(), time.Time{})
		if err != nil || len(rep.Problems) != 1 || rep.Problems[0].Kind != c.kind || rep.Problems[0].Object != c.object {
			t.Errorf("%s: %+v, %v", name, rep.Problems, err)
		}
		w.stopped(a, name)
		if err := w.store.Put(t.Context(), c.object, was); err != nil {
			t.Fatal(err)
		}
	}
	w.clean(a)
	if _, err := w.db.Exec(t.Context(), "DELETE FROM archive_segment WHERE first_seq = $1", gs[1].First); err != nil {
		t.Fatal(err)
	}
	rep, err := a.Verify(t.Context(), time.Time{})
	kinds := map[string]int{}
	for _, p := range rep.Problems {
		kinds[p.Kind]++
	}
	if err != nil || kinds[Gap] != 1 || kinds[Unknown] != 2 {
		t.Errorf("a row is missing: %+v, %v", rep.Problems, err)
	}
}

// stopped asserts that a damaged archive is not read past.
func (w *world) stopped(a *Archive, what string) {
	w.t.Helper()
	w.purgeAll()
	for _, err := range a.History(w.t.Context(), Filter{}) {
		if err != nil {
			if !errors.Is(err, ErrLost) {
				w.t.Errorf("%s: history: %v, want that something is lost", what, err)
			}
			return
		}
	}
	w.t.Errorf("%s: the history ended as if all were well", what)
}

// Whatever the bytes are: an error, or a segment that is one.
func FuzzSegment(f *testing.F) {
	d, _ := drafted(5)
	d.index.items[3].Claim = "body/x"
	_, data, idx := d.finish()
	plain, err := unpack(idx, -1)
	if err != nil {
		f.Fatal(err)
	}
	message := appendMessage(nil, &Raw{Entry: Entry{Position: Position{7, 5}, At: time.Unix(5, 5), Subject: "beat.raw.x"},
		Header: nats.Header{"A": {"b", "c"}}, Data: []byte("body")})
	f.Add(plain, data, message)
	f.Add([]byte(magic), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, plain, data, message []byte) {
		it := item{Entry: Entry{Position: Position{7, 5}, At: time.Unix(5, 5), Subject: "beat.raw.x"}}
		if r, err := readMessage(&it, message); err == nil {
			if again := appendMessage(nil, &r); len(again) == len(message) {
				if r2, err := readMessage(&it, again); err != nil || !reflect.DeepEqual(r, r2) {
					t.Errorf("read again: %v, %+v, was %+v", err, r2, r)
				}
			}
		}
		x, err := readIndex(plain)
		if err != nil {
			return
		}
		if _, err := unpackItems(x, x.items, data, 0); err != nil && !errors.Is(err, errCorrupt) {
			t.Errorf("error of another kind: %v", err)
		}
		last := uint64(0)
		for i := range x.items {
			it := &x.items[i]
			if i > 0 && it.Seq <= last || it.Seq > x.last || it.Seq < x.first {
				t.Fatalf("sequence %d after %d", it.Seq, last)
			}
			last = it.Seq
		}
		y, err := readIndex(appendIndex(nil, x))
		if err != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("read again: %v", err)
		}
	})
}
