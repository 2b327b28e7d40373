package quarantine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	dto "github.com/prometheus/client_model/go"

	"beat/migrations/pgtest"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// newDB makes a migrated database with one profile of 1000 followers and 200
// posts, observed an hour before noon.
func newDB(t *testing.T) *pgxpool.Pool {
	t.Helper()
	db := pgtest.New(t)
	exec(t, db, `INSERT INTO instagram_account (profile_id, followers, media_count, lineage) VALUES
('1', 1000, 200, '{"a":[["graphapi","2026-03-01T11:00:00.123456789Z","r0",1]],"c":{"followers":0,"media_count":0}}'), ('2', 1000, 200, NULL)`)
	return db
}

func exec(t *testing.T, db *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// answer is a batch of raw answer id, which was observed some minutes after noon.
func answer(id string, minutes int) social.Batch {
	return social.Batch{
		Ask:    social.Ask{Task: social.TaskRef{ID: 17, Fence: 3, Flow: "refresh_profile_by_handle", Platform: social.Instagram}},
		Raw:    social.Raw{ID: id, Source: "graphapi", At: noon.Add(time.Duration(minutes) * time.Minute), Status: 200},
		Parser: 4,
	}
}

// A bench is a store over a database of its own.
type bench struct {
	*testing.T
	*Store
	db *pgxpool.Pool
}

func newBench(t *testing.T) bench {
	db := newDB(t)
	return bench{t, New(slog.New(slog.DiscardHandler), db, schedule.NewQueue(db, 0)), db}
}

// sees checks an answer with one profile and one post, and says whether the
// profile passed. The post always does.
func (b bench) sees(id string, minutes int, l social.Log) bool {
	b.Helper()
	post := social.Log{Kind: social.Post, Key: "p", Owner: l.Key}
	kept, err := b.Check(b.Context(), answer(id, minutes), []social.Log{l, post})
	if err != nil {
		b.Fatal(err)
	}
	if len(kept) == 0 || kept[len(kept)-1].Kind != social.Post {
		b.Fatalf("answer %s: the post was kept back", id)
	}
	return len(kept) == 2
}

// states is the states of all rows, the oldest first.
func (b bench) states() (out []State) {
	b.Helper()
	rows, err := b.List(b.Context(), Filter{}, 0)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range rows {
		out = append([]State{r.State}, out...)
	}
	return out
}

func (b bench) want(what string, want ...State) {
	b.Helper()
	if got := b.states(); !cmp.Equal(got, want) {
		b.Errorf("%s: the rows are %v, want %v", what, got, want)
	}
}

func (b bench) counted(what string) float64 {
	var m dto.Metric
	if err := b.total.WithLabelValues(what).Write(&m); err != nil {
		b.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func (b bench) tasks() (n int) {
	b.Helper()
	if err := b.db.QueryRow(b.Context(), `SELECT count(*) FROM scrape_request_log`).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// A drop is held once, however often its message comes, and the second one
// passes, however often its message comes.
func TestSecondDropConfirms(t *testing.T) {
	b := newBench(t)
	low := profile("1", "100", "200")
	for range 3 {
		if b.sees("r1", 0, low) {
			t.Error("a drop of 90 % passed")
		}
		b.want("after the first", Held)
	}
	if n := b.counted("drop"); n != 1 || b.tasks() != 1 {
		t.Errorf("%v drops counted and %d tasks, want 1 and 1", n, b.tasks())
	}
	r, err := b.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.ConfirmTaskID == nil || r.DecidedAt != nil || r.Reason != "followers from 1000 to 100" || r.Source != "graphapi" ||
		!cmp.Equal(r.Columns, []string{"followers"}) || !cmp.Equal(r.Stored, []int64{1000}) || !cmp.Equal(r.Seen, []int64{100}) ||
		string(r.Log) != string(low.AppendJSON(nil)) || r.EventID != event.LogID("r1", low) || !r.ObservedAt.Equal(noon) {
		t.Errorf("the row: %+v", r)
	}
	for range 3 {
		if !b.sees("r2", 1, profile("1", "90", "200")) {
			t.Error("the second drop did not pass")
		}
		b.want("after the second", Confirmed)
	}
	if b.sees("r1", 0, low) {
		t.Error("the first drop passed once it was confirmed: its place has been taken")
	}
	b.want("after the first again", Confirmed)
	if r, err = b.Get(t.Context(), 1); err != nil || r.DecidedBy == nil || *r.DecidedBy != event.LogID("r2", low) {
		t.Errorf("decided by %v, %v", r.DecidedBy, err)
	}
}

func TestNormalReplaces(t *testing.T) {
	b := newBench(t)
	b.sees("r1", 5, profile("1", "100", "200"))
	for id, l := range map[string]social.Log{"hidden": profile("1", "null", "200"), "absent": profile("1", "", "")} {
		if !b.sees(id, 6, l) {
			t.Errorf("%s: was kept back", id)
		}
	}
	if !b.sees("earlier", 4, profile("1", "1000", "200")) {
		t.Error("an earlier observation was kept back")
	}
	b.want("after those that say nothing of it", Held)
	if !b.sees("r2", 6, profile("1", "990", "200")) {
		t.Error("a normal observation was kept back")
	}
	b.want("after a normal one", Replaced)
	if b.sees("r3", 7, profile("1", "100", "200")) {
		t.Error("the next drop passed: it has nothing to do with the one before")
	}
	b.want("after the next drop", Replaced, Held)
	if b.tasks() != 2 {
		t.Errorf("%d tasks, want one for each", b.tasks())
	}
}

// Two providers that are wrong in different ways confirm nothing, and are not
// asked for ever.
func TestAnotherDropTakesThePlace(t *testing.T) {
	b := newBench(t)
	b.sees("r1", 0, profile("1", "100", "200"))
	for range 2 {
		if b.sees("r2", 1, profile("1", "1000", "2")) {
			t.Error("another drop passed")
		}
		b.want("after another drop", Replaced, Held)
	}
	if b.tasks() != 1 {
		t.Errorf("%d tasks, want that of the first", b.tasks())
	}
	if !b.sees("r3", 2, profile("1", "1000", "1")) {
		t.Error("the same drop again was kept back")
	}
	b.want("in the end", Replaced, Confirmed)
}

func TestPasses(t *testing.T) {
	b := newBench(t)
	for id, l := range map[string]social.Log{
		"89 %": profile("1", "110", "22"), "a new profile": profile("9", "1", "1"), "tenfold": profile("2", "10000", "200"),
		"without lineage": profile("2", "1000", "200"),
	} {
		if !b.sees(id, 0, l) {
			t.Errorf("%s: was kept back", id)
		}
	}
	if !b.sees("late", -61, profile("1", "1", "1")) {
		t.Error("an observation that is older than the row was kept back")
	}
	b.want("nothing held")
	if n := b.counted("rise"); n != 1 {
		t.Errorf("%v rises, want 1", n)
	}
	insights := social.Log{Kind: social.Insights, Key: "1"}
	b.db.Close() // no round trip without a profile
	if kept, err := b.Check(t.Context(), answer("r9", 0), []social.Log{insights}); err != nil || len(kept) != 1 {
		t.Errorf("%d logs, %v", len(kept), err)
	}
	tube := answer("r9", 0)
	tube.Ask.Task.Platform = social.YouTube
	if kept, err := b.Check(t.Context(), tube, []social.Log{profile("1", "1", "1")}); err != nil || len(kept) != 1 {
		t.Errorf("%d logs, %v", len(kept), err)
	}
	if _, err := b.Check(t.Context(), answer("r9", 0), []social.Log{profile("1", "1", "1")}); err == nil {
		t.Error("a profile passed while nobody could tell what is stored")
	}
}

// Many answers at once: one is held, one has confirmed it, and each that passed
// has a right to.
func TestAtOnce(t *testing.T) {
	b := newBench(t)
	const n = 8
	passed := make([]bool, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			kept, err := b.Check(context.Background(), answer(fmt.Sprint("r", i), i), []social.Log{profile("1", "100", "200")})
			if err != nil {
				t.Error(err)
			}
			passed[i] = len(kept) == 1
		})
	}
	all.Wait()
	through, confirmed := 0, 0
	for _, p := range passed {
		if p {
			through++
		}
	}
	states := b.states()
	for _, s := range states {
		if s == Confirmed {
			confirmed++
		}
	}
	if through != confirmed || through+len(states) != n {
		t.Errorf("%d passed, the rows are %v", through, states)
	}
}

// A broken queue is one that has lost its database.
type broken struct{}

func (broken) Enqueue(context.Context, schedule.Request) (schedule.Enqueued, error) {
	return schedule.Enqueued{}, errors.New("planted")
}

// Killed between the row and the task, the message comes again.
func TestTaskIsAskedForAgain(t *testing.T) {
	b := newBench(t)
	queue := b.queue
	b.queue = broken{}
	low := profile("1", "100", "200")
	if _, err := b.Check(t.Context(), answer("r1", 0), []social.Log{low}); err == nil {
		t.Fatal("no error")
	}
	b.queue = queue
	for range 2 {
		if b.sees("r1", 0, low) {
			t.Error("it passed")
		}
	}
	b.want("once", Held)
	if b.tasks() != 1 {
		t.Errorf("%d tasks, want 1", b.tasks())
	}
}

// A sender keeps what is sent, unless it fails.
type sender struct {
	outs []bus.Out
	err  error
}

func (s *sender) Send(_ context.Context, outs ...bus.Out) error {
	if s.err == nil {
		s.outs = append(s.outs, outs...)
	}
	return s.err
}

func TestPerson(t *testing.T) {
	b := newBench(t)
	low := profile("1", "100", "200")
	b.sees("r1", 0, low)
	b.sees("r2", 0, profile("2", "100", "200"))
	out := &sender{err: errors.New("planted")}
	if err := b.Accept(t.Context(), out, 1); !errors.Is(err, out.err) {
		t.Errorf("accepted without a stream: %v", err)
	}
	b.want("not sent, not accepted", Held, Held)
	out.err = nil
	if err := b.Accept(t.Context(), out, 1); err != nil {
		t.Fatal(err)
	}
	if err := b.Reject(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	b.want("decided", Accepted, Rejected)
	for err, want := range map[error]string{
		b.Accept(t.Context(), out, 1): "observation 1 is accepted already",
		b.Reject(t.Context(), 1):      "observation 1 is accepted already",
		b.Accept(t.Context(), out, 2): "observation 2 is rejected already",
		b.Reject(t.Context(), 99):     "there is no observation 99 in quarantine",
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if b.sees("r1", 0, low) {
		t.Error("the message of the accepted one passed as well")
	}
	if len(out.outs) != 1 {
		t.Fatalf("%d messages, want 1", len(out.outs))
	}
	c, err := event.UnmarshalCommit(out.outs[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	want := event.Commit{
		Task: social.TaskRef{ID: 17, Platform: social.Instagram}, Parts: 1, Final: &social.Final{Status: social.Failed},
		Raw: social.Raw{ID: "r1", Source: "graphapi", At: noon}, Parser: 4,
		Events: []event.Event{{ID: event.LogID("r1", low), Log: low}},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("commit (-want +got):\n%s", diff)
	}
	if want := event.Subject(event.Shard("1"), social.Instagram, event.KindCommit); out.outs[0].Subject != want {
		t.Errorf("subject %s, want %s", out.outs[0].Subject, want)
	}
}

func TestList(t *testing.T) {
	b := newBench(t)
	b.sees("r1", 0, profile("1", "100", "200"))
	b.sees("r2", 0, profile("2", "100", "20"))
	for _, c := range []struct {
		f     Filter
		limit int
		want  int
	}{
		{Filter{}, 0, 2}, {Filter{}, 1, 1}, {Filter{State: Held}, 0, 2}, {Filter{State: Rejected}, 0, 0},
		{Filter{Key: "2", Platform: "INSTAGRAM", Source: "graphapi"}, 0, 1}, {Filter{Source: "lama"}, 0, 0},
	} {
		got, err := b.List(t.Context(), c.f, c.limit)
		if err != nil || len(got) != c.want {
			t.Errorf("%+v: %d rows, %v; want %d", c.f, len(got), err, c.want)
		}
	}
}
