package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"beat/processors/retrieval"
	"beat/providers/credential"
	"beat/providers/ratelimit"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// What an operator does to tasks, flows and sources by hand.

type tasksWhyCmd struct {
	deps
	ID int64 `arg:"" help:"Number of the task."`
}

func (c *tasksWhyCmd) Run(ctx context.Context, g *globals) error {
	a, err := looking(ctx, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	w, err := a.why(ctx, c.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, w)
	}
	w.print(g.stdout)
	return nil
}

func (w why) print(out io.Writer) {
	fmt.Fprintf(out, "task %d  %s  %s\n%s\n", w.ID, w.Flow, w.Status, w.Says)
	if w.Status == social.Pending || !w.Expected.IsZero() {
		when := "not known"
		if !w.Expected.IsZero() {
			when = w.Expected.UTC().Format("2006-01-02 15:04:05") + " UTC, " + away(w.Expected)
		}
		fmt.Fprintf(out, "expected   %s\n", when)
	}
	if w.Ahead != nil {
		fmt.Fprintf(out, "before it  %d tasks of the flow\n", *w.Ahead)
	}
	if w.Stage != "" {
		fmt.Fprintf(out, "stage      %s\n", w.Stage)
	}
	for _, t := range w.Attempts {
		fmt.Fprintf(out, "tried      %s: %s, status %d, %s\n", t.Source, t.Verdict, t.Status, t.Reason)
	}
}

// looking is an app that can only look: it changes nothing, not even the schema,
// and does not need NATS and Redis to answer, since that may be what is asked about.
func looking(ctx context.Context, cfg deps) (_ *app, err error) {
	lg := slog.New(slog.DiscardHandler)
	a := &app{lg: lg, cfg: cfg}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	a.set = providerTable(func(source string) string { return cfg.Endpoint[source] })
	for _, p := range cfg.more {
		a.set[p.Source] = p
	}
	if err := cfg.checkSources(slices.Sorted(maps.Keys(a.set))); err != nil {
		return nil, err
	}
	if a.limits, err = cfg.limits(); err != nil {
		return nil, err
	}
	if a.db, err = openPG(ctx, cfg.PGURL, 2); err != nil {
		return nil, err
	}
	a.close = append(a.close, a.db.Close)
	a.nc, err = nats.Connect(cfg.NATSURL, nats.Name("beat"), nats.Timeout(2*time.Second), nats.RetryOnFailedConnect(true))
	if err != nil {
		return nil, usageError{errors.New("NATS_URL cannot be read: want nats://host:port")}
	}
	a.close = append(a.close, a.nc.Close)
	if a.js, err = jetstream.New(a.nc); err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(cfg.RedisURL)
	if err != nil {
		return nil, usageError{errors.New("REDIS_URL cannot be read: want redis://host:port/db")}
	}
	silenceRedis()
	o.ContextTimeoutEnabled = true
	rdb := redis.NewClient(o)
	a.rdb = rdb
	a.close = append(a.close, func() { rdb.Close() }) //nolint:errcheck // nothing to be done
	key, err := credential.ParseKey(cfg.CredentialKey)
	if err != nil {
		return nil, usageError{err}
	}
	a.queue = schedule.NewQueue(a.db, cfg.Lease)
	a.creds = credential.New(lg, a.db, a.set, credential.Config{Key: key})
	a.limiter = ratelimit.New(a.rdb, ratelimit.Calls)
	a.pauses = schedule.NewPauses(lg, a.db)
	a.budget = retrieval.NewBudget(a.set, a.creds, a.limiter, a.queue, a.pauses, a.limits)
	return a, errors.Join(a.creds.Load(ctx), a.pauses.Load(ctx))
}

func away(t time.Time) string {
	d := time.Until(t).Round(time.Second)
	if d <= 0 {
		return "now"
	}
	return "in " + d.String()
}

type tasksRetryCmd struct {
	pgFlags
	IDs      []int64 `arg:"" name:"id" help:"Numbers of the tasks."`
	Complete bool    `help:"Also tasks that are COMPLETE."`
}

func (c *tasksRetryCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	q := schedule.NewQueue(db, 0)
	return eachID(g, "task", c.IDs, "waits again", func(id int64) error { return q.Retry(ctx, id, c.Complete) })
}

type tasksCancelCmd struct {
	pgFlags
	deadNATS
	IDs []int64 `arg:"" name:"id" help:"Numbers of the tasks."`
}

func (c *tasksCancelCmd) Run(ctx context.Context, g *globals) error {
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	js, end, err := openJetStream(c.NATSURL)
	if err != nil {
		return err
	}
	defer end()
	pub := bus.NewPublisher(lg, js, bus.PublisherConfig{})
	defer pub.Close() //nolint:errcheck // only waits
	q := schedule.NewQueue(db, 0)
	return eachID(g, "task", c.IDs, "is cancelled", func(id int64) error { return q.Cancel(ctx, pub, id) })
}

// eachID does something to tasks, or what else has numbers, one by one, and tells
// what became of each.
func eachID(g *globals, what string, ids []int64, done string, do func(int64) error) error {
	type result struct {
		ID    int64  `json:"id"`
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
	}
	var all []result
	bad := 0
	for _, id := range ids {
		r := result{ID: id, OK: true}
		if err := do(id); err != nil {
			r.OK, r.Error = false, err.Error()
			bad++
		}
		all = append(all, r)
		switch {
		case g.JSON:
		case r.OK:
			fmt.Fprintf(g.stdout, "%s %d %s\n", what, id, done)
		default:
			fmt.Fprintln(g.stderr, r.Error)
		}
	}
	if g.JSON {
		if err := show(g.stdout, all); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d %ss were left as they are", bad, len(ids), what)
	}
	return nil
}

type pauseCmd struct {
	pgFlags
	Name   string        `arg:"" optional:"" help:"A flow or a source. Without one, what is paused is listed."`
	For    time.Duration `help:"For how long; without it until beat resume." placeholder:"DURATION"`
	Reason string        `help:"Why, for whoever looks."`
}

// kindOf says whether a name is a flow or a source.
func kindOf(name string) (string, error) {
	if _, ok := flow.ByName(name); ok {
		return schedule.PauseFlow, nil
	}
	sources := slices.Sorted(maps.Keys(providerTable(realHosts)))
	if slices.Contains(sources, name) {
		return schedule.PauseSource, nil
	}
	return "", usageError{fmt.Errorf("%q is neither a flow (%s) nor a source (%s)", name, strings.Join(flow.Names(), ", "), strings.Join(sources, ", "))}
}

func (c *pauseCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	q := schedule.NewQueue(db, 0)
	if c.Name == "" && (c.For != 0 || c.Reason != "") {
		return usageError{errors.New("what is to be paused? Give the name of a flow or source")}
	}
	if c.Name != "" {
		kind, err := kindOf(c.Name)
		if err != nil {
			return err
		}
		if c.For < 0 {
			return usageError{errors.New("--for must not be negative")}
		}
		p := schedule.Pause{Name: c.Name, Kind: kind}
		if c.For > 0 {
			p.Until = new(time.Now().UTC().Add(c.For))
		}
		if c.Reason != "" {
			p.Reason = &c.Reason
		}
		if err := q.Pause(ctx, p); err != nil {
			return err
		}
	}
	all, err := q.Paused(ctx)
	if err != nil {
		return err
	}
	return showPauses(g.stdout, all, g.JSON)
}

func showPauses(w io.Writer, all []schedule.Pause, asJSON bool) error {
	if asJSON {
		if all == nil {
			all = []schedule.Pause{}
		}
		return show(w, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(w, "nothing is paused")
		return nil
	}
	var rows [][]any
	for _, p := range all {
		until := "resumed"
		if p.Until != nil {
			until = when(p.Until)
		}
		rows = append(rows, []any{p.Name, p.Kind, when(&p.Since), until, deref(p.Reason)})
	}
	grid(w, []any{"paused", "kind", "since (UTC)", "until (UTC)", "reason"}, rows)
	return nil
}

type resumeCmd struct {
	pgFlags
	Name string `arg:"" help:"A flow or a source."`
}

func (c *resumeCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	was, err := schedule.NewQueue(db, 0).Resume(ctx, c.Name)
	if err != nil {
		return err
	}
	if _, err := kindOf(c.Name); err != nil && !was { // a name of an older build can still be resumed
		return err
	}
	if g.JSON {
		return show(g.stdout, map[string]any{"name": c.Name, "was_paused": was})
	}
	if !was {
		fmt.Fprintln(g.stdout, c.Name, "was not paused")
		return nil
	}
	fmt.Fprintln(g.stdout, c.Name, "goes on")
	return nil
}
