// Package migrations holds the schema and brings a database up to it.
package migrations

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Files is the embedded migrations.
func Files() fs.FS { return files }

// A Result says what Up did.
type Result struct {
	Version int64    `json:"version"` // of the schema now
	Applied []string `json:"applied"` // files run by this call, in order
}

// Up applies what is missing. Any number of processes may call it at once:
// they queue on an advisory lock of the database. url must lead to Postgres
// itself, since a session lock does not survive a transaction pooler.
func Up(ctx context.Context, url string) (Result, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return Result{}, fmt.Errorf("migrate: %w", err)
	}
	// A migration may wait for locks longer than a query ever should.
	cfg.RuntimeParams["statement_timeout"] = "600000"
	cfg.RuntimeParams["timezone"] = "UTC"
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return Result{}, fmt.Errorf("migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithTableName("beat_schema_version"))
	if err != nil {
		return Result{}, fmt.Errorf("migrate: %w", err)
	}
	results, err := p.Up(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("migrate: %w", err)
	}
	r := Result{Applied: []string{}}
	for _, m := range results {
		r.Applied = append(r.Applied, m.Source.Path)
	}
	if r.Version, err = p.GetDBVersion(ctx); err != nil {
		return Result{}, fmt.Errorf("migrate: read version: %w", err)
	}
	now := time.Now().UTC()
	for _, month := range []time.Time{now, now.AddDate(0, 0, 31)} {
		if _, err := db.ExecContext(ctx, "SELECT beat_log_partition($1)", month); err != nil {
			return Result{}, fmt.Errorf("migrate: partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	return r, nil
}

// Latest is the version that Up leads to.
func Latest() (version int64) {
	names, _ := fs.Glob(files, "*.sql") //nolint:errcheck // the pattern is constant
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			panic("migrations: " + name + " does not begin with its number")
		}
		version = max(version, n)
	}
	return version
}
