// Package igapi asks the RapidAPI host igdata for the followers of an
// Instagram account (contract/providers-instagram.md section 13).
package igapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"beat/providers"
	"beat/providers/doc"
	"beat/providers/instagram"
	"beat/providers/rapidapi"
	"beat/streams/social"
)

const (
	source  = "rapidapi-igapi"
	apiHost = "igdata.p.rapidapi.com"

	// failure is the text of every failure, of whatever status.
	failure = "Something went wrong"

	// long is how many followers make a list that cannot end on a page that is
	// asked for: no flow reads that far.
	long = 10_000
)

// New is the provider; baseURL "" is the real host.
func New(baseURL string) *providers.Provider {
	if baseURL == "" {
		baseURL = "https://" + apiHost
	}
	return &providers.Provider{
		Source:   source,
		Platform: social.Instagram,
		BaseURL:  strings.TrimRight(baseURL, "/"),
		Parser:   parserVersion,
		Check:    rapidapi.Check,
		Classes:  classes,
		Calls: doc.Named(source, map[social.Fetch]providers.Call{
			social.Followers: {Request: request, Judge: judge, Parse: parse},
		}),
	}
}

func request(c providers.Credential, ask social.Ask) (providers.Request, error) {
	if err := rapidapi.Check(c); err != nil {
		return providers.Request{}, instagram.Incomplete(err)
	}
	id, err := instagram.ProfileID.Key(ask)
	if err != nil {
		return providers.Request{}, err
	}
	q := url.Values{"user_id": {id}}
	if ask.Cursor != "" {
		q.Set("cursor", ask.Cursor)
	}
	h := rapidapi.Headers(c, apiHost)
	// No compression. The empty value that used to say so means the same, but
	// net/http adds its own gzip to it.
	h.Set("Accept-Encoding", "identity")
	return providers.Request{Path: "/web_followers", Query: q, Header: h}, nil
}

// classes tells RapidAPI's own refusals from what Instagram said to the
// host's account, which is no fault of our key.
var classes = generic(slices.Concat([]providers.Class{{Status: "5xx", Kind: providers.ErrUpstream}},
	instagram.Fails, rapidapi.Classes, []providers.Class{{Status: "403", Kind: providers.ErrGone}}))

func generic(rows []providers.Class) []providers.Class {
	for i := range rows {
		rows[i].Message = failure
	}
	return rows
}

func judge(ask social.Ask, a providers.Answer) *providers.Error {
	err := instagram.Object(followers)(ask, a)
	if err != nil {
		err.Message = failure
	}
	return err
}

// followers wants all that makes a page. The host sometimes answers with an
// end where there is none, and recovers when the same page is asked for again.
func followers(_ social.Ask, root doc.Node) *providers.Error {
	list, path := findList(root)
	if list.Null() {
		return instagram.Missing(failure, path+" is missing") // a private account, perhaps
	}
	if _, err := list.NeedList("edges"); err != nil {
		return doc.In(path, err)
	}
	cursor, more, err := instagram.PageInfo(list)
	if err != nil {
		return doc.In(path, err)
	}
	count, _ := list.At("count").Int() // absent: not long (Q-IG-2)
	if count >= long && (!more || cursor == "") {
		return &providers.Error{Kind: providers.ErrUpstream, Status: http.StatusOK, Message: failure,
			Detail: path + ".page_info is the end of a list that is longer"}
	}
	return nil
}
