package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

// A Row is a stored row of an entity, with the columns whose origin is known.
type Row struct {
	Table   string   `json:"table"`
	Key     string   `json:"key"`
	Columns []Column `json:"columns"`
}

// A Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Rows reads the stored rows of entities, by key. It is what the tables hold,
// where Observe is what they should hold. Kinds without a table have no rows.
// Column.Task is 0.
func Rows(ctx context.Context, db Querier, platform social.Platform, kind social.Kind, keys []string) (map[string]*Row, error) {
	t := tables[platform][kind]
	if t == nil {
		return nil, nil
	}
	rows, err := db.Query(ctx, fmt.Sprintf(`
SELECT t.%[1]s, c.key, to_jsonb(t) -> c.key, o ->> 0, o ->> 1, o ->> 2, coalesce((o ->> 3)::int, 0)
FROM %[2]s t, jsonb_each(t.lineage -> 'c') c, jsonb_extract_path(t.lineage, 'a', c.value::text) o
WHERE t.%[1]s = ANY($1) ORDER BY 1, 2`, t.key, t.name), keys)
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t.name, err)
	}
	out := map[string]*Row{}
	var key, at string
	var c Column
	_, err = pgx.ForEachRow(rows, []any{&key, &c.Name, &c.Value, &c.Source, &at, &c.Raw, &c.Parser}, func() error {
		if out[key] == nil {
			out[key] = &Row{Table: t.name, Key: key}
		}
		// A time that cannot be read is as good as none.
		c.At, _ = time.Parse(time.RFC3339Nano, at) //nolint:errcheck // see above
		out[key].Columns = append(out[key].Columns, c)
		c = Column{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t.name, err)
	}
	return out, nil
}

// TableNames are the tables that rows can be named of.
func TableNames() (out []string) {
	for _, kinds := range tables {
		for _, t := range kinds {
			out = append(out, t.name)
		}
	}
	slices.Sort(out)
	return out
}

// Find says what people mean by a table's name and a key: of an account its handle
// will do. The row need not be there. ok is false if there is no such table.
func Find(ctx context.Context, db Querier, name, entity string) (platform social.Platform, kind social.Kind, key string, ok bool, err error) {
	for p, kinds := range tables {
		for k, t := range kinds {
			if t.name == name {
				platform, kind, ok = p, k, true
			}
		}
	}
	if !ok {
		return "", "", "", false, nil
	}
	t := tables[platform][kind]
	if name != "instagram_account" { // people know these by what they are stored by
		return platform, kind, entity, true, nil
	}
	err = db.QueryRow(ctx, `
SELECT profile_id FROM instagram_account WHERE profile_id = $1 OR handle = $1
ORDER BY (profile_id = $1) DESC, updated_at DESC NULLS LAST LIMIT 1`, entity).Scan(&key)
	if errors.Is(err, pgx.ErrNoRows) {
		return platform, kind, entity, true, nil
	}
	if err != nil {
		err = fmt.Errorf("look for %q in %s: %w", entity, t.name, err)
	}
	return platform, kind, key, true, err
}
