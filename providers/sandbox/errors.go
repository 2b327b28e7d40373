package sandbox

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// graphError is an error of the Graph API; sub is 0 for none.
func graphError(b []byte, status int, message string, code, sub int) answer {
	b = appendStr(append(b, `{"error":{"message":`...), message)
	b = strconv.AppendInt(append(b, `,"type":"OAuthException","code":`...), int64(code), 10)
	if sub != 0 {
		b = strconv.AppendInt(append(b, `,"error_subcode":`...), int64(sub), 10)
	}
	return answer{status, append(b, `,"is_transient":false,"fbtrace_id":"AsandboxTrace"}}`...), built}
}

// ytError is an error of the YouTube Data API.
func ytError(b []byte, status int, message, domain, reason string) answer {
	b = strconv.AppendInt(append(b, `{"error":{"code":`...), int64(status), 10)
	b = appendStr(append(b, `,"message":`...), message)
	b = appendStr(append(b, `,"errors":[{"message":`...), message)
	b = appendStr(append(b, `,"domain":`...), domain)
	b = appendStr(append(b, `,"reason":`...), reason)
	return answer{status, append(b, `}]}}`...), built}
}

// boboError is an error of the RapidAPI gateway.
func boboError(b []byte, status int, message string) answer {
	return answer{status, appendStr(append(b, `{"message":`...), message, '}'), built}
}

// checkKey refuses a wrong credential the way source, one of Sources, does.
func checkKey(source, key string, b []byte) (answer, bool) {
	expired := strings.Contains(key, "expired")
	if strings.HasPrefix(key, "sandbox-") && !expired {
		return answer{}, true
	}
	switch source {
	case GraphAPI:
		switch {
		case key == "":
			return graphError(b, http.StatusBadRequest, "An access token is required to request this resource.", 104, 0), false
		case expired:
			return graphExpired(b), false
		}
		return graphError(b, http.StatusBadRequest, "Invalid OAuth access token - Cannot parse access token", 190, 0), false
	case ArrayBobo:
		if key == "" {
			return boboError(b, http.StatusUnauthorized, "Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info."), false
		}
		return boboError(b, http.StatusForbidden, "You are not subscribed to this API."), false
	}
	if key == "" {
		return ytError(b, http.StatusForbidden, "Method doesn't allow unregistered callers (callers without established identity).", "global", "forbidden"), false
	}
	return ytKeyInvalid(b), false
}

func graphExpired(b []byte) answer {
	return graphError(b, http.StatusBadRequest, "Error validating access token: Session has expired on Thursday, 10-Dec-15 04:00:00 PST.", 190, 463)
}

func ytKeyInvalid(b []byte) answer {
	return ytError(b, http.StatusBadRequest, "API key not valid. Please pass a valid API key.", "usageLimits", "keyInvalid")
}

// expiredError refuses a credential that was good once.
func expiredError(source string, b []byte) answer {
	switch source {
	case GraphAPI:
		return graphExpired(b)
	case ArrayBobo:
		return boboError(b, http.StatusForbidden, "You are not subscribed to this API.")
	}
	return ytKeyInvalid(b)
}

// bannedError refuses a credential for good.
func bannedError(source string, b []byte) answer {
	switch source {
	case GraphAPI:
		return graphError(b, http.StatusForbidden, "API access blocked.", 200, 0)
	case ArrayBobo:
		return boboError(b, http.StatusForbidden, "Blocked User. Please contact your API provider.")
	}
	return answer{http.StatusForbidden, append(b, ytSuspended...), built}
}

// ytSuspended says what it means in details only.
const ytSuspended = `{"error":{"code":403,"message":"Permission denied: Consumer has been suspended.",` +
	`"errors":[{"message":"Permission denied: Consumer has been suspended.","domain":"global","reason":"forbidden"}],` +
	`"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",` +
	`"reason":"CONSUMER_SUSPENDED","domain":"googleapis.com"}]}}`

// quotaError refuses a call over a quota that is counted per so long. Graph
// has no status 429; YouTube has it for what opens again soon.
func quotaError(source string, b []byte, per time.Duration) answer {
	switch {
	case source == GraphAPI:
		return graphError(b, http.StatusForbidden, "(#4) Application request limit reached", 4, 0)
	case source == ArrayBobo && per <= time.Minute:
		return boboError(b, http.StatusTooManyRequests, "You have exceeded the rate limit per minute for your plan, BASIC, by the API provider")
	case source == ArrayBobo:
		return boboError(b, http.StatusTooManyRequests, "You have exceeded the DAILY quota for Requests on your current plan, BASIC.")
	case per <= time.Minute:
		return ytError(b, http.StatusTooManyRequests, "Resource has been exhausted (e.g. check quota).", "global", "rateLimitExceeded")
	}
	return ytError(b, http.StatusForbidden, "The request cannot be completed because you have exceeded your quota.", "youtube.quota", "quotaExceeded")
}

// broken is the answer that a fault puts in the place of a.
func broken(c call, a answer, f *Fault) answer {
	switch f.Kind {
	case "malformed":
		return answer{http.StatusOK, misspell(a.body), kept}
	case "wrongtype":
		return answer{http.StatusOK, wrongType(c.kind, a.body), kept}
	case "empty":
		return answer{http.StatusOK, nil, kept}
	case "html":
		return answer{http.StatusOK, []byte("<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1></body></html>\n"), html}
	}
	a = refusal(c.like, f.Kind)
	a.as = kept
	return a
}

// refusal is the error body of a source for a kind of fault.
func refusal(source, kind string) answer {
	if kind == "expired" {
		return expiredError(source, nil)
	}
	status, _ := strconv.Atoi(kind)
	switch source {
	case GraphAPI:
		switch status {
		case 401:
			return graphError(nil, status, "Error validating access token: The session has been invalidated because the user changed their password.", 190, 460)
		case 403:
			return graphError(nil, status, "(#10) Application does not have permission for this action", 10, 0)
		case 404:
			return graphError(nil, status, "Unsupported get request. Object does not exist", 100, 33)
		case 429:
			return graphError(nil, status, "(#4) Application request limit reached", 4, 0)
		}
		return graphError(nil, status, "An unexpected error has occurred. Please retry your request later.", 2, 0)
	case ArrayBobo:
		switch status {
		case 401:
			return boboError(nil, status, "Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info.")
		case 403:
			return boboError(nil, status, "You are not subscribed to this API.")
		case 404:
			return boboError(nil, status, "Endpoint does not exist")
		case 429:
			return boboError(nil, status, "You have exceeded the rate limit per second for your plan, BASIC, by the API provider")
		case 503:
			return boboError(nil, status, "The API is unreachable, please contact the API provider")
		}
		return boboError(nil, status, "Internal server error")
	}
	switch status {
	case 401:
		return ytError(nil, status, "Request had invalid authentication credentials.", "global", "authError")
	case 403:
		return ytError(nil, status, "The request cannot be completed because you have exceeded your quota.", "youtube.quota", "quotaExceeded")
	case 404:
		return ytError(nil, status, "Requested entity was not found.", "global", "notFound")
	case 429:
		return ytError(nil, status, "Resource has been exhausted (e.g. check quota).", "global", "rateLimitExceeded")
	case 503:
		return ytError(nil, status, "The service is currently unavailable.", "global", "backendError")
	}
	return ytError(nil, status, "Internal error encountered.", "global", "backendError")
}

// misspell is body as JSON that cannot be read: complete to the eye, with a
// bare word in the place of its first colon and a brace too few.
func misspell(body []byte) []byte {
	b := bytes.Replace(body, []byte(`":`), []byte(`"=undefined `), 1)
	if len(b) == 0 || bytes.Equal(b, body) {
		return []byte(`{"data":{"user":undefined`)
	}
	return b[:len(b)-1]
}

// wrongType is body with one member, that the answer is read by, of another type.
func wrongType(kind pathKind, body []byte) []byte {
	for _, r := range routes {
		if r.kind != kind {
			continue
		}
		key := []byte(`"` + r.member + `":`)
		if i := bytes.Index(body, key); i >= 0 {
			i += len(key)
			out := append(bytes.Clone(body[:i]), r.with...)
			return append(out, body[i+valueLen(body[i:]):]...)
		}
	}
	return []byte(`["unexpected",{"status":"ok"}]`)
}

// valueLen is the length of the JSON value that b begins with.
func valueLen(b []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted:
			switch c {
			case '\\':
				i++
			case '"':
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i
			}
			depth--
		case c == ',' && depth == 0:
			return i
		}
	}
	return len(b)
}
