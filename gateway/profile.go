package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

const (
	stale    = 24 * time.Hour // of R1 and R2
	priority = 1000           // of a task that somebody waits for
)

// A row is an account as it is stored.
type row interface {
	updated() *time.Time
}

// A profileKind is what the platforms differ in.
type profileKind struct {
	platform social.Platform
	key      func(handle string) string
	// flow is what refreshes the account, and its params.
	flow func(key string, full bool) (string, any)
	// read returns nil without an account.
	read   func(g *Gateway, ctx context.Context, key string) (row, error)
	render func(g *Gateway, ctx context.Context, r row, full bool) (any, error)
	force  bool   // force_refresh counts
	limit  string // route in Limits of a full refresh; none: unlimited
}

// A want is what a request says about the refresh.
type want struct {
	full   bool
	force  bool
	urgent bool // not urgent: may be put off when the day's budget runs low
}

var kinds = map[string]profileKind{
	"instagram": {
		platform: social.Instagram,
		key:      func(h string) string { return strings.ToLower(strings.TrimSpace(h)) },
		flow: func(h string, full bool) (string, any) {
			if full {
				return "refresh_profile_by_handle", map[string]string{"handle": h}
			}
			return "refresh_profile_basic", map[string]*string{"profile_id": nil, "handle": &h}
		},
		read:   (*Gateway).readInstagram,
		render: (*Gateway).renderInstagram,
		force:  true,
		limit:  instagramByHandle,
	},
	"youtube": {
		platform: social.YouTube,
		key:      strings.TrimSpace,
		flow: func(id string, _ bool) (string, any) {
			return "refresh_yt_profiles", map[string][]string{"channel_ids": {id}}
		},
		read: (*Gateway).readYouTube,
		render: func(_ *Gateway, _ context.Context, r row, _ bool) (any, error) {
			return r, nil
		},
	},
}

var platforms = []string{"instagram", "youtube", "shopify"}

var wrongPlatform = problem{[]any{"path", "platform"},
	"value is not a valid enumeration member; permitted: '" + strings.Join(platforms, "', '") + "'",
	"type_error.enum", map[string]any{"enum_values": platforms}}

// platformOf reads a path value: lower case, or all upper case.
func platformOf(s string) (string, bool) {
	for _, p := range platforms {
		if s == p || s == strings.ToUpper(p) {
			return p, true
		}
	}
	return "", false
}

// byHandle is R1 and R2: the stored profile, refreshed first when it is older
// than a day.
func (g *Gateway) byHandle(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	handle := r.PathValue("handle")
	if strings.Contains(handle, "/") {
		notFound(w)
		return
	}
	platform, ok := platformOf(r.PathValue("platform"))
	if !ok {
		invalid(w, wrongPlatform)
		return
	}
	kind, ok := kinds[platform]
	if !ok {
		fail(w, 400, "Platform not supported - "+platform)
		return
	}
	if !utf8.ValidString(handle) || strings.ContainsRune(handle, 0) { // no text to Postgres
		fail(w, 404, "Profile not found - "+strings.ToValidUTF8(handle, "�"))
		return
	}
	q := r.URL.Query()
	urgent, told := boolean(q.Get("urgent"))
	profile, err := g.profile(ctx, kind, kind.key(handle), want{
		full:   truthy(q.Get("full_refresh")),
		force:  kind.force && truthy(q.Get("force_refresh")),
		urgent: urgent || !told,
	})
	if errors.Is(err, errLimited) {
		fail(w, 2, "Concurrency Limit Exceeded")
		return
	}
	if task, ok := errors.AsType[putOff](err); ok {
		task.reply(w)
		return
	}
	if err != nil {
		// Also for outages: no client tells them apart.
		g.lg.WarnContext(ctx, "profile not answered", "platform", platform, "handle", handle, "err", err)
		fail(w, 404, "Profile not found - "+handle)
		return
	}
	reply(w, http.StatusOK, struct {
		Status  status `json:"status"`
		Profile any    `json:"profile"`
	}{success("Profile Retrieved"), profile})
}

var errNoRow = errors.New("no such account")

func (g *Gateway) profile(ctx context.Context, kind profileKind, key string, ask want) (any, error) {
	row, err := kind.read(g, ctx, key)
	if err != nil {
		return nil, err
	}
	if ask.force || row == nil || row.updated() == nil || time.Since(*row.updated()) > stale {
		switch err := g.refresh(ctx, kind, key, ask); {
		case errors.Is(err, errTimeout):
			g.lg.WarnContext(ctx, "answered before the refresh ended", "platform", kind.platform, "key", key)
		case err != nil:
			return nil, err
		}
		if row, err = kind.read(g, ctx, key); err != nil {
			return nil, err
		}
	}
	if row == nil {
		return nil, errNoRow
	}
	return kind.render(g, ctx, row, ask.full)
}

// refresh runs the flow that refreshes the account, or joins the run that is
// already under way, and waits for its end. It returns errLimited when a limit
// is reached, and a putOff when there is room only for what is urgent.
func (g *Gateway) refresh(ctx context.Context, kind profileKind, key string, ask want) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Wait)
	defer cancel()
	name, args := kind.flow(key, ask.full)
	req, err := onDemand(name, key, args)
	if err != nil {
		return err // empty, or too long for any platform
	}
	limit := ""
	if ask.full {
		limit = kind.limit
	}
	if !ask.urgent && g.busy(ctx, limit) {
		// With a key of its own: nobody waits for the night.
		req.Priority, req.JoinKey, req.RunAt = 0, new("offpeak:"+name+":"+key), new(g.cfg.OffPeak.pick(time.Now()))
		task, err := g.queue.Enqueue(ctx, req)
		if err != nil {
			return err
		}
		if !task.Joined {
			g.metrics.deferred.WithLabelValues(limit).Inc()
		}
		return putOff(task.ID)
	}
	taken, err := g.admit(ctx, limit, key)
	if err != nil {
		if ctx.Err() != nil {
			return errTimeout
		}
		return err
	}
	task, err := g.enqueue(ctx, req)
	if err != nil {
		return err
	}
	if task.Joined {
		g.giveBack(ctx, taken)
	}
	return g.ended(ctx, task.ID)
}

// onDemand is a task that somebody waits for. All that ask for key at once share
// it.
func onDemand(name, key string, args any) (schedule.Request, error) {
	params, err := json.Marshal(args)
	if err != nil {
		return schedule.Request{}, err
	}
	f, ok := flow.ByName(name)
	if !ok {
		return schedule.Request{}, fmt.Errorf("no flow %s", name)
	}
	if _, err := f.Decode(params); err != nil {
		return schedule.Request{}, err
	}
	return schedule.Request{
		Flow: name, Platform: f.Platform, Params: params, Priority: priority,
		JoinKey: new("ondemand:" + name + ":" + key), RetryCount: new(1),
	}, nil
}

// enqueue stores a task, or finds the one to join. It returns errTimeout when
// ctx ends before that.
func (g *Gateway) enqueue(ctx context.Context, req schedule.Request) (schedule.Enqueued, error) {
	task, err := g.queue.Enqueue(ctx, req)
	if err != nil && ctx.Err() != nil {
		return task, errTimeout
	}
	return task, err
}

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
	Platform   string      `json:"platform"`
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

// readInstagram reads the newest account that has the handle: an account that
// was renamed leaves its old handle to others.
func (g *Gateway) readInstagram(ctx context.Context, handle string) (row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	a := account{Platform: "instagram"}
	var kind *string
	var business *bool
	err := g.db.QueryRow(ctx, `
SELECT handle, fbid, profile_pic_url, profile_id, biography, following, followers, full_name, is_private,
       updated_at, profile_type, is_business_or_creator, media_count
FROM instagram_account WHERE handle = $1
ORDER BY updated_at DESC NULLS LAST LIMIT 1`, handle).
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

func (g *Gateway) renderInstagram(ctx context.Context, r row, full bool) (any, error) {
	a := r.(*account) //nolint:errcheck // readInstagram made it
	if full {
		posts, err := g.recentPosts(ctx, a)
		if err != nil {
			return nil, err
		}
		a.Recent = posts
		a.Metrics = summarize(a.Followers, posts)
	}
	return a, nil
}

const recentSQL = `
SELECT ` + postColumns + `
FROM (
    (SELECT 1 AS part, * FROM instagram_post WHERE profile_id = $1 AND post_type = 'reels' AND plays >= 0
     ORDER BY publish_time DESC NULLS LAST, id DESC LIMIT 12)
    UNION ALL
    (SELECT 2 AS part, * FROM instagram_post WHERE profile_id = $1 AND post_type IN ('image', 'carousel')
     ORDER BY publish_time DESC NULLS LAST, id DESC LIMIT 12)
) p LEFT JOIN asset_log a ON a.entity_id = p.shortcode
ORDER BY p.part, p.publish_time DESC NULLS LAST, p.id DESC`

// mediaSQL is what came with the answer that the account is of, or later.
const mediaSQL = `
SELECT ` + postColumns + `
FROM instagram_post p LEFT JOIN asset_log a ON a.entity_id = p.shortcode
WHERE p.profile_id = $1 AND p.updated_at >= $2 AND p.post_type <> 'story'
ORDER BY p.publish_time DESC NULLS LAST, p.id DESC LIMIT 50`

const postColumns = `p.shortcode, p.post_id, p.post_type, p.publish_time, p.updated_at, p.reach, p.views, p.likes, p.comments,
       p.plays, p.caption, p.thumbnail_url, p.display_url, a.asset_url`

// recentPosts is the 12 newest reels, then the 12 newest images and carousels.
func (g *Gateway) recentPosts(ctx context.Context, a *account) ([]post, error) {
	return g.posts(ctx, a, recentSQL, a.ProfileID)
}

// mediaOf is the posts that were seen with the account last.
func (g *Gateway) mediaOf(ctx context.Context, a *account) ([]post, error) {
	return g.posts(ctx, a, mediaSQL, a.ProfileID, a.at)
}

func (g *Gateway) posts(ctx context.Context, a *account, sql string, args ...any) ([]post, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := g.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	posts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (post, error) {
		var p post
		var updated *time.Time
		var stored *int64
		var asset *string
		m, d := &p.Metrics, &p.Dimensions
		err := row.Scan(&p.Shortcode, &p.PostID, &p.PostType, &p.published, &updated, &stored, &m.Views, &m.Likes,
			&m.Comments, &m.Plays, &d.Caption, &d.ThumbnailURL, &d.DisplayURL, &asset)
		p.PostURL = postURL(p.PostType, p.Shortcode)
		p.Published, p.UpdatedAt = stamp(p.published), stamp(updated)
		m.Reach = reach(p.PostType, stored, m.Plays, m.Likes, a.Followers)
		m.EngagementRate = engagementRate(m.Likes, m.Comments, a.Followers)
		d.Comments = m.Comments
		d.ThumbnailURL, d.DisplayURL = link(d.ThumbnailURL), link(d.DisplayURL)
		if asset = link(asset); asset != nil && g.cfg.CDNBase != "" {
			d.ThumbnailURL = new(g.cfg.CDNBase + "/" + strings.TrimLeft(*asset, "/"))
		}
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	return posts, nil
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
