package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/audit"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/lanes"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// An audit is silent about a healthy run and names each thing that was done to
// it: a message that was deleted, an observation and a row that were changed by
// hand, a task that is stuck, an answer that nobody has parsed.
func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	_, stop := w.runRoles(pipeline...)
	w.enqueue(20)
	w.until("completion", func() bool { return w.complete() == 20 })
	w.until("the end of every run is told", w.applied)
	stop()
	missing := func(code int) map[string]*audit.Check {
		t.Helper()
		r := w.audited(code)
		all := map[string]*audit.Check{}
		for _, c := range r.Checks {
			all[c.Name] = c
		}
		return all
	}
	whole := w.audited(0)
	var sum audit.Hour
	for _, h := range whole.Hours {
		sum.Tasks, sum.Complete, sum.Answers, sum.Parsed = sum.Tasks+h.Tasks, sum.Complete+h.Complete, sum.Answers+h.Answers, sum.Parsed+h.Parsed
		sum.Events, sum.Stored, sum.UnderWay = sum.Events+h.Events, sum.Stored+h.Stored, sum.UnderWay+h.UnderWay
	}
	if n := w.int("SELECT (SELECT count(*) FROM post_log) + (SELECT count(*) FROM profile_log)"); sum.Tasks != 20 || sum.Complete != 20 ||
		sum.Answers != sum.Parsed || sum.Answers < 60 || sum.Events != n || sum.Stored != n || sum.UnderWay != 0 {
		t.Errorf("hours of a healthy run: %+v, want %d events", sum, n)
	}
	for name, c := range missing(0) {
		if c.Missing != 0 || c.Looked == 0 {
			t.Errorf("of a healthy run: %s: %+v", name, c)
		}
	}

	observed := w.text("SELECT min(event_id::text) FROM post_log")
	w.exec("DELETE FROM post_log WHERE event_id = $1::uuid", observed)
	w.exec("UPDATE instagram_account SET followers = followers + 1 WHERE handle = 'creator00003'")
	account := w.text("SELECT profile_id FROM instagram_account WHERE handle = 'creator00003'")
	w.exec("UPDATE scrape_request_log SET status = 'PROCESSING', lease_until = now() AT TIME ZONE 'UTC' - interval '2 days' WHERE id = (SELECT min(id) FROM scrape_request_log)")
	stuck := w.int("SELECT min(id) FROM scrape_request_log")
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := raw.GetMsg(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.DeleteMsg(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	// An answer whose commit is gone too: nobody can say what became of it.
	lost := w.text("SELECT min(raw_id) FROM profile_log WHERE raw_id <> $1", deleted.Header.Get(bus.HeaderRawID))
	events, err := js.Stream(t.Context(), bus.Events)
	if err != nil {
		t.Fatal(err)
	}
	var commit uint64
	for seq := uint64(1); seq <= events.CachedInfo().State.LastSeq && commit == 0; seq++ {
		m, err := events.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := bus.Unpack(m.Header, m.Data); err == nil && strings.Contains(string(body), `"raw":{"id":"`+lost) {
			commit = seq
		}
	}
	if err := events.DeleteMsg(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
	found := missing(1)
	for name, id := range map[string]string{
		"messages of RAW and EVENTS": "RAW 7",
		"tasks":                      fmt.Sprintf("task %d: its lease ended", stuck),
		"observations of EVENTS":     "post " + observed,
		"answers of RAW":             "raw " + lost,
		"rows":                       "instagram_account " + account + ", column followers",
	} {
		if c := found[name]; c == nil || !strings.Contains(strings.Join(c.IDs, "\n"), id) {
			t.Errorf("%s: %+v, want %q", name, c, id)
		}
	}
	if c := found["messages of RAW and EVENTS"]; c.Missing != 2 {
		t.Errorf("%d messages are missing, want 2", c.Missing)
	}
}

// audited is what beat audit says, and how it exits; a negative code is any.
func (w *world) audited(code int, args ...string) (r audit.Report) {
	w.t.Helper()
	cmd := w.child(append([]string{"audit", "--json", "--grace=0s", "--pg-url=" + w.deps.PGURL, "--nats-url=" + w.deps.NATSURL, "--redis-url=" + w.deps.RedisURL}, args...)...)
	var says bytes.Buffer
	cmd.Stderr = &says
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); code >= 0 && got != code {
		w.t.Errorf("beat audit: exit code %d, want %d: %v\n%s%s", got, code, err, out, says.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		w.t.Fatalf("%v in %s%s", err, out, says.String())
	}
	return r
}

// A healthy run is told in full, and the audit of each hour says so. It finds each
// event of which the broker has confirmed nothing: one that was left out, and those
// that the position was moved over.
func TestAuditOfRabbitMQ(t *testing.T) {
	t.Parallel()
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	_, stop := w.runRoles(pipeline...)
	w.enqueue(5)
	w.until("completion", func() bool { return w.complete() == 5 })
	w.until("all is told", w.bridged)
	stop()
	const check = "messages to RabbitMQ"
	find := func(r audit.Report) (c audit.Check) {
		t.Helper()
		for _, x := range r.Checks {
			if x.Name == check {
				c = *x
			}
		}
		return c
	}
	told := len(w.toTell())
	if c := find(w.audited(0)); c.Looked != told || told < 5*24 {
		t.Errorf("of a healthy run: %+v, want %d messages looked at", c, told)
	}

	// One message was left out: the receipt is that of the others.
	lost := w.text("SELECT min(event_id::text) FROM post_log")
	shard := event.Shard(w.text("SELECT profile_id FROM post_log WHERE event_id = $1::uuid", lost))
	id := uuid.MustParse(lost)
	w.exec(`UPDATE bridge_receipt SET messages = messages - 1, id_high = id_high # $2, id_low = id_low # $3
		WHERE (shard, from_seq) = (SELECT shard, from_seq FROM bridge_receipt WHERE shard = $1 AND messages > 0 ORDER BY messages DESC LIMIT 1)`,
		shard, int64(binary.BigEndian.Uint64(id[:8])), int64(binary.BigEndian.Uint64(id[8:])))
	if c := find(w.audited(1)); c.Missing != 1 || !strings.HasPrefix(c.IDs[0], lost) {
		t.Errorf("without the receipt of %s: %+v", lost, c)
	}
	w.exec("UPDATE stream_position SET applied = 0, told = 0 WHERE reader = 'bridge'") // as the audit says
	_, stop = w.runRoles("bridge")
	w.until("all is told again", w.bridged)
	stop()
	if c := find(w.audited(0)); c.Looked != told {
		t.Errorf("after all was told again: %+v", c)
	}

	// While the bridge is away its position is moved over what it has not told.
	_, stop = w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	skipped := w.refresh("creator00009")
	w.outcome(skipped, social.Complete)
	w.until("the end of every run is told", w.applied)
	stop()
	last, err := w.events()
	if err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE stream_position SET applied = $1, told = $1 WHERE reader = 'bridge'", int64(last))
	all := w.toTell()
	c := find(w.audited(1))
	if c.Missing != len(all)-told {
		t.Errorf("%d messages were never confirmed, want %d: %+v", c.Missing, len(all)-told, c)
	}
	found := strings.Join(c.IDs, "\n")
	for _, m := range all[told:] {
		if !strings.Contains(found, m.id) {
			t.Errorf("message %s is not named", m.id)
		}
	}
}

// EVENTS was set back, and Postgres was not: what gets the old sequences is stored
// and told all the same.
func TestEventsSetBack(t *testing.T) {
	t.Parallel()
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	_, stop := w.runRoles(pipeline...)
	w.enqueue(2)
	w.until("completion", func() bool { return w.complete() == 2 })
	w.until("all is told", w.bridged)
	stop()
	w.exec("UPDATE stream_position SET applied = 100000 + applied, told = 100000 + told")
	w.exec("UPDATE bridge_receipt SET from_seq = 100000 + from_seq, to_seq = 100000 + to_seq, first_seq = 100000 + first_seq")
	w.enqueue(4)
	_, stop = w.runRoles(pipeline...)
	w.until("completion", func() bool { return w.complete() == 6 })
	w.until("all is told", func() bool { return w.int("SELECT max(applied)::int FROM stream_position") < 100000 && w.bridged() })
	stop()
	w.audited(0)
}

// A healthy run of many tasks, with all roles and RabbitMQ, is silent: also while
// it is under way. BEAT_AUDIT_TASKS says of how many.
func TestAuditOfManyTasks(t *testing.T) {
	t.Parallel()
	n := setting(t, "BEAT_AUDIT_TASKS", 80)
	rmq := servertest.Vhost(t)
	if err := bridge.DeclareConsumers(t.Context(), rmq, bridge.Consumers{}); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, localConfig{rmqURL: rmq})
	w.runAll()
	w.basics(0, n)
	began := time.Now()
	for part := 1; part <= 2; part++ {
		w.upTo(patience+time.Duration(n)*100*time.Millisecond, "completion", func() bool { return w.complete() >= n*part/2 })
		if part < 2 {
			w.audited(0, "--grace=10m") // of what is under way
		}
	}
	took := time.Since(began)
	w.upTo(patience+time.Duration(n)*10*time.Millisecond, "the end of what is told", w.bridged)
	began = time.Now()
	r := w.audited(0)
	t.Logf("%d tasks in %s, %.0f a second; the audit took %s", n, took.Round(time.Second), float64(n)/took.Seconds(), time.Since(began).Round(time.Millisecond))
	for _, c := range r.Checks {
		t.Logf("%s: %d looked at, %d missing", c.Name, c.Looked, c.Missing)
		if c.Missing > 0 || c.Looked == 0 {
			t.Errorf("%+v", c)
		}
	}
	var tasks, complete int
	for _, h := range r.Hours {
		tasks, complete = tasks+h.Tasks, complete+h.Complete
	}
	if tasks != n || complete != n || r.UnderWay() != 0 {
		t.Errorf("%d tasks, %d complete, %d under way; want %d", tasks, complete, r.UnderWay(), n)
	}
}

// Each span of time is audited once it is over, by itself, and what is found is
// counted, logged and kept.
func TestAuditByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.deps.AuditEvery, w.deps.auditHour = 200*time.Millisecond, time.Second
	a, stop := w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	defer stop()
	w.until("a first span", func() bool { return w.int("SELECT count(*) FROM beat_audit") > 0 })
	w.enqueue(3)
	w.until("completion", func() bool { return w.complete() == 3 })
	answers := func() int {
		return w.int("SELECT coalesce(sum((h ->> 'answers')::int), 0)::int FROM beat_audit, jsonb_array_elements(report -> 'hours') h")
	}
	w.until("an audit of the answers", func() bool { return answers() >= 9 })
	if n := w.int("SELECT sum(missing)::int FROM beat_audit"); n != 0 || answers() != w.int("SELECT count(DISTINCT raw_id)::int FROM post_log") {
		t.Errorf("of a healthy run %d are missing; %d answers: %s", n, answers(), w.text("SELECT string_agg(report::text, E'\n') FROM beat_audit"))
	}
	w.exec("UPDATE scrape_request_log SET status = 'STUCK' WHERE id = 2")
	w.exec("UPDATE scrape_request_log SET created_at = now() AT TIME ZONE 'UTC' WHERE id = 2")
	w.until("a finding", func() bool { return w.int("SELECT coalesce(sum(missing), 0)::int FROM beat_audit") > 0 })
	if ids := w.text("SELECT string_agg(report::text, '') FROM beat_audit WHERE missing > 0"); !strings.Contains(ids, "task 2: its status is STUCK") {
		t.Errorf("it says %s", ids)
	}
	w.until("the metric", func() bool { return metric(t, a, "beat_audit_missing", "tasks") >= 1 })
}

// applied reports whether the projections are at the end of EVENTS.
func (w *world) applied() bool { return w.reached("project") }

func (w *world) reached(reader string) bool {
	js, err := jetstream.New(w.nc)
	if err != nil {
		return false
	}
	behind, err := lanes.Behind(w.t.Context(), w.db, js, reader)
	return err == nil && behind == 0
}
