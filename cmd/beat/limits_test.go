package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/redis/go-redis/v9"

	"beat/gateway"
	"beat/providers/ratelimit"
	"beat/streams/servers"
)

// limitsCLI runs beat limits with args.
func limitsCLI(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var c struct {
		globals
		Limits limitsCmd `cmd:""`
	}
	var out bytes.Buffer
	c.stdout, c.stderr = &out, &out
	p, err := kong.New(&c, kong.Writers(&out, &out), kong.Exit(func(int) {}),
		kong.BindTo(t.Context(), (*context.Context)(nil)), kong.Bind(&c.globals))
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.Parse(append([]string{"limits"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	err = k.Run()
	return out.String(), err
}

func TestW9_4_LimitsByName(t *testing.T) {
	srv, err := servers.Redis(t.Context(), servers.RedisConfig{}) // the names are those of production
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Discard() }) //nolint:errcheck // a private server
	o, err := redis.ParseURL(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer rdb.Close() //nolint:errcheck // the test is over
	redisURL := "--redis-url=" + srv.URL

	calls, requests := ratelimit.New(rdb, ratelimit.Calls), ratelimit.New(rdb, ratelimit.Requests)
	handle, _ := gateway.LimitNamed("refresh_profile_insta_per_handle_natgeo")
	daily, _ := gateway.LimitNamed("refresh_profile_insta_daily")
	for range 2 { // the second is refused by the handle
		if _, err := requests.Take(t.Context(), daily, handle); err != nil {
			t.Fatal(err)
		}
	}
	for range 7 {
		if _, err := calls.Take(t.Context(), ratelimit.Contract["rocketapi"]); err != nil {
			t.Fatal(err)
		}
	}

	// line returns the words of a limit's line.
	line := func(out, name string) string {
		for l := range strings.Lines(out) {
			if f := strings.Fields(l); len(f) > 0 && f[0] == name {
				return strings.Join(f, " ")
			}
		}
		return ""
	}
	out, err := limitsCLI(t, "list", redisURL)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"rocketapi":                           "rocketapi rocketapi 100/30s 7/100 now 0",
		"instagram-scraper-2022":              "instagram-scraper-2022 rapidapi-arraybobo 100/30s 0/100 now 0",
		"refresh_profile_insta_daily":         "refresh_profile_insta_daily instagram/byhandle 20000/24h0m0s 1/20000 now 0",
		"refresh_profile_insta_per_handle_…":  "refresh_profile_insta_per_handle_… instagram/byhandle 1/1s - - -",
		"refresh_profile_yt_by_id_per_minute": "refresh_profile_yt_by_id_per_minute youtube/byid 60/1m0s 0/60 now 0",
	} {
		if got := line(out, name); got != want {
			t.Errorf("list:\n got %q\nwant %q", got, want)
		}
	}
	out, err = limitsCLI(t, "--json", "list", redisURL)
	var rows []limitRow
	if err := errors.Join(err, json.Unmarshal([]byte(out), &rows)); err != nil {
		t.Fatal(err)
	}
	if want := len(ratelimit.Contract) + len(gateway.Limits); len(rows) != want {
		t.Errorf("list has %d limits, want %d", len(rows), want)
	}

	one := func(args ...string) (r limitRow) {
		t.Helper()
		out, err := limitsCLI(t, append(args, "--json", redisURL)...)
		if err := errors.Join(err, json.Unmarshal([]byte(out), &r)); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return r
	}
	if r := one("show", "refresh_profile_insta_daily"); r.Key != "beat_server_eb108c07d0c75985efcb168f42855209" || r.State.Used != 1 ||
		time.Until(r.State.Resets) < 23*time.Hour {
		t.Errorf("got %+v, %+v", r, r.State)
	}
	if err := rdb.Set(t.Context(), handle.Key(ratelimit.Requests), 1, time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if out, err := limitsCLI(t, "show", handle.Name, redisURL); err != nil || !strings.Contains(line(out, handle.Name), " 1/1 20") {
		t.Errorf("got %q, %v, want one of one used and when it opens", out, err)
	}
	if r := one("show", handle.Name); r.Key != "beat_server_caa02d2b688c595cb63ed6beabede03e" || r.State.Used != 1 || r.State.Opens.IsZero() {
		t.Errorf("got %+v, %+v", r, r.State)
	}
	for _, name := range []string{handle.Name, "rocketapi"} {
		if out, err := limitsCLI(t, "reset", name, redisURL); err != nil || !strings.HasPrefix(out, name+" is reset, ") {
			t.Errorf("reset %s: got %q, %v", name, out, err)
		}
		if r := one("show", name); r.State.Used != 0 || !r.State.Opens.IsZero() {
			t.Errorf("after a reset of %s: got %+v", name, r.State)
		}
	}
	if r := one("show", "refresh_profile_insta_daily"); r.State.Used != 1 {
		t.Errorf("another limit was reset: got %+v", r.State)
	}

	for _, name := range []string{"rocket", "refresh_profile_insta_per_handle_"} {
		for _, verb := range []string{"show", "reset"} {
			_, err := limitsCLI(t, verb, name, redisURL)
			var u usageError
			if !errors.As(err, &u) || !strings.Contains(err.Error(), "rocketapi") || !strings.Contains(err.Error(), "refresh_profile_yt_per_id_…") {
				t.Errorf("%s %s: got %v, want the names", verb, name, err)
			}
		}
	}
	// The limit that a deployment sets instead is counted under another key.
	if out, err := limitsCLI(t, "list", redisURL, "--limit=rapidapi-arraybobo=5/10"); err != nil ||
		line(out, "rapidapi-arraybobo") != "rapidapi-arraybobo rapidapi-arraybobo 5/10s 0/5 now 0" {
		t.Errorf("got %q, %v", out, err)
	}
}
