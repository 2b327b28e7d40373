package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/projections"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

type restoreCmd struct {
	deps
	Entities []string `arg:"" name:"profile" help:"Handles or profile ids."`
	Since    string   `help:"Take back what was observed of them from this time on: an age such as 6h, or a time." required:"" placeholder:"AGE|TIME"`
	Platform string   `help:"Where they live." enum:"instagram" default:"instagram"`
	DryRun   bool     `help:"Only show what would change." name:"dry-run"`
	Scrape   bool     `help:"Also enqueue one fresh refresh of each." default:"true" negatable:""`
}

// A restored profile is what --json prints of each.
type restored struct {
	Profile   string                 `json:"profile_id"`
	Handle    string                 `json:"handle"`
	TakenBack int                    `json:"observations_taken_back"`
	Changes   map[string]restoration `json:"changes"`
	Task      int64                  `json:"task,omitempty"` // that scrapes it again
	Unknown   bool                   `json:"unknown_before,omitempty"`
}

type restoration struct {
	Is any `json:"is"`
	To any `json:"to"`
}

// Run withdraws observations: the account becomes what those before say, and
// stays so until it is observed again. Done twice, it changes nothing more.
func (c *restoreCmd) Run(ctx context.Context, g *globals) error {
	since, err := moment("since", c.Since, time.Now().UTC())
	if err != nil {
		return err
	}
	a, err := replaying(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	platform := social.Platform(strings.ToUpper(c.Platform))
	var all []restored
	for _, name := range c.Entities {
		r, commits, err := a.restore(ctx, platform, name, since)
		if err != nil {
			return err
		}
		if r.Unknown {
			return fmt.Errorf("nothing was observed of %q before %s: there is nothing to restore it to", name, since.Format(time.DateTime))
		}
		if !c.DryRun {
			if err := a.withdraw(ctx, commits); err != nil {
				return err
			}
			if c.Scrape && r.Handle != "" {
				if r.Task, err = a.scrape(ctx, r, since); err != nil {
					return err
				}
			}
		}
		all = append(all, r)
	}
	if g.JSON {
		return show(g.stdout, all)
	}
	for _, r := range all {
		fmt.Fprintf(g.stdout, "%s (%s): %d observations since %s\n", r.Profile, r.Handle, r.TakenBack, since.Format(time.DateTime))
		var rows [][]any
		for _, name := range sortedNames(r.Changes) {
			rows = append(rows, []any{name, clipText(fmt.Sprint(r.Changes[name].Is)), clipText(fmt.Sprint(r.Changes[name].To))})
		}
		if len(rows) > 0 {
			grid(g.stdout, []any{"column", "is", "becomes"}, rows)
		}
		if r.Task != 0 {
			fmt.Fprintf(g.stdout, "task %d scrapes it again\n", r.Task)
		}
	}
	if c.DryRun {
		fmt.Fprintln(g.stdout, "nothing was written: this was a dry run")
	}
	return nil
}

func sortedNames(m map[string]restoration) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// restore says what a profile was before a time, and how to take back what was
// observed since.
func (a *app) restore(ctx context.Context, platform social.Platform, name string, since time.Time) (r restored, commits []event.Commit, err error) {
	key, err := keyOf(ctx, a.db, platform, social.Profile, name)
	if err != nil {
		return r, nil, err
	}
	r = restored{Profile: key, Changes: map[string]restoration{}}
	now, err := observe(ctx, a.db, platform, social.Profile, key, time.Time{})
	if err != nil {
		return r, nil, err
	}
	before, err := observe(ctx, a.db, platform, social.Profile, key, since.Add(-time.Microsecond))
	if err != nil {
		return r, nil, err
	}
	if before == nil {
		r.Unknown = true
		return r, nil, nil
	}
	is := values(now)
	for name, to := range values(before) {
		if name == "handle" {
			r.Handle, _ = to.(string) //nolint:errcheck // a text column
		}
		if is[name] != to {
			r.Changes[name] = restoration{is[name], to}
		}
		delete(is, name)
	}
	for name, v := range is {
		r.Changes[name] = restoration{v, nil}
	}
	rows, err := a.db.Query(ctx, `
SELECT raw_id, "timestamp", source, coalesce(parser, 0), coalesce(task_id, 0) FROM profile_log
WHERE profile_id = $1 AND platform = $2 AND "timestamp" >= $3 AND kind IS NULL AND gone IS NOT TRUE ORDER BY "timestamp"`, key, string(platform), since)
	if err != nil {
		return r, nil, fmt.Errorf("read observations of %s: %w", key, err)
	}
	c := event.Commit{Parts: 1, Answer: event.Withdrawn, Replay: &event.Replay{}, Lane: key}
	_, err = pgx.ForEachRow(rows, []any{&c.Raw.ID, &c.Raw.At, &c.Raw.Source, &c.Parser, &c.Task.ID}, func() error {
		c.Task.Platform, c.Task.ID = platform, max(c.Task.ID, 1)
		l := social.Log{Kind: social.Profile, Key: key, Source: c.Raw.Source}
		c.Events = []event.Event{{ID: event.ID(event.LogID(c.Raw.ID, l), "withdrawn"), Log: l, Gone: true}}
		commits = append(commits, c)
		return nil
	})
	r.TakenBack = len(commits)
	return r, commits, err
}

func values(k *projections.Known) map[string]any {
	out := map[string]any{}
	if k != nil {
		for _, c := range k.Columns {
			v := c.Value
			if t, ok := v.(time.Time); ok {
				v = t.UTC().Format(time.RFC3339Nano)
			}
			out[c.Name] = v
		}
	}
	return out
}

// withdraw commits; the tables show it a moment later.
func (a *app) withdraw(ctx context.Context, commits []event.Commit) error {
	outs := make([]bus.Out, 0, len(commits))
	for _, c := range commits {
		data, err := c.Marshal()
		if err != nil {
			return err
		}
		outs = append(outs, bus.Out{Subject: c.Subject(), ID: "withdraw-" + c.Events[0].ID, Data: data})
	}
	if len(outs) == 0 {
		return nil
	}
	return a.pub.Send(ctx, outs...)
}

// scrape enqueues a fresh refresh, once for each restore.
func (a *app) scrape(ctx context.Context, r restored, since time.Time) (int64, error) {
	params, err := json.Marshal(map[string]string{"handle": r.Handle})
	if err != nil {
		return 0, err
	}
	key := fmt.Sprintf("restore:%s:%s", r.Profile, since.Format(time.RFC3339))
	task, err := a.queue.Enqueue(ctx, schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: params, IdempotencyKey: &key})
	return task.ID, err
}
