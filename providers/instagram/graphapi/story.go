package graphapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// The two calls of 8.10, of which the second may fail.
var (
	storyCounts     = url.Values{"metric": {"impressions,reach,replies,saved,shares,total_interactions,follows,profile_visits,profile_activity"}}
	storyNavigation = url.Values{"metric": {"navigation"}, "breakdown": {"story_navigation_action_type"}}
)

func storyRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	return storyCall(c, ask, storyCounts)
}

func storyMore(c providers.Credential, ask social.Ask) ([]providers.Request, error) {
	r, err := storyCall(c, ask, storyNavigation)
	if err != nil {
		return nil, err
	}
	return []providers.Request{r}, nil
}

// storyCall asks about a story by the id that Graph has for it.
func storyCall(c providers.Credential, ask social.Ask, metrics url.Values) (providers.Request, error) {
	if err := c.Require("token"); err != nil {
		return providers.Request{}, instagram.Incomplete(err)
	}
	media, ok := mediaID(ask.Key())
	if !ok {
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
			Message: storyMissing, Detail: fmt.Sprintf("keys.0: %.60q is no media id", ask.Key())}
	}
	query := url.Values{"period": {"lifetime"}}
	for k, v := range metrics {
		query[k] = v
	}
	return get(c, storyVersion+media+"/insights", query), nil
}

// joinStory: the first answer decides (8.10). Without the second there is no
// navigation, and that is all (Q-GA-11).
func joinStory(_ social.Ask, answers []providers.Answer) providers.Answer {
	if answers[0].Status != http.StatusOK {
		return answers[0]
	}
	return providers.Parts(answers)
}

const (
	storyMissing    = "Story ID doesn't exist"
	insightsMissing = "Profile Insights Missing"
)

// storyClasses is the outcome table of 8.10, a refused token as in 8.7
// (Q-GA-16). Code 10 means two things, and only the text tells them apart: a
// story that too few have seen is no fault of the token.
var storyClasses = slices.Concat([]providers.Class{
	noObject(http.StatusBadRequest, storyMissing),
	invalidToken,
	{Status: "4xx", Body: append(code("10"), providers.Marker{At: "error.message", Holds: "does not have permission"}),
		Kind: providers.ErrRefused, Expired: true, Codes: errorCodes},
	{Status: "4xx", Body: code("10"), Kind: providers.ErrGone, Codes: errorCodes,
		Message: "Not enough viewers for the media to show insights"},
}, untold(classes))

// judgeStory wants data of the first call.
func judgeStory(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	data, err := storyData(partsOf(root))
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return instagram.Missing(insightsMissing, "data is empty")
	}
	return nil
}

func storyData(parts []part) ([]doc.Node, *providers.Error) {
	if len(parts) == 0 {
		return nil, providers.Malformed("parts is empty")
	}
	data, err := parts[0].body.NeedList("data")
	if err != nil {
		return nil, within(parts[0].path, err)
	}
	return data, nil
}

// within is err with path, which ends with a dot, in front of its detail.
func within(path string, err *providers.Error) *providers.Error {
	if path == "" {
		return err
	}
	return doc.In(strings.TrimSuffix(path, "."), err)
}

// storyInsights is the table of 8.10 but for navigation; engagement and views
// are as in that of a post (Q-GA-14, Q-GA-17).
var storyInsights = metrics{
	"impressions":        {"impressions", doc.Int},
	"reach":              {"reach", doc.Int},
	"engagement":         insights["engagement"],
	"saved":              {"saved", doc.Int},
	"shares":             {"shares", doc.Int},
	"replies":            {"replies", doc.Int},
	"profile_activity":   {"profile_activity", doc.Int},
	"profile_visits":     {"profile_visits", doc.Int},
	"follows":            {"follows", doc.Int},
	"total_interactions": {"interactions", doc.Int},
	"views":              insights["views"],
}

// navigations are the ways to leave a story that have a metric.
var navigations = []string{"automatic_forward", "tap_back", "tap_exit", "tap_forward", "swipe_back", "swipe_down", "swipe_forward", "swipe_up"}

// parseStory reads the answers of 8.10, as Parts, as one list of data that holds
// both, or that of one call alone: one post without dimensions, its metrics in
// the order of the answers. Counts are absolute.
func parseStory(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	parts := partsOf(root)
	if _, err := storyData(parts); err != nil {
		return social.Batch{}, err
	}
	story := social.Log{Kind: social.Post, Key: ask.Key(), Source: source}
	for _, p := range parts {
		for i, n := range p.body.At("data").List() {
			at := fmt.Sprintf("%sdata.%d", p.path, i)
			name, err := n.NeedText("name")
			if err != nil {
				return social.Batch{}, doc.In(at, err)
			}
			if name == "navigation" {
				story.Metrics, err = readNavigation(story.Metrics, n, at)
			} else {
				story.Metrics, err = storyInsights.read(story.Metrics, n, at, name)
			}
			if err != nil {
				return social.Batch{}, err
			}
		}
	}
	return social.Batch{Logs: []social.Log{story}}, nil
}

// readNavigation appends the total, which is not where other metrics have it
// (Q-GA-10), and what it is made of, where the answer says (Q-GA-11). Names are
// in either case.
func readNavigation(to social.KVs, n doc.Node, at string) (social.KVs, *providers.Error) {
	path := "total_value.value"
	if n.At(path).Null() {
		path = "values.0.value"
	}
	total, bad := doc.Int(n.At(path))
	if bad != nil {
		return nil, providers.Malformed("%s.%s of navigation: %v", at, path, bad)
	}
	to = append(to, social.KV{Key: "navigation", Value: total})
	const results = "total_value.breakdowns.0.results"
	for i, r := range n.At(results).List() {
		key := strings.ToLower(r.At("dimension_values.0").Text())
		if !slices.Contains(navigations, key) {
			continue
		}
		v, bad := doc.Int(r.At("value"))
		if bad != nil {
			return nil, providers.Malformed("%s.%s.%d.value: %v", at, results, i, bad)
		}
		to = append(to, social.KV{Key: key, Value: v})
	}
	return to, nil
}
