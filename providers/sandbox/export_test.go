package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// What the world knows, for tests of the providers.

// An Account is a generated profile.
type Account struct {
	ID, Handle, Name, Bio              string
	Private, Verified                  bool
	Followers, Following, Media, Reels int64
}

// A Post is a post, a reel or a story.
type Post struct {
	Code, Owner, Handle, Type string // Code of a story is its number
	MediaID                   string // at Graph
	Caption                   string
	TakenAt                   int64
	Likes, Comments           int64
	Views, Plays              int64 // of a video
	Link, Tag                 string
}

// A Comment is one below a post.
type Comment struct {
	ID, By, Handle string
	At, Likes      int64
}

func text(b []byte) (s string) {
	if err := json.Unmarshal(b, &s); err != nil {
		panic(err)
	}
	return s
}

func (s *Sandbox) export(a account) Account {
	return Account{
		ID: strconv.FormatUint(a.id, 10), Handle: a.handle,
		Name: text(s.words.appendName(nil, a, false)), Bio: text(s.words.appendBio(nil, a, false)),
		Private: a.trait == private, Verified: a.verified(),
		Followers: int64(a.followers(s.world.hour())), Following: int64(a.following()),
		Media: int64(s.world.mediaCount(a)), Reels: int64(s.world.of(a, reels).total),
	}
}

func (s *Sandbox) exportPost(l timeline, p item) Post {
	v := Post{
		Code: string(p.code[:]), Owner: strconv.FormatUint(l.a.id, 10), Handle: l.a.handle,
		Type: [...]string{"image", "carousel", "reels"}[l.form(p)], MediaID: fmt.Sprint(l.mediaID(p)), TakenAt: p.at,
		Likes: int64(l.likes(p)), Comments: int64(l.comments(p)),
	}
	if l.captioned(p) {
		v.Caption = text(s.words.appendCaption(nil, l.a, p, false))
	}
	if l.form(p) == video {
		v.Views, v.Plays = int64(l.views(p)), int64(l.plays(p))
	}
	if l.k == stories {
		v.Code, v.Type = fmt.Sprint(p.pk), [...]string{"image", "", "video"}[l.form(p)]
		if v.Tag = sticker(p); linked(p) {
			v.Link = l.a.handle + ".example"
		}
	}
	return v
}

// Account is that of a handle.
func (s *Sandbox) Account(handle string) Account {
	a, ok := s.world.byHandle(handle)
	if !ok {
		panic("no account " + handle)
	}
	return s.export(a)
}

// Lists of posts, the newest first; stories the oldest.
func (s *Sandbox) Posts(handle string) []Post { return s.timelineOf(handle, posts) }
func (s *Sandbox) Reels(handle string) []Post { return s.timelineOf(handle, reels) }

func (s *Sandbox) timelineOf(handle string, k int) (out []Post) {
	a, _ := s.world.byHandle(handle)
	l := s.world.timeline(a, k)
	for n := range int64(l.kind.total) {
		out = append(out, s.exportPost(l, l.item(l.newest-n)))
	}
	return out
}

func (s *Sandbox) Stories(handle string) (out []Post) {
	a, _ := s.world.byHandle(handle)
	l, items := s.world.live(a)
	for _, p := range items {
		out = append(out, s.exportPost(l, p))
	}
	return out
}

func (s *Sandbox) Tagged(handle string) (out []Post) {
	a, _ := s.world.byHandle(handle)
	for n := s.world.taggedSize(a); n > 0; n-- {
		out = append(out, s.exportPost(s.world.tagging(a, n)))
	}
	return out
}

func (s *Sandbox) Hashtagged(tag string, most uint64) (out []Post) {
	total, _ := s.world.hashtagSize(tag)
	for n := total; n > 0 && total-n < most; n-- {
		out = append(out, s.exportPost(s.world.hashtagged(tag, n, total)))
	}
	return out
}

// Lists of people, the newest first.
func (s *Sandbox) Followers(handle string, most uint64) []Account {
	a, _ := s.world.byHandle(handle)
	return s.crowd(s.world.followersOf(a), most)
}

func (s *Sandbox) Following(handle string, most uint64) []Account {
	a, _ := s.world.byHandle(handle)
	return s.crowd(s.world.followingOf(a), most)
}

func (s *Sandbox) Likers(code string, most uint64) []Account {
	l, p, _ := s.world.byShortcode(code)
	return s.crowd(l.likersOf(p), most)
}

func (s *Sandbox) crowd(c crowd, most uint64) (out []Account) {
	for n := c.size; n > 0 && c.size-n < most; n-- {
		out = append(out, s.export(s.world.person(c, n)))
	}
	return out
}

func (s *Sandbox) Comments(code string, most uint64) (out []Comment) {
	l, p, _ := s.world.byShortcode(code)
	total := l.comments(p)
	for n := total; n > 0 && total-n < most; n-- {
		c := s.world.commentOn(l, p, n)
		out = append(out, Comment{fmt.Sprint(c.id), fmt.Sprint(c.by.id), c.by.handle, c.at, int64(c.likes)})
	}
	return out
}

// Insights are the numbers of a post, or of a story, by the name that Graph has
// for them.
func (s *Sandbox) Insights(mediaID string, story bool) map[string]int64 {
	k, from := posts, metrics
	if story {
		k, from = stories, storyMetrics
	}
	l, p, ok := s.world.byMedia(mediaID, k)
	if !ok {
		panic("no media " + mediaID)
	}
	out := map[string]int64{}
	for name, f := range from {
		out[name] = int64(f(l, p))
	}
	for i, step := range steps {
		out[step] = int64(l.navigated(p, i))
	}
	return out
}

// Names of all that the table answers, for a test that nothing is left out.
func Endpoints() (out []string) {
	for _, s := range table {
		for _, r := range s.routes {
			if name := s.name + " " + string(r.fetch); r.fetch != "" && s.name != YTAPI && s.name != YTPage && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}
