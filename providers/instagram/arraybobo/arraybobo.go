// Package arraybobo asks the RapidAPI host instagram-scraper-2022 about
// Instagram (contract/providers-instagram.md section 9).
//
// The host passes on what Instagram's web and app interfaces say. Forms that
// are not in the contract but are known from those interfaces are read too;
// each is marked where it is accepted.
package arraybobo

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
	source  = "rapidapi-arraybobo"
	apiHost = "instagram-scraper-2022.p.rapidapi.com"
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
		Limit:    ratelimit.Contract["instagram-scraper-2022"],
		Parser:   parserVersion,
		Check:    rapidapi.Check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {
				Request: request("/ig/info_username/", "user", instagram.Handle, ""),
				Judge:   instagram.Object(profileByHandle), Parse: parseProfile,
			},
			social.ProfileByID: {
				Request: request("/ig/info/", "id_user", instagram.ProfileID, ""),
				Judge:   instagram.Object(profileOfID), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/ig/posts/", "id_user", instagram.ProfileID, "end_cursor"),
				Judge:   instagram.Object(edgesOf(timeline)), Parse: parsePosts,
			},
			social.Reels: {
				Request: request("/ig/reels_posts/", "id_user", instagram.ProfileID, "max_id"),
				Judge:   instagram.Object(reels), Parse: parseReels,
			},
			social.PostByShortcode: {
				Request: request("/ig/post_info/", "shortcode", instagram.Shortcode, ""),
				Judge:   instagram.Object(postOfShortcode), Parse: parsePost,
			},
			social.TaggedPosts: {
				Request: request("/ig/tagged/", "id_user", instagram.ProfileID, "end_cursor"),
				Judge:   instagram.Object(tagged), Parse: parseTagged,
			},
			social.StoriesByID: {
				Request: request("/ig/stories/", "id_user", instagram.ProfileID, ""), // there is one page
				Judge:   instagram.Object(stories), Parse: parseStories,
			},
		}),
	}
}

// request builds a row of the table in 9.1. Cursors are sent when there is
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
// host's account, which is no fault of our key. Messages are those of 9.1.
var classes = slices.Concat([]providers.Class{{Status: "5xx", Kind: providers.ErrUpstream}}, instagram.Fails, rapidapi.Classes)

// profileByHandle compares lower-cased (Q-X-16). Missing is missing, by
// handle as by id (Q-AB-3).
func profileByHandle(ask social.Ask, root doc.Node) *providers.Error {
	user, path, err := userOf(root, "Invalid username")
	if err != nil {
		return err
	}
	got, err := user.NeedText("username")
	if err == nil {
		_, id := formOf(user)
		_, err = user.NeedText(id)
	}
	if err != nil {
		return doc.In(path, err)
	}
	if !strings.EqualFold(strings.TrimSpace(got), strings.TrimSpace(ask.Key())) {
		return instagram.Missing("Invalid username", path+".username is not the one asked for")
	}
	return nil
}

// profileOfID compares as text, for pk may be a number or text (Q-AB-2).
func profileOfID(ask social.Ask, root doc.Node) *providers.Error {
	user, path, err := userOf(root, "Invalid user id")
	if err != nil {
		return err
	}
	_, name := formOf(user)
	got, err := user.NeedText(name)
	if err != nil {
		return doc.In(path, err)
	}
	if got != strings.TrimSpace(ask.Key()) {
		return instagram.Missing("Invalid user id", path+"."+name+" is not the one asked for")
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

// edgesOf wants a list of posts, which may be empty, below media of data.user.
func edgesOf(media string) func(social.Ask, doc.Node) *providers.Error {
	return func(_ social.Ask, root doc.Node) *providers.Error {
		data, err := root.Need("data")
		if err != nil {
			return err
		}
		if user := data.At("user"); user.Null() {
			return instagram.Missing("API Failure", "data.user is missing") // a private account, perhaps
		}
		_, err = root.NeedList(media + ".edges")
		return err
	}
}

func reels(_ social.Ask, root doc.Node) *providers.Error {
	_, err := itemsRoot(root).NeedList("items") // may be empty: an account without reels (Q-AB-4)
	return err
}

func tagged(ask social.Ask, root doc.Node) *providers.Error {
	if in := itemsRoot(root); !in.At("items").Null() {
		_, err := in.NeedList("items")
		return err
	}
	return edgesOf(photosOfYou)(ask, root)
}

func stories(ask social.Ask, root doc.Node) *providers.Error {
	_, _, err := findReel(root, profileOf(ask)) // there may be none
	return err
}

func profileOf(ask social.Ask) string { return strings.TrimSpace(ask.Key()) }

func postOfShortcode(ask social.Ask, root doc.Node) *providers.Error {
	n, path, app := findPost(root)
	name := path + "shortcode"
	if app {
		name = path + "code"
	}
	if path != "" && n.Null() {
		return instagram.Missing("API Failure", strings.TrimSuffix(path, ".")+" is missing")
	}
	got, err := root.NeedText(name)
	if err != nil {
		return err
	}
	if got != strings.TrimSpace(ask.Key()) {
		return instagram.Missing("API Failure", name+" is not the one asked for")
	}
	return nil
}
