package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/social"
)

// A Sender persists messages. *bus.Publisher is one.
type Sender interface {
	Send(ctx context.Context, outs ...bus.Out) error
}

// MaxBacklog is how many messages may wait for the later stages before nothing
// more is claimed.
const MaxBacklog = 2000

// Config of a Scheduler. A zero field means its default.
type Config struct {
	Owner string // names the process in leases
	// Backlog is how many messages wait downstream of retrieval; above
	// MaxBacklog nothing is claimed, so that work waits in Postgres, where
	// its order can still change. nil: not looked at.
	Backlog    func(ctx context.Context) (int, error)
	MaxBacklog int // default MaxBacklog
	// Oldest is when the oldest message was stored that some stage has not
	// handled yet, zero when none waits. A lease that runs out while messages
	// from before its end still wait is extended: its run may be among them.
	// nil: not looked at.
	Oldest func(ctx context.Context) (time.Time, error)
	// Admit lowers the Max of each Want to what limits, credentials and pauses
	// let run now, so that what would only wait stays in Postgres. nil: all may
	// run.
	Admit func(ctx context.Context, wants []Want) (Admission, error)
	// Lookup reads what flows have to know of their targets, see flow.Lookup: by
	// key, without those that have no row. nil: nothing is known.
	Lookup func(ctx context.Context, what string, keys []string) (map[string]string, error)
	Poll   time.Duration // longest time between two looks; default 1s, jittered by a quarter
	Batch  int           // tasks of one flow per claim; default 500
	// InFlight overrides how many tasks of a flow run at once, by flow.
	InFlight map[string]int
	// EnforceExpiry fails tasks that are past their expires_at (decision 16).
	EnforceExpiry bool
}

// An Admission is what Admit says beside the Wants.
type Admission struct {
	Again   time.Duration        // when to look again at the latest; 0: as always
	There   []string             // what tasks may wait for and is there again, see Queue.Due
	Claimed func(map[string]int) // is told how many tasks of each flow were claimed then; may be nil
}

// A Scheduler claims tasks and starts their chains. Any number may run.
type Scheduler struct {
	lg    *slog.Logger
	queue *Queue
	send  Sender
	flows []flow.Flow
	cfg   Config
	wake  chan struct{}

	looked time.Time // for tasks that are due; only Run
}

// NewScheduler returns a Scheduler of flows. It does no I/O.
func NewScheduler(lg *slog.Logger, q *Queue, send Sender, flows []flow.Flow, cfg Config) *Scheduler {
	if cfg.MaxBacklog <= 0 {
		cfg.MaxBacklog = MaxBacklog
	}
	if cfg.Poll <= 0 {
		cfg.Poll = time.Second
	}
	if cfg.Batch <= 0 {
		cfg.Batch = 500
	}
	return &Scheduler{lg: lg, queue: q, send: send, flows: flows, cfg: cfg, wake: make(chan struct{}, 1)}
}

// Wake makes the scheduler look for work now: a task was inserted, or one
// has ended and left its place free.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run claims until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { s.listen(ctx) })
	beside.Go(func() { s.announce(ctx) })

	var names []string
	for _, f := range s.flows {
		names = append(names, f.Name)
	}
	nextExpire := time.Now()
	nextSweep := time.Now().Add(sweepAfter / 60)
	for ctx.Err() == nil {
		if now := time.Now(); now.After(nextSweep) {
			nextSweep = now.Add(sweepAfter / 60)
			if _, err := s.queue.Sweep(ctx); err != nil && ctx.Err() == nil {
				s.lg.Warn("sweep failed, trying again in a minute", "err", err)
			}
		}
		if now := time.Now(); now.After(nextExpire) {
			nextExpire = now.Add(min(max(s.queue.lease/10, time.Second), time.Minute))
			s.expire(ctx, names)
		}
		more, again, err := s.claim(ctx)
		if err != nil && ctx.Err() == nil {
			s.lg.Warn("claim failed, trying again", "err", err)
		}
		if more {
			continue
		}
		wait := s.cfg.Poll*3/4 + rand.N(s.cfg.Poll/2)
		if again > 0 {
			wait = min(wait, max(again, 10*time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
			// What wakes us comes in flocks; one claim takes many.
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		}
		timer.Stop()
	}
	return nil
}

// claim takes what may run now. more: a flow gave as much as was asked for.
// again is when more may run, if that is known.
func (s *Scheduler) claim(ctx context.Context) (more bool, again time.Duration, err error) {
	if s.cfg.Backlog != nil {
		n, err := s.cfg.Backlog(ctx)
		if err != nil {
			return false, 0, fmt.Errorf("read backlog: %w", err)
		}
		if n > s.cfg.MaxBacklog {
			return false, 0, nil
		}
	}
	wants := make([]Want, len(s.flows))
	for i, f := range s.flows {
		wants[i] = Want{Flow: f.Name, InFlight: s.inFlight(f), Max: s.cfg.Batch}
	}
	var admit Admission
	if s.cfg.Admit != nil {
		if admit, err = s.cfg.Admit(ctx, wants); err != nil {
			return false, 0, fmt.Errorf("ask what may run: %w", err)
		}
	}
	if time.Since(s.looked) > s.cfg.Poll/2 {
		s.looked = time.Now()
		if _, err := s.queue.Due(ctx, admit.There, 10*s.cfg.Batch); err != nil {
			return false, 0, err
		}
	}
	wants = slices.DeleteFunc(wants, func(w Want) bool { return w.Max <= 0 })
	if len(wants) == 0 {
		return false, admit.Again, nil
	}
	claimed := map[string]int{}
	n, err := s.queue.Claim(ctx, s.cfg.Owner, wants, func(ctx context.Context, tasks []Task) error {
		for _, t := range tasks {
			claimed[t.Flow]++
		}
		return s.start(ctx, tasks)
	})
	if admit.Claimed != nil && err == nil {
		admit.Claimed(claimed)
	}
	return n >= s.cfg.Batch, admit.Again, err
}

// inFlight is how many tasks of a flow run at once: twice as many as retrieval
// may have in flight, so that while the answer of one is parsed and stored,
// another is being fetched.
func (s *Scheduler) inFlight(f flow.Flow) int {
	if o := s.cfg.InFlight[f.Name]; o > 0 {
		return o
	}
	return 2 * f.InFlight()
}

// start publishes the first ask of each task and its PROCESSING event. A
// task whose parameters are wrong is ended instead.
func (s *Scheduler) start(ctx context.Context, tasks []Task) error {
	known, err := s.lookUp(ctx, tasks)
	if err != nil {
		return err
	}
	var outs []bus.Out
	var asks []bus.Out
	for _, t := range tasks {
		if t.Announce {
			outs = append(outs, pendingEvent(t))
		}
		outs = append(outs, taskEvent(t, social.Processing, t.PickedAt, &t.PickedAt))
		ask, err := s.ask(t, known)
		if err != nil {
			s.lg.Info("task refused", "flow", t.Flow, "task", t.ID, "err", err)
			o, err := FailedRun(t.TaskRef, 0, social.Raw{ID: social.ID("refused", t.ID, t.Fence), At: t.PickedAt}, err.Error())
			if err != nil {
				return err
			}
			outs = append(outs, o)
			continue
		}
		o, err := AskOut(ask)
		if err != nil {
			return err
		}
		asks = append(asks, o)
	}
	return s.send.Send(ctx, append(outs, asks...)...)
}

// ask is what the run begins with, or goes on with.
func (s *Scheduler) ask(t Task, known found) (social.Ask, error) {
	if s.cfg.EnforceExpiry && t.ExpiresAt != nil && t.PickedAt.After(*t.ExpiresAt) {
		return social.Ask{}, errExpired
	}
	if t.Resume == nil {
		return first(t, known)
	}
	var a social.Ask
	if err := json.Unmarshal(t.Resume, &a); err != nil {
		return a, fmt.Errorf("(409, 'column resume holds no ask: %s')", strings.ReplaceAll(err.Error(), "'", ""))
	}
	a.Task.LeaseUntil = t.LeaseUntil
	a.Turn++
	return a, nil
}

// errExpired is the data of a task that was claimed too late (decision 16).
var errExpired = errors.New("expired")

func first(t Task, known found) (social.Ask, error) {
	f, ok := flow.ByName(t.Flow)
	if !ok {
		return social.Ask{}, errors.New("Missing Flow - " + t.Flow)
	}
	p, err := f.Decode(t.Params)
	if err != nil {
		return social.Ask{}, err
	}
	ref := t.TaskRef
	if ref.Platform == "" {
		ref.Platform = f.Platform
	}
	what := known[f.Lookup.What][key(f, p)]
	if f.Lookup.What != "" && what == "" {
		return social.Ask{}, errors.New(f.Lookup.Missing)
	}
	return f.First(ref, p, what)
}

// found is what was looked up, by what it is and by key.
type found map[string]map[string]string

// lookUp reads what the first asks of tasks need, one query for each kind.
func (s *Scheduler) lookUp(ctx context.Context, tasks []Task) (found, error) {
	keys := map[string][]string{}
	for _, t := range tasks {
		f, ok := flow.ByName(t.Flow)
		if !ok || f.Lookup.What == "" || t.Resume != nil {
			continue
		}
		if p, err := f.Decode(t.Params); err == nil {
			keys[f.Lookup.What] = append(keys[f.Lookup.What], key(f, p))
		}
	}
	out := found{}
	for what, k := range keys {
		if s.cfg.Lookup == nil {
			continue
		}
		got, err := s.cfg.Lookup(ctx, what, k)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", what, err)
		}
		out[what] = got
	}
	return out, nil
}

// key is what the flow looks up by.
func key(f flow.Flow, p flow.Params) string {
	if v := p[f.Lookup.Param]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// FailedRun is the message that ends a run as FAILED without an answer: seq
// is where its chain was, raw names the cause, and data is what the task will
// say.
func FailedRun(t social.TaskRef, seq int, raw social.Raw, data string) (bus.Out, error) {
	c := event.Commit{Task: t, Seq: seq, Parts: 1, Raw: raw, Final: &social.Final{Status: social.Failed, Data: data}}
	body, err := c.Marshal()
	if err != nil {
		return bus.Out{}, err
	}
	return bus.Out{
		Subject: event.Subject(event.Shard("task:"+strconv.FormatInt(t.ID, 10)), t.Platform, event.KindCommit),
		ID:      c.MsgID(), Data: body,
	}, nil
}

// AskOut is the message of an ask to be asked at once.
func AskOut(a social.Ask) (bus.Out, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return bus.Out{}, fmt.Errorf("encode ask: %w", err)
	}
	return bus.Out{Subject: TaskSubject(a.Task.Platform, a.Task.Flow), ID: a.ID(), Data: data}, nil
}

// TaskSubject is where the asks of a flow wait.
func TaskSubject(p social.Platform, flow string) string {
	return "beat.task." + p.Lower() + "." + flow
}

func pendingEvent(t Task) bus.Out {
	at := time.Now().UTC()
	if t.CreatedAt != nil {
		at = *t.CreatedAt
	}
	return taskEvent(t, social.Pending, at, nil)
}

func taskEvent(t Task, status string, at time.Time, picked *time.Time) bus.Out {
	e := event.Task{
		EventID: event.TaskEventID(t.ID, t.Fence, status), ID: t.ID, Fence: t.Fence, Flow: t.Flow, Platform: t.Platform,
		Params: t.Params, Status: status, Priority: t.Priority, At: at, PickedAt: picked, ExpiresAt: t.ExpiresAt,
		RetryCount: t.RetryCount,
	}
	if status == social.Pending {
		e.Reason = t.Reason
	}
	return TaskEventOut(e)
}

// EndedEvent is the event of a run that has ended.
func EndedEvent(f Finished) bus.Out {
	return TaskEventOut(event.Task{
		EventID: event.TaskEventID(f.ID, f.Fence, f.Status), ID: f.ID, Fence: f.Fence, Flow: f.Flow, Platform: f.Platform,
		Params: f.Params, Status: f.Status, Priority: f.Priority, At: f.ScrapedAt, PickedAt: f.PickedAt,
		ExpiresAt: f.ExpiresAt, RetryCount: f.RetryCount,
	})
}

// TaskEventOut is the message of a task event.
func TaskEventOut(e event.Task) bus.Out {
	data, err := json.Marshal(e)
	if err != nil { // params is the only part that can be wrong, and jsonb gave it
		data = []byte("null")
	}
	return bus.Out{Subject: e.Subject(), ID: e.EventID, Data: data}
}

// expire takes back the tasks of dead runs. A run is not dead while what it
// stored before its lease ended waits for a stage, however long that is down.
func (s *Scheduler) expire(ctx context.Context, flows []string) {
	for ctx.Err() == nil {
		e, err := s.queue.Expire(ctx, flows, s.cfg.Batch, s.cfg.Oldest)
		if err == nil {
			err = s.fail(ctx, e.Lost)
		}
		if err != nil {
			if ctx.Err() == nil {
				s.lg.Warn("expire failed, trying again", "err", err)
			}
			return
		}
		if len(e.Again) > 0 {
			s.lg.Warn("leases ran out, tasks wait again", "tasks", len(e.Again), "first", e.Again[0])
		}
		if e.Kept > 0 {
			s.lg.Warn("leases extended, a stage is behind by more than a lease", "tasks", e.Kept)
		}
		if len(e.Lost) > 0 {
			s.lg.Error("leases ran out too often, tasks fail", "tasks", len(e.Lost), "first", e.Lost[0].ID)
			return // they are found again until they have ended
		}
		if len(e.Again)+e.Kept < s.cfg.Batch {
			return
		}
	}
}

// fail ends the runs of tasks that came back too often. It is no fault of the
// target: 409 keeps the schedulers of the clients from giving it up.
func (s *Scheduler) fail(ctx context.Context, lost []social.TaskRef) error {
	var outs []bus.Out
	for _, t := range lost {
		o, err := FailedRun(t, 0, social.Raw{ID: social.ID("lost", t.ID, t.Fence), At: time.Now().UTC().Truncate(time.Microsecond)},
			fmt.Sprintf("(409, 'the lease ran out %d times')", MaxRetries+1))
		if err != nil {
			return err
		}
		outs = append(outs, o)
	}
	if len(outs) == 0 {
		return nil
	}
	return s.send.Send(ctx, outs...)
}

// listen wakes the scheduler when a task is inserted. Losing the connection
// costs speed, not tasks: the poll goes on.
func (s *Scheduler) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.listenOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.lg.Warn("listening for tasks failed, polling meanwhile", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second + rand.N(time.Second)):
		}
	}
}

func (s *Scheduler) listenOnce(ctx context.Context) error {
	// A connection of its own, closed at the end: LISTEN holds it for good.
	conn, err := pgx.ConnectConfig(ctx, s.queue.db.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN beat_task"); err != nil {
		return err
	}
	s.Wake()
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return err
		}
		s.Wake()
	}
}
