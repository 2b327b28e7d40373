package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"beat/gateway"
	"beat/migrations"
	"beat/processors"
	"beat/processors/parsing"
	"beat/processors/processing"
	"beat/processors/quarantine"
	"beat/processors/retrieval"
	"beat/projections"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/instagram/arraybobo"
	"beat/providers/instagram/bestsolutions"
	"beat/providers/instagram/graphapi"
	"beat/providers/instagram/igapi"
	"beat/providers/instagram/jotucker"
	"beat/providers/instagram/lama"
	"beat/providers/instagram/neotank"
	"beat/providers/instagram/rocketapi"
	"beat/providers/ratelimit"
	"beat/providers/youtube/ytapi"
	"beat/providers/youtube/ytpage"
	"beat/streams/archive"
	"beat/streams/audit"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/lanes"
	"beat/streams/lineage"
	"beat/streams/schedule"
	"beat/streams/social"
)

// roles are what `beat run` can run, in the order of a task's way.
var roles = []string{"scheduler", "retrieval", "parsing", "processing", "projections", "bridge", "archive", "listeners", "gateway"}

// providerTable is every provider. endpoint gives the base URL of a source,
// "" for the real host.
func providerTable(endpoint func(source string) string) providers.Set {
	return providers.NewSet(
		graphapi.New(endpoint("graphapi")),
		arraybobo.New(endpoint("rapidapi-arraybobo")),
		jotucker.New(endpoint("rapidapi-jotucker")),
		neotank.New(endpoint("rapidapi-neotank")),
		bestsolutions.New(endpoint("rapidapi-bestsolutions")),
		igapi.New(endpoint("rapidapi-igapi")),
		rocketapi.New(endpoint("rocketapi")),
		lama.New(endpoint("lama")),
		ytapi.New(endpoint("ytapitoken")),
		ytpage.New(endpoint("youtube-page")),
	)
}

// consumers are the durable consumers of all stages: one per flow on TASKS,
// whose MaxAckPending is the flow's limit in the whole fleet, and one per
// platform for parsing and processing.
func consumers(flows []flow.Flow) []bus.Consumer {
	var out []bus.Consumer
	for _, f := range flows {
		out = append(out, bus.Consumer{
			Stream: bus.Tasks, Durable: f.Name, Filter: []string{schedule.TaskSubject(f.Platform, f.Name)},
			MaxAckPending: f.InFlight(), AckWait: 30 * time.Second,
		})
	}
	for _, p := range []social.Platform{social.Instagram, social.YouTube} {
		out = append(out,
			bus.Consumer{Stream: bus.Raw, Durable: "parse-" + p.Lower(), Filter: []string{"beat.raw." + p.Lower() + ".>"}, MaxAckPending: 512},
			bus.Consumer{Stream: bus.Parsed, Durable: "process-" + p.Lower(), Filter: []string{"beat.parsed." + p.Lower() + ".>"}, MaxAckPending: 512})
	}
	return out
}

// An app is one process of beat: connections, and the roles that use them.
type app struct {
	lg      *slog.Logger
	cfg     deps
	pg      string
	db      *pgxpool.Pool
	nc      *nats.Conn
	js      jetstream.JetStream
	rdb     redis.UniversalClient
	pub     *bus.Publisher
	set     providers.Set
	creds   *credential.Store
	limiter *ratelimit.Limiter
	pauses  *schedule.Pauses
	budget  *retrieval.Budget
	queue   *schedule.Queue
	proj    *projections.Projector
	bridge  *bridge.Publisher
	archive *archive.Archive
	reg     *prometheus.Registry
	metrics *bus.Metrics
	limits  map[string]ratelimit.Spec
	owner   string
	flight  map[string]int     // tasks in flight by flow, instead of the table's
	refresh []schedule.Refresh // by itself, every so often
	border  border
	gateway atomic.Pointer[gateway.Gateway] // nil: there is none, or not yet

	close []func()
	addr  chan string // where the gateway listens, once it does
}

// newApp connects. nc and rdb may be given (demo); else they are dialled.
func newApp(ctx context.Context, lg *slog.Logger, cfg deps, nc *nats.Conn) (_ *app, err error) {
	a := &app{lg: lg, cfg: cfg, nc: nc, addr: make(chan string, 1)}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	a.set = providerTable(func(source string) string { return cfg.Endpoint[source] })
	for _, p := range cfg.more {
		a.set[p.Source] = p
	}
	if err := cfg.checkSources(slices.Sorted(maps.Keys(a.set))); err != nil {
		return nil, err
	}
	for source, version := range cfg.Parser {
		p := a.set[source]
		if p == nil {
			return nil, usageError{fmt.Errorf("--parser %s=%d: unknown source", source, version)}
		}
		if a.set[source], err = p.With(version); err != nil {
			return nil, usageError{fmt.Errorf("--parser: %w", err)}
		}
	}
	if a.limits, err = cfg.limits(); err != nil {
		return nil, err
	}
	if a.refresh, err = cfg.refreshes(); err != nil {
		return nil, err
	}
	if a.border, err = cfg.border(lg); err != nil {
		return nil, err
	}
	if a.pg, err = pgURL(cfg.PGURL); err != nil {
		return nil, err
	}
	if a.db, err = openPG(ctx, cfg.PGURL, 16); err != nil {
		return nil, err
	}
	a.close = append(a.close, a.db.Close)
	if a.nc == nil {
		if a.nc, err = openNATS(cfg.NATSURL); err != nil {
			return nil, err
		}
		a.close = append(a.close, a.nc.Close)
	}
	rdb, err := openRedis(ctx, cfg.RedisURL)
	if err != nil {
		return nil, err
	}
	a.rdb = rdb
	a.close = append(a.close, func() { rdb.Close() }) //nolint:errcheck // nothing to be done
	if a.js, err = jetstream.New(a.nc); err != nil {
		return nil, err
	}
	// Only now that all answer: what cannot run changes nothing.
	if _, err := migrations.Up(ctx, a.pg); err != nil {
		return nil, err
	}
	if a.archive, err = cfg.archive(ctx, lg, a.db, a.js); err != nil {
		return nil, err
	}
	if a.archive.Configured() {
		changed, err := bus.Hold(ctx, a.js)
		if err != nil {
			return nil, err
		}
		if changed {
			lg.Info("stream RAW drops nothing by itself any more: the archive removes what it has")
		}
	}
	drift, err := bus.Ensure(ctx, a.js, cfg.streams(cfg.Replicas), consumers(flow.All))
	if err != nil {
		return nil, fmt.Errorf("nats at %s: %w", bare(cfg.NATSURL), err)
	}
	for _, d := range drift {
		lg.Warn("stream differs from the table, left as it is", "drift", d.String())
	}
	a.reg = prometheus.NewRegistry()
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.metrics = bus.NewMetrics()
	a.reg.MustRegister(a.metrics.Collectors()...)
	a.reg.MustRegister(a.archive.Collectors()...)
	a.pub = bus.NewPublisher(lg, a.js, bus.PublisherConfig{Metrics: a.metrics})
	a.close = append(a.close, func() { a.pub.Close() }) //nolint:errcheck // only waits
	if err := flow.Check(flow.All, a.set.Answers); err != nil {
		return nil, err
	}
	queue, err := openPG(ctx, cfg.PGURL, 12, schedule.Settings...)
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, queue.Close)
	a.queue = schedule.NewQueue(queue, cfg.Lease)
	key, err := credential.ParseKey(cfg.CredentialKey)
	if err != nil {
		return nil, usageError{err}
	}
	a.creds = credential.New(lg, a.db, a.set, credential.Config{Key: key})
	if err := a.creds.Plant(ctx); err != nil {
		return nil, err
	}
	a.reg.MustRegister(a.creds.Collectors()...)
	a.limiter = ratelimit.New(a.rdb, ratelimit.Calls)
	a.pauses = schedule.NewPauses(lg, a.db)
	a.budget = retrieval.NewBudget(a.set, a.creds, a.limiter, a.queue, a.pauses, a.limits)
	// A plan of its own for every batch would be made from copies of the whole batch.
	fold, err := openPG(ctx, cfg.PGURL, 4, "plan_cache_mode", "force_generic_plan")
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, fold.Close)
	a.proj = projections.New(lg, fold, a.pub, a.nc)
	a.reg.MustRegister(
		counter("beat_rows_total", "Account and post rows written.", func() float64 {
			return float64(a.proj.Stats.Accounts.Load() + a.proj.Stats.Posts.Load())
		}),
		counter("beat_tasks_complete_total", "Tasks ended as COMPLETE.", func() float64 { return float64(a.proj.Stats.Complete.Load()) }),
		counter("beat_tasks_failed_total", "Tasks ended as FAILED.", func() float64 { return float64(a.proj.Stats.Failed.Load()) }),
	)
	host, _ := os.Hostname() //nolint:errcheck // only a label
	a.owner = host + "-" + strconv.Itoa(os.Getpid()) + "-" + uuid.NewString()[:8]
	if cfg.RMQURL != "" {
		a.bridge = newBridge(lg, cfg.rmqFlags)
		a.reg.MustRegister(a.bridge.Collectors()...)
	}
	return a, nil
}

func counter(name, help string, f func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f)
}

// Close lets go of the connections, the last one first.
func (a *app) Close() {
	for _, f := range slices.Backward(a.close) {
		f()
	}
	a.close = nil
}

// Run runs the named roles until taking ends. The gateway stops first: what it
// holds may need the other roles to be answered.
func (a *app) Run(taking context.Context, names []string) error {
	has := func(r string) bool { return slices.Contains(names, r) }
	work, stop := context.WithCancel(context.WithoutCancel(taking))
	defer stop()
	if !has("gateway") {
		defer context.AfterFunc(taking, stop)()
	}
	g, ctx := errgroup.WithContext(work)
	router := bus.NewRouter(a.lg, a.js, a.pub, bus.RouterConfig{StopTimeout: a.cfg.Stop, Metrics: a.metrics, OnDead: a.onDead, Version: a.readBy})
	routes := 0
	add := func(r bus.Route) {
		if a.cfg.wrap != nil {
			r.Handle = a.cfg.wrap(r.Handle)
		}
		router.Add(r)
		routes++
	}
	all := consumers(flow.All)
	if has("retrieval") || has("scheduler") || has("listeners") || has("gateway") { // these look at what may be asked
		if err := errors.Join(a.creds.Load(ctx), a.pauses.Load(ctx)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		g.Go(func() error { return a.creds.Run(ctx) })
		g.Go(func() error { return a.pauses.Run(ctx) })
	}
	if has("retrieval") {
		host, _ := os.Hostname() //nolint:errcheck // only told
		r := retrieval.New(a.lg, a.set, a.creds, a.limiter, providers.NewClient(providers.ClientConfig{}), a.queue, a.pauses,
			retrieval.Config{Host: host, Limits: a.limits, Timeout: a.cfg.TaskTimeout, Keep: a.archive.Keep})
		a.reg.MustRegister(r.Collectors()...)
		for _, c := range all {
			if c.Stream == bus.Tasks {
				add(bus.Route{Name: "retrieve-" + c.Durable, Consumer: c, Concurrency: c.MaxAckPending, Handle: r.Handle})
			}
		}
	}
	if has("parsing") {
		p := parsing.New(a.lg, a.set)
		for _, c := range all {
			if c.Stream == bus.Raw {
				add(bus.Route{Name: c.Durable, Consumer: c, Concurrency: 32, Handle: a.archive.Handler(p.Handle)})
			}
		}
	}
	if has("parsing") && a.cfg.AutoRedrive {
		g.Go(func() error { return a.autoRedrive(ctx) })
	}
	if has("processing") {
		guard := quarantine.New(a.lg, a.db, a.queue)
		p := processing.New(a.lg, guard)
		a.reg.MustRegister(append(guard.Collectors(), p.Collectors()...)...)
		for _, c := range all {
			if c.Stream == bus.Parsed {
				add(bus.Route{Name: c.Durable, Consumer: c, Concurrency: 32, Handle: p.Handle})
			}
		}
	}
	if routes > 0 {
		g.Go(func() error {
			if err := router.Run(ctx); err != nil && ctx.Err() == nil { // told to stop while it began is no error
				return err
			}
			return nil
		})
	}
	if has("scheduler") {
		s := schedule.NewScheduler(a.lg, a.queue, a.pub, flow.All, schedule.Config{
			Owner: a.owner, Backlog: a.backlog(), Oldest: a.oldest, Admit: a.admit, Lookup: projections.Lookup(a.db), InFlight: a.flight,
			EnforceExpiry: a.cfg.EnforceExpiry,
		})
		g.Go(func() error { // a credential that is back is work that can be done
			for {
				changed := a.creds.Changed()
				s.Wake()
				select {
				case <-ctx.Done():
					return nil
				case <-changed:
				}
			}
		})
		// The end of a task leaves its place free.
		sub, err := a.nc.Subscribe(projections.DoneSubject+".*", func(*nats.Msg) { s.Wake() })
		if err != nil {
			return err
		}
		defer sub.Unsubscribe() //nolint:errcheck // the connection ends with us
		g.Go(func() error { return s.Run(ctx) })
		for _, r := range a.refresh {
			g.Go(func() error { return schedule.NewRefresher(a.lg, a.queue, r).Run(ctx) })
		}
	}
	if has("projections") {
		// Two, so that one works while the other waits for Postgres.
		for range 2 {
			r := lanes.New(a.lg, a.db, a.js, lanes.Config{Name: "project"}, a.proj.Handle)
			g.Go(func() error { return r.Run(ctx) })
		}
	}
	if has("projections") && a.cfg.AuditEvery > 0 {
		g.Go(func() error { return a.audits(ctx) })
	}
	if has("bridge") {
		if a.bridge == nil {
			a.lg.Info("no RabbitMQ (RMQ_URL is not set): events wait in the stream")
		} else {
			g.Go(func() error { return a.bridge.Run(ctx) })
			r := lanes.New(a.lg, a.db, a.js, lanes.Config{Name: "bridge"}, a.tell)
			g.Go(func() error { return r.Run(ctx) })
			g.Go(func() error { return a.traces(ctx) })
		}
	}
	if has("archive") {
		if !a.archive.Configured() {
			a.lg.Info("no archive (S3_BUCKET is not set): raw answers are kept as long as stream RAW keeps them")
		} else {
			g.Go(func() error { return a.archive.Run(ctx) })
		}
	}
	if has("listeners") {
		if a.cfg.RMQURL == "" {
			a.lg.Info("no RabbitMQ (RMQ_URL is not set): nobody listens")
		} else {
			l, err := a.newListener()
			if err != nil {
				return err
			}
			a.reg.MustRegister(l.Collectors()...)
			g.Go(func() error { return l.Run(ctx) })
		}
	}
	if has("gateway") {
		g.Go(func() error {
			defer stop()
			return a.serve(ctx, taking)
		})
	}
	return g.Wait()
}

// readBy is the version of the parser that reads a raw answer, 0 for what is none.
func (a *app) readBy(m *bus.Msg) int {
	if p := a.set[m.Header.Get(bus.HeaderSource)]; p != nil && m.Stream == bus.Raw {
		return p.Parser
	}
	return 0
}

// onDead fails the task whose message is lost: the error is ours or the
// provider's, never the target's, so nobody may give the target up for it.
func (a *app) onDead(_ context.Context, m *bus.Msg, cause string, err error) []bus.Out {
	var task social.TaskRef
	var seq int
	switch m.Stream {
	case bus.Tasks:
		var ask social.Ask
		if unmarshal(m.Data, &ask) != nil {
			return nil
		}
		task, seq = ask.Task, ask.Seq
	case bus.Raw:
		_, ask, err := processors.ReadRaw(m.Header)
		if err != nil {
			return nil
		}
		task, seq = ask.Task, ask.Seq
	case bus.Parsed:
		b, err := social.UnmarshalBatch(m.Data)
		if err != nil {
			return nil
		}
		task, seq = b.Ask.Task, b.Ask.Seq
	}
	if task.ID == 0 {
		return nil
	}
	text := cause
	if err != nil {
		text += ": " + processors.OneLine(err.Error())
	}
	o, err := schedule.FailedRun(task, seq, social.Raw{ID: social.ID("dead", m.Stream, m.Seq), At: m.Time.UTC()},
		"(409, '"+strings.ReplaceAll(text, "'", "\"")+"')")
	if err != nil {
		a.lg.Error("task of a dead letter not failed", "task", task.ID, "err", err)
		return nil
	}
	return []bus.Out{o}
}

// tell is the lanes.Handler of the bridge.
func (a *app) tell(ctx context.Context, b *lanes.Batch) error {
	var out []bridge.Message
	var receipts audit.Receipts
	for _, m := range b.Msgs {
		msgs, err := bridge.Messages(m.Subject, m.Header, m.Data)
		if err != nil {
			a.lg.Error("event cannot be told, passed over", "subject", m.Subject, "seq", m.Seq, "err", err)
			continue
		}
		out = append(out, msgs...)
		receipts.Add(m, msgs)
	}
	if err := a.bridge.Publish(ctx, out); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, a.db, func(tx pgx.Tx) error {
		if err := receipts.Write(ctx, tx, b); err != nil {
			return err
		}
		return b.Save(ctx, tx)
	})
	if err != nil {
		return err
	}
	b.Saved()
	return nil
}

// traces tells RabbitMQ of every call that got an answer, read off the
// headers of the raw answers. A durable consumer will do: calls have no order.
func (a *app) traces(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.tracesOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		a.lg.Warn("telling calls stopped, starting again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return nil
}

func (a *app) tracesOnce(ctx context.Context) error {
	c, err := a.js.CreateOrUpdateConsumer(ctx, bus.Raw, jetstream.ConsumerConfig{
		Durable: "trace", AckPolicy: jetstream.AckAllPolicy, HeadersOnly: true, MaxAckPending: 5000, AckWait: 2 * time.Minute,
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		batch, err := c.Fetch(500, jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return err
		}
		var out []bridge.Message
		var last jetstream.Msg
		for m := range batch.Messages() {
			last = m
			meta, err := m.Metadata()
			if err != nil {
				continue
			}
			t, err := bridge.Trace(m.Headers().Get, meta.Timestamp)
			if err != nil {
				if !errors.Is(err, bridge.ErrNoTrace) {
					a.lg.Warn("call cannot be told, passed over", "seq", meta.Sequence.Stream, "err", err)
				}
				continue
			}
			out = append(out, t...)
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		if last == nil {
			continue
		}
		if err := a.bridge.Publish(ctx, out); err != nil {
			return err
		}
		if err := last.Ack(); err != nil {
			return err
		}
	}
	return nil
}

// ready says what is missing, for /readyz.
func (a *app) ready(ctx context.Context) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out := map[string]error{}
	if err := a.db.Ping(ctx); err != nil {
		out["postgres"] = errors.New(pgReason(err))
	}
	if !a.nc.IsConnected() {
		out["nats"] = errors.New("not connected")
	}
	if a.limiter.Down() != nil || a.rdb.Ping(ctx).Err() != nil {
		out["redis"] = errors.New("does not answer: each process grants itself a twentieth of every limit")
	}
	if a.archive.Configured() {
		if h, err := a.archive.Health(ctx); err == nil && h.Alert != "" {
			out["archive"] = errors.New(h.Alert)
		}
	}
	return out
}

// admit is what the budget lets run. Of a process that is drained it is only what
// a request waits for.
func (a *app) admit(ctx context.Context, wants []schedule.Want) (schedule.Admission, error) {
	out, err := a.budget.Admit(ctx, wants)
	if gw := a.gateway.Load(); gw != nil && gw.Draining() {
		held := gw.Held()
		for i, w := range wants {
			wants[i].Max = min(w.Max, held[w.Flow])
		}
	}
	return out, err
}

// serve runs the gateway until taking ends, and then until it has answered all
// that it holds.
func (a *app) serve(ctx, taking context.Context) error {
	bulk, err := openPG(ctx, a.cfg.PGURL, bulkConns, schedule.Settings...)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer bulk.Close()
	l, err := net.Listen("tcp", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	defer l.Close() //nolint:errcheck // the server has closed it, if there was one
	client := providers.NewClient(providers.ClientConfig{})
	cfg := gateway.Config{
		Border:  a.border.of(l.Addr()),
		CDNBase: a.cfg.CDN, Heartbeat: a.cfg.Heartbeat, Ready: a.ready,
		Metrics: promhttp.HandlerFor(a.reg, promhttp.HandlerOpts{}),
		Why: func(ctx context.Context, id int64) (gateway.Why, error) {
			w, err := a.why(ctx, id)
			return gateway.Why(w), err
		},
		Lineage: func(ctx context.Context, kind, id string) (*lineage.Lineage, error) {
			return a.tracer().Of(ctx, kind, id, time.Time{})
		},
		Supply: func(ctx context.Context, handle, token, userID string) error {
			return a.creds.Supply(ctx, providers.Credential{Source: "graphapi", Handle: handle,
				Fields: map[string]providers.Secret{"token": providers.Secret(token), "user_id": providers.Secret(userID)}})
		},
		Validate: func(ctx context.Context, t gateway.Token) error { return a.validate(ctx, client, t) },
		Send:     a.pub, Bulk: bulk, Version: version,
		Limiter: ratelimit.New(a.rdb, ratelimit.Requests), Sliding: a.cfg.SlidingLimits, OffPeak: a.cfg.OffPeak,
	}
	if a.cfg.unlimited {
		cfg.Limiter = nil
	}
	gw := gateway.New(a.lg, a.db, a.queue, cfg)
	a.gateway.Store(gw)
	a.reg.MustRegister(gw.Collectors()...)
	sub, err := a.nc.Subscribe(projections.DoneSubject+".*", func(m *nats.Msg) {
		if id, err := strconv.ParseInt(strings.TrimPrefix(m.Subject, projections.DoneSubject+"."), 10, 64); err == nil {
			gw.TaskDone(id)
		}
	})
	if err != nil {
		return err
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection ends with us
	a.border.say(a.lg, l.Addr())
	select {
	case a.addr <- l.Addr().String():
	default:
	}
	srv := gw.Server()
	done := make(chan error, 1)
	go func() { done <- a.border.serve(srv, gw.Listener(l)) }()
	select {
	case err := <-done:
		return fmt.Errorf("gateway: %w", err)
	case <-taking.Done():
	case <-ctx.Done():
	}
	gw.Drain(a.cfg.Stop * 3 / 4)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Stop)
	defer cancel()
	return srv.Shutdown(stop)
}

// bulkConns are the connections of the gateway's routes of scrape requests
// (contract/http.md 1.1).
const bulkConns = 10
