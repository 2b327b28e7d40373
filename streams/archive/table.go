package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// errLost says that another process has written what we were about to.
var errLost = errors.New("another process writes the archive")

const columns = `run, first_seq, last_seq, state, first_at, last_at, observed_from, observed_to, count, subjects, object, bytes, sha256,
	index_bytes, index_sha256, plain_bytes, claimed_bytes, created_at, retained_until`

// rewinds is more than a stream is ever set back; in nanoseconds, so no two
// streams are made that close to each other.
const rewinds = 1_000_000

// segments are the rows that where selects, in the order of the history.
func (a *Archive) segments(ctx context.Context, where string, args ...any) ([]Segment, error) {
	rows, err := a.db.Query(ctx, `SELECT `+columns+` FROM archive_segment WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("archive: read segments: %w", err)
	}
	gs, err := pgx.CollectRows(rows, pgx.RowToStructByName[Segment])
	if err != nil {
		return nil, fmt.Errorf("archive: read segments: %w", err)
	}
	return gs, nil
}

// Segments are all that is stored, in the order of the history.
func (a *Archive) Segments(ctx context.Context) ([]Segment, error) {
	return a.segments(ctx, `state = 'stored' ORDER BY run, first_seq`)
}

// newest is the last stored segment of the stream that was made then.
func (a *Archive) newest(ctx context.Context, created int64) (g Segment, ok bool, err error) {
	gs, err := a.segments(ctx, `state = 'stored' AND run >= $1 AND run < $1 + $2 ORDER BY run DESC, first_seq DESC LIMIT 1`, created, rewinds)
	if err != nil || len(gs) == 0 {
		return g, false, err
	}
	return gs[0], true, nil
}

// announce stores the row of a segment that is about to be written.
func (a *Archive) announce(ctx context.Context, g *Segment) error {
	tag, err := a.db.Exec(ctx, `
INSERT INTO archive_segment (run, first_seq, last_seq, state, first_at, last_at, observed_from, observed_to, count, subjects, object, bytes,
	sha256, index_bytes, index_sha256, plain_bytes, claimed_bytes, created_at)
SELECT $1, $2, $3, 'writing', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, now() AT TIME ZONE 'UTC'
WHERE NOT EXISTS (SELECT FROM archive_segment WHERE run = $1 AND last_seq >= $2)
ON CONFLICT DO NOTHING`,
		g.Run, g.First, g.Last, g.FirstAt, g.LastAt, g.ObservedFrom, g.ObservedTo, g.Count, g.Subjects, g.Object, g.Bytes,
		[]byte(g.Sum), g.IndexBytes, []byte(g.IndexSum), g.PlainBytes, g.ClaimedBytes)
	return one(tag.RowsAffected(), err, "announce")
}

// revise replaces what the row of an unfinished segment says about its objects.
func (a *Archive) revise(ctx context.Context, g *Segment) error {
	tag, err := a.db.Exec(ctx, `
UPDATE archive_segment SET first_at = $3, last_at = $4, observed_from = $5, observed_to = $6, count = $7, subjects = $8, bytes = $9,
	sha256 = $10, index_bytes = $11, index_sha256 = $12, plain_bytes = $13, claimed_bytes = $14
WHERE run = $1 AND first_seq = $2 AND state = 'writing'`,
		g.Run, g.First, g.FirstAt, g.LastAt, g.ObservedFrom, g.ObservedTo, g.Count, g.Subjects, g.Bytes,
		[]byte(g.Sum), g.IndexBytes, []byte(g.IndexSum), g.PlainBytes, g.ClaimedBytes)
	return one(tag.RowsAffected(), err, "revise")
}

// count makes the segment one that counts.
func (a *Archive) count(ctx context.Context, g *Segment) error {
	tag, err := a.db.Exec(ctx, `
UPDATE archive_segment SET state = 'stored', created_at = now() AT TIME ZONE 'UTC'
WHERE run = $1 AND first_seq = $2 AND last_seq = $3 AND sha256 = $4 AND state = 'writing'`, g.Run, g.First, g.Last, []byte(g.Sum))
	return one(tag.RowsAffected(), err, "finish")
}

// drop removes the row of a segment in a state.
func (a *Archive) drop(ctx context.Context, g *Segment, state string) error {
	_, err := a.db.Exec(ctx, `DELETE FROM archive_segment WHERE run = $1 AND first_seq = $2 AND state = $3`, g.Run, g.First, state)
	if err != nil {
		return fmt.Errorf("archive: remove the row of segment %s: %w", g.Object, err)
	}
	return nil
}

func one(n int64, err error, what string) error {
	if err != nil {
		return fmt.Errorf("archive: %s segment: %w", what, err)
	}
	if n != 1 {
		return errLost
	}
	return nil
}

// micros is the precision of the table's times.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
