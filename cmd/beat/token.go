package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"beat/gateway"
	"beat/providers"
	"beat/providers/instagram/graphapi"
)

// validate is gateway.Config.Validate: it asks Graph what a token may do. The
// answer is no observation of anybody, and a token has no place in a task, so this
// is the one call that does not go through the pipeline.
func (a *app) validate(ctx context.Context, client *providers.Client, t gateway.Token) error {
	p := a.set["graphapi"]
	switch {
	case p == nil || t.Source != p.Source:
		return errors.New("only tokens of graphapi can be checked")
	case a.cfg.MetaAppToken == "":
		return errors.New("tokens cannot be checked: META_APP_ACCESS_TOKEN is not set")
	}
	answer, err := client.Do(ctx, p.BaseURL, graphapi.DebugRequest(a.cfg.MetaAppToken,
		providers.Credential{Source: p.Source, Handle: t.Handle, Fields: map[string]providers.Secret{
			"token": providers.Secret(t.Token), "user_id": providers.Secret(t.UserID)}}))
	if err != nil {
		return errors.New("the token could not be checked: Graph did not answer")
	}
	if answer.Status != http.StatusOK { // it says nothing of the token
		return fmt.Errorf("the token could not be checked: Graph answered %d", answer.Status)
	}
	state, wrong := graphapi.ReadDebug(answer.Body)
	switch {
	case wrong != nil:
		return errors.New("the token could not be checked: the answer of Graph cannot be read")
	case state.Check(time.Time{}) != nil: // whatever its time
		return gateway.ErrTokenInvalid
	case state.Expired(time.Now()):
		return gateway.ErrAccessExpired
	}
	return nil
}
