package gateway

import (
	"encoding/json"
	"testing"
	"time"
)

// Vectors of contract/flows.md 9.1.
func TestEngagementRate(t *testing.T) {
	for _, c := range []struct {
		likes, comments, followers *int64
		want                       float64
	}{
		{new(int64(100)), new(int64(5)), new(int64(10000)), 1.05},
		{nil, new(int64(3)), new(int64(7)), 42.86},
		{new(int64(125)), new(int64(0)), new(int64(100000)), 0.12},
		{new(int64(1)), new(int64(0)), new(int64(3)), 33.33},
		{new(int64(1840)), new(int64(37)), new(int64(28754)), 6.53},
		{new(int64(1)), new(int64(1)), nil, 0},
		{new(int64(1)), new(int64(1)), new(int64(0)), 0},
	} {
		if got := engagementRate(c.likes, c.comments, c.followers); got != c.want {
			t.Errorf("%d likes, %d comments, %d followers: got %v, want %v", value(c.likes), value(c.comments), value(c.followers), got, c.want)
		}
	}
}

// Vectors of contract/flows.md 9.2.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		kind                            string
		stored, plays, likes, followers int64 // 0 is null
		want                            int64
	}{
		{reels, 0, 10000, 0, 100000, 9233},
		{image, 0, 0, 500, 0, 2427},
		{carousel, 0, 0, 1000, 0, 4675},
		{"", 0, 0, 100, 0, 527},
		{reels, 777, 0, 0, 1000, 0},
		{reels, 777, 10, 0, 0, 0},
		{image, 123, 0, 500, 0, 123},
		{image, 123, 0, 0, 0, 0},
		{"", 0, 0, 0, 0, 0},
		{"", 0, 0, -1, 0, 0},
		{reels, 0, 5, 0, -1, 0},
	} {
		null := func(n int64) *int64 {
			if n == 0 {
				return nil
			}
			return &n
		}
		if got := reach(&c.kind, null(c.stored), null(c.plays), null(c.likes), null(c.followers)); got != c.want {
			t.Errorf("%+v: got %d", c, got)
		}
	}
}

// Vectors of contract/flows.md 9.4.
func TestStoryReach(t *testing.T) {
	for _, c := range []struct {
		followers int64
		e, want   float64
	}{{100000, 2.5, 4815}, {1000, 0.1, 24}, {5000000, 1.0, 175806}, {0, 1, 0}, {10, 0, 0}, {28754, 6.527787438269458, 1973}} {
		if got := storyReach(c.followers, c.e); got != c.want {
			t.Errorf("%d followers, %v%%: got %v, want %v", c.followers, c.e, got, c.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	made := func(kind string, likes, plays int64, at *time.Time) post {
		return post{PostType: &kind, published: at, Metrics: counts{Likes: &likes, Plays: &plays, Reach: 10 * likes}}
	}
	for _, c := range []struct {
		name      string
		followers *int64
		posts     []post
		want      string
	}{
		{"no posts", new(int64(5)), nil, `{}`},
		{"null followers", nil, []post{made(image, 5, 0, nil)}, `{"static":{},"reels":{},"story":{"avg_reach":0},"all":{}}`},
		{"the contract's reel", new(int64(28754)), []post{{PostType: new(reels), Metrics: counts{
			Likes: new(int64(1840)), Comments: new(int64(37)), Plays: new(int64(25113)), Reach: 23234}}},
			`{"static":{},"reels":{"avg_engagement":6.527787438269458,"avg_plays":25113,"avg_likes":1840,"avg_comments":37,"avg_reach":23234},` +
				`"story":{"avg_reach":1973},"all":{"avg_engagement":6.527787438269458,"avg_likes":1840,"avg_comments":37}}`},
		{"4 keep all", new(int64(100)), []post{made(image, 1, 0, &day), made(image, 2, 0, &day), made(carousel, 3, 0, nil), made(image, 1000, 0, &day)},
			`{"static":{"avg_engagement":251.5,"avg_likes":251.5,"avg_comments":0,"avg_reach":2515},"reels":{},"story":{"avg_reach":18},` +
				`"all":{"avg_engagement":251.5,"avg_likes":251.5,"avg_comments":0}}`},
		{"5 keep the middle", new(int64(100)), []post{made(image, 1, 0, &day), made(image, 2, 0, &day), made(carousel, 3, 0, nil), made(image, 4, 0, &day), made(image, 5, 0, &day)},
			`{"static":{"avg_engagement":3,"avg_likes":3,"avg_comments":0,"avg_reach":30},"reels":{},"story":{"avg_reach":5},` +
				`"all":{"avg_engagement":3,"avg_likes":3,"avg_comments":0}}`},
	} {
		got, err := json.Marshal(summarize(c.followers, c.posts))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}

	// all is the 12 newest, unknown times last; then 2 + 2 go.
	var posts []post
	for i := range 13 {
		at := day.AddDate(0, 0, -i)
		posts = append(posts, made(image, int64(i), 0, &at))
	}
	posts = append(posts, made("story", 1_000_000, 0, nil))
	if got := *summarize(new(int64(100)), posts).All.Likes; got != 5.5 { // 2…9 of 0…11
		t.Errorf("likes of all: got %v, want 5.5", got)
	}
	posts = []post{{PostType: new(image)}}
	summarize(nil, posts)
	if m := posts[0].Metrics; m.Likes == nil || m.Plays == nil || m.Comments == nil || m.Views != nil {
		t.Errorf("got %+v, want zeros for likes, plays and comments only", m)
	}
}
