package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/audit"
	"beat/streams/bus"
)

// An audit is silent about a healthy run and names each thing that was done to
// it: a message that was deleted, an observation and a row that were changed by
// hand, a task that is stuck, an answer that nobody has parsed.
func TestAudit(t *testing.T) {
	w := newWorld(t, localConfig{})
	_, stop := w.runRoles(pipeline...)
	w.enqueue(20)
	w.until("completion", func() bool { return w.complete() == 20 })
	w.until("the end of every run is told", w.applied)
	stop()
	w.forCommands()
	missing := func(code int) map[string]*audit.Check {
		t.Helper()
		var checks []*audit.Check
		out := w.command(code, "audit", "--json", "--grace", "0s")
		if err := json.Unmarshal([]byte(out[:strings.LastIndex(out, "]")+1]), &checks); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		all := map[string]*audit.Check{}
		for _, c := range checks {
			all[c.Name] = c
		}
		return all
	}
	for name, c := range missing(0) {
		if c.Missing != 0 || c.Looked == 0 {
			t.Errorf("of a healthy run: %s: %+v", name, c)
		}
	}

	event := w.text("SELECT min(event_id::text) FROM post_log")
	w.exec("DELETE FROM post_log WHERE event_id = $1::uuid", event)
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
		"observations of EVENTS":     "post " + event,
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

// applied reports whether the projections are at the end of EVENTS.
func (w *world) applied() bool {
	last, err := w.events()
	return err == nil && w.int("SELECT coalesce(max(applied), 0)::int FROM stream_position WHERE reader = 'project'") >= int(last)
}
