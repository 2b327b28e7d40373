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
		if err := g.demand(ctx, "refresh_profile_by_token", handle, g.cfg.Wait); err != nil {
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
		posts, err := g.mediaOf(ctx, a)
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
		err = g.demand(ctx, "refresh_profile_insights", handle, most)
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

// demand runs a flow for a handle, or joins its run, and waits for the end.
func (g *Gateway) demand(ctx context.Context, name, handle string, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	req, err := onDemand(name, handle, map[string]string{"handle": handle})
	if err != nil {
		return err
	}
	task, err := g.enqueue(ctx, req)
	if err != nil {
		return err
	}
	return g.ended(ctx, task.ID)
}

// withToken answers what answer says of a handle, once the token of the request
// is the credential of that handle. Errors begin with prefix.
func (g *Gateway) withToken(w http.ResponseWriter, r *http.Request, prefix string, answer func(ctx context.Context, handle string) (any, error)) {
	if !strings.EqualFold(r.PathValue("platform"), "instagram") {
		notFound(w)
		return
	}
	q := r.URL.Query()
	var problems []problem
	for _, name := range []string{"token", "user_id"} {
		if !q.Has(name) {
			problems = append(problems, problem{Loc: []any{"query", name}, Msg: "field required", Type: "value_error.missing"})
		}
	}
	if len(problems) > 0 {
		invalid(w, problems...)
		return
	}
	ctx := r.Context()
	handle := kinds["instagram"].key(r.PathValue("handle"))
	token, user := q.Get("token"), q.Get("user_id")
	var profile any
	err := errNoRow
	if utf8.ValidString(handle+token+user) && !strings.ContainsRune(handle+token+user, 0) { // no text to Postgres
		if err = g.cfg.Supply(ctx, handle, token, user); err != nil {
			err = fmt.Errorf("%w: %w", errToken, err)
		} else {
			profile, err = answer(ctx, handle)
		}
	}
	if err != nil {
		g.lg.WarnContext(ctx, "creator not answered", "handle", handle, "err", err)
		_, message := told(err)
		f, ok := errors.AsType[failure](err)
		switch {
		case ok:
			message = string(f)
		case errors.Is(err, errNoRow):
			message = errNoRow.Error()
		case errors.Is(err, errToken):
			message = errToken.Error()
		}
		fail(w, 404, prefix+message)
		return
	}
	reply(w, http.StatusOK, struct {
		Status  status `json:"status"`
		Profile any    `json:"profile"`
	}{success("Profile Retrieved"), profile})
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
