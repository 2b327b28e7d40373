package jotucker

import (
	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// 10.8. Root: a node; no metrics. Of the app's users it reads the same.
var likeTable = doc.NewTable(nil, []doc.Row{
	{Key: "profile_pic_url", Path: "profile_pic_url", Conv: doc.Str},
	{Key: "handle", Path: "username", Conv: doc.Str},
	{Key: "full_name", Path: "full_name", Conv: doc.Str},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "id", "pk")

// 10.9. Root: a node. What Or names is not in the contract: there the app
// interface has the same.
var commentTable = doc.NewTable([]doc.Row{
	{Key: "likes", Path: "edge_liked_by.count", Or: []string{"comment_like_count"}, Conv: doc.Count},
	{Key: "comments", Path: "edge_threaded_comments.count", Or: []string{"child_comment_count"}, Conv: doc.Count},
	// A list among the metrics, as readers of events know it (Q-JT-5).
	{Key: "comments_thread", Path: "edge_threaded_comments.edges", Or: []string{"preview_child_comments"}},
}, []doc.Row{
	{Key: "comment_id", Path: "id", Or: []string{"pk"}, Conv: doc.Str},
	{Key: "text", Path: "text", Conv: doc.Str},
	{Key: "taken_at_timestamp", Path: "created_at", Conv: doc.Int}, // Unix seconds
	{Key: "profile_pic_url", Path: "owner.profile_pic_url", Or: []string{"user.profile_pic_url"}, Conv: doc.Str},
	{Key: "handle", Path: "owner.username", Or: []string{"user.username"}, Conv: doc.Str},
	{Key: "is_verified", Path: "owner.is_verified", Or: []string{"user.is_verified"}, Conv: doc.Bool},
}, "owner.id", "user.pk")

// likes finds the list of 10.8.
func likes(root doc.Node) (page, *providers.Error) {
	return people(root, "data.shortcode_media.edge_liked_by")
}

// comments finds the list of 10.9: comments on the post, not answers to them.
// The other two forms are not in the contract: the connection of older web
// answers, and the comments of the app.
func comments(root doc.Node) (page, *providers.Error) {
	if in, path, ok := holder(root, "comments"); ok {
		p := page{at: path + "comments", items: in.At("comments").List()}
		switch {
		case in.At("has_more_headload_comments").True():
			p.cursor, p.more = in.At("next_min_id").Text(), true
		case in.At("has_more_comments").True():
			p.cursor, p.more = in.At("next_max_id").Text(), true
		}
		return p, nil
	}
	const post = "data.shortcode_media."
	return edges(root, post+firstOf(root.At("data.shortcode_media"), "edge_media_to_parent_comment", "edge_media_to_comment"))
}

func readLike(ask social.Ask, n doc.Node) (social.Log, *providers.Error) {
	return activity(ask, n, social.Like, likeTable, "id", "pk")
}

func readComment(ask social.Ask, n doc.Node) (social.Log, *providers.Error) {
	return activity(ask, n, social.Comment, commentTable, "owner.id", "user.pk")
}

// activity reads what somebody did to the post of ask. Who did it is at one
// of the picked paths, and may be unknown.
func activity(ask social.Ask, n doc.Node, kind string, t *doc.Table, actor ...string) (social.Log, *providers.Error) {
	got, err := t.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	l := social.Log{Kind: social.Activity, Key: target(ask), Type: kind, Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}
	for _, path := range actor {
		if l.Actor == "" {
			l.Actor = got.Pick(path).Text()
		}
	}
	return l, nil
}
