package projections

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"beat/projections/shadow"
)

// A rebuild makes tables of the projections anew while they are read and written.
//
// # From what
//
// Observations (profile_log, post_log) are what was ever read from EVENTS, each
// once, and are kept longer than EVENTS keeps its messages. So first EVENTS is
// read to its end, and what of it the observations lack is added to them. Then
// each row is folded from its observations, see anew.go. What others write, and
// what has outlived its observation, is taken from the live row; so is its id.
//
// # How
//
// Spans of keys are folded in memory and written to a shadow (package shadow),
// which has no index yet. The indexes are built. Meanwhile triggers note which
// rows change, and those are made once more until few are left. A snapshot of
// both tables is compared. Then, in one transaction that writers wait for, the
// last few are made, and the names are exchanged. The old table is kept, and what
// is changed from then on is noted, so that the way back loses nothing.
//
// # After a crash
//
// Up to the swap the live tables are as they were; a rebuild begins by dropping
// what another has left. One runs at a time: it holds an advisory lock. After the
// swap only foreign keys of others may be left unchecked; that is done again.
type Rebuilder struct {
	lg  *slog.Logger
	db  *pgxpool.Pool
	js  jetstream.JetStream
	cfg RebuildConfig
}

// RebuildConfig of a Rebuilder. A zero field means its default.
type RebuildConfig struct {
	Tables  []string // default all
	Workers int      // spans that are made at once; default 2
	Span    int      // rows or observations that are folded at once; default 1000: a megabyte, and some hundredths of a second
	DryRun  bool     // build and compare, and leave nothing behind
	Force   bool     // swap even if rows vanish
	// Say is told how far it is; may be nil.
	Say func(RebuildStep)
}

// A RebuildStep is how far a rebuild is.
type RebuildStep struct {
	Step  string // what it does
	Table string // "" all of them
	Done  int64  // rows, or messages
	Of    int64  // about; 0 is not known
}

const (
	spanSize = 1000
	// few changed rows may be left for the transaction that writers wait for.
	few = 1000
	// lockWait is how long that transaction queues for a lock, which is how long
	// others queue behind it: a second with what is to be done then, at worst.
	lockWait = 500 * time.Millisecond
	// standstill is how long writers may wait; then it is tried again.
	standstill = 1800 * time.Millisecond
	swapTries  = 20
)

// What a rebuild ends with.
var (
	ErrRebuilding = errors.New("another rebuild is running")
	ErrVanish     = errors.New("rows would vanish")
	ErrNoTable    = errors.New("no such table")
)

// NewRebuilder returns a Rebuilder. db has a connection for each worker and three
// more, and no statement timeout. It does no I/O.
func NewRebuilder(lg *slog.Logger, db *pgxpool.Pool, js jetstream.JetStream, cfg RebuildConfig) *Rebuilder {
	if cfg.Workers <= 0 {
		cfg.Workers = 2
	}
	if cfg.Span <= 0 {
		cfg.Span = spanSize
	}
	if cfg.Say == nil {
		cfg.Say = func(RebuildStep) {}
	}
	return &Rebuilder{lg: lg, db: db, js: js, cfg: cfg}
}

// RebuildTables are the names of the tables that can be rebuilt.
func RebuildTables() (out []string) {
	for _, m := range models() {
		out = append(out, m.name)
	}
	return out
}

func modelOf(name string) (model, error) {
	for _, m := range models() {
		if m.name == name {
			return m, nil
		}
	}
	return model{}, fmt.Errorf("%w: %q is not one of %s", ErrNoTable, name, strings.Join(RebuildTables(), ", "))
}

func (m model) shadow() shadow.Table { return shadow.Table{Live: m.name, Key: m.key} }

// chosen are the models of tables, in the order in which they are locked.
func chosen(names []string) (out []model, err error) {
	if len(names) == 0 {
		return models(), nil
	}
	for _, name := range names {
		if _, err := modelOf(name); err != nil {
			return nil, err
		}
	}
	for _, m := range models() {
		if slices.Contains(names, m.name) {
			out = append(out, m)
		}
	}
	return out, nil
}

// A Rebuilt says what a rebuild has done.
type Rebuilt struct {
	Run          int64           `json:"run"`
	State        string          `json:"state"`
	Seconds      float64         `json:"seconds"`
	Observations Repaired        `json:"observations"`
	Tables       []*RebuiltTable `json:"tables"`
	Tries        int             `json:"tries"`         // of the swap
	StandstillMS float64         `json:"standstill_ms"` // how long writers may have waited for the swap, at worst
}

// A RebuiltTable is one table of it.
type RebuiltTable struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Before string `json:"kept_as,omitempty"` // the table it has replaced
	Comparison
	Seconds float64 `json:"seconds"`
}

// alone runs fn while no other process rebuilds.
func alone(ctx context.Context, db *pgxpool.Pool, fn func() error) error {
	conn, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtext('beat:rebuild'), 0)`).Scan(&mine); err != nil {
		return err
	}
	if !mine {
		return ErrRebuilding
	}
	defer conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtext('beat:rebuild'), 0)`) //nolint:errcheck // the connection may be gone, and the lock with it
	return fn()
}

// Run rebuilds. If it ends with an error, or was a dry run, the live tables are as
// they were and nothing is left beside them, unless the process was killed.
func (r *Rebuilder) Run(ctx context.Context) (out *Rebuilt, err error) {
	all, err := chosen(r.cfg.Tables)
	if err != nil {
		return nil, err
	}
	err = alone(ctx, r.db, func() error {
		if out, err = r.begin(ctx, all, nil); err != nil {
			return err
		}
		return r.end(ctx, all, out, r.rebuild(ctx, all, out))
	})
	if err != nil {
		return out, fmt.Errorf("rebuild: %w", err)
	}
	return out, nil
}

func (r *Rebuilder) begin(ctx context.Context, all []model, backFrom *int64) (*Rebuilt, error) {
	out := &Rebuilt{Tables: []*RebuiltTable{}}
	for _, m := range all {
		out.Tables = append(out.Tables, &RebuiltTable{Table: m.name, Comparison: Comparison{Columns: []*Differing{}}})
	}
	_, err := r.db.Exec(ctx, `UPDATE beat_rebuild SET state = 'left', updated_at = now() AT TIME ZONE 'UTC' WHERE state = 'building'`)
	if err != nil {
		return nil, err
	}
	return out, r.db.QueryRow(ctx, `INSERT INTO beat_rebuild (tables, state, back_from) VALUES ($1, 'building', $2) RETURNING id`, names(all), backFrom).Scan(&out.Run)
}

func names(all []model) (out []string) {
	for _, m := range all {
		out = append(out, m.name)
	}
	return out
}

// end cleans up, unless the tables were swapped, and writes down what became of
// the run.
func (r *Rebuilder) end(ctx context.Context, all []model, out *Rebuilt, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var text *string
	if out.State != "swapped" {
		out.State = "tried"
		if cause != nil {
			out.State = "failed"
		}
		if err := r.locking(ctx, func(tx pgx.Tx) error { return dropShadows(ctx, tx, all) }); err != nil {
			cause = errors.Join(cause, fmt.Errorf("clean up: %w (beat projections drop does it later)", err))
		}
	}
	if cause != nil {
		s := cause.Error()
		text = &s
	}
	report, err := json.Marshal(out)
	if err == nil {
		_, err = r.db.Exec(ctx, `UPDATE beat_rebuild SET state = $2, report = $3, error = $4, updated_at = now() AT TIME ZONE 'UTC' WHERE id = $1`, out.Run, out.State, report, text)
	}
	return errors.Join(cause, err)
}

func dropShadows(ctx context.Context, tx pgx.Tx, all []model) error {
	for _, m := range all {
		if err := m.shadow().Drop(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// locking is a transaction that gives way to live traffic.
func (r *Rebuilder) locking(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return shadow.Locking(ctx, r.db, lockWait, swapTries, fn)
}

func (r *Rebuilder) rebuild(ctx context.Context, all []model, out *Rebuilt) error {
	began := time.Now()
	defer func() { out.Seconds = round(time.Since(began).Seconds()) }()
	for _, m := range all {
		if err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error { return m.shadow().Check(ctx, tx) }); err != nil {
			return err
		}
	}
	var err error
	if out.Observations, err = r.repair(ctx, all); err != nil {
		return err
	}
	var makers []*maker
	for i, m := range all {
		began := time.Now()
		mk, err := r.build(ctx, m, out.Tables[i])
		if err != nil {
			return err
		}
		makers = append(makers, mk)
		out.Tables[i].Seconds = round(time.Since(began).Seconds())
	}
	vanish := int64(0)
	for i, mk := range makers {
		r.cfg.Say(RebuildStep{Step: "compare", Table: mk.name})
		if err := r.drain(ctx, mk); err != nil {
			return err
		}
		if out.Tables[i].Comparison, err = r.compare(ctx, mk.model); err != nil {
			return err
		}
		vanish += out.Tables[i].Vanishing
	}
	if r.cfg.DryRun {
		return nil
	}
	if vanish > 0 && !r.cfg.Force {
		return fmt.Errorf("%w, %d of them: look with --dry-run, and rebuild with --force if they should", ErrVanish, vanish)
	}
	return r.swap(ctx, makers, out, func(m model) string { return m.shadow().Shadow() })
}

// build makes and fills the shadow of a table.
func (r *Rebuilder) build(ctx context.Context, m model, out *RebuiltTable) (*maker, error) {
	t := m.shadow()
	if err := r.locking(ctx, func(tx pgx.Tx) error { return t.Create(ctx, tx) }); err != nil {
		return nil, err
	}
	var mk *maker
	var total int64
	if err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, `SELECT greatest(reltuples, 0)::int8 FROM pg_class WHERE oid = to_regclass($1)`, m.name).Scan(&total); err != nil {
			return err
		}
		mk, err = m.maker(ctx, tx, t.Shadow())
		return err
	}); err != nil {
		return nil, err
	}
	var done atomic.Int64
	spans := make(chan span)
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(spans)
		for s := (span{}); ; {
			var ok bool
			err := pgx.BeginFunc(work, r.db, func(tx pgx.Tx) (err error) {
				s, ok, err = m.next(work, tx, s, r.cfg.Span)
				return err
			})
			if err != nil || !ok {
				return err
			}
			select {
			case spans <- s:
			case <-work.Done():
				return work.Err()
			}
		}
	})
	for range r.cfg.Workers {
		g.Go(func() error {
			for s := range spans {
				if err := r.making(work, func(tx pgx.Tx) error {
					n, err := mk.make(work, tx, s.choice())
					r.cfg.Say(RebuildStep{Step: "fold", Table: m.name, Done: done.Add(n), Of: total})
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		return r.making(work, func(tx pgx.Tx) error {
			n, err := mk.as(work, tx, m.key+" IS NULL")
			done.Add(n)
			return err
		})
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out.Rows = done.Load()
	if err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL maintenance_work_mem = '256MB'`); err != nil {
			return err
		}
		return t.Index(ctx, tx, func(string) { r.cfg.Say(RebuildStep{Step: "index", Table: m.name, Done: done.Load(), Of: total}) })
	}); err != nil {
		return nil, err
	}
	r.cfg.Say(RebuildStep{Step: "vacuum", Table: m.name})
	if _, err := r.db.Exec(ctx, "VACUUM (ANALYZE) "+pgx.Identifier{t.Shadow()}.Sanitize()); err != nil {
		return nil, err
	}
	return mk, r.drain(ctx, mk)
}

// making is a transaction that need not survive a crash of the server: the shadow
// is made again then.
func (r *Rebuilder) making(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
			return err
		}
		return fn(tx)
	})
}

// drain makes the rows that were changed once more, until few are left.
func (r *Rebuilder) drain(ctx context.Context, mk *maker) error {
	for done := int64(0); ; {
		var n int
		if err := r.making(ctx, func(tx pgx.Tx) (err error) {
			n, err = mk.again(ctx, tx, mk.shadow().Changed(), r.cfg.Span)
			return err
		}); err != nil {
			return err
		}
		if n < few {
			return nil
		}
		done += int64(n)
		r.cfg.Say(RebuildStep{Step: "catch up", Table: mk.name, Done: done})
	}
}

// again makes rows once more whose keys a table holds, at most limit of those, and
// takes them out of it. It returns how many there were.
//
// A row that is changed while this reads it is in the table again afterwards.
func (mk *maker) again(ctx context.Context, tx pgx.Tx, changed string, limit int) (int, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf(`DELETE FROM %[1]s WHERE ctid = ANY(ARRAY(SELECT ctid FROM %[1]s LIMIT %[2]d)) RETURNING key`, pgx.Identifier{changed}.Sanitize(), limit))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", changed, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", changed, err)
	}
	seen := map[string]bool{}
	var keys []string
	without := false
	for _, k := range found {
		switch {
		case k == nil:
			without = true
		case !seen[*k]:
			seen[*k] = true
			keys = append(keys, *k)
		}
	}
	if without {
		if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s IS NULL", mk.into, mk.key)); err != nil {
			return 0, err
		}
		if _, err := mk.as(ctx, tx, mk.key+" IS NULL"); err != nil {
			return 0, err
		}
	}
	if len(keys) > 0 {
		if _, err := tx.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s = ANY($1)", mk.into, mk.key), keys); err != nil {
			return 0, err
		}
		if _, err := mk.make(ctx, tx, among(keys)); err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// swap puts the tables in their places, all in one transaction.
func (r *Rebuilder) swap(ctx context.Context, makers []*maker, out *Rebuilt, from func(model) string) error {
	r.cfg.Say(RebuildStep{Step: "swap"})
	for out.Tries = 1; ; out.Tries++ {
		for _, mk := range makers {
			if err := r.drain(ctx, mk); err != nil {
				return err
			}
		}
		began := time.Now()
		short, cancel := context.WithTimeout(ctx, standstill)
		err := shadow.Locking(short, r.db, lockWait, 1, func(tx pgx.Tx) error { return r.exchange(short, tx, makers, out.Run, from) })
		late := short.Err() != nil
		cancel()
		out.StandstillMS = max(out.StandstillMS, round(float64(time.Since(began).Microseconds())/1000))
		if err == nil {
			break
		}
		// The commit may have been under way when the time was up.
		if done, look := r.swapped(ctx, out.Run); look != nil || done {
			if look != nil {
				return errors.Join(err, look)
			}
			break
		}
		if ctx.Err() != nil || !late && !shadow.GaveWay(err) || out.Tries >= swapTries {
			return fmt.Errorf("swap, try %d: %w", out.Tries, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(out.Tries) * 200 * time.Millisecond):
		}
	}
	out.State = "swapped"
	for i, mk := range makers {
		out.Tables[i].Before = mk.shadow().Before(out.Run)
		if err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error { return mk.shadow().Validate(ctx, tx) }); err != nil {
			return fmt.Errorf("the tables are swapped, but: %w", err)
		}
	}
	return nil
}

func (r *Rebuilder) swapped(ctx context.Context, run int64) (done bool, err error) {
	err = r.db.QueryRow(ctx, `SELECT state = 'swapped' FROM beat_rebuild WHERE id = $1`, run).Scan(&done)
	return done, err
}

// exchange is the transaction of the swap. Writers stop first, so that no row is
// changed any more while readers go on; they wait only for the names.
func (r *Rebuilder) exchange(ctx context.Context, tx pgx.Tx, makers []*maker, run int64, from func(model) string) error {
	// The server ends it by itself too: a client that goes away it notices late.
	if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", standstill.Milliseconds())); err != nil {
		return err
	}
	for _, mode := range []string{"SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"} {
		for _, mk := range makers {
			if _, err := tx.Exec(ctx, fmt.Sprintf("LOCK TABLE %s IN %s MODE", mk.name, mode)); err != nil {
				return err
			}
		}
		if mode == "ACCESS EXCLUSIVE" {
			break
		}
		for _, mk := range makers {
			for n := r.cfg.Span; n == r.cfg.Span; {
				var err error
				if n, err = mk.again(ctx, tx, mk.shadow().Changed(), r.cfg.Span); err != nil {
					return err
				}
			}
		}
	}
	for _, mk := range makers {
		if err := mk.shadow().Swap(ctx, tx, from(mk.model), mk.shadow().Before(run)); err != nil {
			return err
		}
	}
	var tables []string
	for _, mk := range makers {
		tables = append(tables, mk.name)
	}
	if _, err := dropBefore(ctx, tx, tables, run); err != nil { // what an earlier run has kept
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE beat_rebuild SET state = 'swapped', kept = tables, swapped_at = now() AT TIME ZONE 'UTC', updated_at = now() AT TIME ZONE 'UTC',
    positions = (SELECT jsonb_object_agg(shard, applied) FROM stream_position WHERE reader = 'project') WHERE id = $1`, run)
	return err
}

func round(f float64) float64 { return float64(int64(f*10+0.5)) / 10 }
