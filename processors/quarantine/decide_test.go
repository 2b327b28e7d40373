package quarantine

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/streams/flow"
	"beat/streams/social"
)

// noon is when the logs of these tests were observed.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// profile is the log of an Instagram profile; an empty count is absent.
func profile(key, followers, media string) social.Log {
	l := social.Log{Kind: social.Profile, Key: key, Handle: "h" + key, Source: "graphapi",
		Dimensions: social.KVs{{Key: "profile_id", Value: social.String(key)}, {Key: "bio", Value: social.String("a \x00 b")}}}
	for _, m := range []social.KV{{Key: "followers", Value: json.RawMessage(followers)}, {Key: "media_count", Value: json.RawMessage(media)}} {
		if len(m.Value) > 0 {
			l.Metrics = append(l.Metrics, m)
		}
	}
	return l
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		name            string
		stored          int64
		seen            string
		since           time.Time
		fell, rose, say bool
	}{
		{"a drop of 90 %", 1000, "100", time.Time{}, true, false, true},
		{"a drop of 89 %", 1000, "110", time.Time{}, false, false, true},
		{"just less than 90 %", 1000, "101", time.Time{}, false, false, true},
		{"90 % of no multiple of ten", 105, "10", time.Time{}, true, false, true},
		{"to nothing", 1000, "0", time.Time{}, true, false, true},
		{"90 % of 100", 100, "10", time.Time{}, true, false, true},
		{"90 % of 99", 99, "9", time.Time{}, false, false, true},
		{"of nothing", 0, "0", time.Time{}, false, false, true},
		{"as before", 1000, "1000", time.Time{}, false, false, true},
		{"nearly ten times", 1000, "9999", time.Time{}, false, false, true},
		{"ten times", 1000, "10000", time.Time{}, false, true, true},
		{"ten times few", 99, "990", time.Time{}, false, false, true},
		{"large numbers", 1 << 60, "9223372036854775807", time.Time{}, false, false, true},
		{"unknown now", 1000, "null", time.Time{}, false, false, false},
		{"absent now", 1000, "", time.Time{}, false, false, false},
		{"older than what is stored", 1000, "1", noon.Add(time.Second), false, false, false},
		{"of the same answer", 1000, "1", noon, true, false, true},
	} {
		r := rules[social.Instagram]
		falls, rises, said := r.changes(profile("1", c.seen, ""), noon, []value{{&c.stored, c.since}, {}})
		if (len(falls) == 1) != c.fell || (len(rises) == 1) != c.rose || (len(said) == 1) != c.say {
			t.Errorf("%s: fell %v, rose %v, said %v; want %v, %v, %v", c.name, falls, rises, said, c.fell, c.rose, c.say)
		}
	}
	// Nothing stored: nothing to fall from.
	falls, rises, said := rules[social.Instagram].changes(profile("1", "1", "2"), noon, make([]value, 2))
	if len(falls)+len(rises) > 0 || len(said) != 2 {
		t.Errorf("a new profile: fell %v, rose %v, said %v", falls, rises, said)
	}
}

func TestDecide(t *testing.T) {
	before, after := noon.Add(-time.Hour), noon.Add(time.Hour)
	all := []string{"followers", "media_count"}
	followers, both := []change{{"followers", 1000, 1}}, []change{{"followers", 1000, 1}, {"media_count", 100, 0}}
	held := func(at time.Time, columns ...string) known {
		return known{held: &waiting{id: 1, event: "other", columns: columns, at: at}}
	}
	for _, c := range []struct {
		name  string
		falls []change
		said  []string
		k     known
		want  verdict
	}{
		{"normal", nil, all, known{}, verdict{}},
		{"a drop", followers, all, known{}, verdict{keep: true, add: true}},
		{"the same message again", followers, all, known{held: held(noon, "followers").held, kept: true}, verdict{keep: true}},
		{"the same message, decided on", followers, all, known{kept: true}, verdict{keep: true}},
		{"the second drop", followers, all, held(before, "followers"), verdict{held: Confirmed}},
		{"the second drop came first", followers, all, held(after, "followers"), verdict{held: Confirmed}},
		{"the second drop again", followers, all, known{passed: true}, verdict{}},
		{"the second drop again, and a third is held", followers, all, known{held: held(before, "media_count").held, passed: true}, verdict{}},
		{"a part of the drop", followers, all, held(before, all...), verdict{held: Confirmed}},
		{"a larger drop", both, all, held(before, "followers"), verdict{keep: true, add: true, held: Replaced}},
		{"another drop", followers, all, held(before, "media_count"), verdict{keep: true, add: true, held: Replaced}},
		{"normal after a drop", nil, all, held(before, "followers"), verdict{held: Replaced}},
		{"normal before the drop", nil, all, held(after, "followers"), verdict{}},
		{"says nothing of the drop", nil, []string{"media_count"}, held(before, "followers"), verdict{}},
		{"says half of it", nil, []string{"media_count"}, held(before, all...), verdict{}},
	} {
		if got := decide(noon, c.falls, c.said, c.k); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Whoever said it, another is asked where there is one, and the flow takes the
// parameters.
func TestAgain(t *testing.T) {
	f, ok := flow.ByName("refresh_profile_basic")
	if !ok {
		t.Fatal("no such flow")
	}
	nobody := profile("1", "1", "1")
	nobody.Handle = ""
	for _, c := range []struct {
		source string
		l      social.Log
		want   map[string]any
		asks   social.Fetch
	}{
		{"graphapi", profile("1", "1", "1"), map[string]any{"profile_id": "1", "handle": nil}, social.ProfileByID},
		{"lama", profile("1", "1", "1"), map[string]any{"profile_id": "1", "handle": nil}, social.ProfileByID},
		{"rapidapi-jotucker", profile("1", "1", "1"), map[string]any{"profile_id": nil, "handle": "h1"}, social.ProfileByHandle},
		{"rapidapi-jotucker", nobody, map[string]any{"profile_id": "1", "handle": nil}, social.ProfileByID},
	} {
		name, params := basic(c.source, c.l)
		if diff := cmp.Diff(c.want, params); diff != "" {
			t.Errorf("%s: %s", c.source, diff)
		}
		raw, err := json.Marshal(params)
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Decode(raw)
		if err != nil || name != f.Name {
			t.Errorf("%s: flow %s: %v", c.source, name, err)
		}
		a, err := f.First(social.TaskRef{}, p, "")
		if err != nil || a.Fetch != c.asks {
			t.Errorf("%s: asks %s, %v; want %s", c.source, a.Fetch, err, c.asks)
		}
	}
}
