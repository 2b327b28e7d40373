package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"beat/streams/event"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) {
	servertest.Main(m)
}

// leaks fails the test if it leaves goroutines behind. The servers' own, and
// what net/http keeps for the management API, were there before.
func leaks(t *testing.T) {
	t.Helper()
	opts := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, opts) })
}

type running struct {
	*Publisher
	stop func() // ends Run and waits for it
}

// start runs a publisher with short delays until the test ends.
func start(t testing.TB, cfg Config) running {
	t.Helper()
	orDefault(&cfg.RetryMin, 20*time.Millisecond)
	orDefault(&cfg.RetryMax, 100*time.Millisecond)
	p := New(slog.New(slog.DiscardHandler), cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop := func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return running{p, stop}
}

// messages are n of one key, whose bodies say who and which they are.
func messages(k Key, who string, from, n int) []Message {
	out := make([]Message, n)
	for i := range out {
		out[i] = Message{k.Exchange, k.Key, event.ID(who, k.Key, from+i), fmt.Appendf(nil, `{"who":%q,"n":%d}`, who, from+i)}
	}
	return out
}

func key(name string) Key {
	for _, k := range Keys {
		if k.Key == name {
			return k
		}
	}
	panic(name)
}

func channel(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func declareQueue(t testing.TB, ch *amqp.Channel, k Key, args amqp.Table) {
	t.Helper()
	if err := ch.ExchangeDeclare(k.Exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(k.Queue, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(k.Queue, k.Key, k.Exchange, false, nil); err != nil {
		t.Fatal(err)
	}
}

// take empties a queue.
func take(t testing.TB, ch *amqp.Channel, queue string) []amqp.Delivery {
	t.Helper()
	var out []amqp.Delivery
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, d)
	}
}

// inOrder reports whether ds hold all of msgs, and their first occurrences in
// the order of msgs.
func inOrder(t testing.TB, ds []amqp.Delivery, msgs []Message) {
	t.Helper()
	var got, want []string
	seen := map[string]bool{}
	for _, d := range ds {
		if !seen[d.MessageId] {
			seen[d.MessageId] = true
			got = append(got, string(d.Body))
		}
	}
	for _, m := range msgs {
		want = append(want, string(m.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d messages (%d with repeats), want %d in order; got %.300v", len(got), len(ds), len(want), got)
	}
}

func value(t testing.TB, p *Publisher, name, key string) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(p.Collectors()...)
	fs, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		for _, m := range f.Metric {
			if f.GetName() == name && (len(m.Label) == 0 || slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetValue() == key })) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after 30s still not: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestPublish(t *testing.T) {
	url := servertest.Vhost(t)
	leaks(t)
	ch := channel(t, url)
	defer ch.Close()
	if err := DeclareConsumers(t.Context(), url, Consumers{}); err != nil {
		t.Fatal(err)
	}
	p := start(t, Config{URL: url, Window: 16})
	defer p.stop()

	var all []Message
	want := map[string][]Message{}
	for i := range 500 { // all keys mixed, more than many windows
		k := Keys[i%len(Keys)]
		m := messages(k, "mixed", i, 1)
		all = append(all, m...)
		want[k.Queue] = append(want[k.Queue], m...)
	}
	if err := p.Publish(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	delete(want, "") // nobody takes those
	for queue, msgs := range want {
		ds := take(t, ch, queue)
		inOrder(t, ds, msgs)
		if len(ds) != len(msgs) {
			t.Errorf("%s: got %d messages, want %d: none twice", queue, len(ds), len(msgs))
		}
	}
	if got := value(t, p.Publisher, "beat_bridge_returned_total", "yt_activity_log_events"); got == 0 {
		t.Error("returned messages of a key without queue are not counted")
	}
	if got, want := value(t, p.Publisher, "beat_bridge_confirmed_total", KeyPost), float64(len(want["post_log_events_q"])); got != want {
		t.Errorf("confirmed: got %v, want %v", got, want)
	}
	if value(t, p.Publisher, "beat_bridge_up", "") != 1 {
		t.Error("up is not 1")
	}
	if err := p.Publish(t.Context(), nil); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestProperties(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	k := key(KeyPost)
	declareQueue(t, ch, k, nil)
	p := start(t, Config{URL: url})
	m := messages(k, "one", 0, 1)
	if err := p.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	ds := take(t, ch, k.Queue)
	if len(ds) != 1 {
		t.Fatalf("got %d messages, want 1", len(ds))
	}
	d := ds[0]
	if d.ContentType != "application/json" || d.ContentEncoding != "utf-8" || d.DeliveryMode != 2 || d.MessageId != m[0].ID ||
		len(d.Headers) != 0 || d.Priority != 0 || d.RoutingKey != k.Key || d.Exchange != k.Exchange || string(d.Body) != string(m[0].Body) {
		t.Errorf("got %+v", d)
	}
}

// Both of our exchanges exist afterwards, as coffee declares them.
func TestDeclares(t *testing.T) {
	url := servertest.Vhost(t)
	p := start(t, Config{URL: url})
	until(t, "up", func() bool { return value(t, p.Publisher, "beat_bridge_up", "") == 1 })
	for _, c := range []struct {
		exchange string
		want     bool
	}{{BeatExchange, true}, {CoffeeExchange, true}, {IdentityExchange, false}} {
		err := channel(t, url).ExchangeDeclarePassive(c.exchange, "direct", true, false, false, false, nil)
		if (err == nil) != c.want {
			t.Errorf("%s: %v, want it there: %v", c.exchange, err, c.want)
		}
	}
	if err := channel(t, url).ExchangeDeclare(BeatExchange, "direct", true, false, false, false, nil); err != nil {
		t.Errorf("coffee cannot declare %s: %v", BeatExchange, err)
	}
}

// A required key without queue is tried until the queue is there; the other
// keys of the batch, and other batches, do not wait for it.
func TestRequiredWaitsForItsQueue(t *testing.T) {
	url := servertest.Vhost(t)
	leaks(t)
	ch := channel(t, url)
	defer ch.Close()
	post, prof := key(KeyPost), key(KeyProfile)
	declareQueue(t, ch, prof, nil)
	p := start(t, Config{URL: url, Window: 8, Channels: 2})
	defer p.stop()

	posts, profs := messages(post, "a", 0, 50), messages(prof, "a", 0, 50)
	var all []Message
	for i := range posts {
		all = append(all, posts[i], profs[i])
	}
	told := make(chan error, 1)
	go func() { told <- p.Publish(t.Context(), all) }()
	until(t, "three returns", func() bool { return value(t, p.Publisher, "beat_bridge_returned_total", KeyPost) >= 53 })
	select {
	case err := <-told:
		t.Fatalf("Publish returned %v before the queue was there", err)
	default:
	}
	if got := value(t, p.Publisher, "beat_bridge_returned_total", KeyPost); got >= 100 {
		t.Errorf("%v returns: the whole batch is sent at every try, want one as a probe", got)
	}
	others := messages(prof, "b", 0, 20)
	for range 4 { // more than there are channels
		if err := p.Publish(within(t, 10*time.Second), others); err != nil {
			t.Fatalf("another batch: %v", err)
		}
	}
	declareQueue(t, ch, post, nil)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	ds := take(t, ch, post.Queue)
	inOrder(t, ds, posts)
	if len(ds) != len(posts) {
		t.Errorf("got %d posts, want %d", len(ds), len(posts))
	}
	inOrder(t, take(t, ch, prof.Queue), append(profs, others...))
}

// The same id twice in a batch: each return is of the right one.
func TestReturnsOfEqualIDs(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	post := key(KeyPost)
	p := start(t, Config{URL: url})
	msgs := slices.Repeat(messages(post, "same", 0, 1), 40)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 1)
	go func() { told <- p.Publish(ctx, msgs) }()
	until(t, "returns", func() bool { return value(t, p.Publisher, "beat_bridge_returned_total", KeyPost) >= 42 })
	if got := value(t, p.Publisher, "beat_bridge_confirmed_total", KeyPost); got != 0 {
		t.Errorf("%v confirmed, want 0: nothing took them", got)
	}
	cancel()
	if err := <-told; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	declareQueue(t, ch, post, nil)
	if err := p.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	if ds := take(t, ch, post.Queue); len(ds) != 40 {
		t.Errorf("got %d messages, want 40", len(ds))
	}
}

// A queue that is full refuses with basic.nack; what was refused comes, in
// order, when there is room.
func TestRefused(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	post := key(KeyPost)
	declareQueue(t, ch, post, amqp.Table{"x-max-length": int64(10), "x-overflow": "reject-publish"})
	p := start(t, Config{URL: url})
	msgs := messages(post, "a", 0, 35)
	told := make(chan error, 1)
	go func() { told <- p.Publish(within(t, time.Minute), msgs) }()
	var ds []amqp.Delivery
	var err error
	until(t, "all told", func() bool {
		select {
		case err = <-told:
			return true
		default:
			ds = append(ds, take(t, ch, post.Queue)...)
			return false
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ds = append(ds, take(t, ch, post.Queue)...)
	if value(t, p.Publisher, "beat_bridge_refused_total", KeyPost) == 0 {
		t.Error("nothing was refused: the test is void")
	}
	// The last occurrences are what a consumer ends with.
	last := map[string]int{}
	for i, d := range ds {
		last[d.MessageId] = i
	}
	for i := 1; i < len(msgs); i++ {
		if a, b := last[msgs[i-1].ID], last[msgs[i].ID]; a >= b {
			t.Errorf("message %d ends at place %d, the next at %d", i-1, a, b)
		}
	}
	if len(last) != len(msgs) {
		t.Errorf("got %d different messages, want %d", len(last), len(msgs))
	}
}

// An exchange that is missing closes the channel; the batch waits, and goes on
// when it is there.
func TestMissingExchange(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	post := key(KeyPost)
	done := key("keyword_collection_report_completion")
	p := start(t, Config{URL: url, NoDeclare: true})
	posts, reports := messages(post, "a", 0, 30), messages(done, "a", 0, 3)
	declareQueue(t, ch, done, nil)
	told := make(chan error, 1)
	go func() { told <- p.Publish(within(t, time.Minute), append(slices.Clone(posts), reports...)) }()
	until(t, "the other exchange's messages", func() bool {
		return value(t, p.Publisher, "beat_bridge_confirmed_total", done.Key) == 3
	})
	// The exchange comes back before its queue: one message at a time is sent to
	// see, or the queue would get the tail of the batch before its head.
	if err := ch.ExchangeDeclare(post.Exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the first message returned", func() bool {
		return value(t, p.Publisher, "beat_bridge_returned_total", post.Key) >= 1
	})
	declareQueue(t, ch, post, nil)
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	got := take(t, ch, post.Queue)
	inOrder(t, got, posts)
	if len(got) != len(posts) {
		t.Errorf("%d messages, want %d, none twice", len(got), len(posts))
	}
	inOrder(t, take(t, ch, done.Queue), reports)
	if got := value(t, p.Publisher, "beat_bridge_reconnects_total", ""); got != 0 {
		t.Errorf("%v reconnects, want 0: only the channel is lost", got)
	}
}

func TestIdentityAbsentThenPresentThenGone(t *testing.T) {
	url := servertest.Vhost(t)
	ch := channel(t, url)
	trace, post := key(KeyTrace), key(KeyPost)
	declareQueue(t, ch, post, nil)
	p := start(t, Config{URL: url, Recheck: 50 * time.Millisecond})
	confirmed := func() float64 { return value(t, p.Publisher, "beat_bridge_confirmed_total", KeyTrace) }
	dropped := func() float64 { return value(t, p.Publisher, "beat_bridge_dropped_total", KeyTrace) }

	mixed := append(messages(trace, "a", 0, 10), messages(post, "a", 0, 10)...)
	if err := p.Publish(t.Context(), mixed); err != nil {
		t.Fatal(err)
	}
	if dropped() != 10 || confirmed() != 0 {
		t.Errorf("absent: %v dropped, %v confirmed, want 10, 0", dropped(), confirmed())
	}
	inOrder(t, take(t, ch, post.Queue), mixed[10:])

	declareQueue(t, ch, trace, nil)
	msgs := messages(trace, "b", 0, 10)
	until(t, "it is found", func() bool {
		if err := p.Publish(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
		return confirmed() > 0
	})
	ds := take(t, ch, trace.Queue)
	inOrder(t, ds, msgs)

	// Nobody bound: not required, so done.
	if err := ch.QueueUnbind(trace.Queue, trace.Key, trace.Exchange, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(within(t, 10*time.Second), msgs); err != nil {
		t.Fatal(err)
	}
	if got := value(t, p.Publisher, "beat_bridge_returned_total", KeyTrace); got != 10 {
		t.Errorf("unbound: %v returned, want 10", got)
	}

	if err := ch.ExchangeDelete(IdentityExchange, false, false); err != nil {
		t.Fatal(err)
	}
	before := dropped()
	if err := p.Publish(within(t, 10*time.Second), append(messages(trace, "c", 0, 5), messages(post, "c", 0, 5)...)); err != nil {
		t.Fatal(err)
	}
	if dropped() != before+5 {
		t.Errorf("gone: %v dropped, want 5", dropped()-before)
	}
	inOrder(t, take(t, ch, post.Queue), messages(post, "c", 0, 5))
	if got := value(t, p.Publisher, "beat_bridge_reconnects_total", ""); got != 0 {
		t.Errorf("%v reconnects, want 0", got)
	}
}

func TestPublishEnds(t *testing.T) {
	leaks(t)
	p := New(slog.New(slog.DiscardHandler), Config{URL: "amqp://guest:hunter2@127.0.0.1:1/", ConnectTimeout: time.Second})
	msgs := messages(key(KeyPost), "a", 0, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Publish(ctx, msgs); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before Run: got %v, want DeadlineExceeded", err)
	}
	run, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- p.Run(run) }()
	go func() { ended <- p.Publish(context.Background(), msgs) }()
	stop()
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want nil of Run, ErrStopped of Publish", err)
		}
	}
	for _, bad := range []Message{{BeatExchange, "post_log_events_bkp", "x", nil}, {BeatExchange, KeyTrace, "x", nil}, {BeatExchange, KeyPost, string(make([]byte, 256)), nil}} {
		if err := p.Publish(t.Context(), []Message{bad}); err == nil || errors.Is(err, ErrStopped) {
			t.Errorf("%s/%s: got %v, want an error at once", bad.Exchange, bad.Key, err)
		}
	}
	if err := New(slog.New(slog.DiscardHandler), Config{URL: "amqp://a:hunter2@[::"}).Run(t.Context()); err == nil {
		t.Error("Run with a broken URL: got no error")
	} else if s := err.Error(); len(s) == 0 || slices.Contains([]byte(s), '@') {
		t.Errorf("Run with a broken URL: the error shows it: %v", err)
	}
}

// Many Publish at once, each in order.
func TestConcurrent(t *testing.T) {
	url := servertest.Vhost(t)
	leaks(t)
	ch := channel(t, url)
	defer ch.Close()
	if err := DeclareConsumers(t.Context(), url, Consumers{}); err != nil {
		t.Fatal(err)
	}
	p := start(t, Config{URL: url, Window: 32, Channels: 3})
	defer p.stop()
	var wg sync.WaitGroup
	for shard := range 8 {
		wg.Go(func() {
			for from := 0; from < 200; from += 50 {
				if err := p.Publish(t.Context(), messages(key(KeyPost), strconv.Itoa(shard), from, 50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	of := map[byte][]amqp.Delivery{}
	for _, d := range take(t, ch, "post_log_events_q") {
		of[d.Body[8]] = append(of[d.Body[8]], d)
	}
	for shard := range 8 {
		inOrder(t, of[byte('0'+shard)], messages(key(KeyPost), strconv.Itoa(shard), 0, 200))
	}
}

// The broker is away when the run begins, comes, is killed and stopped in the
// middle, and comes again: all arrive, in order per key.
func TestBrokerComesAndGoes(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	s, err := servers.Rabbit(ctx, servers.RabbitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Discard() })
	if err := DeclareConsumers(ctx, s.URL, Consumers{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	p := start(t, Config{URL: s.URL, Window: 64})
	defer p.stop()

	const shards, rounds, size = 3, 40, 100
	var wg sync.WaitGroup
	gate := make(chan struct{}) // holds the second half back until the broker is about to go
	publish := func(shard, from, to int) {
		k := Keys[shard]
		for r := from; r < to; r++ {
			if err := p.Publish(ctx, messages(k, "s", r*size, size)); err != nil {
				t.Errorf("%s round %d: %v", k.Key, r, err)
				return
			}
		}
	}
	for shard := range shards {
		wg.Go(func() {
			publish(shard, 0, rounds/2)
			<-gate
			publish(shard, rounds/2, rounds)
		})
	}
	confirmed := func() (n float64) {
		for shard := range shards {
			n += value(t, p.Publisher, "beat_bridge_confirmed_total", Keys[shard].Key)
		}
		return n
	}
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "some confirmed", func() bool { return confirmed() > 500 })
	if err := s.Restart(ctx); err != nil { // an orderly stop in the middle
		t.Fatal(err)
	}
	until(t, "first half confirmed", func() bool { return confirmed() >= shards*rounds/2*size })
	close(gate)
	until(t, "into the second half", func() bool { return confirmed() > shards*rounds/2*size+500 })
	if err := s.Kill(); err != nil { // a crash in the middle
		t.Fatal(err)
	}
	until(t, "down", func() bool { return value(t, p.Publisher, "beat_bridge_up", "") == 0 })
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	t.Logf("%v reconnects", value(t, p.Publisher, "beat_bridge_reconnects_total", ""))
	ch := channel(t, s.URL)
	for shard := range shards {
		inOrder(t, take(t, ch, Keys[shard].Queue), messages(Keys[shard], "s", 0, rounds*size))
	}
}

// What one publisher gets confirmed, 1 KB each, in batches of 500. The CPU figures, of this process
// and of the broker, say what it costs where other work blurs the rate.
func BenchmarkPublish(b *testing.B) {
	s, err := servers.Rabbit(b.Context(), servers.RabbitConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Discard() })
	if err := DeclareConsumers(b.Context(), s.URL, Consumers{}); err != nil {
		b.Fatal(err)
	}
	for _, window := range []int{64, 256, 512, 1024} {
		for _, lanes := range []int{1, 16} {
			b.Run(fmt.Sprintf("window=%d/lanes=%d", window, lanes), func(b *testing.B) {
				p := start(b, Config{URL: s.URL, Window: window})
				body := bytes.Repeat([]byte("x"), 1024)
				batches := make([][]Message, lanes)
				for l := range batches {
					batches[l] = messages(key(KeyPost), "b", 0, 500)
					for i := range batches[l] {
						batches[l][i].Body = body
						if i%13 == 0 {
							batches[l][i].Key = KeyProfile
						}
					}
				}
				if err := p.Publish(b.Context(), batches[0]); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				before, broker := cpu(b), must(s.CPU())
				b.ResetTimer()
				next := make(chan struct{}, b.N)
				for range b.N {
					next <- struct{}{}
				}
				close(next)
				var wg sync.WaitGroup
				for l := range lanes {
					wg.Go(func() {
						for range next {
							if err := p.Publish(b.Context(), batches[l]); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				n := float64(b.N * 500)
				b.ReportMetric(n/b.Elapsed().Seconds(), "msg/s")
				b.ReportMetric(float64((cpu(b)-before).Microseconds())/n, "cpu-µs/msg")
				b.ReportMetric(float64((must(s.CPU())-broker).Microseconds())/n, "broker-µs/msg")
				p.stop()
			})
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
