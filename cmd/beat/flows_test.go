package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bridge/amqpcheck"
	"beat/streams/bus"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// Every flow of contract/flows.md 3.1, end to end against the sandbox: data,
// tables and messages as the contract has them. Then once more with every
// message handled twice and out of order: the same tables and the same messages.
func TestEveryInstagramFlow(t *testing.T) {
	t.Parallel()
	now := time.Now()
	once := everyFlow(t, now, nil)
	again := everyFlow(t, now, twice)
	for what, want := range once {
		if got := again[what]; got != want {
			t.Errorf("%s differ when every message is handled twice: %s", what, difference(want, got))
		}
	}
}

// twice handles each message two times, a moment late, so that they come out of
// order. What the second time stores beside asks is not recognised as the same
// by the streams.
func twice(h bus.Handler) bus.Handler {
	return func(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
		time.Sleep(rand.N(20 * time.Millisecond))
		first, err := h(ctx, m)
		if err != nil {
			return first, err
		}
		second, err := h(ctx, m)
		for _, o := range second {
			if !strings.HasPrefix(o.Subject, "beat.task.") {
				o.ID += "-again"
				first = append(first, o)
			}
		}
		return first, err
	}
}

// creator is who all flows are about.
const creator = "creator00007"

func everyFlow(t *testing.T, now time.Time, wrap func(bus.Handler) bus.Handler) map[string]string {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq, sources: sandbox.All, now: now})
	w.deps.wrap = wrap
	w.bound(creator)
	a, stop := w.runRoles(pipeline...)
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			stop()
		}
	})
	done := 0
	run := func(flow string, params map[string]any) {
		t.Helper()
		if got := w.outcome(w.put(flow, params), social.Complete); got != "None" {
			t.Errorf("%s: data %q, want None", flow, got)
		}
		done++
	}
	expect := func(flow string, checks ...any) {
		t.Helper()
		for i := 0; i < len(checks); i += 2 {
			sql := checks[i].(string) //nolint:errcheck // written below
			if got := w.int(sql); got != checks[i+1] {
				t.Errorf("%s: %s: got %d, want %d", flow, sql, got, checks[i+1])
			}
		}
	}

	run("refresh_profile_by_handle", map[string]any{"handle": creator})
	expect("refresh_profile_by_handle",
		"SELECT count(*) FROM instagram_account WHERE handle = '"+creator+"' AND followers > 0 AND refreshed_at IS NOT NULL", 1,
		"SELECT count(*) FROM instagram_post WHERE post_type = 'reels' AND plays > 0 AND publish_time IS NOT NULL AND keywords IS NOT NULL", 12)
	profile := w.text("SELECT profile_id FROM instagram_account WHERE handle = $1", creator)
	post := w.text("SELECT min(shortcode) FROM instagram_post WHERE handle = $1 AND post_id IS NOT NULL AND post_type = 'reels'", creator)

	run("refresh_profile_by_profile_id", map[string]any{"profile_id": profile})
	run("refresh_profile_basic", map[string]any{"profile_id": nil, "handle": "creator00008"})
	expect("refresh_profile_basic",
		"SELECT count(*) FROM instagram_account WHERE handle = 'creator00008' AND refreshed_at IS NULL", 1,
		"SELECT count(*) FROM instagram_post WHERE handle = 'creator00008'", 12)
	run("refresh_profile_custom", map[string]any{"profile_id": nil, "handle": "creator00009", "max_posts": 20})
	expect("refresh_profile_custom", "SELECT count(*) FROM instagram_post p JOIN instagram_account a USING (profile_id) WHERE a.handle = 'creator00009'", 24)
	run("refresh_post_by_shortcode", map[string]any{"shortcode": post})
	expect("refresh_post_by_shortcode", "SELECT count(*) FROM post_log WHERE platform_post_id = '"+post+"' AND source = 'rapidapi-arraybobo' AND profile_id = '"+profile+"'", 1)
	run("refresh_tagged_posts_by_profile_id", map[string]any{"profile_id": profile, "max_posts": 12})
	expect("refresh_tagged_posts_by_profile_id", tagged(profile), 1)
	run("refresh_profile_insights", map[string]any{"handle": creator})
	expect("refresh_profile_insights", `SELECT count(*) FROM instagram_profile_insights WHERE profile_id = '`+profile+`' AND handle = '`+creator+`'
		AND audience_country <> '{}' AND audience_city <> '{}' AND audience_gender_age ? 'female'
		AND reached_audience_country <> '{}' AND engaged_audience_gender_age <> '{}' AND reached_audience_city <> engaged_audience_city`, 1)
	run("refresh_post_insights", map[string]any{"shortcode": post, "handle": creator, "post_type": "reels",
		"post_id": w.text("SELECT post_id FROM instagram_post WHERE shortcode = $1", post)})
	expect("refresh_post_insights", "SELECT count(*) FROM instagram_post WHERE shortcode = '"+post+"' AND reach > 0 AND saved > 0 AND profile_id = '"+profile+"'", 1)

	// Scrapers first, so that the rows have no id of Graph.
	run("refresh_story_posts_by_profile_id", map[string]any{"profile_id": profile, "handle": creator,
		"story_ids": []string{"31980"}, "profile_follower": 900, "profile_er": 2.5, "profile_static_er": nil})
	story := w.text("SELECT max(shortcode) FROM instagram_post WHERE post_type = 'story' AND profile_id = $1 AND shortcode <> '31980'", profile)
	expect("refresh_story_posts_by_profile_id",
		"SELECT (count(*) > 1)::int FROM instagram_post WHERE post_type = 'story' AND profile_id = '"+profile+"' AND handle = '"+creator+"' AND profile_follower = 900 AND profile_er = 2.5", 1,
		"SELECT count(*) FROM instagram_post WHERE shortcode = '31980' AND post_id = '31980' AND profile_er = 2.5 AND profile_static_er IS NULL", 1,
		"SELECT count(*) FROM post_log WHERE platform_post_id = '31980' AND source = ''", 1,
		"SELECT count(*) FROM instagram_post WHERE shortcode = '"+story+"' AND post_id = shortcode AND content_type IN ('image', 'video')", 1)
	run("refresh_story_posts_by_profile_id", map[string]any{"profile_id": profile, "handle": "", "profile_follower": 1, "profile_er": 0.5})
	expect("the first values stay", "SELECT count(*) FROM instagram_post WHERE post_type = 'story' AND profile_follower = 1", 0)
	run("refresh_story_insights", map[string]any{"story_id": story, "shortcode": story, "profile_id": profile, "handle": creator})
	expect("refresh_story_insights", "SELECT count(*) FROM instagram_post WHERE shortcode = '"+story+
		"' AND post_id <> shortcode AND reach > 0 AND replies IS NOT NULL AND navigation > 0 AND taps_forward > 0 AND exits IS NOT NULL", 1)
	run("refresh_stories_posts", map[string]any{"handle": creator})
	expect("refresh_stories_posts", "SELECT count(*) FROM instagram_post WHERE post_type = 'story' AND profile_id = '"+profile+"' AND post_id = shortcode AND shortcode <> '31980'", 0)

	run("fetch_profile_followers", map[string]any{"profile_id": profile})
	expect("fetch_profile_followers",
		"SELECT (count(*) >= 2000 AND count(*) < 2100)::int FROM profile_relationship_log WHERE target_profile_id = '"+profile+"'", 1,
		`SELECT count(*) FROM profile_relationship_log WHERE target_profile_id = '`+profile+`' AND NOT (relationship_type = 'FOLLOWS' AND platform = 'INSTAGRAM'
			AND source_dimensions ?& '{handle,full_name,profile_pic_url,is_private,is_verified}' AND target_dimensions = '{}' AND source_metrics = '{}')`, 0,
		"SELECT (count(*) - count(DISTINCT source_profile_id))::int FROM profile_relationship_log WHERE target_profile_id = '"+profile+"'", 0,
		"SELECT count(DISTINCT source) FROM profile_relationship_log WHERE target_profile_id = '"+profile+"'", 1)
	run("fetch_profile_following", map[string]any{"profile_id": profile})
	expect("fetch_profile_following",
		`SELECT (count(*) = (SELECT least(following, 200) FROM instagram_account WHERE profile_id = '`+profile+`'))::int
			FROM profile_relationship_log WHERE source_profile_id = '`+profile+`' AND source_dimensions = '{}' AND target_dimensions ? 'handle'`, 1)
	run("fetch_post_likes", map[string]any{"shortcode": post, "max_likes": 120})
	expect("fetch_post_likes",
		"SELECT count(*) FROM post_activity_log WHERE platform_post_id = '"+post+"' AND activity_type = 'LIKE' AND platform = 'INSTAGRAM' AND source = 'rapidapi-jotucker' AND actor_profile_id <> ''", 150)
	run("fetch_post_comments", map[string]any{"shortcode": post, "max_comments": 60})
	expect("fetch_post_comments",
		"SELECT (count(*) > 0)::int FROM post_activity_log WHERE activity_type = 'COMMENT'", 1,
		`SELECT count(*) FROM post_activity_log WHERE activity_type = 'COMMENT' AND NOT (
			dimensions @> '[{"key":"comment_id"}]' AND dimensions @> '[{"key":"text"}]' AND dimensions @> '[{"key":"keywords"}]' AND metrics @> '[{"key":"likes"}]')`, 0)
	run("fetch_hashtag_posts", map[string]any{"hashtag": "coffee", "max_posts": 60})

	w.until("the end of every run is told", func() bool { return told(t.Context(), a) })
	stop()
	stopped = true
	if wrap != nil { // all of EVENTS once more
		w.exec("UPDATE stream_position SET applied = 0, told = 0 WHERE reader = 'project'")
		_, end := w.runRoles("projections")
		w.until("all events are applied again", w.applied)
		end()
	}

	state := w.tables()
	state["messages"] = w.messages(rmq, done)
	return state
}

func tagged(profile string) string {
	return `SELECT (count(DISTINCT platform_post_id) > 12)::int FROM post_log WHERE dimensions @> '[{"key":"tagged_user_ids","value":"` + profile + `"}]'`
}

// tables is what the flows have left behind, without what differs from run to
// run: ids and times of observation.
func (w *world) tables() map[string]string {
	out := map[string]string{}
	for name, sql := range map[string]string{
		"accounts":      "to_jsonb(x) - '{id,created_at,updated_at,refreshed_at,lineage}'::text[] FROM instagram_account x",
		"posts":         "to_jsonb(x) - '{id,created_at,updated_at,lineage}'::text[] FROM instagram_post x",
		"audiences":     "to_jsonb(x) - '{id,created_at,updated_at,lineage}'::text[] FROM instagram_profile_insights x",
		"activities":    "to_jsonb(x) - '{id,timestamp,event_id,raw_id,task_id}'::text[] FROM post_activity_log x",
		"relationships": "to_jsonb(x) - '{id,timestamp,event_id,raw_id,task_id}'::text[] FROM profile_relationship_log x",
		"profile logs":  "to_jsonb(x) - '{id,timestamp,event_id,raw_id,task_id}'::text[] FROM profile_log x",
		"post logs":     "to_jsonb(x) - '{id,timestamp,event_id,raw_id,task_id}'::text[] FROM post_log x",
		"tasks":         "to_jsonb(x) - '{id,created_at,picked_at,scraped_at,expires_at,fence,lease_owner,lease_until,params,run_at}'::text[] FROM scrape_request_log x",
	} {
		out[name] = w.text("SELECT string_agg(line, E'\n' ORDER BY line) FROM (SELECT (" + strings.Replace(sql, " FROM ", ")::text AS line FROM ", 1) + ") lines")
	}
	return out
}

// messages is what RabbitMQ was told, each once: a reader knows a repeated one by
// its id. All of them must be as the contract has them.
func (w *world) messages(rmq string, tasks int) string {
	t := w.t
	seen := map[string]bool{}
	count := map[string]int{}
	var lines []string
	for _, d := range drain(t, rmq, everything) {
		if d.RoutingKey == bridge.KeyTrace || seen[d.RoutingKey+d.MessageId] {
			continue
		}
		seen[d.RoutingKey+d.MessageId] = true
		count[d.RoutingKey]++
		if err := amqpcheck.Check(d.RoutingKey, d.Body); err != nil {
			t.Errorf("%s: %v in %.300s", d.RoutingKey, err, d.Body)
		}
		lines = append(lines, d.RoutingKey+" "+plain(t, d))
	}
	if count[bridge.KeyTask] != 3*tasks {
		t.Errorf("%d messages about %d tasks, want 3 of each", count[bridge.KeyTask], tasks)
	}
	// One about each profile answer that is stored, one about each page of
	// activities, and one about each row that is appended.
	for key, want := range map[string]int{
		bridge.KeyProfile: 5, bridge.KeyActivities: 5,
		bridge.KeyPost:         w.int("SELECT count(*) FROM post_log"),
		bridge.KeyRelationship: w.int("SELECT count(*) FROM profile_relationship_log"),
		bridge.KeyActivity:     w.int("SELECT count(*) FROM post_activity_log"),
	} {
		if count[key] != want {
			t.Errorf("%d messages %s, want %d", count[key], key, want)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// plain is a body without what differs from run to run.
func plain(t *testing.T, d amqp.Delivery) string {
	var m map[string]any
	if err := json.Unmarshal(d.Body, &m); err != nil {
		t.Errorf("%s: %v", d.RoutingKey, err)
	}
	for _, key := range []string{"event_id", "event_timestamp", "picked_at", "expires_at", "scl_id", "params"} {
		delete(m, key)
	}
	if logs, ok := m["post_activity_logs"].([]any); ok {
		for _, l := range logs {
			delete(l.(map[string]any), "timestamp") //nolint:errcheck // checked by amqpcheck
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// difference is the first lines that two states do not share.
func difference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(left), len(right)) {
		if left[i] != right[i] {
			return fmt.Sprintf("%d and %d lines, line %d:\n%.600s\n%.600s", len(left), len(right), i, left[i], right[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(left), len(right))
}
