// Package sandbox is an HTTP server that answers like the providers do, for
// the demo, the tests and the benchmark. Production code does not import it.
//
// # What it serves
//
// Each source lives below its name, so that a provider's base URL is
// BaseURL(root, source) and its own paths follow:
//
//	/graphapi/{version}/{user_id}?fields=business_discovery.username(h){…}
//	/graphapi/{version}/{media_id}/insights?metric=…
//	/rapidapi-arraybobo/ig/info/  info_username/  posts/  reels_posts/  post_info/
//	/ytapitoken/youtube/v3/channels  (also /ytapitoken/channels)
//	/_sandbox/…                      faults, quotas, keys, stats, fixtures; see GET /
//
// Config.Alias adds sources that answer in the shapes of one of these, such as
// /lama/ig/info/. They have faults, quotas, keys and stats of their own.
//
// The shapes are those of contract/providers-instagram.md 8 and 9 and
// contract/providers-youtube.md 4.1.
//
// # The generated world
//
// Every handle of [a-z0-9._]{1,30} exists, and everything about it follows
// from the handle, in every process. Prefixes make special ones:
//
//	missing…      unknown everywhere (Graph 400/110; arraybobo without user)
//	private…      Graph 110; arraybobo is_private, no posts, no reels
//	personal…     Graph 110, since it is no business; arraybobo has all of it
//	empty…        media_count 0, no posts, no reels
//	noreels…      posts, but an empty reels page
//	busy…         a post and a reel every 8 hours, 120 of each
//	hiddenlikes…  Graph leaves out like_count, arraybobo answers -1
//
// Every channel id that begins with UC exists, unless it contains "missing";
// one that contains "hidden" hides its subscribers. Every shortcode of 11
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
// The Graph media id of a post of creator<N> says which post it is, so its
// insights have the likes and comments that the post has elsewhere. Those of any
// other id of Graph's range are made up from the id alone. A token
// sandbox-token-<handle> is of that account: the posts of others are missing for
// it, see Bound.
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
// of at most 2×65536 handles. Nothing else is kept between calls. Keys are shown
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

	"beat/streams/social"
)

// The sources that the sandbox answers for.
const (
	GraphAPI  = "graphapi"
	ArrayBobo = "rapidapi-arraybobo"
	YTAPI     = "ytapitoken"
)

// Sources is all of them.
var Sources = []string{GraphAPI, ArrayBobo, YTAPI}

// Config says what the world looks like. A zero field means its default.
type Config struct {
	Fixtures string           // folder of real answers, "" none
	Now      func() time.Time // of the world; default time.Now
	Clock    func() time.Time // of faults, quotas, keys and stats; default time.Now

	Alias map[string]string // more sources: name → one of Sources, whose paths and shapes it has

	PostsPerPage int // default 12; the Graph profile embeds as many
	PostsTotal   int // of a profile that is not busy; default 36, at most 1000
	ReelsPerPage int // default 12
	ReelsTotal   int // default 36, at most 1000

	CheckKeys bool // answer wrong credentials as the providers do
	Pad       int  // bytes of filler per arraybobo answer, such as media previews; default 6144, negative none
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

// Credentials are the rows to insert before anything can be asked, those of
// Sources first. With Config.CheckKeys every key that begins with "sandbox-" is
// good, so that there can be more rows, except that one containing "expired" is
// refused as an expired one is.
func (s *Sandbox) Credentials() []Credential {
	rows := []Credential{
		{GraphAPI, "", map[string]string{"token": "sandbox-token", "user_id": "17841400000009999"}},
		{ArrayBobo, "", map[string]string{"X-RapidAPI-Key": "sandbox-key", "X-RapidAPI-Host": "instagram-scraper-2022.p.rapidapi.com"}},
		{YTAPI, "", map[string]string{"key": "sandbox-key"}},
	}
	for _, alias := range slices.Sorted(maps.Keys(s.cfg.Alias)) {
		like := slices.Index(Sources, s.cfg.Alias[alias])
		rows = append(rows, Credential{alias, "", maps.Clone(rows[like].Fields)})
	}
	return rows
}

// ServeHTTP implements http.Handler.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	g := s.gates[source]
	if g == nil {
		s.control(w, r)
		return
	}
	c := call{r: r, q: r.URL.Query(), like: g.like, path: "/" + rest}
	var fetch social.Fetch
	c.kind, fetch = route(c.like, c.path)

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
	if c.r.Method != http.MethodGet {
		return answer{http.StatusMethodNotAllowed, append(b, `{"message":"Method not allowed"}`...), built}, admission{}
	}
	key := c.key()
	if s.cfg.CheckKeys {
		if a, ok := checkKey(c.like, key, b); !ok {
			return a, admission{}
		}
	}
	v := g.admit(key, s.cfg.Clock)
	switch v.verdict {
	case overQuota:
		return quotaError(c.like, b, v.per), v
	case expiredKey:
		return expiredError(c.like, b), v
	case bannedKey:
		return bannedError(c.like, b), v
	}
	return s.right(c, b), v
}

// right builds the undisturbed answer into b.
func (s *Sandbox) right(c call, b []byte) answer {
	q := c.q
	switch c.kind {
	case graphProfile:
		return s.graph(c.path, q, b)
	case graphInsights:
		return s.insights(c, b)
	case infoByID:
		return s.info(b, q.Get("id_user"), true)
	case infoByName:
		return s.info(b, q.Get("user"), false)
	case postsPage:
		return s.posts(b, q.Get("id_user"), q.Get("end_cursor"))
	case reelsPage:
		return s.reels(b, q.Get("id_user"), q.Get("max_id"))
	case postInfo:
		return s.post(b, q.Get("shortcode"))
	case channels:
		return s.channels(q, b)
	}
	switch c.like {
	case GraphAPI:
		return graphError(b, http.StatusBadRequest, "Unknown path components: "+c.path, 2500, 0)
	case ArrayBobo:
		return boboError(b, http.StatusNotFound, "Endpoint '"+c.path+"' does not exist")
	}
	return ytError(b, http.StatusNotFound, "Requested entity was not found.", "global", "notFound")
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
	switch {
	case a.as == html:
		h["Content-Type"] = htmlType
	case c.like == ArrayBobo:
		h["Content-Type"] = plainJSONType
		h["Server"] = rapidServer
	default:
		h["Content-Type"] = jsonType
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

var (
	jsonType      = []string{"application/json; charset=UTF-8"}
	plainJSONType = []string{"application/json"}
	htmlType      = []string{"text/html; charset=utf-8"}
	rapidServer   = []string{"RapidAPI-1.2.8"}
)

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
