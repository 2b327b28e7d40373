package sandbox

import (
	"net/http"
	"strings"
	"time"

	"beat/streams/social"
)

// The calls of contract/providers-instagram.md 8.
var graphRoutes = []route{
	{"/v*/debug_token", "", "", "", (*Sandbox).debugToken, "data", `{"scopes":"instagram_basic"}`},
	{"/v*/insights", "metric", "demographics", social.ProfileInsights, (*Sandbox).audience, "data", `{"0":"follower_demographics"}`},
	{"/v*/insights", "metric", "navigation", social.StoryInsights, (*Sandbox).storyInsights, "data", `{"0":"navigation"}`},
	{"/v*/insights", "metric", "replies", social.StoryInsights, (*Sandbox).storyInsights, "data", `{"0":"reach"}`},
	{"/v*/insights", "", "", social.PostInsights, (*Sandbox).postInsights, "data", `{"0":"reach"}`},
	{"/v*", "fields", "stories{", social.Stories, (*Sandbox).discovery, "ig_id", `{"low":1}`},
	{"/v*", "fields", "{media_count,media", social.PostsByHandle, (*Sandbox).discovery, "data", `{"0":"IMAGE"}`},
	{"/v*", "", "", social.ProfileByHandle, (*Sandbox).discovery, "ig_id", `{"low":1}`},
}

// A fieldSet is what a field expansion asks for.
type fieldSet uint32

const (
	fID fieldSet = 1 << iota // there whether it is asked for or not
	fIGID
	fUsername
	fName
	fWebsite
	fFollowers
	fFollows
	fPicture
	fBiography
	fMediaCount
	fMedia
	fStories
	fComments
	fLikes
	fType
	fProduct
	fURL
	fCaption
	fTimestamp
	fPermalink
	fOwner
)

var fieldNames = map[string]fieldSet{
	"id": fID, "ig_id": fIGID, "username": fUsername, "name": fName, "website": fWebsite,
	"followers_count": fFollowers, "follows_count": fFollows, "profile_picture_url": fPicture, "biography": fBiography,
	"media_count": fMediaCount, "media": fMedia, "stories": fStories,
	"comments_count": fComments, "like_count": fLikes, "media_type": fType, "media_product_type": fProduct,
	"media_url": fURL, "caption": fCaption, "timestamp": fTimestamp, "permalink": fPermalink, "owner": fOwner,
}

// An expansion is a field expansion such as {id,media.after(x){id},stories{id}}.
type expansion struct {
	user, media, stories fieldSet
	after                string
}

func expand(text string) (e expansion) {
	to, start := &e.user, 0
	var last fieldSet
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch c {
		case '{', ',', '}', '(':
			name, _, _ := strings.Cut(text[start:i], ".")
			if f, ok := fieldNames[name]; ok {
				last = f
				*to |= f
			}
			start = i + 1
		}
		switch c {
		case '(': // the only parameter there is
			n := strings.IndexByte(text[i:], ')')
			if n < 0 {
				return e
			}
			e.after = text[i+1 : i+n]
			i += n
			start = i + 1
		case '{':
			switch last {
			case fMedia:
				to = &e.media
			case fStories:
				to = &e.stories
			}
		case '}':
			to, last = &e.user, 0
		}
	}
	return e
}

// expand keeps the last one: nearly all calls ask for the same.
func (s *Sandbox) expand(text string) expansion {
	if last := s.expanded.Load(); last != nil && last.text == text {
		return last.expansion
	}
	e := expand(text)
	if e.after == "" {
		s.expanded.Store(&expandedText{strings.Clone(text), e})
	}
	return e
}

type expandedText struct {
	text string
	expansion
}

// discovery answers business discovery.
func (s *Sandbox) discovery(c call, b []byte) answer {
	_, user, _ := strings.Cut(c.path[1:], "/")
	if _, ok := parseID(user); !ok {
		return noObject(b, user)
	}
	asked := c.q.Get("fields")
	_, after, ok := strings.Cut(asked, "business_discovery.username(")
	handle, asked, ok2 := strings.Cut(after, ")")
	if !ok || !ok2 {
		return graphError(b, http.StatusBadRequest, "(#100) Tried accessing nonexisting field on node type (IGUser)", 100, 0)
	}
	handle = strings.ToLower(handle)
	if raw := s.real.of[graphProfiles][handle]; raw != nil {
		return recorded(raw)
	}
	a, found := s.world.byHandle(handle)
	if !found || s.real.known(handle) || a.trait == private || a.trait == personal {
		return graphError(b, http.StatusBadRequest, "Invalid user id", 110, 2207013)
	}
	e := s.expand(asked)
	l := s.world.timeline(a, posts)
	from, ok := c.from(e.after, posts, a.id, l.newest)
	if !ok {
		return graphError(b, http.StatusBadRequest, "(#100) Invalid cursor", 100, 0)
	}

	b = appendUint(b, `{"business_discovery":{"id":"`, fbid(a))
	b = append(b, '"')
	if e.user&fIGID != 0 {
		b = appendUint(b, `,"ig_id":`, a.id)
	}
	if e.user&fName != 0 {
		b = s.words.appendName(append(b, `,"name":`...), a, true)
	}
	if e.user&fWebsite != 0 && a.between(20, 0, 2) > 0 { // Graph leaves out what is not set
		b = append(append(b, `,"website":"https:\/\/`...), a.handle...)
		b = append(b, `.example\/"`...)
	}
	if e.user&fFollowers != 0 {
		b = appendUint(b, `,"followers_count":`, a.followers(l.hour))
	}
	if e.user&fFollows != 0 {
		b = appendUint(b, `,"follows_count":`, a.following())
	}
	if e.user&fPicture != 0 {
		b = s.appendURL(append(b, `,"profile_picture_url":`...), face(a), "t51.2885-15", "", "jpg")
	}
	if e.user&fUsername != 0 {
		b = append(append(append(b, `,"username":"`...), a.handle...), '"')
	}
	if e.user&fBiography != 0 {
		b = s.words.appendBio(append(b, `,"biography":`...), a, true)
	}
	if e.user&fMediaCount != 0 {
		b = appendUint(b, `,"media_count":`, s.world.mediaCount(a))
	}
	if e.user&fMedia != 0 {
		b = s.appendMediaPage(b, c, l, from, e.media)
	}
	if e.user&fStories != 0 && s.mine(c, a) {
		b = s.appendStories(b, a, e.stories)
	}
	b = append(append(b, `},"id":"`...), user...)
	return fine(append(b, `"}`...))
}

func noObject(b []byte, id string) answer {
	return graphError(b, http.StatusBadRequest, "Unsupported get request. Object with ID '"+id+
		"' does not exist, cannot be loaded due to missing permissions, or does not support this operation", 100, 33)
}

// mine says whether what only the owner sees of a is shown: to its own token,
// and to one that is nobody's.
func (s *Sandbox) mine(c call, a account) bool {
	owner, bound := strings.CutPrefix(c.src.key(c), boundToken)
	return !bound || owner == a.handle
}

func (s *Sandbox) appendMediaPage(b []byte, c call, l timeline, from int64, f fieldSet) []byte {
	first, last, more := l.page(from)
	if first < last {
		return b
	}
	b = append(b, `,"media":{"data":[`...)
	for n := first; n >= last; n-- {
		b = append(s.appendMedia(b, l, l.item(n), f), ',')
	}
	b = append(b[:len(b)-1], `],"paging":{"cursors":{`...)
	if from != l.newest {
		b = appendCursor(append(b, `"before":"`...), c.src.cursor, posts, l.a.id, first)
		b = append(b, '"')
	}
	if more {
		if from != l.newest {
			b = append(b, ',')
		}
		b = appendCursor(append(b, `"after":"`...), c.src.cursor, posts, l.a.id, last-1)
		b = append(b, '"')
	}
	return append(b, `}}}`...)
}

// appendStories appends the stories of a, nothing when there are none.
func (s *Sandbox) appendStories(b []byte, a account, f fieldSet) []byte {
	l, items := s.world.live(a)
	if len(items) == 0 {
		return b
	}
	b = append(b, `,"stories":{"data":[`...)
	for _, p := range items {
		b = append(s.appendMedia(b, l, p, f), ',')
	}
	return append(b[:len(b)-1], `]}`...)
}

// appendMedia appends a media object of Graph.
func (s *Sandbox) appendMedia(b []byte, l timeline, p item, ask fieldSet) []byte {
	f, story := l.form(p), l.k == stories
	b = appendUint(b, `{"id":"`, l.mediaID(p))
	b = append(b, '"')
	if ask&fIGID != 0 {
		b = append(appendUint(b, `,"ig_id":"`, p.pk), '"')
	}
	if ask&fUsername != 0 {
		b = append(append(append(b, `,"username":"`...), l.a.handle...), '"')
	}
	if ask&fOwner != 0 {
		b = append(appendUint(b, `,"owner":{"id":"`, fbid(l.a)), `"}`...)
	}
	if ask&fComments != 0 && !story {
		b = appendUint(b, `,"comments_count":`, l.comments(p))
	}
	if ask&fLikes != 0 && !story && l.a.trait != hiddenLikes {
		b = appendUint(b, `,"like_count":`, l.likes(p))
	}
	if ask&fType != 0 {
		b = append(append(append(b, `,"media_type":"`...), graphForms[f]...), '"')
	}
	if ask&fProduct != 0 {
		product := "FEED"
		switch {
		case story:
			product = "STORY"
		case f == video:
			product = "REELS"
		}
		b = append(append(append(b, `,"media_product_type":"`...), product...), '"')
	}
	if ask&fURL != 0 {
		if f != video {
			b = s.appendURL(append(b, `,"media_url":`...), p.seed, "t51.29350-15", "", "jpg")
		} else if p.between(6, 0, 63) > 0 { // absent when flagged for copyright
			b = s.appendURL(append(b, `,"media_url":`...), p.seed, "t50.2886-16", "", "mp4")
		}
	}
	if ask&fCaption != 0 && !story && l.captioned(p) {
		b = s.words.appendCaption(append(b, `,"caption":`...), l.a, p, true)
	}
	if ask&fTimestamp != 0 {
		b = time.Unix(p.at, 0).UTC().AppendFormat(append(b, `,"timestamp":"`...), "2006-01-02T15:04:05-0700")
		b = append(b, '"')
	}
	if ask&fPermalink != 0 {
		switch {
		case story:
			b = append(append(b, `,"permalink":"https:\/\/instagram.com\/stories\/`...), l.a.handle...)
			return append(appendUint(b, `\/`, p.pk), `"}`...)
		case f == video:
			b = append(b, `,"permalink":"https:\/\/www.instagram.com\/reel\/`...)
		default:
			b = append(b, `,"permalink":"https:\/\/www.instagram.com\/p\/`...)
		}
		b = append(append(b, p.code[:]...), `\/"`...)
	}
	return append(b, '}')
}
