package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// verbs are the methods of one path.
type verbs map[string]http.HandlerFunc

func (v verbs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := v[r.Method]; ok {
		h(w, r)
		return
	}
	allow := make([]string, 0, len(v))
	for m := range v {
		allow = append(allow, m)
	}
	slices.Sort(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	reply(w, http.StatusMethodNotAllowed, detail{"Method Not Allowed"})
}

// A route is a path. Its segments in braces are parameters: any text but none,
// and none with a slash.
type route struct {
	path  string
	verbs verbs
}

// routes are read from top to bottom, so those with more words of their own come
// first (contract/http.md 2).
func (g *Gateway) routes() []route {
	all := []route{
		{"/heartbeat", verbs{"GET": g.heartbeat, "PUT": g.setHeartbeat}},
		{"/healthz", verbs{"GET": healthz, "HEAD": healthz}},
		{"/readyz", verbs{"GET": g.readyz, "HEAD": g.readyz}},
		{"/profiles/{platform}/byhandle/{handle}", verbs{"GET": g.byHandle}},
		{"/social-profile-service/{platform}/byhandle/{handle}", verbs{"GET": g.byHandle}},
		{"/profiles/{platform}/byid/{id}", verbs{"GET": g.byID}},
		{"/profiles/{platform}/byprofileid/{profile_id}", verbs{"GET": g.byProfileID}},
		{"/recent/posts/{platform}/byprofileid/{profile_id}", verbs{"GET": g.recent}},
		{"/posts/{platform}/byshortcode/{shortcode}", verbs{"GET": g.byShortcode}},
		{"/posts/{platform}/{post_type}/{shortcode}", verbs{"GET": g.byType}},
		{"/youtube/channel/byhandle/{handle}", verbs{"GET": g.channelID}},
		// GET reads by id, POST takes the flow from its body.
		{"/scrape_request_log/flow/{flow}", verbs{"GET": g.readTask, "POST": g.createTask}},
		{"/scrape_request_log/flow/update/{scrape_id}", verbs{"POST": g.updateTask}},
		{"/list_scrape_data/{account_id}", verbs{"GET": g.listTasks}},
		{"/token/validate", verbs{"GET": g.validateToken}},
		{"/tokens", verbs{"POST": g.addToken}},
	}
	if g.cfg.Supply != nil {
		all = append(all,
			route{"/profiles/{platform}/byhandle/{handle}/insights", verbs{"GET": g.creatorInsights}},
			route{"/profiles/{platform}/byhandle/{handle}/audienceinsights", verbs{"GET": g.audienceInsights}})
	}
	if g.cfg.Why != nil {
		all = append(all, route{"/tasks/{id}/why", verbs{"GET": g.whyTask}})
	}
	if g.cfg.Lineage != nil {
		all = append(all, route{"/lineage/{kind}/{id}", verbs{"GET": g.lineage}})
	}
	if g.cfg.Metrics != nil {
		all = append(all, route{"/metrics", verbs{"GET": g.cfg.Metrics.ServeHTTP}})
	}
	return all
}

// A router finds the route of a path. It takes paths as they are: net/http's mux
// would send a client that asks for the handle ".." elsewhere.
type router []struct {
	route
	segments []string
}

func newRouter(all []route) router {
	out := make(router, len(all))
	for i, r := range all {
		out[i].route, out[i].segments = r, strings.Split(r.path[1:], "/")
	}
	return out
}

// find is the route of an escaped path and its parameters, nil when there is
// none.
func (t router) find(path string) (*route, map[string]string) {
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return nil, nil
	}
	given := strings.Split(path, "/")
	for i, s := range given {
		text, err := url.PathUnescape(s)
		if err != nil || text == "" || strings.Contains(text, "/") {
			return nil, nil
		}
		given[i] = text
	}
	for i := range t {
		if params, ok := matches(t[i].segments, given); ok {
			return &t[i].route, params
		}
	}
	return nil, nil
}

func matches(segments, given []string) (params map[string]string, ok bool) {
	if len(segments) != len(given) {
		return nil, false
	}
	for i, s := range segments {
		if s[0] != '{' && s != given[i] {
			return nil, false
		}
	}
	for i, s := range segments {
		if s[0] == '{' {
			if params == nil {
				params = map[string]string{}
			}
			params[s[1:len(s)-1]] = given[i]
		}
	}
	return params, true
}

func (t router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if found, params := t.find(path); found != nil {
		for name, value := range params {
			r.SetPathValue(name, value)
		}
		r.Pattern = found.path
		found.verbs.ServeHTTP(w, r)
		return
	}
	// A slash too many at the end leads to the registered form.
	if p := strings.TrimRight(path, "/"); p != path {
		if found, _ := t.find(p); found != nil {
			if r.URL.RawQuery != "" {
				p += "?" + r.URL.RawQuery
			}
			w.Header().Set("Location", p)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
	}
	notFound(w)
}

// A query is the parameters after the question mark. Of those given twice the
// last counts.
type query url.Values

func queryOf(r *http.Request) query { return query(r.URL.Query()) }

func (q query) has(name string) bool { return len(q[name]) > 0 }

func (q query) get(name string) string {
	if v := q[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// A check collects what is wrong with a request.
type check []problem

func (c *check) add(msg, kind string, loc ...any) {
	*c = append(*c, problem{Loc: loc, Msg: msg, Type: kind})
}

// required is the text of a parameter that must be there.
func (c *check) required(q query, name string) string {
	if !q.has(name) {
		c.add("field required", "value_error.missing", "query", name)
	}
	return q.get(name)
}

// boolean is a declared boolean, def when it is not there.
func (c *check) boolean(q query, name string, def bool) bool {
	if !q.has(name) {
		return def
	}
	v, ok := boolean(q.get(name))
	if !ok {
		c.add("value could not be parsed to a boolean", "type_error.bool", "query", name)
	}
	return v
}

// platform is the platform of the path.
func (c *check) platform(r *http.Request) string {
	p, ok := platformOf(r.PathValue("platform"))
	if !ok {
		*c = append(*c, wrongPlatform)
	}
	return p
}

// answered tells the client of problems, if there are any.
func (c check) answered(w http.ResponseWriter) bool {
	if len(c) > 0 {
		invalid(w, c...)
	}
	return len(c) > 0
}

// storable reports whether Postgres takes all of these for text. What is not has
// no row, and gets none.
func storable(texts ...string) bool {
	for _, s := range texts {
		if strings.ContainsRune(s, 0) || strings.ToValidUTF8(s, "") != s {
			return false
		}
	}
	return true
}

// printable is s as a message can show it.
func printable(s string) string { return strings.ToValidUTF8(s, "�") }
