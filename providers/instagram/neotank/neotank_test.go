package neotank

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
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

// keys are good asks for the files in testdata, which are named for the fetch.
var keys = map[social.Fetch]string{
	social.ProfileByHandle: "northlake.cafe",
	social.ProfileByID:     "4811223344",
	social.PostsByID:       "4811223344",
}

func sample(t testing.TB, f social.Fetch) []byte {
	return providertest.Read(t, "testdata", string(f)+".json")
}

func call(f social.Fetch) providers.Call { return New("").Calls[f] }

func classify(ask social.Ask, a providers.Answer) *providers.Error {
	return providers.Classify(New(""), call(ask.Fetch), ask, a)
}

func askFor(f social.Fetch) social.Ask { return social.Ask{Fetch: f, Keys: []string{keys[f]}} }

func judgeAndParse(f social.Fetch, key string, body []byte) (social.Batch, error) {
	a := social.Ask{Fetch: f, Keys: []string{key}}
	if err := classify(a, providertest.Answer(200, body)); err != nil {
		return social.Batch{}, err
	}
	return call(f).Parse(a, providertest.At, body)
}

func TestProvider(t *testing.T) {
	bad := map[social.Fetch][][]string{
		social.ProfileByHandle: {{"a b"}, {"a/b"}, {strings.Repeat("a", 31)}},
		social.ProfileByID:     {{"northlake.cafe"}, {"1.5"}, {"-1"}},
		social.PostsByID:       {{"x"}},
	}
	var cases []providertest.Case
	for f, key := range keys {
		cases = append(cases, providertest.Case{Fetch: f, Keys: []string{key}, Bad: bad[f], Good: sample(t, f)})
	}
	providertest.Run(t, New(""), cred, cases...)
	if p := New("http://127.0.0.1:1/"); p.Source != "rapidapi-neotank" || p.Platform != social.Instagram ||
		p.BaseURL != "http://127.0.0.1:1" || New("").BaseURL != "https://instagram130.p.rapidapi.com" || p.Limit.Requests != 0 {
		t.Errorf("provider is %s of %s at %s, limit %v", p.Source, p.Platform, p.BaseURL, p.Limit)
	}
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		fetch  social.Fetch
		cursor string
		want   string
	}{
		{social.ProfileByHandle, "", "/account-info?username=northlake.cafe"},
		{social.ProfileByHandle, "x", "/account-info?username=northlake.cafe"},
		{social.ProfileByID, "", "/username-by-id?userid=4811223344"},
		{social.PostsByID, "", "/account-medias?first=80&userid=4811223344"},
		{social.PostsByID, "QVFD==", "/account-medias?after=QVFD%3D%3D&first=80&userid=4811223344"},
	} {
		ask := askFor(tt.fetch)
		ask.Cursor = tt.cursor
		r, err := call(tt.fetch).Request(cred, ask)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Path + "?" + r.Query.Encode(); got != tt.want || r.Method != "" || r.Body != nil {
			t.Errorf("%s: %s %s, want GET %s", tt.fetch, r.Method, got, tt.want)
		}
		if len(r.Header) != 2 || r.Header.Get("X-RapidAPI-Key") != "rapidsecretsecretsecret" || r.Header.Get("X-RapidAPI-Host") != "instagram130.p.rapidapi.com" {
			t.Errorf("%s: headers %v", tt.fetch, r.Header)
		}
	}
}

func TestGolden(t *testing.T) {
	for _, file := range providertest.Glob(t, "testdata/fetch_*.json") {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		f := social.Fetch(name)
		b, err := judgeAndParse(f, keys[f], providertest.Read(t, file))
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

// The "expected parse" blocks of 11.2 and 11.3, typed here a second time: the
// type as Q-NT-2 wants it and no category_id (Q-NT-3); and what the answer by
// id of 11.1 says (Q-NT-1).
func TestExpected(t *testing.T) {
	for _, tt := range []struct {
		fetch              social.Fetch
		key, owner, handle string
		cursor             string
		want               []string
	}{
		{social.ProfileByHandle, "4811223344", "", "northlake.cafe", "", []string{
			"media_count=412", "followers=15230", "following=310",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, `profile_pic_url="https://cdn.example.net/p/nl.jpg"`,
			`bio="Coffee by the water"`, `full_name="Northlake Cafe"`, `fbid="17841400000000001"`,
			`category="Coffee shop"`, "is_private=false", "is_verified=false"}},
		{social.ProfileByID, "4811223344", "", "northlake.cafe", "", []string{
			"media_count=null", "followers=null", "following=null",
			`profile_id="4811223344"`, `handle="northlake.cafe"`, "profile_pic_url=null", "bio=null", "full_name=null",
			"fbid=null", "category=null", "is_private=null", "is_verified=null"}},
		{social.PostsByID, "CxAmPle0041", "4811223344", "", "QVFDexampleNT3", []string{
			"comments=6", "likes=120",
			`post_id="3198000000000000041"`, `display_url="https://cdn.example.net/m/41.jpg"`,
			`thumbnail_src="https://cdn.example.net/m/41_t.jpg"`, `post_type="image"`,
			"taken_at_timestamp=1695620000", `caption="Fog on the lake"`}},
	} {
		b, err := judgeAndParse(tt.fetch, keys[tt.fetch], sample(t, tt.fetch))
		if err != nil || len(b.Logs) != 1 {
			t.Errorf("%s: %d logs, %v", tt.fetch, len(b.Logs), err)
			continue
		}
		l := b.Logs[0]
		if l.Key != tt.key || l.Owner != tt.owner || l.Handle != tt.handle || l.Source != "rapidapi-neotank" {
			t.Errorf("%s: key %q, owner %q, handle %q, source %q", tt.fetch, l.Key, l.Owner, l.Handle, l.Source)
		}
		if b.Cursor != tt.cursor || b.More != (tt.cursor != "") {
			t.Errorf("%s: more %v, cursor %q, want %q", tt.fetch, b.More, b.Cursor, tt.cursor)
		}
		var got []string
		for _, kv := range slices.Concat(l.Metrics, l.Dimensions) {
			got = append(got, kv.Key+"="+string(kv.Value))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.fetch, got, tt.want)
		}
	}
}

// Either call may give either layout, the whole profile where it is there.
func TestLayouts(t *testing.T) {
	whole := string(sample(t, social.ProfileByHandle))
	for _, tt := range []struct {
		name, body, followers string
	}{
		{"whole", whole, "15230"},
		{"reel", string(sample(t, social.ProfileByID)), "null"},
		{"web", `{"data":{"user":` + whole + `}}`, "15230"},
		{"page", `{"graphql":{"user":` + whole + `}}`, "15230"},
		{"whole with data", strings.Replace(whole, "{", `{"data":{"user":null},`, 1), "15230"},
		{"number", strings.Replace(whole, `"4811223344"`, "4811223344", 1), "15230"},
	} {
		for _, f := range []social.Fetch{social.ProfileByHandle, social.ProfileByID} {
			b, err := judgeAndParse(f, keys[f], []byte(tt.body))
			if err != nil || len(b.Logs) != 1 {
				t.Errorf("%s, %s: %v", f, tt.name, err)
				continue
			}
			l := b.Logs[0]
			if got, _ := l.Metrics.Get("followers"); l.Key != "4811223344" || l.Handle != "northlake.cafe" ||
				l.Dimensions.Text("profile_id") != "4811223344" || string(got) != tt.followers {
				t.Errorf("%s, %s: %s %s with %s followers", f, tt.name, l.Key, l.Handle, got)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	page := func(owner, edges, info string) string {
		return fmt.Sprintf(`{"owner":%s,"edges":%s,"page_info":%s}`, owner, edges, info)
	}
	const (
		end   = `{"has_next_page":false,"end_cursor":null}`
		owner = `{"id":"4811223344"}`
		mine  = `[{"node":{"shortcode":"a","owner":{"id":4811223344}}}]`
	)
	for _, tt := range []struct {
		name    string
		fetch   social.Fetch
		status  int
		body    string
		kind    error
		message string
	}{
		{"handle: other case", social.ProfileByHandle, 200, `{"id":"1","username":"NorthLake.Cafe"}`, nil, ""},
		{"handle: another one", social.ProfileByHandle, 200, `{"id":"1","username":"southlake.cafe"}`, providers.ErrGone, "API Failure"},
		{"handle: nothing", social.ProfileByHandle, 200, `{"status":"ok"}`, providers.ErrMalformed, "API Failure"},
		{"handle: no user", social.ProfileByHandle, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"handle: user a boolean", social.ProfileByHandle, 200, `{"data":{"user":true}}`, providers.ErrMalformed, "API Failure"},
		{"handle: username a list", social.ProfileByHandle, 200, `{"id":"1","username":[]}`, providers.ErrMalformed, "API Failure"},
		{"handle: 404", social.ProfileByHandle, 404, `{"message":"no"}`, providers.ErrGone, "Invalid user id"},
		{"id: another one", social.ProfileByID, 200, `{"data":{"user":{"reel":{"user":{"id":"1","username":"a"}}}}}`, providers.ErrGone, "API Failure"},
		{"id: number", social.ProfileByID, 200, `{"data":{"user":{"reel":{"user":{"id":4811223344,"username":"a"}}}}}`, nil, ""},
		{"id: no user", social.ProfileByID, 200, `{"data":{"user":null},"status":"ok"}`, providers.ErrGone, "API Failure"},
		{"id: data empty", social.ProfileByID, 200, `{"data":{}}`, providers.ErrGone, "API Failure"},
		{"id: data null", social.ProfileByID, 200, `{"data":null}`, providers.ErrMalformed, "API Failure"},
		{"id: a list", social.ProfileByID, 200, `[{"id":1}]`, providers.ErrMalformed, "API Failure"},
		{"id: 404", social.ProfileByID, 404, `{"message":"no"}`, providers.ErrGone, "Something went wrong"},
		{"posts: some", social.PostsByID, 200, page(owner, mine, end), nil, ""},
		{"posts: none", social.PostsByID, 200, page(owner, `[]`, end), nil, ""},
		{"posts: no owner", social.PostsByID, 200, page(`null`, mine, end), providers.ErrMalformed, "API Failure"},
		{"posts: no edges", social.PostsByID, 200, page(owner, `null`, end), providers.ErrMalformed, "API Failure"},
		{"posts: edges an object", social.PostsByID, 200, page(owner, `{}`, end), providers.ErrMalformed, "API Failure"},
		{"posts: no page info", social.PostsByID, 200, page(owner, mine, `null`), providers.ErrMalformed, "API Failure"},
		{"posts: of another", social.PostsByID, 200, page(owner, strings.Replace(mine, "48", "49", 1), end), providers.ErrGone, "API Failure"},
		{"posts: of nobody", social.PostsByID, 200, page(owner, `[{"node":{"shortcode":"a"}}]`, end), providers.ErrMalformed, "API Failure"},
		{"posts: envelope, none", social.PostsByID, 200, `{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[],"page_info":` + end + `}}}}`, nil, ""},
		{"posts: envelope, private", social.PostsByID, 200, `{"data":{"user":null}}`, providers.ErrGone, "API Failure"},
		{"posts: envelope, text", social.PostsByID, 200, `{"data":{"user":{"edge_owner_to_timeline_media":"x"}}}`, providers.ErrMalformed, "API Failure"},
		{"401", social.PostsByID, 401, `{"message":"no"}`, providers.ErrRefused, "API Failure"},
		{"401 of Instagram", social.PostsByID, 401, `{"message":"no","status":"fail"}`, providers.ErrUpstream, "Something went wrong"},
		{"422", social.PostsByID, 422, `{}`, providers.ErrUpstream, "API Failure"},
		{"503", social.ProfileByHandle, 503, `<html>`, providers.ErrUpstream, "API Failure"},
		{"500", social.ProfileByHandle, 500, `{}`, providers.ErrUpstream, "Something went wrong"},
		{"402", social.ProfileByHandle, 402, ``, providers.ErrRefused, "Something went wrong"},
		{"forbidden", social.PostsByID, 403, `{"message":"no"}`, providers.ErrGone, "Forbidden exception"},
		{"not subscribed", social.PostsByID, 403, `{"message":"You are not subscribed to this API."}`, providers.ErrRefused, "Forbidden exception"},
		{"login required", social.PostsByID, 403, `{"message":"login_required","status":"fail"}`, providers.ErrUpstream, "Forbidden exception"},
		{"teapot", social.PostsByID, 418, `{}`, providers.ErrUpstream, "Something went wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := classify(askFor(tt.fetch), providertest.Answer(tt.status, []byte(tt.body)))
			if tt.kind == nil {
				if err != nil {
					t.Errorf("%v, want none", err)
				}
				return
			}
			if !errors.Is(err, tt.kind) || err.Status != tt.status || err.Message != tt.message {
				t.Errorf("got %v, want %v: (%d, '%s')", err, tt.kind, tt.status, tt.message)
			}
		})
	}
}

// Each hard member taken out or of another type is an error that names it.
func TestHard(t *testing.T) {
	p := func(path ...any) []any { return path }
	reel := p("data", "user", "reel", "user")
	for _, tt := range []struct {
		fetch social.Fetch
		path  []any
	}{
		{social.ProfileByHandle, p("id")},
		{social.ProfileByHandle, p("username")},
		{social.ProfileByID, append(slices.Clone(reel), "id")},
		{social.ProfileByID, append(slices.Clone(reel), "username")},
		{social.PostsByID, p("edges")},
		{social.PostsByID, p("edges", 0, "node")},
		{social.PostsByID, p("edges", 0, "node", "shortcode")},
		{social.PostsByID, p("page_info")},
		{social.PostsByID, p("page_info", "has_next_page")},
		{social.PostsByID, p("page_info", "end_cursor")},
	} {
		for _, value := range [][]any{nil, {nil}, {true}, {""}, {[]int{}}, {map[string]int{}}} {
			last := fmt.Sprint(tt.path[len(tt.path)-1])
			if may(last, value) {
				continue
			}
			broken := providertest.Without(t, sample(t, tt.fetch), tt.path, value...)
			_, err := call(tt.fetch).Parse(askFor(tt.fetch), providertest.At, broken)
			var e *providers.Error
			if !errors.As(err, &e) || !errors.Is(err, providers.ErrMalformed) {
				t.Errorf("%s: %v = %v: %v, want a malformed error", tt.fetch, tt.path, value, err)
				continue
			}
			if !strings.Contains(e.Detail, last) || !strings.HasPrefix(e.Detail, "rapidapi-neotank "+string(tt.fetch)) {
				t.Errorf("%s: %v = %v: %q does not name it", tt.fetch, tt.path, value, e.Detail)
			}
		}
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
		`{"end_cursor":17,"has_next_page":true}`:    "17",
		`{"has_next_page":false,"end_cursor":null}`: "",
	} {
		for _, body := range []string{
			`{"owner":{"id":"4811223344"},"edges":[],"page_info":` + info + `}`,
			`{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[],"page_info":` + info + `}}}}`,
		} {
			b, err := judgeAndParse(social.PostsByID, "4811223344", []byte(body))
			if err != nil || b.Cursor != want || b.More != (want != "") || len(b.Logs) != 0 {
				t.Errorf("%s: more %v, cursor %q, %v, want %q", body, b.More, b.Cursor, err, want)
			}
		}
	}
}

// Real answers of the interface that this host passes on
// (fixtures/SOURCES.md), as they are or as the host has them: only what is
// inside the envelope. Numbers are read from the file a second time.
func TestFixtures(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	type path = []any
	user, timeline := path{"data", "user"}, path{"data", "user", "edge_owner_to_timeline_media"}
	web := map[string]path{
		"followers": {"edge_followed_by", "count"}, "following": {"edge_follow", "count"}, "fbid": {"fbid"},
		"media_count": {"edge_owner_to_timeline_media", "count"}, "category": {"category_name"}, "bio": {"biography"},
	}
	a1 := map[string]path{"followers": {"edge_followed_by", "count"}, "fbid": {"fbid"}, "category": {"category_name"}}
	flat := map[string]path{
		"followers": {"follower_count"}, "following": {"following_count"}, "media_count": {"media_count"},
		"fbid": {"fbid_v2"}, "category": {"category"}, "bio": {"biography"},
	}
	reel := map[string]path{"profile_pic_url": {"profile_pic_url"}, "handle": {"username"}, "followers": {"edge_followed_by"}}
	post := map[string]path{
		"likes": {"edge_media_preview_like", "count"}, "comments": {"edge_media_to_comment", "count"}, "post_id": {"id"},
		"taken_at_timestamp": {"taken_at_timestamp"}, "thumbnail_src": {"thumbnail_src"},
	}
	for _, tt := range []struct {
		file  string
		fetch social.Fetch
		key   string
		inner path // what of the file is the answer
		at    path // of the record or the list of records in that
		id    string
		same  map[string]path
	}{
		{"ig-web-graphql/user/robertdowneyjr_profile.json", social.ProfileByHandle, "RobertDowneyJr", nil, user, "id", web},
		{"ig-web-graphql/user/robertdowneyjr_profile.json", social.ProfileByHandle, "robertdowneyjr", user, nil, "id", web},
		{"ig-web-graphql/user/robertdowneyjr_profile.json", social.ProfileByID, "1518284433", user, nil, "id", web},
		{"ig-web-graphql/user/reel_by_id.json", social.ProfileByID, "3", nil, path{"data", "user", "reel", "user"}, "id", reel},
		{"lama/a1_user/instagram.json", social.ProfileByHandle, "instagram", path{"graphql", "user"}, nil, "id", a1},
		{"lama/a1_user/instagram.json", social.ProfileByHandle, "instagram", nil, path{"graphql", "user"}, "id", a1},
		{"ig-private-v1/web_profile_info/natgeo_2026_web_profile.json", social.ProfileByHandle, "natgeo", nil, nil, "id", flat},
		{"ig-private-v1/web_profile_info/natgeo_2026_web_profile.json", social.ProfileByID, "787132", nil, nil, "id", flat},
		{"ig-web-graphql/user_medias/robertdowneyjr_timeline.json", social.PostsByID, "1518284433", nil, append(slices.Clone(timeline), "edges"), "shortcode", post},
		{"ig-web-graphql/user_medias/robertdowneyjr_timeline.json", social.PostsByID, "1518284433", timeline, path{"edges"}, "shortcode", post},
	} {
		t.Run(fmt.Sprint(tt.fetch, " ", tt.file, " ", tt.inner), func(t *testing.T) {
			answer := providertest.Lookup(providertest.Decode(t, providertest.Read(t, dir, tt.file)), tt.inner...)
			if m, ok := answer.(map[string]any); ok && tt.fetch == social.PostsByID && tt.inner != nil {
				m["owner"] = map[string]any{"id": tt.key} // the host's own member, beside the list
			}
			body, err := json.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			b, err := judgeAndParse(tt.fetch, tt.key, body)
			if err != nil {
				t.Fatal(err)
			}
			if err := providertest.Sound(b); err != nil {
				t.Error(err)
			}
			found := providertest.Lookup(answer, tt.at...)
			records := []any{found}
			if list, ok := found.([]any); ok {
				records = list
				page := providertest.Lookup(answer, append(tt.at[:len(tt.at)-1:len(tt.at)-1], "page_info", "end_cursor")...)
				if b.Cursor != page || !b.More || len(list) < 2 {
					t.Errorf("%d posts, more %v, cursor %q, want %q", len(list), b.More, b.Cursor, page)
				}
			}
			if len(b.Logs) != len(records) {
				t.Fatalf("%d logs, want %d", len(b.Logs), len(records))
			}
			for i, l := range b.Logs {
				record := records[i]
				if l.Kind == social.Post {
					record = providertest.Lookup(record, "node")
					if l.Owner != tt.key || l.Dimensions.Text("post_type") == "" {
						t.Errorf("%s: owner %q, type %q", l.Key, l.Owner, l.Dimensions.Text("post_type"))
					}
					want := providertest.Lookup(record, "display_url")
					if providertest.Lookup(record, "is_video") == true {
						want = providertest.Lookup(record, "video_url")
					}
					if got := l.Dimensions.Text("display_url"); got == "" || got != want {
						t.Errorf("%s: display_url %q, want %q", l.Key, got, want)
					}
				} else if l.Handle != providertest.Lookup(record, "username") {
					t.Errorf("handle %q", l.Handle)
				}
				if want := fmt.Sprint(providertest.Lookup(record, tt.id)); l.Key != want {
					t.Errorf("key %q, want %q", l.Key, want)
				}
				for key, at := range tt.same {
					got, ok := l.Dimensions.Get(key)
					if !ok {
						got, _ = l.Metrics.Get(key)
					}
					if plain, want := providertest.Decode(t, got), providertest.Lookup(record, at...); plain != want {
						t.Errorf("%s: %s is %v, want %v", l.Key, key, plain, want)
					}
				}
			}
		})
	}
}

func TestFixtureErrors(t *testing.T) {
	dir := providertest.Fixtures(t)
	if dir == "" {
		return
	}
	for _, tt := range []struct {
		file   string
		fetch  social.Fetch
		status int
		kind   error
	}{
		{"errors/rapidapi/monthly_quota_exceeded.json", social.PostsByID, 429, providers.ErrLimited},
		{"errors/rapidapi/monthly_quota_exceeded.json", social.PostsByID, 403, providers.ErrLimited},
		{"errors/rapidapi/rate_limit_per_second.json", social.ProfileByID, 429, providers.ErrLimited},
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 400, providers.ErrUpstream},
		{"errors/instagram/checkpoint_required.json", social.PostsByID, 200, providers.ErrUpstream},
		{"errors/instagram/login_failed.json", social.ProfileByHandle, 200, providers.ErrMalformed},
		{"errors/instagram/please_wait_require_login.json", social.ProfileByHandle, 401, providers.ErrLimited},
		{"errors/instagram/please_wait_require_login.json", social.PostsByID, 429, providers.ErrLimited},
		{"errors/instagram/user_null_by_id.json", social.ProfileByID, 200, providers.ErrGone},
		{"errors/instagram/user_null_by_id.json", social.ProfileByHandle, 200, providers.ErrGone},
		{"errors/instagram/user_null_by_id.json", social.PostsByID, 200, providers.ErrGone},
	} {
		err := classify(askFor(tt.fetch), providertest.Answer(tt.status, providertest.Read(t, dir, tt.file)))
		if !errors.Is(err, tt.kind) || err.Status != tt.status {
			t.Errorf("%s: %d: %v, want %v", tt.file, tt.status, err, tt.kind)
		}
	}
}

func FuzzParse(f *testing.F) {
	fetches := []social.Fetch{social.ProfileByHandle, social.ProfileByID, social.PostsByID}
	for _, file := range providertest.Glob(f, "testdata/*.json") {
		for i := range fetches {
			f.Add(uint8(i), 200, providertest.Read(f, file))
		}
	}
	f.Add(uint8(0), 403, []byte(`{"message":"login_required","status":"fail"}`))
	f.Add(uint8(1), 200, []byte(`{"data":{"user":{"id":4811223344,"username":"a","edge_followed_by":{"count":1}}}}`))
	f.Add(uint8(2), 200, []byte(`{"data":{"user":{"edge_owner_to_timeline_media":{"edges":[{"node":{}}],"page_info":{}}}}}`))
	calls := New("").Calls
	f.Fuzz(func(t *testing.T, which uint8, status int, body []byte) {
		fetch := fetches[int(which)%len(fetches)]
		ask := askFor(fetch)
		if err := classify(ask, providertest.Answer(status, body)); err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Fatalf("Judge: %q has more than one line", err)
		}
		b, err := calls[fetch].Parse(ask, providertest.At, body)
		if err != nil && !errors.Is(err, providers.ErrMalformed) {
			t.Fatalf("Parse: %v is not a malformed error", err)
		}
		if err := providertest.Sound(b); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkParse reads a page of about 40 KB. Like the real ones it is mostly
// members that no row reads: a post of the web interface has some 4 KB.
func BenchmarkParse(b *testing.B) {
	unread := `{"unread": {"display_resources": [` + strings.Repeat(`{"src": "https://cdn.example.net/m/41.jpg", "config_width": 640, "config_height": 640}, `, 40) + `{}]},`
	const n = 9
	var edges strings.Builder
	for i := range n {
		if i > 0 {
			edges.WriteByte(',')
		}
		fmt.Fprintf(&edges, `{"node": %s "__typename": "GraphImage", "id": "31980000000000000%d", "shortcode": "CxAmPle00%d",
			"owner": {"id": "4811223344"}, "display_url": "https://cdn.example.net/m/41.jpg", "thumbnail_src": "https://cdn.example.net/m/41_t.jpg",
			"taken_at_timestamp": 1695620000, "edge_media_to_comment": {"count": 6}, "edge_media_preview_like": {"count": 120},
			"edge_media_to_caption": {"edges": [{"node": {"text": "Fog on the lake"}}]}}}`, unread, 10+i, 10+i)
	}
	whole := []byte(`{"owner": {"id": "4811223344"}, "page_info": {"has_next_page": true, "end_cursor": "x"}, "edges": [` + edges.String() + `]}`)
	parse, ask := call(social.PostsByID).Parse, askFor(social.PostsByID)
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := parse(ask, providertest.At, whole); err != nil || len(got.Logs) != n {
			b.Fatal(len(got.Logs), err)
		}
	}
}
