package sandbox

import "strconv"

// The layout of Instagram's app. Its ids are numbers or text, and some sources
// leave out what others pass on.

// app is how a source passes it on.
type app struct {
	quote string // around ids
	views bool   // of videos
	sent  bool   // how often they were sent on
}

var (
	numeric = app{}
	textual = app{quote: `"`, views: true}
)

func (h app) id(b []byte, lead string, id uint64) []byte {
	b = append(append(b, lead...), h.quote...)
	return append(strconv.AppendUint(b, id, 10), h.quote...)
}

// appendUser appends an account.
func (s *Sandbox) appendUser(b []byte, a account, how app) []byte {
	hour := s.world.hour()
	b = how.id(b, `{"pk":`, a.id)
	b = append(append(b, `,"username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = strconv.AppendBool(append(b, `,"is_private":`...), a.trait == private)
	b = s.appendURL(append(b, `,"profile_pic_url":`...), face(a), "t51.2885-19", "150x150", "jpg")
	b = appendUint(b, `,"profile_pic_id":"`, 2_000_000_000_000_000_000+hash(a.seed, 31)%999_999_999_999_999_999)
	b = appendUint(b, "_", a.id)
	b = strconv.AppendBool(append(b, `","is_verified":`...), a.verified())
	b = append(b, `,"follow_friction_type":0,"has_anonymous_profile_picture":false`...)
	b = appendUint(b, `,"media_count":`, s.world.mediaCount(a))
	b = appendUint(b, `,"follower_count":`, a.followers(hour))
	b = appendUint(b, `,"following_count":`, a.following())
	b = s.words.appendBio(append(b, `,"following_tag_count":0,"biography":`...), a, false)
	b = append(append(b, `,"external_url":"https://`...), a.handle...)
	b = append(b, `.example/","total_igtv_videos":0,"has_videos":true,"total_clips_count":1,"is_favorite":false,"is_interest_account":true,"hd_profile_pic_versions":[`...)
	for i, size := range [...]string{"320", "640"} {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, `{"width":`...), size...), `,"height":`...), size...)
		b = append(s.appendURL(append(b, `,"url":`...), face(a), "t51.2885-19", size+"x"+size, "jpg"), '}')
	}
	b = s.appendURL(append(b, `],"hd_profile_pic_url_info":{"url":`...), face(a), "t51.2885-19", "", "jpg")
	b = append(b, `,"width":1080,"height":1080},"mutual_followers_count":0,"has_highlight_reels":true,"has_guides":false,"can_be_reported_as_fraud":false,"merchant_checkout_style":"none","direct_messaging":"UNKNOWN","fb_page_call_to_action_id":"","address_street":"","business_contact_method":""`...)
	kind := a.category()
	b = append(append(append(b, `,"category":"`...), kind.name...), `","category_id":`...)
	b = append(append(b, kind.id...), `,"city_id":0,"city_name":"`...)
	home := a.home()
	b = append(append(b, home.city...), `","contact_phone_number":"","is_call_to_action_enabled":false,"latitude":`...)
	b = append(append(append(append(b, home.lat...), `,"longitude":`...), home.long...), `,"public_email":"hello@`...)
	b = append(append(b, a.handle...), `.example","public_phone_country_code":"","public_phone_number":"","zip":"","instagram_location_id":""`...)
	b = strconv.AppendBool(append(b, `,"is_business":`...), a.trait != personal)
	b = append(append(b, `,"account_type":`...), '0'+a.kind())
	b = append(b, `,"can_hide_category":true,"can_hide_public_contacts":true,"should_show_category":true,"should_show_public_contacts":false`...)
	b = appendUint(b, `,"interop_messaging_user_fbid":`, messengerID(a))
	b = append(b, `,"is_facebook_onboarded_charity":false,"account_badges":[],"pronouns":[],"include_direct_blacklist_status":true,"is_potential_business":true,"request_contact_enabled":false,"is_bestie":false,"has_unseen_besties_media":false,"auto_expand_chaining":false,"highlight_reshare_disabled":false,"is_memorialized":false,"open_external_url_with_in_app_browser":true`...)
	return append(s.pad(b, "text_post_app_badge_token", a.seed, s.cfg.Pad), '}')
}

// appendReels appends a page of an account's clips; ok is whether the cursor
// was a good one. Who is not there has none.
func (s *Sandbox) appendReels(b []byte, c call, id, cursor string, how app) (_ []byte, ok bool) {
	a, ok := s.account(id)
	if !ok {
		return append(b, reelsEnd...), true
	}
	l := s.world.timeline(a, reels)
	from, ok := c.from(cursor, reels, a.id, l.newest)
	if !ok {
		return b, false
	}
	first, last, more := l.page(from)
	if first < last {
		return append(b, reelsEnd...), true
	}
	b = append(b, `{"items":[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendPost(append(b, `{"media":`...), l, l.item(n), how, s.cfg.Pad/l.kind.page), `},`...)
	}
	b = append(b[:len(b)-1], `],"paging_info":{`...)
	if more {
		b = appendCursor(append(b, `"max_id":"`...), c.src.cursor, reels, a.id, last-1)
		b = append(b, `",`...)
	}
	b = strconv.AppendBool(append(b, `"more_available":`...), more)
	return append(b, `},"status":"ok"}`...), true
}

const reelsEnd = `{"items":[],"paging_info":{"more_available":false},"status":"ok"}`

// appendFeed appends a page of an account's posts, from the one after the
// cursor's; ok is whether that was a good one. There are none of private and
// unknown accounts.
func (s *Sandbox) appendFeed(b []byte, id, cursor string, how app) (_ []byte, ok bool) {
	a, ok := s.account(id)
	if !ok {
		return append(b, feedEnd...), true
	}
	l := s.world.timeline(a, posts)
	from, ok := s.world.fromApp(l, cursor)
	if !ok {
		return b, false
	}
	first, last, more := l.page(from)
	if first < last {
		return append(b, feedEnd...), true
	}
	b = appendInt(b, `{"num_results":`, first-last+1)
	b = strconv.AppendBool(append(b, `,"more_available":`...), more)
	if more {
		b = append(appendAppCursor(append(b, `,"next_max_id":"`...), l, l.item(last)), '"')
	}
	b = append(b, `,"auto_load_more_enabled":true,"items":[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendPost(b, l, l.item(n), how, s.cfg.Pad/l.kind.page), ',')
	}
	return append(b[:len(b)-1], `],"status":"ok"}`...), true
}

const feedEnd = `{"num_results":0,"more_available":false,"auto_load_more_enabled":true,"items":[],"status":"ok"}`

// appendAlone appends the answer that holds one post.
func (s *Sandbox) appendAlone(b []byte, l timeline, p item, how app) []byte {
	b = s.appendPost(append(b, `{"items":[`...), l, p, how, s.cfg.Pad)
	return append(b, `],"num_results":1,"more_available":false,"auto_load_more_enabled":false,"status":"ok"}`...)
}

// appendPost appends an item, with so many bytes of filler.
func (s *Sandbox) appendPost(b []byte, l timeline, p item, how app, pad int) []byte {
	f := l.form(p)
	b = appendUint(b, `{"taken_at":`, uint64(p.at))
	b = how.id(b, `,"pk":`, p.pk)
	b = appendUint(b, `,"id":"`, p.pk)
	b = appendUint(b, "_", l.a.id)
	b = appendUint(b, `","device_timestamp":`, uint64(p.at)*1000+p.seed%1000)
	b = append(append(b, `,"media_type":`...), appForms[f]...)
	b = append(append(b, `,"code":"`...), p.code[:]...)
	b = how.id(b, `","filter_type":0,"is_unified_video":false,"user":{"pk":`, l.a.id)
	if how.quote != "" { // in newer answers
		b = append(appendUint(b, `,"id":"`, l.a.id), '"')
	}
	b = append(append(b, `,"username":"`...), l.a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), l.a, false)
	b = s.appendURL(append(b, `,"is_private":false,"profile_pic_url":`...), face(l.a), "t51.2885-19", "150x150", "jpg")
	b = strconv.AppendBool(append(b, `,"is_verified":`...), l.a.verified())
	b = append(b, `,"account_badges":[]},"caption_is_edited":false,"like_and_view_counts_disabled":false,"commerciality_status":"not_commercial","is_paid_partnership":`...)
	b = strconv.AppendBool(b, sponsored(p))
	b = appendUint(b, `,"comment_likes_enabled":true,"has_more_comments":true,"preview_comments":[],"comment_count":`, l.comments(p))
	b = append(b, ',')
	if f == carousel { // its own pictures are those of the parts
		b = s.appendParts(b, p)
	} else {
		b = append(s.appendImages(b, p.seed), ',')
	}
	b = l.appendLikes(append(b, `"original_width":720,"original_height":1280,"like_count":`...), p)
	b = append(b, `,"has_liked":false,"photo_of_you":false,"usertags":{"in":[`...)
	for i := range tags(p) {
		if i > 0 {
			b = append(b, ',')
		}
		if b = append(b, `{"user":{"pk":`...); how.quote == "" {
			b = s.appendOther(b, `,"username":"`, p, i)
		} else {
			b = s.appendOther(append(b, '"'), `","username":"`, p, i)
		}
		b = append(b, `,"is_private":false,"is_verified":false},"position":[0.5,0.5]}`...)
	}
	b = append(b, `]},"can_see_insights_as_brand":false`...)
	if f == video {
		b = append(s.appendVideos(append(b, ','), p), `,"has_audio":true,"video_duration":`...)
		b = appendDuration(b, p)
		if how.views {
			b = appendUint(b, `,"view_count":`, l.views(p))
		} else {
			b = append(b, `,"view_count":null`...)
		}
		b = appendUint(b, `,"play_count":`, l.plays(p))
	}
	if how.sent {
		b = appendUint(b, `,"reshare_count":`, l.shares(p))
	}
	b = append(b, `,"caption":`...)
	if l.captioned(p) {
		b = appendUint(b, `{"pk":"`, 17_900_000_000_000_000+p.seed%99_999_999_999_999)
		b = appendUint(b, `","user_id":`, l.a.id)
		b = s.words.appendCaption(append(b, `,"text":`...), l.a, p, false)
		b = appendUint(b, `,"type":1,"created_at":`, uint64(p.at))
		b = append(b, `,"content_type":"comment","status":"Active"}`...)
	} else {
		b = append(b, `null`...)
	}
	b = s.appendSponsors(b, p, how)
	if id, at, ok := p.place(); ok {
		b = how.id(b, `,"location":{"pk":`, id)
		b = append(append(b, `,"name":"`...), at.city...)
		b = append(append(append(append(b, `","lng":`...), at.long...), `,"lat":`...), at.lat...)
		b = append(b, '}')
	}
	b = append(append(b, `,"product_type":"`...), productForms[f]...)
	b = append(b, `","deleted_reason":0`...)
	return append(s.pad(b, "organic_tracking_token", p.seed>>11, pad), '}')
}

func (s *Sandbox) appendSponsors(b []byte, p item, how app) []byte {
	if !sponsored(p) {
		return b
	}
	mid := `,"username":"`
	if b = append(append(b, `,"sponsor_tags":[{"sponsor":{"pk":`...), how.quote...); how.quote != "" {
		mid = `","username":"`
	}
	return append(appendSponsor(b, mid, p), `}}]`...)
}

// appendParts appends the member carousel_media: two pictures.
func (s *Sandbox) appendParts(b []byte, p item) []byte {
	b = append(b, `"carousel_media_count":2,"carousel_media":[`...)
	for i := range uint64(2) {
		b = appendUint(b, `{"pk":"`, p.pk-1-i)
		b = append(s.appendImages(append(b, `","media_type":1,`...), p.seed+i), `},`...)
	}
	return append(b[:len(b)-1], `],`...)
}

// appendImages appends the member image_versions2.
func (s *Sandbox) appendImages(b []byte, seed uint64) []byte {
	b = append(b, `"image_versions2":{"candidates":[`...)
	for _, size := range [...]struct{ wh, w, h string }{{"720x1280", "720", "1280"}, {"240x427", "240", "427"}} {
		b = append(append(b, `{"width":`...), size.w...)
		b = append(append(b, `,"height":`...), size.h...)
		b = append(s.appendURL(append(b, `,"url":`...), seed, "t51.2885-15", size.wh, "jpg"), `},`...)
	}
	return append(b[:len(b)-1], `]}`...)
}

// appendVideos appends the member video_versions.
func (s *Sandbox) appendVideos(b []byte, p item) []byte {
	b = append(b, `"video_versions":[`...)
	for _, v := range [...]string{`{"type":101,"width":720,"height":1280,"url":`, `{"type":103,"width":480,"height":853,"url":`} {
		b = append(s.appendURL(append(b, v...), p.seed, "t50.2886-16", "", "mp4"), `},`...)
	}
	return append(b[:len(b)-1], ']')
}
