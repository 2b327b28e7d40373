package sandbox

import (
	"net/http"
	"strconv"
	"strings"
)

// metrics are what the insights of a post may be asked for.
var metrics = map[string]func(l timeline, p item) uint64{
	"likes":              timeline.likes,
	"comments":           timeline.comments,
	"plays":              timeline.plays,
	"video_views":        timeline.views,
	"reach":              timeline.reach,
	"impressions":        func(l timeline, p item) uint64 { return l.reach(p) * p.between(11, 11, 16) / 10 },
	"saved":              timeline.saved,
	"shares":             timeline.shares,
	"engagement":         func(l timeline, p item) uint64 { return l.likes(p) + l.comments(p) + l.saved(p) },
	"total_interactions": func(l timeline, p item) uint64 { return l.likes(p) + l.comments(p) + l.saved(p) + l.shares(p) },
	"follows":            func(l timeline, p item) uint64 { return l.reach(p) / p.between(14, 800, 4000) },
	"profile_visits":     func(l timeline, p item) uint64 { return l.reach(p) / p.between(15, 60, 300) },
	"profile_activity":   func(l timeline, p item) uint64 { return l.reach(p) / p.between(16, 90, 500) },
}

// storyMetrics are what those of a story may be asked for; there are no likes
// or comments.
var storyMetrics = map[string]func(l timeline, p item) uint64{
	"impressions":        metrics["impressions"],
	"reach":              timeline.reach,
	"saved":              func(timeline, item) uint64 { return 0 },
	"shares":             timeline.shares,
	"replies":            timeline.saved,
	"total_interactions": func(l timeline, p item) uint64 { return l.saved(p) + l.shares(p) },
	"follows":            metrics["follows"],
	"profile_visits":     metrics["profile_visits"],
	"profile_activity":   metrics["profile_activity"],
	"navigation": func(l timeline, p item) (n uint64) {
		for i := range steps {
			n += l.navigated(p, i)
		}
		return n
	},
}

// steps are where people go from a story.
var steps = [...]string{"tap_forward", "tap_back", "tap_exit", "swipe_forward"}

func (l timeline) navigated(p item, step int) uint64 {
	return l.reach(p) * p.between(20+uint64(step), 2, 90) / uint64(100+200*step)
}

// postInsights answers how a post did, to the account that it is of.
func (s *Sandbox) postInsights(c call, b []byte) answer {
	return s.insights(c, b, posts, s.real.of[graphInsights], metrics)
}

// storyInsights is about a story, as long as it is there.
func (s *Sandbox) storyInsights(c call, b []byte) answer {
	shelf := s.real.of[graphInsights]
	if c.q.Get("metric") == "navigation" {
		shelf = s.real.of[graphNavigation]
	}
	return s.insights(c, b, stories, shelf, storyMetrics)
}

func (s *Sandbox) insights(c call, b []byte, k int, shelf map[string][]byte, known map[string]func(timeline, item) uint64) answer {
	id := strings.Split(c.path, "/")[2]
	if raw := shelf[id]; raw != nil {
		return recorded(raw)
	}
	l, p, ok := s.world.byMedia(id, k)
	if k == stories && l.owner != 0 && p.at <= l.hour-24*3600 {
		ok = false
	}
	if !ok || l.owner != 0 && (l.kind.total == 0 || !s.mine(c, l.a)) {
		return noObject(b, id)
	}
	asked := c.q.Get("metric")
	if asked == "" {
		return graphError(b, http.StatusBadRequest, "(#100) The parameter metric is required", 100, 0)
	}
	b = append(b, `{"data":[`...)
	for i, name := range strings.Split(asked, ",") {
		count := known[name]
		if count == nil {
			return graphError(b[:0], http.StatusBadRequest, "(#100) metric["+strconv.Itoa(i)+"] must be one of the known values", 100, 0)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `{"name":"`...), name...)
		if name == "navigation" {
			b = appendSteps(append(b, `","period":"lifetime"`...), l, p, count(l, p), c.q.Get("breakdown"))
		} else {
			b = appendUint(b, `","period":"lifetime","values":[{"value":`, count(l, p))
			b = append(b, `}]`...)
		}
		b = appendInsightEnd(b, name, id)
	}
	return fine(append(b, `]}`...))
}

func appendInsightEnd(b []byte, name, id string) []byte {
	b = appendStr(append(b, `,"title":`...), strings.ReplaceAll(name, "_", " "))
	b = append(append(b, `,"id":"`...), id...)
	return append(append(append(b, `\/insights\/`...), name...), `\/lifetime"}`...)
}

func appendSteps(b []byte, l timeline, p item, total uint64, breakdown string) []byte {
	b = appendUint(b, `,"total_value":{"value":`, total)
	if breakdown != "" {
		b = appendStr(append(b, `,"breakdowns":[{"dimension_keys":[`...), breakdown)
		b = append(b, `],"results":[`...)
		for i, step := range steps {
			b = append(append(b, `{"dimension_values":["`...), step...)
			b = append(appendUint(b, `"],"value":`, l.navigated(p, i)), `},`...)
		}
		b = append(b[:len(b)-1], `]}]`...)
	}
	return append(b, '}')
}

// audiences are what share of the followers an audience is, in hundredths.
var audiences = map[string]uint64{
	"follower_demographics": 100, "reached_audience_demographics": 40, "engaged_audience_demographics": 6,
}

// breakdowns are the groups of an audience by what it is broken down to, each
// one or two JSON texts.
var breakdowns = map[string][]string{
	"country": {`"IN"`, `"US"`, `"BR"`, `"JP"`, `"ID"`, `"ES"`, `"DE"`},
	"city": {`"Mumbai, Maharashtra"`, `"Delhi, Delhi"`, `"S\u00e3o Paulo, S\u00e3o Paulo (state)"`,
		`"Kyoto, Kyoto Prefecture"`, `"Jakarta, Jakarta"`, `"Porto, Porto District"`},
	"gender,age": {`"F","13-17"`, `"F","18-24"`, `"F","25-34"`, `"F","35-44"`, `"F","45-54"`,
		`"M","13-17"`, `"M","18-24"`, `"M","25-34"`, `"M","35-44"`, `"M","45-54"`, `"U","18-24"`, `"U","25-34"`},
}

// audience answers who the audience of an account is, to its own token and to
// one that is nobody's.
func (s *Sandbox) audience(c call, b []byte) answer {
	id := strings.Split(c.path, "/")[2]
	metric, by := c.q.Get("metric"), strings.ReplaceAll(c.q.Get("breakdown"), " ", "")
	a, ok := s.node(c, id)
	if !ok {
		return noObject(b, id)
	}
	share, groups := audiences[metric], breakdowns[by]
	if share == 0 || groups == nil {
		return graphError(b, http.StatusBadRequest, "(#100) metric or breakdown must be one of the known values", 100, 0)
	}
	total, weights := a.followers(s.world.hour())*share/100, uint64(0)
	weight := func(i int) uint64 { return a.between(200+uint64(len(by))<<8+uint64(i), 3, 97) }
	for i := range groups {
		weights += weight(i)
	}
	b = append(append(b, `{"data":[{"name":"`...), metric...)
	b = append(b, `","period":"lifetime","total_value":{"breakdowns":[{"dimension_keys":["`...)
	b = append(append(b, strings.ReplaceAll(by, ",", `","`)...), `"],"results":[`...)
	for i, g := range groups {
		b = append(append(b, `{"dimension_values":[`...), g...)
		b = append(appendUint(b, `],"value":`, total*weight(i)/weights), `},`...)
	}
	b = append(b[:len(b)-1], `]}]}`...)
	return fine(append(appendInsightEnd(b, metric, id), `]}`...))
}

// node is the account of a Graph node: of the token's owner, or of a node that
// says whose it is.
func (s *Sandbox) node(c call, id string) (account, bool) {
	n, ok := parseID(id)
	if owner, bound := strings.CutPrefix(c.src.key(c), boundToken); bound {
		a, found := s.world.byHandle(owner)
		return a, ok && found && fbid(a) == n && a.trait != private && a.trait != personal
	}
	return s.world.byNumber(n - graphNodes), ok && n >= graphNodes+1000 && n < graphNodes+maxNode
}

// debugToken says of a token what it may do: all, until two months from now; or
// until last month, when it has expired.
func (s *Sandbox) debugToken(c call, b []byte) answer {
	token := c.q.Get("input_token")
	if token == "" {
		return graphError(b, http.StatusBadRequest, "(#100) The parameter input_token is required", 100, 0)
	}
	until, valid := s.world.hour()+60*24*3600, true
	if strings.Contains(token, "expired") {
		until, valid = until-90*24*3600, false
	}
	b = appendInt(b, `{"data":{"app_id":"100000000000001","type":"USER","application":"Sandbox","data_access_expires_at":`, until)
	b = strconv.AppendBool(append(b, `,"expires_at":0,"is_valid":`...), valid)
	return fine(append(b, `,"scopes":["instagram_basic","instagram_manage_insights","pages_read_engagement","pages_show_list","public_profile"],"user_id":"10000000000000001"}}`...))
}
