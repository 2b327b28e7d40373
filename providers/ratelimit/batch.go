package ratelimit

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// A batcher sends scripts to Redis. Those that come while others are on their
// way go together, in one write: 64 callers take half the CPU that they need
// one by one, here and in Redis. It is safe for concurrent use.
type batcher struct {
	rdb redis.UniversalClient

	mu      sync.Mutex // guards what follows
	waiting []*sending
	running bool // a goroutine sends; it ends when nobody waits
}

// A sending is one call of a script. got is set before done is closed.
type sending struct {
	keys []string
	args []any
	got  *redis.Cmd
	done chan struct{}
}

// take runs the script with keys and args. When ctx ends first it may have run.
func (b *batcher) take(ctx context.Context, keys []string, args []any) *redis.Cmd {
	s := &sending{keys: keys, args: args, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, s)
	if !b.running {
		b.running = true
		go b.run()
	}
	b.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		c := redis.NewCmd(ctx)
		c.SetErr(ctx.Err())
		return c
	}
	if redis.HasErrorPrefix(s.got.Err(), "NOSCRIPT") {
		return take.Eval(ctx, b.rdb, keys, args...)
	}
	return s.got
}

func (b *batcher) run() {
	for {
		b.mu.Lock()
		now := b.waiting
		b.waiting = nil
		b.running = len(now) > 0
		b.mu.Unlock()
		if len(now) == 0 {
			return
		}
		b.send(now)
	}
}

func (b *batcher) send(all []*sending) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	p := b.rdb.Pipeline()
	for _, s := range all {
		s.got = take.EvalSha(ctx, p, s.keys, s.args...)
	}
	_, _ = p.Exec(ctx) //nolint:errcheck // each command has its own
	for _, s := range all {
		close(s.done)
	}
}
