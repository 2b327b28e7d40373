package graphapi

import (
	"fmt"
	"net/http"

	"beat/providers/doc"
)

// A part is one of the answers that were stored as one (providers.Parts).
type part struct {
	ok   bool   // its status is 200
	path string // of body, with a dot at the end
	body doc.Node
}

// partsOf is the parts of an answer. One that was not made of others is its own
// only part.
func partsOf(root doc.Node) []part {
	list := root.At("parts")
	if !list.IsList() {
		return []part{{ok: true, body: root}}
	}
	var out []part
	for i, n := range list.List() {
		status, _ := n.At("status").Int()
		out = append(out, part{status == http.StatusOK, fmt.Sprintf("parts.%d.body.", i), n.At("body")})
	}
	return out
}
