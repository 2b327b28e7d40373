package bus

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Later says that a message is to be tried again after d, however often: the
// fault is not the message's. err may be nil. The message keeps occupying its
// place in MaxAckPending meanwhile, so this is for short waits; for long ones
// return an Out with At instead, and no error.
func Later(d time.Duration, err error) error { return &laterError{d, err} }

type laterError struct {
	delay time.Duration
	err   error
}

func (e *laterError) Error() string { return fmt.Sprintf("again in %s: %v", e.delay, e.err) }
func (e *laterError) Unwrap() error { return e.err }

// Park says that a message will never succeed: it becomes a dead letter. The
// cause is one or two constant words that group such letters, such as
// "malformed"; err says what exactly.
func Park(cause string, err error) error { return &parkError{cause: cause, err: err} }

type parkError struct {
	cause string
	err   error
	stack []byte // of a panic
}

func (e *parkError) Error() string { return fmt.Sprintf("%s: %v", e.cause, e.err) }
func (e *parkError) Unwrap() error { return e.err }

// Drop says that a message needs nothing more, and why: it is acked, and the
// reason is logged at debug level.
func Drop(reason string) error { return &dropError{reason} }

type dropError struct{ reason string }

func (e *dropError) Error() string { return "dropped: " + e.reason }

// Causes that the bus itself gives a dead letter.
const (
	CausePanic     = "panic"     // the handler panicked; the letter has the stack
	CauseRetries   = "retries"   // Route.MaxDeliver deliveries failed
	CauseDelivered = "delivered" // RouterConfig.MaxRedeliver: it may be killing its process
)

type verdict int

const (
	ack verdict = iota
	release
	delay
	park
)

// judge is the only place that says what a handler's error means for its
// message. stopping: the router has been told to end.
func (t *route) judge(err error, delivered int, stopping bool) (v verdict, d time.Duration, p *parkError) {
	var (
		later  *laterError
		parked *parkError
		drop   *dropError
	)
	switch {
	case err == nil, errors.As(err, &drop):
		return ack, 0, nil
	case stopping && errors.Is(err, context.Canceled):
		return release, 0, nil // another process takes it
	case errors.As(err, &parked):
		return park, 0, parked
	case errors.As(err, &later):
		return delay, later.delay, nil
	case errors.Is(err, ErrFull), errors.Is(err, ErrUnavailable):
		return delay, t.delay(delivered), nil // downstream's fault, however often
	case delivered >= t.MaxDeliver:
		return park, 0, &parkError{cause: CauseRetries, err: err}
	default:
		return delay, t.delay(delivered), nil
	}
}

func (t *route) delay(delivered int) time.Duration {
	return t.Backoff[min(max(delivered, 1), len(t.Backoff))-1]
}
