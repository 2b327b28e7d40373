package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// hostileRequests is how many there are, beside the slow ones.
const hostileRequests = 10_000

// A hostile is one request as it goes over the wire.
type hostile struct {
	kind string
	text string
	gone bool // its client does not wait for the answer
}

// mayStore marks, in a body or handle, what has to be stored if its answer says so;
// mustNot what no request may ever store.
const (
	mayStore = "fine"
	mustNot  = "evil"
)

// nasty are texts that somebody will send.
var nasty = []string{"", " ", ".", "..", "%", "%2", "%zz", "%00", "%2F", "%2e%2e%2f", "%FF%FE", "%ED%A0%80", "%C0%AF", "%0d%0aSet-Cookie:%20a=b", "'", "';DROP%20TABLE%20scrape_request_log--",
	"$1", "{{.}}", "%3Cscript%3E", "NaN", "-1", "0x10", "1e309", "99999999999999999999", "9223372036854775807", "true", "null", "*", ">", "a.*", "😀", "%F0%9F%98%80", "\xff\xfe",
	"a;b", "a&b", "a=b", "~root", "..;/", "%5c..%5c", strings.Repeat("a", 600), strings.Repeat("%41", 3000), strings.Repeat("../", 200)}

// What is long is made once.
var (
	everyRoute   = table()
	deep, deeper = strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 20_000)
	tooLarge     = strings.Repeat("a", maxBody+1)
	extension    = "1;" + strings.Repeat("x", 20_000) + "\r\na\r\n0\r\n\r\n"
	nastyHeaders = []string{
		"X-Large: " + strings.Repeat("a", 100_000) + "\r\n", strings.Repeat("X-Many: a\r\n", 3000), "X-Bb-Account-Id: \xff\xfe\x01\r\n", "X-Bb-Account-Id: " + strings.Repeat("9", 5000) + "\r\n",
		"Host: y\r\n", "X Space: a\r\n", "X-Fold: a\r\n b\r\n", "X-Null: a\x00b\r\n", ": a\r\n", "Authorization: Bearer " + "\x01\xffbeat_" + "\r\n", "Authorization: Basic eDp5\r\n",
		"Cookie: " + strings.Repeat("a=b; ", 2000) + "\r\n", "Range: bytes=0-1,2-3,-1\r\n", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
		"Expect: 100-continue\r\n", "Expect: 200-ok\r\n", "X-HTTP-Method-Override: DELETE\r\n", "X-Forwarded-For: 127.0.0.1\r\nX-Real-Ip: ::1\r\n", "Content-Length: -1\r\n", "Te: trailers\r\n",
		"Accept-Encoding: gzip, br, " + strings.Repeat("x,", 1000) + "\r\n", "If-None-Match: *\r\n", "Connection: close, X-Bb-Account-Id\r\n",
	}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func garbage(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// generators are the kinds of hostile requests, each as often as any other.
var generators = []struct {
	kind string
	make func(r *rand.Rand, n int) string
}{
	{"path", func(r *rand.Rand, _ int) string {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString("/" + pick(r, append([]string{"profiles", "instagram", "byhandle", "tasks", "why", "posts", "metrics"}, nasty...)))
		}
		return request(pick(r, []string{"GET", "POST", "PUT", "HEAD", "OPTIONS", "TRACE"}), b.String(), "", "")
	}},
	{"garbage path", func(r *rand.Rand, _ int) string { return request("GET", "/"+garbage(r, 1+r.IntN(300)), "", "") }},
	{"parameters", func(r *rand.Rand, _ int) string {
		route := pick(r, everyRoute)
		segments := strings.Split(route.path, "/")
		for i, s := range segments {
			switch {
			case s == "{platform}" && r.IntN(4) > 0:
				segments[i] = pick(r, []string{"instagram", "youtube", "shopify"})
			case strings.HasPrefix(s, "{"):
				segments[i] = pick(r, nasty)
			}
		}
		var query []string
		for range r.IntN(8) {
			query = append(query, pick(r, []string{"full_refresh", "force_refresh", "urgent", "third_party_fallback", "handle", "profile_id", "size", "token", "user_id", "access_token",
				"social_user_id", "platform", "type", "session", "post_types", "beat", "%", ""})+pick(r, []string{"=", "", "[]=", "=="})+pick(r, nasty))
		}
		method := pick(r, []string{"GET", "POST", "GET", "GET"}) // PUT turns the heartbeat off
		return request(method, strings.Join(segments, "/")+"?"+strings.Join(query, pick(r, []string{"&", ";", "&&"})), "", "")
	}},
	{"bad body", func(r *rand.Rand, n int) string {
		handle := fmt.Sprintf("%s%d", mustNot, n)
		task := func(flow, platform, params string) string {
			return fmt.Sprintf(`{"flow":%s,"platform":%s,"params":%s}`, flow, platform, params)
		}
		const byHandle, instagram = `"refresh_profile_by_handle"`, `"INSTAGRAM"`
		good := `{"handle":"` + handle + `"}`
		return request("POST", pick(r, []string{"/scrape_request_log/flow/x", "/scrape_request_log/flow/update/7", "/tokens"}), pick(r, []string{"", "Content-Type: application/json\r\n",
			"Content-Type: text/xml\r\n", "Content-Encoding: gzip\r\n"}), pick(r, []string{
			task(`"nope"`, instagram, good), task(byHandle, `"YOUTUBE"`, good), task(byHandle, `"instagram.*"`, good), task(`7`, instagram, good), task(`null`, instagram, good),
			task(byHandle, instagram, `{}`), task(byHandle, instagram, `[]`), task(byHandle, instagram, `"`+handle+`"`), task(byHandle, instagram, `{"handle":""}`),
			task(byHandle, instagram, `{"handle":["`+handle+`"]}`), task(byHandle, instagram, `{"handle":"`+handle+`","also":1}`), task(byHandle, instagram, `{"handle":"`+handle+`\u0000"}`),
			task(byHandle, instagram, `{"handle":"`+handle+`\u0007"}`), task(byHandle, instagram, `{"handle":"`+handle+strings.Repeat("a", 600)+`"}`),
			task(byHandle, instagram, "{\"handle\":\""+handle+"\xff\"}"), task(byHandle, instagram, good) + "}", task(byHandle, instagram, good)[:40],
			`{"flow":"refresh_profile_by_handle"}`, `[` + task(byHandle, instagram, good) + `]`, `null`, ` `, `{`, `"`, deep, deeper,
			`{"retry_count":1e999,"flow":"` + handle + `"}`, "\xef\xbb\xbf" + task(byHandle, instagram, good), garbage(r, r.IntN(2000)),
			strings.Replace(task(byHandle, instagram, good), `{`, `{"priority":"x","picked_at":"yesterday",`, 1),
			`{"flow":"f","platform":"INSTAGRAM","params":{},"retry_count":99999999999,"status":"PROCESSING"}`,
		}))
	}},
	{"flipped body", func(r *rand.Rand, n int) string {
		body := []byte(fmt.Sprintf(`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"%s%d"},"reason":"a"}`, mayStore, n))
		for range r.IntN(3) {
			body[r.IntN(len(body))] ^= 1 << r.IntN(8)
		}
		return request("POST", "/scrape_request_log/flow/refresh_profile_by_handle", "", string(body))
	}},
	{"headers", func(r *rand.Rand, n int) string {
		headers := pick(r, nastyHeaders)
		body := ""
		if r.IntN(2) == 0 {
			body = fmt.Sprintf(`{"flow":"nope","platform":"INSTAGRAM","params":{"handle":"%s%d"}}`, mustNot, n)
		}
		return request(pick(r, []string{"GET", "POST"}), pick(r, []string{"/healthz", "/metrics", "/scrape_request_log/flow/x", "/profiles/instagram/byid/4815162342"}), headers, body)
	}},
	{"smuggling", func(r *rand.Rand, n int) string {
		inner := request("POST", "/scrape_request_log/flow/x", "", fmt.Sprintf(`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"%s%d"}}`, mustNot, n))
		head := "POST /tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		length := fmt.Sprintf("Content-Length: %d\r\n", len(inner))
		chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
		return pick(r, []string{
			head + length + "\r\n" + inner, head + "Transfer-Encoding: chunked\r\n\r\n" + chunked,
			head + length + "Transfer-Encoding: chunked\r\n\r\n" + chunked, head + "Transfer-Encoding: chunked\r\n" + length + "\r\n0\r\n\r\n" + inner,
			head + "Transfer-Encoding: xchunked\r\n\r\n" + chunked, head + "Transfer-Encoding: chunked, identity\r\n" + length + "\r\n" + inner, head + "Transfer-Encoding : chunked\r\n\r\n" + chunked,
			head + "Transfer-Encoding:\x0bchunked\r\n\r\n" + chunked, head + "Content-Length: 0\r\n" + length + "\r\n" + inner, head + "Content-Length: +5\r\n\r\n" + inner,
			head + "Content-Length: 0x10\r\n\r\n" + inner, head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + inner, head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + inner,
			head + "Transfer-Encoding: chunked\r\n\r\n" + extension, strings.ReplaceAll(head, "\r\n", "\n") + "\n" + inner,
			"POST /tokens HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked, "POST http://y/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /healthz\r\n\r\n", "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET  /healthz  HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + garbage(r, 200), garbage(r, 500), "\r\n\r\n\r\n",
		})
	}},
	{"large body", func(r *rand.Rand, n int) string {
		if r.IntN(12) > 0 { // costly
			return request("POST", "/tokens", "", `{"a":"`+tooLarge[:r.IntN(30_000)]+`"}`)
		}
		body := fmt.Sprintf(`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"%s%d"},"reason":"%s"}`, mustNot, n, tooLarge)
		if r.IntN(2) == 0 {
			return fmt.Sprintf("POST /scrape_request_log/flow/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}
		return request("POST", "/scrape_request_log/flow/x", "", body)
	}},
}

// request is one that is well formed if its parts are.
func request(method, path, headers, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s", method, path, headers)
	if body != "" || method == "POST" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	return b.String() + "\r\n" + body
}

// tooSlow is in the answer of a machine whose database is too slow for the load.
const tooSlow = "the database did not answer in time"

// A tally is what has come of the requests.
type tally struct {
	mu      sync.Mutex
	codes   map[int]int
	wrong   []string
	created int64 // tasks that a client was told of
	unknown int64 // bodies that may have been stored, of which nobody was told
}

func (a *tally) add(h hostile, code int, header http.Header, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.codes[code]++
	if strings.HasPrefix(body, `{"status":{"type":"SUCCESS","message":"Scrape request log added"}`) {
		a.created++
	} else if (code == 0 || strings.Contains(body, tooSlow)) && h.kind == "flipped body" {
		a.unknown++
	}
	// 501 and 505 are net/http's, of what is no request that any route could have.
	allowed := []int{0, 200, 307, 400, 404, 405, 410, 413, 422}
	switch h.kind {
	case "headers":
		allowed = append(allowed, 417, 431)
	case "smuggling":
		allowed = append(allowed, 501, 505)
	}
	kind := header.Get("Content-Type")
	jsonExpected := code == 422 || code == 404 || code == 405 && !strings.Contains(h.text, "OPTIONS *")
	switch {
	case !slices.Contains(allowed, code), jsonExpected && kind != "application/json",
		kind == "application/json" && code != 200 && !strings.HasPrefix(h.text, "HEAD") && !json.Valid([]byte(body)),
		strings.Contains(body, "goroutine ") && !strings.Contains(h.text, "/metrics"), strings.Contains(body, ".go:"), header.Get("Set-Cookie") != "":
		if len(a.wrong) < 20 {
			a.wrong = append(a.wrong, fmt.Sprintf("%s: %.200q: got %d %q %.200q", h.kind, h.text, code, kind, body))
		}
	}
}

// send sends one request and reads its answer: code 0 if there is none.
func (h hostile) send(addr string) (code int, header http.Header, body string, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, nil, "", err
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0)              //nolint:errcheck // only saves ports
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // it is shown by what comes next
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(conn, h.text) //nolint:errcheck // who is refused is hung up on
	}()
	defer func() { conn.Close(); <-written }()
	if h.gone {
		<-written
		return 0, nil, "", nil
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: strings.SplitN(h.text, " ", 2)[0]})
	if err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(in, nil)
	}
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // it is what conn returns
		return 0, nil, "", fmt.Errorf("no answer to %s %.200q", h.kind, h.text)
	}
	if err != nil {
		return 0, nil, "", nil //nolint:nilerr // it was hung up on
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) //nolint:errcheck // it may be cut off when the request was
	return res.StatusCode, res.Header, string(b), nil
}

// loris opens a connection again and again and says a byte at a time.
func loris(ctx context.Context, addr, text string) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte{text[min(i, len(text)-1)]}); err != nil {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		stop()
		conn.Close()
	}
}

// heap is what is reachable.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what had finalizers, too
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Issue 6, acceptance 6: ten thousand hostile requests, with clients beside them
// that are slow at all that one can be slow at, leave the gateway as it was. The
// requests follow from the seed. It is not parallel: it counts goroutines and
// memory.
func TestHostileRequests(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := open(t, Config{
		Wait: 10 * time.Millisecond, Border: Border{Header: 2 * time.Second, Body: 2 * time.Second, Answer: 2 * time.Second},
		Metrics:  promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		Supply:   func(context.Context, string, string, string) error { return nil },
		Validate: func(context.Context, Token) error { return ErrTokenInvalid },
		Why:      func(_ context.Context, id int64) (Why, error) { return Why{ID: id}, schedule.ErrNoTask },
		Send:     &retold{},
	})
	reg.MustRegister(s.g.Collectors()...)
	s.g.lg = slog.New(slog.NewTextHandler(io.Discard, nil))
	s.exec(theAccount)
	s.exec(`INSERT INTO scrape_request_log (id, flow, platform, params, status, data, account_id) SELECT -i, 'f', 'INSTAGRAM', '{}', 'COMPLETE', repeat('x', 2000), 'many' FROM generate_series(1, 3000) i`)
	addr := listen(t, s.g)
	normal := hostile{"normal", request("GET", "/profiles/instagram/byid/4815162342", "", ""), false}
	usual := func() string {
		t.Helper()
		code, _, body, err := normal.send(addr)
		if err != nil || code != 200 || !strings.Contains(body, `"handle":"wanderlens.studio"`) {
			t.Fatalf("a normal request: got %d %s, %v", code, body, err)
		}
		return body
	}
	before := usual()

	result := &tally{codes: map[int]int{}}
	r := rand.New(rand.NewPCG(6, 6))
	send := func(n int) {
		work := make(chan hostile, 64)
		var all sync.WaitGroup
		for range 64 { // many wait to be hung up on
			all.Go(func() {
				for h := range work {
					code, header, body, err := h.send(addr)
					if err != nil {
						t.Error(err)
						continue
					}
					if h.gone {
						continue
					}
					result.add(h, code, header, body)
					// On a loaded machine it may not be sent (0), or not be answered in time.
					if h.kind == normal.kind && code != 0 && body != before && !strings.Contains(body, tooSlow) {
						t.Errorf("a normal request between hostile ones: got %d %s", code, body)
					}
				}
			})
		}
		for i := range n {
			g := generators[i%len(generators)]
			h := hostile{g.kind, g.make(r, i), g.kind != "flipped body" && r.IntN(20) == 0}
			if i%100 == 99 {
				h = normal
			}
			work <- h
		}
		close(work)
		all.Wait()
	}
	send(len(generators) * 40) // so that pools are filled and caches warm
	settled := func() int {
		n := runtime.NumGoroutine()
		for range 50 { // connections end a little later than their answers
			time.Sleep(10 * time.Millisecond)
			n = min(n, runtime.NumGoroutine())
		}
		return n
	}
	goroutines, memory := settled(), heap()

	slow, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 80 {
		text := []string{"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaa", request("POST", "/tokens", "", "{"+strings.Repeat(" ", 5000)),
			"POST /tokens HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n \r\n1\r\n \r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"}[i%4]
		clients.Go(func() { loris(slow, addr, text) })
	}
	for i := range 24 { // these read nothing of a long answer
		path := "/docs"
		if i < heavyPlaces*3/4 {
			path = "/list_scrape_data/many?size=3000"
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, request("GET", path, "", "")); err != nil {
			t.Fatal(err)
		}
		defer context.AfterFunc(slow, func() { conn.Close() })()
	}
	send(hostileRequests)
	during := runtime.MemStats{}
	runtime.ReadMemStats(&during)
	stop()
	clients.Wait()

	if len(result.wrong) > 0 {
		t.Errorf("answers that nothing defines:\n%s", strings.Join(result.wrong, "\n"))
	}
	if result.codes[422] == 0 || result.codes[413] == 0 || result.codes[400] == 0 || result.codes[431] == 0 || result.created == 0 {
		t.Errorf("the requests were not what they should be: %v", result.codes)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": `{"ready":true}`} {
		if code, _, body, err := (hostile{"", request("GET", path, "", ""), false}).send(addr); err != nil || code != 200 || body != want {
			t.Errorf("%s: got %d %s, %v", path, code, body, err)
		}
	}
	if after := usual(); after != before {
		t.Errorf("a normal request\n got %s\nwant %s", after, before)
	}
	for until := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want the %d of before:\n%s", runtime.NumGoroutine(), goroutines, bytes.TrimSpace(stacks[:runtime.Stack(stacks, true)]))
		}
	}
	if n := s.g.crowd.size(); n != 0 || len(s.g.waiters.by) != 0 {
		t.Errorf("%d requests are under way", n)
	}
	const most = 4 << 20
	grown := int64(heap()) - int64(memory)
	t.Logf("codes %v; heap %d KiB before, %+d KiB after, %d KiB in use under fire", result.codes, memory>>10, grown>>10, during.HeapInuse>>10)
	if grown > most {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	s.onlyGoodTasks(result.created, result.unknown)
}

// onlyGoodTasks: what is stored is what a flow takes, and of those that asked for it.
func (s *site) onlyGoodTasks(created, unknown int64) {
	s.t.Helper()
	rows, err := s.db.Query(context.Background(), `SELECT flow, platform, params::text, join_key IS NULL FROM scrape_request_log WHERE id > 0`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var asked int64
	for rows.Next() {
		var name, platform, params string
		var byBody bool
		if err := rows.Scan(&name, &platform, &params, &byBody); err != nil {
			s.t.Fatal(err)
		}
		f, ok := flow.ByName(name)
		if _, err := f.Decode(json.RawMessage(params)); !ok || err != nil || social.Platform(platform) != f.Platform || strings.Contains(params, mustNot) {
			s.t.Errorf("stored is %s %s %.200s, %v", name, platform, params, err)
		}
		if byBody {
			asked++
		}
	}
	if err := rows.Err(); err != nil || asked < created || asked > created+unknown {
		s.t.Errorf("%d tasks are stored, of which %d clients were told, and %d were told nothing, %v", asked, created, unknown, err)
	}
}
