package doc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"beat/streams/social"
)

// A Conv turns the value at a path into what is emitted. Null stays null
// except where said. Its error says what was found and what was wanted.
type Conv func(Node) (json.RawMessage, error)

// The conversions of the contract.
var (
	Raw   Conv = func(n Node) (json.RawMessage, error) { return n.Raw(), nil }
	Count Conv = toCount // a metric: a number, or its text; else an error
	Str   Conv = toStr   // text of the value; containers as JSON text
	Int   Conv = toInt   // truncated toward zero; text must be an integer
	Bool  Conv = toBool  // truthiness: "" and 0 and empty are false
	JSON  Conv = toJSON  // JSON text in the existing form; null gives the text null
	// EpochISO reads 2006-01-02T15:04:05±hhmm; null is an error.
	EpochISO Conv = func(n Node) (json.RawMessage, error) { return toEpoch(n, graphTime) }
	// EpochRFC reads RFC 3339, fractions dropped; null is an error.
	EpochRFC Conv = func(n Node) (json.RawMessage, error) { return toEpoch(n, rfcTime) }
)

// Soft is c, but null stays null.
func Soft(c Conv) Conv {
	return func(n Node) (json.RawMessage, error) {
		if n.Null() {
			return social.Null, nil
		}
		return c(n)
	}
}

// Const emits v whatever is there.
func Const(v json.RawMessage) Conv { return func(Node) (json.RawMessage, error) { return v, nil } }

// OneOf maps numbers (as digits) and texts; anything else gives null. A
// numeric key does not match its text: the contract tells "2" from 2.
func OneOf(numbers, texts map[string]string) Conv {
	return func(n Node) (json.RawMessage, error) {
		m := texts
		if n.IsNumber() {
			m = numbers
		} else if !n.IsText() {
			return social.Null, nil
		}
		if s, ok := m[n.Text()]; ok {
			return social.String(s), nil
		}
		return social.Null, nil
	}
}

func toCount(n Node) (json.RawMessage, error) {
	switch {
	case n.Null():
		return social.Null, nil
	case n.IsNumber():
		return n.Raw(), nil
	case n.IsText():
		s := strings.TrimSpace(n.Text())
		if s == "" {
			return social.Null, nil
		}
		if gjson.Valid(s) && gjson.Parse(s).Type == gjson.Number {
			return json.RawMessage(s), nil
		}
		return nil, errors.New("text that is no number, want a count")
	}
	return nil, fmt.Errorf("%s, want a count", n.Type())
}

func toStr(n Node) (json.RawMessage, error) {
	switch n.first() {
	case 'n':
		return social.Null, nil
	case '"':
		return n.Raw(), nil
	case 't':
		return social.String("True"), nil
	case 'f':
		return social.String("False"), nil
	}
	return social.String(string(n.Raw())), nil
}

func toInt(n Node) (json.RawMessage, error) {
	switch n.first() {
	case 'n':
		return social.Null, nil
	case 't':
		return json.RawMessage("1"), nil
	case 'f':
		return json.RawMessage("0"), nil
	case '"':
		s := strings.TrimSpace(n.Text())
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return social.Int(i), nil
		}
		i, ok := new(big.Int).SetString(s, 10)
		if !ok || len(s) > 40 {
			return nil, errors.New("text that is no integer, want a count")
		}
		return json.RawMessage(i.String()), nil
	case '{', '[':
		return nil, fmt.Errorf("%s, want a count", n.Type())
	}
	if !bytes.ContainsAny(n.text(), ".eE") {
		return n.Raw(), nil
	}
	f := n.number()
	if f > 1e18 || f < -1e18 {
		return nil, errors.New("a number out of range, want a count")
	}
	return social.Int(int64(f)), nil
}

func toBool(n Node) (json.RawMessage, error) {
	truth := false
	switch n.first() {
	case 'n':
		return social.Null, nil
	case 't':
		truth = true
	case 'f':
	case '"':
		truth = n.Text() != ""
	case '{', '[':
		for range n.children() {
			truth = true
			break
		}
	default:
		truth = n.number() != 0
	}
	return strconv.AppendBool(nil, truth), nil
}

// toJSON dumps as the existing system does: ASCII only, a blank after comma
// and colon, keys in the order received.
func toJSON(n Node) (json.RawMessage, error) {
	return social.String(string(appendPython(make([]byte, 0, len(n.text())+64), n))), nil
}

func appendPython(dst []byte, n Node) []byte {
	switch {
	case n.IsObject() || n.IsList():
		open, end := byte('['), byte(']')
		if n.IsObject() {
			open, end = '{', '}'
		}
		dst = append(dst, open)
		first := true
		for v := range n.children() {
			if !first {
				dst = append(dst, ", "...)
			}
			first = false
			if open == '{' {
				dst = appendASCII(dst, v.key())
				dst = append(dst, ": "...)
			}
			dst = appendPython(dst, v)
		}
		return append(dst, end)
	case n.IsText():
		return appendASCII(dst, n.Text())
	}
	return append(dst, n.Raw()...)
}

// appendASCII appends s as a JSON string of printable ASCII characters only,
// with the short escapes where JSON has them.
func appendASCII(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r >= ' ' && r < 0x7f:
			dst = append(dst, byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r < 0x10000:
			dst = fmt.Appendf(dst, "\\u%04x", r)
		default:
			r -= 0x10000
			dst = fmt.Appendf(dst, "\\u%04x\\u%04x", 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
	}
	return append(dst, '"')
}

func graphTime(s string) (time.Time, error) { return time.Parse("2006-01-02T15:04:05-0700", s) }
func rfcTime(s string) (time.Time, error)   { return time.Parse(time.RFC3339, s) }

func toEpoch(n Node, read func(string) (time.Time, error)) (json.RawMessage, error) {
	if !n.IsText() {
		return nil, fmt.Errorf("%s, want a time", n.Type())
	}
	t, err := read(n.Text())
	if err != nil {
		return nil, errors.New("text that is no time of the expected form")
	}
	return social.Int(t.Unix()), nil
}
