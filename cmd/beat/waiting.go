package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/lanes"
)

// backlog counts the messages that wait for parsing and processing. Those that
// wait for the projections are bounded by the tasks in flight, which end there.
// It is looked at often, so it remembers.
func (a *app) backlog() func(context.Context) (int, error) {
	var mu sync.Mutex
	var at time.Time
	var last int
	return func(ctx context.Context) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) < 250*time.Millisecond {
			return last, nil
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		n := 0
		for _, c := range consumers(flow.All) {
			if c.Stream == bus.Tasks {
				continue
			}
			cons, err := a.js.Consumer(ctx, c.Stream, c.Durable)
			if err != nil {
				return 0, err
			}
			n += int(cons.CachedInfo().NumPending)
		}
		at, last = time.Now(), n
		return n, nil
	}
}

// oldest is when the oldest message was stored that a stage before the end of a
// task has not handled, zero when none waits. It makes some dozens of small
// requests and is called only when a lease has run out.
func (a *app) oldest(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var first time.Time
	look := func(stream, subject string, seq uint64) error {
		s, err := a.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil && (first.IsZero() || m.Time.Before(first)) {
			first = m.Time
		}
		return err
	}
	for _, c := range consumers(flow.All) {
		cons, err := a.js.Consumer(ctx, c.Stream, c.Durable)
		if err != nil {
			return first, err
		}
		info := cons.CachedInfo()
		if info.NumPending == 0 && info.NumAckPending == 0 {
			continue
		}
		for _, subject := range c.Filter {
			if err := look(c.Stream, subject, info.AckFloor.Stream+1); err != nil {
				return first, err
			}
		}
	}
	s, err := a.js.Stream(ctx, bus.Events)
	if err != nil {
		return first, err
	}
	applied, err := lanes.Positions(ctx, a.db, s, "project")
	if err != nil {
		return first, err
	}
	for shard, seq := range applied {
		if err := look(bus.Events, event.Filter(shard), seq+1); err != nil {
			return first, err
		}
	}
	return first, nil
}
