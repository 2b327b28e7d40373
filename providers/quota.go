package providers

import (
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Quota is what the headers of an answer say is left.
type Quota struct {
	Limit     int           // calls, or 100 where a source counts in percent; 0 unknown
	Remaining int           // of them; 0 used up
	Reset     time.Duration // until there are more; 0 unknown, at most a day
	Known     bool          // the headers say something at all
}

// counters are the headers of a quota in three numbers: limit, remaining and
// reset, the last in seconds or, when it is that large, as a Unix time.
var counters = [][3]string{
	{"X-RateLimit-Requests-Limit", "X-RateLimit-Requests-Remaining", "X-RateLimit-Requests-Reset"}, // RapidAPI, the plan
	{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"},
	{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}, // IETF drafts up to 6
}

// ReadQuota reads all forms of quota headers that our sources are known to
// send. Where there are several, the one with the least left counts, and of
// those the one that is longest in coming back.
func ReadQuota(h http.Header, now time.Time) Quota {
	var q Quota
	for _, names := range counters {
		left, ok := number(h.Get(names[1]))
		if !ok {
			continue
		}
		limit, _ := number(h.Get(names[0]))
		reset, _ := number(h.Get(names[2]))
		q = q.tighter(Quota{Limit: count(limit), Remaining: count(left), Reset: until(reset, now), Known: true})
	}
	for _, one := range ietf(strings.Join(h.Values("RateLimit"), ",")) {
		q = q.tighter(one)
	}
	for _, one := range graphUsage(h) {
		q = q.tighter(one)
	}
	return q
}

func (q Quota) tighter(o Quota) Quota {
	switch {
	case !o.Known:
		return q
	case !q.Known, o.Remaining < q.Remaining, o.Remaining == q.Remaining && o.Reset > q.Reset:
		return o
	}
	return q
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// ietf reads header RateLimit of the IETF drafts from 8 on: "name";r=50;t=30
// and more of them after commas. r is what is left, t seconds.
func ietf(header string) []Quota {
	if header == "" {
		return nil
	}
	var out []Quota
	for item := range strings.SplitSeq(quoted.ReplaceAllString(header, ""), ",") {
		var q Quota
		for param := range strings.SplitSeq(item, ";") {
			name, value, _ := strings.Cut(param, "=")
			v, ok := number(value)
			switch strings.TrimSpace(name) {
			case "r":
				q.Remaining, q.Known = count(v), ok
			case "t":
				q.Reset = seconds(v)
			}
		}
		out = append(out, q)
	}
	return out
}

// usage is what the Graph API says has been used, in percent of each limit
// (its reference, "Rate limits"). The business form also says when access is
// back; the other counts over the hour that passed.
type usage struct {
	Calls   float64 `json:"call_count"`
	CPU     float64 `json:"total_cputime"`
	Time    float64 `json:"total_time"`
	Minutes float64 `json:"estimated_time_to_regain_access"`
}

func (u usage) quota() Quota {
	q := Quota{Limit: 100, Remaining: 100 - count(math.Ceil(max(u.Calls, u.CPU, u.Time))), Known: true}
	if q.Remaining <= 0 {
		q.Remaining, q.Reset = 0, seconds(u.Minutes*60)
	}
	return q
}

func graphUsage(h http.Header) []Quota {
	var out []Quota
	var app usage
	if v := h.Get("X-App-Usage"); v != "" && json.Unmarshal([]byte(v), &app) == nil {
		out = append(out, app.quota())
	}
	var business map[string][]usage // by business id
	if v := h.Get("X-Business-Use-Case-Usage"); v != "" && json.Unmarshal([]byte(v), &business) == nil {
		for _, list := range business {
			for _, u := range list {
				out = append(out, u.quota())
			}
		}
	}
	return out
}

// number reads the first number of a header. Below zero, as RapidAPI says
// when a plan allows more than it includes, is zero.
func number(s string) (float64, bool) {
	if i := strings.IndexAny(s, ",;"); i >= 0 {
		s = s[:i]
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false
	}
	return max(v, 0), true
}

func count(v float64) int { return int(min(max(v, 0), math.MaxInt32)) }

// until is a reset in seconds from now or, when it is far too many, as a
// Unix time.
func until(v float64, now time.Time) time.Duration {
	if v > 1e9 {
		v -= float64(now.UnixNano()) / 1e9
	}
	return seconds(v)
}

func seconds(v float64) time.Duration {
	return bounded(time.Duration(min(max(v, 0), longestWait.Seconds()) * float64(time.Second)))
}

// longestWait is how long any header is believed: whatever it says, a source
// is asked again a day later.
const longestWait = 24 * time.Hour

func bounded(d time.Duration) time.Duration { return min(max(d, 0), longestWait) }
