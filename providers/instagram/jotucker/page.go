package jotucker

import (
	"strconv"
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

// A page is the list of an answer and the way to the next one.
type page struct {
	at     string // path of the list
	in     string // where in an element the record is, "" the element itself
	items  []doc.Node
	cursor string
	more   bool
}

// A finder looks for the list of an answer.
type finder func(root doc.Node) (page, *providers.Error)

// A reader makes a log of one record of a list.
type reader func(ask social.Ask, n doc.Node) (social.Log, *providers.Error)

// pages reads an answer that is a page. One record that cannot be read fails
// the page.
func pages(find finder, read reader) providers.Parser {
	return func(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
		root, err := doc.Parse(body)
		if err != nil {
			return social.Batch{}, err
		}
		p, err := find(root)
		if err != nil {
			return social.Batch{}, err
		}
		b := instagram.Page(len(p.items), p.cursor, p.more)
		for i, n := range p.items {
			if p.in != "" {
				n = n.At(p.in)
			}
			if !n.IsObject() {
				return social.Batch{}, providers.Malformed("%s is %s, want an object", p.path(i), n.Type())
			}
			l, err := read(ask, n)
			if err != nil {
				return social.Batch{}, doc.In(p.path(i), err)
			}
			b.Logs = append(b.Logs, l)
		}
		return b, nil
	}
}

// path is that of record i.
func (p page) path(i int) string {
	s := p.at + "." + strconv.Itoa(i)
	if p.in != "" {
		s += "." + p.in
	}
	return s
}

// edges is the page in a connection of Instagram's web interface. Page info
// that is missing is the end.
func edges(root doc.Node, at string) (page, *providers.Error) {
	list, err := root.NeedList(at + ".edges")
	if err != nil {
		return page{}, err
	}
	info := root.At(at + ".page_info")
	return page{at: at + ".edges", in: "node", items: list,
		cursor: info.At("end_cursor").Text(), more: info.At("has_next_page").True()}, nil
}

// holder is the object that has a list called name and the path before that
// name: the answer or, not in the contract, its member response.
func holder(root doc.Node, name string) (n doc.Node, path string, ok bool) {
	if root.At(name).IsList() {
		return root, "", true
	}
	if inner := root.At("response"); inner.At(name).IsList() {
		return inner, "response.", true
	}
	return root, "", false
}

// firstOf is the first of names that n has, else the first of them.
func firstOf(n doc.Node, names ...string) string {
	for _, name := range names {
		if !n.At(name).Null() {
			return name
		}
	}
	return names[0]
}

// target is what ask is about: the profile or post that lists belong to.
func target(ask social.Ask) string { return strings.TrimSpace(ask.Key()) }
