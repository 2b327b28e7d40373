package providers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"beat/streams/scrub"
)

// ClientConfig of a Client. A zero field means its default.
type ClientConfig struct {
	Timeout   time.Duration // of one whole call, body included; default 30s
	MaxBody   int64         // bytes of an answer; default 6 MiB
	UserAgent string
}

// A Client makes the calls of all providers over one tuned transport: hosts
// are few and calls are many, so connections are kept and shared.
type Client struct {
	hc  *http.Client
	cfg ClientConfig
}

// NewClient returns a Client. It does no I/O.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 6 << 20
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "beat/1"
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: cfg.Timeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   256,
		ForceAttemptHTTP2:     true,
		ReadBufferSize:        32 << 10,
	}
	return &Client{cfg: cfg, hc: &http.Client{Transport: t, CheckRedirect: sameHost}}
}

// sameHost follows redirects only within the host that the credential is for.
func sameHost(r *http.Request, via []*http.Request) error {
	if len(via) >= 5 || r.URL.Host != via[0].URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// Do makes one call without retrying. Whatever status came back is an
// Answer; the error is an *Error of kind ErrUpstream (no answer, an answer
// that broke off) or ErrMalformed (one that is too large).
func (c *Client) Do(ctx context.Context, base string, q Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	method := q.Method
	if method == "" {
		method = http.MethodGet
	}
	url := strings.TrimSuffix(base, "/") + q.Path
	remote := url
	if len(q.Query) > 0 {
		url += "?" + q.Query.Encode()
	}
	var body io.Reader
	if q.Body != nil {
		body = bytes.NewReader(q.Body)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return Answer{}, &Error{Kind: ErrUpstream, Message: "Something went wrong", Detail: "the request cannot be built"}
	}
	for k, v := range q.Header {
		r.Header[k] = v
	}
	r.Header.Set("Accept", "*/*")
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if q.Body != nil && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	began := time.Now()
	res, err := c.hc.Do(r)
	if err != nil {
		return Answer{}, upstream(err)
	}
	defer res.Body.Close()
	a := Answer{
		Status: res.StatusCode, Header: res.Header, Method: method,
		URI: scrub.URL(url), Remote: remote, Sent: scrub.Headers(q.Header),
	}
	size := res.ContentLength
	if size < 0 || size > c.cfg.MaxBody {
		size = 16 << 10
	}
	buf := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err = buf.ReadFrom(io.LimitReader(res.Body, c.cfg.MaxBody+1))
	a.Body = buf.Bytes()
	a.At, a.Took = time.Now().UTC().Truncate(time.Microsecond), time.Since(began)
	if err != nil {
		e := upstream(err)
		e.Status = 0
		return a, e
	}
	if int64(len(a.Body)) > c.cfg.MaxBody {
		a.Body = a.Body[:c.cfg.MaxBody]
		return a, &Error{Kind: ErrMalformed, Status: res.StatusCode, Message: "API Failure",
			Detail: fmt.Sprintf("the answer is larger than %d bytes", c.cfg.MaxBody)}
	}
	return a, nil
}

// upstream says why no answer came, without the URL that net/http puts into
// its errors: the query may hold a key.
func upstream(err error) *Error {
	detail, unsent := "connection failed", false
	var op *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		detail = "timeout"
	case errors.Is(err, context.Canceled):
		detail = "canceled"
	case errors.As(err, &dns):
		detail, unsent = "host not found", true
	case errors.Is(err, io.ErrUnexpectedEOF):
		detail = "answer broke off"
	case errors.As(err, &op):
		detail, unsent = op.Op+": "+op.Err.Error(), op.Op == "dial"
	}
	return &Error{Kind: ErrUpstream, Message: "Something went wrong", Detail: detail, Unsent: unsent}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
