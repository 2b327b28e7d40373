package listen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

// 1.3: the queues as peers declare them too, bound, read by five with their
// read-ahead.
func TestQueuesAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	ch := channel(t, url)
	if err := ch.ExchangeDeclare(broker.IdentityExchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	pub, _ := newBox(t)
	gate := make(chan struct{})
	var busy atomic.Int64
	wait := func(ctx context.Context, _ Delivery) error {
		busy.Add(1)
		defer busy.Add(-1)
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return nil
	}
	handlers := map[string]Handler{}
	for _, q := range Queues {
		handlers[q.Name] = wait
	}
	r := listen(t, pub, quick(url), handlers)
	want := []Queue{
		{"credentials_validate_q", "beat.dx", "credentials_validate", 5, 10, true},
		{"identity_token_q", "identity.dx", "new_access_token_rk", 5, 10, true},
		{"keyword_collection_q", "beat.dx", "keyword_collection_rk", 5, 1, false},
		{"sentiment_analysis_q", "beat.dx", "post_activity_log_bulk", 5, 1, false},
		{"sentiment_collection_report_in_q", "beat.dx", "sentiment_collection_report_in_rk", 5, 1, false},
	}
	if d := cmp.Diff(want, Queues); d != "" {
		t.Fatal(d)
	}
	for _, q := range Queues {
		got, err := ch.QueueDeclare(q.Name, true, false, false, false, nil) // as stir does
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		if got.Consumers != q.Consumers {
			t.Errorf("%s: %d consumers, want %d", q.Name, got.Consumers, q.Consumers)
		}
		for i := range 60 {
			send(t, ch, q.Exchange, q.Key, amqp.Publishing{Body: fmt.Append(nil, i), Headers: amqp.Table{"_watermill_message_uuid": ""}})
		}
		ahead := q.Consumers * q.Prefetch
		r.until(q.Name+" is read ahead", func() bool { return depth(t, url, q.Name) == 60-ahead })
	}
	if got := busy.Load(); got != 25 {
		t.Errorf("%d messages are handled at once, want 5 of each queue", got)
	}
	close(gate)
	r.until("all are handled", func() bool { return r.value("beat_listen_messages_total", "done") == 300 })
}

// The error of a handler decides about the message.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, box := newBox(t)
	var s seen
	cfg := quick(url)
	cfg.Tries, cfg.MaxBody = 4, 1000
	h := func(_ context.Context, d Delivery) error {
		n := s.add(d.Body)
		if d.Try != n {
			t.Errorf("%s: try %d, want %d", d.Body, d.Try, n)
		}
		switch string(d.Body) {
		case "ignore":
			return Ignore("it is nobody's")
		case "poison":
			return Malformed("field %s is missing", "x")
		case "panic":
			panic("a secret")
		case "error":
			return errors.New("something")
		case "outage", "wrapped":
			if n < 10 {
				return fmt.Errorf("so: %w", Outage(errors.New("away")))
			}
		}
		return nil
	}
	r := listen(t, pub, cfg, map[string]Handler{KeywordQueue: h})
	ch := channel(t, url)
	put(t, ch, KeywordQueue, "fine", "ignore", "poison", "panic", "error", "outage", strings.Repeat("x", 1001))
	r.until("the end of all", func() bool {
		return r.value("beat_listen_messages_total", "done") == 2 && r.value("beat_listen_messages_total", "ignored") == 1 &&
			r.value("beat_listen_messages_total", "dead") == 4
	})
	for body, want := range map[string]int{"fine": 1, "ignore": 1, "poison": 1, "panic": 1, "error": 4, "outage": 10, strings.Repeat("x", 1001): 0} {
		if got := s.n[body]; got != want {
			t.Errorf("%.20s: handled %d times, want %d", body, got, want)
		}
	}
	letters, err := box.List(t.Context(), dead.Filter{Stage: "listen"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range letters {
		m, err := box.Get(t.Context(), l.Seq)
		if err != nil {
			t.Fatal(err)
		}
		got[l.Cause] = string(m.Data) + " " + l.Error
		if l.Stage != "listen-"+KeywordQueue || m.Header.Get(HeaderQueue) != KeywordQueue || (l.Stack != "") != (l.Cause == bus.CausePanic) {
			t.Errorf("letter %+v", l)
		}
		if name, ok := QueueOf(l.Subject); !ok || name != KeywordQueue {
			t.Errorf("letter with subject %s is of queue %q", l.Subject, name)
		}
	}
	want := map[string]string{"malformed": "poison field x is missing", "panic": "panic a string", "retries": "error something",
		"oversized": strings.Repeat("x", 1001) + " 1001 bytes, more than 1000"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := depth(t, url, KeywordQueue); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// What cannot succeed now is held, with growing pauses: no hot loop, nothing is
// delivered again and again.
func TestOutageIsNoHotLoop(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	var s seen
	var up atomic.Bool
	cfg := quick(url)
	cfg.Backoff = []time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond}
	r := listen(t, pub, cfg, map[string]Handler{SentimentReportQueue: func(_ context.Context, d Delivery) error {
		s.add(d.Body)
		if up.Load() {
			return nil
		}
		return Outage(errors.New("away"))
	}})
	ch := channel(t, url)
	for i := range 20 {
		put(t, ch, SentimentReportQueue, fmt.Sprint(i))
	}
	r.until("all hands are full", func() bool { return s.len() == 5 })
	time.Sleep(time.Second)
	// Five in hand, 2 tries each in the first 30 ms, then ten in a second.
	if got := s.all(); got > 5*14 {
		t.Errorf("%d tries in a second", got)
	}
	if s.len() != 5 || depth(t, url, SentimentReportQueue) != 15 {
		t.Errorf("%d messages were tried and %d wait, want 5 in hand and 15", s.len(), depth(t, url, SentimentReportQueue))
	}
	if got := r.value("beat_listen_messages_total", "given back"); got != 0 {
		t.Errorf("%v were given back", got)
	}
	up.Store(true)
	r.until("all are done", func() bool { return r.value("beat_listen_messages_total", "done") == 20 })
}

// A message is not held for ever: the broker gives up consumers that do.
func TestHeldTooLongIsGivenBack(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	cfg := quick(url)
	cfg.Hold = 100 * time.Millisecond
	var again atomic.Bool
	r := listen(t, pub, cfg, map[string]Handler{KeywordQueue: func(_ context.Context, d Delivery) error {
		if d.Again && d.Try == 1 { // redelivered
			again.Store(true)
			return nil
		}
		return Outage(errors.New("away"))
	}})
	put(t, channel(t, url), KeywordQueue, "x")
	r.until("it comes again", func() bool {
		return again.Load() && r.value("beat_listen_messages_total", "given back") == 1 && r.value("beat_listen_messages_total", "done") == 1
	})
}

// The line breaks again and again, in the middle of frames too: every message is
// handled, and after the last break none is left.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	cuts := 0
	px := newProxy(t, url, func() int64 {
		if cuts++; cuts > 10 {
			return -1
		}
		return 4000 + rand.Int64N(4000)
	})
	ch := channel(t, url)
	if _, err := ch.QueueDeclare(KeywordQueue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		put(t, ch, KeywordQueue, fmt.Sprint(i))
	}
	var s seen
	r := listen(t, pub, quick(px.url), map[string]Handler{KeywordQueue: func(_ context.Context, d Delivery) error {
		s.add(d.Body)
		return nil
	}})
	r.until("all are handled", func() bool { return s.len() == 300 && depth(t, url, KeywordQueue) == 0 })
	r.stop()
	if n := depth(t, url, KeywordQueue); n != 0 {
		t.Errorf("%d came back", n)
	}
	if r.value("beat_listen_reconnects_total") == 0 {
		t.Error("no reconnect: the test is void")
	}
}

// A queue is deleted: where it is ours to declare, it is there again, bound and
// read, whoever deleted it.
func TestQueueIsDeleted(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	var s seen
	h := func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }
	r := listen(t, pub, quick(url), map[string]Handler{KeywordQueue: h})
	ch := channel(t, url)
	for i := range 3 {
		send(t, ch, broker.BeatExchange, "keyword_collection_rk", amqp.Publishing{Body: fmt.Append(nil, i)})
		r.until("the message", func() bool { return s.len() == i+1 })
		if _, err := ch.QueueDelete(KeywordQueue, false, false, false); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		r.until("five consumers again", func() bool {
			q, err := channel(t, url).QueueDeclarePassive(KeywordQueue, true, false, false, false, nil)
			return err == nil && q.Consumers == 5
		})
		t.Logf("read again after %s", time.Since(began).Round(time.Millisecond))
	}
}

// Without permission to declare: read as soon as somebody has made the queue.
func TestQueueIsRecreatedByItsOwner(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	ch := channel(t, url)
	declare := func() {
		t.Helper()
		if _, err := ch.QueueDeclare(KeywordQueue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	declare()
	var s seen
	cfg := quick(url)
	cfg.NoDeclare = true
	r := listen(t, pub, cfg, map[string]Handler{KeywordQueue: func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }})
	if _, err := ch.QueueDelete(KeywordQueue, false, false, false); err != nil {
		t.Fatal(err)
	}
	r.until("nobody reads it", func() bool { return r.value("beat_listen_consumers", KeywordQueue) == 0 })
	time.Sleep(300 * time.Millisecond)
	if depth(t, url, KeywordQueue) != -1 {
		t.Error("it was declared")
	}
	declare()
	put(t, ch, KeywordQueue, "x")
	r.until("the message", func() bool { return s.len() == 1 })
	if !strings.Contains(r.log.String(), "queue is not read") {
		t.Error("nothing is said of it")
	}
}

// A queue that exists is used as it is, a quorum queue too; one that is missing
// may be made one.
func TestQuorumQueues(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	ch := channel(t, url)
	if _, err := ch.QueueDeclare(KeywordQueue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	var s seen
	h := func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }
	cfg := quick(url)
	r := listen(t, pub, cfg, map[string]Handler{KeywordQueue: h})
	put(t, ch, KeywordQueue, "x")
	r.until("the message", func() bool { return s.len() == 1 })
	r.stop()
	cfg.QueueType = broker.Quorum
	r = listen(t, pub, cfg, map[string]Handler{SentimentQueue: h})
	if _, err := ch.QueueDeclare(SentimentQueue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Errorf("it was made no quorum queue: %v", err)
	}
	ch = channel(t, url)
	put(t, ch, SentimentQueue, "y")
	r.until("the message", func() bool { return s.len() == 2 })
}

// identity.dx is somebody else's: never declared, and the queue is bound once it
// is there.
func TestIdentityExchangeComesLate(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	var s seen
	r := listen(t, pub, quick(url), map[string]Handler{TokenQueue: func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }})
	ch := channel(t, url)
	put(t, ch, TokenQueue, "unbound")
	r.until("the message", func() bool { return s.len() == 1 })
	if err := channel(t, url).ExchangeDeclarePassive(broker.IdentityExchange, "direct", true, false, false, false, nil); err == nil {
		t.Fatal("identity.dx was declared")
	}
	if err := ch.ExchangeDeclare(broker.IdentityExchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	n := 0
	r.until("it is bound", func() bool {
		send(t, ch, broker.IdentityExchange, "new_access_token_rk", amqp.Publishing{Body: fmt.Append(nil, n)})
		n++
		return s.len() > 1
	})
}

// blocked is connection.blocked as the broker sends it.
func blocked(reason string) []byte {
	payload := append([]byte{0, 10, 0, 60, byte(len(reason))}, reason...)
	frame := []byte{1, 0, 0, 0, 0, 0, byte(len(payload))}
	return append(append(frame, payload...), 0xce)
}

// The broker is short of memory and blocks its publishers: messages are taken
// and acked all the same.
func TestConnectionIsBlocked(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	px := newProxy(t, url, nil)
	var s seen
	r := listen(t, pub, quick(px.url), map[string]Handler{KeywordQueue: func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }})
	px.say(t, blocked("low on memory"))
	r.until("it is known", func() bool { return r.value("beat_listen_blocked") == 1 })
	ch := channel(t, url)
	for i := range 20 {
		put(t, ch, KeywordQueue, fmt.Sprint(i))
	}
	r.until("all are handled", func() bool {
		return r.value("beat_listen_messages_total", "done") == 20 && depth(t, url, KeywordQueue) == 0
	})
	if got := r.value("beat_listen_reconnects_total"); got != 0 {
		t.Errorf("%v reconnects", got)
	}
}

// Another node takes over.
func TestNextNodeTakesOver(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	one, two := newProxy(t, url, nil), newProxy(t, url, nil)
	var s seen
	r := listen(t, pub, quick("amqp://guest:guest@127.0.0.1:1/x, "+one.url+","+two.url),
		map[string]Handler{KeywordQueue: func(_ context.Context, d Delivery) error { s.add(d.Body); return nil }})
	ch := channel(t, url)
	put(t, ch, KeywordQueue, "a")
	r.until("the first message", func() bool { return s.len() == 1 })
	one.ln.Close() //nolint:errcheck // that is the point
	one.cut()
	put(t, ch, KeywordQueue, "b")
	r.until("the second message", func() bool { return s.len() == 2 })
	if strings.Contains(r.log.String(), "guest") {
		t.Errorf("the log shows a password:\n%s", r.log)
	}
}

// Stopping finishes what is in hand, and gives back the rest at once.
func TestStop(t *testing.T) {
	t.Parallel()
	url := servertest.Vhost(t)
	pub, _ := newBox(t)
	began := make(chan struct{}, 100)
	r := listen(t, pub, quick(url), map[string]Handler{ValidateQueue: func(ctx context.Context, d Delivery) error {
		began <- struct{}{}
		if string(d.Body) == "stuck" {
			<-ctx.Done()
			return ctx.Err()
		}
		time.Sleep(200 * time.Millisecond)
		return nil
	}})
	ch := channel(t, url)
	put(t, ch, ValidateQueue, "stuck")
	for i := range 30 {
		put(t, ch, ValidateQueue, fmt.Sprint(i))
	}
	for range 5 {
		<-began
	}
	start := time.Now()
	r.stop()
	if took := time.Since(start); took < 200*time.Millisecond || took > 6*time.Second {
		t.Errorf("stopping took %s", took)
	}
	done := int(r.value("beat_listen_messages_total", "done"))
	if left := depth(t, url, ValidateQueue); done < 4 || done+left != 31 {
		t.Errorf("%d were finished and %d are left, of 31", done, left)
	}
}

// Bad addresses are an error at once, without their passwords.
func TestBadAddress(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "amqp://u:hunter2@[::", "http://u:hunter2@h"} {
		l := New(slogDiscard, nil, Config{URL: url}, map[string]Handler{KeywordQueue: (&seen{}).handle})
		err := l.Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Run with %q: %v", url, err)
		}
	}
}

// kill -9 of the broker, and its restart: what it had stored is handled, nothing
// is lost, and the queues are read again within 30 s.
func TestBrokerIsKilled(t *testing.T) {
	t.Parallel()
	rabbit, err := servers.Rabbit(t.Context(), servers.RabbitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rabbit.Discard() }) //nolint:errcheck // a private server
	pub, _ := newBox(t)
	tasks, db := newTasks(t)
	r := listen(t, pub, quick(rabbit.URL), tasks.Handlers())
	ch := channel(t, rabbit.URL)
	const n = 60
	for i := range n {
		send(t, ch, broker.BeatExchange, "keyword_collection_rk", amqp.Publishing{DeliveryMode: amqp.Persistent,
			Body: fmt.Appendf(nil, `{"job_id":"P_KC_%d","platform":"INSTAGRAM","keywords":["a"],"start_date":"2023-08-01","end_date":"2023-09-20"}`, i)})
	}
	if err := rabbit.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := rabbit.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	r.until("all queues are read again", func() bool {
		for name := range tasks.Handlers() {
			if r.value("beat_listen_consumers", name) != 5 {
				return false
			}
		}
		return r.value("beat_listen_up") == 1
	})
	t.Logf("listening again %s after the broker was back", time.Since(back).Round(time.Millisecond))
	r.until("all tasks", func() bool { return count(t, db, "SELECT count(*)::int FROM scrape_request_log") == n })
	if got := count(t, db, "SELECT count(DISTINCT params ->> 'job_id')::int FROM scrape_request_log"); got != n {
		t.Errorf("%d jobs in %d tasks", got, n)
	}
}

// No letter of a queue with secrets has one, whatever the message looks like.
func TestLettersHaveNoSecrets(t *testing.T) {
	t.Parallel()
	token := "EAAB" + strings.Repeat("planted", 7) // as long as a real one
	for _, body := range []string{
		`{"handle":"a.b","platform":"INSTAGRAM","graphAccessToken":"` + token + `"}`,
		`{"handle":"` + token + `"}`,
		`{"socialAccounts":[{"x":["` + token + `",{"` + token + `":1}]}]}`,
		`{"source":"x","credentials":{"X-RapidAPI-Key":"` + token + `","n":12345678}}`,
		`{"graphAccessToken":"` + token,
		`"` + token + `"`, token, "",
	} {
		q, _ := queue(TokenQueue)
		o := letter(q, Delivery{Queue: q.Name, Body: []byte(body), MessageID: token, Try: 1},
			&poison{cause: "malformed", err: errors.New("x")}, 1<<20)
		text := fmt.Sprint(o.Header, string(o.Data), o.ID)
		if strings.Contains(text, token) || strings.Contains(text, "12345678") || o.Header.Get(HeaderPartial) != "masked" {
			t.Errorf("%.40s: the letter is %s", body, text)
		}
		if !json.Valid(o.Data) {
			t.Errorf("%.40s: the letter holds %s", body, o.Data)
		}
	}
	q, _ := queue(TokenQueue)
	o := letter(q, Delivery{Body: []byte(`{"handle":"a.b","platform":"YOUTUBE","graphAccessToken":"x","accessTokenExpired":true}`)}, &poison{cause: "c", err: errors.New("x")}, 10)
	if got := string(o.Data); got != `{"accessTokenExpired":true,"graphAccessToken":"***","handle":"a.b","platform":"YOUTUBE"}` {
		t.Errorf("what is no secret is kept: %s", got)
	}
}

// A crash between letter and ack makes the same letter once more, which is stored
// once; the same body in another queue is another letter.
func TestLettersAreStoredOnce(t *testing.T) {
	t.Parallel()
	pub, box := newBox(t)
	p := &poison{cause: "malformed", err: errors.New("x")}
	for _, name := range []string{KeywordQueue, KeywordQueue, SentimentQueue} {
		q, _ := queue(name)
		if err := pub.Send(t.Context(), letter(q, Delivery{Body: []byte("{}"), Try: 1}, p, 10)); err != nil {
			t.Fatal(err)
		}
	}
	q, _ := queue(KeywordQueue)
	if err := pub.Send(t.Context(), letter(q, Delivery{Body: make([]byte, 9<<20), Try: 1}, p, 4<<20)); err != nil {
		t.Fatalf("a letter of a message of 9 MiB: %v", err)
	}
	letters, err := box.List(t.Context(), dead.Filter{})
	if err != nil || len(letters) != 3 {
		t.Errorf("%d letters, %v, want 3", len(letters), err)
	}
}
