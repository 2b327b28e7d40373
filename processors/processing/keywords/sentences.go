package keywords

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// joinLines makes one line of each paragraph. A line that begins with A-Z
// begins a paragraph, set off by an empty line; any other continues the line
// before it.
func joinLines(text string) string {
	text = strings.ReplaceAll(text, "\n\t", " ")
	var b strings.Builder
	b.Grow(len(text) + strings.Count(text, "\n") + 2)
	for line := range strings.SplitSeq(text, "\n") {
		if start := strings.TrimLeftFunc(line, unicode.IsSpace); start != "" && 'A' <= start[0] && start[0] <= 'Z' {
			b.WriteString("\n\n")
		} else {
			b.WriteByte(' ')
		}
		b.WriteString(line)
	}
	return strings.ReplaceAll(b.String(), "\t", " ")
}

// sentences yields the sentences of a text in which an empty line sets off
// paragraphs, none of them blank.
func sentences(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		c := cutter{text: text}
		last, ok := c.next()
		round, square := depthOf(last, '(', ')'), depthOf(last, '[', ']')
		for ok {
			var part string
			if part, ok = c.next(); ok {
				nextRound, nextSquare := depthOf(part, '(', ')'), depthOf(part, '[', ']')
				if continues(last, part) ||
					(short(last) || short(part)) && (closesOpen(round, nextRound) || closesOpen(square, nextSquare)) {
					last = text[c.pos-len(part)-len(last) : c.pos]
					round, square = round.then(nextRound), square.then(nextSquare)
					continue
				}
				round, square = nextRound, nextSquare
			}
			if s := strings.TrimSpace(last); s != "" && !yield(s) {
				return
			}
			last = part
		}
	}
}

// cutter cuts text where a sentence may end, save after abbreviations.
type cutter struct {
	text string
	pos  int
}

// next returns the next part, the space that ends it included.
func (c *cutter) next() (string, bool) {
	start := c.pos
	span := start // where what precedes the break at hand begins
	for i := start; i < len(c.text); {
		if !mayBreak(c.text[i]) {
			i++
			continue
		}
		end := breakEnd(c.text, i)
		if end == i {
			i++
			continue
		}
		if !joined(c.text[span:i], c.text[i], c.text[end:]) {
			c.pos = end
			return c.text[start:end], true
		}
		i, span = end, end
	}
	c.pos = len(c.text)
	return c.text[start:], start < len(c.text)
}

// mayBreak reports whether a break may begin with byte c: a mark, the end of a
// line, or the first byte of the marks of other scripts.
func mayBreak(c byte) bool {
	switch c {
	case '.', '!', '?', '\n', 0xE2, 0xE3, 0xEF:
		return true
	}
	return false
}

// breakEnd returns the end of the break that begins at i, or i: a sentence
// mark, perhaps a quote and brackets, and space; or an empty line.
func breakEnd(s string, i int) int {
	if c := s[i]; c < utf8.RuneSelf && c != '.' && c != '!' && c != '?' {
		if c != '\n' {
			return i
		}
		if end := len(s) - len(strings.TrimLeft(s[i:], "\n")); end > i+1 {
			return end
		}
		return i
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if !isTerminal(r) {
		return i
	}
	rest := s[i+n:]
	switch r, n := utf8.DecodeRuneInString(rest); r {
	case '\'', '"', '\u2019', '\u201D':
		rest = rest[n:]
	}
	rest = strings.TrimLeft(rest, ")]")
	after := strings.TrimLeftFunc(rest, unicode.IsSpace)
	if len(after) == len(rest) {
		return i
	}
	return len(s) - len(after)
}

// joined reports whether a break is none: mark is its first byte, before is
// what it ends, since the break before it, and after is all that follows.
func joined(before string, mark byte, after string) bool {
	if last, n := utf8.DecodeLastRuneInString(before); n > 0 && unicode.IsSpace(last) {
		return true
	}
	return mark == '.' && (isAbbreviated(before) || isLoneWord(after) ||
		endsInDay(before) && startsInMonth(after) ||
		endsInInitial(before) && startsInName(after))
}

// isLoneWord reports whether one lower-case word is all there is before the
// next break.
func isLoneWord(s string) bool {
	for i, r := range s {
		if unicode.IsLower(r) || i > 0 && (unicode.IsDigit(r) || isHyphen(r)) {
			continue
		}
		return i > 0 && breakEnd(s, i) > i
	}
	return s != ""
}

// continues reports whether part goes on with the sentence of last, judged by
// its first word.
func continues(last, part string) bool {
	w := firstWord(part)
	switch w {
	case "":
		return false
	case "and", "are", "between", "by", "from", "has", "into", "is", "of", "or", "than", "that",
		"through", "via", "was", "were", "whether", "with":
		return true
	}
	return isAll(w, unicode.IsLower) && endsLoosely(last)
}

// endsLoosely reports whether a lower-case word after s goes on with its
// sentence: after a quotation, a bracket, or a dotted word of one or two
// letters.
func endsLoosely(s string) bool {
	body := strings.TrimRightFunc(s, unicode.IsSpace)
	if len(body) == len(s) {
		return false
	}
	inner := strings.TrimRight(body, ")]")
	if quoted, ok := strings.CutSuffix(inner, `"`); ok {
		return endsIn(quoted, isTerminal)
	}
	if len(inner) < len(body) {
		return endsIn(inner, isTerminal)
	}
	word, ok := strings.CutSuffix(body, ".")
	if !ok {
		return false
	}
	word = lastWord(word)
	if word == "spp" {
		return true
	}
	first, n := utf8.DecodeRuneInString(word)
	return unicode.IsLetter(first) &&
		(n == len(word) || utf8.RuneCountInString(word[n:]) == 1 && isAll(word[n:], unicode.IsLower))
}

// depth says how the brackets of one kind in a text stand.
type depth struct {
	opened bool
	open   int // opened less closed, from the first opening one on
	net    int // opened less closed
	closed bool
	extra  int // closed less opened, up to the last closing one
}

func depthOf(s string, opening, closing byte) depth {
	var d depth
	if strings.IndexByte(s, opening) < 0 && strings.IndexByte(s, closing) < 0 {
		return d
	}
	for i := range len(s) {
		switch s[i] {
		case opening:
			d.opened = true
			d.open++
			d.net++
		case closing:
			if d.opened {
				d.open--
			}
			d.net--
			d.closed, d.extra = true, -d.net
		}
	}
	return d
}

// then returns the depth of the text of d followed by that of e.
func (d depth) then(e depth) depth {
	sum := depth{opened: d.opened || e.opened, open: e.open, net: d.net + e.net, closed: d.closed || e.closed, extra: d.extra}
	if d.opened {
		sum.open = d.open + e.net
	}
	if e.closed {
		sum.extra = e.extra - d.net
	}
	return sum
}

// closesOpen reports whether b closes a bracket that a left open: then a
// sentence mark between the two is inside the bracket.
func closesOpen(a, b depth) bool {
	return a.open > 0 && b.extra > 0
}

// short reports whether s has fewer than 55 characters, which is what the
// tokeniser takes for less than a sentence.
func short(s string) bool {
	const typical = 55
	return len(s) < typical*utf8.UTFMax && utf8.RuneCountInString(s) < typical
}

func firstWord(s string) string {
	if end := strings.IndexFunc(s, func(r rune) bool { return !isWord(r) }); end >= 0 {
		return s[:end]
	}
	return s
}

func lastWord(s string) string {
	i := len(s)
	for i > 0 {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if !isWord(r) {
			break
		}
		i -= n
	}
	return s[i:]
}

func endsIn(s string, is func(rune) bool) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && is(r)
}

func isAll(s string, is func(rune) bool) bool {
	for _, r := range s {
		if !is(r) {
			return false
		}
	}
	return true
}

// isTerminal reports whether r ends a sentence. mayBreak knows their first
// bytes.
func isTerminal(r rune) bool {
	switch r {
	case '.', '!', '?', '\u203C', '\u203D', '\u2047', '\u2048', '\u2049', '\u3002',
		'\uFE52', '\uFE57', '\uFF01', '\uFF0E', '\uFF1F', '\uFF61':
		return true
	}
	return false
}
