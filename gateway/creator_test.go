package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"beat/streams/social"
)

// given is the tokens that were supplied, as handle:token:user.
func given(cfg *Config) *[]string {
	var got []string
	cfg.Supply = func(_ context.Context, handle, token, user string) error {
		got = append(got, handle+":"+token+":"+user)
		if token == "bad" {
			return errors.New("no such token")
		}
		return nil
	}
	return &got
}

func TestTokenRequests(t *testing.T) {
	var cfg Config
	tokens := given(&cfg)
	s := open(t, cfg)
	const at = "/profiles/INSTAGRAM/byhandle/wander/"
	for _, route := range []string{"insights", "audienceinsights"} {
		s.expect("GET", at+route, "", 422, `{"detail":[{"loc":["query","token"],"msg":"field required","type":"value_error.missing"},`+
			`{"loc":["query","user_id"],"msg":"field required","type":"value_error.missing"}]}`)
		s.expect("GET", at+route+"?token=a", "", 422, `{"detail":[{"loc":["query","user_id"],"msg":"field required","type":"value_error.missing"}]}`)
		s.expect("GET", "/profiles/YOUTUBE/byhandle/wander/"+route+"?token=a&user_id=1", "", 404, `{"detail":"Not Found"}`)
		s.expect("POST", at+route, "", 405, `{"detail":"Method Not Allowed"}`)
	}
	s.expect("GET", at+"insights?token=bad&user_id=1", "", 200, failed("Error - the token was not accepted", 404))
	s.expect("GET", at+"audienceinsights?token=bad&user_id=1", "", 200, failed("Error: the token was not accepted", 404))
	s.expect("GET", at+"insights?token=a%00&user_id=1", "", 200, failed("Error - no such account", 404))
	if len(*tokens) != 2 || (*tokens)[0] != "wander:bad:1" {
		t.Errorf("supplied %q", *tokens)
	}
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were stored, want none", n)
	}
}

// R5 answers from the rows that the refresh wrote, and averages over the media
// that came with it.
func TestCreatorInsights(t *testing.T) {
	var cfg Config
	tokens := given(&cfg)
	s := open(t, cfg)
	seen := s.work(1, social.Complete, true, func(task) {
		s.account("wander", "2026-11-26 10:00:00")
		s.exec(`INSERT INTO instagram_post (shortcode, profile_id, post_type, likes, comments, publish_time, updated_at) VALUES
			('C1', 'p-wander', 'image', 100, 5, '2026-11-20', '2026-11-26 10:00:00'),
			('C2', 'p-wander', 'image', 900, 9, '2026-11-21', '2026-11-25 10:00:00')`)
	})
	// 100·(100+5)/28754 with one static post, which C2 is not: it was not in the answer.
	s.expect("GET", "/profiles/instagram/byhandle/Wander/insights?token=a&user_id=1", "", 200,
		`{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":{"handle":"wander","followers":28754,"following":611,"media_count":412,`+
			`"post_metrics":{"static":{"avg_engagement":0.36516658551853654,"avg_likes":100,"avg_comments":5,"avg_reach":527},"reels":{},`+
			`"story":{"avg_reach":792},"all":{"avg_engagement":0.36516658551853654,"avg_likes":100,"avg_comments":5}}}}`)
	k := seen()
	if len(k) != 1 || k[0].flow != "refresh_profile_by_token" || k[0].params != `{"handle": "wander"}` || k[0].priority != priority {
		t.Errorf("tasks %+v", k)
	}
	if len(*tokens) != 1 || (*tokens)[0] != "wander:a:1" {
		t.Errorf("supplied %q", *tokens)
	}
	seen = s.work(1, social.Failed, true, func(k task) {
		s.exec("UPDATE scrape_request_log SET data = '(400, ''Invalid username'')' WHERE id = $1", k.id)
	})
	s.expect("GET", "/profiles/INSTAGRAM/byhandle/other/insights?token=a&user_id=1", "", 200, failed("Error - (400, 'Invalid username')", 404))
	seen()
}

// R6 tells a fresh audience, an older one while Graph does not answer, and an
// error for everything else (W1.5).
func TestAudienceInsights(t *testing.T) {
	var cfg Config
	given(&cfg)
	cfg.Wait = 3 * time.Second
	s := open(t, cfg)
	const at = "/profiles/INSTAGRAM/byhandle/wander/audienceinsights?token=a&user_id=1"
	shown := func(more string) string {
		return `{"status":{"type":"SUCCESS","message":"Profile Retrieved"},"profile":{"handle":"wander","audience_data":{"city":{"Pune, Maharashtra":1810},` +
			`"gender_age":{"male":{"18-24":5210}}}` + more + `}}`
	}
	fail := func(data string) func() []task {
		return s.work(1, social.Failed, true, func(k task) {
			s.exec("UPDATE scrape_request_log SET data = $2 WHERE id = $1", k.id, data)
		})
	}
	seen := fail("(503, 'Something went wrong')")
	s.expect("GET", at, "", 200, failed("Error: (503, 'Something went wrong')", 404))
	seen()
	seen = s.work(1, social.Complete, true, func(task) {
		s.exec(`INSERT INTO instagram_profile_insights (profile_id, handle, audience_city, audience_gender_age, updated_at, lineage)
			VALUES ('p-wander', 'wander', '{"Pune, Maharashtra":1810}', '{"male":{"18-24":5210}}', '2026-11-26 10:00:00',
			'{"a":[["graphapi","2026-11-26T09:30:00Z","r1",1]],"c":{"audience_city":0}}')`)
	})
	s.expect("GET", at, "", 200, shown(""))
	if k := seen(); len(k) != 1 || k[0].flow != "refresh_profile_insights" || k[0].params != `{"handle": "wander"}` {
		t.Errorf("tasks %+v", k)
	}
	seen = fail("(503, 'Something went wrong')")
	s.expect("GET", at, "", 200, shown(`,"stale":true,"as_of":"2026-11-26T09:30:00"`))
	seen()
	seen = fail("(401, 'Invalid access token')")
	s.expect("GET", at, "", 200, failed("Error: (401, 'Invalid access token')", 404))
	seen()
}
