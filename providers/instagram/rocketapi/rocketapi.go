// Package rocketapi asks v1.rocketapi.io about Instagram
// (contract/providers-instagram.md section 14).
//
// The host puts what Instagram's app interface says into an envelope of its
// own. Forms that are not in the contract but are known from that interface are
// read too; each is marked where it is accepted.
package rocketapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/providers/ratelimit"
	"beat/streams/social"
)

const (
	source = "rocketapi"
	host   = "https://v1.rocketapi.io"
	// followersPage is how many followers are asked for at once. The vendor's
	// own library says that more than 50 are not given (Q-RK-7).
	followersPage = 100
)

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider { return Sized(baseURL, followersPage) }

// Sized is New with pages of so many followers.
func Sized(baseURL string, followers int) *providers.Provider {
	if baseURL == "" {
		baseURL = host
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.Instagram,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Limit:    ratelimit.Contract["rocketapi"],
		Parser:   parserVersion,
		Check:    check,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.PostByShortcode: {
				Request: request("/instagram/media/get_info_by_shortcode", instagram.Shortcode,
					func(key, _ string) question { return question{Shortcode: key} }),
				Judge: opened(usable), Parse: parser(readPost),
			},
			social.Reels: {
				Request: request("/instagram/user/get_clips", instagram.ProfileID,
					func(key, cursor string) question { return question{ID: key, MaxID: cursor} }),
				Judge: opened(usable), Parse: parser(readReels),
			},
			social.StoriesByID: {
				Request: request("/instagram/user/get_stories", instagram.ProfileID,
					func(key, _ string) question { return question{IDs: []json.Number{json.Number(key)}} }),
				Judge: opened(stories), Parse: parser(readStories),
			},
			social.Followers: {
				Request: request("/instagram/user/get_followers", instagram.ProfileID,
					func(key, cursor string) question { return question{ID: key, Count: followers, MaxID: cursor} }),
				Judge: opened(users), Parse: parser(readFollowers),
			},
		}),
	}
}

// A question is the body of a request, 14.1.
type question struct {
	Shortcode string        `json:"shortcode,omitempty"`
	ID        string        `json:"id,omitempty"`  // text, but
	IDs       []json.Number `json:"ids,omitempty"` // numbers
	Count     int           `json:"count,omitempty"`
	MaxID     string        `json:"max_id,omitempty"` // the cursor, where there is one
}

// request builds a row of the table in 14.1, as POST of JSON (Q-RK-1).
func request(path string, form instagram.Form, ask func(key, cursor string) question) func(providers.Credential, social.Ask) (providers.Request, error) {
	return func(c providers.Credential, a social.Ask) (providers.Request, error) {
		if err := check(c); err != nil {
			return providers.Request{}, instagram.Incomplete(err)
		}
		key, err := form.Key(a)
		if err != nil {
			return providers.Request{}, err
		}
		body, err := json.Marshal(ask(key, a.Cursor))
		if err != nil { // digits, but no number: zeros in front
			return providers.Request{}, &providers.Error{Kind: providers.ErrGone, Status: http.StatusBadRequest,
				Message: form.Message, Detail: fmt.Sprintf("keys.0: %.60q is no number", key)}
		}
		return providers.Request{Method: http.MethodPost, Path: path, Header: headers(c), Body: body}, nil
	}
}

func check(c providers.Credential) error {
	if headers(c).Get("Authorization") == "" {
		return fmt.Errorf("credential %d of %s: field %q is missing or empty", c.ID, c.Source, "Authorization")
	}
	return nil
}

// headers are the members of the credential as they are. A member called key
// is the token alone (2.1).
func headers(c providers.Credential) http.Header {
	h := c.Headers()
	if key := h.Get("Key"); key != "" {
		h.Del("Key")
		if h.Get("Authorization") == "" {
			h.Set("Authorization", "Token "+key)
		}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	return h
}

// opened is a Judge that looks at the envelope first (Q-RK-2), and then wants
// of the body what success wants.
func opened(success func(ask social.Ask, body doc.Node) *providers.Error) func(social.Ask, providers.Answer) *providers.Error {
	return instagram.Object(func(ask social.Ask, root doc.Node) *providers.Error {
		status, err := root.NeedText("status")
		if err != nil {
			return err
		}
		if status != "done" {
			return failed(providers.ErrUpstream, fmt.Sprintf("status is %.40q", status))
		}
		if err := inner(root); err != nil {
			return err
		}
		body, err := bodyOf(root)
		if err != nil {
			return err
		}
		return doc.In("response.body", success(ask, body))
	})
}

// inner is how the answer in the envelope failed, by its own status.
func inner(root doc.Node) *providers.Error {
	status := int64(http.StatusOK) // where nothing is said, the body decides
	if n := root.At("response.status_code"); !n.Null() {
		var ok bool
		if status, ok = n.Int(); !ok {
			return providers.Malformed("response.status_code is %s that is no status", n.Type())
		}
	}
	body := root.At("response.body")
	said := []byte(body.Text()) // text: see bodyOf
	if body.IsObject() {
		if status == http.StatusOK && body.At("status").Text() != "fail" {
			return nil // most answers, and those are long
		}
		said = body.Raw()
	}
	row := instagramSays.Class(providers.Call{}, providers.Answer{Status: int(status), Body: said})
	if row.Kind == nil {
		return nil
	}
	detail := fmt.Sprintf("response.status_code %d", status)
	if row.Why != "" {
		detail += ": " + row.Why
	}
	return failed(row.Kind, detail)
}

// failed has the status of the envelope, as the contract shows it.
func failed(kind error, detail string) *providers.Error {
	return &providers.Error{Kind: kind, Status: http.StatusOK, Message: "API Failure", Detail: detail}
}

// instagramSays is what an answer in the envelope means. It went to an account
// of the provider, so that nothing in it is said of our key.
var instagramSays = &providers.Provider{Classes: slices.Concat(
	[]providers.Class{{Status: "404", Kind: providers.ErrGone, Why: "Instagram: not found"}},
	instagram.Fails,
	[]providers.Class{
		{Status: "401", Kind: providers.ErrUpstream, Why: "Instagram: 401 of the host's account"},
		{Status: "402", Kind: providers.ErrUpstream},
	})}

// usable wants a post at least (14.1).
func usable(_ social.Ask, body doc.Node) *providers.Error {
	items, err := body.NeedList("items")
	if err == nil && len(items) == 0 {
		return instagram.Missing("API Failure", "items is empty")
	}
	return err
}

func stories(ask social.Ask, body doc.Node) *providers.Error {
	_, err := instagram.ReelOf(body, profileOf(ask)) // there may be none (Q-RK-5)
	return err
}

func users(_ social.Ask, body doc.Node) *providers.Error {
	_, err := body.NeedList("users")
	return err
}

func profileOf(ask social.Ask) string { return strings.TrimSpace(ask.Key()) }
