package keywords

import (
	"html"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenise fills t.tokens with the words, symbols and addresses of a sentence.
func (t *tally) tokenise(sentence string) {
	t.tokens = t.tokens[:0]
	for at := 0; at < len(sentence); {
		start, end := findAddress(sentence, at)
		t.tokeniseText(html.UnescapeString(sentence[at:start]))
		if start < end {
			t.tokens = append(t.tokens, sentence[start:end])
		}
		at = end
	}
}

// tokeniseText adds the tokens of a text that holds no address.
func (t *tally) tokeniseText(s string) {
	t.pieces = t.pieces[:0]
	for field := range strings.FieldsSeq(s) {
		t.pieces = appendPieces(t.pieces, field)
	}
	t.pieces = cutTerminal(t.pieces)
	for _, p := range t.pieces {
		end := len(p)
		for end > 1 && (p[end-1] == ',' || p[end-1] == ';' || p[end-1] == ':') {
			end--
		}
		t.appendWord(p[:end])
		if end < len(p) {
			t.tokens = append(t.tokens, p[end:])
		}
	}
}

// appendWord adds w, an English contraction in two parts: "do" and "n't". What
// begins with an apostrophe, like the "'s" of "it's", is dropped.
func (t *tally) appendWord(w string) {
	if cut := contraction(w); cut > 0 {
		t.tokens = append(t.tokens, w[:cut])
		w = w[cut:]
	}
	if r, n := utf8.DecodeRuneInString(w); n < len(w) && (r == '\'' || isApostrophe(r)) {
		return
	}
	t.tokens = append(t.tokens, w)
}

// contraction returns where the second part of a contraction begins, or 0.
func contraction(w string) int {
	i := len(w) - 1
	switch {
	case i > 0 && strings.IndexByte("dmst", w[i]) >= 0:
	case i > 1 && (w[i-1:] == "ll" || w[i-1:] == "re" || w[i-1:] == "ve"):
		i--
	default:
		return 0
	}
	r, n := utf8.DecodeLastRuneInString(w[:i])
	suffix := w[i:]
	if i -= n; r != '\'' && !isApostrophe(r) || !isCompound(w[:i]) {
		return 0
	}
	if suffix == "t" && w[i-1] == 'n' {
		i--
	}
	return i
}

// isCompound reports whether w is letters and digits, perhaps with single
// hyphens between them.
func isCompound(w string) bool {
	after := false // an alphanumeric
	for _, r := range w {
		switch {
		case isAlnum(r):
			after = true
		case isHyphen(r) && after:
			after = false
		default:
			return false
		}
	}
	return after
}

// appendPieces splits a field, which holds no space, into words and what is
// between them.
func appendPieces(dst []string, field string) []string {
	gap := 0 // where what is between words begins
	for i := 0; i < len(field); {
		end := wordEnd(field, i)
		if end == i {
			_, n := utf8.DecodeRuneInString(field[i:])
			i += n
			continue
		}
		if gap < i {
			dst = append(dst, field[gap:i])
		}
		dst = append(dst, field[i:end])
		i, gap = end, end
	}
	if gap < len(field) {
		dst = append(dst, field[gap:])
	}
	return dst
}

// wordEnd returns the end of the word that begins at i in field, or i.
func wordEnd(field string, i int) int {
	for i < len(field) {
		if c := field[i]; isAlnumASCII(c) {
			if i++; i == len(field) || !isAlnumASCII(field[i]) { // nothing joins two letters
				i += joiner(field[i:], rune(c))
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(field[i:])
		switch {
		case isAlnum(r):
			i += n
			i += joiner(field[i:], r)
		case isApostrophe(r) && !startsWith(field[i+n:], isApostrophe):
			i += n
		default:
			return i
		}
	}
	return i
}

// joiner returns the length of the punctuation that s begins with and that
// belongs to the word whose letter before was the latest: the dot of "e.g.",
// the hyphen of "t-shirt". An ellipsis is not part of a word.
func joiner(s string, before rune) int {
	r, n := utf8.DecodeRuneInString(s)
	rest := s[n:]
	joined := false
	switch {
	case n == 0 || isAlnum(r):
	case r == '.':
		joined = !strings.HasPrefix(rest, "..")
	case r == ',':
		joined = startsWith(rest, isAlnum)
	case r == ':':
		joined = isDigit(before) && startsWith(rest, isDigit)
	case r == '\'':
		joined = startsWith(rest, isAlnum) || before == 's' && rest == ""
	case isHyphen(r):
		joined = startsWith(rest, isAlnum)
	case isApostrophe(r): // 5′-end
		h, hn := utf8.DecodeRuneInString(rest)
		n += hn
		joined = isHyphen(h) && startsWith(rest[hn:], isAlnum)
	}
	if !joined {
		return 0
	}
	return n
}

// cutTerminal splits the mark that ends the sentence from the last word, found
// among the last three pieces: it may be followed by a quote and a bracket.
func cutTerminal(pieces []string) []string {
	for i := len(pieces) - 1; i >= max(0, len(pieces)-3); i-- {
		p := pieces[i]
		if !startsWith(p, isAlnum) && !strings.ContainsFunc(p, isTerminal) {
			continue
		}
		cut := len(p)
		first, n := utf8.DecodeRuneInString(p)
		if last, m := utf8.DecodeLastRuneInString(p); isTerminal(last) {
			cut -= m
		} else if isTerminal(first) {
			cut = n
		}
		if 0 < cut && cut < len(p) && p != "..." {
			pieces[i] = p[:cut]
			pieces = slices.Insert(pieces, i+1, p[cut:])
		}
		break
	}
	return pieces
}

func startsWith(s string, is func(rune) bool) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && is(r)
}

// isAlnum reports whether r can be part of a word: letters of scripts with
// case, modifiers, numbers. Scripts without case (Devanagari, Chinese) are not
// split at all but by spaces.
func isAlnum(r rune) bool { return kindOf(r)&alnum != 0 }

func isAlnumASCII(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isDigit(r rune) bool { return kindOf(r)&(digit|numeral) != 0 }

// isWord reports whether r is what regular expressions call a word character.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return isAlnumASCII(byte(r)) || r == '_'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc)
}

// isApostrophe reports whether r is an apostrophe other than the ASCII one.
func isApostrophe(r rune) bool {
	switch r {
	case '\u00B4', '\u02B9', '\u02BC', '\u2019', '\u2032':
		return true
	}
	return false
}

func isHyphen(r rune) bool {
	switch r {
	case '-', '\u00AD', '\u058A', '\u05BE', '\u0F0C', '\u1400', '\u1806',
		'\u2010', '\u2011', '\u2012', '\u2E17', '\u30A0':
		return true
	}
	return false
}
