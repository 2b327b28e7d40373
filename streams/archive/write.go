package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"beat/streams/objects"
)

// lockKey is the advisory lock of the process that writes.
const lockKey = 0x62656174_61726368 // "beatarch"

// lockEvery is how often a process looks whether it may write, and the one that
// does whether it still may.
const lockEvery = 2 * time.Second

// Run writes the archive and removes what is no longer to be kept, until ctx
// ends. Any number of processes may run it: one writes. What is in hand when ctx
// ends is read again by the next.
func (a *Archive) Run(ctx context.Context) error {
	if a.store == nil {
		return ErrNone
	}
	for wait := 200 * time.Millisecond; ctx.Err() == nil; {
		began := time.Now()
		err := a.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > 10*time.Second {
			wait = 200 * time.Millisecond
		}
		a.lg.Warn("archiving stopped, starting again", "err", err, "in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(wait*2, 10*time.Second)
	}
	return nil
}

// session writes as long as it has the lock.
func (a *Archive) session(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, a.db.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only lets go of the lock
	for {
		var mine bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(lockKey)).Scan(&mine); err != nil {
			return fmt.Errorf("archive: lock: %w", err)
		}
		if mine {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockEvery):
		}
	}
	a.lg.Info("writing the archive", "bucket", a.store.Bucket())
	drafts := make(chan *draft) // one is written while the next is read
	var run atomic.Int64        // that is read
	full := make(chan struct{}, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.tidyUp(ctx, conn, full, &run) })
	g.Go(func() error {
		defer close(drafts)
		if err := a.recover(ctx); err != nil {
			return err
		}
		return a.read(ctx, drafts, &run)
	})
	g.Go(func() error {
		for d := range drafts {
			if err := a.write(ctx, d); err != nil {
				return err
			}
			select {
			case full <- struct{}{}:
			default:
			}
		}
		return nil
	})
	return g.Wait()
}

// read collects one segment after the other.
func (a *Archive) read(ctx context.Context, out chan<- *draft, run *atomic.Int64) error {
	p, err := a.place(ctx)
	if err != nil {
		return err
	}
	run.Store(p.Run)
	at, first := p.Position, p.next()
	if p.known && first > at.Seq+1 {
		a.metrics.missed.Add(float64(first - at.Seq - 1))
		a.lg.Error("raw answers went from the stream before they were archived", "from", at.Seq+1, "to", first-1)
	}
	for {
		d, err := a.collect(ctx, at, first)
		if err != nil {
			return err
		}
		select {
		case out <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
		at.Seq, first = d.last, d.last+1
	}
}

// write makes a collected segment count.
func (a *Archive) write(ctx context.Context, d *draft) error {
	g, data, idx := d.finish()
	if n := g.Last - g.First + 1 - uint64(g.Count); n > 0 {
		a.metrics.missed.Add(float64(n))
		a.lg.Warn("raw answers were removed from the stream before they were archived", "from", g.First, "to", g.Last, "messages", n)
	}
	if err := a.announce(ctx, &g); err != nil {
		return err
	}
	return a.put(ctx, &g, data, idx)
}

// put stores both objects of an announced segment, reads them back, and makes it
// count. It goes on for as long as S3 takes.
func (a *Archive) put(ctx context.Context, g *Segment, data, idx []byte) error {
	began := time.Now()
	for _, o := range []struct {
		key  string
		data []byte
	}{{g.Object, data}, {g.Index(), idx}} {
		_, err := a.endlessly(ctx, "segment not written yet", func() ([]byte, error) { return nil, a.putOne(ctx, o.key, o.data) })
		if err != nil {
			return err
		}
	}
	if err := a.count(ctx, g); err != nil {
		return err
	}
	a.metrics.messages.Add(float64(g.Count))
	a.lg.Debug("segment stored", "first", g.First, "last", g.Last, "messages", g.Count, "bytes", g.Bytes, "of", g.PlainBytes,
		"elapsed", time.Since(began))
	return nil
}

func (a *Archive) putOne(ctx context.Context, key string, data []byte) error {
	if err := a.store.Put(ctx, key, data); err != nil {
		return err
	}
	got, err := a.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("objects: %s: %w", key, corrupt("what was read back"))
	}
	return nil
}

// endlessly tries for as long as ctx lasts, and says so.
func (a *Archive) endlessly(ctx context.Context, what string, f func() ([]byte, error)) ([]byte, error) {
	p := retrypolicy.NewBuilder[[]byte]().WithBackoff(500*time.Millisecond, time.Minute).WithJitterFactor(0.2).WithMaxRetries(-1).
		AbortOnErrors(objects.ErrNotFound, objects.ErrShort, context.Canceled).ReturnLastFailure().
		OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[[]byte]) {
			a.metrics.failures.Inc()
			a.lg.Warn(what, "attempt", e.Attempts(), "in", e.Delay, "err", e.LastError())
		}).Build()
	return failsafe.With(p).WithContext(ctx).Get(f)
}

// recover finishes what a writer before us has begun.
func (a *Archive) recover(ctx context.Context) error {
	gs, err := a.segments(ctx, `state = 'writing' ORDER BY run, first_seq`)
	if err != nil {
		return err
	}
	for i := range gs {
		if err := a.resume(ctx, &gs[i]); err != nil {
			return err
		}
	}
	return nil
}

// resume finishes one segment: the object is there, or its messages are. It must
// be the one that was announced.
func (a *Archive) resume(ctx context.Context, g *Segment) error {
	there := true
	for key, want := range map[string]Sum{g.Object: g.Sum, g.Index(): g.IndexSum} {
		data, err := a.endlessly(ctx, "unfinished segment not looked at yet", func() ([]byte, error) { return a.store.Get(ctx, key) })
		if err != nil && !errors.Is(err, objects.ErrNotFound) {
			return err
		}
		there = there && err == nil && bytes.Equal(sumOf(data), want)
	}
	if there {
		a.lg.Info("unfinished segment is there", "object", g.Object)
		return a.count(ctx, g)
	}
	p, err := a.place(ctx)
	if err != nil {
		return err
	}
	var d *draft
	if p.Run == g.Run && g.Last <= p.state.LastSeq {
		if d, err = a.again(ctx, &p, g); err != nil {
			return err
		}
	}
	if d == nil { // the next segment begins where it can, and says what is missing
		a.lg.Error("messages of an unfinished segment are no longer in the stream", "first", g.First, "last", g.Last)
		return a.drop(ctx, g, writing)
	}
	h, data, idx := d.finish()
	if err := a.revise(ctx, &h); err != nil {
		return err
	}
	a.lg.Info("unfinished segment is written again", "object", g.Object)
	return a.put(ctx, &h, data, idx)
}
