package lanes

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	out, err := positions(ctx, db, s, reader)
	if err != nil {
		return nil, err
	}
	for i := range out {
		l := &out[i]
		if l.Last <= l.Applied {
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

// Reached reports whether a reader has applied all that the stream holds, in every
// shard: its processes are not equally fast.
func Reached(ctx context.Context, db *pgxpool.Pool, js jetstream.JetStream, reader string) (bool, error) {
	s, err := js.Stream(ctx, bus.Events)
	if err != nil {
		return false, fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	all, err := positions(ctx, db, s, reader)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(all, func(l Lag) bool { return l.Last > l.Applied }), nil
}

// positions are those of a reader and the ends of its shards.
func positions(ctx context.Context, db *pgxpool.Pool, s jetstream.Stream, reader string) ([]Lag, error) {
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
		l.Last = last.Sequence
	}
	return out, nil
}

// identity tells a stream from another of its name.
func identity(s jetstream.Stream) string {
	return s.CachedInfo().Created.UTC().Format(time.RFC3339Nano)
}
