// Package neotank asks the RapidAPI host instagram130 about Instagram
// (contract/providers-instagram.md section 11).
//
// The host passes on what Instagram's web interface says. Forms that are not in
// the contract but are known from that interface are read too; each is marked
// where it is accepted.
package neotank

import (
	"net/url"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/providers/rapidapi"
	"beat/streams/social"
)

const (
	source  = "rapidapi-neotank"
	apiHost = "instagram130.p.rapidapi.com"

	perPage = "80"
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
		Parser:   parserVersion,
		Check:    rapidapi.Check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {
				Request: request("/account-info", "username", instagram.Handle, nil),
				Classes: []providers.Class{{Status: "404", Kind: providers.ErrGone, Message: "Invalid user id"}},
				Judge:   instagram.Object(profileOfHandle), Parse: parseProfile,
			},
			social.ProfileByID: {
				Request: request("/username-by-id", "userid", instagram.ProfileID, nil),
				Judge:   instagram.Object(profileOfID), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/account-medias", "userid", instagram.ProfileID, page),
				Judge:   instagram.Object(posts), Parse: parsePosts,
			},
		}),
	}
}

// request builds a row of the table in 11.1.
func request(path, param string, form instagram.Form, more func(social.Ask, url.Values)) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, ask social.Ask) (providers.Request, error) {
		if err := rapidapi.Check(c); err != nil {
			return providers.Request{}, instagram.Incomplete(err)
		}
		key, err := form.Key(ask)
		if err != nil {
			return providers.Request{}, err
		}
		q := url.Values{param: {key}}
		if more != nil {
			more(ask, q)
		}
		return providers.Request{Path: path, Query: q, Header: rapidapi.Headers(c, apiHost)}, nil
	}
}

func page(ask social.Ask, q url.Values) {
	q.Set("first", perPage)
	if ask.Cursor != "" {
		q.Set("after", ask.Cursor)
	}
}

// classes tells RapidAPI's own refusals from what Instagram said to the
// host's account, which is no fault of our key. Messages are those of 11.1.
var classes = slices.Concat(
	[]providers.Class{
		{Status: "503", Kind: providers.ErrUpstream, Message: "API Failure"},
		{Status: "5xx", Kind: providers.ErrUpstream},
	},
	instagram.Fails, rapidapi.Classes,
	[]providers.Class{
		{Status: "401", Kind: providers.ErrRefused, Message: "API Failure"},
		{Status: "422", Kind: providers.ErrUpstream, Message: "API Failure"},
	})

// profileOfHandle compares lower-cased (Q-X-16).
func profileOfHandle(ask social.Ask, root doc.Node) *providers.Error {
	return profileOf(root, "username", func(got string) bool {
		return strings.EqualFold(strings.TrimSpace(got), strings.TrimSpace(ask.Key()))
	})
}

// profileOfID compares as text, for id may be a number or text.
func profileOfID(ask social.Ask, root doc.Node) *providers.Error {
	return profileOf(root, "id", func(got string) bool { return got == strings.TrimSpace(ask.Key()) })
}

func profileOf(root doc.Node, member string, asked func(string) bool) *providers.Error {
	user, path := findUser(root)
	switch {
	case user.Null():
		return instagram.Missing("API Failure", path+" is missing")
	case !user.IsObject():
		return providers.Malformed("%s is %s, want an object", path, user.Type())
	}
	got, err := user.NeedText(member)
	if err != nil {
		return doc.In(path, err)
	}
	if !asked(got) {
		return instagram.Missing("API Failure", path+"."+member+" is not the one asked for")
	}
	return nil
}

// posts wants the page of the account asked for: the first post tells. An
// account without posts has an empty page (Q-NT-4).
func posts(ask social.Ask, root doc.Node) *providers.Error {
	list, path := findTimeline(root)
	switch {
	case list.Null():
		return instagram.Missing("API Failure", path+" is missing") // a private account, perhaps
	case !list.IsObject():
		return providers.Malformed("%s is %s, want an object", path, list.Type())
	}
	if path == bare {
		if _, err := root.Need("owner"); err != nil {
			return doc.In(path, err)
		}
	}
	edges, err := list.NeedList("edges")
	if err != nil {
		return doc.In(path, err)
	}
	if _, _, err := instagram.PageInfo(list); err != nil {
		return doc.In(path, err)
	}
	if len(edges) == 0 {
		return nil
	}
	got, err := list.NeedText("edges.0.node.owner.id")
	if err != nil {
		return doc.In(path, err)
	}
	if got != strings.TrimSpace(ask.Key()) {
		return instagram.Missing("API Failure", path+".edges.0.node.owner.id is not the one asked for")
	}
	return nil
}
