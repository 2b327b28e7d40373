package graphapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// metricsOf is what 8.7 asks for, by the type of the post. Graph answers a call
// with one metric that the post cannot have with an error alone.
var metricsOf = map[string]string{
	"image":    "likes,reach,impressions,comments,engagement,saved,shares",
	"reels":    "plays,likes,comments,reach,total_interactions,saved,shares",
	"carousel": "reach,impressions,engagement,saved,video_views",
}

// mediaForm is a media id before its first underscore: what follows that is the
// account, which other sources add.
var mediaForm = regexp.MustCompile(`^[0-9]{1,20}$`)

func mediaID(key string) (id string, ok bool) {
	id, _, _ = strings.Cut(key, "_")
	return id, mediaForm.MatchString(id)
}

// insightsRequest asks for the insights of keys 1 and 2, the media id and the
// type of a post. Key 0 is its shortcode, which Graph does not know it by.
func insightsRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	if err := c.Require("token"); err != nil {
		return providers.Request{}, instagram.Incomplete(err)
	}
	if len(ask.Keys) != 3 || ask.Keys[0] == "" {
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound,
			Message: postMissing, Detail: "keys are not a shortcode, a media id and a type"}
	}
	media, ok := mediaID(ask.Keys[1])
	if !ok {
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound,
			Message: postMissing, Detail: fmt.Sprintf("keys.1: %.60q is no media id", ask.Keys[1])}
	}
	metrics, ok := metricsOf[ask.Keys[2]]
	if !ok { // what Graph says of a call without metrics, without asking it (Q-GA-13)
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
			Message: "Something went wrong", Detail: fmt.Sprintf("keys.2: a post of type %.60q has no insights", ask.Keys[2])}
	}
	return get(c, version+media+"/insights", url.Values{"period": {"lifetime"}, "metric": {metrics}}), nil
}

const postMissing = "Post missing"

// insightsClasses is the outcome table of 8.7; the rest of the rows are those of
// all calls, but no message of the API is passed on.
//
// Whether a post is missing or the token lacks a scope or its data access can be
// told apart only by a second call with a token of the application
// (8.11). Without one it is taken to be missing.
var insightsClasses = slices.Concat([]providers.Class{
	noObject(http.StatusNotFound, postMissing),
	{Status: "4xx", Body: []providers.Marker{{At: errorCode, Is: "100"}, {At: errorSubcode, Is: "2108006"}},
		Kind: providers.ErrGone, Shown: http.StatusBadRequest, Codes: errorCodes,
		Message: "Media was posted before account was converted to business account"},
	invalidToken,
}, untold(classes))

// judgeInsights is what the parser wants of a 200.
func judgeInsights(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	_, err = root.NeedList("data")
	return err
}

// metrics is a table by the name that Graph gives a metric.
type metrics map[string]struct {
	key  string
	conv doc.Conv
}

// insights is the table of 8.7. What took the place of plays and impressions in
// 2025 counts as views (Q-GA-14).
var insights = metrics{
	"reach":              {"reach", doc.Int},
	"impressions":        {"impressions", doc.Int},
	"engagement":         {"engagement", doc.Count}, // a column of floats: as sent
	"saved":              {"saved", doc.Int},
	"likes":              {"likes", doc.Int},
	"comments":           {"comments", doc.Int},
	"shares":             {"shares", doc.Int},
	"plays":              {"play_count", doc.Int},
	"total_interactions": {"interactions", doc.Int},
	"video_views":        {"video_views", doc.Int},
	"follows":            {"follows", doc.Int},
	"profile_visits":     {"profile_visits", doc.Int},
	"profile_activity":   {"profile_activity", doc.Int},
	"views":              {"view_count", doc.Int},
}

// read appends the metric that n, the element of data at a path, is called.
// Names that are not known are passed over.
func (t metrics) read(to social.KVs, n doc.Node, at, name string) (social.KVs, *providers.Error) {
	m, ok := t[name]
	if !ok {
		return to, nil
	}
	v, err := m.conv(n.At("values.0.value"))
	if err != nil {
		return nil, providers.Malformed("%s.values.0.value of %s: %v", at, name, err)
	}
	return append(to, social.KV{Key: m.key, Value: v}), nil
}

// parseInsights reads an answer of 8.7: one post without dimensions. Its metrics
// are those of the answer, in that order; counts are absolute.
func parseInsights(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	data, err := root.NeedList("data")
	if err != nil {
		return social.Batch{}, err
	}
	post := social.Log{Kind: social.Post, Key: ask.Key(), Source: source}
	for i, n := range data {
		at := fmt.Sprintf("data.%d", i)
		name, err := n.NeedText("name")
		if err != nil {
			return social.Batch{}, doc.In(at, err)
		}
		if post.Metrics, err = insights.read(post.Metrics, n, at, name); err != nil {
			return social.Batch{}, err
		}
	}
	return social.Batch{Logs: []social.Log{post}}, nil
}
