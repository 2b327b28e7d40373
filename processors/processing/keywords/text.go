package keywords

import (
	"fmt"
	"strings"
	"unicode"
)

// Text formats words as the Python list text that consumers read:
// ['a', "it's"]. No words are [].
func Text(words []string) string {
	size := 2
	for _, w := range words {
		size += len(w) + len("'', ")
	}
	b := make([]byte, 0, size)
	b = append(b, '[')
	for i, w := range words {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendRepr(b, w)
	}
	return string(append(b, ']'))
}

// appendRepr appends w as Python prints a string inside a list.
func appendRepr(b []byte, w string) []byte {
	quote := '\''
	if strings.Contains(w, "'") && !strings.Contains(w, `"`) {
		quote = '"'
	}
	b = append(b, byte(quote))
	for _, r := range w {
		switch {
		case r == '\\' || r == quote:
			b = append(b, '\\', byte(r))
		case unicode.IsPrint(r):
			b = append(b, string(r)...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r <= 0xFF:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r <= 0xFFFF:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return append(b, byte(quote))
}
