package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

const good = `{"status":{"key":"SUCCESS"},"socialAccounts":[{"socialUserId":"17841400000000000","graphAccessToken":"EAAB-secret","handle":"fern.film","platform":"INSTAGRAM"}]}`

// A service answers what it is told to, and counts.
type service struct {
	*httptest.Server
	calls atomic.Int64
}

func serve(t *testing.T, h http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body) //nolint:errcheck // a test
	}
}

func client(t *testing.T, url string) *Client {
	t.Helper()
	c, err := New(Config{BaseURL: url, BasicAuth: "beat:hunter2:x", Timeout: 300 * time.Millisecond, Retry: time.Millisecond, Open: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequest(t *testing.T) {
	var path, user, password string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.Method + " " + r.URL.EscapedPath()
		user, password, _ = r.BasicAuth()
		fmt.Fprint(w, good) //nolint:errcheck // a test
	})
	a, err := client(t, s.URL+"/").Account(t.Context(), "fern/film ü")
	if err != nil || a == nil {
		t.Fatal(a, err)
	}
	if want := "GET /identity-service/api/socialaccount/platform/INSTAGRAM/handle/fern%2Ffilm%20%C3%BC"; path != want {
		t.Errorf("asked %s, want %s", path, want)
	}
	if user != "beat" || password != "hunter2:x" {
		t.Errorf("asked as %s:%s", user, password)
	}
	if *a != (Account{"17841400000000000", "EAAB-secret", "fern.film", "INSTAGRAM"}) {
		t.Errorf("got %+v", *a)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", a, a), "secret") {
		t.Error("the account shows its token")
	}
}

func TestAnswers(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, c := range map[string]struct {
		status int
		body   string
		found  bool
		calls  int64
		says   string // of the error
	}{
		"good":               {200, good, true, 1, ""},
		"user id as number":  {200, replace(`"17841400000000000"`, "17841400000000000"), true, 1, ""},
		"more members":       {200, replace(`"handle"`, `"x":{},"handle"`), true, 1, ""},
		"not a success":      {200, replace("SUCCESS", "ERROR"), false, 1, ""},
		"no account":         {200, `{"status":{"key":"SUCCESS"},"socialAccounts":[]}`, false, 1, ""},
		"no list":            {200, `{"status":{"key":"SUCCESS"}}`, false, 1, ""},
		"no token":           {200, replace(`"graphAccessToken":"EAAB-secret",`, ""), false, 1, ""},
		"token is null":      {200, replace(`"EAAB-secret"`, "null"), false, 1, ""},
		"no user id":         {200, replace(`"17841400000000000"`, `""`), false, 1, ""},
		"no JSON":            {200, "<html>EAAB-secret", false, 1, ""},
		"nothing":            {200, "", false, 1, ""},
		"unknown handle":     {404, good, false, 1, ""},
		"another good":       {201, good, false, 1, ""},
		"a redirect":         {302, good, false, 1, ""},
		"password refused":   {401, "", false, 1, "refuses our user or password"},
		"an error of theirs": {500, "EAAB-secret", false, 3, "status 500"},
		"too many":           {429, "", false, 3, "status 429"},
	} {
		s := serve(t, answer(c.status, c.body))
		a, err := client(t, s.URL).Account(t.Context(), "fern.film")
		if (a != nil) != c.found || (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, %v", name, a, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: the error shows a secret: %v", name, err)
		}
		if got := s.calls.Load(); got != c.calls {
			t.Errorf("%s: %d calls, want %d", name, got, c.calls)
		}
	}
}

func TestTriesAgainThenGivesUp(t *testing.T) {
	var n atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(503)
			return
		}
		fmt.Fprint(w, good) //nolint:errcheck // a test
	})
	c := client(t, s.URL)
	if a, err := c.Account(t.Context(), "x"); a == nil || err != nil {
		t.Errorf("the third try: %v, %v", a, err)
	}
	// Five failures in a row: nobody asks for a while, then one does.
	n.Store(-100)
	_, err1 := c.Account(t.Context(), "x")
	_, err2 := c.Account(t.Context(), "x")
	before := s.calls.Load()
	_, err3 := c.Account(t.Context(), "x")
	if err1 == nil || err2 == nil || !errors.Is(err3, circuitbreaker.ErrOpen) || s.calls.Load() != before || before != 3+5 {
		t.Errorf("got %v, %v, %v after %d calls", err1, err2, err3, before)
	}
	n.Store(10)
	time.Sleep(150 * time.Millisecond)
	if a, err := c.Account(t.Context(), "x"); a == nil || err != nil {
		t.Errorf("after the break: %v, %v", a, err)
	}
}

func TestTimeouts(t *testing.T) {
	done := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	defer close(done)
	c := client(t, s.URL)
	began := time.Now()
	if _, err := c.Account(t.Context(), "x"); err == nil {
		t.Error("no error of a service that says nothing")
	}
	if took := time.Since(began); took > 3*time.Second || s.calls.Load() != 3 {
		t.Errorf("%d tries took %s", s.calls.Load(), took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Account(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own end: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {BaseURL: "identity"}, {BaseURL: "http://a:hunter2@h"}, {BaseURL: "http://h", BasicAuth: "hunter2"}, {BaseURL: "ftp://h"}} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", cfg.BaseURL, err)
		}
	}
}
