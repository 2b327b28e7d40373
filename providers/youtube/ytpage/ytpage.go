// Package ytpage reads the public page of a YouTube channel, which says the
// channel id that a handle stands for (contract/flows.md 4.2).
//
// The page needs no key. Its credential holds the headers that it is asked with:
// without the cookie that stands for an answered consent question, YouTube sends
// callers in Europe elsewhere.
package ytpage

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/html"

	"beat/providers"
	"beat/providers/doc"
	"beat/streams/social"
)

const (
	source = "youtube-page"
	host   = "https://www.youtube.com"
)

// parserVersion is to be bumped whenever a stored page would give another id.
const parserVersion = 1

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider {
	if baseURL == "" {
		baseURL = host
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.YouTube,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Parser:   parserVersion,
		Public:   map[string]string{"Cookie": "SOCS=CAI"},
		Check:    func(c providers.Credential) error { return c.Require("Cookie") },
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.ChannelByHandle: {Request: request, Judge: judge, Parse: parse},
		}),
	}
}

func request(c providers.Credential, ask social.Ask) (providers.Request, error) {
	if err := c.Require("Cookie"); err != nil {
		return providers.Request{}, &providers.Error{Kind: providers.ErrRefused, Message: "Credential is incomplete", Detail: err.Error()}
	}
	handle := ask.Key()
	if len(ask.Keys) != 1 || !strings.Contains(handle, "@") {
		return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusNotFound, Message: "Something went wrong",
			Detail: "keys: want one handle with an @"}
	}
	h := c.Headers()
	h.Set("Accept-Language", "en")
	return providers.Request{Path: "/" + url.PathEscape(handle), Header: h}, nil
}

// judge wants a page that says an id: a page of YouTube that does not is about
// something else, such as whether we are a robot.
func judge(_ social.Ask, a providers.Answer) *providers.Error {
	_, err := channelID(a.Body)
	return err
}

// parse is one profile, of which only the id and the handle are known.
func parse(ask social.Ask, _ time.Time, body []byte) (social.Batch, error) {
	id, err := channelID(body)
	if err != nil {
		return social.Batch{}, err
	}
	return social.Batch{Logs: []social.Log{{Kind: social.Profile, Key: id, Handle: ask.Key(), Source: source}}}, nil
}

// names are the itemprops that hold the id, the better one first.
var names = []string{"channelId", "identifier"}

var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// channelID is the content of the first meta element with the first of names
// that the page has.
func channelID(page []byte) (string, *providers.Error) {
	found := map[string]string{}
	z := html.NewTokenizer(bytes.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				return "", missing("page: %v", z.Err())
			}
			for _, name := range names {
				if id, ok := found[name]; ok {
					return checked(name, id)
				}
			}
			return "", missing("page: no meta element with itemprop %s", strings.Join(names, " or "))
		case html.StartTagToken, html.SelfClosingTagToken:
			if tag, attrs := z.TagName(); attrs && string(tag) == "meta" {
				prop, content := meta(z)
				if _, ok := found[prop]; !ok {
					found[prop] = content
				}
			}
			if id, ok := found[names[0]]; ok {
				return checked(names[0], id)
			}
		}
	}
}

// meta is the attributes itemprop and content of the element that z is at.
func meta(z *html.Tokenizer) (prop, content string) {
	for more := true; more; {
		var k, v []byte
		k, v, more = z.TagAttr()
		switch string(k) {
		case "itemprop":
			prop = string(v)
		case "content":
			content = string(v)
		}
	}
	return prop, content
}

func checked(name, id string) (string, *providers.Error) {
	if !idForm.MatchString(id) {
		return "", missing("itemprop %s: %.60q is no channel id", name, id)
	}
	return id, nil
}

func missing(format string, args ...any) *providers.Error {
	e := providers.Malformed(format, args...)
	e.Message = "The page holds no channel id"
	return e
}
