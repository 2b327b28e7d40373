package keywords

import "math"

// ln returns the natural logarithm of a finite x >= 1, correctly rounded for
// nearly all of them. math.Log is one unit off for as small a number as 3 on
// amd64, and not by the same amount elsewhere; words whose scores are equal in
// the reference then change places.
//
// With x = m·2^k and s = (m-1)/(m+1) it is k·ln 2 + 2(s + s³/3 + s⁵/5 + …); the
// two large terms carry their rounding errors along.
func ln(x float64) float64 {
	if x == 1 {
		return 0 // most words occur once
	}
	m, exp := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, exp = 2*m, exp-1
	}
	k := float64(exp)

	sum := m + 1
	sumErr := m - (sum - 1)
	s := (m - 1) / sum
	sErr := (math.FMA(-s, sum, m-1) - float64(s*sumErr)) / sum

	z := float64(s * s) // at most 0.03: twelve powers reach below 2^-60
	series := 0.0
	for n := 25.0; n >= 3; n -= 2 {
		series = math.FMA(series, z, 1/n)
	}
	tail := float64(float64(series*z) * s)

	const (
		ln2Hi = 6.93147180369123816490e-01 // its low bits are zero: k·ln2Hi is exact
		ln2Lo = 1.90821492927058770002e-10
	)
	a, b := float64(k*ln2Hi), 2*s
	h := a + b
	bSeen := h - a
	hErr := (a - (h - bSeen)) + (b - bSeen)
	return h + (hErr + 2*(sErr+tail) + float64(k*ln2Lo))
}
