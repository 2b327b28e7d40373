// Package instagram is what the providers of Instagram share: what keys have to
// look like, how Instagram's own errors read when a provider passes them on,
// and the values that several of them emit in one form
// (contract/providers-instagram.md 1 and 3.3). Each provider has a folder of
// its own below.
package instagram

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// A Form is what a key has to look like, and what is said of one that does
// not: the same as of an entity that does not exist.
type Form struct {
	Name    string
	Message string
	match   *regexp.Regexp
}

// The forms of keys.
var (
	Handle    = Form{"handle", "Invalid username", regexp.MustCompile(`^[A-Za-z0-9._]{1,30}$`)}
	ProfileID = Form{"profile id", "Invalid user id", regexp.MustCompile(`^[0-9]{1,20}$`)}
	Shortcode = Form{"shortcode", "Something went wrong", regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)}
	Hashtag   = Form{"hashtag without #", "Something went wrong", regexp.MustCompile(`^[\p{L}\p{M}\p{N}_·]{1,150}$`)}
)

// Key is the first key of ask, which must have the form; the error is one for
// Call.Request.
func (f Form) Key(ask social.Ask) (string, error) {
	key := strings.TrimSpace(ask.Key())
	if !f.match.MatchString(key) {
		return "", &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
			Message: f.Message, Detail: fmt.Sprintf("keys.0: %.60q is no %s", key, f.Name)}
	}
	return key, nil
}

// Incomplete is the error of Call.Request for a credential that its provider's
// Check turns down.
func Incomplete(err error) error {
	return &providers.Error{Kind: providers.ErrRefused, Message: "Credential is incomplete", Detail: err.Error()}
}

// Missing is an entity that does not exist or is not visible, though the status
// is 200.
func Missing(message, detail string) *providers.Error {
	return &providers.Error{Kind: providers.ErrGone, Status: http.StatusOK, Message: message, Detail: detail}
}

// Object is a Judge that wants a 200 to be an object, and then what success
// wants of it.
func Object(success func(ask social.Ask, root doc.Node) *providers.Error) func(social.Ask, providers.Answer) *providers.Error {
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

// Fails are the classes of {"message": …, "status": "fail"}: Instagram's own
// error body passed on, with any status. An account that is turned away is the
// provider's: that says nothing of our key, nor of the target.
var Fails = []providers.Class{
	{Status: "429", Body: fail(), Kind: providers.ErrLimited, Why: "Instagram: please wait"},
	{Body: fail(providers.Marker{At: "message", Starts: "Please wait a few minutes"}), Kind: providers.ErrLimited, Why: "Instagram: please wait"},
	{Body: fail(message("checkpoint_required")), Kind: providers.ErrUpstream, Why: "Instagram: checkpoint_required"},
	{Body: fail(message("challenge_required")), Kind: providers.ErrUpstream, Why: "Instagram: challenge_required"},
	{Body: fail(message("login_required")), Kind: providers.ErrUpstream, Why: "Instagram: login_required"},
	{Body: fail(message("feedback_required")), Kind: providers.ErrUpstream, Why: "Instagram: feedback_required"},
	{Body: fail(message("consent_required")), Kind: providers.ErrUpstream, Why: "Instagram: consent_required"},
	{Body: fail(providers.Marker{At: "require_login", Is: "true"}), Kind: providers.ErrUpstream, Why: "Instagram: require_login"},
	{Status: "401", Body: fail(), Kind: providers.ErrUpstream, Why: "Instagram: 401 of the host's account"},
	{Body: fail(), Kind: providers.ErrGone, Why: "Instagram: status is fail"},
}

func message(s string) providers.Marker { return providers.Marker{At: "message", Is: s} }

func fail(more ...providers.Marker) []providers.Marker {
	return append([]providers.Marker{{At: "status", Is: "fail"}}, more...)
}
