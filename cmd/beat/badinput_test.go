package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"beat/streams/schedule"
	"beat/streams/social"
)

const nowhere = "postgres://x:geheim@127.0.0.1:1/x"

// Mistakes get one clear line, the right exit code, and no secret in it.
func TestBadInput(t *testing.T) {
	w := newWorld(t, localConfig{})
	empty := newDatabase(t)
	for _, c := range []struct {
		name string
		env  string // NAME=value
		args []string
		code int
		says string
	}{
		{"unknown flow", "", []string{"enqueue", "nope", "--pg-url", nowhere}, 2, `unknown flow "nope"`},
		{"missing parameter", "", []string{"enqueue", "refresh_profile_by_handle", "--pg-url", nowhere}, 2, "'handle'"},
		{"unknown parameter", "", []string{"enqueue", "refresh_profile_by_handle", "handle=a", "b=c", "--pg-url", nowhere}, 2, "'b'"},
		{"unknown role", "", []string{"run", "cook"}, 2, `unknown role "cook"`},
		{"no postgres url", "", []string{"migrate", "--pg-url", ""}, 2, "PG_URL"},
		{"postgres url that is none", "", []string{"run", "--pg-url", "postgres://%%geheim"}, 2, "PG_URL cannot be read"},
		{"postgres unreachable", "", []string{"migrate", "--pg-url", nowhere}, 1, "postgres at 127.0.0.1:1/x does not answer: connection refused"},
		{"nats unreachable", "", []string{"run", "--pg-url", empty, "--nats-url", "nats://u:geheim@127.0.0.1:1"}, 1, "nats at 127.0.0.1:1 does not answer"},
		{"redis unreachable", "", []string{"run", "--pg-url", empty, "--nats-url", w.deps.NATSURL, "--redis-url", "redis://:geheim@127.0.0.1:1/0"}, 1, "redis at 127.0.0.1:1 does not answer"},
		{"redis url that is none", "", []string{"run", "--pg-url", empty, "--nats-url", w.deps.NATSURL, "--redis-url", "geheim"}, 2, "REDIS_URL cannot be read"},
		{"setting that cannot be read", "BEAT_LEASE=soon", []string{"run", "--pg-url", nowhere}, 2, `"soon"`},
		{"bad limit", "", []string{"run", "--pg-url", nowhere, "--limit", "graphapi=b"}, 2, "--limit graphapi=b"},
		{"limit of an unknown source", "", []string{"run", "--pg-url", nowhere, "--limit", "grapapi=1/1"}, 2, "--limit grapapi=…: unknown source, want one of graphapi,"},
		{"endpoint that is no URL", "", []string{"run", "--pg-url", nowhere, "--endpoint", "graphapi=localhost"}, 2, "--endpoint graphapi=…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, &out, &errs)
			last := errs.String()[strings.LastIndexByte(strings.TrimSpace(errs.String()), '\n')+1:]
			if code != c.code || !strings.HasPrefix(last, "beat: ") || !strings.Contains(last, c.says) {
				t.Errorf("exit code %d, want %d; it says %q, want %q in it", code, c.code, last, c.says)
			}
			if strings.Contains(errs.String()+out.String(), "geheim") {
				t.Errorf("a secret is shown: %s", errs.String())
			}
		})
	}
	db, err := openPG(t.Context(), empty, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tables int
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("a run that could not start made %d tables, %v", tables, err)
	}
}

// A credential row that cannot be used is named with its field, never its
// value, and the sources behind it are asked instead.
func TestBadCredentialRow(t *testing.T) {
	w := newWorld(t, localConfig{})
	bad := []string{`{"token":{"a":"geheim1"}}`, `["geheim2"]`, `{}`, `{"tokn":"geheim3"}`}
	for i, c := range bad {
		if _, err := w.db.Exec(t.Context(), "INSERT INTO credential (idempotency_key, source, credentials, enabled) VALUES ($1::int::text, 'graphapi', $2, true)", i, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.db.Exec(t.Context(), "UPDATE credential SET enabled = false WHERE idempotency_key LIKE 'sandbox-%'"); err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	a, err := newApp(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), w.deps, w.nc)
	if err != nil {
		t.Fatal(err)
	}
	stop := w.serve(a, roles...)
	e, err := w.queue.Enqueue(t.Context(), schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: json.RawMessage(`{"handle":"creator00001"}`)})
	if err != nil {
		t.Fatal(err)
	}
	w.until("the failure", func() bool { return w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'FAILED'") == 1 })
	row, err := readTask(t.Context(), w.db, e.ID)
	if err != nil || deref(row.Data) == "" {
		t.Errorf("the failed task says %q, %v", deref(row.Data), err)
	}
	stop()
	text := log.String() + deref(row.Data)
	if got := strings.Count(text, "credential cannot be used"); got != len(bad) {
		t.Errorf("%d lines about credentials, want %d:\n%s", got, len(bad), text)
	}
	for _, want := range []string{`field \"token\" is not text`, "not an object with fields"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "geheim") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	if got := w.box.Stats().Total; got != 0 {
		t.Errorf("%d calls with unusable credentials", got)
	}
}

// A body that is too large, or never ends, stores nothing and blocks nobody.
func TestBadBody(t *testing.T) {
	w := newWorld(t, localConfig{})
	a := w.runAll()
	root := "http://" + <-a.addr
	for name, body := range map[string]string{
		"too large": `{"flow":"refresh_profile_by_handle","platform":"INSTAGRAM","params":{"handle":"` + strings.Repeat("a", 20<<20) + `"}}`,
		"too deep":  strings.Repeat("[", 100_000),
		"not UTF-8": "{\"flow\":\"\xff\xfe\"",
	} {
		ctx := t.Context()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, root+"/scrape_request_log/flow/x", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Timeout: 30 * time.Second}
		res, err := client.Do(req)
		if err != nil {
			continue // hung up on while we still sent
		}
		res.Body.Close() //nolint:errcheck // only the status counts
		if res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: got %d, want a refusal", name, res.StatusCode)
		}
	}
	if n := w.int("SELECT count(*) FROM scrape_request_log"); n != 0 {
		t.Errorf("%d tasks stored", n)
	}
}
