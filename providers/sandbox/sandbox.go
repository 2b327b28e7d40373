// Package sandbox is an HTTP server that answers like the providers do, for
// the demo, the tests and the benchmark. Production code does not import it.
//
// # What it serves
//
// Each source lives below its name, so that a provider's base URL is
// BaseURL(root, source) and its own paths follow:
//
//	/graphapi/{version}/{user_id}?fields=business_discovery.username(h){…}
//	/rapidapi-arraybobo/ig/info/  info_username/  posts/  reels_posts/  post_info/
//	/ytapitoken/youtube/v3/channels  (also /ytapitoken/channels)
//	/_sandbox/…                      faults, stats, fixtures; see GET /
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
// # Real answers
//
// With Config.Fixtures, the answers in that folder are served for the
// entities that they are about, see fixtures.go. About a real account nothing
// is generated: what no file says is missing or empty.
//
// # State
//
// All of it is in memory: faults, counters, and the names of at most 2×65536
// handles. Nothing else is kept between calls.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
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
	Now      func() time.Time // of the world; default time.Now. Faults and stats run on the real clock

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
	s := &Sandbox{
		cfg:   cfg,
		world: newWorld(cfg),
		noise: newNoise(),
		words: newWords(),
		done:  make(chan struct{}),
	}
	s.stats.init()
	s.bufs.New = func() any { b := make([]byte, 0, 64<<10); return &b }
	var err error
	if s.real, err = loadFixtures(cfg.Fixtures); err != nil {
		return nil, fmt.Errorf("sandbox: fixtures: %w", err)
	}
	return s, nil
}

// A Sandbox is the handler. It is safe for concurrent use.
type Sandbox struct {
	cfg    Config
	world  *world
	noise  []byte // filler, see write.go
	words  *words
	real   *fixtures
	faults faults
	stats  stats
	bufs   sync.Pool // of *[]byte

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
	Fields map[string]string // the credentials column
}

// Credentials are the rows to insert before anything can be asked. With
// Config.CheckKeys every key that begins with "sandbox-" is good, so that
// there can be more rows, except that one containing "expired" is refused as
// an expired one is.
func (s *Sandbox) Credentials() []Credential {
	return []Credential{
		{GraphAPI, map[string]string{"token": "sandbox-token", "user_id": "17841400000009999"}},
		{ArrayBobo, map[string]string{"X-RapidAPI-Key": "sandbox-key", "X-RapidAPI-Host": "instagram-scraper-2022.p.rapidapi.com"}},
		{YTAPI, map[string]string{"key": "sandbox-key"}},
	}
}

// A Server is a Sandbox that listens.
type Server struct {
	*Sandbox
	URL string // http://host:port

	http *http.Server
	gone chan struct{} // closed when Serve returned
}

// Listen serves a sandbox at addr, such as 127.0.0.1:0, until Close.
func Listen(addr string, cfg Config) (*Server, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	srv := &Server{
		Sandbox: s,
		URL:     "http://" + ln.Addr().String(),
		gone:    make(chan struct{}),
		http: &http.Server{
			Handler:           s,
			ReadHeaderTimeout: 10 * time.Second,
			// No ReadTimeout: it would end hanging calls. Bodies have their
			// own, see postFault.
			WriteTimeout:   maxHang + time.Minute, // a hanging call ends by its own clock
			IdleTimeout:    2 * time.Minute,
			MaxHeaderBytes: 64 << 10,
		},
	}
	go func() {
		defer close(srv.gone)
		srv.http.Serve(ln) // returns when Close is called
	}()
	return srv, nil
}

// Close stops the server. Calls in flight get a second.
func (s *Server) Close() error {
	s.Sandbox.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.gone
	return err
}

// A call is one request to a source, taken apart.
type call struct {
	r      *http.Request
	source string
	path   string // below the source
	kind   pathKind
}

// An answer is what is sent back.
type answer struct {
	status int
	body   []byte
	as     bodyKind
}

// A bodyKind says whose the bytes of an answer are.
type bodyKind int

const (
	built bodyKind = iota // in the pooled buffer
	kept                  // of a file or of a fault: read only
	html                  // kept, and no JSON
)

// A pathKind is a row of routes.
type pathKind int

const (
	unknownPath pathKind = iota
	graphProfile
	infoByID
	infoByName
	postsPage
	reelsPage
	postInfo
	channels
)

type routeRow struct {
	source, path string
	prefix       bool
	kind         pathKind
	fetch        social.Fetch
	member       string // what fault wrongtype spoils
	with         string // and puts in its place
}

// routes says which path is which question. prefix rows match what follows
// too, the others match exactly.
var routes = []routeRow{
	{GraphAPI, "/v", true, graphProfile, social.ProfileByHandle, "ig_id", `{"low":1}`},
	{ArrayBobo, "/ig/info/", false, infoByID, social.ProfileByID, "pk", `{"low":1}`},
	{ArrayBobo, "/ig/info_username/", false, infoByName, social.ProfileByHandle, "pk", `{"low":1}`},
	{ArrayBobo, "/ig/posts/", false, postsPage, social.PostsByID, "edges", `{"0":"GraphImage"}`},
	{ArrayBobo, "/ig/reels_posts/", false, reelsPage, social.Reels, "items", `{"0":"clips"}`},
	{ArrayBobo, "/ig/post_info/", false, postInfo, social.PostByShortcode, "shortcode", `["C"]`},
	{YTAPI, "/youtube/v3/channels", false, channels, social.ChannelsByIDs, "items", `{"0":"youtube#channel"}`},
	{YTAPI, "/channels", false, channels, social.ChannelsByIDs, "items", `{"0":"youtube#channel"}`},
}

func route(source, path string) (pathKind, social.Fetch) {
	for i := range routes {
		r := &routes[i]
		if r.source == source && (r.path == path || r.prefix && strings.HasPrefix(path, r.path)) {
			return r.kind, r.fetch
		}
	}
	return unknownPath, ""
}

// ServeHTTP implements http.Handler.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	source, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	c := call{r: r, source: source, path: "/" + rest}
	var fetch social.Fetch
	switch source {
	case GraphAPI, ArrayBobo, YTAPI:
		c.kind, fetch = route(source, c.path)
	default:
		s.control(w, r)
		return
	}
	done := s.stats.begin(source, string(fetch), time.Now())
	f := s.faults.match(source, fetch, c.path, time.Now())

	buf := s.bufs.Get().(*[]byte)
	a := s.answer(c, (*buf)[:0])
	s.send(w, c, a, f, done)
	if a.as == built && cap(a.body) <= 1<<20 {
		*buf = a.body // it may have grown
	}
	s.bufs.Put(buf)
}

// answer builds the undisturbed answer into b.
func (s *Sandbox) answer(c call, b []byte) answer {
	if c.r.Method != http.MethodGet {
		return answer{http.StatusMethodNotAllowed, append(b, `{"message":"Method not allowed"}`...), built}
	}
	q := c.r.URL.Query()
	if s.cfg.CheckKeys {
		if a, ok := checkKey(c, q, b); !ok {
			return a
		}
	}
	switch c.kind {
	case graphProfile:
		return s.graph(c.path, q, b)
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
	switch c.source {
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
func (s *Sandbox) send(w http.ResponseWriter, c call, a answer, f *Fault, done func(status int)) {
	cut := false
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
			a = broken(c, a, f)
		}
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
		}
	}
	h := w.Header()
	switch {
	case a.as == html:
		h["Content-Type"] = htmlType
	case c.source == ArrayBobo:
		h["Content-Type"] = plainJSONType
		h["Server"] = rapidServer
	default:
		h["Content-Type"] = jsonType
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
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
