package ytapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 5, Source: source, Fields: map[string]providers.Secret{"key": "AIzaSecretSecretSecret"}}

var ask = social.Ask{Fetch: social.ChannelsByIDs, Keys: []string{"UCexampleChannel00000001"}}

func call() providers.Call { return New("").Calls[social.ChannelsByIDs] }

func classify(a providers.Answer) *providers.Error {
	return providers.Classify(New(""), call(), ask, a)
}

func judgeAndParse(body []byte) (social.Batch, error) {
	if err := classify(providertest.Answer(200, body)); err != nil {
		return social.Batch{}, err
	}
	return call().Parse(ask, providertest.At, body)
}

func TestProvider(t *testing.T) {
	providertest.Run(t, New(""), cred, providertest.Case{
		Fetch: social.ChannelsByIDs,
		Keys:  ask.Keys,
		Bad:   [][]string{{"UC a"}, {"UCa", "UCb,UCc"}, {"UCa", ""}, slices.Repeat([]string{"UCa"}, 51)},
		Good:  providertest.Read(t, "testdata/channels.json"),
	})
}

func TestRequest(t *testing.T) {
	ids := slices.Repeat([]string{"UCa_-1"}, 40)
	r, err := call().Request(cred, social.Ask{Keys: ids})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"part": "snippet,statistics,contentDetails", "id": strings.Join(ids, ","), "maxResults": "50", "key": "AIzaSecretSecretSecret",
	}
	for k, v := range want {
		if got := r.Query.Get(k); got != v {
			t.Errorf("%s is %q, want %q", k, got, v)
		}
	}
	if r.Path != "/youtube/v3/channels" || len(r.Query) != len(want) || len(r.Header) != 0 || r.Method != "" {
		t.Errorf("%s %s, %d parameters, headers %v", r.Method, r.Path, len(r.Query), r.Header)
	}
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/channels*.json") {
		b, err := judgeAndParse(providertest.Read(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := providertest.Sound(b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		providertest.Golden(t, *update, file+".golden", b)
	}
}

// The golden of 4.1, typed here a second time.
func TestExpected(t *testing.T) {
	b, err := judgeAndParse(providertest.Read(t, "testdata/channels.json"))
	if err != nil || len(b.Logs) != 1 {
		t.Fatal(len(b.Logs), err)
	}
	l := b.Logs[0]
	if l.Kind != social.Profile || l.Key != "UCexampleChannel00000001" || l.Owner != "" || l.Handle != "" || l.Source != "ytapi" || b.More {
		t.Errorf("kind %q, key %q, owner %q, handle %q, source %q, more %v", l.Kind, l.Key, l.Owner, l.Handle, l.Source, b.More)
	}
	want := []string{
		"video_count=321", "subscriber_count=8900", "hidden_subscriber_count=0", "view_count=1234567",
		`title="Sample Kitchen"`, `description="Everyday recipes"`, `custom_url="@samplekitchen"`,
		"taken_at_timestamp=1425445567", "thumbnails=text", `thumbnail="https://yt3.ggpht.com/ex=s88"`,
		`country="IN"`, `uploads_playlist_id="UUexampleChannel00000001"`,
	}
	var got []string
	for _, kv := range append(append(social.KVs(nil), l.Metrics...), l.Dimensions...) {
		if kv.Key == "thumbnails" {
			kv.Value = []byte("text")
		}
		got = append(got, kv.Key+"="+string(kv.Value))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	const thumbnails = `{"default": {"url": "https://yt3.ggpht.com/ex=s88", "width": 88, "height": 88}, "high": {"url": "https://yt3.ggpht.com/ex=s800", "width": 800, "height": 800}}`
	if got := l.Dimensions.Text("thumbnails"); got != thumbnails {
		t.Errorf("thumbnails %q, want %q", got, thumbnails)
	}
}

func TestJudge(t *testing.T) {
	google := func(reason string) string {
		return fmt.Sprintf(`{"error":{"code":403,"message":"no","errors":[{"domain":"x","reason":%q,"message":"no"}]}}`, reason)
	}
	const quota, wrong = "Quota exceeded", "Something went wrong"
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		kind    error
		shown   int
		message string
	}{
		{"items", 200, `{"items":[]}`, nil, 0, ""},
		{"a bare list", 200, `[]`, nil, 0, ""},
		{"no items", 200, `{"kind":"youtube#channelListResponse"}`, providers.ErrGone, 404, wrong},
		{"items null", 200, `{"items":null}`, providers.ErrGone, 404, wrong},
		{"items an object", 200, `{"items":{}}`, providers.ErrMalformed, 200, "API Failure"},
		{"a number", 200, `7`, providers.ErrMalformed, 200, "API Failure"},
		{"200 with an error", 200, google("backendError"), providers.ErrUpstream, 200, wrong},
		{"200 with an error that is text", 200, `{"error":"no"}`, providers.ErrUpstream, 200, wrong},
		{"quota", 403, google("quotaExceeded"), providers.ErrLimited, 403, quota},
		{"day", 403, google("dailyLimitExceeded"), providers.ErrLimited, 403, quota},
		{"rate", 403, google("rateLimitExceeded"), providers.ErrLimited, 403, quota},
		{"user rate", 403, google("userRateLimitExceeded"), providers.ErrLimited, 403, quota},
		{"status alone", 403, `{"error":{"status":"RESOURCE_EXHAUSTED"}}`, providers.ErrLimited, 403, quota},
		{"sample of section 4", 403, `{"error":{"code":403,"message":"quota exhausted","status":"PERMISSION_DENIED","errors":[{"domain":"youtube.quota","reason":"quotaExceeded","message":"quota exhausted"}]}}`, providers.ErrLimited, 403, quota},
		{"429", 429, google("other"), providers.ErrLimited, 429, quota},
		{"API off", 403, google("accessNotConfigured"), providers.ErrRefused, 403, wrong},
		{"suspended", 403, google("channelSuspended"), providers.ErrGone, 404, wrong},
		{"403 without reason", 403, `{}`, providers.ErrGone, 404, wrong},
		{"403 in HTML", 403, `<html>`, providers.ErrGone, 404, wrong},
		{"bad key", 400, google("keyInvalid"), providers.ErrRefused, 400, wrong},
		{"bad key, details", 400, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","errors":[{"reason":"badRequest"}],"status":"INVALID_ARGUMENT","details":[{"@type":"x","reason":"API_KEY_INVALID"}]}}`, providers.ErrRefused, 400, wrong},
		{"bad key, message", 400, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","errors":[{"reason":"badRequest"}]}}`, providers.ErrRefused, 400, wrong},
		{"our request", 400, google("missingRequiredParameter"), providers.ErrUpstream, 400, wrong},
		{"400", 400, google("other"), providers.ErrGone, 404, wrong},
		{"error as text", 400, `{"error":"no"}`, providers.ErrGone, 404, wrong},
		{"not found", 404, google("channelNotFound"), providers.ErrGone, 404, wrong},
		{"backend", 500, google("backendError"), providers.ErrUpstream, 500, wrong},
		{"503", 503, google("other"), providers.ErrUpstream, 503, wrong},
		{"odd reasons", 400, `{"error":{"errors":[{"reason":7},{"reason":{}},"x"],"details":{},"status":[]}}`, providers.ErrGone, 404, wrong},
		{"a reason of two lines", 400, google("a\nb"), providers.ErrGone, 404, wrong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message {
				t.Errorf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.shown, tt.message)
			}
			if strings.ContainsAny(err.Detail, "\n\r") {
				t.Errorf("detail %q has more than one line", err.Detail)
			}
		})
	}
}

func TestHard(t *testing.T) {
	body := providertest.Read(t, "testdata/channels.json")
	item := []any{"items", 0}
	in := func(path ...any) []any { return append(slices.Clone(item), path...) }
	for _, tt := range []struct {
		path   []any
		values [][]any
		want   string
	}{
		{[]any{"items"}, [][]any{nil, {nil}, {"x"}, {map[string]int{}}}, "items"},
		{in("id"), [][]any{nil, {nil}, {""}, {true}, {[]int{}}, {map[string]int{}}}, "items.0.id"},
		{item, [][]any{{nil}, {"x"}, {[]int{}}}, "items.0.id"},
		{in("snippet", "publishedAt"), [][]any{{""}, {"yesterday"}, {7}}, "items.0.snippet.publishedAt"},
		{in("statistics", "viewCount"), [][]any{{""}, {"12.5"}, {"1.2M"}, {[]int{}}}, "items.0.statistics.viewCount"},
	} {
		for _, value := range tt.values {
			_, err := call().Parse(ask, providertest.At, providertest.Without(t, body, tt.path, value...))
			if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), "ytapitoken fetch_profiles_by_ids: "+tt.want) {
				t.Errorf("%v = %v: %v, want a malformed error that names %s", tt.path, value, err, tt.want)
			}
		}
	}
	// What the contract requires and this parser does without.
	for key, nulls := range map[string]string{
		"snippet":        "title description custom_url taken_at_timestamp thumbnails thumbnail country",
		"contentDetails": "uploads_playlist_id",
		"statistics":     "video_count subscriber_count hidden_subscriber_count view_count",
	} {
		b, err := judgeAndParse(providertest.Without(t, body, in(key)))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("no %s: %v", key, err)
			continue
		}
		var got []string
		for _, kv := range append(append(social.KVs(nil), b.Logs[0].Metrics...), b.Logs[0].Dimensions...) {
			if string(kv.Value) == "null" {
				got = append(got, kv.Key)
			}
		}
		if strings.Join(got, " ") != nulls {
			t.Errorf("no %s: null are %q, want %s", key, got, nulls)
		}
	}
}

func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	files := providertest.Glob(t, filepath.Join(dir, "youtube-data-v3/channels/*.json"))
	if len(files) < 6 {
		t.Errorf("%d files, want 6", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body := providertest.Read(t, file)
			b, err := judgeAndParse(body)
			if filepath.Base(file) == "unknown_channel_no_items.json" {
				if !errors.Is(err, providers.ErrGone) {
					t.Errorf("%v, want gone", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := providertest.Sound(b); err != nil {
				t.Error(err)
			}
			root := providertest.Decode(t, body)
			items, ok := root.([]any)
			if !ok {
				items = providertest.Lookup(root, "items").([]any)
			}
			if len(items) == 0 || len(b.Logs) != len(items) {
				t.Fatalf("%d logs, want %d", len(b.Logs), len(items))
			}
			for i, l := range b.Logs {
				item := items[i]
				if want := providertest.Lookup(item, "id"); l.Key != want {
					t.Errorf("key %q, want %q", l.Key, want)
				}
				if want := providertest.Lookup(item, "snippet", "title"); l.Dimensions.Text("title") != want || want == "" {
					t.Errorf("title %q, want %q", l.Dimensions.Text("title"), want)
				}
				for key, member := range map[string]string{"subscriber_count": "subscriberCount", "view_count": "viewCount", "video_count": "videoCount"} {
					want := "null"
					if v := providertest.Lookup(item, "statistics", member); v != nil {
						want = fmt.Sprint(v)
					}
					if got, _ := l.Metrics.Get(key); string(got) != want {
						t.Errorf("%s: %s is %s, want %s", l.Key, key, got, want)
					}
				}
				var thumbnails, want any
				if err := json.Unmarshal([]byte(l.Dimensions.Text("thumbnails")), &thumbnails); err != nil {
					t.Errorf("thumbnails: %v", err)
				}
				raw, _ := json.Marshal(providertest.Lookup(item, "snippet", "thumbnails"))
				_ = json.Unmarshal(raw, &want)
				if fmt.Sprint(thumbnails) != fmt.Sprint(want) {
					t.Errorf("thumbnails %v, want %v", thumbnails, want)
				}
			}
		})
	}
}

func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	want := map[string]struct {
		status int
		kind   error
	}{
		"code400_key_invalid.json":         {400, providers.ErrRefused},
		"code400_no_filter.json":           {400, providers.ErrUpstream},
		"code403_comments_disabled.json":   {403, providers.ErrGone},
		"code403_quota_exceeded.json":      {403, providers.ErrLimited},
		"code404_channel_not_found.json":   {404, providers.ErrGone},
		"error_as_string_constructed.json": {400, providers.ErrGone},
	}
	files := providertest.Glob(t, filepath.Join(dir, "errors/youtube/*.json"))
	for _, file := range files {
		w, ok := want[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: no row says what it is", file)
			continue
		}
		if err := classify(providertest.Answer(w.status, providertest.Read(t, file))); !errors.Is(err, w.kind) {
			t.Errorf("%s: %v, want %v", file, err, w.kind)
		}
	}
	if len(files) < len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		f.Add(200, providertest.Read(f, file))
	}
	f.Add(200, []byte(`[{"id":"a","statistics":{"viewCount":"1","hiddenSubscriberCount":true}}]`))
	f.Add(403, []byte(`{"error":{"errors":[{"reason":"quotaExceeded"}]}}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if err := classify(providertest.Answer(status, body)); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("Judge: %q has more than one line", err)
		}
		b, err := call().Parse(ask, providertest.At, body)
		if err != nil && !errors.Is(err, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", err)
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkParse reads a batch of 40 channels, about 40 KB.
func BenchmarkParse(b *testing.B) {
	body := providertest.Read(b, "testdata/channels.json")
	begin := bytes.IndexByte(body, '[') + 1
	end := bytes.LastIndexByte(body, ']')
	many := bytes.Repeat(append([]byte{','}, body[begin:end]...), 40)[1:]
	body = slices.Concat(body[:begin], many, body[end:])
	if !json.Valid(body) {
		b.Fatal("the answer to read is no JSON")
	}
	parse := call().Parse
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := parse(ask, providertest.At, body); err != nil || len(got.Logs) != 40 {
			b.Fatal(len(got.Logs), err)
		}
	}
}
