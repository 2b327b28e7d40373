package sandbox

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// small is a creator with few followers.
func (c caller) small() account {
	best := c.world.byNumber(creators)
	for n := range uint64(300) {
		if a := c.world.byNumber(creators + n); a.followers(c.world.hour()) < best.followers(c.world.hour()) {
			best = a
		}
	}
	return best
}

// TestListsToTheEnd walks through every list and wants what the world says, in
// order, without a gap or a repeat.
func TestListsToTheEnd(t *testing.T) {
	c := serve(t, Config{})
	w := c.world
	a := c.small()
	id := strconv.FormatUint(a.id, 10)
	l := w.timeline(a, posts)
	post := l.item(l.newest - 5)
	code := string(post.code[:])
	people := func(who crowd) (out []string) {
		for n := who.size; n > 0; n-- {
			out = append(out, strconv.FormatUint(w.person(who, n).id, 10))
		}
		return out
	}
	codes := func(l timeline) (out []string) {
		for n := range int64(l.kind.total) {
			p := l.item(l.newest - n)
			out = append(out, string(p.code[:]))
		}
		return out
	}
	var comments, tagged, coffee []string
	for n := l.comments(post); n > 0; n-- {
		comments = append(comments, strconv.FormatUint(w.commentOn(l, post, n).id, 10))
	}
	for n := w.taggedSize(a); n > 0; n-- {
		_, p := w.tagging(a, n)
		tagged = append(tagged, string(p.code[:]))
	}
	total, _ := w.hashtagSize("coffee")
	for n := total; n > 0; n-- {
		_, p := w.hashtagged("coffee", n, total)
		coffee = append(coffee, string(p.code[:]))
	}
	followers, following, likers := people(w.followersOf(a)), people(w.followingOf(a)), people(l.likersOf(post))
	if len(followers) < 8001 {
		t.Fatalf("%d followers are not enough for 40 pages of 200", len(followers))
	}
	for _, tt := range []struct {
		source, path string
		q            []string
		cursor       string // parameter
		items, next  string // paths in the body
		more         string // "" when the cursor says it
		size         int
		want         []string
	}{
		{ArrayBobo, "/ig/posts/", []string{"id_user", id}, "end_cursor", "data.user.edge_owner_to_timeline_media.edges.#.node.shortcode", "data.user.edge_owner_to_timeline_media.page_info.end_cursor", "data.user.edge_owner_to_timeline_media.page_info.has_next_page", 12, codes(l)},
		{ArrayBobo, "/ig/reels_posts/", []string{"id_user", id}, "max_id", "items.#.media.code", "paging_info.max_id", "paging_info.more_available", 12, codes(w.timeline(a, reels))},
		{ArrayBobo, "/ig/tagged/", []string{"id_user", id}, "end_cursor", "data.user.edge_user_to_photos_of_you.edges.#.node.shortcode", "data.user.edge_user_to_photos_of_you.page_info.end_cursor", "data.user.edge_user_to_photos_of_you.page_info.has_next_page", 12, tagged},
		{JoTucker, "/medias_v2", []string{"user_id", id, "batch_size", "50"}, "max_id", "items.#.code", "next_max_id", "more_available", 12, codes(l)},
		{JoTucker, "/followers", []string{"user_id", id, "batch_size", "50"}, "next_cursor", "data.user.edge_followed_by.edges.#.node.id", "data.user.edge_followed_by.page_info.end_cursor", "data.user.edge_followed_by.page_info.has_next_page", 50, followers},
		{JoTucker, "/following", []string{"user_id", id, "batch_size", "50"}, "next_cursor", "data.user.edge_follow.edges.#.node.id", "data.user.edge_follow.page_info.end_cursor", "data.user.edge_follow.page_info.has_next_page", 50, following},
		{JoTucker, "/media_likers", []string{"short_code", code, "batch_size", "50"}, "next_cursor", "data.shortcode_media.edge_liked_by.edges.#.node.id", "data.shortcode_media.edge_liked_by.page_info.end_cursor", "data.shortcode_media.edge_liked_by.page_info.has_next_page", 50, likers},
		{JoTucker, "/media_comments", []string{"short_code", code, "batch_size", "5"}, "next_cursor", "data.shortcode_media.edge_media_to_parent_comment.edges.#.node.id", "data.shortcode_media.edge_media_to_parent_comment.page_info.end_cursor", "data.shortcode_media.edge_media_to_parent_comment.page_info.has_next_page", 5, comments},
		{JoTucker, "/hash_tag_medias_v2", []string{"hash_tag", "Coffee", "batch_size", "50"}, "next_cursor", "data.hashtag.edge_hashtag_to_ranked_media.edges.#.node.shortcode", "data.hashtag.edge_hashtag_to_ranked_media.page_info.end_cursor", "data.hashtag.edge_hashtag_to_ranked_media.page_info.has_next_page", 50, coffee},
		{NeoTank, "/account-medias", []string{"userid", id, "first", "80"}, "after", "edges.#.node.shortcode", "page_info.end_cursor", "page_info.has_next_page", 12, codes(l)},
		{BestSolutions, "/feed", []string{"user_id", id}, "next_max_id", "items.#.code", "next_max_id", "more_available", 12, codes(l)},
		{IGAPI, "/web_followers", []string{"user_id", id}, "cursor", "edges.#.node.id", "page_info.end_cursor", "page_info.has_next_page", 50, followers},
		{RocketAPI, "/instagram/user/get_clips", []string{"id", id}, "max_id", "response.body.items.#.media.code", "response.body.paging_info.max_id", "response.body.paging_info.more_available", 12, codes(w.timeline(a, reels))},
		{RocketAPI, "/instagram/user/get_followers", []string{"id", id, "count", "100"}, "max_id", "response.body.users.#.pk_id", "response.body.next_max_id", "response.body.big_list", 100, followers},
		{Lama, "/v1/user/medias/chunk", []string{"user_id", id, "max_amount", "200"}, "end_cursor", "0.#.code", "1", "", 12, codes(l)},
		{Lama, "/gql/user/followers/chunk", []string{"user_id", id, "amount", "200"}, "end_cursor", "0.#.pk", "1", "", 200, followers},
		{Lama, "/gql/user/following/chunk", []string{"user_id", id, "amount", "200"}, "end_cursor", "0.#.pk", "1", "", 200, following},
		{Lama, "/v1/hashtag/medias/recent/chunk", []string{"name", "coffee", "max_amount", "24"}, "max_id", "0.#.code", "1", "", 24, coffee},
	} {
		name := tt.source + tt.path
		seen := map[string]bool{}
		for _, k := range tt.want {
			if seen[k] {
				t.Fatalf("%s: the world has %s twice", name, k)
			}
			seen[k] = true
		}
		var got []string
		cursor := ""
		for page := 0; ; page++ {
			q := slices.Clone(tt.q)
			if cursor != "" {
				q = append(q, tt.cursor, cursor)
			}
			status, _, body := c.get(tt.source, tt.path, q...)
			if status != 200 || page > 1000 {
				t.Fatalf("%s: page %d: %d %.300s", name, page, status, body)
			}
			ids := gjson.GetBytes(body, tt.items).Array()
			for _, v := range ids {
				got = append(got, v.String())
			}
			more := tt.more == "" || gjson.GetBytes(body, tt.more).Bool()
			if cursor = gjson.GetBytes(body, tt.next).String(); more != (cursor != "") && tt.more != "" {
				t.Fatalf("%s: page %d: more is %v, the cursor %q", name, page, more, cursor)
			}
			if cursor == "" {
				break
			}
			if len(ids) != tt.size {
				t.Fatalf("%s: page %d has %d, want %d", name, page, len(ids), tt.size)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d things, want %d of the world", name, len(got), len(tt.want))
		}
		// A cursor of another source, or of nobody, is refused.
		for _, bad := range []string{"nonsense", string(appendCursor(nil, "AQX", posts, a.id, 5))} {
			_, _, body := c.get(tt.source, tt.path, append(slices.Clone(tt.q), tt.cursor, bad)...)
			if len(gjson.GetBytes(body, tt.items).Array()) != 0 {
				t.Errorf("%s: the cursor %q has a page: %.200s", name, bad, body)
			}
		}
	}
}

// TestPeople: who is in a list is the account that can be asked for.
func TestPeople(t *testing.T) {
	c := serve(t, Config{})
	n := map[string]int{}
	_, _, body := c.get(Lama, "/gql/user/followers/chunk", "user_id", "4000000007", "amount", "200")
	for _, p := range gjson.GetBytes(body, "0").Array() {
		_, _, info := c.get(ArrayBobo, "/ig/info/", "id_user", p.Get("pk").String())
		u := gjson.GetBytes(info, "user")
		for _, k := range []string{"username", "full_name", "is_private", "is_verified"} {
			if u.Get(k).String() != p.Get(k).String() || !u.Get(k).Exists() {
				t.Errorf("%s of a follower is %s, of the account %s", k, p.Get(k), u.Get(k))
			}
			n[k+" "+p.Get(k).String()]++
		}
	}
	for _, k := range []string{"is_private true", "is_private false", "is_verified true", "is_verified false"} {
		if n[k] < 10 {
			t.Errorf("%s: %d of 200", k, n[k])
		}
	}
}

// TestComments: they came after the post, and stay as they are.
func TestComments(t *testing.T) {
	c := serve(t, Config{})
	w := c.world
	l := w.timeline(w.byNumber(creators+4), posts)
	p := l.item(l.newest - 3)
	total := l.comments(p)
	if total < 20 {
		t.Fatalf("%d comments", total)
	}
	later := newWorld(Config{Now: func() time.Time { return at.AddDate(0, 0, 9) }, PostsPerPage: 12, PostsTotal: 36, ReelsPerPage: 12, ReelsTotal: 36})
	ll := later.timeline(l.a, posts)
	last := int64(0)
	replies := 0
	for n := uint64(1); n <= total; n++ {
		v := w.commentOn(l, p, n)
		if v.at < p.at || v.at > at.Unix() {
			t.Errorf("comment %d is of %d, the post of %d", n, v.at, p.at)
		}
		if v.at < last-3600 {
			t.Errorf("comment %d is older than the one before", n)
		}
		last = v.at
		if again := later.commentOn(ll, p, n); again != v {
			t.Fatalf("comment %d was %+v and is %+v", n, v, again)
		}
		if v.replies {
			replies++
		}
	}
	if replies == 0 {
		t.Error("no reply")
	}
}
