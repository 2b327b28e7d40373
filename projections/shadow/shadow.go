// Package shadow builds a table anew beside itself and puts it in its place.
//
// # The way of it
//
// Create makes a table with the columns, defaults, checks and settings of the live
// one, and triggers that note the keys of the rows that anybody changes in the
// live one from then on. The caller fills it and Index gives it the indexes.
// While it drains the noted keys and writes their rows once more, the two draw
// level. Swap renames both within a transaction of the caller, who holds the
// lock; to readers and writers the table has not moved.
//
// What goes by a table's identity and not by its name is carried over: owner,
// grants, comments, sequences, triggers, views, foreign keys in both directions,
// publications, the names of indexes. What cannot be carried over is refused
// before anything is made, see Check.
//
// # After a crash
//
// Before the swap the live table has three triggers more than it should, and
// there are two tables that nobody reads: Drop removes all of them, and Create
// begins with that. The swap is one transaction.
package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Table is one that can be built anew. It lies in the current schema.
type Table struct {
	Live string // its name
	Key  string // its unique text column; rows without one are known by nothing
}

// Shadow is the name of the table that is to take its place.
func (t Table) Shadow() string { return t.Live + "_rebuild" }

// Changed is the name of the table that takes the keys of rows that were changed,
// one column, key. A key may occur often; null is a row without one.
func (t Table) Changed() string { return t.Live + "_changed" }

// Since is the name of the table of the keys changed since the swap, each once.
func (t Table) Since() string { return t.Live + "_since" }

// Before is the name under which the table that a run has replaced is kept.
func (t Table) Before(run int64) string { return fmt.Sprintf("%s_before_%d", t.Live, run) }

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// ErrUnfit says that a table cannot be replaced as it is.
var ErrUnfit = errors.New("cannot be replaced")

// unfitSQL is what stands in the way, in words; no row is nothing.
const unfitSQL = `
WITH c AS (SELECT * FROM pg_class WHERE oid = to_regclass(quote_ident($1)))
SELECT 'it does not exist' WHERE NOT EXISTS (SELECT FROM c)
UNION ALL SELECT 'it lies in schema ' || relnamespace::regnamespace || ', and the current one is ' || current_schema() FROM c WHERE relnamespace <> current_schema()::regnamespace
UNION ALL SELECT 'it is no ordinary table' FROM c WHERE relkind <> 'r' OR relpersistence <> 'p'
UNION ALL SELECT 'it has parents or children' FROM c WHERE EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhparent, inhrelid))
UNION ALL SELECT 'it has row security' FROM c WHERE relrowsecurity OR EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)
UNION ALL SELECT 'it has the rule ' || rulename FROM c JOIN pg_rewrite ON ev_class = c.oid
UNION ALL SELECT 'column ' || attname || ' is an identity' FROM c JOIN pg_attribute ON attrelid = c.oid AND attidentity <> ''
UNION ALL SELECT 'constraint ' || conname || ' excludes' FROM c JOIN pg_constraint ON conrelid = c.oid AND contype = 'x'
UNION ALL SELECT 'constraint ' || conname || ' refers to the table itself' FROM c JOIN pg_constraint ON conrelid = c.oid AND confrelid = c.oid
UNION ALL SELECT 'the materialized view ' || v.oid::regclass || ' reads it: drop it, and make it again afterwards' FROM c
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'm' GROUP BY v.oid
UNION ALL SELECT 'the publication ' || pubname || ' takes only part of it' FROM c JOIN pg_publication_rel ON prrelid = c.oid
    JOIN pg_publication p ON p.oid = prpubid WHERE prqual IS NOT NULL OR prattrs IS NOT NULL
UNION ALL SELECT 'column ' || $2 || ' is not unique by itself' FROM c WHERE NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = $2
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL)`

// Check says what keeps the table from being replaced; the error wraps ErrUnfit.
func (t Table) Check(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, unfitSQL, t.Live, t.Key)
	if err != nil {
		return fmt.Errorf("look at %s: %w", t.Live, err)
	}
	why, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look at %s: %w", t.Live, err)
	}
	if len(why) > 0 {
		return fmt.Errorf("table %s %w: %s", t.Live, ErrUnfit, strings.Join(why, "; "))
	}
	return nil
}

// createSQL is the statements that make the shadow, but for its indexes.
const createSQL = `
WITH n AS (SELECT to_regclass(quote_ident($1)) AS live, $1::text AS name, $2::text AS shadow)
SELECT format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)%s%s', shadow, name,
    ' WITH (' || (SELECT string_agg(o, ', ') FROM (SELECT unnest(c.reloptions) AS o UNION ALL SELECT 'toast.' || unnest(t.reloptions)) o) || ')',
    ' TABLESPACE ' || quote_ident(s.spcname))
FROM n JOIN pg_class c ON c.oid = live LEFT JOIN pg_class t ON t.oid = c.reltoastrelid LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
UNION ALL
SELECT format('ALTER TABLE %I ALTER COLUMN %I SET STATISTICS %s', shadow, attname, attstattarget)
FROM n JOIN pg_attribute ON attrelid = live AND attnum > 0 AND NOT attisdropped WHERE attstattarget >= 0
UNION ALL
SELECT format('ALTER TABLE %I ALTER COLUMN %I SET (%s)', shadow, attname, array_to_string(attoptions, ', '))
FROM n JOIN pg_attribute ON attrelid = live AND attnum > 0 AND NOT attisdropped WHERE attoptions IS NOT NULL`

// Create makes the shadow, empty, and from its commit on the keys of the rows
// that are changed in the live table are noted. What an earlier try has left is
// dropped. It waits for the transactions that are writing to the table.
func (t Table) Create(ctx context.Context, tx pgx.Tx) error {
	if err := t.Drop(ctx, tx); err != nil {
		return err
	}
	if err := statements(ctx, tx, createSQL, t.Live, t.Shadow()); err != nil {
		return fmt.Errorf("create %s: %w", t.Shadow(), err)
	}
	return t.Track(ctx, tx)
}

// Track notes in table Changed what is changed from now on.
func (t Table) Track(ctx context.Context, tx pgx.Tx) error {
	return t.note(ctx, tx, t.Changed(), false)
}

// note has triggers write keys to the table of that name, each once or each time.
// Each time is what may be drained: who adds a key that is there already would
// have to wait for whoever removes it.
func (t Table) note(ctx context.Context, tx pgx.Tx, to string, once bool) error {
	unique := ""
	if once {
		unique = " UNIQUE"
	}
	all := []string{fmt.Sprintf("CREATE TABLE %s (key text%s)", quoted(to), unique)}
	for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
		tables := map[string]string{"INSERT": "NEW TABLE AS now_rows", "UPDATE": "NEW TABLE AS now_rows OLD TABLE AS was_rows", "DELETE": "OLD TABLE AS was_rows"}
		all = append(all, fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION beat_note_keys(%s, %s)",
			quoted(trigger(to, event)), event, quoted(t.Live), tables[event], literal(to), literal(t.Key)))
	}
	for _, sql := range all {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("note the changes of %s: %w", t.Live, err)
		}
	}
	return nil
}

// trigger is the name of a trigger that writes to a table. Triggers fire by name:
// ours come last.
func trigger(to, event string) string { return "zz_" + to + "_" + strings.ToLower(event) }

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// forget ends what note has begun.
func (t Table) forget(ctx context.Context, tx pgx.Tx, to string) error {
	for _, event := range []string{"INSERT", "UPDATE", "DELETE"} {
		if _, err := tx.Exec(ctx, fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %s", quoted(trigger(to, event)), quoted(t.Live))); err != nil {
			return fmt.Errorf("forget the changes of %s: %w", t.Live, err)
		}
	}
	if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+quoted(to)); err != nil {
		return fmt.Errorf("forget the changes of %s: %w", t.Live, err)
	}
	return nil
}

// Drop removes what a try has left that did not come to its swap.
func (t Table) Drop(ctx context.Context, tx pgx.Tx) error {
	if err := t.forget(ctx, tx, t.Changed()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+quoted(t.Shadow())); err != nil {
		return fmt.Errorf("drop %s: %w", t.Shadow(), err)
	}
	return nil
}

// Forget ends what a swap has begun: changes are noted no more, and there is no
// way back.
func (t Table) Forget(ctx context.Context, tx pgx.Tx) error { return t.forget(ctx, tx, t.Since()) }

// indexesSQL is the statements that give the shadow the indexes of the live
// table, under names of their own, and its foreign keys.
const indexesSQL = `
WITH n AS (SELECT to_regclass(quote_ident($1)) AS live, $2::text AS shadow),
i AS (SELECT n.shadow, x.*, 'beat_rebuild_' || x.indexrelid AS tmp FROM n JOIN pg_index x ON x.indrelid = live AND x.indisvalid)
SELECT format('CREATE %sINDEX %I ON %I%s', CASE WHEN indisunique THEN 'UNIQUE ' END, tmp, shadow, substring(pg_get_indexdef(indexrelid) FROM ' USING .*')) FROM i
UNION ALL
SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s USING INDEX %I%s', shadow, tmp, CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, tmp,
    CASE WHEN condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN condeferrable THEN ' DEFERRABLE' END)
FROM i JOIN pg_constraint c ON c.conindid = indexrelid AND c.conrelid = indrelid AND contype IN ('p', 'u')
UNION ALL
SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', shadow, conname, pg_get_constraintdef(c.oid))
FROM n JOIN pg_constraint c ON c.conrelid = live AND contype = 'f'`

// Index gives the shadow the indexes and foreign keys of the live table. said is
// told of each statement before it runs.
func (t Table) Index(ctx context.Context, tx pgx.Tx, said func(sql string)) error {
	all, err := texts(ctx, tx, indexesSQL, t.Live, t.Shadow())
	if err != nil {
		return fmt.Errorf("look at the indexes of %s: %w", t.Live, err)
	}
	for _, sql := range all {
		said(sql)
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// texts is the rows of a query of one text column.
func texts(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// statements runs the statements that a query makes.
func statements(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	all, err := texts(ctx, tx, sql, args...)
	if err != nil {
		return err
	}
	return run(ctx, tx, all)
}

func run(ctx context.Context, tx pgx.Tx, all []string) error {
	for _, sql := range all {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// A Beginner is a pool or a connection.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Locking runs fn in a transaction that gives way: a lock that is not had within
// wait ends it, so that nobody queues behind it for longer, and it is tried
// again. It gives up after tries.
func Locking(ctx context.Context, db Beginner, wait time.Duration, tries int, fn func(tx pgx.Tx) error) error {
	var err error
	for try := range tries {
		err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", wait.Milliseconds())); err != nil {
				return err
			}
			return fn(tx)
		})
		if !GaveWay(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try+1) * 100 * time.Millisecond):
		}
	}
	return fmt.Errorf("others held the table %d times for longer than %s: %w", tries, wait, err)
}

// gaveWay are the errors that mean: others were in the way. In turn a lock not had
// in time, a deadlock, a statement that took too long.
var gaveWay = []string{"55P03", "40P01", "57014"}

// GaveWay reports whether err is that others were in the way.
func GaveWay(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(gaveWay, pg.Code)
}
