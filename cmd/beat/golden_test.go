package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bridge/amqpcheck"
	"beat/streams/flow"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

// goldenWorld is the hour at which the sandbox's world stands still.
var goldenWorld = time.Date(2024, 3, 9, 15, 0, 0, 0, time.UTC)

// A goldenCase is a flow and what it is asked.
type goldenCase struct {
	flow   string
	params func(w *world) map[string]any
}

// goldenCases are all flows, in an order in which each finds what it needs.
var goldenCases = []goldenCase{
	{"refresh_profile_by_handle", func(*world) map[string]any { return map[string]any{"handle": creator} }},
	{"refresh_profile_by_profile_id", func(w *world) map[string]any { return map[string]any{"profile_id": w.profileID()} }},
	{"refresh_profile_basic", func(*world) map[string]any { return map[string]any{"profile_id": nil, "handle": "creator00008"} }},
	{"refresh_profile_by_token", func(*world) map[string]any { return map[string]any{"handle": creator} }},
	{"refresh_profile_custom", func(*world) map[string]any {
		return map[string]any{"profile_id": nil, "handle": "creator00009", "max_posts": 20}
	}},
	{"refresh_post_by_shortcode", func(w *world) map[string]any { return map[string]any{"shortcode": w.reel()} }},
	{"refresh_tagged_posts_by_profile_id", func(w *world) map[string]any {
		return map[string]any{"profile_id": w.profileID(), "max_posts": 12}
	}},
	{"refresh_profile_insights", func(*world) map[string]any { return map[string]any{"handle": creator} }},
	{"refresh_post_insights", func(w *world) map[string]any {
		return map[string]any{"shortcode": w.reel(), "handle": creator, "post_type": "reels",
			"post_id": w.text("SELECT post_id FROM instagram_post WHERE shortcode = $1", w.reel())}
	}},
	{"refresh_story_posts_by_profile_id", func(w *world) map[string]any {
		return map[string]any{"profile_id": w.profileID(), "handle": creator, "story_ids": []string{"31980"},
			"profile_follower": 900, "profile_er": 2.5, "profile_static_er": nil}
	}},
	{"refresh_story_insights", func(w *world) map[string]any {
		story := w.text("SELECT max(shortcode) FROM instagram_post WHERE post_type = 'story' AND profile_id = $1 AND shortcode <> '31980'", w.profileID())
		return map[string]any{"story_id": story, "shortcode": story, "profile_id": w.profileID(), "handle": creator}
	}},
	{"refresh_stories_posts", func(*world) map[string]any { return map[string]any{"handle": creator} }},
	{"fetch_profile_followers", func(w *world) map[string]any { return map[string]any{"profile_id": w.profileID()} }},
	{"fetch_profile_following", func(w *world) map[string]any { return map[string]any{"profile_id": w.profileID()} }},
	{"fetch_post_likes", func(w *world) map[string]any { return map[string]any{"shortcode": w.reel(), "max_likes": 120} }},
	{"fetch_post_comments", func(w *world) map[string]any {
		return map[string]any{"shortcode": w.reel(), "max_comments": 60}
	}},
	{"fetch_hashtag_posts", func(*world) map[string]any { return map[string]any{"hashtag": "coffee", "max_posts": 60} }},
	{"refresh_yt_profiles", func(*world) map[string]any {
		return map[string]any{"channel_ids": []string{"UC0000000000000000000001", "UC0000000000000000000002"}}
	}},
}

func (w *world) profileID() string {
	return w.text("SELECT profile_id FROM instagram_account WHERE handle = $1", creator)
}

func (w *world) reel() string {
	return w.text("SELECT min(shortcode) FROM instagram_post WHERE handle = $1 AND post_id IS NOT NULL AND post_type = 'reels'", creator)
}

// moving are the members of a body that differ from run to run.
var moving = regexp.MustCompile(`"(event_id|scl_id|event_timestamp|picked_at|expires_at|timestamp)":"[^"]*"`)

// Every flow that exists, as RabbitMQ hears of it: how many messages under each
// key, and the least of them byte for byte, but for ids and the time of the call.
func TestGoldenBodiesOfEveryFlow(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, c := range goldenCases {
		covered[c.flow] = true
	}
	for _, f := range flow.All {
		if !covered[f.Name] && !quiet[f.Name] {
			t.Errorf("flow %s has no golden bodies: add a row to goldenCases, then run this test with -update", f.Name)
		}
	}
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	// Without rocketapi, or followers would come now from one source, now from another.
	w := newWorld(t, localConfig{rmqURL: rmq, now: goldenWorld,
		sources: slices.DeleteFunc(slices.Clone(sandbox.All), func(s string) bool { return s == sandbox.RocketAPI })})
	w.bound(creator)
	a := w.runAll()
	for _, c := range goldenCases {
		w.outcome(w.put(c.flow, c.params(w)), social.Complete)
		w.until("the end of "+c.flow+" is told", func() bool { return told(t.Context(), a) })
		least, count := map[string]string{}, map[string]int{}
		for _, d := range drain(t, rmq, everything) {
			key := d.RoutingKey
			if key == bridge.KeyTrace {
				continue
			}
			if err := amqpcheck.Check(key, d.Body); err != nil {
				t.Errorf("%s: %v in %.300s", c.flow, err, d.Body)
			}
			count[key]++
			// Messages of different shards come in any order.
			if body := moving.ReplaceAllString(string(d.Body), `"$1":"…"`); count[key] == 1 || body < least[key] {
				least[key] = body
			}
		}
		var b strings.Builder
		for _, key := range slices.Sorted(maps.Keys(count)) {
			fmt.Fprintf(&b, "%s %d\n%s\n", key, count[key], least[key])
		}
		file := filepath.Join("testdata", "amqp", c.flow+".golden")
		if *updateGolden {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), b.String()); d != "" {
			t.Errorf("%s: %.3000s", c.flow, d)
		}
	}
}

// quiet are flows that tell nothing but their own transitions.
var quiet = map[string]bool{"fetch_yt_channel_id": true}
