package keywords

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tag is the kind of one token.
type tag uint8

const (
	plain    tag = iota
	number       // reads as a number
	unusable     // "4ever", "***", "a.b.c"
	acronym      // all upper case
	proper       // only the first letter upper case, and not first in its sentence
)

func tagOf(tok string, first bool) tag {
	if isNumber(tok) {
		return number
	}
	var runes, digits, letters, marks, uppers int
	for _, r := range tok {
		runes++
		switch k := kindOf(r); {
		case isASCIIPunctuation(r):
			marks++
		case k&digit != 0:
			digits++
		case k&letter != 0:
			letters++
			if k&upper != 0 {
				uppers++
			}
		}
	}
	switch {
	case (digits > 0) == (letters > 0) || marks > 1:
		return unusable
	case uppers == runes:
		return acronym
	case uppers == 1 && runes > 1 && !first && startsUpper(tok):
		return proper
	}
	return plain
}

func startsUpper(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsUpper(r)
}

// isNumber reports whether Python's float reads tok once its commas are
// removed: "1,000", "2.", "1e-5", "nan", digits of any script.
func isNumber(tok string) bool {
	switch r, _ := utf8.DecodeRuneInString(tok); {
	case r == 'i' || r == 'I' || r == 'n' || r == 'N':
		return strings.EqualFold(tok, "nan") || strings.EqualFold(tok, "inf") ||
			strings.EqualFold(tok, "infinity")
	case r != '.' && !unicode.IsDigit(r):
		return false
	}
	whole, rest := cutDigits(tok)
	fraction := 0
	if strings.HasPrefix(rest, ".") {
		fraction, rest = cutDigits(rest[1:])
	}
	if whole+fraction == 0 {
		return false
	}
	if rest != "" && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		if rest != "" && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		var power int
		if power, rest = cutDigits(rest); power == 0 {
			return false
		}
	}
	return rest == ""
}

// cutDigits counts the digits that s begins with, commas ignored, and returns
// what follows.
func cutDigits(s string) (n int, rest string) {
	for i, r := range s {
		switch {
		case unicode.IsDigit(r):
			n++
		case r != ',':
			return n, s[i:]
		}
	}
	return n, ""
}

// isPunctuation reports whether tok has nothing but ASCII punctuation.
func isPunctuation(tok string) bool {
	for i := range len(tok) {
		if !isASCIIPunctuation(rune(tok[i])) {
			return false
		}
	}
	return true
}

func isASCIIPunctuation(r rune) bool {
	return '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
}

// substance counts the characters of s that are not punctuation. A
// typographic apostrophe counts as the plain one does, so that "n’t" is as
// little a keyword as "n't".
func substance(s string) int {
	n := 0
	for _, r := range s {
		if !isASCIIPunctuation(r) && !isApostrophe(r) {
			n++
		}
	}
	return n
}
