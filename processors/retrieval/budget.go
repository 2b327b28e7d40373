package retrieval

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"beat/providers"
	"beat/providers/credential"
	"beat/providers/ratelimit"
	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A Budget says how many tasks limits, credentials and pauses let run now. It
// is asked before tasks are claimed, so that what would only wait stays in
// Postgres, in an order that can still change.
//
// It looks at the first step of a flow alone: what runs goes on as it can. Its
// answer is advice. Two schedulers may both spend what is left, and then some
// asks wait as messages; limits hold all the same, where calls are made.
type Budget struct {
	set     providers.Set
	creds   *credential.Store
	limiter *ratelimit.Limiter
	queue   *schedule.Queue
	pauses  *schedule.Pauses
	limits  map[string]ratelimit.Spec

	mu     sync.Mutex
	claims map[string][]claim // by source, of its last window
}

// A claim is tasks that began.
type claim struct {
	at   time.Time
	flow string
	n    int
}

// settled is how long a claim may take to show in the limits.
const settled = ratelimit.Soon

// NewBudget returns a Budget. limits replace those of the sources.
func NewBudget(set providers.Set, creds *credential.Store, limiter *ratelimit.Limiter, queue *schedule.Queue,
	pauses *schedule.Pauses, limits map[string]ratelimit.Spec) *Budget {
	return &Budget{set: set, creds: creds, limiter: limiter, queue: queue, pauses: pauses, limits: limits,
		claims: map[string][]claim{}}
}

// An Outlook is whether a flow can begin a task now, and if not, why and until
// when.
type Outlook struct {
	Source string    `json:"source,omitempty"` // that would be asked first
	Open   int       `json:"open"`             // tasks that can begin now; math.MaxInt32 for no bound
	Waits  string    `json:"waits,omitempty"`  // what is missing, as in column waits_for
	Until  time.Time `json:"until,omitzero"`   // when it is there, as far as is known
}

// outlook looks at credentials and pauses.
func (b *Budget) outlook(f flow.Flow, states map[string]credential.State) Outlook {
	if p, ok := b.pauses.Of(f.Name); ok {
		o := Outlook{Waits: social.WaitPause + ":" + f.Name}
		if p.Until != nil {
			o.Until = *p.Until
		}
		return o
	}
	var wait, down Outlook
	for _, by := range f.Steps[0].Ask {
		for _, source := range flow.Candidates(social.Ask{Fetch: by.Fetch}) {
			st, ok := states[source]
			if !ok || !b.set.Answers(source, by.Fetch) {
				continue
			}
			if p, paused := b.pauses.Of(source); paused {
				if wait.Waits == "" {
					wait = Outlook{Source: source, Waits: social.WaitPause + ":" + source}
					if p.Until != nil {
						wait.Until = *p.Until
					}
				}
				continue
			}
			switch {
			case st.Ready > 0:
				return Outlook{Source: source, Open: math.MaxInt32}
			case st.Down:
				if down.Waits == "" {
					down = Outlook{Source: source, Waits: social.WaitDown + ":" + source, Until: time.Now().Add(probeEvery)}
				}
			case st.Resting > 0 && (wait.Until.IsZero() || st.Next.Before(wait.Until)):
				wait = Outlook{Source: source, Waits: social.WaitCredential + ":" + source, Until: st.Next}
			}
		}
	}
	switch {
	case down.Waits != "":
		return down
	case wait.Waits != "":
		return wait
	}
	// Nobody can be asked, and nothing will change that: the task is to say so.
	return Outlook{Open: math.MaxInt32}
}

func (b *Budget) states() map[string]credential.State {
	out := map[string]credential.State{}
	for _, s := range b.creds.States() {
		out[s.Source] = s
	}
	return out
}

// Spec is the limit of a source, zero for none.
func (b *Budget) Spec(source string) ratelimit.Spec {
	if s, ok := b.limits[source]; ok {
		return s
	}
	if p := b.set[source]; p != nil {
		return p.Limit
	}
	return ratelimit.Spec{}
}

// Outlook is that of one flow, its limit looked at.
func (b *Budget) Outlook(ctx context.Context, f flow.Flow) (Outlook, error) {
	o := b.outlook(f, b.states())
	spec := b.Spec(o.Source)
	if o.Open == 0 || spec.Zero() {
		return o, nil
	}
	st, err := b.limiter.Show(ctx, spec)
	if err != nil {
		return o, err
	}
	if o.Open = max(spec.Requests-st.Used, 0); o.Open == 0 {
		o.Waits, o.Until = social.WaitLimit+":"+spec.Name, st.Opens
	}
	return o, nil
}

// Admit is schedule.Config.Admit. Flows that pay with the same limit share what
// is left of it evenly, as far as they have tasks.
func (b *Budget) Admit(ctx context.Context, wants []schedule.Want) (schedule.Admission, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var out schedule.Admission
	soon := func(at time.Time) {
		if d := at.Sub(now); !at.IsZero() && (out.Again == 0 || d < out.Again) {
			out.Again = max(d, time.Millisecond)
		}
	}
	states := b.states()
	for _, source := range states {
		if _, paused := b.pauses.Of(source.Source); paused {
			continue
		}
		out.There = append(out.There, social.WaitPause+":"+source.Source)
		if source.Ready > 0 {
			out.There = append(out.There, social.WaitCredential+":"+source.Source, social.WaitDown+":"+source.Source)
		}
	}
	payer := map[string]string{} // by flow
	bySource := map[string][]*schedule.Want{}
	for i := range wants {
		w := &wants[i]
		f, ok := flow.ByName(w.Flow)
		if !ok {
			continue
		}
		o := b.outlook(f, states)
		switch {
		case o.Open > 0 && b.Spec(o.Source).Zero():
		case o.Open > 0:
			payer[w.Flow] = o.Source
			bySource[o.Source] = append(bySource[o.Source], w)
		case strings.HasPrefix(o.Waits, social.WaitDown+":"):
			// One may begin, to see whether the source is back.
			key := "probe:" + o.Source
			payer[w.Flow] = key
			w.Max = min(w.Max, max(1-b.claimed(key, now, probeEvery), 0))
			soon(o.Until)
		default:
			w.Max = 0
			soon(o.Until)
		}
	}
	for source, ws := range bySource {
		spec := b.Spec(source)
		st, err := b.limiter.Show(ctx, spec)
		if err != nil {
			// Calls are decided without Redis too, a few: so are claims.
			for _, w := range ws {
				w.Max = min(w.Max, 1)
			}
			continue
		}
		free := max(spec.Requests-st.Used+st.Soon-st.Waits-b.claimed(source, now, settled), 0)
		if free == 0 {
			for _, w := range ws {
				w.Max = 0
			}
			if st.Opens.After(now.Add(settled)) {
				soon(st.Opens.Add(-settled))
			} else { // what is left is for asks that are on their way
				soon(now.Add(settled / 10))
			}
			continue
		}
		if err := b.share(ctx, source, free, ws, now.Add(-spec.Window())); err != nil {
			return out, err
		}
	}
	out.Claimed = func(n map[string]int) { b.note(payer, n) }
	return out, nil
}

// note remembers what was claimed.
func (b *Budget) note(payer map[string]string, n map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for flow, n := range n {
		if source := payer[flow]; source != "" && n > 0 {
			b.claims[source] = append(b.claims[source], claim{now, flow, n})
		}
	}
}

// share divides free among the flows of ws, which claimed before from the same
// window.
func (b *Budget) share(ctx context.Context, source string, free int, ws []*schedule.Want, window time.Time) error {
	b.claims[source] = slices.DeleteFunc(b.claims[source], func(c claim) bool { return c.at.Before(window) && time.Since(c.at) > settled })
	had := map[string]int{}
	for _, c := range b.claims[source] {
		had[c.flow] += c.n
	}
	names := make([]string, len(ws))
	for i, w := range ws {
		names[i] = w.Flow
	}
	waiting, err := b.queue.Waiting(ctx, names, free)
	if err != nil {
		return err
	}
	need, before := make([]int, len(ws)), make([]int, len(ws))
	for i, w := range ws {
		need[i], before[i] = min(waiting[w.Flow], w.Max), had[w.Flow]
	}
	for i, n := range divide(free, need, before) {
		ws[i].Max = n
	}
	return nil
}

// divide gives each what it needs as far as free goes, so that together with
// what they had before they come as close to each other as can be.
func divide(free int, need, had []int) []int {
	got := make([]int, len(need))
	for ; free > 0; free-- {
		least := -1
		for i := range need {
			if got[i] < need[i] && (least < 0 || had[i]+got[i] < had[least]+got[least]) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		got[least]++
	}
	return got
}

// claimed is how many tasks began within the time before now.
func (b *Budget) claimed(source string, now time.Time, within time.Duration) (n int) {
	for _, c := range b.claims[source] {
		if now.Sub(c.at) < within {
			n += c.n
		}
	}
	return n
}
