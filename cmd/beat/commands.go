package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"

	"beat/migrations"
	"beat/providers/sandbox"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

func unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// show prints v as JSON.
func show(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// grid prints rows as a table.
func grid(w io.Writer, head []any, rows [][]any) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options.DrawBorder = false
	style.Options.SeparateColumns = false
	t.SetStyle(style)
	t.AppendHeader(head)
	for _, r := range rows {
		t.AppendRow(r)
	}
	t.Render()
}

type runCmd struct {
	Roles []string `arg:"" optional:"" help:"scheduler, retrieval, parsing, processing, projections, bridge, archive, listeners, gateway."`
	deps
}

func (c *runCmd) Run(ctx context.Context, g *globals) error {
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	names := c.Roles
	if len(names) == 0 {
		names = roles
	}
	for _, n := range names {
		if !slices.Contains(roles, n) {
			return usageError{fmt.Errorf("unknown role %q: roles are %s", n, strings.Join(roles, ", "))}
		}
	}
	for _, role := range []string{"bridge", "listeners"} {
		if slices.Contains(c.Roles, role) && c.RMQURL == "" {
			return usageError{fmt.Errorf("role %s needs RabbitMQ: set RMQ_URL or --rmq-url", role)}
		}
	}
	if slices.Contains(c.Roles, "archive") && c.S3Bucket == "" {
		return usageError{errors.New("role archive needs S3: set S3_BUCKET or --s3-bucket")}
	}
	a, err := newApp(ctx, lg, c.deps, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	lg.Info("running", "roles", strings.Join(names, " "), "version", version)
	err = a.Run(ctx, names)
	lg.Info("stopped")
	return err
}

type enqueueCmd struct {
	pgFlags
	Flow     string        `arg:"" help:"Name of the flow; beat flows list shows them."`
	Params   []string      `arg:"" optional:"" help:"key=value; a value that is a JSON list or object is taken as such, a list may also be a,b,c."`
	Priority int           `help:"Larger runs first." default:"1"`
	Key      string        `help:"Idempotency key: a second task with it is not stored."`
	Wait     bool          `help:"Follow the task to its end; exit code 1 when it failed."`
	Timeout  time.Duration `help:"How long to wait." default:"5m"`
}

// params reads key=value arguments in the types of the flow's table.
func params(f flow.Flow, args []string) (json.RawMessage, error) {
	out := map[string]any{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%q is not key=value", a)
		}
		i := slices.IndexFunc(f.Params, func(p flow.Param) bool { return p.Name == k })
		switch {
		case v == "null":
			out[k] = nil
		case i >= 0 && f.Params[i].Type == flow.Texts && !strings.HasPrefix(v, "["):
			out[k] = strings.Split(v, ",")
		case i >= 0 && f.Params[i].Type == flow.Text:
			out[k] = v
		case json.Valid([]byte(v)):
			out[k] = json.RawMessage(v)
		default:
			out[k] = v
		}
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	_, err = f.Decode(raw)
	return raw, err
}

func (c *enqueueCmd) Run(ctx context.Context, g *globals) error {
	f, ok := flow.ByName(c.Flow)
	if !ok {
		return usageError{fmt.Errorf("unknown flow %q: flows are %s", c.Flow, strings.Join(flow.Names(), ", "))}
	}
	raw, err := params(f, c.Params)
	if err != nil {
		return usageError{err}
	}
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	r := schedule.Request{Flow: f.Name, Platform: f.Platform, Params: raw, Priority: c.Priority}
	if c.Key != "" {
		r.IdempotencyKey = &c.Key
	}
	e, err := schedule.NewQueue(db, 0).Enqueue(ctx, r)
	if err != nil {
		return err
	}
	if !c.Wait {
		if g.JSON {
			return show(g.stdout, e)
		}
		fmt.Fprintln(g.stdout, e.ID)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for status := ""; ; {
		t, err := readTask(ctx, db, e.ID)
		if err != nil {
			return fmt.Errorf("task %d is stored, but following it stopped: %w", e.ID, err)
		}
		if t.Status != status && !g.JSON {
			fmt.Fprintf(g.stdout, "%d %s\n", t.ID, t.Status)
		}
		status = t.Status
		if status == social.Complete || status == social.Failed {
			if g.JSON {
				if err := show(g.stdout, t); err != nil {
					return err
				}
			}
			if status == social.Failed {
				return fmt.Errorf("task %d failed: %s", t.ID, deref(t.Data))
			}
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type taskRow struct {
	ID         int64           `json:"id" db:"id"`
	Flow       string          `json:"flow" db:"flow"`
	Platform   string          `json:"platform" db:"platform"`
	Status     string          `json:"status" db:"status"`
	Priority   *int            `json:"priority" db:"priority"`
	Params     json.RawMessage `json:"params" db:"params"`
	Data       *string         `json:"data" db:"data"`
	CreatedAt  *time.Time      `json:"created_at" db:"created_at"`
	PickedAt   *time.Time      `json:"picked_at" db:"picked_at"`
	ScrapedAt  *time.Time      `json:"scraped_at" db:"scraped_at"`
	RetryCount *int            `json:"retry_count" db:"retry_count"`
}

const taskColumns = `id, coalesce(flow, '') AS flow, coalesce(platform, '') AS platform, coalesce(status, '') AS status, priority,
	coalesce(params, 'null') AS params, data, created_at, picked_at, scraped_at, retry_count`

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readTask(ctx context.Context, db querier, id int64) (taskRow, error) {
	rows, err := db.Query(ctx, `SELECT `+taskColumns+` FROM scrape_request_log WHERE id = $1`, id)
	if err != nil {
		return taskRow{}, err
	}
	t, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[taskRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return t, fmt.Errorf("there is no task %d", id)
	}
	return t, err
}

type tasksCmd struct {
	List   tasksListCmd   `cmd:"" help:"List tasks, the newest first."`
	Show   tasksShowCmd   `cmd:"" help:"Show one task."`
	Why    tasksWhyCmd    `cmd:"" help:"Say why a task is not running, and when it is expected to."`
	Retry  tasksRetryCmd  `cmd:"" help:"Run tasks again from their beginning, also running ones."`
	Cancel tasksCancelCmd `cmd:"" help:"End waiting or running tasks as FAILED."`
}

type tasksListCmd struct {
	pgFlags
	Status string `help:"Only this status: PENDING, PROCESSING, COMPLETE, FAILED."`
	Flow   string `help:"Only this flow."`
	Limit  int    `help:"At most this many." default:"20"`
}

func (c *tasksListCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query(ctx, `SELECT `+taskColumns+` FROM scrape_request_log
WHERE ($1 = '' OR status = $1) AND ($2 = '' OR flow = $2) ORDER BY id DESC LIMIT $3`, strings.ToUpper(c.Status), c.Flow, c.Limit)
	if err != nil {
		return err
	}
	ts, err := pgx.CollectRows(rows, pgx.RowToStructByName[taskRow])
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, ts)
	}
	var out [][]any
	for _, t := range ts {
		out = append(out, []any{t.ID, t.Flow, t.Status, clip(string(t.Params), 48), clip(deref(t.Data), 48), when(t.CreatedAt)})
	}
	grid(g.stdout, []any{"id", "flow", "status", "params", "data", "created"}, out)
	return nil
}

func clip(s string, n int) string {
	r := []rune(s)
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format("2006-01-02 15:04:05")
}

type tasksShowCmd struct {
	pgFlags
	ID int64 `arg:"" help:"Number of the task."`
}

func (c *tasksShowCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	t, err := readTask(ctx, db, c.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, t)
	}
	grid(g.stdout, []any{"task", t.ID}, [][]any{
		{"flow", t.Flow}, {"platform", t.Platform}, {"status", t.Status}, {"params", string(t.Params)}, {"data", deref(t.Data)},
		{"created", when(t.CreatedAt)}, {"picked", when(t.PickedAt)}, {"ended", when(t.ScrapedAt)},
	})
	return nil
}

type flowsCmd struct {
	List flowsListCmd `cmd:"" help:"List the flows, their parameters and limits."`
}

type flowsListCmd struct{}

func (c *flowsListCmd) Run(g *globals) error {
	type row struct {
		Name     string   `json:"name"`
		Platform string   `json:"platform"`
		Params   []string `json:"params"`
		Steps    []string `json:"steps"`
		InFlight int      `json:"in_flight"`
	}
	var all []row
	var out [][]any
	for _, f := range flow.All {
		r := row{Name: f.Name, Platform: string(f.Platform), InFlight: f.InFlight()}
		for _, p := range f.Params {
			r.Params = append(r.Params, p.Name)
		}
		for _, s := range f.Steps {
			r.Steps = append(r.Steps, s.Name)
		}
		all = append(all, r)
		out = append(out, []any{r.Name, r.Platform, strings.Join(r.Params, ", "), strings.Join(r.Steps, " → "), r.InFlight})
	}
	if g.JSON {
		return show(g.stdout, all)
	}
	grid(g.stdout, []any{"flow", "platform", "params", "steps", "in flight"}, out)
	return nil
}

type migrateCmd struct{ pgFlags }

func (c *migrateCmd) Run(ctx context.Context, g *globals) error {
	u, err := pgURL(c.PGURL)
	if err != nil {
		return err
	}
	db, err := openPG(ctx, c.PGURL, 1)
	if err != nil {
		return err
	}
	db.Close()
	r, err := migrations.Up(ctx, u)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, r)
	}
	for _, f := range r.Applied {
		fmt.Fprintln(g.stdout, "applied", f)
	}
	fmt.Fprintln(g.stdout, "schema is at version", r.Version)
	return nil
}

type versionCmd struct{}

func (c *versionCmd) Run(g *globals) error {
	if g.JSON {
		return show(g.stdout, map[string]any{"version": version, "go": runtime.Version(), "schema": migrations.Latest()})
	}
	fmt.Fprintln(g.stdout, "beat", version, runtime.Version())
	return nil
}

type sandboxCmd struct {
	Listen   string `help:"Address to serve at." default:"127.0.0.1:8900"`
	Fixtures string `help:"Folder of real answers to serve for the entities they are about." type:"path"`
}

func (c *sandboxCmd) Run(ctx context.Context, g *globals) error {
	s, err := sandbox.Listen(c.Listen, sandbox.Config{Fixtures: c.Fixtures})
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	defer s.Close() //nolint:errcheck // ends with the process
	if g.JSON {
		if err := show(g.stdout, map[string]string{"url": s.URL}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(g.stdout, "sandbox at %s, faults at %s/_sandbox/faults, Ctrl-C stops it\n", s.URL, s.URL)
	}
	<-ctx.Done()
	return nil
}
