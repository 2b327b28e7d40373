package projections

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
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

// loses reports whether a value from a leaves one from b in its place.
// Of two parses of one answer the later parser's is right in either case.
func (c column) loses(a, b origin) bool {
	if c.first && a.raw != b.raw {
		return b.before(a)
	}
	return a.before(b)
}

// A cell is the winning value of a column and where it comes from. It is empty
// when from is nil.
type cell struct {
	value any // pointer to what column.typ says
	from  *origin
}

// A state is what is known of one row from the batch in hand.
type state struct {
	key         string
	cells       []cell    // in the order of table.columns
	first, last time.Time // observed
}

// fold merges logs into states by key.
type fold map[string]*state

func (f fold) add(t *table, l social.Log, from origin) {
	s := f[l.Key]
	if s == nil {
		s = &state{key: l.Key, cells: make([]cell, len(t.columns)), first: from.at, last: from.at}
		f[l.Key] = s
	}
	if from.at.Before(s.first) {
		s.first = from.at
	}
	if from.at.After(s.last) {
		s.last = from.at
	}
	owned := false // the log itself names its owner
	for _, kvs := range []social.KVs{l.Metrics, l.Dimensions} {
		for _, kv := range kvs {
			i, ok := t.at[kv.Key]
			if !ok {
				continue
			}
			if v, ok := t.value(t.columns[i], kv.Value); ok {
				s.put(t, i, v, &from)
				owned = owned || t.columns[i].name == t.owner
			}
		}
	}
	if t.owner != "" && l.Owner != "" && !owned && len(l.Dimensions) > 0 {
		s.put(t, t.at[t.owner], &l.Owner, &from)
	}
	if t.handle != "" && l.Handle != "" {
		s.put(t, t.at[t.handle], &l.Handle, &from)
	}
}

func (s *state) put(t *table, i int, v any, from *origin) {
	if old := s.cells[i].from; old != nil && t.columns[i].loses(*from, *old) {
		return
	}
	s.cells[i] = cell{v, from}
}

// A lineage is the origin of each column of a row, by name.
type lineage []descent

type descent struct {
	column string
	from   *origin
}

// lineage is that of s alone.
func (s *state) lineage(t *table) lineage {
	l := make(lineage, 0, len(s.cells))
	for i, c := range s.cells {
		if c.from != nil {
			l = append(l, descent{t.columns[i].name, c.from})
		}
	}
	return l
}

// join drops from s what is older than the stored row and returns the lineage
// of both. The row may have columns that this version does not know.
func (s *state) join(t *table, stored lineage) lineage {
	out := make(lineage, 0, len(stored)+len(s.cells))
	for i, c := range s.cells {
		name := t.columns[i].name
		for len(stored) > 0 && stored[0].column < name {
			out, stored = append(out, stored[0]), stored[1:]
		}
		known := len(stored) > 0 && stored[0].column == name
		switch {
		case known && (c.from == nil || t.columns[i].loses(*c.from, *stored[0].from)):
			s.cells[i] = cell{}
			out = append(out, stored[0])
		case c.from != nil:
			out = append(out, descent{name, c.from})
		}
		if known {
			stored = stored[1:]
		}
	}
	return append(out, stored...)
}

func parseLineage(b []byte) lineage {
	r := gjson.ParseBytes(b)
	var from []*origin
	r.Get("a").ForEach(func(_, a gjson.Result) bool {
		f := a.Array()
		if len(f) < 4 {
			from = append(from, &origin{})
			return true
		}
		at, err := time.Parse(time.RFC3339Nano, f[1].Str)
		if err != nil {
			at = time.Time{}
		}
		from = append(from, &origin{f[0].Str, at, f[2].Str, int(f[3].Int())})
		return true
	})
	var out lineage
	r.Get("c").ForEach(func(k, v gjson.Result) bool {
		if i := int(v.Int()); i >= 0 && i < len(from) {
			out = append(out, descent{k.Str, from[i]})
		}
		return true
	})
	slices.SortFunc(out, func(a, b descent) int { return cmp.Compare(a.column, b.column) })
	return out
}

func (l lineage) json() string {
	dst := make([]byte, 0, 256+24*len(l))
	dst = append(dst, `{"a":[`...)
	var seen []*origin // seldom more than two or three
	index := func(o *origin) int {
		return slices.IndexFunc(seen, func(p *origin) bool { return o == p || *o == *p })
	}
	for _, d := range l {
		o := d.from
		if index(o) >= 0 {
			continue
		}
		if seen = append(seen, o); len(seen) > 1 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = social.AppendString(dst, o.source)
		dst = append(dst, `,"`...)
		dst = o.at.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, `",`...)
		dst = social.AppendString(dst, o.raw)
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, int64(o.parser), 10)
		dst = append(dst, ']')
	}
	dst = append(dst, `],"c":{`...)
	for i, d := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = social.AppendString(dst, d.column)
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, int64(index(d.from)), 10)
	}
	return string(append(dst, "}}"...))
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
		states, lineages = append(states, f[key]), append(lineages, f[key].lineage(t))
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
		lineages = append(lineages, s.join(t, l))
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

// used is the columns, by index, that some state has a value for.
func used(t *table, states []*state) []int {
	var out []int
	for i, c := range t.columns {
		if c.name != t.key && slices.ContainsFunc(states, func(s *state) bool { return s.cells[i].from != nil }) {
			out = append(out, i)
		}
	}
	return out
}

// arrays is one array per column: key, first, last, lineage, then cols.
func arrays(t *table, states []*state, ls []lineage, cols []int) []any {
	keys, lin := make([]string, len(states)), make([]string, len(states))
	first, last := make([]time.Time, len(states)), make([]time.Time, len(states))
	for i, s := range states {
		keys[i], first[i], last[i], lin[i] = s.key, s.first, s.last, ls[i].json()
	}
	args := []any{keys, first, last, lin}
	for _, i := range cols {
		switch t.columns[i].array() {
		case bigint:
			args = append(args, pick[int64](states, i))
		case float:
			args = append(args, pick[float64](states, i))
		case boolean:
			args = append(args, pick[bool](states, i))
		case stamp:
			args = append(args, pick[time.Time](states, i))
		default:
			args = append(args, pick[string](states, i))
		}
	}
	return args
}

// pick is one column. Of a plain slice of pointers pgx makes the same array, but
// by reflection.
func pick[T any](states []*state, col int) pgtype.FlatArray[*T] {
	out := make(pgtype.FlatArray[*T], len(states))
	for i, s := range states {
		out[i], _ = s.cells[col].value.(*T)
	}
	return out
}

// source is the FROM clause over the arrays. Unnested in a select list they are
// streamed, in their order; unnested in FROM each is first stored as a whole.
func source(t *table, cols []int) string {
	var values strings.Builder
	for i, col := range cols {
		c := t.columns[col]
		fmt.Fprintf(&values, ", unnest($%d::%s[]) AS %s", i+5, c.array(), c.name)
	}
	return fmt.Sprintf(`(SELECT unnest($1::text[]) AS k, unnest($2::timestamp[]) AS first, unnest($3::timestamp[]) AS last,
    unnest($4::text[]) AS lin%s) AS u`, values.String())
}

func update(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) error {
	cols := used(t, states)
	var set strings.Builder
	for _, i := range cols {
		// null: this state has nothing to say about the column of this row.
		fmt.Fprintf(&set, "%[1]s = coalesce(%[2]s, t.%[1]s), ", t.columns[i].name, t.columns[i].from())
	}
	sql := fmt.Sprintf(`UPDATE %s t SET %slineage = u.lin::jsonb, updated_at = greatest(t.updated_at, u.last),
created_at = least(t.created_at, u.first) FROM %s WHERE t.%s = u.k`, t.name, set.String(), source(t, cols), t.key)
	if _, err := tx.Exec(ctx, sql, arrays(t, states, ls, cols)...); err != nil {
		return fmt.Errorf("update %s: %w", t.name, err)
	}
	return nil
}

// insert returns the keys that were new. The rows of the others are locked:
// DO UPDATE locks a row even when its WHERE turns the update down, and writes
// no new version of it then. states are sorted by key, and so are the locks.
func insert(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) (map[string]bool, error) {
	cols := used(t, states)
	var names, values strings.Builder
	for _, i := range cols {
		fmt.Fprintf(&names, ", %s", t.columns[i].name)
		fmt.Fprintf(&values, ", %s", t.columns[i].from())
	}
	sql := fmt.Sprintf(`INSERT INTO %[1]s AS t (%[2]s, created_at, updated_at, lineage%[3]s)
SELECT u.k, u.first, u.last, u.lin::jsonb%[4]s FROM %[5]s
ON CONFLICT (%[2]s) DO UPDATE SET lineage = t.lineage WHERE false
RETURNING %[2]s`, t.name, t.key, names.String(), values.String(), source(t, cols))
	rows, err := tx.Query(ctx, sql, arrays(t, states, ls, cols)...)
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
