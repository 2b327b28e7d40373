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
		Limit:    ratelimit.Spec{Name: "instagram-scraper-2022", Requests: 100, Seconds: 30},
		Parser:   parserVersion,
		Check:    check,
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

// judge looks at the status, then at what the call wants of a 200.
func judge(success func(ask social.Ask, root doc.Node) *providers.Error) func(social.Ask, providers.Answer) *providers.Error {
	return func(ask social.Ask, a providers.Answer) *providers.Error {
		root, err := doc.Parse(a.Body)
		if a.Status != http.StatusOK {
			return judgeStatus(a, root)
		}
		if err != nil {
			return err
		}
		if !root.IsObject() {
			return providers.Malformed("body is %s, want an object", root.Type())
		}
		if e := instagramFailure(a, root); e != nil {
			return e
		}
		return success(ask, root)
	}
}

// judgeStatus tells RapidAPI's own refusals from what Instagram said to the
// host's account, which is no fault of our key.
func judgeStatus(a providers.Answer, root doc.Node) *providers.Error {
	if e := instagramFailure(a, root); e != nil && a.Status < 500 {
		return e
	}
	e := providers.JudgeStatus(a)
	said := strings.ToLower(root.At("message").Text())
	if a.Status == http.StatusForbidden && (strings.Contains(said, "not subscribed") || strings.Contains(said, "api key")) {
		e.Kind, e.Detail = providers.ErrRefused, "RapidAPI: key or subscription refused" // 6.4
	}
	if a.Status == http.StatusTooManyRequests {
		e.Detail = "RapidAPI: rate limit"
		if strings.Contains(said, "quota") {
			e.Detail = "RapidAPI: quota of the plan used up"
		}
	}
	return e
}

// sessions are the messages with which Instagram turns the host's own account
// away. They say nothing of the target or of our key.
var sessions = map[string]bool{
	"checkpoint_required": true,
	"challenge_required":  true,
	"login_required":      true,
	"feedback_required":   true,
	"consent_required":    true,
}

// instagramFailure reads {"message": …, "status": "fail"}, Instagram's own
// error body passed on; nil for anything else.
func instagramFailure(a providers.Answer, root doc.Node) *providers.Error {
	if root.At("status").Text() != "fail" {
		return nil
	}
	e := &providers.Error{Kind: providers.ErrGone, Status: a.Status, Message: "Something went wrong"}
	switch a.Status {
	case http.StatusOK:
		e.Message = "API Failure"
	case http.StatusForbidden:
		e.Message = "Forbidden exception"
	}
	message := root.At("message").Text()
	switch {
	case a.Status == http.StatusTooManyRequests, strings.HasPrefix(message, "Please wait a few minutes"):
		e.Kind, e.RetryAfter = providers.ErrLimited, providers.RetryAfter(a.Header, a.At)
		e.Detail = "Instagram: please wait"
	case sessions[message]:
		e.Kind, e.Detail = providers.ErrUpstream, "Instagram: "+message
	case root.At("require_login").True():
		e.Kind, e.Detail = providers.ErrUpstream, "Instagram: require_login"
	case a.Status == http.StatusUnauthorized:
		e.Kind, e.Detail = providers.ErrUpstream, "Instagram: 401 of the host's account"
	default:
		e.Detail = "Instagram: status is fail"
	}
	return e
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
