package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The exchanges of contract/amqp.md 1.1. The first two are declared as coffee
// does; the third is identity's and is only looked for.
const (
	BeatExchange     = "beat.dx"
	CoffeeExchange   = "coffee.dx"
	IdentityExchange = "identity.dx"
)

// Exchanges is all of them, those that may be declared first.
var Exchanges = []string{BeatExchange, CoffeeExchange, IdentityExchange}

// Declares reports whether the exchange may be declared.
func Declares(exchange string) bool { return exchange != IdentityExchange }

// A Binding is a queue and what it is to be given.
type Binding struct {
	Exchange string
	Key      string
	Queue    string
	Ours     bool // the queue is beat's to declare; others belong to the peer that reads them
	Required bool // without it messages that somebody needs are lost, or kept back
}

// QueueType is what a queue of beat is declared as where it is missing. One that
// exists is used as it is, of whatever type: declaring it otherwise is an error
// for whoever comes second, and stir declares two of them as plain.
type QueueType string

// The types.
const (
	Plain  QueueType = "" // no arguments, as the contract has it; the broker's default type
	Quorum QueueType = "quorum"
)

// arguments of a queue that is missing. A broker of version 4 drops a message of
// a quorum queue that comes back 20 times, which an outage of Postgres takes; -1
// is without end, and older ones, which have no end, know no -1.
func (t QueueType) arguments(conn *amqp.Connection) amqp.Table {
	if t == Plain {
		return nil
	}
	args := amqp.Table{"x-queue-type": string(t)}
	if v, _ := conn.Properties["version"].(string); v != "" && !olderThan4(v) {
		args["x-delivery-limit"] = int32(-1)
	}
	return args
}

func olderThan4(version string) bool {
	return version[0] < '4' && (len(version) == 1 || version[1] == '.')
}

// within runs f on a channel of its own: a passive declaration that finds
// nothing costs the channel.
func within(conn *amqp.Connection, f func(*amqp.Channel) error) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	err = f(ch)
	if !ch.IsClosed() {
		ch.Close() //nolint:errcheck // nothing is pending
	}
	return err
}

// missing: the broker says that there is no such thing.
func missing(err error) bool {
	var e *amqp.Error
	return errors.As(err, &e) && e.Code == amqp.NotFound
}

// exists looks for an exchange.
func exists(conn *amqp.Connection, exchange string) (bool, error) {
	err := within(conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(exchange, amqp.ExchangeDirect, true, false, false, false, nil)
	})
	if missing(err) {
		return false, nil
	}
	return err == nil, err
}

// DeclareExchange declares one as coffee does: direct, durable, no arguments.
func DeclareExchange(conn *amqp.Connection, exchange string) error {
	return within(conn, func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil)
	})
}

// look finds a queue, without declaring it.
func look(conn *amqp.Connection, queue string) (q amqp.Queue, ok bool, err error) {
	err = within(conn, func(ch *amqp.Channel) error {
		q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err
	})
	if missing(err) {
		return q, false, nil
	}
	return q, err == nil, err
}

// Ensure makes b true for a queue of beat: it declares the exchange if it may,
// the queue if it is missing, and binds it. bound is false when the exchange is
// somebody else's and not there.
func Ensure(conn *amqp.Connection, b Binding, t QueueType) (bound bool, err error) {
	if Declares(b.Exchange) {
		if err := DeclareExchange(conn, b.Exchange); err != nil {
			return false, fmt.Errorf("declare exchange %s: %w", b.Exchange, err)
		}
	}
	_, ok, err := look(conn, b.Queue)
	if err != nil {
		return false, fmt.Errorf("look for queue %s: %w", b.Queue, err)
	}
	if !ok {
		err := within(conn, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(b.Queue, true, false, false, false, t.arguments(conn))
			return err
		})
		if err != nil {
			return false, fmt.Errorf("declare queue %s: %w", b.Queue, err)
		}
	}
	if there, err := exists(conn, b.Exchange); err != nil || !there {
		return false, err
	}
	return true, bind(conn, b)
}

func bind(conn *amqp.Connection, b Binding) error {
	err := within(conn, func(ch *amqp.Channel) error { return ch.QueueBind(b.Queue, b.Key, b.Exchange, false, nil) })
	if err != nil {
		return fmt.Errorf("bind queue %s to %s/%s: %w", b.Queue, b.Exchange, b.Key, err)
	}
	return nil
}

// States of a binding. AMQP has no question that tells whether a binding is
// there; the management API does.
const (
	Bound   = "bound"
	Missing = "missing"
	Unknown = "unknown"
)

// A Report is what a broker has of what is needed.
type Report struct {
	Broker    string          `json:"broker"` // where it was asked
	Exchanges []ExchangeState `json:"exchanges"`
	Queues    []QueueState    `json:"queues"`
	Bindings  []BindingState  `json:"bindings"`
}

// An ExchangeState is one exchange.
type ExchangeState struct {
	Name   string `json:"name"`
	Exists bool   `json:"exists"`
	Type   string `json:"type,omitempty"` // as far as it is known
}

// A QueueState is one queue.
type QueueState struct {
	Name      string `json:"name"`
	Ours      bool   `json:"ours"`
	Exists    bool   `json:"exists"`
	Messages  int    `json:"messages"` // that are ready
	Consumers int    `json:"consumers"`
}

// A BindingState is one binding.
type BindingState struct {
	Exchange string `json:"exchange"`
	Key      string `json:"key"`
	Queue    string `json:"queue"`
	Required bool   `json:"required"`
	State    string `json:"state"`
}

// Inspect looks at what bindings need, changing nothing. m may be nil: then no
// binding is known to be there.
func Inspect(ctx context.Context, conn *amqp.Connection, bindings []Binding, m *Management) (Report, error) {
	var known Known
	var r Report
	if m != nil {
		var err error
		if known, err = m.Known(ctx); err != nil {
			return r, err
		}
	}
	there := map[string]bool{}
	for _, name := range Exchanges {
		ok, err := exists(conn, name)
		if err != nil {
			return r, fmt.Errorf("look for exchange %s: %w", name, err)
		}
		there[name] = ok
		r.Exchanges = append(r.Exchanges, ExchangeState{Name: name, Exists: ok, Type: known.Types[name]})
	}
	for _, b := range bindings {
		if !slices.ContainsFunc(r.Queues, func(q QueueState) bool { return q.Name == b.Queue }) {
			q, ok, err := look(conn, b.Queue)
			if err != nil {
				return r, fmt.Errorf("look for queue %s: %w", b.Queue, err)
			}
			there["queue "+b.Queue] = ok
			r.Queues = append(r.Queues, QueueState{b.Queue, b.Ours, ok, q.Messages, q.Consumers})
		}
		s := BindingState{b.Exchange, b.Key, b.Queue, b.Required, Unknown}
		switch {
		case !there[b.Exchange] || !there["queue "+b.Queue]:
			s.State = Missing
		case m != nil && known.routes(b):
			s.State = Bound
		case m != nil:
			s.State = Missing
		}
		r.Bindings = append(r.Bindings, s)
	}
	return r, nil
}

// A Step is one change that Bind makes, or would.
type Step struct {
	Do   string `json:"do"` // declare or bind, or leave: it is not ours to make
	What string `json:"what"`
	Why  string `json:"why,omitempty"` // it is left
}

// Plan is what to do about a report. Binding again what is bound changes
// nothing, so what is unknown is bound. Queues and exchanges of others are never
// made, and what lacks one is left.
func (r Report) Plan(bindings []Binding) []Step {
	var out []Step
	there := map[string]bool{}
	for _, e := range r.Exchanges {
		there[e.Name] = e.Exists
		if !e.Exists && Declares(e.Name) {
			out = append(out, Step{Do: "declare", What: "exchange " + e.Name})
			there[e.Name] = true
		}
	}
	for _, q := range r.Queues {
		there["queue "+q.Name] = q.Exists
		if !q.Exists && q.Ours {
			out = append(out, Step{Do: "declare", What: "queue " + q.Name})
			there["queue "+q.Name] = true
		}
	}
	for i, b := range bindings {
		s := Step{Do: "bind", What: fmt.Sprintf("%s to %s/%s", b.Queue, b.Exchange, b.Key)}
		switch {
		case r.Bindings[i].State == Bound:
			continue
		case !there[b.Exchange]:
			s.Do, s.Why = "leave", "there is no exchange "+b.Exchange+", and its owner has to declare it"
		case !there["queue "+b.Queue]:
			s.Do, s.Why = "leave", "there is no such queue, and its reader has to declare it"
		}
		out = append(out, s)
	}
	return out
}

// Apply does what Plan says. It may be called again after an error.
func Apply(conn *amqp.Connection, r Report, bindings []Binding, t QueueType) error {
	there := map[string]bool{}
	for _, e := range r.Exchanges {
		there[e.Name] = e.Exists || Declares(e.Name)
		if !e.Exists && Declares(e.Name) {
			if err := DeclareExchange(conn, e.Name); err != nil {
				return fmt.Errorf("declare exchange %s: %w", e.Name, err)
			}
		}
	}
	for _, q := range r.Queues {
		there["queue "+q.Name] = q.Exists
	}
	for i, b := range bindings {
		switch {
		case r.Bindings[i].State == Bound:
		case b.Ours:
			if _, err := Ensure(conn, b, t); err != nil {
				return err
			}
		case there[b.Exchange] && there["queue "+b.Queue]:
			if err := bind(conn, b); err != nil {
				return err
			}
		}
	}
	return nil
}
