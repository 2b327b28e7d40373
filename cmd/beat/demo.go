package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"encoding/json"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"beat/streams/bus"
	"beat/streams/lanes"
	"beat/streams/schedule"
	"beat/streams/social"
)

type demoCmd struct {
	pgFlags
	RMQURL   string        `help:"RabbitMQ; without it events wait in the stream." env:"RMQ_URL" name:"rmq-url" placeholder:"URL"`
	Profiles int           `help:"How many generated Instagram profiles to refresh." default:"5"`
	Fixtures string        `help:"Serve the real answers in this folder and refresh what they are about instead." type:"path"`
	Exit     bool          `help:"Stop after the job instead of staying up."`
	Listen   string        `help:"Address of the gateway." default:"127.0.0.1:8000"`
	Timeout  time.Duration `help:"How long the job may take." default:"3m"`
}

// A demoResult is what --json prints.
type demoResult struct {
	Tasks struct {
		Complete int `json:"complete"`
		Failed   int `json:"failed"`
	} `json:"tasks"`
	Accounts  int   `json:"accounts"`
	Posts     int   `json:"posts"`
	Raw       int   `json:"raw"`
	Events    int   `json:"events"`
	Published int   `json:"published"`
	Dead      int   `json:"dead"`
	ElapsedMS int64 `json:"elapsed_ms"`
}

func (c *demoCmd) Run(ctx context.Context, g *globals) error {
	if c.Profiles < 0 {
		return usageError{errors.New("--profiles must not be negative")}
	}
	if g.LogLevel == "info" {
		g.LogLevel = "warn" // the demo speaks for itself
	}
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	say := func(format string, args ...any) {
		if !g.JSON {
			fmt.Fprintf(g.stdout, format+"\n", args...)
		}
	}
	where := "a private one, started for you"
	if c.PGURL != "" {
		where = "PG_URL"
	}
	say("starting: JetStream, Redis and S3 in this process, Postgres: %s", where)
	l, err := startLocal(ctx, lg, localConfig{pgURL: c.PGURL, rmqURL: c.RMQURL, fixtures: c.Fixtures, archive: true})
	if err != nil {
		return err
	}
	defer l.Stop()
	if !c.Exit {
		l.deps.Listen = c.Listen
	}
	a, err := l.run(ctx, lg)
	if err != nil {
		return err
	}
	defer a.Stop()
	if c.RMQURL == "" {
		say("RabbitMQ: RMQ_URL is not set, so events wait in the stream")
	} else {
		say("RabbitMQ: %s", bare(c.RMQURL))
	}
	say("providers: the sandbox at %s", l.box.URL)

	began := time.Now()
	requests, err := c.requests(ctx, l.box.URL)
	if err != nil {
		return err
	}
	var ids []int64
	for _, r := range requests {
		e, err := a.queue.Enqueue(ctx, r)
		if err != nil {
			return err
		}
		ids = append(ids, e.ID)
	}
	say("tasks: %d stored\n", len(ids))
	r, err := c.follow(ctx, g, a, ids)
	if err != nil {
		return err
	}
	r.ElapsedMS = time.Since(began).Milliseconds()
	if g.JSON {
		if err := show(g.stdout, r); err != nil {
			return err
		}
	} else if err := c.report(ctx, g.stdout, a.app, ids); err != nil {
		return err
	}
	if c.Exit {
		return nil
	}
	addr, err := a.listening(ctx)
	if err != nil {
		return err
	}
	say("\ngateway at http://%s — try:\n  curl http://%s/profiles/instagram/byhandle/creator00001?full_refresh=1\nCtrl-C stops it all.", addr, addr)
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.ended:
		return err
	}
}

// requests are the tasks of the demo.
func (c *demoCmd) requests(ctx context.Context, box string) ([]schedule.Request, error) {
	var out []schedule.Request
	add := func(flow string, p social.Platform, params any) error {
		raw, err := json.Marshal(params)
		out = append(out, schedule.Request{Flow: flow, Platform: p, Params: raw})
		return err
	}
	if c.Fixtures == "" {
		for i := range c.Profiles {
			if err := add("refresh_profile_by_handle", social.Instagram, map[string]string{"handle": fmt.Sprintf("creator%05d", i+1)}); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	var fx struct {
		Handles    []string `json:"handles"`
		Shortcodes []string `json:"shortcodes"`
		Channels   []string `json:"channels"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, box+"/_sandbox/fixtures", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 10<<20)).Decode(&fx); err != nil {
		return nil, fmt.Errorf("read the sandbox's fixtures: %w", err)
	}
	for _, h := range fx.Handles {
		if err := add("refresh_profile_by_handle", social.Instagram, map[string]string{"handle": h}); err != nil {
			return nil, err
		}
	}
	for _, s := range fx.Shortcodes {
		if err := add("refresh_post_by_shortcode", social.Instagram, map[string]string{"shortcode": s}); err != nil {
			return nil, err
		}
	}
	if len(fx.Channels) > 0 {
		if err := add("refresh_yt_profiles", social.YouTube, map[string][]string{"channel_ids": fx.Channels}); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("%s holds no answers that the sandbox can serve", c.Fixtures)}
	}
	return out, nil
}

// follow shows the counters of the stages until all tasks have ended, and
// until the bridge has told all events when there is one.
func (c *demoCmd) follow(ctx context.Context, g *globals, a *running, ids []int64) (demoResult, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	live := false
	if f, ok := g.stdout.(*os.File); ok && !g.JSON {
		live = term.IsTerminal(int(f.Fd()))
	}
	last := ""
	for {
		r, err := count(ctx, a.app, ids)
		if err != nil {
			return r, err
		}
		line := fmt.Sprintf("tasks %d/%d  raw %d  events %d  published %d  accounts %d  posts %d  dead %d",
			r.Tasks.Complete+r.Tasks.Failed, len(ids), r.Raw, r.Events, r.Published, r.Accounts, r.Posts, r.Dead)
		switch {
		case g.JSON || line == last:
		case live:
			fmt.Fprintf(g.stdout, "\r\033[K%s", line)
		default:
			fmt.Fprintln(g.stdout, line)
		}
		last = line
		if r.Tasks.Complete+r.Tasks.Failed == len(ids) && (a.bridge == nil || told(ctx, a.app)) {
			if live {
				fmt.Fprintln(g.stdout)
			}
			return count(ctx, a.app, ids)
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("the job did not end in time: %s", line)
		case err := <-a.ended:
			return r, fmt.Errorf("the pipeline stopped: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// told reports whether the bridge has reached the end of the stream.
func told(ctx context.Context, a *app) bool { return reached(ctx, a, "bridge") }

// reached reports whether a reader has reached the end of the stream.
func reached(ctx context.Context, a *app, reader string) bool {
	behind, err := lanes.Behind(ctx, a.db, a.js, reader)
	return err == nil && behind == 0
}

func count(ctx context.Context, a *app, ids []int64) (r demoResult, err error) {
	err = a.db.QueryRow(ctx, `
SELECT (SELECT count(*) FROM scrape_request_log WHERE id = ANY($1) AND status = 'COMPLETE'),
       (SELECT count(*) FROM scrape_request_log WHERE id = ANY($1) AND status = 'FAILED'),
       (SELECT count(*) FROM instagram_account) + (SELECT count(*) FROM youtube_account),
       (SELECT count(*) FROM instagram_post)`, ids).Scan(&r.Tasks.Complete, &r.Tasks.Failed, &r.Accounts, &r.Posts)
	if err != nil {
		return r, err
	}
	for name, n := range map[string]*int{bus.Raw: &r.Raw, bus.Events: &r.Events, bus.Dead: &r.Dead} {
		s, err := a.js.Stream(ctx, name)
		if err != nil {
			return r, err
		}
		*n = int(s.CachedInfo().State.Msgs)
	}
	if a.bridge != nil {
		r.Published = published(a)
	}
	return r, nil
}

// published is how many messages the broker has confirmed.
func published(a *app) int {
	families, err := a.reg.Gather()
	if err != nil {
		return 0
	}
	n := 0.0
	for _, f := range families {
		if f.GetName() == "beat_bridge_confirmed_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return int(n)
}

const reportSQL = `
SELECT 'instagram', coalesce(handle, profile_id), coalesce(followers, 0), (SELECT count(*) FROM instagram_post p WHERE p.profile_id = a.profile_id),
       coalesce((SELECT avg(coalesce(p.likes, 0) + coalesce(p.comments, 0)) * 100 / nullif(a.followers, 0) FROM instagram_post p WHERE p.profile_id = a.profile_id), 0)::float8,
       (SELECT string_agg(DISTINCT x ->> 0, ', ') FROM jsonb_array_elements(a.lineage -> 'a') x)
       || coalesce('; posts: ' || (SELECT string_agg(DISTINCT x ->> 0, ', ') FROM instagram_post p, jsonb_array_elements(p.lineage -> 'a') x WHERE p.profile_id = a.profile_id), '')
FROM instagram_account a
UNION ALL
SELECT 'youtube', coalesce(title, channel_id), coalesce(subscribers, 0), coalesce(uploads, 0), 0,
       (SELECT string_agg(DISTINCT x ->> 0, ', ') FROM jsonb_array_elements(y.lineage -> 'a') x)
FROM youtube_account y
ORDER BY 1, 2 LIMIT 50`

// report prints the accounts and the tasks that failed.
func (c *demoCmd) report(ctx context.Context, w io.Writer, a *app, ids []int64) error {
	rows, err := a.db.Query(ctx, reportSQL)
	if err != nil {
		return err
	}
	var out [][]any
	var platform, name string
	var source *string
	var followers, posts int64
	var engagement float64
	_, err = pgx.ForEachRow(rows, []any{&platform, &name, &followers, &posts, &engagement, &source}, func() error {
		e := "-"
		if engagement > 0 {
			e = fmt.Sprintf("%.2f %%", engagement)
		}
		out = append(out, []any{platform, clip(name, 32), followers, posts, e, deref(source)})
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	grid(w, []any{"platform", "account", "followers", "posts", "engagement", "came from"}, out)
	rows, err = a.db.Query(ctx, `SELECT id, flow, data FROM scrape_request_log WHERE id = ANY($1) AND status = 'FAILED' ORDER BY id`, ids)
	if err != nil {
		return err
	}
	var id int64
	var flow, data string
	_, err = pgx.ForEachRow(rows, []any{&id, &flow, &data}, func() error {
		fmt.Fprintf(w, "task %d (%s) failed: %s\n", id, flow, strings.TrimSpace(data))
		return nil
	})
	return err
}
