package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/social"
)

// A Difference is a column of a row that is not what was observed.
type Difference struct {
	Table  string `json:"table"`
	Key    string `json:"key"`
	Column string `json:"column"`
	// What the row has and what was observed, as texts, where a rebuild compares.
	Is       *string `json:"is"`
	Observed *string `json:"observed"`
}

// Verify folds the observations of entities and compares what their rows say.
// Columns without an origin, which others write, are not looked at, nor values
// whose observation is stored no more. It reads one snapshot.
func Verify(ctx context.Context, db *pgxpool.Pool, platform social.Platform, kind social.Kind, keys []string) (out []Difference, err error) {
	t := tables[platform][kind]
	if t == nil {
		return nil, nil
	}
	err = pgx.BeginTxFunc(ctx, db, snapshot, func(tx pgx.Tx) error {
		g, err := model{t, platform, kind}.gather(ctx, tx, among(keys))
		if err != nil {
			return err
		}
		out, err = t.differences(ctx, tx, g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", t.name, err)
	}
	return out, nil
}

var snapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// VerifyTable does the same for all rows of a table, in the order of their keys.
// told is given what differs, and how many entities were looked at since; its
// error ends it.
func VerifyTable(ctx context.Context, db *pgxpool.Pool, name string, told func(looked int, differ []Difference) error) error {
	m, err := modelOf(name)
	if err != nil {
		return err
	}
	for s, ok := (span{}), true; ; {
		var g *gathering
		var differ []Difference
		err := pgx.BeginTxFunc(ctx, db, snapshot, func(tx pgx.Tx) error {
			if s, ok, err = m.next(ctx, tx, s, spanSize); err != nil || !ok {
				return err
			}
			if g, err = m.gather(ctx, tx, s.choice()); err != nil {
				return err
			}
			differ, err = m.differences(ctx, tx, g)
			return err
		})
		if err != nil {
			return fmt.Errorf("verify %s: %w", name, err)
		}
		if !ok {
			return nil
		}
		if err := told(len(g.states)+len(g.others), differ); err != nil {
			return err
		}
	}
}

// differences has the server compare rows with what was gathered, so that values
// are compared as they are stored.
func (t *table) differences(ctx context.Context, tx pgx.Tx, g *gathering) ([]Difference, error) {
	states := g.states
	if len(states) == 0 {
		return nil, nil
	}
	cols := t.values()
	var arms strings.Builder
	for _, i := range cols {
		c := t.columns[i]
		fmt.Fprintf(&arms, `CASE WHEN t.%[1]s IS NULL AND %[2]s IS NOT NULL OR coalesce(t.lineage -> 'c' ? '%[3]s', false) AND t.%[3]s IS DISTINCT FROM %[2]s THEN '%[3]s' END, `,
			t.key, c.from(), c.name)
	}
	sql := fmt.Sprintf(`SELECT u.k, d.name FROM %s LEFT JOIN %s t ON t.%s = u.k, unnest(ARRAY[%s NULL]) AS d(name) WHERE d.name IS NOT NULL ORDER BY 1, 2`,
		source(t, cols), t.name, t.key, arms.String())
	rows, err := tx.Query(ctx, sql, arrays(t, states, g.lineages, cols)...)
	if err != nil {
		return nil, err
	}
	var out []Difference
	var key, name string
	_, err = pgx.ForEachRow(rows, []any{&key, &name}, func() error {
		s, _ := slices.BinarySearchFunc(states, key, func(s *state, key string) int { return strings.Compare(s.key, key) })
		i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
		if i < 0 || !states[s].carried(i) {
			out = append(out, Difference{Table: t.name, Key: key, Column: name})
		}
		return nil
	})
	return out, err
}
