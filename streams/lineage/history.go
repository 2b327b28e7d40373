package lineage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/processors"
	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/event"
)

const (
	// slack is how far the clocks of what was stored and of what was observed may
	// be apart, and how long an answer is on its way into RAW.
	slack = time.Minute
	// late is how long the commit of an answer is looked for in EVENTS: further back
	// than the stages have ever been.
	late = time.Hour
)

// found makes answers of raw ids that came at a time, whether or not their bytes
// are still there.
func (s *search) found(ctx context.Context, at map[string]time.Time) error {
	type span struct {
		from, to time.Time
		ids      []string
	}
	var spans []span
	ids := make([]string, 0, len(at))
	for id := range at {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(at[a].Compare(at[b]), cmp.Compare(a, b)) })
	for _, id := range ids {
		if n := len(spans); n > 0 && at[id].Before(spans[n-1].to) {
			spans[n-1].to, spans[n-1].ids = at[id].Add(slack), append(spans[n-1].ids, id)
			continue
		}
		spans = append(spans, span{at[id].Add(-slack), at[id].Add(slack), []string{id}})
	}
	for _, p := range spans {
		if err := s.history(ctx, archive.Filter{IDs: p.ids, Since: p.from, Until: p.to}, p.from, p.to); err != nil {
			return err
		}
	}
	// What was stored much later than it was observed, as by a redrive.
	var rest []string
	for _, id := range ids {
		if s.answers[id] == nil {
			rest = append(rest, id)
		}
	}
	if len(rest) > 0 {
		f := archive.Filter{IDs: rest, Since: at[rest[0]].Add(-slack), Until: at[rest[len(rest)-1]].Add(slack)}
		if err := s.history(ctx, f, f.Since, time.Now()); err != nil {
			return err
		}
	}
	for _, id := range rest {
		if s.answers[id] == nil {
			s.answers[id] = &Answer{RawID: id, Observed: at[id]}
		}
	}
	return nil
}

// history makes answers of what was stored between two times and is kept.
func (s *search) history(ctx context.Context, f archive.Filter, from, to time.Time) (err error) {
	if f.After, f.To, err = s.Archive.Span(ctx, from, to); err != nil {
		return err
	}
	for r, err := range s.Archive.History(ctx, f) {
		if errors.Is(err, archive.ErrNone) {
			s.note(elsewhere)
			return nil
		}
		if err != nil {
			return err
		}
		if s.answers[r.ID] != nil {
			continue // stored once more, by a redrive: the first is the one that came
		}
		raw, ask, _ := processors.ReadRaw(r.Header) // what cannot be read is not known
		a := &Answer{RawID: r.ID, Source: r.Source, Observed: r.Observed, Fetch: r.Fetch, Keys: ask.Keys, HTTPStatus: raw.Status,
			Credential: count(r.Header.Get(processors.HeaderCredential)), Verdict: r.Verdict, Fence: ask.Task.Fence, Seq: ask.Seq, Bytes: len(r.Data),
			Kept: &Kept{Run: r.Run, Seq: r.Seq, Claim: r.Claim}}
		for _, t := range calls(r.ID)[:1] {
			if r.Header.Get(processors.HeaderTrace) != "" {
				a.Told = append(a.Told, t)
			}
		}
		k, err := s.Archive.Where(ctx, r.Position)
		if err != nil {
			return err
		}
		a.Kept.Stream, a.Kept.Object = k.InStream, k.Object
		s.answers[r.ID], s.of[r.ID] = a, r.Task
	}
	return nil
}

// complete fills in all the rest: observations and columns, events, dead letters,
// tasks.
func (s *search) complete(ctx context.Context) error {
	if len(s.answers) > 0 {
		if err := s.observations(ctx); err != nil {
			return err
		}
		if err := s.events(ctx); err != nil {
			return err
		}
		if err := s.letters(ctx); err != nil {
			return err
		}
	}
	for raw, a := range s.answers {
		t, err := s.task(ctx, s.of[raw])
		if err != nil {
			return err
		}
		if a.Observations == nil {
			a.Observations = []*Observation{}
		}
		t.Answers = append(t.Answers, a)
	}
	for _, t := range s.tasks {
		slices.SortFunc(t.Answers, func(a, b *Answer) int { return cmp.Or(a.Observed.Compare(b.Observed), cmp.Compare(a.Seq, b.Seq)) })
	}
	if len(s.tasks) == 0 {
		return ErrUnknown
	}
	return nil
}

// events looks for the commits of the answers.
func (s *search) events(ctx context.Context) error {
	var from, to time.Time
	parts := map[string]int{} // still to be found, by raw id; -1 all
	for _, a := range s.answers {
		if a.Verdict != "" && a.Verdict != processors.OK {
			continue
		}
		parts[a.RawID] = -1
		if from.IsZero() || a.Observed.Before(from) {
			from = a.Observed
		}
		if a.Observed.After(to) {
			to = a.Observed
		}
	}
	if len(parts) == 0 {
		return nil
	}
	scan := bus.Scan{Stream: bus.Events, Subjects: []string{"beat.event.*.*." + event.KindCommit}, Since: from.Add(-slack).UTC()}
	return scan.Each(ctx, s.JS, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if meta.Timestamp.After(to.Add(late)) {
			return bus.ErrEnough
		}
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		c, err := event.UnmarshalCommit(data)
		if err != nil {
			return err
		}
		a := s.answers[c.Raw.ID]
		if a == nil {
			return nil
		}
		shard, _, err := event.ParseSubject(m.Subject())
		if err != nil {
			return err
		}
		a.Commits = append(a.Commits, Commit{Shard: shard, Seq: meta.Sequence.Stream, At: meta.Timestamp.UTC(), Part: c.Part, Parts: c.Parts,
			Events: len(c.Events), Parser: c.Parser, Replay: c.Replay != nil})
		for _, e := range c.Events {
			for _, o := range a.Observations {
				if o.EventID == e.ID || o.ToldID == e.ID {
					o.Shard, o.EventSeq = &shard, meta.Sequence.Stream
				}
			}
		}
		if parts[c.Raw.ID] < 0 {
			parts[c.Raw.ID] = c.Parts
		}
		if parts[c.Raw.ID]--; parts[c.Raw.ID] == 0 {
			delete(parts, c.Raw.ID)
		}
		if len(parts) == 0 {
			return bus.ErrEnough
		}
		return nil
	})
}

// letters notes the dead letters of the answers.
func (s *search) letters(ctx context.Context) error {
	box, err := dead.Open(ctx, s.JS)
	if err != nil {
		return err
	}
	from := time.Now()
	for _, a := range s.answers {
		if a.Observed.Before(from) {
			from = a.Observed
		}
	}
	all, err := box.List(ctx, dead.Filter{Since: from.Add(-slack)})
	if err != nil {
		return err
	}
	for _, l := range all {
		if a := s.answers[l.RawID]; a != nil {
			a.DeadLetters = append(a.DeadLetters, l.Seq)
		}
	}
	return nil
}

// Body is the bytes of a raw answer, as they came. The error wraps ErrUnknown when
// they are not kept any more.
func (t *Tracer) Body(ctx context.Context, a *Answer) ([]byte, error) {
	if a.Kept == nil {
		return nil, fmt.Errorf("raw answer %s: its bytes are not kept any more: %w", a.RawID, ErrUnknown)
	}
	at := archive.Position{Run: a.Kept.Run, Seq: a.Kept.Seq}
	for r, err := range t.Archive.History(ctx, archive.Filter{After: archive.Position{Run: at.Run, Seq: at.Seq - 1}, To: at}) {
		if err != nil {
			return nil, err
		}
		return r.Data, nil
	}
	return nil, fmt.Errorf("raw answer %s: its bytes have gone: %w", a.RawID, ErrUnknown)
}
