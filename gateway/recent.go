package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// recentTime is how long R7 may take: its client waits for five seconds.
const recentTime = 4 * time.Second

// Which posts of a profile are shown, and in which order. The order of R7 is
// Postgres's own, which has unknown times first (contract/http.md 3.6); the others
// have them last.
const (
	// The 12 newest reels whose plays are known, then the 12 newest images and
	// carousels: R1 with full_refresh.
	fullSQL = postSQL + `(
    (SELECT 1 AS part, * FROM instagram_post WHERE profile_id = $1 AND post_type = 'reels' AND plays >= 0
     ORDER BY publish_time DESC NULLS LAST, id DESC LIMIT 12)
    UNION ALL
    (SELECT 2 AS part, * FROM instagram_post WHERE profile_id = $1 AND post_type IN ('image', 'carousel')
     ORDER BY publish_time DESC NULLS LAST, id DESC LIMIT 12)
) p ORDER BY part, publish_time DESC NULLS LAST, id DESC`
	// What came with the answer that the account is of, or later: R5.
	mediaSQL = postSQL + `instagram_post p WHERE profile_id = $1 AND updated_at >= $2 AND post_type <> 'story'
ORDER BY publish_time DESC NULLS LAST, id DESC LIMIT 50`
	// The 12 newest that have a picture: R7.
	picturedSQL = postSQL + `instagram_post p WHERE profile_id = $1 AND post_type <> 'story' AND thumbnail_url NOT IN ('None', ' ')
ORDER BY publish_time DESC, id DESC LIMIT 12`

	postSQL = `
SELECT shortcode, post_id, post_type, publish_time, updated_at, reach, views, likes, comments, plays, caption, thumbnail_url, display_url
FROM `
)

// recent is R7: what is stored, and nothing is refreshed.
func (g *Gateway) recent(w http.ResponseWriter, r *http.Request) {
	var wrong check
	platform := wrong.platform(r)
	if wrong.answered(w) {
		return
	}
	if platform != "instagram" {
		unsupported(w, platform)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), recentTime)
	defer cancel()
	id := r.PathValue("profile_id")
	var posts []post
	err := errNoPost
	if storable(id) {
		posts, err = g.readPosts(ctx, picturedSQL, id)
	}
	if len(posts) == 0 {
		g.unanswered(w, r, err, 500, "Failed to fetch recent posts for profile_id - "+printable(id))
		return
	}
	var followers *int64
	err = g.db.QueryRow(ctx, `SELECT followers FROM instagram_account WHERE profile_id = $1`, id).Scan(&followers)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		g.unanswered(w, r, err, 500, "Failed to fetch Instagram account for handle - "+id)
		return
	}
	unknown := err != nil
	if err := g.picture(ctx, posts); err != nil {
		g.unanswered(w, r, err, 500, "Failed to fetch asset logs for posts shortcode "+public(err))
		return
	}
	measure(posts, followers)
	if unknown { // no account: no reach either
		for i := range posts {
			posts[i].Metrics.Reach = 0
		}
	}
	reply(w, http.StatusOK, recentAnswer{success("Recent Posts Retrieved"), recentPosts{platform, id, posts}})
}

type recentPosts struct {
	Platform  string `json:"platform"`
	ProfileID string `json:"profile_id"`
	Posts     []post `json:"recent_posts"`
}

type recentAnswer struct {
	Status status      `json:"status"`
	Data   recentPosts `json:"data"`
}

// withRecent is an account with its recent posts and their averages.
func (g *Gateway) withRecent(ctx context.Context, a *account) (*account, error) {
	posts, err := g.posts(ctx, a.Followers, fullSQL, a.ProfileID)
	if err != nil {
		return nil, err
	}
	a.Recent, a.Metrics = posts, summarize(a.Followers, posts)
	return a, nil
}

// posts are those of a statement, with their pictures and measures.
func (g *Gateway) posts(ctx context.Context, followers *int64, sql string, args ...any) ([]post, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	posts, err := g.readPosts(ctx, sql, args...)
	if err == nil {
		err = g.picture(ctx, posts)
	}
	if err != nil {
		return nil, err
	}
	measure(posts, followers)
	return posts, nil
}

func (g *Gateway) readPosts(ctx context.Context, sql string, args ...any) ([]post, error) {
	rows, err := g.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	posts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (post, error) {
		var p post
		var updated *time.Time
		m, d := &p.Metrics, &p.Dimensions
		err := row.Scan(&p.Shortcode, &p.PostID, &p.PostType, &p.published, &updated, &p.reach, &m.Views, &m.Likes,
			&m.Comments, &m.Plays, &d.Caption, &d.ThumbnailURL, &d.DisplayURL)
		p.PostURL = postURL(p.PostType, p.Shortcode)
		p.Published, p.UpdatedAt = stamp(p.published), stamp(updated)
		d.Comments = m.Comments
		d.ThumbnailURL, d.DisplayURL = link(d.ThumbnailURL), link(d.DisplayURL)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	return posts, nil
}

// picture gives posts our copies of their thumbnails, as far as there are any.
func (g *Gateway) picture(ctx context.Context, posts []post) error {
	if len(posts) == 0 || g.cfg.CDNBase == "" {
		return nil
	}
	codes := make([]string, 0, len(posts))
	for _, p := range posts {
		codes = append(codes, value(p.Shortcode))
	}
	rows, err := g.db.Query(ctx, `SELECT entity_id, asset_url FROM asset_log WHERE entity_id = ANY($1)`, codes)
	if err != nil {
		return fmt.Errorf("read pictures: %w", err)
	}
	stored := map[string]string{}
	var code string
	var path *string
	_, err = pgx.ForEachRow(rows, []any{&code, &path}, func() error {
		if path = link(path); path != nil {
			stored[code] = g.cfg.CDNBase + "/" + strings.TrimLeft(*path, "/")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read pictures: %w", err)
	}
	for i := range posts {
		if u, ok := stored[value(posts[i].Shortcode)]; ok {
			posts[i].Dimensions.ThumbnailURL = &u
		}
	}
	return nil
}

// measure fills in what follows from the counts of a post and its profile's
// followers.
func measure(posts []post, followers *int64) {
	for i := range posts {
		p := &posts[i]
		m := &p.Metrics
		m.Reach = reach(p.PostType, p.reach, m.Plays, m.Likes, followers)
		m.EngagementRate = engagementRate(m.Likes, m.Comments, followers)
	}
}

func postURL(kind, shortcode *string) string {
	switch value(kind) {
	case image, carousel:
		return "https://www.instagram.com/p/" + value(shortcode)
	case reels:
		return "https://www.instagram.com/reel/" + value(shortcode)
	}
	return " " + value(shortcode) // sic
}

// link is u, or nil for the texts that older rows hold instead of null.
func link(u *string) *string {
	if v := value(u); v == "" || v == "None" {
		return nil
	}
	return u
}
