package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/identity"
	"beat/providers/instagram/graphapi"
	"beat/streams/listen"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// A graph is Meta as far as tokens go: which ones it accepts, and what they may.
type graph struct {
	*httptest.Server
	mu     sync.Mutex
	tokens map[string]string // token to what is wrong with it: "", invalid, scopes, expired
	down   bool
	calls  []string
}

func newGraph(t *testing.T) *graph {
	g := &graph{tokens: map[string]string{}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		q := r.URL.Query()
		g.calls = append(g.calls, strings.Trim(r.URL.Path, "/"))
		if g.down {
			w.WriteHeader(503)
			return
		}
		debug := strings.HasSuffix(r.URL.Path, "/debug_token")
		token := q.Get("access_token")
		if debug {
			if token != "app|secret" {
				w.WriteHeader(400)
				fmt.Fprint(w, `{"error":{"message":"Invalid app","code":190}}`) //nolint:errcheck // a test
				return
			}
			token = q.Get("input_token")
		}
		wrong, known := g.tokens[token]
		if !known {
			wrong = "invalid"
		}
		scopes, until := `["instagram_basic","instagram_manage_insights","pages_read_engagement","pages_show_list"]`, time.Now().Add(time.Hour).Unix()
		switch {
		case debug && wrong == "scopes":
			scopes = `["instagram_basic"]`
		case debug && wrong == "expired":
			until = time.Now().Add(-time.Minute).Unix()
		case wrong == "gone":
			w.WriteHeader(400)
			fmt.Fprint(w, `{"error":{"message":"Invalid user id","code":110}}`) //nolint:errcheck // a test
			return
		case wrong == "invalid" && !debug:
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"error":{"message":"Error validating access token %s","code":190}}`, token) //nolint:errcheck // a test
			return
		}
		if debug {
			fmt.Fprintf(w, `{"data":{"is_valid":%t,"scopes":%s,"data_access_expires_at":%d}}`, wrong != "invalid", scopes, until) //nolint:errcheck // a test
			return
		}
		fmt.Fprint(w, `{"business_discovery":{"ig_id":1,"username":"fern.film","followers_count":1,"id":"2"},"id":"3"}`) //nolint:errcheck // a test
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *graph) set(token, wrong string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens[token] = wrong
}

// A world is a table of credentials, Meta, and what is asked to be validated.
type world struct {
	*Keeper
	t        *testing.T
	db       *pgxpool.Pool
	graph    *graph
	log      *strings.Builder
	requests []string
	failing  error // of Request
	account  *identity.Account
	asked    []string // of identity
	lost     error    // of identity
}

func newWorld(t *testing.T, appToken string) *world {
	t.Helper()
	adminURL = servertest.Postgres(t)
	u, err := database()
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgxpool.New(t.Context(), u+"&timezone=UTC")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := &world{t: t, db: db, graph: newGraph(t), log: &strings.Builder{}}
	w.exec("DELETE FROM credential")
	lg := slog.New(slog.NewTextHandler(w.log, nil))
	p := graphapi.New(w.graph.URL)
	set := providers.NewSet(p, &providers.Provider{Source: "lama"})
	w.Keeper = New(lg, credential.New(lg, db, set, credential.Config{}), Config{
		Validators: map[string]Validator{p.Source: graphapi.NewValidator(p, providers.NewClient(providers.ClientConfig{}), appToken)},
		Identity: func(_ context.Context, handle string) (*identity.Account, error) {
			w.asked = append(w.asked, handle)
			return w.account, w.lost
		},
		Request: func(_ context.Context, _ string, body []byte) error {
			if w.failing == nil {
				w.requests = append(w.requests, string(body))
			}
			return w.failing
		},
	})
	return w
}

var adminURL string // of database

// database is one with the schema, for all tests one after the other.
var database = sync.OnceValues(func() (string, error) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, adminURL)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx) //nolint:errcheck // done with it
	name := fmt.Sprintf("beat_tokens_%d", os.Getpid())
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	c := conn.Config()
	u := fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable", c.User, c.Host, c.Port, name)
	_, err = migrations.Up(ctx, u)
	return u, err
})

// row inserts a credential of graphapi.
func (w *world) row(handle, token, columns string) (id int64) {
	w.t.Helper()
	err := w.db.QueryRow(w.t.Context(), `INSERT INTO credential (idempotency_key, source, handle, credentials, enabled, created_at)
		VALUES ('graphapi:' || $1, 'graphapi', $1, jsonb_build_object('token', $2::text, 'user_id', '9'), true, now()) RETURNING id`, handle, token).Scan(&id)
	if err != nil {
		w.t.Fatal(err)
	}
	if columns != "" {
		w.exec("UPDATE credential SET " + columns)
	}
	return id
}

func (w *world) exec(sql string) {
	w.t.Helper()
	if _, err := w.db.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatal(err)
	}
}

// state is the table, a line for each row.
func (w *world) state() string {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT source || ' ' || coalesce(handle, '-') || ' ' || coalesce(credentials ->> 'token', '-') || ' ' || coalesce(credentials ->> 'user_id', '-')
		|| CASE WHEN enabled THEN ' enabled' ELSE ' disabled' END || CASE WHEN data_access_expired THEN ' expired' ELSE '' END
		|| CASE WHEN disabled_till IS NULL THEN '' ELSE ' resting' END FROM credential ORDER BY id`)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func (w *world) token(body string) error {
	return w.Token(w.t.Context(), listen.Delivery{Queue: listen.TokenQueue, Body: []byte(body), Try: 1})
}

func (w *world) validate(body string) error {
	return w.Validate(w.t.Context(), listen.Delivery{Queue: listen.ValidateQueue, Body: []byte(body), Try: 1})
}

func (w *world) want(what, state string) {
	w.t.Helper()
	if got := w.state(); got != state {
		w.t.Errorf("%s: got %q, want %q", what, got, state)
	}
}

const announced = `{"handle": "Fern.Film", "platform": "INSTAGRAM", "socialUserId": "17841400000000000", "graphAccessToken": "new", "accessTokenExpired": false}`

// 5.6: a new token is stored, whatever happened to its row, and its validation is
// asked for; handled twice, it is the same row.
func TestNewToken(t *testing.T) {
	for name, c := range map[string]struct{ columns, body string }{
		"no row":        {"none", announced},
		"refused":       {"enabled = false, refused_at = now(), reason = 'x'", announced},
		"expired":       {"data_access_expired = true", announced},
		"resting":       {"disabled_till = now() + interval '1 hour', failures = 3", announced},
		"never enabled": {"enabled = NULL", announced},
		"snake case":    {"none", `{"handle":"fern.film","platform":"instagram","social_user_id":17841400000000000,"graph_access_token":"new","access_token_expired":null,"more":[1]}`},
		"wrapped":       {"none", `{"socialAccounts":[` + announced + `]}`},
		"wrapped once":  {"none", `{"status":{"key":"SUCCESS"},"social_accounts":` + announced + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "app|secret")
			w.graph.set("new", "")
			if c.columns != "none" {
				w.row("fern.film", "old", c.columns)
			}
			for range 2 {
				if err := w.token(c.body); err != nil {
					t.Fatal(err)
				}
				w.want("stored", "graphapi fern.film new 17841400000000000 enabled")
			}
			var id int
			if err := w.db.QueryRow(t.Context(), "SELECT id FROM credential WHERE failures = 0 AND refused_at IS NULL").Scan(&id); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf(`{"id":%d}`, id); !slices.Equal(w.requests, []string{want, want}) {
				t.Errorf("asked for %v, want %s twice", w.requests, want)
			}
			if err := w.validate(w.requests[0]); err != nil { // our own request is understood
				t.Error(err)
			}
			if strings.Contains(w.log.String(), "=new ") || strings.Contains(w.log.String(), "old") {
				t.Errorf("the log shows a token:\n%s", w.log)
			}
		})
	}
}

// A token that has expired takes its row out of use and leaves its fields, unless
// another token has come meanwhile.
func TestExpiredToken(t *testing.T) {
	w := newWorld(t, "app|secret")
	w.row("fern.film", "old", "")
	expired := func(token string) string {
		return fmt.Sprintf(`{"handle":"fern.film","platform":"INSTAGRAM","graphAccessToken":%q,"accessTokenExpired":true}`, token)
	}
	if err := w.token(expired("older")); !listen.Ignored(err) {
		t.Errorf("another token: %v", err)
	}
	w.want("another token has expired", "graphapi fern.film old 9 enabled")
	for range 2 {
		if err := w.token(expired("")); err != nil {
			t.Fatal(err)
		}
		w.want("expired", "graphapi fern.film old 9 disabled expired")
	}
	if err := w.token(strings.Replace(expired(""), "fern.film", "nobody", 1)); !listen.Ignored(err) {
		t.Errorf("nobody's: %v", err)
	}
	if len(w.requests) > 0 {
		t.Errorf("asked for %v", w.requests)
	}
}

// Out of order: the older token comes last, by another consumer. One that Graph
// refuses does not displace one that works; while Graph says nothing it does, as
// the contract has it, and its validation brings the other back.
func TestTokensOutOfOrder(t *testing.T) {
	w := newWorld(t, "app|secret")
	w.graph.set("new", "")
	if err := w.token(announced); err != nil {
		t.Fatal(err)
	}
	old := strings.Replace(announced, `"new"`, `"old"`, 1)
	if err := w.token(old); !listen.Ignored(err) {
		t.Errorf("the older token: %v", err)
	}
	w.want("the newer stays", "graphapi fern.film new 17841400000000000 enabled")
	w.graph.down = true
	if err := w.token(old); err != nil {
		t.Errorf("the older token while Graph is down: %v", err)
	}
	w.want("unknown, so stored", "graphapi fern.film old 17841400000000000 enabled")
	w.graph.down = false
	w.account = &identity.Account{UserID: "5", Token: "new", Handle: "fern.film", Platform: "INSTAGRAM"}
	if err := w.validate(w.requests[len(w.requests)-1]); err != nil {
		t.Fatal(err)
	}
	w.want("identity has the newer", "graphapi fern.film new 5 enabled")
}

// What is no token of Instagram, or none at all.
func TestOtherTokens(t *testing.T) {
	w := newWorld(t, "")
	for body, says := range map[string]string{
		`{"handle":"a","platform":"YOUTUBE","graphAccessToken":"t"}`:                "ignored",
		`{"handle":"a","platform":"INSTAGRAM"}`:                                     "ignored",
		`{"handle":"a","platform":"INSTAGRAM","graphAccessToken":""}`:               "ignored",
		`{"socialAccounts":[]}`:                                                     "ignored",
		`{"socialAccounts":[{"platform":"YOUTUBE"}]}`:                               "ignored",
		`{"handle":"a","graphAccessToken":"t"}`:                                     "platform is missing",
		`{"platform":"INSTAGRAM","graphAccessToken":"t"}`:                           "handle is missing",
		`{"handle":" ","platform":"INSTAGRAM","graphAccessToken":"t"}`:              "handle is missing",
		`{"handle":"a","platform":"INSTAGRAM","graphAccessToken":"tokentoken"}`:     "socialUserId is missing",
		`{"handle":"a","platform":"INSTAGRAM","graphAccessToken":["tokentoken"]}`:   "graphAccessToken is neither",
		`{"handle":{"a":1},"platform":"INSTAGRAM","graphAccessToken":"tokentoken"}`: "handle is neither",
		`{"handle":"a","platform":"INSTAGRAM","accessTokenExpired":"yes"}`:          "accessTokenExpired is neither",
		`{"socialAccounts":5}`:                                                      "socialAccounts is neither",
		`{"socialAccounts":[5]}`:                                                    "socialAccounts[0] is no object",
		`{}`:                                                                        "platform is missing",
		`[]`:                                                                        "no JSON object",
		`{"handle":"tokentoken`:                                                     "breaks off",
		"":                                                                          "empty",
	} {
		err := w.token(body)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "tokentoken") {
			t.Errorf("%s: got %v, want %q", body, err, says)
		}
	}
	w.want("nothing is stored", "")
}

// A request for validation that cannot be made: the message comes again.
func TestRequestFails(t *testing.T) {
	w := newWorld(t, "")
	w.failing = errors.New("rabbitmq is away")
	if err := w.token(announced); err == nil || listen.Ignored(err) {
		t.Errorf("got %v", err)
	}
	w.want("stored all the same", "graphapi fern.film new 17841400000000000 enabled")
	w.failing = nil
	if err := w.token(announced); err != nil || len(w.requests) != 1 {
		t.Errorf("the second time: %v, %v", err, w.requests)
	}
}

// 5.1: what a validation makes of a row, with and without a token of the
// application.
func TestValidation(t *testing.T) {
	for name, c := range map[string]struct {
		app, wrong, columns string
		want                string
		fails               bool // says nothing: the row stays
	}{
		"good":                    {"app|secret", "", "enabled = false, data_access_expired = true, disabled_till = now() + interval '1 hour'", "enabled", false},
		"good by profile":         {"", "", "enabled = false", "enabled", false},
		"profile unknown":         {"", "gone", "enabled = false", "enabled", false},
		"invalid":                 {"app|secret", "invalid", "", "disabled expired", false},
		"invalid by profile":      {"", "invalid", "", "disabled expired", false},
		"lacks a scope":           {"app|secret", "scopes", "", "disabled expired", false},
		"data access over":        {"app|secret", "expired", "", "disabled expired", false},
		"app token is wrong":      {"app|wrong", "", "enabled = false", "enabled", false},
		"app token wrong, and it": {"app|wrong", "invalid", "", "disabled expired", false},
		"Graph is down":           {"app|secret", "down", "disabled_till = now() + interval '1 hour'", "enabled resting", true},
		"Graph is down otherwise": {"", "down", "enabled = false", "disabled", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.app)
			id := w.row("fern.film", "token-of-fern", c.columns)
			w.graph.down = c.wrong == "down"
			w.graph.set("token-of-fern", c.wrong)
			for _, body := range []string{
				fmt.Sprintf(`{"id":%d}`, id), fmt.Sprintf(`{"credential_id":"%d","x":1}`, id), `{"source":"graphapi","handle":"Fern.Film"}`,
			} {
				err := w.validate(body)
				if (err != nil) != c.fails || listen.Ignored(err) {
					t.Fatalf("%s: %v", body, err)
				}
				if err != nil && strings.Contains(err.Error(), "token-of-fern") {
					t.Errorf("the error shows the token: %v", err)
				}
				w.want(body, "graphapi fern.film token-of-fern 9 "+c.want)
			}
			var reason *string
			if err := w.db.QueryRow(t.Context(), "SELECT reason FROM credential").Scan(&reason); err != nil {
				t.Fatal(err)
			}
			if (reason != nil) != strings.HasPrefix(c.want, "disabled exp") || reason != nil && strings.Contains(*reason, "token-of-fern") {
				t.Errorf("reason %v", reason)
			}
			if strings.Contains(w.log.String(), "token-of-fern") {
				t.Errorf("the log shows the token:\n%s", w.log)
			}
		})
	}
}

// Messages about what is not there, or what nobody can check, change nothing.
func TestValidationOfOthers(t *testing.T) {
	w := newWorld(t, "app|secret")
	w.exec(`INSERT INTO credential (id, source, credentials, enabled) OVERRIDING SYSTEM VALUE VALUES (70, 'lama', '{"x-access-key":"k"}', true), (71, 'tiktok', '{"k":"v"}', true)`)
	before := w.state()
	for body, says := range map[string]string{
		`{"id":4711}`:                        "there is no such credential",
		`{"id":70}`:                          "no validator",
		`{"id":71}`:                          "no validator",
		`{"source":"lama","handle":"x"}`:     "no such credential",
		`{"source":"nobody"}`:                "no such credential",
		`{"source":"graphapi","handle":"x"}`: "identity has no other",
		`{"source":"lama","credentials":{"x-access-key":"a"}}`: "no validator",
		`{"id":0}`:                               "id is no number",
		`{"id":-1}`:                              "id is no number",
		`{"id":1.5}`:                             "id is no number",
		`{"id":"x"}`:                             "id is no number",
		`{"id":99999999999999}`:                  "id is no number",
		`{"id":true}`:                            "id is neither",
		`{"handle":"x"}`:                         "id and source are missing",
		`{"source":"graphapi","credentials":{}}`: "credentials is no object",
		`{"source":"graphapi","credentials":"secretsecret"}`:             "credentials is no object",
		`{"source":"graphapi","credentials":{"token":["secretsecret"]}}`: "credentials holds something",
		`{}`: "id and source are missing",
		`x`:  "no JSON object",
	} {
		err := w.validate(body)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: got %v, want %q", body, err, says)
		}
	}
	w.want("nothing changed", before)
}

// A credential that comes with the message is stored once it is accepted; one that
// is refused takes the same one out of use.
func TestValidationOfGivenFields(t *testing.T) {
	w := newWorld(t, "app|secret")
	given := func(token string) string {
		return fmt.Sprintf(`{"source":"graphapi","handle":"fern.film","credentials":{"token":%q,"user_id":7}}`, token)
	}
	if err := w.validate(given("bad")); !listen.Ignored(err) {
		t.Errorf("bad: %v", err)
	}
	w.want("bad", "")
	w.graph.set("good", "")
	for range 2 {
		if err := w.validate(given("good")); err != nil {
			t.Fatal(err)
		}
		w.want("good", "graphapi fern.film good 7 enabled")
	}
	if err := w.validate(given("bad")); !listen.Ignored(err) {
		t.Errorf("bad beside a good one: %v", err)
	}
	w.want("bad beside a good one", "graphapi fern.film good 7 enabled")
	w.graph.set("good", "invalid")
	if err := w.validate(given("good")); err != nil {
		t.Fatal(err)
	}
	w.want("no longer good", "graphapi fern.film good 7 disabled expired")
	if err := w.validate(`{"source":"graphapi","handle":"x","credentials":{"token":"good"}}`); err == nil {
		t.Error("without user id: no error")
	}
}

// A token that is missing or refused is asked of identity, which may have another.
func TestIdentityHasAnother(t *testing.T) {
	w := newWorld(t, "app|secret")
	w.graph.set("fresh", "")
	w.lost = errors.New("status 503")
	id := w.row("fern.film", "old", "")
	validate := func() {
		t.Helper()
		if err := w.validate(fmt.Sprintf(`{"id":%d}`, id)); err != nil {
			t.Fatal(err)
		}
	}
	validate()
	w.want("identity is down", "graphapi fern.film old 9 disabled expired")
	w.lost, w.account = nil, &identity.Account{UserID: "5", Token: "old", Handle: "fern.film", Platform: "INSTAGRAM"}
	validate()
	w.want("identity has the same", "graphapi fern.film old 9 disabled expired")
	w.account.Token = "bad too"
	validate()
	w.want("identity has a bad one", "graphapi fern.film old 9 disabled expired")
	w.account.Token = "fresh"
	validate()
	w.want("identity has a good one", "graphapi fern.film fresh 5 enabled")
	w.account.Handle = "ann"
	if err := w.validate(`{"source":"graphapi","handle":"ann"}`); err != nil {
		t.Fatal(err)
	}
	w.want("identity has one that is not stored", "graphapi fern.film fresh 5 enabled\ngraphapi ann fresh 5 enabled")
	if w.asked[len(w.asked)-1] != "ann" {
		t.Errorf("identity was asked for %v", w.asked)
	}
}

// Postgres is away: the message comes again.
func TestPostgresIsAway(t *testing.T) {
	w := newWorld(t, "app|secret")
	w.graph.set("new", "")
	w.db.Close()
	for _, err := range []error{w.token(announced), w.validate(`{"id":1}`), w.validate(`{"source":"graphapi","handle":"x","credentials":{"token":"new","user_id":"1"}}`)} {
		if err == nil || listen.Ignored(err) || strings.Contains(err.Error(), "malformed") {
			t.Errorf("got %v, want an outage", err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte(announced))
	f.Add([]byte(`{"socialAccounts":[` + announced + `]}`))
	f.Add([]byte(`{"source":"graphapi","handle":"x","credentials":{"token":"good","user_id":7}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		as, err := readAccounts(body)
		if err == nil && len(as) == 0 {
			t.Errorf("%q is nothing, and no error", body)
		}
		a, err := readAsk(body)
		if err == nil && a.id == 0 && a.source == "" {
			t.Errorf("%q asks for nothing, and no error", body)
		}
		if err == nil && !json.Valid(body) {
			t.Errorf("%q is no JSON", body)
		}
	})
}
