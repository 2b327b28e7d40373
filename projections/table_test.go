package projections

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValue(t *testing.T) {
	when := time.Date(2023, 9, 24, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule rule
		col  column
		in   string
		want any // nil: nothing to write
	}{
		{ruleS, column{name: "likes", typ: bigint}, `7`, int64(7)},
		{ruleS, column{name: "likes", typ: bigint}, `-7`, int64(-7)},
		{ruleS, column{name: "likes", typ: bigint}, `9007199254740993`, int64(9007199254740993)},
		{ruleS, column{name: "likes", typ: bigint}, `1.9`, int64(1)},
		{ruleS, column{name: "likes", typ: bigint}, `1e3`, int64(1000)},
		{ruleS, column{name: "likes", typ: bigint}, `"12"`, int64(12)},
		{ruleS, column{name: "likes", typ: bigint}, `"twelve"`, nil},
		{ruleS, column{name: "likes", typ: bigint}, `""`, nil},
		{ruleS, column{name: "likes", typ: bigint}, `true`, nil},
		{ruleS, column{name: "likes", typ: bigint}, `null`, nil},
		{ruleS, column{name: "engagement", typ: float}, `0.5`, 0.5},
		{ruleS, column{name: "engagement", typ: float}, `"0.5"`, nil},
		{ruleS, column{name: "is_private", typ: boolean}, `true`, true},
		{ruleS, column{name: "is_private", typ: boolean}, `false`, false},
		{ruleS, column{name: "is_private", typ: boolean}, `0`, false},
		{ruleS, column{name: "is_private", typ: boolean}, `2`, true},
		{ruleS, column{name: "is_private", typ: boolean}, `"true"`, nil},
		{ruleS, column{name: "publish_time", typ: stamp}, `1695556800`, when},
		{ruleS, column{name: "publish_time", typ: stamp}, `"1695556800"`, when},
		{ruleS, column{name: "publish_time", typ: stamp}, `"2023-09-24T14:00:00+02:00"`, when},
		{ruleS, column{name: "publish_time", typ: stamp}, `0`, nil},
		{ruleS, column{name: "publish_time", typ: stamp}, `"soon"`, nil},
		{ruleS, column{name: "caption", typ: text}, `"a"`, "a"},
		{ruleS, column{name: "caption", typ: text}, `"a \"b\"\n\u00e9"`, "a \"b\"\n\u00e9"},
		{ruleS, column{name: "caption", typ: text}, `7`, "7"},
		{ruleS, column{name: "caption", typ: text}, `[1]`, "[1]"},
		{ruleS, column{name: "caption", typ: text}, `""`, nil},
		{ruleS, column{name: "caption", typ: text}, `null`, nil},
		{ruleO, column{name: "title", typ: text}, `""`, ""},
		{ruleO, column{name: "title", typ: text}, `"null"`, "null"},
		{ruleO, column{name: "thumbnails", typ: text}, `"null"`, nil},
		{ruleO, column{name: "thumbnails", typ: text}, `"{}"`, "{}"},
	} {
		name := fmt.Sprintf("%s %s of %s", c.col.typ, c.col.name, c.in)
		out, ok := (&table{rule: c.rule}).value(c.col, []byte(c.in))
		if ok != (c.want != nil) {
			t.Errorf("%s: ok is %v, want %v", name, ok, c.want != nil)
			continue
		}
		if !ok {
			continue
		}
		var got any
		switch p := out.(type) {
		case *int64:
			got = *p
		case *float64:
			got = *p
		case *bool:
			got = *p
		case *time.Time:
			got = *p
		case *string:
			got = *p
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What a newer version stored of columns that this one does not know stays.
func TestJoinKeepsUnknownColumns(t *testing.T) {
	tab := newTable(table{}, same(bigint, "b", "d", "f"))
	older, newer := &origin{"old", at, "r1", 1}, &origin{"new", at.Add(time.Hour), "r2", 1}
	n := int64(1)
	s := &state{cells: []cell{{&n, newer}, {&n, older}, {}}}
	stored := parseLineage([]byte(fmt.Sprintf(`{"a": [["old", %q, "r1", 1], ["new", %q, "r2", 1]], "c": {"g": 0, "a": 0, "b": 0, "c": 1, "d": 1, "f": 0}}`,
		at.Format(time.RFC3339Nano), at.Add(time.Hour).Format(time.RFC3339Nano))))
	got := s.join(tab, stored)
	want := lineage{{"a", older}, {"b", newer}, {"c", newer}, {"d", newer}, {"f", older}, {"g", older}}
	if got, want := got.json(), want.json(); got != want {
		t.Errorf("lineage: got %s, want %s", got, want)
	}
	for i, kept := range []bool{true, false, false} {
		if got := s.cells[i].from != nil; got != kept {
			t.Errorf("cell %s is written: got %v, want %v", tab.columns[i].name, got, kept)
		}
	}
	if diff := cmp.Diff(want.json(), parseLineage([]byte(want.json())).json()); diff != "" {
		t.Errorf("lineage read again (-want +got):\n%s", diff)
	}
}
