package lama

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

var cred = providers.Credential{ID: 9, Source: source, Fields: map[string]providers.Secret{
	"x-access-key": "lamasecretsecretsecret",
}}

// keys are good asks for the files in testdata, which are named for the fetch.
var keys = map[social.Fetch]string{
	social.ProfileByHandle: "northlake.cafe",
	social.ProfileByID:     "4811223344",
	social.PostsByID:       "4811223344",
	social.PostByShortcode: "CxAmPle0073",
	social.Followers:       "4811223344",
	social.Following:       "4811223344",
	social.StoriesByID:     "4811223344",
	social.HashtagPosts:    "coffee",
}

func sample(t testing.TB, f social.Fetch) []byte {
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
	id := [][]string{{"northlake.cafe"}, {"1.5"}, {"-1"}}
	bad := map[social.Fetch][][]string{
		social.ProfileByHandle: {{"a b"}, {"a/b"}, {strings.Repeat("a", 31)}},
		social.ProfileByID:     id,
		social.PostsByID:       id,
		social.PostByShortcode: {{"a b"}, {"https://www.instagram.com/p/x/"}},
		social.Followers:       id,
		social.Following:       id,
		social.StoriesByID:     id,
		social.HashtagPosts:    {{"#coffee"}, {"a b"}, {"a&b"}},
	}
	var cases []providertest.Case
	for f, key := range keys {
		cases = append(cases, providertest.Case{Fetch: f, Keys: []string{key}, Bad: bad[f], Good: sample(t, f)})
	}
	providertest.Run(t, New(""), cred, cases...)
	if p := New("http://localhost:1/"); p.BaseURL != "http://localhost:1" || p.Limit != New("").Limit || p.Limit.Requests != 0 {
		t.Errorf("base URL %q, limit %+v", p.BaseURL, p.Limit)
	}
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		fetch  social.Fetch
		key    string
		cursor string
		want   string
	}{
		{social.ProfileByHandle, "", "", "/a1/user?username=northlake.cafe"},
		{social.ProfileByHandle, " NorthLake.Cafe ", "x", "/a1/user?username=NorthLake.Cafe"},
		{social.ProfileByID, "", "", "/v1/user/by/id?id=4811223344"},
		{social.PostsByID, "", "", "/v1/user/medias/chunk?max_amount=200&user_id=4811223344"},
		{social.PostsByID, "", "QVFD==", "/v1/user/medias/chunk?end_cursor=QVFD%3D%3D&max_amount=200&user_id=4811223344"},
		{social.PostByShortcode, "", "x", "/a1/media?code=CxAmPle0073"},
		{social.Followers, "", "", "/gql/user/followers/chunk?amount=200&user_id=4811223344"},
		{social.Followers, "", "QVFD==", "/gql/user/followers/chunk?amount=200&end_cursor=QVFD%3D%3D&user_id=4811223344"},
		{social.Following, "", "", "/gql/user/following/chunk?amount=200&user_id=4811223344"},
		{social.Following, "", "25", "/gql/user/following/chunk?amount=200&end_cursor=25&user_id=4811223344"},
		{social.StoriesByID, "", "x", "/v1/user/stories?user_id=4811223344"},
		{social.HashtagPosts, "", "", "/v1/hashtag/medias/recent/chunk?max_amount=24&name=coffee"},
		{social.HashtagPosts, "café", "QVFD==", "/v1/hashtag/medias/recent/chunk?max_amount=24&max_id=QVFD%3D%3D&name=caf%C3%A9"},
	} {
		ask := askFor(tt.fetch)
		if tt.key != "" {
			ask.Keys = []string{tt.key}
		}
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
		{"key", map[string]providers.Secret{"x-access-key": "k"}, "X-Access-Key=k"},
		{"other case", map[string]providers.Secret{"X-Access-Key": "k"}, "X-Access-Key=k"},
		{"alias", map[string]providers.Secret{"key": "k"}, "X-Access-Key=k"},
		{"both", map[string]providers.Secret{"key": "other", "x-access-key": "k"}, "X-Access-Key=k"},
		{"more", map[string]providers.Secret{"x-access-key": "k", "X-Extra": "e"}, "X-Access-Key=k X-Extra=e"},
	} {
		c := providers.Credential{Source: source, Fields: tt.fields}
		r, err := call(social.StoriesByID).Request(c, askFor(social.StoriesByID))
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
	c := providers.Credential{Source: source, Fields: map[string]providers.Secret{"X-RapidAPI-Key": "k"}}
	if err := New("").Check(c); err == nil {
		t.Error("Check let the key of another host pass")
	}
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/fetch_*.json") {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		f := social.Fetch(name)
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

// The "expected parse" blocks of 15.2 to 15.9, typed here a second time;
// seo_category_info, the story's time and the one display_url of a hashtag post
// as Q-LM-6, Q-LM-7 and Q-LM-8 want them, the embedded post as Q-LM-4.
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		fetch              social.Fetch
		at                 int // which log
		key, owner, handle string
		cursor             string
		want               []string
	}{
		{social.ProfileByHandle, 0, "4811223344", "", "northlake.cafe", "", []string{
			"followers=15230", "following=310", "media_count=412", "reels_media_count=12",
			`seo_category_info="[[\"Coffee Shops\",\"coffee_shops\"]]"`, `bio="Coffee by the water"`, "is_verified=false",
			"is_private=false", `external_url="https://northlake.example/"`, `fbid="17841400000000001"`,
			`handle="northlake.cafe"`, `full_name="Northlake Cafe"`, `profile_id="4811223344"`, "is_business=true",
			"is_professional=true", "is_business_or_creator=true", `category="Coffee shop"`,
			`business_category="Food & drink"`, `profile_pic_url="https://cdn.example.net/p/nl_hd.jpg"`,
			`recent_videos={"count":12,"page_info":{"has_next_page":false,"end_cursor":""},"edges":[]}`,
			`recent_posts={"count":412,"page_info":{"has_next_page":true,"end_cursor":"QVFDexampleLM1"},"edges":[` +
				`{"node":{"__typename":"GraphImage","shortcode":"CxAmPle0071","display_url":"https://cdn.example.net/m/71.jpg",` +
				`"edge_media_to_tagged_user":{"edges":[]}}}]}`}},
		{social.ProfileByHandle, 1, "CxAmPle0071", "4811223344", "", "", []string{
			"view_count=null", "comments=null", "likes=null",
			`post_type="image"`, `post_type_original="GraphImage"`, `short_code="CxAmPle0071"`, "dimensions=null",
			`thumbnail_src="https://cdn.example.net/m/71.jpg"`, "tagged_user_handles=[]", "tagged_user_ids=[]",
			"profile_id=null", "handle=null", "caption=null", "product_type=null", "song_artist=null", "song_name=null",
			"taken_at_timestamp=null"}},
		{social.ProfileByID, 0, "4811223344", "", "northlake.cafe", "", []string{
			"followers=15230", "following=310", "media_count=412",
			`bio="Coffee by the water"`, "is_verified=false", "is_private=false", "external_url=null", `city="Northlake"`,
			"location_lat=41.9", "location_long=-87.9", `public_email="hello@northlake.example"`, "contact_phone=null",
			`fbid="110000000000001"`, `handle="northlake.cafe"`, `full_name="Northlake Cafe"`, `profile_id="4811223344"`,
			"is_business=true", "is_business_or_creator=true", `category="Coffee shop"`, "business_category=null",
			`profile_pic_url="https://cdn.example.net/p/nl_hd.jpg"`}},
		{social.PostsByID, 0, "CxAmPle0072", "4811223344", "", "QVFDexampleLM3", []string{
			"view_count=0", "comments=7", "likes=260", "play_count=8800", "video_duration=17.5",
			`post_type="reels"`, `short_code="CxAmPle0072"`, "dimensions=null",
			`thumbnail_src="https://cdn.example.net/m/72.jpg"`, `profile_id="4811223344"`, `handle="northlake.cafe"`,
			`caption="Rainy day"`, `product_type="clips"`, "taken_at_timestamp=1695660800",
			`user_tags=[{"user":{"pk":"5922334455","username":"dockside.bakery"},"x":0.5,"y":0.5}]`,
			`location="Northlake, Illinois"`, "location_long=-87.9", "location_lat=41.9"}},
		{social.PostByShortcode, 0, "CxAmPle0073", "4811223344", "", "", []string{
			"comments=2", "likes=95", "view_count=null", "play_count=null",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, "display_url=null",
			`thumbnail_src="https://cdn.example.net/m/73.jpg"`, `post_type="image"`, "taken_at_timestamp=1695670000",
			`caption="Opening hours"`}},
		{social.StoriesByID, 0, "3198000000000000080", "4811223344", "", "", []string{
			`post_id="3198000000000000080"`, `profile_id="4811223344"`, `handle="northlake.cafe"`,
			`content_type="image"`, `post_type="story"`, `story_links=["northlake.example"]`, `story_hashtags=["coffee"]`,
			`display_url="https://cdn.example.net/s/80.jpg"`, `thumbnail_src="https://cdn.example.net/s/80.jpg"`,
			"taken_at_timestamp=1695718800"}},
		{social.HashtagPosts, 0, "CxAmPle0074", "8055667788", "", "QVFDexampleLM8", []string{
			"comments=3", "likes=58", "view_count=0", "play_count=null", "video_duration=0.0",
			`profile_id="8055667788"`, `handle="lakeside.eats"`, `full_name="Lakeside Eats"`, "display_url=null",
			"thumbnail_src=null", "is_paid_partnership=false", `post_type="carousel"`, `hashtags="#coffee,#brunch"`,
			"taken_at_timestamp=1695722400", `caption="Weekend list #coffee #brunch"`, `location="Northlake, Illinois"`,
			`location_city="Northlake"`, "location_long=-87.9", "location_lat=41.9"}},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], sample(t, tt.fetch))
		if err != nil || len(b.Logs) <= tt.at {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		l := b.Logs[tt.at]
		if l.Key != tt.key || l.Owner != tt.owner || l.Handle != tt.handle || l.Source != "lama" {
			t.Errorf("%s: key %q, owner %q, handle %q, source %q", tt.fetch, l.Key, l.Owner, l.Handle, l.Source)
		}
		if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
			t.Errorf("%s: more %v, cursor %q, want %q", tt.fetch, b.More, b.Cursor, tt.cursor)
		}
		if got := pairs(slices.Concat(l.Metrics, l.Dimensions)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.fetch, got, tt.want)
		}
	}
}

func pairs(kvs social.KVs) []string {
	var out []string
	for _, kv := range kvs {
		out = append(out, kv.Key+"="+string(kv.Value))
	}
	return out
}

// 15.7, its two blocks typed a second time.
func TestExpectedPeople(t *testing.T) {
	for _, tt := range []struct {
		fetch        social.Fetch
		from, to     string
		cursor       string
		source, peer []string
	}{
		{social.Followers, "7044556677", "4811223344", "QVFDexampleLM5", []string{
			`handle="rower_77"`, `full_name="Rower"`, `profile_pic_url="https://cdn.example.net/p/rower_77.jpg"`,
			"is_private=true", "is_verified=false"}, nil},
		{social.Following, "4811223344", "6033445566", "", nil, []string{
			`handle="oatmilk.brand"`, `full_name="Oatmilk Brand"`, `profile_pic_url="https://cdn.example.net/p/oatmilk.brand.jpg"`,
			"is_private=false", "is_verified=true"}},
	} {
		b, err := judgeAndParse(tt.fetch, " "+keys[tt.fetch]+" ", sample(t, tt.fetch))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		l := b.Logs[0]
		if l.Kind != social.Relationship || l.Type != social.Follows || l.Key != tt.from || l.Target != tt.to || l.Source != "lama" {
			t.Errorf("%s: %s %s %s → %s of %s", tt.fetch, l.Kind, l.Type, l.Key, l.Target, l.Source)
		}
		if !slices.Equal(pairs(l.Dimensions), tt.source) || !slices.Equal(pairs(l.TargetDimensions), tt.peer) || len(l.Metrics) != 0 {
			t.Errorf("%s: %q, %q, %q", tt.fetch, pairs(l.Dimensions), pairs(l.TargetDimensions), pairs(l.Metrics))
		}
		if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
			t.Errorf("%s: more %v, cursor %q, want %q", tt.fetch, b.More, b.Cursor, tt.cursor)
		}
	}
}

func TestJudge(t *testing.T) {
	const handle, id, shortcode = social.ProfileByHandle, social.ProfileByID, social.PostByShortcode
	for _, tt := range []struct {
		name    string
		fetch   social.Fetch
		status  int
		body    string
		kind    error
		shown   int
		message string
	}{
		{"handle: other case", handle, 200, `{"graphql":{"user":{"id":"1","username":"NorthLake.Cafe"}}}`, nil, 0, ""},
		{"handle: layout B", handle, 200, `{"pk":1,"username":"northlake.cafe"}`, nil, 0, ""},
		{"handle: another one", handle, 200, `{"graphql":{"user":{"id":"1","username":"southlake.cafe"}}}`, providers.ErrGone, 200, "API Failure"},
		{"handle: user null", handle, 200, `{"graphql":{"user":null}}`, providers.ErrGone, 200, "API Failure"},
		{"handle: graphql empty", handle, 200, `{"graphql":{}}`, providers.ErrGone, 200, "API Failure"},
		{"handle: graphql text", handle, 200, `{"graphql":"x"}`, providers.ErrMalformed, 200, "API Failure"},
		{"handle: user a boolean", handle, 200, `{"graphql":{"user":true}}`, providers.ErrMalformed, 200, "API Failure"},
		{"handle: no username", handle, 200, `{"graphql":{"user":{"id":"1"}}}`, providers.ErrMalformed, 200, "API Failure"},
		{"handle: nothing", handle, 200, `{}`, providers.ErrMalformed, 200, "API Failure"},
		{"handle: a list", handle, 200, `[]`, providers.ErrMalformed, 200, "API Failure"},
		{"id: number", id, 200, `{"pk":4811223344}`, nil, 0, ""},
		{"id: text", id, 200, `{"pk":"4811223344"}`, nil, 0, ""},
		{"id: layout A", id, 200, `{"graphql":{"user":{"id":"4811223344"}}}`, nil, 0, ""},
		{"id: another one", id, 200, `{"pk":1}`, providers.ErrGone, 200, "API Failure"},
		{"id: no pk", id, 200, `{"username":"northlake.cafe"}`, providers.ErrMalformed, 200, "API Failure"},
		{"profile: bad request", id, 400, `{"detail":"no","exc_type":"UserNotFound"}`, providers.ErrGone, 404, "Profile not found"},
		{"profile: not found", handle, 404, `{"detail":"no","exc_type":"UserNotFound"}`, providers.ErrGone, 404, "Profile not found"},
		{"profile: private", handle, 403, `{"detail":"no"}`, providers.ErrGone, 403, "Forbidden exception"},
		{"profile: challenge", handle, 400, `{"message":"challenge_required","status":"fail"}`, providers.ErrUpstream, 400, "Something went wrong"},
		{"posts: none", social.PostsByID, 200, `[[],""]`, nil, 0, ""},
		{"posts: three", social.PostsByID, 200, `[[],"",1]`, providers.ErrMalformed, 200, "Format Changed"},
		{"posts: one", social.PostsByID, 200, `[[]]`, providers.ErrMalformed, 200, "API Failure"},
		{"posts: nothing", social.PostsByID, 200, `[]`, providers.ErrMalformed, 200, "API Failure"},
		{"posts: no list", social.PostsByID, 200, `[{},""]`, providers.ErrMalformed, 200, "API Failure"},
		{"posts: an object", social.PostsByID, 200, `{"items":[]}`, providers.ErrMalformed, 200, "API Failure"},
		{"posts: cursor a list", social.PostsByID, 200, `[[],[]]`, providers.ErrMalformed, 200, "API Failure"},
		{"posts: bad request", social.PostsByID, 400, ``, providers.ErrGone, 404, "Profile not found"},
		{"posts: private", social.PostsByID, 403, `{}`, providers.ErrGone, 403, "Forbidden exception"},
		{"post: another one", shortcode, 200, `{"items":[{"code":"Cx"}]}`, providers.ErrGone, 200, "API Failure"},
		{"post: other case", shortcode, 200, `{"items":[{"code":"cxample0073"}]}`, providers.ErrGone, 200, "API Failure"},
		{"post: none", shortcode, 200, `{"items":[]}`, providers.ErrGone, 200, "API Failure"},
		{"post: items an object", shortcode, 200, `{"items":{"0":{"code":"CxAmPle0073"}}}`, providers.ErrMalformed, 200, "API Failure"},
		{"post: no code", shortcode, 200, `{"items":[{"pk":1}]}`, providers.ErrMalformed, 200, "API Failure"},
		{"post: no items", shortcode, 200, `{"num_results":0}`, providers.ErrMalformed, 200, "API Failure"},
		{"post: web, null", shortcode, 200, `{"graphql":{"shortcode_media":null}}`, providers.ErrGone, 200, "API Failure"},
		{"post: web, text", shortcode, 200, `{"graphql":{"shortcode_media":"x"}}`, providers.ErrMalformed, 200, "API Failure"},
		{"post: not found", shortcode, 404, `{"detail":"no","exc_type":"MediaNotFound"}`, providers.ErrGone, 404, "Failed to fetch post"},
		{"post: bad request", shortcode, 400, `{}`, providers.ErrGone, 400, "Something went wrong"},
		{"post: forbidden", shortcode, 403, `{}`, providers.ErrGone, 403, "Forbidden exception"},
		{"followers: one element", social.Followers, 200, `[[]]`, nil, 0, ""},
		{"followers: three", social.Followers, 200, `[[],null,1]`, nil, 0, ""},
		{"followers: nothing", social.Followers, 200, `[]`, providers.ErrMalformed, 200, "API Failure"},
		{"followers: null", social.Followers, 200, `[null,"x"]`, providers.ErrMalformed, 200, "API Failure"},
		{"followers: private", social.Followers, 403, `{"detail":"no"}`, providers.ErrGone, 403, "Something went wrong"},
		{"followers: login", social.Followers, 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, 403, "Forbidden exception"},
		{"following: not found", social.Following, 404, `{}`, providers.ErrGone, 404, "Something went wrong"},
		{"stories: none", social.StoriesByID, 200, `[]`, nil, 0, ""},
		{"stories: an object", social.StoriesByID, 200, `{}`, providers.ErrMalformed, 200, "API Failure"},
		{"stories: bad request", social.StoriesByID, 400, `{}`, providers.ErrGone, 400, "Something went wrong"},
		{"hashtag: not found", social.HashtagPosts, 404, `{}`, providers.ErrGone, 404, "Something went wrong"},
		{"payment", social.HashtagPosts, 402, `{"detail":"top up"}`, providers.ErrRefused, 402, "Something went wrong"},
		{"no key", social.StoriesByID, 401, `{"detail":"no"}`, providers.ErrRefused, 401, "Something went wrong"},
		{"limited", social.StoriesByID, 429, ``, providers.ErrLimited, 429, "Something went wrong"},
		{"teapot", social.StoriesByID, 418, `{}`, providers.ErrUpstream, 418, "Something went wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(askFor(tt.fetch), providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.shown || err.Message != tt.message {
				t.Errorf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.shown, tt.message)
			}
		})
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	p := func(path ...any) []any { return path }
	user := p("graphql", "user")
	for _, tt := range []struct {
		fetch social.Fetch
		path  []any
		any   bool // any type will do, only null will not
		items bool // an empty list will do
		text  bool // an empty text will do
	}{
		{fetch: social.ProfileByHandle, path: user},
		{fetch: social.ProfileByHandle, path: append(user, "id")},
		{fetch: social.ProfileByHandle, path: append(user, "username")},
		{fetch: social.ProfileByHandle, path: append(user, "is_business_account"), any: true},
		{fetch: social.ProfileByID, path: p("pk")},
		{fetch: social.ProfileByID, path: p("username")},
		{fetch: social.ProfileByID, path: p("is_business"), any: true},
		{fetch: social.PostsByID, path: p(0), items: true},
		{fetch: social.PostsByID, path: p(0, 0)},
		{fetch: social.PostsByID, path: p(0, 0, "code")},
		{fetch: social.PostsByID, path: p(0, 0, "media_type"), any: true},
		{fetch: social.PostByShortcode, path: p("items")},
		{fetch: social.PostByShortcode, path: p("items", 0)},
		{fetch: social.PostByShortcode, path: p("items", 0, "code")},
		{fetch: social.Followers, path: p(0), items: true},
		{fetch: social.Followers, path: p(0, 0)},
		{fetch: social.Followers, path: p(0, 0, "pk")},
		{fetch: social.Following, path: p(0, 0, "pk")},
		{fetch: social.StoriesByID, path: p(0)},
		{fetch: social.StoriesByID, path: p(0, "pk")},
		{fetch: social.StoriesByID, path: p(0, "stickers"), items: true},
		{fetch: social.StoriesByID, path: p(0, "stickers", 0, "story_link", "display_url"), text: true},
		{fetch: social.StoriesByID, path: p(0, "hashtags"), items: true},
		{fetch: social.StoriesByID, path: p(0, "hashtags", 0)},
		{fetch: social.StoriesByID, path: p(0, "hashtags", 0, "hashtag")},
		{fetch: social.StoriesByID, path: p(0, "hashtags", 0, "hashtag", "name"), text: true},
		{fetch: social.HashtagPosts, path: p(0), items: true},
		{fetch: social.HashtagPosts, path: p(0, 0)},
		{fetch: social.HashtagPosts, path: p(0, 0, "code")},
	} {
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			last := tt.path[len(tt.path)-1]
			if _, member := last.(string); len(value) == 0 && !member {
				continue // an element cannot be taken out
			}
			if len(value) > 0 && value[0] != nil {
				_, list := value[0].([]int)
				if tt.any || tt.items && list || tt.text && value[0] == "" {
					continue
				}
			}
			broken := providertest.Without(t, sample(t, tt.fetch), tt.path, value...)
			_, err := call(tt.fetch).Parse(askFor(tt.fetch), providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%s: %v = %v: %v, want a malformed error", tt.fetch, tt.path, value, err)
				continue
			}
			if !strings.Contains(e.Detail, fmt.Sprint(last)) || !strings.HasPrefix(e.Detail, "lama "+string(tt.fetch)) {
				t.Errorf("%s: %v = %v: %q does not name it", tt.fetch, tt.path, value, e.Detail)
			}
			if judged := classify(askFor(tt.fetch), providertest.Answer(200, broken)); judged != nil && judged.Detail == "" {
				t.Errorf("%s: %v: Judge gave no detail", tt.fetch, tt.path)
			}
		}
	}
	for _, body := range []string{
		`[{"pk":1,"stickers":[],"hashtags":[]}]`,
		`[{"pk":1,"stickers":[],"hashtags":[],"video_url":null,"thumbnail_url":null}]`,
	} {
		_, err := judgeAndParse(social.StoriesByID, "4811223344", []byte(body))
		if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), "0.video_url is missing") {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// The second flag has to be there only where the first is not true.
func TestBusinessOrCreator(t *testing.T) {
	for in, want := range map[string]string{
		`"is_business_account":true`:                                  "true",
		`"is_business_account":false,"is_professional_account":true`:  "true",
		`"is_business_account":false,"is_professional_account":false`: "false",
		`"is_business_account":0,"is_professional_account":1`:         "true",
		`"is_business_account":false`:                                 "graphql.user: is_professional_account is missing",
		`"is_professional_account":true`:                              "graphql.user: is_business_account is missing",
	} {
		body := `{"graphql":{"user":{"id":"4811223344","username":"northlake.cafe",` + in + `}}}`
		b, err := judgeAndParse(social.ProfileByHandle, "northlake.cafe", []byte(body))
		if err != nil {
			if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", in, err, want)
			}
			continue
		}
		if got, _ := b.Logs[0].Dimensions.Get("is_business_or_creator"); string(got) != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// An embedded post never costs the profile.
func TestEmbedded(t *testing.T) {
	body := func(edges string) []byte {
		return []byte(`{"graphql":{"user":{"id":"4811223344","username":"northlake.cafe","is_business_account":true,` +
			`"edge_owner_to_timeline_media":` + edges + `}}}`)
	}
	const good = `{"node":{"__typename":"GraphImage","shortcode":"A"}}`
	for edges, want := range map[string]int{
		`null`: 0, `{}`: 0, `[]`: 0, `"x"`: 0, `{"edges":null}`: 0, `{"edges":{}}`: 0, `{"edges":[]}`: 0,
		`{"edges":[` + good + `]}`:                                                                                   1,
		`{"edges":[null,{},{"node":null},7,` + good + `,[]]}`:                                                        1,
		`{"edges":[{"node":{"__typename":"GraphImage"}},` + good + `]}`:                                              1,
		`{"edges":[{"node":{"shortcode":"B"}},` + good + `]}`:                                                        1,
		`{"edges":[{"node":{"__typename":"GraphImage","shortcode":"B","edge_liked_by":{"count":[]}}},` + good + `]}`: 1,
		`{"edges":[{"node":{"__typename":"GraphImage","shortcode":"B","edge_media_to_tagged_user":{"edges":[{"node":{"user":{}}}]}}},` + good + `]}`: 1,
		`{"edges":[{"node":{"__typename":"GraphImage","shortcode":"B","edge_media_to_tagged_user":{"edges":[{"node":{"x":1}},7]}}},` + good + `]}`:   2,
		`{"edges":[{"node":{"__typename":"GraphImage","shortcode":"B","edge_media_to_tagged_user":{"edges":null}}},` + good + `]}`:                   2,
		`{"edges":[{"node":{"__typename":"XDTGraphVideo","shortcode":"B","edge_media_to_tagged_user":null,"video_view_count":"7"}},` + good + `]}`:   2,
		`{"edges":[{"node":{"__typename":"GraphImage","shortcode":"B","edge_media_to_tagged_user":{"edges":"x"}}},` + good + `,` + good + `]}`:       2,
	} {
		b, err := judgeAndParse(social.ProfileByHandle, "northlake.cafe", body(edges))
		if err != nil || len(b.Logs) != 1+want || b.More {
			t.Errorf("%s: %d logs, %v, want the profile and %d posts", edges, len(b.Logs), err, want)
			continue
		}
		if b.Logs[0].Kind != social.Profile {
			t.Errorf("%s: the first log is of a %s", edges, b.Logs[0].Kind)
		}
		for _, l := range b.Logs[1:] {
			if l.Kind != social.Post || l.Owner != "4811223344" {
				t.Errorf("%s: %s %s of %q", edges, l.Kind, l.Key, l.Owner)
			}
		}
	}
}

func TestPages(t *testing.T) {
	for _, fetch := range []social.Fetch{social.PostsByID, social.Followers, social.Following, social.HashtagPosts} {
		for body, want := range map[string]string{
			`[[],null]`: "", `[[],""]`: "", `[[],"x"]`: "x", `[[],25]`: "25", `[[],"4811223344_1"]`: "4811223344_1",
		} {
			b, err := judgeAndParse(fetch, keys[fetch], []byte(body))
			if err != nil || b.Cursor != want || b.More != (want != "") || len(b.Logs) != 0 {
				t.Errorf("%s %s: more %v, cursor %q, %v, want %q", fetch, body, b.More, b.Cursor, err, want)
			}
		}
	}
	if b, err := judgeAndParse(social.StoriesByID, "1", []byte(`[]`)); err != nil || b.More || len(b.Logs) != 0 {
		t.Errorf("no stories: %+v, %v", b, err)
	}
}

func TestTypesAndTolerance(t *testing.T) {
	media := func(more string) string { return `[[{"code":"A","media_type":1,` + more + `}],""]` }
	story := func(more string) string {
		return `[{"pk":1,"stickers":[],"hashtags":[],"thumbnail_url":"t",` + more + `}]`
	}
	b := func(more string) string { return `{"pk":4811223344,"username":"a","is_business":false` + more + `}` }
	for _, tt := range []struct {
		fetch           social.Fetch
		body, key, want string
	}{
		{social.ProfileByID, b(``), "profile_id", `"4811223344"`},
		{social.ProfileByID, b(`,"interop_messaging_user_fbid":110000000000001`), "fbid", `"110000000000001"`},
		{social.ProfileByID, b(`,"follower_count":"15230"`), "followers", `15230`},
		{social.ProfileByID, b(`,"is_private":0`), "is_private", `false`},
		{social.ProfileByID, b(``), "is_private", `null`},
		{social.ProfileByID, b(``), "is_business_or_creator", `false`},
		{social.ProfileByID, b(`,"profile_pic_url":"p","profile_pic_url_hd":null`), "profile_pic_url", `"p"`},
		{social.ProfileByID, b(`,"unknown":{"a":[1]},"latitude":""`), "location_lat", `""`},
		{social.PostsByID, media(`"like_count":"12"`), "likes", `12`},
		{social.PostsByID, media(`"like_count":-1`), "likes", `-1`},
		{social.PostsByID, media(`"taken_at_ts":1695660800.0`), "taken_at_timestamp", `1695660800`},
		{social.PostsByID, media(`"taken_at_ts":null,"taken_at":"2023-09-25T16:53:20Z"`), "taken_at_timestamp", `1695660800`},
		{social.PostsByID, media(`"user":{"pk":4811223344}`), "profile_id", `"4811223344"`},
		{social.PostsByID, media(`"thumbnail_url":null,"resources":[{"thumbnail_url":"r"}]`), "thumbnail_src", `"r"`},
		{social.PostsByID, media(`"usertags":null`), "user_tags", `null`},
		{social.PostsByID, `[[{"code":"A","media_type":"1"}],""]`, "post_type", `null`},
		{social.PostsByID, `[[{"code":"A","media_type":8}],""]`, "post_type", `"carousel"`},
		{social.HashtagPosts, `[[{"code":"A"}]]`, "post_type", `null`},
		{social.HashtagPosts, media(`"video_url":"v","thumbnail_url":"t"`), "display_url", `"v"`},
		{social.HashtagPosts, media(`"video_url":null,"display_url":"d","thumbnail_url":"t"`), "display_url", `"d"`},
		{social.HashtagPosts, media(`"video_url":null,"thumbnail_url":"t"`), "display_url", `"t"`},
		{social.HashtagPosts, media(`"caption_text":""`), "hashtags", `""`},
		{social.HashtagPosts, media(`"caption_text":"a #b\n#c,#d # e#f"`), "hashtags", `"#b,#c,#d,#"`},
		{social.HashtagPosts, media(`"is_paid_partnership":1`), "is_paid_partnership", `true`},
		{social.StoriesByID, story(`"taken_at":"2023-09-26T09:00:00.25Z"`), "taken_at_timestamp", `1695718800`},
		{social.StoriesByID, story(`"taken_at":1695718800`), "taken_at_timestamp", `1695718800`},
		{social.StoriesByID, story(`"taken_at":null`), "taken_at_timestamp", `null`},
		{social.StoriesByID, story(`"media_type":2`), "content_type", `"video"`},
		{social.StoriesByID, story(`"media_type":8`), "content_type", `null`},
		{social.PostByShortcode, `{"items":[{"code":"CxAmPle0073","display_url":"d"}]}`, "display_url", `"d"`},
		{social.PostByShortcode, `{"items":[{"code":"CxAmPle0073","display_url":"d","video_versions":[{"url":"v"}]}]}`, "display_url", `"v"`},
		{social.PostByShortcode, `{"items":[{"code":"CxAmPle0073","taken_at":"1695670000"}]}`, "taken_at_timestamp", `1695670000`},
		{social.PostByShortcode, `{"graphql":{"shortcode_media":{"shortcode":"CxAmPle0073","video_url":"v","display_url":"d"}}}`, "display_url", `"v"`},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %v", tt.body, err)
			continue
		}
		if got := value(b.Logs[0], tt.key); string(got) != tt.want {
			t.Errorf("%s: %s is %s, want %s", tt.body, tt.key, got, tt.want)
		}
	}
	for body, want := range map[string]string{
		media(`"like_count":"many"`):                         "0.0.like_count",
		media(`"taken_at_ts":"soon"`):                        "0.0.taken_at_ts",
		`[[{"code":"A","media_type":1},{"media_type":1}],0]`: "0.1.code",
	} {
		_, err := judgeAndParse(social.PostsByID, "4811223344", []byte(body))
		if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", body, err, want)
		}
	}
}

func value(l social.Log, key string) json.RawMessage {
	for _, kvs := range []social.KVs{l.Dimensions, l.Metrics, l.TargetDimensions} {
		if v, ok := kvs.Get(key); ok {
			return v
		}
	}
	return nil
}

// Real answers of this host and of the interfaces behind it
// (fixtures/SOURCES.md). Numbers are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	type path = []any
	likes := map[string]path{"likes": {"like_count"}, "comments": {"comment_count"}, "play_count": {"play_count"},
		"taken_at_timestamp": {"taken_at_ts"}, "caption": {"caption_text"}, "profile_id": {"user", "pk"}}
	person := map[string]path{"handle": {"username"}, "full_name": {"full_name"}, "is_private": {"is_private"}, "is_verified": {"is_verified"}}
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		key    string
		at     path            // of the record, or of the list of records
		id     string          // member that is the key of the log
		same   map[string]path // emitted key → member of the record
		owner  string
		cursor string
	}{
		{"lama/a1_user/instagram.json", social.ProfileByHandle, "Instagram", path{"graphql", "user"}, "id",
			map[string]path{"followers": {"edge_followed_by", "count"}, "following": {"edge_follow", "count"},
				"is_business_or_creator": {"is_professional_account"}, "category": {"category_name"}, "fbid": {"fbid"},
				"profile_pic_url": {"profile_pic_url_hd"}}, "", ""},
		{"lama/a1_user/instagram.json", social.ProfileByID, "25025320", path{"graphql", "user"}, "id",
			map[string]path{"external_url": {"external_url"}}, "", ""},
		{"lama/user_by_username/natgeo.json", social.ProfileByID, "787132", path{}, "pk",
			map[string]path{"followers": {"follower_count"}, "following": {"following_count"}, "media_count": {"media_count"},
				"bio": {"biography"}, "handle": {"username"}, "profile_pic_url": {"profile_pic_url"}, "is_business_or_creator": {"is_business"}}, "", ""},
		{"lama/user_by_username/natgeo.json", social.ProfileByHandle, "NatGeo", path{}, "pk",
			map[string]path{"followers": {"follower_count"}}, "", ""},

		{"lama/user_medias_chunk/natgeo_medias.json", social.PostsByID, "787132", path{0}, "code",
			likes, "787132", "3868170261056492782_787132"},
		{"lama/hashtag_medias_top_recent_chunk/love_top_recent.json", social.HashtagPosts, "love", path{0}, "code",
			likes, "", "WyJlNDM1NTkwMzZjZjg0ZDIxODdhNzJjY2ZlODI3YjE4NSIsW10sMV0="},
		{"lama/hashtag_medias_clips_chunk/love_clips.json", social.HashtagPosts, "love", path{0}, "code",
			likes, "", "WyIzMzBmNzAyNDkxM2Y0MzYyOWY4NjliNGNhYjJiODYxZCIsW10sMV0="},

		{"lama/a1_media/instagram_image.json", social.PostByShortcode, "", path{"graphql", "shortcode_media"}, "shortcode",
			map[string]path{"likes": {"edge_media_preview_like", "count"}, "taken_at_timestamp": {"taken_at_timestamp"},
				"display_url": {"display_url"}, "caption": {"edge_media_to_caption", "edges", 0, "node", "text"}}, "25025320", ""},
		{"lama/media_by_code/natgeo_reel.json", social.PostByShortcode, "", path{}, "code",
			map[string]path{"likes": {"like_count"}, "play_count": {"play_count"}, "taken_at_timestamp": {"taken_at_ts"},
				"display_url": {"video_url"}, "thumbnail_src": {"thumbnail_url"}, "caption": {"caption_text"}}, "787132", ""},
		{"ig-private-v1/media_info/jlo_carousel.json", social.PostByShortcode, "", path{"items", 0}, "code",
			map[string]path{"likes": {"like_count"}, "comments": {"comment_count"}, "taken_at_timestamp": {"taken_at"},
				"thumbnail_src": {"carousel_media", 0, "image_versions2", "candidates", 0, "url"}}, "305701719", ""},
		{"ig-private-v1/media_info/jlo_carousel_with_video.json", social.PostByShortcode, "", path{"items", 0}, "code",
			map[string]path{"likes": {"like_count"}, "caption": {"caption", "text"}}, "305701719", ""},

		{"lama/user_stories/natgeo_stories.json", social.StoriesByID, "787132", path{}, "pk",
			map[string]path{"display_url": {"video_url"}, "thumbnail_src": {"thumbnail_url"}, "handle": {"user", "username"}}, "787132", ""},

		{"lama/gql_user_followers_chunk/natgeo_gql_followers.json", social.Followers, "787132", path{0}, "pk", person, "",
			"QVFDVHduT05fM3B5SnIyNko4X3VHRVBSMXdURU9vaWEtVm5OVFB4OGszMEpZcVpOaTB5N1RRSU9haVozOTFpNURoeEhXN1hOVHkyRlFsZldnYmcybVEtQg=="},
		{"lama/user_followers_chunk/natgeo_followers.json", social.Followers, "787132", path{0}, "pk", person, "", ""},
		{"lama/user_following_chunk/natgeo_following.json", social.Following, "787132", path{0}, "pk", person, "", "25"},
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
			if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
				t.Errorf("more %v, cursor %q, want %q", b.More, b.Cursor, tt.cursor)
			}
			found := providertest.Lookup(root, tt.at...)
			records := []any{found}
			if list, ok := found.([]any); ok {
				records = list
			}
			if len(b.Logs) != len(records) || len(records) == 0 {
				t.Fatalf("%d logs, want %d", len(b.Logs), len(records))
			}
			for i, l := range b.Logs {
				other := l.Key
				if tt.fetch == social.Following {
					other = l.Target
				}
				if want := fmt.Sprint(providertest.Lookup(records[i], tt.id)); other != want {
					t.Errorf("key %q, want %q", other, want)
				}
				if tt.owner != "" && l.Owner != tt.owner {
					t.Errorf("owner %q, want %q", l.Owner, tt.owner)
				}
				if post := l.Dimensions.Text("post_type"); l.Kind == social.Post && (post == "" || l.Dimensions.Text("thumbnail_src") == "") {
					t.Errorf("%s: post type %q, thumbnail %q", l.Key, post, l.Dimensions.Text("thumbnail_src"))
				}
				if l.Kind == social.Profile && l.Handle == "" {
					t.Errorf("%s has no handle", l.Key)
				}
				for key, at := range tt.same {
					var plain any
					d := json.NewDecoder(bytes.NewReader(value(l, key)))
					d.UseNumber()
					if err := d.Decode(&plain); err != nil {
						t.Fatalf("%s: %s: %v", l.Key, key, err)
					}
					if want := providertest.Lookup(records[i], at...); plain != want {
						t.Errorf("%s: %s is %v, want %v", l.Key, key, plain, want)
					}
				}
			}
		})
	}
	// What the stories say of their time, read here once by hand.
	b, err := judgeAndParse(social.StoriesByID, "787132", providertest.Read(t, dir, "lama/user_stories/natgeo_stories.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"1775658675", "1775658704", "1775658736"} {
		if got := value(b.Logs[i], "taken_at_timestamp"); string(got) != want {
			t.Errorf("story %d was published at %s, want %s", i, got, want)
		}
	}
}

// The posts that Instagram's web interface embeds in its own timeline, put where
// this host has them.
func TestFixtureEmbedded(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	at := []any{"data", "user", "edge_owner_to_timeline_media"}
	root := providertest.Decode(t, providertest.Read(t, dir, "ig-web-graphql/user_medias/robertdowneyjr_timeline.json"))
	media, err := json.Marshal(providertest.Lookup(root, at...))
	if err != nil {
		t.Fatal(err)
	}
	user, err := json.Marshal(providertest.Lookup(providertest.Decode(t,
		providertest.Read(t, dir, "ig-web-graphql/user/robertdowneyjr_profile.json")), "data", "user"))
	if err != nil {
		t.Fatal(err)
	}
	body := providertest.Without(t, []byte(`{"graphql":{"user":`+string(user)+`}}`),
		[]any{"graphql", "user", "edge_owner_to_timeline_media"}, json.RawMessage(media))
	b, perr := judgeAndParse(social.ProfileByHandle, "robertdowneyjr", body)
	if perr != nil {
		t.Fatal(perr)
	}
	edges := providertest.Lookup(root, append(slices.Clone(at), "edges")...).([]any)
	if len(edges) == 0 || len(b.Logs) != 1+len(edges) {
		t.Fatalf("%d logs, want the profile and %d posts", len(b.Logs), len(edges))
	}
	if got, want := string(value(b.Logs[0], "media_count")), fmt.Sprint(providertest.Lookup(root, append(slices.Clone(at), "count")...)); got != want {
		t.Errorf("media_count %s, want %s", got, want)
	}
	for i, l := range b.Logs[1:] {
		node := providertest.Lookup(edges[i], "node")
		if l.Key != providertest.Lookup(node, "shortcode") || l.Owner != "1518284433" {
			t.Errorf("post %d: %s of %s", i, l.Key, l.Owner)
		}
		handles, ids := []string{}, []string{}
		tags, _ := providertest.Lookup(node, "edge_media_to_tagged_user", "edges").([]any)
		for _, e := range tags {
			handles = append(handles, fmt.Sprint(providertest.Lookup(e, "node", "user", "username")))
			ids = append(ids, fmt.Sprint(providertest.Lookup(e, "node", "user", "id")))
		}
		for key, want := range map[string]any{
			"likes":               providertest.Lookup(node, "edge_media_preview_like", "count"),
			"comments":            providertest.Lookup(node, "edge_media_to_comment", "count"),
			"thumbnail_src":       providertest.Lookup(node, "thumbnail_src"),
			"taken_at_timestamp":  providertest.Lookup(node, "taken_at_timestamp"),
			"tagged_user_handles": handles,
			"tagged_user_ids":     ids,
		} {
			text, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var a, b any
			if json.Unmarshal(value(l, key), &a) != nil || json.Unmarshal(text, &b) != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %s is %s, want %s", l.Key, key, value(l, key), text)
			}
		}
	}
}

// Files of calls that beat does not make are turned down, not misread.
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
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 400, providers.ErrUpstream},
		{"errors/instagram/checkpoint_required.json", social.ProfileByHandle, 200, providers.ErrUpstream},
		{"errors/instagram/login_failed.json", social.ProfileByHandle, 200, providers.ErrMalformed},
		{"errors/instagram/login_failed.json", social.Followers, 200, providers.ErrMalformed},
		{"errors/instagram/please_wait_require_login.json", social.StoriesByID, 401, providers.ErrLimited},
		{"errors/instagram/please_wait_require_login.json", social.PostByShortcode, 429, providers.ErrLimited},
		{"errors/instagram/user_null_by_id.json", social.ProfileByID, 200, providers.ErrGone},
		{"errors/instagram/user_null_by_id.json", social.PostsByID, 200, providers.ErrMalformed},

		{"lama/sys_balance/balance.json", social.ProfileByID, 200, providers.ErrMalformed},
		{"lama/hashtag_by_name/love.json", social.HashtagPosts, 200, providers.ErrMalformed},
		{"lama/hashtag_by_name/love.json", social.ProfileByID, 200, providers.ErrMalformed},
		{"lama/media_insight/natgeo_reel_insight.json", social.PostByShortcode, 200, providers.ErrMalformed},
		{"lama/media_likers/natgeo_reel_likers.json", social.Followers, 200, providers.ErrMalformed},
		{"lama/gql_media_likers/natgeo_reel_gql_likers.json", social.Followers, 200, providers.ErrMalformed},
		{"lama/gql_comments/instagram_comment_with_reply.json", social.PostsByID, 200, providers.ErrMalformed},
	} {
		err := classify(askFor(tt.fetch), providertest.Answer(tt.status, providertest.Read(t, dir, tt.file)))
		if !errors.Is(err, tt.kind) || err.Status != tt.status {
			t.Errorf("%s: %d: %v, want %v", tt.file, tt.status, err, tt.kind)
		}
	}
	// A list of highlights has the shape of one of stories up to its elements.
	_, err := judgeAndParse(social.StoriesByID, "787132", providertest.Read(t, dir, "lama/user_highlights/natgeo_highlights.json"))
	if !errors.Is(err, providers.ErrMalformed) {
		t.Errorf("highlights as stories: %v", err)
	}
	if n := len(providertest.Glob(t, filepath.Join(dir, "lama/*/*.json"))); n != 18 {
		t.Errorf("%d files, want rows for 18", n)
	}
	if n := len(providertest.Glob(t, filepath.Join(dir, "errors/instagram/*.json"))); n != 4 {
		t.Errorf("%d files, want rows for 4", n)
	}
}

func FuzzParse(f *testing.F) {
	fetches := []social.Fetch{social.ProfileByHandle, social.ProfileByID, social.PostsByID, social.PostByShortcode,
		social.Followers, social.Following, social.StoriesByID, social.HashtagPosts}
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range fetches {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
	}
	f.Add(uint8(0), 403, []byte(`{"message":"login_required","status":"fail"}`))
	f.Add(uint8(1), 400, []byte(`{"detail":"no","exc_type":"UserNotFound"}`))
	f.Add(uint8(2), 200, []byte(`[[],"",1]`))
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

// BenchmarkParse reads answers of about 40 KB. Like the real ones they are
// mostly members that no row reads: a post has 2 to 12 KB.
func BenchmarkParse(b *testing.B) {
	unread := `"unread": {"manifest": "` + strings.Repeat("<MPD xmlns=\\\"urn:mpeg\\\">", 60) +
		`", "slides": [` + strings.Repeat(`{"id": "3198000000000000021", "width": 1080, "url": "https://cdn.example.net/m/21.jpg"}, `, 20) + `{}]},`
	for _, tt := range []struct {
		fetch        social.Fetch
		list, object string // what opens the list of posts, and a post
	}{
		{social.ProfileByHandle, "\"edges\": [\n", `"node": {`},
		{social.PostsByID, "[\n  [", `{`},
		{social.Followers, "[\n  [", ``},
	} {
		body := string(sample(b, tt.fetch))
		begin := strings.Index(body, tt.list) + len(tt.list)
		depth, end := 0, begin // up to the bracket that closes the list
		for ; depth >= 0; end++ {
			switch body[end] {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
		}
		one := body[begin : end-1]
		if tt.object != "" {
			one = strings.Replace(one, tt.object, tt.object+unread, 1)
		}
		n := 40_000 / len(one)
		whole := []byte(body[:begin] + strings.Repeat(","+one, n)[1:] + body[end-1:])
		if !json.Valid(whole) {
			b.Fatal("the answer to read is no JSON")
		}
		want := n
		if tt.fetch == social.ProfileByHandle {
			want++
		}
		b.Run(string(tt.fetch), func(b *testing.B) {
			parse, ask := call(tt.fetch).Parse, askFor(tt.fetch)
			b.SetBytes(int64(len(whole)))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := parse(ask, providertest.At, whole); err != nil || len(got.Logs) != want {
					b.Fatal(len(got.Logs), err)
				}
			}
		})
	}
}
