package jotucker

import (
	"slices"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// Where the pictures of a post are.
const (
	video = "video_versions.0.url"
	still = "image_versions2.candidates.0.url"
	slide = "carousel_media.0.image_versions2.candidates.0.url"
)

// The tables of 10.4, one for each side of its thumbnail rule, and those of
// 10.5, which has no place but else the same rules (Q-JT-4). Root: an element
// of items.
var (
	mediaTable = newPostTable(place, still)
	albumTable = newPostTable(place, slide, still) // some carousels have a picture of their own only
	mediaAlone = newPostTable(nil, still)
	albumAlone = newPostTable(nil, slide, still)
)

var place = []doc.Row{
	{Key: "location", Path: "location.name"},
	{Key: "location_long", Path: "location.lng"},
	{Key: "location_lat", Path: "location.lat"},
}

// newPostTable takes the thumbnail from the first of thumbs that is there.
func newPostTable(place []doc.Row, thumbs ...string) *doc.Table {
	return doc.NewTable([]doc.Row{
		{Key: "comments", Path: "comment_count", Conv: doc.Count},
		{Key: "likes", Path: "like_count", Conv: doc.Count},
		{Key: "view_count", Path: "view_count", Conv: doc.Count},
		{Key: "play_count", Path: "play_count", Conv: doc.Count},
	}, slices.Concat([]doc.Row{
		{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
		{Key: "handle", Path: "user.username"},
		{Key: "display_url", Path: video, Or: thumbs}, // of a video the video, on pages too (Q-X-20)
		{Key: "thumbnail_src", Path: thumbs[0], Or: thumbs[1:]},
		{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
		{Key: "taken_at_timestamp", Path: "taken_at"}, // Unix seconds
		{Key: "caption", Path: "caption.text"},
	}, place, []doc.Row{
		{Key: "user_tags", Path: "usertags", Conv: instagram.TaggedUsers},
		{Key: "user_sponsors", Path: "sponsor_tags", Conv: instagram.AppSponsors},
		{Key: "is_sponsor", Path: "sponsor_tags", Conv: instagram.NotEmpty},
	}), "code", "user.pk")
}

// posts finds the list of 10.4. It may be empty: an account without posts
// (Q-JT-6). Paging info is not in the contract: reels have it.
func posts(root doc.Node) (page, *providers.Error) {
	in, path, ok := holder(root, "items")
	if !ok {
		_, err := root.NeedList("items")
		return page{}, err
	}
	p := page{at: path + "items", items: in.At("items").List(),
		cursor: in.At("next_max_id").Text(), more: in.At("more_available").True()}
	if info := in.At("paging_info"); p.cursor == "" && !info.Null() {
		p.cursor, p.more = info.At("max_id").Text(), info.At("more_available").True()
	}
	return p, nil
}

// readPost reads an element of 10.4. Not in the contract: a reel is one level
// deeper.
func readPost(_ social.Ask, n doc.Node) (social.Log, *providers.Error) {
	if inner := n.At("media"); inner.IsObject() && n.At("code").Null() {
		l, err := post(inner, mediaTable, albumTable)
		return l, doc.In("media", err)
	}
	return post(n, mediaTable, albumTable)
}

func post(n doc.Node, media, album *doc.Table) (social.Log, *providers.Error) {
	t := media
	if isAlbum(n) {
		t = album
	}
	return instagram.ReadPost(source, n, t, "code", "user.pk")
}

func isAlbum(n doc.Node) bool {
	t, _ := instagram.WebType(n.At("media_type")) //nolint:errcheck // it never fails
	return string(t) == `"carousel"`
}

// parsePost reads 10.5: the first item only.
func parsePost(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	n, path, err := findPost(root)
	if err != nil {
		return social.Batch{}, err
	}
	l, err := post(n, mediaAlone, albumAlone)
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}

// findPost is the post of an answer and its path. Not in the contract: that of
// 2026 is media_or_ad.
func findPost(root doc.Node) (doc.Node, string, *providers.Error) {
	if n := root.At("media_or_ad"); n.IsObject() && root.At("items").Null() {
		return n, "media_or_ad", nil
	}
	if _, err := root.NeedList("items"); err != nil {
		return doc.Node{}, "", err
	}
	n, err := root.Need("items.0")
	return n, "items.0", err
}

// 10.10. Root: a node. What Or names is not in the contract: there the app
// interface has the same.
var hashtagTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "edge_media_to_comment.count", Or: []string{"comment_count"}, Conv: doc.Count},
	{Key: "likes", Path: "edge_liked_by.count", Or: []string{"like_count"}, Conv: doc.Count},
	{Key: "view_count", Path: "video_view_count", Or: []string{"view_count"}, Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "owner.id", Or: []string{"user.pk"}, Conv: doc.Str},
	{Key: "display_url", Path: "display_url", Or: []string{video, still, slide}},
	{Key: "thumbnail_src", Path: "thumbnail_src", Or: []string{still, slide}},
	{Key: "post_type", Path: "__typename", Or: []string{"media_type"}, Conv: instagram.WebType},
	{Key: "hashtags", Path: captionText, Or: []string{"caption.text"}, Conv: instagram.Hashtags},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Or: []string{"taken_at"}},
	{Key: "caption", Path: captionText, Or: []string{"caption.text"}},
}, "shortcode", "code", "owner.id", "user.pk")

const captionText = "edge_media_to_caption.edges.0.node.text"

// hashtag finds the list of 10.10: the posts of a hashtag that rank highest.
// The other two forms are not in the contract: the connection of older web
// answers, and the sections of the app.
func hashtag(root doc.Node) (page, *providers.Error) {
	if p, ok := sections(root); ok {
		return p, nil
	}
	const tag = "data.hashtag."
	at := tag + firstOf(root.At("data.hashtag"), "edge_hashtag_to_ranked_media", "edge_hashtag_to_media")
	return edges(root, at)
}

// sections are those of the posts that rank highest, else the recent ones. A
// section of another layout has no media, but trays of reels.
func sections(root doc.Node) (page, bool) {
	for _, at := range []string{"sections", "response.sections", "data.top.sections", "data.recent.sections"} {
		list := root.At(at)
		if !list.IsList() {
			continue
		}
		p := page{at: at + ".layout_content.medias", in: "media"} // counted over all sections
		for _, s := range list.List() {
			p.items = append(p.items, s.At("layout_content.medias").List()...)
		}
		in := root.At(at[:len(at)-len("sections")])
		p.cursor, p.more = in.At("next_max_id").Text(), in.At("more_available").True()
		return p, true
	}
	return page{}, false
}

func readHashtagPost(_ social.Ask, n doc.Node) (social.Log, *providers.Error) {
	return instagram.ReadPost(source, n, hashtagTable, firstOf(n, "shortcode", "code"), firstOf(n, "owner.id", "user.pk"))
}
