package keywords

import "unicode/utf8"

// maxCompared bounds the cost of one comparison; no word of a language is that
// long, and two that are count as different.
const maxCompared = 128

// similar reports whether 1 - distance/length exceeds 0.9, where distance is
// the Levenshtein distance of a and b in characters and length that of the
// longer: fewer than one edit in ten characters.
func similar(a, b string) bool {
	if a == b {
		return true
	}
	if max(len(a), len(b)) <= 10 { // one edit is already too much
		return false
	}
	la, lb := utf8.RuneCountInString(a), utf8.RuneCountInString(b)
	longer := max(la, lb)
	if longer > maxCompared || 10*(longer-min(la, lb)) >= longer {
		return false
	}
	return within(a, b, lb, (longer-1)/10)
}

// within reports whether at most limit edits turn a into b, which has lb
// characters, neither longer than maxCompared.
func within(a, b string, lb, limit int) bool {
	var row [maxCompared + 1]int // distances of a so far to each prefix of b
	for j := range lb + 1 {
		row[j] = j
	}
	i, last := 0, 0
	for _, ra := range a {
		i++
		diagonal, best := i-1, i
		row[0] = i
		j := 0
		for _, rb := range b {
			j++
			change := diagonal
			if ra != rb {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
			best = min(best, row[j])
		}
		if best > limit {
			return false
		}
		last = row[j]
	}
	return last <= limit
}
