package bus

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestPack(t *testing.T) {
	text := []byte(strings.Repeat(`{"pk":"17","like_count":12}`, 100))
	noise := make([]byte, 4096)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	for name, tt := range map[string]struct {
		body   []byte
		packed bool
	}{
		"empty":                {nil, false},
		"short":                {text[:packFrom-1], false},
		"text":                 {text, true},
		"what does not shrink": {noise, false},
	} {
		m := &nats.Msg{Header: nats.Header{}, Data: tt.body}
		pack(m)
		if got := m.Header.Get(HeaderEncoding) == "s2"; got != tt.packed || got && len(m.Data)*4 > len(tt.body) {
			t.Errorf("%s: packed %v to %d of %d bytes, want %v", name, got, len(m.Data), len(tt.body), tt.packed)
		}
		once := bytes.Clone(m.Data)
		if pack(m); !bytes.Equal(m.Data, once) {
			t.Errorf("%s: packed twice", name)
		}
		got, err := Unpack(m.Header, m.Data)
		if err != nil || !bytes.Equal(got, tt.body) {
			t.Errorf("%s: got %d bytes, %v, want %d as they were", name, len(got), err, len(tt.body))
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ encoding, body, want string }{
		"a foreign encoding": {"br", "x", `unknown Beat-Encoding "br"`},
		"not s2":             {"s2", "plain text", "body of 10 bytes: s2: "},
		"cut off":            {"s2", "\x80\x10\x00", "s2: "},
		"a bomb":             {"s2", "\x80\x80\x80\x80\x04\x00", "unpacks to 1073741824 bytes"},
	} {
		got, err := Unpack(nats.Header{HeaderEncoding: {tt.encoding}}, []byte(tt.body))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q, %v, want an error with %q", name, got, err, tt.want)
		}
	}
}
