package graphapi

import (
	"fmt"
	"net/url"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// profileFields is the field expansion of 8.2.
const profileFields = "business_discovery.username(%s)" +
	"{id,ig_id,name,website,followers_count,follows_count,profile_picture_url,username,biography,media_count," +
	"media{id,user_id,username,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"

func profileRequest(c providers.Credential, ask social.Ask) (providers.Request, error) {
	node, handle, err := account(c, ask)
	if err != nil {
		return providers.Request{}, err
	}
	return get(c, version+node, url.Values{"fields": {fmt.Sprintf(profileFields, handle)}}), nil
}

// judgeProfile is what 8.2 wants of a 200.
func judgeProfile(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	_, err = root.NeedText("business_discovery.ig_id")
	return err
}

// 8.3. Root: business_discovery.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "media_count", Conv: doc.Count},
	{Key: "followers", Path: "followers_count", Conv: doc.Count},
	{Key: "following", Path: "follows_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "ig_id", Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "profile_picture_url"},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "name"},
	{Key: "external_url", Path: "website"},
	{Key: "fbid", Path: "id", Conv: doc.Str},
	{Key: "recent_posts", Path: "media.data"},
	{Key: "recent_stories", Path: "stories.data"},
	{Key: "recent_posts_cursor", Path: "media.paging.cursors.after"},
	{Key: "is_business_or_creator", Conv: doc.Const([]byte("true"))},
}, "ig_id", "username", "media.data", "stories.data")

// parseProfile reads an answer of 8.2: the profile, then its embedded posts
// (16.1).
//
// Counts are absolute, times Unix seconds. A post that cannot be read is
// left out, those around it are kept (Q-X-14); the raw list stays in the
// profile's recent_posts. Owner of a post is empty: an answer of 8.4 has no
// profile id in it.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	logs, err := readProfile(root)
	if err != nil {
		return social.Batch{}, err
	}
	return social.Batch{Logs: logs}, nil
}

// readProfile is the profile and its embedded posts and stories, which only an
// answer of 8.6 has.
func readProfile(root doc.Node) ([]social.Log, *providers.Error) {
	found, err := root.Need(discovery)
	if err != nil {
		return nil, err
	}
	got, err := profileTable.Read(found)
	if err != nil {
		return nil, doc.In(discovery, err)
	}
	key, err := got.PickText("ig_id")
	if err != nil {
		return nil, doc.In(discovery, err)
	}
	handle, err := got.PickText("username")
	if err != nil {
		return nil, doc.In(discovery, err)
	}
	logs := []social.Log{{Kind: social.Profile, Key: key, Handle: handle, Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}}
	for _, list := range []string{"media.data", "stories.data"} {
		posts, _ := readMedia(got.Pick(list).List())
		logs = append(logs, posts...)
	}
	return logs, nil
}

const discovery = "business_discovery"
