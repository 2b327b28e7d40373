// Package processing turns what an answer said into facts: it derives values,
// keeps bad data out, names each event after its cause and commits all events
// of an answer at once. It is pure but for its Guard.
package processing

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tidwall/gjson"

	"beat/processors/processing/keywords"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/social"
)

// A Guard keeps observations back that are possible but hardly true. Asked again
// about the same batch, it decides as before.
type Guard interface {
	// Check returns those of logs, which were derived from b, that may pass.
	Check(ctx context.Context, b social.Batch, logs []social.Log) ([]social.Log, error)
}

// A Processing is the stage.
type Processing struct {
	lg       *slog.Logger
	guard    Guard // may be nil
	rejected *prometheus.CounterVec
}

// New returns the stage. Without a guard all that is possible passes.
func New(lg *slog.Logger, guard Guard) *Processing {
	return &Processing{lg, guard, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "beat_observations_rejected_total", Help: "Observations with impossible values, which were kept out.",
	}, []string{"kind"})}
}

// Collectors are to be registered by the process, once.
func (p *Processing) Collectors() []prometheus.Collector { return []prometheus.Collector{p.rejected} }

// patience is how long a message waits for a guard that cannot answer. The
// fault is not the message's: it waits as often as it has to.
const patience = 10 * time.Second

// Handle is the bus.Handler of batches.
func (p *Processing) Handle(ctx context.Context, m *bus.Msg) ([]bus.Out, error) {
	b, err := social.UnmarshalBatch(m.Data)
	if err != nil {
		return nil, bus.Park("malformed", err)
	}
	kept, bad := Derive(b)
	var outs []bus.Out
	for _, e := range bad {
		p.lg.Warn("observation kept out", "raw", b.Raw.ID, "err", e)
		p.rejected.WithLabelValues(string(e.Kind)).Inc()
	}
	if len(bad) > 0 {
		outs = append(outs, bus.Letter(m, "process", "implausible", bad[0]))
	}
	if p.guard != nil {
		if kept, err = p.guard.Check(ctx, b, kept); err != nil {
			return nil, bus.Later(patience, err)
		}
	}
	commits := Commits(b, kept)
	for _, c := range commits {
		data, err := c.Marshal()
		if err != nil {
			return nil, err
		}
		outs = append(outs, bus.Out{
			Subject: c.Subject(), ID: c.MsgID(), Data: data,
		})
	}
	return outs, nil
}

// A Reject is a log that was turned down, as an error.
type Reject struct {
	Kind social.Kind
	err  error
}

func (e Reject) Error() string { return e.err.Error() }

// Derive fills in owners, collaborations and keywords (contract/flows.md 6.4,
// 9.6) and turns down logs with impossible values. A count of -1 is the
// providers' way to say hidden: it becomes unknown.
func Derive(b social.Batch) (kept []social.Log, bad []Reject) {
	refreshed := b.Ask.State.ProfileID
	for _, l := range b.Logs {
		if l.Kind == social.Profile && refreshed == "" && b.Ask.Task.Platform == social.Instagram {
			refreshed = l.Key
		}
	}
	logs := b.Logs
	if f, ok := flow.ByName(b.Ask.Task.Flow); ok {
		logs = f.Made(b)
	}
	kept = make([]social.Log, 0, len(logs))
	for _, l := range logs {
		if err := plausible(&l, b.Ask.Task.Platform); err != nil {
			bad = append(bad, Reject{l.Kind, err})
			continue
		}
		switch l.Kind {
		case social.Post:
			derivePost(&l, b.Ask.Task.Platform, refreshed)
		case social.Activity:
			addKeywords(&l, "text")
		}
		kept = append(kept, l)
	}
	return kept, bad
}

func derivePost(l *social.Log, platform social.Platform, refreshed string) {
	text := "title"
	if platform == social.Instagram {
		text = "caption"
		if owner := l.Dimensions.Text("profile_id"); owner != "" {
			l.Owner = owner
			if refreshed != "" && owner != refreshed {
				l.Dimensions = append(l.Dimensions, social.KV{Key: "collab_profile_id", Value: social.String(refreshed)})
			}
		}
		if l.Owner == "" {
			l.Owner = refreshed
		}
	}
	addKeywords(l, text)
}

// addKeywords appends those of the text under a key, to a log that says
// anything at all.
func addKeywords(l *social.Log, text string) {
	if len(l.Dimensions) > 0 {
		l.Dimensions = append(l.Dimensions, social.KV{Key: "keywords", Value: social.String(keywords.Of(l.Dimensions.Text(text)))})
	}
}

// plausible checks the identity and the counts of a log.
func plausible(l *social.Log, platform social.Platform) error {
	switch {
	case l.Key == "":
		return fmt.Errorf("%s without an identity", l.Kind)
	case l.Handle == "" && l.Kind == social.Profile && platform == social.Instagram:
		return fmt.Errorf("%s %s without a handle", l.Kind, l.Key)
	}
	copied := false
	for i, kv := range l.Metrics {
		switch n, ok := number(kv.Value); {
		case !ok && (l.Kind == social.Profile || l.Kind == social.Post): // others have lists among their metrics
			return fmt.Errorf("%s %s: metric %s is %s, want a count", l.Kind, l.Key, kv.Key, clip(kv.Value))
		case n == -1:
			if !copied {
				l.Metrics, copied = append(social.KVs(nil), l.Metrics...), true
			}
			l.Metrics[i].Value = social.Null
		case n < 0:
			return fmt.Errorf("%s %s: metric %s is %s, want a count", l.Kind, l.Key, kv.Key, kv.Value)
		}
	}
	return nil
}

// number is v, 0 for null. ok is false when v is no number, and no text of one
// either, which the tables would take for one.
func number(v []byte) (n float64, ok bool) {
	if len(v) == 0 || v[0] == 'n' || v[0] >= '0' && v[0] <= '9' {
		return 0, true // nearly all: it has no sign, so it need not be read
	}
	r := gjson.ParseBytes(v)
	if r.Type == gjson.String {
		if !gjson.Valid(r.Str) {
			return 0, false
		}
		r = gjson.Parse(r.Str)
	}
	return r.Num, r.Type == gjson.Number
}

// clip bounds a value for a message.
func clip(v []byte) string {
	if len(v) > 64 {
		return strings.ToValidUTF8(string(v[:64]), "") + "…"
	}
	return string(v)
}

// lane is the entity that decides the order of a log: the profile it is of, or
// what was asked about, so that a page of people stays in one piece.
func lane(b social.Batch, l social.Log) string {
	switch {
	case l.Kind == social.Post && l.Owner != "":
		return l.Owner
	case l.Kind == social.Relationship:
		return b.Ask.Key()
	}
	return l.Key
}

// Commits deals the logs of a batch out to the parts of its commit, one for
// each shard that they touch, in the order of the first.
func Commits(b social.Batch, logs []social.Log) []event.Commit {
	var parts []event.Commit
	at := map[int]int{}
	for _, l := range logs {
		s := event.Shard(lane(b, l))
		i, ok := at[s]
		if !ok {
			i = len(parts)
			at[s] = i
			parts = append(parts, event.Commit{Lane: lane(b, l)})
		}
		parts[i].Events = append(parts[i].Events, event.Event{ID: event.LogID(b.Raw.ID, l), Log: l})
	}
	if len(parts) == 0 {
		parts = append(parts, event.Commit{})
	}
	for i := range parts {
		c := &parts[i]
		c.Task, c.Seq, c.Part, c.Parts = b.Ask.Task, b.Ask.Seq, i, len(parts)
		c.Final, c.Raw, c.Fetch, c.Parser, c.Answer = b.Final, b.Raw, b.Ask.Fetch, b.Parser, b.Digest
	}
	return parts
}
