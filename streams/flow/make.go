package flow

import (
	"encoding/json"
	"slices"

	"beat/streams/social"
)

// What flows make of what parsers say (contract/flows.md 5.1).

// withoutPosts is a profile without the posts that came with it: they are
// fetched for themselves.
func withoutPosts(_ social.Ask, logs []social.Log) []social.Log {
	return slices.DeleteFunc(logs, func(l social.Log) bool { return l.Kind == social.Post })
}

// listed is media and stories as their account's own token lists them: the
// profile is not stored, and each post says whose it is.
func listed(a social.Ask, logs []social.Log) []social.Log {
	logs = slices.DeleteFunc(logs, func(l social.Log) bool { return l.Kind == social.Profile })
	for i := range logs {
		add(&logs[i].Dimensions, "profile_id", social.String(a.State.ProfileID))
	}
	return logs
}

// storyMetrics are of the account, as the client knew them when it asked.
var storyMetrics = []string{"profile_follower", "profile_er", "profile_static_er", "profile_reels_er"}

// stories have the metrics of their account. Those that the client knows of and
// that the provider does not list any more keep a row all the same.
func stories(a social.Ask, logs []social.Log) []social.Log {
	seen := map[string]bool{}
	for _, l := range logs {
		seen[l.Key] = true
	}
	for _, id := range a.State.Args["story_ids"] {
		if seen[id] {
			continue
		}
		seen[id] = true
		logs = append(logs, social.Log{Kind: social.Post, Key: id, Dimensions: social.KVs{
			{Key: "post_id", Value: social.String(id)},
			{Key: "handle", Value: social.String(a.State.Handle)},
			{Key: "profile_id", Value: social.String(a.Key())},
			{Key: "post_type", Value: social.String("story")},
		}})
	}
	for i := range logs {
		for _, name := range storyMetrics {
			v := social.Null
			if text := a.State.Arg(name); text != "" {
				v = json.RawMessage(text)
			}
			add(&logs[i].Metrics, name, v)
		}
	}
	return logs
}

// storyInsights go to the row that the client means, which need not be known
// by the id that Graph has for it.
func storyInsights(a social.Ask, logs []social.Log) []social.Log {
	for i := range logs {
		logs[i].Key, logs[i].Owner = a.State.Arg("shortcode"), a.State.Arg("profile_id")
	}
	return logs
}

// audience is that of the account whose handle was asked for.
func audience(a social.Ask, logs []social.Log) []social.Log {
	for i := range logs {
		logs[i].Key, logs[i].Handle = a.State.Known, a.State.Handle
	}
	return logs
}

// add appends a value without touching memory that k may share.
func add(k *social.KVs, key string, v json.RawMessage) {
	*k = append(slices.Clip(*k), social.KV{Key: key, Value: v})
}

// unlisted reports whether only scrapers have seen the story so far: they know
// it by its public number, which is its shortcode too and no id of Graph's.
func unlisted(s social.State) bool { return s.Known == s.Arg("shortcode") }

// graphID is by what Graph knows the story: the client's id, unless the row has
// none of Graph's and the listing has found one.
func graphID(s social.State) string {
	switch {
	case !unlisted(s):
		return s.Arg("story_id")
	case s.Found != "":
		return s.Found
	}
	return s.Known
}

// findStory is the id that a listing has for the story.
func findStory(s social.State, logs []social.Log) string {
	for _, l := range logs {
		if l.Kind == social.Post && l.Key == s.Arg("shortcode") {
			return l.Dimensions.Text("post_id")
		}
	}
	return ""
}

// nothing of an answer is stored.
func nothing(social.Ask, []social.Log) []social.Log { return nil }

// channelID is the id of the channel that an answer is about.
func channelID(_ social.State, logs []social.Log) string {
	for _, l := range logs {
		if l.Kind == social.Profile {
			return l.Key
		}
	}
	return ""
}
