package retrieval

import (
	"testing"
	"time"

	"beat/providers"
)

const key = 7 // the credential of these tests

func left(n int) providers.Quota {
	return providers.Quota{Limit: 7, Remaining: n, Reset: time.Minute, Known: true}
}

func leftOfMuch(n int) providers.Quota {
	return providers.Quota{Limit: 100, Remaining: n, Reset: time.Minute, Known: true}
}

// Nothing is left when the calls under way use it up.
func TestQuotaIsSpent(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		underWay int
		said     providers.Quota
		want     bool
	}{
		{"none left", 0, left(0), true},
		{"one left", 0, left(1), false},
		{"as many as are under way", 3, left(3), true},
		{"fewer", 3, left(2), true},
		{"one more", 3, left(4), false},
		{"one left of many", 0, leftOfMuch(1), true},
		{"two left of many", 0, leftOfMuch(2), false},
		{"none left, nobody knows for how long", 0, providers.Quota{Known: true}, false},
		{"not known", 0, providers.Quota{}, false},
	} {
		var q quotas
		for range tt.underWay + 1 {
			if !q.begin(key, time.Time{}, at) {
				t.Fatalf("%s: a call is held back before anything is known", tt.name)
			}
		}
		q.end(key)
		until, spent := q.learn(key, tt.said, at)
		if spent != tt.want || spent && !until.Equal(at.Add(time.Minute)) {
			t.Errorf("%s: spent %v until %v, want %v", tt.name, spent, until, tt.want)
		}
	}
}

// begun is how many calls may begin before the next answer.
func begun(q *quotas, rested, now time.Time) (n int) {
	for n < 1000 && q.begin(key, rested, now) {
		n++
	}
	return n
}

func TestCallsBeforeTheNextAnswer(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		said  providers.Quota
		after time.Duration
		want  int
	}{
		{"nothing is known", providers.Quota{}, 0, 1000},
		{"half of what is left", left(8), 0, 4},
		{"of an odd number, the smaller", left(7), 0, 3},
		{"the last one", left(1), 0, 1},
		{"of many, all but one", leftOfMuch(41), 0, 20},
		{"it is given back", left(1), time.Minute, 1000},
		{"it is not known for how long", providers.Quota{Known: true, Remaining: 2}, 0, 1000},
	} {
		var q quotas
		q.begin(key, time.Time{}, at)
		q.end(key)
		q.learn(key, tt.said, at)
		if got := begun(&q, time.Time{}, at.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %d calls, want %d", tt.name, got, tt.want)
		}
		if got := begun(&q, time.Time{}, at.Add(tt.after+slowAnswer)); got == 0 {
			t.Errorf("%s: an answer that does not come is waited for", tt.name)
		}
	}
}

// After a rest one call is made, and one more at once with each round of answers
// that do not say what is left.
func TestCallsAfterARest(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	var q quotas
	if got := begun(&q, time.Time{}, at); got != 1000 {
		t.Fatalf("%d calls of a credential that never rested, want no bound", got)
	}
	answered := func(n int, said providers.Quota) {
		for range n {
			q.end(key)
		}
		for range n {
			q.learn(key, said, at)
		}
	}
	answered(1000, providers.Quota{})
	rested := at.Add(-time.Millisecond)
	for want := 1; want <= 4; want++ {
		if got := begun(&q, rested, at); got != want {
			t.Fatalf("%d calls at once, want %d", got, want)
		}
		answered(want, providers.Quota{})
	}
	rested = at
	if got := begun(&q, rested, at); got != 1 {
		t.Errorf("%d calls after another rest, want 1", got)
	}
	answered(1, left(10))
	if got := begun(&q, rested, at); got != 5 {
		t.Errorf("%d calls when the answer says that 10 are left, want 5", got)
	}
}
