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
}

// CallStats counts the calls of one kind with one outcome.
type CallStats struct {
	Source string `json:"source"`
	Fetch  string `json:"fetch"`  // as in social, "" for a path that no provider asks
	Status int    `json:"status"` // 0: no answer was sent
	Calls  int    `json:"calls"`
}

type stats struct {
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

func (s *stats) init() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
	s.calls = make(map[callKey]int)
	if s.sources == nil {
		s.sources = make(map[string]*sourceCount)
		for _, name := range Sources {
			s.sources[name] = new(sourceCount)
		}
	}
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
	s.mu.Unlock()
	return func(status int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c.InFlight--
		s.calls[callKey{source, fetch, status}]++
	}
}

// Stats returns the counters.
func (s *Sandbox) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	v := Stats{Since: s.stats.since.UTC(), Sources: make(map[string]SourceStats), Calls: []CallStats{}}
	for name, c := range s.stats.sources {
		v.Sources[name] = c.SourceStats
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

// ResetStats sets the counters to zero.
func (s *Sandbox) ResetStats() { s.stats.init() }
