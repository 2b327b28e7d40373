package lanes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrLost says that another process has taken the shard over.
var ErrLost = errors.New("lanes: position was moved by another process")

// An Execer is a pool, a connection or a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Save moves the positions to the end of the batch. It fails with ErrLost if
// they are not where this process left them.
func (b *Batch) Save(ctx context.Context, tx Execer) error {
	var shards []int32
	var from, to, told []int64
	for _, m := range b.Moves() {
		shards = append(shards, int32(m.Shard))
		from = append(from, int64(m.From))
		to = append(to, int64(m.To))
		told = append(told, int64(b.r.told[m.Shard]))
	}
	if len(shards) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, `
UPDATE stream_position p SET applied = n.to_seq, told = n.told, updated_at = now() AT TIME ZONE 'UTC'
FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) AS n(shard, from_seq, to_seq, told)
WHERE p.reader = $1 AND p.stream = $2 AND p.shard = n.shard AND p.applied = n.from_seq`,
		b.r.cfg.Name, b.r.stream, shards, from, to, told)
	if err != nil {
		return fmt.Errorf("save position: %w", err)
	}
	if int(tag.RowsAffected()) != len(shards) {
		return ErrLost
	}
	return nil
}

// Saved tells the batch that the transaction of Save has committed.
func (b *Batch) Saved() {
	for shard, seq := range b.to {
		b.r.applied[shard] = max(b.r.applied[shard], seq)
		b.r.saved[shard] = b.r.told[shard]
	}
	b.saved = true
}

// saveTold writes down what has been told, or passed over, since the last Save, so
// that a restart after quiet times repeats nothing.
func (s *session) saveTold(ctx context.Context) error {
	var shards []int32
	var told []int64
	for _, shard := range s.owned {
		if s.told[shard] > s.saved[shard] {
			shards = append(shards, int32(shard))
			told = append(told, int64(s.told[shard]))
		}
	}
	s.passed = false
	if len(shards) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := s.conn.Exec(ctx, `
UPDATE stream_position p SET told = n.told, applied = greatest(p.applied, n.told), updated_at = now() AT TIME ZONE 'UTC'
FROM unnest($3::int[], $4::bigint[]) AS n(shard, told)
WHERE p.reader = $1 AND p.stream = $2 AND p.shard = n.shard AND p.told < n.told`,
		s.cfg.Name, s.stream, shards, told)
	if err != nil {
		return fmt.Errorf("save position: %w", err)
	}
	for i, shard := range shards {
		seq := uint64(told[i])
		s.saved[int(shard)], s.applied[int(shard)] = seq, max(s.applied[int(shard)], seq)
	}
	return nil
}

// A Move is how far a shard's position moves by a batch.
type Move struct {
	Shard    int
	From, To uint64 // of EVENTS, From excluded
}

// Stream is the identity of the stream that the batch is of.
func (b *Batch) Stream() string { return b.r.stream }

// Moves are what Save writes.
func (b *Batch) Moves() (out []Move) {
	for shard, seq := range b.to {
		if seq > b.r.applied[shard] {
			out = append(out, Move{shard, b.r.applied[shard], seq})
		}
	}
	return out
}
