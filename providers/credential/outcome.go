package credential

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/providers"
)

// Reasons that the code itself knows.
const (
	reasonLimited = "limited"
	reasonDown    = "provider_down"
	reasonQuota   = "quota"
)

// shortest is the first rest. The row's own statement decides the rest that
// counts; this one holds until it has answered.
const shortest = 10 * time.Minute

// Pieces of the statements below. All are about the row that is written, so
// that a statement that had to wait for another sees what that one wrote.
const (
	nowSQL     = `(now() AT TIME ZONE 'UTC')`
	restingSQL = `coalesce(disabled_till > ` + nowSQL + `, false)`
	// The count of rests with this one: it begins again a day after the last.
	countSQL = `CASE WHEN greatest(rested_at, disabled_till) < ` + nowSQL + ` - interval '24 hours' THEN 1 ELSE %[1]s + 1 END`
	stepSQL  = `make_interval(mins => (ARRAY[10, 30, 60])[least(` + countSQL + `, 3)])` // decision 13
	tillSQL  = `least(disabled_till, '9999-12-31')`
)

// A 429 that finds the row resting for one counts no more: it belongs to the
// same burst. An outage is no such rest.
var restSQL = fmt.Sprintf(`
UPDATE credential SET
       failures = CASE WHEN `+limitedSQL+` THEN failures ELSE `+countSQL+` END,
       disabled_till = greatest(disabled_till, `+nowSQL+` + CASE WHEN $2::interval > interval '0' THEN $2
           WHEN `+limitedSQL+` THEN interval '0' ELSE `+stepSQL+` END),
       rested_at = CASE WHEN `+limitedSQL+` THEN rested_at ELSE `+nowSQL+` END,
       reason = CASE WHEN `+limitedSQL+` THEN coalesce(reason, 'limited') ELSE 'limited' END,
       updated_at = `+nowSQL+`
WHERE id = $1 AND enabled
RETURNING `+tillSQL+`, reason, failures`, "failures")

const limitedSQL = restingSQL + ` AND reason IS DISTINCT FROM 'provider_down'`

// Rest lets c rest after the provider told it to slow down: for as long as the
// provider said, else 10, 30, then 60 minutes. till is zero when the row is
// gone or out of use. On an error the row rests in this process at least.
func (s *Store) Rest(ctx context.Context, c providers.Credential, after time.Duration) (till time.Time, err error) {
	after = max(after, 0)
	defer s.hold(c, func(r *row) {
		wait := after
		if wait == 0 && (!r.till.After(time.Now()) || r.reason == reasonDown) {
			wait = shortest
		}
		if t := time.Now().UTC().Add(wait); t.After(r.till) {
			r.till = t
		}
		if r.reason == reasonDown {
			r.reason = reasonLimited // no longer to be probed
		}
	})()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var reason string
	var failures int
	err = s.db.QueryRow(ctx, restSQL, c.ID, after).Scan(&till, &reason, &failures)
	if errors.Is(err, pgx.ErrNoRows) {
		s.touch(c, func(r *row) { r.enabled = false })
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("credential %d of %s: rest: %w", c.ID, c.Source, err)
	}
	s.touch(c, func(r *row) { r.till, r.reason, r.failures = till, reason, failures })
	return till, nil
}

// sameRest is how far apart the ends may be that answers name for one rest: most
// sources count in whole seconds.
const sameRest = time.Second

const spentSQL = `
UPDATE credential SET disabled_till = $2, reason = CASE WHEN ` + restingSQL + ` THEN reason ELSE 'quota' END, updated_at = ` + nowSQL + `
WHERE id = $1 AND enabled AND $2 > ` + nowSQL + `
  AND (NOT ` + restingSQL + ` OR reason IS DISTINCT FROM 'provider_down' AND disabled_till < $2 - $3::interval)`

// Spent lets c rest until its quota is given back, as the provider said with an
// answer. That is no refusal: it counts as no rest, and ends none. A row that
// rests about as long already is not written again. On an error the row rests in
// this process at least.
func (s *Store) Spent(ctx context.Context, c providers.Credential, until time.Time) error {
	until = until.UTC()
	if !s.restsLess(c, until) {
		return nil
	}
	defer s.hold(c, func(r *row) {
		if !r.till.After(time.Now()) {
			r.reason = reasonQuota
		}
		r.till = until
	})()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := s.db.Exec(ctx, spentSQL, c.ID, until, sameRest); err != nil {
		return fmt.Errorf("credential %d of %s: spent: %w", c.ID, c.Source, err)
	}
	return nil
}

// restsLess reports whether a rest until then is news for c.
func (s *Store) restsLess(c providers.Credential, until time.Time) bool {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(c)
	if r == nil || !r.usable() || !until.After(now) {
		return false
	}
	return !r.till.After(now) || r.reason != reasonDown && r.till.Before(until.Add(-sameRest))
}

// Ready reports whether c, picked a moment ago, may still be used: meanwhile it
// may have been told to rest, by an answer to this process or another. rested is
// when its last rest ended, zero if it had none.
func (s *Store) Ready(c providers.Credential) (rested time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(c)
	if r == nil || !r.usable() || r.till.After(time.Now()) {
		return time.Time{}, false
	}
	if r.till.Unix() > 0 { // as null is read
		rested = r.till
	}
	return rested, true
}

// Refuse takes c out of use: the provider does not accept it. expired says that
// its data access has lapsed. A row that was given other fields since c was
// handed out is left alone: it is not the one that was refused.
func (s *Store) Refuse(ctx context.Context, c providers.Credential, reason string, expired bool) error {
	var digest *int64
	stale := false
	release := s.hold(c, func(r *row) {
		if c.Fields != nil {
			if stale = r.Fields != nil && !maps.Equal(c.Fields, r.Fields); stale {
				return
			}
			d := r.digest
			digest = &d
		}
		r.enabled, r.rejected = false, true
		r.expired = r.expired || expired
	})
	defer release()
	if stale {
		return nil
	}
	reason = Scrub(c, reason)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := s.db.Exec(ctx, `
UPDATE credential SET enabled = false, reason = $2, data_access_expired = coalesce(data_access_expired, false) OR $3,
       refused_at = `+nowSQL+`, updated_at = `+nowSQL+`
WHERE id = $1 AND ($4::bigint IS NULL OR hashtextextended(coalesce(credentials::text, ''), 0) = $4)`, c.ID, reason, expired, digest)
	if err != nil {
		return fmt.Errorf("credential %d of %s: refuse: %w", c.ID, c.Source, err)
	}
	if tag.RowsAffected() > 0 {
		s.lg.Error("credential refused by the provider, taken out of use", "credential", c.ID, "provider", c.Source, "err", reason)
		return nil
	}
	release()
	return s.Load(ctx) // replaced a moment ago: use what is there now
}

// Works says that c got an answer: its rests begin at the shortest again. The
// answer to a call from before the rest says nothing.
func (s *Store) Works(ctx context.Context, c providers.Credential) error {
	s.mu.Lock()
	r := s.find(c)
	if r == nil || r.failures == 0 && r.downs == 0 || r.till.After(time.Now()) {
		s.mu.Unlock()
		return nil
	}
	s.counter++
	r.failures, r.downs, r.reason, r.touched = 0, 0, "", s.counter
	s.mu.Unlock()
	defer s.again()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.db.Exec(ctx, `
UPDATE credential SET failures = 0, downs = 0, reason = NULL, updated_at = `+nowSQL+`
WHERE id = $1 AND enabled AND (failures > 0 OR downs > 0) AND NOT `+restingSQL, c.ID)
	if err != nil {
		return fmt.Errorf("credential %d of %s: works: %w", c.ID, c.Source, err)
	}
	return nil
}

// Rows are locked in order of their ids, lest two processes wait for each
// other.
var downSQL = fmt.Sprintf(`
WITH those AS MATERIALIZED (
    SELECT id FROM credential
    WHERE source = $1 AND enabled AND NOT coalesce(data_access_expired, false) AND NOT `+restingSQL+`
    ORDER BY id FOR UPDATE
)
UPDATE credential SET downs = `+countSQL+`, disabled_till = `+nowSQL+` + `+stepSQL+`,
       rested_at = `+nowSQL+`, reason = 'provider_down', updated_at = `+nowSQL+`
WHERE id IN (SELECT id FROM those)`, "downs")

// Down says that source gives no answers at all, whoever asks, and why: every
// row that does not rest already rests for 10, 30, then 60 minutes. till is when
// the first row of the source is back, zero when it has none.
func (s *Store) Down(ctx context.Context, source, reason string) (till time.Time, err error) {
	if err := s.all(ctx, "down", downSQL, source); err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	s.mu.Lock()
	for _, r := range s.rows[source] {
		if r.usable() && r.till.After(now) && (till.IsZero() || r.till.Before(till)) {
			till = r.till
		}
	}
	s.mu.Unlock()
	s.lg.Debug("credentials rest, their provider is down", "provider", source, "till", till, "err", reason)
	return till, nil
}

const upSQL = `
WITH those AS MATERIALIZED (
    SELECT id FROM credential WHERE source = $1 AND (downs > 0 OR reason = 'provider_down')
    ORDER BY id FOR UPDATE
)
UPDATE credential SET downs = 0, updated_at = ` + nowSQL + `,
       disabled_till = CASE WHEN reason = 'provider_down' THEN NULL ELSE disabled_till END,
       reason = nullif(reason, 'provider_down')
WHERE id IN (SELECT id FROM those)`

// Up says that source gives answers again: the rows that rested because it did
// not are ready at once.
func (s *Store) Up(ctx context.Context, source string) error {
	return s.all(ctx, "up", upSQL, source)
}

// all runs a statement about all rows of source and reads them again.
func (s *Store) all(ctx context.Context, what, sql, source string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := s.db.Exec(ctx, sql, source); err != nil {
		return fmt.Errorf("credentials of %s: %s: %w", source, what, err)
	}
	return s.Load(ctx)
}

// touch changes the row of c in memory; a reading under way does not undo it.
func (s *Store) touch(c providers.Credential, change func(*row)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(c); r != nil {
		s.counter++
		r.touched = s.counter
		change(r)
	}
}

// held is row.touched of a row that is being written: it is later than any
// reading, for one that begins now may still see the row as it was.
const held = math.MaxUint64

// hold is touch for a change that is about to be written. release, to be called
// when that is done, lets readings change the row again.
func (s *Store) hold(c providers.Credential, change func(*row)) (release func()) {
	s.touch(c, func(r *row) {
		r.touched = held
		change(r)
	})
	return func() {
		s.mu.Lock()
		if r := s.find(c); r != nil && r.touched == held {
			s.counter++
			r.touched = s.counter
		}
		s.mu.Unlock()
		s.again()
	}
}

// again lets Run read the table once more: a reading that was passed over for a
// row that was just written may have been the one that shows what another process
// has made of it.
func (s *Store) again() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Scrub is text on one line, short, and without the values of c's fields, for
// providers repeat what they were sent.
func Scrub(c providers.Credential, text string) string {
	for _, v := range c.Fields {
		if len(v) >= 4 { // a shorter one is no secret, and part of many words
			text = strings.ReplaceAll(text, v.Reveal(), v.String())
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 300 {
		text = string(r[:299]) + "…"
	}
	return text
}
