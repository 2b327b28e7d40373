package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/processors"
	"beat/streams/bus"
)

// Stream is the history that is in RAW.
func Stream(js jetstream.JetStream) History {
	return func(ctx context.Context, f Filter, from uint64) iter.Seq2[Answer, error] {
		return func(yield func(Answer, error) bool) {
			if err := read(ctx, js, f, from, yield); err != nil {
				yield(Answer{}, err)
			}
		}
	}
}

func read(ctx context.Context, js jetstream.JetStream, f Filter, from uint64, yield func(Answer, error) bool) error {
	s, err := js.Stream(ctx, bus.Raw)
	if err != nil {
		return err
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 || from >= state.LastSeq {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: []string{f.subject()}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from+1, 1)}
	if from == 0 && !f.Since.IsZero() {
		since := f.Since.Add(-time.Minute) // stored a moment after it came, by other clocks
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, 0, &since
	}
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	info := c.CachedInfo()
	if info.NumPending == 0 {
		return nil
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) && ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > state.LastSeq { // what came after the beginning is read by the parsers of now
			return nil
		}
		raw, ask, err := processors.ReadRaw(m.Headers())
		if err != nil {
			return fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		body, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		if !yield(Answer{meta.Sequence.Stream, raw, ask, m.Headers().Get(processors.HeaderVerdict), body}, nil) {
			return nil
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= state.LastSeq {
			return nil
		}
	}
}

// subject is what RAW is read by.
func (f Filter) subject() string {
	part := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return "beat.raw." + part(f.Platform.Lower()) + "." + part(f.Source) + "." + part(string(f.Fetch))
}
