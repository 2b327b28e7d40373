package sandbox

import "strconv"

// The layout of Instagram's web interface: ids are text, lists are edges with
// nodes and a page_info.

// trim takes the comma off that follows the last of a list.
func trim(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return b
}

// appendPageInfo appends the member page_info of a stretch of a list.
func appendPageInfo(b []byte, c call, list int, id uint64, g stretch) []byte {
	if !g.more {
		return append(b, `"page_info":{"has_next_page":false,"end_cursor":null}`...)
	}
	b = appendCursor(append(b, `"page_info":{"has_next_page":true,"end_cursor":"`...), c.src.cursor, list, id, g.last-1)
	return append(b, `"}`...)
}

// appendTimeline appends the members count, page_info and edges of a page of
// posts, which are made in this way.
func (s *Sandbox) appendTimeline(b []byte, c call, l timeline, from int64, how web) []byte {
	first, last, more := l.page(from)
	b = appendUint(b, `"count":`, s.world.mediaCount(l.a))
	b = appendPageInfo(append(b, ','), c, posts, l.a.id, stretch{first, last, more})
	b = append(b, `,"edges":[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendNode(append(b, `{"node":`...), l, l.item(n), how, s.cfg.Pad/l.kind.page), `},`...)
	}
	return append(trim(b), ']')
}

// web is how a post is shown.
type web int

const (
	alone    web = 1 << iota // with what is shown of one post only
	liked                    // likes under both of their names
	untagged                 // without who is tagged
)

// appendNode appends an item, with so many bytes of filler.
func (s *Sandbox) appendNode(b []byte, l timeline, p item, how web, pad int) []byte {
	f := l.form(p)
	b = append(append(b, `{"__typename":"`...), webForms[f]...)
	b = appendUint(b, `","id":"`, p.pk)
	b = append(append(b, `","shortcode":"`...), p.code[:]...)
	b = append(b, `","dimensions":{"height":1350,"width":1080},"gating_info":null,"fact_check_overall_rating":null,"fact_check_information":null,"display_url":`...)
	b = s.appendURL(b, p.seed, "t51.29350-15", "1080x1350", "jpg")
	b = append(b, `,"display_resources":[`...)
	for _, size := range [...]struct{ wh, w, h string }{{"640x800", "640", "800"}, {"1080x1350", "1080", "1350"}} {
		b = s.appendURL(append(b, `{"src":`...), p.seed, "t51.29350-15", size.wh, "jpg")
		b = append(append(b, `,"config_width":`...), size.w...)
		b = append(append(append(b, `,"config_height":`...), size.h...), `},`...)
	}
	b = append(b[:len(b)-1], ']')
	b = s.appendURL(append(b, `,"thumbnail_src":`...), p.seed, "t51.29350-15", "640x640", "jpg")
	b = strconv.AppendBool(append(b, `,"is_video":`...), f == video)
	if f == video {
		b = s.appendURL(append(b, `,"has_audio":true,"video_url":`...), p.seed, "t50.2886-16", "", "mp4")
		b = appendUint(b, `,"video_view_count":`, l.views(p))
		if how&alone != 0 {
			b = appendUint(b, `,"video_play_count":`, l.plays(p))
			b = appendDuration(append(b, `,"video_duration":`...), p)
		}
	}
	b = appendUint(b, `,"owner":{"id":"`, l.a.id)
	b = append(append(b, `","username":"`...), l.a.handle...)
	b = appendInt(b, `"},"taken_at_timestamp":`, p.at)
	b = append(b, `,"edge_media_to_caption":{"edges":[`...)
	if l.captioned(p) {
		b = s.words.appendCaption(append(b, `{"node":{"text":`...), l.a, p, false)
		b = append(b, `}}`...)
	}
	b = appendUint(b, `]},"edge_media_to_comment":{"count":`, l.comments(p))
	b = l.appendLikes(append(b, `},"comments_disabled":false,"edge_media_preview_like":{"count":`...), p)
	if how&liked != 0 {
		b = l.appendLikes(append(b, `},"edge_liked_by":{"count":`...), p)
	}
	b = append(b, '}')
	if how&untagged == 0 {
		b = append(b, `,"edge_media_to_tagged_user":{"edges":[`...)
		for i := range tags(p) {
			if i > 0 {
				b = append(b, ',')
			}
			b = s.appendOther(append(b, `{"node":{"user":{"id":"`...), `","username":"`, p, i)
			b = append(b, `},"x":0.5,"y":0.4}}`...)
		}
		b = append(b, `]},"edge_media_to_sponsor_user":{"edges":[`...)
		if sponsored(p) {
			b = appendSponsor(append(b, `{"node":{"sponsor":{"id":"`...), `","username":"`, p)
			b = append(b, `}}}`...)
		}
		b = append(b, `]}`...)
	}
	b = append(b, `,"location":`...)
	if id, at, ok := p.place(); ok {
		b = appendUint(b, `{"id":"`, id)
		b = append(append(append(b, `","has_public_page":true,"name":"`...), at.city...), `","slug":"town"}`...)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"viewer_has_liked":false,"viewer_has_saved":false,"viewer_in_photo_of_you":false,"viewer_can_reshare":true`...)
	return append(s.pad(b, "media_preview", p.seed>>11, pad), '}')
}

// appendWebUser appends the members of an account, without a brace at the end;
// its posts follow.
func (s *Sandbox) appendWebUser(b []byte, a account) []byte {
	hour := s.world.hour()
	b = appendUint(b, `{"id":"`, a.id)
	b = appendUint(b, `","fbid":"`, fbid(a))
	b = append(append(b, `","username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = s.words.appendBio(append(b, `,"biography":`...), a, false)
	b = append(append(b, `,"external_url":"https://`...), a.handle...)
	b = strconv.AppendBool(append(b, `.example/","is_private":`...), a.trait == private)
	b = strconv.AppendBool(append(b, `,"is_verified":`...), a.verified())
	b = strconv.AppendBool(append(b, `,"is_business_account":`...), a.kind() == 2)
	b = strconv.AppendBool(append(b, `,"is_professional_account":`...), a.kind() >= 2)
	b = append(append(b, `,"business_category_name":null,"category_name":"`...), a.category().name...)
	b = s.appendURL(append(b, `","profile_pic_url":`...), face(a), "t51.2885-19", "150x150", "jpg")
	b = s.appendURL(append(b, `,"profile_pic_url_hd":`...), face(a), "t51.2885-19", "320x320", "jpg")
	b = appendUint(b, `,"edge_followed_by":{"count":`, a.followers(hour))
	b = appendUint(b, `},"edge_follow":{"count":`, a.following())
	b = append(b, `},"blocked_by_viewer":false,"country_block":false,"has_ar_effects":false,"has_clips":true,"has_guides":false,"is_joined_recently":false,"pronouns":[]`...)
	b = appendUint(b, `,"edge_felix_video_timeline":{"count":`, uint64(s.world.of(a, reels).total))
	return append(b, `,"page_info":{"has_next_page":false,"end_cursor":""},"edges":[]}`...)
}

// appendCrowd appends the members count, page_info and edges of a page of
// people.
func (s *Sandbox) appendCrowd(b []byte, c call, w crowd, g stretch, count string) []byte {
	b = append(append(b, `"count":`...), count...)
	b = appendPageInfo(append(b, ','), c, w.list, w.of, g)
	b = append(b, `,"edges":[`...)
	for n := g.first; n >= g.last; n-- {
		b = s.appendPerson(append(b, `{"node":`...), s.world.person(w, uint64(n)), "id")
		b = append(b, `,"followed_by_viewer":false,"follows_viewer":false,"requested_by_viewer":false}},`...)
	}
	return append(trim(b), ']')
}

// appendPerson appends what lists show of an account, with its id as text under
// each of these names, without a brace at the end.
func (s *Sandbox) appendPerson(b []byte, a account, ids ...string) []byte {
	b = append(b, '{')
	for _, name := range ids {
		b = append(append(append(b, '"'), name...), `":"`...)
		b = append(strconv.AppendUint(b, a.id, 10), `",`...)
	}
	b = append(append(b, `"username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = s.appendURL(append(b, `,"profile_pic_url":`...), face(a), "t51.2885-19", "150x150", "jpg")
	b = strconv.AppendBool(append(b, `,"is_private":`...), a.trait == private)
	return strconv.AppendBool(append(b, `,"is_verified":`...), a.verified())
}
