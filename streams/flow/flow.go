// Package flow holds the flow table: what each flow is given, what it asks,
// in which order, of whom, and when it stops. A flow is a row; no code asks
// "which flow is this?".
//
// A task is a chain of asks. Each answer yields at most one next ask: the
// next page, or the first page of the next step. Next and Fail are pure, and
// the ask carries all they need, so that a chain goes on from its last
// message after any crash.
package flow

import (
	"fmt"
	"slices"
	"time"

	"beat/streams/social"
)

// A Flow is one row of the table.
type Flow struct {
	Name        string
	Platform    social.Platform
	Params      []Param
	Steps       []Step
	Workers     int      // Workers × Concurrency tasks run at once,
	Concurrency int      // over all processes together
	Entity      string   // what is refreshed, for people: profile, post, channel
	Keep        []string // parameters that travel with the chain, as State.Args
	Lookup      Lookup   // what has to be known of the target before the first ask
	Full        bool     // it refreshes all of a profile: instagram_account.refreshed_at moves
	// Result is the data of a task that is COMPLETE; nil: "None".
	Result func(social.State) string
}

// A Lookup is one value that is read from the tables when a task is claimed. It
// travels as State.Known.
type Lookup struct {
	What    string // ProfileOfHandle or PostOfShortcode; "": nothing
	Param   string // whose value is looked up
	Missing string // the data of a task whose target has no row
}

// What can be looked up.
const (
	ProfileOfHandle = "profile id of a handle"
	PostOfShortcode = "post id of a shortcode"
)

// InFlight is how many tasks of the flow run at once in the whole fleet.
func (f Flow) InFlight() int { return f.Workers * f.Concurrency }

// A Step is one kind of question of a flow, with its pages.
type Step struct {
	Name     string
	Ask      []By  // the first whose key is there is asked
	Pages    Pages // zero: one answer ends the step
	Batch    int   // keys per ask, for a list of keys; 0: all in one
	Optional bool  // its failure does not fail the task; what was parsed stays
	Partial  bool  // the same, once one answer has been parsed
	Bound    bool  // only a credential of the account in parameter handle may ask
	// Nobody is the data of a task that fails here because there is no
	// credential to ask with; "" is that of Reason.
	Nobody string
	// Only says whether the step is taken; nil is always.
	Only func(social.State) bool
	// Find is what an answer says of the post or channel that the task is about; the first
	// that is not empty travels on as State.Found. May be nil.
	Find func(social.State, []social.Log) string
	// Make turns what the parser says into what the flow says. a has the state
	// that the answer leads to. Pure; nil changes nothing.
	Make func(a social.Ask, logs []social.Log) []social.Log
}

// By says where the key of an ask comes from and what is asked with it.
type By struct {
	Param string                    // a parameter of the task, text or list of text
	With  []string                  // more parameters, each one text: they follow as further keys
	State func(social.State) string // or what an earlier answer left behind
	Fetch social.Fetch
}

// Pages is when a step with pages stops, besides "no next page". The numbers
// are those of contract/flows.md 5.1.
type Pages struct {
	Items int           // stop once more than this many were collected
	Limit string        // a parameter that replaces Items, where it is there and not 0
	Reach bool          // stop once as many as Items were collected
	Back  time.Duration // stop once the oldest item of a page is older than this
	Max   int           // stop after this many pages whatever the provider says
	Free  bool          // the first page counts for neither Items nor Back
}

// Sources is who answers a fetch type, in order of preference
// (contract/flows.md 7.2). Sources that this build does not have are passed over.
var Sources = map[social.Fetch][]string{
	social.ProfileByID:     {"rapidapi-jotucker", "rapidapi-arraybobo"},
	social.ProfileByHandle: {"graphapi", "rapidapi-arraybobo", "rapidapi-jotucker", "lama", "rapidapi-bestsolutions"},
	social.PostsByID:       {"rapidapi-jotucker", "lama", "rapidapi-arraybobo"},
	social.PostsByHandle:   {"graphapi"},
	social.Reels:           {"rapidapi-arraybobo", "rocketapi"},
	social.PostByShortcode: {"rapidapi-arraybobo", "rapidapi-jotucker", "rocketapi", "lama"},
	social.PostInsights:    {"graphapi"},
	social.ProfileInsights: {"graphapi"},
	social.Stories:         {"graphapi"},
	social.StoryInsights:   {"graphapi"},
	social.StoriesByID:     {"rapidapi-arraybobo", "rocketapi", "lama"},
	social.PostComments:    {"rapidapi-jotucker"},
	social.PostLikes:       {"rapidapi-jotucker"},
	social.Following:       {"rapidapi-jotucker", "lama"},
	social.Followers:       {"rapidapi-jotucker", "rocketapi"},
	social.HashtagPosts:    {"rapidapi-jotucker", "lama"},
	social.TaggedPosts:     {"rapidapi-arraybobo"},
	social.ChannelsByIDs:   {"ytapitoken"},
	social.ChannelByHandle: {"youtube-page"},
}

// Draws says which of its sources a fetch type begins with: drawn by weight,
// and the others follow in order (contract/flows.md 7.3).
var Draws = map[social.Fetch][]Weight{
	social.Followers: {{"rapidapi-jotucker", 30}, {"rocketapi", 70}},
}

// A Weight is the share of a source in the draw.
type Weight struct {
	Source string
	Weight uint32
}

// By name, the row of a flow.
func ByName(name string) (Flow, bool) {
	i := slices.IndexFunc(All, func(f Flow) bool { return f.Name == name })
	if i < 0 {
		return Flow{}, false
	}
	return All[i], true
}

// Names lists the flows in table order.
func Names() []string {
	out := make([]string, len(All))
	for i, f := range All {
		out[i] = f.Name
	}
	return out
}

// Check says what is wrong with a table: names, numbers, parameters that no
// step can use, and fetch types that none of the known sources answers.
// answers may be nil.
func Check(all []Flow, answers func(source string, fetch social.Fetch) bool) error {
	seen := map[string]bool{}
	for _, f := range all {
		if f.Name == "" || seen[f.Name] {
			return fmt.Errorf("flow %q: name is empty or listed twice", f.Name)
		}
		seen[f.Name] = true
		if f.Workers < 1 || f.Concurrency < 1 {
			return fmt.Errorf("flow %s: workers %d and concurrency %d must be positive", f.Name, f.Workers, f.Concurrency)
		}
		if len(f.Steps) == 0 {
			return fmt.Errorf("flow %s: no steps", f.Name)
		}
		if f.Steps[0].Optional {
			return fmt.Errorf("flow %s: the first step cannot be optional", f.Name)
		}
		for _, name := range append([]string{f.Lookup.Param}, f.Keep...) {
			if name != "" && !f.has(name) {
				return fmt.Errorf("flow %s: parameter %q is not in the table", f.Name, name)
			}
		}
		for _, s := range f.Steps {
			if s.Pages.Limit != "" && !slices.Contains(f.Keep, s.Pages.Limit) {
				return fmt.Errorf("flow %s, step %s: the limit %q is not kept", f.Name, s.Name, s.Pages.Limit)
			}
			if len(s.Ask) == 0 {
				return fmt.Errorf("flow %s, step %s: asks nothing", f.Name, s.Name)
			}
			if s.Bound && !f.oneText("handle") {
				return fmt.Errorf("flow %s, step %s: is bound to the parameter handle, which must be a text that is always there", f.Name, s.Name)
			}
			for _, by := range s.Ask {
				if (by.Param == "") == (by.State == nil) {
					return fmt.Errorf("flow %s, step %s: needs a parameter or a state, not both", f.Name, s.Name)
				}
				if by.Param != "" && !f.has(by.Param) {
					return fmt.Errorf("flow %s, step %s: parameter %q is not in the table", f.Name, s.Name, by.Param)
				}
				for _, name := range by.With {
					if by.Param == "" || s.Batch > 0 || !f.oneText(name) {
						return fmt.Errorf("flow %s, step %s: parameter %q cannot follow as a key", f.Name, s.Name, name)
					}
				}
				if answers != nil && !slices.ContainsFunc(Sources[by.Fetch], func(s string) bool { return answers(s, by.Fetch) }) {
					return fmt.Errorf("flow %s, step %s: no known source answers %s", f.Name, s.Name, by.Fetch)
				}
			}
		}
	}
	return nil
}

func (f Flow) has(param string) bool {
	return slices.ContainsFunc(f.Params, func(p Param) bool { return p.Name == param })
}

// oneText reports whether each task of the flow has one text as that parameter.
func (f Flow) oneText(name string) bool {
	return slices.ContainsFunc(f.Params, func(p Param) bool {
		return p.Name == name && p.Type == Text && !p.Optional && !p.Null
	})
}
