package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A clock stands until it is moved.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time      { return at.Add(time.Duration(c.ns.Load())) }
func (c *clock) set(d time.Duration) { c.ns.Store(int64(d)) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

// ask asks source, which may be an alias, a good question with a key. Its status
// is 0 when there was no answer. It takes a connection of its own: net/http asks
// again when one that it kept breaks.
func (c caller) ask(source, key string) (int, http.Header, errorAnswer) {
	c.Helper()
	path := map[string]string{
		GraphAPI:  "/v12.0/17841400000009999?fields=business_discovery.username(creator00001)%7Bid%7D&access_token=" + key,
		ArrayBobo: "/ig/info_username/?user=creator00001",
		YTAPI:     "/channels?part=snippet&id=UCa&key=" + key,
	}[c.gates[source].src.name]
	req, err := http.NewRequest(http.MethodGet, c.BaseURL(c.root, source)+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("X-RapidAPI-Key", key)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, errorAnswer{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatalf("%s: %v", source, err)
	}
	var e errorAnswer
	if res.StatusCode != http.StatusOK {
		c.read(body, &e)
	}
	return res.StatusCode, res.Header, e
}

// reason is what tells the errors of a source apart.
func reason(e errorAnswer) string {
	switch {
	case len(e.Error.Errors) > 0:
		return e.Error.Errors[0].Reason
	case e.Error.Code != 0:
		return fmt.Sprint(e.Error.Code)
	}
	return e.Message
}

// TestQuotaTimes asks at given times, of every source: y is an answer, a number
// is the Retry-After of a refusal.
func TestQuotaTimes(t *testing.T) {
	sec := func(v ...float64) (out []time.Duration) {
		for _, s := range v {
			out = append(out, time.Duration(s*float64(time.Second)))
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		quota Quota
		at    []time.Duration
		want  string
	}{
		{"fixed", Quota{Calls: 3, Per: 30 * time.Second},
			sec(0, 10, 20, 25.5, 29.999, 30, 30, 30, 30), "y y y 5 1 y y y 30"},
		{"fixed, begins with its first call", Quota{Calls: 1, Per: 10 * time.Second},
			sec(7, 16, 17, 26), "y 1 y 1"},
		{"sliding", Quota{Calls: 3, Per: 30 * time.Second, Sliding: true},
			sec(0, 10, 20, 25.5, 29.999, 30, 30, 39.5, 40), "y y y 5 1 y 10 1 y"},
		{"refusals use nothing", Quota{Calls: 1, Per: 2 * time.Second, Sliding: true},
			sec(0, 1, 1.5, 2, 3, 4), "y 1 1 y 1 y"},
		{"short", Quota{Calls: 1, Per: 100 * time.Millisecond, Sliding: true},
			sec(0, 0.05, 0.1), "y 1 y"},
	} {
		for _, source := range []string{GraphAPI, ArrayBobo, YTAPI, "lama"} {
			var now clock
			c := serve(t, Config{Clock: now.now, Alias: map[string]string{"lama": ArrayBobo}})
			tt.quota.Source = source
			c.SetQuota(tt.quota)
			var got []string
			for _, d := range tt.at {
				now.set(d)
				status, h, e := c.ask(source, "sandbox-a")
				switch {
				case status == 200 && h.Get("Retry-After") == "":
					got = append(got, "y")
				case status == 429 && source != GraphAPI || status == 403 && e.Error.Code == 4 && source == GraphAPI:
					got = append(got, h.Get("Retry-After"))
				default:
					got = append(got, fmt.Sprintf("?%d", status))
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s, %s: %s, want %s", tt.name, source, s, tt.want)
			}
		}
	}
}

// TestRefusalShapes is what each source says to a call over its quota, to an
// expired key and to a banned one.
func TestRefusalShapes(t *testing.T) {
	var now clock
	c := serve(t, Config{Clock: now.now, CheckKeys: true})
	for _, tt := range []struct {
		source string
		per    time.Duration
		want   [3]string // over quota, expired, banned
	}{
		{GraphAPI, time.Second, [3]string{"403 4", "400 190", "403 200"}},
		{ArrayBobo, time.Second, [3]string{"429 You have exceeded the rate limit per minute for your plan, BASIC, by the API provider",
			"403 You are not subscribed to this API.", "403 Blocked User. Please contact your API provider."}},
		{ArrayBobo, 24 * time.Hour, [3]string{"429 You have exceeded the DAILY quota for Requests on your current plan, BASIC.",
			"403 You are not subscribed to this API.", "403 Blocked User. Please contact your API provider."}},
		{YTAPI, time.Minute, [3]string{"429 rateLimitExceeded", "400 keyInvalid", "403 forbidden"}},
		{YTAPI, 24 * time.Hour, [3]string{"403 quotaExceeded", "400 keyInvalid", "403 forbidden"}},
	} {
		ask := func() string {
			status, _, e := c.ask(tt.source, "sandbox-a")
			return fmt.Sprint(status, " ", reason(e))
		}
		c.ClearQuotas()
		c.SetQuota(Quota{Source: tt.source, Calls: 1, Per: tt.per, BanAfter: 1})
		var got [3]string
		ask()
		got[0] = ask()
		id := c.Expire(Expiry{Source: tt.source, Key: "sandbox-a"})
		got[1] = ask()
		c.Renew(id)
		now.add(defaultGrace + time.Millisecond)
		got[2] = ask()
		if got != tt.want {
			t.Errorf("%s per %v: %q, want %q", tt.source, tt.per, got, tt.want)
		}
	}
}

func TestQuotaOfKeys(t *testing.T) {
	var now clock
	c := serve(t, Config{Clock: now.now})
	for _, tt := range []struct {
		name   string
		quotas []Quota
		keys   string // in order
		want   string // y or n
	}{
		{"each its own", []Quota{{Calls: 2}}, "aababb", "yyynyn"},
		{"shared", []Quota{{Calls: 2, Shared: true}}, "aababb", "yynnnn"},
		{"one has more", []Quota{{Calls: 1}, {Calls: 3, Key: "b"}}, "aabbbbc", "ynyyyny"},
		{"one beside a shared one", []Quota{{Calls: 1, Shared: true}, {Calls: 2, Key: "b"}}, "acbbb", "ynyyn"},
		{"one only", []Quota{{Calls: 1, Key: "b"}}, "aaabb", "yyyyn"},
		{"set again is unused", []Quota{{Calls: 1}, {Calls: 2}}, "aaa", "yyn"},
	} {
		c.ClearQuotas()
		for _, q := range tt.quotas {
			q.Source, q.Per = ArrayBobo, time.Minute
			c.SetQuota(q)
		}
		got := ""
		for _, k := range tt.keys {
			if status, _, _ := c.ask(ArrayBobo, string(k)); status == 200 {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != tt.want {
			t.Errorf("%s: keys %s get %s, want %s", tt.name, tt.keys, got, tt.want)
		}
	}
	if n := c.ClearQuotas(GraphAPI); n != 0 {
		t.Errorf("%d quotas of another source cleared", n)
	}
	if n := c.ClearQuotas(ArrayBobo); n != 1 {
		t.Errorf("%d quotas cleared, want 1", n)
	}
	if status, _, _ := c.ask(ArrayBobo, "a"); status != 200 {
		t.Errorf("without a quota: %d", status)
	}
}

func TestQuotaHeaders(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		var now clock
		c := serve(t, Config{Clock: now.now})
		for _, source := range Sources {
			now.set(0)
			c.SetQuota(Quota{Source: source, Calls: 2, Per: 30 * time.Second, Sliding: sliding, Headers: true})
			for i, want := range []string{"200 2 1 30", "200 2 0 25", "over 2 0 20", "503 2 1 30"} {
				if i == 3 {
					now.set(40 * time.Second)
					c.Inject(Fault{Source: source, Kind: "503", Count: 1})
				}
				status, h, _ := c.ask(source, "a")
				text := fmt.Sprint(status)
				if h.Get("Retry-After") == "20" {
					text = "over"
				}
				got := fmt.Sprint(text, " ", h.Get("X-RateLimit-Requests-Limit"), " ", h.Get("X-RateLimit-Requests-Remaining"), " ", h.Get("X-RateLimit-Requests-Reset"))
				if got != want {
					t.Errorf("%s, sliding %v, call %d: %s, want %s", source, sliding, i, got, want)
				}
				now.add(5 * time.Second)
			}
		}
	}
	c := serve(t, Config{})
	c.SetQuota(Quota{Source: YTAPI, Calls: 2, Per: time.Minute})
	if _, h, _ := c.ask(YTAPI, "a"); h.Get("X-RateLimit-Requests-Limit") != "" {
		t.Error("headers that nobody asked for")
	}
}

// TestIgnored429 calls at given times, in milliseconds, and says after each how
// many calls have ignored an answer; b is banned.
func TestIgnored429(t *testing.T) {
	for _, tt := range []struct {
		name string
		ms   []int
		want string
	}{
		{"who waits is not counted", []int{0, 1000, 10_000, 11_000, 20_000, 21_000, 30_000}, "0 0 0 0 0 0 0"},
		{"what is under way is not counted", []int{0, 1000, 1100, 1250, 1251}, "0 0 0 0 1"},
		{"each call is counted", []int{0, 1000, 2000, 3000}, "0 0 1 2"},
		{"the third is banned", []int{0, 1000, 2000, 3000, 4000, 50_000, 900_000}, "0 0 1 2 b b b"},
		{"also in different waits", []int{0, 1000, 2000, 10_000, 11_000, 12_000, 20_000, 21_000, 22_000}, "0 0 1 1 1 2 2 2 b"},
		// Open again at 10,000, told to wait 2 s at 8500: half a second too early.
		{"the wait is whole seconds", []int{0, 8500, 10_499, 10_500}, "0 0 1 1"},
		// Each answer has a grace of its own, and a call within all of them is fine.
		{"a later answer does not excuse", []int{0, 1000, 1200, 1260, 1300}, "0 0 0 1 2"},
	} {
		for _, source := range Sources {
			var now clock
			c := serve(t, Config{Clock: now.now})
			c.SetQuota(Quota{Source: source, Calls: 1, Per: 10 * time.Second, BanAfter: 3})
			var got []string
			for _, ms := range tt.ms {
				now.set(time.Duration(ms) * time.Millisecond)
				status, _, e := c.ask(source, "a")
				switch v := c.Stats().Sources[source]; {
				case v.Banned == 1 && status == 403 && e.Error.Code != 4 && v.Keys[0].Banned:
					got = append(got, "b")
				default:
					got = append(got, fmt.Sprint(v.Ignored))
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("%s, %s at %v: %s, want %s", tt.name, source, tt.ms, s, tt.want)
			}
		}
	}
}

func TestBan(t *testing.T) {
	var now clock
	c := serve(t, Config{Clock: now.now})
	c.SetQuota(Quota{Source: ArrayBobo, Calls: 1, Per: time.Minute, Shared: true, BanAfter: 2, Grace: time.Second})
	for range 4 {
		c.ask(ArrayBobo, "a")
		now.add(1001 * time.Millisecond)
	}
	// b finds the shared quota used, but nobody has told it to wait.
	status, h, _ := c.ask(ArrayBobo, "b")
	if status != 429 || h.Get("Retry-After") != "56" {
		t.Errorf("b: %d, Retry-After %q", status, h.Get("Retry-After"))
	}
	want := []KeyStats{{KeyHash("b"), 1, 1, 0, false}, {KeyHash("a"), 4, 2, 2, true}}
	got := c.Stats().Sources[ArrayBobo]
	if diff := cmp.Diff(want, got.Keys); diff != "" || got.Banned != 1 || got.Ignored != 2 || got.Limited != 3 {
		t.Errorf("%+v: keys -want +got\n%s", got, diff)
	}
	c.ResetStats()
	now.add(time.Hour)
	if status, _, _ := c.ask(ArrayBobo, "a"); status != 403 {
		t.Errorf("an hour later: %d", status)
	}
	if status, _, _ := c.ask(ArrayBobo, "b"); status != 200 {
		t.Errorf("b an hour later: %d", status)
	}
	c.ClearQuotas()
	if status, _, _ := c.ask(ArrayBobo, "a"); status != 200 || c.Stats().Sources[ArrayBobo].Banned != 0 {
		t.Errorf("a after the quotas were cleared: %d", status)
	}

	// A fault of kind 429 tells to wait as a quota does.
	c.SetQuota(Quota{Source: GraphAPI, Calls: 100, Per: time.Minute, BanAfter: 1})
	c.Inject(Fault{Source: GraphAPI, Kind: "429", RetryAfter: 5 * time.Second, Count: 1})
	for i, tt := range []struct {
		after  time.Duration
		key    string
		status int
	}{{0, "a", 429}, {4 * time.Second, "b", 200}, {0, "a", 403}, {time.Minute, "a", 403}} {
		now.add(tt.after)
		if status, _, _ := c.ask(GraphAPI, tt.key); status != tt.status {
			t.Errorf("call %d after a fault: %d, want %d", i, status, tt.status)
		}
	}

	// Who gets no 429, since a fault is stronger, is not told to wait.
	c.SetQuota(Quota{Source: YTAPI, Calls: 1, Per: time.Minute, BanAfter: 1})
	c.ask(YTAPI, "a")
	c.Inject(Fault{Source: YTAPI, Kind: "503"})
	for range 3 {
		c.ask(YTAPI, "a")
		now.add(time.Second)
	}
	if v := c.Stats().Sources[YTAPI]; v.Ignored != 0 || v.Limited != 0 || v.Struck != 3 {
		t.Errorf("in an outage: %+v", v)
	}
}

// TestQuotaExact has many callers at one moment.
func TestQuotaExact(t *testing.T) {
	for _, sliding := range []bool{false, true} {
		var now clock
		c := serve(t, Config{Clock: now.now})
		c.SetQuota(Quota{Source: ArrayBobo, Calls: 100, Per: 30 * time.Second, Sliding: sliding, Shared: true, Headers: true})
		var ok, limited atomic.Int64
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				for range 40 {
					switch status, _, _ := c.ask(ArrayBobo, fmt.Sprint(n)); status {
					case 200:
						ok.Add(1)
					case 429:
						limited.Add(1)
					}
					c.Stats()
					c.MaxInWindow(ArrayBobo, time.Second)
				}
			})
		}
		wg.Wait()
		v := c.Stats().Sources[ArrayBobo]
		if ok.Load() != 100 || limited.Load() != 220 || v.Limited != 220 || len(v.Keys) != 8 || v.Keys[3].Calls != 40 {
			t.Errorf("sliding %v: %d answered and %d refused of 320, want 100: %+v", sliding, ok.Load(), limited.Load(), v)
		}
		if got := c.MaxInWindow(ArrayBobo, time.Nanosecond); got != 320 {
			t.Errorf("%d calls at one moment, want 320", got)
		}
	}
}

// TestManyKeys checks that made-up keys do not fill the memory.
func TestManyKeys(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	g := s.gates[ArrayBobo]
	for i := range maxKeys + 100 {
		g.admit(fmt.Sprint("key", i), time.Now)
	}
	v := s.Stats().Sources[ArrayBobo]
	if n := len(v.Keys); n != maxKeys+1 || v.Keys[n-1].Key != otherKeys || v.Keys[n-1].Calls != 100 {
		t.Errorf("%d keys, the last is %+v", n, v.Keys[n-1])
	}
}

// BenchmarkQuota is the plain path with a quota on it.
func BenchmarkQuota(b *testing.B) {
	for _, sliding := range []bool{false, true} {
		b.Run(fmt.Sprintf("sliding=%v", sliding), func(b *testing.B) {
			s, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			s.SetQuota(Quota{Source: ArrayBobo, Calls: 1000, Per: time.Second, Sliding: sliding, Headers: true})
			r := httptest.NewRequest(http.MethodGet, "/rapidapi-arraybobo/ig/info_username/?user=creator00001", nil)
			r.Header.Set("X-RapidAPI-Key", "sandbox-key")
			b.ReportAllocs()
			w := &recorder{h: http.Header{}}
			for b.Loop() {
				s.ServeHTTP(w, r)
			}
		})
	}
}
