package sandbox

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// form says how an item is made: one in two an image, one in five a carousel.
type form int

const (
	image form = iota
	carousel
	video
)

var (
	graphForms = [...]string{"IMAGE", "CAROUSEL_ALBUM", "VIDEO"}
	webForms   = [...]string{"GraphImage", "GraphSidecar", "GraphVideo"}
)

func (l timeline) form(p item) form {
	if l.k == reels {
		return video
	}
	switch p.between(1, 0, 9) {
	case 0, 1, 2, 3, 4:
		return image
	case 5, 6:
		return carousel
	}
	return video
}

// The counts of an item.
func (l timeline) likes(p item) uint64 {
	return p.grown(0, 20+l.a.between(1, 900, 1799)<<l.a.between(2, 0, 13)*p.between(2, 1, 9)/100, l.hour)
}

func (l timeline) comments(p item) uint64 {
	return l.likes(p)/p.between(3, 20, 90) + p.between(4, 0, 5)
}
func (l timeline) views(p item) uint64 { return l.likes(p) * p.between(5, 7, 30) }
func (l timeline) plays(p item) uint64 { return l.views(p) * 5 / 3 }

// Cursors name the next item by its number, so that new posts do not shift
// the pages. The prefix makes them look like the real ones in base 64.
func appendCursor(b []byte, prefix string, k int, id uint64, n int64) []byte {
	var raw [64]byte
	r := append(raw[:0], prefix...)
	r = strconv.AppendInt(r, int64(k), 10)
	r = appendUint(r, ":", id)
	r = appendInt(r, ":", n)
	return base64.RawURLEncoding.AppendEncode(b, r)
}

func readCursor(s, prefix string, k int, id uint64) (int64, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	t, ok := strings.CutPrefix(string(raw), prefix)
	if err != nil || !ok {
		return 0, false
	}
	f := strings.Split(t, ":")
	if len(f) != 3 || f[0] != strconv.Itoa(k) || f[1] != strconv.FormatUint(id, 10) {
		return 0, false
	}
	n, err := strconv.ParseInt(f[2], 10, 64)
	return n, err == nil && n > 0
}

const (
	graphCursor = "AQHS" // QVFIU…
	boboCursor  = "AQC"  // QVFD…
)

// graph answers business discovery.
func (s *Sandbox) graph(path string, q url.Values, b []byte) answer {
	_, user, _ := strings.Cut(path[1:], "/")
	if _, ok := parseID(user); !ok {
		return graphError(b, http.StatusBadRequest, "Unsupported get request. Object with ID '"+user+
			"' does not exist, cannot be loaded due to missing permissions, or does not support this operation", 100, 33)
	}
	fields := q.Get("fields")
	_, after, ok := strings.Cut(fields, "business_discovery.username(")
	handle, asked, ok2 := strings.Cut(after, ")")
	if !ok || !ok2 {
		return graphError(b, http.StatusBadRequest, "(#100) Tried accessing nonexisting field on node type (IGUser)", 100, 0)
	}
	handle = strings.ToLower(handle)
	if raw := s.real.graph[handle]; raw != nil {
		return answer{http.StatusOK, raw, kept}
	}
	a, found := s.world.byHandle(handle)
	if !found || s.real.known(handle) || a.trait == private || a.trait == personal {
		return graphError(b, http.StatusBadRequest, "Invalid user id", 110, 2207013)
	}

	l := s.world.timeline(a, posts)
	from := l.newest
	if _, cursor, ok := strings.Cut(asked, "media.after("); ok {
		cursor, _, _ = strings.Cut(cursor, ")")
		if from, ok = readCursor(cursor, graphCursor, posts, a.id); !ok {
			return graphError(b, http.StatusBadRequest, "(#100) Invalid cursor", 100, 0)
		}
	}
	b = appendUint(b, `{"business_discovery":{"id":"`, fbid(a))
	b = appendUint(b, `","ig_id":`, a.id)
	b = s.words.appendName(append(b, `,"name":`...), a, true)
	if a.between(20, 0, 2) > 0 { // Graph leaves out what is not set
		b = append(append(b, `,"website":"https:\/\/`...), a.handle...)
		b = append(b, `.example\/"`...)
	}
	b = appendUint(b, `,"followers_count":`, a.followers(l.hour))
	b = appendUint(b, `,"follows_count":`, a.following())
	b = s.appendURL(append(b, `,"profile_picture_url":`...), hash(a.seed, 30), "t51.2885-15", "", "jpg")
	b = append(append(b, `,"username":"`...), a.handle...)
	b = s.words.appendBio(append(b, `","biography":`...), a, true)
	b = appendUint(b, `,"media_count":`, s.world.mediaCount(a))

	first, last, more := l.page(from)
	if first >= last {
		b = append(b, `,"media":{"data":[`...)
		for n := first; n >= last; n-- {
			b = append(s.appendMedia(b, l, l.item(n)), ',')
		}
		b = append(b[:len(b)-1], `],"paging":{"cursors":{`...)
		if from != l.newest {
			b = appendCursor(append(b, `"before":"`...), graphCursor, posts, a.id, first)
			b = append(b, '"')
		}
		if more {
			if from != l.newest {
				b = append(b, ',')
			}
			b = appendCursor(append(b, `"after":"`...), graphCursor, posts, a.id, last-1)
			b = append(b, '"')
		}
		b = append(b, `}}}`...)
	}
	b = append(append(b, `},"id":"`...), user...)
	return answer{http.StatusOK, append(b, `"}`...), built}
}

// fbid is the Graph node of an account.
func fbid(a account) uint64 { return 17841400000000000 + a.id%99_999_999_999 }

// appendMedia appends a media object of Graph.
func (s *Sandbox) appendMedia(b []byte, l timeline, p item) []byte {
	f := l.form(p)
	b = appendUint(b, `{"id":"`, l.mediaID(p))
	b = append(append(b, `","username":"`...), l.a.handle...)
	b = appendUint(b, `","comments_count":`, l.comments(p))
	if l.a.trait != hiddenLikes {
		b = appendUint(b, `,"like_count":`, l.likes(p))
	}
	b = append(append(b, `,"media_type":"`...), graphForms[f]...)
	b = append(b, '"')
	if f != video {
		b = s.appendURL(append(b, `,"media_url":`...), p.seed, "t51.29350-15", "", "jpg")
	} else if p.between(6, 0, 63) > 0 { // absent when flagged for copyright
		b = s.appendURL(append(b, `,"media_url":`...), p.seed, "t50.2886-16", "", "mp4")
	}
	if l.captioned(p) {
		b = s.words.appendCaption(append(b, `,"caption":`...), l.a, p, true)
	}
	b = time.Unix(p.at, 0).UTC().AppendFormat(append(b, `,"timestamp":"`...), "2006-01-02T15:04:05-0700")
	b = append(b, `","permalink":"https:\/\/www.instagram.com\/`...)
	if f == video {
		b = append(b, `reel\/`...)
	} else {
		b = append(b, `p\/`...)
	}
	b = append(b, p.code[:]...)
	return append(b, `\/"}`...)
}

// metrics are what insights may be asked for.
var metrics = map[string]func(l timeline, p item) uint64{
	"likes":              timeline.likes,
	"comments":           timeline.comments,
	"plays":              timeline.plays,
	"video_views":        timeline.views,
	"reach":              timeline.reach,
	"impressions":        func(l timeline, p item) uint64 { return l.reach(p) * p.between(11, 11, 16) / 10 },
	"saved":              timeline.saved,
	"shares":             timeline.shares,
	"engagement":         func(l timeline, p item) uint64 { return l.likes(p) + l.comments(p) + l.saved(p) },
	"total_interactions": func(l timeline, p item) uint64 { return l.likes(p) + l.comments(p) + l.saved(p) + l.shares(p) },
}

func (l timeline) reach(p item) uint64  { return l.likes(p)*p.between(10, 6, 19) + p.between(10, 6, 19) }
func (l timeline) saved(p item) uint64  { return l.likes(p) / p.between(12, 15, 60) }
func (l timeline) shares(p item) uint64 { return l.likes(p) / p.between(13, 30, 90) }

// insights answers how a post did, to the account that it is of.
func (s *Sandbox) insights(c call, b []byte) answer {
	id := strings.Split(c.path, "/")[2]
	l, p, ok := s.world.byMedia(id)
	if owner, bound := strings.CutPrefix(c.key(), boundToken); !ok || bound && owner != l.a.handle && l.owner != 0 {
		return graphError(b, http.StatusBadRequest, "Unsupported get request. Object with ID '"+id+
			"' does not exist, cannot be loaded due to missing permissions, or does not support this operation", 100, 33)
	}
	asked := c.q.Get("metric")
	if asked == "" {
		return graphError(b, http.StatusBadRequest, "(#100) The parameter metric is required", 100, 0)
	}
	b = append(b, `{"data":[`...)
	for i, name := range strings.Split(asked, ",") {
		count := metrics[name]
		if count == nil {
			return graphError(b[:0], http.StatusBadRequest, "(#100) metric["+strconv.Itoa(i)+"] must be one of the known values", 100, 0)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"name":"`...), name...)
		b = appendUint(b, `","period":"lifetime","values":[{"value":`, count(l, p))
		b = appendStr(append(b, `}],"title":`...), strings.ReplaceAll(name, "_", " "))
		b = append(append(b, `,"id":"`...), id...)
		b = append(append(append(b, `\/insights\/`...), name...), `\/lifetime"}`...)
	}
	return answer{http.StatusOK, append(b, `]}`...), built}
}

// captioned says whether an item has a caption; one in sixteen has none.
func (l timeline) captioned(p item) bool { return p.between(7, 0, 15) > 0 }

// failBobo is an answer of arraybobo that has nothing.
func failBobo(b []byte, message string) answer {
	b = append(b, `{"message":"`...)
	return answer{http.StatusOK, append(append(b, message...), `","status":"fail"}`...), built}
}

// info answers the profile calls of arraybobo, by id or by handle.
func (s *Sandbox) info(b []byte, key string, byID bool) answer {
	var a account
	var ok bool
	if byID {
		if raw := s.real.infoByID[key]; raw != nil {
			return answer{http.StatusOK, raw, kept}
		}
		a, ok = s.world.byID(key)
		ok = ok && !s.real.knownID(key)
	} else {
		key = strings.ToLower(key)
		if raw := s.real.info[key]; raw != nil {
			return answer{http.StatusOK, raw, kept}
		}
		a, ok = s.world.byHandle(key)
		ok = ok && !s.real.known(key)
	}
	if !ok {
		return answer{http.StatusOK, append(b, `{"status":"ok"}`...), built}
	}
	hour := s.world.hour()
	b = appendUint(b, `{"user":{"pk":`, a.id)
	b = append(append(b, `,"username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = strconv.AppendBool(append(b, `,"is_private":`...), a.trait == private)
	b = s.appendURL(append(b, `,"profile_pic_url":`...), hash(a.seed, 30), "t51.2885-19", "150x150", "jpg")
	b = appendUint(b, `,"profile_pic_id":"`, 2_000_000_000_000_000_000+hash(a.seed, 31)%999_999_999_999_999_999)
	b = appendUint(b, "_", a.id)
	b = strconv.AppendBool(append(b, `","is_verified":`...), a.between(21, 0, 7) == 0)
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
		b = append(s.appendURL(append(b, `,"url":`...), hash(a.seed, 30), "t51.2885-19", size+"x"+size, "jpg"), '}')
	}
	b = s.appendURL(append(b, `],"hd_profile_pic_url_info":{"url":`...), hash(a.seed, 30), "t51.2885-19", "", "jpg")
	b = append(b, `,"width":1080,"height":1080},"mutual_followers_count":0,"has_highlight_reels":true,"has_guides":false,"can_be_reported_as_fraud":false,"merchant_checkout_style":"none","direct_messaging":"UNKNOWN","fb_page_call_to_action_id":"","address_street":"","business_contact_method":""`...)
	c := categories[a.between(22, 0, uint64(len(categories)-1))]
	b = append(append(append(b, `,"category":"`...), c.name...), `","category_id":`...)
	b = append(append(b, c.id...), `,"city_id":0,"city_name":"`...)
	p := places[a.between(23, 0, uint64(len(places)-1))]
	b = append(append(b, p.city...), `","contact_phone_number":"","is_call_to_action_enabled":false,"latitude":`...)
	b = append(append(append(append(b, p.lat...), `,"longitude":`...), p.long...), `,"public_email":"hello@`...)
	b = append(append(b, a.handle...), `.example","public_phone_country_code":"","public_phone_number":"","zip":"","instagram_location_id":""`...)
	b = strconv.AppendBool(append(b, `,"is_business":`...), a.trait != personal)
	b = append(b, `,"account_type":`...)
	switch {
	case a.trait == personal:
		b = append(b, '1')
	default:
		b = append(b, '2'+byte(a.between(24, 0, 1)))
	}
	b = append(b, `,"can_hide_category":true,"can_hide_public_contacts":true,"should_show_category":true,"should_show_public_contacts":false`...)
	b = appendUint(b, `,"interop_messaging_user_fbid":`, 100_000_000_000_000+a.id%899_999_999_999_999)
	b = append(b, `,"is_facebook_onboarded_charity":false,"account_badges":[],"pronouns":[],"include_direct_blacklist_status":true,"is_potential_business":true,"request_contact_enabled":false,"is_bestie":false,"has_unseen_besties_media":false,"auto_expand_chaining":false,"highlight_reshare_disabled":false,"is_memorialized":false,"open_external_url_with_in_app_browser":true`...)
	b = s.pad(b, "text_post_app_badge_token", a.seed, s.cfg.Pad)
	return answer{http.StatusOK, append(b, `},"status":"ok"}`...), built}
}

var categories = []struct{ name, id string }{
	{"Coffee shop", "1129760000"}, {"Digital creator", "1062560000"}, {"Food & beverage", "2500"},
	{"Artist", "1601"}, {"Fitness trainer", "1051850000"}, {"Travel company", "1210000000"},
}

var places = []struct{ city, lat, long string }{
	{"Northlake", "41.9", "-87.9"}, {"", "0.0", "0.0"}, {"Pune", "18.5204", "73.8567"},
	{"Porto", "41.1496", "-8.611"}, {"京都市", "35.0116", "135.7681"},
}

// posts answers a page of the timeline in the web layout.
func (s *Sandbox) posts(b []byte, id, cursor string) answer {
	if raw := s.real.posts[id]; raw != nil {
		if cursor != "" {
			raw = s.real.postsEnd[id]
		}
		return answer{http.StatusOK, raw, kept}
	}
	a, ok := s.world.byID(id)
	if !ok {
		return answer{http.StatusOK, append(b, `{"data":{"user":null},"status":"ok"}`...), built}
	}
	if s.real.knownID(id) {
		return answer{http.StatusOK, appendPostsEnd(b, "0"), built}
	}
	l := s.world.timeline(a, posts)
	from := l.newest
	if cursor != "" {
		if from, ok = readCursor(cursor, boboCursor, posts, a.id); !ok {
			return failBobo(b, "Invalid end_cursor")
		}
	}
	first, last, more := l.page(from)
	b = appendUint(b, `{"data":{"user":{"edge_owner_to_timeline_media":{"count":`, s.world.mediaCount(a))
	b = append(b, `,"page_info":{"has_next_page":`...)
	if more {
		b = appendCursor(append(b, `true,"end_cursor":"`...), boboCursor, posts, a.id, last-1)
		b = append(b, `"},"edges":[`...)
	} else {
		b = append(b, `false,"end_cursor":null},"edges":[`...)
	}
	for n := first; n >= last; n-- {
		b = append(s.appendNode(append(b, `{"node":`...), l, l.item(n), false), `},`...)
	}
	if first >= last {
		b = b[:len(b)-1]
	}
	return answer{http.StatusOK, append(b, `]}}},"status":"ok"}`...), built}
}

// appendPostsEnd appends a page of posts that is empty and the last.
func appendPostsEnd(b []byte, count string) []byte {
	b = append(append(b, `{"data":{"user":{"edge_owner_to_timeline_media":{"count":`...), count...)
	return append(b, `,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]}}},"status":"ok"}`...)
}

// appendNode appends an item in the web layout, alone or as one of a page.
func (s *Sandbox) appendNode(b []byte, l timeline, p item, alone bool) []byte {
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
		if alone {
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
	b = append(b, `},"comments_disabled":false,"edge_media_preview_like":{"count":`...)
	if l.a.trait == hiddenLikes {
		b = append(b, `-1`...)
	} else {
		b = strconv.AppendUint(b, l.likes(p), 10)
	}
	b = append(b, `},"edge_media_to_tagged_user":{"edges":[`...)
	for i := range tagged(p) {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendOther(append(b, `{"node":{"user":{"id":"`...), `","username":"`, p, i)
		b = append(b, `},"x":0.5,"y":0.4`...)
		b = append(b, `}}`...)
	}
	b = append(b, `]},"edge_media_to_sponsor_user":{"edges":[`...)
	if sponsored(p) {
		n := p.between(60, 0, 99_999)
		b = appendUint(b, `{"node":{"sponsor":{"id":"`, creators+n)
		b = append(appendFive(append(b, `","username":"creator`...), n), `"}}}`...)
	}
	b = append(b, `]},"location":`...)
	if c := places[p.between(61, 0, uint64(len(places)-1))]; c.city != "" && p.between(62, 0, 2) == 0 {
		b = appendUint(b, `{"id":"`, 212_000_000+p.between(61, 0, uint64(len(places)-1)))
		b = append(append(append(b, `","has_public_page":true,"name":"`...), c.city...), `","slug":"town"}`...)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"viewer_has_liked":false,"viewer_has_saved":false,"viewer_in_photo_of_you":false,"viewer_can_reshare":true`...)
	n := s.cfg.Pad
	if !alone {
		n /= l.kind.page
	}
	return append(s.pad(b, "media_preview", p.seed>>11, n), '}')
}

func appendDuration(b []byte, p item) []byte {
	b = appendUint(b, "", p.between(8, 5, 89))
	return appendUint(b, ".", p.between(9, 1, 9))
}

// tagged is how many accounts an item tags, sponsored whether it has a sponsor.
func tagged(p item) uint64  { return max(p.between(40, 0, 5), 3) - 3 }
func sponsored(p item) bool { return p.between(41, 0, 9) == 0 }

// appendOther appends id, username and full name of a tagged creator; what
// stands between id and username tells the layouts apart.
func (s *Sandbox) appendOther(b []byte, mid string, p item, i uint64) []byte {
	n := p.between(50+i, 0, 99_999)
	b = strconv.AppendUint(b, creators+n, 10)
	b = appendFive(append(append(b, mid...), `creator`...), n)
	return append(appendFive(append(b, `","full_name":"Creator `...), n), '"')
}

// reels answers a page of clips in the layout of the private API.
func (s *Sandbox) reels(b []byte, id, cursor string) answer {
	if raw := s.real.reels[id]; raw != nil && cursor == "" {
		return answer{http.StatusOK, raw, kept}
	}
	a, ok := s.world.byID(id)
	if !ok || s.real.knownID(id) {
		return answer{http.StatusOK, append(b, reelsEnd...), built}
	}
	l := s.world.timeline(a, reels)
	from := l.newest
	if cursor != "" {
		if from, ok = readCursor(cursor, boboCursor, reels, a.id); !ok {
			return failBobo(b, "Invalid max_id")
		}
	}
	first, last, more := l.page(from)
	if first < last {
		return answer{http.StatusOK, append(b, reelsEnd...), built}
	}
	b = append(b, `{"items":[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendClip(append(b, `{"media":`...), l, l.item(n)), `},`...)
	}
	b = append(b[:len(b)-1], `],"paging_info":{`...)
	if more {
		b = appendCursor(append(b, `"max_id":"`...), boboCursor, reels, a.id, last-1)
		b = append(b, `",`...)
	}
	b = strconv.AppendBool(append(b, `"more_available":`...), more)
	return answer{http.StatusOK, append(b, `},"status":"ok"}`...), built}
}

const reelsEnd = `{"items":[],"paging_info":{"more_available":false},"status":"ok"}`

// appendClip appends an item in the layout of the private API.
func (s *Sandbox) appendClip(b []byte, l timeline, p item) []byte {
	b = appendUint(b, `{"taken_at":`, uint64(p.at))
	b = appendUint(b, `,"pk":`, p.pk)
	b = appendUint(b, `,"id":"`, p.pk)
	b = appendUint(b, "_", l.a.id)
	b = appendUint(b, `","device_timestamp":`, uint64(p.at)*1000+p.seed%1000)
	b = append(append(b, `,"media_type":2,"code":"`...), p.code[:]...)
	b = appendUint(b, `","filter_type":0,"is_unified_video":false,"user":{"pk":`, l.a.id)
	b = append(append(b, `,"username":"`...), l.a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), l.a, false)
	b = s.appendURL(append(b, `,"is_private":false,"profile_pic_url":`...), hash(l.a.seed, 30), "t51.2885-19", "150x150", "jpg")
	b = strconv.AppendBool(append(b, `,"is_verified":`...), l.a.between(21, 0, 7) == 0)
	b = append(b, `,"account_badges":[]},"caption_is_edited":false,"like_and_view_counts_disabled":false,"commerciality_status":"not_commercial","is_paid_partnership":`...)
	b = strconv.AppendBool(b, sponsored(p))
	b = appendUint(b, `,"comment_likes_enabled":true,"has_more_comments":true,"preview_comments":[],"comment_count":`, l.comments(p))
	b = append(b, `,"image_versions2":{"candidates":[`...)
	for _, size := range [...]struct{ wh, w, h string }{{"720x1280", "720", "1280"}, {"240x427", "240", "427"}} {
		b = append(append(b, `{"width":`...), size.w...)
		b = append(append(b, `,"height":`...), size.h...)
		b = append(s.appendURL(append(b, `,"url":`...), p.seed, "t51.2885-15", size.wh, "jpg"), `},`...)
	}
	b = append(b[:len(b)-1], `]},"original_width":720,"original_height":1280,"like_count":`...)
	if l.a.trait == hiddenLikes {
		b = append(b, `-1`...)
	} else {
		b = strconv.AppendUint(b, l.likes(p), 10)
	}
	b = append(b, `,"has_liked":false,"photo_of_you":false,"usertags":{"in":[`...)
	for i := range tagged(p) {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendOther(append(b, `{"user":{"pk":`...), `,"username":"`, p, i)
		b = append(b, `,"is_private":false,"is_verified":false},"position":[0.5,0.5]}`...)
	}
	b = append(b, `]},"can_see_insights_as_brand":false,"video_versions":[`...)
	for _, v := range [...]string{`{"type":101,"width":720,"height":1280,"url":`, `{"type":103,"width":480,"height":853,"url":`} {
		b = append(s.appendURL(append(b, v...), p.seed, "t50.2886-16", "", "mp4"), `},`...)
	}
	b = appendDuration(append(b[:len(b)-1], `],"has_audio":true,"video_duration":`...), p)
	b = appendUint(b, `,"view_count":null,"play_count":`, l.plays(p))
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
	if sponsored(p) {
		n := p.between(60, 0, 99_999)
		b = appendUint(b, `,"sponsor_tags":[{"sponsor":{"pk":`, creators+n)
		b = append(appendFive(append(b, `,"username":"creator`...), n), `"}}]`...)
	}
	b = append(b, `,"product_type":"clips","deleted_reason":0`...)
	return append(s.pad(b, "organic_tracking_token", p.seed>>11, s.cfg.Pad/l.kind.page), '}')
}

// post answers one post in the web layout.
func (s *Sandbox) post(b []byte, code string) answer {
	if raw := s.real.media[code]; raw != nil {
		return answer{http.StatusOK, raw, kept}
	}
	l, p, ok := s.world.byShortcode(code)
	if !ok || l.kind.total == 0 {
		return failBobo(b, "Media not found or unavailable")
	}
	return answer{http.StatusOK, s.appendNode(b, l, p, true), built}
}
