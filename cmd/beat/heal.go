package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beat/providers"
	"beat/streams/dead"
	"beat/streams/heal"
)

type healFlags struct {
	AutoRedrive      bool          `help:"Give dead letters to a source's parser by itself once it has a later version than the one that could not read them." env:"BEAT_AUTO_REDRIVE"`
	AutoRedriveEvery time.Duration `help:"Between two looks for such letters, beside the one at the start." env:"BEAT_AUTO_REDRIVE_EVERY" default:"10m"`
}

// healRate is how many letters a second are redriven by themselves: a thousand
// within a minute, and never more than one task in ten of what a machine runs.
const healRate = 20

// versions are the parsers of now.
func versions(set providers.Set) func(source string) int {
	return func(source string) int {
		if p := set[source]; p != nil {
			return p.Parser
		}
		return 0
	}
}

// healer gives dead letters to the parsers of now.
func (a *app) healer(ctx context.Context) (*heal.Healer, error) {
	box, err := dead.Open(ctx, a.js)
	if err != nil {
		return nil, err
	}
	return heal.New(a.lg, heal.Config{DB: a.db, Box: box, Redriver: dead.NewRedriver(box, a.queue, a.pub), Replay: a.replayer(),
		Version: versions(a.set), Busy: a.behind(), Rate: healRate}), nil
}

// autoRedrive heals at the start and every so often, in one process of the fleet.
func (a *app) autoRedrive(ctx context.Context) error {
	return a.alone(ctx, "heal", max(a.cfg.AutoRedriveEvery, time.Second), func(ctx context.Context) error {
		h, err := a.healer(ctx)
		if err != nil {
			return err
		}
		n, err := h.All(ctx)
		if n > 0 {
			a.lg.Info("dead letters were given to later parsers", "letters", n)
		}
		return err
	})
}

// alone calls fn now and every so often, until ctx ends. Of the processes that do,
// one at a time does it.
func (a *app) alone(ctx context.Context, name string, every time.Duration, fn func(ctx context.Context) error) error {
	once := func() error {
		conn, err := a.db.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		var mine bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtext('beat:alone'), hashtext($1))`, name).Scan(&mine); err != nil || !mine {
			return err
		}
		defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext('beat:alone'), hashtext($1))`, name) //nolint:errcheck // the connection may be gone, and the lock with it
		return fn(ctx)
	}
	for {
		if err := once(); err != nil && ctx.Err() == nil {
			a.lg.Warn("not done, tried again later", "what", name, "in", every, "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

type deadHealCmd struct {
	deps
	deadFilter
	DryRun bool `help:"Only say which letters a later parser may read, and what would happen."`
}

func (c *deadHealCmd) Run(ctx context.Context, g *globals) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	a, err := replaying(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.heal(ctx, g, f, c.DryRun)
}

// heal heals the letters that f selects, or says what it would do.
func (a *app) heal(ctx context.Context, g *globals, f dead.Filter, dry bool) error {
	if f.Source != "" && a.set[f.Source] == nil {
		return usageError{fmt.Errorf("--source %q: unknown", f.Source)}
	}
	h, err := a.healer(ctx)
	if err != nil {
		return err
	}
	ls, err := h.Curable(ctx, f, false)
	if err != nil {
		return err
	}
	if dry {
		plan, err := h.Redriver.Plan(ctx, ls)
		if err != nil {
			return err
		}
		for i, l := range ls {
			if !h.Redriven(l) {
				plan[i].Outcome = heal.Again
			}
		}
		return report(g, deadReport{DryRun: true, Matched: len(ls), Results: plan}, nil)
	}
	return each(ctx, g, ls, "healed", func(ctx context.Context, l dead.Letter) (dead.Result, error) {
		res, err := h.Heal(ctx, l)
		if err != nil && !errors.Is(err, dead.ErrGone) {
			err = fmt.Errorf("letter %d: %w", l.Seq, err)
		}
		return res, err
	})
}
