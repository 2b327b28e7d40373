package listen

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"beat/streams/bus"
)

// Headers of a dead letter of this package, beside those of all.
const (
	HeaderQueue     = "Beat-Amqp-Queue"
	HeaderMessageID = "Beat-Amqp-Message-Id"
	HeaderBytes     = "Beat-Amqp-Bytes"   // length of the message
	HeaderSum       = "Beat-Amqp-Sha256"  // of the message; not of one with secrets
	HeaderPartial   = "Beat-Amqp-Partial" // "masked" or "cut": the letter does not hold all of it
)

// Subject is the subject of a letter of a queue, by which it can be put back:
// no stream has it.
const Subject = "amqp."

// QueueOf is the queue that a letter with this subject comes from.
func QueueOf(subject string) (name string, ok bool) {
	name, ok = strings.CutPrefix(subject, Subject)
	if _, known := queue(name); !ok || !known {
		return "", false
	}
	return name, true
}

// cutAt is how much a letter holds of a message that is too large.
const cutAt = 64 << 10

// letter is the dead letter of a message. Its id is derived from the message, so
// that a crash between it and the ack stores it once.
func letter(q Queue, d Delivery, p *poison, most int) bus.Out {
	sum := sha256.Sum256(append([]byte(q.Name+"\x00"+d.MessageID+"\x00"), d.Body...))
	h := nats.Header{HeaderQueue: {q.Name}, HeaderBytes: {strconv.Itoa(len(d.Body))}}
	if id := d.MessageID; id != "" && len(id) <= 255 && !strings.ContainsAny(id, "\r\n") && !q.Secret {
		h[HeaderMessageID] = []string{id}
	}
	body := d.Body
	switch {
	case q.Secret:
		body = masked(body)
		h[HeaderPartial] = []string{"masked"}
	case len(body) > most:
		body = body[:min(len(body), cutAt)]
		h[HeaderPartial] = []string{"cut"}
	}
	if !q.Secret {
		whole := sha256.Sum256(d.Body)
		h[HeaderSum] = []string{hex.EncodeToString(whole[:])}
	}
	m := &bus.Msg{
		Subject: Subject + q.Name, Header: h, Data: body, Stream: "RABBITMQ",
		Seq: binary.BigEndian.Uint64(sum[:8]), Delivered: d.Try, Time: time.Now(),
	}
	o := bus.Letter(m, "listen-"+q.Name, p.cause, p.err)
	if len(p.stack) > 0 {
		stack := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", "").Replace(string(p.stack))
		o.Header[bus.HeaderDeadStack] = []string{stack[:min(len(stack), 16<<10)]}
	}
	return o
}

// plain are the members of messages with secrets that are none.
var plain = map[string]bool{
	"id": true, "credential_id": true, "source": true, "handle": true, "platform": true, "accesstokenexpired": true,
	"access_token_expired": true, "type": true,
}

// maxPlain is longer than any handle, and shorter than any token.
const maxPlain = 40

// masked is a message with secrets, as far as it may be kept: its names, with
// values only of what is known to be none. What is not JSON is not kept.
func masked(body []byte) []byte {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return []byte("null")
	}
	out, err := json.Marshal(mask("", v))
	if err != nil {
		return []byte("null")
	}
	return out
}

func mask(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			shown := k
			if len(k) > maxPlain/2 {
				shown = "***"
			}
			out[shown] = mask(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = mask(name, e)
		}
		return out
	case string:
		if v == "" || plain[strings.ToLower(name)] && len(v) <= maxPlain {
			return v
		}
	case bool, nil:
		return v
	case float64:
		if plain[strings.ToLower(name)] {
			return v
		}
	}
	return "***"
}
