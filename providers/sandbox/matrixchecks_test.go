package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/social"
)

func number(kvs social.KVs, key string) any {
	v, ok := kvs.Get(key)
	if !ok || string(v) == "null" {
		return nil
	}
	var n json.Number
	if json.Unmarshal(v, &n) != nil {
		return string(v)
	}
	i, err := n.Int64()
	if err != nil {
		return n.String()
	}
	return i
}

// same compares a value with what the world says; one that the source does not
// have says nothing.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != nil && got != "" && got != want {
		t.Errorf("%s is %v, the world says %v", what, got, want)
	}
}

func isProfile(t *testing.T, name string, l social.Log, a sandbox.Account) {
	t.Helper()
	if l.Kind != social.Profile || l.Key != a.ID || l.Handle != a.Handle {
		t.Errorf("%s: %s %q %q, want %+v", name, l.Kind, l.Key, l.Handle, a)
	}
	for key, want := range map[string]int64{"followers": a.Followers, "following": a.Following, "media_count": a.Media, "reels_media_count": a.Reels} {
		same(t, name+": "+key, number(l.Metrics, key), want)
	}
	for key, want := range map[string]string{"full_name": a.Name, "bio": a.Bio} {
		same(t, name+": "+key, l.Dimensions.Text(key), want)
	}
}

func isPosts(t *testing.T, name string, logs []social.Log, want []sandbox.Post) {
	t.Helper()
	if len(logs) != len(want) {
		t.Fatalf("%s: %d posts, want %d", name, len(logs), len(want))
	}
	for i, l := range logs {
		p := want[i]
		if l.Kind != social.Post || l.Key != p.Code || l.Owner != "" && l.Owner != p.Owner {
			t.Fatalf("%s: %d is %s %s of %q, want %+v", name, i, l.Kind, l.Key, l.Owner, p)
		}
		at := fmt.Sprintf("%s: %d: ", name, i)
		same(t, at+"handle", l.Dimensions.Text("handle"), p.Handle)
		same(t, at+"post_type", l.Dimensions.Text("post_type"), p.Type)
		same(t, at+"caption", l.Dimensions.Text("caption"), p.Caption)
		for key, n := range map[string]int64{"likes": p.Likes, "comments": p.Comments} {
			if number(l.Metrics, key) != n {
				t.Errorf("%s%s is %v, want %d", at, key, number(l.Metrics, key), n)
			}
		}
		if number(l.Dimensions, "taken_at_timestamp") != p.TakenAt {
			t.Errorf("%staken at %v, want %d", at, number(l.Dimensions, "taken_at_timestamp"), p.TakenAt)
		}
		if p.Type == "reels" {
			same(t, at+"view_count", number(l.Metrics, "view_count"), p.Views)
			same(t, at+"play_count", number(l.Metrics, "play_count"), p.Plays)
		}
	}
}

func isStories(t *testing.T, name string, logs []social.Log, want []sandbox.Post) {
	t.Helper()
	if len(logs) != len(want) || len(want) < 2 {
		t.Fatalf("%s: %d stories, want %d", name, len(logs), len(want))
	}
	for i, l := range logs {
		p := want[i]
		if l.Kind != social.Post || l.Key != p.Code || l.Dimensions.Text("post_type") != "story" || l.Dimensions.Text("content_type") != p.Type {
			t.Fatalf("%s: %d is %+v, want %+v", name, i, l, p)
		}
		same(t, name+": handle", l.Dimensions.Text("handle"), p.Handle)
		same(t, name+": taken_at_timestamp", number(l.Dimensions, "taken_at_timestamp"), p.TakenAt)
		for key, s := range map[string]string{"story_links": p.Link, "story_hashtags": p.Tag} {
			list, ok := l.Dimensions.Get(key)
			want := "[]"
			if s != "" {
				want = `["` + s + `"]`
			}
			if ok && string(list) != want {
				t.Errorf("%s: %s is %s, want %s", name, key, list, want)
			}
		}
	}
}

// isPeople is about followers, and about followed people when they are targets.
func isPeople(t *testing.T, name string, logs []social.Log, of string, want []sandbox.Account, targets bool) {
	t.Helper()
	if len(logs) != len(want) || len(logs) == 0 {
		t.Fatalf("%s: %d people, want %d", name, len(logs), len(want))
	}
	for i, l := range logs {
		who, whom, d := l.Key, l.Target, l.Dimensions
		if targets {
			who, whom, d = l.Target, l.Key, l.TargetDimensions
		}
		if l.Kind != social.Relationship || l.Type != social.Follows || who != want[i].ID || whom != of {
			t.Fatalf("%s: %d: %+v, want %+v", name, i, l, want[i])
		}
		isPerson(t, name, d, want[i])
	}
}

func isPerson(t *testing.T, name string, d social.KVs, a sandbox.Account) {
	t.Helper()
	private, _ := d.Get("is_private")
	verified, _ := d.Get("is_verified")
	if d.Text("handle") != a.Handle || d.Text("full_name") != a.Name || string(private) != fmt.Sprint(a.Private) || string(verified) != fmt.Sprint(a.Verified) || d.Text("profile_pic_url") == "" {
		t.Errorf("%s: %s, want %+v", name, d.AppendJSON(nil), a)
	}
}

func profile(t *testing.T, w world, name string, c cell) {
	logs := w.walk(t, c.source, c.ask(w), 1)
	if len(logs) == 0 {
		t.Fatalf("%s: no profile", name)
	}
	isProfile(t, name, logs[0], w.Account(who))
	if len(logs) > 1 { // with its newest posts
		isPosts(t, name, logs[1:], w.Posts(who)[:len(logs)-1])
	}
}

func timeline(t *testing.T, w world, name string, c cell) {
	isPosts(t, name, w.walk(t, c.source, c.ask(w), 100), w.Posts(who))
}

func clips(t *testing.T, w world, name string, c cell) {
	isPosts(t, name, w.walk(t, c.source, c.ask(w), 100), w.Reels(who))
}

func onePost(t *testing.T, w world, name string, c cell) {
	all := append(w.Posts(who), w.Reels(who)...)
	for _, p := range all {
		b, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: []string{p.Code}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		isPosts(t, name, b.Logs, []sandbox.Post{p})
	}
}

func followerList(t *testing.T, w world, name string, c cell) {
	logs := w.walk(t, c.source, c.ask(w), 40)
	if len(logs) < 40*50 {
		t.Errorf("%s: %d followers on 40 pages", name, len(logs))
	}
	isPeople(t, name, logs, w.Account(who).ID, w.Followers(who, uint64(len(logs))), false)
}

func followingList(t *testing.T, w world, name string, c cell) {
	isPeople(t, name, w.walk(t, c.source, c.ask(w), 100), w.Account(who).ID, w.Following(who, 1<<20), true)
}

func storyList(t *testing.T, w world, name string, c cell) {
	isStories(t, name, w.walk(t, c.source, c.ask(w), 1), w.Stories(who))
}

func hashtag(t *testing.T, w world, name string, c cell) {
	logs := w.walk(t, c.source, c.ask(w), 4)
	isPosts(t, name, logs, w.Hashtagged("coffee", uint64(len(logs))))
	for _, l := range logs {
		if !slices.Contains(strings.Split(l.Dimensions.Text("hashtags"), ","), "#coffee") {
			t.Errorf("%s: hashtags %q of %s", name, l.Dimensions.Text("hashtags"), l.Key)
		}
	}
}

func tagged(t *testing.T, w world, name string, c cell) {
	isPosts(t, name, w.walk(t, c.source, c.ask(w), 100), w.Tagged(who))
}

func graphStories(t *testing.T, w world, name string, c cell) {
	b, err := w.ask(t, c.source, c.ask(w))
	if err != nil {
		t.Fatal(err)
	}
	var live, made []social.Log
	for _, l := range b.Logs {
		switch {
		case l.Kind == social.Profile:
			isProfile(t, name, l, w.Account(who))
		case l.Dimensions.Text("post_type") == "story":
			live = append(live, l)
		default:
			made = append(made, l)
		}
	}
	isStories(t, name, live, w.Stories(who))
	isPosts(t, name, made, w.Posts(who)[:12])
	for i, l := range live {
		if l.Dimensions.Text("post_id") != w.Stories(who)[i].MediaID {
			t.Errorf("%s: post_id %s, want %+v", name, l.Dimensions.Text("post_id"), w.Stories(who)[i])
		}
	}
	if !b.More {
		t.Fatalf("%s: one page", name)
	}
	ask := c.ask(w)
	ask.Cursor = b.Cursor
	rest := slices.DeleteFunc(w.walk(t, c.source, ask, 100), func(l social.Log) bool { return l.Kind == social.Profile })
	isPosts(t, name+", later pages", rest, w.Posts(who)[12:])
}

func media(w world) []string {
	p := w.Posts(who)[2]
	return []string{p.Code, p.MediaID, p.Type}
}

func story(w world) []string { return []string{w.Stories(who)[0].MediaID} }

var insightKeys = map[string]string{"plays": "play_count", "total_interactions": "interactions"}

func isInsights(t *testing.T, name string, m social.KVs, want map[string]int64, least int) {
	t.Helper()
	n := 0
	for metric, v := range want {
		key := metric
		if k := insightKeys[metric]; k != "" {
			key = k
		}
		if got := number(m, key); got != nil {
			same(t, name+": "+key, got, v)
			n++
		}
	}
	if n < least || n != len(m) {
		t.Errorf("%s: %d of %d metrics are known: %s", name, n, len(m), m.AppendJSON(nil))
	}
}

func postInsights(t *testing.T, w world, name string, c cell) {
	for _, p := range append(w.Posts(who), w.Reels(who)[0]) {
		b, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: []string{p.Code, p.MediaID, p.Type}, Handle: who})
		if err != nil || len(b.Logs) != 1 || b.Logs[0].Key != p.Code {
			t.Fatalf("%s: %+v, %v", name, b.Logs, err)
		}
		isInsights(t, name, b.Logs[0].Metrics, w.Insights(p.MediaID, false), 5)
	}
	if _, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: media(w), Handle: "creator00013"}); !errors.Is(err, providers.ErrGone) {
		t.Errorf("%s: with the token of another: %v", name, err)
	}
}

func storyInsights(t *testing.T, w world, name string, c cell) {
	for _, p := range w.Stories(who) {
		b, err := w.ask(t, c.source, social.Ask{Fetch: c.fetch, Keys: []string{p.MediaID}, Handle: who})
		if err != nil || len(b.Logs) != 1 {
			t.Fatalf("%s: %+v, %v", name, b.Logs, err)
		}
		isInsights(t, name, b.Logs[0].Metrics, w.Insights(p.MediaID, true), 14)
	}
}

func audience(t *testing.T, w world, name string, c cell) {
	b, err := w.ask(t, c.source, c.ask(w))
	if err != nil || len(b.Logs) != 1 {
		t.Fatalf("%s: %+v, %v", name, b.Logs, err)
	}
	sum := func(key string) (n int64) {
		raw, _ := b.Logs[0].Dimensions.Get(key)
		var v any
		if json.Unmarshal(raw, &v) != nil {
			t.Fatalf("%s: %s is %s", name, key, raw)
		}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case float64:
				n += int64(v)
			case map[string]any:
				for _, e := range v {
					walk(e)
				}
			}
		}
		walk(v)
		return n
	}
	all := w.Account(who).Followers
	for _, key := range []string{"audience_country", "audience_city", "audience_gender_age"} {
		if n := sum(key); n > all || n < all-20 {
			t.Errorf("%s: %s adds up to %d of %d followers", name, key, n, all)
		}
		for _, part := range []string{"reached_", "engaged_"} {
			if n := sum(part + key); n == 0 || n >= all {
				t.Errorf("%s: %s%s adds up to %d", name, part, key, n)
			}
		}
	}
}

func likes(t *testing.T, w world, name string, c cell) {
	logs := w.walk(t, c.source, c.ask(w), 5)
	want := w.Likers(code(w)[0], uint64(len(logs)))
	if len(logs) != len(want) || len(logs) < 50 {
		t.Fatalf("%s: %d likes, want %d", name, len(logs), len(want))
	}
	for i, l := range logs {
		if l.Kind != social.Activity || l.Type != social.Like || l.Key != code(w)[0] || l.Actor != want[i].ID {
			t.Fatalf("%s: %+v, want %+v", name, l, want[i])
		}
		isPerson(t, name, l.Dimensions, want[i])
	}
}

func comments(t *testing.T, w world, name string, c cell) {
	logs := w.walk(t, c.source, c.ask(w), 100)
	want := w.Comments(code(w)[0], 1<<20)
	if len(logs) != len(want) || int64(len(logs)) != w.Posts(who)[3].Comments {
		t.Fatalf("%s: %d comments, want %d", name, len(logs), len(want))
	}
	for i, l := range logs {
		v := want[i]
		if l.Kind != social.Activity || l.Type != social.Comment || l.Key != code(w)[0] || l.Actor != v.By || l.Dimensions.Text("comment_id") != v.ID ||
			l.Dimensions.Text("handle") != v.Handle || l.Dimensions.Text("text") == "" || number(l.Dimensions, "taken_at_timestamp") != v.At || number(l.Metrics, "likes") != v.Likes {
			t.Errorf("%s: %+v, want %+v", name, l, v)
		}
	}
}
