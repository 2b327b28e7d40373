package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"beat/providers/sandbox"
	"beat/streams/broker"
	"beat/streams/bus/natsd"
	"beat/streams/servers"
	"beat/streams/servers/s3d"
)

func dialRabbit(ctx context.Context, f rmqFlags) error {
	nodes, err := broker.Parse(f.RMQURL, f.RMQCA)
	if err != nil {
		return err
	}
	c, _, err := nodes.Dial(ctx, broker.Dialing{Name: "beat-doctor", Timeout: 5 * time.Second})
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return c.Close()
}

// A local is everything that beat needs, on this machine and only for this
// process: JetStream, Redis and S3 within it, Postgres beside it unless a URL is
// given, and the sandbox in place of the providers.
type local struct {
	deps deps
	nats *natsd.Server
	nc   *nats.Conn
	pg   *servers.Server // nil: PG_URL was given
	box  *sandbox.Server // nil: elsewhere
	s3   *s3d.Server     // nil: no archive
	dir  string

	stops []func()
}

type localConfig struct {
	pgURL      string
	rmqURL     string
	fixtures   string
	syncAlways bool
	fsync      bool
	settings   map[string]string // of Postgres
	sandboxURL string            // use this one instead of starting one
	redisURL   string            // likewise
	sources    []string          // have a credential; default sandbox.Sources
	now        time.Time         // of the sandbox's world; default the clock's
	archive    bool              // of raw answers, on an S3 within this process
}

func startLocal(ctx context.Context, lg *slog.Logger, cfg localConfig) (l *local, err error) {
	l = &local{}
	defer func() {
		if err != nil {
			l.Stop()
		}
	}()
	if l.dir, err = os.MkdirTemp("", "beat-"); err != nil {
		return nil, err
	}
	l.stops = append(l.stops, func() { os.RemoveAll(l.dir) }) //nolint:errcheck // a temporary folder
	l.deps.RMQURL, l.deps.RedisURL = cfg.rmqURL, cfg.redisURL
	l.deps.RMQDeclare = true
	l.deps.Listen = "127.0.0.1:0"
	l.deps.Heartbeat = true
	l.deps.Stop = 10 * time.Second
	l.deps.Endpoint, l.deps.Limit = map[string]string{}, map[string]string{}
	if l.nats, err = natsd.Start(natsd.Config{Dir: filepath.Join(l.dir, "jetstream"), SyncAlways: cfg.syncAlways}); err != nil {
		return nil, err
	}
	l.stops = append(l.stops, l.nats.Stop)
	l.deps.NATSURL = l.nats.URL()
	if l.nc, err = l.nats.Connect(nats.MaxReconnects(-1), unheard); err != nil {
		return nil, err
	}
	l.stops = append(l.stops, l.nc.Close)
	l.deps.PGURL = cfg.pgURL
	if cfg.pgURL == "" {
		if l.pg, err = servers.Postgres(ctx, servers.PostgresConfig{Fsync: cfg.fsync, Settings: cfg.settings}); err != nil {
			return nil, err
		}
		l.stops = append(l.stops, func() { l.pg.Discard() }) //nolint:errcheck // a private server
		l.deps.PGURL = l.pg.URL
	}
	if cfg.redisURL == "" {
		m := miniredis.NewMiniRedis()
		if err := m.Start(); err != nil {
			return nil, err
		}
		// Its clock stands still unless it is moved.
		tick := time.NewTicker(50 * time.Millisecond)
		done := make(chan struct{})
		go func() {
			for last := time.Now(); ; {
				select {
				case <-done:
					return
				case now := <-tick.C:
					m.FastForward(now.Sub(last))
					last = now
				}
			}
		}()
		l.stops = append(l.stops, func() { tick.Stop(); close(done); m.Close() })
		l.deps.RedisURL = "redis://" + m.Addr() + "/0"
	}
	if cfg.archive {
		if l.s3, err = s3d.Start(s3d.Config{Dir: filepath.Join(l.dir, "s3")}); err != nil {
			return nil, err
		}
		l.stops = append(l.stops, l.s3.Stop)
		l.deps.s3Flags = s3Flags{S3Bucket: "beat-raw", S3Endpoint: l.s3.URL, s3Key: "beat", s3Secret: "beat"}
		store, err := l.deps.s3Flags.bucket(ctx)
		if err == nil {
			err = store.MakeBucket(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	url := cfg.sandboxURL
	if url == "" {
		world := sandbox.Config{Fixtures: cfg.fixtures}
		if !cfg.now.IsZero() {
			world.Now = func() time.Time { return cfg.now }
		}
		if l.box, err = sandbox.Listen("127.0.0.1:0", world); err != nil {
			return nil, err
		}
		l.stops = append(l.stops, func() { l.box.Close() }) //nolint:errcheck // ends with us
		url = l.box.URL
	}
	base := &sandbox.Sandbox{}
	for _, source := range sandbox.All {
		l.deps.Endpoint[source] = base.BaseURL(url, source)
	}
	return l, nil
}

// Stop stops what was started, the last one first.
func (l *local) Stop() {
	for i := len(l.stops) - 1; i >= 0; i-- {
		l.stops[i]()
	}
	l.stops = nil
}

// A running is a local with all roles running on it.
type running struct {
	*app
	ended chan error // what Run returned, once
	Stop  func()     // stops the roles and closes the connections
}

// run runs all roles with the sandbox's credentials.
func (l *local) run(ctx context.Context, lg *slog.Logger) (*running, error) {
	a, err := newApp(ctx, lg, l.deps, l.nc)
	if err != nil {
		return nil, err
	}
	if err := sandboxCredentials(ctx, a.db, sandbox.Sources); err != nil {
		a.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- a.Run(ctx, roles)
	}()
	return &running{a, ended, func() { cancel(); <-done; a.Close() }}, nil
}

// listening is where the gateway is reached.
func (r *running) listening(ctx context.Context) (string, error) {
	select {
	case addr := <-r.addr:
		return addr, nil
	case err := <-r.ended:
		return "", fmt.Errorf("the pipeline stopped: %w", err)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// sandboxCredentials makes the rows that the sandbox accepts.
func sandboxCredentials(ctx context.Context, db *pgxpool.Pool, sources []string) error {
	box, err := sandbox.New(sandbox.Config{})
	if err != nil {
		return err
	}
	defer box.Close()
	for _, source := range sources {
		if err := insertCredential(ctx, db, box.Credential(source)); err != nil {
			return err
		}
	}
	return nil
}

func insertCredential(ctx context.Context, db *pgxpool.Pool, c sandbox.Credential) error {
	_, err := db.Exec(ctx, `
INSERT INTO credential (idempotency_key, source, handle, credentials, enabled, created_at, updated_at)
VALUES ($1, $2, nullif($3, ''), $4, true, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC')
ON CONFLICT (idempotency_key) DO NOTHING`, strings.TrimSuffix("sandbox-"+c.Source+"-"+c.Handle, "-"), c.Source, c.Handle, c.Fields)
	if err != nil {
		return fmt.Errorf("insert the sandbox's credentials: %w", err)
	}
	return nil
}

// child starts this program with other arguments; it ends with ctx.
func child(ctx context.Context, env []string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, errors.New("cannot find my own program file")
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd, nil
}
