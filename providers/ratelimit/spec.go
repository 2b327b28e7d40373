// Package ratelimit keeps calls within the limits of the providers, across
// all processes, with one atomic script in Redis.
package ratelimit

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"time"
)

// A Spec is a fixed window: at most Requests calls within Seconds of the
// first one. The zero Spec is no limit.
type Spec struct {
	Name     string // limiter key of the contract, such as instagram-scraper-2022
	Requests int
	Seconds  int
}

// Zero reports whether s limits nothing.
func (s Spec) Zero() bool { return s.Requests == 0 }

// Window is the length of the window.
func (s Spec) Window() time.Duration { return time.Duration(s.Seconds) * time.Second }

// Key is the Redis key, the same as that of the existing system
// (contract/enrichment.md 6.3), so that old and new share one budget.
func (s Spec) Key(prefix string) string {
	sum := md5.Sum(fmt.Appendf(nil, "%sRateSpec(requests=%d, seconds=%d)", s.Name, s.Requests, s.Seconds))
	return prefix + hex.EncodeToString(sum[:])
}
