// Package token finds where the tokens of JSON text end. Its functions look at
// b from index i on and return the index behind the token, or 0 for what is
// none: no token ends there.
package token

import (
	"encoding/binary"
	"math/bits"
)

// Space returns the index of the first byte that is no blank, which may be
// len(b).
func Space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// Scalar is the end of a string, a number, true, false or null.
func Scalar(b []byte, i int) int {
	if i >= len(b) {
		return 0
	}
	switch b[i] {
	case '"':
		end, _ := String(b, i)
		return end
	case 't':
		return word(b, i, "true")
	case 'f':
		return word(b, i, "false")
	case 'n':
		return word(b, i, "null")
	}
	return number(b, i)
}

// String is the end of the string whose opening quote is at i. It is plain
// when its text is written without escapes.
//
// Most of an answer is text, so eight bytes are looked at together, whatever
// ends the string among them. Of a word whose bytes are x, x-c borrows into the
// top bit of those below c, and x^c is below 1 where x is c. A borrow may mark
// bytes above the first that is meant, never one before it.
func String(b []byte, i int) (end int, plain bool) {
	const each, top = 0x0101010101010101, 0x8080808080808080
	plain = true
	for i++; i < len(b); {
		if i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, slash := x^each*'"', x^each*'\\'
			found := ((quote-each)&^quote | (slash-each)&^slash | (x-each*' ')&^x) & top
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, plain
		case c == '\\':
			plain = false
			for i < len(b) && b[i] == '\\' { // they come in rows
				n := escape(b[i+1:])
				if n == 0 {
					return 0, false
				}
				i += 1 + n
			}
		case c < ' ':
			return 0, false
		default: // the last bytes of b
			i++
		}
	}
	return 0, false
}

// escape is the length of what follows a backslash.
func escape(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) >= 5 && hex[b[1]] && hex[b[2]] && hex[b[3]] && hex[b[4]] {
			return 5
		}
	}
	return 0
}

// hex says which bytes are hexadecimal digits: texts in scripts other than
// Latin are often nothing but escapes.
var hex = func() (is [256]bool) {
	for _, c := range []byte("0123456789abcdefABCDEF") {
		is[c] = true
	}
	return is
}()

func word(b []byte, i int, w string) int {
	if end := i + len(w); end <= len(b) && string(b[i:end]) == w {
		return end
	}
	return 0
}

func number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i == 0 {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i == 0 {
			return 0
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits is the end of one digit or more.
func digits(b []byte, i int) int {
	start := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == start {
		return 0
	}
	return i
}
