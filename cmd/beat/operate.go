package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
)

// What an operator does to tasks, flows and sources by hand.

type tasksWhyCmd struct {
	deps
	ID int64 `arg:"" help:"Number of the task."`
}

func (c *tasksWhyCmd) Run(ctx context.Context, g *globals) error {
	a, err := newApp(ctx, slog.New(slog.DiscardHandler), c.deps, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := errors.Join(a.creds.Load(ctx), a.pauses.Load(ctx)); err != nil {
		return err
	}
	w, err := a.why(ctx, c.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, w)
	}
	fmt.Fprintf(g.stdout, "task %d  %s  %s\n%s\n", w.ID, w.Flow, w.Status, w.Says)
	if !w.Expected.IsZero() {
		fmt.Fprintf(g.stdout, "expected   %s UTC (%s)\n", w.Expected.UTC().Format("2006-01-02 15:04:05"), away(w.Expected))
	}
	if w.Ahead != nil {
		fmt.Fprintf(g.stdout, "before it  %d\n", *w.Ahead)
	}
	if w.Stage != "" {
		fmt.Fprintf(g.stdout, "stage      %s\n", w.Stage)
	}
	for _, t := range w.Attempts {
		fmt.Fprintf(g.stdout, "tried      %s: %s %d %s\n", t.Source, t.Verdict, t.Status, t.Reason)
	}
	return nil
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
	return eachTask(g, c.IDs, "waits again", func(id int64) error { return q.Retry(ctx, id, c.Complete) })
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
	nc, err := openNATS(c.NATSURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	pub := bus.NewPublisher(lg, js, bus.PublisherConfig{})
	defer pub.Close() //nolint:errcheck // only waits
	q := schedule.NewQueue(db, 0)
	return eachTask(g, c.IDs, "is cancelled", func(id int64) error { return q.Cancel(ctx, pub, id) })
}

// eachTask does something to tasks one by one, and tells what became of each.
func eachTask(g *globals, ids []int64, done string, do func(int64) error) error {
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
			fmt.Fprintf(g.stdout, "task %d %s\n", id, done)
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
		return fmt.Errorf("%d of %d tasks were left as they are", bad, len(ids))
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
	var sources []string
	for source := range providerTable(func(string) string { return "" }) {
		sources = append(sources, source)
	}
	if slices.Contains(sources, name) {
		return schedule.PauseSource, nil
	}
	slices.Sort(sources)
	return "", usageError{fmt.Errorf("%q is neither a flow (%s) nor a source (%s)", name, strings.Join(flow.Names(), ", "), strings.Join(sources, ", "))}
}

func (c *pauseCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	q := schedule.NewQueue(db, 0)
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
		rows = append(rows, []any{p.Name, p.Kind, until, deref(p.Reason)})
	}
	grid(w, []any{"paused", "kind", "until", "reason"}, rows)
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
