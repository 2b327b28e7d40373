package shadow

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations/pgtest"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func newDB(t *testing.T) (db *pgxpool.Pool, url string) {
	t.Helper()
	url = pgtest.URL(t, servertest.Postgres(t))
	db = pgtest.Open(t, url)
	return db, url
}

func do(t *testing.T, db *pgxpool.Pool, all ...string) {
	t.Helper()
	for _, sql := range all {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func in(t *testing.T, db *pgxpool.Pool, fn func(tx pgx.Tx) error) {
	t.Helper()
	if err := Locking(t.Context(), db, time.Second, 5, fn); err != nil {
		t.Fatal(err)
	}
}

// schema is what pg_dump says of a database, line by line in an order that does
// not depend on when things were made.
func schema(t *testing.T, url string) []string {
	t.Helper()
	bin, err := servers.PostgresBin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "pg_dump"), "--schema-only", url).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool { return strings.HasPrefix(l, `\`) || strings.HasPrefix(l, "--") || l == "" })
	slices.Sort(lines)
	return lines
}

// all that a table can have which a successor must have too.
func thing(role string) []string {
	return []string{
		`CREATE ROLE ` + role,
		`CREATE TABLE owner_of (id bigint PRIMARY KEY)`,
		`INSERT INTO owner_of VALUES (7)`,
		`CREATE TABLE thing (
			id bigserial PRIMARY KEY, gone int, key text, owner bigint DEFAULT 7 REFERENCES owner_of (id), n int NOT NULL DEFAULT 3 CHECK (n > 0),
			twice int GENERATED ALWAYS AS (n * 2) STORED, big text COLLATE "C", at timestamp DEFAULT now(),
			CONSTRAINT thing_key_key UNIQUE (key), CONSTRAINT later UNIQUE (id, n) DEFERRABLE INITIALLY DEFERRED
		) WITH (fillfactor = 77, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false)`,
		`ALTER TABLE thing DROP COLUMN gone`,
		`ALTER TABLE thing ALTER COLUMN big SET STORAGE EXTERNAL, ALTER COLUMN big SET COMPRESSION lz4, ALTER COLUMN n SET STATISTICS 400, ALTER COLUMN n SET (n_distinct = 5)`,
		`CREATE INDEX thing_partial ON thing (lower(big), n DESC NULLS LAST) INCLUDE (id) WITH (fillfactor = 60) WHERE n > 1`,
		`CREATE INDEX thing_n_1 ON thing (n)`, `CREATE INDEX thing_n_2 ON thing (n)`,
		`ALTER TABLE thing CLUSTER ON thing_n_1`,
		`ALTER TABLE thing REPLICA IDENTITY USING INDEX thing_pkey`,
		`CREATE STATISTICS thing_stat (ndistinct, dependencies) ON key, n FROM thing`,
		`COMMENT ON TABLE thing IS 'it''s a thing'`, `COMMENT ON COLUMN thing.n IS 'how many'`, `COMMENT ON INDEX thing_n_1 IS 'the first'`,
		`GRANT SELECT, INSERT ON thing TO ` + role, `GRANT UPDATE ON thing TO ` + role + ` WITH GRANT OPTION`, `GRANT SELECT ON thing TO PUBLIC`,
		`GRANT REFERENCES (key) ON thing TO ` + role,
		`CREATE VIEW seen WITH (security_barrier = true) AS SELECT key, n FROM thing WHERE n > 1`, `GRANT SELECT ON seen TO ` + role,
		`CREATE VIEW seen_again AS SELECT s.key, t.id FROM seen s JOIN thing t USING (key)`,
		`CREATE TABLE log_of (key text)`,
		`CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log_of VALUES (NEW.key); RETURN NEW; END'`,
		`CREATE TRIGGER say AFTER INSERT ON thing FOR EACH ROW WHEN (NEW.n > 2) EXECUTE FUNCTION say()`,
		`CREATE TRIGGER mute AFTER UPDATE OF n ON thing FOR EACH ROW EXECUTE FUNCTION say()`, `ALTER TABLE thing DISABLE TRIGGER mute`,
		`CREATE TABLE follower (thing bigint REFERENCES thing (id) ON DELETE CASCADE)`,
		`CREATE PUBLICATION told FOR TABLE thing, log_of`,
		`INSERT INTO thing (key, n) VALUES ('a', 1), ('b', 2), (NULL, 4)`, `INSERT INTO follower VALUES (1)`,
		`TRUNCATE log_of`,
	}
}

// The successor is to everybody what the table was: pg_dump sees no difference,
// readers by name, by view and by foreign key find the new rows, writers get their
// triggers and the next ids.
func TestNobodyCanTell(t *testing.T) {
	db, url := newDB(t)
	role := fmt.Sprintf("shadow_%d", time.Now().UnixNano())
	do(t, db, thing(role)...)
	t.Cleanup(func() {
		db.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role) //nolint:errcheck // a private server
	})
	want := schema(t, url)
	table := Table{Live: "thing", Key: "key"}
	in(t, db, func(tx pgx.Tx) error { return table.Check(t.Context(), tx) })
	for run := range int64(2) { // there is nothing that works only once
		in(t, db, func(tx pgx.Tx) error { return table.Create(t.Context(), tx) })
		do(t, db, `INSERT INTO thing_rebuild (id, key, n) SELECT id, key, n + 10 FROM thing`,
			`UPDATE thing SET n = n WHERE key = 'a'`, `INSERT INTO thing (key, n) VALUES ('c', 3)`, `UPDATE thing SET key = 'd' WHERE key = 'c'`,
			`DELETE FROM thing WHERE key = 'd'`, `UPDATE thing SET n = n WHERE key IS NULL`)
		rows, err := db.Query(t.Context(), `SELECT DISTINCT coalesce(key, '(none)') FROM thing_changed ORDER BY 1`)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if diff := cmp.Diff([]string{"(none)", "a", "c", "d"}, changed); err != nil || diff != "" {
			t.Errorf("noted keys: %v, (-want +got)\n%s", err, diff)
		}
		in(t, db, func(tx pgx.Tx) error { return table.Index(t.Context(), tx, func(string) {}) })
		in(t, db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "LOCK TABLE thing IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			return table.Swap(t.Context(), tx, table.Shadow(), table.Before(run))
		})
		in(t, db, func(tx pgx.Tx) error { return table.Validate(t.Context(), tx) })
		do(t, db, `TRUNCATE log_of`, `INSERT INTO thing (key, n) VALUES ('e', 3)`, `UPDATE thing SET n = 5 WHERE key = 'e'`, `DELETE FROM thing WHERE key = 'e'`)
		var n, seen, again, told, since int
		if err := db.QueryRow(t.Context(), `SELECT (SELECT n FROM thing WHERE key = 'a'), (SELECT n FROM seen WHERE key = 'a'), (SELECT count(*) FROM seen_again),
			(SELECT count(*) FROM log_of WHERE key = 'e'), (SELECT count(*) FROM thing_since)`).Scan(&n, &seen, &again, &told, &since); err != nil {
			t.Fatal(err)
		}
		if want := 11 + 10*int(run); n != want || seen != want || again != 2 || told != 1 || since != 1 {
			t.Errorf("by name %d, by view %d, want %d; by both views %d rows, want 2; %d triggers fired, want 1; %d keys noted, want 1", n, seen, want, again, told, since)
		}
		if _, err := db.Exec(t.Context(), `INSERT INTO follower VALUES (99)`); err == nil {
			t.Error("the foreign key of another table does not hold")
		}
		in(t, db, func(tx pgx.Tx) error {
			if err := table.Forget(t.Context(), tx); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "DROP TABLE "+table.Before(run))
			return err
		})
		if diff := cmp.Diff(want, schema(t, url)); diff != "" {
			t.Fatalf("swap %d: (-before +after)\n%s", run, diff)
		}
	}
}

// What cannot be carried over is refused, in words.
func TestUnfit(t *testing.T) {
	t.Parallel()
	db, _ := newDB(t)
	do(t, db, `CREATE TABLE base (key text UNIQUE, n int)`)
	for _, c := range []struct{ name, sql, says string }{
		{"base_m", `CREATE MATERIALIZED VIEW reads AS SELECT * FROM base_m`, "the materialized view reads reads it"},
		{"base_i", `ALTER TABLE base_i ADD COLUMN id int GENERATED ALWAYS AS IDENTITY`, "column id is an identity"},
		{"base_r", `ALTER TABLE base_r ENABLE ROW LEVEL SECURITY`, "it has row security"},
		{"base_u", `ALTER TABLE base_u DROP CONSTRAINT base_u_key_key`, "column key is not unique by itself"},
		{"base_s", `ALTER TABLE base_s ADD COLUMN up text REFERENCES base_s (key)`, "refers to the table itself"},
		{"base_x", `DROP TABLE base_x`, "it does not exist"},
	} {
		do(t, db, "CREATE TABLE "+c.name+" (LIKE base INCLUDING ALL)", c.sql)
		err := Locking(t.Context(), db, time.Second, 1, func(tx pgx.Tx) error { return Table{c.name, "key"}.Check(t.Context(), tx) })
		if !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

// A table that was altered meanwhile is not replaced by one that was not.
func TestAlteredMeanwhile(t *testing.T) {
	t.Parallel()
	db, _ := newDB(t)
	do(t, db, `CREATE TABLE base (key text UNIQUE, n int)`)
	table := Table{"base", "key"}
	in(t, db, func(tx pgx.Tx) error { return table.Create(t.Context(), tx) })
	in(t, db, func(tx pgx.Tx) error { return table.Index(t.Context(), tx, func(string) {}) })
	do(t, db, `ALTER TABLE base ADD COLUMN more int`)
	err := Locking(t.Context(), db, time.Second, 1, func(tx pgx.Tx) error {
		return table.Swap(t.Context(), tx, table.Shadow(), table.Before(1))
	})
	if !errors.Is(err, ErrShape) {
		t.Errorf("got %v, want %v", err, ErrShape)
	}
}
