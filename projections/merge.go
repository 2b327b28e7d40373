package projections

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tidwall/gjson"

	"beat/streams/social"
)

// An origin is where a value comes from. Of two values of a column the one
// with the later origin wins: that is commutative, associative and
// idempotent, so order, duplicates and replays do not matter.
type origin struct {
	source string
	at     time.Time
	raw    string
	parser int
}

// before orders origins: observed time, raw id, parser version.
func (o origin) before(p origin) bool {
	if !o.at.Equal(p.at) {
		return o.at.Before(p.at)
	}
	if o.raw != p.raw {
		return o.raw < p.raw
	}
	return o.parser < p.parser
}

// A cell is the winning value of a column and where it comes from.
type cell struct {
	value any
	from  origin
}

// A state is what is known of one row from the batch in hand.
type state struct {
	key         string
	cells       map[string]cell // by column
	first, last time.Time       // observed
}

// fold merges logs into states by key.
type fold map[string]*state

func (f fold) add(t *table, l social.Log, from origin) {
	s := f[l.Key]
	if s == nil {
		s = &state{key: l.Key, cells: map[string]cell{}, first: from.at, last: from.at}
		f[l.Key] = s
	}
	if from.at.Before(s.first) {
		s.first = from.at
	}
	if from.at.After(s.last) {
		s.last = from.at
	}
	owned := false // the log itself names its owner
	put := func(kv social.KV) {
		c, ok := t.columns[kv.Key]
		if !ok {
			return
		}
		if v, ok := t.value(c, kv.Value); ok {
			s.put(c.name, v, from)
			owned = owned || c.name == t.owner
		}
	}
	for _, kv := range l.Metrics {
		put(kv)
	}
	for _, kv := range l.Dimensions {
		put(kv)
	}
	if t.owner != "" && l.Owner != "" && !owned {
		s.put(t.owner, l.Owner, from)
	}
}

func (s *state) put(name string, v any, from origin) {
	if old, ok := s.cells[name]; ok && from.before(old.from) {
		return
	}
	s.cells[name] = cell{v, from}
}

// A lineage is the origin of each column of a stored row.
type lineage map[string]origin

func parseLineage(b []byte) lineage {
	r := gjson.ParseBytes(b)
	var from []origin
	r.Get("a").ForEach(func(_, a gjson.Result) bool {
		f := a.Array()
		if len(f) < 4 {
			from = append(from, origin{})
			return true
		}
		at, err := time.Parse(time.RFC3339Nano, f[1].Str)
		if err != nil {
			at = time.Time{}
		}
		from = append(from, origin{f[0].Str, at, f[2].Str, int(f[3].Int())})
		return true
	})
	out := lineage{}
	r.Get("c").ForEach(func(k, v gjson.Result) bool {
		if i := int(v.Int()); i >= 0 && i < len(from) {
			out[k.Str] = from[i]
		}
		return true
	})
	return out
}

func (l lineage) json() string {
	names := make([]string, 0, len(l))
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	index := map[origin]int{}
	dst := []byte(`{"a":[`)
	var cols []byte
	for _, n := range names {
		o := l[n]
		i, ok := index[o]
		if !ok {
			i = len(index)
			index[o] = i
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '[')
			dst = social.AppendString(dst, o.source)
			dst = append(dst, ',')
			dst = social.AppendString(dst, o.at.UTC().Format(time.RFC3339Nano))
			dst = append(dst, ',')
			dst = social.AppendString(dst, o.raw)
			dst = fmt.Appendf(dst, ",%d]", o.parser)
		}
		if len(cols) > 0 {
			cols = append(cols, ',')
		}
		cols = social.AppendString(cols, n)
		cols = fmt.Appendf(cols, ":%d", i)
	}
	dst = append(dst, `],"c":{`...)
	dst = append(dst, cols...)
	return string(append(dst, '}', '}'))
}

// write folds the states into table t: new rows in one statement, existing
// ones in two. Rows are locked in the order of their keys, so that two
// writers never wait for each other in a circle. A row that another writer
// inserts in between is merged on a second round.
func write(ctx context.Context, tx pgx.Tx, t *table, f fold) (rows int, err error) {
	rows = len(f)
	for len(f) > 0 {
		stored, err := lock(ctx, tx, t, f)
		if err != nil {
			return 0, err
		}
		var fresh, known []*state
		var freshLineage, knownLineage []lineage
		for _, key := range sortedKeys(f) {
			s := f[key]
			old, ok := stored[key]
			if !ok {
				l := lineage{}
				for n, c := range s.cells {
					l[n] = c.from
				}
				fresh, freshLineage = append(fresh, s), append(freshLineage, l)
				continue
			}
			for n, c := range s.cells {
				if o, ok := old[n]; ok && c.from.before(o) {
					delete(s.cells, n)
					continue
				}
				old[n] = c.from
			}
			known, knownLineage = append(known, s), append(knownLineage, old)
		}
		if err := update(ctx, tx, t, known, knownLineage); err != nil {
			return 0, err
		}
		raced, err := insert(ctx, tx, t, fresh, freshLineage)
		if err != nil {
			return 0, err
		}
		rest := fold{}
		for _, key := range raced {
			rest[key] = f[key]
		}
		f = rest
	}
	return rows, nil
}

func sortedKeys(f fold) []string {
	keys := make([]string, 0, len(f))
	for k := range f {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func lock(ctx context.Context, tx pgx.Tx, t *table, f fold) (map[string]lineage, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(
		`SELECT %[1]s, coalesce(lineage, '{}') FROM %[2]s WHERE %[1]s = ANY($1) ORDER BY %[1]s FOR UPDATE`, t.key, t.name), sortedKeys(f))
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", t.name, err)
	}
	out := map[string]lineage{}
	var key string
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &data}, func() error {
		out[key] = parseLineage(data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", t.name, err)
	}
	return out, nil
}

// used is the columns that some state has a value for, in order.
func used(t *table, states []*state) []column {
	types := map[string]string{}
	for _, c := range t.columns {
		types[c.name] = c.typ
	}
	seen := map[string]bool{}
	var out []column
	for _, s := range states {
		for n := range s.cells {
			if !seen[n] && n != t.key {
				seen[n] = true
				out = append(out, column{n, types[n]})
			}
		}
	}
	slices.SortFunc(out, func(a, b column) int { return cmp.Compare(a.name, b.name) })
	return out
}

// arrays is one array per column: key, first, last, lineage, then cols.
func arrays(states []*state, ls []lineage, cols []column) []any {
	keys, lin := make([]string, len(states)), make([]string, len(states))
	first, last := make([]time.Time, len(states)), make([]time.Time, len(states))
	for i, s := range states {
		keys[i], first[i], last[i], lin[i] = s.key, s.first, s.last, ls[i].json()
	}
	args := []any{keys, first, last, lin}
	for _, c := range cols {
		switch c.typ {
		case bigint:
			args = append(args, pick[int64](states, c.name))
		case float:
			args = append(args, pick[float64](states, c.name))
		case boolean:
			args = append(args, pick[bool](states, c.name))
		case stamp:
			args = append(args, pick[time.Time](states, c.name))
		default:
			args = append(args, pick[string](states, c.name))
		}
	}
	return args
}

func pick[T any](states []*state, name string) []*T {
	out := make([]*T, len(states))
	for i, s := range states {
		if v, ok := s.cells[name].value.(T); ok {
			out[i] = &v
		}
	}
	return out
}

// source is the FROM clause over the arrays.
func source(cols []column) string {
	var types, names strings.Builder
	for i, c := range cols {
		fmt.Fprintf(&types, ", $%d::%s[]", i+5, c.typ)
		fmt.Fprintf(&names, ", %s", c.name)
	}
	return fmt.Sprintf(`unnest($1::text[], $2::timestamp[], $3::timestamp[], $4::text[]%s) AS u(k, first, last, lin%s)`, types.String(), names.String())
}

func update(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) error {
	if len(states) == 0 {
		return nil
	}
	cols := used(t, states)
	var set strings.Builder
	for _, c := range cols {
		// null: this state has nothing to say about the column of this row.
		fmt.Fprintf(&set, "%[1]s = coalesce(u.%[1]s, t.%[1]s), ", c.name)
	}
	sql := fmt.Sprintf(`UPDATE %s t SET %slineage = u.lin::jsonb, updated_at = greatest(t.updated_at, u.last),
created_at = least(t.created_at, u.first) FROM %s WHERE t.%s = u.k`, t.name, set.String(), source(cols), t.key)
	if _, err := tx.Exec(ctx, sql, arrays(states, ls, cols)...); err != nil {
		return fmt.Errorf("update %s: %w", t.name, err)
	}
	return nil
}

// insert returns the keys that another writer inserted first.
func insert(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) (raced []string, err error) {
	if len(states) == 0 {
		return nil, nil
	}
	cols := used(t, states)
	var names, values strings.Builder
	for _, c := range cols {
		fmt.Fprintf(&names, ", %s", c.name)
		fmt.Fprintf(&values, ", u.%s", c.name)
	}
	sql := fmt.Sprintf(`INSERT INTO %[1]s (%[2]s, created_at, updated_at, lineage%[3]s)
SELECT u.k, u.first, u.last, u.lin::jsonb%[4]s FROM %[5]s ORDER BY u.k ON CONFLICT (%[2]s) DO NOTHING RETURNING %[2]s`,
		t.name, t.key, names.String(), values.String(), source(cols))
	rows, err := tx.Query(ctx, sql, arrays(states, ls, cols)...)
	if err != nil {
		return nil, fmt.Errorf("insert %s: %w", t.name, err)
	}
	done, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("insert %s: %w", t.name, err)
	}
	if len(done) < len(states) {
		for _, s := range states {
			if !slices.Contains(done, s.key) {
				raced = append(raced, s.key)
			}
		}
	}
	return raced, nil
}
