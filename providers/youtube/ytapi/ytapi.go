// Package ytapi asks the YouTube Data API v3 about channels
// (contract/providers-youtube.md section 4).
//
// The credentials are those of source ytapitoken; the logs say ytapi, and
// the CSV exports filter on that (1.6).
package ytapi

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
	source    = "ytapitoken"
	logSource = "ytapi"
	host      = "https://youtube.googleapis.com"
	maxIDs    = 50 // of one call, a limit of the API; callers batch 40
)

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider {
	if baseURL == "" {
		baseURL = host
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.YouTube,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Parser:   parserVersion,
		Check:    func(c providers.Credential) error { return c.Require("key") },
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ChannelsByIDs: {Request: channelsRequest, Judge: judge, Parse: parseChannels},
		}),
	}
}

// idForm is loose on purpose: it only keeps an id from being read as two.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func channelsRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	if err := c.Require("key"); err != nil {
		return providers.Request{}, &providers.Error{Kind: providers.ErrRefused,
			Message: "Credential is incomplete", Detail: err.Error()}
	}
	if len(ask.Keys) == 0 || len(ask.Keys) > maxIDs {
		return providers.Request{}, badKeys("keys: %d channel ids, want 1 to %d", len(ask.Keys), maxIDs)
	}
	for i, id := range ask.Keys {
		if !idForm.MatchString(id) {
			return providers.Request{}, badKeys("keys.%d: %.60q is no channel id", i, id)
		}
	}
	return providers.Request{
		Path: "/youtube/v3/channels",
		Query: url.Values{
			"part":       {"snippet,statistics,contentDetails"},
			"id":         {strings.Join(ask.Keys, ",")},
			"maxResults": {"50"}, // the default of 5 would cut a batch (D7)
			"key":        {c.Fields["key"].Reveal()},
		},
	}, nil
}

func badKeys(format string, args ...any) *providers.Error {
	return &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound, Message: "Something went wrong",
		Detail: fmt.Sprintf(format, args...)}
}

// kinds says what a reason in an error of Google means; a reason that is not
// here means what its HTTP status means (D6).
var kinds = map[string]error{
	"quotaExceeded":         providers.ErrLimited,
	"dailyLimitExceeded":    providers.ErrLimited,
	"rateLimitExceeded":     providers.ErrLimited,
	"userRateLimitExceeded": providers.ErrLimited,
	"RESOURCE_EXHAUSTED":    providers.ErrLimited,

	"keyInvalid":                    providers.ErrRefused,
	"keyExpired":                    providers.ErrRefused,
	"API_KEY_INVALID":               providers.ErrRefused,
	"API_KEY_SERVICE_BLOCKED":       providers.ErrRefused,
	"SERVICE_DISABLED":              providers.ErrRefused,
	"accessNotConfigured":           providers.ErrRefused, // the API is off in the key's project
	"ipRefererBlocked":              providers.ErrRefused,
	"dailyLimitExceededUnreg":       providers.ErrRefused,
	"authError":                     providers.ErrRefused,
	"required":                      providers.ErrRefused, // "Login Required": no key at all
	"rateLimitExceededUnreg":        providers.ErrRefused,
	"insufficientPermissions":       providers.ErrRefused,
	"backendError":                  providers.ErrUpstream,
	"internalError":                 providers.ErrUpstream,
	"processingFailure":             providers.ErrUpstream,
	"SERVICE_UNAVAILABLE":           providers.ErrUpstream,
	"badRequest":                    providers.ErrUpstream, // our request, not the channels: nothing to record about them
	"missingRequiredParameter":      providers.ErrUpstream,
	"invalidParameter":              providers.ErrUpstream,
	"unknownPart":                   providers.ErrUpstream,
	"unexpectedParameter":           providers.ErrUpstream,
	"incompatibleParameters":        providers.ErrUpstream,
	"unsupportedFilterCombinations": providers.ErrUpstream,
}

// judge is the first row of the table in section 4, with reasons decoded.
// What is gone keeps the old text, (404, 'Something went wrong'), whatever
// the status was (3.4); faults of ours and of Google show the real status,
// for 404 makes schedulers give the channel up.
func judge(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if a.Status == http.StatusOK {
		if err != nil {
			return err
		}
		items := root.At("items")
		switch {
		case root.IsList(): // a bare list of channels, as some proxies and files have it
			return nil
		case items.IsList():
			return nil
		case !root.IsObject():
			return providers.Malformed("body is %s, want an object", root.Type())
		case !items.Null():
			return providers.Malformed("items is %s, want a list", items.Type())
		case root.At("error").Null():
			// No id matched: Google then leaves items out.
			return gone("items is missing: no id matches")
		}
		// An error in disguise goes the way of the others.
	}
	e := providers.JudgeStatus(a)
	if e == nil {
		e = &providers.Error{Kind: providers.ErrUpstream, Status: a.Status, Message: "Something went wrong"}
	}
	detail := fmt.Sprintf("HTTP %d", a.Status)
	if err != nil {
		detail += ": " + err.Detail
	}
	if said := root.At("error"); said.IsText() {
		detail += ": error is text"
	} else if reason, kind := reasonOf(said); reason != "" {
		detail += ": " + reason
		if kind != nil {
			e.Kind = kind
		}
	}
	switch e.Kind {
	case providers.ErrLimited:
		e.Message, e.RetryAfter = "Quota exceeded", providers.RetryAfter(a.Header, a.At)
	case providers.ErrGone:
		return gone(detail)
	default:
		e.Message, e.RetryAfter = "Something went wrong", 0
	}
	e.Detail = detail
	return e
}

func gone(detail string) *providers.Error {
	return &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound, Message: "Something went wrong", Detail: detail}
}

// reasonOf is the first reason of an error that is known, else the first one
// there is. "API key not valid" comes as badRequest in errors, with the true
// reason in details.
func reasonOf(said doc.Node) (string, error) {
	var words []string
	for _, list := range []string{"details", "errors"} {
		for _, n := range said.At(list).List() {
			if s := n.At("reason").Text(); s != "" {
				words = append(words, s)
			}
		}
	}
	if strings.Contains(said.At("message").Text(), "API key not valid") {
		words = append([]string{"keyInvalid"}, words...)
	}
	if s := said.At("status").Text(); s != "" {
		words = append(words, s)
	}
	for _, w := range words {
		if kind := kinds[w]; kind != nil {
			return word(w), kind
		}
	}
	if len(words) > 0 {
		return word(words[0]), nil
	}
	return "", nil
}

// word keeps a provider's text from making a log line of its own.
func word(s string) string {
	if !idForm.MatchString(s) {
		return "unreadable reason"
	}
	return s
}
