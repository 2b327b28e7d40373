package doc

import (
	"strconv"
	"strings"

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
	// Or are read in turn where Path gives null. It is how a table says that
	// the forms of an answer keep the value in different places.
	Or []string
}

// A Table reads one object into metrics and dimensions, each in the order of
// its rows.
type Table struct {
	rows    []Row // metrics, then dimensions, then picks
	metrics int   // how many of rows are metrics
	picks   int   // where picks begin
	root    *branch
}

// A branch is the rows whose paths go through one place: those that end
// there, and those that go on.
type branch struct {
	rows []int
	next map[string]*branch
}

// NewTable prepares rows. A row with an empty path takes its value from the
// object itself. Picks are soft paths to values that are wanted besides, such
// as the key of the log.
func NewTable(metrics, dimensions []Row, picks ...string) *Table {
	t := &Table{metrics: len(metrics), picks: len(metrics) + len(dimensions), root: &branch{}}
	t.rows = append(append(t.rows, metrics...), dimensions...)
	for _, p := range picks {
		t.rows = append(t.rows, Row{Path: p})
	}
	for i, r := range t.rows {
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

// Values is what a Table read of one object.
type Values struct {
	Metrics, Dimensions social.KVs
	table               *Table
	picked              []Node
}

// Pick is the value at a picked path, null when there is none. It panics for
// a path that the table does not pick.
func (v Values) Pick(path string) Node {
	for i, r := range v.table.rows[v.table.picks:] {
		if r.Path == path {
			return v.picked[i]
		}
	}
	panic("doc: the table does not pick " + path)
}

// PickText is the identifier at a picked path, see Node.NeedText.
func (v Values) PickText(path string) (string, *providers.Error) {
	return v.Pick(path).needText(path)
}

// Read makes one pass over n, into those members and elements that some row
// leads to. Its error names the path.
func (t *Table) Read(n Node) (Values, *providers.Error) {
	out := make(social.KVs, t.picks)
	for i := range out {
		out[i].Key = t.rows[i].Key
	}
	r := reader{table: t, from: n, out: out, picked: make([]Node, len(t.rows)-t.picks)}
	r.walk(n, t.root)
	for i := range out {
		if r.failed == nil && out[i].Value == nil {
			r.set(i, Node{})
		}
	}
	if r.failed != nil {
		return Values{}, r.failed
	}
	return Values{out[:t.metrics:t.metrics], out[t.metrics:], t, r.picked}, nil
}

type reader struct {
	table  *Table
	from   Node
	out    social.KVs
	picked []Node
	failed *providers.Error
}

func (r *reader) walk(n Node, b *branch) {
	for _, i := range b.rows {
		r.set(i, n)
	}
	if len(b.next) == 0 {
		return
	}
	index, left := 0, len(b.next)
	for v := range n.children() {
		var next *branch
		if n.IsList() {
			next = b.next[strconv.Itoa(index)]
			index++
		} else {
			next = b.next[string(v.name())]
		}
		if next != nil {
			left--
			r.walk(v, next)
		}
		if r.failed != nil || left == 0 && n.IsList() {
			return
		}
	}
}

func (r *reader) set(i int, v Node) {
	if i >= r.table.picks {
		r.picked[i-r.table.picks] = v
		return
	}
	row := r.table.rows[i]
	for _, path := range row.Or {
		if v.Null() {
			v = r.from.At(path)
		}
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
