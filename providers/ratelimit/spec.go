// Package ratelimit keeps calls within the limits of the providers, across
// all processes, with one atomic script in Redis.
//
// # What is stored
//
// Three keys for each limit, all with an expiry. The counter has the name that the existing system
// gives it (contract/enrichment.md 6.3) and is counted as there, so that old and
// new share one budget: it lives from the first call of a window to its end. The
// log, beside it, is a sorted set of the calls of the last window, by the time of
// the Redis server; only a sliding limit has one. The queue counts who was told
// to come back, so that they are told different times. A mark (Once) is a key
// more, until the window ends.
//
// # Fixed and sliding
//
// A fixed window allows twice its number around its end: all of it just before,
// all of it just after. Providers that count otherwise see too many. So a
// sliding limit allows its number within any interval of its length, and a
// little longer, see guard: calls overtake each other on the way.
//
// # Failures
//
// A call that was taken and never made may be given back (Refund), once: given
// back twice, or after its window, it changes nothing in a sliding limit; the
// Limiter refuses the second time by itself.
//
// Redis does not answer: nothing is taken for one window after the last answer,
// since all of the budget may be in use. Then this process grants itself a
// twentieth of each limit, which holds for up to twenty processes, and tells
// Redis so with the first call that it answers again. One caller at a time finds
// out whether it does; nobody else waits for that.
package ratelimit

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"time"
)

// A Spec is a limit: at most Requests calls within Seconds. The zero Spec is no
// limit.
type Spec struct {
	Name     string // limiter key of the contract, such as instagram-scraper-2022
	Requests int
	Seconds  int
	Sliding  bool // within any Seconds; otherwise within Seconds of the first one
}

// Zero reports whether s limits nothing.
func (s Spec) Zero() bool { return s.Requests == 0 }

// Window is the length of the window.
func (s Spec) Window() time.Duration { return time.Duration(s.Seconds) * time.Second }

// guard is how much longer than its window a call counts: one that was slow on
// its way may arrive together with those of the next window. How slow has little
// to do with the window.
func (s Spec) guard() time.Duration {
	return min(max(s.Window()/100, 100*time.Millisecond), 250*time.Millisecond)
}

// logFor is how long a call stays in the log, 0 without one.
func (s Spec) logFor() time.Duration {
	if !s.Sliding {
		return 0
	}
	return s.Window() + s.guard()
}

// Key is the Redis key of the counter, the same as that of the existing system
// (contract/enrichment.md 6.3).
func (s Spec) Key(prefix string) string {
	sum := md5.Sum(fmt.Appendf(nil, "%sRateSpec(requests=%d, seconds=%d)", s.Name, s.Requests, s.Seconds))
	return prefix + hex.EncodeToString(sum[:])
}
