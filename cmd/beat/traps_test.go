package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/providers/sandbox"
	"beat/streams/flow"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// The traps that the existing system fell into, one test each, by the words of
// the design. The first, a claim that takes more than its limit, is tested in
// streams/schedule.

// The same handle asked for twice at once: 32 of 200 tasks failed on a unique
// violation.
func TestTrapSameHandleAskedForTwiceAtOnce(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	const n, handles = 200, 20
	for range n / handles {
		w.enqueue(handles)
	}
	w.until("the end of all", func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED')") == n
	})
	w.check(handles)
}

// COMPLETE and its event came before the data was committed.
func TestTrapCompleteBeforeTheData(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	w.runAll()
	conn, err := amqp.Dial(rmq)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	in, err := ch.Consume("scrape_request_log_events_q", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	w.enqueue(n)
	deadline := time.After(time.Minute)
	for complete := 0; complete < n; {
		select {
		case d := <-in:
			var e struct {
				ID     string                  `json:"scl_id"`
				Status string                  `json:"status"`
				Params struct{ Handle string } `json:"params"`
			}
			if err := json.Unmarshal(d.Body, &e); err != nil {
				t.Fatalf("%v: %s", err, d.Body)
			}
			if e.Status != social.Complete {
				continue
			}
			complete++
			if w.int("SELECT count(*) FROM scrape_request_log WHERE id = $1::text::bigint AND status = 'COMPLETE'", e.ID) != 1 ||
				w.int("SELECT count(*) FROM instagram_account WHERE handle = $1 AND followers IS NOT NULL", e.Params.Handle) != 1 ||
				w.int("SELECT count(*) FROM instagram_post p JOIN instagram_account a USING (profile_id) WHERE a.handle = $1", e.Params.Handle) != 24 {
				t.Errorf("task %s is told as COMPLETE, and the rows of %s are not there", e.ID, e.Params.Handle)
			}
		case <-deadline:
			t.Fatalf("%d of %d tasks told as COMPLETE", complete, n)
		}
		// In one snapshot: no task is COMPLETE without its account.
		if got := w.int(`SELECT count(*) FROM scrape_request_log t WHERE status = 'COMPLETE' AND NOT EXISTS (
			SELECT FROM instagram_account a WHERE a.handle = t.params ->> 'handle')`); got != 0 {
			t.Errorf("%d tasks are COMPLETE without their account", got)
		}
	}
}

// A failed event turned a finished task into FAILED. Here no queue takes any
// event: the broker returns them all.
func TestTrapFailedEventFailsAFinishedTask(t *testing.T) {
	rmq := servertest.Vhost(t)
	w := newWorld(t, localConfig{rmqURL: rmq})
	a := w.runAll()
	const n = 20
	w.enqueue(n)
	w.until("completion", func() bool { return w.complete() == n })
	w.until("returned events", func() bool {
		families, err := a.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "beat_bridge_returned_total" && m.GetCounter().GetValue() > 0 {
					return true
				}
			}
		}
		return false
	})
	w.check(n)
	declare(t, rmq)
	w.checkTold(n)
	w.check(n)
}

// A broker outage blocked workers for seconds per task and then leaked their
// slots for good. Here it begins in the middle of a run, which goes on, and
// afterwards every slot is free.
func TestTrapBrokerOutageBlocksWorkersAndLeaksSlots(t *testing.T) {
	rabbit, err := servers.Rabbit(t.Context(), servers.RabbitConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rabbit.Discard() }) //nolint:errcheck // a private server
	declare(t, rabbit.URL)
	w := newWorld(t, localConfig{rmqURL: rabbit.URL})
	w.runAll()
	const n = 200
	w.enqueue(n)
	w.until("the middle", func() bool { return w.complete() >= 20 })
	if err := rabbit.Kill(); err != nil {
		t.Fatal(err)
	}
	w.until("completion without the broker", func() bool { return w.complete() == n })
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range consumers(flow.All) {
		w.until("free slots of "+c.Durable, func() bool {
			got, err := js.Consumer(t.Context(), c.Stream, c.Durable)
			return err == nil && got.CachedInfo().NumAckPending == 0 && got.CachedInfo().NumPending == 0
		})
	}
	if err := rabbit.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check(n)
	w.checkTold(n)
}

// Work held only in memory between claim and finish: 10 % of the picked tasks
// stayed PROCESSING for ever. Here everything is killed, three times.
func TestTrapWorkHeldOnlyInMemory(t *testing.T) {
	w := newWorld(t, localConfig{})
	const n = 200
	w.enqueue(n)
	for _, done := range []int{20, 60, 100} {
		all := w.start("", "scheduler", "retrieval", "parsing", "processing", "projections")
		w.until("some tasks", func() bool { return w.complete() >= done })
		kill(all)
	}
	w.start("", "scheduler", "retrieval", "parsing", "processing", "projections")
	w.until("completion", func() bool { return w.complete() == n })
	w.check(n)
}

// A worker that sleeps when busy: half the machine idle with a full queue. Here
// the provider is slow, and asks it has room for are all asked.
func TestTrapWorkerSleepsWhenBusy(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 500 * time.Millisecond})
	f, ok := flow.ByName("refresh_profile_by_handle")
	if !ok {
		t.Fatal("no such flow")
	}
	w.runAll()
	n := 3 * f.InFlight()
	w.enqueue(n)
	w.until("completion", func() bool { return w.complete() == n })
	if got := w.box.Stats().Sources["graphapi"].MaxInFlight; got < f.InFlight()*9/10 || got > f.InFlight() {
		t.Errorf("%d calls in flight at most, want the flow's %d", got, f.InFlight())
	}
	w.check(n)
}

// One cold refresh in the HTTP process made everyone else's warm reads 15 times
// slower. Here the provider hangs for seconds, and warm reads pass by.
func TestTrapColdRefreshSlowsWarmReads(t *testing.T) {
	w := newWorld(t, localConfig{})
	a := w.runAll()
	root := "http://" + <-a.addr
	read := func(handle, query string) error {
		res, err := http.Get(root + "/profiles/instagram/byhandle/" + handle + query)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || len(body) < 200) {
			err = fmt.Errorf("status %d: %s", res.StatusCode, body)
		}
		return err
	}
	if err := read("creator00001", "?full_refresh=1"); err != nil {
		t.Fatal(err)
	}
	const cold = 8
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 3 * time.Second, Count: cold})
	refreshed := make(chan error, cold)
	for i := range cold {
		go func() { refreshed <- read(fmt.Sprintf("creator%05d", 100+i), "?full_refresh=1") }()
	}
	w.until("cold refreshes", func() bool { return w.box.Stats().Sources["graphapi"].InFlight == cold })
	for range 200 {
		if err := read("creator00001", ""); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-refreshed:
		t.Error("200 warm reads took as long as a cold refresh of three seconds")
	default:
	}
	for range cold {
		if err := <-refreshed; err != nil {
			t.Error(err)
		}
	}
}
