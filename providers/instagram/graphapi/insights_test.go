package graphapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var reel = social.Ask{Fetch: social.PostInsights, Keys: []string{"CxAmPle0012", "18000000000000012", "reels"}}

func insightsCall() providers.Call { return New("").Calls[social.PostInsights] }

func classifyInsights(a providers.Answer) *providers.Error { return classifyOf(reel, a) }

func TestInsightsRequest(t *testing.T) {
	for _, tt := range []struct{ media, kind, path, metric string }{
		{"18000000000000012", "image", "/v12.0/18000000000000012/insights", "likes,reach,impressions,comments,engagement,saved,shares"},
		{"18000000000000012", "reels", "/v12.0/18000000000000012/insights", "plays,likes,comments,reach,total_interactions,saved,shares"},
		{"18000000000000012", "carousel", "/v12.0/18000000000000012/insights", "reach,impressions,engagement,saved,video_views"},
		{"3198000000000000077_4811223344_1", "image", "/v12.0/3198000000000000077/insights", "likes,reach,impressions,comments,engagement,saved,shares"},
	} {
		r, err := insightsCall().Request(cred, social.Ask{Fetch: social.PostInsights, Keys: []string{"C1", tt.media, tt.kind}})
		if err != nil {
			t.Errorf("%s %s: %v", tt.media, tt.kind, err)
			continue
		}
		q := r.Query
		if r.Path != tt.path || q.Get("metric") != tt.metric || q.Get("period") != "lifetime" ||
			q.Get("access_token") != "EAABsecretsecretsecret" || len(q) != 3 || len(r.Header) != 0 || r.Method != "" {
			t.Errorf("%s %s: path %q, metric %q, %d parameters", tt.media, tt.kind, r.Path, q.Get("metric"), len(q))
		}
	}
	for _, tt := range []struct {
		keys   []string
		status int
	}{
		{[]string{"C1", "me", "reels"}, 404},
		{[]string{"C1", "17", "story"}, 400},
	} {
		_, err := insightsCall().Request(cred, social.Ask{Fetch: social.PostInsights, Keys: tt.keys})
		if e, ok := errors.AsType[*providers.Error](err); !ok || !errors.Is(e, providers.ErrGone) || e.Status != tt.status {
			t.Errorf("%q: got %v, want gone with %d", tt.keys, err, tt.status)
		}
	}
}

// The "expected parse" of 8.7, typed here a second time, and the rule for what
// is not returned, not known or null.
func TestInsightsExpected(t *testing.T) {
	for _, tt := range []struct {
		file string
		want []string
	}{
		{"insights_reels.json", []string{"play_count=48210", "likes=2210", "comments=41", "reach=39100", "interactions=2390", "saved=95", "shares=44"}},
		{"insights_carousel.json", []string{"reach=5", "impressions=8", "engagement=2.5", "saved=0", "video_views=3", "follows=null"}},
	} {
		b, err := insightsCall().Parse(reel, providertest.At, providertest.Read(t, "testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		l := b.Logs[0]
		if got := pairs(l); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.file, got, tt.want)
		}
		if len(b.Logs) != 1 || l.Kind != social.Post || l.Key != "CxAmPle0012" || l.Source != "graphapi" || l.Owner != "" || len(l.Dimensions) != 0 {
			t.Errorf("%s: %s", tt.file, providertest.Text(b))
		}
	}
}

// What took the place of plays and impressions (Q-GA-14), of a post and of a
// story.
func TestViews(t *testing.T) {
	body := []byte(`{"data":[{"name":"views","values":[{"value":7}]},{"name":"engagement","values":[{"value":2.5}]}]}`)
	for _, a := range []social.Ask{reel, story} {
		b, err := parseOf(a, body)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(pairs(b.Logs[0]), " "); got != "view_count=7 engagement=2.5" {
			t.Errorf("%s: %s", a.Fetch, got)
		}
	}
}

// The outcome table of 8.7, row by row, and what it leaves to all calls.
func TestInsightsOutcomes(t *testing.T) {
	graph := func(code int, more string) string {
		return fmt.Sprintf(`{"error":{"message":"It said no","type":"OAuthException","code":%d%s}}`, code, more)
	}
	const wrong = "Something went wrong"
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		kind    error
		shown   int
		message string
	}{
		{"missing", 400, graph(100, `,"error_subcode":33`), providers.ErrGone, 404, "Post missing"},
		{"before the conversion", 400, graph(100, `,"error_subcode":2108006`), providers.ErrGone, 400, "Media was posted before account was converted to business account"},
		{"token", 400, graph(190, `,"error_subcode":463`), providers.ErrRefused, 401, "Invalid access token"},
		{"token, 401", 401, graph(190, ""), providers.ErrRefused, 401, "Invalid access token"},
		{"other metric", 400, graph(100, ""), providers.ErrGone, 400, wrong},
		{"other 400", 400, graph(9004, ""), providers.ErrGone, 400, wrong},
		{"no such user", 400, graph(110, ""), providers.ErrGone, 400, wrong},
		{"no code", 400, `{}`, providers.ErrGone, 400, wrong},
		{"HTML", 400, `<html>`, providers.ErrGone, 400, wrong},
		{"permission", 400, graph(10, ""), providers.ErrRefused, 400, wrong},
		{"limit", 403, graph(4, ""), providers.ErrLimited, 403, "Forbidden exception"},
		{"limit, 400", 400, graph(17, ""), providers.ErrLimited, 400, wrong},
		{"403", 403, `{}`, providers.ErrGone, 403, "Forbidden exception"},
		{"404", 404, `{}`, providers.ErrGone, 404, wrong},
		{"500", 500, graph(190, ""), providers.ErrUpstream, 500, wrong},
		{"503", 503, ``, providers.ErrUpstream, 503, wrong},
		{"200 without data", 200, `{}`, providers.ErrMalformed, 200, "API Failure"},
		{"200, data an object", 200, `{"data":{}}`, providers.ErrMalformed, 200, "API Failure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := providertest.Answer(tt.status, []byte(tt.body))
			err := classifyInsights(a)
			if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message {
				t.Fatalf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.shown, tt.message)
			}
			if err.Expired != (tt.kind == providers.ErrRefused) {
				t.Errorf("expired %v", err.Expired)
			}
			if strings.Contains(err.Error(), "It said no") {
				t.Errorf("the API's own text is passed on: %v", err)
			}
		})
	}
	if err := classify(providertest.Answer(400, []byte(graph(100, `,"error_subcode":33`)))); err.Message != "It said no" || err.Status != 400 {
		t.Errorf("the profile call has the rows of another: %v", err)
	}
}

// Each hard member taken out or of another type is an error that names it; a
// value that is no number too.
func TestInsightsHard(t *testing.T) {
	body := providertest.Read(t, "testdata/insights_reels.json")
	for _, tt := range []struct {
		path  []any
		value []any
		names string
	}{
		{[]any{"data"}, nil, "data is missing"},
		{[]any{"data"}, []any{nil}, "data is missing"},
		{[]any{"data"}, []any{"x"}, "data is text"},
		{[]any{"data"}, []any{map[string]int{}}, "data is an object"},
		{[]any{"data", 1}, []any{nil}, "data.1.name is missing"},
		{[]any{"data", 1}, []any{[]int{1}}, "data.1.name is missing"},
		{[]any{"data", 1, "name"}, nil, "data.1.name is missing"},
		{[]any{"data", 1, "name"}, []any{true}, "data.1.name is a boolean"},
		{[]any{"data", 1, "name"}, []any{""}, "data.1.name is empty"},
		{[]any{"data", 3, "values", 0, "value"}, []any{"many"}, "data.3.values.0.value of reach"},
		{[]any{"data", 3, "values", 0, "value"}, []any{map[string]int{"a": 1}}, "data.3.values.0.value of reach"},
	} {
		_, err := insightsCall().Parse(reel, providertest.At, providertest.Without(t, body, tt.path, tt.value...))
		if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%v = %v: got %v, want a malformed error with %q", tt.path, tt.value, err, tt.names)
		}
	}
	for _, soft := range [][]any{{"data", 3, "values"}, {"data", 3, "values", 0, "value"}} {
		b, err := insightsCall().Parse(reel, providertest.At, providertest.Without(t, body, soft))
		if v, ok := b.Logs[0].Metrics.Get("reach"); err != nil || !ok || string(v) != "null" {
			t.Errorf("without %v: reach %s, %v, want null", soft, v, err)
		}
	}
}

// Real answers say what was read off them.
func TestInsightsFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for file, want := range map[string]string{
		"image_lifetime.json":             "impressions=8 reach=5 saved=0",
		"image_engagement_empty_ids.json": "impressions=16834 engagement=3901 reach=16155 saved=384",
		"reels_lifetime.json":             "comments=7 likes=108 play_count=2385 reach=2006",
	} {
		b, err := insightsCall().Parse(reel, providertest.At, providertest.Read(t, dir, "graphapi/media_insights", file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := strings.Join(pairs(b.Logs[0]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}
