package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/projections"
)

// What creators allow to be read with a token of their own: contract/http.md 3.4
// and 3.5. Answers come from the tables; the flows that fill them ask Graph with
// the credential of the handle.

// A creatorProfile is R5's profile object.
type creatorProfile struct {
	Handle     *string     `json:"handle"`
	Followers  *int64      `json:"followers"`
	Following  *int64      `json:"following"`
	MediaCount *int64      `json:"media_count"`
	Metrics    postMetrics `json:"post_metrics"` // of the media that came with the profile
}

// A creatorAudience is R6's.
type creatorAudience struct {
	Handle   *string  `json:"handle"`
	Audience audience `json:"audience_data"`
	Stale    bool     `json:"stale,omitempty"` // Graph does not answer: this is the audience of AsOf
	AsOf     *string  `json:"as_of,omitempty"`
	at       *time.Time
}

type audience struct {
	City      json.RawMessage `json:"city"`
	GenderAge json.RawMessage `json:"gender_age"`
}

var errToken = errors.New("the token was not accepted")

// creatorInsights is R5: the profile and its newest media, as Graph has them now.
func (g *Gateway) creatorInsights(w http.ResponseWriter, r *http.Request) {
	g.withToken(w, r, "Error - ", func(ctx context.Context, handle string) (any, error) {
		if err := g.byToken(ctx, handle, g.cfg.Wait); err != nil {
			return nil, err
		}
		row, err := g.readInstagram(ctx, handle)
		if err != nil {
			return nil, err
		}
		a, ok := row.(*account)
		if !ok {
			return nil, errNoRow
		}
		posts, err := g.posts(ctx, a.Followers, mediaSQL, a.ProfileID, a.at)
		if err != nil {
			return nil, err
		}
		return creatorProfile{a.Handle, a.Followers, a.Following, a.MediaCount, summarize(a.Followers, posts)}, nil
	})
}

// audienceInsights is R6: who follows an account. While Graph does not answer,
// the stored audience is told, marked as stale (contract/enrichment.md W1.5).
func (g *Gateway) audienceInsights(w http.ResponseWriter, r *http.Request) {
	g.withToken(w, r, "Error: ", func(ctx context.Context, handle string) (any, error) {
		old, err := g.readAudience(ctx, handle)
		if err != nil {
			return nil, err
		}
		most := g.cfg.Wait
		if old != nil {
			most = min(most, freshWait)
		}
		_, err = g.demand(ctx, "refresh_profile_insights", handle, map[string]string{"handle": handle}, most)
		if outage(err) && old != nil {
			g.lg.WarnContext(ctx, "answered with an older audience", "handle", handle, "err", err)
			old.Stale, old.AsOf = true, stamp(old.at)
			return old, nil
		}
		if err != nil {
			return nil, err
		}
		now, err := g.readAudience(ctx, handle)
		if err == nil && now == nil {
			err = errNoRow
		}
		return now, err
	})
}

// byToken refreshes a profile with the credential of its handle.
func (g *Gateway) byToken(ctx context.Context, handle string, most time.Duration) error {
	_, err := g.demand(ctx, "refresh_profile_by_token", handle, map[string]string{"handle": handle}, most)
	return err
}

// withToken answers what answer says of a handle, once the token of the request
// is the credential of that handle. Errors begin with prefix.
func (g *Gateway) withToken(w http.ResponseWriter, r *http.Request, prefix string, answer func(ctx context.Context, handle string) (any, error)) {
	if !strings.EqualFold(r.PathValue("platform"), "instagram") {
		notFound(w)
		return
	}
	var wrong check
	q := queryOf(r)
	token, user := wrong.required(q, "token"), wrong.required(q, "user_id")
	if wrong.answered(w) {
		return
	}
	ctx := r.Context()
	handle := handleKey(r.PathValue("handle"))
	var profile any
	err := errNoRow
	if storable(handle, token, user) {
		if err = g.cfg.Supply(ctx, handle, token, user); err != nil {
			err = fmt.Errorf("%w: %w", errToken, err)
		} else {
			profile, err = answer(ctx, handle)
		}
	}
	if err != nil {
		g.unanswered(w, r, err, 404, prefix+saying(err))
		return
	}
	retrieved(w, profile)
}

// readAudience returns nil without a row.
func (g *Gateway) readAudience(ctx context.Context, handle string) (*creatorAudience, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var a creatorAudience
	var lineage []byte
	err := g.db.QueryRow(ctx, `
SELECT handle, coalesce(audience_city, 'null'), coalesce(audience_gender_age, 'null'), updated_at, coalesce(lineage, '{}')
FROM instagram_profile_insights WHERE handle = $1 ORDER BY updated_at DESC NULLS LAST LIMIT 1`, handle).
		Scan(&a.Handle, &a.Audience.City, &a.Audience.GenderAge, &a.at, &lineage)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no audience is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read audience: %w", err)
	}
	if at, ok := projections.Observed(lineage, "audience_city"); ok {
		a.at = &at
	}
	return &a, nil
}
