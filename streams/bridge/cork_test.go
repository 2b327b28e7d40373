package bridge

import (
	"bytes"
	"errors"
	"net"
	"testing"
)

// A wire remembers its writes.
type wire struct {
	net.Conn
	writes []string
	err    error
	closed bool
}

func (w *wire) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.writes = append(w.writes, string(b))
	return len(b), nil
}

func (w *wire) Close() error { w.closed = true; return nil }

func TestCork(t *testing.T) {
	w := &wire{}
	c := &cork{Conn: w}
	write := func(s string) {
		t.Helper()
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%.10q) = %d, %v", s, n, err)
		}
	}
	is := func(what string, want ...string) {
		t.Helper()
		if got := bytes.Join(bytesOf(w.writes), []byte("|")); string(got) != string(bytes.Join(bytesOf(want), []byte("|"))) {
			t.Errorf("%s: got %.60q, want %.60q", what, w.writes, want)
		}
		w.writes = nil
	}
	write("a")
	is("nobody holds", "a")
	c.hold()
	c.hold()
	write("b")
	write("c")
	is("two hold")
	c.let()
	is("the first lets go: all is written, so that its own is", "bc")
	write("d")
	is("the second still holds")
	big := string(make([]byte, corkSize))
	write(big)
	is("too much is held", "d"+big)
	c.let()
	is("nothing is held")
	write("e")
	is("nobody holds again", "e")

	c.hold()
	write("f")
	w.err = errors.New("broken")
	c.let()
	if !w.closed {
		t.Error("a failed write left the connection open")
	}
	if _, err := c.Write([]byte("g")); !errors.Is(err, w.err) {
		t.Errorf("after a failed write: got %v", err)
	}
}

func bytesOf(s []string) (out [][]byte) {
	for _, x := range s {
		out = append(out, []byte(x))
	}
	return out
}
