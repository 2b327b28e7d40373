package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/migrations"
	"beat/projections"
	"beat/projections/shadow"
	"beat/streams/lanes"
)

type projectionsCmd struct {
	List     projectionsListCmd     `cmd:"" help:"List the tables: rows, observations, what was rebuilt when, and what is kept of before."`
	Lag      projectionsLagCmd      `cmd:"" help:"Show how far the projections are behind, by shard; exits with 1 beyond a threshold."`
	Verify   projectionsVerifyCmd   `cmd:"" help:"Compare rows with what was observed; exits with 1 when some differ."`
	Rebuild  projectionsRebuildCmd  `cmd:"" help:"Build tables anew from all that was ever observed, beside the ones in use, and exchange them."`
	Rollback projectionsRollbackCmd `cmd:"" help:"Put the tables back that the last rebuild has replaced, with all that has come since."`
	Drop     projectionsDropCmd     `cmd:"" help:"Drop the tables that rebuilds have replaced, and what a killed rebuild has left."`
}

// projectionsFlags are the servers that hold what projections are made of.
type projectionsFlags struct {
	pgFlags
	NATSURL string `help:"NATS with JetStream." env:"NATS_URL" name:"nats-url" default:"nats://127.0.0.1:4222"`
}

// open connects. Statements may take as long as they need.
func (f projectionsFlags) open(ctx context.Context, conns int32) (db *pgxpool.Pool, js jetstream.JetStream, stop func(), err error) {
	db, err = f.database(ctx, conns)
	if err != nil {
		return nil, nil, nil, err
	}
	js, end, err := openJetStream(f.NATSURL)
	if err != nil {
		db.Close()
		return nil, nil, nil, err
	}
	return db, js, func() { end(); db.Close() }, nil
}

// database is a pool without a statement timeout, of a database with our schema.
func (f pgFlags) database(ctx context.Context, conns int32) (*pgxpool.Pool, error) {
	first, err := openPG(ctx, f.PGURL, conns)
	if err != nil {
		return nil, err
	}
	cfg := first.Config()
	first.Close()
	u, err := pgURL(f.PGURL)
	if err != nil {
		return nil, err
	}
	if _, err := migrations.Up(ctx, u); err != nil {
		return nil, err
	}
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "0"
	return pgxpool.NewWithConfig(ctx, cfg)
}

// checked turns a wrong name of a table into a usage error.
func checked(tables []string) error {
	for _, name := range tables {
		if !slices.Contains(projections.RebuildTables(), name) {
			return usageError{fmt.Errorf("%q is no table of the projections, those are %s", name, strings.Join(projections.RebuildTables(), ", "))}
		}
	}
	return nil
}

type projectionsListCmd struct{ projectionsFlags }

// A projection is what --json prints of each.
type projection struct {
	Table        string     `json:"table"`
	Rows         int64      `json:"rows"` // about
	Bytes        int64      `json:"bytes"`
	Applied      uint64     `json:"applied"` // position of the furthest shard
	Pending      uint64     `json:"pending"` // messages of all shards that are yet to be applied
	Run          int64      `json:"rebuild,omitempty"`
	State        string     `json:"rebuild_state,omitempty"`
	At           *time.Time `json:"rebuilt_at,omitempty"`
	Kept         string     `json:"kept,omitempty"` // the table of before
	KeptBytes    int64      `json:"kept_bytes,omitempty"`
	ChangedSince int64      `json:"changed_since,omitempty"` // keys, about: what a rollback makes once more
}

func (c *projectionsListCmd) Run(ctx context.Context, g *globals) error {
	db, js, stop, err := c.open(ctx, 2)
	if err != nil {
		return err
	}
	defer stop()
	lags, err := lanes.Lags(ctx, db, js, "project")
	if err != nil {
		return err
	}
	runs, err := projections.RebuildRuns(ctx, db, 1000)
	if err != nil {
		return err
	}
	var all []projection
	var rows [][]any
	for _, name := range projections.RebuildTables() {
		p := projection{Table: name}
		for _, l := range lags {
			p.Applied, p.Pending = max(p.Applied, l.Applied), p.Pending+l.Pending
		}
		for _, r := range runs {
			if !slices.Contains(r.Tables, name) {
				continue
			}
			if p.Run == 0 {
				p.Run, p.State = r.ID, r.State
			}
			if p.At == nil {
				p.At = r.SwappedAt
			}
			if slices.Contains(r.Kept, name) {
				p.Kept = shadow.Table{Live: name}.Before(r.ID)
			}
		}
		// Never analyzed is -1.
		err := db.QueryRow(ctx, `
SELECT coalesce((SELECT CASE WHEN reltuples < 100000 THEN -1 ELSE reltuples END FROM pg_class WHERE oid = to_regclass($1)), 0)::int8, coalesce(pg_total_relation_size(to_regclass($1)), 0),
    coalesce(pg_total_relation_size(to_regclass(nullif($2, ''))), 0), coalesce((SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = to_regclass($3)), 0)::int8`,
			name, p.Kept, shadow.Table{Live: name}.Since()).Scan(&p.Rows, &p.Bytes, &p.KeptBytes, &p.ChangedSince)
		if err == nil && p.Rows < 0 {
			err = db.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{name}.Sanitize()).Scan(&p.Rows)
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
		all = append(all, p)
		last := "-"
		if p.Run > 0 {
			last = fmt.Sprintf("%d %s %s", p.Run, p.State, when(p.At))
		}
		rows = append(rows, []any{name, p.Rows, mib(p.Bytes), p.Applied, p.Pending, last, p.Kept, mib(p.KeptBytes)})
	}
	if g.JSON {
		return show(g.stdout, all)
	}
	grid(g.stdout, []any{"table", "rows", "MiB", "applied", "pending", "last rebuild", "kept", "MiB"}, rows)
	return nil
}

type projectionsLagCmd struct {
	projectionsFlags
	Reader string        `help:"Whose: of the projections or of the bridge." enum:"project,bridge" default:"project"`
	Max    time.Duration `help:"Exit with 1 if a shard is further behind." default:"1m"`
}

func (c *projectionsLagCmd) Run(ctx context.Context, g *globals) error {
	db, js, stop, err := c.open(ctx, 2)
	if err != nil {
		return err
	}
	defer stop()
	lags, err := lanes.Lags(ctx, db, js, c.Reader)
	if err != nil {
		return err
	}
	late := 0
	var rows [][]any
	for _, l := range lags {
		if l.Behind > c.Max.Seconds() {
			late++
		}
		rows = append(rows, []any{l.Shard, l.Last, l.Applied, l.Pending, fmt.Sprintf("%.1f", l.Behind)})
	}
	if g.JSON {
		if err := show(g.stdout, lags); err != nil {
			return err
		}
	} else {
		grid(g.stdout, []any{"shard", "last message", "applied", "pending", "seconds behind"}, rows)
	}
	if late > 0 {
		return fmt.Errorf("%d shards are more than %s behind: does beat run %s run anywhere?", late, c.Max, map[string]string{"project": "projections", "bridge": "bridge"}[c.Reader])
	}
	return nil
}

type projectionsVerifyCmd struct {
	pgFlags
	Tables []string `arg:"" optional:"" name:"table" help:"Tables; all by default."`
	Show   int      `help:"Name at most this many differences." default:"20"`
}

// A verified is what --json prints of each table.
type verified struct {
	Table   string                   `json:"table"`
	Looked  int                      `json:"looked_at"` // entities
	Differ  int                      `json:"differ"`    // values
	Columns map[string]int           `json:"columns"`
	First   []projections.Difference `json:"first"`
}

func (c *projectionsVerifyCmd) Run(ctx context.Context, g *globals) error {
	if err := checked(c.Tables); err != nil {
		return err
	}
	db, err := c.database(ctx, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	tables := c.Tables
	if len(tables) == 0 {
		tables = projections.RebuildTables()
	}
	line := newProgress(g.stderr, 0)
	var all []verified
	var rows [][]any
	differ := 0
	for _, name := range tables {
		v := verified{Table: name, Columns: map[string]int{}, First: []projections.Difference{}}
		err := projections.VerifyTable(ctx, db, name, func(looked int, found []projections.Difference) error {
			v.Looked += looked
			v.Differ += len(found)
			for _, d := range found {
				v.Columns[d.Column]++
			}
			if room := c.Show - len(v.First); room > 0 {
				v.First = append(v.First, found[:min(room, len(found))]...)
			}
			if line.due() {
				line.say(fmt.Sprintf("%s: %d rows, %d values differ", name, v.Looked, v.Differ))
			}
			return nil
		})
		line.end()
		if err != nil {
			return err
		}
		differ += v.Differ
		all = append(all, v)
		var columns []string
		for _, column := range sortedByCount(v.Columns) {
			columns = append(columns, fmt.Sprintf("%s %d", column, v.Columns[column]))
		}
		rows = append(rows, []any{name, v.Looked, v.Differ, strings.Join(columns, ", ")})
	}
	if g.JSON {
		if err := show(g.stdout, all); err != nil {
			return err
		}
	} else {
		grid(g.stdout, []any{"table", "rows", "values that differ", "by column"}, rows)
		for _, v := range all {
			for _, d := range v.First {
				fmt.Fprintf(g.stdout, "%s %s: %s\n", d.Table, d.Key, d.Column)
			}
		}
	}
	if differ > 0 {
		return fmt.Errorf("%d values are not what was observed: beat state ENTITY shows it, beat projections rebuild repairs it", differ)
	}
	return nil
}

type projectionsRebuildCmd struct {
	projectionsFlags
	Tables  []string `arg:"" optional:"" name:"table" help:"Tables; all by default."`
	DryRun  bool     `help:"Build and compare, and leave nothing behind." name:"dry-run"`
	Force   bool     `help:"Exchange the tables even if rows vanish."`
	Workers int      `help:"Parts of a table that are folded at once." default:"2"`
}

func (c *projectionsRebuildCmd) Help() string {
	return `The tables stay in use. They are folded from the stored observations, to which first
is added what they lack of EVENTS; columns that others write, and values whose
observation is stored no more, are taken from the table as it is. When both have drawn
level they are compared, and exchanged in one transaction, for which writers wait a
moment. Table TABLE_before_N is kept for beat projections rollback, until the next
rebuild of it, or beat projections drop. Killed at any point, run it again.`
}

func (c *projectionsRebuildCmd) Run(ctx context.Context, g *globals) error {
	if err := checked(c.Tables); err != nil {
		return err
	}
	if c.Workers < 1 || c.Workers > 64 {
		return usageError{fmt.Errorf("--workers %d: want 1 to 64", c.Workers)}
	}
	return c.rebuild(ctx, g, projections.RebuildConfig{Tables: c.Tables, DryRun: c.DryRun, Force: c.Force, Workers: c.Workers}, (*projections.Rebuilder).Run)
}

type projectionsRollbackCmd struct{ projectionsFlags }

func (c *projectionsRollbackCmd) Run(ctx context.Context, g *globals) error {
	return c.rebuild(ctx, g, projections.RebuildConfig{}, (*projections.Rebuilder).Back)
}

func (f projectionsFlags) rebuild(ctx context.Context, g *globals, cfg projections.RebuildConfig, do func(*projections.Rebuilder, context.Context) (*projections.Rebuilt, error)) error {
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	db, js, stop, err := f.open(ctx, int32(cfg.Workers)+5)
	if err != nil {
		return err
	}
	defer stop()
	line := newProgress(g.stderr, 0)
	cfg.Say = line.steps()
	out, err := do(projections.NewRebuilder(lg, db, js, cfg), ctx)
	line.end()
	if out != nil {
		if g.JSON {
			err = errors.Join(err, show(g.stdout, out))
		} else {
			printRebuilt(g.stdout, out, cfg.DryRun)
		}
	}
	if ctx.Err() != nil && (out == nil || out.State != "swapped") {
		return errors.New("broken off: the tables are as they were")
	}
	return err
}

// steps shows the steps of a rebuild, each once at least.
func (p *progress) steps() func(projections.RebuildStep) {
	var mu sync.Mutex
	var before string
	return func(s projections.RebuildStep) {
		mu.Lock()
		defer mu.Unlock()
		text := strings.TrimSpace(s.Step + " " + s.Table)
		changed := text != before
		if !changed && !p.due() {
			return
		}
		before = text
		if s.Done > 0 {
			text += fmt.Sprintf(": %d", s.Done)
		}
		if s.Of > 0 {
			text += fmt.Sprintf(" of about %d", s.Of)
		}
		p.say(text)
	}
}

func printRebuilt(out io.Writer, r *projections.Rebuilt, dry bool) {
	fmt.Fprintf(out, "run %d: %s after %.1f s; %d observations of EVENTS looked at, %d were missing\n", r.Run, r.State, r.Seconds, r.Observations.Looked, r.Observations.Missing)
	var rows, values [][]any
	for _, t := range r.Tables {
		rows = append(rows, []any{t.Table, t.Rows, t.Changing, t.Appearing, t.Vanishing, strings.Join(t.Examples, " "), t.Before})
		for _, c := range t.Columns {
			for i, s := range c.Samples {
				head := []any{"", "", ""}
				if i == 0 {
					head = []any{t.Table, c.Column, c.Rows}
				}
				values = append(values, append(head, s.Key, clip(orNothing(s.Is), 40), clip(orNothing(s.Observed), 40)))
			}
		}
	}
	grid(out, []any{"table", "rows", "changed", "appear", "vanish", "for example", "kept as"}, rows)
	if len(values) > 0 {
		grid(out, []any{"table", "column", "rows", "for example", "was", "is observed"}, values)
	}
	switch {
	case r.State == "swapped":
		fmt.Fprintf(out, "writers stood still for at most %.0f ms; beat projections rollback goes back, beat projections drop frees the room\n", r.StandstillMS)
	case dry && r.State == "tried":
		fmt.Fprintln(out, "nothing was exchanged: this was a dry run")
	}
}

func orNothing(s *string) string {
	if s == nil {
		return "nothing"
	}
	return *s
}

type projectionsDropCmd struct{ pgFlags }

func (c *projectionsDropCmd) Run(ctx context.Context, g *globals) error {
	db, err := c.database(ctx, 3)
	if err != nil {
		return err
	}
	defer db.Close()
	dropped, err := projections.DropKept(ctx, db)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, map[string][]string{"dropped": append([]string{}, dropped...)})
	}
	for _, name := range dropped {
		fmt.Fprintln(g.stdout, "dropped", name)
	}
	fmt.Fprintf(g.stdout, "%d tables were kept; nothing of a rebuild is left\n", len(dropped))
	return nil
}
