package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"beat/streams/social"
)

var good = []question{
	{GraphAPI, "/v12.0/17841400000009999", []string{"fields", "business_discovery.username(creator00001){id,ig_id}"}},
	{ArrayBobo, "/ig/info_username/", []string{"user", "creator00001"}},
	{ArrayBobo, "/ig/info/", []string{"id_user", "4000000001"}},
	{ArrayBobo, "/ig/posts/", []string{"id_user", "4000000001"}},
	{ArrayBobo, "/ig/reels_posts/", []string{"id_user", "4000000001"}},
	{ArrayBobo, "/ig/post_info/", []string{"shortcode", "CxAmPle0022"}},
	{YTAPI, "/youtube/v3/channels", []string{"part", "snippet,statistics", "id", "UCa"}},
}

// TestKinds puts every fault on every endpoint.
func TestKinds(t *testing.T) {
	c := serve(t, Config{})
	for _, g := range slices.Concat(good, more) {
		_, _, right := c.get(g.source, g.path, g.q...)
		for _, kind := range Kinds {
			f := Fault{Source: g.source, Path: g.path, Kind: kind}
			if kind == "slow" || kind == "hang" {
				f.Delay = 20 * time.Millisecond
			}
			if kind == "429" {
				f.RetryAfter = 1500 * time.Millisecond
			}
			id := c.Inject(f)
			start := time.Now()
			status, h, body, err := c.try(g.source, g.path, g.q...)
			took := time.Since(start)
			c.Clear(id)
			bad := func(want string) {
				t.Errorf("%s %s %s: %d %v, %v, want %s: %.200s", g.source, g.path, kind, status, err, took, want, body)
			}
			var e errorAnswer
			switch kind {
			case "slow":
				if err != nil || status != 200 || !bytes.Equal(body, right) || took < f.Delay {
					bad("the right answer, slowly")
				}
			case "401", "403", "404", "429", "500", "503":
				if err != nil || kind != strconv.Itoa(status) ||
					json.Unmarshal(body, &e) != nil || e.Message+e.Error.Message+e.Detail == "" {
					bad("that status, and a body in JSON")
				}
				if want := map[bool]string{true: "2"}[kind == "429"]; h.Get("Retry-After") != want {
					bad("Retry-After " + want)
				}
			case "expired":
				want := c.gates[g.source].src.says.expired.status
				if err != nil || status != want || json.Unmarshal(body, &e) != nil || g.source == GraphAPI && e.Error.Code != 190 {
					bad("a refusal")
				}
			case "malformed":
				if err != nil || status != 200 || json.Valid(body) || len(body) < len(right)/2 {
					bad("a long body that is no JSON")
				}
			case "wrongtype":
				if err != nil || status != 200 || !json.Valid(body) || bytes.Equal(body, right) || len(body) < 20 || body[0] != right[0] {
					bad("other JSON")
				}
			case "truncated":
				if err == nil || status != 200 || len(body) == 0 || !bytes.HasPrefix(right, body) || len(body) >= len(right) {
					bad("half of the body and an error")
				}
			case "hang":
				if err == nil || took < f.Delay {
					bad("no answer after a while")
				}
			case "reset", "refuse":
				if err == nil {
					bad("no answer")
				}
			case "empty":
				if err != nil || status != 200 || len(body) != 0 {
					bad("an empty body")
				}
			case "html":
				if err != nil || status != 200 || !bytes.HasPrefix(body, []byte("<!DOCTYPE html>")) || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
					bad("a page")
				}
			default:
				t.Errorf("%s: no test", kind)
			}
		}
		if _, _, body := c.get(g.source, g.path, g.q...); !bytes.Equal(body, right) {
			t.Errorf("%s %s: not right again", g.source, g.path)
		}
	}
}

func TestFaultScope(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault Fault
		want  string // by row of good: x is hit
	}{
		{"all", Fault{}, "xxxxxxx"},
		{"source", Fault{Source: ArrayBobo}, ".xxxxx."},
		{"fetch", Fault{Fetch: social.ProfileByHandle}, "xx....."},
		{"fetch of source", Fault{Source: ArrayBobo, Fetch: social.ProfileByHandle}, ".x....."},
		{"path", Fault{Path: "/ig/info"}, ".xx...."},
		{"count", Fault{Count: 2}, "xx....."},
		{"rate", Fault{Rate: 0.5}, ".x.x.x."},
		{"rate and count", Fault{Rate: 0.5, Count: 2}, ".x.x..."},
		{"over", Fault{For: time.Nanosecond}, "......."},
		{"for long", Fault{For: time.Hour}, "xxxxxxx"},
	} {
		c := serve(t, Config{})
		tt.fault.Kind = "503"
		c.Inject(tt.fault)
		got := ""
		for _, g := range good {
			if status, _, _ := c.get(g.source, g.path, g.q...); status == 503 {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != tt.want {
			t.Errorf("%s: hits %s, want %s", tt.name, got, tt.want)
		}
	}
	c := serve(t, Config{})
	c.Inject(Fault{Kind: "slow", Delay: 15 * time.Millisecond})
	c.Inject(Fault{Kind: "429", RetryAfter: time.Minute, Count: 1})
	c.Inject(Fault{Kind: "500", Count: 1})
	for i, want := range []int{429, 500, 200} {
		start := time.Now()
		if status, _, _ := c.get(good[0].source, good[0].path, good[0].q...); status != want || time.Since(start) < 15*time.Millisecond {
			t.Errorf("call %d: %d after %v, want %d, slowly", i, status, time.Since(start), want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a fault of no kind is taken")
		}
	}()
	c.Inject(Fault{Kind: "nonsense"})
}

// TestHangEnds checks that a caller that gives up is not waited for.
func TestHangEnds(t *testing.T) {
	c := serve(t, Config{})
	c.Inject(Fault{Kind: "hang"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.root+"/graphapi/v12.0/1", nil)
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("an answer")
	}
	for c.Stats().Sources[GraphAPI].InFlight > 0 {
		time.Sleep(time.Millisecond)
	}
}

func (c caller) control(method, path, body string) (int, string) {
	c.Helper()
	req, _ := http.NewRequest(method, c.root+path, strings.NewReader(body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func TestControl(t *testing.T) {
	c := serve(t, Config{})
	if status, body := c.control("GET", "/", ""); status != 200 || !strings.Contains(body, "/_sandbox/faults") {
		t.Errorf("help: %d %s", status, body)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/_sandbox/faults", "", 200, `"faults": []`},
		{"POST", "/_sandbox/faults", `{"kind":"429","source":"graphapi","retry_after":"1m","count":1}`, 201, `"id": 1`},
		{"POST", "/_sandbox/faults", `{"kind":"slow","delay":0.001,"rate":0.5,"for":"1h","fetch":"fetch_reels_posts"}`, 201, `"id": 2`},
		{"GET", "/_sandbox/faults", "", 200, `"delay": "1ms"`},
		{"POST", "/_sandbox/faults", `{"kind":"418"}`, 400, `kind \"418\" is none of`},
		{"POST", "/_sandbox/faults", `{}`, 400, `kind`},
		{"POST", "/_sandbox/faults", `{"kind":"500","source":"nobody"}`, 400, `source \"nobody\" is none of`},
		{"POST", "/_sandbox/faults", `{"kind":"500","fetch":"fetch_nothing"}`, 400, `fetch_nothing`},
		{"POST", "/_sandbox/faults", `{"kind":"500","path":"ig"}`, 400, `does not begin with /`},
		{"POST", "/_sandbox/faults", `{"kind":"500","rate":2}`, 400, `rate 2`},
		{"POST", "/_sandbox/faults", `{"kind":"500","count":-1}`, 400, `negative`},
		{"POST", "/_sandbox/faults", `{"kind":"slow","delay":"soon"}`, 400, `is no time`},
		{"POST", "/_sandbox/faults", `{"kind":"slow","delay":"1h"}`, 400, `delay 1h0m0s`},
		{"POST", "/_sandbox/faults", `{"kind":"500","typo":1}`, 400, `unknown field`},
		{"POST", "/_sandbox/faults", `{"kind":"500"}{}`, 400, `goes on`},
		{"POST", "/_sandbox/faults", ``, 400, `no fault`},
		{"POST", "/_sandbox/faults", `{"kind":"500","sources":["graphapi","nobody"]}`, 400, `source \"nobody\" is none of`},
		{"POST", "/_sandbox/faults", `{"kind":"500","sources":[""]}`, 400, `without a name`},
		{"DELETE", "/_sandbox/faults?id=2", "", 200, `"cleared": 1`},
		{"DELETE", "/_sandbox/faults?id=x", "", 400, `is no number`},
		{"DELETE", "/_sandbox/faults", "", 200, `"cleared": 1`},
		{"GET", "/_sandbox/fixtures", "", 200, `"handles": []`},
		{"GET", "/_sandbox/stats", "", 200, `"total": 0`},
		{"GET", "/_sandbox/stats?window=x", "", 400, `no time`},
		{"GET", "/_sandbox/stats?window=-1s", "", 400, `no time`},
		{"GET", "/_sandbox/quotas", "", 200, `"quotas": []`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","calls":5,"per":"30s"}`, 201, `"grace": "250ms"`},
		{"POST", "/_sandbox/quotas", `{"source":"nobody","calls":5,"per":"30s"}`, 400, `source \"nobody\" is none of`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","per":"30s"}`, 400, `0 calls`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","calls":5}`, 400, `per 0s`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","calls":5,"per":"30s","key":"k","shared":true}`, 400, `shared`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","calls":5,"per":"30s","ban_after":-1}`, 400, `ban_after`},
		{"POST", "/_sandbox/quotas", `{"source":"graphapi","calls":5,"per":"30s","grace":"1h"}`, 400, `grace`},
		{"POST", "/_sandbox/quotas", ``, 400, `no quota`},
		{"DELETE", "/_sandbox/quotas?source=ytapitoken", "", 200, `"cleared": 0`},
		{"DELETE", "/_sandbox/quotas", "", 200, `"cleared": 1`},
		{"GET", "/_sandbox/keys", "", 200, `"keys": []`},
		{"POST", "/_sandbox/keys", `{"source":"graphapi","key":"k","expires_in":"10s"}`, 201, `"id": 1`},
		{"GET", "/_sandbox/keys", "", 200, `"expired": false`},
		{"POST", "/_sandbox/keys", `{"source":"nobody","key":"k"}`, 400, `source \"nobody\" is none of`},
		{"POST", "/_sandbox/keys", `{"source":"graphapi"}`, 400, `key or a match`},
		{"POST", "/_sandbox/keys", `{"source":"graphapi","key":"k","match":"k"}`, 400, `key or a match`},
		{"POST", "/_sandbox/keys", `{"source":"graphapi","key":"k","expires_in":"-1s"}`, 400, `negative`},
		{"POST", "/_sandbox/keys", ``, 400, `no expiry`},
		{"DELETE", "/_sandbox/keys?id=x", "", 400, `is no number`},
		{"DELETE", "/_sandbox/keys?id=1", "", 200, `"cleared": 1`},
		{"GET", "/nothing", "", 404, `no such thing`},
		{"PUT", "/_sandbox/faults", "", 404, `no such thing`},
	} {
		if status, body := c.control(tt.method, tt.path, tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s %s: %d %s, want %d and %s", tt.method, tt.path, tt.body, status, body, tt.status, tt.want)
		}
	}
}

func TestStats(t *testing.T) {
	c := serve(t, Config{})
	c.Inject(Fault{Source: YTAPI, Kind: "429"})
	c.Inject(Fault{Fetch: social.Reels, Kind: "reset"})
	for range 3 {
		for _, g := range good {
			c.try(g.source, g.path, g.q...)
		}
	}
	status, body := c.control("GET", "/_sandbox/stats", "")
	var v Stats
	c.read([]byte(body), &v)
	n := map[CallStats]bool{}
	for _, k := range v.Calls {
		n[k] = true
	}
	for _, want := range []CallStats{
		{GraphAPI, "fetch_profile_by_handle", 200, 3},
		{ArrayBobo, "fetch_profile_by_id", 200, 3},
		{YTAPI, "fetch_profiles_by_ids", 429, 3},
	} {
		if !n[want] {
			t.Errorf("no %+v in %s", want, body)
		}
	}
	resets := 0 // net/http asks again when a kept connection is reset
	for _, k := range v.Calls {
		if k.Fetch == "fetch_reels_posts" && k.Status == 0 {
			resets = k.Calls
		}
	}
	b := v.Sources[ArrayBobo]
	if status != 200 || resets < 3 || b.Calls != 12+resets || b.Max1s < 1 || b.Max30s < b.Max1s || b.Max1s > b.Calls ||
		b.InFlight != 0 || b.MaxInFlight < 1 || v.Total != b.Calls+6 {
		t.Errorf("%d resets, %s", resets, body)
	}
	c.control("DELETE", "/_sandbox/stats", "")
	if v := c.Stats(); v.Total != 0 || len(v.Calls) != 0 {
		t.Errorf("after reset: %+v", v)
	}

	// The windows, on a clock of their own.
	var s stats
	s.init(Sources, time.UnixMilli(60_000))
	for _, ms := range []int64{60_000, 60_999, 61_000, 61_500, 61_900, 89_999, 90_000} {
		s.begin(GraphAPI, "", time.UnixMilli(ms))(200)
	}
	if g := s.sources[GraphAPI]; g.Max1s != 3 || g.Max30s != 6 {
		t.Errorf("at most %d a second and %d in thirty, want 3 and 6", g.Max1s, g.Max30s)
	}
}

// TestRace is for the race detector.
func TestRace(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	done := make(chan bool)
	for n := range 8 {
		go func() {
			defer func() { done <- true }()
			for i := range 40 {
				res, err := http.Get(srv.URL + "/rapidapi-arraybobo/ig/info_username/?user=some.one" + string(rune('a'+(n+i)%26)))
				if err == nil {
					b, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode == 200 && !json.Valid(b) {
						t.Errorf("no JSON: %.200s", b)
					}
				}
				if i%10 == 0 {
					s.Clear(s.Inject(Fault{Kind: "503", Count: 2}))
					s.SetQuota(Quota{Source: ArrayBobo, Calls: 1 + n, Per: time.Millisecond, Sliding: n%2 == 0, Headers: true})
					s.Renew(s.Expire(Expiry{Source: ArrayBobo, Match: "sandbox-"}))
					s.Stats()
					s.MaxInWindow(ArrayBobo, time.Second)
					s.listQuotas()
					s.ClearQuotas()
					s.ResetStats()
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
}
