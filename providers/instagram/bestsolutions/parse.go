package bestsolutions

import (
	"fmt"
	"time"

	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before: a row of a table, a conversion, or an envelope that is
// accepted. Older answers are then parsed again.
const parserVersion = 1

// 12.2. Root: the answer. The other paths of the picture are not in the
// contract: the app interface of 2026 has no hd_profile_pic_url_info for some.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "media_count", Conv: doc.Count},
	{Key: "followers", Path: "follower_count", Conv: doc.Count},
	{Key: "following", Path: "following_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "pk", Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "hd_profile_pic_url_info.url", Or: []string{"profile_pic_url_hd", "profile_pic_url"}},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "full_name"},
	{Key: "external_url", Path: "external_url"},
	{Key: "profile_type", Path: "account_type", Conv: instagram.ProfileType},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "pk", "username")

// The thumbnail rule of 10.4, whose value is the URL itself (Q-BS-1): a
// carousel has the image of its first slide, any other post its own.
const (
	slideImage = "carousel_media.0.image_versions2.candidates.0.url"
	image      = "image_versions2.candidates.0.url"
)

// 12.3. Root: each element of items.
var postTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username"},
	{Key: "display_url", Path: "video_versions.0.url", Or: []string{slideImage, image}}, // of a video the video (Q-X-20)
	{Key: "thumbnail_src", Path: slideImage, Or: []string{image}},
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: doc.Int}, // Unix seconds
	{Key: "caption", Path: "caption.text"},
}, "code", "user.pk")

// parseProfile reads 12.2. Counts are absolute.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	user, path := findUser(root)
	l, err := instagram.ReadProfile(source, user, profileTable, "pk")
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// findUser is the user of a profile answer and its path: the answer or, not in
// the contract, its member user, where Instagram's app has it.
func findUser(root doc.Node) (doc.Node, string) {
	if user := root.At("user"); root.At("pk").Null() && root.At("username").Null() && !user.Null() {
		return user, "user"
	}
	return root, "(body)"
}

// parsePosts reads a page of 12.3. One post that cannot be read fails the
// page; a page may be empty.
func parsePosts(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	root = feed(root)
	items, err := root.NeedList("items")
	if err != nil {
		return social.Batch{}, err
	}
	b := instagram.Page(len(items), root.At("next_max_id").Text(), root.At("more_available").True())
	for i, n := range items {
		l, err := instagram.ReadPost(source, n, postTable, "code", "user.pk")
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("items.%d", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// feed is the object that has items: the answer or, not in the contract, its
// member response.
func feed(root doc.Node) doc.Node {
	if inner := root.At("response"); root.At("items").Null() && inner.IsObject() {
		return inner
	}
	return root
}
