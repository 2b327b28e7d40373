// Package client asks a beat gateway from Go, for operators and their tools. It is
// thin: one method for one operation of the API (beat openapi), without retries
// and without a cache. Standard library only.
//
// A method returns an *Error when the gateway answered that it cannot, and another
// error when it did not answer, or with something that is no answer of it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Client is safe for concurrent use.
type Client struct {
	base   string
	header http.Header
	hc     *http.Client
}

// Config says how to ask. A zero field means its default.
type Config struct {
	// Token is what beat token new has printed; default none, which suffices where
	// the gateway listens on a loopback address.
	Token string
	// HTTP makes the calls; default one with a timeout of 65s: the gateway answers
	// within 60s.
	HTTP *http.Client
}

// New returns a Client of the gateway at base, such as http://127.0.0.1:8000. It
// does no I/O.
func New(base string, cfg Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the base URL of a gateway is http:// or https:// and a host")
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 65 * time.Second}
	}
	c := &Client{strings.TrimRight(base, "/"), http.Header{}, cfg.HTTP}
	if cfg.Token != "" {
		c = c.with("Authorization", "Bearer "+cfg.Token)
	}
	return c, nil
}

// with is c with one more header, unless value is "".
func (c *Client) with(name, value string) *Client {
	if value == "" {
		return c
	}
	out := *c
	out.header = c.header.Clone()
	out.header.Set(name, value)
	return &out
}

// An Error is an answer of the gateway that says no.
type Error struct {
	Status  int           // of HTTP; 200 for business errors
	Code    int           // of the envelope, 0 without one: 404, 422, 2 when a limit is reached …
	Message string        // for people
	After   time.Duration // when to ask again, if the gateway said so

	missing map[string]string // of Ready
}

func (e *Error) Error() string {
	code := e.Status
	if e.Code != 0 {
		code = e.Code
	}
	return fmt.Sprintf("beat: %s (%d)", e.Message, code)
}

// maxAnswer bounds what is read of one answer.
const maxAnswer = 256 << 20

// do asks and reads the answer into out, which may be nil, or *[]byte to have it as
// it came.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("beat: %s %s: %w", method, path, err)
		}
		in = bytes.NewReader(b)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return errors.New("beat: the request cannot be made: a path of it is no path")
	}
	req.Header = c.header.Clone()
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.hc.Do(req)
	if err != nil {
		if wrong, ok := errors.AsType[*url.Error](err); ok {
			err = wrong.Err // it repeats the URL, which may hold a creator's token
		}
		return fmt.Errorf("beat does not answer: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("beat: the answer broke off: %w", err)
	}
	if err := refusal(res, answer); err != nil {
		return err
	}
	switch to := out.(type) {
	case nil:
	case *[]byte:
		*to = answer
	default:
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("beat: the answer is none of this version's: %w", err)
		}
	}
	return nil
}

// refusal is what an answer says no with, nil if it says yes.
func refusal(res *http.Response, body []byte) error {
	e := &Error{Status: res.StatusCode}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		e.After = time.Duration(s) * time.Second
	}
	var said struct {
		Status struct {
			Type, Message string
			Code          int
		}
		Detail  json.RawMessage
		Missing map[string]string
	}
	_ = json.Unmarshal(body, &said) //nolint:errcheck // of another shape: what it is, is told by its status
	if said.Status.Type == "ERROR" {
		e.Code, e.Message = said.Status.Code, said.Status.Message
		return e
	}
	if res.StatusCode < 300 {
		return nil
	}
	e.missing = said.Missing
	var problems []struct {
		Loc []any
		Msg string
	}
	switch {
	case json.Unmarshal(said.Detail, &e.Message) == nil:
	case json.Unmarshal(said.Detail, &problems) == nil:
		for i, p := range problems {
			if i > 0 {
				e.Message += "; "
			}
			for _, l := range p.Loc {
				e.Message += fmt.Sprint(l) + " "
			}
			e.Message = strings.TrimSuffix(e.Message, " ") + ": " + p.Msg
		}
	default:
		e.Message = http.StatusText(res.StatusCode)
	}
	return e
}

// path is a path of segments.
func path(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}
