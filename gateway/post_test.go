package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"beat/streams/social"
)

// post stores a post; lineage says that its reach was observed at, "" nothing.
func (s *site) post(shortcode string, postID any, reach any, at string) {
	lineage := "{}"
	if at != "" {
		lineage = fmt.Sprintf(`{"a":[["graphapi",%q,"r1",1]],"c":{"reach":0}}`, at)
	}
	s.exec(`INSERT INTO instagram_post (shortcode, handle, profile_id, post_id, post_type, display_url, thumbnail_url, publish_time, updated_at,
			likes, comments, plays, reach, lineage)
		VALUES ($1, 'wander', 'p-1', $2, 'reels', 'https://d', 'None', '2026-11-01 06:02:11', '2026-11-20 10:00:00', 1840, 37, 25113, $3, $4)
		ON CONFLICT (shortcode) DO UPDATE SET post_id = excluded.post_id, reach = excluded.reach, lineage = excluded.lineage`,
		shortcode, postID, reach, lineage)
}

func shown(shortcode, postID, reach, more string) string {
	return `{"status":{"type":"SUCCESS","message":"Post Retrieved"},"post":{"platform":"instagram","handle":"wander","data_provider":"GRAPHAPI",` +
		`"shortcode":"` + shortcode + `","post_id":"` + postID + `","post_type":"reels","content_type":null,"thumbnail":null,"display_url":"https://d",` +
		`"story_links":null,"story_hashtags":null,"publish_time":"2026-11-01T06:02:11","updated_at":"2026-11-20T10:00:00",` +
		`"metrics":{"reach":` + reach + `,"views":null,"likes":1840,"play_count":25113,"comments":37}` + more + `}}`
}

func failed(message string, code int) string {
	return fmt.Sprintf(`{"status":{"type":"ERROR","message":%q,"code":%d}}`, message, code)
}

func TestPostRequest(t *testing.T) {
	s := open(t, Config{})
	const at = "/posts/instagram/byshortcode/C1"
	s.expect("GET", at, "", 422, `{"detail":[{"loc":["query","handle"],"msg":"field required","type":"value_error.missing"}]}`)
	s.expect("GET", at+"?handle=a&third_party_fallback=2", "", 422,
		`{"detail":[{"loc":["query","third_party_fallback"],"msg":"value could not be parsed to a boolean","type":"type_error.bool"}]}`)
	if code, body := s.call("GET", "/posts/tiktok/byshortcode/C1", ""); code != 422 || !strings.Contains(body, `["path","platform"]`) || !strings.Contains(body, `["query","handle"]`) {
		t.Errorf("two problems: got %d %s", code, body)
	}
	for _, p := range []string{"youtube", "shopify"} {
		s.expect("GET", "/posts/"+p+"/byshortcode/C1?handle=a", "", 200, failed("Platform not supported - "+p, 400))
	}
	s.expect("GET", "/posts/instagram/byshortcode/C%FF?handle=a", "", 200, failed("Post not found - C�", 404))
	s.expect("GET", at+"?handle=a%00", "", 200, failed("Post not found - C1", 404))
	s.post("C1", "17", nil, "")
	s.expect("GET", at+"?handle=", "", 200, failed("refresh_post_insights() argument 'handle' must not be empty", 500))
	s.expect("POST", at, "", 405, `{"detail":"Method Not Allowed"}`)
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were stored, want none", n)
	}
}

// A post that has its Graph id takes one task, another two.
func TestPost(t *testing.T) {
	s := open(t, Config{})
	for _, tt := range []struct {
		name, shortcode string
		before          any // post_id; nil: no row
		flows           string
	}{
		{"known", "C1", "17", "refresh_post_insights"},
		{"an id of another source", "C2", "31_4", "refresh_profile_by_token refresh_post_insights"},
		{"without an id", "C3", "", "refresh_profile_by_token refresh_post_insights"},
		{"unknown", "C4", nil, "refresh_profile_by_token refresh_post_insights"},
	} {
		if tt.before != nil {
			s.post(tt.shortcode, tt.before, nil, "")
		}
		want := strings.Fields(tt.flows)
		seen := s.work(len(want), social.Complete, true, func(k task) {
			reach := any(nil)
			if k.flow == "refresh_post_insights" {
				reach = 39100
			}
			s.post(tt.shortcode, "17", reach, "2026-11-25T09:30:00Z")
		})
		s.expect("GET", "/posts/instagram/byshortcode/"+tt.shortcode+"?handle=Wander&session=x", "", 200, shown(tt.shortcode, "17", "39100", ""))
		tasks := seen()
		if len(tasks) != len(want) {
			t.Fatalf("%s: %d tasks, want %v", tt.name, len(tasks), want)
		}
		for i, k := range tasks {
			if k.flow != want[i] || k.priority != priority || k.platform != "INSTAGRAM" {
				t.Errorf("%s: task %+v, want flow %s", tt.name, k, want[i])
			}
		}
		last := tasks[len(tasks)-1]
		if want := `{"handle": "Wander", "post_id": "17", "post_type": "reels", "shortcode": "` + tt.shortcode + `"}`; last.params != want {
			t.Errorf("%s: params %s, want %s", tt.name, last.params, want)
		}
	}

	for name, before := range map[string]any{"still unknown": nil, "still without an id": ""} {
		if before != nil {
			s.post("C9", before, nil, "")
		}
		seen := s.work(1, social.Complete, true, nil)
		s.expect("GET", "/posts/instagram/byshortcode/C9?handle=wander", "", 200, failed("Post not found - C9", 404))
		if k := seen(); len(k) != 1 || k[0].flow != "refresh_profile_by_token" {
			t.Errorf("%s: tasks %+v", name, k)
		}
	}
}

// What a failed task is answered with, and when older insights take its place.
func TestPostFailures(t *testing.T) {
	s := open(t, Config{})
	stale := func(at string) string { return shown("C1", "17", "39100", `,"stale":true,"as_of":"`+at+`"`) }
	for _, tt := range []struct {
		data, want string
		outage     bool
	}{
		{"(404, 'Post missing')", failed("Post missing", 404), false},
		{"(401, 'Invalid access token')", failed("Invalid access token", 401), false},
		{`(400, "it's no") graphapi: gone`, failed("it's no", 400), false},
		{"(409, 'malformed: x')", failed("malformed: x", 409), false},
		{"No cred is available at the moment", failed("No cred is available at the moment", 500), false},
		{"(503, 'Something went wrong')", failed("Something went wrong", 503), true},
		{"(0, 'Something went wrong')", failed("Something went wrong", 500), true},
	} {
		for _, stored := range []string{"", "2026-11-25T09:30:00.25Z", "no lineage"} {
			want := tt.want
			switch {
			case stored == "":
				s.post("C1", "17", nil, "")
			case stored == "no lineage":
				s.post("C1", "17", 39100, "")
				if tt.outage {
					want = stale("2026-11-20T10:00:00")
				}
			default:
				s.post("C1", "17", 39100, stored)
				if tt.outage {
					want = stale("2026-11-25T09:30:00.250000")
				}
			}
			seen := s.work(1, social.Failed, true, func(k task) {
				s.exec("UPDATE scrape_request_log SET data = $2 WHERE id = $1", k.id, tt.data)
			})
			s.expect("GET", "/posts/instagram/byshortcode/C1?handle=wander", "", 200, want)
			seen()
		}
	}
}

// Without an answer in time the task goes on, and the next request joins it.
func TestPostInTime(t *testing.T) {
	s := open(t, Config{Wait: 300 * time.Millisecond})
	s.post("C1", "17", nil, "")
	s.expect("GET", "/posts/instagram/byshortcode/C1?handle=wander", "", 200, failed(errTimeout.Error(), 500))
	s.post("C1", "17", 39100, "2026-11-25T09:30:00Z")
	s.expect("GET", "/posts/instagram/byshortcode/C1?handle=wander", "", 200, shown("C1", "17", "39100", `,"stale":true,"as_of":"2026-11-25T09:30:00"`))
	if n := s.tasks(); n != 1 {
		t.Errorf("%d tasks, want the one that both wait for", n)
	}
	if _, err := s.g.readPost(context.Background(), "C0"); err != nil {
		t.Errorf("no post: %v", err)
	}
	if outage(nil) || outage(errNoPost) || !outage(fmt.Errorf("x: %w", errTimeout)) || errors.Is(failure("x"), errTimeout) {
		t.Error("what an outage is")
	}
}
