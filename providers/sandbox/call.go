package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"beat/streams/social"
)

// A call is one request to a source, taken apart.
type call struct {
	r     *http.Request
	q     url.Values
	src   *source // whose shapes it has
	path  string  // below the source
	route *route  // nil: of none
	body  []byte
}

// fetch is what the call asks for, "" for what no provider asks.
func (c call) fetch() social.Fetch {
	if c.route == nil {
		return ""
	}
	return c.route.fetch
}

// A route says which path is which question.
type route struct {
	path   string // * is any text
	param  string // that the call has to have, "" none
	holds  string // text within it, "" any
	fetch  social.Fetch
	answer func(s *Sandbox, c call, b []byte) answer // the undisturbed answer, appended to b
	member string                                    // what fault wrongtype spoils
	with   string                                    // and puts in its place
}

// routed is the first route of a source that a call matches.
func (c *call) routed() *route {
	for i := range c.src.routes {
		r := &c.src.routes[i]
		if r.matches(c.path) && (r.param == "" || c.q.Has(r.param) && strings.Contains(c.q.Get(r.param), r.holds)) {
			return r
		}
	}
	return nil
}

func (r *route) matches(path string) bool {
	begin, end, open := strings.Cut(r.path, "*")
	if !open {
		return path == r.path
	}
	rest, ok := strings.CutPrefix(path, begin)
	return ok && strings.HasSuffix(rest, end)
}

// asks is what the body of a call says, in the way of rocketapi.
type asks struct {
	ID        digits   `json:"id"`
	IDs       []digits `json:"ids"`
	Shortcode string   `json:"shortcode"`
	MaxID     string   `json:"max_id"`
	Count     digits   `json:"count"`
}

func (c call) asks() (asks, bool) {
	var v asks
	err := json.Unmarshal(c.body, &v)
	return v, err == nil
}

// readAsk reads the body of a call, if it has one.
func readAsk(w http.ResponseWriter, r *http.Request) []byte {
	if r.ContentLength == 0 {
		return nil
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Now().Add(10 * time.Second)) // fails on a recorder, which waits for nothing
	body, _ := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	rc.SetReadDeadline(time.Time{})
	return body
}

// An answer is what is sent back.
type answer struct {
	status int
	body   []byte
	as     bodyKind
}

// fine is an answer that was built.
func fine(b []byte) answer { return answer{http.StatusOK, b, built} }

// recorded is an answer out of a file.
func recorded(b []byte) answer { return answer{http.StatusOK, b, kept} }

// A bodyKind says whose the bytes of an answer are.
type bodyKind int

const (
	built bodyKind = iota // in the pooled buffer
	kept                  // of a file or of a fault: read only
	html                  // kept, and no JSON
)
