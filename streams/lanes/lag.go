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
	out, err := ends(ctx, db, s, reader)
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

// Behind is how far the slowest shard of a reader is from the end of the stream, in
// messages of all shards; 0 when all is applied. What others wait for goes by it:
// the readers of the shards are not equally fast.
func Behind(ctx context.Context, db *pgxpool.Pool, js jetstream.JetStream, reader string) (messages uint64, err error) {
	s, err := js.Stream(ctx, bus.Events)
	if err != nil {
		return 0, fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	all, err := ends(ctx, db, s, reader)
	if err != nil {
		return 0, err
	}
	end := s.CachedInfo().State.LastSeq
	for _, l := range all {
		end = max(end, l.Last)
	}
	for _, l := range all {
		if l.Last > l.Applied {
			messages = max(messages, end-l.Applied)
		}
	}
	return messages, nil
}

// ends are the positions of a reader and the ends of its shards.
func ends(ctx context.Context, db *pgxpool.Pool, s jetstream.Stream, reader string) ([]Lag, error) {
	applied, err := Positions(ctx, db, s, reader)
	if err != nil {
		return nil, err
	}
	out := make([]Lag, event.Shards)
	for i := range out {
		out[i].Shard, out[i].Applied = i, applied[i]
		last, err := s.GetLastMsgForSubject(ctx, event.Filter(i))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", bus.Events, err)
		}
		out[i].Last = last.Sequence
	}
	return out, nil
}

// Positions are how far a reader has applied a stream, by shard. A position in a
// stream that is no more says nothing of this one, and is 0.
func Positions(ctx context.Context, db *pgxpool.Pool, s jetstream.Stream, reader string) ([]uint64, error) {
	rows, err := db.Query(ctx, `SELECT shard, applied FROM stream_position WHERE reader = $1 AND stream = $2`, reader, Identity(s))
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	out := make([]uint64, event.Shards)
	var shard int
	var applied int64
	_, err = pgx.ForEachRow(rows, []any{&shard, &applied}, func() error {
		if shard >= 0 && shard < event.Shards {
			out[shard] = uint64(applied)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	return out, nil
}

// Identity tells a stream from another of its name.
func Identity(s jetstream.Stream) string {
	return s.CachedInfo().Created.UTC().Format(time.RFC3339Nano)
}
