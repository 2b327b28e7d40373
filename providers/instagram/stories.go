package instagram

import (
	"encoding/json"
	"errors"
	"fmt"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

// The rules of 9.8 and 14.4 for stories, as Instagram's app has them. A list
// that is absent or null is empty (Q-AB-5).
var (
	StoryLinks    = each("story_link.display_url", text) // of story_link_stickers
	StoryHashtags = each("hashtag.name", text)           // of story_hashtags
	StoryMentions = each("user", object)                 // of reel_mentions: whole users
	// MediaURL is the URL of one rendition: an element of video_versions or of
	// image_versions2.candidates.
	MediaURL doc.Conv = func(n doc.Node) (json.RawMessage, error) {
		if n.Null() {
			return social.Null, nil
		}
		return text(n, "url")
	}
)

// each is the list of what is at path in every element; an element without it
// fails.
func each(path string, read func(doc.Node, string) (json.RawMessage, error)) doc.Conv {
	return func(list doc.Node) (json.RawMessage, error) {
		out := []byte{'['}
		for i, n := range list.List() {
			v, err := read(n, path)
			if err != nil {
				return nil, fmt.Errorf("%d.%w", i, err)
			}
			out = appendItem(out, v)
		}
		return append(out, ']'), nil
	}
}

func text(n doc.Node, path string) (json.RawMessage, error) {
	s, err := n.NeedText(path)
	if err != nil {
		return nil, errors.New(err.Detail)
	}
	return social.String(s), nil
}

func object(n doc.Node, path string) (json.RawMessage, error) {
	v, err := n.Need(path)
	if err != nil {
		return nil, errors.New(err.Detail)
	}
	if !v.IsObject() {
		return nil, fmt.Errorf("%s is %s, want an object", path, v.Type())
	}
	return v.Raw(), nil
}

// A Reel is the stories that one profile shows. Its zero value is that of a
// profile without stories.
type Reel struct {
	Items  []doc.Node
	Handle string // of the profile: items often have its id alone
	Path   string // of the reel
}

// ReelOf is the reel of profile in an answer of 9.8 or a body of 14.4. An answer
// without one, or with reels of others only, says that there are no stories
// (Q-AB-5, Q-RK-5).
func ReelOf(root doc.Node, profile string) (Reel, *providers.Error) {
	reels := root.At("reels")
	switch {
	case !root.IsObject():
		return Reel{}, providers.Malformed("body is %s, want an object", root.Type())
	case reels.IsObject():
		return ReadReel(reels.At(profile), "reels."+profile)
	case !reels.Null() && (!reels.IsList() || len(reels.List()) > 0): // empty, it may come as a list
		return Reel{}, providers.Malformed("reels is %s, want an object", reels.Type())
	}
	// Not in the contract: where the app asks for one profile, its reel is
	// all there is.
	if reel := root.At("reel"); !reel.IsObject() || reel.At("user.pk").Text() == profile {
		return ReadReel(reel, "reel")
	}
	return Reel{}, nil
}

// ReadReel reads the reel at path. One without a user or without a list of
// items has no stories.
func ReadReel(reel doc.Node, path string) (Reel, *providers.Error) {
	if reel.Null() {
		return Reel{}, nil
	}
	if !reel.IsObject() {
		return Reel{}, providers.Malformed("%s is %s, want an object", path, reel.Type())
	}
	if reel.At("user").Null() || reel.At("items").Null() {
		return Reel{}, nil
	}
	items, err := reel.NeedList("items")
	if err != nil || len(items) == 0 {
		return Reel{}, doc.In(path, err)
	}
	handle, err := reel.NeedText("user.username")
	if err != nil {
		return Reel{}, doc.In(path, err)
	}
	return Reel{Items: items, Handle: handle, Path: path}, nil
}
