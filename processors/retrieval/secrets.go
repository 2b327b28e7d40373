package retrieval

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"beat/providers"
	"beat/streams/scrub"
)

// shortestSecret is how long a value must be to be looked for in an answer: a
// shorter one stands in many words.
const shortestSecret = 8

// WithoutSecrets is ans with *** wherever it repeats a secret of c, in any
// spelling: Graph's links to the next page hold the token, and some error pages
// show the whole request. So no stored answer, error or letter has it
// (decision 21). Ids and host names of a credential are no secrets, and stay.
func WithoutSecrets(c providers.Credential, ans providers.Answer) providers.Answer {
	for name, v := range c.Fields {
		if scrub.Header(name, "x") != scrub.Mask {
			continue
		}
		for _, s := range spellings(v.Reveal()) {
			if b := []byte(s); bytes.Contains(ans.Body, b) {
				ans.Body = bytes.ReplaceAll(ans.Body, b, []byte(scrub.Mask))
			}
			for _, values := range ans.Header {
				for i := range values {
					values[i] = strings.ReplaceAll(values[i], s, scrub.Mask)
				}
			}
		}
	}
	return ans
}

// spellings are the ways in which an answer may write a secret: as it is, within
// JSON and within a URL. What follows "Bearer " counts by itself.
func spellings(v string) []string {
	if i := strings.LastIndexByte(v, ' '); i >= 0 && len(v)-i > shortestSecret {
		v = v[i+1:]
	}
	if len(v) < shortestSecret {
		return nil
	}
	inJSON, _ := json.Marshal(v) //nolint:errcheck // a text always can be
	out := []string{v}
	for _, s := range []string{
		string(inJSON[1 : len(inJSON)-1]), strings.ReplaceAll(v, "/", `\/`), url.QueryEscape(v), url.PathEscape(v),
	} {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
