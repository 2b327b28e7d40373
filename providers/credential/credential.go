// Package credential hands out the rows of table credential.
//
// All rows are held in memory and read again every few seconds, so that
// handing one out costs nothing and a change made by hand is seen without a
// restart. What happens to a credential (it is limited, refused, works again)
// is written to its row, where every process sees it.
package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/providers"
)

// Refresh is how often rows are read again (issue: changes within 5 s).
const Refresh = 4 * time.Second

// rests is how long a credential that was told to slow down rests, by the
// number of times in a row, when the provider did not say (decision 13).
var rests = []time.Duration{10 * time.Minute, 30 * time.Minute, 60 * time.Minute}

// A Store is the table as this process last saw it. It is safe for
// concurrent use.
type Store struct {
	lg    *slog.Logger
	db    *pgxpool.Pool
	known providers.Set

	mu      sync.Mutex // guards what follows
	rows    map[string][]*row
	read    time.Time
	warned  map[int64]string // rows that cannot be used, and why
	counter uint64
}

type row struct {
	providers.Credential
	till     time.Time // resting until; zero: ready
	failures int
	used     uint64 // of counter, when last handed out
}

// New returns a Store. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, known providers.Set) *Store {
	return &Store{lg: lg, db: db, known: known, warned: map[int64]string{}}
}

// Run reads the table until ctx ends.
func (s *Store) Run(ctx context.Context) error {
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
		}
	}
}

const loadSQL = `
SELECT id, source, coalesce(handle, ''), credentials, disabled_till, failures
FROM credential
WHERE enabled AND NOT coalesce(data_access_expired, false) AND source = ANY($1)
ORDER BY id`

// Load reads the table now.
func (s *Store) Load(ctx context.Context) error {
	sources := make([]string, 0, len(s.known))
	for source := range s.known {
		sources = append(sources, source)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	rs, err := s.db.Query(ctx, loadSQL, sources)
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	rows := map[string][]*row{}
	bad := map[int64]string{}
	_, err = pgx.CollectRows(rs, func(r pgx.CollectableRow) (struct{}, error) {
		var c row
		var fields []byte
		var till *time.Time
		if err := r.Scan(&c.ID, &c.Source, &c.Handle, &fields, &till, &c.failures); err != nil {
			return struct{}{}, err
		}
		if till != nil {
			c.till = *till
		}
		if err := c.decode(fields); err != nil {
			bad[c.ID] = err.Error()
			return struct{}{}, nil
		}
		if check := s.known[c.Source].Check; check != nil {
			if err := check(c.Credential); err != nil {
				bad[c.ID] = err.Error()
				return struct{}{}, nil
			}
		}
		rows[c.Source] = append(rows[c.Source], &c)
		return struct{}{}, nil
	})
	if err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, why := range bad {
		if s.warned[id] != why {
			s.lg.Error("credential cannot be used", "credential", id, "err", why)
		}
	}
	for source, list := range rows {
		for _, c := range list {
			if i := slices.IndexFunc(s.rows[source], func(o *row) bool { return o.ID == c.ID }); i >= 0 {
				c.used = s.rows[source][i].used
			}
		}
	}
	s.rows, s.warned, s.read = rows, bad, time.Now()
	return nil
}

// decode reads the credentials column: an object of texts. The error names
// the row and the field, never a value.
func (r *row) decode(data []byte) error {
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil || len(fields) == 0 {
		return fmt.Errorf("credential %d of %s: column credentials is not an object with fields", r.ID, r.Source)
	}
	r.Fields = make(map[string]providers.Secret, len(fields))
	for k, v := range fields {
		switch v := v.(type) {
		case string:
			r.Fields[k] = providers.Secret(v)
		case float64, bool:
			r.Fields[k] = providers.Secret(fmt.Sprint(v))
		case nil:
		default:
			return fmt.Errorf("credential %d of %s: field %q is not text", r.ID, r.Source, k)
		}
	}
	return nil
}

// Bad is the rows that cannot be used and why, for the doctor.
func (s *Store) Bad() map[int64]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[int64]string, len(s.warned))
	for k, v := range s.warned {
		out[k] = v
	}
	return out
}

// Usable reports whether source has a credential at all, ready or resting.
func (s *Store) Usable(source string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows[source]) > 0
}

// Pick hands out the credential of source that was used least recently. When
// all rest, ok is false and ready says when the first is back; when there is
// none, ready is zero too.
func (s *Store) Pick(source string) (c providers.Credential, ready time.Time, ok bool) {
	now := time.Now().UTC()
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *row
	for _, r := range s.rows[source] {
		if r.till.After(now) {
			if ready.IsZero() || r.till.Before(ready) {
				ready = r.till
			}
			continue
		}
		if best == nil || r.used < best.used {
			best = r
		}
	}
	if best == nil {
		return providers.Credential{}, ready, false
	}
	s.counter++
	best.used = s.counter
	return best.Credential, time.Time{}, true
}

// Rest lets a credential rest after the provider told it to slow down: for
// as long as it said, else 10, 30, then 60 minutes.
func (s *Store) Rest(ctx context.Context, c providers.Credential, after time.Duration) error {
	s.mu.Lock()
	failures := 1
	r := s.find(c)
	if r != nil {
		r.failures++
		failures = r.failures
	}
	if after <= 0 {
		after = rests[min(failures, len(rests))-1]
	}
	till := time.Now().UTC().Add(after).Truncate(time.Microsecond)
	if r != nil {
		r.till = till
	}
	s.mu.Unlock()
	return s.write(ctx, c, `
UPDATE credential SET disabled_till = greatest(disabled_till, $2), failures = failures + 1, reason = 'limited',
       updated_at = now() AT TIME ZONE 'UTC'
WHERE id = $1`, till)
}

// Refuse takes a credential out of use: the provider does not accept it.
func (s *Store) Refuse(ctx context.Context, c providers.Credential, reason string, expired bool) error {
	s.mu.Lock()
	s.rows[c.Source] = slices.DeleteFunc(s.rows[c.Source], func(r *row) bool { return r.ID == c.ID })
	s.mu.Unlock()
	s.lg.Error("credential refused by the provider, taken out of use", "credential", c.ID, "provider", c.Source, "err", reason)
	return s.write(ctx, c, `
UPDATE credential SET enabled = false, reason = $2, data_access_expired = coalesce(data_access_expired, false) OR $3,
       updated_at = now() AT TIME ZONE 'UTC'
WHERE id = $1`, reason, expired)
}

// Works says that a credential got an answer: its rests begin at the
// shortest again.
func (s *Store) Works(ctx context.Context, c providers.Credential) error {
	s.mu.Lock()
	r := s.find(c)
	if r == nil || r.failures == 0 {
		s.mu.Unlock()
		return nil
	}
	r.failures = 0
	s.mu.Unlock()
	return s.write(ctx, c, `UPDATE credential SET failures = 0, reason = NULL WHERE id = $1`)
}

func (s *Store) find(c providers.Credential) *row {
	for _, r := range s.rows[c.Source] {
		if r.ID == c.ID {
			return r
		}
	}
	return nil
}

func (s *Store) write(ctx context.Context, c providers.Credential, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := s.db.Exec(ctx, sql, append([]any{c.ID}, args...)...); err != nil {
		return fmt.Errorf("credential %d of %s: %w", c.ID, c.Source, err)
	}
	return nil
}
