package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/objects"
)

// ErrNone says that what was asked for is in the archive, and that this process
// does not know where the archive is.
var ErrNone = errors.New("no archive is configured (S3_BUCKET)")

// Config of an Archive. A zero field means its default.
type Config struct {
	Every        time.Duration // how long an answer waits for its segment to fill at most; default 10m
	SegmentBytes int           // of messages, unpacked, in one segment; default 32 MiB
	RetainRaw    time.Duration // for how long RAW keeps what is archived already; default 7 days
	Retain       time.Duration // of the archive; default for ever
	MaxBytes     int64         // of the archive; beyond it the oldest segments go. What RAW still has stays. Default no limit
	Alert        time.Duration // age of an answer that is not archived, from which on a person is told; default three times Every
	Readers      []string      // durables of RAW that must have read what is purged from it
	Tidy         time.Duration // between two looks at what may go; default 30s
	ClaimFrom    int           // bytes of a body from which on it is claimed; default 256 KiB
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.Every, 10*time.Minute)
	def(&c.RetainRaw, 7*24*time.Hour)
	def(&c.Alert, 3*c.Every)
	def(&c.Tidy, 30*time.Second)
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 32 << 20
	}
	if c.ClaimFrom <= 0 {
		c.ClaimFrom = 256 << 10
	}
	return c
}

// An Archive is the archive of one installation, for writing and for reading. It
// is safe for concurrent use; of Run, one call at a time.
type Archive struct {
	lg    *slog.Logger
	db    *pgxpool.Pool
	js    jetstream.JetStream
	store *objects.Store // nil: none is configured
	cfg   Config

	breaker circuitbreaker.CircuitBreaker[any] // of claims
	health  health
	metrics metrics
}

// New returns an Archive. It does no I/O. Without a store there is none: History
// reads RAW alone, and bodies stay in their messages.
func New(lg *slog.Logger, db *pgxpool.Pool, js jetstream.JetStream, store *objects.Store, cfg Config) *Archive {
	a := &Archive{lg: lg, db: db, js: js, store: store, cfg: cfg.withDefaults(), metrics: newMetrics()}
	// Three failures in a row, and for half a minute nobody waits for S3.
	a.breaker = circuitbreaker.NewBuilder[any]().WithFailureThreshold(3).WithDelay(30 * time.Second).Build()
	return a
}

// Configured reports whether there is a store.
func (a *Archive) Configured() bool { return a.store != nil }

// A Position is a place in the history of raw answers. The zero one is before
// its beginning.
type Position struct {
	Run int64  `json:"run"` // of sequences, see the package
	Seq uint64 `json:"seq"` // in RAW
}

// Compare is negative if p comes before q, and positive if after.
func (p Position) Compare(q Position) int {
	switch {
	case p.Run != q.Run:
		return compare(p.Run, q.Run)
	default:
		return compare(p.Seq, q.Seq)
	}
}

func compare[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Run, p.Seq) }

// ParsePosition reads what String wrote.
func ParsePosition(s string) (p Position, err error) {
	if _, err := fmt.Sscanf(s, "%d/%d", &p.Run, &p.Seq); err != nil {
		return p, fmt.Errorf("archive: %q is no position", s)
	}
	return p, nil
}

// A Raw is one raw answer, wherever it is kept.
type Raw struct {
	Entry
	Header nats.Header
	Data   []byte // the body, also of a claim. It must not be changed
}

func (a *Archive) get(ctx context.Context, key string) ([]byte, error) {
	return patiently(ctx, func() ([]byte, error) { return a.store.Get(ctx, key) })
}
