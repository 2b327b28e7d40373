package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/processors"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/instagram/graphapi"
	"beat/providers/providertest"
	"beat/providers/ratelimit"
	"beat/providers/sandbox"
	"beat/providers/youtube/ytapi"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/schedule"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// The what-if scenarios of contract/enrichment.md 9 that concern retrieval, line
// by line. W3.4 to W3.8 are in providers/credential, W9 in gateway, W4.1, W4.4
// and W4.5 in streams/schedule.

// five are the sources of a profile by handle, in order.
var five = []string{"graphapi", "rapidapi-arraybobo", "rapidapi-jotucker", "lama", "rapidapi-bestsolutions"}

// put stores one task of a flow and returns its id.
func (w *world) put(flow string, params any) int64 {
	w.t.Helper()
	raw, err := json.Marshal(params)
	if err != nil {
		w.t.Fatal(err)
	}
	platform := social.Instagram
	if strings.Contains(flow, "_yt_") {
		platform = social.YouTube
	}
	e, err := w.queue.Enqueue(w.t.Context(), schedule.Request{Flow: flow, Platform: platform, Params: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.ID
}

func (w *world) refresh(handle string) int64 {
	w.t.Helper()
	return w.put("refresh_profile_by_handle", map[string]string{"handle": handle})
}

// basic asks for a profile alone: one step.
func (w *world) basic(handle string) int64 {
	w.t.Helper()
	return w.put("refresh_profile_basic", map[string]any{"handle": handle, "profile_id": nil})
}

func (w *world) text(sql string, args ...any) (s string) {
	w.t.Helper()
	var p *string
	if err := w.db.QueryRow(w.t.Context(), sql, args...).Scan(&p); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return deref(p)
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// outcome waits for a task and returns its data.
func (w *world) outcome(id int64, status string) string {
	w.t.Helper()
	w.until(fmt.Sprintf("the end of task %d", id), func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE id = $1 AND status IN ('COMPLETE', 'FAILED')", id) == 1
	})
	if got := w.text("SELECT status FROM scrape_request_log WHERE id = $1", id); got != status {
		w.t.Fatalf("task %d is %s: %s; want %s", id, got, w.text("SELECT data FROM scrape_request_log WHERE id = $1", id), status)
	}
	return w.text("SELECT data FROM scrape_request_log WHERE id = $1", id)
}

func (w *world) calls(source string) int { return w.box.Stats().Sources[source].Calls }

// only leaves credentials to these sources.
func (w *world) only(sources ...string) {
	w.t.Helper()
	w.exec("UPDATE credential SET enabled = source = ANY($1)", sources)
}

func TestW1_1GraphIsDownAndArrayboboAnswers(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "503"})
	w.runAll()
	w.outcome(w.refresh("creator00001"), social.Complete)
	if w.calls("graphapi") != 1 || w.calls("rapidapi-arraybobo") != 3 {
		t.Errorf("%d calls of graphapi and %d of arraybobo, want 1 and 3", w.calls("graphapi"), w.calls("rapidapi-arraybobo"))
	}
	if got := w.text("SELECT string_agg(DISTINCT source, ',') FROM profile_log"); got != "rapidapi-arraybobo" {
		t.Errorf("logs say %q", got)
	}
	if got := w.text("SELECT lineage #>> '{a,0,0}' FROM instagram_account"); got != "rapidapi-arraybobo" {
		t.Errorf("the row says its values are from %q", got)
	}
}

func TestW1_2EverySourceIsTriedOnceInOrder(t *testing.T) {
	w := newWorld(t, localConfig{sources: five})
	w.box.Inject(sandbox.Fault{Kind: "503"})
	w.runAll()
	data := w.outcome(w.basic("creator00001"), social.Failed)
	if !strings.HasPrefix(data, "(503, 'Something went wrong')") {
		t.Errorf("data does not begin as its readers match it: %s", data)
	}
	at := -1
	var last time.Time
	for _, source := range five {
		i := strings.Index(data, source+": upstream 503")
		if i <= at {
			t.Errorf("%s is not named after those before it: %s", source, data)
		}
		at = i
		times := w.box.Times(source)
		if len(times) != 1 || times[0].Before(last) {
			t.Errorf("%s was called at %v, want once and not before %v", source, times, last)
		} else {
			last = times[0]
		}
	}
}

func TestW1_3FiveFailuresDisableTheCredentialForTenMinutes(t *testing.T) {
	w := newWorld(t, localConfig{})
	down := w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "503"})
	w.runAll()
	for i := range 5 {
		w.outcome(w.basic(fmt.Sprintf("creator%05d", i)), social.Complete)
	}
	w.until("the credential rests", func() bool {
		return w.int("SELECT count(*) FROM credential WHERE source = 'graphapi' AND disabled_till > now() AT TIME ZONE 'UTC' + interval '9 minutes' AND disabled_till < now() AT TIME ZONE 'UTC' + interval '11 minutes' AND enabled AND reason = 'provider_down'") == 1
	})
	for i := range 5 {
		w.outcome(w.basic(fmt.Sprintf("creator%05d", 10+i)), social.Complete)
	}
	if got := w.calls("graphapi"); got != 5 {
		t.Errorf("%d calls of graphapi, want the 5 that failed and none while it rests", got)
	}
	w.box.Clear(down)
	w.exec("UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' WHERE source = 'graphapi'") // the instant has come
	w.until("graphapi is asked first again", func() bool {
		before := w.calls("rapidapi-arraybobo")
		w.outcome(w.basic(fmt.Sprintf("creator%05d", time.Now().UnixNano()%99999)), social.Complete)
		return w.calls("graphapi") > 5 && w.calls("rapidapi-arraybobo") == before
	})
}

func TestW1_4EveryAttemptIsTracedAndCounted(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "503"})
	a := w.runAll()
	w.outcome(w.refresh("creator00001"), social.Complete)
	got := consume(t, rmq, func(m map[string][]amqp.Delivery) bool { return len(m[bridge.KeyTrace]) >= 4 })
	failed := 0
	for _, d := range got[bridge.KeyTrace] {
		var e struct {
			Status json.Number `json:"responseStatus"`
			URI    string      `json:"uri"`
		}
		if err := json.Unmarshal(d.Body, &e); err != nil {
			t.Fatalf("%v: %s", err, d.Body)
		}
		if e.Status == "503" && strings.Contains(e.URI, "/graphapi/") {
			failed++
		}
		if strings.Contains(string(d.Body), "sandbox-token") || strings.Contains(string(d.Body), "sandbox-key") {
			t.Errorf("a secret is told: %s", d.Body)
		}
	}
	if failed != 1 {
		t.Errorf("%d traces of the 503, want 1", failed)
	}
	if n := metric(t, a, "beat_provider_calls_total", "graphapi", "upstream"); n != 1 {
		t.Errorf("the error metric of graphapi is %v, want 1", n)
	}
}

// metric is the value of a counter whose labels have these values.
func metric(t *testing.T, a *app, name string, values ...string) float64 {
	t.Helper()
	families, err := a.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, v := range values {
				has := false
				for _, l := range m.GetLabel() {
					has = has || l.GetValue() == v
				}
				if !has {
					continue next
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func TestW1_6OtherPlatformsAreUnaffected(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.box.Inject(sandbox.Fault{Sources: []string{"graphapi", "rapidapi-arraybobo"}, Kind: "503"})
	w.runAll()
	for i := range 10 {
		w.basic(fmt.Sprintf("creator%05d", i))
	}
	for i := range 5 {
		w.outcome(w.put("refresh_yt_profiles", map[string][]string{"channel_ids": {fmt.Sprintf("UC%022d", i)}}), social.Complete)
	}
}

// W3.1 for a task that has not begun: it waits where it is, and W3.2: those of other
// platforms complete meanwhile.
func TestW3_1AndW3_2NothingIsClaimedWhileAllCredentialsRest(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.exec("UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' + interval '1 hour' WHERE source <> 'ytapitoken'")
	a := w.runAll()
	id := w.refresh("creator00001")
	yt := w.put("refresh_yt_profiles", map[string][]string{"channel_ids": {"UC0000000000000000000001"}})
	w.outcome(yt, social.Complete) // W3.2
	y, err := a.why(t.Context(), id)
	if err != nil || !strings.HasPrefix(y.Waits, social.WaitCredential) || time.Until(y.Expected) < 55*time.Minute {
		t.Errorf("why: %+v, %v", y, err)
	}
	if got := w.text("SELECT status FROM scrape_request_log WHERE id = $1", id); got != social.Pending || w.calls("graphapi")+w.calls("rapidapi-arraybobo") != 0 {
		t.Errorf("the task is %s after %d calls, want PENDING and none", got, w.calls("graphapi"))
	}
	// W3.4: by SQL, without a restart.
	w.exec("UPDATE credential SET disabled_till = NULL WHERE source <> 'ytapitoken'")
	changed := time.Now()
	w.outcome(id, social.Complete)
	if d := time.Since(changed); d > 5*time.Second {
		t.Errorf("it took %v until the change was seen, want at most 5s", d)
	}
}

// W3.1 and W3.3 for a task in the middle of its run: it is put back with the ask
// it is at, not before the earliest disabled_till, and goes on at that time.
func TestW3_1AndW3_3ARunIsPutBackUntilTheFirstCredentialIsReady(t *testing.T) {
	w := newWorld(t, localConfig{})
	a := w.runAll()
	w.until("the credentials are read", func() bool { return len(a.creds.States()) > 0 })
	w.exec("UPDATE credential SET disabled_till = date_trunc('milliseconds', now() AT TIME ZONE 'UTC') + interval '12 seconds' WHERE source = 'rapidapi-arraybobo'")
	w.until("the change is seen", func() bool {
		return slices.ContainsFunc(a.creds.States(), func(s credential.State) bool { return s.Source == "rapidapi-arraybobo" && s.Resting == 1 })
	})
	id := w.refresh("creator00001")
	w.until("the task is put back", func() bool {
		return w.int(`SELECT count(*) FROM scrape_request_log t, credential c WHERE t.id = $1 AND t.status = 'PENDING'
			AND t.run_at = c.disabled_till AND c.source = 'rapidapi-arraybobo' AND t.waits_for = 'credential:rapidapi-arraybobo'
			AND t.resume ->> 'fetch' = 'fetch_profile_posts_by_id' AND t.lease_owner IS NULL AND t.retry_count IS NULL`, id) == 1
	})
	if n := w.calls("rapidapi-arraybobo"); n != 0 {
		t.Errorf("%d calls with a resting credential", n)
	}
	fence := w.text("SELECT fence::text FROM scrape_request_log WHERE id = $1", id)
	w.outcome(id, social.Complete)
	if got := w.text("SELECT fence::text FROM scrape_request_log WHERE id = $1", id); got != fence || w.calls("graphapi") != 1 {
		t.Errorf("fence %s after %s, %d calls of graphapi: the run did not go on where it was", got, fence, w.calls("graphapi"))
	}
	if n := w.int("SELECT count(*) FROM credential, unnest($1::timestamp[]) AS at WHERE source = 'rapidapi-arraybobo' AND at < disabled_till", utc(w.box.Times("rapidapi-arraybobo"))); n != 0 {
		t.Errorf("%d calls before the credential was ready", n)
	}
	w.check(1)
}

func utc(ts []time.Time) []time.Time {
	for i := range ts {
		ts[i] = ts[i].UTC()
	}
	return ts
}

func TestW4_2ATaskWhoseCallsTakeTooLongFails(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.deps.TaskTimeout = 300 * time.Millisecond
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "slow", Delay: 400 * time.Millisecond})
	w.runAll()
	if data := w.outcome(w.refresh("creator00001"), social.Failed); !strings.HasPrefix(data, "(409, 'timeout") {
		t.Errorf("data is %s", data)
	}
	w.box.Clear()
	w.outcome(w.refresh("creator00002"), social.Complete) // its place is free
}

func TestW4_3ALostRunIsRunAgain(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.deps.Lease = time.Second
	_, stop := w.runRoles("scheduler")
	id := w.refresh("creator00001")
	w.until("the claim", func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'PROCESSING'") == 1
	})
	stop()
	// The process that held it is gone with all it held.
	a, stopAll := w.runRoles("gateway")
	s, err := a.js.Stream(t.Context(), bus.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	stopAll()
	w.runAll()
	w.outcome(id, social.Complete)
	if got := w.text("SELECT retry_count::text FROM scrape_request_log WHERE id = $1", id); got != "1" {
		t.Errorf("retry_count is %q, want 1", got)
	}
}

func TestW4_6AnExpiredTaskIsNotRun(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.deps.EnforceExpiry = true
	id := w.refresh("creator00001")
	w.exec("UPDATE scrape_request_log SET expires_at = now() AT TIME ZONE 'UTC' - interval '1 second'")
	w.runAll()
	if data := w.outcome(id, social.Failed); data != "expired" || w.box.Stats().Total != 0 {
		t.Errorf("data is %q after %d calls, want expired and none", data, w.box.Stats().Total)
	}
}

func TestW4_6ExpiryIsNotEnforcedByDefault(t *testing.T) {
	w := newWorld(t, localConfig{})
	id := w.refresh("creator00001")
	w.exec("UPDATE scrape_request_log SET expires_at = now() AT TIME ZONE 'UTC' - interval '1 second'")
	w.runAll()
	w.outcome(id, social.Complete)
}

func TestW4_7OneFlowsCrashStopsNoOther(t *testing.T) {
	w := newWorld(t, localConfig{})
	broken := ytapi.New(w.deps.Endpoint["ytapitoken"])
	for fetch, c := range broken.Calls {
		c.Request = func(providers.Credential, social.Ask) (providers.Request, error) { panic("planted") }
		broken.Calls[fetch] = c
	}
	w.deps.more = append(w.deps.more, broken)
	w.runAll()
	yt := w.put("refresh_yt_profiles", map[string][]string{"channel_ids": {"UC0000000000000000000001"}})
	for i := range 10 {
		w.outcome(w.refresh(fmt.Sprintf("creator%05d", i)), social.Complete)
	}
	if data := w.outcome(yt, social.Failed); !strings.HasPrefix(data, "(409, 'panic") {
		t.Errorf("data is %s", data)
	}
}

func TestW6_1AMalformedAnswerIsRefusedAndTheNextSourceAsked(t *testing.T) {
	w := newWorld(t, localConfig{sources: five})
	w.only("rapidapi-arraybobo", "rapidapi-jotucker")
	w.box.Inject(sandbox.Fault{Source: "rapidapi-arraybobo", Kind: "wrongtype"})
	a := w.runAll()
	w.outcome(w.basic("creator00001"), social.Complete)
	if n := w.int("SELECT count(*) FROM credential WHERE source = 'rapidapi-arraybobo' AND enabled AND disabled_till IS NULL"); n != 1 {
		t.Error("the credential was touched for a malformed answer")
	}
	if n := metric(t, a, "beat_provider_calls_total", "rapidapi-arraybobo", "malformed"); n != 1 {
		t.Errorf("%v malformed answers counted, want 1", n)
	}
	if n := w.calls("rapidapi-jotucker"); n != 1 {
		t.Errorf("%d calls of the next source, want 1", n)
	}
}

func TestW6_2AndW6_3AllMalformedChangesNothingAndRunsAgain(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{sources: five, rmqURL: rmq})
	w.runAll()
	w.outcome(w.basic("creator00001"), social.Complete)
	before := w.text("SELECT md5(string_agg(a::text, '')) FROM instagram_account a") + w.text("SELECT count(*)::text FROM profile_log")
	w.box.Inject(sandbox.Fault{Kind: "wrongtype"})
	id := w.basic("creator00001")
	data := w.outcome(id, social.Failed)
	if !strings.HasPrefix(data, "(200, 'API Failure')") {
		t.Errorf("data does not begin as its readers match it: %s", data)
	}
	for _, source := range five {
		if !strings.Contains(data, source+": malformed") {
			t.Errorf("%s is not named: %s", source, data)
		}
	}
	if !strings.Contains(data, "graphapi fetch_profile_by_handle: business_discovery.") {
		t.Errorf("provider, operation and path are not named: %s", data)
	}
	if after := w.text("SELECT md5(string_agg(a::text, '')) FROM instagram_account a") + w.text("SELECT count(*)::text FROM profile_log"); after != before {
		t.Error("the account changed")
	}
	told := map[string]int{}
	w.until("the events of both tasks", func() bool {
		for _, d := range drain(t, rmq, everything) {
			told[d.RoutingKey]++
		}
		return told[bridge.KeyTask] >= 6
	})
	if told["profile_log_events"] != 1 {
		t.Errorf("%d data events, want that of the first task alone", told["profile_log_events"])
	}
	w.box.Clear()
	w.exec("UPDATE scrape_request_log SET status = 'PENDING', data = NULL WHERE id = $1", id) // as an operator does by hand
	w.outcome(id, social.Complete)
}

// W6.4: every operation turns down what is no answer of its own, by name.
func TestW6_4EveryOperationChecksItsAnswers(t *testing.T) {
	for source, p := range providerTable(func(string) string { return "" }) {
		for fetch, call := range p.Calls {
			for _, body := range []string{"", "null", "7", `"text"`, "{}", "<html><body>Bad gateway</body></html>", `{"error":{"message":"x"}}`} {
				e := providers.Classify(p, call, social.Ask{Fetch: fetch, Keys: []string{"x"}}, providertest.Answer(200, []byte(body)))
				if body == "{}" && source == "rapidapi-arraybobo" && fetch == social.StoriesByID {
					if e != nil { // no reels are no stories (contract/providers-instagram.md 9.8)
						t.Errorf("%s %s of %q: %v", source, fetch, body, e)
					}
					continue
				}
				if e == nil {
					t.Errorf("%s %s takes %q for an answer", source, fetch, body)
					continue
				}
				if !strings.Contains(e.Error(), source) || !strings.Contains(e.Error(), string(fetch)) {
					t.Errorf("%s %s of %q: the error names neither: %v", source, fetch, body, e)
				}
			}
		}
	}
}

// W6.5: every operation has a sample answer with the records expected of it in
// its provider's package (its golden file), where each required member is
// removed and mistyped too. Here they are counted.
func TestW6_5EveryOperationHasASampleAndItsRecords(t *testing.T) {
	for source, p := range providerTable(func(string) string { return "" }) {
		_, folder, ok := strings.Cut(source, "rapidapi-")
		if !ok {
			folder = strings.Replace(source, "youtube-", "yt", 1)
		}
		goldens, err := filepath.Glob("../../providers/*/" + strings.TrimSuffix(folder, "token") + "/testdata/*.golden")
		if err != nil {
			t.Fatal(err)
		}
		// The id and the handle of a profile have one layout.
		want := len(p.Calls)
		if _, both := p.Calls[social.ProfileByID]; both && p.Calls[social.ProfileByHandle].Parse != nil {
			want--
		}
		if len(goldens) < want {
			t.Errorf("%s: %d golden files for %d operations", source, len(goldens), len(p.Calls))
		}
	}
}

// W6.6: two versions of a parser live side by side, one is chosen by
// configuration, and each log says which it was.
func TestW6_6AnOlderParserCanBeChosen(t *testing.T) {
	for version, want := range map[int]string{7: "old", 8: "new"} {
		w := newWorld(t, localConfig{})
		w.only("graphapi")
		p := graphapi.New(w.deps.Endpoint["graphapi"])
		said := func(name string, parse providers.Parser) providers.Parser {
			return func(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
				b, err := parse(ask, at, body)
				for i := range b.Logs {
					b.Logs[i].Dimensions = append(b.Logs[i].Dimensions, social.KV{Key: "read_by", Value: json.RawMessage(strconv.Quote(name))})
				}
				return b, err
			}
		}
		c := p.Calls[social.ProfileByHandle]
		p.Parser, p.Old = 8, map[int]map[social.Fetch]providers.Parser{7: {social.ProfileByHandle: said("old", c.Parse)}}
		c.Parse = said("new", c.Parse)
		p.Calls[social.ProfileByHandle] = c
		w.deps.more = append(w.deps.more, p)
		w.deps.Parser = map[string]int{"graphapi": version}
		w.runAll()
		w.outcome(w.basic("creator00001"), social.Complete)
		if n := w.int(`SELECT count(*) FROM profile_log l, jsonb_array_elements(l.dimensions) d
			WHERE l.parser = $1 AND d ->> 'key' = 'read_by' AND d ->> 'value' = $2`, version, want); n != 1 {
			t.Errorf("version %d: %d logs that say so, want 1", version, n)
		}
	}
	p := graphapi.New("")
	if _, err := p.With(99); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("an unknown version: %v", err)
	}
}

// A limit that is closed for long is waited for in the table, and a reset by
// hand is not waited out.
func TestClosedLimitIsWaitedForInTheTable(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.only("rapidapi-arraybobo")
	w.deps.Limit["rapidapi-arraybobo"] = "2/3600"
	a := w.runAll()
	for i := range 2 {
		w.outcome(w.basic(fmt.Sprintf("creator%05d", i)), social.Complete)
	}
	id := w.basic("creator00009")
	w.until("the limit is named", func() bool {
		y, err := a.why(t.Context(), id)
		return err == nil && y.Waits == social.WaitLimit+":rapidapi-arraybobo" && time.Until(y.Expected) > 50*time.Minute
	})
	if got := w.text("SELECT status FROM scrape_request_log WHERE id = $1", id); got != social.Pending {
		t.Errorf("the task is %s, want PENDING", got)
	}
	if err := a.limiter.Reset(t.Context(), ratelimit.Spec{Name: "rapidapi-arraybobo", Requests: 2, Seconds: 3600, Sliding: true}); err != nil {
		t.Fatal(err)
	}
	w.outcome(id, social.Complete)
}

func TestRawOfFailedAnswersSayWhy(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "503"})
	a := w.runAll()
	w.outcome(w.basic("creator00001"), social.Complete)
	s, err := a.js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil || m.Header.Get(processors.HeaderVerdict) != "upstream" || m.Header.Get(processors.HeaderStatus) != "503" {
		t.Errorf("first raw answer: %v, %v", m, err)
	}
}
