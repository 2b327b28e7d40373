package doc

import (
	"strings"

	"github.com/tidwall/gjson"

	"beat/providers"
	"beat/streams/social"
)

// A Row is one line of a contract table: the key that is emitted, the path
// it is read from, and how the value is converted.
type Row struct {
	Key  string
	Path string
	Conv Conv // nil is Raw
	Hard bool // null at Path fails the record
}

// A Table reads one object into dimensions or metrics, in the order of its
// rows.
type Table struct {
	rows []Row
	rest []string // path after the first segment, per row
	// first segment → rows that begin with it
	heads map[string][]int
}

// NewTable prepares rows. A row with an empty path takes its value from the
// object itself.
func NewTable(rows ...Row) *Table {
	t := &Table{rows: rows, rest: make([]string, len(rows)), heads: map[string][]int{}}
	for i, r := range rows {
		head, rest, _ := strings.Cut(r.Path, ".")
		t.rest[i] = rest
		t.heads[head] = append(t.heads[head], i)
	}
	return t
}

// Read makes one pass over the members of n. Its error names the path.
func (t *Table) Read(n Node) (social.KVs, *providers.Error) {
	out := make(social.KVs, len(t.rows))
	for i, r := range t.rows {
		out[i] = social.KV{Key: r.Key}
	}
	var failed *providers.Error
	set := func(i int, v Node) {
		r := t.rows[i]
		if v.Null() && r.Hard {
			failed = providers.Malformed("%s is missing", r.Path)
			return
		}
		conv := r.Conv
		if conv == nil {
			conv = Raw
		}
		value, err := conv(v)
		if err != nil {
			failed = providers.Malformed("%s: %v", r.Path, err)
			return
		}
		out[i].Value = value
	}
	for _, i := range t.heads[""] {
		set(i, n)
	}
	if n.r.IsObject() {
		n.r.ForEach(func(k, v gjson.Result) bool {
			for _, i := range t.heads[k.Str] {
				set(i, Node{v}.At(t.rest[i]))
			}
			return failed == nil
		})
	}
	for i := range out {
		if failed == nil && out[i].Value == nil {
			set(i, Node{})
		}
	}
	if failed != nil {
		return nil, failed
	}
	return out, nil
}
