package keywords

import (
	_ "embed"
	"strings"
)

// stopWordList is the English list of the SMART retrieval system (Salton and
// Buckley, Cornell), sorted, one word a line. Words of one or two letters are
// in it for completeness: the method drops all of those.
//
//go:embed stopwords.txt
var stopWordList string

var stopWords = func() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(stopWordList) {
		words[w] = true
	}
	return words
}()

// isStopWord reports whether a lower-case word says nothing about a text.
func isStopWord(lower string) bool {
	return stopWords[lower]
}
