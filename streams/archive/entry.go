package archive

import (
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/tidwall/gjson"

	"beat/streams/bus"
	"beat/streams/social"
)

// An Entry says what a raw answer is about, without its body. What its headers
// do not say is empty.
type Entry struct {
	Position
	At       time.Time       `json:"at"`       // when RAW stored it
	Observed time.Time       `json:"observed"` // when it came; At if unknown
	Subject  string          `json:"subject"`
	ID       string          `json:"raw_id"`
	Source   string          `json:"source"`
	Fetch    social.Fetch    `json:"fetch"`
	Platform social.Platform `json:"platform"`
	Verdict  string          `json:"verdict"` // "ok", or why it is not to be parsed
	Task     int64           `json:"task"`
	// Keys are what was asked for, and the profile that this was asked on behalf
	// of: handle, profile id, shortcode, channel ids.
	Keys []string `json:"keys,omitempty"`
	Size int      `json:"size"` // bytes of the body, of a claim too
	// Claim is the object that holds the body; empty: it is in the message.
	Claim string `json:"claim,omitempty"`
}

// entryOf reads a message of RAW. size is that of its body as stored, -1 if it
// is not known.
func entryOf(p Position, at time.Time, subject string, h nats.Header, size int) Entry {
	e := Entry{Position: p, At: at.UTC(), Subject: subject, ID: h.Get(bus.HeaderRawID), Source: h.Get(bus.HeaderSource),
		Fetch: social.Fetch(h.Get(bus.HeaderFetch)), Verdict: h.Get(bus.HeaderVerdict), Size: size}
	e.Observed = e.At
	if t, err := time.Parse(time.RFC3339Nano, h.Get(bus.HeaderObserved)); err == nil && inRange(t) {
		e.Observed = t.UTC()
	}
	if tok := strings.SplitN(subject, ".", 4); len(tok) == 4 {
		e.Platform = social.Platform(strings.ToUpper(tok[2]))
	}
	if c, ok := claimOf(h); ok && size <= 0 {
		e.Claim, e.Size = c.key, c.size
	}
	ask := gjson.Parse(h.Get(bus.HeaderAsk))
	e.Task = ask.Get("task.id").Int()
	add := func(key string) {
		if key != "" && !slices.Contains(e.Keys, key) {
			e.Keys = append(e.Keys, key)
		}
	}
	for _, k := range ask.Get("keys").Array() {
		add(k.String())
	}
	add(ask.Get("state.profile_id").String())
	add(ask.Get("state.handle").String())
	return e
}

// inRange reports whether t has nanoseconds since 1970.
func inRange(t time.Time) bool { return t.Year() > 1970 && t.Year() < 2262 }

// A Filter selects raw answers: those that match every field, and any value of
// a field. A zero field selects all.
type Filter struct {
	Platforms []social.Platform
	Sources   []string
	Fetches   []social.Fetch
	Verdicts  []string
	Since     time.Time // observed from then on
	Until     time.Time // observed before
	IDs       []string  // raw ids
	Tasks     []int64
	Keys      []string // see Entry.Keys
	// After and To bound the part of the history: what comes after the one, up
	// to and with the other. A job that was interrupted goes on after the last
	// answer it had; To is End at its beginning, so that it ends.
	After, To Position
}

// selection is a Filter made ready for many entries.
type selection struct {
	Filter
	ids   map[string]struct{}
	tasks map[int64]struct{}
	keys  map[string]struct{}
}

func set[T comparable](all []T) map[T]struct{} {
	if len(all) == 0 {
		return nil
	}
	m := make(map[T]struct{}, len(all))
	for _, v := range all {
		m[v] = struct{}{}
	}
	return m
}

func (f Filter) selection() selection {
	return selection{Filter: f, ids: set(f.IDs), tasks: set(f.Tasks), keys: set(f.Keys)}
}

func among[T comparable](all []T, v T) bool { return len(all) == 0 || slices.Contains(all, v) }

func in[T comparable](m map[T]struct{}, v T) bool {
	_, ok := m[v]
	return m == nil || ok
}

// bounds reports whether p lies between After and To.
func (s *selection) bounds(p Position) bool {
	return p.Compare(s.After) > 0 && (s.To == Position{} || p.Compare(s.To) <= 0)
}

// has reports whether e is selected.
func (s *selection) has(e *Entry) bool {
	return s.bounds(e.Position) &&
		among(s.Platforms, e.Platform) && among(s.Sources, e.Source) && among(s.Fetches, e.Fetch) && among(s.Verdicts, e.Verdict) &&
		(s.Since.IsZero() || !e.Observed.Before(s.Since)) && (s.Until.IsZero() || e.Observed.Before(s.Until)) &&
		in(s.ids, e.ID) && in(s.tasks, e.Task) &&
		(s.keys == nil || slices.ContainsFunc(e.Keys, func(k string) bool { return in(s.keys, k) }))
}

// may reports whether a segment can hold something that is selected.
func (s *selection) may(g *Segment) bool {
	last, first := Position{g.Run, g.Last}, Position{g.Run, g.First}
	if last.Compare(s.After) <= 0 || (s.To != Position{}) && first.Compare(s.To) > 0 {
		return false
	}
	if !s.Since.IsZero() && g.ObservedTo.Before(s.Since) || !s.Until.IsZero() && !g.ObservedFrom.Before(s.Until) {
		return false
	}
	return slices.ContainsFunc(g.Subjects, s.subject)
}

// subject reports whether a message of that subject can be selected.
func (s *selection) subject(subject string) bool {
	tok := strings.SplitN(subject, ".", 5)
	if len(tok) < 5 { // not of ours, but it is there
		return true
	}
	return among(s.Platforms, social.Platform(strings.ToUpper(tok[2]))) && among(s.Sources, tok[3]) && among(s.Fetches, social.Fetch(tok[4]))
}

// subjects are the filter as subjects of RAW; nil for all of it.
func (s *selection) subjects() []string {
	platforms, sources, fetches := []string{}, s.Sources, []string{}
	for _, p := range s.Platforms {
		platforms = append(platforms, p.Lower())
	}
	for _, f := range s.Fetches {
		fetches = append(fetches, string(f))
	}
	if len(platforms)+len(sources)+len(fetches) == 0 {
		return nil
	}
	orAll := func(all []string) []string {
		if len(all) == 0 {
			return []string{"*"}
		}
		return all
	}
	var out []string
	for _, p := range orAll(platforms) {
		for _, src := range orAll(sources) {
			for _, f := range orAll(fetches) {
				out = append(out, "beat.raw."+p+"."+src+"."+f)
			}
		}
	}
	return out
}
