package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/projections"
)

// freshWait is how long newer insights are waited for while older ones could be
// answered: a call that fails and its second try take half of it.
const freshWait = 15 * time.Second

// A postBody is the end of every post object, contract 3.16.4.
type postBody struct {
	PostID      *string    `json:"post_id"`
	PostType    *string    `json:"post_type"`
	ContentType *string    `json:"content_type"`
	Thumbnail   *string    `json:"thumbnail"`
	DisplayURL  *string    `json:"display_url"`
	StoryLinks  []string   `json:"story_links"`
	StoryTags   []string   `json:"story_hashtags"`
	Published   *string    `json:"publish_time"`
	UpdatedAt   *string    `json:"updated_at"`
	Metrics     postCounts `json:"metrics"`
}

// A storedPost is a row.
type storedPost struct {
	Shortcode, Handle *string
	postBody
	insights *time.Time // when they were observed, nil without any
}

// A providedPost is a post as R8 answers it, and R9 a story.
type providedPost struct {
	Platform  string  `json:"platform"`
	Handle    *string `json:"handle"` // of the row, whatever was asked for
	Provider  string  `json:"data_provider"`
	Shortcode *string `json:"shortcode"`
	postBody
	Stale bool    `json:"stale,omitempty"` // Graph does not answer: the insights are those of AsOf
	AsOf  *string `json:"as_of,omitempty"`
}

// A plainPost is a post as R9 answers it.
type plainPost struct {
	Platform  string  `json:"platform"`
	Shortcode *string `json:"shortcode"`
	Handle    *string `json:"handle"`
	postBody
}

type postAnswer[P providedPost | plainPost] struct {
	Status status `json:"status"`
	Post   P      `json:"post"`
}

// The labels of data_provider.
const (
	fromGraph = "GRAPHAPI" // of stories too, whoever has told of them (sic)
	fromOther = "LAMA"     // of what Graph was not asked for, whoever has told of it (sic)
)

func (p *storedPost) provided(by string) *providedPost {
	return &providedPost{Platform: "instagram", Handle: p.Handle, Provider: by, Shortcode: p.Shortcode, postBody: p.postBody}
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
// With third_party_fallback every error leads to the other sources instead, which
// have no insights.
func (g *Gateway) byShortcode(w http.ResponseWriter, r *http.Request) {
	var wrong check
	q := queryOf(r)
	platform := wrong.platform(r)
	handle := wrong.required(q, "handle")
	fallback := wrong.boolean(q, "third_party_fallback", false)
	if wrong.answered(w) {
		return
	}
	if platform != "instagram" {
		unsupported(w, platform)
		return
	}
	ctx, shortcode := r.Context(), r.PathValue("shortcode")
	missing := "Post not found - " + printable(shortcode)
	if !storable(shortcode, handle) {
		fail(w, 404, missing)
		return
	}
	most := g.cfg.Wait
	if fallback {
		most /= 2
	}
	post, err := g.withInsights(ctx, shortcode, handle, most)
	if err != nil && fallback {
		g.lg.WarnContext(ctx, "post not answered, others are asked", "shortcode", shortcode, "err", err)
		post, err = g.fromOthers(ctx, shortcode, handle, g.cfg.Wait-most)
	}
	if err == nil {
		reply(w, http.StatusOK, postAnswer[providedPost]{success("Post Retrieved"), *post})
		return
	}
	code, message := told(err)
	if fallback || errors.Is(err, errNoPost) {
		code, message = 404, missing
	}
	g.unanswered(w, r, err, code, message)
}

// fromOthers is a post as it is known without a credential of its account. It has
// to be of the handle.
func (g *Gateway) fromOthers(ctx context.Context, shortcode, handle string, most time.Duration) (*providedPost, error) {
	post, err := g.refreshedPost(ctx, "refresh_post_by_shortcode", shortcode, map[string]string{"shortcode": shortcode}, shortcode, most)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(value(post.Handle), handle) {
		return nil, fmt.Errorf("it is of %q: %w", value(post.Handle), errNoPost)
	}
	return post.provided(fromOther), nil
}

// refreshedPost runs a flow and reads the post that it is about. Its error is
// errNoPost when there is none afterwards.
func (g *Gateway) refreshedPost(ctx context.Context, flow, key string, args any, shortcode string, most time.Duration) (*storedPost, error) {
	if _, err := g.demand(ctx, flow, key, args, most); err != nil {
		return nil, err
	}
	post, err := g.readPost(ctx, shortcode)
	if err == nil && post == nil {
		err = errNoPost
	}
	return post, err
}

// byType is R9: a post or a story of which something is known today, always
// refreshed first.
func (g *Gateway) byType(w http.ResponseWriter, r *http.Request) {
	var wrong check
	q := queryOf(r)
	platform := wrong.platform(r)
	profile := wrong.required(q, "profile_id") // only stories are found by it
	if wrong.answered(w) {
		return
	}
	if platform != "instagram" {
		unsupported(w, platform)
		return
	}
	ctx, shortcode, kind := r.Context(), r.PathValue("shortcode"), r.PathValue("post_type")
	story := kind == "story"
	err := errNoPost
	var post *storedPost
	switch {
	case !storable(shortcode, profile):
	case story:
		post, err = g.refreshedPost(ctx, "refresh_story_posts_by_profile_id", profile,
			map[string]*string{"profile_id": &profile, "handle": nil}, shortcode, g.cfg.Wait)
	default:
		post, err = g.refreshedPost(ctx, "refresh_post_by_shortcode", shortcode, map[string]string{"shortcode": shortcode}, shortcode, g.cfg.Wait)
	}
	kind = printable(kind)
	switch {
	case errors.Is(err, errNoPost):
		g.unanswered(w, r, err, 404, kind+" not found for shortcode - "+printable(shortcode))
	case err != nil && story:
		g.unanswered(w, r, err, 404, "Story not found - "+saying(err))
	case err != nil:
		g.unanswered(w, r, err, 404, kind+" not found - "+saying(err))
	case story:
		reply(w, http.StatusOK, postAnswer[providedPost]{success("Stories Retrieved"), *post.provided(fromGraph)})
	default:
		reply(w, http.StatusOK, postAnswer[plainPost]{success(kind + " Retrieved"), plainPost{platform, post.Shortcode, post.Handle, post.postBody}})
	}
}

// withInsights refreshes the insights of a post, and first the profile that it
// is of when it takes that to know the post's Graph id.
func (g *Gateway) withInsights(ctx context.Context, shortcode, handle string, most time.Duration) (*providedPost, error) {
	post, err := g.readPost(ctx, shortcode)
	if err != nil {
		return nil, err
	}
	if post != nil && post.insights != nil {
		most = min(most, freshWait)
	}
	err = g.refreshInsights(ctx, post, shortcode, handle, most)
	if outage(err) && post != nil && post.insights != nil {
		g.lg.WarnContext(ctx, "answered with older insights", "shortcode", shortcode, "err", err)
		out := post.provided(fromGraph)
		out.Stale, out.AsOf = true, stamp(post.insights)
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if post, err = g.readPost(ctx, shortcode); err != nil {
		return nil, err
	}
	if post == nil {
		return nil, errNoPost
	}
	return post.provided(fromGraph), nil
}

// refreshInsights returns nil once newer insights of the post are stored.
func (g *Gateway) refreshInsights(ctx context.Context, post *storedPost, shortcode, handle string, most time.Duration) (err error) {
	within, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if post == nil || value(post.PostID) == "" || strings.Contains(*post.PostID, "_") {
		if err := g.byToken(within, handleKey(handle), most); err != nil {
			return err
		}
		if post, err = g.readPost(ctx, shortcode); err != nil {
			return err
		}
		if post == nil || value(post.PostID) == "" {
			return errNoPost
		}
	}
	_, err = g.demand(within, "refresh_post_insights", handle+":"+shortcode, map[string]string{
		"shortcode": shortcode, "handle": handle, "post_id": *post.PostID, "post_type": value(post.PostType),
	}, most)
	return err
}

// readPost returns nil without a post.
func (g *Gateway) readPost(ctx context.Context, shortcode string) (*storedPost, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var p storedPost
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
		p.insights = updated
		if at, ok := projections.Observed(lineage, "reach"); ok {
			p.insights = &at
		}
	}
	return &p, nil
}
