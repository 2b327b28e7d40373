// Package bridge tells RabbitMQ what happened: EVENTS messages in, AMQP
// messages out, in the shapes of contract/amqp.md.
//
// It has a pure half and an I/O half. Messages and Trace turn one stored
// message into AMQP messages; they know no broker. A Publisher holds one
// connection and gets a batch confirmed, however long that takes.
//
// # What is promised
//
// Nothing is kept here. The caller acknowledges its JetStream message after
// Publish returned nil, so a crash anywhere in between means that the same
// message comes again and is published again: at least once. Its event_id,
// which is also the message_id, is derived from the cause and is the same
// each time.
//
// Order holds per routing key within one Publish, and from one Publish to the
// next when the caller waits for the first. What is not confirmed is sent
// again together with all that followed it under the same key, so a consumer
// may see 1 2 3 2 3 but never 1 3 2.
//
// # What happens when
//
//   - the broker is away: Publish waits; Run connects again, back-off 0.1 s
//     to 10 s. Down for a day costs nothing but delay.
//   - the connection breaks within a batch: what was confirmed is done, the
//     rest is sent over the next connection.
//   - the broker refuses a message (basic.nack), or closes the channel
//     because an exchange is missing: Error log, tried again after 1 s to 30 s.
//   - no queue takes a message (basic.return): the row in Keys decides. A
//     required one is tried again, one message as a probe, after 1 s to 30 s,
//     for ever: Error log, beat_bridge_returned_total. One that is not
//     required is counted and done.
//   - identity.dx does not exist: trace messages are counted and dropped, one
//     log line a minute; a minute later it is looked for again.
//   - the broker is out of memory or disk and blocks its publishers: Publish
//     waits.
//   - ctx ends: Publish returns; what it had sent may or may not be queued.
package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"beat/streams/event"
	"beat/streams/social"
)

// A Message is one AMQP message. ID becomes its message_id.
type Message struct {
	Exchange string
	Key      string
	ID       string
	Body     []byte // one compact JSON object, UTF-8
}

// Messages reads one message of EVENTS and says what RabbitMQ is told: one
// message per event of a commit, one for a task's transition. header is not
// needed today and may be nil.
//
// An error means that the message can never be told: it is not what package
// event writes, or an event lacks what the contract requires (an id, a time,
// a platform). Every body without error passes amqpcheck.Check. A metric that
// is no number is told as null, because a consumer that expects a number
// drops the whole message or dies on it.
func Messages(subject string, header func(string) string, data []byte) ([]Message, error) {
	_, kind, err := event.ParseSubject(subject)
	if err != nil {
		return nil, err
	}
	switch kind {
	case event.KindCommit:
		return commitMessages(data)
	case event.KindTask:
		return taskMessages(data)
	}
	return nil, fmt.Errorf("bridge: subject %q is of no known kind", subject)
}

func commitMessages(data []byte) ([]Message, error) {
	c, err := event.UnmarshalCommit(data)
	if err != nil {
		return nil, err
	}
	if c.Replay != nil && !c.Replay.Publish {
		return nil, nil
	}
	bulk := c.Replay == nil && c.Parser > 0 && (c.Fetch == social.PostLikes || c.Fetch == social.PostComments) && c.Part == 0
	if len(c.Events) == 0 && !bulk {
		return nil, nil
	}
	platform, err := platformOf(c.Task.Platform)
	if err != nil {
		return nil, fmt.Errorf("bridge: commit of task %d: %w", c.Task.ID, err)
	}
	at := c.Raw.At.UTC()
	if !tellable(at) {
		return nil, fmt.Errorf("bridge: commit of task %d: answer of %s is out of range", c.Task.ID, at)
	}
	// One buffer for all bodies: they live and die together. Names, ids and
	// times of an event add less than they replace.
	buf := make([]byte, 0, len(data)+len(c.Events)*128)
	out := make([]Message, 0, len(c.Events))
	for i := range c.Events {
		e := &c.Events[i]
		if e.Gone {
			continue // there is no message that takes another back
		}
		start := len(buf)
		var key string
		switch e.Log.Kind {
		case social.Profile, social.Insights:
			key = KeyProfile
			buf, err = appendProfile(buf, e, platform, at)
		case social.Post:
			key = KeyPost
			buf, err = appendPost(buf, e, platform, at)
		case social.Activity:
			key = KeyActivity
			buf, err = appendActivity(buf, e, platform, at)
		case social.Relationship:
			key = KeyRelationship
			buf, err = appendRelationship(buf, e, platform, at)
		default:
			err = fmt.Errorf("kind %q has no routing key", e.Log.Kind)
		}
		var body []byte
		if err == nil {
			body, err = tame(buf[start:len(buf):len(buf)])
		}
		if err != nil {
			return nil, fmt.Errorf("bridge: event %d of task %d: %w", i, c.Task.ID, err)
		}
		out = append(out, Message{BeatExchange, key, e.ID, body})
	}
	if bulk {
		body, err := tame(activities(c, platform, at))
		if err != nil {
			return nil, fmt.Errorf("bridge: activities of task %d: %w", c.Task.ID, err)
		}
		out = append(out, Message{BeatExchange, KeyActivities, event.ID("activities", c.Raw.ID), body})
	}
	return out, nil
}

func appendProfile(dst []byte, e *event.Event, platform string, at time.Time) ([]byte, error) {
	l := &e.Log
	switch {
	case !isUUID(e.ID):
		return dst, fmt.Errorf("event id %q is no UUID", e.ID)
	case l.Key == "":
		return dst, errors.New("profile without id")
	case l.Source == "":
		return dst, fmt.Errorf("profile %s without source", l.Key)
	}
	dst = append(dst, `{"event_id":"`...)
	dst = append(dst, e.ID...)
	dst = append(dst, `","source":`...)
	dst = social.AppendString(dst, l.Source)
	dst = append(dst, `,"platform":"`...)
	dst = append(dst, platform...)
	dst = append(dst, `","profile_id":`...)
	start := len(dst)
	dst = social.AppendString(dst, l.Key)
	id := dst[start:]
	dst = append(dst, `,"handle":`...)
	dst = appendHandle(dst, l, platform, id)
	dst = append(dst, `,"event_timestamp":`...)
	dst = appendTime(dst, at)
	return appendFacts(dst, l), nil
}

func appendPost(dst []byte, e *event.Event, platform string, at time.Time) ([]byte, error) {
	l := &e.Log
	switch {
	case !isUUID(e.ID):
		return dst, fmt.Errorf("event id %q is no UUID", e.ID)
	case l.Key == "":
		return dst, errors.New("post without shortcode")
	}
	dst = append(dst, `{"event_id":"`...)
	dst = append(dst, e.ID...)
	dst = append(dst, `","source":`...)
	dst = social.AppendString(dst, l.Source)
	dst = append(dst, `,"platform":"`...)
	dst = append(dst, platform...)
	dst = append(dst, `","profile_id":`...)
	start := len(dst)
	dst = appendOwner(dst, l, platform)
	id := dst[start:]
	dst = append(dst, `,"handle":`...)
	dst = appendHandle(dst, l, platform, id)
	dst = append(dst, `,"shortcode":`...)
	dst = social.AppendString(dst, l.Key)
	dst = append(dst, `,"publish_time":`...)
	if t, ok := publishTime(l.Dimensions); ok {
		dst = appendTime(dst, t)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"event_timestamp":`...)
	dst = appendTime(dst, at)
	return appendFacts(dst, l), nil
}

// appendOwner appends whose post it is: what the log says, else its dimension
// profile_id. Where neither says, the border has two spellings of unknown:
// null for YouTube, TODO for the others.
func appendOwner(dst []byte, l *social.Log, platform string) []byte {
	if l.Owner != "" {
		return social.AppendString(dst, l.Owner)
	}
	if v, ok := l.Dimensions.Get("profile_id"); ok && len(v) > 0 {
		if s := l.Dimensions.Text("profile_id"); s != "" {
			return social.AppendString(dst, s)
		}
		if _, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			dst = append(dst, '"')
			dst = append(dst, v...)
			return append(dst, '"')
		}
	}
	if platform == string(social.YouTube) {
		return append(dst, "null"...)
	}
	return append(dst, `"TODO"`...) // sic
}

// appendHandle appends the handle: for YouTube that is the id, which is given
// in its JSON form, elsewhere the dimension handle if that is text.
func appendHandle(dst []byte, l *social.Log, platform string, id []byte) []byte {
	if platform == string(social.YouTube) {
		return append(dst, id...)
	}
	if v, ok := l.Dimensions.Get("handle"); ok && len(v) > 1 && v[0] == '"' {
		return append(dst, v...)
	}
	return append(dst, "null"...)
}

func appendFacts(dst []byte, l *social.Log) []byte {
	dst = append(dst, `,"metrics":`...)
	dst = numbers(l.Metrics).AppendUnique(dst)
	dst = append(dst, `,"dimensions":`...)
	dst = l.Dimensions.AppendUnique(dst)
	return append(dst, '}')
}

// numbers is k with null in place of what is no number. Nearly always it is k.
func numbers(k social.KVs) social.KVs {
	for i := range k {
		if !numeric(k[i]) {
			out := append(social.KVs(nil), k...)
			for j := range out {
				if !numeric(out[j]) {
					out[j].Value = social.Null
				}
			}
			return out
		}
	}
	return k
}

// numeric: the replies to a comment are a list among its metrics (2.4).
func numeric(kv social.KV) bool {
	v := kv.Value
	return len(v) == 0 || v[0] == '-' || v[0] == 'n' || v[0] >= '0' && v[0] <= '9' || v[0] == '[' && kv.Key == "comments_thread"
}

func taskMessages(data []byte) ([]Message, error) {
	var t event.Task
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("bridge: decode task: %w", err)
	}
	at := t.At.UTC()
	switch {
	case !isUUID(t.EventID):
		return nil, fmt.Errorf("bridge: task %d: event id %q is no UUID", t.ID, t.EventID)
	case t.ID <= 0:
		return nil, fmt.Errorf("bridge: task id %d", t.ID)
	case t.Flow == "" || t.Status == "":
		return nil, fmt.Errorf("bridge: task %d: flow %q, status %q", t.ID, t.Flow, t.Status)
	case !tellable(at):
		return nil, fmt.Errorf("bridge: task %d: transition at %s is out of range", t.ID, at)
	}
	dst := make([]byte, 0, len(t.Params)+512)
	dst = append(dst, `{"event_id":"`...)
	dst = append(dst, t.EventID...)
	dst = append(dst, `","scl_id":"`...)
	dst = strconv.AppendInt(dst, t.ID, 10)
	dst = append(dst, `","flow":`...)
	dst = social.AppendString(dst, t.Flow)
	dst = append(dst, `,"platform":`...)
	dst = social.AppendString(dst, strings.ToUpper(string(t.Platform)))
	dst = append(dst, `,"params":`...)
	if len(t.Params) > 0 && t.Params[0] == '{' {
		dst = append(dst, t.Params...)
	} else {
		dst = append(dst, "{}"...)
	}
	dst = append(dst, `,"status":`...)
	dst = social.AppendString(dst, t.Status)
	dst = append(dst, `,"priority":`...)
	dst = appendInt(dst, t.Priority)
	dst = append(dst, `,"reason":`...)
	if t.Reason != nil {
		dst = social.AppendString(dst, *t.Reason)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"event_timestamp":`...)
	dst = appendTime(dst, at)
	dst = append(dst, `,"picked_at":`...)
	switch {
	case t.Status == social.Pending:
		dst = append(dst, "null"...)
	case t.PickedAt != nil && tellable(t.PickedAt.UTC()):
		dst = appendTime(dst, t.PickedAt.UTC())
	default: // ended without being picked; the contract has null for PENDING only
		dst = appendTime(dst, at)
	}
	dst = append(dst, `,"expires_at":`...)
	if t.ExpiresAt != nil && tellable(t.ExpiresAt.UTC()) {
		dst = appendTime(dst, t.ExpiresAt.UTC())
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"retry_count":`...)
	dst = appendInt(dst, t.RetryCount)
	body, err := tame(append(dst, '}'))
	if err != nil {
		return nil, fmt.Errorf("bridge: task %d: %w", t.ID, err)
	}
	return []Message{{BeatExchange, KeyTask, t.EventID, body}}, nil
}

func appendInt(dst []byte, n *int) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, int64(*n), 10)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, time.DateTime)
	return append(dst, '"')
}

// lastSecond is the end of year 9999, after which the format has no room.
const lastSecond = 253402300799

func tellable(t time.Time) bool { s := t.Unix(); return s > 0 && s <= lastSecond }

// publishTime reads the dimension taken_at_timestamp: Unix seconds as an
// integer, an integral float or the text of either, or RFC 3339 text. Zero,
// like anything else, is no time.
func publishTime(dims social.KVs) (time.Time, bool) {
	v, ok := dims.Get("taken_at_timestamp")
	if !ok || len(v) == 0 {
		return time.Time{}, false
	}
	text := string(v)
	if v[0] == '"' {
		text = strings.TrimSpace(gjson.ParseBytes(v).String())
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t.UTC(), tellable(t)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != math.Trunc(f) || f <= 0 || f > lastSecond {
			return time.Time{}, false
		}
		n = int64(f)
	}
	t := time.Unix(n, 0).UTC()
	return t, tellable(t)
}

// platformOf is the platform as the border spells it.
func platformOf(p social.Platform) (string, error) {
	s := strings.ToUpper(string(p))
	if s == "" {
		return "", errors.New("no platform")
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return "", fmt.Errorf("platform %q", p)
		}
	}
	return s, nil
}

// isUUID reports whether s is a random or derived UUID in canonical form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		case 14:
			if c != '4' && c != '5' {
				return false
			}
		case 19:
			if c != '8' && c != '9' && c != 'a' && c != 'b' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// maxDepth is far above what any provider nests and far below the 10,000 at
// which Go's decoder, which is that of a consumer, gives up.
const maxDepth = 1000

// tame looks through a finished body, valid JSON but for its encoding, for
// what consumers' decoders refuse: invalid UTF-8 is replaced, a number beyond
// float64 becomes null. It returns body itself unless it had to change it.
func tame(body []byte) ([]byte, error) {
	if !utf8.Valid(body) {
		body = bytes.ToValidUTF8(body, []byte("\ufffd"))
	}
	var out []byte
	kept, depth := 0, 0
	for i := 0; i < len(body); {
		c := body[i]
		switch {
		case c == '"':
			i = stringEnd(body, i)
			continue
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return nil, errors.New("nested too deep")
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			end, plain := numberEnd(body, i)
			if !plain || end-i > 300 {
				if _, err := strconv.ParseFloat(string(body[i:end]), 64); err != nil {
					out = append(out, body[kept:i]...)
					out = append(out, "null"...)
					kept = end
				}
			}
			i = end
			continue
		}
		i++
	}
	if kept == 0 {
		return body, nil
	}
	return append(out, body[kept:]...), nil
}

// stringEnd is the index after the string that begins at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			break
		}
		i += n
		escapes := 0
		for b[i-1-escapes] == '\\' {
			escapes++
		}
		i++
		if escapes%2 == 0 {
			return i
		}
	}
	return len(b)
}

// numberEnd is the index after the number that begins at i; plain means
// without exponent.
func numberEnd(b []byte, i int) (end int, plain bool) {
	plain = true
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == 'e' || c == 'E':
			plain = false
		case c != '-' && c != '+' && c != '.' && (c < '0' || c > '9'):
			return i, plain
		}
	}
	return i, plain
}
