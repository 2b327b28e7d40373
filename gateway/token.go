package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// tokenTime is how long the check of a token may take.
const tokenTime = 20 * time.Second

// What Config.Validate says of a token.
var (
	ErrTokenInvalid  = errors.New("the token is invalid") // or it lacks a scope
	ErrAccessExpired = errors.New("the data access has expired")
)

// A Token is what R15 asks about.
type Token struct {
	Source string // whose it is, such as graphapi
	Token  string
	UserID string
	Handle string
}

type validAnswer struct {
	Status status `json:"status"`
	Code   int    `json:"code"`
}

// validateToken is R15: whether a token could be a credential. It stores nothing.
func (g *Gateway) validateToken(w http.ResponseWriter, r *http.Request) {
	var wrong check
	q := queryOf(r)
	t := Token{Token: wrong.required(q, "access_token"), UserID: wrong.required(q, "social_user_id"), Handle: wrong.required(q, "handle")}
	wrong.required(q, "platform")
	t.Source = wrong.required(q, "type")
	if wrong.answered(w) {
		return
	}
	err := errors.New("tokens cannot be checked here")
	if g.cfg.Validate != nil {
		ctx, cancel := context.WithTimeout(r.Context(), tokenTime)
		defer cancel()
		err = g.cfg.Validate(ctx, t)
	}
	switch {
	case err == nil:
		reply(w, http.StatusOK, validAnswer{success("Token is valid"), http.StatusOK})
	case errors.Is(err, ErrTokenInvalid):
		fail(w, 190, "Token is invalid")
	case errors.Is(err, ErrAccessExpired):
		fail(w, 500, "Data access expired")
	default:
		g.lg.WarnContext(r.Context(), "token not checked", "source", clip(t.Source), "err", err)
		fail(w, 500, err.Error())
	}
}

// addToken is R16, which does nothing.
func (g *Gateway) addToken(w http.ResponseWriter, r *http.Request) {
	if _, ok := readObject(w, r); !ok {
		return
	}
	reply(w, http.StatusOK, doneAnswer{success("Inserted Successfully")})
}
