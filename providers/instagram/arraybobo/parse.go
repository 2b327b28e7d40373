package arraybobo

import (
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

// 9.2. Root: user.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "media_count", Conv: doc.Count},
	{Key: "followers", Path: "follower_count", Conv: doc.Count},
	{Key: "following", Path: "following_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "pk", Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "hd_profile_pic_url_info.url"},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "full_name"},
	{Key: "profile_type", Path: "account_type", Conv: instagram.ProfileType},
	{Key: "fbid", Path: "interop_messaging_user_fbid", Conv: doc.Str},
	{Key: "category_id", Path: "category_id", Conv: doc.Str},
	{Key: "category", Path: "category"},
	{Key: "external_url", Path: "external_url"},
	{Key: "city", Path: "city_name"},
	{Key: "location_lat", Path: "latitude"},
	{Key: "location_long", Path: "longitude"},
	{Key: "public_email", Path: "public_email"},
	{Key: "contact_phone", Path: "contact_phone_number"},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "pk", "username")

// Not in the contract: the same keys for the user of Instagram's web
// interface, which has counts in edges and no account type, city or place.
// Root: data.user or graphql.user.
var webProfileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "edge_owner_to_timeline_media.count", Conv: doc.Count},
	{Key: "followers", Path: "edge_followed_by.count", Conv: doc.Count},
	{Key: "following", Path: "edge_follow.count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "id", Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "profile_pic_url_hd", Or: []string{"profile_pic_url"}},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "full_name"},
	{Key: "profile_type", Path: "account_type", Conv: instagram.ProfileType},
	{Key: "fbid", Path: "fbid", Conv: doc.Str},
	{Key: "category_id", Path: "category_id", Conv: doc.Str},
	{Key: "category", Path: "category_name"},
	{Key: "external_url", Path: "external_url"},
	{Key: "city", Path: "city_name"},
	{Key: "location_lat", Path: "latitude"},
	{Key: "location_long", Path: "longitude"},
	{Key: "public_email", Path: "business_email"},
	{Key: "contact_phone", Path: "business_phone_number"},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "id", "username")

// 9.4. Root: node of each element of edges.
const timeline = "data.user.edge_owner_to_timeline_media"

var timelineTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "edge_media_to_comment.count", Conv: doc.Count},
	{Key: "likes", Path: "edge_media_preview_like.count", Conv: doc.Count}, // -1 when hidden
	{Key: "view_count", Path: "video_view_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	{Key: "handle", Path: "owner.username"},
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType},
	{Key: "display_url", Path: "display_url"},
	{Key: "thumbnail_src", Path: "thumbnail_src"},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp"},
	{Key: "user_tags", Path: "edge_media_to_tagged_user.edges", Conv: instagram.WebTags},
	{Key: "user_sponsors", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.WebSponsors},
	{Key: "is_sponsor", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.NotEmpty},
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text"},
}, "shortcode", "owner.id")

// 9.5. Root: the answer, or where findPost finds the same object.
var postTable = doc.NewTable([]doc.Row{
	// The second path is not in the contract: threaded answers count there.
	{Key: "comments", Path: "edge_media_to_comment.count", Or: []string{"edge_media_to_parent_comment.count"}, Conv: doc.Count},
	{Key: "likes", Path: "edge_media_preview_like.count", Conv: doc.Count},
	{Key: "play_count", Path: "video_play_count", Conv: doc.Count},
	{Key: "view_count", Path: "video_view_count", Conv: doc.Count},
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count}, // seconds, may have a fraction
}, []doc.Row{
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	{Key: "handle", Path: "owner.username"},
	{Key: "display_url", Path: "video_url", Or: []string{"display_url"}}, // images and carousels have no video (Q-AB-7)
	{Key: "thumbnail_src", Path: "display_resources.0.src"},              // the smallest rendition, as it always was
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp"}, // Unix seconds
	{Key: "user_tags", Path: "edge_media_to_tagged_user.edges", Conv: instagram.WebTags},
	{Key: "user_sponsors", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.WebSponsors},
	{Key: "is_sponsor", Path: "edge_media_to_sponsor_user.edges", Conv: instagram.NotEmpty},
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text"},
	{Key: "location", Path: "location"},
}, "shortcode", "owner.id")

// Not in the contract: the keys of 9.5 for a post in the form of Instagram's
// app, with the paths of 9.6. Images have no video and carousels keep theirs
// in their first slide.
var appPostTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username"},
	{Key: "display_url", Path: "video_versions.0.url", Or: []string{"image_versions2.candidates.0.url", "carousel_media.0.image_versions2.candidates.0.url"}},
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0.url", Or: []string{"carousel_media.0.image_versions2.candidates.0.url"}},
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at"},
	{Key: "user_tags", Path: "usertags", Conv: instagram.AppTags},
	{Key: "user_sponsors", Path: "sponsor_tags", Conv: instagram.AppSponsors},
	{Key: "is_sponsor", Path: "sponsor_tags", Conv: instagram.NotEmpty},
	{Key: "caption", Path: "caption.text"},
	{Key: "location", Path: "location"},
}, "code", "user.pk")

// 9.6. Root: each element of items.
var reelTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "media.comment_count", Conv: doc.Count},
	{Key: "likes", Path: "media.like_count", Conv: doc.Count},
	{Key: "view_count", Path: "media.view_count", Conv: doc.Count},
	{Key: "play_count", Path: "media.play_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "media.user.pk", Conv: doc.Str},
	{Key: "handle", Path: "media.user.username"},
	{Key: "display_url", Path: "media.video_versions.0.url"},
	{Key: "thumbnail_src", Path: "media.image_versions2.candidates.0.url"},
	{Key: "post_type", Path: "media.media_type", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "media.taken_at"},
	{Key: "caption", Path: "media.caption.text"},
	// Under media and not beside it, where they never were (Q-AB-1).
	{Key: "user_tags", Path: "media.usertags", Or: []string{"usertags"}, Conv: instagram.AppTags},
	{Key: "user_sponsors", Path: "media.sponsor_tags", Or: []string{"sponsor_tags"}, Conv: instagram.AppSponsors},
	{Key: "is_sponsor", Path: "media.sponsor_tags", Or: []string{"sponsor_tags"}, Conv: instagram.NotEmpty},
}, "media.code", "media.user.pk")

// 9.7. Root: node of each element of edges.
const photosOfYou = "data.user.edge_user_to_photos_of_you"

var taggedTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "edge_media_to_comment.count", Conv: doc.Count},
	{Key: "likes", Path: "edge_media_preview_like.count", Conv: doc.Count},
	{Key: "view_count", Path: "video_view_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	{Key: "handle", Path: "owner.username"},
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType},
	{Key: "display_url", Path: "display_url"},
	{Key: "thumbnail_src", Path: "thumbnail_src"},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Conv: doc.Int},
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text"},
	taggedRow,
}, "shortcode", "owner.id")

// taggedRow is filled by parseTagged: one text, as it always was (Q-AB-6).
var taggedRow = doc.Row{Key: "tagged_user_ids", Conv: doc.Const(social.Null)}

// Not in the contract: the keys of 9.7 for posts in the form of Instagram's
// app. Root: each element of items.
var appTaggedTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username"},
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
	{Key: "display_url", Path: "video_versions.0.url", Or: []string{"image_versions2.candidates.0.url", "carousel_media.0.image_versions2.candidates.0.url"}},
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0.url", Or: []string{"carousel_media.0.image_versions2.candidates.0.url"}},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: doc.Int},
	{Key: "caption", Path: "caption.text"},
	taggedRow,
}, "code", "user.pk")

// parseProfile reads 9.2. Counts are absolute.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	user, path := findUser(root)
	l, err := readProfile(user)
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// findUser is the user of a profile answer and its path. Only the first form
// is in the contract; the others are those of Instagram's web interface, and
// of 2026, where the user is the answer.
func findUser(root doc.Node) (doc.Node, string) {
	for _, path := range []string{"user", "data.user", "graphql.user"} {
		if n := root.At(path); !n.Null() {
			return n, path
		}
	}
	if !root.At("pk").Null() && !root.At("username").Null() {
		return root, "(body)"
	}
	return doc.Node{}, "user"
}

// formOf is the table for a user and the name of its id: pk, or id where the
// web interface is passed on.
func formOf(user doc.Node) (t *doc.Table, id string) {
	if user.At("pk").Null() && !user.At("edge_followed_by").Null() {
		return webProfileTable, "id"
	}
	return profileTable, "pk"
}

func readProfile(user doc.Node) (social.Log, *providers.Error) {
	table, id := formOf(user)
	got, err := table.Read(user)
	if err != nil {
		return social.Log{}, err
	}
	key, err := got.PickText(id)
	if err != nil {
		return social.Log{}, err
	}
	handle, err := got.PickText("username")
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Profile, Key: key, Handle: handle, Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}, nil
}

// parsePosts reads a page of 9.4. One post that cannot be read fails the
// page.
func parsePosts(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	b, err := readEdges(root, timeline, timelineTable)
	if err != nil {
		return social.Batch{}, err
	}
	return b, nil
}

// readEdges reads the posts below media, a connection of the web interface.
func readEdges(root doc.Node, media string, t *doc.Table) (social.Batch, *providers.Error) {
	edges, err := root.NeedList(media + ".edges")
	if err != nil {
		return social.Batch{}, err
	}
	info := root.At(media + ".page_info") // missing is the end (Q-AB-8)
	b := instagram.Page(len(edges), info.At("end_cursor").Text(), info.At("has_next_page").True())
	for i, e := range edges {
		l, err := readPost(e.At("node"), t, "shortcode", "owner.id")
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("%s.edges.%d.node", media, i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// parseReels reads a page of 9.6. One reel that cannot be read fails the
// page; a page may be empty.
func parseReels(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	root = itemsRoot(root)
	info := root.At("paging_info")
	b, err := readItems(root, reelTable, "media.code", "media.user.pk", info.At("max_id").Text(), info.At("more_available").True())
	if err != nil {
		return social.Batch{}, err
	}
	return b, nil
}

// readItems reads the posts in items, as the app has them.
func readItems(root doc.Node, t *doc.Table, key, owner, cursor string, more bool) (social.Batch, *providers.Error) {
	items, err := root.NeedList("items")
	if err != nil {
		return social.Batch{}, err
	}
	b := instagram.Page(len(items), cursor, more)
	for i, n := range items {
		l, err := readPost(n, t, key, owner)
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("items.%d", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// itemsRoot is the object that has items: the answer or, not in the
// contract, its member response.
func itemsRoot(root doc.Node) doc.Node {
	if inner := root.At("response"); root.At("items").Null() && inner.IsObject() {
		return inner
	}
	return root
}

// parseTagged reads a page of 9.7: posts of others, in which the profile that
// was asked for is tagged. One that cannot be read fails the page.
func parseTagged(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	var b social.Batch
	if in := itemsRoot(root); in.At("items").Null() {
		b, err = readEdges(root, photosOfYou, taggedTable)
	} else {
		b, err = readItems(in, appTaggedTable, "code", "user.pk", in.At("next_max_id").Text(), in.At("more_available").True())
	}
	if err != nil {
		return social.Batch{}, err
	}
	for i := range b.Logs {
		b.Logs[i].Dimensions.Set("tagged_user_ids", social.String(profileOf(ask)))
	}
	return b, nil
}

// parsePost reads 9.5.
func parsePost(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	n, path, app := findPost(root)
	var l social.Log
	if app {
		l, err = readPost(n, appPostTable, "code", "user.pk")
	} else {
		l, err = readPost(n, postTable, "shortcode", "owner.id")
	}
	if err != nil {
		out := *err
		out.Detail = path + out.Detail
		return social.Batch{}, &out
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// findPost is the post of an answer, its path with a dot at the end, and
// whether it has the form of Instagram's app. In the contract the post is
// the answer itself; the other places are those of the web and app
// interfaces.
func findPost(root doc.Node) (n doc.Node, path string, app bool) {
	if !root.At("shortcode").Null() {
		return root, "", false
	}
	for _, f := range []struct {
		in, path string
		app      bool
	}{
		{"data", "data.shortcode_media.", false},
		{"data", "data.xdt_shortcode_media.", false},
		{"graphql", "graphql.shortcode_media.", false},
		{"items", "items.0.", true},
		{"media_or_ad", "media_or_ad.", true},
	} {
		at := root.At(f.path[:len(f.path)-1])
		if !at.Null() {
			return at, f.path, f.app
		}
		if n.Null() && path == "" && !root.At(f.in).Null() {
			path, app = f.path, f.app // the envelope of a post that is not there
		}
	}
	if path != "" {
		return doc.Node{}, path, app
	}
	if !root.At("code").Null() && !root.At("media_type").Null() {
		return root, "", true
	}
	return root, "", false
}

// readPost reads a post whose shortcode and owner are at the picked paths
// key and owner.
func readPost(n doc.Node, t *doc.Table, key, owner string) (social.Log, *providers.Error) {
	got, err := t.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	code, err := got.PickText(key)
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Post, Key: code, Owner: got.Pick(owner).Text(), Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}, nil
}
