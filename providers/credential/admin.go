package credential

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/providers"
)

// What an operator's command can be wrong about.
var (
	ErrInvalid = errors.New("invalid credential") // its fields are not what its provider needs
	ErrUnknown = errors.New("no such credential")
)

// A Row is a row of the table as a person may see it: with the names of its
// fields, never a value.
type Row struct {
	ID     int64      `json:"id"`
	Source string     `json:"source"`
	Handle string     `json:"handle"`
	Weight int        `json:"weight"`
	State  string     `json:"state"` // ready, resting, refused, disabled or unusable
	Until  *time.Time `json:"until"` // of resting
	Reason string     `json:"reason"`
	Fields []string   `json:"fields"`
	Sealed bool       `json:"sealed"`
}

// Rows is the whole table as it is now, by id.
func (s *Store) Rows(ctx context.Context) ([]Row, error) {
	rows, err := s.read(ctx, s.db, "true")
	if err != nil {
		return nil, err
	}
	out := make([]Row, 0, len(rows))
	for _, r := range rows {
		out = append(out, r.show(time.Now()))
	}
	return out, nil
}

func (r *row) show(now time.Time) Row {
	v := Row{ID: r.ID, Source: r.Source, Handle: r.Handle, Weight: r.weight, State: "ready", Sealed: r.sealed,
		Fields: slices.AppendSeq([]string{}, maps.Keys(r.Fields))}
	slices.Sort(v.Fields)
	switch {
	case !r.enabled && !r.rejected:
		v.State, v.Reason = "disabled", r.reason
	case !r.enabled:
		v.State, v.Reason = "refused", r.reason
	case r.expired:
		v.State, v.Reason = "refused", "data access expired"
	case r.bad != "":
		v.State, v.Reason = "unusable", r.bad
	case r.till.After(now):
		v.State, v.Until, v.Reason = "resting", &r.till, r.reason
	}
	return v
}

// Get is credential id as it is now, whatever its state.
func (s *Store) Get(ctx context.Context, id int64) (providers.Credential, error) {
	rows, err := s.read(ctx, s.db, "id = $1", id)
	if err != nil {
		return providers.Credential{}, err
	}
	if len(rows) == 0 {
		return providers.Credential{}, fmt.Errorf("%w: %d", ErrUnknown, id)
	}
	if rows[0].bad != "" {
		return providers.Credential{}, errors.New(rows[0].bad)
	}
	return rows[0].Credential, nil
}

// Find is the credential of a source and handle as it is now, whatever its state;
// ready says whether it could be used, but for a rest. Without fields it cannot be
// read. The error wraps ErrUnknown when there is none.
func (s *Store) Find(ctx context.Context, source, handle string) (c providers.Credential, ready bool, err error) {
	return s.one(ctx, "source = $1 AND coalesce(handle, '') = $2", source, handle)
}

// FindID is Find by number.
func (s *Store) FindID(ctx context.Context, id int64) (c providers.Credential, ready bool, err error) {
	return s.one(ctx, "id = $1", id)
}

func (s *Store) one(ctx context.Context, where string, args ...any) (c providers.Credential, ready bool, err error) {
	rows, err := s.read(ctx, s.db, where, args...)
	if err != nil {
		return c, false, err
	}
	if len(rows) == 0 {
		return c, false, fmt.Errorf("%w: %v", ErrUnknown, args)
	}
	r := rows[0]
	if r.bad != "" {
		r.Fields = nil
	}
	return r.Credential, r.usable(), nil
}

// Add stores c, enabled and ready, and reports its row: that of its source and
// handle, or without a handle the row with the same fields, else a new one. The
// fields are sealed if there is a key. A weight of 0 is 1 for a new row and
// leaves that of another alone. The error wraps ErrInvalid when c's provider
// cannot use it.
func (s *Store) Add(ctx context.Context, c providers.Credential, weight int) (id int64, created bool, err error) {
	p := s.known[c.Source]
	switch {
	case p == nil:
		return 0, false, fmt.Errorf("%w: unknown source %q", ErrInvalid, c.Source)
	case len(c.Fields) == 0:
		return 0, false, fmt.Errorf("%w: it has no fields", ErrInvalid)
	case hasField(c, sealedField):
		return 0, false, fmt.Errorf("%w: field %q is not one to set", ErrInvalid, sealedField)
	case weight < 0:
		return 0, false, fmt.Errorf("%w: weight %d", ErrInvalid, weight)
	}
	if p.Check != nil {
		if err := p.Check(c); err != nil {
			return 0, false, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	column, err := s.column(c)
	if err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
		// Two that add the same find each other here, not in a unique violation.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('beat_credential'), hashtext($1))", c.Source); err != nil {
			return err
		}
		rows, err := s.read(ctx, tx, "source = $1 AND coalesce(handle, '') = $2", c.Source, c.Handle)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r *row) bool { return c.Handle != "" || maps.Equal(r.Fields, c.Fields) })
		if i >= 0 {
			id = rows[i].ID
			_, err := tx.Exec(ctx, `UPDATE credential SET credentials = $2, weight = coalesce(nullif($3, 0), weight), `+freshSQL+` WHERE id = $1`,
				id, column, weight)
			return err
		}
		created = true
		key, err := s.idempotencyKey(c)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `
INSERT INTO credential (idempotency_key, source, handle, credentials, weight, enabled, data_access_expired, created_at, updated_at)
VALUES ($1, $2, nullif($3, ''), $4, greatest($5, 1), true, false, `+nowSQL+`, `+nowSQL+`) RETURNING id`,
			key, c.Source, c.Handle, column, weight).Scan(&id)
	})
	if err != nil {
		return 0, false, fmt.Errorf("add a credential of %s: %w", c.Source, err)
	}
	return id, created, nil
}

// Supply is Add for a token that its account's owner has handed in: a row that
// works is left alone, one that was refused gets it (contract/http.md 3.4). What
// a person has disabled stays so.
func (s *Store) Supply(ctx context.Context, c providers.Credential) error {
	rows, err := s.read(ctx, s.db, "source = $1 AND coalesce(handle, '') = $2", c.Source, c.Handle)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.enabled && !r.expired && r.bad == "" || !r.enabled && !r.rejected {
			return nil
		}
	}
	_, _, err = s.Add(ctx, c, 0)
	return err
}

func hasField(c providers.Credential, name string) bool {
	_, ok := c.Fields[name]
	return ok
}

// freshSQL makes a row ready, whatever happened to it.
const freshSQL = `enabled = true, data_access_expired = false, disabled_till = NULL, failures = 0, downs = 0, reason = NULL,
	refused_at = NULL, updated_at = ` + nowSQL

// column is the credentials column of c.
func (s *Store) column(c providers.Credential) ([]byte, error) {
	if len(s.cfg.Key) > 0 {
		return seal(s.cfg.Key, c.Source, c.Fields)
	}
	return plainJSON(c.Fields)
}

// idempotencyKey is contract 5.3's. The hash is keyed by the key of sealed
// rows if there is one, so that it does not help to guess what is sealed.
func (s *Store) idempotencyKey(c providers.Credential) (string, error) {
	if c.Handle != "" {
		return c.Source + ":" + c.Handle, nil
	}
	plain, err := plainJSON(c.Fields)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, s.cfg.Key)
	h.Write(plain)
	return c.Source + ":" + hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// Disable takes credential id out of use, or only for as long as rest if that
// is not zero. It counts neither as a refusal nor as a rest.
func (s *Store) Disable(ctx context.Context, id int64, rest time.Duration, reason string) error {
	if reason == "" {
		reason = "by hand"
	} else {
		reason = "by hand: " + reason // never one of those the code knows
	}
	return s.change(ctx, `
UPDATE credential SET enabled = CASE WHEN $2::interval > interval '0' THEN enabled ELSE false END,
       disabled_till = CASE WHEN $2::interval > interval '0' THEN `+nowSQL+` + $2 ELSE disabled_till END,
       refused_at = CASE WHEN $2::interval > interval '0' THEN refused_at END,
       reason = $3, updated_at = `+nowSQL+`
WHERE id = $1`, id, rest, reason)
}

// Enable makes credential id ready, whatever happened to it.
func (s *Store) Enable(ctx context.Context, id int64) error {
	return s.change(ctx, "UPDATE credential SET "+freshSQL+" WHERE id = $1", id)
}

func (s *Store) change(ctx context.Context, sql string, id int64, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tag, err := s.db.Exec(ctx, sql, append([]any{id}, args...)...)
	if err != nil {
		return fmt.Errorf("credential %d: %w", id, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%w: %d", ErrUnknown, id)
	}
	return nil
}

// Seal seals the rows that are plain, of all sources, and reports how many
// there were. Each is a transaction of its own: broken off, it is begun again.
// Rows that cannot be read stay as they are.
func (s *Store) Seal(ctx context.Context) (int, error) {
	rows, err := s.read(ctx, s.db, "true")
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range rows {
		if r.sealed || len(r.Fields) == 0 {
			continue
		}
		column, err := seal(s.cfg.Key, r.Source, r.Fields)
		if err != nil {
			return n, err
		}
		// Not if someone has given it other fields meanwhile.
		tag, err := s.db.Exec(ctx, `
UPDATE credential SET credentials = $2, updated_at = `+nowSQL+`
WHERE id = $1 AND hashtextextended(coalesce(credentials::text, ''), 0) = $3`, r.ID, column, r.digest)
		if err != nil {
			return n, fmt.Errorf("credential %d of %s: seal: %w", r.ID, r.Source, err)
		}
		n += int(tag.RowsAffected())
	}
	return n, nil
}
