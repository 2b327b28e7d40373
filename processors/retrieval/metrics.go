package retrieval

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the calls. Labels are sources and verdicts, both closed sets.
type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beat_provider_calls_total", Help: "Calls of providers by what their answer means; ok, or why it was not parsed.",
		}, []string{"provider", "verdict"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beat_provider_call_seconds", Help: "Time from sending a call to the end of its answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"provider"}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.calls, m.seconds}
}

func (m *metrics) count(provider, verdict string, took time.Duration) {
	m.calls.WithLabelValues(provider, verdict).Inc()
	m.seconds.WithLabelValues(provider).Observe(took.Seconds())
}
