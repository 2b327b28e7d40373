package retrieval

import (
	"slices"
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		calls string // . answered, x not; one every step
		step  time.Duration
		down  int // after which call, 0 never
	}{
		"five in a row":                  {"xxxxx", time.Second, 5},
		"four are not enough":            {"xxxx", time.Second, 0},
		"an answer begins anew":          {"xxxx.xxxx", time.Second, 0},
		"after many answers":             {"....................xxxxx", time.Millisecond, 25},
		"five within more than a minute": {"xxxxx", 16 * time.Second, 0},
		"five within a minute":           {"xxxxx", 15 * time.Second, 5},
		"half of them":                   {"x.x.x.x.x.x.x.x.x.", time.Millisecond, 0},
	} {
		var b breakers
		got := 0
		for i, call := range c.calls {
			if call == '.' {
				b.worked("a")
			} else if b.failed("a", at.Add(time.Duration(i)*c.step)) {
				if got != 0 {
					t.Errorf("%s: down twice", name)
				}
				got = i + 1
			}
		}
		if got != c.down {
			t.Errorf("%s: down after call %d, want %d", name, got, c.down)
		}
	}
}

func TestDivide(t *testing.T) {
	for _, c := range []struct {
		free            int
		need, had, want []int
	}{
		{10, []int{100, 100}, []int{0, 0}, []int{5, 5}},
		{10, []int{2, 100}, []int{0, 0}, []int{2, 8}},
		{10, []int{0, 3}, []int{0, 0}, []int{0, 3}},
		{0, []int{5, 5}, []int{0, 0}, []int{0, 0}},
		{7, []int{100, 1, 100}, []int{0, 0, 0}, []int{3, 1, 3}},
		{10, []int{100, 100}, []int{40, 0}, []int{0, 10}}, // the first had its share
		{10, []int{100, 3}, []int{40, 0}, []int{7, 3}},
		{1, []int{9, 9}, []int{1, 0}, []int{0, 1}}, // what cannot be divided goes round
	} {
		if got := divide(c.free, c.need, c.had); !slices.Equal(got, c.want) {
			t.Errorf("divide(%d, %v, %v) = %v, want %v", c.free, c.need, c.had, got, c.want)
		}
	}
}
