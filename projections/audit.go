package projections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
    digest, answer, nullif(gone, false), nullif(told, '')::uuid, nullif(kind, ''), nullif(handle, '')
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[],
    $11::int8[], $12::int8[], $13::bool[], $14::text[], $15::text[], $16::text[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser, digest, answer, gone, told, kind, handle)
ON CONFLICT (event_id, "timestamp") ` + againSQL + `, handle = excluded.handle` + olderSQL

const postLogSQL = `
INSERT INTO post_log AS l (platform_post_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser,
    digest, answer, gone, told_id, profile_id)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser,
    digest, answer, nullif(gone, false), nullif(told, '')::uuid, nullif(owner, '')
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

// A sight is an observation to be written.
type sight struct {
	c  *event.Commit
	e  *event.Event
	id string // of the row
}

// A trail is an audit table.
type trail struct {
	table, key string
	upsert     string
	// extra columns of its own, last: of a log, as text that is null when empty
	columns string
	extra   func(*social.Log) []string
}

var (
	profileTrail = &trail{"profile_log", "profile_id", profileLogSQL, "kind, handle", func(l *social.Log) []string {
		kind := string(l.Kind)
		if l.Kind == social.Profile {
			kind = ""
		}
		return []string{kind, l.Handle}
	}}
	postTrail = &trail{"post_log", "platform_post_id", postLogSQL, "profile_id", func(l *social.Log) []string { return []string{l.Owner} }}
	trails    = map[social.Kind]*trail{social.Profile: profileTrail, social.Insights: profileTrail, social.Post: postTrail}
)

const uniqueViolation = "23505" // Postgres error code

// repeated reports whether copying has failed because an observation is there
// already: the batch is to be applied once more, merged.
func repeated(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == uniqueViolation
}

// audit writes the observations of commits. They are copied, which is half the
// work of an INSERT for both sides, and fails if one of them is there already:
// stored twice in the stream, as a shard is written by one process. merged, they
// are inserted or updated, as those of replays always are. written is false if some
// were there already.
func audit(ctx context.Context, tx pgx.Tx, commits []event.Commit, merged bool) (written bool, err error) {
	sights := map[*trail][]sight{}
	last, all := latest(commits), 0
	for i := range commits {
		c := &commits[i]
		for j := range c.Events {
			e := &c.Events[j]
			t := trails[e.Log.Kind]
			if t == nil {
				continue
			}
			all++
			id := rowID(*c, *e)
			if at, ok := last[id]; ok && at == i {
				delete(last, id)
				sights[t] = append(sights[t], sight{c, e, id})
			}
		}
	}
	n := 0
	for _, t := range []*trail{profileTrail, postTrail} {
		rows, err := t.write(ctx, tx, sights[t], merged)
		if err != nil {
			return false, fmt.Errorf("audit in %s: %w", t.table, err)
		}
		n += rows
	}
	return n == all, nil
}

// write returns how many rows are new or other than before.
func (t *trail) write(ctx context.Context, tx pgx.Tx, sights []sight, merged bool) (rows int, err error) {
	fresh, again := make([]sight, 0, len(sights)), []sight(nil)
	for _, s := range sights {
		if merged || s.c.Replay != nil {
			again = append(again, s)
		} else {
			fresh = append(fresh, s)
		}
	}
	if len(fresh) > 0 {
		if err := t.copyIn(ctx, tx, fresh); err != nil {
			return 0, err
		}
	}
	changed, err := t.merge(ctx, tx, again)
	return len(fresh) + changed, err
}

// copyIn fails when one of the rows is there.
func (t *trail) copyIn(ctx context.Context, tx pgx.Tx, sights []sight) error {
	size := len(copyHeader)
	for _, s := range sights {
		size += 512 + s.e.Log.PairsSize()
	}
	in := newCopier(size)
	for _, s := range sights {
		if err := t.copy(in, s); err != nil {
			return err
		}
	}
	return in.into(ctx, tx, `COPY `+t.table+` (platform, source, dimensions, metrics, "timestamp", event_id, raw_id,
    task_id, parser, digest, answer, gone, `+t.key+`, `+t.columns+`) FROM STDIN (FORMAT binary)`)
}

func (t *trail) merge(ctx context.Context, tx pgx.Tx, sights []sight) (changed int, err error) {
	if len(sights) == 0 {
		return 0, nil
	}
	again := &rows{}
	for _, s := range sights {
		again.add(t, s)
	}
	tag, err := tx.Exec(ctx, t.upsert, again.args()...)
	return int(tag.RowsAffected()), err
}

// copy is one row, in the order of copyIn.
func (t *trail) copy(w *copier, s sight) error {
	id, err := uuid.Parse(s.id)
	if err != nil {
		return fmt.Errorf("event_id %.40q: %w", s.id, err)
	}
	l := &s.e.Log
	extra := t.extra(l)
	w.row(13 + len(extra))
	w.text(string(s.c.Task.Platform))
	w.text(l.Source)
	df, dt := w.jsonb(l.Dimensions.AppendPairs)
	mf, mt := w.jsonb(l.Metrics.AppendPairs)
	digest := l.Digest(w.b[df:dt], w.b[mf:mt])
	w.stamp(s.c.Raw.At)
	w.uuid(id)
	w.text(s.c.Raw.ID)
	w.int8(s.c.Task.ID)
	w.int4(int32(s.c.Parser))
	w.int8(digest)
	w.int8(s.c.Answer)
	w.null() // gone
	w.text(l.Key)
	for _, v := range extra {
		w.some(v)
	}
	return nil
}

// rows are the columns of audit rows to be merged.
type rows struct {
	key, platform, source, event, raw, told []string
	dimensions, metrics                     pgtype.FlatArray[[]byte]
	at                                      []time.Time
	task, digest, answer                    []int64
	parser                                  []int32
	gone                                    []bool
	extra                                   [][]string // by column
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

func (r *rows) add(t *trail, s sight) {
	l, told := &s.e.Log, ""
	if s.c.Replay != nil {
		told = s.e.ID
	}
	dimensions, metrics := l.Dimensions.AppendPairs(nil), l.Metrics.AppendPairs(nil)
	r.key = append(r.key, l.Key)
	r.platform = append(r.platform, string(s.c.Task.Platform))
	r.source = append(r.source, l.Source)
	r.dimensions, r.metrics = append(r.dimensions, dimensions), append(r.metrics, metrics)
	r.at = append(r.at, s.c.Raw.At)
	r.event, r.told = append(r.event, s.id), append(r.told, told)
	r.raw = append(r.raw, s.c.Raw.ID)
	r.task = append(r.task, s.c.Task.ID)
	r.parser = append(r.parser, int32(s.c.Parser))
	r.digest = append(r.digest, l.Digest(dimensions, metrics))
	r.answer = append(r.answer, s.c.Answer)
	r.gone = append(r.gone, s.e.Gone)
	extra := t.extra(l)
	if r.extra == nil {
		r.extra = make([][]string, len(extra))
	}
	for i, v := range extra {
		r.extra[i] = append(r.extra[i], v)
	}
}

func (r *rows) args() []any {
	args := []any{r.key, r.platform, r.source, r.dimensions, r.metrics, r.at, r.event, r.raw, r.task, r.parser,
		r.digest, r.answer, r.gone, r.told}
	for _, v := range r.extra {
		args = append(args, v)
	}
	return args
}
