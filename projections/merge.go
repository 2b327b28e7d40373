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

// write folds the states into table t: one statement inserts the new rows and
// locks the others, two more read and update those.
//
// All rows are taken by that one statement, in the order of their keys, new
// ones too: two writers never wait for each other in a circle. (Locking the
// known rows first and inserting the rest afterwards did: deadlocks, when two
// processes saw the same new posts.)
func write(ctx context.Context, tx pgx.Tx, t *table, f fold) (rows int, err error) {
	states := make([]*state, 0, len(f))
	lineages := make([]lineage, 0, len(f))
	for _, key := range sortedKeys(f) {
		l := lineage{}
		for n, c := range f[key].cells {
			l[n] = c.from
		}
		states, lineages = append(states, f[key]), append(lineages, l)
	}
	inserted, err := insert(ctx, tx, t, states, lineages)
	if err != nil || len(inserted) == len(f) {
		return len(f), err
	}
	known, lineages := states[:0], lineages[:0]
	keys := make([]string, 0, len(f)-len(inserted))
	for _, s := range states {
		if !inserted[s.key] {
			known, keys = append(known, s), append(keys, s.key)
		}
	}
	stored, err := read(ctx, tx, t, keys)
	if err != nil {
		return 0, err
	}
	for _, s := range known {
		l, ok := stored[s.key]
		if !ok {
			return 0, fmt.Errorf("%s: row %s is locked but cannot be read", t.name, s.key)
		}
		for n, c := range s.cells {
			if o, ok := l[n]; ok && c.from.before(o) {
				delete(s.cells, n)
				continue
			}
			l[n] = c.from
		}
		lineages = append(lineages, l)
	}
	return len(f), update(ctx, tx, t, known, lineages)
}

func sortedKeys(f fold) []string {
	keys := make([]string, 0, len(f))
	for k := range f {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// read returns the lineages of rows that insert has locked.
func read(ctx context.Context, tx pgx.Tx, t *table, keys []string) (map[string]lineage, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT %[1]s, coalesce(lineage, '{}') FROM %[2]s WHERE %[1]s = ANY($1)`, t.key, t.name), keys)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	out := make(map[string]lineage, len(keys))
	var key string
	var data []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &data}, func() error {
		out[key] = parseLineage(data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
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

// insert returns the keys that were new. The rows of the others are locked:
// DO UPDATE locks a row even when its WHERE turns the update down, and writes
// no new version of it then.
func insert(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) (map[string]bool, error) {
	cols := used(t, states)
	var names, values strings.Builder
	for _, c := range cols {
		fmt.Fprintf(&names, ", %s", c.name)
		fmt.Fprintf(&values, ", u.%s", c.name)
	}
	sql := fmt.Sprintf(`INSERT INTO %[1]s AS t (%[2]s, created_at, updated_at, lineage%[3]s)
SELECT u.k, u.first, u.last, u.lin::jsonb%[4]s FROM %[5]s ORDER BY u.k
ON CONFLICT (%[2]s) DO UPDATE SET lineage = t.lineage WHERE false
RETURNING %[2]s`, t.name, t.key, names.String(), values.String(), source(cols))
	rows, err := tx.Query(ctx, sql, arrays(states, ls, cols)...)
	if err != nil {
		return nil, fmt.Errorf("insert %s: %w", t.name, err)
	}
	fresh := make(map[string]bool, len(states))
	var key string
	_, err = pgx.ForEachRow(rows, []any{&key}, func() error {
		fresh[key] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("insert %s: %w", t.name, err)
	}
	return fresh, nil
}
