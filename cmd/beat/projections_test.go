package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"beat/projections"
	"beat/streams/lanes"
)

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	text, _, _ = strings.Cut(text, "\nbeat: ") // the error that follows
	if at := strings.LastIndex(text[:max(strings.Index(text, "[{"), strings.Index(text, "{\""), 0)], "\n"); at > 0 {
		text = text[at:] // progress before
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// Tables are rebuilt while a pipeline writes them, also after a rebuild was killed
// in the middle of one; nothing is lost, and what was damaged is repaired. The
// commands say what they find, and exit with 1 where something is wrong.
func TestProjectionsWhileThePipelineRuns(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	w.forCommands()
	const n = 30
	w.enqueue(n / 2)
	w.until("completion", func() bool { return w.complete() == n/2 })
	w.exec("UPDATE instagram_account SET followers = -5 WHERE handle = 'creator00003'")

	for _, v := range decode[[]verified](t, w.command(1, "projections", "verify", "--json")) {
		if want := map[bool]int{true: 1}[v.Table == "instagram_account"]; v.Differ != want {
			t.Errorf("verify of %s: %+v, want %d", v.Table, v, want)
		}
	}
	if text := w.command(2, "projections", "rebuild", "accounts"); !strings.Contains(text, `"accounts" is no table of the projections, those are instagram_account, `) {
		t.Errorf("a wrong name: %s", text)
	}

	// The other half comes while one rebuild after the other is killed.
	w.enqueue(n)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		cmd := exec.CommandContext(t.Context(), self, "projections", "rebuild")
		cmd.Env = append(os.Environ(), "BEAT_TEST_CHILD=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.until("a rebuild begins", func() bool {
			return w.int("SELECT count(*) FROM beat_rebuild") > i
		})
		time.Sleep(time.Duration(i) * 60 * time.Millisecond) // wherever it is then
		cmd.Process.Kill()                                   //nolint:errcheck // it may have ended
		cmd.Wait()                                           //nolint:errcheck // it was killed
		w.until("its session ends", func() bool {
			return w.int(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = (hashtext('beat:rebuild')::int8 & 4294967295)::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0
		})
	}
	out := decode[projections.Rebuilt](t, w.command(0, "projections", "rebuild", "--json", "--log-level", "error"))
	if out.State != "swapped" || len(out.Tables) != 4 || out.StandstillMS > 2000 {
		t.Errorf("rebuilt: %+v", out)
	}
	w.until("completion", func() bool { return w.complete() == n+n/2 })
	w.until("the end of every run is told", w.applied)
	for _, c := range []struct {
		what, sql string
		want      int
	}{
		{"accounts", "SELECT count(*) FROM instagram_account", n},
		{"posts", "SELECT count(*) FROM instagram_post", 24 * n},
		{"accounts with damage", "SELECT count(*) FROM instagram_account WHERE followers < 0", 0},
		{"accounts that are not marked as refreshed", "SELECT count(*) FROM instagram_account WHERE refreshed_at IS NULL", 0},
		{"tables that a killed rebuild has left", `SELECT count(*) FROM pg_class WHERE relname LIKE '%\_rebuild' AND relname <> 'beat_rebuild' AND relkind = 'r' OR relname LIKE '%\_changed'`, 0},
		{"replaced tables", `SELECT count(*) FROM pg_class WHERE relname LIKE '%\_before\_%' AND relkind = 'r'`, 4},
	} {
		if got := w.int(c.sql); got != c.want {
			t.Errorf("%s: got %d, want %d", c.what, got, c.want)
		}
	}
	for _, v := range decode[[]verified](t, w.command(0, "projections", "verify", "--json")) {
		if v.Differ != 0 || v.Looked != map[string]int{"instagram_account": n, "instagram_post": 24 * n}[v.Table] {
			t.Errorf("verify of %s: %+v", v.Table, v)
		}
	}

	list := decode[[]projection](t, w.command(0, "projections", "list", "--json"))
	at := slices.IndexFunc(list, func(p projection) bool { return p.Table == "instagram_post" })
	if p := list[max(at, 0)]; p.Rows != 24*n || p.Kept != fmt.Sprintf("instagram_post_before_%d", out.Run) || p.Run != out.Run || p.Applied == 0 || p.Pending != 0 {
		t.Errorf("list: %+v", p)
	}
	w.command(0, "projections", "rollback", "--log-level", "error")
	if got := w.int("SELECT count(*) FROM instagram_post"); got != 24*n {
		t.Errorf("after going back there are %d posts, want %d", got, 24*n)
	}
	if text := w.command(0, "projections", "drop"); !strings.Contains(text, "4 tables were kept") {
		t.Errorf("drop: %s", text)
	}
	if text := w.command(1, "projections", "rollback"); !strings.Contains(text, "no table of before a rebuild is kept") {
		t.Errorf("a second rollback: %s", text)
	}
}

// Lag is by shard, and beyond a threshold it is an error.
func TestProjectionsLag(t *testing.T) {
	w := newWorld(t, localConfig{})
	_, stop := w.runRoles("scheduler", "retrieval", "parsing", "processing")
	w.enqueue(3)
	w.until("events", func() bool { last, err := w.events(); return err == nil && last >= 6 })
	stop()
	w.forCommands()
	last, err := w.events()
	if err != nil {
		t.Fatal(err)
	}
	lags := decode[[]lanes.Lag](t, w.command(1, "projections", "lag", "--max", "1ms", "--json"))
	pending := uint64(0)
	for _, l := range lags {
		pending += l.Pending
		if (l.Pending > 0) != (l.Behind > 0) || l.Applied != 0 || (l.Last > 0) != (l.Pending > 0) {
			t.Errorf("lag: %+v", l)
		}
	}
	if len(lags) != 16 || pending != last {
		t.Errorf("%d messages of %d shards are pending, want %d of 16", pending, len(lags), last)
	}
	_, stop = w.runRoles("projections")
	w.until("all is applied", w.applied)
	stop()
	for _, l := range decode[[]lanes.Lag](t, w.command(0, "projections", "lag", "--json", "--max", "1ms")) {
		if l.Pending != 0 || l.Behind != 0 || l.Last > l.Applied {
			t.Errorf("lag: %+v", l)
		}
	}
}

// The benchmark measures what it says: as many answers and rows as it was asked
// for, one answer in ten changed, traffic beside it, and no failures.
func TestBenchReplay(t *testing.T) {
	t.Setenv("BEAT_TEST_CHILD", "1") // the sandbox is a process of its own
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"bench", "replay", "--pg-url", newDatabase(t), "--answers", "60", "--rows", "600", "--live", "20", "--quiet", "200ms"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	r := decode[benchReplayResult](t, out.String())
	if r.Answers != 60 || r.Entities != 13 || r.Changed < 1 || r.Changed > 20 || r.DryPerS <= 0 || r.ApplyPerS <= 0 || r.AppliedPerS <= 0 {
		t.Errorf("replays: %+v", r)
	}
	if r.Rows < 600+60*12 || r.RowsPerS <= 0 || r.StandstillMS <= 0 || r.LiveTasks < 1 || r.LiveFailed != 0 || r.LiveWorst < r.LiveP50 {
		t.Errorf("rebuild: %+v", r)
	}
}
