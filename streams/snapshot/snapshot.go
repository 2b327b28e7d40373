// Package snapshot keeps raw answers in a file, without what tells whose they are:
// to try the parsers of the next release on the answers of yesterday, where nobody
// should be able to read about anybody (contract/enrichment.md W8.6).
//
// A file is lines of JSON, packed by zstd: first a Head, then a record per answer.
// What is read from it is a history, which replays read as they read the archive.
package snapshot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"beat/processors"
	"beat/streams/archive"
	"beat/streams/replay"
	"beat/streams/social"
)

// form is what a file calls itself.
const form = "beat-snapshot-1"

// A Head begins a file.
type Head struct {
	Form  string    `json:"form"`
	Saved time.Time `json:"saved"`
}

// A record is one answer, masked.
type record struct {
	Raw     string          `json:"raw_id"`
	Source  string          `json:"source"`
	Status  int             `json:"status"`
	At      time.Time       `json:"observed_at"`
	Verdict string          `json:"verdict"`
	Ask     social.Ask      `json:"ask"`
	Body    json.RawMessage `json:"body"`
}

// Saved says what a file holds.
type Saved struct {
	Answers int            `json:"answers"`
	By      map[string]int `json:"by_source_and_fetch"`
	Left    map[string]int `json:"left_out"` // by reason
	Bytes   int64          `json:"bytes"`
}

// Save writes the answers of a history to w, those that were to be parsed, at most so
// many; 0 is all. told is called with how many there are, now and then.
func Save(w io.Writer, m *Mask, answers iter.Seq2[replay.Answer, error], most int, told func(n int)) (*Saved, error) {
	out := &Saved{By: map[string]int{}, Left: map[string]int{}}
	count := &counter{Writer: w}
	z, err := zstd.NewWriter(count, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	e := json.NewEncoder(z)
	e.SetEscapeHTML(false)
	if err := e.Encode(Head{form, time.Now().UTC().Truncate(time.Second)}); err != nil {
		return nil, err
	}
	for a, err := range answers {
		if err != nil {
			return nil, err
		}
		if most > 0 && out.Answers == most {
			break
		}
		if a.Verdict != processors.OK {
			out.Left["not to be parsed"]++
			continue
		}
		body, err := m.JSON(a.Body)
		if err != nil {
			out.Left[err.Error()]++
			continue
		}
		if err := e.Encode(record{a.Raw.ID, a.Raw.Source, a.Raw.Status, a.Raw.At, a.Verdict, m.Ask(a.Ask), body}); err != nil {
			return nil, err
		}
		out.Answers++
		out.By[a.Raw.Source+" "+string(a.Ask.Fetch)]++
		told(out.Answers)
	}
	err = z.Close()
	out.Bytes = count.n
	return out, err
}

// Ask is what had been asked, under the mask; of where the run was only what parsers
// go by. Its task is known by its number where the answers are from, and nowhere else.
func (m *Mask) Ask(a social.Ask) social.Ask {
	texts := func(in []string) []string {
		var out []string
		for _, s := range in {
			out = append(out, m.Text(s))
		}
		return out
	}
	out := social.Ask{
		Task: social.TaskRef{ID: a.Task.ID, Flow: a.Task.Flow, Platform: a.Task.Platform}, Seq: a.Seq, Step: a.Step, Page: a.Page, Fetch: a.Fetch,
		Keys: texts(a.Keys), Cursor: m.Text(a.Cursor), Source: a.Source, Handle: m.Text(a.Handle),
		State: social.State{ProfileID: m.Text(a.State.ProfileID), Handle: m.Text(a.State.Handle), MediaCount: a.State.MediaCount, Items: a.State.Items,
			Rest: texts(a.State.Rest), Known: m.Text(a.State.Known), Found: m.Text(a.State.Found)},
	}
	for name, values := range a.State.Args {
		if out.State.Args == nil {
			out.State.Args = map[string][]string{}
		}
		out.State.Args[name] = texts(values)
	}
	return out
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// History is that of a file. The number of its line is the position of an answer.
func History(path string) replay.History {
	return func(ctx context.Context, _ replay.Filter, after archive.Position) iter.Seq2[replay.Answer, error] {
		return func(yield func(replay.Answer, error) bool) {
			n := uint64(0)
			err := lines(path, func(line []byte) (bool, error) {
				if n++; n <= after.Seq {
					return ctx.Err() == nil, ctx.Err()
				}
				var r record
				if err := json.Unmarshal(line, &r); err != nil || r.Raw == "" || r.Source == "" || r.At.IsZero() || r.Ask.Fetch == "" || r.Ask.Task.ID < 1 {
					return false, fmt.Errorf("%s: answer %d is none: %w", path, n, errors.Join(err, errShape))
				}
				return yield(replay.Answer{At: archive.Position{Seq: n}, Raw: social.Raw{ID: r.Raw, Source: r.Source, At: r.At, Status: r.Status},
					Ask: r.Ask, Verdict: r.Verdict, Body: r.Body}, nil), ctx.Err()
			})
			if err != nil {
				yield(replay.Answer{}, err)
			}
		}
	}
}

var errShape = errors.New("raw_id, source, observed_at, ask.fetch and ask.task.id must be there")

// Count is how many answers a file holds.
func Count(path string) (n int64, err error) {
	err = lines(path, func([]byte) (bool, error) { n++; return true, nil })
	return n, err
}

// lines hands over the lines of a file behind its head, until fn wants no more.
func lines(path string, fn func(line []byte) (more bool, err error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return err
	}
	defer z.Close()
	r := bufio.NewReaderSize(z, 1<<20)
	for first := true; ; first = false {
		line, err := r.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 && !first {
			return nil
		}
		if first {
			var h Head
			if err != nil || json.Unmarshal(line, &h) != nil || h.Form != form {
				return fmt.Errorf("%s: not made by beat snapshot save", path)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: broken off or damaged: %w", path, err)
		}
		if more, err := fn(line); err != nil || !more {
			return err
		}
	}
}
