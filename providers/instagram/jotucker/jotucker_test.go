package jotucker

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
	"beat/providers/ratelimit"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 4, Source: source, Fields: map[string]providers.Secret{
	"X-RapidAPI-Key": "rapidsecretsecretsecret",
}}

// keys are good asks for the files in testdata, which are named for the fetch.
var keys = map[social.Fetch]string{
	social.ProfileByID:     "4811223344",
	social.ProfileByHandle: "northlake.cafe",
	social.PostsByID:       "4811223344",
	social.PostByShortcode: "CxAmPle0033",
	social.Following:       "4811223344",
	social.Followers:       "4811223344",
	social.PostLikes:       "CxAmPle0033",
	social.PostComments:    "CxAmPle0033",
	social.HashtagPosts:    "coffee",
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
	badID := [][]string{{"northlake.cafe"}, {"1.5"}, {"-1"}}
	badCode := [][]string{{"a b"}, {"https://www.instagram.com/p/x/"}}
	bad := map[social.Fetch][][]string{
		social.ProfileByID:     badID,
		social.ProfileByHandle: {{"a b"}, {"a/b"}, {strings.Repeat("a", 31)}},
		social.PostsByID:       badID,
		social.PostByShortcode: badCode,
		social.Following:       badID,
		social.Followers:       badID,
		social.PostLikes:       badCode,
		social.PostComments:    badCode,
		social.HashtagPosts:    {{"#coffee"}, {"two words"}, {strings.Repeat("a", 151)}},
	}
	var cases []providertest.Case
	for f, key := range keys {
		cases = append(cases, providertest.Case{Fetch: f, Keys: []string{key}, Bad: bad[f], Good: sample(t, f)})
	}
	providertest.Run(t, New(""), cred, cases...)
	if got, want := New("").Limit, ratelimit.Contract["instagram-scraper2"]; got != want || got.Requests != 5 || got.Seconds != 1 {
		t.Errorf("limit %+v, want %+v: 5 in a second", got, want)
	}
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		fetch  social.Fetch
		key    string // "" is the one of keys
		cursor string
		want   string
	}{
		{social.ProfileByID, "", "", "/user_info_by_id?user_id=4811223344"},
		{social.ProfileByID, "", "x", "/user_info_by_id?user_id=4811223344"},
		{social.ProfileByHandle, "", "", "/user_info_by_id?user_name=northlake.cafe"},
		{social.PostsByID, "", "", "/medias_v2?batch_size=50&user_id=4811223344"},
		{social.PostsByID, "", "31980_48112", "/medias_v2?batch_size=50&max_id=31980_48112&user_id=4811223344"},
		{social.PostByShortcode, "", "", "/media_info_v2?short_code=CxAmPle0033"},
		{social.PostByShortcode, "", "x", "/media_info_v2?short_code=CxAmPle0033"},
		{social.Following, "", "", "/following?batch_size=50&user_id=4811223344"},
		{social.Following, "", "QVFD==", "/following?batch_size=50&next_cursor=QVFD%3D%3D&user_id=4811223344"},
		{social.Followers, "", "", "/followers?batch_size=50&user_id=4811223344"},
		{social.Followers, "", "QVFD==", "/followers?batch_size=50&next_cursor=QVFD%3D%3D&user_id=4811223344"},
		{social.PostLikes, "", "", "/media_likers?batch_size=50&short_code=CxAmPle0033"},
		{social.PostLikes, "", "QVFD", "/media_likers?batch_size=50&next_cursor=QVFD&short_code=CxAmPle0033"},
		{social.PostComments, "", "", "/media_comments?batch_size=50&short_code=CxAmPle0033"},
		{social.PostComments, "", `{"cached_comments_cursor": "18"}`,
			"/media_comments?batch_size=50&next_cursor=%7B%22cached_comments_cursor%22%3A+%2218%22%7D&short_code=CxAmPle0033"},
		{social.HashtagPosts, "", "", "/hash_tag_medias_v2?batch_size=50&hash_tag=coffee"},
		{social.HashtagPosts, "café", "QVFD", "/hash_tag_medias_v2?batch_size=50&hash_tag=caf%C3%A9&next_cursor=QVFD"},
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
		if key, host := r.Header.Get("X-RapidAPI-Key"), r.Header.Get("X-RapidAPI-Host"); len(r.Header) != 2 || key != "rapidsecretsecretsecret" || host != apiHost {
			t.Errorf("%s: headers of %q", tt.fetch, host)
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

// The "expected parse" blocks of 10.2 to 10.10, typed here a second time; the
// view count of 10.5 as Q-JT-4 wants it.
func TestExpected(t *testing.T) {
	type log struct {
		name string // kind or type, key, owner or actor, handle or target
		want []string
	}
	person := func(handle, name string, private, verified bool) []string {
		return []string{fmt.Sprintf("handle=%q", handle), fmt.Sprintf("full_name=%q", name),
			fmt.Sprintf(`profile_pic_url="https://cdn.example.net/p/%s.jpg"`, handle),
			fmt.Sprintf("is_private=%v", private), fmt.Sprintf("is_verified=%v", verified)}
	}
	for _, tt := range []struct {
		fetch  social.Fetch
		cursor string
		want   []log
	}{
		{social.ProfileByHandle, "", []log{{"profile 4811223344  northlake.cafe", []string{
			"media_count=412", "followers=15230", "following=310",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `profile_pic_url="https://cdn.example.net/p/nl_hd.jpg"`,
			`bio="Coffee by the water"`, `full_name="Northlake Cafe"`, `public_email="hello@northlake.example"`,
			`external_url="https://northlake.example/"`, `contact_phone="+15550100"`, `profile_type="creator"`,
			`fbid="110000000000001"`, `category_id="2347428775505624"`, `category="Creator"`, `city=""`,
			`location_lat="0"`, `location_long="0"`, "is_private=false", "is_verified=true"}}}},
		{social.PostsByID, "3198000000000000032_4811223344", []log{
			{"post CxAmPle0031 4811223344 ", []string{
				"comments=5", "likes=210", "view_count=null", "play_count=null",
				`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/31a.jpg"`,
				`thumbnail_src="https://cdn.example.net/m/31a.jpg"`, `post_type="carousel"`, "taken_at_timestamp=1695590000",
				`caption="Three cups"`, `location="Northlake, Illinois"`, "location_long=-87.9", "location_lat=41.9",
				`user_tags=[{"pk":"5922334455","username":"dockside.bakery"}]`,
				`user_sponsors=[{"profile_id":"6033445566","handle":"oatmilk.brand"}]`, "is_sponsor=true"}},
			{"post CxAmPle0032 4811223344 ", []string{
				"comments=9", "likes=801", "view_count=7000", "play_count=15890",
				`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/32.jpg"`,
				`thumbnail_src="https://cdn.example.net/m/32.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695500000",
				"caption=null", "location=null", "location_long=null", "location_lat=null",
				"user_tags=[]", "user_sponsors=[]", "is_sponsor=false"}},
		}},
		{social.PostByShortcode, "", []log{{"post CxAmPle0033 4811223344 ", []string{
			"comments=14", "likes=990", "view_count=null", "play_count=22150",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `display_url="https://cdn.example.net/m/33.mp4"`,
			`thumbnail_src="https://cdn.example.net/m/33.jpg"`, `post_type="reels"`, "taken_at_timestamp=1695600000",
			`caption="Steam wand tips #barista"`, `user_tags=[{"pk":"5922334455","username":"dockside.bakery"}]`,
			"user_sponsors=[]", "is_sponsor=false"}}}},
		{social.Following, "QVFDexampleJT4", []log{
			{"FOLLOWS 4811223344 > 5922334455", person("dockside.bakery", "Dockside Bakery", false, false)},
			{"FOLLOWS 4811223344 > 6033445566", person("oatmilk.brand", "Oatmilk Brand", false, true)},
		}},
		{social.Followers, "QVFDexampleJT5", []log{
			{"FOLLOWS 7044556677 > 4811223344", person("rower_77", "Rower", true, false)},
		}},
		{social.PostLikes, "QVFDexampleJT6", []log{{"LIKE CxAmPle0033 by 7044556677", []string{
			`profile_pic_url="https://cdn.example.net/p/rower_77.jpg"`, `handle="rower_77"`, `full_name="Rower"`,
			"is_private=true", "is_verified=false"}}}},
		{social.PostComments, `{"cached_comments_cursor": "18000000000000091"}`, []log{{"COMMENT CxAmPle0033 by 7044556677", []string{
			"likes=3", "comments=1",
			`comments_thread=[{"node":{"id":"18000000000000092","text":"Thanks!","created_at":1695600400,` +
				`"owner":{"id":"4811223344","username":"northlake.cafe"}}}]`,
			`comment_id="18000000000000091"`, `text="Looks great"`, "taken_at_timestamp=1695600300",
			`profile_pic_url="https://cdn.example.net/p/rower_77.jpg"`, `handle="rower_77"`, "is_verified=false"}}}},
		{social.HashtagPosts, "QVFDexampleJT8", []log{{"post CxAmPle0034 8055667788 ", []string{
			"comments=1", "likes=64", "view_count=null",
			`profile_id="8055667788"`, `display_url="https://cdn.example.net/m/34.jpg"`,
			`thumbnail_src="https://cdn.example.net/m/34_t.jpg"`, `post_type="image"`, `hashtags="#coffee,#lake"`,
			"taken_at_timestamp=1695610000", `caption="Morning #coffee by the #lake"`}}}},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], sample(t, tt.fetch))
		if err != nil || len(b.Logs) != len(tt.want) {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
			t.Errorf("%s: more %v, cursor %q, want %q", tt.fetch, b.More, b.Cursor, tt.cursor)
		}
		for i, l := range b.Logs {
			var name string
			switch l.Kind {
			case social.Activity:
				name = l.Type + " " + l.Key + " by " + l.Actor
			case social.Relationship:
				name = l.Type + " " + l.Key + " > " + l.Target
			default:
				name = string(l.Kind) + " " + l.Key + " " + l.Owner + " " + l.Handle
			}
			if name != tt.want[i].name || l.Source != "rapidapi-jotucker" {
				t.Errorf("%s: %q of %q, want %q", tt.fetch, name, l.Source, tt.want[i].name)
			}
			if got := pairs(l); !slices.Equal(got, tt.want[i].want) {
				t.Errorf("%s:\n got %q\nwant %q", tt.fetch, got, tt.want[i].want)
			}
			if (len(l.TargetDimensions) > 0) != (tt.fetch == social.Following) {
				t.Errorf("%s: %d dimensions of the target", tt.fetch, len(l.TargetDimensions))
			}
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
	const (
		subscribed = `{"message":"You are not subscribed to this API."}`
		wait       = `{"message":"Please wait a few minutes before you try again.","status":"fail"}`
	)
	for _, tt := range []struct {
		name    string
		fetch   social.Fetch
		status  int
		body    string
		kind    error
		message string
	}{
		{"id: number", social.ProfileByID, 200, `{"user":{"pk":4811223344,"username":"a"}}`, nil, ""},
		{"id: text", social.ProfileByID, 200, `{"user":{"pk":"4811223344","username":"a"}}`, nil, ""},
		{"id: another one", social.ProfileByID, 200, `{"user":{"pk":"4811223345","username":"a"}}`, providers.ErrGone, "Invalid user id"},
		{"id: no user", social.ProfileByID, 200, `{"status":"ok"}`, providers.ErrGone, "Invalid user id"},
		{"id: null user", social.ProfileByID, 200, `{"user":null}`, providers.ErrGone, "Invalid user id"},
		{"id: user is a list", social.ProfileByID, 200, `{"user":[]}`, providers.ErrMalformed, "API Failure"},
		{"id: no pk", social.ProfileByID, 200, `{"user":{"username":"a"}}`, providers.ErrMalformed, "API Failure"},
		{"handle: other case", social.ProfileByHandle, 200, `{"user":{"pk":1,"username":"NorthLake.Cafe"}}`, nil, ""},
		{"handle: another one", social.ProfileByHandle, 200, `{"user":{"pk":1,"username":"southlake.cafe"}}`, providers.ErrGone, "Invalid username"},
		{"handle: no user", social.ProfileByHandle, 200, `{}`, providers.ErrGone, "Invalid username"},
		{"handle: no username", social.ProfileByHandle, 200, `{"user":{"pk":1}}`, providers.ErrMalformed, "API Failure"},

		{"posts: none", social.PostsByID, 200, `{"items":[],"more_available":false}`, nil, ""},
		{"posts: no items", social.PostsByID, 200, `{"status":"ok"}`, providers.ErrMalformed, "API Failure"},
		{"posts: null items", social.PostsByID, 200, `{"items":null}`, providers.ErrMalformed, "API Failure"},
		{"posts: items are text", social.PostsByID, 200, `{"items":"x"}`, providers.ErrMalformed, "API Failure"},
		{"post: none", social.PostByShortcode, 200, `{"items":[],"num_results":0}`, providers.ErrGone, "API Failure"},
		{"post: no items", social.PostByShortcode, 200, `{}`, providers.ErrMalformed, "API Failure"},
		{"post: null items", social.PostByShortcode, 200, `{"items":null}`, providers.ErrMalformed, "API Failure"},
		{"post: null item", social.PostByShortcode, 200, `{"items":[null]}`, providers.ErrMalformed, "API Failure"},
		{"post: no code", social.PostByShortcode, 200, `{"items":[{}]}`, providers.ErrMalformed, "API Failure"},
		{"post: gone", social.PostByShortcode, 200, `{"message":"Media not found or unavailable","status":"fail"}`, providers.ErrGone, "API Failure"},

		{"comments: null post", social.PostComments, 200, `{"data":{"shortcode_media":null}}`, providers.ErrGone, "Post is missing"},
		{"comments: empty post", social.PostComments, 200, `{"data":{"shortcode_media":{}}}`, providers.ErrGone, "Post is missing"},
		{"comments: empty data", social.PostComments, 200, `{"data":{}}`, providers.ErrGone, "Post is missing"},
		{"comments: no data", social.PostComments, 200, `{"status":"ok"}`, providers.ErrMalformed, "API Failure"},
		{"comments: no list", social.PostComments, 200, `{"data":{"shortcode_media":{"id":"1"}}}`, providers.ErrMalformed, "API Failure"},
		{"comments: none", social.PostComments, 200, `{"data":{"shortcode_media":{"edge_media_to_parent_comment":{"edges":[]}}}}`, nil, ""},
		{"likes: null post", social.PostLikes, 200, `{"data":{"shortcode_media":null}}`, providers.ErrGone, "Post is missing"},
		{"likes: no list", social.PostLikes, 200, `{"data":{"shortcode_media":{"id":"1"}}}`, providers.ErrMalformed, "API Failure"},
		{"likes: none", social.PostLikes, 200, `{"data":{"shortcode_media":{"edge_liked_by":{"edges":[]}}}}`, nil, ""},
		{"followers: private", social.Followers, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"followers: no list", social.Followers, 200, `{"data":{"user":{"id":"1"}}}`, providers.ErrMalformed, "API Failure"},
		{"followers: of the other kind", social.Followers, 200, `{"data":{"user":{"edge_follow":{"edges":[]}}}}`, providers.ErrMalformed, "API Failure"},
		{"followers: no data", social.Followers, 200, `{"status":"ok"}`, providers.ErrMalformed, "API Failure"},
		{"following: private", social.Following, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"following: none", social.Following, 200, `{"data":{"user":{"edge_follow":{"edges":[]}}}}`, nil, ""},
		{"hashtag: null", social.HashtagPosts, 200, `{"data":{"hashtag":null}}`, providers.ErrGone, "API Failure"},
		{"hashtag: no list", social.HashtagPosts, 200, `{"data":{"hashtag":{"id":"1"}}}`, providers.ErrMalformed, "API Failure"},

		{"forbidden", social.PostsByID, 403, `{"message":"no"}`, providers.ErrGone, "Forbidden exception"},
		{"forbidden, a list", social.Followers, 403, `{"message":"no"}`, providers.ErrGone, "Something went wrong"},
		{"forbidden, a page", social.PostComments, 403, `<html></html>`, providers.ErrGone, "Something went wrong"},
		{"not subscribed", social.ProfileByID, 403, subscribed, providers.ErrRefused, "Forbidden exception"},
		{"not subscribed, a list", social.PostLikes, 403, subscribed, providers.ErrRefused, "Something went wrong"},
		{"login required", social.PostsByID, 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, "Forbidden exception"},
		{"login required, a list", social.Following, 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, "Something went wrong"},
		{"please wait, a list", social.HashtagPosts, 403, wait, providers.ErrLimited, "Something went wrong"},
		{"please wait, a list, 200", social.HashtagPosts, 200, wait, providers.ErrLimited, "API Failure"},
		{"quota, a list", social.Followers, 403, `{"message":"You have exceeded the MONTHLY quota"}`, providers.ErrLimited, "Something went wrong"},
		{"challenge", social.Followers, 400, `{"message":"challenge_required","status":"fail"}`, providers.ErrUpstream, "Something went wrong"},
		{"invalid key", social.Followers, 401, `{"message":"Invalid API key."}`, providers.ErrRefused, "Something went wrong"},
		{"payment", social.Followers, 402, ``, providers.ErrRefused, "Something went wrong"},
		{"bad request", social.PostComments, 400, `{}`, providers.ErrGone, "Something went wrong"},
		{"failing, a list", social.PostComments, 500, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, "Something went wrong"},
		{"teapot", social.PostComments, 418, `{}`, providers.ErrUpstream, "Something went wrong"},
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
	for _, tt := range []struct {
		fetch social.Fetch
		path  []any
	}{
		{social.ProfileByHandle, p("user")},
		{social.ProfileByHandle, p("user", "pk")},
		{social.ProfileByHandle, p("user", "username")},
		{social.ProfileByID, p("user", "pk")},
		{social.PostsByID, p("items")},
		{social.PostsByID, p("items", 0, "code")},
		{social.PostsByID, p("items", 1, "code")},
		{social.PostsByID, p("items", 0, "sponsor_tags", 0, "sponsor", "pk")},
		{social.PostsByID, p("items", 0, "sponsor_tags", 0, "sponsor", "username")},
		{social.PostByShortcode, p("items")},
		{social.PostByShortcode, p("items", 0, "code")},
		{social.Following, p("data")},
		{social.Following, p("data", "user")},
		{social.Following, p("data", "user", "edge_follow")},
		{social.Following, p("data", "user", "edge_follow", "edges")},
		{social.Following, p("data", "user", "edge_follow", "edges", 1, "node")},
		{social.Following, p("data", "user", "edge_follow", "edges", 1, "node", "id")},
		{social.Followers, p("data", "user")},
		{social.Followers, p("data", "user", "edge_followed_by")},
		{social.Followers, p("data", "user", "edge_followed_by", "edges")},
		{social.Followers, p("data", "user", "edge_followed_by", "edges", 0, "node")},
		{social.Followers, p("data", "user", "edge_followed_by", "edges", 0, "node", "id")},
		{social.PostLikes, p("data", "shortcode_media")},
		{social.PostLikes, p("data", "shortcode_media", "edge_liked_by")},
		{social.PostLikes, p("data", "shortcode_media", "edge_liked_by", "edges")},
		{social.PostLikes, p("data", "shortcode_media", "edge_liked_by", "edges", 0, "node")},
		{social.PostComments, p("data", "shortcode_media")},
		{social.PostComments, p("data", "shortcode_media", "edge_media_to_parent_comment")},
		{social.PostComments, p("data", "shortcode_media", "edge_media_to_parent_comment", "edges")},
		{social.PostComments, p("data", "shortcode_media", "edge_media_to_parent_comment", "edges", 0, "node")},
		{social.HashtagPosts, p("data", "hashtag")},
		{social.HashtagPosts, p("data", "hashtag", "edge_hashtag_to_ranked_media")},
		{social.HashtagPosts, p("data", "hashtag", "edge_hashtag_to_ranked_media", "edges")},
		{social.HashtagPosts, p("data", "hashtag", "edge_hashtag_to_ranked_media", "edges", 0, "node")},
		{social.HashtagPosts, p("data", "hashtag", "edge_hashtag_to_ranked_media", "edges", 0, "node", "shortcode")},
	} {
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			last := fmt.Sprint(tt.path[len(tt.path)-1])
			empty := ""
			if len(value) > 0 {
				empty = fmt.Sprintf("%T", value[0])
			}
			switch {
			case empty == "[]int" && (last == "edges" || last == "items" && tt.fetch == social.PostsByID):
				continue // an empty page
			case empty == "map[string]int" && last == "node" && (tt.fetch == social.PostLikes || tt.fetch == social.PostComments):
				continue // all members of an activity are soft
			}
			broken := providertest.Without(t, sample(t, tt.fetch), tt.path, value...)
			_, err := call(tt.fetch).Parse(askFor(tt.fetch), providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%s: %v = %v: %v, want a malformed error", tt.fetch, tt.path, value, err)
				continue
			}
			if !strings.Contains(e.Detail, last) || !strings.HasPrefix(e.Detail, "rapidapi-jotucker "+string(tt.fetch)) {
				t.Errorf("%s: %v = %v: %q does not name it", tt.fetch, tt.path, value, e.Detail)
			}
			if judged := classify(askFor(tt.fetch), providertest.Answer(200, broken)); judged != nil && judged.Detail == "" {
				t.Errorf("%s: %v: Judge gave no detail", tt.fetch, tt.path)
			}
		}
	}
}

func TestPages(t *testing.T) {
	connections := map[social.Fetch]string{
		social.Following:    `{"data":{"user":{"edge_follow":{"edges":[]%s}}}}`,
		social.Followers:    `{"data":{"user":{"edge_followed_by":{"edges":[]%s}}}}`,
		social.PostLikes:    `{"data":{"shortcode_media":{"edge_liked_by":{"edges":[]%s}}}}`,
		social.PostComments: `{"data":{"shortcode_media":{"edge_media_to_parent_comment":{"edges":[]%s}}}}`,
		social.HashtagPosts: `{"data":{"hashtag":{"edge_hashtag_to_ranked_media":{"edges":[]%s}}}}`,
	}
	type row struct {
		fetch      social.Fetch
		body, want string
	}
	rows := []row{
		{social.PostsByID, `{"items":[]}`, ""},
		{social.PostsByID, `{"items":[],"next_max_id":"x"}`, ""},
		{social.PostsByID, `{"items":[],"next_max_id":"x","more_available":false}`, ""},
		{social.PostsByID, `{"items":[],"next_max_id":"x","more_available":true}`, "x"},
		{social.PostsByID, `{"items":[],"next_max_id":17,"more_available":true}`, "17"},
		{social.PostsByID, `{"items":[],"next_max_id":"","more_available":true}`, ""},
		{social.PostsByID, `{"items":[],"next_max_id":null,"more_available":true}`, ""},
		{social.PostsByID, `{"items":[],"more_available":true}`, ""},
		{social.PostsByID, `{"items":[],"paging_info":{"max_id":"x","more_available":true}}`, "x"},
		{social.PostsByID, `{"items":[],"paging_info":{"max_id":"x","more_available":false}}`, ""},
		{social.PostsByID, `{"response":{"items":[],"next_max_id":"x","more_available":true}}`, "x"},
		{social.Followers, `{"users":[]}`, ""},
		{social.Followers, `{"users":[],"next_max_id":"x"}`, "x"},
		{social.Followers, `{"users":[],"next_max_id":"x","has_more":false}`, ""},
		{social.Following, `{"response":{"users":[],"next_max_id":null},"next_page_id":"x"}`, "x"},
		{social.PostComments, `{"comments":[],"next_min_id":"x","has_more_headload_comments":true}`, "x"},
		{social.PostComments, `{"comments":[],"next_min_id":"x"}`, ""},
		{social.PostComments, `{"response":{"comments":[],"next_max_id":"x","has_more_comments":true}}`, "x"},
		{social.PostComments, `{"data":{"shortcode_media":{"edge_media_to_comment":{"edges":[],"page_info":{"has_next_page":true,"end_cursor":"x"}}}}}`, "x"},
		{social.HashtagPosts, `{"data":{"hashtag":{"edge_hashtag_to_media":{"edges":[],"page_info":{"has_next_page":true,"end_cursor":"x"}}}}}`, "x"},
		{social.HashtagPosts, `{"sections":[{"layout_content":{"fill_items":[]}},{}],"next_max_id":"x","more_available":true}`, "x"},
		{social.HashtagPosts, `{"sections":[],"next_max_id":"x","more_available":false}`, ""},
		{social.HashtagPosts, `{"data":{"top":{"sections":[],"next_max_id":"t","more_available":true},"recent":{"sections":[],"next_max_id":"r","more_available":true}}}`, "t"},
	}
	for fetch, body := range connections {
		for _, info := range []struct{ text, want string }{
			{``, ""},
			{`,"page_info":null`, ""},
			{`,"page_info":{"has_next_page":true,"end_cursor":""}`, ""},
			{`,"page_info":{"has_next_page":true,"end_cursor":null}`, ""},
			{`,"page_info":{"has_next_page":true}`, ""},
			{`,"page_info":{"has_next_page":null,"end_cursor":"x"}`, ""},
			{`,"page_info":{"has_next_page":false,"end_cursor":"x"}`, ""},
			{`,"page_info":{"has_next_page":true,"end_cursor":"x"}`, "x"},
			{`,"page_info":{"has_next_page":true,"end_cursor":17}`, "17"},
		} {
			rows = append(rows, row{fetch, fmt.Sprintf(body, info.text), info.want})
		}
	}
	for _, tt := range rows {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if err != nil || b.Cursor != tt.want || b.More != (tt.want != "") || len(b.Logs) != 0 {
			t.Errorf("%s: %s: more %v, cursor %q, %v, want %q", tt.fetch, tt.body, b.More, b.Cursor, err, tt.want)
		}
	}
}

func TestTypesAndTolerance(t *testing.T) {
	profile := func(members string) string { return `{"user":{"pk":"4811223344","username":"a"` + members + `}}` }
	item := func(members string) string { return `{"items":[{"code":"a"` + members + `}]}` }
	comment := func(members string) string {
		return `{"data":{"shortcode_media":{"edge_media_to_parent_comment":{"edges":[{"node":{` + members + `}}]}}}}`
	}
	tagged := func(members string) string {
		return `{"data":{"hashtag":{"edge_hashtag_to_ranked_media":{"edges":[{"node":{"shortcode":"a"` + members + `}}]}}}}`
	}
	const (
		stills = `,"image_versions2":{"candidates":[{"url":"i"},{"url":"small"}]}`
		slides = `,"carousel_media":[{"image_versions2":{"candidates":[{"url":"s"}]}}]`
		videos = `,"video_versions":[{"url":"v"}]`
	)
	for _, tt := range []struct {
		fetch           social.Fetch
		body, key, want string
	}{
		{social.ProfileByID, profile(`,"account_type":1`), "profile_type", `"personal"`},
		{social.ProfileByID, profile(`,"account_type":"1"`), "profile_type", `null`},
		{social.ProfileByID, profile(`,"is_private":0`), "is_private", `false`},
		{social.ProfileByID, profile(``), "is_private", `null`},
		{social.ProfileByID, profile(`,"follower_count":"15230"`), "followers", `15230`},
		{social.ProfileByID, profile(`,"follower_count":0`), "followers", `0`},
		{social.ProfileByID, profile(`,"category_id":0`), "category_id", `"0"`},
		{social.ProfileByID, profile(`,"latitude":41.9`), "location_lat", `"41.9"`},
		{social.ProfileByID, profile(`,"longitude":0.0`), "location_long", `"0.0"`},
		{social.ProfileByID, profile(`,"longitude":null`), "location_long", `null`},
		{social.ProfileByID, `{"data":{"user":{"id":"4811223344","username":"a","edge_followed_by":{"count":7}}}}`, "followers", `7`},
		{social.ProfileByID, `{"graphql":{"user":{"id":"4811223344","username":"a","edge_follow":{"count":7}}}}`, "following", `7`},

		{social.PostsByID, item(`,"media_type":1` + stills), "display_url", `"i"`},
		{social.PostsByID, item(`,"media_type":2` + stills + videos), "display_url", `"v"`},
		{social.PostsByID, item(`,"media_type":2` + stills + videos), "thumbnail_src", `"i"`},
		{social.PostsByID, item(`,"media_type":1` + slides), "thumbnail_src", `null`},
		{social.PostsByID, item(`,"media_type":8` + stills + slides), "thumbnail_src", `"s"`},
		{social.PostsByID, item(`,"media_type":8` + stills + slides), "display_url", `"s"`},
		{social.PostsByID, item(`,"media_type":8,"carousel_media":[]` + stills), "thumbnail_src", `"i"`},
		{social.PostsByID, item(`,"media_type":8`), "display_url", `null`},
		{social.PostsByID, item(`,"media_type":"8"` + stills + slides), "thumbnail_src", `"i"`},
		{social.PostsByID, item(`,"media_type":"8"`), "post_type", `null`},
		{social.PostsByID, item(`,"like_count":-1`), "likes", `-1`},
		{social.PostsByID, item(`,"like_count":"12"`), "likes", `12`},
		{social.PostsByID, item(`,"user":{"pk":4811223344}`), "profile_id", `"4811223344"`},
		{social.PostsByID, item(`,"usertags":{"in":[{"user":{"pk":1},"position":[0,1]},{}]}`), "user_tags", `[{"pk":1}]`},
		{social.PostsByID, item(`,"usertags":[{"user":{"pk":1},"x":0.5}]`), "user_tags", `[{"pk":1}]`},
		{social.PostsByID, item(`,"usertags":null`), "user_tags", `[]`},
		{social.PostsByID, item(`,"sponsor_tags":[{"sponsor":{"pk":6,"username":"o"}},{}]`), "user_sponsors", `[{"profile_id":"6","handle":"o"}]`},
		{social.PostsByID, item(`,"sponsor_tags":[{}]`), "is_sponsor", `true`},
		{social.PostsByID, item(`,"sponsor_tags":[]`), "is_sponsor", `false`},
		{social.PostsByID, item(`,"caption":"text"`), "caption", `null`},
		{social.PostsByID, `{"items":[{"media":{"code":"a","play_count":5}}]}`, "play_count", `5`},
		{social.PostByShortcode, item(`,"media_type":8` + slides), "thumbnail_src", `"s"`},
		{social.PostByShortcode, item(`,"media_type":1` + stills), "display_url", `"i"`},
		{social.PostByShortcode, item(`,"view_count":7`), "view_count", `7`},
		{social.PostByShortcode, `{"media_or_ad":{"code":"a","play_count":5}}`, "play_count", `5`},

		{social.PostLikes, `{"data":{"shortcode_media":{"edge_liked_by":{"edges":[{"node":{"username":7,"is_private":"false"}}]}}}}`, "handle", `"7"`},
		{social.PostLikes, `{"data":{"shortcode_media":{"edge_liked_by":{"edges":[{"node":{"username":7,"is_private":"false"}}]}}}}`, "is_private", `true`},
		{social.PostComments, comment(``), "comments_thread", `null`},
		{social.PostComments, comment(`"edge_threaded_comments":{"edges":[]}`), "comments_thread", `[]`},
		{social.PostComments, comment(`"created_at":1695600300.9`), "taken_at_timestamp", `1695600300`},
		{social.PostComments, comment(`"created_at":"1695600300"`), "taken_at_timestamp", `1695600300`},
		{social.PostComments, comment(`"created_at":null`), "taken_at_timestamp", `null`},
		{social.PostComments, comment(`"id":18000000000000091`), "comment_id", `"18000000000000091"`},
		{social.PostComments, comment(`"edge_liked_by":{"count":"3"}`), "likes", `3`},

		{social.HashtagPosts, tagged(`,"edge_media_to_caption":{"edges":[{"node":{"text":"a #b\n#c,#d # e#f"}}]}`), "hashtags", `"#b,#c,#d,#"`},
		{social.HashtagPosts, tagged(`,"edge_media_to_caption":{"edges":[{"node":{"text":"no tags"}}]}`), "hashtags", `""`},
		{social.HashtagPosts, tagged(`,"edge_media_to_caption":{"edges":[{"node":{"text":7}}]}`), "hashtags", `""`},
		{social.HashtagPosts, tagged(`,"edge_media_to_caption":{"edges":[]}`), "hashtags", `""`},
		{social.HashtagPosts, tagged(``), "hashtags", `""`},
		{social.HashtagPosts, tagged(``), "caption", `null`},
		{social.HashtagPosts, tagged(`,"__typename":"XDTGraphVideo","video_view_count":0`), "view_count", `0`},
		{social.HashtagPosts, `{"sections":[{"layout_content":{"medias":[{"media":{"code":"a","media_type":8` + slides + `}}]}}]}`, "display_url", `"s"`},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %s: %d logs, %v", tt.fetch, tt.body, len(b.Logs), err)
			continue
		}
		if got := string(valueOf(b.Logs[0], tt.key)); got != tt.want {
			t.Errorf("%s: %s: %s is %s, want %s", tt.fetch, tt.body, tt.key, got, tt.want)
		}
	}
	for _, tt := range []struct {
		fetch      social.Fetch
		body, want string
	}{
		{social.ProfileByID, profile(`,"follower_count":"many"`), "user.follower_count"},
		{social.PostsByID, `{"items":[{"code":"a"},{"code":"b","like_count":[]}]}`, "items.1.like_count"},
		{social.PostsByID, `{"items":[{"code":"a"},null]}`, "items.1 is null"},
		{social.PostsByID, `{"response":{"items":[{"media":{"code":""}}]}}`, "response.items.0.media.code"},
		{social.PostByShortcode, item(`,"like_count":"many"`), "items.0.like_count"},
		{social.PostComments, comment(`"created_at":"yesterday"`), "edges.0.node.created_at"},
		{social.Followers, `{"users":[{"username":"a"}]}`, "users.0.id"},
		{social.HashtagPosts, `{"sections":[{"layout_content":{"medias":[{}]}}]}`, "medias.0.media is null"},
	} {
		_, err := judgeAndParse(tt.fetch, keys[tt.fetch], []byte(tt.body))
		if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a malformed error that names %s", tt.body, err, tt.want)
		}
	}
	b, err := judgeAndParse(social.PostLikes, keys[social.PostLikes], []byte(`{"data":{"shortcode_media":{"edge_liked_by":{"edges":[{"node":{}}]}}}}`))
	if err != nil || len(b.Logs) != 1 || b.Logs[0].Actor != "" || b.Logs[0].Key != "CxAmPle0033" {
		t.Errorf("a like of nobody: %+v, %v", b.Logs, err)
	}
}

func valueOf(l social.Log, key string) json.RawMessage {
	for _, kv := range slices.Concat(l.Metrics, l.Dimensions, l.TargetDimensions) {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// Real answers of the interfaces that this host passes on
// (fixtures/SOURCES.md). Numbers are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	type path = []any
	type same = map[string]path // emitted key → member of the record
	var (
		appCounts = same{"likes": {"like_count"}, "comments": {"comment_count"}, "taken_at_timestamp": {"taken_at"}, "profile_id": {"user", "pk"}}
		people    = same{"handle": {"username"}, "full_name": {"full_name"}, "is_private": {"is_private"}, "is_verified": {"is_verified"}}
		likers    = same{"handle": {"username"}, "full_name": {"full_name"}, "is_verified": {"is_verified"}}
	)
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		key    string
		at     path // of the record, or of the list of records
		each   path // from an element of the list to the record
		id     path // of what tells the log: its key, actor or the other person
		same   same
		cursor path // nil: no other page
	}{
		{"ig-private-v1/user_info/natgeo_2026.json", social.ProfileByHandle, "NatGeo", path{"user"}, nil, path{"pk"},
			same{"followers": {"follower_count"}, "media_count": {"media_count"}, "full_name": {"full_name"},
				"profile_pic_url": {"hd_profile_pic_url_info", "url"}}, nil},
		{"ig-private-v1/user_info/natgeo_2026.json", social.ProfileByID, "787132", path{"user"}, nil, path{"pk"},
			same{"following": {"following_count"}, "category_id": {"category_id"}}, nil},
		{"ig-private-v1/user_info/robertdowneyjr_info.json", social.ProfileByID, "1518284433", path{"user"}, nil, path{"pk"},
			same{"followers": {"follower_count"}, "bio": {"biography"}, "location_lat": {"latitude"}}, nil},
		{"ig-private-v1/web_profile_info/natgeo_2026_web_profile.json", social.ProfileByHandle, "natgeo", path{}, nil, path{"pk"},
			same{"followers": {"follower_count"}, "media_count": {"media_count"}}, nil},
		{"ig-web-graphql/user/robertdowneyjr_profile.json", social.ProfileByHandle, "robertdowneyjr", path{"data", "user"}, nil, path{"id"},
			same{"followers": {"edge_followed_by", "count"}, "following": {"edge_follow", "count"},
				"media_count": {"edge_owner_to_timeline_media", "count"}, "category": {"category_name"}, "fbid": {"fbid"}}, nil},

		{"ig-private-v1/usertags_feed/natgeo_tagged_2026.json", social.PostsByID, "787132", path{"response", "items"}, nil, path{"code"},
			same{"likes": {"like_count"}, "comments": {"comment_count"}, "location": {"location", "name"}, "location_lat": {"location", "lat"},
				"caption": {"caption", "text"}, "thumbnail_src": {"image_versions2", "candidates", 0, "url"}},
			path{"response", "next_max_id"}},
		{"ig-private-v1/clips_user/noholita_reels.json", social.PostsByID, "3171067", path{"items"}, path{"media"}, path{"code"},
			same{"likes": {"like_count"}, "play_count": {"play_count"}, "view_count": {"view_count"}, "display_url": {"video_versions", 0, "url"}},
			path{"paging_info", "max_id"}},
		{"ig-private-v1/clips_user/natgeo_clips_2026.json", social.PostsByID, "787132", path{"response", "items"}, path{"media"}, path{"code"},
			same{"likes": {"like_count"}, "play_count": {"play_count"}, "caption": {"caption", "text"}},
			path{"response", "paging_info", "max_id"}},

		{"ig-private-v1/media_info/jlo_carousel.json", social.PostByShortcode, "CAnqPB-Jzcj", path{"items", 0}, nil, path{"code"},
			same{"likes": {"like_count"}, "comments": {"comment_count"}, "profile_id": {"user", "pk"},
				"thumbnail_src": {"carousel_media", 0, "image_versions2", "candidates", 0, "url"}}, nil},
		{"ig-private-v1/media_info/jlo_carousel_with_video.json", social.PostByShortcode, "B-NYjoGpQqC", path{"items", 0}, nil, path{"code"}, appCounts, nil},
		{"ig-private-v1/media_info/natgeo_reel_by_code_2026.json", social.PostByShortcode, "DRqAYKuAYTR", path{"media_or_ad"}, nil, path{"code"},
			same{"likes": {"like_count"}, "play_count": {"play_count"}, "display_url": {"video_versions", 0, "url"}}, nil},

		{"ig-web-graphql/followings/followings_p1.json", social.Following, "1518284433", path{"data", "user", "edge_follow", "edges"}, path{"node"}, path{"id"},
			people, path{"data", "user", "edge_follow", "page_info", "end_cursor"}},
		{"ig-web-graphql/followers/followers_p1.json", social.Followers, "1518284433", path{"data", "user", "edge_followed_by", "edges"}, path{"node"}, path{"id"},
			people, path{"data", "user", "edge_followed_by", "page_info", "end_cursor"}},
		{"ig-private-v1/followers/natgeo_followers_2026.json", social.Followers, "787132", path{"response", "users"}, nil, path{"pk"},
			people, path{"next_page_id"}},

		{"ig-web-graphql/media_likers/likers.json", social.PostLikes, "BzlXlQvF4B3", path{"data", "shortcode_media", "edge_liked_by", "edges"}, path{"node"}, path{"id"},
			likers, nil},
		{"ig-private-v1/likers/media_likers_2026.json", social.PostLikes, "DRqAYKuAYTR", path{"users"}, nil, path{"pk"}, people, nil},

		{"ig-web-graphql/media_info/spectures_image.json", social.PostComments, "B9moTSsoN6r",
			path{"data", "shortcode_media", "edge_media_to_parent_comment", "edges"}, path{"node"}, path{"owner", "id"},
			same{"comment_id": {"id"}, "text": {"text"}, "taken_at_timestamp": {"created_at"}, "handle": {"owner", "username"},
				"likes": {"edge_liked_by", "count"}, "comments": {"edge_threaded_comments", "count"}}, nil},
		{"ig-web-graphql/comments/media_comments_p1.json", social.PostComments, "CIwX0ZBAAAA",
			path{"data", "shortcode_media", "edge_media_to_comment", "edges"}, path{"node"}, path{"owner", "id"},
			same{"comment_id": {"id"}, "text": {"text"}, "taken_at_timestamp": {"created_at"}, "handle": {"owner", "username"}},
			path{"data", "shortcode_media", "edge_media_to_comment", "page_info", "end_cursor"}},
		{"ig-private-v1/comments/media_comments_2026.json", social.PostComments, "DRqAYKuAYTR", path{"response", "comments"}, nil, path{"user", "pk"},
			same{"comment_id": {"pk"}, "text": {"text"}, "taken_at_timestamp": {"created_at"}, "handle": {"user", "username"}, "likes": {"comment_like_count"}},
			path{"response", "next_min_id"}},

		{"ig-web-graphql/hashtag_medias/paris_p1.json", social.HashtagPosts, "paris", path{"data", "hashtag", "edge_hashtag_to_media", "edges"}, path{"node"}, path{"shortcode"},
			same{"likes": {"edge_liked_by", "count"}, "comments": {"edge_media_to_comment", "count"}, "view_count": {"video_view_count"},
				"profile_id": {"owner", "id"}, "display_url": {"display_url"}, "taken_at_timestamp": {"taken_at_timestamp"}},
			path{"data", "hashtag", "edge_hashtag_to_media", "page_info", "end_cursor"}},
		{"ig-private-v1/hashtag_sections/love_top_2026.json", social.HashtagPosts, "love", path{"response", "sections"}, path{"media"}, path{"code"},
			same{"likes": {"like_count"}, "comments": {"comment_count"}, "profile_id": {"user", "pk"}}, path{"response", "next_max_id"}},
		{"ig-private-v1/hashtag_sections/cocacola_first_page.json", social.HashtagPosts, "cocacola", path{"data", "top", "sections"}, path{"media"}, path{"code"},
			appCounts, path{"data", "top", "next_max_id"}},
		{"ig-private-v1/hashtag_sections/naturephotography_next_page.json", social.HashtagPosts, "naturephotography", path{"sections"}, path{"media"}, path{"code"},
			appCounts, path{"next_max_id"}},
	} {
		t.Run(string(tt.fetch)+" "+tt.file, func(t *testing.T) {
			body := providertest.Read(t, dir, tt.file)
			root := providertest.Decode(t, body)
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
			if slices.Contains(tt.at, any("sections")) {
				records = nil
				for _, s := range found.([]any) {
					records = append(records, providertest.Lookup(s, "layout_content", "medias").([]any)...)
				}
			}
			if len(b.Logs) != len(records) || len(records) == 0 {
				t.Fatalf("%d logs, want %d", len(b.Logs), len(records))
			}
			for i, l := range b.Logs {
				record := providertest.Lookup(records[i], tt.each...)
				id := fmt.Sprint(providertest.Lookup(record, tt.id...))
				check(t, tt.fetch, tt.key, id, l)
				for key, at := range tt.same {
					want := fmt.Sprint(providertest.Lookup(record, at...))
					if got := plain(t, valueOf(l, key)); got != want {
						t.Errorf("%s: %s is %v, want %v", id, key, got, want)
					}
				}
			}
			want := ""
			if tt.cursor != nil {
				want = fmt.Sprint(providertest.Lookup(root, tt.cursor...)) // text or a number
			}
			if b.Cursor != want || b.More != (want != "") {
				t.Errorf("more %v, cursor %q, want %q", b.More, b.Cursor, want)
			}
		})
	}
}

// check is what has to be known of l beyond single values: who or what it is.
func check(t *testing.T, fetch social.Fetch, key, id string, l social.Log) {
	t.Helper()
	ok := false
	switch fetch {
	case social.ProfileByID, social.ProfileByHandle:
		ok = l.Kind == social.Profile && l.Key == id && l.Handle != "" && l.Dimensions.Text("profile_id") == id
	case social.PostsByID, social.PostByShortcode, social.HashtagPosts:
		ok = l.Kind == social.Post && l.Key == id && l.Owner != "" && l.Owner == l.Dimensions.Text("profile_id") &&
			l.Dimensions.Text("post_type") != "" && l.Dimensions.Text("display_url") != "" && l.Dimensions.Text("thumbnail_src") != ""
	case social.Following:
		ok = l.Kind == social.Relationship && l.Key == key && l.Target == id
	case social.Followers:
		ok = l.Kind == social.Relationship && l.Key == id && l.Target == key
	case social.PostLikes:
		ok = l.Kind == social.Activity && l.Type == social.Like && l.Key == key && l.Actor == id
	case social.PostComments:
		ok = l.Kind == social.Activity && l.Type == social.Comment && l.Key == key && l.Actor == id
	}
	if !ok {
		t.Errorf("%s of %s, want one of %s: %+v", fetch, key, id, l)
	}
}

// plain is a value as fmt shows it, numbers as they were sent.
func plain(t *testing.T, value json.RawMessage) string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(v)
}

// Real answers that this host's calls cannot be read from: each says how.
func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file    string
		fetch   social.Fetch
		status  int
		kind    error
		message string
	}{
		{"errors/rapidapi/monthly_quota_exceeded.json", social.PostsByID, 429, providers.ErrLimited, "Something went wrong"},
		{"errors/rapidapi/monthly_quota_exceeded.json", social.PostLikes, 403, providers.ErrLimited, "Something went wrong"},
		{"errors/rapidapi/rate_limit_per_second.json", social.Followers, 429, providers.ErrLimited, "Something went wrong"},
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 400, providers.ErrUpstream, "Something went wrong"},
		{"errors/instagram/checkpoint_required.json", social.Followers, 200, providers.ErrUpstream, "API Failure"},
		{"errors/instagram/login_failed.json", social.ProfileByHandle, 200, providers.ErrMalformed, "API Failure"},
		{"errors/instagram/login_failed.json", social.PostComments, 200, providers.ErrMalformed, "API Failure"},
		{"errors/instagram/please_wait_require_login.json", social.Following, 401, providers.ErrLimited, "Something went wrong"},
		{"errors/instagram/please_wait_require_login.json", social.PostsByID, 429, providers.ErrLimited, "Something went wrong"},
		{"errors/instagram/user_null_by_id.json", social.ProfileByID, 200, providers.ErrGone, "Invalid user id"},
		{"errors/instagram/user_null_by_id.json", social.ProfileByHandle, 200, providers.ErrGone, "Invalid username"},
		{"errors/instagram/user_null_by_id.json", social.PostsByID, 200, providers.ErrGone, "API Failure"},
		{"errors/instagram/user_null_by_id.json", social.Followers, 200, providers.ErrGone, "API Failure"},
		{"ig-web-graphql/user_medias/robertdowneyjr_timeline.json", social.PostsByID, 200, providers.ErrMalformed, "API Failure"},
		{"ig-web-graphql/media_info/spectures_image.json", social.PostByShortcode, 200, providers.ErrMalformed, "API Failure"},
		{"ig-web-graphql/media_info/spectures_image.json", social.PostLikes, 200, providers.ErrMalformed, "API Failure"},
		{"ig-web-graphql/followings/followings_p1.json", social.Followers, 200, providers.ErrMalformed, "API Failure"},
		{"ig-web-graphql/location_medias/little_choc.json", social.HashtagPosts, 200, providers.ErrMalformed, "API Failure"},
	} {
		err := classify(askFor(tt.fetch), providertest.Answer(tt.status, providertest.Read(t, dir, tt.file)))
		if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != tt.message {
			t.Errorf("%s: %s: %v, want %v: (%d, '%s')", tt.file, tt.fetch, err, tt.kind, tt.status, tt.message)
		}
	}
	if n := len(providertest.Glob(t, filepath.Join(dir, "errors/rapidapi/*.json"))) + len(providertest.Glob(t, filepath.Join(dir, "errors/instagram/*.json"))); n != 6 {
		t.Errorf("%d files, want rows for 6", n)
	}
}

func FuzzParse(f *testing.F) {
	var fetches []social.Fetch
	for fetch := range keys {
		fetches = append(fetches, fetch)
	}
	slices.Sort(fetches)
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range fetches {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
	}
	for i := range fetches {
		f.Add(uint8(i), 403, []byte(`{"message":"login_required","status":"fail"}`))
		for _, body := range []string{
			`{"response":{"items":[{"media":{"code":"a","media_type":8,"carousel_media":[{}]}}],"paging_info":{"max_id":1,"more_available":true}}}`,
			`{"media_or_ad":{"code":"a","usertags":[{"user":{}}]}}`,
			`{"users":[{"pk":1,"username":"a"}],"next_max_id":"x"}`,
			`{"response":{"comments":[{"pk":1,"user":{"pk":2},"preview_child_comments":[{}]}],"has_more_comments":true,"next_max_id":"x"}}`,
			`{"data":{"top":{"sections":[{"layout_content":{"medias":[{"media":{"code":"a","caption":{"text":"#b"}}}]}}]}}}`,
			`{"data":{"user":{"id":"1","username":"a","edge_followed_by":{"count":1}}}}`,
		} {
			f.Add(uint8(i), 200, []byte(body))
		}
	}
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
// mostly members that no row reads: a post has 4 to 12 KB, a person about 800
// bytes.
func BenchmarkParse(b *testing.B) {
	post := `"unread": {"manifest": "` + strings.Repeat("<MPD xmlns=\\\"urn:mpeg\\\">", 60) +
		`", "slides": [` + strings.Repeat(`{"id": "3198000000000000021", "width": 1080, "url": "https://cdn.example.net/m/21.jpg"}, `, 20) + `{}]},`
	person := `"reel": {` + strings.Repeat(`"id": "7044556677", "expiring_at": 1598898273, "has_pride_media": false, `, 7) + `"seen": null},`
	for fetch, page := range map[social.Fetch]struct{ list, object, unread string }{
		social.PostsByID:    {`"items": [`, `"pk": "319800000000`, post},
		social.HashtagPosts: {`"edges": [`, `"__typename"`, post},
		social.Followers:    {`"edges": [`, `"id"`, person},
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
		some := strings.ReplaceAll(body[begin:end-1], page.object, page.unread+page.object)
		n := 40_000 / len(some)
		whole := []byte(body[:begin] + strings.Repeat(","+some, n)[1:] + body[end-1:])
		if !json.Valid(whole) {
			b.Fatal("the answer to read is no JSON")
		}
		b.Run(string(fetch), func(b *testing.B) {
			parse, ask := call(fetch).Parse, askFor(fetch)
			b.SetBytes(int64(len(whole)))
			b.ReportAllocs()
			for b.Loop() {
				if got, err := parse(ask, providertest.At, whole); err != nil || len(got.Logs) < n {
					b.Fatal(len(got.Logs), err)
				}
			}
		})
	}
}
