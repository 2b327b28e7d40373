// Package heal gives dead letters to the parsers of now, once a source's parser has
// a later version than the one that could not read them.
//
// A letter of RAW, an answer that the older parser refused or panicked at, is
// redriven (package dead): its task goes on if it failed by it, and else what the
// answer says is stored. Of a letter of PARSED, an answer of which something was
// turned down, the rest was stored at the time: it is parsed again where it lies,
// as by a replay that tells RabbitMQ.
//
// Nothing is stored here. What succeeds leaves no letter. What fails becomes a
// letter of the later version with its own cause, and so is not curable until there
// is a version later still. A redriven message says which version it was sent for:
// if a process that has yet to be updated reads it, nobody redrives it for that
// version again by himself.
//
// Killed in between, a letter is redriven twice or parsed again twice, which all
// stages bear.
package heal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/replay"
	"beat/streams/social"
)

// The outcomes beside those of a redrive.
const (
	Again   dead.Outcome = "parsed again"
	Updated dead.Outcome = "not cured" // its letter says what the later version says
	Missing dead.Outcome = "missing"   // its answer is not kept any more, so the letter stays
)

// Config of a Healer.
type Config struct {
	DB       *pgxpool.Pool
	Box      *dead.Box
	Redriver *dead.Redriver
	Replay   *replay.Replayer
	Version  func(source string) int // of the parser of now, 0 of an unknown source
	// Busy reports that normal traffic needs the machine, which goes first. May be
	// nil.
	Busy func(ctx context.Context) (bool, error)
	Rate float64 // letters per second at most; 0 unlimited
}

// A Healer heals letters.
type Healer struct {
	lg *slog.Logger
	Config
}

// New returns a Healer. It does no I/O.
func New(lg *slog.Logger, cfg Config) *Healer { return &Healer{lg, cfg} }

// Curable lists the letters that f selects and a later parser may read, the oldest
// first. once leaves out those that were redriven for that version before.
func (h *Healer) Curable(ctx context.Context, f dead.Filter, once bool) ([]dead.Letter, error) {
	ls, err := h.Box.List(ctx, f)
	if err != nil {
		return nil, err
	}
	dead.Mark(ls, h.Version)
	return slices.DeleteFunc(ls, func(l dead.Letter) bool {
		return l.Curable == 0 || once && l.Healed >= l.Curable
	}), nil
}

// Heal gives one curable letter to the parser of now. The error wraps dead.ErrGone
// when somebody else was faster.
func (h *Healer) Heal(ctx context.Context, l dead.Letter) (dead.Result, error) {
	if h.Redriven(l) {
		return h.Redriver.Heal(ctx, l.Seq, l.Curable)
	}
	return h.again(ctx, l)
}

// Redriven reports whether a letter is healed by a redrive, and not where its answer
// lies.
func (h *Healer) Redriven(l dead.Letter) bool { return l.Stream != bus.Parsed }

// again parses the answer of a letter once more where it lies.
func (h *Healer) again(ctx context.Context, l dead.Letter) (dead.Result, error) {
	res := dead.Result{Seq: l.Seq, Task: l.Task, Outcome: Again}
	m, err := h.Box.Get(ctx, l.Seq)
	if err != nil {
		return res, err
	}
	b, err := social.UnmarshalBatch(m.Data)
	if err != nil {
		return res, fmt.Errorf("dead letter %d: %w", l.Seq, err)
	}
	f := replay.Filter{Raws: []string{b.Raw.ID}, Source: b.Raw.Source, Since: b.Raw.At.Add(-time.Second), Until: b.Raw.At.Add(time.Second)}
	all, err := h.Replay.Rejects(ctx, f)
	if err != nil {
		return res, fmt.Errorf("dead letter %d: %w", l.Seq, err)
	}
	switch bad, kept := all[b.Raw.ID]; {
	case !kept:
		res.Outcome = Missing
		return res, nil
	case bad != nil:
		res.Outcome = Updated
		return res, h.Redriver.Update(ctx, m, l.Curable, l.Cause, bad)
	}
	j, err := replay.Create(ctx, h.DB, replay.Job{Filter: f, Publish: true, Total: 1})
	if err == nil {
		_, err = h.Replay.Apply(ctx, j, nil)
	}
	if err == nil {
		err = h.Box.Drop(ctx, l.Seq)
	}
	if err != nil {
		return res, fmt.Errorf("dead letter %d: %w", l.Seq, err)
	}
	return res, nil
}

// All heals every curable letter once for each version, slowly and while normal
// traffic does not wait. It returns how many it has given to the parsers.
func (h *Healer) All(ctx context.Context) (n int, err error) {
	ls, err := h.Curable(ctx, dead.Filter{}, true)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for _, l := range ls {
		if err := h.yield(ctx); err != nil {
			return n, err
		}
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute) // what is begun is finished
		res, err := h.Heal(work, l)
		cancel()
		switch {
		case errors.Is(err, dead.ErrGone):
			continue
		case err != nil: // one that cannot be healed stops no other
			h.lg.Warn("dead letter not healed", "letter", l.Seq, "provider", l.Source, "err", err)
			continue
		case res.Outcome == Missing:
			continue
		}
		n++
		h.lg.Debug("dead letter given to a later parser", "letter", l.Seq, "provider", l.Source, "parser", l.Curable, "outcome", res.Outcome)
		if h.Rate > 0 {
			due := began.Add(time.Duration(float64(n) / h.Rate * float64(time.Second)))
			if err := sleep(ctx, time.Until(due)); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// yield waits while normal traffic needs the machine.
func (h *Healer) yield(ctx context.Context) error {
	for h.Busy != nil {
		busy, err := h.Busy(ctx)
		if err != nil || !busy {
			return err
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(max(d, 0)):
		return nil
	}
}
