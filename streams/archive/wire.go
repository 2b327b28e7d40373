package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"beat/streams/social"
)

// The bytes of a segment. Numbers are varints (encoding/binary), a text is its
// length and its bytes, a time is nanoseconds since 1970.
//
//	object   chunk*                          each a zstd frame with a checksum
//	chunk    message*                        unpacked
//	message  seq at subject n (name value)*n body
//	index    a zstd frame of:
//	         magic run first last
//	         n (length unpacked-length)*n    of the chunks, one behind the other
//	         n entry*n                       of the messages, likewise
//	entry    seq-since-the-last at-since-the-last observed-since-at
//	         length-of-the-message subject id source fetch platform verdict
//	         task size claim n key*n
const (
	magic = "beat archive 1\n"

	chunkBytes = 1 << 20  // of messages in a chunk; a larger message has one of its own
	maxPlain   = 96 << 20 // of a chunk: a body of 64 MiB at most, and its headers
	maxIndex   = 256 << 20
)

var errCorrupt = errors.New("not what was written")

func corrupt(what string) error { return fmt.Errorf("%s: %w", what, errCorrupt) }

// A chunk is a frame of the object.
type chunk struct {
	off, len int64 // in the object
	plain    int   // bytes, unpacked
}

// An item is an entry and where its message lies.
type item struct {
	Entry
	chunk    int
	off, len int // in the chunk, unpacked
}

// An index is what is known of a segment without its messages.
type index struct {
	run         int64
	first, last uint64
	chunks      []chunk
	items       []item
}

func text(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendMessage writes a message. Headers go by name, so that the same message
// is the same bytes.
func appendMessage(b []byte, r *Raw) []byte {
	b = binary.AppendUvarint(b, r.Seq)
	b = binary.AppendVarint(b, r.At.UnixNano())
	b = text(b, r.Subject)
	n := 0
	for _, vs := range r.Header {
		n += len(vs)
	}
	b = binary.AppendUvarint(b, uint64(n))
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[k] {
			b = text(text(b, k), v)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.Data)))
	return append(b, r.Data...)
}

// A reader takes values off the front of b. After an error it gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() { r.b, r.bad = nil, true }

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// size is a number of things that take at least one byte each, or of bytes.
func (r *reader) size() int {
	v := r.uint()
	if v > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(v)
}

// small is a number that is at most most.
func (r *reader) small(most int) int {
	v := r.uint()
	if v > uint64(most) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) bytes() []byte {
	n := r.size()
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// readMessage reads the message of an item. Its body shares b.
func readMessage(it *item, b []byte) (Raw, error) {
	r := reader{b: b}
	seq, at := r.uint(), r.int()
	// One text for all headers, of which they are parts.
	raw := Raw{Entry: it.Entry}
	subject := r.bytes()
	n := r.size()
	head, begin := string(r.b), len(r.b)
	cut := func() string {
		n := r.size()
		from := begin - len(r.b)
		if r.bad {
			return ""
		}
		r.b = r.b[n:]
		return head[from : from+n]
	}
	if n > 0 {
		raw.Header = make(nats.Header, n)
	}
	for range n {
		k, v := cut(), cut()
		if r.bad {
			break
		}
		raw.Header[k] = append(raw.Header[k], v)
	}
	raw.Data = r.bytes()
	if r.bad || len(r.b) > 0 || seq != it.Seq || at != it.At.UnixNano() || string(subject) != it.Subject {
		return Raw{}, corrupt(fmt.Sprintf("message %d", it.Seq))
	}
	return raw, nil
}

func appendIndex(b []byte, x *index) []byte {
	b = append(b, magic...)
	b = binary.AppendVarint(b, x.run)
	b = binary.AppendUvarint(b, x.first)
	b = binary.AppendUvarint(b, x.last)
	b = binary.AppendUvarint(b, uint64(len(x.chunks)))
	for _, c := range x.chunks {
		b = binary.AppendUvarint(b, uint64(c.len))
		b = binary.AppendUvarint(b, uint64(c.plain))
	}
	b = binary.AppendUvarint(b, uint64(len(x.items)))
	seq, at := x.first, int64(0)
	for i := range x.items {
		it := &x.items[i]
		t := it.At.UnixNano()
		b = binary.AppendUvarint(b, it.Seq-seq)
		b = binary.AppendVarint(b, t-at)
		b = binary.AppendVarint(b, it.Observed.UnixNano()-t)
		seq, at = it.Seq, t
		b = binary.AppendUvarint(b, uint64(it.len))
		for _, s := range [...]string{it.Subject, it.ID, it.Source, string(it.Fetch), string(it.Platform), it.Verdict} {
			b = text(b, s)
		}
		b = binary.AppendVarint(b, it.Task)
		b = binary.AppendUvarint(b, uint64(max(it.Size, 0)))
		b = text(b, it.Claim)
		b = binary.AppendUvarint(b, uint64(len(it.Keys)))
		for _, k := range it.Keys {
			b = text(b, k)
		}
	}
	return b
}

// readIndex reads an unpacked index.
func readIndex(b []byte) (*index, error) {
	r := reader{b: b}
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return nil, corrupt("index: its beginning")
	}
	r.b = r.b[len(magic):]
	x := &index{run: r.int(), first: r.uint(), last: r.uint()}
	var off int64
	for range r.size() {
		c := chunk{off: off, len: int64(r.small(maxPlain)), plain: r.small(maxPlain)}
		off += c.len
		x.chunks = append(x.chunks, c)
	}
	names := map[string]string{} // few, and each of them often
	name := func() string {
		b := r.bytes()
		s, ok := names[string(b)]
		if !ok {
			s = string(b)
			names[s] = s
		}
		return s
	}
	seq, at := x.first, int64(0)
	place, within := 0, 0
	for i := range r.size() {
		it := item{}
		step := r.uint()
		if i > 0 && step == 0 || step > x.last-seq {
			return nil, corrupt("index: order of sequences")
		}
		seq += step
		at += r.int()
		it.Position = Position{x.run, seq}
		it.At = time.Unix(0, at).UTC()
		it.Observed = time.Unix(0, at+r.int()).UTC()
		it.len = r.small(maxPlain)
		if place < len(x.chunks) && within == x.chunks[place].plain {
			place, within = place+1, 0
		}
		if place >= len(x.chunks) || within+it.len > x.chunks[place].plain {
			return nil, corrupt("index: place of a message")
		}
		it.chunk, it.off = place, within
		within += it.len
		it.Subject, it.ID, it.Source = name(), string(r.bytes()), name()
		it.Fetch, it.Platform, it.Verdict = social.Fetch(name()), social.Platform(name()), name()
		it.Task = r.int()
		it.Size = r.small(1 << 40)
		it.Claim = string(r.bytes())
		for range r.size() {
			it.Keys = append(it.Keys, string(r.bytes()))
		}
		if r.bad {
			break
		}
		x.items = append(x.items, it)
	}
	if r.bad || len(r.b) > 0 || x.last < x.first {
		return nil, corrupt("index")
	}
	return x, nil
}

// One of each for the whole process: EncodeAll and DecodeAll may be called at
// once, and each call takes a part of its own.
var (
	packer = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(true),
		zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(chunkBytes), zstd.WithLowerEncoderMem(true)))
	unpacker = must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxIndex), zstd.WithDecoderLowmem(true)))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options
	}
	return v
}

func pack(b []byte) []byte { return packer.EncodeAll(b, nil) }

// unpack returns what pack was given, of n bytes, or of any number if n is
// negative.
func unpack(b []byte, n int) ([]byte, error) {
	plain, err := unpacker.DecodeAll(b, make([]byte, 0, min(max(n, 0), 2*chunkBytes)))
	if err != nil {
		return nil, corrupt("zstd: " + err.Error())
	}
	if n >= 0 && len(plain) != n {
		return nil, corrupt(fmt.Sprintf("%d bytes instead of %d", len(plain), n))
	}
	return plain, nil
}
