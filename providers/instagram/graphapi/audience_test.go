package graphapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var audience = social.Ask{Fetch: social.ProfileInsights, Keys: []string{"northlake.cafe"}}

func TestAudienceRequests(t *testing.T) {
	const begin, end = "access_token=EAABsecretsecretsecret&breakdown=", "&metric_type=total_value&period=lifetime&timeframe=last_90_days"
	var full []string
	for _, metric := range []string{"follower_demographics", "reached_audience_demographics", "engaged_audience_demographics"} {
		for _, breakdown := range []string{"country", "city", "gender%2C+age"} {
			full = append(full, begin+breakdown+"&metric="+metric+end)
		}
	}
	for _, tt := range []struct {
		keys []string
		want []string
	}{
		{[]string{"northlake.cafe"}, full},
		{[]string{"northlake.cafe", "subset"}, full[1:3]},
	} {
		c, a := New("").Calls[social.ProfileInsights], social.Ask{Fetch: social.ProfileInsights, Keys: tt.keys}
		first, err := c.Request(cred, a)
		if err != nil {
			t.Fatal(err)
		}
		more, err := c.More(cred, a)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range append([]providers.Request{first}, more...) {
			got = append(got, r.Query.Encode())
			if r.Path != "/v17.0/17841400000009999/insights" || len(r.Header) != 0 || r.Method != "" {
				t.Errorf("%q: %s %s", tt.keys, r.Method, r.Path)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q:\n got %q\nwant %q", tt.keys, got, tt.want)
		}
	}
	if _, err := New("").Calls[social.ProfileInsights].More(cred, social.Ask{Keys: []string{"northlake.cafe", "all"}}); !errors.Is(err, providers.ErrGone) {
		t.Errorf("more of an unknown kind: %v, want gone", err)
	}
}

// The "expected parse" of 8.8, typed here a second time: reached and engaged not
// swapped (Q-GA-8), nothing that was not delivered (Q-GA-9).
func TestAudienceExpected(t *testing.T) {
	const ages = `audience_gender_age={"female":{"18-24":1200,"25-34":2100},"male":{"18-24":900},"uncategorized":{"25-34":75}}`
	all := []string{`audience_country={"IN":8000,"US":2100}`, `audience_city={"Mumbai, Maharashtra":1400}`, ages,
		`engaged_audience_country={"IN":57}`, `reached_audience_country={"IN":311}`}
	for file, want := range map[string][]string{
		"audience_parts.json":  all,
		"audience_merged.json": all,
		"audience_one.json":    {ages},
	} {
		b, err := parseOf(audience, providertest.Read(t, "testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		l := b.Logs[0]
		if got := pairs(l); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", file, got, want)
		}
		if len(b.Logs) != 1 || l.Kind != social.Insights || l.Key != "northlake.cafe" || l.Handle != "northlake.cafe" || l.Source != "graphapi" || len(l.Metrics) != 0 || b.More {
			t.Errorf("%s: %s", file, providertest.Text(b))
		}
	}
}

// What breakdowns make of their parts (8.9).
func TestBreakdowns(t *testing.T) {
	result := func(value string, keys ...string) string {
		k, _ := json.Marshal(keys)
		return `{"dimension_values":` + string(k) + `,"value":` + value + `}`
	}
	breakdown := func(keys string, results ...string) string {
		return `{"dimension_keys":[` + keys + `],"results":[` + strings.Join(results, ",") + `]}`
	}
	for _, tt := range []struct{ name, breakdowns, want string }{
		{"order of the first", breakdown(`"city"`, result("1", "b"), result("2", "a"), result("3", "b")), `audience_city={"b":3,"a":2}`},
		{"a later one takes its place", breakdown(`"country"`, result("1", "IN"), result("2", "US")) + "," + breakdown(`"country"`, result("3", "NL")), `audience_country={"NL":3}`},
		{"a later one without results", breakdown(`"country"`, result("1", "IN")) + "," + breakdown(`"country"`), `audience_country={"IN":1}`},
		{"a later one of genders is added", breakdown(`"gender","age"`, result("1", "M", "18-24"), result("2", "F", "18-24")) + "," +
			breakdown(`"gender","age"`, result("3", "M", "18-24"), result("4", "M", "25-34")),
			`audience_gender_age={"male":{"18-24":3,"25-34":4},"female":{"18-24":2}}`},
		{"an unknown letter", breakdown(`"gender","age"`, result("1", "X", "18-24"), result("2", "F", "18-24")), `audience_gender_age={"female":{"18-24":2}}`},
		{"nothing but unknown letters", breakdown(`"gender","age"`, result("1", "X", "18-24")), ""},
		{"gender alone", breakdown(`"gender"`, result("1", "F")), ""},
		{"another first key", breakdown(`"sex","age"`, result("1", "F", "18-24")), `audience_gender_age={"female":{"18-24":1}}`},
		{"age before gender", breakdown(`"age","gender"`, result("1", "18-24", "F")), ""},
		{"age alone", breakdown(`"age"`, result("1", "18-24")), ""},
		{"another kind", breakdown(`"follow_type"`, result("1", "FOLLOWER")), ""},
		{"no kind", breakdown(``, result("1", "IN")), ""},
		{"kinds that are no text", breakdown(`null,7`, result("1", "IN")), ""},
		{"counts as text and null", breakdown(`"country"`, result(`"1"`, "IN"), result("null", "US"), `{"dimension_values":["NL"]}`), `audience_country={"IN":1}`},
		{"results without a name", breakdown(`"country"`, result("1"), result("1", ""), `{"value":1}`, `null`, `7`), ""},
		{"no results", `{"dimension_keys":["country"]}`, ""},
		{"null results", `{"dimension_keys":["country"],"results":null}`, ""},
		{"quotes in a name", breakdown(`"city"`, `{"dimension_values":["\"S\u00e3o\" \/ x"],"value":1}`), `audience_city={"\"São\" / x":1}`},
	} {
		for _, body := range []string{
			`{"data":[{"name":"follower_demographics","total_value":{"breakdowns":[` + tt.breakdowns + `]}}]}`,
			`{"follower_demographics":[` + tt.breakdowns + `]}`,
			`{"parts":[{"status":200,"body":{"data":[{"name":"follower_demographics","total_value":{"breakdowns":[` + tt.breakdowns + `]}}]}}]}`,
		} {
			b, err := parseOf(audience, []byte(body))
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			if got := strings.Join(pairs(b.Logs[0]), " "); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			judged := classifyOf(audience, providertest.Answer(200, []byte(body)))
			if (judged == nil) != (tt.want != "") || judged != nil && (!errors.Is(judged, providers.ErrGone) || judged.Message != "Profile Insights Missing") {
				t.Errorf("%s: Judge: %v", tt.name, judged)
			}
		}
	}
}

func TestAudienceJoin(t *testing.T) {
	c := New("").Calls[social.ProfileInsights]
	good := providertest.Answer(200, bytes.TrimSpace(providertest.Read(t, "testdata/audience_one.json")))
	good.Remote = "of the good one"
	fail := func(status, code int) providers.Answer {
		return providertest.Answer(status, fmt.Appendf(nil, `{"error":{"message":"It said no","code":%d}}`, code))
	}
	for _, tt := range []struct {
		name    string
		answers []providers.Answer
		kind    error
		want    string // error, or the parts
	}{
		{"first failed", []providers.Answer{fail(400, 190), good}, nil, "400 200"},
		{"none came but one", []providers.Answer{{}, good, {}}, nil, "0 200 0"},
		{"all good", []providers.Answer{good, good}, nil, "200 200"},
		{"none, the last limited", []providers.Answer{fail(400, 190), fail(400, 4)}, providers.ErrLimited, "(400, 'Something went wrong')"},
		{"none, the last refused", []providers.Answer{fail(400, 4), fail(400, 190)}, providers.ErrRefused, "(401, 'Invalid access token')"},
		{"none, the last did not come", []providers.Answer{fail(400, 190), {}}, providers.ErrUpstream, "(0, 'Something went wrong')"},
	} {
		a := c.Join(audience, tt.answers)
		err := classifyOf(audience, a)
		if tt.kind != nil {
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %v: %s", tt.name, err, tt.kind, tt.want)
			}
			continue
		}
		if err != nil || a.Status != 200 || a.Remote != good.Remote || !a.At.Equal(good.At) {
			t.Errorf("%s: %d from %q, %v", tt.name, a.Status, a.Remote, err)
			continue
		}
		var got []string
		list, _ := providertest.Lookup(providertest.Decode(t, a.Body), "parts").([]any)
		for _, p := range list {
			got = append(got, fmt.Sprint(providertest.Lookup(p, "status")))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: parts %s, want %s", tt.name, s, tt.want)
		}
		if b, err := parseOf(audience, a.Body); err != nil || len(b.Logs[0].Dimensions) != 1 {
			t.Errorf("%s: %s, %v", tt.name, providertest.Text(b), err)
		}
	}
}

// The outcome table of 8.8, row by row, and what it leaves to all calls.
func TestAudienceOutcomes(t *testing.T) {
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
		{"no such account", 400, graph(110, ""), providers.ErrGone, 400, "Invalid username"},
		{"missing", 400, graph(100, `,"error_subcode":33`), providers.ErrGone, 400, "User ID doesn't exist"},
		{"token", 400, graph(190, ""), providers.ErrRefused, 401, "Invalid access token"},
		{"permission", 400, graph(10, ""), providers.ErrRefused, 400, wrong},
		{"other 400", 400, graph(100, ""), providers.ErrGone, 400, wrong},
		{"limit", 403, graph(4, ""), providers.ErrLimited, 403, "Forbidden exception"},
		{"403", 403, `{}`, providers.ErrGone, 403, "Forbidden exception"},
		{"500", 500, graph(190, ""), providers.ErrUpstream, 500, wrong},
		{"empty data", 200, `{"data":[]}`, providers.ErrGone, 200, "Profile Insights Missing"},
		{"empty data, joined", 200, `{"parts":[{"status":400,"body":{"error":{"code":4}}},{"status":200,"body":{"data":[]}}]}`, providers.ErrGone, 200, "Profile Insights Missing"},
		{"another metric", 200, `{"data":[{"name":"reach","values":[{"value":1}]}]}`, providers.ErrGone, 200, "Profile Insights Missing"},
		{"no data", 200, `{}`, providers.ErrMalformed, 200, "API Failure"},
		{"data an object", 200, `{"data":{}}`, providers.ErrMalformed, 200, "API Failure"},
		{"pages, joined", 200, `{"parts":[{"status":200,"body":"<html>"},{"status":200,"body":null}]}`, providers.ErrMalformed, 200, "API Failure"},
	} {
		err := classifyOf(audience, providertest.Answer(tt.status, []byte(tt.body)))
		if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message {
			t.Errorf("%s: %v, want %v: (%d, '%s')", tt.name, err, tt.kind, tt.shown, tt.message)
			continue
		}
		if err.Expired != (tt.kind == providers.ErrRefused) {
			t.Errorf("%s: expired %v", tt.name, err.Expired)
		}
	}
}

func TestAudienceHard(t *testing.T) {
	for _, tt := range []struct {
		file  string
		path  []any
		names string
	}{
		{"audience_one.json", []any{"data", 0, "total_value", "breakdowns", 0}, "data.0.total_value.breakdowns.0."},
		{"audience_merged.json", []any{"reached_audience_demographics", 0}, "reached_audience_demographics.0."},
		{"audience_parts.json", []any{"parts", 6, "body", "data", 0, "total_value", "breakdowns", 0}, "parts.6.body.data.0.total_value.breakdowns.0."},
	} {
		body := providertest.Read(t, "testdata", tt.file)
		keys := append(slices.Clone(tt.path), "dimension_keys")
		value := append(slices.Clone(tt.path), "results", 0, "value")
		for _, broken := range []struct {
			body  []byte
			names string
		}{
			{providertest.Without(t, body, keys), tt.names + "dimension_keys is missing"},
			{providertest.Without(t, body, keys, nil), tt.names + "dimension_keys is missing"},
			{providertest.Without(t, body, keys, "country"), tt.names + "dimension_keys is text"},
			{providertest.Without(t, body, value, "many"), tt.names + "results.0.value"},
			{providertest.Without(t, body, value, []int{1}), tt.names + "results.0.value"},
		} {
			_, err := parseOf(audience, broken.body)
			judged := classifyOf(audience, providertest.Answer(200, broken.body))
			for _, err := range []error{err, judged} {
				if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), broken.names) {
					t.Errorf("%s: %v, want a malformed error with %q", tt.file, err, broken.names)
				}
			}
		}
	}
}

// Real answers: those about an audience, in the form of 8.8 and in the one
// before it, have each count of theirs; the others say nothing of one.
func TestAudienceFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	want := map[string]string{
		"follower_demographics_city.json":    "audience_city",
		"audience_lifetime_2020_locale.json": "audience_country audience_city audience_gender_age",
		"audience_lifetime_2023.json":        "audience_country audience_city audience_gender_age",
		"daily_values.json":                  "",
		"daily_values_2023_paging.json":      "",
		"follower_count_day.json":            "",
	}
	for _, file := range providertest.Glob(t, filepath.Join(dir, "graphapi/account_insights/*.json")) {
		keys, ok := want[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: no row says what it is", file)
			continue
		}
		body := providertest.Read(t, file)
		b, err := parseOf(audience, body)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := providertest.Sound(b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		judged := classifyOf(audience, providertest.Answer(200, body))
		if (judged == nil) != (keys != "") || judged != nil && !errors.Is(judged, providers.ErrGone) {
			t.Errorf("%s: Judge: %v", file, judged)
		}
		var got []string
		for _, kv := range b.Logs[0].Dimensions {
			got = append(got, kv.Key)
			if read, sent := flatten(providertest.Decode(t, kv.Value)), counted(providertest.Decode(t, body), kv.Key); !slices.Equal(read, sent) {
				t.Errorf("%s: %s:\n got %q\nwant %q", file, kv.Key, read, sent)
			}
		}
		if s := strings.Join(got, " "); s != keys {
			t.Errorf("%s: %q, want %q", file, s, keys)
		}
	}
}

// flatten is the counts of an object, or of those in it, sorted.
func flatten(v any) []string {
	var out []string
	for k, v := range v.(map[string]any) {
		if m, ok := v.(map[string]any); ok {
			for _, s := range flatten(m) {
				out = append(out, strings.ToUpper(k[:1])+"."+s)
			}
			continue
		}
		out = append(out, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(out)
	return out
}

// counted is the counts that an answer has under a key, in either form.
func counted(root any, key string) []string {
	for i := range 4 {
		n := providertest.Lookup(root, "data", i)
		if providertest.Lookup(n, "name") == key {
			return flatten(providertest.Lookup(n, "values", 0, "value"))
		}
	}
	var out []string
	results, _ := providertest.Lookup(root, "data", 0, "total_value", "breakdowns", 0, "results").([]any)
	for _, r := range results {
		out = append(out, fmt.Sprintf("%v=%v", providertest.Lookup(r, "dimension_values", 0), providertest.Lookup(r, "value")))
	}
	slices.Sort(out)
	return out
}
