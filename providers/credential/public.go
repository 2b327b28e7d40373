package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

const plantSQL = `
INSERT INTO credential (idempotency_key, source, credentials, enabled, data_access_expired, created_at, updated_at)
VALUES ($1, $1, $2, true, false, ` + nowSQL + `, ` + nowSQL + `) ON CONFLICT (idempotency_key) DO NOTHING`

// Plant makes the rows of the providers that anybody may ask, unless they are
// there. From then on they are as other rows: what a person has disabled or
// changed stays so.
func (s *Store) Plant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for _, source := range slices.Sorted(maps.Keys(s.known)) {
		public := s.known[source].Public
		if public == nil {
			continue
		}
		fields, err := json.Marshal(public)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, plantSQL, source, fields); err != nil {
			return fmt.Errorf("make the row of %s: %w", source, err)
		}
	}
	return nil
}
