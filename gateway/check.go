package gateway

import (
	"net/http"
	"net/url"
	"strings"
)

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
