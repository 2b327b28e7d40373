package keywords

import (
	"cmp"
	"math"
	"slices"
)

// ranked is a candidate and its score; low scores are good.
type ranked struct {
	score float64
	word  int32 // index in tally.words: the order of first appearance
}

// best returns the at most maxKeywords best candidates, best first, leaving out
// those nearly equal to a better one.
func (t *tally) best() []string {
	t.rank()
	var kept [maxKeywords]*word
	k := 0
	for _, r := range t.ranked {
		w := &t.words[r.word]
		if slices.ContainsFunc(kept[:k], func(v *word) bool { return similar(v.lower, w.lower) }) {
			continue
		}
		kept[k] = w
		if k++; k == len(kept) {
			break
		}
	}
	out := make([]string, k)
	for i, w := range kept[:k] {
		out[i] = w.first
	}
	return out
}

// rank fills t.ranked, best first.
func (t *tally) rank() {
	t.countNeighbours()
	f := t.frequencies()
	for i, w := range t.words {
		if !w.usable || t.terms[w.term].stop {
			continue
		}
		s := t.score(&t.terms[w.term], f)
		t.ranked = append(t.ranked, ranked{s / ((s + 1) * float64(w.tf)), int32(i)})
	}
	slices.SortFunc(t.ranked, func(a, b ranked) int {
		if c := cmp.Compare(a.score, b.score); c != 0 {
			return c
		}
		return cmp.Compare(a.word, b.word)
	})
}

// countNeighbours counts the different left and right neighbours of each term.
func (t *tally) countNeighbours() {
	slices.Sort(t.edges)
	for i, e := range t.edges {
		if i > 0 && e == t.edges[i-1] {
			continue
		}
		t.terms[e>>32].rightKinds++
		t.terms[uint32(e)].leftKinds++
	}
}

type frequencies struct {
	max        float64 // over all terms
	avgPlusDev float64 // over terms that are not stop words
}

func (t *tally) frequencies() frequencies {
	var top, sum, n int32
	for i := range t.terms {
		m := &t.terms[i]
		top = max(top, m.tf)
		if !m.stop {
			sum, n = sum+m.tf, n+1
		}
	}
	if n == 0 {
		return frequencies{max: float64(top)}
	}
	avg := float64(sum) / float64(n)
	var squares float64
	for i := range t.terms {
		if m := &t.terms[i]; !m.stop {
			d := float64(m.tf) - avg
			squares += float64(d * d)
		}
	}
	return frequencies{float64(top), avg + math.Sqrt(squares/float64(n))}
}

// score is S of the paper, in the form of version 0.4.8. The conversions of
// products keep a compiler from fusing them into the next addition, which
// would rank differently on another processor.
func (t *tally) score(m *term, f frequencies) float64 {
	tf := float64(m.tf)
	share := tf / f.max
	rel := (0.5 + float64(ratio(m.leftKinds, m.left)*share)) +
		(0.5 + float64(ratio(m.rightKinds, m.right)*share))
	freq := tf / f.avgPlusDev
	spread := float64(m.sentences) / float64(t.sentences)
	casing := float64(max(m.acronym, m.proper)) / (1 + ln(tf))
	return float64(position(t.medianSentence(m))*rel) / (casing + freq/rel + spread/rel)
}

// position is how late a word stands, whose median sentence is a whole number
// or a half.
func position(median float64) float64 {
	if i := int(2 * median); i < len(positions) {
		return positions[i]
	}
	return ln(ln(3 + median))
}

// positions holds those of the halves up to the longest captions.
var positions = func() (at [64]float64) {
	for i := range at {
		at[i] = ln(ln(3 + float64(i)/2))
	}
	return at
}()

func ratio(a, b int32) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// medianSentence returns the median of the zero-based numbers of the sentences
// that hold m.
func (t *tally) medianSentence(m *term) float64 {
	at := m.lastMention
	for range (m.sentences - 1) / 2 {
		at = t.mentions[at].before
	}
	upper := t.mentions[at]
	if m.sentences%2 == 1 {
		return float64(upper.sentence)
	}
	return float64(upper.sentence+t.mentions[upper.before].sentence) / 2
}
