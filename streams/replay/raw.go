package replay

import (
	"context"
	"fmt"
	"iter"

	"beat/processors"
	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/social"
)

// Stored is the history of raw answers, from the archive and from RAW.
func Stored(a *archive.Archive) History {
	return func(ctx context.Context, f Filter, after archive.Position) iter.Seq2[Answer, error] {
		return func(yield func(Answer, error) bool) {
			for r, err := range a.History(ctx, f.archive(after)) {
				if err != nil {
					yield(Answer{}, err)
					return
				}
				raw, ask, err := processors.ReadRaw(r.Header)
				if err != nil {
					err = fmt.Errorf("message %d: %w", r.Seq, err)
				}
				if !yield(Answer{r.Position, raw, ask, r.Header.Get(bus.HeaderVerdict), r.Data}, err) || err != nil {
					return
				}
			}
		}
	}
}

// archive is what the history itself can select by.
func (f Filter) archive(after archive.Position) archive.Filter {
	out := archive.Filter{Since: f.Since, Until: f.Until, IDs: f.Raws, After: after}
	if f.Platform != "" {
		out.Platforms = []social.Platform{f.Platform}
	}
	if f.Source != "" {
		out.Sources = []string{f.Source}
	}
	if f.Fetch != "" {
		out.Fetches = []social.Fetch{f.Fetch}
	}
	if f.Task != 0 {
		out.Tasks = []int64{f.Task}
	}
	if f.Entity != "" {
		out.Keys = []string{f.Entity}
	}
	return out
}
