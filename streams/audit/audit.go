// Package audit proves that nothing was lost on the way from answers to rows:
// it counts what each stage was given against what it has made of it, and names
// what is missing.
//
// It only reads. What is still under way is no loss: a stage is asked for what
// is before its own position.
package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/processors"
	"beat/projections"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// Config of an Auditor.
type Config struct {
	DB    *pgxpool.Pool
	JS    jetstream.JetStream
	Since time.Time // what was stored from this time on; zero all
	// Grace is how long something may take before it counts as lost. A stuck task
	// is one whose lease ended that long ago.
	Grace time.Duration
	Parse []string // the durable consumers of RAW
}

// most is how many ids a check names.
const most = 100

// A Check is one thing that has to hold.
type Check struct {
	Name    string   `json:"check"`
	Looked  int      `json:"looked_at"`
	Missing int      `json:"missing"`
	IDs     []string `json:"ids"` // of what is missing, at most 100
	Do      string   `json:"do,omitempty"`
}

func (c *Check) miss(format string, args ...any) {
	c.Missing++
	if len(c.IDs) < most {
		c.IDs = append(c.IDs, fmt.Sprintf(format, args...))
	}
}

// Run makes all checks. Its error is that one could not be made.
func Run(ctx context.Context, cfg Config) ([]*Check, error) {
	a := &auditor{Config: cfg, commits: map[string]bool{}, dead: map[string]bool{}, waiting: map[string]bool{}}
	var out []*Check
	for _, check := range []func(context.Context) (*Check, error){a.streams, a.tasks, a.events, a.answers, a.rows} {
		c, err := check(ctx)
		if err != nil {
			return out, err
		}
		if c.IDs == nil {
			c.IDs = []string{}
		}
		out = append(out, c)
	}
	return out, nil
}

type auditor struct {
	Config
	commits map[string]bool // raw answers that led to a commit
	dead    map[string]bool // raw answers of dead letters
	waiting map[string]bool // raw answers that are being parsed or processed
	touched map[entity]bool
}

type entity struct {
	platform social.Platform
	kind     social.Kind
	key      string
}

// streams: nothing was taken out of the middle of what is only ever appended to.
func (a *auditor) streams(ctx context.Context) (*Check, error) {
	c := &Check{Name: "messages of RAW and EVENTS", Do: "something has removed messages by hand, or the store is damaged: restore it, then beat replay"}
	for _, name := range []string{bus.Raw, bus.Events} {
		s, err := a.JS.Stream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", name, err)
		}
		c.Looked += int(info.State.Msgs)
		c.Missing += info.State.NumDeleted
		for _, seq := range info.State.Deleted {
			if len(c.IDs) < most {
				c.IDs = append(c.IDs, fmt.Sprintf("%s %d", name, seq))
			}
		}
	}
	return c, nil
}

// tasks: each has one outcome, or is live.
func (a *auditor) tasks(ctx context.Context) (*Check, error) {
	c := &Check{Name: "tasks", Do: "beat tasks why ID; a task whose lease has ended is taken back by any scheduler that runs"}
	if err := a.DB.QueryRow(ctx, `SELECT count(*) FROM scrape_request_log WHERE created_at >= $1 OR created_at IS NULL`, a.Since).Scan(&c.Looked); err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	rows, err := a.DB.Query(ctx, `
SELECT id, CASE
    WHEN status = 'PROCESSING' THEN 'its lease ended at ' || coalesce(lease_until::text, 'no time')
    WHEN status = 'PENDING' THEN 'it is due since ' || run_at::text
    WHEN status IN ('COMPLETE', 'FAILED') THEN 'it has ended at no time'
    ELSE 'its status is ' || coalesce(status, 'null') END
FROM scrape_request_log
WHERE (created_at >= $1 OR created_at IS NULL) AND (
    status = 'PROCESSING' AND coalesce(lease_until, picked_at, '-infinity') < $2
    OR status = 'PENDING' AND run_at < $2
    OR status IN ('COMPLETE', 'FAILED') AND scraped_at IS NULL
    OR status IS NULL OR status NOT IN ('PENDING', 'PROCESSING', 'COMPLETE', 'FAILED'))
ORDER BY id`, a.Since, time.Now().UTC().Add(-a.Grace))
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var why string
		if err := rows.Scan(&id, &why); err != nil {
			return nil, fmt.Errorf("read tasks: %w", err)
		}
		c.miss("task %d: %s", id, why)
	}
	return c, rows.Err()
}

// events: each observation before the position of the projections has its row.
func (a *auditor) events(ctx context.Context) (*Check, error) {
	c := &Check{Name: "observations of EVENTS", Do: "rows were deleted, or the position was moved by hand"}
	a.touched = map[entity]bool{}
	positions, err := a.positions(ctx)
	if err != nil {
		return nil, err
	}
	var batch []observation
	err = a.read(ctx, bus.Events, a.Since, func(m jetstream.Msg, seq uint64) error {
		shard, kind, err := event.ParseSubject(m.Subject())
		if err != nil || kind != event.KindCommit {
			return err
		}
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		commit, err := event.UnmarshalCommit(data)
		if err != nil {
			return err
		}
		a.commits[commit.Raw.ID] = true
		if seq > positions[shard] {
			return nil
		}
		for _, e := range commit.Events {
			c.Looked++
			id := e.ID
			if commit.Replay != nil {
				if id = event.LogID(commit.Raw.ID, e.Log); e.Gone {
					continue
				}
			}
			batch = append(batch, observation{id, e.Log.Kind, commit.Raw.At})
			a.touched[entity{commit.Task.Platform, e.Log.Kind, e.Log.Key}] = true
		}
		if len(batch) >= 5000 {
			err = a.stored(ctx, c, batch)
			batch = batch[:0]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bus.Events, err)
	}
	return c, a.stored(ctx, c, batch)
}

// answers: each that was to be parsed has led to a commit or to a dead letter.
func (a *auditor) answers(ctx context.Context) (*Check, error) {
	c := &Check{Name: "answers of RAW", Do: "beat replay --raw ID parses one again"}
	floor, err := a.floor(ctx, bus.Raw, a.Parse)
	if err != nil {
		return nil, err
	}
	err = a.read(ctx, bus.Dead, time.Time{}, func(m jetstream.Msg, _ uint64) error {
		a.dead[m.Headers().Get(bus.HeaderRawID)] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bus.Dead, err)
	}
	err = a.read(ctx, bus.Parsed, time.Time{}, func(m jetstream.Msg, _ uint64) error {
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		b, err := social.UnmarshalBatch(data)
		a.waiting[b.Raw.ID] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bus.Parsed, err)
	}
	late := time.Now().Add(-a.Grace)
	err = a.read(ctx, bus.Raw, a.Since, func(m jetstream.Msg, seq uint64) error {
		id := m.Headers().Get(bus.HeaderRawID)
		c.Looked++
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		switch {
		case m.Headers().Get(bus.HeaderVerdict) != processors.OK: // that is its reason
		case a.commits[id], a.dead[id], a.waiting[id]:
		case seq > floor && meta.Timestamp.After(late):
		default:
			c.miss("raw %s, message %d", id, seq)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", bus.Raw, err)
	}
	return c, nil
}

// rows: each says what the observations of its entity say.
func (a *auditor) rows(ctx context.Context) (*Check, error) {
	c := &Check{Name: "rows", Do: "something else has written them: beat state ENTITY shows what was observed"}
	keys := map[entity][]string{}
	for e := range a.touched {
		group := entity{e.platform, e.kind, ""}
		keys[group] = append(keys[group], e.key)
	}
	for group, all := range keys {
		for from := 0; from < len(all); from += 1000 {
			differ, err := projections.Verify(ctx, a.DB, group.platform, group.kind, all[from:min(from+1000, len(all))])
			if err != nil {
				return nil, err
			}
			for _, d := range differ {
				c.miss("%s %s, column %s", d.Table, d.Key, d.Column)
			}
		}
		c.Looked += len(all)
	}
	return c, nil
}

// An observation is an event and the table that has its row.
type observation struct {
	id   string
	kind social.Kind
	at   time.Time
}

var rowsSQL = map[social.Kind]string{
	social.Profile:      `SELECT FROM profile_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Insights:     `SELECT FROM profile_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Post:         `SELECT FROM post_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Activity:     `SELECT FROM post_activity_log l WHERE l.event_id = u.id::uuid`,
	social.Relationship: `SELECT FROM profile_relationship_log l WHERE l.event_id = u.id::uuid`,
}

// stored names the observations that have no row.
func (a *auditor) stored(ctx context.Context, c *Check, all []observation) error {
	ids, ats := map[social.Kind][]string{}, map[social.Kind][]time.Time{}
	for _, o := range all {
		ids[o.kind], ats[o.kind] = append(ids[o.kind], o.id), append(ats[o.kind], o.at)
	}
	for kind, list := range ids {
		rows, err := a.DB.Query(ctx, `SELECT u.id FROM unnest($1::text[], $2::timestamp[]) AS u(id, at) WHERE NOT EXISTS (`+rowsSQL[kind]+`)`, list, ats[kind])
		if err != nil {
			return fmt.Errorf("look for rows of %s: %w", kind, err)
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				rows.Close()
				return err
			}
			c.miss("%s %s", kind, id)
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
	}
	return nil
}

// positions are how far the projections are, by shard.
func (a *auditor) positions(ctx context.Context) (map[int]uint64, error) {
	rows, err := a.DB.Query(ctx, `SELECT shard, applied FROM stream_position WHERE reader = 'project'`)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	defer rows.Close()
	out := map[int]uint64{}
	for rows.Next() {
		var shard int
		var applied int64
		if err := rows.Scan(&shard, &applied); err != nil {
			return nil, fmt.Errorf("read positions: %w", err)
		}
		out[shard] = uint64(applied)
	}
	return out, rows.Err()
}

// floor is the sequence up to which all of the consumers have settled.
func (a *auditor) floor(ctx context.Context, stream string, durables []string) (uint64, error) {
	s, err := a.JS.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("stream %s: %w", stream, err)
	}
	floor := s.CachedInfo().State.LastSeq
	for _, name := range durables {
		c, err := a.JS.Consumer(ctx, stream, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("consumer %s: %w", name, err)
		}
		if i := c.CachedInfo(); i.NumPending > 0 || i.NumAckPending > 0 { // else it has settled all there is
			floor = min(floor, i.AckFloor.Stream)
		}
	}
	return floor, nil
}

// read calls fn for each message of a stream that is there now.
func (a *auditor) read(ctx context.Context, stream string, since time.Time, fn func(m jetstream.Msg, seq uint64) error) error {
	s, err := a.JS.Stream(ctx, stream)
	if err != nil {
		return err
	}
	last := s.CachedInfo().State.LastSeq
	if s.CachedInfo().State.Msgs == 0 {
		return nil
	}
	cfg := jetstream.OrderedConsumerConfig{HeadersOnly: stream == bus.Raw || stream == bus.Dead}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	c, err := s.OrderedConsumer(ctx, cfg)
	if err != nil {
		return err
	}
	if c.CachedInfo().NumPending == 0 {
		return nil
	}
	it, err := c.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream > last {
			return nil
		}
		if err := fn(m, meta.Sequence.Stream); err != nil {
			return fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
		}
		if meta.NumPending == 0 || meta.Sequence.Stream >= last {
			return nil
		}
	}
}
