// Package audit proves that nothing was lost on the way from tasks to rows and to
// RabbitMQ: it counts what each stage was given against what it has made of it, by
// hour, and names what is missing.
//
// It only reads. What is still under way is no loss: a stage is asked for what is
// before its own position, and what it was given is read before what it has made.
//
// # How it is known what RabbitMQ has confirmed
//
// The bridge writes a receipt in the transaction that moves its position: for each
// shard, from which sequence of EVENTS to which it has published and got confirmed,
// how many messages, and the exclusive or of their ids (Receipts). So a position
// that was moved over events by hand leaves a gap between two receipts, and a
// message that was left out makes a receipt differ from what its events demand:
// one by its very id, several by their number.
package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/processors"
	"beat/projections"
	"beat/streams/bus"
	"beat/streams/lanes"
	"beat/streams/social"
)

// Config of an audit.
type Config struct {
	DB    *pgxpool.Pool
	JS    jetstream.JetStream
	Since time.Time // what was stored from this time on; zero all
	Until time.Time // and before this one; zero all
	// Grace is how long something may take before it counts as lost. A stuck task
	// is one whose lease ended that long ago.
	Grace  time.Duration
	Parse  []string // the durable consumers of RAW
	Bridge bool     // RabbitMQ is told, and has to have been told everything
	Sample int      // entities whose rows are folded again; 0 all that were touched
}

// in reports whether something that was stored at a time is looked at.
func (c *Config) in(at time.Time) bool {
	return !at.Before(c.Since) && (c.Until.IsZero() || at.Before(c.Until))
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

// miss notes what is missing of an hour, which may be nil.
func (c *Check) miss(h *Hour, format string, args ...any) {
	c.Missing++
	if h != nil {
		h.Missing++
	}
	if len(c.IDs) < most {
		c.IDs = append(c.IDs, fmt.Sprintf(format, args...))
	}
}

// An Hour is what each stage was given and has made, of what was stored in it.
type Hour struct {
	Hour     time.Time `json:"hour"`
	Tasks    int       `json:"tasks"` // created
	Complete int       `json:"complete"`
	Failed   int       `json:"failed"`
	Live     int       `json:"live"`
	Answers  int       `json:"answers"` // raw
	Parsed   int       `json:"parsed"`
	Dead     int       `json:"dead"`
	Skipped  int       `json:"skipped"` // their verdict says why
	Events   int       `json:"events"`  // observations
	Stored   int       `json:"stored"`
	Messages int       `json:"messages"` // that RabbitMQ is to be told
	Told     int       `json:"told"`
	UnderWay int       `json:"under_way"` // answers and events that a stage has yet to reach
	Missing  int       `json:"missing"`
}

// A Report is what an audit has found.
type Report struct {
	Checks []*Check `json:"checks"`
	Hours  []*Hour  `json:"hours"`
}

// Missing is the sum of all checks.
func (r *Report) Missing() (n int) {
	for _, c := range r.Checks {
		n += c.Missing
	}
	return n
}

// UnderWay is what stages have yet to reach.
func (r *Report) UnderWay() (n int) {
	for _, h := range r.Hours {
		n += h.UnderWay
	}
	return n
}

// Run makes all checks. Its error is that one could not be made.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	a := &auditor{Config: cfg, began: time.Now(), hours: map[time.Time]*Hour{}, commits: ids{}, dead: ids{}, waiting: ids{}, touched: map[entity]bool{}}
	// What a stage was given first, and then what it has made of it: what is handed
	// on in between is seen twice rather than not at all.
	if err := a.look(ctx); err != nil {
		return nil, err
	}
	r := &Report{Checks: []*Check{}, Hours: []*Hour{}}
	for _, check := range []func(context.Context) ([]*Check, error){a.streams, a.tasks, a.events, a.answers, a.rows} {
		cs, err := check(ctx)
		if err != nil {
			return r, err
		}
		for _, c := range cs {
			if c.IDs == nil {
				c.IDs = []string{}
			}
			r.Checks = append(r.Checks, c)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(a.hours), time.Time.Compare) {
		r.Hours = append(r.Hours, a.hours[at])
	}
	return r, nil
}

// ids are a set of raw ids, of which there may be a million: 16 bytes each.
type ids map[[16]byte]struct{}

func key(id string) [16]byte {
	h := sha256.Sum256([]byte(id))
	return [16]byte(h[:16])
}

func (s ids) add(id string)      { s[key(id)] = struct{}{} }
func (s ids) has(id string) bool { _, ok := s[key(id)]; return ok }

type auditor struct {
	Config
	began   time.Time
	hours   map[time.Time]*Hour
	settled uint64 // sequence of RAW that all parsers have settled up to
	commits ids    // raw answers that led to a commit
	dead    ids    // raw answers of dead letters
	waiting ids    // raw answers that wait to be processed
	touched map[entity]bool

	projected, told []uint64 // positions by shard
	stretches       stretches
}

type entity struct {
	platform social.Platform
	kind     social.Kind
	key      string
}

func (a *auditor) hour(at time.Time) *Hour {
	at = at.UTC().Truncate(time.Hour)
	h := a.hours[at]
	if h == nil {
		h = &Hour{Hour: at}
		a.hours[at] = h
	}
	return h
}

// look reads how far the stages are.
func (a *auditor) look(ctx context.Context) (err error) {
	if a.settled, err = a.floor(ctx, bus.Raw, a.Parse); err != nil {
		return err
	}
	s, err := a.JS.Stream(ctx, bus.Events)
	if err != nil {
		return fmt.Errorf("stream %s: %w", bus.Events, err)
	}
	if a.projected, err = lanes.Positions(ctx, a.DB, s, "project"); err != nil {
		return err
	}
	if a.Bridge {
		if a.told, err = lanes.Positions(ctx, a.DB, s, "bridge"); err != nil {
			return err
		}
		if a.stretches, err = readStretches(ctx, a.DB, lanes.Identity(s)); err != nil {
			return err
		}
	}
	err = bus.Scan{Stream: bus.Parsed}.Each(ctx, a.JS, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		b, err := social.UnmarshalBatch(data)
		a.waiting.add(b.Raw.ID)
		return err
	})
	if err != nil {
		return err
	}
	return bus.Scan{Stream: bus.Dead, Headers: true}.Each(ctx, a.JS, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if id := m.Headers().Get(bus.HeaderDeadRaw); id != "" {
			a.dead.add(id)
		}
		return nil
	})
}

// streams: nothing was taken out of the middle of what is only ever appended to.
func (a *auditor) streams(ctx context.Context) ([]*Check, error) {
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
		for _, seq := range info.State.Deleted {
			if seq < info.State.FirstSeq || seq == 0 { // of a stream that was set back to nothing
				continue
			}
			c.miss(nil, "%s %d", name, seq)
		}
	}
	return []*Check{c}, nil
}

// tasks: each has one outcome, or is live.
func (a *auditor) tasks(ctx context.Context) ([]*Check, error) {
	c := &Check{Name: "tasks", Do: "beat tasks why ID; a task whose lease has ended is taken back by any scheduler that runs"}
	const window = `((created_at >= $1 OR created_at IS NULL) AND ($2::timestamp IS NULL OR created_at < $2))`
	var until *time.Time
	if !a.Until.IsZero() {
		until = &a.Until
	}
	rows, err := a.DB.Query(ctx, `
SELECT date_trunc('hour', coalesce(created_at, timestamp '2000-01-01')), count(*), count(*) FILTER (WHERE status = 'COMPLETE'), count(*) FILTER (WHERE status = 'FAILED')
FROM scrape_request_log WHERE `+window+` GROUP BY 1`, a.Since, until)
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	var at time.Time
	var all, complete, failed int
	_, err = pgx.ForEachRow(rows, []any{&at, &all, &complete, &failed}, func() error {
		h := a.hour(at)
		h.Tasks, h.Complete, h.Failed, h.Live = all, complete, failed, all-complete-failed
		c.Looked += all
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	rows, err = a.DB.Query(ctx, `
SELECT id, coalesce(created_at, timestamp '2000-01-01'), CASE
    WHEN status = 'PROCESSING' THEN 'its lease ended at ' || coalesce(lease_until::text, 'no time')
    WHEN status = 'PENDING' THEN 'it is due since ' || run_at::text
    WHEN status IN ('COMPLETE', 'FAILED') THEN 'it has ended at no time'
    ELSE 'its status is ' || coalesce(status, 'null') END
FROM scrape_request_log
WHERE status = 'PROCESSING' AND coalesce(lease_until, picked_at, '-infinity') < $3 -- stuck, since whenever
    OR status = 'PENDING' AND run_at < $3
    OR `+window+` AND (status IN ('COMPLETE', 'FAILED') AND scraped_at IS NULL
    OR status IS NULL OR status NOT IN ('PENDING', 'PROCESSING', 'COMPLETE', 'FAILED'))
ORDER BY id`, a.Since, until, a.began.UTC().Add(-a.Grace))
	if err != nil {
		return nil, fmt.Errorf("read tasks: %w", err)
	}
	var id int64
	var why string
	_, err = pgx.ForEachRow(rows, []any{&id, &at, &why}, func() error {
		c.miss(a.hour(at), "task %d: %s", id, why)
		return nil
	})
	return []*Check{c}, err
}

// answers: each that was to be parsed has led to a commit or to a dead letter.
func (a *auditor) answers(ctx context.Context) ([]*Check, error) {
	c := &Check{Name: "answers of RAW", Do: "beat replay --raw ID parses one again"}
	late := a.began.Add(-a.Grace)
	scan := bus.Scan{Stream: bus.Raw, Since: a.Since, Headers: true}
	err := scan.Each(ctx, a.JS, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if !a.in(meta.Timestamp) {
			return bus.ErrEnough
		}
		h, id := a.hour(meta.Timestamp), m.Headers().Get(bus.HeaderRawID)
		c.Looked++
		h.Answers++
		switch {
		case m.Headers().Get(bus.HeaderVerdict) != processors.OK: // that is its reason
			h.Skipped++
		case a.commits.has(id):
			h.Parsed++
		case a.dead.has(id):
			h.Dead++
		case a.waiting.has(id), meta.Sequence.Stream > a.settled && meta.Timestamp.After(late):
			h.UnderWay++
		default:
			c.miss(h, "raw %s, message %d", id, meta.Sequence.Stream)
		}
		return nil
	})
	return []*Check{c}, err
}

// rows: each says what the observations of its entity say.
func (a *auditor) rows(ctx context.Context) ([]*Check, error) {
	c := &Check{Name: "rows", Do: "something else has written them: beat state ENTITY shows what was observed"}
	keys := map[entity][]string{}
	n := 0
	for e := range a.touched { // in no order: a sample is another each time
		if n++; a.Sample > 0 && n > a.Sample {
			break
		}
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
				c.miss(nil, "%s %s, column %s", d.Table, d.Key, d.Column)
			}
		}
		c.Looked += len(all)
	}
	return []*Check{c}, nil
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
