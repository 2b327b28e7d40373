// Package servertest gives tests the address of a private Postgres, Redis or
// RabbitMQ.
//
// Under cmd/with-servers (which is how `make test` runs) every package uses
// the same three servers, whose addresses are in the environment. Otherwise the
// first test that asks for a server starts one for its process, which takes
// about 2s for Postgres and 7s for RabbitMQ. Such a server ends with the
// process; its directory is removed by Main, or by the next process that uses
// package servers.
//
// The servers are shared, so a test works in a corner of its own: a schema or
// database, a prefix, a virtual host. A server that cannot be started fails the
// test; nothing is skipped.
package servertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"beat/streams/servers"
)

// The environment that cmd/with-servers sets.
const (
	EnvPostgres    = "BEAT_TEST_PG_URL"
	EnvRedis       = "BEAT_TEST_REDIS_URL"
	EnvRabbit      = "BEAT_TEST_RMQ_URL"
	EnvRabbitAdmin = "BEAT_TEST_RMQ_ADMIN_URL"
)

// startIn bounds a start. RabbitMQ took 18s with everything else starting on
// two cores; the rest is for slower machines.
const startIn = 3 * time.Minute

var (
	mu      sync.Mutex
	started []*servers.Server // by this process

	postgres = lazy(EnvPostgres, "", func(ctx context.Context) (*servers.Server, error) {
		return servers.Postgres(ctx, servers.PostgresConfig{})
	})
	redis = lazy(EnvRedis, "", func(ctx context.Context) (*servers.Server, error) {
		return servers.Redis(ctx, servers.RedisConfig{})
	})
	rabbit = lazy(EnvRabbit, EnvRabbitAdmin, func(ctx context.Context) (*servers.Server, error) {
		return servers.Rabbit(ctx, servers.RabbitConfig{Management: true})
	})
)

// An address is what tests need of a server.
type address struct{ url, admin string }

func lazy(env, adminEnv string, start func(context.Context) (*servers.Server, error)) func() (address, error) {
	return sync.OnceValues(func() (address, error) {
		if u := os.Getenv(env); u != "" {
			return address{u, os.Getenv(adminEnv)}, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), startIn)
		defer cancel()
		s, err := start(ctx)
		if err != nil {
			return address{}, err
		}
		mu.Lock()
		started = append(started, s)
		mu.Unlock()
		return address{s.URL, s.AdminURL}, nil
	})
}

// DurablePostgres starts a Postgres that syncs every commit as production does,
// for a benchmark to mean something, and ends it with tb. It returns its URL.
func DurablePostgres(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startIn)
	defer cancel()
	s, err := servers.Postgres(ctx, servers.PostgresConfig{Fsync: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Discard() }) //nolint:errcheck // a private server
	return s.URL
}

// Main runs the tests of a package, ends the servers they started and exits.
// Packages may call it from TestMain to leave nothing in the directory for
// temporary files; the servers themselves end in any case.
func Main(m *testing.M) {
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	for _, s := range started {
		if err := s.Discard(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	_ = servers.CleanUp()
	os.Exit(code)
}

// Postgres returns the URL of the database postgres, as superuser. A test makes
// its own schema or database (migrations/pgtest does).
func Postgres(t testing.TB) string {
	t.Helper()
	return must(t, postgres).url
}

// Redis returns the URL of the server's database 0. A test keeps to keys that
// begin with RedisPrefix.
func Redis(t testing.TB) string {
	t.Helper()
	return must(t, redis).url
}

// RedisPrefix returns a prefix for keys that no other test has. The keys need
// not be removed: the server forgets them when it ends.
func RedisPrefix(t testing.TB) string {
	t.Helper()
	return "test:" + strings.ToLower(rand.Text()[:10]) + ":"
}

// Rabbit returns the URL of the virtual host "/", which all tests share. Most
// want Vhost, where exchanges can have the names they have in production.
func Rabbit(t testing.TB) string {
	t.Helper()
	return must(t, rabbit).url
}

// RabbitAdmin returns the URL of the management API, with its user.
func RabbitAdmin(t testing.TB) string {
	t.Helper()
	return must(t, rabbit).admin
}

// Vhost returns the URL of a new, empty virtual host, which is removed with
// all connections to it when the test ends. It takes some 20ms: RabbitMQ makes
// virtual hosts through its management API, which our servers have for this;
// rabbitmqctl would take two seconds.
func Vhost(t testing.TB) string {
	t.Helper()
	at := must(t, rabbit)
	if at.admin == "" {
		t.Fatalf("servertest: %s is set without %s", EnvRabbit, EnvRabbitAdmin)
	}
	name := "test-" + strings.ToLower(rand.Text()[:10])
	admin(t, at, http.MethodPut, "/api/vhosts/"+name, "")
	t.Cleanup(func() { admin(t, at, http.MethodDelete, "/api/vhosts/"+name, "") })
	admin(t, at, http.MethodPut, "/api/permissions/"+name+"/guest", `{"configure":".*","write":".*","read":".*"}`)
	u, err := url.Parse(at.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// admin sends one request to the management API.
func admin(t testing.TB, at address, method, path, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // it may have a million messages to remove
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("servertest: %v", err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		t.Errorf("servertest: %s %s: %s", method, path, resp.Status)
	}
}

func must(t testing.TB, f func() (address, error)) address {
	t.Helper()
	at, err := f()
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	return at
}
