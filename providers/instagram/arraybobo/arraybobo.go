// Package arraybobo asks the RapidAPI host instagram-scraper-2022 about
// Instagram (contract/providers-instagram.md section 9).
//
// The host passes on what Instagram's web and app interfaces say. Forms that
// are not in the contract but are known from those interfaces are read too;
// each is marked where it is accepted.
package arraybobo

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"beat/providers"
	"beat/providers/doc"
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
		Check:    check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {
				Request: request("/ig/info_username/", "user", handle, ""),
				Judge:   judge(profileByHandle), Parse: parseProfile,
			},
			social.ProfileByID: {
				Request: request("/ig/info/", "id_user", profileID, ""),
				Judge:   judge(profileOfID), Parse: parseProfile,
			},
			social.PostsByID: {
				Request: request("/ig/posts/", "id_user", profileID, "end_cursor"),
				Judge:   judge(posts), Parse: parsePosts,
			},
			social.Reels: {
				Request: request("/ig/reels_posts/", "id_user", profileID, "max_id"),
				Judge:   judge(reels), Parse: parseReels,
			},
			social.PostByShortcode: {
				Request: request("/ig/post_info/", "shortcode", shortcode, ""),
				Judge:   judge(postOfShortcode), Parse: parsePost,
			},
		}),
	}
}

// check wants the header map to hold the key that RapidAPI asks for, or its
// alias of 2.1.
func check(c providers.Credential) error {
	if headers(c).Get("X-RapidAPI-Key") == "" {
		return fmt.Errorf("credential %d of %s: field %q is missing or empty", c.ID, c.Source, "X-RapidAPI-Key")
	}
	return nil
}

// headers are the members of the credential as they are, plus the host if
// that is not among them. A member called key is the RapidAPI key (2.1).
func headers(c providers.Credential) http.Header {
	h := c.Headers()
	if key := h.Get("Key"); key != "" {
		h.Del("Key")
		if h.Get("X-RapidAPI-Key") == "" {
			h.Set("X-RapidAPI-Key", key)
		}
	}
	if h.Get("X-RapidAPI-Host") == "" {
		h.Set("X-RapidAPI-Host", apiHost)
	}
	return h
}

// A form is what a key has to look like, and what is said of one that does
// not: the same as of an entity that does not exist.
type form struct {
	name    string
	match   *regexp.Regexp
	message string
}

var (
	handle    = form{"handle", regexp.MustCompile(`^[A-Za-z0-9._]{1,30}$`), "Invalid username"}
	profileID = form{"profile id", regexp.MustCompile(`^[0-9]{1,20}$`), "Invalid user id"}
	shortcode = form{"shortcode", regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`), "Something went wrong"}
)

// request builds a row of the table in 9.1. Cursors are sent when there is
// one.
func request(path, param string, want form, cursor string) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, ask social.Ask) (providers.Request, error) {
		if err := check(c); err != nil {
			return providers.Request{}, &providers.Error{Kind: providers.ErrRefused,
				Message: "Credential is incomplete", Detail: err.Error()}
		}
		key := strings.TrimSpace(ask.Key())
		if !want.match.MatchString(key) {
			return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
				Message: want.message, Detail: fmt.Sprintf("keys.0: %.60q is no %s", key, want.name)}
		}
		q := url.Values{param: {key}}
		if cursor != "" && ask.Cursor != "" {
			q.Set(cursor, ask.Cursor)
		}
		return providers.Request{Path: path, Query: q, Header: headers(c)}, nil
	}
}

// classes tells RapidAPI's own refusals from what Instagram said to the
// host's account, which is no fault of our key. Messages are those of 9.1.
var classes = []providers.Class{
	{Status: "5xx", Kind: providers.ErrUpstream},

	// {"message": …, "status": "fail"} is Instagram's own error body passed
	// on, with any status. An account that is turned away is the host's: it
	// says nothing of the target either.
	{Status: "429", Body: fail(), Kind: providers.ErrLimited, Why: "Instagram: please wait"},
	{Body: fail(wait), Kind: providers.ErrLimited, Why: "Instagram: please wait"},
	{Body: fail(message("checkpoint_required")), Kind: providers.ErrUpstream, Why: "Instagram: checkpoint_required"},
	{Body: fail(message("challenge_required")), Kind: providers.ErrUpstream, Why: "Instagram: challenge_required"},
	{Body: fail(message("login_required")), Kind: providers.ErrUpstream, Why: "Instagram: login_required"},
	{Body: fail(message("feedback_required")), Kind: providers.ErrUpstream, Why: "Instagram: feedback_required"},
	{Body: fail(message("consent_required")), Kind: providers.ErrUpstream, Why: "Instagram: consent_required"},
	{Body: fail(providers.Marker{At: "require_login", Is: "true"}), Kind: providers.ErrUpstream, Why: "Instagram: require_login"},
	{Status: "401", Body: fail(), Kind: providers.ErrUpstream, Why: "Instagram: 401 of the host's account"},
	{Body: fail(), Kind: providers.ErrGone, Why: "Instagram: status is fail"},

	// RapidAPI (6.4, enrichment.md 5.5). Any other 403 is no fault of the key.
	{Status: "403", Body: holds("not subscribed"), Kind: providers.ErrRefused, Why: "RapidAPI: not subscribed"},
	{Status: "403", Body: holds("blocked user"), Kind: providers.ErrRefused, Why: "RapidAPI: user blocked"},
	{Status: "403", Body: holds("api key"), Kind: providers.ErrRefused, Why: "RapidAPI: key refused"},
	{Status: "4xx", Body: holds("exceeded", "quota"), Kind: providers.ErrLimited, Why: "RapidAPI: quota of the plan used up"},
	{Status: "4xx", Body: holds("exceeded the rate limit"), Kind: providers.ErrLimited, Why: "RapidAPI: rate limit"},
}

var wait = providers.Marker{At: "message", Starts: "Please wait a few minutes"}

func message(s string) providers.Marker { return providers.Marker{At: "message", Is: s} }

func fail(more ...providers.Marker) []providers.Marker {
	return append([]providers.Marker{{At: "status", Is: "fail"}}, more...)
}

func holds(words ...string) []providers.Marker {
	var out []providers.Marker
	for _, w := range words {
		out = append(out, providers.Marker{At: "message", Holds: w})
	}
	return out
}

// judge is what a call wants of a 200.
func judge(success func(ask social.Ask, root doc.Node) *providers.Error) func(social.Ask, providers.Answer) *providers.Error {
	return func(ask social.Ask, a providers.Answer) *providers.Error {
		root, err := doc.Parse(a.Body)
		if err != nil {
			return err
		}
		if !root.IsObject() {
			return providers.Malformed("body is %s, want an object", root.Type())
		}
		return success(ask, root)
	}
}

// missing is an entity that does not exist or is not visible (9.1): the
// status is that of the answer, 200.
func missing(message, detail string) *providers.Error {
	return &providers.Error{Kind: providers.ErrGone, Status: http.StatusOK, Message: message, Detail: detail}
}

// profileByHandle compares lower-cased (Q-X-16). Missing is missing, by
// handle as by id (Q-AB-3).
func profileByHandle(ask social.Ask, root doc.Node) *providers.Error {
	user, path, err := userOf(root, "Invalid username")
	if err != nil {
		return err
	}
	got, err := user.NeedText("username")
	if err != nil {
		return doc.In(path, err)
	}
	if !strings.EqualFold(strings.TrimSpace(got), strings.TrimSpace(ask.Key())) {
		return missing("Invalid username", path+".username is not the one asked for")
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
		return missing("Invalid user id", path+"."+name+" is not the one asked for")
	}
	return nil
}

func userOf(root doc.Node, message string) (doc.Node, string, *providers.Error) {
	user, path := findUser(root)
	switch {
	case user.Null():
		return user, path, missing(message, path+" is missing")
	case !user.IsObject():
		return user, path, providers.Malformed("%s is %s, want an object", path, user.Type())
	}
	return user, path, nil
}

func posts(_ social.Ask, root doc.Node) *providers.Error {
	data, err := root.Need("data")
	if err != nil {
		return err
	}
	if user := data.At("user"); user.Null() {
		return missing("API Failure", "data.user is missing") // a private account, perhaps
	}
	_, err = root.NeedList(timeline + ".edges")
	return err
}

func reels(_ social.Ask, root doc.Node) *providers.Error {
	_, err := reelsRoot(root).NeedList("items") // may be empty: an account without reels (Q-AB-4)
	return err
}

func postOfShortcode(ask social.Ask, root doc.Node) *providers.Error {
	n, path, app := findPost(root)
	name := path + "shortcode"
	if app {
		name = path + "code"
	}
	if path != "" && n.Null() {
		return missing("API Failure", strings.TrimSuffix(path, ".")+" is missing")
	}
	got, err := root.NeedText(name)
	if err != nil {
		return err
	}
	if got != strings.TrimSpace(ask.Key()) {
		return missing("API Failure", name+" is not the one asked for")
	}
	return nil
}
