// Package bestsolutions asks the RapidAPI host
// instagram-api-cheap-best-performance about Instagram
// (contract/providers-instagram.md section 12).
//
// The host passes on what Instagram's app interface says. Forms that are not in
// the contract but are known from that interface are read too; each is marked
// where it is accepted.
package bestsolutions

import (
	"net/url"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/providers/rapidapi"
	"beat/providers/ratelimit"
	"beat/streams/social"
)

const (
	source  = "rapidapi-bestsolutions"
	apiHost = "instagram-api-cheap-best-performance.p.rapidapi.com"
)

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider {
	if baseURL == "" {
		baseURL = "https://" + apiHost
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.Instagram,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Limit:    ratelimit.Contract["insta-best-performance"],
		Parser:   parserVersion,
		Check:    rapidapi.Check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {
				Request: request("/profile", "username", instagram.Handle, ""),
				Judge:   instagram.Object(profileOfHandle), Parse: parseProfile,
			},
			social.ProfileByID: {
				Request: request("/profile", "user_id", instagram.ProfileID, ""),
				Judge:   instagram.Object(profileOfID), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/feed", "user_id", instagram.ProfileID, "next_max_id"),
				Judge:   instagram.Object(posts), Parse: parsePosts,
			},
		}),
	}
}

// request builds a row of the table in 12.1. Cursors are sent when there is
// one.
func request(path, param string, form instagram.Form, cursor string) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, ask social.Ask) (providers.Request, error) {
		if err := rapidapi.Check(c); err != nil {
			return providers.Request{}, instagram.Incomplete(err)
		}
		key, err := form.Key(ask)
		if err != nil {
			return providers.Request{}, err
		}
		q := url.Values{param: {key}}
		if cursor != "" && ask.Cursor != "" {
			q.Set(cursor, ask.Cursor)
		}
		return providers.Request{Path: path, Query: q, Header: rapidapi.Headers(c, apiHost)}, nil
	}
}

// classes tells RapidAPI's own refusals from what Instagram said to the
// host's account, which is no fault of our key.
var classes = slices.Concat([]providers.Class{{Status: "5xx", Kind: providers.ErrUpstream}}, instagram.Fails, rapidapi.Classes)

// profileOfHandle compares lower-cased (Q-X-16).
func profileOfHandle(ask social.Ask, root doc.Node) *providers.Error {
	return profileOf(root, "username", instagram.Handle.Message, func(got string) bool {
		return strings.EqualFold(strings.TrimSpace(got), strings.TrimSpace(ask.Key()))
	})
}

func profileOfID(ask social.Ask, root doc.Node) *providers.Error {
	return profileOf(root, "pk", instagram.ProfileID.Message, func(got string) bool { return got == strings.TrimSpace(ask.Key()) })
}

// profileOf says missing of an answer without a user: 12.1 has that for all
// answers of another shape.
func profileOf(root doc.Node, member, message string, asked func(string) bool) *providers.Error {
	user, path := findUser(root)
	switch {
	case user.At(member).Null() && (user.Null() || user.IsObject()):
		return instagram.Missing(message, path+"."+member+" is missing")
	case !user.IsObject():
		return providers.Malformed("%s is %s, want an object", path, user.Type())
	}
	got, err := user.NeedText(member)
	if err != nil {
		return doc.In(path, err)
	}
	if !asked(got) {
		return instagram.Missing(message, path+"."+member+" is not the one asked for")
	}
	return nil
}

func posts(_ social.Ask, root doc.Node) *providers.Error {
	_, err := feed(root).NeedList("items") // may be empty: an account without posts
	return err
}
