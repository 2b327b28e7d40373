package ratelimit

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Prefixes of the Redis keys: calls to providers, and requests to the gateway.
const (
	Calls    = "beat_"
	Requests = "beat_server_"
)

// take checks every limit before it takes from any: all or none. KEYS are the
// counters; ARGV holds for each its limit and its window in seconds. It
// returns 0 when taken, else the index of the limit that bound and the
// milliseconds until that one opens.
//
//go:embed take.lua
var takeLua string

var take = redis.NewScript(takeLua)

// A Limiter counts in Redis, for all processes together. It is safe for
// concurrent use.
type Limiter struct {
	rdb    redis.UniversalClient
	prefix string
}

// New returns a Limiter whose keys begin with prefix. It does no I/O.
func New(rdb redis.UniversalClient, prefix string) *Limiter { return &Limiter{rdb, prefix} }

// A Taken says whether a call may be made now.
type Taken struct {
	OK    bool
	Bound string        // name of the limit that refused
	Wait  time.Duration // until it opens
}

// Take takes one call from every spec, or none from any. Zero specs are no
// limits. An error means that Redis did not answer: the caller must not call.
func (l *Limiter) Take(ctx context.Context, specs ...Spec) (Taken, error) {
	keys := make([]string, 0, len(specs))
	args := make([]any, 0, 2*len(specs))
	names := make([]string, 0, len(specs))
	for _, s := range specs {
		if s.Zero() {
			continue
		}
		keys = append(keys, s.Key(l.prefix))
		args = append(args, s.Requests, s.Seconds)
		names = append(names, s.Name)
	}
	if len(keys) == 0 {
		return Taken{OK: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	got, err := take.Run(ctx, l.rdb, keys, args...).Int64Slice()
	if err != nil {
		return Taken{}, fmt.Errorf("rate limit: %w", err)
	}
	if len(got) != 2 || got[0] < 0 || int(got[0]) > len(names) {
		return Taken{}, fmt.Errorf("rate limit: unexpected answer of %d numbers", len(got))
	}
	if got[0] == 0 {
		return Taken{OK: true}, nil
	}
	return Taken{Bound: names[got[0]-1], Wait: time.Duration(got[1]) * time.Millisecond}, nil
}
