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
	"time"
	_ "time/tzdata" // quotas end by Pacific time, wherever this runs

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
		Classes:  classes,
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

// classes is the table of section 4 with reasons decoded (D6). A reason that
// is not here means what its status means.
//
// What is gone keeps the old text, (404, 'Something went wrong'), whatever
// the status was (3.4); faults of ours and of Google show the real status,
// for 404 makes schedulers give the channel up.
var classes = told([]providers.Class{
	// The success test: whatever else such an answer says, it has a list of
	// items. Its length is asked for, for the list itself would be copied.
	{Status: "200", Body: []providers.Marker{{At: "items.#"}}},

	// The budget of the day (4, enrichment.md 5.5), then of a shorter time.
	{Body: reason("quotaExceeded"), Kind: providers.ErrLimited, Wait: untilMidnight},
	{Body: reason("dailyLimitExceeded"), Kind: providers.ErrLimited, Wait: untilMidnight},
	{Body: reason("rateLimitExceeded"), Kind: providers.ErrLimited},
	{Body: reason("userRateLimitExceeded"), Kind: providers.ErrLimited},
	{Body: reason("RESOURCE_EXHAUSTED"), Kind: providers.ErrLimited},

	// The key. "API key not valid" comes as badRequest in errors, with the
	// true reason in details or only in the message.
	{Body: reason("keyInvalid"), Kind: providers.ErrRefused},
	{Body: reason("API_KEY_INVALID"), Kind: providers.ErrRefused},
	{Body: []providers.Marker{{At: "error.message", Holds: "API key not valid"}}, Kind: providers.ErrRefused},
	{Body: reason("keyExpired"), Kind: providers.ErrRefused},
	{Body: reason("API_KEY_SERVICE_BLOCKED"), Kind: providers.ErrRefused},
	{Body: reason("SERVICE_DISABLED"), Kind: providers.ErrRefused},
	{Body: reason("CONSUMER_SUSPENDED"), Kind: providers.ErrRefused},  // the key's project
	{Body: reason("accessNotConfigured"), Kind: providers.ErrRefused}, // the API is off in the key's project
	{Body: reason("ipRefererBlocked"), Kind: providers.ErrRefused},
	{Body: reason("dailyLimitExceededUnreg"), Kind: providers.ErrRefused},
	{Body: reason("rateLimitExceededUnreg"), Kind: providers.ErrRefused},
	{Body: reason("authError"), Kind: providers.ErrRefused},
	{Body: reason("required"), Kind: providers.ErrRefused}, // "Login Required": no key at all
	{Body: reason("insufficientPermissions"), Kind: providers.ErrRefused},

	// Google.
	{Body: reason("backendError"), Kind: providers.ErrUpstream},
	{Body: reason("internalError"), Kind: providers.ErrUpstream},
	{Body: reason("processingFailure"), Kind: providers.ErrUpstream},
	{Body: reason("SERVICE_UNAVAILABLE"), Kind: providers.ErrUpstream},

	// Our request, not the channels: nothing to record about them.
	{Body: reason("badRequest"), Kind: providers.ErrUpstream},
	{Body: reason("missingRequiredParameter"), Kind: providers.ErrUpstream},
	{Body: reason("invalidParameter"), Kind: providers.ErrUpstream},
	{Body: reason("unknownPart"), Kind: providers.ErrUpstream},
	{Body: reason("unexpectedParameter"), Kind: providers.ErrUpstream},
	{Body: reason("incompatibleParameters"), Kind: providers.ErrUpstream},
	{Body: reason("unsupportedFilterCombinations"), Kind: providers.ErrUpstream},

	// An error in disguise, and too many calls whatever the reason.
	{Status: "200", Body: []providers.Marker{{At: "error"}}, Kind: providers.ErrUpstream},
	{Status: "429", Kind: providers.ErrLimited},

	// The target.
	{Status: "4xx", Body: reason("channelNotFound"), Kind: providers.ErrGone},
	{Status: "4xx", Body: reason("channelClosed"), Kind: providers.ErrGone},
	{Status: "4xx", Body: reason("channelSuspended"), Kind: providers.ErrGone},
	{Status: "4xx", Body: reason("commentsDisabled"), Kind: providers.ErrGone},
	{Status: "4xx", Body: reason("subscriptionForbidden"), Kind: providers.ErrGone}, // 4.11

	// No reason, or one that is not known.
	{Status: "403", Kind: providers.ErrGone}, // a private list, say
	{Status: "404", Kind: providers.ErrGone},
	{Status: "410", Kind: providers.ErrGone},
	{Status: "400", Kind: providers.ErrGone},
})

// reasons is where Google names an error: in details, in errors, or as its
// status alone.
const reasons = "error.details.#.reason error.errors.#.reason error.status"

func reason(word string) []providers.Marker { return []providers.Marker{{At: reasons, Is: word}} }

// told fills in what follows from the kind of a row.
func told(rows []providers.Class) []providers.Class {
	for i := range rows {
		r := &rows[i]
		r.Message, r.Codes = "Something went wrong", reasons
		switch r.Kind {
		case providers.ErrGone:
			r.Shown = http.StatusNotFound
		case providers.ErrLimited:
			r.Message = "Quota exceeded"
		}
	}
	return rows
}

// pacific is where the day of a quota ends.
var pacific = func() *time.Location {
	if l, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		return l
	}
	return time.FixedZone("PST", -8*60*60) // zone files that cannot be read
}()

// untilMidnight is how long a daily quota stays used up.
func untilMidnight(now time.Time) time.Duration {
	y, m, d := now.In(pacific).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, pacific).Sub(now)
}

// judge is the success test of section 4.
func judge(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
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
	}
	// No id matched: Google then leaves items out.
	return &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound, Message: "Something went wrong",
		Detail: "items is missing: no id matches"}
}
