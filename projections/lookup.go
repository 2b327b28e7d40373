package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/flow"
)

// lookups are the queries of flow.Lookup: keys in, key and value out.
var lookups = map[string]string{
	// The newest account that has the handle: one that was renamed leaves its
	// old handle to others.
	flow.ProfileOfHandle: `
SELECT DISTINCT ON (handle) handle, profile_id FROM instagram_account
WHERE handle = ANY($1) AND profile_id <> '' ORDER BY handle, updated_at DESC NULLS LAST`,
	// A row without a post id is like one that only scrapers have seen.
	flow.PostOfShortcode: `
SELECT shortcode, coalesce(nullif(post_id, ''), shortcode) FROM instagram_post WHERE shortcode = ANY($1)`,
}

// Lookup reads from the tables what a flow has to know of its targets, by key.
func Lookup(db *pgxpool.Pool) func(ctx context.Context, what string, keys []string) (map[string]string, error) {
	return func(ctx context.Context, what string, keys []string) (map[string]string, error) {
		sql, ok := lookups[what]
		if !ok {
			return nil, fmt.Errorf("nothing is known of %q", what)
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		rows, err := db.Query(ctx, sql, keys)
		if err != nil {
			return nil, err
		}
		out := make(map[string]string, len(keys))
		var key, value string
		_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
			out[key] = value
			return nil
		})
		return out, err
	}
}
