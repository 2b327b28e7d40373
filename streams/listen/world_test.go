package listen

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/migrations/pgtest"
	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"
	"beat/streams/dead"
	"beat/streams/schedule"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// newDB makes a database of its own with the schema.
func newDB(t testing.TB, admin string) *pgxpool.Pool {
	t.Helper()
	return pgtest.Open(t, pgtest.URL(t, admin)+"&connect_timeout=2")
}

// newBox makes a JetStream with its DEAD stream.
func newBox(t testing.TB) (*bus.Publisher, *dead.Box) {
	t.Helper()
	_, _, js := natstest.New(t)
	if _, err := bus.Ensure(t.Context(), js, bus.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	pub := bus.NewPublisher(slog.New(slog.DiscardHandler), js, bus.PublisherConfig{Timeout: 500 * time.Millisecond})
	t.Cleanup(func() { pub.Close() }) //nolint:errcheck // only waits
	box, err := dead.Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return pub, box
}

// A running is a listener that runs until stop.
type running struct {
	*Listener
	t    testing.TB
	log  *syncBuffer
	stop func()
}

// quick is a Config with short waits.
func quick(url string) Config {
	return Config{URL: url, Backoff: []time.Duration{20 * time.Millisecond, 50 * time.Millisecond}, Recheck: 200 * time.Millisecond,
		Stop: 2 * time.Second, RetryMin: 10 * time.Millisecond, RetryMax: 200 * time.Millisecond}
}

func listen(t testing.TB, dead Sender, cfg Config, handlers map[string]Handler) *running {
	t.Helper()
	log := &syncBuffer{}
	l := New(slog.New(slog.NewTextHandler(log, nil)), dead, cfg, handlers)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	r := &running{l, t, log, nil}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	for name := range handlers {
		q, _ := queue(name)
		r.until("consumers of "+name, func() bool { return r.value("beat_listen_consumers", name) == float64(q.Consumers) })
	}
	return r
}

// value is the sum of a metric's series that have all these labels.
func (r *running) value(name string, labels ...string) (sum float64) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(r.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			has := func(l string) bool {
				return slices.ContainsFunc(m.Label, func(p *dto.LabelPair) bool { return p.GetValue() == l })
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(l string) bool { return !has(l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (r *running) until(what string, ok func() bool) { until(r.t, what, ok) }

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s still not: %s", what)
		}
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

func channel(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // done with it
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return ch
}

// put publishes as stir does: to the queue, without any property.
func put(t testing.TB, ch *amqp.Channel, queue string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		send(t, ch, "", queue, amqp.Publishing{Body: []byte(b)})
	}
}

func send(t testing.TB, ch *amqp.Channel, exchange, key string, m amqp.Publishing) {
	t.Helper()
	dc, err := ch.PublishWithDeferredConfirm(exchange, key, true, false, m)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := dc.WaitContext(t.Context()); err != nil || !ok {
		t.Fatalf("publish to %s/%s: confirmed %v, %v", exchange, key, ok, err)
	}
}

// depth is how many messages of a queue nobody has in hand, -1 without a queue.
func depth(t testing.TB, url, queue string) int {
	conn, err := amqp.Dial(url)
	if err != nil {
		return -1
	}
	defer conn.Close() //nolint:errcheck // done with it
	ch, err := conn.Channel()
	if err != nil {
		return -1
	}
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return -1
	}
	return q.Messages
}

// A seen counts what a handler was given, by body.
type seen struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *seen) add(b []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[string]int{}
	}
	s.n[string(b)]++
	return s.n[string(b)]
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.n)
}

func (s *seen) all() (sum int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.n {
		sum += n
	}
	return sum
}

func (s *seen) handle(context.Context, Delivery) error { return nil }

// A proxy stands between a listener and the broker.
type proxy struct {
	url string
	ln  net.Listener
	to  string

	mu    sync.Mutex
	conns []net.Conn // of both sides
	down  []net.Conn // to the client
	write sync.Mutex // of what goes to clients
	cutAt func() int64
}

// newProxy passes on up to cutAt() bytes of what the broker sends over each
// connection, then cuts it; nil: all of it.
func newProxy(t testing.TB, broker string, cutAt func() int64) *proxy {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: u.Host, cutAt: cutAt}
	u.Host = ln.Addr().String()
	p.url = u.String()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.cut(); wg.Wait() }) //nolint:errcheck // done with it
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close() //nolint:errcheck // done with it
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer d.Close() //nolint:errcheck // done with it
	left := int64(-1)
	p.mu.Lock()
	p.conns, p.down = append(p.conns, c, d), append(p.down, c)
	if p.cutAt != nil {
		left = p.cutAt()
	}
	p.mu.Unlock()
	go func() {
		io.Copy(d, c) //nolint:errcheck // ends with either
		d.Close()     //nolint:errcheck // done with it
	}()
	buf := make([]byte, 4096)
	for {
		n, err := d.Read(buf)
		if left >= 0 {
			n = int(min(int64(n), left))
			if left -= int64(n); left == 0 {
				err = io.EOF
			}
		}
		p.write.Lock()
		_, werr := c.Write(buf[:n])
		p.write.Unlock()
		if err != nil || werr != nil {
			return
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close() //nolint:errcheck // that is the point
	}
	p.conns, p.down = nil, nil
}

// say sends bytes to the clients as if the broker had. The line must be quiet.
func (p *proxy) say(t testing.TB, frame []byte) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write.Lock()
	defer p.write.Unlock()
	for _, c := range p.down {
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
}

// newTasks is the real handlers on a database of their own.
func newTasks(t testing.TB) (*Tasks, *pgxpool.Pool) {
	t.Helper()
	db := newDB(t, servertest.Postgres(t))
	return NewTasks(schedule.NewQueue(db, 0), db), db
}

func count(t testing.TB, db *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		return -1
	}
	return n
}

var slogDiscard = slog.New(slog.DiscardHandler)
