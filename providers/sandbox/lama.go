package sandbox

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 15: a1 is what the web and the
// app say, v1 and gql a layout of lama's own, with lists as [items, cursor].
var lamaRoutes = []route{
	{"/a1/user", "", "", social.ProfileByHandle, (*Sandbox).lamaByHandle, "username", `{"low":1}`},
	{"/v1/user/by/id", "", "", social.ProfileByID, (*Sandbox).lamaByID, "pk", `{"low":1}`},
	{"/v1/user/medias/chunk", "", "", social.PostsByID, (*Sandbox).lamaPosts, "code", `["C"]`},
	{"/a1/media", "", "", social.PostByShortcode, (*Sandbox).lamaPost, "items", `{"0":"feed"}`},
	{"/gql/user/followers/chunk", "", "", social.Followers, (*Sandbox).lamaFollowers, "pk", `{"low":1}`},
	{"/gql/user/following/chunk", "", "", social.Following, (*Sandbox).lamaFollowing, "pk", `{"low":1}`},
	{"/v1/user/stories", "", "", social.StoriesByID, (*Sandbox).lamaStories, "pk", `{"low":1}`},
	{"/v1/hashtag/medias/recent/chunk", "", "", social.HashtagPosts, (*Sandbox).lamaHashtag, "code", `["C"]`},
}

const (
	lamaPeople   = 200
	lamaTagPosts = 24
)

var (
	lamaNoUser  = lamaSaid(404, "Target user not found", "UserNotFound")
	lamaNoPost  = lamaSaid(404, "Media not found", "MediaNotFound")
	lamaNoTag   = lamaSaid(404, "Hashtag not found", "HashtagNotFound")
	lamaPrivate = lamaSaid(403, "Not authorized to view user", "PrivateAccount")
	lamaCursor  = lamaSaid(http.StatusBadRequest, "Invalid cursor", "BadCursor")
)

// lamaByHandle answers in the web layout, with the first posts in it.
func (s *Sandbox) lamaByHandle(c call, b []byte) answer {
	handle := strings.ToLower(c.q.Get("username"))
	if raw := s.real.of[graphqlUsers][handle]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.called(handle)
	if !ok {
		return lamaNoUser.to(b)
	}
	b = append(append(b, `{"seo_category_infos":[["`...), a.category().name...)
	b = appendUint(b, `","topic"]],"logging_page_id":"profilePage_`, a.id)
	b = s.appendWebUser(append(b, `","show_suggested_profiles":false,"graphql":{"user":`...), a)
	b = append(b, `,"edge_owner_to_timeline_media":{`...)
	l := s.world.timeline(a, posts)
	b = s.appendTimeline(b, c, l, l.newest, liked)
	return fine(append(b, `}}}}`...))
}

func (s *Sandbox) lamaByID(c call, b []byte) answer {
	id := c.q.Get("id")
	if raw := s.real.of[lamaUsersByID][id]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	if !ok {
		return lamaNoUser.to(b)
	}
	hour, home, kind := s.world.hour(), a.home(), a.category()
	b = appendUint(b, `{"pk":"`, a.id)
	b = append(append(b, `","username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = strconv.AppendBool(append(b, `,"is_private":`...), a.trait == private)
	b = s.appendURL(append(b, `,"profile_pic_url":`...), face(a), "t51.2885-19", "150x150", "jpg")
	b = s.appendURL(append(b, `,"profile_pic_url_hd":`...), face(a), "t51.2885-19", "", "jpg")
	b = strconv.AppendBool(append(b, `,"is_verified":`...), a.verified())
	b = appendUint(b, `,"media_count":`, s.world.mediaCount(a))
	b = appendUint(b, `,"follower_count":`, a.followers(hour))
	b = appendUint(b, `,"following_count":`, a.following())
	b = s.words.appendBio(append(b, `,"biography":`...), a, false)
	b = append(append(b, `,"external_url":"https://`...), a.handle...)
	b = append(append(b, `.example/","account_type":`...), '0'+a.kind())
	b = strconv.AppendBool(append(b, `,"is_business":`...), a.trait != personal)
	b = append(append(b, `,"public_email":"hello@`...), a.handle...)
	b = append(append(b, `.example","contact_phone_number":"","business_contact_method":"UNKNOWN","business_category_name":null,"category_name":"`...), kind.name...)
	b = append(append(append(append(b, `","category":"`...), kind.name...), `","city_name":"`...), home.city...)
	b = append(append(append(append(b, `","latitude":`...), home.lat...), `,"longitude":`...), home.long...)
	b = appendUint(b, `,"interop_messaging_user_fbid":"`, messengerID(a))
	return fine(append(b, `"}`...))
}

func (s *Sandbox) lamaPosts(c call, b []byte) answer {
	id, cursor := c.q.Get("user_id"), c.q.Get("end_cursor")
	if raw := s.real.page(lamaMedias, lamaMediasEnd, id, cursor); raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	switch {
	case !ok:
		return lamaNoUser.to(b)
	case a.trait == private:
		return lamaPrivate.to(b)
	}
	l := s.world.timeline(a, posts)
	from, ok := c.from(cursor, posts, a.id, l.newest)
	if !ok {
		return lamaCursor.to(b)
	}
	first, last, more := l.page(from)
	b = append(b, `[[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendLamaPost(b, l, l.item(n), s.cfg.Pad/l.kind.page), ',')
	}
	return fine(appendLamaEnd(b, c, posts, a.id, stretch{first, last, more}))
}

// appendLamaEnd ends a list and appends the cursor to the next, "" when it was
// the last.
func appendLamaEnd(b []byte, c call, list int, id uint64, g stretch) []byte {
	b = append(trim(b), `],"`...)
	if g.more {
		b = appendCursor(b, c.src.cursor, list, id, g.last-1)
	}
	return append(b, `"]`...)
}

func (s *Sandbox) lamaPost(c call, b []byte) answer {
	code := c.q.Get("code")
	if raw := s.real.of[graphqlPosts][code]; raw != nil {
		return recorded(raw)
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return lamaNoPost.to(b)
	}
	return fine(s.appendAlone(b, l, p, bestApp))
}

func (s *Sandbox) lamaFollowers(c call, b []byte) answer {
	return s.lamaCrowd(c, b, s.world.followersOf)
}

func (s *Sandbox) lamaFollowing(c call, b []byte) answer {
	return s.lamaCrowd(c, b, s.world.followingOf)
}

func (s *Sandbox) lamaCrowd(c call, b []byte, of func(account) crowd) answer {
	a, ok := s.account(c.q.Get("user_id"))
	switch {
	case !ok:
		return lamaNoUser.to(b)
	case a.trait == private:
		return lamaPrivate.to(b)
	}
	who := of(a)
	from, ok := c.from(c.q.Get("end_cursor"), who.list, who.of, int64(who.size))
	if !ok {
		return lamaCursor.to(b)
	}
	g := page(from, int64(who.size), size(c.q.Get("amount"), lamaPeople))
	b = append(b, `[[`...)
	for n := g.first; n >= g.last; n-- {
		b = append(s.appendPerson(b, s.world.person(who, uint64(n)), "pk", "id"), `},`...)
	}
	return fine(appendLamaEnd(b, c, who.list, who.of, g))
}

func (s *Sandbox) lamaStories(c call, b []byte) answer {
	id := c.q.Get("user_id")
	if raw := s.real.of[lamaReels][id]; raw != nil {
		return recorded(raw)
	}
	a, ok := s.account(id)
	switch {
	case !ok && !s.real.knownID(id):
		return lamaNoUser.to(b)
	case !ok:
		return fine(append(b, `[]`...))
	case a.trait == private:
		return lamaPrivate.to(b)
	}
	l, items := s.world.live(a)
	b = append(b, '[')
	for _, p := range items {
		b = append(s.appendLamaStory(b, l, p), ',')
	}
	return fine(append(trim(b), ']'))
}

func (s *Sandbox) lamaHashtag(c call, b []byte) answer {
	tag := strings.ToLower(c.q.Get("name"))
	total, ok := s.world.hashtagSize(tag)
	if !ok {
		return lamaNoTag.to(b)
	}
	from, ok := c.from(c.q.Get("max_id"), hashtags, tagID(tag), int64(total))
	if !ok {
		return lamaCursor.to(b)
	}
	g := page(from, int64(total), size(c.q.Get("max_amount"), lamaTagPosts))
	b = append(b, `[[`...)
	for n := g.first; n >= g.last; n-- {
		l, p := s.world.hashtagged(tag, uint64(n), total)
		b = append(s.appendLamaPost(b, l, p, 0), ',')
	}
	return fine(appendLamaEnd(b, c, hashtags, tagID(tag), g))
}

// appendLamaHead appends what posts and stories begin with.
func (s *Sandbox) appendLamaHead(b []byte, l timeline, p item, product string) []byte {
	f := l.form(p)
	b = appendUint(b, `{"pk":"`, p.pk)
	b = appendUint(b, `","id":"`, p.pk)
	b = appendUint(b, "_", l.a.id)
	b = append(append(b, `","code":"`...), p.code[:]...)
	b = time.Unix(p.at, 0).UTC().AppendFormat(append(b, `","taken_at":"`...), time.RFC3339)
	b = append(append(b, `","media_type":`...), appForms[f]...)
	b = append(append(b, `,"product_type":"`...), product...)
	b = append(b, `","thumbnail_url":`...)
	if f == carousel {
		b = append(b, `null`...)
	} else {
		b = s.appendURL(b, p.seed, "t51.2885-15", "640x640", "jpg")
	}
	if b = append(b, `,"video_url":`...); f == video {
		b = s.appendURL(b, p.seed, "t50.2886-16", "", "mp4")
		b = appendDuration(append(b, `,"video_duration":`...), p)
	} else {
		b = append(b, `null,"video_duration":0.0`...)
	}
	b = s.appendPerson(append(b, `,"user":`...), l.a, "pk", "id")
	b = append(b, `},"sponsor_tags":[`...)
	if sponsored(p) {
		b = appendSponsor(append(b, `{"pk":"`...), `","username":"`, p)
		b = append(b, '}')
	}
	return append(b, ']')
}

func (s *Sandbox) appendLamaPost(b []byte, l timeline, p item, pad int) []byte {
	f := l.form(p)
	b = s.appendLamaHead(b, l, p, productForms[f])
	b = appendInt(b, `,"taken_at_ts":`, p.at)
	if id, at, ok := p.place(); ok {
		b = appendUint(b, `,"location":{"pk":`, id)
		b = append(append(append(append(b, `,"name":"`...), at.city...), `","city":"`...), at.city...)
		b = append(append(append(append(b, `","lng":`...), at.long...), `,"lat":`...), at.lat...)
		b = append(b, '}')
	} else {
		b = append(b, `,"location":null`...)
	}
	b = appendUint(b, `,"comments_disabled":false,"comment_count":`, l.comments(p))
	b = l.appendLikes(append(b, `,"like_count":`...), p)
	if f == video {
		b = appendUint(b, `,"view_count":`, l.views(p))
		b = appendUint(b, `,"play_count":`, l.plays(p))
	} else {
		b = append(b, `,"view_count":0,"play_count":null`...)
	}
	b = append(b, `,"has_liked":false,"caption_text":`...)
	if l.captioned(p) {
		b = s.words.appendCaption(b, l.a, p, false)
	} else {
		b = append(b, `""`...)
	}
	b = append(b, `,"usertags":[`...)
	for i := range tags(p) {
		b = s.appendOther(append(b, `{"user":{"pk":"`...), `","username":"`, p, i)
		b = append(b, `},"x":0.5,"y":0.5},`...)
	}
	b = strconv.AppendBool(append(trim(b), `],"is_paid_partnership":`...), sponsored(p))
	return append(s.pad(b, "accessibility_caption", p.seed>>11, pad), '}')
}

func (s *Sandbox) appendLamaStory(b []byte, l timeline, p item) []byte {
	b = append(s.appendLamaHead(b, l, p, "story"), `,"mentions":[`...)
	for i := range tags(p) {
		b = s.appendOther(append(b, `{"user":{"pk":"`...), `","username":"`, p, i)
		b = append(b, `},"x":0.4,"y":0.7,"width":0.3,"height":0.1},`...)
	}
	b = append(trim(b), `],"links":[],"locations":[],"hashtags":[`...)
	if tag := sticker(p); tag != "" {
		b = appendSticker(b, tag)
	}
	b = append(b, `],"stickers":[`...)
	if linked(p) {
		b = append(b, `{"id":"","type":"story_link","x":0.5,"y":0.6,"width":0.4,"height":0.1,"story_link":`...)
		b = append(appendLink(b, l.a), '}')
	}
	return append(b, `],"medias":[]}`...)
}
