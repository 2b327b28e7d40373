package schedule

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The kinds of thing that can be paused.
const (
	PauseFlow   = "flow"   // is not claimed; runs under way go on to their end
	PauseSource = "source" // is not asked; the other sources are
)

// A Pause is a row of table beat_pause.
type Pause struct {
	Name   string     `json:"name" db:"name"`
	Kind   string     `json:"kind" db:"kind"`
	Until  *time.Time `json:"until" db:"until"` // nil: until it is resumed
	Reason *string    `json:"reason" db:"reason"`
	Since  time.Time  `json:"since" db:"created_at"`
}

// Over reports whether the pause has ended by itself.
func (p Pause) Over(now time.Time) bool { return p.Until != nil && !p.Until.After(now) }

// Pause pauses a flow or source, or changes its pause.
func (q *Queue) Pause(ctx context.Context, p Pause) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := q.db.Exec(ctx, `
INSERT INTO beat_pause (name, kind, until, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, until = excluded.until, reason = excluded.reason`,
		p.Name, p.Kind, p.Until, p.Reason)
	if err != nil {
		return fmt.Errorf("pause %s: %w", p.Name, err)
	}
	return nil
}

// Resume ends a pause, and reports whether there was one.
func (q *Queue) Resume(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := q.db.Exec(ctx, `DELETE FROM beat_pause WHERE name = $1`, name)
	if err != nil {
		return false, fmt.Errorf("resume %s: %w", name, err)
	}
	return tag.RowsAffected() > 0, nil
}

// Paused lists the pauses that are not over.
func (q *Queue) Paused(ctx context.Context) ([]Pause, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return readPauses(ctx, q.db)
}

func readPauses(ctx context.Context, db *pgxpool.Pool) ([]Pause, error) {
	rows, err := db.Query(ctx, `SELECT name, kind, until, reason, created_at FROM beat_pause
WHERE until IS NULL OR until > now() AT TIME ZONE 'UTC' ORDER BY name`)
	if err == nil {
		var out []Pause
		if out, err = pgx.CollectRows(rows, pgx.RowToStructByName[Pause]); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("read pauses: %w", err)
}

// pausesEvery is how often a process reads the pauses again.
const pausesEvery = time.Second

// Pauses is the table as this process last saw it. It is safe for concurrent
// use.
type Pauses struct {
	lg *slog.Logger
	db *pgxpool.Pool

	mu     sync.Mutex
	byName map[string]Pause
}

// NewPauses returns Pauses. It does no I/O.
func NewPauses(lg *slog.Logger, db *pgxpool.Pool) *Pauses { return &Pauses{lg: lg, db: db} }

// Load reads the table now.
func (p *Pauses) Load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	all, err := readPauses(ctx, p.db)
	if err != nil {
		return err
	}
	byName := make(map[string]Pause, len(all))
	for _, v := range all {
		byName[v.Name] = v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byName = byName
	return nil
}

// Run reads the table until ctx ends.
func (p *Pauses) Run(ctx context.Context) error {
	t := time.NewTicker(pausesEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if err := p.Load(ctx); err != nil && ctx.Err() == nil {
			p.lg.Warn("reading pauses failed, keeping the last ones", "err", err)
		}
	}
}

// Of is the pause of a flow or source, if it is paused.
func (p *Pauses) Of(name string) (Pause, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.byName[name]
	return v, ok && !v.Over(time.Now())
}
