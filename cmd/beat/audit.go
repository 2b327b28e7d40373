package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"beat/streams/audit"
	"beat/streams/bus"
	"beat/streams/flow"
)

type auditFlags struct {
	AuditEvery time.Duration `help:"Between two looks for hours that can be audited; 0 turns that off." env:"BEAT_AUDIT_EVERY" default:"10m"`

	auditHour time.Duration // how long what is audited at once is; default an hour; for tests
}

type auditCmd struct {
	deps
	Since  string        `help:"Look at what was stored since: an age such as 24h, or a time." default:"24h" placeholder:"AGE|TIME"`
	Hour   string        `help:"Look at this hour only, such as 2006-01-02T15." placeholder:"TIME"`
	Grace  time.Duration `help:"What is younger may still be under way." default:"10m"`
	Sample int           `help:"Compare the rows of so many entities only, another choice each time; 0 all, which takes half a second per thousand." placeholder:"N"`
	Bridge string        `help:"Whether RabbitMQ has to have been told: yes, no, or by default if the bridge has ever run." enum:"auto,yes,no" default:"auto"`
}

// Run exits with 1 when something is missing, so that it can be watched.
func (c *auditCmd) Run(ctx context.Context, g *globals) error {
	since, err := moment("since", c.Since, time.Now().UTC())
	if err != nil {
		return err
	}
	cfg := audit.Config{Since: since, Grace: c.Grace, Sample: c.Sample}
	if c.Hour != "" {
		at, err := time.Parse("2006-01-02T15", strings.Replace(c.Hour, " ", "T", 1))
		if err != nil {
			return usageError{fmt.Errorf("--hour %q: want an hour in UTC such as 2006-01-02T15", c.Hour)}
		}
		cfg.Since, cfg.Until = at, at.Add(time.Hour)
	}
	a, err := replaying(ctx, g, c.deps)
	if err != nil {
		return err
	}
	defer a.Close()
	if c.Bridge == "auto" {
		cfg.Bridge, err = a.bridges(ctx)
	} else {
		cfg.Bridge = c.Bridge == "yes"
	}
	if err != nil {
		return err
	}
	r, err := a.audit(ctx, cfg)
	if err != nil {
		return err
	}
	if g.JSON {
		if err := show(g.stdout, r); err != nil {
			return err
		}
	} else {
		printAudit(g, r)
	}
	if n := r.Missing(); n > 0 {
		return fmt.Errorf("%d are missing or wrong", n)
	}
	return nil
}

func printAudit(g *globals, r *audit.Report) {
	var rows [][]any
	for _, h := range r.Hours {
		rows = append(rows, []any{h.Hour.Format("2006-01-02 15h"), h.Tasks, h.Complete, h.Failed, h.Live, h.Answers, h.Parsed, h.Dead, h.Skipped,
			h.Events, h.Stored, h.Messages, h.Told, h.UnderWay, h.Missing})
	}
	grid(g.stdout, []any{"hour", "tasks", "complete", "failed", "live", "answers", "parsed", "dead", "skipped",
		"events", "stored", "messages", "told", "under way", "missing"}, rows)
	rows = nil
	for _, check := range r.Checks {
		rows = append(rows, []any{check.Name, check.Looked, check.Missing})
	}
	grid(g.stdout, []any{"check", "looked at", "missing"}, rows)
	for _, check := range r.Checks {
		for _, id := range check.IDs {
			fmt.Fprintf(g.stdout, "%s: %s\n", check.Name, id)
		}
		if check.Missing > 0 {
			fmt.Fprintf(g.stdout, "  → %s\n", check.Do)
		}
	}
}

// audit makes one in what this process is connected to.
func (a *app) audit(ctx context.Context, cfg audit.Config) (*audit.Report, error) {
	cfg.DB, cfg.JS = a.db, a.js
	for _, consumer := range consumers(flow.All) {
		if consumer.Stream == bus.Raw {
			cfg.Parse = append(cfg.Parse, consumer.Durable)
		}
	}
	return audit.Run(ctx, cfg)
}

// bridges reports whether the bridge has ever run.
func (a *app) bridges(ctx context.Context) (ok bool, err error) {
	err = a.db.QueryRow(ctx, `SELECT EXISTS (SELECT FROM stream_position WHERE reader = 'bridge')`).Scan(&ok)
	return ok, err
}

// Of an hour that is audited by itself.
const (
	auditGrace  = 10 * time.Minute // after its end
	auditSample = 500              // entities whose rows are folded again: all would cost what the projections do
	auditWait   = 6 * time.Hour    // how long stages may take to reach its end, before it is audited as it is
	auditKeep   = 40 * 24 * time.Hour
)

type auditMetrics struct {
	missing *prometheus.GaugeVec
	last    prometheus.Gauge
	hours   prometheus.Counter
}

func newAuditMetrics() auditMetrics {
	return auditMetrics{
		missing: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "beat_audit_missing", Help: "What is missing of the last 24 audited hours, by check; of the process that audits."}, []string{"check"}),
		last:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "beat_audit_last_hour_timestamp_seconds", Help: "End of the last hour that was audited, by any process."}),
		hours:   prometheus.NewCounter(prometheus.CounterOpts{Name: "beat_audit_hours_total", Help: "Hours that this process has audited."}),
	}
}

// audits audits each hour once it is over, in one process of the fleet. What it has
// done is in table beat_audit; it begins with the hour in which it first runs.
func (a *app) audits(ctx context.Context) error {
	span, grace := time.Hour, auditGrace
	if a.cfg.auditHour > 0 {
		span, grace = a.cfg.auditHour, a.cfg.auditHour
	}
	m := newAuditMetrics()
	a.reg.MustRegister(m.missing, m.last, m.hours)
	return a.alone(ctx, "audit", a.cfg.AuditEvery, func(ctx context.Context) error {
		for ctx.Err() == nil {
			more, err := a.auditNext(ctx, m, span, grace)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// auditNext audits the next hour; more tells whether there may be another.
func (a *app) auditNext(ctx context.Context, m auditMetrics, span, grace time.Duration) (more bool, err error) {
	var hour time.Time
	now := time.Now().UTC()
	switch err := a.db.QueryRow(ctx, `SELECT hour FROM beat_audit ORDER BY hour DESC LIMIT 1`).Scan(&hour); {
	case errors.Is(err, pgx.ErrNoRows): // what was before is not known to be whole
		_, err := a.db.Exec(ctx, `INSERT INTO beat_audit (hour, audited_at, missing, report) VALUES ($1, $2, 0, '{}')`, now.Truncate(span).Add(-span), now)
		return false, err
	case err != nil:
		return false, err
	}
	m.last.Set(float64(hour.Add(span).Unix()))
	hour = hour.Add(span)
	over := hour.Add(span + grace)
	if now.Before(over) {
		return false, nil
	}
	bridge, err := a.bridges(ctx)
	if err != nil {
		return false, err
	}
	r, err := a.audit(ctx, audit.Config{Since: hour, Until: hour.Add(span), Grace: grace, Bridge: bridge, Sample: auditSample})
	if err != nil {
		return false, err
	}
	if n := r.UnderWay(); n > 0 && now.Before(over.Add(auditWait)) {
		a.lg.Info("an hour is not audited yet: stages have yet to reach its end", "hour", hour, "under_way", n)
		return false, nil
	}
	missing := r.Missing()
	if _, err := a.db.Exec(ctx, `INSERT INTO beat_audit (hour, audited_at, missing, report) VALUES ($1, now() AT TIME ZONE 'UTC', $2, $3) ON CONFLICT DO NOTHING`,
		hour, missing, r); err != nil {
		return false, err
	}
	for _, sql := range []string{`DELETE FROM beat_audit WHERE hour < $1`, `DELETE FROM bridge_receipt WHERE since < $1`} {
		if _, err := a.db.Exec(ctx, sql, now.Add(-auditKeep)); err != nil {
			return false, err
		}
	}
	m.hours.Inc()
	m.last.Set(float64(hour.Add(span).Unix()))
	for _, c := range r.Checks {
		if c.Missing > 0 {
			a.lg.Error("the audit misses something", "hour", hour, "check", c.Name, "missing", c.Missing, "ids", strings.Join(c.IDs[:min(len(c.IDs), 5)], "; "), "do", c.Do)
		}
	}
	return true, a.auditTotals(ctx, m, now)
}

// auditTotals sets the metrics to what the hours of the last day miss.
func (a *app) auditTotals(ctx context.Context, m auditMetrics, now time.Time) error {
	rows, err := a.db.Query(ctx, `
SELECT c ->> 'check', sum((c ->> 'missing')::bigint) FROM beat_audit, jsonb_array_elements(report -> 'checks') c WHERE hour > $1 GROUP BY 1`, now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	m.missing.Reset()
	var check string
	var n float64
	_, err = pgx.ForEachRow(rows, []any{&check, &n}, func() error {
		m.missing.WithLabelValues(check).Set(n)
		return nil
	})
	return err
}
