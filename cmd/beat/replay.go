package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"beat/processors/quarantine"
	"beat/providers"
	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/event"
	"beat/streams/lanes"
	"beat/streams/replay"
	"beat/streams/snapshot"
	"beat/streams/social"
)

type replayCmd struct {
	Run    replayRunCmd    `cmd:"" default:"withargs" help:"Parse stored answers again with the parsers of now. Without --apply nothing is written: it shows what would change."`
	List   replayListCmd   `cmd:"" help:"List the replays that were applied, or are being applied."`
	Show   replayShowCmd   `cmd:"" help:"Show one replay with what it has changed."`
	Pause  replayPauseCmd  `cmd:"" help:"Stop a replay where it is."`
	Resume replayResumeCmd `cmd:"" help:"Go on with a replay that was paused, broken off or has failed."`
	Cancel replayCancelCmd `cmd:"" help:"End a replay. What it has changed stays."`
}

type replayRunCmd struct {
	deps
	answerFlags
	From        string  `help:"Read the answers of a file that beat snapshot save made, instead of those that are stored." type:"existingfile" placeholder:"FILE"`
	ReadBy      int     `help:"Only answers that this version of the parser has read last." name:"parser-version" placeholder:"N"`
	Fingerprint string  `help:"Only answers that became dead letters with this fingerprint, see beat dead list."`
	First       int     `help:"Stop after this many answers." placeholder:"N"`
	Rate        float64 `help:"At most this many answers per second."`
	Full        bool    `help:"Compare what comes after parsing too, such as owners and keywords; slower."`
	DryRun      bool    `help:"Write nothing, show what would change; the default." name:"dry-run" xor:"mode"`
	Apply       bool    `help:"Change what differs." xor:"mode"`
	Publish     bool    `help:"Tell RabbitMQ of what changed; with --apply."`
}

// answerFlags select raw answers.
type answerFlags struct {
	Source   string `help:"Only answers of this source."`
	Fetch    string `help:"Only answers to this fetch type, such as fetch_profile_by_handle."`
	Platform string `help:"Only answers about this platform."`
	Since    string `help:"Only answers younger than this, such as 48h, or from a time on." placeholder:"AGE|TIME"`
	Until    string `help:"Only answers older than this, or before a time." placeholder:"AGE|TIME"`
	Entity   string `help:"Only answers about this handle, profile id, shortcode or channel."`
	Task     int64  `help:"Only answers of this task."`
	Raw      string `help:"Only this raw answer."`
}

func (c answerFlags) filter() (f replay.Filter, err error) {
	now := time.Now().UTC()
	f = replay.Filter{Source: c.Source, Fetch: social.Fetch(c.Fetch), Platform: social.Platform(strings.ToUpper(c.Platform)), Entity: c.Entity, Task: c.Task}
	if f.Since, err = moment("since", c.Since, now); err != nil {
		return f, err
	}
	if f.Until, err = moment("until", c.Until, now); err != nil {
		return f, err
	}
	if c.Raw != "" {
		f.Raws = []string{c.Raw}
	}
	return f, nil
}

// open is an app for a replay of what the flags select.
func (c answerFlags) open(ctx context.Context, g *globals, cfg deps) (*app, error) {
	a, err := replaying(ctx, g, cfg)
	if err != nil {
		return nil, err
	}
	if c.Source != "" && a.set[c.Source] == nil {
		a.Close()
		return nil, usageError{fmt.Errorf("--source %q: unknown, the sources are %s", c.Source, strings.Join(sourcesOf(a), ", "))}
	}
	return a, nil
}

func (c *replayRunCmd) Run(ctx context.Context, g *globals) error {
	if c.Publish && !c.Apply {
		return usageError{errors.New("--publish needs --apply")}
	}
	if c.First > 0 && c.Apply {
		return usageError{errors.New("--first is for dry runs: an applied replay is limited by its filter")}
	}
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Parser = c.ReadBy
	if c.From != "" {
		if f.From, err = filepath.Abs(c.From); err != nil {
			return err
		}
	}
	a, err := c.open(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	if c.Fingerprint != "" {
		if f.Raws, err = rawsOf(ctx, a, c.Fingerprint); err != nil {
			return err
		}
	}
	total, err := a.answers(ctx, 0)
	if err != nil {
		return err
	}
	if f.From != "" {
		var used bool // RAW alone may be empty: what is archived is purged
		if err := a.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM scrape_request_log)`).Scan(&used); err != nil {
			return fmt.Errorf("look for tasks: %w", err)
		}
		if c.Apply && (used || total > 0) {
			return usageError{errors.New("--from with --apply is for a system that has no answers and no tasks of its own: whose they are is masked, and would stand beside what is real")}
		}
		if total, err = snapshot.Count(f.From); err != nil {
			return err
		}
	}
	r := a.replayer()
	if !c.Apply {
		line := newProgress(g.stderr, total)
		report, err := r.Do(ctx, replay.Run{Filter: f, Rate: c.Rate, Limit: c.First, Full: c.Full,
			Done: func(_ context.Context, _ archive.Position, r *replay.Report) error {
				line.show(int64(r.Answers), int64(r.Changed))
				return nil
			}})
		line.end()
		if err != nil {
			return err
		}
		report.Sort()
		if g.JSON {
			return show(g.stdout, report)
		}
		printReport(g.stdout, report)
		fmt.Fprintln(g.stdout, "\nnothing was written; --apply does")
		return nil
	}
	j, err := replay.Create(ctx, a.db, replay.Job{Filter: f, Publish: c.Publish, Full: c.Full, Rate: c.Rate, Total: total})
	if err != nil {
		return fmt.Errorf("store the replay: %w", err)
	}
	return a.apply(ctx, g, r, j)
}

func sourcesOf(a *app) []string {
	var out []string
	for s := range a.set {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// rawsOf are the answers of dead letters that failed alike.
func rawsOf(ctx context.Context, a *app, fingerprint string) ([]string, error) {
	box, err := dead.Open(ctx, a.js)
	if err != nil {
		return nil, err
	}
	letters, err := box.List(ctx, dead.Filter{Fingerprint: fingerprint})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range letters {
		if l.RawID != "" {
			out = append(out, l.RawID)
		}
	}
	if len(out) == 0 {
		return nil, usageError{fmt.Errorf("--fingerprint %q: no dead letter of an answer has it, see beat dead list", fingerprint)}
	}
	return out, nil
}

// replaying is an app for a replay: connected, no role runs.
func replaying(ctx context.Context, g *globals, cfg deps) (*app, error) {
	if g.LogLevel == "info" {
		g.LogLevel = "warn"
	}
	lg, err := g.logger()
	if err != nil {
		return nil, usageError{err}
	}
	cfg.RMQURL = "" // it is told from the stream
	return newApp(ctx, lg, cfg, nil)
}

// history is that of the file that a replay is of, or what is stored.
func (a *app) history(ctx context.Context, f replay.Filter, after archive.Position) iter.Seq2[replay.Answer, error] {
	if f.From != "" {
		return snapshot.History(f.From)(ctx, f, after)
	}
	return replay.Stored(a.archive)(ctx, f, after)
}

// replayer replays what is stored with the parsers of now.
func (a *app) replayer() *replay.Replayer { return a.replayerOf(a.set) }

func (a *app) replayerOf(set providers.Set) *replay.Replayer {
	behind := a.behind()
	return replay.New(a.lg, a.db, replay.Config{
		Providers: set, History: a.history, Held: quarantine.Kept(a.db),
		Commit: func(ctx context.Context, commits []event.Commit) error {
			outs := make([]bus.Out, 0, len(commits))
			for _, c := range commits {
				data, err := c.Marshal()
				if err != nil {
					return err
				}
				outs = append(outs, bus.Out{Subject: c.Subject(), ID: c.MsgID(), Data: data})
			}
			return a.pub.Send(ctx, outs...)
		},
		Busy: behind,
	})
}

// Normal traffic goes first: a replay waits while more than this waits for the
// stages, or for the projections, which the replay's own commits do too.
const (
	busyStages = 200
	busyEvents = 1000
)

// behind reports whether normal traffic waits.
func (a *app) behind() func(context.Context) (bool, error) {
	backlog := a.backlog()
	return func(ctx context.Context) (bool, error) {
		n, err := backlog(ctx)
		if err != nil || n > busyStages {
			return n > busyStages, err
		}
		behind, err := lanes.Behind(ctx, a.db, a.js, "project")
		return behind > busyEvents, err
	}
}

// answers is about how many answers are stored after a sequence.
func (a *app) answers(ctx context.Context, from uint64) (int64, error) {
	s, err := a.js.Stream(ctx, bus.Raw)
	if err != nil {
		return 0, fmt.Errorf("nats at %s: %w", bare(a.cfg.NATSURL), err)
	}
	st := s.CachedInfo().State
	if from >= st.LastSeq {
		return 0, nil
	}
	return int64(min(st.Msgs, st.LastSeq-from)), nil
}

// apply runs a job to its end and shows how it goes.
func (a *app) apply(ctx context.Context, g *globals, r *replay.Replayer, j replay.Job) error {
	fmt.Fprintf(g.stderr, "replay %d; beat replay pause %d, resume %d and cancel %d work from anywhere\n", j.ID, j.ID, j.ID, j.ID)
	line := newProgress(g.stderr, j.Total)
	j, err := r.Apply(ctx, j, func(j replay.Job) { line.show(j.Answers, j.Changed) })
	line.end()
	switch {
	case errors.Is(err, replay.ErrPaused), errors.Is(err, replay.ErrCancelled):
		fmt.Fprintf(g.stderr, "replay %d: %v after %d answers\n", j.ID, err, j.Answers)
		err = nil
	case ctx.Err() != nil:
		return fmt.Errorf("replay %d was broken off after %d answers: beat replay resume %d goes on", j.ID, j.Answers, j.ID)
	case err != nil:
		return fmt.Errorf("replay %d: %w", j.ID, err)
	}
	if j.Report == nil {
		j.Report = replay.NewReport()
	}
	j.Report.Sort()
	if g.JSON {
		return show(g.stdout, j)
	}
	printReport(g.stdout, j.Report)
	return err
}

// A progress tells people how far long work is: on a terminal one line that
// moves, elsewhere a line now and then.
type progress struct {
	out   io.Writer
	live  bool
	total int64
	began time.Time
	last  time.Time
}

func newProgress(out io.Writer, total int64) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, live: ok && term.IsTerminal(int(f.Fd())), total: total, began: time.Now()}
}

// due reports whether it is time to show something again.
func (p *progress) due() bool {
	every := 5 * time.Second
	if p.live {
		every = 200 * time.Millisecond
	}
	if time.Since(p.last) < every {
		return false
	}
	p.last = time.Now()
	return true
}

func (p *progress) show(answers, changed int64) {
	if !p.due() {
		return
	}
	rate := float64(answers) / time.Since(p.began).Seconds()
	left := "?"
	if rate > 0 {
		left = (time.Duration(float64(max(p.total-answers, 0))/rate) * time.Second).String()
	}
	p.say(fmt.Sprintf("%d of at most %d answers, %d changed, %.0f/s, at most %s to go", answers, p.total, changed, rate, left))
}

// count shows how many answers there are of those that may be.
func (p *progress) count(answers int64) {
	if p.due() {
		p.say(fmt.Sprintf("%d of at most %d answers", answers, p.total))
	}
}

func (p *progress) say(text string) {
	if p.live {
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

func (p *progress) end() {
	if p.live {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func printReport(out io.Writer, r *replay.Report) {
	fmt.Fprintf(out, "%d answers: %d read as before, %d differ, %d cannot be read now\n", r.Answers, r.Unchanged, r.Changed, r.Unreadable)
	fmt.Fprintf(out, "observations: %d another, %d new, %d gone\n", r.Another, r.New, r.Gone)
	for _, counts := range []map[string]int{r.Skipped, r.Causes} {
		for _, why := range sortedByCount(counts) {
			fmt.Fprintf(out, "  %d × %s\n", counts[why], why)
		}
	}
	if len(r.Fields) == 0 {
		return
	}
	var rows [][]any
	for _, f := range r.Fields {
		rows = append(rows, []any{f.Kind, f.Name, f.Changed, f.Added, f.Removed, "", "", ""})
		for _, s := range f.Samples {
			rows = append(rows, []any{"", "", "", "", "", s.Entity, clipText(string(s.Old)), clipText(string(s.New))})
		}
	}
	fmt.Fprintln(out)
	grid(out, []any{"kind", "field", "changed", "added", "removed", "for example", "is", "would be"}, rows)
}

func sortedByCount(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b string) int {
		if m[a] != m[b] {
			return m[b] - m[a]
		}
		return strings.Compare(a, b)
	})
	return out
}

func clipText(s string) string {
	if r := []rune(s); len(r) > 48 {
		return string(r[:47]) + "…"
	}
	return s
}

type replayListCmd struct{ pgFlags }

func (c *replayListCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	jobs, err := replay.Jobs(ctx, db)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, jobs)
	}
	var rows [][]any
	for _, j := range jobs {
		rows = append(rows, []any{j.ID, j.State, j.Answers, j.Total, j.Changed, j.Publish, j.CreatedAt.Format(time.DateTime), j.Error})
	}
	grid(g.stdout, []any{"replay", "state", "answers", "of at most", "changed", "publish", "created", "error"}, rows)
	return nil
}

type replayShowCmd struct {
	pgFlags
	ID int64 `arg:"" help:"Number of the replay."`
}

func (c *replayShowCmd) Run(ctx context.Context, g *globals) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	j, err := replay.Get(ctx, db, c.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, j)
	}
	fmt.Fprintf(g.stdout, "replay %d  %s  %d of at most %d answers, %d changed\n", j.ID, j.State, j.Answers, j.Total, j.Changed)
	if j.Report != nil {
		j.Report.Sort()
		printReport(g.stdout, j.Report)
	}
	return nil
}

type replayPauseCmd struct{ replayOrder }

func (c *replayPauseCmd) Run(ctx context.Context, g *globals) error {
	return c.order(ctx, g, replay.Paused)
}

type replayCancelCmd struct{ replayOrder }

func (c *replayCancelCmd) Run(ctx context.Context, g *globals) error {
	return c.order(ctx, g, replay.Cancelled)
}

type replayOrder struct {
	pgFlags
	ID int64 `arg:"" help:"Number of the replay."`
}

func (c *replayOrder) order(ctx context.Context, g *globals, state string) error {
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	j, err := replay.Order(ctx, db, c.ID, state)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, j)
	}
	fmt.Fprintf(g.stdout, "replay %d is %s\n", j.ID, j.State)
	return nil
}

type replayResumeCmd struct {
	deps
	ID int64 `arg:"" help:"Number of the replay."`
}

func (c *replayResumeCmd) Run(ctx context.Context, g *globals) error {
	a, err := replaying(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	j, err := replay.Order(ctx, a.db, c.ID, replay.Running)
	if err != nil {
		return err
	}
	return a.apply(ctx, g, a.replayer(), j)
}
