package archive

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"beat/streams/bus"
	"beat/streams/objects"
)

// large is an answer with a body that S2 cannot make small.
func large(n int) bus.Out { return ofSize(n, 300<<10) }

func ofSize(n, size int) bus.Out {
	o, _ := answer(n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	o.Data = make([]byte, size)
	r.Read(o.Data) //nolint:errcheck // never fails
	return o
}

// A large body goes to S3, and comes back to whoever reads the message: a
// handler, its dead letter, the history from the stream and from the archive.
func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(3)
	for n := 3; n < 6; n++ {
		_, e := answer(n)
		o := large(n)
		kept, err := a.Keep(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(kept.Data) != 0 || kept.Header.Get(HeaderBody) == "" || o.Header.Get(HeaderBody) != "" {
			t.Fatalf("kept: %d bytes, header %q; given: %q", len(kept.Data), kept.Header.Get(HeaderBody), o.Header.Get(HeaderBody))
		}
		if err := w.pub.Send(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		e.Size = len(o.Data)
		w.sent = append(w.sent, Raw{Entry: e, Header: o.Header, Data: o.Data})
	}
	if got := w.state().Bytes; got > 100<<10 {
		t.Errorf("the stream has %d bytes", got)
	}
	small, _ := answer(1)
	if kept, err := a.Keep(t.Context(), small); err != nil || len(kept.Data) != len(small.Data) || kept.Header.Get(HeaderBody) != "" {
		t.Errorf("a small body was not left alone: %v", err)
	}
	got := w.history(a, Filter{}, nil)
	stop := w.run(a)
	w.archived(a)
	stop()
	if rep := w.clean(a); rep.Bodies != 3 {
		t.Errorf("verified %d bodies, want 3", rep.Bodies)
	}
	w.purgeAll()
	w.history(a, Filter{}, nil)

	// A handler, as the router calls it.
	m := got[4].Msg()
	m.Data = nil
	outs, err := a.Handler(func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
		if !bytes.Equal(m.Data, w.sent[4].Data) {
			t.Error("the handler got another body")
		}
		return []bus.Out{bus.Letter(m, "parse", "malformed", errors.New("no"))}, nil
	})(t.Context(), m)
	if err != nil || len(outs) != 1 || len(outs[0].Data) != 0 {
		t.Fatalf("letter with %d bytes, %v; want the claim alone", len(outs[0].Data), err)
	}
	// Sent once more it is what it was; with a corrected body it is that.
	again := bus.Original(outs[0].Header, outs[0].Data)
	if body, err := a.Body(t.Context(), again.Header, again.Data); err != nil || !bytes.Equal(body, w.sent[4].Data) {
		t.Errorf("body of the letter: %d bytes, %v", len(body), err)
	}
	if body, err := a.Body(t.Context(), again.Header, []byte("corrected")); err != nil || string(body) != "corrected" {
		t.Errorf("corrected body: %q, %v", body, err)
	}

	// Gone, damaged, and a process that does not know where it is.
	c, _ := claimOf(m.Header)
	if err := os.WriteFile(w.file(c.key), []byte("no zstd"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Body(t.Context(), m.Header, nil); !errors.Is(err, ErrLost) {
		t.Errorf("damaged: %v", err)
	}
	rep, err := a.Verify(t.Context(), time.Time{})
	if err != nil || len(rep.Problems) != 1 || rep.Problems[0].Kind != Damaged || rep.Problems[0].Object != c.key {
		t.Errorf("verify: %+v, %v", rep.Problems, err)
	}
	if err := w.store.Delete(t.Context(), c.key); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Body(t.Context(), m.Header, nil); !errors.Is(err, ErrLost) || !errors.Is(err, objects.ErrNotFound) {
		t.Errorf("gone: %v", err)
	}
	if _, err := a.Handler(nil)(t.Context(), m); err == nil || !strings.HasPrefix(err.Error(), "body lost") {
		t.Errorf("handler of a lost body: %v, want it parked", err)
	}
	blind := New(a.lg, w.db, w.js, nil, quick)
	if _, err := blind.Body(t.Context(), m.Header, nil); !errors.Is(err, ErrNone) {
		t.Errorf("without an archive: %v", err)
	}
	if _, err := blind.Handler(nil)(t.Context(), m); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("handler without an archive: %v, want it to wait", err)
	}
	for _, bad := range []string{"x", "body/x", "body/x y z", "other/x aa 5", "body/x aa -5", "body/x aa 99999999999"} {
		if _, err := a.Body(t.Context(), nats.Header{HeaderBody: {bad}}, nil); !errors.Is(err, ErrLost) {
			t.Errorf("claim %q: %v", bad, err)
		}
	}
}

// S3 does not answer: the body stays in its message; nobody waits for long, and
// after three times nobody waits at all.
func TestClaimAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.away.Store(true)
	for n := range 10 {
		o := large(n)
		kept, err := a.Keep(t.Context(), o)
		if err != nil || len(kept.Data) != len(o.Data) {
			t.Fatalf("S3 away: %d bytes, %v", len(kept.Data), err)
		}
	}
	began := time.Now()
	if _, err := a.Keep(t.Context(), large(1)); err != nil || time.Since(began) > time.Second {
		t.Errorf("%s, %v", time.Since(began), err)
	}
	// It fits nowhere: as when the stream does not answer.
	o := ofSize(1, 9<<20)
	if _, err := a.Keep(t.Context(), o); !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("fits nowhere: %v", err)
	}
	w.away.Store(false)
	if kept, err := a.Keep(t.Context(), o); err != nil || len(kept.Data) != 0 {
		t.Errorf("S3 back: %d bytes, %v", len(kept.Data), err)
	}
}
