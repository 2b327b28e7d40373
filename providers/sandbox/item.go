package sandbox

import "strconv"

// form says how an item is made: one in two an image, one in five a carousel.
type form int

const (
	image form = iota
	carousel
	video
)

// What a layout calls each form.
var (
	graphForms   = [...]string{"IMAGE", "CAROUSEL_ALBUM", "VIDEO"}
	webForms     = [...]string{"GraphImage", "GraphSidecar", "GraphVideo"}
	appForms     = [...]string{"1", "8", "2"}
	productForms = [...]string{"feed", "carousel_container", "clips"}
)

func (l timeline) form(p item) form {
	if l.k == reels {
		return video
	}
	switch p.between(1, 0, 9) {
	case 0, 1, 2, 3, 4:
		return image
	case 5, 6:
		if l.k == stories {
			return image
		}
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
func (l timeline) views(p item) uint64  { return l.likes(p) * p.between(5, 7, 30) }
func (l timeline) plays(p item) uint64  { return l.views(p) * 5 / 3 }
func (l timeline) reach(p item) uint64  { return l.likes(p)*p.between(10, 6, 19) + p.between(10, 6, 19) }
func (l timeline) saved(p item) uint64  { return l.likes(p) / p.between(12, 15, 60) }
func (l timeline) shares(p item) uint64 { return l.likes(p) / p.between(13, 30, 90) }

// appendLikes appends the likes as all but Graph show them.
func (l timeline) appendLikes(b []byte, p item) []byte {
	if l.a.trait == hiddenLikes {
		return append(b, `-1`...)
	}
	return strconv.AppendUint(b, l.likes(p), 10)
}

// captioned says whether an item has a caption; one in sixteen has none.
func (l timeline) captioned(p item) bool { return l.a.tag != "" || p.between(7, 0, 15) > 0 }

func appendDuration(b []byte, p item) []byte {
	b = appendUint(b, "", p.between(8, 5, 89))
	return appendUint(b, ".", p.between(9, 1, 9))
}

// tags is how many accounts an item tags, sponsored whether it has a sponsor.
func tags(p item) uint64    { return max(p.between(40, 0, 5), 3) - 3 }
func sponsored(p item) bool { return p.between(41, 0, 9) == 0 }

// appendOther appends id, username and full name of a tagged creator; what
// stands between id and username tells the layouts apart.
func (s *Sandbox) appendOther(b []byte, mid string, p item, i uint64) []byte {
	n := p.between(50+i, 0, 99_999)
	b = strconv.AppendUint(b, creators+n, 10)
	b = appendFive(append(append(b, mid...), `creator`...), n)
	return append(appendFive(append(b, `","full_name":"Creator `...), n), '"')
}

// appendSponsor appends id and username of a sponsor in the same way.
func appendSponsor(b []byte, mid string, p item) []byte {
	n := p.between(60, 0, 99_999)
	b = strconv.AppendUint(b, creators+n, 10)
	return append(appendFive(append(append(b, mid...), `creator`...), n), '"')
}

// place is where an item was made; false for the two in three that do not say.
func (p item) place() (id uint64, c place, ok bool) {
	n := p.between(61, 0, uint64(len(places)-1))
	c = places[n]
	return 212_000_000 + n, c, c.city != "" && p.between(62, 0, 2) == 0
}

type place struct{ city, lat, long string }

var places = []place{
	{"Northlake", "41.9", "-87.9"}, {"", "0.0", "0.0"}, {"Pune", "18.5204", "73.8567"},
	{"Porto", "41.1496", "-8.611"}, {"京都市", "35.0116", "135.7681"},
}

// What else is known of an account, the same at every source.

var categories = []struct{ name, id string }{
	{"Coffee shop", "1129760000"}, {"Digital creator", "1062560000"}, {"Food & beverage", "2500"},
	{"Artist", "1601"}, {"Fitness trainer", "1051850000"}, {"Travel company", "1210000000"},
}

func (a account) verified() bool { return a.between(21, 0, 7) == 0 }
func (a account) home() place    { return places[a.between(23, 0, uint64(len(places)-1))] }

// kind is 1 personal, 2 business, 3 creator.
func (a account) kind() byte {
	if a.trait == personal {
		return 1
	}
	return 2 + byte(a.between(24, 0, 1))
}

// fbid is the Graph node of an account.
func fbid(a account) uint64 { return graphNodes + a.id%maxNode }

const (
	graphNodes = 17841400000000000
	maxNode    = 99_999_999_999
)

// messengerID is another number that Facebook knows an account by.
func messengerID(a account) uint64 { return 100_000_000_000_000 + a.id%899_999_999_999_999 }

// face is the seed of an account's picture.
func face(a account) uint64 { return hash(a.seed, 30) }

func (a account) category() struct{ name, id string } {
	return categories[a.between(22, 0, uint64(len(categories)-1))]
}
