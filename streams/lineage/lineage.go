// Package lineage follows what is known from anywhere in the pipeline to all the
// rest of it: task, answers, parse, events, rows and their columns, and back.
//
// It only reads, and stores nothing: each stage has kept what it was given. A task
// is a row of scrape_request_log. An answer is a message of RAW or an entry of the
// archive, whose headers name its ask, credential and status. What a parser made
// of it is in the audit tables, which outlive both streams; its events are in
// EVENTS as long as that keeps them. A row names in its own lineage which answer
// each of its columns comes from.
//
// All of it is found by time: the audit tables begin their keys with when the
// answer came, RAW and EVENTS find a time by themselves, and the archive knows the
// times of its segments. A raw id says no time. It is looked for among all answers,
// or among those since a time.
package lineage

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/archive"
	"beat/streams/social"
)

// ErrUnknown says that there is nothing of that name, or nothing any more.
var ErrUnknown = errors.New("nothing is known of it")

// A Lineage is all that belongs together with what was asked for.
type Lineage struct {
	Kind  string   `json:"kind"` // task, raw, event or the name of a table
	ID    string   `json:"id"`
	Tasks []*Task  `json:"tasks"`           // in order of their ids
	Notes []string `json:"notes,omitempty"` // what could not be looked at
}

// A Task is a task with those of its answers that matter.
type Task struct {
	ID         int64           `json:"id"`
	Flow       string          `json:"flow,omitempty"` // "": its row is not there any more
	Platform   social.Platform `json:"platform,omitempty"`
	Status     string          `json:"status,omitempty"`
	Params     json.RawMessage `json:"params,omitempty"`
	Priority   *int            `json:"priority,omitempty"`
	Fence      int64           `json:"fence,omitempty"` // of its last run
	CreatedAt  *time.Time      `json:"created_at,omitempty"`
	PickedAt   *time.Time      `json:"picked_at,omitempty"`
	ScrapedAt  *time.Time      `json:"scraped_at,omitempty"`
	RetryCount *int            `json:"retry_count,omitempty"`
	Data       *string         `json:"data,omitempty"`
	Told       []Told          `json:"told,omitempty"` // of its last run
	Answers    []*Answer       `json:"answers"`        // in the order in which they came
}

// A Told is a message to RabbitMQ.
type Told struct {
	Key     string `json:"routing_key"`
	EventID string `json:"event_id"`
	Status  string `json:"status,omitempty"` // of the task
}

// An Answer is a raw answer: what was asked, what came, and what became of it.
type Answer struct {
	RawID        string         `json:"raw_id"`
	Source       string         `json:"source"`
	Observed     time.Time      `json:"observed"` // when it came
	Fetch        social.Fetch   `json:"fetch,omitempty"`
	Keys         []string       `json:"keys,omitempty"`       // that were asked for
	Credential   int64          `json:"credential,omitempty"` // id of its row
	HTTPStatus   int            `json:"http_status,omitempty"`
	Verdict      string         `json:"verdict,omitempty"` // "ok", or why it was not to be parsed
	Fence        int64          `json:"fence,omitempty"`   // of the task's run; 0 also of none
	Seq          int            `json:"seq"`               // its place in the run
	Bytes        int            `json:"bytes,omitempty"`
	Kept         *Kept          `json:"kept"` // null: its bytes are not kept any more
	Parser       int            `json:"parser,omitempty"`
	Digest       Digest         `json:"digest,omitempty"` // of what the parser made of it
	DeadLetters  []uint64       `json:"dead_letters,omitempty"`
	Told         []Told         `json:"told,omitempty"` // of the call
	Commits      []Commit       `json:"commits,omitempty"`
	Observations []*Observation `json:"observations"`
	Others       int            `json:"other_observations,omitempty"` // of the answer, that were not asked for
}

// Kept is where the bytes of an answer are.
type Kept struct {
	Run    int64  `json:"run"`               // of sequences, see package archive
	Seq    uint64 `json:"seq"`               // in RAW
	Stream bool   `json:"in_stream"`         // RAW has it
	Object string `json:"segment,omitempty"` // so has this object of S3
	Claim  string `json:"body,omitempty"`    // a large body is an object of its own
}

// A Commit is a message of EVENTS.
type Commit struct {
	Shard  int       `json:"shard"`
	Seq    uint64    `json:"seq"` // in EVENTS
	At     time.Time `json:"at"`
	Part   int       `json:"part"` // from 0
	Parts  int       `json:"parts"`
	Events int       `json:"events"`
	Parser int       `json:"parser"`
	Replay bool      `json:"replay,omitempty"`
}

// An Observation is what an answer said of one entity.
type Observation struct {
	Kind       social.Kind `json:"kind"`
	Key        string      `json:"key"` // profile id, shortcode, channel id
	EventID    string      `json:"event_id"`
	ToldID     string      `json:"told_id,omitempty"` // event_id of what a replay has changed
	RoutingKey string      `json:"routing_key"`
	Parser     int         `json:"parser"`
	Digest     Digest      `json:"digest,omitempty"`
	Gone       bool        `json:"gone,omitempty"` // a later parser does not say it, or a person has withdrawn it
	Shard      *int        `json:"shard,omitempty"`
	EventSeq   uint64      `json:"event_seq,omitempty"` // in EVENTS
	Table      string      `json:"table"`
	Row        string      `json:"row"` // key of its row in the table
	// Columns are those of the row that hold what this observation said, with
	// their values.
	Columns map[string]any `json:"columns,omitempty"`

	platform social.Platform
	digest   int64 // of the whole answer
}

// A Digest is 64 bits; in JSON it is a text, for readers whose numbers are floats.
type Digest int64

// MarshalText writes it as a decimal number.
func (d Digest) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(d), 10), nil }

// UnmarshalText is the opposite of MarshalText.
func (d *Digest) UnmarshalText(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	*d = Digest(n)
	return nil
}

// Config of a Tracer.
type Config struct {
	DB      *pgxpool.Pool
	JS      jetstream.JetStream
	Archive *archive.Archive
}

// A Tracer finds lineages. It is safe for concurrent use.
type Tracer struct{ Config }

// New returns a Tracer. It does no I/O.
func New(cfg Config) *Tracer { return &Tracer{cfg} }
