package sandbox

import (
	"net/http"
	"net/url"
	"strings"

	"beat/streams/social"
)

var pageRoutes = []route{{"/*", "", "", social.ChannelByHandle, (*Sandbox).channelPage, "content", `7`}}

// nobody is the key of all callers: pages are for everyone.
func nobody(call) string { return "sandbox-everyone" }

// channelPage answers with the page of a channel, of which every handle is one
// unless it contains "missing".
func (s *Sandbox) channelPage(c call, b []byte) answer {
	handle := strings.TrimPrefix(c.path, "/")
	if !strings.Contains(handle, "@") || strings.Contains(handle, "missing") {
		return refusal{http.StatusNotFound, pageFault("404 Not Found")}.to(b)
	}
	b = append(b, `<!DOCTYPE html><html lang="en" itemscope itemtype="https://schema.org/WebPage"><head><meta charset="utf-8"><title>YouTube</title>`...)
	b = append(append(b, `<meta property="og:url" content="https://www.youtube.com/`...), url.PathEscape(handle)...)
	b = append(b, `"></head><body dir="ltr"><div id="watch7-content" itemscope itemtype="https://schema.org/BreadcrumbList"><meta itemprop="name" content="A channel">`...)
	b = s.appendNoise(append(b, `<meta itemprop="identifier" content="UC`...), hashText(handle), 22)
	return fine(append(b, `"><meta itemprop="isFamilyFriendly" content="true"></div></body></html>`...))
}

func pageFault(title string) string {
	return "<!DOCTYPE html><html lang=en><title>" + title + "</title><p>" + title + "</html>\n"
}

// pageSays is YouTube to a browser.
var pageSays = manners{
	perMinute: refusal{429, pageFault("Sorry...")},
	perDay:    refusal{429, pageFault("Sorry...")},
	expired:   refusal{403, pageFault("403 Forbidden")},
	banned:    refusal{403, pageFault("403 Forbidden")},
	fault:     map[int]string{0: pageFault("Error")},
	header:    htmlType,
}
