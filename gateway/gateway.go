// Package gateway is the HTTP border: contract/http.md. It reads what the
// projections wrote and asks for what is missing through the task queue; it
// calls no provider itself.
//
// Business errors are answered with HTTP 200 and an error envelope: known
// clients decode no other status.
//
// It stores nothing but tasks, and counts refreshes in Redis (limits.go). A
// request that is cut off leaves at most its task behind, which runs to its end
// and serves the next request.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"beat/providers/ratelimit"
	"beat/streams/lineage"
	"beat/streams/schedule"
)

// queryTimeout bounds each statement of the gateway.
const queryTimeout = 5 * time.Second

// Config of the gateway. A zero field means its default.
type Config struct {
	CDNBase   string        // in front of mirrored thumbnails; default none: the originals are told
	Heartbeat bool          // state of the heartbeat at start
	Wait      time.Duration // longest wait for an on-demand refresh; default 50s, clients give up after 60s
	// Ready is what /readyz checks: name → problem, nil for none.
	Ready   func(context.Context) map[string]error
	Metrics http.Handler // serves /metrics; default none
	Border  Border
	Version string // of this build, for the document; default dev
	// Why says why a task is not running; its error wraps schedule.ErrNoTask when
	// there is none. Default none: no such route.
	Why func(ctx context.Context, task int64) (Why, error)

	// Lineage finds what belongs together with a name; its error wraps
	// lineage.ErrUnknown when there is nothing of that name. Default none: no such
	// route.
	Lineage func(ctx context.Context, kind, id string) (*lineage.Lineage, error)

	// Supply makes a creator's own Graph token the credential of the handle,
	// unless there is one that works. Default none: no routes that take tokens.
	Supply func(ctx context.Context, handle, token, userID string) error

	// Validate says what is wrong with a token: ErrTokenInvalid, ErrAccessExpired,
	// or something else, which the client is told. Default none: no token is good.
	Validate func(ctx context.Context, t Token) error
	// Send tells what clients say of tasks. Default none: they cannot.
	Send schedule.Sender
	// Bulk are the connections of the routes of scrape requests; default those of
	// the others.
	Bulk *pgxpool.Pool

	// Limiter counts refreshes, with the prefix ratelimit.Requests; default
	// none: nothing is limited.
	Limiter *ratelimit.Limiter
	Sliding bool    // limits hold in every interval of their length, not only from the first request on
	Busy    float64 // used share of a daily budget above which what is not urgent waits; default 0.8
	OffPeak Hours   // when that runs; default 01:00-05:00
}

// A Gateway answers HTTP requests.
type Gateway struct {
	lg      *slog.Logger
	db      *pgxpool.Pool
	queue   *schedule.Queue
	cfg     Config
	up      atomic.Bool
	doc     published
	bulk    bulk
	waiters waiters
	drain   drain
	metrics limitMetrics

	refreshing atomic.Int64 // requests under way that wait for a refresh

	crowd    *crowd
	heavy    *semaphore.Weighted
	away     *prometheus.CounterVec // reason
	underWay prometheus.Collector
}

// bulk is where the routes of scrape requests go, so that many of them do not keep
// the others waiting: connections of their own, and creations let those go first
// that wait for a refresh.
type bulk struct {
	db     *pgxpool.Pool
	queue  *schedule.Queue
	intake *schedule.Intake
}

// New returns a Gateway over db and q. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, q *schedule.Queue, cfg Config) *Gateway {
	if cfg.Wait <= 0 {
		cfg.Wait = 50 * time.Second
	}
	if cfg.Busy <= 0 {
		cfg.Busy = 0.8
	}
	if cfg.OffPeak == (Hours{}) {
		cfg.OffPeak = Hours{1 * time.Hour, 5 * time.Hour}
	}
	cfg.Border = cfg.Border.withDefaults()
	cfg.CDNBase = strings.TrimRight(cfg.CDNBase, "/")
	g := &Gateway{lg: lg, db: db, queue: q, cfg: cfg, metrics: newLimitMetrics(), crowd: newCrowd(cfg.Border.Requests, cfg.Border.PerClient), heavy: semaphore.NewWeighted(heavyPlaces)}
	g.measureBorder()
	if cfg.Bulk != nil {
		db, q = cfg.Bulk, schedule.NewQueue(cfg.Bulk, q.Lease())
	}
	g.bulk = bulk{db, q, schedule.NewIntake(q, func() bool { return g.refreshing.Load() > 0 })}
	g.up.Store(cfg.Heartbeat)
	return g
}

func (g *Gateway) heartbeat(w http.ResponseWriter, _ *http.Request) {
	if !g.up.Load() {
		w.WriteHeader(http.StatusGone)
	}
}

// setHeartbeat is R18. Off is the word that the process is about to end.
func (g *Gateway) setHeartbeat(w http.ResponseWriter, r *http.Request) {
	var wrong check
	q := queryOf(r)
	wrong.required(q, "beat")
	beat := wrong.boolean(q, "beat", false)
	if wrong.answered(w) {
		return
	}
	g.up.Store(beat)
	if beat {
		g.fill()
	} else {
		g.Drain(drainTime)
	}
	g.heartbeat(w, r)
}

func (g *Gateway) showMetrics(w http.ResponseWriter, r *http.Request) { g.cfg.Metrics.ServeHTTP(w, r) }

func healthz(_ *Gateway, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok")) //nolint:errcheck // the client is gone
}

// A readyAnswer says which servers do not answer, if any.
type readyAnswer struct {
	Missing map[string]string `json:"missing,omitempty"` // name → problem
	Ready   bool              `json:"ready"`
}

func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	missing := map[string]string{}
	if g.cfg.Ready != nil {
		for name, err := range g.cfg.Ready(ctx) {
			if err != nil {
				missing[name] = err.Error()
			}
		}
	}
	if len(missing) > 0 {
		reply(w, http.StatusServiceUnavailable, readyAnswer{missing, false})
		return
	}
	reply(w, http.StatusOK, readyAnswer{Ready: true})
}
