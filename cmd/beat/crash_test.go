package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bridge/amqpcheck"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// start runs roles as a process of its own, until the test ends or kills it.
func (w *world) start(listen string, roles ...string) *exec.Cmd {
	w.t.Helper()
	return w.begin(append(append([]string{"run"}, roles...), "--lease=45s", "--listen="+listen, "--heartbeat")...)
}

// begin runs a command that takes the flags of run, until the test ends or kills it.
func (w *world) begin(args ...string) *exec.Cmd {
	w.t.Helper()
	args = append(args, "--log-level=warn", "--pg-url="+w.deps.PGURL,
		"--nats-url="+w.deps.NATSURL, "--redis-url="+w.deps.RedisURL, "--rmq-url="+w.deps.RMQURL)
	for s, u := range w.deps.Endpoint {
		args = append(args, "--endpoint="+s+"="+u, "--limit="+s+"=0/1")
	}
	if w.s3 != nil {
		args = append(args, "--s3-bucket="+w.deps.S3Bucket, "--s3-endpoint="+w.deps.S3Endpoint, "--archive-every=300ms")
	}
	cmd := w.child(args...)
	cmd.Stderr, cmd.Stdout = w.t.Output(), w.t.Output()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	cmd.Process.Kill() //nolint:errcheck // may be gone
	cmd.Wait()         //nolint:errcheck // killed
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// everything is a queue that gets every message of beat.dx, so that the order
// across keys can be seen. The broker keeps it.
const everything = "test-everything"

func declare(t *testing.T, url string) {
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
	// Before the consumers' own queues: what they take is routed, and would not
	// come again for this one.
	if err := ch.ExchangeDeclare(bridge.BeatExchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(everything, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, k := range bridge.Keys {
		if k.Exchange != bridge.BeatExchange {
			continue
		}
		if err := ch.QueueBind(everything, k.Key, k.Exchange, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := bridge.DeclareConsumers(t.Context(), url, bridge.Consumers{}); err != nil {
		t.Fatal(err)
	}
}

// A tellable is one message that RabbitMQ must get.
type tellable struct {
	shard int
	id    string
}

// toTell is what EVENTS says to RabbitMQ, in its order.
func (w *world) toTell() []tellable {
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
	c, err := s.OrderedConsumer(w.t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		w.t.Fatal(err)
	}
	it, err := c.Messages()
	if err != nil {
		w.t.Fatal(err)
	}
	defer it.Stop()
	var out []tellable
	for {
		m, err := it.Next()
		if err != nil {
			w.t.Fatal(err)
		}
		shard, _, err := event.ParseSubject(m.Subject())
		if err != nil {
			w.t.Fatal(err)
		}
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			w.t.Fatal(err)
		}
		msgs, err := bridge.Messages(m.Subject(), m.Headers().Get, data)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, b := range msgs {
			out = append(out, tellable{shard, b.ID})
		}
		if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream == last {
			return out
		}
	}
}

// checkTold asserts that RabbitMQ got every message of n full refreshes at
// least once, each in its shard's order, and that each is one of the contract.
func (w *world) checkTold(n int) {
	w.t.Helper()
	// PENDING, PROCESSING and COMPLETE of each task, one event of each profile
	// answer, and one of each post of the three answers. The end of a task is
	// published after its rows are committed, so the last may be on their way.
	least := n * (3 + 1 + 36)
	var want []tellable
	var ids map[string]bool
	w.until(fmt.Sprintf("%d events in the stream", least), func() bool {
		want, ids = w.toTell(), map[string]bool{}
		for _, m := range want {
			ids[m.id] = true
		}
		return len(ids) >= least
	})
	conn, err := amqp.Dial(w.deps.RMQURL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		w.t.Fatal(err)
	}
	in, err := ch.Consume(everything, "", true, false, false, false, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	seen := map[string]bool{}
	for deadline := time.After(2 * time.Minute); len(seen) < len(ids); {
		select {
		case d := <-in:
			if err := amqpcheck.Check(d.RoutingKey, d.Body); err != nil {
				w.t.Errorf("%s: %v\n%s", d.RoutingKey, err, d.Body)
			}
			if !ids[d.MessageId] {
				w.t.Fatalf("%s: a message with id %q, which no event has", d.RoutingKey, d.MessageId)
			}
			if !seen[d.MessageId] {
				seen[d.MessageId] = true
				got = append(got, d.MessageId)
			}
		case <-deadline:
			w.t.Fatalf("RabbitMQ has %d of %d messages", len(seen), len(ids))
		}
	}
	place := map[string]int{}
	for i, id := range got {
		place[id] = i
	}
	last, first := map[int]int{}, map[string]bool{}
	for _, m := range want {
		if first[m.id] { // the same event once more, from a run that came twice
			continue
		}
		first[m.id] = true
		if place[m.id] < last[m.shard] {
			w.t.Fatalf("message %s of shard %d came before an earlier one", m.id, m.shard)
		}
		last[m.shard] = place[m.id]
	}
}

// kill -9 of each role in the middle of 200 tasks, then a restart: all
// complete, nothing twice, everything told. The archive needs S3, and has a test
// of its own, as the listeners have.
func TestKillEachRole(t *testing.T) {
	roles := slices.DeleteFunc(slices.Clone(pipeline), func(r string) bool { return r == "archive" })
	for _, role := range roles {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			rmq := servertest.Vhost(t)
			declare(t, rmq)
			w := newWorld(t, localConfig{rmqURL: rmq})
			listen := freePort(t)
			rest := slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r == role || r == "gateway" })
			w.start("", rest...)
			victim := w.start(listen, role)
			const n = 200
			w.enqueue(n)
			if role == "gateway" {
				w.until("the gateway", func() bool { return get(t, "http://"+listen+"/healthz") == http.StatusOK })
			}
			w.until("the middle", func() bool { return w.complete() >= 20 })
			asked := make(chan struct{})
			if role == "gateway" { // in the middle of a request, too
				go func() {
					defer close(asked)
					res, err := http.Get("http://" + listen + "/profiles/instagram/byhandle/creator00200?full_refresh=1&force_refresh=1")
					if err == nil {
						res.Body.Close() //nolint:errcheck // only asked
					}
				}()
				w.until("the request", func() bool { return w.int("SELECT count(*) FROM scrape_request_log") > n })
			}
			kill(victim)
			w.start(listen, role)
			all := n
			if role == "gateway" {
				<-asked
				all++
				w.until("the gateway", func() bool {
					return get(t, "http://"+listen+"/profiles/instagram/byhandle/creator00200") == http.StatusOK
				})
			}
			w.until("completion", func() bool {
				return w.complete() == w.int("SELECT count(*) FROM scrape_request_log") && w.complete() >= all
			})
			w.check(n)
			w.checkTold(n)
		})
	}
}

// Each role, in a process of its own, is told to stop and started again, one after
// the other, while 150 tasks run and somebody asks for refreshes: every request is
// answered, every task completes, everything is told. (A gateway that is itself
// restarted stands behind a balancer, see TestRollingRestart.)
func TestEachRoleIsRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	listen := freePort(t)
	roles := slices.DeleteFunc(slices.Clone(pipeline), func(r string) bool { return r == "archive" || r == "gateway" })
	w.start(listen, "gateway")
	running := map[string]*exec.Cmd{}
	for _, r := range roles {
		running[r] = w.start("", r)
	}
	w.until("the gateway", func() bool { return get(t, "http://"+listen+"/healthz") == http.StatusOK })
	const n = 150
	w.enqueue(n)

	load, unload := context.WithCancel(t.Context())
	defer unload()
	var asking sync.WaitGroup
	var asked atomic.Int64
	for range 2 {
		asking.Go(func() {
			for load.Err() == nil {
				k := asked.Add(1)
				code, body := ask(t, "GET", fmt.Sprintf("http://%s/profiles/instagram/byhandle/creator%05d?force_refresh=1", listen, k%n+1), "")
				if code != http.StatusOK || !strings.Contains(body, `"type":"SUCCESS"`) {
					t.Errorf("request %d: got %d %s", k, code, body)
				}
			}
		})
	}
	w.until("the first tasks", func() bool { return w.complete() >= 10 })
	for _, r := range roles {
		began := time.Now()
		if err := running[r].Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := running[r].Wait(); err != nil {
			t.Errorf("%s was told to stop, and ended with %v", r, err)
		}
		t.Logf("%s stopped in %s", r, time.Since(began).Round(time.Millisecond))
		running[r] = w.start("", r)
		before := w.complete()
		w.until("progress with the new "+r, func() bool { return w.complete() > before })
	}
	unload()
	asking.Wait()
	t.Logf("%d requests", asked.Load())
	w.until("completion", func() bool { return w.complete() == w.int("SELECT count(*) FROM scrape_request_log") })
	w.check(n)
	w.checkTold(n)
}

// get returns the status of an answer, 0 for none.
func get(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// Postgres is restarted in the middle of 200 tasks, once in good order and once
// by a kill.
func TestPostgresRestartedInTheMiddle(t *testing.T) {
	t.Parallel()
	pg, err := servers.Postgres(t.Context(), servers.PostgresConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Discard() }) //nolint:errcheck // a private server
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{pgURL: pg.URL, rmqURL: rmq})
	w.runAll()
	const n = 200
	w.enqueue(n)
	w.until("the first tasks", func() bool { return w.complete() >= 20 })
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("the middle", func() bool { return w.complete() >= 80 })
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("completion", func() bool { return w.complete() == n })
	w.check(n)
	w.checkTold(n)
}

// RabbitMQ is down for a whole run, in which every profile is refreshed twice:
// nothing waits for it, and afterwards everything arrives in order.
func TestRabbitAbsentForTheWholeRun(t *testing.T) {
	t.Parallel()
	rabbit, err := servers.Rabbit(t.Context(), servers.RabbitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rabbit.Discard() }) //nolint:errcheck // a private server
	declare(t, rabbit.URL)
	if err := rabbit.Kill(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, localConfig{rmqURL: rabbit.URL})
	w.runAll()
	const n = 30
	for round := range 2 {
		w.enqueue(n)
		w.until("completion", func() bool { return w.complete() == (round+1)*n })
	}
	w.check(n)
	if err := rabbit.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.checkTold(2 * n)
}

// A stage is down for longer than a lease. The tasks whose answers wait for it
// are not dead: nobody claims them again, no provider is asked twice.
func TestLongWaitIsNotClaimedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.deps.Lease = time.Second
	_, stopRest := w.runRoles("scheduler", "retrieval", "processing", "projections")
	defer stopRest()
	const n = 10
	w.enqueue(n)
	w.until("extended leases", func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE lease_until > picked_at + interval '3 seconds'") == n
	})
	_, stopParsing := w.runRoles("parsing")
	defer stopParsing()
	w.until("completion", func() bool { return w.complete() == n })
	w.check(n)
	if got := w.int("SELECT count(*) FROM scrape_request_log WHERE retry_count IS NOT NULL"); got != 0 {
		t.Errorf("%d of %d tasks were claimed again", got, n)
	}
	if got := w.box.Stats().Total; got != 3*n {
		t.Errorf("%d calls of providers, want %d", got, 3*n)
	}
}

// A chain of 40 pages goes on where it was after every role was killed on page
// 17: no page but that one is fetched a second time.
func TestKillEveryRoleOnPage17(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{sources: []string{sandbox.JoTucker}})
	w.box.Inject(sandbox.Fault{Source: sandbox.JoTucker, Kind: "slow", Delay: 50 * time.Millisecond})
	stages := []string{"scheduler", "retrieval", "parsing", "processing", "projections"}
	victim := w.start("", stages...)
	id := w.put("fetch_profile_followers", map[string]string{"profile_id": "4000000007"})
	w.until("page 17", func() bool { return w.calls(sandbox.JoTucker) == 17 })
	kill(victim)
	w.start("", stages...)
	w.outcome(id, social.Complete)
	if got := w.calls(sandbox.JoTucker); got != 40 && got != 41 {
		t.Errorf("%d calls for 40 pages, want at most one more", got)
	}
	if got := w.int("SELECT count(DISTINCT source_profile_id) FROM profile_relationship_log"); got != 2000 {
		t.Errorf("%d followers, want 2000", got)
	}
	if got := w.int("SELECT count(*) FROM profile_relationship_log"); got != 2000 {
		t.Errorf("%d rows, want one for each follower", got)
	}
}
