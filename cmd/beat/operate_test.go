package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/providers/ratelimit"
	"beat/providers/sandbox"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

// forCommands puts the world's servers into the environment, where an operator
// has them.
func (w *world) forCommands() {
	w.t.Setenv("PG_URL", w.deps.PGURL)
	w.t.Setenv("NATS_URL", w.deps.NATSURL)
	w.t.Setenv("REDIS_URL", w.deps.RedisURL)
	w.t.Setenv("RMQ_URL", w.deps.RMQURL)
	pairs := func(m map[string]string) string {
		var out []string
		for k, v := range m {
			out = append(out, k+"="+v)
		}
		return strings.Join(out, ";")
	}
	w.t.Setenv("BEAT_ENDPOINTS", pairs(w.deps.Endpoint))
	w.t.Setenv("BEAT_LIMITS", pairs(w.deps.Limit))
}

// command runs beat and wants an exit code. It returns what was printed.
func (w *world) command(code int, args ...string) string {
	w.t.Helper()
	var out bytes.Buffer
	if got := run(w.t.Context(), args, &out, &out); got != code {
		w.t.Errorf("beat %s: exit code %d, want %d:\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

// whyOf is what beat tasks why says, as text and as JSON.
func (w *world) whyOf(id int64) (y why, text string) {
	w.t.Helper()
	asJSON := w.command(0, "tasks", "why", fmt.Sprint(id), "--json")
	if err := json.Unmarshal([]byte(asJSON), &y); err != nil {
		w.t.Fatalf("%v: %s", err, asJSON)
	}
	return y, w.command(0, "tasks", "why", fmt.Sprint(id))
}

// listens is a connection that Postgres takes for a scheduler.
func (w *world) listens() {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.deps.PGURL)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(w.t.Context(), "LISTEN beat_task"); err != nil {
		w.t.Fatal(err)
	}
}

// near reports whether a time is d from now, give or take half a minute.
func near(at time.Time, d time.Duration) bool { return (time.Until(at) - d).Abs() < 30*time.Second }

// Issue 3, 7: why names what a waiting task waits for, and when it will run.
func TestWhyATaskWaits(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.deps.Limit["rapidapi-arraybobo"] = "2/3600"
	a, stop := w.runRoles() // for its streams
	defer stop()
	w.forCommands()
	const flowName = "refresh_post_by_shortcode" // one step, of arraybobo
	id := w.put(flowName, map[string]string{"shortcode": "CAAAAAAAAAB"})
	spec := ratelimit.Spec{Name: "rapidapi-arraybobo", Requests: 2, Seconds: 3600, Sliding: true}

	if y, text := w.whyOf(id); y.Waits != wantScheduler || !strings.Contains(text, "No scheduler is connected to Postgres") || !strings.Contains(text, "expected   not known") {
		t.Errorf("without a scheduler: %+v\n%s", y, text)
	}
	w.listens()
	pause := func(p schedule.Pause) func() {
		return func() {
			if err := w.queue.Pause(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	resume := func(name string) func() {
		return func() { w.command(0, "resume", name) }
	}
	sql := func(text string, args ...any) func() { return func() { w.exec(text, args...) } }
	for _, c := range []struct {
		name        string
		begin, end  func()
		waits       string
		says        []string
		in          time.Duration // expected; -1 not known
		ahead       int
		nats, redis string // instead of the world's
	}{
		{name: "nothing", says: []string{"next to be claimed"}},
		{name: "its limit", waits: "limit:rapidapi-arraybobo", in: time.Hour,
			begin: func() {
				for range 2 {
					if taken, err := a.limiter.Take(t.Context(), spec); err != nil || !taken.OK {
						t.Fatal(taken, err)
					}
				}
			},
			says: []string{"rate limit rapidapi-arraybobo is used up", "beat limits show rapidapi-arraybobo", "UTC, in "}},
		{name: "its limit, behind others", waits: "limit:rapidapi-arraybobo", in: 3 * time.Hour, ahead: 4,
			begin: sql(`INSERT INTO scrape_request_log (flow, platform, params, status, priority, created_at)
				SELECT $1, 'INSTAGRAM', '{}', 'PENDING', 9, now() AT TIME ZONE 'UTC' FROM generate_series(1, 4)`, flowName),
			end: func() {
				w.exec("DELETE FROM scrape_request_log WHERE priority = 9")
				if err := a.limiter.Reset(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"before it  4 tasks"}},
		{name: "its credentials", waits: "credential:rapidapi-arraybobo", in: 40 * time.Minute,
			begin: sql("UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' + interval '40 minutes', reason = 'limited' WHERE source = 'rapidapi-arraybobo'"),
			says:  []string{"credential", "rests", "rapidapi-arraybobo", "beat credentials list"}},
		{name: "its source, which is down", waits: "down:rapidapi-arraybobo", in: 0,
			begin: sql("UPDATE credential SET reason = 'provider_down', downs = 1 WHERE source = 'rapidapi-arraybobo'"),
			end:   sql("UPDATE credential SET disabled_till = NULL, reason = NULL, downs = 0"),
			says:  []string{"rapidapi-arraybobo does not answer", "every few seconds"}},
		{name: "a paused flow", waits: "pause:" + flowName, in: -1,
			begin: pause(schedule.Pause{Name: flowName, Kind: schedule.PauseFlow, Reason: new("the price went up")}), end: resume(flowName),
			says: []string{"flow " + flowName + " has been paused since", "the price went up", "beat resume " + flowName, "not known"}},
		{name: "a paused source", waits: "pause:rapidapi-arraybobo", in: 2 * time.Hour,
			begin: pause(schedule.Pause{Name: "rapidapi-arraybobo", Kind: schedule.PauseSource, Until: new(time.Now().UTC().Add(2 * time.Hour))}), end: resume("rapidapi-arraybobo"),
			says: []string{"source rapidapi-arraybobo has been paused since"}},
		{name: "no credential at all", in: -1,
			begin: sql("UPDATE credential SET enabled = false"), end: sql("UPDATE credential SET enabled = true"),
			says: []string{"will fail", "beat credentials list"}},
		{name: "places", waits: wantPlaces, in: -1,
			begin: sql(`INSERT INTO scrape_request_log (flow, platform, params, status, priority)
				SELECT $1, 'INSTAGRAM', '{}', 'PROCESSING', 9 FROM generate_series(1, 10)`, flowName),
			says: []string{"All 10 places of the flow"}},
		{name: "places, at a pace", waits: wantPlaces, in: time.Minute,
			begin: sql(`INSERT INTO scrape_request_log (flow, platform, params, status, priority, scraped_at)
				SELECT $1, 'INSTAGRAM', '{}', 'COMPLETE', 9, now() AT TIME ZONE 'UTC' - i * interval '1 minute' FROM generate_series(1, 5) AS i`, flowName),
			end:  sql("DELETE FROM scrape_request_log WHERE priority = 9"),
			says: []string{"All 10 places of the flow", "UTC, in "}},
		{name: "those before it", in: -1, ahead: 3,
			begin: sql(`INSERT INTO scrape_request_log (flow, platform, params, status, priority, created_at)
				SELECT $1, 'INSTAGRAM', '{}', 'PENDING', 9, now() AT TIME ZONE 'UTC' FROM generate_series(1, 3)`, flowName),
			end:  sql("DELETE FROM scrape_request_log WHERE priority = 9"),
			says: []string{"the 3 tasks before it"}},
		{name: "a time", in: 6 * time.Hour,
			begin: sql("UPDATE scrape_request_log SET run_at = now() AT TIME ZONE 'UTC' + interval '6 hours' WHERE id = $1", id),
			says:  []string{"not before"}},
		{name: "a time that is over", begin: sql("UPDATE scrape_request_log SET run_at = now() AT TIME ZONE 'UTC' - interval '1 second' WHERE id = $1", id),
			says: []string{"next to be claimed"}},
		{name: "what it was put back for", waits: "credential:lama", in: 10 * time.Minute,
			begin: sql(`UPDATE scrape_request_log SET run_at = now() AT TIME ZONE 'UTC' + interval '10 minutes', waits_for = 'credential:lama',
				resume = '{"fetch":"fetch_reels_posts","keys":["4000000001"],"page":2,"attempts":[{"source":"rocketapi","verdict":"gone","status":404,"reason":"x"}]}' WHERE id = $1`, id),
			end:  sql("UPDATE scrape_request_log SET run_at = NULL, waits_for = NULL, resume = NULL WHERE id = $1", id),
			says: []string{"lama", "put back in the middle of its run", "fetch_reels_posts of 4000000001, page 3", "tried      rocketapi: gone, status 404, x"}},
		{name: "an unknown flow", in: -1,
			begin: sql("UPDATE scrape_request_log SET flow = 'refresh_everything' WHERE id = $1", id), end: sql("UPDATE scrape_request_log SET flow = $2 WHERE id = $1", id, flowName),
			says: []string{`called "refresh_everything"`, "beat flows list"}},
		{name: "NATS", nats: "nats://127.0.0.1:1", waits: wantNATS, in: -1, says: []string{"NATS does not answer"}},
		{name: "Redis", redis: "redis://127.0.0.1:1/0", waits: wantRedis, in: -1, says: []string{"Redis", "does not answer"}},
		{name: "the backlog", waits: wantBacklog, in: -1,
			begin: func() {
				outs := make([]bus.Out, schedule.MaxBacklog+1)
				for i := range outs {
					outs[i] = bus.Out{Subject: "beat.raw.instagram.graphapi.fetch_profile_by_handle", Data: []byte("{}")}
				}
				w.plant(a, outs...)
			},
			says: []string{"2001 messages wait to be parsed and processed", "beat run parsing processing"}},
	} {
		if c.begin != nil {
			c.begin()
		}
		if c.nats != "" {
			t.Setenv("NATS_URL", c.nats)
		}
		if c.redis != "" {
			t.Setenv("REDIS_URL", c.redis)
		}
		y, text := w.whyOf(id)
		w.forCommands()
		if c.end != nil {
			c.end()
		}
		if y.Waits != c.waits || y.Status != social.Pending || y.Ahead != nil && *y.Ahead != c.ahead {
			t.Errorf("%s: it waits for %q with %v before it, want %q and %d", c.name, y.Waits, y.Ahead, c.waits, c.ahead)
		}
		if c.in < 0 != y.Expected.IsZero() || c.in >= 0 && !near(y.Expected, c.in) {
			t.Errorf("%s: expected %v, want in %v", c.name, y.Expected, c.in)
		}
		for _, s := range append(c.says, fmt.Sprintf("task %d  ", id)) {
			if !strings.Contains(text, s) {
				t.Errorf("%s: want %q in\n%s", c.name, s, text)
			}
		}
		t.Logf("%s:\n%s", c.name, text)
	}
	for status, says := range map[string]string{
		social.Complete: "It is complete.", social.Failed: "It has failed: (404, 'gone')", "HELD": `"HELD" is none that beat knows`,
	} {
		w.exec("UPDATE scrape_request_log SET status = $2, data = '(404, ''gone'')' WHERE id = $1", id, status)
		if y, text := w.whyOf(id); y.Status != status || !strings.Contains(text, says) || strings.Contains(text, "expected") {
			t.Errorf("%s: %+v\n%s", status, y, text)
		}
	}
	if text := w.command(1, "tasks", "why", "4711"); !strings.Contains(text, "task 4711: there is no such task") {
		t.Errorf("no such task: %s", text)
	}
	w.command(2, "tasks", "why", "first")
}

// Where a running task is: with a provider, in a wait, or in the streams.
func TestWhyATaskRuns(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.only("rapidapi-arraybobo")
	w.deps.Limit["rapidapi-arraybobo"] = "1/40"
	w.forCommands()
	var stops []func()
	begin := func(role string) {
		_, stop := w.runRoles(role)
		stops = append(stops, stop)
	}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	begin("scheduler")
	id := w.refresh("creator00001")
	says := func(stage string, wants ...string) (y why) {
		t.Helper()
		var text string
		w.until(fmt.Sprintf("why names %s and says %q", stage, wants), func() bool {
			y, text = w.whyOf(id)
			for _, s := range wants {
				if !strings.Contains(text, s) {
					return false
				}
			}
			return y.Stage == stage
		})
		t.Logf("%s", text)
		return y
	}
	says("retrieval", "fetch_profile_by_handle of creator00001 is asked now, or next", "no process asks for this flow (beat run retrieval)")
	slow := w.box.Inject(sandbox.Fault{Kind: "slow", Delay: 3 * time.Second, Count: 1})
	begin("retrieval")
	w.until("the call", func() bool { return w.box.Hits(slow) == 1 })
	if y, text := w.whyOf(id); y.Stage != "retrieval" || strings.Contains(text, "no process") {
		t.Errorf("in a call: %s", text)
	}
	says("parsing", "1 message waits to be parsed, and no process does that (beat run parsing)", "it begins again after")
	begin("parsing")
	y := says("retrieval", "fetch_profile_posts_by_id of", "rate limit rapidapi-arraybobo is used up")
	if y.Waits != "limit:rapidapi-arraybobo" || !near(y.Expected, 30*time.Second) {
		t.Errorf("in a wait: %+v", y)
	}
	if err := w.reset("rapidapi-arraybobo", 1, 40); err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE scrape_request_log SET lease_owner = 'cancelled' WHERE id = $1", id)
	says("projections", "It is cancelled, and FAILED as soon as the projections")
}

func (w *world) reset(name string, requests, seconds int) error {
	a, stop := w.runRoles()
	defer stop()
	return a.limiter.Reset(w.t.Context(), ratelimit.Spec{Name: name, Requests: requests, Seconds: seconds, Sliding: true})
}

// While it is being found out whether all sources are down, why says so; and
// what has run is told over HTTP as by the command.
func TestWhyOverHTTPAndInAnOutage(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	a := w.runAll()
	root := "http://" + <-a.addr
	w.box.Inject(sandbox.Fault{Kind: "503"})
	id := w.basic("creator00001")
	w.until("the hold", func() bool {
		y, text := w.whyOf(id)
		return y.Waits == social.WaitOutage+":"+string(social.ProfileByHandle) && len(y.Attempts) == 2 && near(y.Expected, 0) &&
			strings.Contains(text, "tried      graphapi: upstream, status 503")
	})
	w.outcome(id, social.Failed)
	for path, want := range map[string]string{
		fmt.Sprintf("/tasks/%d/why", id): `200 {"id":` + fmt.Sprint(id) + `,"flow":"refresh_profile_basic","status":"FAILED","says":"It has failed: (503, 'Something went wrong')`,
		"/tasks/4711/why":                `404 {"detail":"Not Found"}`,
		"/tasks/x/why":                   `422 {"detail":[{"loc":["path","id"]`,
	} {
		if got := body(t, root+path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// body is the status and body of an answer.
func body(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, " ", string(b))
}

// taskEvents are the events about a task in EVENTS, in order; of all tasks for 0.
func (w *world) taskEvents(id int64) (out []event.Task) {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := js.Stream(w.t.Context(), bus.Events)
	if err != nil {
		w.t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; seq++ {
		m, err := s.GetMsg(w.t.Context(), seq)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, kind, err := event.ParseSubject(m.Subject); err != nil || kind != event.KindTask {
			continue
		}
		data, err := bus.Unpack(m.Header, m.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		var e event.Task
		if err := json.Unmarshal(data, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.ID == id || id == 0 {
			out = append(out, e)
		}
	}
	return out
}

// told asserts that the statuses of a task were told, each event once.
func (w *world) told(id int64, want ...string) {
	w.t.Helper()
	var got []string
	w.until(fmt.Sprintf("events %v", want), func() bool {
		got = nil
		ids := map[string]bool{}
		for _, e := range w.taskEvents(id) {
			if ids[e.EventID] {
				w.t.Fatalf("event %s of task %d twice", e.EventID, id)
			}
			ids[e.EventID] = true
			got = append(got, e.Status)
		}
		return len(got) >= len(want)
	})
	if strings.Join(got, " ") != strings.Join(want, " ") {
		w.t.Errorf("events of task %d: got %v, want %v", id, got, want)
	}
}

// settled waits until nothing is on its way in the streams.
func (w *world) settled(a *app) {
	w.t.Helper()
	w.until("empty streams", func() bool {
		for _, c := range consumers(nil) {
			cons, err := a.js.Consumer(w.t.Context(), c.Stream, c.Durable)
			if err != nil || cons.CachedInfo().NumPending+uint64(cons.CachedInfo().NumAckPending) > 0 {
				return false
			}
		}
		s, err := a.js.Stream(w.t.Context(), bus.Tasks)
		if err != nil || s.CachedInfo().State.Msgs > 0 {
			return false
		}
		since, err := a.unwritten(w.t.Context())
		return err == nil && since.IsZero()
	})
}

func TestCancel(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	a := w.runAll()
	w.outcome(w.refresh("creator00009"), social.Complete)

	// In the middle of a slow call, whose answer and what follows come later.
	slow := w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 1500 * time.Millisecond, Count: 1})
	running := w.refresh("creator00001")
	w.until("the call", func() bool { return w.box.Hits(slow) == 1 })
	if got, want := w.command(0, "tasks", "cancel", fmt.Sprint(running)), fmt.Sprintf("task %d is cancelled\n", running); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if data := w.outcome(running, social.Failed); data != schedule.Cancelled {
		t.Errorf("data is %q, want %q", data, schedule.Cancelled)
	}
	row := w.text("SELECT t::text FROM scrape_request_log t WHERE id = $1", running)
	w.until("the late answer", func() bool { return w.int("SELECT count(*) FROM instagram_account WHERE handle = 'creator00001'") == 1 })
	w.settled(a)
	if got := w.text("SELECT t::text FROM scrape_request_log t WHERE id = $1", running); got != row {
		t.Errorf("a late answer changed the task:\n%s\n%s", row, got)
	}
	w.told(running, social.Pending, social.Processing, social.Failed)

	// Waiting, one that has ended and one that does not exist, in one go.
	w.command(0, "pause", "refresh_profile_by_handle")
	w.until("the pause", func() bool { _, ok := a.pauses.Of("refresh_profile_by_handle"); return ok })
	waiting := w.refresh("creator00002")
	w.told(waiting, social.Pending)
	text := w.command(1, "tasks", "cancel", fmt.Sprint(running), "4711", fmt.Sprint(waiting))
	for _, s := range []string{
		fmt.Sprintf("task %d is FAILED: the task has ended", running), "task 4711: there is no such task",
		fmt.Sprintf("task %d is cancelled", waiting), "2 of 3 tasks were left as they are",
	} {
		if !strings.Contains(text, s) {
			t.Errorf("want %q in\n%s", s, text)
		}
	}
	if data := w.outcome(waiting, social.Failed); data != schedule.Cancelled {
		t.Errorf("data is %q, want %q", data, schedule.Cancelled)
	}
	w.told(waiting, social.Pending, social.Failed)
	if text := w.command(1, "tasks", "cancel", "4711", "--json"); !strings.Contains(text, `[{"id":4711,"ok":false,"error":"task 4711: there is no such task"}]`) {
		t.Errorf("as JSON: %s", text)
	}
	w.command(2, "tasks", "cancel")
	w.command(2, "tasks", "cancel", "x")
	if got := w.int("SELECT count(*) FROM scrape_request_log WHERE status NOT IN ('COMPLETE', 'FAILED')"); got != 0 {
		t.Errorf("%d tasks are left over", got)
	}
}

func TestRetry(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	a := w.runAll()

	// A running one begins again, and what its first run still gets is of no run.
	slow := w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 1500 * time.Millisecond, Count: 1})
	running := w.refresh("creator00001")
	w.until("the call", func() bool { return w.box.Hits(slow) == 1 })
	fence := w.int("SELECT fence::int FROM scrape_request_log WHERE id = $1", running)
	if got, want := w.command(0, "tasks", "retry", fmt.Sprint(running)), fmt.Sprintf("task %d waits again\n", running); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	w.outcome(running, social.Complete)
	if got := w.int("SELECT fence::int FROM scrape_request_log WHERE id = $1 AND retry_count = 1", running); got <= fence {
		t.Errorf("fence %d after %d", got, fence)
	}
	w.until("the late answer", func() bool { return w.calls("graphapi") == 2 })
	w.settled(a)
	w.told(running, social.Pending, social.Processing, social.Processing, social.Complete)
	ids := map[string]bool{}
	for _, m := range w.toTell() {
		if ids[m.id] {
			t.Errorf("event %s is told twice", m.id)
		}
		ids[m.id] = true
	}

	// A failed one, one that is complete, and one that does not exist.
	gone := w.refresh("missing.one")
	w.outcome(gone, social.Failed)
	text := w.command(1, "tasks", "retry", fmt.Sprint(running), "4711", fmt.Sprint(gone), "--json")
	for _, s := range []string{
		fmt.Sprintf(`{"id":%d,"ok":false,"error":"task %d is COMPLETE: the task has ended"}`, running, running),
		`{"id":4711,"ok":false,"error":"task 4711: there is no such task"}`, fmt.Sprintf(`{"id":%d,"ok":true}`, gone), "2 of 3 tasks",
	} {
		if !strings.Contains(text, s) {
			t.Errorf("want %q in\n%s", s, text)
		}
	}
	w.told(gone, social.Pending, social.Processing, social.Failed, social.Processing, social.Failed)
	w.command(0, "tasks", "retry", "--complete", fmt.Sprint(running))
	w.told(running, social.Pending, social.Processing, social.Processing, social.Complete, social.Processing, social.Complete)
	w.outcome(running, social.Complete)

	// One that waits begins from its first step, and is not doubled.
	w.command(0, "pause", "refresh_profile_by_handle")
	w.until("the pause", func() bool { _, ok := a.pauses.Of("refresh_profile_by_handle"); return ok })
	waiting := w.refresh("creator00003")
	w.exec(`UPDATE scrape_request_log SET run_at = 'infinity', waits_for = 'credential:x', resume = '{"fetch":"fetch_reels_posts"}', fence = 1 WHERE id = $1`, waiting)
	w.command(0, "tasks", "retry", fmt.Sprint(waiting))
	w.command(0, "resume", "refresh_profile_by_handle")
	w.outcome(waiting, social.Complete)
	w.told(waiting, social.Pending, social.Processing, social.Complete)
	w.command(2, "tasks", "retry")
}

func TestPause(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	a, stop := w.runRoles(roles...)
	const name = "refresh_profile_by_handle"
	if got := w.command(0, "pause"); got != "nothing is paused\n" {
		t.Errorf("listing: %q", got)
	}

	// A paused flow is not claimed; what runs goes on to its end.
	slow := w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 4 * time.Second, Count: 1})
	running := w.refresh("creator00001")
	w.until("the call", func() bool { return w.box.Hits(slow) == 1 })
	if text := w.command(0, "pause", name, "--reason", "the price went up"); !strings.Contains(text, "the price went up") || !strings.Contains(text, "resumed") {
		t.Errorf("it says\n%s", text)
	}
	w.within(3*time.Second, "the pause", func() bool { _, ok := a.pauses.Of(name); return ok })
	waiting := w.refresh("creator00002")
	w.outcome(running, social.Complete)
	w.outcome(w.basic("creator00003"), social.Complete) // other flows go on
	stop()
	a, stop = w.runRoles(roles...) // a pause outlives the processes
	defer func() { stop() }()
	w.outcome(w.basic("creator00004"), social.Complete)
	if got := w.text("SELECT status FROM scrape_request_log WHERE id = $1", waiting); got != social.Pending {
		t.Errorf("the task of the paused flow is %s", got)
	}
	w.told(waiting, social.Pending)
	if got, want := w.command(0, "resume", name), name+" goes on\n"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	w.outcome(waiting, social.Complete)

	// A paused source is not asked, the next one is.
	w.command(0, "pause", "graphapi", "--for", "1h")
	w.within(3*time.Second, "the pause", func() bool { _, ok := a.pauses.Of("graphapi"); return ok })
	graph, bobo := w.calls("graphapi"), w.calls("rapidapi-arraybobo")
	w.outcome(w.basic("creator00005"), social.Complete)
	if w.calls("graphapi") != graph || w.calls("rapidapi-arraybobo") != bobo+1 {
		t.Errorf("%d calls of the paused source and %d of the next, want 0 and 1", w.calls("graphapi")-graph, w.calls("rapidapi-arraybobo")-bobo)
	}
	var list []schedule.Pause
	if err := json.Unmarshal([]byte(w.command(0, "pause", "--json")), &list); err != nil || len(list) != 1 || list[0].Kind != schedule.PauseSource ||
		list[0].Name != "graphapi" || list[0].Until == nil || !near(*list[0].Until, time.Hour) {
		t.Errorf("listing: %+v, %v", list, err)
	}

	// Both sources of a question paused, its task waits, and the end of a pause
	// needs nobody.
	w.command(0, "pause", "rapidapi-arraybobo", "--for", "4s")
	w.within(3*time.Second, "the pause", func() bool { _, ok := a.pauses.Of("rapidapi-arraybobo"); return ok })
	id := w.basic("creator00006")
	w.outcome(id, social.Complete)
	if n := w.int("SELECT count(*) FROM scrape_request_log t WHERE id = $1 AND picked_at - created_at > interval '500 milliseconds'", id); n != 1 {
		t.Error("the task ran in spite of the pause")
	}
	if got := w.calls("graphapi"); got != graph {
		t.Errorf("%d calls of the source that is still paused", got-graph)
	}
	w.command(0, "resume", "graphapi")
	w.within(3*time.Second, "the end of the pause", func() bool { _, ok := a.pauses.Of("graphapi"); return !ok })

	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{2, []string{"pause", "grapapi"}, `"grapapi" is neither a flow (refresh_profile_by_handle`},
		{2, []string{"pause", name, "--for=-1m"}, "--for must not be negative"},
		{2, []string{"pause", "--for", "1m"}, "what is to be paused?"},
		{2, []string{"resume", "grapapi"}, `"grapapi" is neither a flow`},
		{2, []string{"resume"}, "expected"},
		{0, []string{"resume", "graphapi"}, "graphapi was not paused"},
		{0, []string{"resume", "graphapi", "--json"}, `{"name":"graphapi","was_paused":false}`},
		{0, []string{"pause", "--json"}, "[]"},
	} {
		if got := w.command(c.code, c.args...); !strings.Contains(got, c.says) {
			t.Errorf("beat %s: want %q in\n%s", strings.Join(c.args, " "), c.says, got)
		}
	}
}

// within is until with a bound that is promised.
func (w *world) within(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	began := time.Now()
	w.until(what, ok)
	if took := time.Since(began); took > d {
		w.t.Errorf("%s took %v, want at most %v", what, took, d)
	}
}

// The doctor names every row that cannot be used, the alarm and the pauses, and
// says what to do.
func TestDoctorOfCredentialsAndPauses(t *testing.T) {
	w := newWorld(t, localConfig{})
	_, stop := w.runRoles()
	defer stop()
	w.forCommands()
	has := func(code int, wants ...string) {
		t.Helper()
		text := w.command(code, "doctor")
		for _, s := range wants {
			if !strings.Contains(text, s) {
				t.Errorf("want %q in\n%s", s, text)
			}
		}
	}
	has(0, "ok    credential   graphapi: 1 ready, 0 resting", "ok    credential   ytapitoken: 1 ready")
	w.command(0, "pause", "refresh_yt_profiles", "--reason", "quota")
	w.command(0, "pause", "graphapi", "--for", "1h")
	has(0, "warn  pause        flow refresh_yt_profiles has been paused since 20", ", quota: beat resume refresh_yt_profiles",
		"warn  pause        source graphapi has been paused since 20", " until 20", "beat resume graphapi")
	w.exec(`UPDATE credential SET credentials = '{"token":"x"}' WHERE source = 'graphapi'`)
	w.exec("UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' + interval '1 hour' WHERE source = 'rapidapi-arraybobo'")
	w.exec("DELETE FROM credential WHERE source = 'ytapitoken'")
	has(1, `FAIL  credential   credential 1 of graphapi: field "user_id" is missing`, "graphapi: none of its 1 credentials can be used", "beat credentials add graphapi",
		"FAIL  credential   rapidapi-arraybobo: all of its 1 credentials rest, the first until 20",
		"warn  credential   ytapitoken has no credential and is not asked: beat credentials add ytapitoken",
		"FAIL  credential   INSTAGRAM: more than half of the credentials rest or are out of use", "checks failed")
	var checks []check
	text := w.command(1, "doctor", "--json")
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&checks); err != nil || len(checks) < 8 {
		t.Errorf("as JSON: %v\n%s", err, text)
	}
	t.Setenv("BEAT_CREDENTIAL_KEY", "bm90IDMyIGJ5dGVz")
	has(1, "BEAT_CREDENTIAL_KEY has 12 bytes: want 32")
}
