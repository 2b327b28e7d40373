package projections

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/social"
)

// A Column is what is known of one column of an entity.
type Column struct {
	Name   string    `json:"column"`
	Value  any       `json:"value"`
	Source string    `json:"source"`
	At     time.Time `json:"at"` // when it was observed, UTC
	Raw    string    `json:"raw"`
	Task   int64     `json:"task"`
	Parser int       `json:"parser"`
}

// A Known is an entity as the observations up to a time have it.
type Known struct {
	Table        string    `json:"table"`
	Key          string    `json:"key"`
	Observations int       `json:"observations"`
	First        time.Time `json:"first"`
	Last         time.Time `json:"last"`
	Columns      []Column  `json:"columns"`
}

// Kinds are what Observe knows, by the words of its callers.
var Kinds = []social.Kind{social.Profile, social.Post, social.Insights}

// Observe folds what was observed of an entity until a time, that included; the
// zero time is now. It is what the table held then, or would have held had the
// parsers of now read the answers of then. Nil is that nothing is known.
func Observe(ctx context.Context, db pgx.Tx, platform social.Platform, kind social.Kind, key string, until time.Time) (*Known, error) {
	t := tables[platform][kind]
	if t == nil {
		return nil, fmt.Errorf("no table for %s of %s", kind, platform)
	}
	f, n, err := observedUntil(ctx, db, t, platform, kind, []string{key}, until)
	if err != nil {
		return nil, err
	}
	s := f[key]
	if s == nil {
		return nil, nil //nolint:nilnil // nothing is known, which is an answer
	}
	out := &Known{Table: t.name, Key: key, Observations: n, First: s.first, Last: s.last}
	var raws []string
	for i, c := range s.cells {
		if c.from == nil {
			continue
		}
		out.Columns = append(out.Columns, Column{Name: t.columns[i].name, Value: plain(c.value), Source: c.from.source,
			At: c.from.at, Raw: c.from.raw, Parser: c.from.parser})
		raws = append(raws, c.from.raw)
	}
	tasks, err := tasksOf(ctx, db, kind, key, raws)
	if err != nil {
		return nil, err
	}
	for i := range out.Columns {
		out.Columns[i].Task = tasks[out.Columns[i].Raw]
	}
	return out, nil
}

// plain is what a pointer of a cell points to.
func plain(v any) any {
	switch v := v.(type) {
	case *string:
		return *v
	case *int64:
		return *v
	case *float64:
		return *v
	case *bool:
		return *v
	case *time.Time:
		return *v
	}
	return v
}

// tasksOf is the task that each raw answer about an entity was fetched for.
func tasksOf(ctx context.Context, db pgx.Tx, kind social.Kind, key string, raws []string) (map[string]int64, error) {
	sql := `SELECT raw_id, task_id FROM profile_log WHERE profile_id = $1 AND raw_id = ANY($2) AND task_id IS NOT NULL`
	if kind == social.Post {
		sql = `SELECT raw_id, task_id FROM post_log WHERE platform_post_id = $1 AND raw_id = ANY($2) AND task_id IS NOT NULL`
	}
	rows, err := db.Query(ctx, sql, key, raws)
	if err != nil {
		return nil, fmt.Errorf("read tasks of answers: %w", err)
	}
	out := map[string]int64{}
	var raw string
	var task int64
	_, err = pgx.ForEachRow(rows, []any{&raw, &task}, func() error {
		out[raw] = task
		return nil
	})
	return out, err
}
