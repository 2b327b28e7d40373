package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"beat/streams/bus"
)

// healthFor is how long a look at the health is good for: scrapes, /readyz and
// the log share it.
const healthFor = 2 * time.Second

// A Health says how far the archive is behind RAW. Any process can tell, the one
// that writes or another.
type Health struct {
	Lag    time.Duration `json:"lag"`             // age of the oldest answer that is not archived, 0 for none
	Behind uint64        `json:"behind"`          // answers that are not archived
	Bytes  int64         `json:"bytes"`           // of the archive
	Full   float64       `json:"full"`            // share of what RAW may hold, 0 if it has no limit
	Alert  string        `json:"alert,omitempty"` // what a person should do something about
}

type health struct {
	mu   sync.Mutex
	at   time.Time
	last Health
	err  error
}

// Health looks, or remembers a look of a moment ago.
func (a *Archive) Health(ctx context.Context) (Health, error) {
	a.health.mu.Lock()
	defer a.health.mu.Unlock()
	if time.Since(a.health.at) > healthFor {
		a.health.last, a.health.err = a.look(ctx)
		a.health.at = time.Now()
	}
	return a.health.last, a.health.err
}

func (a *Archive) look(ctx context.Context) (h Health, err error) {
	p, err := a.place(ctx)
	if err != nil {
		return h, err
	}
	if h.Bytes, err = a.size(ctx); err != nil {
		return h, err
	}
	if h.Full, err = a.fullness(ctx, p.stream); err != nil {
		return h, err
	}
	if next := p.next(); p.state.LastSeq >= next {
		h.Behind = p.state.LastSeq - next + 1
		m, err := p.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(allRaw)) // the first from there on
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return h, fmt.Errorf("archive: message %d of %s: %w", next, bus.Raw, err)
		}
		if err == nil {
			h.Lag = max(time.Since(m.Time), 0)
		}
	}
	var alerts []string
	if h.Lag > a.cfg.Alert {
		alerts = append(alerts, fmt.Sprintf("the oldest of %d raw answers that are not archived is %s old: see the log of role archive, and S3",
			h.Behind, h.Lag.Round(time.Second)))
	}
	if h.Full > 0.9 {
		alerts = append(alerts, fmt.Sprintf("stream %s, or its server, is %.0f %% full: at 100 %% no more tasks are claimed", bus.Raw, h.Full*100))
	}
	h.Alert = strings.Join(alerts, "; ")
	return h, nil
}

type metrics struct {
	claims                     *prometheus.CounterVec
	messages, failures, missed prometheus.Counter
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return metrics{
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "beat_archive_claims_total",
			Help: "Large bodies, by what became of them: stored, in the message, refused."}, []string{"result"}),
		messages: counter("beat_archive_messages_total", "Raw answers archived by this process."),
		failures: counter("beat_archive_failures_total", "Requests to S3 that are tried again."),
		missed:   counter("beat_archive_missed_total", "Raw answers that went from the stream before they were archived."),
	}
}

// Collectors are the metrics, of any process. The gauges are of the whole
// installation; without an archive there are none.
func (a *Archive) Collectors() []prometheus.Collector {
	if a.store == nil {
		return nil
	}
	gauge := func(name, help string, f func(Health) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			h, _ := a.Health(ctx) //nolint:errcheck // zero then; what does not answer is told by its own metrics
			return f(h)
		})
	}
	return []prometheus.Collector{
		a.metrics.claims, a.metrics.messages, a.metrics.failures, a.metrics.missed,
		gauge("beat_archive_lag_seconds", "Age of the oldest raw answer that is not archived.", func(h Health) float64 { return h.Lag.Seconds() }),
		gauge("beat_archive_bytes", "Bytes of the archive.", func(h Health) float64 { return float64(h.Bytes) }),
		gauge("beat_archive_alert", "1 if raw answers are not archived in time, or have no more room.", func(h Health) float64 {
			if h.Alert != "" {
				return 1
			}
			return 0
		}),
	}
}
