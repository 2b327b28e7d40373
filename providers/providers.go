// Package providers says what a provider is: which questions it answers, how
// each is asked, how an answer is judged, and how it is read. A provider is
// data: one folder, one value of type Provider, one row in the table of
// cmd/beat.
//
// Everything in a Provider is pure. The one place that does I/O for all of
// them is Client; limits are in ratelimit, credentials in credential.
package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"beat/providers/ratelimit"
	"beat/streams/social"
)

// What a failure means for the pipeline. An *Error wraps exactly one.
var (
	ErrGone      = errors.New("gone")      // deleted, private or unknown here: ask another source, then record it
	ErrRefused   = errors.New("refused")   // credential rejected: disable it, use another
	ErrLimited   = errors.New("limited")   // over quota: not before Error.RetryAfter
	ErrUpstream  = errors.New("upstream")  // 5xx, timeout or an unknown status: back off and retry
	ErrMalformed = errors.New("malformed") // an answer that cannot be read: keep the bytes, ask another source
)

// An Error is how an answer, or the lack of one, failed.
type Error struct {
	Kind       error         // one of the sentinels above
	Status     int           // HTTP status of the provider; 0 when no answer came
	Message    string        // as the task table shows it: (Status, 'Message')
	Detail     string        // for people: field, provider code; no secrets, one line
	RetryAfter time.Duration // ErrLimited only; 0 when the provider did not say
	Expired    bool          // ErrRefused only: data access lapsed, see credential.data_access_expired
	Unsent     bool          // ErrUpstream only: the call never left, so it used nothing up
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%v: (%d, '%s')", e.Kind, e.Status, e.Message)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *Error) Unwrap() error { return e.Kind }

// Malformed is an answer whose shape is not what the contract says; detail
// names the path and what was found there.
func Malformed(format string, args ...any) *Error {
	return &Error{Kind: ErrMalformed, Status: http.StatusOK, Message: "API Failure", Detail: fmt.Sprintf(format, args...)}
}

// Verdict is the word for the kind of err, "" for nil.
func Verdict(err error) string {
	for _, k := range []error{ErrGone, ErrRefused, ErrLimited, ErrUpstream, ErrMalformed} {
		if errors.Is(err, k) {
			return k.Error()
		}
	}
	if err != nil {
		return ErrUpstream.Error()
	}
	return ""
}

// A Secret prints as *** wherever it is formatted or encoded; Reveal is the
// only way to its text.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return "***" }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"***"`), nil }

// Reveal is the secret itself, for the request that needs it.
func (s Secret) Reveal() string { return string(s) }

// A Credential is an enabled row of table credential.
type Credential struct {
	ID     int64
	Source string
	Handle string            // account it belongs to, "" for pooled keys
	Fields map[string]Secret // the credentials column
}

// Require returns the named fields, or an error that names the row and the
// first field that is missing or empty.
func (c Credential) Require(names ...string) error {
	for _, n := range names {
		if c.Fields[n] == "" {
			return fmt.Errorf("credential %d of %s: field %q is missing or empty", c.ID, c.Source, n)
		}
	}
	return nil
}

// Headers is a header-map credential as request headers.
func (c Credential) Headers() http.Header {
	h := make(http.Header, len(c.Fields)+1)
	for k, v := range c.Fields {
		h.Set(k, v.Reveal())
	}
	return h
}

// A Request is one HTTP call, relative to the base URL of its provider.
type Request struct {
	Method string // "" is GET
	Path   string // begins with /
	Query  url.Values
	Header http.Header
	Body   []byte
}

// An Answer is what a provider sent back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // complete, at most Config.MaxBody
	At     time.Time
	Took   time.Duration

	// What was sent, without secrets, for the trace log and the raw headers.
	Method string
	URI    string            // with query
	Remote string            // without query
	Sent   map[string]string // request headers, values of secrets replaced
}

// A Call is how one fetch type is asked and read.
type Call struct {
	// Request builds the call. An error means that the ask itself cannot be
	// put to this provider (a malformed handle, say).
	Request func(c Credential, ask social.Ask) (Request, error)
	// More builds the further requests of an ask that takes several. All are
	// made at once, with one credential. Nil: there are none.
	More func(c Credential, ask social.Ask) ([]Request, error)
	// Join is the one answer that is stored, judged and parsed, made of those to
	// Request and More, in that order: Parts of them, or the one that says why
	// they failed. An answer that did not come has status 0. It is set where
	// More is.
	Join func(ask social.Ask, answers []Answer) Answer
	// Classes are its own rows for Classify, read before those of its provider.
	Classes []Class
	// Judge says whether an answer that the classes let pass (see Classify) has
	// the shape that Parse reads: nil, or an *Error.
	Judge func(ask social.Ask, a Answer) *Error
	// Parse reads an answer that Judge let pass. It is pure; at is when the
	// answer came. It fills Logs, Cursor and More of the batch. Its error is
	// an *Error that wraps ErrMalformed.
	Parse Parser
}

// Parts is the answer that holds others: its body is
// {"parts": [{"status": 200, "body": …}, …]}, where a body that is no JSON is
// text. The rest is that of the first that came.
func Parts(answers []Answer) Answer {
	out := answers[max(0, slices.IndexFunc(answers, func(a Answer) bool { return a.Status != 0 }))]
	body := []byte(`{"parts":[`)
	for i, a := range answers {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, `{"status":`...)
		body = strconv.AppendInt(body, int64(a.Status), 10)
		body = append(body, `,"body":`...)
		switch {
		case len(a.Body) == 0:
			body = append(body, "null"...)
		case json.Valid(a.Body):
			body = append(body, a.Body...)
		default:
			body = social.AppendString(body, string(a.Body))
		}
		body = append(body, '}')
		out.Took = max(out.Took, a.Took)
	}
	out.Body = append(body, "]}"...)
	return out
}

// A Parser reads a body, see Call.Parse.
type Parser func(ask social.Ask, at time.Time, body []byte) (social.Batch, error)

// A Provider is one source of answers.
type Provider struct {
	Source   string // the name in credential.source and in the lists of sources
	Platform social.Platform
	BaseURL  string         // https://host, no slash at the end
	Limit    ratelimit.Spec // zero: unlimited
	Parser   int            // version of its parsers; bump it when what they emit changes
	// Old are earlier versions that can still be chosen, by version: the parsers
	// that differ from those of Calls.
	Old map[int]map[social.Fetch]Parser
	// Public are the fields of the credential with which anybody may ask, so no
	// secret; nil: there is none. Its row is made by itself.
	Public map[string]string
	// Check says what is wrong with a credential, nil when it can be used.
	Check func(c Credential) error
	Calls map[social.Fetch]Call
	// Classes are its own rows for Classify, read before those of all.
	Classes []Class
}

// With is p with another version of its parsers.
func (p *Provider) With(version int) (*Provider, error) {
	if version == p.Parser {
		return p, nil
	}
	old, ok := p.Old[version]
	if !ok {
		return nil, fmt.Errorf("%s has no parser version %d: the current one is %d, older ones are %v", p.Source, version, p.Parser, slices.Sorted(maps.Keys(p.Old)))
	}
	out := *p
	out.Parser, out.Calls = version, maps.Clone(p.Calls)
	for fetch, parse := range old {
		c := out.Calls[fetch]
		c.Parse = parse
		out.Calls[fetch] = c
	}
	return &out, nil
}

// Set is all providers by source.
type Set map[string]*Provider

// NewSet indexes ps. It panics on a duplicate or nameless source: the table is code.
func NewSet(ps ...*Provider) Set {
	s := make(Set, len(ps))
	for _, p := range ps {
		if p.Source == "" || s[p.Source] != nil {
			panic(fmt.Sprintf("providers: source %q is empty or listed twice", p.Source))
		}
		s[p.Source] = p
	}
	return s
}

// Answers reports whether source is known and answers fetch.
func (s Set) Answers(source string, fetch social.Fetch) bool {
	p := s[source]
	if p == nil {
		return false
	}
	_, ok := p.Calls[fetch]
	return ok
}

// RetryAfter reads the Retry-After header, in seconds or as a date. It is 0
// when absent, unreadable or in the past, and at most a day.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v + "s")
	if err != nil {
		at, err := http.ParseTime(v)
		if err != nil {
			return 0
		}
		d = at.Sub(now)
	}
	return min(max(d, 0), 24*time.Hour)
}
