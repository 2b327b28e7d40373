package retrieval

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"beat/providers"
	"beat/streams/bus"
	"beat/streams/social"
)

// quotas is how much each credential may be used now, by its id. It is of this
// process and lost with it; other processes use the same credentials and are not
// seen.
//
// What answers say is left (providers.ReadQuota) is believed by half until the
// next answer, for the others do the same. A credential that comes back from a
// rest begins with one call: all asks that waited for it come in the same moment,
// and a refusal must be heard before more of them are on their way. As long as
// answers do not say what is left, each round of them allows one more at once.
type quotas struct {
	mu sync.Mutex
	of map[int64]*quota
}

type quota struct {
	underWay int       // calls that have no answer yet
	last     time.Time // when the last of them began
	left     int       // calls that may begin before reset
	reset    time.Time // zero: the last answer did not say
	atOnce   int       // calls that may be under way; 0 any number
	round    int       // answers since it grew
	rested   time.Time // end of the rest that atOnce is for
}

// slowAnswer is after how long one more call may be made all the same: an answer
// may take half a minute.
const slowAnswer = time.Second

// muchQuota is from which quota on the last call of it is not made: another
// process may be making it.
const muchQuota = 8

// begin counts a call that is made now, unless an answer is to be waited for.
// rested is when the last rest of the credential ended.
func (q *quotas) begin(id int64, rested, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.of[id]
	if c == nil {
		c = &quota{}
		if q.of == nil {
			q.of = map[int64]*quota{}
		}
		q.of[id] = c
	}
	if rested.After(c.rested) {
		c.rested, c.atOnce, c.round = rested, 1, 0
	}
	told := now.Before(c.reset)
	if (told && c.left <= 0 && c.underWay > 0 || c.atOnce > 0 && c.underWay >= c.atOnce) && now.Sub(c.last) < slowAnswer {
		return false
	}
	if told {
		c.left--
	}
	c.underWay++
	c.last = now
	return true
}

// end counts a call that is over.
func (q *quotas) end(id int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of[id].underWay--
}

// learn notes what the answer to a call that is over says. spent is that nothing
// is left but for the calls under way, which the provider may have counted
// already or not.
func (q *quotas) learn(id int64, said providers.Quota, at time.Time) (until time.Time, spent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.of[id]
	if !said.Known || said.Reset == 0 {
		c.reset = time.Time{}
		if c.round++; c.atOnce > 0 && c.round >= c.atOnce {
			c.atOnce, c.round = c.atOnce+1, 0
		}
		return time.Time{}, false
	}
	c.atOnce = 0
	left := said.Remaining - c.underWay
	if said.Limit >= muchQuota {
		left--
	}
	c.left, c.reset = left/2, at.Add(said.Reset)
	return c.reset, left <= 0
}

// mayCall reports whether the credential of w can still be used, and counts a
// call of it then: asking the limits took a while, and other answers may have
// come. A probe is made with one that rests.
func (r *Retrieval) mayCall(w choice) bool {
	rested, ready := r.creds.Ready(w.cred)
	if w.probe {
		rested, ready = time.Time{}, true
	}
	return ready && r.quotas.begin(w.cred.ID, rested, time.Now())
}

// another puts an ask back to pick a credential again, a little later: all there
// are may be waiting for an answer.
func another(a social.Ask) ([]bus.Out, error) {
	return later(a, time.Now().Add(25*time.Millisecond+rand.N(75*time.Millisecond)), "")
}

// learn reads what an answer says is left, and lets the credential rest when that
// is nothing. That other processes do not hear of it is no reason to lose the
// answer: they are told by their own.
func (r *Retrieval) learn(ctx context.Context, c providers.Credential, ans providers.Answer) {
	until, spent := r.quotas.learn(c.ID, providers.ReadQuota(ans.Header, ans.At), ans.At)
	if !spent {
		return
	}
	if err := r.creds.Spent(ctx, c, until); err != nil {
		r.lg.Warn("credential state not written", "err", err)
	}
}
