// Package identity asks the identity service for the token that an account's
// owner has given it (contract/enrichment.md 8.2).
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"

	"beat/providers"
)

// Config says how to reach the service. A zero field means its default.
type Config struct {
	BaseURL   string        // required
	BasicAuth string        // user:password; "": none
	Timeout   time.Duration // of one call; default 5s
	Retry     time.Duration // before the second try, doubled before the third; default 0.2s
	Open      time.Duration // how long nobody calls after five failures in a row; default 30s
}

// An Account is one of Instagram, and the token to read it with.
type Account struct {
	UserID   string
	Token    providers.Secret
	Handle   string
	Platform string // upper case
}

// A Client asks. It is safe for concurrent use.
type Client struct {
	base     string
	user     *url.Userinfo
	hc       *http.Client
	policies failsafe.Executor[*Account]
}

// maxBody bounds an answer, which is one account.
const maxBody = 1 << 20

// New returns a Client. It does no I/O. No error shows the password.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("identity: the base URL cannot be read: want http://host, and user and password apart")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 200 * time.Millisecond
	}
	if cfg.Open <= 0 {
		cfg.Open = 30 * time.Second
	}
	c := &Client{base: strings.TrimSuffix(cfg.BaseURL, "/"), hc: &http.Client{
		// The password is for this host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if cfg.BasicAuth != "" {
		user, password, ok := strings.Cut(cfg.BasicAuth, ":")
		if !ok {
			return nil, errors.New("identity: the basic authentication cannot be read: want user:password")
		}
		c.user = url.UserPassword(user, password)
	}
	// From the outside in: a try that times out is tried again, and each try
	// counts for the breaker. What is no outage is not tried again.
	c.policies = failsafe.With(
		retrypolicy.NewBuilder[*Account]().HandleIf(func(_ *Account, err error) bool { return again(err) }).
			WithMaxAttempts(3).WithBackoff(cfg.Retry, 4*cfg.Retry).WithJitterFactor(.25).ReturnLastFailure().Build(),
		circuitbreaker.NewBuilder[*Account]().HandleIf(func(_ *Account, err error) bool { return again(err) }).
			WithFailureThreshold(5).WithDelay(cfg.Open).Build(),
		timeout.New[*Account](cfg.Timeout),
	)
	return c, nil
}

// errRefused is an answer that asking again does not change.
var errRefused = errors.New("the service refuses our user or password")

func again(err error) bool {
	return err != nil && !errors.Is(err, errRefused) && !errors.Is(err, circuitbreaker.ErrOpen) && !errors.Is(err, context.Canceled)
}

// Account is the account of a handle, nil when the service has none, or none
// that is complete. An error means that it did not say; it shows no token.
func (c *Client) Account(ctx context.Context, handle string) (*Account, error) {
	a, err := c.policies.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[*Account]) (*Account, error) {
		return c.ask(e.Context(), handle)
	})
	if err != nil {
		return nil, fmt.Errorf("identity: account %q: %w", handle, err)
	}
	return a, nil
}

func (c *Client) ask(ctx context.Context, handle string) (*Account, error) {
	to := c.base + "/identity-service/api/socialaccount/platform/INSTAGRAM/handle/" + url.PathEscape(handle)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return nil, errors.New("the request cannot be built")
	}
	r.Header.Set("Accept", "application/json")
	if c.user != nil {
		password, _ := c.user.Password()
		r.SetBasicAuth(c.user.Username(), password)
	}
	res, err := c.hc.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if u, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
			err = u.Err
		}
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // only read
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return nil, errRefused
	case res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("status %d", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, nil //nolint:nilnil // nothing is an answer
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, errors.New("the answer breaks off")
	}
	return read(body), nil
}

// read is the first account of an answer.
func read(body []byte) *Account {
	var answer struct {
		Status   struct{ Key string }
		Accounts []struct {
			UserID   text `json:"socialUserId"`
			Token    text `json:"graphAccessToken"`
			Handle   text `json:"handle"`
			Platform text `json:"platform"`
		} `json:"socialAccounts"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Status.Key != "SUCCESS" || len(answer.Accounts) == 0 {
		return nil
	}
	a := answer.Accounts[0]
	if a.UserID == "" || a.Token == "" || a.Handle == "" || a.Platform == "" {
		return nil
	}
	return &Account{string(a.UserID), providers.Secret(a.Token), string(a.Handle), strings.ToUpper(string(a.Platform))}
}

// text may come as a number. Anything else is as none.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	case b[0] == '-' || b[0] >= '0' && b[0] <= '9':
		s = string(b)
	}
	*t = text(s)
	return nil
}
