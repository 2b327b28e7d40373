// Package graphapi asks Meta's Graph API for professional Instagram accounts
// (contract/providers-instagram.md section 8), with the token of another
// professional account: "business discovery". How a post did, its insights, is
// told to the account that made it alone.
//
// Private and personal accounts are not discoverable; the answer for them is
// that of a handle that does not exist.
package graphapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

const (
	source  = "graphapi"
	host    = "https://graph.facebook.com"
	version = "/v12.0/" // of both calls, 8.1
)

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
			social.PostInsights:    {Request: insightsRequest, Classes: insightsClasses, Judge: judgeInsights, Parse: parseInsights},
		}),
	}
}

// profileFields is the field expansion of 8.2; the handle goes into it
// verbatim, so only a handle may.
const profileFields = "business_discovery.username(%s)" +
	"{id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count," +
	"media{id,user_id,username,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"

var (
	handleForm = regexp.MustCompile(`^[A-Za-z0-9._]{1,30}$`)
	nodeForm   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
)

func profileRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	if err := c.Require("token", "user_id"); err != nil {
		return providers.Request{}, refused(err.Error())
	}
	// user_id is no secret: it is a node id and part of the path.
	node := c.Fields["user_id"].Reveal()
	if !nodeForm.MatchString(node) || strings.Trim(node, ".") == "" {
		return providers.Request{}, refused(fmt.Sprintf("credential %d of %s: field \"user_id\" is no node id", c.ID, c.Source))
	}
	handle := strings.TrimSpace(ask.Key())
	if !handleForm.MatchString(handle) {
		// What the API says of a handle that cannot be (8.2), without asking it.
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
			Message: "Invalid username", Detail: fmt.Sprintf("keys.0: %.60q is no handle", handle)}
	}
	return providers.Request{
		Path: version + node,
		Query: url.Values{
			"fields":       {fmt.Sprintf(profileFields, handle)},
			"access_token": {c.Fields["token"].Reveal()},
		},
	}, nil
}

func refused(detail string) *providers.Error {
	return &providers.Error{Kind: providers.ErrRefused, Message: "Credential is incomplete", Detail: detail}
}

// judgeProfile is what 8.2 wants of a 200.
func judgeProfile(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	_, err = root.NeedText("business_discovery.ig_id")
	return err
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
