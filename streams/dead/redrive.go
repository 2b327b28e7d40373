package dead

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/nats-io/nats.go"

	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// An Outcome is the way in which a letter is redriven, see the package comment.
type Outcome string

// The outcomes.
const (
	Reopened Outcome = "reopened"
	DataOnly Outcome = "data only"
	Kept     Outcome = "kept"
	Sent     Outcome = "sent"
)

// A Result says what became of a letter, or would.
type Result struct {
	Seq     uint64  `json:"seq"`
	Outcome Outcome `json:"outcome"`
	Task    int64   `json:"task,omitempty"`
	Status  string  `json:"status,omitempty"` // of the task before; "" when it is not in the table
}

// A Redriver redrives letters. It is safe for concurrent use.
type Redriver struct {
	box   *Box
	queue *schedule.Queue
	send  schedule.Sender
}

// NewRedriver returns a Redriver that takes letters from b and sends what they
// were through send. It does no I/O.
func NewRedriver(b *Box, q *schedule.Queue, send schedule.Sender) *Redriver {
	return &Redriver{b, q, send}
}

// Plan says what Redrive would do with each of ls now. It changes nothing.
func (r *Redriver) Plan(ctx context.Context, ls []Letter) ([]Result, error) {
	var ids []int64
	for _, l := range ls {
		if l.Task != 0 {
			ids = append(ids, l.Task)
		}
	}
	states, err := r.queue.States(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]Result, len(ls))
	for i, l := range ls {
		s := states[l.Task]
		out[i] = Result{l.Seq, Sent, l.Task, s.Status}
		switch {
		case l.Task == 0:
		case s.Reopens(social.TaskRef{ID: l.Task, Fence: l.Fence}, owner(l.Seq)):
			out[i].Outcome = Reopened
			states[l.Task] = schedule.State{Status: social.Processing, Owner: owner(l.Seq)}
		case l.Stream == bus.Tasks:
			out[i].Outcome = Kept
		default:
			out[i].Outcome = DataOnly
		}
	}
	return out, nil
}

const headerTrace = "Beat-Trace" // bridge.HeaderTrace

// owner is who holds the lease of a task that a letter has reopened.
func owner(seq uint64) string { return "redrive/" + strconv.FormatUint(seq, 10) }

// Redrive sends the message of a letter once more, with body data unless that
// is nil, and removes the letter unless its outcome is Kept. After an error it
// may be called again. The error wraps ErrGone when there is no such letter.
func (r *Redriver) Redrive(ctx context.Context, seq uint64, data []byte) (Result, error) {
	return r.redrive(ctx, seq, data, 0)
}

// Heal redrives a letter because version of its source's parser may read it. If
// that cannot either, the next letter says so, and is not redriven for that version
// again by whoever asks first (Letter.Healed).
func (r *Redriver) Heal(ctx context.Context, seq uint64, version int) (Result, error) {
	return r.redrive(ctx, seq, nil, version)
}

func (r *Redriver) redrive(ctx context.Context, seq uint64, data []byte, version int) (Result, error) {
	m, err := r.box.Get(ctx, seq)
	if err != nil {
		return Result{}, err
	}
	res := Result{Seq: seq, Outcome: Sent}
	outs := []bus.Out{{Subject: m.Subject, Header: m.Header, Data: m.Data}}
	was, known := m.ask()
	if data != nil {
		if outs[0].Data, m.Data = data, data; known {
			if a, ok := m.ask(); !ok || a.Task.ID != was.Task.ID {
				return res, fmt.Errorf("redrive dead letter %d: the new body does not belong to task %d", seq, was.Task.ID)
			}
		}
	}
	// Whether it names no task because of its body, or the bus has none for it,
	// no run has failed by it.
	if known {
		opened, err := r.queue.Reopen(ctx, was.Task, was.Seq+1, owner(seq))
		if err != nil {
			return res, fmt.Errorf("redrive dead letter %d: %w", seq, err)
		}
		res.Task, res.Status = was.Task.ID, opened.Status
		switch {
		case opened.OK:
			res.Outcome = Reopened
			outs, err = m.carry(was, opened.Task.TaskRef)
			outs = append([]bus.Out{opened.Event()}, outs...)
		case m.Stream == bus.Tasks:
			res.Outcome = Kept
			return res, nil
		default:
			res.Outcome = DataOnly
			outs, err = m.alone(was)
		}
		if err != nil {
			return res, fmt.Errorf("redrive dead letter %d: %w", seq, err)
		}
	}
	for i := range outs {
		if o := &outs[i]; o.Subject == m.Subject {
			o.ID = fmt.Sprintf("redrive/%d/%d", seq, m.Redriven+1)
			if data != nil {
				o.ID += "/" + social.ID(string(data))
			}
			o.Header = maps.Clone(o.Header)
			o.Header.Set(headerRedriven, strconv.Itoa(m.Redriven+1))
			if version > 0 {
				o.Header.Set(headerHealed, strconv.Itoa(version))
			}
			o.Header.Del(headerTrace) // the call was told when it was made
		}
	}
	if err := r.send.Send(ctx, outs...); err != nil {
		return res, fmt.Errorf("redrive dead letter %d: %w", seq, err)
	}
	if err := r.box.Drop(ctx, seq); err != nil && !errors.Is(err, ErrGone) {
		return res, fmt.Errorf("dead letter %d is redriven, but still there: %w", seq, err)
	}
	return res, nil
}

// Update replaces a letter by one that says what version of its source's parser
// makes of it: another cause.
func (r *Redriver) Update(ctx context.Context, m Message, version int, cause string, err error) error {
	was := &bus.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data, Stream: m.Stream, Seq: m.StreamSeq, Delivered: m.Attempts}
	if was.Header == nil {
		was.Header = nats.Header{}
	}
	was.Header.Set(headerHealed, strconv.Itoa(version))
	o := bus.Letter(was, m.Stage, cause, err, bus.ReadBy(version))
	o.ID += "/" + strconv.Itoa(version)
	if err := r.send.Send(ctx, o); err != nil {
		return fmt.Errorf("update dead letter %d: %w", m.Seq, err)
	}
	if err := r.box.Drop(ctx, m.Seq); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	return nil
}

// ask is the ask that the message is, or is an answer to.
func (m Message) ask() (a social.Ask, ok bool) {
	var err error
	switch m.Stream {
	case bus.Tasks:
		err = json.Unmarshal(m.Data, &a)
	case bus.Raw:
		err = json.Unmarshal([]byte(m.Header.Get(bus.HeaderAsk)), &a)
	case bus.Parsed:
		var b social.Batch
		b, err = social.UnmarshalBatch(m.Data)
		a = b.Ask
	}
	return a, err == nil && a.Task.ID != 0
}

// carry is the message as part of run t: at the place after that of was.
func (m Message) carry(was social.Ask, t social.TaskRef) ([]bus.Out, error) {
	if m.Stream != bus.Parsed {
		a, _ := m.ask()
		a.Task, a.Seq = t, was.Seq+1
		return m.as(a)
	}
	b, err := social.UnmarshalBatch(m.Data)
	if err != nil {
		return nil, err
	}
	b.Ask.Task, b.Ask.Seq = t, was.Seq+1
	outs, err := m.batch(b)
	if err != nil || b.Final != nil {
		return outs, err
	}
	// The ask that followed belonged to the failed run, and ended with it.
	f, ok := flow.ByName(t.Flow)
	if !ok || b.Ask.Step < 0 || b.Ask.Step >= len(f.Steps) {
		return nil, fmt.Errorf("unknown flow %q, step %d", t.Flow, b.Ask.Step)
	}
	next, final := f.Next(b.Ask, f.Summary(b))
	if final != nil {
		b.Final = final
		return m.batch(b)
	}
	o, err := schedule.AskOut(next)
	return append(outs, o), err
}

// alone is the message as part of no run: its fence is none's, and its answer
// is the last of its chain, so that nothing follows it and no progress is kept.
func (m Message) alone(was social.Ask) ([]bus.Out, error) {
	none := social.TaskRef{ID: was.Task.ID, Flow: was.Task.Flow, Platform: was.Task.Platform}
	if m.Stream == bus.Parsed {
		b, err := social.UnmarshalBatch(m.Data)
		if err != nil {
			return nil, err
		}
		b.Ask.Task, b.Ask.Seq = none, was.Seq+1
		b.Final = &social.Final{Status: social.Failed} // over, whatever came before; the fence refuses it
		return m.batch(b)
	}
	a := was
	a.Task, a.Seq = none, 0
	if f, ok := flow.ByName(a.Task.Flow); ok {
		a.Step = len(f.Steps) - 1
		a.Page = max(a.Page, f.Steps[a.Step].Pages.Max)
		a.State.Rest = nil
	}
	return m.as(a)
}

// as is the message with another ask.
func (m Message) as(a social.Ask) ([]bus.Out, error) {
	data, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encode ask: %w", err)
	}
	o := bus.Out{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data}
	if m.Stream == bus.Tasks {
		o.Data = data
	} else {
		o.Header.Set(bus.HeaderAsk, string(data))
	}
	return []bus.Out{o}, nil
}

func (m Message) batch(b social.Batch) ([]bus.Out, error) {
	data, err := b.Marshal()
	if err != nil {
		return nil, err
	}
	return []bus.Out{{Subject: m.Subject, Header: m.Header, Data: data}}, nil
}
