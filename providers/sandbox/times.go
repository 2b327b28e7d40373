package sandbox

import (
	"slices"
	"time"
)

// keepTimes is for how long it is known when each call came.
const keepTimes = 10 * time.Minute

// chunk is how many times are allocated at once: 32 KiB.
const chunk = 4096

// times are when the calls of the last keepTimes came, since the same moment,
// about in order. What is in a chunk is not changed any more, so that a copy of
// the list of chunks can be read without the lock.
type times struct {
	chunks [][]time.Duration
}

func (t *times) add(at time.Duration) {
	n := len(t.chunks)
	if n == 0 || len(t.chunks[n-1]) == chunk {
		for n > 0 && t.chunks[0][chunk-1] < at-keepTimes {
			t.chunks[0] = nil
			t.chunks = t.chunks[1:]
			n--
		}
		t.chunks = append(t.chunks, make([]time.Duration, 0, chunk))
		n++
	}
	t.chunks[n-1] = append(t.chunks[n-1], at)
}

// recent returns the times of the calls of source since base, sorted.
func (s *stats) recent(source string, now time.Time) []time.Duration {
	s.mu.Lock()
	c := s.sources[source]
	if c == nil {
		s.mu.Unlock()
		return nil
	}
	chunks := slices.Clone(c.times.chunks)
	s.mu.Unlock()

	out := slices.Concat(chunks...)
	slices.Sort(out)
	i, _ := slices.BinarySearch(out, now.Sub(s.base)-keepTimes)
	return out[i:]
}

// Times is when the calls of source came, whatever they were answered, in
// order: those of the last ten minutes and since the last ResetStats.
func (s *Sandbox) Times(source string) []time.Time {
	calls := s.stats.recent(source, s.cfg.Clock())
	out := make([]time.Time, len(calls))
	for i, at := range calls {
		out[i] = s.stats.base.Add(at)
	}
	return out
}

// MaxInWindow is the largest number of calls of source, whatever they were
// answered, within any d of Times. Two calls that are d apart are not within d.
func (s *Sandbox) MaxInWindow(source string, d time.Duration) int {
	return maxWithin(s.stats.recent(source, s.cfg.Clock()), d)
}

func maxWithin(calls []time.Duration, d time.Duration) int {
	most, first := 0, 0
	for i, at := range calls {
		for first <= i && at-calls[first] >= d {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
