package replay

import (
	"encoding/json"
	"slices"
	"strings"
)

// samples is how many examples a field of the report has.
const samples = 5

// A Report says what differs between what is stored and what the parsers of now
// make of the same answers.
type Report struct {
	Answers    int            `json:"answers"`
	Unchanged  int            `json:"unchanged"`
	Changed    int            `json:"changed"`
	Unreadable int            `json:"unreadable"` // by now; what was read before stays
	Skipped    map[string]int `json:"skipped"`    // by reason
	Causes     map[string]int `json:"causes"`     // of the unreadable

	New     int      `json:"observations_new"`
	Another int      `json:"observations_changed"`
	Gone    int      `json:"observations_gone"`
	Fields  []*Field `json:"fields"` // those of observations that changed, the most frequent first
}

// A Field is a dimension or metric, of observations that were there before.
type Field struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Changed int      `json:"changed"`
	Added   int      `json:"added"`   // not there or null before
	Removed int      `json:"removed"` // not there or null now
	Samples []Sample `json:"samples"`
}

// A Sample is an example of a difference.
type Sample struct {
	Entity string          `json:"entity"`
	Raw    string          `json:"raw"`
	Old    json.RawMessage `json:"old"`
	New    json.RawMessage `json:"new"`
}

// NewReport is an empty report.
func NewReport() *Report {
	return &Report{Skipped: map[string]int{}, Causes: map[string]int{}, Fields: []*Field{}}
}

func (r *Report) skipped(why string) { r.Skipped[why]++ }

// maxCauses bounds the report where every answer is wrong in a way of its own.
const maxCauses = 50

func (r *Report) unreadable(x *reading) {
	r.Unreadable++
	why := cause(x.err)
	if _, ok := r.Causes[why]; !ok && len(r.Causes) >= maxCauses {
		why = "other"
	}
	r.Causes[why]++
}

func (r *Report) changed(c *change) {
	r.Changed++
	for _, d := range c.events {
		switch {
		case d.gone:
			r.Gone++
		case d.before == nil || d.before.gone:
			r.New++
		default:
			r.Another++
			for _, f := range fields(d.before.log, d.log) {
				r.field(string(d.log.Kind), f.name).add(f, d.log.Key, c.Raw.ID)
			}
		}
	}
}

func (r *Report) field(kind, name string) *Field {
	i := slices.IndexFunc(r.Fields, func(f *Field) bool { return f.Kind == kind && f.Name == name })
	if i < 0 {
		r.Fields = append(r.Fields, &Field{Kind: kind, Name: name, Samples: []Sample{}})
		i = len(r.Fields) - 1
	}
	return r.Fields[i]
}

func (f *Field) add(d delta, entity, raw string) {
	null := func(v json.RawMessage) bool { return v == nil || string(v) == "null" }
	switch {
	case null(d.old):
		f.Added++
	case null(d.new):
		f.Removed++
	default:
		f.Changed++
	}
	if len(f.Samples) < samples {
		f.Samples = append(f.Samples, Sample{entity, raw, orNull(d.old), orNull(d.new)})
	}
}

func orNull(v json.RawMessage) json.RawMessage {
	if v == nil {
		return json.RawMessage("null")
	}
	return v
}

// Sort puts the most frequent fields first.
func (r *Report) Sort() {
	slices.SortFunc(r.Fields, func(a, b *Field) int {
		if d := b.total() - a.total(); d != 0 {
			return d
		}
		return strings.Compare(a.Kind+a.Name, b.Kind+b.Name)
	})
}

func (f *Field) total() int { return f.Changed + f.Added + f.Removed }
