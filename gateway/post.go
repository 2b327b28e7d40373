package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"beat/projections"
	"beat/streams/flow"
)

// freshWait is how long newer insights are waited for while older ones could be
// answered: a call that fails and its second try take half of it.
const freshWait = 15 * time.Second

// A postInsights is a post as R8 answers it, contract 3.7 and 3.16.4.
type postInsights struct {
	Platform     string     `json:"platform"`
	Handle       *string    `json:"handle"` // of the row, whatever was asked for
	Provider     string     `json:"data_provider"`
	Shortcode    *string    `json:"shortcode"`
	PostID       *string    `json:"post_id"`
	PostType     *string    `json:"post_type"`
	ContentType  *string    `json:"content_type"`
	Thumbnail    *string    `json:"thumbnail"`
	DisplayURL   *string    `json:"display_url"`
	StoryLinks   []string   `json:"story_links"`
	StoryTags    []string   `json:"story_hashtags"`
	Published    *string    `json:"publish_time"`
	UpdatedAt    *string    `json:"updated_at"`
	Metrics      postCounts `json:"metrics"`
	Stale        bool       `json:"stale,omitempty"` // Graph does not answer: the insights are those of AsOf
	AsOf         *string    `json:"as_of,omitempty"`
	insightsTime *time.Time // when the insights were observed, nil without any
}

type postCounts struct {
	Reach    *int64 `json:"reach"` // as stored; only insights have it
	Views    *int64 `json:"views"`
	Likes    *int64 `json:"likes"`
	Plays    *int64 `json:"play_count"`
	Comments *int64 `json:"comments"`
}

var errNoPost = errors.New("no such post")

// byShortcode is R8: a post with fresh insights, which only the account's own
// credential gets. While Graph does not answer, the stored ones are told, marked
// as stale (contract/enrichment.md W1.5).
//
// third_party_fallback turns every error into the answer for a post that the
// fallback does not find either: no source is asked in the place of Graph.
func (g *Gateway) byShortcode(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	q := r.URL.Query()
	var problems []problem
	platform, ok := platformOf(r.PathValue("platform"))
	if !ok {
		problems = append(problems, wrongPlatform)
	}
	if !q.Has("handle") {
		problems = append(problems, problem{Loc: []any{"query", "handle"}, Msg: "field required", Type: "value_error.missing"})
	}
	fallback, ok := boolean(q.Get("third_party_fallback"))
	if !ok && q.Has("third_party_fallback") {
		problems = append(problems, problem{Loc: []any{"query", "third_party_fallback"},
			Msg: "value could not be parsed to a boolean", Type: "type_error.bool"})
	}
	if len(problems) > 0 {
		invalid(w, problems...)
		return
	}
	if platform != "instagram" {
		fail(w, 400, "Platform not supported - "+platform)
		return
	}
	shortcode, handle := r.PathValue("shortcode"), q.Get("handle")
	missing := "Post not found - " + strings.ToValidUTF8(shortcode, "�")
	if !utf8.ValidString(shortcode+handle) || strings.ContainsRune(shortcode+handle, 0) { // no text to Postgres
		fail(w, 404, missing)
		return
	}
	post, err := g.withInsights(ctx, shortcode, handle)
	if err == nil {
		reply(w, http.StatusOK, struct {
			Status status        `json:"status"`
			Post   *postInsights `json:"post"`
		}{success("Post Retrieved"), post})
		return
	}
	g.lg.WarnContext(ctx, "post not answered", "shortcode", shortcode, "err", err)
	if fallback || errors.Is(err, errNoPost) {
		fail(w, 404, missing)
		return
	}
	code, message := told(err)
	fail(w, code, message)
}

// told is what a client hears of err: the code and the message of the provider,
// where one said something.
func told(err error) (code int, message string) {
	f, failed := errors.AsType[failure](err)
	param, wrong := errors.AsType[*flow.ParamError](err)
	switch {
	case failed:
		code, message, ok := f.status()
		switch {
		case !ok:
			return 500, string(f)
		case code == 0: // it was asked and did not answer
			return 500, message
		}
		return code, message
	case wrong:
		return 500, param.Error()
	case errors.Is(err, errTimeout):
		return 500, errTimeout.Error()
	}
	return 500, public(err)
}

// withInsights refreshes the insights of a post, and first the profile that it
// is of when it takes that to know the post's Graph id.
func (g *Gateway) withInsights(ctx context.Context, shortcode, handle string) (*postInsights, error) {
	post, err := g.readPost(ctx, shortcode)
	if err != nil {
		return nil, err
	}
	most := g.cfg.Wait
	if post != nil && post.insightsTime != nil {
		most = min(most, freshWait)
	}
	err = g.refreshInsights(ctx, post, shortcode, handle, most)
	if outage(err) && post != nil && post.insightsTime != nil {
		g.lg.WarnContext(ctx, "answered with older insights", "shortcode", shortcode, "err", err)
		post.Stale, post.AsOf = true, stamp(post.insightsTime)
		return post, nil
	}
	if err != nil {
		return nil, err
	}
	if post, err = g.readPost(ctx, shortcode); err == nil && post == nil {
		err = errNoPost
	}
	return post, err
}

// refreshInsights returns nil once newer insights of the post are stored.
func (g *Gateway) refreshInsights(ctx context.Context, post *postInsights, shortcode, handle string, most time.Duration) (err error) {
	within, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if post == nil || value(post.PostID) == "" || strings.Contains(*post.PostID, "_") {
		if err := g.demand(within, "refresh_profile_by_token", kinds["instagram"].key(handle), most); err != nil {
			return err
		}
		if post, err = g.readPost(ctx, shortcode); err != nil {
			return err
		}
		if post == nil || value(post.PostID) == "" {
			return errNoPost
		}
	}
	req, err := onDemand("refresh_post_insights", handle+":"+shortcode, map[string]string{
		"shortcode": shortcode, "handle": handle, "post_id": *post.PostID, "post_type": value(post.PostType),
	})
	if err != nil {
		return err
	}
	task, err := g.enqueue(within, req)
	if err != nil {
		return err
	}
	return g.ended(within, task.ID)
}

// readPost returns nil without a post.
func (g *Gateway) readPost(ctx context.Context, shortcode string) (*postInsights, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	p := postInsights{Platform: "instagram", Provider: "GRAPHAPI"}
	var published, updated *time.Time
	var lineage []byte
	m := &p.Metrics
	err := g.db.QueryRow(ctx, `
SELECT shortcode, handle, post_id, post_type, content_type, thumbnail_url, display_url, story_links, story_hashtags,
       publish_time, updated_at, reach, views, likes, plays, comments, lineage
FROM instagram_post WHERE shortcode = $1`, shortcode).
		Scan(&p.Shortcode, &p.Handle, &p.PostID, &p.PostType, &p.ContentType, &p.Thumbnail, &p.DisplayURL, &p.StoryLinks, &p.StoryTags,
			&published, &updated, &m.Reach, &m.Views, &m.Likes, &m.Plays, &m.Comments, &lineage)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no post is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read post: %w", err)
	}
	p.Published, p.UpdatedAt = stamp(published), stamp(updated)
	p.Thumbnail, p.DisplayURL = link(p.Thumbnail), link(p.DisplayURL)
	if m.Reach != nil { // asked for with every type of post
		p.insightsTime = updated
		if at, ok := projections.Observed(lineage, "reach"); ok {
			p.insightsTime = &at
		}
	}
	return &p, nil
}
