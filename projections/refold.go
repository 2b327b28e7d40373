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
// folded again from all their observations. Values of before beat, which have no
// lineage, stay.
//
// The rows are locked before the observations are read: what another process
// applies to them meanwhile either is among those, or comes after and is merged
// with what is written here.

// observationsSQL reads all that was said of entities until a time, by kind.
var observationsSQL = map[social.Kind]string{
	social.Profile: `
SELECT profile_id, source, "timestamp", raw_id, coalesce(parser, 0), '', '', dimensions::text, metrics::text FROM profile_log
WHERE profile_id = ANY($1) AND platform = $2 AND kind IS NULL AND gone IS NOT TRUE AND "timestamp" <= $3`,
	social.Insights: `
SELECT profile_id, source, "timestamp", raw_id, coalesce(parser, 0), '', coalesce(handle, ''), dimensions::text, metrics::text FROM profile_log
WHERE profile_id = ANY($1) AND platform = $2 AND kind = 'insights' AND gone IS NOT TRUE AND "timestamp" <= $3`,
	social.Post: `
SELECT platform_post_id, source, "timestamp", raw_id, coalesce(parser, 0), coalesce(profile_id, ''), '', dimensions::text, metrics::text FROM post_log
WHERE platform_post_id = ANY($1) AND platform = $2 AND gone IS NOT TRUE AND "timestamp" <= $3`,
}

// forEver is after everything that is observed.
var forEver = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// observedUntil folds what is stored of the entities of one kind, and counts it.
// The zero time is for ever.
func observedUntil(ctx context.Context, tx pgx.Tx, t *table, platform social.Platform, kind social.Kind, keys []string, until time.Time) (fold, int, error) {
	if until.IsZero() {
		until = forEver
	}
	rows, err := tx.Query(ctx, observationsSQL[kind], keys, string(platform), until.UTC())
	if err != nil {
		return nil, 0, fmt.Errorf("read observations of %s: %w", t.name, err)
	}
	f, n := fold{}, 0
	var l social.Log
	var from origin
	var dimensions, metrics string
	_, err = pgx.ForEachRow(rows, []any{&l.Key, &l.Source, &from.at, &from.raw, &from.parser, &l.Owner, &l.Handle, &dimensions, &metrics}, func() error {
		l.Kind, from.source, from.at = kind, l.Source, from.at.UTC()
		l.Dimensions, l.Metrics = social.Pairs(dimensions), social.Pairs(metrics)
		f.add(t, l, from)
		n++
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read observations of %s: %w", t.name, err)
	}
	return f, n, nil
}

// refold writes the rows of the entities that replays have changed, after the
// audit rows are written.
func refold(ctx context.Context, tx pgx.Tx, commits []event.Commit) error {
	type target struct {
		platform social.Platform
		kind     social.Kind
	}
	changed := map[target][]string{}
	for _, c := range commits {
		if c.Replay == nil {
			continue
		}
		for _, e := range c.Events {
			at := target{c.Task.Platform, e.Log.Kind}
			if tables[at.platform][at.kind] != nil {
				changed[at] = append(changed[at], e.Log.Key)
			}
		}
	}
	for _, platform := range []social.Platform{social.Instagram, social.YouTube} {
		for _, kind := range []social.Kind{social.Profile, social.Post, social.Insights} {
			keys := changed[target{platform, kind}]
			if len(keys) == 0 {
				continue
			}
			slices.Sort(keys)
			if err := refoldTable(ctx, tx, tables[platform][kind], platform, kind, slices.Compact(keys)); err != nil {
				return err
			}
		}
	}
	return nil
}

func refoldTable(ctx context.Context, tx pgx.Tx, t *table, platform social.Platform, kind social.Kind, keys []string) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO %[1]s AS t (%[2]s, lineage) SELECT k, '{"a":[],"c":{}}' FROM unnest($1::text[]) AS k ORDER BY k
ON CONFLICT (%[2]s) DO UPDATE SET lineage = t.lineage WHERE false`, t.name, t.key), keys); err != nil {
		return fmt.Errorf("lock %s: %w", t.name, err)
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf(`SELECT FROM %[1]s WHERE %[2]s = ANY($1) ORDER BY %[2]s FOR UPDATE`, t.name, t.key), keys); err != nil {
		return fmt.Errorf("lock %s: %w", t.name, err)
	}
	f, _, err := observedUntil(ctx, tx, t, platform, kind, keys, time.Time{})
	if err != nil {
		return err
	}
	var gone []string
	for _, k := range keys {
		if f[k] == nil {
			gone = append(gone, k)
			f[k] = &state{key: k, cells: make([]cell, len(t.columns))}
		}
	}
	// A row that nobody says anything of any more is as if it had never been,
	// unless it holds what beat has not written.
	if len(gone) > 0 {
		_, err := tx.Exec(ctx, fmt.Sprintf(`
DELETE FROM %[1]s t WHERE %[2]s = ANY($1) AND lineage IS NOT NULL AND jsonb_strip_nulls(to_jsonb(t))
    - ARRAY['id', '%[2]s', 'created_at', 'updated_at', 'refreshed_at', 'lineage'] - ARRAY(SELECT jsonb_object_keys(t.lineage -> 'c')) = '{}'`,
			t.name, t.key), gone)
		if err != nil {
			return fmt.Errorf("delete from %s: %w", t.name, err)
		}
	}
	states := make([]*state, 0, len(f))
	lineages := make([]lineage, 0, len(f))
	for _, k := range sortedKeys(f) {
		states, lineages = append(states, f[k]), append(lineages, f[k].lineage(t))
	}
	return replace(ctx, tx, t, states, lineages)
}

// replace makes rows what their states say: columns that have a lineage, or get
// one. updated_at moves where something changes, for those who follow the table
// by it.
func replace(ctx context.Context, tx pgx.Tx, t *table, states []*state, ls []lineage) error {
	cols := make([]int, 0, len(t.columns))
	for i, c := range t.columns {
		if c.name != t.key {
			cols = append(cols, i)
		}
	}
	var set, differs strings.Builder
	for n, i := range cols {
		c := t.columns[i]
		value := fmt.Sprintf(`CASE WHEN %[2]s IS NOT NULL OR coalesce(t.lineage -> 'c' ? '%[1]s', false) THEN %[2]s ELSE t.%[1]s END`, c.name, c.from())
		fmt.Fprintf(&set, "%s = %s, ", c.name, value)
		if n > 0 {
			differs.WriteString(" OR ")
		}
		fmt.Fprintf(&differs, "t.%s IS DISTINCT FROM %s", c.name, value)
	}
	sql := fmt.Sprintf(`UPDATE %s t SET %slineage = u.lin::jsonb,
updated_at = CASE WHEN t.updated_at IS NULL OR %s THEN greatest(t.updated_at, u.last, now() AT TIME ZONE 'UTC') ELSE t.updated_at END,
created_at = least(t.created_at, u.first) FROM %s WHERE t.%s = u.k`, t.name, set.String(), differs.String(), source(t, cols), t.key)
	args := arrays(t, states, ls, cols)
	for _, i := range []int{1, 2} { // first and last, of a state that nothing is known of
		at := args[i].([]time.Time) //nolint:errcheck // arrays made it
		for j, s := range states {
			if s.first.IsZero() {
				at[j] = time.Now().UTC()
			}
		}
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("replace %s: %w", t.name, err)
	}
	return nil
}
