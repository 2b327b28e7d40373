package keywords

import (
	"strings"
	"sync"
)

// A memo remembers what Of gave for the captions it saw last: most posts of a
// refresh are in two of its answers, and in those of the next refresh again.
//
// It has two generations. What is kept goes into the young one; when that is
// full it takes the place of the old one. What is found in the old one is kept
// again: an entry lives for as long as it is asked for, any other for a
// generation or two.
type memo struct {
	mu         sync.Mutex // guards all
	young, old map[string]string
	size       int // of young, in bytes
}

const (
	// maxGeneration is the size of a generation, about 2,000 captions. Both
	// together stay below 2 MiB.
	maxGeneration = 900 << 10

	// entrySize is what an entry takes besides its texts: their two headers, in
	// a map that is half to nearly full.
	entrySize = 64

	// maxRemembered is the longest caption, 2,200 characters, as UTF-8.
	maxRemembered = 2200 * 4
)

func newMemo() *memo { return &memo{young: map[string]string{}, old: map[string]string{}} }

// of returns the words of text, if it remembers them.
func (m *memo) of(text string) (words string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if words, ok = m.young[text]; ok {
		return words, true
	}
	if words, ok = m.old[text]; ok {
		m.add(text, words)
	}
	return words, ok
}

// keep remembers the words of text.
func (m *memo) keep(text, words string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(text, words)
}

// add puts an entry into the young generation, which does not hold it or holds
// the same: another caller may have read text in the meantime. The text is
// copied, since it may be a part of something larger.
func (m *memo) add(text, words string) {
	if m.size >= maxGeneration {
		m.young, m.old, m.size = m.old, m.young, 0
		clear(m.young)
	}
	if _, ok := m.young[text]; !ok {
		m.young[strings.Clone(text)] = words
		m.size += len(text) + len(words) + entrySize
	}
}
