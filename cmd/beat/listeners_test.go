package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/broker"
	"beat/streams/listen"
	"beat/streams/servers/servertest"
)

// What peers send to the five queues, end to end: tasks that wait for their
// flows, a token that is stored and validated, a dead letter that is put back.
func TestListeners(t *testing.T) {
	t.Parallel()
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "beat" || password != "pass" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(rw, `{"status":{"key":"SUCCESS"},"socialAccounts":[{"socialUserId":"17841400000000001","graphAccessToken":"sandbox-token","handle":"of.identity","platform":"INSTAGRAM"}]}`) //nolint:errcheck // a test
	}))
	defer service.Close()
	w.deps.IdentityURL, w.deps.IdentityAuth = service.URL, "beat:pass"
	_, stop := w.runRoles(roles...)
	stopped := false
	defer func() {
		if !stopped {
			stop()
		}
	}()
	conn, err := amqp.Dial(rmq)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // done with it
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	w.until("the queues are read", func() bool {
		for _, q := range listen.Queues {
			if got, err := ch.QueueDeclare(q.Name, true, false, false, false, nil); err != nil || got.Consumers != 5 {
				return false
			}
		}
		return true
	})
	tell := func(exchange, key, body string) {
		t.Helper()
		if err := ch.PublishWithContext(t.Context(), exchange, key, true, false, amqp.Publishing{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}

	// Tasks: one of each, however often they are asked for, and no scheduler fails
	// what it does not know.
	for range 3 {
		tell(broker.BeatExchange, "keyword_collection_rk", `{"job_id":"T_KC_1","platform":"YOUTUBE","keywords":["a"],"start_date":"2023-08-01","end_date":"2023-09-20"}`)
		tell("", listen.SentimentReportQueue, `{"collectionType":"POST","collectionId":4711}`)
	}
	tell(broker.BeatExchange, bridge.KeyActivities, `{"platform":"INSTAGRAM","activity_type":"COMMENT","post_activity_logs":[{"activity_type":"COMMENT","platform_post_id":"c","dimensions":[{"key":"comment_id","value":"1"},{"key":"text","value":"fine"}]}]}`)
	coming := "SELECT count(*)::int FROM scrape_request_log WHERE status = 'PENDING' AND flow IN ('fetch_keyword_collection', 'sentiment_extraction', 'fetch_sentiment_report')"
	w.until("three tasks, told of", func() bool { return w.int(coming+" AND announced") == 3 })
	w.outcome(w.basic("creator00001"), "COMPLETE") // the scheduler claims, and what can run runs
	if n := w.int(coming); n != 3 || w.int("SELECT count(*)::int FROM scrape_request_log") != 4 {
		t.Errorf("%d tasks wait for their flows, want 3", n)
	}
	id := w.int("SELECT id::int FROM scrape_request_log WHERE flow = 'fetch_keyword_collection'")
	pg, nats, rmqFlag := "--pg-url="+w.deps.PGURL, "--nats-url="+w.deps.NATSURL, "--rmq-url="+rmq
	if got := w.command(0, "tasks", "why", fmt.Sprint(id), pg, nats, "--redis-url="+w.deps.RedisURL); !strings.Contains(got, "still to come") {
		t.Errorf("beat tasks why says %s", got)
	}
	if got := w.command(0, "tasks", "list", "--flow=fetch_sentiment_report", pg); !strings.Contains(got, "4711") || !strings.Contains(got, "PENDING") {
		t.Errorf("beat tasks list says %s", got)
	}

	// A token: stored by one queue, validated by another, which our own request
	// reached. Graph does not accept it, and identity has another.
	w.box.Expire(sandbox.Expiry{Source: sandbox.GraphAPI, Key: "not-accepted"})
	tell("", listen.TokenQueue, `{"handle":"New.Creator","platform":"INSTAGRAM","socialUserId":"17841400000000001","graphAccessToken":"not-accepted"}`)
	w.until("it is refused, and identity's is stored", func() bool {
		return w.int("SELECT count(*)::int FROM credential WHERE source = 'graphapi' AND handle = 'new.creator' AND enabled AND credentials ->> 'token' = 'sandbox-token'") == 1
	})
	w.exec("UPDATE credential SET enabled = false, data_access_expired = true WHERE handle = 'new.creator'")
	tell(broker.BeatExchange, "credentials_validate", `{"source":"graphapi","handle":"new.creator"}`)
	w.until("it is validated", func() bool {
		return w.int("SELECT count(*)::int FROM credential WHERE handle = 'new.creator' AND enabled AND NOT data_access_expired AND disabled_till IS NULL") == 1
	})

	// Poison: a letter, which goes back into the queue once it is mended; one of a
	// queue with secrets holds none.
	tell("", listen.KeywordQueue, `{"job_id":"T_KC_2","platform":"INSTAGRAM","keywords":[],"start_date":"2023-08-01","end_date":"2023-09-20"}`)
	tell("", listen.TokenQueue, `{"graphAccessToken":"poison-token","platform":"INSTAGRAM"}`)
	var letters []struct {
		Seq   uint64 `json:"seq"`
		Stage string `json:"stage"`
		Error string `json:"error"`
		Cause string `json:"cause"`
	}
	w.until("two letters", func() bool {
		text := w.command(0, "dead", "list", "--each", "--stage=listen", "--json", nats)
		return json.Unmarshal([]byte(text), &letters) == nil && len(letters) == 2
	})
	mended := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(mended, []byte(`{"job_id":"T_KC_2","platform":"INSTAGRAM","keywords":["b"],"start_date":"2023-08-01","end_date":"2023-09-20"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		shown := w.command(0, "dead", "show", fmt.Sprint(l.Seq), nats)
		if strings.Contains(shown, "poison-token") {
			t.Errorf("a letter shows a token:\n%s", shown)
		}
		if l.Cause != "malformed" {
			t.Errorf("letter %+v", l)
		}
		if l.Stage == "listen-"+listen.TokenQueue {
			if got := w.command(1, "dead", "redrive", fmt.Sprint(l.Seq), pg, nats, rmqFlag); !strings.Contains(got, "does not hold all") {
				t.Errorf("a masked letter: %s", got)
			}
			continue
		}
		if got := w.command(1, "dead", "redrive", fmt.Sprint(l.Seq), pg, nats, "--rmq-url="); !strings.Contains(got, "RMQ_URL") {
			t.Errorf("without RabbitMQ: %s", got)
		}
		w.command(0, "dead", "redrive", fmt.Sprint(l.Seq), "--data="+mended, pg, nats, rmqFlag)
	}
	w.until("the mended job", func() bool {
		return w.int("SELECT count(*)::int FROM scrape_request_log WHERE params ->> 'job_id' = 'T_KC_2'") == 1
	})
	stop()
	stopped = true
	for _, q := range listen.Queues {
		if got, err := ch.QueueDeclarePassive(q.Name, true, false, false, false, nil); err != nil || got.Messages != 0 || got.Consumers != 0 {
			t.Errorf("%s after the end: %+v, %v", q.Name, got, err)
		}
	}
}

// beat amqp: from an empty broker to one where all is bound.
func TestAMQPCheckAndBind(t *testing.T) {
	t.Parallel()
	rmq := servertest.Vhost(t)
	w := &world{t: t}
	amqpOf := func(code int, args ...string) string {
		t.Helper()
		return w.command(code, append([]string{"amqp"}, append(args, "--rmq-url="+rmq)...)...)
	}
	api := "--management-url=" + servertest.RabbitAdmin(t)
	if got := amqpOf(1, "check"); !strings.Contains(got, "14 of") && !strings.Contains(got, "bindings are missing") {
		t.Errorf("check of an empty broker: %s", got)
	}
	if got := amqpOf(0, "bind", "--dry-run"); !strings.Contains(got, "nothing was changed") || !strings.Contains(got, "declare") {
		t.Errorf("bind --dry-run: %s", got)
	}
	var r broker.Report
	read := func(code int) {
		t.Helper()
		r = broker.Report{}
		text := amqpOf(code, "check", "--json", api)
		line, _, _ := strings.Cut(text, "\n")
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	read(1)
	for _, e := range r.Exchanges {
		if e.Exists {
			t.Errorf("--dry-run declared %s", e.Name)
		}
	}
	amqpOf(0, "bind")
	read(1)
	states := map[string]int{}
	for _, b := range r.Bindings {
		states[b.State]++
	}
	if d := cmp.Diff(map[string]int{broker.Bound: 4, broker.Missing: 11}, states); d != "" { // ours but identity's
		t.Error(d)
	}

	// The peers declare their queues, and bind them as they do (1.4): coffee by
	// other keys, event-grpc's trace_log by a literal *.
	conn, err := amqp.Dial(rmq)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // done with it
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare(broker.IdentityExchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, k := range bridge.Keys {
		if k.Queue == "" {
			continue
		}
		if _, err := ch.QueueDeclare(k.Queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		key := k.Key
		switch {
		case k.Exchange == broker.CoffeeExchange:
			key = strings.TrimSuffix(k.Queue, "_q")
		case k.Exchange == broker.IdentityExchange:
			key = "*"
		}
		if err := ch.QueueBind(k.Queue, key, k.Exchange, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	read(1)
	var missing []string
	for _, b := range r.Bindings {
		if b.State == broker.Missing {
			missing = append(missing, b.Queue)
		}
	}
	if d := cmp.Diff([]string{listen.TokenQueue, "keyword_collection_out_q", "sentiment_collection_report_out_q", "trace_log"}, missing); d != "" {
		t.Error(d)
	}
	var done struct {
		Done  bool
		Steps []broker.Step
	}
	text := amqpOf(0, "bind", "--json", api)
	if err := json.Unmarshal([]byte(text), &done); err != nil || !done.Done || len(done.Steps) != 4 {
		t.Errorf("bind --json: %s, %v", text, err)
	}
	read(0)
	if got := amqpOf(0, "bind", api); !strings.Contains(got, "all is there") {
		t.Errorf("bind once more: %s", got)
	}
	if got := amqpOf(0, "check"); !strings.Contains(got, "AMQP does not tell") {
		t.Errorf("check without the API: %s", got)
	}
	w.command(2, "amqp", "check", "--rmq-url=amqp://a:hunter2@[::")
	if got := w.command(1, "amqp", "check", "--rmq-url=amqp://a:hunter2@127.0.0.1:1"); strings.Contains(got, "hunter2") {
		t.Errorf("an error shows a password: %s", got)
	}
}

// Bad settings are a usage error before anything runs, and show no secret.
func TestListenersSettings(t *testing.T) {
	t.Parallel()
	w := &world{t: t}
	for args, says := range map[string]string{
		"run listeners --pg-url=postgres://x@127.0.0.1:1/x --rmq-url=": "role listeners needs RabbitMQ",
		"amqp check --rmq-url=":                                "no RabbitMQ",
		"amqp bind --rmq-url=amqp://h --rmq-queue-type=stream": "queue-type",
		"amqp check --rmq-url=amqps://h --rmq-ca=/nowhere.pem": "nowhere.pem",
		"amqp check --rmq-url=amqp://h --management-url=h:1":   "management API",
	} {
		if got := w.command(2, strings.Fields(args)...); !strings.Contains(got, says) {
			t.Errorf("%s: %s, want %q", args, got, says)
		}
	}
}
