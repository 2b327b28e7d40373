package keywords

import "hash/maphash"

// An index says where a text is in a list. It does what a map would, but is
// given the hash: a word is looked for in several.
type index struct {
	slots []slot // a power of two of them, at most half of them used
	used  int
}

type slot struct {
	text string // "" is a free slot
	at   int32
}

var seed = maphash.MakeSeed()

func hash(text string) uint64 { return maphash.String(seed, text) }

// find returns what was put for text, whose hash is h.
func (x *index) find(text string, h uint64) (at int32, ok bool) {
	if x.used == 0 {
		return 0, false
	}
	s := x.slot(text, h)
	return s.at, s.text != ""
}

// put adds text, which is not "" and not in x.
func (x *index) put(text string, h uint64, at int32) {
	if 2*x.used >= len(x.slots) {
		old := x.slots
		x.slots = make([]slot, max(64, 2*len(old)))
		for _, s := range old {
			if s.text != "" {
				*x.slot(s.text, hash(s.text)) = s
			}
		}
	}
	*x.slot(text, h) = slot{text, at}
	x.used++
}

// slot is that of text, or the free one where it belongs.
func (x *index) slot(text string, h uint64) *slot {
	last := uint64(len(x.slots) - 1)
	for ; ; h++ {
		if s := &x.slots[h&last]; s.text == "" || s.text == text {
			return s
		}
	}
}

// clear empties x and keeps its memory.
func (x *index) clear() {
	clear(x.slots)
	x.used = 0
}
