// Package processors holds what the stages share: the headers of a raw answer
// and the messages that carry a chain on.
package processors

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"beat/providers"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/schedule"
	"beat/streams/social"
)

// Headers of a message of the RAW stream. Its body is the answer as it came.
const (
	HeaderRawID      = bridge.HeaderRawID // derived from the ask
	HeaderSource     = bus.HeaderSource   // of the credential
	HeaderFetch      = bus.HeaderFetch    // fetch type
	HeaderStatus     = "Beat-Status"      // HTTP status
	HeaderCredential = "Beat-Credential"  // id of the row, never the secret
	HeaderObserved   = bus.HeaderObserved // RFC 3339, UTC: when the answer came
	HeaderAsk        = bus.HeaderAsk      // the ask as JSON: what a parser needs besides the body
	HeaderVerdict    = bus.HeaderVerdict  // "ok", or why the answer is not to be parsed
	HeaderTrace      = bridge.HeaderTrace // a bridge.Call: the call, without secrets
)

// OK is the verdict of an answer that is to be parsed.
const OK = "ok"

// RawSubject is where an answer is stored.
func RawSubject(p social.Platform, source string, f social.Fetch) string {
	return "beat.raw." + p.Lower() + "." + source + "." + string(f)
}

// ReadRaw reads the headers of a raw answer.
func ReadRaw(h nats.Header) (social.Raw, social.Ask, error) {
	var a social.Ask
	if err := json.Unmarshal([]byte(h.Get(HeaderAsk)), &a); err != nil {
		return social.Raw{}, a, fmt.Errorf("header %s: %w", HeaderAsk, err)
	}
	at, err := time.Parse(time.RFC3339Nano, h.Get(HeaderObserved))
	if err != nil {
		return social.Raw{}, a, fmt.Errorf("header %s is no time", HeaderObserved)
	}
	r := social.Raw{ID: h.Get(HeaderRawID), Source: h.Get(HeaderSource), At: at.UTC()}
	if r.ID == "" || r.Source == "" {
		return r, a, fmt.Errorf("header %s or %s is missing", HeaderRawID, HeaderSource)
	}
	_, err = fmt.Sscan(h.Get(HeaderStatus), &r.Status)
	return r, a, err
}

// ParsedOut is the message of a batch.
func ParsedOut(b social.Batch) (bus.Out, error) {
	data, err := b.Marshal()
	if err != nil {
		return bus.Out{}, err
	}
	return bus.Out{
		Subject: "beat.parsed." + b.Ask.Task.Platform.Lower() + "." + string(b.Ask.Fetch),
		ID:      social.ID("parsed", b.Raw.ID, b.Parser, b.Ask.Seq, b.Final != nil),
		Data:    data,
	}, nil
}

// Onward is what follows once a source has failed an ask for good: the next
// ask, or the answer without logs that ends the step.
func Onward(a social.Ask, raw social.Raw, next social.Ask, final *social.Final, answered bool) ([]bus.Out, error) {
	var outs []bus.Out
	if answered {
		if raw.ID == "" {
			raw = social.Raw{ID: a.ID(), At: time.Now().UTC().Truncate(time.Microsecond)}
		}
		o, err := ParsedOut(social.Batch{Ask: a, Raw: raw, Final: final})
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
	}
	if final == nil {
		o, err := schedule.AskOut(next)
		if err != nil {
			return nil, err
		}
		outs = append(outs, o)
	}
	return outs, nil
}

// Attempt is the note that source failed with e.
func Attempt(source string, e *providers.Error) social.Attempt {
	reason := e.Message
	if e.Detail != "" {
		reason += ": " + e.Detail
	}
	return social.Attempt{Source: source, Verdict: providers.Verdict(e), Status: e.Status, Reason: OneLine(reason)}
}

// OneLine bounds a text for a header or an attempt.
func OneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
