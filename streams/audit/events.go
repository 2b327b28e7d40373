package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// events: each observation before the position of the projections has its row, and
// each message before that of the bridge its receipt.
func (a *auditor) events(ctx context.Context) ([]*Check, error) {
	c := &Check{Name: "observations of EVENTS", Do: "rows were deleted, or the position was moved by hand"}
	t := &teller{auditor: a, Check: Check{Name: "messages to RabbitMQ",
		Do: "the bridge's position was moved by hand, or a message was left out: set stream_position.applied and told of reader bridge back, and it tells all again"}}
	var batch []observation
	// To the end of the stream, whatever the window: of an answer that became a
	// dead letter the commit may come much later.
	scan := bus.Scan{Stream: bus.Events, Since: a.Since}
	err := scan.Each(ctx, a.JS, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		seq, inside := meta.Sequence.Stream, a.in(meta.Timestamp)
		shard, kind, err := event.ParseSubject(m.Subject())
		if err != nil || kind != event.KindCommit && !a.Bridge {
			return err
		}
		data, err := bus.Unpack(m.Headers(), m.Data())
		if err != nil {
			return err
		}
		if a.Bridge {
			t.message(m.Subject(), data, shard, seq, meta.Timestamp)
		}
		if kind != event.KindCommit {
			return nil
		}
		commit, err := event.UnmarshalCommit(data)
		if err != nil {
			return err
		}
		a.commits.add(commit.Raw.ID)
		if !inside {
			return nil
		}
		h := a.hour(meta.Timestamp)
		if seq > a.projected[shard] {
			h.UnderWay++
			return nil
		}
		for _, e := range commit.Events {
			id := e.ID
			if commit.Replay != nil {
				if id = event.LogID(commit.Raw.ID, e.Log); e.Gone {
					continue
				}
			}
			c.Looked++
			h.Events++
			batch = append(batch, observation{id, e.Log.Kind, commit.Raw.At, h})
			// A copy: the key is a part of the whole message, which would stay.
			a.touched[entity{commit.Task.Platform, e.Log.Kind, strings.Clone(e.Log.Key)}] = true
		}
		if len(batch) >= 5000 {
			err = a.stored(ctx, c, batch)
			batch = batch[:0]
		}
		return err
	})
	if err == nil {
		err = a.stored(ctx, c, batch)
	}
	checks := []*Check{c}
	if a.Bridge {
		t.end()
		checks = append(checks, &t.Check)
	}
	return checks, err
}

// A teller compares what events demand with the receipts of the bridge.
type teller struct {
	*auditor
	Check
	begin uint64 // of what is read
	hours map[*stretch]map[*Hour]int
}

func (t *teller) message(subject string, data []byte, shard int, seq uint64, at time.Time) {
	if t.begin == 0 {
		t.begin, t.hours = seq, map[*stretch]map[*Hour]int{}
	}
	inside := t.in(at)
	if seq > t.told[shard] {
		if inside {
			t.hour(at).UnderWay++
		}
		return
	}
	all := t.stretches.of(shard, seq)
	if slices.ContainsFunc(all, func(s *stretch) bool { return !s.counted }) {
		return
	}
	msgs, err := bridge.Messages(subject, nil, data)
	if inside {
		t.Looked += len(msgs)
		h := t.hour(at)
		h.Messages += len(msgs)
		switch {
		case err != nil:
			t.miss(h, "message %d of EVENTS cannot be told: %v", seq, err)
		case len(all) == 0:
			for _, m := range msgs {
				t.miss(h, "%s %s, message %d of EVENTS: never confirmed", m.Key, m.ID, seq)
			}
		default:
			h.Told += len(msgs)
			for _, s := range all {
				if t.hours[s] == nil {
					t.hours[s] = map[*Hour]int{}
				}
				t.hours[s][h] += len(msgs)
			}
		}
	}
	for _, s := range all {
		for _, m := range msgs {
			s.demanded.add(m)
		}
	}
}

// end compares the stretches that were read from their beginning.
func (t *teller) end() {
	for s, hours := range t.hours {
		if s.first < t.begin || s.demanded == s.confirmed {
			continue
		}
		var h *Hour
		for of, n := range hours {
			if h == nil || n > hours[h] {
				h = of
			}
		}
		where := fmt.Sprintf("shard %d, messages %d to %d of EVENTS", s.shard, s.from+1, s.to)
		switch lost := s.demanded.messages - s.confirmed.messages; {
		case lost == 1:
			h.Told--
			t.miss(h, "%s, of %s: not confirmed", s.demanded.without(s.confirmed), where)
		default:
			t.miss(h, "%s: %d messages were confirmed, they demand %d", where, s.confirmed.messages, s.demanded.messages)
		}
	}
}

// An observation is an event and the table that has its row.
type observation struct {
	id   string
	kind social.Kind
	at   time.Time
	hour *Hour
}

var rowsSQL = map[social.Kind]string{
	social.Profile:      `SELECT FROM profile_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Insights:     `SELECT FROM profile_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Post:         `SELECT FROM post_log l WHERE l.event_id = u.id::uuid AND l."timestamp" = u.at`,
	social.Activity:     `SELECT FROM post_activity_log l WHERE l.event_id = u.id::uuid`,
	social.Relationship: `SELECT FROM profile_relationship_log l WHERE l.event_id = u.id::uuid`,
}

// stored names the observations that have no row.
func (a *auditor) stored(ctx context.Context, c *Check, all []observation) error {
	ids, ats := map[social.Kind][]string{}, map[social.Kind][]time.Time{}
	hours := map[string]*Hour{}
	for _, o := range all {
		hours[o.id] = o.hour
		o.hour.Stored++
		ids[o.kind], ats[o.kind] = append(ids[o.kind], o.id), append(ats[o.kind], o.at)
	}
	for kind, list := range ids {
		rows, err := a.DB.Query(ctx, `SELECT u.id FROM unnest($1::text[], $2::timestamp[]) AS u(id, at) WHERE NOT EXISTS (`+rowsSQL[kind]+`)`, list, ats[kind])
		if err != nil {
			return fmt.Errorf("look for rows of %s: %w", kind, err)
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				rows.Close()
				return err
			}
			h := hours[id]
			h.Stored--
			c.miss(h, "%s %s", kind, id)
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
	}
	return nil
}
