package quarantine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

// What a person does.

// A Row is an observation that was kept back.
type Row struct {
	ID            int64           `json:"id" db:"id"`
	Platform      string          `json:"platform" db:"platform"`
	Kind          string          `json:"kind" db:"kind"`
	Key           string          `json:"key" db:"key"`
	Source        string          `json:"source" db:"source"`
	RawID         string          `json:"raw_id" db:"raw_id"`
	TaskID        int64           `json:"task_id" db:"task_id"`
	Parser        int             `json:"parser" db:"parser"`
	ObservedAt    time.Time       `json:"observed_at" db:"observed_at"`
	Columns       []string        `json:"columns" db:"columns"`
	Stored        []int64         `json:"stored" db:"stored"`
	Seen          []int64         `json:"seen" db:"seen"`
	Log           json.RawMessage `json:"log" db:"log"`
	EventID       string          `json:"event_id" db:"event_id"`
	State         State           `json:"state" db:"state"`
	Reason        string          `json:"reason" db:"reason"` // why it was kept back
	ConfirmTaskID *int64          `json:"confirm_task_id" db:"confirm_task_id"`
	DecidedBy     *string         `json:"decided_by" db:"decided_by"` // an event; nil: nobody yet, or a person
	CreatedAt     time.Time       `json:"created_at" db:"created_at"`
	DecidedAt     *time.Time      `json:"decided_at" db:"decided_at"`
}

const columns = `id, platform, kind, key, source, raw_id, task_id, parser, observed_at, columns, stored, seen, log,
    event_id::text AS event_id, state, reason, confirm_task_id, decided_by::text AS decided_by, created_at, decided_at`

// A Filter selects rows; what is empty selects all.
type Filter struct {
	State                 State
	Platform, Key, Source string
}

// List returns up to limit rows, the newest first; limit 0 is all.
func (s *Store) List(ctx context.Context, f Filter, limit int) ([]Row, error) {
	rows, err := s.db.Query(ctx, `SELECT `+columns+` FROM beat_quarantine
WHERE ($1 = '' OR state = $1) AND ($2 = '' OR platform = $2) AND ($3 = '' OR key = $3) AND ($4 = '' OR source = $4)
ORDER BY id DESC LIMIT nullif($5, 0)`, f.State, f.Platform, f.Key, f.Source, limit)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[Row])
}

// Get returns one row.
func (s *Store) Get(ctx context.Context, id int64) (Row, error) {
	return one(ctx, s.db, id, `SELECT `+columns+` FROM beat_quarantine WHERE id = $1`, id)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func one(ctx context.Context, db querier, id int64, sql string, args ...any) (Row, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return Row{}, fmt.Errorf("quarantine: %w", err)
	}
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Row])
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("there is no observation %d in quarantine", id)
	}
	return r, err
}

// Waits returns the row if it can still be decided on, else an error that says
// what has become of it.
func (s *Store) Waits(ctx context.Context, id int64) (Row, error) {
	r, err := s.Get(ctx, id)
	if err == nil && r.State != Held {
		err = fmt.Errorf("observation %d is %s already", id, r.State)
	}
	return r, err
}

// Accept passes a held observation on, through send.
func (s *Store) Accept(ctx context.Context, send schedule.Sender, id int64) error {
	return s.decide(ctx, id, Accepted, func(r Row) error {
		o, err := r.commit()
		if err != nil {
			return err
		}
		// Before the row says so: killed in between, it is accepted again, with
		// the same ids.
		return send.Send(ctx, o)
	})
}

// Reject turns a held observation down.
func (s *Store) Reject(ctx context.Context, id int64) error {
	return s.decide(ctx, id, Rejected, func(Row) error { return nil })
}

func (s *Store) decide(ctx context.Context, id int64, to State, do func(Row) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := s.Waits(ctx, id)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, decideSQL, id, to, nil)
		if err == nil && tag.RowsAffected() == 0 {
			err = errStale
		}
		if err != nil {
			return err
		}
		return do(r)
	})
	if errors.Is(err, errStale) {
		_, err = s.Waits(ctx, id)
	}
	return err
}

// commit is the row as the answer of a run of nobody: its fence is none's, and
// its answer the last, so that no progress is kept and no task ends by it.
func (r Row) commit() (bus.Out, error) {
	l := social.NewReader(r.Log)
	c := event.Commit{
		Task:   social.TaskRef{ID: r.TaskID, Platform: social.Platform(r.Platform)},
		Parts:  1,
		Lane:   r.Key,
		Final:  &social.Final{Status: social.Failed},
		Raw:    social.Raw{ID: r.RawID, Source: r.Source, At: r.ObservedAt.UTC()},
		Parser: r.Parser,
		Events: []event.Event{{ID: r.EventID, Log: l.Log()}},
	}
	if err := l.Err(); err != nil {
		return bus.Out{}, fmt.Errorf("observation %d: its log is %w", r.ID, err)
	}
	data, err := c.Marshal()
	if err != nil {
		return bus.Out{}, err
	}
	return bus.Out{Subject: c.Subject(), ID: "accept/" + r.EventID, Data: data}, nil
}
