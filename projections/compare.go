package projections

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A Comparison says how a rebuilt table differs from the live one: what the
// rebuild repairs. Rows that were changed a moment ago are left out.
type Comparison struct {
	Compared  int64        `json:"compared"`  // entities that both have
	Appearing int64        `json:"appearing"` // only the rebuilt one has them
	Vanishing int64        `json:"vanishing"` // only the live one has them
	Changing  int64        `json:"changing"`  // rows with another value
	Examples  []string     `json:"examples"`  // keys of rows that appear or vanish, at most 5 of each
	Columns   []*Differing `json:"columns"`
}

// A Differing is a column in which rows differ.
type Differing struct {
	Column  string       `json:"column"`
	Rows    int64        `json:"rows"`
	Samples []Difference `json:"samples"` // at most 5
}

const samples = 5

// compare compares in the server, in one snapshot.
func (r *Rebuilder) compare(ctx context.Context, m model) (Comparison, error) {
	c := Comparison{Columns: []*Differing{}, Examples: []string{}}
	err := pgx.BeginTxFunc(ctx, r.db, snapshot, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL work_mem = '64MB'`); err != nil {
			return err
		}
		columns, err := m.compared(ctx, tx)
		if err != nil {
			return err
		}
		from := fmt.Sprintf(`FROM (SELECT * FROM %[1]s WHERE %[3]s IS NOT NULL) l FULL JOIN (SELECT * FROM %[2]s WHERE %[3]s IS NOT NULL) s ON s.%[3]s = l.%[3]s
WHERE NOT EXISTS (SELECT FROM %[4]s c WHERE c.key = coalesce(l.%[3]s, s.%[3]s))`, m.name, m.shadow().Shadow(), m.key, m.shadow().Changed())
		counts := make([]int64, len(columns))
		into := []any{&c.Compared, &c.Appearing, &c.Vanishing, &c.Changing}
		var differ, each strings.Builder
		for i, name := range columns {
			fmt.Fprintf(&each, ", count(*) FILTER (WHERE b AND l%d)", i)
			fmt.Fprintf(&differ, ", l.%[1]s IS DISTINCT FROM s.%[1]s AS l%[2]d", name, i)
			into = append(into, &counts[i])
		}
		var either []string
		for i := range columns {
			either = append(either, fmt.Sprintf("l%d", i))
		}
		sql := fmt.Sprintf(`SELECT count(*) FILTER (WHERE b), count(*) FILTER (WHERE NOT had), count(*) FILTER (WHERE NOT has), count(*) FILTER (WHERE b AND (%[5]s))%[1]s
FROM (SELECT l.%[2]s IS NOT NULL AS had, s.%[2]s IS NOT NULL AS has, l.%[2]s IS NOT NULL AND s.%[2]s IS NOT NULL AS b%[3]s %[4]s) x`,
			each.String(), m.key, differ.String(), from, strings.Join(either, " OR "))
		if err := tx.QueryRow(ctx, sql).Scan(into...); err != nil {
			return err
		}
		for _, side := range []struct {
			n     int64
			where string
		}{{c.Appearing, "l.%s IS NULL"}, {c.Vanishing, "s.%s IS NULL"}} {
			if side.n == 0 {
				continue
			}
			rows, err := tx.Query(ctx, fmt.Sprintf("SELECT coalesce(l.%[1]s, s.%[1]s)::text %[2]s AND %[3]s LIMIT %[4]d", m.key, from, fmt.Sprintf(side.where, m.key), samples))
			if err != nil {
				return err
			}
			keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			c.Examples = append(c.Examples, keys...)
		}
		for i, name := range columns {
			if counts[i] == 0 {
				continue
			}
			rows, err := tx.Query(ctx, fmt.Sprintf("SELECT l.%[1]s::text, l.%[2]s::text, s.%[2]s::text %[3]s AND l.%[1]s = s.%[1]s AND l.%[2]s IS DISTINCT FROM s.%[2]s LIMIT %[4]d",
				m.key, name, from, samples))
			if err != nil {
				return err
			}
			d := &Differing{Column: name, Rows: counts[i]}
			one := Difference{Table: m.name, Column: name}
			if _, err := pgx.ForEachRow(rows, []any{&one.Key, &one.Is, &one.Observed}, func() error {
				d.Samples = append(d.Samples, one)
				return nil
			}); err != nil {
				return err
			}
			c.Columns = append(c.Columns, d)
		}
		return nil
	})
	if err != nil {
		return c, fmt.Errorf("compare %s: %w", m.name, err)
	}
	return c, nil
}

// compared are the columns that are compared, quoted: all but updated_at, which
// moves where another does.
func (m model) compared(ctx context.Context, tx pgx.Tx) (out []string, err error) {
	rows, err := tx.Query(ctx, liveSQL, m.name)
	if err != nil {
		return nil, err
	}
	var c live
	_, err = pgx.ForEachRow(rows, []any{&c.name, &c.first}, func() error {
		if c.name != "updated_at" && c.name != m.key {
			out = append(out, pgx.Identifier{c.name}.Sanitize())
		}
		return nil
	})
	return out, err
}
