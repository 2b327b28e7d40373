package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A Profile is an Instagram profile. nil is unknown.
type Profile struct {
	Platform   string      `json:"platform"`
	Handle     *string     `json:"handle"`
	FBID       *string     `json:"fbid"`
	PictureURL *string     `json:"profile_pic_url"`
	ProfileID  *string     `json:"profile_id"`
	Biography  *string     `json:"biography"`
	Following  *int64      `json:"following"`
	Followers  *int64      `json:"followers"`
	FullName   *string     `json:"full_name"`
	Private    *bool       `json:"is_private"`
	UpdatedAt  *Time       `json:"updated_at"`
	Metrics    PostMetrics `json:"post_metrics"`
	Recent     []Post      `json:"recent_posts"` // nil unless it was read in full
	Type       string      `json:"profile_type"`
	MediaCount *int64      `json:"media_count"`
}

// PostMetrics are averages over recent posts. Groups without posts are nil or empty.
type PostMetrics struct {
	Static *Averages `json:"static"`
	Reels  *Averages `json:"reels"`
	Story  *Averages `json:"story"`
	All    *Averages `json:"all"`
}

// Averages of one group of posts.
type Averages struct {
	Engagement *float64 `json:"avg_engagement"` // percent
	Plays      *float64 `json:"avg_plays"`
	Likes      *float64 `json:"avg_likes"`
	Comments   *float64 `json:"avg_comments"`
	Reach      *float64 `json:"avg_reach"`
}

// A Post is a recent post.
type Post struct {
	Shortcode *string `json:"shortcode"`
	PostID    *string `json:"post_id"`
	Type      *string `json:"post_type"`
	URL       string  `json:"post_url"`
	Published *Time   `json:"publish_time"`
	UpdatedAt *Time   `json:"updated_at"`
	Metrics   struct {
		Reach          int64   `json:"reach"`
		Views          *int64  `json:"views"`
		Likes          *int64  `json:"likes"`
		Comments       *int64  `json:"comments"`
		Plays          *int64  `json:"play_count"`
		EngagementRate float64 `json:"engagement_rate"` // percent
	} `json:"metrics"`
	Dimensions struct {
		Caption      *string `json:"caption"`
		Comments     *int64  `json:"comments"`
		ThumbnailURL *string `json:"thumbnail_url"`
		DisplayURL   *string `json:"display_url"`
	} `json:"dimensions"`
}

// A Channel is a YouTube profile. nil is unknown.
type Channel struct {
	Platform    string  `json:"platform"`
	ChannelID   *string `json:"channel_id"`
	Title       *string `json:"title"`
	Subscribers *int64  `json:"subscribers"`
	Uploads     *int64  `json:"uploads"`
	Views       *int64  `json:"views"`
	Thumbnail   *string `json:"thumbnail"`
}

// A Time is a time of the API: UTC, written without a zone.
type Time struct{ time.Time }

const timeForm = `"2006-01-02T15:04:05"`

// UnmarshalJSON reads 2006-01-02T15:04:05, with a fraction or without.
func (t *Time) UnmarshalJSON(b []byte) (err error) {
	t.Time, err = time.Parse(timeForm, string(b))
	return err
}

// A Reading says how a profile is to be read.
type Reading struct {
	Full    bool // with posts and averages, refreshed if need be (Instagram)
	Force   bool // refresh what is fresh, too (Instagram)
	OffPeak bool // the refresh may wait for the night: see PutOff
}

func (r Reading) query() url.Values {
	q := url.Values{}
	for name, on := range map[string]bool{"full_refresh": r.Full, "force_refresh": r.Force} {
		if on {
			q.Set(name, "true")
		}
	}
	if r.OffPeak {
		q.Set("urgent", "false")
	}
	return q
}

// A PutOff is the error of a reading whose refresh waits for the off-peak hours.
type PutOff struct{ Task int64 }

func (e *PutOff) Error() string {
	return fmt.Sprintf("beat: put off to the off-peak hours, as task %d", e.Task)
}

type retrieved[P any] struct {
	Profile  *P    `json:"profile"`
	ScrapeID int64 `json:"scrape_id"`
}

func readProfile[P any](ctx context.Context, c *Client, r Reading, segments ...string) (*P, error) {
	var a retrieved[P]
	if err := c.do(ctx, http.MethodGet, path(segments...), r.query(), nil, &a); err != nil {
		return nil, err
	}
	if a.Profile == nil {
		return nil, &PutOff{a.ScrapeID}
	}
	return a.Profile, nil
}

// Profile is an Instagram profile by its handle. It is refreshed first when it is
// older than a day, for which the call waits up to a minute.
func (c *Client) Profile(ctx context.Context, handle string, r Reading) (*Profile, error) {
	return readProfile[Profile](ctx, c, r, "profiles", "instagram", "byhandle", handle)
}

// ProfileByID is an Instagram profile by its id, likewise.
func (c *Client) ProfileByID(ctx context.Context, id string, r Reading) (*Profile, error) {
	return readProfile[Profile](ctx, c, r, "profiles", "instagram", "byid", id)
}

// Channel is a YouTube profile by its channel id, likewise.
func (c *Client) Channel(ctx context.Context, id string, r Reading) (*Channel, error) {
	return readProfile[Channel](ctx, c, r, "profiles", "youtube", "byid", id)
}

// ChannelID is the id of a channel's @handle, as its page says now.
func (c *Client) ChannelID(ctx context.Context, handle string) (string, error) {
	var a struct {
		Response struct {
			ID string `json:"channel_id"`
		} `json:"response"`
	}
	err := c.do(ctx, http.MethodGet, path("youtube", "channel", "byhandle", handle), nil, nil, &a)
	return a.Response.ID, err
}

// RecentPosts are the twelve newest posts of an Instagram profile that have a
// picture, as they are stored.
func (c *Client) RecentPosts(ctx context.Context, profileID string) ([]Post, error) {
	var a struct {
		Data struct {
			Posts []Post `json:"recent_posts"`
		} `json:"data"`
	}
	err := c.do(ctx, http.MethodGet, path("recent", "posts", "instagram", "byprofileid", profileID), nil, nil, &a)
	return a.Data.Posts, err
}
