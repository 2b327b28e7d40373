package gateway

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// Derived values, contract/http.md 3.16.5 and 3.16.6. Nothing here is stored;
// all of it is a pure function of the rows.

// A post is a recent post as it is answered, contract 3.16.3.
type post struct {
	Shortcode  *string    `json:"shortcode"`
	PostID     *string    `json:"post_id"`
	PostType   *string    `json:"post_type"`
	PostURL    string     `json:"post_url"`
	Published  *string    `json:"publish_time"`
	UpdatedAt  *string    `json:"updated_at"`
	Metrics    counts     `json:"metrics"`
	Dimensions dimensions `json:"dimensions"`

	published *time.Time
	reach     *int64 // as stored
}

type counts struct {
	Reach          int64   `json:"reach"`
	Views          *int64  `json:"views"`
	Likes          *int64  `json:"likes"`
	Comments       *int64  `json:"comments"`
	Plays          *int64  `json:"play_count"`
	EngagementRate float64 `json:"engagement_rate"` // percent, 2 decimals
}

type dimensions struct {
	Caption      *string `json:"caption"`
	Comments     *int64  `json:"comments"`
	ThumbnailURL *string `json:"thumbnail_url"`
	DisplayURL   *string `json:"display_url"`
}

// The types of posts that are told apart.
const (
	reels    = "reels"
	image    = "image"
	carousel = "carousel"
)

// averages is one group of post_metrics. An absent key is a nil pointer; a
// group that is not filled is {}.
type averages struct {
	Engagement *float64 `json:"avg_engagement,omitempty"` // percent
	Plays      *float64 `json:"avg_plays,omitempty"`
	Likes      *float64 `json:"avg_likes,omitempty"`
	Comments   *float64 `json:"avg_comments,omitempty"`
	Reach      *float64 `json:"avg_reach,omitempty"`
}

// postMetrics is {} without posts, so each group is a pointer.
type postMetrics struct {
	Static *averages `json:"static,omitempty"`
	Reels  *averages `json:"reels,omitempty"`
	Story  *averages `json:"story,omitempty"`
	All    *averages `json:"all,omitempty"`
}

// summarize is the averages over recent posts. It sets unknown likes, plays
// and comments of posts to 0, which the answer shows.
func summarize(followers *int64, posts []post) postMetrics {
	if len(posts) == 0 {
		return postMetrics{}
	}
	f := value(followers)
	for i := range posts {
		m := &posts[i].Metrics
		for _, p := range []**int64{&m.Likes, &m.Plays, &m.Comments} {
			if *p == nil {
				*p = new(int64)
			}
		}
	}
	all := slices.Clone(posts)
	slices.SortStableFunc(all, func(a, b post) int { return newestFirst(a.published, b.published) })
	all = all[:min(len(all), 12)]
	var static, reel []post
	for _, p := range posts {
		switch value(p.PostType) {
		case image, carousel:
			static = append(static, p)
		case reels:
			reel = append(reel, p)
		}
	}
	likes := func(p post) int64 { return value(p.Metrics.Likes) }
	plays := func(p post) int64 { return value(p.Metrics.Plays) }
	out := postMetrics{
		Static: average(f, trim(static, likes), false, true),
		Reels:  average(f, trim(reel, plays), true, true),
		All:    average(f, trim(all, likes), false, false),
	}
	e := 0.0
	if out.Reels.Engagement != nil {
		e = *out.Reels.Engagement
	} else if out.All.Engagement != nil {
		e = *out.All.Engagement
	}
	x := storyReach(f, e)
	out.Story = &averages{Reach: &x}
	return out
}

// newestFirst orders unknown times last.
func newestFirst(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return b.Compare(*a)
}

// trim drops the 2 highest and the 2 lowest of more than 4.
func trim(posts []post, by func(post) int64) []post {
	slices.SortStableFunc(posts, func(a, b post) int { return cmp.Compare(by(b), by(a)) })
	if len(posts) > 4 {
		return posts[2 : len(posts)-2]
	}
	return posts
}

func average(followers int64, posts []post, plays, reach bool) *averages {
	n := float64(len(posts))
	if n == 0 || followers <= 0 {
		return &averages{}
	}
	var l, c, p, r float64
	for _, post := range posts {
		l += float64(value(post.Metrics.Likes))
		c += float64(value(post.Metrics.Comments))
		p += float64(value(post.Metrics.Plays))
		r += float64(post.Metrics.Reach)
	}
	a := averages{Engagement: new(100 * (l + c) / (float64(followers) * n)), Likes: new(l / n), Comments: new(c / n)}
	if plays {
		a.Plays = new(p / n)
	}
	if reach {
		a.Reach = new(r / n)
	}
	return &a
}

// storyReach estimates how many see a story, from the engagement in percent.
func storyReach(followers int64, engagement float64) float64 {
	if followers <= 0 || engagement <= 0 {
		return 0
	}
	f := float64(followers)
	return math.RoundToEven(-0.000025017*f + 1.11*(f*math.Abs(math.Log2(engagement+2))*2/100))
}

// engagementRate of one post, in percent with 2 decimals.
func engagementRate(likes, comments, followers *int64) float64 {
	f := value(followers)
	if f == 0 {
		return 0
	}
	rate := (float64(value(likes)) + float64(value(comments))) / float64(f) * 100
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(rate, 'f', 2, 64), 64)
	if err != nil { // not reachable: the text is our own
		return rate
	}
	return rounded
}

// reach of one post: as stored, else estimated. A stored reach does not count
// where plays or likes are unknown (the existing rule).
func reach(postType *string, stored, plays, likes, followers *int64) int64 {
	kind, l, p, f := value(postType), value(likes), value(plays), value(followers)
	switch {
	case kind == reels && (p == 0 || f == 0), (kind == image || kind == carousel) && l == 0:
		return 0
	case value(stored) != 0:
		return *stored
	case kind == reels:
		if f < 0 {
			return 0
		}
		return int64(float64(p) * (0.94 - math.Log2(float64(f))*0.001))
	case l <= 0: // the logarithm has no value; the existing system fails here
		return 0
	}
	return int64((7.6 - math.Log10(float64(l))*0.7) * 0.85 * float64(l))
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
