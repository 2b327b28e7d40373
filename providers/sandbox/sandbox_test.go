package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestGraphProfile(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	for _, handle := range []string{"creator00042", "northlake.cafe", "a", "Some.One_9", "busybee", "noreels.x"} {
		status, body := c.graph(handle)
		var v graphAnswer
		c.read(body, &v)
		u := v.User
		if status != 200 || v.ID != "17841400000009999" || u.IGID == nil || u.Username != strings.ToLower(handle) ||
			u.Followers == nil || u.Follows == nil || u.Media == nil || *u.Media < 12 || u.Name == "" ||
			u.Biography == "" || u.Picture == "" || len(u.ID) != 17 || u.Page == nil {
			t.Fatalf("%s: %d %.900s", handle, status, body)
		}
		if n := len(u.Page.Data); n != 12 || u.Page.Paging.Cursors.After == "" || u.Page.Paging.Cursors.Before != "" {
			t.Errorf("%s: %d media, cursors %+v", handle, n, u.Page.Paging)
		}
		for i, m := range u.Page.Data {
			when, err := time.Parse("2006-01-02T15:04:05-0700", m.Timestamp)
			if err != nil || when.After(at) || m.Username != u.Username || m.Comments == nil || m.Likes == nil || len(m.ID) != 17 {
				t.Errorf("%s: media %d: %+v, %v", handle, i, m, err)
			}
			dir := map[string]string{"IMAGE": "p", "CAROUSEL_ALBUM": "p", "VIDEO": "reel"}[m.Type]
			if f := strings.Split(m.Permalink, "/"); len(f) != 6 || f[3] != dir || len(f[4]) != 11 {
				t.Errorf("%s: media %d of type %s: permalink %q", handle, i, m.Type, m.Permalink)
			}
		}
		if len(body) < 6<<10 || len(body) > 40<<10 {
			t.Errorf("%s: %d bytes", handle, len(body))
		}
	}
}

// TestSameWorld is one full refresh: profile at Graph, posts and reels of its
// id at arraybobo. It must come to 25 different rows.
func TestSameWorld(t *testing.T) {
	c := serve(t, Config{})
	month := at.AddDate(0, 0, -30).Unix()
	for _, handle := range []string{"creator00001", "creator123456", "northlake.cafe"} {
		var g graphAnswer
		_, body := c.graph(handle)
		c.read(body, &g)
		id := fmt.Sprint(*g.User.IGID)

		var byName, byID infoAnswer
		_, _, body = c.get(ArrayBobo, "/ig/info_username/", "user", handle)
		c.read(body, &byName)
		_, _, other := c.get(ArrayBobo, "/ig/info/", "id_user", id)
		c.read(other, &byID)
		if !bytes.Equal(body, other) {
			t.Errorf("%s: by name and by id differ:\n%s\n%s", handle, body, other)
		}
		u := byName.User
		if u == nil || *u.PK != *g.User.IGID || u.Username != handle || *u.Followers != *g.User.Followers ||
			*u.Following != *g.User.Follows || *u.Media != *g.User.Media || u.FullName != g.User.Name ||
			*u.Private || u.Type < 2 || u.HD.URL == "" || u.FBID == 0 || u.Category == 0 || byName.Status != "ok" {
			t.Errorf("%s: %s does not agree with Graph", handle, body)
		}
		if len(body) < 8<<10 || len(body) > 40<<10 {
			t.Errorf("%s: a profile of %d bytes", handle, len(body))
		}

		var p postsAnswer
		_, _, body = c.get(ArrayBobo, "/ig/posts/", "id_user", id)
		c.read(body, &p)
		codes := map[string]bool{}
		m := p.Data.User.Media
		if m.Count != *g.User.Media || len(m.Edges) != 12 || !*m.Page.More || p.Status != "ok" {
			t.Fatalf("%s: %d posts of %d, %+v", handle, len(m.Edges), m.Count, m.Page)
		}
		for i, e := range m.Edges {
			codes[e.Node.Shortcode] = true
			gm := g.User.Page.Data[i]
			when, _ := time.Parse("2006-01-02T15:04:05-0700", gm.Timestamp)
			if !strings.Contains(gm.Permalink, "/"+e.Node.Shortcode+"/") || when.Unix() != e.Node.TakenAt ||
				*gm.Likes != *e.Node.Likes.Count || *gm.Comments != *e.Node.Comments.Count ||
				e.Node.Owner.ID != id || e.Node.Owner.Username != handle ||
				(len(e.Node.Caption.Edges) == 0) != (gm.Caption == "") ||
				gm.Caption != "" && e.Node.Caption.Edges[0].Node.Text != gm.Caption {
				t.Errorf("%s: post %d is %+v here and %+v at Graph", handle, i, e.Node, gm)
			}
			if i > 0 && m.Edges[i-1].Node.TakenAt <= e.Node.TakenAt {
				t.Errorf("%s: post %d is not older than the one before", handle, i)
			}
		}
		if m.Edges[5].Node.TakenAt < month || m.Edges[11].Node.TakenAt >= month {
			t.Errorf("%s: posts of page 1 are from %d to %d, 30 days ago is %d", handle, m.Edges[0].Node.TakenAt, m.Edges[11].Node.TakenAt, month)
		}

		var r reelsAnswer
		_, _, body = c.get(ArrayBobo, "/ig/reels_posts/", "id_user", id)
		c.read(body, &r)
		for i, it := range r.Items {
			v := it.Media
			codes[v.Code] = true
			if v.User.PK.String() != id || v.User.Username != handle || v.Type != 2 || v.Comments == nil || v.Likes == nil ||
				v.Plays == nil || len(v.Videos) == 0 || len(v.Images.Candidates) == 0 || v.TakenAt > at.Unix() || len(v.PK) != 19 {
				t.Errorf("%s: reel %d: %+v", handle, i, v)
			}
		}
		if len(body) < 8<<10 || len(body) > 44<<10 {
			t.Errorf("%s: reels of %d bytes", handle, len(body))
		}
		if n := len(r.Items); n != 12 || r.Items[11].Media.TakenAt >= month || !*r.Paging.More {
			t.Errorf("%s: %d reels, %+v", handle, n, r.Paging)
		}
		if len(codes) != 24 {
			t.Errorf("%s: %d different shortcodes, want 24", handle, len(codes))
		}

		// Each of them alone, with the same numbers.
		for _, e := range m.Edges {
			var n node
			_, _, body = c.get(ArrayBobo, "/ig/post_info/", "shortcode", e.Node.Shortcode)
			c.read(body, &n)
			if n.Shortcode != e.Node.Shortcode || n.Owner != e.Node.Owner || n.TakenAt != e.Node.TakenAt ||
				*n.Likes.Count != *e.Node.Likes.Count || n.Type != e.Node.Type {
				t.Errorf("%s: post alone %+v, on its page %+v", handle, n, e.Node)
			}
			if video := n.Type == "GraphVideo"; video != (n.Plays != nil && n.Duration != nil && n.Views != nil && n.Video != "") {
				t.Errorf("%s: %s: video members are wrong: %s", handle, n.Shortcode, body)
			}
		}
		for _, it := range r.Items {
			var n node
			_, _, body = c.get(ArrayBobo, "/ig/post_info/", "shortcode", it.Media.Code)
			c.read(body, &n)
			if n.Shortcode != it.Media.Code || n.Owner.ID != id || n.TakenAt != it.Media.TakenAt || *n.Plays != *it.Media.Plays || n.ID != it.Media.PK.String() {
				t.Errorf("%s: reel alone %+v, on its page %+v", handle, n, it.Media)
			}
		}
	}
}

func TestPagesToTheEnd(t *testing.T) {
	for _, tt := range []struct {
		handle string
		cfg    Config
		posts  int
		reels  int
	}{
		{"creator00007", Config{}, 36, 36},
		{"creator00007", Config{PostsTotal: 12, ReelsTotal: 5}, 12, 5},
		{"creator00007", Config{PostsPerPage: 5, PostsTotal: 11, ReelsPerPage: 50}, 11, 36},
		{"creator00007", Config{PostsTotal: 1000, PostsPerPage: 100}, 1000, 36},
		{"busybee", Config{}, 120, 120},
		{"noreels", Config{}, 36, 0},
		{"empty.one", Config{}, 0, 0},
		{"private.one", Config{}, 0, 0},
	} {
		c := serve(t, tt.cfg)
		var i infoAnswer
		_, _, body := c.get(ArrayBobo, "/ig/info_username/", "user", tt.handle)
		c.read(body, &i)
		id := fmt.Sprint(*i.User.PK)
		per := func(n int) int {
			if n == 0 {
				return 12
			}
			return n
		}

		codes := map[string]bool{}
		cursor, oldest := "", at.Unix()
		for page := 0; ; page++ {
			q := []string{"id_user", id}
			if cursor != "" {
				q = append(q, "end_cursor", cursor)
			}
			var p postsAnswer
			_, _, body := c.get(ArrayBobo, "/ig/posts/", q...)
			c.read(body, &p)
			m := p.Data.User.Media
			for _, e := range m.Edges {
				codes[e.Node.Shortcode] = true
				if e.Node.TakenAt > oldest {
					t.Errorf("%s: %s is younger than what came before", tt.handle, e.Node.Shortcode)
				}
				oldest = e.Node.TakenAt
			}
			if !*m.Page.More {
				if m.Page.Cursor != nil {
					t.Errorf("%s: last page has cursor %q", tt.handle, *m.Page.Cursor)
				}
				break
			}
			if len(m.Edges) != per(tt.cfg.PostsPerPage) || page > 100 {
				t.Fatalf("%s: page %d has %d posts", tt.handle, page, len(m.Edges))
			}
			cursor = *m.Page.Cursor
		}
		if len(codes) != tt.posts {
			t.Errorf("%s %+v: %d posts, want %d", tt.handle, tt.cfg, len(codes), tt.posts)
		}

		codes, cursor = map[string]bool{}, ""
		for page := 0; page < 100; page++ {
			q := []string{"id_user", id}
			if cursor != "" {
				q = append(q, "max_id", cursor)
			}
			var r reelsAnswer
			_, _, body := c.get(ArrayBobo, "/ig/reels_posts/", q...)
			c.read(body, &r)
			for _, it := range r.Items {
				codes[it.Media.Code] = true
			}
			if !*r.Paging.More {
				break
			}
			cursor = r.Paging.Max
		}
		if len(codes) != tt.reels {
			t.Errorf("%s %+v: %d reels, want %d", tt.handle, tt.cfg, len(codes), tt.reels)
		}

		// Graph pages by the cursor of its media.
		if tt.handle == "creator00007" {
			codes, cursor = map[string]bool{}, ""
			for page := 0; page < 100; page++ {
				f := "business_discovery.username(" + tt.handle + "){ig_id,username,media_count,media{id,permalink}}"
				if cursor != "" {
					f = strings.Replace(f, "media{", "media.after("+cursor+"){", 1)
				}
				var g graphAnswer
				_, _, body := c.get(GraphAPI, "/v12.0/17841400000009999", "fields", f)
				c.read(body, &g)
				for _, m := range g.User.Page.Data {
					codes[m.Permalink] = true
				}
				if cursor = g.User.Page.Paging.Cursors.After; cursor == "" {
					break
				}
			}
			if len(codes) != tt.posts {
				t.Errorf("%s %+v: %d media at Graph, want %d", tt.handle, tt.cfg, len(codes), tt.posts)
			}
		}
	}
}

func TestNotThere(t *testing.T) {
	c := serve(t, Config{})
	for _, handle := range []string{"missing", "missing.cafe", "private.x", "personal.x", "not valid", "seventyseventyseventyseventy1234"} {
		status, body := c.graph(handle)
		var e errorAnswer
		c.read(body, &e)
		if status != 400 || e.Error.Code != 110 || e.Error.Subcode != 2207013 || e.Error.Type != "OAuthException" {
			t.Errorf("graph %s: %d %s", handle, status, body)
		}
	}
	for _, tt := range []struct{ path, key, value, want string }{
		{"/ig/info_username/", "user", "missing.cafe", `{"status":"ok"}`},
		{"/ig/info_username/", "user", "", `{"status":"ok"}`},
		{"/ig/info/", "id_user", "404", `{"status":"ok"}`},
		{"/ig/info/", "id_user", "x4000000001", `{"status":"ok"}`},
		{"/ig/posts/", "id_user", "12", `{"data":{"user":null},"status":"ok"}`},
		{"/ig/reels_posts/", "id_user", "12", reelsEnd},
		{"/ig/post_info/", "shortcode", "Cmissing012", `{"message":"Media not found or unavailable","status":"fail"}`},
		{"/ig/post_info/", "shortcode", "short", `{"message":"Media not found or unavailable","status":"fail"}`},
		{"/ig/nothing/", "id_user", "1", `{"message":"Endpoint '/ig/nothing/' does not exist"}`},
	} {
		if _, _, body := c.get(ArrayBobo, tt.path, tt.key, tt.value); string(body) != tt.want {
			t.Errorf("%s %s=%s: %s, want %s", tt.path, tt.key, tt.value, body, tt.want)
		}
	}
	var i infoAnswer
	_, _, body := c.get(ArrayBobo, "/ig/info_username/", "user", "private.x")
	c.read(body, &i)
	if i.User == nil || !*i.User.Private || *i.User.Media == 0 {
		t.Errorf("private: %s", body)
	}
	i = infoAnswer{}
	_, _, body = c.get(ArrayBobo, "/ig/info_username/", "user", "personal.x")
	c.read(body, &i)
	if i.User == nil || *i.User.Private || i.User.Type != 1 {
		t.Errorf("personal: %s", body)
	}
	var g graphAnswer
	_, body = c.graph("empty.x")
	c.read(body, &g)
	if g.User.Media == nil || *g.User.Media != 0 || g.User.Page != nil {
		t.Errorf("empty: %s", body)
	}
	g = graphAnswer{}
	_, body = c.graph("hiddenlikes.x")
	c.read(body, &g)
	if g.User.Page.Data[0].Likes != nil || g.User.Page.Data[0].Comments == nil {
		t.Errorf("hiddenlikes: %s", body)
	}
	status, _, _ := c.get(GraphAPI, "/v12.0/me", "fields", "business_discovery.username(a){id}")
	if status != 400 {
		t.Errorf("a user_id that is none: %d", status)
	}
}

func TestCheckKeys(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	get := func(path, key string) (int, errorAnswer) {
		req, _ := http.NewRequest(http.MethodGet, c.root+path, nil)
		if key != "" {
			req.Header.Set("X-RapidAPI-Key", key)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		var e errorAnswer
		c.read(body, &e)
		return res.StatusCode, e
	}
	for _, tt := range []struct {
		path, key    string
		status, code int
		sub          int
		reason       string
	}{
		{path: "/graphapi/v12.0/17841400000009999?fields=x", status: 400, code: 104},
		{path: "/graphapi/v12.0/17841400000009999?access_token=wrong", status: 400, code: 190},
		{path: "/graphapi/v12.0/17841400000009999?access_token=sandbox-expired", status: 400, code: 190, sub: 463},
		{path: "/rapidapi-arraybobo/ig/info/?id_user=4000000001", status: 401},
		{path: "/rapidapi-arraybobo/ig/info/?id_user=4000000001", key: "wrong", status: 403},
		{path: "/rapidapi-arraybobo/ig/info/?id_user=4000000001", key: "sandbox-second", status: 200},
		{path: "/ytapitoken/channels?part=snippet&id=UCa", status: 403, code: 403, reason: "forbidden"},
		{path: "/ytapitoken/channels?part=snippet&id=UCa&key=wrong", status: 400, code: 400, reason: "keyInvalid"},
		{path: "/ytapitoken/channels?part=snippet&id=UCa&key=sandbox-7", status: 200},
	} {
		status, e := get(tt.path, tt.key)
		reason := ""
		if len(e.Error.Errors) > 0 {
			reason = e.Error.Errors[0].Reason
		}
		if status != tt.status || e.Error.Code != tt.code || e.Error.Subcode != tt.sub || reason != tt.reason {
			t.Errorf("%s %s: %d %+v", tt.path, tt.key, status, e)
		}
	}
}

func TestListen(t *testing.T) {
	s, err := Listen("127.0.0.1:0", Config{Now: fixed})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(s.BaseURL(s.URL+"/", ArrayBobo) + "/ig/info/?id_user=4000000001")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	s.Inject(Fault{Kind: "hang"})
	ended := make(chan error)
	go func() {
		_, err := http.Get(s.URL + "/graphapi/v12.0/1")
		ended <- err
	}()
	for s.Stats().Sources[GraphAPI].InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the hanging call got an answer")
	}
	if _, err := http.Get(s.URL); err == nil {
		t.Error("it still answers")
	}
	for _, cfg := range []Config{{Fixtures: "/no/such/folder"}, {PostsTotal: 5000}, {ReelsPerPage: -1}} {
		if s, err := Listen("127.0.0.1:0", cfg); err == nil {
			s.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
}

// A recorder is the least that a handler can write to.
type recorder struct {
	h http.Header
	n int
}

func (r *recorder) Header() http.Header         { return r.h }
func (r *recorder) Write(b []byte) (int, error) { r.n += len(b); return len(b), nil }
func (r *recorder) WriteHeader(int)             {}

func BenchmarkAnswer(b *testing.B) {
	s, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprintf("UC%022d", i))
	}
	for _, bb := range []struct{ name, url string }{
		{"graph", "/graphapi/v12.0/17841400000009999?access_token=sandbox-token&fields=" + url.QueryEscape("business_discovery.username(creator%05d)"+fields)},
		{"info", "/rapidapi-arraybobo/ig/info_username/?user=creator%05d"},
		{"posts", "/rapidapi-arraybobo/ig/posts/?id_user=40000%05d"},
		{"reels", "/rapidapi-arraybobo/ig/reels_posts/?id_user=40000%05d"},
		{"app", "/rapidapi-jotucker/medias_v2?batch_size=50&user_id=40000%05d"},
		{"lama", "/lama/v1/user/medias/chunk?max_amount=200&user_id=40000%05d"},
		{"people50", "/rapidapi-jotucker/followers?batch_size=50&user_id=40000%05d"},
		{"people200", "/lama/gql/user/followers/chunk?amount=200&user_id=40000%05d"},
		{"channels40", "/ytapitoken/youtube/v3/channels?part=snippet,statistics,contentDetails&id=UC%05d," + strings.Join(ids[1:], ",")},
	} {
		var reqs []*http.Request
		for i := range 256 {
			u := strings.Replace(bb.url, "%2505d", fmt.Sprintf("%05d", i), 1)
			u = strings.Replace(u, "%05d", fmt.Sprintf("%05d", i), 1)
			reqs = append(reqs, httptest.NewRequest(http.MethodGet, u, nil))
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			w := &recorder{h: http.Header{}}
			i := 0
			for b.Loop() {
				s.ServeHTTP(w, reqs[i%len(reqs)])
				i++
			}
			b.ReportMetric(float64(w.n)/float64(i), "B/answer")
		})
	}
}
