package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bridge/amqpcheck"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// bound gives an account a Graph credential of its own.
func (w *world) bound(handle string) {
	w.t.Helper()
	if err := insertCredential(w.t.Context(), w.db, w.box.Bound(handle)); err != nil {
		w.t.Fatal(err)
	}
}

// insights asks for those of a stored post.
func (w *world) insights(shortcode, handle string) int64 {
	w.t.Helper()
	return w.put("refresh_post_insights", map[string]string{
		"shortcode": shortcode, "handle": handle, "post_type": "reels",
		"post_id": w.text("SELECT post_id FROM instagram_post WHERE shortcode = $1", shortcode),
	})
}

// shortcodes are those of posts that Graph knows, of an account that is
// refreshed for it.
func (w *world) shortcodes(handle string, n int) []string {
	w.t.Helper()
	w.outcome(w.basic(handle), social.Complete)
	var out []string
	if err := w.db.QueryRow(w.t.Context(), `SELECT array_agg(shortcode ORDER BY shortcode) FROM instagram_post
		WHERE handle = $1 AND post_id IS NOT NULL AND post_type = 'reels'`, handle).Scan(&out); err != nil || len(out) < n {
		w.t.Fatalf("reels of %s: %q, %v, want %d", handle, out, err, n)
	}
	return out[:n]
}

// Insights are asked for with the credential of the handle, and with no other.
func TestPostInsights(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	const owner, other = "creator00007", "creator00008"
	post := w.shortcodes(owner, 1)[0]
	if got, want := w.outcome(w.insights(post, owner), social.Failed), "No cred is available at the moment"; got != want {
		t.Errorf("without a credential of the handle: got %q, want %q", got, want)
	}
	w.bound(owner)
	w.bound(other)
	if got, want := w.outcome(w.insights(post, other), social.Failed), "(404, 'Post missing')"; got != want {
		t.Errorf("the post of another: got %q, want %q", got, want)
	}
	if got := w.outcome(w.insights(post, owner), social.Complete); got != "None" {
		t.Errorf("data: got %q", got)
	}
	if n := w.int(`SELECT count(*) FROM instagram_post WHERE shortcode = $1 AND reach > likes AND saved > 0 AND shares > 0 AND interactions > likes
		AND plays > 0 AND profile_id IS NOT NULL AND lineage -> 'c' ? 'reach'`, post); n != 1 {
		t.Errorf("the row has no insights: %s", w.text("SELECT row_to_json(p)::text FROM instagram_post p WHERE shortcode = $1", post))
	}
	w.box.Expire(sandbox.Expiry{Source: "graphapi", Key: w.box.Bound(owner).Fields["token"]})
	if got, want := w.outcome(w.insights(post, owner), social.Failed), "(401, 'Invalid access token')"; got != want {
		t.Errorf("an expired token: got %q, want %q", got, want)
	}
	if n := w.int("SELECT count(*) FROM credential WHERE handle = $1 AND NOT enabled AND data_access_expired", owner); n != 1 {
		t.Error("the expired credential is in use")
	}
	if n := w.int("SELECT count(*) FROM credential WHERE NOT enabled"); n != 1 {
		t.Errorf("%d credentials are out of use, want the one", n)
	}
}

// A seenPost is a post as R8 answers it.
type seenPost struct {
	Status struct {
		Type, Message string
		Code          int
	}
	Post map[string]json.RawMessage
}

// fetchPost is R8.
func fetchPost(t *testing.T, root, shortcode, handle string) (p seenPost) {
	t.Helper()
	res, err := http.Get(root + "/posts/instagram/byshortcode/" + shortcode + "?handle=" + handle)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &p); err != nil || res.StatusCode != 200 {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, body)
	}
	return p
}

func (p seenPost) fresh() bool {
	_, stale := p.Post["stale"]
	_, asOf := p.Post["as_of"]
	return p.Status.Type == "SUCCESS" && !stale && !asOf
}

// W1.5: while Graph does not answer, a post is told with the insights that are
// stored, marked, and nothing is written; without any it is an error. Once Graph
// is back, so are fresh insights.
func TestW1_5StaleInsights(t *testing.T) {
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{rmqURL: rmq})
	a := w.runAll()
	root := "http://" + <-a.addr
	const handle = "creator00007"
	w.bound(handle)
	posts := w.shortcodes(handle, 2)
	known, bare := posts[0], posts[1]

	first := fetchPost(t, root, known, handle)
	if !first.fresh() || string(first.Post["shortcode"]) != `"`+known+`"` || !strings.HasPrefix(string(first.Post["metrics"]), `{"reach":`) ||
		strings.HasPrefix(string(first.Post["metrics"]), `{"reach":null`) {
		t.Fatalf("with Graph: got %+v", first)
	}
	const row = "SELECT row_to_json(p)::text FROM instagram_post p WHERE shortcode = $1"
	const logs = "SELECT count(*) FROM post_log"
	rowKnown, rowBare, logged := w.text(row, known), w.text(row, bare), w.int(logs)
	asOf := w.text(`SELECT to_char((lineage -> 'a' -> (lineage -> 'c' ->> 'reach')::int ->> 1)::timestamptz AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
		FROM instagram_post WHERE shortcode = $1`, known)
	nothingWritten := func(state string) {
		t.Helper()
		if w.text(row, known) != rowKnown || w.text(row, bare) != rowBare || w.int(logs) != logged {
			t.Errorf("%s: a row was written", state)
		}
	}
	stale := func(state string) {
		t.Helper()
		got := fetchPost(t, root, known, handle)
		if got.Status.Type != "SUCCESS" || string(got.Post["stale"]) != "true" || !strings.HasPrefix(string(got.Post["as_of"]), `"`+asOf) ||
			string(got.Post["metrics"]) != string(first.Post["metrics"]) {
			t.Errorf("%s: got %+v, want %s as of %s", state, got, first.Post["metrics"], asOf)
		}
		nothingWritten(state)
	}

	down := w.box.Inject(sandbox.Fault{Source: "graphapi", Kind: "503"})
	stale("503 with stored insights")
	if got := fetchPost(t, root, bare, handle); got.Status.Type != "ERROR" || got.Status.Code != 503 || got.Status.Message != "Something went wrong" || got.Post != nil {
		t.Errorf("503 with nothing stored: got %+v, want the error of Graph", got)
	}
	nothingWritten("503 with nothing stored")
	// The fifth failure takes the source out of use: the task now waits for it.
	stale("the source is down")
	if n := w.int("SELECT count(*) FROM credential WHERE handle = $1 AND reason = 'provider_down'", handle); n != 1 {
		t.Error("the source is not down")
	}

	w.box.Clear(down)
	w.until("fresh insights", func() bool {
		got := fetchPost(t, root, known, handle)
		return got.fresh() && w.text(row, known) != rowKnown
	})
	if got := fetchPost(t, root, bare, handle); !got.fresh() {
		t.Errorf("after the outage: got %+v", got)
	}

	// A post's events are told in order, so what Graph's return led to comes last.
	told := map[string][]time.Time{} // when the insights of a post were observed
	consume(t, rmq, func(m map[string][]amqp.Delivery) bool {
		ds := m[bridge.KeyPost]
		for _, d := range ds {
			if err := amqpcheck.Check(d.RoutingKey, d.Body); err != nil {
				t.Errorf("%v\n%s", err, d.Body)
			}
			var e struct {
				Shortcode string         `json:"shortcode"`
				Profile   string         `json:"profile_id"`
				Source    string         `json:"source"`
				Handle    *string        `json:"handle"`
				At        string         `json:"event_timestamp"`
				Metrics   map[string]any `json:"metrics"`
			}
			if err := json.Unmarshal(d.Body, &e); err != nil {
				t.Fatal(err)
			}
			if _, ok := e.Metrics["reach"]; !ok {
				continue
			}
			at, err := time.Parse(time.DateTime, e.At)
			if err != nil || e.Source != "graphapi" || e.Profile != "TODO" || e.Handle != nil {
				t.Errorf("event of insights: %v: %s", err, d.Body)
			}
			told[e.Shortcode] = append(told[e.Shortcode], at)
		}
		clear(m)
		return len(told[bare]) > 0 && len(told[known]) > 1
	})
	if got, want := len(told[known])+len(told[bare]), w.int("SELECT count(*) FROM post_log WHERE metrics @> '[{\"key\":\"reach\"}]'"); got > want {
		t.Errorf("%d events of insights are told, %d observed", got, want)
	}
	if n := len(told[bare]); n != 1 {
		t.Errorf("%d events of a post whose insights were answered once", n)
	}
}
