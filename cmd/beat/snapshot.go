package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"beat/streams/archive"
	"beat/streams/replay"
	"beat/streams/snapshot"
)

type snapshotCmd struct {
	Save snapshotSaveCmd `cmd:"" help:"Write raw answers to a file, without what tells whose they are."`
}

func (snapshotCmd) Help() string {
	return `To try the parsers of a release before it is out, on a system of its own:

  beat snapshot save answers.zst --since 24h       where the answers are
  beat replay --from answers.zst --apply           with the release of now: stores what its parsers read
  beat replay --from answers.zst                   with the next release: shows, by field, what its parsers read otherwise

Where the older parser is still in the release, --parser SOURCE=N chooses it. Every name,
text, identifier and address is replaced by one of the same form, by a key that is thrown
away: the same handle is the same other handle everywhere in the file. Times, counts and
kinds stay. Nothing is asked of a provider.`
}

type snapshotSaveCmd struct {
	deps
	answerFlags
	File  string `arg:"" help:"The file to write; it must not be there." type:"path"`
	First int    `help:"Stop after this many answers." placeholder:"N"`
}

func (c *snapshotSaveCmd) Run(ctx context.Context, g *globals) (err error) {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if c.First < 0 {
		return usageError{errors.New("--first must be positive")}
	}
	if _, err := os.Stat(c.File); err == nil {
		return usageError{fmt.Errorf("%s is there already", c.File)}
	}
	a, err := c.open(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	total, err := a.answers(ctx, 0)
	if err != nil {
		return err
	}
	// Under its name there is a whole file or none.
	out, err := os.CreateTemp(filepath.Dir(c.File), ".beat-snapshot-*")
	if err != nil {
		return err
	}
	defer func() {
		out.Close()           //nolint:errcheck // closed below if all went well
		os.Remove(out.Name()) //nolint:errcheck // it has another name then
	}()
	line := newProgress(g.stderr, total)
	saved, err := snapshot.Save(out, snapshot.NewMask(), matching(a.history(ctx, f, archive.Position{}), f), c.First, func(n int) { line.count(int64(n)) })
	line.end()
	if err == nil {
		err = errors.Join(out.Sync(), out.Close())
	}
	if err == nil {
		err = os.Rename(out.Name(), c.File)
	}
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	if g.JSON {
		return show(g.stdout, saved)
	}
	fmt.Fprintf(g.stdout, "%s: %d answers, %.1f MB\n", c.File, saved.Answers, float64(saved.Bytes)/1e6)
	var rows [][]any
	for _, by := range sortedByCount(saved.By) {
		source, fetch, _ := strings.Cut(by, " ")
		rows = append(rows, []any{source, fetch, saved.By[by]})
	}
	if len(rows) > 0 {
		grid(g.stdout, []any{"source", "fetch", "answers"}, rows)
	}
	for _, why := range sortedByCount(saved.Left) {
		fmt.Fprintf(g.stdout, "%d left out: %s\n", saved.Left[why], why)
	}
	return nil
}

// matching are those of the answers that f selects: a history may yield more.
func matching(answers iter.Seq2[replay.Answer, error], f replay.Filter) iter.Seq2[replay.Answer, error] {
	return func(yield func(replay.Answer, error) bool) {
		for a, err := range answers {
			if (err != nil || f.Match(&a)) && !yield(a, err) {
				return
			}
		}
	}
}
