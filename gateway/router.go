package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// verbs are the methods of one path.
type verbs map[string]*operation

func (v verbs) notAllowed(w http.ResponseWriter) {
	w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(v)), ", "))
	reply(w, http.StatusMethodNotAllowed, detail{"Method Not Allowed"})
}

// A route is a path. Its segments in braces are parameters: any text but none,
// and none with a slash.
type route struct {
	path  string
	verbs verbs
	// in reports whether a process with this configuration has the route; nil: all
	// have it.
	in func(Config) bool
}

// routes are those of this process.
func (g *Gateway) routes() []route {
	return slices.DeleteFunc(table(), func(r route) bool { return r.in != nil && !r.in(g.cfg) })
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

// operation is what r asks for. It has answered when there is no such thing.
func (t router) operation(w http.ResponseWriter, r *http.Request) *operation {
	path := r.URL.EscapedPath()
	if found, params := t.find(path); found != nil {
		for name, value := range params {
			r.SetPathValue(name, value)
		}
		r.Pattern = found.path
		if op := found.verbs[r.Method]; op != nil {
			return op
		}
		found.verbs.notAllowed(w)
		return nil
	}
	// A slash too many at the end leads to the registered form.
	if p := strings.TrimRight(path, "/"); p != path {
		if found, _ := t.find(p); found != nil {
			if r.URL.RawQuery != "" {
				p += "?" + r.URL.RawQuery
			}
			w.Header().Set("Location", p)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return nil
		}
	}
	notFound(w)
	return nil
}
