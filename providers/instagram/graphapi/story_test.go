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

var story = social.Ask{Fetch: social.StoryInsights, Keys: []string{"18000000000000077"}}

func TestStoryRequests(t *testing.T) {
	c := New("").Calls[social.StoryInsights]
	first, err := c.Request(cred, story)
	if err != nil {
		t.Fatal(err)
	}
	more, err := c.More(cred, story)
	if err != nil || len(more) != 1 {
		t.Fatalf("%d more, %v, want 1", len(more), err)
	}
	for i, want := range []string{
		"access_token=EAABsecretsecretsecret&metric=impressions%2Creach%2Creplies%2Csaved%2Cshares%2Ctotal_interactions%2Cfollows%2Cprofile_visits%2Cprofile_activity&period=lifetime",
		"access_token=EAABsecretsecretsecret&breakdown=story_navigation_action_type&metric=navigation&period=lifetime",
	} {
		r := append([]providers.Request{first}, more...)[i]
		if got := r.Query.Encode(); got != want || r.Path != "/v15.0/18000000000000077/insights" || len(r.Header) != 0 || r.Method != "" {
			t.Errorf("call %d: %s %s?%s, want %s", i+1, r.Method, r.Path, got, want)
		}
	}
	for _, key := range []string{"", "me", "1/../2"} {
		_, err := c.More(cred, social.Ask{Fetch: social.StoryInsights, Keys: []string{key}})
		if e, ok := errors.AsType[*providers.Error](err); !ok || !errors.Is(e, providers.ErrGone) || e.Message != "Story ID doesn't exist" {
			t.Errorf("%q: %v, want gone", key, err)
		}
	}
}

// The "expected parse" of 8.10, typed here a second time, with the navigation
// total that Q-GA-10 wants.
func TestStoryExpected(t *testing.T) {
	want := []string{"impressions=812", "reach=790", "replies=4", "saved=0", "shares=2", "interactions=9", "follows=1",
		"profile_visits=6", "profile_activity=3", "navigation=1260", "tap_forward=1020", "tap_back=60", "tap_exit=110", "swipe_forward=70"}
	for _, file := range []string{"story_parts.json", "story_merged.json"} {
		b, err := parseOf(story, providertest.Read(t, "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		l := b.Logs[0]
		if got := pairs(l); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", file, got, want)
		}
		if len(b.Logs) != 1 || l.Kind != social.Post || l.Key != "18000000000000077" || l.Source != "graphapi" || l.Owner != "" || len(l.Dimensions) != 0 || b.More {
			t.Errorf("%s: %s", file, providertest.Text(b))
		}
	}
}

// What the second call may be without, and how navigation is written.
func TestNavigation(t *testing.T) {
	for _, tt := range []struct{ name, navigation, want string }{
		{"none of it", `null`, "reach=1"},
		{"no data", `{"error":{"code":1}}`, "reach=1"},
		{"no page", `"<html>"`, "reach=1"},
		{"empty data", `{"data":[]}`, "reach=1"},
		{"neither total nor breakdown", `{"data":[{"name":"navigation"}]}`, "reach=1 navigation=null"},
		{"total alone", `{"data":[{"name":"navigation","total_value":{"value":7}}]}`, "reach=1 navigation=7"},
		{"total as other metrics have it", `{"data":[{"name":"navigation","values":[{"value":7}]}]}`, "reach=1 navigation=7"},
		{"both totals", `{"data":[{"name":"navigation","values":[{"value":7}],"total_value":{"value":8}}]}`, "reach=1 navigation=8"},
		{"breakdown without results", `{"data":[{"name":"navigation","total_value":{"value":7,"breakdowns":[{}]}}]}`, "reach=1 navigation=7"},
		{"all names in capitals", `{"data":[{"name":"navigation","total_value":{"value":"7","breakdowns":[{"results":[` +
			`{"dimension_values":["AUTOMATIC_FORWARD"],"value":1},{"dimension_values":["TAP_BACK"],"value":2},{"dimension_values":["TAP_EXIT"],"value":"3"},` +
			`{"dimension_values":["TAP_FORWARD"],"value":4},{"dimension_values":["SWIPE_BACK"],"value":5},{"dimension_values":["SWIPE_DOWN"],"value":6},` +
			`{"dimension_values":["SWIPE_FORWARD"],"value":7},{"dimension_values":["SWIPE_UP"],"value":8}]}]}}]}`,
			"reach=1 navigation=7 automatic_forward=1 tap_back=2 tap_exit=3 tap_forward=4 swipe_back=5 swipe_down=6 swipe_forward=7 swipe_up=8"},
		{"a name that is not known", `{"data":[{"name":"navigation","total_value":{"value":7,"breakdowns":[{"results":[` +
			`{"dimension_values":["shake"],"value":1},{"dimension_values":[],"value":1},{"value":1},null,{"dimension_values":["tap_back"]}]}]}}]}`,
			"reach=1 navigation=7 tap_back=null"},
	} {
		body := `{"parts":[{"status":200,"body":{"data":[{"name":"reach","values":[{"value":1}]},{"name":"shoes","values":[{"value":1}]}]}},{"status":400,"body":` + tt.navigation + `}]}`
		if err := classifyOf(story, providertest.Answer(200, []byte(body))); err != nil {
			t.Errorf("%s: Judge: %v", tt.name, err)
		}
		b, err := parseOf(story, []byte(body))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.Join(pairs(b.Logs[0]), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestStoryJoin(t *testing.T) {
	c := New("").Calls[social.StoryInsights]
	answer := func(status int, body string) providers.Answer { return providertest.Answer(status, []byte(body)) }
	const counts, navigation = `{"data":[{"name":"reach","values":[{"value":1}]}]}`, `{"data":[{"name":"navigation","total_value":{"value":7}}]}`
	for _, tt := range []struct {
		name          string
		first, second providers.Answer
		status        int
		body, want    string
	}{
		{"both", answer(200, counts), answer(200, navigation), 200,
			`{"parts":[{"status":200,"body":` + counts + `},{"status":200,"body":` + navigation + `}]}`, "reach=1 navigation=7"},
		{"no navigation", answer(200, counts), answer(500, "<html>"), 200,
			`{"parts":[{"status":200,"body":` + counts + `},{"status":500,"body":"<html>"}]}`, "reach=1"},
		{"no second answer", answer(200, counts), providers.Answer{}, 200,
			`{"parts":[{"status":200,"body":` + counts + `},{"status":0,"body":null}]}`, "reach=1"},
		{"navigation alone", answer(400, `{"error":{"code":10}}`), answer(200, navigation), 400, `{"error":{"code":10}}`, ""},
		{"no first answer", providers.Answer{}, answer(200, navigation), 0, ``, ""},
	} {
		a := c.Join(story, []providers.Answer{tt.first, tt.second})
		if a.Status != tt.status || string(a.Body) != tt.body {
			t.Errorf("%s: %d %s, want %d %s", tt.name, a.Status, a.Body, tt.status, tt.body)
		}
		judged := classifyOf(story, a)
		if (judged == nil) != (tt.want != "") {
			t.Errorf("%s: Judge: %v", tt.name, judged)
		}
		if tt.want == "" {
			continue
		}
		if b, err := parseOf(story, a.Body); err != nil || strings.Join(pairs(b.Logs[0]), " ") != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, providertest.Text(b), err, tt.want)
		}
	}
}

// The outcome table of 8.10, row by row, and what it leaves to all calls.
func TestStoryOutcomes(t *testing.T) {
	graph := func(code int, message, more string) string {
		return fmt.Sprintf(`{"error":{"message":%q,"type":"OAuthException","code":%d%s}}`, message, code, more)
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
		{"empty data", 200, `{"data":[]}`, providers.ErrGone, 200, "Profile Insights Missing"},
		{"empty data, joined", 200, `{"parts":[{"status":200,"body":{"data":[]}},{"status":200,"body":{"data":[{"name":"navigation"}]}}]}`,
			providers.ErrGone, 200, "Profile Insights Missing"},
		{"missing", 400, graph(100, "It said no", `,"error_subcode":33`), providers.ErrGone, 400, "Story ID doesn't exist"},
		{"token", 400, graph(190, "It said no", ""), providers.ErrRefused, 401, "Invalid access token"},
		{"too few viewers", 400, graph(10, "(#10) Not enough viewers for the media to show insights", ""), providers.ErrGone, 400, "Not enough viewers for the media to show insights"},
		{"code 10 in other words", 400, graph(10, "It said no", ""), providers.ErrGone, 400, "Not enough viewers for the media to show insights"},
		{"permission", 400, graph(10, "(#10) Application does not have permission for this action", ""), providers.ErrRefused, 400, wrong},
		{"other 100", 400, graph(100, "It said no", ""), providers.ErrGone, 400, wrong},
		{"other 400", 400, graph(9004, "It said no", ""), providers.ErrGone, 400, wrong},
		{"limit", 403, graph(4, "It said no", ""), providers.ErrLimited, 403, "Forbidden exception"},
		{"403", 403, `{}`, providers.ErrGone, 403, "Forbidden exception"},
		{"500", 500, graph(10, "It said no", ""), providers.ErrUpstream, 500, wrong},
		{"no data", 200, `{}`, providers.ErrMalformed, 200, "API Failure"},
		{"data an object", 200, `{"data":{}}`, providers.ErrMalformed, 200, "API Failure"},
		{"no parts", 200, `{"parts":[]}`, providers.ErrMalformed, 200, "API Failure"},
		{"a page, joined", 200, `{"parts":[{"status":200,"body":"<html>"},{"status":200,"body":{"data":[]}}]}`, providers.ErrMalformed, 200, "API Failure"},
	} {
		err := classifyOf(story, providertest.Answer(tt.status, []byte(tt.body)))
		if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message {
			t.Errorf("%s: %v, want %v: (%d, '%s')", tt.name, err, tt.kind, tt.shown, tt.message)
			continue
		}
		if err.Expired != (tt.kind == providers.ErrRefused) {
			t.Errorf("%s: expired %v", tt.name, err.Expired)
		}
	}
}

func TestStoryHard(t *testing.T) {
	body := providertest.Read(t, "testdata/story_parts.json")
	first, second := []any{"parts", 0, "body", "data"}, []any{"parts", 1, "body", "data", 0}
	in := func(path []any, more ...any) []any { return append(slices.Clone(path), more...) }
	for _, tt := range []struct {
		path  []any
		value any
		names string
	}{
		{first, nil, "parts.0.body.data is missing"},
		{first, "x", "parts.0.body.data is text"},
		{in(first, 1), nil, "parts.0.body.data.1.name is missing"},
		{in(first, 1, "name"), nil, "parts.0.body.data.1.name is missing"},
		{in(first, 1, "name"), true, "parts.0.body.data.1.name is a boolean"},
		{in(first, 1, "values", 0, "value"), "many", "parts.0.body.data.1.values.0.value of reach"},
		{in(second, "name"), []int{1}, "parts.1.body.data.0.name is a list"},
		{in(second, "total_value", "value"), "many", "parts.1.body.data.0.total_value.value of navigation"},
		{in(second, "total_value", "breakdowns", 0, "results", 1, "value"), []int{1}, "parts.1.body.data.0.total_value.breakdowns.0.results.1.value"},
	} {
		for _, broken := range withouts(t, body, tt.path, tt.value) {
			_, err := parseOf(story, broken)
			if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("%v = %v: %v, want a malformed error with %q", tt.path, tt.value, err, tt.names)
			}
		}
	}
}

// Real answers say what was read off them.
func TestStoryFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for file, want := range map[string]string{
		"lifetime_happy_path.json":  "replies=0 impressions=105 reach=105 follows=5 profile_visits=23 shares=0 interactions=4",
		"navigation_breakdown.json": "navigation=25 tap_forward=19 tap_back=4 tap_exit=1 swipe_forward=1",
	} {
		body := providertest.Read(t, dir, "graphapi/story_insights", file)
		if err := classifyOf(story, providertest.Answer(200, body)); err != nil {
			t.Errorf("%s: Judge: %v", file, err)
		}
		b, err := parseOf(story, body)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := strings.Join(pairs(b.Logs[0]), " "); got != want {
			t.Errorf("%s: got %s, want %s", file, got, want)
		}
	}
}
