package archive

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"beat/migrations/pgtest"
	"beat/streams/bus"
	"beat/streams/bus/natsd"
	"beat/streams/objects"
	"beat/streams/servers/s3d"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A world is a stream, a database and an S3 of a test's own.
type world struct {
	t     testing.TB
	dir   string // of the stream
	js    jetstream.JetStream
	db    *pgxpool.Pool
	s3    *s3d.Server
	away  atomic.Bool          // S3 answers nobody
	trap  atomic.Pointer[trap] // in the way of each request
	store *objects.Store
	pub   *bus.Publisher
	sent  []Raw // everything, as it should come back
	shift int   // makes other answers

	stopNATS func()
}

// A trap is in the way of a request. It may pass it on; if it reports true,
// nobody gets an answer.
type trap func(r *http.Request, pass func()) (refuse bool)

func newWorld(t testing.TB, o bus.Options) *world {
	t.Helper()
	w := &world{t: t}
	w.dir = t.TempDir()
	w.startNATS(w.dir)
	o.HoldRaw = true
	if _, err := bus.Ensure(t.Context(), w.js, o, nil); err != nil {
		t.Fatal(err)
	}
	w.db = pgtest.New(t)
	var err error
	if w.s3, err = s3d.Start(s3d.Config{Dir: t.TempDir(), Around: w.around}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.s3.Stop)
	w.store, err = objects.Open(t.Context(), objects.Config{Endpoint: w.s3.URL, Bucket: "archive", Prefix: "here/", Region: "eu-west-1",
		AccessKey: "key", SecretKey: "secret", Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.MakeBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// startNATS starts a server on a folder.
func (w *world) startNATS(dir string) {
	w.t.Helper()
	s, err := natsd.Start(natsd.Config{Dir: dir, Port: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	nc, err := s.Connect()
	if err == nil {
		w.js, err = jetstream.New(nc)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	pub := bus.NewPublisher(slog.New(slog.DiscardHandler), w.js, bus.PublisherConfig{})
	w.pub = pub
	w.stopNATS = sync.OnceFunc(func() {
		pub.Close() //nolint:errcheck // only waits
		nc.Close()
		s.Stop()
	})
	w.t.Cleanup(w.stopNATS)
}

func (w *world) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		passed := false
		pass := func() { passed = true; next.ServeHTTP(rw, r) }
		if trap := w.trap.Load(); w.away.Load() || trap != nil && (*trap)(r, pass) {
			panic(http.ErrAbortHandler)
		}
		if !passed {
			pass()
		}
	})
}

// open returns an Archive, as another process would.
func (w *world) open(cfg Config) *Archive {
	return New(slog.New(slog.NewTextHandler(w.out(), &slog.HandlerOptions{Level: slog.LevelInfo})), w.db, w.js, w.store, cfg)
}

// run runs the role until stop.
func (w *world) run(a *Archive) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("role archive ended with %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

var sources = []string{"graphapi", "lama", "ytapitoken"}

// answer makes the nth raw answer: a message, and what should be read of it.
func answer(n int) (bus.Out, Entry) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	e := Entry{ID: social.ID("raw", n), Source: sources[n%3], Fetch: social.ProfileByHandle, Platform: social.Instagram, Verdict: "ok",
		Task: int64(n / 4), Observed: time.Date(2026, 11, 1, 0, 0, n, 123456789, time.UTC), Keys: []string{fmt.Sprintf("creator%03d", n%50), fmt.Sprint(n % 7)}}
	if n%3 == 2 {
		e.Platform, e.Fetch = social.YouTube, social.ChannelsByIDs
	}
	if n%10 == 9 {
		e.Verdict = "limited"
	}
	ask, _ := json.Marshal(social.Ask{Task: social.TaskRef{ID: e.Task, Platform: e.Platform}, Fetch: e.Fetch, Keys: e.Keys[:1], //nolint:errcheck // plain data
		State: social.State{ProfileID: e.Keys[1]}})
	body := fmt.Appendf(nil, `{"n":%d,"posts":[`, n)
	for range 1 + r.IntN(60) {
		body = fmt.Appendf(body, `{"id":%d,"caption":"a sunny day at the sea","likes":%d},`, r.Uint64(), r.IntN(10000))
	}
	if n%11 == 5 {
		body = nil // an error page without words
	}
	e.Subject = fmt.Sprintf("beat.raw.%s.%s.%s", e.Platform.Lower(), e.Source, e.Fetch)
	e.Size = len(body)
	return bus.Out{Subject: e.Subject, ID: e.ID, Data: body, Header: nats.Header{
		bus.HeaderRawID: {e.ID}, bus.HeaderSource: {e.Source}, bus.HeaderFetch: {string(e.Fetch)}, bus.HeaderVerdict: {e.Verdict},
		bus.HeaderObserved: {e.Observed.Format(time.RFC3339Nano)}, bus.HeaderAsk: {string(ask)}, "Beat-Credential": {"17"}, "Beat-Two": {"a", "b"},
	}}, e
}

// send publishes n more answers, through change if it is given.
func (w *world) send(n int, change ...func(bus.Out) bus.Out) {
	w.t.Helper()
	var outs []bus.Out
	for range n {
		o, e := answer(len(w.sent) + w.shift)
		w.sent = append(w.sent, Raw{Entry: e, Header: o.Header, Data: o.Data})
		for _, f := range change {
			o = f(o)
		}
		outs = append(outs, o)
	}
	if err := w.pub.Send(w.t.Context(), outs...); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for something that the archive does by itself.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			gs, _ := w.open(Config{}).segments(context.Background(), "true ORDER BY run, first_seq") //nolint:errcheck // for the message
			w.t.Fatalf("%s did not happen; segments: %+v", what, gs)
		}
	}
}

// archived waits until everything is, and gives the segments.
func (w *world) archived(a *Archive) []Segment {
	w.t.Helper()
	var gs []Segment
	w.until("everything archived", func() bool {
		p, err := a.place(w.t.Context())
		if err != nil || p.Seq != p.state.LastSeq {
			return false
		}
		gs, err = a.Segments(w.t.Context())
		return err == nil
	})
	return gs
}

// history reads it, and asserts that it is what was sent and is selected.
func (w *world) history(a *Archive, f Filter, want func(Raw) bool) []Raw {
	w.t.Helper()
	var got []Raw
	at := Position{}
	for r, err := range a.History(w.t.Context(), f) {
		if err != nil {
			w.t.Fatalf("history after %d answers: %v", len(got), err)
		}
		if r.Position.Compare(at) <= 0 {
			w.t.Fatalf("history: %s comes after %s", r.Position, at)
		}
		at = r.Position
		got = append(got, r)
	}
	var all []Raw
	for _, r := range w.sent {
		if want == nil || want(r) {
			all = append(all, r)
		}
	}
	w.same(got, all)
	var entries []string
	for e, err := range a.Entries(w.t.Context(), f) {
		if err != nil {
			w.t.Fatalf("entries: %v", err)
		}
		entries = append(entries, e.ID)
	}
	var ids []string
	for _, r := range got {
		ids = append(ids, r.ID)
	}
	if d := cmp.Diff(ids, entries); d != "" {
		w.t.Errorf("entries are not those of the history (-history +entries):\n%s", d)
	}
	return got
}

// same compares answers in all that does not depend on when they were stored.
func (w *world) same(got, want []Raw) {
	w.t.Helper()
	plain := func(rs []Raw) []Raw {
		out := make([]Raw, len(rs))
		for i, r := range rs {
			h := nats.Header{}
			for k, v := range r.Header {
				if k != nats.MsgIdHdr && k != HeaderBody && k[:5] == "Beat-" {
					h[k] = v
				}
			}
			r.Header, r.Position, r.At, r.Claim = h, Position{}, time.Time{}, ""
			if len(r.Data) == 0 {
				r.Data = nil
			}
			out[i] = r
		}
		return out
	}
	if len(got) != len(want) {
		w.t.Errorf("got %d answers, want %d", len(got), len(want))
		return
	}
	got, want = plain(got), plain(want)
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			w.t.Errorf("answer %d differs (-want +got):\n%.3000s", i, cmp.Diff(want[i], got[i]))
			return
		}
	}
}

// purgeAll empties the stream, so that all comes from the archive.
func (w *world) purgeAll() {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), bus.Raw)
	if err == nil {
		err = s.Purge(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state() jetstream.StreamState {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), bus.Raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State
}

// value is a metric's.
func value(t testing.TB, a *Archive, name string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(a.Collectors()...)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// quick writes a segment at once and small ones.
var quick = Config{Every: 200 * time.Millisecond, SegmentBytes: 100 << 10, Tidy: 100 * time.Millisecond}

// out is where the log goes.
func (w *world) out() io.Writer {
	if t, ok := w.t.(*testing.T); ok {
		return t.Output()
	}
	return io.Discard
}
