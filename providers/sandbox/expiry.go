package sandbox

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An Expiry makes keys expire: then the source refuses them the way it refuses
// what was good once, and they use no quota.
//
// Over HTTP: {"source":"graphapi","match":"sandbox-","expires_in":"10s"}
type Expiry struct {
	Source string
	Key    string        // this key, or
	Match  string        // all that begin with it
	In     time.Duration // from now; 0 at once
}

func (e *Expiry) check() error {
	if (e.Key == "") == (e.Match == "") {
		return errors.New("either a key or a match is needed")
	}
	if e.In < 0 {
		return errors.New("the time cannot be negative")
	}
	return nil
}

type expiry struct {
	Expiry
	id   int
	from time.Duration // since the base of the gate
	hits int           // calls that were refused
}

func (e *expiry) strikes(key string, at time.Duration) bool {
	if at < e.from || e.Key != "" && key != e.Key || !strings.HasPrefix(key, e.Match) {
		return false
	}
	e.hits++
	return true
}

// Expire makes keys expire and returns an id for Renew. It panics when e makes
// no sense: over HTTP that is a 400.
func (s *Sandbox) Expire(e Expiry) int {
	id, err := s.expire(e)
	if err != nil {
		panic("sandbox: " + err.Error())
	}
	return id
}

func (s *Sandbox) expire(e Expiry) (int, error) {
	g, err := s.gate(e.Source)
	if err != nil {
		return 0, err
	}
	if err := e.check(); err != nil {
		return 0, err
	}
	id := int(s.expiries.Add(1))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expired = append(g.expired, &expiry{Expiry: e, id: id, from: s.cfg.Clock().Add(e.In).Sub(g.base)})
	return id, nil
}

// Renew makes keys good again that the expiries of these ids struck, all when
// there are none. It returns how many expiries are gone.
func (s *Sandbox) Renew(ids ...int) int {
	n := 0
	for _, g := range s.gates {
		g.mu.Lock()
		was := len(g.expired)
		g.expired = slices.DeleteFunc(g.expired, func(e *expiry) bool { return len(ids) == 0 || slices.Contains(ids, e.id) })
		n += was - len(g.expired)
		g.mu.Unlock()
	}
	return n
}

// wireExpiry is an Expiry as JSON. In answers, key and match are hashes.
type wireExpiry struct {
	ID     int     `json:"id,omitempty"`
	Source string  `json:"source"`
	Key    string  `json:"key,omitempty"`
	Match  string  `json:"match,omitempty"`
	In     wireDur `json:"expires_in"`
	Hits   int     `json:"hits"` // ignored when posted
	Over   bool    `json:"expired"`
}

func (s *Sandbox) listExpiries() []wireExpiry {
	out := []wireExpiry{}
	for _, name := range s.names() {
		g := s.gates[name]
		g.mu.Lock()
		at := s.cfg.Clock().Sub(g.base)
		for _, e := range g.expired {
			out = append(out, wireExpiry{e.id, e.Source, KeyHash(e.Key), KeyHash(e.Match),
				wireDur(max(e.from-at, 0)), e.hits, at >= e.from})
		}
		g.mu.Unlock()
	}
	return out
}

func (s *Sandbox) postKeys(w http.ResponseWriter, r *http.Request) {
	var e wireExpiry
	if !readBody(w, r, "expiry", &e) {
		return
	}
	id, err := s.expire(Expiry{e.Source, e.Key, e.Match, time.Duration(e.In)})
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	reply(w, http.StatusCreated, map[string]int{"id": id})
}
