package credential

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beat/streams/social"
)

// A State is how the rows of one source are.
type State struct {
	Source   string          `json:"source"`
	Platform social.Platform `json:"platform"`
	Enabled  int             `json:"enabled"`  // rows, of which the next three are parts
	Ready    int             `json:"ready"`    // can be handed out now
	Resting  int             `json:"resting"`  // until disabled_till
	Unusable int             `json:"unusable"` // see Bad
	Down     bool            `json:"down"`     // some rest because the source does not answer
	Refused  int             `json:"refused"`  // rows disabled, or without data access
	Next     time.Time       `json:"next"`     // when the first is ready; zero when some are, or none will be
}

// States is the state of every source that has a provider, by name.
func (s *Store) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	out := make([]State, 0, len(s.known))
	for _, source := range slices.Sorted(maps.Keys(s.known)) {
		st := State{Source: source, Platform: s.known[source].Platform}
		for _, r := range s.rows[source] {
			switch {
			case !r.enabled || r.expired:
				st.Refused++
				continue
			case r.bad != "":
				st.Unusable++
			case r.till.After(now):
				st.Resting++
				st.Down = st.Down || r.down(now)
				if st.Next.IsZero() || r.till.Before(st.Next) {
					st.Next = r.till
				}
			default:
				st.Ready++
			}
			st.Enabled++
		}
		if st.Ready > 0 {
			st.Next = time.Time{}
		}
		out = append(out, st)
	}
	return out
}

// Alert says for every platform whether more than half of its credentials
// rest or are out: refused, without data access or unusable. Rows that a person
// disabled do not count.
func (s *Store) Alert() map[social.Platform]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	all, out := map[social.Platform]int{}, map[social.Platform]int{}
	alert := map[social.Platform]bool{}
	for source, p := range s.known {
		for _, r := range s.rows[source] {
			if !r.enabled && !r.rejected {
				continue
			}
			all[p.Platform]++
			if !r.usable() || r.till.After(now) {
				out[p.Platform]++
			}
		}
		alert[p.Platform] = 2*out[p.Platform] > all[p.Platform]
	}
	return alert
}

// Collectors are to be registered by the process, once.
func (s *Store) Collectors() []prometheus.Collector { return []prometheus.Collector{gauges{s}} }

// gauges asks the store whenever metrics are read: a rest ends by itself.
type gauges struct{ s *Store }

var (
	rowsDesc  = prometheus.NewDesc("beat_credential_rows", "Credentials by state.", []string{"source", "state"}, nil)
	alertDesc = prometheus.NewDesc("beat_credential_alert", "1 when more than half of a platform's credentials rest or are out.",
		[]string{"platform"}, nil)
)

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- rowsDesc
	ch <- alertDesc
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for _, st := range g.s.States() {
		gauge(rowsDesc, st.Ready, st.Source, "ready")
		gauge(rowsDesc, st.Resting, st.Source, "resting")
		gauge(rowsDesc, st.Refused, st.Source, "refused")
		gauge(rowsDesc, st.Unusable, st.Source, "unusable")
	}
	for platform, on := range g.s.Alert() {
		v := 0
		if on {
			v = 1
		}
		gauge(alertDesc, v, string(platform))
	}
}
