package rocketapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before: a row of a table, a conversion, or an envelope that is
// accepted. Older answers are then parsed again.
const parserVersion = 1

// PT-rocket, 1.6, and the tags of 14.2: as instagram.AppTags, but without tags
// an empty list.
var (
	postType = doc.OneOf(
		map[string]string{"1": "image", "2": "reels", "8": "carousel"},
		map[string]string{"feed": "image", "clips": "reels", "carousel_container": "carousel"})
	tags doc.Conv = func(n doc.Node) (json.RawMessage, error) {
		list, err := instagram.AppTags(n)
		if bytes.Equal(list, social.Null) {
			return json.RawMessage("[]"), err
		}
		return list, err
	}
)

// 14.2. Root: items.0 of the body. Both URLs are those of an image, videos too,
// as they always were (Q-X-20). Two members are read that are not in the
// contract: older answers have no user.id, and carousels have their first image
// in a slide.
var postTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count}, // seconds, may have a fraction
	{Key: "reshare_count", Path: "reshare_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.id", Or: []string{"user.pk"}, Conv: doc.Str},
	{Key: "handle", Path: "user.username"},
	{Key: "display_url", Path: "image_versions2.candidates.0.url", Or: []string{"carousel_media.0.image_versions2.candidates.0.url"}},
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0.url", Or: []string{"carousel_media.0.image_versions2.candidates.0.url"}},
	// product_type says that a video of the feed is an image (Q-RK-8).
	{Key: "post_type", Path: "media_type", Or: []string{"product_type"}, Conv: postType},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: doc.Int}, // Unix seconds
	{Key: "user_tags", Path: "usertags", Conv: tags},
	{Key: "caption", Path: "caption.text"},
	{Key: "location", Path: "location"},
	{Key: "is_paid_partnership", Path: "is_paid_partnership"},
}, "code", "user.id", "user.pk")

// 14.3. Root: each element of items of the body.
var reelTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "media.comment_count", Conv: doc.Count},
	{Key: "likes", Path: "media.like_count", Conv: doc.Count},
	{Key: "view_count", Path: "media.view_count", Conv: doc.Count},
	{Key: "play_count", Path: "media.play_count", Conv: doc.Count},
	{Key: "video_duration", Path: "media.video_duration", Conv: doc.Count},
	{Key: "reshare_count", Path: "media.reshare_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "media.user.pk", Conv: doc.Str},
	{Key: "handle", Path: "media.user.username"},
	{Key: "display_url", Path: "media.video_versions.0.url"},
	{Key: "thumbnail_src", Path: "media.image_versions2.candidates.0.url"},
	{Key: "post_type", Path: "media.media_type", Conv: postType},
	{Key: "taken_at_timestamp", Path: "media.taken_at", Conv: doc.Int},
	{Key: "caption", Path: "media.caption.text"},
	// Under media and not beside it, where they never were (Q-RK-3).
	{Key: "user_tags", Path: "media.usertags", Conv: tags},
	{Key: "location", Path: "media.location"},
	{Key: "is_paid_partnership", Path: "media.is_paid_partnership"},
}, "media.code", "media.user.pk")

// 14.4. Root: each element of the items of a reel.
var storyTable = doc.NewTable([]doc.Row{
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count},
}, []doc.Row{
	{Key: "post_id", Path: "pk", Conv: doc.Str, Hard: true},
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Conv: doc.Const(social.Null)}, // that of the reel, see readStories
	{Key: "content_type", Path: "media_type", Conv: instagram.StoryType},
	{Key: "post_type", Conv: doc.Const([]byte(`"story"`))},
	{Key: "story_links", Path: "story_link_stickers", Conv: instagram.StoryLinks},
	{Key: "story_hashtags", Path: "story_hashtags", Conv: instagram.StoryHashtags},
	// Every story has an image, videos too, or the page fails.
	{Key: "display_url", Path: "video_versions.0", Or: []string{"image_versions2.candidates.0"}, Conv: instagram.MediaURL},
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0", Conv: instagram.MediaURL, Hard: true},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: doc.Int}, // the existing system left it out (Q-RK-4)
	{Key: "location", Path: "location"},
	{Key: "user_tags", Path: "reel_mentions", Conv: instagram.StoryMentions},
	{Key: "is_paid_partnership", Path: "is_paid_partnership"},
}, "pk", "user.pk")

// parser reads the envelope and gives its body to read.
func parser(read func(ask social.Ask, body doc.Node) (social.Batch, *providers.Error)) providers.Parser {
	return func(ask social.Ask, _ time.Time, answer []byte) (social.Batch, error) {
		root, err := doc.Parse(answer)
		if err != nil {
			return social.Batch{}, err
		}
		body, err := bodyOf(root)
		if err != nil {
			return social.Batch{}, err
		}
		b, err := read(ask, body)
		if err != nil {
			return social.Batch{}, doc.In("response.body", err)
		}
		return b, nil
	}
}

// bodyOf is response.body. Not in the contract: in answers of 2026 that are
// errors it is text that holds the JSON.
func bodyOf(root doc.Node) (doc.Node, *providers.Error) {
	body, err := root.Need("response.body")
	if err != nil {
		return doc.Node{}, err
	}
	if body.IsText() {
		if body, err = doc.Parse([]byte(body.Text())); err != nil {
			return doc.Node{}, providers.Malformed("response.body: %s", err.Detail)
		}
	}
	if !body.IsObject() {
		return doc.Node{}, providers.Malformed("response.body is %s, want an object", body.Type())
	}
	return body, nil
}

// readPost reads 14.2.
func readPost(_ social.Ask, body doc.Node) (social.Batch, *providers.Error) {
	l, err := toPost(body.At("items.0"), postTable, "code", "user.id", "user.pk")
	if err != nil {
		return social.Batch{}, doc.In("items.0", err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// readReels reads a page of 14.3. One reel that cannot be read fails the
// page.
func readReels(_ social.Ask, body doc.Node) (social.Batch, *providers.Error) {
	items, err := body.NeedList("items")
	if err != nil {
		return social.Batch{}, err
	}
	info := body.At("paging_info")
	b := instagram.Page(len(items), info.At("max_id").Text(), info.At("more_available").True())
	for i, n := range items {
		l, err := toPost(n, reelTable, "media.code", "media.user.pk")
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("items.%d", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// readStories reads 14.4. No stories are no logs; one that cannot be read
// fails all.
func readStories(ask social.Ask, body doc.Node) (social.Batch, *providers.Error) {
	reel, err := instagram.ReelOf(body, profileOf(ask))
	if err != nil {
		return social.Batch{}, err
	}
	b := instagram.Page(len(reel.Items), "", false)
	for i, n := range reel.Items {
		l, err := toPost(n, storyTable, "pk", "user.pk")
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("%s.items.%d", reel.Path, i), err)
		}
		l.Dimensions.Set("handle", social.String(reel.Handle))
		if l.Owner == "" {
			l.Owner = profileOf(ask)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// readFollowers reads a page of 14.5. There is another one where there is a
// cursor to it, whatever big_list says (Q-RK-6).
func readFollowers(ask social.Ask, body doc.Node) (social.Batch, *providers.Error) {
	users, err := body.NeedList("users")
	if err != nil {
		return social.Batch{}, err
	}
	b := instagram.Page(len(users), body.At("next_max_id").Text(), true)
	for i, n := range users {
		l, err := toFollower(profileOf(ask), n)
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("users.%d", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// toFollower takes pk where there is no pk_id (Q-RK-9).
func toFollower(profile string, n doc.Node) (social.Log, *providers.Error) {
	name := "pk_id"
	if n.At(name).Null() {
		name = "pk"
	}
	id, err := n.NeedText(name)
	if err != nil {
		return social.Log{}, err
	}
	return instagram.Follower(source, profile, id, n)
}

// toPost reads a post whose shortcode is at the picked path key, and its owner
// at the first of owners that has one.
func toPost(n doc.Node, t *doc.Table, key string, owners ...string) (social.Log, *providers.Error) {
	got, err := t.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	code, err := got.PickText(key)
	if err != nil {
		return social.Log{}, err
	}
	l := social.Log{Kind: social.Post, Key: code, Source: source, Dimensions: got.Dimensions, Metrics: got.Metrics}
	for _, path := range owners {
		if l.Owner == "" {
			l.Owner = got.Pick(path).Text()
		}
	}
	return l, nil
}
