package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrEnough ends a Scan without an error.
var ErrEnough = errors.New("bus: enough")

// A Scan is what is read of a stream. A zero field selects all.
type Scan struct {
	Stream   string
	Subjects []string  // those that match one of them
	Since    time.Time // stored then or later
	Headers  bool      // bodies are left out
}

// stall is how long a message that is there may take. Those that do not come have
// been removed meanwhile.
const stall = 2 * time.Second

// Each calls fn for each message that is there now, in order, also while others
// remove some. The error of fn ends it, and is returned unless it is ErrEnough.
func (s Scan) Each(ctx context.Context, js jetstream.JetStream, fn func(m jetstream.Msg, meta *jetstream.MsgMetadata) error) error {
	stream, err := js.Stream(ctx, s.Stream)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Stream, err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{HeadersOnly: s.Headers, FilterSubjects: s.Subjects}
	if !s.Since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.Since
	}
	c, err := stream.OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Stream, err)
	}
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return fmt.Errorf("read %s: %w", s.Stream, err)
	}
	defer it.Stop()
	for {
		wait, cancel := context.WithTimeout(ctx, stall)
		m, err := it.Next(jetstream.NextContext(wait))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			info, err := c.Info(ctx)
			if err == nil && info.NumPending == 0 {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", s.Stream, errors.Join(ctx.Err(), err))
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read %s: %w", s.Stream, err)
		}
		if meta.Sequence.Stream > state.LastSeq {
			return nil
		}
		if err := fn(m, meta); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read %s, message %d: %w", s.Stream, meta.Sequence.Stream, err)
		}
		if meta.NumPending == 0 || meta.Sequence.Stream == state.LastSeq {
			return nil
		}
	}
}
