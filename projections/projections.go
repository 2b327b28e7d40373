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
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
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
		if m.Redo {
			again = append(again, c.Task)
		} else {
			fresh = append(fresh, c)
		}
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

func (p *Projector) apply(ctx context.Context, b *lanes.Batch, commits []event.Commit) (ended []schedule.Finished, err error) {
	if err := p.partitions(ctx, commits); err != nil {
		return nil, err
	}
	var accounts, posts, stale int
	err = pgx.BeginFunc(ctx, p.db, func(tx pgx.Tx) error {
		accounts, posts, stale, ended = 0, 0, 0, nil
		folds := map[*table]fold{}
		for _, c := range commits {
			for _, e := range c.Events {
				t := tables[c.Task.Platform][e.Log.Kind]
				if t == nil {
					continue
				}
				if folds[t] == nil {
					folds[t] = fold{}
				}
				folds[t].add(t, e.Log, origin{e.Log.Source, c.Raw.At, c.Raw.ID, c.Parser})
			}
		}
		for _, platform := range []social.Platform{social.Instagram, social.YouTube} {
			for _, kind := range []social.Kind{social.Profile, social.Post} {
				t := tables[platform][kind]
				if t == nil || folds[t] == nil {
					continue
				}
				n, err := write(ctx, tx, t, folds[t])
				if err != nil {
					return err
				}
				if kind == social.Profile {
					accounts += n
				} else {
					posts += n
				}
			}
		}
		if err := audit(ctx, tx, commits); err != nil {
			return err
		}
		finishes, err := progress(ctx, tx, commits)
		if err != nil {
			return err
		}
		if ended, err = schedule.End(ctx, tx, finishes); err != nil {
			return err
		}
		stale = len(finishes) - len(ended)
		return b.Save(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("apply %d commits: %w", len(commits), err)
	}
	b.Saved()
	p.Stats.Accounts.Add(int64(accounts))
	p.Stats.Posts.Add(int64(posts))
	p.Stats.Stale.Add(int64(stale))
	for _, f := range ended {
		if f.Status == social.Complete {
			p.Stats.Complete.Add(1)
		} else {
			p.Stats.Failed.Add(1)
		}
	}
	return ended, nil
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

// Ids and values go as text. As uuid[] pgx would send one text with all ids in
// it; as jsonb[] Postgres copies each value once more.
const profileLogSQL = `
INSERT INTO profile_log (profile_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser)
ON CONFLICT (event_id, "timestamp") DO NOTHING`

const postLogSQL = `
INSERT INTO post_log (platform_post_id, platform, source, dimensions, metrics, "timestamp", event_id, raw_id, task_id, parser, profile_id)
SELECT key, platform, source, dimensions::jsonb, metrics::jsonb, at, event::uuid, raw, task, parser, owner
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamp[], $7::text[], $8::text[], $9::int8[], $10::int4[], $11::text[])
    AS u(key, platform, source, dimensions, metrics, at, event, raw, task, parser, owner)
ON CONFLICT (event_id, "timestamp") DO NOTHING`

// rows are the columns of audit rows.
type rows struct {
	key, platform, source, event, raw, owner []string
	dimensions, metrics                      pgtype.FlatArray[[]byte]
	at                                       []time.Time
	task                                     []int64
	parser                                   []int32
}

func audit(ctx context.Context, tx pgx.Tx, commits []event.Commit) error {
	size := 0
	for _, c := range commits {
		for _, e := range c.Events {
			size += e.Log.PairsSize()
		}
	}
	pairs := make([]byte, 0, size) // of all rows
	value := func(k social.KVs) []byte {
		start := len(pairs)
		pairs = k.AppendPairs(pairs)
		return pairs[start:len(pairs):len(pairs)]
	}
	byKind := map[social.Kind]*rows{social.Profile: {}, social.Post: {}}
	for _, c := range commits {
		for _, e := range c.Events {
			r := byKind[e.Log.Kind]
			if r == nil {
				continue
			}
			r.key = append(r.key, e.Log.Key)
			r.platform = append(r.platform, string(c.Task.Platform))
			r.source = append(r.source, e.Log.Source)
			r.dimensions = append(r.dimensions, value(e.Log.Dimensions))
			r.metrics = append(r.metrics, value(e.Log.Metrics))
			r.at = append(r.at, c.Raw.At)
			r.event = append(r.event, e.ID)
			r.raw = append(r.raw, c.Raw.ID)
			r.task = append(r.task, c.Task.ID)
			r.parser = append(r.parser, int32(c.Parser))
			r.owner = append(r.owner, e.Log.Owner)
		}
	}
	for kind, sql := range map[social.Kind]string{social.Profile: profileLogSQL, social.Post: postLogSQL} {
		r := byKind[kind]
		if len(r.key) == 0 {
			continue
		}
		args := []any{r.key, r.platform, r.source, r.dimensions, r.metrics, r.at, r.event, r.raw, r.task, r.parser}
		if kind == social.Post {
			args = append(args, r.owner)
		}
		if _, err := tx.Exec(ctx, sql, args...); err != nil {
			return fmt.Errorf("audit %s: %w", kind, err)
		}
	}
	return nil
}

// A seen is what has arrived of one answer.
type seen struct {
	N   int   `json:"n"`   // parts
	Got []int `json:"got"` // which
}

// A run is a row of task_progress.
type run struct {
	id, fence int64
	Seen      map[int]*seen
	Final     *runFinal
}

type runFinal struct {
	Seq    int    `json:"seq"`
	Status string `json:"status"`
	Data   string `json:"data"`
}

func (r *run) add(c event.Commit) {
	if c.Task.Fence < r.fence {
		return // of a run that another has replaced
	}
	if c.Task.Fence > r.fence {
		*r = run{id: r.id, fence: c.Task.Fence, Seen: map[int]*seen{}}
	}
	s := r.Seen[c.Seq]
	if s == nil {
		s = &seen{}
		r.Seen[c.Seq] = s
	}
	s.N = c.Parts
	if !slices.Contains(s.Got, c.Part) {
		s.Got = append(s.Got, c.Part)
	}
	if c.Final != nil {
		r.Final = &runFinal{c.Seq, c.Final.Status, c.Final.Data}
	}
}

// over reports whether all answers of the run have arrived. A failure does
// not wait for the answers before it.
func (r *run) over() bool {
	if r.Final == nil {
		return false
	}
	if r.Final.Status == social.Failed {
		return true
	}
	for seq := range r.Final.Seq + 1 {
		if s := r.Seen[seq]; s == nil || len(s.Got) < s.N {
			return false
		}
	}
	return true
}

const progressSQL = `SELECT task_id, fence, seen, final FROM task_progress WHERE task_id = ANY($1) ORDER BY task_id FOR UPDATE`

const keepSQL = `
INSERT INTO task_progress (task_id, fence, seen, final)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::jsonb[], $4::jsonb[])
ON CONFLICT (task_id) DO UPDATE SET fence = excluded.fence, seen = excluded.seen, final = excluded.final,
    updated_at = excluded.updated_at`

// progress notes which answers have arrived and returns the runs that are
// over. Answers of one run may lie in several shards, which several processes
// apply at once: the advisory locks make them take turns, also where there is
// no row yet to be locked.
func progress(ctx context.Context, tx pgx.Tx, commits []event.Commit) ([]schedule.Finish, error) {
	if len(commits) == 0 {
		return nil, nil
	}
	var ids []int64
	runs := map[int64]*run{}
	for _, c := range commits {
		if runs[c.Task.ID] == nil {
			ids = append(ids, c.Task.ID)
			runs[c.Task.ID] = &run{id: c.Task.ID, Seen: map[int]*seen{}}
		}
	}
	slices.Sort(ids)
	if _, err := tx.Exec(ctx, `
SELECT pg_advisory_xact_lock(hashtext('beat:progress'), (id % 2147483647)::int) FROM unnest($1::int8[]) AS id ORDER BY id`, ids); err != nil {
		return nil, fmt.Errorf("lock progress: %w", err)
	}
	stored := map[int64]bool{}
	rs, err := tx.Query(ctx, progressSQL, ids)
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	var id, fence int64
	var seenJSON, finalJSON []byte
	_, err = pgx.ForEachRow(rs, []any{&id, &fence, &seenJSON, &finalJSON}, func() error {
		r := runs[id]
		r.fence = fence
		stored[id] = true
		if err := json.Unmarshal(seenJSON, &r.Seen); err != nil {
			return err
		}
		if finalJSON != nil {
			return json.Unmarshal(finalJSON, &r.Final)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	for _, c := range commits {
		runs[c.Task.ID].add(c)
	}
	var out []schedule.Finish
	var gone, keep, fences []int64
	var seens, finals []*string
	for _, id := range ids {
		r := runs[id]
		if r.over() {
			out = append(out, schedule.Finish{ID: id, Fence: r.fence, Status: r.Final.Status, Data: r.Final.Data})
			if stored[id] {
				gone = append(gone, id)
			}
			continue
		}
		s, err := json.Marshal(r.Seen)
		if err != nil {
			return nil, err
		}
		text := string(s)
		var final *string
		if r.Final != nil {
			f, err := json.Marshal(r.Final)
			if err != nil {
				return nil, err
			}
			t := string(f)
			final = &t
		}
		keep, fences = append(keep, id), append(fences, r.fence)
		seens, finals = append(seens, &text), append(finals, final)
	}
	if len(keep) > 0 {
		if _, err := tx.Exec(ctx, keepSQL, keep, fences, seens, finals); err != nil {
			return nil, fmt.Errorf("write progress: %w", err)
		}
	}
	if len(gone) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM task_progress WHERE task_id = ANY($1)`, gone); err != nil {
			return nil, fmt.Errorf("write progress: %w", err)
		}
	}
	return out, nil
}
