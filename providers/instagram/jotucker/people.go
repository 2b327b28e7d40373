package jotucker

import (
	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/streams/social"
)

// following finds the list of 10.6, followers that of 10.7.
func following(root doc.Node) (page, *providers.Error) { return people(root, "data.user.edge_follow") }
func followers(root doc.Node) (page, *providers.Error) {
	return people(root, "data.user.edge_followed_by")
}

// people finds a list of people: the connection at, or what the app interface
// has instead. That is not in the contract: users, whose cursor is there where
// there are more.
func people(root doc.Node, at string) (page, *providers.Error) {
	in, path, ok := holder(root, "users")
	if !ok {
		return edges(root, at)
	}
	cursor := in.At("next_max_id").Text()
	if cursor == "" {
		cursor = root.At("next_page_id").Text()
	}
	more := in.At("has_more")
	return page{at: path + "users", items: in.At("users").List(), cursor: cursor, more: more.Null() || more.True()}, nil
}

// personID is the id of a person: id or, not in the contract, pk of the app.
func personID(n doc.Node) (string, *providers.Error) { return n.NeedText(firstOf(n, "id", "pk")) }

// readFollowed reads a node of 10.6.
func readFollowed(ask social.Ask, n doc.Node) (social.Log, *providers.Error) {
	id, err := personID(n)
	if err != nil {
		return social.Log{}, err
	}
	return instagram.Followed(source, target(ask), id, n)
}

// readFollower reads a node of 10.7.
func readFollower(ask social.Ask, n doc.Node) (social.Log, *providers.Error) {
	id, err := personID(n)
	if err != nil {
		return social.Log{}, err
	}
	return instagram.Follower(source, target(ask), id, n)
}
