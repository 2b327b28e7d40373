package keywords

import "unicode"

// kind is what a character can be, as bits.
type kind uint8

const (
	digit   kind = 1 << iota // Nd
	numeral                  // Nl
	letter                   // L
	upper                    // Lu
	alnum                    // see isAlnum
)

// kindOf returns the kind of r.
func kindOf(r rune) kind {
	if 0 <= r && int(r) < len(kinds) {
		return kinds[r]
	}
	return lookUp(r)
}

// kinds holds those of the scripts up to Tibetan: what package unicode has to
// search its tables for, once for each question.
var kinds = func() (of [0x1000]kind) {
	for r := range of {
		of[r] = lookUp(rune(r))
	}
	return of
}()

func lookUp(r rune) kind {
	switch {
	case unicode.Is(unicode.Lo, r): // first, since most of what is looked up is Chinese or Japanese
		return letter
	case unicode.IsUpper(r):
		return letter | upper | alnum
	case unicode.IsLetter(r):
		return letter | alnum
	case unicode.IsDigit(r):
		return digit | alnum
	case unicode.Is(unicode.Nl, r):
		return numeral | alnum
	}
	return 0
}
