package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

// Heartbeat reports whether the process takes requests.
func (c *Client) Heartbeat(ctx context.Context) (on bool, err error) {
	return beats(c.do(ctx, http.MethodGet, "/heartbeat", nil, nil, nil))
}

// SetHeartbeat turns the heartbeat on or off. Off drains the process.
func (c *Client) SetHeartbeat(ctx context.Context, on bool) error {
	now, err := beats(c.do(ctx, http.MethodPut, "/heartbeat", url.Values{"beat": {strconv.FormatBool(on)}}, nil, nil))
	if err == nil && now != on {
		err = errors.New("beat: the heartbeat did not change")
	}
	return err
}

// beats reads the status of a heartbeat, which is 410 when it is off.
func beats(err error) (bool, error) {
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusGone {
		return false, nil
	}
	return err == nil, err
}

// Ready is what does not answer, name → problem: none when all is well.
func (c *Client) Ready(ctx context.Context) (map[string]string, error) {
	var a struct {
		Missing map[string]string `json:"missing"`
	}
	err := c.do(ctx, http.MethodGet, "/readyz", nil, nil, &a)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusServiceUnavailable && e.missing != nil {
		return e.missing, nil
	}
	return nil, err
}

// OpenAPI is the document of the API as JSON.
func (c *Client) OpenAPI(ctx context.Context) (document []byte, err error) {
	err = c.do(ctx, http.MethodGet, "/openapi.json", nil, nil, &document)
	return document, err
}

// Metrics are in Prometheus's text format.
func (c *Client) Metrics(ctx context.Context) (text []byte, err error) {
	err = c.do(ctx, http.MethodGet, "/metrics", nil, nil, &text)
	return text, err
}

// A Token is a creator's token at Graph.
type Token struct {
	Token  string
	UserID string
	Handle string
}

// Validate asks Graph whether a token could be a credential: nil if it could. The
// Code of an *Error is 190 for a token that is refused or lacks a scope, 500 when
// its access has expired or that cannot be told.
func (c *Client) Validate(ctx context.Context, t Token) error {
	return c.do(ctx, http.MethodGet, "/token/validate", url.Values{"access_token": {t.Token}, "social_user_id": {t.UserID},
		"handle": {t.Handle}, "platform": {"INSTAGRAM"}, "type": {"graphapi"}}, nil, nil)
}
