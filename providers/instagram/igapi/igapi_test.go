package igapi

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"beat/providers"
	"beat/providers/providertest"
	"beat/streams/social"
)

var update = flag.Bool("update", false, "rewrite golden files")

var cred = providers.Credential{ID: 4, Source: source, Fields: map[string]providers.Secret{
	"X-RapidAPI-Key": "rapidsecretsecretsecret",
}}

var ask = social.Ask{Fetch: social.Followers, Keys: []string{"4811223344"}}

func sample(t testing.TB) []byte { return providertest.Read(t, "testdata", "fetch_followers.json") }

func call() providers.Call { return New("").Calls[social.Followers] }

func classify(a providers.Answer) *providers.Error {
	return providers.Classify(New(""), call(), ask, a)
}

func judgeAndParse(body []byte) (social.Batch, error) {
	if err := classify(providertest.Answer(200, body)); err != nil {
		return social.Batch{}, err
	}
	return call().Parse(ask, providertest.At, body)
}

func TestProvider(t *testing.T) {
	providertest.Run(t, New(""), cred, providertest.Case{
		Fetch: social.Followers, Keys: ask.Keys, Bad: [][]string{{"northlake.cafe"}, {"1.5"}, {"-1"}}, Good: sample(t),
	})
	if p := New("http://127.0.0.1:1/"); p.Source != "rapidapi-igapi" || p.Platform != social.Instagram ||
		p.BaseURL != "http://127.0.0.1:1" || New("").BaseURL != "https://igdata.p.rapidapi.com" || p.Limit.Requests != 0 {
		t.Errorf("provider is %s of %s at %s, limit %v", p.Source, p.Platform, p.BaseURL, p.Limit)
	}
}

func TestRequest(t *testing.T) {
	for cursor, want := range map[string]string{
		"":       "/web_followers?user_id=4811223344",
		"QVFD==": "/web_followers?cursor=QVFD%3D%3D&user_id=4811223344",
	} {
		ask := ask
		ask.Cursor = cursor
		r, err := call().Request(cred, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Path + "?" + r.Query.Encode(); got != want || r.Method != "" || r.Body != nil {
			t.Errorf("%s %s, want GET %s", r.Method, got, want)
		}
		if len(r.Header) != 3 || r.Header.Get("X-RapidAPI-Key") != "rapidsecretsecretsecret" || r.Header.Get("X-RapidAPI-Host") != "igdata.p.rapidapi.com" {
			t.Errorf("headers %v", r.Header)
		}
	}
	if len(cred.Fields) != 1 {
		t.Errorf("Request wrote into the credential: %v", cred.Fields) // Q-X-15
	}
}

// What goes over the wire asks for no compression, in one header.
func TestAcceptEncoding(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Values("Accept-Encoding")
		io.WriteString(w, "{}") //nolint:errcheck // a test
	}))
	defer s.Close()
	r, err := call().Request(cred, ask)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := providers.NewClient(providers.ClientConfig{}).Do(t.Context(), s.URL, r); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"identity"}) {
		t.Errorf("Accept-Encoding %q, want identity", got)
	}
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/fetch_*.json") {
		b, err := judgeAndParse(providertest.Read(t, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := providertest.Sound(b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		providertest.Golden(t, *update, file+".golden", b)
	}
}

// The "expected parse" block of 13, typed here a second time.
func TestExpected(t *testing.T) {
	b, err := judgeAndParse(sample(t))
	if err != nil || len(b.Logs) != 1 || b.Cursor != "QVFDexampleIG1" || !b.More {
		t.Fatalf("%d logs, more %v, cursor %q, %v", len(b.Logs), b.More, b.Cursor, err)
	}
	l := b.Logs[0]
	if l.Kind != social.Relationship || l.Type != "FOLLOWS" || l.Key != "7044556677" || l.Target != "4811223344" || l.Source != "rapidapi-igapi" {
		t.Errorf("%s %s: %q follows %q, source %q", l.Kind, l.Type, l.Key, l.Target, l.Source)
	}
	var got []string
	for _, kv := range l.Dimensions {
		got = append(got, kv.Key+"="+string(kv.Value))
	}
	want := []string{`handle="rower_77"`, `full_name="Rower"`, `profile_pic_url="https://cdn.example.net/p/rower_77.jpg"`, "is_private=true", "is_verified=false"}
	if !slices.Equal(got, want) || len(l.Metrics) != 0 || len(l.TargetDimensions) != 0 {
		t.Errorf("got %q, %v, %v, want %q", got, l.Metrics, l.TargetDimensions, want)
	}
}

func page(count, info, edges string) string {
	return fmt.Sprintf(`{"count":%s,"page_info":%s,"edges":%s}`, count, info, edges)
}

func TestJudge(t *testing.T) {
	const (
		end   = `{"has_next_page":false,"end_cursor":null}`
		next  = `{"has_next_page":true,"end_cursor":"x"}`
		blank = `{"has_next_page":true,"end_cursor":""}`
		one   = `[{"node":{"id":"1"}}]`
	)
	for _, tt := range []struct {
		name   string
		status int
		body   string
		kind   error
	}{
		{"a page", 200, page("15230", next, one), nil},
		{"the last page", 200, page("9999", end, one), nil},
		{"nobody", 200, page("0", end, `[]`), nil},
		{"no count", 200, `{"page_info":` + end + `,"edges":[]}`, nil},
		{"count null", 200, page("null", end, one), nil},
		{"count no number", 200, page(`"many"`, end, one), nil},
		{"cut off", 200, page("10000", end, one), providers.ErrUpstream},
		{"cut off, count as text", 200, page(`"15230"`, end, one), providers.ErrUpstream},
		{"cut off, empty", 200, page("15230", end, `[]`), providers.ErrUpstream},
		{"cut off, no cursor", 200, page("15230", blank, one), providers.ErrUpstream},
		{"cut off, in envelope", 200, `{"data":{"user":{"edge_followed_by":` + page("15230", end, one) + `}}}`, providers.ErrUpstream},
		{"in envelope", 200, `{"data":{"user":{"edge_followed_by":` + page("15230", next, one) + `}}}`, nil},
		{"in envelope, private", 200, `{"data":{"user":null}}`, providers.ErrGone},
		{"no edges", 200, `{"page_info":` + next + `}`, providers.ErrMalformed},
		{"edges an object", 200, page("1", next, `{}`), providers.ErrMalformed},
		{"no page info", 200, page("1", `null`, one), providers.ErrMalformed},
		{"no has_next_page", 200, page("1", `{"end_cursor":"x"}`, one), providers.ErrMalformed},
		{"no end_cursor", 200, page("1", `{"has_next_page":true}`, one), providers.ErrMalformed},
		{"nothing", 200, `{"status":"ok"}`, providers.ErrMalformed},
		{"a list", 200, `[]`, providers.ErrMalformed},
		{"fail", 200, `{"message":"User not found","status":"fail"}`, providers.ErrGone},
		{"forbidden", 403, `{"message":"no"}`, providers.ErrGone},
		{"not subscribed", 403, `{"message":"You are not subscribed to this API."}`, providers.ErrRefused},
		{"login required", 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream},
		{"invalid key", 401, `{"message":"Invalid API key."}`, providers.ErrRefused},
		{"payment", 402, ``, providers.ErrRefused},
		{"not found", 404, `{}`, providers.ErrGone},
		{"teapot", 418, `{}`, providers.ErrUpstream},
		{"server", 500, `{"status":"fail"}`, providers.ErrUpstream},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != "Something went wrong" {
				t.Errorf("got %v, want %v: (%d, 'Something went wrong')", err, tt.kind, tt.status)
			}
		})
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	p := func(path ...any) []any { return path }
	for _, path := range [][]any{
		p("edges"), p("edges", 0, "node"), p("edges", 0, "node", "id"),
		p("page_info"), p("page_info", "has_next_page"), p("page_info", "end_cursor"),
	} {
		last := fmt.Sprint(path[len(path)-1])
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			if may(last, value) {
				continue
			}
			broken := providertest.Without(t, sample(t), path, value...)
			_, err := call().Parse(ask, providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%v = %v: %v, want a malformed error", path, value, err)
				continue
			}
			if !strings.Contains(e.Detail, last) || !strings.HasPrefix(e.Detail, "rapidapi-igapi fetch_followers") {
				t.Errorf("%v = %v: %q does not name it", path, value, e.Detail)
			}
		}
	}
	body := page("2", `{"has_next_page":false,"end_cursor":null}`, `[{"node":{"id":"1"}},{"node":null}]`)
	if _, err := judgeAndParse([]byte(body)); !errors.Is(err, providers.ErrMalformed) || !strings.Contains(err.Error(), "edges.1.node.id") {
		t.Errorf("%s: %v", body, err)
	}
}

// may reports whether a hard member may be value: an empty page, an end.
func may(member string, value []any) bool {
	if len(value) == 0 {
		return false
	}
	list, isList := value[0].([]int)
	switch member {
	case "edges":
		return isList && list != nil
	case "has_next_page":
		return value[0] == nil || value[0] == true
	case "end_cursor":
		return value[0] == nil || value[0] == ""
	}
	return false
}

func TestPages(t *testing.T) {
	for info, want := range map[string]string{
		`{"has_next_page":true,"end_cursor":""}`:    "",
		`{"has_next_page":true,"end_cursor":null}`:  "",
		`{"has_next_page":null,"end_cursor":"x"}`:   "",
		`{"has_next_page":false,"end_cursor":"x"}`:  "",
		`{"has_next_page":true,"end_cursor":"x"}`:   "x",
		`{"has_next_page":true,"end_cursor":17}`:    "17",
		`{"has_next_page":false,"end_cursor":null}`: "",
	} {
		b, err := judgeAndParse([]byte(page("7", info, `[]`)))
		if err != nil || b.Cursor != want || b.More != (want != "") || len(b.Logs) != 0 {
			t.Errorf("%s: more %v, cursor %q, %v, want %q", info, b.More, b.Cursor, err, want)
		}
	}
}

// A real answer of the interface that this host passes on
// (fixtures/SOURCES.md), in its envelope and as the host has it. People and
// numbers are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	whole := providertest.Decode(t, providertest.Read(t, dir, "ig-web-graphql/followers/followers_p1.json"))
	list := providertest.Lookup(whole, "data", "user", "edge_followed_by")
	edges, _ := providertest.Lookup(list, "edges").([]any)
	for name, answer := range map[string]any{"envelope": whole, "list": list} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			b, err := judgeAndParse(body)
			if err != nil {
				t.Fatal(err)
			}
			if err := providertest.Sound(b); err != nil {
				t.Error(err)
			}
			if want := providertest.Lookup(list, "page_info", "end_cursor"); b.Cursor != want || !b.More {
				t.Errorf("more %v, cursor %q, want %q", b.More, b.Cursor, want)
			}
			if len(b.Logs) != len(edges) || len(edges) != 24 {
				t.Fatalf("%d logs of %d people", len(b.Logs), len(edges))
			}
			for i, l := range b.Logs {
				node := providertest.Lookup(edges[i], "node")
				if l.Key != providertest.Lookup(node, "id") || l.Target != "4811223344" {
					t.Errorf("%q follows %q", l.Key, l.Target)
				}
				for key, member := range map[string]string{
					"handle": "username", "full_name": "full_name", "profile_pic_url": "profile_pic_url",
					"is_private": "is_private", "is_verified": "is_verified",
				} {
					got, _ := l.Dimensions.Get(key)
					if plain, want := providertest.Decode(t, got), providertest.Lookup(node, member); plain != want {
						t.Errorf("%s: %s is %v, want %v", l.Key, key, plain, want)
					}
				}
			}
		})
	}
	// 46 million people do not end on a page without a cursor.
	end := providertest.Without(t, providertest.Read(t, dir, "ig-web-graphql/followers/followers_p1.json"),
		[]any{"data", "user", "edge_followed_by", "page_info", "end_cursor"}, nil)
	if err := classify(providertest.Answer(200, end)); !errors.Is(err, providers.ErrUpstream) {
		t.Errorf("a list that is cut off: %v", err)
	}
}

func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file   string
		status int
		kind   error
	}{
		{"errors/rapidapi/monthly_quota_exceeded.json", 429, providers.ErrLimited},
		{"errors/rapidapi/rate_limit_per_second.json", 429, providers.ErrLimited},
		{"errors/instagram/checkpoint_required.json", 400, providers.ErrUpstream},
		{"errors/instagram/checkpoint_required.json", 200, providers.ErrUpstream},
		{"errors/instagram/login_failed.json", 200, providers.ErrMalformed},
		{"errors/instagram/please_wait_require_login.json", 401, providers.ErrLimited},
		{"errors/instagram/please_wait_require_login.json", 429, providers.ErrLimited},
		{"errors/instagram/user_null_by_id.json", 200, providers.ErrGone},
		{"ig-private-v1/followers/natgeo_followers_2026.json", 200, providers.ErrMalformed}, // of another interface
	} {
		err := classify(providertest.Answer(tt.status, providertest.Read(t, dir, tt.file)))
		if !errors.Is(err, tt.kind) || err.Status != tt.status {
			t.Errorf("%s: %d: %v, want %v", tt.file, tt.status, err, tt.kind)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		f.Add(200, providertest.Read(f, file))
	}
	f.Add(403, []byte(`{"message":"login_required","status":"fail"}`))
	f.Add(200, []byte(`{"data":{"user":{"edge_followed_by":{"count":1e9,"edges":[{"node":{"id":1}}],"page_info":{"has_next_page":true,"end_cursor":5}}}}}`))
	c := call()
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if err := classify(providertest.Answer(status, body)); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("Judge: %q has more than one line", err)
		}
		b, err := c.Parse(ask, providertest.At, body)
		if err != nil && !errors.Is(err, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", err)
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkParse reads a page of about 40 KB: a hundred people, each with its
// reel and owner, as the web interface has them.
func BenchmarkParse(b *testing.B) {
	const n = 100
	var edges strings.Builder
	for i := range n {
		if i > 0 {
			edges.WriteByte(',')
		}
		fmt.Fprintf(&edges, `{"node": {"id": "7044556%d", "username": "rower_%d", "full_name": "Rower", "profile_pic_url": "https://cdn.example.net/p/rower.jpg",
			"is_private": true, "is_verified": false, "followed_by_viewer": false, "requested_by_viewer": false, "reel": {"id": "7044556%d", "expiring_at": 1598898273,
			"latest_reel_media": 0, "seen": null, "owner": {"__typename": "GraphUser", "id": "7044556%d"}}}}`, i, i, i, i)
	}
	whole := []byte(page("15230", `{"has_next_page": true, "end_cursor": "x"}`, "["+edges.String()+"]"))
	parse := call().Parse
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := parse(ask, providertest.At, whole); err != nil || len(got.Logs) != n {
			b.Fatal(len(got.Logs), err)
		}
	}
}
