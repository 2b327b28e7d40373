// Package doc reads provider answers the way the contract writes them down:
// as tables of key, path, conversion, soft or hard
// (contract/providers-instagram.md 1.2–1.4, providers-youtube.md 2).
//
// A path is dotted; digits index a list; an absent member, a null and a wrong
// type on the way all give null. A soft path that gives null still emits its
// key, with null; a hard one fails the record with an error that names it.
//
// Answers are not decoded into maps. Parse reads the whole of an answer once
// and notes where its values lie; a table then makes one pass over the members
// of its object and copies nothing but what it emits.
package doc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"beat/providers"
	"beat/streams/social"
	"beat/streams/social/token"
)

// A Node is a value inside an answer. The zero Node is null.
type Node struct {
	in *answer
	i  int32 // index in in.values
}

// Parse checks that body is JSON and returns its root. What is read from it
// is compact: blanks between tokens vanish, escaped characters become plain
// UTF-8, invalid UTF-8 and lone surrogates become U+FFFD, NUL characters
// vanish: no store takes them.
//
// Nodes, and what they give, share the memory of body.
func Parse(body []byte) (Node, *providers.Error) {
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\ufffd"))
	}
	r, err := read(body)
	if err == nil && r.escaped {
		r, err = read(tidy(make([]byte, 0, len(body)), body))
	}
	if err != nil {
		return Node{}, err
	}
	return Node{in: &r.answer}, nil
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

// first is the first byte of n: it tells the type. 'n' is null.
func (n Node) first() byte {
	if n.in == nil {
		return 'n'
	}
	return n.in.body[n.in.values[n.i].start]
}

// text is n as it was sent, "" for an absent value.
func (n Node) text() []byte {
	if n.in == nil {
		return nil
	}
	v := n.in.values[n.i]
	return n.in.body[v.start:v.end:v.end]
}

// children yields the members or elements of n.
func (n Node) children() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		if !n.IsObject() && !n.IsList() {
			return
		}
		for i := n.i + 1; i < n.in.values[n.i].next; i = n.in.values[i].next {
			if !yield(Node{n.in, i}) {
				return
			}
		}
	}
}

// name is the key of a member as it was sent, up to an escaped quote in it: no
// path has one.
func (n Node) name() []byte {
	key := n.in.body[n.in.values[n.i].key+1:]
	return key[:bytes.IndexByte(key, '"')]
}

// At walks a soft path from n. The segments of path are plain names and
// digits: it is part of a program, never of an answer.
func (n Node) At(path string) Node {
	for path != "" && n.in != nil {
		var seg string
		seg, path, _ = strings.Cut(path, ".")
		n = n.child(seg)
	}
	return n
}

func (n Node) child(seg string) Node {
	if n.IsList() {
		index, err := strconv.Atoi(seg)
		if err != nil {
			return Node{}
		}
		for v := range n.children() {
			if index == 0 {
				return v
			}
			index--
		}
		return Node{}
	}
	for v := range n.children() {
		if string(v.name()) == seg {
			return v
		}
	}
	return Node{}
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
	if !v.IsList() {
		return nil, providers.Malformed("%s is %s, want a list", path, v.Type())
	}
	return v.List(), nil
}

// Null reports whether n is null or absent.
func (n Node) Null() bool { return n.first() == 'n' }

// IsObject and the like report the JSON type of n.
func (n Node) IsObject() bool { return n.first() == '{' }

// IsList reports whether n is an array.
func (n Node) IsList() bool { return n.first() == '[' }

// IsText reports whether n is a string.
func (n Node) IsText() bool { return n.first() == '"' }

// IsNumber reports whether n is a number.
func (n Node) IsNumber() bool { c := n.first(); return c == '-' || '0' <= c && c <= '9' }

// True reports whether n is the JSON true.
func (n Node) True() bool { return n.first() == 't' }

// Type is the JSON type of n as a person would say it.
func (n Node) Type() string {
	switch n.first() {
	case '"':
		return "text"
	case 't', 'f':
		return "a boolean"
	case '[':
		return "a list"
	case '{':
		return "an object"
	case 'n':
		return "null"
	}
	return "a number"
}

// Text is the text of a string, the digits of a number exactly as sent, or
// "" for anything else.
func (n Node) Text() string {
	switch {
	case n.IsText():
		return unquote(n.Raw())
	case n.IsNumber():
		return string(n.text())
	}
	return ""
}

// unquote is the text of a tidy string.
func unquote(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s[1 : len(s)-1])
	}
	return gjson.ParseBytes(s).Str
}

// number is the value of a number, infinite when it is too large for one.
func (n Node) number() float64 {
	f, _ := strconv.ParseFloat(string(n.text()), 64) //nolint:errcheck // out of range is infinite
	return f
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
	if !n.IsList() {
		return nil
	}
	return slices.Collect(n.children())
}

// Each calls fn for every member of an object, in order.
func (n Node) Each(fn func(key string, v Node)) {
	if !n.IsObject() {
		return
	}
	for v := range n.children() {
		fn(v.key(), v)
	}
}

// key is the key of a member.
func (n Node) key() string {
	start := int(n.in.values[n.i].key)
	end, plain := token.String(n.in.body, start)
	key := n.in.body[start:end]
	if !plain {
		key = tidyString(nil, key)
	}
	return unquote(key)
}

// Raw is n as compact JSON; null for an absent value.
func (n Node) Raw() json.RawMessage {
	raw := n.text()
	switch {
	case raw == nil:
		return social.Null
	case n.IsObject() || n.IsList():
		return tidy(make([]byte, 0, len(raw)), raw)
	case isTidy(raw):
		return raw
	}
	return tidyString(make([]byte, 0, len(raw)), raw)
}
