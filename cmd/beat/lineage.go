package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"beat/streams/archive"
	"beat/streams/lineage"
)

type lineageCmd struct {
	pgFlags
	s3Flags
	NATSURL string `help:"NATS with JetStream." env:"NATS_URL" name:"nats-url" default:"nats://127.0.0.1:4222"`
	ID      string `arg:"" help:"An event_id of RabbitMQ, a raw id, the number of a task, or a row: instagram_account/HANDLE, instagram_post/SHORTCODE, youtube_account/CHANNEL."`
	Raw     bool   `help:"Print the bytes of the raw answer, and nothing else."`
	Since   string `help:"Look for a raw id only in what is younger: otherwise all raw answers are gone through." placeholder:"AGE|TIME"`
}

// tracer finds lineages in what this process is connected to.
func (a *app) tracer() *lineage.Tracer {
	return lineage.New(lineage.Config{DB: a.db, JS: a.js, Archive: a.archive})
}

func (c *lineageCmd) Run(ctx context.Context, g *globals) error {
	kind, id, err := lineage.Parse(c.ID)
	if err != nil {
		return usageError{err}
	}
	since, err := moment("since", c.Since, time.Now().UTC())
	if err != nil {
		return err
	}
	db, err := openPG(ctx, c.PGURL, 4)
	if err != nil {
		return err
	}
	defer db.Close()
	js, end, err := openJetStream(c.NATSURL)
	if err != nil {
		return err
	}
	defer end()
	store, err := c.bucket(ctx)
	if err != nil {
		return err
	}
	t := lineage.New(lineage.Config{DB: db, JS: js, Archive: archive.New(slog.New(slog.DiscardHandler), db, js, store, archive.Config{})})
	l, err := t.Of(ctx, kind, id, since)
	if errors.Is(err, lineage.ErrUnknown) {
		return fmt.Errorf("nothing is known of %s %s, or nothing any more", kind, id)
	}
	if err != nil {
		return err
	}
	if c.Raw {
		return c.bytes(ctx, g.stdout, t, l)
	}
	if g.JSON {
		return show(g.stdout, l)
	}
	printLineage(g.stdout, l)
	return nil
}

// bytes prints those of the one answer that l has.
func (c *lineageCmd) bytes(ctx context.Context, out io.Writer, t *lineage.Tracer, l *lineage.Lineage) error {
	var all []*lineage.Answer
	var ids []string
	for _, task := range l.Tasks {
		for _, a := range task.Answers {
			all, ids = append(all, a), append(ids, a.RawID)
		}
	}
	if len(all) != 1 {
		return usageError{fmt.Errorf("%s leads to %d raw answers: give the id of one to --raw: %s", c.ID, len(all), strings.Join(ids, ", "))}
	}
	body, err := t.Body(ctx, all[0])
	if err != nil {
		return err
	}
	_, err = out.Write(body)
	return err
}

// A tree is lines that hang below each other.
type tree struct {
	text string
	sub  []*tree
}

func (t *tree) add(format string, args ...any) *tree {
	s := &tree{text: fmt.Sprintf(format, args...)}
	t.sub = append(t.sub, s)
	return s
}

func (t *tree) print(out io.Writer, indent string) {
	for i, s := range t.sub {
		branch, below := "├─ ", "│  "
		if i == len(t.sub)-1 {
			branch, below = "└─ ", "   "
		}
		fmt.Fprintf(out, "%s%s%s\n", indent, branch, s.text)
		s.print(out, indent+below)
	}
}

func printLineage(out io.Writer, l *lineage.Lineage) {
	for _, t := range l.Tasks {
		root := &tree{}
		for _, m := range t.Told {
			root.add("told %s %s as %s", m.Key, m.EventID, m.Status)
		}
		for _, a := range t.Answers {
			a := *a
			growAnswer(root.add("%s", answerLine(a)), a)
		}
		fmt.Fprintln(out, taskLine(t))
		root.print(out, "")
	}
	for _, n := range l.Notes {
		fmt.Fprintln(out, "note:", n)
	}
}

func taskLine(t *lineage.Task) string {
	switch {
	case t.ID == 0:
		return "no task is known"
	case t.Flow == "":
		return fmt.Sprintf("task %d, whose row is not there any more", t.ID)
	}
	line := fmt.Sprintf("task %d  %s  %s  %s", t.ID, t.Flow, t.Status, clip(string(t.Params), 120))
	for _, at := range []struct {
		word string
		at   *time.Time
	}{{"created", t.CreatedAt}, {"picked", t.PickedAt}, {"ended", t.ScrapedAt}} {
		if at.at != nil {
			line += "  " + at.word + " " + at.at.Format(time.DateTime)
		}
	}
	if t.Fence > 0 {
		line += fmt.Sprintf("  fence %d", t.Fence)
	}
	return line
}

func answerLine(a lineage.Answer) string {
	line := fmt.Sprintf("raw %s  %s", a.RawID, a.Source)
	if a.Fetch != "" {
		line += "  " + string(a.Fetch) + " " + clip(strings.Join(a.Keys, ","), 60)
	}
	line += "  " + a.Observed.Format(time.DateTime)
	if a.Credential > 0 {
		line += fmt.Sprintf("  credential %d", a.Credential)
	}
	if a.HTTPStatus > 0 {
		line += fmt.Sprintf("  status %d", a.HTTPStatus)
	}
	return line
}

// growAnswer hangs what became of an answer below its line.
func growAnswer(t *tree, a lineage.Answer) {
	switch k := a.Kept; {
	case k == nil:
		t.add("its bytes are not kept any more")
	default:
		var in []string
		if k.Stream {
			in = append(in, fmt.Sprintf("RAW %d", k.Seq))
		}
		for _, object := range []string{k.Object, k.Claim} {
			if object != "" {
				in = append(in, object)
			}
		}
		t.add("%d bytes in %s", a.Bytes, strings.Join(in, " and "))
	}
	for _, m := range a.Told {
		t.add("told %s %s", m.Key, m.EventID)
	}
	if a.Verdict != "" && a.Verdict != "ok" {
		t.add("not to be parsed: %s", a.Verdict)
	}
	for _, n := range a.DeadLetters {
		t.add("dead letter %d", n)
	}
	if a.Parser > 0 {
		t.add("parsed by version %d, digest %d", a.Parser, a.Digest)
	}
	for _, c := range a.Commits {
		t.add("EVENTS %d  shard %d, part %d of %d, %d events", c.Seq, c.Shard, c.Part+1, c.Parts, c.Events)
	}
	for _, o := range a.Observations {
		line := fmt.Sprintf("%s %s  event %s  %s", o.Kind, o.Key, o.EventID, o.RoutingKey)
		if o.ToldID != "" {
			line += "  told again as " + o.ToldID
		}
		if o.Gone {
			line += "  withdrawn"
		}
		row := t.add("%s", line)
		if len(o.Columns) == 0 {
			row.add("%s %s: no column holds it any more", o.Table, o.Row)
			continue
		}
		var cells []string
		for _, name := range slices.Sorted(maps.Keys(o.Columns)) {
			cells = append(cells, name+"="+clip(fmt.Sprint(o.Columns[name]), 40))
		}
		row.add("%s %s: %s", o.Table, o.Row, strings.Join(cells, ", "))
	}
	if a.Others > 0 {
		t.add("and %d other observations: beat lineage %s", a.Others, a.RawID)
	}
}
