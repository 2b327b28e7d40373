package ratelimit

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

// TestMain lets the test binary stand in for one of many processes.
func TestMain(m *testing.M) {
	if os.Getenv(hammerEnv) != "" {
		os.Exit(hammer(os.Getenv(hammerEnv), os.Stdin, os.Stdout))
	}
	servertest.Main(m)
}

func dial(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() }) //nolint:errcheck // the test is over
	return rdb
}

func onRedis(t testing.TB) (*Limiter, *redis.Client) {
	t.Helper()
	rdb := dial(t, servertest.Redis(t))
	return New(rdb, servertest.RedisPrefix(t)), rdb
}

func mustTake(t testing.TB, l *Limiter, specs ...Spec) Taken {
	t.Helper()
	got, err := l.Take(context.Background(), specs...)
	if err != nil {
		t.Fatalf("take of %v: %v", specs, err)
	}
	return got
}

func show(t testing.TB, l *Limiter, s Spec) State {
	t.Helper()
	st, err := l.Show(context.Background(), s)
	if err != nil {
		t.Fatalf("show %s: %v", s.Name, err)
	}
	return st
}

// within polls until what is true.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

func TestKeysOfTheContract(t *testing.T) {
	for name, want := range map[string]string{
		"youtube138":             "beat_b8026a12a7aff83e0df0d4a79d1791a1",
		"insta-best-performance": "beat_a8df96692410587c8f7b387a22633095",
		"instagram-scraper2":     "beat_f5400ca466607a526c2ad9834698a5c9",
		"instagram-scraper-2022": "beat_0c0d946ca46c8277d2596847c978f9dd",
		"youtubev31":             "beat_45e50d963564daddf50557160b47d88e",
		"youtubev311":            "beat_d4afd3fa267ad4b28de243ab67e87bf1",
		"rocketapi":              "beat_6ff1f386ef60dd619859a84c9a3b2d01",
	} {
		s := Contract[name]
		if got := s.Key(Calls); s.Name != name || got != want {
			t.Errorf("%s: got name %q, key %s, want key %s", name, s.Name, got, want)
		}
	}
	if len(Contract) != 7 {
		t.Errorf("got %d limits, want 7", len(Contract))
	}
}

func TestRefusedTakesNothing(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		l, _ := onRedis(t)
		wide, narrow := Spec{"wide", 10, 60, sliding}, Spec{"narrow", 2, 60, sliding}
		for i := range 10 {
			got := mustTake(t, l, wide, narrow)
			if want := i < 2; got.OK != want || got.Local || (got.Bound == "narrow") == want || (got.Wait > 0) == want {
				t.Errorf("sliding %v, take %d: got %+v", sliding, i, got)
			}
		}
		if w, n := show(t, l, wide), show(t, l, narrow); w.Used != 2 || n.Used != 2 || n.Waits != 8 || w.Waits != 0 {
			t.Errorf("sliding %v: got %+v and %+v, want 2 used of each and 8 refused by the narrow one", sliding, w, n)
		} else if until := time.Until(n.Opens); until <= 0 || until > 61*time.Second || !w.Opens.IsZero() {
			t.Errorf("sliding %v: the narrow one opens in %v, the wide one %v", sliding, until, w.Opens)
		}
		if err := l.Reset(t.Context(), narrow); err != nil {
			t.Fatal(err)
		}
		if got := mustTake(t, l, wide, narrow); !got.OK {
			t.Errorf("sliding %v, after a reset: got %+v", sliding, got)
		}
	}
}

// What was given back is free once more, and only once.
func TestRefundOnce(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		l, _ := onRedis(t)
		a, b := Spec{"a", 3, 60, sliding}, Spec{"b", 3, 60, sliding}
		first := mustTake(t, l, a, b)
		mustTake(t, l, a, b)
		mustTake(t, l, a, b)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := l.Refund(context.Background(), first); err != nil {
					t.Errorf("refund: %v", err)
				}
			})
		}
		all.Wait()
		if st := show(t, l, a); st.Used != 2 {
			t.Errorf("sliding %v: got %d used after one of three was given back, want 2", sliding, st.Used)
		}
		if !mustTake(t, l, a, b).OK || mustTake(t, l, a, b).OK {
			t.Errorf("sliding %v: want exactly one more call", sliding)
		}
	}
}

// A window that was left behind takes nothing back.
func TestRefundAfterTheWindow(t *testing.T) {
	l, rdb := onRedis(t)
	s := Spec{"s", 1, 1, false}
	old := mustTake(t, l, s)
	within(t, 5*time.Second, "the next window", func() bool { return rdb.Exists(t.Context(), l.keys(s)[0]).Val() == 0 })
	if !mustTake(t, l, s).OK {
		t.Fatal("refused in a new window")
	}
	if err := l.Refund(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if st := show(t, l, s); st.Used != 1 {
		t.Errorf("got %d used, want 1", st.Used)
	}
}

func TestKeysExpire(t *testing.T) {
	l, rdb := onRedis(t)
	s := Spec{"s", 1, 1, true}
	mustTake(t, l, s)
	if mustTake(t, l, s).OK {
		t.Fatal("the second of one was taken")
	}
	if first, err := l.Once(t.Context(), s, "mark", show(t, l, s).Resets); err != nil || !first {
		t.Fatalf("got %v, %v", first, err)
	}
	keys := rdb.Keys(t.Context(), l.prefix+"*").Val()
	if len(keys) != 4 {
		t.Errorf("got keys %v, want a counter, a log, a queue and a mark", keys)
	}
	for _, k := range keys {
		if d := rdb.PTTL(t.Context(), k).Val(); d <= 0 || d > 1100*time.Millisecond {
			t.Errorf("%s lives for %v, want at most a window", k, d)
		}
	}
	within(t, 5*time.Second, "no keys", func() bool { return len(rdb.Keys(t.Context(), l.prefix+"*").Val()) == 0 })
}

// A counter that lost its expiry would never open again.
func TestCounterWithoutExpiryGetsOne(t *testing.T) {
	l, rdb := onRedis(t)
	s := Spec{"s", 1, 1, false}
	if err := rdb.Set(t.Context(), l.keys(s)[0], 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := mustTake(t, l, s); got.OK || got.Wait > time.Second {
		t.Errorf("got %+v, want a refusal of at most a second", got)
	}
	within(t, 5*time.Second, "an open limit", func() bool { return mustTake(t, l, s).OK })
}

func TestOnce(t *testing.T) {
	l, _ := onRedis(t)
	s := Spec{"s", 5, 60, false}
	mustTake(t, l, s)
	var firsts atomic.Int32
	var all sync.WaitGroup
	end := show(t, l, s).Resets
	for range 8 {
		all.Go(func() {
			first, err := l.Once(context.Background(), s, "half", end)
			if err != nil {
				t.Errorf("once: %v", err)
			}
			if first {
				firsts.Add(1)
			}
		})
	}
	all.Wait()
	if firsts.Load() != 1 {
		t.Errorf("%d of 8 were the first, want 1", firsts.Load())
	}
	for name, c := range map[string]struct {
		mark string
		end  time.Time
	}{"another mark": {"most", end}, "another window": {"half", end.Add(time.Minute)}} {
		if first, err := l.Once(t.Context(), s, c.mark, c.end); err != nil || !first {
			t.Errorf("%s: got %v, %v, want the first", name, first, err)
		}
	}
}

// existing takes as the existing system does: increment, then look.
func existing(ctx context.Context, rdb *redis.Client, key string, s Spec) (bool, error) {
	p := rdb.TxPipeline()
	n := p.Incr(ctx, key)
	p.ExpireNX(ctx, key, s.Window())
	_, err := p.Exec(ctx)
	return n.Val() <= int64(s.Requests), err
}

// Both systems at once stay within one limit.
func TestSharedWithTheExistingSystem(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		l, rdb := onRedis(t)
		s := Spec{"s", 100, 60, sliding}
		var ours, theirs atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 40 {
					if got, err := l.Take(context.Background(), s); err != nil {
						t.Errorf("take: %v", err)
					} else if got.OK {
						ours.Add(1)
					}
				}
			})
			all.Go(func() {
				for range 40 {
					if ok, err := existing(context.Background(), rdb, s.Key(l.prefix), s); err != nil {
						t.Errorf("the existing way: %v", err)
					} else if ok {
						theirs.Add(1)
					}
				}
			})
		}
		all.Wait()
		if got := ours.Load() + theirs.Load(); got != 100 {
			t.Errorf("sliding %v: got %d ours and %d theirs, want 100 together", sliding, ours.Load(), theirs.Load())
		}
	}
}

// A trips hook counts commands on their way.
type trips struct{ n atomic.Int32 }

func (h *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.n.Add(1)
		return next(ctx, cmd)
	}
}

func (h *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.n.Add(int32(len(cmds)))
		return next(ctx, cmds)
	}
}

func TestOneRoundTrip(t *testing.T) {
	l, rdb := onRedis(t)
	three := []Spec{{"a", 50, 60, false}, {"b", 50, 60, true}, {"c", 50, 60, false}}
	first := mustTake(t, l, three...) // loads the script
	if err := l.Refund(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	h := &trips{}
	rdb.AddHook(h)
	var last Taken
	for i := range 60 {
		if last = mustTake(t, l, three...); last.OK != (i < 50) {
			t.Fatalf("take %d: got %+v", i, last)
		}
	}
	if got := h.n.Load(); got != 60 {
		t.Errorf("got %d commands for 60 takes, taken and refused", got)
	}
}

// All keys of a call are in one slot of a cluster, also those of several
// limits: what is between braces decides.
func TestOneSlotOfACluster(t *testing.T) {
	srv := miniredis.RunT(t)
	srv.SetTime(time.Now()) // its ends move with its clock
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{srv.Addr()}})
	defer rdb.Close() //nolint:errcheck // the test is over
	l := New(rdb, Requests)
	tag := regexp.MustCompile(`^\{([^}]+)\}`)
	specs := []Spec{{"a", 2, 60, true}, {"b}{", 2, 60, false}, Contract["rocketapi"]}
	seen := map[string]bool{}
	for _, s := range specs {
		for _, k := range l.keys(s) {
			m := tag.FindStringSubmatch(k)
			if m == nil {
				t.Fatalf("%s has no tag", k)
			}
			seen[m[1]] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("got tags %v, want one", seen)
	}
	got := mustTake(t, l, specs...)
	if !got.OK || got.Local {
		t.Fatalf("got %+v", got)
	}
	for _, k := range srv.Keys() {
		if !strings.HasPrefix(k, "{beat_server}") {
			t.Errorf("key %s is elsewhere", k)
		}
	}
	if err := l.Refund(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if st := show(t, l, specs[0]); st.Used != 0 {
		t.Errorf("got %d used, want 0", st.Used)
	}
	if err := l.Reset(t.Context(), specs[0]); err != nil {
		t.Fatal(err)
	}
}

// Redis dies in the middle: for a window nothing is taken, then this process
// keeps to its share; Redis is told of that when it is back.
func TestRedisAwayAndBack(t *testing.T) {
	srv, err := servers.Redis(t.Context(), servers.RedisConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Discard() }) //nolint:errcheck // a private server
	for _, sliding := range []bool{false, true} {
		l := New(dial(t, srv.URL), Calls)
		s, few := Spec{"s", 3 * share, 4, sliding}, Spec{"few", share - 1, 1, sliding}
		if got := mustTake(t, l, s); !got.OK || l.Down() != nil {
			t.Fatalf("got %+v, down: %v", got, l.Down())
		}
		if err := srv.Kill(); err != nil {
			t.Fatal(err)
		}
		dead := time.Now()
		if got := mustTake(t, l, s); got.OK || !got.Local || got.Bound != "s" || got.Wait <= 0 || got.Wait > s.Window()+s.guard() {
			t.Errorf("in the first window: got %+v, want closed for a window", got)
		}
		if err := l.Down(); err == nil {
			t.Error("nobody says that Redis is away")
		}
		within(t, 10*time.Second, "the share", func() bool { return mustTake(t, l, s).OK })
		if d := time.Since(dead); d < s.Window()-100*time.Millisecond {
			t.Errorf("open %v after the last answer, want a window", d)
		}
		for i := range 3 {
			got := mustTake(t, l, s)
			if want := i < 2; got.OK != want || !got.Local {
				t.Errorf("sliding %v, call %d of a share of 3: got %+v", sliding, i+2, got)
			}
		}
		if got := mustTake(t, l, few); got.OK {
			t.Errorf("a limit of %d has no share: got %+v", few.Requests, got)
		}
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		var back Taken
		within(t, 10*time.Second, "Redis again", func() bool { back = mustTake(t, l, s); return !back.Local })
		if !back.OK || l.Down() != nil {
			t.Errorf("after the return: got %+v, down: %v", back, l.Down())
		}
		if st := show(t, l, s); st.Used != 4 {
			t.Errorf("sliding %v: got %d used, want the 3 of the share and 1", sliding, st.Used)
		}
	}
}

// hanging is a limiter on a server that accepts connections and says nothing.
func hanging(t *testing.T) *Limiter {
	t.Helper()
	quiet, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { quiet.Close() }) //nolint:errcheck // the test is over
	return New(dial(t, "redis://"+quiet.Addr().String()), Calls)
}

// The first caller finds out that Redis hangs, the others need not.
func TestHangingRedisHoldsOneCaller(t *testing.T) {
	l := hanging(t)
	mustTake(t, l, Contract["rocketapi"])
	began := time.Now()
	for i := range 100 {
		if got := mustTake(t, l, Contract["rocketapi"]); got.OK || !got.Local {
			t.Fatalf("call %d: got %+v", i, got)
		}
	}
	if took := time.Since(began); took > 2*timeout {
		t.Errorf("100 callers were held for %v", took)
	}
	if l.Down() == nil {
		t.Error("nobody says that Redis is away")
	}
}

// A caller that leaves is told so; nothing is granted to it.
func TestTakeEndsWithItsContext(t *testing.T) {
	l := hanging(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := l.Take(ctx, Contract["rocketapi"]); !errors.Is(err, context.DeadlineExceeded) || got.OK {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Three limits, 64 callers, one process.
func BenchmarkTake(b *testing.B) {
	for _, sliding := range []bool{false, true} {
		name := "fixed"
		if sliding {
			name = "sliding"
		}
		b.Run(name, func(b *testing.B) {
			l, _ := onRedis(b)
			specs := []Spec{{"day", 1 << 30, 86400, sliding}, {"minute", 1 << 30, 60, false}, {"handle", 1 << 30, 1, false}}
			mustTake(b, l, specs...)
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ResetTimer()
			for range 64 {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if got, err := l.Take(context.Background(), specs...); err != nil || !got.OK || got.Local {
							b.Errorf("got %+v, %v", got, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "takes/s")
		})
	}
}
