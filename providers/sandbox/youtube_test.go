package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

type channelsAnswer struct {
	Kind string `json:"kind"`
	Page struct {
		Total int `json:"totalResults"`
	} `json:"pageInfo"`
	Items []struct {
		ID      string `json:"id"`
		Snippet *struct {
			Title      string `json:"title"`
			Published  string `json:"publishedAt"`
			Thumbnails map[string]struct {
				URL string `json:"url"`
			} `json:"thumbnails"`
		} `json:"snippet"`
		Details *struct {
			Playlists struct {
				Uploads string `json:"uploads"`
			} `json:"relatedPlaylists"`
		} `json:"contentDetails"`
		Statistics *struct {
			Views       string  `json:"viewCount"`
			Subscribers *string `json:"subscriberCount"`
			Hidden      bool    `json:"hiddenSubscriberCount"`
			Videos      string  `json:"videoCount"`
		} `json:"statistics"`
	} `json:"items"`
}

func TestChannels(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	const parts = "snippet,statistics,contentDetails"
	ids := []string{"UCexampleChannel00000001", "UCmissing", "XXno", "UChidden", "UCexampleChannel00000001"}
	for i := range 40 {
		ids = append(ids, fmt.Sprintf("UC%022d", i))
	}
	for _, path := range []string{"/youtube/v3/channels", "/channels"} {
		for _, n := range []int{1, 5, len(ids)} {
			status, _, body := c.get(YTAPI, path, "part", parts, "id", strings.Join(ids[:n], ","), "maxResults", "50")
			var v channelsAnswer
			c.read(body, &v)
			want := map[int]int{1: 1, 5: 2, len(ids): 42}[n]
			if status != 200 || len(v.Items) != want || v.Page.Total != want || v.Kind != "youtube#channelListResponse" {
				t.Fatalf("%d ids: %d items, total %d, want %d: %.500s", n, len(v.Items), v.Page.Total, want, body)
			}
			for _, it := range v.Items {
				if it.Snippet == nil || it.Details == nil || it.Statistics == nil || it.Snippet.Thumbnails["default"].URL == "" ||
					it.Details.Playlists.Uploads != "UU"+it.ID[2:] || it.Statistics.Hidden != (it.ID == "UChidden") ||
					it.Statistics.Hidden != (it.Statistics.Subscribers == nil) {
					t.Errorf("%+v", it)
				}
				if _, err := time.Parse(time.RFC3339, it.Snippet.Published); err != nil {
					t.Error(err)
				}
			}
		}
	}
	_, _, body := c.get(YTAPI, "/channels", "part", parts, "id", "UCmissing,nope")
	if bytes.Contains(body, []byte("items")) || !json.Valid(body) {
		t.Errorf("no match: %s", body)
	}
	for _, q := range [][]string{
		{"part", parts}, {"id", "UCa"}, {"part", parts, "id", strings.Repeat("UCa,", 50) + "UCb"},
	} {
		status, _, body := c.get(YTAPI, "/channels", q...)
		var e errorAnswer
		c.read(body, &e)
		if status != 400 || e.Error.Code != 400 || len(e.Error.Errors) != 1 {
			t.Errorf("%.40s: %d %s", q, status, body)
		}
	}
}

// A handle stands for one channel; what cannot be served is served as a page, too.
func TestChannelPage(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	id := func(handle string) string {
		status, h, body := c.get(YTPage, "/"+handle)
		_, rest, ok := bytes.Cut(body, []byte(`<meta itemprop="identifier" content="`))
		id, _, _ := bytes.Cut(rest, []byte(`"`))
		if status != 200 || !ok || len(id) != 24 || !strings.HasPrefix(string(id), "UC") || h.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s: %s", handle, status, h.Get("Content-Type"), body)
		}
		return string(id)
	}
	if a := id("@one"); a != id("@one") || a == id("@two") {
		t.Errorf("@one is %s, and something else", a)
	}
	for _, handle := range []string{"@missing.one", "one"} {
		if status, h, body := c.get(YTPage, "/"+handle); status != 404 || h.Get("Content-Type") != "text/html; charset=utf-8" || len(body) == 0 {
			t.Errorf("%s: %d %q", handle, status, body)
		}
	}
	c.Inject(Fault{Source: YTPage, Kind: "429", RetryAfter: time.Second})
	if status, h, body := c.get(YTPage, "/@one"); status != 429 || h.Get("Retry-After") != "1" || bytes.Contains(body, []byte("UC")) {
		t.Errorf("with a fault: %d %v %q", status, h, body)
	}
}
