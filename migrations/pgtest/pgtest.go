// Package pgtest gives tests databases with the schema, each its own.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations"
	"beat/streams/servers/servertest"
)

// New is a pool on a new database of the suite's server, both of which end with tb.
func New(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	return Open(tb, URL(tb, servertest.Postgres(tb)))
}

// Open is a pool on a database, which ends with tb.
func Open(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	db, err := pgxpool.New(context.Background(), url+"&timezone=UTC")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(db.Close)
	return db
}

// The schema is made once for each server and copied from there: a copy takes a third
// of the time.
var (
	mu        sync.Mutex // copies are made one after the other
	templates = map[string]string{}
)

// URL is that of a new database with the schema, on the server that admin leads to. It
// is dropped when tb ends.
func URL(tb testing.TB, admin string) string {
	tb.Helper()
	return made(tb, admin, func(create func(name, from string) string) string {
		if templates[admin] == "" {
			name := fmt.Sprintf("beat_template_%d_%d", os.Getpid(), len(templates))
			if _, err := migrations.Up(context.Background(), create(name, "template1")); err != nil {
				tb.Fatal(err)
			}
			templates[admin] = name
		}
		return templates[admin]
	})
}

// Empty is the URL of a new database without the schema. It is dropped when tb ends.
func Empty(tb testing.TB, admin string) string {
	tb.Helper()
	return made(tb, admin, func(func(name, from string) string) string { return "template1" })
}

func made(tb testing.TB, admin string, template func(create func(name, from string) string) string) string {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // done with it
	do := func(sql string) {
		if _, err := conn.Exec(ctx, sql); err != nil {
			tb.Fatal(err)
		}
	}
	create := func(name, from string) string {
		do("CREATE DATABASE " + name + " TEMPLATE " + from)
		c := conn.Config()
		return fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", c.User, c.Host, c.Port, name)
	}
	from := template(create)
	name := "beat_" + strings.ToLower(rand.Text()[:12])
	url := create(name, from)
	tb.Cleanup(func() {
		conn, err := pgx.Connect(ctx, admin)
		if err != nil {
			return // the server has ended
		}
		defer conn.Close(ctx)                                                  //nolint:errcheck // done with it
		_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") //nolint:errcheck // it ends with the server
	})
	return url
}
