package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beat/gateway/access"
)

// A Border is what clients may do to the process. A zero field means its default.
//
// Who is too many is told so at once, and waits nowhere: on routes of the contract
// as a limit of it, since their clients decode nothing but status 200, and
// elsewhere with 429 and 503. What tells of the process (group process) is always
// answered.
type Border struct {
	Tokens    func() access.Tokens // those that count now; default none
	Operators bool                 // routes that the contract does not have ask for a token of their scope
	Contract  bool                 // those that it has do so, too, but GET /heartbeat

	Requests  int           // under way at once; default 1024
	PerClient int           // likewise of one token or address; default 512: many users come through one gateway
	Header    time.Duration // to send all headers in; default 10s
	Body      time.Duration // to send all of a body in; default 30s
	Answer    time.Duration // to read an answer in, beside a second for each 256 KiB; default 30s
}

func (b Border) withDefaults() Border {
	if b.Tokens == nil {
		b.Tokens = func() access.Tokens { return nil }
	}
	if b.Requests <= 0 {
		b.Requests = 1024
	}
	if b.PerClient <= 0 {
		b.PerClient = 512
	}
	if b.Header <= 0 {
		b.Header = 10 * time.Second
	}
	if b.Body <= 0 {
		b.Body = 30 * time.Second
	}
	if b.Answer <= 0 {
		b.Answer = 30 * time.Second
	}
	return b
}

const (
	maxHeader = 64 << 10 // of all headers and the path together; beyond it net/http answers 431
	// connections are allowed for each request that is: clients keep some open that
	// they do not use.
	connections = 4
)

// Server returns what serves the routes. It has to be given Listener's
// connections.
func (g *Gateway) Server() *http.Server {
	return &http.Server{
		Handler:           g.Handler(),
		ReadHeaderTimeout: g.cfg.Border.Header,
		// From the headers on; answering.Write has a closer bound.
		WriteTimeout:   g.cfg.Border.Body + g.cfg.Wait + queryTimeout + 2*g.cfg.Border.Answer,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(serverLog{g.lg.Handler()}, slog.LevelDebug),
	}
}

// Listener bounds the connections that l accepts.
func (g *Gateway) Listener(l net.Listener) net.Listener {
	b := g.cfg.Border
	return bounded{l, newCrowd(connections*b.Requests, connections*b.PerClient), func(why string) {
		g.away.WithLabelValues("connection_" + why).Inc()
	}}
}

// serverLog is where net/http logs: mostly what clients did wrong.
type serverLog struct{ slog.Handler }

func (h serverLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: Accept error") { // out of file descriptors, mostly
		r.Level = slog.LevelError
	}
	if !h.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// measureBorder makes the metrics. No label holds anything of a client.
func (g *Gateway) measureBorder() {
	g.away = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "beat", Subsystem: "gateway", Name: "turned_away_total",
		Help: "Requests and connections turned away, by reason: token, scope, busy, client_busy, connection_busy, connection_client_busy."}, []string{"reason"})
	g.underWay = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "beat", Subsystem: "gateway", Name: "requests",
		Help: "Requests under way."}, func() float64 { return float64(g.crowd.size()) })
}

// Handler returns the routes.
func (g *Gateway) Handler() http.Handler {
	routes := newRouter(g.routes())
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w := &answering{ResponseWriter: out, most: g.cfg.Border.Answer}
		defer g.recovered(w, r)
		if g.Draining() {
			w.Header().Set("Connection", "close") // the next request goes to another process
		}
		control := http.NewResponseController(w)
		if r.ContentLength != 0 { // whoever reads it, or nobody: readObject, or net/http at the end
			_ = control.SetReadDeadline(time.Now().Add(g.cfg.Border.Body)) //nolint:errcheck // tests have no connection
		}
		op := routes.operation(w, r)
		if op == nil {
			return
		}
		token, known := g.tokenOf(r)
		if !g.allowed(w, r, op, token, known) {
			return
		}
		if op.bounded() {
			client := address(r.RemoteAddr)
			if known {
				client = "token " + token.Name
			}
			leave, why := g.crowd.enter(client)
			if why != "" {
				g.away.WithLabelValues(why).Inc()
				op.busy(w, why)
				return
			}
			defer leave()
		}
		if op.heavy {
			leave, ok := g.heavyPlace(r.Context())
			if !ok {
				g.away.WithLabelValues(fullForAll).Inc()
				op.busy(w, fullForAll)
				return
			}
			defer leave()
		}
		// Whatever a request does, it is answered before its client gives up.
		ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Wait+queryTimeout)
		defer cancel()
		op.handle(g, w, r.WithContext(ctx))
	})
}

// heavyPlaces is how many answers of megabytes are made or sent at once, and
// heavyWait how long one more waits for a place.
const (
	heavyPlaces = 8
	heavyWait   = 2 * time.Second
)

// heavyPlace bounds the memory of answers that are as long as the client asks for,
// and that it may be slow to read.
func (g *Gateway) heavyPlace(ctx context.Context) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, heavyWait)
	defer cancel()
	if g.heavy.Acquire(ctx, 1) != nil {
		return nil, false
	}
	return func() { g.heavy.Release(1) }, true
}

// bounded reports whether an operation counts among the requests under way.
func (o *operation) bounded() bool { return o.group != onProcess }

// busy answers who is too many.
func (o *operation) busy(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "1")
	switch {
	case o.contract != "":
		fail(w, 2, "Concurrency Limit Exceeded")
	case why == fullForClient:
		reply(w, http.StatusTooManyRequests, tooManyOfClient)
	default:
		reply(w, http.StatusServiceUnavailable, tooMany)
	}
}

var (
	tooManyOfClient = detail{"Too many of your requests are under way"}
	tooMany         = detail{"Too many requests are under way"}
)

// tokenOf is the token that a request has come with, if it is one of ours.
func (g *Gateway) tokenOf(r *http.Request) (access.Token, bool) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return access.Token{}, false
	}
	return g.cfg.Border.Tokens().Find(strings.TrimSpace(secret))
}

// allowed reports whether a request may be served, and answers it otherwise.
func (g *Gateway) allowed(w http.ResponseWriter, r *http.Request, op *operation, token access.Token, known bool) bool {
	asked := g.cfg.Border.Operators
	if op.contract != "" {
		asked = g.cfg.Border.Contract
	}
	switch {
	case !asked || op.scope == access.Open || known && token.Scope >= op.scope:
		return true
	case known:
		g.away.WithLabelValues("scope").Inc()
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="beat", error="insufficient_scope", scope="%s"`, op.scope))
		reply(w, http.StatusForbidden, detail{fmt.Sprintf("The token has scope %s; %s is needed", token.Scope, op.scope)})
	case r.Header.Get("Authorization") != "":
		g.away.WithLabelValues("token").Inc()
		w.Header().Set("WWW-Authenticate", `Bearer realm="beat", error="invalid_token"`)
		reply(w, http.StatusUnauthorized, detail{"The token is none that is known"})
	default:
		g.away.WithLabelValues("token").Inc()
		w.Header().Set("WWW-Authenticate", `Bearer realm="beat"`)
		reply(w, http.StatusUnauthorized, detail{fmt.Sprintf("A token of scope %s is needed, as Authorization: Bearer TOKEN", op.scope)})
	}
	return false
}

// answering knows whether an answer has begun, and hangs up on who does not read
// it.
type answering struct {
	http.ResponseWriter
	most  time.Duration
	begun bool
}

func (a *answering) WriteHeader(code int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(code)
}

func (a *answering) Write(b []byte) (int, error) {
	a.begun = true
	most := a.most + time.Duration(len(b)>>18)*time.Second
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(most)) //nolint:errcheck // tests have no connection
	return a.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// recovered answers a request whose handler panicked. The client learns nothing of
// it; the log has the stack, in which arguments are addresses.
func (g *Gateway) recovered(w *answering, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	text := fmt.Sprintf("a %T", p) // its text could hold anything that a request or a row does
	if mistake, ok := p.(runtime.Error); ok {
		text = mistake.Error() // types and indexes alone
	}
	g.lg.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", text, "stack", string(debug.Stack()))
	if w.begun { // there is no taking it back: better none than half of one
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	w.Header().Set("Content-Type", plainText)
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte("Internal Server Error")) //nolint:errcheck // the client is gone
}
