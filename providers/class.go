package providers

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tidwall/gjson"
)

// A Class is a row of a table of answer classes: answers that Status and
// Body fit fail in the way of Kind. Tables are read from top to bottom.
type Class struct {
	Status string   // "429", or "5xx" for all that begin with 5; "" any
	Body   []Marker // what the body says, all of it; none: any body
	Kind   error    // a sentinel; nil: nothing wrong so far, Call.Judge looks at the shape

	Message string // as the task table shows it; "": what Says finds, else the text for the status
	Shown   int    // status beside it; 0: that of the answer
	Expired bool   // see Error

	Says  string // paths of the provider's own message, the first with text counts
	Codes string // paths of what it calls the error, all go into the detail
	Why   string // for people, in the detail

	// Wait is how long a limited source is closed when its headers do not
	// say. Nil: unknown.
	Wait func(now time.Time) time.Duration
}

// A Marker is something that a body says. At is one or more dotted paths,
// separated by blanks, # being each element of a list or, as the last of a
// path, its length; one value found there has to be what the other fields
// say. With none of them set, any value but null will do. Only a body that is
// a JSON object says anything.
type Marker struct {
	At       string
	Is       string // this text, or this number, or true
	Starts   string // text that begins so
	Holds    string // text with this in it, in any case
	From, To int64  // a number from here to there, or its text
}

func (c *Class) fits(status int, b *body) bool {
	if !fitsStatus(c.Status, status) {
		return false
	}
	for _, m := range c.Body {
		if !m.fits(b) {
			return false
		}
	}
	// A row that lets pass needs no check: the shape is judged next.
	return len(c.Body) == 0 || c.Kind == nil || b.readable()
}

func fitsStatus(pattern string, status int) bool {
	if pattern == "" {
		return true
	}
	if class, ok := strings.CutSuffix(pattern, "xx"); ok {
		return strconv.Itoa(status/100) == class
	}
	return strconv.Itoa(status) == pattern
}

func (m Marker) fits(b *body) bool {
	for path := range strings.FieldsSeq(m.At) {
		if b.any(path, m.holds) {
			return true
		}
	}
	return false
}

func (m Marker) holds(v gjson.Result) bool {
	text := textOf(v)
	switch {
	case m.Is != "":
		return text == m.Is
	case m.Starts != "":
		return strings.HasPrefix(text, m.Starts)
	case m.Holds != "":
		return strings.Contains(strings.ToLower(text), strings.ToLower(m.Holds))
	case m.From != 0 || m.To != 0:
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return err == nil && m.From <= n && n <= m.To
	}
	return v.Type != gjson.Null
}

func textOf(v gjson.Result) string {
	switch v.Type {
	case gjson.String:
		return v.Str
	case gjson.Number, gjson.True:
		return v.Raw
	}
	return ""
}

// A body is what rows look into. Each path is looked for once, without
// decoding the rest; whether the whole is JSON is found out when a row
// depends on it.
type body struct {
	raw           []byte
	paths         []string
	found         []gjson.Result
	checked, json bool
}

func (b *body) at(path string) gjson.Result {
	for i, p := range b.paths {
		if p == path {
			return b.found[i]
		}
	}
	var v gjson.Result
	if b.object() {
		v = gjson.GetBytes(b.raw, path)
	}
	b.paths, b.found = append(b.paths, path), append(b.found, v)
	return v
}

// any reports whether fn holds for the value at path, or for one of them.
func (b *body) any(path string, fn func(gjson.Result) bool) bool {
	v := b.at(path)
	if !strings.Contains(path, "#") {
		return fn(v)
	}
	found := false
	v.ForEach(func(_, e gjson.Result) bool { // v itself when it is a length
		found = fn(e)
		return !found
	})
	return found
}

// object keeps gjson from looking for an object inside a text or a page.
func (b *body) object() bool {
	return bytes.HasPrefix(bytes.TrimLeft(b.raw, " \t\r\n"), []byte("{"))
}

// maxBrackets is far beyond what an error says, and keeps the check of its
// JSON, which is recursive, from running out of stack.
const maxBrackets = 1000

// readable reports whether the body is a JSON object of the size of an error.
func (b *body) readable() bool {
	if !b.checked {
		b.checked = true
		b.json = b.object() && bytes.Count(b.raw, []byte("["))+bytes.Count(b.raw, []byte("{")) <= maxBrackets &&
			gjson.ValidBytes(b.raw)
	}
	return b.json
}

// says is the first text at paths, fit for the task table.
func (b *body) says(paths string) string {
	for path := range strings.FieldsSeq(paths) {
		if v := b.at(path); v.Type == gjson.String && b.readable() {
			if s := clean(v.Str); s != "" {
				return s
			}
		}
	}
	return ""
}

// codes is all values at paths, each after the last segment of its path.
func (b *body) codes(paths string) string {
	var out []string
	for path := range strings.FieldsSeq(paths) {
		name := path[strings.LastIndexByte(path, '.')+1:]
		b.any(path, func(v gjson.Result) bool {
			if s := textOf(v); s != "" && b.readable() && len(out) < maxCodes {
				if !word.MatchString(s) {
					s = "unreadable"
				}
				out = append(out, name+" "+s)
			}
			return false
		})
	}
	return strings.Join(out, ", ")
}

const maxCodes = 8

// word is what an error is called. No key of a provider is that short.
var word = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,36}$`)

// tokenLike is what could be a token: some messages of the Graph API repeat
// it. No word of the known messages is that long.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_|\-]{40,}`)

// clean makes a message of a provider fit for the task table: one line, no
// token, at most 500 characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	s = tokenLike.ReplaceAllString(strings.Join(strings.Fields(s), " "), "***")
	if r := []rune(s); len(r) > 500 {
		s = string(r[:500])
	}
	return s
}
