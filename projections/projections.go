// Package projections folds the EVENTS stream into Postgres.
//
// One transaction per batch: accounts and posts are merged column by column,
// the newest observation winning (see origin); every observation becomes an
// audit row; runs of which all answers have arrived end as COMPLETE; and the
// reader's position moves. So a COMPLETE task is one whose data is visible,
// and a batch applied twice changes nothing.
//
// After the commit the ends of tasks are published, as task events for the
// bridge and as hints for whoever waits. Killed in between, the reader gets
// the batch again marked Redo, finds the tasks ended, and publishes the same
// events under the same ids.
package projections

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/lanes"
	"beat/streams/schedule"
	"beat/streams/social"
)

// DoneSubject is where the end of a task is hinted, outside of any stream:
// DoneSubject + "." + id. Nobody may rely on it.
const DoneSubject = "beat.done"

// Stats counts what was written since the process began.
type Stats struct {
	Accounts, Posts  atomic.Int64 // rows written
	Complete, Failed atomic.Int64 // tasks ended
	Stale            atomic.Int64 // ends refused by the fence
}

// A Projector applies batches.
type Projector struct {
	lg    *slog.Logger
	db    *pgxpool.Pool
	send  schedule.Sender
	nc    *nats.Conn
	Stats Stats

	mu     sync.Mutex
	months map[string]bool // whose partitions exist
}

// New returns a Projector. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, send schedule.Sender, nc *nats.Conn) *Projector {
	return &Projector{lg: lg, db: db, send: send, nc: nc, months: map[string]bool{}}
}

// Handle is the lanes.Handler of the projections.
func (p *Projector) Handle(ctx context.Context, b *lanes.Batch) error {
	var fresh []event.Commit
	var again []social.TaskRef
	for _, m := range b.Msgs {
		if m.Kind != event.KindCommit {
			continue
		}
		c, err := event.UnmarshalCommit(m.Data)
		if err != nil {
			// Written by us and checked then: a bug, which must not stop all others.
			p.lg.Error("commit cannot be read, passed over", "subject", m.Subject, "seq", m.Seq, "err", err)
			continue
		}
		if m.Redo && c.Replay == nil {
			again = append(again, c.Task)
		} else if m.Redo {
			continue
		} else {
			fresh = append(fresh, c)
		}
	}
	if len(fresh)+len(again) == 0 {
		return nil // tasks on their way, which nothing is written of
	}
	ended, err := p.apply(ctx, b, fresh)
	if err != nil {
		return err
	}
	told, err := schedule.Ended(ctx, p.db, again)
	if err != nil {
		return err
	}
	return p.tell(ctx, append(ended, told...))
}

func (p *Projector) tell(ctx context.Context, ended []schedule.Finished) error {
	if len(ended) == 0 {
		return nil
	}
	outs := make([]bus.Out, len(ended))
	for i, f := range ended {
		// The hint first: who waits for the task wants its rows, which are there.
		if err := p.nc.Publish(DoneSubject+"."+strconv.FormatInt(f.ID, 10), nil); err != nil {
			p.lg.Debug("hint not sent", "err", err)
		}
		outs[i] = schedule.EndedEvent(f)
	}
	if err := p.send.Send(ctx, outs...); err != nil {
		return fmt.Errorf("tell the end of %d tasks: %w", len(ended), err)
	}
	return nil
}

func (p *Projector) apply(ctx context.Context, b *lanes.Batch, commits []event.Commit) ([]schedule.Finished, error) {
	if err := p.partitions(ctx, commits); err != nil {
		return nil, err
	}
	var done applied
	write := func(merged bool) error {
		return pgx.BeginFunc(ctx, p.db, func(tx pgx.Tx) (err error) {
			if done, err = applyTo(ctx, tx, commits, merged); err != nil {
				return err
			}
			return b.Save(ctx, tx)
		})
	}
	err := write(false)
	if repeated(err) {
		err = write(true)
	}
	if err != nil {
		return nil, fmt.Errorf("apply %d commits: %w", len(commits), err)
	}
	b.Saved()
	p.Stats.Accounts.Add(int64(done.accounts))
	p.Stats.Posts.Add(int64(done.posts))
	p.Stats.Stale.Add(int64(done.stale))
	for _, f := range done.ended {
		if f.Status == social.Complete {
			p.Stats.Complete.Add(1)
		} else {
			p.Stats.Failed.Add(1)
		}
	}
	return done.ended, nil
}

// applied is what commits have led to.
type applied struct {
	accounts, posts int                 // rows written
	stale           int                 // ends refused by the fence
	ended           []schedule.Finished // tasks
}

// applyTo writes all that commits make true. After an error that is repeated it is
// to be done again, merged.
func applyTo(ctx context.Context, tx pgx.Tx, commits []event.Commit, merged bool) (done applied, err error) {
	folds := map[*table]fold{}
	for _, c := range commits {
		if c.Replay != nil {
			continue // see refold
		}
		for _, e := range c.Events {
			t := tables[c.Task.Platform][e.Log.Kind]
			if t == nil {
				continue
			}
			if folds[t] == nil {
				folds[t] = fold{}
			}
			// To the microsecond, as observations are stored: what is folded from
			// those must come out the same.
			folds[t].add(t, e.Log, origin{e.Log.Source, c.Raw.At.Truncate(time.Microsecond), c.Raw.ID, c.Parser})
		}
	}
	for _, m := range models() {
		if folds[m.table] == nil {
			continue
		}
		n, err := write(ctx, tx, m.table, folds[m.table])
		if err != nil {
			return done, err
		}
		switch m.kind {
		case social.Profile:
			done.accounts += n
		case social.Post:
			done.posts += n
		}
	}
	if err := people(ctx, tx, commits); err != nil {
		return done, err
	}
	written, err := audit(ctx, tx, commits, merged)
	if err != nil {
		return done, err
	}
	if err := refold(ctx, tx, commits, written); err != nil {
		return done, err
	}
	finishes, err := progress(ctx, tx, commits)
	if err != nil {
		return done, err
	}
	if done.ended, err = schedule.End(ctx, tx, finishes); err != nil {
		return done, err
	}
	done.stale = len(finishes) - len(done.ended)
	return done, refreshed(ctx, tx, finishes, done.ended)
}

// partitions makes the months of the commits' audit rows, each once.
func (p *Projector) partitions(ctx context.Context, commits []event.Commit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range commits {
		month := c.Raw.At.UTC().Format("2006-01")
		if p.months[month] || c.Raw.At.Year() < 2000 || c.Raw.At.Year() > 2200 {
			continue
		}
		if _, err := p.db.Exec(ctx, "SELECT beat_log_partition($1)", c.Raw.At.UTC()); err != nil {
			// Rows that lie in the default partition already stand in the way
			// of making it; they are well there.
			p.lg.Warn("partition not made, the default one is used", "month", month, "err", err)
		}
		p.months[month] = true
	}
	return nil
}
