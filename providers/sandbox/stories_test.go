package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestStories: two to five of the last day, the same at every source, at any time.
func TestStories(t *testing.T) {
	for hour := range 30 {
		when := at.Add(time.Duration(hour*5) * time.Hour)
		w := newWorld(Config{Now: func() time.Time { return when }, PostsPerPage: 12, PostsTotal: 36, ReelsPerPage: 12, ReelsTotal: 36})
		for n := range uint64(40) {
			_, items := w.live(w.byNumber(creators + n))
			if len(items) < 2 || len(items) > 5 {
				t.Fatalf("%d stories", len(items))
			}
			for i, p := range items {
				if p.at > when.Unix() || p.at < when.Unix()-25*3600 || i > 0 && items[i-1].at >= p.at {
					t.Fatalf("story %d of %v at %v", i, p, when)
				}
			}
		}
	}
	c := serve(t, Config{})
	for _, n := range []uint64{1, 2, 3, 40, 41} {
		a := c.world.byNumber(creators + n)
		id := strconv.FormatUint(a.id, 10)
		_, _, bobo := c.get(ArrayBobo, "/ig/stories/", "id_user", id)
		_, _, rocket := c.get(RocketAPI, "/instagram/user/get_stories", "ids", id)
		_, _, lama := c.get(Lama, "/v1/user/stories", "user_id", id)
		_, _, graph := c.get(GraphAPI, "/v12.0/17841400000009999", "fields", "business_discovery.username("+a.handle+")"+storyFields)
		l, items := c.world.live(a)
		for _, v := range []struct {
			name string
			list gjson.Result
		}{
			{"arraybobo", gjson.GetBytes(bobo, "reels."+id+".items")},
			{"rocketapi", gjson.GetBytes(rocket, "response.body.reels."+id+".items")},
			{"lama", gjson.GetBytes(lama, "@this")},
		} {
			got := v.list.Array()
			if len(got) != len(items) {
				t.Fatalf("%s: %d stories, want %d", v.name, len(got), len(items))
			}
			for i, p := range items {
				taken := got[i].Get("taken_at").Int()
				if v.name == "lama" {
					taken = got[i].Get("taken_at").Time().Unix()
				}
				if got[i].Get("pk").String() != fmt.Sprint(p.pk) || got[i].Get("media_type").String() != appForms[l.form(p)] || taken != p.at {
					t.Errorf("%s: story %d: %.300s, want %+v", v.name, i, got[i].Raw, p)
				}
				links, tags := "story_link_stickers.#.story_link.display_url", "story_hashtags.#.hashtag.name"
				if v.name == "lama" {
					links, tags = "stickers.#.story_link.display_url", "hashtags.#.hashtag.name"
				}
				var stuck []string
				for _, v := range append(got[i].Get(links).Array(), got[i].Get(tags).Array()...) {
					stuck = append(stuck, v.String())
				}
				var want []string
				if linked(p) {
					want = append(want, a.handle+".example")
				}
				if tag := sticker(p); tag != "" {
					want = append(want, tag)
				}
				if !slices.Equal(stuck, want) {
					t.Errorf("%s: to story %d sticks %q, want %q", v.name, i, stuck, want)
				}
			}
		}
		shown := gjson.GetBytes(graph, "business_discovery.stories.data").Array()
		if len(shown) != len(items) {
			t.Fatalf("graphapi: %d stories, want %d", len(shown), len(items))
		}
		if u := gjson.GetBytes(graph, "business_discovery"); u.Get("followers_count").Exists() || !u.Get("ig_id").Exists() || len(u.Get("media.data").Array()) != 12 {
			t.Errorf("graphapi: what was not asked for is there: %.300s", graph)
		}
		for i, p := range items {
			if !strings.HasSuffix(shown[i].Get("permalink").String(), "/"+a.handle+"/"+fmt.Sprint(p.pk)) || shown[i].Get("media_product_type").String() != "STORY" ||
				shown[i].Get("like_count").Exists() || shown[i].Get("owner.id").String() != fmt.Sprint(fbid(a)) {
				t.Errorf("graphapi: story %d: %s", i, shown[i].Raw)
			}
			// Its insights, for those that it is of.
			for token, want := range map[string]int{"sandbox-token": 200, c.Bound(a.handle).Fields["token"]: 200, c.Bound("somebody.else").Fields["token"]: 400} {
				status, _, body := c.get(GraphAPI, "/v15.0/"+shown[i].Get("id").String()+"/insights", "period", "lifetime", "access_token", token,
					"metric", "navigation", "breakdown", "story_navigation_action_type")
				sum := int64(0)
				for _, v := range gjson.GetBytes(body, "data.0.total_value.breakdowns.0.results.#.value").Array() {
					sum += v.Int()
				}
				if status != want || status == 200 && sum != gjson.GetBytes(body, "data.0.total_value.value").Int() {
					t.Errorf("insights of a story with the token %s: %d, want %d: %.300s", token, status, want, body)
				}
			}
		}
	}
	old := c.world.timeline(c.world.byNumber(creators+1), stories)
	past := old.item(old.newest - 9)
	status, _, body := c.get(GraphAPI, "/v15.0/"+fmt.Sprint(old.mediaID(past))+"/insights", "metric", "reach,replies")
	if status != 400 || gjson.GetBytes(body, "error.error_subcode").Int() != 33 {
		t.Errorf("insights of a story that is over: %d %s", status, body)
	}
	_, _, body = c.get(GraphAPI, "/v12.0/17841400000009999", "access_token", c.Bound("creator00002").Fields["token"], "fields", "business_discovery.username(creator00001)"+storyFields)
	if gjson.GetBytes(body, "business_discovery.stories").Exists() || !gjson.GetBytes(body, "business_discovery.media").Exists() {
		t.Errorf("the stories of another: %.300s", body)
	}
}

func TestAudience(t *testing.T) {
	c := serve(t, Config{})
	a, _ := c.world.byHandle("northlake.cafe")
	b := c.Bound("northlake.cafe").Fields
	ask := func(node, token, metric, breakdown string) (int, []byte) {
		status, _, body := c.get(GraphAPI, "/v17.0/"+node+"/insights", "access_token", token, "period", "lifetime", "metric_type", "total_value",
			"timeframe", "last_90_days", "metric", metric, "breakdown", breakdown)
		return status, body
	}
	for metric, share := range audiences {
		for _, by := range []string{"country", "city", "gender, age"} {
			status, body := ask(b["user_id"], b["token"], metric, by)
			sum := int64(0)
			results := gjson.GetBytes(body, "data.0.total_value.breakdowns.0.results").Array()
			for _, r := range results {
				sum += r.Get("value").Int()
				if len(r.Get("dimension_values").Array()) != len(strings.Split(by, ",")) {
					t.Errorf("%s by %s: %s", metric, by, r.Raw)
				}
			}
			total := int64(a.followers(c.world.hour()) * share / 100)
			if status != 200 || gjson.GetBytes(body, "data.0.name").String() != metric || sum > total || sum < total-int64(len(results)) {
				t.Errorf("%s by %s: %d, %d of %d: %.300s", metric, by, status, sum, total, body)
			}
		}
	}
	for name, v := range map[string]struct {
		node, token, metric, by string
		want                    int
	}{
		"node of another": {"17841404000000001", b["token"], "follower_demographics", "city", 400},
		"nobody's token":  {"17841404000000001", "sandbox-token", "follower_demographics", "city", 200},
		"no node":         {"me", "sandbox-token", "follower_demographics", "city", 400},
		"no breakdown":    {b["user_id"], b["token"], "follower_demographics", "shoe size", 400},
		"no metric":       {b["user_id"], b["token"], "other_demographics", "city", 400},
		"private":         {c.Bound("private.x").Fields["user_id"], c.Bound("private.x").Fields["token"], "follower_demographics", "city", 400},
	} {
		if status, body := ask(v.node, v.token, v.metric, v.by); status != v.want {
			t.Errorf("%s: %d, want %d: %s", name, status, v.want, body)
		}
	}
}
