package processing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"beat/processors/processing/keywords"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// kv is dimensions or metrics from key=JSON pairs.
func kv(pairs ...string) (out social.KVs) {
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		out = append(out, social.KV{Key: k, Value: json.RawMessage(v)})
	}
	return out
}

func batch(flow string, platform social.Platform, logs ...social.Log) social.Batch {
	return social.Batch{
		Ask:    social.Ask{Task: social.TaskRef{ID: 7, Fence: 2, Flow: flow, Platform: platform}, Seq: 3, Keys: []string{"asked"}},
		Raw:    social.Raw{ID: "raw1", Source: "graphapi", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Status: 200},
		Parser: 5, Logs: logs,
	}
}

func person(key string, metrics ...string) social.Log {
	return social.Log{Kind: social.Profile, Key: key, Handle: "someone", Source: "graphapi", Dimensions: kv(`handle="someone"`), Metrics: kv(metrics...)}
}

func post(key string, dimensions ...string) social.Log {
	return social.Log{Kind: social.Post, Key: key, Source: "graphapi", Dimensions: kv(dimensions...)}
}

const caption = "Coffee by the water with friends"

// The rows of contract/flows.md 6.4.
func TestDerive(t *testing.T) {
	words := "keywords=" + string(social.String(keywords.Of(caption)))
	text := "caption=" + string(social.String(caption))
	owned := func(l social.Log, owner string, dimensions ...string) social.Log {
		l.Owner, l.Dimensions = owner, kv(dimensions...)
		return l
	}
	later := batch("refresh_profile_by_handle", social.Instagram, post("a", text))
	later.Ask.State.ProfileID = "17"
	stories := batch("refresh_stories_posts", social.Instagram, person("17"), post("a", text))
	for _, c := range []struct {
		name string
		b    social.Batch
		want []social.Log
	}{
		{"the owner is in the post", batch("refresh_profile_basic", social.Instagram, person("17"), post("a", `profile_id="17"`, text)),
			[]social.Log{person("17"), owned(post("a"), "17", `profile_id="17"`, text, words)}},
		{"of somebody else: a collaboration", batch("refresh_profile_basic", social.Instagram, person("17"), post("a", `profile_id="18"`, text)),
			[]social.Log{person("17"), owned(post("a"), "18", `profile_id="18"`, text, `collab_profile_id="17"`, words)}},
		{"of nobody: the refreshed profile, for the event only", batch("refresh_profile_basic", social.Instagram, person("17"), post("a", text)),
			[]social.Log{person("17"), owned(post("a"), "17", text, words)}},
		{"a later answer of the run", later, []social.Log{owned(post("a"), "17", text, words)}},
		{"a post by itself", batch("refresh_post_by_shortcode", social.Instagram, post("a", `profile_id="18"`, text)),
			[]social.Log{owned(post("a"), "18", `profile_id="18"`, text, words)}},
		{"a post by itself, of nobody", batch("refresh_post_by_shortcode", social.Instagram, post("a", text)),
			[]social.Log{owned(post("a"), "", text, words)}},
		{"no caption", batch("refresh_post_by_shortcode", social.Instagram, post("a", `post_type="image"`)),
			[]social.Log{owned(post("a"), "", `post_type="image"`, `keywords=""`)}},
		{"no dimensions, as insights: no keywords", batch("refresh_post_insights", social.Instagram, post("a")), []social.Log{post("a")}},
		{"a listing of stories: the profile is not stored", stories,
			[]social.Log{owned(post("a"), "17", text, `profile_id="17"`, words)}},
		{"custom: the posts of the profile are not stored", batch("refresh_profile_custom", social.Instagram, person("17"), post("a", text)),
			[]social.Log{person("17")}},
		{"a comment", batch("fetch_post_comments", social.Instagram,
			social.Log{Kind: social.Activity, Type: social.Comment, Key: "a", Dimensions: kv("text=" + string(social.String(caption)))}),
			[]social.Log{{Kind: social.Activity, Type: social.Comment, Key: "a", Dimensions: kv("text="+string(social.String(caption)), words)}}},
		{"a relationship", batch("fetch_profile_followers", social.Instagram, social.Log{Kind: social.Relationship, Key: "1", Target: "2", Dimensions: kv(`handle="x"`)}),
			[]social.Log{{Kind: social.Relationship, Key: "1", Target: "2", Dimensions: kv(`handle="x"`)}}},
		{"a video", batch("refresh_yt_posts", social.YouTube, post("v", "title="+string(social.String(caption)))),
			[]social.Log{owned(post("v"), "", "title="+string(social.String(caption)), words)}},
		{"a channel has no handle", batch("refresh_yt_profiles", social.YouTube, social.Log{Kind: social.Profile, Key: "UC1"}),
			[]social.Log{{Kind: social.Profile, Key: "UC1"}}},
		{"-1 is hidden", batch("refresh_profile_basic", social.Instagram, person("17", "followers=-1", "following=3", `media_count="-1"`)),
			[]social.Log{person("17", "followers=null", "following=3", "media_count=null")}},
		{"absent, zero, text of a number, with a fraction", batch("refresh_profile_basic", social.Instagram, person("17", "followers=null", "following=0", `media_count="12"`, "er=0.5")),
			[]social.Log{person("17", "followers=null", "following=0", `media_count="12"`, "er=0.5")}},
		{"a list among the metrics of a comment", batch("fetch_post_comments", social.Instagram, social.Log{Kind: social.Activity, Key: "a", Metrics: kv(`comments_thread=[{"id":1}]`)}),
			[]social.Log{{Kind: social.Activity, Key: "a", Metrics: kv(`comments_thread=[{"id":1}]`)}}},
	} {
		before, err := c.b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // pure
			got, bad := Derive(c.b)
			if len(bad) > 0 {
				t.Errorf("%s: %v", c.name, bad)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
		if after, _ := c.b.Marshal(); !bytes.Equal(before, after) { //nolint:errcheck // as before
			t.Errorf("%s: the batch was changed:\n%s\n%s", c.name, before, after)
		}
	}
}

// W8.4: what is impossible is turned down, whole, and nothing else with it.
func TestRejects(t *testing.T) {
	nameless := person("17", "followers=3")
	nameless.Handle = ""
	likes := post("a", `post_type="image"`)
	likes.Metrics = kv("likes=-2")
	for _, c := range []struct {
		name string
		l    social.Log
		says string
	}{
		{"negative followers", person("17", "followers=-2"), "metric followers is -2, want a count"},
		{"negative following", person("17", "followers=1", "following=-100"), "metric following is -100"},
		{"negative media", person("17", "media_count=-1.5"), "metric media_count is -1.5"},
		{"negative text", person("17", `followers="-7"`), `metric followers is "-7"`},
		{"negative likes", likes, "post a: metric likes is -2"},
		{"text", person("17", `followers="1.2M"`), `metric followers is "1.2M", want a count`},
		{"empty text", person("17", `followers=""`), `metric followers is "", want a count`},
		{"a boolean", person("17", "followers=true"), "metric followers is true"},
		{"a list", person("17", "followers=["+strings.Repeat("1,", 99)+"1]"), "…, want a count"},
		{"an object", person("17", `followers={"count":1}`), "metric followers is {"},
		{"no profile id", person("", "followers=1"), "profile without an identity"},
		{"no handle", nameless, "profile 17 without a handle"},
		{"no shortcode", post("", text("x")), "post without an identity"},
	} {
		other := post("other", text("x"))
		kept, bad := Derive(batch("refresh_profile_basic", social.Instagram, c.l, other))
		if len(kept) != 1 || kept[0].Key != "other" {
			t.Errorf("%s: %d logs were kept, want the other one", c.name, len(kept))
		}
		if len(bad) != 1 || bad[0].Kind != c.l.Kind || !strings.Contains(bad[0].Error(), c.says) {
			t.Errorf("%s: got %v, want %s", c.name, bad, c.says)
		}
	}
}

func text(s string) string { return "caption=" + string(social.String(s)) }

func TestCommits(t *testing.T) {
	posts := []social.Log{person("17")}
	for i := range 40 {
		posts = append(posts, social.Log{Kind: social.Post, Key: fmt.Sprint("p", i), Owner: fmt.Sprint(17 + i%3)})
	}
	people := []social.Log{}
	for i := range 40 {
		people = append(people, social.Log{Kind: social.Relationship, Type: social.Follows, Key: fmt.Sprint(i), Target: "asked"})
	}
	for _, c := range []struct {
		name  string
		logs  []social.Log
		lanes []string // of the parts, in order
	}{
		{"nothing to say", nil, []string{"task:7"}},
		{"a profile and its posts", []social.Log{person("17"), {Kind: social.Post, Key: "p", Owner: "17"}}, []string{"17"}},
		{"posts of several profiles", posts, []string{"17", "18", "19"}},
		{"posts of nobody", []social.Log{{Kind: social.Post, Key: "p"}}, []string{"p"}},
		{"a page of people", people, []string{"asked"}},
		{"likes of one post", []social.Log{{Kind: social.Activity, Key: "p", Actor: "1"}, {Kind: social.Activity, Key: "p", Actor: "2"}}, []string{"p"}},
	} {
		b := batch("refresh_profile_by_handle", social.Instagram)
		b.Final = &social.Final{Status: social.Complete}
		parts := Commits(b, c.logs)
		var shards []int
		for _, lane := range c.lanes {
			shards = append(shards, event.Shard(lane))
		}
		var got []int
		var events []social.Log
		ids, msgs := map[string]bool{}, map[string]bool{}
		for i, p := range parts {
			at, _, err := event.ParseSubject(p.Subject())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, at)
			if p.Part != i || p.Parts != len(parts) || p.Final == nil || p.Seq != 3 || p.Parser != 5 || p.Task != b.Ask.Task || p.Raw != b.Raw {
				t.Errorf("%s: part %d: %+v", c.name, i, p)
			}
			msgs[p.MsgID()] = true
			for _, e := range p.Events {
				if s := event.Shard(lane(b, e.Log)); s != got[i] {
					t.Errorf("%s: %s %s of shard %d is in that of %d", c.name, e.Log.Kind, e.Log.Key, s, got[i])
				}
				if e.ID != event.LogID("raw1", e.Log) {
					t.Errorf("%s: %s %s has id %s", c.name, e.Log.Kind, e.Log.Key, e.ID)
				}
				ids[e.ID] = true
				events = append(events, e.Log)
			}
		}
		if !cmp.Equal(got, shards) {
			t.Errorf("%s: shards %v, want %v", c.name, got, shards)
		}
		if len(events) != len(c.logs) || len(ids) != len(c.logs) || len(msgs) != len(parts) {
			t.Errorf("%s: %d events with %d ids in %d messages, want %d, each once", c.name, len(events), len(ids), len(msgs), len(c.logs))
		}
		if diff := cmp.Diff(parts, Commits(b, c.logs)); diff != "" {
			t.Errorf("%s: again: %s", c.name, diff)
		}
	}
}

// A guard keeps profiles back, or cannot tell.
type guard struct {
	asked int
	err   error
}

func (g *guard) Check(_ context.Context, b social.Batch, logs []social.Log) (kept []social.Log, err error) {
	g.asked++
	for _, l := range logs {
		if l.Kind != social.Profile {
			kept = append(kept, l)
		}
	}
	return kept, g.err
}

func TestHandle(t *testing.T) {
	b := batch("refresh_profile_basic", social.Instagram, person("17", "followers=5"), post("a", text("x")), person("18", "followers=-3"))
	b.Final = &social.Final{Status: social.Complete}
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m := &bus.Msg{Stream: bus.Parsed, Seq: 1, Subject: "beat.parsed.instagram.x", Data: data, Delivered: 1}
	for _, c := range []struct {
		name string
		g    Guard
		want string // kinds of the events
	}{
		{"no guard", nil, "profile post"}, {"a guard", &guard{}, "post"},
	} {
		p := New(slog.New(slog.DiscardHandler), c.g)
		outs, err := p.Handle(t.Context(), m)
		if err != nil || len(outs) != 2 {
			t.Fatalf("%s: %d messages, %v; want a letter and a commit", c.name, len(outs), err)
		}
		if !strings.HasPrefix(outs[0].Subject, "beat.dead.") {
			t.Errorf("%s: the first message goes to %s", c.name, outs[0].Subject)
		}
		commit, err := event.UnmarshalCommit(outs[1].Data)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, e := range commit.Events {
			kinds = append(kinds, string(e.Log.Kind))
		}
		if got := strings.Join(kinds, " "); got != c.want || commit.Final == nil || outs[1].ID != commit.MsgID() {
			t.Errorf("%s: events %s, final %v, id %s", c.name, got, commit.Final, outs[1].ID)
		}
		var n dto.Metric
		if err := p.rejected.WithLabelValues("profile").Write(&n); err != nil || n.GetCounter().GetValue() != 1 {
			t.Errorf("%s: %v rejected, %v; want 1", c.name, n.GetCounter().GetValue(), err)
		}
	}
	// A guard that cannot answer is waited for; nothing passes meanwhile.
	planted := errors.New("planted")
	outs, err := New(slog.New(slog.DiscardHandler), &guard{err: planted}).Handle(t.Context(), m)
	if outs != nil || !errors.Is(err, planted) || err.Error() != bus.Later(patience, planted).Error() {
		t.Errorf("%d messages, %v", len(outs), err)
	}
	m.Data = []byte("{")
	if _, err := New(slog.New(slog.DiscardHandler), nil).Handle(t.Context(), m); err == nil {
		t.Error("half a batch was taken")
	}
}
