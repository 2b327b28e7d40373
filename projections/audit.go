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

// An audit row is an observation: what the parser of now makes of one entity in
// one answer. A replay changes it in place, a later parser's over an earlier's.
//
// Ids and values go as text. As uuid[] pgx would send one text with all ids in
// it; as jsonb[] Postgres copies each value once more.
const profileLogSQL = `
INSERT INTO profile_log AS l (profile_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser,
    digest, answer, gone, told_id, kind, handle)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser,
    digest, answer, nullif(gone, false), nullif(told, '')::uuid, nullif(kind, 'profile'), nullif(handle, '')
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[],
    $11::int8[], $12::int8[], $13::bool[], $14::text[], $15::text[], $16::text[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser, digest, answer, gone, told, kind, handle)
ON CONFLICT (event_id, "timestamp") ` + againSQL + `, handle = excluded.handle` + olderSQL

const postLogSQL = `
INSERT INTO post_log AS l (platform_post_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser,
    digest, answer, gone, told_id, profile_id)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser,
    digest, answer, nullif(gone, false), nullif(told, '')::uuid, owner
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[],
    $11::int8[], $12::int8[], $13::bool[], $14::text[], $15::text[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser, digest, answer, gone, told, owner)
ON CONFLICT (event_id, "timestamp") ` + againSQL + `, profile_id = excluded.profile_id` + olderSQL

// againSQL: the same message once more changes nothing. Of two parsers the later
// one's stays, whichever came first.
const (
	againSQL = `DO UPDATE SET dimensions = excluded.dimensions, metrics = excluded.metrics, parser = excluded.parser,
    digest = excluded.digest, answer = excluded.answer, gone = excluded.gone, told_id = excluded.told_id`
	olderSQL = ` WHERE l.parser < excluded.parser OR l.parser = excluded.parser AND excluded.told_id IS NOT NULL`
)

// rows are the columns of audit rows.
type rows struct {
	key, platform, source, event, raw, told []string
	dimensions, metrics                     pgtype.FlatArray[[]byte]
	at                                      []time.Time
	task, digest, answer                    []int64
	parser                                  []int32
	gone                                    []bool
	kind, handle, owner                     []string
}

// audit writes the rows. written is false if some were there already.
func audit(ctx context.Context, tx pgx.Tx, commits []event.Commit) (written bool, err error) {
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
	last, all := latest(commits), int64(0)
	for i, c := range commits {
		for _, e := range c.Events {
			id := rowID(c, e)
			r := byKind[e.Log.Kind]
			if r == nil {
				continue
			}
			all++
			if at, ok := last[id]; ok && at == i {
				delete(last, id)
				r.add(c, e, id, value(e.Log.Dimensions), value(e.Log.Metrics))
			}
		}
	}
	var n int64
	if len(profiles.key) > 0 {
		tag, err := tx.Exec(ctx, profileLogSQL, append(profiles.args(), profiles.kind, profiles.handle)...)
		if err != nil {
			return false, fmt.Errorf("audit profiles: %w", err)
		}
		n += tag.RowsAffected()
	}
	if len(posts.key) > 0 {
		tag, err := tx.Exec(ctx, postLogSQL, append(posts.args(), posts.owner)...)
		if err != nil {
			return false, fmt.Errorf("audit posts: %w", err)
		}
		n += tag.RowsAffected()
	}
	return n == all, nil
}

// rowID is the event_id of a row: that of the first time the entity was seen in
// the answer. A replay has an id of its own, for what changed.
func rowID(c event.Commit, e event.Event) string {
	if c.Replay != nil {
		return event.LogID(c.Raw.ID, e.Log)
	}
	return e.ID
}

// latest is the commit, by its place, that a row is of: one statement may write a
// row only once. Of two parsers it is the later one's, of two replays the last.
func latest(commits []event.Commit) map[string]int {
	out := map[string]int{}
	for i, c := range commits {
		for _, e := range c.Events {
			id := rowID(c, e)
			if j, ok := out[id]; !ok || commits[j].Parser < c.Parser || commits[j].Parser == c.Parser && c.Replay != nil {
				out[id] = i
			}
		}
	}
	return out
}

func (r *rows) add(c event.Commit, e event.Event, id string, dimensions, metrics []byte) {
	l, told := &e.Log, ""
	if c.Replay != nil {
		told = e.ID
	}
	r.key = append(r.key, l.Key)
	r.platform = append(r.platform, string(c.Task.Platform))
	r.source = append(r.source, l.Source)
	r.dimensions, r.metrics = append(r.dimensions, dimensions), append(r.metrics, metrics)
	r.at = append(r.at, c.Raw.At)
	r.event, r.told = append(r.event, id), append(r.told, told)
	r.raw = append(r.raw, c.Raw.ID)
	r.task = append(r.task, c.Task.ID)
	r.parser = append(r.parser, int32(c.Parser))
	r.digest = append(r.digest, l.Digest(dimensions, metrics))
	r.answer = append(r.answer, c.Answer)
	r.gone = append(r.gone, e.Gone)
	r.kind, r.handle, r.owner = append(r.kind, string(l.Kind)), append(r.handle, l.Handle), append(r.owner, l.Owner)
}

func (r *rows) args() []any {
	return []any{r.key, r.platform, r.source, r.dimensions, r.metrics, r.at, r.event, r.raw, r.task, r.parser,
		r.digest, r.answer, r.gone, r.told}
}
