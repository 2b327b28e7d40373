package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/event"
	"beat/streams/social"
)

// A replay takes values away as well as it brings them, so its entities are
// folded again from all their observations, see gather. Values of before beat, which
// have no lineage, stay.
//
// The rows are locked before the observations are read: what another process
// applies to them meanwhile either is among those, or comes after and is merged
// with what is written here.

// An observed is where the observations of a kind are.
type observed struct {
	log           string // table
	key           string // its column with the key of the entity
	owner, handle string // expressions
	only          string // condition for the kind
}

var observedOf = map[social.Kind]observed{
	social.Profile:  {log: "profile_log", key: "profile_id", owner: "''", handle: "''", only: "kind IS NULL"},
	social.Insights: {log: "profile_log", key: "profile_id", owner: "''", handle: "coalesce(handle, '')", only: "kind = 'insights'"},
	social.Post:     {log: "post_log", key: "platform_post_id", owner: "coalesce(profile_id, '')", handle: "''", only: "true"},
}

// sql reads the observations of a platform for which a condition holds.
func (o observed) sql(platform social.Platform, where string) string {
	return fmt.Sprintf(`
SELECT %s, source, "timestamp", raw_id, coalesce(parser, 0), %s, %s, dimensions::text, metrics::text, coalesce(gone, false) FROM %s
WHERE platform = '%s' AND %s AND %s`, o.key, o.owner, o.handle, o.log, platform, o.only, where)
}

// read calls fn with each observation.
func (o observed) read(ctx context.Context, tx pgx.Tx, kind social.Kind, platform social.Platform, where string, args []any, fn func(l social.Log, from origin, gone bool)) error {
	rows, err := tx.Query(ctx, o.sql(platform, where), args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", o.log, err)
	}
	l := social.Log{Kind: kind}
	var from origin
	var gone bool
	var dimensions, metrics string
	_, err = pgx.ForEachRow(rows, []any{&l.Key, &l.Source, &from.at, &from.raw, &from.parser, &l.Owner, &l.Handle, &dimensions, &metrics, &gone}, func() error {
		from.source, from.at = l.Source, from.at.UTC()
		l.Dimensions, l.Metrics = social.Pairs(dimensions), social.Pairs(metrics)
		fn(l, from, gone)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", o.log, err)
	}
	return nil
}

// forEver is after everything that is observed.
var forEver = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// observedUntil folds what is stored of the entities of one kind, and counts it.
// The zero time is for ever.
func observedUntil(ctx context.Context, tx pgx.Tx, t *table, platform social.Platform, kind social.Kind, keys []string, until time.Time) (fold, int, error) {
	if until.IsZero() {
		until = forEver
	}
	f, n := fold{}, 0
	o := observedOf[kind]
	err := o.read(ctx, tx, kind, platform, o.key+` = ANY($1) AND gone IS NOT TRUE AND "timestamp" <= $2`, []any{keys, until.UTC()}, func(l social.Log, from origin, _ bool) {
		f.add(t, l, from)
		n++
	})
	return f, n, err
}

// refold writes the rows of the entities that replays have changed, after the
// audit rows are written. Where some of those were there already (written is
// false), a commit may have come again of an answer that was parsed again since,
// or of which something was taken back: then those of all commits.
func refold(ctx context.Context, tx pgx.Tx, commits []event.Commit, written bool) error {
	for _, m := range models() {
		var keys []string
		for _, c := range commits {
			if c.Task.Platform != m.platform || c.Replay == nil && written {
				continue
			}
			for _, e := range c.Events {
				if e.Log.Kind == m.kind {
					keys = append(keys, e.Log.Key)
				}
			}
		}
		if len(keys) == 0 {
			continue
		}
		slices.Sort(keys)
		if err := m.refold(ctx, tx, slices.Compact(keys)); err != nil {
			return err
		}
	}
	return nil
}

func (m model) refold(ctx context.Context, tx pgx.Tx, keys []string) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %[1]s AS t (%[2]s, lineage) SELECT k, '{"a":[],"c":{}}' FROM unnest($1::text[]) AS k ORDER BY k
ON CONFLICT (%[2]s) DO UPDATE SET lineage = t.lineage WHERE false`, m.name, m.key), keys); err != nil {
		return fmt.Errorf("lock %s: %w", m.name, err)
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`SELECT FROM %[1]s WHERE %[2]s = ANY($1) ORDER BY %[2]s FOR UPDATE`, m.name, m.key), keys); err != nil {
		return fmt.Errorf("lock %s: %w", m.name, err)
	}
	g, err := m.gather(ctx, tx, among(keys))
	if err != nil {
		return err
	}
	// A row that nobody says anything of any more is as if it had never been,
	// unless it holds what beat has not written.
	var gone []string
	for i, s := range g.states {
		if g.nobody[s.key] && len(g.lineages[i]) == 0 {
			gone = append(gone, s.key)
		}
	}
	if len(gone) > 0 {
		_, err := tx.Exec(ctx, fmt.Sprintf(`
DELETE FROM %s t WHERE %s = ANY($1) AND lineage IS NOT NULL AND %s`,
			m.name, m.key, m.bare("t", "NULL::jsonb")), gone)
		if err != nil {
			return fmt.Errorf("delete from %s: %w", m.name, err)
		}
	}
	return replace(ctx, tx, m.table, g.states, g.lineages)
}

// nothing is the state of an entity of which everything was taken back, now.
func nothing(t *table, key string) *state {
	now := time.Now().UTC()
	return &state{key: key, cells: make([]cell, len(t.columns)), first: now, last: now}
}

// values are the columns, by index, but for the key.
func (t *table) values() []int {
	out := make([]int, 0, len(t.columns))
	for i, c := range t.columns {
		if c.name != t.key {
			out = append(out, i)
		}
	}
	return out
}

// replace makes rows what their states say: columns that have a lineage, or get
// one. What is carried (see carry) has a lineage and no value, and stays. updated_at moves where something changes, for those who follow the table
// by it.
func replace(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) error {
	cols := t.values()
	var set, differs strings.Builder
	for n, i := range cols {
		c := t.columns[i]
		value := fmt.Sprintf(`CASE WHEN %[2]s IS NOT NULL OR coalesce(t.lineage -> 'c' ? '%[1]s', false) AND NOT u.said ? '%[1]s' THEN %[2]s ELSE t.%[1]s END`, c.name, c.from())
		fmt.Fprintf(&set, "%s = %s, ", c.name, value)
		if n > 0 {
			differs.WriteString(" OR ")
		}
		fmt.Fprintf(&differs, "t.%s IS DISTINCT FROM %s", c.name, value)
	}
	sql := fmt.Sprintf(`UPDATE %s t SET %slineage = u.lin::jsonb,
updated_at = CASE WHEN t.updated_at IS NULL OR %s THEN greatest(t.updated_at, u.last, now() AT TIME ZONE 'UTC') ELSE t.updated_at END,
created_at = least(t.created_at, u.first) FROM (SELECT *, lin::jsonb -> 'c' AS said FROM %s OFFSET 0) u WHERE t.%s = u.k`, t.name, set.String(), differs.String(), source(t, cols), t.key)
	if _, err := tx.Exec(ctx, sql, arrays(t, states, ls, cols)...); err != nil {
		return fmt.Errorf("replace %s: %w", t.name, err)
	}
	return nil
}
