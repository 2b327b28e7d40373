package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"beat/streams/social"
)

// A Fault is something that goes wrong on purpose.
//
// Over HTTP it is a JSON object with the members of this type in lower case,
// retry_after in two words, times as text such as "1.5s":
//
//	{"source":"graphapi","kind":"429","retry_after":"30s","rate":0.5,"for":"1m"}
//	{"sources":["graphapi","lama"],"kind":"refuse","for":"5m"}
type Fault struct {
	Source  string       // "" all, unless there are Sources
	Sources []string     // any of these; an outage of several
	Fetch   social.Fetch // "" all
	Path    string       // prefix of the path below the source, such as /ig/posts/; "" all

	Kind       string        // see Kinds
	RetryAfter time.Duration // header Retry-After, in whole seconds upwards; 0 none
	Delay      time.Duration // before the answer; 0 is 2s for slow, 10m for hang, none for others
	Rate       float64       // share of the calls that are hit, evenly; 0 and 1 are all
	Count      int           // hits until it is over; 0 unlimited
	For        time.Duration // until it is over; 0 for good
}

// Kinds of fault.
//
//	slow       the right answer, after Delay
//	401 403 404 429 500 503   that status, with a body as the source has it
//	expired    the credential is refused the way the source does it: Graph
//	           400/190, RapidAPI 403, rocketapi and lama 402, YouTube 400 keyInvalid
//	malformed  200 with the right answer, but no JSON any more
//	wrongtype  200 with the right answer, but a member of another type
//	truncated  half of the answer, then the connection is closed
//	hang       nothing for Delay, then a closed connection
//	reset      the connection is reset at once
//	refuse     as reset, on old and new connections alike, as if the host were
//	           down: the call is seen by no key and no quota, and Delay is not
//	           waited for. The port stays open for the other sources
//	empty      200 with no body
//	html       200 with a web page
var Kinds = []string{"slow", "401", "403", "404", "429", "500", "503", "expired",
	"malformed", "wrongtype", "truncated", "hang", "reset", "refuse", "empty", "html"}

// maxHang is the longest Delay.
const maxHang = 10 * time.Minute

func (f *Fault) check(sources []string) error {
	if !slices.Contains(Kinds, f.Kind) {
		return fmt.Errorf("kind %q is none of %s", f.Kind, strings.Join(Kinds, ", "))
	}
	for _, source := range append([]string{f.Source}, f.Sources...) {
		if source != "" && !slices.Contains(sources, source) {
			return unknownSource(source, sources)
		}
	}
	if slices.Contains(f.Sources, "") {
		return errors.New("a source without a name")
	}
	if f.Fetch != "" && !asked(f.Fetch) {
		return fmt.Errorf("fetch %q is asked of no source here", f.Fetch)
	}
	if f.Path != "" && f.Path[0] != '/' {
		return fmt.Errorf("path %q does not begin with /", f.Path)
	}
	if f.Rate < 0 || f.Rate > 1 {
		return fmt.Errorf("rate %v is not between 0 and 1", f.Rate)
	}
	if f.Count < 0 || f.RetryAfter < 0 || f.Delay < 0 || f.For < 0 {
		return errors.New("count and times cannot be negative")
	}
	if f.Delay > maxHang {
		return fmt.Errorf("delay %v is over %v", f.Delay, maxHang)
	}
	if f.Delay == 0 {
		switch f.Kind {
		case "slow":
			f.Delay = 2 * time.Second
		case "hang":
			f.Delay = maxHang
		}
	}
	return nil
}

// asked reports whether some source answers fetch.
func asked(fetch social.Fetch) bool {
	return slices.ContainsFunc(table, func(s source) bool {
		return slices.ContainsFunc(s.routes, func(r route) bool { return r.fetch == fetch })
	})
}

func unknownSource(source string, sources []string) error {
	return fmt.Errorf("source %q is none of %s", source, strings.Join(sources, ", "))
}

// at reports whether the fault is about source.
func (f *Fault) at(source string) bool {
	return f.Source == source || f.Source == "" && len(f.Sources) == 0 || slices.Contains(f.Sources, source)
}

// wireFault is a Fault as JSON.
type wireFault struct {
	ID         int      `json:"id,omitempty"`
	Source     string   `json:"source,omitempty"`
	Sources    []string `json:"sources,omitempty"`
	Fetch      string   `json:"fetch,omitempty"`
	Path       string   `json:"path,omitempty"`
	Kind       string   `json:"kind"`
	RetryAfter wireDur  `json:"retry_after,omitempty"`
	Delay      wireDur  `json:"delay,omitempty"`
	Rate       float64  `json:"rate,omitempty"`
	Count      int      `json:"count,omitempty"`
	For        wireDur  `json:"for,omitempty"`
	Hits       int      `json:"hits"` // ignored when posted
	Over       bool     `json:"over,omitempty"`
}

func (f wireFault) fault() Fault {
	return Fault{f.Source, f.Sources, social.Fetch(f.Fetch), f.Path, f.Kind, time.Duration(f.RetryAfter),
		time.Duration(f.Delay), f.Rate, f.Count, time.Duration(f.For)}
}

// A wireDur is text such as "1.5s", or a number of seconds.
type wireDur time.Duration

func (d wireDur) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

func (d *wireDur) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == string(b) {
		text += "s"
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%s is no time: want text such as \"1.5s\", or seconds", b)
	}
	*d = wireDur(v)
	return nil
}

// faults are those that are on, in the order of their injection.
type faults struct {
	mu   sync.Mutex
	next int
	on   []*injected
}

type injected struct {
	Fault
	id    int
	since time.Time
	calls int // that it matched
	hits  int // that it struck
}

func (f *injected) over(now time.Time) bool {
	return f.For > 0 && now.Sub(f.since) >= f.For || f.Count > 0 && f.hits >= f.Count
}

// Inject turns a fault on and returns its id. It panics when f makes no
// sense: over HTTP that is a 400.
func (s *Sandbox) Inject(f Fault) int {
	id, err := s.inject(f)
	if err != nil {
		panic("sandbox: " + err.Error())
	}
	return id
}

// Clear turns the faults of these ids off, all when there are none.
func (s *Sandbox) Clear(ids ...int) { s.faults.clear(ids) }

// Hits is how many calls the fault of this id has struck, 0 once it is cleared.
// An outage that is over still has its number.
func (s *Sandbox) Hits(id int) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, v := range s.faults.on {
		if v.id == id {
			return v.hits
		}
	}
	return 0
}

func (s *Sandbox) inject(v Fault) (int, error) {
	if err := v.check(s.names()); err != nil {
		return 0, err
	}
	v.Sources = slices.Clone(v.Sources)
	return s.faults.add(v, s.cfg.Clock()), nil
}

func (f *faults) add(v Fault, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.on = append(f.on, &injected{Fault: v, id: f.next, since: now})
	return f.next
}

func (f *faults) clear(ids []int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := len(f.on)
	f.on = slices.DeleteFunc(f.on, func(v *injected) bool { return len(ids) == 0 || slices.Contains(ids, v.id) })
	return was - len(f.on)
}

// match is the fault that strikes this call, nil for none: the first that
// is not slow, with the delays of the slow ones before it.
func (f *faults) match(source string, fetch social.Fetch, path string, now time.Time) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var slow time.Duration
	for _, v := range f.on {
		if v.over(now) || !v.at(source) || v.Fetch != "" && v.Fetch != fetch ||
			!strings.HasPrefix(path, v.Path) {
			continue
		}
		v.calls++
		if v.Rate > 0 && v.Rate < 1 && int(float64(v.calls)*v.Rate) == int(float64(v.calls-1)*v.Rate) {
			continue
		}
		v.hits++
		if v.Kind == "slow" {
			slow += v.Delay
			continue
		}
		hit := v.Fault
		if hit.Kind == "refuse" {
			return &hit
		}
		hit.Delay = min(hit.Delay+slow, maxHang)
		return &hit
	}
	if slow > 0 {
		return &Fault{Kind: "slow", Delay: min(slow, maxHang)}
	}
	return nil
}

func (f *faults) list(now time.Time) []wireFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []wireFault{}
	for _, v := range f.on {
		out = append(out, wireFault{v.id, v.Source, v.Sources, string(v.Fetch), v.Path, v.Kind, wireDur(v.RetryAfter),
			wireDur(v.Delay), v.Rate, v.Count, wireDur(v.For), v.hits, v.over(now)})
	}
	return out
}

// hangUp ends the connection, with a TCP reset when hard.
func hangUp(w http.ResponseWriter, hard bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or already hijacked
	}
	if t, ok := conn.(*net.TCPConn); ok && hard {
		t.SetLinger(0)
	}
	conn.Close()
}
