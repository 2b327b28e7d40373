package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/bridge/amqpcheck"
	"beat/streams/servers/servertest"
)

// A figure is a number that an answer gives for someone or something.
type figure struct {
	name string // handle, channel id or shortcode
	of   string // followers, likes or views
	n    int64
}

// answered is every count that the files say, found by walking them: whatever
// has a name and a number is one, wherever it stands.
func answered(t *testing.T, dir string) map[figure]bool {
	t.Helper()
	out := map[figure]bool{}
	number := func(v any) (int64, bool) {
		switch v := v.(type) {
		case map[string]any: // {"count": 17}
			n, ok := v["count"].(json.Number)
			i, err := n.Int64()
			return i, ok && err == nil
		case json.Number:
			i, err := v.Int64()
			return i, err == nil
		case string:
			i, err := strconv.ParseInt(v, 10, 64)
			return i, err == nil
		}
		return 0, false
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, r := range []struct{ name, number, of string }{
				{"username", "follower_count", "followers"}, {"username", "followers_count", "followers"}, {"username", "edge_followed_by", "followers"},
				{"code", "like_count", "likes"}, {"shortcode", "like_count", "likes"},
				{"shortcode", "edge_media_preview_like", "likes"}, {"shortcode", "edge_liked_by", "likes"},
			} {
				name, ok := v[r.name].(string)
				n, is := number(v[r.number])
				if ok && is {
					out[figure{name, r.of, n}] = true
				}
			}
			if s, ok := v["statistics"].(map[string]any); ok {
				id, _ := v["id"].(string)
				for key, of := range map[string]string{"subscriberCount": "followers", "viewCount": "views"} {
					if n, is := number(s[key]); is && id != "" {
						out[figure{id, of, n}] = true
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) == nil { // some are errors, and no JSON
			walk(v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Real answers go through the whole pipeline: the rows in Postgres and the
// bodies on RabbitMQ carry the files' own numbers.
func TestDemoFixtures(t *testing.T) {
	dir := os.Getenv("BEAT_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "fixtures")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Log("no fixtures here")
		return
	}
	said := answered(t, dir)
	rmq := servertest.Vhost(t)
	declare(t, rmq)
	pg := newDatabase(t)
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"demo", "--exit", "--json", "--fixtures", dir, "--pg-url", pg, "--rmq-url", rmq}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	db, err := openPG(t.Context(), pg, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()

	rows, err := db.Query(t.Context(), `
SELECT handle, 'followers', followers FROM instagram_account WHERE followers IS NOT NULL
UNION ALL SELECT shortcode, 'likes', likes FROM instagram_post WHERE likes IS NOT NULL
UNION ALL SELECT channel_id, 'followers', subscribers FROM youtube_account WHERE subscribers IS NOT NULL
UNION ALL SELECT channel_id, 'views', views FROM youtube_account WHERE views IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[figure]bool{}
	var c figure
	if _, err := pgx.ForEachRow(rows, []any{&c.name, &c.of, &c.n}, func() error {
		stored[c] = true
		if !said[c] {
			t.Errorf("Postgres: %s of %s is %d, which no file says", c.of, c.name, c.n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var failed int
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM scrape_request_log WHERE status <> 'COMPLETE'").Scan(&failed); err != nil || failed != 0 {
		t.Errorf("%d tasks are not COMPLETE, %v", failed, err)
	}

	var want demoResult
	if err := json.Unmarshal(out.Bytes(), &want); err != nil {
		t.Fatal(err)
	}
	if want.Accounts < 8 || want.Posts < 18 || len(stored) < want.Accounts+want.Posts {
		t.Errorf("%d accounts, %d posts, %d counts, want 8, 18 and one for each or more", want.Accounts, want.Posts, len(stored))
	}
	told := map[figure]bool{}
	for _, d := range drain(t, rmq, everything) {
		if err := amqpcheck.Check(d.RoutingKey, d.Body); err != nil {
			t.Errorf("%s: %v\n%s", d.RoutingKey, err, d.Body)
		}
		var e struct {
			Platform   string
			Handle     *string
			Profile    string         `json:"profile_id"`
			Shortcode  string         `json:"shortcode"`
			Metrics    map[string]any `json:"metrics"`
			Dimensions map[string]any `json:"dimensions"`
		}
		dec := json.NewDecoder(bytes.NewReader(d.Body))
		dec.UseNumber()
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		add := func(name, of, key string) {
			if n, ok := e.Metrics[key].(json.Number); ok && name != "" {
				i, err := n.Int64()
				if err != nil {
					t.Errorf("%s: %s is %s", d.RoutingKey, key, n)
				}
				told[figure{name, of, i}] = true
			}
		}
		switch {
		case d.RoutingKey == "post_log_events":
			add(e.Shortcode, "likes", "likes")
		case d.RoutingKey == "profile_log_events" && e.Platform == "YOUTUBE":
			add(e.Profile, "followers", "subscriber_count")
			add(e.Profile, "views", "view_count")
		case d.RoutingKey == "profile_log_events":
			add(deref(e.Handle), "followers", "followers")
		}
	}
	for c := range told {
		if !said[c] {
			t.Errorf("RabbitMQ: %s of %s is %d, which no file says", c.of, c.name, c.n)
		}
	}
	for c := range stored {
		if !told[c] {
			t.Errorf("RabbitMQ was not told that %s of %s is %d", c.of, c.name, c.n)
		}
	}
}

// drain reads what a queue holds.
func drain(t *testing.T, url, queue string) (out []amqp.Delivery) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, d)
	}
}
