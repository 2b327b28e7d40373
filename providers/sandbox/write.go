package sandbox

import (
	"strconv"
	"unicode/utf8"
)

// The answers are appended piece by piece into one buffer: the sandbox shares
// its machine with what it is there to measure.

func appendUint(b []byte, lead string, n uint64) []byte {
	return strconv.AppendUint(append(b, lead...), n, 10)
}

func appendInt(b []byte, lead string, n int64) []byte {
	return strconv.AppendInt(append(b, lead...), n, 10)
}

const hexDigits = "0123456789abcdef"

// appendStr appends any text as a JSON string, and then end.
func appendStr(b []byte, s string, end ...byte) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		case r == utf8.RuneError && n == 1:
			b = append(b, "\ufffd"...)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(append(b, '"'), end...)
}

// ascii is s as the inside of a JSON string without any byte above 127, the
// way Graph and the private API write text.
func ascii(s string) string {
	var b []byte
	u16 := func(v rune) {
		b = append(b, '\\', 'u', hexDigits[v>>12&15], hexDigits[v>>8&15], hexDigits[v>>4&15], hexDigits[v&15])
	}
	for _, r := range s {
		switch {
		case r == '\n':
			b = append(b, '\\', 'n')
		case r < 128:
			b = append(b, byte(r))
		case r < 0x10000:
			u16(r)
		default:
			r -= 0x10000
			u16(0xd800 + r>>10)
			u16(0xdc00 + r&0x3ff)
		}
	}
	return string(b)
}

// noiseSize is a power of two.
const noiseSize = 1 << 16

// newNoise is text of the base 64 alphabet to cut tokens from: it does not
// compress, as real tokens do not.
func newNoise() []byte {
	b := make([]byte, noiseSize)
	for i := range b {
		b[i] = alphabet[hash(42, uint64(i))&63]
	}
	return b
}

// appendNoise appends n characters that follow from seed.
func (s *Sandbox) appendNoise(b []byte, seed uint64, n int) []byte {
	at := int(seed % noiseSize)
	for n > 0 {
		m := min(n, noiseSize-at)
		b = append(b, s.noise[at:at+m]...)
		n, at = n-m, 0
	}
	return b
}

// appendURL appends the URL of a file in the way of Instagram's CDN, quotes
// included. dir is such as "t51.29350-15", size such as "640x800" or "".
func (s *Sandbox) appendURL(b []byte, seed uint64, dir, size, ext string) []byte {
	b = append(b, `"https://scontent.cdn.example.net/v/`...)
	b = append(b, dir...)
	b = appendUint(b, "/", 100_000_000+seed%400_000_000)
	b = appendUint(b, "_", 1_000_000_000_000_000+seed>>8%8_999_999_999_999_999)
	b = appendUint(b, "_", 1_000_000_000_000_000_000+seed>>4%7_999_999_999_999_999_999)
	b = append(b, "_n."...)
	b = append(b, ext...)
	b = append(b, "?stp=dst-jpg_e15"...)
	if size != "" {
		b = append(append(b, "_p"...), size...)
	}
	b = appendUint(b, `&_nc_ht=scontent.cdn.example.net&_nc_cat=`, 100+seed%12)
	b = s.appendNoise(append(b, `&_nc_ohc=`...), seed>>5, 23)
	b = s.appendNoise(append(b, `&_nc_gid=`...), seed>>9, 22)
	b = s.appendNoise(append(b, `&edm=AOmX9WgBAAAA&ccb=7-5&oh=00_Af`...), seed>>7, 32)
	b = strconv.AppendUint(append(b, `&oe=6`...), 0x1000000+seed>>20&0xffffff, 16)
	return append(b, `&_nc_sid=8b3546"`...)
}

// pad appends a member that fills, n bytes long, when there is to be one.
func (s *Sandbox) pad(b []byte, name string, seed uint64, n int) []byte {
	if n <= 0 {
		return b
	}
	b = append(append(append(b, `,"`...), name...), `":"`...)
	return append(s.appendNoise(b, seed, n), '"')
}
