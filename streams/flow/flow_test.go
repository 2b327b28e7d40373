package flow

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"beat/streams/social"
)

func TestTable(t *testing.T) {
	if err := Check(All, nil); err != nil {
		t.Error(err)
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ flow, params, says string }{
		{"refresh_profile_by_handle", `{"handle":"a"}`, ""},
		{"refresh_profile_by_handle", `{}`, "missing 1 required positional argument: 'handle'"},
		{"refresh_profile_by_handle", `{"handle":"a","x":1}`, "got an unexpected keyword argument 'x'"},
		{"refresh_profile_by_handle", `{"handle":7}`, "must be text, got a number"},
		{"refresh_profile_by_handle", `{"handle":""}`, "must not be empty"},
		{"refresh_profile_by_handle", `[]`, "must be a JSON object, got a list"},
		{"refresh_profile_by_handle", `null`, "must be a JSON object, got null"},
		{"refresh_profile_basic", `{"handle":null,"profile_id":"7"}`, ""},
		{"refresh_profile_basic", `{"handle":null,"profile_id":null}`, "to hold a value"},
		{"refresh_profile_basic", `{"handle":"a"}`, "'profile_id'"},
		{"refresh_post_insights", `{"shortcode":"C1","handle":"x","post_id":"17","post_type":"reels"}`, ""},
		{"refresh_post_insights", `{"shortcode":"C1","handle":"x","post_id":"17","post_type":""}`, "'post_type' must not be empty"},
		{"refresh_post_insights", `{"shortcode":"C1","handle":null,"post_id":"17","post_type":"reels"}`, "'handle' must be text, got null"},
		{"refresh_post_insights", `{"shortcode":"C1","handle":"x","post_type":"reels"}`, "missing 1 required positional argument: 'post_id'"},
		{"refresh_yt_profiles", `{"channel_ids":["a","b"]}`, ""},
		{"refresh_yt_profiles", `{"channel_ids":"a"}`, "must be a list of text, got text"},
		{"refresh_yt_profiles", `{"channel_ids":["a",1]}`, "element 1 must be text"},
		{"refresh_yt_profiles", `{"channel_ids":[]}`, "must not be an empty list"},
	} {
		f, ok := ByName(c.flow)
		if !ok {
			t.Fatalf("no flow %s", c.flow)
		}
		_, err := f.Decode(json.RawMessage(c.params))
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s(%s): got %v, want %q", c.flow, c.params, err, c.says)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"handle":"a"}`)
	f.Add(`{"channel_ids":["a"]}`)
	f.Fuzz(func(t *testing.T, params string) {
		for _, fl := range All {
			p, err := fl.Decode(json.RawMessage(params))
			if err == nil {
				if _, err := fl.First(social.TaskRef{}, p, "known"); err != nil {
					t.Errorf("%s(%s) was decoded but asks nothing: %v", fl.Name, params, err)
				}
			}
		}
	})
}

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// The chain of a full refresh: profile, posts until a page is older than 30
// days, reels until more than ten.
func TestChainOfAFullRefresh(t *testing.T) {
	f, _ := ByName("refresh_profile_by_handle")
	a, err := f.First(social.TaskRef{ID: 1, Fence: 1, Flow: f.Name}, Params{"handle": {"x"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	media := int64(9)
	recent, old := now.Add(-24*time.Hour), now.Add(-31*24*time.Hour)
	ids := map[string]bool{}
	for i, c := range []struct {
		fetch  social.Fetch
		key    string
		cursor string
		then   Outcome
	}{
		{social.ProfileByHandle, "x", "", Outcome{Source: "graphapi", ProfileID: "7", MediaCount: &media}},
		{social.PostsByID, "7", "", Outcome{Source: "b", Items: 12, Oldest: recent, More: true, Cursor: "p2"}},
		{social.PostsByID, "7", "p2", Outcome{Source: "b", Items: 12, Oldest: old, More: true, Cursor: "p3"}},
		{social.Reels, "7", "", Outcome{Source: "b", Items: 10, Oldest: recent, More: true, Cursor: "r2"}},
		{social.Reels, "7", "r2", Outcome{Source: "b", Items: 1, Oldest: recent, More: true, Cursor: "r3"}},
	} {
		if a.Fetch != c.fetch || a.Key() != c.key || a.Cursor != c.cursor || a.Seq != i {
			t.Fatalf("ask %d: got %+v, want %s of %s at %q", i, a, c.fetch, c.key, c.cursor)
		}
		if c.cursor != "" && a.Source != "b" {
			t.Errorf("ask %d: page is not pinned to its source: %q", i, a.Source)
		}
		if ids[a.ID()] {
			t.Errorf("ask %d: id %s twice", i, a.ID())
		}
		ids[a.ID()] = true
		c.then.At = now
		next, final := f.Next(a, c.then)
		if i == 4 {
			if final == nil || final.Status != social.Complete || final.Data != "None" {
				t.Errorf("end: got %+v", final)
			}
			return
		}
		if final != nil {
			t.Fatalf("ask %d: the chain ended", i)
		}
		a = next
	}
}

func TestChainStops(t *testing.T) {
	f, _ := ByName("refresh_profile_by_handle")
	posts := social.Ask{Step: 1, Fetch: social.PostsByID, Keys: []string{"7"}, State: social.State{ProfileID: "7"}}
	for name, o := range map[string]Outcome{
		"no media count skips the reels": {More: false},
		"an empty cursor ends the step":  {More: true, Items: 3},
		"an empty page ends the step":    {More: true, Cursor: "c"},
		"more than fifty are enough":     {More: true, Cursor: "c", Items: 51},
	} {
		o.At = now
		if next, final := f.Next(posts, o); final == nil {
			t.Errorf("%s: got %+v", name, next)
		}
	}
}

// Batches of forty channels follow each other.
func TestChainOfBatches(t *testing.T) {
	f, _ := ByName("refresh_yt_profiles")
	ids := make([]string, 95)
	for i := range ids {
		ids[i] = string(rune('a' + i%26))
	}
	a, err := f.First(social.TaskRef{}, Params{"channel_ids": ids}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{40, 40, 15} {
		if len(a.Keys) != want {
			t.Fatalf("batch: got %d, want %d", len(a.Keys), want)
		}
		a, _ = f.Next(a, Outcome{At: now})
	}
}

// A source that fails is followed by the next, from the first page; the last
// failure ends the task, or only the step when that is optional.
func TestFail(t *testing.T) {
	f, _ := ByName("refresh_profile_by_handle")
	all := func(string) bool { return true }
	a := social.Ask{Fetch: social.ProfileByHandle, Keys: []string{"x"}}
	for _, s := range Sources[social.ProfileByHandle] {
		next, final, answered := f.Fail(a, social.Attempt{Source: s, Verdict: "gone", Status: 400, Reason: "Invalid username"}, all)
		if s == "rapidapi-bestsolutions" {
			if final == nil || !answered || final.Status != social.Failed || !strings.HasPrefix(final.Data, "(400, 'Invalid username')") {
				t.Errorf("end: got %+v", final)
			}
			for _, s := range Sources[social.ProfileByHandle] {
				if !strings.Contains(final.Data, s) {
					t.Errorf("the error does not name %s: %s", s, final.Data)
				}
			}
			break
		}
		if final != nil || answered || next.ID() == a.ID() {
			t.Fatalf("after %s: %+v %+v", s, next, final)
		}
		a = next
	}
	posts := social.Ask{Seq: 3, Step: 1, Page: 2, Cursor: "c", Source: "lama", Fetch: social.PostsByID, Keys: []string{"7"}, State: social.State{ProfileID: "7"}}
	next, final, answered := f.Fail(posts, social.Attempt{Source: "lama"}, all)
	if final != nil || answered || next.Page != 0 || next.Cursor != "" || next.Source != "" || next.Seq != 3 {
		t.Errorf("source died at page 2: got %+v", next)
	}
	if _, final, answered = f.Fail(posts, social.Attempt{Source: "lama"}, func(string) bool { return false }); !answered || final == nil || final.Status != social.Complete {
		t.Errorf("optional step without sources: got %+v, %v", final, answered)
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct {
		attempts []social.Attempt
		want     string
	}{
		{nil, "No source is available at the moment"},
		{[]social.Attempt{{Source: "a", Status: 429, Reason: "Something went wrong: slow down"}}, "(429, 'Something went wrong')"},
		{[]social.Attempt{{Source: "a", Status: 400, Reason: "it's gone"}}, `(400, "it's gone")`},
	} {
		if got := Reason(c.attempts); got != c.want {
			t.Errorf("reason: got %s, want %s", got, c.want)
		}
	}
}

// W3.5: the followers' sources are drawn 70/30, the same for one run however
// often its ask is delivered, and the one that was not drawn follows.
func TestW3_5FollowersAreDrawn(t *testing.T) {
	const n = 10_000
	first := map[string]int{}
	for i := range n {
		a := social.Ask{Task: social.TaskRef{ID: int64(i), Fence: int64(7 * i)}, Fetch: social.Followers}
		got := Candidates(a)
		if len(got) != 2 || got[0] == got[1] {
			t.Fatalf("candidates %v, want both", got)
		}
		if again := Candidates(a); again[0] != got[0] {
			t.Fatalf("drawn %s, then %s", got[0], again[0])
		}
		a.Attempts = []social.Attempt{{Source: got[0]}}
		if rest := Candidates(a); len(rest) != 1 || rest[0] != got[1] {
			t.Fatalf("after %s failed: %v, want %s", got[0], rest, got[1])
		}
		first[got[0]]++
	}
	if share := float64(first["rocketapi"]) / n; share < 0.68 || share > 0.72 {
		t.Errorf("rocketapi is drawn %.3f of the time, want 0.70", share)
	}
}

// A chain whose sources were down begins its step again, and no ask of it has an
// id that an earlier one had: that would be dropped as a duplicate.
func TestRestartHasIDsOfItsOwn(t *testing.T) {
	f, _ := ByName("refresh_profile_by_handle")
	a := social.Ask{Task: social.TaskRef{ID: 1, Fence: 2}, Step: 1, Page: 3, Cursor: "c", Source: "b", Fetch: social.PostsByID, Keys: []string{"7"}}
	ids := map[string]bool{a.ID(): true}
	usable := func(string) bool { return true }
	for range 4 {
		for range 3 {
			next, _, answered := f.Fail(a, social.Attempt{Source: Candidates(a)[0], Verdict: "upstream"}, usable)
			if answered {
				break
			}
			a = next
			if ids[a.ID()] {
				t.Fatalf("id of %+v twice", a)
			}
			ids[a.ID()] = true
		}
		a = f.Restart(a, func(social.Attempt) bool { return false })
		if a.Page != 0 || a.Cursor != "" || a.Source != "" || len(a.Attempts) != 0 {
			t.Fatalf("restarted at %+v", a)
		}
		if ids[a.ID()] {
			t.Fatalf("id of the restart %+v twice", a)
		}
		ids[a.ID()] = true
	}
}

// One ask with all that is to be known of the post, for the credential of the
// handle alone; without one, the text of the existing system.
func TestInsightsAreAskedByTheOwner(t *testing.T) {
	f, _ := ByName("refresh_post_insights")
	shortcode := append(make([]string, 0, 8), "C1") // with room: it is not to be written into
	a, err := f.First(social.TaskRef{}, Params{"shortcode": shortcode, "handle": {"x"}, "post_id": {"17"}, "post_type": {"reels"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if a.Fetch != social.PostInsights || strings.Join(a.Keys, " ") != "C1 17 reels" || a.Handle != "x" || shortcode[:2][1] != "" {
		t.Errorf("got %+v", a)
	}
	if _, final := f.Next(a, Outcome{Items: 1, At: now}); final == nil || final.Status != social.Complete || final.Data != "None" {
		t.Errorf("end: got %+v", final)
	}
	if _, final, answered := f.GiveUp(a); !answered || final == nil || final.Status != social.Failed || final.Data != "No cred is available at the moment" {
		t.Errorf("nobody to ask: got %+v", final)
	}
	_, final, _ := f.Fail(a, social.Attempt{Source: "graphapi", Verdict: "gone", Status: 404, Reason: "Post missing: x"}, func(string) bool { return true })
	if final == nil || final.Data != "(404, 'Post missing')" {
		t.Errorf("post missing: got %+v", final)
	}
}

// A step is bound or not, whatever the one before it was.
func TestBoundSteps(t *testing.T) {
	f := Flow{Steps: []Step{
		{Ask: []By{{Param: "handle", Fetch: social.ProfileByHandle}}, Bound: true},
		{Ask: []By{{State: profileID, Fetch: social.PostsByID}}},
		{Ask: []By{{State: profileID, Fetch: social.Reels}}, Bound: true},
	}}
	a, err := f.First(social.TaskRef{}, Params{"handle": {"x"}}, "")
	for i, want := range []string{"x", "", "x"} {
		if err != nil || a.Step != i || a.Handle != want {
			t.Fatalf("step %d: got %+v, %v, want handle %q", i, a, err, want)
		}
		a, _ = f.Next(a, Outcome{ProfileID: "7", At: now})
	}
}

func TestCheck(t *testing.T) {
	good := func() Flow {
		return Flow{
			Name: "f", Workers: 1, Concurrency: 1,
			Params: []Param{{Name: "a", Type: Text}, {Name: "handle", Type: Text}, {Name: "list", Type: Texts}, {Name: "null", Type: Text, Null: true}},
			Steps:  []Step{{Name: "s", Ask: []By{{Param: "a", With: []string{"handle"}, Fetch: social.Reels}}, Bound: true}},
		}
	}
	for name, c := range map[string]struct {
		spoil func(*Flow)
		says  string
	}{
		"nothing":                       {func(*Flow) {}, ""},
		"bound without a handle":        {func(f *Flow) { f.Params = f.Params[:1] }, "bound to the parameter handle"},
		"a further key that is a list":  {func(f *Flow) { f.Steps[0].Ask[0].With[0] = "list" }, `"list" cannot follow`},
		"a further key that is missing": {func(f *Flow) { f.Steps[0].Ask[0].With[0] = "null" }, `"null" cannot follow`},
		"a further key nobody knows":    {func(f *Flow) { f.Steps[0].Ask[0].With[0] = "b" }, `"b" cannot follow`},
		"further keys of batches":       {func(f *Flow) { f.Steps[0].Batch = 2 }, `"handle" cannot follow`},
	} {
		f := good()
		c.spoil(&f)
		if err := Check([]Flow{f}, nil); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}
