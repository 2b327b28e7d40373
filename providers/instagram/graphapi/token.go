package graphapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
)

// DebugRequest asks what the token of c may do (8.11). appToken is one of the
// application, "<app id>|<app secret>".
func DebugRequest(appToken string, c providers.Credential) providers.Request {
	return providers.Request{Path: storyVersion + "debug_token", Query: url.Values{
		"input_token":  {c.Fields["token"].Reveal()},
		"access_token": {appToken},
	}}
}

// A TokenState is what Graph says of a token.
type TokenState struct {
	Valid  bool // what Graph calls so; not in the contract
	Scopes []string
	// Until is when the access to data ends, which a fresh token of the
	// same person renews; zero: never.
	Until time.Time
}

// ReadDebug reads a 200 of DebugRequest. Any other answer says nothing of the
// token (Q-GA-4).
func ReadDebug(body []byte) (TokenState, *providers.Error) {
	root, err := doc.Parse(body)
	if err != nil {
		return TokenState{}, debugFailed(err)
	}
	scopes, err := root.NeedList("data.scopes")
	if err != nil {
		return TokenState{}, debugFailed(err)
	}
	valid := root.At("data.is_valid")
	s := TokenState{Valid: valid.Null() || valid.True()}
	for _, n := range scopes {
		if !n.IsText() {
			return TokenState{}, debugFailed(providers.Malformed("data.scopes holds %s, want text", n.Type()))
		}
		s.Scopes = append(s.Scopes, n.Text())
	}
	if until := root.At("data.data_access_expires_at"); !until.Null() {
		at, ok := until.Int()
		if !ok {
			return TokenState{}, debugFailed(providers.Malformed("data.data_access_expires_at is %s, want Unix seconds", until.Type()))
		}
		if at > 0 { // 0 is never (Q-GA-5)
			s.Until = time.Unix(at, 0).UTC()
		}
	}
	return s, nil
}

func debugFailed(err *providers.Error) *providers.Error {
	err.Detail = source + " debug_token: " + err.Detail
	return err
}

// Expired reports whether the access to data has ended.
func (s TokenState) Expired(now time.Time) bool { return !s.Until.IsZero() && !s.Until.After(now) }

// required are the scopes that insights need (8.7).
var required = []string{"instagram_basic", "instagram_manage_insights", "pages_read_engagement", "pages_show_list"}

// Check is what 8.7 makes of a token: nil when it may ask for insights. A
// refused one waits for a fresh token, so all are Expired, as in classes.
func (s TokenState) Check(now time.Time) *providers.Error {
	missing := slices.DeleteFunc(slices.Clone(required), func(r string) bool { return slices.Contains(s.Scopes, r) })
	refused := &providers.Error{Kind: providers.ErrRefused, Status: http.StatusUnauthorized, Expired: true}
	switch {
	case !s.Valid:
		refused.Message, refused.Detail = "Token is invalid", "Graph says so"
	case len(missing) > 0:
		refused.Message, refused.Detail = "Token is invalid", "it lacks "+strings.Join(missing, ", ")
	case s.Expired(now):
		refused.Message, refused.Detail = "Data access expired", "since "+s.Until.Format(time.DateTime)
	default:
		return nil
	}
	return refused
}
