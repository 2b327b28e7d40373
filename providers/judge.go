package providers

import (
	"net/http"
)

// JudgeStatus is what an HTTP status means where a provider has no rule of
// its own: nil for 200, else an *Error with the message of
// contract/flows.md 10.2.
func JudgeStatus(a Answer) *Error {
	e := &Error{Status: a.Status, Message: "Something went wrong"}
	switch {
	case a.Status == http.StatusOK:
		return nil
	case a.Status == http.StatusTooManyRequests:
		e.Kind, e.RetryAfter = ErrLimited, RetryAfter(a.Header, a.At)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusPaymentRequired:
		e.Kind = ErrRefused
	case a.Status == http.StatusForbidden:
		// Mostly a private or blocked target: no fault of the credential,
		// and not worth asking this source again.
		e.Kind, e.Message = ErrGone, "Forbidden exception"
	case a.Status == http.StatusNotFound, a.Status == http.StatusGone, a.Status == http.StatusBadRequest:
		e.Kind = ErrGone
	default:
		e.Kind = ErrUpstream
	}
	return e
}
