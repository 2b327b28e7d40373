package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/schedule"
	"beat/streams/scrub"
)

type deadCmd struct {
	List    deadListCmd    `cmd:"" help:"List dead letters: what failed alike in one line, the most frequent first."`
	Show    deadShowCmd    `cmd:"" help:"Show one dead letter with all its headers and its body; secrets are masked."`
	Redrive deadRedriveCmd `cmd:"" help:"Send dead letters once more; a task that failed by one goes on."`
	Heal    deadHealCmd    `cmd:"" help:"Give dead letters to the source's parser of now, where that is later than the one that could not read them."`
	Drop    deadDropCmd    `cmd:"" help:"Remove dead letters for good."`
}

// few is up to how many letters each gets a line of its own.
const few = 20

type deadNATS struct {
	NATSURL string `help:"NATS with JetStream." env:"NATS_URL" name:"nats-url" default:"nats://127.0.0.1:4222"`
}

// open finds the letters. close ends the connection.
func (c deadNATS) open(ctx context.Context) (box *dead.Box, js jetstream.JetStream, close func(), err error) {
	js, end, err := openJetStream(c.NATSURL)
	if err != nil {
		return nil, nil, nil, err
	}
	if box, err = dead.Open(ctx, js); err != nil {
		end()
		return nil, nil, nil, fmt.Errorf("nats at %s: %w", bare(c.NATSURL), err)
	}
	return box, js, end, nil
}

// deadFilter selects letters.
type deadFilter struct {
	Seqs        []uint64 `arg:"" optional:"" name:"letter" help:"Numbers of letters, as list --each shows them."`
	Cause       string   `help:"Only this cause, such as malformed or panic."`
	Source      string   `help:"Only answers of this source."`
	Flow        string   `help:"Only tasks of this flow."`
	Stage       string   `help:"Only this stage; parse is parse-instagram too."`
	Fingerprint string   `help:"Only letters that failed alike."`
	Since       string   `help:"Only letters younger than this, such as 2h, or from a time on." placeholder:"AGE|TIME"`
	Until       string   `help:"Only letters older than this, or before a time." placeholder:"AGE|TIME"`
	Task        int64    `help:"Only letters of this task."`
}

func (c deadFilter) filter() (f dead.Filter, err error) {
	f = dead.Filter{Cause: c.Cause, Source: c.Source, Flow: c.Flow, Stage: c.Stage, Fingerprint: c.Fingerprint,
		Task: c.Task, Seqs: c.Seqs}
	now := time.Now().UTC()
	if f.Since, err = moment("since", c.Since, now); err == nil {
		f.Until, err = moment("until", c.Until, now)
	}
	return f, err
}

// moment reads an age or a time in UTC.
func moment(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339Nano, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--%s %q: want an age such as 2h30m, or a time such as 2006-01-02T15:04:05Z", flag, s)}
}

// chosen lists the letters that a command is to change. It refuses to take all
// of them by accident, and numbers that no letter has.
func (c deadFilter) chosen(ctx context.Context, box *dead.Box, f dead.Filter) ([]dead.Letter, error) {
	ls, err := box.List(ctx, f)
	if err != nil {
		return nil, err
	}
	alone := f
	alone.Seqs = nil
	if len(f.Seqs) > 0 && alone.Empty() {
		for _, seq := range f.Seqs {
			if !slices.ContainsFunc(ls, func(l dead.Letter) bool { return l.Seq == seq }) {
				return nil, fmt.Errorf("there is no dead letter %d", seq)
			}
		}
	}
	return ls, nil
}

type deadListCmd struct {
	deadNATS
	deadFilter
	Parser map[string]int `help:"Version of a source's parsers instead of the newest, source=VERSION." env:"BEAT_PARSERS" placeholder:"SOURCE=N"`

	Each  bool `help:"One line per letter, the newest first."`
	Limit int  `help:"At most this many lines; 0 is all." default:"100"`
}

func (c *deadListCmd) Run(ctx context.Context, g *globals) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	box, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	ls, err := box.List(ctx, f)
	if err != nil {
		return err
	}
	now := versions(providerTable(func(string) string { return "" }))
	dead.Mark(ls, func(source string) int {
		if v, ok := c.Parser[source]; ok {
			return v
		}
		return now(source)
	})
	curable := 0
	for _, l := range ls {
		if l.Curable > 0 {
			curable++
		}
	}
	var rows [][]any
	var out any
	var head []any
	all := 0
	if c.Each {
		slices.Reverse(ls)
		ls, all = first(ls, c.Limit), len(ls)
		head = []any{"letter", "at", "stage", "cause", "source", "parser", "now", "flow", "task", "error"}
		for _, l := range ls {
			rows = append(rows, []any{l.Seq, when(&l.At), l.Stage, l.Cause, l.Source, number(int64(l.Parser)), number(int64(l.Curable)), l.Flow, number(l.Task), clip(l.Error, 60)})
		}
		out = append([]dead.Letter{}, ls...)
	} else {
		gs := dead.Groups(ls)
		gs, all = first(gs, c.Limit), len(gs)
		head = []any{"fingerprint", "letters", "curable", "stage", "cause", "source", "first", "last", "letter", "error"}
		for _, x := range gs {
			rows = append(rows, []any{x.Fingerprint, x.Count, x.Curable, strings.Join(x.Stages, ", "), x.Cause, strings.Join(x.Sources, ", "),
				when(&x.First), when(&x.Last), x.Seq, clip(x.Error, 60)})
		}
		out = gs
	}
	if g.JSON {
		return show(g.stdout, out)
	}
	if len(rows) == 0 {
		fmt.Fprintln(g.stdout, "no dead letters")
		return nil
	}
	grid(g.stdout, head, rows)
	if len(rows) < all {
		fmt.Fprintf(g.stdout, "%d of %d lines; --limit 0 shows all\n", len(rows), all)
	}
	if curable > 0 {
		fmt.Fprintf(g.stdout, "%d are of an older parser than there is now: beat dead heal gives them to it\n", curable)
	}
	return nil
}

func first[T any](s []T, n int) []T {
	if n > 0 && len(s) > n {
		return s[:n]
	}
	return s
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

type deadShowCmd struct {
	deadNATS
	s3Flags
	Seq  uint64 `arg:"" name:"letter" help:"Number of the letter."`
	Full bool   `help:"The whole body, however long."`
}

// maxShown is how much of a body is shown: some screens.
const maxShown = 16 << 10

func (c *deadShowCmd) Run(ctx context.Context, g *globals) error {
	box, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	m, err := box.Get(ctx, c.Seq)
	if errors.Is(err, dead.ErrGone) {
		return fmt.Errorf("there is no dead letter %d", c.Seq)
	}
	if err != nil {
		return err
	}
	if m.Header.Get(archive.HeaderBody) != "" {
		if m.Data, err = c.claimed(ctx, m); err != nil {
			return err
		}
	}
	body, kind := readable(m.Data)
	note := ""
	if n := len(body); n > maxShown && !c.Full {
		body = strings.ToValidUTF8(body[:maxShown], "")
		note = fmt.Sprintf("… %d of %d bytes; --full shows all", len(body), n)
	}
	headers := map[string]string{}
	for k, v := range m.Header {
		headers[k] = hideJSON(strings.Join(v, ", "))
	}
	if g.JSON {
		return show(g.stdout, struct {
			dead.Letter
			Bytes     int               `json:"bytes"`
			Headers   map[string]string `json:"headers"`
			BodyKind  string            `json:"body_kind"` // json, text or hex
			Body      string            `json:"body"`
			Truncated bool              `json:"truncated"`
		}{m.Letter, len(m.Data), headers, kind, body, note != ""})
	}
	rows := [][]any{
		{"at", when(&m.At)}, {"stage", m.Stage}, {"cause", m.Cause}, {"error", m.Error}, {"fingerprint", m.Fingerprint},
		{"source", m.Source}, {"parser", number(int64(m.Parser))}, {"flow", m.Flow}, {"task", number(m.Task)},
		{"attempts", m.Attempts}, {"redriven", m.Redriven}, {"raw id", m.RawID}, {"raw message", number(int64(m.RawSeq))},
		{"was", fmt.Sprintf("%s %d, %s", m.Stream, m.StreamSeq, m.Subject)},
	}
	for _, k := range slices.Sorted(maps.Keys(headers)) {
		rows = append(rows, []any{k, headers[k]})
	}
	grid(g.stdout, []any{"letter", m.Seq}, rows)
	if m.Stack != "" {
		fmt.Fprintln(g.stdout, m.Stack)
	}
	fmt.Fprintf(g.stdout, "%d bytes, %s\n%s\n", len(m.Data), kind, body)
	if note != "" {
		fmt.Fprintln(g.stdout, note)
	}
	return nil
}

// claimed is the large body that a letter of a raw answer claims. Where it is
// not known or cannot be had, the reason stands in its place.
func (c *deadShowCmd) claimed(ctx context.Context, m dead.Message) ([]byte, error) {
	store, err := c.s3Flags.bucket(ctx)
	if err != nil {
		return nil, err
	}
	body, err := archive.New(slog.New(slog.DiscardHandler), nil, nil, store, archive.Config{}).Body(ctx, m.Header, m.Data)
	if err != nil && ctx.Err() == nil {
		body = []byte("cannot be shown: " + err.Error())
	}
	return body, ctx.Err()
}

// readable is a body for people, without secrets: JSON indented, other text as
// it is, all else as hex.
func readable(data []byte) (text, kind string) {
	switch {
	case json.Valid(data):
		var v any
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		if d.Decode(&v) == nil {
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if e.Encode(hide("", v)) == nil {
				return strings.TrimSuffix(b.String(), "\n"), "json"
			}
		}
	case utf8.Valid(data) && !strings.ContainsFunc(string(data), func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
		return members.ReplaceAllStringFunc(scrub.URL(string(data)), func(pair string) string {
			m := members.FindStringSubmatch(pair)
			if v, ok := hide(m[1], m[3]).(string); ok {
				return `"` + m[1] + `"` + m[2] + `"` + v + `"`
			}
			return pair
		}), "text"
	}
	return strings.TrimSuffix(hex.Dump(data), "\n"), "hex"
}

// members are the members of a JSON object within a text that is no JSON, such as
// half an answer.
var members = regexp.MustCompile(`"([^"\\]{1,64})"(\s*:\s*)"((?:[^"\\]|\\.)*)"?`)

// hideJSON is a text without secrets, which may be JSON.
func hideJSON(s string) string {
	if !strings.HasPrefix(s, "{") && !strings.HasPrefix(s, "[") {
		return scrub.URL(s)
	}
	var v any
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return scrub.URL(s)
	}
	out, err := json.Marshal(hide("", v))
	if err != nil {
		return scrub.URL(s)
	}
	return string(out)
}

// hide masks the secrets in a decoded JSON value: members that are named like
// one, and parameters of URLs. A member "key" is none: logs have such.
func hide(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = hide(k, v[k])
		}
	case []any:
		for i := range v {
			v[i] = hide(name, v[i])
		}
	case string:
		if name != "" && name != "key" && v != "" && scrub.URL("?"+name+"=x") == "?"+name+"="+scrub.Mask {
			return scrub.Mask
		}
		return scrub.URL(v)
	}
	return v
}

type deadRedriveCmd struct {
	deadNATS
	pgFlags
	rmqFlags
	deadFilter
	All    bool   `help:"All letters: needed when nothing else selects them."`
	DryRun bool   `help:"Only say what would happen."`
	Data   string `help:"File with the body to send instead, for a single letter; - is standard input." placeholder:"FILE"`
}

// maxBody bounds --data: no answer is larger.
const maxBody = 64 << 20

func (c *deadRedriveCmd) Run(ctx context.Context, g *globals) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if f.Empty() && !c.All {
		return usageError{errors.New("which letters? Give numbers or filters, or --all")}
	}
	var data []byte
	if c.Data != "" {
		if len(c.Seqs) != 1 {
			return usageError{errors.New("--data replaces the body of one letter: give its number")}
		}
		if data, err = readBody(c.Data); err != nil {
			return usageError{err}
		}
	}
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return err
	}
	defer db.Close()
	box, js, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	pub := bus.NewPublisher(lg, js, bus.PublisherConfig{})
	defer pub.Close() //nolint:errcheck // only waits
	r := dead.NewRedriver(box, schedule.NewQueue(db, 0), backSender{pub, c.rmqFlags, data != nil})
	ls, err := c.chosen(ctx, box, f)
	if err != nil {
		return err
	}
	if c.DryRun {
		plan, err := r.Plan(ctx, ls)
		if err != nil {
			return err
		}
		return report(g, deadReport{DryRun: true, Matched: len(ls), Results: plan}, nil)
	}
	return each(ctx, g, ls, "redriven", func(ctx context.Context, l dead.Letter) (dead.Result, error) {
		return r.Redrive(ctx, l.Seq, data)
	})
}

func readBody(file string) ([]byte, error) {
	in := os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if err == nil && len(data) > maxBody {
		err = fmt.Errorf("more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, fmt.Errorf("--data %s: %w", file, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

type deadDropCmd struct {
	deadNATS
	deadFilter
	All    bool `help:"All letters: needed when nothing else selects them."`
	DryRun bool `help:"Only say what would happen."`
}

// dropped is the outcome of drop.
const dropped dead.Outcome = "dropped"

func (c *deadDropCmd) Run(ctx context.Context, g *globals) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if f.Empty() && !c.All {
		return usageError{errors.New("which letters? Give numbers or filters, or --all")}
	}
	box, _, end, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	ls, err := c.chosen(ctx, box, f)
	if err != nil {
		return err
	}
	if c.DryRun {
		plan := make([]dead.Result, len(ls))
		for i, l := range ls {
			plan[i] = dead.Result{Seq: l.Seq, Task: l.Task, Outcome: dropped}
		}
		return report(g, deadReport{DryRun: true, Matched: len(ls), Results: plan}, nil)
	}
	return each(ctx, g, ls, string(dropped), func(ctx context.Context, l dead.Letter) (dead.Result, error) {
		return dead.Result{Seq: l.Seq, Task: l.Task, Outcome: dropped}, box.Drop(ctx, l.Seq)
	})
}

// A deadReport is what redrive and drop say at the end.
type deadReport struct {
	DryRun  bool                 `json:"dry_run"`
	Matched int                  `json:"matched"`
	Gone    int                  `json:"gone"` // handled by somebody else meanwhile
	Counts  map[dead.Outcome]int `json:"counts"`
	Results []dead.Result        `json:"results"`
}

// each does one thing to every letter, in order, says how far it is, and stops
// between two letters when ctx ends or one fails.
func each(ctx context.Context, g *globals, ls []dead.Letter, done string, do func(context.Context, dead.Letter) (dead.Result, error)) error {
	r := deadReport{Matched: len(ls), Results: []dead.Result{}}
	told := time.Now()
	var failed error
	for i, l := range ls {
		if ctx.Err() != nil {
			failed = fmt.Errorf("interrupted: %d of %d letters %s, the others are as they were", i, len(ls), done)
			break
		}
		if now := time.Now(); !g.JSON && now.Sub(told) >= time.Second {
			told = now
			fmt.Fprintf(g.stderr, "%d of %d\n", i, len(ls))
		}
		// What is begun is finished: half a redrive would wait for the next.
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		res, err := do(work, l)
		cancel()
		switch {
		case errors.Is(err, dead.ErrGone):
			r.Gone++
		case err != nil:
			failed = fmt.Errorf("stopped after %d of %d letters: %w", i, len(ls), err)
		default:
			r.Results = append(r.Results, res)
		}
		if failed != nil {
			break
		}
	}
	return report(g, r, failed)
}

// report prints r and returns failed, or why r could not be printed.
func report(g *globals, r deadReport, failed error) error {
	r.Counts = map[dead.Outcome]int{}
	for _, x := range r.Results {
		r.Counts[x.Outcome]++
	}
	if g.JSON {
		return errors.Join(show(g.stdout, r), failed)
	}
	if len(r.Results) <= few {
		for _, x := range r.Results {
			fmt.Fprintf(g.stdout, "letter %d: %s\n", x.Seq, saying(x))
		}
	}
	var parts []string
	for _, o := range slices.Sorted(maps.Keys(r.Counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Counts[o], o))
	}
	if r.Gone > 0 {
		parts = append(parts, fmt.Sprintf("%d gone meanwhile", r.Gone))
	}
	if len(parts) == 0 {
		parts = []string{"nothing to do"}
	}
	head := ""
	if r.DryRun {
		head = "dry run, nothing is changed: "
	}
	fmt.Fprintf(g.stdout, "%s%s\n", head, strings.Join(parts, ", "))
	return failed
}

// saying is an outcome in words.
func saying(r dead.Result) string {
	is := "is " + r.Status
	if r.Status == "" {
		is = "is not in the table"
	}
	switch r.Outcome {
	case dead.Reopened:
		return fmt.Sprintf("sent again; task %d goes on", r.Task)
	case dead.DataOnly:
		return fmt.Sprintf("sent again for its data only; task %d %s, and not by this letter", r.Task, is)
	case dead.Kept:
		return fmt.Sprintf("kept; task %d %s and needs no answer", r.Task, is)
	case dead.Sent:
		return "sent again"
	}
	return string(r.Outcome)
}
