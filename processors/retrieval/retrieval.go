// Package retrieval asks providers. One message of TASKS is one ask, and one
// ask is at most one HTTP call: choose a source and a credential, take the
// limits, call, store the answer whatever it is, and say what follows.
//
// An ask that has to wait is scheduled for later and holds nothing meanwhile.
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
	"time"

	"github.com/nats-io/nats.go"

	"beat/processors"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/ratelimit"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// tries is how often an ask is put to one source when no answer comes.
const tries = 2

// Config of a Retrieval.
type Config struct {
	Host string // of this machine, for the trace log
	// Limits replaces the limit of a source, by source.
	Limits map[string]ratelimit.Spec
}

// A Retrieval is the stage.
type Retrieval struct {
	lg        *slog.Logger
	providers providers.Set
	creds     *credential.Store
	limiter   *ratelimit.Limiter
	client    *providers.Client
	queue     *schedule.Queue
	cfg       Config
}

// New returns the stage. It does no I/O.
func New(lg *slog.Logger, set providers.Set, creds *credential.Store, limiter *ratelimit.Limiter, client *providers.Client,
	queue *schedule.Queue, cfg Config) *Retrieval {
	return &Retrieval{lg: lg, providers: set, creds: creds, limiter: limiter, client: client, queue: queue, cfg: cfg}
}

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
	// A waiting chain must not lose its task to the sweeper.
	if time.Until(a.Task.LeaseUntil) < r.queue.Lease()/2 {
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
	p, c, wait := r.choose(a)
	switch {
	case p == nil && wait > 0:
		return later(a, wait)
	case p == nil:
		return r.giveUp(f, a)
	}
	call := p.Calls[a.Fetch]
	q, err := call.Request(c, a)
	if err != nil { // the ask, or the credential, is not one for this provider
		var e *providers.Error
		if !errors.As(err, &e) {
			e = &providers.Error{Kind: providers.ErrGone, Message: processors.OneLine(err.Error())}
		}
		return r.verdict(ctx, f, a, p, c, social.Raw{}, e)
	}
	spec := p.Limit
	if o, ok := r.cfg.Limits[p.Source]; ok {
		spec = o
	}
	taken, err := r.limiter.Take(ctx, spec)
	if err != nil { // fail closed: without Redis nobody knows what is left
		r.lg.Warn("limits cannot be checked, waiting", "provider", p.Source, "err", err)
		return nil, bus.Later(time.Second+rand.N(time.Second), err)
	}
	if !taken.OK {
		return later(a, max(taken.Wait, 50*time.Millisecond)+rand.N(taken.Wait/10+50*time.Millisecond))
	}
	ans, err := r.client.Do(ctx, p.BaseURL, q)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var e *providers.Error
	if err != nil && !errors.As(err, &e) {
		e = &providers.Error{Kind: providers.ErrUpstream, Message: "Something went wrong"}
	}
	if e != nil && e.Status == 0 { // no answer: nothing to store
		return r.verdict(ctx, f, a, p, c, social.Raw{}, e)
	}
	if e == nil {
		e = call.Judge(a, ans)
	}
	raw := social.Raw{ID: a.ID(), Source: p.Source, At: ans.At, Status: ans.Status}
	out, err := r.raw(a, raw, c, ans, e)
	if err != nil {
		return nil, err
	}
	if e == nil {
		if err := r.creds.Works(ctx, c); err != nil {
			r.lg.Warn("credential state not written", "err", err)
		}
		return []bus.Out{out}, nil
	}
	outs, err := r.verdict(ctx, f, a, p, c, raw, e)
	return append([]bus.Out{out}, outs...), err
}

// choose is the first candidate with a ready credential. Without one, wait
// says when the first is back; zero means that no source can be asked at all.
func (r *Retrieval) choose(a social.Ask) (*providers.Provider, providers.Credential, time.Duration) {
	var first time.Time
	for _, source := range flow.Candidates(a) {
		if !r.providers.Answers(source, a.Fetch) {
			continue
		}
		c, ready, ok := r.creds.Pick(source)
		if ok {
			return r.providers[source], c, 0
		}
		if !ready.IsZero() && (first.IsZero() || ready.Before(first)) {
			first = ready
		}
	}
	if first.IsZero() {
		return nil, providers.Credential{}, 0
	}
	return nil, providers.Credential{}, max(time.Until(first), 100*time.Millisecond)
}

// longestWait bounds one wait, so that a lease is renewed and a credential
// added meanwhile is found.
const longestWait = 5 * time.Minute

func later(a social.Ask, wait time.Duration) ([]bus.Out, error) {
	a.Turn++
	o, err := schedule.AskOut(a)
	o.At = time.Now().Add(min(wait, longestWait))
	return []bus.Out{o}, err
}

// verdict is the one place that says what a failure means.
func (r *Retrieval) verdict(ctx context.Context, f flow.Flow, a social.Ask, p *providers.Provider, c providers.Credential,
	raw social.Raw, e *providers.Error) ([]bus.Out, error) {
	switch {
	case errors.Is(e, providers.ErrLimited):
		if err := r.creds.Rest(ctx, c, e.RetryAfter); err != nil {
			return nil, err
		}
		return r.again(a)
	case errors.Is(e, providers.ErrRefused):
		if err := r.creds.Refuse(ctx, c, processors.OneLine(e.Error()), e.Expired); err != nil {
			return nil, err
		}
		return r.again(a)
	case errors.Is(e, providers.ErrUpstream) && a.Try+1 < tries:
		a.Try++
		return later(a, 500*time.Millisecond+rand.N(500*time.Millisecond))
	}
	return r.failed(f, a, p, raw, e)
}

// again puts the ask back at once: another credential, another source, or
// the wait for this one, whichever choose finds.
func (r *Retrieval) again(a social.Ask) ([]bus.Out, error) {
	a.Turn++
	o, err := schedule.AskOut(a)
	return []bus.Out{o}, err
}

func (r *Retrieval) failed(f flow.Flow, a social.Ask, p *providers.Provider, raw social.Raw, e *providers.Error) ([]bus.Out, error) {
	next, final, answered := f.Fail(a, processors.Attempt(p.Source, e),
		func(source string) bool { return r.providers.Answers(source, a.Fetch) && r.creds.Usable(source) })
	return processors.Onward(a, raw, next, final, answered)
}

func (r *Retrieval) giveUp(f flow.Flow, a social.Ask) ([]bus.Out, error) {
	next, final, answered := f.GiveUp(a)
	return processors.Onward(a, social.Raw{}, next, final, answered)
}

func (r *Retrieval) raw(a social.Ask, raw social.Raw, c providers.Credential, ans providers.Answer, e *providers.Error) (bus.Out, error) {
	ask, err := json.Marshal(a)
	if err != nil {
		return bus.Out{}, fmt.Errorf("encode ask: %w", err)
	}
	tr, err := json.Marshal(bridge.Call{
		ID: raw.ID, Method: ans.Method, URI: ans.URI, Remote: ans.Remote, Headers: ans.Sent, Status: ans.Status,
		Millis: ans.Took.Milliseconds(), Host: r.cfg.Host, At: ans.At,
	})
	if err != nil {
		return bus.Out{}, fmt.Errorf("encode trace: %w", err)
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
		processors.HeaderTrace:      {string(tr)},
	}
	if t := ans.Header.Get("Content-Type"); t != "" && len(t) < 100 {
		h["Beat-Content-Type"] = []string{processors.OneLine(t)}
	}
	return bus.Out{Subject: processors.RawSubject(a.Task.Platform, raw.Source, a.Fetch), ID: raw.ID, Header: h, Data: ans.Body}, nil
}
