package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/archive"
)

// The states of a job.
const (
	Running   = "running"
	Paused    = "paused"
	Cancelled = "cancelled"
	Finished  = "done"
	Failed    = "failed"
)

// What a person's command ends a run with.
var (
	ErrPaused    = errors.New("the replay was paused")
	ErrCancelled = errors.New("the replay was cancelled")
	ErrNoJob     = errors.New("no such replay")
	ErrOver      = errors.New("the replay is over")
	ErrTaken     = errors.New("the replay runs in another process")
)

// A Job is a replay that is applied: a row of beat_replay, which any process can
// go on with.
type Job struct {
	ID        int64            `json:"id"`
	State     string           `json:"state"`
	Filter    Filter           `json:"filter"`
	Publish   bool             `json:"publish"`
	Full      bool             `json:"full"`
	Rate      float64          `json:"rate,omitempty"`
	At        archive.Position `json:"at"`    // of the last answer that is done with
	Total     int64            `json:"total"` // answers, as estimated at the start
	Answers   int64            `json:"answers"`
	Changed   int64            `json:"changed"`
	Report    *Report          `json:"report,omitempty"`
	Error     string           `json:"error,omitempty"`
	CreatedAt time.Time        `json:"created_at"`
	UpdatedAt time.Time        `json:"updated_at"`
}

// position is the column of that name.
type position struct {
	archive.Position
	Full bool    `json:"full,omitempty"`
	Rate float64 `json:"rate,omitempty"`
}

const jobColumns = `id, state, filter, publish, coalesce(position, '{}'), coalesce(total, 0), read, changed, report, coalesce(error, ''), created_at, updated_at`

func scan(row pgx.Row) (Job, error) {
	var j Job
	var filter, at, report []byte
	err := row.Scan(&j.ID, &j.State, &filter, &j.Publish, &at, &j.Total, &j.Answers, &j.Changed, &report, &j.Error, &j.CreatedAt, &j.UpdatedAt)
	if err != nil {
		return j, err
	}
	var p position
	if err := errors.Join(json.Unmarshal(filter, &j.Filter), json.Unmarshal(at, &p)); err != nil {
		return j, err
	}
	j.At, j.Full, j.Rate = p.Position, p.Full, p.Rate
	if report != nil {
		j.Report = NewReport()
		return j, json.Unmarshal(report, j.Report)
	}
	return j, nil
}

// Jobs lists the jobs, the newest first.
func Jobs(ctx context.Context, db *pgxpool.Pool) ([]Job, error) {
	rows, err := db.Query(ctx, `SELECT `+jobColumns+` FROM beat_replay ORDER BY id DESC LIMIT 100`)
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Job, error) { return scan(row) })
}

// Get is one job.
func Get(ctx context.Context, db *pgxpool.Pool, id int64) (Job, error) {
	j, err := scan(db.QueryRow(ctx, `SELECT `+jobColumns+` FROM beat_replay WHERE id = $1`, id))
	if errors.Is(err, pgx.ErrNoRows) {
		return j, fmt.Errorf("%w: %d", ErrNoJob, id)
	}
	return j, err
}

// Create stores a job.
func Create(ctx context.Context, db *pgxpool.Pool, j Job) (Job, error) {
	filter, err := json.Marshal(j.Filter)
	if err != nil {
		return j, err
	}
	at, err := json.Marshal(position{j.At, j.Full, j.Rate})
	if err != nil {
		return j, err
	}
	return scan(db.QueryRow(ctx, `INSERT INTO beat_replay (filter, state, publish, position, total) VALUES ($1, 'running', $2, $3, $4) RETURNING `+jobColumns,
		filter, j.Publish, at, j.Total))
}

// Order makes a job paused, cancelled or running. One that is over stays so.
func Order(ctx context.Context, db *pgxpool.Pool, id int64, state string) (Job, error) {
	j, err := scan(db.QueryRow(ctx, `
UPDATE beat_replay SET state = $2, error = NULL, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = $1 AND state IN ('running', 'paused', 'failed') RETURNING `+jobColumns, id, state))
	if !errors.Is(err, pgx.ErrNoRows) {
		return j, err
	}
	if j, err = Get(ctx, db, id); err != nil {
		return j, err
	}
	return j, fmt.Errorf("%w: replay %d is %s", ErrOver, id, j.State)
}

// Apply runs job until it is over, paused or cancelled, or until ctx ends: then
// it stays running, and Apply goes on with it. One process at a time can. told
// is told after each chunk and may be nil.
func (r *Replayer) Apply(ctx context.Context, j Job, told func(Job)) (Job, error) {
	conn, err := r.db.Acquire(ctx)
	if err != nil {
		return j, fmt.Errorf("replay %d: %w", j.ID, err)
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtext('beat:replay'), ($1::int8 % 2147483647)::int)`, j.ID).Scan(&mine); err != nil {
		return j, fmt.Errorf("replay %d: %w", j.ID, err)
	}
	if !mine {
		return j, fmt.Errorf("%w: %d", ErrTaken, j.ID)
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext('beat:replay'), ($1::int8 % 2147483647)::int)`, j.ID) //nolint:errcheck // the connection may be gone, and the lock with it
	if j, err = Get(ctx, r.db, j.ID); err != nil {                                                                                        // as it is under the lock
		return j, err
	}
	if j.State != Running {
		return j, fmt.Errorf("%w: replay %d is %s", ErrOver, j.ID, j.State)
	}
	before := j // what earlier runs of the job have done
	_, err = r.Do(ctx, Run{Filter: j.Filter, After: j.At, Job: j.ID, Rate: j.Rate, Full: j.Full, Publish: j.Publish,
		Done: func(ctx context.Context, at archive.Position, report *Report) error {
			j.At, j.Answers, j.Changed = at, before.Answers+int64(report.Answers), before.Changed+int64(report.Changed)
			j.Report = report
			err := r.save(ctx, &j)
			if told != nil {
				told(j)
			}
			return err
		}})
	switch {
	case err == nil:
		j.State = Finished
	case errors.Is(err, ErrPaused), errors.Is(err, ErrCancelled), ctx.Err() != nil:
		return j, err
	default:
		j.State, j.Error = Failed, err.Error()
	}
	_, end := r.db.Exec(ctx, `UPDATE beat_replay SET state = $2, error = nullif($3, ''), updated_at = now() AT TIME ZONE 'UTC' WHERE id = $1 AND state = 'running'`,
		j.ID, j.State, j.Error)
	return j, errors.Join(err, end)
}

// save moves the job on, and hears what a person has ordered meanwhile.
func (r *Replayer) save(ctx context.Context, j *Job) error {
	at, err := json.Marshal(position{j.At, j.Full, j.Rate})
	if err != nil {
		return err
	}
	report, err := json.Marshal(j.Report)
	if err != nil {
		return err
	}
	err = r.db.QueryRow(ctx, `
UPDATE beat_replay SET position = $2, read = $3, changed = $4, report = $5, updated_at = now() AT TIME ZONE 'UTC' WHERE id = $1 RETURNING state`,
		j.ID, at, j.Answers, j.Changed, report).Scan(&j.State)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %d", ErrNoJob, j.ID)
	case err != nil:
		return fmt.Errorf("replay %d: save position: %w", j.ID, err)
	case j.State == Paused:
		return ErrPaused
	case j.State == Cancelled:
		return ErrCancelled
	}
	return nil
}
