package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Headers that cross the stream.
const (
	// HeaderMsgID is the message id by which a stream drops second copies.
	HeaderMsgID = nats.MsgIdHdr
	// HeaderID carries the id where HeaderMsgID cannot: a scheduled message
	// loses that one when it is delivered to its target.
	HeaderID = "Beat-Id"

	reserved = "Nats-" // the server's own headers; never copied from message to message
)

// Out is a message to be published.
type Out struct {
	Subject string
	// ID names the message after its cause, so that publishing it twice stores
	// it once. Empty: every publish is a new message.
	ID string
	// Header is copied, except the server's own "Nats-…" headers, so what came
	// with a received message may be passed on as it is.
	Header nats.Header
	// Data belongs to the publisher until Send has returned nil.
	Data []byte
	// At, when it lies ahead, stores the message now and delivers it to Subject
	// then, headers included. Only subjects of TASKS.
	At time.Time
}

// msg is what goes to the server.
func (o Out) msg(now time.Time) (*nats.Msg, error) {
	h := make(nats.Header, len(o.Header)+5) // room for an id and the batch's three
	for k, v := range o.Header {
		if !strings.HasPrefix(k, reserved) {
			h[k] = v
		}
	}
	m := &nats.Msg{Subject: o.Subject, Header: h, Data: o.Data}
	pack(m)
	if o.ID != "" {
		h[HeaderMsgID] = []string{o.ID}
	}
	if o.At.After(now) {
		if streamOf(o.Subject) != Tasks {
			return nil, fmt.Errorf("bus: schedule %s: only subjects of %s can be scheduled", o.Subject, Tasks)
		}
		m.Subject = laterPrefix + laterToken(o.ID)
		h[jetstream.ScheduleHeader] = []string{"@at " + o.At.UTC().Format(time.RFC3339Nano)}
		h[jetstream.ScheduleTargetHeader] = []string{o.Subject}
		if o.ID != "" {
			h[HeaderID] = []string{o.ID}
		}
	}
	return m, nil
}

// LaterSubjects are where scheduled messages wait for their time.
const LaterSubjects = laterPrefix + ">"

// ScheduledAt is when a waiting message will be delivered; zero for one that is
// not scheduled.
func ScheduledAt(h nats.Header) time.Time {
	at, _ := time.Parse("@at "+time.RFC3339Nano, h.Get(jetstream.ScheduleHeader)) //nolint:errcheck // zero then
	return at
}

// laterToken is the message's own place under beat.later: a second schedule on
// the same subject replaces the first, which is right for the same id only.
func laterToken(id string) string {
	if id == "" {
		return nuid.Next()
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16])
}

// fromWatermill turns a Watermill message into one for the server. The UUID is
// the message id, unless the metadata names one (or an empty one, for none);
// then the UUID travels beside it.
func fromWatermill(topic string, w *message.Message) *nats.Msg {
	h := make(nats.Header, len(w.Metadata)+5)
	vals := make([]string, 0, len(w.Metadata)+1)
	set := func(k, v string) {
		vals = append(vals, v)
		h[k] = vals[len(vals)-1 : len(vals) : len(vals)]
	}
	for k, v := range w.Metadata {
		if !strings.HasPrefix(k, reserved) {
			set(k, v)
		}
	}
	id, given := w.Metadata[HeaderMsgID]
	if !given {
		id = w.UUID
	}
	if id != "" {
		h[HeaderMsgID] = []string{id}
	}
	if id != w.UUID {
		h[HeaderID] = []string{w.UUID}
	}
	m := &nats.Msg{Subject: topic, Header: h, Data: w.Payload}
	pack(m)
	return m
}

// Errors of Send and Publish. All of them may be tried again with the same ids.
var (
	ErrFull        = errors.New("stream full")        // refused: at its limit. Wait for its consumers
	ErrUnavailable = errors.New("stream unavailable") // no answer: it may or may not be stored
	ErrTooLarge    = errors.New("message too large")  // will never fit
	ErrClosed      = errors.New("closed")             // Publisher or Subscriber was closed
)
