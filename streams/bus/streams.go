package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams. Their subjects and rules are rows of the table below.
const (
	Tasks  = "TASKS"
	Raw    = "RAW"
	Parsed = "PARSED"
	Events = "EVENTS"
	Dead   = "DEAD"
)

const (
	laterPrefix = "beat.later." // scheduled messages wait here, one subject each, inside Tasks
	deadPrefix  = "beat.dead."

	// dedupeWindow is how long a stream remembers message ids. A redelivery
	// publishes the same ids again; it comes after AckWait (30 s), or after a
	// crash and restart, so two minutes cover the usual case and cost some 100
	// bytes of server memory per message. Beyond it consumers are idempotent.
	dedupeWindow = 2 * time.Minute

	// maxQueued bounds the streams that refuse instead of forgetting. A full
	// stream is back-pressure; a million is some GB on disk, far more than ever
	// waits while consumers work. Options.MaxBytes says it in bytes.
	maxQueued = 1_000_000

	maxDead = 30 * 24 * time.Hour
)

// row is a stream of the table: what never changes. Options give the rest.
type row struct {
	name      string
	subjects  []string
	trim      bool                        // acked messages are removed, see trimmer; no two consumers may share a subject
	refuse    bool                        // full means refuse new messages; otherwise the oldest go
	schedules bool                        // accepts scheduled messages
	maxAge    func(Options) time.Duration // nil: for ever
}

var table = []row{
	{
		// Not "refuse": a stream with message schedules cannot discard new
		// (nats-server 2.15.2, error 10052), and with discard old any limit of
		// its own would drop the oldest task. So it has none. What bounds it is
		// that tasks are claimed only while their flow's backlog is short, and
		// at last the server's storage limit, which refuses (ErrFull).
		name:      Tasks,
		subjects:  []string{"beat.task.>", laterPrefix + ">"},
		trim:      true,
		schedules: true,
	},
	{
		name:     Raw,
		subjects: []string{"beat.raw.>"},
		maxAge:   func(o Options) time.Duration { return o.RetainRaw },
	},
	{
		name:     Parsed,
		subjects: []string{"beat.parsed.>"},
		trim:     true,
		refuse:   true,
	},
	{
		name:     Events,
		subjects: []string{"beat.event.>"},
		maxAge:   func(o Options) time.Duration { return o.RetainEvents },
	},
	{
		name:     Dead,
		subjects: []string{deadPrefix + ">"},
		maxAge:   func(Options) time.Duration { return maxDead },
	},
}

// streamOf names the table's stream for a subject, or "" for a foreign one.
func streamOf(subject string) string {
	for i := range table {
		for _, s := range table[i].subjects {
			if strings.HasPrefix(subject, s[:len(s)-1]) {
				return table[i].name
			}
		}
	}
	return ""
}

// rowOf is the table's row of a stream, zero for a foreign one.
func rowOf(stream string) row {
	for _, r := range table {
		if r.name == stream {
			return r
		}
	}
	return row{}
}

// Options is what an installation decides about the streams. A zero field means
// its default.
type Options struct {
	Replicas     int              // default 1
	MaxBytes     map[string]int64 // by stream name, not for TASKS; default unlimited
	RetainRaw    time.Duration    // how far back a replay reaches; default 7 days
	RetainEvents time.Duration    // how far back a projection can be rebuilt; default 30 days
	// HoldRaw is for an installation with an archive: RAW drops nothing by
	// itself. It refuses when it is full, and the archive removes what it has.
	HoldRaw bool
}

func (o Options) withDefaults() Options {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.RetainRaw == 0 {
		o.RetainRaw = 7 * 24 * time.Hour
	}
	if o.RetainEvents == 0 {
		o.RetainEvents = 30 * 24 * time.Hour
	}
	return o
}

// Streams is the table as the server wants it.
func Streams(o Options) []jetstream.StreamConfig {
	o = o.withDefaults()
	all := make([]jetstream.StreamConfig, 0, len(table))
	for _, r := range table {
		c := jetstream.StreamConfig{
			Name:               r.name,
			Subjects:           r.subjects,
			Retention:          jetstream.LimitsPolicy,
			Storage:            jetstream.FileStorage,
			Replicas:           o.Replicas,
			MaxMsgs:            -1,
			MaxBytes:           -1,
			Duplicates:         dedupeWindow,
			AllowAtomicPublish: true,
			AllowMsgSchedules:  r.schedules,
			AllowRollup:        r.schedules, // a schedule replaces its predecessor
			AllowDirect:        true,        // the console reads single messages
		}
		if r.refuse {
			c.Discard = jetstream.DiscardNew
			c.MaxMsgs = maxQueued
		}
		if r.maxAge != nil {
			c.MaxAge = r.maxAge(o)
		}
		if n := o.MaxBytes[r.name]; n > 0 {
			c.MaxBytes = n
		}
		if o.HoldRaw && r.name == Raw {
			c.MaxAge, c.Discard = 0, jetstream.DiscardNew
		}
		all = append(all, c)
	}
	return all
}

// Consumer is a row of the caller's consumer table: one durable pull consumer,
// shared by every process that names it. A zero field means its default.
type Consumer struct {
	Stream  string
	Durable string
	Filter  []string // subjects; default the whole stream. Must not overlap within TASKS and PARSED

	// MaxAckPending bounds the messages handed out and not yet settled, over
	// all processes together: it is the fleet-wide concurrency. Default 1000.
	MaxAckPending int
	// AckWait is how long after the last sign of life a message goes to
	// someone else. A live handler gives that sign by itself. Default 30s.
	AckWait time.Duration
	// MaxDeliver is the server's own limit, and the default, unlimited, is
	// right: what reaches it stays in the stream and nobody ever sees it again.
	// Route.MaxDeliver parks instead.
	MaxDeliver int
	// FromNow starts a new consumer at the end of the stream rather than at its
	// beginning.
	FromNow bool
}

const defaultAckWait = 30 * time.Second

func (c Consumer) config(o Options) jetstream.ConsumerConfig {
	cc := jetstream.ConsumerConfig{
		Durable:       c.Durable,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,
		MaxDeliver:    c.MaxDeliver,
		MaxAckPending: c.MaxAckPending,
		Replicas:      o.Replicas,
	}
	switch len(c.Filter) {
	case 0:
	case 1:
		cc.FilterSubject = c.Filter[0]
	default:
		cc.FilterSubjects = c.Filter
	}
	if cc.AckWait == 0 {
		cc.AckWait = defaultAckWait
	}
	if cc.MaxDeliver == 0 {
		cc.MaxDeliver = -1
	}
	if cc.MaxAckPending == 0 {
		cc.MaxAckPending = 1000 // the server's default too
	}
	if c.FromNow {
		cc.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return cc
}

// Drift is one difference between the tables and the server. Consumer is empty
// when the stream itself differs.
type Drift struct {
	Stream, Consumer, Field, Want, Got string
}

func (d Drift) String() string {
	name := d.Stream
	if d.Consumer != "" {
		name += "/" + d.Consumer
	}
	return fmt.Sprintf("%s: %s is %s, not %s", name, d.Field, d.Got, d.Want)
}

// Ensure creates the streams and consumers that are missing and reports how the
// existing ones differ. It never changes what exists: a limit may have been
// tightened by hand for a reason, and a changed filter or retention loses
// messages.
func Ensure(ctx context.Context, js jetstream.JetStream, o Options, consumers []Consumer) ([]Drift, error) {
	o = o.withDefaults()
	if o.MaxBytes[Tasks] > 0 {
		return nil, fmt.Errorf("bus: stream %s: a limit in bytes would drop its oldest tasks", Tasks)
	}
	var drift []Drift
	for _, want := range Streams(o) {
		d, err := ensureStream(ctx, js, want)
		if err != nil {
			return drift, fmt.Errorf("bus: stream %s: %w", want.Name, err)
		}
		drift = append(drift, d...)
	}
	for _, c := range consumers {
		d, err := ensureConsumer(ctx, js, c.Stream, c.config(o))
		if err != nil {
			return drift, fmt.Errorf("bus: consumer %s/%s: %w", c.Stream, c.Durable, err)
		}
		drift = append(drift, d...)
	}
	return drift, nil
}

// Hold makes an existing RAW keep everything, see Options.HoldRaw, and reports
// whether it was not like that. Ensure would only tell that it is not: but here
// to wait is to lose what nobody has kept yet.
func Hold(ctx context.Context, js jetstream.JetStream) (changed bool, err error) {
	s, err := js.Stream(ctx, Raw)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil // Ensure makes it as it is to be
	}
	if err != nil {
		return false, fmt.Errorf("bus: stream %s: %w", Raw, err)
	}
	c := s.CachedInfo().Config
	if c.MaxAge == 0 && c.Discard == jetstream.DiscardNew {
		return false, nil
	}
	c.MaxAge, c.Discard = 0, jetstream.DiscardNew
	if _, err := js.UpdateStream(ctx, c); err != nil {
		return false, fmt.Errorf("bus: stream %s: %w", Raw, err)
	}
	return true, nil
}

func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) ([]Drift, error) {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if err == nil {
			return nil, nil
		}
		// Another process was faster, with other options.
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	got := s.CachedInfo().Config
	d := diff{drift: Drift{Stream: want.Name}}
	d.add("subjects", want.Subjects, got.Subjects)
	d.add("retention", want.Retention, got.Retention)
	d.add("discard", want.Discard, got.Discard)
	d.add("storage", want.Storage, got.Storage)
	d.add("compression", want.Compression, got.Compression)
	d.add("replicas", want.Replicas, got.Replicas)
	d.add("max messages", want.MaxMsgs, got.MaxMsgs)
	d.add("max bytes", want.MaxBytes, got.MaxBytes)
	d.add("max age", want.MaxAge, got.MaxAge)
	d.add("duplicate window", want.Duplicates, got.Duplicates)
	d.add("atomic publish", want.AllowAtomicPublish, got.AllowAtomicPublish)
	d.add("message schedules", want.AllowMsgSchedules, got.AllowMsgSchedules)
	return d.all, nil
}

func ensureConsumer(ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig) ([]Drift, error) {
	c, err := js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		_, err = js.CreateConsumer(ctx, stream, want)
		if err == nil {
			return nil, nil
		}
		if errors.Is(err, jetstream.ErrConsumerExists) {
			c, err = js.Consumer(ctx, stream, want.Durable)
		}
	}
	if err != nil {
		return nil, err
	}
	got := c.CachedInfo().Config
	d := diff{drift: Drift{Stream: stream, Consumer: want.Durable}}
	d.add("filter", filters(want), filters(got))
	d.add("max ack pending", want.MaxAckPending, got.MaxAckPending)
	d.add("ack wait", want.AckWait, got.AckWait)
	d.add("ack policy", want.AckPolicy, got.AckPolicy)
	d.add("max deliver", want.MaxDeliver, got.MaxDeliver)
	d.add("start", want.DeliverPolicy, got.DeliverPolicy)
	return d.all, nil
}

func filters(c jetstream.ConsumerConfig) []string {
	if c.FilterSubject != "" {
		return []string{c.FilterSubject}
	}
	f := slices.Clone(c.FilterSubjects)
	slices.Sort(f)
	return f
}

type diff struct {
	drift Drift
	all   []Drift
}

func (d *diff) add(field string, want, got any) {
	w, g := fmt.Sprint(want), fmt.Sprint(got)
	if w == g {
		return
	}
	x := d.drift
	x.Field, x.Want, x.Got = field, w, g
	d.all = append(d.all, x)
}
