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
	r := &reading{answer: answer{body: body, values: make([]value, 0, len(body)/32+8)}}
	end := r.value(0, 0, 0)
	switch {
	case r.deep:
		return nil, providers.Malformed("body is not JSON: nested deeper than %d", maxDepth)
	case end == 0 || token.Space(body, end) < len(body):
		return nil, providers.Malformed("body is not JSON: %s", Shape(body))
	}
	return r, nil
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
	each, last := r.member, byte('}')
	if b[i] == '[' {
		each, last = r.element, ']'
	}
	if i = token.Space(b, i+1); i < len(b) && b[i] == last {
		return i + 1
	}
	for {
		if i = each(i, depth); i == 0 {
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

func (r *reading) element(i, depth int) int { return r.value(0, i, depth) }

func (r *reading) member(i, depth int) int {
	b := r.body
	key := token.Space(b, i)
	if key == len(b) || b[key] != '"' {
		return 0
	}
	end, plain := token.String(b, key)
	if end == 0 {
		return 0
	}
	if !plain && !isTidy(b[key:end]) {
		r.escaped = true
	}
	if i = token.Space(b, end); i == len(b) || b[i] != ':' {
		return 0
	}
	return r.value(key, i+1, depth)
}

// isTidy reports whether tidy gives s, a scalar, back as it is. It may be false
// for one of which that is true.
func isTidy(s []byte) bool {
	return bytes.IndexByte(s, '\\') < 0 || !bytes.Contains(s, []byte(`\u`)) && !bytes.Contains(s, []byte(`\/`))
}

// tidy appends body, which is valid JSON, without the blanks between tokens, with \uXXXX as
// UTF-8 and \/ as a slash.
func tidy(out, body []byte) []byte {
	for i := 0; i < len(body); {
		switch c := body[i]; c {
		case ' ', '\n', '\r', '\t':
			i++
		case '"':
			out = append(out, c)
			out, i = tidyString(out, body, i+1)
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}

// tidyString appends the string whose text begins at body[i], with its
// closing quote, and returns the index after that.
func tidyString(out, body []byte, i int) ([]byte, int) {
	for {
		start := i
		for body[i] != '"' && body[i] != '\\' { // valid JSON: there is a quote
			i++
		}
		out = append(out, body[start:i]...)
		if body[i] == '"' {
			return append(out, '"'), i + 1
		}
		switch body[i+1] {
		case '/':
			out = append(out, '/')
			i += 2
		case 'u':
			out, i = unescape(out, body, i)
		default:
			out = append(out, '\\', body[i+1])
			i += 2
		}
	}
}

// unescape appends the character whose \uXXXX, or pair of them, begins at
// body[i], and returns the index after it.
func unescape(out, body []byte, i int) ([]byte, int) {
	r := hex4(body[i+2:])
	i += 6
	if utf16.IsSurrogate(r) {
		low := rune(-1)
		if i+6 <= len(body) && body[i] == '\\' && body[i+1] == 'u' {
			low = hex4(body[i+2:])
		}
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			i += 6
		}
	}
	switch {
	case r == 0:
	case r < ' ' || r == '"' || r == '\\':
		s := social.AppendString(nil, string(r))
		out = append(out, s[1:len(s)-1]...)
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
