package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/social"
)

// A contractCase is one row of contract/http.md: a request, what the tables hold
// before it, what the workers do meanwhile, and the answer to the byte.
type contractCase struct {
	section, name string
	sql           []string // rows that are there before
	does          []did    // the tasks that the request leads to, in order
	request       string   // method and path
	body          string
	header        []string // name, value, …
	code          int      // default 200
	want          string   // * stands for any text within a pair of quotes
}

// did is a task and its end.
type did struct {
	flow, params string
	sql          string // what it leaves behind
	status, data string // default COMPLETE, None
}

var (
	anyTime  = regexp.MustCompile(`"updated_at":"2[0-9T:.-]+","post_metrics"`)
	sections = []string{"1.2", "1.4", "2", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "4.1"}
)

func contractSite(t *testing.T) *site {
	return open(t, Config{
		CDNBase: "https://assets.example.invalid",
		Supply:  func(context.Context, string, string, string) error { return nil },
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("on purpose") }),
		Send:    &retold{},
		Validate: func(_ context.Context, t Token) error {
			switch t {
			case Token{"graphapi", "good", "1", "h"}:
				return nil
			case Token{"graphapi", "bad", "1", "h"}:
				return fmt.Errorf("%w: it lacks a scope", ErrTokenInvalid)
			case Token{"graphapi", "old", "1", "h"}:
				return ErrAccessExpired
			}
			return errors.New("Graph does not answer")
		},
	})
}

func TestContract(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	seen := map[string]bool{}
	for _, c := range contract {
		seen[c.section] = true
		t.Run(c.section+" "+c.name, func(t *testing.T) {
			s := &site{t, s.db, s.g, s.h}
			for _, table := range []string{"scrape_request_log", "instagram_account", "instagram_post", "instagram_profile_insights",
				"youtube_account", "asset_log", "profile_log"} { // faster than TRUNCATE, of so few rows
				s.exec("DELETE FROM " + table)
			}
			for _, sql := range c.sql {
				s.exec(sql)
			}
			before := s.tasks()
			done := s.do(c.does)
			method, path, _ := strings.Cut(c.request, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(c.body))
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, r)
			done()
			code, want := c.code, c.want
			if code == 0 {
				code = 200
			}
			body := w.Body.String()
			if strings.Contains(want, `"updated_at":"*"`) {
				body = anyTime.ReplaceAllString(body, `"updated_at":"*","post_metrics"`)
			}
			if w.Code != code || body != want {
				t.Errorf("%s\n got %d %s\nwant %d %s", c.request, w.Code, body, code, want)
			}
			kind := "application/json"
			switch {
			case w.Body.Len() == 0:
				kind = ""
			case code == 500:
				kind = "text/plain; charset=utf-8"
			}
			if got := w.Header().Get("Content-Type"); got != kind {
				t.Errorf("content type %q, want %q", got, kind)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("CORS is answered: %q", got)
			}
			if n := s.tasks() - before; n != len(c.does) {
				t.Errorf("%d tasks, want %d", n, len(c.does))
			}
		})
	}
	for _, section := range sections {
		if !seen[section] {
			t.Errorf("no case of section %s", section)
		}
	}
}

// do does the work of tasks, in this order, and fails when it is not asked for.
// What it returns waits for the end.
func (s *site) do(all []did) (done func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, d := range all {
			var k task
			err := pgx.ErrNoRows
			for until := time.Now().Add(8 * time.Second); err != nil && time.Now().Before(until); time.Sleep(3 * time.Millisecond) {
				err = s.db.QueryRow(context.Background(), `SELECT id, flow, params::text FROM scrape_request_log WHERE status = 'PENDING' ORDER BY id LIMIT 1`).
					Scan(&k.id, &k.flow, &k.params)
			}
			if err != nil || k.flow != d.flow || d.params != anyParams && k.params != d.params {
				s.t.Errorf("got task %s(%s), %v, want %s(%s)", k.flow, k.params, err, d.flow, d.params)
				return
			}
			if d.sql != "" {
				for sql := range strings.SplitSeq(d.sql, ";") {
					s.exec(sql)
				}
			}
			status, data := d.status, d.data
			if status == "" {
				status = social.Complete
			}
			if data == "" {
				data = "None"
			}
			s.exec("UPDATE scrape_request_log SET status = $2, data = $3 WHERE id = $1", k.id, status, data)
			s.g.TaskDone(k.id)
		}
	}()
	return func() { <-ended }
}

// Each route answers other methods with 405 and names those that it has.
func TestMethods(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	fill := regexp.MustCompile(`\{\w+\}`)
	for _, r := range s.g.routes() {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if r.verbs[method] != nil {
				continue
			}
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, httptest.NewRequest(method, fill.ReplaceAllString(r.path, "x"), nil))
			allow := []string{}
			for m := range r.verbs {
				allow = append(allow, m)
			}
			slices.Sort(allow)
			if w.Code != 405 || w.Body.String() != `{"detail":"Method Not Allowed"}` || w.Header().Get("Allow") != strings.Join(allow, ", ") {
				t.Errorf("%s %s: got %d %s, allow %q", method, r.path, w.Code, w.Body, w.Header().Get("Allow"))
			}
		}
		w := httptest.NewRecorder()
		path := fill.ReplaceAllString(r.path, "a%20b")
		s.h.ServeHTTP(w, httptest.NewRequest("GET", path+"/?q=1", nil))
		if w.Code != 307 || w.Header().Get("Location") != path+"?q=1" || w.Body.Len() > 0 {
			t.Errorf("%s/: got %d %q %s", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	// Literal segments win.
	routes := newRouter(s.g.routes())
	for i, r := range routes {
		if found, _ := routes.find(fill.ReplaceAllString(r.path, "x")); found == nil || found.path != routes[i].path {
			t.Errorf("%s is hidden by another route", r.path)
		}
	}
}

// Declared booleans and those that any text turns on.
func TestBooleans(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	s.exec(theAccount)
	for i, words := range []string{"false 0 off no f n FALSE Off No", "true 1 on yes t y TRUE On yEs"} {
		for word := range strings.FieldsSeq(words) {
			if code, _ := s.call("GET", "/profiles/instagram/byid/4815162342?third_party_fallback="+word, ""); code != 200 {
				t.Errorf("third_party_fallback=%s: got %d", word, code)
			}
			if code, _ := s.call("PUT", "/heartbeat?beat="+word, ""); code != []int{410, 200}[i] {
				t.Errorf("beat=%s: got %d", word, code)
			}
			if _, body := s.call("GET", "/profiles/instagram/byhandle/wanderlens.studio?full_refresh="+word, ""); strings.Contains(body, `"recent_posts":[]`) != (i == 1) {
				t.Errorf("full_refresh=%s: got %s", word, body)
			}
		}
	}
	for word, full := range map[string]bool{"": false, "x": true, "2": true, "None": true} {
		if _, body := s.call("GET", "/profiles/instagram/byhandle/wanderlens.studio?full_refresh="+word, ""); strings.Contains(body, `"recent_posts":[]`) != full {
			t.Errorf("full_refresh=%s: got %s", word, body)
		}
	}
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were stored, want none", n)
	}
}

// R7 shows the 12 newest posts that have a picture, those of unknown time first, and
// changes nothing of their counts. Each of its queries has an error of its own.
func TestRecent(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	s.exec(theAccount)
	s.exec(`INSERT INTO instagram_post (profile_id, shortcode, post_type, thumbnail_url, publish_time)
		SELECT '4815162342', 'P' || i, CASE WHEN i % 2 = 0 THEN 'image' ELSE 'reels' END, 'https://t', timestamp '2023-09-01' + i * interval '1 hour'
		FROM generate_series(10, 30) i`)
	s.exec(`INSERT INTO instagram_post (profile_id, shortcode, post_type, thumbnail_url, publish_time) VALUES
		('4815162342', 'story', 'story', 'https://t', '2030-01-01'), ('4815162342', 'untyped', NULL, 'https://t', '2030-01-01'),
		('4815162342', 'none', 'image', 'None', '2030-01-01'), ('4815162342', 'blank', 'image', ' ', '2030-01-01'),
		('4815162342', 'null', 'image', NULL, '2030-01-01'), ('other', 'other', 'image', 'https://t', '2030-01-01'),
		('4815162342', 'empty', 'igtv', '', '2029-01-01'), ('4815162342', 'undated', 'carousel', 'https://t', NULL)`)
	const path = "/recent/posts/INSTAGRAM/byprofileid/4815162342"
	_, body := s.call("GET", path, "")
	var got struct {
		Data struct {
			Platform string
			Posts    []struct {
				Shortcode  string
				URL        string `json:"post_url"`
				Published  *string
				Metrics    map[string]*float64
				Dimensions map[string]*string
			} `json:"recent_posts"`
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range got.Data.Posts {
		codes = append(codes, p.Shortcode)
		for _, k := range []string{"views", "likes", "comments", "play_count"} {
			if v, ok := p.Metrics[k]; !ok || v != nil {
				t.Errorf("%s: %s is %v, want null", p.Shortcode, k, v)
			}
		}
		if p.Shortcode == "empty" && (p.URL != " empty" || p.Dimensions["thumbnail_url"] != nil) {
			t.Errorf("got %+v", p)
		}
	}
	if want := "undated empty P30 P29 P28 P27 P26 P25 P24 P23 P22 P21"; strings.Join(codes, " ") != want || got.Data.Platform != "instagram" {
		t.Errorf("got  %s\nwant %s", strings.Join(codes, " "), want)
	}
	s.exec("ALTER TABLE asset_log RENAME TO away")
	s.expect("GET", path, "", 200, failed(`Failed to fetch asset logs for posts shortcode relation "asset_log" does not exist`, 500))
	s.exec("ALTER TABLE instagram_account RENAME TO away2")
	s.expect("GET", path, "", 200, failed("Failed to fetch Instagram account for handle - 4815162342", 500))
	s.exec("ALTER TABLE instagram_post RENAME TO away3")
	s.expect("GET", path, "", 200, failed("Failed to fetch recent posts for profile_id - 4815162342", 500))
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were stored, want none", n)
	}
}

// R7 answers within five seconds whatever the database does.
func TestRecentInTime(t *testing.T) {
	t.Parallel()
	s := contractSite(t)
	s.exec(theReel)
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background()) //nolint:errcheck // only to hold the lock
	if _, err := tx.Exec(t.Context(), "LOCK TABLE instagram_post"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.expect("GET", "/recent/posts/instagram/byprofileid/4815162342", "", 200, failed("Failed to fetch recent posts for profile_id - 4815162342", 500))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// retold keeps the task events that it is to send, or fails.
type retold struct {
	err    error
	events []event.Task
}

func (s *retold) Send(_ context.Context, outs ...bus.Out) error {
	for _, o := range outs {
		var e event.Task
		if err := json.Unmarshal(o.Data, &e); err != nil {
			return err
		}
		if s.err == nil {
			s.events = append(s.events, e)
		}
	}
	return s.err
}
