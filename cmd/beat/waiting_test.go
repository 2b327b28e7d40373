package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"beat/providers/ratelimit"
	"beat/providers/sandbox"
	"beat/streams/schedule"
	"beat/streams/social"
)

const placeSQL = `coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute'`

// 10,000 tasks of two flows wait for a closed limit: that costs nothing. Once it
// opens they come at its rate, in the order of priority, and neither flow waits
// for the other.
func TestWaitingCostsNothing(t *testing.T) {
	const (
		waiting  = 10_000
		requests = 100
		seconds  = 5
		drained  = 500
	)
	w := newWorld(t, localConfig{})
	w.only("rapidapi-arraybobo")
	w.deps.Limit["rapidapi-arraybobo"] = fmt.Sprintf("%d/%d", requests, seconds)
	a := w.runAll()
	spec := ratelimit.Spec{Name: "rapidapi-arraybobo", Requests: requests, Seconds: seconds, Sliding: true}
	// Closed by somebody else for an hour.
	if err := a.rdb.Set(t.Context(), spec.Key(ratelimit.Calls), requests, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	cost := func() (goroutines int, conns int32) { // the most of two seconds, which are some looks of the scheduler
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			goroutines, conns = max(goroutines, runtime.NumGoroutine()), max(conns, a.db.Stat().AcquiredConns())
		}
		return goroutines, conns
	}
	goroutines, conns := cost()

	rs := make([]schedule.Request, waiting)
	for i := range rs {
		rs[i] = schedule.Request{Flow: "refresh_profile_basic", Platform: social.Instagram, Priority: 1 + rand.IntN(50),
			Params: json.RawMessage(fmt.Sprintf(`{"handle":"creator%05d","profile_id":null}`, i))}
		if i%2 == 1 {
			rs[i].Flow, rs[i].Params = "refresh_post_by_shortcode", json.RawMessage(fmt.Sprintf(`{"shortcode":"C%010d"}`, i))
		}
	}
	if err := w.queue.EnqueueAll(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	w.until("all are announced", func() bool { return w.int("SELECT count(*) FROM scrape_request_log WHERE announced") == waiting })
	most, busy := cost()
	t.Logf("idle: %d goroutines, %d connections; with %d tasks waiting: %d and %d", goroutines, conns, waiting, most, busy)
	if most >= goroutines+50 || busy > conns+1 { // the looks of two loops may meet in a sample
		t.Errorf("waiting costs %d goroutines and %d connections, want fewer than 50 and none", most-goroutines, busy-conns)
	}
	if got := w.int("SELECT count(*) FROM scrape_request_log WHERE status <> 'PENDING'"); got != 0 || w.box.Stats().Total != 0 {
		t.Errorf("%d tasks were claimed and %d calls made while the limit was closed", got, w.box.Stats().Total)
	}

	w.box.ResetStats()
	began := time.Now()
	if err := a.limiter.Reset(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	ended := func() int {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED')")
	}
	w.until("some are through", func() bool { return ended() >= drained })
	took := time.Since(began)
	// Calls are counted where they arrive, which on a loaded machine may be a second
	// after they were allowed. (The limiter's own tests are exact.)
	const window = seconds*time.Second - time.Second
	calls, inWindow := len(w.box.Times("rapidapi-arraybobo")), w.box.MaxInWindow("rapidapi-arraybobo", window)
	t.Logf("%d calls in %v, %d in the fullest window of %v", calls, took, inWindow, window)
	if inWindow > requests {
		t.Errorf("%d calls within %v, want at most %d", inWindow, window, requests)
	}
	if want := time.Duration(float64(drained) / requests * seconds * 1.25 * float64(time.Second)); took > want {
		t.Errorf("%d tasks took %v, want at most %v at the rate of the limit", drained, took, want)
	}
	for _, flow := range []string{"refresh_profile_basic", "refresh_post_by_shortcode"} {
		if n := w.int("SELECT count(*) FROM scrape_request_log WHERE flow = $1 AND status IN ('COMPLETE', 'FAILED')", flow); n < drained/3 {
			t.Errorf("%s: %d of %d tasks, want about half", flow, n, drained)
		}
		if n := w.int(`SELECT count(*) FROM scrape_request_log WHERE flow = $1 AND status <> 'PENDING'
			AND (`+placeSQL+`, id) > (SELECT `+placeSQL+`, id FROM scrape_request_log WHERE flow = $1 AND status = 'PENDING' ORDER BY 1, 2 LIMIT 1)`, flow); n != 0 {
			t.Errorf("%s: %d tasks were claimed before one of higher priority", flow, n)
		}
	}
	if n := w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'PROCESSING'"); n > 2*requests {
		t.Errorf("%d tasks are claimed, want no more than the limit pays for in the next moments", n)
	}
}

// All sources are down and come back, while tasks keep coming. None is lost,
// none fails, and ten seconds after the first source is back they complete.
// BEAT_SOAK=1 makes the outage the five minutes of the promise.
func TestOutageOfAllSources(t *testing.T) {
	outage := 25 * time.Second
	if os.Getenv("BEAT_SOAK") != "" {
		outage = 5 * time.Minute
	}
	w := newWorld(t, localConfig{sources: five})
	a := w.runAll()
	n := 0
	enqueue := func() {
		n++
		w.basic(fmt.Sprintf("creator%05d", n))
	}
	for range 200 {
		enqueue()
	}
	w.until("normal work", func() bool { return w.complete() >= 50 })
	down := map[string]int{}
	for _, source := range five {
		down[source] = w.box.Inject(sandbox.Fault{Source: source, Kind: []string{"503", "reset", "500", "refuse", "truncated"}[len(down)]})
	}
	for end := time.Now().Add(outage); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		enqueue()
	}
	if got := w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'FAILED'"); got != 0 {
		t.Errorf("%d tasks failed that could wait, such as: %s", got, w.text("SELECT min(data) FROM scrape_request_log WHERE status = 'FAILED'"))
	}
	calls := w.box.Stats().Total
	t.Logf("%d tasks, %d complete, %d calls in all; why of a waiting one: %+v", n, w.complete(), calls, func() why {
		y, err := a.why(t.Context(), int64(w.int("SELECT min(id)::int FROM scrape_request_log WHERE status = 'PENDING'")))
		if err != nil {
			t.Errorf("why: %v", err)
		}
		return y
	}())
	before := w.complete()
	w.box.Clear(down["rapidapi-jotucker"])
	back := time.Now()
	w.until("work after the first source is back", func() bool { return w.complete() > before+10 })
	if d := time.Since(back); d > 10*time.Second {
		t.Errorf("it took %v until work went on, want at most 10s", d)
	}
	w.until("completion", func() bool { return w.complete() == n })
	t.Logf("recovered: all %d complete %v after the first source was back", n, time.Since(back).Round(time.Millisecond))
	if got := w.int("SELECT count(*) FROM instagram_account"); got != n {
		t.Errorf("%d accounts, want %d", got, n)
	}
}
