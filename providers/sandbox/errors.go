package sandbox

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A refusal is an answer that says no.
type refusal struct {
	status int
	body   string
}

func (r refusal) to(b []byte) answer { return answer{r.status, append(b, r.body...), built} }

// manners are how the sources of one host say no.
type manners struct {
	noKey, badKey refusal
	expired       refusal // a credential that was good once
	banned        refusal // one that is refused for good
	perMinute     refusal // over a quota that opens again soon
	perDay        refusal
	fault         map[int]string // body by status; of 0 for those that are not there
	noPath        func(b []byte, path string) answer
	header        http.Header
}

var (
	jsonType      = http.Header{"Content-Type": {"application/json; charset=UTF-8"}}
	plainJSONType = http.Header{"Content-Type": {"application/json"}}
	rapidType     = http.Header{"Content-Type": {"application/json"}, "Server": {"RapidAPI-1.2.8"}}
	htmlType      = http.Header{"Content-Type": {"text/html; charset=utf-8"}}
)

func refused(a answer) refusal { return refusal{a.status, string(a.body)} }

// graphError is an error of the Graph API; sub is 0 for none.
func graphError(b []byte, status int, message string, code, sub int) answer {
	b = appendStr(append(b, `{"error":{"message":`...), message)
	b = strconv.AppendInt(append(b, `,"type":"OAuthException","code":`...), int64(code), 10)
	if sub != 0 {
		b = strconv.AppendInt(append(b, `,"error_subcode":`...), int64(sub), 10)
	}
	return answer{status, append(b, `,"is_transient":false,"fbtrace_id":"AsandboxTrace"}}`...), built}
}

func graphSaid(status int, message string, code, sub int) refusal {
	return refused(graphError(nil, status, message, code, sub))
}

// The Graph API has no status 429.
var graphSays = manners{
	noKey:     graphSaid(400, "An access token is required to request this resource.", 104, 0),
	badKey:    graphSaid(400, "Invalid OAuth access token - Cannot parse access token", 190, 0),
	expired:   graphSaid(400, "Error validating access token: Session has expired on Thursday, 10-Dec-15 04:00:00 PST.", 190, 463),
	banned:    graphSaid(403, "API access blocked.", 200, 0),
	perMinute: graphSaid(403, "(#4) Application request limit reached", 4, 0),
	perDay:    graphSaid(403, "(#4) Application request limit reached", 4, 0),
	fault: map[int]string{
		401: graphSaid(401, "Error validating access token: The session has been invalidated because the user changed their password.", 190, 460).body,
		403: graphSaid(403, "(#10) Application does not have permission for this action", 10, 0).body,
		404: graphSaid(404, "Unsupported get request. Object does not exist", 100, 33).body,
		429: graphSaid(429, "(#4) Application request limit reached", 4, 0).body,
		0:   graphSaid(500, "An unexpected error has occurred. Please retry your request later.", 2, 0).body,
	},
	noPath: func(b []byte, path string) answer {
		return graphError(b, http.StatusBadRequest, "Unknown path components: "+path, 2500, 0)
	},
	header: jsonType,
}

// rapidSays is the RapidAPI gateway.
var rapidSays = manners{
	noKey:     refusal{401, `{"message":"Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info."}`},
	badKey:    refusal{403, `{"message":"You are not subscribed to this API."}`},
	expired:   refusal{403, `{"message":"You are not subscribed to this API."}`},
	banned:    refusal{403, `{"message":"Blocked User. Please contact your API provider."}`},
	perMinute: refusal{429, `{"message":"You have exceeded the rate limit per minute for your plan, BASIC, by the API provider"}`},
	perDay:    refusal{429, `{"message":"You have exceeded the DAILY quota for Requests on your current plan, BASIC."}`},
	fault: map[int]string{
		401: `{"message":"Invalid API key. Go to https://docs.rapidapi.com/docs/keys for more info."}`,
		403: `{"message":"You are not subscribed to this API."}`,
		404: `{"message":"Endpoint does not exist"}`,
		429: `{"message":"You have exceeded the rate limit per second for your plan, BASIC, by the API provider"}`,
		503: `{"message":"The API is unreachable, please contact the API provider"}`,
		0:   `{"message":"Internal server error"}`,
	},
	noPath: func(b []byte, path string) answer {
		return answer{404, appendStr(append(b, `{"message":`...), "Endpoint '"+path+"' does not exist", '}'), built}
	},
	header: rapidType,
}

var rocketSays = manners{
	noKey:     refusal{401, `{"detail":"Authentication credentials were not provided."}`},
	badKey:    refusal{401, `{"detail":"Invalid token."}`},
	expired:   refusal{402, `{"detail":"Your subscription has expired."}`},
	banned:    refusal{401, `{"detail":"User inactive or deleted."}`},
	perMinute: refusal{429, `{"detail":"Request was throttled."}`},
	perDay:    refusal{429, `{"detail":"Request was throttled. You have used up the requests of your plan."}`},
	fault: map[int]string{
		401: `{"detail":"Invalid token."}`,
		403: `{"detail":"You do not have permission to perform this action."}`,
		404: `{"detail":"Not found."}`,
		429: `{"detail":"Request was throttled."}`,
		0:   `{"detail":"A server error occurred."}`,
	},
	noPath: func(b []byte, _ string) answer { return refusal{404, `{"detail":"Not found."}`}.to(b) },
	header: plainJSONType,
}

var lamaSays = manners{
	noKey:     lamaSaid(401, "No access key in the header x-access-key", "Unauthorized"),
	badKey:    lamaSaid(401, "Access key not found", "Unauthorized"),
	expired:   lamaSaid(402, "Top up your account", "InsufficientFunds"),
	banned:    lamaSaid(401, "Account disabled", "Unauthorized"),
	perMinute: lamaSaid(429, "Too many requests", "TooManyRequests"),
	perDay:    lamaSaid(429, "Too many requests today", "TooManyRequests"),
	fault: map[int]string{
		401: lamaSaid(401, "Access key not found", "Unauthorized").body,
		403: lamaSaid(403, "Not authorized to view user", "PrivateAccount").body,
		404: lamaSaid(404, "Target not found", "NotFound").body,
		429: lamaSaid(429, "Too many requests", "TooManyRequests").body,
		503: lamaSaid(503, "Service Unavailable", "ServiceUnavailable").body,
		0:   lamaSaid(500, "Internal Server Error", "InternalServerError").body,
	},
	noPath: func(b []byte, _ string) answer { return refusal{404, `{"detail":"Not Found"}`}.to(b) },
	header: plainJSONType,
}

func lamaSaid(status int, detail, excType string) refusal {
	return refusal{status, `{"detail":"` + detail + `","exc_type":"` + excType + `"}`}
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

func ytSaid(status int, message, domain, reason string) refusal {
	return refused(ytError(nil, status, message, domain, reason))
}

// The YouTube Data API has a status 429 for what opens again soon.
var youtubeSays = manners{
	noKey:     ytSaid(403, "Method doesn't allow unregistered callers (callers without established identity).", "global", "forbidden"),
	badKey:    ytSaid(400, "API key not valid. Please pass a valid API key.", "usageLimits", "keyInvalid"),
	expired:   ytSaid(400, "API key not valid. Please pass a valid API key.", "usageLimits", "keyInvalid"),
	banned:    refusal{403, ytSuspended},
	perMinute: ytSaid(429, "Resource has been exhausted (e.g. check quota).", "global", "rateLimitExceeded"),
	perDay:    ytSaid(403, "The request cannot be completed because you have exceeded your quota.", "youtube.quota", "quotaExceeded"),
	fault: map[int]string{
		401: ytSaid(401, "Request had invalid authentication credentials.", "global", "authError").body,
		403: ytSaid(403, "The request cannot be completed because you have exceeded your quota.", "youtube.quota", "quotaExceeded").body,
		404: ytSaid(404, "Requested entity was not found.", "global", "notFound").body,
		429: ytSaid(429, "Resource has been exhausted (e.g. check quota).", "global", "rateLimitExceeded").body,
		503: ytSaid(503, "The service is currently unavailable.", "global", "backendError").body,
		0:   ytSaid(500, "Internal error encountered.", "global", "backendError").body,
	},
	noPath: func(b []byte, _ string) answer {
		return ytError(b, http.StatusNotFound, "Requested entity was not found.", "global", "notFound")
	},
	header: jsonType,
}

// ytSuspended says what it means in details only.
const ytSuspended = `{"error":{"code":403,"message":"Permission denied: Consumer has been suspended.",` +
	`"errors":[{"message":"Permission denied: Consumer has been suspended.","domain":"global","reason":"forbidden"}],` +
	`"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",` +
	`"reason":"CONSUMER_SUSPENDED","domain":"googleapis.com"}]}}`

// checkKey refuses a wrong credential.
func (m *manners) checkKey(key string) (refusal, bool) {
	expired := strings.Contains(key, "expired")
	switch {
	case strings.HasPrefix(key, "sandbox-") && !expired:
		return refusal{}, true
	case key == "":
		return m.noKey, false
	case expired:
		return m.expired, false
	}
	return m.badKey, false
}

// overQuota refuses a call over a quota that is counted per so long.
func (m *manners) overQuota(per time.Duration) refusal {
	if per <= time.Minute {
		return m.perMinute
	}
	return m.perDay
}

// struck is the answer of a kind of fault.
func (m *manners) struck(kind string) refusal {
	if kind == "expired" {
		return m.expired
	}
	status, _ := strconv.Atoi(kind)
	body, ok := m.fault[status]
	if !ok {
		body = m.fault[0]
	}
	return refusal{status, body}
}

// broken is the answer that a fault puts in the place of a.
func broken(c call, a answer, f *Fault) answer {
	switch f.Kind {
	case "malformed":
		return answer{http.StatusOK, misspell(a.body), kept}
	case "wrongtype":
		return answer{http.StatusOK, wrongType(c.route, a.body), kept}
	case "empty":
		return answer{http.StatusOK, nil, kept}
	case "html":
		return answer{http.StatusOK, []byte("<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1></body></html>\n"), html}
	}
	a = c.src.says.struck(f.Kind).to(nil)
	a.as = kept
	return a
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
func wrongType(r *route, body []byte) []byte {
	if r != nil {
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
