package main

import (
	"context"
	"fmt"
	"time"

	"beat/streams/audit"
	"beat/streams/bus"
	"beat/streams/flow"
)

type auditCmd struct {
	deps
	Since string        `help:"Look at what was stored since: an age such as 24h, or a time." default:"24h" placeholder:"AGE|TIME"`
	Grace time.Duration `help:"What is younger may still be under way." default:"10m"`
}

// Run exits with 1 when something is missing, so that it can be watched.
func (c *auditCmd) Run(ctx context.Context, g *globals) error {
	since, err := moment("since", c.Since, time.Now().UTC())
	if err != nil {
		return err
	}
	a, err := replaying(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	cfg := audit.Config{DB: a.db, JS: a.js, Since: since, Grace: c.Grace}
	for _, consumer := range consumers(flow.All) {
		if consumer.Stream == bus.Raw {
			cfg.Parse = append(cfg.Parse, consumer.Durable)
		}
	}
	checks, err := audit.Run(ctx, cfg)
	if err != nil {
		return err
	}
	missing := 0
	var rows [][]any
	for _, check := range checks {
		missing += check.Missing
		rows = append(rows, []any{check.Name, check.Looked, check.Missing})
	}
	if g.JSON {
		if err := show(g.stdout, checks); err != nil {
			return err
		}
	} else {
		grid(g.stdout, []any{"check", "looked at", "missing"}, rows)
		for _, check := range checks {
			for _, id := range check.IDs {
				fmt.Fprintf(g.stdout, "%s: %s\n", check.Name, id)
			}
			if check.Missing > 0 {
				fmt.Fprintf(g.stdout, "  → %s\n", check.Do)
			}
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d are missing or wrong", missing)
	}
	return nil
}
