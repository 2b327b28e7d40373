package sandbox

import (
	"encoding/json"
	"strconv"
	"strings"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 10: accounts and posts as the app
// has them, with ids as text, lists as the web has them. Both profile calls have
// one path.
var jotuckerRoutes = []route{
	{"/user_info_by_id", "user_name", "", social.ProfileByHandle, (*Sandbox).joByHandle, "pk", `{"low":1}`},
	{"/user_info_by_id", "", "", social.ProfileByID, (*Sandbox).joByID, "pk", `{"low":1}`},
	{"/medias_v2", "", "", social.PostsByID, (*Sandbox).joPosts, "items", `{"0":"feed"}`},
	{"/media_info_v2", "", "", social.PostByShortcode, (*Sandbox).joPost, "items", `{"0":"feed"}`},
	{"/followers", "", "", social.Followers, (*Sandbox).joFollowers, "edges", `{"0":"GraphUser"}`},
	{"/following", "", "", social.Following, (*Sandbox).joFollowing, "edges", `{"0":"GraphUser"}`},
	{"/media_likers", "", "", social.PostLikes, (*Sandbox).joLikes, "edges", `{"0":"GraphUser"}`},
	{"/media_comments", "", "", social.PostComments, (*Sandbox).joComments, "edges", `{"0":"GraphComment"}`},
	{"/hash_tag_medias_v2", "", "", social.HashtagPosts, (*Sandbox).joHashtag, "edges", `{"0":"GraphImage"}`},
}

const (
	joPage    = 50
	noWebPost = `{"data":{"shortcode_media":null},"status":"ok"}`
	noWebTag  = `{"data":{"hashtag":null},"status":"ok"}`
)

func (s *Sandbox) joByID(c call, b []byte) answer {
	id := c.q.Get("user_id")
	if raw := s.real.of[appUsersByID][id]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	return s.joUser(b, a, ok)
}

func (s *Sandbox) joByHandle(c call, b []byte) answer {
	handle := strings.ToLower(c.q.Get("user_name"))
	if raw := s.real.of[appUsers][handle]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.called(handle)
	return s.joUser(b, a, ok)
}

func (s *Sandbox) joUser(b []byte, a account, ok bool) answer {
	if !ok {
		return fine(append(b, `{"status":"ok"}`...))
	}
	b = s.appendUser(append(b, `{"user":`...), a, textual)
	return fine(append(b, `,"status":"ok"}`...))
}

func (s *Sandbox) joPosts(c call, b []byte) answer {
	id, cursor := c.q.Get("user_id"), c.q.Get("max_id")
	if s.real.knownID(id) {
		return failed(b, "Media not found or unavailable")
	}
	b, ok := s.appendFeed(b, id, cursor, textual)
	if !ok {
		return failed(b, "Invalid max_id")
	}
	return fine(b)
}

func (s *Sandbox) joPost(c call, b []byte) answer {
	code := c.q.Get("short_code")
	if raw := s.real.of[appPost][code]; raw != nil {
		return recorded(raw)
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return fine(append(b, feedEnd...))
	}
	return fine(s.appendAlone(b, l, p, textual))
}

func (s *Sandbox) joFollowers(c call, b []byte) answer {
	return s.joPeople(c, b, "edge_followed_by", s.world.followersOf)
}

func (s *Sandbox) joFollowing(c call, b []byte) answer {
	return s.joPeople(c, b, "edge_follow", s.world.followingOf)
}

func (s *Sandbox) joPeople(c call, b []byte, edge string, of func(account) crowd) answer {
	a, ok := s.account(c.q.Get("user_id"))
	if !ok || a.trait == private {
		return fine(append(b, noWebUser...))
	}
	who := of(a)
	b = append(append(append(b, `{"data":{"user":{"`...), edge...), `":{`...)
	b, ok = s.joCrowd(c, b, who, strconv.FormatUint(who.size, 10))
	if !ok {
		return failed(b[:0], "Invalid next_cursor")
	}
	return fine(append(b, `}}},"status":"ok"}`...))
}

func (s *Sandbox) joCrowd(c call, b []byte, who crowd, count string) ([]byte, bool) {
	from, ok := c.from(c.q.Get("next_cursor"), who.list, who.of, int64(who.size))
	if !ok {
		return b, false
	}
	g := page(from, int64(who.size), size(c.q.Get("batch_size"), joPage))
	return s.appendCrowd(b, c, who, g, count), true
}

// joReal is a real page, and then an empty one.
func joReal(c call, b, raw []byte, of, edge string) answer {
	if c.q.Get("next_cursor") == "" {
		return recorded(raw)
	}
	b = append(append(append(append(b, `{"data":{"`...), of...), `":{"`...), edge...)
	return fine(append(b, `":{"count":0,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}}},"status":"ok"}`...))
}

func (s *Sandbox) joLikes(c call, b []byte) answer {
	code := c.q.Get("short_code")
	if raw := s.real.of[webLikers][code]; raw != nil {
		return joReal(c, b, raw, "shortcode_media", "edge_liked_by")
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return fine(append(b, noWebPost...))
	}
	b = appendUint(b, `{"data":{"shortcode_media":{"id":"`, p.pk)
	b = append(append(append(b, `","shortcode":"`...), code...), `","edge_liked_by":{`...)
	b, ok = s.joCrowd(c, b, l.likersOf(p), string(l.appendLikes(nil, p)))
	if !ok {
		return failed(b[:0], "Invalid next_cursor")
	}
	return fine(append(b, `}}},"status":"ok"}`...))
}

// joComments answers the comments on a post. Their cursor is itself JSON.
func (s *Sandbox) joComments(c call, b []byte) answer {
	code := c.q.Get("short_code")
	if raw := s.real.of[webComments][code]; raw != nil {
		return joReal(c, b, raw, "shortcode_media", "edge_media_to_parent_comment")
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return fine(append(b, noWebPost...))
	}
	var cursor struct {
		Token string `json:"bifilter_token"`
	}
	if text := c.q.Get("next_cursor"); text != "" && (json.Unmarshal([]byte(text), &cursor) != nil || cursor.Token == "") {
		return failed(b, "Invalid next_cursor")
	}
	total := int64(l.comments(p))
	from, ok := c.from(cursor.Token, commenters, p.pk, total)
	if !ok {
		return failed(b, "Invalid next_cursor")
	}
	g := page(from, total, size(c.q.Get("batch_size"), joPage))
	b = appendInt(b, `{"data":{"shortcode_media":{"edge_media_to_parent_comment":{"count":`, total)
	if !g.more {
		b = append(b, `,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[`...)
	} else {
		next := appendUint(nil, `{"cached_comments_cursor": "`, s.world.commentOn(l, p, uint64(g.last)).id)
		next = appendCursor(append(next, `", "bifilter_token": "`...), c.src.cursor, commenters, p.pk, g.last-1)
		b = appendStr(append(b, `,"page_info":{"has_next_page":true,"end_cursor":`...), string(next)+`"}`)
		b = append(b, `},"edges":[`...)
	}
	for n := g.first; n >= g.last; n-- {
		b = append(s.appendComment(b, l, s.world.commentOn(l, p, uint64(n))), ',')
	}
	return fine(append(trim(b), `]}}},"status":"ok"}`...))
}

func (s *Sandbox) appendComment(b []byte, l timeline, c comment) []byte {
	b = s.appendReply(append(b, `{"node":`...), c.id, c.by, c.seed, c.at)
	b = appendUint(b, `,"edge_liked_by":{"count":`, c.likes)
	if !c.replies {
		return append(b, `},"edge_threaded_comments":{"count":0,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}}}`...)
	}
	b = append(b, `},"edge_threaded_comments":{"count":1,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[{"node":`...)
	b = s.appendReply(b, c.id+500_000_000_000_000, l.a, c.seed>>9, c.at+90)
	return append(b, `,"edge_liked_by":{"count":0}}}]}}}`...)
}

func (s *Sandbox) appendReply(b []byte, id uint64, by account, seed uint64, at int64) []byte {
	b = appendUint(b, `{"id":"`, id)
	b = s.words.appendRemark(append(b, `","text":`...), by, seed)
	b = appendInt(b, `,"created_at":`, at)
	b = appendUint(b, `,"did_report_as_spam":false,"owner":{"id":"`, by.id)
	b = append(append(b, `","username":"`...), by.handle...)
	b = strconv.AppendBool(append(b, `","is_verified":`...), by.verified())
	b = s.appendURL(append(b, `,"profile_pic_url":`...), face(by), "t51.2885-19", "150x150", "jpg")
	return append(b, `},"viewer_has_liked":false`...)
}

func (s *Sandbox) joHashtag(c call, b []byte) answer {
	tag := strings.ToLower(c.q.Get("hash_tag"))
	if raw := s.real.of[webHashtags][tag]; raw != nil {
		return joReal(c, b, raw, "hashtag", "edge_hashtag_to_ranked_media")
	}
	total, ok := s.world.hashtagSize(tag)
	if !ok {
		return fine(append(b, noWebTag...))
	}
	from, ok := c.from(c.q.Get("next_cursor"), hashtags, tagID(tag), int64(total))
	if !ok {
		return failed(b, "Invalid next_cursor")
	}
	g := page(from, int64(total), size(c.q.Get("batch_size"), joPage))
	b = appendUint(b, `{"data":{"hashtag":{"id":"`, tagID(tag))
	b = appendStr(append(b, `","name":`...), tag)
	b = appendUint(b, `,"edge_hashtag_to_ranked_media":{"count":`, total)
	b = appendPageInfo(append(b, ','), c, hashtags, tagID(tag), g)
	b = append(b, `,"edges":[`...)
	for n := g.first; n >= g.last; n-- {
		l, p := s.world.hashtagged(tag, uint64(n), total)
		b = append(s.appendNode(append(b, `{"node":`...), l, p, liked|untagged, 0), `},`...)
	}
	return fine(append(trim(b), `]}}},"status":"ok"}`...))
}
