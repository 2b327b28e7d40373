package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/gateway"
	"beat/processors/retrieval"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/lanes"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A why is the answer to "why is this task not running?".
type why gateway.Why

// What a task may lack beside what an ask waits for.
const (
	wantScheduler = "scheduler" // no process claims tasks
	wantBacklog   = "backlog"   // the later stages are behind
	wantPlaces    = "places"    // the flow runs as many tasks as it may
	wantNATS      = "nats"
	wantRedis     = "redis"
)

// whyRow is what the row says.
type whyRow struct {
	Flow, Status, Platform string
	Data                   *string
	RunAt                  *time.Time
	WaitsFor               *string
	LeaseUntil             *time.Time
	Owner                  *string
	Fence                  int64
	Resume                 []byte
	Running                int // tasks of the flow in PROCESSING
	Ahead                  int
	Claimed                bool // some process listens for tasks
}

// A scheduler is known by what it last said to Postgres: it listens.
const whySQL = `
WITH t AS (
    SELECT *, coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute' AS place
    FROM scrape_request_log WHERE id = $1)
SELECT coalesce(t.flow, ''), coalesce(t.status, ''), lower(coalesce(t.platform, '')), t.data, t.run_at, t.waits_for,
       t.lease_until, t.lease_owner, coalesce(t.fence, 0), t.resume,
       (SELECT count(*) FROM scrape_request_log p WHERE p.status = 'PROCESSING' AND p.flow = t.flow),
       CASE WHEN t.status = 'PENDING' AND t.run_at IS NULL THEN (
           SELECT count(*) FROM scrape_request_log s
           WHERE s.status = 'PENDING' AND s.flow = t.flow AND s.run_at IS NULL
             AND (coalesce(s.created_at, timestamp '2000-01-01') - coalesce(s.priority, 1) * interval '1 minute', s.id) < (t.place, t.id)) ELSE 0 END,
       EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN beat_task')
FROM t`

// why looks at a task's row, then at what it names: pauses, credentials and
// limits, backlog and places for one that waits, the streams for one that runs.
// A server that does not answer is an answer, except Postgres.
func (a *app) why(ctx context.Context, id int64) (why, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	w := why{ID: id}
	var r whyRow
	err := a.db.QueryRow(ctx, whySQL, id).Scan(&r.Flow, &r.Status, &r.Platform, &r.Data, &r.RunAt, &r.WaitsFor,
		&r.LeaseUntil, &r.Owner, &r.Fence, &r.Resume, &r.Running, &r.Ahead, &r.Claimed)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, fmt.Errorf("task %d: %w", id, schedule.ErrNoTask)
	}
	if err != nil {
		return w, fmt.Errorf("read task %d: %w", id, err)
	}
	w.Flow, w.Status = r.Flow, r.Status
	switch r.Status {
	case social.Pending:
		return a.whyWaiting(ctx, w, r)
	case social.Processing:
		return a.whyRunning(ctx, w, r)
	case social.Complete:
		w.Says = "It is complete."
	case social.Failed:
		w.Says = "It has failed: " + clip(deref(r.Data), 600) + " (beat tasks retry runs it again.)"
	default:
		w.Says = fmt.Sprintf("Its status %q is none that beat knows, so nobody touches it.", clip(r.Status, 30))
	}
	return w, nil
}

func (a *app) whyWaiting(ctx context.Context, w why, r whyRow) (why, error) {
	f, ok := flow.ByName(r.Flow)
	if !ok {
		if does, ok := flow.Coming[r.Flow]; ok {
			w.Says = fmt.Sprintf("It was taken in for a flow that is still to come: %s %s. It keeps its place and runs once a build has that flow.", r.Flow, does)
			return w, nil
		}
		w.Says = fmt.Sprintf("No flow of this build is called %q, so nobody claims it (beat flows list).", clip(r.Flow, 60))
		return w, nil
	}
	if r.RunAt != nil && r.RunAt.After(time.Now()) {
		a.whyLater(&w, r)
	} else {
		w.Ahead = &r.Ahead
		if err := a.whyNotClaimed(ctx, &w, r, f); err != nil {
			return w, err
		}
	}
	if !r.Claimed {
		w.Says += " No scheduler is connected to Postgres, and without one nothing is claimed (beat run scheduler)."
		if w.Waits == "" {
			w.Waits, w.Expected = wantScheduler, time.Time{}
		}
	}
	return w, nil
}

// whyLater is about a task with a time to come.
func (a *app) whyLater(w *why, r whyRow) {
	w.Waits, w.Expected = deref(r.WaitsFor), *r.RunAt
	if w.Waits == "" {
		w.Says = "It was stored to run at that time and not before."
		return
	}
	w.Says = a.missing(w.Waits) + " It was put back in the middle of its run and goes on there, at once when that is over sooner."
	var at social.Ask
	if json.Unmarshal(r.Resume, &at) == nil && at.Fetch != "" {
		w.Attempts = at.Attempts
		w.Says += " Next is " + step(at) + "."
	}
}

func (a *app) whyNotClaimed(ctx context.Context, w *why, r whyRow, f flow.Flow) error {
	look, cancel := context.WithTimeout(ctx, 3*time.Second)
	o, err := a.budget.Outlook(look, f)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		w.Waits = wantRedis
		w.Says = "Redis, which counts the rate limits, does not answer: until it does, tasks begin one by one, and each process grants itself a twentieth of a limit."
		return nil
	}
	if o.Open == 0 {
		w.Waits, w.Expected = o.Waits, a.afterThose(o, r.Ahead)
		w.Says = a.missing(o.Waits)
		return nil
	}
	if !a.nc.IsConnected() {
		w.Waits, w.Says = wantNATS, "NATS does not answer: without it nothing is claimed and nothing runs."
		return nil
	}
	backlog, err := a.backlog()(ctx)
	if err != nil {
		return err
	}
	places := 2 * f.InFlight()
	if n := a.flight[f.Name]; n > 0 {
		places = n
	}
	switch {
	case backlog > schedule.MaxBacklog:
		w.Waits = wantBacklog
		w.Says = fmt.Sprintf("%d messages wait to be parsed and processed, and above %d nothing is claimed: those stages are behind, or no process runs them (beat run parsing processing).", backlog, schedule.MaxBacklog)
	case r.Running >= places:
		w.Waits = wantPlaces
		w.Says = fmt.Sprintf("All %d places of the flow are taken by running tasks.", places)
		return a.atPace(ctx, w, r)
	case r.Ahead > 0:
		w.Says = fmt.Sprintf("Nothing holds it back but the %d tasks before it.", r.Ahead)
		return a.atPace(ctx, w, r)
	case o.Source == "":
		w.Says = "No source that answers its question has a credential in use, and none rests: once claimed it will fail (beat credentials list)."
	default:
		w.Says, w.Expected = "Nothing holds it back: it is the next to be claimed.", time.Now().UTC()
	}
	return nil
}

// afterThose is when a limit will have let pass the tasks before.
func (a *app) afterThose(o retrieval.Outlook, ahead int) time.Time {
	spec := a.budget.Spec(o.Source)
	if o.Until.IsZero() || spec.Zero() || !strings.HasPrefix(o.Waits, social.WaitLimit) {
		return o.Until
	}
	return o.Until.Add(time.Duration(ahead/spec.Requests) * spec.Window())
}

// The tasks that ended last have ids not far from its own, so the key finds them.
const paceSQL = `
SELECT count(*), coalesce(extract(epoch FROM now() AT TIME ZONE 'UTC' - min(scraped_at)), 0)::float8
FROM scrape_request_log
WHERE id BETWEEN $1 - 20000 AND $1 + 1000 AND flow = $2 AND status IN ('COMPLETE', 'FAILED')
  AND scraped_at > now() AT TIME ZONE 'UTC' - interval '10 minutes'`

// atPace says when it is its turn if tasks go on ending as they did in the last
// ten minutes.
func (a *app) atPace(ctx context.Context, w *why, r whyRow) error {
	var n int
	var seconds float64
	if err := a.db.QueryRow(ctx, paceSQL, w.ID, r.Flow).Scan(&n, &seconds); err != nil {
		return fmt.Errorf("read the pace of %s: %w", r.Flow, err)
	}
	if n >= 2 {
		each := seconds / float64(n)
		w.Expected = time.Now().UTC().Add(time.Duration(float64(r.Ahead+1) * each * float64(time.Second)))
	}
	return nil
}

// missing says what a task waits for in a sentence.
func (a *app) missing(waits string) string {
	kind, name, _ := strings.Cut(waits, ":")
	switch kind {
	case social.WaitLimit:
		return fmt.Sprintf("The rate limit %s is used up (beat limits show %s).", name, name)
	case social.WaitCredential:
		return fmt.Sprintf("Every credential that could be used rests, those of %s for the shortest time (beat credentials list).", name)
	case social.WaitDown:
		return fmt.Sprintf("Source %s does not answer and no other can be asked; it is tried again every few seconds.", name)
	case social.WaitPause:
		p, ok := a.pauses.Of(name)
		if !ok {
			return fmt.Sprintf("%s was paused and is about to go on.", name)
		}
		why := ""
		if p.Reason != nil {
			why = ": " + *p.Reason
		}
		return fmt.Sprintf("The %s %s has been paused since %s UTC%s (beat resume %s).", p.Kind, name, when(&p.Since), why, name)
	case social.WaitOutage:
		return fmt.Sprintf("All sources of %s have failed; it is held for a moment to see whether they are down, since then it would wait for them instead of failing.", name)
	}
	return "It waits for " + waits + "."
}

// step names an ask for people.
func step(a social.Ask) string {
	text := string(a.Fetch) + " of " + clip(a.Key(), 40)
	if n := len(a.Keys); n > 1 {
		text += fmt.Sprintf(" and %d more", n-1)
	}
	if a.Page > 0 {
		text += fmt.Sprintf(", page %d", a.Page+1)
	}
	return text
}

func (a *app) whyRunning(ctx context.Context, w why, r whyRow) (why, error) {
	if deref(r.Owner) == "cancelled" {
		w.Says, w.Stage = "It is cancelled, and FAILED as soon as the projections have written that.", "projections"
		return w, nil
	}
	if !a.nc.IsConnected() {
		w.Waits, w.Says = wantNATS, "It runs, but NATS does not answer: it goes on when that is back."
		return w, nil
	}
	ask, at, err := a.askOf(ctx, w.ID, r)
	if err != nil {
		return w, err
	}
	if ask != nil {
		w.Stage, w.Attempts, w.Waits = "retrieval", ask.Attempts, ask.Waits
		switch {
		case at.IsZero():
			w.Says = fmt.Sprintf("It runs: %s is asked now, or next.", step(*ask))
			w.Waits = ""
		case ask.Waits != "":
			w.Says, w.Expected = fmt.Sprintf("It runs and is at %s. %s", step(*ask), a.missing(ask.Waits)), at
		default:
			w.Says, w.Expected = fmt.Sprintf("It runs: %s got no answer and is asked once more.", step(*ask)), at
		}
		nobody, err := a.nobody(ctx, bus.Tasks, r.Flow)
		if nobody {
			w.Says += " But no process asks for this flow (beat run retrieval)."
		}
		return w, err
	}
	if err := a.whyBehind(ctx, &w, r); err != nil {
		return w, err
	}
	if r.LeaseUntil != nil {
		w.Says += fmt.Sprintf(" If nothing of it is left anywhere, it begins again after %s UTC.", r.LeaseUntil.Format("15:04:05"))
	}
	return w, nil
}

// whyBehind is about a run whose last answer is on its way to the tables.
func (a *app) whyBehind(ctx context.Context, w *why, r whyRow) error {
	w.Says = "It runs: its last answer is on its way to the tables."
	for _, s := range []struct{ stream, durable, role, verb string }{
		{bus.Raw, "parse-" + r.Platform, "parsing", "parsed"},
		{bus.Parsed, "process-" + r.Platform, "processing", "processed"},
	} {
		cons, err := a.js.Consumer(ctx, s.stream, s.durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // a platform that has none
		}
		if err != nil {
			return err
		}
		info := cons.CachedInfo()
		n := int(info.NumPending) + info.NumAckPending
		if n == 0 {
			continue
		}
		if w.Stage == "" {
			w.Stage = s.role
		}
		wait := "messages wait"
		if n == 1 {
			wait = "message waits"
		}
		w.Says += fmt.Sprintf(" %d %s to be %s", n, wait, s.verb)
		if idle(info) {
			w.Says += fmt.Sprintf(", and no process does that (beat run %s)", s.role)
		}
		w.Says += "."
	}
	since, err := a.unwritten(ctx)
	if err != nil {
		return err
	}
	if w.Stage == "" {
		w.Stage = "projections"
	}
	if !since.IsZero() {
		w.Says += fmt.Sprintf(" Events wait to be written since %s UTC", since.UTC().Format("15:04:05"))
		if time.Since(since) > 10*time.Second {
			w.Says += ": is a process doing that (beat run projections)?"
		}
		w.Says = strings.TrimSuffix(w.Says, "?") + "."
	}
	return nil
}

// nobody reports whether no process works for a consumer.
func (a *app) nobody(ctx context.Context, stream, durable string) (bool, error) {
	cons, err := a.js.Consumer(ctx, stream, durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return idle(cons.CachedInfo()), nil
}

// idle: a process that works either holds a message or has asked for one.
func idle(i *jetstream.ConsumerInfo) bool { return i.NumWaiting == 0 && i.NumAckPending == 0 }

// unwritten is since when an event waits for the projections, zero for none.
func (a *app) unwritten(ctx context.Context) (since time.Time, err error) {
	s, err := a.js.Stream(ctx, bus.Events)
	if err != nil {
		return since, err
	}
	applied, err := lanes.Positions(ctx, a.db, s, "project")
	if err != nil {
		return since, err
	}
	for shard, seq := range applied {
		m, err := s.GetMsg(ctx, seq+1, jetstream.WithGetMsgSubject(event.Filter(shard)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return since, err
		}
		if since.IsZero() || m.Time.Before(since) {
			since = m.Time
		}
	}
	return since, nil
}

// mostAsks is how many waiting asks are looked through for one of a task.
const mostAsks = 20_000

// askOf finds the ask of a task's run that waits in TASKS, nil when there is none;
// at is when it will be asked, zero for now.
func (a *app) askOf(ctx context.Context, id int64, r whyRow) (ask *social.Ask, at time.Time, err error) {
	s, err := a.js.Stream(ctx, bus.Tasks)
	if err != nil {
		return nil, at, err
	}
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: []string{schedule.TaskSubject(social.Platform(strings.ToUpper(r.Platform)), r.Flow), bus.LaterSubjects},
		AckPolicy:      jetstream.AckNonePolicy, MemoryStorage: true, InactiveThreshold: 5 * time.Second,
	})
	if err != nil {
		return nil, at, err
	}
	info := cons.CachedInfo()
	defer s.DeleteConsumer(context.WithoutCancel(ctx), info.Name) //nolint:errcheck // it ends by itself
	left := int(min(info.NumPending, mostAsks))
	for left > 0 {
		batch, err := cons.Fetch(min(left, 500), jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return nil, at, err
		}
		n := 0
		for m := range batch.Messages() {
			n++
			data, err := bus.Unpack(m.Headers(), m.Data())
			if err != nil {
				continue
			}
			var one social.Ask
			if json.Unmarshal(data, &one) != nil || one.Task.ID != id || one.Task.Fence != r.Fence ||
				ask != nil && one.Seq < ask.Seq {
				continue
			}
			ask, at = &one, bus.ScheduledAt(m.Headers())
		}
		if n == 0 {
			break
		}
		left -= n
	}
	return ask, at, nil
}
