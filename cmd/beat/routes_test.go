package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beat/gateway"
	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/social"
)

// ask is one request to a gateway.
func ask(t testing.TB, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// The routes of contract/http.md that refresh or update something, through the
// whole pipeline. What they answer to the byte is package gateway's.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.deps.CDN = "https://assets.example.invalid"
	w.deps.MetaAppToken = "sandbox-token"
	a := w.runAll()
	root := "http://" + <-a.addr
	expect := func(request, body, want string) {
		t.Helper()
		method, path, _ := strings.Cut(request, " ")
		if code, got := ask(t, method, root+path, body); code != 200 || !regexp.MustCompile(`^`+want+`$`).MatchString(got) {
			t.Errorf("%s\n got %d %.600s\nwant %s", request, code, got, want)
		}
	}
	const handle = "creator00007"
	w.outcome(w.basic(handle), social.Complete) // the sandbox knows the name behind an id once it was asked for
	id := w.text("SELECT profile_id FROM instagram_account WHERE handle = $1", handle)
	w.exec("DELETE FROM instagram_account")

	// R3: a profile with its posts, by id; then it is fresh.
	found := `\{"status":\{"type":"SUCCESS","message":"Profile Retrieved"\},"profile":\{"platform":"instagram","handle":"` + handle + `",.*"profile_id":"` + id + `",.*` +
		`"post_metrics":\{\},"recent_posts":null,"profile_type":"[a-z_]+","media_count":[0-9]+\}\}`
	expect("GET /profiles/instagram/byid/"+id, "", found)
	tasks := w.int("SELECT count(*) FROM scrape_request_log")
	expect("GET /profiles/instagram/byid/"+id, "", found)
	expect("GET /profiles/instagram/byid/12", "", `\{"status":\{"type":"ERROR","message":"Error - \([0-9]+, '.*","code":404\}\}`)
	expect("GET /profiles/youtube/byid/UCexampleChannel00000001", "", `.*"profile":\{"platform":"youtube","channel_id":"UCexampleChannel00000001","title":".+","subscribers":[0-9]+,.*`)
	if n := w.int("SELECT count(*) FROM scrape_request_log"); n != tasks+2 {
		t.Errorf("%d tasks, want one each for the two that were not stored", n-tasks)
	}
	// R4: the same in its nested form.
	expect("GET /profiles/instagram/byprofileid/"+id, "", `.*"profile":\{"platform":"instagram","handle":"`+handle+`","profile":\{"handle":"`+handle+`".*`)

	// R7: what is stored of it.
	code := w.text("SELECT shortcode FROM instagram_post WHERE profile_id = $1 AND thumbnail_url IS NOT NULL ORDER BY publish_time DESC LIMIT 1", id)
	w.exec("INSERT INTO asset_log (entity_id, asset_url) VALUES ($1, 'a/b.jpg')", code)
	expect("GET /recent/posts/instagram/byprofileid/"+id, "", `\{"status":\{"type":"SUCCESS","message":"Recent Posts Retrieved"\},"data":\{"platform":"instagram","profile_id":"`+
		id+`","recent_posts":\[\{"shortcode":"`+code+`".*"thumbnail_url":"https://assets.example.invalid/a/b.jpg".*`)

	// R9: a post and a story.
	expect("GET /posts/instagram/reels/"+code+"?profile_id=", "", `.*"message":"reels Retrieved"\},"post":\{"platform":"instagram","shortcode":"`+code+`","handle":"`+handle+`".*`)
	expect("GET /posts/instagram/story/1?profile_id="+id, "", `.*"message":"story not found for shortcode - 1","code":404\}\}`)
	story := w.text("SELECT min(shortcode) FROM instagram_post WHERE post_type = 'story' AND profile_id = $1", id)
	expect("GET /posts/instagram/story/"+story+"?profile_id="+id, "", `.*"message":"Stories Retrieved"\},"post":\{"platform":"instagram","handle":"`+handle+`","data_provider":"GRAPHAPI","shortcode":"`+story+`".*`)

	// R8 without a credential of the handle: the others know the post.
	expect("GET /posts/instagram/byshortcode/"+code+"?handle="+handle+"&third_party_fallback=true", "", `.*"handle":"`+handle+`","data_provider":"LAMA","shortcode":"`+code+`".*`)

	// R10: from the page, of which nothing is stored.
	channels := w.int("SELECT count(*) FROM youtube_account")
	expect("GET /youtube/channel/byhandle/ridgefilms", "", `\{"status":\{"type":"SUCCESS","message":"Channel ID Retrieved"\},"response":\{"handle":"ridgefilms","channel_id":"UC[A-Za-z0-9_-]{22}"\}\}`)
	expect("GET /youtube/channel/byhandle/@missing", "", `\{"status":\{"type":"ERROR","message":"Failed to fetch Channel ID for - @missing","code":400\}\}`)
	page := w.box.Inject(sandbox.Fault{Source: sandbox.YTPage, Kind: "html"})
	expect("GET /youtube/channel/byhandle/@other", "", `\{"status":\{"type":"ERROR","message":"Something went wrong - The page holds no channel id","code":400\}\}`)
	w.box.Clear(page)
	if n := w.int("SELECT count(*) FROM youtube_account") - channels; n != 0 || w.int("SELECT count(*) FROM profile_log WHERE source = 'youtube-page'") != 0 {
		t.Error("something of the page is stored")
	}

	// R12: a task that failed runs again, and is told.
	failedTask := w.int("SELECT id FROM scrape_request_log WHERE status = 'FAILED' AND flow = 'refresh_profile_by_profile_id'")
	w.exec("UPDATE scrape_request_log SET params = $2, account_id = '42' WHERE id = $1", failedTask, `{"profile_id": "`+id+`"}`)
	expect(fmt.Sprintf("POST /scrape_request_log/flow/update/%d", failedTask), `{"flow":"refresh_profile_by_profile_id","platform":"INSTAGRAM","params":{"profile_id":"`+id+`"},"retry_count":2,"status":"PENDING"}`,
		`\{"status":\{"type":"SUCCESS","message":"Scrape request log updated"\}\}`)
	w.outcome(int64(failedTask), social.Complete)
	w.told(int64(failedTask), "PENDING", "PROCESSING", "FAILED", "PENDING", "PROCESSING", "COMPLETE")
	// R14.
	expect("GET /list_scrape_data/42", "", fmt.Sprintf(`\{"account_id":"42","scrape_list":\[\{"scrape_id":%d,"account_id":"42","data":"None","status":"COMPLETE","params":\{"profile_id":"%s"\},.*`, failedTask, id))
	expect("POST /scrape_request_log/flow/update/999999", `{"flow":"f","platform":"INSTAGRAM","params":{},"retry_count":2,"status":"FAILED"}`, `.*"message":"scrape log not found for scrape_id - 999999","code":404.*`)

	// R15 and R16.
	const validate = "GET /token/validate?social_user_id=1&handle=h&platform=INSTAGRAM&type="
	expect(validate+"graphapi&access_token=EAAB", "", `\{"status":\{"type":"SUCCESS","message":"Token is valid"\},"code":200\}`)
	expect(validate+"graphapi&access_token=EAABexpired", "", `\{"status":\{"type":"ERROR","message":"Token is invalid","code":190\}\}`)
	expect(validate+"rocketapi&access_token=EAAB", "", `\{"status":\{"type":"ERROR","message":"only tokens of graphapi can be checked","code":500\}\}`)
	expect("POST /tokens", `{}`, `\{"status":\{"type":"SUCCESS","message":"Inserted Successfully"\}\}`)
}

// What Graph says of a token, and what it does not say.
func TestValidate(t *testing.T) {
	t.Parallel()
	const scopes = `"scopes":["instagram_basic","instagram_manage_insights","pages_read_engagement","pages_show_list"]`
	status, body := 200, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("input_token") != "EAABsecret" || q.Get("access_token") != "1|appsecret" {
			t.Errorf("asked with %s", r.URL)
		}
		w.WriteHeader(status)
		io.WriteString(w, body) //nolint:errcheck // the test fails then
	}))
	defer srv.Close()
	a := &app{set: providerTable(func(string) string { return srv.URL })}
	a.cfg.MetaAppToken = "1|appsecret"
	client := providers.NewClient(providers.ClientConfig{})
	check := func() error {
		return a.validate(t.Context(), client, gateway.Token{Source: "graphapi", Token: "EAABsecret", UserID: "1", Handle: "h"})
	}
	for _, c := range []struct {
		status int
		body   string
		want   error
		says   string
	}{
		{200, `{"data":{"is_valid":true,"data_access_expires_at":0,` + scopes + `}}`, nil, ""},
		{200, `{"data":{"is_valid":true,"data_access_expires_at":4102444800,` + scopes + `}}`, nil, ""},
		{200, `{"data":{"is_valid":true,"data_access_expires_at":1,` + scopes + `}}`, gateway.ErrAccessExpired, ""},
		{200, `{"data":{"is_valid":false,"data_access_expires_at":0,` + scopes + `}}`, gateway.ErrTokenInvalid, ""},
		{200, `{"data":{"is_valid":true,"data_access_expires_at":1,"scopes":["instagram_basic"]}}`, gateway.ErrTokenInvalid, ""},
		{200, `{"data":{}}`, nil, "the token could not be checked: the answer of Graph cannot be read"},
		{400, `{"error":{"message":"Malformed EAABsecret"}}`, nil, "the token could not be checked: Graph answered 400"},
	} {
		status, body = c.status, c.body
		err := check()
		if c.says == "" && !errors.Is(err, c.want) || c.says != "" && (err == nil || err.Error() != c.says) {
			t.Errorf("%d %s: got %v, want %v%s", c.status, c.body, err, c.want, c.says)
		}
	}
	srv.Close()
	if err := check(); err == nil || err.Error() != "the token could not be checked: Graph did not answer" {
		t.Errorf("without Graph: got %v", err)
	}
	a.cfg.MetaAppToken = ""
	if err := check(); err == nil || err.Error() != "tokens cannot be checked: META_APP_ACCESS_TOKEN is not set" {
		t.Errorf("without our own token: got %v", err)
	}
}

// A balancer sends each request to the next process whose heartbeat is on.
type balancer struct {
	mu   sync.Mutex
	all  []string
	up   []string
	next int
}

func (b *balancer) look() {
	b.mu.Lock()
	all := append([]string(nil), b.all...)
	b.mu.Unlock()
	var up []string
	for _, root := range all {
		if res, err := http.Get(root + "/heartbeat"); err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				up = append(up, root)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.up = up
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return b.up[b.next%len(b.up)]
}

// Two processes of all roles are restarted one after the other under load, as the
// deployment does it: heartbeat off, a wait, the signal to stop, a start, heartbeat
// on. Every request that was accepted is answered, every task that was created
// ends, and no change of any task goes untold.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.deps.Heartbeat = false
	w.box.Inject(sandbox.Fault{Kind: "slow", Delay: 150 * time.Millisecond}) // so that much is held
	type process struct {
		root string
		stop func()
	}
	start := func() process {
		a, stop := w.runRoles(roles...)
		p := process{"http://" + <-a.addr, stop}
		if code, _ := ask(t, "GET", p.root+"/heartbeat", ""); code != 410 {
			t.Errorf("a process begins with %d, want 410", code)
		}
		if code, _ := ask(t, "PUT", p.root+"/heartbeat?beat=true", ""); code != 200 {
			t.Errorf("heartbeat on: got %d", code)
		}
		return p
	}
	ps := []process{start(), start()}
	lb := &balancer{all: []string{ps[0].root, ps[1].root}}
	lb.look()
	const every = 100 * time.Millisecond
	watch, unwatch := context.WithCancel(t.Context())
	go func() {
		for watch.Err() == nil {
			lb.look()
			time.Sleep(every)
		}
	}()

	var n, created atomic.Int64
	client := &http.Client{Timeout: time.Minute}
	load, unload := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for load.Err() == nil {
				k := n.Add(1)
				method, path, body, want := "GET", fmt.Sprintf("/profiles/instagram/byhandle/creator%05d", k), "", `"handle":"creator`
				if i >= 4 {
					method, path, want = "POST", "/scrape_request_log/flow/x", `"Scrape request log added"`
					body = fmt.Sprintf(`{"flow":"refresh_profile_basic","platform":"INSTAGRAM","params":{"profile_id":null,"handle":"creator%05d"}}`, 50_000+k)
					created.Add(1)
					time.Sleep(40 * time.Millisecond)
				}
				req, err := http.NewRequest(method, lb.pick()+path, strings.NewReader(body)) // not ended with the load
				if err != nil {
					t.Error(err)
					return
				}
				res, err := client.Do(req)
				if err != nil {
					t.Errorf("a request is lost: %v", err)
					return
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || !strings.Contains(string(got), want) {
					t.Errorf("%s %s: got %d %s, %v", method, path, res.StatusCode, got, err)
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	for i := range ps {
		if code, _ := ask(t, "PUT", ps[i].root+"/heartbeat?beat=false", ""); code != 410 {
			t.Errorf("heartbeat off: got %d", code)
		}
		w.until("the balancer's notice", func() bool {
			lb.mu.Lock()
			defer lb.mu.Unlock()
			return !slices.Contains(lb.up, ps[i].root)
		})
		time.Sleep(5 * every) // what was on its way to it has come
		ps[i].stop()
		ps[i] = start()
		lb.mu.Lock()
		lb.all[i] = ps[i].root
		lb.mu.Unlock()
		w.until("the balancer's notice", func() bool {
			lb.mu.Lock()
			defer lb.mu.Unlock()
			return slices.Contains(lb.up, ps[i].root)
		})
		time.Sleep(5 * every)
	}
	unload()
	all.Wait()
	unwatch()
	t.Logf("%d requests, %d tasks created by them", n.Load(), created.Load())
	w.until("the end of all tasks", func() bool {
		return w.int("SELECT count(*) FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING')") == 0
	})
	if failed := w.int("SELECT count(*) FROM scrape_request_log WHERE status <> 'COMPLETE'"); failed != 0 {
		t.Errorf("%d tasks failed: %s", failed, w.text("SELECT min(data) FROM scrape_request_log WHERE status <> 'COMPLETE'"))
	}
	if got := w.int("SELECT count(*) FROM scrape_request_log WHERE join_key IS NULL"); int64(got) != created.Load() {
		t.Errorf("%d tasks are stored, %d were accepted", got, created.Load())
	}
	tasks := w.int("SELECT count(*) FROM scrape_request_log")
	w.until("all events", func() bool {
		told := map[string]int{}
		for _, e := range w.taskEvents(0) {
			told[e.Status]++
		}
		return told[social.Pending] >= tasks && told[social.Processing] >= tasks && told[social.Complete] == tasks
	})
	for _, p := range ps {
		p.stop()
	}
}

// A process that is told to stop, without more, answers what it holds first: its
// other roles go on until that is done.
func TestStopAnswersWhatIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	w.box.Inject(sandbox.Fault{Kind: "slow", Delay: 700 * time.Millisecond})
	a, stop := w.runRoles(roles...)
	root := "http://" + <-a.addr
	answer := make(chan string, 2)
	for _, handle := range []string{"creator00007", "creator00008"} {
		go func() {
			_, body := ask(t, "GET", root+"/profiles/instagram/byhandle/"+handle, "")
			answer <- body
		}()
	}
	w.until("both tasks", func() bool { return w.int("SELECT count(*) FROM scrape_request_log") == 2 })
	began := time.Now()
	stop()
	for range 2 {
		if body := <-answer; !strings.Contains(body, `"SUCCESS"`) {
			t.Errorf("got %s", body)
		}
	}
	if took := time.Since(began); took > w.deps.Stop {
		t.Errorf("stopping took %v, at most %v is allowed", took, w.deps.Stop)
	}
}
