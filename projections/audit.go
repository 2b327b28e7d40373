package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"beat/streams/event"
	"beat/streams/social"
)

// Ids and values go as text. As uuid[] pgx would send one text with all ids in
// it; as jsonb[] Postgres copies each value once more.
const profileLogSQL = `
INSERT INTO profile_log (profile_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser)
ON CONFLICT (event_id, "timestamp") DO NOTHING`

const postLogSQL = `
INSERT INTO post_log (platform_post_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser, profile_id)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser, owner
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[], $11::text[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser, owner)
ON CONFLICT (event_id, "timestamp") DO NOTHING`

// rows are the columns of audit rows.
type rows struct {
	key, platform, source, event, raw, owner []string
	dimensions, metrics                      pgtype.FlatArray[[]byte]
	at                                       []time.Time
	task                                     []int64
	parser                                   []int32
}

func audit(ctx context.Context, tx pgx.Tx, commits []event.Commit) error {
	size := 0
	for _, c := range commits {
		for _, e := range c.Events {
			size += e.Log.PairsSize()
		}
	}
	pairs := make([]byte, 0, size) // of all rows
	value := func(k social.KVs) []byte {
		start := len(pairs)
		pairs = k.AppendPairs(pairs)
		return pairs[start:len(pairs):len(pairs)]
	}
	profiles, posts := &rows{}, &rows{}
	byKind := map[social.Kind]*rows{social.Profile: profiles, social.Insights: profiles, social.Post: posts}
	for _, c := range commits {
		for _, e := range c.Events {
			r := byKind[e.Log.Kind]
			if r == nil {
				continue
			}
			r.key = append(r.key, e.Log.Key)
			r.platform = append(r.platform, string(c.Task.Platform))
			r.source = append(r.source, e.Log.Source)
			r.dimensions = append(r.dimensions, value(e.Log.Dimensions))
			r.metrics = append(r.metrics, value(e.Log.Metrics))
			r.at = append(r.at, c.Raw.At)
			r.event = append(r.event, e.ID)
			r.raw = append(r.raw, c.Raw.ID)
			r.task = append(r.task, c.Task.ID)
			r.parser = append(r.parser, int32(c.Parser))
			r.owner = append(r.owner, e.Log.Owner)
		}
	}
	if len(profiles.key) > 0 {
		if _, err := tx.Exec(ctx, profileLogSQL, profiles.args()...); err != nil {
			return fmt.Errorf("audit profiles: %w", err)
		}
	}
	if len(posts.key) > 0 {
		if _, err := tx.Exec(ctx, postLogSQL, append(posts.args(), posts.owner)...); err != nil {
			return fmt.Errorf("audit posts: %w", err)
		}
	}
	return nil
}

func (r *rows) args() []any {
	return []any{r.key, r.platform, r.source, r.dimensions, r.metrics, r.at, r.event, r.raw, r.task, r.parser}
}
