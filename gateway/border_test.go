package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"beat/gateway/access"
)

// tokensOfAll are a token of each scope, and its secret.
func tokensOfAll(t *testing.T) (tokens access.Tokens, secrets map[access.Scope]string) {
	t.Helper()
	secrets = map[access.Scope]string{}
	for s := access.Read; s <= access.Admin; s++ {
		secret, token, err := access.New(s.String(), s)
		if err != nil {
			t.Fatal(err)
		}
		tokens, secrets[s] = append(tokens, token), secret
	}
	return tokens, secrets
}

// Every operation, asked with every kind of token, on every kind of border.
func TestTokens(t *testing.T) {
	t.Parallel()
	tokens, secrets := tokensOfAll(t)
	secrets[access.Admin+1] = "beat_none" // is not known
	var log bytes.Buffer
	for _, border := range []Border{
		{},
		{Operators: true},
		{Operators: true, Tokens: func() access.Tokens { return tokens }},
		{Contract: true, Tokens: func() access.Tokens { return tokens }},
		{Operators: true, Contract: true, Tokens: func() access.Tokens { return tokens }},
	} {
		known := border.Tokens != nil
		g := New(slog.New(slog.NewTextHandler(&log, nil)), nil, nil, Config{Border: border, Metrics: http.NotFoundHandler(),
			Why:    func(context.Context, int64) (Why, error) { return Why{}, nil },
			Supply: func(context.Context, string, string, string) error { return nil }})
		h := g.Handler()
		for _, r := range g.routes() {
			for method, op := range r.verbs {
				if op.id == "getTask" || op.id == "listTasks" || op.id == "getChannelID" { // x is good enough for them, and there is no database
					continue
				}
				for scope := access.Open; scope <= access.Admin+1; scope++ {
					req := httptest.NewRequest(method, regexp.MustCompile(`\{\w+\}`).ReplaceAllString(r.path, "x"), strings.NewReader("{"))
					if scope > access.Open {
						req.Header.Set("Authorization", "bearer "+secrets[scope])
					}
					want := 0 // whatever the handler says
					if asked := border.Operators && op.contract == "" || border.Contract && op.contract != ""; asked && op.scope > access.Open {
						switch {
						case !known || scope == access.Open || scope > access.Admin:
							want = 401
						case scope < op.scope:
							want = 403
						}
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, req)
					challenge := w.Header().Get("WWW-Authenticate")
					if refused := w.Code == 401 || w.Code == 403; refused != (want > 0) || want > 0 && w.Code != want || strings.HasPrefix(challenge, `Bearer realm="beat"`) != refused ||
						refused && w.Header().Get("Content-Type") != "application/json" {
						t.Errorf("%+v: %s with %d: got %d %q %.200s, want %d", border, op.id, scope, w.Code, challenge, w.Body, want)
					}
					if scope > access.Open && strings.Contains(w.Body.String()+challenge, secrets[scope]) {
						t.Errorf("%s: a token is told: %s", op.id, w.Body)
					}
				}
			}
		}
	}
	if strings.Contains(log.String(), "beat_") {
		t.Errorf("a token is logged: %s", &log)
	}
	// Other schemes are no tokens.
	g := New(slog.New(slog.DiscardHandler), nil, nil, Config{Border: Border{Operators: true, Tokens: func() access.Tokens { return tokens }}, Metrics: http.NotFoundHandler()})
	for _, header := range []string{"", secrets[access.Admin], "Basic " + secrets[access.Admin], "Bearer", "Bearer " + secrets[access.Admin] + "x", "Bearer  " + secrets[access.Read]} {
		req := httptest.NewRequest("GET", "/metrics", nil)
		req.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		g.Handler().ServeHTTP(w, req)
		if want := map[bool]int{true: 404, false: 401}[strings.HasPrefix(header, "Bearer  ")]; w.Code != want {
			t.Errorf("%q: got %d, want %d", header, w.Code, want)
		}
	}
}

// Who is too many is told at once: on routes of the contract as one of its own
// errors, elsewhere with 429 and 503. What tells of the process is answered.
func TestTooMany(t *testing.T) {
	t.Parallel()
	tokens, secrets := tokensOfAll(t)
	held, release := make(chan struct{}, 16), make(chan struct{})
	g := New(slog.New(slog.DiscardHandler), nil, nil, Config{Metrics: http.NotFoundHandler(),
		Border: Border{Requests: 3, PerClient: 2, Tokens: func() access.Tokens { return tokens }},
		Why: func(context.Context, int64) (Why, error) {
			held <- struct{}{}
			<-release
			return Why{}, nil
		}})
	h := g.Handler()
	ask := func(method, path, addr, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(`{}`))
		r.RemoteAddr = addr
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	var all sync.WaitGroup
	hold := func(addr, token string) {
		all.Go(func() { ask("GET", "/tasks/1/why", addr, token) })
		<-held
	}
	expect := func(method, path, addr, token string, code int, body string) {
		t.Helper()
		w := ask(method, path, addr, token)
		if w.Code != code || body != "" && (w.Body.String() != body || w.Header().Get("Retry-After") != "1") {
			t.Errorf("%s %s of %s: got %d %s, Retry-After %q", method, path, addr, w.Code, w.Body, w.Header().Get("Retry-After"))
		}
	}
	const mine, other, third = "[2001:db8::1]:1", "192.0.2.7:1", "192.0.2.8:1"
	hold(mine, "")
	hold("[2001:db8::ffff]:2", "") // the same network
	expect("GET", "/tasks/1/why", mine, "", 429, `{"detail":"Too many of your requests are under way"}`)
	expect("POST", "/tokens", mine, "", 200, limited)
	expect("POST", "/tokens", other, "", 200, "")                  // there is room for others
	expect("POST", "/tokens", mine, secrets[access.Read], 200, "") // a token is a client of its own
	hold(other, "")
	expect("GET", "/tasks/1/why", third, "", 503, `{"detail":"Too many requests are under way"}`)
	expect("POST", "/tokens", third, "", 200, limited)
	for path, code := range map[string]int{"/heartbeat": 410, "/healthz": 200, "/readyz": 200, "/metrics": 404, "/docs": 200, "/openapi.json": 200, "/nowhere": 404} {
		expect("GET", path, third, "", code, "")
	}
	expect("PUT", "/heartbeat?beat=true", third, "", 200, "") // a deployment goes on
	close(release)
	all.Wait()
	expect("POST", "/tokens", mine, "", 200, "")
	if n := g.crowd.size(); n != 0 || len(g.crowd.of) != 0 {
		t.Errorf("%d requests are under way, %v", n, g.crowd.of)
	}
}

// A panic is 500 in the contract's form. The client learns nothing of it, the log
// where it was, and neither what it was about. An answer that has begun breaks off.
func TestPanic(t *testing.T) {
	t.Parallel()
	var log lines
	var begin bool
	g := New(slog.New(slog.NewTextHandler(&log, nil)), nil, nil, Config{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if begin {
			_, _ = io.WriteString(w, strings.Repeat("x", 10_000)) //nolint:errcheck // it is not read
		}
		w.Header().Set("X-Half", "geheim")
		panic(errors.New("https://x/?token=geheim: geheim"))
	})})
	srv := httptest.NewServer(g.Handler())
	defer srv.Close()
	res, err := http.Get(srv.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 500 || string(body) != "Internal Server Error" || res.Header.Get("X-Half") != "" || res.Header.Get("Content-Type") != plainText {
		t.Errorf("got %d %s %v, %v", res.StatusCode, body, res.Header, err)
	}
	if text := log.String(); strings.Contains(text, "geheim") || !strings.Contains(text, "request panicked") || !strings.Contains(text, "border_test.go") {
		t.Errorf("the log says %s", text)
	}
	begin = true
	res, err = http.Get(srv.URL + "/metrics")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("half an answer is taken for a whole one")
	}
}

// listen serves g as cmd/beat does.
func listen(t *testing.T, g *Gateway) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := g.Server()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(g.Listener(l)) //nolint:errcheck // it ends with the test
	}()
	t.Cleanup(func() {
		srv.Close() //nolint:errcheck // it is over
		<-done
	})
	return l.Addr().String()
}

// talk sends text over a connection and returns all that comes back until the
// other side hangs up.
func talk(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, text) //nolint:errcheck // it may have hung up already
	answer, err := io.ReadAll(c)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Errorf("nobody hangs up on %.60q", text)
	}
	return string(answer)
}

// Who is slow is hung up on, whether in the headers, in a body that is read, or in
// one that nobody wants; who is in time may take as long as he likes to be
// answered.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	g := New(slog.New(slog.DiscardHandler), nil, nil, Config{Border: Border{Header: 200 * time.Millisecond, Body: 400 * time.Millisecond},
		Why: func(ctx context.Context, _ int64) (Why, error) {

			time.Sleep(800 * time.Millisecond) // longer than any of them
			return Why{}, ctx.Err()
		}})
	addr := listen(t, g)
	for text, want := range map[string]string{
		"": "",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ":                                                              "",
		"POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{":                                           "HTTP/1.1 400 Bad Request\r\n",
		"POST /tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":":                        "HTTP/1.1 400 Bad Request\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{":                                           "HTTP/1.1 200 OK\r\n",
		"POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n{":                                      "HTTP/1.1 413 Request Entity Too Large\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("a", maxHeader+8192) + "\r\n\r\n":          "HTTP/1.1 431 Request Header Fields Too Large\r\n",
		"GET /tasks/1/why HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}":                  "HTTP/1.1 200 OK\r\n",
		"POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}":                      "HTTP/1.1 200 OK\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n":              "HTTP/1.1 501 Not Implemented\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n":                        "HTTP/1.1 400 Bad Request\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n": "HTTP/1.1 501 Not Implemented\r\n",
	} {
		t.Run(fmt.Sprintf("%.70q", text), func(t *testing.T) {
			t.Parallel()
			if got := talk(t, addr, text); !strings.HasPrefix(got, want) || want == "" && got != "" {
				t.Errorf("got %.300q, want %q", got, want)
			}
		})
	}
}

// Who does not read an answer is hung up on, and keeps no place.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	g := New(slog.New(slog.DiscardHandler), nil, nil, Config{Border: Border{Answer: 200 * time.Millisecond}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				ended <- err
				return
			}
		}
	})})
	c, err := net.Dial("tcp", listen(t, g))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("nobody hangs up on who does not read")
	}
}

// Answers that may be long are made a few at a time; one more waits for a moment,
// and is then one too many.
func TestHeavyAnswers(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	if err := s.g.heavy.Acquire(t.Context(), heavyPlaces); err != nil {
		t.Fatal(err)
	}
	s.expect("GET", "/list_scrape_data/42", "", 200, limited)
	s.expect("GET", "/scrape_request_log/flow/7", "", 200, failed("scrape log not found for scrape_id - 7", 404)) // is none
	time.AfterFunc(heavyWait/4, func() { s.g.heavy.Release(heavyPlaces) })
	s.expect("GET", "/list_scrape_data/42", "", 200, `{"account_id":"42","scrape_list":[]}`)
}

// Connections of one client are bounded, and those beyond are hung up on at once,
// so that they keep nobody from connecting.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	g := New(slog.New(slog.DiscardHandler), nil, nil, Config{Border: Border{Requests: 100, PerClient: 2}})
	addr := listen(t, g)
	var open []net.Conn
	for range connections * 2 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if got := talk(t, addr, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" {
		t.Errorf("one more is answered: %q", got)
	}
	open[0].Close() //nolint:errcheck // that is what is tested
	for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if got := talk(t, addr, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); strings.HasPrefix(got, "HTTP/1.1 200 OK") {
			break
		}
		if time.Now().After(until) {
			t.Fatal("a place that is free is not given to another")
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "[::1]:80": "::/64", "@": "@"} {
		if got := address(addr); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
}
