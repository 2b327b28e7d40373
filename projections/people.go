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
INSERT INTO post_activity_log AS l (activity_type, platform, platform_post_id, actor_profile_id, dimensions, metrics, source, "timestamp",
    event_id, raw_id, task_id, parser, digest, answer, told_id)
SELECT type, platform, post, nullif(actor, ''), dimensions::jsonb, metrics::jsonb, source, at, event::uuid, raw, task, parser, digest, answer, nullif(told, '')::uuid
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamp[], $9::text[], $10::text[], $11::int8[],
    $12::int4[], $13::int8[], $14::int8[], $15::text[])
    AS u(type, platform, post, actor, dimensions, metrics, source, at, event, raw, task, parser, digest, answer, told)
ON CONFLICT (event_id) DO UPDATE SET dimensions = excluded.dimensions, metrics = excluded.metrics, parser = excluded.parser,
    digest = excluded.digest, answer = excluded.answer, told_id = excluded.told_id
WHERE l.parser < excluded.parser`

const relationshipSQL = `
INSERT INTO profile_relationship_log AS l (relationship_type, platform, source_profile_id, target_profile_id,
    source_dimensions, source_metrics, target_dimensions, target_metrics, source, "timestamp", event_id, raw_id, task_id, parser, digest, answer, told_id)
SELECT type, platform, follower, followed, dimensions::jsonb, '{}', target::jsonb, '{}', source, at, event::uuid, raw, task, parser, digest, answer, nullif(told, '')::uuid
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamp[], $9::text[], $10::text[], $11::int8[],
    $12::int4[], $13::int8[], $14::int8[], $15::text[])
    AS u(type, platform, follower, followed, dimensions, target, source, at, event, raw, task, parser, digest, answer, told)
ON CONFLICT (event_id) DO UPDATE SET source_dimensions = excluded.source_dimensions, target_dimensions = excluded.target_dimensions,
    parser = excluded.parser, digest = excluded.digest, answer = excluded.answer, told_id = excluded.told_id
WHERE l.parser < excluded.parser`

// acts are the columns of rows about what people do: of one activity, or of
// who follows whom.
type acts struct {
	typ, platform, one, other, source, event, raw, told []string
	first, second                                       pgtype.FlatArray[[]byte]
	at                                                  []time.Time
	task, digest, answer                                []int64
	parser                                              []int32
	gone                                                []string // ids of rows that a replay takes away
}

func (a *acts) add(c event.Commit, e event.Event, one, other string, first, second []byte) {
	id, told := rowID(c, e), ""
	if e.Gone {
		a.gone = append(a.gone, id)
		return
	}
	if c.Replay != nil {
		told = e.ID
	}
	pairs := e.Log.Dimensions.AppendPairs(nil)
	n := len(pairs)
	pairs = e.Log.Metrics.AppendPairs(pairs)
	a.digest, a.answer = append(a.digest, e.Log.Digest(pairs[:n], pairs[n:])), append(a.answer, c.Answer)
	a.parser, a.told = append(a.parser, int32(c.Parser)), append(a.told, told)
	a.typ = append(a.typ, e.Log.Type)
	a.platform = append(a.platform, string(c.Task.Platform))
	a.one, a.other = append(a.one, one), append(a.other, other)
	a.first, a.second = append(a.first, first), append(a.second, second)
	a.source = append(a.source, e.Log.Source)
	a.at = append(a.at, c.Raw.At)
	a.event, a.raw, a.task = append(a.event, id), append(a.raw, c.Raw.ID), append(a.task, c.Task.ID)
}

func (a *acts) write(ctx context.Context, tx pgx.Tx, table, sql string) error {
	if len(a.event) > 0 {
		_, err := tx.Exec(ctx, sql, a.typ, a.platform, a.one, a.other, a.first, a.second, a.source, a.at, a.event, a.raw, a.task,
			a.parser, a.digest, a.answer, a.told)
		if err != nil {
			return fmt.Errorf("insert %d into %s: %w", len(a.event), table, err)
		}
	}
	if len(a.gone) > 0 {
		if _, err := tx.Exec(ctx, "DELETE FROM "+table+" WHERE event_id = ANY($1::text[]::uuid[])", a.gone); err != nil {
			return fmt.Errorf("delete %d from %s: %w", len(a.gone), table, err)
		}
	}
	return nil
}

// people appends likes and comments, followers and followed. There is nothing
// to be merged: each is one fact, once.
func people(ctx context.Context, tx pgx.Tx, commits []event.Commit) error {
	var activities, relationships acts
	last := latest(commits)
	for i, c := range commits {
		for _, e := range c.Events {
			l := &e.Log
			if at, ok := last[rowID(c, e)]; l.Kind != social.Activity && l.Kind != social.Relationship || !ok || at != i {
				continue
			}
			delete(last, rowID(c, e))
			switch l.Kind {
			case social.Activity:
				activities.add(c, e, l.Key, l.Actor, l.Dimensions.AppendPairs(nil), l.Metrics.AppendPairs(nil))
			case social.Relationship:
				relationships.add(c, e, l.Key, l.Target, l.Dimensions.AppendUnique(nil), l.TargetDimensions.AppendUnique(nil))
			}
		}
	}
	if err := activities.write(ctx, tx, "post_activity_log", activitySQL); err != nil {
		return err
	}
	return relationships.write(ctx, tx, "profile_relationship_log", relationshipSQL)
}
