package gateway

import (
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"beat/streams/social"
)

// A request that a process holds when it is drained is finished, and so is what
// comes before the load balancer has noticed.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Heartbeat: true})
	now := time.Now().UTC()
	s.account("held", now.Add(-48*time.Hour))
	answers := make(chan string, 3)
	get := func(handle string) {
		_, body := s.call("GET", "/profiles/instagram/byhandle/"+handle, "")
		answers <- body
	}
	go get("held")
	held := func(want map[string]int) {
		t.Helper()
		for until := time.Now().Add(5 * time.Second); !maps.Equal(s.g.Held(), want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("held are %v, want %v", s.g.Held(), want)
			}
		}
	}
	held(map[string]int{"refresh_profile_basic": 1})
	s.expect("PUT", "/heartbeat?beat=off", "", 410, "")
	if !s.g.Draining() {
		t.Fatal("it is not drained")
	}
	// Who can be told something is not made to wait; the refresh is queued.
	s.account("stale", now.Add(-48*time.Hour))
	began := time.Now()
	if _, body := s.call("GET", "/profiles/instagram/byhandle/stale?force_refresh=1", ""); !strings.Contains(body, `"handle":"stale"`) || !strings.Contains(body, `"biography":null`) {
		t.Errorf("a stored one: got %s", body)
	}
	if took := time.Since(began); took > time.Second || s.tasks() != 2 {
		t.Errorf("it took %v and left %d tasks, want 2", took, s.tasks())
	}
	// Who cannot is.
	go get("new")
	held(map[string]int{"refresh_profile_basic": 2})
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Header().Get("Connection") != "close" {
		t.Error("connections are kept")
	}
	// What has begun is held no more; the rest of the queue is nobody's.
	s.exec("UPDATE scrape_request_log SET status = 'PROCESSING' WHERE params->>'handle' = 'held'")
	held(map[string]int{"refresh_profile_basic": 1})
	s.exec("UPDATE scrape_request_log SET status = 'PENDING' WHERE params->>'handle' = 'held'")
	held(map[string]int{"refresh_profile_basic": 2})
	seen := s.work(3, social.Complete, true, func(k task) {
		s.account(k.params[len(`{"handle": "`):strings.Index(k.params, `", `)], now)
	})
	for range 2 {
		if body := <-answers; !strings.Contains(body, `"SUCCESS"`) {
			t.Errorf("held: got %s", body)
		}
	}
	seen()
	held(map[string]int{})

	s.expect("PUT", "/heartbeat?beat=on", "", 200, "")
	if s.g.Draining() {
		t.Error("it is still drained")
	}
	w = httptest.NewRecorder()
	s.h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Header().Get("Connection") != "" {
		t.Error("connections are closed")
	}
}

// When the time of a drain is over, who still waits is told what there is; the
// next heartbeat makes all as it was.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	if s.g.Draining() {
		t.Fatal("a process that has just begun is drained")
	}
	answers := make(chan string, 2)
	get := func(handle string) {
		_, body := s.call("GET", "/profiles/instagram/byhandle/"+handle, "")
		answers <- body
	}
	s.account("stale", "2020-01-01")
	go get("stale")
	go get("unknown")
	for until := time.Now().Add(5 * time.Second); s.g.Held()["refresh_profile_basic"] < 2 && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	s.g.Drain(200 * time.Millisecond)
	s.g.Drain(time.Hour) // it goes on as it was
	for range 2 {
		body := <-answers
		if !strings.Contains(body, `"handle":"stale"`) && body != failed("Profile not found - unknown", 404) {
			t.Errorf("got %s", body)
		}
	}
	s.g.fill()
	s.g.fill()
	s.exec("DELETE FROM scrape_request_log")
	seen := s.work(1, social.Complete, true, func(task) { s.account("unknown", time.Now().UTC()) })
	if _, body := s.call("GET", "/profiles/instagram/byhandle/unknown", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("afterwards: got %s", body)
	}
	seen()
}
