package lineage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/projections"
	"beat/streams/bridge"
	"beat/streams/event"
	"beat/streams/social"
)

// A logTable is a table of observations: its name, and expressions for what
// differs between them.
type logTable struct {
	name, kind, key, parser, digest, answer, gone, told string
}

var logTables = []logTable{
	{"profile_log", "coalesce(kind, 'profile')", "profile_id", "parser", "digest", "answer", "gone", "told_id"},
	{"post_log", "'post'", "platform_post_id", "parser", "digest", "answer", "gone", "told_id"},
	{"post_activity_log", "'activity'", "platform_post_id", "parser", "digest", "answer", "false", "told_id"},
	{"profile_relationship_log", "'relationship'", "source_profile_id", "parser", "digest", "answer", "false", "told_id"},
}

// keys are the routing keys of observations.
var keys = map[social.Kind]string{
	social.Profile: bridge.KeyProfile, social.Insights: bridge.KeyProfile, social.Post: bridge.KeyPost,
	social.Activity: bridge.KeyActivity, social.Relationship: bridge.KeyRelationship,
}

// An entry is an observation with the answer that it is of.
type entry struct {
	*Observation
	raw, source string
	at          time.Time
	task        int64
}

// observed reads the observations that a condition selects.
func (s *search) observed(ctx context.Context, where string, args ...any) (out []entry, err error) {
	var arms []string
	for _, t := range logTables {
		arms = append(arms, fmt.Sprintf(`
SELECT '%s', %s, coalesce(platform, ''), coalesce(%s, ''), coalesce(event_id::text, ''), coalesce(%s::text, ''), coalesce(%s, 0), coalesce(%s, 0),
    coalesce(%s, 0), coalesce(%s, false), coalesce(raw_id, ''), coalesce(source, ''), "timestamp", coalesce(task_id, 0)
FROM %s WHERE %s`, t.name, t.kind, t.key, t.told, t.parser, t.digest, t.answer, t.gone, t.name, where))
	}
	rows, err := s.DB.Query(ctx, strings.Join(arms, " UNION ALL ")+` ORDER BY 13, 2, 4, 5`, args...)
	if err != nil {
		return nil, fmt.Errorf("read observations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e := entry{Observation: &Observation{}}
		if err := rows.Scan(&e.Table, &e.Kind, &e.platform, &e.Key, &e.EventID, &e.ToldID, &e.Parser, &e.Digest,
			&e.digest, &e.Gone, &e.raw, &e.source, &e.at, &e.task); err != nil {
			return nil, fmt.Errorf("read observations: %w", err)
		}
		e.RoutingKey, e.Row = keys[e.Kind], e.EventID
		out = append(out, e)
	}
	return out, rows.Err()
}

// audited finds the answers of the observations that a condition selects.
func (s *search) audited(ctx context.Context, where string, args ...any) error {
	all, err := s.observed(ctx, where, args...)
	if err != nil {
		return err
	}
	if len(all) == 0 && len(s.tasks) == 0 {
		return ErrUnknown
	}
	at := map[string]time.Time{}
	for _, e := range all {
		if s.answers[e.raw] == nil {
			at[e.raw] = e.at
		}
	}
	return s.found(ctx, at)
}

// observations fills in what the answers have said, those that are asked for, and
// which columns hold it.
func (s *search) observations(ctx context.Context) error {
	var ats []time.Time
	var raws []string
	for _, a := range s.answers {
		ats, raws = append(ats, a.Observed), append(raws, a.RawID)
	}
	all, err := s.observed(ctx, `"timestamp" = ANY($1::timestamp[]) AND raw_id = ANY($2)`, ats, raws)
	if err != nil {
		return err
	}
	type group struct {
		platform social.Platform
		kind     social.Kind
	}
	of := map[group][]entry{}
	for _, e := range all {
		a := s.answers[e.raw]
		a.Observations = append(a.Observations, e.Observation)
		if a.Parser <= e.Parser {
			a.Parser, a.Digest = e.Parser, Digest(e.digest)
		}
		if a.Source == "" {
			a.Source = e.source
		}
		if s.of[e.raw] == 0 {
			s.of[e.raw] = e.task
		}
		g := group{e.platform, e.Kind}
		of[g] = append(of[g], e)
	}
	for g, entries := range of {
		var list []string
		for _, e := range entries {
			list = append(list, e.Key)
		}
		rows, err := projections.Rows(ctx, s.DB, g.platform, g.kind, list)
		if err != nil {
			return err
		}
		for _, e := range entries {
			row := rows[e.Key]
			if row == nil {
				continue
			}
			e.Table, e.Row = row.Table, row.Key
			for _, c := range row.Columns {
				if c.Raw == e.raw {
					if e.Columns == nil {
						e.Columns = map[string]any{}
					}
					e.Columns[c.Name] = c.Value
				}
			}
		}
	}
	if s.only == nil {
		return nil
	}
	for _, a := range s.answers {
		n := len(a.Observations)
		a.Observations = slices.DeleteFunc(a.Observations, func(o *Observation) bool { return !s.only(o) })
		a.Others = n - len(a.Observations)
	}
	return nil
}

// task reads the row of a task, once. Without a row it is its number alone.
func (s *search) task(ctx context.Context, id int64) (*Task, error) {
	if t := s.tasks[id]; t != nil {
		return t, nil
	}
	t := &Task{ID: id, Answers: []*Answer{}}
	var announced bool
	err := s.DB.QueryRow(ctx, `
SELECT coalesce(flow, ''), coalesce(platform, ''), coalesce(status, ''), params, priority, coalesce(fence, 0), created_at, picked_at, scraped_at,
    retry_count, data, coalesce(announced, false)
FROM scrape_request_log WHERE id = $1`, id).Scan(&t.Flow, &t.Platform, &t.Status, &t.Params, &t.Priority, &t.Fence, &t.CreatedAt,
		&t.PickedAt, &t.ScrapedAt, &t.RetryCount, &t.Data, &announced)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("read task %d: %w", id, err)
	}
	tell := func(status string, ok bool) {
		if ok {
			t.Told = append(t.Told, Told{bridge.KeyTask, event.TaskEventID(id, t.Fence, status), status})
		}
	}
	ended := t.Status == social.Complete || t.Status == social.Failed
	tell(social.Pending, announced)
	tell(social.Processing, t.Fence > 0 && t.PickedAt != nil && t.Status != social.Pending)
	tell(t.Status, ended)
	s.tasks[id] = t
	return t, nil
}

// calls are the messages that RabbitMQ is told of an answer besides its entities.
func calls(raw string) []Told {
	out := []Told{{Key: bridge.KeyTrace, EventID: event.ID("trace", raw)}}
	for i := range 3 { // a raw answer takes four calls at most
		out = append(out, Told{Key: bridge.KeyTrace, EventID: event.ID("trace", raw, i+1)})
	}
	return append(out, Told{Key: bridge.KeyActivities, EventID: event.ID("activities", raw)})
}

// number of a header, 0 if it is none.
func count(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) //nolint:errcheck // absent is 0
	return n
}
