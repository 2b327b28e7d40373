package replay

import (
	"context"
	"fmt"
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
	parser int
	gone   bool
	full   bool // log has its dimensions and metrics
}

// observations are those of one answer.
type observations []*stored

// made reports whether all of them are of an answer that read the same.
func (o observations) made(digest int64) bool {
	for _, s := range o {
		if s.answer != digest {
			return false
		}
	}
	return len(o) > 0 || digest == nothing
}

// nothing is the digest of an answer that says nothing.
var nothing = social.DigestLogs(nil)

func (o observations) newest() (version int) {
	for _, s := range o {
		version = max(version, s.parser)
	}
	return version
}

func (o observations) readBy(version int) bool {
	for _, s := range o {
		if s.parser == version {
			return true
		}
	}
	return false
}

// digestsSQL reads what is needed to see whether anything differs.
const digestsSQL = `
SELECT 'profile', l.raw_id, l.event_id::text, coalesce(l.kind, 'profile'), coalesce(l.profile_id, ''), coalesce(l.digest, 0), coalesce(l.answer, 0), coalesce(l.parser, 0), coalesce(l.gone, false)
FROM unnest($1::timestamp[], $2::text[]) AS u(at, raw) JOIN profile_log l ON l."timestamp" = u.at AND l.raw_id = u.raw
UNION ALL
SELECT 'post', l.raw_id, l.event_id::text, 'post', coalesce(l.platform_post_id, ''), coalesce(l.digest, 0), coalesce(l.answer, 0), coalesce(l.parser, 0), coalesce(l.gone, false)
FROM unnest($1::timestamp[], $2::text[]) AS u(at, raw) JOIN post_log l ON l."timestamp" = u.at AND l.raw_id = u.raw`

const peopleDigestsSQL = digestsSQL + `
UNION ALL
SELECT 'activity', l.raw_id, l.event_id::text, 'activity', coalesce(l.platform_post_id, ''), coalesce(l.digest, 0), coalesce(l.answer, 0), coalesce(l.parser, 0), false
FROM unnest($1::timestamp[], $2::text[]) AS u(at, raw) JOIN post_activity_log l ON l."timestamp" = u.at AND l.raw_id = u.raw
UNION ALL
SELECT 'relationship', l.raw_id, l.event_id::text, 'relationship', coalesce(l.source_profile_id, ''), coalesce(l.digest, 0), coalesce(l.answer, 0), coalesce(l.parser, 0), false
FROM unnest($1::timestamp[], $2::text[]) AS u(at, raw) JOIN profile_relationship_log l ON l."timestamp" = u.at AND l.raw_id = u.raw`

// observations reads those of the answers, by raw id.
func (r *Replayer) observations(ctx context.Context, answers []Answer) (map[string]observations, error) {
	ats, raws := make([]time.Time, len(answers)), make([]string, len(answers))
	sql := digestsSQL
	for i := range answers {
		ats[i], raws[i] = answers[i].Raw.At, answers[i].Raw.ID
		switch answers[i].Ask.Fetch {
		case social.Followers, social.Following, social.PostLikes, social.PostComments:
			sql = peopleDigestsSQL
		}
	}
	rows, err := r.db.Query(ctx, sql, ats, raws)
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	out := make(map[string]observations, len(answers))
	var table, raw, id, kind, key string
	var digest, answer int64
	var parser int
	var gone bool
	_, err = pgx.ForEachRow(rows, []any{&table, &raw, &id, &kind, &key, &digest, &answer, &parser, &gone}, func() error {
		out[raw] = append(out[raw], &stored{event: id, log: social.Log{Kind: social.Kind(kind), Key: key}, digest: digest, answer: answer, parser: parser, gone: gone})
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
