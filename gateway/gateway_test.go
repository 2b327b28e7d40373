package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations/pgtest"
	"beat/streams/schedule"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A site is a gateway over a database of its own.
type site struct {
	t  *testing.T
	db *pgxpool.Pool
	g  *Gateway
	h  http.Handler
}

func open(t *testing.T, cfg Config) *site {
	t.Helper()
	db := pgtest.New(t)
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Second
	}
	g := New(slog.New(slog.NewTextHandler(io.Discard, nil)), db, schedule.NewQueue(db, 0), cfg)
	return &site{t, db, g, g.Handler()}
}

func (s *site) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(context.Background(), sql, args...); err != nil {
		s.t.Errorf("%s: %v", sql, err)
	}
}

func (s *site) call(method, path, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	if w.Body.Len() > 0 && path != "/healthz" && w.Header().Get("Content-Type") != "application/json" {
		s.t.Errorf("%s %s: content type %q", method, path, w.Header().Get("Content-Type"))
	}
	return w.Code, w.Body.String()
}

func (s *site) expect(method, path, body string, code int, want string) {
	s.t.Helper()
	if gotCode, got := s.call(method, path, body); gotCode != code || got != want {
		s.t.Errorf("%s %s %s\n got %d %s\nwant %d %s", method, path, body, gotCode, got, code, want)
	}
}

func (s *site) tasks() (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(context.Background(), "SELECT count(*) FROM scrape_request_log").Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// A task is what the stand-in for the worker sees.
type task struct {
	id                           int64
	flow, platform, params, join string
	priority, retries            int
}

// work ends the next n tasks with status, after effect. It returns them when told to.
func (s *site) work(n int, status string, tell bool, effect func(task)) func() []task {
	done := make(chan []task, 1)
	go func() {
		var out []task
		for until := time.Now().Add(8 * time.Second); len(out) < n && time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			var k task
			err := s.db.QueryRow(context.Background(), `SELECT id, flow, platform, params::text, join_key, priority, retry_count
				FROM scrape_request_log WHERE status = 'PENDING' ORDER BY id LIMIT 1`).
				Scan(&k.id, &k.flow, &k.platform, &k.params, &k.join, &k.priority, &k.retries)
			if errors.Is(err, pgx.ErrNoRows) {
				continue
			}
			if err != nil {
				s.t.Error(err)
				break
			}
			if effect != nil {
				effect(k)
			}
			s.exec("UPDATE scrape_request_log SET status = $2, data = coalesce(data, 'None'), scraped_at = now() WHERE id = $1", k.id, status)
			if tell {
				s.g.TaskDone(k.id)
			}
			out = append(out, k)
		}
		done <- out
	}()
	return func() []task { return <-done }
}

func (s *site) account(handle string, at any) {
	s.exec(`INSERT INTO instagram_account (profile_id, handle, fbid, followers, following, full_name, media_count, is_private, updated_at)
		VALUES ('p-' || $1, $1, '178', 28754, 611, 'Wander <Lens> é', 412, NULL, $2::timestamp)
		ON CONFLICT (profile_id) DO UPDATE SET updated_at = excluded.updated_at, biography = 'refreshed'`, handle, at)
}

const notThere = `{"status":{"type":"ERROR","message":"Profile not found - %","code":404}}`

func TestOperations(t *testing.T) {
	bad := errors.New("no answer")
	s := open(t, Config{Ready: func(context.Context) map[string]error { return map[string]error{"nats": bad, "postgres": nil} },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })})
	s.expect("GET", "/heartbeat", "", 410, "")
	s.expect("PUT", "/heartbeat?beat=True", "", 200, "")
	s.expect("GET", "/heartbeat", "", 200, "")
	s.expect("PUT", "/heartbeat", "", 422, `{"detail":[{"loc":["query","beat"],"msg":"field required","type":"value_error.missing"}]}`)
	s.expect("PUT", "/heartbeat?beat=2", "", 422, `{"detail":[{"loc":["query","beat"],"msg":"value could not be parsed to a boolean","type":"type_error.bool"}]}`)
	s.expect("GET", "/heartbeat", "", 200, "")
	s.expect("PUT", "/heartbeat?beat=off", "", 410, "")
	s.expect("GET", "/heartbeat", "", 410, "")
	s.expect("GET", "/healthz", "", 200, "ok")
	s.expect("GET", "/readyz", "", 503, `{"missing":{"nats":"no answer"},"ready":false}`)
	bad = nil
	s.expect("GET", "/readyz", "", 200, `{"ready":true}`)
	s.expect("GET", "/metrics", "", 204, "")
	s.expect("GET", "/nothing", "", 404, `{"detail":"Not Found"}`)
	s.expect("GET", "/nothing/", "", 404, `{"detail":"Not Found"}`)
	s.expect("POST", "/heartbeat", "", 405, `{"detail":"Method Not Allowed"}`)
	s.expect("POST", "/profiles/instagram/byhandle/x", "", 405, `{"detail":"Method Not Allowed"}`)
	r := httptest.NewRecorder()
	s.h.ServeHTTP(r, httptest.NewRequest("GET", "/profiles/instagram/byhandle/x/?full_refresh=1", nil))
	if got := r.Header().Get("Location"); r.Code != 307 || got != "/profiles/instagram/byhandle/x?full_refresh=1" {
		t.Errorf("trailing slash: got %d %s", r.Code, got)
	}
	if g := New(nil, nil, nil, Config{Heartbeat: true}); !g.up.Load() || g.cfg.Wait != 50*time.Second {
		t.Errorf("defaults: got %+v", g.cfg)
	}
}

func TestProfile(t *testing.T) {
	s := open(t, Config{})
	now := time.Now().UTC().Truncate(time.Second)
	enum := `{"detail":[{"loc":["path","platform"],"msg":"value is not a valid enumeration member; permitted: 'instagram', 'youtube', 'shopify'","type":"type_error.enum","ctx":{"enum_values":["instagram","youtube","shopify"]}}]}`
	s.expect("GET", "/profiles/tiktok/byhandle/x", "", 422, enum)
	s.expect("GET", "/profiles/shopify/byhandle/x", "", 200, `{"status":{"type":"ERROR","message":"Platform not supported - shopify","code":400}}`)
	for _, h := range []string{"%20", "a%00b", "a%FFb", strings.Repeat("x", 600)} {
		text, _ := url.PathUnescape(h)
		want, _ := json.Marshal(strings.ToValidUTF8(text, "�"))
		s.expect("GET", "/profiles/instagram/byhandle/"+h, "", 200, strings.Replace(notThere, "%", strings.Trim(string(want), `"`), 1))
	}
	if n := s.tasks(); n != 0 {
		t.Fatalf("%d tasks were stored, want none", n)
	}

	s.account("fresh", now.Add(-23*time.Hour))
	at := now.Add(-23 * time.Hour).Format("2006-01-02T15:04:05")
	fresh := `{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":{"platform":"instagram","handle":"fresh","fbid":"178",` +
		`"profile_pic_url":null,"profile_id":"p-fresh","biography":null,"following":611,"followers":28754,"full_name":"Wander <Lens> é",` +
		`"is_private":null,"updated_at":"` + at + `","post_metrics":{},"recent_posts":`
	rest := `,"profile_type":"personal","media_count":412}}`
	for _, path := range []string{"/profiles/instagram/", "/profiles/INSTAGRAM/", "/social-profile-service/instagram/"} {
		s.expect("GET", path+"byhandle/FRESH?force_refresh=0&session=x", "", 200, fresh+"null"+rest)
	}
	s.expect("GET", "/profiles/instagram/byhandle/fresh?full_refresh=1", "", 200, fresh+"[]"+rest)
	if n := s.tasks(); n != 0 {
		t.Fatalf("a fresh row led to %d tasks", n)
	}

	// force, stale, never written, missing: each refreshes.
	s.account("stale", now.Add(-25*time.Hour))
	s.account("never", nil)
	for _, c := range []struct{ handle, query, flow, params string }{
		{"fresh", "?force_refresh=true&full_refresh=false", "refresh_profile_basic", `{"handle": "fresh", "profile_id": null}`},
		{"stale", "?full_refresh=true", "refresh_profile_by_handle", `{"handle": "stale"}`},
		{"never", "", "refresh_profile_basic", `{"handle": "never", "profile_id": null}`},
		{"missing", "?full_refresh=1", "refresh_profile_by_handle", `{"handle": "missing"}`},
	} {
		seen := s.work(1, "COMPLETE", c.handle != "never", func(task) { s.account(c.handle, now) }) // never: found by the poll
		code, body := s.call("GET", "/profiles/instagram/byhandle/"+c.handle+c.query, "")
		if code != 200 || !strings.Contains(body, `"SUCCESS"`) || !strings.Contains(body, now.Format("2006-01-02T15:04:05")) {
			t.Errorf("%s: got %d %s", c.handle, code, body)
		}
		for _, k := range seen() {
			want := task{k.id, c.flow, "INSTAGRAM", c.params, "ondemand:" + c.flow + ":" + c.handle, 1000, 1}
			if k != want {
				t.Errorf("%s: got task %+v, want %+v", c.handle, k, want)
			}
		}
	}
	if n := s.tasks(); n != 4 {
		t.Errorf("got %d tasks, want 4", n)
	}

	seen := s.work(1, "FAILED", true, nil)
	s.expect("GET", "/profiles/instagram/byhandle/Gone", "", 200, strings.Replace(notThere, "%", "Gone", 1))
	seen()
	seen = s.work(1, "COMPLETE", true, nil) // renamed: complete, but no row of that handle
	s.expect("GET", "/profiles/instagram/byhandle/renamed?full_refresh=1", "", 200, strings.Replace(notThere, "%", "renamed", 1))
	seen()

	s.g.cfg.Wait = 300 * time.Millisecond
	s.account("slow", now.Add(-48*time.Hour))
	if _, body := s.call("GET", "/profiles/instagram/byhandle/slow", ""); !strings.Contains(body, `"handle":"slow"`) {
		t.Errorf("timeout with a row: got %s", body)
	}
	s.expect("GET", "/profiles/instagram/byhandle/slow2", "", 200, strings.Replace(notThere, "%", "slow2", 1))
	if len(s.g.waiters.by) != 0 {
		t.Errorf("%d waiters are left", len(s.g.waiters.by))
	}
}

func TestChannel(t *testing.T) {
	s := open(t, Config{})
	s.exec("INSERT INTO youtube_account (channel_id, title, subscribers, updated_at) VALUES ('UCfresh', 'T', 5, now() AT TIME ZONE 'UTC')")
	channel := func(id string) string {
		return `{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":{"platform":"youtube","channel_id":"` + id +
			`","title":"T","subscribers":5,"uploads":null,"views":null,"thumbnail":null}}`
	}
	s.expect("GET", "/profiles/youtube/byhandle/UCfresh?force_refresh=1", "", 200, channel("UCfresh"))
	seen := s.work(1, "COMPLETE", true, func(task) {
		s.exec("INSERT INTO youtube_account (channel_id, title, subscribers, updated_at) VALUES ('UCnew', 'T', 5, now() AT TIME ZONE 'UTC')")
	})
	s.expect("GET", "/profiles/youtube/byhandle/UCnew", "", 200, channel("UCnew"))
	if got := seen(); len(got) != 1 || got[0].flow != "refresh_yt_profiles" || got[0].params != `{"channel_ids": ["UCnew"]}` || got[0].platform != "YOUTUBE" {
		t.Errorf("got tasks %+v", got)
	}
}

// Any number of requests for one profile share one task.
func TestJoin(t *testing.T) {
	s := open(t, Config{})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, body := s.call("GET", "/profiles/instagram/byhandle/Many", ""); !strings.Contains(body, `"handle":"many"`) {
				t.Errorf("got %s", body)
			}
		})
	}
	waiting := func() (n int) {
		s.g.waiters.mu.Lock()
		defer s.g.waiters.mu.Unlock()
		for _, w := range s.g.waiters.by {
			n += len(w.wake)
		}
		return n
	}
	for until := time.Now().Add(5 * time.Second); waiting() < 5 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	seen := s.work(1, "COMPLETE", true, func(task) { s.account("many", time.Now().UTC()) })
	all.Wait()
	seen()
	if n := s.tasks(); n != 1 {
		t.Errorf("got %d tasks, want 1", n)
	}
}

func TestRecentPosts(t *testing.T) {
	s := open(t, Config{CDNBase: "https://cdn.invalid/"})
	s.account("many", time.Now().UTC())
	s.exec(`INSERT INTO instagram_post (profile_id, shortcode, post_type, likes, comments, plays, publish_time, thumbnail_url, display_url, updated_at)
		SELECT 'p-many', t || '-' || i, t, CASE WHEN i > 1 THEN 100 * i END, i, i, timestamp '2026-01-20' - i * interval '1 day', 'None', '',
		       timestamp '2026-01-21 01:02:03.004211'
		FROM unnest(ARRAY['reels', 'image', 'carousel', 'story']) t, generate_series(1, 14) i`)
	s.exec(`UPDATE instagram_post SET plays = NULL WHERE shortcode = 'reels-2'`)        // unknown plays: not taken
	s.exec(`UPDATE instagram_post SET publish_time = NULL WHERE shortcode = 'image-1'`) // unknown time: last, so cut off
	s.exec(`INSERT INTO asset_log (entity_id, asset_url) VALUES ('reels-1', 'assets/reels-1.jpg')`)
	_, body := s.call("GET", "/profiles/instagram/byhandle/many?full_refresh=1", "")
	var got struct {
		Profile struct {
			Recent  []json.RawMessage          `json:"recent_posts"`
			Metrics map[string]json.RawMessage `json:"post_metrics"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range got.Profile.Recent {
		var c struct{ Shortcode string }
		if err := json.Unmarshal(p, &c); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, c.Shortcode)
	}
	want := "reels-1 reels-3 reels-4 reels-5 reels-6 reels-7 reels-8 reels-9 reels-10 reels-11 reels-12 reels-13 " +
		"carousel-1 carousel-2 image-2 carousel-3 image-3 carousel-4 image-4 carousel-5 image-5 carousel-6 image-6 carousel-7"
	if g := strings.Join(codes, " "); g != want {
		t.Fatalf("got  %s\nwant %s", g, want)
	}
	// Unknown likes are 0 in the answer.
	wantPost := `{"shortcode":"reels-1","post_id":null,"post_type":"reels","post_url":"https://www.instagram.com/reel/reels-1",` +
		`"publish_time":"2026-01-19T00:00:00","updated_at":"2026-01-21T01:02:03.004211",` +
		`"metrics":{"reach":0,"views":null,"likes":0,"comments":1,"play_count":1,"engagement_rate":0},` +
		`"dimensions":{"caption":null,"comments":1,"thumbnail_url":"https://cdn.invalid/assets/reels-1.jpg","display_url":null}}`
	if g := string(got.Profile.Recent[0]); g != wantPost {
		t.Errorf("got  %s\nwant %s", g, wantPost)
	}
	if g := string(got.Profile.Recent[14]); !strings.Contains(g, `"post_url":"https://www.instagram.com/p/image-2"`) || !strings.Contains(g, `"thumbnail_url":null`) {
		t.Errorf("got %s", g)
	}
	for _, k := range []string{"static", "reels", "story", "all"} {
		if !strings.Contains(string(got.Profile.Metrics[k]), `"avg_reach"`) && k != "all" {
			t.Errorf("%s: got %s", k, got.Profile.Metrics[k])
		}
	}
}

func TestCreateTask(t *testing.T) {
	s := open(t, Config{})
	p422 := func(loc, msg, kind string) string {
		return `{"detail":[{"loc":["body"` + loc + `],"msg":"` + msg + `","type":"` + kind + `"}]}`
	}
	envelope := func(msg string) string { return `{"status":{"type":"ERROR","message":"` + msg + `","code":422}}` }
	ok := `"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"x"}`
	for _, c := range []struct {
		body string
		code int
		want string
	}{
		{``, 422, p422("", "field required", "value_error.missing")},
		{`null`, 422, p422("", "field required", "value_error.missing")},
		{`[]`, 422, p422("", "value is not a valid dict", "type_error.dict")},
		{`{"flow" 1}`, 422, p422(",8", "invalid character '1' after object key", "value_error.jsondecode")},
		{"{\"flow\":\"\xff\"}", 400, `{"detail":"There was an error parsing the body"}`},
		{`{"flow":"x","platform":"y"}`, 422, p422(`,"params"`, "field required", "value_error.missing")},
		{`{"flow":null,"platform":"y","params":{}}`, 422, p422(`,"flow"`, "none is not an allowed value", "type_error.none.not_allowed")},
		{`{"flow":1,"platform":"y","params":{}}`, 422, p422(`,"flow"`, "str type expected", "type_error.str")},
		{`{"flow":"x","platform":"y","params":[]}`, 422, p422(`,"params"`, "value is not a valid dict", "type_error.dict")},
		{`{` + ok + `,"retry_count":"a"}`, 422, p422(`,"retry_count"`, "value is not a valid integer", "type_error.integer")},
		{`{` + ok + `,"picked_at":"soon"}`, 422, p422(`,"picked_at"`, "invalid datetime format", "value_error.datetime")},
		{`{"flow":"nope","platform":"INSTAGRAM","params":{}}`, 200, envelope("unknown flow - nope")},
		{`{"flow":"refresh_profile_by_handle","platform":"YOUTUBE","params":{"handle":"x"}}`, 200,
			envelope("flow refresh_profile_by_handle has platform INSTAGRAM, not YOUTUBE")},
		{`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{}}`, 200,
			envelope("refresh_profile_by_handle() missing 1 required positional argument: 'handle'")},
		{`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"x","y":1}}`, 200,
			envelope("refresh_profile_by_handle() got an unexpected keyword argument 'y'")},
		{`{` + ok + `,"x":"` + strings.Repeat("x", maxBody) + `"}`, 413, `{"detail":"Request body is larger than 1 MiB"}`},
	} {
		s.expect("POST", "/scrape_request_log/flow/any", c.body, c.code, c.want)
	}
	if n := s.tasks(); n != 0 {
		t.Fatalf("bad requests stored %d tasks", n)
	}

	r := httptest.NewRequest("POST", "/scrape_request_log/flow/any", strings.NewReader(
		`{`+ok+`,"reason":"why","priority":7,"retry_count":null,"status":"FAILED","expires_at":"2026-01-01 10:00:00","more":1}`))
	r.Header.Set("x-bb-account-id", "acc-1")
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	var got struct {
		ScrapeID int64 `json:"scrape_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	id := strconv.FormatInt(got.ScrapeID, 10)
	if want := `{"status":{"type":"SUCCESS","message":"Scrape request log added"},"code":200,"scrape_id":` + id + `}`; w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
	var line string
	if err := s.db.QueryRow(t.Context(), `SELECT concat_ws('|', flow, platform, params, status, priority, retry_count, account_id, reason, join_key,
		expires_at - created_at) FROM scrape_request_log`).Scan(&line); err != nil {
		t.Fatal(err)
	}
	if want := `refresh_profile_by_handle|INSTAGRAM|{"handle": "x"}|PENDING|1|1|acc-1|why|01:00:00`; line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}

	s.exec(`UPDATE scrape_request_log SET params = '{"hash": 18446744073709551615}', created_at = '2026-01-02 03:04:05.6',
		scraped_at = '2026-01-02 03:04:06', status = 'COMPLETE', data = '{''a'': 1}'`)
	s.expect("GET", "/scrape_request_log/flow/"+id, "", 200, `{"status":{"type":"SUCCESS","message":"Scrape Log Data Retrieved"},"post":{"scrape_id":`+id+
		`,"data":"{'a': 1}","status":"COMPLETE","params":{"hash":18446744073709551615},"created_at":"2026-01-02T03:04:05.600000",`+
		`"flow":"refresh_profile_by_handle","scraped_at":"2026-01-02T03:04:06","platform":"INSTAGRAM"}}`)
	for _, id := range []string{"999999", "99999999999999999999"} {
		s.expect("GET", "/scrape_request_log/flow/"+id, "", 200,
			`{"status":{"type":"ERROR","message":"scrape log not found for scrape_id - `+id+`","code":404}}`)
	}
	s.expect("GET", "/scrape_request_log/flow/abc", "", 422, `{"detail":[{"loc":["path","id"],"msg":"value is not a valid integer","type":"type_error.integer"}]}`)
}
