package flow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beat/streams/social"
)

// begin is the first ask of a task with these parameters.
func begin(t *testing.T, name, params, known string) (Flow, social.Ask) {
	t.Helper()
	f, ok := ByName(name)
	if !ok {
		t.Fatalf("no flow %s", name)
	}
	p, err := f.Decode(json.RawMessage(params))
	if err != nil {
		t.Fatalf("%s(%s): %v", name, params, err)
	}
	a, err := f.First(social.TaskRef{ID: 1, Fence: 1, Flow: name, Platform: f.Platform}, p, known)
	if err != nil {
		t.Fatalf("%s(%s): %v", name, params, err)
	}
	return f, a
}

// The registry of contract/flows.md 3.1, row by row: workers × concurrency, and
// the parameters with ? where they are optional and ~ where they may be null.
func TestInstagramRegistry(t *testing.T) {
	for _, row := range []struct{ name, params, runs string }{
		{"refresh_profile_by_handle", "handle", "10x5"},
		{"refresh_profile_by_profile_id", "profile_id", "1x5"},
		{"refresh_profile_basic", "profile_id~ handle~", "5x5"},
		{"refresh_profile_custom", "profile_id~ handle~ max_posts~", "1x2"},
		{"refresh_post_by_shortcode", "shortcode", "1x5"},
		{"refresh_tagged_posts_by_profile_id", "profile_id max_posts~", "1x5"},
		{"refresh_profile_insights", "handle", "1x5"},
		{"refresh_post_insights", "shortcode handle post_id post_type", "1x5"},
		{"refresh_stories_posts", "handle", "1x5"},
		{"refresh_story_insights", "story_id shortcode profile_id handle", "1x5"},
		{"refresh_story_posts_by_profile_id",
			"profile_id handle~ story_ids?~ profile_follower?~ profile_er?~ profile_static_er?~ profile_reels_er?~", "1x5"},
		{"fetch_profile_followers", "profile_id", "3x5"},
		{"fetch_profile_following", "profile_id cursor?~", "1x15"},
		{"fetch_post_likes", "shortcode max_likes?~ cursor?~", "1x5"},
		{"fetch_post_comments", "shortcode max_comments~ cursor?~", "1x5"},
		{"fetch_hashtag_posts", "hashtag max_posts~ cursor?~", "1x5"},
	} {
		f, ok := ByName(row.name)
		if !ok {
			t.Errorf("no flow %s", row.name)
			continue
		}
		var params []string
		for _, p := range f.Params {
			s := p.Name
			if p.Optional {
				s += "?"
			}
			if p.Null {
				s += "~"
			}
			params = append(params, s)
		}
		if got := strings.Join(params, " "); got != row.params {
			t.Errorf("%s: parameters %q, want %q", row.name, got, row.params)
		}
		if got := fmt.Sprintf("%dx%d", f.Workers, f.Concurrency); got != row.runs || f.Platform != social.Instagram {
			t.Errorf("%s: runs %s on %s, want %s", row.name, got, f.Platform, row.runs)
		}
	}
}

func TestDecodeNumbers(t *testing.T) {
	for _, c := range []struct{ flow, params, says string }{
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":0}`, ""},
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":null}`, ""},
		{"fetch_post_comments", `{"shortcode":"C1"}`, "missing 1 required positional argument: 'max_comments'"},
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":-1}`, "'max_comments' must be a whole number of 0 or more, got a number"},
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":1.5}`, "'max_comments' must be a whole number"},
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":"9"}`, "got text"},
		{"refresh_story_posts_by_profile_id", `{"profile_id":"7","handle":"","profile_er":2.5}`, ""},
		{"refresh_story_posts_by_profile_id", `{"profile_id":"7","handle":"x","profile_er":"2.5"}`, "'profile_er' must be a number, got text"},
		{"refresh_story_posts_by_profile_id", `{"profile_id":"7","handle":"x","story_ids":["1",2]}`, "element 1 must be text"},
		{"refresh_story_posts_by_profile_id", `{"profile_id":"7","handle":"x","story_ids":null}`, ""},
	} {
		f, _ := ByName(c.flow)
		_, err := f.Decode(json.RawMessage(c.params))
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s(%s): got %v, want %q", c.flow, c.params, err, c.says)
		}
	}
}

// How many pages each chain takes, when each page has so many items and the
// provider always has another: the limits of contract/flows.md 5.1.
func TestPageLimits(t *testing.T) {
	for _, c := range []struct {
		flow, params string
		items, pages int
	}{
		{"fetch_profile_followers", `{"profile_id":"7"}`, 50, 40}, // while total < 2000
		{"fetch_profile_followers", `{"profile_id":"7"}`, 30, 67},
		{"fetch_profile_following", `{"profile_id":"7"}`, 50, 4}, // while total < 200
		{"fetch_post_likes", `{"shortcode":"C1"}`, 500, 4},       // max_likes or 2000
		{"fetch_post_likes", `{"shortcode":"C1","max_likes":0}`, 500, 4},
		{"fetch_post_likes", `{"shortcode":"C1","max_likes":120}`, 50, 3},
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":null}`, 20, 50}, // or 1000
		{"fetch_post_comments", `{"shortcode":"C1","max_comments":41}`, 20, 3},
		{"fetch_hashtag_posts", `{"hashtag":"tea","max_posts":60}`, 30, 2},                 // while total < max_posts
		{"refresh_tagged_posts_by_profile_id", `{"profile_id":"7","max_posts":60}`, 30, 3}, // until total > max_posts
	} {
		f, a := begin(t, c.flow, c.params, "")
		pages := 1
		for ; pages < 100; pages++ {
			next, final := f.Next(a, Outcome{Source: "x", At: now, Items: c.items, More: true, Cursor: fmt.Sprint("c", pages)})
			if final != nil {
				break
			}
			if next.Source != "x" || next.Cursor != fmt.Sprint("c", pages) || next.Page != pages {
				t.Fatalf("%s: page %d is asked of %q at %q", c.flow, pages, next.Source, next.Cursor)
			}
			a = next
		}
		if pages != c.pages {
			t.Errorf("%s(%s), %d a page: got %d pages, want %d", c.flow, c.params, c.items, pages, c.pages)
		}
	}
}

// A custom refresh drops the posts that come with the profile, fetches until
// there are more than max_posts, and never fails for its posts.
func TestCustomRefresh(t *testing.T) {
	f, a := begin(t, "refresh_profile_custom", `{"profile_id":null,"handle":"x","max_posts":30}`, "")
	b := social.Batch{Ask: a, Logs: []social.Log{
		{Kind: social.Profile, Key: "7"}, {Kind: social.Post, Key: "C1"}, {Kind: social.Post, Key: "C2"},
	}}
	if got := f.Made(b); len(got) != 1 || got[0].Kind != social.Profile {
		t.Errorf("the profile step makes %+v, want the profile alone", got)
	}
	if len(b.Logs) != 3 || b.Logs[1].Key != "C1" {
		t.Errorf("the batch was written to: %+v", b.Logs)
	}
	a, _ = f.Next(a, f.Summary(b))
	for _, want := range []int{1, 2, 3} {
		if a.Fetch != social.PostsByID || a.Key() != "7" {
			t.Fatalf("ask %d: %s of %q", want, a.Fetch, a.Key())
		}
		next, final := f.Next(a, Outcome{Source: "x", At: now, Items: 15, More: true, Cursor: fmt.Sprint(want)})
		if (final != nil) != (want == 3) {
			t.Fatalf("after %d pages of 15: final %v", want, final)
		}
		a = next
	}
	_, posts := begin(t, "refresh_profile_custom", `{"profile_id":"7","handle":null,"max_posts":1}`, "")
	posts.Step, posts.State.ProfileID = 1, "7"
	if _, final, _ := f.GiveUp(posts); final == nil || final.Status != social.Complete {
		t.Errorf("without posts the run ends %+v, want COMPLETE", final)
	}
}

// Tagged posts that were stored stay: a source that fails later ends the run as
// complete, and at the first page as failed.
func TestTaggedPostsKeepWhatTheyHave(t *testing.T) {
	f, a := begin(t, "refresh_tagged_posts_by_profile_id", `{"profile_id":"7","max_posts":500}`, "")
	if _, final, _ := f.GiveUp(a); final.Status != social.Failed {
		t.Errorf("at the first page: %+v, want FAILED", final)
	}
	a, _ = f.Next(a, Outcome{Source: "x", At: now, Items: 12, More: true, Cursor: "c"})
	if _, final, _ := f.GiveUp(a); final.Status != social.Complete {
		t.Errorf("at the second page: %+v, want COMPLETE", final)
	}
}

// The listing of an account: the profile is not stored, each post says whose it
// is, the first page counts for neither limit.
func TestStoriesListing(t *testing.T) {
	f, a := begin(t, "refresh_stories_posts", `{"handle":"x"}`, "")
	if a.Handle != "x" {
		t.Errorf("asked with the credential of %q, want x", a.Handle)
	}
	page := social.Batch{Ask: a, Raw: social.Raw{Source: "graphapi", At: now}, Cursor: "c1", More: true, Logs: []social.Log{
		{Kind: social.Profile, Key: "7"},
		{Kind: social.Post, Key: "C1", Dimensions: social.KVs{{Key: "taken_at_timestamp", Value: social.Int(now.Add(-400 * day).Unix())}}},
	}}
	logs := f.Made(page)
	if len(logs) != 1 || logs[0].Dimensions.Text("profile_id") != "7" {
		t.Errorf("page 1 makes %+v, want the post with profile_id 7", logs)
	}
	if len(page.Logs[1].Dimensions) != 1 {
		t.Errorf("the batch was written to: %+v", page.Logs[1].Dimensions)
	}
	a, final := f.Next(a, f.Summary(page))
	if final != nil || a.Cursor != "c1" || a.State.ProfileID != "7" || a.State.Items != 0 {
		t.Fatalf("after page 1: %+v, %+v", a, final)
	}
	later := social.Batch{Ask: a, Logs: []social.Log{{Kind: social.Post, Key: "C2"}}}
	if logs := f.Made(later); logs[0].Dimensions.Text("profile_id") != "7" {
		t.Errorf("page 2 makes %+v", logs)
	}
	o := Outcome{Source: "graphapi", At: now, Items: 25, More: true, Oldest: now.Add(-91 * day)}
	o.Cursor = "c2"
	if _, final := f.Next(a, o); final == nil {
		t.Error("a page with something older than 90 days does not end it")
	}
	o.Oldest, o.Items = now, 151
	if _, final := f.Next(a, o); final == nil {
		t.Error("more than 150 do not end it")
	}
	o.Items = 150
	if _, final := f.Next(a, o); final != nil {
		t.Error("150 end it")
	}
}

// Insights of a story that only scrapers have seen need its id of Graph first.
func TestStoryInsights(t *testing.T) {
	const params = `{"story_id":"18001","shortcode":"319","profile_id":"7","handle":"x"}`
	f, a := begin(t, "refresh_story_insights", params, "17900")
	if a.Fetch != social.StoryInsights || a.Key() != "18001" || a.Handle != "x" {
		t.Errorf("with an id of Graph: %s of %q by %q", a.Fetch, a.Key(), a.Handle)
	}
	logs := f.Made(social.Batch{Ask: a, Logs: []social.Log{{Kind: social.Post, Key: "18001"}}})
	if logs[0].Key != "319" || logs[0].Owner != "7" {
		t.Errorf("makes %+v, want post 319 of profile 7", logs[0])
	}
	if _, final := f.Next(a, Outcome{At: now}); final == nil || final.Status != social.Complete {
		t.Errorf("then: %+v", final)
	}

	f, a = begin(t, "refresh_story_insights", params, "319")
	if a.Fetch != social.Stories || a.Key() != "x" {
		t.Fatalf("without one: %s of %q", a.Fetch, a.Key())
	}
	listed := func(logs ...social.Log) social.Ask {
		next, final := f.Next(a, f.Summary(social.Batch{Ask: a, Logs: append(logs, social.Log{Kind: social.Profile, Key: "7"})}))
		if final != nil {
			t.Fatalf("after the listing: %+v", final)
		}
		return next
	}
	story := social.Log{Kind: social.Post, Key: "319", Dimensions: social.KVs{{Key: "post_id", Value: social.String("18077")}}}
	if next := listed(story); next.Fetch != social.StoryInsights || next.Key() != "18077" || next.Handle != "x" {
		t.Errorf("found: %s of %q by %q", next.Fetch, next.Key(), next.Handle)
	}
	if next := listed(); next.Key() != "319" {
		t.Errorf("not found: asks for %q, want what the row has", next.Key())
	}
}

// Stories of a provider: the metrics of the account go to each, and those that
// are not listed any more keep a row.
func TestStoriesOfAProvider(t *testing.T) {
	f, a := begin(t, "refresh_story_posts_by_profile_id",
		`{"profile_id":"7","handle":"x","story_ids":["1","2","2"],"profile_follower":900,"profile_er":2.5,"profile_static_er":null}`, "")
	got := f.Made(social.Batch{Ask: a, Logs: []social.Log{{Kind: social.Post, Key: "1", Source: "lama"}, {Kind: social.Post, Key: "3", Source: "lama"}}})
	keys := []string{got[0].Key, got[1].Key}
	if len(got) != 3 || !slices.Equal(keys, []string{"1", "3"}) || got[2].Key != "2" || got[2].Source != "" {
		t.Fatalf("got %+v, want 1 and 3 as listed and 2 without a source", got)
	}
	var dims []string
	for _, kv := range got[2].Dimensions {
		dims = append(dims, kv.Key+"="+string(kv.Value))
	}
	if want := []string{`post_id="2"`, `handle="x"`, `profile_id="7"`, `post_type="story"`}; !slices.Equal(dims, want) {
		t.Errorf("the missing story has %v, want %v", dims, want)
	}
	for _, l := range got {
		var metrics []string
		for _, kv := range l.Metrics {
			metrics = append(metrics, kv.Key+"="+string(kv.Value))
		}
		want := []string{"profile_follower=900", "profile_er=2.5", "profile_static_er=null", "profile_reels_er=null"}
		if !slices.Equal(metrics, want) {
			t.Errorf("story %s has %v, want %v", l.Key, metrics, want)
		}
	}
}

// The audience of an account goes by the profile id that is stored for its
// handle.
func TestProfileInsights(t *testing.T) {
	f, a := begin(t, "refresh_profile_insights", `{"handle":"x"}`, "4811")
	got := f.Made(social.Batch{Ask: a, Logs: []social.Log{{Kind: social.Insights, Key: "x"}}})
	if a.Key() != "x" || a.Handle != "x" || got[0].Key != "4811" || got[0].Handle != "x" {
		t.Errorf("asks for %q by %q and makes %+v", a.Key(), a.Handle, got[0])
	}
	_, final, _ := f.GiveUp(a)
	if final.Data != "No cred is available at the moment" {
		t.Errorf("without a credential: %q", final.Data)
	}
	for _, name := range []string{"refresh_stories_posts", "refresh_story_insights"} {
		f, _ := ByName(name)
		if _, final, _ := f.GiveUp(social.Ask{}); final.Data != "No source is available at the moment" {
			t.Errorf("%s without a credential: %q", name, final.Data)
		}
	}
}

// A cursor that a client gives begins the chain, and one that leads back to
// itself ends it.
func TestCursors(t *testing.T) {
	f, a := begin(t, "fetch_post_comments", `{"shortcode":"C1","max_comments":null,"cursor":"abc"}`, "")
	if a.Cursor != "abc" || a.Source != "" {
		t.Errorf("begins at %q of %q", a.Cursor, a.Source)
	}
	if _, final := f.Next(a, Outcome{At: now, Source: "x", Items: 3, More: true, Cursor: "abc"}); final == nil {
		t.Error("a cursor that leads to itself is followed")
	}
}

// Only a full refresh says that the profile is refreshed.
func TestRefreshed(t *testing.T) {
	for name, want := range map[string]string{"refresh_profile_by_handle": "7", "refresh_profile_basic": ""} {
		f, _ := ByName(name)
		a := social.Ask{Step: len(f.Steps) - 1, State: social.State{ProfileID: "7"}}
		if _, final := f.Next(a, Outcome{At: now}); final == nil || final.Refreshed != want {
			t.Errorf("%s: got %+v, want refreshed %q", name, final, want)
		}
	}
}
