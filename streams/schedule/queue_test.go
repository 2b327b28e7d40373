package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations/pgtest"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

func newQueue(t testing.TB, lease time.Duration) (*Queue, *pgxpool.Pool) {
	t.Helper()
	return newQueueOn(t, servertest.Postgres(t), lease)
}

func newQueueOn(t testing.TB, admin string, lease time.Duration) (*Queue, *pgxpool.Pool) {
	t.Helper()
	db := pgtest.Open(t, pgtest.URL(t, admin))
	return NewQueue(db, lease), db
}

func some(n int) []Request {
	rs := make([]Request, n)
	for i := range rs {
		rs[i] = Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}
	}
	return rs
}

// claim takes up to n tasks and returns them in the order claimed.
func claim(t testing.TB, q *Queue, inFlight, n int) []Task {
	t.Helper()
	var got []Task
	k, err := q.Claim(context.Background(), "me", []Want{{Flow: "f", InFlight: inFlight, Max: n}}, func(_ context.Context, ts []Task) error {
		got = ts
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if k != len(got) {
		t.Fatalf("claim says %d, handed over %d", k, len(got))
	}
	return got
}

// Trap: a sub-select with LIMIT and SKIP LOCKED may be run again for each row
// and take far more than the limit.
func TestTrapClaimTakesMoreThanItsLimit(t *testing.T) {
	q, db := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(500)); err != nil {
		t.Fatal(err)
	}
	if got := len(claim(t, q, 1000, 1)); got != 1 {
		t.Errorf("claim of 1: got %d", got)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5 {
				if _, err := q.Claim(context.Background(), "me", []Want{{Flow: "f", InFlight: 1000, Max: 3}}, func(_ context.Context, ts []Task) error {
					if len(ts) > 3 {
						t.Errorf("claim of 3: got %d", len(ts))
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	var n, fences int
	if err := db.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT fence) FROM scrape_request_log WHERE status = 'PROCESSING'").Scan(&n, &fences); err != nil {
		t.Fatal(err)
	}
	if n != 121 || fences != n {
		t.Errorf("claimed %d rows with %d fences, want 121 of each", n, fences)
	}
}

func TestClaimIsBoundedByWhatIsInFlight(t *testing.T) {
	q, _ := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(50)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{10, 0} {
		if got := len(claim(t, q, 10, 500)); got != want {
			t.Errorf("claim with 10 in flight: got %d, want %d", got, want)
		}
	}
}

// Larger priority first; a task gains a point for each minute it waits.
func TestClaimOrder(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	add := func(name string, priority int, age time.Duration) {
		t.Helper()
		e, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`"` + name + `"`), Priority: priority})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, "UPDATE scrape_request_log SET created_at = created_at - $2::interval WHERE id = $1", e.ID, age); err != nil {
			t.Fatal(err)
		}
	}
	add("low", 1, 0)
	add("high", 5, 0)
	add("old", 1, 10*time.Minute)
	for _, want := range []string{`"old"`, `"high"`, `"low"`} {
		got := claim(t, q, 100, 1)
		if len(got) != 1 || string(got[0].Params) != want {
			t.Errorf("next task: got %s, want %s", got[0].Params, want)
		}
	}
}

// A publish that fails leaves every task where it was.
func TestClaimIsUndoneWhenPublishFails(t *testing.T) {
	q, _ := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(3)); err != nil {
		t.Fatal(err)
	}
	_, err := q.Claim(t.Context(), "me", []Want{{Flow: "f", InFlight: 10, Max: 10}}, func(context.Context, []Task) error { return context.DeadlineExceeded })
	if err == nil {
		t.Error("claim: got no error")
	}
	if got := len(claim(t, q, 10, 10)); got != 3 {
		t.Errorf("tasks to claim afterwards: got %d, want 3", got)
	}
}

// A lease that runs out returns the task; the stale run's end is refused.
// W4.5.
func TestW4_5StaleRunIsRefusedByTheFence(t *testing.T) {
	q, db := newQueue(t, time.Millisecond)
	ctx := t.Context()
	if err := q.EnqueueAll(ctx, some(1)); err != nil {
		t.Fatal(err)
	}
	first := claim(t, q, 10, 10)[0]
	deadline := time.Now().Add(10 * time.Second)
	for {
		e, err := q.Expire(ctx, []string{"f"}, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Again) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease did not run out")
		}
	}
	second := claim(t, q, 10, 10)[0]
	if second.Fence <= first.Fence || second.RetryCount == nil || *second.RetryCount != 1 {
		t.Errorf("second run: fence %d after %d, retry count %v", second.Fence, first.Fence, second.RetryCount)
	}
	if live, err := q.Renew(ctx, []social.TaskRef{first.TaskRef}); err != nil || len(live) != 0 {
		t.Errorf("renewing the stale run: got %v, %v", live, err)
	}
	for _, c := range []struct {
		run  Task
		want int
	}{{first, 0}, {second, 1}, {second, 0}} {
		got, err := End(ctx, db, []Finish{{c.run.ID, c.run.Fence, social.Complete, "None", ""}})
		if err != nil || len(got) != c.want {
			t.Errorf("end of fence %d: got %d rows, %v, want %d", c.run.Fence, len(got), err, c.want)
		}
	}
}

func TestEnqueueJoins(t *testing.T) {
	q, db := newQueue(t, 0)
	ctx := t.Context()
	key, join := "k", "j"
	one, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`{}`), IdempotencyKey: &key})
	if err != nil {
		t.Fatal(err)
	}
	two, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`{}`), IdempotencyKey: &key})
	if err != nil || two.ID != one.ID || !two.Joined {
		t.Errorf("same idempotency key: got %+v, %v, want %d joined", two, err, one.ID)
	}
	a, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`{}`), JoinKey: &join})
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`{}`), JoinKey: &join})
	if err != nil || b.ID != a.ID {
		t.Errorf("same join key: got %+v, %v, want %d", b, err, a.ID)
	}
	if _, err := db.Exec(ctx, "UPDATE scrape_request_log SET status = 'COMPLETE' WHERE id = $1", a.ID); err != nil {
		t.Fatal(err)
	}
	if c, err := q.Enqueue(ctx, Request{Flow: "f", Params: json.RawMessage(`{}`), JoinKey: &join}); err != nil || c.ID == a.ID {
		t.Errorf("join key of an ended task: got %+v, %v, want a new one", c, err)
	}
}

func TestAnnounceOnce(t *testing.T) {
	q, _ := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(3)); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Minute), 0}, {time.Now(), 3}, {time.Now(), 0}} {
		n, err := q.Announce(t.Context(), 10, c.before, func(context.Context, []Task) error { return nil })
		if err != nil || n != c.want {
			t.Errorf("%d: announced %d, %v, want %d", i, n, err, c.want)
		}
	}
	for _, task := range claim(t, q, 10, 10) {
		if task.Announce {
			t.Errorf("task %d is to be announced again", task.ID)
		}
	}
}

// Claim, then end, both committed durably: the queue alone.
func BenchmarkDrain(b *testing.B) {
	q, db := newQueueOn(b, servertest.DurablePostgres(b), 0)
	ctx := context.Background()
	fill(b, q)
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				ts := claim(b, q, 1<<20, 500)
				if len(ts) == 0 {
					return
				}
				fs := make([]Finish, len(ts))
				for i, t := range ts {
					fs[i] = Finish{t.ID, t.Fence, social.Complete, "None", ""}
				}
				if _, err := End(ctx, db, fs); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// fill stores b.N tasks and lets Postgres see them as it would after a while.
func fill(b *testing.B, q *Queue) {
	b.Helper()
	ctx := context.Background()
	for n := b.N; n > 0; n -= 20000 {
		if err := q.EnqueueAll(ctx, some(min(n, 20000))); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := q.db.Exec(ctx, "ANALYZE scrape_request_log"); err != nil {
		b.Fatal(err)
	}
}

// The claims alone. Each is ended off the clock, since a claim counts what is in
// flight, which a flow's limit keeps small.
func BenchmarkClaim(b *testing.B) {
	for _, n := range []int{1, 100, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q, db := newQueueOn(b, servertest.DurablePostgres(b), 0)
			fill(b, q)
			b.ResetTimer()
			for ts := claim(b, q, 1<<20, n); len(ts) > 0; ts = claim(b, q, 1<<20, n) {
				b.StopTimer()
				fs := make([]Finish, len(ts))
				for i, t := range ts {
					fs[i] = Finish{t.ID, t.Fence, social.Complete, "None", ""}
				}
				if _, err := End(context.Background(), db, fs); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

func BenchmarkEnqueue(b *testing.B) {
	for _, n := range []int{1, 500, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			q, _ := newQueueOn(b, servertest.DurablePostgres(b), 0)
			rs := some(n)
			b.ResetTimer()
			for left := b.N; left > 0; left -= n {
				var err error
				if n == 1 {
					_, err = q.Enqueue(context.Background(), rs[0])
				} else {
					err = q.EnqueueAll(context.Background(), rs[:min(n, left)])
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// A claim reads what it takes, however many tasks wait or have ended.
func TestClaimDoesNotReadTheTable(t *testing.T) {
	q, db := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(20000)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), "ANALYZE scrape_request_log"); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	for name, sql := range map[string]struct {
		sql  string
		args []any
	}{
		"claim":  {claimSQL, []any{[]string{"f"}, []int32{100}, []int32{1}, now, "me", now}},
		"expire": {expireSQL, []any{[]string{"f"}, now, 100, &now, now, MaxRetries, expires}},
		"late":   {lateSQL, []any{[]string{"f"}, now}},
		"due":    {dueSQL, []any{now, []string{"credential:a"}, 100}},
		"count":  {waitingSQL, []any{[]string{"f"}, 100}},
	} {
		rows, err := db.Query(t.Context(), "EXPLAIN "+sql.sql, sql.args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if plan := strings.Join(lines, "\n"); strings.Contains(plan, "Seq Scan") {
			t.Errorf("%s reads the whole table:\n%s", name, plan)
		}
	}
}

// A plan that was made while the table was empty is kept while it grows, until the
// table is analyzed: with Settings it is a good one all the same.
func TestPlansOfAnEmptyTable(t *testing.T) {
	_, db := newQueue(t, 0)
	c := db.Config()
	for i := 0; i < len(Settings); i += 2 {
		c.ConnConfig.RuntimeParams[Settings[i]] = Settings[i+1]
	}
	c.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	conn, err := pgx.ConnectConfig(t.Context(), c.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for name, is := range map[string]struct{ before, sql, args, index string }{
		"claim":    {"", claimSQL, `'{f}', '{100}', '{1}', now()::timestamp, 'me', now()::timestamp`, "scrape_request_log_ready_idx"},
		"announce": {inOrderSQL, unannouncedSQL, "100, now()::timestamp", "scrape_request_log_announce_idx"},
		"late":     {"", lateSQL, "'{f}', now()::timestamp", "scrape_request_log_lease_idx"},
	} {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{is.before, "PREPARE " + name + " AS " + is.sql} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN EXECUTE "+name+"("+is.args+")", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "Index Scan using "+is.index) && !strings.Contains(plan, "Index Only Scan using "+is.index) {
			t.Errorf("%s does not go by %s:\n%s", name, is.index, plan)
		}
	}
}

// A lease that ended while older messages still waited for a stage is extended:
// the run may be among them. One that ended before all that waits is not.
func TestWaitingRunKeepsItsLease(t *testing.T) {
	const lease = 50 * time.Millisecond
	q, db := newQueue(t, lease)
	if err := q.EnqueueAll(t.Context(), some(1)); err != nil {
		t.Fatal(err)
	}
	task := claim(t, q, 10, 10)[0]
	var oldest time.Time
	expire := func() (ids []int64, kept int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); len(ids)+kept == 0; {
			e, err := q.Expire(t.Context(), []string{"f"}, 10, func(context.Context) (time.Time, error) { return oldest, nil })
			if err != nil {
				t.Fatal(err)
			}
			ids, kept = e.Again, e.Kept
			if time.Now().After(deadline) {
				t.Fatal("the lease did not run out")
			}
		}
		return ids, kept
	}
	oldest = task.PickedAt.Add(lease / 2)
	if ids, kept := expire(); len(ids) != 0 || kept != 1 {
		t.Errorf("a message waits from before the lease's end: %d expired, %d kept, want 0 and 1", len(ids), kept)
	}
	var fence int64
	var retries *int
	if err := db.QueryRow(t.Context(), "SELECT fence, retry_count FROM scrape_request_log WHERE status = 'PROCESSING' AND lease_owner = 'me'").
		Scan(&fence, &retries); err != nil || fence != task.Fence || retries != nil {
		t.Errorf("kept run: fence %d, retry count %v, %v, want %d and none", fence, retries, err, task.Fence)
	}
	oldest = time.Now().Add(time.Hour)
	if ids, kept := expire(); len(ids) != 1 || kept != 0 {
		t.Errorf("what waits is newer: %d expired, %d kept, want 1 and 0", len(ids), kept)
	}
}

// A short run may end, renew its lease or be put back before its claim is
// committed. None of it may be lost.
func TestRunOvertakesTheCommitOfItsClaim(t *testing.T) {
	for name, do := range map[string]func(q *Queue, db *pgxpool.Pool, ref social.TaskRef) error{
		"end": func(_ *Queue, db *pgxpool.Pool, ref social.TaskRef) error {
			got, err := End(context.Background(), db, []Finish{{ref.ID, ref.Fence, social.Complete, "None", ""}})
			if err == nil && len(got) != 1 {
				err = fmt.Errorf("%d runs ended, want 1", len(got))
			}
			return err
		},
		"renew": func(q *Queue, _ *pgxpool.Pool, ref social.TaskRef) error {
			live, err := q.Renew(context.Background(), []social.TaskRef{ref})
			if err == nil && len(live) != 1 {
				err = errors.New("the run was said to be stale")
			}
			return err
		},
		"defer": func(q *Queue, db *pgxpool.Pool, ref social.TaskRef) error {
			if err := q.Defer(context.Background(), social.Ask{Task: ref, Waits: "limit:a"}, time.Now().Add(time.Hour)); err != nil {
				return err
			}
			var waits string
			return db.QueryRow(context.Background(), "SELECT waits_for FROM scrape_request_log WHERE status = 'PENDING' AND resume IS NOT NULL").Scan(&waits)
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, db := newQueue(t, 0)
			if err := q.EnqueueAll(t.Context(), some(1)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			if _, err := q.Claim(t.Context(), "me", []Want{{"f", 1, 1}}, func(_ context.Context, ts []Task) error {
				go func() { done <- do(q, db, ts[0].TaskRef) }()
				// The other one waits for our row: then it has begun too early.
				for deadline := time.Now().Add(10 * time.Second); ; {
					var waits bool
					if err := db.QueryRow(context.Background(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").Scan(&waits); err != nil {
						return err
					}
					if waits {
						return nil
					}
					if len(done) > 0 || time.Now().After(deadline) {
						return errors.New("the write did not wait for the claim")
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// W4.1: one statement sets PROCESSING, picked_at and the owner, and the
// detection query finds exactly the stuck tasks.
func TestW4_1ClaimSaysWhoAndWhen(t *testing.T) {
	q, db := newQueue(t, 0)
	if err := q.EnqueueAll(t.Context(), some(3)); err != nil {
		t.Fatal(err)
	}
	claim(t, q, 10, 2)
	var owned, stuck int
	const detect = `SELECT count(*) FROM scrape_request_log WHERE status = 'PROCESSING' AND picked_at < now() AT TIME ZONE 'UTC' - interval '10 minutes'`
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM scrape_request_log WHERE status = 'PROCESSING' AND lease_owner = 'me'
		AND picked_at > now() AT TIME ZONE 'UTC' - interval '1 minute'`).Scan(&owned); err != nil || owned != 2 {
		t.Errorf("%d rows say who has them since when, %v, want 2", owned, err)
	}
	if _, err := db.Exec(t.Context(), `UPDATE scrape_request_log SET picked_at = picked_at - interval '11 minutes'
		WHERE id = (SELECT min(id) FROM scrape_request_log WHERE status = 'PROCESSING')`); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow(t.Context(), detect).Scan(&stuck); err != nil || stuck != 1 {
		t.Errorf("the detection query finds %d, %v, want the stuck one", stuck, err)
	}
}

// W4.4: several reapers at once return each lost task once, leave the younger
// ones alone, and give up after the most retries.
func TestW4_4ReapersShareTheWork(t *testing.T) {
	q, db := newQueue(t, time.Hour)
	const n = 200
	if err := q.EnqueueAll(t.Context(), some(n)); err != nil {
		t.Fatal(err)
	}
	claim(t, q, n, n)
	late := func() {
		t.Helper()
		if _, err := db.Exec(t.Context(), `UPDATE scrape_request_log SET lease_until = now() AT TIME ZONE 'UTC' - interval '1 second' WHERE id % 2 = 0 AND status = 'PROCESSING'`); err != nil {
			t.Fatal(err)
		}
	}
	for round := range MaxRetries + 1 {
		late()
		var mu sync.Mutex
		seen, lost := map[int64]int{}, 0
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					e, err := q.Expire(t.Context(), []string{"f"}, 10, nil)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, id := range e.Again {
						seen[id]++
					}
					lost += len(e.Lost)
					mu.Unlock()
					if len(e.Again) == 0 {
						return
					}
				}
			})
		}
		wg.Wait()
		if round == MaxRetries {
			if len(seen) != 0 || lost == 0 {
				t.Errorf("after %d retries: %d tasks wait again, %d are given up, want none and some", round, len(seen), lost)
			}
			break
		}
		if len(seen) != n/2 || lost != 0 {
			t.Fatalf("round %d: %d tasks wait again and %d are given up, want %d and none", round, len(seen), lost, n/2)
		}
		for id, times := range seen {
			if times != 1 || id%2 != 0 {
				t.Errorf("task %d was returned %d times", id, times)
			}
		}
		claim(t, q, n, n)
	}
}
