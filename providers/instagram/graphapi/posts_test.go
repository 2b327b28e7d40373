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

var (
	posts       = social.Ask{Fetch: social.PostsByHandle, Keys: []string{"northlake.cafe"}}
	stories     = social.Ask{Fetch: social.Stories, Keys: []string{"northlake.cafe"}}
	nextStories = social.Ask{Fetch: social.Stories, Keys: []string{"northlake.cafe"}, Cursor: "QVFIUexampleCursor3"}
)

func TestPageRequest(t *testing.T) {
	const (
		ofPosts   = "{id,ig_id,name,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"
		ofStories = "{id,username,name,comments_count,like_count,media_type,media_product_type,media_url,caption,timestamp,permalink}," +
			"stories{id,media_type,media_product_type,media_url,owner,permalink,timestamp,username,caption}}"
	)
	for _, tt := range []struct {
		ask    social.Ask
		cursor string
		want   string
	}{
		{posts, "", "business_discovery.username(northlake.cafe){media_count,media" + ofPosts},
		{posts, "QVFIU-_x=", "business_discovery.username(northlake.cafe){media_count,media.after(QVFIU-_x=)" + ofPosts},
		{stories, "", "business_discovery.username(northlake.cafe){ig_id,username,media_count,media" + ofStories},
		{stories, "QVFIU-_x=", "business_discovery.username(northlake.cafe){ig_id,username,media_count,media.after(QVFIU-_x=)" + ofStories},
	} {
		tt.ask.Cursor = tt.cursor
		r, err := New("").Calls[tt.ask.Fetch].Request(cred, tt.ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Query.Get("fields"); got != tt.want || r.Path != "/v12.0/17841400000009999" {
			t.Errorf("%s after %q: %s with fields\n got %q\nwant %q", tt.ask.Fetch, tt.cursor, r.Path, got, tt.want)
		}
		if r.Query.Get("access_token") != "EAABsecretsecretsecret" || len(r.Query) != 2 || len(r.Header) != 0 || r.Method != "" {
			t.Errorf("%s: %v with %d parameters, want GET with fields and access_token", tt.ask.Fetch, r.Method, len(r.Query))
		}
	}
	for _, cursor := range []string{"x){id}", "a b", "a,b", "{", "a\n", strings.Repeat("a", 1001)} {
		for _, a := range []social.Ask{posts, stories} {
			a.Cursor = cursor
			if _, err := New("").Calls[a.Fetch].Request(cred, a); !errors.Is(err, providers.ErrGone) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s after %q: %v, want an error of one line", a.Fetch, cursor, err)
			}
		}
	}
}

// The "expected parse" of 8.5 and 8.6, typed here a second time, and a page
// after the first.
func TestPostsExpected(t *testing.T) {
	for _, tt := range []struct {
		file, keys, owners, cursor string
		log                        int
		want                       []string
	}{
		{"posts.json", "CxAmPle0013", "", "QVFIUexampleCursor2", 0, []string{
			"comments=3", "likes=null", "handle=null", `post_id="18000000000000013"`, `display_url="https://cdn.example.net/m/13.jpg"`,
			`thumbnail_src="https://cdn.example.net/m/13.jpg"`, `post_type="carousel"`, "taken_at_timestamp=1695022200",
			"content_type=null", `caption="Three views of the dock"`}},
		{"stories.json", "4811223344 CxAmPle0011 3198000000000000077", " 4811223344 4811223344", "QVFIUexampleCursor3", 0, []string{
			"media_count=412", "followers=null", "following=null", `profile_id="4811223344"`, `handle="northlake.cafe"`,
			"profile_pic_url=null", "bio=null", "full_name=null", "external_url=null", `fbid="17841400000000001"`,
			"recent_posts=" + compact(t, providertest.Read(t, "testdata/stories.json"), "business_discovery.media.data"),
			"recent_stories=" + compact(t, providertest.Read(t, "testdata/stories.json"), "business_discovery.stories.data"),
			`recent_posts_cursor="QVFIUexampleCursor3"`, "is_business_or_creator=true"}},
		{"stories.json", "4811223344 CxAmPle0011 3198000000000000077", " 4811223344 4811223344", "QVFIUexampleCursor3", 1, image},
		{"stories.json", "4811223344 CxAmPle0011 3198000000000000077", " 4811223344 4811223344", "QVFIUexampleCursor3", 2, []string{
			"comments=null", "likes=null", `handle="northlake.cafe"`, `post_id="18000000000000077"`,
			`display_url="https://cdn.example.net/s/77.mp4"`, "thumbnail_src=null", `post_type="story"`,
			"taken_at_timestamp=1695553200", `content_type="video"`, "caption=null"}},
		{"stories_next.json", "CxAmPle0014 CxAmPle0015", "4811223344 4811223344", "QVFIUexampleCursor4", 1, []string{
			"comments=0", "likes=null", `handle="northlake.cafe"`, `post_id="18000000000000015"`, "display_url=null",
			"thumbnail_src=null", `post_type="reels"`, "taken_at_timestamp=1694316600", "content_type=null", "caption=null"}},
	} {
		i := slices.IndexFunc(samples, func(s struct {
			file string
			ask  social.Ask
		}) bool {
			return s.file == tt.file
		})
		b, err := parseOf(samples[i].ask, providertest.Read(t, "testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		var owners []string
		for _, l := range b.Logs {
			owners = append(owners, l.Owner)
		}
		if keys(b) != tt.keys || strings.Join(owners, " ") != tt.owners || b.Cursor != tt.cursor || !b.More {
			t.Errorf("%s: keys %q, owners %q, more %v, cursor %q", tt.file, keys(b), owners, b.More, b.Cursor)
		}
		if got := pairs(b.Logs[tt.log]); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.file, got, tt.want)
		}
	}
}

// What a page says of the next one: nothing is the end, and so is a page
// without media, whatever its cursor.
func TestPages(t *testing.T) {
	const profile = `"ig_id":1,"username":"a"`
	const media = `{"id":"1","permalink":"https://www.instagram.com/p/C1/","timestamp":"2023-09-24T10:06:40+0000"}`
	for _, tt := range []struct {
		media  string
		posts  int
		cursor string
	}{
		{`"media":{"data":[` + media + `],"paging":{"cursors":{"after":"c"}}}`, 1, "c"},
		{`"media":{"data":[` + media + `,` + media + `],"paging":{"cursors":{"before":"b"}}}`, 2, ""},
		{`"media":{"data":[` + media + `],"paging":{"cursors":{"after":""}}}`, 1, ""},
		{`"media":{"data":[` + media + `],"paging":{"cursors":{"after":null}}}`, 1, ""},
		{`"media":{"data":[` + media + `],"paging":null}`, 1, ""},
		{`"media":{"data":[` + media + `]}`, 1, ""},
		{`"media":{"data":[],"paging":{"cursors":{"after":"c"}}}`, 0, ""},
		{`"media":{"paging":{"cursors":{"after":"c"}}}`, 0, ""},
		{`"media":{"data":null}`, 0, ""},
		{`"media":null`, 0, ""},
		{`"media_count":0`, 0, ""},
	} {
		for _, a := range []social.Ask{posts, stories, nextStories} {
			body := []byte(`{"business_discovery":{` + profile + `,` + tt.media + `}}`)
			if err := classifyOf(a, providertest.Answer(200, body)); err != nil {
				t.Errorf("%s of %s: %v", a.Fetch, tt.media, err)
			}
			b, err := parseOf(a, body)
			want := tt.posts
			if a.Fetch == social.Stories && a.Cursor == "" {
				want++ // the profile
			}
			if err != nil || len(b.Logs) != want || b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
				t.Errorf("%s of %s: %d logs, cursor %q, %v, want %d and %q", a.Fetch, tt.media, len(b.Logs), b.Cursor, err, want, tt.cursor)
			}
		}
	}
}

// Each hard member taken out or of another type is an error that names it; on
// the first page of stories a post is left out instead, as in a profile (16.1).
func TestPostsHard(t *testing.T) {
	first := []any{"business_discovery", "media", "data", 0}
	in := func(name string) []any { return append(slices.Clone(first), name) }
	for _, tt := range []struct {
		path    []any
		values  []any // nil: null, and taken out
		names   string
		profile bool // the first page of stories fails too
	}{
		{[]any{"business_discovery"}, []any{nil, "x", []int{1}, true}, "business_discovery", true},
		{[]any{"business_discovery", "media"}, []any{"x", []int{1}, 7}, "business_discovery.media is", true},
		{[]any{"business_discovery", "media", "data"}, []any{"x", map[string]int{}, 7}, "business_discovery.media.data is", true},
		{in("permalink"), []any{nil, "", true, "https://www.instagram.com/"}, "business_discovery.media.data.0.permalink", false},
		{in("timestamp"), []any{nil, "", "yesterday", 1695550000}, "business_discovery.media.data.0.timestamp", false},
		{in("like_count"), []any{map[string]int{}, "many"}, "business_discovery.media.data.0.like_count", false},
	} {
		for _, s := range []struct {
			ask  social.Ask
			file string
		}{{posts, "posts.json"}, {nextStories, "stories_next.json"}, {stories, "stories.json"}} {
			page1 := s.ask.Fetch == social.Stories && s.ask.Cursor == ""
			for _, value := range tt.values {
				body := providertest.Read(t, "testdata", s.file)
				if tt.names == "business_discovery.media.data.0.like_count" && s.file != "stories.json" {
					body = []byte(strings.Replace(string(body), `"comments_count"`, `"like_count": 1, "comments_count"`, 1))
				}
				for _, broken := range withouts(t, body, tt.path, value) {
					b, err := parseOf(s.ask, broken)
					if page1 && !tt.profile {
						if err != nil || keys(b) != "4811223344 3198000000000000077" {
							t.Errorf("%s: %v = %v: %q, %v, want it left out", s.file, tt.path, value, keys(b), err)
						}
						continue
					}
					if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.names) {
						t.Errorf("%s: %v = %v: %v, want a malformed error that names %s", s.file, tt.path, value, err, tt.names)
					}
					if judged := classifyOf(s.ask, providertest.Answer(200, broken)); tt.profile && !errors.Is(judged, providers.ErrMalformed) {
						t.Errorf("%s: %v = %v: Judge: %v, want a malformed error", s.file, tt.path, value, judged)
					}
				}
			}
		}
	}
	for _, name := range []string{"ig_id", "username"} {
		broken := providertest.Without(t, providertest.Read(t, "testdata/stories.json"), []any{"business_discovery", name})
		if _, err := parseOf(stories, broken); !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), name) {
			t.Errorf("first page without %s: %v, want a malformed error that names it", name, err)
		}
		if b, err := parseOf(nextStories, broken); err != nil || len(b.Logs) != 1 {
			t.Errorf("later page without %s: %d logs, %v", name, len(b.Logs), err)
		}
	}
}

// withouts is body with value at path and, when that is nil, without the member
// too.
func withouts(t *testing.T, body []byte, path []any, value any) [][]byte {
	out := [][]byte{providertest.Without(t, body, path, value)}
	if _, member := path[len(path)-1].(string); value == nil && member {
		out = append(out, providertest.Without(t, body, path))
	}
	return out
}

// The outcomes of 8.5 and 8.6, and what they leave to all calls.
func TestPostsOutcomes(t *testing.T) {
	graph := func(code int) string {
		return fmt.Sprintf(`{"error":{"message":"It said no","type":"OAuthException","code":%d}}`, code)
	}
	const wrong = "Something went wrong"
	for _, tt := range []struct {
		status        int
		body          string
		kind          error
		posts, storys string
	}{
		{400, graph(110), providers.ErrGone, "Invalid username", "Invalid username"},
		{400, graph(100), providers.ErrGone, wrong, "Unsupported get request. Object with ID does not exist"},
		{400, graph(190), providers.ErrRefused, wrong, "Malformed access token."},
		{400, graph(10), providers.ErrRefused, wrong, "Application does not have permission for this action"},
		{400, graph(9004), providers.ErrGone, wrong, wrong},
		{400, graph(4), providers.ErrLimited, wrong, wrong},
		{400, `{}`, providers.ErrGone, wrong, wrong},
		{403, `{}`, providers.ErrGone, "Forbidden exception", "Forbidden exception"},
		{500, graph(110), providers.ErrUpstream, wrong, wrong},
		{200, `{"id":"1"}`, providers.ErrMalformed, "API Failure", "API Failure"},
	} {
		for _, a := range []social.Ask{posts, stories, nextStories} {
			want := tt.posts
			if a.Fetch == social.Stories {
				want = tt.storys
			}
			err := classifyOf(a, providertest.Answer(tt.status, []byte(tt.body)))
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != want {
				t.Errorf("%s: %d %s: %v, want %v: (%d, '%s')", a.Fetch, tt.status, tt.body, err, tt.kind, tt.status, want)
			}
			if err != nil && err.Expired != (tt.kind == providers.ErrRefused) {
				t.Errorf("%s: %d %s: expired %v", a.Fetch, tt.status, tt.body, err.Expired)
			}
		}
	}
}

// Real answers, with counts looked up apart from the parser.
func TestPostsFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file    string
		ask     social.Ask
		missing string
		posts   int
		cursor  string
	}{
		{"facebookfordevelopers_media_p1.json", posts, "", 2, "after"},
		{"facebookfordevelopers_media_p1.json", nextStories, "", 2, "after"},
		{"facebookfordevelopers_media_p1.json", stories, "business_discovery.ig_id", 0, ""},
		{"facebookfordevelopers_user.json", posts, "", 0, ""},
		{"facebookfordevelopers_user.json", stories, "business_discovery.ig_id", 0, ""},
		{"nokiamobilepl_ig_id.json", posts, "", 0, ""},
		{"nokiamobilepl_ig_id.json", stories, "", 0, ""},
		{"bhuvan_bam22_counts_media25.json", posts, "business_discovery.media.data.0.timestamp", 0, ""}, // counts and ids only
		{"bhuvan_bam22_counts_media25.json", nextStories, "business_discovery.media.data.0.timestamp", 0, ""},
	} {
		body := providertest.Read(t, dir, "graphapi/business_discovery", tt.file)
		b, err := parseOf(tt.ask, body)
		if tt.missing != "" {
			if !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), tt.missing) {
				t.Errorf("%s: %v, want a malformed error that names %s", tt.file, err, tt.missing)
			}
			continue
		}
		if err != nil || b.Cursor != tt.cursor {
			t.Errorf("%s: cursor %q, %v, want %q", tt.file, b.Cursor, err, tt.cursor)
			continue
		}
		if err := providertest.Sound(b); err != nil {
			t.Errorf("%s: %v", tt.file, err)
		}
		found := providertest.Lookup(providertest.Decode(t, body), "business_discovery")
		logs := b.Logs
		if tt.ask.Fetch == social.Stories && tt.ask.Cursor == "" {
			if l := logs[0]; l.Key != fmt.Sprint(providertest.Lookup(found, "ig_id")) || l.Handle != providertest.Lookup(found, "username") {
				t.Errorf("%s: profile %q of %q", tt.file, l.Key, l.Handle)
			}
			logs = logs[1:]
		}
		if len(logs) != tt.posts {
			t.Errorf("%s: %d posts, want %d", tt.file, len(logs), tt.posts)
		}
		for i, l := range logs {
			n := providertest.Lookup(found, "media", "data", i)
			likes, _ := l.Metrics.Get("likes")
			comments, _ := l.Metrics.Get("comments")
			if !strings.Contains(fmt.Sprint(providertest.Lookup(n, "permalink")), "/"+l.Key+"/") ||
				string(likes) != fmt.Sprint(providertest.Lookup(n, "like_count")) ||
				string(comments) != fmt.Sprint(providertest.Lookup(n, "comments_count")) {
				t.Errorf("%s: %s with %s likes and %s comments is not %v", tt.file, l.Key, likes, comments, n)
			}
		}
	}
}

func TestPostType(t *testing.T) {
	for _, tt := range []struct{ media, want string }{
		{`"media_type":"IMAGE"`, "image null u"},
		{`"media_type":"VIDEO"`, "reels null null"},
		{`"media_type":"CAROUSEL_ALBUM"`, "carousel null u"},
		{`"media_type":"AUDIO"`, "null null u"},
		{`"media_type":"IMAGE","media_product_type":"STORY"`, "story image u"},
		{`"media_type":"VIDEO","media_product_type":"STORY"`, "story video null"},
		{`"media_product_type":"FEED"`, "null null u"},
		{`"media_product_type":"STORY"`, "skipped"},
		{`"media_product_type":"FEED","media_type":"VIDEO"`, "reels null null"},
		{`"media_product_type":"REELS","media_type":"VIDEO"`, "reels null null"},
		{`"media_product_type":"REELS"`, "reels null null"},
		{`"media_product_type":"AD","media_type":"IMAGE"`, "image null u"},
	} {
		body := `[{"permalink":"https://www.instagram.com/p/C1/","timestamp":"2023-09-24T10:06:40+0000","media_url":"u",` + tt.media + `}]`
		logs, skipped, err := ParseMedia([]byte(body))
		got := "skipped"
		if err == nil && skipped == 0 {
			show := func(k string) string {
				v, _ := logs[0].Dimensions.Get(k)
				return strings.Trim(string(v), `"`)
			}
			got = show("post_type") + " " + show("content_type") + " " + show("thumbnail_src")
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.media, got, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string]string{
		"https://www.instagram.com/p/CxAmPle0011/":               "p CxAmPle0011",
		"https://www.instagram.com/p/CxAmPle0011":                "p CxAmPle0011",
		"https://www.instagram.com/p/CxAmPle0011//":              "p CxAmPle0011",
		"https://www.instagram.com/reel/CxAmPle0012/?igsh=x/y":   "reel CxAmPle0012",
		"https://www.instagram.com/northlake.cafe/p/Cx1/":        "northlake.cafe Cx1",
		"https://instagram.com/stories/northlake.cafe/31980077":  "stories 31980077",
		"https://instagram.com/stories/northlake.cafe/31980077/": "stories 31980077",
		"https://instagram.com/northlake.cafe/":                  " ",
		"https://instagram.com":                                  " ",
		"p/Cx1/":                                                 "p Cx1",
		"":                                                       " ",
		"///":                                                    " ",
	} {
		kind, key := split(in)
		if got := kind + " " + key; got != want {
			t.Errorf("split(%q) = %q, want %q", in, got, want)
		}
	}
}
