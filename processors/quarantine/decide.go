package quarantine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"beat/streams/flow"
	"beat/streams/social"
)

// A rule says which counts of a platform's profiles are watched, and how to
// look again at a profile.
type rule struct {
	table, key string // where the stored counts are, and the column of Log.Key
	counts     []count
	again      func(source string, l social.Log) (flow string, params map[string]any)
}

// A count is a metric and its column.
type count struct{ metric, column string }

var rules = map[social.Platform]rule{
	social.Instagram: {"instagram_account", "profile_id", []count{{"followers", "followers"}, {"media_count", "media_count"}}, basic},
}

const (
	fewest = 100 // stored counts below it may change as they like
	part   = 10  // a tenth is a fall, ten times is a rise
)

// basic asks for an Instagram profile in the way that leads to another provider
// than source.
func basic(source string, l social.Log) (string, map[string]any) {
	params := map[string]any{"profile_id": nil, "handle": nil}
	if slices.Contains(flow.Sources[social.ProfileByID], source) && l.Handle != "" {
		params["handle"] = l.Handle
	} else {
		params["profile_id"] = l.Key
	}
	return "refresh_profile_basic", params
}

// A value is what is stored of a count. n is nil when nothing is, at is zero
// when it is not known since when.
type value struct {
	n  *int64
	at time.Time
}

// A change is a count that moved further than counts do.
type change struct {
	column       string
	stored, seen int64
}

func (c change) String() string { return fmt.Sprintf("%s from %d to %d", c.column, c.stored, c.seen) }

func texts(cs []change) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.String())
	}
	return strings.Join(out, ", ")
}

// changes compares a log, observed at, with the stored values of r's counts.
// said is the columns that it has a value for. An absent count says nothing,
// and neither does one that is older than the stored value: the projections
// keep that.
func (r rule) changes(l social.Log, at time.Time, stored []value) (falls, rises []change, said []string) {
	for i, c := range r.counts {
		v, _ := l.Metrics.Get(c.metric)
		n := gjson.ParseBytes(v)
		if n.Type != gjson.Number || at.Before(stored[i].at) {
			continue
		}
		said = append(said, c.column)
		if stored[i].n == nil || *stored[i].n < fewest {
			continue
		}
		switch was, is := *stored[i].n, n.Int(); {
		case is <= was/part:
			falls = append(falls, change{c.column, was, is})
		case is/part >= was:
			rises = append(rises, change{c.column, was, is})
		}
	}
	return falls, rises, said
}

// A waiting observation is the held one of an entity.
type waiting struct {
	id      int64
	event   string
	columns []string // that fell
	at      time.Time
	confirm *int64 // the task that looks again; nil: it is yet to be asked for
}

// Known is what the table says of an observation that is to be judged.
type known struct {
	held   *waiting
	kept   bool // it has been kept back before
	passed bool // it has confirmed another before
}

// A verdict says what becomes of an observation and of the held one.
type verdict struct {
	keep bool  // it is kept back,
	add  bool  // which is news
	held State // what the held one becomes; "": it stays
}

// decide is the whole policy. Asked again about an observation that it has
// decided on, it says the same and changes nothing.
func decide(at time.Time, falls []change, said []string, k known) verdict {
	h := k.held
	if len(falls) == 0 {
		if h != nil && !at.Before(h.at) && within(h.columns, said) {
			return verdict{held: Replaced}
		}
		return verdict{}
	}
	var fell []string
	for _, c := range falls {
		fell = append(fell, c.column)
	}
	switch {
	case k.kept:
		return verdict{keep: true}
	case k.passed:
		return verdict{}
	case h == nil:
		return verdict{keep: true, add: true}
	case within(fell, h.columns):
		return verdict{held: Confirmed}
	}
	// It says another thing than the held one, so neither confirms the other.
	return verdict{keep: true, add: true, held: Replaced}
}

// within reports whether all of a are in b.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
