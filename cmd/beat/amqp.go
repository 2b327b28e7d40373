package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/bridge"
	"beat/streams/broker"
	"beat/streams/bus"
	"beat/streams/listen"
	"beat/streams/schedule"
)

// rmqFlags is how to reach RabbitMQ and what may be made there.
type rmqFlags struct {
	RMQURL       string `help:"RabbitMQ, amqp:// or amqps://; nodes of one cluster separated by commas. Without it the bridge and the listeners do not run, and events wait in the stream." env:"RMQ_URL" name:"rmq-url" placeholder:"URL"`
	RMQCA        string `help:"PEM file with the authorities that amqps:// is trusted by; default the system's." env:"RMQ_CA" name:"rmq-ca" placeholder:"FILE"`
	RMQDeclare   bool   `help:"Declare the exchanges beat.dx and coffee.dx and beat's own queues, and bind them. Some brokers forbid it." env:"BEAT_RMQ_DECLARE" name:"rmq-declare" default:"true" negatable:""`
	RMQQueueType string `help:"Type of beat's own queues where they are missing: classic is whatever the broker makes of a plain declaration. Peers that declare them plain are refused where they are quorum queues." env:"BEAT_RMQ_QUEUE_TYPE" name:"rmq-queue-type" default:"classic" enum:"classic,quorum"`
}

func (f rmqFlags) queueType() broker.QueueType {
	if f.RMQQueueType == string(broker.Quorum) {
		return broker.Quorum
	}
	return broker.Plain
}

type amqpCmd struct {
	Check amqpCheckCmd `cmd:"" help:"List the exchanges, queues and bindings that beat and its peers need, and what is missing."`
	Bind  amqpBindCmd  `cmd:"" help:"Make what is missing and may be made: beat's exchanges and queues, and the bindings of the peers' queues."`
}

// bindings are all that messages need, each once: those that peers read and
// those that beat does.
func bindings() []broker.Binding {
	out := listen.Bindings()
	for _, k := range bridge.Keys {
		b := broker.Binding{Exchange: k.Exchange, Key: k.Key, Queue: k.Queue, Required: k.Required}
		if k.Queue != "" && !slices.ContainsFunc(out, func(o broker.Binding) bool { return o.Queue == b.Queue && o.Key == b.Key }) {
			out = append(out, b)
		}
	}
	return out
}

type amqpFlags struct {
	rmqFlags
	Management string `help:"RabbitMQ's management API, http://user:password@host:15672. AMQP itself does not tell which bindings there are." env:"RMQ_MANAGEMENT_URL" name:"management-url" placeholder:"URL"`
}

// inspect looks at the broker. close ends the connection.
func (f amqpFlags) inspect(ctx context.Context) (conn *amqp.Connection, r broker.Report, close func(), err error) {
	if f.RMQURL == "" {
		return nil, r, nil, usageError{fmt.Errorf("no RabbitMQ: set RMQ_URL or --rmq-url")}
	}
	nodes, err := broker.Parse(f.RMQURL, f.RMQCA)
	if err != nil {
		return nil, r, nil, usageError{err}
	}
	var m *broker.Management
	if f.Management != "" {
		if m, err = nodes.Management(f.Management); err != nil {
			return nil, r, nil, usageError{err}
		}
	}
	conn, at, err := nodes.Dial(ctx, broker.Dialing{Name: "beat-amqp"})
	if err != nil {
		return nil, r, nil, err
	}
	r, err = broker.Inspect(ctx, conn, bindings(), m)
	r.Broker = at
	if err != nil {
		conn.Close() //nolint:errcheck // nothing is pending
		return nil, r, nil, err
	}
	return conn, r, func() { conn.Close() }, nil //nolint:errcheck // likewise
}

type amqpCheckCmd struct{ amqpFlags }

func (c *amqpCheckCmd) Run(ctx context.Context, g *globals) error {
	_, r, end, err := c.inspect(ctx)
	if err != nil {
		return err
	}
	defer end()
	missing := 0
	for _, b := range r.Bindings {
		if b.Required && b.State == broker.Missing {
			missing++
		}
	}
	if g.JSON {
		err = show(g.stdout, r)
	} else {
		showReport(g, r)
	}
	if err == nil && missing > 0 {
		err = fmt.Errorf("%d of %d bindings are missing that somebody needs: beat amqp bind makes what may be made", missing, len(r.Bindings))
	}
	return err
}

func showReport(g *globals, r broker.Report) {
	yes := func(ok bool) string {
		if ok {
			return "yes"
		}
		return "MISSING"
	}
	var exchanges, queues, rows [][]any
	for _, e := range r.Exchanges {
		kind := e.Type
		if kind == "" {
			kind = "-"
		}
		exchanges = append(exchanges, []any{e.Name, yes(e.Exists), kind})
	}
	for _, q := range r.Queues {
		owner := "peer"
		if q.Ours {
			owner = "beat"
		}
		if !q.Exists {
			queues = append(queues, []any{q.Name, owner, yes(false), "-", "-"})
			continue
		}
		queues = append(queues, []any{q.Name, owner, yes(true), q.Consumers, q.Messages})
	}
	unknown := false
	for _, b := range r.Bindings {
		need := "optional"
		if b.Required {
			need = "required"
		}
		state := b.State
		if state == broker.Missing {
			state = "MISSING"
		}
		unknown = unknown || state == broker.Unknown
		rows = append(rows, []any{b.Exchange, b.Key, b.Queue, need, state})
	}
	grid(g.stdout, []any{"exchange", "exists", "type"}, exchanges)
	grid(g.stdout, []any{"queue", "read by", "exists", "consumers", "depth"}, queues)
	grid(g.stdout, []any{"exchange", "routing key", "queue", "", "binding"}, rows)
	if unknown {
		fmt.Fprintln(g.stdout, "AMQP does not tell which bindings there are: --management-url asks the broker's API, and beat amqp bind makes sure.")
	}
}

type amqpBindCmd struct {
	amqpFlags
	DryRun bool `help:"Only say what would be done." name:"dry-run"`
}

func (c *amqpBindCmd) Run(ctx context.Context, g *globals) error {
	conn, r, end, err := c.inspect(ctx)
	if err != nil {
		return err
	}
	defer end()
	steps := r.Plan(bindings())
	if !c.DryRun {
		if err := broker.Apply(conn, r, bindings(), c.queueType()); err != nil {
			return err
		}
	}
	if g.JSON {
		return show(g.stdout, struct {
			Broker string        `json:"broker"`
			Done   bool          `json:"done"`
			Steps  []broker.Step `json:"steps"`
		}{r.Broker, !c.DryRun, append([]broker.Step{}, steps...)})
	}
	if len(steps) == 0 {
		fmt.Fprintln(g.stdout, "all is there")
		return nil
	}
	rows := make([][]any, len(steps))
	for i, s := range steps {
		rows[i] = []any{s.Do, s.What, s.Why}
	}
	grid(g.stdout, []any{"", "what", "why"}, rows)
	if c.DryRun {
		fmt.Fprintln(g.stdout, "nothing was changed (--dry-run)")
	}
	return nil
}

// A backSender redrives letters: one of a queue goes back into that queue, all
// others into their streams.
type backSender struct {
	schedule.Sender
	rmq      rmqFlags
	replaced bool // the body was given anew
}

// Send implements schedule.Sender.
func (s backSender) Send(ctx context.Context, outs ...bus.Out) error {
	var rest []bus.Out
	for _, o := range outs {
		queue, ok := listen.QueueOf(o.Subject)
		switch {
		case !ok:
			rest = append(rest, o)
			continue
		case o.Header.Get(listen.HeaderPartial) != "" && !s.replaced:
			return fmt.Errorf("the letter does not hold all of its message (%s): --data gives a whole one", o.Header.Get(listen.HeaderPartial))
		case s.rmq.RMQURL == "":
			return fmt.Errorf("the message goes back into queue %s: set RMQ_URL or --rmq-url", queue)
		}
		nodes, err := broker.Parse(s.rmq.RMQURL, s.rmq.RMQCA)
		if err != nil {
			return err
		}
		if err := nodes.Put(ctx, queue, o.ID, o.Data); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return s.Sender.Send(ctx, rest...)
}

// newBridge is the publisher of the role bridge.
func newBridge(lg *slog.Logger, f rmqFlags) *bridge.Publisher {
	return bridge.New(lg, bridge.Config{URL: f.RMQURL, CA: f.RMQCA, NoDeclare: !f.RMQDeclare})
}
