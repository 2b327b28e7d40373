package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"beat/processors/processing"
	"beat/streams/event"
	"beat/streams/social"
)

// A change is an answer that reads otherwise than before.
type change struct {
	reading
	events []difference
}

// A difference is one observation that is new, another, or gone.
type difference struct {
	id     string // of the row
	log    social.Log
	digest int64
	gone   bool
	before *stored // nil: new
}

// compare says what of an answer differs from its observations. Rows from before
// digests differ until they are looked at, see settle.
func compare(x *reading, logs []social.Log, before observations) *change {
	c := &change{reading: *x}
	known := map[string]*stored{}
	for _, s := range before {
		known[s.event] = s
	}
	said := map[string]bool{}
	for _, l := range logs {
		id := event.LogID(x.Raw.ID, l)
		if said[id] {
			continue
		}
		said[id] = true
		digest := l.Digest(l.Dimensions.AppendPairs(nil), l.Metrics.AppendPairs(nil))
		s := known[id]
		if s != nil && (!s.gone && s.digest == digest || s.answer == event.Withdrawn) {
			continue
		}
		c.events = append(c.events, difference{id: id, log: l, digest: digest, before: s})
	}
	for _, s := range before {
		if !said[s.event] && !s.gone {
			c.events = append(c.events, difference{id: s.event, gone: true, before: s})
		}
	}
	return c
}

// settle looks at what differs, tells the report, and drops from the changes
// what is the same after all or is not to be brought back.
func (r *Replayer) settle(ctx context.Context, changes []*change, report *Report) error {
	wanted := map[*stored]time.Time{}
	var ids []string
	for _, c := range changes {
		for _, d := range c.events {
			ids = append(ids, d.id)
			if d.before != nil {
				wanted[d.before] = c.Raw.At
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := r.contents(ctx, wanted); err != nil {
		return err
	}
	var held map[string]bool
	if r.cfg.Held != nil {
		var err error
		if held, err = r.cfg.Held(ctx, ids); err != nil {
			return err
		}
	}
	for _, c := range changes {
		c.events = slices.DeleteFunc(c.events, func(d difference) bool {
			return held[d.id] && d.before == nil || d.before != nil && !d.gone && !d.before.gone && d.before.digest == 0 && same(d.log, d.before.log)
		})
		for i := range c.events {
			if d := &c.events[i]; d.gone {
				d.log = d.before.log
			}
		}
		if len(c.events) == 0 {
			report.Unchanged++
			continue
		}
		report.changed(c)
	}
	return nil
}

func same(a, b social.Log) bool {
	return a.Owner == b.Owner && len(fields(b, a)) == 0
}

// A delta is a field with two values; nil is that it is not there.
type delta struct {
	name     string
	old, new json.RawMessage
}

// fields are the dimensions and metrics in which two logs differ. In events a
// key counts once, with its last value.
func fields(old, now social.Log) []delta {
	var out []delta
	for _, pair := range []struct{ a, b social.KVs }{
		{old.Metrics, now.Metrics}, {old.Dimensions, now.Dimensions}, {old.TargetDimensions, now.TargetDimensions},
	} {
		seen := map[string]bool{}
		for _, kv := range slices.Concat(pair.a, pair.b) {
			if seen[kv.Key] {
				continue
			}
			seen[kv.Key] = true
			a, hadA := pair.a.Get(kv.Key)
			b, hasB := pair.b.Get(kv.Key)
			if hadA != hasB || hadA && !equal(a, b) {
				out = append(out, delta{kv.Key, a, b})
			}
		}
	}
	return out
}

// equal: the same value, whatever its form.
func equal(a, b json.RawMessage) bool {
	return bytes.Equal(a, b) || bytes.Equal(compact(a), compact(b)) || bytes.Equal(canonical(a), canonical(b))
}

// compact is v without blanks, as far as it is JSON.
func compact(v json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return v
	}
	return b.Bytes()
}

// canonical is v as Postgres would give it back from jsonb, but for blanks.
func canonical(v json.RawMessage) []byte {
	if len(v) > 0 && v[0] != '{' && v[0] != '[' && v[0] != '"' {
		return v
	}
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var any any
	if d.Decode(&any) != nil {
		return v
	}
	out, err := json.Marshal(any)
	if err != nil {
		return v
	}
	return out
}

// commits are the messages of EVENTS that make the change.
func (c *change) commits(run Run) []event.Commit {
	logs := make([]social.Log, len(c.events))
	at := map[string]*difference{}
	for i := range c.events {
		logs[i] = c.events[i].log
		at[event.LogID(c.Raw.ID, logs[i])] = &c.events[i]
	}
	b := c.batch
	b.Final = nil
	b.Ask.Task = social.TaskRef{ID: b.Ask.Task.ID, Flow: b.Ask.Task.Flow, Platform: b.Ask.Task.Platform}
	parts := processing.Commits(b, logs)
	for i := range parts {
		parts[i].Replay = &event.Replay{Job: run.Job, Publish: run.Publish}
		for j := range parts[i].Events {
			e := &parts[i].Events[j]
			d := at[e.ID]
			e.Gone = d.gone
			// A new id if and only if the content is new: that of the content.
			if d.before != nil {
				e.ID = event.ID(e.ID, d.digest)
			}
		}
	}
	return parts
}
