package doc

import (
	"strconv"
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
	// Or is read where Path gives null; "" for none. It is how a table says
	// that two forms of an answer keep the value in two places.
	Or string
}

// A Table reads one object into dimensions or metrics, in the order of its
// rows.
type Table struct {
	rows []Row
	root *branch
}

// A branch is the rows whose paths go through one place: those that end
// there, and those that go on.
type branch struct {
	rows []int
	next map[string]*branch
}

// NewTable prepares rows. A row with an empty path takes its value from the
// object itself.
func NewTable(rows ...Row) *Table {
	t := &Table{rows: rows, root: &branch{}}
	for i, r := range rows {
		b := t.root
		for path := r.Path; path != ""; {
			seg, rest, _ := strings.Cut(path, ".")
			if b.next[seg] == nil {
				if b.next == nil {
					b.next = map[string]*branch{}
				}
				b.next[seg] = &branch{}
			}
			b, path = b.next[seg], rest
		}
		b.rows = append(b.rows, i)
	}
	return t
}

// Read makes one pass over n, into those members and elements that some row
// leads to. Its error names the path.
func (t *Table) Read(n Node) (social.KVs, *providers.Error) {
	r := reader{table: t, from: n, out: make(social.KVs, len(t.rows))}
	for i, row := range t.rows {
		r.out[i].Key = row.Key
	}
	r.walk(n, t.root)
	for i := range r.out {
		if r.failed == nil && r.out[i].Value == nil {
			r.set(i, Node{})
		}
	}
	if r.failed != nil {
		return nil, r.failed
	}
	return r.out, nil
}

type reader struct {
	table  *Table
	from   Node
	out    social.KVs
	failed *providers.Error
}

func (r *reader) walk(n Node, b *branch) {
	for _, i := range b.rows {
		r.set(i, n)
	}
	if len(b.next) == 0 || r.failed != nil {
		return
	}
	index := -1
	isList := n.r.IsArray()
	if !isList && !n.r.IsObject() {
		return
	}
	n.r.ForEach(func(k, v gjson.Result) bool {
		seg := k.Str
		if isList {
			index++
			seg = strconv.Itoa(index)
		}
		if next := b.next[seg]; next != nil {
			r.walk(Node{v}, next)
		}
		return r.failed == nil
	})
}

func (r *reader) set(i int, v Node) {
	row := r.table.rows[i]
	if v.Null() && row.Or != "" {
		v = r.from.At(row.Or)
	}
	if v.Null() && row.Hard {
		r.failed = providers.Malformed("%s is missing", row.Path)
		return
	}
	conv := row.Conv
	if conv == nil {
		conv = Raw
	}
	value, err := conv(v)
	if err != nil {
		r.failed = providers.Malformed("%s: %v", row.Path, err)
		return
	}
	r.out[i].Value = value
}
