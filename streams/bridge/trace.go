package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"maps"

	"beat/streams/event"
	"beat/streams/scrub"
	"beat/streams/social"
)

// Headers of a message of the RAW stream that Trace reads.
const (
	HeaderTrace = "Beat-Trace"  // a Call as JSON
	HeaderRawID = "Beat-Raw-Id" // id of the raw answer
)

// ErrNoTrace means that a raw answer carries no call: it is older than the
// header, or of a kind that is not traced.
var ErrNoTrace = errors.New("bridge: no trace")

// A Call is one outbound HTTP call that got an answer, without its secrets:
// who writes one passes URLs and headers through package scrub.
type Call struct {
	ID      string            `json:"id"` // of the raw answer
	Method  string            `json:"method"`
	URI     string            `json:"uri"`    // with query
	Remote  string            `json:"remote"` // without query
	Headers map[string]string `json:"headers"`
	Status  int               `json:"status"`
	Millis  int64             `json:"ms"`
	Host    string            `json:"host"`           // where it was made
	At      time.Time         `json:"at"`             // when the answer came
	More    []Call            `json:"more,omitempty"` // the further calls that the raw answer took
}

// Trace is the trace_log messages of a raw answer, one for each call, from the
// answer's headers; stored is when it was stored. The error is ErrNoTrace, or
// says why the header cannot be read. Secrets that the header still holds are
// removed.
func Trace(h func(key string) string, stored time.Time) ([]Message, error) {
	text := h(HeaderTrace)
	if text == "" {
		return nil, ErrNoTrace
	}
	var c Call
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("bridge: decode trace: %w", err)
	}
	raw := h(HeaderRawID)
	if raw == "" {
		raw = c.ID
	}
	if raw == "" {
		return nil, errors.New("bridge: trace without raw id")
	}
	m, err := trace(c, raw, event.ID("trace", raw), stored)
	if err != nil {
		return nil, err
	}
	out := []Message{m}
	for i, c := range c.More {
		m, err := trace(c, raw, event.ID("trace", raw, i+1), stored)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func trace(c Call, raw, id string, stored time.Time) (Message, error) {
	at := c.At.UTC()
	if !tellable(at) {
		at = stored.UTC()
	}
	if !tellable(at) {
		return Message{}, fmt.Errorf("bridge: trace of %s at %s is out of range", raw, at)
	}
	dst := make([]byte, 0, len(c.URI)+len(c.Remote)+512)
	dst = append(dst, `{"id":"`...)
	dst = append(dst, id...)
	dst = append(dst, `","hostname":`...)
	dst = social.AppendString(dst, c.Host)
	dst = append(dst, `,"hostName":`...) // sic: the consumer reads this one
	dst = social.AppendString(dst, c.Host)
	dst = append(dst, `,"serviceName":"beat","timestamp":"`...)
	dst = at.AppendFormat(dst, "2006-01-02T15:04:05.000000")
	dst = append(dst, `","timeTaken":`...)
	dst = strconv.AppendInt(dst, max(c.Millis, 0), 10)
	dst = append(dst, `,"method":`...)
	dst = social.AppendString(dst, c.Method)
	dst = append(dst, `,"uri":`...)
	dst = social.AppendString(dst, scrub.URL(c.URI))
	dst = append(dst, `,"headers":{`...)
	headers := scrub.Map(c.Headers)
	for i, name := range slices.Sorted(maps.Keys(headers)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = social.AppendString(dst, name)
		dst = append(dst, ':')
		dst = social.AppendString(dst, headers[name])
	}
	dst = append(dst, `},"responseStatus":`...)
	dst = strconv.AppendInt(dst, int64(c.Status), 10)
	dst = append(dst, `,"remoteAddress":`...)
	dst = social.AppendString(dst, scrub.URL(c.Remote))
	dst = append(dst, `,"onlyRequest":false,"requestBody":"","responseBody":""}`...)
	return Message{IdentityExchange, KeyTrace, id, dst}, nil
}
