// Package scrub takes secrets out of URLs and headers before they are stored
// or told. Leaf, standard library only.
package scrub

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Mask stands where a secret was.
const Mask = "***"

// URL is u with *** for the values of parameters that hold secrets, in query
// and fragment, and for a password in front of the host. All else, the order
// and spelling of the other parameters too, stays. A parameter whose value is
// itself a URL is treated alike.
func URL(u string) string { return clean(u, 3) }

// depth bounds URLs within URLs.
func clean(u string, depth int) string {
	head, tail := u, ""
	if i := strings.IndexAny(u, "?#"); i >= 0 {
		head, tail = u[:i], u[i:]
	}
	head = userinfo(head)
	if i := strings.IndexAny(head, "&;"); i >= 0 { // parameters without a ?
		head, tail = head[:i], head[i:]+tail
	}
	if tail == "" {
		return bearer(head)
	}
	var b strings.Builder
	b.Grow(len(u))
	b.WriteString(bearer(head))
	for tail != "" {
		b.WriteByte(tail[0]) // one of ? # & ;
		tail = tail[1:]
		pair := tail
		if i := strings.IndexAny(tail, "&;#?"); i >= 0 {
			pair, tail = tail[:i], tail[i:]
		} else {
			tail = ""
		}
		b.WriteString(parameter(pair, depth))
	}
	return b.String()
}

func parameter(pair string, depth int) string {
	name, value, ok := strings.Cut(pair, "=")
	if !ok || value == "" {
		return pair
	}
	if secretParameter(unescape(name)) {
		return name + "=" + Mask
	}
	plain := unescape(value)
	if depth == 0 || !strings.ContainsAny(plain, "?&#@ ") {
		return pair
	}
	if cleaned := clean(plain, depth-1); cleaned != plain {
		return name + "=" + url.QueryEscape(cleaned)
	}
	return pair
}

// userinfo masks the password of scheme://user:password@host, and a user that
// stands alone, since then it is the secret.
func userinfo(head string) string {
	start := strings.Index(head, "//")
	if start < 0 {
		return head
	}
	start += 2
	end := len(head)
	if i := strings.IndexByte(head[start:], '/'); i >= 0 {
		end = start + i
	}
	at := strings.LastIndexByte(head[start:end], '@')
	if at < 0 {
		return head
	}
	user, _, ok := strings.Cut(head[start:start+at], ":")
	if ok {
		user += ":" + Mask
	} else {
		user = Mask
	}
	return head[:start] + user + head[start+at:]
}

func unescape(s string) string {
	if p, err := url.QueryUnescape(s); err == nil {
		return p
	}
	return s
}

// squash makes access_token, Access-Token and accessToken one name.
var squash = strings.NewReplacer("_", "", "-", "", ".", "", " ", "", "[", "", "]", "")

// paging are the words of parameters that are called tokens but are cursors.
var paging = []string{"page", "pagin", "contin", "next", "prev", "cursor", "sync"}

func secretParameter(name string) bool {
	n := squash.Replace(strings.ToLower(name))
	switch n {
	case "key", "sig", "signature", "auth", "authorization", "apikey", "appsecretproof", "hmac", "jwt", "pwd":
		return true
	}
	return strings.Contains(n, "secret") || strings.Contains(n, "password") ||
		strings.HasSuffix(n, "apikey") || strings.HasSuffix(n, "accesskey") || strings.HasSuffix(n, "rapidapikey") ||
		strings.Contains(n, "credential") || strings.Contains(n, "signature") ||
		strings.Contains(n, "token") && !containsAny(n, paging)
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// Headers is h as one text per name, with *** for the values that hold
// secrets. It is never nil.
func Headers(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name, values := range h {
		out[name] = Header(name, strings.Join(values, ", "))
	}
	return out
}

// Map does the same for headers that are one text per name already.
func Map(h map[string]string) map[string]string {
	out := make(map[string]string, len(h))
	for name, value := range h {
		out[name] = Header(name, value)
	}
	return out
}

// secretHeaders are the words that make a header secret wherever they stand.
var secretHeaders = []string{"authori", "auth", "cookie", "key", "token", "secret", "password", "signature", "credential", "session"}

// Header is the value of one header, or ***.
func Header(name, value string) string {
	switch {
	case value == "":
		return ""
	case containsAny(strings.ToLower(name), secretHeaders):
		return Mask
	}
	return URL(value) // of Referer, Location, …
}

var bearers = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{8,}`)

func bearer(s string) string {
	if !strings.Contains(s, " ") {
		return s
	}
	return bearers.ReplaceAllString(s, "${1}${2}"+Mask)
}
