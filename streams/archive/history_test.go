package archive

import (
	"log/slog"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"beat/streams/bus"
	"beat/streams/social"
)

// The same history is read from the stream, from both, and from the archive
// alone; whatever is selected.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	cfg := quick
	cfg.SegmentBytes = 60 << 10
	a := w.open(cfg)
	w.send(240)
	w.history(a, Filter{}, nil)

	stop := w.run(a)
	gs := w.archived(a)
	stop()
	if len(gs) < 5 {
		t.Errorf("%d segments, want some", len(gs))
	}
	for i := 1; i < len(gs); i++ {
		if gs[i].First != gs[i-1].Last+1 {
			t.Errorf("segment %d begins at %d, the one before ended at %d", i, gs[i].First, gs[i-1].Last)
		}
	}
	w.send(90)
	selects := func(what string) {
		t.Helper()
		for name, c := range map[string]struct {
			f    Filter
			want func(Raw) bool
		}{
			"all":      {Filter{}, nil},
			"source":   {Filter{Sources: []string{"lama"}}, func(r Raw) bool { return r.Source == "lama" }},
			"platform": {Filter{Platforms: []social.Platform{social.YouTube}}, func(r Raw) bool { return r.Platform == social.YouTube }},
			"fetch and verdict": {Filter{Fetches: []social.Fetch{social.ProfileByHandle}, Verdicts: []string{"limited", "gone"}},
				func(r Raw) bool { return r.Fetch == social.ProfileByHandle && r.Verdict == "limited" }},
			"time": {Filter{Since: w.sent[40].Observed, Until: w.sent[300].Observed},
				func(r Raw) bool {
					return !r.Observed.Before(w.sent[40].Observed) && r.Observed.Before(w.sent[300].Observed)
				}},
			"raw id":  {Filter{IDs: []string{w.sent[5].ID, w.sent[310].ID}}, func(r Raw) bool { return r.ID == w.sent[5].ID || r.ID == w.sent[310].ID }},
			"task":    {Filter{Tasks: []int64{3}}, func(r Raw) bool { return r.Task == 3 }},
			"key":     {Filter{Keys: []string{"creator007"}}, func(r Raw) bool { return r.Keys[0] == "creator007" }},
			"profile": {Filter{Keys: []string{"4"}}, func(r Raw) bool { return r.Keys[1] == "4" }},
			"nothing": {Filter{Sources: []string{"nobody"}}, func(Raw) bool { return false }},
		} {
			if t.Run(what+" "+name, func(t *testing.T) { w.history(a, c.f, c.want) }); t.Failed() {
				break
			}
		}
	}
	selects("archive and stream:")

	// From where somebody stopped, and to where somebody began.
	all := w.history(a, Filter{}, nil)
	for _, n := range []int{0, 1, 120, 239, 240, 241, 329} {
		rest := slices.Clone(all[n+1:])
		var got []Raw
		for r, err := range a.History(t.Context(), Filter{After: all[n].Position}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		w.same(got, rest)
		got = nil
		for r, err := range a.History(t.Context(), Filter{To: all[n].Position}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		w.same(got, all[:n+1])
	}
	if end, err := a.End(t.Context()); err != nil || end != all[329].Position {
		t.Errorf("end: got %s, %v, want %s", end, err, all[329].Position)
	}

	stop = w.run(a)
	w.archived(a)
	stop()
	w.purgeAll()
	selects("archive alone:")

	// A process without the archive must not pretend.
	blind := New(slog.New(slog.DiscardHandler), w.db, w.js, nil, quick)
	for _, err := range blind.History(t.Context(), Filter{}) {
		if err == nil {
			t.Error("a history without the archive that holds it")
		}
		break
	}
}

// A caller that stops early leaves nothing running.
func TestHistoryStops(t *testing.T) {
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(150)
	stop := w.run(a)
	w.archived(a)
	stop()
	w.send(20)
	before := goleak.IgnoreCurrent()
	for _, most := range []int{0, 1, 100, 160} {
		n := 0
		for _, err := range a.History(t.Context(), Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > most {
				break
			}
		}
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("net/http.(*conn).serve"), // kept open for the next
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// What is archived and purged while somebody reads the stream is not left out.
func TestHistoryOvertaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bus.Options{})
	a := w.open(quick)
	w.send(1200)
	n := 0
	var got []Raw
	for r, err := range a.History(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10 {
			stop := w.run(a)
			w.archived(a)
			stop()
			w.purgeAll()
		}
		got = append(got, r)
	}
	w.same(got, w.sent)
}
