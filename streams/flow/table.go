package flow

import (
	"time"

	"beat/streams/social"
)

const day = 24 * time.Hour

// many is a bound for pages that only a broken provider reaches.
const many = 1000

// The steps that flows share (contract/flows.md 5.1, procedures A to C).
var (
	profileByHandle = Step{Name: "profile", Ask: []By{{Param: "handle", Fetch: social.ProfileByHandle}}}
	profileByID     = Step{Name: "profile", Ask: []By{{Param: "profile_id", Fetch: social.ProfileByID}}}
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
	listing = Step{
		Name:  "stories",
		Ask:   []By{{Param: "handle", Fetch: social.Stories}},
		Pages: Pages{Items: 150, Back: 90 * day, Max: 50, Free: true},
		Bound: true,
		Make:  listed,
	}
)

func profileID(s social.State) string { return s.ProfileID }

// hasMedia: zero or unknown skips the reels (decision 26).
func hasMedia(s social.State) bool { return s.MediaCount != nil && *s.MediaCount > 0 }

// The parameters that many flows have.
var (
	handle      = Param{Name: "handle", Type: Text}
	profile     = Param{Name: "profile_id", Type: Text}
	shortcode   = Param{Name: "shortcode", Type: Text}
	either      = []Param{{Name: "profile_id", Type: Text, Null: true}, {Name: "handle", Type: Text, Null: true}}
	maxPosts    = Param{Name: "max_posts", Type: Int, Null: true}
	startCursor = Param{Name: "cursor", Type: Text, Optional: true, Null: true}
)

// All is the flow table. Workers and concurrency are those of
// contract/flows.md 3.
var All = []Flow{
	{
		Name: "refresh_profile_by_handle", Platform: social.Instagram, Entity: "profile",
		Params:  []Param{handle},
		Steps:   []Step{profileByHandle, recentPosts, recentReels},
		Workers: 10, Concurrency: 5, Full: true,
	},
	{
		Name: "refresh_profile_by_profile_id", Platform: social.Instagram, Entity: "profile",
		Params:  []Param{profile},
		Steps:   []Step{profileByID, recentPosts, recentReels},
		Workers: 1, Concurrency: 5, Full: true,
	},
	{
		Name: "refresh_profile_basic", Platform: social.Instagram, Entity: "profile",
		Params:  either,
		Steps:   []Step{profileByEither},
		Workers: 5, Concurrency: 5,
	},
	{
		// Not one of the contract's flows: its procedure "Graph-only profile
		// refresh" (4.2), which only HTTP asks for.
		Name: "refresh_profile_by_token", Platform: social.Instagram, Entity: "profile",
		Params: []Param{handle},
		Steps: []Step{{
			Name: profileByHandle.Name, Ask: profileByHandle.Ask,
			Bound: true, Nobody: "No cred is available at the moment",
		}},
		Workers: 5, Concurrency: 5,
	},
	{
		Name: "refresh_profile_custom", Platform: social.Instagram, Entity: "profile",
		Params: append(either, maxPosts),
		Steps: []Step{
			{Name: profileByEither.Name, Ask: profileByEither.Ask, Make: withoutPosts},
			{
				Name: "posts", Ask: recentPosts.Ask, Optional: true,
				Pages: Pages{Items: 30, Limit: "max_posts", Max: many},
			},
		},
		Keep:    []string{"max_posts"},
		Workers: 1, Concurrency: 2,
	},
	{
		Name: "refresh_post_by_shortcode", Platform: social.Instagram, Entity: "post",
		Params:  []Param{shortcode},
		Steps:   []Step{{Name: "post", Ask: []By{{Param: "shortcode", Fetch: social.PostByShortcode}}}},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_tagged_posts_by_profile_id", Platform: social.Instagram, Entity: "profile",
		Params: []Param{profile, maxPosts},
		Steps: []Step{{
			Name: "tagged posts", Ask: []By{{Param: "profile_id", Fetch: social.TaggedPosts}}, Partial: true,
			Pages: Pages{Items: 30, Limit: "max_posts", Max: many},
		}},
		Keep:    []string{"max_posts"},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_profile_insights", Platform: social.Instagram, Entity: "profile",
		Params: []Param{handle},
		Lookup: Lookup{ProfileOfHandle, "handle", "(409, 'No account with this handle is stored: refresh its profile first')"},
		Steps: []Step{{
			Name: "insights", Ask: []By{{Param: "handle", Fetch: social.ProfileInsights}},
			Bound: true, Nobody: "No cred is available at the moment", Make: audience,
		}},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_post_insights", Platform: social.Instagram, Entity: "post",
		Params: []Param{shortcode, handle, {Name: "post_id", Type: Text}, {Name: "post_type", Type: Text}},
		Steps: []Step{{
			Name:  "insights",
			Ask:   []By{{Param: "shortcode", With: []string{"post_id", "post_type"}, Fetch: social.PostInsights}},
			Bound: true, Nobody: "No cred is available at the moment",
		}},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_stories_posts", Platform: social.Instagram, Entity: "profile",
		Params:  []Param{handle},
		Steps:   []Step{listing},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_story_insights", Platform: social.Instagram, Entity: "post",
		Params: []Param{{Name: "story_id", Type: Text}, shortcode, profile, handle},
		Lookup: Lookup{PostOfShortcode, "shortcode", "(409, 'No post with this shortcode is stored: refresh the stories first')"},
		Steps: []Step{
			{
				Name: listing.Name, Ask: listing.Ask, Pages: listing.Pages, Bound: true, Make: listed,
				Only: unlisted, Find: findStory,
			},
			{Name: "insights", Ask: []By{{State: graphID, Fetch: social.StoryInsights}}, Bound: true, Make: storyInsights},
		},
		Keep:    []string{"story_id", "shortcode", "profile_id"},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_story_posts_by_profile_id", Platform: social.Instagram, Entity: "profile",
		Params: []Param{
			profile, {Name: "handle", Type: Text, Null: true},
			{Name: "story_ids", Type: Texts, Optional: true, Null: true},
			{Name: "profile_follower", Type: Int, Optional: true, Null: true},
			{Name: "profile_er", Type: Float, Optional: true, Null: true},
			{Name: "profile_static_er", Type: Float, Optional: true, Null: true},
			{Name: "profile_reels_er", Type: Float, Optional: true, Null: true},
		},
		Steps:   []Step{{Name: "stories", Ask: []By{{Param: "profile_id", Fetch: social.StoriesByID}}, Make: stories}},
		Keep:    append([]string{"story_ids"}, storyMetrics...),
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "fetch_profile_followers", Platform: social.Instagram, Entity: "profile",
		Params: []Param{profile},
		Steps: []Step{{
			Name: "followers", Ask: []By{{Param: "profile_id", Fetch: social.Followers}},
			Pages: Pages{Items: 2000, Reach: true, Max: many},
		}},
		Workers: 3, Concurrency: 5,
	},
	{
		Name: "fetch_profile_following", Platform: social.Instagram, Entity: "profile",
		Params: []Param{profile, startCursor},
		Steps: []Step{{
			Name: "following", Ask: []By{{Param: "profile_id", Fetch: social.Following}},
			Pages: Pages{Items: 200, Reach: true, Max: many},
		}},
		Workers: 1, Concurrency: 15,
	},
	{
		Name: "fetch_post_likes", Platform: social.Instagram, Entity: "post",
		Params: []Param{shortcode, {Name: "max_likes", Type: Int, Optional: true, Null: true}, startCursor},
		Steps: []Step{{
			Name: "likes", Ask: []By{{Param: "shortcode", Fetch: social.PostLikes}},
			Pages: Pages{Items: 2000, Limit: "max_likes", Reach: true, Max: many},
		}},
		Keep:    []string{"max_likes"},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "fetch_post_comments", Platform: social.Instagram, Entity: "post",
		Params: []Param{shortcode, {Name: "max_comments", Type: Int, Null: true}, startCursor},
		Steps: []Step{{
			Name: "comments", Ask: []By{{Param: "shortcode", Fetch: social.PostComments}},
			Pages: Pages{Items: 1000, Limit: "max_comments", Reach: true, Max: many},
		}},
		Keep:    []string{"max_comments"},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "fetch_hashtag_posts", Platform: social.Instagram, Entity: "hashtag",
		Params: []Param{{Name: "hashtag", Type: Text}, maxPosts, startCursor},
		Steps: []Step{{
			Name: "hashtag posts", Ask: []By{{Param: "hashtag", Fetch: social.HashtagPosts}},
			Pages: Pages{Items: 30, Limit: "max_posts", Reach: true, Max: many},
		}},
		Keep:    []string{"max_posts"},
		Workers: 1, Concurrency: 5,
	},
	{
		Name: "refresh_yt_profiles", Platform: social.YouTube, Entity: "channel",
		Params:  []Param{{Name: "channel_ids", Type: Texts}},
		Steps:   []Step{{Name: "channels", Ask: []By{{Param: "channel_ids", Fetch: social.ChannelsByIDs}}, Batch: 40}},
		Workers: 10, Concurrency: 5,
	},
	{
		// Not one of the contract's flows: its procedure "channel id from handle"
		// (4.2), which only HTTP asks for. It stores nothing but its result: what
		// the page says of the channel is too little for a row.
		Name: "fetch_yt_channel_id", Platform: social.YouTube, Entity: "channel",
		Params: []Param{handle},
		Steps: []Step{{
			Name: "page", Ask: []By{{Param: "handle", Fetch: social.ChannelByHandle}},
			Find: channelID, Make: nothing,
		}},
		Result:  func(s social.State) string { return s.Found },
		Workers: 5, Concurrency: 5,
	},
}
