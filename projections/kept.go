package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/projections/shadow"
)

// ErrNothingKept says that there is no table to go back to.
var ErrNothingKept = errors.New("no table of before a rebuild is kept")

// A RebuildRun is a row of beat_rebuild.
type RebuildRun struct {
	ID        int64           `json:"id"`
	Tables    []string        `json:"tables"`
	State     string          `json:"state"`
	BackFrom  *int64          `json:"back_from,omitempty"` // the run whose tables were put back
	Report    json.RawMessage `json:"report,omitempty"`    // a Rebuilt
	Kept      []string        `json:"kept"`                // tables whose predecessors are there
	Error     *string         `json:"error,omitempty"`
	CreatedAt time.Time       `json:"created_at"`
	SwappedAt *time.Time      `json:"swapped_at,omitempty"`
}

// RebuildRuns are the runs, the last one first, at most limit.
func RebuildRuns(ctx context.Context, db *pgxpool.Pool, limit int) ([]RebuildRun, error) {
	rows, err := db.Query(ctx, `SELECT id, tables, state, back_from, report, kept, error, created_at, swapped_at FROM beat_rebuild ORDER BY id DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("read rebuilds: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[RebuildRun])
}

// Back puts the tables back that the last rebuild of the chosen tables has
// replaced, all that it has replaced, with what was changed since made once more
// in them. It is a run of its own, and can be gone back from in turn.
func (r *Rebuilder) Back(ctx context.Context) (out *Rebuilt, err error) {
	err = alone(ctx, r.db, func() error {
		run, all, err := r.last(ctx)
		if err != nil {
			return err
		}
		if out, err = r.begin(ctx, all, &run); err != nil {
			return err
		}
		return r.end(ctx, all, out, r.back(ctx, all, run, out))
	})
	if err != nil {
		return out, fmt.Errorf("go back: %w", err)
	}
	return out, nil
}

// last is the run whose tables are kept.
func (r *Rebuilder) last(ctx context.Context) (run int64, all []model, err error) {
	var tables []string
	err = r.db.QueryRow(ctx, `SELECT id, kept FROM beat_rebuild WHERE kept <> '{}' ORDER BY id DESC LIMIT 1`).Scan(&run, &tables)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, ErrNothingKept
	}
	if err != nil {
		return 0, nil, err
	}
	all, err = chosen(tables)
	return run, all, err
}

func (r *Rebuilder) back(ctx context.Context, all []model, run int64, out *Rebuilt) error {
	began := time.Now()
	defer func() { out.Seconds = round(time.Since(began).Seconds()) }()
	var makers []*maker
	for _, m := range all {
		t, before := m.shadow(), m.shadow().Before(run)
		if err := r.locking(ctx, func(tx pgx.Tx) error {
			if err := t.Alike(ctx, tx, before); err != nil {
				return err
			}
			if err := t.Drop(ctx, tx); err != nil {
				return err
			}
			return t.Track(ctx, tx)
		}); err != nil {
			return err
		}
		var mk *maker
		if err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) (err error) {
			mk, err = m.maker(ctx, tx, before)
			return err
		}); err != nil {
			return err
		}
		makers = append(makers, mk)
		// From now on changes are noted twice. What is taken from the first list
		// is noted in the second, so that a try that fails has lost nothing.
		for {
			n := 0
			if err := r.making(ctx, func(tx pgx.Tx) (err error) {
				n, err = mk.again(ctx, tx, t.Since(), r.cfg.Span)
				return err
			}); err != nil {
				return err
			}
			r.cfg.Say(RebuildStep{Step: "catch up", Table: m.name})
			if n < few {
				break
			}
		}
	}
	return r.swap(ctx, makers, out, func(m model) string { return m.shadow().Before(run) })
}

// DropKept drops the tables that rebuilds have replaced and what an interrupted
// one has left. There is no way back afterwards. It returns the names of the
// tables.
func DropKept(ctx context.Context, db *pgxpool.Pool) (dropped []string, err error) {
	err = alone(ctx, db, func() error {
		return shadow.Locking(ctx, db, lockWait, swapTries, func(tx pgx.Tx) error {
			dropped = nil
			if dropped, err = dropBefore(ctx, tx, RebuildTables(), math.MaxInt64); err != nil {
				return err
			}
			for _, m := range models() {
				if err := m.shadow().Forget(ctx, tx); err != nil {
					return err
				}
			}
			if err := dropShadows(ctx, tx, models()); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE beat_rebuild SET state = 'left', updated_at = now() AT TIME ZONE 'UTC' WHERE state = 'building'`)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("drop what rebuilds have kept: %w", err)
	}
	return dropped, nil
}

// dropBefore drops what runs before one have kept of some tables.
func dropBefore(ctx context.Context, tx pgx.Tx, tables []string, run int64) (dropped []string, err error) {
	rows, err := tx.Query(ctx, `SELECT id, t FROM beat_rebuild, unnest(kept) t WHERE t = ANY($1) AND id < $2 ORDER BY id, t`, tables, run)
	if err != nil {
		return nil, err
	}
	var id int64
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		dropped = append(dropped, shadow.Table{Live: name}.Before(id))
		return nil
	}); err != nil {
		return nil, err
	}
	for _, name := range dropped {
		if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+pgx.Identifier{name}.Sanitize()); err != nil {
			return nil, err
		}
	}
	_, err = tx.Exec(ctx, `UPDATE beat_rebuild SET kept = ARRAY(SELECT t FROM unnest(kept) t WHERE t <> ALL($1)), updated_at = now() AT TIME ZONE 'UTC'
WHERE kept && $1 AND id < $2`, tables, run)
	return dropped, err
}
