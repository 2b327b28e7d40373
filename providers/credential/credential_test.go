package credential

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"beat/migrations/pgtest"
	"beat/providers"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

func TestMain(m *testing.M) { servertest.Main(m) }

const mark = "geheim-5be0cd19" // in every secret of these tests

func check(c providers.Credential) error { return c.Require("key") }

var known = providers.NewSet(
	&providers.Provider{Source: "one", Platform: social.Instagram, Check: check},
	&providers.Provider{Source: "two", Platform: social.Instagram, Check: check},
	&providers.Provider{Source: "tube", Platform: social.YouTube, Check: check},
)

// newStore is a store that has logged no secret when the test ends.
func newStore(t testing.TB, db *pgxpool.Pool, cfg Config) *Store {
	t.Helper()
	var log syncBuffer
	t.Cleanup(func() {
		if strings.Contains(log.String(), mark) {
			t.Errorf("a secret is logged:\n%s", log.String())
		}
	})
	s := New(slog.New(slog.NewTextHandler(&log, nil)), db, known, cfg)
	load(t, s)
	return s
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func load(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func exec(t testing.TB, db *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scan[T any](t testing.TB, db *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := db.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// insert stores a row as other programs do and returns its id.
func insert(t testing.TB, db *pgxpool.Pool, source, handle string) int64 {
	t.Helper()
	return scan[int64](t, db, `INSERT INTO credential (source, handle, credentials, enabled)
VALUES ($1, nullif($2, ''), jsonb_build_object('key', $3 || random()::text), true) RETURNING id`, source, handle, mark)
}

func pick(t testing.TB, s *Store, source string) providers.Credential {
	t.Helper()
	c, ready, ok := s.Pick(source, "")
	if !ok {
		t.Fatalf("no credential of %s is ready, the first is at %v", source, ready)
	}
	return c
}

func until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// near wants till to be d from now.
func near(t testing.TB, what string, till time.Time, d time.Duration) {
	t.Helper()
	if got := time.Until(till); got > d+time.Second || got < d-20*time.Second {
		t.Errorf("%s: rests for another %v, want %v", what, got.Round(time.Second), d)
	}
}

// What is changed by hand or inserted is in use within 5 s: at once by
// notification, and by reading the table when notifications do not come.
func TestW3_4ChangesAreSeen(t *testing.T) {
	db := pgtest.New(t)
	s := newStore(t, db, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ready := func(id int64) func() bool {
		return func() bool { c, _, ok := s.Pick("one", ""); return ok && c.ID == id }
	}
	none := func() bool { _, _, ok := s.Pick("one", ""); return !ok }
	listeners := func() int {
		return scan[int](t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
	}
	until(t, 5*time.Second, "a connection that listens", func() bool { return listeners() == 1 })

	changed := s.Changed()
	a := insert(t, db, "one", "")
	until(t, 2*time.Second, "a new row", ready(a))
	select {
	case <-changed:
	case <-time.After(time.Second):
		t.Error("who waits is not told of a new row")
	}
	exec(t, db, "UPDATE credential SET enabled = false, disabled_till = 'infinity' WHERE id = $1", a)
	until(t, 2*time.Second, "a row switched off", none)
	changed = s.Changed()
	exec(t, db, "UPDATE credential SET enabled = true, disabled_till = NULL WHERE id = $1", a)
	until(t, 2*time.Second, "a row switched on", ready(a))
	select {
	case <-changed:
	case <-time.After(time.Second):
		t.Error("who waits is not told of a row switched on")
	}

	exec(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
	exec(t, db, "DROP TRIGGER beat_credential_notify ON credential")
	until(t, 5*time.Second, "another connection that listens", func() bool { return listeners() == 1 })
	exec(t, db, "ALTER TABLE credential DISABLE TRIGGER USER")
	exec(t, db, "DELETE FROM credential")
	until(t, 5*time.Second, "a row gone, without notification", none)
	b := insert(t, db, "one", "")
	until(t, 5*time.Second, "a new row, without notification", ready(b))
}

func TestW3_5Stagger(t *testing.T) {
	const n = 10_000
	for _, tt := range []struct {
		name    string
		weights []int
	}{
		{"one", []int{1}},
		{"two alike", []int{1, 1}},
		{"seven alike", []int{1, 1, 1, 1, 1, 1, 1}},
		{"70/30", []int{70, 30}},
		{"70/30, other order", []int{30, 70}},
		{"many", []int{5, 1, 10, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := New(slog.New(slog.DiscardHandler), nil, known, Config{})
			var rows []*row
			sum := 0
			for i, w := range tt.weights {
				rows = append(rows, &row{Credential: providers.Credential{ID: int64(i), Source: "one"}, enabled: true, weight: w})
				sum += w
			}
			s.merge(rows, 0)
			got := make([]int, len(rows))
			for i := range n {
				got[pick(t, s, "one").ID]++
				for j, w := range tt.weights { // at every moment, not only at the end
					if want := float64((i+1)*w) / float64(sum); float64(got[j]) > want+2 || float64(got[j]) < want-2 {
						t.Fatalf("after %d calls row %d of %v had %d, want %.1f", i+1, j, tt.weights, got[j], want)
					}
				}
			}
		})
	}
}

// The least recently used is next, among equals strictly.
func TestLeastRecentlyUsed(t *testing.T) {
	db := pgtest.New(t)
	for range 5 {
		insert(t, db, "one", "")
	}
	s := newStore(t, db, Config{})
	var round []int64
	for i := range 50 {
		id := pick(t, s, "one").ID
		if i%7 == 0 {
			load(t, s) // does not forget whose turn it is
		}
		if i < 5 {
			round = append(round, id)
		} else if id != round[i%5] {
			t.Fatalf("call %d went to %d, want the round %v again", i, id, round)
		}
	}
}

// A row that rests is passed over, and when it is back it is not made to
// catch up.
func TestW3_5FallThrough(t *testing.T) {
	db := pgtest.New(t)
	a, b := insert(t, db, "one", ""), insert(t, db, "one", "")
	exec(t, db, "UPDATE credential SET weight = CASE id WHEN $1 THEN 70 ELSE 30 END", a)
	s := newStore(t, db, Config{})
	if _, err := s.Rest(t.Context(), providers.Credential{ID: a, Source: "one"}, 0); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if got := pick(t, s, "one").ID; got != b {
			t.Fatalf("credential %d is handed out while it rests", got)
		}
	}
	exec(t, db, "UPDATE credential SET disabled_till = NULL")
	load(t, s)
	n := map[int64]int{}
	for range 100 {
		n[pick(t, s, "one").ID]++
	}
	if n[a] < 68 || n[a] > 72 {
		t.Errorf("the one that is back had %d of 100 calls, want 70", n[a])
	}
	if _, _, ok := s.Pick("two", ""); ok {
		t.Error("a source without rows handed one out")
	}
}

func TestW3_6AllRowsAreUsed(t *testing.T) {
	db := pgtest.New(t)
	want := map[int64]bool{}
	for range 10 {
		want[insert(t, db, "one", "")] = true
	}
	insert(t, db, "two", "")
	got := map[int64]bool{}
	s := newStore(t, db, Config{})
	for range 10 {
		got[pick(t, s, "one").ID] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("10 calls used %v, want %v", got, want)
	}
}

func TestW3_7Alert(t *testing.T) {
	db := pgtest.New(t)
	for i := range 10 {
		insert(t, db, []string{"one", "two"}[i%2], "")
	}
	insert(t, db, "tube", "")
	exec(t, db, "INSERT INTO credential (source, credentials, enabled) SELECT 'one', '{\"key\":\"old\"}', false FROM generate_series(1, 20)")
	s := newStore(t, db, Config{})
	for _, tt := range []struct {
		name string
		sql  string
		want bool
	}{
		{"all ready", "", false},
		{"5 of 10 rest", "UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' + interval '1 hour' WHERE id <= 5", false},
		{"6 of 10 rest", "UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' + interval '1 hour' WHERE id <= 6", true},
		{"their rests are over", "UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' - interval '1 second'", false},
		{"5 of 10 without data access", "UPDATE credential SET data_access_expired = true WHERE id <= 5", false},
		{"a sixth is refused", "UPDATE credential SET enabled = false, refused_at = now() WHERE id = 6", true},
		{"a person switches them off", "UPDATE credential SET enabled = false, refused_at = NULL WHERE id <= 6", false},
	} {
		if tt.sql != "" {
			exec(t, db, tt.sql)
		}
		load(t, s)
		want := map[social.Platform]bool{social.Instagram: tt.want, social.YouTube: false}
		if diff := cmp.Diff(want, s.Alert()); diff != "" {
			t.Errorf("%s: alert (-want +got):\n%s", tt.name, diff)
		}
	}
}

// reenable ends the rest of all rows by hand.
func reenable(t testing.TB, db *pgxpool.Pool, s *Store) {
	t.Helper()
	exec(t, db, "UPDATE credential SET enabled = true, disabled_till = NULL")
	load(t, s)
}

func TestW3_8Backoff(t *testing.T) {
	db := pgtest.New(t)
	id := insert(t, db, "one", "")
	s, other := newStore(t, db, Config{}), newStore(t, db, Config{})
	c := pick(t, s, "one")
	rest := func(after, want time.Duration) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range 20 { // the calls that were under way, in two processes
			wg.Go(func() {
				till, err := []*Store{s, other}[i%2].Rest(t.Context(), c, after)
				if err != nil {
					t.Error(err)
				}
				near(t, fmt.Sprint("after ", after), till, want)
			})
		}
		wg.Wait()
		for _, s := range []*Store{s, other} {
			_, ready, ok := s.Pick("one", "")
			if ok {
				t.Fatal("handed out while it rests")
			}
			near(t, "as the next call is told", ready, want)
		}
		if got := scan[string](t, db, "SELECT reason FROM credential WHERE id = $1 AND enabled", id); got != "limited" {
			t.Errorf("reason is %q, want limited", got)
		}
	}
	again := func() {
		t.Helper()
		reenable(t, db, s)
		load(t, other)
	}
	rest(0, 10*time.Minute)
	again()
	rest(0, 30*time.Minute)
	again()
	rest(0, 60*time.Minute)
	again()
	rest(0, 60*time.Minute)

	// A success of a call from before the rest changes nothing.
	if err := s.Works(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	again()
	if got := scan[int](t, db, "SELECT failures FROM credential"); got != 4 {
		t.Errorf("%d rests counted, want 4", got)
	}
	if err := s.Works(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	load(t, other)
	rest(0, 10*time.Minute)

	// What the provider asks for is done, whether longer or shorter.
	again()
	rest(2*time.Hour, 2*time.Hour)
	again()
	rest(90*time.Second, 90*time.Second)
	// While it rests, a longer wish is granted and a shorter one changes nothing.
	for _, after := range []time.Duration{time.Hour, time.Second, 0} {
		till, err := s.Rest(t.Context(), c, after)
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("%v more while it rests", after), till, time.Hour)
	}
}

// A day without a rest is as good as a success; a day that was itself a rest
// is none.
func TestBackoffBeginsAgainAfterADay(t *testing.T) {
	for _, tt := range []struct {
		name         string
		rested, till string
		want         time.Duration
	}{
		{"23 hours", "23 hours", "22 hours", 60 * time.Minute},
		{"25 hours", "25 hours", "24 hours 30 minutes", 10 * time.Minute},
		{"one that lasted a day", "25 hours", "1 hour", 60 * time.Minute},
	} {
		db := pgtest.New(t)
		insert(t, db, "one", "")
		exec(t, db, `UPDATE credential SET failures = 2, reason = 'limited', rested_at = now() AT TIME ZONE 'UTC' - $1::interval,
disabled_till = now() AT TIME ZONE 'UTC' - $2::interval`, tt.rested, tt.till)
		s := newStore(t, db, Config{})
		till, err := s.Rest(t.Context(), pick(t, s, "one"), 0)
		if err != nil {
			t.Fatal(err)
		}
		near(t, tt.name, till, tt.want)
	}
}

// An outage lets all rows of a source rest, for all processes, once.
func TestDown(t *testing.T) {
	db := pgtest.New(t)
	a, b := insert(t, db, "one", "ann"), insert(t, db, "one", "bob")
	limited := insert(t, db, "one", "cy")
	insert(t, db, "two", "")
	s, other := newStore(t, db, Config{}), newStore(t, db, Config{})
	if _, err := s.Rest(t.Context(), providers.Credential{ID: limited, Source: "one"}, 0); err != nil {
		t.Fatal(err)
	}
	load(t, other)
	for _, want := range []time.Duration{10 * time.Minute, 30 * time.Minute, 60 * time.Minute, 60 * time.Minute} {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				till, err := []*Store{s, other}[i%2].Down(t.Context(), "one", "5 errors in 60 s")
				if err != nil {
					t.Error(err)
				}
				near(t, "down", till, min(want, 10*time.Minute)) // the limited one is back first
			})
		}
		wg.Wait()
		for _, s := range []*Store{s, other} {
			if _, ready, ok := s.Pick("one", "ann"); ok {
				t.Error("handed out while its source is down")
			} else {
				near(t, "a row of a source that is down", ready, want)
			}
			for range 4 {
				if c, ok := s.Probe("one", ""); !ok || c.ID != a && c.ID != b {
					t.Errorf("credential %d, %v to probe with, want %d or %d", c.ID, ok, a, b)
				}
			}
			if c, ok := s.Probe("one", "bob"); !ok || c.ID != b {
				t.Errorf("credential %d, %v to probe with, want bob's %d", c.ID, ok, b)
			}
			if _, ok := s.Probe("one", "cy"); ok {
				t.Error("a credential that was told to slow down is used to probe")
			}
			if _, ok := s.Probe("two", ""); ok {
				t.Error("a source that is not down is probed")
			}
			pick(t, s, "two")
			if st := s.States()[0]; !st.Down || st.Source != "one" || st.Resting != 3 || st.Ready != 0 {
				t.Errorf("state is %+v", st)
			}
		}
		if got := scan[int](t, db, "SELECT count(*) FROM credential WHERE reason = 'provider_down' AND enabled"); got != 2 {
			t.Errorf("%d rows say provider_down, want 2", got)
		}
		exec(t, db, "UPDATE credential SET disabled_till = now() AT TIME ZONE 'UTC' WHERE reason = 'provider_down'")
	}
	if _, err := s.Down(t.Context(), "one", "again"); err != nil {
		t.Fatal(err)
	}
	changed := other.Changed()
	if err := s.Up(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	load(t, other)
	select {
	case <-changed:
	default:
		t.Error("who waits is not told that the source is back")
	}
	for _, s := range []*Store{s, other} {
		if c := pick(t, s, "one"); c.ID == limited {
			t.Error("an outage that is over ended the rest of a limited row")
		}
		if _, ok := s.Probe("one", ""); ok {
			t.Error("a source that is back is probed")
		}
	}
	till, err := s.Down(t.Context(), "one", "next outage")
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the next outage", till, 10*time.Minute)
	if _, err := s.Down(t.Context(), "tube", "no rows"); err != nil {
		t.Error(err)
	}
}

// A limit met while probing holds when the outage is over.
func TestLimitedWhileDown(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	if _, err := s.Down(t.Context(), "one", "x"); err != nil {
		t.Fatal(err)
	}
	c, ok := s.Probe("one", "")
	if !ok {
		t.Fatal("nothing to probe with")
	}
	till, err := s.Rest(t.Context(), c, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "limited", till, 2*time.Hour)
	if err := s.Up(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := s.Pick("one", ""); ok {
		t.Error("handed out while it rests")
	}
	// Its first 429: the outage did not count as one.
	reenable(t, db, s)
	if till, err = s.Rest(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	}
	near(t, "second 429", till, 30*time.Minute)
}

func TestRefuse(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	insert(t, db, "one", "")
	s, other := newStore(t, db, Config{}), newStore(t, db, Config{})
	c := pick(t, s, "one")
	old := c
	if err := s.Refuse(t.Context(), c, "refused: (401, 'bad token "+c.Fields["key"].Reveal()+"')\nline two", true); err != nil {
		t.Fatal(err)
	}
	load(t, other)
	for _, s := range []*Store{s, other} {
		for range 4 {
			if got := pick(t, s, "one"); got.ID == c.ID {
				t.Error("a refused credential is handed out")
			}
		}
		if st := s.States()[0]; st.Enabled != 1 || st.Ready != 1 || st.Refused != 1 {
			t.Errorf("state is %+v", st)
		}
	}
	if got, want := scan[string](t, db, "SELECT reason FROM credential WHERE NOT enabled AND data_access_expired"), "refused: (401, 'bad token ***') line two"; got != want {
		t.Errorf("reason is %q, want %q", got, want)
	}
	if till, err := s.Rest(t.Context(), c, time.Hour); err != nil || !till.IsZero() {
		t.Errorf("a 429 of a refused credential: %v, %v, want nothing", till, err)
	}

	// A new token comes; the refusal of a call that was made with the old one
	// is not its own, whether this process has seen the new one or not.
	id, created, err := other.Add(t.Context(), providers.Credential{Source: "one", Handle: "ann", Fields: secrets("key", mark)}, 0)
	if err != nil || !created {
		t.Fatal(id, created, err)
	}
	load(t, s)
	old, _, _ = s.Pick("one", "ann")
	if _, created, err := other.Add(t.Context(), providers.Credential{Source: "one", Handle: "ann", Fields: secrets("key", mark+"2")}, 0); err != nil || created {
		t.Fatal(created, err)
	}
	for range 2 {
		if err := s.Refuse(t.Context(), old, "invalid token", false); err != nil {
			t.Fatal(err)
		}
		if !scan[bool](t, db, "SELECT enabled FROM credential WHERE id = $1", id) {
			t.Fatal("the new token was refused for the old one")
		}
		if got, _, ok := s.Pick("one", "ann"); !ok || got.Fields["key"] != mark+"2" {
			t.Error("the new token is not handed out")
		}
	}
}

func secrets(pairs ...string) map[string]providers.Secret {
	out := map[string]providers.Secret{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = providers.Secret(pairs[i+1])
	}
	return out
}

// A reading that began before a write does not undo it in memory.
func TestReadingUnderWay(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	c := pick(t, s, "one")
	began := s.counter
	rows, err := s.read(t.Context(), db, "true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rest(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.merge(rows, began)
	s.mu.Unlock()
	if _, _, ok := s.Pick("one", ""); ok {
		t.Error("an old reading ended the rest")
	}
	load(t, s)
	if _, _, ok := s.Pick("one", ""); ok {
		t.Error("a new reading ended the rest")
	}
	reenable(t, db, s)
	pick(t, s, "one")
}

// Without Postgres a key that was told to slow down is left alone all the same.
func TestWithoutPostgres(t *testing.T) {
	db := pgtest.New(t)
	insert(t, db, "one", "")
	insert(t, db, "tube", "")
	s := newStore(t, db, Config{})
	c, d := pick(t, s, "one"), pick(t, s, "tube")
	db.Close()
	if till, err := s.Rest(t.Context(), c, 0); err == nil {
		t.Errorf("rest until %v without Postgres, want an error", till)
	}
	if _, ready, ok := s.Pick("one", ""); ok {
		t.Error("handed out although it was told to slow down")
	} else {
		near(t, "without Postgres", ready, 10*time.Minute)
	}
	if err := s.Refuse(t.Context(), d, "no", false); err == nil {
		t.Error("refused without Postgres, want an error")
	}
	if _, _, ok := s.Pick("tube", ""); ok || s.Usable("tube", "") {
		t.Error("handed out although it was refused")
	}
	if err := s.Load(t.Context()); err == nil {
		t.Error("read without Postgres, want an error")
	}
}

func TestHandle(t *testing.T) {
	db := pgtest.New(t)
	ann := insert(t, db, "one", "ann")
	insert(t, db, "one", "")
	s := newStore(t, db, Config{})
	for range 3 {
		if c, _, ok := s.Pick("one", "ann"); !ok || c.ID != ann {
			t.Fatalf("credential %d, %v for ann, want %d", c.ID, ok, ann)
		}
	}
	if c, ready, ok := s.Pick("one", "bob"); ok || !ready.IsZero() || s.Usable("one", "bob") {
		t.Errorf("credential %d for bob, who has none", c.ID)
	}
	if _, err := s.Rest(t.Context(), providers.Credential{ID: ann, Source: "one"}, 0); err != nil {
		t.Fatal(err)
	}
	if _, ready, ok := s.Pick("one", "ann"); ok || ready.IsZero() || !s.Usable("one", "ann") {
		t.Errorf("ann's rests: ok %v, ready %v", ok, ready)
	}
	pick(t, s, "one")
}

// Rows made by hand may be anything; they do not hide the others.
func TestOddRows(t *testing.T) {
	db := pgtest.New(t)
	good := insert(t, db, "one", "")
	for _, sql := range []string{
		`INSERT INTO credential (source, credentials, enabled) VALUES ('one', NULL, true)`,
		`INSERT INTO credential (source, credentials, enabled) VALUES ('one', '["` + mark + `"]', true)`,
		`INSERT INTO credential (source, credentials, enabled) VALUES ('one', '{"key":{"a":"` + mark + `"}}', true)`,
		`INSERT INTO credential (source, credentials, enabled) VALUES ('one', '{"kye":"` + mark + `"}', true)`,
		`INSERT INTO credential (source, credentials, enabled) VALUES ('one', '{"key":"` + mark + `"}', NULL)`,
		`INSERT INTO credential (source, credentials, enabled, disabled_till) VALUES ('two', '{"key":"` + mark + `"}', true, 'infinity')`,
		`INSERT INTO credential (source, credentials, enabled, disabled_till, weight) VALUES ('tube', '{"key":17841400000009999}', true, '-infinity', -3)`,
		`INSERT INTO credential (source, credentials, enabled) VALUES (NULL, NULL, NULL), ('nobody', '{"a":"b"}', true)`,
	} {
		exec(t, db, sql)
	}
	s := newStore(t, db, Config{})
	for range 3 {
		if got := pick(t, s, "one").ID; got != good {
			t.Errorf("credential %d, want %d", got, good)
		}
	}
	if got := s.Bad(); len(got) != 4 || strings.Contains(fmt.Sprint(got), mark) {
		t.Errorf("bad rows: %v", got)
	}
	if _, ready, ok := s.Pick("two", ""); ok || ready.Year() != 9999 {
		t.Errorf("one that rests for ever is ready at %v", ready)
	}
	if till, err := s.Rest(t.Context(), providers.Credential{ID: 7, Source: "two"}, 0); err != nil || till.Year() != 9999 {
		t.Errorf("one that rests for ever rests until %v, %v", till, err)
	}
	if got := pick(t, s, "tube").Fields["key"]; got != "17841400000009999" {
		t.Errorf("a number is read as %q", got.Reveal())
	}
	rows, err := s.Rows(t.Context())
	if err != nil || len(rows) != 10 {
		t.Errorf("%d rows, %v, want 10", len(rows), err)
	}
	want := []State{
		{Source: "one", Platform: social.Instagram, Enabled: 5, Ready: 1, Unusable: 4, Refused: 1},
		{Source: "tube", Platform: social.YouTube, Enabled: 1, Ready: 1},
		{Source: "two", Platform: social.Instagram, Enabled: 1, Resting: 1},
	}
	got := s.States()
	if got[2].Next.Year() != 9999 {
		t.Errorf("the next is ready at %v", got[2].Next)
	}
	got[2].Next = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}

	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if v := m.GetGauge().GetValue(); v != 0 {
				metrics[name] = v
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{
		"beat_credential_rows one ready": 1, "beat_credential_rows one unusable": 4, "beat_credential_rows one refused": 1,
		"beat_credential_rows tube ready": 1, "beat_credential_rows two resting": 1, "beat_credential_alert INSTAGRAM": 1,
	}, metrics); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
