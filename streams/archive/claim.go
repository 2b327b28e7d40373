package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"

	"beat/streams/bus"
	"beat/streams/objects"
)

// HeaderBody is the claim of a message that has no body: the name of the object
// that holds it, its SHA-256 and its length, unpacked, with spaces between. A
// message with a body has no claim, whatever the header says: it was corrected.
const HeaderBody = "Beat-Body"

// ErrLost says that the body of a claim, or an object of the archive, is gone or
// not what was written.
var ErrLost = errors.New("lost")

// claimWait is how long an answer waits for S3 before it stays in its message.
const claimWait = 5 * time.Second

type claim struct {
	key  string
	sum  string // hexadecimal
	size int    // bytes
}

func (c claim) header() []string { return []string{fmt.Sprintf("%s %s %d", c.key, c.sum, c.size)} }

// claimOf reads the claim of a message.
func claimOf(h nats.Header) (c claim, ok bool) {
	text := h.Get(HeaderBody)
	if text == "" {
		return c, false
	}
	if n, err := fmt.Sscanf(text, "%s %s %d", &c.key, &c.sum, &c.size); err != nil || n != 3 || c.size < 0 || c.size > maxPlain || !strings.HasPrefix(c.key, "body/") {
		return claim{}, true
	}
	return c, true
}

// patiently tries again what may be a hiccup, for some seconds.
func patiently[T any](ctx context.Context, f func() (T, error)) (T, error) {
	p := retrypolicy.NewBuilder[T]().WithBackoff(100*time.Millisecond, 2*time.Second).WithMaxRetries(5).WithJitterFactor(0.2).
		AbortOnErrors(objects.ErrNotFound, objects.ErrShort, context.Canceled).ReturnLastFailure().Build()
	return failsafe.With(p).WithContext(ctx).Get(f)
}

// Keep stores the body of a raw answer that is large and leaves a claim in the
// message. Without an archive, and if S3 does not answer, the body stays in the
// message as long as that fits into the stream; if it does not, the error wraps
// bus.ErrUnavailable. o's header is not changed, but may be shared.
//
// Killed after it, the object is there and nobody claims it: it ends with the
// others of its day.
func (a *Archive) Keep(ctx context.Context, o bus.Out) (bus.Out, error) {
	if a.store == nil || len(o.Data) <= a.cfg.ClaimFrom {
		return o, nil
	}
	sum := fmt.Sprintf("%x", []byte(sumOf(o.Data)))
	c := claim{key: "body/" + time.Now().UTC().Format(time.DateOnly) + "/" + sum + ".zst", sum: sum, size: len(o.Data)}
	packed := pack(o.Data)
	err := error(errors.New("archive: not tried, S3 has just failed"))
	if a.breaker.TryAcquirePermit() {
		ctx, cancel := context.WithTimeout(ctx, claimWait)
		err = a.store.Put(ctx, c.key, packed)
		cancel()
		if err == nil {
			a.breaker.RecordSuccess()
		} else {
			a.breaker.RecordFailure()
		}
	}
	switch {
	case err == nil:
		a.metrics.claims.WithLabelValues("stored").Inc()
	case ctx.Err() != nil:
		return o, ctx.Err()
	case a.fits(o):
		a.metrics.claims.WithLabelValues("in the message").Inc()
		a.lg.Debug("large body stays in its message", "bytes", len(o.Data), "err", err)
		return o, nil
	default:
		_, err = patiently(ctx, func() (struct{}, error) { return struct{}{}, a.store.Put(ctx, c.key, packed) })
		if err != nil {
			a.metrics.claims.WithLabelValues("refused").Inc()
			return o, fmt.Errorf("archive: body of %d bytes fits nowhere: %w: %w", len(o.Data), bus.ErrUnavailable, err)
		}
		a.metrics.claims.WithLabelValues("stored").Inc()
	}
	if o.Header = maps.Clone(o.Header); o.Header == nil {
		o.Header = nats.Header{}
	}
	o.Header[HeaderBody] = c.header()
	o.Data = nil
	return o, nil
}

// fits reports whether the server takes the message with its body.
func (a *Archive) fits(o bus.Out) bool {
	if a.js == nil {
		return true
	}
	n := 1 << 10 // what the bus adds, and the batch
	for k, vs := range o.Header {
		for _, v := range vs {
			n += len(k) + len(v) + 4
		}
	}
	most := int(a.js.Conn().MaxPayload())
	return len(o.Data)+n <= most || len(s2.Encode(nil, o.Data))+n <= most
}

// Body returns the body of a raw answer: of a message of RAW, of its dead
// letter, or of what a reader of the stream has unpacked. The error wraps
// ErrLost if it is gone or damaged, which no second try changes, and ErrNone if
// this process does not know where the archive is; any other passes.
func (a *Archive) Body(ctx context.Context, h nats.Header, data []byte) ([]byte, error) {
	c, ok := claimOf(h)
	switch {
	case !ok || len(data) > 0:
		return data, nil
	case c.key == "":
		return nil, fmt.Errorf("archive: header %s: %w: not a claim", HeaderBody, ErrLost)
	case a.store == nil:
		return nil, fmt.Errorf("archive: body %s: %w", c.key, ErrNone)
	}
	packed, err := a.get(ctx, c.key)
	if errors.Is(err, objects.ErrNotFound) {
		return nil, fmt.Errorf("archive: body: %w: %w", ErrLost, err)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: body: %w", err)
	}
	body, err := unpack(packed, c.size)
	if err == nil && fmt.Sprintf("%x", []byte(sumOf(body))) != c.sum {
		err = corrupt("hash")
	}
	if err != nil {
		return nil, fmt.Errorf("archive: body %s: %w: %w", c.key, ErrLost, err)
	}
	return body, nil
}

// Handler gives next the messages of RAW with their bodies. A dead letter that
// next makes of one keeps the claim instead.
func (a *Archive) Handler(next bus.Handler) bus.Handler {
	return func(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
		if m.Header.Get(HeaderBody) == "" || len(m.Data) > 0 {
			return next(ctx, m)
		}
		body, err := a.Body(ctx, m.Header, m.Data)
		switch {
		case errors.Is(err, ErrLost):
			return nil, bus.Park("body lost", err)
		case errors.Is(err, context.Canceled):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
		}
		whole := *m
		whole.Data = body
		outs, err := next(ctx, &whole)
		for i := range outs {
			if outs[i].Header.Get(HeaderBody) != "" && bytes.Equal(outs[i].Data, body) {
				outs[i].Data = nil
			}
		}
		return outs, err
	}
}
