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

var stopWords = func() *index {
	words := &index{}
	for w := range strings.FieldsSeq(stopWordList) {
		words.put(w, hash(w), 0)
	}
	return words
}()

// isStopWord reports whether a lower-case word, whose hash is h, says nothing
// about a text.
func isStopWord(lower string, h uint64) bool {
	_, ok := stopWords.find(lower, h)
	return ok
}
