// Package keywords picks the words that say most about a caption.
//
// The method is YAKE (Campos et al., "YAKE! Keyword extraction from single
// documents using multiple local features", 2020) for single English words: a
// text is split into sentences and words, and a word scores well when it is
// frequent, early, spread over sentences, written as a name or an acronym, and
// seen next to few different neighbours. Nothing is learned. Sentences and words are cut by the rules of the segtok
// tokeniser, since the reference results depend on them.
//
// The answer depends only on the text. Work is close to linear in it: only the
// first 64 KiB are read, and edit distances are measured only between a
// candidate and the at most four words already kept. The answers to the latest
// captions are remembered, since the answers of a refresh overlap.
package keywords

import (
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	maxKeywords = 5

	// Captions are at most 2,200 characters and comments 10,000; the rest of
	// anything larger is not read.
	maxText = 64 << 10
)

// Extract returns up to five keywords of text, best first, in the letter case
// of their first occurrence.
func Extract(text string) []string {
	t := tallies.Get().(*tally)
	defer t.release()
	for s := range sentences(joinLines(clip(text))) {
		t.add(s)
	}
	return t.best()
}

// Of is what is stored for a caption: "" for empty text, else the keywords in
// the form of Text.
func Of(text string) string {
	switch {
	case text == "":
		return ""
	case len(text) > maxRemembered:
		return Text(Extract(text))
	}
	words, ok := latest.of(text)
	if !ok {
		words = Text(Extract(text))
		latest.keep(text, words)
	}
	return words
}

// latest is shared by all callers, who see the same posts.
var latest = newMemo()

// tallies saves the maps and slices of earlier calls, emptied: a caption needs
// a few KiB of them, thousands of times a second.
var tallies = sync.Pool{New: func() any { return &tally{} }}

// clip returns at most maxText bytes of text, as valid UTF-8.
func clip(text string) string {
	if len(text) > maxText {
		end := maxText
		for !utf8.RuneStart(text[end]) && end > maxText-utf8.UTFMax {
			end--
		}
		text = text[:end]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
