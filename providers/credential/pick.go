package credential

import (
	"time"

	"beat/providers"
)

func (r *row) belongs(handle string) bool { return handle == "" || r.Handle == handle }

// Pick hands out the ready credential of source whose turn it is, among those
// of handle if it is not "". When all rest, ok is false and ready says when the
// first is back; when there is none, ready is zero too.
//
// Rows take turns, the least recently used first. Each stands at a place on a
// line, the first is taken and moves on by 1/weight: over any stretch of calls
// a row gets its share to within one call. A row that comes back from a rest
// joins where the others are, so it is not made to catch up.
func (s *Store) Pick(source, handle string) (c providers.Credential, ready time.Time, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	turn := s.turn[source]
	var best *row
	for _, r := range s.rows[source] {
		if !r.usable() || !r.belongs(handle) {
			continue
		}
		if r.till.After(now) {
			if ready.IsZero() || r.till.Before(ready) {
				ready = r.till
			}
			continue
		}
		r.start = max(r.start, turn)
		if best == nil || r.start < best.start || r.start == best.start && r.used < best.used {
			best = r
		}
	}
	if best == nil {
		return providers.Credential{}, ready, false
	}
	s.counter++
	best.used = s.counter
	s.turn[source] = best.start
	best.start += 1 / float64(best.weight)
	return best.Credential, time.Time{}, true
}

// Usable reports whether source has a credential at all, ready or resting,
// that belongs to handle if it is not "".
func (s *Store) Usable(source, handle string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows[source] {
		if r.usable() && r.belongs(handle) {
			return true
		}
	}
	return false
}

// Probe hands out a credential that rests only because its source is down, for
// one call that finds out whether it still is. The caller sees to it that few
// are made.
func (s *Store) Probe(source, handle string) (c providers.Credential, ok bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *row
	for _, r := range s.rows[source] {
		if r.usable() && r.belongs(handle) && r.down(now) && (best == nil || r.used < best.used) {
			best = r
		}
	}
	if best == nil {
		return providers.Credential{}, false
	}
	s.counter++
	best.used = s.counter
	return best.Credential, true
}

func (r *row) down(now time.Time) bool { return r.reason == reasonDown && r.till.After(now) }
