// Package jotucker asks the RapidAPI host instagram-scraper2 about Instagram
// (contract/providers-instagram.md section 10).
//
// The host passes on what Instagram's web and app interfaces say. Forms that
// are not in the contract but are known from those interfaces are read too;
// each is marked where it is accepted.
package jotucker

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
	source  = "rapidapi-jotucker"
	apiHost = "instagram-scraper2.p.rapidapi.com"

	batchSize = "50" // of a page, sent with every call that has pages
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
		Limit:    ratelimit.Contract["instagram-scraper2"], // it never held before (Q-X-1)
		Parser:   parserVersion,
		Check:    rapidapi.Check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByID: {
				Request: request("/user_info_by_id", "user_id", instagram.ProfileID, ""),
				Judge:   instagram.Object(profileOfID), Parse: parseProfile,
			},
			social.ProfileByHandle: {
				Request: request("/user_info_by_id", "user_name", instagram.Handle, ""), // the path is no slip (Q-JT-2)
				Judge:   instagram.Object(profileOfHandle), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/medias_v2", "user_id", instagram.ProfileID, "max_id"),
				Judge:   judge("data.user", "API Failure", posts), Parse: pages(posts, readPost),
			},
			social.PostByShortcode: {
				Request: request("/media_info_v2", "short_code", instagram.Shortcode, ""),
				Judge:   instagram.Object(postOfShortcode), Parse: parsePost,
			},
			social.Following: {
				Request: request("/following", "user_id", instagram.ProfileID, "next_cursor"), Classes: generic,
				Judge: judge("data.user", "API Failure", following), Parse: pages(following, readFollowed),
			},
			social.Followers: {
				Request: request("/followers", "user_id", instagram.ProfileID, "next_cursor"), Classes: generic,
				Judge: judge("data.user", "API Failure", followers), Parse: pages(followers, readFollower),
			},
			social.PostLikes: {
				Request: request("/media_likers", "short_code", instagram.Shortcode, "next_cursor"), Classes: generic,
				Judge: judge("data.shortcode_media", "Post is missing", likes), Parse: pages(likes, readLike),
			},
			social.PostComments: {
				Request: request("/media_comments", "short_code", instagram.Shortcode, "next_cursor"), Classes: generic,
				Judge: judge("data.shortcode_media", "Post is missing", comments), Parse: pages(comments, readComment),
			},
			social.HashtagPosts: {
				Request: request("/hash_tag_medias_v2", "hash_tag", instagram.Hashtag, "next_cursor"), Classes: generic,
				Judge: judge("data.hashtag", "API Failure", hashtag), Parse: pages(hashtag, readHashtagPost),
			},
		}),
	}
}

// request builds a row of the table in 10.1. Calls with a cursor have pages;
// the cursor is sent when there is one.
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
		if cursor != "" {
			q.Set("batch_size", batchSize)
			if ask.Cursor != "" {
				q.Set(cursor, ask.Cursor)
			}
		}
		return providers.Request{Path: path, Query: q, Header: rapidapi.Headers(c, apiHost)}, nil
	}
}

var (
	// classes tells RapidAPI's own refusals from what Instagram said to the
	// host's account, which is no fault of our key.
	classes = slices.Concat([]providers.Class{{Status: "5xx", Kind: providers.ErrUpstream}}, instagram.Fails, rapidapi.Classes)

	// generic is for the calls that have no message of their own for a 403
	// (10.1): the same rows, and what is left of 403, with the general one.
	generic = generically(classes)
)

func generically(rows []providers.Class) []providers.Class {
	var out []providers.Class
	for _, r := range append(slices.Clone(rows), providers.Class{Kind: providers.ErrGone}) {
		if r.Status == "" || r.Status == "4xx" || r.Status == "403" {
			r.Status, r.Message = "403", "Something went wrong"
			out = append(out, r)
		}
	}
	return out
}

// profileOfID compares as text, for pk may be a number or text (Q-JT-1).
func profileOfID(ask social.Ask, root doc.Node) *providers.Error {
	const message = "Invalid user id"
	user, path, err := userOf(root, message)
	if err != nil {
		return err
	}
	name := idOf(user)
	got, err := user.NeedText(name)
	if err != nil {
		return doc.In(path, err)
	}
	if got != target(ask) {
		return instagram.Missing(message, path+"."+name+" is not the one asked for")
	}
	return nil
}

// profileOfHandle compares lower-cased (Q-X-16).
func profileOfHandle(ask social.Ask, root doc.Node) *providers.Error {
	const message = "Invalid username"
	user, path, err := userOf(root, message)
	if err != nil {
		return err
	}
	got, err := user.NeedText("username")
	if err != nil {
		return doc.In(path, err)
	}
	if !strings.EqualFold(strings.TrimSpace(got), target(ask)) {
		return instagram.Missing(message, path+".username is not the one asked for")
	}
	return nil
}

func userOf(root doc.Node, message string) (doc.Node, string, *providers.Error) {
	user, path := findUser(root)
	switch {
	case user.Null():
		return user, path, instagram.Missing(message, path+" is missing")
	case !user.IsObject():
		return user, path, providers.Malformed("%s is %s, want an object", path, user.Type())
	}
	return user, path, nil
}

// postOfShortcode takes an empty list for a post that is not there.
func postOfShortcode(_ social.Ask, root doc.Node) *providers.Error {
	if items := root.At("items"); items.IsList() && len(items.List()) == 0 {
		return instagram.Missing("API Failure", "items is empty")
	}
	n, path, err := findPost(root)
	if err != nil {
		return err
	}
	_, err = n.NeedText("code")
	return doc.In(path, err)
}

// judge wants the list that find looks for (Q-JT-3). When it is missing and
// what it belongs to, at of, is null or empty, then that does not exist or is
// private.
func judge(of, message string, find finder) func(social.Ask, providers.Answer) *providers.Error {
	return instagram.Object(func(_ social.Ask, root doc.Node) *providers.Error {
		_, err := find(root)
		if err == nil || !root.At("data").IsObject() {
			return err
		}
		if there, _ := doc.Bool(root.At(of)); string(there) == "true" { //nolint:errcheck // it never fails
			return err
		}
		return instagram.Missing(message, of+" is missing")
	})
}
