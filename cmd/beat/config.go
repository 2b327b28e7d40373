package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"beat/gateway"
	"beat/providers"
	"beat/providers/ratelimit"
	"beat/streams/bus"
)

// pgFlags is how to reach Postgres.
type pgFlags struct {
	PGURL string `help:"Postgres, postgres://user@host/db. The existing postgresql+asyncpg:// form is accepted." env:"PG_URL" name:"pg-url" placeholder:"URL"`
}

// deps are the servers and settings of a running process.
type deps struct {
	pgFlags
	refreshFlags
	rmqFlags
	peerFlags
	archiveFlags
	borderFlags
	healFlags
	auditFlags
	NATSURL       string            `help:"NATS with JetStream." env:"NATS_URL" name:"nats-url" default:"nats://127.0.0.1:4222"`
	RedisURL      string            `help:"Redis, for the rate limits." env:"REDIS_URL" name:"redis-url" default:"redis://127.0.0.1:6379/0"`
	Listen        string            `help:"Address of the gateway." env:"BEAT_LISTEN" default:"0.0.0.0:8000"`
	Heartbeat     bool              `help:"Initial state of /heartbeat." env:"HEARTBEAT"`
	CDN           string            `help:"Base URL of mirrored pictures." env:"CDN_BASE_URL" name:"cdn-base-url"`
	Lease         time.Duration     `help:"How long a claimed task is believed to be running without a sign of life." env:"BEAT_LEASE" default:"15m"`
	Replicas      int               `help:"Copies of each stream, for a NATS cluster." env:"BEAT_REPLICAS" default:"1"`
	Endpoint      map[string]string `help:"Base URL of a provider instead of the real host, source=URL." env:"BEAT_ENDPOINTS" placeholder:"SOURCE=URL"`
	Limit         map[string]string `help:"Rate limit of a source instead of the contract's, source=REQUESTS/SECONDS; 0/1 is none." env:"BEAT_LIMITS" placeholder:"SOURCE=N/S"`
	SlidingLimits bool              `help:"The gateway's limits hold in any interval of their length, not only from the first request on." env:"BEAT_SLIDING_LIMITS"`
	OffPeak       gateway.Hours     `help:"When refreshes that are not urgent run once the day's budget is nearly used, UTC." env:"BEAT_OFF_PEAK" default:"01:00-05:00"`
	TaskTimeout   time.Duration     `help:"How long the calls of one task may take together, waits not counted; then it is FAILED." env:"BEAT_TASK_TIMEOUT" default:"10m"`
	EnforceExpiry bool              `help:"Fail tasks that are past their expires_at when their turn comes." env:"BEAT_ENFORCE_EXPIRY"`
	CredentialKey string            `help:"Key of sealed credentials, 32 bytes as base64. Plain rows need none." env:"BEAT_CREDENTIAL_KEY" placeholder:"KEY"`
	MetaAppToken  string            `help:"Token of our own application at Meta, ID|SECRET, with which Graph is asked what a creator's token may do." env:"META_APP_ACCESS_TOKEN" name:"meta-app-access-token" placeholder:"TOKEN"`
	Parser        map[string]int    `help:"Version of a source's parsers instead of the newest, source=VERSION." env:"BEAT_PARSERS" placeholder:"SOURCE=N"`
	Stop          time.Duration     `help:"How long work in hand may take once told to stop." name:"stop-timeout" default:"30s"`

	more      []*providers.Provider         // beside those of the table; for tests
	wrap      func(bus.Handler) bus.Handler // goes around what handles messages; for tests
	unlimited bool                          // the gateway counts no refreshes; for tests and the benchmark
}

// pgURL is a URL that pgx understands.
func pgURL(u string) (string, error) {
	if u == "" {
		return "", usageError{errors.New("no Postgres: set PG_URL or --pg-url, such as postgres://user@host:5432/beat")}
	}
	if scheme, rest, ok := strings.Cut(u, "://"); ok && strings.HasPrefix(scheme, "postgres") {
		u = "postgres://" + rest
	}
	if _, err := pgx.ParseConfig(u); err != nil {
		return "", usageError{errors.New("PG_URL cannot be read: want postgres://user:password@host:port/database")}
	}
	return u, nil
}

// openPG connects and checks that Postgres answers. Settings are of its
// sessions, name and value in turn.
func openPG(ctx context.Context, u string, conns int32, settings ...string) (*pgxpool.Pool, error) {
	u, err := pgURL(u)
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(u)
	if err != nil {
		return nil, usageError{errors.New("PG_URL cannot be read")}
	}
	cfg.MaxConns = conns
	cfg.MinConns = 1
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.ConnConfig.RuntimeParams["application_name"] = "beat"
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = "60000"
	cfg.ConnConfig.RuntimeParams["jit"] = "off" // compiling a statement takes longer than running one of ours
	for i := 0; i+1 < len(settings); i += 2 {
		cfg.ConnConfig.RuntimeParams[settings[i]] = settings[i+1]
	}
	db, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("postgres at %s: %w", place(cfg), err)
	}
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := db.Ping(ping); err != nil {
		db.Close()
		return nil, fmt.Errorf("postgres at %s does not answer: %s", place(cfg), pgReason(err))
	}
	return db, nil
}

func place(cfg *pgxpool.Config) string {
	return net.JoinHostPort(cfg.ConnConfig.Host, strconv.Itoa(int(cfg.ConnConfig.Port))) + "/" + cfg.ConnConfig.Database
}

// pgReason is the last cause, on one line, without the connection string.
func pgReason(err error) string {
	var op *net.OpError // pgx joins one error for each address it tried
	if errors.As(err, &op) {
		err = op.Err
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// unheard drops what nats.go prints by itself, past our logger. It concerns readers
// of streams that fall behind, of which it may drop a heartbeat: they notice what is
// missing by its number and read it again.
var unheard = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

func openNATS(u string) (*nats.Conn, error) {
	nc, err := nats.Connect(u, nats.Name("beat"), nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.Timeout(5*time.Second), unheard)
	var wrong *url.Error // it repeats the URL
	if errors.As(err, &wrong) {
		return nil, usageError{errors.New("NATS_URL cannot be read: want nats://host:port")}
	}
	if err != nil {
		return nil, fmt.Errorf("nats at %s does not answer: %w", bare(u), err)
	}
	return nc, nil
}

// openJetStream connects; end closes the connection.
func openJetStream(u string) (js jetstream.JetStream, end func(), err error) {
	nc, err := openNATS(u)
	if err != nil {
		return nil, nil, err
	}
	if js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return nil, nil, err
	}
	return js, nc.Close, nil
}

// silent drops what go-redis logs by itself, past our logger: each of it comes
// back as an error, too.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var silenceRedis = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

func openRedis(ctx context.Context, u string) (*redis.Client, error) {
	o, err := redis.ParseURL(u)
	if err != nil {
		return nil, usageError{errors.New("REDIS_URL cannot be read: want redis://host:port/db")}
	}
	silenceRedis()
	o.ContextTimeoutEnabled = true // or it waits five seconds, whatever a caller says
	rdb := redis.NewClient(o)
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := rdb.Ping(ping).Err(); err != nil {
		rdb.Close() //nolint:errcheck // it never worked
		return nil, fmt.Errorf("redis at %s does not answer: %w", o.Addr, err)
	}
	return rdb, nil
}

// bare is a URL without user and password.
func bare(u string) string {
	p, err := url.Parse(u)
	if err != nil {
		return "the given URL"
	}
	return p.Host
}

// checkSources refuses settings of sources that do not exist.
func (d *deps) checkSources(known []string) error {
	for flag, of := range map[string]map[string]string{"endpoint": d.Endpoint, "limit": d.Limit} {
		for source := range of {
			if !slices.Contains(known, source) {
				return usageError{fmt.Errorf("--%s %s=…: unknown source, want one of %s", flag, source, strings.Join(known, ", "))}
			}
		}
	}
	for source, u := range d.Endpoint {
		if p, err := url.Parse(u); err != nil || p.Host == "" || p.Scheme != "http" && p.Scheme != "https" {
			return usageError{fmt.Errorf("--endpoint %s=…: want an http or https URL", source)}
		}
	}
	return nil
}

// limits reads --limit.
func (d *deps) limits() (map[string]ratelimit.Spec, error) {
	out := map[string]ratelimit.Spec{}
	for source, text := range d.Limit {
		n, s, ok := strings.Cut(text, "/")
		requests, err1 := strconv.Atoi(n)
		seconds, err2 := strconv.Atoi(s)
		if !ok || err1 != nil || err2 != nil || requests < 0 || seconds < 1 {
			return nil, usageError{fmt.Errorf("--limit %s=%s: want REQUESTS/SECONDS, such as 100/30", source, text)}
		}
		out[source] = ratelimit.Spec{Name: source, Requests: requests, Seconds: seconds, Sliding: true}
	}
	return out, nil
}
