package retrieval

import (
	"time"

	"beat/providers"
	"beat/providers/ratelimit"
	"beat/streams/flow"
	"beat/streams/social"
)

// probeEvery is how often a source that is down is asked whether it is back,
// by all processes together: half of the ten seconds after which a recovery is
// to be noticed.
const probeEvery = 5 * time.Second

// probe is the limit of the asks that a source gets while it is down.
func probe(source string) ratelimit.Spec {
	return ratelimit.Spec{Name: "probe_" + source, Requests: 1, Seconds: int(probeEvery / time.Second)}
}

// A choice is whom to ask, or until when to wait and for what. The zero choice
// is that nobody can be asked, and that waiting is of no use.
type choice struct {
	provider *providers.Provider
	cred     providers.Credential
	probe    bool // the source is down, and is asked whether it is back

	until time.Time
	waits string
}

// choose is the first candidate with a ready credential that is not paused.
// Sources that are down are asked only when nobody else can be: then what would
// wait for them may as well find out which is back. probes are those, in order.
func (r *Retrieval) choose(a social.Ask) (w choice, probes []choice) {
	sooner := func(until time.Time, what, source string) {
		if w.until.IsZero() || until.Before(w.until) {
			w = choice{until: until, waits: what + ":" + source}
		}
	}
	now := time.Now()
	for _, source := range flow.Candidates(a) {
		if !r.providers.Answers(source, a.Fetch) {
			continue
		}
		if p, ok := r.pauses.Of(source); ok {
			until := now.Add(longestPause)
			if p.Until != nil && p.Until.Before(until) {
				until = *p.Until
			}
			sooner(until, social.WaitPause, source)
			continue
		}
		c, ready, ok := r.creds.Pick(source, a.Handle)
		if ok {
			return choice{provider: r.providers[source], cred: c}, nil
		}
		if p, ok := r.creds.Probe(source, a.Handle); ok {
			probes = append(probes, choice{provider: r.providers[source], cred: p, probe: true, waits: social.WaitDown + ":" + source})
			continue
		}
		if !ready.IsZero() {
			sooner(ready, social.WaitCredential, source)
		}
	}
	return w, probes
}

// isDown reports whether a source is out of use because it does not answer.
func (r *Retrieval) isDown(source string) bool {
	for _, s := range r.creds.States() {
		if s.Source == source {
			return s.Down && s.Ready == 0
		}
	}
	return false
}
