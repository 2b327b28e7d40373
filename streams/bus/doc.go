// Package bus moves messages between the stages of beat: JetStream underneath,
// Watermill's interfaces on top.
//
// # What is stored
//
// Five streams, rows of the table in streams.go, all in files:
//
//	TASKS   beat.task.<platform>.<flow>, beat.later.<token>   until acked, trimmed every second
//	RAW     beat.raw.<platform>.<source>.<fetch>              7 days
//	PARSED  beat.parsed.<platform>.<fetch>                    likewise; refuses when full
//	EVENTS  beat.event.<shard>.<platform>.<kind>              30 days
//	DEAD    beat.dead.<route>                                 30 days
//
// A message is a subject, headers and bytes. Bodies from 1 KB on are stored as
// S2 and marked by the header Beat-Encoding, which no handler sees. The header Nats-Msg-Id is derived
// from the message's cause, so whatever is published again within two minutes is
// stored once; after that the consumers' own idempotence counts. Headers whose
// names begin with "Nats-" are the server's and never travel from one message to
// the next.
//
// Each durable consumer keeps on the server which messages it has handed out,
// how often, and which are acked. That is the only record of progress: nothing
// is kept here that a crash could lose. Ensure creates streams and consumers and
// reports, without changing anything, where existing ones differ.
//
// # States of a message
//
//	stored ──▶ handed out ──▶ acked                      its consequences are stored
//	              │  ▲
//	              │  └─ given back, at once or delayed    Later, an error, a stop, a crash
//	              └──▶ dead letter stored ──▶ terminated  Park, a panic, too many errors
//	later ──▶ stored                                      at its time, by the server
//
// A handler returns the messages that follow from its own; they are stored, all
// acknowledged by the server, before the message itself is acked. One error
// value decides everything else, in one function (route.judge):
//
//	nil, Drop                ack
//	Later                    comes again after its delay, however often
//	ErrFull, ErrUnavailable  comes again: the fault is downstream, never parked
//	Park, panic              dead letter
//	Canceled while stopping  given back at once
//	anything else            1s, 2s, 5s, 10s, 30s, then a dead letter
//
// A dead letter is the whole message with headers that say why (DeadLetter), so
// Original can send it once more.
//
// # Concurrency
//
// Consumer.MaxAckPending bounds the messages in work over all processes, and
// Route.Concurrency those of one. A process asks for exactly as many messages as
// it has room for and holds no reserve that another could work on. As long as a
// message is held, the server is told so every half AckWait, however long the
// handler takes. Messages arrive in stream order; concurrent handlers finish in
// any. A delayed message keeps its place in MaxAckPending: for a wait of more
// than some seconds return an Out with At, which waits in TASKS instead.
//
// # Durability
//
// A publish has succeeded when the server says so, and what that means is the
// server's setting: with sync_interval "always" the message is on disk. The
// price of a sync is shared: what concurrent handlers publish meanwhile becomes
// one atomic batch with one sync (group commit). Publisher measures which way is
// faster and needs no setting. A batch counts as stored only by the
// acknowledgement of its commit. If the server refuses it as a whole, which one
// known id is enough for, its messages are sent one by one.
//
// Acks are written without waiting. A lost one means one more delivery.
//
// An ack moves the consumer's position, which is not synced, and removes nothing:
// on a single server with "always" a removed message would be a synced write of
// its own, 1,400–2,500 per second and stream, so TASKS and PARSED are no work
// queue and no interest stream. What is acked there is purged once a second
// (trimmer), many messages with one write.
//
// # Failures
//
// This process dies: what it held comes again after AckWait, what its handlers
// had published already is stored once thanks to the ids. It never acked, so
// nothing is lost. Delivered counts on, and RouterConfig.MaxRedeliver finally
// parks a message that kills every process that touches it.
//
// It is told to stop: Run stops asking, gives back at once what no handler has
// begun, and lets the others finish and publish on a context of their own.
// After StopTimeout that context ends, and what returns Canceled is given back.
//
// The server is gone: Send fails with ErrUnavailable at once, or after
// PublisherConfig.Timeout if it was just waiting; then it is not known whether
// the message is stored, and sending it again with the same id is right either
// way. Handlers' messages are given back as soon as there is a connection.
// Subscriptions ask again after the reconnect, or after eleven seconds of
// silence.
//
// A stream is full: ErrFull. Its producers give their messages back with a
// delay, their stream fills up in turn, and at the top no more tasks are
// claimed. TASKS has no limit of its own, since a stream with schedules cannot
// refuse new messages; see the table.
//
// A dead letter cannot be stored: the message is not terminated but given back,
// and handled again later.
package bus
