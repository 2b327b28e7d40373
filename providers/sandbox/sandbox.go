// Package sandbox is an HTTP server that answers like the providers do, for
// the demo, the tests and the benchmark. Production code does not import it.
//
// # What it serves
//
// Each source lives below its name, so that a provider's base URL is
// BaseURL(root, source) and its own paths follow:
//
//	/graphapi/{version}/{user_id}?fields=business_discovery.username(h){…}
//	/graphapi/{version}/{media_id or user_id}/insights?metric=…  and debug_token
//	/rapidapi-arraybobo/ig/info/  info_username/  posts/  reels_posts/  post_info/  tagged/  stories/
//	/rapidapi-jotucker/user_info_by_id  medias_v2  media_info_v2  followers  following
//	                   media_likers  media_comments  hash_tag_medias_v2
//	/rapidapi-neotank/username-by-id  account-info  account-medias
//	/rapidapi-bestsolutions/profile  feed
//	/rapidapi-igapi/web_followers
//	/rocketapi/instagram/media/get_info_by_shortcode  user/get_clips  get_stories  get_followers
//	/lama/a1/user  a1/media  v1/user/by/id  v1/user/medias/chunk  v1/user/stories
//	      v1/hashtag/medias/recent/chunk  gql/user/followers/chunk  gql/user/following/chunk
//	/ytapitoken/youtube/v3/channels  (also /ytapitoken/channels)
//	/youtube-page/@handle
//	/_sandbox/…                      faults, quotas, keys, stats, fixtures; see GET /
//
// Config.Alias adds sources that answer in the shapes of one of these, such as
// /second/ig/info/, or puts one in the place of another. They have faults, quotas,
// keys and stats of their own.
//
// The shapes are those of contract/providers-instagram.md 8 to 15 and
// contract/providers-youtube.md 4.1. An entity has the same ids, numbers, texts
// and times at every source.
//
// # The generated world
//
// Every handle of [a-z0-9._]{1,30} exists, and everything about it follows
// from the handle, in every process. Prefixes make special ones:
//
//	missing…      unknown everywhere, in the words of each source
//	private…      Graph 110; elsewhere is_private, and of posts, stories and people
//	              what the source says of private accounts
//	personal…     Graph 110, since it is no business; elsewhere all of it
//	empty…        media_count 0, no posts, reels, stories or tagged posts
//	noreels…      posts, but an empty reels page
//	nostories…    no stories
//	busy…         a post and a reel every 8 hours, 120 of each
//	hiddenlikes…  Graph leaves out like_count, the others answer -1
//
// A hashtag has 9970 posts, unless it begins with missing or empty. They are of
// accounts that put it into all their captions once it was asked for.
//
// Every channel id that begins with UC exists, unless it contains "missing";
// one that contains "hidden" hides its subscribers. Every @handle without "missing"
// has a page, which says an id that follows from it. Every shortcode of 11
// characters that begins with C or D exists, unless it contains "missing".
//
// An id says which profile it is: creator<N>, N in five digits or more, is
// 4000000000+N and back; a handle acct.<id> is that id; any other handle has
// an id of its hash, in which the prefix can still be seen. The handle behind
// such an id is known once it was asked for by name; before that the id is
// acct.<id>. Ids below 1000 are unknown. Shortcodes hold id, kind and number
// of their post.
//
// A post keeps its shortcode and its time. On the default page of 12 the
// posts are three days apart, so that page 1 ends before the last 30 days;
// what is newest is decided by Config.Now to the hour, so that the Graph
// profile and page 1 of the posts show the same ones. Counts grow by the hour.
//
// Everybody has 6900 followers and more, follows 12 to 1900, has 2 to 5 stories of
// the last day (with ids as posts have) and 20 to 400 posts that tag it. Lists are
// as long as their counts say: followers, following, likes, comments. They begin
// with the newest; who is in them is an account like others, one in five private.
// A page of people or comments is what was asked for, at most 50, at rocketapi 100,
// at lama 200; one of a hashtag at most 50, at lama 24; one of a profile's posts is
// Config's.
//
// The Graph media id of a post of creator<N> says which post it is, so its
// insights have the likes and comments that the post has elsewhere. Those of any
// other id of Graph's range are made up from the id alone. Stories have ids of a
// range of their own, and insights while they last. A token
// sandbox-token-<handle> is of that account: posts, stories and insights of
// others are missing for it, see Bound.
//
// # Real answers
//
// With Config.Fixtures, the answers in that folder are served for the
// entities that they are about, see fixtures.go. About a real account nothing
// is generated: what no file says is missing or empty.
//
// # A call on its way
//
// A fault of kind refuse is met first: such a call reaches nobody. Then the key:
// with Config.CheckKeys a wrong one is refused, see Credentials; then one that is
// banned, then one that has expired (Expire). What is left takes from the quota
// (SetQuota), or is refused and takes nothing. Last the other faults: the call has
// arrived, so it has used the quota, but what it gets is what the fault says.
//
// # State
//
// All of it is in memory: faults, quotas, expired keys, counters, when each call
// of the last ten minutes came, at most 4096 keys for each source, and the names
// of at most 2×65536 handles and as many hashtags. Nothing else is kept between calls. Keys are shown
// as KeyHash only.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what the world looks like. A zero field means its default.
type Config struct {
	Fixtures string           // folder of real answers, "" none
	Now      func() time.Time // of the world; default time.Now
	Clock    func() time.Time // of faults, quotas, keys and stats; default time.Now

	// Alias are more sources: name → one of All, whose paths and shapes it has. A
	// name of All is played by another then.
	Alias map[string]string

	PostsPerPage int // default 12; the Graph profile embeds as many
	PostsTotal   int // of a profile that is not busy; default 36, at most 1000
	ReelsPerPage int // default 12
	ReelsTotal   int // default 36, at most 1000

	CheckKeys bool // answer wrong credentials as the providers do
	Pad       int  // bytes of filler per answer of a scraper, such as media previews; default 6144, negative none
}

// New returns a sandbox. It reads the folder of fixtures, if any, and fails
// when there is none by that name.
func New(cfg Config) (*Sandbox, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	for _, d := range []struct {
		p        *int
		def, max int
	}{
		{&cfg.PostsPerPage, 12, 100}, {&cfg.ReelsPerPage, 12, 100},
		{&cfg.PostsTotal, 36, maxItems}, {&cfg.ReelsTotal, 36, maxItems},
		{&cfg.Pad, 6144, 1 << 20},
	} {
		if *d.p == 0 {
			*d.p = d.def
		}
		if *d.p > d.max {
			return nil, fmt.Errorf("sandbox: %d is over the limit of %d", *d.p, d.max)
		}
	}
	if cfg.PostsPerPage < 0 || cfg.PostsTotal < 0 || cfg.ReelsPerPage < 0 || cfg.ReelsTotal < 0 {
		return nil, errors.New("sandbox: negative size of a page or a profile")
	}
	var err error
	s := &Sandbox{
		cfg:   cfg,
		world: newWorld(cfg),
		noise: newNoise(),
		words: newWords(),
		done:  make(chan struct{}),
	}
	if s.gates, err = newGates(cfg.Alias, cfg.Clock()); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	s.stats.init(s.names(), cfg.Clock())
	s.bufs.New = func() any { b := make([]byte, 0, 64<<10); return &b }
	if s.real, err = loadFixtures(cfg.Fixtures); err != nil {
		return nil, fmt.Errorf("sandbox: fixtures: %w", err)
	}
	return s, nil
}

// A Sandbox is the handler. It is safe for concurrent use.
type Sandbox struct {
	cfg      Config
	world    *world
	noise    []byte // filler, see write.go
	words    *words
	real     *fixtures
	gates    map[string]*gate // by source, aliases too; not changed after New
	expiries atomic.Int64     // the last id
	faults   faults
	stats    stats
	bufs     sync.Pool // of *[]byte
	expanded atomic.Pointer[expandedText]

	close sync.Once
	done  chan struct{} // closed by Close
}

// Close lets go of calls that hang. It may be called more than once.
func (s *Sandbox) Close() { s.close.Do(func() { close(s.done) }) }

// BaseURL is the base URL of a source when the sandbox is reached at root.
func (s *Sandbox) BaseURL(root, source string) string {
	return strings.TrimRight(root, "/") + "/" + source
}

// A Credential is a row of table credential that the sandbox accepts.
type Credential struct {
	Source string
	Handle string            // account that it belongs to, "" for a pooled key
	Fields map[string]string // the credentials column
}

// Bound is the row of an account's own Graph token.
func (s *Sandbox) Bound(handle string) Credential {
	a, _ := s.world.byHandle(handle)
	return Credential{GraphAPI, handle, map[string]string{
		"token": boundToken + a.handle, "user_id": strconv.FormatUint(fbid(a), 10)}}
}

// boundToken is what the token of one account begins with.
const boundToken = "sandbox-token-"

// Credentials are the rows to insert before anything can be asked: those of
// Sources, then those of aliases. With Config.CheckKeys every key that begins with
// "sandbox-" is good, so that there can be more rows, except that one containing
// "expired" is refused as an expired one is.
func (s *Sandbox) Credentials() []Credential {
	var rows []Credential
	for _, name := range slices.Concat(Sources, slices.Sorted(maps.Keys(s.cfg.Alias))) {
		if !slices.ContainsFunc(rows, func(c Credential) bool { return c.Source == name }) {
			rows = append(rows, s.Credential(name))
		}
	}
	return rows
}

// Credential is a row of a source, an alias or one of All.
func (s *Sandbox) Credential(source string) Credential {
	return Credential{source, "", maps.Clone(s.gates[source].src.fields)}
}

// ServeHTTP implements http.Handler.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	g := s.gates[source]
	if g == nil {
		s.control(w, r)
		return
	}
	c := call{r: r, q: r.URL.Query(), src: g.src, path: "/" + rest, body: readAsk(w, r)}
	c.route = c.routed()
	fetch := c.fetch()

	now := s.cfg.Clock()
	done := s.stats.begin(source, string(fetch), now)
	f := s.faults.match(source, fetch, c.path, now)
	if f != nil {
		s.stats.strike(source)
		if f.Kind == "refuse" {
			done(0)
			hangUp(w, true)
			return
		}
	}

	buf := s.bufs.Get().(*[]byte)
	a, v := s.answer(c, g, (*buf)[:0])
	s.send(w, c, g, a, v, f, done)
	if a.as == built && cap(a.body) <= 1<<20 {
		*buf = a.body // it may have grown
	}
	s.bufs.Put(buf)
}

// answer builds what the call gets when no fault strikes it into b.
func (s *Sandbox) answer(c call, g *gate, b []byte) (answer, admission) {
	if m := c.r.Method; m != http.MethodGet && (m != http.MethodPost || c.src.name != RocketAPI) {
		return answer{http.StatusMethodNotAllowed, append(b, `{"message":"Method not allowed"}`...), built}, admission{}
	}
	key := c.src.key(c)
	if s.cfg.CheckKeys {
		if no, ok := c.src.says.checkKey(key); !ok {
			return no.to(b), admission{}
		}
	}
	v := g.admit(key, s.cfg.Clock)
	switch v.verdict {
	case overQuota:
		return c.src.says.overQuota(v.per).to(b), v
	case expiredKey:
		return c.src.says.expired.to(b), v
	case bannedKey:
		return c.src.says.banned.to(b), v
	}
	if c.route == nil {
		return c.src.says.noPath(b, c.path), v
	}
	return c.route.answer(s, c, b), v
}

// send writes a, as far as the fault f lets it. It calls done with the status,
// 0 for none, before the caller can know of the end: who has an answer finds
// it in the stats.
func (s *Sandbox) send(w http.ResponseWriter, c call, g *gate, a answer, v admission, f *Fault, done func(status int)) {
	cut, limited, wait := false, v.verdict == overQuota, v.wait
	if f != nil {
		waited := f.Delay == 0 || s.sleep(c.r.Context(), f.Delay)
		switch {
		case !waited || f.Kind == "hang": // else net/http would send a 200
			done(0)
			hangUp(w, false)
			return
		case f.Kind == "reset":
			done(0)
			hangUp(w, true)
			return
		case f.Kind == "truncated":
			cut = true
		case f.Kind != "slow":
			a, limited, wait = broken(c, a, f), f.Kind == "429", 0
		}
		if f.RetryAfter > 0 {
			wait = seconds(f.RetryAfter)
		}
	}
	h := w.Header()
	if a.as == html {
		maps.Copy(h, htmlType)
	} else {
		maps.Copy(h, c.src.says.header)
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	v.setHeaders(h)
	if wait > 0 {
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	if limited && v.key != nil {
		g.sent429(v.key, wait, s.cfg.Clock)
	}
	done(a.status)
	w.WriteHeader(a.status)
	if cut {
		w.Write(a.body[:len(a.body)/2])
		http.NewResponseController(w).Flush()
		hangUp(w, false)
		return
	}
	w.Write(a.body) // the caller may be gone: nothing to do about it
}

// seconds is d in whole seconds, upwards.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// sleep waits for d; false when the caller went away or the sandbox closed.
func (s *Sandbox) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.done:
	}
	return false
}
