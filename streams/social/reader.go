package social

import (
	"encoding/json"
	"errors"
	"iter"
	"strconv"

	"github.com/tidwall/gjson"

	"beat/streams/social/token"
)

// A Reader reads one JSON value from front to back and checks it on the way.
// What it returns shares the memory of data, or of one copy of it.
//
// A value of another type than the one asked for is passed over and gives the
// zero value, as an absent one does. What is no JSON ends all loops; Err says
// so. Whoever leaves a loop early leaves the rest unread, which Err reports
// too.
type Reader struct {
	data []byte
	text string // the same bytes, for keys and texts
	at   int
	bad  bool
	kvs  KVs // all that were read so far, to be cut into pieces
}

// NewReader returns a Reader at the beginning of data.
func NewReader(data []byte) *Reader { return &Reader{data: data, text: string(data)} }

// Err is nil when all of data was read and is JSON.
func (r *Reader) Err() error {
	if r.peek(); r.bad || r.at < len(r.data) {
		return errors.New("not JSON")
	}
	return nil
}

// Members yields the keys of an object. The body of the loop reads the
// member's value; one that it does not read is passed over.
func (r *Reader) Members() iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := r.open('{', '}'); more; more = r.more('}') {
			key := r.key()
			if r.peek(); r.bad {
				return
			}
			at := r.at
			if !yield(key) {
				return
			}
			if r.at == at {
				r.skip(0)
			}
		}
	}
}

// Elements yields the indices of an array, whose elements the loop reads as
// those of Members are.
func (r *Reader) Elements() iter.Seq[int] {
	return func(yield func(int) bool) {
		i := 0
		for more := r.open('[', ']'); more; more = r.more(']') {
			r.peek()
			at := r.at
			if !yield(i) {
				return
			}
			if r.at == at {
				r.skip(0)
			}
			i++
		}
	}
}

// Raw reads a value as it is written.
func (r *Reader) Raw() json.RawMessage {
	r.peek()
	start := r.at
	r.skip(0)
	return r.data[start:r.at:r.at]
}

// Text reads a string.
func (r *Reader) Text() string {
	if r.peek() != '"' {
		r.skip(0)
		return ""
	}
	start := r.at
	end, plain := token.String(r.data, start)
	if r.to(end); r.bad {
		return ""
	}
	if plain {
		return r.text[start+1 : end-1]
	}
	return gjson.Parse(r.text[start:end]).Str
}

// Int reads an integer.
func (r *Reader) Int() int { return int(r.Int64()) }

// Int64 reads an integer.
func (r *Reader) Int64() int64 {
	n, err := strconv.ParseInt(string(r.Raw()), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// True reads a value and reports whether it is true.
func (r *Reader) True() bool { return string(r.Raw()) == "true" }

// Into reads a value by encoding/json. null leaves v alone.
func (r *Reader) Into(v any) error {
	raw := r.Raw()
	if r.bad {
		return nil // Err says it
	}
	return json.Unmarshal(raw, v)
}

// KVs reads the object form of dimensions or metrics.
func (r *Reader) KVs() KVs {
	if r.kvs == nil {
		r.kvs = make(KVs, 0, len(r.data)/64) // a value is seldom shorter than that, its key and quotes included
	}
	start := len(r.kvs)
	for key := range r.Members() {
		r.kvs = append(r.kvs, KV{key, r.Raw()})
	}
	if start == len(r.kvs) {
		return nil
	}
	return r.kvs[start:len(r.kvs):len(r.kvs)]
}

// Log reads what Log.AppendJSON wrote. A member that a later version added is
// passed over.
func (r *Reader) Log() Log {
	var l Log
	for key := range r.Members() {
		switch key {
		case "kind":
			l.Kind = Kind(r.Text())
		case "key":
			l.Key = r.Text()
		case "owner":
			l.Owner = r.Text()
		case "handle":
			l.Handle = r.Text()
		case "source":
			l.Source = r.Text()
		case "dimensions":
			l.Dimensions = r.KVs()
		case "metrics":
			l.Metrics = r.KVs()
		case "type":
			l.Type = r.Text()
		case "actor":
			l.Actor = r.Text()
		case "target":
			l.Target = r.Text()
		case "target_dimensions":
			l.TargetDimensions = r.KVs()
		}
	}
	return l
}

// peek returns the first byte of the next token, 0 at the end.
func (r *Reader) peek() byte {
	r.at = token.Space(r.data, r.at)
	if r.at == len(r.data) {
		return 0
	}
	return r.data[r.at]
}

// to goes to the end of a token.
func (r *Reader) to(end int) {
	if end == 0 {
		r.bad = true
		return
	}
	r.at = end
}

// take reads token c, if that is next.
func (r *Reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.at++
	return true
}

// open reads the first bracket of an object or array and reports whether there
// is something in it. A value of another type is passed over.
func (r *Reader) open(first, last byte) bool {
	if !r.take(first) {
		r.skip(0)
		return false
	}
	return !r.take(last)
}

// more reads what follows a member or element: a comma, or the last bracket.
func (r *Reader) more(last byte) bool {
	if r.bad || r.take(last) {
		return false
	}
	r.must(',')
	return !r.bad
}

func (r *Reader) must(c byte) {
	if !r.take(c) {
		r.bad = true
	}
}

func (r *Reader) key() string {
	if r.peek() != '"' {
		r.bad = true
		return ""
	}
	key := r.Text()
	r.must(':')
	return key
}

// deepest is what a value may be nested, far beyond any answer and far below
// the depth at which the stack ends.
const deepest = 10_000

// skip reads a value of any type.
func (r *Reader) skip(depth int) {
	if depth > deepest {
		r.bad = true
	}
	if r.bad {
		return
	}
	switch r.peek() {
	case '{':
		for more := r.open('{', '}'); more; more = r.more('}') {
			if r.peek() != '"' {
				r.bad = true
				return
			}
			r.to(token.Scalar(r.data, r.at))
			r.must(':')
			r.skip(depth + 1)
		}
	case '[':
		for more := r.open('[', ']'); more; more = r.more(']') {
			r.skip(depth + 1)
		}
	default:
		r.to(token.Scalar(r.data, r.at))
	}
}
