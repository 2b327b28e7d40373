package schedule

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/social"
)

// account stores one, whose last full refresh is so many days ago; -1 never.
func account(t *testing.T, db *pgxpool.Pool, handle *string, creator *bool, days int) {
	t.Helper()
	if _, err := db.Exec(t.Context(), `
INSERT INTO instagram_account (profile_id, handle, is_business_or_creator, refreshed_at)
SELECT 'p' || (SELECT count(*) FROM instagram_account), $1, $2, now() AT TIME ZONE 'UTC' - nullif($3::int, -1) * interval '1 day'`,
		handle, creator, days); err != nil {
		t.Fatal(err)
	}
}

// accounts stores n creators that were never refreshed: h00001, h00002, ….
func accounts(t *testing.T, db *pgxpool.Pool, n int) {
	t.Helper()
	if _, err := db.Exec(t.Context(), `
INSERT INTO instagram_account (profile_id, handle, is_business_or_creator)
SELECT i::text, 'h' || lpad(i::text, 5, '0'), true FROM generate_series(1, $1::int) i`, n); err != nil {
		t.Fatal(err)
	}
}

// tasks are the handles of all tasks, in the order stored.
func tasks(t *testing.T, db *pgxpool.Pool) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT params ->> 'handle' FROM scrape_request_log ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	hs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return hs
}

func handles(ps []Profile) string {
	var hs []string
	for _, p := range ps {
		hs = append(hs, p.Handle)
	}
	return strings.Join(hs, " ")
}

func TestRefreshSelection(t *testing.T) {
	q, db := newQueue(t, 0)
	yes, no := new(true), new(false)
	for _, a := range []struct {
		handle  string
		creator *bool
		days    int
	}{
		{"creator-never", yes, -1},
		{"creator-due", yes, 8},
		{"creator-fresh", yes, 6},
		{"other-never", no, -1},
		{"other-due", no, 8},
		{"other-fresh", no, 6},
		{"unknown-never", nil, -1},
		{"unknown-due", nil, 8},
		{"unknown-fresh", nil, 6},
		{"waits", nil, 8},
		{"waits-later", nil, 8},
		{"runs", nil, 8},
		{"failed", nil, 8},
		{"complete", nil, 8},
		{"other-flow-waits", nil, 8},
		{"twice", nil, -1},
		{"twice", nil, 9},
		{"renamed", nil, 100}, // shown by another account since
		{"renamed", yes, 1},
		{"", nil, -1},
		{"  ", nil, -1},
	} {
		account(t, db, &a.handle, a.creator, a.days)
	}
	account(t, db, nil, nil, -1)
	for _, s := range []struct{ handle, flow, status, runAt string }{
		{"waits", "refresh_profile_by_handle", "PENDING", ""},
		{"waits-later", "refresh_profile_by_handle", "PENDING", "infinity"},
		{"runs", "refresh_profile_by_handle", "PROCESSING", ""},
		{"failed", "refresh_profile_by_handle", "FAILED", ""},
		{"complete", "refresh_profile_by_handle", "COMPLETE", ""},
		{"other-flow-waits", "refresh_profile_basic", "PENDING", ""},
	} {
		if _, err := db.Exec(t.Context(), `INSERT INTO scrape_request_log (flow, status, params, run_at)
			VALUES ($1, $2, jsonb_build_object('handle', $3::text), nullif($4, '')::timestamp)`, s.flow, s.status, s.handle, s.runAt); err != nil {
			t.Fatal(err)
		}
	}
	with := func(r Refresh, older time.Duration, limit int) Refresh {
		r.Older, r.Limit = older, limit
		return r
	}
	const week = 7 * 24 * time.Hour
	const both = "twice other-flow-waits complete failed unknown-due unknown-never"
	for _, c := range []struct {
		name string
		of   Refresh
		want string
	}{
		{"creators", Creators, both + " creator-due creator-never"},
		{"non-creators", NonCreators, both + " other-due other-never"},
		{"the newest", with(Creators, week, 3), "twice other-flow-waits"}, // twice is two of the three rows
		{"one", with(NonCreators, week, 1), "twice"},
		{"a longer time", with(NonCreators, 100*24*time.Hour, 1000), "unknown-never other-never"},
		{"any time", with(NonCreators, 0, 1000), "renamed twice other-flow-waits complete failed unknown-fresh unknown-due unknown-never other-fresh other-due other-never"},
	} {
		ps, err := q.DueProfiles(t.Context(), c.of)
		if err != nil {
			t.Fatal(err)
		}
		if got := handles(ps); got != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.name, got, c.want)
		}
		for _, p := range ps {
			if p.Task != 0 || strings.HasSuffix(p.Handle, "-never") != (p.RefreshedAt == nil) {
				t.Errorf("%s: %+v", c.name, p)
			}
		}
	}
	if n := len(tasks(t, db)); n != 6 {
		t.Errorf("looking stored %d tasks", n-6)
	}

	ps, err := q.Refresh(t.Context(), Creators)
	if err != nil || handles(ps) != both+" creator-due creator-never" {
		t.Fatalf("enqueued %s, %v", handles(ps), err)
	}
	if got := tasks(t, db)[6:]; strings.Join(got, " ") != handles(ps) {
		t.Errorf("stored %v, told %s", got, handles(ps))
	}
	for i, p := range ps {
		if p.Task == 0 || i > 0 && p.Task <= ps[i-1].Task {
			t.Errorf("task %d of %s: not in the order of the accounts", p.Task, p.Handle)
		}
	}
	// What is left to the others is only theirs, then there is nothing.
	for _, want := range []struct {
		of Refresh
		hs string
	}{{Creators, ""}, {NonCreators, "other-due other-never"}, {NonCreators, ""}} {
		if ps, err := q.Refresh(t.Context(), want.of); err != nil || ps == nil || handles(ps) != want.hs {
			t.Errorf("%s again: got %q, %v, want %q", want.of.Name, handles(ps), err, want.hs)
		}
	}
}

// The rows are those of the contract (postgres.md 1.4), and are claimed as any.
func TestRefreshRow(t *testing.T) {
	q, db := newQueue(t, 0)
	handle := `o'neil "é"`
	account(t, db, &handle, nil, -1)
	if _, err := q.Refresh(t.Context(), Creators); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM scrape_request_log
WHERE flow = 'refresh_profile_by_handle' AND platform = 'INSTAGRAM' AND status = 'PENDING' AND priority = 1
  AND params = jsonb_build_object('handle', $1::text) AND expires_at = created_at + interval '1 hour'
  AND created_at BETWEEN (now() AT TIME ZONE 'UTC') - interval '1 minute' AND (now() AT TIME ZONE 'UTC')
  AND num_nulls(account_id, retry_count, picked_at, idempotency_key, source, data, scraped_at, announced, run_at) = 9`, handle).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d rows as they should be, %v", n, err)
	}
	k, err := q.Claim(t.Context(), "me", []Want{{Flow: "refresh_profile_by_handle", InFlight: 9, Max: 9}}, func(_ context.Context, ts []Task) error {
		for _, task := range ts {
			if task.Announce {
				t.Error("its PENDING event is to be published")
			}
		}
		return nil
	})
	if err != nil || k != 1 {
		t.Errorf("%d claimed, %v", k, err)
	}
	if ps, err := q.DueProfiles(t.Context(), Creators); err != nil || len(ps) != 0 {
		t.Errorf("running, and due: %v, %v", ps, err)
	}
}

// However many run at once, of both kinds, each profile gets one task, and no
// run takes more than its limit.
func TestRefreshAtOnce(t *testing.T) {
	q, db := newQueue(t, 0)
	const n = 250
	accounts(t, db, n)
	if _, err := db.Exec(t.Context(), "UPDATE instagram_account SET is_business_or_creator = NULL"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := []Refresh{Creators, NonCreators}[i%2]
			r.Limit = 40
			if ps, err := q.Refresh(context.Background(), r); err != nil || len(ps) > r.Limit {
				t.Errorf("%d enqueued, %v", len(ps), err)
			}
		})
	}
	wg.Wait()
	got := tasks(t, db)
	if len(got) != n || len(slices.Compact(slices.Sorted(slices.Values(got)))) != n {
		t.Errorf("%d tasks, want %d of as many handles", len(got), n)
	}
	if !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Error("not from the newest account to the oldest")
	}
}

// Nothing is stored, and the turn is not taken, when a run fails.
func TestRefreshFails(t *testing.T) {
	q, db := newQueue(t, 0)
	accounts(t, db, 3)
	if _, err := db.Exec(t.Context(), `ALTER TABLE scrape_request_log ADD CONSTRAINT broken CHECK (params ->> 'handle' <> 'h00001')`); err != nil {
		t.Fatal(err)
	}
	r := Creators
	r.Every = time.Hour
	if _, err := q.Refresh(t.Context(), r); err == nil || !strings.HasPrefix(err.Error(), "refresh-creators: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if got, err := q.refreshInTurn(t.Context(), r); err == nil || got.ran {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := len(tasks(t, db)); n != 0 {
		t.Errorf("%d tasks stored", n)
	}
	if _, err := db.Exec(t.Context(), `ALTER TABLE scrape_request_log DROP CONSTRAINT broken`); err != nil {
		t.Fatal(err)
	}
	if got, err := q.refreshInTurn(t.Context(), r); err != nil || len(got.profiles) != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Once in each interval, however many look, each name for itself, and by the
// row and not by a process's memory.
func TestRefreshInTurn(t *testing.T) {
	q, db := newQueue(t, 0)
	accounts(t, db, 10)
	r := Creators
	r.Every, r.Limit = time.Hour, 3
	look := func(r Refresh, want int) {
		t.Helper()
		var mu sync.Mutex
		var ran int
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				got, err := q.refreshInTurn(context.Background(), r)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || got.next <= 0 || got.next > r.Every || got.ran != (len(got.profiles) > 0) {
					t.Errorf("got %+v, %v", got, err)
				}
				if got.ran {
					ran++
				}
			})
		}
		wg.Wait()
		if ran != want {
			t.Errorf("%s ran %d times, want %d", r.Name, ran, want)
		}
	}
	later := func(d time.Duration) {
		t.Helper()
		if _, err := db.Exec(t.Context(), "UPDATE beat_refresh SET ran_at = ran_at - $1::interval", d); err != nil {
			t.Fatal(err)
		}
	}
	look(r, 1)
	look(r, 0)
	later(59 * time.Minute)
	look(r, 0)
	if got, err := q.refreshInTurn(t.Context(), r); err != nil || got.ran || got.next > time.Minute {
		t.Errorf("a minute before its time: %+v, %v", got, err)
	}
	later(time.Minute)
	look(r, 1)
	other := r
	other.Name = "another"
	look(other, 1)
	// By hand is beside it.
	if ps, err := q.Refresh(t.Context(), r); err != nil || len(ps) != 1 {
		t.Errorf("by hand: %d enqueued, %v", len(ps), err)
	}
	if n := len(tasks(t, db)); n != 10 {
		t.Errorf("%d tasks, want 10", n)
	}
}

// Two Refreshers share the runs, say what they enqueued, and stop when told.
func TestRefresherRuns(t *testing.T) {
	q, db := newQueue(t, 0)
	accounts(t, db, 30)
	r := Creators
	r.Every, r.Limit = 500*time.Millisecond, 1
	var mu sync.Mutex
	var log bytes.Buffer
	lg := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	}), nil))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	began := time.Now()
	for range 2 {
		wg.Go(func() {
			if err := NewRefresher(lg, q, r).Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for len(tasks(t, db)) < 4 && time.Since(began) < time.Minute {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	wg.Wait()
	got := len(tasks(t, db))
	if most := 1 + int(time.Since(began)/r.Every); got < 4 || got > most {
		t.Errorf("%d runs within %v, want 4 to %d", got, time.Since(began), most)
	}
	if said := strings.Count(log.String(), "refresh=refresh-creators tasks=1 next="); said > got || said < got-1 { // the last may have been told to stop
		t.Errorf("%d runs, %d of them told:\n%s", got, said, log.String())
	}
	if strings.Contains(log.String(), "WARN") {
		t.Error(log.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Trap: without its own index the choice reads every task there ever was.
func TestTrapRefreshReadsEndedTasks(t *testing.T) {
	q, db := newQueue(t, 0)
	accounts(t, db, 5000)
	if _, err := db.Exec(t.Context(), `
INSERT INTO scrape_request_log (flow, platform, status, params)
SELECT 'refresh_profile_by_handle', $1, CASE WHEN i <= 200 THEN 'PENDING' ELSE 'COMPLETE' END,
       jsonb_build_object('handle', 'h' || lpad((i % 5000)::text, 5, '0')) FROM generate_series(1, 50000) i;`, social.Instagram); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"instagram_account", "scrape_request_log"} {
		if _, err := db.Exec(t.Context(), "ANALYZE "+table); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query(t.Context(), "EXPLAIN "+listProfilesSQL, pgx.QueryExecModeExec, true, 7*24*time.Hour, 100)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	if !strings.Contains(plan, "scrape_request_log_refresh_idx") || strings.Contains(plan, "Seq Scan on scrape_request_log") {
		t.Errorf("plan:\n%s", plan)
	}
	if ps, err := q.DueProfiles(t.Context(), Creators); err != nil || len(ps) != Creators.Limit || ps[0].Handle != fmt.Sprintf("h%05d", 5000) {
		t.Errorf("%d due, %v", len(ps), err)
	}
}
