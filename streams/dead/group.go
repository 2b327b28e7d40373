package dead

import (
	"cmp"
	"slices"
	"time"
)

// A Group is letters that failed alike.
type Group struct {
	Fingerprint string    `json:"fingerprint"`
	Count       int       `json:"count"`
	Curable     int       `json:"curable"` // of these, by a later parser; see Mark
	Cause       string    `json:"cause"`
	Stages      []string  `json:"stages"`
	Sources     []string  `json:"sources"`
	Flows       []string  `json:"flows"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Error       string    `json:"error"` // of the last
	Seq         uint64    `json:"seq"`   // of the last
}

// Groups sorts letters by fingerprint, the largest group first.
func Groups(ls []Letter) []Group {
	at := map[string]int{}
	out := []Group{}
	for _, l := range ls {
		i, ok := at[l.Fingerprint]
		if !ok {
			i = len(out)
			at[l.Fingerprint] = i
			out = append(out, Group{Fingerprint: l.Fingerprint, Cause: l.Cause, First: l.At})
		}
		g := &out[i]
		g.Count++
		if l.Curable > 0 {
			g.Curable++
		}
		g.Stages, g.Sources, g.Flows = insert(g.Stages, l.Stage), insert(g.Sources, l.Source), insert(g.Flows, l.Flow)
		if l.At.Before(g.First) {
			g.First = l.At
		}
		if !l.At.Before(g.Last) {
			g.Last, g.Error, g.Seq = l.At, l.Error, l.Seq
		}
	}
	slices.SortStableFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), b.Last.Compare(a.Last))
	})
	return out
}

// insert adds s to a sorted set.
func insert(set []string, s string) []string {
	i, ok := slices.BinarySearch(set, s)
	if ok || s == "" {
		return set
	}
	return slices.Insert(set, i, s)
}
