package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations/pgtest"
	"beat/streams/event"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// An observation is a log and where it comes from.
type observation struct {
	log  social.Log
	from origin
}

var at = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// observations are of four posts, by two sources, over a few hours; some
// columns are missing, null or empty in some of them.
func observations() []observation {
	var out []observation
	for i := range 40 {
		from := origin{"graphapi", at.Add(time.Duration(i%7) * time.Hour), fmt.Sprintf("raw%02d", i), 1}
		l := social.Log{Kind: social.Post, Key: fmt.Sprintf("post%d", i%4), Owner: "1", Source: "graphapi"}
		if i%2 == 1 {
			from.source, l.Source = "rapidapi-arraybobo", "rapidapi-arraybobo"
		}
		l.Metrics = social.KVs{{Key: "likes", Value: social.Int(int64(i))}}
		if i%3 == 0 {
			l.Metrics = append(l.Metrics, social.KV{Key: "comments", Value: social.Null})
		} else {
			l.Metrics = append(l.Metrics, social.KV{Key: "comments", Value: social.Int(int64(100 + i))})
		}
		caption := social.String(fmt.Sprint("caption ", i))
		if i%5 == 0 {
			caption = json.RawMessage(`""`)
		}
		l.Dimensions = social.KVs{{Key: "caption", Value: caption}, {Key: "taken_at_timestamp", Value: social.Int(1695550000 + int64(i%4))}}
		out = append(out, observation{l, from})
	}
	return out
}

func fill(t testing.TB, db *pgxpool.Pool, batches [][]observation) {
	t.Helper()
	posts := tables[social.Instagram][social.Post]
	for _, b := range batches {
		f := fold{}
		for _, o := range b {
			f.add(posts, o.log, o.from)
		}
		if err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
			_, err := write(t.Context(), tx, posts, f)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func dump(t *testing.T, db *pgxpool.Pool) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT (to_jsonb(p) - 'id')::text FROM instagram_post p ORDER BY shortcode`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// State is a join, not a race: whatever the order, the batches and the
// duplicates, the rows are the same, their lineage too.
func TestOrderAndDuplicatesDoNotMatter(t *testing.T) {
	db := pgtest.New(t)
	all := observations()
	fill(t, db, [][]observation{all})
	want := dump(t, db)
	if len(want) != 4 {
		t.Fatalf("rows: got %d, want 4", len(want))
	}
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		twice := append(append([]observation{}, all...), all...)
		r.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
		var batches [][]observation
		for len(twice) > 0 {
			n := min(1+r.IntN(9), len(twice))
			batches, twice = append(batches, twice[:n]), twice[n:]
		}
		if _, err := db.Exec(t.Context(), "TRUNCATE instagram_post"); err != nil {
			t.Fatal(err)
		}
		fill(t, db, batches)
		if diff := cmp.Diff(want, dump(t, db)); diff != "" {
			t.Errorf("seed %d: (-want +got)\n%s", seed, diff)
		}
	}
}

// Trap: the same entity asked for twice at once must not fail on its key.
func TestTwoWritersOfTheSameNewRows(t *testing.T) {
	db := pgtest.New(t)
	all := observations()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 2))
			mine := append([]observation{}, all...)
			r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
			posts := tables[social.Instagram][social.Post]
			for i := 0; i < len(mine); i += 5 {
				f := fold{}
				for _, o := range mine[i:min(i+5, len(mine))] {
					f.add(posts, o.log, o.from)
				}
				if err := pgx.BeginFunc(context.Background(), db, func(tx pgx.Tx) error {
					_, err := write(context.Background(), tx, posts, f)
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	got := dump(t, db)
	if _, err := db.Exec(t.Context(), "TRUNCATE instagram_post"); err != nil {
		t.Fatal(err)
	}
	fill(t, db, [][]observation{all})
	if diff := cmp.Diff(dump(t, db), got); diff != "" {
		t.Errorf("(-alone +together)\n%s", diff)
	}
}

// BenchmarkWrite is the merge of posts into the table, a transaction for each
// batch, committed durably: rows that are new, then rows that are there.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1, 50, 500} {
		for _, kind := range []string{"new", "known"} {
			b.Run(fmt.Sprintf("%d/%s", size, kind), func(b *testing.B) {
				db := pgtest.Open(b, pgtest.URL(b, servertest.DurablePostgres(b)))
				batches := func(hour int) (out [][]observation) {
					for i := 0; i < b.N; i += size {
						var batch []observation
						for j := i; j < min(i+size, b.N); j++ {
							o := observations()[1]
							o.log.Key = fmt.Sprintf("post%d", j)
							o.from.at = o.from.at.Add(time.Duration(hour) * time.Hour)
							batch = append(batch, o)
						}
						out = append(out, batch)
					}
					return out
				}
				if kind == "known" {
					fill(b, db, batches(0))
				}
				again := batches(1)
				b.ResetTimer()
				fill(b, db, again)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// answers are n commits with one page of posts each.
func answers(n, hour int) []event.Commit {
	var out []event.Commit
	for i := range n {
		c := event.Commit{
			Task: social.TaskRef{ID: int64(i + 1), Fence: 1, Platform: social.Instagram}, Parts: 1, Parser: 1,
			Raw: social.Raw{ID: social.ID("raw", i, hour), At: at.Add(time.Duration(hour) * time.Hour)},
		}
		for j := range 12 {
			key := fmt.Sprintf("post%d_%d", i, j)
			c.Events = append(c.Events, event.Event{ID: event.ID(c.Raw.ID, key), Log: social.Log{
				Kind: social.Post, Key: key, Owner: "17841400000000007", Source: "arraybobo",
				Dimensions: social.KVs{
					{Key: "profile_id", Value: social.String("17841400000000007")},
					{Key: "handle", Value: social.String("creator00007")},
					{Key: "post_type", Value: social.String("reels")},
					{Key: "display_url", Value: social.String("https://scontent.example.net/" + strings.Repeat("4f2a", 50) + "_n.jpg")},
					{Key: "thumbnail_src", Value: social.String("https://scontent.example.net/" + strings.Repeat("9b1c", 50) + "_n.jpg")},
					{Key: "taken_at_timestamp", Value: social.Int(1695550000 + int64(j))},
					{Key: "user_tags", Value: social.Null},
					{Key: "caption", Value: social.String("Morning run by the river.\nThe \"long\" one! " + strings.Repeat("A little further. ", j%5))},
					{Key: "keywords", Value: social.String(`["Morning", "river"]`)},
				},
				Metrics: social.KVs{{Key: "comments", Value: social.Int(7)}, {Key: "likes", Value: social.Int(37)}, {Key: "play_count", Value: social.Int(1000)}},
			}})
		}
		out = append(out, c)
	}
	return out
}

// BenchmarkAudit writes the audit rows of 100 answers, 1,200 of them, in a
// transaction, committed durably.
func BenchmarkAudit(b *testing.B) {
	db := pgtest.Open(b, pgtest.URL(b, servertest.DurablePostgres(b)))
	hour := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		hour++
		commits := answers(100, hour)
		b.StartTimer()
		if err := pgx.BeginFunc(b.Context(), db, func(tx pgx.Tx) error {
			_, err := audit(b.Context(), tx, commits, false)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1200/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkFold merges 100 answers in memory.
func BenchmarkFold(b *testing.B) {
	commits := answers(100, 1)
	b.ReportAllocs()
	for b.Loop() {
		f := fold{}
		for _, c := range commits {
			for _, e := range c.Events {
				f.add(tables[social.Instagram][social.Post], e.Log, origin{e.Log.Source, c.Raw.At, c.Raw.ID, c.Parser})
			}
		}
		if len(f) != 1200 {
			b.Fatal(len(f))
		}
	}
}

// BenchmarkWriteAnswers folds and writes 100 answers, 1,200 new rows.
func BenchmarkWriteAnswers(b *testing.B) {
	db := pgtest.Open(b, pgtest.URL(b, servertest.DurablePostgres(b)))
	t := tables[social.Instagram][social.Post]
	hour := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		hour++
		commits := answers(100, hour)
		b.StartTimer()
		f := fold{}
		for _, c := range commits {
			for _, e := range c.Events {
				e.Log.Key = fmt.Sprint(e.Log.Key, "_", hour)
				f.add(t, e.Log, origin{e.Log.Source, c.Raw.At, c.Raw.ID, c.Parser})
			}
		}
		if err := pgx.BeginFunc(b.Context(), db, func(tx pgx.Tx) error {
			_, err := write(b.Context(), tx, t, f)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1200/b.Elapsed().Seconds(), "rows/s")
}
