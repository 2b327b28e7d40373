package sandbox

import (
	"slices"
	"strconv"
)

// What is stuck onto a story, the same at every source.

func linked(p item) bool { return p.between(81, 0, 2) == 0 }

// sticker is the hashtag on a story, "" for the one in two without.
func sticker(p item) string {
	if p.between(82, 0, 1) == 0 {
		return ""
	}
	return storyTags[p.between(83, 0, uint64(len(storyTags)-1))]
}

var storyTags = []string{"coffee", "lake", "receta", "praia", "resep", "fitness"}

func tagID(name string) uint64 { return 17_840_000_000_000_000 + hashText(name)%10_000_000_000_000 }

// appendStoryReels appends the members reels and reels_media in the layout of
// the app; reels is empty of who has no stories and who does not show them.
func (s *Sandbox) appendStoryReels(b []byte, id string, how app) []byte {
	a, ok := s.account(id)
	if !ok {
		return append(b, noReel...)
	}
	l, items := s.world.live(a)
	if len(items) == 0 {
		return append(b, noReel...)
	}
	b = append(append(b, `"reels":{"`...), id...)
	b = how.id(b, `":{"id":`, a.id)
	b = appendInt(b, `,"latest_reel_media":`, items[len(items)-1].at)
	b = appendInt(b, `,"expiring_at":`, items[len(items)-1].at+24*3600)
	b = how.id(b, `,"seen":null,"can_reply":true,"reel_type":"user_reel","user":{"pk":`, a.id)
	b = append(append(b, `,"username":"`...), a.handle...)
	b = s.words.appendName(append(b, `","full_name":`...), a, false)
	b = s.appendURL(append(b, `,"profile_pic_url":`...), face(a), "t51.2885-19", "150x150", "jpg")
	b = strconv.AppendBool(append(b, `,"is_private":false,"is_verified":`...), a.verified())
	b = append(b, `},"items":[`...)
	for _, p := range items {
		b = append(s.appendStory(b, l, p, how), ',')
	}
	return append(b[:len(b)-1], `]}},"reels_media":[]`...)
}

const noReel = `"reels":{},"reels_media":[]`

func (s *Sandbox) appendStory(b []byte, l timeline, p item, how app) []byte {
	f := l.form(p)
	b = how.id(b, `{"pk":`, p.pk)
	b = appendUint(b, `,"id":"`, p.pk)
	b = appendUint(b, "_", l.a.id)
	b = append(append(b, `","code":"`...), p.code[:]...)
	b = append(append(b, `","media_type":`...), appForms[f]...)
	b = appendInt(b, `,"product_type":"story","taken_at":`, p.at)
	b = appendInt(b, `,"expiring_at":`, p.at+24*3600)
	b = how.id(b, `,"user":{"pk":`, l.a.id)
	b = s.appendImages(append(b, `},`...), p.seed)
	if f == video {
		b = s.appendVideos(append(b, ','), p)
		b = appendDuration(append(b, `,"has_audio":true,"video_duration":`...), p)
	}
	if linked(p) {
		b = append(b, `,"story_link_stickers":[{"x":0.5,"y":0.6,"width":0.4,"height":0.1,"story_link":`...)
		b = append(appendLink(b, l.a), `}]`...)
	}
	if tag := sticker(p); tag != "" {
		b = appendSticker(append(b, `,"story_hashtags":[`...), tag)
		b = append(b, ']')
	}
	if n := tags(p); n > 0 {
		b = append(b, `,"reel_mentions":[`...)
		for i := range n {
			mid := `,"username":"`
			if b = append(append(b, `{"x":0.4,"y":0.7,"user":{"pk":`...), how.quote...); how.quote != "" {
				mid = `","username":"`
			}
			b = append(s.appendOther(b, mid, p, i), `}},`...)
		}
		b = append(b[:len(b)-1], ']')
	}
	b = s.appendSponsors(b, p, how)
	b = strconv.AppendBool(append(b, `,"is_paid_partnership":`...), sponsored(p))
	if id, at, ok := p.place(); ok {
		b = how.id(b, `,"location":{"pk":`, id)
		b = append(append(append(b, `,"name":"`...), at.city...), `"}`...)
	}
	return append(b, '}')
}

func appendLink(b []byte, a account) []byte {
	b = append(append(b, `{"link_type":"web","url":"https://l.instagram.com/?u=https%3A%2F%2F`...), a.handle...)
	return append(append(append(b, `.example%2F","display_url":"`...), a.handle...), `.example"}`...)
}

func appendSticker(b []byte, tag string) []byte {
	b = appendUint(b, `{"x":0.2,"y":0.2,"width":0.3,"height":0.1,"hashtag":{"id":"`, tagID(tag))
	return append(append(append(b, `","name":"`...), tag...), `"}}`...)
}

// live are the stories of a that are not older than a day, the oldest first.
func (w *world) live(a account) (timeline, []item) {
	l := w.timeline(a, stories)
	var out []item
	for n := l.newest; l.kind.total > 0 && l.time(n) > l.hour-24*3600; n-- {
		out = append(out, l.item(n))
	}
	slices.Reverse(out)
	return l, out
}
