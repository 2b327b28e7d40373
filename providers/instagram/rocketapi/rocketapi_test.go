package rocketapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 9, Source: source, Fields: map[string]providers.Secret{
	"Authorization": "Token rocketsecretsecretsecret",
}}

// keys are good asks for the files in testdata, which are named for the fetch.
var keys = map[social.Fetch]string{
	social.PostByShortcode: "CxAmPle0061",
	social.Reels:           "4811223344",
	social.StoriesByID:     "4811223344",
	social.Followers:       "4811223344",
}

func sample(t testing.TB, f social.Fetch) []byte {
	return providertest.Read(t, "testdata", string(f)+".json")
}

func call(f social.Fetch) providers.Call { return New("").Calls[f] }

func askFor(f social.Fetch) social.Ask { return social.Ask{Fetch: f, Keys: []string{keys[f]}} }

func classify(ask social.Ask, a providers.Answer) *providers.Error {
	return providers.Classify(New(""), call(ask.Fetch), ask, a)
}

func judgeAndParse(f social.Fetch, key string, body []byte) (social.Batch, error) {
	a := social.Ask{Fetch: f, Keys: []string{key}}
	if err := classify(a, providertest.Answer(200, body)); err != nil {
		return social.Batch{}, err
	}
	return call(f).Parse(a, providertest.At, body)
}

// done is the envelope with an answer of Instagram in it.
func done(status int, body string) string {
	return `{"status":"done","response":{"status_code":` + strconv.Itoa(status) + `,"content_type":"application/json","body":` + body + `}}`
}

func TestProvider(t *testing.T) {
	bad := map[social.Fetch][][]string{
		social.PostByShortcode: {{"a b"}, {"https://www.instagram.com/p/x/"}},
		social.Reels:           {{"x"}, {"1.5"}},
		social.StoriesByID:     {{"northlake.cafe"}, {"-1"}, {"1e3"}, {"007"}},
		social.Followers:       {{"x"}, {`1","count":"9`}},
	}
	var cases []providertest.Case
	for f, key := range keys {
		cases = append(cases, providertest.Case{Fetch: f, Keys: []string{key}, Bad: bad[f], Good: sample(t, f)})
	}
	p := New("")
	providertest.Run(t, p, cred, cases...)
	if p.Limit.Requests != 100 || p.Limit.Seconds != 30 {
		t.Errorf("limit %v, want 100 in 30 s", p.Limit)
	}
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		fetch        social.Fetch
		cursor, path string
		body         string
	}{
		{social.PostByShortcode, "", "/instagram/media/get_info_by_shortcode", `{"shortcode":"CxAmPle0061"}`},
		{social.PostByShortcode, "x", "/instagram/media/get_info_by_shortcode", `{"shortcode":"CxAmPle0061"}`},
		{social.Reels, "", "/instagram/user/get_clips", `{"id":"4811223344"}`},
		{social.Reels, "QVFD==", "/instagram/user/get_clips", `{"id":"4811223344","max_id":"QVFD=="}`},
		{social.StoriesByID, "", "/instagram/user/get_stories", `{"ids":[4811223344]}`},
		{social.StoriesByID, "x", "/instagram/user/get_stories", `{"ids":[4811223344]}`},
		{social.Followers, "", "/instagram/user/get_followers", `{"id":"4811223344","count":100}`},
		{social.Followers, `a"b`, "/instagram/user/get_followers", `{"id":"4811223344","count":100,"max_id":"a\"b"}`},
	} {
		ask := askFor(tt.fetch)
		ask.Cursor = tt.cursor
		r, err := call(tt.fetch).Request(cred, ask)
		if err != nil {
			t.Fatal(err)
		}
		if r.Method != "POST" || r.Path != tt.path || string(r.Body) != tt.body || len(r.Query) > 0 {
			t.Errorf("%s: %s %s %v %s, want POST %s %s", tt.fetch, r.Method, r.Path, r.Query, r.Body, tt.path, tt.body)
		}
	}
	r, err := Sized("", 50).Calls[social.Followers].Request(cred, askFor(social.Followers))
	if want := `{"id":"4811223344","count":50}`; err != nil || string(r.Body) != want {
		t.Errorf("%s, %v, want %s", r.Body, err, want)
	}
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields map[string]providers.Secret
		want   string
	}{
		{"header map", map[string]providers.Secret{"Authorization": "Token k"}, "Authorization=Token k Content-Type=application/json"},
		{"other case", map[string]providers.Secret{"authorization": "Token k"}, "Authorization=Token k Content-Type=application/json"},
		{"content type of the row", map[string]providers.Secret{"Authorization": "Token k", "Content-Type": "text/plain"}, "Authorization=Token k Content-Type=text/plain"},
		{"alias", map[string]providers.Secret{"key": "k"}, "Authorization=Token k Content-Type=application/json"},
		{"more", map[string]providers.Secret{"Authorization": "Token k", "X-Extra": "e"}, "Authorization=Token k Content-Type=application/json X-Extra=e"},
	} {
		c := providers.Credential{Source: source, Fields: tt.fields}
		r, err := call(social.Reels).Request(c, askFor(social.Reels))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for k, v := range r.Header {
			got = append(got, k+"="+strings.Join(v, ","))
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/fetch_*.json") {
		f := social.Fetch(strings.TrimSuffix(filepath.Base(file), ".json"))
		b, err := judgeAndParse(f, keys[f], providertest.Read(t, file))
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

// The "expected parse" blocks of 14.2 to 14.5, typed here a second time; tags
// and partnership of reels as Q-RK-3 wants them, the time of a story as Q-RK-4
// does.
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		fetch              social.Fetch
		key, owner, target string
		cursor             string
		want               []string
	}{
		{social.PostByShortcode, "CxAmPle0061", "4811223344", "", "", []string{
			"comments=21", "likes=1500", "play_count=61000", "video_duration=14.2", "reshare_count=88",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/61.jpg"`,
			`thumbnail_src="https://cdn.example.net/m/61.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695640000",
			`user_tags=[{"user":{"pk":"5922334455","username":"dockside.bakery"},"position":[0.5,0.5]}]`,
			`caption="Behind the bar"`, `location={"pk":"212988663","name":"Northlake, Illinois","lat":41.9,"lng":-87.9}`,
			"is_paid_partnership=true"}},
		{social.Reels, "CxAmPle0062", "4811223344", "", "QVFDexampleRK2", []string{
			"comments=4", "likes=300", "view_count=null", "play_count=9100", "video_duration=9.8", "reshare_count=6",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/62.mp4"`,
			`thumbnail_src="https://cdn.example.net/m/62.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695650000",
			`caption="Grinder check"`,
			`user_tags=[{"user":{"pk":"5922334455","username":"dockside.bakery"},"position":[0.5,0.5]}]`,
			"location=null", "is_paid_partnership=false"}},
		{social.StoriesByID, "3198000000000000079", "4811223344", "", "", []string{
			"video_duration=11.0",
			`post_id="3198000000000000079"`, `profile_id="4811223344"`, `handle="northlake.cafe"`,
			`content_type="video"`, `post_type="story"`, `story_links=["northlake.example"]`, "story_hashtags=[]",
			`display_url="https://cdn.example.net/s/79.mp4"`, `thumbnail_src="https://cdn.example.net/s/79.jpg"`,
			"taken_at_timestamp=1695660000", "location=null",
			`user_tags=[{"pk":"5922334455","username":"dockside.bakery","full_name":"Dockside Bakery"}]`,
			"is_paid_partnership=false"}},
		{social.Followers, "7044556677", "", "4811223344", "QVFDexampleRK4", []string{
			`handle="rower_77"`, `full_name="Rower"`, `profile_pic_url="https://cdn.example.net/p/rower_77.jpg"`,
			"is_private=true", "is_verified=false"}},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], sample(t, tt.fetch))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		l := b.Logs[0]
		if l.Key != tt.key || l.Owner != tt.owner || l.Target != tt.target || l.Source != "rocketapi" {
			t.Errorf("%s: key %q, owner %q, target %q, source %q", tt.fetch, l.Key, l.Owner, l.Target, l.Source)
		}
		if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
			t.Errorf("%s: more %v, cursor %q, want %q", tt.fetch, b.More, b.Cursor, tt.cursor)
		}
		if got := pairs(l); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.fetch, got, tt.want)
		}
	}
}

func pairs(l social.Log) []string {
	var out []string
	for _, kv := range slices.Concat(l.Metrics, l.Dimensions, l.TargetDimensions) {
		out = append(out, kv.Key+"="+string(kv.Value))
	}
	return out
}

func TestJudge(t *testing.T) {
	const post = `{"items":[{"code":"CxAmPle0061"}]}`
	for _, tt := range []struct {
		name   string
		fetch  social.Fetch
		status int
		body   string
		kind   error
		detail string // part of it
	}{
		{"a post", social.PostByShortcode, 200, done(200, post), nil, ""},
		{"no inner status", social.PostByShortcode, 200, `{"status":"done","response":{"body":` + post + `}}`, nil, ""},
		{"inner status a text", social.PostByShortcode, 200, `{"status":"done","response":{"status_code":"200","body":` + post + `}}`, nil, ""},
		{"body a text", social.PostByShortcode, 200, done(200, strconv.Quote(post)), nil, ""},
		{"status missing", social.PostByShortcode, 200, `{"response":{"status_code":200,"body":` + post + `}}`, providers.ErrMalformed, "status is missing"},
		{"status an object", social.PostByShortcode, 200, `{"status":{},"response":{"body":` + post + `}}`, providers.ErrMalformed, "status is an object"},
		{"status another", social.PostByShortcode, 200, `{"status":"error","message":"x","response":{"body":` + post + `}}`, providers.ErrUpstream, `status is "error"`},
		{"a list", social.PostByShortcode, 200, `[]`, providers.ErrMalformed, "body is a list"},
		{"response missing", social.PostByShortcode, 200, `{"status":"done"}`, providers.ErrMalformed, "response.body is missing"},
		{"response null", social.Reels, 200, `{"status":"done","response":null}`, providers.ErrMalformed, "response.body is missing"},
		{"response a text", social.Reels, 200, `{"status":"done","response":"x"}`, providers.ErrMalformed, "response.body is missing"},
		{"body null", social.Followers, 200, done(200, `null`), providers.ErrMalformed, "response.body is missing"},
		{"body a list", social.Followers, 200, done(200, `[]`), providers.ErrMalformed, "response.body is a list"},
		{"body a page", social.Followers, 200, done(200, `"<html>"`), providers.ErrMalformed, "response.body: body is not JSON"},
		{"body a text in a text", social.Followers, 200, done(200, `"\"x\""`), providers.ErrMalformed, "response.body is text"},
		{"inner status a list", social.Reels, 200, `{"status":"done","response":{"status_code":[],"body":{}}}`, providers.ErrMalformed, "response.status_code"},

		{"inner 404", social.PostByShortcode, 200, done(404, `{"status":"fail"}`), providers.ErrGone, "response.status_code 404"},
		{"inner 404, no body", social.Followers, 200, done(404, `null`), providers.ErrGone, "response.status_code 404"},
		{"inner 404, a page", social.StoriesByID, 200, done(404, `"<html>"`), providers.ErrGone, "response.status_code 404"},
		{"inner 404 a text", social.StoriesByID, 200, `{"status":"done","response":{"status_code":"404"}}`, providers.ErrGone, "response.status_code 404"},
		{"inner 400", social.PostByShortcode, 200, done(400, `{"message":"Media not found or unavailable","status":"fail"}`), providers.ErrGone, "status is fail"},
		{"inner 403", social.Followers, 200, done(403, `{}`), providers.ErrGone, "response.status_code 403"},
		{"inner 401", social.Followers, 200, done(401, `{}`), providers.ErrUpstream, "the host's account"},
		{"inner 402", social.Followers, 200, done(402, `null`), providers.ErrUpstream, "response.status_code 402"},
		{"inner 429", social.Reels, 200, done(429, `""`), providers.ErrLimited, "response.status_code 429"},
		{"inner 500", social.Reels, 200, done(500, `"<html>"`), providers.ErrUpstream, "response.status_code 500"},
		{"inner 302", social.Reels, 200, done(302, `""`), providers.ErrUpstream, "response.status_code 302"},
		{"inner login", social.Followers, 200, done(400, `{"message":"login_required","status":"fail"}`), providers.ErrUpstream, "login_required"},
		{"inner challenge", social.Followers, 200, done(400, `"{\"message\":\"challenge_required\",\"status\":\"fail\"}"`), providers.ErrUpstream, "challenge_required"},
		{"inner fail with 200", social.StoriesByID, 200, done(200, `{"message":"checkpoint_required","status":"fail"}`), providers.ErrUpstream, "checkpoint_required"},
		{"inner fail, no status", social.StoriesByID, 200, `{"status":"done","response":{"body":{"message":"User not found","status":"fail"}}}`, providers.ErrGone, "status is fail"},

		{"post: no items", social.PostByShortcode, 200, done(200, `{"items":[]}`), providers.ErrGone, "response.body.items is empty"},
		{"post: items missing", social.PostByShortcode, 200, done(200, `{}`), providers.ErrMalformed, "response.body.items is missing"},
		{"post: items an object", social.PostByShortcode, 200, done(200, `{"items":{}}`), providers.ErrMalformed, "response.body.items is an object"},
		{"reels: none", social.Reels, 200, done(200, `{"items":[],"paging_info":{"more_available":false}}`), providers.ErrGone, "response.body.items is empty"},
		{"reels: items missing", social.Reels, 200, done(200, `{"status":"ok"}`), providers.ErrMalformed, "response.body.items is missing"},
		{"stories: none", social.StoriesByID, 200, done(200, `{"reels":{}}`), nil, ""},
		{"stories: reels a text", social.StoriesByID, 200, done(200, `{"reels":"x"}`), providers.ErrMalformed, "response.body.reels is text"},
		{"stories: items an object", social.StoriesByID, 200, done(200, `{"reels":{"4811223344":{"user":{},"items":{}}}}`), providers.ErrMalformed, "response.body.reels.4811223344.items is an object"},
		{"followers: none", social.Followers, 200, done(200, `{"users":[]}`), nil, ""},
		{"followers: users missing", social.Followers, 200, done(200, `{"status":"ok"}`), providers.ErrMalformed, "response.body.users is missing"},
		{"followers: web", social.Followers, 200, done(200, `{"data":{"user":{"edge_followed_by":{"edges":[]}}}}`), providers.ErrMalformed, "response.body.users is missing"},

		{"forbidden", social.Reels, 403, `{"message":"no"}`, providers.ErrGone, ""},
		{"token", social.Reels, 401, `{"detail":"Invalid token."}`, providers.ErrRefused, ""},
		{"payment", social.Reels, 402, ``, providers.ErrRefused, ""},
		{"bad request", social.Reels, 400, `{}`, providers.ErrGone, ""},
		{"teapot", social.Reels, 418, `{}`, providers.ErrUpstream, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(askFor(tt.fetch), providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			message := map[int]string{200: "API Failure", 403: "Forbidden exception"}[tt.status]
			if message == "" {
				message = "Something went wrong"
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != message || !strings.Contains(err.Detail, tt.detail) {
				t.Errorf("got %v, want %v: (%d, '%s'): …%s", err, tt.kind, tt.status, message, tt.detail)
			}
		})
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	in := func(path ...any) []any { return append([]any{"response", "body"}, path...) }
	story := func(path ...any) []any { return append(in("reels", "4811223344", "items", 0), path...) }
	for _, tt := range []struct {
		fetch social.Fetch
		path  []any
	}{
		{social.PostByShortcode, in()[:1]},
		{social.PostByShortcode, in()},
		{social.PostByShortcode, in("items")},
		{social.PostByShortcode, in("items", 0, "code")},
		{social.Reels, in()[:1]},
		{social.Reels, in()},
		{social.Reels, in("items")},
		{social.Reels, in("items", 0, "media")},
		{social.Reels, in("items", 0, "media", "code")},
		{social.StoriesByID, in()},
		{social.StoriesByID, in("reels", "4811223344", "user", "username")},
		{social.StoriesByID, story("pk")},
		{social.StoriesByID, story("image_versions2")},
		{social.StoriesByID, story("image_versions2", "candidates")},
		{social.StoriesByID, story("image_versions2", "candidates", 0, "url")},
		{social.StoriesByID, story("video_versions", 0, "url")},
		{social.StoriesByID, story("story_link_stickers", 0, "story_link")},
		{social.StoriesByID, story("story_link_stickers", 0, "story_link", "display_url")},
		{social.StoriesByID, story("reel_mentions", 0, "user")},
		{social.Followers, in()[:1]},
		{social.Followers, in()},
		{social.Followers, in("users")},
		{social.Followers, in("users", 0, "pk_id")},
	} {
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			last := tt.path[len(tt.path)-1]
			body := sample(t, tt.fetch)
			switch {
			case len(value) == 1 && fmt.Sprint(value[0]) == "[]" && (last == "items" && tt.fetch == social.Reels || last == "users"):
				continue // an empty page; Judge has no items for one
			case len(value) == 1 && fmt.Sprint(value[0]) == "map[]" && (last == "user" || last == "body" && tt.fetch == social.StoriesByID):
				continue // no stories; a user about whom nothing is known
			case last == "pk_id":
				body = providertest.Without(t, body, in("users", 0, "pk"))
			}
			broken := providertest.Without(t, body, tt.path, value...)
			_, err := call(tt.fetch).Parse(askFor(tt.fetch), providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%s: %v = %v: %v, want a malformed error", tt.fetch, tt.path, value, err)
				continue
			}
			name := strings.TrimSuffix(fmt.Sprint(last), "_id") // pk stands in for pk_id
			if !strings.Contains(e.Detail, name) || !strings.HasPrefix(e.Detail, "rocketapi "+string(tt.fetch)+": response") {
				t.Errorf("%s: %v = %v: %q does not name it", tt.fetch, tt.path, value, e.Detail)
			}
			if judged := classify(askFor(tt.fetch), providertest.Answer(200, broken)); judged != nil && judged.Detail == "" {
				t.Errorf("%s: %v: Judge gave no detail", tt.fetch, tt.path)
			}
		}
	}
}

func TestPages(t *testing.T) {
	const reel = `"items":[{"media":{"code":"a"}}]`
	for _, tt := range []struct {
		fetch      social.Fetch
		body, want string
		logs       int
	}{
		{social.Reels, `{` + reel + `}`, "", 1},
		{social.Reels, `{` + reel + `,"paging_info":null}`, "", 1},
		{social.Reels, `{` + reel + `,"paging_info":{"more_available":true}}`, "", 1},
		{social.Reels, `{` + reel + `,"paging_info":{"more_available":true,"max_id":""}}`, "", 1},
		{social.Reels, `{` + reel + `,"paging_info":{"more_available":false,"max_id":"x"}}`, "", 1},
		{social.Reels, `{` + reel + `,"paging_info":{"more_available":true,"max_id":17}}`, "17", 1},
		// A cursor is another page, whatever big_list and has_more say (Q-RK-6).
		{social.Followers, `{"users":[]}`, "", 0},
		{social.Followers, `{"users":[],"big_list":true,"has_more":true}`, "", 0},
		{social.Followers, `{"users":[],"big_list":true,"next_max_id":null}`, "", 0},
		{social.Followers, `{"users":[],"big_list":true,"next_max_id":""}`, "", 0},
		{social.Followers, `{"users":[],"big_list":false,"next_max_id":"x"}`, "x", 0},
		{social.Followers, `{"users":[{"pk_id":1},{"pk_id":"2"}],"next_max_id":200}`, "200", 2},
		// All of these say that there are no stories (14.1, Q-RK-5).
		{social.StoriesByID, `{}`, "", 0},
		{social.StoriesByID, `{"reels":null}`, "", 0},
		{social.StoriesByID, `{"reels":[]}`, "", 0},
		{social.StoriesByID, `{"reels":{"4811223344":null}}`, "", 0},
		{social.StoriesByID, `{"reels":{"4811223344":{"user":{"username":"a"}}}}`, "", 0},
		{social.StoriesByID, `{"reels":{"4811223344":{"user":{"username":"a"},"items":[]}}}`, "", 0},
		{social.StoriesByID, `{"reels":{"4811223344":{"items":[{}]}}}`, "", 0},
		{social.StoriesByID, `{"reels":{"1":{"user":{"username":"a"},"items":[{}]}},"reels_media":[]}`, "", 0},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(done(200, tt.body)))
		if err != nil || b.Cursor != tt.want || b.More != (tt.want != "") || len(b.Logs) != tt.logs {
			t.Errorf("%s: %d logs, more %v, cursor %q, %v, want %q", tt.body, len(b.Logs), b.More, b.Cursor, err, tt.want)
		}
	}
}

func TestTypesAndTolerance(t *testing.T) {
	post := func(more string) string { return `{"items":[{"code":"a"` + more + `}]}` }
	reel := func(more, beside string) string {
		return `{"items":[{"media":{"code":"a"` + more + `}` + beside + `}]}`
	}
	story := func(more string) string {
		return `{"reels":{"4811223344":{"user":{"username":"a"},"items":[{"pk":1,"image_versions2":{"candidates":[{"url":"u"}]}` + more + `}]}}}`
	}
	for _, tt := range []struct {
		fetch           social.Fetch
		body, key, want string
	}{
		// Q-RK-8
		{social.PostByShortcode, post(`,"media_type":2,"product_type":"feed"`), "post_type", `"reels"`},
		{social.PostByShortcode, post(`,"media_type":1,"product_type":"ad"`), "post_type", `"image"`},
		{social.PostByShortcode, post(`,"media_type":8`), "post_type", `"carousel"`},
		{social.PostByShortcode, post(`,"product_type":"feed"`), "post_type", `"image"`},
		{social.PostByShortcode, post(`,"media_type":null,"product_type":"clips"`), "post_type", `"reels"`},
		{social.PostByShortcode, post(`,"product_type":"carousel_container"`), "post_type", `"carousel"`},
		{social.PostByShortcode, post(`,"product_type":"igtv"`), "post_type", `null`},
		{social.PostByShortcode, post(`,"media_type":"2"`), "post_type", `null`},
		{social.PostByShortcode, post(``), "post_type", `null`},
		{social.PostByShortcode, post(`,"user":{"pk":7}`), "profile_id", `"7"`},
		{social.PostByShortcode, post(`,"user":{"pk":7,"id":"8"}`), "profile_id", `"8"`},
		{social.PostByShortcode, post(`,"carousel_media":[{"image_versions2":{"candidates":[{"url":"u"}]}}]`), "display_url", `"u"`},
		{social.PostByShortcode, post(`,"like_count":"12"`), "likes", `12`},
		{social.PostByShortcode, post(`,"like_count":null`), "likes", `null`},
		{social.PostByShortcode, post(`,"caption":null`), "caption", `null`},
		{social.PostByShortcode, post(`,"taken_at":"1695640000"`), "taken_at_timestamp", `1695640000`},
		{social.PostByShortcode, post(``), "user_tags", `[]`},
		{social.PostByShortcode, post(`,"usertags":null`), "user_tags", `[]`},
		{social.PostByShortcode, post(`,"usertags":{}`), "user_tags", `[]`},
		{social.PostByShortcode, post(`,"usertags":[]`), "user_tags", `[]`},
		{social.PostByShortcode, post(`,"usertags":{"in":[{"user":{"pk":1},"position":[0,1]}]}`), "user_tags", `[{"user":{"pk":1},"position":[0,1]}]`},
		{social.Reels, reel(``, ``), "user_tags", `[]`},
		{social.Reels, reel(`,"usertags":{"in":[{"user":{"pk":1}}]}`, ``), "user_tags", `[{"user":{"pk":1}}]`},
		{social.Reels, reel(`,"location":{"name":"x"}`, ``), "location", `{"name":"x"}`},
		{social.Reels, reel(`,"is_paid_partnership":true`, `,"is_paid_partnership":false`), "is_paid_partnership", `true`},
		{social.Reels, reel(`,"media_type":8`, ``), "post_type", `"carousel"`},
		{social.StoriesByID, story(``), "video_duration", `null`},
		{social.StoriesByID, story(``), "user_tags", `[]`},
		{social.StoriesByID, story(`,"reel_mentions":null`), "user_tags", `[]`},
		{social.StoriesByID, story(`,"story_link_stickers":null`), "story_links", `[]`},
		{social.StoriesByID, story(`,"story_hashtags":[{"hashtag":{"name":"tea"}},{"hashtag":{"name":"ad"}}]`), "story_hashtags", `["tea","ad"]`},
		{social.StoriesByID, story(`,"video_versions":[]`), "display_url", `"u"`},
		{social.StoriesByID, story(`,"video_versions":[{"url":"v"}]`), "display_url", `"v"`},
		{social.StoriesByID, story(`,"media_type":1`), "content_type", `"image"`},
		{social.StoriesByID, story(``), "taken_at_timestamp", `null`},
		{social.Followers, `{"users":[{"pk":7}]}`, "handle", `null`},
		{social.Followers, `{"users":[{"pk":7,"username":"a","is_private":null}]}`, "is_private", `null`},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(done(200, tt.body)))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		if got := value(b.Logs[0], tt.key); string(got) != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.body, tt.key, got, tt.want)
		}
	}
	for body, want := range map[string]string{ // Q-RK-9
		`{"users":[{"pk_id":"8","pk":7}]}`:  "8",
		`{"users":[{"pk_id":null,"pk":7}]}`: "7",
		`{"users":[{"pk":"7"}]}`:            "7",
	} {
		b, err := judgeAndParse(social.Followers, "1", []byte(done(200, body)))
		if err != nil || len(b.Logs) != 1 || b.Logs[0].Key != want || b.Logs[0].Target != "1" {
			t.Errorf("%s: %+v, %v, want %s", body, b.Logs, err, want)
		}
	}
	_, err := judgeAndParse(social.Reels, "1", []byte(done(200, reel(`,"like_count":"many"`, ``))))
	if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), "response.body.items.0.media.like_count") {
		t.Errorf("a count that is no number: %v", err)
	}
}

// value is what l has under key, null counts as there.
func value(l social.Log, key string) json.RawMessage {
	got, ok := l.Dimensions.Get(key)
	if !ok {
		got, _ = l.Metrics.Get(key)
	}
	return got
}

// Real answers, whole or those of the interface that this host passes on, in its
// envelope (fixtures/SOURCES.md). Values are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	type path = []any
	whole := func(v any) any { return v }
	body := func(v any) any {
		return map[string]any{"status": "done", "response": map[string]any{"status_code": 200, "body": v}}
	}
	response := func(v any) any { return body(providertest.Lookup(v, "response")) }
	counts := map[string]path{"likes": {"like_count"}, "comments": {"comment_count"}, "play_count": {"play_count"},
		"video_duration": {"video_duration"}, "reshare_count": {"reshare_count"}, "handle": {"user", "username"},
		"taken_at_timestamp": {"taken_at"}, "is_paid_partnership": {"is_paid_partnership"}, "caption": {"caption", "text"}}
	posted := map[string]path{"thumbnail_src": {"image_versions2", "candidates", 0, "url"}}
	carousel := map[string]path{"likes": {"like_count"}, "comments": {"comment_count"},
		"display_url": {"carousel_media", 0, "image_versions2", "candidates", 0, "url"}}
	one := path{"response", "body", "items"}
	for _, tt := range []struct {
		file  string
		fetch social.Fetch
		key   string
		make  func(any) any // what the host would have sent
		at    path          // of the list of records
		each  path          // from an element of it to the record
		id    string        // member that is the key of the log
		kind  string        // post_type
		same  []map[string]path
		owner string
		more  path // cursor
	}{
		{"rocketapi/media_info/creator_reel.json", social.PostByShortcode, "DTc0zASEdfy", whole, one, nil, "code", "reels",
			[]map[string]path{counts, posted}, "9037874013", nil},
		{"rocketapi/media_info/reel_tagging_brand.json", social.PostByShortcode, "DUS9Fr9j51U", whole, one, nil, "code", "reels",
			[]map[string]path{counts, posted}, "55230069496", nil},
		{"rocketapi/media_info/myplixlife_ad.json", social.PostByShortcode, "DQ6la7UgK-z", whole, one, nil, "code", "reels",
			[]map[string]path{counts, posted}, "8628456936", nil},
		{"ig-private-v1/media_info/jlo_carousel.json", social.PostByShortcode, "CAnqPB-Jzcj", body, one, nil, "code", "carousel",
			[]map[string]path{carousel}, "305701719", nil},
		{"ig-private-v1/media_info/jlo_carousel_with_video.json", social.PostByShortcode, "B-NYjoGpQqC", body, one, nil, "code", "carousel",
			[]map[string]path{carousel}, "305701719", nil},
		{"ig-private-v1/media_info/natgeo_reel_by_code_2026.json", social.PostByShortcode, "DRqAYKuAIUx", func(v any) any {
			return body(map[string]any{"items": []any{providertest.Lookup(v, "media_or_ad")}})
		}, one, nil, "code", "reels", []map[string]path{counts, posted}, "787132", nil},

		{"ig-private-v1/clips_user/noholita_reels.json", social.Reels, "3171067", body, one, path{"media"}, "code", "reels",
			[]map[string]path{counts, {"view_count": {"view_count"}, "display_url": {"video_versions", 0, "url"}}}, "3171067",
			path{"response", "body", "paging_info", "max_id"}},
		{"ig-private-v1/clips_user/natgeo_clips_2026.json", social.Reels, "787132", response, one, path{"media"}, "code", "reels",
			[]map[string]path{counts}, "", path{"response", "body", "paging_info", "max_id"}},

		{"ig-private-v1/stories/natgeo_reel_sponsored.json", social.StoriesByID, "787132", func(v any) any {
			return body(map[string]any{"reels": map[string]any{"787132": providertest.Lookup(v, "reel")}, "status": "ok"})
		}, path{"response", "body", "reels", "787132", "items"}, nil, "pk", "story",
			[]map[string]path{{"handle": {"user", "username"}, "taken_at_timestamp": {"taken_at"}, "video_duration": {"video_duration"},
				"is_paid_partnership": {"is_paid_partnership"}, "display_url": {"video_versions", 0, "url"}}}, "787132", nil},
		{"ig-private-v1/stories/natgeo_reel_sponsored.json", social.StoriesByID, "787132", body,
			path{"response", "body", "reel", "items"}, nil, "pk", "story",
			[]map[string]path{{"thumbnail_src": {"image_versions2", "candidates", 0, "url"}}}, "787132", nil},

		{"ig-private-v1/followers/natgeo_followers_2026.json", social.Followers, "787132", response,
			path{"response", "body", "users"}, nil, "pk", "",
			[]map[string]path{{"handle": {"username"}, "full_name": {"full_name"}, "is_private": {"is_private"}, "is_verified": {"is_verified"}}}, "", nil},
	} {
		t.Run(string(tt.fetch)+" "+tt.file, func(t *testing.T) {
			root := tt.make(providertest.Decode(t, providertest.Read(t, dir, tt.file)))
			answer, err := json.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			b, err := judgeAndParse(tt.fetch, tt.key, answer)
			if err != nil {
				t.Fatal(err)
			}
			if err := providertest.Sound(b); err != nil {
				t.Error(err)
			}
			records, _ := providertest.Lookup(root, tt.at...).([]any)
			if len(records) == 0 || len(b.Logs) != len(records) {
				t.Fatalf("%d logs, want %d", len(b.Logs), len(records))
			}
			for i, l := range b.Logs {
				record := providertest.Lookup(records[i], tt.each...)
				if want := fmt.Sprint(providertest.Lookup(record, tt.id)); l.Key != want {
					t.Errorf("key %q, want %q", l.Key, want)
				}
				if tt.owner != "" && l.Owner != tt.owner {
					t.Errorf("owner %q, want %q", l.Owner, tt.owner)
				}
				if l.Kind == social.Relationship && l.Target != tt.key {
					t.Errorf("target %q, want %q", l.Target, tt.key)
				}
				if got := l.Dimensions.Text("post_type"); got != tt.kind {
					t.Errorf("%s: post_type %q, want %q", l.Key, got, tt.kind)
				}
				if l.Kind == social.Post && l.Dimensions.Text("display_url") == "" {
					t.Errorf("%s has no display_url", l.Key)
				}
				for _, same := range tt.same {
					for key, at := range same {
						var plain any
						d := json.NewDecoder(bytes.NewReader(value(l, key)))
						d.UseNumber()
						if err := d.Decode(&plain); err != nil {
							t.Fatal(err)
						}
						if want := providertest.Lookup(record, at...); plain != want {
							t.Errorf("%s: %s is %v, want %v", l.Key, key, plain, want)
						}
					}
				}
			}
			if want := providertest.Lookup(root, tt.more...); tt.more != nil && (b.Cursor != want || !b.More) || tt.more == nil && b.More {
				t.Errorf("more %v, cursor %q, want %q", b.More, b.Cursor, want)
			}
		})
	}
}

// Whom real posts and stories name: tags and mentions.
func TestFixtureTags(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	root := providertest.Decode(t, providertest.Read(t, dir, "rocketapi/media_info/reel_tagging_brand.json"))
	stories := providertest.Decode(t, providertest.Read(t, dir, "ig-private-v1/stories/natgeo_reel_sponsored.json"))
	wrapped := map[string]any{"status": "done", "response": map[string]any{"status_code": 200, "body": stories}}
	for _, tt := range []struct {
		fetch social.Fetch
		key   string
		root  any
		want  any // user names
		from  []any
		at    []any // of the name, in an element of user_tags
	}{
		{social.PostByShortcode, "DUS9Fr9j51U", root, providertest.Lookup(root, "response", "body", "items", 0, "usertags", "in"), []any{"user", "username"}, []any{"user", "username"}},
		{social.StoriesByID, "787132", wrapped, providertest.Lookup(stories, "reel", "items", 0, "reel_mentions"), []any{"user", "username"}, []any{"username"}},
	} {
		answer, err := json.Marshal(tt.root)
		if err != nil {
			t.Fatal(err)
		}
		b, err := judgeAndParse(tt.fetch, tt.key, answer)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := tt.want.([]any)
		got, _ := providertest.Decode(t, value(b.Logs[0], "user_tags")).([]any)
		if len(want) == 0 || len(got) != len(want) {
			t.Errorf("%s: %d tags, want %d", tt.fetch, len(got), len(want))
			continue
		}
		for i := range want {
			if g, w := providertest.Lookup(got[i], tt.at...), providertest.Lookup(want[i], tt.from...); g != w || w == nil {
				t.Errorf("%s: tag %d is %v, want %v", tt.fetch, i, g, w)
			}
		}
	}
}

func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	const own = "errors/rocketapi/media_not_found_400_string_body.json"
	for _, f := range []social.Fetch{social.PostByShortcode, social.Reels, social.StoriesByID, social.Followers} {
		err := classify(askFor(f), providertest.Answer(200, providertest.Read(t, dir, own)))
		if !errors.Is(err, providers.ErrGone) || err.Status != 200 || err.Message != "API Failure" {
			t.Errorf("%s %s: %v, want gone", own, f, err)
		}
	}
	if n := len(providertest.Glob(t, filepath.Join(dir, "errors/rocketapi/*.json"))); n != 1 {
		t.Errorf("%d files, want the one that is here", n)
	}
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		status int
		kind   error
	}{
		{"errors/instagram/checkpoint_required.json", social.Followers, 400, providers.ErrUpstream},
		{"errors/instagram/checkpoint_required.json", social.Followers, 200, providers.ErrUpstream},
		{"errors/instagram/login_failed.json", social.PostByShortcode, 200, providers.ErrMalformed},
		{"errors/instagram/please_wait_require_login.json", social.Reels, 401, providers.ErrLimited},
		{"errors/instagram/please_wait_require_login.json", social.Reels, 429, providers.ErrLimited},
		{"errors/instagram/user_null_by_id.json", social.Followers, 200, providers.ErrMalformed},
	} {
		for name, body := range map[string]string{
			"object": string(providertest.Read(t, dir, tt.file)),
			"text":   strconv.Quote(string(providertest.Read(t, dir, tt.file))),
		} {
			err := classify(askFor(tt.fetch), providertest.Answer(200, []byte(done(tt.status, body))))
			if !errors.Is(err, tt.kind) {
				t.Errorf("%s as %s: %d: %v, want %v", tt.file, name, tt.status, err, tt.kind)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	fetches := []social.Fetch{social.PostByShortcode, social.Reels, social.StoriesByID, social.Followers}
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range fetches {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
	}
	f.Add(uint8(0), 401, []byte(`{"detail":"Invalid token."}`))
	f.Add(uint8(0), 200, []byte(done(400, `"{\"message\": \"Media not found or unavailable\", \"status\": \"fail\"}"`)))
	f.Add(uint8(1), 200, []byte(done(200, `"{\"items\":[{\"media\":{\"code\":\"a\"}}]}"`)))
	f.Add(uint8(2), 200, []byte(done(200, `{"reel":{"user":{"pk":4811223344,"username":"a"},"items":[{"pk":1,"image_versions2":{"candidates":[{"url":"u"}]}}]}}`)))
	f.Add(uint8(3), 200, []byte(done(404, `null`)))
	f.Add(uint8(3), 200, []byte(`{"status":"error","message":"a\nb"}`))
	calls := New("").Calls
	f.Fuzz(func(t *testing.T, which uint8, status int, body []byte) {
		fetch := fetches[int(which)%len(fetches)]
		ask := askFor(fetch)
		err := classify(ask, providertest.Answer(status, body))
		if err != nil && (strings.ContainsAny(err.Error(), "\n\r") || err.Kind == nil) {
			t.Fatalf("Judge: %q has more than one line or no kind", err)
		}
		b, bad := calls[fetch].Parse(ask, providertest.At, body)
		if bad != nil && !errors.Is(bad, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", bad)
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkParse reads answers of about 40 KB. Like the real ones they are
// mostly members that no row reads: a page has posts of 12 KB, one post of this
// host has 40.
func BenchmarkParse(b *testing.B) {
	unread := func(times int) string {
		return `"unread": {"manifest": "` + strings.Repeat("<MPD xmlns=\\\"urn:mpeg\\\">", 60*times) +
			`", "slides": [` + strings.Repeat(`{"id": "3198000000000000021", "width": 1080, "url": "https://cdn.example.net/m/21.jpg"}, `, 20*times) + `{}]},`
	}
	page := string(sample(b, social.Reels))
	begin := strings.Index(page, `"items": [`) + len(`"items": [`)
	end := strings.LastIndex(page[:strings.Index(page, `"paging_info"`)], "]")
	one := strings.Replace(page[begin:end], `"media": {`, `"media": {`+unread(1), 1)
	n := 40_000 / len(one)
	post := strings.Replace(string(sample(b, social.PostByShortcode)), `"code":`, unread(12)+`"code":`, 1)
	follower := strings.Repeat(`{"pk": "7044556677", "pk_id": "7044556677", "username": "rower_77", "full_name": "Rower", "is_private": true,
		"is_verified": false, "profile_pic_id": "3057393063559049210_7044556677", "profile_pic_url": "https://cdn.example.net/p/rower_77.jpg",
		"account_badges": [], "latest_reel_media": 0, "has_anonymous_profile_picture": false, "third_party_downloads_enabled": 0},`, 100)
	for _, tt := range []struct {
		fetch social.Fetch
		body  string
		logs  int
	}{
		{social.Reels, page[:begin] + strings.Repeat(","+one, n)[1:] + page[end:], n},
		{social.PostByShortcode, post, 1},
		{social.Followers, done(200, `{"users": [`+strings.TrimSuffix(follower, ",")+`], "next_max_id": "x"}`), 100},
	} {
		if !json.Valid([]byte(tt.body)) {
			b.Fatal("the answer to read is no JSON")
		}
		b.Run(string(tt.fetch), func(b *testing.B) {
			parse, ask, body := call(tt.fetch).Parse, askFor(tt.fetch), []byte(tt.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := parse(ask, providertest.At, body); err != nil || len(got.Logs) != tt.logs {
					b.Fatal(len(got.Logs), err)
				}
			}
		})
	}
}
