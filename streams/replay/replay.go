// Package replay parses the past again: answers that are stored, with the
// parsers of now.
//
// Nothing but what a parser says is repeated. No provider is called, no chain is
// continued, no task changes. What comes out differently is committed to EVENTS
// as changes of observations (event.Replay), which the projections fold again
// together with all that was observed before and after. RabbitMQ is told only
// where the job says so.
//
// An answer is compared with its observations by digest: one whose parser makes
// the same of it is passed over without being derived. So a replay that was
// broken off, or is done twice, changes nothing the second time.
package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"beat/processors"
	"beat/processors/processing"
	"beat/providers"
	"beat/streams/archive"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/social"
)

// An Answer is a stored answer of a provider.
type Answer struct {
	At      archive.Position
	Raw     social.Raw
	Ask     social.Ask
	Verdict string // processors.OK, or why it was not to be parsed
	Body    []byte
}

// A Filter selects answers. What is empty selects all.
type Filter struct {
	Platform social.Platform `json:"platform,omitempty"`
	Source   string          `json:"source,omitempty"`
	Fetch    social.Fetch    `json:"fetch,omitempty"`
	Since    time.Time       `json:"since,omitzero"`   // observed at this time or later
	Until    time.Time       `json:"until,omitzero"`   // observed before
	Parser   int             `json:"parser,omitempty"` // version that has read it last
	Entity   string          `json:"entity,omitempty"` // what was asked for: a handle, profile id, shortcode …
	Task     int64           `json:"task,omitempty"`
	Raws     []string        `json:"raws,omitempty"` // ids of raw answers
}

// Match reports whether f selects the answer, but for Parser.
func (f Filter) Match(a *Answer) bool {
	switch {
	case f.Platform != "" && a.Ask.Task.Platform != f.Platform,
		f.Source != "" && a.Raw.Source != f.Source,
		f.Fetch != "" && a.Ask.Fetch != f.Fetch,
		!f.Since.IsZero() && a.Raw.At.Before(f.Since),
		!f.Until.IsZero() && !a.Raw.At.Before(f.Until),
		f.Task != 0 && a.Ask.Task.ID != f.Task,
		len(f.Raws) > 0 && !slices.Contains(f.Raws, a.Raw.ID):
		return false
	}
	return f.Entity == "" || slices.Contains(a.Ask.Keys, f.Entity) || a.Ask.State.ProfileID == f.Entity || a.Ask.State.Handle == f.Entity
}

// A History yields the answers that f selects, those after a position, in order.
// It may yield more than f selects. An error ends it.
type History func(ctx context.Context, f Filter, after archive.Position) iter.Seq2[Answer, error]

// chunk is how many answers are parsed, compared and committed together.
const chunk = 256

// Config of a Replayer.
type Config struct {
	Providers providers.Set
	History   History
	// Commit stores commits, all or an error; nil makes every run a dry one.
	Commit func(ctx context.Context, commits []event.Commit) error
	// Busy reports that normal traffic needs the machine; a run that applies
	// waits then. May be nil.
	Busy func(ctx context.Context) (bool, error)
	// Held reports which events, by id, a person has yet to decide on or has
	// turned down: they are not brought back. May be nil.
	Held func(ctx context.Context, ids []string) (map[string]bool, error)
}

// A Replayer runs replays.
type Replayer struct {
	lg  *slog.Logger
	db  *pgxpool.Pool
	cfg Config
}

// New returns a Replayer. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, cfg Config) *Replayer { return &Replayer{lg, db, cfg} }

// A Run is what is to be done.
type Run struct {
	Filter Filter
	After  archive.Position // what is done with
	Job    int64            // 0: a dry run, nothing is written
	Rate   float64          // answers per second at most, 0 unlimited
	Limit  int              // answers, 0 all
	Full   bool             // also derive and compare what the parser reads as before
	// Publish tells RabbitMQ of what changed.
	Publish bool
	// Done is told after each chunk, whose answers up to at are done with. Its
	// error ends the run. May be nil.
	Done func(ctx context.Context, at archive.Position, r *Report) error
}

// Do replays. The report is that of the answers so far, also with an error.
func (r *Replayer) Do(ctx context.Context, run Run) (*Report, error) {
	report := NewReport()
	chunks, ahead := make(chan []Answer, 1), make(chan error, 1)
	history, stop := context.WithCancel(ctx)
	go func() {
		defer close(chunks)
		ahead <- r.ahead(history, run, chunks)
	}()
	defer func() {
		stop()
		for range chunks { // until it has ended
		}
	}()
	began := time.Now()
	for answers := range chunks {
		for len(answers) > 0 {
			part := answers
			if run.Limit > 0 {
				part = answers[:min(run.Limit-report.Answers, len(answers))]
			}
			if len(part) == 0 {
				return report, nil
			}
			answers = answers[len(part):]
			if err := r.do(ctx, run, part, report); err != nil {
				return report, err
			}
			if run.Done != nil {
				if err := run.Done(ctx, part[len(part)-1].At, report); err != nil {
					return report, err
				}
			}
			if run.Rate > 0 {
				due := began.Add(time.Duration(float64(report.Answers) / run.Rate * float64(time.Second)))
				if err := sleep(ctx, time.Until(due)); err != nil {
					return report, err
				}
			}
		}
	}
	return report, <-ahead
}

// ahead reads the history, one chunk ahead of who works on them.
func (r *Replayer) ahead(ctx context.Context, run Run, chunks chan<- []Answer) error {
	var answers []Answer
	hand := func() error {
		if len(answers) == 0 {
			return ctx.Err()
		}
		select {
		case chunks <- answers:
			answers = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for a, err := range r.cfg.History(ctx, run.Filter, run.After) {
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		if !run.Filter.Match(&a) {
			continue
		}
		if answers = append(answers, a); len(answers) == chunk {
			if err := hand(); err != nil {
				return err
			}
		}
	}
	return hand()
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// yield waits while normal traffic needs the machine.
func (r *Replayer) yield(ctx context.Context) error {
	for r.cfg.Busy != nil {
		busy, err := r.cfg.Busy(ctx)
		if err != nil {
			return err
		}
		if !busy {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// A reading is an answer as the parser of now reads it.
type reading struct {
	Answer
	batch  social.Batch
	digest int64 // social.DigestLogs of batch.Logs
	skip   string
	err    error // it cannot be read
}

func (r *Replayer) do(ctx context.Context, run Run, answers []Answer, report *Report) error {
	readings := make([]reading, len(answers))
	g := errgroup.Group{}
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	// What is stored of them is looked up meanwhile.
	var before map[string]observations
	g.Go(func() (err error) {
		before, err = r.observations(ctx, answers)
		return err
	})
	const piece = 16
	for from := 0; from < len(answers); from += piece {
		g.Go(func() error {
			for i := from; i < min(from+piece, len(answers)); i++ {
				readings[i] = r.read(answers[i])
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var pending []*change
	for i := range readings {
		x := &readings[i]
		stored := before[x.Raw.ID]
		if run.Filter.Parser != 0 && !stored.readBy(run.Filter.Parser) {
			continue
		}
		report.Answers++
		switch {
		case x.skip != "":
			report.skipped(x.skip)
		case x.err != nil:
			report.unreadable(x)
		case stored.newest() > x.batch.Parser:
			report.skipped(fmt.Sprintf("%s: read by parser %d, which is later than %d", x.Raw.Source, stored.newest(), x.batch.Parser))
		case !run.Full && stored.made(x.digest):
			report.Unchanged++
		default:
			kept, _ := processing.Derive(x.batch) // what it turns down is turned down as before
			if c := compare(x, kept, stored); len(c.events) > 0 {
				pending = append(pending, c)
			} else {
				report.Unchanged++
			}
		}
	}
	if err := r.settle(ctx, pending, report); err != nil {
		return err
	}
	if run.Job == 0 || r.cfg.Commit == nil {
		return nil
	}
	if err := r.yield(ctx); err != nil {
		return err
	}
	var commits []event.Commit
	for _, c := range pending {
		commits = append(commits, c.commits(run)...)
	}
	if len(commits) == 0 {
		return nil
	}
	return r.cfg.Commit(ctx, commits)
}

// read parses an answer, as the parsing stage does.
func (r *Replayer) read(a Answer) (x reading) {
	x.Answer = a
	defer func() {
		if p := recover(); p != nil {
			x.err = fmt.Errorf("the parser panicked: %v", p)
		}
	}()
	f, ok := flow.ByName(a.Ask.Task.Flow)
	switch {
	case a.Verdict != processors.OK && a.Verdict != providers.ErrMalformed.Error():
		x.skip = "not to be parsed: " + a.Verdict
	case !ok || a.Ask.Step < 0 || a.Ask.Step >= len(f.Steps):
		x.skip = "unknown flow " + a.Ask.Task.Flow
	case !r.cfg.Providers.Answers(a.Raw.Source, a.Ask.Fetch):
		x.skip = "unknown provider " + a.Raw.Source
	}
	if x.skip != "" {
		return x
	}
	p := r.cfg.Providers[a.Raw.Source]
	call := p.Calls[a.Ask.Fetch]
	if a.Verdict != processors.OK { // it had a shape that was unknown then
		e := providers.Classify(p, call, a.Ask, providers.Answer{Status: a.Raw.Status, Header: http.Header{}, Body: a.Body, At: a.Raw.At})
		if e != nil {
			x.skip = "not to be parsed: " + a.Verdict
			return x
		}
	}
	x.batch, x.err = call.Parse(a.Ask, a.Raw.At, a.Body)
	if x.err != nil {
		return x
	}
	x.batch.Ask, x.batch.Raw, x.batch.Parser = a.Ask, a.Raw, p.Parser
	x.digest = social.DigestLogs(x.batch.Logs)
	x.batch.Digest = x.digest
	return x
}

// Rejects says of the answers that f selects, by raw id, what the parsers of now
// cannot read of them or what is turned down of what they say; nil that all of it is
// taken. What is not kept any more is not in it.
func (r *Replayer) Rejects(ctx context.Context, f Filter) (map[string]error, error) {
	out := map[string]error{}
	for a, err := range r.cfg.History(ctx, f, archive.Position{}) {
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		if !f.Match(&a) {
			continue
		}
		x := r.read(a)
		if x.skip != "" {
			x.err = errors.New(x.skip)
		}
		if x.err == nil {
			if _, bad := processing.Derive(x.batch); len(bad) > 0 {
				x.err = bad[0]
			}
		}
		out[a.Raw.ID] = x.err
	}
	return out, nil
}

// cause is the text of an error for the report: what differs from answer to
// answer is cut off.
func cause(err error) string {
	if e, ok := errors.AsType[*providers.Error](err); ok {
		return e.Detail
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}
