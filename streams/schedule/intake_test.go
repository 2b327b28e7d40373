package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/streams/social"
)

// Each caller gets the id of its own task, with all that it asked for, however
// many come at once.
func TestIntakeGivesEachItsOwn(t *testing.T) {
	q, db := newQueue(t, time.Hour)
	in := NewIntake(q, nil)
	const n = 200
	want, got := map[int64]string{}, map[int64]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i)), Priority: i}
			if i%2 == 0 {
				r.AccountID, r.RetryCount, r.Reason = new(fmt.Sprint("account ", i)), new(i), new(fmt.Sprint("why ", i))
			}
			id, err := in.Enqueue(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			text := func(s *string) string {
				if s == nil {
					return "-"
				}
				return *s
			}
			retry := "-"
			if r.RetryCount != nil {
				retry = fmt.Sprint(*r.RetryCount)
			}
			want[id] = fmt.Sprintf("f INSTAGRAM %s PENDING %d %s %s %s false 1h", r.Params, r.priority(), text(r.AccountID), retry, text(r.Reason))
		})
	}
	wg.Wait()
	rows, err := db.Query(t.Context(), `
		SELECT id, concat_ws(' ', flow, platform, params, status, priority, coalesce(account_id, '-'), coalesce(retry_count::text, '-'),
		       coalesce(reason, '-'), CASE WHEN announced = false THEN 'false' END, CASE WHEN expires_at - created_at = '1 hour' THEN '1h' END)
		FROM scrape_request_log`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id int64
		var row string
		if err := rows.Scan(&id, &row); err != nil {
			t.Fatal(err)
		}
		got[id] = row
	}
	if d := cmp.Diff(want, got); d != "" || len(want) != n {
		t.Errorf("%d ids, want %d (-want +got):\n%s", len(want), n, d)
	}
}

// A value that Postgres cannot store is refused to its caller alone.
func TestIntakeRefusesOneOfMany(t *testing.T) {
	q, db := newQueue(t, time.Hour)
	batch := make([]*arrival, 3)
	for i, params := range []string{`{"n":1}`, `{"n":"\u0000"}`, `{"n":3}`} {
		batch[i] = &arrival{ctx: t.Context(), r: Request{Flow: "f", Platform: social.Instagram, Params: json.RawMessage(params)}}
	}
	q.take(batch)
	for i, a := range batch {
		if refused := a.err != nil; refused != (i == 1) || refused != (a.id == 0) {
			t.Errorf("task %d: id %d, %v", i, a.id, a.err)
		}
	}
	var n int
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM scrape_request_log").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows, %v", n, err)
	}
}

// Without Postgres everybody is told, and nobody waits for ever.
func TestIntakeWithoutPostgres(t *testing.T) {
	q, db := newQueue(t, time.Hour)
	db.Close()
	in := NewIntake(q, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if id, err := in.Enqueue(t.Context(), some(1)[0]); err == nil {
				t.Errorf("task %d was stored nowhere", id)
			}
		})
	}
	wg.Wait()
}

// Who gives up is not kept; a task with a key is for Queue.Enqueue.
func TestIntakeTurnsAway(t *testing.T) {
	q, _ := newQueue(t, time.Hour)
	in := NewIntake(q, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.Enqueue(ctx, some(1)[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("%v for who gave up", err)
	}
	r := some(1)[0]
	r.JoinKey = new("k")
	if _, err := in.Enqueue(t.Context(), r); err == nil || !strings.Contains(err.Error(), "key") {
		t.Errorf("%v for a task with a key", err)
	}
}

// Others go first while there are any, but not for ever.
func TestIntakeYields(t *testing.T) {
	q, _ := newQueue(t, time.Hour)
	var others atomic.Bool
	var asked atomic.Int64
	others.Store(true)
	in := NewIntake(q, func() bool { asked.Add(1); return others.Load() })
	all := func(n int) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if _, err := in.Enqueue(t.Context(), some(1)[0]); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	if took := all(2*intakeMost + 1); took < yields || asked.Load() < 2 {
		t.Errorf("stored in %s, though others were to go first for %s; asked %d times whether there are any", took, yields, asked.Load())
	}
	others.Store(false)
	all(2*intakeMost + 1)
}
