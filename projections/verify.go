package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/social"
)

// A Difference is a column of a row that is not what was observed.
type Difference struct {
	Table, Key, Column string
}

// Verify folds the observations of entities and compares what their rows say.
// Columns without an origin, which others write, are not looked at. It reads one
// snapshot.
func Verify(ctx context.Context, db *pgxpool.Pool, platform social.Platform, kind social.Kind, keys []string) (out []Difference, err error) {
	t := tables[platform][kind]
	if t == nil {
		return nil, nil
	}
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		f, _, err := observedUntil(ctx, tx, t, platform, kind, keys, forEver)
		if err != nil {
			return err
		}
		states := make([]*state, 0, len(f))
		lineages := make([]lineage, 0, len(f))
		for _, k := range sortedKeys(f) {
			states, lineages = append(states, f[k]), append(lineages, nil)
		}
		out, err = t.differences(ctx, tx, states, lineages)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", t.name, err)
	}
	return out, nil
}

// differences has the server compare rows with states, so that values are
// compared as they are stored.
func (t *table) differences(ctx context.Context, tx pgx.Tx, states []*state, ls []lineage) ([]Difference, error) {
	if len(states) == 0 {
		return nil, nil
	}
	var cols []int
	var arms strings.Builder
	for i, c := range t.columns {
		if c.name == t.key {
			continue
		}
		cols = append(cols, i)
		fmt.Fprintf(&arms, `CASE WHEN t.%[1]s IS NULL AND %[2]s IS NOT NULL OR coalesce(t.lineage -> 'c' ? '%[3]s', false) AND t.%[3]s IS DISTINCT FROM %[2]s THEN '%[3]s' END, `,
			t.key, c.from(), c.name)
	}
	sql := fmt.Sprintf(`SELECT u.k, d.name FROM %s LEFT JOIN %s t ON t.%s = u.k, unnest(ARRAY[%s NULL]) AS d(name) WHERE d.name IS NOT NULL ORDER BY 1, 2`,
		source(t, cols), t.name, t.key, arms.String())
	rows, err := tx.Query(ctx, sql, arrays(t, states, ls, cols)...)
	if err != nil {
		return nil, err
	}
	var out []Difference
	var key, column string
	_, err = pgx.ForEachRow(rows, []any{&key, &column}, func() error {
		out = append(out, Difference{t.name, key, column})
		return nil
	})
	return out, err
}
