// Package rapidapi is what the providers behind RapidAPI have in common: their
// credential is a map of headers, and RapidAPI itself turns calls away in one
// way for all of them (contract/providers-instagram.md 2.1 and 6.4,
// enrichment.md 5.5).
package rapidapi

import (
	"fmt"
	"net/http"

	"beat/providers"
)

const keyHeader = "X-RapidAPI-Key"

// Check wants the header map to hold the key that RapidAPI asks for, or its
// alias of 2.1.
func Check(c providers.Credential) error {
	if Headers(c, "").Get(keyHeader) == "" {
		return fmt.Errorf("credential %d of %s: field %q is missing or empty", c.ID, c.Source, keyHeader)
	}
	return nil
}

// Headers are the members of the credential as they are, plus the host if that
// is not among them. A member called key is the RapidAPI key (2.1).
func Headers(c providers.Credential, host string) http.Header {
	h := c.Headers()
	if key := h.Get("Key"); key != "" {
		h.Del("Key")
		if h.Get(keyHeader) == "" {
			h.Set(keyHeader, key)
		}
	}
	if h.Get("X-RapidAPI-Host") == "" {
		h.Set("X-RapidAPI-Host", host)
	}
	return h
}

// Classes tell RapidAPI's own refusals from what the provider behind it says.
// Any 403 that is not here is no fault of the key.
var Classes = []providers.Class{
	{Status: "403", Body: holds("not subscribed"), Kind: providers.ErrRefused, Why: "RapidAPI: not subscribed"},
	{Status: "403", Body: holds("blocked user"), Kind: providers.ErrRefused, Why: "RapidAPI: user blocked"},
	{Status: "403", Body: holds("api key"), Kind: providers.ErrRefused, Why: "RapidAPI: key refused"},
	{Status: "4xx", Body: holds("exceeded", "quota"), Kind: providers.ErrLimited, Why: "RapidAPI: quota of the plan used up"},
	{Status: "4xx", Body: holds("exceeded the rate limit"), Kind: providers.ErrLimited, Why: "RapidAPI: rate limit"},
}

func holds(words ...string) []providers.Marker {
	var out []providers.Marker
	for _, w := range words {
		out = append(out, providers.Marker{At: "message", Holds: w})
	}
	return out
}
