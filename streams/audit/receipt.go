package audit

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/bridge"
	"beat/streams/lanes"
)

// A sum is a number of messages and the exclusive or of their ids: equal for the
// same set, whatever the order. Where one is missing, the two sums differ by its id.
type sum struct {
	messages  int64
	high, low uint64
}

// add counts a message. An id that is no UUID, which none is, counts without it.
func (s *sum) add(m bridge.Message) {
	s.messages++
	if id, err := uuid.Parse(m.ID); err == nil {
		s.high ^= binary.BigEndian.Uint64(id[:8])
		s.low ^= binary.BigEndian.Uint64(id[8:])
	}
}

// without is the id by which two sums differ, if it is one.
func (s sum) without(t sum) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], s.high^t.high)
	binary.BigEndian.PutUint64(id[8:], s.low^t.low)
	return id.String()
}

// Receipts are what RabbitMQ has confirmed of a batch, by shard.
type Receipts struct {
	sums  map[int]*sum
	first map[int]uint64
}

// Add notes that the messages made of m were confirmed, before Write.
func (r *Receipts) Add(m lanes.Msg, told []bridge.Message) {
	if m.Redo {
		return // noted when it was told first
	}
	if r.sums == nil {
		r.sums, r.first = map[int]*sum{}, map[int]uint64{}
	}
	s := r.sums[m.Shard]
	if s == nil {
		s = &sum{}
		r.sums[m.Shard], r.first[m.Shard] = s, m.Seq
	}
	for _, t := range told {
		s.add(t)
	}
}

const receiptSQL = `
WITH n AS (
    SELECT * FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS n(shard, from_seq, to_seq, first_seq, messages, high, low)
), grown AS (
    UPDATE bridge_receipt r SET to_seq = n.to_seq, messages = r.messages + n.messages, id_high = r.id_high # n.high, id_low = r.id_low # n.low
    FROM n, LATERAL (SELECT from_seq FROM bridge_receipt b WHERE b.stream = $1 AND b.shard = n.shard ORDER BY from_seq DESC LIMIT 1) last
    WHERE r.stream = $1 AND r.shard = n.shard AND r.from_seq = last.from_seq AND r.to_seq = n.from_seq AND r.messages IS NOT NULL
        AND r.since > now() AT TIME ZONE 'UTC' - interval '1 minute'
    RETURNING r.shard
)
INSERT INTO bridge_receipt (stream, shard, from_seq, to_seq, first_seq, messages, id_high, id_low, since)
SELECT $1, n.shard, n.from_seq, n.to_seq, n.first_seq, n.messages, n.high, n.low, now() AT TIME ZONE 'UTC'
FROM n WHERE n.shard NOT IN (SELECT shard FROM grown)`

// Write stores the receipts of b, in the transaction that saves its position.
func (r *Receipts) Write(ctx context.Context, tx lanes.Execer, b *lanes.Batch) error {
	var shards []int32
	var from, to, first, messages, high, low []int64
	for _, m := range b.Moves() {
		s, at := r.sums[m.Shard], r.first[m.Shard]
		if s == nil {
			s, at = &sum{}, m.To
		}
		shards = append(shards, int32(m.Shard))
		from, to, first = append(from, int64(m.From)), append(to, int64(m.To)), append(first, int64(at))
		messages, high, low = append(messages, s.messages), append(high, int64(s.high)), append(low, int64(s.low))
	}
	if len(shards) == 0 {
		return nil
	}
	// What lies behind a position that was set back is told once more, or is of a
	// stream that was set back.
	if _, err := tx.Exec(ctx, `
DELETE FROM bridge_receipt r USING unnest($2::int[], $3::bigint[]) AS n(shard, from_seq)
WHERE r.stream = $1 AND r.shard = n.shard AND r.from_seq >= n.from_seq`, b.Stream(), shards, from); err != nil {
		return fmt.Errorf("store receipts: %w", err)
	}
	if _, err := tx.Exec(ctx, receiptSQL, b.Stream(), shards, from, to, first, messages, high, low); err != nil {
		return fmt.Errorf("store receipts: %w", err)
	}
	return nil
}

// A stretch is a row of bridge_receipt, and what EVENTS has of it.
type stretch struct {
	shard           int
	from, to, first uint64
	counted         bool
	confirmed       sum
	demanded        sum
}

// stretches are those of a stream, by shard and in order.
type stretches map[int][]*stretch

func readStretches(ctx context.Context, db *pgxpool.Pool, stream string) (stretches, error) {
	rows, err := db.Query(ctx, `
SELECT shard, from_seq, to_seq, first_seq, messages IS NOT NULL, coalesce(messages, 0), coalesce(id_high, 0), coalesce(id_low, 0)
FROM bridge_receipt WHERE stream = $1 ORDER BY shard, from_seq`, stream)
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	out := stretches{}
	var s stretch
	var from, to, first, high, low int64
	_, err = pgx.ForEachRow(rows, []any{&s.shard, &from, &to, &first, &s.counted, &s.confirmed.messages, &high, &low}, func() error {
		s.from, s.to, s.first, s.confirmed.high, s.confirmed.low = uint64(from), uint64(to), uint64(first), uint64(high), uint64(low)
		one := s
		out[s.shard] = append(out[s.shard], &one)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	return out, nil
}

// of are the stretches that have a message: none, one, or more where the position
// was set back into the middle of one.
func (s stretches) of(shard int, seq uint64) (out []*stretch) {
	all := s[shard]
	for i := sort.Search(len(all), func(i int) bool { return all[i].from >= seq }) - 1; i >= 0; i-- {
		if all[i].to >= seq {
			out = append(out, all[i])
		}
		if i > 0 && all[i-1].to <= all[i].from {
			break
		}
	}
	return out
}
