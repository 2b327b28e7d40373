package bridge

import "github.com/prometheus/client_golang/prometheus"

// metrics are what an operator sees. The label key is a routing key.
type metrics struct {
	keys       []keyMetrics // by row of Keys
	reconnects prometheus.Counter
	up         prometheus.Gauge
	blocked    prometheus.Gauge
	all        []prometheus.Collector
}

type keyMetrics struct{ confirmed, returned, refused, dropped prometheus.Counter }

func newMetrics() *metrics {
	m := &metrics{
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beat_bridge_reconnects_total", Help: "Connections to RabbitMQ that were lost."}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beat_bridge_up", Help: "1 while connected to RabbitMQ."}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beat_bridge_blocked", Help: "1 while RabbitMQ takes no messages for lack of memory or disk."}),
	}
	vec := func(name, help string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"key"})
		m.all = append(m.all, v)
		return v
	}
	confirmed := vec("beat_bridge_confirmed_total", "Messages that RabbitMQ confirmed and a queue took.")
	returned := vec("beat_bridge_returned_total", "Messages that no queue took, each try counted. Alert on required keys.")
	refused := vec("beat_bridge_refused_total", "Messages that RabbitMQ refused with basic.nack.")
	dropped := vec("beat_bridge_dropped_total", "Messages that were given up because identity.dx is missing.")
	for _, k := range Keys {
		m.keys = append(m.keys, keyMetrics{
			confirmed.WithLabelValues(k.Key), returned.WithLabelValues(k.Key),
			refused.WithLabelValues(k.Key), dropped.WithLabelValues(k.Key)})
	}
	m.all = append(m.all, m.reconnects, m.up, m.blocked)
	return m
}

// Collectors are the publisher's metrics, to be registered once.
func (p *Publisher) Collectors() []prometheus.Collector { return p.metrics.all }
