// Package processing turns what an answer said into facts: it derives values,
// keeps bad data out, names each event after its cause and commits all events
// of an answer at once. It is pure.
package processing

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/tidwall/gjson"

	"beat/processors/processing/keywords"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/flow"
	"beat/streams/social"
)

// A Processing is the stage.
type Processing struct{ lg *slog.Logger }

// New returns the stage.
func New(lg *slog.Logger) *Processing { return &Processing{lg} }

// Handle is the bus.Handler of batches.
func (p *Processing) Handle(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
	b, err := social.UnmarshalBatch(m.Data)
	if err != nil {
		return nil, bus.Park("malformed", err)
	}
	kept, bad := Derive(b)
	var outs []bus.Out
	for _, e := range bad {
		p.lg.Warn("observation kept out", "raw", b.Raw.ID, "err", e)
	}
	if len(bad) > 0 {
		outs = append(outs, bus.Letter(m, "process", "implausible", bad[0]))
	}
	commits := Commits(b, kept)
	for _, c := range commits {
		data, err := c.Marshal()
		if err != nil {
			return nil, err
		}
		outs = append(outs, bus.Out{
			Subject: event.Subject(shard(b, c), b.Ask.Task.Platform, event.KindCommit), ID: c.MsgID(), Data: data,
		})
	}
	return outs, nil
}

// Derive fills in owners, collaborations and keywords (contract/flows.md 6.4,
// 9.6) and turns down logs with impossible values. A count of -1 is the
// providers' way to say hidden: it becomes unknown.
func Derive(b social.Batch) (kept []social.Log, bad []error) {
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
		if err := plausible(&l); err != nil {
			bad = append(bad, err)
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

// plausible checks the counts of a log.
func plausible(l *social.Log) error {
	if l.Key == "" {
		return fmt.Errorf("%s without an identity", l.Kind)
	}
	copied := false
	for i, kv := range l.Metrics {
		if len(kv.Value) == 0 || kv.Value[0] != '-' {
			continue
		}
		n := gjson.ParseBytes(kv.Value).Num
		switch {
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
			parts = append(parts, event.Commit{})
		}
		parts[i].Events = append(parts[i].Events, event.Event{ID: event.LogID(b.Raw.ID, l), Log: l})
	}
	if len(parts) == 0 {
		parts = append(parts, event.Commit{})
	}
	for i := range parts {
		c := &parts[i]
		c.Task, c.Seq, c.Part, c.Parts = b.Ask.Task, b.Ask.Seq, i, len(parts)
		c.Final, c.Raw, c.Fetch, c.Parser = b.Final, b.Raw, b.Ask.Fetch, b.Parser
	}
	return parts
}

func shard(b social.Batch, c event.Commit) int {
	if len(c.Events) > 0 {
		return event.Shard(lane(b, c.Events[0].Log))
	}
	return event.Shard("task:" + strconv.FormatInt(b.Ask.Task.ID, 10))
}
