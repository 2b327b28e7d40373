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

const activitySQL = `
INSERT INTO post_activity_log (activity_type, platform, platform_post_id, actor_profile_id, dimensions, metrics, source, "timestamp",
    event_id, raw_id, task_id)
SELECT type, platform, post, nullif(actor, ''), dimensions::jsonb, metrics::jsonb, source, at, event::uuid, raw, task
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamp[], $9::text[], $10::text[], $11::int8[])
    AS u(type, platform, post, actor, dimensions, metrics, source, at, event, raw, task)
ON CONFLICT (event_id) DO NOTHING`

const relationshipSQL = `
INSERT INTO profile_relationship_log (relationship_type, platform, source_profile_id, target_profile_id,
    source_dimensions, source_metrics, target_dimensions, target_metrics, source, "timestamp", event_id, raw_id, task_id)
SELECT type, platform, follower, followed, dimensions::jsonb, '{}', target::jsonb, '{}', source, at, event::uuid, raw, task
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamp[], $9::text[], $10::text[], $11::int8[])
    AS u(type, platform, follower, followed, dimensions, target, source, at, event, raw, task)
ON CONFLICT (event_id) DO NOTHING`

// acts are the columns of rows about what people do: of one activity, or of
// who follows whom.
type acts struct {
	typ, platform, one, other, source, event, raw []string
	first, second                                 pgtype.FlatArray[[]byte]
	at                                            []time.Time
	task                                          []int64
}

func (a *acts) add(c event.Commit, e event.Event, one, other string, first, second []byte) {
	a.typ = append(a.typ, e.Log.Type)
	a.platform = append(a.platform, string(c.Task.Platform))
	a.one, a.other = append(a.one, one), append(a.other, other)
	a.first, a.second = append(a.first, first), append(a.second, second)
	a.source = append(a.source, e.Log.Source)
	a.at = append(a.at, c.Raw.At)
	a.event, a.raw, a.task = append(a.event, e.ID), append(a.raw, c.Raw.ID), append(a.task, c.Task.ID)
}

func (a *acts) insert(ctx context.Context, tx pgx.Tx, what, sql string) error {
	if len(a.event) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, sql, a.typ, a.platform, a.one, a.other, a.first, a.second, a.source, a.at, a.event, a.raw, a.task)
	if err != nil {
		return fmt.Errorf("insert %d %s: %w", len(a.event), what, err)
	}
	return nil
}

// people appends likes and comments, followers and followed. There is nothing
// to be merged: each is one fact, once.
func people(ctx context.Context, tx pgx.Tx, commits []event.Commit) error {
	var activities, relationships acts
	for _, c := range commits {
		for _, e := range c.Events {
			l := &e.Log
			switch l.Kind {
			case social.Activity:
				activities.add(c, e, l.Key, l.Actor, l.Dimensions.AppendPairs(nil), l.Metrics.AppendPairs(nil))
			case social.Relationship:
				relationships.add(c, e, l.Key, l.Target, l.Dimensions.AppendUnique(nil), l.TargetDimensions.AppendUnique(nil))
			}
		}
	}
	if err := activities.insert(ctx, tx, "activities", activitySQL); err != nil {
		return err
	}
	return relationships.insert(ctx, tx, "relationships", relationshipSQL)
}
