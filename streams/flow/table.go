package flow

import (
	"time"

	"beat/streams/social"
)

const day = 24 * time.Hour

// The steps that flows share (contract/flows.md 5.1, procedures A to C).
var (
	profileByHandle = Step{Name: "profile", Ask: []By{{Param: "handle", Fetch: social.ProfileByHandle}}}
	profileByEither = Step{Name: "profile", Ask: []By{
		{Param: "profile_id", Fetch: social.ProfileByID},
		{Param: "handle", Fetch: social.ProfileByHandle},
	}}
	recentPosts = Step{
		Name:     "posts",
		Ask:      []By{{State: profileID, Fetch: social.PostsByID}},
		Pages:    Pages{Items: 50, Back: 30 * day, Max: 50},
		Optional: true,
	}
	recentReels = Step{
		Name:     "reels",
		Ask:      []By{{State: profileID, Fetch: social.Reels}},
		Pages:    Pages{Items: 10, Back: 30 * day, Max: 50},
		Optional: true,
		Only:     hasMedia,
	}
)

func profileID(s social.State) string { return s.ProfileID }

// hasMedia: zero or unknown skips the reels (decision 26).
func hasMedia(s social.State) bool { return s.MediaCount != nil && *s.MediaCount > 0 }

// All is the flow table. Workers and concurrency are those of
// contract/flows.md 3.
var All = []Flow{
	{
		Name: "refresh_profile_by_handle", Platform: social.Instagram, Entity: "profile",
		Params:  []Param{{Name: "handle", Type: Text}},
		Steps:   []Step{profileByHandle, recentPosts, recentReels},
		Workers: 10, Concurrency: 5,
	},
	{
		Name: "refresh_profile_basic", Platform: social.Instagram, Entity: "profile",
		Params:  []Param{{Name: "profile_id", Type: Text, Null: true}, {Name: "handle", Type: Text, Null: true}},
		Steps:   []Step{profileByEither},
		Workers: 5, Concurrency: 5,
	},
	{
		Name: "refresh_post_by_shortcode", Platform: social.Instagram, Entity: "post",
		Params:  []Param{{Name: "shortcode", Type: Text}},
		Steps:   []Step{{Name: "post", Ask: []By{{Param: "shortcode", Fetch: social.PostByShortcode}}}},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_post_insights", Platform: social.Instagram, Entity: "post",
		Params: []Param{
			{Name: "shortcode", Type: Text}, {Name: "handle", Type: Text},
			{Name: "post_id", Type: Text}, {Name: "post_type", Type: Text},
		},
		Steps: []Step{{
			Name:  "insights",
			Ask:   []By{{Param: "shortcode", With: []string{"post_id", "post_type"}, Fetch: social.PostInsights}},
			Bound: true, Nobody: "No cred is available at the moment",
		}},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_yt_profiles", Platform: social.YouTube, Entity: "channel",
		Params:  []Param{{Name: "channel_ids", Type: Texts}},
		Steps:   []Step{{Name: "channels", Ask: []By{{Param: "channel_ids", Fetch: social.ChannelsByIDs}}, Batch: 40}},
		Workers: 10, Concurrency: 5,
	},
}
