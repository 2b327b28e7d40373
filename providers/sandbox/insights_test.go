package sandbox

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

type insightsAnswer struct {
	Data []struct {
		Name   string `json:"name"`
		Values []struct {
			Value *int64 `json:"value"`
		} `json:"values"`
	} `json:"data"`
	Error struct {
		Code    int `json:"code"`
		Subcode int `json:"error_subcode"`
	} `json:"error"`
}

func (c caller) insights(id, token string, metric ...string) (int, map[string]int64, insightsAnswer) {
	c.Helper()
	path := "/v12.0/" + id + "/insights"
	var v insightsAnswer
	if token == "" {
		token = c.Credentials()[0].Fields["token"]
	}
	q := url.Values{"period": {"lifetime"}, "metric": {strings.Join(metric, ",")}, "access_token": {token}}
	res, err := http.Get(c.BaseURL(c.root, GraphAPI) + path + "?" + q.Encode())
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	c.read(body, &v)
	m := map[string]int64{}
	for i, d := range v.Data {
		if len(d.Values) != 1 || d.Values[0].Value == nil || d.Name != metric[i] {
			c.Fatalf("metric %d: %s", i, body)
		}
		m[d.Name] = *d.Values[0].Value
	}
	return res.StatusCode, m, v
}

// The insights of a post say of it what its profile says, and more.
func TestInsights(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	var g graphAnswer
	_, body := c.graph("creator00007")
	c.read(body, &g)
	if len(g.User.Page.Data) == 0 {
		t.Fatal("a profile without posts")
	}
	all := []string{"likes", "comments", "plays", "video_views", "reach", "impressions", "saved", "shares", "engagement", "total_interactions"}
	seen := map[string]bool{}
	for _, p := range g.User.Page.Data {
		status, m, _ := c.insights(p.ID, "", all...)
		if status != 200 || len(m) != len(all) || seen[p.ID] {
			t.Fatalf("%s: status %d, %v, seen before: %v", p.ID, status, m, seen[p.ID])
		}
		seen[p.ID] = true
		if m["likes"] != *p.Likes || m["comments"] != *p.Comments {
			t.Errorf("%s: %v, but the profile says %d likes and %d comments", p.ID, m, *p.Likes, *p.Comments)
		}
		if m["reach"] < m["likes"] || m["impressions"] < m["reach"] || m["total_interactions"] != m["likes"]+m["comments"]+m["saved"]+m["shares"] {
			t.Errorf("%s: numbers that cannot be: %v", p.ID, m)
		}
		if _, again, _ := c.insights(p.ID, c.Bound("creator00007").Fields["token"], all...); fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("%s: %v, then %v", p.ID, m, again)
		}
	}
}

func TestInsightsRefused(t *testing.T) {
	c := serve(t, Config{CheckKeys: true})
	l := c.world.timeline(c.world.byNumber(creators+7), reels)
	mine := fmt.Sprint(l.mediaID(l.item(l.newest)))
	for _, tt := range []struct {
		name, id, token, metric string
		status, code, sub       int
	}{
		{"own token", mine, "sandbox-token-creator00007", "reach", 200, 0, 0},
		{"token of another", mine, "sandbox-token-creator00008", "reach", 400, 100, 33},
		{"made up", "17850000000000001", "sandbox-token-creator00008", "reach", 200, 0, 0},
		{"no media", "17841400000009999", "", "reach", 400, 100, 33},
		{"no id", "me", "", "reach", 400, 100, 33},
		{"no metric", mine, "", "", 400, 100, 0},
		{"unknown metric", mine, "", "reach,likability", 400, 100, 0},
		{"expired", mine, "sandbox-expired", "reach", 400, 190, 463},
	} {
		status, m, v := c.insights(tt.id, tt.token, strings.Split(tt.metric, ",")...)
		if status != tt.status || v.Error.Code != tt.code || v.Error.Subcode != tt.sub || status == 200 && m["reach"] == 0 {
			t.Errorf("%s: status %d, %+v, want %d, code %d, subcode %d", tt.name, status, v, tt.status, tt.code, tt.sub)
		}
	}
	// Faults and quotas are those of the source, and its fetch type can be named.
	c.Inject(Fault{Source: GraphAPI, Fetch: "fetch_post_insights", Kind: "503", Count: 1})
	if status, _ := c.graph("creator00007"); status != 200 {
		t.Errorf("the fault of insights struck a profile: %d", status)
	}
	if status, _, _ := c.insights(mine, "", "reach"); status != 503 {
		t.Errorf("status %d, want the fault's", status)
	}
}
