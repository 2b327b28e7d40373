package dead_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"beat/migrations/pgtest"
	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"
	"beat/streams/dead"
	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A place is a JetStream with its DEAD stream.
type place struct {
	t   testing.TB
	js  jetstream.JetStream
	pub *bus.Publisher
	box *dead.Box
}

func newPlace(t testing.TB) *place {
	t.Helper()
	_, _, js := natstest.New(t)
	if _, err := bus.Ensure(t.Context(), js, bus.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	pub := bus.NewPublisher(slog.New(slog.DiscardHandler), js, bus.PublisherConfig{})
	t.Cleanup(func() { pub.Close() }) //nolint:errcheck // only waits
	box, err := dead.Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, js, pub, box}
}

func (p *place) send(outs ...bus.Out) {
	p.t.Helper()
	if err := p.pub.Send(p.t.Context(), outs...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) list(f dead.Filter) []dead.Letter {
	p.t.Helper()
	ls, err := p.box.List(p.t.Context(), f)
	if err != nil {
		p.t.Fatal(err)
	}
	return ls
}

// last is the newest message of a stream and how many there are.
func (p *place) last(stream string) (*jetstream.RawStreamMsg, int) {
	p.t.Helper()
	s, err := p.js.Stream(p.t.Context(), stream)
	if err != nil {
		p.t.Fatal(err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return nil, 0
	}
	m, err := s.GetMsg(p.t.Context(), state.LastSeq)
	if err != nil {
		p.t.Fatal(err)
	}
	if m.Data, err = bus.Unpack(m.Header, m.Data); err != nil {
		p.t.Fatal(err)
	}
	return m, int(state.Msgs)
}

func ask(task, fence int64, flow string, seq int) social.Ask {
	return social.Ask{
		Task: social.TaskRef{ID: task, Fence: fence, Flow: flow, Platform: social.Instagram}, Seq: seq,
		Fetch: social.ProfileByHandle, Keys: []string{"creator"},
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// asks, raw and parsed are messages of the three streams that carry a chain.
func asks(seq uint64, a social.Ask) *bus.Msg {
	return &bus.Msg{Stream: bus.Tasks, Seq: seq, Subject: "beat.task.instagram." + a.Task.Flow, Data: encode(a), Delivered: 8}
}

func raw(seq uint64, source string, a social.Ask) *bus.Msg {
	return &bus.Msg{Stream: bus.Raw, Seq: seq, Subject: "beat.raw.instagram." + source + "." + string(a.Fetch), Delivered: 1,
		Header: nats.Header{bus.HeaderAsk: {string(encode(a))}, bus.HeaderSource: {source}, bus.HeaderRawID: {a.ID()},
			"Beat-Trace": {"{}"}, "Nats-Msg-Id": {a.ID()}},
		Data: []byte(`{"user":`)}
}

func parsed(t testing.TB, seq uint64, b social.Batch) *bus.Msg {
	t.Helper()
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &bus.Msg{Stream: bus.Parsed, Seq: seq, Subject: "beat.parsed.instagram." + string(b.Ask.Fetch), Data: data, Delivered: 1}
}

func TestListFiltersAndGroups(t *testing.T) {
	p := newPlace(t)
	if got := p.list(dead.Filter{}); len(got) != 0 {
		t.Fatalf("empty stream: got %v", got)
	}
	p.send(
		bus.Letter(raw(11, "graphapi", ask(1, 10, "refresh_profile_basic", 0)), "parse", "malformed", errors.New("item 12: no id"), bus.ReadBy(7)),
		bus.Letter(raw(12, "rapidapi-arraybobo", ask(1, 10, "refresh_profile_basic", 0)), "parse", "malformed", errors.New("item 3: no id"), bus.ReadBy(2)),
		bus.Letter(raw(13, "graphapi", ask(2, 11, "refresh_profile_by_handle", 4)), "parse-instagram", "panic", errors.New("index out of range")),
		bus.Letter(asks(14, ask(3, 12, "refresh_profile_by_handle", 1)), "retrieve-refresh_profile_by_handle", "retries", errors.New("no route")),
		bus.Letter(parsed(t, 15, social.Batch{Ask: ask(4, 13, "refresh_profile_by_handle", 2), Raw: social.Raw{ID: "r", Source: "graphapi"}, Parser: 3}),
			"process", "implausible", errors.New("profile 1: metric likes is -5")),
		bus.Letter(&bus.Msg{Stream: bus.Tasks, Seq: 16, Subject: "beat.task.x.y", Data: []byte("\xff")}, "retrieve-y", "malformed", errors.New("ask: no JSON")),
	)
	all := p.list(dead.Filter{})
	if len(all) != 6 {
		t.Fatalf("got %d letters, want 6", len(all))
	}
	want := dead.Letter{Seq: 1, At: all[0].At, Stage: "parse", Cause: "malformed", Error: "item 12: no id",
		Fingerprint: bus.Fingerprint("malformed", "item 9: no id"), Source: "graphapi", Parser: 7, Flow: "refresh_profile_basic",
		Task: 1, Fence: 10, Attempts: 1, RawID: ask(1, 10, "refresh_profile_basic", 0).ID(), RawSeq: 11,
		Subject: "beat.raw.instagram.graphapi.fetch_profile_by_handle", Stream: bus.Raw, StreamSeq: 11}
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Errorf("letter (-want +got):\n%s", diff)
	}
	if l := all[4]; l.Source != "graphapi" || l.RawID != "r" || l.Parser != 3 || l.Task != 4 || l.Fence != 13 || l.RawSeq != 0 {
		t.Errorf("letter of PARSED: got %+v", l)
	}
	for _, c := range []struct {
		name string
		f    dead.Filter
		want []uint64
	}{
		{"cause", dead.Filter{Cause: "malformed"}, []uint64{1, 2, 6}},
		{"source", dead.Filter{Source: "graphapi"}, []uint64{1, 3, 5}},
		{"flow", dead.Filter{Flow: "refresh_profile_by_handle"}, []uint64{3, 4, 5}},
		{"stage", dead.Filter{Stage: "parse-instagram"}, []uint64{3}},
		{"stage of all platforms", dead.Filter{Stage: "parse"}, []uint64{1, 2, 3}},
		{"fingerprint", dead.Filter{Fingerprint: all[0].Fingerprint}, []uint64{1, 2}},
		{"task", dead.Filter{Task: 1}, []uint64{1, 2}},
		{"since", dead.Filter{Since: all[3].At}, seqsFrom(all, func(l dead.Letter) bool { return !l.At.Before(all[3].At) })},
		{"until", dead.Filter{Until: all[3].At}, seqsFrom(all, func(l dead.Letter) bool { return l.At.Before(all[3].At) })},
		{"an hour from now", dead.Filter{Since: time.Now().Add(time.Hour)}, nil},
		{"numbers", dead.Filter{Seqs: []uint64{5, 2, 5, 99}}, []uint64{2, 5}},
		{"numbers and cause", dead.Filter{Seqs: []uint64{2, 5}, Cause: "implausible"}, []uint64{5}},
		{"two at once", dead.Filter{Cause: "malformed", Source: "graphapi"}, []uint64{1}},
	} {
		if got := seqsFrom(p.list(c.f), func(dead.Letter) bool { return true }); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
	gs := dead.Groups(all)
	if len(gs) != 5 || gs[0].Count != 2 || gs[0].Seq != 2 || gs[0].Error != "item 3: no id" ||
		!slices.Equal(gs[0].Sources, []string{"graphapi", "rapidapi-arraybobo"}) || !slices.Equal(gs[0].Stages, []string{"parse"}) ||
		!gs[0].First.Equal(all[0].At) || !gs[0].Last.Equal(all[1].At) {
		t.Errorf("groups: got %+v", gs)
	}
}

func seqsFrom(ls []dead.Letter, ok func(dead.Letter) bool) (out []uint64) {
	for _, l := range ls {
		if ok(l) {
			out = append(out, l.Seq)
		}
	}
	return out
}

func TestGetAndDrop(t *testing.T) {
	p := newPlace(t)
	m := raw(11, "graphapi", ask(1, 10, "refresh_profile_basic", 0))
	m.Data = []byte(strings.Repeat("x", 5000)) // stored as S2
	p.send(bus.Letter(m, "parse", "malformed", errors.New("no")))
	got, err := p.box.Get(t.Context(), 1)
	if err != nil || string(got.Data) != string(m.Data) {
		t.Fatalf("got %d bytes, %v", len(got.Data), err)
	}
	m.Header.Del("Nats-Msg-Id")
	if diff := cmp.Diff(m.Header, got.Header); diff != "" {
		t.Errorf("its own headers (-want +got):\n%s", diff)
	}
	if err := p.box.Drop(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{1, 99} {
		if err := p.box.Drop(t.Context(), seq); !errors.Is(err, dead.ErrGone) {
			t.Errorf("drop of letter %d, which is not there: %v", seq, err)
		}
		if _, err := p.box.Get(t.Context(), seq); !errors.Is(err, dead.ErrGone) {
			t.Errorf("get of letter %d, which is not there: %v", seq, err)
		}
	}
	if got := p.list(dead.Filter{}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// A list of thousands reads no bodies, and takes well under two seconds.
func TestListOfThousands(t *testing.T) {
	p := newPlace(t)
	const n = 5000
	outs := make([]bus.Out, n)
	for i := range outs {
		m := raw(uint64(i+1), "graphapi", ask(int64(i+1), 1, "refresh_profile_by_handle", 0))
		m.Data = []byte(strings.Repeat(strconv.Itoa(i), 2000))
		outs[i] = bus.Letter(m, "parse", "malformed", fmt.Errorf("item %d: no id", i), bus.ReadBy(1))
	}
	p.send(outs...)
	began := time.Now()
	all := p.list(dead.Filter{})
	took := time.Since(began)
	t.Logf("%d letters in %s", len(all), took)
	if len(all) != n || took > slow*2*time.Second {
		t.Errorf("%d letters in %s, want %d in under %s", len(all), took, n, slow*2*time.Second)
	}
	if gs := dead.Groups(all); len(gs) != 1 || gs[0].Count != n {
		t.Errorf("groups: got %+v", gs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.box.List(ctx, dead.Filter{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v", err)
	}
}

// A desk is a place with a task table.
type desk struct {
	*place
	db    *pgxpool.Pool
	queue *schedule.Queue
	r     *dead.Redriver
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	p := newPlace(t)
	db := pgtest.New(t)
	q := schedule.NewQueue(db, 0)
	return &desk{p, db, q, dead.NewRedriver(p.box, q, p.pub)}
}

const byHandle = "refresh_profile_by_handle"

// task inserts a row in a status and returns its last run.
func (d *desk) task(status string) social.TaskRef {
	d.t.Helper()
	t := social.TaskRef{Flow: byHandle, Platform: social.Instagram}
	err := d.db.QueryRow(d.t.Context(), `
INSERT INTO scrape_request_log (flow, platform, params, status, fence)
VALUES ($1, 'INSTAGRAM', '{}', $2, nextval('beat_fence_seq')) RETURNING id, fence`, byHandle, status).Scan(&t.ID, &t.Fence)
	if err != nil {
		d.t.Fatal(err)
	}
	return t
}

func (d *desk) redrive(seq uint64, data []byte, want dead.Outcome) dead.Result {
	d.t.Helper()
	res, err := d.r.Redrive(d.t.Context(), seq, data)
	if err != nil || res.Outcome != want {
		d.t.Fatalf("redrive letter %d: got %+v, %v; want %s", seq, res, err, want)
	}
	return res
}

func at(t social.TaskRef, seq int) social.Ask {
	a := ask(t.ID, t.Fence, t.Flow, seq)
	a.Task = t
	return a
}

func rawAsk(t *testing.T, m *jetstream.RawStreamMsg) (a social.Ask) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.Header.Get(bus.HeaderAsk)), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// The plan is what happens then, and changes nothing.
func TestRedriveAndItsPlan(t *testing.T) {
	d := newDesk(t)
	failed, complete, waits := d.task(social.Failed), d.task(social.Complete), d.task(social.Pending)
	gone := social.TaskRef{ID: 1 << 40, Fence: 1, Flow: byHandle, Platform: social.Instagram}
	bad := errors.New("no id")
	d.send(
		bus.Letter(raw(1, "graphapi", at(failed, 3)), "parse", "malformed", bad),
		bus.Letter(raw(2, "rapidapi-arraybobo", at(failed, 3)), "parse", "malformed", bad), // the same run
		bus.Letter(raw(3, "graphapi", at(complete, 0)), "parse", "malformed", bad),
		bus.Letter(asks(4, at(complete, 0)), "retrieve-x", "panic", bad),
		bus.Letter(raw(5, "graphapi", at(waits, 0)), "parse", "malformed", bad),
		bus.Letter(raw(6, "graphapi", at(gone, 0)), "parse", "malformed", bad),
		bus.Letter(&bus.Msg{Stream: bus.Tasks, Seq: 7, Subject: "beat.task.instagram." + byHandle, Data: []byte("{")}, "retrieve-x", "malformed", bad),
	)
	want := []dead.Result{
		{Seq: 1, Outcome: dead.Reopened, Task: failed.ID, Status: social.Failed},
		{Seq: 2, Outcome: dead.DataOnly, Task: failed.ID, Status: social.Processing},
		{Seq: 3, Outcome: dead.DataOnly, Task: complete.ID, Status: social.Complete},
		{Seq: 4, Outcome: dead.Kept, Task: complete.ID, Status: social.Complete},
		{Seq: 5, Outcome: dead.DataOnly, Task: waits.ID, Status: social.Pending},
		{Seq: 6, Outcome: dead.DataOnly, Task: gone.ID},
		{Seq: 7, Outcome: dead.Sent},
	}
	ls := d.list(dead.Filter{})
	plan, err := d.r.Plan(t.Context(), ls)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, plan); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(ls, d.list(dead.Filter{})); diff != "" {
		t.Errorf("the plan changed letters:\n%s", diff)
	}
	for _, stream := range []string{bus.Raw, bus.Tasks, bus.Events} {
		if _, n := d.last(stream); n != 0 {
			t.Errorf("the plan sent %d messages to %s", n, stream)
		}
	}
	var processing int
	if err := d.db.QueryRow(t.Context(), "SELECT count(*) FROM scrape_request_log WHERE status = 'PROCESSING'").Scan(&processing); err != nil || processing != 0 {
		t.Errorf("the plan reopened %d tasks, %v", processing, err)
	}
	for _, w := range want {
		got := d.redrive(w.Seq, nil, w.Outcome)
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("redrive (-want +got):\n%s", diff)
		}
		switch w.Seq {
		case 1:
			m, _ := d.last(bus.Raw)
			a := rawAsk(t, m)
			if a.Task.ID != failed.ID || a.Task.Fence <= failed.Fence || a.Seq != 4 || a.Task.LeaseUntil.IsZero() {
				t.Errorf("reopened: the ask is %+v", a)
			}
			if m.Subject != "beat.raw.instagram.graphapi.fetch_profile_by_handle" || string(m.Data) != `{"user":` ||
				m.Header.Get("Nats-Msg-Id") != "redrive/1/1" || m.Header.Get("Beat-Trace") != "" || m.Header.Get(bus.HeaderDeadCause) != "" {
				t.Errorf("reopened: %s %v %q", m.Subject, m.Header, m.Data)
			}
			var e event.Task
			told, n := d.last(bus.Events)
			if err := json.Unmarshal(told.Data, &e); err != nil || n != 1 || e.Status != social.Processing || e.ID != failed.ID {
				t.Errorf("event: %+v, %d of them, %v", e, n, err)
			}
		case 2:
			m, _ := d.last(bus.Raw)
			if a := rawAsk(t, m); a.Task.Fence != 0 || !a.Task.LeaseUntil.IsZero() || a.Task.ID != failed.ID {
				t.Errorf("data only: the ask is %+v", a)
			}
		}
	}
	left := d.list(dead.Filter{})
	if len(left) != 1 || left[0].Seq != 4 {
		t.Errorf("letters left: %v, want only number 4", left)
	}
	if _, err := d.r.Redrive(t.Context(), 1, nil); !errors.Is(err, dead.ErrGone) {
		t.Errorf("redriving what is redriven: %v", err)
	}
}

// An answer that has been parsed carries its run on: the ask after it, which
// the failed run took with it, is asked again.
func TestRedriveParsed(t *testing.T) {
	d := newDesk(t)
	failed, complete := d.task(social.Failed), d.task(social.Complete)
	batch := func(ref social.TaskRef) social.Batch {
		return social.Batch{Ask: at(ref, 0), Raw: social.Raw{ID: "r" + strconv.FormatInt(ref.ID, 10), Source: "graphapi", At: time.Now()},
			Logs: []social.Log{{Kind: social.Profile, Key: "1784"}}}
	}
	d.send(bus.Letter(parsed(t, 1, batch(failed)), "process-instagram", "panic", errors.New("x")),
		bus.Letter(parsed(t, 2, batch(complete)), "process", "implausible", errors.New("x")))

	d.redrive(1, nil, dead.Reopened)
	m, _ := d.last(bus.Parsed)
	b, err := social.UnmarshalBatch(m.Data)
	if err != nil || b.Ask.Task.Fence <= failed.Fence || b.Ask.Seq != 1 || b.Final != nil || len(b.Logs) != 1 {
		t.Errorf("batch: %+v, %v", b, err)
	}
	next, n := d.last(bus.Tasks)
	var a social.Ask
	if err := json.Unmarshal(next.Data, &a); err != nil || n != 1 || a.Task.Fence != b.Ask.Task.Fence || a.Seq != 2 || a.Fetch != social.PostsByID {
		t.Errorf("next ask: %+v, %d of them, %v", a, n, err)
	}

	d.redrive(2, nil, dead.DataOnly)
	m, _ = d.last(bus.Parsed)
	b, err = social.UnmarshalBatch(m.Data)
	if err != nil || b.Ask.Task.Fence != 0 || b.Final == nil || len(b.Logs) != 1 {
		t.Errorf("batch of no run: %+v, %v", b, err)
	}
	if _, n := d.last(bus.Tasks); n != 1 {
		t.Errorf("%d asks, want none after an answer of no run", n)
	}
}

func TestRedriveWithAnotherBody(t *testing.T) {
	d := newDesk(t)
	failed := d.task(social.Failed)
	d.send(bus.Letter(asks(1, at(failed, 0)), "retrieve-x", "panic", errors.New("x")))
	other := at(failed, 0)
	other.Task.ID++
	for name, body := range map[string][]byte{"of another task": encode(other), "that is none": []byte("{"), "that is empty": {}} {
		if _, err := d.r.Redrive(t.Context(), 1, body); err == nil {
			t.Errorf("a body %s is taken", name)
		}
	}
	if len(d.list(dead.Filter{})) != 1 {
		t.Fatal("the letter is gone")
	}
	edited := at(failed, 0)
	edited.Keys = []string{"corrected"}
	d.redrive(1, encode(edited), dead.Reopened)
	m, _ := d.last(bus.Tasks)
	var a social.Ask
	if err := json.Unmarshal(m.Data, &a); err != nil || a.Key() != "corrected" || a.Task.Fence <= failed.Fence || a.Seq != 1 {
		t.Errorf("ask: %+v, %v", a, err)
	}
}

// lossy stores, and loses its answers while it is told to.
type lossy struct {
	schedule.Sender
	losing bool
}

func (l *lossy) Send(ctx context.Context, outs ...bus.Out) error {
	if err := l.Sender.Send(ctx, outs...); err != nil || !l.losing {
		return err
	}
	return bus.ErrUnavailable
}

// absent stores nothing.
type absent struct{}

func (absent) Send(context.Context, ...bus.Out) error { return bus.ErrUnavailable }

// Killed between its steps, a redrive is done again, and does its work once.
func TestRedriveInterrupted(t *testing.T) {
	d := newDesk(t)
	failed := d.task(social.Failed)
	d.send(bus.Letter(raw(1, "graphapi", at(failed, 0)), "parse", "malformed", errors.New("x")))

	if _, err := dead.NewRedriver(d.box, d.queue, absent{}).Redrive(t.Context(), 1, nil); !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	if plan, err := d.r.Plan(t.Context(), d.list(dead.Filter{})); err != nil || plan[0].Outcome != dead.Reopened {
		t.Errorf("plan after the row was changed: %+v, %v", plan, err)
	}
	l := &lossy{d.pub, true}
	r := dead.NewRedriver(d.box, d.queue, l)
	if _, err := r.Redrive(t.Context(), 1, nil); !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	first, n := d.last(bus.Raw)
	if n != 1 {
		t.Fatalf("%d messages, want 1", n)
	}
	l.losing = false
	if res, err := r.Redrive(t.Context(), 1, nil); err != nil || res.Outcome != dead.Reopened {
		t.Fatalf("got %+v, %v", res, err)
	}
	again, n := d.last(bus.Raw)
	if n != 1 || rawAsk(t, first).Task.Fence != rawAsk(t, again).Task.Fence {
		t.Errorf("%d messages, want the first only", n)
	}
	if _, n := d.last(bus.Events); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if len(d.list(dead.Filter{})) != 0 {
		t.Error("the letter is still there")
	}
}
