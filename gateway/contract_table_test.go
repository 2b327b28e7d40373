package gateway

import (
	"slices"
	"strings"

	"beat/streams/social"
)

const (
	theAccount = `INSERT INTO instagram_account (profile_id, handle, fbid, profile_pic_url, biography, following, followers, full_name,
		is_private, updated_at, profile_type, media_count) VALUES ('4815162342', 'wanderlens.studio', '17841400000000000',
		'https://example-cdn.invalid/p/abc.jpg', 'Landscapes & <film> grain', 611, 28754, 'Wander Lens – é', false,
		'2100-09-25 14:17:35.120331', 'creator', 412)
		ON CONFLICT (profile_id) DO UPDATE SET updated_at = excluded.updated_at, handle = excluded.handle`
	theReel = `INSERT INTO instagram_post (profile_id, handle, shortcode, post_type, likes, comments, plays, publish_time, updated_at, caption,
		thumbnail_url) VALUES ('4815162342', 'wanderlens.studio', 'CxQ7aBcD123', 'reels', 1840, 37, 25113, '2023-09-18 06:02:11',
		'2023-09-25 14:17:36.004211', 'Golden hour on the ridge', 'https://example-cdn.invalid/t.jpg')`
	theAsset   = `INSERT INTO asset_log (entity_id, asset_url) VALUES ('CxQ7aBcD123', 'assets/posts/instagram/CxQ7aBcD123.jpg')`
	theChannel = `INSERT INTO youtube_account (channel_id, title, subscribers, uploads, views, thumbnail, updated_at)
		VALUES ('UCa1', 'Ridge Films', 9007199254740993, 12, 1840000, 'https://t', '2100-01-01')
		ON CONFLICT (channel_id) DO UPDATE SET updated_at = excluded.updated_at`

	accountBody = `"handle":"wanderlens.studio","fbid":"17841400000000000","profile_pic_url":"https://example-cdn.invalid/p/abc.jpg",` +
		`"profile_id":"4815162342","biography":"Landscapes & <film> grain","following":611,"followers":28754,"full_name":"Wander Lens – é",` +
		`"is_private":false,"updated_at":"*",`
	accountEnd = `"profile_type":"creator","media_count":412}`
	plain      = accountBody + `"post_metrics":{},"recent_posts":null,` + accountEnd
	reelBody   = `{"shortcode":"CxQ7aBcD123","post_id":null,"post_type":"reels","post_url":"https://www.instagram.com/reel/CxQ7aBcD123",` +
		`"publish_time":"2023-09-18T06:02:11","updated_at":"2023-09-25T14:17:36.004211",` +
		`"metrics":{"reach":23234,"views":null,"likes":1840,"comments":37,"play_count":25113,"engagement_rate":6.53},` +
		`"dimensions":{"caption":"Golden hour on the ridge","comments":37,"thumbnail_url":` +
		`"https://assets.example.invalid/assets/posts/instagram/CxQ7aBcD123.jpg","display_url":null}}`
	reelMetrics = `"post_metrics":{"static":{},"reels":{"avg_engagement":6.527787438269458,"avg_plays":25113,"avg_likes":1840,"avg_comments":37,` +
		`"avg_reach":23234},"story":{"avg_reach":1973},"all":{"avg_engagement":6.527787438269458,"avg_likes":1840,"avg_comments":37}},`
	reelPost = `"post_id":null,"post_type":"reels","content_type":null,"thumbnail":"https://example-cdn.invalid/t.jpg","display_url":null,` +
		`"story_links":null,"story_hashtags":null,"publish_time":"2023-09-18T06:02:11","updated_at":"2023-09-25T14:17:36.004211",` +
		`"metrics":{"reach":null,"views":null,"likes":1840,"play_count":25113,"comments":37}}`
	channelBody = `{"platform":"youtube","channel_id":"UCa1","title":"Ridge Films","subscribers":9007199254740993,"uploads":12,` +
		`"views":1840000,"thumbnail":"https://t"}`

	wrongEnum = `{"loc":["path","platform"],"msg":"value is not a valid enumeration member; permitted: 'instagram', 'youtube', 'shopify'",` +
		`"type":"type_error.enum","ctx":{"enum_values":["instagram","youtube","shopify"]}}`
)

func got(profile string) string {
	return `{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":` + profile + `}`
}

func instagram(rest string) string { return got(`{"platform":"instagram",` + rest) }

func problems(all ...string) string { return `{"detail":[` + strings.Join(all, ",") + `]}` }

func absent(name string) string {
	return `{"loc":["query","` + name + `"],"msg":"field required","type":"value_error.missing"}`
}

func noBool(name string) string {
	return `{"loc":["query","` + name + `"],"msg":"value could not be parsed to a boolean","type":"type_error.bool"}`
}

func noInt(loc, name string) string {
	return `{"loc":["` + loc + `","` + name + `"],"msg":"value is not a valid integer","type":"type_error.integer"}`
}

func ago(d string) string {
	return `UPDATE instagram_account SET updated_at = now() AT TIME ZONE 'UTC' - interval '` + d + `'`
}

func channelAgo(d string) string {
	return `UPDATE youtube_account SET updated_at = now() AT TIME ZONE 'UTC' - interval '` + d + `'`
}

// by a platform's own id
func refreshByProfile(sql string) []did {
	return []did{{flow: "refresh_profile_by_profile_id", params: `{"profile_id": "4815162342"}`, sql: sql}}
}

func refreshOfChannel(sql string) []did {
	return []did{{flow: "refresh_yt_profiles", params: `{"channel_ids": ["UCa1"]}`, sql: sql}}
}

func refreshOfPost(shortcode, sql string) []did {
	return []did{{flow: "refresh_post_by_shortcode", params: `{"shortcode": "` + shortcode + `"}`, sql: sql}}
}

func ends(d []did, status, data string) []did {
	d[len(d)-1].status, d[len(d)-1].data = status, data
	return d
}

const (
	atHandle  = "GET /profiles/instagram/byhandle/wanderlens.studio"
	atID      = "GET /profiles/instagram/byid/4815162342"
	atProfile = "GET /profiles/instagram/byprofileid/4815162342"
	atRecent  = "GET /recent/posts/instagram/byprofileid/4815162342"
	atChannel = "GET /youtube/channel/byhandle/"
	anyParams = ""
)

// Sections 1 to 5, and section 9, which is made of them. What the routes that were
// there first do in detail is in the tests that are named after them; limits need
// Redis and are in limits_test.go.
var contract = []contractCase{
	// 1.2 other statuses, and section 2.
	{section: "1.2", name: "unknown path", request: "GET /profiles", code: 404, want: `{"detail":"Not Found"}`},
	{section: "1.2", name: "case of a literal segment", request: "GET /Profiles/instagram/byid/1", code: 404, want: `{"detail":"Not Found"}`},
	{section: "1.2", name: "a slash within a segment", request: "GET /profiles/instagram/byid/1%2F2", code: 404, want: `{"detail":"Not Found"}`},
	{section: "1.2", name: "an empty segment", request: "GET /profiles//byid/1", code: 404, want: `{"detail":"Not Found"}`},
	{section: "1.2", name: "dots are a handle", request: "GET /profiles/shopify/byhandle/..", want: failed("Platform not supported - shopify", 400)},
	{section: "1.2", name: "a slash at the end", request: "POST /tokens/", code: 307, want: ``},
	{section: "1.2", name: "a panic", request: "GET /metrics", code: 500, want: `Internal Server Error`},
	{section: "2", name: "byshortcode is no post type", request: "GET /posts/instagram/byshortcode/C1?profile_id=7", code: 422, want: problems(absent("handle"))},
	{section: "2", name: "update is no id", request: "GET /scrape_request_log/flow/update", code: 422, want: problems(noInt("path", "id"))},

	// 1.4 parameters.
	{section: "1.4", name: "upper case platform", request: "GET /profiles/INSTAGRAM/byid/4815162342", sql: []string{theAccount}, want: instagram(plain)},
	{section: "1.4", name: "mixed case platform", request: "GET /profiles/Instagram/byid/1", code: 422, want: problems(wrongEnum)},
	{section: "1.4", name: "R3 platform", request: "GET /profiles/tiktok/byid/1", code: 422, want: problems(wrongEnum)},
	{section: "1.4", name: "R4 platform", request: "GET /profiles/tiktok/byprofileid/1", code: 422, want: problems(wrongEnum)},
	{section: "1.4", name: "R7 platform", request: "GET /recent/posts/tiktok/byprofileid/1", code: 422, want: problems(wrongEnum)},
	{section: "1.4", name: "R9 platform and query", request: "GET /posts/tiktok/story/1", code: 422, want: problems(wrongEnum, absent("profile_id"))},
	{section: "1.4", name: "R3 boolean", request: atID + "?third_party_fallback=maybe", code: 422, want: problems(noBool("third_party_fallback"))},
	{section: "1.4", name: "R3 two problems", request: "GET /profiles/tiktok/byid/1?third_party_fallback=", code: 422, want: problems(wrongEnum, noBool("third_party_fallback"))},
	{section: "1.4", name: "the last of two counts", request: atID + "?third_party_fallback=maybe&third_party_fallback=YES", sql: []string{theAccount}, want: instagram(plain)},
	{section: "1.4", name: "unknown parameters", request: atID + "?session=x&post_types=y", sql: []string{theAccount}, want: instagram(plain)},
	{section: "1.4", name: "ignored headers", request: atID, sql: []string{theAccount}, want: instagram(plain),
		header: []string{"x-bb-partner-id", "1", "x-bb-plan-type", "FREE", "x-bb-deviceid", "d", "Authorization", ""}},

	// 3.1: R1 and R2. More in TestProfile.
	{section: "3.1", name: "R1", request: atHandle, sql: []string{theAccount}, want: instagram(plain)},
	{section: "3.1", name: "R2", request: "GET /social-profile-service/instagram/byhandle/wanderlens.studio", sql: []string{theAccount}, want: instagram(plain)},
	{section: "3.1", name: "R1 in full", request: atHandle + "?full_refresh=1", sql: []string{theAccount, theReel, theAsset},
		want: instagram(accountBody + reelMetrics + `"recent_posts":[` + reelBody + `],` + accountEnd)},
	{section: "3.1", name: "R1 in full without posts", request: atHandle + "?full_refresh=true", sql: []string{theAccount},
		want: instagram(accountBody + `"post_metrics":{},"recent_posts":[],` + accountEnd)},
	{section: "3.1", name: "R1 renamed", request: "GET /profiles/instagram/byhandle/Old.Name", want: instagram(plain),
		does: []did{{flow: "refresh_profile_basic", params: `{"handle": "old.name", "profile_id": null}`, sql: theAccount +
			`; UPDATE scrape_request_log SET picked_at = now() AT TIME ZONE 'UTC';
			INSERT INTO profile_log (profile_id, platform, "timestamp", event_id, task_id)
			SELECT '4815162342', 'INSTAGRAM', now() AT TIME ZONE 'UTC', gen_random_uuid(), id FROM scrape_request_log`}}},
	{section: "3.1", name: "R1 unknown", request: "GET /profiles/instagram/byhandle/Nobody", want: failed("Profile not found - Nobody", 404),
		does: ends([]did{{flow: "refresh_profile_basic", params: `{"handle": "nobody", "profile_id": null}`}}, social.Failed, "(404, 'Profile not found')")},
	{section: "3.1", name: "R1 YouTube", request: "GET /profiles/youtube/byhandle/UCa1", sql: []string{theChannel}, want: got(channelBody)},
	{section: "3.1", name: "R1 stale channel", request: "GET /profiles/youtube/byhandle/UCa1", sql: []string{theChannel, channelAgo("25 hours")}, want: got(channelBody),
		does: refreshOfChannel(theChannel)},
	{section: "3.1", name: "R1 channel that is not there", request: "GET /profiles/youtube/byhandle/UCa1", want: failed("Profile not found - UCa1", 404),
		does: refreshOfChannel("")},

	// 3.2: R3.
	{section: "3.2", name: "fresh", request: atID, sql: []string{theAccount, ago("23 hours")}, want: instagram(plain)},
	{section: "3.2", name: "stale", request: atID, sql: []string{theAccount, ago("25 hours")}, does: refreshByProfile(theAccount), want: instagram(plain)},
	{section: "3.2", name: "of unknown age", request: atID, sql: []string{theAccount, "UPDATE instagram_account SET updated_at = NULL"},
		does: refreshByProfile(theAccount), want: instagram(plain)},
	{section: "3.2", name: "missing", request: atID, does: refreshByProfile(theAccount), want: instagram(plain)},
	{section: "3.2", name: "no posts are told", request: atID + "?full_refresh=1&force_refresh=1", sql: []string{theAccount, theReel}, want: instagram(plain)},
	{section: "3.2", name: "refresh failed", request: atID, sql: []string{theAccount, ago("25 hours")},
		does: ends(refreshByProfile(""), social.Failed, "(429, 'Something went wrong')"), want: failed("Error - (429, 'Something went wrong')", 404)},
	{section: "3.2", name: "still no row", request: atID, does: refreshByProfile(""), want: failed("profile not found for id - 4815162342", 404)},
	{section: "3.2", name: "an id that is no text", request: "GET /profiles/instagram/byid/%00", want: "{\"status\":{\"type\":\"ERROR\",\"message\":\"profile not found for id - \\u0000\",\"code\":404}}"},
	{section: "3.2", name: "an id that is too long", request: "GET /profiles/instagram/byid/" + strings.Repeat("1", 600),
		want: failed("Error - refresh_profile_by_profile_id() argument 'profile_id' is 600 bytes long, at most 512 are allowed", 404)},
	{section: "3.2", name: "fresh channel", request: "GET /profiles/youtube/byid/UCa1", sql: []string{theChannel, channelAgo("23 hours")}, want: got(channelBody)},
	{section: "3.2", name: "stale channel", request: "GET /profiles/youtube/byid/UCa1", sql: []string{theChannel, channelAgo("25 hours")},
		does: refreshOfChannel(theChannel), want: got(channelBody)},
	{section: "3.2", name: "channel of unknown age", request: "GET /profiles/youtube/byid/UCa1", sql: []string{theChannel, "UPDATE youtube_account SET updated_at = NULL"},
		does: refreshOfChannel(theChannel), want: got(channelBody)},
	{section: "3.2", name: "channel that is not there", request: "GET /profiles/youtube/byid/UCa1", does: refreshOfChannel(""), want: failed("profile not found for id - UCa1", 404)},
	{section: "3.2", name: "channel that fails", request: "GET /profiles/youtube/byid/UCa1", does: ends(refreshOfChannel(""), social.Failed, "No source is available at the moment"),
		want: failed("Error - No source is available at the moment", 404)},
	{section: "3.2", name: "shopify", request: "GET /profiles/shopify/byid/1", want: failed("Platform not supported - shopify", 400)},

	// 3.3: R4.
	{section: "3.3", name: "fresh", request: atProfile, sql: []string{theAccount, ago("167 hours")}, want: instagram(`"handle":"wanderlens.studio","profile":{` + plain + `}`)},
	{section: "3.3", name: "stale", request: atProfile, sql: []string{theAccount, ago("169 hours")}, does: refreshByProfile(theAccount),
		want: instagram(`"handle":"wanderlens.studio","profile":{` + plain + `}`)},
	{section: "3.3", name: "refresh failed", request: atProfile, does: ends(refreshByProfile(""), social.Failed, "x"), want: failed("Profile not found - 4815162342", 404)},
	{section: "3.3", name: "still no row", request: atProfile, does: refreshByProfile(""), want: failed("Profile not found - 4815162342", 404)},
	{section: "3.3", name: "youtube", request: "GET /profiles/youtube/byprofileid/1", want: failed("Platform not supported - youtube", 400)},
	{section: "3.3", name: "shopify", request: "GET /profiles/shopify/byprofileid/1", want: failed("Platform not supported - shopify", 400)},

	// 3.4 and 3.5: R5 and R6. More in TestCreatorInsights, TestAudienceInsights and
	// TestTokenRequests.
	{section: "3.4", name: "R5", request: "GET /profiles/instagram/byhandle/Wanderlens.studio/insights?token=t&user_id=1",
		sql:  []string{theAccount, theReel, "UPDATE instagram_post SET updated_at = '2100-09-25 14:17:36'"},
		does: []did{{flow: "refresh_profile_by_token", params: `{"handle": "wanderlens.studio"}`}},
		want: got(`{"handle":"wanderlens.studio","followers":28754,"following":611,"media_count":412,` + strings.TrimSuffix(reelMetrics, ",") + `}`)},
	{section: "3.5", name: "R6", request: "GET /profiles/INSTAGRAM/byhandle/wanderlens.studio/audienceinsights?token=t&user_id=1",
		does: []did{{flow: "refresh_profile_insights", params: `{"handle": "wanderlens.studio"}`, sql: `INSERT INTO instagram_profile_insights (profile_id, handle,
			audience_city, updated_at) VALUES ('1', 'wanderlens.studio', '{"Mumbai, Maharashtra": 4120}', now())`}},
		want: got(`{"handle":"wanderlens.studio","audience_data":{"city":{"Mumbai, Maharashtra":4120},"gender_age":null}}`)},

	// 3.6: R7. More in TestRecent.
	{section: "3.6", name: "mirrored", request: atRecent, sql: []string{theAccount, theReel, theAsset},
		want: `{"status":{"type":"SUCCESS","message":"Recent Posts Retrieved"},"data":{"platform":"instagram","profile_id":"4815162342","recent_posts":[` + reelBody + `]}}`},
	{section: "3.6", name: "nothing is refreshed", request: atRecent, sql: []string{theAccount, theReel, theAsset, ago("99 days")},
		want: `{"status":{"type":"SUCCESS","message":"Recent Posts Retrieved"},"data":{"platform":"instagram","profile_id":"4815162342","recent_posts":[` + reelBody + `]}}`},
	{section: "3.6", name: "without an account", request: atRecent, sql: []string{theReel, theAsset},
		want: `{"status":{"type":"SUCCESS","message":"Recent Posts Retrieved"},"data":{"platform":"instagram","profile_id":"4815162342","recent_posts":[` +
			strings.NewReplacer(`"reach":23234`, `"reach":0`, `6.53`, `0`).Replace(reelBody) + `]}}`},
	{section: "3.6", name: "no rows", request: atRecent, sql: []string{theAccount}, want: failed("Failed to fetch recent posts for profile_id - 4815162342", 500)},
	{section: "3.6", name: "an id that is no text", request: "GET /recent/posts/instagram/byprofileid/%FF", want: failed("Failed to fetch recent posts for profile_id - �", 500)},
	{section: "3.6", name: "youtube", request: "GET /recent/posts/youtube/byprofileid/1", want: failed("Platform not supported - youtube", 400)},
	{section: "3.6", name: "shopify", request: "GET /recent/posts/shopify/byprofileid/1", want: failed("Platform not supported - shopify", 400)},

	// 3.7: R8. More in TestPost, TestPostFailures and TestPostRequest.
	{section: "3.7", name: "the others are asked", request: "GET /posts/instagram/byshortcode/CxQ7aBcD123?handle=WanderLens.Studio&third_party_fallback=on",
		does: slices.Concat(ends([]did{{flow: "refresh_profile_by_token", params: `{"handle": "wanderlens.studio"}`}}, social.Failed, "No cred is available at the moment"),
			refreshOfPost("CxQ7aBcD123", theReel)),
		want: `{"status":{"type":"SUCCESS","message":"Post Retrieved"},"post":{"platform":"instagram","handle":"wanderlens.studio","data_provider":"LAMA",` +
			`"shortcode":"CxQ7aBcD123",` + reelPost + `}`},
	{section: "3.7", name: "the others know it of somebody else", request: "GET /posts/instagram/byshortcode/CxQ7aBcD123?handle=other&third_party_fallback=1",
		does: slices.Concat(ends([]did{{flow: "refresh_profile_by_token", params: `{"handle": "other"}`}}, social.Failed, "x"), refreshOfPost("CxQ7aBcD123", theReel)),
		want: failed("Post not found - CxQ7aBcD123", 404)},
	{section: "3.7", name: "the others do not know it", request: "GET /posts/instagram/byshortcode/CxQ7aBcD123?handle=other&third_party_fallback=1",
		does: slices.Concat(ends([]did{{flow: "refresh_profile_by_token", params: `{"handle": "other"}`}}, social.Failed, "(401, 'Token is invalid')"),
			ends(refreshOfPost("CxQ7aBcD123", ""), social.Failed, "(404, 'Post missing')")),
		want: failed("Post not found - CxQ7aBcD123", 404)},
	{section: "3.7", name: "a provider says why", request: "GET /posts/instagram/byshortcode/C1?handle=other&third_party_fallback=n",
		does: ends([]did{{flow: "refresh_profile_by_token", params: `{"handle": "other"}`}}, social.Failed, "(401, 'Token is invalid')"), want: failed("Token is invalid", 401)},

	// 3.8: R9.
	{section: "3.8", name: "a reel", request: "GET /posts/instagram/reels/CxQ7aBcD123?profile_id=", does: refreshOfPost("CxQ7aBcD123", theReel),
		want: `{"status":{"type":"SUCCESS","message":"reels Retrieved"},"post":{"platform":"instagram","shortcode":"CxQ7aBcD123","handle":"wanderlens.studio",` + reelPost + `}`},
	{section: "3.8", name: "always refreshed", request: "GET /posts/instagram/image/CxQ7aBcD123?profile_id=1", sql: []string{theReel}, does: refreshOfPost("CxQ7aBcD123", ""),
		want: `{"status":{"type":"SUCCESS","message":"image Retrieved"},"post":{"platform":"instagram","shortcode":"CxQ7aBcD123","handle":"wanderlens.studio",` + reelPost + `}`},
	{section: "3.8", name: "a story", request: "GET /posts/instagram/story/3100?profile_id=4815162342",
		does: []did{{flow: "refresh_story_posts_by_profile_id", params: `{"handle": null, "profile_id": "4815162342"}`, sql: `INSERT INTO instagram_post
			(shortcode, post_id, handle, post_type, story_links, story_hashtags, publish_time, updated_at)
			VALUES ('3100', '3100', 'wanderlens.studio', 'story', '{https://a}', '{film}', '2023-09-18', '2023-09-18')`}},
		want: `{"status":{"type":"SUCCESS","message":"Stories Retrieved"},"post":{"platform":"instagram","handle":"wanderlens.studio","data_provider":"GRAPHAPI",` +
			`"shortcode":"3100","post_id":"3100","post_type":"story","content_type":null,"thumbnail":null,"display_url":null,"story_links":["https://a"],` +
			`"story_hashtags":["film"],"publish_time":"2023-09-18T00:00:00","updated_at":"2023-09-18T00:00:00",` +
			`"metrics":{"reach":null,"views":null,"likes":null,"play_count":null,"comments":null}}}`},
	{section: "3.8", name: "no such story", request: "GET /posts/instagram/story/3100?profile_id=1", does: []did{{flow: "refresh_story_posts_by_profile_id"}},
		want: failed("story not found for shortcode - 3100", 404)},
	{section: "3.8", name: "no such post", request: "GET /posts/instagram/carousel/C1?profile_id=1", does: refreshOfPost("C1", ""),
		want: failed("carousel not found for shortcode - C1", 404)},
	{section: "3.8", name: "stories fail", request: "GET /posts/instagram/story/3100?profile_id=1",
		does: ends([]did{{flow: "refresh_story_posts_by_profile_id"}}, social.Failed, "(404, 'User not found')"), want: failed("Story not found - (404, 'User not found')", 404)},
	{section: "3.8", name: "a post fails", request: "GET /posts/instagram/image/C1?profile_id=1",
		does: ends(refreshOfPost("C1", ""), social.Failed, "(404, 'Post missing')"), want: failed("image not found - (404, 'Post missing')", 404)},
	{section: "3.8", name: "a story of nobody", request: "GET /posts/instagram/story/3100?profile_id=",
		want: failed("Story not found - refresh_story_posts_by_profile_id() argument 'profile_id' must not be empty", 404)},
	{section: "3.8", name: "profile_id is required", request: "GET /posts/instagram/image/C1", code: 422, want: problems(absent("profile_id"))},
	{section: "3.8", name: "youtube", request: "GET /posts/youtube/image/C1?profile_id=1", want: failed("Platform not supported - youtube", 400)},

	// 3.9: R10.
	{section: "3.9", name: "without @", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id", params: `{"handle": "@ridgefilms"}`}}, social.Complete, "UCa1B2c3D4e5F6g7H8i9J0kL"),
		want: `{"status":{"type":"SUCCESS","message":"Channel ID Retrieved"},"response":{"handle":"ridgefilms","channel_id":"UCa1B2c3D4e5F6g7H8i9J0kL"}}`},
	{section: "3.9", name: "with @", request: atChannel + "@ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id", params: `{"handle": "@ridgefilms"}`}}, social.Complete, "UCa1B2c3D4e5F6g7H8i9J0kL"),
		want: `{"status":{"type":"SUCCESS","message":"Channel ID Retrieved"},"response":{"handle":"@ridgefilms","channel_id":"UCa1B2c3D4e5F6g7H8i9J0kL"}}`},
	{section: "3.9", name: "the page is not there", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id"}}, social.Failed, "(404, 'Something went wrong')"), want: failed("Failed to fetch Channel ID for - ridgefilms", 400)},
	{section: "3.9", name: "YouTube fails", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id"}}, social.Failed, "(503, 'Something went wrong')"), want: failed("Failed to fetch Channel ID for - ridgefilms", 400)},
	{section: "3.9", name: "no id in the page", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id"}}, social.Failed, "(200, 'The page holds no channel id')"), want: failed("Something went wrong - The page holds no channel id", 400)},
	{section: "3.9", name: "no answer", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id"}}, social.Failed, "(0, 'Something went wrong')"), want: failed("Something went wrong - Something went wrong", 400)},
	{section: "3.9", name: "switched off", request: atChannel + "ridgefilms",
		does: ends([]did{{flow: "fetch_yt_channel_id"}}, social.Failed, "No source is available at the moment"),
		want: failed("Something went wrong - No source is available at the moment", 400)},
	{section: "3.9", name: "not looked at for hours", request: atChannel + "ridgefilms",
		does: []did{{flow: "fetch_yt_channel_id", status: social.Pending, sql: "UPDATE scrape_request_log SET run_at = now() AT TIME ZONE 'UTC' + interval '10 minutes', waits_for = 'credential:youtube-page'"}},
		want: failed("Something went wrong - the task has not ended yet", 400)},
	{section: "3.9", name: "a handle that is no text", request: atChannel + "a%00", want: "{\"status\":{\"type\":\"ERROR\",\"message\":\"Failed to fetch Channel ID for - a\\u0000\",\"code\":400}}"},

	// 3.10 and 3.12: R11 and R13. More in TestCreateTask.
	{section: "3.10", name: "another content type", request: "POST /scrape_request_log/flow/x", header: []string{"Content-Type", "text/plain"},
		body: `{"flow":"nope","platform":"INSTAGRAM","params":{}}`, want: failed("unknown flow - nope", 422)},
	{section: "3.10", name: "application/vnd+json", request: "POST /scrape_request_log/flow/x", header: []string{"Content-Type", "application/vnd.api+json"},
		body: `{"flow":"nope","platform":"INSTAGRAM","params":{}}`, want: failed("unknown flow - nope", 422)},
	{section: "3.12", name: "null values", request: "GET /scrape_request_log/flow/7", sql: []string{"INSERT INTO scrape_request_log (id) VALUES (7)"},
		want: `{"status":{"type":"SUCCESS","message":"Scrape Log Data Retrieved"},"post":{"scrape_id":7,"data":null,"status":null,"params":null,"created_at":null,` +
			`"flow":null,"scraped_at":null,"platform":null}}`},

	// 3.11: R12. More in TestUpdateTask.
	{section: "3.11", name: "an id that is none", request: "POST /scrape_request_log/flow/update/x", body: `{}`, code: 422, want: problems(noInt("path", "scrape_id"))},
	{section: "3.11", name: "no body", request: "POST /scrape_request_log/flow/update/7", code: 422, want: problems(`{"loc":["body"],"msg":"field required","type":"value_error.missing"}`)},
	{section: "3.11", name: "a list", request: "POST /scrape_request_log/flow/update/7", body: `[]`, code: 422, want: problems(`{"loc":["body"],"msg":"value is not a valid dict","type":"type_error.dict"}`)},
	{section: "3.11", name: "a missing field", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":2}`,
		want: failed("Something went wrong - field required: status", 400)},
	{section: "3.11", name: "no such row", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":2,"status":"FAILED"}`,
		want: failed("scrape log not found for scrape_id - 7", 404)},
	{section: "3.11", name: "no id is that large", request: "POST /scrape_request_log/flow/update/99999999999999999999", body: `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":2,"status":"FAILED"}`,
		want: failed("scrape log not found for scrape_id - 99999999999999999999", 404)},
	{section: "3.11", name: "a status that is none", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":2,"status":"PROCESSING"}`,
		want: failed("Something went wrong - status must be PENDING, COMPLETE or FAILED", 400)},
	{section: "3.11", name: "a count that is none", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"YOUTUBE","params":{},"retry_count":null,"status":"FAILED"}`,
		want: failed("Something went wrong - retry_count must be a whole number", 400)},
	{section: "3.11", name: "a flow that is no text", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":7,"platform":"YOUTUBE","params":{},"retry_count":1,"status":"FAILED"}`,
		want: failed("Something went wrong - flow must be text", 400)},
	{section: "3.11", name: "a platform that is none", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"a.*","params":{},"retry_count":1,"status":"FAILED"}`,
		want: failed("Something went wrong - platform must be INSTAGRAM, YOUTUBE or SHOPIFY", 400)},
	{section: "3.11", name: "params that are none", request: "POST /scrape_request_log/flow/update/7", body: `{"flow":"f","platform":"YOUTUBE","params":"{}","retry_count":1,"status":"FAILED"}`,
		want: failed("Something went wrong - params must be an object", 400)},

	// 3.13: R14. More in TestListTasks.
	{section: "3.13", name: "none", request: "GET /list_scrape_data/42", want: `{"account_id":"42","scrape_list":[]}`},
	{section: "3.13", name: "a size that is none", request: "GET /list_scrape_data/42?size=ten", want: failed("scrape log not found for account id - invalid literal for int() with base 10: 'ten'", 404)},
	{section: "3.13", name: "an empty size", request: "GET /list_scrape_data/42?size=", want: failed("scrape log not found for account id - invalid literal for int() with base 10: ''", 404)},
	{section: "3.13", name: "a negative size", request: "GET /list_scrape_data/42?size=-1", want: failed("scrape log not found for account id - LIMIT must not be negative", 404)},
	{section: "3.13", name: "an account that is no text", request: "GET /list_scrape_data/%FF", want: failed("scrape log not found for account id - the account id is no text", 404)},

	// 3.14: R15.
	{section: "3.14", name: "nothing given", request: "GET /token/validate", code: 422,
		want: problems(absent("access_token"), absent("social_user_id"), absent("handle"), absent("platform"), absent("type"))},
	{section: "3.14", name: "valid", request: "GET /token/validate?access_token=good&social_user_id=1&handle=h&platform=INSTAGRAM&type=graphapi",
		want: `{"status":{"type":"SUCCESS","message":"Token is valid"},"code":200}`},
	{section: "3.14", name: "invalid", request: "GET /token/validate?access_token=bad&social_user_id=1&handle=h&platform=INSTAGRAM&type=graphapi", want: failed("Token is invalid", 190)},
	{section: "3.14", name: "expired", request: "GET /token/validate?access_token=old&social_user_id=1&handle=h&platform=INSTAGRAM&type=graphapi", want: failed("Data access expired", 500)},
	{section: "3.14", name: "another error", request: "GET /token/validate?access_token=x&social_user_id=1&handle=h&platform=INSTAGRAM&type=graphapi", want: failed("Graph does not answer", 500)},

	// 3.15: R16.
	{section: "3.15", name: "any object", request: "POST /tokens", body: `{"a":[1]}`, want: `{"status":{"type":"SUCCESS","message":"Inserted Successfully"}}`},
	{section: "3.15", name: "no object", request: "POST /tokens", body: `7`, code: 422, want: problems(`{"loc":["body"],"msg":"value is not a valid dict","type":"type_error.dict"}`)},
	{section: "3.15", name: "no JSON", request: "POST /tokens", body: `{`, code: 422, want: `{"detail":[{"loc":["body",0],"msg":"unexpected end of JSON input","type":"value_error.jsondecode"}]}`},
	{section: "3.15", name: "no text", request: "POST /tokens", body: "\xff", code: 400, want: `{"detail":"There was an error parsing the body"}`},

	// 4.1: R17 and R18. More in TestOperations.
	{section: "4.1", name: "down at the start", request: "GET /heartbeat", code: 410},
	{section: "4.1", name: "up", request: "PUT /heartbeat?beat=true", code: 200},
	{section: "4.1", name: "is up", request: "GET /heartbeat", code: 200},
	{section: "4.1", name: "down", request: "PUT /heartbeat?beat=false", code: 410},
	{section: "4.1", name: "is down", request: "GET /heartbeat", code: 410},
	{section: "4.1", name: "beat is required", request: "PUT /heartbeat", code: 422, want: problems(absent("beat"))},
	{section: "4.1", name: "beat is a boolean", request: "PUT /heartbeat?beat=", code: 422, want: problems(noBool("beat"))},
	{section: "4.1", name: "up again", request: "PUT /heartbeat?beat=Y", code: 200},
}
