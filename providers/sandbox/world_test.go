package sandbox

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestIDs checks that ids and shortcodes find back.
func TestIDs(t *testing.T) {
	w := newWorld(Config{Now: fixed, PostsPerPage: 12, PostsTotal: 36, ReelsPerPage: 12, ReelsTotal: 36})
	for _, tt := range []struct {
		handle string
		id     uint64
	}{
		{"creator00000", 4_000_000_000}, {"creator00042", 4_000_000_042}, {"creator99999", 4_000_099_999},
		{"creator100000", 4_000_100_000}, {"creator999999999", 4_999_999_999}, {"acct.1000", 1000}, {"acct.9223372036854775807", 1<<63 - 1},
	} {
		a, ok := w.byHandle(tt.handle)
		if !ok || a.id != tt.id {
			t.Errorf("%s: id %d, want %d", tt.handle, a.id, tt.id)
		}
		if b := w.byNumber(tt.id); b != a {
			t.Errorf("%d: %+v, want %+v", tt.id, b, a)
		}
	}
	other := newWorld(Config{Now: fixed, PostsPerPage: 12, PostsTotal: 36, ReelsPerPage: 12, ReelsTotal: 36}) // as after a restart
	seen := map[uint64]string{}
	for _, h := range []string{"northlake.cafe", "creator1", "creator000042", "creatorx", "private.z", "personal", "empty", "noreels", "busy.bee", "hiddenlikes", "acct.4000000042", "acct.12", "_", strings.Repeat("z", 30)} {
		a, ok := w.byHandle(h)
		if !ok || a.handle != h || seen[a.id] != "" {
			t.Fatalf("%s: %+v, %v, id also of %q", h, a, ok, seen[a.id])
		}
		seen[a.id] = h
		if b := w.byNumber(a.id); b != a {
			t.Errorf("%s by id: %+v, want %+v", h, b, a)
		}
		if b := other.byNumber(a.id); b.trait != a.trait || b.seed != a.seed || b.handle != fmt.Sprint("acct.", a.id) {
			t.Errorf("%s by id in another process: %+v, want that of %+v", h, b, a)
		}
		for k := range 2 {
			for n := range int64(40) {
				l := w.timeline(a, k)
				p := l.item(l.newest - n*25)
				m, q, ok := w.byShortcode(string(p.code[:]))
				if !ok || q != p || m.a != a || m.k != k {
					t.Fatalf("%s: shortcode %s of %+v leads to %+v of %+v", h, p.code, p, q, m.a)
				}
			}
		}
	}
	for _, h := range []string{"", "missing1", "a b", "ä", strings.Repeat("z", 31), "a/b"} {
		if a, ok := w.byHandle(h); ok {
			t.Errorf("%q: %+v", h, a)
		}
	}
}

// TestStable checks that other processes and later hours show the same facts.
func TestStable(t *testing.T) {
	a, b := serve(t, Config{}), serve(t, Config{})
	later := serve(t, Config{Now: func() time.Time { return at.Add(3 * time.Hour) }})
	for _, q := range [][]string{
		{ArrayBobo, "/ig/info_username/", "user", "northlake.cafe"},
		{ArrayBobo, "/ig/posts/", "id_user", "4000000042"},
		{ArrayBobo, "/ig/reels_posts/", "id_user", "4000000042"},
		{ArrayBobo, "/ig/posts/", "id_user", "17841400000000001"},
		{ArrayBobo, "/ig/post_info/", "shortcode", "CxAmPle0022"},
		{YTAPI, "/youtube/v3/channels", "part", "snippet,statistics,contentDetails", "id", "UCa,UCb"},
		{GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username(x.y)" + fields},
	} {
		_, _, x := a.get(q[0], q[1], q[2:]...)
		_, _, y := b.get(q[0], q[1], q[2:]...)
		if !bytes.Equal(x, y) {
			t.Errorf("%v: two sandboxes differ:\n%.500s\n%.500s", q, x, y)
		}
	}
	at := func(c caller) map[string]node {
		m := map[string]node{}
		for n := range 40 {
			var p postsAnswer
			_, _, body := c.get(ArrayBobo, "/ig/posts/", "id_user", fmt.Sprint(4_000_000_000+n))
			c.read(body, &p)
			for _, e := range p.Data.User.Media.Edges {
				m[e.Node.Shortcode] = e.Node
			}
		}
		return m
	}
	before, after := at(a), at(later)
	same, grew := 0, 0
	for code, n := range after {
		if o, ok := before[code]; ok {
			same++
			if o.TakenAt != n.TakenAt || o.Type != n.Type || *o.Likes.Count > *n.Likes.Count {
				t.Errorf("%s was %+v and is %+v", code, o, n)
			}
			if *o.Likes.Count < *n.Likes.Count {
				grew++
			}
		}
	}
	if same < 400 || grew < 100 {
		t.Errorf("of 480 posts %d are there three hours later, %d with more likes", same, grew)
	}
}

// TestVariety checks that the world has what parsers must stand.
func TestVariety(t *testing.T) {
	c := serve(t, Config{})
	n := map[string]int{}
	for i := range 60 {
		var p postsAnswer
		_, _, body := c.get(ArrayBobo, "/ig/posts/", "id_user", fmt.Sprint(4_000_000_000+i))
		c.read(body, &p)
		if len(body) < 8<<10 || len(body) > 44<<10 {
			t.Errorf("%d: %d bytes", i, len(body))
		}
		for _, e := range p.Data.User.Media.Edges {
			n[e.Node.Type]++
			if len(e.Node.Caption.Edges) == 0 {
				n["no caption"]++
			} else if strings.ContainsFunc(e.Node.Caption.Edges[0].Node.Text, func(r rune) bool { return r > 0xffff }) {
				n["emoji"]++
			}
			n["tags"] += len(e.Node.Tagged.Edges)
			n["sponsors"] += len(e.Node.Sponsors.Edges)
		}
	}
	for _, k := range []string{"GraphImage", "GraphSidecar", "GraphVideo", "no caption", "emoji", "tags", "sponsors"} {
		if n[k] < 10 {
			t.Errorf("%s: only %d in %v", k, n[k], n)
		}
	}
	g := map[string]int{}
	for i := range 60 {
		var v graphAnswer
		_, body := c.graph(fmt.Sprintf("creator%05d", i))
		c.read(body, &v)
		if bytes.ContainsFunc(body, func(r rune) bool { return r > 127 }) {
			t.Fatalf("Graph escapes all but ASCII: %s", body)
		}
		for _, m := range v.User.Page.Data {
			if m.URL == "" {
				g["no url"]++
			}
		}
	}
	if g["no url"] == 0 {
		t.Error("every media has a URL")
	}
}
