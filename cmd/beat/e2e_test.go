package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/migrations"
	"beat/migrations/pgtest"
	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bridge/amqpcheck"
	"beat/streams/schedule"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// TestMain lets the test binary stand in for beat, so that the tests can run
// roles as processes of their own and kill them.
func TestMain(m *testing.M) {
	if os.Getenv("BEAT_TEST_CHILD") == "1" {
		main()
		return
	}
	if store := os.Getenv("BEAT_TEST_STORE"); store != "" {
		serveStore(store)
	}
	os.Exit(m.Run())
}

// A world is a private set of servers for one test.
type world struct {
	*local
	t     *testing.T
	db    *pgxpool.Pool
	queue *schedule.Queue
}

// newDatabase makes an empty database on the suite's server.
func newDatabase(t *testing.T) string {
	t.Helper()
	return pgtest.Empty(t, servertest.Postgres(t))
}

func newWorld(t *testing.T, cfg localConfig) *world {
	t.Helper()
	if cfg.pgURL == "" {
		cfg.pgURL = pgtest.URL(t, servertest.Postgres(t))
	}
	l, err := startLocal(t.Context(), slog.New(slog.DiscardHandler), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Stop)
	if _, err := migrations.Up(t.Context(), cfg.pgURL); err != nil {
		t.Fatal(err)
	}
	db, err := openPG(t.Context(), cfg.pgURL, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if cfg.sources == nil {
		cfg.sources = sandbox.Sources
	}
	if err := sandboxCredentials(t.Context(), db, cfg.sources); err != nil {
		t.Fatal(err)
	}
	l.deps.unlimited = true
	for s := range l.deps.Endpoint {
		l.deps.Limit[s] = "0/1"
	}
	return &world{local: l, t: t, db: db, queue: schedule.NewQueue(db, 0)}
}

// pipeline is all roles but the listeners: what beat tells itself over RabbitMQ is
// left to the tests.
var pipeline = slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == "listeners" })

// runAll runs the pipeline within this process until the test ends.
func (w *world) runAll() *app {
	w.t.Helper()
	a, stop := w.runRoles(pipeline...)
	w.t.Cleanup(stop)
	return a
}

// runRoles runs roles within this process, on a connection of their own, until
// stop.
func (w *world) runRoles(names ...string) (a *app, stop func()) {
	w.t.Helper()
	nc, err := w.nats.Connect()
	if err != nil {
		w.t.Fatal(err)
	}
	a, err = newApp(w.t.Context(), slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), w.deps, nc)
	if err != nil {
		w.t.Fatal(err)
	}
	end := w.serve(a, names...)
	return a, func() { end(); nc.Close() }
}

// serve runs roles of a until stop.
func (w *world) serve(a *app, names ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, names) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("roles ended with %v", err)
		}
		a.Close()
	}
}

// A syncBuffer may be written and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (w *world) enqueue(n int) {
	w.t.Helper()
	rs := make([]schedule.Request, n)
	for i := range rs {
		rs[i] = schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram,
			Params: json.RawMessage(fmt.Sprintf(`{"handle":"creator%05d"}`, i+1))}
	}
	if err := w.queue.EnqueueAll(w.t.Context(), rs); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) int(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.db.QueryRow(w.t.Context(), sql, args...).Scan(&n); err != nil {
		n = -1 // the server may be on its way
	}
	return n
}

// patience is how long anything may take on a slow machine under load.
const patience = 2 * time.Minute

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	w.upTo(patience, what, ok)
}

// upTo is until for what takes longer.
func (w *world) upTo(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(d); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			rows, _ := w.db.Query(w.t.Context(), "SELECT status, count(*)::int, min(data) FROM scrape_request_log GROUP BY 1") //nolint:errcheck // for the message
			state, _ := pgx.CollectRows(rows, pgx.RowToMap)                                                                    //nolint:errcheck // likewise
			w.t.Fatalf("%s did not happen; tasks: %v", what, state)
		}
	}
}

func (w *world) complete() int {
	return w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'COMPLETE'")
}

// check asserts what n full refreshes of fresh profiles leave behind.
func (w *world) check(n int) {
	w.t.Helper()
	for _, c := range []struct {
		what, sql string
		want      int
	}{
		{"tasks that are not COMPLETE", "SELECT count(*) FROM scrape_request_log WHERE status <> 'COMPLETE'", 0},
		{"accounts", "SELECT count(*) FROM instagram_account", n},
		{"posts", "SELECT count(*) FROM instagram_post", 24 * n},
		{"accounts without the numbers of their answer", `SELECT count(*) FROM instagram_account a WHERE NOT EXISTS (
			SELECT FROM profile_log l, jsonb_array_elements(l.metrics) m
			WHERE l.profile_id = a.profile_id AND m ->> 'key' = 'followers' AND (m ->> 'value')::bigint = a.followers)`, 0},
		{"posts without owner or lineage", "SELECT count(*) FROM instagram_post WHERE profile_id IS NULL OR lineage IS NULL", 0},
		{"observations stored twice", "SELECT count(*) - count(DISTINCT event_id) FROM post_log", 0},
		{"runs left in progress", "SELECT count(*) FROM task_progress", 0},
	} {
		if got := w.int(c.sql); got != c.want {
			w.t.Errorf("%s: got %d, want %d", c.what, got, c.want)
		}
	}
}

// consume collects all messages of a queue until quiet says enough.
func consume(t *testing.T, url string, enough func(map[string][]amqp.Delivery) bool) map[string][]amqp.Delivery {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan amqp.Delivery, 1000)
	for _, k := range bridge.Keys {
		if k.Queue == "" || k.Exchange == "coffee.dx" {
			continue
		}
		in, err := ch.Consume(k.Queue, "", true, false, false, false, nil)
		if err != nil {
			continue // a queue of a later flow
		}
		go func() {
			for d := range in {
				all <- d
			}
		}()
	}
	got := map[string][]amqp.Delivery{}
	deadline := time.After(2 * time.Minute)
	for !enough(got) {
		select {
		case d := <-all:
			got[d.RoutingKey] = append(got[d.RoutingKey], d)
		case <-deadline:
			t.Fatalf("messages so far: %v", lengths(got))
		}
	}
	return got
}

func lengths(m map[string][]amqp.Delivery) map[string]int {
	out := map[string]int{}
	for k, v := range m {
		out[k] = len(v)
	}
	return out
}

// The main job: tasks become rows and RabbitMQ messages, each of which a
// strict reader of the contract accepts.
func TestMainJob(t *testing.T) {
	rabbit, err := servers.Rabbit(t.Context(), servers.RabbitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rabbit.Discard() }) //nolint:errcheck // a private server
	if err := bridge.DeclareConsumers(t.Context(), rabbit.URL, bridge.Consumers{}); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, localConfig{rmqURL: rabbit.URL})
	w.runAll()
	const n = 20
	w.enqueue(n)
	w.until("completion", func() bool { return w.complete() == n })
	w.check(n)
	got := consume(t, rabbit.URL, func(m map[string][]amqp.Delivery) bool {
		return len(m[bridge.KeyTask]) >= 3*n && len(m["profile_log_events"]) >= n && len(m["post_log_events"]) >= 36*n && len(m["trace_log"]) >= 3*n
	})
	ids := map[string]bool{}
	for key, ds := range got {
		for _, d := range ds {
			if err := amqpcheck.Check(key, d.Body); err != nil {
				t.Errorf("%s: %v\n%s", key, err, d.Body)
			}
			if ids[d.MessageId] {
				t.Errorf("%s: message id %s twice", key, d.MessageId)
			}
			ids[d.MessageId] = true
		}
	}
}

// Two processes of one stage share its work (README: scaling one stage).
func TestTwoParsersShareTheWork(t *testing.T) {
	w := newWorld(t, localConfig{})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	defer stop()
	var apps []*app
	done := make(chan error, 3)
	for _, names := range [][]string{{"parsing"}, {"parsing"}, {"scheduler", "retrieval", "processing", "projections"}} {
		nc, err := w.nats.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		a, err := newApp(t.Context(), slog.New(slog.DiscardHandler), w.deps, nc)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		apps = append(apps, a)
		go func() { done <- a.Run(ctx, names) }()
	}
	const n = 60
	w.enqueue(n)
	w.until("completion", func() bool { return w.complete() == n })
	stop()
	for range apps {
		<-done
	}
	for i, a := range apps[:2] {
		if got := parsed(t, a); got < n/4 {
			t.Errorf("parser %d read %d of %d answers", i, got, 3*n)
		}
	}
}

func parsed(t *testing.T, a *app) int {
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0.0
	for _, f := range families {
		if f.GetName() != "beat_bus_acked_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "route" && strings.HasPrefix(l.GetValue(), "parse-") {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return int(n)
}

// Faults of a provider are not visible downstream.
func TestFaultsAreSurvived(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	for _, f := range []sandbox.Fault{
		{Source: "graphapi", Kind: "503", Count: 30},
		{Source: "rapidapi-arraybobo", Kind: "429", RetryAfter: time.Second, Count: 2},
		{Source: "graphapi", Kind: "malformed", Count: 5},
		{Source: "graphapi", Kind: "truncated", Count: 5},
	} {
		w.box.Inject(f)
	}
	const n = 20
	w.enqueue(n)
	w.until("completion", func() bool { return w.complete() == n })
	if got := w.int("SELECT count(*) FROM instagram_account"); got != n {
		t.Errorf("accounts: got %d, want %d", got, n)
	}
}

// What no source knows fails with the text that readers match.
func TestFailedTask(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	e, err := w.queue.Enqueue(t.Context(), schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: json.RawMessage(`{"handle":"missing.one"}`)})
	if err != nil {
		t.Fatal(err)
	}
	bad, err := w.queue.Enqueue(t.Context(), schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: json.RawMessage(`{"name":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int64]string{e.ID: "(", bad.ID: "refresh_profile_by_handle() missing 1 required positional argument: 'handle'"} {
		var row taskRow
		w.until("failure", func() bool {
			row, err = readTask(t.Context(), w.db, id)
			return err == nil && row.Status == social.Failed
		})
		if got := deref(row.Data); !strings.HasPrefix(got, want) {
			t.Errorf("data of task %d: got %q, want prefix %q", id, got, want)
		}
	}
}

// The gateway answers with fresh data through the pipeline, in its envelopes.
func TestGateway(t *testing.T) {
	w := newWorld(t, localConfig{})
	a := w.runAll()
	root := "http://" + <-a.addr
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, root+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(b))
	}
	slow := w.box.Inject(sandbox.Fault{Kind: "slow", Delay: time.Second}) // so that all four are there before the first is done
	done := make(chan string, 4)
	for range 4 { // at once: they share one task
		go func() {
			res, err := http.Get(root + "/profiles/instagram/byhandle/Creator00007?full_refresh=1")
			if err != nil {
				done <- err.Error()
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body) //nolint:errcheck // the text says it
			done <- string(b)
		}()
	}
	for range 4 {
		got := <-done
		for _, want := range []string{`{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":{"platform":"instagram","handle":"creator00007"`,
			`"post_metrics":{"static":{"avg_engagement":`, `"recent_posts":[{"shortcode":"`} {
			if !strings.Contains(got, want) {
				t.Errorf("profile: %.300s\nwant in it: %s", got, want)
			}
		}
	}
	w.box.Clear(slow)
	if n := w.int("SELECT count(*) FROM scrape_request_log"); n != 1 {
		t.Errorf("tasks of four requests at once: got %d, want 1", n)
	}
	before := w.int("SELECT count(*) FROM scrape_request_log")
	for _, c := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"GET", "/heartbeat", "", 200, ""},
		{"PUT", "/heartbeat?beat=false", "", 410, ""},
		{"PUT", "/heartbeat", "", 422, `{"detail":[{"loc":["query","beat"],"msg":"field required"`},
		{"GET", "/profiles/shopify/byhandle/x", "", 200, `{"status":{"type":"ERROR","message":"Platform not supported - shopify","code":400}}`},
		{"GET", "/profiles/tiktok/byhandle/x", "", 422, `"type":"type_error.enum"`},
		{"GET", "/profiles/youtube/byhandle/UCabcdefghijklmnopqrstuv", "", 200, `"channel_id":"UCabcdefghijklmnopqrstuv"`},
		{"GET", "/nowhere", "", 404, `{"detail":"Not Found"}`},
		{"DELETE", "/heartbeat", "", 405, `{"detail":"Method Not Allowed"}`},
		{"POST", "/scrape_request_log/flow/x", `{"flow":`, 422, `value_error.jsondecode`},
		{"POST", "/scrape_request_log/flow/x", `{"flow":"x"}`, 422, `{"loc":["body","platform"],"msg":"field required"`},
		{"POST", "/scrape_request_log/flow/x", `{"flow":"nope","platform":"INSTAGRAM","params":{}}`, 200, `"message":"unknown flow - nope","code":422`},
		{"POST", "/scrape_request_log/flow/x", `{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"x":1}}`, 200, `'handle'`},
		{"GET", "/scrape_request_log/flow/abc", "", 422, `type_error.integer`},
		{"GET", "/scrape_request_log/flow/99999999", "", 200, `scrape log not found for scrape_id - 99999999`},
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 200, `"ready":true`},
		{"GET", "/metrics", "", 200, "beat_tasks_complete_total"},
	} {
		code, body := call(c.method, c.path, c.body)
		if code != c.code || !strings.Contains(body, c.says) {
			t.Errorf("%s %s: got %d %.300s, want %d and %s", c.method, c.path, code, body, c.code, c.says)
		}
	}
	if n := w.int("SELECT count(*) FROM scrape_request_log") - before; n != 1 { // the YouTube refresh
		t.Errorf("tasks stored by refused requests: %d", n-1)
	}
	code, body := call("POST", "/scrape_request_log/flow/x", `{"flow":"refresh_post_by_shortcode","platform":"INSTAGRAM","params":{"shortcode":"missing0001"}}`)
	if code != 200 || !strings.HasPrefix(body, `{"status":{"type":"SUCCESS","message":"Scrape request log added"},"code":200,"scrape_id":`) {
		t.Errorf("create: got %d %s", code, body)
	}
}

// The demo as a user runs it.
func TestDemo(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--exit", "--json", "--profiles", "20", "--pg-url", newDatabase(t)}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	var r demoResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if r.Tasks.Complete != 20 || r.Tasks.Failed != 0 || r.Accounts != 20 || r.Posts < 240 || r.Dead != 0 {
		t.Errorf("got %+v", r)
	}
}
