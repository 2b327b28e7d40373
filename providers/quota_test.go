package providers_test

import (
	"net/http"
	"testing"
	"time"

	"beat/providers"
	"beat/providers/providertest"
)

func TestReadQuota(t *testing.T) {
	type headers = map[string]string
	for _, tt := range []struct {
		name   string
		header headers
		want   providers.Quota
	}{
		{"none", nil, providers.Quota{}},
		{"RapidAPI", headers{"X-RateLimit-Requests-Limit": "500", "X-RateLimit-Requests-Remaining": "7", "X-RateLimit-Requests-Reset": "3600"},
			providers.Quota{Limit: 500, Remaining: 7, Reset: time.Hour, Known: true}},
		{"RapidAPI, a month", headers{"X-RateLimit-Requests-Limit": "500", "X-RateLimit-Requests-Remaining": "0", "X-RateLimit-Requests-Reset": "2592000"},
			providers.Quota{Limit: 500, Reset: 24 * time.Hour, Known: true}},
		{"RapidAPI, more than the plan", headers{"X-RateLimit-Requests-Remaining": "-3"}, providers.Quota{Known: true}},
		{"seconds", headers{"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "59", "X-RateLimit-Reset": "1.5"},
			providers.Quota{Limit: 60, Remaining: 59, Reset: 1500 * time.Millisecond, Known: true}},
		{"Unix time", headers{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1695556890"}, // At and 90 s
			providers.Quota{Reset: 90 * time.Second, Known: true}},
		{"Unix time that passed", headers{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1695556000"}, providers.Quota{Known: true}},
		{"limit alone", headers{"X-RateLimit-Limit": "60", "X-RateLimit-Reset": "9"}, providers.Quota{}},
		{"three of the IETF", headers{"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
			providers.Quota{Limit: 100, Remaining: 50, Reset: 30 * time.Second, Known: true}},
		{"one of the IETF", headers{"RateLimit": `"default";r=50;t=30`}, providers.Quota{Remaining: 50, Reset: 30 * time.Second, Known: true}},
		{"the tightest of several", headers{"RateLimit": `"a;r=1,\"";r=50;t=30, "b"; r=0; t=3;pk=:x=:, "c";r=0;t=9`},
			providers.Quota{Reset: 9 * time.Second, Known: true}},
		{"the tightest of two forms", headers{"RateLimit": `"a";r=50;t=30`, "X-RateLimit-Remaining": "2", "X-RateLimit-Reset": "1"},
			providers.Quota{Remaining: 2, Reset: time.Second, Known: true}},
		{"no r", headers{"RateLimit": `"a";t=30`}, providers.Quota{}},
		{"Graph, application", headers{"X-App-Usage": `{"call_count":28,"total_time":25,"total_cputime":25.5}`},
			providers.Quota{Limit: 100, Remaining: 72, Known: true}},
		{"Graph, used up", headers{"X-App-Usage": `{"call_count":28,"total_time":104,"total_cputime":2}`},
			providers.Quota{Limit: 100, Known: true}},
		{"Graph, business", headers{"X-Business-Use-Case-Usage": `{"1":[{"type":"pages","call_count":3,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":0}],"2":[{"type":"instagram","call_count":100,"total_cputime":1,"total_time":1,"estimated_time_to_regain_access":19}]}`},
			providers.Quota{Limit: 100, Reset: 19 * time.Minute, Known: true}},
		{"Graph, no JSON", headers{"X-App-Usage": `{"call_count":`, "X-Business-Use-Case-Usage": `[]`}, providers.Quota{}},
		{"no numbers", headers{"X-RateLimit-Remaining": "many", "RateLimit-Remaining": "NaN", "RateLimit": "r=Inf;t=1"}, providers.Quota{}},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		if got := providers.ReadQuota(h, providertest.At); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "90": 90 * time.Second, " 90 ": 90 * time.Second, "1.5": 1500 * time.Millisecond, "soon": 0,
		"99999999999999999999": 0, "1e9": 0, "604800": 24 * time.Hour,
		"Sun, 24 Sep 2023 12:01:00 GMT": time.Minute,
		"Sun, 24 Sep 2023 11:00:00 GMT": 0,
		"Sun, 24 Sep 2045 11:00:00 GMT": 24 * time.Hour,
	} {
		if got := providers.RetryAfter(http.Header{"Retry-After": {in}}, providertest.At); got != want {
			t.Errorf("Retry-After %q: %v, want %v", in, got, want)
		}
	}
}

func FuzzReadQuota(f *testing.F) {
	f.Add("500", "0", "2592000", `"a";r=0;t=5, "b";r=1`, `{"call_count":100}`)
	f.Add("-1", "1e300", "0x1p-2", `";r=;t`, `{"1":[{"call_count":1e308,"estimated_time_to_regain_access":-1e308}]}`)
	f.Add("9223372036854775808", "-9223372036854775809", "1695556890", `r=99999999999999999999`, `null`)
	f.Fuzz(func(t *testing.T, limit, remaining, reset, ietf, usage string) {
		for _, form := range []string{"X-RateLimit-Requests-", "X-RateLimit-", "RateLimit-"} {
			h := http.Header{}
			for k, v := range map[string]string{form + "Limit": limit, form + "Remaining": remaining, form + "Reset": reset,
				"RateLimit": ietf, "X-App-Usage": usage, "X-Business-Use-Case-Usage": usage} {
				h.Set(k, v)
			}
			for _, now := range []time.Time{providertest.At, {}} {
				q := providers.ReadQuota(h, now)
				if q.Limit < 0 || q.Remaining < 0 || q.Reset < 0 || q.Reset > 24*time.Hour || !q.Known && q != (providers.Quota{}) {
					t.Fatalf("%v: %+v", h, q)
				}
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"90", "-1", "1.5", "1h", "Sun, 24 Sep 2023 12:01:00 GMT", "99999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := providers.RetryAfter(http.Header{"Retry-After": {s}}, providertest.At); d < 0 || d > 24*time.Hour {
			t.Fatalf("%q: %v", s, d)
		}
	})
}
