// Package schedule is the task queue: table scrape_request_log.
//
// # What is stored
//
// A task is a row. It waits as PENDING, runs as PROCESSING, and ends as
// COMPLETE or FAILED. A PROCESSING row is leased: lease_owner says which
// process claimed it, lease_until until when, and fence which run this is.
// Fences come from a sequence and are never used twice.
//
// # Who decides
//
// The row decides. The message that carries a run through the streams shows
// its fence with every write; a write whose fence is not the row's changes
// nothing. So a worker that was thought dead cannot harm the run that
// replaced it.
//
// # Failures
//
// Claiming and publishing happen inside one transaction: the rows are
// updated, the first asks are published, then the transaction commits. Killed
// before the publish, nothing happened. Killed between publish and commit,
// the rows are PENDING again and will run under a new fence; the orphaned run
// works for nothing, and what it observed is still true. Killed after the
// commit, the run lives in the streams and needs no scheduler.
//
// A run that is lost for good (a stream was wiped, say) ends with its lease:
// any scheduler returns the row to PENDING and counts it in retry_count, and
// fails it when that has happened too often. A run that only waits, because a
// stage is down or far behind, keeps it.
//
// The messages of a run may overtake the commit of its claim: a short task can
// be through all stages while its row is still PENDING for everybody else. So
// whoever writes to a run waits for the row first (lockSQL), in a statement of
// its own: a condition is looked up in what was committed when its statement
// began.
//
// # Waiting
//
// A task with run_at is not claimed. A scheduler sets run_at to null once it is
// over, or once what waits_for names is there. A run whose next ask has to wait
// long is put back that way (Defer): PENDING again, under the same fence, with
// the ask in resume, so that the next claim goes on where it was.
package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/social"
)

// A Queue is the table. It is safe for concurrent use.
type Queue struct {
	db    *pgxpool.Pool
	lease time.Duration
}

// DefaultLease is how long a claim lasts without renewal (issue: 15 minutes).
const DefaultLease = 15 * time.Minute

// expires is how long after its creation a task is said to expire. It is
// told, not enforced (decision 16).
const expires = time.Hour

// MaxRetries is how often a task whose lease ran out is run again. A task that
// kills its process is among those that come that far.
const MaxRetries = 5

// timeout bounds every statement of the queue, on the server and here.
const timeout = 15 * time.Second

// Settings are what sessions of a process that claims should have, name and value
// in turn. A statement keeps the plan of its first runs: made while the table was
// small, that was to read it all (measured: a claim grew from 1 to 20 ms while
// 100,000 tasks were created, and stayed there until the table was analyzed).
var Settings = []string{"enable_seqscan", "off"}

// NewQueue returns the queue in db. lease 0 is DefaultLease.
func NewQueue(db *pgxpool.Pool, lease time.Duration) *Queue {
	if lease <= 0 {
		lease = DefaultLease
	}
	return &Queue{db: db, lease: lease}
}

// Lease is how long a claim lasts.
func (q *Queue) Lease() time.Duration { return q.lease }

// A Request is a task to be enqueued.
type Request struct {
	Flow           string
	Platform       social.Platform
	Params         json.RawMessage // an object
	Priority       int             // larger first; 0 is 1
	AccountID      *string
	IdempotencyKey *string // refuses a second row with the same key
	JoinKey        *string // joins a row with the same key that has not ended
	RetryCount     *int
	Reason         *string // only told in the PENDING event
	RunAt          *time.Time
}

func (r Request) priority() int {
	if r.Priority == 0 {
		return 1
	}
	return r.Priority
}

// An Enqueued says what became of a Request.
type Enqueued struct {
	ID     int64  `json:"id"`
	Joined bool   `json:"joined"` // the row was there already
	Status string `json:"status"` // of the row
}

const insertSQL = `
INSERT INTO scrape_request_log
    (flow, platform, params, status, priority, account_id, idempotency_key, join_key, retry_count,
     created_at, expires_at, run_at, reason, announced)
VALUES ($1, $2, $3, 'PENDING', $4, $5, $6, $7, $8, $9, $10, $11, $12, false)
ON CONFLICT DO NOTHING
RETURNING id`

const joinSQL = `
SELECT id, status FROM scrape_request_log
WHERE ($1::text IS NOT NULL AND idempotency_key = $1)
   OR ($2::text IS NOT NULL AND join_key = $2 AND status IN ('PENDING', 'PROCESSING'))
ORDER BY id LIMIT 1`

// Enqueue stores one task and wakes the schedulers. A request whose
// idempotency key is known, or whose join key names a task that has not
// ended, returns that task instead.
func (q *Queue) Enqueue(ctx context.Context, r Request) (Enqueued, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now := time.Now().UTC()
	// The row that stood in the way may end before it is looked up: try again.
	for range 5 {
		var id int64
		err := q.db.QueryRow(ctx, insertSQL, r.Flow, string(r.Platform), r.Params, r.priority(), r.AccountID,
			r.IdempotencyKey, r.JoinKey, r.RetryCount, now, now.Add(expires), r.RunAt, r.Reason).Scan(&id)
		if err == nil {
			return Enqueued{ID: id, Status: social.Pending}, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return Enqueued{}, fmt.Errorf("enqueue %s: %w", r.Flow, err)
		}
		e := Enqueued{Joined: true}
		err = q.db.QueryRow(ctx, joinSQL, r.IdempotencyKey, r.JoinKey).Scan(&e.ID, &e.Status)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return Enqueued{}, fmt.Errorf("enqueue %s: find the task to join: %w", r.Flow, err)
		}
	}
	return Enqueued{}, fmt.Errorf("enqueue %s: the task to join kept ending before it could be read", r.Flow)
}

// EnqueueAll stores many tasks by COPY, all or none. Keys are not joined: a
// known idempotency key fails the whole call.
func (q *Queue) EnqueueAll(ctx context.Context, rs []Request) error {
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Duration(len(rs))*time.Millisecond)
	defer cancel()
	now := time.Now().UTC()
	rows := pgx.CopyFromSlice(len(rs), func(i int) ([]any, error) {
		r := rs[i]
		return []any{r.Flow, string(r.Platform), r.Params, social.Pending, int32(r.priority()), r.AccountID,
			r.IdempotencyKey, r.JoinKey, r.RetryCount, now, now.Add(expires), r.RunAt, r.Reason, false}, nil
	})
	_, err := q.db.CopyFrom(ctx, pgx.Identifier{"scrape_request_log"}, []string{"flow", "platform", "params", "status",
		"priority", "account_id", "idempotency_key", "join_key", "retry_count", "created_at", "expires_at", "run_at",
		"reason", "announced"}, rows)
	if err != nil {
		return fmt.Errorf("enqueue %d tasks: %w", len(rs), err)
	}
	return nil
}

// A Task is a claimed row.
type Task struct {
	social.TaskRef
	Params     json.RawMessage
	Priority   *int
	CreatedAt  *time.Time
	PickedAt   time.Time
	ExpiresAt  *time.Time
	RetryCount *int
	Reason     *string
	Announce   bool            // its PENDING event is still to be published
	Resume     json.RawMessage // the ask that the run goes on with; nil: the first of its flow
}

// A Want is how many tasks of a flow may run at once.
type Want struct {
	Flow     string
	InFlight int // claimed and not ended, over all processes
	Max      int // to claim now
}

// The selection is materialized: as a plain sub-select the planner may run it
// again for each row and take far more than the limit. The row count that
// bounds it comes from the lease index. It is joined as arrays: the planner takes
// the limit for a tenth of the table and would read all of it to join the rows
// themselves (measured: 6 ms for one of 30,000 tasks); of an array it expects
// ten rows and goes by the key.
const claimSQL = `
WITH want AS (
    SELECT w.flow, least(w.most, w.in_flight - (
        SELECT count(*) FROM scrape_request_log p WHERE p.status = 'PROCESSING' AND p.flow = w.flow)) AS n
    FROM unnest($1::text[], $2::int[], $3::int[]) AS w(flow, in_flight, most)
), picked AS MATERIALIZED (
    SELECT p.id, p.announced, p.resume FROM want w CROSS JOIN LATERAL (
        SELECT s.id, s.announced, s.resume FROM scrape_request_log s
        WHERE s.status = 'PENDING' AND s.flow = w.flow AND s.run_at IS NULL
        ORDER BY coalesce(s.created_at, timestamp '2000-01-01') - coalesce(s.priority, 1) * interval '1 minute', s.id
        LIMIT greatest(w.n, 0)
        FOR UPDATE SKIP LOCKED) p
)
UPDATE scrape_request_log s
SET status = 'PROCESSING', picked_at = $4, lease_owner = $5, lease_until = $6,
    fence = CASE WHEN s.resume IS NULL OR s.fence IS NULL THEN nextval('beat_fence_seq') ELSE s.fence END,
    announced = CASE WHEN s.announced IS NOT NULL THEN true END, resume = NULL, waits_for = NULL
FROM unnest(ARRAY(SELECT id FROM picked), ARRAY(SELECT announced FROM picked), ARRAY(SELECT resume FROM picked))
    AS picked_row(id, announced, resume)
WHERE s.id = picked_row.id
RETURNING s.id, s.fence, s.flow, coalesce(s.platform, ''), s.params, s.priority, s.created_at, s.expires_at,
          s.retry_count, coalesce(NOT picked_row.announced, false), s.reason, picked_row.resume`

// Claim takes up to Max tasks of each flow, as far as fewer than InFlight are
// out, in order of priority and age, and hands them to publish before the
// claim is committed. An error of publish leaves every task PENDING.
func (q *Queue) Claim(ctx context.Context, owner string, wants []Want, publish func(context.Context, []Task) error) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	flows, inFlight, most := make([]string, len(wants)), make([]int32, len(wants)), make([]int32, len(wants))
	for i, w := range wants {
		flows[i], inFlight[i], most[i] = w.Flow, int32(w.InFlight), int32(w.Max)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	until := now.Add(q.lease)
	n := 0
	err := pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, claimSQL, flows, inFlight, most, now, owner, until)
		if err != nil {
			return err
		}
		tasks, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Task, error) {
			t := Task{PickedAt: now}
			t.LeaseUntil = until
			var platform string
			err := row.Scan(&t.ID, &t.Fence, &t.Flow, &platform, &t.Params, &t.Priority, &t.CreatedAt, &t.ExpiresAt,
				&t.RetryCount, &t.Announce, &t.Reason, &t.Resume)
			t.Platform = social.Platform(platform)
			return t, err
		})
		if err != nil || len(tasks) == 0 {
			return err
		}
		n = len(tasks)
		return publish(ctx, tasks)
	})
	if err != nil {
		return 0, fmt.Errorf("claim: %w", err)
	}
	return n, nil
}

// lockSQL waits for whoever is changing the rows, in key order.
const lockSQL = `SELECT id FROM scrape_request_log WHERE id = ANY($1) ORDER BY id FOR UPDATE`

const renewSQL = `
UPDATE scrape_request_log s SET lease_until = $3
FROM unnest($1::bigint[], $2::bigint[]) AS r(id, fence)
WHERE s.id = r.id AND s.fence = r.fence AND s.status = 'PROCESSING'
RETURNING s.id, s.fence`

// Renew extends the leases of runs and returns those that are still the
// row's own, with their new end. The rest are stale and must stop.
func (q *Queue) Renew(ctx context.Context, refs []social.TaskRef) (map[int64]social.TaskRef, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ids, fences := make([]int64, len(refs)), make([]int64, len(refs))
	byID := make(map[int64]social.TaskRef, len(refs))
	for i, r := range refs {
		ids[i], fences[i] = r.ID, r.Fence
		byID[r.ID] = r
	}
	until := time.Now().UTC().Add(q.lease).Truncate(time.Microsecond)
	out := make(map[int64]social.TaskRef, len(refs))
	var id, fence int64
	var b pgx.Batch // one round trip, one transaction
	b.Queue(lockSQL, ids)
	b.Queue(renewSQL, ids, fences, until).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&id, &fence}, func() error {
			if r := byID[id]; r.Fence == fence {
				r.LeaseUntil = until
				out[id] = r
			}
			return nil
		})
		return err
	})
	if err := q.db.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("renew %d leases: %w", len(refs), err)
	}
	return out, nil
}

const expireSQL = `
WITH late AS MATERIALIZED (
    SELECT id FROM scrape_request_log
    WHERE status = 'PROCESSING' AND flow = ANY($1) AND lease_until < $2
    ORDER BY lease_until LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE scrape_request_log s
SET status = CASE WHEN waits OR lost THEN s.status ELSE 'PENDING' END,
    retry_count = CASE WHEN waits OR lost THEN s.retry_count ELSE coalesce(s.retry_count, 0) + 1 END,
    lease_owner = CASE WHEN waits OR lost THEN s.lease_owner END,
    lease_until = CASE WHEN waits THEN $5::timestamp WHEN lost THEN s.lease_until END,
    expires_at = CASE WHEN waits OR lost THEN s.expires_at ELSE $2::timestamp + $7::interval END,
    fence = CASE WHEN waits OR lost THEN s.fence END
FROM (SELECT id AS old_id, coalesce(lease_until >= $4::timestamp, false) AS waits,
             NOT coalesce(lease_until >= $4::timestamp, false) AND fence IS NOT NULL AND coalesce(retry_count, 0) >= $6 AS lost
      FROM scrape_request_log WHERE id = ANY(ARRAY(SELECT id FROM late))) AS old
WHERE s.id = old.old_id
RETURNING s.id, old.waits, old.lost, coalesce(s.fence, 0), coalesce(s.flow, ''), coalesce(s.platform, '')`

const lateSQL = `
SELECT EXISTS (SELECT FROM scrape_request_log WHERE status = 'PROCESSING' AND flow = ANY($1) AND lease_until < $2)`

// Expired is what became of leases that ran out.
type Expired struct {
	Again []int64          // tasks that are PENDING again
	Kept  int              // leases extended, see Config.Oldest
	Lost  []social.TaskRef // have run out too often: left as they are, to be failed
}

// Expire returns up to limit tasks whose lease has run out to PENDING, unless
// that happened MaxRetries times before. Leases that ended after the time that
// oldest tells are extended instead. oldest may be nil, and is asked only if a
// lease has run out.
func (q *Queue) Expire(ctx context.Context, flows []string, limit int, oldest func(context.Context) (time.Time, error)) (e Expired, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now := time.Now().UTC()
	var late bool
	if err := q.db.QueryRow(ctx, lateSQL, flows, now).Scan(&late); err != nil {
		return e, fmt.Errorf("expire leases: %w", err)
	}
	if !late {
		return e, nil
	}
	var since *time.Time
	if oldest != nil {
		at, err := oldest(ctx)
		if err != nil {
			return e, fmt.Errorf("expire leases: find the oldest message: %w", err)
		}
		if !at.IsZero() {
			at = at.UTC()
			since = &at
		}
	}
	rows, err := q.db.Query(ctx, expireSQL, flows, now, limit, since, now.Add(q.lease), MaxRetries, expires)
	if err != nil {
		return e, fmt.Errorf("expire leases: %w", err)
	}
	var t social.TaskRef
	var waits, lost bool
	var platform string
	_, err = pgx.ForEachRow(rows, []any{&t.ID, &waits, &lost, &t.Fence, &t.Flow, &platform}, func() error {
		t.Platform = social.Platform(platform)
		switch {
		case waits:
			e.Kept++
		case lost:
			e.Lost = append(e.Lost, t)
		default:
			e.Again = append(e.Again, t.ID)
		}
		return nil
	})
	if err != nil {
		return e, fmt.Errorf("expire leases: %w", err)
	}
	return e, nil
}

// A Finish ends a run.
type Finish struct {
	ID, Fence int64
	Status    string // Complete or Failed
	Data      string
	Refreshed string // profile that the run has refreshed in full, "" none
}

// A Finished is the row of a run that Finish ended.
type Finished struct {
	social.TaskRef
	Params     json.RawMessage
	Status     string
	Priority   *int
	PickedAt   *time.Time
	ExpiresAt  *time.Time
	RetryCount *int
	ScrapedAt  time.Time
}

const finishSQL = `
UPDATE scrape_request_log s
SET status = f.status, data = f.data, scraped_at = now() AT TIME ZONE 'UTC', lease_owner = NULL, lease_until = NULL
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) AS f(id, fence, status, data)
WHERE s.id = f.id AND s.fence = f.fence AND s.status = 'PROCESSING'
RETURNING s.id, s.fence, s.flow, coalesce(s.platform, ''), s.params, s.status, s.priority, s.picked_at, s.expires_at,
          s.retry_count, s.scraped_at`

// An Execer runs statements: a pool, a connection or a transaction.
type Execer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// End ends runs inside tx and returns the rows that it changed. A run whose
// fence is not the row's any more is refused, silently: its task belongs to
// another run.
func End(ctx context.Context, tx Execer, fs []Finish) ([]Finished, error) {
	if len(fs) == 0 {
		return nil, nil
	}
	ids, fences := make([]int64, len(fs)), make([]int64, len(fs))
	statuses, data := make([]string, len(fs)), make([]string, len(fs))
	for i, f := range fs {
		ids[i], fences[i], statuses[i], data[i] = f.ID, f.Fence, f.Status, f.Data
	}
	var out []Finished
	var b pgx.Batch
	b.Queue(lockSQL, ids)
	b.Queue(finishSQL, ids, fences, statuses, data).Query(func(rows pgx.Rows) (err error) {
		out, err = collectFinished(rows)
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("end %d tasks: %w", len(fs), err)
	}
	return out, nil
}

const endedSQL = `
SELECT s.id, s.fence, s.flow, coalesce(s.platform, ''), s.params, s.status, s.priority, s.picked_at, s.expires_at,
       s.retry_count, s.scraped_at
FROM unnest($1::bigint[], $2::bigint[]) AS f(id, fence)
JOIN scrape_request_log s ON s.id = f.id AND s.fence = f.fence
WHERE s.status IN ('COMPLETE', 'FAILED')`

// Ended returns those of the runs that have ended, for telling again what
// may not have been told.
func Ended(ctx context.Context, tx Execer, refs []social.TaskRef) ([]Finished, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	ids, fences := make([]int64, len(refs)), make([]int64, len(refs))
	for i, r := range refs {
		ids[i], fences[i] = r.ID, r.Fence
	}
	rows, err := tx.Query(ctx, endedSQL, ids, fences)
	if err != nil {
		return nil, fmt.Errorf("read %d ended tasks: %w", len(refs), err)
	}
	return collectFinished(rows)
}

func collectFinished(rows pgx.Rows) ([]Finished, error) {
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Finished, error) {
		var f Finished
		var platform string
		var scraped *time.Time
		err := row.Scan(&f.ID, &f.Fence, &f.Flow, &platform, &f.Params, &f.Status, &f.Priority, &f.PickedAt,
			&f.ExpiresAt, &f.RetryCount, &scraped)
		f.Platform = social.Platform(platform)
		if scraped != nil {
			f.ScrapedAt = *scraped
		}
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("read ended tasks: %w", err)
	}
	return out, nil
}
