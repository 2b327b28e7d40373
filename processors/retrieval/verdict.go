package retrieval

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"beat/processors"
	"beat/providers"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/social"
)

// What follows from a verdict for the ask.
type askThen int

const (
	again askThen = iota // the same ask at once: another credential, another source, or the wait for one
	next                 // the source has failed this step: the next of its list, or the end
)

// What follows for the credential.
type credThen int

const (
	leave  credThen = iota
	rest            // out of use for a time: Retry-After, else 10, 30, 60 minutes
	refuse          // out of use until a person or a new token comes
)

// A consequence is what a verdict leads to.
type consequence struct {
	kind error
	ask  askThen
	cred credThen
	down bool // counts against the source's breaker
}

// consequences is the only place that says what a failure means. The task is
// FAILED when every source has failed it, with all attempts in its data.
var consequences = []consequence{
	{providers.ErrLimited, again, rest, false},
	{providers.ErrRefused, again, refuse, false},
	{providers.ErrGone, next, leave, false},
	{providers.ErrMalformed, next, leave, false},
	{providers.ErrUpstream, next, leave, true}, // and whatever is new
}

// judged does what the verdict on a call leads to.
func (r *Retrieval) judged(ctx context.Context, f flow.Flow, a social.Ask, w choice, raw social.Raw, e *providers.Error) ([]bus.Out, error) {
	i := slices.IndexFunc(consequences, func(c consequence) bool { return errors.Is(e, c.kind) })
	if i < 0 {
		i = len(consequences) - 1
	}
	then := consequences[i]
	if err := r.note(ctx, w, then.down, e); err != nil {
		return nil, err
	}
	switch then.cred {
	case rest:
		till, err := r.creds.Rest(ctx, w.cred, e.RetryAfter)
		if err != nil {
			return nil, err
		}
		r.lg.Info("credential rests", "provider", w.provider.Source, "credential", w.cred.ID, "until", till)
	case refuse:
		if err := r.creds.Refuse(ctx, w.cred, processors.OneLine(e.Error()), e.Expired); err != nil {
			return nil, err
		}
	}
	switch {
	case then.cred == refuse && raw.ID != "" && !r.anyone(a):
		// It was the last that could be asked: what it said is why the task fails.
	case then.ask == again:
		return later(a, time.Time{}, "")
	case w.probe && then.down: // it was asked to see, which is no attempt of the task's
		return later(a, time.Now().Add(probeEvery), w.waits)
	case then.down && a.Try == 0 && r.alone(a):
		a.Try++
		return later(a, time.Now().Add(500*time.Millisecond+rand.N(500*time.Millisecond)), "")
	}
	return r.failed(f, a, w.provider.Source, raw, e)
}

// note tells the breaker, and all processes, what became of a call.
func (r *Retrieval) note(ctx context.Context, w choice, failed bool, e *providers.Error) error {
	source := w.provider.Source
	if !failed {
		r.breakers.worked(source)
		if !w.probe {
			return nil
		}
		r.lg.Info("source answers again", "provider", source)
		return r.creds.Up(ctx, source)
	}
	if w.probe || !r.breakers.failed(source, time.Now()) {
		return nil
	}
	till, err := r.creds.Down(ctx, source, processors.OneLine(e.Error()))
	if err != nil {
		return err
	}
	r.lg.Error("source is down, the others are asked", "provider", source, "until", till, "err", e)
	return nil
}

// anyone reports whether a source is left that has a credential, ready or
// resting, to ask with.
func (r *Retrieval) anyone(a social.Ask) bool {
	return slices.ContainsFunc(flow.Candidates(a), func(s string) bool {
		return r.providers.Answers(s, a.Fetch) && r.creds.Usable(s, a.Handle)
	})
}

// alone reports whether nobody but one source answers the question at all. Only
// then is a call without an answer worth a second one: otherwise the next
// source is, and each is asked at most once (contract/enrichment.md W1.2).
func (r *Retrieval) alone(a social.Ask) bool {
	n := 0
	for _, s := range flow.Sources[a.Fetch] {
		if r.providers.Answers(s, a.Fetch) && r.creds.Usable(s, a.Handle) {
			n++
		}
	}
	return n <= 1
}

// outageHold is how long an ask that every source failed is kept before its
// task is: time for the calls beside it to show whether it was the sources or
// the target. Longer than a call that fails fast, shorter than a client waits.
const outageHold = 3 * time.Second

// failed is what follows when a source has failed a step for good.
func (r *Retrieval) failed(f flow.Flow, a social.Ask, source string, raw social.Raw, e *providers.Error) ([]bus.Out, error) {
	t := processors.Attempt(source, e)
	n, final, answered := f.Fail(a, t, func(s string) bool {
		return r.providers.Answers(s, a.Fetch) && r.creds.Usable(s, a.Handle)
	})
	if answered && slices.ContainsFunc(append(a.Attempts, t), unanswered) {
		a.Attempts = append(slices.Clone(a.Attempts), t)
		return later(a, time.Now().Add(outageHold), social.WaitOutage+":"+string(a.Fetch))
	}
	return processors.Onward(a, raw, n, final, answered)
}

func unanswered(t social.Attempt) bool { return t.Verdict == providers.ErrUpstream.Error() }

// forgive takes back the failures of sources that turned out to be down: they
// are asked again once they are back, and nothing is held against the target.
func (r *Retrieval) forgive(f flow.Flow, a social.Ask) (_ social.Ask, any bool) {
	n := f.Restart(a, func(t social.Attempt) bool { return !unanswered(t) || !r.isDown(t.Source) })
	if len(n.Attempts) == len(a.Attempts) {
		return a, false
	}
	return n, true
}

func (r *Retrieval) giveUp(f flow.Flow, a social.Ask) ([]bus.Out, error) {
	n, final, answered := f.GiveUp(a)
	return processors.Onward(a, social.Raw{}, n, final, answered)
}
