package sandbox

import (
	"strings"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 9: people and reels as the app
// has them, with ids as numbers, posts as the web has them.
var arrayboboRoutes = []route{
	{"/ig/info/", "", "", social.ProfileByID, (*Sandbox).boboByID, "pk", `{"low":1}`},
	{"/ig/info_username/", "", "", social.ProfileByHandle, (*Sandbox).boboByHandle, "pk", `{"low":1}`},
	{"/ig/posts/", "", "", social.PostsByID, (*Sandbox).boboPosts, "edges", `{"0":"GraphImage"}`},
	{"/ig/reels_posts/", "", "", social.Reels, (*Sandbox).boboReels, "items", `{"0":"clips"}`},
	{"/ig/post_info/", "", "", social.PostByShortcode, (*Sandbox).boboPost, "shortcode", `["C"]`},
	{"/ig/tagged/", "", "", social.TaggedPosts, (*Sandbox).boboTagged, "edges", `{"0":"GraphImage"}`},
	{"/ig/stories/", "", "", social.StoriesByID, (*Sandbox).boboStories, "items", `{"0":"story"}`},
}

// failed is an answer that has nothing, in Instagram's own words.
func failed(b []byte, message string) answer {
	b = append(b, `{"message":"`...)
	return fine(append(append(b, message...), `","status":"fail"}`...))
}

// account is the generated account of an id; false also for those that are
// real.
func (s *Sandbox) account(id string) (account, bool) {
	a, ok := s.world.byID(id)
	return a, ok && !s.real.knownID(id)
}

// called is the generated account of a handle.
func (s *Sandbox) called(handle string) (account, bool) {
	a, ok := s.world.byHandle(handle)
	return a, ok && !s.real.known(strings.ToLower(handle))
}

func (s *Sandbox) boboByID(c call, b []byte) answer {
	id := c.q.Get("id_user")
	if raw := s.real.of[appUsersByID][id]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	return s.boboUser(b, a, ok)
}

func (s *Sandbox) boboByHandle(c call, b []byte) answer {
	handle := strings.ToLower(c.q.Get("user"))
	if raw := s.real.of[appUsers][handle]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.called(handle)
	return s.boboUser(b, a, ok)
}

func (s *Sandbox) boboUser(b []byte, a account, ok bool) answer {
	if !ok {
		return fine(append(b, `{"status":"ok"}`...))
	}
	b = s.appendUser(append(b, `{"user":`...), a, numeric)
	return fine(append(b, `,"status":"ok"}`...))
}

// boboPosts answers a page of the timeline in the web layout.
func (s *Sandbox) boboPosts(c call, b []byte) answer {
	id, cursor := c.q.Get("id_user"), c.q.Get("end_cursor")
	if raw := s.real.page(webPosts, webPostsEnd, id, cursor); raw != nil {
		return recorded(raw)
	}
	a, ok := s.world.byID(id)
	if !ok {
		return fine(append(b, noWebUser...))
	}
	if s.real.knownID(id) {
		return fine(appendPostsEnd(b, "0"))
	}
	l := s.world.timeline(a, posts)
	from, ok := c.from(cursor, posts, a.id, l.newest)
	if !ok {
		return failed(b, "Invalid end_cursor")
	}
	b = append(b, `{"data":{"user":{"edge_owner_to_timeline_media":{`...)
	b = s.appendTimeline(b, c, l, from, 0)
	return fine(append(b, `}}},"status":"ok"}`...))
}

const noWebUser = `{"data":{"user":null},"status":"ok"}`

// appendPostsEnd appends a page of posts that is empty and the last.
func appendPostsEnd(b []byte, count string) []byte {
	b = append(append(b, `{"data":{"user":{"edge_owner_to_timeline_media":{"count":`...), count...)
	return append(b, `,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}}},"status":"ok"}`...)
}

// boboReels answers a page of clips in the layout of the app.
func (s *Sandbox) boboReels(c call, b []byte) answer {
	id, cursor := c.q.Get("id_user"), c.q.Get("max_id")
	if raw := s.real.of[appReels][id]; raw != nil && cursor == "" {
		return recorded(raw)
	}
	b, ok := s.appendReels(b, c, id, cursor, numeric)
	if !ok {
		return failed(b, "Invalid max_id")
	}
	return fine(b)
}

// boboPost answers one post in the web layout.
func (s *Sandbox) boboPost(c call, b []byte) answer {
	code := c.q.Get("shortcode")
	if raw := s.real.of[webPost][code]; raw != nil {
		return recorded(raw)
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return failed(b, "Media not found or unavailable")
	}
	return fine(s.appendNode(b, l, p, alone, s.cfg.Pad))
}

// boboTagged answers posts of others that tag an account. Who is tagged is not
// in them.
func (s *Sandbox) boboTagged(c call, b []byte) answer {
	id, cursor := c.q.Get("id_user"), c.q.Get("end_cursor")
	a, ok := s.account(id)
	if !ok {
		return fine(append(b, noWebUser...))
	}
	total := int64(s.world.taggedSize(a))
	from, ok := c.from(cursor, mentions, a.id, total)
	if !ok {
		return failed(b, "Invalid end_cursor")
	}
	g := page(from, total, int64(s.cfg.PostsPerPage))
	b = appendUint(b, `{"data":{"user":{"edge_user_to_photos_of_you":{"count":`, uint64(total))
	b = appendPageInfo(append(b, ','), c, mentions, a.id, g)
	b = append(b, `,"edges":[`...)
	for n := g.first; n >= g.last; n-- {
		l, p := s.world.tagging(a, uint64(n))
		b = append(s.appendNode(append(b, `{"node":`...), l, p, untagged, s.cfg.Pad/s.cfg.PostsPerPage), `},`...)
	}
	return fine(append(trim(b), `]}}},"status":"ok"}`...))
}

// boboStories answers the stories of an account in the layout of the app.
func (s *Sandbox) boboStories(c call, b []byte) answer {
	id := c.q.Get("id_user")
	if raw := s.real.of[appStories][id]; raw != nil {
		return recorded(raw)
	}
	return fine(append(s.appendStoryReels(append(b, '{'), id, numeric), `,"status":"ok"}`...))
}
