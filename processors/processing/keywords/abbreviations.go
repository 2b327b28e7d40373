package keywords

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// dotted are the abbreviations with a dot inside, less the dot at their end.
var dotted = []string{
	"e.g", "E.g", "f.e", "F.e", "i.e", "I.e", "i.v", "I.v", "p.e", "P.e", "z.B", "Z.b", "E.U", "U.K", "U.S",
}

// isAbbreviated reports whether a dot after s belongs to an abbreviation, a
// list number, or the initial of a person who is introduced as one. Initials in
// lists of authors, which the reference also knows, end a sentence here.
func isAbbreviated(s string) bool {
	w := lastWord(s)
	switch w {
	case "approx", "cf", "eg", "fe", "fig", "figs", "ie", "iv", "med", "nat", "nr", "phil", "prof",
		"rer", "sci", "univ", "vol", "vs",
		"Approx", "Cf", "Eg", "Fe", "Fig", "Figs", "Ie", "Iv", "Med", "Nat", "Nr", "Phil", "Prof",
		"Rer", "Sci", "Univ", "Vol", "Vs",
		"Capt", "Col", "Dr", "Gen", "Mag", "Mr", "Mrs", "Mt", "No", "Sgt", "Sr", "Sra", "Srta", "St",
		"Abr", "Apr", "Aug", "Dec", "Dez", "Dic", "Ene", "Feb", "Jan", "Jul", "Jun", "Jän", "Mar", "May",
		"Mär", "Nov", "Oct", "Okt", "Sep", "Sept":
		return true
	}
	if utf8.RuneCountInString(s) == 1 || s != "" && isAll(s, unicode.IsDigit) {
		return true // nothing else before the dot: "1." or "a."
	}
	if slices.ContainsFunc(dotted, func(a string) bool {
		return strings.HasSuffix(s, a) && !endsIn(s[:len(s)-len(a)], isWord)
	}) {
		return true
	}
	return isIntroduced(s)
}

// isIntroduced reports whether s ends like "by A" or "Professor A.-B".
func isIntroduced(s string) bool {
	s, ok := cutInitial(s)
	if !ok {
		return false
	}
	if r, n := utf8.DecodeLastRuneInString(s); isHyphen(r) {
		s = s[:len(s)-n]
	}
	if first, ok := strings.CutSuffix(s, "."); ok {
		if s, ok = cutInitial(first); !ok {
			return false
		}
	}
	r, n := utf8.DecodeLastRuneInString(s)
	if !unicode.IsSpace(r) {
		return false
	}
	switch lastWord(s[:len(s)-n]) {
	case "By", "Captain", "Commander", "Doctor", "Doktor", "General", "Miss", "Mister", "Professor",
		"Señor", "Señora", "Señorita",
		"by", "captain", "commander", "doctor", "doktor", "general", "miss", "mister", "professor",
		"señor", "señora", "señorita":
		return true
	}
	return false
}

func cutInitial(s string) (string, bool) {
	r, n := utf8.DecodeLastRuneInString(s)
	return s[:len(s)-n], unicode.IsUpper(r)
}

// endsInDay reports whether s ends in a number of one or two digits, at most 39.
func endsInDay(s string) bool {
	w := lastWord(s)
	return len(w) == 1 && isASCIIDigit(w[0]) || len(w) == 2 && '0' <= w[0] && w[0] <= '3' && isASCIIDigit(w[1])
}

// startsInMonth reports whether s begins with a month, as a number or short.
func startsInMonth(s string) bool {
	s = strings.TrimPrefix(s, "0")
	if s != "" && '1' <= s[0] && s[0] <= '9' {
		return true
	}
	return slices.ContainsFunc([]string{
		"Abr", "Apr", "Aug", "Dec", "Dez", "Dic", "Diz", "Ene", "Feb", "Jan", "Jul", "Jun", "Jän",
		"Mar", "May", "Mär", "Nov", "Oct", "Okt", "Sep",
	}, func(m string) bool { return strings.HasPrefix(s, m) })
}

func isASCIIDigit(b byte) bool {
	return '0' <= b && b <= '9'
}

// endsInInitial reports whether s ends like "Samuel L".
func endsInInitial(s string) bool {
	before, ok := cutInitial(s)
	if !ok {
		return false
	}
	name := strings.TrimRightFunc(before, func(r rune) bool { return !isWord(r) })
	return len(name) < len(before) && isName(lastWord(name))
}

func startsInName(s string) bool {
	return isName(firstWord(s))
}

// isName reports whether w is an upper-case letter and lower-case ones.
func isName(w string) bool {
	r, n := utf8.DecodeRuneInString(w)
	return unicode.IsUpper(r) && n < len(w) && isAll(w[n:], unicode.IsLower)
}
