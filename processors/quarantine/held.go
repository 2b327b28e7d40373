package quarantine

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Kept reports which of the events were kept back and not passed on since:
// parsing their answers again is no reason to.
func Kept(db *pgxpool.Pool) func(ctx context.Context, events []string) (map[string]bool, error) {
	return func(ctx context.Context, events []string) (map[string]bool, error) {
		rows, err := db.Query(ctx, `
SELECT event_id::text FROM beat_quarantine WHERE event_id = ANY($1::text[]::uuid[]) AND state NOT IN ('confirmed', 'accepted')`, events)
		if err != nil {
			return nil, fmt.Errorf("read quarantine: %w", err)
		}
		out := map[string]bool{}
		var id string
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
			out[id] = true
			return nil
		})
		return out, err
	}
}
