package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations"
	"beat/providers/credential"
	"beat/providers/sandbox"
)

// A cliWorld runs `beat credentials …` on a database of its own and sees to it
// that no secret is ever printed.
type cliWorld struct {
	t  *testing.T
	pg string
	db *pgxpool.Pool
}

// cliSecret is in every secret of these tests.
const cliSecret = "geheim-91f2c7"

func newCLI(t *testing.T) *cliWorld {
	t.Helper()
	pg := newDatabase(t)
	if _, err := migrations.Up(t.Context(), pg); err != nil {
		t.Fatal(err)
	}
	db, err := openPG(t.Context(), pg, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	t.Setenv("PG_URL", pg)
	return &cliWorld{t, pg, db}
}

// run wants exit code code and returns what was printed.
func (w *cliWorld) run(code int, args ...string) string {
	w.t.Helper()
	return w.runIn("", code, args...)
}

// runIn is run with stdin.
func (w *cliWorld) runIn(stdin string, code int, args ...string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte(stdin), 0o600); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	was := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = was }()
	var out, errs bytes.Buffer
	if got := run(w.t.Context(), append([]string{"credentials"}, args...), &out, &errs); got != code {
		w.t.Errorf("exit code %d, want %d: %s", got, code, errs.String())
	}
	text := out.String() + errs.String()
	if strings.Contains(text, "geheim") {
		w.t.Errorf("a secret is shown:\n%s", text)
	}
	return text
}

func (w *cliWorld) list() []credential.Row {
	w.t.Helper()
	text := w.run(0, "list", "--json")
	var rows []credential.Row
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		w.t.Fatalf("%s: %v", text, err)
	}
	return rows
}

func (w *cliWorld) has(text string, want ...string) {
	w.t.Helper()
	for _, s := range want {
		if !strings.Contains(text, s) {
			w.t.Errorf("want %q in:\n%s", s, text)
		}
	}
}

func (w *cliWorld) stored(id int) map[string]string {
	w.t.Helper()
	var m map[string]string
	if err := w.db.QueryRow(w.t.Context(), "SELECT credentials FROM credential WHERE id = $1", id).Scan(&m); err != nil {
		w.t.Fatal(err)
	}
	return m
}

func TestCredentials(t *testing.T) {
	w := newCLI(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(cliSecret+"=/+\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.has(w.run(0, "add", "graphapi", "--handle", "ann", "token=@"+file, "user_id=178414"), "added credential 1 of graphapi")
	w.has(w.run(0, "add", "ytapitoken", "key="+cliSecret, "--weight", "70"), "added credential 2 of ytapitoken")
	w.has(w.runIn(`{"X-RapidAPI-Key": "`+cliSecret+`", "n": 17841400000009999}`, 0, "add", "rapidapi-arraybobo", "-"), "added credential 3")
	if diff := cmp.Diff(map[string]string{"token": cliSecret + "=/+", "user_id": "178414"}, w.stored(1)); diff != "" {
		t.Errorf("from arguments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"X-RapidAPI-Key": cliSecret, "n": "17841400000009999"}, w.stored(3)); diff != "" {
		t.Errorf("from standard input (-want +got):\n%s", diff)
	}
	w.has(w.run(0, "add", "ytapitoken", "key="+cliSecret), "replaced credential 2")
	w.has(w.run(0, "add", "graphapi", "--handle", "ann", "token="+cliSecret, "user_id=2", "--json"), `{"created":false,"id":1}`)

	w.has(w.run(0, "disable", "1", "--for", "1h", "--reason", "looking into it"), "credential 1 of graphapi is resting until", "by hand: looking into it")
	w.has(w.run(0, "disable", "2"), "credential 2 of ytapitoken is disabled: by hand")
	if _, err := w.db.Exec(t.Context(), "UPDATE credential SET enabled = false, refused_at = now(), reason = 'refused: (401, ''no'')' WHERE id = 3"); err != nil {
		t.Fatal(err)
	}
	w.has(w.run(0, "list"), "resting until 20", "disabled: by hand", "refused: (401, 'no')", "token, user_id", "70")
	if got := w.run(0, "list"); strings.Contains(got, "refused: refused") {
		t.Errorf("said twice:\n%s", got)
	}
	w.has(w.run(0, "list", "--source", "ytapitoken"), "key")
	want := []credential.Row{
		{ID: 1, Source: "graphapi", Handle: "ann", Weight: 1, State: "ready", Fields: []string{"token", "user_id"}},
		{ID: 2, Source: "ytapitoken", Weight: 70, State: "ready", Fields: []string{"key"}},
		{ID: 3, Source: "rapidapi-arraybobo", Weight: 1, State: "ready", Fields: []string{"X-RapidAPI-Key", "n"}},
	}
	for _, id := range []string{"1", "2", "3"} {
		w.has(w.run(0, "enable", id), "is ready")
	}
	if diff := cmp.Diff(want, w.list()); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}

	// Sealed, they are used with the key and named as unusable without.
	w.has(w.run(2, "seal"), "BEAT_CREDENTIAL_KEY")
	t.Setenv("BEAT_CREDENTIAL_KEY", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)))
	w.has(w.run(0, "seal"), "3 credentials sealed")
	w.has(w.run(0, "seal", "--json"), `{"sealed":0}`)
	w.has(w.run(0, "add", "graphapi", "--handle", "bob", "token="+cliSecret, "user_id=3"), "added credential 4")
	want = append(want, credential.Row{ID: 4, Source: "graphapi", Handle: "bob", Weight: 1, State: "ready", Fields: []string{"token", "user_id"}})
	for i := range want {
		want[i].Sealed = true
		if got := fmt.Sprint(w.stored(i + 1)); strings.Contains(got, "geheim") {
			t.Errorf("credential %d is stored as %s", i+1, got)
		}
	}
	if diff := cmp.Diff(want, w.list()); diff != "" {
		t.Errorf("sealed (-want +got):\n%s", diff)
	}
	t.Setenv("BEAT_CREDENTIAL_KEY", "")
	w.has(w.run(0, "list"), "unusable: credential 1 of graphapi: its fields are sealed: set BEAT_CREDENTIAL_KEY")
}

func TestCredentialsBadInput(t *testing.T) {
	w := newCLI(t)
	for _, tt := range []struct {
		name, stdin string
		args        []string
		code        int
		says        string
	}{
		{"unknown source", "", []string{"add", "grapapi", "token=geheim"}, 2, `unknown source "grapapi": sources are graphapi,`},
		{"no fields", "", []string{"add", "graphapi"}, 2, "no fields"},
		{"no name", "", []string{"add", "graphapi", "user_id=1", "geheim"}, 2, "field 2 is not name=value"},
		{"empty name", "", []string{"add", "graphapi", "=geheim"}, 2, "field 1 is not name=value"},
		{"twice", "", []string{"add", "graphapi", "token=geheim", "token=geheim2"}, 2, `"token" is given twice`},
		{"a flag", "", []string{"add", "graphapi", "--token=geheim"}, 2, "unknown flag --token"},
		{"no such file", "", []string{"add", "graphapi", "token=@/geheim"}, 2, `field "token": its file cannot be read`},
		{"missing field", "", []string{"add", "graphapi", "token=geheim"}, 2, `"user_id" is missing`},
		{"stdin and more", "{}", []string{"add", "graphapi", "-", "token=geheim"}, 2, "no other beside it"},
		{"stdin is no object", `"geheim"`, []string{"add", "graphapi", "-"}, 2, "want a JSON object"},
		{"stdin is not JSON", `geheim`, []string{"add", "graphapi", "-"}, 2, "want a JSON object"},
		{"stdin is nested", `{"token":{"a":"geheim"}}`, []string{"add", "graphapi", "-"}, 2, `field "token" is not text`},
		{"negative weight", "", []string{"add", "ytapitoken", "key=geheim", "--weight=-1"}, 2, "weight -1"},
		{"key that is none", "", []string{"list", "--credential-key", "geheim"}, 2, "BEAT_CREDENTIAL_KEY is not base64"},
		{"key of the wrong length", "", []string{"list", "--credential-key", "Z2VoZWlt"}, 2, "BEAT_CREDENTIAL_KEY has 6 bytes"},
		{"no such row to enable", "", []string{"enable", "7"}, 1, "no such credential: 7"},
		{"no such row to disable", "", []string{"disable", "7"}, 1, "no such credential: 7"},
		{"negative time", "", []string{"disable", "7", "--for=-1m"}, 2, "--for"},
		{"no such row to test", "", []string{"test", "7"}, 1, "no such credential: 7"},
		{"no such source to test", "", []string{"test", "grapapi"}, 2, `unknown source "grapapi"`},
		{"source without rows", "", []string{"test", "graphapi"}, 1, "no credential in use"},
		{"bad endpoint", "", []string{"test", "graphapi", "--endpoint", "graphapi=x"}, 2, "--endpoint graphapi=…"},
		{"bad limit", "", []string{"test", "graphapi", "--limit", "graphapi=x"}, 2, "--limit graphapi=x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &cliWorld{t, w.pg, w.db}
			w.has(w.runIn(tt.stdin, tt.code, tt.args...), tt.says)
		})
	}
	w.has(w.run(0, "add", "--help"), "history")
	if got := w.list(); len(got) != 0 {
		t.Errorf("%d credentials stored", len(got))
	}
}

func TestCredentialsTest(t *testing.T) {
	w := newCLI(t)
	box, err := sandbox.Listen("127.0.0.1:0", sandbox.Config{CheckKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close() //nolint:errcheck // ends with us
	var endpoints []string
	for _, s := range sandbox.Sources {
		endpoints = append(endpoints, s+"="+box.BaseURL(box.URL, s))
	}
	t.Setenv("BEAT_ENDPOINTS", strings.Join(endpoints, ";"))
	redis := miniredis.RunT(t)
	t.Setenv("REDIS_URL", "redis://"+redis.Addr()+"/0")

	w.run(0, "add", "graphapi", "token=sandbox-"+cliSecret, "user_id=17841400000009999")
	w.run(0, "add", "rapidapi-arraybobo", "X-RapidAPI-Key=sandbox-"+cliSecret)
	w.run(0, "add", "ytapitoken", "key=sandbox-"+cliSecret)
	w.run(0, "add", "graphapi", "--handle", "ann", "token="+cliSecret, "user_id=1")
	before := w.list()
	for id, source := range map[string]string{"1": "graphapi", "2": "rapidapi-arraybobo", "3": "ytapitoken"} {
		var got credentialTest
		text := w.run(0, "test", id, "--json")
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(text, err)
		}
		if got.Source != source || got.Verdict != "ok" || got.Status != 200 || got.Millis < 0 || got.Fetch == "" {
			t.Errorf("%s: %+v", source, got)
		}
	}
	w.has(w.run(0, "test", "ytapitoken"), "credential 3 of ytapitoken: ok, status 200,", " ms ")
	w.has(w.run(0, "test", "1", "--key", "creator00001"), "ok")
	w.has(w.run(0, "test", "1", "--key", "missing.nobody"), "gone, status 4") // it is the target that is not there
	w.has(w.run(2, "test", "1", "--key", "no handle"), "no handle")
	w.has(w.run(1, "test", "4"), "credential 4 of graphapi: refused, status ", "credential 4 of graphapi did not pass")
	if diff := cmp.Diff(before, w.list()); diff != "" {
		t.Errorf("a test changed the table (-want +got):\n%s", diff)
	}

	// A row that rests is tested only by force; its source has none to test.
	w.run(0, "disable", "3", "--for", "1h")
	w.has(w.run(1, "test", "ytapitoken"), "all credentials of ytapitoken rest, the first until ")
	w.has(w.run(1, "test", "3"), "credential 3 of ytapitoken rests until ", "--force")
	w.has(w.run(0, "test", "3", "--force"), "ok")

	// The call counts against the limit.
	t.Setenv("BEAT_LIMITS", "rapidapi-arraybobo=1/60")
	w.has(w.run(0, "test", "2"), "ok")
	w.has(w.run(1, "test", "2"), "limit rapidapi-arraybobo is used up: try again in")
	redis.Close()
	w.has(w.run(1, "test", "2"), "the rate limit cannot be checked")

	box.Close() //nolint:errcheck // an outage
	began := time.Now()
	w.has(w.run(1, "test", "1", "--timeout", "2s"), "upstream, status 0")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}
