package sandbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A gate is where the calls of one source are let in. Nothing is answered
// while mu is held.
type gate struct {
	src  *source   // whose shapes it has
	base time.Time // times are since then

	mu      sync.Mutex
	keys    map[string]*keyState
	quota   *quota            // of the keys that have none of their own; nil none
	own     map[string]*quota // by key
	expired []*expiry
}

// maxKeys is how many keys a gate tells apart. All others are one: who tries
// keys at random must not fill the memory.
const maxKeys = 4096

// otherKeys is their name.
const otherKeys = "others"

// newGates are those of All and of the aliases.
func newGates(alias map[string]string, base time.Time) (map[string]*gate, error) {
	gates := make(map[string]*gate)
	add := func(name, like string) {
		gates[name] = &gate{src: bySource(like), base: base, keys: make(map[string]*keyState), own: make(map[string]*quota)}
	}
	for _, name := range All {
		add(name, name)
	}
	for name, like := range alias {
		switch {
		case name == "" || name == "_sandbox" || strings.Contains(name, "/"):
			return nil, fmt.Errorf("alias %q cannot be part of a path", name)
		case name == like:
			return nil, fmt.Errorf("alias %q is itself", name)
		case bySource(like) == nil:
			return nil, fmt.Errorf("alias %q: %w", name, unknownSource(like, All))
		}
		add(name, like)
	}
	return gates, nil
}

// names are all sources, sorted.
func (s *Sandbox) names() []string { return slices.Sorted(maps.Keys(s.gates)) }

func (s *Sandbox) gate(source string) (*gate, error) {
	if g := s.gates[source]; g != nil {
		return g, nil
	}
	return nil, unknownSource(source, s.names())
}

// KeyHash is how a key is shown: 8 hexadecimal digits. "" is for calls without one.
func KeyHash(key string) string {
	if key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:4])
}

// A keyState is what a gate knows about a key.
type keyState struct {
	hash string

	calls, limited, ignored int // since the last ResetStats

	told    []wait        // answers that told it to wait, not older than grace
	until   time.Duration // when the older ones allow it to come again
	strikes int           // calls before that, under a quota that bans
	banned  bool

	quota *quota // that bucket is of
	bucket
}

// A wait is an answer that said when to come again.
type wait struct{ sent, until time.Duration }

// ignores reports whether a call at this time has been told to come later,
// more than grace ago.
func (k *keyState) ignores(at, grace time.Duration) bool {
	for len(k.told) > 0 && at-k.told[0].sent > grace {
		k.until = max(k.until, k.told[0].until)
		k.told = k.told[1:]
	}
	return at < k.until
}

// An admission is what a gate said to a call.
type admission struct {
	key     *keyState // nil: it did not get as far
	verdict verdict
	wait    int           // Retry-After in seconds; 0 none
	per     time.Duration // of the quota
	headers bool          // X-RateLimit-Requests-…, from the rest
	limit   int
	left    int
	reset   int // seconds
}

type verdict int

const (
	admitted verdict = iota
	overQuota
	expiredKey
	bannedKey
)

// setHeaders says what is left of a quota in the way of RapidAPI's gateway.
func (v admission) setHeaders(h http.Header) {
	if v.headers {
		h.Set("X-Ratelimit-Requests-Limit", strconv.Itoa(v.limit))
		h.Set("X-Ratelimit-Requests-Remaining", strconv.Itoa(v.left))
		h.Set("X-Ratelimit-Requests-Reset", strconv.Itoa(v.reset))
	}
}

// admit lets a call in or not, and counts it. The clock is read under the
// lock: a gate sees time go forward only.
func (g *gate) admit(key string, clock func() time.Time) admission {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := clock().Sub(g.base)
	k := g.key(key)
	k.calls++
	q := g.quotaOf(key)
	grace := defaultGrace
	if q != nil {
		grace = q.Grace
	}
	if k.ignores(at, grace) {
		k.ignored++
		if q != nil && q.BanAfter > 0 {
			k.strikes++
			k.banned = k.banned || k.strikes >= q.BanAfter
		}
	}
	v := admission{key: k}
	switch {
	case k.banned:
		v.verdict = bannedKey
	case slices.ContainsFunc(g.expired, func(e *expiry) bool { return e.strikes(key, at) }):
		v.verdict = expiredKey
	}
	if q == nil {
		return v
	}
	b := &q.bucket
	if !q.Shared {
		if k.quota != q {
			k.quota, k.bucket = q, bucket{}
		}
		b = &k.bucket
	}
	n := 1
	if v.verdict != admitted {
		n = 0
	}
	ok, left, opens := b.take(&q.Quota, at, n)
	v.per, v.headers, v.limit, v.left, v.reset = q.Per, q.Headers, q.Calls, left, seconds(opens-at)
	if !ok {
		v.verdict, v.wait = overQuota, v.reset
	}
	return v
}

// key is the state of a key, made when it is new.
func (g *gate) key(key string) *keyState {
	if k := g.keys[key]; k != nil {
		return k
	}
	hash := KeyHash(key)
	if len(g.keys) >= maxKeys {
		if k := g.keys[otherKeys]; k != nil {
			return k
		}
		key, hash = otherKeys, otherKeys
	}
	k := &keyState{hash: hash}
	g.keys[key] = k
	return k
}

// sent429 is called before an answer goes out that refuses more calls and asks
// to wait for so many seconds, 0 for no word about it.
func (g *gate) sent429(k *keyState, secs int, clock func() time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k.limited++
	if secs > 0 {
		at := clock().Sub(g.base)
		k.told = append(k.told, wait{at, at + time.Duration(secs)*time.Second})
	}
}

// count adds what the gate counted to v.
func (g *gate) count(v *SourceStats) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.Keys = []KeyStats{}
	for _, k := range g.keys {
		v.Limited += k.limited
		v.Ignored += k.ignored
		if k.banned {
			v.Banned++
		}
		if k.calls > 0 || k.banned {
			v.Keys = append(v.Keys, KeyStats{k.hash, k.calls, k.limited, k.ignored, k.banned})
		}
	}
	slices.SortFunc(v.Keys, func(a, b KeyStats) int { return cmp.Compare(a.Key, b.Key) })
}

func (g *gate) resetCounts() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.keys {
		k.calls, k.limited, k.ignored = 0, 0, 0
	}
}
