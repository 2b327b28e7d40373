package providers

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"beat/streams/social"
)

// Classify is what an answer means: nil when it can be parsed, else how it
// failed. The rows of call are read first, then those of p, then those for all
// sources, and the first that the answer fits decides. An answer that they let
// pass is judged by its shape.
//
// It is pure. A body is looked into only as far as a row asks for it, and no
// body makes it panic.
func Classify(p *Provider, call Call, ask social.Ask, a Answer) *Error {
	b := body{raw: a.Body}
	c := p.class(call, a, &b)
	if c.Kind == nil {
		return call.Judge(ask, a)
	}
	e := &Error{Kind: c.Kind, Status: a.Status, Message: c.Message, Expired: c.Expired}
	if c.Shown != 0 {
		e.Status = c.Shown
	}
	if c.Kind == ErrLimited {
		e.RetryAfter = c.wait(a)
	}
	detail := []string{p.Source + " " + string(ask.Fetch)}
	if e.Status != a.Status {
		detail = append(detail, "HTTP "+strconv.Itoa(a.Status))
	}
	if c.Why != "" {
		detail = append(detail, c.Why)
	}
	if codes := b.codes(c.Codes); codes != "" {
		detail = append(detail, codes)
	}
	if e.Message == "" {
		e.Message = messageOf(a.Status)
		switch says := b.says(c.Says); {
		case says == "":
		case a.Status == http.StatusForbidden: // keeps its own (flows.md 10.2)
			detail = append(detail, says)
		default:
			e.Message = says
		}
	}
	if len(a.Body) > 0 && !b.readable() {
		detail = append(detail, strconv.Itoa(len(a.Body))+" bytes that are no JSON object")
	}
	e.Detail = strings.Join(detail, ": ")
	return e
}

// Class is the row that an answer to call falls into.
func (p *Provider) Class(call Call, a Answer) *Class { return p.class(call, a, &body{raw: a.Body}) }

func (p *Provider) class(call Call, a Answer, b *body) *Class {
	for _, rows := range [...][]Class{call.Classes, p.Classes, defaults} {
		for i := range rows {
			if rows[i].fits(a.Status, b) {
				return &rows[i]
			}
		}
	}
	return &defaults[len(defaults)-1] // it fits everything
}

// defaults is what a status means where a provider has no row of its own
// (contract/flows.md 10.2, providers-instagram.md 6.4).
var defaults = []Class{
	{Status: "200"}, // the shape decides
	{Status: "429", Kind: ErrLimited},
	{Status: "401", Kind: ErrRefused},
	{Status: "402", Kind: ErrRefused}, // the plan is not paid for
	// Mostly a private or blocked target: no fault of the credential, and
	// not worth asking this source again.
	{Status: "403", Kind: ErrGone},
	{Status: "404", Kind: ErrGone},
	{Status: "410", Kind: ErrGone},
	{Status: "400", Kind: ErrGone},
	{Kind: ErrUpstream}, // 5xx, and what nobody knows
}

// messageOf is the text of flows.md 10.2 and, for a 200, of
// providers-instagram.md 6.1.
func messageOf(status int) string {
	switch status {
	case http.StatusOK:
		return "API Failure"
	case http.StatusForbidden:
		return "Forbidden exception"
	}
	return "Something went wrong"
}

// wait is how long a limited answer says to wait, 0 when nothing does:
// Retry-After, else what its row knows, else the reset of a quota that is
// used up. Retry-After goes first (shared/decisions.md 13).
func (c *Class) wait(a Answer) time.Duration {
	if d := RetryAfter(a.Header, a.At); d > 0 {
		return d
	}
	if c.Wait != nil {
		return bounded(c.Wait(a.At))
	}
	if q := ReadQuota(a.Header, a.At); q.Known && q.Remaining == 0 {
		return q.Reset
	}
	return 0
}
