package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/gateway"
	"beat/processors/retrieval"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A why is the answer to "why is this task not running?".
type why struct {
	ID       int64            `json:"id"`
	Flow     string           `json:"flow"`
	Status   string           `json:"status"`
	Says     string           `json:"says"`               // one sentence
	Waits    string           `json:"waits,omitempty"`    // kind:name of what is missing, such as limit:rocketapi
	Expected time.Time        `json:"expected,omitzero"`  // when it will run, as far as can be told
	Ahead    *int             `json:"ahead,omitempty"`    // tasks of the flow that are claimed before it
	Stage    string           `json:"stage,omitempty"`    // where a running task is
	Attempts []social.Attempt `json:"attempts,omitempty"` // sources that failed the step it is at
}

// whyRow is what the row says.
type whyRow struct {
	Flow, Status  string
	Data          *string
	RunAt         *time.Time
	WaitsFor      *string
	LeaseUntil    *time.Time
	PickedAt      *time.Time
	Owner         *string
	Running       int // tasks of the flow in PROCESSING
	AheadOfIt     int
	PlatformLower string
}

const whySQL = `
WITH t AS (
    SELECT *, coalesce(created_at, timestamp '2000-01-01') - coalesce(priority, 1) * interval '1 minute' AS place
    FROM scrape_request_log WHERE id = $1)
SELECT coalesce(t.flow, ''), coalesce(t.status, ''), t.data, t.run_at, t.waits_for, t.lease_until, t.picked_at, t.lease_owner,
       lower(coalesce(t.platform, '')),
       (SELECT count(*) FROM scrape_request_log p WHERE p.status = 'PROCESSING' AND p.flow = t.flow),
       CASE WHEN t.status = 'PENDING' AND t.run_at IS NULL THEN (
           SELECT count(*) FROM scrape_request_log s
           WHERE s.status = 'PENDING' AND s.flow = t.flow AND s.run_at IS NULL
             AND (coalesce(s.created_at, timestamp '2000-01-01') - coalesce(s.priority, 1) * interval '1 minute', s.id) < (t.place, t.id)) ELSE 0 END
FROM t`

// why looks at a task's row, then at what it names: pauses, places, backlog,
// credentials and limits for one that waits, the streams for one that runs.
func (a *app) why(ctx context.Context, id int64) (why, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	w := why{ID: id}
	var r whyRow
	err := a.db.QueryRow(ctx, whySQL, id).Scan(&r.Flow, &r.Status, &r.Data, &r.RunAt, &r.WaitsFor, &r.LeaseUntil, &r.PickedAt,
		&r.Owner, &r.PlatformLower, &r.Running, &r.AheadOfIt)
	if errors.Is(err, pgx.ErrNoRows) {
		return w, fmt.Errorf("task %d: %w", id, gateway.ErrNoTask)
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
		w.Says = "It has failed: " + clip(deref(r.Data), 300)
	default:
		w.Says = fmt.Sprintf("Its status %q is none that beat knows.", clip(r.Status, 30))
	}
	return w, nil
}

func (a *app) whyWaiting(ctx context.Context, w why, r whyRow) (why, error) {
	f, ok := flow.ByName(r.Flow)
	if !ok {
		w.Says = fmt.Sprintf("No flow of this build has the name %q: it is claimed by none.", clip(r.Flow, 60))
		return w, nil
	}
	if r.RunAt != nil && r.RunAt.After(time.Now()) {
		w.Waits, w.Expected = deref(r.WaitsFor), *r.RunAt
		if w.Waits == "" {
			w.Says = "It is to run at that time and not before."
		} else {
			w.Says = missing(w.Waits) + " It was put back in the middle of its run and goes on from there."
		}
		return w, nil
	}
	w.Ahead = &r.AheadOfIt
	o, err := a.budget.Outlook(ctx, f)
	if err != nil {
		return w, err
	}
	backlog, err := a.backlog()(ctx)
	if err != nil {
		return w, err
	}
	places := 2 * f.InFlight()
	if n := a.flight[f.Name]; n > 0 {
		places = n
	}
	switch {
	case o.Open == 0:
		w.Waits, w.Expected = o.Waits, o.Until
		w.Says = missing(o.Waits)
		w.Expected = a.afterThose(o, r.AheadOfIt)
	case backlog > schedule.MaxBacklog:
		w.Waits = "backlog"
		w.Says = fmt.Sprintf("%d answers wait to be parsed and processed; nothing is claimed above %d.", backlog, schedule.MaxBacklog)
	case r.Running >= places:
		w.Waits = "places"
		w.Says = fmt.Sprintf("All %d places of the flow are taken.", places)
	case r.AheadOfIt > 0:
		w.Says = "Nothing holds it back but those before it."
	default:
		w.Says, w.Expected = "Nothing holds it back: it is the next to be claimed, if a scheduler runs.", time.Now().UTC()
	}
	return w, nil
}

// afterThose is when a limit will have let pass the tasks before.
func (a *app) afterThose(o retrieval.Outlook, ahead int) time.Time {
	spec := a.budget.Spec(o.Source)
	if o.Until.IsZero() || spec.Zero() || !strings.HasPrefix(o.Waits, social.WaitLimit) {
		return o.Until
	}
	return o.Until.Add(time.Duration(ahead/spec.Requests) * spec.Window())
}

// missing says what a task waits for in a sentence.
func missing(waits string) string {
	kind, name, _ := strings.Cut(waits, ":")
	switch kind {
	case social.WaitLimit:
		return fmt.Sprintf("The rate limit %s is used up (beat limits show %s).", name, name)
	case social.WaitCredential:
		return fmt.Sprintf("All credentials of %s rest (beat credentials list).", name)
	case social.WaitDown:
		return fmt.Sprintf("The source %s does not answer; it is asked again every few seconds.", name)
	case social.WaitPause:
		return fmt.Sprintf("%s is paused (beat resume %s).", name, name)
	case social.WaitOutage:
		return "All its sources have failed; it is being found out whether they are down."
	}
	return "It waits for " + waits + "."
}

func (a *app) whyRunning(ctx context.Context, w why, r whyRow) (why, error) {
	if deref(r.Owner) == "cancelled" {
		w.Says, w.Stage = "It is being cancelled.", "projections"
		return w, nil
	}
	ask, at, err := a.askOf(ctx, w.ID, r)
	if err != nil {
		return w, err
	}
	if ask != nil {
		w.Stage, w.Attempts, w.Waits = "retrieval", ask.Attempts, ask.Waits
		step := fmt.Sprintf("%s of %s, page %d", ask.Fetch, clip(ask.Key(), 40), ask.Page+1)
		switch {
		case ask.Waits != "":
			w.Says, w.Expected = fmt.Sprintf("It runs, at %s. %s", step, missing(ask.Waits)), at
		case !at.IsZero():
			w.Says, w.Expected = fmt.Sprintf("It runs, and asks %s once more.", step), at
		default:
			w.Says = fmt.Sprintf("It runs: %s is asked now, or next.", step)
		}
		return w, nil
	}
	var behind []string
	for _, c := range consumers(flow.All) {
		if c.Stream == bus.Tasks || !strings.HasSuffix(c.Durable, "-"+r.PlatformLower) {
			continue
		}
		cons, err := a.js.Consumer(ctx, c.Stream, c.Durable)
		if err != nil {
			return w, err
		}
		info := cons.CachedInfo()
		if n := info.NumPending + uint64(info.NumAckPending); n > 0 {
			stage, _, _ := strings.Cut(c.Durable, "-")
			w.Stage = stage
			behind = append(behind, fmt.Sprintf("%d messages wait to %s", n, stage))
		}
	}
	slices.Reverse(behind)
	w.Says = "It runs: its last answer is in the streams"
	if len(behind) > 0 {
		w.Says += ", where " + strings.Join(behind, " and ")
	} else {
		w.Stage = "projections"
		w.Says += " and about to be written"
	}
	w.Says += "."
	if r.LeaseUntil != nil {
		w.Says += fmt.Sprintf(" If it was lost, it begins again after %s.", r.LeaseUntil.Format("15:04:05"))
	}
	return w, nil
}

// mostAsks is how many waiting asks are looked through for one of a task.
const mostAsks = 20_000

// askOf finds the ask of a task that waits in TASKS, nil when there is none;
// at is when it will be asked, zero for now.
func (a *app) askOf(ctx context.Context, id int64, r whyRow) (ask *social.Ask, at time.Time, err error) {
	s, err := a.js.Stream(ctx, bus.Tasks)
	if err != nil {
		return nil, at, err
	}
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: []string{schedule.TaskSubject(social.Platform(strings.ToUpper(r.PlatformLower)), r.Flow), bus.LaterSubjects},
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
			if json.Unmarshal(data, &one) != nil || one.Task.ID != id || ask != nil && one.Seq < ask.Seq {
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
