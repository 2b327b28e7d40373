package instagram

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// The mappings of 1.6. The XDT names are what the web interface says since
// 2024.
var (
	WebType = doc.OneOf(
		map[string]string{"1": "image", "2": "reels", "8": "carousel"},
		map[string]string{
			"GraphImage": "image", "GraphVideo": "reels", "GraphSidecar": "carousel",
			"XDTGraphImage": "image", "XDTGraphVideo": "reels", "XDTGraphSidecar": "carousel",
		})
	StoryType   = doc.OneOf(map[string]string{"1": "image", "2": "video"}, nil) // content_type of a story
	ProfileType = doc.OneOf(map[string]string{"1": "personal", "2": "business", "3": "creator"}, nil)
)

// The rules for tags and sponsors: of 9.3 on a list of edges, as Instagram's
// web interface has them, and of 9.6 and 10.3, as its app has them.
var (
	NotEmpty    doc.Conv = func(n doc.Node) (json.RawMessage, error) { return boolean(len(n.List()) > 0), nil }
	WebTags     doc.Conv = toWebTags
	WebSponsors doc.Conv = func(n doc.Node) (json.RawMessage, error) {
		return toSponsors(n, "node", "node.sponsor.id", "node.sponsor.username")
	}
	AppTags     doc.Conv = toAppTags
	AppSponsors doc.Conv = func(n doc.Node) (json.RawMessage, error) {
		return toSponsors(n, "sponsor", "sponsor.pk", "sponsor.username")
	}
	TaggedUsers doc.Conv = toTaggedUsers // who is tagged, without the place: 10.3
	Hashtags    doc.Conv = toHashtags    // of a caption, as one text: 10.10
)

func boolean(b bool) json.RawMessage {
	if b {
		return json.RawMessage("true")
	}
	return json.RawMessage("false")
}

// toWebTags keeps the whole node of each edge, {"user": {…}, "x", "y"}.
func toWebTags(edges doc.Node) (json.RawMessage, error) {
	out := []byte{'['}
	for _, e := range edges.List() {
		if node := e.At("node"); !node.Null() {
			out = appendItem(out, node.Raw())
		}
	}
	return append(out, ']'), nil
}

// toAppTags keeps the elements of usertags.in, {"user": {…}, "position"};
// null when there are no tags. An empty usertags may come as a list.
func toAppTags(n doc.Node) (json.RawMessage, error) {
	if n.IsObject() {
		n = n.At("in")
	}
	if !n.IsList() {
		return social.Null, nil
	}
	return n.Raw(), nil
}

// toTaggedUsers keeps the user of each element of usertags.in, or of a list as
// newer answers have it. Without tags it is an empty list.
func toTaggedUsers(n doc.Node) (json.RawMessage, error) {
	if n.IsObject() {
		n = n.At("in")
	}
	out := []byte{'['}
	for _, e := range n.List() {
		if user := e.At("user"); !user.Null() {
			out = appendItem(out, user.Raw())
		}
	}
	return append(out, ']'), nil
}

// toHashtags joins the words that begin with #, as they are, by commas; "" when
// there are none.
func toHashtags(caption doc.Node) (json.RawMessage, error) {
	var tags []string
	if caption.IsText() {
		for word := range strings.FieldsSeq(caption.Text()) {
			if word[0] == '#' {
				tags = append(tags, word)
			}
		}
	}
	return social.String(strings.Join(tags, ",")), nil
}

// toSponsors emits ids as text, whatever they were (Q-X-19). An element
// without a sponsor is passed over, a sponsor without id or name fails.
func toSponsors(list doc.Node, has, id, handle string) (json.RawMessage, error) {
	out := []byte{'['}
	for i, n := range list.List() {
		if n.At(has).Null() {
			continue
		}
		pk, err := n.NeedText(id)
		if err != nil {
			return nil, errors.New(doc.In(fmt.Sprint(i), err).Detail)
		}
		name, err := n.NeedText(handle)
		if err != nil {
			return nil, errors.New(doc.In(fmt.Sprint(i), err).Detail)
		}
		item := social.AppendString([]byte(`{"profile_id":`), pk)
		item = social.AppendString(append(item, `,"handle":`...), name)
		out = appendItem(out, append(item, '}'))
	}
	return append(out, ']'), nil
}

func appendItem(list, item []byte) []byte {
	if len(list) > 1 {
		list = append(list, ',')
	}
	return append(list, item...)
}

// Page is a batch with room for n logs. Page info that is missing, or that
// promises another page but has no cursor to it, is the end (Q-X-9).
func Page(n int, cursor string, more bool) social.Batch {
	b := social.Batch{Logs: make([]social.Log, 0, n)}
	if cursor != "" && more {
		b.Cursor, b.More = cursor, true
	}
	return b
}

// person is the attribute block of 3.3, which followers and followed people
// have in all providers.
var person = doc.NewTable(nil, []doc.Row{
	{Key: "handle", Path: "username"},
	{Key: "full_name", Path: "full_name"},
	{Key: "profile_pic_url", Path: "profile_pic_url"},
	{Key: "is_private", Path: "is_private"},
	{Key: "is_verified", Path: "is_verified"},
})

// Follower is the log of one person who follows profile: n is the person, id
// who that is.
func Follower(source, profile, id string, n doc.Node) (social.Log, *providers.Error) {
	got, err := person.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Relationship, Type: social.Follows, Key: id, Target: profile, Source: source, Dimensions: got.Dimensions}, nil
}

// Followed is the log of one person whom profile follows.
func Followed(source, profile, id string, n doc.Node) (social.Log, *providers.Error) {
	got, err := person.Read(n)
	if err != nil {
		return social.Log{}, err
	}
	return social.Log{Kind: social.Relationship, Type: social.Follows, Key: profile, Target: id, Source: source, TargetDimensions: got.Dimensions}, nil
}

// ReadProfile is the log of a profile that t reads, with its id at the picked
// path id and its handle at username.
func ReadProfile(source string, user doc.Node, t *doc.Table, id string) (social.Log, *providers.Error) {
	got, err := t.Read(user)
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

// ReadPost is the log of a post that t reads, with its shortcode and its owner
// at the picked paths key and owner.
func ReadPost(source string, n doc.Node, t *doc.Table, key, owner string) (social.Log, *providers.Error) {
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

// PageInfo is the page_info of n, for hosts whose lists must have one with both
// members (11.1 and 13). On the last page either may be null.
func PageInfo(n doc.Node) (cursor string, more bool, err *providers.Error) {
	info, err := n.Need("page_info")
	if err != nil {
		return "", false, err
	}
	has := map[string]bool{}
	info.Each(func(key string, _ doc.Node) { has[key] = true })
	next, end := info.At("has_next_page"), info.At("end_cursor")
	switch {
	case !has["has_next_page"]:
		return "", false, providers.Malformed("page_info.has_next_page is missing")
	case !has["end_cursor"]:
		return "", false, providers.Malformed("page_info.end_cursor is missing")
	case !next.Null() && next.Type() != "a boolean":
		return "", false, providers.Malformed("page_info.has_next_page is %s, want a boolean", next.Type())
	case !end.Null() && !end.IsText() && !end.IsNumber():
		return "", false, providers.Malformed("page_info.end_cursor is %s, want text", end.Type())
	}
	return end.Text(), next.True(), nil
}
