package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// A Quota is how many calls a source answers. What is over it gets the 429 of
// the source, with Retry-After, and uses nothing:
//
//	graphapi                      403 with code 4
//	rapidapi-…, rocketapi, lama   429
//	ytapitoken                    429 rateLimitExceeded when Per is at most a
//	                              minute, else 403 quotaExceeded
//
// Over HTTP it is a JSON object with the members of this type in lower case,
// ban_after in two words, times as text:
//
//	{"source":"rapidapi-arraybobo","calls":100,"per":"30s","sliding":true,"ban_after":3}
type Quota struct {
	Source string
	Key    string // of this key alone; "" each key that has no quota of its own
	Shared bool   // one for all those keys together

	Calls   int
	Per     time.Duration
	Sliding bool // Calls in any Per; else in windows that begin with their first call

	Headers bool // answers carry X-RateLimit-Requests-Limit, -Remaining and -Reset, in seconds until some of it is given back

	// A call that comes more than Grace after a 429 told its key to wait, and
	// before that wait is over, ignores it. After BanAfter of these the key is
	// refused with 403 until ClearQuotas; with 0 they are only counted.
	BanAfter int
	Grace    time.Duration // for what is under way; 0 is 250ms
}

const (
	maxCalls     = 10_000_000
	maxPer       = 31 * 24 * time.Hour
	defaultGrace = 250 * time.Millisecond
	maxGrace     = time.Minute
)

func (q *Quota) check() error {
	if q.Calls < 1 || q.Calls > maxCalls {
		return fmt.Errorf("%d calls are not between 1 and %d", q.Calls, maxCalls)
	}
	if q.Per < time.Millisecond || q.Per > maxPer {
		return fmt.Errorf("per %v is not between 1ms and %v", q.Per, maxPer)
	}
	if q.Key != "" && q.Shared {
		return errors.New("the quota of one key cannot be shared")
	}
	if q.BanAfter < 0 {
		return errors.New("ban_after cannot be negative")
	}
	if q.Grace < 0 || q.Grace > maxGrace {
		return fmt.Errorf("grace %v is not between 0 and %v", q.Grace, maxGrace)
	}
	if q.Grace == 0 {
		q.Grace = defaultGrace
	}
	return nil
}

// A quota is one that is on.
type quota struct {
	Quota
	bucket // of all keys, when shared
}

// A bucket counts what was taken from a quota.
type bucket struct {
	start time.Duration   // of the window
	used  int             // in it
	log   []time.Duration // sliding: when each call of the last Per came
}

// take takes n, 0 or 1, when there is as much. It returns what is left then, and
// when some of it is given back.
func (b *bucket) take(q *Quota, at time.Duration, n int) (ok bool, left int, opens time.Duration) {
	if !q.Sliding {
		if b.used == 0 || at-b.start >= q.Per {
			b.start, b.used = at, 0
		}
		if ok = b.used+n <= q.Calls; ok {
			b.used += n
		}
		return ok, q.Calls - b.used, b.start + q.Per
	}
	for len(b.log) > 0 && at-b.log[0] >= q.Per {
		b.log = b.log[1:]
	}
	if ok = len(b.log)+n <= q.Calls; ok && n > 0 {
		b.log = append(b.log, at)
	}
	opens = at
	if len(b.log) > 0 {
		opens = b.log[0] + q.Per
	}
	return ok, q.Calls - len(b.log), opens
}

// quotaOf is the quota that a key is under, nil for none.
func (g *gate) quotaOf(key string) *quota {
	if q := g.own[key]; q != nil {
		return q
	}
	return g.quota
}

// SetQuota sets the quota of a source, or of one of its keys, in the place of
// the one before, unused. It panics when q makes no sense: over HTTP that is a
// 400.
func (s *Sandbox) SetQuota(q Quota) {
	if err := s.setQuota(q); err != nil {
		panic("sandbox: " + err.Error())
	}
}

func (s *Sandbox) setQuota(v Quota) error {
	g, err := s.gate(v.Source)
	if err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := (&quota{Quota: v}); v.Key != "" {
		g.own[v.Key] = q
	} else {
		g.quota = q
	}
	return nil
}

// ClearQuotas ends the quotas of these sources, of all when there are none, and
// lifts their bans. It returns how many quotas are gone.
func (s *Sandbox) ClearQuotas(sources ...string) int {
	n := 0
	for name, g := range s.gates {
		if len(sources) == 0 || slices.Contains(sources, name) {
			n += g.clearQuotas()
		}
	}
	return n
}

func (g *gate) clearQuotas() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.own)
	if g.quota != nil {
		n++
	}
	g.quota = nil
	clear(g.own)
	for _, k := range g.keys {
		k.quota, k.bucket = nil, bucket{}
		k.told, k.until, k.strikes, k.banned = nil, 0, 0, false
	}
	return n
}

// wireQuota is a Quota as JSON. In answers, key is a hash.
type wireQuota struct {
	Source   string  `json:"source"`
	Key      string  `json:"key,omitempty"`
	Shared   bool    `json:"shared"`
	Calls    int     `json:"calls"`
	Per      wireDur `json:"per"`
	Sliding  bool    `json:"sliding"`
	Headers  bool    `json:"headers"`
	BanAfter int     `json:"ban_after"`
	Grace    wireDur `json:"grace"`
}

func (q wireQuota) quota() Quota {
	return Quota{q.Source, q.Key, q.Shared, q.Calls, time.Duration(q.Per), q.Sliding, q.Headers, q.BanAfter, time.Duration(q.Grace)}
}

func (q *quota) wire() wireQuota {
	return wireQuota{q.Source, KeyHash(q.Key), q.Shared, q.Calls, wireDur(q.Per), q.Sliding, q.Headers, q.BanAfter, wireDur(q.Grace)}
}

func (s *Sandbox) listQuotas() []wireQuota {
	out := []wireQuota{}
	for _, name := range s.names() {
		g := s.gates[name]
		g.mu.Lock()
		if g.quota != nil {
			out = append(out, g.quota.wire())
		}
		for _, key := range slices.Sorted(maps.Keys(g.own)) {
			out = append(out, g.own[key].wire())
		}
		g.mu.Unlock()
	}
	return out
}

func (s *Sandbox) postQuota(w http.ResponseWriter, r *http.Request) {
	var q wireQuota
	if !readBody(w, r, "quota", &q) {
		return
	}
	if err := s.setQuota(q.quota()); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusCreated, map[string]any{"quotas": s.listQuotas()})
}
