package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"beat/providers"
	"beat/providers/instagram/graphapi"
	"beat/streams/dead"
	"beat/streams/heal"
	"beat/streams/social"
)

// graphOf is Graph with a version of its profile parser, which wrong may make say
// something else of a handle.
func (w *world) graphOf(version int, wrong func(handle string, b social.Batch) (social.Batch, error)) {
	p := graphapi.New(w.deps.Endpoint["graphapi"])
	p.Parser = version
	c := p.Calls[social.ProfileByHandle]
	parse := c.Parse
	c.Parse = func(a social.Ask, at time.Time, body []byte) (social.Batch, error) {
		b, err := parse(a, at, body)
		if err == nil && wrong != nil {
			b, err = wrong(a.Key(), b)
		}
		return b, err
	}
	p.Calls[social.ProfileByHandle] = c
	w.deps.more = []*providers.Provider{p}
}

// entities are the tables, without what tells when they were written and by whom.
func (w *world) entities() string {
	return w.text(`SELECT string_agg(line, E'\n' ORDER BY line) FROM (
		SELECT (to_jsonb(a) - '{id,created_at,updated_at,refreshed_at,lineage}'::text[])::text AS line FROM instagram_account a UNION ALL
		SELECT (to_jsonb(p) - '{id,created_at,updated_at,lineage}'::text[])::text FROM instagram_post p) lines`)
}

// A parser refused one answer, panicked at a second and made nonsense of a third.
// Its second version reads all but the first, and what it cannot read becomes a
// letter of its own, which is left alone until there is a third. In the end the
// tables are those of a run with the third from the start.
func TestDeadLettersHeal(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	want := newWorld(t, localConfig{now: now})
	want.only("graphapi")
	want.graphOf(3, nil)
	_, stop := want.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	want.enqueue(4)
	want.until("4 tasks", func() bool { return want.complete() == 4 })
	stop()

	w := newWorld(t, localConfig{now: now})
	w.only("graphapi")
	unreadable := func(say string) func(string, social.Batch) (social.Batch, error) {
		return func(handle string, b social.Batch) (social.Batch, error) {
			if handle == "creator00001" {
				return b, errors.New(say)
			}
			return b, nil
		}
	}
	w.graphOf(1, func(handle string, b social.Batch) (social.Batch, error) {
		switch handle {
		case "creator00002":
			panic("index out of range")
		case "creator00003":
			for i := range b.Logs {
				if b.Logs[i].Kind == social.Profile {
					b.Logs[i].Metrics.Set("followers", social.Int(-5))
				}
			}
		}
		return unreadable("no id")(handle, b)
	})
	_, stop = w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	w.enqueue(4)
	w.until("the ends of 4 tasks", func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED')") == 4
	})
	stop()
	causes := map[string]int{}
	for _, l := range w.letters() {
		causes[l.Cause] = l.Parser
	}
	if len(causes) != 3 || causes["malformed"] != 1 || causes["panic"] != 1 || causes["implausible"] != 1 {
		t.Fatalf("versions of the parser by cause: %v", causes)
	}

	w.deps.AutoRedrive, w.deps.AutoRedriveEvery = true, time.Second
	w.graphOf(2, unreadable("no name"))
	_, stop = w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	w.until("3 tasks and a letter", func() bool { return w.complete() == 3 && len(w.letters()) == 1 })
	l := w.letters()[0]
	w.until("another look for letters", func() bool { // which leaves it alone
		l = w.letters()[0]
		return time.Since(l.At) > 2500*time.Millisecond
	})
	stop()
	if l.Parser != 2 || l.Healed != 2 || l.Redriven != 1 || l.Error != "no name" {
		t.Errorf("letter of the second version: %+v", l)
	}

	w.graphOf(3, nil)
	_, stop = w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	defer stop()
	w.until("4 tasks", func() bool { return w.complete() == 4 && len(w.letters()) == 0 })
	w.until("no run in progress", func() bool { return w.int("SELECT count(*) FROM task_progress") == 0 })
	w.until("the tables of a run with the third version", func() bool { return w.entities() == want.entities() })
	if n := w.int("SELECT count(*) FROM profile_log WHERE profile_id = (SELECT profile_id FROM instagram_account WHERE handle = 'creator00003')"); n != 1 {
		t.Errorf("%d observations of the profile that was turned down, want 1", n)
	}
}

// A person is shown what a later parser may read, and decides.
func TestDeadHealCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.only("graphapi")
	w.graphOf(1, func(_ string, b social.Batch) (social.Batch, error) {
		for i := range b.Logs {
			if b.Logs[i].Kind == social.Profile {
				b.Logs[i].Metrics.Set("followers", social.Int(-5))
			}
		}
		return b, nil
	})
	_, stop := w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	w.outcome(w.basic("creator00001"), social.Complete)
	stop()
	heals := func(dry bool) (r deadReport) {
		t.Helper()
		nc, err := w.nats.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		a, err := newApp(t.Context(), slog.New(slog.DiscardHandler), w.deps, nc)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		var out bytes.Buffer
		if err := a.heal(context.WithoutCancel(t.Context()), &globals{JSON: true, stdout: &out, stderr: &out}, dead.Filter{Source: "graphapi"}, dry); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		return r
	}
	if r := heals(false); r.Matched != 0 {
		t.Errorf("by the same version: %+v", r)
	}
	w.graphOf(2, func(_ string, b social.Batch) (social.Batch, error) { return b, errors.New("no name") })
	if r := heals(true); r.Counts[heal.Again] != 1 || len(w.letters()) != 1 {
		t.Errorf("plan: %+v", r)
	}
	if r := heals(false); r.Counts[heal.Updated] != 1 {
		t.Errorf("a version that cannot read it either: %+v", r)
	}
	if ls := w.letters(); len(ls) != 1 || ls[0].Parser != 2 || ls[0].Error != "no name" {
		t.Fatalf("letters: %+v", ls)
	}
	w.graphOf(3, nil)
	if r := heals(false); r.Counts[heal.Again] != 1 || len(w.letters()) != 0 {
		t.Errorf("a version that can: %+v", r)
	}
	_, stop = w.runRoles("projections")
	defer stop()
	w.until("the profile", func() bool { return w.int("SELECT count(*) FROM instagram_account WHERE followers > 0") == 1 })
}
