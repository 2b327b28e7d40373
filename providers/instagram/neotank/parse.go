package neotank

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

// 11.2, without category_id, which this host does not say (Q-NT-3). The second
// paths are not in the contract: Instagram's web interface since 2026 keeps the
// same values there.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "edge_owner_to_timeline_media.count", Or: []string{"media_count"}, Conv: doc.Count},
	{Key: "followers", Path: "edge_followed_by.count", Or: []string{"follower_count"}, Conv: doc.Count},
	{Key: "following", Path: "edge_follow.count", Or: []string{"following_count"}, Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "id", Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "profile_pic_url"},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "full_name"},
	{Key: "fbid", Path: "fbid", Or: []string{"fbid_v2"}, Conv: doc.Str},
	{Key: "category", Path: "category_name", Or: []string{"category"}},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "id", "username")

// 11.3, with the type under its own key (Q-NT-2). Root: node of each element
// of edges.
var postTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "edge_media_to_comment.count", Conv: doc.Count},
	{Key: "likes", Path: "edge_media_preview_like.count", Conv: doc.Count}, // -1 when hidden
}, []doc.Row{
	{Key: "post_id", Path: "id", Conv: doc.Str},
	{Key: "display_url", Path: "video_url", Or: []string{"display_url"}}, // of a video the video (Q-X-20)
	{Key: "thumbnail_src", Path: "thumbnail_src"},
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Conv: doc.Int}, // Unix seconds
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text"},
}, "shortcode", "owner.id")

// parseProfile reads 11.2. Counts are absolute; the answer by id has none.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	user, path := findUser(root)
	l, err := instagram.ReadProfile(source, user, profileTable, "id")
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// bare is the path, in errors, of an object that is the answer itself.
const bare = "(body)"

// findUser is the user of a profile answer and its path. By handle the user is
// the answer, by id it is that of its reel, with little more than id and name
// (Q-NT-1); either call may give either. The other places are not in the
// contract: they are those of Instagram's web interface.
func findUser(root doc.Node) (doc.Node, string) {
	if !root.At("username").Null() {
		return root, bare
	}
	for _, path := range []string{"data.user.reel.user", "data.user", "graphql.user"} {
		if n := root.At(path); !n.Null() {
			return n, path
		}
	}
	for _, in := range []string{"data", "graphql"} {
		if !root.At(in).Null() {
			return doc.Node{}, in + ".user" // the envelope of a user who is not there
		}
	}
	return root, bare
}

// parsePosts reads a page of 11.3. One post that cannot be read fails the
// page; a page may be empty.
func parsePosts(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	list, path := findTimeline(root)
	b, err := readPosts(list)
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return b, nil
}

func readPosts(list doc.Node) (social.Batch, *providers.Error) {
	edges, err := list.NeedList("edges")
	if err != nil {
		return social.Batch{}, err
	}
	cursor, more, err := instagram.PageInfo(list)
	if err != nil {
		return social.Batch{}, err
	}
	b := instagram.Page(len(edges), cursor, more)
	for i, e := range edges {
		l, err := instagram.ReadPost(source, e.At("node"), postTable, "shortcode", "owner.id")
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("edges.%d.node", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// findTimeline is the object that has edges and its path: the answer or, not in
// the contract, the timeline of Instagram's web interface.
func findTimeline(root doc.Node) (doc.Node, string) {
	const timeline = "data.user.edge_owner_to_timeline_media"
	if data := root.At("data"); root.At("edges").Null() && !data.Null() {
		return root.At(timeline), timeline
	}
	return root, bare
}
