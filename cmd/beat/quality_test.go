package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"beat/processors/quarantine"
	"beat/providers"
	"beat/streams/bridge"
	"beat/streams/schedule"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// The what-if scenarios of contract/enrichment.md 9 that concern the quality of
// what is stored: W8.1, W8.4 and W8.5. The policy of W8.5 by itself is tested in
// processors/quarantine, that of W8.4 in processors/processing.

// A lens changes what parsers say, source by source.
type lens struct {
	mu     sync.Mutex
	change map[string]func(*social.Log) // by source
}

// through puts a lens before the parsers of profiles of these sources.
func (w *world) through(sources ...string) *lens {
	x := &lens{change: map[string]func(*social.Log){}}
	set := providerTable(func(source string) string { return w.deps.Endpoint[source] })
	for _, source := range sources {
		p := set[source]
		for _, fetch := range []social.Fetch{social.ProfileByHandle, social.ProfileByID} {
			if c, ok := p.Calls[fetch]; ok {
				c.Parse = x.parser(source, c.Parse)
				p.Calls[fetch] = c
			}
		}
		w.deps.more = append(w.deps.more, p)
	}
	return x
}

func (x *lens) parser(source string, parse providers.Parser) providers.Parser {
	return func(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
		b, err := parse(ask, at, body)
		x.mu.Lock()
		defer x.mu.Unlock()
		if change := x.change[source]; change != nil {
			for i := range b.Logs {
				change(&b.Logs[i])
			}
		}
		return b, err
	}
}

// set says what source says from now on; nil is the truth.
func (x *lens) set(source string, change func(*social.Log)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.change[source] = change
}

// counts has a profile say something else.
func counts(pairs ...string) func(*social.Log) {
	return func(l *social.Log) {
		if l.Kind != social.Profile {
			return
		}
		for _, p := range pairs {
			k, v, _ := strings.Cut(p, "=")
			l.Metrics.Set(k, json.RawMessage(v))
		}
	}
}

func (w *world) quarantined(args ...string) (rows []quarantine.Row) {
	w.t.Helper()
	out := w.command(0, append([]string{"quarantine", "list", "--json", "--state", "all"}, args...)...)
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return rows
}

// Each row has the audit row of the answer that it is from, of the same
// transaction, and that says what the row says; when it is new and when it is
// written again.
func TestW8_1EveryUpdateIsAuditedInItsTransaction(t *testing.T) {
	w := newWorld(t, localConfig{now: time.Now()}) // no post is new while it runs
	w.runAll()
	const n = 5
	for round := 1; round <= 2; round++ {
		for i := range n {
			w.outcome(w.basic(fmt.Sprintf("creator%05d", i)), social.Complete)
		}
		posts := w.int("SELECT count(*) FROM instagram_post")
		if posts < 10*n {
			t.Fatalf("%d posts", posts)
		}
		for _, c := range []struct {
			what, sql string
			want      int
		}{
			{"accounts", "SELECT count(*) FROM instagram_account", n},
			{"audit rows of accounts", "SELECT count(*) FROM profile_log WHERE platform = 'INSTAGRAM'", n * round},
			{"audit rows of posts", "SELECT count(*) FROM post_log WHERE platform = 'INSTAGRAM'", posts * round},
			{"accounts with an audit row of their transaction, answer, time and source", `
				SELECT count(*) FROM instagram_account a JOIN profile_log l ON l.profile_id = a.profile_id AND l.xmin = a.xmin
				WHERE l.raw_id = a.lineage #>> '{a,0,2}' AND l.timestamp = a.updated_at AND l.source = 'graphapi'
				AND l.event_id IS NOT NULL AND l.task_id IS NOT NULL AND l.parser > 0`, n},
			{"posts with one", `
				SELECT count(*) FROM instagram_post p JOIN post_log l ON l.platform_post_id = p.shortcode AND l.xmin = p.xmin
				WHERE l.raw_id = p.lineage #>> '{a,0,2}' AND l.timestamp = p.updated_at AND l.source = 'graphapi'
				AND l.profile_id = p.profile_id AND l.event_id IS NOT NULL`, posts},
			{"counts of accounts that their audit row has", `
				SELECT count(*) FROM instagram_account a JOIN profile_log l ON l.profile_id = a.profile_id AND l.xmin = a.xmin,
				jsonb_array_elements(l.metrics) m
				WHERE m = jsonb_build_object('key', 'followers', 'value', a.followers) OR m = jsonb_build_object('key', 'following', 'value', a.following)
				OR m = jsonb_build_object('key', 'media_count', 'value', a.media_count)`, 3 * n},
			{"texts of accounts that their audit row has", `
				SELECT count(*) FROM instagram_account a JOIN profile_log l ON l.profile_id = a.profile_id AND l.xmin = a.xmin,
				jsonb_array_elements(l.dimensions) d
				WHERE d = jsonb_build_object('key', 'bio', 'value', a.biography) OR d = jsonb_build_object('key', 'handle', 'value', a.handle)`, 2 * n},
			{"counts and captions of posts that their audit row has", `
				SELECT count(*) FROM instagram_post p JOIN post_log l ON l.platform_post_id = p.shortcode AND l.xmin = p.xmin,
				jsonb_array_elements(l.metrics || l.dimensions) m
				WHERE m = jsonb_build_object('key', 'likes', 'value', p.likes) OR m = jsonb_build_object('key', 'caption', 'value', p.caption)`, 2 * posts},
		} {
			if got := w.int(c.sql); got != c.want {
				t.Errorf("round %d, %s: got %d, want %d", round, c.what, got, c.want)
			}
		}
	}
}

// What is impossible changes nothing, is told to nobody, and is counted; the
// posts of the same answer and the end of the task are not lost with it.
func TestW8_4TheImpossibleIsRejected(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq, now: time.Now()})
	w.only("graphapi")
	x := w.through("graphapi")
	a := w.runAll()
	cases := []func(*social.Log){
		counts("followers=-2"), counts("following=-2"), counts("media_count=-9000"),
		counts(`followers="12k"`), counts("following=true"), counts("media_count=[7]"),
		func(l *social.Log) {
			if l.Kind == social.Profile {
				l.Key = ""
			}
		},
		func(l *social.Log) {
			if l.Kind == social.Profile {
				l.Handle = ""
			}
		},
	}
	const handle = "creator00001"
	w.outcome(w.basic(handle), social.Complete)
	row := func() string {
		return w.text("SELECT a::text FROM instagram_account a") + w.text("SELECT count(*)::text FROM profile_log")
	}
	before := row()
	posts := w.int("SELECT count(*) FROM instagram_post")
	for i, bad := range cases {
		x.set("graphapi", bad)
		w.outcome(w.basic(handle), social.Complete)
		if after := row(); after != before {
			t.Errorf("case %d: the row changed:\n%s\n%s", i, before, after)
		}
		if n := metric(t, a, "beat_observations_rejected_total", "profile"); n != float64(i+1) {
			t.Errorf("case %d: %v rejected profiles counted, want %d", i, n, i+1)
		}
		if n := w.int("SELECT count(*) FROM post_log"); n != (i+2)*posts {
			t.Errorf("case %d: %d observations of posts, want %d", i, n, (i+2)*posts)
		}
	}
	// Posts: a negative count is rejected, a hidden one is unknown.
	likes := func(v string) func(*social.Log) {
		return func(l *social.Log) {
			if l.Kind == social.Post {
				l.Metrics.Set("likes", json.RawMessage(v))
			}
		}
	}
	stored := w.text("SELECT string_agg(shortcode || likes, ' ' ORDER BY shortcode) FROM instagram_post")
	for _, v := range []string{"-2", "-1"} {
		x.set("graphapi", likes(v))
		w.outcome(w.basic(handle), social.Complete)
		if got := w.text("SELECT string_agg(shortcode || likes, ' ' ORDER BY shortcode) FROM instagram_post"); got != stored {
			t.Errorf("likes of %s: the posts have %s, want %s", v, got, stored)
		}
	}
	if n := metric(t, a, "beat_observations_rejected_total", "post"); n != float64(posts) {
		t.Errorf("%v rejected posts counted, want %d: hidden likes are not wrong", n, posts)
	}
	want := map[string]int{bridge.KeyTask: 3 * (len(cases) + 3), "profile_log_events": 3, "post_log_events": posts * (len(cases) + 2)}
	told := map[string]int{}
	hidden := 0
	w.until("all is told", func() bool {
		for _, d := range drain(t, rmq, everything) {
			told[d.RoutingKey]++
			var e struct {
				Metrics map[string]json.RawMessage `json:"metrics"`
				Handle  *string                    `json:"handle"`
			}
			if err := json.Unmarshal(d.Body, &e); err != nil {
				t.Fatalf("%v: %s", err, d.Body)
			}
			if d.RoutingKey == "profile_log_events" && (e.Handle == nil || *e.Handle == "") {
				t.Errorf("nobody is told of: %s", d.Body)
			}
			for k, v := range e.Metrics {
				if v[0] == '-' || v[0] == '"' || v[0] == 't' || v[0] == '[' {
					t.Errorf("%s of %s is told as %s", k, d.RoutingKey, v)
				}
				if k == "likes" && string(v) == "null" {
					hidden++
				}
			}
		}
		return told[bridge.KeyTask] >= want[bridge.KeyTask] && told["post_log_events"] >= want["post_log_events"]
	})
	for k, n := range want {
		if told[k] != n {
			t.Errorf("%d messages %s, want %d", told[k], k, n)
		}
	}
	if hidden != posts {
		t.Errorf("%d posts with hidden likes are told, want %d", hidden, posts)
	}
}

// A quality is a world with one profile that is stored, where nobody looks again
// until they are let.
type quality struct {
	*world
	*lens
	app       *app
	followers int
}

const watched = "creator00001"

func newQuality(t *testing.T, cfg localConfig) quality {
	t.Helper()
	w := newWorld(t, cfg)
	w.forCommands()
	q := quality{world: w, lens: w.through("graphapi", "rapidapi-arraybobo")}
	if err := w.queue.Pause(t.Context(), schedule.Pause{Name: "refresh_profile_basic", Kind: schedule.PauseFlow}); err != nil {
		t.Fatal(err)
	}
	q.app = w.runAll()
	w.outcome(w.refresh(watched), social.Complete)
	q.followers = w.int("SELECT followers FROM instagram_account")
	return q
}

// drop refreshes the profile while graphapi says that it has lost all but one
// part in so many of its followers, which is held.
func (q quality) drop(part int) quarantine.Row {
	q.t.Helper()
	before := q.text("SELECT a.followers || ' ' || a.updated_at FROM instagram_account a")
	posts := q.int("SELECT count(*) FROM post_log")
	q.set("graphapi", counts(fmt.Sprint("followers=", q.followers/part)))
	q.outcome(q.refresh(watched), social.Complete)
	rows := q.quarantined("--state", "held")
	if len(rows) != 1 {
		q.t.Fatalf("%d rows are held, want 1", len(rows))
	}
	if after := q.text("SELECT a.followers || ' ' || a.updated_at FROM instagram_account a"); after != before {
		q.t.Errorf("the account was %s and is %s", before, after)
	}
	if after := q.int("SELECT count(*) FROM post_log"); after < posts+12 {
		q.t.Errorf("%d observations of posts after %d: those of the answer are lost", after, posts)
	}
	if n := q.int("SELECT count(*) FROM profile_log WHERE raw_id = $1", rows[0].RawID); n != 0 {
		q.t.Errorf("%d audit rows of what is held", n)
	}
	return rows[0]
}

// lookAgain lets the task run that looks again.
func (q quality) lookAgain(r quarantine.Row) {
	q.t.Helper()
	if r.ConfirmTaskID == nil {
		q.t.Fatal("nobody was asked to look again")
	}
	if _, err := q.queue.Resume(q.t.Context(), "refresh_profile_basic"); err != nil {
		q.t.Fatal(err)
	}
	q.outcome(*r.ConfirmTaskID, social.Complete)
}

func (q quality) tellings() map[string]int {
	out := map[string]int{}
	for _, what := range []string{"drop", "rise", "confirmed", "replaced"} {
		out[what] = int(metric(q.t, q.app, "beat_quarantine_total", what))
	}
	return out
}

// The second scrape, of another provider, says so too: it is applied.
func TestW8_5ADropIsHeldUntilAnotherProviderConfirms(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	q := newQuality(t, localConfig{rmqURL: rmq})
	held := q.drop(10)
	if held.Source != "graphapi" || held.Key == "" || held.TaskID == 0 || held.State != quarantine.Held {
		t.Errorf("the row: %+v", held)
	}
	graph, other := q.calls("graphapi"), q.calls("rapidapi-arraybobo")
	q.set("rapidapi-arraybobo", counts(fmt.Sprint("followers=", q.followers/20)))
	q.lookAgain(held)
	if got := q.int("SELECT followers FROM instagram_account"); got != q.followers/20 {
		t.Errorf("%d followers, want the %d of the second scrape", got, q.followers/20)
	}
	if rows := q.quarantined(); len(rows) != 1 || rows[0].State != quarantine.Confirmed {
		t.Errorf("rows: %+v", rows)
	}
	if g, o := q.calls("graphapi")-graph, q.calls("rapidapi-arraybobo")-other; g != 0 || o != 1 {
		t.Errorf("graphapi was asked %d times and arraybobo %d times, want the other provider, once", g, o)
	}
	if got := q.tellings(); got["drop"] != 1 || got["confirmed"] != 1 || got["replaced"] != 0 {
		t.Errorf("counted %v", got)
	}
	// Told: the first scrape and the one that confirmed, not what was held.
	told := map[string]bool{}
	tasks := 0
	q.until("all is told", func() bool {
		for _, d := range drain(t, rmq, everything) {
			switch d.RoutingKey {
			case "profile_log_events":
				told[d.MessageId] = true
			case bridge.KeyTask:
				tasks++
			}
		}
		return tasks >= 9
	})
	if len(told) != 2 || told[held.EventID] {
		t.Errorf("told of profiles: %v; held was %s", told, held.EventID)
	}
}

// The second scrape says that all is well: what was held is forgotten.
func TestW8_5AMistakeIsNotApplied(t *testing.T) {
	q := newQuality(t, localConfig{})
	held := q.drop(50)
	q.lookAgain(held)
	if rows := q.quarantined(); len(rows) != 1 || rows[0].State != quarantine.Replaced {
		t.Errorf("rows: %+v", rows)
	}
	if got := q.int("SELECT followers FROM instagram_account"); got < q.followers {
		t.Errorf("%d followers, want %d", got, q.followers)
	}
	if n := q.int("SELECT count(*) FROM scrape_request_log WHERE flow = 'refresh_profile_basic'"); n != 1 {
		t.Errorf("%d tasks looked again, want 1", n)
	}
}

func TestW8_5OtherChangesAreApplied(t *testing.T) {
	q := newQuality(t, localConfig{})
	was := q.int("SELECT media_count FROM instagram_account")
	q.exec("UPDATE instagram_account SET followers = 1000")
	for _, c := range []struct {
		name            string
		followers, rise int
	}{
		{"89 %", 110, 0}, {"tenfold", 1100, 1}, {"to 99", 1099, 1}, {"to 900", 900, 1},
	} {
		q.set("graphapi", counts(fmt.Sprint("followers=", c.followers)))
		q.outcome(q.refresh(watched), social.Complete)
		if got := q.int("SELECT followers FROM instagram_account"); got != c.followers {
			t.Errorf("%s: %d followers, want %d", c.name, got, c.followers)
		}
		if got := q.tellings(); got["rise"] != c.rise || got["drop"] != 0 {
			t.Errorf("%s: counted %v, want %d rises", c.name, got, c.rise)
		}
	}
	// Posts are watched too, and both are in one row.
	q.set("graphapi", counts("followers=0", "media_count=0"))
	q.outcome(q.refresh(watched), social.Complete)
	rows := q.quarantined()
	if len(rows) != 1 || strings.Join(rows[0].Columns, " ") != "followers media_count" || rows[0].Stored[1] != int64(was) {
		t.Errorf("rows: %+v", rows)
	}
}

// A person decides, once.
func TestW8_5APersonDecides(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	q := newQuality(t, localConfig{rmqURL: rmq})
	held := q.drop(100)
	id := fmt.Sprint(held.ID)
	says := func(code int, text string, args ...string) {
		t.Helper()
		if out := q.command(code, append([]string{"quarantine"}, args...)...); !strings.Contains(out, text) {
			t.Errorf("beat quarantine %s says %s, want %q in it", strings.Join(args, " "), out, text)
		}
	}
	says(0, fmt.Sprintf("followers from %d to %d", q.followers, q.followers/100), "list")
	says(0, "nothing in quarantine", "list", "--source", "lama")
	says(0, "nothing in quarantine", "list", "--platform", "youtube")
	says(0, held.EventID, "list", "--json", "--platform", "instagram", "--key", held.Key, "--source", "graphapi")
	says(2, "--state", "list", "--state", "lost")
	says(0, `"handle": "`+watched+`"`, "show", id)
	says(1, "there is no observation 4711 in quarantine", "show", "4711")
	says(0, "would be rejected; dry run, nothing is changed", "reject", id, "--dry-run")
	says(1, "there is no observation 4711 in quarantine", "accept", "4711", "--dry-run")
	says(0, "would be accepted", "accept", id, "--dry-run")
	says(0, "is rejected", "reject", id)
	says(1, "observation "+id+" is rejected already", "accept", id)

	task := q.int("SELECT max(id) FROM scrape_request_log WHERE flow = 'refresh_profile_by_handle'")
	held = q.drop(100)
	id = fmt.Sprint(held.ID)
	if held.TaskID <= int64(task) {
		t.Errorf("the row is of task %d", held.TaskID)
	}
	says(1, "1 of 2 observations were left as they are", "accept", id, "4711")
	q.until("it is applied", func() bool {
		return q.int("SELECT followers FROM instagram_account") == q.followers/100
	})
	if n := q.int("SELECT count(*) FROM profile_log WHERE event_id = $1 AND raw_id = $2 AND task_id = $3", held.EventID, held.RawID, held.TaskID); n != 1 {
		t.Errorf("%d audit rows, want 1", n)
	}
	says(1, "observation "+id+" is accepted already", "accept", id)
	says(1, "observation "+id+" is accepted already", "reject", id)
	told := 0
	q.until("it is told", func() bool {
		for _, d := range drain(t, rmq, everything) {
			if d.MessageId == held.EventID {
				told++
			}
		}
		return told > 0
	})
	if n := q.int("SELECT count(*) FROM scrape_request_log WHERE id = $1 AND status = 'COMPLETE'", held.TaskID) + q.int("SELECT count(*) FROM task_progress"); n != 1 {
		t.Error("accepting it has changed its task, or left a run in progress")
	}
}
