package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// replies receives the server's acknowledgements of one connection: a single
// subscription for all that is in flight. The client's own request machinery
// would make a channel and a timer for each message.
type replies struct {
	nc     *nats.Conn
	prefix string // "_INBOX.xyz."; a reply subject is prefix + round "." index

	mu     sync.Mutex
	sub    *nats.Subscription
	next   uint64
	rounds map[uint64]*round
}

// round is a number of messages sent together and the answers to them.
type round struct {
	id    uint64
	errs  []error // errNoAnswer until there is one
	ack   []byte  // of the last answer
	left  int
	timer *time.Timer
	done  func(*round) // called once, when all is answered or the time is over
}

func newReplies(nc *nats.Conn) *replies {
	return &replies{nc: nc, prefix: nc.NewInbox() + ".", rounds: map[uint64]*round{}}
}

// begin opens a round of n answers. done must not block.
func (r *replies) begin(n int, timeout time.Duration, done func(*round)) (*round, error) {
	x := &round{errs: repeat(errNoAnswer, n), left: n, done: done}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sub == nil {
		sub, err := r.nc.Subscribe(r.prefix+"*.*", r.take)
		if err != nil {
			return nil, err
		}
		_ = sub.SetPendingLimits(-1, -1) // bounded by what is in flight
		r.sub = sub
	}
	r.next++
	x.id = r.next
	r.rounds[x.id] = x
	x.timer = time.AfterFunc(timeout, func() { r.expire(x) })
	return x, nil
}

func (r *replies) subject(x *round, i int) string {
	b := make([]byte, 0, len(r.prefix)+24)
	b = append(b, r.prefix...)
	b = strconv.AppendUint(b, x.id, 36)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(i), 36)
	return string(b)
}

func (r *replies) take(m *nats.Msg) {
	id, index, ok := strings.Cut(m.Subject[len(r.prefix):], ".")
	if !ok {
		return
	}
	n, err1 := strconv.ParseUint(id, 36, 64)
	i, err2 := strconv.ParseUint(index, 36, 32)
	if err1 != nil || err2 != nil {
		return
	}
	r.settle(n, int(i), m.Data, ackError(m))
}

// settle notes the answer to one message of a round.
func (r *replies) settle(id uint64, i int, ack []byte, err error) {
	r.mu.Lock()
	x := r.rounds[id]
	if x == nil || i >= len(x.errs) {
		r.mu.Unlock()
		return // too late; its round was given up
	}
	x.errs[i], x.ack = err, ack
	x.left--
	if x.left > 0 {
		r.mu.Unlock()
		return
	}
	delete(r.rounds, id)
	r.mu.Unlock()
	x.timer.Stop()
	x.done(x)
}

// expire ends a round whose answers did not all come.
func (r *replies) expire(x *round) {
	r.mu.Lock()
	mine := r.rounds[x.id] == x
	delete(r.rounds, x.id)
	r.mu.Unlock()
	if mine {
		x.done(x)
	}
}

func (r *replies) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sub != nil {
		_ = r.sub.Unsubscribe()
		r.sub = nil
	}
}

// ackError is nil when the server says that the message is stored, now or by an
// earlier copy.
func ackError(m *nats.Msg) error {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" {
			return fmt.Errorf("%w: no stream listens", ErrUnavailable)
		}
		return fmt.Errorf("%w: empty answer", ErrUnavailable)
	}
	if bytes.HasPrefix(m.Data, []byte(`{"stream":`)) && !bytes.Contains(m.Data, []byte(`"error":`)) {
		return nil
	}
	var ack struct {
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return fmt.Errorf("%w: unreadable answer: %w", ErrUnavailable, err)
	}
	if ack.Error == nil {
		if ack.Stream == "" {
			return fmt.Errorf("%w: answer names no stream", ErrUnavailable)
		}
		return nil
	}
	return &refusal{api: ack.Error, kind: kindOf(ack.Error)}
}

// refusal is the server's answer that it did not store a message or a batch.
type refusal struct {
	api  *jetstream.APIError
	kind error // ErrFull, ErrUnavailable, ErrTooLarge or nil
}

func (r *refusal) Error() string {
	if r.kind == nil {
		return r.api.Error()
	}
	return r.kind.Error() + ": " + r.api.Error()
}

func (r *refusal) Unwrap() []error {
	if r.kind == nil {
		return []error{r.api}
	}
	return []error{r.kind, r.api}
}

func kindOf(e *jetstream.APIError) error {
	switch e.ErrorCode {
	case 10077, // store failed: at MaxMsgs or MaxBytes, or the disk failed
		10002, 10023, 10028, 10047: // resource limits of account and server
		return ErrFull
	case 10054: // message size exceeds the stream's maximum
		return ErrTooLarge
	case 10158, // a copy with this id is being stored right now; the next try is told "duplicate"
		10167: // too many requests
		return ErrUnavailable
	}
	if e.Code == 503 {
		return ErrUnavailable
	}
	return nil
}
