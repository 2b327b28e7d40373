package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/projections"
	"beat/streams/social"
)

type stateCmd struct {
	pgFlags
	Entity   string `arg:"" help:"Handle, profile id, channel id or shortcode."`
	Kind     string `help:"What it is; by default what is found." enum:",profile,post,insights" default:""`
	Platform string `help:"Where it lives." enum:"instagram,youtube" default:"instagram"`
	At       string `help:"As it was then: an age such as 48h, or a time." placeholder:"AGE|TIME"`
}

// A stateAt is what --json prints.
type stateAt struct {
	Platform social.Platform `json:"platform"`
	Kind     social.Kind     `json:"kind"`
	*projections.Known
}

func (c *stateCmd) Run(ctx context.Context, g *globals) error {
	at, err := moment("at", c.At, time.Now().UTC())
	if err != nil {
		return err
	}
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	platform := social.Platform(strings.ToUpper(c.Platform))
	kinds := projections.Kinds
	if c.Kind != "" {
		kinds = []social.Kind{social.Kind(c.Kind)}
	}
	var found []stateAt
	for _, kind := range kinds {
		key, err := keyOf(ctx, db, platform, kind, c.Entity)
		if err != nil {
			return err
		}
		k, err := observe(ctx, db, platform, kind, key, at)
		if err != nil {
			return err
		}
		if k != nil {
			found = append(found, stateAt{platform, kind, k})
		}
	}
	if len(found) == 0 {
		when := ""
		if !at.IsZero() {
			when = " until " + at.Format(time.DateTime)
		}
		return fmt.Errorf("nothing was observed of %q on %s%s", c.Entity, c.Platform, when)
	}
	if g.JSON {
		return show(g.stdout, found)
	}
	for _, s := range found {
		s.print(g.stdout)
	}
	return nil
}

func (s stateAt) print(out io.Writer) {
	fmt.Fprintf(out, "%s %s of %s: %d observations from %s to %s\n", s.Table, s.Key, strings.ToLower(string(s.Platform)),
		s.Observations, s.First.Format(time.DateTime), s.Last.Format(time.DateTime))
	var rows [][]any
	for _, c := range s.Columns {
		rows = append(rows, []any{c.Name, clipText(fmt.Sprint(c.Value)), c.Source, c.At.Format(time.DateTime), c.Raw, c.Task, c.Parser})
	}
	grid(out, []any{"column", "value", "source", "observed", "raw", "task", "parser"}, rows)
}

func observe(ctx context.Context, db *pgxpool.Pool, platform social.Platform, kind social.Kind, key string, at time.Time) (k *projections.Known, err error) {
	if platform == social.YouTube && kind != social.Profile {
		return nil, nil //nolint:nilnil // not yet
	}
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		k, err = projections.Observe(ctx, tx, platform, kind, key, at)
		return err
	})
	return k, err
}

// keyOf is the id that an entity is stored by: people know accounts by their
// handle.
func keyOf(ctx context.Context, db *pgxpool.Pool, platform social.Platform, kind social.Kind, entity string) (string, error) {
	if platform != social.Instagram || kind == social.Post {
		return entity, nil
	}
	key := entity
	err := db.QueryRow(ctx, `
SELECT profile_id FROM instagram_account WHERE profile_id = $1 OR handle = $1
ORDER BY (profile_id = $1) DESC, updated_at DESC NULLS LAST LIMIT 1`, entity).Scan(&key)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look for %q: %w", entity, err)
	}
	return key, nil
}
