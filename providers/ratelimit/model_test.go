package ratelimit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// model is the limiter in a few lines: what the script must decide.
type model struct {
	now  int64 // ms, of the server
	life int64 // ms, that only goes forward: what expiry runs on
	of   map[string]*modelLimit
}

type modelLimit struct {
	count int
	end   int64 // of the counter's window, in life; 0 none
	log   []modelCall
	gone  int64 // when the log is forgotten, in life
}

type modelCall struct {
	name int
	at   int64
}

func (m *model) limit(s Spec) *modelLimit {
	l := m.of[s.Name]
	if l == nil {
		l = &modelLimit{}
		m.of[s.Name] = l
	}
	if l.end != 0 && l.end <= m.life {
		l.count, l.end = 0, 0
	}
	if l.gone <= m.life {
		l.log = nil
	}
	return l
}

// look is limit with its log as of now: only who takes looks.
func (m *model) look(s Spec) *modelLimit {
	l := m.limit(s)
	for i := range l.log {
		l.log[i].at = min(l.log[i].at, m.now)
	}
	l.log = slices.DeleteFunc(l.log, func(c modelCall) bool { return c.at <= m.now-s.logFor().Milliseconds() })
	return l
}

// take returns the name of the limit that binds, "" when it is taken.
func (m *model) take(name int, specs []Spec) string {
	for _, s := range specs {
		if l := m.look(s); l.count >= s.Requests || s.Sliding && len(l.log) >= s.Requests {
			return s.Name
		}
	}
	for _, s := range specs {
		l := m.limit(s)
		l.count++
		if l.end == 0 {
			l.end = m.life + s.Window().Milliseconds()
		}
		if s.Sliding {
			l.log = append(l.log, modelCall{name, m.now})
			l.gone = m.life + s.logFor().Milliseconds()
		}
	}
	return ""
}

// until is when the counter's window ends, by the server's clock. The stand-in
// for the server keeps how long a key has to live, and not until when, so its
// ends move with its clock.
func (m *model) until(l *modelLimit) int64 { return m.now + l.end - m.life }

func (m *model) refund(name int, specs []Spec, ends []int64) {
	for i, s := range specs {
		l := m.limit(s)
		l.log = slices.DeleteFunc(l.log, func(c modelCall) bool { return c.name == name })
		if l.end != 0 && m.until(l) == ends[i] && l.count > 0 {
			l.count--
		}
	}
}

// The script decides as the model does, whatever is taken, given back, at once
// and twice, while time passes and the server's clock jumps.
func TestLimiterIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		srv := miniredis.NewMiniRedis()
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		rdb := redis.NewClient(&redis.Options{Addr: srv.Addr()})
		defer rdb.Close() //nolint:errcheck // the server ends first
		all := make([]Spec, 3)
		for i := range all {
			all[i] = Spec{
				Name: fmt.Sprint("limit", i), Requests: rapid.IntRange(1, 5).Draw(t, "requests"),
				Seconds: rapid.IntRange(1, 4).Draw(t, "seconds"), Sliding: rapid.Bool().Draw(t, "sliding"),
			}
		}
		l := New(rdb, Calls)
		m := &model{now: 1_700_000_000_000, of: map[string]*modelLimit{}}
		clock := func() { srv.SetTime(time.UnixMilli(m.now)) }
		clock()
		type grant struct {
			taken Taken
			specs []Spec
			ends  []int64
		}
		var grants []grant
		ctx := context.Background()
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				var specs []Spec
				for _, s := range all {
					if rapid.Bool().Draw(t, s.Name) {
						specs = append(specs, s)
					}
				}
				want := m.take(len(grants), specs)
				got, err := l.Take(ctx, specs...)
				if err != nil || got.Local {
					t.Fatalf("take: %+v, %v", got, err)
				}
				if got.OK != (want == "") || got.Bound != want {
					t.Fatalf("take of %v: got %v bound by %q, want %q", specs, got.OK, got.Bound, want)
				}
				if !got.OK {
					if got.Wait <= 0 {
						t.Fatalf("refused and told to wait %v", got.Wait)
					}
					return
				}
				g := grant{taken: got, specs: specs}
				for _, s := range specs {
					g.ends = append(g.ends, m.until(m.limit(s)))
				}
				grants = append(grants, g)
			},
			"refund": func(t *rapid.T) {
				if len(grants) == 0 {
					return
				}
				i := rapid.IntRange(0, len(grants)-1).Draw(t, "grant")
				g := &grants[i]
				if g.specs != nil {
					m.refund(i, g.specs, g.ends)
					g.specs = nil // once
				}
				var wg sync.WaitGroup
				for range 3 { // at once, and again
					wg.Go(func() {
						if err := l.Refund(ctx, g.taken); err != nil {
							t.Errorf("refund: %v", err)
						}
					})
				}
				wg.Wait()
			},
			"time passes": func(t *rapid.T) {
				ms := rapid.Int64Range(1, 2500).Draw(t, "ms")
				m.now += ms
				m.life += ms
				clock()
				srv.FastForward(time.Duration(ms) * time.Millisecond)
			},
			"the clock jumps": func(t *rapid.T) {
				m.now += rapid.Int64Range(-5000, 5000).Draw(t, "ms")
				clock()
			},
		})
	})
}
