package sandbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestExpire(t *testing.T) {
	for _, source := range []string{GraphAPI, ArrayBobo, YTAPI, "lama"} {
		var now clock
		c := serve(t, Config{Clock: now.now, Alias: map[string]string{"lama": GraphAPI}})
		c.SetQuota(Quota{Source: source, Calls: 2, Per: time.Hour})
		one := c.Expire(Expiry{Source: source, Key: "ab", In: 10 * time.Second})
		all := c.Expire(Expiry{Source: source, Match: "a", In: 20 * time.Second})
		asks := func(want string) { // of keys a, ab, b
			t.Helper()
			got := ""
			for _, key := range []string{"a", "ab", "b"} {
				switch status, _, e := c.ask(source, key); {
				case status == 200:
					got += "y"
				case slices.Contains([]string{"190", "keyInvalid", "You are not subscribed to this API."}, reason(e)):
					got += "x"
				default:
					got += fmt.Sprint(status)
				}
			}
			if got != want {
				t.Errorf("%s at %v: %s, want %s", source, now.now().Sub(at), got, want)
			}
		}
		now.set(9999 * time.Millisecond)
		asks("yyy")
		now.set(10 * time.Second)
		c.Inject(Fault{Source: source, Kind: "slow", Delay: time.Nanosecond, Count: 3})
		asks("yxy") // which uses what a and b have
		now.set(20 * time.Second)
		c.SetQuota(Quota{Source: source, Calls: 2, Per: time.Hour})
		asks("xxy")
		if n := c.Renew(all); n != 1 {
			t.Errorf("%s: %d renewed, want 1", source, n)
		}
		asks("yxy")
		if n := c.Renew(); n != 1 {
			t.Errorf("%s: %d renewed, want the last one, %d", source, n, one)
		}
		c.ClearQuotas()
		asks("yyy")
	}
}

// TestOutage turns several sources off, then all of them.
func TestOutage(t *testing.T) {
	names := []string{GraphAPI, ArrayBobo, YTAPI, "lama", "rocketapi"}
	for _, kind := range []string{"refuse", "503", "reset"} {
		var now clock
		c := serve(t, Config{Clock: now.now, Alias: map[string]string{"lama": ArrayBobo, "rocketapi": GraphAPI}})
		up := func(want string) {
			t.Helper()
			got := ""
			for _, name := range names {
				if status, _, _ := c.ask(name, "a"); status == 200 {
					got += "y"
				} else {
					got += "."
				}
			}
			if got != want {
				t.Errorf("%s: up are %s, want %s", kind, got, want)
			}
		}
		up("yyyyy")
		some := c.Inject(Fault{Sources: []string{GraphAPI, "lama"}, Kind: kind, For: 5 * time.Minute})
		up(".yy.y")
		all := c.Inject(Fault{Kind: kind, For: 3 * time.Minute})
		up(".....")
		now.set(3 * time.Minute)
		up(".yy.y")
		now.set(5 * time.Minute)
		up("yyyyy")
		if a, b := c.Hits(some), c.Hits(all); a != 6 || b != 3 {
			t.Errorf("%s: %d and %d calls met the outages, want 6 and 3", kind, a, b)
		}
		for i, want := range []int{3, 1, 1, 3, 1} {
			if v := c.Stats().Sources[names[i]]; v.Struck != want || v.Calls != 5 {
				t.Errorf("%s: of 5 calls of %s %d met an outage, want %d: %+v", kind, names[i], v.Struck, want, v)
			}
		}
		c.Clear(some)
		if n := c.Hits(some); n != 0 {
			t.Errorf("%s: %d hits of what is cleared", kind, n)
		}
	}
}

// TestRefuseReachesNobody checks that a call to a host that is down uses no quota
// and is not held against its key, unlike one that arrives and breaks.
func TestRefuseReachesNobody(t *testing.T) {
	for _, tt := range []struct {
		kind string
		want string
		keys int // calls counted for the key
	}{{"refuse", "y..yyn", 4}, {"reset", "y..nnn", 6}, {"500", "y..nnn", 6}} {
		var now clock
		c := serve(t, Config{Clock: now.now})
		c.SetQuota(Quota{Source: YTAPI, Calls: 3, Per: time.Hour})
		got := ""
		for i := range 6 {
			if i == 1 {
				c.Inject(Fault{Kind: tt.kind, Count: 2})
				c.Inject(Fault{Kind: "slow", Delay: time.Nanosecond})
			}
			switch status, _, e := c.ask(YTAPI, "a"); {
			case status == 200:
				got += "y"
			case reason(e) == "quotaExceeded":
				got += "n"
			default:
				got += "."
			}
		}
		if v := c.Stats().Sources[YTAPI]; got != tt.want || len(v.Keys) != 1 || v.Keys[0].Calls != tt.keys || v.Calls != 6 {
			t.Errorf("%s: %s, want %s and %d calls: %+v", tt.kind, got, tt.want, tt.keys, v)
		}
	}
}

// TestAlias checks that an alias answers as its source does, and is another one.
func TestAlias(t *testing.T) {
	alias := map[string]string{"lama": ArrayBobo, "rapidapi-jotucker": ArrayBobo, "graph-two": GraphAPI, "yt-v31": YTAPI}
	c := serve(t, Config{Alias: alias, CheckKeys: true})
	rows := c.Credentials()
	for i, want := range []string{GraphAPI, ArrayBobo, YTAPI, "graph-two", "lama", "rapidapi-jotucker", "yt-v31"} {
		if rows[i].Source != want || len(rows[i].Fields) == 0 {
			t.Errorf("credential %d is %s, want %s", i, rows[i].Source, want)
		}
	}
	for name, like := range alias {
		for _, g := range good {
			if g.source != like {
				continue
			}
			_, h, want := c.get(like, g.path, g.q...)
			status, ah, got := c.get(name, g.path, g.q...)
			if status != 200 || !bytes.Equal(got, want) || ah.Get("Content-Type") != h.Get("Content-Type") {
				t.Errorf("%s%s: %d %.200s, want what %s answers", name, g.path, status, got, like)
			}
			// What an answer is spoiled by is the same, too.
			for _, kind := range Kinds {
				if slices.Contains([]string{"slow", "hang", "reset", "refuse", "truncated"}, kind) {
					continue
				}
				a := c.Inject(Fault{Source: name, Kind: kind})
				b := c.Inject(Fault{Source: like, Kind: kind})
				wantStatus, _, want := c.get(like, g.path, g.q...)
				status, _, got := c.get(name, g.path, g.q...)
				c.Clear(a, b)
				if status != wantStatus || !bytes.Equal(got, want) {
					t.Errorf("%s%s %s: %d %.200s, want %d %.200s", name, g.path, kind, status, got, wantStatus, want)
				}
			}
		}
		status, _, e := c.ask(name, "wrong")
		if status == 200 || reason(e) == "" {
			t.Errorf("%s with a wrong key: %d", name, status)
		}
	}
	c.ResetStats()
	c.Inject(Fault{Source: "lama", Kind: "503"})
	c.SetQuota(Quota{Source: "rapidapi-jotucker", Calls: 1, Per: time.Hour})
	for i, want := range [][]int{{503, 200, 200}, {503, 429, 200}} {
		for j, name := range []string{"lama", "rapidapi-jotucker", ArrayBobo} {
			if status, _, _ := c.ask(name, "sandbox-a"); status != want[j] {
				t.Errorf("call %d of %s: %d, want %d", i, name, status, want[j])
			}
		}
	}
	v := c.Stats()
	if v.Sources["lama"].Calls != 2 || v.Sources["rapidapi-jotucker"].Limited != 1 || v.Sources[ArrayBobo].Struck != 0 || len(v.Sources) != len(All)+2 {
		t.Errorf("%+v", v)
	}
	for _, bad := range []map[string]string{
		{"": GraphAPI}, {"a/b": GraphAPI}, {"_sandbox": GraphAPI}, {"other": "nobody"}, {"lama": "lama"},
	} {
		if _, err := New(Config{Alias: bad}); err == nil {
			t.Errorf("alias %v: no error", bad)
		}
	}
}

// TestWindows compares with counting every window by hand.
func TestWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var calls []time.Duration
		for range r.IntN(60) {
			calls = append(calls, time.Duration(r.IntN(40)))
		}
		slices.Sort(calls)
		d := time.Duration(1 + r.IntN(20))
		want := 0
		for _, from := range calls {
			n := 0
			for _, at := range calls {
				if at >= from && at < from+d {
					n++
				}
			}
			want = max(want, n)
		}
		if got := maxWithin(calls, d); got != want {
			t.Fatalf("%d within %d of %v, want %d", got, d, calls, want)
		}
	}

	// A burst around an end of the minute: 2 before, 3 after.
	var now clock
	c := serve(t, Config{Clock: now.now})
	var want []time.Time
	for _, sec := range []int{0, 29, 29, 31, 31, 31, 59} {
		now.set(time.Duration(sec) * time.Second)
		c.ask(GraphAPI, "a")
		want = append(want, at.Add(time.Duration(sec)*time.Second))
	}
	if got := c.Times(GraphAPI); !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("calls at %v, want %v", got, want)
	}
	for d, want := range map[time.Duration]int{time.Second: 3, 3 * time.Second: 5, 30 * time.Second: 5, 31 * time.Second: 6, time.Hour: 7, 0: 0} {
		if got := c.MaxInWindow(GraphAPI, d); got != want {
			t.Errorf("%d calls within %v, want %d", got, d, want)
		}
	}
	if c.MaxInWindow("lama", time.Hour) != 0 || len(c.Times("lama")) != 0 || c.MaxInWindow(YTAPI, time.Hour) != 0 {
		t.Error("calls of nobody")
	}
	var v struct {
		Window      string
		MaxInWindow map[string]int `json:"max_in_window"`
		Total       int
	}
	_, body := c.control("GET", "/_sandbox/stats?window=30s", "")
	c.read([]byte(body), &v)
	if v.Window != "30s" || v.MaxInWindow[GraphAPI] != 5 || v.MaxInWindow[YTAPI] != 0 || v.Total != 7 {
		t.Errorf("%s", body)
	}

	now.set(keepTimes + 31*time.Second)
	if got := len(c.Times(GraphAPI)); got != 4 {
		t.Errorf("%d calls known after a while, want 4", got)
	}
	c.ResetStats()
	if got := len(c.Times(GraphAPI)); got != 0 {
		t.Errorf("%d calls known after a reset", got)
	}
}

// TestTimesForget checks that what is old is let go of, and nothing else.
func TestTimesForget(t *testing.T) {
	var s stats
	s.init(Sources, at)
	step := keepTimes / (2 * chunk)
	n := 20 * chunk
	for i := range n {
		s.begin(YTAPI, "", at.Add(time.Duration(i)*step))(200)
	}
	last := at.Add(time.Duration(n-1) * step)
	got := s.recent(YTAPI, last)
	if len(got) != 2*chunk+1 || got[len(got)-1] != last.Sub(at) || !slices.IsSorted(got) {
		t.Errorf("%d calls known, want %d", len(got), 2*chunk+1)
	}
	if c := len(s.sources[YTAPI].times.chunks); c > 4 {
		t.Errorf("%d chunks kept for what fits 3", c)
	}
}

// TestKeysStayHidden looks for keys in all that the sandbox tells.
func TestKeysStayHidden(t *testing.T) {
	const key = "sandbox-hush-0123456789"
	c := serve(t, Config{CheckKeys: true})
	for _, source := range Sources {
		for _, post := range [][2]string{
			{"/_sandbox/quotas", fmt.Sprintf(`{"source":%q,"key":%q,"calls":1,"per":"1h","ban_after":1,"grace":"1ns"}`, source, key)},
			{"/_sandbox/keys", fmt.Sprintf(`{"source":%q,"key":%q,"expires_in":"1h"}`, source, key)},
			{"/_sandbox/keys", fmt.Sprintf(`{"source":%q,"match":%q}`, source, key[:20])},
		} {
			if status, body := c.control("POST", post[0], post[1]); status != 201 || strings.Contains(body, "hush") {
				t.Errorf("%s: %d %s", post[0], status, body)
			}
		}
		for range 4 {
			c.ask(source, key)
		}
		for _, bad := range []string{
			fmt.Sprintf(`{"source":"no","key":%q,"calls":1,"per":"1h"}`, key),
			fmt.Sprintf(`{"source":%q,"key":%q,"calls":-1,"per":"1h"}`, source, key),
			fmt.Sprintf(`{"source":%q,"key":%q,"shared":true,"calls":1,"per":"1h"}`, source, key),
			fmt.Sprintf(`{"source":%q,"key":[%q]}`, source, key),
		} {
			for _, path := range []string{"/_sandbox/quotas", "/_sandbox/keys"} {
				if _, body := c.control("POST", path, bad); strings.Contains(body, "hush") {
					t.Errorf("%s %s: %s", path, bad, body)
				}
			}
		}
	}
	for _, path := range []string{"/", "/_sandbox/faults", "/_sandbox/quotas", "/_sandbox/keys", "/_sandbox/stats?window=1m"} {
		status, body := c.control("GET", path, "")
		if status != 200 || strings.Contains(body, "hush") {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if hash := KeyHash(key); strings.Contains(body, hash) != slices.Contains([]string{"/_sandbox/quotas", "/_sandbox/keys", "/_sandbox/stats?window=1m"}, path) {
			t.Errorf("%s: hash %s: %s", path, hash, body)
		}
	}
}

// TestHelp checks that GET / names every kind, source, path and member.
func TestHelp(t *testing.T) {
	c := serve(t, Config{Alias: map[string]string{"lama": ArrayBobo}})
	_, help := c.control("GET", "/", "")
	words := append(c.names(), Kinds...)
	words = append(words, "/_sandbox/faults", "/_sandbox/quotas", "/_sandbox/keys", "/_sandbox/stats", "/_sandbox/fixtures", "window=",
		"sources", "retry_after", "rate", "count", "for", "fetch", "path", "delay",
		"calls", "per", "key", "shared", "sliding", "headers", "ban_after", "grace", "match", "expires_in")
	for _, w := range words {
		if !strings.Contains(help, w) {
			t.Errorf("the help does not name %s", w)
		}
	}
}
