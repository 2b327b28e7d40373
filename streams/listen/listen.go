// Package listen takes in what peers tell over RabbitMQ: five queues, rows of
// contract/amqp.md 1.3, as Watermill subscriptions.
//
// # What is stored
//
// Nothing here. A message stays in its queue, unacknowledged, until what it led
// to is stored: a task row, a credential, or a dead letter. So a crash at any
// point brings it again, and handlers are such that the second time changes
// nothing.
//
// # States of a message
//
//	in the queue ──▶ in hand ──▶ acked      its effect is stored, or it needs none
//	     ▲              │  └───▶ acked      its dead letter is stored in DEAD
//	     └──────────────┘                   the channel or the process ended
//
// The error of its handler decides (see decide):
//
//	nil, Ignore   acked
//	Poison        dead letter, then acked: it can never succeed
//	a panic       likewise
//	Outage        tried again after 1, 2, 5, 10, 30 s, for ever: nobody can
//	              succeed now
//	others        the same, 20 times, then a dead letter
//
// A message that waits is held, not given back: RabbitMQ puts what is given back
// at the head of its queue and delivers it at once, which is a hot loop, and a
// quorum queue drops what comes back too often. Only after ten minutes is it
// given back, since the broker gives up a consumer that holds one for thirty.
//
// # What happens when
//
//   - the broker is away, restarted, or another node takes over: Run connects
//     again, back-off 0.1 to 5 s, and all queues are read again.
//   - a queue is deleted: it is declared and bound again within 5 s, or, where
//     that is switched off, read as soon as somebody has made it.
//   - identity.dx does not exist: its queue is read unbound, and bound once the
//     exchange is there, looked for every minute.
//   - the broker blocks its publishers for lack of memory or disk: this
//     connection publishes nothing, so deliveries and acks go on.
//   - Postgres or NATS is down: an Outage.
//   - the same message twice, or one while its twin is in hand: both are handled.
//     That is the handlers' business.
//   - ctx ends: no more is taken, what is in hand is finished within
//     Config.Stop, and the rest goes back to the queue.
package listen

import (
	"time"

	"beat/streams/broker"
)

// A Queue is one that beat reads.
type Queue struct {
	Name      string
	Exchange  string
	Key       string
	Consumers int  // of this process, each with one message in hand
	Prefetch  int  // read-ahead of each
	Secret    bool // its messages hold tokens: no letter has them
}

// The queues by name.
const (
	ValidateQueue        = "credentials_validate_q"
	TokenQueue           = "identity_token_q"
	KeywordQueue         = "keyword_collection_q"
	SentimentQueue       = "sentiment_analysis_q"
	SentimentReportQueue = "sentiment_collection_report_in_q"
)

// Queues is all that beat reads, in the order of the contract.
var Queues = []Queue{
	{ValidateQueue, broker.BeatExchange, "credentials_validate", 5, 10, true},
	{TokenQueue, broker.IdentityExchange, "new_access_token_rk", 5, 10, true},
	{KeywordQueue, broker.BeatExchange, "keyword_collection_rk", 5, 1, false},
	{SentimentQueue, broker.BeatExchange, "post_activity_log_bulk", 5, 1, false},
	{SentimentReportQueue, broker.BeatExchange, "sentiment_collection_report_in_rk", 5, 1, false},
}

func (q Queue) binding() broker.Binding {
	return broker.Binding{Exchange: q.Exchange, Key: q.Key, Queue: q.Name, Ours: true, Required: true}
}

// Bindings is what Queues need of the broker.
func Bindings() []broker.Binding {
	var out []broker.Binding
	for _, q := range Queues {
		out = append(out, q.binding())
	}
	return out
}

func queue(name string) (Queue, bool) {
	for _, q := range Queues {
		if q.Name == name {
			return q, true
		}
	}
	return Queue{}, false
}

// Config says how to reach RabbitMQ and how patient to be. A zero field means
// its default.
type Config struct {
	URL       string           // amqp:// or amqps://, required; nodes of one cluster separated by commas
	CA        string           // PEM file of the authorities that amqps is trusted by; default the system's
	NoDeclare bool             // neither declare nor bind: some brokers forbid it
	QueueType broker.QueueType // of queues that are missing; default plain

	MaxBody int             // bytes of a message, a larger one is poison; default 4 MiB
	Backoff []time.Duration // between tries, the last repeating; default 1s, 2s, 5s, 10s, 30s
	Tries   int             // after which an error that is no Outage makes a dead letter; default 20
	Hold    time.Duration   // how long a message waits in hand at most; default 10m
	Recheck time.Duration   // how often a missing exchange is looked for, and a complaint repeated; default 1m
	Stop    time.Duration   // how long what is in hand may take at the end; default 30s

	RetryMin time.Duration // first wait before connecting again; default 0.1s
	RetryMax time.Duration // longest one; default 5s
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxBody, 4<<20)
	orDefault(&c.Tries, 20)
	orDefault(&c.Hold, 10*time.Minute)
	orDefault(&c.Recheck, time.Minute)
	orDefault(&c.Stop, 30*time.Second)
	orDefault(&c.RetryMin, 100*time.Millisecond)
	orDefault(&c.RetryMax, 5*time.Second)
	if len(c.Backoff) == 0 {
		c.Backoff = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second}
	}
	return c
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
