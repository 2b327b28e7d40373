package gateway

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"

	"beat/providers/ratelimit"
	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

const limited = `{"status":{"type":"ERROR","message":"Concurrency Limit Exceeded","code":2}}`

// A limitedSite is a site whose limits are counted in a corner of the suite's
// Redis.
type limitedSite struct {
	*site
	rdb    *redis.Client
	prefix string
	log    *lines
}

// lines is a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openLimited(t *testing.T, cfg Config) *limitedSite {
	t.Helper()
	rdb := dialRedis(t, servertest.Redis(t))
	s := &limitedSite{rdb: rdb, prefix: servertest.RedisPrefix(t) + ratelimit.Requests, log: &lines{}}
	if cfg.Limiter == nil {
		cfg.Limiter = ratelimit.New(rdb, s.prefix)
	}
	s.site = open(t, cfg)
	s.g.lg = slog.New(slog.NewTextHandler(s.log, nil))
	return s
}

func dialRedis(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	rdb := redis.NewClient(o)
	t.Cleanup(func() { rdb.Close() }) //nolint:errcheck // the test is over
	return rdb
}

// count reads a counter.
func count(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func named(t *testing.T, name string) ratelimit.Spec {
	t.Helper()
	s, ok := LimitNamed(name)
	if !ok {
		t.Fatalf("no limit %s", name)
	}
	return s
}

// use counts n calls of a limit the way the existing system does.
func (s *limitedSite) use(name string, n int) {
	s.t.Helper()
	spec := named(s.t, name)
	p := s.rdb.TxPipeline()
	p.IncrBy(s.t.Context(), spec.Key(s.prefix), int64(n))
	p.ExpireNX(s.t.Context(), spec.Key(s.prefix), spec.Window())
	if _, err := p.Exec(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *limitedSite) used(name string) int {
	s.t.Helper()
	st, err := s.g.cfg.Limiter.Show(s.t.Context(), named(s.t, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return st.Used
}

// refreshes asks for a full refresh that is needed, and does the work.
func (s *limitedSite) refreshes(handle string) {
	s.t.Helper()
	seen := s.work(1, "COMPLETE", true, func(task) { s.account(handle, time.Now().UTC()) })
	if code, body := s.call("GET", "/profiles/instagram/byhandle/"+handle+"?full_refresh=1&force_refresh=1", ""); code != 200 || !strings.Contains(body, `"SUCCESS"`) {
		s.t.Errorf("%s: got %d %s", handle, code, body)
	}
	seen()
}

func (s *limitedSite) refuses(handle string) {
	s.t.Helper()
	s.expect("GET", "/profiles/instagram/byhandle/"+handle+"?full_refresh=1&force_refresh=1", "", 200, limited)
}

func TestLimitKeysOfTheContract(t *testing.T) {
	for name, want := range map[string]string{
		"refresh_profile_insta_daily":              "beat_server_eb108c07d0c75985efcb168f42855209",
		"refresh_profile_insta_per_minute":         "beat_server_1c7e3c97574e1cc90b0a88e4fc77e734",
		"refresh_profile_insta_per_handle_example": "beat_server_4ea84fbe79c552f2d716dfab3819c43a",
		"refresh_profile_insta_per_handle_natgeo":  "beat_server_caa02d2b688c595cb63ed6beabede03e",
		"refresh_profile_insta_by_id_daily":        "beat_server_dc4313a7aa7c55358a035ba775ad4078",
		"refresh_profile_insta_by_id_per_minute":   "beat_server_98cf7220a4596896b6dc85c0b65c53c8",
		"refresh_profile_insta_per_id_123":         "beat_server_e3d95e56d6121086a0a65e791f39c784",
		"refresh_profile_insta_per_id_787132":      "beat_server_7cf71e3eb7d978d5ece88a6c1056b7df",
		"refresh_profile_yt_by_id_daily":           "beat_server_72bfb8717795ea59a526e2727c9419d3",
		"refresh_profile_yt_by_id_per_minute":      "beat_server_016f307789878fe5a242658a8869f6d9",
		"refresh_profile_yt_per_id_UC123":          "beat_server_d4e90e79c71cac32343dfac59f4af877",
	} {
		s, ok := LimitNamed(name)
		if got := s.Key(ratelimit.Requests); !ok || s.Name != name || got != want {
			t.Errorf("%s: got %v, %+v, key %s, want key %s", name, ok, s, got, want)
		}
	}
	for _, name := range []string{"", "refresh_profile_insta_dailyx", "refresh_profile_insta_per_handle_", "rocketapi"} {
		if s, ok := LimitNamed(name); ok {
			t.Errorf("%q: got %+v, want no limit", name, s)
		}
	}
}

func TestW9_1_DailyBudgetUsedUp(t *testing.T) {
	s := openLimited(t, Config{})
	s.use("refresh_profile_insta_daily", 20_000)
	s.account("fresh", time.Now().UTC())
	s.refuses("any")
	s.expect("GET", "/social-profile-service/instagram/byhandle/unknown?full_refresh=1", "", 200, limited)
	if n := s.tasks(); n != 0 {
		t.Errorf("%d tasks were stored, want none", n)
	}
	if _, body := s.call("GET", "/profiles/instagram/byhandle/fresh?full_refresh=1", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("a fresh profile: got %s", body)
	}
	for name, want := range map[string]int{
		"refresh_profile_insta_daily": 20_000, "refresh_profile_insta_per_minute": 0, "refresh_profile_insta_per_handle_any": 0,
	} {
		if got := s.used(name); got != want {
			t.Errorf("%s: got %d used, want %d", name, got, want)
		}
	}
	if got := count(t, s.g.metrics.refused.WithLabelValues("refresh_profile_insta_daily")); got != 2 {
		t.Errorf("%v refusals were counted, want 2", got)
	}
}

func TestW9_2_TheRestIsNotLimited(t *testing.T) {
	s := openLimited(t, Config{})
	for _, l := range Limits {
		if !l.Entity {
			s.use(l.Spec.Name, l.Spec.Requests)
		}
	}
	if code, body := s.call("POST", "/scrape_request_log/flow/x",
		`{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"x"}}`); code != 200 || !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("a queued task: got %d %s", code, body)
	}
	s.exec("UPDATE scrape_request_log SET status = 'COMPLETE'")
	seen := s.work(1, "COMPLETE", true, func(task) { s.account("basic", time.Now().UTC()) })
	if _, body := s.call("GET", "/profiles/instagram/byhandle/basic", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("a basic refresh: got %s", body)
	}
	seen()
	seen = s.work(1, "COMPLETE", true, func(task) {
		s.exec("INSERT INTO youtube_account (channel_id, updated_at) VALUES ('UCnew', now() AT TIME ZONE 'UTC')")
	})
	if _, body := s.call("GET", "/profiles/youtube/byhandle/UCnew?full_refresh=1", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("a channel: got %s", body)
	}
	seen()
}

func TestW9_3_MinuteAndHandle(t *testing.T) {
	s := openLimited(t, Config{})
	s.use("refresh_profile_insta_per_handle_twice", 1)
	s.refuses("twice")
	s.refuses("TWICE") // the same handle
	s.use("refresh_profile_insta_per_minute", 59)
	s.refreshes("the60th")
	s.refuses("the61st")
	s.refuses("the62nd")
	if day, minute := s.used("refresh_profile_insta_daily"), s.used("refresh_profile_insta_per_minute"); day != 1 || minute != 60 {
		t.Errorf("got %d of the day and %d of the minute used, want 1 and 60", day, minute)
	}
	if n := s.tasks(); n != 1 {
		t.Errorf("got %d tasks, want 1", n)
	}
}

// R3 has limits of its own, of each platform; they are taken from only when a
// refresh is needed.
func TestLimitsByID(t *testing.T) {
	s := openLimited(t, Config{})
	for _, c := range []struct{ platform, id, prefix, fresh string }{
		{"instagram", "787132", "refresh_profile_insta_", "INSERT INTO instagram_account (profile_id, handle, updated_at) VALUES ($1::text, $1::text, '2100-01-01')"},
		{"youtube", "UC123", "refresh_profile_yt_", "INSERT INTO youtube_account (channel_id, updated_at) VALUES ($1, '2100-01-01')"},
	} {
		path := "/profiles/" + c.platform + "/byid/"
		get := func(id, want string) {
			t.Helper()
			if code, body := s.call("GET", path+id, ""); code != 200 || !strings.Contains(body, want) {
				t.Errorf("%s%s: got %d %s, want %s", path, id, code, body, want)
			}
		}
		used := func(day, minute, id int) {
			t.Helper()
			for name, want := range map[string]int{"by_id_daily": day, "by_id_per_minute": minute, "per_id_" + c.id: id} {
				if got := s.used(c.prefix + name); got != want {
					t.Errorf("%s: got %d used, want %d", c.prefix+name, got, want)
				}
			}
		}
		seen := s.work(1, "COMPLETE", true, nil)
		get(c.id, "profile not found for id - "+c.id)
		seen()
		used(1, 1, 1)
		get(c.id, limited) // within the second; nothing is consumed
		used(1, 1, 1)
		s.use(c.prefix+"by_id_per_minute", 59)
		get("other1", limited)
		used(1, 60, 1)
		if err := s.g.cfg.Limiter.Reset(t.Context(), named(t, c.prefix+"by_id_per_minute")); err != nil {
			t.Fatal(err)
		}
		s.use(c.prefix+"by_id_daily", 19_999)
		get("other2", limited)
		s.exec(c.fresh, "freshone")
		get("freshone", `"SUCCESS"`)
		if got := count(t, s.g.metrics.refused.WithLabelValues(c.prefix+"by_id_daily")); got != 1 {
			t.Errorf("%s: %v refusals of the day, want 1", c.platform, got)
		}
	}
	if n := s.tasks(); n != 2 {
		t.Errorf("got %d tasks, want 2", n)
	}
	if day := s.used("refresh_profile_insta_daily"); day != 0 { // R4 has none
		t.Errorf("%d of R1's day are used", day)
	}
	seen := s.work(1, "COMPLETE", true, nil)
	if _, body := s.call("GET", "/profiles/instagram/byprofileid/787132", ""); body != failed("Profile not found - 787132", 404) {
		t.Errorf("R4 with all limits used up: got %s", body)
	}
	seen()
}

// A request that joins another's run costs no call and keeps no budget.
func TestJoinedRefreshIsGivenBack(t *testing.T) {
	s := openLimited(t, Config{})
	s.exec(`INSERT INTO scrape_request_log (flow, platform, params, status, join_key)
		VALUES ('refresh_profile_by_handle', 'INSTAGRAM', '{"handle": "joined"}', 'PROCESSING', 'ondemand:refresh_profile_by_handle:joined')`)
	s.g.cfg.Wait = 300 * time.Millisecond
	s.account("joined", time.Now().UTC())
	if _, body := s.call("GET", "/profiles/instagram/byhandle/joined?full_refresh=1&force_refresh=1", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("got %s", body)
	}
	if day, handle := s.used("refresh_profile_insta_daily"), s.used("refresh_profile_insta_per_handle_joined"); day != 0 || handle != 0 {
		t.Errorf("got %d of the day and %d of the handle used, want none", day, handle)
	}
	if n := s.tasks(); n != 1 {
		t.Errorf("got %d tasks, want 1", n)
	}
}

// Without Redis a full refresh is refused and nothing else is; the limits hold
// again when it is back.
func TestRedisAway(t *testing.T) {
	srv, err := servers.Redis(t.Context(), servers.RedisConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Discard() }) //nolint:errcheck // a private server
	s := openLimited(t, Config{Limiter: ratelimit.New(dialRedis(t, srv.URL), ratelimit.Requests)})
	s.refreshes("before")
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	s.refuses("during")
	s.expect("GET", "/profiles/instagram/byhandle/during?full_refresh=1&urgent=false", "", 200, limited)
	if _, body := s.call("GET", "/profiles/instagram/byhandle/before?full_refresh=1", ""); !strings.Contains(body, `"SUCCESS"`) {
		t.Errorf("a fresh profile: got %s", body)
	}
	if n := s.tasks(); n != 1 {
		t.Errorf("got %d tasks, want 1", n)
	}
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	probe := ratelimit.Spec{Name: "probe", Requests: 1000, Seconds: 60}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if got, err := s.g.cfg.Limiter.Take(t.Context(), probe); err == nil && !got.Local {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Redis is back and not asked")
		}
	}
	s.refreshes("after")
}

func TestW9_5_AlertsOnceInTheFleet(t *testing.T) {
	s := openLimited(t, Config{})
	other := &lines{}
	g := New(slog.New(slog.NewTextHandler(other, nil)), s.db, s.g.queue, Config{Limiter: ratelimit.New(s.rdb, s.prefix)})
	told := func(percent string) int { return s.log.count("percent="+percent) + other.count("percent="+percent) }
	// admitted lets both gateways admit one refresh at once.
	n := 0
	admitted := func() {
		t.Helper()
		var all sync.WaitGroup
		for _, gw := range []*Gateway{s.g, g} {
			n++
			handle := "h" + strconv.Itoa(n)
			all.Go(func() {
				if _, err := gw.admit(context.Background(), instagramByHandle, handle); err != nil {
					t.Errorf("%s: %v", handle, err)
				}
			})
		}
		all.Wait()
	}
	check := func(half, most int) {
		t.Helper()
		if told("50") != half || told("80") != most {
			t.Errorf("%d used: told %d times of 50 %% and %d times of 80 %%, want %d and %d",
				s.used("refresh_profile_insta_daily"), told("50"), told("80"), half, most)
		}
	}
	s.use("refresh_profile_insta_daily", 9_997)
	admitted()
	check(0, 0) // 9,999
	admitted()
	check(1, 0)
	admitted()
	s.use("refresh_profile_insta_daily", 16_000-10_003-1)
	check(1, 0)
	admitted()
	check(1, 1)
	admitted()
	check(1, 1)
	counted := func(percent string) float64 {
		return count(t, s.g.metrics.alerts.WithLabelValues("refresh_profile_insta_daily", percent)) +
			count(t, g.metrics.alerts.WithLabelValues("refresh_profile_insta_daily", percent))
	}
	if counted("50") != 1 || counted("80") != 1 {
		t.Errorf("counted %v and %v alerts, want one each", counted("50"), counted("80"))
	}
	if len(s.g.Collectors()) != 6 {
		t.Errorf("got %d collectors", len(s.g.Collectors()))
	}
	// A new window is told of anew.
	if err := s.g.cfg.Limiter.Reset(t.Context(), named(t, "refresh_profile_insta_daily")); err != nil {
		t.Fatal(err)
	}
	s.use("refresh_profile_insta_daily", 10_000)
	admitted()
	check(2, 1)
}

func TestW9_6_NotUrgentWaitsForTheNight(t *testing.T) {
	now := time.Now().UTC()
	at := func(d time.Duration) string { return now.Add(d).Format("15:04") }
	var hours Hours // three hours from now, for two
	if err := hours.UnmarshalText([]byte(at(3*time.Hour) + "-" + at(5*time.Hour))); err != nil {
		t.Fatal(err)
	}
	s := openLimited(t, Config{OffPeak: hours})
	const path = "/profiles/instagram/byhandle/Patient?full_refresh=1&force_refresh=1&urgent=false"
	s.use("refresh_profile_insta_daily", 16_000) // not above: as any other
	seen := s.work(1, "COMPLETE", true, func(task) { s.account("patient", now) })
	if _, body := s.call("GET", path, ""); !strings.Contains(body, `"Profile Retrieved"`) {
		t.Errorf("at the share: got %s", body)
	}
	seen()
	day := s.used("refresh_profile_insta_daily")
	_, body := s.call("GET", path, "")
	var id int64
	var rank int
	var runAt time.Time
	if err := s.db.QueryRow(t.Context(), `SELECT id, run_at, priority FROM scrape_request_log
		WHERE status = 'PENDING' AND flow = 'refresh_profile_by_handle' AND params->>'handle' = 'patient'`).Scan(&id, &runAt, &rank); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"status":{"type":"SUCCESS","message":"Scrape request log added"},"code":200,"scrape_id":%d}`, id); body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	if d := runAt.Sub(now); d < 3*time.Hour-time.Minute || d > 4*time.Hour || rank != 1 {
		t.Errorf("runs in %v with priority %d, want within the first of the hours from 3h on, 1", d, rank)
	}
	if _, again := s.call("GET", path, ""); again != body {
		t.Errorf("asked again: got %s, want the same task", again)
	}
	if got := s.used("refresh_profile_insta_daily"); got != day || day != 16_001 {
		t.Errorf("%d of the day used, then %d, want 16001 both", day, got)
	}
	if got := count(t, s.g.metrics.deferred.WithLabelValues(instagramByHandle)); got != 1 {
		t.Errorf("%v put off, want 1", got)
	}
	// Somebody who waits is not made to wait for the night.
	s.exec("UPDATE scrape_request_log SET status = 'PROCESSING' WHERE id = $1", id) // out of work's way
	seen = s.work(1, "COMPLETE", true, nil)
	if err := s.g.cfg.Limiter.Reset(t.Context(), named(t, "refresh_profile_insta_per_handle_patient")); err != nil {
		t.Fatal(err)
	}
	if _, body := s.call("GET", strings.Replace(path, "urgent=false", "urgent=true", 1), ""); !strings.Contains(body, `"Profile Retrieved"`) {
		t.Errorf("urgent: got %s", body)
	}
	if got := seen(); len(got) != 1 || got[0].id == id || got[0].priority != priority {
		t.Errorf("urgent: got tasks %+v, want one of its own", got)
	}
	// With all of the budget used, too.
	s.use("refresh_profile_insta_daily", 20_000)
	if _, again := s.call("GET", path, ""); again != body {
		t.Errorf("nothing left: got %s, want the same task", again)
	}
}

func TestHours(t *testing.T) {
	for text, want := range map[string]Hours{
		"01:00-05:00": {time.Hour, 5 * time.Hour}, "23:30-00:15": {23*time.Hour + 30*time.Minute, 15 * time.Minute},
	} {
		var h Hours
		if err := h.UnmarshalText([]byte(text)); err != nil || h != want {
			t.Errorf("%s: got %v, %v, want %v", text, h, err, want)
		}
	}
	for _, text := range []string{"", "01:00", "1-5", "01:00-25:00", "03:00-03:00"} {
		if err := new(Hours).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		h := Hours{time.Duration(r.IntN(48)) * 30 * time.Minute, 0}
		length := time.Duration(1+r.IntN(40)) * 30 * time.Minute
		h.To = (h.From + length) % day
		now := time.Date(2026, 3, 1, 0, 0, r.IntN(86400), 0, time.FixedZone("", 3600*r.IntN(12)))
		got := h.pick(now)
		since := (got.Sub(got.Truncate(day)) - h.From + day) % day
		if got.Before(now) || got.Sub(now) > day || since >= length || got.Location() != time.UTC {
			t.Fatalf("%v at %v: got %v", h, now, got)
		}
	}
	if g := New(nil, nil, nil, Config{}); g.cfg.OffPeak != (Hours{time.Hour, 5 * time.Hour}) || g.cfg.Busy != 0.8 {
		t.Errorf("defaults: got %+v", g.cfg)
	}
}

// 20,000 are used just before the end of the counter's window: in the sliding
// mode the 20,000 after it are refused, and the budget returns as it was used.
func TestW9_7_Sliding(t *testing.T) {
	s := openLimited(t, Config{Sliding: true})
	_, specs := s.g.limits(instagramByHandle, "x")
	for _, spec := range specs {
		if !spec.Sliding {
			t.Errorf("%s does not slide", spec.Name)
		}
	}
	daily := specs[0]
	counter := daily.Key(s.prefix)
	// lot tries to take n and returns how many were taken.
	lot := func(n int32) int {
		var tried, ok atomic.Int32
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				for tried.Add(1) <= n {
					got, err := s.g.cfg.Limiter.Take(context.Background(), daily)
					if err != nil || got.Local {
						t.Errorf("take: %+v, %v", got, err)
						return
					}
					if got.OK {
						ok.Add(1)
					}
				}
			})
		}
		all.Wait()
		return int(ok.Load())
	}
	// later moves what is stored into the past, instead of the clock.
	later := func(d time.Duration) {
		t.Helper()
		const move = `
for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZINCRBY', KEYS[1], -ARGV[1], m) end
local at = redis.call('PEXPIRETIME', KEYS[2])
if at > 0 then redis.call('PEXPIREAT', KEYS[2], at - ARGV[1]) end
return 0`
		if err := s.rdb.Eval(t.Context(), move, []string{counter + ":log", counter}, d.Milliseconds()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	s.use(daily.Name, 0) // opens the window
	later(24*time.Hour - time.Minute)
	if got := lot(20_000); got != 20_000 {
		t.Fatalf("just before the end: %d of 20,000 taken", got)
	}
	later(time.Minute)
	if n := s.rdb.Exists(t.Context(), counter).Val(); n != 0 {
		t.Fatal("the counter's window has not ended")
	}
	if got := lot(20_000); got != 0 {
		t.Errorf("just after the end: %d more taken, want none", got)
	}
	st, err := s.g.cfg.Limiter.Show(t.Context(), daily)
	if until := time.Until(st.Opens); err != nil || st.Used != 20_000 || until < 23*time.Hour || until > 24*time.Hour {
		t.Errorf("got %+v, %v, want 20,000 used and nothing free for nearly a day", st, err)
	}

	if err := s.g.cfg.Limiter.Reset(t.Context(), daily); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if got := lot(5_000); got != 5_000 {
			t.Errorf("quarter %d of a day: %d of 5,000 taken", i, got)
		}
		later(6 * time.Hour)
	}
	later(time.Second)
	for i := range 2 {
		if got := lot(6_000); got != 5_000 {
			t.Errorf("quarter %d of the next day: %d taken, want the 5,000 of a day ago", i, got)
		}
		later(6 * time.Hour)
	}
}
