package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder is where the real answers are, "" when they are not here.
func folder(t *testing.T) string {
	dir := os.Getenv("BEAT_FIXTURES")
	if dir == "" {
		dir = "../../../shared/fixtures"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no real answers to test with: %v; set BEAT_FIXTURES", err)
		return ""
	}
	return dir
}

func compact(t *testing.T, dir, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRealAnswers asks for everything in the listing.
func TestRealAnswers(t *testing.T) {
	dir := folder(t)
	if dir == "" {
		return
	}
	c := serve(t, Config{Fixtures: dir})
	_, body := c.control("GET", "/_sandbox/fixtures", "")
	var l Fixtures
	c.read([]byte(body), &l)
	for name, n := range map[string]int{"handles": len(l.Handles), "ids": len(l.IDs), "shortcodes": len(l.Shortcodes),
		"channels": len(l.Channels), "posts": len(l.Posts), "reels": len(l.Reels)} {
		if n == 0 {
			t.Errorf("no %s: %s", name, body)
		}
	}
	t.Logf("handles %v\nids %v\nshortcodes %v\nchannels %v\nposts %v\nreels %v\nunused %v", l.Handles, l.IDs, l.Shortcodes, l.Channels, l.Posts, l.Reels, l.Unused)
	for _, e := range l.Entities {
		file := compact(t, dir, e.File)
		switch e.Source + " " + e.Kind {
		case "graphapi profile":
			if status, got := c.graph(e.Key); status != 200 || !bytes.Equal(got, file) {
				t.Errorf("%+v: %d %s", e, status, got)
			}
		case "rapidapi-arraybobo profile":
			for _, q := range [][]string{{"/ig/info/", "id_user", e.ID}, {"/ig/info_username/", "user", e.Key}} {
				_, _, got := c.get(ArrayBobo, q[0], q[1:]...)
				var v struct {
					User struct {
						PK       json.Number `json:"pk"`
						Username string      `json:"username"`
					} `json:"user"`
				}
				c.read(got, &v)
				if !bytes.Contains(got, file) && !bytes.Contains(file, got) || v.User.PK.String() != e.ID || v.User.Username != e.Key {
					t.Errorf("%+v: %.300s", e, got)
				}
			}
			if status, got := c.graph(e.Key); !slices.ContainsFunc(l.Entities, func(o Entity) bool { return o.Source == GraphAPI && o.Key == e.Key }) &&
				(status != 400 || !bytes.Contains(got, []byte(`"code":110`))) {
				t.Errorf("%s is not known to Graph: %d %.300s", e.Key, status, got)
			}
		case "rapidapi-arraybobo posts":
			_, _, got := c.get(ArrayBobo, "/ig/posts/", "id_user", e.Key)
			if !bytes.Equal(got, file) {
				t.Errorf("%+v: %.300s", e, got)
			}
			var p, next postsAnswer
			c.read(got, &p)
			_, _, got = c.get(ArrayBobo, "/ig/posts/", "id_user", e.Key, "end_cursor", "of-the-file")
			c.read(got, &next)
			if m := next.Data.User.Media; len(m.Edges) != 0 || *m.Page.More || m.Count != p.Data.User.Media.Count {
				t.Errorf("%+v: page 2 is %s", e, got)
			}
		case "rapidapi-arraybobo reels":
			_, _, got := c.get(ArrayBobo, "/ig/reels_posts/", "id_user", e.Key)
			var r reelsAnswer
			c.read(got, &r)
			if len(r.Items) == 0 || !bytes.Contains(file, got) {
				t.Errorf("%+v: %.300s", e, got)
			}
			if _, _, got = c.get(ArrayBobo, "/ig/reels_posts/", "id_user", e.Key, "max_id", "of-the-file"); string(got) != reelsEnd {
				t.Errorf("%+v: page 2 is %s", e, got)
			}
		case "rapidapi-arraybobo post":
			_, _, got := c.get(ArrayBobo, "/ig/post_info/", "shortcode", e.Key)
			var n node
			c.read(got, &n)
			if n.Shortcode != e.Key || n.Owner.ID == "" || n.TakenAt == 0 || n.Type == "" || n.Likes.Count == nil || // comments are under another name in newer web posts
				!bytes.Contains(file, fmt.Append(nil, *n.Likes.Count)) || !bytes.Contains(file, fmt.Append(nil, n.TakenAt)) {
				t.Errorf("%+v: %.900s", e, got)
			}
		case "ytapitoken channel":
			_, _, got := c.get(YTAPI, "/youtube/v3/channels", "part", "snippet,statistics,contentDetails", "id", e.Key)
			var v channelsAnswer
			c.read(got, &v)
			if len(v.Items) != 1 || v.Items[0].ID != e.Key {
				t.Fatalf("%+v: %.300s", e, got)
			}
			if slices.Contains(l.Channels, e.Key) && (v.Items[0].Snippet == nil || v.Items[0].Details == nil || v.Items[0].Statistics == nil) {
				t.Errorf("%s is listed and not whole: %.300s", e.Key, got)
			}
			var items struct{ Items []json.RawMessage }
			json.Unmarshal(got, &items)
			if !bytes.Contains(file, items.Items[0]) {
				t.Errorf("%+v is not from that file: %.300s", e, got)
			}
		default:
			ask, ok := askedBy[e.Source+" "+e.Kind]
			if !ok {
				t.Errorf("what is %+v?", e)
				continue
			}
			key := strings.NewReplacer("%s", e.Key)
			status, _, got := c.get(e.Source, key.Replace(ask.path), strings.Fields(key.Replace(ask.query))...)
			if status != 200 || !share(t, got, file) {
				t.Errorf("%+v: %d %.300s", e, status, got)
			}
			if ask.cursor != "" {
				_, _, got = c.get(e.Source, key.Replace(ask.path), append(strings.Fields(key.Replace(ask.query)), ask.cursor, "of-the-file")...)
				if n := bytes.Count(got, []byte(`"username"`)) + bytes.Count(got, []byte(`"pk"`)); n > 1 || !json.Valid(got) { // an owner
					t.Errorf("%+v: page 2 is %.300s", e, got)
				}
			}
		}
	}
	_, _, got := c.get(YTAPI, "/channels", "part", "snippet", "id", strings.Join(append(l.Channels, "UCgenerated"), ","))
	var v channelsAnswer
	c.read(got, &v)
	if len(v.Items) != len(l.Channels)+1 {
		t.Errorf("%d channels at once, want %d", len(v.Items), len(l.Channels)+1)
	}
}

// askedBy is how to ask for a kind of entity.
var askedBy = map[string]struct{ path, query, cursor string }{
	"graphapi insights":              {"/v12.0/%s/insights", "metric reach", ""},
	"graphapi navigation":            {"/v15.0/%s/insights", "metric navigation breakdown story_navigation_action_type", ""},
	"rapidapi-arraybobo stories":     {"/ig/stories/", "id_user %s", ""},
	"rapidapi-jotucker profile":      {"/user_info_by_id", "user_name %s", ""},
	"rapidapi-jotucker post":         {"/media_info_v2", "short_code %s", ""},
	"rapidapi-jotucker likes":        {"/media_likers", "short_code %s", "next_cursor"},
	"rapidapi-jotucker comments":     {"/media_comments", "short_code %s", "next_cursor"},
	"rapidapi-jotucker hashtag":      {"/hash_tag_medias_v2", "hash_tag %s", "next_cursor"},
	"rapidapi-neotank profile":       {"/account-info", "username %s", ""},
	"rapidapi-neotank posts":         {"/account-medias", "userid %s", "after"},
	"rapidapi-bestsolutions profile": {"/profile", "username %s", ""},
	"rocketapi post":                 {"/instagram/media/get_info_by_shortcode", "shortcode %s", ""},
	"rocketapi reels":                {"/instagram/user/get_clips", "id %s", "max_id"},
	"rocketapi stories":              {"/instagram/user/get_stories", "ids %s", ""},
	"lama profile":                   {"/a1/user", "username %s", ""},
	"lama profile by id":             {"/v1/user/by/id", "id %s", ""},
	"lama posts":                     {"/v1/user/medias/chunk", "user_id %s", "end_cursor"},
	"lama post":                      {"/a1/media", "code %s", ""},
	"lama stories":                   {"/v1/user/stories", "user_id %s", ""},
}

// share reports whether two answers have all but a few values in common: what
// stands around them may differ.
func share(t *testing.T, a, b []byte) bool {
	t.Helper()
	n := map[string]int{}
	for _, body := range [][]byte{a, b} {
		var v any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, e := range v {
					if k != "status" && k != "num_results" && k != "more_available" && k != "status_code" && k != "content_type" {
						walk(e)
					}
				}
			case []any:
				for _, e := range v {
					walk(e)
				}
			default:
				seen[fmt.Sprint(v)] = true
			}
		}
		walk(v)
		for s := range seen {
			n[s]++
		}
	}
	only := 0
	for _, k := range n {
		if k == 1 {
			only++
		}
	}
	return only <= 3 && len(n) > 4
}

// TestFixtureRules checks the rules on files made up for them.
func TestFixtureRules(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{
		"SOURCES.md":                               "# words",
		"graphapi/business_discovery/both.json":    `{"business_discovery": {"username": "both.ways", "ig_id": 777001, "followers_count": 5, "media_count": 9}, "id": "1"}`,
		"graphapi/business_discovery/noid.json":    `{"business_discovery":{"username":"no.id","id":"17841400000000001"},"id":"1"}`,
		"graphapi/business_discovery/broken.json":  `{"business_discovery":`,
		"graphapi/business_discovery/array.json":   `[1,2]`,
		"graphapi/other/both.json":                 `{"business_discovery":{"username":"other.folder","ig_id":777009}}`,
		"ig-private-v1/user_info/a_small.json":     `{"user":{"pk":777001,"username":"both.ways","follower_count":6},"status":"ok"}`,
		"ig-private-v1/user_info/b_large.json":     `{"user":{"pk":777001,"username":"both.ways","follower_count":7,"biography":"longer"},"status":"ok"}`,
		"ig-private-v1/user_info/c_equal.json":     `{"user":{"pk":777001,"username":"both.ways","follower_count":8,"biography":"longer"},"status":"ok"}`,
		"ig-private-v1/web_profile_info/flat.json": `{"username":"flat.user","pk":"777002","follower_count":11}`,
		"ig-private-v1/media_info/one.json": `{"items":[{"pk":3198000000000000023,"code":"CxRealApi01","media_type":2,"taken_at":1695570000,
			"user":{"pk":777003,"username":"only.post"},"like_count":801,"comment_count":9,"play_count":15890,"video_duration":21.4,
			"caption":{"text":"a < b 🎉"},"video_versions":[{"url":"https://x.example/v.mp4"}],"location":{"pk":1,"name":"Pier"},
			"image_versions2":{"candidates":[{"width":720,"height":1280,"url":"https://x.example/l.jpg"},{"width":240,"height":427,"url":"https://x.example/s.jpg"}]},
			"usertags":{"in":[{"user":{"pk":777004,"username":"tag.ged"},"position":[0.5,0.25]}]},"sponsor_tags":[{"sponsor":{"pk":777005,"username":"spon.sor"}}]}]}`,
		"ig-private-v1/clips_user/r.json": `{"response":{"items":[{"media":{"code":"CxRealClip1","usertags":[],"user":{"pk":"777006","username":"guest"},"like_count":1,"comment_count":2,"taken_at":3,"media_type":2}},
			{"media":{"code":"CxRealApi01","user":{"pk":777001,"username":"both.ways"},"like_count":5}},{"media":{"code":"CxRealClip2","user":{"pk":777001,"username":"both.ways"}}}],
			"paging_info":{"max_id":"abc","more_available":true}},"next_page_id":"abc"}`,
		"ig-private-v1/stories/s.json":                 `{"items":[{"media":{"code":"CxStory0001","user":{"pk":777007}}}]}`,
		"youtube-data-v3/channels/a.json":              `{"items":[{"id":"UCreal","snippet":{"title":"much longer than the other one, but not whole"}},{"nope":1}]}`,
		"youtube-data-v3/channels/b.json":              `[{"id":"UCreal","snippet":{},"contentDetails":{},"statistics":{"viewCount":"5"}}]`,
		"youtube-data-v3/channels/none.json":           `{"pageInfo":{"resultsPerPage":0}}`,
		"errors/channels/x.json":                       `{"items":[{"id":"UCerror"}]}`,
		"deep/er/youtube-data-v3/channels/ignored.txt": `[]`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := serve(t, Config{Fixtures: dir})
	l := c.Fixtures()
	if got, want := fmt.Sprint(l.Handles, l.IDs, l.Shortcodes, l.Channels, l.Posts, l.Reels),
		"[both.ways flat.user] [777001 777002] [CxRealApi01 CxRealClip1 CxRealClip2] [UCreal] [] [777001]"; got != want {
		t.Errorf("listing %s, want %s", got, want)
	}
	var unused []string
	for _, u := range l.Unused {
		unused = append(unused, filepath.Base(u.File))
	}
	if got, want := strings.Join(unused, " "), "array.json broken.json noid.json s.json none.json"; got != want {
		t.Errorf("unused %s, want %s", got, want)
	}
	for _, tt := range []struct{ source, path, key, value, want string }{
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(Both.Ways){id}", `{"business_discovery":{"username":"both.ways","ig_id":777001,"followers_count":5,"media_count":9},"id":"1"}`},
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(no.id){id}", `"code":110`},
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(flat.user){id}", `"code":110`},
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(only.post){id}", `"code":110`},
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(other.folder){id,username}", `"username":"other.folder"`},
		{ArrayBobo, "/ig/info_username/", "user", "both.ways", `"follower_count":7`},
		{ArrayBobo, "/ig/info/", "id_user", "777001", `"follower_count":7`},
		{ArrayBobo, "/ig/info/", "id_user", "777002", `{"user":{"username":"flat.user","pk":"777002","follower_count":11},"status":"ok"}`},
		{ArrayBobo, "/ig/info_username/", "user", "only.post", `{"status":"ok"}`},
		{ArrayBobo, "/ig/info/", "id_user", "777003", `{"status":"ok"}`},
		{ArrayBobo, "/ig/posts/", "id_user", "777001", `"count":0,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]`},
		{ArrayBobo, "/ig/reels_posts/", "id_user", "777002", reelsEnd},
		{ArrayBobo, "/ig/reels_posts/", "id_user", "777001", `{"items":[{"media":{"code":"CxRealClip1"`},
		{ArrayBobo, "/ig/post_info/", "shortcode", "CxRealApi01", `{"__typename":"GraphVideo","id":"3198000000000000023","shortcode":"CxRealApi01","is_video":true,"video_url":"https://x.example/v.mp4","video_play_count":15890,"video_duration":21.4,"display_resources":[{"src":"https://x.example/s.jpg","config_width":240,"config_height":427},{"src":"https://x.example/l.jpg","config_width":720,"config_height":1280}],"owner":{"id":"777003","username":"only.post"},"taken_at_timestamp":1695570000,"edge_media_to_comment":{"count":9},"edge_media_preview_like":{"count":801},"edge_media_to_caption":{"edges":[{"node":{"text":"a < b 🎉"}}]},"edge_media_to_tagged_user":{"edges":[{"node":{"user":{"id":"777004","username":"tag.ged"},"x":0.5,"y":0.25}}]},"edge_media_to_sponsor_user":{"edges":[{"node":{"sponsor":{"id":"777005","username":"spon.sor"}}}]},"location":{"pk":1,"name":"Pier"}}`},
		{ArrayBobo, "/ig/post_info/", "shortcode", "CxStory0001", `"owner":{"id":"`},
		{YTAPI, "/channels", "id", "UCreal", `"items":[{"id":"UCreal","snippet":{},"contentDetails":{},"statistics":{"viewCount":"5"}}]`},
	} {
		_, _, got := c.get(tt.source, tt.path, "part", "snippet", tt.key, tt.value)
		if !strings.Contains(string(got), tt.want) {
			t.Errorf("%s %s=%s: %.700s\nwant %s", tt.path, tt.key, tt.value, got, tt.want)
		}
	}
}
