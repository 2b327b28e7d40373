// Package credential hands out the rows of table credential.
//
// A row is in one of these states, all of them in its columns, where every
// process and every person sees the same:
//
//	ready      enabled, data_access_expired not true, disabled_till null or past
//	resting    the same with disabled_till to come; reason is limited,
//	           provider_down, or says who asked for it
//	refused    enabled false with refused_at and a reason, or data_access_expired
//	disabled   enabled false without refused_at: a person switched it off
//	unusable   enabled, but its fields cannot be read or its provider misses one
//
// A rest lasts 10, 30, then 60 minutes, counted in the row by the statement
// that begins it: two processes that are told to slow down in the same moment
// count once. A success resets the count, and so does a day without a rest.
//
// Each process holds all rows in memory, so that handing one out costs nothing.
// It reads the table again every few seconds, and at once when a trigger on the
// table says so. The table is authoritative. What memory knows alone is whose
// turn it is, which a restart forgets: each process then begins somewhere else
// in the round. Without Postgres the last rows stay in use, and a row that is
// told to slow down or refused is left alone by this process at least.
//
// The times in the rows are Postgres's, and are compared with the process's
// clock: clocks are taken to agree to a second.
package credential

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/providers"
)

// Refresh is how often rows are read again (W3.4: changes within 5 s).
const Refresh = 4 * time.Second

// timeout of one statement.
const timeout = 10 * time.Second

// Config of a Store.
type Config struct {
	Key []byte // opens and makes sealed rows, see ParseKey; nil: plain rows only
}

// A Store is the table as this process last saw it. It is safe for
// concurrent use.
type Store struct {
	lg    *slog.Logger
	db    *pgxpool.Pool
	known providers.Set
	cfg   Config
	wake  chan struct{}

	loading sync.Mutex // one reading at a time, so that none overtakes another

	mu      sync.Mutex // guards what follows
	rows    map[string][]*row
	turn    map[string]float64 // by source, see Pick
	bad     map[int64]string   // rows that cannot be used, and why
	changed chan struct{}
	counter uint64 // of all that happens here, see row.used and row.touched
}

type row struct {
	providers.Credential
	digest                             int64 // of the credentials column
	sealed, enabled, expired, rejected bool
	bad                                string // why an enabled row cannot be used
	till                               time.Time
	reason                             string
	failures, downs, weight            int

	// Of this process, kept from one reading to the next.
	start   float64 // where in the round it is next, see Pick
	used    uint64  // when last handed out
	touched uint64  // when last written from here
}

func (r *row) usable() bool { return r.enabled && !r.expired && r.bad == "" }

// New returns a Store. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, known providers.Set, cfg Config) *Store {
	return &Store{lg: lg, db: db, known: known, cfg: cfg, wake: make(chan struct{}, 1), rows: map[string][]*row{},
		turn: map[string]float64{}, bad: map[int64]string{}, changed: make(chan struct{})}
}

// Run reads the table until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.listen(ctx)
	}()
	defer func() { <-done }()
	t := time.NewTicker(Refresh)
	defer t.Stop()
	for {
		if err := s.Load(ctx); err != nil && ctx.Err() == nil {
			s.lg.Warn("reading credentials failed, keeping the last ones", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-s.wake:
		}
	}
}

// listen wakes Run when the table changes. Losing the connection costs speed
// only: the table is read every few seconds anyway.
func (s *Store) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.listenOnce(ctx); err != nil && ctx.Err() == nil {
			s.lg.Warn("listening for credentials failed, polling meanwhile", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second + rand.N(time.Second)):
		}
	}
}

func (s *Store) listenOnce(ctx context.Context) error {
	// A connection of its own, closed at the end: LISTEN holds it for good.
	conn, err := pgx.ConnectConfig(ctx, s.db.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // done with it
	if _, err := conn.Exec(ctx, "LISTEN beat_credential"); err != nil {
		return err
	}
	for {
		select {
		case s.wake <- struct{}{}:
		default:
		}
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}

// Changed is closed when a reading finds a credential that is new, or ready
// earlier than it was. Take it before looking, so that nothing is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// readSQL wants a condition. Infinite times, which time.Time cannot hold, are
// cut to some that are as good.
const readSQL = `
SELECT id, coalesce(source, ''), coalesce(handle, ''), credentials, hashtextextended(coalesce(credentials::text, ''), 0),
       coalesce(enabled, false), coalesce(data_access_expired, false), refused_at IS NOT NULL,
       least(greatest(disabled_till, '1970-01-01'), '9999-12-31'), coalesce(reason, ''), failures, downs, greatest(weight, 1)
FROM credential
WHERE `

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// read is the rows for which where holds, by id.
func (s *Store) read(ctx context.Context, q querier, where string, args ...any) ([]*row, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rs, err := q.Query(ctx, readSQL+where+" ORDER BY id", args...)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	rows, err := pgx.CollectRows(rs, func(c pgx.CollectableRow) (*row, error) {
		var r row
		var fields []byte
		if err := c.Scan(&r.ID, &r.Source, &r.Handle, &fields, &r.digest, &r.enabled, &r.expired, &r.rejected,
			&r.till, &r.reason, &r.failures, &r.downs, &r.weight); err != nil {
			return nil, err
		}
		r.bad = s.inspect(&r, fields)
		return &r, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return rows, nil
}

// inspect fills in the fields of r and says what is wrong with them, or "".
func (s *Store) inspect(r *row, fields []byte) string {
	if err := r.decode(fields, s.cfg.Key); err != nil {
		return err.Error()
	}
	p := s.known[r.Source]
	if p == nil {
		return fmt.Sprintf("credential %d of %s: there is no such provider", r.ID, r.Source)
	}
	if p.Check != nil {
		if err := p.Check(r.Credential); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Load reads the table now.
func (s *Store) Load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	s.mu.Lock()
	began := s.counter
	s.mu.Unlock()
	rows, err := s.read(ctx, s.db, "source = ANY($1)", slices.Collect(maps.Keys(s.known)))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merge(rows, began)
	return nil
}

// merge replaces the rows by those read when the counter stood at began.
func (s *Store) merge(rows []*row, began uint64) {
	now := time.Now()
	old := map[int64]*row{}
	for _, list := range s.rows {
		for _, r := range list {
			old[r.ID] = r
		}
	}
	better := false
	bySource, bad := map[string][]*row{}, map[int64]string{}
	for _, r := range rows {
		was := old[r.ID]
		if was == nil || was.Source != r.Source {
			r.start = s.turn[r.Source] + rand.Float64()/float64(r.weight)
			was = nil
		} else {
			r.start, r.used, r.touched = was.start, was.used, was.touched
			if was.touched > began { // the reading may be older than what was written meanwhile
				r.enabled, r.expired, r.rejected = was.enabled, was.expired, was.rejected
				r.till, r.reason, r.failures, r.downs = was.till, was.reason, was.failures, was.downs
			}
		}
		if r.enabled && !r.expired && r.bad != "" {
			if bad[r.ID] = r.bad; s.bad[r.ID] != r.bad {
				s.lg.Error("credential cannot be used", "credential", r.ID, "err", r.bad)
			}
		}
		if !r.usable() {
			r.Fields = nil
		} else if was == nil || !was.usable() || was.till.After(now) && r.till.Before(was.till) {
			better = true
		}
		bySource[r.Source] = append(bySource[r.Source], r)
	}
	s.rows, s.bad = bySource, bad
	if better {
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// Bad is the rows that cannot be used and why, for the doctor.
func (s *Store) Bad() map[int64]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.bad)
}

// find is the row of c. s.mu is held.
func (s *Store) find(c providers.Credential) *row {
	for _, r := range s.rows[c.Source] {
		if r.ID == c.ID {
			return r
		}
	}
	return nil
}
