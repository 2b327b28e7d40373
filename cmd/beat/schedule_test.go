package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"beat/streams/schedule"
	"beat/streams/social"
)

type scheduled struct {
	Name     string
	DryRun   bool `json:"dry_run"`
	Count    int
	Profiles []schedule.Profile
}

func (w *world) scheduled(args ...string) (s scheduled) {
	w.t.Helper()
	text := w.command(0, append([]string{"schedule", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Count != len(s.Profiles) || !strings.Contains(text, `"profiles":[`) {
		w.t.Fatalf("%v: %s", err, text)
	}
	return s
}

func (w *world) weekPasses() {
	w.t.Helper()
	w.exec("UPDATE instagram_account SET refreshed_at = refreshed_at - interval '7 days'")
}

// Contract 4.1: what is due is enqueued once, becomes a full refresh, and is not
// due again for a week.
func TestScheduleRefreshCreators(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	w.runAll()
	for i := range 3 {
		w.outcome(w.basic(fmt.Sprintf("creator%05d", i)), social.Complete) // not a full refresh
	}
	w.exec("UPDATE instagram_account SET is_business_or_creator = handle <> 'creator00002'")

	if s := w.scheduled("refresh-creators", "--dry-run"); s.Count != 2 || !s.DryRun || s.Name != "refresh-creators" || s.Profiles[0].Handle != "creator00001" || s.Profiles[1].Task != 0 {
		t.Errorf("dry run: %+v", s)
	}
	if text := w.command(0, "schedule", "refresh-creators", "--dry-run", "--limit", "1"); !strings.Contains(text, "creator00001") || !strings.Contains(text, "1 due, nothing enqueued (--dry-run); that is the limit, more may be due") {
		t.Error(text)
	}
	if n := w.int("SELECT count(*) FROM scrape_request_log"); n != 3 {
		t.Errorf("a dry run stored %d tasks", n-3)
	}
	w.exec("INSERT INTO beat_pause (name, kind) VALUES ('refresh_profile_by_handle', 'flow')") // so that they still wait
	s := w.scheduled("refresh-creators")
	if s.Count != 2 || s.DryRun {
		t.Fatalf("enqueued: %+v", s)
	}
	const nothing = "nothing to do: the profiles were refreshed within 168h0m0s, or their refreshes wait or run already\n"
	if text := w.command(0, "schedule", "refresh-creators"); text != nothing {
		t.Errorf("while they wait: %s", text)
	}
	w.command(0, "resume", "refresh_profile_by_handle")
	for _, p := range s.Profiles {
		if got := w.outcome(p.Task, social.Complete); got != "None" {
			t.Errorf("data of task %d: %s", p.Task, got)
		}
	}
	if n := w.int("SELECT count(*) FROM instagram_account WHERE refreshed_at IS NOT NULL"); n != 2 {
		t.Errorf("%d profiles are said to be refreshed, want 2", n)
	}
	for _, name := range []string{"refresh-creators", "refresh_creator_profiles_insta"} {
		if text := w.command(0, "schedule", name); text != nothing {
			t.Errorf("%s after their refresh: %s", name, text)
		}
	}
	if s := w.scheduled("refresh-creators"); s.Count != 0 {
		t.Errorf("after their refresh: %+v", s)
	}

	// The other half, by its old name.
	id := w.int("SELECT max(id) FROM scrape_request_log") + 1
	if text := w.command(0, "schedule", "refresh_non_creator_profiles_insta"); text != fmt.Sprintf("1 enqueued, tasks %d to %d\n", id, id) {
		t.Error(text)
	}
	w.outcome(int64(id), social.Complete)
	if n := w.int("SELECT count(*) FROM instagram_account WHERE refreshed_at IS NULL"); n != 0 {
		t.Errorf("%d profiles were never refreshed", n)
	}

	// A week later, one that no source knows any more is due again and again.
	w.weekPasses()
	w.exec("UPDATE instagram_account SET handle = 'missing.one' WHERE handle = 'creator00000'")
	for range 2 {
		s := w.scheduled("refresh-creators", "--limit", "9", "--older", "168h")
		for _, p := range s.Profiles {
			w.outcome(p.Task, map[bool]string{true: social.Failed, false: social.Complete}[p.Handle == "missing.one"])
		}
		if last := s.Profiles[s.Count-1]; last.Handle != "missing.one" {
			t.Errorf("enqueued: %+v", s)
		}
	}
}

func TestScheduleBadInput(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "refresh-creators", []string{"schedule"}},
		{2, "refresh_all", []string{"schedule", "refresh_all"}},
		{2, "again", []string{"schedule", "refresh-creators", "again"}},
		{2, "--limit must be at least 1", []string{"schedule", "refresh-creators", "--limit", "0"}},
		{2, "--older must not be negative", []string{"schedule", "refresh-creators", "--older=-1h"}},
		{1, "postgres at 127.0.0.1:1/x does not answer: connection refused", []string{"schedule", "refresh-creators", "--pg-url", nowhere}},
		{1, "refresh-creators: ERROR: ", []string{"schedule", "refresh-creators", "--pg-url", newDatabase(t)}}, // without a schema
		{2, "--refresh-creators-every 1ms: want a second or more", []string{"run", "--refresh-creators-every", "1ms"}},
		{2, "--refresh-non-creators-every -1h0m0s", []string{"run", "--refresh-non-creators-every=-1h"}},
		{2, "--refresh-limit must be at least 1", []string{"run", "--refresh-creators-every", "24h", "--refresh-limit", "0"}},
	} {
		text := w.command(c.code, c.args...)
		last := text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:]
		if !strings.HasPrefix(last, "beat: ") || !strings.Contains(last, c.says) || c.code == 1 && last != text {
			t.Errorf("%v: it says %q, want one line with %q", c.args, text, c.says)
		}
	}
	help := w.command(0, "schedule", "--help")
	if !strings.Contains(help, "refresh-non-creators") || strings.Contains(help, "_insta") {
		t.Errorf("help: %s", help)
	}
}

// The scheduler's own refreshes: off unless asked for, once in the interval
// however many schedulers run, and a restart is not a new interval.
func TestSchedulePeriodic(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.exec(`INSERT INTO instagram_account (profile_id, handle, is_business_or_creator)
SELECT 'p' || i, 'creator' || lpad(i::text, 5, '0'), i % 2 = 0 FROM generate_series(1, 20) i`)
	enqueued := func(creators bool) int {
		return w.int("SELECT count(*) FROM scrape_request_log s JOIN instagram_account a ON a.handle = s.params ->> 'handle' WHERE a.is_business_or_creator = $1", creators)
	}
	ran := func(name string) string {
		return w.text("SELECT (SELECT ran_at::text FROM beat_refresh WHERE name = $1)", name)
	}

	if rs, err := w.deps.refreshes(); len(rs) != 0 || err != nil {
		t.Errorf("without being asked it runs %v, %v", rs, err)
	}
	w.deps.RefreshCreatorsEvery, w.deps.RefreshNonCreatorsEvery, w.deps.RefreshLimit = time.Hour, time.Hour, 3
	w.exec("INSERT INTO beat_refresh VALUES ('refresh-non-creators', now() AT TIME ZONE 'UTC' - interval '59 minutes 50 seconds')")
	before := ran("refresh-non-creators")
	_, stop1 := w.runRoles("scheduler")
	_, stop2 := w.runRoles("scheduler")
	w.until("the creators' refresh", func() bool { return ran("refresh-creators") != "" })
	first := ran("refresh-creators")
	if n := enqueued(true); n != 3 {
		t.Errorf("%d tasks, want the 3 of one run", n)
	}
	stop1()
	_, stop3 := w.runRoles("scheduler")
	// Ten seconds later the others are due, and the creators are not.
	w.until("the others' refresh", func() bool { return ran("refresh-non-creators") != before })
	stop2()
	stop3()
	if n, m := enqueued(true), enqueued(false); n != 3 || m != 3 || ran("refresh-creators") != first {
		t.Errorf("%d and %d tasks, want 3 of each; the creators' ran at %s and %s", n, m, first, ran("refresh-creators"))
	}
}
