package graphapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"beat/providers"
	"beat/streams/social"
)

// A Validator says whether a token is accepted: by 8.11 where there is a token of
// the application, else, or where that says nothing, by 8.12.
type Validator struct {
	p        *providers.Provider
	client   *providers.Client
	appToken string
}

// NewValidator returns a Validator that asks p, which is of New, through client.
// appToken is "<app id>|<app secret>", or "".
func NewValidator(p *providers.Provider, client *providers.Client, appToken string) *Validator {
	return &Validator{p, client, appToken}
}

// ErrUnchecked says that there is no way to check a credential: there is neither a
// token of the application nor a handle to ask for.
var ErrUnchecked = errors.New("a token without a handle can be checked only with META_APP_ACCESS_TOKEN")

// Validate makes one call, or two. It returns nil when c is accepted. An
// *providers.Error that wraps ErrRefused says that it is not, or that its data
// access has expired; any other error says nothing about c.
func (v *Validator) Validate(ctx context.Context, c providers.Credential) error {
	if v.appToken != "" {
		a, err := v.client.Do(ctx, v.p.BaseURL, DebugRequest(v.appToken, c))
		if err == nil && a.Status == http.StatusOK {
			if state, wrong := ReadDebug(a.Body); wrong == nil {
				if refused := state.Check(time.Now()); refused != nil {
					return refused
				}
				return nil
			}
		}
		if c.Handle == "" && err != nil {
			return err
		}
	}
	if c.Handle == "" {
		return ErrUnchecked
	}
	call, ask := v.p.Calls[social.ProfileByHandle], social.Ask{Fetch: social.ProfileByHandle, Keys: []string{c.Handle}}
	q, err := call.Request(c, ask)
	if err != nil {
		return err
	}
	a, err := v.client.Do(ctx, v.p.BaseURL, q)
	if err != nil {
		return err
	}
	// A missing profile is an answer to an accepted token.
	if wrong := providers.Classify(v.p, call, ask, a); wrong != nil && !errors.Is(wrong, providers.ErrGone) {
		return wrong
	}
	return nil
}
