package archive

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

// objects are the names in the bucket that begin with prefix.
func (w *world) objects(prefix string) (all []string) {
	w.t.Helper()
	for key, err := range w.store.List(w.t.Context(), prefix) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, key)
	}
	return all
}

// file is where the server keeps an object.
func (w *world) file(key string) string { return filepath.Join(w.s3.Dir, "archive", "here", key) }

// clean asserts that there is nothing but what the rows say, and all of that.
func (w *world) clean(a *Archive) Report {
	w.t.Helper()
	rep, err := a.Verify(w.t.Context(), time.Time{})
	if err != nil {
		w.t.Fatalf("verify: %v", err)
	}
	if len(rep.Problems) > 0 {
		w.t.Errorf("verify: %+v", rep.Problems)
	}
	if n := len(w.objects("raw/")); n != 2*rep.Segments {
		w.t.Errorf("%d objects of %d segments", n, rep.Segments)
	}
	return rep
}

// A writer that dies between any two of its steps leaves what the next one
// finishes: the same segment, under the same name, once.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	is := func(method, suffix string) func(*http.Request) bool {
		return func(r *http.Request) bool {
			return r.Method == method && strings.HasSuffix(r.URL.Path, suffix) && strings.Contains(r.URL.Path, "/raw/")
		}
	}
	for name, c := range map[string]struct {
		at     func(*http.Request) bool // the step in which it dies
		stored bool                     // the request gets through, its answer does not
		damage string                   // an object that is not whole after that, by its suffix
		purged bool                     // the stream has been emptied since
	}{
		"announced, nothing written":        {at: is(http.MethodPut, ".zst")},
		"object written, not known":         {at: is(http.MethodPut, ".zst"), stored: true},
		"object written, half of it":        {at: is(http.MethodGet, ".zst"), damage: ".zst"},
		"object read back, index not there": {at: is(http.MethodPut, ".idx")},
		"index written, not known":          {at: is(http.MethodPut, ".idx"), stored: true},
		"all written, not counted":          {at: is(http.MethodGet, ".idx")},
		"all written, index damaged":        {at: is(http.MethodGet, ".idx"), damage: ".idx"},
		"all written, stream empty":         {at: is(http.MethodGet, ".idx"), purged: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bus.Options{})
			w.send(20)
			var died atomic.Bool
			kill := trap(func(r *http.Request, pass func()) bool {
				if !c.at(r) {
					return died.Load() // nothing is done after death
				}
				if c.stored && !died.Load() {
					pass()
				}
				died.Store(true)
				return true
			})
			w.trap.Store(&kill)
			stop := w.run(w.open(quick))
			w.until("the step", died.Load)
			stop()
			w.trap.Store(nil)
			gs, err := w.open(quick).segments(t.Context(), "true")
			if err != nil || len(gs) != 1 || gs[0].State != writing {
				t.Fatalf("after death: %+v, %v", gs, err)
			}
			if c.damage != "" {
				name := gs[0].Object + strings.TrimPrefix(c.damage, ".zst")
				if err := os.WriteFile(w.file(name), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.send(15) // a segment begun anew would be larger
			if c.purged {
				s, err := w.js.Stream(t.Context(), bus.Raw)
				if err == nil {
					err = s.Purge(t.Context(), jetstream.WithPurgeSequence(21))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			a := w.open(quick)
			stop = w.run(a)
			got := w.archived(a)
			stop()
			if got[0].Object != gs[0].Object || string(got[0].Sum) != string(gs[0].Sum) {
				t.Errorf("first segment: got %s %x, want %s %x", got[0].Object, got[0].Sum, gs[0].Object, gs[0].Sum)
			}
			w.clean(a)
			w.purgeAll()
			w.history(a, Filter{}, nil)
		})
	}
}

// The row of a segment is lost with a restored backup of the database: what the
// stream still has is archived again, and the other object is found.
func TestRowLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(30)
	stop := w.run(a)
	gs := w.archived(a)
	stop()
	if _, err := w.db.Exec(t.Context(), "DELETE FROM archive_segment"); err != nil {
		t.Fatal(err)
	}
	w.send(30)
	stop = w.run(a)
	w.archived(a)
	stop()
	w.purgeAll()
	w.history(a, Filter{}, nil)
	rep, err := a.Verify(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range rep.Problems {
		if p.Kind != Unknown || !strings.HasPrefix(p.Object, gs[0].Object) {
			t.Errorf("problem: %+v", p)
		}
	}
	if len(rep.Problems) != 2 {
		t.Errorf("%d problems, want the two objects that no row names: %+v", len(rep.Problems), rep.Problems)
	}
}

// S3 is away for longer than anything waits: nothing stops and nothing is lost;
// a person is told, and then no longer.
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	cfg := quick
	cfg.Alert = time.Second
	a := w.open(cfg)
	w.run(a)
	w.send(50)
	w.archived(a)
	w.away.Store(true)
	for range 10 {
		w.send(40)
	}
	health := func() (h Health) {
		h, err := a.Health(t.Context())
		if err != nil {
			t.Error(err)
		}
		return h
	}
	w.until("an alert", func() bool { return health().Alert != "" && health().Behind == 400 })
	if h := health(); h.Lag < cfg.Alert || h.Behind != 400 || h.Bytes == 0 {
		t.Errorf("health: %+v", h)
	}
	w.until("tries", func() bool { return value(t, a, "beat_archive_failures_total") >= 3 })
	if value(t, a, "beat_archive_alert") != 1 || value(t, a, "beat_archive_lag_seconds") < 1 {
		t.Error("metrics say nothing of it")
	}
	w.away.Store(false)
	w.archived(a)
	w.until("the end of the alert", func() bool { return health().Alert == "" && value(t, a, "beat_archive_alert") == 0 })
	w.clean(a)
	w.purgeAll()
	w.history(a, Filter{}, nil)
}

// Of two processes one writes; the other takes over.
func TestTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	one, two := w.open(quick), w.open(quick)
	stopOne := w.run(one)
	stopTwo := w.run(two)
	wrote := func(a *Archive) float64 { return value(t, a, "beat_archive_messages_total") }
	w.send(100)
	w.archived(one)
	if (wrote(one) == 0) == (wrote(two) == 0) {
		t.Errorf("wrote: %v and %v", wrote(one), wrote(two))
	}
	if wrote(one) > 0 {
		stopOne()
	} else {
		stopTwo()
	}
	w.send(100)
	w.archived(one)
	if wrote(one) != 100 || wrote(two) != 100 {
		t.Errorf("wrote: %v and %v, want 100 each", wrote(one), wrote(two))
	}
	w.clean(one)
	w.purgeAll()
	w.history(one, Filter{}, nil)
}

// A process that does not know yet that it lost the lock finds the other's row
// in its way.
func TestStaleWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	w.send(40)
	a, b := w.open(quick), w.open(quick)
	p, err := a.place(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale, err := a.collect(t.Context(), p.Position, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.send(40)
	stop := w.run(b)
	w.archived(b)
	stop()
	if err := a.write(t.Context(), stale); err == nil {
		t.Error("a stale writer wrote")
	}
	w.clean(b)
	w.purgeAll()
	w.history(b, Filter{}, nil)
}

// The stream was set back to a backup, and counts on with other messages: both
// are kept, whether that is noticed at once or late.
func TestSetBack(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"noticed at once": 0, "noticed late": 60} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bus.Options{})
			cfg := quick
			cfg.SegmentBytes = 20 << 10
			w.send(70)
			backup := t.TempDir()
			w.stopNATS()
			if err := os.CopyFS(backup, os.DirFS(w.dir)); err != nil {
				t.Fatal(err)
			}
			w.startNATS(w.dir)
			w.send(30)
			a := w.open(cfg)
			stop := w.run(a)
			w.archived(a)
			stop()
			w.send(10)
			w.sent = w.sent[:100] // which no one has any more
			w.stopNATS()
			w.startNATS(backup)
			if got := w.state().LastSeq; got != 70 {
				t.Fatalf("the backup ends at %d, want 70", got)
			}
			w.shift = 1000 // other answers
			w.send(more)
			a = w.open(cfg)
			w.history(a, Filter{}, nil)
			stop = w.run(a)
			w.send(40)
			gs := w.archived(a)
			stop()
			last := gs[len(gs)-1]
			if last.Run != gs[0].Run+1 || last.Last != uint64(110+more) {
				t.Errorf("last segment: %+v", last)
			}
			if i := slices.IndexFunc(gs, func(g Segment) bool { return g.Run == last.Run }); gs[i].First != 71 {
				t.Errorf("the new run begins at %d, want 71", gs[i].First)
			}
			w.clean(a)
			w.history(a, Filter{}, nil)
			w.purgeAll()
			w.history(a, Filter{}, nil)
		})
	}
}

// The stream was made anew, under a running writer, and counts from one: it is a
// run of its own.
func TestStreamMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(60)
	stop := w.run(a)
	w.archived(a)
	if err := w.js.DeleteStream(t.Context(), bus.Raw); err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Ensure(t.Context(), w.js, bus.Options{HoldRaw: true}, nil); err != nil {
		t.Fatal(err)
	}
	w.send(80)
	w.archived(a)
	stop()
	w.clean(a)
	w.purgeAll()
	w.history(a, Filter{}, nil)
}
