package projections

import (
	"testing"
	"time"
)

func TestObserved(t *testing.T) {
	const stored = `{"a":[["arraybobo","2026-11-24T08:00:00Z","r1",1],["graphapi","2026-11-25T09:30:00.5Z","r2",1]],"c":{"likes":0,"reach":1,"saved":7,"shares":"x"}}`
	for _, tt := range []struct{ lineage, column, want string }{
		{stored, "likes", "2026-11-24T08:00:00Z"},
		{stored, "reach", "2026-11-25T09:30:00.5Z"},
		{stored, "saved", ""}, // an index that leads nowhere
		{stored, "shares", ""},
		{stored, "plays", ""},
		{`{}`, "reach", ""},
		{``, "reach", ""},
		{`null`, "reach", ""},
	} {
		at, ok := Observed([]byte(tt.lineage), tt.column)
		if got := at.Format(time.RFC3339Nano); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s of %.30s: got %s, %v, want %q", tt.column, tt.lineage, got, ok, tt.want)
		}
	}
}
