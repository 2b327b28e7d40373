package arraybobo

import (
	"encoding/json"
	"fmt"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// 9.8. Root: each element of the items of a reel.
var storyTable = doc.NewTable(nil, []doc.Row{
	{Key: "post_id", Path: "pk", Conv: doc.Str, Hard: true},
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	handleRow,
	{Key: "content_type", Path: "media_type", Conv: instagram.StoryType},
	{Key: "post_type", Conv: doc.Const([]byte(`"story"`))},
	{Key: "story_links", Path: "story_link_stickers", Conv: instagram.StoryLinks},
	{Key: "story_hashtags", Path: "story_hashtags", Conv: instagram.StoryHashtags},
	// Every story has an image, videos too, or the page fails.
	{Key: "display_url", Path: "video_versions.0", Or: []string{"image_versions2.candidates.0"}, Conv: instagram.MediaURL},
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0", Conv: instagram.MediaURL, Hard: true},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: doc.Int},
	{Key: "user_sponsors", Path: "sponsor_tags", Conv: instagram.AppSponsors},
	{Key: "is_sponsor", Path: "sponsor_tags", Conv: instagram.NotEmpty},
}, "pk", "user.pk")

// handleRow is filled by parseStories: the handle is that of the reel.
var handleRow = doc.Row{Key: "handle", Conv: doc.Const(social.Null)}

// Not in the contract: the keys of 9.8 for stories in the form of Instagram's
// web interface. Its one link is a whole URL.
var webStoryTable = doc.NewTable(nil, []doc.Row{
	{Key: "post_id", Path: "id", Conv: doc.Str, Hard: true},
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	handleRow,
	{Key: "content_type", Path: "__typename", Conv: doc.OneOf(nil, map[string]string{"GraphStoryImage": "image", "GraphStoryVideo": "video"})},
	{Key: "post_type", Conv: doc.Const([]byte(`"story"`))},
	{Key: "story_links", Path: "story_cta_url", Conv: oneLink},
	{Key: "story_hashtags", Path: "tappable_objects", Conv: tappedHashtags},
	{Key: "display_url", Path: "video_resources.0.src", Or: []string{"display_url"}, Hard: true},
	{Key: "thumbnail_src", Path: "display_url"},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Conv: doc.Int},
	{Key: "user_sponsors", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.WebSponsors},
	{Key: "is_sponsor", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.NotEmpty},
}, "id", "owner.id")

func oneLink(n doc.Node) (json.RawMessage, error) {
	links := []string{}
	if s := n.Text(); s != "" {
		links = append(links, s)
	}
	return list(links), nil
}

func tappedHashtags(n doc.Node) (json.RawMessage, error) {
	names := []string{}
	for _, t := range n.List() {
		if name := t.At("name").Text(); name != "" && t.At("__typename").Text() == "GraphTappableHashtag" {
			names = append(names, name)
		}
	}
	return list(names), nil
}

func list(texts []string) json.RawMessage {
	out := []byte{'['}
	for i, s := range texts {
		if i > 0 {
			out = append(out, ',')
		}
		out = social.AppendString(out, s)
	}
	return append(out, ']')
}

// parseStories reads 9.8. No stories are no logs; one that cannot be read
// fails all.
func parseStories(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	reel, web, err := findReel(root, profileOf(ask))
	if err != nil {
		return social.Batch{}, err
	}
	table, key, owner := storyTable, "pk", "user.pk"
	if web {
		table, key, owner = webStoryTable, "id", "owner.id"
	}
	b := instagram.Page(len(reel.Items), "", false)
	for i, n := range reel.Items {
		l, err := readPost(n, table, key, owner)
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

// findReel is the reel of profile, and whether it has the form of Instagram's
// web interface, which is not in the contract.
func findReel(root doc.Node, profile string) (reel instagram.Reel, web bool, err *providers.Error) {
	found := root.At("data.reels_media")
	if !found.IsList() {
		if root.At("reels").Null() && !(root.At("error").Null() && root.At("message").Null()) {
			return reel, false, providers.Malformed("reels is missing, and there is an error")
		}
		reel, err = instagram.ReelOf(root, profile)
		return reel, false, err
	}
	for i, n := range found.List() {
		if n.At("user.id").Text() == profile {
			reel, err = instagram.ReadReel(n, fmt.Sprintf("data.reels_media.%d", i))
			break
		}
	}
	return reel, true, err
}
