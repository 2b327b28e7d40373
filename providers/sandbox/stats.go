package sandbox

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Stats is what was asked so far. Calls are counted when they begin in the
// windows, and when they end in Calls.
type Stats struct {
	Since   time.Time              `json:"since"`
	Total   int                    `json:"total"`
	Sources map[string]SourceStats `json:"sources"`
	Calls   []CallStats            `json:"calls"` // in order of source, fetch, status
}

// SourceStats is about one source.
type SourceStats struct {
	Calls       int `json:"calls"`
	Max1s       int `json:"max_1s"`  // most calls in one second of the clock
	Max30s      int `json:"max_30s"` // most calls in half a minute of the clock
	InFlight    int `json:"in_flight"`
	MaxInFlight int `json:"max_in_flight"`

	Struck  int        `json:"struck"`      // calls that met a fault
	Limited int        `json:"limited"`     // answers that said 429, in the words of the source
	Ignored int        `json:"ignored_429"` // calls that came although such an answer had told their key to wait
	Banned  int        `json:"banned_keys"`
	Keys    []KeyStats `json:"keys"` // in order of Key
}

// KeyStats is about one key of a source. Calls counts those that reached it: a
// call that a fault of kind refuse met has none, nor has one with a wrong key.
type KeyStats struct {
	Key     string `json:"key"` // its KeyHash
	Calls   int    `json:"calls"`
	Limited int    `json:"limited"`
	Ignored int    `json:"ignored_429"`
	Banned  bool   `json:"banned"`
}

// CallStats counts the calls of one kind with one outcome.
type CallStats struct {
	Source string `json:"source"`
	Fetch  string `json:"fetch"`  // as in social, "" for a path that no provider asks
	Status int    `json:"status"` // 0: no answer was sent
	Calls  int    `json:"calls"`
}

type stats struct {
	base time.Time // of times

	mu      sync.Mutex
	since   time.Time
	calls   map[callKey]int
	sources map[string]*sourceCount
}

type callKey struct {
	source, fetch string
	status        int
}

type sourceCount struct {
	SourceStats
	second, half window
	times        times
}

// A window counts what happens in one stretch of the clock.
type window struct {
	at int64
	n  int
}

func (w *window) add(at int64) int {
	if w.at != at {
		w.at, w.n = at, 0
	}
	w.n++
	return w.n
}

func (s *stats) init(sources []string, now time.Time) {
	s.base = now
	s.sources = make(map[string]*sourceCount)
	for _, name := range sources {
		s.sources[name] = new(sourceCount)
	}
	s.reset(now)
}

func (s *stats) reset(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = now
	s.calls = make(map[callKey]int)
	for _, c := range s.sources {
		*c = sourceCount{SourceStats: SourceStats{InFlight: c.InFlight, MaxInFlight: c.InFlight}}
	}
}

// begin counts a call; what it returns counts its end.
func (s *stats) begin(source, fetch string, now time.Time) func(status int) {
	s.mu.Lock()
	c := s.sources[source]
	c.SourceStats.Calls++
	c.InFlight++
	c.MaxInFlight = max(c.MaxInFlight, c.InFlight)
	c.Max1s = max(c.Max1s, c.second.add(now.Unix()))
	c.Max30s = max(c.Max30s, c.half.add(now.Unix()/30))
	c.times.add(now.Sub(s.base))
	s.mu.Unlock()
	return func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.InFlight--
		s.calls[callKey{source, fetch, status}]++
	}
}

// strike counts a call that met a fault.
func (s *stats) strike(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources[source].Struck++
}

// Stats returns the counters.
func (s *Sandbox) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	v := Stats{Since: s.stats.since.UTC(), Sources: make(map[string]SourceStats), Calls: []CallStats{}}
	for name, c := range s.stats.sources {
		one := c.SourceStats
		s.gates[name].count(&one)
		v.Sources[name] = one
		v.Total += c.Calls
	}
	for k, n := range s.stats.calls {
		v.Calls = append(v.Calls, CallStats{k.source, k.fetch, k.status, n})
	}
	slices.SortFunc(v.Calls, func(a, b CallStats) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Fetch, b.Fetch), cmp.Compare(a.Status, b.Status))
	})
	return v
}

// ResetStats sets the counters to zero and forgets Times. Quotas, bans and
// strikes stay.
func (s *Sandbox) ResetStats() {
	s.stats.reset(s.cfg.Clock())
	for _, g := range s.gates {
		g.resetCounts()
	}
}
