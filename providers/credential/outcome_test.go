package credential

import (
	"context"
	"testing"
	"time"

	"beat/migrations/pgtest"
	"beat/providers"
)

// A spent quota is a rest of its own: it is as long as it was told to be, ends
// by itself, counts as no failure, and what the key does next says nothing.
func TestSpent(t *testing.T) {
	db := pgtest.New(t)
	id := insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	c := pick(t, s, "one")
	if _, err := s.Rest(t.Context(), c, 0); err != nil { // the first step
		t.Fatal(err)
	}
	reenable(t, db, s)
	spent := func(until time.Time) {
		t.Helper()
		if err := s.Spent(t.Context(), c, until); err != nil {
			t.Fatal(err)
		}
	}
	state := func() string {
		t.Helper()
		return scan[string](t, db, "SELECT concat_ws(' ', to_char(disabled_till, 'YYYY-MM-DD HH24:MI:SS'), reason, failures, enabled) FROM credential WHERE id = $1", id)
	}
	until := time.Now().Add(time.Hour)
	want := func(what string, till time.Time, reason string) {
		t.Helper()
		if got, want := state(), till.UTC().Format(time.DateTime)+" "+reason+" 1 t"; got != want {
			t.Errorf("%s: the row is %q, want %q", what, got, want)
		}
		load(t, s)
		if _, ready, ok := s.Pick("one", ""); ok || ready.Sub(till).Abs() > time.Millisecond {
			t.Errorf("%s: ready %v, at %v, want at %v", what, ok, ready, till)
		}
		if _, ok := s.Ready(c); ok {
			t.Errorf("%s: it is ready", what)
		}
	}
	spent(until)
	want("spent", until, "quota")
	if err := s.Works(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	want("a good answer meanwhile", until, "quota")
	written := scan[string](t, db, "SELECT xmin::text FROM credential WHERE id = $1", id)
	for _, off := range []time.Duration{0, 900 * time.Millisecond, -time.Second, -time.Hour} {
		spent(until.Add(off))
	}
	other := newStore(t, db, Config{})
	if err := other.Spent(t.Context(), c, until.Add(500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if got := scan[string](t, db, "SELECT xmin::text FROM credential WHERE id = $1", id); got != written {
		t.Error("the same rest is written again")
	}
	until = until.Add(2 * time.Second)
	spent(until)
	want("a longer one", until, "quota")

	// A 429 of the same burst is about the same quota.
	if _, err := s.Rest(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	}
	want("a 429 that says nothing", until, "quota")

	reenable(t, db, s)
	if rested, ok := s.Ready(c); !ok || !rested.IsZero() {
		t.Errorf("ready %v after a rest until %v, want ready and none", ok, rested)
	}
	over := time.Now().Add(-time.Second).UTC().Truncate(time.Microsecond)
	exec(t, db, "UPDATE credential SET disabled_till = $1", over)
	load(t, s)
	if rested, ok := s.Ready(c); !ok || !rested.Equal(over) {
		t.Errorf("ready %v after a rest until %v, want ready and %v", ok, rested, over)
	}
	exec(t, db, "UPDATE credential SET failures = 1")
	load(t, s)
	if till, err := s.Rest(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	} else {
		near(t, "the next step is the second", till, 30*time.Minute)
	}
}

// What is known of a row better than from a quota stays.
func TestSpentLeavesOtherStatesAlone(t *testing.T) {
	in := func(d time.Duration) time.Time { return time.Now().Add(d) }
	for name, tt := range map[string]struct {
		set   string
		until time.Time
	}{
		"a longer rest": {"disabled_till = now() AT TIME ZONE 'UTC' + interval '2 hours', reason = 'limited', failures = 2", in(time.Hour)},
		"provider down": {"disabled_till = now() AT TIME ZONE 'UTC' + interval '10 minutes', reason = 'provider_down', downs = 1", in(time.Hour)},
		"disabled":      {"enabled = false, reason = 'by hand'", in(time.Hour)},
		"refused":       {"enabled = false, refused_at = now(), reason = 'no'", in(time.Hour)},
		"in the past":   {"reason = NULL", in(-time.Second)},
	} {
		db := pgtest.New(t)
		id := insert(t, db, "one", "")
		stale := newStore(t, db, Config{}) // has not seen what follows
		c := pick(t, stale, "one")
		exec(t, db, "UPDATE credential SET "+tt.set)
		s := newStore(t, db, Config{})
		row := func() string { return scan[string](t, db, "SELECT c::text FROM credential c WHERE id = $1", id) }
		before := row()
		for _, s := range []*Store{s, stale} {
			if err := s.Spent(t.Context(), c, tt.until); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := row(); got != before {
			t.Errorf("%s: the row changed from\n%s to\n%s", name, before, got)
		}
	}
}

func TestSpentWithoutPostgres(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	c := pick(t, s, "one")
	db.Close()
	if err := s.Spent(t.Context(), c, time.Now().Add(time.Hour)); err == nil {
		t.Error("spent without Postgres, want an error")
	}
	if _, ok := s.Ready(c); ok {
		t.Error("it is ready although its quota is spent")
	}
}

// While a rest is being written, a reading that begins finds the row as it was.
// The key is not handed out for that.
func TestReadingWhileWriting(t *testing.T) {
	for name, write := range map[string]func(*Store, providers.Credential) error{
		"rest": func(s *Store, c providers.Credential) error { _, err := s.Rest(context.Background(), c, 0); return err },
		"spent": func(s *Store, c providers.Credential) error {
			return s.Spent(context.Background(), c, time.Now().Add(time.Hour))
		},
		"refuse": func(s *Store, c providers.Credential) error {
			return s.Refuse(context.Background(), c, "no", false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := pgtest.New(t)
			insert(t, db, "one", "")
			s := newStore(t, db, Config{})
			c := pick(t, s, "one")
			tx, err := db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(context.Background()) //nolint:errcheck // done already
			if _, err := tx.Exec(t.Context(), "SELECT FROM credential FOR UPDATE"); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- write(s, c) }()
			until(t, 5*time.Second, "the write waits", func() bool {
				return scan[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 1
			})
			load(t, s)
			_, ready := s.Ready(c)
			if _, _, ok := s.Pick("one", ""); ok || ready {
				t.Error("handed out while its rest is written")
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			load(t, s)
			if _, _, ok := s.Pick("one", ""); ok {
				t.Error("handed out once it is written")
			}
			exec(t, db, "UPDATE credential SET enabled = true, disabled_till = NULL")
			load(t, s)
			pick(t, s, "one") // the row is read again
		})
	}
}

// Another process knows of a rest, and leaves the key alone, long before the
// table is next read.
func TestRestIsToldAtOnce(t *testing.T) {
	db := pgtest.New(t)
	const n = 20
	for range n {
		insert(t, db, "one", "")
	}
	s, other := newStore(t, db, Config{}), newStore(t, db, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- other.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	until(t, 5*time.Second, "a connection that listens", func() bool {
		return scan[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'") == 1
	})
	var took []time.Duration
	for i := range n {
		c := pick(t, s, "one")
		began := time.Now()
		var err error
		if i%2 == 0 {
			_, err = s.Rest(t.Context(), c, time.Hour)
		} else {
			err = s.Spent(t.Context(), c, time.Now().Add(time.Hour))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, ok := other.Ready(c); ok; _, ok = other.Ready(c) {
			if time.Since(began) > time.Second {
				t.Fatalf("rest %d: not told within a second", i)
			}
			time.Sleep(100 * time.Microsecond)
		}
		took = append(took, time.Since(began))
	}
	t.Logf("told after %v", took)
}

// A reading that came while a row was written was passed over for it. The table
// is read once more, for it may have shown what another process did.
func TestWritesAreFollowedByAReading(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	c := pick(t, s, "one")
	exec(t, db, "UPDATE credential SET failures = 1")
	load(t, s)
	for _, tt := range []struct {
		name  string
		write func() error
	}{
		{"works", func() error { return s.Works(t.Context(), c) }},
		{"rest", func() error { _, err := s.Rest(t.Context(), c, time.Hour); return err }},
		{"spent", func() error { return s.Spent(t.Context(), c, time.Now().Add(2*time.Hour)) }},
		{"refuse", func() error { return s.Refuse(t.Context(), c, "no", false) }},
	} {
		if err := tt.write(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-s.wake:
		default:
			t.Errorf("%s: the table is not read again", tt.name)
		}
	}
}
