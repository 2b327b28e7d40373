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
	"errors"
	"log/slog"
	"net/http"
	"sort"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"beat/providers/ratelimit"
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
	// Why says why a task is not running, as JSON; its error wraps
	// schedule.ErrNoTask when there is none. Default none: no such route.
	Why func(ctx context.Context, task int64) (any, error)

	// Supply makes a creator's own Graph token the credential of the handle,
	// unless there is one that works. Default none: no routes that take tokens.
	Supply func(ctx context.Context, handle, token, userID string) error

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
	waiters waiters
	metrics limitMetrics
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
	cfg.CDNBase = strings.TrimRight(cfg.CDNBase, "/")
	g := &Gateway{lg: lg, db: db, queue: q, cfg: cfg, metrics: newLimitMetrics()}
	g.up.Store(cfg.Heartbeat)
	return g
}

// verbs are the methods of one path.
type verbs map[string]http.HandlerFunc

func (v verbs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := v[r.Method]; ok {
		h(w, r)
		return
	}
	allow := make([]string, 0, len(v))
	for m := range v {
		allow = append(allow, m)
	}
	sort.Strings(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	reply(w, http.StatusMethodNotAllowed, detail{"Method Not Allowed"})
}

// Handler returns the routes.
func (g *Gateway) Handler() http.Handler {
	routes := map[string]verbs{
		"/heartbeat":                             {"GET": g.heartbeat, "PUT": g.setHeartbeat},
		"/healthz":                               {"GET": healthz, "HEAD": healthz},
		"/readyz":                                {"GET": g.readyz, "HEAD": g.readyz},
		"/profiles/{platform}/byhandle/{handle}": {"GET": g.byHandle},
		"/social-profile-service/{platform}/byhandle/{handle}": {"GET": g.byHandle},
		"/posts/{platform}/byshortcode/{shortcode}":            {"GET": g.byShortcode},
		// GET reads by id, POST takes the flow from its body.
		"/scrape_request_log/flow/{flow}": {"GET": g.readTask, "POST": g.createTask},
	}
	if g.cfg.Supply != nil {
		routes["/profiles/{platform}/byhandle/{handle}/insights"] = verbs{"GET": g.creatorInsights}
		routes["/profiles/{platform}/byhandle/{handle}/audienceinsights"] = verbs{"GET": g.audienceInsights}
	}
	if g.cfg.Why != nil {
		routes["/tasks/{id}/why"] = verbs{"GET": g.whyTask}
	}
	if g.cfg.Metrics != nil {
		routes["/metrics"] = verbs{"GET": g.cfg.Metrics.ServeHTTP}
	}
	mux := http.NewServeMux()
	for pattern, v := range routes {
		mux.Handle(pattern, v)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		// A trailing slash too many leads to the registered form.
		if p := strings.TrimSuffix(r.URL.EscapedPath(), "/"); p != "" && p != r.URL.EscapedPath() && !strings.HasPrefix(p, "//") {
			probe := r.Clone(r.Context())
			probe.URL.Path, probe.URL.RawPath = strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.RawPath, "/")
			if _, pattern := mux.Handler(probe); pattern != "/" {
				if r.URL.RawQuery != "" {
					p += "?" + r.URL.RawQuery
				}
				w.Header().Set("Location", p)
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
		}
		notFound(w)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			g.lg.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
		}()
		mux.ServeHTTP(w, r)
	})
}

func (g *Gateway) heartbeat(w http.ResponseWriter, _ *http.Request) {
	if !g.up.Load() {
		w.WriteHeader(http.StatusGone)
	}
}

func (g *Gateway) setHeartbeat(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !q.Has("beat") {
		invalid(w, problem{Loc: []any{"query", "beat"}, Msg: "field required", Type: "value_error.missing"})
		return
	}
	beat, ok := boolean(q.Get("beat"))
	if !ok {
		invalid(w, problem{Loc: []any{"query", "beat"}, Msg: "value could not be parsed to a boolean", Type: "type_error.bool"})
		return
	}
	g.up.Store(beat)
	g.heartbeat(w, r)
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok")) //nolint:errcheck // the client is gone
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
		reply(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "missing": missing})
		return
	}
	reply(w, http.StatusOK, map[string]bool{"ready": true})
}
