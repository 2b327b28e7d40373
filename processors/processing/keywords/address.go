package keywords

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxScheme = 32 // bytes; keeps "[[[[[" from being read again at each bracket
	maxLocal  = 64 // bytes before the @ of a mail address (RFC 5321)
)

// findAddress returns where the first URL or mail address at or after from
// begins and ends; both are len(s) if there is none. An address stands between
// spaces, quotes or brackets.
func findAddress(s string, from int) (start, end int) {
	if !strings.Contains(s[from:], "://") && strings.IndexByte(s[from:], '@') < 0 {
		return len(s), len(s)
	}
	before, _ := utf8.DecodeLastRuneInString(s[:from])
	for i, r := range s[from:] {
		i += from
		if i == 0 || unicode.IsSpace(before) || strings.ContainsRune(`<"'([{`, before) {
			if end := urlEnd(s, i); end > 0 {
				return i, end
			}
			if end := mailEnd(s, i); end > 0 {
				return i, end
			}
		}
		before = r
	}
	return len(s), len(s)
}

// urlEnd returns the end of the URL that begins at i, or 0.
//
// As in the reference, the user part runs to the next @ of the sentence
// whatever is between, so that "https://a.b/c or mail me@d.e" is one address.
// One of the reference results is only right with it.
func urlEnd(s string, i int) int {
	scheme := 0
	for scheme < maxScheme && i+scheme < len(s) && 'A' <= s[i+scheme] && s[i+scheme] <= 'z' {
		scheme++
	}
	if scheme == 0 || !strings.HasPrefix(s[i+scheme:], "://") {
		return 0
	}
	i += scheme + len("://")
	if at := strings.IndexByte(s[i:], '@'); at > 0 {
		if end := locationEnd(s, i+at+1); end > 0 {
			return end
		}
	}
	return locationEnd(s, i)
}

// locationEnd returns the end of the host, port, path, query and fragment that
// begin at i, or 0 if there is no host or something else follows.
func locationEnd(s string, i int) int {
	if i = hostEnd(s, i); i == 0 {
		return 0
	}
	if i < len(s) && s[i] == ':' {
		port := runEnd(s, i+1, unicode.IsDigit)
		if port == i+1 {
			return 0
		}
		i = port
	}
	if i < len(s) && s[i] == '/' {
		i = runEnd(s, i+1, func(r rune) bool { return r != '?' && r != '#' && !closes(r) })
	}
	if i < len(s) && s[i] == '?' {
		query := runEnd(s, i+1, func(r rune) bool { return r != '#' && !closes(r) })
		if query == i+1 {
			return 0
		}
		i = query
	}
	if i < len(s) && s[i] == '#' {
		fragment := runEnd(s, i+1, func(r rune) bool { return !closes(r) })
		if fragment == i+1 {
			return 0
		}
		i = fragment
	}
	return closedAt(s, i)
}

// mailEnd returns the end of the mail address that begins at i, or 0.
func mailEnd(s string, i int) int {
	end := min(len(s), i+maxLocal+1)
	at := strings.IndexByte(s[i:end], '@')
	if at <= 0 || runEnd(s, i, isLocal) != i+at {
		return 0
	}
	host := hostEnd(s, i+at+1)
	if host == 0 {
		return 0
	}
	return closedAt(s, host)
}

// hostEnd returns the end of the dotted name that begins at i, or 0.
func hostEnd(s string, i int) int {
	dots, label, hyphen := 0, 0, false
	end := len(s)
scan:
	for j, r := range s[i:] {
		switch {
		case r == '.' && label == 0:
			return 0
		case r == '.':
			dots, label, hyphen = dots+1, 0, false
		case r == '-':
			label, hyphen = label+1, true
		case isWord(r):
			label++
		default:
			end = i + j
			break scan
		}
	}
	if dots == 0 || label == 0 || hyphen {
		return 0
	}
	return end
}

// closedAt returns i if an address may end there, else 0.
func closedAt(s string, i int) int {
	if i == len(s) || startsWith(s[i:], closes) {
		return i
	}
	return 0
}

func closes(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune(`>"')]}`, r)
}

func isLocal(r rune) bool {
	return isWord(r) || strings.ContainsRune(".#$%&'*+/=!?^`{|}~-", r)
}

// runEnd returns where the characters from i on for which in holds end.
func runEnd(s string, i int, in func(rune) bool) int {
	if n := strings.IndexFunc(s[i:], func(r rune) bool { return !in(r) }); n >= 0 {
		return i + n
	}
	return len(s)
}
