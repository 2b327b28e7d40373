package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"beat/providers"
	"beat/providers/sandbox"
	"beat/providers/youtube/ytapi"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// marker is in every secret of these tests. What surrounds it is spelled
// differently in JSON and in URLs.
const marker = "geheim7f3aQ9zz"

func markedSecret(n int) string { return fmt.Sprintf(`sandbox-%s/%d+|"&x`, marker, n) }

// A watch looks for the marker in everything that it is shown.
type watch struct {
	t     *testing.T
	forms []string
	seen  int // bytes
	found map[string]int
}

func newWatch(t *testing.T) *watch {
	w := &watch{t: t, forms: []string{marker}, found: map[string]int{}}
	for shift := range 3 { // base64 has three spellings of a text, by its place
		s := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + marker))
		w.forms = append(w.forms, s[(shift*8+5)/6:len(marker)*8/6])
	}
	return w
}

// look reports every place once.
func (w *watch) look(place, text string) {
	w.t.Helper()
	w.seen += len(text)
	plain, err := url.PathUnescape(text)
	if err != nil {
		plain = text
	}
	for _, form := range w.forms {
		for _, s := range []string{text, plain} {
			i := strings.Index(s, form)
			if i < 0 {
				continue
			}
			if w.found[place]++; w.found[place] == 1 {
				w.t.Errorf("%s holds a secret: …%s…", place, s[max(0, i-300):min(len(s), i+60)])
			}
			return
		}
	}
}

// echo is a provider that shows in its answers what it was sent. They have the
// status; asked are the paths, each once.
func echo(t *testing.T) (base string, status *atomic.Int32, asked *sync.Map) {
	status, asked = &atomic.Int32{}, &sync.Map{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path, true)
		var all strings.Builder
		fmt.Fprintf(&all, "%s %s %s %v", r.Method, r.URL, r.URL.Query(), r.Header)
		for _, vs := range r.Header {
			all.WriteString(" " + strings.Join(vs, " "))
		}
		text, _ := json.Marshal(all.String()) //nolint:errcheck // a text
		w.Header().Set("Content-Type", "application/json; of="+r.URL.Query().Get("key")+r.Header.Get("X-RapidAPI-Key"))
		w.Header().Set("X-Request", all.String())
		w.WriteHeader(int(status.Load()))
		fmt.Fprintf(w, `{"message":%s,"error":{"message":%s,"code":1,"error_user_msg":%s},"paging":{"next":"http://x.test%s"}}`, text, text, text, r.URL)
	}))
	t.Cleanup(s.Close)
	return s.URL, status, asked
}

// Issue 3, acceptance 7: whatever happens, no secret is in a log line, a
// message, a dead letter, a table other than that of the credentials, a trace, a
// metric, an answer of the gateway or what a command prints.
func TestNoSecretIsTold(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	box, err := sandbox.Listen("127.0.0.1:0", sandbox.Config{CheckKeys: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() }) //nolint:errcheck // ends with us
	w := newWorld(t, localConfig{rmqURL: rmq, sandboxURL: box.URL})
	w.box = box
	look := newWatch(t)
	say := func(args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		run(t.Context(), args, &out, &errs)
		look.look("beat "+strings.Join(args[:min(2, len(args))], " "), out.String()+errs.String())
		return out.String()
	}
	w.deps.PGURL = strings.Replace(w.deps.PGURL, "@", ":"+marker+"@", 1) // which the server does not ask for
	w.deps.CredentialKey = base64.StdEncoding.EncodeToString([]byte("key-" + marker + strings.Repeat("k", 32-4-len(marker))))
	w.forCommands()
	t.Setenv("BEAT_CREDENTIAL_KEY", w.deps.CredentialKey)

	broken := ytapi.New(w.deps.Endpoint["ytapitoken"])
	for fetch, c := range broken.Calls {
		ask := c.Request
		c.Request = func(cred providers.Credential, a social.Ask) (providers.Request, error) {
			if strings.Contains(a.Key(), "planted") {
				encoded, err := json.Marshal(cred)
				panic(fmt.Sprintf("planted: %v %+v %#v %s %s %v", cred, cred, cred, cred.Fields["key"], encoded, err))
			}
			return ask(cred, a)
		}
		broken.Calls[fetch] = c
	}
	w.deps.more = append(w.deps.more, broken)

	// The credentials, as an operator adds them.
	w.exec("DELETE FROM credential")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(markedSecret(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BEAT_CREDENTIAL_KEY", "")
	say("credentials", "add", "graphapi", "token=@"+file, "user_id=17841400000009999")
	say("credentials", "add", "rapidapi-arraybobo", "X-RapidAPI-Key="+markedSecret(2), "X-RapidAPI-Host=instagram-scraper-2022.p.rapidapi.com")
	say("credentials", "add", "ytapitoken", "key="+markedSecret(3))
	say("credentials", "add", "graphapi", "token="+markedSecret(4), "usr_id=1") // a mistake
	t.Setenv("BEAT_CREDENTIAL_KEY", w.deps.CredentialKey)
	if n := w.int("SELECT count(*) FROM credential WHERE credentials::text LIKE '%' || $1 || '%'", marker); n != 3 {
		t.Fatalf("%d credentials hold the marker, want 3", n)
	}
	for _, args := range [][]string{{"credentials", "list"}, {"credentials", "list", "--json"}, {"credentials", "test", "1"},
		{"credentials", "test", "rapidapi-arraybobo"}, {"credentials", "test", "3", "--json"}, {"doctor"}} {
		say(args...)
	}

	logs := &syncBuffer{}
	begin := func() (*app, func()) {
		a, err := newApp(t.Context(), slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})), w.deps, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a, w.serve(a, roles...)
	}
	a, stop := begin()
	root := "http://" + <-a.addr
	ended := func() {
		t.Helper()
		w.until("the end of all tasks", func() bool {
			// What rests or was refused is put back to use, so that nothing waits for it.
			w.exec(`UPDATE credential SET enabled = true, disabled_till = NULL, reason = NULL, refused_at = NULL, data_access_expired = false, failures = 0, downs = 0
				WHERE NOT enabled OR disabled_till IS NOT NULL`)
			return w.int("SELECT count(*) FROM scrape_request_log WHERE status NOT IN ('COMPLETE', 'FAILED') AND params::text NOT LIKE '%hanging%'") == 0
		})
	}
	w.outcome(w.refresh("creator00001"), social.Complete)
	n := 0
	each := func() (ids []string) {
		n++
		post := w.text("SELECT shortcode FROM instagram_post ORDER BY shortcode OFFSET $1 LIMIT 1", n%20)
		for _, id := range []int64{
			w.refresh(fmt.Sprintf("creator%05d", n)), w.put("refresh_post_by_shortcode", map[string]string{"shortcode": post}),
			w.put("refresh_yt_profiles", map[string][]string{"channel_ids": {fmt.Sprintf("UC%022d", n)}}),
		} {
			ids = append(ids, fmt.Sprint(id))
		}
		return ids
	}
	hang := box.Inject(sandbox.Fault{Source: "rapidapi-arraybobo", Fetch: social.Reels, Kind: "hang", Count: 1}) // until the client's timeout
	hanging := w.refresh("hanging.one")
	w.until("the call that hangs", func() bool { return box.Hits(hang) == 1 })
	each()
	ended()

	// Every fault of every source.
	for _, kind := range sandbox.Kinds {
		if kind == "hang" {
			continue
		}
		for _, source := range sandbox.Sources {
			box.Inject(sandbox.Fault{Source: source, Kind: kind, Count: 2, Delay: 10 * time.Millisecond})
		}
		for _, id := range each() {
			say("tasks", "why", id)
			look.look("GET /tasks/{id}/why", body(t, root+"/tasks/"+id+"/why"))
		}
		ended()
		box.Clear()
	}
	w.put("refresh_yt_profiles", map[string][]string{"channel_ids": {"UCplanted"}})
	ended()
	say("credentials", "seal")
	each()
	ended()
	w.outcome(hanging, social.Complete)
	look.look("/metrics", body(t, root+"/metrics"))
	look.look("/readyz", body(t, root+"/readyz"))
	look.look("profile", body(t, root+"/profiles/instagram/byhandle/creator00001?full_refresh=1"))
	stop()

	// Providers that repeat what they were sent.
	base, answers, asked := echo(t)
	for _, source := range sandbox.Sources {
		w.deps.Endpoint[source] = base
	}
	w.deps.more[0].BaseURL = base
	w.forCommands()
	a, stop = begin()
	root = "http://" + <-a.addr
	for _, status := range []int32{200, 400, 401, 403, 404, 429, 500, 418} {
		answers.Store(status)
		asked.Clear()
		for _, id := range each() {
			say("tasks", "why", id)
		}
		w.until("a call of every source", func() bool {
			n := 0
			asked.Range(func(any, any) bool { n++; return true })
			return n >= len(sandbox.Sources)
		})
		for _, source := range sandbox.Sources {
			say("credentials", "test", source)
		}
		say("credentials", "list")
		answers.Store(404) // which nobody waits for
		ended()
	}

	// What was lost is looked at, sent again, and lost again.
	var letters []dead.Letter
	if err := json.Unmarshal([]byte(say("dead", "list", "--each", "--limit", "1000", "--json")), &letters); err != nil {
		t.Fatal(err)
	}
	planted := false
	for _, l := range letters {
		planted = planted || l.Cause == "panic" && strings.Contains(l.Error, "***")
		say("dead", "show", "--full", fmt.Sprint(l.Seq))
	}
	if !planted {
		t.Errorf("the planted panic is not among %d letters", len(letters))
	}
	say("dead", "list")
	say("dead", "redrive", "--all", "--dry-run")
	say("dead", "redrive", "--all")
	ended()
	for _, args := range [][]string{{"tasks", "list", "--limit", "500"}, {"tasks", "show", "1"}, {"tasks", "cancel", "1"}, {"tasks", "retry", "1"},
		{"doctor"}, {"doctor", "--json"}, {"limits", "list"}, {"pause", "graphapi", "--for", "1s"}, {"credentials", "list", "--json"}} {
		say(args...)
	}
	ended()
	w.until("the last events", func() bool {
		since, err := a.unwritten(t.Context())
		return err == nil && since.IsZero()
	})
	ids := w.text("SELECT string_agg(id::text, ' ') FROM scrape_request_log")
	for _, id := range strings.Fields(ids) {
		look.look("GET /tasks/{id}/why", body(t, root+"/tasks/"+id+"/why"))
	}
	look.look("/metrics", body(t, root+"/metrics"))
	told := 0
	w.until("all calls told", func() bool {
		for _, queue := range []string{everything, "trace_log"} {
			for _, d := range drain(t, rmq, queue) {
				told++
				look.look("AMQP "+d.RoutingKey, fmt.Sprint(d.Headers, d.Type, d.MessageId, d.AppId)+string(d.Body))
			}
		}
		c, err := a.js.Consumer(t.Context(), bus.Raw, "trace")
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
	})
	if told == 0 {
		t.Error("nothing was told")
	}
	stop()
	w.lookAtStreams(look)
	w.lookAtTables(look)
	look.look("the log", logs.String())
	for _, line := range []string{"level=DEBUG", "credential refused by the provider"} {
		if !strings.Contains(logs.String(), line) {
			t.Errorf("the log has no %s: it proves nothing", line)
		}
	}
	t.Logf("looked at %d bytes, %d messages told", look.seen, told)
}

// lookAtStreams shows every message of every stream, headers and body.
func (w *world) lookAtStreams(look *watch) {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.t.Fatal(err)
	}
	masked := 0
	names := js.StreamNames(w.t.Context())
	for name := range names.Name() {
		s, err := js.Stream(w.t.Context(), name)
		if err != nil {
			w.t.Fatal(err)
		}
		st := s.CachedInfo().State
		for seq := st.FirstSeq; seq <= st.LastSeq && st.Msgs > 0; seq++ {
			m, err := s.GetMsg(w.t.Context(), seq)
			if err != nil {
				continue // removed
			}
			data, err := bus.Unpack(m.Header, m.Data)
			if err != nil {
				w.t.Fatal(err)
			}
			look.look("stream "+name, m.Subject+fmt.Sprint(m.Header)+string(data))
			if name == bus.Raw && strings.Contains(string(data), "***") {
				masked++
			}
		}
	}
	if names.Err() != nil {
		w.t.Fatal(names.Err())
	}
	if masked == 0 {
		w.t.Error("no stored answer has a mask in it: none repeated a secret, and this proves nothing")
	}
}

// lookAtTables shows every row of every table, without the one column that
// holds the credentials.
func (w *world) lookAtTables(look *watch) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT table_schema || '.' || table_name FROM information_schema.tables
		WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		w.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(tables) < 8 {
		w.t.Fatal(tables, err)
	}
	for _, table := range tables {
		column := "to_jsonb(t)::text"
		if table == "public.credential" {
			column = "(to_jsonb(t) - 'credentials')::text"
		}
		rows, err := w.db.Query(w.t.Context(), "SELECT "+column+" FROM "+table+" AS t")
		if err != nil {
			w.t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		look.look("table "+table, strings.Join(all, "\n"))
	}
	if got := w.text("SELECT string_agg(credentials::text, '') FROM credential"); strings.Contains(got, marker) {
		w.t.Error("a sealed credential can be read")
	}
}

// The URLs of the servers hold passwords, and what is wrong with one is told
// without it.
func TestWrongURLsAreNotRepeated(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.forCommands()
	look := newWatch(t)
	for _, c := range []struct{ env, value string }{
		{"PG_URL", "postgres://u:" + marker + "@127.0.0.1:1/x"},
		{"PG_URL", "postgres://u:" + marker + "@ho st/x"},
		{"PG_URL", "postgresql+asyncpg://u:" + marker + "@127.0.0.1:1/x?sslmode=" + marker},
		{"PG_URL", "host=127.0.0.1 port=1 user=u password=" + marker},
		{"PG_URL", marker},
		{"NATS_URL", "nats://u:" + marker + "@127.0.0.1:1"},
		{"NATS_URL", "nats://" + marker + "@127.0.0.1:1"},
		{"NATS_URL", "nats://u:" + marker + "@ho st"},
		{"NATS_URL", "nats://u:" + marker + "@127.0.0.1:x"},
		{"BEAT_ENDPOINTS", "https://u:" + marker + "@127.0.0.1/"},
		{"REDIS_URL", "redis://u:" + marker + "@127.0.0.1:1/0"},
		{"REDIS_URL", "redis://u:" + marker + "@ho st/0"},
		{"REDIS_URL", "redis://u:" + marker + "@127.0.0.1:1/" + marker},
		{"RMQ_URL", "amqp://u:" + marker + "@127.0.0.1:1/"},
		{"RMQ_URL", "amqp://u:" + marker + "@ho st/"},
		{"RMQ_URL", "http://u:" + marker + "@127.0.0.1:1/"},
		{"BEAT_ENDPOINTS", "graphapi=http://u:" + marker + "@ho st/"},
		{"BEAT_ENDPOINTS", "nobody=https://u:" + marker + "@127.0.0.1/"},
		{"BEAT_CREDENTIAL_KEY", marker},
		{"BEAT_CREDENTIAL_KEY", base64.StdEncoding.EncodeToString([]byte(marker))},
	} {
		t.Run(c.env, func(t *testing.T) {
			t.Setenv(c.env, c.value)
			look.t = t
			for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}, {"tasks", "why", "1"}, {"tasks", "cancel", "1"}, {"limits", "list"},
				{"credentials", "list"}, {"credentials", "test", "graphapi"}, {"dead", "list"}, {"run", "bridge"}} {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // run would go on
				var out syncBuffer
				run(ctx, args, &out, &out)
				cancel()
				look.look("beat "+strings.Join(args, " ")+" with "+c.env+"="+strings.ReplaceAll(c.value, marker, "…"), out.String())
			}
		})
	}
}
