package sandbox

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// A question is a call as a provider makes it.
type question struct {
	source, path string
	q            []string
}

// more are those of good questions that are not in good: one for each endpoint,
// as contract/providers-instagram.md 8 to 15 writes it.
var more = []question{
	{GraphAPI, "/v12.0/17841400000009999", []string{"fields", "business_discovery.username(creator00001){media_count,media{id,ig_id,name,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"}},
	{GraphAPI, "/v12.0/17841400000009999", []string{"fields", "business_discovery.username(creator00001)" + storyFields}},
	{GraphAPI, "/v12.0/17900000000002001/insights", []string{"period", "lifetime", "metric", "likes,reach"}},
	{GraphAPI, "/v15.0/18000000000000077/insights", []string{"period", "lifetime", "metric", "impressions,reach,replies"}},
	{GraphAPI, "/v15.0/18000000000000077/insights", []string{"period", "lifetime", "metric", "navigation", "breakdown", "story_navigation_action_type"}},
	{GraphAPI, "/v17.0/17841404000000001/insights", []string{"period", "lifetime", "metric_type", "total_value", "timeframe", "last_90_days", "metric", "follower_demographics", "breakdown", "gender, age"}},
	{GraphAPI, "/v15.0/debug_token", []string{"input_token", "sandbox-token", "access_token", "sandbox-app|secret"}},
	{ArrayBobo, "/ig/tagged/", []string{"id_user", "4000000001"}},
	{ArrayBobo, "/ig/stories/", []string{"id_user", "4000000001"}},
	{JoTucker, "/user_info_by_id", []string{"user_id", "4000000001"}},
	{JoTucker, "/user_info_by_id", []string{"user_name", "creator00001"}},
	{JoTucker, "/medias_v2", []string{"user_id", "4000000001", "batch_size", "50"}},
	{JoTucker, "/media_info_v2", []string{"short_code", "CxAmPle0022"}},
	{JoTucker, "/followers", []string{"user_id", "4000000001", "batch_size", "50"}},
	{JoTucker, "/following", []string{"user_id", "4000000001", "batch_size", "50"}},
	{JoTucker, "/media_likers", []string{"short_code", "CxAmPle0022", "batch_size", "50"}},
	{JoTucker, "/media_comments", []string{"short_code", "CxAmPle0022", "batch_size", "50"}},
	{JoTucker, "/hash_tag_medias_v2", []string{"hash_tag", "coffee", "batch_size", "50"}},
	{NeoTank, "/username-by-id", []string{"userid", "4000000001"}},
	{NeoTank, "/account-info", []string{"username", "creator00001"}},
	{NeoTank, "/account-medias", []string{"userid", "4000000001", "first", "80"}},
	{BestSolutions, "/profile", []string{"user_id", "4000000001"}},
	{BestSolutions, "/profile", []string{"username", "creator00001"}},
	{BestSolutions, "/feed", []string{"user_id", "4000000001"}},
	{IGAPI, "/web_followers", []string{"user_id", "4000000001"}},
	{RocketAPI, "/instagram/media/get_info_by_shortcode", []string{"shortcode", "CxAmPle0022"}},
	{RocketAPI, "/instagram/user/get_clips", []string{"id", "4000000001"}},
	{RocketAPI, "/instagram/user/get_stories", []string{"ids", "4000000001"}},
	{RocketAPI, "/instagram/user/get_followers", []string{"id", "4000000001", "count", "100"}},
	{Lama, "/a1/user", []string{"username", "creator00001"}},
	{Lama, "/v1/user/by/id", []string{"id", "4000000001"}},
	{Lama, "/v1/user/medias/chunk", []string{"user_id", "4000000001", "max_amount", "200"}},
	{Lama, "/a1/media", []string{"code", "CxAmPle0022"}},
	{Lama, "/gql/user/followers/chunk", []string{"user_id", "4000000001", "amount", "200"}},
	{Lama, "/gql/user/following/chunk", []string{"user_id", "4000000001", "amount", "200"}},
	{Lama, "/v1/user/stories", []string{"user_id", "4000000001"}},
	{Lama, "/v1/hashtag/medias/recent/chunk", []string{"name", "coffee", "max_amount", "24"}},
}

const storyFields = "{ig_id,username,media_count,media{id,username,name,comments_count,like_count,media_type,media_product_type,media_url,caption,timestamp,permalink},stories{id,media_type,media_product_type,media_url,owner,permalink,timestamp,username,caption}}"

// hard is what the contract wants of an answer, by path: members of the body,
// and of each of a list.
var hard = map[string]struct{ body, list, each string }{
	"rapidapi-arraybobo /ig/tagged/":     {"", "data.user.edge_user_to_photos_of_you.edges", "node.shortcode"},
	"rapidapi-arraybobo /ig/stories/":    {"reels.4000000001.user.username", "reels.4000000001.items", "pk user.pk media_type taken_at image_versions2.candidates.0.url"},
	"rapidapi-jotucker /user_info_by_id": {"user.pk user.username user.follower_count user.hd_profile_pic_url_info.url", "", ""},
	"rapidapi-jotucker /medias_v2":       {"", "items", "code taken_at like_count comment_count user.pk user.username media_type"},
	"rapidapi-jotucker /media_info_v2":   {"", "items", "code"},
	"rapidapi-jotucker /followers":       {"data.user.edge_followed_by.count", "data.user.edge_followed_by.edges", "node.id node.username node.full_name node.profile_pic_url node.is_private node.is_verified"},
	"rapidapi-jotucker /following":       {"data.user.edge_follow.count", "data.user.edge_follow.edges", "node.id node.username"},
	"rapidapi-jotucker /media_likers":    {"data.shortcode_media.shortcode", "data.shortcode_media.edge_liked_by.edges", "node.id node.username"},
	"rapidapi-jotucker /media_comments": {"data.shortcode_media.edge_media_to_parent_comment.count", "data.shortcode_media.edge_media_to_parent_comment.edges",
		"node.id node.text node.created_at node.owner.id node.owner.username node.edge_liked_by.count node.edge_threaded_comments.edges"},
	"rapidapi-jotucker /hash_tag_medias_v2": {"data.hashtag.name", "data.hashtag.edge_hashtag_to_ranked_media.edges", "node.shortcode node.edge_liked_by.count node.owner.id"},
	"rapidapi-neotank /username-by-id":      {"data.user.reel.user.username data.user.reel.user.id", "", ""},
	"rapidapi-neotank /account-info":        {"id username edge_followed_by.count edge_follow.count edge_owner_to_timeline_media.count fbid category_name", "", ""},
	"rapidapi-neotank /account-medias":      {"owner.id page_info.has_next_page page_info.end_cursor count", "edges", "node.shortcode node.id node.owner.id node.__typename"},
	"rapidapi-bestsolutions /profile":       {"pk username follower_count", "", ""},
	"rapidapi-bestsolutions /feed":          {"more_available next_max_id", "items", "code user.pk"},
	"rapidapi-igapi /web_followers":         {"count page_info.has_next_page page_info.end_cursor", "edges", "node.id node.username"},
	"rocketapi /instagram/media/get_info_by_shortcode": {"status response.status_code", "response.body.items",
		"code user.id product_type media_type reshare_count"},
	"rocketapi /instagram/user/get_clips": {"response.body.paging_info.max_id", "response.body.items", "media.code media.play_count media.video_duration media.user.pk"},
	"rocketapi /instagram/user/get_stories": {"response.body.reels.4000000001.user.username", "response.body.reels.4000000001.items",
		"pk taken_at media_type image_versions2.candidates.0.url"},
	"rocketapi /instagram/user/get_followers": {"response.body.big_list response.body.next_max_id", "response.body.users", "pk pk_id username full_name is_private is_verified profile_pic_url"},
	"lama /a1/user": {"graphql.user.username graphql.user.id graphql.user.is_business_account graphql.user.is_professional_account seo_category_infos",
		"graphql.user.edge_owner_to_timeline_media.edges", "node.shortcode node.edge_liked_by.count"},
	"lama /v1/user/by/id":                  {"pk username is_business follower_count profile_pic_url_hd", "", ""},
	"lama /v1/user/medias/chunk":           {"1", "0", "code media_type taken_at_ts user.pk"},
	"lama /a1/media":                       {"", "items", "code taken_at"},
	"lama /gql/user/followers/chunk":       {"1", "0", "pk username full_name profile_pic_url is_private is_verified"},
	"lama /gql/user/following/chunk":       {"1", "0", "pk username"},
	"lama /v1/user/stories":                {"", "@this", "pk stickers hashtags thumbnail_url video_url media_type user.pk"},
	"lama /v1/hashtag/medias/recent/chunk": {"1", "0", "code taken_at_ts user.pk user.username is_paid_partnership"},
}

func TestHardMembers(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	seen := map[string]bool{}
	for _, q := range more {
		name := q.source + " " + q.path
		status, h, body := c.get(q.source, q.path, q.q...)
		var v any
		c.read(body, &v) // no member twice
		if status != 200 || !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
			t.Fatalf("%s: %d %v %.300s", name, status, h, body)
		}
		if q.source == GraphAPI {
			continue // has tests of its own
		}
		want, ok := hard[name]
		if !ok {
			t.Errorf("%s: nothing is wanted of it", name)
		}
		seen[name] = true
		for path := range strings.FieldsSeq(want.body) {
			if !gjson.GetBytes(body, path).Exists() {
				t.Errorf("%s: no %s in %.300s", name, path, body)
			}
		}
		if want.list == "" {
			continue
		}
		list := gjson.GetBytes(body, want.list).Array()
		if len(list) == 0 {
			t.Errorf("%s: no %s in %.300s", name, want.list, body)
		}
		for i, e := range list {
			for path := range strings.FieldsSeq(want.each) {
				if !e.Get(path).Exists() {
					t.Errorf("%s: no %s in element %d: %.300s", name, path, i, e.Raw)
				}
			}
		}
	}
	for name := range hard {
		if !seen[name] {
			t.Errorf("%s was not asked", name)
		}
	}
}

// TestRefusals: who is unknown, private or empty is so in the words of each source.
func TestRefusals(t *testing.T) {
	c := serve(t, Config{})
	secret, _ := c.world.byHandle("private.x")
	nobody, _ := c.world.byHandle("empty.x")
	hidden, none := strconv.FormatUint(secret.id, 10), strconv.FormatUint(nobody.id, 10)
	for _, tt := range []struct {
		source, path, key, value string
		status                   int
		want                     string
	}{
		{ArrayBobo, "/ig/tagged/", "id_user", "12", 200, noWebUser},
		{ArrayBobo, "/ig/tagged/", "id_user", hidden, 200, `"count":0,"page_info":{"has_next_page":false,"end_cursor":null},"edges":[]`},
		{ArrayBobo, "/ig/stories/", "id_user", "12", 200, `{"reels":{},"reels_media":[],"status":"ok"}`},
		{ArrayBobo, "/ig/stories/", "id_user", hidden, 200, `{"reels":{},"reels_media":[],"status":"ok"}`},
		{ArrayBobo, "/ig/stories/", "id_user", none, 200, `{"reels":{},"reels_media":[],"status":"ok"}`},
		{JoTucker, "/user_info_by_id", "user_name", "missing.x", 200, `{"status":"ok"}`},
		{JoTucker, "/user_info_by_id", "user_id", "12", 200, `{"status":"ok"}`},
		{JoTucker, "/user_info_by_id", "user_name", "private.x", 200, `"is_private":true`},
		{JoTucker, "/medias_v2", "user_id", "12", 200, feedEnd},
		{JoTucker, "/medias_v2", "user_id", hidden, 200, feedEnd},
		{JoTucker, "/medias_v2", "user_id", none, 200, feedEnd},
		{JoTucker, "/media_info_v2", "short_code", "Cmissing012", 200, feedEnd},
		{JoTucker, "/followers", "user_id", "12", 200, noWebUser},
		{JoTucker, "/followers", "user_id", hidden, 200, noWebUser},
		{JoTucker, "/following", "user_id", hidden, 200, noWebUser},
		{JoTucker, "/media_likers", "short_code", "Cmissing012", 200, noWebPost},
		{JoTucker, "/media_comments", "short_code", "short", 200, noWebPost},
		{JoTucker, "/hash_tag_medias_v2", "hash_tag", "missingtag", 200, noWebTag},
		{JoTucker, "/hash_tag_medias_v2", "hash_tag", "no tag", 200, noWebTag},
		{JoTucker, "/hash_tag_medias_v2", "hash_tag", "emptytag", 200, `"edges":[]`},
		{JoTucker, "/nothing", "", "", 404, `{"message":"Endpoint '/nothing' does not exist"}`},
		{NeoTank, "/account-info", "username", "missing.x", 404, noAccount},
		{NeoTank, "/username-by-id", "userid", "12", 200, `{"data":{"user":null},"status":"ok"}`},
		{NeoTank, "/account-medias", "userid", "12", 404, noAccount},
		{NeoTank, "/account-medias", "userid", hidden, 200, `"edges":[]}`},
		{BestSolutions, "/profile", "username", "missing.x", 200, noAccount},
		{BestSolutions, "/profile", "user_id", "12", 200, noAccount},
		{BestSolutions, "/feed", "user_id", "12", 200, feedEnd},
		{IGAPI, "/web_followers", "user_id", "12", 404, noAccount},
		{IGAPI, "/web_followers", "user_id", hidden, 200, `{"message":"Not authorized to view user","status":"fail"}`},
		{RocketAPI, "/instagram/media/get_info_by_shortcode", "shortcode", "Cmissing012", 200, rocketNoPost},
		{RocketAPI, "/instagram/user/get_clips", "id", "12", 200, `"status_code":404`},
		{RocketAPI, "/instagram/user/get_clips", "id", hidden, 200, `"items":[]`},
		{RocketAPI, "/instagram/user/get_stories", "ids", hidden, 200, `"reels":{}`},
		{RocketAPI, "/instagram/user/get_followers", "id", "12", 200, `"status_code":404`},
		{RocketAPI, "/instagram/user/get_followers", "id", hidden, 200, `"status_code":400,"content_type":"application/json","body":{"message":"Not authorized to view user","status":"fail"}`},
		{RocketAPI, "/instagram/nothing", "id", "1", 404, `{"detail":"Not found."}`},
		{Lama, "/a1/user", "username", "missing.x", 404, lamaNoUser.body},
		{Lama, "/v1/user/by/id", "id", "12", 404, lamaNoUser.body},
		{Lama, "/v1/user/medias/chunk", "user_id", "12", 404, lamaNoUser.body},
		{Lama, "/v1/user/medias/chunk", "user_id", hidden, 403, lamaPrivate.body},
		{Lama, "/v1/user/medias/chunk", "user_id", none, 200, `[[],""]`},
		{Lama, "/a1/media", "code", "Cmissing012", 404, lamaNoPost.body},
		{Lama, "/gql/user/followers/chunk", "user_id", hidden, 403, lamaPrivate.body},
		{Lama, "/gql/user/following/chunk", "user_id", "12", 404, lamaNoUser.body},
		{Lama, "/v1/user/stories", "user_id", "12", 404, lamaNoUser.body},
		{Lama, "/v1/user/stories", "user_id", none, 200, `[]`},
		{Lama, "/v1/hashtag/medias/recent/chunk", "name", "missingtag", 404, lamaNoTag.body},
		{Lama, "/v1/hashtag/medias/recent/chunk", "name", "emptytag", 200, `[[],""]`},
		{Lama, "/v2/nothing", "", "", 404, `{"detail":"Not Found"}`},
	} {
		status, _, body := c.get(tt.source, tt.path, tt.key, tt.value)
		if !json.Valid(body) || status != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s%s %s=%s: %d %.300s, want %d %s", tt.source, tt.path, tt.key, tt.value, status, body, tt.status, tt.want)
		}
	}
}

// TestKeysOfAll: a wrong key, one that has expired or is over its quota.
func TestKeysOfAll(t *testing.T) {
	now := &clock{}
	c := serve(t, Config{CheckKeys: true, Clock: now.now})
	for _, tt := range []struct {
		source, path, header, lead string
		none, wrong, old           int
	}{
		{JoTucker, "/user_info_by_id?user_id=4000000001", rapidKey, "", 401, 403, 403},
		{NeoTank, "/account-info?username=a", rapidKey, "", 401, 403, 403},
		{BestSolutions, "/profile?username=a", rapidKey, "", 401, 403, 403},
		{IGAPI, "/web_followers?user_id=4000000001", rapidKey, "", 401, 403, 403},
		{RocketAPI, "/instagram/user/get_clips", "Authorization", "Token ", 401, 401, 402},
		{Lama, "/a1/user?username=a", "x-access-key", "", 401, 401, 402},
	} {
		ask := func(key string) int {
			req, err := http.NewRequest(http.MethodPost, c.BaseURL(c.root, tt.source)+tt.path, strings.NewReader(`{"id":"4000000001"}`))
			if err != nil {
				t.Fatal(err)
			}
			if tt.source != RocketAPI {
				req.Method, req.Body, req.ContentLength = http.MethodGet, nil, 0
			}
			if key != "" {
				req.Header.Set(tt.header, tt.lead+key)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res.StatusCode
		}
		id := c.Expire(Expiry{Source: tt.source, Key: "sandbox-third"})
		c.SetQuota(Quota{Source: tt.source, Key: "sandbox-second", Calls: 1, Per: time.Hour})
		for _, v := range []struct {
			key  string
			want int
		}{{"", tt.none}, {"wrong", tt.wrong}, {"sandbox-expired", tt.old}, {"sandbox-key", 200}, {"sandbox-second", 200}, {"sandbox-second", 429}, {"sandbox-third", tt.old}} {
			if got := ask(v.key); got != v.want {
				t.Errorf("%s with the key %q: %d, want %d", tt.source, v.key, got, v.want)
			}
		}
		c.Renew(id)
		if v := c.Stats().Sources[tt.source]; v.Limited != 1 || v.Calls != 7 {
			t.Errorf("%s: %+v", tt.source, v)
		}
	}
	res, err := http.Post(c.BaseURL(c.root, JoTucker)+"/followers", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST to jotucker: %d", res.StatusCode)
	}
	for _, body := range []string{"", "[]", `{"id":`} {
		req, _ := http.NewRequest(http.MethodPost, c.BaseURL(c.root, RocketAPI)+"/instagram/user/get_followers", strings.NewReader(body))
		req.Header.Set("Authorization", "Token sandbox-key")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != http.StatusBadRequest {
			t.Errorf("rocketapi with the body %q: %d", body, res.StatusCode)
		}
	}
}
