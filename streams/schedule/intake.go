package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An Intake stores the tasks of many callers together: what arrives while a
// statement is under way goes with the next. Alone, a caller waits for nobody.
//
// Whoever creates tasks by the thousand is to keep nobody from Postgres, from its
// log or from a processor: an Intake takes one connection, and between statements
// for many it lets others go first.
type Intake struct {
	queue *Queue
	first func() bool

	mu      sync.Mutex
	waiting []*arrival
	busy    bool // somebody stores
}

type arrival struct {
	ctx   context.Context
	r     Request
	id    int64
	err   error
	ended chan struct{}
}

// intakeMost is how many tasks one statement stores.
const intakeMost = 500

// yields is how long others go first at most.
const yields = 60 * time.Millisecond

// NewIntake returns an Intake of q. first reports whether there is somebody whose
// work goes first; nil: nobody.
func NewIntake(q *Queue, first func() bool) *Intake { return &Intake{queue: q, first: first} }

// Enqueue stores a task that has neither of the keys, and returns its id. A caller
// that gives up is told so at once; its task may be stored all the same.
func (i *Intake) Enqueue(ctx context.Context, r Request) (id int64, err error) {
	if r.IdempotencyKey != nil || r.JoinKey != nil {
		return 0, errors.New("a task with a key is not stored together with others")
	}
	a := &arrival{ctx: ctx, r: r, ended: make(chan struct{})}
	i.mu.Lock()
	i.waiting = append(i.waiting, a)
	if !i.busy {
		i.busy = true
		go i.store()
	}
	i.mu.Unlock()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-a.ended:
		return a.id, a.err
	}
}

// store stores until nobody waits.
func (i *Intake) store() {
	for {
		i.mu.Lock()
		n := min(len(i.waiting), intakeMost)
		if n == 0 {
			i.waiting, i.busy = nil, false
			i.mu.Unlock()
			return
		}
		batch := i.waiting[:n:n]
		i.waiting = i.waiting[n:]
		i.mu.Unlock()
		i.queue.take(batch)
		for _, a := range batch {
			close(a.ended)
		}
		if n > 1 {
			i.yield()
		}
	}
}

// yield lets others go first, for a while.
func (i *Intake) yield() {
	for began := time.Now(); i.first != nil && i.first() && time.Since(began) < yields; {
		time.Sleep(time.Millisecond)
	}
}

const intakeSQL = `
WITH given AS MATERIALIZED (
    SELECT nextval('crawl_dump_id_seq') AS id, g.*
    FROM unnest($1::text[], $2::text[], $3::text[]::jsonb[], $4::int[], $5::text[], $6::int[], $7::timestamp[], $8::text[])
        WITH ORDINALITY AS g(flow, platform, params, priority, account_id, retry_count, run_at, reason, n)
), stored AS (
    INSERT INTO scrape_request_log
        (id, flow, platform, params, status, priority, account_id, retry_count, created_at, expires_at, run_at, reason, announced)
    SELECT id, flow, platform, params, 'PENDING', priority, account_id, retry_count, $9, $10, run_at, reason, false
    FROM given ORDER BY n
)
SELECT id FROM given ORDER BY n`

// take stores the tasks of a batch and says in each how that went. A value that
// Postgres refuses is the fault of one task alone.
func (q *Queue) take(batch []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if len(batch) > 1 {
		ids, err := q.enqueueTogether(ctx, batch)
		if refused := (*pgconn.PgError)(nil); !errors.As(err, &refused) {
			for n, a := range batch {
				if a.err = err; err == nil {
					a.id = ids[n]
				}
			}
			return
		}
	}
	for _, a := range batch {
		if a.err = a.ctx.Err(); a.err == nil {
			var e Enqueued
			e, a.err = q.Enqueue(ctx, a.r)
			a.id = e.ID
		}
	}
}

func (q *Queue) enqueueTogether(ctx context.Context, batch []*arrival) ([]int64, error) {
	var flows, platforms, params []string
	var accounts, reasons []*string
	var priorities []int32
	var retries []*int32
	var runAt []*time.Time
	for _, a := range batch {
		r := a.r
		flows, platforms, params = append(flows, r.Flow), append(platforms, string(r.Platform)), append(params, string(r.Params))
		accounts, reasons, runAt = append(accounts, r.AccountID), append(reasons, r.Reason), append(runAt, r.RunAt)
		priorities = append(priorities, int32(r.priority()))
		var n *int32
		if r.RetryCount != nil {
			n = new(int32(*r.RetryCount))
		}
		retries = append(retries, n)
	}
	now := time.Now().UTC()
	rows, err := q.db.Query(ctx, intakeSQL, flows, platforms, params, priorities, accounts, retries, runAt, reasons, now, now.Add(expires))
	if err != nil {
		return nil, fmt.Errorf("enqueue %d tasks: %w", len(batch), err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("enqueue %d tasks: %w", len(batch), err)
	}
	return ids, nil
}
