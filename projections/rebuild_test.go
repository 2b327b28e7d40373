package projections

import (
	"cmp"
	"context"
	"errors"
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

	"beat/migrations/pgtest"
	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"
	"beat/streams/event"
	"beat/streams/social"
)

// apply has the commits applied as live traffic applies a batch.
func apply(ctx context.Context, db *pgxpool.Pool, commits []event.Commit) error {
	write := func(merged bool) error {
		return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
			_, err := applyTo(ctx, tx, commits, merged)
			return err
		})
	}
	err := write(false)
	if repeated(err) {
		err = write(true)
	}
	return err
}

// newStreams is a private JetStream with an empty EVENTS.
func newStreams(t *testing.T) jetstream.JetStream {
	t.Helper()
	_, _, js := natstest.New(t)
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
			At: at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "hour"))*time.Hour + time.Duration(rapid.IntRange(0, 2).Draw(t, "ns"))*400)}
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
		return cmp.Or(a.raw.At.Truncate(time.Microsecond).Compare(b.raw.At.Truncate(time.Microsecond)), strings.Compare(a.raw.ID, b.raw.ID))
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
	db, js := pgtest.New(t), newStreams(t)
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

// said is n answers about posts, one each, of an hour of their own.
func said(n, hour int) []event.Commit {
	var out []event.Commit
	for i := range n {
		l := social.Log{Kind: social.Post, Key: fmt.Sprintf("post%05d", i), Owner: "1", Source: "graphapi",
			Metrics:    social.KVs{{Key: "likes", Value: social.Int(int64(i + hour))}},
			Dimensions: social.KVs{{Key: "caption", Value: social.String(fmt.Sprint("caption ", hour))}}}
		raw := social.Raw{ID: social.ID("said", i, hour), Source: "graphapi", At: at.Add(time.Duration(hour) * time.Hour)}
		out = append(out, event.Commit{Task: social.TaskRef{ID: int64(i + 1), Fence: 1, Platform: social.Instagram}, Parts: 1, Parser: 1, Raw: raw,
			Events: []event.Event{{ID: event.LogID(raw.ID, l), Log: l}}})
	}
	return out
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// tablesLike counts tables by a part of their name.
func tablesLike(t *testing.T, db *pgxpool.Pool, like string) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE $1`, like).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func triggers(t *testing.T, db *pgxpool.Pool) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT count(*) FROM pg_trigger WHERE tgfoid = 'beat_note_keys'::regproc`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Rows that were damaged are as observed again; all others are what they were, with
// their ids, also those that beat knows nothing of, and those whose observations
// are stored no more. A dry run tells of it and leaves nothing behind.
func TestRebuildRepairsAndKeeps(t *testing.T) {
	t.Parallel()
	db, js, ctx := pgtest.New(t), newStreams(t), t.Context()
	const n = 900 // of several spans
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(ctx, sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for hour := range 2 {
		if err := apply(ctx, db, said(n, hour)); err != nil {
			t.Fatal(err)
		}
	}
	// Others have columns of their own, and rows.
	exec(`ALTER TABLE instagram_post ADD COLUMN theirs text DEFAULT 'none'`)
	exec(`UPDATE instagram_post SET theirs = 'mark', reach = 5 WHERE shortcode = 'post00003'`)
	exec(`INSERT INTO instagram_post (shortcode, likes) VALUES ('alien', 4), (NULL, 5), ('', 6)`)
	// What was seen of one is a month that was dropped; of another only the last.
	exec(`DELETE FROM post_log WHERE platform_post_id = 'post00010' OR platform_post_id = 'post00011' AND "timestamp" = $1`, at.Add(time.Hour))
	want := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", ""))
	fresh := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", "id,updated_at,theirs"))

	exec(`UPDATE instagram_post SET likes = -1 WHERE shortcode = 'post00001'`)
	exec(`UPDATE instagram_post SET caption = NULL WHERE shortcode BETWEEN 'post00500' AND 'post00509'`)
	exec(`DELETE FROM instagram_post WHERE shortcode = 'post00002'`)
	damaged := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", ""))
	cfg := RebuildConfig{Tables: []string{"instagram_post"}, DryRun: true, Span: 200}
	dry := must[*Rebuilt](t)(rebuilder(db, js, cfg).Run(ctx))
	if got := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", "")); !gocmp.Equal(damaged, got) {
		t.Error("a dry run has changed rows")
	}
	if tables := tablesLike(t, db, "instagram_post\\_%") - tablesLike(t, db, "instagram_post\\_ts"); tables != 0 || triggers(t, db) != 0 {
		t.Errorf("a dry run has left %d tables and %d triggers", tables, triggers(t, db))
	}
	post := dry.Tables[0]
	if post.Rows != n+3 || post.Appearing != 1 || post.Vanishing != 0 || post.Changing != 11 || post.Compared != n+1 || len(post.Columns) != 2 ||
		post.Columns[0].Column != `"caption"` || post.Columns[0].Rows != 10 || post.Columns[1].Column != `"likes"` || post.Columns[1].Rows != 1 ||
		*post.Columns[1].Samples[0].Is != "-1" || *post.Columns[1].Samples[0].Observed != "2" || !slices.Equal(post.Examples, []string{"post00002"}) {
		t.Errorf("dry run: %+v, columns %+v", post, post.Columns)
	}

	cfg.DryRun = false
	done := must[*Rebuilt](t)(rebuilder(db, js, cfg).Run(ctx))
	if done.State != "swapped" || done.StandstillMS > 2000 || done.Tables[0].Before != fmt.Sprintf("instagram_post_before_%d", done.Run) {
		t.Errorf("rebuild: %+v", done)
	}
	got := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", ""))
	repaired := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "coalesce(shortcode, '-')", "id,updated_at,theirs"))
	if diff := gocmp.Diff(fresh, repaired); diff != "" {
		t.Errorf("values: (-before the damage +after the rebuild)\n%s", diff)
	}
	for key := range want {
		damage := key == "post00001" || key == "post00002" || key >= "post00500" && key <= "post00509"
		if !damage && got[key] != want[key] {
			t.Errorf("%s was not damaged, and is another:\n%s\n%s", key, want[key], got[key])
		}
	}
	var moved int
	if err := db.QueryRow(ctx, `SELECT count(*) FROM instagram_post a JOIN `+done.Tables[0].Before+` b USING (id) WHERE a.updated_at > b.updated_at`).Scan(&moved); err != nil || moved != 11 {
		t.Errorf("updated_at has moved in %d rows, want the 11 that were repaired in place: %v", moved, err)
	}
	for key, theirs := range map[string]string{"post00003": "mark", "post00002": "none"} {
		var is string
		if err := db.QueryRow(ctx, `SELECT theirs FROM instagram_post WHERE shortcode = $1`, key).Scan(&is); err != nil || is != theirs {
			t.Errorf("%s: a column of others is %q, want %q: %v", key, is, theirs, err)
		}
	}
	again := must[*Rebuilt](t)(rebuilder(db, js, cfg).Run(ctx))
	if post := again.Tables[0]; post.Changing != 0 || post.Appearing != 0 || post.Vanishing != 0 {
		t.Errorf("a second rebuild: %+v", post)
	}
	if n := tablesLike(t, db, "instagram_post\\_before%"); n != 1 {
		t.Errorf("%d replaced tables are kept, want the last one", n)
	}
}

// Going back loses nothing that has come since, and can be gone back from. Only
// then, dropped, there is no way back.
func TestBackFromARebuild(t *testing.T) {
	t.Parallel()
	db, js, ctx := pgtest.New(t), newStreams(t), t.Context()
	r := rebuilder(db, js, RebuildConfig{Tables: []string{"instagram_post"}})
	if _, err := r.Back(ctx); !errors.Is(err, ErrNothingKept) {
		t.Errorf("nothing was rebuilt: %v", err)
	}
	if err := apply(ctx, db, said(50, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, `UPDATE instagram_post SET likes = 77 WHERE shortcode = 'post00007'`); err != nil {
		t.Fatal(err)
	}
	likes := func(key string) (n int) {
		t.Helper()
		if err := db.QueryRow(ctx, `SELECT likes FROM instagram_post WHERE shortcode = $1`, key).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	must[*Rebuilt](t)(r.Run(ctx))
	if n := likes("post00007"); n != 7 {
		t.Fatalf("likes are %d, want 7", n)
	}
	if err := apply(ctx, db, said(60, 5)[1:5]); err != nil { // changed, and
		t.Fatal(err)
	}
	if err := apply(ctx, db, said(60, 5)[55:]); err != nil { // new
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, `UPDATE instagram_post SET reach = 9 WHERE shortcode = 'post00020'`); err != nil {
		t.Fatal(err)
	}
	rebuilt := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", ""))
	back := must[*Rebuilt](t)(r.Back(ctx))
	if n := likes("post00007"); n != 77 {
		t.Errorf("likes are %d, want the 77 of before", n)
	}
	got := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", ""))
	for key := range rebuilt {
		if key != "post00007" && got[key] != rebuilt[key] {
			t.Errorf("%s: what has come since is lost:\n%s\n%s", key, rebuilt[key], got[key])
		}
	}
	if len(got) != 55 {
		t.Errorf("%d rows, want 55", len(got))
	}
	if must[*Rebuilt](t)(r.Back(ctx)); likes("post00007") != 7 || back.State != "swapped" {
		t.Errorf("likes are %d, want 7 again", likes("post00007"))
	}
	if dropped := must[[]string](t)(DropKept(ctx, db)); len(dropped) != 1 {
		t.Errorf("dropped %v, want one table", dropped)
	}
	if _, err := r.Back(ctx); !errors.Is(err, ErrNothingKept) || triggers(t, db) != 0 {
		t.Errorf("after all was dropped: %v, %d triggers", err, triggers(t, db))
	}
}

// What EVENTS has and the stored observations lack is added to them first.
func TestRebuildFromEvents(t *testing.T) {
	t.Parallel()
	db, js, ctx := pgtest.New(t), newStreams(t), t.Context()
	all := said(300, 0)
	withdrawn := all[9]
	withdrawn.Replay, withdrawn.Answer = &event.Replay{}, event.Withdrawn
	withdrawn.Events = []event.Event{{ID: event.ID("taken back"), Log: all[9].Events[0].Log, Gone: true}}
	all = append(all, withdrawn)
	ends := map[int]uint64{}
	for _, c := range all {
		data, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(ctx, c.Subject(), data)
		if err != nil {
			t.Fatal(err)
		}
		shard, _, err := event.ParseSubject(c.Subject())
		if err != nil {
			t.Fatal(err)
		}
		ends[shard] = ack.Sequence
	}
	if err := apply(ctx, db, all); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, bus.Events)
	if err != nil {
		t.Fatal(err)
	}
	for shard, seq := range ends {
		if _, err := db.Exec(ctx, `INSERT INTO stream_position (reader, shard, stream, applied, told) VALUES ('project', $1, $2, $3, 0)`,
			shard, s.CachedInfo().Created.UTC().Format(time.RFC3339Nano), int64(seq)); err != nil {
			t.Fatal(err)
		}
	}
	want := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", "id"))
	if len(want) != 299 {
		t.Fatalf("%d rows, want 299: one was taken back", len(want))
	}
	for _, damage := range []string{"TRUNCATE instagram_post, post_log", "DELETE FROM post_log WHERE platform_post_id < 'post00100'", "TRUNCATE instagram_post"} {
		if _, err := db.Exec(ctx, damage); err != nil {
			t.Fatal(err)
		}
		out := must[*Rebuilt](t)(rebuilder(db, js, RebuildConfig{Tables: []string{"instagram_post"}}).Run(ctx))
		if diff := gocmp.Diff(want, must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", "id"))); diff != "" {
			t.Errorf("after %s: (-want +got)\n%s", damage, diff)
		}
		if out.Observations.Looked != 301 || out.Observations.Added != out.Observations.Missing || (out.Observations.Missing > 0) != strings.Contains(damage, "post_log") {
			t.Errorf("after %s: %+v", damage, out.Observations)
		}
	}
}

// Rows that only the live table has, because all that was said of them was taken
// back, do not vanish unasked; a run that is broken off leaves nothing, one that
// was killed is cleaned up by the next.
func TestRebuildThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	db, js, ctx := pgtest.New(t), newStreams(t), t.Context()
	if err := apply(ctx, db, said(500, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, `UPDATE post_log SET gone = true WHERE platform_post_id = 'post00004'`); err != nil {
		t.Fatal(err)
	}
	want := must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", ""))
	if _, err := rebuilder(db, js, RebuildConfig{Tables: []string{"instagram_post"}}).Run(ctx); !errors.Is(err, ErrVanish) {
		t.Errorf("a row vanishes: %v", err)
	}
	for _, step := range []string{"fold", "index", "compare", "swap"} {
		work, cancel := context.WithCancel(ctx)
		_, err := rebuilder(db, js, RebuildConfig{Tables: []string{"instagram_post"}, Force: true, Say: func(s RebuildStep) {
			if s.Step == step {
				cancel()
			}
		}}).Run(work)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("broken off at %s: %v", step, err)
		}
		if tablesLike(t, db, "%\\_rebuild") != 1 || triggers(t, db) != 0 { // beat_rebuild
			t.Errorf("broken off at %s, it has left something", step)
		}
	}
	if diff := gocmp.Diff(want, must[map[string]string](t)(rowsOf(ctx, db, "instagram_post", "shortcode", ""))); diff != "" {
		t.Errorf("rows have changed: (-want +got)\n%s", diff)
	}
	// As a killed one leaves it.
	m := must[model](t)(modelOf("instagram_post"))
	if err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return m.shadow().Create(ctx, tx) }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(ctx, `INSERT INTO instagram_post_rebuild (shortcode) VALUES ('half'); INSERT INTO beat_rebuild (tables, state) VALUES ('{instagram_post}', 'building')`); err != nil {
		t.Fatal(err)
	}
	out := must[*Rebuilt](t)(rebuilder(db, js, RebuildConfig{Force: true}).Run(ctx))
	runs := must[[]RebuildRun](t)(RebuildRuns(ctx, db, 2))
	if out.Tables[1].Vanishing != 1 || out.Tables[1].Rows != 499 || runs[1].State != "left" || runs[0].State != "swapped" {
		t.Errorf("the next one: %+v, runs %+v", out.Tables[1], runs)
	}
}
