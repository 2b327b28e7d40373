// Package graphapi asks Meta's Graph API for professional Instagram accounts
// (contract/providers-instagram.md section 8), with the token of another
// professional account: "business discovery".
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
	version = "/v12.0/" // of the profile call, 8.1
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
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ProfileByHandle: {Request: profileRequest, Judge: judgeProfile, Parse: parseProfile},
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

// judgeProfile is the outcome table of 8.2. The status is looked at before
// the body is decoded (Q-GA-2).
func judgeProfile(_ social.Ask, a providers.Answer) *providers.Error {
	if a.Status != http.StatusOK {
		return judgeError(a)
	}
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	_, err = root.NeedText("business_discovery.ig_id")
	return err
}

// kinds says what the error codes of the Graph API mean, whatever the HTTP
// status: 8.1, 6.4, and for the rest the reference page "Handling errors".
// A code that is not here means what its status means.
var kinds = map[int64]error{
	1: providers.ErrUpstream, // unknown error
	2: providers.ErrUpstream, // service temporarily unavailable

	4:     providers.ErrLimited, // application
	17:    providers.ErrLimited, // user
	32:    providers.ErrLimited, // page
	613:   providers.ErrLimited, // custom
	80002: providers.ErrLimited, // business use case, Instagram

	3:   providers.ErrRefused, // no such capability
	10:  providers.ErrRefused, // no permission
	102: providers.ErrRefused, // session
	190: providers.ErrRefused, // token

	24:  providers.ErrGone, // the object does not exist
	100: providers.ErrGone, // object missing or not to be seen; subcodes 33, 2108006
	110: providers.ErrGone, // no such business account

	2500: providers.ErrUpstream, // unknown path: not the target's fault, so nothing to record about it
}

func judgeError(a providers.Answer) *providers.Error {
	e := providers.JudgeStatus(a)
	// The body may be HTML, and error may be absent or text (Q-GA-3).
	root, err := doc.Parse(a.Body)
	if err != nil {
		e.Detail = err.Detail
		return e
	}
	said := root.At("error")
	text := said.At("message").Text()
	if said.IsText() {
		text = said.Text()
	}
	if text = clean(text); text != "" && a.Status != http.StatusForbidden {
		e.Message = text // 403 keeps its own
	}
	code, ok := said.At("code").Int()
	if !ok {
		return e
	}
	e.Detail = fmt.Sprintf("code %d", code)
	if sub, ok := said.At("error_subcode").Int(); ok {
		e.Detail += fmt.Sprintf(" subcode %d", sub)
	}
	if a.Status == http.StatusForbidden && text != "" {
		e.Detail += ": " + text
	}
	switch kind := kinds[code]; {
	case a.Status >= 500 && kind != providers.ErrLimited:
		e.Kind = providers.ErrUpstream
	case kind != nil:
		e.Kind = kind
	case code >= 200 && code < 300: // the permissions, one by one
		e.Kind = providers.ErrRefused
	case said.At("is_transient").True() && e.Kind == providers.ErrGone:
		e.Kind = providers.ErrUpstream
	}
	if e.Kind == providers.ErrLimited {
		e.RetryAfter = providers.RetryAfter(a.Header, a.At)
	} else {
		e.RetryAfter = 0
	}
	// A refused token is replaced by a fresh one only when the row says that
	// its data access lapsed (shared/decisions.md 13, contract 6.3).
	e.Expired = e.Kind == providers.ErrRefused
	if code == 110 && a.Status == http.StatusBadRequest {
		e.Message = "Invalid username"
	}
	return e
}

// tokenLike is what could be an access token: some messages of code 190
// repeat it. No word of the known messages is that long.
var tokenLike = regexp.MustCompile(`[A-Za-z0-9_|\-]{40,}`)

// clean makes a message of the API fit for the task table: one line, no
// token, at most 500 characters.
func clean(s string) string {
	s = tokenLike.ReplaceAllString(strings.Join(strings.Fields(s), " "), "***")
	if r := []rune(s); len(r) > 500 {
		s = string(r[:500])
	}
	return s
}
