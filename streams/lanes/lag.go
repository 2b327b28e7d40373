package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
	"beat/streams/event"
)

// A Lag is how far a reader is behind in one shard.
type Lag struct {
	Shard   int     `json:"shard"`
	Last    uint64  `json:"last"`    // sequence of the shard's last message
	Applied uint64  `json:"applied"` // position: up to there all is applied
	Pending uint64  `json:"pending"` // messages after it
	Behind  float64 `json:"seconds"` // age of the first of them, 0 if there is none
}

// Lags are those of a reader, such as project, by shard.
func Lags(ctx context.Context, db *pgxpool.Pool, js jetstream.JetStream, reader string) ([]Lag, error) {
	s, err := js.Stream(ctx, bus.Events)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	// A position in a stream that is no more says nothing of this one.
	rows, err := db.Query(ctx, `SELECT shard, applied FROM stream_position WHERE reader = $1 AND stream = $2`, reader, identity(s))
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	out := make([]Lag, event.Shards)
	var shard int
	var applied int64
	if _, err := pgx.ForEachRow(rows, []any{&shard, &applied}, func() error {
		if shard >= 0 && shard < event.Shards {
			out[shard].Applied = uint64(applied)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	for i := range out {
		l := &out[i]
		l.Shard = i
		last, err := s.GetLastMsgForSubject(ctx, event.Filter(i))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", bus.Events, err)
		}
		if l.Last = last.Sequence; l.Last <= l.Applied {
			continue
		}
		first, err := s.GetMsg(ctx, l.Applied+1, jetstream.WithGetMsgSubject(event.Filter(i)))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", bus.Events, err)
		}
		l.Behind = time.Since(first.Time).Seconds()
		c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{event.Filter(i)},
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.Applied + 1, HeadersOnly: true, InactiveThreshold: time.Second})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", bus.Events, err)
		}
		l.Pending = c.CachedInfo().NumPending
	}
	return out, nil
}

// identity tells a stream from another of its name.
func identity(s jetstream.Stream) string {
	return s.CachedInfo().Created.UTC().Format(time.RFC3339Nano)
}
