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
	From     string          `json:"from,omitempty"` // path of a snapshot, instead of what is stored; it is for the History alone
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

// Do replays. The report is that of the answers so far, also with an error. While
// a chunk is compared and committed, the next is parsed and one more is read.
func (r *Replayer) Do(ctx context.Context, run Run) (*Report, error) {
	report := NewReport()
	chunks, parsed, ahead := make(chan []Answer), make(chan *parsed), make(chan error, 2)
	work, stop := context.WithCancel(ctx)
	go func() {
		defer close(chunks)
		ahead <- r.ahead(work, run, chunks)
	}()
	go func() {
		defer close(parsed)
		ahead <- r.parse(work, run, chunks, parsed)
	}()
	defer func() {
		stop()
		for range parsed { // until it has ended
		}
		for range chunks {
		}
	}()
	began := time.Now()
	for p := range parsed {
		at, err := r.finish(ctx, run, p, report)
		if err != nil {
			return report, err
		}
		if run.Done != nil {
			if err := run.Done(ctx, at, report); err != nil {
				return report, err
			}
		}
		if run.Limit > 0 && report.Answers >= run.Limit {
			return report, nil
		}
		if run.Rate > 0 {
			due := began.Add(time.Duration(float64(report.Answers) / run.Rate * float64(time.Second)))
			if err := sleep(ctx, time.Until(due)); err != nil {
				return report, err
			}
		}
	}
	if err := <-ahead; err != nil { // of who failed; the other may wait for it
		return report, err
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

// parsed is a chunk, and what is known of what was made of its answers before.
type parsed struct {
	readings []reading
	before   []summary
}

// parse parses chunks, and looks up meanwhile what is stored of them.
func (r *Replayer) parse(ctx context.Context, run Run, chunks <-chan []Answer, out chan<- *parsed) error {
	const piece = 16
	for answers := range chunks {
		p := &parsed{readings: make([]reading, len(answers))}
		g := errgroup.Group{}
		g.SetLimit(runtime.GOMAXPROCS(0) + 1)
		g.Go(func() (err error) {
			p.before, err = r.summaries(ctx, answers, run.Filter.Parser)
			return err
		})
		for from := 0; from < len(answers); from += piece {
			g.Go(func() error {
				for i := from; i < min(from+piece, len(answers)); i++ {
					p.readings[i] = r.read(answers[i])
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		select {
		case out <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// finish says what becomes of the answers of a chunk, and commits that if it is to.
// They are done with up to at.
func (r *Replayer) finish(ctx context.Context, run Run, p *parsed, report *Report) (at archive.Position, err error) {
	var others []*reading // those that read otherwise, or may
	for i := range p.readings {
		x, before := &p.readings[i], p.before[i]
		if run.Limit > 0 && report.Answers >= run.Limit {
			break
		}
		at = x.At
		if run.Filter.Parser != 0 && !before.readBy {
			continue
		}
		report.Answers++
		switch {
		case x.skip != "":
			report.skipped(x.skip)
		case x.err != nil:
			report.unreadable(x)
		case before.newest > x.batch.Parser:
			report.skipped(fmt.Sprintf("%s: read by parser %d, which is later than %d", x.Raw.Source, before.newest, x.batch.Parser))
		case !run.Full && before.made(x.digest):
			report.Unchanged++
		default:
			others = append(others, x)
		}
	}
	changes, err := r.changes(ctx, others, report)
	if err != nil {
		return at, err
	}
	if run.Job == 0 || r.cfg.Commit == nil {
		return at, nil
	}
	if err := r.yield(ctx); err != nil {
		return at, err
	}
	var commits []event.Commit
	for _, c := range changes {
		commits = append(commits, c.commits(run)...)
	}
	if len(commits) == 0 {
		return at, nil
	}
	return at, r.cfg.Commit(ctx, commits)
}

// changes are those that readings make to what is stored of their answers.
func (r *Replayer) changes(ctx context.Context, readings []*reading, report *Report) (out []*change, err error) {
	if len(readings) == 0 {
		return nil, nil
	}
	answers := make([]Answer, len(readings))
	for i, x := range readings {
		answers[i] = x.Answer
	}
	before, err := r.observations(ctx, answers)
	if err != nil {
		return nil, err
	}
	for _, x := range readings {
		kept, _ := processing.Derive(x.batch) // what it turns down is turned down as before
		if c := compare(x, kept, before[x.Raw.ID]); len(c.events) > 0 {
			out = append(out, c)
		} else {
			report.Unchanged++
		}
	}
	return out, r.settle(ctx, out, report)
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
