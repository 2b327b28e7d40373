package projections

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A copier is the input of a COPY in binary form, built in place: an observation
// of 2 kB is written once, where arrays would be copied by each layer that they
// pass, and once more by the planner. pgx's own CopyFrom asks for the types
// first, which is a round trip more.
//
// https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"
type copier struct{ b []byte }

var copyHeader = []byte("PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00")

// epoch is Postgres's.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func newCopier(size int) *copier {
	return &copier{append(make([]byte, 0, size), copyHeader...)}
}

func (c *copier) row(columns int) { c.b = binary.BigEndian.AppendUint16(c.b, uint16(columns)) }

func (c *copier) null() { c.size(-1) }

func (c *copier) size(n int) { c.b = binary.BigEndian.AppendUint32(c.b, uint32(int32(n))) }

func (c *copier) text(s string) {
	c.size(len(s))
	c.b = append(c.b, s...)
}

// some is text, or null where there is none.
func (c *copier) some(s string) {
	if s == "" {
		c.null()
		return
	}
	c.text(s)
}

func (c *copier) int8(n int64) {
	c.size(8)
	c.b = binary.BigEndian.AppendUint64(c.b, uint64(n))
}

func (c *copier) int4(n int32) {
	c.size(4)
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(n))
}

func (c *copier) uuid(id uuid.UUID) {
	c.size(len(id))
	c.b = append(c.b, id[:]...)
}

// stamp is a timestamp without a time zone, of UTC.
func (c *copier) stamp(t time.Time) {
	t = t.UTC()
	c.int8((t.Unix()-epoch.Unix())*1e6 + int64(t.Nanosecond())/1e3)
}

// jsonb writes what add appends, and says where it lies.
func (c *copier) jsonb(add func([]byte) []byte) (from, to int) {
	at := len(c.b)
	c.size(0)
	c.b = append(c.b, 1) // version of the form
	from = len(c.b)
	c.b = add(c.b)
	binary.BigEndian.PutUint32(c.b[at:], uint32(len(c.b)-at-4))
	return from, len(c.b)
}

// into ends the input and runs sql, a COPY … FROM STDIN BINARY.
func (c *copier) into(ctx context.Context, tx pgx.Tx, sql string) error {
	c.b = binary.BigEndian.AppendUint16(c.b, 0xffff)
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.b), sql); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
