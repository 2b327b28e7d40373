package igapi

import (
	"fmt"
	"strings"
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

// parse reads a page of people who follow the profile asked for. One who cannot
// be read fails the page; a page may be empty.
func parse(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	root, err := doc.Parse(body)
	if err != nil {
		return social.Batch{}, err
	}
	list, path := findList(root)
	b, err := readFollowers(strings.TrimSpace(ask.Key()), list)
	if err != nil {
		return social.Batch{}, doc.In(path, err)
	}
	return b, nil
}

func readFollowers(profile string, list doc.Node) (social.Batch, *providers.Error) {
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
		l, err := readFollower(profile, e.At("node"))
		if err != nil {
			return social.Batch{}, doc.In(fmt.Sprintf("edges.%d.node", i), err)
		}
		b.Logs = append(b.Logs, l)
	}
	return b, nil
}

func readFollower(profile string, n doc.Node) (social.Log, *providers.Error) {
	id, err := n.NeedText("id")
	if err != nil {
		return social.Log{}, err
	}
	return instagram.Follower(source, profile, id, n)
}

// findList is the object that has edges and its path: the answer or, not in the
// contract, the list inside the envelope of Instagram's web interface.
func findList(root doc.Node) (doc.Node, string) {
	const envelope = "data.user.edge_followed_by"
	if root.At("edges").Null() && !root.At("data").Null() {
		return root.At(envelope), envelope
	}
	return root, "(body)"
}
