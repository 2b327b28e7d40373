package social

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// A KV is one dimension or metric. Value is compact JSON, never nil.
type KV struct {
	Key   string
	Value json.RawMessage
}

// KVs are dimensions or metrics in the order in which the parser emitted
// them. A key may occur twice; in events the last one wins.
//
// Its JSON form is an object whose members keep that order, duplicates too.
type KVs []KV

// Get returns the last value of key.
func (k KVs) Get(key string) (json.RawMessage, bool) {
	for i := len(k) - 1; i >= 0; i-- {
		if k[i].Key == key {
			return k[i].Value, true
		}
	}
	return nil, false
}

// Text returns the last value of key when that is a string, else "".
func (k KVs) Text(key string) string {
	v, ok := k.Get(key)
	if !ok || len(v) == 0 || v[0] != '"' {
		return ""
	}
	return gjson.ParseBytes(v).String()
}

// Int returns the last value of key when that is an integer.
func (k KVs) Int(key string) (int64, bool) {
	v, ok := k.Get(key)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	return n, err == nil
}

// Set replaces the last value of key, or appends it.
func (k *KVs) Set(key string, value json.RawMessage) {
	for i := len(*k) - 1; i >= 0; i-- {
		if (*k)[i].Key == key {
			(*k)[i].Value = value
			return
		}
	}
	*k = append(*k, KV{key, value})
}

// AppendJSON appends the object form.
func (k KVs) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for i, kv := range k {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, kv.Key)
		dst = append(dst, ':')
		dst = appendValue(dst, kv.Value)
	}
	return append(dst, '}')
}

// size is about how long the object form is.
func (k KVs) size() int {
	n := len("{}")
	for _, kv := range k {
		n += len(kv.Key) + len(`"":,`) + max(len(kv.Value), len("null"))
	}
	return n
}

// AppendUnique appends the object form with each key once: the place of the
// first and the value of the last, as a Python dictionary would have it.
func (k KVs) AppendUnique(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	for i, kv := range k {
		if k[:i].has(kv.Key) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		v, _ := k.Get(kv.Key)
		dst = AppendString(dst, kv.Key)
		dst = append(dst, ':')
		dst = appendValue(dst, v)
	}
	return append(dst, '}')
}

// AppendPairs appends the form of the audit tables: an array of
// {"key": …, "value": …} objects.
func (k KVs) AppendPairs(dst []byte) []byte {
	dst = append(dst, '[')
	for i, kv := range k {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"key":`...)
		dst = AppendString(dst, kv.Key)
		dst = append(dst, `,"value":`...)
		dst = appendValue(dst, kv.Value)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// Pairs reads what AppendPairs wrote, in the form in which Postgres gives it
// back: with blanks, and members in another order.
func Pairs(text string) KVs {
	var out KVs
	gjson.Parse(text).ForEach(func(_, pair gjson.Result) bool {
		v := pair.Get("value")
		raw := json.RawMessage(v.Raw)
		if v.IsObject() || v.IsArray() {
			var b bytes.Buffer
			if json.Compact(&b, raw) == nil {
				raw = b.Bytes()
			}
		}
		if len(raw) == 0 {
			raw = Null
		}
		out = append(out, KV{pair.Get("key").Str, raw})
		return true
	})
	return out
}

func (k KVs) pairsSize() int {
	return k.size() + len(k)*(len(`{"key":"","value":},`)-len(`"":,`))
}

func (k KVs) has(key string) bool {
	for _, kv := range k {
		if kv.Key == key {
			return true
		}
	}
	return false
}

// MarshalJSON implements json.Marshaler.
func (k KVs) MarshalJSON() ([]byte, error) { return k.AppendJSON(nil), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (k *KVs) UnmarshalJSON(b []byte) error {
	r := NewReader(bytes.Clone(b))
	*k = r.KVs()
	return r.Err()
}

func appendValue(dst []byte, v json.RawMessage) []byte {
	if len(v) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, v...)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string: UTF-8 as it is, invalid bytes
// replaced, nothing escaped that JSON allows plain.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// String is s as a JSON value.
func String(s string) json.RawMessage { return AppendString(make([]byte, 0, len(s)+2), s) }

// Int is n as a JSON value.
func Int(n int64) json.RawMessage { return strconv.AppendInt(nil, n, 10) }
