package arraybobo

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

var cred = providers.Credential{ID: 4, Source: source, Fields: map[string]providers.Secret{
	"X-RapidAPI-Key": "rapidsecretsecretsecret",
}}

// keys are good asks for the files in testdata, which are named for the fetch.
var keys = map[social.Fetch]string{
	social.ProfileByHandle: "northlake.cafe",
	social.ProfileByID:     "4811223344",
	social.PostsByID:       "4811223344",
	social.Reels:           "4811223344",
	social.PostByShortcode: "CxAmPle0022",
	social.TaggedPosts:     "4811223344",
	social.StoriesByID:     "4811223344",
}

func sample(t testing.TB, f social.Fetch) []byte {
	if f == social.ProfileByID {
		f = social.ProfileByHandle // the same layout
	}
	return providertest.Read(t, "testdata", string(f)+".json")
}

func call(f social.Fetch) providers.Call { return New("").Calls[f] }

func classify(ask social.Ask, a providers.Answer) *providers.Error {
	return providers.Classify(New(""), call(ask.Fetch), ask, a)
}

func askFor(f social.Fetch) social.Ask { return social.Ask{Fetch: f, Keys: []string{keys[f]}} }

func judgeAndParse(f social.Fetch, key string, body []byte) (social.Batch, error) {
	a := social.Ask{Fetch: f, Keys: []string{key}}
	if err := classify(a, providertest.Answer(200, body)); err != nil {
		return social.Batch{}, err
	}
	return call(f).Parse(a, providertest.At, body)
}

func TestProvider(t *testing.T) {
	bad := map[social.Fetch][][]string{
		social.ProfileByHandle: {{"a b"}, {"a/b"}, {strings.Repeat("a", 31)}},
		social.ProfileByID:     {{"northlake.cafe"}, {"1.5"}, {"-1"}},
		social.PostsByID:       {{"x"}},
		social.Reels:           {{"x"}},
		social.PostByShortcode: {{"a b"}, {"https://www.instagram.com/p/x/"}},
		social.TaggedPosts:     {{"x"}},
		social.StoriesByID:     {{"x"}, {"1,2"}},
	}
	var cases []providertest.Case
	for f, key := range keys {
		cases = append(cases, providertest.Case{Fetch: f, Keys: []string{key}, Bad: bad[f], Good: sample(t, f)})
	}
	providertest.Run(t, New(""), cred, cases...)
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		fetch  social.Fetch
		cursor string
		want   string
	}{
		{social.ProfileByHandle, "", "/ig/info_username/?user=northlake.cafe"},
		{social.ProfileByHandle, "x", "/ig/info_username/?user=northlake.cafe"},
		{social.ProfileByID, "", "/ig/info/?id_user=4811223344"},
		{social.PostsByID, "", "/ig/posts/?id_user=4811223344"},
		{social.PostsByID, "QVFD==", "/ig/posts/?end_cursor=QVFD%3D%3D&id_user=4811223344"},
		{social.Reels, "", "/ig/reels_posts/?id_user=4811223344"},
		{social.Reels, "QVFD==", "/ig/reels_posts/?id_user=4811223344&max_id=QVFD%3D%3D"},
		{social.PostByShortcode, "", "/ig/post_info/?shortcode=CxAmPle0022"},
		{social.TaggedPosts, "", "/ig/tagged/?id_user=4811223344"},
		{social.TaggedPosts, "QVFD==", "/ig/tagged/?end_cursor=QVFD%3D%3D&id_user=4811223344"},
		{social.StoriesByID, "", "/ig/stories/?id_user=4811223344"},
		{social.StoriesByID, "x", "/ig/stories/?id_user=4811223344"},
	} {
		ask := askFor(tt.fetch)
		ask.Cursor = tt.cursor
		r, err := call(tt.fetch).Request(cred, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Path + "?" + r.Query.Encode(); got != tt.want || r.Method != "" || r.Body != nil {
			t.Errorf("%s: %s %s, want GET %s", tt.fetch, r.Method, got, tt.want)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields map[string]providers.Secret
		want   string
	}{
		{"both", map[string]providers.Secret{"X-RapidAPI-Key": "k", "X-RapidAPI-Host": "h"}, "X-Rapidapi-Host=h X-Rapidapi-Key=k"},
		{"no host", map[string]providers.Secret{"x-rapidapi-key": "k"}, "X-Rapidapi-Host=" + apiHost + " X-Rapidapi-Key=k"},
		{"alias", map[string]providers.Secret{"key": "k"}, "X-Rapidapi-Host=" + apiHost + " X-Rapidapi-Key=k"},
		{"more", map[string]providers.Secret{"X-RapidAPI-Key": "k", "X-Extra": "e"}, "X-Extra=e X-Rapidapi-Host=" + apiHost + " X-Rapidapi-Key=k"},
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

// The "expected parse" blocks of 9.2 to 9.8, typed here a second time; tags
// and sponsors of reels as Q-AB-1 wants them, ids of sponsors as Q-X-19 does.
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		fetch              social.Fetch
		key, owner, handle string
		cursor             string
		want               []string
	}{
		{social.ProfileByHandle, "4811223344", "", "northlake.cafe", "", []string{
			"media_count=412", "followers=15230", "following=310",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `profile_pic_url="https://cdn.example.net/p/nl_hd.jpg"`,
			`bio="Coffee by the water"`, `full_name="Northlake Cafe"`, `profile_type="business"`, `fbid="110000000000001"`,
			`category_id="1129760000"`, `category="Coffee shop"`, `external_url="https://northlake.example/"`,
			`city="Northlake"`, "location_lat=41.9", "location_long=-87.9", `public_email="hello@northlake.example"`,
			`contact_phone=""`, "is_private=false", "is_verified=false"}},
		{social.PostsByID, "CxAmPle0021", "4811223344", "", "QVFDexampleAB2", []string{
			"comments=18", "likes=512", "view_count=null",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `post_type="carousel"`,
			`display_url="https://cdn.example.net/m/21.jpg"`, `thumbnail_src="https://cdn.example.net/m/21_t.jpg"`,
			"taken_at_timestamp=1695550000",
			`user_tags=[{"user":{"id":"5922334455","username":"dockside.bakery","full_name":"Dockside Bakery"},"x":0.5,"y":0.4}]`,
			`user_sponsors=[{"profile_id":"6033445566","handle":"oatmilk.brand"}]`, "is_sponsor=true",
			`caption="Market day with @dockside.bakery"`}},
		{social.PostByShortcode, "CxAmPle0022", "4811223344", "", "", []string{
			"comments=41", "likes=2210", "play_count=48210", "view_count=20110", "video_duration=21.4",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/22.mp4"`,
			`thumbnail_src="https://cdn.example.net/m/22_640.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695560000",
			"user_tags=[]", "user_sponsors=[]", "is_sponsor=false", `caption="Pour-over in 20 seconds #coffee"`,
			`location={"id":"212988663","has_public_page":true,"name":"Northlake, Illinois","slug":"northlake-illinois"}`}},
		{social.Reels, "CxAmPle0023", "4811223344", "", "QVFDexampleAB4", []string{
			"comments=9", "likes=801", "view_count=null", "play_count=15890",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/23.mp4"`,
			`thumbnail_src="https://cdn.example.net/m/23.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695570000",
			`caption="Latte art slow-mo"`,
			`user_tags=[{"user":{"pk":5922334455,"username":"dockside.bakery"},"position":[0.5,0.5]}]`,
			`user_sponsors=[{"profile_id":"6033445566","handle":"oatmilk.brand"}]`, "is_sponsor=true"}},
		{social.TaggedPosts, "CxAmPle0024", "5922334455", "", "", []string{
			"comments=2", "likes=77", "view_count=null",
			`profile_id="5922334455"`, `handle="dockside.bakery"`, `post_type="image"`,
			`display_url="https://cdn.example.net/m/24.jpg"`, `thumbnail_src="https://cdn.example.net/m/24_t.jpg"`,
			"taken_at_timestamp=1695580000", "caption=null", `tagged_user_ids="4811223344"`}},
		{social.StoriesByID, "3198000000000000078", "4811223344", "", "", []string{
			`post_id="3198000000000000078"`, `profile_id="4811223344"`, `handle="northlake.cafe"`,
			`content_type="image"`, `post_type="story"`, `story_links=["northlake.example"]`, `story_hashtags=["coffee"]`,
			`display_url="https://cdn.example.net/s/78.jpg"`, `thumbnail_src="https://cdn.example.net/s/78.jpg"`,
			"taken_at_timestamp=1695580500",
			`user_sponsors=[{"profile_id":"6033445566","handle":"oatmilk.brand"}]`, "is_sponsor=true"}},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], sample(t, tt.fetch))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		l := b.Logs[0]
		if l.Key != tt.key || l.Owner != tt.owner || l.Handle != tt.handle || l.Source != "rapidapi-arraybobo" {
			t.Errorf("%s: key %q, owner %q, handle %q, source %q", tt.fetch, l.Key, l.Owner, l.Handle, l.Source)
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
	for _, kv := range append(append(social.KVs(nil), l.Metrics...), l.Dimensions...) {
		out = append(out, kv.Key+"="+string(kv.Value))
	}
	return out
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fetch   social.Fetch
		status  int
		body    string
		kind    error
		message string
	}{
		{"handle: other case", social.ProfileByHandle, 200, `{"user":{"pk":1,"username":"NorthLake.Cafe"}}`, nil, ""},
		{"handle: another one", social.ProfileByHandle, 200, `{"user":{"pk":1,"username":"southlake.cafe"}}`, providers.ErrGone, "Invalid username"},
		{"handle: no user", social.ProfileByHandle, 200, `{"status":"ok"}`, providers.ErrGone, "Invalid username"},
		{"handle: user null", social.ProfileByHandle, 200, `{"user":null}`, providers.ErrGone, "Invalid username"},
		{"handle: user a boolean", social.ProfileByHandle, 200, `{"user":true}`, providers.ErrMalformed, "API Failure"},
		{"handle: no username", social.ProfileByHandle, 200, `{"user":{"pk":1}}`, providers.ErrMalformed, "API Failure"},
		{"id: number", social.ProfileByID, 200, `{"user":{"pk":4811223344}}`, nil, ""},
		{"id: text", social.ProfileByID, 200, `{"user":{"pk":"4811223344"}}`, nil, ""},
		{"id: another one", social.ProfileByID, 200, `{"user":{"pk":1}}`, providers.ErrGone, "Invalid user id"},
		{"id: no user", social.ProfileByID, 200, `{}`, providers.ErrGone, "Invalid user id"},
		{"id: data.user null", social.ProfileByID, 200, `{"data":{"user":null}}`, providers.ErrGone, "Invalid user id"},
		{"id: no pk", social.ProfileByID, 200, `{"user":{"username":"a"}}`, providers.ErrMalformed, "API Failure"},
		{"id: a list", social.ProfileByID, 200, `[{"user":{"pk":1}}]`, providers.ErrMalformed, "API Failure"},
		{"posts: private", social.PostsByID, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"posts: none", social.PostsByID, 200, `{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[]}}}}`, nil, ""},
		{"posts: data null", social.PostsByID, 200, `{"data":null}`, providers.ErrMalformed, "API Failure"},
		{"posts: user empty", social.PostsByID, 200, `{"data":{"user":{}}}`, providers.ErrMalformed, "API Failure"},
		{"reels: none", social.Reels, 200, `{"items":[]}`, nil, ""},
		{"reels: no items", social.Reels, 200, `{"status":"ok"}`, providers.ErrMalformed, "API Failure"},
		{"reels: items an object", social.Reels, 200, `{"items":{}}`, providers.ErrMalformed, "API Failure"},
		{"post: another one", social.PostByShortcode, 200, `{"shortcode":"Cx"}`, providers.ErrGone, "API Failure"},
		{"post: other case", social.PostByShortcode, 200, `{"shortcode":"cxample0022"}`, providers.ErrGone, "API Failure"},
		{"post: no shortcode", social.PostByShortcode, 200, `{"id":"1"}`, providers.ErrMalformed, "API Failure"},
		{"post: null", social.PostByShortcode, 200, `{"data":{"shortcode_media":null}}`, providers.ErrGone, "API Failure"},
		{"post: no items", social.PostByShortcode, 200, `{"items":[]}`, providers.ErrGone, "API Failure"},
		{"post: gone", social.PostByShortcode, 200, `{"message":"Media not found or unavailable","status":"fail"}`, providers.ErrGone, "API Failure"},
		{"tagged: private", social.TaggedPosts, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"tagged: none", social.TaggedPosts, 200, `{"data":{"user":{"edge_user_to_photos_of_you":{"edges":[]}}}}`, nil, ""},
		{"tagged: data null", social.TaggedPosts, 200, `{"data":null}`, providers.ErrMalformed, "API Failure"},
		{"tagged: posts", social.TaggedPosts, 200, `{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[]}}}}`, providers.ErrMalformed, "API Failure"},
		{"tagged: app, none", social.TaggedPosts, 200, `{"response":{"items":[]}}`, nil, ""},
		{"tagged: app, items an object", social.TaggedPosts, 200, `{"items":{}}`, providers.ErrMalformed, "API Failure"},
		{"stories: reels a text", social.StoriesByID, 200, `{"reels":"none"}`, providers.ErrMalformed, "API Failure"},
		{"stories: reels a list", social.StoriesByID, 200, `{"reels":[{"user":{}}]}`, providers.ErrMalformed, "API Failure"},
		{"stories: reel a number", social.StoriesByID, 200, `{"reels":{"4811223344":7}}`, providers.ErrMalformed, "API Failure"},
		{"stories: items an object", social.StoriesByID, 200, `{"reels":{"4811223344":{"user":{"username":"a"},"items":{}}}}`, providers.ErrMalformed, "API Failure"},
		{"stories: app, reel a list", social.StoriesByID, 200, `{"reel":[]}`, providers.ErrMalformed, "API Failure"},
		{"stories: no handle", social.StoriesByID, 200, `{"reels":{"4811223344":{"user":{},"items":[{}]}}}`, providers.ErrMalformed, "API Failure"},
		{"stories: gone", social.StoriesByID, 200, `{"message":"User not found","status":"fail"}`, providers.ErrGone, "API Failure"},
		{"forbidden", social.Reels, 403, `{"message":"no"}`, providers.ErrGone, "Forbidden exception"},
		{"not subscribed", social.Reels, 403, `{"message":"You are not subscribed to this API."}`, providers.ErrRefused, "Forbidden exception"},
		{"blocked", social.Reels, 403, `{"message":"Blocked User. Please contact your API provider."}`, providers.ErrRefused, "Forbidden exception"},
		{"invalid key", social.Reels, 401, `{"message":"Invalid API key. Go to https://docs.rapidapi.com for more info."}`, providers.ErrRefused, "Something went wrong"},
		{"payment", social.Reels, 402, ``, providers.ErrRefused, "Something went wrong"},
		{"login required", social.Reels, 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, "Forbidden exception"},
		{"challenge", social.Reels, 400, `{"message":"challenge_required","status":"fail"}`, providers.ErrUpstream, "Something went wrong"},
		{"bad request", social.Reels, 400, `{}`, providers.ErrGone, "Something went wrong"},
		{"teapot", social.Reels, 418, `{}`, providers.ErrUpstream, "Something went wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(askFor(tt.fetch), providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != tt.message {
				t.Errorf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.status, tt.message)
			}
		})
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	p := func(path ...any) []any { return path }
	media := p("data", "user", "edge_owner_to_timeline_media")
	node := append(slices.Clone(media), "edges", 0, "node")
	sponsor := append(slices.Clone(node), "edge_media_to_sponsor_user", "edges", 0, "node", "sponsor")
	reel := p("items", 0, "media")
	photos := p("data", "user", "edge_user_to_photos_of_you")
	stories := p("reels", "4811223344")
	story := append(slices.Clone(stories), "items", 0)
	for _, tt := range []struct {
		fetch social.Fetch
		path  []any
	}{
		{social.ProfileByHandle, p("user")},
		{social.ProfileByHandle, p("user", "pk")},
		{social.ProfileByHandle, p("user", "username")},
		{social.ProfileByID, p("user", "pk")},
		{social.PostsByID, p("data")},
		{social.PostsByID, p("data", "user")},
		{social.PostsByID, media},
		{social.PostsByID, append(slices.Clone(media), "edges")},
		{social.PostsByID, node},
		{social.PostsByID, append(slices.Clone(node), "shortcode")},
		{social.PostsByID, append(slices.Clone(sponsor), "id")},
		{social.PostsByID, append(slices.Clone(sponsor), "username")},
		{social.PostByShortcode, p("shortcode")},
		{social.Reels, p("items")},
		{social.Reels, reel},
		{social.Reels, append(slices.Clone(reel), "code")},
		{social.Reels, append(slices.Clone(reel), "sponsor_tags", 0, "sponsor", "pk")},
		{social.Reels, append(slices.Clone(reel), "sponsor_tags", 0, "sponsor", "username")},
		{social.TaggedPosts, p("data")},
		{social.TaggedPosts, p("data", "user")},
		{social.TaggedPosts, photos},
		{social.TaggedPosts, append(slices.Clone(photos), "edges")},
		{social.TaggedPosts, append(slices.Clone(photos), "edges", 0, "node")},
		{social.TaggedPosts, append(slices.Clone(photos), "edges", 0, "node", "shortcode")},
		{social.StoriesByID, append(slices.Clone(stories), "user", "username")},
		{social.StoriesByID, append(slices.Clone(story), "pk")},
		{social.StoriesByID, append(slices.Clone(story), "image_versions2")},
		{social.StoriesByID, append(slices.Clone(story), "image_versions2", "candidates")},
		{social.StoriesByID, append(slices.Clone(story), "image_versions2", "candidates", 0, "url")},
		{social.StoriesByID, append(slices.Clone(story), "story_link_stickers", 0, "story_link")},
		{social.StoriesByID, append(slices.Clone(story), "story_link_stickers", 0, "story_link", "display_url")},
		{social.StoriesByID, append(slices.Clone(story), "story_hashtags", 0, "hashtag")},
		{social.StoriesByID, append(slices.Clone(story), "story_hashtags", 0, "hashtag", "name")},
		{social.StoriesByID, append(slices.Clone(story), "sponsor_tags", 0, "sponsor", "pk")},
		{social.StoriesByID, append(slices.Clone(story), "sponsor_tags", 0, "sponsor", "username")},
	} {
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			last := tt.path[len(tt.path)-1]
			if l, ok := value0(value).([]int); ok && l != nil && (last == "edges" || last == "items") {
				continue // an empty page
			}
			broken := providertest.Without(t, sample(t, tt.fetch), tt.path, value...)
			_, err := call(tt.fetch).Parse(askFor(tt.fetch), providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%s: %v = %v: %v, want a malformed error", tt.fetch, tt.path, value, err)
				continue
			}
			name := fmt.Sprint(last)
			if name == "user" || name == "data" {
				name = "user" // or below it
			}
			if !strings.Contains(e.Detail, name) || !strings.HasPrefix(e.Detail, "rapidapi-arraybobo "+string(tt.fetch)) {
				t.Errorf("%s: %v = %v: %q does not name it", tt.fetch, tt.path, value, e.Detail)
			}
			if judged := classify(askFor(tt.fetch), providertest.Answer(200, broken)); judged != nil && judged.Detail == "" {
				t.Errorf("%s: %v: Judge gave no detail", tt.fetch, tt.path)
			}
		}
	}
}

func value0(v []any) any {
	if len(v) == 0 {
		return nil
	}
	return v[0]
}

func TestPages(t *testing.T) {
	page := func(info string) string {
		return `{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[]` + info + `}}}}`
	}
	photos := func(info string) string {
		return `{"data":{"user":{"edge_user_to_photos_of_you":{"edges":[]` + info + `}}}}`
	}
	for _, tt := range []struct {
		fetch      social.Fetch
		body, want string
	}{
		{social.PostsByID, page(``), ""},
		{social.PostsByID, page(`,"page_info":null`), ""},
		{social.PostsByID, page(`,"page_info":{"has_next_page":true,"end_cursor":""}`), ""},
		{social.PostsByID, page(`,"page_info":{"has_next_page":true,"end_cursor":null}`), ""},
		{social.PostsByID, page(`,"page_info":{"has_next_page":false,"end_cursor":"x"}`), ""},
		{social.PostsByID, page(`,"page_info":{"has_next_page":true,"end_cursor":"x"}`), "x"},
		{social.Reels, `{"items":[]}`, ""},
		{social.Reels, `{"items":[],"paging_info":{"more_available":true}}`, ""},
		{social.Reels, `{"items":[],"paging_info":{"more_available":false,"max_id":"x"}}`, ""},
		{social.Reels, `{"items":[],"paging_info":{"more_available":true,"max_id":17}}`, "17"},
		{social.Reels, `{"response":{"items":[],"paging_info":{"more_available":true,"max_id":"x"}}}`, "x"},
		{social.TaggedPosts, photos(``), ""},
		{social.TaggedPosts, photos(`,"page_info":{"has_next_page":true,"end_cursor":null}`), ""},
		{social.TaggedPosts, photos(`,"page_info":{"has_next_page":false,"end_cursor":"x"}`), ""},
		{social.TaggedPosts, photos(`,"page_info":{"has_next_page":true,"end_cursor":"x"}`), "x"},
		{social.TaggedPosts, `{"items":[],"more_available":true,"next_max_id":17}`, "17"},
		{social.TaggedPosts, `{"response":{"items":[],"more_available":false,"next_max_id":"x"}}`, ""},
		// All of these say that there are no stories (9.8, Q-AB-5).
		{social.StoriesByID, `{}`, ""},
		{social.StoriesByID, `{"reels":null,"status":"ok"}`, ""},
		{social.StoriesByID, `{"reels":{}}`, ""},
		{social.StoriesByID, `{"reels":[]}`, ""},
		{social.StoriesByID, `{"reels":{"4811223344":null}}`, ""},
		{social.StoriesByID, `{"reels":{"4811223344":{}}}`, ""},
		{social.StoriesByID, `{"reels":{"4811223344":{"items":[{}]}}}`, ""},
		{social.StoriesByID, `{"reels":{"4811223344":{"user":{"username":"a"}}}}`, ""},
		{social.StoriesByID, `{"reels":{"4811223344":{"user":{},"items":[]}}}`, ""},
		{social.StoriesByID, `{"reels":{"1":{"user":{"username":"a"},"items":[{}]}}}`, ""},
		{social.StoriesByID, `{"reel":null,"status":"ok"}`, ""},
		{social.StoriesByID, `{"reel":{"user":{"pk":1,"username":"a"},"items":[{}]}}`, ""},
		{social.StoriesByID, `{"data":{"reels_media":[]}}`, ""},
		{social.StoriesByID, `{"data":{"reels_media":[{"user":{"id":"1","username":"a"},"items":[{}]}]}}`, ""},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if err != nil || b.Cursor != tt.want || b.More != (tt.want != "") || len(b.Logs) != 0 {
			t.Errorf("%s: more %v, cursor %q, %v, want %q", tt.body, b.More, b.Cursor, err, tt.want)
		}
	}
}

func TestTypesAndTolerance(t *testing.T) {
	story := func(more string) string {
		return `{"reels":{"4811223344":{"user":{"username":"a"},"items":[{"pk":"1","image_versions2":{"candidates":[{"url":"u"}]}` + more + `}]}}}`
	}
	webStory := func(more string) string {
		return `{"data":{"reels_media":[{"user":{"id":"4811223344","username":"a"},"items":[{"id":"1","display_url":"u"` + more + `}]}]}}`
	}
	for _, tt := range []struct {
		fetch           social.Fetch
		body, key, want string
	}{
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","__typename":"GraphImage"}`, "post_type", `"image"`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","__typename":"XDTGraphSidecar"}`, "post_type", `"carousel"`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","__typename":2}`, "post_type", `"reels"`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","__typename":"2"}`, "post_type", `null`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","__typename":"GraphStory"}`, "post_type", `null`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","display_url":"u"}`, "display_url", `"u"`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","display_url":"u","video_url":"v"}`, "display_url", `"v"`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","edge_media_to_sponsor_user":{"edges":[{}]}}`, "is_sponsor", `true`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","edge_media_to_sponsor_user":{"edges":[{}]}}`, "user_sponsors", `[]`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","edge_media_preview_like":{"count":-1}}`, "likes", `-1`},
		{social.PostByShortcode, `{"shortcode":"CxAmPle0022","edge_media_preview_like":{"count":"12"}}`, "likes", `12`},
		{social.PostByShortcode, `{"data":{"xdt_shortcode_media":{"shortcode":"CxAmPle0022","video_view_count":5}}}`, "view_count", `5`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a","account_type":1}}`, "profile_type", `"personal"`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a","account_type":"1"}}`, "profile_type", `null`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a","is_private":0}}`, "is_private", `false`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a"}}`, "is_private", `null`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a","follower_count":"15230"}}`, "followers", `15230`},
		{social.ProfileByID, `{"user":{"pk":"4811223344","username":"a","category_id":0}}`, "category_id", `"0"`},
		{social.Reels, `{"items":[{"media":{"code":"a","usertags":[]}}]}`, "user_tags", `[]`},
		{social.Reels, `{"items":[{"media":{"code":"a"}}]}`, "user_tags", `null`},
		{social.Reels, `{"items":[{"media":{"code":"a"},"usertags":{"in":[{"user":{"pk":1}}]}}]}`, "user_tags", `[{"user":{"pk":1}}]`},
		{social.Reels, `{"items":[{"media":{"code":"a"},"sponsor_tags":[{"sponsor":{"pk":6,"username":"o"}},{}]}]}`, "user_sponsors", `[{"profile_id":"6","handle":"o"}]`},
		{social.Reels, `{"items":[{"media":{"code":"a"},"sponsor_tags":[{}]}]}`, "is_sponsor", `true`},
		{social.Reels, `{"items":[{"media":{"code":"a"}}]}`, "user_sponsors", `[]`},
		{social.TaggedPosts, `{"items":[{"code":"a"}]}`, "tagged_user_ids", `"4811223344"`},
		{social.TaggedPosts, `{"items":[{"code":"a","media_type":8,"carousel_media":[{"image_versions2":{"candidates":[{"url":"u"}]}}]}]}`, "display_url", `"u"`},
		{social.StoriesByID, story(``), "story_links", `[]`},
		{social.StoriesByID, story(`,"story_link_stickers":null,"story_hashtags":null`), "story_hashtags", `[]`},
		{social.StoriesByID, story(`,"media_type":2,"video_versions":[{"url":"v"}]`), "display_url", `"v"`},
		{social.StoriesByID, story(`,"media_type":2,"video_versions":[{"url":"v"}]`), "thumbnail_src", `"u"`},
		{social.StoriesByID, story(`,"video_versions":[]`), "display_url", `"u"`},
		{social.StoriesByID, story(`,"video_versions":null`), "display_url", `"u"`},
		{social.StoriesByID, story(`,"media_type":2`), "content_type", `"video"`},
		{social.StoriesByID, story(`,"media_type":"2"`), "content_type", `null`},
		{social.StoriesByID, story(`,"taken_at":"1695580500"`), "taken_at_timestamp", `1695580500`},
		{social.StoriesByID, story(`,"sponsor_tags":null`), "is_sponsor", `false`},
		{social.StoriesByID, story(``), "handle", `"a"`},
		{social.StoriesByID, story(``), "profile_id", `null`},
		{social.StoriesByID, webStory(``), "story_links", `[]`},
		{social.StoriesByID, webStory(`,"story_cta_url":"https://a.example/"`), "story_links", `["https://a.example/"]`},
		{social.StoriesByID, webStory(`,"tappable_objects":[{"__typename":"GraphTappableMention","username":"b"},{"__typename":"GraphTappableHashtag","name":"tea"},{"__typename":"GraphTappableHashtag","name":"ad"}]`), "story_hashtags", `["tea","ad"]`},
		{social.StoriesByID, webStory(`,"__typename":"GraphStoryImage"`), "content_type", `"image"`},
		{social.StoriesByID, webStory(`,"video_resources":[]`), "display_url", `"u"`},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		l := b.Logs[0]
		got, ok := l.Dimensions.Get(tt.key)
		if !ok {
			got, _ = l.Metrics.Get(tt.key)
		}
		if string(got) != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.body, tt.key, got, tt.want)
		}
	}
	_, err := judgeAndParse(social.ProfileByID, "4811223344", []byte(`{"user":{"pk":4811223344,"username":"a","follower_count":"many"}}`))
	if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), "user.follower_count") {
		t.Errorf("a count that is no number: %v", err)
	}
}

// Real answers of the interfaces that this host passes on
// (fixtures/SOURCES.md). Numbers are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	type path = []any
	timelineEdges := path{"data", "user", "edge_owner_to_timeline_media", "edges"}
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		key    string
		at     path            // of the record, or of the list of records
		each   path            // from an element of the list to the record
		id     string          // member that is the key of the log
		same   map[string]path // emitted key → member of the record
		owner  string
		cursor path
	}{
		{"ig-private-v1/user_info/natgeo_2026.json", social.ProfileByHandle, "NatGeo", path{"user"}, nil, "pk",
			map[string]path{"followers": {"follower_count"}, "media_count": {"media_count"}, "full_name": {"full_name"}}, "", nil},
		{"ig-private-v1/user_info/natgeo_2026.json", social.ProfileByID, "787132", path{"user"}, nil, "pk",
			map[string]path{"following": {"following_count"}}, "", nil},
		{"ig-private-v1/user_info/robertdowneyjr_info.json", social.ProfileByID, "1518284433", path{"user"}, nil, "pk",
			map[string]path{"followers": {"follower_count"}, "bio": {"biography"}}, "", nil},
		{"ig-private-v1/web_profile_info/natgeo_2026_web_profile.json", social.ProfileByHandle, "natgeo", path{}, nil, "pk",
			map[string]path{"followers": {"follower_count"}, "media_count": {"media_count"}}, "", nil},
		{"ig-web-graphql/user/robertdowneyjr_profile.json", social.ProfileByHandle, "robertdowneyjr", path{"data", "user"}, nil, "id",
			map[string]path{"followers": {"edge_followed_by", "count"}, "following": {"edge_follow", "count"},
				"media_count": {"edge_owner_to_timeline_media", "count"}, "category": {"category_name"}}, "", nil},
		{"lama/a1_user/instagram.json", social.ProfileByID, "25025320", path{"graphql", "user"}, nil, "id",
			map[string]path{"followers": {"edge_followed_by", "count"}, "external_url": {"external_url"}}, "", nil},

		{"ig-web-graphql/user_medias/robertdowneyjr_timeline.json", social.PostsByID, "1518284433", timelineEdges, path{"node"}, "shortcode",
			map[string]path{"likes": {"edge_media_preview_like", "count"}, "comments": {"edge_media_to_comment", "count"},
				"view_count": {"video_view_count"}, "taken_at_timestamp": {"taken_at_timestamp"}}, "1518284433",
			path{"data", "user", "edge_owner_to_timeline_media", "page_info", "end_cursor"}},

		{"ig-private-v1/clips_user/noholita_reels.json", social.Reels, "3171067", path{"items"}, path{"media"}, "code",
			map[string]path{"likes": {"like_count"}, "play_count": {"play_count"}, "view_count": {"view_count"}}, "3171067",
			path{"paging_info", "max_id"}},
		{"ig-private-v1/clips_user/natgeo_clips_2026.json", social.Reels, "787132", path{"response", "items"}, path{"media"}, "code",
			map[string]path{"likes": {"like_count"}, "play_count": {"play_count"}, "caption": {"caption", "text"}}, "",
			path{"response", "paging_info", "max_id"}},

		{"ig-web-graphql/media_info/spectures_image.json", social.PostByShortcode, "B9moTSsoN6r", path{"data", "shortcode_media"}, nil, "shortcode",
			map[string]path{"likes": {"edge_media_preview_like", "count"}, "comments": {"edge_media_to_parent_comment", "count"},
				"display_url": {"display_url"}}, "1415507160", nil},
		{"lama/a1_media/instagram_image.json", social.PostByShortcode, "CVx5hYTv4cT", path{"graphql", "shortcode_media"}, nil, "shortcode",
			map[string]path{"likes": {"edge_media_preview_like", "count"}, "taken_at_timestamp": {"taken_at_timestamp"}}, "25025320", nil},
		{"ig-private-v1/media_info/jlo_carousel.json", social.PostByShortcode, "CAnqPB-Jzcj", path{"items", 0}, nil, "code",
			map[string]path{"likes": {"like_count"}, "comments": {"comment_count"}}, "305701719", nil},
		{"ig-private-v1/media_info/jlo_carousel_with_video.json", social.PostByShortcode, "B-NYjoGpQqC", path{"items", 0}, nil, "code",
			map[string]path{"likes": {"like_count"}, "taken_at_timestamp": {"taken_at"}}, "305701719", nil},
		{"ig-private-v1/media_info/natgeo_reel_by_code_2026.json", social.PostByShortcode, "DRqAYKuAYTR", path{"media_or_ad"}, nil, "code",
			map[string]path{"likes": {"like_count"}, "play_count": {"play_count"}, "video_duration": {"video_duration"}}, "787132", nil},

		{"ig-web-graphql/tagged_medias/robertdowneyjr_tagged.json", social.TaggedPosts, "1518284433",
			path{"data", "user", "edge_user_to_photos_of_you", "edges"}, path{"node"}, "shortcode",
			map[string]path{"likes": {"edge_media_preview_like", "count"}, "comments": {"edge_media_to_comment", "count"},
				"view_count": {"video_view_count"}, "taken_at_timestamp": {"taken_at_timestamp"}, "profile_id": {"owner", "id"},
				"caption": {"edge_media_to_caption", "edges", 0, "node", "text"}}, "",
			path{"data", "user", "edge_user_to_photos_of_you", "page_info", "end_cursor"}},
		{"ig-private-v1/usertags_feed/natgeo_tagged_2026.json", social.TaggedPosts, "787132", path{"response", "items"}, nil, "code",
			map[string]path{"likes": {"like_count"}, "comments": {"comment_count"}, "handle": {"user", "username"},
				"taken_at_timestamp": {"taken_at"}, "caption": {"caption", "text"}}, "", path{"response", "next_max_id"}},

		{"ig-private-v1/stories/natgeo_reel_sponsored.json", social.StoriesByID, "787132", path{"reel", "items"}, nil, "pk",
			map[string]path{"handle": {"user", "username"}, "taken_at_timestamp": {"taken_at"},
				"display_url": {"video_versions", 0, "url"}, "thumbnail_src": {"image_versions2", "candidates", 0, "url"}}, "787132", nil},
		{"ig-web-graphql/stories/starwars_reel.json", social.StoriesByID, "625833324", path{"data", "reels_media", 0, "items"}, nil, "id",
			map[string]path{"handle": {"owner", "username"}, "taken_at_timestamp": {"taken_at_timestamp"},
				"display_url": {"video_resources", 0, "src"}, "thumbnail_src": {"display_url"}}, "625833324", nil},
	} {
		t.Run(string(tt.fetch)+" "+tt.file, func(t *testing.T) {
			body := providertest.Read(t, dir, tt.file)
			root := providertest.Decode(t, body)
			if tt.fetch == social.PostByShortcode { // the file says which one it is
				tt.key = fmt.Sprint(providertest.Lookup(root, append(slices.Clone(tt.at), tt.id)...))
			}
			b, err := judgeAndParse(tt.fetch, tt.key, body)
			if err != nil {
				t.Fatal(err)
			}
			if err := providertest.Sound(b); err != nil {
				t.Error(err)
			}
			found := providertest.Lookup(root, tt.at...)
			records := []any{found}
			if list, ok := found.([]any); ok {
				records = list
			}
			if len(b.Logs) != len(records) {
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
				if post := l.Dimensions.Text("post_type"); l.Kind == social.Post && post == "" {
					t.Errorf("%s has no post type", l.Key)
				}
				if l.Kind == social.Profile && l.Handle == "" || l.Kind == social.Post && l.Dimensions.Text("display_url") == "" {
					t.Errorf("%s: handle %q, display_url %q", l.Key, l.Handle, l.Dimensions.Text("display_url"))
				}
				for key, at := range tt.same {
					got, ok := l.Dimensions.Get(key)
					if !ok {
						got, _ = l.Metrics.Get(key)
					}
					var plain any
					d := json.NewDecoder(bytes.NewReader(got))
					d.UseNumber()
					if err := d.Decode(&plain); err != nil {
						t.Fatal(err)
					}
					if want := providertest.Lookup(record, at...); plain != want {
						t.Errorf("%s: %s is %v, want %v", l.Key, key, plain, want)
					}
				}
			}
			if tt.cursor != nil {
				if want := fmt.Sprint(providertest.Lookup(root, tt.cursor...)); b.Cursor != want || !b.More {
					t.Errorf("more %v, cursor %q, want %q", b.More, b.Cursor, want)
				}
			}
		})
	}
}

// The reel of a real answer, under its id as in 9.8, and its sponsors.
func TestFixtureReel(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	root := providertest.Decode(t, providertest.Read(t, dir, "ig-private-v1/stories/natgeo_reel_sponsored.json"))
	body, err := json.Marshal(map[string]any{"reels": map[string]any{"787132": providertest.Lookup(root, "reel")}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := judgeAndParse(social.StoriesByID, "787132", body)
	if err != nil || len(b.Logs) != 3 {
		t.Fatalf("%d logs, %v", len(b.Logs), err)
	}
	for i, l := range b.Logs {
		item := providertest.Lookup(root, "reel", "items", i)
		sponsor := providertest.Lookup(item, "sponsor_tags", 0, "sponsor")
		want := fmt.Sprintf(`[{"profile_id":"%v","handle":"%v"}]`, providertest.Lookup(sponsor, "pk"), providertest.Lookup(sponsor, "username"))
		if got, _ := l.Dimensions.Get("user_sponsors"); l.Key != fmt.Sprint(providertest.Lookup(item, "pk")) || string(got) != want {
			t.Errorf("%s: sponsors %s, want %s", l.Key, got, want)
		}
	}
	if b, err := judgeAndParse(social.StoriesByID, "1", body); err != nil || len(b.Logs) != 0 {
		t.Errorf("of another profile: %d logs, %v", len(b.Logs), err)
	}
}

func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		status int
		kind   error
	}{
		{"errors/rapidapi/monthly_quota_exceeded.json", social.Reels, 429, providers.ErrLimited},
		{"errors/rapidapi/rate_limit_per_second.json", social.Reels, 429, providers.ErrLimited},
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 400, providers.ErrUpstream},
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 200, providers.ErrUpstream},
		{"errors/instagram/login_failed.json", social.ProfileByHandle, 200, providers.ErrMalformed},
		{"errors/instagram/please_wait_require_login.json", social.Reels, 401, providers.ErrLimited},
		{"errors/instagram/please_wait_require_login.json", social.Reels, 429, providers.ErrLimited},
		{"errors/instagram/user_null_by_id.json", social.ProfileByID, 200, providers.ErrGone},
		{"errors/instagram/user_null_by_id.json", social.PostsByID, 200, providers.ErrGone},
		{"errors/instagram/user_null_by_id.json", social.TaggedPosts, 200, providers.ErrGone},
		{"errors/instagram/checkpoint_required.json", social.TaggedPosts, 200, providers.ErrUpstream},
		{"errors/instagram/please_wait_require_login.json", social.StoriesByID, 200, providers.ErrLimited},
	} {
		err := classify(askFor(tt.fetch), providertest.Answer(tt.status, providertest.Read(t, dir, tt.file)))
		if !errors.Is(err, tt.kind) || err.Status != tt.status {
			t.Errorf("%s: %d: %v, want %v", tt.file, tt.status, err, tt.kind)
		}
	}
	if n := len(providertest.Glob(t, filepath.Join(dir, "errors/rapidapi/*.json"))) + len(providertest.Glob(t, filepath.Join(dir, "errors/instagram/*.json"))); n != 6 {
		t.Errorf("%d files, want rows for 6", n)
	}
}

func FuzzParse(f *testing.F) {
	fetches := []social.Fetch{social.ProfileByHandle, social.ProfileByID, social.PostsByID, social.Reels, social.PostByShortcode,
		social.TaggedPosts, social.StoriesByID}
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range fetches {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
	}
	f.Add(uint8(0), 403, []byte(`{"message":"login_required","status":"fail"}`))
	f.Add(uint8(4), 200, []byte(`{"items":[{"code":"a","media_type":8,"carousel_media":[{}]}]}`))
	f.Add(uint8(5), 200, []byte(`{"response":{"items":[{"code":"a","user":{"pk":1}}],"next_max_id":7,"more_available":true}}`))
	f.Add(uint8(6), 200, []byte(`{"reel":{"user":{"pk":4811223344,"username":"a"},"items":[{"pk":1,"image_versions2":{"candidates":[{"url":"u"}]}}]}}`))
	f.Add(uint8(6), 200, []byte(`{"data":{"reels_media":[{"user":{"id":"4811223344","username":"a"},"items":[{"id":"1","display_url":"u","story_cta_url":"l"}]}]}}`))
	f.Add(uint8(1), 200, []byte(`{"data":{"user":{"id":"1","username":"a","edge_followed_by":{"count":1}}}}`))
	calls := New("").Calls
	f.Fuzz(func(t *testing.T, which uint8, status int, body []byte) {
		fetch := fetches[int(which)%len(fetches)]
		ask := askFor(fetch)
		if err := classify(ask, providertest.Answer(status, body)); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("Judge: %q has more than one line", err)
		}
		b, err := calls[fetch].Parse(ask, providertest.At, body)
		if err != nil && !errors.Is(err, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", err)
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkParse reads pages of about 40 KB. Like the real ones they are
// mostly members that no row reads: a post of either interface has 4 to 12 KB.
func BenchmarkParse(b *testing.B) {
	unread := `"unread": {"manifest": "` + strings.Repeat("<MPD xmlns=\\\"urn:mpeg\\\">", 60) +
		`", "slides": [` + strings.Repeat(`{"id": "3198000000000000021", "width": 1080, "url": "https://cdn.example.net/m/21.jpg"}, `, 20) + `{}]},`
	for fetch, page := range map[social.Fetch]struct{ list, object string }{
		social.PostsByID:   {`"edges": [`, `"node": {`},
		social.Reels:       {`"items": [`, `"media": {`},
		social.TaggedPosts: {`"edges": [`, `"node": {`},
	} {
		body := string(sample(b, fetch))
		begin := strings.Index(body, page.list) + len(page.list)
		depth, end := 0, begin // up to the bracket that closes the list
		for ; depth >= 0; end++ {
			switch body[end] {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
		}
		one := strings.Replace(body[begin:end-1], page.object, page.object+unread, 1)
		n := 40_000 / len(one)
		whole := []byte(body[:begin] + strings.Repeat(","+one, n)[1:] + body[end-1:])
		if !json.Valid(whole) {
			b.Fatal("the answer to read is no JSON")
		}
		b.Run(string(fetch), func(b *testing.B) {
			parse, ask := call(fetch).Parse, askFor(fetch)
			b.SetBytes(int64(len(whole)))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := parse(ask, providertest.At, whole); err != nil || len(got.Logs) != n {
					b.Fatal(len(got.Logs), err)
				}
			}
		})
	}
}
