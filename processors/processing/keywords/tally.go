package keywords

import (
	"strings"
	"unicode/utf8"
)

// tally is what one text holds, counted. It is used by one call at a time.
type tally struct {
	sentences int32
	words     []word
	terms     []term
	mentions  []mention
	edges     []uint64 // left term <<32 | right term, one for each time they met
	ranked    []ranked

	byLower index // lower case to index in words
	byStem  index // term identity to index in terms

	pieces, tokens []string // of the sentence at hand
}

// word is a candidate: all tokens that differ only in case.
type word struct {
	first  string // as it first occurred
	lower  string
	term   int32 // index in tally.terms
	tf     int32
	usable bool // at least once neither a number nor unusable
}

// term is a word and its plural in -s, which share their statistics.
type term struct {
	stop                  bool
	tf                    int32
	acronym, proper       int32 // occurrences so written
	left, right           int32 // neighbours on that side
	leftKinds, rightKinds int32 // different terms among them
	sentences             int32 // that hold the term
	lastMention           int32 // index in tally.mentions, the latest sentence
}

// mention says that a term is in a sentence. The mentions of one term form a
// list, latest first.
type mention struct {
	sentence int32
	before   int32 // index in tally.mentions
}

// release empties t, so that it keeps no text alive, and gives it back. One
// grown by a giant text is left to the garbage collector.
func (t *tally) release() {
	if cap(t.words) > 1024 || cap(t.edges) > 4096 {
		return
	}
	clear(t.words)
	t.byLower.clear()
	t.byStem.clear()
	clear(t.pieces[:cap(t.pieces)])
	clear(t.tokens[:cap(t.tokens)])
	*t = tally{
		words: t.words[:0], terms: t.terms[:0], mentions: t.mentions[:0],
		edges: t.edges[:0], ranked: t.ranked[:0],
		byLower: t.byLower, byStem: t.byStem,
		pieces: t.pieces[:0], tokens: t.tokens[:0],
	}
	tallies.Put(t)
}

// add counts the words of the next sentence. Words on the two sides of
// punctuation are not neighbours.
func (t *tally) add(sentence string) {
	t.tokenise(sentence)
	left := int32(-1) // the neighbour, if any
	for i, tok := range t.tokens {
		if isPunctuation(tok) {
			left = -1
			continue
		}
		tag := tagOf(tok, i == 0)
		w := t.word(tok)
		w.tf++
		t.mention(w.term, tag)
		if tag == number || tag == unusable {
			left = -1
			continue
		}
		w.usable = true
		if left >= 0 {
			t.edges = append(t.edges, uint64(left)<<32|uint64(w.term))
			t.terms[left].right++
			t.terms[w.term].left++
		}
		left = w.term
	}
	t.sentences++
}

// word returns the entry of tok, made if need be. It is valid until the next
// call.
func (t *tally) word(tok string) *word {
	lower := strings.ToLower(tok)
	h := hash(lower)
	i, ok := t.byLower.find(lower, h)
	if !ok {
		i = int32(len(t.words))
		t.byLower.put(lower, h, i)
		t.words = append(t.words, word{first: tok, lower: lower, term: t.term(lower, h)})
	}
	return &t.words[i]
}

// term returns the index of the term of a lower-case word with hash h, made if
// need be. Whether it is a stop word is settled by the first word that has it.
func (t *tally) term(lower string, h uint64) int32 {
	stem, hs := lower, h
	if strings.HasSuffix(lower, "s") && utf8.RuneCountInString(lower) > 3 {
		stem = lower[:len(lower)-1]
		hs = hash(stem)
	}
	i, ok := t.byStem.find(stem, hs)
	if !ok {
		i = int32(len(t.terms))
		t.byStem.put(stem, hs, i)
		stop := substance(stem) < 3 || isStopWord(lower, h) || isStopWord(stem, hs)
		t.terms = append(t.terms, term{stop: stop, lastMention: -1})
	}
	return i
}

// mention counts one occurrence of a term in the sentence at hand.
func (t *tally) mention(i int32, tag tag) {
	m := &t.terms[i]
	m.tf++
	switch tag {
	case acronym:
		m.acronym++
	case proper:
		m.proper++
	}
	if m.lastMention >= 0 && t.mentions[m.lastMention].sentence == t.sentences {
		return
	}
	m.sentences++
	t.mentions = append(t.mentions, mention{t.sentences, m.lastMention})
	m.lastMention = int32(len(t.mentions) - 1)
}
