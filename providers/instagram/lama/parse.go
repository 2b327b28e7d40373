package lama

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before: a row of a table, a conversion, a form that is accepted, or
// which posts are skipped. Older answers are then parsed again.
const parserVersion = 1

// 15.2, layout A. Root: the answer.
const (
	webUser  = "graphql.user."
	timeline = webUser + "edge_owner_to_timeline_media"
)

var webProfileTable = doc.NewTable([]doc.Row{
	{Key: "followers", Path: webUser + "edge_followed_by.count", Conv: doc.Count},
	{Key: "following", Path: webUser + "edge_follow.count", Conv: doc.Count},
	{Key: "media_count", Path: timeline + ".count", Conv: doc.Count},
	{Key: "reels_media_count", Path: webUser + "edge_felix_video_timeline.count", Conv: doc.Count},
}, []doc.Row{
	{Key: "seo_category_info", Path: "seo_category_infos", Conv: doc.Str}, // JSON text (Q-LM-6)
	{Key: "bio", Path: webUser + "biography"},
	{Key: "is_verified", Path: webUser + "is_verified", Conv: doc.Bool},
	{Key: "is_private", Path: webUser + "is_private", Conv: doc.Bool},
	{Key: "external_url", Path: webUser + "external_url"},
	{Key: "fbid", Path: webUser + "fbid", Conv: doc.Str},
	{Key: "handle", Path: webUser + "username", Hard: true},
	{Key: "full_name", Path: webUser + "full_name"},
	{Key: "profile_id", Path: webUser + "id", Conv: doc.Str, Hard: true}, // text (Q-LM-11)
	{Key: "is_business", Path: webUser + "is_business_account", Conv: doc.Bool},
	{Key: "is_professional", Path: webUser + "is_professional_account", Conv: doc.Bool},
	{Key: "is_business_or_creator", Path: "graphql.user", Conv: businessOrCreator},
	{Key: "category", Path: webUser + "category_name"},
	{Key: "business_category", Path: webUser + "business_category_name"},
	// The second path is not in the contract: some answers have no large picture.
	{Key: "profile_pic_url", Path: webUser + "profile_pic_url_hd", Or: []string{webUser + "profile_pic_url"}},
	{Key: "recent_videos", Path: webUser + "edge_felix_video_timeline"},
	{Key: "recent_posts", Path: timeline},
}, webUser+"id", webUser+"username")

// 15.3, layout B. Root: the answer.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "followers", Path: "follower_count", Conv: doc.Count},
	{Key: "following", Path: "following_count", Conv: doc.Count},
	{Key: "media_count", Path: "media_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "bio", Path: "biography"},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "external_url", Path: "external_url"},
	{Key: "city", Path: "city_name"},
	{Key: "location_lat", Path: "latitude"},
	{Key: "location_long", Path: "longitude"},
	{Key: "public_email", Path: "public_email"},
	{Key: "contact_phone", Path: "contact_phone_number"},
	{Key: "fbid", Path: "interop_messaging_user_fbid", Conv: doc.Str}, // text or number
	{Key: "handle", Path: "username", Hard: true},
	{Key: "full_name", Path: "full_name"},
	{Key: "profile_id", Path: "pk", Conv: doc.Str, Hard: true}, // text (Q-LM-11)
	{Key: "is_business", Path: "is_business", Conv: doc.Bool},
	{Key: "is_business_or_creator", Path: "is_business", Hard: true},
	{Key: "category", Path: "category_name"},
	{Key: "business_category", Path: "business_category_name"},
	{Key: "profile_pic_url", Path: "profile_pic_url_hd", Or: []string{"profile_pic_url"}}, // as in layout A
}, "pk", "username")

// 15.5 as Q-LM-3 and Q-LM-4 want it. Root: node of each element of edges. The
// keys that it named twice are emitted once.
var embeddedTable = doc.NewTable([]doc.Row{
	{Key: "view_count", Path: "video_view_count", Conv: doc.Count},
	{Key: "comments", Path: "edge_media_to_comment.count", Conv: doc.Count},
	// The second path is not in the contract: later answers count there.
	{Key: "likes", Path: "edge_liked_by.count", Or: []string{"edge_media_preview_like.count"}, Conv: doc.Count},
}, []doc.Row{
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType, Hard: true},
	{Key: "post_type_original", Path: "__typename", Conv: doc.Str},
	{Key: "short_code", Path: "shortcode", Conv: doc.Str},
	{Key: "dimensions", Path: "dimensions"},
	{Key: "thumbnail_src", Path: "thumbnail_src", Or: []string{"display_url"}, Conv: doc.Str},
	{Key: "tagged_user_handles", Path: "edge_media_to_tagged_user.edges", Conv: texts("node.user", "node.user.username")},
	{Key: "tagged_user_ids", Path: "edge_media_to_tagged_user.edges", Conv: texts("node.user", "node.user.id")},
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	{Key: "handle", Path: "owner.username", Conv: doc.Str},
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text", Conv: doc.Str},
	{Key: "product_type", Path: "product_type", Conv: doc.Str},
	{Key: "song_artist", Path: "clips_music_attribution_info.artist_name", Conv: doc.Str},
	{Key: "song_name", Path: "clips_music_attribution_info.song_name", Conv: doc.Str},
	// Not in the contract: when it was published is in the same node.
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Conv: doc.Int},
}, "shortcode", "owner.id")

// 15.4. Root: each element of the first element.
var mediaTable = doc.NewTable([]doc.Row{
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count}, // seconds, may have a fraction
}, []doc.Row{
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType, Hard: true},
	{Key: "short_code", Path: "code", Conv: doc.Str},
	{Key: "dimensions", Path: "dimensions"},
	{Key: "thumbnail_src", Path: "thumbnail_url", Or: firstSlide, Conv: doc.Str},
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username", Conv: doc.Str},
	{Key: "caption", Path: "caption_text", Conv: doc.Str},
	{Key: "product_type", Path: "product_type", Conv: doc.Str},
	{Key: "taken_at_timestamp", Path: "taken_at_ts", Or: []string{"taken_at"}, Conv: published},
	{Key: "user_tags", Path: "usertags"}, // {user, x, y}
	{Key: "location", Path: "location.name"},
	{Key: "location_long", Path: "location.lng"},
	{Key: "location_lat", Path: "location.lat"},
}, "code", "user.pk")

// firstSlide is not in the contract: a carousel has no picture of its own, but
// its slides have.
var firstSlide = []string{"resources.0.thumbnail_url"}

// 15.9. Root: each element of the first element.
var hashtagTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
	{Key: "video_duration", Path: "video_duration", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username", Conv: doc.Str},
	{Key: "full_name", Path: "user.full_name", Conv: doc.Str},
	// Once: the video, else the image (Q-LM-8).
	{Key: "display_url", Path: "video_url", Or: append([]string{"display_url", "thumbnail_url"}, firstSlide...)},
	{Key: "thumbnail_src", Path: "thumbnail_url", Or: firstSlide},
	{Key: "is_paid_partnership", Path: "is_paid_partnership", Conv: doc.Bool},
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
	{Key: "hashtags", Path: "caption_text", Conv: instagram.Hashtags},
	{Key: "taken_at_timestamp", Path: "taken_at_ts", Or: []string{"taken_at"}, Conv: published},
	{Key: "caption", Path: "caption_text"},
	{Key: "location", Path: "location.name"},
	{Key: "location_city", Path: "location.city"},
	{Key: "location_long", Path: "location.lng"},
	{Key: "location_lat", Path: "location.lat"},
}, "code", "user.pk")

// 15.6. Root: items.0. The last paths of a row are not in the contract: a
// carousel has its picture in the first slide, and the posts of 15.4 name some
// members otherwise.
var postTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "comment_count", Conv: doc.Count},
	{Key: "likes", Path: "like_count", Conv: doc.Count},
	{Key: "view_count", Path: "view_count", Conv: doc.Count},
	{Key: "play_count", Path: "play_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username"},
	{Key: "display_url", Path: "video_versions.0.url", Or: []string{"display_url"}}, // the video where it is one (Q-X-20)
	{Key: "thumbnail_src", Path: "image_versions2.candidates.0.url",
		Or: []string{"carousel_media.0.image_versions2.candidates.0.url", "thumbnail_url", "resources.0.thumbnail_url"}},
	{Key: "post_type", Path: "media_type", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: published},
	{Key: "caption", Path: "caption.text", Or: []string{"caption_text"}},
}, "code", "user.pk")

// Not in the contract, which only says that older documentation shows it: the
// keys of 15.6 for a post in the form of Instagram's web interface.
var webPostTable = doc.NewTable([]doc.Row{
	{Key: "comments", Path: "edge_media_to_comment.count", Or: []string{"edge_media_to_parent_comment.count"}, Conv: doc.Count},
	{Key: "likes", Path: "edge_media_preview_like.count", Conv: doc.Count}, // -1 when hidden
	{Key: "view_count", Path: "video_view_count", Conv: doc.Count},
	{Key: "play_count", Path: "video_play_count", Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "owner.id", Conv: doc.Str},
	{Key: "handle", Path: "owner.username"},
	{Key: "display_url", Path: "video_url", Or: []string{"display_url"}},
	{Key: "thumbnail_src", Path: "display_url"},
	{Key: "post_type", Path: "__typename", Conv: instagram.WebType},
	{Key: "taken_at_timestamp", Path: "taken_at_timestamp", Conv: doc.Int},
	{Key: "caption", Path: "edge_media_to_caption.edges.0.node.text"},
}, "shortcode", "owner.id")

// 15.8. Root: each element of the answer.
var storyTable = doc.NewTable(nil, []doc.Row{
	{Key: "post_id", Path: "pk", Conv: doc.Str},
	{Key: "profile_id", Path: "user.pk", Conv: doc.Str},
	{Key: "handle", Path: "user.username", Conv: doc.Str},
	{Key: "content_type", Path: "media_type", Conv: instagram.StoryType},
	{Key: "post_type", Conv: doc.Const(social.String("story"))},
	{Key: "story_links", Path: "stickers", Conv: texts("story_link", "story_link.display_url"), Hard: true}, // those that have one (Q-LM-2)
	{Key: "story_hashtags", Path: "hashtags", Conv: texts("", "hashtag.name"), Hard: true},
	{Key: "display_url", Path: "video_url", Or: []string{"thumbnail_url"}, Hard: true},
	{Key: "thumbnail_src", Path: "thumbnail_url"},
	{Key: "taken_at_timestamp", Path: "taken_at", Conv: published}, // Q-LM-7
}, "pk", "user.pk")

// businessOrCreator is true where one of the flags is. The second has to be
// there unless the first is true.
func businessOrCreator(user doc.Node) (json.RawMessage, error) {
	for _, name := range []string{"is_business_account", "is_professional_account"} {
		flag, bad := user.Need(name)
		if bad != nil {
			return nil, errors.New(bad.Detail)
		}
		if v, err := doc.Bool(flag); err != nil || string(v) == "true" {
			return v, err
		}
	}
	return json.RawMessage("false"), nil
}

// published reads a time in Unix seconds or, as the host's own models have it,
// in RFC 3339.
func published(n doc.Node) (json.RawMessage, error) {
	if n.IsText() {
		if v, err := doc.EpochRFC(n); err == nil {
			return v, nil
		}
	}
	return doc.Int(n)
}

// texts is the text at path of each element of a list. Elements without has are
// passed over; has may be empty. No list at all gives an empty one.
func texts(has, path string) doc.Conv {
	return func(list doc.Node) (json.RawMessage, error) {
		if !list.IsList() && !list.Null() {
			return nil, fmt.Errorf("%s, want a list", list.Type())
		}
		out := []byte{'['}
		for i, n := range list.List() {
			if has != "" && n.At(has).Null() {
				continue
			}
			v, err := n.Need(path)
			if err == nil && !v.IsText() && !v.IsNumber() {
				err = providers.Malformed("%s is %s, want text", path, v.Type())
			}
			if err != nil {
				return nil, errors.New(doc.In(strconv.Itoa(i), err).Detail)
			}
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = social.AppendString(out, v.Text())
		}
		return append(out, ']'), nil
	}
}

// A layout is one of the forms of a profile: its table, and the paths to its id
// and handle.
type layout struct {
	table      *doc.Table
	id, handle string
}

// layoutOf goes by graphql (15.2, 15.3). Which of the two calls was answered
// does not matter: the host's newer answers by handle have layout B, too.
func layoutOf(root doc.Node) layout {
	if root.At("graphql").Null() {
		return layout{profileTable, "pk", "username"}
	}
	return layout{webProfileTable, webUser + "id", webUser + "username"}
}

// parseProfile reads 15.2 and 15.3: the profile, then its embedded posts
// (16.1). Counts are absolute.
//
// An embedded post that cannot be read is left out, those around it are kept
// (Q-X-14); the raw object stays in the profile's recent_posts. Its owner is
// the profile where the post does not say.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	if !root.IsObject() {
		return social.Batch{}, providers.Malformed("body is %s, want an object", root.Type())
	}
	is := layoutOf(root)
	got, err := is.table.Read(root)
	if err != nil {
		return social.Batch{}, err
	}
	key, err := got.PickText(is.id)
	if err != nil {
		return social.Batch{}, err
	}
	handle, err := got.PickText(is.handle)
	if err != nil {
		return social.Batch{}, err
	}
	edges := root.At(timeline + ".edges").List()
	logs := make([]social.Log, 1, 1+len(edges))
	logs[0] = social.Log{Kind: social.Profile, Key: key, Handle: handle, Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}
	for _, e := range edges {
		l, err := instagram.ReadPost(source, e.At("node"), embeddedTable, "shortcode", "owner.id")
		if err != nil {
			continue
		}
		if l.Owner == "" {
			l.Owner = key
		}
		logs = append(logs, l)
	}
	return social.Batch{Logs: logs}, nil
}

// A chunkReader is the items of an answer that is a list, and the cursor to the
// next ones, "" at the end.
type chunkReader func(root doc.Node) ([]doc.Node, string, *providers.Error)

// chunk reads [items, cursor]. A cursor that is null, empty or not there is the
// end (Q-LM-1).
func chunk(root doc.Node) ([]doc.Node, string, *providers.Error) {
	if !root.IsList() {
		return nil, "", providers.Malformed("body is %s, want a list", root.Type())
	}
	items, err := root.NeedList("0")
	if err != nil {
		return nil, "", err
	}
	cursor := root.At("1")
	if !cursor.Null() && !cursor.IsText() && !cursor.IsNumber() {
		return nil, "", providers.Malformed("1 is %s, want a cursor", cursor.Type())
	}
	return items, cursor.Text(), nil
}

// pair is a chunk of exactly two elements, which is checked before they are
// read (Q-LM-9).
func pair(root doc.Node) ([]doc.Node, string, *providers.Error) {
	if n := len(root.List()); root.IsList() && n != 2 {
		err := providers.Malformed("body has %d elements, want 2", n)
		if n > 2 {
			err.Message = "Format Changed"
		}
		return nil, "", err
	}
	return chunk(root)
}

// whole is an answer that is the list of items itself.
func whole(root doc.Node) ([]doc.Node, string, *providers.Error) {
	if !root.IsList() {
		return nil, "", providers.Malformed("body is %s, want a list", root.Type())
	}
	return root.List(), "", nil
}

// The lists of posts. Each may be empty; one post that cannot be read fails the
// page.
var (
	parsePosts = parseList(pair, "0.", func(_ social.Ask, n doc.Node) (social.Log, *providers.Error) {
		return instagram.ReadPost(source, n, mediaTable, "code", "user.pk")
	})
	parseHashtag = parseList(chunk, "0.", func(_ social.Ask, n doc.Node) (social.Log, *providers.Error) {
		return instagram.ReadPost(source, n, hashtagTable, "code", "user.pk")
	})
	// The key of a story is its number (1.1).
	parseStories = parseList(whole, "", func(_ social.Ask, n doc.Node) (social.Log, *providers.Error) {
		return instagram.ReadPost(source, n, storyTable, "pk", "user.pk")
	})
)

// parsePeople reads a page of 15.7 with instagram.Follower or
// instagram.Followed.
func parsePeople(log func(source, profile, id string, n doc.Node) (social.Log, *providers.Error)) providers.Parser {
	return parseList(chunk, "0.", func(ask social.Ask, n doc.Node) (social.Log, *providers.Error) {
		id, err := n.NeedText("pk")
		if err != nil {
			return social.Log{}, err
		}
		return log(source, strings.TrimSpace(ask.Key()), id, n)
	})
}

// parseList reads the items of a page, which are below the path at.
func parseList(read chunkReader, at string, item func(social.Ask, doc.Node) (social.Log, *providers.Error)) providers.Parser {
	return func(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
		root, err := doc.Parse(body)
		if err != nil {
			return social.Batch{}, err
		}
		items, cursor, err := read(root)
		if err != nil {
			return social.Batch{}, err
		}
		b := instagram.Page(len(items), cursor, true)
		for i, n := range items {
			l, err := item(ask, n)
			if err != nil {
				return social.Batch{}, doc.In(at+strconv.Itoa(i), err)
			}
			b.Logs = append(b.Logs, l)
		}
		return b, nil
	}
}

// A form is where an answer of 15.6 has its post, and how that is read.
type form struct {
	at         string // path of the post, "" when it is the answer
	table      *doc.Table
	key, owner string
}

func (f form) in(err *providers.Error) *providers.Error {
	if f.at == "" {
		return err
	}
	return doc.In(f.at, err)
}

// formOf is the form of an answer. Only items is in the contract; the others
// are those of Instagram's web interface, and of the host's own model, which it
// gives elsewhere.
func formOf(root doc.Node) form {
	switch {
	case !root.At("items").Null():
	case !root.At("graphql").Null():
		return form{"graphql.shortcode_media", webPostTable, "shortcode", "owner.id"}
	case !root.At("code").Null() && !root.At("media_type").Null():
		return form{"", postTable, "code", "user.pk"}
	}
	return form{"items.0", postTable, "code", "user.pk"}
}

// parsePost reads 15.6.
func parsePost(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	f := formOf(root)
	l, err := instagram.ReadPost(source, root.At(f.at), f.table, f.key, f.owner)
	if err != nil {
		return social.Batch{}, f.in(err)
	}
	return social.Batch{Logs: []social.Log{l}}, nil
}
