package ratelimit

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Prefixes of the Redis keys: calls to providers, and requests to the gateway.
const (
	Calls    = "beat_"
	Requests = "beat_server_"
)

var (
	//go:embed take.lua
	takeLua string
	//go:embed refund.lua
	refundLua string

	take   = redis.NewScript(takeLua)
	refund = redis.NewScript(refundLua)
)

// timeout of one script. Redis answers within a millisecond or is in trouble.
const timeout = 2 * time.Second

// askAgain is how long Redis is left alone after it did not answer. Meanwhile
// callers need not wait for it, and when it is over one of them does.
const askAgain = 500 * time.Millisecond

// share is the part of a limit that one process grants itself without Redis.
const share = 20

// A Limiter counts in Redis, for all processes together. It is safe for
// concurrent use.
type Limiter struct {
	rdb    redis.UniversalClient
	batch  batcher
	prefix string
	slot   string // before every key of a cluster, so that one node has them all

	mu    sync.Mutex // guards what follows
	heard time.Time  // of Redis, for the last time; zero: since New not yet
	began time.Time
	down  error
	next  time.Time             // when Redis is asked again, while it is down
	own   map[string]*allowance // by counter
}

// allowance is what this process granted itself of one limit.
type allowance struct {
	at   []time.Time // within the last window
	owed int         // not told to Redis yet
}

// New returns a Limiter whose keys begin with prefix. It does no I/O. rdb should
// heed contexts (ContextTimeoutEnabled): otherwise a Redis that hangs holds a
// caller for as long as rdb waits.
func New(rdb redis.UniversalClient, prefix string) *Limiter {
	l := &Limiter{rdb: rdb, batch: batcher{rdb: rdb}, prefix: prefix, began: time.Now(), own: map[string]*allowance{}}
	if _, ok := rdb.(*redis.ClusterClient); ok {
		l.slot = "{" + strings.TrimSuffix(prefix, "_") + "}"
	}
	return l
}

// A Taken says whether a call may be made now.
type Taken struct {
	OK    bool
	Bound string        // name of the limit that refused
	Wait  time.Duration // until this caller's turn, at the rate of the limit
	Local bool          // Redis does not answer: from this process's own share

	keys []string
	args []any
	once *sync.Once
}

func (l *Limiter) keys(s Spec) []string {
	k := l.slot + s.Key(l.prefix)
	return []string{k, k + ":log", k + ":queue"}
}

// Take takes one call from every spec, or none from any, in one round trip.
// Zero specs are no limits. Without Redis it falls back to a small share of its
// own. The error is ctx's.
func (l *Limiter) Take(ctx context.Context, specs ...Spec) (Taken, error) {
	held := make([]Spec, 0, len(specs))
	for _, s := range specs {
		if !s.Zero() {
			held = append(held, s)
		}
	}
	if len(held) == 0 {
		return Taken{OK: true}, nil
	}
	name := rand.Text()
	keys, args := make([]string, 0, 3*len(held)), make([]any, 1, 1+4*len(held))
	args[0] = name
	owed := make([]int, len(held))
	l.mu.Lock()
	if now := time.Now(); l.down != nil {
		if now.Before(l.next) {
			defer l.mu.Unlock()
			return l.alone(held, now), nil
		}
		l.next = now.Add(timeout)
	}
	for i, s := range held {
		k := l.keys(s)
		keys = append(keys, k...)
		if own := l.own[k[0]]; own != nil {
			owed[i], own.owed = own.owed, 0
		}
		args = append(args, s.Requests, s.Seconds, s.logFor().Milliseconds(), owed[i])
	}
	l.mu.Unlock()

	call, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got, err := l.batch.take(call, keys, args).Int64Slice()
	if err == nil && (len(got) < 2 || got[0] < 0 || int(got[0]) > len(held) || got[0] == 0 && len(got) != 2+len(held)) {
		err = fmt.Errorf("unexpected answer of %d numbers", len(got))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		for i, s := range held { // it may have been told; once too often is on the safe side
			if owed[i] > 0 {
				l.own[l.keys(s)[0]].owed += owed[i]
			}
		}
		if ctx.Err() != nil {
			l.next = time.Time{} // it says nothing about Redis
			return Taken{}, ctx.Err()
		}
		l.down, l.next = err, time.Now().Add(askAgain)
		return l.alone(held, time.Now()), nil
	}
	l.heard, l.down = time.Now(), nil
	if got[0] != 0 {
		return Taken{Bound: held[got[0]-1].Name, Wait: time.Duration(got[1]) * time.Millisecond}, nil
	}
	back := make([]any, 1, 1+len(held))
	back[0] = name
	for _, end := range got[2:] {
		back = append(back, end)
	}
	return Taken{OK: true, keys: keys, args: back, once: new(sync.Once)}, nil
}

// alone decides without Redis. l.mu is held.
func (l *Limiter) alone(specs []Spec, now time.Time) Taken {
	since := l.heard
	if since.IsZero() {
		since = l.began
	}
	for _, s := range specs {
		// What Redis granted counts for a window more.
		if wait := time.Until(since.Add(s.Window() + s.guard())); wait > 0 {
			return Taken{Bound: s.Name, Wait: wait, Local: true}
		}
		most := s.Requests / share
		if most == 0 {
			return Taken{Bound: s.Name, Wait: time.Second, Local: true}
		}
		k := l.keys(s)[0]
		own := l.own[k]
		if own == nil {
			own = &allowance{}
			l.own[k] = own
		}
		for len(own.at) > 0 && now.Sub(own.at[0]) >= s.Window()+s.guard() {
			own.at = own.at[1:]
		}
		own.owed = min(own.owed, len(own.at)) // the rest is over
		if len(own.at) >= most {
			return Taken{Bound: s.Name, Wait: own.at[0].Add(s.Window() + s.guard()).Sub(now), Local: true}
		}
	}
	for _, s := range specs {
		own := l.own[l.keys(s)[0]]
		own.at = append(own.at, now)
		own.owed++
	}
	return Taken{OK: true, Local: true}
}

// Down is why Redis does not answer, nil when it did at the last call.
func (l *Limiter) Down() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// Refund gives back what was taken for a call that was never made. The second
// time it does nothing. A refund that is lost costs one call of the budget.
func (l *Limiter) Refund(ctx context.Context, t Taken) error {
	if !t.OK || t.once == nil {
		return nil
	}
	var err error
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err = refund.Run(ctx, l.rdb, t.keys, t.args...).Err()
	})
	if err != nil {
		return fmt.Errorf("rate limit: refund: %w", err)
	}
	return nil
}

// A State is what a limit looks like now.
type State struct {
	Used   int       `json:"used"`             // of the window, or of any window when sliding
	Soon   int       `json:"free_soon"`        // of them, given back within the next moments
	Opens  time.Time `json:"opens,omitzero"`   // when the next call becomes free, if none is now
	Resets time.Time `json:"resets,omitzero"`  // end of the counter's window
	Waits  int       `json:"waiting_recently"` // how many were refused in this window
}

// Soon is what State.Soon looks ahead.
const Soon = 500 * time.Millisecond

// Show reads a limit without taking from it.
func (l *Limiter) Show(ctx context.Context, s Spec) (State, error) {
	if s.Zero() {
		return State{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	now, err := l.rdb.Time(ctx).Result()
	if err != nil {
		return State{}, fmt.Errorf("rate limit %s: %w", s.Name, err)
	}
	k := l.keys(s)
	p := l.rdb.Pipeline()
	n, end, waits := p.Get(ctx, k[0]), p.PExpireTime(ctx, k[0]), p.Get(ctx, k[2])
	begin := now.Add(-s.logFor())
	soon := p.ZCount(ctx, k[1], "("+strconv.FormatInt(begin.UnixMilli(), 10), strconv.FormatInt(begin.Add(Soon).UnixMilli(), 10))
	logged := p.ZCount(ctx, k[1], "("+strconv.FormatInt(begin.UnixMilli(), 10), "+inf")
	// The call that leaves a free place when it leaves the log.
	next := p.ZRevRangeWithScores(ctx, k[1], int64(s.Requests-1), int64(s.Requests-1))
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return State{}, fmt.Errorf("rate limit %s: %w", s.Name, err)
	}
	var st State
	st.Used, _ = n.Int()      // 0 without one
	st.Waits, _ = waits.Int() // likewise
	if end.Val() > 0 {
		st.Resets = time.UnixMilli(end.Val().Milliseconds()).UTC()
	}
	if st.Used >= s.Requests {
		st.Opens = st.Resets
	}
	rest := st.Used // of what is used, in a moment
	if end.Val() > 0 && st.Resets.Before(now.Add(Soon)) {
		rest = 0
	}
	if s.Sliding {
		n := int(logged.Val())
		st.Used, rest = max(st.Used, n), max(rest, n-int(soon.Val())) // the existing system counts too
		for _, z := range next.Val() {
			if at := time.UnixMilli(int64(z.Score)); at.After(begin) && at.Add(s.logFor()).After(st.Opens) {
				st.Opens = at.Add(s.logFor()).UTC()
			}
		}
	}
	st.Soon = st.Used - rest
	return st, nil
}

// Once reports whether it is called for the first time, by any process, with
// this mark in the window of s that ends at end (State.Resets). The window takes
// its marks with it.
func (l *Limiter) Once(ctx context.Context, s Spec, mark string, end time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ms := end.UnixMilli()
	key := fmt.Sprintf("%s:%s:%d", l.keys(s)[0], mark, ms)
	err := l.rdb.Do(ctx, "SET", key, 1, "NX", "PXAT", ms).Err()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("rate limit %s: mark: %w", s.Name, err)
	}
	return true, nil
}

// Reset forgets what was taken from a limit.
func (l *Limiter) Reset(ctx context.Context, s Spec) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := l.rdb.Del(ctx, l.keys(s)...).Err(); err != nil {
		return fmt.Errorf("rate limit %s: reset: %w", s.Name, err)
	}
	return nil
}
