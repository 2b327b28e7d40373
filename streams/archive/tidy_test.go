package archive

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// What is archived goes from the stream once it is old and read by all.
func TestPurge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	s, err := w.js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "parse-instagram", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "beat.raw.instagram.>"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "parse-shopify", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "beat.raw.shopify.>"}); err != nil {
		t.Fatal(err)
	}
	cfg := quick
	cfg.RetainRaw = time.Millisecond
	cfg.Readers = []string{"parse-instagram", "parse-shopify"}
	a := w.open(cfg)
	w.run(a)
	w.send(60)
	w.archived(a)
	time.Sleep(3 * cfg.Tidy)
	if got := w.state().FirstSeq; got != 1 {
		t.Fatalf("purged to %d before anybody read it", got)
	}
	read := func(n int) {
		batch, err := c.Fetch(n)
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	read(40) // of 60, two thirds are Instagram's
	w.until("the purge", func() bool { return w.state().Msgs == 0 })
	w.history(a, Filter{}, nil)
	w.send(3)
	w.archived(a)
	time.Sleep(3 * cfg.Tidy)
	if got := w.state().Msgs; got != 3 {
		t.Errorf("%d messages, want 3 that nobody has read", got)
	}
}

// A full stream refuses, and lets go of what is archived, though it is young.
func TestFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{MaxBytes: map[string]int64{bus.Raw: 300 << 10}})
	w.away.Store(true)
	a := w.open(quick)
	w.run(a)
	var err error
	n := 0
	for ; err == nil && n < 2000; n++ {
		o, e := answer(n)
		if err = w.pub.Send(t.Context(), o); err == nil {
			w.sent = append(w.sent, Raw{Entry: e, Header: o.Header, Data: o.Data})
		}
	}
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("after %d answers: %v, want that the stream is full", n, err)
	}
	if got := w.state().FirstSeq; got != 1 {
		t.Errorf("something went: the stream begins at %d", got)
	}
	w.until("an alert", func() bool { h, err := a.Health(t.Context()); return err == nil && strings.Contains(h.Alert, "full") })
	w.away.Store(false)
	for n := len(w.sent) + 300; len(w.sent) < n; { // as the bus does: the same once more
		o, e := answer(len(w.sent))
		if err := w.pub.Send(t.Context(), o); err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		w.sent = append(w.sent, Raw{Entry: e, Header: o.Header, Data: o.Data})
	}
	w.archived(a)
	w.history(a, Filter{}, nil)
	w.clean(a)
}

// An existing stream is made to hold what the archive does not have.
func TestHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	s, err := w.js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if cfg.MaxAge != 0 || cfg.Discard != jetstream.DiscardNew {
		t.Errorf("made with max age %s, discard %s", cfg.MaxAge, cfg.Discard)
	}
	cfg.MaxAge, cfg.Discard = time.Hour, jetstream.DiscardOld
	if _, err := w.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if got, err := bus.Hold(t.Context(), w.js); err != nil || got != want {
			t.Errorf("hold: got %v, %v, want %v", got, err, want)
		}
	}
	if drift, err := bus.Ensure(t.Context(), w.js, bus.Options{HoldRaw: true}, nil); err != nil || len(drift) > 0 {
		t.Errorf("drift after that: %v, %v", drift, err)
	}
}

// Old segments go with their rows and objects, also if the process dies between;
// what the stream still has stays, and so does what a person wants to keep.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	cfg := quick
	cfg.SegmentBytes, cfg.RetainRaw = 20<<10, time.Hour
	a := w.open(cfg)
	w.send(120)
	stop := w.run(a)
	all := w.archived(a)
	if len(all) < 8 {
		t.Fatalf("%d segments, want some", len(all))
	}
	stop()

	cfg.Retain = time.Nanosecond
	a = w.open(cfg)
	stop = w.run(a)
	time.Sleep(3 * cfg.Tidy)
	stop()
	if gs := w.archived(a); len(gs) != len(all) {
		t.Errorf("%d of %d segments, though the stream has all", len(gs), len(all))
	}
	w.purgeAll()
	w.until("hold", func() bool {
		_, err := w.db.Exec(t.Context(), `UPDATE archive_segment SET retained_until = '2100-01-01' WHERE first_seq = $1`, all[2].First)
		return err == nil
	})
	// It dies while it removes the first.
	if _, err := w.db.Exec(t.Context(), `UPDATE archive_segment SET state = 'removing' WHERE first_seq = 1`); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.file(all[0].Index())); err != nil {
		t.Fatal(err)
	}
	var seen []Raw
	for r, err := range a.History(t.Context(), Filter{}) {
		if err != nil {
			t.Fatalf("history while segments are removed: %v", err)
		}
		seen = append(seen, r)
	}
	w.same(seen, w.sent[all[0].Last:])

	stop = w.run(a)
	w.until("the end of old segments", func() bool { return len(w.objects("raw/")) == 4 })
	stop()
	if gs := w.archived(a); len(gs) != 2 || gs[0].First != all[2].First || gs[1].Last != all[len(all)-1].Last {
		t.Errorf("left: %+v, want the held one and the newest", gs)
	}

	// By size: no more than three of the newest, roughly.
	w.send(120)
	cfg.Retain, cfg.RetainRaw = 0, time.Millisecond
	a = w.open(cfg)
	stop = w.run(a)
	gs := w.archived(a)
	w.until("the purge", func() bool { return w.state().Msgs == 0 })
	stop()
	cfg.MaxBytes = 0
	for _, g := range gs[len(gs)-3:] {
		cfg.MaxBytes += g.Bytes + g.IndexBytes
	}
	held := gs[0].Bytes + gs[0].IndexBytes
	a = w.open(cfg)
	stop = w.run(a)
	w.until("a small archive", func() bool { n, err := a.size(t.Context()); return err == nil && n <= cfg.MaxBytes+held })
	stop()
	gs = w.archived(a)
	if gs[0].First != all[2].First {
		t.Error("the held one went")
	}
	got := 0
	for _, err := range a.History(t.Context(), Filter{After: Position{gs[0].Run, gs[0].Last}}) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if want := 240 - int(gs[1].First) + 1; got != want {
		t.Errorf("history has %d answers behind the held ones, want %d", got, want)
	}
}

// Claims go once nothing reaches back to them.
func TestClaimsExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	cfg := quick
	cfg.Retain = 24 * time.Hour
	a := w.open(cfg)
	day := func(ago int) string {
		return "body/" + time.Now().UTC().AddDate(0, 0, -ago).Format(time.DateOnly) + "/x.zst"
	}
	for _, ago := range []int{0, 30, 37, 40, 400} {
		if err := w.store.Put(t.Context(), day(ago), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	var looked time.Time
	p, err := a.place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.tidy(t.Context(), &p, &looked); err != nil {
		t.Fatal(err)
	}
	if got := w.objects("body/"); len(got) != 3 || got[0] != day(37) {
		t.Errorf("left: %v, want those of 37 days and less: 7 of the stream, and 31", got)
	}
}
