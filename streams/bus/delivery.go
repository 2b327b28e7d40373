package bus

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// Msg is a message as a handler sees it. It must not be changed.
type Msg struct {
	Subject   string
	Header    nats.Header // may be nil; Get works on nil
	Data      []byte
	Stream    string
	Seq       uint64    // in the stream; with Stream, the message's identity
	Delivered int       // 1 the first time
	Time      time.Time // when the stream stored it
}

// ID is the id the message was published under, or "".
func (m *Msg) ID() string {
	if id := m.Header.Get(HeaderID); id != "" {
		return id
	}
	return m.Header.Get(HeaderMsgID)
}

// Info returns what stands behind a Watermill message of a Subscriber, without
// copying. It is false for any other message.
func Info(w *message.Message) (*Msg, bool) {
	d, _ := w.Context().Value(deliveryKey{}).(*delivery)
	if d == nil {
		return nil, false
	}
	return &d.Msg, true
}

// deed is what the server is told once a message is settled.
type deed int

const (
	byWatermill deed = iota // ack or delayed nak, whichever the message got
	giveBack                // nak without delay: someone else takes it
	postpone                // nak with delivery.delay
	terminate               // its dead letter is stored
)

// delivery is one message held by this process.
type delivery struct {
	Msg
	reply string
	w     *message.Message

	// Written before the Watermill message is settled, read after.
	deed  deed
	delay time.Duration

	requeue atomic.Bool // settled by us while stopping: give back, whatever else says
}

type deliveryKey struct{}

// deliveryContext is the context of a Watermill message: cancelled when it is
// settled, and the way from it back to the delivery.
type deliveryContext struct {
	context.Context
	d *delivery
}

func (c deliveryContext) Value(key any) any {
	if key == (deliveryKey{}) {
		return c.d
	}
	return c.Context.Value(key)
}

// newDelivery reads a message's acknowledgement subject, in which the server
// tells everything about it. False: not a JetStream message.
func newDelivery(m *nats.Msg) (*delivery, bool) {
	// $JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>
	// $JS.ACK.<domain>.<account>.<stream>.… and perhaps more at the end
	const prefix = "$JS.ACK."
	if !strings.HasPrefix(m.Reply, prefix) {
		return nil, false
	}
	var tok [9]string
	n := 0
	for rest, more := m.Reply[len(prefix):], true; more && n < len(tok); n++ {
		tok[n], rest, more = strings.Cut(rest, ".")
	}
	f := tok[:]
	if n == len(tok) {
		f = tok[2:]
	} else if n != 7 {
		return nil, false
	}
	delivered, err1 := strconv.Atoi(f[2])
	seq, err2 := strconv.ParseUint(f[3], 10, 64)
	at, err3 := strconv.ParseInt(f[5], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, false
	}
	// A body that cannot be read is the handler's to refuse: it stays as it is,
	// and so it gets into its dead letter.
	if plain, err := Unpack(m.Header, m.Data); err == nil {
		m.Data = plain
		delete(m.Header, HeaderEncoding)
	}
	return &delivery{
		Msg: Msg{
			Subject:   m.Subject,
			Header:    m.Header,
			Data:      m.Data,
			Stream:    f[0],
			Seq:       seq,
			Delivered: delivered,
			Time:      time.Unix(0, at),
		},
		reply: m.Reply,
	}, true
}

// toWatermill makes the Watermill message: UUID from the id, metadata from the
// headers that are not the server's, payload as it is.
func (d *delivery) toWatermill(ctx context.Context) {
	w := message.NewMessage(d.ID(), d.Data)
	for k, v := range d.Header {
		if k != HeaderID && len(v) > 0 && !strings.HasPrefix(k, reserved) {
			w.Metadata[k] = v[0]
		}
	}
	w.SetContext(deliveryContext{ctx, d})
	d.w = w
}
