package gateway

import "testing"

// The vectors of contract/flows.md 9.1, 9.2 and 9.4.
func TestContractVectors(t *testing.T) {
	n := func(n int64) *int64 { return &n }
	s := func(s string) *string { return &s }
	for _, c := range []struct {
		likes, comments, followers *int64
		want                       float64
	}{
		{n(100), n(5), n(10000), 1.05}, {nil, n(3), n(7), 42.86}, {n(125), n(0), n(100000), 0.12}, {n(1), n(0), n(3), 33.33}, {n(1), n(1), nil, 0},
	} {
		if got := engagementRate(c.likes, c.comments, c.followers); got != c.want {
			t.Errorf("engagement rate: got %v, want %v", got, c.want)
		}
	}
	for _, c := range []struct {
		kind                            *string
		stored, plays, likes, followers *int64
		want                            int64
	}{
		{s("reels"), nil, n(10000), nil, n(100000), 9233}, {s("image"), nil, nil, n(500), n(1), 2427}, {s("carousel"), nil, nil, n(1000), n(1), 4675},
		{nil, nil, nil, n(100), n(1), 527}, {s("reels"), n(777), n(0), nil, n(1), 0}, {s("image"), n(123), nil, n(500), n(1), 123}, {nil, nil, nil, n(0), n(1), 0},
	} {
		if got := reach(c.kind, c.stored, c.plays, c.likes, c.followers); got != c.want {
			t.Errorf("reach: got %d, want %d", got, c.want)
		}
	}
	for _, c := range []struct {
		f    int64
		e    float64
		want float64
	}{{100000, 2.5, 4815}, {1000, 0.1, 24}, {5000000, 1.0, 175806}} {
		if got := storyReach(c.f, c.e); got != c.want {
			t.Errorf("story reach: got %v, want %v", got, c.want)
		}
	}
}
