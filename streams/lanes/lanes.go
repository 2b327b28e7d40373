// Package lanes reads the EVENTS stream in order, shard by shard, exactly as
// far as Postgres says.
//
// # What is stored
//
// Table stream_position has a row per (reader, shard): applied, the sequence
// up to which the reader's rows are written, and told, the sequence up to
// which everything that follows from them was published. A handler moves
// applied in the transaction that writes its rows; told follows with the next
// batch. After a crash reading begins at told+1, and what lies at or below
// applied is handed over again marked Redo: its rows are there, its
// consequences may not be. A batch of which nothing is to be written costs no
// transaction: what was passed over is written down ten times a second.
//
// # Why not durable consumers
//
// Order is a promise (per profile on RabbitMQ), and positions belong into the
// transaction of the rows. A durable consumer shared by two processes gives
// neither: it deals messages out, and redelivers an unacknowledged one after
// newer ones. So the stream is read by ordered consumers from a position that
// Postgres holds; restoring an old backup of the database simply reads again. A
// stream that was set back, by a backup of its own or by a power cut without fsync,
// ends before the position: it is read from its beginning, since what gets the old
// sequences now was never seen.
//
// # Who reads
//
// A shard is read by the one process that holds its advisory lock. The
// processes of a reader count each other by a shared lock and hold an even
// share of the shards; when one dies, its session ends, its locks are free,
// and the others take over within seconds. A process that lost its locks
// without noticing is stopped by Save, which moves a position only from the
// place where that process left it.
package lanes

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
	"beat/streams/event"
)

// Config of a Reader. A zero field means its default.
type Config struct {
	Name     string        // of the reader, such as project or bridge
	MaxBatch int           // messages handed over at once; default 500
	MaxBytes int           // of their bodies; default 16 MiB
	Balance  time.Duration // between two looks at who is there; default 2s
}

// A Msg is one message of the stream.
type Msg struct {
	Shard   int
	Kind    string // event.KindCommit or event.KindTask
	Seq     uint64
	Subject string
	Data    []byte
	Header  func(string) string
	Redo    bool // applied before: rows are written, consequences perhaps not
}

// A Batch is messages of the shards that this process owns, in stream order.
type Batch struct {
	Msgs  []Msg
	r     *session
	to    map[int]uint64
	saved bool
}

// A Handler applies a batch. It calls Save once, in the transaction of its rows, or
// not at all if it has none, and returns nil when everything that follows is
// published. After an error the batch is handed over again.
type Handler func(ctx context.Context, b *Batch) error

// A Reader reads the stream for one handler.
type Reader struct {
	lg     *slog.Logger
	db     *pgxpool.Pool
	js     jetstream.JetStream
	handle Handler
	cfg    Config
}

// New returns a Reader. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, js jetstream.JetStream, cfg Config, handle Handler) *Reader {
	if cfg.MaxBatch <= 0 {
		cfg.MaxBatch = 500
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 16 << 20
	}
	if cfg.Balance <= 0 {
		cfg.Balance = 2 * time.Second
	}
	return &Reader{lg: lg.With("reader", cfg.Name), db: db, js: js, handle: handle, cfg: cfg}
}

// Run reads until ctx ends. A batch in hand is finished first.
func (r *Reader) Run(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ctx.Err() == nil; {
		began := time.Now()
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > 10*time.Second {
			wait = 100 * time.Millisecond
		}
		r.lg.Warn("reading stopped, starting again", "err", err, "in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, 10*time.Second)
	}
	return nil
}

// A session is what one database session owns.
type session struct {
	*Reader
	conn   *pgx.Conn // holds the advisory locks; used only by session
	stream string    // identity of the stream
	last   uint64    // a sequence that the stream has reached
	owned  []int
	// per shard: written, published, and published as the row has it
	applied, told, saved map[int]uint64
	passed               bool // batches of which nothing was written
}

// passing is how long the positions of batches that were passed over may be
// behind in the table.
const passing = 100 * time.Millisecond

func (r *Reader) session(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, r.db.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	s := &session{Reader: r, conn: conn, applied: map[int]uint64{}, told: map[int]uint64{}, saved: map[int]uint64{}}
	stream, err := r.js.Stream(ctx, bus.Events)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	s.stream = Identity(stream)
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock_shared($1, -1)", r.class()); err != nil {
		return err
	}
	for ctx.Err() == nil {
		want, err := s.share(ctx)
		if err != nil {
			return err
		}
		if err := s.balance(ctx, want); err != nil {
			return err
		}
		if err := s.read(ctx); err != nil {
			return err
		}
		if err := s.saveTold(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// class is the first half of the advisory lock keys of this reader.
func (r *Reader) class() int32 {
	h := fnv.New32a()
	h.Write([]byte("beat:lanes:" + r.cfg.Name)) //nolint:errcheck // never fails
	return int32(h.Sum32())
}

// share is how many shards this process should hold.
func (s *session) share(ctx context.Context) (int, error) {
	var members int
	err := s.conn.QueryRow(ctx, `
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = ($1::bigint & 4294967295)::oid AND objid = 4294967295::oid`, int64(s.class())).Scan(&members)
	if err != nil {
		return 0, fmt.Errorf("count readers: %w", err)
	}
	members = max(members, 1)
	return (event.Shards + members - 1) / members, nil
}

// balance gives up or takes shards until there are want of them.
func (s *session) balance(ctx context.Context, want int) error {
	before := len(s.owned)
	for len(s.owned) > want {
		shard := s.owned[len(s.owned)-1]
		if _, err := s.conn.Exec(ctx, "SELECT pg_advisory_unlock($1, $2)", s.class(), shard); err != nil {
			return err
		}
		s.owned = s.owned[:len(s.owned)-1]
	}
	for shard := 0; shard < event.Shards && len(s.owned) < want; shard++ {
		if slices.Contains(s.owned, shard) {
			continue
		}
		var ok bool
		if err := s.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", s.class(), shard).Scan(&ok); err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := s.load(ctx, shard); err != nil {
			return err
		}
		s.owned = append(s.owned, shard)
	}
	if len(s.owned) != before {
		s.lg.Info("shards changed", "owned", len(s.owned), "of", event.Shards)
	}
	return nil
}

func (s *session) load(ctx context.Context, shard int) error {
	if _, err := s.conn.Exec(ctx, `
INSERT INTO stream_position (reader, shard, stream, applied, told) VALUES ($1, $2, $3, 0, 0)
ON CONFLICT DO NOTHING`, s.cfg.Name, shard, s.stream); err != nil {
		return err
	}
	var stream string
	var applied, told uint64
	err := s.conn.QueryRow(ctx, `SELECT stream, applied, told FROM stream_position WHERE reader = $1 AND shard = $2`,
		s.cfg.Name, shard).Scan(&stream, &applied, &told)
	if err != nil {
		return err
	}
	back, err := s.setBack(ctx, max(applied, told))
	if err != nil {
		return err
	}
	if stream != s.stream || back {
		s.lg.Warn("the stream is a new one or was set back, reading it from its beginning", "shard", shard, "was", stream, "is", s.stream, "applied", applied)
		applied, told = 0, 0
		if _, err := s.conn.Exec(ctx, `
UPDATE stream_position SET stream = $3, applied = 0, told = 0, updated_at = now() AT TIME ZONE 'UTC'
WHERE reader = $1 AND shard = $2`, s.cfg.Name, shard, s.stream); err != nil {
			return err
		}
	}
	s.applied[shard], s.told[shard], s.saved[shard] = applied, told, told
	return nil
}

// setBack reports whether the stream ends before a position.
func (s *session) setBack(ctx context.Context, seq uint64) (bool, error) {
	if seq <= s.last {
		return false, nil
	}
	stream, err := s.js.Stream(ctx, bus.Events)
	if err != nil {
		return false, fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	s.last = stream.CachedInfo().State.LastSeq
	return seq > s.last, nil
}

// read hands batches over until it is time to balance again.
func (s *session) read(ctx context.Context) error {
	turn, cancel := context.WithTimeout(ctx, s.cfg.Balance)
	if len(s.owned) == 0 {
		<-turn.Done()
		cancel()
		return nil
	}
	cancel()
	start := s.told[s.owned[0]]
	filters := make([]string, len(s.owned))
	for i, shard := range s.owned {
		start = min(start, s.told[shard])
		filters[i] = event.Filter(shard)
	}
	if len(s.owned) == event.Shards {
		filters = []string{"beat.event.>"}
	}
	consumer, err := s.js.OrderedConsumer(ctx, bus.Events, jetstream.OrderedConsumerConfig{
		FilterSubjects: filters,
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    start + 1,
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", bus.Events, err)
	}
	it, err := consumer.Messages(jetstream.PullMaxMessages(2 * s.cfg.MaxBatch))
	if err != nil {
		return fmt.Errorf("read %s: %w", bus.Events, err)
	}
	in := make(chan jetstream.Msg, s.cfg.MaxBatch)
	failed := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := it.Next()
			if err != nil {
				failed <- err
				return
			}
			select {
			case in <- m:
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
		}
	}()
	defer func() {
		it.Stop()
		for {
			select {
			case <-in: // let the goroutine out of its send
			case <-done:
				return
			}
		}
	}()
	check := time.NewTicker(s.cfg.Balance)
	defer check.Stop()
	pass := time.NewTicker(passing)
	defer pass.Stop()
	var held *Msg
	for {
		var b *Batch
		if held != nil {
			b = s.batch(*held)
			held = nil
		} else {
			select {
			case <-ctx.Done():
				return nil
			case err := <-failed:
				if ctx.Err() != nil || errors.Is(err, jetstream.ErrMsgIteratorClosed) {
					return nil
				}
				return fmt.Errorf("read %s: %w", bus.Events, err)
			case <-check.C:
				want, err := s.share(ctx)
				if err != nil {
					return err
				}
				if want < len(s.owned) || want > len(s.owned) && s.anyFree(ctx) {
					return nil
				}
				if err := s.saveTold(ctx); err != nil {
					return err
				}
				continue
			case <-pass.C:
				if s.passed {
					if err := s.saveTold(ctx); err != nil {
						return err
					}
				}
				continue
			case m := <-in:
				first, err := s.msg(m)
				if err != nil {
					return err
				}
				b = s.batch(first)
			}
		}
		bytes := b.bytes()
	fill:
		for len(b.Msgs) < s.cfg.MaxBatch {
			select {
			case m := <-in:
				next, err := s.msg(m)
				if err != nil {
					return err
				}
				if bytes += len(next.Data); bytes > s.cfg.MaxBytes {
					held = &next
					break fill
				}
				b.add(next)
			default:
				break fill
			}
		}
		if len(b.Msgs) == 0 {
			continue
		}
		// Stopping means to take no more, not to drop what is in hand.
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		err := s.handle(work, b)
		cancel()
		if err != nil {
			return err
		}
		s.passed = s.passed || !b.saved
		for shard, seq := range b.to {
			s.told[shard] = max(s.told[shard], seq)
		}
	}
}

// anyFree reports whether some shard has no owner.
func (s *session) anyFree(ctx context.Context) bool {
	var held int
	err := s.conn.QueryRow(ctx, `
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid = ($1::bigint & 4294967295)::oid`, int64(s.class())).Scan(&held)
	return err == nil && held < event.Shards
}

func (s *session) msg(m jetstream.Msg) (Msg, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Msg{}, fmt.Errorf("read %s: %w", bus.Events, err)
	}
	shard, kind, err := event.ParseSubject(m.Subject())
	if err != nil { // not ours; position 0 exists for every owned shard
		s.lg.Error("message with a foreign subject passed over", "subject", m.Subject(), "seq", meta.Sequence.Stream)
		shard, kind = s.owned[0], ""
	}
	seq := meta.Sequence.Stream
	data, err := bus.Unpack(m.Headers(), m.Data())
	if err != nil { // the handler refuses it, and says so
		s.lg.Error("message with an unreadable body", "subject", m.Subject(), "seq", seq, "err", err)
		data = m.Data()
	}
	return Msg{
		Shard: shard, Kind: kind, Seq: seq, Subject: m.Subject(), Data: data, Header: m.Headers().Get,
		Redo: seq <= s.applied[shard],
	}, nil
}

func (s *session) batch(first Msg) *Batch {
	b := &Batch{r: s, to: map[int]uint64{}}
	b.add(first)
	return b
}

func (b *Batch) add(m Msg) {
	if m.Seq <= b.r.told[m.Shard] { // another shard lags behind this one
		b.to[m.Shard] = max(b.to[m.Shard], b.r.told[m.Shard])
		return
	}
	b.Msgs = append(b.Msgs, m)
	b.to[m.Shard] = max(b.to[m.Shard], m.Seq)
}

func (b *Batch) bytes() (n int) {
	for _, m := range b.Msgs {
		n += len(m.Data)
	}
	return n
}
