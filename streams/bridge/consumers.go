package bridge

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
)

// Consumers says how DeclareConsumers declares.
type Consumers struct {
	// MaxLength bounds every queue (x-max-length, the oldest go first), for a
	// demo or a benchmark in which nobody reads. A real consumer's queue has
	// no arguments, and declaring it with some fails.
	MaxLength int
}

// DeclareConsumers stands in for the systems behind RabbitMQ: it declares the
// exchanges, identity.dx too, and for every row of Keys the queue of its known
// consumer, bound to the key that beat publishes. For tests, the demo and the
// benchmark; on a real broker the queues belong to their owners.
func DeclareConsumers(ctx context.Context, url string, opts Consumers) error {
	nodes, err := broker.Parse(url, "")
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	conn, _, err := nodes.Dial(ctx, broker.Dialing{})
	if err != nil {
		return fmt.Errorf("bridge: connect: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is pending
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("bridge: open channel: %w", err)
	}
	for _, exchange := range exchanges {
		if err := ch.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, false, false, false, nil); err != nil {
			return fmt.Errorf("bridge: declare exchange %s: %w", exchange, err)
		}
	}
	var args amqp.Table
	if opts.MaxLength > 0 {
		args = amqp.Table{"x-max-length": int64(opts.MaxLength)}
	}
	for _, k := range Keys {
		if k.Queue == "" {
			continue
		}
		if _, err := ch.QueueDeclare(k.Queue, true, false, false, false, args); err != nil {
			return fmt.Errorf("bridge: declare queue %s: %w", k.Queue, err)
		}
		if err := ch.QueueBind(k.Queue, k.Key, k.Exchange, false, nil); err != nil {
			return fmt.Errorf("bridge: bind queue %s: %w", k.Queue, err)
		}
	}
	return nil
}
