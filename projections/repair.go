package projections

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/lanes"
)

// Repaired says what EVENTS has that the stored observations lacked.
type Repaired struct {
	Looked  int64 `json:"looked_at"` // observations of EVENTS that are applied
	Missing int64 `json:"missing"`   // those that were not stored as they should be
	Added   int64 `json:"added"`     // 0 in a dry run, whose comparison does not know of them
}

// lacking is of how many observations the stored ones are looked for at once.
const lacking = 4000

// repair reads EVENTS up to the positions of the projections, and stores the
// observations of some tables that are missing. What lies after the positions is
// live traffic's.
func (r *Rebuilder) repair(ctx context.Context, all []model) (out Repaired, err error) {
	stream, err := r.js.Stream(ctx, bus.Events)
	if err != nil {
		return out, fmt.Errorf("open stream %s: %w", bus.Events, err)
	}
	ends, err := lanes.Positions(ctx, r.db, stream, "project")
	if err != nil {
		return out, err
	}
	total := int64(stream.CachedInfo().State.Msgs)
	chunks := make(chan []event.Commit, 1)
	g, work := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(chunks)
		var chunk []event.Commit
		n, read := 0, int64(0)
		hand := func() error {
			select {
			case chunks <- chunk:
				chunk, n = nil, 0
				return nil
			case <-work.Done():
				return work.Err()
			}
		}
		err := bus.Scan{Stream: bus.Events}.Each(work, r.js, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			read++
			shard, kind, err := event.ParseSubject(m.Subject())
			if err != nil || kind != event.KindCommit || meta.Sequence.Stream > ends[shard] {
				return nil //nolint:nilerr // not ours
			}
			data, err := bus.Unpack(m.Headers(), m.Data())
			if err != nil {
				return err
			}
			c, err := event.UnmarshalCommit(data)
			if err != nil {
				r.lg.Error("commit cannot be read, passed over", "subject", m.Subject(), "seq", meta.Sequence.Stream, "err", err)
				return nil
			}
			c.Events = slices.DeleteFunc(c.Events, func(e event.Event) bool {
				return !slices.ContainsFunc(all, func(m model) bool { return m.platform == c.Task.Platform && m.kind == e.Log.Kind })
			})
			if n += len(c.Events); len(c.Events) > 0 {
				chunk = append(chunk, c)
			}
			if n < lacking {
				return nil
			}
			r.cfg.Say(RebuildStep{Step: "read events", Done: read, Of: total})
			return hand()
		})
		if err != nil || len(chunk) == 0 {
			return err
		}
		return hand()
	})
	g.Go(func() error {
		for chunk := range chunks {
			if err := r.store(work, chunk, &out); err != nil {
				return err
			}
		}
		return nil
	})
	return out, g.Wait()
}

// storedSQL says which of the observations, by number, are not stored as they
// should be: at all, by this parser or a later one, and as a replay has it.
const storedSQL = `
SELECT n FROM unnest($1::text[], $2::timestamp[], $3::int4[], $4::bool[]) WITH ORDINALITY AS u(id, at, parser, replay, n)
WHERE NOT EXISTS (SELECT FROM %s l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at
    AND (coalesce(l.parser, 0) > u.parser OR coalesce(l.parser, 0) = u.parser AND (l.told_id IS NOT NULL OR NOT u.replay)))`

// store stores what is missing of commits.
func (r *Rebuilder) store(ctx context.Context, commits []event.Commit, out *Repaired) error {
	type place struct{ commit, event int }
	type list struct {
		places []place
		ids    []string
		ats    []time.Time
		parser []int32
		replay []bool
	}
	lists := map[string]*list{}
	for i, c := range commits {
		for j, e := range c.Events {
			log := observedOf[e.Log.Kind].log
			if lists[log] == nil {
				lists[log] = &list{}
			}
			l := lists[log]
			l.places, l.ids, l.ats = append(l.places, place{i, j}), append(l.ids, rowID(c, e)), append(l.ats, c.Raw.At)
			l.parser, l.replay = append(l.parser, int32(c.Parser)), append(l.replay, c.Replay != nil)
			out.Looked++
		}
	}
	missing := map[place]bool{}
	for log, l := range lists {
		rows, err := r.db.Query(ctx, fmt.Sprintf(storedSQL, log), l.ids, l.ats, l.parser, l.replay)
		if err != nil {
			return fmt.Errorf("look for observations: %w", err)
		}
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&n}, func() error {
			missing[l.places[n-1]] = true
			return nil
		}); err != nil {
			return fmt.Errorf("look for observations: %w", err)
		}
	}
	out.Missing += int64(len(missing))
	if len(missing) == 0 || r.cfg.DryRun {
		return nil
	}
	months := map[string]time.Time{}
	for i := range commits {
		c := &commits[i]
		var keep []event.Event
		for j, e := range c.Events {
			if missing[place{i, j}] {
				keep = append(keep, e)
			}
		}
		if c.Events = keep; len(keep) > 0 {
			months[c.Raw.At.UTC().Format("2006-01")] = c.Raw.At.UTC()
		}
	}
	for _, at := range months {
		if _, err := r.db.Exec(ctx, "SELECT beat_log_partition($1)", at); err != nil {
			r.lg.Warn("partition not made, the default one is used", "month", at.Format("2006-01"), "err", err)
		}
	}
	err := pgx.BeginFunc(ctx, r.db, func(tx pgx.Tx) error {
		for _, c := range commits { // one by one: in the order of the stream, of equals the last one stays
			if len(c.Events) > 0 {
				if _, err := audit(ctx, tx, []event.Commit{c}, true); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		out.Added += int64(len(missing))
	}
	return err
}
