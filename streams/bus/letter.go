package bus

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/tidwall/gjson"
)

// Headers of RAW that say what an answer is of.
const (
	HeaderAsk      = "Beat-Ask" // JSON
	HeaderSource   = "Beat-Source"
	HeaderRawID    = "Beat-Raw-Id"
	HeaderFetch    = "Beat-Fetch"
	HeaderVerdict  = "Beat-Verdict"  // "ok", or why the answer is not to be parsed
	HeaderObserved = "Beat-Observed" // RFC 3339, UTC
)

// A LetterOption adds to what a dead letter says.
type LetterOption func(nats.Header)

// ReadBy names the version of the parser that could not read the message.
func ReadBy(parser int) LetterOption {
	return func(h nats.Header) { h[HeaderDeadParser] = []string{strconv.Itoa(parser)} }
}

// Letter is a dead letter for m that a handler sends beside other messages,
// when the message is lost for a person to look at but its work goes on
// another way.
func Letter(m *Msg, stage, cause string, err error, opts ...LetterOption) Out {
	o := letter(stage, m, &parkError{cause: cause, err: err}, time.Now())
	for _, opt := range opts {
		opt(o.Header)
	}
	return o
}

// about notes in h which task and which answer m is of: an ask is the body of
// a message of TASKS, a header in RAW, and a member of the body in PARSED. What
// cannot be read is not noted, since that may be why m is dead.
func about(m *Msg, h nats.Header) {
	var ask, raw gjson.Result
	switch m.Stream {
	case Tasks:
		ask = parse(string(m.Data))
		note(h, HeaderDeadSource, ask.Get("source").String()) // only while it pages
	case Raw:
		ask = parse(m.Header.Get(HeaderAsk))
		note(h, HeaderDeadSource, m.Header.Get(HeaderSource))
		note(h, HeaderDeadRaw, m.Header.Get(HeaderRawID))
	case Parsed:
		body := parse(string(m.Data))
		ask, raw = body.Get("ask"), body.Get("raw")
		note(h, HeaderDeadSource, raw.Get("source").String())
		note(h, HeaderDeadRaw, raw.Get("id").String())
		note(h, HeaderDeadParser, body.Get("parser").String())
	}
	task := ask.Get("task")
	note(h, HeaderDeadTask, task.Get("id").String())
	note(h, HeaderDeadFence, task.Get("fence").String())
	note(h, HeaderDeadFlow, task.Get("flow").String())
}

func parse(s string) gjson.Result {
	if !gjson.Valid(s) {
		return gjson.Result{}
	}
	return gjson.Parse(s)
}

func note(h nats.Header, name, value string) {
	if value = oneLine(value, 256); value != "" {
		h[name] = []string{value}
	}
}
