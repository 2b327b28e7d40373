package sandbox

import (
	"net/http"
	"net/url"
	"strings"

	"beat/streams/social"
)

// A call is one request to a source, taken apart.
type call struct {
	r    *http.Request
	q    url.Values
	like string // the one of Sources whose shapes it has
	path string // below the source
	kind pathKind
}

// key is the credential that the call came with, "" for none.
func (c call) key() string {
	switch c.like {
	case GraphAPI:
		return c.q.Get("access_token")
	case ArrayBobo:
		return c.r.Header.Get("X-Rapidapi-Key")
	}
	return c.q.Get("key")
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
	graphInsights
	infoByID
	infoByName
	postsPage
	reelsPage
	postInfo
	channels
)

type routeRow struct {
	source, path string // * in a path is any text
	kind         pathKind
	fetch        social.Fetch
	member       string // what fault wrongtype spoils
	with         string // and puts in its place
}

// routes says which path is which question: the first row that it matches.
var routes = []routeRow{
	{GraphAPI, "/v*/insights", graphInsights, social.PostInsights, "data", `{"0":"reach"}`},
	{GraphAPI, "/v*", graphProfile, social.ProfileByHandle, "ig_id", `{"low":1}`},
	{ArrayBobo, "/ig/info/", infoByID, social.ProfileByID, "pk", `{"low":1}`},
	{ArrayBobo, "/ig/info_username/", infoByName, social.ProfileByHandle, "pk", `{"low":1}`},
	{ArrayBobo, "/ig/posts/", postsPage, social.PostsByID, "edges", `{"0":"GraphImage"}`},
	{ArrayBobo, "/ig/reels_posts/", reelsPage, social.Reels, "items", `{"0":"clips"}`},
	{ArrayBobo, "/ig/post_info/", postInfo, social.PostByShortcode, "shortcode", `["C"]`},
	{YTAPI, "/youtube/v3/channels", channels, social.ChannelsByIDs, "items", `{"0":"youtube#channel"}`},
	{YTAPI, "/channels", channels, social.ChannelsByIDs, "items", `{"0":"youtube#channel"}`},
}

func route(source, path string) (pathKind, social.Fetch) {
	for i := range routes {
		r := &routes[i]
		if r.source == source && r.matches(path) {
			return r.kind, r.fetch
		}
	}
	return unknownPath, ""
}

func (r *routeRow) matches(path string) bool {
	begin, end, open := strings.Cut(r.path, "*")
	if !open {
		return path == r.path
	}
	rest, ok := strings.CutPrefix(path, begin)
	return ok && strings.HasSuffix(rest, end)
}
