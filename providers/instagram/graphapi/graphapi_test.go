package graphapi

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

	"github.com/tidwall/gjson"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/providertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 3, Source: source, Handle: "northlake.cafe", Fields: map[string]providers.Secret{
	"token": "EAABsecretsecretsecret", "user_id": "17841400000009999",
}}

var ask = social.Ask{Fetch: social.ProfileByHandle, Keys: []string{"northlake.cafe"}}

func call() providers.Call { return New("").Calls[social.ProfileByHandle] }

func classify(a providers.Answer) *providers.Error { return classifyOf(ask, a) }

func classifyOf(ask social.Ask, a providers.Answer) *providers.Error {
	p := New("")
	return providers.Classify(p, p.Calls[ask.Fetch], ask, a)
}

func parseOf(ask social.Ask, body []byte) (social.Batch, error) {
	return New("").Calls[ask.Fetch].Parse(ask, providertest.At, body)
}

// samples are the good answers of testdata and what they answer. The first of a
// fetch type is the one that its tests take apart.
var samples = []struct {
	file string
	ask  social.Ask
}{
	{"profile.json", ask},
	{"posts.json", posts},
	{"stories.json", stories},
	{"stories_next.json", nextStories},
	{"insights_reels.json", reel},
	{"insights_image.json", reel},
	{"insights_carousel.json", reel},
	{"story_parts.json", story},
	{"story_merged.json", story},
	{"audience_parts.json", audience},
	{"audience_merged.json", audience},
	{"audience_one.json", audience},
}

func sample(t testing.TB, f social.Fetch) []byte {
	for _, s := range samples {
		if s.ask.Fetch == f {
			return providertest.Read(t, "testdata", s.file)
		}
	}
	t.Fatalf("no sample of %s", f)
	return nil
}

func TestProvider(t *testing.T) {
	handles := [][]string{{"a){id}"}, {"a b"}, {"übung"}, {strings.Repeat("a", 31)}, {"a\nb"}, {"a/b"}}
	bad := map[social.Fetch][][]string{
		social.ProfileByHandle: handles,
		social.PostsByHandle:   handles,
		social.Stories:         handles,
		social.ProfileInsights: append([][]string{{"northlake.cafe", "all"}, {"northlake.cafe", ""}, {"northlake.cafe", "subset", "subset"}}, handles...),
		social.PostInsights: {{"CxAmPle0012"}, {"CxAmPle0012", "", "reels"}, {"", "18000000000000012", "reels"}, {"CxAmPle0012", "me", "reels"},
			{"CxAmPle0012", "_18000000000000012", "reels"}, {"CxAmPle0012", "1/../2", "reels"}, {"CxAmPle0012", "18000000000000012", "story"}},
		social.StoryInsights: {{"me"}, {"_18000000000000077"}, {"1/../2"}, {"CxAmPle0012"}, {" 1"}},
	}
	var cases []providertest.Case
	for _, a := range []social.Ask{ask, posts, stories, reel, story, audience} {
		cases = append(cases, providertest.Case{Fetch: a.Fetch, Keys: a.Keys, Bad: bad[a.Fetch], Good: sample(t, a.Fetch)})
	}
	providertest.Run(t, New(""), cred, cases...)
}

func TestRequest(t *testing.T) {
	r, err := call().Request(cred, ask)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Path, "/v12.0/17841400000009999"; got != want {
		t.Errorf("path %q, want %q", got, want)
	}
	want := "business_discovery.username(northlake.cafe){id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count,media{id,user_id,username,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"
	if got := r.Query.Get("fields"); got != want {
		t.Errorf("fields %q, want %q", got, want)
	}
	if r.Query.Get("access_token") != "EAABsecretsecretsecret" || len(r.Query) != 2 || len(r.Header) != 0 || r.Method != "" {
		t.Errorf("request %v %v, want GET with fields and access_token and no headers", r.Method, r.Header)
	}
	bad := cred
	bad.Fields = map[string]providers.Secret{"token": "x", "user_id": "../me"}
	if _, err := call().Request(bad, ask); !errors.Is(err, providers.ErrRefused) {
		t.Errorf("user_id ../me: %v, want a refused error", err)
	}
}

func TestGolden(t *testing.T) {
	known := map[string]bool{"error_110.json": true, "debug_token.json": true}
	for _, s := range samples {
		known[s.file] = true
		file := filepath.Join("testdata", s.file)
		body := providertest.Read(t, file)
		if err := classifyOf(s.ask, providertest.Answer(200, body)); err != nil {
			t.Errorf("%s: Judge: %v", file, err)
		}
		b, err := parseOf(s.ask, body)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := providertest.Sound(b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		providertest.Golden(t, *update, file+".golden", b)
	}
	for _, file := range providertest.Glob(t, "testdata/*.json") {
		if !known[filepath.Base(file)] {
			t.Errorf("%s: no row says what it answers", file)
		}
	}
}

// The "expected parse" of 8.2, typed here a second time.
func TestExpected(t *testing.T) {
	b, err := parseOf(ask, sample(t, ask.Fetch))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := keys(b), "4811223344 CxAmPle0011 CxAmPle0012"; got != want {
		t.Fatalf("keys %q, want %q", got, want)
	}
	recent := compact(t, sample(t, ask.Fetch), "business_discovery.media.data")
	for i, want := range [][]string{
		{"media_count=412", "followers=15230", "following=310", `profile_id="4811223344"`, `handle="northlake.cafe"`,
			`profile_pic_url="https://cdn.example.net/p/nl.jpg"`, `bio="Coffee by the water"`, `full_name="Northlake Cafe"`,
			`external_url="https://northlake.example/"`, `fbid="17841400000000001"`, "recent_posts=" + recent, "recent_stories=null",
			`recent_posts_cursor="QVFIUexampleCursor1"`, "is_business_or_creator=true"},
		image,
		{"comments=41", "likes=2210", `handle="northlake.cafe"`, `post_id="18000000000000012"`,
			`display_url="https://cdn.example.net/m/12.mp4"`, "thumbnail_src=null", `post_type="reels"`,
			"taken_at_timestamp=1695196800", "content_type=null", "caption=null"},
	} {
		if got := pairs(b.Logs[i]); !slices.Equal(got, want) {
			t.Errorf("log %d:\n got %q\nwant %q", i, got, want)
		}
	}
	if b.Logs[0].Handle != "northlake.cafe" || b.Logs[1].Handle != "" || b.Logs[1].Owner != "" || b.More {
		t.Errorf("got %s", providertest.Text(b))
	}
}

// image is the first post of 8.2 and of 8.6.
var image = []string{"comments=12", "likes=340", `handle="northlake.cafe"`, `post_id="18000000000000011"`,
	`display_url="https://cdn.example.net/m/11.jpg"`, `thumbnail_src="https://cdn.example.net/m/11.jpg"`, `post_type="image"`,
	"taken_at_timestamp=1695550000", "content_type=null", `caption="New beans are in #coffee #lake"`}

// compact is a part of body without its blanks.
func compact(t *testing.T, body []byte, path string) string {
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(gjson.GetBytes(body, path).Raw)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func keys(b social.Batch) string {
	var out []string
	for _, l := range b.Logs {
		out = append(out, l.Key)
	}
	return strings.Join(out, " ")
}

func pairs(l social.Log) []string {
	var out []string
	for _, kv := range append(append(social.KVs(nil), l.Metrics...), l.Dimensions...) {
		out = append(out, kv.Key+"="+string(kv.Value))
	}
	return out
}

func TestJudge(t *testing.T) {
	graph := func(code int, more string) string {
		return fmt.Sprintf(`{"error":{"message":"It said no","type":"OAuthException","code":%d%s}}`, code, more)
	}
	for _, tt := range []struct {
		name    string
		status  int
		body    string
		kind    error
		message string
	}{
		{"no business_discovery", 200, `{"id":"1"}`, providers.ErrMalformed, "API Failure"},
		{"no ig_id", 200, `{"business_discovery":{"id":"1"}}`, providers.ErrMalformed, "API Failure"},
		{"null ig_id", 200, `{"business_discovery":{"ig_id":null}}`, providers.ErrMalformed, "API Failure"},
		{"empty ig_id", 200, `{"business_discovery":{"ig_id":""}}`, providers.ErrMalformed, "API Failure"},
		{"ig_id a list", 200, `{"business_discovery":{"ig_id":[1]}}`, providers.ErrMalformed, "API Failure"},
		{"ig_id a number", 200, `{"business_discovery":{"ig_id":1}}`, nil, ""},
		{"ig_id a text", 200, `{"business_discovery":{"ig_id":"1"}}`, nil, ""},
		{"unknown handle", 400, graph(110, ""), providers.ErrGone, "Invalid username"},
		{"other 400", 400, graph(9004, ""), providers.ErrGone, "It said no"},
		{"other 400 that passes", 400, graph(9004, `,"is_transient":true`), providers.ErrUpstream, "It said no"},
		{"object missing", 400, graph(100, `,"error_subcode":33`), providers.ErrGone, "It said no"},
		{"token", 400, graph(190, `,"error_subcode":463`), providers.ErrRefused, "It said no"},
		{"token, 401", 401, graph(190, ""), providers.ErrRefused, "It said no"},
		{"code as text", 400, `{"error":{"message":"It said no","code":"190"}}`, providers.ErrRefused, "It said no"},
		{"permission", 400, graph(10, ""), providers.ErrRefused, "It said no"},
		{"scope", 403, graph(200, ""), providers.ErrRefused, "Forbidden exception"},
		{"application limit", 403, graph(4, ""), providers.ErrLimited, "Forbidden exception"},
		{"user limit", 400, graph(17, ""), providers.ErrLimited, "It said no"},
		{"page limit", 400, graph(32, ""), providers.ErrLimited, "It said no"},
		{"custom limit", 400, graph(613, ""), providers.ErrLimited, "It said no"},
		{"use case limit", 400, graph(80002, ""), providers.ErrLimited, "It said no"},
		{"unknown path", 400, graph(2500, ""), providers.ErrUpstream, "It said no"},
		{"unknown error", 500, graph(1, ""), providers.ErrUpstream, "It said no"},
		{"500 of a missing object", 500, graph(100, ""), providers.ErrUpstream, "It said no"},
		{"403", 403, `{}`, providers.ErrGone, "Forbidden exception"},
		{"403 in HTML", 403, `<html>`, providers.ErrGone, "Forbidden exception"},
		{"400 in HTML", 400, `<html>`, providers.ErrGone, "Something went wrong"},
		{"error absent", 400, `{}`, providers.ErrGone, "Something went wrong"},
		{"error is text", 400, `{"error":"It said no"}`, providers.ErrGone, "It said no"},
		{"error is null", 400, `{"error":null}`, providers.ErrGone, "Something went wrong"},
		{"message is an object", 400, `{"error":{"message":{},"code":[]}}`, providers.ErrGone, "Something went wrong"},
		{"two lines", 400, `{"error":{"message":"It\nsaid no","code":100}}`, providers.ErrGone, "It said no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := providertest.Answer(tt.status, []byte(tt.body))
			a.Header.Set("Retry-After", "60")
			err := classify(a)
			if tt.kind == nil {
				if err != nil {
					t.Fatalf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != tt.message {
				t.Errorf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.status, tt.message)
			}
			if got, want := err.RetryAfter > 0, tt.kind == providers.ErrLimited; got != want {
				t.Errorf("RetryAfter %v", err.RetryAfter)
			}
			if got, want := err.Expired, tt.kind == providers.ErrRefused; got != want {
				t.Errorf("Expired %v", err.Expired)
			}
		})
	}
}

func TestMessageHasNoToken(t *testing.T) {
	token := strings.Repeat("EAABwz", 30)
	body := fmt.Sprintf(`{"error":{"message":"Malformed access token %s","code":190}}`, token)
	err := classify(providertest.Answer(400, []byte(body)))
	if strings.Contains(err.Error(), token) || err.Message != "Malformed access token ***" {
		t.Errorf("got %q", err.Error())
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	body := providertest.Read(t, "testdata/profile.json")
	for _, path := range [][]any{{"business_discovery"}, {"business_discovery", "ig_id"}, {"business_discovery", "username"}} {
		for _, value := range [][]any{nil, {nil}, {true}, {[]string{}}, {[]int{1}}, {map[string]int{}}, {""}} {
			broken := providertest.Without(t, body, path, value...)
			_, err := call().Parse(ask, providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%v = %v: %v, want a malformed error", path, value, err)
				continue
			}
			if want := fmt.Sprint(path[len(path)-1]); !strings.Contains(e.Detail, want) {
				t.Errorf("%v = %v: %q does not name it", path, value, e.Detail)
			}
		}
	}
	_, err := call().Parse(ask, providertest.At, providertest.Without(t, body, []any{"business_discovery", "ig_id"}))
	want := "malformed: (200, 'API Failure'): graphapi fetch_profile_by_handle: business_discovery.ig_id is missing"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = call().Parse(ask, providertest.At, providertest.Without(t, body, []any{"business_discovery", "media_count"}, "many"))
	if err == nil || !strings.Contains(err.Error(), "business_discovery.media_count") {
		t.Errorf("a count that is no number: %v", err)
	}
}

// A post that cannot be read does not take the others with it (16.1).
func TestBadPost(t *testing.T) {
	body := providertest.Read(t, "testdata/profile.json")
	first := []any{"business_discovery", "media", "data", 0}
	for _, tt := range []struct {
		path  []any
		value []any
	}{
		{append(slices.Clone(first), "permalink"), nil},
		{append(slices.Clone(first), "permalink"), []any{"https://www.instagram.com/"}},
		{append(slices.Clone(first), "timestamp"), nil},
		{append(slices.Clone(first), "timestamp"), []any{"yesterday"}},
		{append(slices.Clone(first), "timestamp"), []any{1695550000}},
		{append(slices.Clone(first), "like_count"), []any{map[string]int{}}},
		{first, []any{"no object"}},
		{first, []any{nil}},
	} {
		b, err := call().Parse(ask, providertest.At, providertest.Without(t, body, tt.path, tt.value...))
		if err != nil {
			t.Errorf("%v: %v", tt.path, err)
			continue
		}
		if len(b.Logs) != 2 || b.Logs[1].Key != "CxAmPle0012" {
			t.Errorf("%v = %v: %s", tt.path, tt.value, providertest.Text(b))
		}
	}
	for _, media := range []any{nil, "text", map[string]any{"data": 7}, []int{1}} {
		b, err := call().Parse(ask, providertest.At, providertest.Without(t, body, []any{"business_discovery", "media"}, media))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("media = %v: %d logs, %v, want the profile alone", media, len(b.Logs), err)
		}
	}
}

// Real answers. What a file lacks of what 8.2 and 8.4 mark hard is in want.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file, missing string // path that has no value, "" when the profile can be read
		media, left   int    // posts read, posts skipped, by ParseMedia
	}{
		{"business_discovery/nokiamobilepl_ig_id.json", "", 0, 0},
		{"business_discovery/facebookfordevelopers_user.json", "business_discovery.ig_id", 0, 0},
		{"business_discovery/facebookfordevelopers_media_p1.json", "business_discovery.ig_id", 2, 0},
		{"business_discovery/bhuvan_bam22_counts_media25.json", "business_discovery.ig_id", 0, 25}, // counts and ids only
		{"user_media/ikroskun_media_p1.json", "business_discovery", 2, 0},
		{"media/ikroskun_by_ids.json", "business_discovery", 2, 0},
		{"media/ikroskun_carousel.json", "business_discovery", 1, 0},
		{"stories/ikroskun_default_fields.json", "business_discovery", 3, 0},
		{"stories/ikroskun_image_video.json", "business_discovery", 2, 0},
		{"stories/ikroskun_few_fields_p1.json", "business_discovery", 0, 2}, // no permalink, no timestamp
		{"tagged_media/ikroskun_tags.json", "business_discovery", 5, 0},
		{"hashtag_media/love_top_media.json", "business_discovery", 0, 8},             // no timestamp
		{"mentioned_media/ikroskun_mentioned_media.json", "business_discovery", 0, 1}, // no permalink
	} {
		t.Run(tt.file, func(t *testing.T) {
			body := providertest.Read(t, dir, "graphapi", tt.file)
			answer := providertest.Answer(200, body)
			b, err := call().Parse(ask, providertest.At, body)
			judged := classify(answer)
			if tt.missing != "" {
				for _, err := range []error{err, judged} {
					if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.missing) {
						t.Errorf("got %v, want a malformed error that names %s", err, tt.missing)
					}
				}
			} else if err != nil || judged != nil {
				t.Errorf("Parse: %v, Judge: %v", err, judged)
			} else {
				found := providertest.Lookup(providertest.Decode(t, body), "business_discovery")
				l := b.Logs[0]
				for got, want := range map[string]any{
					l.Key:    providertest.Lookup(found, "ig_id"),
					l.Handle: providertest.Lookup(found, "username"),
				} {
					if got != fmt.Sprint(want) {
						t.Errorf("got %q, want %v", got, want)
					}
				}
				for key, path := range map[string]string{"followers": "followers_count", "following": "follows_count"} {
					if got, _ := l.Metrics.Get(key); string(got) != fmt.Sprint(providertest.Lookup(found, path)) {
						t.Errorf("%s is %s, want %v", key, got, providertest.Lookup(found, path))
					}
				}
			}

			logs, skipped, err := ParseMedia(body)
			if err != nil || len(logs) != tt.media || skipped != tt.left {
				t.Fatalf("ParseMedia: %d logs, %d skipped, %v, want %d and %d", len(logs), skipped, err, tt.media, tt.left)
			}
			if err := providertest.Sound(social.Batch{Logs: logs}); err != nil {
				t.Error(err)
			}
			for _, l := range logs {
				item := findByID(providertest.Decode(t, body), l.Dimensions.Text("post_id"))
				if !strings.Contains(fmt.Sprint(providertest.Lookup(item, "permalink")), "/"+l.Key) {
					t.Errorf("shortcode %q is not that of %v", l.Key, providertest.Lookup(item, "permalink"))
				}
				likes, _ := l.Metrics.Get("likes")
				if want := providertest.Lookup(item, "like_count"); want != nil && string(likes) != fmt.Sprint(want) {
					t.Errorf("%s: likes %s, want %v", l.Key, likes, want)
				}
			}
		})
	}
}

// findByID is the object with that id, wherever it is in v.
func findByID(v any, id string) any {
	switch v := v.(type) {
	case map[string]any:
		if v["id"] == id {
			return v
		}
		for _, c := range v {
			if found := findByID(c, id); found != nil {
				return found
			}
		}
	case []any:
		for _, c := range v {
			if found := findByID(c, id); found != nil {
				return found
			}
		}
	}
	return nil
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
		"code100_object_missing.json":                 {400, providers.ErrGone},
		"code100_subcode2108006_before_business.json": {400, providers.ErrGone},
		"code10_no_permission.json":                   {400, providers.ErrRefused},
		"code110_user_not_found_zh.json":              {400, providers.ErrGone},
		"code17_user_rate_limit_constructed.json":     {400, providers.ErrLimited},
		"code190_subcode463_expired.json":             {400, providers.ErrRefused},
		"code24_hashtag_missing_no.json":              {400, providers.ErrGone},
		"code2500_unknown_path.json":                  {400, providers.ErrUpstream},
		"code32_page_rate_limit.json":                 {400, providers.ErrLimited},
		"code4_app_rate_limit.json":                   {403, providers.ErrLimited},
	}
	files := providertest.Glob(t, filepath.Join(dir, "errors/graphapi/*.json"))
	for _, file := range files {
		w, ok := want[filepath.Base(file)]
		if !ok {
			t.Errorf("%s: no row says what it is", file)
			continue
		}
		err := classify(providertest.Answer(w.status, providertest.Read(t, file)))
		if !errors.Is(err, w.kind) || err.Status != w.status {
			t.Errorf("%s: %v, want %v", file, err, w.kind)
		}
	}
	if len(files) < len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
}

func FuzzParse(f *testing.F) {
	asks := []social.Ask{ask, posts, stories, nextStories, reel, story, audience}
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range asks {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
		f.Add(uint8(0), 400, providertest.Read(f, file))
	}
	f.Add(uint8(0), 200, []byte(`{"business_discovery":{"ig_id":"\u0000","username":"a"}}`))
	f.Add(uint8(4), 200, []byte(`{"data":[{"name":"reach","values":[{"value":1e400}]}]}`))
	f.Add(uint8(6), 200, []byte(`{"parts":[{"status":200,"body":{"data":[{"name":"audience_gender_age","values":[{"value":{"F.18-24":"7","\n":{}}}]}]}}]}`))
	calls := New("").Calls
	f.Fuzz(func(t *testing.T, which uint8, status int, body []byte) {
		ask := asks[int(which)%len(asks)]
		judged := classifyOf(ask, providertest.Answer(status, body))
		b, err := calls[ask.Fetch].Parse(ask, providertest.At, body)
		if err != nil && !errors.Is(err, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", err)
		}
		for _, err := range []error{err, judged} {
			if e, ok := errors.AsType[*providers.Error](err); ok && e != nil && strings.ContainsAny(e.Error(), "\n\r") {
				t.Fatalf("%q has more than one line", e)
			}
		}
		if paged := ask.Fetch == social.PostsByHandle || ask.Cursor != ""; err == nil && len(b.Logs) == 0 && !paged {
			t.Fatal("no error and no logs")
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
		logs, _, err := ParseMedia(body)
		if err == nil {
			if err := providertest.Sound(social.Batch{Logs: logs}); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := ReadDebug(body); err == nil {
			_ = s.Check(providertest.At)
		}
	})
}

// BenchmarkParse reads a profile with 50 posts, about 40 KB.
func BenchmarkParse(b *testing.B) {
	root, err := doc.Parse(providertest.Read(b, "testdata/profile.json"))
	if err != nil {
		b.Fatal(err)
	}
	var posts [][]byte
	one := bytes.Replace(root.At("business_discovery.media.data.0").Raw(), []byte("New beans"), []byte(strings.Repeat("Neue Bohnen ☕ ", 30)), 1)
	for range 50 {
		posts = append(posts, one)
	}
	list := append(append([]byte{'['}, bytes.Join(posts, []byte{','})...), ']')
	body := bytes.Replace(root.Raw(), root.At("business_discovery.media.data").Raw(), list, 1)
	if !json.Valid(body) {
		b.Fatal("the answer to read is no JSON")
	}
	parse := call().Parse
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := parse(ask, providertest.At, body); err != nil || len(got.Logs) != 51 {
			b.Fatal(len(got.Logs), err)
		}
	}
}
