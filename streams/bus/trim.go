package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// trimEvery is how long an acked message of a trimmed stream stays on disk. A
// second of full load is some thousand messages, a few MB.
const trimEvery = time.Second

// patience is how many rounds a consumer is passed over because messages that
// were given back may wait in it.
const patience = 10

// trimmer removes from the trimmed streams what their consumers have acked, many
// messages with one request.
//
// A work-queue or interest stream does that by itself at each ack. But then each
// ack writes a tombstone, and with sync_interval "always" each tombstone is an
// fsync: 2,300 acks a second and stream, whatever the client does. A purge writes
// the tombstones of all it removes at once, and none where a whole block goes.
//
// Only what lies at or below a consumer's ack floor goes: everything of its
// subjects up to there is settled. Killed between ack and purge, the next round
// does it, in whichever process; several at once do no harm.
//
// One thing about the server (2.15.2, consumer.purge): a purge makes a consumer
// forget which messages were given back and wait to be handed out again. They
// are not lost, but come only after AckWait. They wait only as long as nobody
// asks, so a consumer with held messages and no open request is passed over.
type trimmer struct {
	js        jetstream.JetStream
	consumers []Consumer
	done      map[string]uint64 // by durable: the floor last purged up to
	passed    map[string]int    // by durable: rounds in a row
}

func newTrimmer(js jetstream.JetStream, routes []*route) *trimmer {
	t := &trimmer{js: js, done: map[string]uint64{}, passed: map[string]int{}}
	for _, r := range routes {
		if rowOf(r.Consumer.Stream).trim {
			t.consumers = append(t.consumers, r.Consumer)
		}
	}
	return t
}

// run trims until ctx ends.
func (t *trimmer) run(ctx context.Context, warn func(error)) {
	if len(t.consumers) == 0 {
		return
	}
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	failed := false // one line for an outage
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := t.trim(ctx, false)
		if err != nil && !failed && ctx.Err() == nil {
			warn(err)
		}
		failed = err != nil
	}
}

// last trims once all acks were sent, if the server reads them soon. What other
// processes hold, or was given back, leaves the trimming to the next process.
func (t *trimmer) last(ctx context.Context) error {
	for end := time.Now().Add(200 * time.Millisecond); ; time.Sleep(10 * time.Millisecond) {
		held, err := t.trim(ctx, true)
		if err != nil || held == 0 || time.Now().After(end) {
			return err
		}
	}
}

// trim does one round. It returns how many messages are handed out or given back
// and not acked. With idle, only consumers without such are trimmed.
func (t *trimmer) trim(ctx context.Context, idle bool) (held int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, c := range t.consumers {
		cons, err := t.js.Consumer(ctx, c.Stream, c.Durable)
		if err != nil {
			return held, err
		}
		info := cons.CachedInfo()
		held += info.NumAckPending
		floor := info.AckFloor.Stream
		if floor == 0 || floor == t.done[c.Durable] {
			continue
		}
		if info.NumAckPending > 0 && (idle || info.NumWaiting == 0 && t.passed[c.Durable] < patience) {
			t.passed[c.Durable]++
			continue
		}
		s, err := t.js.Stream(ctx, c.Stream)
		if err != nil {
			return held, err
		}
		subjects := c.Filter
		if len(subjects) == 0 {
			subjects = rowOf(c.Stream).subjects[:1] // never what is scheduled
		}
		for _, subject := range subjects {
			if err := s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(floor+1)); err != nil {
				return held, err
			}
		}
		t.done[c.Durable], t.passed[c.Durable] = floor, 0
	}
	return held, nil
}
