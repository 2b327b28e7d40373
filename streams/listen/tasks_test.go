package listen

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
	"beat/streams/bus"
	"beat/streams/bus/natsd"
	"beat/streams/dead"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

const (
	job    = `{"job_id": "PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11", "platform": "INSTAGRAM", "keywords": ["trekking", "himalaya"], "start_date": "2023-08-01", "end_date": "2023-09-20"}`
	report = `{"collectionType":"POST","collectionId":"c0a8012e-7b1d-4f0f-9a3e-2b1f6c7d8e90"}`
	page   = `{"platform":"INSTAGRAM","activity_type":"COMMENT","post_activity_logs":[{"activity_type":"COMMENT","platform":"INSTAGRAM","platform_post_id":"CxQ7aBcD123","actor_profile_id":"7000123456","dimensions":[{"key":"comment_id","value":"17900000000000001"},{"key":"text","value":"This light is unreal"},{"key":"keywords","value":"['light']"}],"metrics":[{"key":"likes","value":3}],"source":"rapidapi-jotucker","timestamp":"2023-09-25T14:19:00.120331"}]}`
)

// What each message becomes: a task, or an error that names the field and shows
// no value.
func TestMessages(t *testing.T) {
	with := func(body, old, new string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%s is not in %s", old, body)
		}
		return strings.Replace(body, old, new, 1)
	}
	for _, c := range []struct {
		name, body string
		read       func([]byte) (schedule.Request, error)
		flow       string // "" none
		params     string
		says       string // of the error
	}{
		{"job", job, keywordTask, flow.KeywordCollection,
			`{"job_id":"PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11","platform":"INSTAGRAM","keywords":["trekking","himalaya"],"start_date":"2023-08-01","end_date":"2023-09-20"}`, ""},
		{"job of YouTube", with(job, "INSTAGRAM", "YOUTUBE"), keywordTask, flow.KeywordCollection, "", ""},
		{"job with more members", with(job, `{`, `{"extra":{"a":[1]},"job":null,`), keywordTask, flow.KeywordCollection, "", ""},
		{"job with blanks around", "\n " + job + "\n", keywordTask, flow.KeywordCollection, "", ""},
		{"job of one day", with(job, "2023-09-20", "2023-08-01"), keywordTask, flow.KeywordCollection, "", ""},
		{"job of another platform", with(job, "INSTAGRAM", "SHOPIFY"), keywordTask, "", "", "ignored: its platform"},
		{"job without id", with(job, `"job_id": "PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11", `, ""), keywordTask, "", "", "job_id is missing"},
		{"job with null", with(job, `"2023-08-01"`, `null`), keywordTask, "", "", "start_date is missing"},
		{"job with a number for an id", with(job, `"PROD_KC_3b1f2c7e-58a4-4a53-9f5b-0d6d5e6c1a11"`, "4711"), keywordTask, "", "", "job_id is number, want string"},
		{"job with a path for an id", with(job, "PROD_KC_", "../../"), keywordTask, "", "", "job_id has a character"},
		{"job with a long id", with(job, "PROD_KC_", strings.Repeat("x", 200)), keywordTask, "", "", "job_id has 236 bytes"},
		{"job with a NUL in the id", with(job, "PROD", `PR\u0000OD`), keywordTask, "", "", "job_id has a character"},
		{"job with a NUL in a keyword", with(job, "himalaya", `\u0000`), keywordTask, "", "", "keywords[1] holds a NUL"},
		{"job without keywords", with(job, `["trekking", "himalaya"]`, "[]"), keywordTask, "", "", "keywords is missing or empty"},
		{"job with a text for keywords", with(job, `["trekking", "himalaya"]`, `"secret"`), keywordTask, "", "", "keywords is string, want slice"},
		{"job with a number in keywords", with(job, `"himalaya"`, "5"), keywordTask, "", "", "keywords is number"},
		{"job with a blank keyword", with(job, "himalaya", " "), keywordTask, "", "", "keywords[1] is blank"},
		{"job with another date", with(job, "2023-08-01", "01.08.2023"), keywordTask, "", "", "start_date is no date"},
		{"job with a day that is none", with(job, "2023-09-20", "2023-02-30"), keywordTask, "", "", "end_date is no date"},
		{"job that ends first", with(job, "2023-09-20", "2023-07-31"), keywordTask, "", "", "end_date is before"},

		{"report", report, reportTask, flow.SentimentReport, `{"collectionId":"c0a8012e-7b1d-4f0f-9a3e-2b1f6c7d8e90","collectionType":"POST"}`, ""},
		{"report of a number", `{"collectionType":"POST","collectionId":4711}`, reportTask, flow.SentimentReport, `{"collectionId":"4711","collectionType":"POST"}`, ""},
		{"report of a large number", `{"collectionType":"POST","collectionId":18446744073709551615}`, reportTask, flow.SentimentReport, `{"collectionId":"18446744073709551615","collectionType":"POST"}`, ""},
		{"report of profiles", with(report, "POST", "PROFILE"), reportTask, "", "", "ignored"},
		{"report without type", `{"collectionId":"1"}`, reportTask, "", "", "collectionType is missing"},
		{"report without id", `{"collectionType":"POST"}`, reportTask, "", "", "collectionId is missing"},
		{"report with an empty id", `{"collectionType":"POST","collectionId":""}`, reportTask, "", "", "collectionId is empty"},
		{"report of an object", `{"collectionType":"POST","collectionId":{"a":1}}`, reportTask, "", "", "collectionId is neither"},
		{"report of a path", `{"collectionType":"POST","collectionId":"a/b"}`, reportTask, "", "", "collectionId has a character"},

		{"page", page, sentimentTask, flow.SentimentExtraction,
			`{"comments":[{"shortcode":"CxQ7aBcD123","comment_id":"17900000000000001","text":"This light is unreal"}],"platform":"INSTAGRAM"}`, ""},
		{"page of likes", with(with(page, `"activity_type":"COMMENT","post`, `"activity_type":"LIKE","post`), `[{"activity_type":"COMMENT"`, `[{"activity_type":"LIKE"`), sentimentTask, "", "", "ignored"},
		{"empty page", `{"platform":"INSTAGRAM","activity_type":null,"post_activity_logs":[]}`, sentimentTask, "", "", "ignored"},
		{"page whose comment has no text", with(page, `"text"`, `"words"`), sentimentTask, "", "", "ignored"},
		{"page whose comment has a number for an id", with(page, `"17900000000000001"`, "17900000000000001"), sentimentTask, flow.SentimentExtraction,
			`{"comments":[{"shortcode":"CxQ7aBcD123","comment_id":"17900000000000001","text":"This light is unreal"}],"platform":"INSTAGRAM"}`, ""},
		{"page with a NUL", with(page, "This light", `This\u0000 light`), sentimentTask, flow.SentimentExtraction,
			`{"comments":[{"shortcode":"CxQ7aBcD123","comment_id":"17900000000000001","text":"This light is unreal"}],"platform":"INSTAGRAM"}`, ""},
		{"page with a comment twice",
			`{"platform":"YOUTUBE","post_activity_logs":[{"activity_type":"COMMENT","platform_post_id":"c2","dimensions":[{"key":"comment_id","value":"1"},{"key":"text","value":"a"}]},{"activity_type":"COMMENT","platform_post_id":"c2","dimensions":[{"key":"comment_id","value":"1"},{"key":"text","value":"b"},{"key":"text","value":"c"}]}]}`,
			sentimentTask, flow.SentimentExtraction, `{"comments":[{"shortcode":"c2","comment_id":"1","text":"c"}],"platform":"YOUTUBE"}`, ""},
		{"page without platform", with(page, `{"platform":"INSTAGRAM","activity_type":"COMMENT","post`, `{"post`), sentimentTask, "", "", "platform is missing"},
		{"page without logs", `{"platform":"INSTAGRAM"}`, sentimentTask, "", "", "post_activity_logs is missing"},
		{"page with an object for logs", `{"platform":"INSTAGRAM","post_activity_logs":{}}`, sentimentTask, "", "", "post_activity_logs is object, want slice"},
		{"page without post", with(page, `"platform_post_id":"CxQ7aBcD123",`, ""), sentimentTask, "", "", "post_activity_logs[0].platform_post_id is missing"},
		{"page with dimensions as an object", `{"platform":"INSTAGRAM","post_activity_logs":[{"platform_post_id":"a","dimensions":{"comment_id":"1"}}]}`, sentimentTask, "", "", "dimensions is object"},

		{"nothing", "", keywordTask, "", "", "empty"},
		{"blanks", " \n", reportTask, "", "", "empty"},
		{"text", "hello", keywordTask, "", "", "no JSON object"},
		{"list", "[" + job + "]", keywordTask, "", "", "no JSON object"},
		{"half", job[:40], keywordTask, "", "", "breaks off"},
		{"two", job + job, keywordTask, "", "", "something follows"},
		{"NaN", `{"job_id":NaN}`, keywordTask, "", "", "no JSON at byte"},
		{"not UTF-8", "{\"job_id\":\"\xff\"}", keywordTask, "", "", "not UTF-8"},
	} {
		r, err := c.read([]byte(c.body))
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v, want an error with %q", c.name, err, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "4711")) {
				t.Errorf("%s: the error shows a value: %v", c.name, err)
			}
			continue
		}
		if err != nil || r.Flow != c.flow {
			t.Errorf("%s: got flow %q, %v, want %s", c.name, r.Flow, err, c.flow)
			continue
		}
		if c.params != "" {
			if d := cmp.Diff(c.params, string(r.Params)); d != "" {
				t.Errorf("%s: %s", c.name, d)
			}
		}
		if (r.JoinKey == nil) == (r.IdempotencyKey == nil) {
			t.Errorf("%s: keys %v and %v, want one of them", c.name, r.JoinKey, r.IdempotencyKey)
		}
		if _, coming := flow.Coming[r.Flow]; !coming {
			if _, known := flow.ByName(r.Flow); !known {
				t.Errorf("%s: flow %s is neither known nor coming", c.name, r.Flow)
			}
		}
	}
}

// The contract's own examples of incoming messages, and what beat publishes to
// itself.
func TestOwnPagesAreRead(t *testing.T) {
	body, err := os.ReadFile(filepath.Join("..", "bridge", "testdata", "post_activity_log_bulk.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := sentimentTask(body)
	if err != nil || !strings.Contains(string(r.Params), `"comment_id":"17900000000000001"`) {
		t.Errorf("got %s, %v", r.Params, err)
	}
}

func FuzzMessages(f *testing.F) {
	for _, s := range []string{job, report, page, "", "{}", `{"collectionType":"POST","collectionId":-1e9}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, read := range []func([]byte) (schedule.Request, error){keywordTask, reportTask, sentimentTask} {
			r, err := read(body)
			if err == nil && (!json.Valid(r.Params) || r.Flow == "" || strings.Contains(string(r.Params), "\x00")) {
				t.Errorf("%q makes %+v", body, r)
			}
		}
		if out := masked(body); !json.Valid(out) {
			t.Errorf("%q is masked as %q", body, out)
		}
	})
}

// Duplicates, at once and later, in any order: one task while it has not ended,
// and another for an honest request after that.
func TestHandledTwiceIsOneTask(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, box := newBox(t)
	tasks, db := newTasks(t)
	r := listen(t, pub, quick(url), tasks.Handlers())
	ch := channel(t, url)
	for range 10 {
		put(t, ch, KeywordQueue, job)
		put(t, ch, SentimentReportQueue, report)
		put(t, ch, SentimentQueue, page)
	}
	r.until("all are handled", func() bool { return r.value("beat_listen_messages_total", "done") == 30 })
	state := func() string {
		var s string
		if err := db.QueryRow(t.Context(), `SELECT string_agg(flow || ' ' || n, ', ' ORDER BY flow) FROM (SELECT flow, count(*) n FROM scrape_request_log GROUP BY 1) x`).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := "fetch_keyword_collection 1, fetch_sentiment_report 1, sentiment_extraction 1"
	if got := state(); got != want {
		t.Errorf("tasks: %s, want %s", got, want)
	}
	// As scrape requests are: waiting, told once, not claimed by a scheduler that
	// has no such flow.
	if n := count(t, db, "SELECT count(*)::int FROM scrape_request_log WHERE status = 'PENDING' AND announced = false AND run_at IS NULL"); n != 3 {
		t.Errorf("%d tasks wait as they should", n)
	}

	// They end. A message that was handled and comes again, for its ack was lost,
	// is none; a page neither, for ever; a new request is a new task.
	if _, err := db.Exec(t.Context(), "UPDATE scrape_request_log SET status = 'COMPLETE'"); err != nil {
		t.Fatal(err)
	}
	again := Delivery{Queue: KeywordQueue, Body: []byte(job), Again: true, Try: 1}
	for name, body := range map[string]string{KeywordQueue: job, SentimentReportQueue: report, SentimentQueue: page} {
		again.Queue, again.Body = name, []byte(body)
		if err := tasks.Handlers()[name](t.Context(), again); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := state(); got != want {
		t.Errorf("after a second delivery: %s, want %s", got, want)
	}
	put(t, ch, KeywordQueue, job)
	put(t, ch, SentimentReportQueue, report)
	put(t, ch, SentimentQueue, page)
	r.until("all are handled", func() bool { return r.value("beat_listen_messages_total", "done") == 33 })
	if got, want := state(), "fetch_keyword_collection 2, fetch_sentiment_report 2, sentiment_extraction 1"; got != want {
		t.Errorf("after a new request: %s, want %s", got, want)
	}
	// An old task does not stand in the way of a message that was given back.
	if _, err := db.Exec(t.Context(), "UPDATE scrape_request_log SET status = 'COMPLETE', created_at = created_at - interval '1 hour'"); err != nil {
		t.Fatal(err)
	}
	again.Queue, again.Body = KeywordQueue, []byte(job)
	if err := tasks.Handlers()[KeywordQueue](t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got, want := state(), "fetch_keyword_collection 3, fetch_sentiment_report 2, sentiment_extraction 1"; got != want {
		t.Errorf("after an hour: %s, want %s", got, want)
	}
	if letters, err := box.List(t.Context(), dead.Filter{}); err != nil || len(letters) != 0 {
		t.Errorf("%d letters, %v", len(letters), err)
	}
}

// coffee sends no content type and an empty Watermill id, stir nothing at all and
// not persistent: 5 and C5.
func TestAnyPropertiesWillDo(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	tasks, db := newTasks(t)
	r := listen(t, pub, quick(url), tasks.Handlers())
	ch := channel(t, url)
	for i, m := range []amqp.Publishing{
		{Headers: amqp.Table{"_watermill_message_uuid": ""}, DeliveryMode: amqp.Persistent},
		{},
		{ContentType: "text/plain", ContentEncoding: "gzip", Priority: 9, MessageId: "x", Type: "y", Timestamp: time.Unix(1, 0)},
		{ContentType: "application/json", Headers: amqp.Table{"x-death": []any{"a"}, "x-retry-count": int32(5)}},
	} {
		m.Body = []byte(strings.Replace(job, "PROD", fmt.Sprint("P", i), 1))
		send(t, ch, broker.BeatExchange, "keyword_collection_rk", m)
	}
	r.until("all are handled", func() bool { return r.value("beat_listen_messages_total", "done") == 4 })
	if n := count(t, db, "SELECT count(*)::int FROM scrape_request_log"); n != 4 {
		t.Errorf("%d tasks", n)
	}
}

// Poison of every kind, between good messages: dead letters with a cause, and
// nothing else is held up.
func TestPoisonIsParked(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, box := newBox(t)
	tasks, db := newTasks(t)
	cfg := quick(url)
	cfg.MaxBody = 2000
	r := listen(t, pub, cfg, tasks.Handlers())
	ch := channel(t, url)
	for _, q := range []string{KeywordQueue, SentimentQueue, SentimentReportQueue} {
		put(t, ch, q, "", "null", "{", "[]", `{}`, "\xff\xfe", strings.Repeat("{\"a\":", 300), strings.Repeat("x", 2001))
	}
	put(t, ch, KeywordQueue, job)
	put(t, ch, SentimentQueue, page)
	put(t, ch, SentimentReportQueue, report)
	r.until("all are handled", func() bool {
		return r.value("beat_listen_messages_total", "done") == 3 && r.value("beat_listen_messages_total", "dead") == 24
	})
	letters, err := box.List(t.Context(), dead.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	causes := map[string]int{}
	for _, l := range letters {
		causes[l.Stage+" "+l.Cause]++
	}
	want := map[string]int{}
	for _, q := range []string{KeywordQueue, SentimentQueue, SentimentReportQueue} {
		want["listen-"+q+" malformed"], want["listen-"+q+" oversized"] = 7, 1
	}
	if d := cmp.Diff(want, causes); d != "" {
		t.Error(d)
	}
	if n := count(t, db, "SELECT count(*)::int FROM scrape_request_log"); n != 3 {
		t.Errorf("%d tasks, want 3", n)
	}
}

// Postgres and NATS are away for a while: nothing is acked, nothing is lost, and
// afterwards all of it is there once.
func TestServersAreAway(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pg, err := servers.Postgres(t.Context(), servers.PostgresConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Discard() }) //nolint:errcheck // a private server
	db := newDB(t, pg.URL)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := natsd.Config{Dir: t.TempDir(), Port: l.Addr().(*net.TCPAddr).Port} //nolint:errcheck // it is one
	l.Close()                                                                 //nolint:errcheck // only for its port
	ns, err := natsd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(ns.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Ensure(t.Context(), js, bus.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	pub := bus.NewPublisher(slogDiscard, js, bus.PublisherConfig{Timeout: 500 * time.Millisecond})
	t.Cleanup(func() { pub.Close() }) //nolint:errcheck // only waits
	r := listen(t, pub, quick(url), NewTasks(schedule.NewQueue(db, 0), db).Handlers())
	ch := channel(t, url)

	ns.Stop()
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	const n = 20
	for i := range n {
		put(t, ch, KeywordQueue, strings.Replace(job, "PROD", fmt.Sprint("P", i), 1), fmt.Sprintf(`{"bad":%d}`, i))
	}
	r.until("some have been tried", func() bool { return r.value("beat_listen_messages_total", "again") >= 10 })
	if got := r.value("beat_listen_messages_total", "done") + r.value("beat_listen_messages_total", "dead"); got != 0 {
		t.Errorf("%v messages were acked", got)
	}
	if got := depth(t, url, KeywordQueue); got != 2*n-5 {
		t.Errorf("%d messages wait, want all but the 5 in hand", got)
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if ns, err = natsd.Start(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Stop)
	r.until("all are handled", func() bool {
		return r.value("beat_listen_messages_total", "done") == n && r.value("beat_listen_messages_total", "dead") == n
	})
	if got := count(t, db, "SELECT count(*)::int FROM scrape_request_log"); got != n {
		t.Errorf("%d tasks, want %d", got, n)
	}
	box, err := dead.Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	if letters, err := box.List(t.Context(), dead.Filter{Stage: "listen"}); err != nil || len(letters) != n {
		t.Errorf("%d letters, %v, want %d", len(letters), err, n)
	}
}

// The lookup of a message that is delivered again has an index.
func TestLookupIsIndexed(t *testing.T) {
	t.Parallel()
	_, db := newTasks(t)
	if _, err := db.Exec(t.Context(), "SET enable_seqscan = off"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(t.Context(), "EXPLAIN "+storedSQL, "a", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if !strings.Contains(plan.String(), "scrape_request_log_listen_idx") {
		t.Errorf("the plan is\n%s", plan.String())
	}
}
