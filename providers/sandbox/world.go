package sandbox

import (
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An account is a generated profile.
type account struct {
	id     uint64
	handle string
	trait  trait
	seed   uint64 // all that is random about it follows from this
	tag    string // hashtag that all its captions have, of a tag's own accounts
}

// A trait is what the prefix of a handle says.
type trait uint64

const (
	plain trait = iota
	private
	empty
	noReels
	busy
	personal
	hiddenLikes
	noStories
	traits
)

var prefixes = [traits]string{"", "private", "empty", "noreels", "busy", "personal", "hiddenlikes", "nostories"}

// How ids and shortcodes are laid out.
//
//	id of creator<N>    4e9 + N, N < 1e9
//	id by hash          5e9 + 8×(997×h + 17) + trait, h of 35 bits: 997 and 17
//	                    make it unlikely that an id from elsewhere has a trait
//	id of a tag's own   3e14 + h<<10 + n, h of 37 bits: the hash of the tag
//	media pk            2^61 + x×mix mod 2^61, x = owner<<11 | reel<<10 | number;
//	                    of a story 2^62 + the same
//	owner               the id when below 2^49, else 2^49 + 49 bits of its hash
//	shortcode           the pk in base 64, as Instagram does it: 11 characters
//	Graph media id      of creator<N>: 1.79e16 + (N<<11 | reel<<10 | number);
//	                    else 1.785e16 + pk mod 5e13; of a story 1.795e16 and 1.8e16
const (
	creators  = 4_000_000_000
	hashed    = 5_000_000_000
	taggers   = 300_000_000_000_000
	tagHash   = 1 << 37
	ownerBits = 50
	ownerHash = 1 << (ownerBits - 1)
	numbers   = 1024 // posts of a kind that have different shortcodes
	maxItems  = 1000
	pkBits    = 61
	pkMask    = 1<<pkBits - 1
	mix       = 0x1b873593_9e3779b1&pkMask | 1
)

// unmix is the inverse of mix modulo 2^64, by Newton's iteration.
var unmix = func() uint64 {
	x := uint64(1)
	for range 6 {
		x *= 2 - mix*x
	}
	return x
}()

// hash mixes a seed and a number; splitmix64.
func hash(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// hashText is FNV-1a, then hash: FNV alone leaves neighbours alike.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return hash(h, 0)
}

// A world turns names into accounts and posts.
type world struct {
	now    func() time.Time
	kinds  [3]kind // posts, reels, stories
	names  lookup  // handle by id, of hashed handles that were seen
	owners lookup  // id in decimal by owner, of ids that do not fit
	tags   lookup  // hashtag by its hash, of those that were seen
}

// A kind is posts, reels or stories.
type kind struct {
	page, total int
	every       int64 // seconds from one item to the next
}

const (
	posts = iota
	reels
	stories
)

func newWorld(cfg Config) *world {
	w := &world{now: cfg.Now}
	w.kinds[posts] = kind{cfg.PostsPerPage, cfg.PostsTotal, spacing(cfg.PostsPerPage)}
	w.kinds[reels] = kind{cfg.ReelsPerPage, cfg.ReelsTotal, spacing(cfg.ReelsPerPage)}
	w.kinds[stories] = kind{page: 100, total: 100}
	return w
}

// spacing is the seconds between items so that the last of a page is older
// than 30 days: it is at least (page-1.5) spacings old, see items.
func spacing(page int) int64 {
	const day = 24 * 3600
	if page < 4 {
		return 15 * day
	}
	return 63 * day / int64(2*page-3) / 3600 * 3600 // 31.5 days
}

// of is the kind as it is for a.
func (w *world) of(a account, k int) kind {
	v := w.kinds[k]
	if k == stories {
		v.every = int64(a.between(80, 3, 4)) * 2 * 3600 // 2 to 5 of the last day
	}
	switch {
	case a.trait == busy && k != stories:
		v.every, v.total = 8*3600, 120
	case a.trait == private || a.trait == empty || a.trait == noReels && k == reels || a.trait == noStories && k == stories:
		v.total = 0
	}
	return v
}

// hour is the time of the world.
func (w *world) hour() int64 { return w.now().Unix() / 3600 * 3600 }

func validHandle(h string) bool {
	if h == "" || len(h) > 30 {
		return false
	}
	for i := range len(h) {
		c := h[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// byHandle is the account of a handle; false when there is none.
func (w *world) byHandle(h string) (account, bool) {
	h = strings.ToLower(h)
	if !validHandle(h) || strings.HasPrefix(h, "missing") {
		return account{}, false
	}
	if d, ok := strings.CutPrefix(h, "creator"); ok && len(d) >= 5 && len(d) <= 9 && (len(d) == 5 || d[0] != '0') {
		if n, err := strconv.ParseUint(d, 10, 64); err == nil {
			return newAccount(creators+n, h, plain), true
		}
	}
	if d, ok := strings.CutPrefix(h, "acct."); ok {
		if id, ok := parseID(d); ok {
			if a := w.byNumber(id); a.handle == h {
				return a, true
			}
		}
	}
	t := plain
	for i, p := range prefixes {
		if p != "" && strings.HasPrefix(h, p) {
			t = trait(i)
		}
	}
	id := hashedID(hashText(h)>>(64-35), t)
	w.names.put(id, h)
	return newAccount(id, h, t), true
}

func hashedID(h uint64, t trait) uint64 { return hashed + 8*(997*h+17) + uint64(t) }

// byID is the account of an id in decimal; false when there is none.
func (w *world) byID(s string) (account, bool) {
	id, ok := parseID(s)
	if !ok {
		return account{}, false
	}
	return w.byNumber(id), true
}

// parseID reads an id as the sandbox writes them: digits, no zero in front.
func parseID(s string) (uint64, bool) {
	if len(s) < 4 || len(s) > 19 || s[0] < '1' || s[0] > '9' {
		return 0, false // ids below 1000 are unknown
	}
	id, err := strconv.ParseUint(s, 10, 63)
	return id, err == nil
}

func (w *world) byNumber(id uint64) account {
	if id >= creators && id < hashed {
		n := strconv.FormatUint(id-creators, 10)
		return newAccount(id, "creator"+"00000"[min(len(n), 5):]+n, plain)
	}
	t := plain
	if n := (id - hashed) / 8; id > hashed && n%997 == 17 && n/997 < 1<<35 && trait(id%8) < traits {
		t = trait(id % 8)
	}
	h, ok := w.names.get(id)
	if !ok {
		h = "acct." + strconv.FormatUint(id, 10)
	}
	a := newAccount(id, h, t)
	if n := id - taggers; id >= taggers && n < tagHash<<10 {
		a.tag, _ = w.tags.get(n >> 10)
	}
	return a
}

func newAccount(id uint64, h string, t trait) account {
	return account{id: id, handle: h, trait: t, seed: hash(id, 77)}
}

// between is a number of a's own from lo to hi, the same each time for which.
func (a account) between(which, lo, hi uint64) uint64 { return lo + hash(a.seed, which)%(hi-lo+1) }

// The counts of a profile. Followers grow by the hour, and are enough for 40
// pages of any source.
func (a account) followers(hour int64) uint64 {
	base := 6000 + a.between(1, 900, 1799)<<a.between(2, 0, 13) // 7 thousand to 15 million
	return base + base*(uint64(max(hour-1_700_000_000, 0))/3600)/65536
}

func (a account) following() uint64 { return a.between(3, 12, 1900) }

func (w *world) mediaCount(a account) uint64 {
	if a.trait == empty {
		return 0
	}
	return uint64(w.of(a, posts).total+w.of(a, reels).total) + a.between(4, 40, 1400)
}

// An item is one post, reel or story.
type item struct {
	pk   uint64
	code [11]byte
	at   int64  // unix seconds
	seed uint64 // as of an account
	ord  int64  // its place in the life of the account
}

func (p item) between(which, lo, hi uint64) uint64 { return lo + hash(p.seed, which)%(hi-lo+1) }

// likes, comments, plays grow with the age of the item, fast at first.
func (p item) grown(which uint64, full uint64, hour int64) uint64 {
	age := uint64(max(hour-p.at, 0)) / 3600
	return full*(age+1)/(age+12) + age/(24+which)
}

// timeline says where the items of a kind are: item number n was made at
// n×every + shift, plus up to half of every.
type timeline struct {
	a      account
	k      int
	kind   kind
	owner  uint64
	seed   uint64
	shift  int64
	newest int64 // number of the newest item
	hour   int64
}

func (w *world) timeline(a account, k int) timeline {
	l := timeline{a: a, k: k, kind: w.of(a, k), owner: w.owner(a.id), seed: hash(a.seed, uint64(100+k)), hour: w.hour()}
	l.shift = int64(hash(l.seed, 1) % uint64(l.kind.every))
	l.newest = (l.hour - l.shift) / l.kind.every
	if l.time(l.newest) > l.hour {
		l.newest--
	}
	return l
}

func (l timeline) time(n int64) int64 {
	return n*l.kind.every + l.shift + int64(hash(l.seed, uint64(n)<<1)%uint64(l.kind.every/2))
}

// item is the item of number n.
func (l timeline) item(n int64) item {
	p := item{ord: n, at: l.time(n), seed: hash(l.seed, uint64(n)<<1|1)}
	x := l.owner<<11 | uint64(l.k&1)<<10 | uint64(n)&(numbers-1)
	p.pk = 1<<(pkBits+l.k>>1) | x*mix&pkMask
	p.code = shortcode(p.pk)
	return p
}

// page is the numbers of the items of a page: from first down to last, none
// when first < last. more says that there is another.
func (l timeline) page(from int64) (first, last int64, more bool) {
	oldest := l.newest - int64(l.kind.total) + 1
	first = min(from, l.newest)
	last = max(first-int64(l.kind.page)+1, oldest)
	return first, last, last > oldest && first >= last
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func shortcode(pk uint64) (c [11]byte) {
	for i := 10; i >= 0; i-- {
		c[i] = alphabet[pk&63]
		pk >>= 6
	}
	return c
}

// byShortcode is the item behind a shortcode; false when there is none.
func (w *world) byShortcode(code string) (timeline, item, bool) {
	if len(code) != 11 || code[0] != 'C' && code[0] != 'D' || strings.Contains(code, "missing") {
		return timeline{}, item{}, false
	}
	pk := uint64(0)
	for i := range len(code) {
		v := strings.IndexByte(alphabet, code[i])
		if v < 0 {
			return timeline{}, item{}, false
		}
		pk = pk<<6 | uint64(v)
	}
	x := pk * unmix & pkMask // the bit 2^61 is a multiple of 2^61 and drops out
	a := w.byOwner(x >> 11)
	l := w.timeline(a, int(x>>10&1))
	return l, l.numbered(x), bits.Len64(pk) == pkBits+1
}

// byPK is the item of a kind with a pk, which is a's; false when it is not.
func (w *world) byPK(a account, k int, pk uint64) (item, bool) {
	x := pk * unmix & pkMask
	l := w.timeline(a, k)
	p := l.numbered(x)
	return p, p.pk == pk
}

// Where the Graph ids of posts and of stories begin.
var graphIDs = [...]struct{ creators, madeUp uint64 }{
	posts:   {17_900_000_000_000_000, 17_850_000_000_000_000},
	reels:   {17_900_000_000_000_000, 17_850_000_000_000_000},
	stories: {17_950_000_000_000_000, 18_000_000_000_000_000},
}

const (
	madeUp       = 50_000_000_000_000
	creatorCount = hashed - creators
)

// mediaID is the Graph id of an item.
func (l timeline) mediaID(p item) uint64 {
	if n := l.a.id - creators; l.a.id >= creators && n < creatorCount {
		return graphIDs[l.k].creators + (n<<11 | uint64(l.k&1)<<10 | uint64(p.ord)&(numbers-1))
	}
	return graphIDs[l.k].madeUp + p.pk%madeUp
}

// byMedia is the post, reel or story behind a Graph id, with owner 0 when it is
// made up from the id; false when there is none. k is posts or stories.
func (w *world) byMedia(s string, k int) (timeline, item, bool) {
	id, ok := parseID(s)
	if !ok {
		return timeline{}, item{}, false
	}
	if x := id - graphIDs[k].madeUp; id >= graphIDs[k].madeUp && x < madeUp {
		l := w.timeline(w.byNumber(creators+hash(id, 1)%creatorCount), k)
		p := item{pk: id, seed: hash(id, 2), at: l.hour - 30*24*3600}
		l.owner = 0
		return l, p, true
	}
	x := id - graphIDs[k].creators
	if id < graphIDs[k].creators || x >= creatorCount<<11 {
		return timeline{}, item{}, false
	}
	if k == posts {
		k = int(x >> 10 & 1)
	}
	l := w.timeline(w.byNumber(creators+x>>11), k)
	return l, l.numbered(x), true
}

// numbered is the newest item whose number ends with the low bits of x.
func (l timeline) numbered(x uint64) item {
	return l.item(l.newest - (l.newest-int64(x&(numbers-1)))&(numbers-1))
}

// owner is an id in 50 bits.
func (w *world) owner(id uint64) uint64 {
	if id < ownerHash {
		return id
	}
	o := ownerHash | hash(id, 5)&(ownerHash-1)
	w.owners.put(o, strconv.FormatUint(id, 10))
	return o
}

func (w *world) byOwner(o uint64) account {
	if o >= ownerHash {
		if s, ok := w.owners.get(o); ok {
			o, _ = strconv.ParseUint(s, 10, 64)
		}
	}
	return w.byNumber(o)
}

// A lookup remembers names in two generations, so that it stays bounded: when
// the young one is full it becomes the old one, and the old one is forgotten.
type lookup struct {
	mu         sync.RWMutex
	young, old map[uint64]string
}

const generation = 1 << 16

func (l *lookup) get(k uint64) (string, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v, ok := l.young[k]
	if !ok {
		v, ok = l.old[k]
	}
	return v, ok
}

func (l *lookup) put(k uint64, v string) {
	l.mu.RLock()
	_, ok := l.young[k]
	l.mu.RUnlock()
	if ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.young) >= generation || l.young == nil {
		l.young, l.old = make(map[uint64]string), l.young
	}
	l.young[k] = strings.Clone(v)
}
