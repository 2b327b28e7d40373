package projections

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"beat/streams/bus"
	"beat/streams/bus/natsd"
	"beat/streams/event"
	"beat/streams/social"
)

// apply has the commits applied as live traffic applies a batch.
func apply(ctx context.Context, db *pgxpool.Pool, commits []event.Commit) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := applyTo(ctx, tx, commits)
		return err
	})
}

// newStreams is a private JetStream with an empty EVENTS.
func newStreams(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := natsd.Start(natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Ensure(t.Context(), js, bus.Options{}, nil); err != nil {
		t.Fatal(err)
	}
	return js
}

func rebuilder(db *pgxpool.Pool, js jetstream.JetStream, cfg RebuildConfig) *Rebuilder {
	return NewRebuilder(slog.New(slog.DiscardHandler), db, js, cfg)
}

// table is the rows of a table by key, without what tells when they were written.
func rowsOf(ctx context.Context, db *pgxpool.Pool, name, key, without string) (map[string]string, error) {
	rows, err := db.Query(ctx, fmt.Sprintf(`SELECT %s, (to_jsonb(x) - $1::text[])::text FROM %s x`, key, name), strings.Split(without, ","))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	var k, row string
	_, err = pgx.ForEachRow(rows, []any{&k, &row}, func() error {
		out[k] = row
		return nil
	})
	return out, err
}

// A history is what was ever committed, in the order in which it came to be.
type history []event.Commit

// drawHistory draws answers about three posts of two profiles. Some of the answers
// were taken back, some parsed again, and then they say something else, less or
// more.
func drawHistory(t *rapid.T) history {
	var out history
	n := rapid.IntRange(1, 8).Draw(t, "answers")
	log := func(label string, post int, source string) social.Log {
		l := social.Log{Kind: social.Post, Key: fmt.Sprint("post", post), Owner: fmt.Sprint("owner", post%2), Source: source}
		for _, name := range []string{"likes", "comments", "profile_follower"} {
			if v := rapid.IntRange(-1, 3).Draw(t, label+" "+name); v >= 0 {
				l.Metrics = append(l.Metrics, social.KV{Key: name, Value: social.Int(int64(v))})
			}
		}
		for _, name := range []string{"caption", "handle"} {
			if v := rapid.IntRange(-1, 2).Draw(t, label+" "+name); v >= 0 {
				l.Dimensions = append(l.Dimensions, social.KV{Key: name, Value: social.String(fmt.Sprint(name, v))})
			}
		}
		return l
	}
	for i := range n {
		raw := social.Raw{ID: fmt.Sprintf("raw%d", i), Source: rapid.SampledFrom([]string{"graphapi", "lama"}).Draw(t, "source"),
			At: at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "hour")) * time.Hour)}
		c := event.Commit{Task: social.TaskRef{ID: int64(i + 1), Fence: 1, Platform: social.Instagram}, Parts: 1, Parser: 1, Raw: raw}
		again := c
		again.Parser, again.Replay = 2, &event.Replay{Job: 1}
		back := c
		back.Replay, back.Answer = &event.Replay{}, event.Withdrawn
		said := rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 3, rapid.ID[int]).Draw(t, "posts")
		for _, post := range said {
			l := log("first", post, raw.Source)
			id := event.LogID(raw.ID, l)
			c.Events = append(c.Events, event.Event{ID: id, Log: l})
			switch rapid.SampledFrom([]string{"", "", "another", "gone", "back"}).Draw(t, "then") {
			case "another":
				again.Events = append(again.Events, event.Event{ID: event.ID(id, 2), Log: log("second", post, raw.Source)})
			case "gone":
				again.Events = append(again.Events, event.Event{ID: event.ID(id, 2), Log: l, Gone: true})
			case "back":
				back.Events = append(back.Events, event.Event{ID: event.ID(id, "withdrawn"), Log: l, Gone: true})
			}
		}
		out = append(out, c)
		for _, more := range []event.Commit{again, back} {
			if len(more.Events) > 0 {
				out = append(out, more)
			}
		}
	}
	return out
}

// fold is what the history says, by the definition: of each observation the last
// word, and of these per column the last one in the order of their origins.
func (h history) fold() map[string]map[string]string {
	type word struct {
		event.Event
		raw    social.Raw
		parser int
		replay bool
	}
	words := map[string]word{}
	for _, c := range h {
		for _, e := range c.Events {
			id := event.LogID(c.Raw.ID, e.Log)
			if w, ok := words[id]; !ok || w.parser < c.Parser || w.parser == c.Parser && c.Replay != nil {
				words[id] = word{e, c.Raw, c.Parser, c.Replay != nil}
			}
		}
	}
	var all []word
	for _, w := range words {
		if !w.Gone {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b word) int {
		return cmp.Or(a.raw.At.Compare(b.raw.At), strings.Compare(a.raw.ID, b.raw.ID))
	})
	out := map[string]map[string]string{}
	for _, w := range all {
		row := out[w.Log.Key]
		if row == nil {
			row = map[string]string{}
			out[w.Log.Key] = row
		}
		for _, kv := range slices.Concat(w.Log.Metrics, w.Log.Dimensions) {
			if _, ok := row[kv.Key]; !ok || kv.Key != "profile_follower" { // the first of these stays
				row[kv.Key] = strings.Trim(string(kv.Value), `"`)
			}
		}
		if len(w.Log.Dimensions) > 0 {
			row["profile_id"] = w.Log.Owner
		}
	}
	return out
}

// stored is what the table says, in the words of fold.
func stored(ctx context.Context, db *pgxpool.Pool) (map[string]map[string]string, error) {
	rows, err := db.Query(ctx, `SELECT shortcode, coalesce(jsonb_object_agg(key, value #>> '{}') FILTER (WHERE key IS NOT NULL), '{}')
		FROM instagram_post p LEFT JOIN LATERAL (SELECT * FROM jsonb_each(jsonb_strip_nulls(to_jsonb(p)) - '{id,shortcode,created_at,updated_at,lineage}'::text[])) x ON true GROUP BY shortcode`)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]string{}
	var key string
	var row map[string]string
	_, err = pgx.ForEachRow(rows, []any{&key, &row}, func() error {
		out[key], row = row, nil
		return nil
	})
	return out, err
}

// Whatever the order of answers, replays and what was taken back, how often each
// came, in which batches, and when the table was rebuilt between or meanwhile: the
// table holds what the ordered fold says.
func TestAnyInterleavingGivesTheFold(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": cmp.Or(os.Getenv("BEAT_CHECKS"), "12"), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	db, js := newDB(t), newStreams(t)
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		if _, err := db.Exec(ctx, "TRUNCATE instagram_post, post_log"); err != nil {
			t.Fatal(err)
		}
		h := drawHistory(t)
		all := slices.Clone(h)
		for range rapid.IntRange(0, len(h)).Draw(t, "duplicates") {
			all = append(all, rapid.SampledFrom(h).Draw(t, "duplicate"))
		}
		all = rapid.Permutation(all).Draw(t, "order")
		for len(all) > 0 {
			n := rapid.IntRange(1, len(all)).Draw(t, "batch")
			batch := all[:n]
			all = all[n:]
			g, work := errgroup.WithContext(ctx)
			g.Go(func() error { return apply(work, db, batch) })
			if rapid.IntRange(0, 2).Draw(t, "rebuild") == 0 {
				g.Go(func() error {
					_, err := rebuilder(db, js, RebuildConfig{Tables: []string{"instagram_post"}, Force: true}).Run(work)
					return err
				})
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		got, err := stored(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(h.fold(), got); diff != "" {
			t.Fatalf("(-fold +stored)\n%s", diff)
		}
		if differ, err := Verify(ctx, db, social.Instagram, social.Post, []string{"post0", "post1", "post2"}); err != nil || len(differ) > 0 {
			t.Fatalf("verify: %v, %v", differ, err)
		}
		dropKept(ctx, t, db)
	})
}

func dropKept(ctx context.Context, t interface{ Fatal(...any) }, db *pgxpool.Pool) {
	if _, err := DropKept(ctx, db); err != nil {
		t.Fatal(err)
	}
}
