// Package lama asks the host api.lamadava.com about Instagram
// (contract/providers-instagram.md section 15). Lists of people and posts come
// in chunks, arrays of the items and the cursor to the next ones.
//
// Forms that are not in the contract but are known from answers of this host,
// or of Instagram's interfaces behind it, are read too; each is marked where it
// is accepted.
package lama

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

const (
	source    = "lama"
	host      = "https://api.lamadava.com"
	keyHeader = "x-access-key"
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
		Check:    check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {
				Request: request("/a1/user", "username", instagram.Handle, "", nil), Classes: profileClasses,
				Judge: instagram.Object(profileByHandle), Parse: parseProfile,
			},
			social.ProfileByID: {
				Request: request("/v1/user/by/id", "id", instagram.ProfileID, "", nil), Classes: profileClasses,
				Judge: instagram.Object(profileOfID), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/v1/user/medias/chunk", "user_id", instagram.ProfileID, "end_cursor", url.Values{"max_amount": {"200"}}),
				Classes: profileClasses, Judge: judgeChunk(pair), Parse: parsePosts,
			},
			social.PostByShortcode: {
				Request: request("/a1/media", "code", instagram.Shortcode, "", nil), Classes: postClasses,
				Judge: instagram.Object(postOfShortcode), Parse: parsePost,
			},
			social.Followers: {
				Request: request("/gql/user/followers/chunk", "user_id", instagram.ProfileID, "end_cursor", url.Values{"amount": {"200"}}),
				Classes: listClasses, Judge: judgeChunk(chunk), Parse: parsePeople(instagram.Follower),
			},
			social.Following: {
				Request: request("/gql/user/following/chunk", "user_id", instagram.ProfileID, "end_cursor", url.Values{"amount": {"200"}}),
				Classes: listClasses, Judge: judgeChunk(chunk), Parse: parsePeople(instagram.Followed),
			},
			social.StoriesByID: {
				Request: request("/v1/user/stories", "user_id", instagram.ProfileID, "", nil), Classes: listClasses,
				Judge: judgeChunk(whole), Parse: parseStories,
			},
			social.HashtagPosts: {
				Request: request("/v1/hashtag/medias/recent/chunk", "name", instagram.Hashtag, "max_id", url.Values{"max_amount": {"24"}}),
				Classes: listClasses, Judge: judgeChunk(chunk), Parse: parseHashtag,
			},
		}),
	}
}

func check(c providers.Credential) error {
	if headers(c).Get(keyHeader) == "" {
		return fmt.Errorf("credential %d of %s: field %q is missing or empty", c.ID, c.Source, keyHeader)
	}
	return nil
}

// headers are the members of the credential as they are. A member called key is
// the access key (2.1).
func headers(c providers.Credential) http.Header {
	h := c.Headers()
	if key := h.Get("Key"); key != "" {
		h.Del("Key")
		if h.Get(keyHeader) == "" {
			h.Set(keyHeader, key)
		}
	}
	return h
}

// request builds a row of the table in 15.1; fixed are the parameters that are
// always the same. Cursors are sent when there is one.
func request(path, param string, form instagram.Form, cursor string, fixed url.Values) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, ask social.Ask) (providers.Request, error) {
		if err := check(c); err != nil {
			return providers.Request{}, instagram.Incomplete(err)
		}
		key, err := form.Key(ask)
		if err != nil {
			return providers.Request{}, err
		}
		q := url.Values{param: {key}}
		for name, v := range fixed {
			q[name] = slices.Clone(v)
		}
		if cursor != "" && ask.Cursor != "" {
			q.Set(cursor, ask.Cursor)
		}
		return providers.Request{Path: path, Query: q, Header: headers(c)}, nil
	}
}

// The status table of 15.1. What Instagram said to the host's account comes
// before what a status means for the target.
var (
	classes = slices.Concat([]providers.Class{{Status: "5xx", Kind: providers.ErrUpstream}}, instagram.Fails)

	// Of profiles, and of their posts. 404 is missing too, as the vendor
	// documents it (Q-LM-5).
	profileClasses = slices.Concat(classes, []providers.Class{
		{Status: "400", Kind: providers.ErrGone, Message: "Profile not found", Shown: http.StatusNotFound, Codes: excType},
		{Status: "404", Kind: providers.ErrGone, Message: "Profile not found", Codes: excType},
	})
	// Of a post. 404 stays one (Q-LM-5).
	postClasses = slices.Concat(classes, []providers.Class{
		{Status: "404", Kind: providers.ErrGone, Message: "Failed to fetch post", Codes: excType},
	})
	// Of people, stories and hashtags, whose 403 has no message of its own.
	listClasses = slices.Concat(classes, []providers.Class{
		{Status: "403", Kind: providers.ErrGone, Message: "Something went wrong", Codes: excType},
	})
)

const excType = "exc_type" // of the host's errors, {"detail": …, "exc_type": …}

// profileByHandle compares lower-cased (Q-X-16).
func profileByHandle(ask social.Ask, root doc.Node) *providers.Error {
	return isProfile(root, layoutOf(root).handle, func(got string) bool {
		return strings.EqualFold(strings.TrimSpace(got), strings.TrimSpace(ask.Key()))
	})
}

// profileOfID compares as text, for pk may be a number or text.
func profileOfID(ask social.Ask, root doc.Node) *providers.Error {
	return isProfile(root, layoutOf(root).id, func(got string) bool {
		return got == strings.TrimSpace(ask.Key())
	})
}

func isProfile(root doc.Node, path string, asked func(string) bool) *providers.Error {
	for _, in := range []string{"graphql", "data"} { // data is not in the contract: Instagram's own answer to an unknown id
		if v := root.At(in); v.IsObject() && v.At("user").Null() {
			return instagram.Missing("API Failure", in+".user is missing")
		}
	}
	got, err := root.NeedText(path)
	if err != nil {
		return err
	}
	if !asked(got) {
		return instagram.Missing("API Failure", path+" is not the one asked for")
	}
	return nil
}

func postOfShortcode(ask social.Ask, root doc.Node) *providers.Error {
	if v := root.At("items"); !v.Null() {
		items, err := root.NeedList("items")
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return instagram.Missing("API Failure", "items is empty")
		}
	} else if graphql := root.At("graphql"); graphql.IsObject() && graphql.At("shortcode_media").Null() {
		return instagram.Missing("API Failure", "graphql.shortcode_media is missing")
	}
	f := formOf(root)
	got, err := root.At(f.at).NeedText(f.key)
	if err != nil {
		return f.in(err)
	}
	if got != strings.TrimSpace(ask.Key()) {
		return f.in(instagram.Missing("API Failure", f.key+" is not the one asked for"))
	}
	return nil
}

// judgeChunk is a Judge that wants the body to be what read reads.
func judgeChunk(read chunkReader) func(social.Ask, providers.Answer) *providers.Error {
	return func(_ social.Ask, a providers.Answer) *providers.Error {
		root, err := doc.Parse(a.Body)
		if err != nil {
			return err
		}
		_, _, err = read(root)
		return err
	}
}
