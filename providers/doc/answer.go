package doc

import (
	"bytes"
	"math"
	"unicode/utf16"
	"unicode/utf8"

	"beat/providers"
	"beat/streams/social"
	"beat/streams/social/token"
)

// An answer is a body and where its values lie. It is read once: every path
// then goes from value to value without looking at the text between them.
type answer struct {
	body   []byte
	values []value // in the order of the text; the first is the root
}

// A value is a part of the body. Offsets are 32 bits, so that the values of an
// answer are about half as large as it is.
type value struct {
	key        int32 // of a member, where its key begins: at a quote
	start, end int32
	next       int32 // index of the value that follows this one and all in it
}

// maxDepth is far beyond any real answer and far below the depth at which a
// recursive reader runs out of stack, which no recover catches.
const maxDepth = 1000

// read reads body, and is nil when that is not JSON.
func read(body []byte) (*reading, *providers.Error) {
	if len(body) > math.MaxInt32 {
		return nil, providers.Malformed("body is too large: %d bytes", len(body))
	}
	r := &reading{answer: answer{body: body, values: make([]value, 0, atMost(body))}}
	end := r.value(0, 0, 0)
	switch {
	case r.deep:
		return nil, providers.Malformed("body is not JSON: nested deeper than %d", maxDepth)
	case end == 0 || token.Space(body, end) < len(body):
		return nil, providers.Malformed("body is not JSON: %s", Shape(body))
	}
	return r, nil
}

// atMost is how many values body may hold: each but the root comes after a
// comma or is the first behind a bracket. Commas alone are no answer, so the
// memory is bounded by that of the body; one with more values makes it grow.
func atMost(body []byte) int {
	n := 1
	for _, c := range []string{",", "{", "["} {
		n += bytes.Count(body, []byte(c))
	}
	return min(n, len(body)/16+8)
}

type reading struct {
	answer
	deep    bool // nested deeper than maxDepth
	escaped bool // some key may not be written as paths are
}

// value reads the value that follows at i and returns where it ends, 0 when it
// is none.
func (r *reading) value(key, i, depth int) int {
	b := r.body
	if i = token.Space(b, i); i == len(b) {
		return 0
	}
	at := len(r.values)
	r.values = append(r.values, value{key: int32(key), start: int32(i)})
	switch b[i] {
	case '{', '[':
		i = r.list(i, depth+1)
	default:
		i = token.Scalar(b, i)
	}
	r.values[at].end, r.values[at].next = int32(i), int32(len(r.values))
	return i
}

// list reads the object or array whose bracket is at i.
func (r *reading) list(i, depth int) int {
	if depth > maxDepth {
		r.deep = true
		return 0
	}
	b := r.body
	object, last := b[i] == '{', b[i]+2 // the bracket that closes: in ASCII two further on, for both kinds
	if i = token.Space(b, i+1); i < len(b) && b[i] == last {
		return i + 1
	}
	for {
		key := 0
		if object {
			if key, i = r.key(i); i == 0 {
				return 0
			}
		}
		if i = r.value(key, i, depth); i == 0 {
			return 0
		}
		if i = token.Space(b, i); i == len(b) {
			return 0
		}
		switch b[i] {
		case ',':
			i++
		case last:
			return i + 1
		default:
			return 0
		}
	}
}

// key reads the key that follows at i, with its colon: where it begins, and
// where the value may.
func (r *reading) key(i int) (key, end int) {
	b := r.body
	key = token.Space(b, i)
	if key == len(b) || b[key] != '"' {
		return 0, 0
	}
	end, plain := token.String(b, key)
	if end == 0 {
		return 0, 0
	}
	if !plain && !isTidy(b[key:end]) {
		r.escaped = true
	}
	if end = token.Space(b, end); end == len(b) || b[end] != ':' {
		return 0, 0
	}
	return key, end + 1
}

// isTidy reports whether tidy gives s, a scalar, back as it is. It may be false
// for one of which that is true.
func isTidy(s []byte) bool {
	return bytes.IndexByte(s, '\\') < 0 || !bytes.Contains(s, []byte(`\u`)) && !bytes.Contains(s, []byte(`\/`))
}

// tidy appends body, which is valid JSON, without the blanks between tokens, with \uXXXX as
// UTF-8 and \/ as a slash.
func tidy(out, body []byte) []byte {
	from := 0 // what is not yet in out begins there
	for i := 0; i < len(body); {
		switch body[i] {
		case ' ', '\n', '\r', '\t':
			out = append(out, body[from:i]...)
			i++
			from = i
		case '"':
			end, plain := token.String(body, i)
			if !plain {
				out = append(out, body[from:i]...)
				out = tidyString(out, body[i:end])
				from = end
			}
			i = end
		default:
			i++
		}
	}
	return append(out, body[from:]...)
}

// tidyString appends s, a string in its quotes.
func tidyString(out, s []byte) []byte {
	for i := 0; ; {
		if s[i] != '\\' {
			n := bytes.IndexByte(s[i:], '\\')
			if n < 0 {
				return append(out, s[i:]...)
			}
			out = append(out, s[i:i+n]...)
			i += n
		}
		switch c := s[i+1]; c {
		case '/':
			out = append(out, '/')
			i += 2
		case 'u':
			out, i = unescape(out, s, i)
		default:
			out = append(out, '\\', c)
			i += 2
		}
	}
}

// unescape appends the character whose \uXXXX, or pair of them, begins at
// s[i], and returns the index after it.
func unescape(out, s []byte, i int) ([]byte, int) {
	r := hex4(s[i+2:])
	i += 6
	if utf16.IsSurrogate(r) {
		low := rune(-1)
		if i+6 <= len(s) && s[i] == '\\' && s[i+1] == 'u' {
			low = hex4(s[i+2:])
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			i += 6
		}
	}
	switch {
	case r == 0:
	case r < ' ' || r == '"' || r == '\\':
		quoted := social.AppendString(nil, string(r))
		out = append(out, quoted[1:len(quoted)-1]...)
	default:
		out = utf8.AppendRune(out, r)
	}
	return out, i
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case c >= 'a':
			r |= rune(c-'a') + 10
		case c >= 'A':
			r |= rune(c-'A') + 10
		default:
			r |= rune(c - '0')
		}
	}
	return r
}
