package graphapi

import (
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// parserVersion is to be bumped whenever a stored answer would give other
// logs than before: a row of a table, a conversion, the shortcode rule, or
// which posts are skipped. Older answers are then parsed again.
const parserVersion = 1

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

// 8.4. Root: one media object. What a video or a story changes is in
// readPost.
var (
	mediaTable = doc.NewTable([]doc.Row{
		{Key: "comments", Path: "comments_count", Conv: doc.Count},
		{Key: "likes", Path: "like_count", Conv: doc.Count},
	}, []doc.Row{
		{Key: "handle", Path: "username"},
		{Key: "post_id", Path: "id", Conv: doc.Str},
		{Key: "display_url", Path: "media_url"},
		{Key: "thumbnail_src", Path: "media_url"},
		{Key: "post_type", Path: "media_type", Conv: postType},
		{Key: "taken_at_timestamp", Path: "timestamp", Conv: doc.EpochISO, Hard: true},
		{Key: "content_type", Path: "media_type", Conv: doc.Const(social.Null)},
		{Key: "caption", Path: "caption"},
	}, "permalink", "media_type", "media_product_type")
	// PT-graph, 1.6. Every video is called reels.
	postType = doc.OneOf(nil, map[string]string{"IMAGE": "image", "VIDEO": "reels", "CAROUSEL_ALBUM": "carousel"})
)

// parseProfile reads an answer of 8.2 or the first page of 8.6: the profile,
// then its embedded posts and stories (16.1).
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
	found, err := root.Need("business_discovery")
	if err != nil {
		return social.Batch{}, err
	}
	got, err := profileTable.Read(found)
	if err != nil {
		return social.Batch{}, doc.In("business_discovery", err)
	}
	key, err := got.PickText("ig_id")
	if err != nil {
		return social.Batch{}, doc.In("business_discovery", err)
	}
	handle, err := got.PickText("username")
	if err != nil {
		return social.Batch{}, doc.In("business_discovery", err)
	}
	logs := []social.Log{{Kind: social.Profile, Key: key, Handle: handle, Source: source,
		Dimensions: got.Dimensions, Metrics: got.Metrics}}
	for _, list := range []string{"media.data", "stories.data"} {
		posts, _ := readMedia(got.Pick(list).List())
		logs = append(logs, posts...)
	}
	return social.Batch{Logs: logs}, nil
}

// ParseMedia reads the media objects of an answer that is not a profile:
// /{ig-user}/media, tags, stories and hashtag lists ({"data": […]}),
// /{media}, /?ids= (an object keyed by id), a business_discovery that has
// nothing but media, or a bare list. skipped counts the objects that were
// left out because they lack what 8.4 marks hard: permalink, without which
// there is no shortcode, or timestamp. It is an error only when body is not
// JSON.
func ParseMedia(body []byte) (logs []social.Log, skipped int, err error) {
	root, bad := doc.Parse(body)
	if bad != nil {
		return nil, 0, bad
	}
	logs, skipped = readMedia(mediaIn(root))
	return logs, skipped, nil
}

func mediaIn(root doc.Node) []doc.Node {
	if root.IsList() {
		return root.List()
	}
	if found := root.At("business_discovery"); !found.Null() {
		return append(found.At("media.data").List(), found.At("stories.data").List()...)
	}
	if data := root.At("data"); data.IsList() {
		return data.List()
	}
	if !root.At("id").Null() {
		return []doc.Node{root}
	}
	var list []doc.Node
	root.Each(func(_ string, v doc.Node) { list = append(list, v) })
	return list
}

func readMedia(list []doc.Node) (logs []social.Log, skipped int) {
	for _, n := range list {
		post, err := readPost(n)
		if err != nil {
			skipped++
			continue
		}
		logs = append(logs, post)
	}
	return logs, skipped
}

func readPost(n doc.Node) (social.Log, *providers.Error) {
	got, err := mediaTable.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	permalink, err := got.PickText("permalink")
	if err != nil {
		return social.Log{}, err
	}
	kind, key := split(permalink)
	if key == "" {
		return social.Log{}, providers.Malformed("permalink has no shortcode")
	}
	dimensions, mediaType, product := got.Dimensions, got.Pick("media_type"), got.Pick("media_product_type")
	if mediaType.Text() == "VIDEO" {
		dimensions.Set("thumbnail_src", social.Null)
	}
	// The contract knows a story by media_product_type alone. Where a call
	// did not ask for it, the permalink says the same.
	if product.Text() == "STORY" || product.Null() && kind == "stories" {
		if !mediaType.IsText() {
			return social.Log{}, providers.Malformed("media_type is %s, want text", mediaType.Type())
		}
		dimensions.Set("post_type", social.String("story"))
		dimensions.Set("content_type", social.String(strings.ToLower(mediaType.Text())))
	}
	return social.Log{Kind: social.Post, Key: key, Source: source, Dimensions: dimensions, Metrics: got.Metrics}, nil
}

// split takes a permalink apart: /p/{key}/, /reel/{key}/, /{handle}/p/{key}/
// or /stories/{handle}/{key}, with or without the slash at the end (Q-GA-7).
func split(permalink string) (kind, key string) {
	path := permalink
	if _, rest, ok := strings.Cut(path, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	}
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 2 {
		return "", ""
	}
	return parts[0], strings.TrimSpace(parts[len(parts)-1])
}
