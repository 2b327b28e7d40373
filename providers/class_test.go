package providers_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"beat/providers"
	"beat/providers/instagram/arraybobo"
	"beat/providers/instagram/graphapi"
	"beat/providers/providertest"
	"beat/providers/youtube/ytapi"
	"beat/streams/social"
)

const (
	graph = "graphapi"
	bobo  = "rapidapi-arraybobo"
	yt    = "ytapitoken"
	bare  = "bare" // a source without rows of its own
)

// asks is one call of each source, and an answer to it that is good.
var asks = map[string]struct {
	p    *providers.Provider
	ask  social.Ask
	good string
}{
	graph: {graphapi.New(""), social.Ask{Fetch: social.ProfileByHandle, Keys: []string{"a"}}, `{"business_discovery":{"ig_id":"1"}}`},
	bobo:  {arraybobo.New(""), social.Ask{Fetch: social.Reels, Keys: []string{"1"}}, `{"items":[],"status":"ok"}`},
	yt:    {ytapi.New(""), social.Ask{Fetch: social.ChannelsByIDs, Keys: []string{"UCa"}}, `{"items":[]}`},
	bare: {&providers.Provider{Source: bare, Calls: map[social.Fetch]providers.Call{social.Reels: {
		Judge: func(social.Ask, providers.Answer) *providers.Error { return nil },
	}}}, social.Ask{Fetch: social.Reels}, ``},
}

func classify(source string, a providers.Answer) *providers.Error {
	s := asks[source]
	return providers.Classify(s.p, s.p.Calls[s.ask.Fetch], s.ask, a)
}

func code(n int) string {
	return fmt.Sprintf(`{"error":{"message":"It said no","type":"OAuthException","code":%d,"fbtrace_id":"x"}}`, n)
}

func said(message string) string { return fmt.Sprintf(`{"message":%q}`, message) }
func fail(message string) string { return fmt.Sprintf(`{"message":%q,"status":"fail"}`, message) }

func reason(word string) string {
	return fmt.Sprintf(`{"error":{"code":403,"message":"no","errors":[{"domain":"x","reason":%q}]}}`, word)
}

func detail(word string) string {
	return fmt.Sprintf(`{"error":{"code":400,"message":"no","errors":[{"reason":"other"}],"details":[{"@type":"x"},{"reason":%q}]}}`, word)
}

// Source, status and body to kind, text of the task table and wait: flows.md
// 10.2, providers-instagram.md 6.4, 8.1, 8.2 and 9.1, providers-youtube.md
// 3.4 and 4, enrichment.md 5.5. Every row of every table has its case.
func TestClassify(t *testing.T) {
	const (
		wrong, forbidden, failure = "Something went wrong", "Forbidden exception", "API Failure"
		no, quota                 = "It said no", "Quota exceeded"
		midnight                  = 19 * time.Hour // 05:00 in California
	)
	gone, refused, limited := providers.ErrGone, providers.ErrRefused, providers.ErrLimited
	upstream, malformed := providers.ErrUpstream, providers.ErrMalformed
	type headers = map[string]string
	hit := map[*providers.Class]bool{}
	for _, tt := range []struct {
		source  string
		status  int
		body    string
		kind    error
		shown   int
		message string
		header  headers
		wait    time.Duration
	}{
		{source: bare, status: 200},
		{source: bare, status: 429, kind: limited, shown: 429, message: wrong},
		{source: bare, status: 429, header: headers{"Retry-After": "7"}, kind: limited, shown: 429, message: wrong, wait: 7 * time.Second},
		{source: bare, status: 401, kind: refused, shown: 401, message: wrong},
		{source: bare, status: 402, kind: refused, shown: 402, message: wrong},
		{source: bare, status: 403, kind: gone, shown: 403, message: forbidden},
		{source: bare, status: 404, kind: gone, shown: 404, message: wrong},
		{source: bare, status: 410, kind: gone, shown: 410, message: wrong},
		{source: bare, status: 400, kind: gone, shown: 400, message: wrong},
		{source: bare, status: 500, kind: upstream, shown: 500, message: wrong},
		{source: bare, status: 503, header: headers{"Retry-After": "7"}, kind: upstream, shown: 503, message: wrong},
		{source: bare, status: 418, kind: upstream, shown: 418, message: wrong},
		{source: bare, status: 302, kind: upstream, shown: 302, message: wrong},
		{source: bare, status: 204, kind: upstream, shown: 204, message: wrong},

		{source: graph, status: 200, body: asks[graph].good},
		{source: graph, status: 200, body: `{"id":"1"}`, kind: malformed, shown: 200, message: failure},
		{source: graph, status: 403, body: code(4), kind: limited, shown: 403, message: forbidden},
		{source: graph, status: 400, body: code(4), header: headers{"X-App-Usage": `{"call_count":100}`}, kind: limited, shown: 400, message: no},
		{source: graph, status: 400, body: code(17), header: headers{"Retry-After": "60"}, kind: limited, shown: 400, message: no, wait: time.Minute},
		{source: graph, status: 400, body: code(32), kind: limited, shown: 400, message: no},
		{source: graph, status: 400, body: code(613), kind: limited, shown: 400, message: no},
		{source: graph, status: 400, body: code(80002), kind: limited, shown: 400, message: no, wait: 12 * time.Minute,
			header: headers{"X-Business-Use-Case-Usage": `{"7":[{"type":"instagram","call_count":101,"estimated_time_to_regain_access":12}]}`}},
		{source: graph, status: 500, body: code(4), kind: limited, shown: 500, message: no},
		{source: graph, status: 500, body: code(190), kind: upstream, shown: 500, message: no},
		{source: graph, status: 502, body: `<html>`, kind: upstream, shown: 502, message: wrong},
		{source: graph, status: 400, body: code(1), kind: upstream, shown: 400, message: no},
		{source: graph, status: 400, body: code(2), kind: upstream, shown: 400, message: no},
		{source: graph, status: 400, body: code(2500), kind: upstream, shown: 400, message: no},
		{source: graph, status: 400, body: code(190), kind: refused, shown: 400, message: no},
		{source: graph, status: 401, body: code(190), kind: refused, shown: 401, message: no},
		{source: graph, status: 400, body: `{"error":{"code":"190"}}`, kind: refused, shown: 400, message: wrong},
		{source: graph, status: 400, body: code(102), kind: refused, shown: 400, message: no},
		{source: graph, status: 403, body: code(10), kind: refused, shown: 403, message: forbidden},
		{source: graph, status: 400, body: code(3), kind: refused, shown: 400, message: no},
		{source: graph, status: 400, body: code(200), kind: refused, shown: 400, message: no},
		{source: graph, status: 403, body: code(299), kind: refused, shown: 403, message: forbidden},
		{source: graph, status: 400, body: code(300), kind: gone, shown: 400, message: no},
		{source: graph, status: 400, body: code(110), kind: gone, shown: 400, message: "Invalid username"},
		{source: graph, status: 404, body: code(110), kind: gone, shown: 404, message: no},
		{source: graph, status: 400, body: code(100), kind: gone, shown: 400, message: no},
		{source: graph, status: 400, body: code(24), kind: gone, shown: 400, message: no},
		{source: graph, status: 401, body: `{}`, kind: refused, shown: 401, message: wrong},
		{source: graph, status: 402, kind: refused, shown: 402, message: wrong},
		{source: graph, status: 429, body: code(9004), kind: limited, shown: 429, message: no},
		{source: graph, status: 400, body: `{"error":{"code":9004,"is_transient":true}}`, kind: upstream, shown: 400, message: wrong},
		{source: graph, status: 400, body: code(9004), kind: gone, shown: 400, message: no},
		{source: graph, status: 400, body: code(190) + "}", kind: gone, shown: 400, message: wrong}, // no JSON
		{source: graph, status: 400, body: `[` + code(190) + `]`, kind: gone, shown: 400, message: wrong},
		{source: graph, status: 403, body: `{}`, kind: gone, shown: 403, message: forbidden},
		{source: graph, status: 404, body: `{"error":"It said no"}`, kind: gone, shown: 404, message: no},
		{source: graph, status: 410, kind: gone, shown: 410, message: wrong},
		{source: graph, status: 418, body: code(9004), kind: upstream, shown: 418, message: no},

		{source: bobo, status: 200, body: asks[bobo].good},
		{source: bobo, status: 200, body: `{"status":"ok"}`, kind: malformed, shown: 200, message: failure},
		{source: bobo, status: 200, body: fail("login_required") + "}", kind: malformed, shown: 200, message: failure},
		{source: bobo, status: 500, body: fail("login_required"), kind: upstream, shown: 500, message: wrong},
		{source: bobo, status: 503, body: said("The API is unreachable, please contact the API provider"), kind: upstream, shown: 503, message: wrong},
		{source: bobo, status: 429, body: fail("checkpoint_required"), kind: limited, shown: 429, message: wrong},
		{source: bobo, status: 200, body: fail("Please wait a few minutes before you try again."), kind: limited, shown: 200, message: failure},
		{source: bobo, status: 401, body: fail("Please wait a few minutes before you try again."), kind: limited, shown: 401, message: wrong},
		{source: bobo, status: 400, body: fail("checkpoint_required"), kind: upstream, shown: 400, message: wrong},
		{source: bobo, status: 200, body: fail("challenge_required"), kind: upstream, shown: 200, message: failure},
		{source: bobo, status: 403, body: fail("login_required"), kind: upstream, shown: 403, message: forbidden},
		{source: bobo, status: 400, body: fail("feedback_required"), kind: upstream, shown: 400, message: wrong},
		{source: bobo, status: 400, body: fail("consent_required"), kind: upstream, shown: 400, message: wrong},
		{source: bobo, status: 200, body: `{"status":"fail","require_login":true}`, kind: upstream, shown: 200, message: failure},
		{source: bobo, status: 401, body: fail("other"), kind: upstream, shown: 401, message: wrong},
		{source: bobo, status: 404, body: fail("Media not found or unavailable"), kind: gone, shown: 404, message: wrong},
		{source: bobo, status: 200, body: fail("Media not found or unavailable"), kind: gone, shown: 200, message: failure},
		{source: bobo, status: 403, body: said("You are not subscribed to this API."), kind: refused, shown: 403, message: forbidden},
		{source: bobo, status: 403, body: said("Blocked User. Please contact your API provider."), kind: refused, shown: 403, message: forbidden},
		{source: bobo, status: 403, body: said("Invalid API key. Go to the docs."), kind: refused, shown: 403, message: forbidden},
		{source: bobo, status: 401, body: said("Invalid API key. Go to the docs."), kind: refused, shown: 401, message: wrong},
		{source: bobo, status: 403, body: said("private"), kind: gone, shown: 403, message: forbidden},
		{source: bobo, status: 429, kind: limited, shown: 429, message: wrong, wait: 24 * time.Hour,
			body:   said("You have exceeded the MONTHLY quota for Requests on your current plan, BASIC."),
			header: headers{"X-RateLimit-Requests-Limit": "500", "X-RateLimit-Requests-Remaining": "0", "X-RateLimit-Requests-Reset": "1209600"}},
		{source: bobo, status: 429, kind: limited, shown: 429, message: wrong, // of the second, while the plan has more
			body:   said("You have exceeded the rate limit per second for your plan, BASIC, by the API provider"),
			header: headers{"X-RateLimit-Requests-Remaining": "400", "X-RateLimit-Requests-Reset": "3600"}},
		{source: bobo, status: 403, body: said("You have exceeded the MONTHLY quota"), kind: limited, shown: 403, message: forbidden},
		{source: bobo, status: 429, body: said("Too many requests"), kind: limited, shown: 429, message: wrong},

		{source: yt, status: 200, body: asks[yt].good},
		{source: yt, status: 200, body: `{"items":[],"error":{"status":"RESOURCE_EXHAUSTED"}}`},
		{source: yt, status: 200, body: `[]`},
		{source: yt, status: 200, body: `{}`, kind: gone, shown: 404, message: wrong},
		{source: yt, status: 200, body: `{"items":{}}`, kind: malformed, shown: 200, message: failure},
		{source: yt, status: 403, body: reason("quotaExceeded"), kind: limited, shown: 403, message: quota, wait: midnight},
		{source: yt, status: 403, body: reason("quotaExceeded"), header: headers{"Retry-After": "9"}, kind: limited, shown: 403, message: quota, wait: 9 * time.Second},
		{source: yt, status: 429, body: reason("quotaExceeded"), kind: limited, shown: 429, message: quota, wait: midnight},
		{source: yt, status: 403, body: reason("dailyLimitExceeded"), kind: limited, shown: 403, message: quota, wait: midnight},
		{source: yt, status: 403, body: reason("rateLimitExceeded"), kind: limited, shown: 403, message: quota},
		{source: yt, status: 403, body: reason("userRateLimitExceeded"), kind: limited, shown: 403, message: quota},
		{source: yt, status: 429, body: `{"error":{"status":"RESOURCE_EXHAUSTED"}}`, kind: limited, shown: 429, message: quota},
		{source: yt, status: 200, body: reason("rateLimitExceeded"), kind: limited, shown: 200, message: quota},
		{source: yt, status: 429, kind: limited, shown: 429, message: quota},
		{source: yt, status: 400, body: reason("keyInvalid"), kind: refused, shown: 400, message: wrong},
		{source: yt, status: 400, body: detail("API_KEY_INVALID"), kind: refused, shown: 400, message: wrong},
		{source: yt, status: 400, body: `{"error":{"message":"API key not valid. Please pass a valid API key.","errors":[{"reason":"badRequest"}]}}`, kind: refused, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("keyExpired"), kind: refused, shown: 400, message: wrong},
		{source: yt, status: 403, body: detail("API_KEY_SERVICE_BLOCKED"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: detail("SERVICE_DISABLED"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: detail("CONSUMER_SUSPENDED"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: reason("accessNotConfigured"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: reason("ipRefererBlocked"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: reason("dailyLimitExceededUnreg"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 403, body: reason("rateLimitExceededUnreg"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 401, body: reason("authError"), kind: refused, shown: 401, message: wrong},
		{source: yt, status: 401, body: reason("required"), kind: refused, shown: 401, message: wrong},
		{source: yt, status: 403, body: reason("insufficientPermissions"), kind: refused, shown: 403, message: wrong},
		{source: yt, status: 503, body: reason("backendError"), kind: upstream, shown: 503, message: wrong},
		{source: yt, status: 400, body: reason("internalError"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("processingFailure"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: detail("SERVICE_UNAVAILABLE"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("badRequest"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("missingRequiredParameter"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("invalidParameter"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("unknownPart"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("unexpectedParameter"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("incompatibleParameters"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 400, body: reason("unsupportedFilterCombinations"), kind: upstream, shown: 400, message: wrong},
		{source: yt, status: 404, body: reason("channelNotFound"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 429, body: reason("channelNotFound"), kind: limited, shown: 429, message: quota},
		{source: yt, status: 500, body: reason("channelNotFound"), kind: upstream, shown: 500, message: wrong},
		{source: yt, status: 403, body: reason("channelClosed"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 403, body: reason("channelSuspended"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 403, body: reason("commentsDisabled"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 403, body: reason("subscriptionForbidden"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 200, body: reason("other"), kind: upstream, shown: 200, message: wrong},
		{source: yt, status: 403, body: reason("other"), kind: gone, shown: 404, message: wrong},
		{source: yt, status: 404, body: `<html>`, kind: gone, shown: 404, message: wrong},
		{source: yt, status: 410, kind: gone, shown: 404, message: wrong},
		{source: yt, status: 400, body: `{"error":"no"}`, kind: gone, shown: 404, message: wrong},
		{source: yt, status: 401, body: `<html>`, kind: refused, shown: 401, message: wrong},
		{source: yt, status: 500, kind: upstream, shown: 500, message: wrong},
	} {
		name := fmt.Sprintf("%s %d %.90s", tt.source, tt.status, tt.body)
		a := providertest.Answer(tt.status, []byte(tt.body))
		for k, v := range tt.header {
			a.Header.Set(k, v)
		}
		s := asks[tt.source]
		hit[s.p.Class(s.p.Calls[s.ask.Fetch], a)] = true
		err := classify(tt.source, a)
		switch {
		case tt.kind == nil && err == nil:
			continue
		case tt.kind == nil || err == nil:
			t.Errorf("%s: got %v, want %v", name, err, tt.kind)
			continue
		}
		if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message || err.RetryAfter != tt.wait {
			t.Errorf("%s: got %v, wait %v, want %v: (%d, '%s'), wait %v", name, err, err.RetryAfter, tt.kind, tt.shown, tt.message, tt.wait)
		}
		if want := tt.kind == refused && tt.source == graph; err.Expired != want {
			t.Errorf("%s: expired %v, want %v", name, err.Expired, want)
		}
		if tt.source != bare && !strings.HasPrefix(err.Detail, tt.source+" "+string(asks[tt.source].ask.Fetch)) {
			t.Errorf("%s: detail %q does not begin with the source and the fetch", name, err.Detail)
		}
	}
	tables := map[string][]providers.Class{"defaults": providers.Defaults}
	for source, s := range asks {
		tables[source] = s.p.Classes
	}
	for name, rows := range tables {
		for i := range rows {
			if !hit[&rows[i]] {
				t.Errorf("table %s: no case for row %d, %q %+v", name, i, rows[i].Status, rows[i].Body)
			}
		}
	}
}

// What a person reads: whose answer, its real status, what the provider
// calls it. Never a text that could hold more than a name.
func TestDetail(t *testing.T) {
	token := strings.Repeat("EAABwz", 30)
	for _, tt := range []struct {
		source  string
		status  int
		body    string
		message string
		detail  string
	}{
		{graph, 400, `{"error":{"message":"a\nb\u0000","code":190,"error_subcode":463}}`, "a b",
			"graphapi fetch_profile_by_handle: code 190, error_subcode 463"},
		{graph, 403, `{"error":{"message":"(#10) no","code":10}}`, "Forbidden exception",
			"graphapi fetch_profile_by_handle: code 10: (#10) no"},
		{graph, 400, `{"error":{"message":"Bad token ` + token + `","code":190}}`, "Bad token ***",
			"graphapi fetch_profile_by_handle: code 190"},
		{graph, 502, `<html>`, "Something went wrong",
			"graphapi fetch_profile_by_handle: 6 bytes that are no JSON object"},
		{bobo, 200, fail("login_required"), "API Failure",
			"rapidapi-arraybobo fetch_reels_posts: Instagram: login_required"},
		{yt, 403, `{"error":{"status":"PERMISSION_DENIED","errors":[{"reason":"commentsDisabled"}]}}`, "Something went wrong",
			"ytapitoken fetch_profiles_by_ids: HTTP 403: reason commentsDisabled, status PERMISSION_DENIED"},
		{yt, 403, `{"error":{"errors":[{"reason":"key AIza"},{"reason":"` + token + `"}]}}`, "Something went wrong",
			"ytapitoken fetch_profiles_by_ids: HTTP 403: reason unreadable, reason unreadable"},
	} {
		err := classify(tt.source, providertest.Answer(tt.status, []byte(tt.body)))
		if err == nil || err.Message != tt.message || err.Detail != tt.detail {
			t.Errorf("%s %d %.60s:\n got %+v\nwant %q, %q", tt.source, tt.status, tt.body, err, tt.message, tt.detail)
		}
	}
}

// A body nested so deep that a recursive reader would not come back.
func TestDeepBody(t *testing.T) {
	deep := []byte(`{"status":"fail","message":` + strings.Repeat("[", 1_000_000))
	for source := range asks {
		for _, status := range []int{200, 400, 403} {
			err := classify(source, providertest.Answer(status, deep))
			if source != bare && err == nil {
				t.Errorf("%s %d: no error", source, status)
			}
		}
	}
}

func FuzzClassify(f *testing.F) {
	sources := []string{graph, bobo, yt, bare}
	for i := range sources {
		for _, body := range []string{code(190), code(4), fail("login_required"), said("exceeded the quota"), reason("quotaExceeded"),
			detail("API_KEY_INVALID"), `{"error":"no"}`, `<html>`, ``, `{"error":{"errors":[[{"reason":[{}]}]],"details":{"#":1}}}`,
			`"{\"status\":\"fail\"}"`, `{"items":[`, "{\"error\":{\"message\":\"\xff\\u0000\\ud800\\n\"}}"} {
			f.Add(uint8(i), 400, []byte(body), "")
			f.Add(uint8(i), 200, []byte(body), "5")
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, status int, body []byte, after string) {
		a := providertest.Answer(status, body)
		a.Header = http.Header{"Retry-After": {after}}
		err := classify(sources[int(which)%len(sources)], a)
		if err == nil {
			if status != 200 {
				t.Fatalf("%d is nothing wrong", status)
			}
			return
		}
		if providers.Verdict(err) != err.Kind.Error() {
			t.Fatalf("kind %v is no sentinel", err.Kind)
		}
		if err.Message == "" || strings.ContainsAny(err.Error(), "\n\r\x00") || len([]rune(err.Message)) > 500 {
			t.Fatalf("message %q, detail %q: want one line", err.Message, err.Detail)
		}
		if err.RetryAfter < 0 || err.RetryAfter > 24*time.Hour || err.RetryAfter != 0 && err.Kind != providers.ErrLimited {
			t.Fatalf("%v: RetryAfter %v", err, err.RetryAfter)
		}
		if err.Expired && err.Kind != providers.ErrRefused {
			t.Fatalf("%v: expired", err)
		}
	})
}

// BenchmarkClassify judges a good answer of about 40 KB, and an error.
func BenchmarkClassify(b *testing.B) {
	item := `{"media":{"code":"CxAmPle0023","text":"` + strings.Repeat("Neue Bohnen ", 60) + `","versions":[{"width":1,"url":"https://cdn.example.net/m/23.mp4"}]}},`
	page := strings.TrimSuffix(strings.Repeat(item, 40_000/len(item)), ",")
	for _, tt := range []struct {
		name, source string
		status       int
		body         string
	}{
		{"rapidapi-arraybobo", bobo, 200, `{"items":[` + page + `],"paging_info":{"more_available":false},"status":"ok"}`},
		{"ytapitoken", yt, 200, `{"kind":"youtube#channelListResponse","items":[` + page + `]}`},
		{"graphapi", graph, 200, `{"business_discovery":{"media":{"data":[` + page + `]},"ig_id":"1"}}`},
		{"error", yt, 400, reason("other")},
	} {
		b.Run(tt.name, func(b *testing.B) {
			a := providertest.Answer(tt.status, []byte(tt.body))
			b.SetBytes(int64(len(tt.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := classify(tt.source, a); (err == nil) != (tt.status == 200) {
					b.Fatal(err)
				}
			}
		})
	}
}
