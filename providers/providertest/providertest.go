// Package providertest holds what every provider has to pass, and what their
// tests share.
package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"beat/providers"
	"beat/streams/social"
)

// At is when all answers of the tests came.
var At = time.Date(2023, 9, 24, 12, 0, 0, 0, time.UTC)

// A Case is one call of a provider.
type Case struct {
	Fetch social.Fetch
	Keys  []string   // a good ask
	Bad   [][]string // keys that cannot be asked
	Good  []byte     // an answer to the good ask that can be read
}

// Run checks what holds for every provider. cred is a credential that it
// accepts. There must be a case for each of its calls.
func Run(t *testing.T, p *providers.Provider, cred providers.Credential, cases ...Case) {
	t.Helper()
	if p.Source == "" || p.Platform == "" || p.Parser < 1 || len(p.Calls) == 0 {
		t.Errorf("provider %q: platform %q, parser %d, %d calls: all must be set", p.Source, p.Platform, p.Parser, len(p.Calls))
	}
	if strings.HasSuffix(p.BaseURL, "/") || !strings.HasPrefix(p.BaseURL, "http") {
		t.Errorf("%s: base URL %q, want http(s)://host without a slash at the end", p.Source, p.BaseURL)
	}
	if err := p.Check(cred); err != nil {
		t.Errorf("%s: Check turned a good credential down: %v", p.Source, err)
	}
	for name, c := range map[string]providers.Credential{
		"no fields":    {ID: 7, Source: p.Source},
		"empty fields": emptied(cred),
	} {
		if err := p.Check(c); err == nil {
			t.Errorf("%s: Check let a credential with %s pass", p.Source, name)
		}
	}
	covered := map[social.Fetch]bool{}
	for _, c := range cases {
		covered[c.Fetch] = true
		t.Run(string(c.Fetch), func(t *testing.T) { runCase(t, p, cred, c) })
	}
	for fetch, call := range p.Calls {
		if !covered[fetch] {
			t.Errorf("%s: no case for %s", p.Source, fetch)
		}
		if call.Request == nil || call.Judge == nil || call.Parse == nil {
			t.Errorf("%s %s: Request, Judge and Parse must all be set", p.Source, fetch)
		}
	}
}

func emptied(c providers.Credential) providers.Credential {
	fields := map[string]providers.Secret{}
	for k := range c.Fields {
		fields[k] = ""
	}
	c.Fields = fields
	return c
}

func runCase(t *testing.T, p *providers.Provider, cred providers.Credential, c Case) {
	call, ok := p.Calls[c.Fetch]
	if !ok {
		t.Fatalf("%s does not answer %s", p.Source, c.Fetch)
	}
	ask := social.Ask{Fetch: c.Fetch, Keys: c.Keys}

	req, err := call.Request(cred, ask)
	if err != nil {
		t.Fatalf("Request(%q): %v", c.Keys, err)
	}
	if !strings.HasPrefix(req.Path, "/") || strings.ContainsAny(req.Path, "?# ") {
		t.Errorf("path %q, want one that begins with a slash and has no query", req.Path)
	}
	for name, s := range cred.Fields {
		if len(s) >= 8 && name != "user_id" && strings.Contains(req.Path, s.Reveal()) {
			t.Errorf("path %q holds credential field %q", req.Path, name)
		}
	}
	if _, err := call.Request(emptied(cred), ask); err == nil {
		t.Error("Request with an empty credential gave no error")
	}
	for _, bad := range append(c.Bad, nil, []string{""}) {
		_, err := call.Request(cred, social.Ask{Fetch: c.Fetch, Keys: bad})
		switch {
		case err == nil:
			t.Errorf("Request(%q) gave no error", bad)
		case !strings.Contains(err.Error(), "keys"):
			t.Errorf("Request(%q): %q, want an error that names keys", bad, err)
		}
		noSecret(t, cred, err)
	}

	const html = "<!DOCTYPE html><html><body>Error</body></html>"
	for _, tt := range []struct {
		status int
		body   string
		want   error
	}{
		{429, `{"message":"slow down"}`, providers.ErrLimited},
		{429, html, providers.ErrLimited},
		{429, "", providers.ErrLimited},
		{401, `{"message":"who are you"}`, providers.ErrRefused},
		{401, html, providers.ErrRefused},
		{500, `{"message":"oops"}`, providers.ErrUpstream},
		{500, html, providers.ErrUpstream},
		{502, html, providers.ErrUpstream},
		{503, "", providers.ErrUpstream},
		{504, html, providers.ErrUpstream},
		{404, html, providers.ErrGone},
		{200, html, providers.ErrMalformed},
		{200, "", providers.ErrMalformed},
		{200, " \n", providers.ErrMalformed},
		{200, "ok", providers.ErrMalformed},
		{200, "null", providers.ErrMalformed},
		{200, `"text"`, providers.ErrMalformed},
		{200, string(c.Good[:len(c.Good)/2]), providers.ErrMalformed},
	} {
		a := Answer(tt.status, []byte(tt.body))
		a.Header.Set("Retry-After", "90")
		got := providers.Classify(p, call, ask, a)
		if got == nil {
			t.Errorf("Classify(%d, %.40q) = nil, want %v", tt.status, tt.body, tt.want)
			continue
		}
		if !errors.Is(got, tt.want) {
			t.Errorf("Classify(%d, %.40q) = %v, want %v", tt.status, tt.body, got, tt.want)
		}
		if tt.want == providers.ErrLimited && got.RetryAfter != 90*time.Second {
			t.Errorf("Classify(%d, %.40q): RetryAfter %v, want 1m30s", tt.status, tt.body, got.RetryAfter)
		}
		named(t, p, c.Fetch, got)
	}
	for _, body := range []string{html, "", "null", "[", `"text"`, "7"} {
		if _, err := call.Parse(ask, At, []byte(body)); !errors.Is(err, providers.ErrMalformed) {
			t.Errorf("Parse(%q): %v, want a malformed error", body, err)
		}
	}

	if err := providers.Classify(p, call, ask, Answer(http.StatusOK, c.Good)); err != nil {
		t.Errorf("Classify turned a good answer down: %v", err)
	}
	before := bytes.Clone(c.Good)
	first, err := call.Parse(ask, At, c.Good)
	if err != nil {
		t.Fatalf("Parse of a good answer: %v", err)
	}
	if len(first.Logs) == 0 {
		t.Error("a good answer gave no logs")
	}
	if err := Sound(first); err != nil {
		t.Error(err)
	}
	again, _ := call.Parse(ask, At, c.Good)
	if Text(first) != Text(again) {
		t.Error("Parse gave two results for one answer")
	}
	if !bytes.Equal(before, c.Good) {
		t.Error("Parse changed the answer")
	}
}

func named(t *testing.T, p *providers.Provider, fetch social.Fetch, err *providers.Error) {
	t.Helper()
	if want := p.Source + " " + string(fetch); !strings.HasPrefix(err.Detail, want) {
		t.Errorf("detail %q, want it to begin with %q", err.Detail, want)
	}
	if strings.ContainsAny(err.Detail+err.Message, "\n\r") {
		t.Errorf("%q has more than one line", err.Error())
	}
}

func noSecret(t *testing.T, cred providers.Credential, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for name, s := range cred.Fields {
		if len(s) >= 8 && strings.Contains(err.Error(), s.Reveal()) {
			t.Errorf("error %q holds credential field %q", err, name)
		}
	}
}

// Answer is what a provider sent back at At.
func Answer(status int, body []byte) providers.Answer {
	return providers.Answer{Status: status, Header: http.Header{}, Body: body, At: At}
}

// Sound says what is wrong with a batch that a parser made: a log without a
// key or of no kind, a value that is not compact JSON, a page without a way
// to it.
func Sound(b social.Batch) error {
	for i, l := range b.Logs {
		if l.Key == "" || l.Source == "" {
			return fmt.Errorf("log %d: key %q, source %q: neither may be empty", i, l.Key, l.Source)
		}
		switch l.Kind {
		case social.Profile, social.Post, social.Insights:
		case social.Activity:
			if l.Type != social.Like && l.Type != social.Comment {
				return fmt.Errorf("log %d (%s): type %q", i, l.Key, l.Type)
			}
		case social.Relationship:
			if l.Type != social.Follows || l.Target == "" {
				return fmt.Errorf("log %d (%s): type %q, target %q", i, l.Key, l.Type, l.Target)
			}
		default:
			return fmt.Errorf("log %d: kind %q", i, l.Kind)
		}
		for _, kv := range slices.Concat(l.Dimensions, l.Metrics, l.TargetDimensions) {
			var compact bytes.Buffer
			if err := json.Compact(&compact, kv.Value); err != nil {
				return fmt.Errorf("log %d (%s): %s is %q: %w", i, l.Key, kv.Key, kv.Value, err)
			}
			if !bytes.Equal(compact.Bytes(), kv.Value) {
				return fmt.Errorf("log %d (%s): %s is not compact: %q", i, l.Key, kv.Key, kv.Value)
			}
		}
		for _, kv := range l.Metrics {
			if kv.Key == "comments_thread" {
				continue // a list: kept as it was for readers of events (Q-JT-5)
			}
			if c := kv.Value[0]; c != 'n' && c != '-' && (c < '0' || c > '9') {
				return fmt.Errorf("log %d (%s): metric %s is %s, want a number or null", i, l.Key, kv.Key, kv.Value)
			}
		}
	}
	if b.More != (b.Cursor != "") {
		return fmt.Errorf("more is %v and cursor is %q", b.More, b.Cursor)
	}
	return nil
}

// Text is a batch as golden files show it.
func Text(b social.Batch) string {
	var s strings.Builder
	fmt.Fprintf(&s, "more=%v cursor=%q\n", b.More, b.Cursor)
	for _, l := range b.Logs {
		fmt.Fprintf(&s, "\n%s key=%q owner=%q handle=%q source=%s\n", l.Kind, l.Key, l.Owner, l.Handle, l.Source)
		if l.Type != "" {
			fmt.Fprintf(&s, "  %s actor=%q target=%q\n", l.Type, l.Actor, l.Target)
		}
		for _, kv := range l.Metrics {
			fmt.Fprintf(&s, "  metric    %s = %s\n", kv.Key, kv.Value)
		}
		for _, kv := range l.Dimensions {
			fmt.Fprintf(&s, "  dimension %s = %s\n", kv.Key, kv.Value)
		}
		for _, kv := range l.TargetDimensions {
			fmt.Fprintf(&s, "  target    %s = %s\n", kv.Key, kv.Value)
		}
	}
	return s.String()
}

// Golden compares b with file, or writes it when update is set.
func Golden(t *testing.T, update bool, file string, b social.Batch) {
	t.Helper()
	got := Text(b)
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs, got:\n%s\nwant:\n%s", file, got, want)
	}
}

// Read is the file at the joined parts.
func Read(t testing.TB, parts ...string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Glob is the files that match pattern; none is a failure.
func Glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(files), err)
	}
	return files
}

// Fixtures is the folder with answers of the real services: BEAT_FIXTURES,
// else the one beside the repository, three folders above the package under
// test. Those answers may not be shipped, so where the folder is missing
// this is "" and the test has nothing to do.
func Fixtures(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("BEAT_FIXTURES")
	if dir == "" {
		dir = "../../../../shared/fixtures"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Logf("no fixtures at %s: nothing to check", dir)
		return ""
	}
	return dir
}

// Lookup walks a decoded JSON value, for tests that read an answer without
// the code under test. Numbers must have been decoded as json.Number.
func Lookup(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// Decode is body through encoding/json, numbers as text.
func Decode(t testing.TB, body []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Without is body with the member at path taken out, or replaced by value
// when there is one.
func Without(t testing.TB, body []byte, path []any, value ...any) []byte {
	t.Helper()
	root := Decode(t, body)
	parent := Lookup(root, path[:len(path)-1]...)
	switch last := path[len(path)-1].(type) {
	case string:
		m, ok := parent.(map[string]any)
		if !ok {
			t.Fatalf("%v: no object there", path)
		}
		if _, ok := m[last]; !ok {
			t.Fatalf("%v: no such member", path)
		}
		delete(m, last)
		if len(value) > 0 {
			m[last] = value[0]
		}
	case int:
		parent.([]any)[last] = value[0]
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
