package sandbox

import (
	"strings"
	"unicode"
)

// A list is what a cursor leads through.
const (
	followers = 10 + iota
	following
	likers
	commenters
	hashtags
	mentions
)

// A crowd is a list of people, who are numbered from 1; what is shown first is
// the last of them. No two of a crowd are the same.
type crowd struct {
	list int
	of   uint64 // the id or pk that it is of
	seed uint64
	size uint64
}

func (w *world) followersOf(a account) crowd {
	return crowd{followers, a.id, hash(a.seed, 90), a.followers(w.hour())}
}

func (w *world) followingOf(a account) crowd {
	return crowd{following, a.id, hash(a.seed, 91), a.following()}
}

func (l timeline) likersOf(p item) crowd {
	return crowd{likers, p.pk, hash(p.seed, 92), l.likes(p)}
}

func (l timeline) commentersOf(p item) crowd {
	return crowd{commenters, p.pk, hash(p.seed, 93), l.comments(p)}
}

// person is number n of a crowd. One in five is private, one in ten personal;
// all are accounts that can be asked for.
func (w *world) person(c crowd, n uint64) account {
	const stride = 618_033_989 // prime to the number of creators, and odd
	t := plain
	switch hash(c.seed, n) % 10 {
	case 0:
		t = personal
	case 1, 2:
		t = private
	default:
		return w.byNumber(creators + (c.seed%creatorCount+n*stride)%creatorCount)
	}
	return w.byNumber(hashedID((c.seed+n*stride)&(1<<35-1), t))
}

// A stretch is a page of a list: from number first down to last, none when
// first < last.
type stretch struct {
	first, last int64
	more        bool
}

// page is size numbers of a list of so many, from a number on.
func page(from, total, size int64) stretch {
	first := min(from, total)
	last := max(first-size+1, 1)
	return stretch{first, last, first >= last && last > 1}
}

// A comment is number n of those on an item.
type comment struct {
	id      uint64
	by      account
	at      int64
	seed    uint64
	likes   uint64
	replies bool // the owner said thank you
}

// commentOn is comment number n of an item. It is as old as the count that it
// is in: they came when the count grew.
func (w *world) commentOn(l timeline, p item, n uint64) comment {
	c := comment{by: w.person(l.commentersOf(p), n), seed: hash(p.seed, 4000+n)}
	c.id = 17_860_000_000_000_000 + (p.pk%4_000_000_000*10_000_019+n)%39_000_000_000_000
	then := l
	lo, hi := int64(0), max(l.hour-p.at, 0)/3600
	for lo < hi { // the first hour in which there were n
		mid := (lo + hi) / 2
		if then.hour = p.at + mid*3600; then.comments(p) >= n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if c.at = p.at + lo*3600 - int64(c.seed%3600); lo == 0 {
		c.at = p.at + int64(c.seed%60)
	}
	c.likes = (c.seed >> 12 % 100) * (c.seed >> 20 % 10) / 10
	c.replies = c.seed>>30%4 == 0
	return c
}

// Lists of posts: of a hashtag, and those that tag an account. They are posts of
// the world like all others.

const (
	tagAccounts = 997 // that post with a hashtag
	tagPosts    = 10  // of each of them, at most
)

// hashtagged is the post of number n, from 1, of a hashtag with so many.
func (w *world) hashtagged(tag string, n, total uint64) (timeline, item) {
	h := hashText(tag) & (tagHash - 1)
	w.tags.put(h, tag)
	n = total - n
	l := w.timeline(w.byNumber(taggers+h<<10+n%tagAccounts), posts)
	return l, l.item(l.newest - int64(n/tagAccounts))
}

func validTag(tag string) bool {
	return tag != "" && len(tag) <= 150 && !strings.ContainsFunc(tag, func(r rune) bool {
		return r != '_' && r != '·' && !unicode.In(r, unicode.L, unicode.M, unicode.N)
	})
}

// hashtagSize is how many posts a hashtag has; none is unknown, unless ok.
func (w *world) hashtagSize(tag string) (n uint64, ok bool) {
	switch {
	case !validTag(tag) || strings.HasPrefix(tag, "missing"):
		return 0, false
	case strings.HasPrefix(tag, "empty"):
		return 0, true
	}
	return tagAccounts * uint64(min(tagPosts, w.kinds[posts].total)), true
}

// taggedSize is how many posts tag an account.
func (w *world) taggedSize(a account) uint64 {
	if a.trait == private || a.trait == empty {
		return 0
	}
	return a.between(70, 20, 400)
}

// tagging is the post of number n that tags a. Its owner is a creator.
func (w *world) tagging(a account, n uint64) (timeline, item) {
	seed := hash(a.seed, 94)
	who := creators + (seed%creatorCount+n*271_828_183)%creatorCount
	l := w.timeline(w.byNumber(who), posts)
	return l, l.item(l.newest - int64(hash(seed, n)%uint64(max(l.kind.total, 1))))
}
