package listen

import "github.com/prometheus/client_golang/prometheus"

// metrics are what an operator sees. The label queue is a row of Queues.
type metrics struct {
	messages   *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	consumers  *prometheus.GaugeVec
	reconnects prometheus.Counter
	up         prometheus.Gauge
	blocked    prometheus.Gauge
	all        []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beat_listen_messages_total", Help: "Tries of messages by outcome: done, ignored, dead, again, given back."}, []string{"queue", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "beat_listen_handle_seconds", Help: "How long a try took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"queue"}),
		consumers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "beat_listen_consumers", Help: "Consumers that the broker has accepted. Alert on 0."}, []string{"queue"}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beat_listen_reconnects_total", Help: "Connections to RabbitMQ that were lost."}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beat_listen_up", Help: "1 while connected to RabbitMQ."}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beat_listen_blocked", Help: "1 while RabbitMQ blocks its publishers; listening goes on."}),
	}
	for _, q := range Queues {
		m.consumers.WithLabelValues(q.Name)
	}
	m.all = []prometheus.Collector{m.messages, m.seconds, m.consumers, m.reconnects, m.up, m.blocked}
	return m
}
