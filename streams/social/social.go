// Package social holds the words that every stage speaks: platforms, asks,
// logs and batches. It does no I/O and knows no provider, stream or table.
package social

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Platform is where an entity lives, spelled as the task table and the
// events spell it.
type Platform string

// The platforms of the contract.
const (
	Instagram Platform = "INSTAGRAM"
	YouTube   Platform = "YOUTUBE"
	Shopify   Platform = "SHOPIFY"
)

// Lower is the platform as subjects and HTTP paths spell it.
func (p Platform) Lower() string { return strings.ToLower(string(p)) }

// A Fetch is one kind of question that a provider can answer. The names are
// those of contract/flows.md section 7.2.
type Fetch string

// The fetch types that some flow asks for.
const (
	ProfileByHandle Fetch = "fetch_profile_by_handle"
	ProfileByID     Fetch = "fetch_profile_by_id"
	PostsByID       Fetch = "fetch_profile_posts_by_id"
	Reels           Fetch = "fetch_reels_posts"
	PostByShortcode Fetch = "fetch_post_by_shortcode"
	ChannelsByIDs   Fetch = "fetch_profiles_by_ids"
	ChannelByHandle Fetch = "fetch_channel_by_handle"       // not in that section: 4.2, asked for over HTTP only
	PostsByHandle   Fetch = "fetch_profile_posts_by_handle" // no flow asks it
	PostInsights    Fetch = "fetch_post_insights"
	ProfileInsights Fetch = "fetch_profile_insights"
	Stories         Fetch = "fetch_stories_posts" // media and stories, as their account's own token sees them
	StoriesByID     Fetch = "fetch_story_posts_by_profile_id"
	StoryInsights   Fetch = "fetch_story_insights"
	HashtagPosts    Fetch = "fetch_hashtag_posts"
	TaggedPosts     Fetch = "fetch_tagged_posts_by_profile_id"
	Followers       Fetch = "fetch_followers"
	Following       Fetch = "fetch_following"
	PostLikes       Fetch = "fetch_post_likes"
	PostComments    Fetch = "fetch_post_comments"
)

// A TaskRef names one run of a task: the row, the fence of the claim that
// started the run, and what stages need without reading the row.
type TaskRef struct {
	ID         int64     `json:"id"`
	Fence      int64     `json:"fence"`
	Flow       string    `json:"flow"`
	Platform   Platform  `json:"platform"`
	LeaseUntil time.Time `json:"lease_until"`
}

// An Ask is one question to one provider. It carries the whole state of its
// task's chain, so that any process can go on from it after a crash.
type Ask struct {
	Task TaskRef `json:"task"`

	Seq  int `json:"seq"`            // answers of this run that came before
	Step int `json:"step,omitempty"` // index into the flow's steps
	Page int `json:"page,omitempty"` // page of the step, from 0
	Try  int `json:"try,omitempty"`  // failed tries of this page at this source
	Turn int `json:"turn,omitempty"` // how often the ask was put back to wait; makes its ID unique

	Fetch    Fetch     `json:"fetch"`
	Keys     []string  `json:"keys"`               // handle, profile id, shortcode or channel ids; of insights: shortcode, media id and type of the post
	Cursor   string    `json:"cursor,omitempty"`   // opaque to all but its source
	Source   string    `json:"source,omitempty"`   // pinned while paginating; empty: first usable of the list
	Handle   string    `json:"handle,omitempty"`   // only a credential of this account may ask; empty: any
	Attempts []Attempt `json:"attempts,omitempty"` // sources that failed this step
	Spent    int64     `json:"spent,omitempty"`    // milliseconds that this run's calls took so far
	Waits    string    `json:"waits,omitempty"`    // what the ask was put back for, see the Wait constants
	State    State     `json:"state"`
}

// What an ask, or its task, waits for: one of these, a colon and a name.
const (
	WaitLimit      = "limit"      // a rate limit, by its name
	WaitCredential = "credential" // every credential of a source rests
	WaitDown       = "down"       // a source that does not answer
	WaitPause      = "pause"      // a source or flow that a person has paused
	WaitOutage     = "outage"     // whether the failure of all sources is theirs or the target's
)

// Key is the first key of the ask, or "".
func (a Ask) Key() string {
	if len(a.Keys) == 0 {
		return ""
	}
	return a.Keys[0]
}

// ID names the ask and the try, not the delivery: the same ask delivered
// twice has one ID, the next try of it another.
func (a Ask) ID() string {
	return ID("ask", a.Task.ID, a.Task.Fence, a.Seq, a.Step, a.Page, len(a.Attempts), a.Try, a.Turn)
}

// Failed reports whether source already failed this step.
func (a Ask) Failed(source string) bool {
	for _, t := range a.Attempts {
		if t.Source == source {
			return true
		}
	}
	return false
}

// State is what a chain remembers from answer to answer.
type State struct {
	ProfileID  string   `json:"profile_id,omitempty"`  // of the profile being refreshed
	Handle     string   `json:"handle,omitempty"`      // as asked for
	MediaCount *int64   `json:"media_count,omitempty"` // nil: the profile answer had none
	Items      int      `json:"items,omitempty"`       // collected by this step so far
	Rest       []string `json:"rest,omitempty"`        // keys of later batches of this step

	Args  map[string][]string `json:"args,omitempty"`  // parameters that later steps need, see flow.Flow.Keep
	Known string              `json:"known,omitempty"` // what was looked up before the first ask, see flow.Lookup
	Found string              `json:"found,omitempty"` // what an answer said of the post that the task is about
}

// Arg is the first value of a kept parameter, or "".
func (s State) Arg(name string) string {
	if v := s.Args[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// An Attempt is one source that was tried for a step and failed.
type Attempt struct {
	Source  string `json:"source"`
	Verdict string `json:"verdict"` // gone, refused, limited, upstream, malformed
	Status  int    `json:"status"`  // HTTP status of the provider, 0 without an answer
	Reason  string `json:"reason"`  // one short line, without secrets
}

// A Raw names one stored answer of a provider.
type Raw struct {
	ID     string    `json:"id"`     // derived from the ask, see Ask.ID
	Source string    `json:"source"` // of the credential, such as ytapitoken
	At     time.Time `json:"at"`     // when the answer came, UTC
	Status int       `json:"status"`
}

// A Kind says what a log is about.
type Kind string

// The kinds of log.
const (
	Profile      Kind = "profile"
	Post         Kind = "post"
	Insights     Kind = "insights"     // of a profile: who its audience is
	Activity     Kind = "activity"     // somebody liked a post or wrote a comment
	Relationship Kind = "relationship" // somebody follows somebody
)

// The types of an activity and of a relationship.
const (
	Like    = "LIKE"
	Comment = "COMMENT"
	Follows = "FOLLOWS"
)

// A Log is one observation of one entity in the common model.
type Log struct {
	Kind       Kind
	Key        string // profile id or channel id; shortcode or video id; of a relationship, who follows. Never empty
	Owner      string // of a post: its profile or channel id, "" when unknown
	Handle     string // of a profile, "" when the answer has none
	Source     string // the parser's constant, such as graphapi or ytapi
	Dimensions KVs    // of a relationship: of who follows
	Metrics    KVs

	Type   string // of an activity or a relationship, see the constants
	Actor  string // of an activity: the profile id of who did it, "" when unknown
	Target string // of a relationship: the profile id of who is followed
	// TargetDimensions are of a relationship's Target.
	TargetDimensions KVs
}

// A Batch is all that one answer said.
type Batch struct {
	Ask    Ask
	Raw    Raw
	Parser int // version of the parser that read it
	Logs   []Log
	Digest int64  // DigestLogs of Logs, as UnmarshalBatch read them
	Cursor string // where the next page begins, "" when More is false
	More   bool   // the provider has another page
	Final  *Final // set when no ask follows this answer
}

// The statuses of a task.
const (
	Pending    = "PENDING"
	Processing = "PROCESSING"
	Complete   = "COMPLETE"
	Failed     = "FAILED"
)

// A Final says how a task's run ended. It travels with the last answer.
type Final struct {
	Status    string `json:"status"`              // Complete or Failed
	Data      string `json:"data"`                // text for scrape_request_log.data
	Refreshed string `json:"refreshed,omitempty"` // profile that the run has refreshed in full
}

// ID derives a name from parts, which must together name the fact. It is 32
// hexadecimal digits.
func ID(parts ...any) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%v\x00", p)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:16])
}

// Null is the JSON null.
var Null = json.RawMessage("null")
