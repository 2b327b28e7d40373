package bus

import "github.com/prometheus/client_golang/prometheus"

// Metrics of publishers and routers; one value may serve several. No label ever
// holds an id or a subject.
type Metrics struct {
	Published *prometheus.CounterVec   // stream: messages the server has stored
	Batch     *prometheus.HistogramVec // stream, mode (single, atomic): messages per commit
	Delivered *prometheus.CounterVec   // route: messages handed to a handler, redeliveries included
	Acked     *prometheus.CounterVec   // route
	Naked     *prometheus.CounterVec   // route: will come again
	Parked    *prometheus.CounterVec   // route: dead letters
	Seconds   *prometheus.HistogramVec // route: handler and publishing of what it returned
}

// NewMetrics returns metrics that are not registered anywhere.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "beat", Subsystem: "bus", Name: name, Help: help}, labels)
	}
	return &Metrics{
		Published: counter("published_total", "Messages stored.", "stream"),
		Batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "beat", Subsystem: "bus", Name: "commit_messages",
			Help:    "Messages per commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}, []string{"stream", "mode"}),
		Delivered: counter("delivered_total", "Messages handed to a handler.", "route"),
		Acked:     counter("acked_total", "Messages done with.", "route"),
		Naked:     counter("naked_total", "Messages given back.", "route"),
		Parked:    counter("parked_total", "Messages dead-lettered.", "route"),
		Seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "beat", Subsystem: "bus", Name: "handler_seconds",
			Help:    "Time of a handler, publishing of its messages included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10), // 0.5 ms to 2 min
		}, []string{"route"}),
	}
}

// Collectors are to be registered by the process, once.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.Published, m.Batch, m.Delivered, m.Acked, m.Naked, m.Parked, m.Seconds}
}
