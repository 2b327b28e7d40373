package archive

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
)

const (
	// Of what RAW may hold: from the first share on what is archived goes early,
	// until the second is reached.
	nearlyFull, enough = 0.8, 0.7
	// claimSlack is for how long after the archive's end a claim is kept: dead
	// letters live for 30 days.
	claimSlack = 31 * 24 * time.Hour
)

// tidyUp tidies every so often, and each time a segment is stored while RAW is
// nearly full. It ends when the lock may be lost, which conn holds, and when the
// stream is no longer the run that is read: the reader waits for sequences that
// may not come for days.
func (a *Archive) tidyUp(ctx context.Context, conn *pgx.Conn, wrote <-chan struct{}, run *atomic.Int64) error {
	alive := time.NewTicker(lockEvery)
	defer alive.Stop()
	tick := time.NewTicker(a.cfg.Tidy)
	defer tick.Stop()
	var said, claims time.Time
	alert := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alive.C:
			ping, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return fmt.Errorf("archive: lock: %w", err)
			}
			continue
		case <-wrote:
		case <-tick.C:
		}
		p, err := a.place(ctx)
		if err == nil {
			if was := run.Load(); was != 0 && was != p.Run {
				return fmt.Errorf("archive: stream %s was made anew, or set back to %d", bus.Raw, p.Seq)
			}
			err = a.tidy(ctx, &p, &claims)
		}
		if err != nil && ctx.Err() == nil {
			a.lg.Warn("archive not tidied yet", "err", err)
		}
		h, err := a.Health(ctx)
		if err != nil {
			continue // not reached, which is said elsewhere
		}
		switch {
		case h.Alert != "" && (alert == "" || time.Since(said) > 10*time.Minute):
			a.lg.Error("raw answers are not archived", "lag", h.Lag.Round(time.Second), "messages", h.Behind, "raw_full", h.Full, "alert", h.Alert)
			said = time.Now()
		case h.Alert == "" && alert != "":
			a.lg.Info("raw answers are archived again")
		}
		alert = h.Alert
	}
}

// tidy removes what is no longer to be kept, first from RAW. claims is when old
// claims were last looked for.
func (a *Archive) tidy(ctx context.Context, p *place, claims *time.Time) error {
	if err := a.purge(ctx, p); err != nil {
		return err
	}
	if err := a.expire(ctx, p); err != nil {
		return err
	}
	if a.cfg.Retain <= 0 && a.cfg.MaxBytes <= 0 || time.Since(*claims) < time.Hour {
		return nil
	}
	if err := a.expireClaims(ctx, p); err != nil {
		return err
	}
	*claims = time.Now()
	return nil
}

// purge removes from RAW what is archived, read by all, and old; or, as long as
// it is nearly full, what is archived and read.
func (a *Archive) purge(ctx context.Context, p *place) error {
	floor, err := a.floor(ctx, p)
	if err != nil {
		return err
	}
	full, err := a.fullness(ctx, p.stream)
	if err != nil {
		return err
	}
	cut := time.Now().Add(-a.cfg.RetainRaw)
	hurry := full >= nearlyFull
	// Rows of the run alone: a stream that was set back has other messages than
	// the run before it from some place on.
	gs, err := a.segments(ctx, `state = 'stored' AND run = $1 AND last_seq >= $2 AND last_seq <= $3 AND (last_at < $4 OR $5) ORDER BY first_seq`,
		p.Run, p.state.FirstSeq, floor, micros(cut), hurry)
	if err != nil {
		return err
	}
	for i := range gs {
		g := &gs[i]
		old := g.LastAt.Before(cut)
		if !old && full < enough {
			break
		}
		if old && i+1 < len(gs) && gs[i+1].LastAt.Before(cut) {
			continue // with the next
		}
		if err := p.stream.Purge(ctx, jetstream.WithPurgeSequence(g.Last+1)); err != nil {
			return fmt.Errorf("archive: purge %s to %d: %w", bus.Raw, g.Last, err)
		}
		p.state.FirstSeq = max(p.state.FirstSeq, g.Last+1)
		if !hurry {
			continue
		}
		if full, err = a.fullness(ctx, p.stream); err != nil {
			return err
		}
	}
	return nil
}

// floor is the last sequence that every reader of RAW is done with.
func (a *Archive) floor(ctx context.Context, p *place) (uint64, error) {
	floor := p.Seq
	for _, name := range a.cfg.Readers {
		c, err := p.stream.Consumer(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("archive: consumer %s/%s: %w", bus.Raw, name, err)
		}
		// One that has seen all of its subjects may have its floor far back.
		if i := c.CachedInfo(); i.NumPending > 0 || i.NumAckPending > 0 {
			floor = min(floor, i.AckFloor.Stream)
		}
	}
	return floor, nil
}

// fullness is the share used of what RAW, or all streams together, may hold; 0
// if nobody has set a limit.
func (a *Archive) fullness(ctx context.Context, s jetstream.Stream) (float64, error) {
	i, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("archive: stream %s: %w", bus.Raw, err)
	}
	share := 0.0
	if most := i.Config.MaxBytes; most > 0 {
		share = float64(i.State.Bytes) / float64(most)
	}
	if most := i.Config.MaxMsgs; most > 0 {
		share = max(share, float64(i.State.Msgs)/float64(most))
	}
	if acc, err := a.js.AccountInfo(ctx); err == nil && acc.Limits.MaxStore > 0 {
		share = max(share, float64(acc.Store)/float64(acc.Limits.MaxStore))
	}
	return share, nil
}

// expire removes segments that have outlived their retention, and the oldest
// while there are too many bytes. What RAW still has is kept in any case, and so
// is the newest segment, which is the position.
func (a *Archive) expire(ctx context.Context, p *place) error {
	gone, err := a.segments(ctx, `state = 'removing' ORDER BY run, first_seq`)
	if err != nil {
		return err
	}
	for i := range gone {
		if err := a.remove(ctx, &gone[i]); err != nil {
			return err
		}
	}
	excess := int64(0)
	if a.cfg.MaxBytes > 0 {
		n, err := a.size(ctx)
		if err != nil {
			return err
		}
		excess = n - a.cfg.MaxBytes
	}
	if a.cfg.Retain <= 0 && excess <= 0 {
		return nil
	}
	cut := time.Unix(0, 0)
	if a.cfg.Retain > 0 {
		cut = time.Now().Add(-a.cfg.Retain)
	}
	gs, err := a.segments(ctx, `state = 'stored' AND (retained_until IS NULL OR retained_until < now() AT TIME ZONE 'UTC')
	AND (last_at < $1 OR $2) AND (run, last_seq) < ($3, $4) AND NOT (run >= $5 AND last_seq >= $6) ORDER BY run, first_seq LIMIT 1000`,
		micros(cut), excess > 0, p.Run, p.Seq, p.created, p.state.FirstSeq)
	if err != nil {
		return err
	}
	for i := range gs {
		g := &gs[i]
		if !g.LastAt.Before(cut) && excess <= 0 {
			break
		}
		if _, err := a.db.Exec(ctx, `UPDATE archive_segment SET state = 'removing' WHERE run = $1 AND first_seq = $2`, g.Run, g.First); err != nil {
			return fmt.Errorf("archive: remove segment: %w", err)
		}
		if err := a.remove(ctx, g); err != nil {
			return err
		}
		excess -= g.Bytes + g.IndexBytes + g.ClaimedBytes
		a.lg.Info("segment outlived its retention", "object", g.Object, "last_at", g.LastAt)
	}
	return nil
}

// remove deletes the objects of a segment, and its row last.
func (a *Archive) remove(ctx context.Context, g *Segment) error {
	for _, key := range []string{g.Index(), g.Object} {
		if err := a.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return a.drop(ctx, g, removing)
}

// size is the bytes of all segments, and of the claims in them, unpacked.
func (a *Archive) size(ctx context.Context) (n int64, err error) {
	err = a.db.QueryRow(ctx, `SELECT coalesce(sum(bytes + index_bytes + claimed_bytes), 0)::bigint FROM archive_segment WHERE state = 'stored'`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("archive: sum of segments: %w", err)
	}
	return n, nil
}

// expireClaims deletes bodies of days that neither the archive, nor RAW, nor a
// dead letter reaches back to.
func (a *Archive) expireClaims(ctx context.Context, p *place) error {
	reach := time.Now().Add(-a.cfg.RetainRaw)
	if p.state.Msgs > 0 && p.state.FirstTime.Before(reach) {
		reach = p.state.FirstTime
	}
	gs, err := a.segments(ctx, `state <> 'writing' ORDER BY first_at LIMIT 1`)
	if err != nil {
		return err
	}
	if len(gs) > 0 && gs[0].FirstAt.Before(reach) {
		reach = gs[0].FirstAt
	}
	last := "body/" + reach.Add(-claimSlack).UTC().Format(time.DateOnly)
	for day, err := range a.store.Folders(ctx, "body/") {
		if err != nil {
			return err
		}
		if strings.Compare(day, last) >= 0 {
			continue
		}
		for key, err := range a.store.List(ctx, day+"/") {
			if err != nil {
				return err
			}
			if err := a.store.Delete(ctx, key); err != nil {
				return err
			}
		}
		a.lg.Info("large bodies outlived their retention", "day", strings.TrimPrefix(day, "body/"))
	}
	return nil
}
