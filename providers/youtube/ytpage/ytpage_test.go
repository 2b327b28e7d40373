package ytpage

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 5, Source: source, Fields: map[string]providers.Secret{"Cookie": "SOCS=CAI"}}

func TestProvider(t *testing.T) {
	providertest.Run(t, New(""), cred, providertest.Case{
		Fetch: social.ChannelByHandle,
		Keys:  []string{"@ridgefilms"},
		Bad:   [][]string{{"ridgefilms"}, {"@a", "@b"}},
		Good:  providertest.Read(t, "testdata/channel.html"),
	})
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/*.html") {
		b, err := parse(social.Ask{Keys: []string{"@ridgefilms"}}, providertest.At, providertest.Read(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		providertest.Golden(t, *update, file+".golden", b)
	}
}

func TestRequest(t *testing.T) {
	for key, path := range map[string]string{
		"@ridgefilms": "/@ridgefilms", "@a/../b?c#d": "/@a%2F..%2Fb%3Fc%23d", "@für": "/@f%C3%BCr", "ridge@films": "/ridge@films",
	} {
		q, err := request(cred, social.Ask{Keys: []string{key}})
		if err != nil || q.Path != path || q.Header.Get("Cookie") != "SOCS=CAI" || q.Header.Get("Accept-Language") != "en" || len(q.Query) > 0 {
			t.Errorf("%s: got %+v, %v, want path %s", key, q, err, path)
		}
	}
}

func TestChannelID(t *testing.T) {
	for name, c := range map[string]struct{ page, id, says string }{
		"a recorded page": {page: string(providertest.Read(t, "testdata/channel.html")), id: "UCa1B2c3D4e5F6g7H8i9J0kL"},
		"channelId wins":  {page: `<meta itemprop="identifier" content="UCb"><META content='UCa' itemprop=channelId /><meta itemprop="channelId" content="UCc">`, id: "UCa"},
		"the first":       {page: `<meta itemprop="identifier" content="UCa"><meta itemprop="identifier" content="UCb">`, id: "UCa"},
		"another element": {page: `<link itemprop="channelId" content="UCa">`, says: "no meta element with itemprop channelId or identifier"},
		"in a comment":    {page: `<!-- <meta itemprop="channelId" content="UCa"> -->`, says: "no meta element"},
		"no content":      {page: `<meta itemprop="channelId">`, says: `itemprop channelId: "" is no channel id`},
		"a text":          {page: `<meta itemprop="identifier" content="two words">`, says: `itemprop identifier: "two words" is no channel id`},
	} {
		id, err := channelID([]byte(c.page))
		if id != c.id || (err == nil) != (c.says == "") {
			t.Errorf("%s: got %q, %v, want %q", name, id, err, c.id)
		}
		if err != nil && (!errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Detail, c.says) || err.Message != "The page holds no channel id") {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

func FuzzChannelID(f *testing.F) {
	f.Add(providertest.Read(f, "testdata/channel.html"))
	f.Add([]byte(`<meta itemprop="channelId" content="UCa`))
	f.Fuzz(func(t *testing.T, page []byte) {
		if id, err := channelID(page); err == nil && !idForm.MatchString(id) {
			t.Errorf("got %q", id)
		}
	})
}
