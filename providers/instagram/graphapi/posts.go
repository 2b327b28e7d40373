package graphapi

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// The field expansions of 8.5 and 8.6: of a handle, and of how media begins.
const (
	postsFields = "business_discovery.username(%s){media_count," +
		"%s{id,ig_id,name,comments_count,like_count,media_type,media_url,caption,timestamp,permalink}}"
	storiesFields = "business_discovery.username(%s){ig_id,username,media_count," +
		"%s{id,username,name,comments_count,like_count,media_type,media_product_type,media_url,caption,timestamp,permalink}," +
		"stories{id,media_type,media_product_type,media_url,owner,permalink,timestamp,username,caption}}"
)

// cursorForm is what cannot end the expansion that a cursor goes into: a task
// may bring its own.
var cursorForm = regexp.MustCompile(`^[^\s(){},]{1,1000}$`)

// page builds the requests of 8.5 and 8.6. The cursor goes into the expansion:
// beside it, it would have no effect (Q-GA-6).
func page(fields string) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, ask social.Ask) (providers.Request, error) {
		node, handle, err := account(c, ask)
		if err != nil {
			return providers.Request{}, err
		}
		media := "media"
		if ask.Cursor != "" {
			if !cursorForm.MatchString(ask.Cursor) {
				return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
					Message: "Something went wrong", Detail: fmt.Sprintf("cursor: %.60q is no cursor", ask.Cursor)}
			}
			media = "media.after(" + ask.Cursor + ")"
		}
		return get(c, version+node, url.Values{"fields": {fmt.Sprintf(fields, handle, media)}}), nil
	}
}

// postsClasses and storiesClasses are the outcomes of 8.5 and 8.6; the rest of
// the rows are those of all calls, but no message of the API is passed on.
var (
	postsClasses   = slices.Concat([]providers.Class{noAccount}, untold(classes))
	storiesClasses = slices.Concat([]providers.Class{
		noAccount,
		{Status: "400", Body: code("100"), Kind: providers.ErrGone, Codes: errorCodes,
			Message: "Unsupported get request. Object with ID does not exist"},
		{Status: "400", Body: code("190"), Kind: providers.ErrRefused, Expired: true, Codes: errorCodes,
			Message: "Malformed access token."},
		{Status: "400", Body: code("10"), Kind: providers.ErrRefused, Expired: true, Codes: errorCodes,
			Message: "Application does not have permission for this action"},
	}, untold(classes))
)

func judgePosts(_ social.Ask, a providers.Answer) *providers.Error {
	root, err := doc.Parse(a.Body)
	if err != nil {
		return err
	}
	_, err = mediaOf(root)
	return err
}

// judgeStories wants a profile of the first page.
func judgeStories(ask social.Ask, a providers.Answer) *providers.Error {
	if ask.Cursor == "" {
		if err := judgeProfile(ask, a); err != nil {
			return err
		}
	}
	return judgePosts(ask, a)
}

// mediaOf is the media of a page of 8.5 or 8.6. An account without any has no
// member for them.
func mediaOf(root doc.Node) ([]doc.Node, *providers.Error) {
	for _, path := range []string{discovery, discovery + ".media"} {
		switch n := root.At(path); {
		case n.Null() && path == discovery:
			return nil, providers.Malformed("%s is missing", path)
		case n.Null():
			return nil, nil
		case !n.IsObject():
			return nil, providers.Malformed("%s is %s, want an object", path, n.Type())
		}
	}
	if root.At(mediaPath).Null() {
		return nil, nil
	}
	return root.NeedList(mediaPath)
}

const mediaPath = discovery + ".media.data"

// afterMedia is an empty batch that goes on where the page says. Graph may hand
// out a cursor on the last page: a page without media is the end (8.6).
func afterMedia(root doc.Node, media []doc.Node) social.Batch {
	return instagram.Page(len(media), root.At(discovery+".media.paging.cursors.after").Text(), len(media) > 0)
}

// parsePosts reads a page of 8.5, or of 8.6 after the first. One post that
// cannot be read fails the page. Owner is known where the profile's id was
// asked for.
func parsePosts(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	media, err := mediaOf(root)
	if err != nil {
		return social.Batch{}, err
	}
	b := afterMedia(root, media)
	owner := root.At(discovery + ".ig_id").Text()
	for i, n := range media {
		l, err := readPost(n)
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("%s.%d", mediaPath, i), err)
		}
		l.Owner = owner
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

// parseStories reads a page of 8.6. The first is a profile with its media and
// stories, read as that of 8.2 is; later ones have the same stories once more,
// which are passed over.
func parseStories(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
	if ask.Cursor != "" {
		return parsePosts(ask, at, body)
	}
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	logs, err := readProfile(root)
	if err != nil {
		return social.Batch{}, err
	}
	media, err := mediaOf(root)
	if err != nil {
		return social.Batch{}, err
	}
	for i := range logs[1:] {
		logs[i+1].Owner = logs[0].Key
	}
	b := afterMedia(root, media)
	b.Logs = logs
	return b, nil
}

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
	// PT-graph, 1.6. Every video is called reels, those of the feed too: there
	// is no other word for them in the tables of posts.
	postType = doc.OneOf(nil, map[string]string{"IMAGE": "image", "VIDEO": "reels", "CAROUSEL_ALBUM": "carousel"})
)

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
	if found := root.At(discovery); !found.Null() {
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
	reel := product.Text() == "REELS" // whatever its media type says, or does not (Q-GA-18)
	if reel {
		dimensions.Set("post_type", social.String("reels"))
	}
	if reel || mediaType.Text() == "VIDEO" {
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
