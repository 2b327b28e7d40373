// Package doc reads provider answers the way the contract writes them down:
// as tables of key, path, conversion, soft or hard
// (contract/providers-instagram.md 1.2–1.4, providers-youtube.md 2).
//
// A path is dotted; digits index a list; an absent member, a null and a wrong
// type on the way all give null. A soft path that gives null still emits its
// key, with null; a hard one fails the record with an error that names it.
//
// Answers are not decoded into maps. Parse makes the whole of an answer
// compact, once; a table then makes one pass over its object and copies
// nothing but what it emits.
package doc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"beat/providers"
	"beat/streams/social"
)

// A Node is a value inside an answer. The zero Node is null.
type Node struct{ r gjson.Result }

// Parse checks that body is JSON and returns its root. Blanks between tokens
// vanish, escaped characters become plain UTF-8, invalid UTF-8 and lone
// surrogates become U+FFFD, NUL characters vanish: no store takes them.
func Parse(body []byte) (Node, *providers.Error) {
	if tooDeep(body) {
		return Node{}, providers.Malformed("body is not JSON: nested deeper than %d", maxDepth)
	}
	if !gjson.ValidBytes(body) {
		return Node{}, providers.Malformed("body is not JSON: %s", Shape(body))
	}
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\ufffd"))
	}
	return Node{gjson.ParseBytes(tidy(body))}, nil
}

// maxDepth is far beyond any real answer and far below the depth at which a
// recursive reader runs out of stack, which no recover catches.
const maxDepth = 1000

func tooDeep(body []byte) bool {
	if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) <= maxDepth {
		return false // the common case, without looking at each byte
	}
	depth := 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '[', '{':
			if depth++; depth > maxDepth {
				return true
			}
		case ']', '}':
			depth--
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// Shape describes a body that cannot be read, without repeating it.
func Shape(body []byte) string {
	head := bytes.TrimSpace(body)
	switch {
	case len(head) == 0:
		return "empty"
	case head[0] == '<':
		return fmt.Sprintf("%d bytes that look like HTML", len(body))
	case head[0] == '{' || head[0] == '[':
		return fmt.Sprintf("%d bytes, cut off or damaged", len(body))
	}
	return fmt.Sprintf("%d bytes of text", len(body))
}

// tidy drops blanks between tokens and turns \uXXXX into UTF-8 and \/ into a
// slash, so that any part of the result can be emitted as it is. body is
// valid JSON and not changed.
func tidy(body []byte) []byte {
	out := make([]byte, 0, len(body)) // never longer
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

// At walks a soft path from n. The segments of path are plain names and
// digits: it is part of a program, never of an answer.
func (n Node) At(path string) Node {
	if path == "" {
		return n
	}
	if !n.r.IsObject() && !n.r.IsArray() {
		return Node{} // gjson would look for an object inside a text
	}
	return Node{n.r.Get(path)}
}

// Need walks a hard path from n: null there is an error that names it.
func (n Node) Need(path string) (Node, *providers.Error) {
	v := n.At(path)
	if v.Null() {
		return Node{}, providers.Malformed("%s is missing", path)
	}
	return v, nil
}

// NeedText walks a hard path to an identifier: text that is not empty, or a
// number. Anything else is an error that names the path.
func (n Node) NeedText(path string) (string, *providers.Error) {
	return n.At(path).needText(path)
}

func (n Node) needText(path string) (string, *providers.Error) {
	switch s := n.Text(); {
	case n.Null():
		return "", providers.Malformed("%s is missing", path)
	case !n.IsText() && !n.IsNumber():
		return "", providers.Malformed("%s is %s, want text", path, n.Type())
	case s == "":
		return "", providers.Malformed("%s is empty", path)
	default:
		return s, nil
	}
}

// NeedList walks a hard path to an array.
func (n Node) NeedList(path string) ([]Node, *providers.Error) {
	v, err := n.Need(path)
	if err != nil {
		return nil, err
	}
	if !v.r.IsArray() {
		return nil, providers.Malformed("%s is %s, want a list", path, v.Type())
	}
	return v.List(), nil
}

// Null reports whether n is null or absent.
func (n Node) Null() bool { return n.r.Type == gjson.Null }

// IsObject and the like report the JSON type of n.
func (n Node) IsObject() bool { return n.r.IsObject() }

// IsList reports whether n is an array.
func (n Node) IsList() bool { return n.r.IsArray() }

// IsText reports whether n is a string.
func (n Node) IsText() bool { return n.r.Type == gjson.String }

// IsNumber reports whether n is a number.
func (n Node) IsNumber() bool { return n.r.Type == gjson.Number }

// True reports whether n is the JSON true.
func (n Node) True() bool { return n.r.Type == gjson.True }

// Type is the JSON type of n as a person would say it.
func (n Node) Type() string {
	switch n.r.Type {
	case gjson.String:
		return "text"
	case gjson.Number:
		return "a number"
	case gjson.True, gjson.False:
		return "a boolean"
	case gjson.JSON:
		if n.r.IsArray() {
			return "a list"
		}
		return "an object"
	}
	return "null"
}

// Text is the text of a string, the digits of a number exactly as sent, or
// "" for anything else.
func (n Node) Text() string {
	switch n.r.Type {
	case gjson.String:
		return n.r.Str
	case gjson.Number:
		return n.r.Raw
	}
	return ""
}

// Int is the integer in n, a number or its text.
func (n Node) Int() (int64, bool) {
	v, err := toInt(n)
	if err != nil || bytes.Equal(v, social.Null) {
		return 0, false
	}
	i, err := strconv.ParseInt(string(v), 10, 64)
	return i, err == nil
}

// List is the elements of an array, nil for anything else.
func (n Node) List() []Node {
	if !n.r.IsArray() {
		return nil
	}
	var out []Node
	n.r.ForEach(func(_, v gjson.Result) bool {
		out = append(out, Node{v})
		return true
	})
	return out
}

// Each calls fn for every member of an object, in order.
func (n Node) Each(fn func(key string, v Node)) {
	if !n.r.IsObject() {
		return
	}
	n.r.ForEach(func(k, v gjson.Result) bool {
		fn(k.String(), Node{v})
		return true
	})
}

// Raw is n as compact JSON; null for an absent value.
func (n Node) Raw() json.RawMessage {
	if !n.r.Exists() {
		return social.Null
	}
	return json.RawMessage(n.r.Raw) // compact since Parse
}
