// Package quarantine keeps back what is hardly true: a profile that has lost
// nine tenths of its followers or posts overnight is more often a provider's or
// a parser's mistake than a fact.
//
// # What is stored
//
// A row of beat_quarantine is one observation that was kept back, whole, so that
// it can still be passed on. It is in one of these states:
//
//	held       nobody else has said so yet; at most one of an entity
//	confirmed  another answer says so too: that one was passed on
//	replaced   another answer says something else, which is what counts
//	accepted   a person has had it passed on
//	rejected   a person has turned it down
//
// What is kept back never reaches the EVENTS stream, and so neither the tables
// nor RabbitMQ. The rest of its answer does, and the end of its run.
//
// # Looking again
//
// Whoever holds an observation asks for one task that looks again, of another
// provider where there is one. It runs like any other; what it sees confirms or
// replaces the held observation, as what any other task sees does. An
// observation that takes the place of a held one asks for no further task, or
// two providers that are wrong in different ways would ask for ever.
//
// # Failures
//
// Rows are keyed by event, and decided_by names the event that has confirmed a
// row, so that a message that comes again is judged as before. The task has an
// idempotency key of the event: killed between the row and the task, the message
// comes again and asks for it then. Postgres away, nothing is passed on; the
// messages wait.
package quarantine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A State is what has become of an observation that was kept back.
type State string

// The states, see the package comment.
const (
	Held      State = "held"
	Confirmed State = "confirmed"
	Accepted  State = "accepted"
	Rejected  State = "rejected"
	Replaced  State = "replaced"
)

// An Enqueuer stores tasks; the same idempotency key stores one. *schedule.Queue
// is one.
type Enqueuer interface {
	Enqueue(ctx context.Context, r schedule.Request) (schedule.Enqueued, error)
}

// timeout bounds the work on one log.
const timeout = 15 * time.Second

// A Store is the table. It is safe for concurrent use.
type Store struct {
	lg    *slog.Logger
	db    *pgxpool.Pool
	queue Enqueuer
	total *prometheus.CounterVec
}

// New returns a Store that asks queue to look again. It does no I/O.
func New(lg *slog.Logger, db *pgxpool.Pool, queue Enqueuer) *Store {
	return &Store{lg, db, queue, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "beat_quarantine_total",
		Help: "Observations of counts that fell to a tenth and are kept back (drop), were confirmed or replaced by another, or rose tenfold and were passed on (rise).",
	}, []string{"what"})}
}

// Collectors are to be registered by the process, once.
func (s *Store) Collectors() []prometheus.Collector { return []prometheus.Collector{s.total} }

// Check returns those of logs, which are of batch b, that are to be passed on. It
// reads once if there is a log to be judged, and not otherwise.
func (s *Store) Check(ctx context.Context, b social.Batch, logs []social.Log) ([]social.Log, error) {
	r, ok := rules[b.Ask.Task.Platform]
	if !ok {
		return logs, nil
	}
	var judged []social.Log
	for _, l := range logs {
		if l.Kind == social.Profile {
			judged = append(judged, l)
		}
	}
	if len(judged) == 0 {
		return logs, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := s.read(ctx, r, b, judged)
	if err != nil {
		return nil, err
	}
	keep := map[string]bool{} // by key
	for i, l := range judged {
		if keep[l.Key], err = s.judge(ctx, r, b, l, found[i]); err != nil {
			return nil, err
		}
	}
	kept := make([]social.Log, 0, len(logs))
	for _, l := range logs {
		if l.Kind != social.Profile || !keep[l.Key] {
			kept = append(kept, l)
		}
	}
	return kept, nil
}

// A found is what is stored about a log.
type found struct {
	stored []value // in the order of rule.counts
	known
}

// readSQL: the time of a value is in the lineage of its row.
func (r rule) readSQL() string {
	var values, times []string
	for _, c := range r.counts {
		values = append(values, "a."+c.column)
		times = append(times, fmt.Sprintf("a.lineage #>> ARRAY['a', a.lineage #>> '{c,%s}', '1']", c.column))
	}
	return fmt.Sprintf(`
SELECT ARRAY[%[3]s]::bigint[], ARRAY[%[4]s]::text[], h.id, h.event_id::text, h.columns, h.observed_at, h.confirm_task_id,
       EXISTS (SELECT FROM beat_quarantine q WHERE q.event_id = u.event::uuid),
       EXISTS (SELECT FROM beat_quarantine q WHERE q.decided_by = u.event::uuid AND q.state = 'confirmed')
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u(key, event, i)
LEFT JOIN %[1]s a ON a.%[2]s = u.key
LEFT JOIN beat_quarantine h ON h.platform = $1 AND h.key = u.key AND h.state = 'held'
ORDER BY u.i`, r.table, r.key, strings.Join(values, ", "), strings.Join(times, ", "))
}

// read returns what is stored about logs, in their order.
func (s *Store) read(ctx context.Context, r rule, b social.Batch, logs []social.Log) ([]found, error) {
	keys, events := make([]string, len(logs)), make([]string, len(logs))
	for i, l := range logs {
		keys[i], events[i] = l.Key, event.LogID(b.Raw.ID, l)
	}
	rows, err := s.db.Query(ctx, r.readSQL(), string(b.Ask.Task.Platform), keys, events)
	if err != nil {
		return nil, fmt.Errorf("quarantine: read: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (found, error) {
		var f found
		var h waiting
		var id *int64
		var of *string
		var since *time.Time
		var values []*int64
		var times []*string
		err := row.Scan(&values, &times, &id, &of, &h.columns, &since, &h.confirm, &f.kept, &f.passed)
		if err != nil {
			return f, err
		}
		f.stored = make([]value, len(values))
		for i, n := range values {
			f.stored[i].n = n
			if times[i] != nil {
				f.stored[i].at, _ = time.Parse(time.RFC3339Nano, *times[i]) //nolint:errcheck // zero then: not known
			}
		}
		if id != nil {
			h.id, h.event, h.at = *id, *of, *since
			f.held = &h
		}
		return f, nil
	})
	if err != nil {
		return nil, fmt.Errorf("quarantine: read: %w", err)
	}
	return out, nil
}

// tries is how often a log is judged again because the held observation of its
// entity was decided on meanwhile: as many answers of one entity at once are not
// to be expected, and would only wait.
const tries = 10

// judge reports whether l is kept back, and writes down what that changes.
func (s *Store) judge(ctx context.Context, r rule, b social.Batch, l social.Log, f found) (keep bool, err error) {
	at := b.Raw.At.UTC()
	for try := range tries {
		falls, rises, said := r.changes(l, at, f.stored)
		v := decide(at, falls, said, f.known)
		if len(rises) > 0 && try == 0 {
			s.total.WithLabelValues("rise").Inc()
			s.lg.Warn("count rose tenfold", "platform", b.Ask.Task.Platform, "key", l.Key, "source", b.Raw.Source, "raw", b.Raw.ID, "rose", texts(rises))
		}
		done, err := s.write(ctx, r, b, l, falls, f.held, v)
		if err != nil || done {
			return v.keep, err
		}
		again, err := s.read(ctx, r, b, []social.Log{l})
		if err != nil {
			return false, err
		}
		f = again[0]
	}
	return false, fmt.Errorf("quarantine: %s: the held observation kept changing", l.Key)
}

const decideSQL = `
UPDATE beat_quarantine SET state = $2, decided_at = now() AT TIME ZONE 'UTC', decided_by = $3
WHERE id = $1 AND state = 'held'`

const holdSQL = `
INSERT INTO beat_quarantine (platform, kind, key, source, raw_id, task_id, parser, observed_at, columns, stored, seen,
    log, event_id, reason, confirm_task_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT DO NOTHING`

// errStale: another process was faster.
var errStale = errors.New("decided on meanwhile")

// write does what v says. done is false when the table is not any more as v has
// found it.
func (s *Store) write(ctx context.Context, r rule, b social.Batch, l social.Log, falls []change, h *waiting, v verdict) (done bool, err error) {
	id := event.LogID(b.Raw.ID, l)
	var confirm *int64
	if h != nil {
		confirm = h.confirm
	}
	if v.add || v.held != "" {
		err = pgx.BeginFunc(ctx, s.db, func(tx pgx.Tx) error {
			if v.held != "" {
				tag, err := tx.Exec(ctx, decideSQL, h.id, v.held, id)
				if err == nil && tag.RowsAffected() == 0 {
					err = errStale
				}
				if err != nil {
					return err
				}
			}
			if !v.add {
				return nil
			}
			var columns []string
			var stored, seen []int64
			for _, c := range falls {
				columns, stored, seen = append(columns, c.column), append(stored, c.stored), append(seen, c.seen)
			}
			tag, err := tx.Exec(ctx, holdSQL, string(b.Ask.Task.Platform), string(l.Kind), l.Key, b.Raw.Source, b.Raw.ID,
				b.Ask.Task.ID, b.Parser, b.Raw.At.UTC(), columns, stored, seen, l.AppendJSON(nil), id, texts(falls), confirm)
			if err == nil && tag.RowsAffected() == 0 {
				err = errStale
			}
			return err
		})
		if errors.Is(err, errStale) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("quarantine: %s: %w", l.Key, err)
		}
		s.tell(b, l, falls, v)
	}
	// Also of a message that comes again: it may have been killed right here.
	if v.keep && confirm == nil && (v.add || h != nil && h.event == id) {
		return true, s.lookAgain(ctx, r, b, l, id)
	}
	return true, nil
}

// tell logs and counts what has changed.
func (s *Store) tell(b social.Batch, l social.Log, falls []change, v verdict) {
	lg := s.lg.With("platform", b.Ask.Task.Platform, "key", l.Key, "source", b.Raw.Source, "raw", b.Raw.ID)
	if v.held != "" {
		s.total.WithLabelValues(string(v.held)).Inc()
		lg.Info("held observation decided on", "state", v.held)
	}
	if v.add {
		s.total.WithLabelValues("drop").Inc()
		lg.Warn("observation kept back until another confirms it", "task", b.Ask.Task.ID, "fell", texts(falls))
	}
}

// lookAgain asks for the task that looks once more at what event says fell.
func (s *Store) lookAgain(ctx context.Context, r rule, b social.Batch, l social.Log, event string) error {
	name, params := r.again(b.Raw.Source, l)
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	key := "quarantine:" + event
	e, err := s.queue.Enqueue(ctx, schedule.Request{Flow: name, Platform: b.Ask.Task.Platform, Params: raw, IdempotencyKey: &key})
	if err != nil {
		return fmt.Errorf("quarantine: look again at %s: %w", l.Key, err)
	}
	if _, err := s.db.Exec(ctx, `UPDATE beat_quarantine SET confirm_task_id = $2 WHERE event_id = $1`, event, e.ID); err != nil {
		return fmt.Errorf("quarantine: look again at %s: %w", l.Key, err)
	}
	return nil
}
