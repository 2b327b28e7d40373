package gateway

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beat/providers/ratelimit"
)

// A refresh that a client causes is counted before it becomes a task
// (contract/http.md 5), on all levels of its route in one step: a refusal
// consumes nothing and stores nothing. Profiles that are fresh, and tasks that
// are queued, are not counted.
//
// A request that joins the run of another is counted first, as the contract
// says (the second within a second is refused even while the first one runs),
// and then gives back what it took: the provider is not asked for it.
//
// Without Redis the limiter's own share decides. Of a limit of one in a second
// that is nothing, so full refreshes are refused until Redis answers again.

// A Limit is one level of the limits of a route.
type Limit struct {
	Route  string         // those with the same are checked together, in the table's order
	Spec   ratelimit.Spec // the name lacks the entity, if there is one
	Entity bool           // counted for each handle or id, which ends the name
}

// The routes of Limits.
const (
	instagramByHandle = "instagram/byhandle"
	instagramByID     = "instagram/byid"
	youtubeByID       = "youtube/byid"
)

const daySeconds = 24 * 60 * 60

// Limits are the limits of contract/http.md 5. The first of each route is its
// daily budget.
var Limits = []Limit{
	{instagramByHandle, ratelimit.Spec{Name: "refresh_profile_insta_daily", Requests: 20_000, Seconds: daySeconds}, false},
	{instagramByHandle, ratelimit.Spec{Name: "refresh_profile_insta_per_minute", Requests: 60, Seconds: 60}, false},
	{instagramByHandle, ratelimit.Spec{Name: "refresh_profile_insta_per_handle_", Requests: 1, Seconds: 1}, true},

	{instagramByID, ratelimit.Spec{Name: "refresh_profile_insta_by_id_daily", Requests: 20_000, Seconds: daySeconds}, false},
	{instagramByID, ratelimit.Spec{Name: "refresh_profile_insta_by_id_per_minute", Requests: 60, Seconds: 60}, false},
	{instagramByID, ratelimit.Spec{Name: "refresh_profile_insta_per_id_", Requests: 1, Seconds: 1}, true},

	{youtubeByID, ratelimit.Spec{Name: "refresh_profile_yt_by_id_daily", Requests: 20_000, Seconds: daySeconds}, false},
	{youtubeByID, ratelimit.Spec{Name: "refresh_profile_yt_by_id_per_minute", Requests: 60, Seconds: 60}, false},
	{youtubeByID, ratelimit.Spec{Name: "refresh_profile_yt_per_id_", Requests: 1, Seconds: 1}, true},
}

// For is the limit of one entity, or l's own when it has none.
func (l Limit) For(entity string) ratelimit.Spec {
	s := l.Spec
	if l.Entity {
		s.Name += entity
	}
	return s
}

// LimitNamed returns the limit of a whole name, which ends with the entity if
// the limit has one.
func LimitNamed(name string) (ratelimit.Spec, bool) {
	for _, l := range Limits {
		entity, ok := strings.CutPrefix(name, l.Spec.Name)
		if ok && l.Entity == (entity != "") {
			return l.For(entity), true
		}
	}
	return ratelimit.Spec{}, false
}

// alertAt are the shares of a daily budget that people are told of.
var alertAt = []float64{0.5, 0.8}

// Hours is a part of each day, in UTC: from From until To, since midnight.
type Hours struct{ From, To time.Duration }

const day = 24 * time.Hour

// UnmarshalText reads 01:00-05:00. The end may be on the next day.
func (h *Hours) UnmarshalText(text []byte) error {
	a, b, ok := strings.Cut(string(text), "-")
	from, err1 := time.Parse("15:04", a)
	to, err2 := time.Parse("15:04", b)
	if !ok || err1 != nil || err2 != nil || from.Equal(to) {
		return fmt.Errorf("hours %q: want two times of a day, such as 01:00-05:00", text)
	}
	zero := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	*h = Hours{from.Sub(zero), to.Sub(zero)}
	return nil
}

// pick is now, when now is in h, or else a moment in the first half of the next
// h: spread, and early enough to be done within it.
func (h Hours) pick(now time.Time) time.Time {
	now = now.UTC()
	length := (h.To - h.From + day) % day
	since := (now.Sub(now.Truncate(day)) - h.From + day) % day
	if since < length {
		return now
	}
	return now.Add(day - since + rand.N(length/2))
}

// limitMetrics are what is counted of limits. No label holds an entity.
type limitMetrics struct {
	refused  *prometheus.CounterVec // limit
	deferred *prometheus.CounterVec // route
	alerts   *prometheus.CounterVec // limit, percent
	used     *prometheus.GaugeVec   // limit
}

func newLimitMetrics() limitMetrics {
	o := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "beat", Subsystem: "gateway", Name: name, Help: help}
	}
	return limitMetrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts(o("refused_total",
			"Refreshes refused, by the limit that bound.")), []string{"limit"}),
		deferred: prometheus.NewCounterVec(prometheus.CounterOpts(o("deferred_total",
			"Refreshes put off to the off-peak hours.")), []string{"route"}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts(o("budget_alerts_total",
			"Times that a share of a daily budget was reached, once a window in the fleet.")), []string{"limit", "percent"}),
		used: prometheus.NewGaugeVec(prometheus.GaugeOpts(o("budget_used_ratio",
			"Used part of a daily budget when it was last taken from.")), []string{"limit"}),
	}
}

// Collectors are the gateway's metrics, to be registered once.
func (g *Gateway) Collectors() []prometheus.Collector {
	m := g.metrics
	return []prometheus.Collector{m.refused, m.deferred, m.alerts, m.used, g.away, g.underWay}
}

var errLimited = errors.New("a limit is reached")

// A putOff is the id of the task that will do a refresh in the off-peak hours.
// It is an error to whoever wanted to wait for the refresh.
type putOff int64

func (p putOff) Error() string { return "put off to task " + strconv.FormatInt(int64(p), 10) }

func (p putOff) reply(w http.ResponseWriter) {
	reply(w, http.StatusOK, created(int64(p)))
}

// limits are the specs of route for entity, the daily budget first.
func (g *Gateway) limits(route, entity string) (rows []Limit, specs []ratelimit.Spec) {
	if g.cfg.Limiter == nil {
		return nil, nil
	}
	for _, l := range Limits {
		if l.Route == route {
			s := l.For(entity)
			s.Sliding = g.cfg.Sliding
			rows, specs = append(rows, l), append(specs, s)
		}
	}
	return rows, specs
}

// admit takes a refresh of entity from every limit of route, or nothing and
// returns errLimited. A route without limits admits all.
func (g *Gateway) admit(ctx context.Context, route, entity string) (ratelimit.Taken, error) {
	rows, specs := g.limits(route, entity)
	if len(specs) == 0 {
		return ratelimit.Taken{OK: true}, nil
	}
	taken, err := g.cfg.Limiter.Take(ctx, specs...)
	if err != nil {
		return taken, err
	}
	if !taken.OK {
		for i, s := range specs {
			if s.Name == taken.Bound {
				g.metrics.refused.WithLabelValues(rows[i].Spec.Name).Inc()
			}
		}
		return taken, errLimited
	}
	if !taken.Local {
		g.alert(ctx, specs[0])
	}
	return taken, nil
}

// giveBack is for what was admitted and then caused no call.
func (g *Gateway) giveBack(ctx context.Context, t ratelimit.Taken) {
	if g.cfg.Limiter == nil {
		return
	}
	if err := g.cfg.Limiter.Refund(ctx, t); err != nil {
		g.lg.WarnContext(ctx, "refresh not given back to its limits", "err", err)
	}
}

// alert says when a share of a daily budget is reached, once in its window
// and in the fleet. A failure costs only the alert, which the next call tries again.
func (g *Gateway) alert(ctx context.Context, budget ratelimit.Spec) {
	st, err := g.cfg.Limiter.Show(ctx, budget)
	if err != nil {
		g.lg.WarnContext(ctx, "budget not read", "limit", budget.Name, "err", err)
		return
	}
	g.metrics.used.WithLabelValues(budget.Name).Set(float64(st.Used) / float64(budget.Requests))
	for _, share := range alertAt {
		if float64(st.Used) < share*float64(budget.Requests) {
			return
		}
		percent := strconv.Itoa(int(share * 100))
		first, err := g.cfg.Limiter.Once(ctx, budget, "alert"+percent, st.Resets)
		if err != nil {
			g.lg.WarnContext(ctx, "budget alert not marked", "limit", budget.Name, "err", err)
			return
		}
		if first {
			g.lg.WarnContext(ctx, "budget is being used up", "limit", budget.Name, "percent", percent, "used", st.Used,
				"of", budget.Requests, "resets", st.Resets)
			g.metrics.alerts.WithLabelValues(budget.Name, percent).Inc()
		}
	}
}

// busy reports whether more of route's daily budget is used than leaves room
// for refreshes that are not urgent. When it cannot be read, admit decides.
func (g *Gateway) busy(ctx context.Context, route string) bool {
	_, specs := g.limits(route, "")
	if len(specs) == 0 || g.cfg.Limiter.Down() != nil {
		return false
	}
	st, err := g.cfg.Limiter.Show(ctx, specs[0])
	return err == nil && float64(st.Used) > g.cfg.Busy*float64(specs[0].Requests)
}
