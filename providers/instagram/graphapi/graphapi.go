// Package graphapi asks Meta's Graph API for professional Instagram accounts
// (contract/providers-instagram.md section 8), with the token of another
// professional account: "business discovery". How a post did, its insights, and
// who an account's audience is are told to that account alone.
//
// Private and personal accounts are not discoverable; the answer for them is
// that of a handle that does not exist.
package graphapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

const (
	source = "graphapi"
	host   = "https://graph.facebook.com"
)

// The versions of 8.1.
const (
	version         = "/v12.0/" // profile, posts, stories, insights of a post
	storyVersion    = "/v15.0/" // insights of a story, token debug
	audienceVersion = "/v17.0/" // insights of an account
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before: a row of a table, a conversion, the shortcode rule, or
// which posts are skipped. Older answers are then parsed again.
const parserVersion = 1

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider {
	if baseURL == "" {
		baseURL = host
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.Instagram,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Parser:   parserVersion,
		Check:    func(c providers.Credential) error { return c.Require("token", "user_id") },
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {Request: profileRequest, Judge: judgeProfile, Parse: parseProfile},
			social.PostsByHandle:   {Request: page(postsFields), Classes: postsClasses, Judge: judgePosts, Parse: parsePosts},
			social.Stories:         {Request: page(storiesFields), Classes: storiesClasses, Judge: judgeStories, Parse: parseStories},
			social.PostInsights:    {Request: insightsRequest, Classes: insightsClasses, Judge: judgeInsights, Parse: parseInsights},
			social.StoryInsights: {
				Request: storyRequest, More: storyMore, Join: joinStory,
				Classes: storyClasses, Judge: judgeStory, Parse: parseStory,
			},
			social.ProfileInsights: {
				Request: audienceRequest, More: audienceMore, Join: joinAudience,
				Classes: audienceClasses, Judge: judgeAudience, Parse: parseAudience,
			},
		}),
	}
}

var nodeForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// account is the node that c may ask from and the handle that is asked for,
// which is fit to go into a field expansion verbatim.
func account(c providers.Credential, ask social.Ask) (node, handle string, err error) {
	if err := c.Require("token", "user_id"); err != nil {
		return "", "", instagram.Incomplete(err)
	}
	// user_id is no secret: it is a node id and part of the path.
	node = c.Fields["user_id"].Reveal()
	if !nodeForm.MatchString(node) || strings.Trim(node, ".") == "" {
		return "", "", instagram.Incomplete(fmt.Errorf("credential %d of %s: field \"user_id\" is no node id", c.ID, c.Source))
	}
	handle, err = instagram.Handle.Key(ask)
	return node, handle, err
}

// get is a request with the token of c.
func get(c providers.Credential, path string, query url.Values) providers.Request {
	query.Set("access_token", c.Fields["token"].Reveal())
	return providers.Request{Path: path, Query: query}
}

// classes is the outcome table of 8.2, with what the error codes mean: 8.1,
// 6.4, and for the rest the reference page "Handling errors". A code that is
// not here means what its status means.
var classes = told([]providers.Class{
	// A body is looked into only after the status (Q-GA-2).
	{Status: "200"},

	// Throttling, whatever the status (6.4, enrichment.md 5.5).
	{Body: code("4"), Kind: providers.ErrLimited},     // application
	{Body: code("17"), Kind: providers.ErrLimited},    // user
	{Body: code("32"), Kind: providers.ErrLimited},    // page
	{Body: code("613"), Kind: providers.ErrLimited},   // custom
	{Body: code("80002"), Kind: providers.ErrLimited}, // business use case, Instagram

	{Status: "5xx", Kind: providers.ErrUpstream},
	{Body: code("1"), Kind: providers.ErrUpstream},    // unknown error
	{Body: code("2"), Kind: providers.ErrUpstream},    // service temporarily unavailable
	{Body: code("2500"), Kind: providers.ErrUpstream}, // unknown path: not the target's fault, so nothing to record about it

	// A refused token is replaced by a fresh one only when the row says that
	// its data access lapsed (shared/decisions.md 13, contract 6.3).
	{Body: code("190"), Kind: providers.ErrRefused, Expired: true}, // token
	{Body: code("102"), Kind: providers.ErrRefused, Expired: true}, // session
	{Body: code("10"), Kind: providers.ErrRefused, Expired: true},  // no permission
	{Body: code("3"), Kind: providers.ErrRefused, Expired: true},   // no such capability
	{Body: []providers.Marker{{At: errorCode, From: 200, To: 299}},
		Kind: providers.ErrRefused, Expired: true}, // the permissions, one by one

	// No such business account: unknown, private or personal (8.1).
	{Status: "400", Body: code("110"), Kind: providers.ErrGone, Message: "Invalid username"},
	{Body: code("110"), Kind: providers.ErrGone},
	{Body: code("100"), Kind: providers.ErrGone}, // object missing or not to be seen; subcodes 33, 2108006
	{Body: code("24"), Kind: providers.ErrGone},  // the object does not exist

	// No code, or one that is not known (8.2).
	{Status: "401", Kind: providers.ErrRefused, Expired: true},
	{Status: "402", Kind: providers.ErrRefused, Expired: true},
	{Status: "429", Kind: providers.ErrLimited},
	{Body: []providers.Marker{{At: "error.is_transient", Is: "true"}}, Kind: providers.ErrUpstream},
	{Status: "400", Kind: providers.ErrGone},
	{Status: "403", Kind: providers.ErrGone}, // keeps its own message
	{Status: "404", Kind: providers.ErrGone},
	{Status: "410", Kind: providers.ErrGone},
	{Kind: providers.ErrUpstream},
})

const (
	errorCode    = "error.code"
	errorSubcode = "error.error_subcode"
	errorCodes   = errorCode + " " + errorSubcode
)

func code(n string) []providers.Marker { return []providers.Marker{{At: errorCode, Is: n}} }

// told fills in what is the same for all rows: the message is that of the
// API, and error may be text (Q-GA-3).
func told(rows []providers.Class) []providers.Class {
	for i := range rows {
		rows[i].Says, rows[i].Codes = "error.message error", errorCodes
	}
	return rows
}

// untold is rows whose message is the text for the status.
func untold(rows []providers.Class) []providers.Class {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Says, rows[i].Message = "", ""
	}
	return rows
}

// Rows that several calls have.
var (
	noAccount    = providers.Class{Status: "400", Body: code("110"), Kind: providers.ErrGone, Message: "Invalid username", Codes: errorCodes}
	invalidToken = providers.Class{Status: "4xx", Body: code("190"), Kind: providers.ErrRefused, Expired: true,
		Shown: http.StatusUnauthorized, Message: "Invalid access token", Codes: errorCodes}
)

// noObject is an object that is missing, or is not to be seen with this token.
func noObject(shown int, message string) providers.Class {
	return providers.Class{Status: "4xx", Body: []providers.Marker{{At: errorCode, Is: "100"}, {At: errorSubcode, Is: "33"}},
		Kind: providers.ErrGone, Shown: shown, Message: message, Codes: errorCodes}
}
