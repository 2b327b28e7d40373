package jotucker

import (
	"time"

	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// 10.2. Root: user. What Or names is not in the contract: there the web
// interface has the same, with counts in edges.
var profileTable = doc.NewTable([]doc.Row{
	{Key: "media_count", Path: "media_count", Or: []string{"edge_owner_to_timeline_media.count"}, Conv: doc.Count},
	{Key: "followers", Path: "follower_count", Or: []string{"edge_followed_by.count"}, Conv: doc.Count},
	{Key: "following", Path: "following_count", Or: []string{"edge_follow.count"}, Conv: doc.Count},
}, []doc.Row{
	{Key: "profile_id", Path: "pk", Or: []string{"id"}, Conv: doc.Str, Hard: true},
	{Key: "handle", Path: "username", Hard: true},
	{Key: "profile_pic_url", Path: "hd_profile_pic_url_info.url", Or: []string{"profile_pic_url_hd"}},
	{Key: "bio", Path: "biography"},
	{Key: "full_name", Path: "full_name"},
	{Key: "public_email", Path: "public_email", Or: []string{"business_email"}},
	{Key: "external_url", Path: "external_url"},
	{Key: "contact_phone", Path: "contact_phone_number", Or: []string{"business_phone_number"}},
	{Key: "profile_type", Path: "account_type", Conv: instagram.ProfileType},
	{Key: "fbid", Path: "interop_messaging_user_fbid", Or: []string{"fbid"}, Conv: doc.Str},
	{Key: "category_id", Path: "category_id", Conv: doc.Str},
	{Key: "category", Path: "category", Or: []string{"category_name"}},
	{Key: "city", Path: "city_name"},
	{Key: "location_lat", Path: "latitude", Conv: doc.Str}, // text here, a number elsewhere (Q-X-18)
	{Key: "location_long", Path: "longitude", Conv: doc.Str},
	{Key: "is_private", Path: "is_private", Conv: doc.Bool},
	{Key: "is_verified", Path: "is_verified", Conv: doc.Bool},
}, "pk", "id", "username")

// parseProfile reads 10.2. Counts are absolute.
func parseProfile(_ social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	user, path := findUser(root)
	l, err := instagram.ReadProfile(source, user, profileTable, idOf(user))
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

// idOf is what the id of a user is called: pk, or id in the web interface.
func idOf(user doc.Node) string { return firstOf(user, "pk", "id") }
