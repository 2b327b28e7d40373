package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A channel is a YouTube profile object, contract 3.16.2.
type channel struct {
	Platform    string  `json:"platform"`
	ChannelID   *string `json:"channel_id"`
	Title       *string `json:"title"`
	Subscribers *int64  `json:"subscribers"`
	Uploads     *int64  `json:"uploads"`
	Views       *int64  `json:"views"`
	Thumbnail   *string `json:"thumbnail"`

	at *time.Time
}

func (c *channel) updated() *time.Time { return c.at }

func (g *Gateway) readYouTube(ctx context.Context, id string) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	c := channel{Platform: "youtube"}
	err := g.db.QueryRow(ctx, `
SELECT channel_id, title, subscribers, uploads, views, thumbnail, updated_at
FROM youtube_account WHERE channel_id = $1
ORDER BY updated_at DESC NULLS LAST LIMIT 1`, id).
		Scan(&c.ChannelID, &c.Title, &c.Subscribers, &c.Uploads, &c.Views, &c.Thumbnail, &c.at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no account is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read channel: %w", err)
	}
	return &c, nil
}

// An account is an Instagram profile object, contract 3.16.1.
type account struct {
	Platform   string      `json:"platform,omitempty"`
	Handle     *string     `json:"handle"`
	FBID       *string     `json:"fbid"`
	PictureURL *string     `json:"profile_pic_url"`
	ProfileID  *string     `json:"profile_id"`
	Biography  *string     `json:"biography"`
	Following  *int64      `json:"following"`
	Followers  *int64      `json:"followers"`
	FullName   *string     `json:"full_name"`
	Private    *bool       `json:"is_private"` // null is told apart from false
	UpdatedAt  *string     `json:"updated_at"`
	Metrics    postMetrics `json:"post_metrics"`
	Recent     []post      `json:"recent_posts"` // null when not asked for
	Type       string      `json:"profile_type"`
	MediaCount *int64      `json:"media_count"`

	at *time.Time
}

func (a *account) updated() *time.Time { return a.at }

const accountSQL = `
SELECT handle, fbid, profile_pic_url, profile_id, biography, following, followers, full_name, is_private,
       updated_at, profile_type, is_business_or_creator, media_count
FROM instagram_account WHERE `

// readInstagram reads the newest account that has the handle: an account that
// was renamed leaves its old handle to others.
func (g *Gateway) readInstagram(ctx context.Context, handle string) (row, error) {
	return g.readAccount(ctx, accountSQL+`handle = $1 ORDER BY updated_at DESC NULLS LAST LIMIT 1`, handle)
}

func (g *Gateway) readInstagramByID(ctx context.Context, id string) (row, error) {
	return g.readAccount(ctx, accountSQL+`profile_id = $1`, id)
}

// readRefreshed reads the account that a task has stored, whatever its handle is
// now. The audit has a row of it, at or after the time that the task was picked;
// the clocks of two machines may differ by some seconds.
func (g *Gateway) readRefreshed(ctx context.Context, task int64) (row, error) {
	return g.readAccount(ctx, accountSQL+`profile_id = (
    SELECT l.profile_id FROM scrape_request_log t JOIN profile_log l ON l.task_id = t.id AND l."timestamp" >= t.picked_at - interval '5 seconds'
    WHERE t.id = $1 AND l.platform = 'INSTAGRAM' ORDER BY l."timestamp" LIMIT 1)`, task)
}

func (g *Gateway) readAccount(ctx context.Context, sql string, key any) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	a := account{Platform: "instagram"}
	var kind *string
	var business *bool
	err := g.db.QueryRow(ctx, sql, key).
		Scan(&a.Handle, &a.FBID, &a.PictureURL, &a.ProfileID, &a.Biography, &a.Following, &a.Followers, &a.FullName,
			&a.Private, &a.at, &kind, &business, &a.MediaCount)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no account is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	a.UpdatedAt = stamp(a.at)
	switch {
	case value(kind) != "":
		a.Type = *kind
	case value(business):
		a.Type = "business_or_creator"
	default:
		a.Type = "personal"
	}
	return &a, nil
}
