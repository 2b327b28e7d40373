package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

// A stored observation is a row of the audit tables.
type stored struct {
	event  string // id of the row
	log    social.Log
	digest int64 // 0: from before digests
	answer int64
	gone   bool
	full   bool // log has its dimensions and metrics
}

// observations are those of one answer.
type observations []*stored

// A summary is what the observations of one answer have in common: enough to see
// that its parser makes the same of it as before.
type summary struct {
	rows        int
	first, last int64 // smallest and largest digest of the answer they are of
	newest      int   // version of a parser
	readBy      bool  // one is of the version that was asked for
}

// made reports whether all of them are of an answer that read the same.
func (s summary) made(digest int64) bool {
	if s.rows == 0 {
		return digest == nothing
	}
	return s.first == digest && s.last == digest
}

// nothing is the digest of an answer that says nothing.
var nothing = social.DigestLogs(nil)

// of limits a table to the observations of one answer. The offset keeps the
// planner from reading the whole table to join it (measured: 90 ms for 256 of
// 10,000 answers, and growing with the table, instead of 9).
func of(table string) string {
	return `(SELECT * FROM ` + table + ` WHERE "timestamp" = u.at AND raw_id = u.raw OFFSET 0) l`
}

const answersSQL = ` FROM unnest($1::timestamp[], $2::text[]) WITH ORDINALITY AS u(at, raw, n) CROSS JOIN LATERAL `

// The tables of observations: the two that every answer may have some in, and
// those of people.
var (
	logTables    = []logTable{{"profile_log", "profile", "kind", "profile_id", "gone"}, {"post_log", "post", "'post'", "platform_post_id", "gone"}}
	peopleTables = append(slices.Clip(logTables), logTable{"post_activity_log", "activity", "'activity'", "platform_post_id", "false"},
		logTable{"profile_relationship_log", "relationship", "'relationship'", "source_profile_id", "false"})
)

type logTable struct{ name, kind, kindSQL, key, gone string }

// summariesSQL reads a summary for each answer, in order. $3 is a parser version.
func summariesSQL(tables []logTable) string {
	var parts []string
	for _, t := range tables {
		parts = append(parts, "SELECT answer, parser FROM "+of(t.name))
	}
	return `SELECT s.*` + answersSQL + `(SELECT count(*), coalesce(min(coalesce(answer, 0)), 0), coalesce(max(coalesce(answer, 0)), 0),
    coalesce(max(parser), 0), coalesce(bool_or(coalesce(parser, 0) = $3), false) FROM (` + strings.Join(parts, " UNION ALL ") + `) o) s ORDER BY u.n`
}

// digestsSQL reads what is needed to see which observations differ.
func digestsSQL(tables []logTable) string {
	var parts []string
	for _, t := range tables {
		parts = append(parts, fmt.Sprintf(`SELECT l.raw_id, l.event_id::text, coalesce(%s, '%s'), coalesce(l.%s, ''), coalesce(l.digest, 0), coalesce(l.answer, 0), coalesce(l.parser, 0), coalesce(%s, false)`,
			t.kindSQL, t.kind, t.key, t.gone)+answersSQL+of(t.name))
	}
	return strings.Join(parts, " UNION ALL ")
}

// asked are the parameters of both: when the answers were observed, and their ids;
// and where their observations are.
func asked(answers []Answer) (ats []time.Time, raws []string, tables []logTable) {
	ats, raws, tables = make([]time.Time, len(answers)), make([]string, len(answers)), logTables
	for i := range answers {
		ats[i], raws[i] = answers[i].Raw.At, answers[i].Raw.ID
		switch answers[i].Ask.Fetch {
		case social.Followers, social.Following, social.PostLikes, social.PostComments:
			tables = peopleTables
		}
	}
	return ats, raws, tables
}

// summaries are those of the answers, in order. version is what readBy is about.
func (r *Replayer) summaries(ctx context.Context, answers []Answer, version int) ([]summary, error) {
	ats, raws, tables := asked(answers)
	rows, err := r.db.Query(ctx, summariesSQL(tables), ats, raws, version)
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s summary, err error) {
		return s, row.Scan(&s.rows, &s.first, &s.last, &s.newest, &s.readBy)
	})
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	return out, nil
}

// observations reads those of the answers, by raw id.
func (r *Replayer) observations(ctx context.Context, answers []Answer) (map[string]observations, error) {
	ats, raws, tables := asked(answers)
	rows, err := r.db.Query(ctx, digestsSQL(tables), ats, raws)
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	out := make(map[string]observations, len(answers))
	var raw, id, kind, key string
	var digest, answer int64
	var parser int
	var gone bool
	_, err = pgx.ForEachRow(rows, []any{&raw, &id, &kind, &key, &digest, &answer, &parser, &gone}, func() error {
		out[raw] = append(out[raw], &stored{event: id, log: social.Log{Kind: social.Kind(kind), Key: key}, digest: digest, answer: answer, gone: gone})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	return out, nil
}

// contentsSQL reads whole rows, by kind.
var contentsSQL = map[social.Kind]string{
	social.Profile: `
SELECT l.event_id::text, coalesce(profile_id, ''), '', coalesce(handle, ''), coalesce(source, ''), '', '', '', dimensions::text, metrics::text, '[]'
FROM unnest($1::timestamp[], $2::text[]) AS u(at, id) JOIN profile_log l ON l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Post: `
SELECT l.event_id::text, coalesce(platform_post_id, ''), coalesce(profile_id, ''), '', coalesce(source, ''), '', '', '', dimensions::text, metrics::text, '[]'
FROM unnest($1::timestamp[], $2::text[]) AS u(at, id) JOIN post_log l ON l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Activity: `
SELECT l.event_id::text, coalesce(platform_post_id, ''), '', '', coalesce(source, ''), coalesce(activity_type, ''), coalesce(actor_profile_id, ''), '', dimensions::text, metrics::text, '[]'
FROM unnest($1::timestamp[], $2::text[]) AS u(at, id) JOIN post_activity_log l ON l.event_id = u.id::uuid`,
	social.Relationship: `
SELECT l.event_id::text, coalesce(source_profile_id, ''), '', '', coalesce(source, ''), coalesce(relationship_type, ''), '', coalesce(target_profile_id, ''),
    (SELECT coalesce(jsonb_agg(jsonb_build_object('key', e.key, 'value', e.value)), '[]') FROM jsonb_each(source_dimensions) e)::text, '[]',
    (SELECT coalesce(jsonb_agg(jsonb_build_object('key', e.key, 'value', e.value)), '[]') FROM jsonb_each(target_dimensions) e)::text
FROM unnest($1::timestamp[], $2::text[]) AS u(at, id) JOIN profile_relationship_log l ON l.event_id = u.id::uuid`,
}

// contents reads the whole of observations, which are of answers at these times.
func (r *Replayer) contents(ctx context.Context, wanted map[*stored]time.Time) error {
	byID := map[string]*stored{}
	type list struct {
		at []time.Time
		id []string
	}
	lists := map[social.Kind]*list{}
	for s, at := range wanted {
		kind := s.log.Kind
		if kind == social.Insights {
			kind = social.Profile // the same table
		}
		if lists[kind] == nil {
			lists[kind] = &list{}
		}
		lists[kind].at, lists[kind].id = append(lists[kind].at, at), append(lists[kind].id, s.event)
		byID[s.event] = s
	}
	for kind, l := range lists {
		rows, err := r.db.Query(ctx, contentsSQL[kind], l.at, l.id)
		if err != nil {
			return fmt.Errorf("read observations: %w", err)
		}
		var id, key, owner, handle, source, typ, actor, target, dimensions, metrics, more string
		_, err = pgx.ForEachRow(rows, []any{&id, &key, &owner, &handle, &source, &typ, &actor, &target, &dimensions, &metrics, &more}, func() error {
			s := byID[id]
			s.log = social.Log{Kind: s.log.Kind, Key: key, Owner: owner, Handle: handle, Source: source, Type: typ, Actor: actor, Target: target,
				Dimensions: social.Pairs(dimensions), Metrics: social.Pairs(metrics), TargetDimensions: social.Pairs(more)}
			s.full = true
			return nil
		})
		if err != nil {
			return fmt.Errorf("read observations: %w", err)
		}
	}
	return nil
}
