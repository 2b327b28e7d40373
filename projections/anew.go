package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

// Rows that are made anew, from all that was ever observed of their entities.
//
// A value whose observation is stored no more, since its month was dropped, stays
// as the row has it: its origin is not among the stored observations, so nothing
// speaks against it. A value whose observation is stored is what that says. What
// has no origin, since others write it or it is from before beat, is none of our
// business. So a row is never lost for its age.

// A model is a table of the projections with what is observed for it.
type model struct {
	*table
	platform social.Platform
	kind     social.Kind
}

// models are all of them, in the order in which live traffic writes them.
func models() (out []model) {
	for _, platform := range []social.Platform{social.Instagram, social.YouTube} {
		for _, kind := range []social.Kind{social.Profile, social.Post, social.Insights} {
			if t := tables[platform][kind]; t != nil {
				out = append(out, model{t, platform, kind})
			}
		}
	}
	return out
}

// A choice is some of the entities: a condition on the column of their keys.
type choice struct {
	where string // %s is the column
	args  []any
}

func among(keys []string) choice { return choice{"%s = ANY($1)", []any{keys}} }

// A span is the keys after one up to and with another, in the order of the server.
type span struct {
	after, to string
	first     bool // after is included
}

func (s span) choice() choice {
	if s.first {
		return choice{"%s >= $1 AND %[1]s <= $2", []any{s.after, s.to}}
	}
	return choice{"%s > $1 AND %[1]s <= $2", []any{s.after, s.to}}
}

func (c choice) on(column string) string { return fmt.Sprintf(c.where, column) }

// next is the span after s, with at most size rows and size observations. ok is
// false when there is none.
func (m model) next(ctx context.Context, tx pgx.Tx, s span, size int) (_ span, ok bool, err error) {
	op, o := ">", observedOf[m.kind]
	s = span{after: s.to, first: s.after == "" && s.to == ""}
	if s.first {
		op = ">="
	}
	part := func(column, table string) string {
		return fmt.Sprintf(`(SELECT max(k) FROM (SELECT %[1]s::text AS k FROM %[2]s WHERE %[1]s %[3]s $1 ORDER BY %[1]s LIMIT %[4]d) x)`, column, table, op, size)
	}
	var to *string
	if err := tx.QueryRow(ctx, "SELECT least("+part(m.key, m.name)+", "+part(o.key, o.log)+")", s.after).Scan(&to); err != nil {
		return s, false, fmt.Errorf("look for the next rows of %s: %w", m.name, err)
	}
	if to == nil {
		return s, false, nil
	}
	s.to = *to
	return s, true, nil
}

// A gathering is some rows as they are to be.
type gathering struct {
	states   []*state // of entities with observations, by key
	lineages []lineage
	taken    map[string][]string // columns that nobody says any more, by key
	nobody   map[string]bool     // keys of entities that nobody says anything of any more
	others   []string            // keys of rows without observations
}

// gather folds the observations of the chosen entities and joins them with what
// their rows hold.
func (m model) gather(ctx context.Context, tx pgx.Tx, c choice) (*gathering, error) {
	stored := map[string]lineage{}
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT %s, coalesce(lineage, '{}') FROM %s WHERE %s`, m.key, m.name, c.on(m.key)), c.args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.name, err)
	}
	var key string
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &data}, func() error {
		stored[key] = parseLineage(data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.name, err)
	}
	f, raws := fold{}, map[string][]string{}
	o := observedOf[m.kind]
	if err := o.read(ctx, tx, m.kind, m.platform, c.on(o.key), c.args, func(l social.Log, from origin, gone bool) {
		raws[l.Key] = append(raws[l.Key], from.raw)
		if !gone {
			f.add(m.table, l, from)
		}
	}); err != nil {
		return nil, err
	}
	g := &gathering{taken: map[string][]string{}, nobody: map[string]bool{}}
	for k := range raws {
		if f[k] == nil {
			f[k], g.nobody[k] = nothing(m.table, k), true
		}
	}
	for _, k := range sortedKeys(f) {
		taken, more := f[k].carry(m.table, stored[k], raws[k])
		if len(taken) > 0 {
			g.taken[k] = taken
		}
		g.states, g.lineages = append(g.states, f[k]), append(g.lineages, more.with(f[k].lineage(m.table)))
	}
	for k := range stored {
		if f[k] == nil {
			g.others = append(g.others, k)
		}
	}
	return g, nil
}

// carry keeps what the row has from answers whose observations are stored no
// more, unless something newer is known: a cell with an origin and no value is
// that of the row. It returns the columns that the stored observations do not say
// any more, and the origins of columns that this version does not know.
func (s *state) carry(t *table, stored lineage, raws []string) (taken []string, more lineage) {
	for _, d := range stored {
		i := slices.IndexFunc(t.columns, func(c column) bool { return c.name == d.column })
		switch {
		case i < 0:
			more = append(more, d)
		case slices.Contains(raws, d.from.raw):
			if s.cells[i].from == nil {
				taken = append(taken, d.column)
			}
		case s.cells[i].from == nil || t.columns[i].loses(*s.cells[i].from, *d.from):
			s.cells[i] = cell{from: d.from}
		}
	}
	return taken, more
}

// carried reports whether the row's own value of column i stays.
func (s *state) carried(i int) bool { return s.cells[i].from != nil && s.cells[i].value == nil }

// with is both, by name; they have no column in common.
func (l lineage) with(other lineage) lineage {
	if len(l) == 0 {
		return other
	}
	out := slices.Concat(l, other)
	slices.SortFunc(out, func(a, b descent) int { return strings.Compare(a.column, b.column) })
	return out
}

// A live is a column of a table as the server has it.
type live struct {
	name  string
	first *string // expression of its default, nil: none
}

// liveSQL reads the columns that can be written.
const liveSQL = `
SELECT attname, pg_get_expr(adbin, adrelid) FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`

// A maker writes rows that are made anew into another table.
type maker struct {
	model
	into   string // name of the table
	cols   []int
	insert string // of what was gathered
	copy   string // of rows as they are; the condition is to follow
}

func (m model) maker(ctx context.Context, tx pgx.Tx, into string) (*maker, error) {
	rows, err := tx.Query(ctx, liveSQL, m.name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", m.name, err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l live, err error) {
		return l, row.Scan(&l.name, &l.first)
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", m.name, err)
	}
	mk := &maker{model: m, into: into, cols: m.values()}
	names, values := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], values[i] = pgx.Identifier{c.name}.Sanitize(), mk.value(c)
	}
	list := strings.Join(names, ", ")
	n := 4 + len(mk.cols)
	// A row that nobody says anything of any more is as if it had never been,
	// unless it holds what beat has not written: see refold.
	mk.insert = fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s
FROM %s LEFT JOIN %s l ON l.%s = u.k
LEFT JOIN (SELECT k, taken::text[] AS taken, nobody FROM unnest($%d::text[], $%d::text[], $%d::bool[]) AS y(k, taken, nobody)) x ON x.k = u.k
WHERE x.nobody IS NOT TRUE OR l.%s IS NOT NULL AND NOT (l.lineage IS NOT NULL AND %s)`,
		into, list, strings.Join(values, ", "), source(m.table, mk.cols), m.name, m.key, n+1, n+2, n+3, m.key, m.bare("l", "u.lin::jsonb"))
	mk.copy = fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %s WHERE `, into, list, list, m.name)
	return mk, nil
}

// bare is the condition that row t holds nothing but what its lineage tells; the
// columns of another lineage are held.
func (t *table) bare(row, held string) string {
	return fmt.Sprintf(`jsonb_strip_nulls(to_jsonb(%[1]s)) - ARRAY['id', '%[2]s', 'created_at', 'updated_at', 'refreshed_at', 'lineage']
    - ARRAY(SELECT k FROM jsonb_object_keys(%[1]s.lineage -> 'c') k WHERE NOT coalesce(%[3]s -> 'c' ? k, false)) = '{}'`, row, t.key, held)
}

// value is the expression for a column: u is what was gathered, x what of it is
// out of the ordinary, l the row of the live table.
func (mk *maker) value(c live) string {
	name := pgx.Identifier{c.name}.Sanitize()
	i := slices.IndexFunc(mk.columns, func(d column) bool { return d.name == c.name })
	switch {
	case c.name == mk.key:
		return "u.k"
	case c.name == "lineage":
		return "u.lin::jsonb"
	case c.name == "created_at":
		return "least(l.created_at, u.first)"
	case c.name == "updated_at":
		// It moves where something changes, for those who follow the table by it.
		var differs strings.Builder
		for _, i := range mk.cols {
			d := mk.columns[i]
			fmt.Fprintf(&differs, " OR u.%[1]s IS NOT NULL AND l.%[1]s IS DISTINCT FROM %[2]s", d.name, d.from())
		}
		return fmt.Sprintf(`CASE WHEN l.%s IS NULL THEN u.last WHEN l.updated_at IS NULL OR x.taken IS NOT NULL%s THEN greatest(l.updated_at, u.last, now() AT TIME ZONE 'UTC') ELSE l.updated_at END`,
			mk.key, differs.String())
	case i >= 0:
		return fmt.Sprintf("CASE WHEN '%[1]s' = ANY(x.taken) THEN NULL ELSE coalesce(%[2]s, l.%[1]s) END", c.name, mk.columns[i].from())
	case c.first != nil:
		return fmt.Sprintf("CASE WHEN l.%s IS NULL THEN %s ELSE l.%s END", mk.key, *c.first, name)
	}
	return "l." + name
}

// make writes the rows of the chosen entities, which must not be there. It
// returns how many there are.
func (mk *maker) make(ctx context.Context, tx pgx.Tx, c choice) (int64, error) {
	g, err := mk.gather(ctx, tx, c)
	if err != nil {
		return 0, err
	}
	var n int64
	if len(g.states) > 0 {
		keys, taken, nobody := []string{}, []*string{}, []bool{}
		for _, s := range g.states {
			if k := s.key; g.nobody[k] || g.taken[k] != nil {
				var list *string
				if g.taken[k] != nil {
					text := "{" + strings.Join(g.taken[k], ",") + "}" // names of our columns
					list = &text
				}
				keys, taken, nobody = append(keys, k), append(taken, list), append(nobody, g.nobody[k])
			}
		}
		tag, err := tx.Exec(ctx, mk.insert, append(arrays(mk.table, g.states, g.lineages, mk.cols), keys, taken, nobody)...)
		if err != nil {
			return 0, fmt.Errorf("fill %s: %w", mk.into, err)
		}
		n = tag.RowsAffected()
	}
	if len(g.others) > 0 {
		more, err := mk.as(ctx, tx, mk.key+" = ANY($1)", g.others)
		return n + more, err
	}
	return n, nil
}

// as writes rows as they are.
func (mk *maker) as(ctx context.Context, tx pgx.Tx, where string, args ...any) (int64, error) {
	tag, err := tx.Exec(ctx, mk.copy+where, args...)
	if err != nil {
		return 0, fmt.Errorf("fill %s: %w", mk.into, err)
	}
	return tag.RowsAffected(), nil
}
