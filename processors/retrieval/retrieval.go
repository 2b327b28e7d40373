// Package retrieval asks providers. One message of TASKS is one ask, and one
// ask is at most one HTTP call: choose a source and a credential, take the
// limits, call, store the answer whatever it is, and say what follows.
//
// # Waiting
//
// An ask that has to wait leaves its place, holds no goroutine and no
// connection, and uses no attempt. A short wait is a scheduled message of
// TASKS; for a long one the task goes back to its table as PENDING with the ask
// in it (schedule.Queue.Defer), where it can be seen, and found when the wait is
// over sooner. What has not begun waits there in the first place: see Budget.
//
// # Failures
//
// What an answer means is providers.Classify; what that leads to is the table
// consequences. When every source has failed an ask and some did not answer at
// all, the task is not failed at once: if those turn out to be down for all, it
// waits for them. A source that is down rests in table credential like one that
// is over its quota, so every process and the operator see it; while nobody else
// can be asked, it is probed.
//
// What answers say is left of a quota is learned (quotas): a key rests before it
// is refused, and begins with one call after a rest.
//
// Killed anywhere, the ask comes again under the same id; at worst a provider
// is asked twice and the second answer is dropped as a duplicate.
package retrieval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"beat/processors"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/ratelimit"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

const (
	// shortWait is for how long a message waits rather than a row: a write of
	// Postgres is not worth less.
	shortWait = 5 * time.Second
	// limitWait is the same for a rate limit: all but the daily ones open
	// within a minute, and many asks may wait for one.
	limitWait = 70 * time.Second
	// longestPause is after how long somebody looks whether a pause is over
	// that has no end.
	longestPause = 10 * time.Minute
)

// DefaultTimeout is how long the calls of one run may take together, waits not
// counted (contract/enrichment.md W4.2).
const DefaultTimeout = 10 * time.Minute

// Config of a Retrieval.
type Config struct {
	Host    string        // of this machine, for the trace log
	Timeout time.Duration // of the calls of one run together; default DefaultTimeout
	// Limits replaces the limit of a source, by source.
	Limits map[string]ratelimit.Spec
	// Keep puts the body of an answer elsewhere if it is too large for RAW, and
	// returns the message with what stands for it; default no body is.
	Keep func(ctx context.Context, answer bus.Out) (bus.Out, error)
}

// A Retrieval is the stage.
type Retrieval struct {
	lg        *slog.Logger
	providers providers.Set
	creds     *credential.Store
	limiter   *ratelimit.Limiter
	client    *providers.Client
	queue     *schedule.Queue
	pauses    *schedule.Pauses
	cfg       Config
	breakers  breakers
	quotas    quotas
	metrics   *metrics
}

// New returns the stage. It does no I/O.
func New(lg *slog.Logger, set providers.Set, creds *credential.Store, limiter *ratelimit.Limiter, client *providers.Client,
	queue *schedule.Queue, pauses *schedule.Pauses, cfg Config) *Retrieval {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	return &Retrieval{lg: lg, providers: set, creds: creds, limiter: limiter, client: client, queue: queue, pauses: pauses,
		cfg: cfg, metrics: newMetrics()}
}

// Collectors are the metrics of the stage.
func (r *Retrieval) Collectors() []prometheus.Collector { return r.metrics.collectors() }

// Handle is the bus.Handler of every flow's asks.
func (r *Retrieval) Handle(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
	var a social.Ask
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, bus.Park("malformed", fmt.Errorf("ask: %w", err))
	}
	f, ok := flow.ByName(a.Task.Flow)
	if !ok || a.Step < 0 || a.Step >= len(f.Steps) || len(a.Keys) == 0 {
		return nil, bus.Park("malformed", fmt.Errorf("ask: flow %q, step %d, %d keys", a.Task.Flow, a.Step, len(a.Keys)))
	}
	// A waiting chain must not lose its task to the sweeper. An ask that comes
	// again may have been put back into the table the first time.
	if m.Delivered > 1 || time.Until(a.Task.LeaseUntil) < r.queue.Lease()/2 {
		live, err := r.queue.Renew(ctx, []social.TaskRef{a.Task})
		if err != nil {
			return nil, err
		}
		ref, ok := live[a.Task.ID]
		if !ok {
			return nil, bus.Drop("stale run")
		}
		a.Task = ref
	}
	if time.Duration(a.Spent)*time.Millisecond >= r.cfg.Timeout {
		return timedOut(a, r.cfg.Timeout)
	}
	if held, down := waitsFor(a, social.WaitOutage), waitsFor(a, social.WaitDown); held || down {
		n, forgiven := r.forgive(f, a)
		if held && !forgiven {
			return r.giveUp(f, a)
		}
		a = n
	}
	a.Waits = ""
	w, probes := r.choose(a)
	if a.Handle != "" && w.provider == nil && w.until.IsZero() && len(probes) == 0 {
		// The token may have been handed in together with the task, a moment ago.
		if err := r.creds.Load(ctx); err != nil {
			return nil, err
		}
		w, probes = r.choose(a)
	}
	switch {
	case w.provider != nil:
		return r.ask(ctx, f, a, w)
	case len(probes) > 0:
		return r.probe(ctx, f, a, probes)
	case !w.until.IsZero():
		return r.wait(ctx, a, w.until, w.waits, shortWait)
	case a.Source != "":
		// The source that the chain sticks to has no credential left: from the
		// first page of the next one.
		return r.failed(f, a, a.Source, social.Raw{}, &providers.Error{Kind: providers.ErrRefused, Message: "No source is available at the moment"})
	}
	return r.giveUp(f, a)
}

func waitsFor(a social.Ask, what string) bool { return strings.HasPrefix(a.Waits, what+":") }

// limit is that of a source.
func (r *Retrieval) limit(p *providers.Provider) ratelimit.Spec {
	if o, ok := r.cfg.Limits[p.Source]; ok {
		return o
	}
	return p.Limit
}

// probe asks the first of the sources that are down whose turn it is, or waits
// until it is somebody's.
func (r *Retrieval) probe(ctx context.Context, f flow.Flow, a social.Ask, probes []choice) ([]bus.Out, error) {
	wait := probeEvery
	for _, w := range probes {
		turn, err := r.limiter.Take(ctx, probe(w.provider.Source))
		if err != nil { // ctx's
			return nil, err
		}
		if turn.OK {
			return r.ask(ctx, f, a, w)
		}
		wait = min(wait, turn.Wait)
	}
	return later(a, time.Now().Add(wait+rand.N(time.Second)), probes[0].waits)
}

// ask makes the call.
func (r *Retrieval) ask(ctx context.Context, f flow.Flow, a social.Ask, w choice) ([]bus.Out, error) {
	p := w.provider
	call := p.Calls[a.Fetch]
	qs, err := requests(call, w.cred, a)
	if err != nil { // the ask, or the credential, is not one for this provider
		var e *providers.Error
		if !errors.As(err, &e) {
			e = &providers.Error{Kind: providers.ErrGone, Message: processors.OneLine(err.Error())}
		}
		w.probe = false // nothing was found out
		return r.judged(ctx, f, a, w, social.Raw{}, e)
	}
	taken, err := r.take(ctx, r.limit(p), len(qs))
	if err != nil { // ctx's
		return nil, err
	}
	if last := taken[len(taken)-1]; !last.OK {
		until := time.Now().Add(max(last.Wait, 50*time.Millisecond) + rand.N(last.Wait/10+50*time.Millisecond))
		return r.wait(ctx, a, until, social.WaitLimit+":"+last.Bound, limitWait)
	}
	if !r.mayCall(w) {
		r.refund(ctx, taken)
		return another(a)
	}
	began := time.Now()
	got := r.call(ctx, call, a, w, qs)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	a.Spent += time.Since(began).Milliseconds()
	ans, err := got.answer, got.err
	var e *providers.Error
	if err != nil && !errors.As(err, &e) {
		e = &providers.Error{Kind: providers.ErrUpstream, Message: "Something went wrong"}
	}
	if e != nil && e.Status == 0 { // no answer: nothing to store
		if e.Unsent {
			r.refund(ctx, taken)
		}
		r.metrics.count(p.Source, providers.Verdict(e), time.Since(began))
		return r.judged(ctx, f, a, w, social.Raw{}, e)
	}
	defer r.learn(ctx, w.cred, ans) // last: what Works and Rest do depends on whether the credential rests
	if e == nil {
		e = providers.Classify(p, call, a, ans)
	}
	r.metrics.count(p.Source, verdictOf(e), ans.Took)
	raw := social.Raw{ID: a.ID(), Source: p.Source, At: ans.At, Status: ans.Status}
	out, err := r.raw(a, raw, w.cred, got, e)
	if err == nil && r.cfg.Keep != nil {
		out, err = r.cfg.Keep(ctx, out)
	}
	if err != nil {
		return nil, err
	}
	if e == nil {
		if err := r.note(ctx, w, false, nil); err != nil {
			return nil, err
		}
		if err := r.creds.Works(ctx, w.cred); err != nil {
			r.lg.Warn("credential state not written", "err", err)
		}
		return []bus.Out{out}, nil
	}
	outs, err := r.judged(ctx, f, a, w, raw, e)
	return append([]bus.Out{out}, outs...), err
}

func verdictOf(e *providers.Error) string {
	if e == nil {
		return processors.OK
	}
	return providers.Verdict(e)
}

// wait puts an ask back until a time: as a message up to most, beyond that as a
// row of its table.
func (r *Retrieval) wait(ctx context.Context, a social.Ask, until time.Time, what string, most time.Duration) ([]bus.Out, error) {
	if time.Until(until) <= most {
		return later(a, until, what)
	}
	a.Waits = what
	if err := r.queue.Defer(ctx, a, until); err != nil {
		return nil, err
	}
	return nil, bus.Drop("put back: " + what)
}

// later schedules an ask as a message; the zero time is at once.
func later(a social.Ask, at time.Time, what string) ([]bus.Out, error) {
	a.Turn++
	a.Waits = what
	o, err := schedule.AskOut(a)
	o.At = at
	return []bus.Out{o}, err
}

// timedOut ends a run whose calls took too long together.
func timedOut(a social.Ask, most time.Duration) ([]bus.Out, error) {
	o, err := schedule.FailedRun(a.Task, a.Seq, social.Raw{ID: social.ID("timeout", a.ID()), At: time.Now().UTC().Truncate(time.Microsecond)},
		fmt.Sprintf("(409, 'timeout: the calls of this task took more than %s')", most))
	return []bus.Out{o}, err
}

func (r *Retrieval) raw(a social.Ask, raw social.Raw, c providers.Credential, got reply, e *providers.Error) (bus.Out, error) {
	ask, err := json.Marshal(a)
	if err != nil {
		return bus.Out{}, fmt.Errorf("encode ask: %w", err)
	}
	tr, err := r.traced(raw, got.all)
	if err != nil {
		return bus.Out{}, err
	}
	verdict := processors.OK
	if e != nil {
		verdict = providers.Verdict(e)
	}
	h := nats.Header{
		processors.HeaderRawID:      {raw.ID},
		processors.HeaderSource:     {raw.Source},
		processors.HeaderFetch:      {string(a.Fetch)},
		processors.HeaderStatus:     {strconv.Itoa(raw.Status)},
		processors.HeaderCredential: {strconv.FormatInt(c.ID, 10)},
		processors.HeaderObserved:   {raw.At.Format(time.RFC3339Nano)},
		processors.HeaderAsk:        {string(ask)},
		processors.HeaderVerdict:    {verdict},
		processors.HeaderTrace:      {tr},
	}
	if t := got.answer.Header.Get("Content-Type"); t != "" && len(t) < 100 {
		h["Beat-Content-Type"] = []string{processors.OneLine(t)}
	}
	return bus.Out{Subject: processors.RawSubject(a.Task.Platform, raw.Source, a.Fetch), ID: raw.ID, Header: h, Data: got.answer.Body}, nil
}
