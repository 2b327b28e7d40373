// Package event is what the EVENTS stream holds: commits and task events.
//
// A commit is all that one parsed answer made true. Its events are sharded by
// the profile they belong to, so that one profile is always applied and told
// in order; a commit that touches several shards is several messages, its
// parts, which are published in one atomic batch: all or none.
//
// Every ID is derived from its cause, so doing something twice is doing it
// once. Old events are read for ever: members are added, never renamed.
package event

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"beat/streams/social"
)

// Shards is the number of ordered lanes of the EVENTS stream. It is part of
// the subjects of stored messages: to change it, drain the stream first.
const Shards = 16

// Shard is the lane of a profile or channel id (or, where that is unknown, of
// whatever identifies the entity).
func Shard(key string) int {
	h := fnv.New32a()
	h.Write([]byte(key)) //nolint:errcheck // never fails
	return int(h.Sum32() % Shards)
}

// The kinds of message, last token of the subject.
const (
	KindCommit = "commit"
	KindTask   = "task"
)

// Subject is where a message of kind goes.
func Subject(shard int, p social.Platform, kind string) string {
	platform := p.Lower()
	if platform == "" || strings.ContainsAny(platform, ".*> \t\r\n") {
		platform = "none"
	}
	return "beat.event." + strconv.Itoa(shard) + "." + platform + "." + kind
}

// Filter is the subjects of one shard.
func Filter(shard int) string { return "beat.event." + strconv.Itoa(shard) + ".>" }

// Parse splits a subject into shard and kind.
func ParseSubject(subject string) (shard int, kind string, err error) {
	t := strings.Split(subject, ".")
	if len(t) != 5 || t[0] != "beat" || t[1] != "event" {
		return 0, "", fmt.Errorf("event: subject %q is not beat.event.<shard>.<platform>.<kind>", subject)
	}
	shard, err = strconv.Atoi(t[2])
	if err != nil || shard < 0 || shard >= Shards {
		return 0, "", fmt.Errorf("event: subject %q has shard %q, want 0 to %d", subject, t[2], Shards-1)
	}
	return shard, t[4], nil
}

// space is the namespace of event ids; the value is arbitrary but fixed.
var space = uuid.MustParse("6f0f8f5e-2b0b-5c49-9d0a-6d2f5c1b7e10")

// ID is the event_id that consumers see: a UUID derived from its cause.
func ID(parts ...any) string {
	return uuid.NewSHA1(space, []byte(social.ID(parts...))).String()
}

// LogID is the ID of the event that an answer makes of l.
func LogID(raw string, l social.Log) string {
	switch l.Kind {
	case social.Activity:
		return ID(raw, string(l.Kind), l.Key, l.Type, l.Actor, l.Dimensions.Text("comment_id"))
	case social.Relationship:
		return ID(raw, string(l.Kind), l.Key, l.Target)
	}
	return ID(raw, string(l.Kind), l.Key)
}

// An Event is one observation of one entity, as RabbitMQ and the tables get
// it.
type Event struct {
	ID   string // UUID
	Log  social.Log
	Gone bool // of a replay: the parser does not say this any more
}

// A Commit is one part of what an answer made true.
type Commit struct {
	Task   social.TaskRef
	Seq    int // the answer's place in its task's run, from 0
	Part   int // 0 … Parts-1
	Parts  int
	Final  *social.Final // set in every part of the last answer
	Raw    social.Raw
	Fetch  social.Fetch // what was asked
	Parser int          // version of the parser; 0: there was no answer to be parsed
	Answer int64        // social.DigestLogs of what the parser made of the answer, 0 unknown
	Replay *Replay      // an earlier answer that was parsed again; nil: it is new
	Events []Event      // of a replay, those that changed
	Lane   string       // what decides the shard: the profile of its events; "" is the task. Not stored
}

// Withdrawn is the Answer of a commit that takes observations back because a
// person has said so: parsing their answers again does not bring them back.
const Withdrawn = -1

// A Replay says what is to be done with an answer that was parsed again. It
// belongs to no run.
type Replay struct {
	Job     int64 `json:"job"`
	Publish bool  `json:"publish,omitempty"` // RabbitMQ is told
}

// MsgID is the Nats-Msg-Id of the part.
func (c Commit) MsgID() string {
	if c.Replay != nil {
		return social.ID("replay", c.Replay.Job, c.Raw.ID, c.Parser, c.Part)
	}
	return social.ID("commit", c.Task.ID, c.Task.Fence, c.Seq, c.Raw.ID, c.Parser, c.Part)
}

// Subject is where the part goes.
func (c Commit) Subject() string { return Subject(c.shard(), c.Task.Platform, KindCommit) }

func (c Commit) shard() int {
	if c.Lane != "" {
		return Shard(c.Lane)
	}
	return Shard("task:" + strconv.FormatInt(c.Task.ID, 10))
}

type commitHead struct {
	Task   social.TaskRef `json:"task"`
	Seq    int            `json:"seq"`
	Part   int            `json:"part"`
	Parts  int            `json:"parts"`
	Final  *social.Final  `json:"final,omitempty"`
	Raw    social.Raw     `json:"raw"`
	Fetch  social.Fetch   `json:"fetch,omitempty"`
	Parser int            `json:"parser"`
	Answer int64          `json:"answer,omitempty"`
	Replay *Replay        `json:"replay,omitempty"`
}

// Marshal is the message form of a commit.
func (c Commit) Marshal() ([]byte, error) {
	head, err := json.Marshal(commitHead{c.Task, c.Seq, c.Part, c.Parts, c.Final, c.Raw, c.Fetch, c.Parser, c.Answer, c.Replay})
	if err != nil {
		return nil, fmt.Errorf("encode commit: %w", err)
	}
	size := len(head) + 16
	for _, e := range c.Events {
		size += len(`{"id":"","log":},`) + len(e.ID) + e.Log.Size()
	}
	dst := append(make([]byte, 0, size), head[:len(head)-1]...)
	dst = append(dst, `,"events":[`...)
	for i, e := range c.Events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"id":`...)
		dst = social.AppendString(dst, e.ID)
		if e.Gone {
			dst = append(dst, `,"gone":true`...)
		}
		dst = append(dst, `,"log":`...)
		dst = e.Log.AppendJSON(dst)
		dst = append(dst, '}')
	}
	return append(dst, ']', '}'), nil
}

// UnmarshalCommit reads what Marshal wrote. The commit may share the memory
// of data.
func UnmarshalCommit(data []byte) (Commit, error) {
	var c Commit
	var err error
	r := social.NewReader(data)
	for key := range r.Members() {
		switch key {
		case "task":
			err = r.Into(&c.Task)
		case "seq":
			c.Seq = r.Int()
		case "part":
			c.Part = r.Int()
		case "parts":
			c.Parts = r.Int()
		case "final":
			err = r.Into(&c.Final)
		case "raw":
			err = r.Into(&c.Raw)
		case "fetch":
			c.Fetch = social.Fetch(r.Text())
		case "parser":
			c.Parser = r.Int()
		case "answer":
			c.Answer = r.Int64()
		case "replay":
			err = r.Into(&c.Replay)
		case "events":
			for range r.Elements() {
				c.Events = append(c.Events, readEvent(r))
			}
		}
		if err != nil {
			return Commit{}, fmt.Errorf("decode commit: %w", err)
		}
	}
	if err := r.Err(); err != nil {
		return Commit{}, fmt.Errorf("decode commit: %w", err)
	}
	if c.Task.ID == 0 || c.Parts < 1 || c.Part < 0 || c.Part >= c.Parts {
		return Commit{}, fmt.Errorf("decode commit: task %d, part %d of %d", c.Task.ID, c.Part, c.Parts)
	}
	return c, nil
}

func readEvent(r *social.Reader) Event {
	var e Event
	for key := range r.Members() {
		switch key {
		case "id":
			e.ID = r.Text()
		case "log":
			e.Log = r.Log()
		case "gone":
			e.Gone = r.True()
		}
	}
	return e
}

// A Task is one transition of a task, told downstream as
// scrape_request_log_events. Times are UTC; nil is null.
type Task struct {
	EventID    string          `json:"event_id"`
	ID         int64           `json:"id"`
	Fence      int64           `json:"fence,omitempty"`
	Flow       string          `json:"flow"`
	Platform   social.Platform `json:"platform"`
	Params     json.RawMessage `json:"params"`
	Status     string          `json:"status"`
	Priority   *int            `json:"priority"`
	Reason     *string         `json:"reason"`
	At         time.Time       `json:"at"`
	PickedAt   *time.Time      `json:"picked_at"`
	ExpiresAt  *time.Time      `json:"expires_at"`
	RetryCount *int            `json:"retry_count"`
}

// TaskEventID is the event_id of a transition. PENDING happens once per row,
// the others once per run.
func TaskEventID(id, fence int64, status string) string {
	if status == social.Pending {
		fence = 0
	}
	return ID("task", id, fence, status)
}

// Subject is where the transition goes: one task's transitions stay in order.
func (t Task) Subject() string {
	return Subject(Shard("task:"+strconv.FormatInt(t.ID, 10)), t.Platform, KindTask)
}
