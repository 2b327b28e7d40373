package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"beat/providers/sandbox"
	"beat/streams/schedule"
	"beat/streams/social"
)

// An hour of traffic with ten keys, 180 times as fast: 20 seconds, in which each
// key may make 8 calls within 4 seconds, as it were within 12 minutes. It is told
// in whole seconds when it may go on, so a window cannot be much shorter; and a
// call's way does not get shorter, which is what grace is for.
const (
	hourOfKeys  = 20 * time.Second
	callsPerKey = 8
	perWindow   = 4 * time.Second
	banAfter    = 3
	grace       = 500 * time.Millisecond
	tenKeys     = 10
	keysSource  = "rapidapi-arraybobo"
)

// A sandbox that bans a key after three calls that ignore its 429s bans none,
// with more tasks than the keys can pay for and two processes that use them.
func TestNoKeyIsBanned(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers bool
	}{
		{"quota headers", true}, // are learned from: hardly any 429
		{"none", false},         // a key is used until it is told to wait
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, localConfig{})
			w.tenKeys()
			w.box.SetQuota(sandbox.Quota{Source: keysSource, Calls: callsPerKey, Per: perWindow,
				Headers: tt.headers, BanAfter: banAfter, Grace: grace})
			w.runAll()
			_, stop := w.runRoles("scheduler", "retrieval")
			t.Cleanup(stop)

			n := 0
			for end := time.Now().Add(hourOfKeys); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if waiting := w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'PENDING'"); waiting >= 0 && waiting < 50 {
					w.basics(n, 50)
					n += 50
				}
			}
			w.until("the end of all tasks", func() bool {
				return w.int("SELECT count(*) FROM scrape_request_log WHERE status IN ('COMPLETE', 'FAILED')") == n
			})
			if got := w.complete(); got != n {
				t.Errorf("%d of %d tasks are complete; one is not: %s", got, n, w.text("SELECT max(data) FROM scrape_request_log WHERE status = 'FAILED'"))
			}

			s := w.box.Stats().Sources[keysSource]
			t.Logf("%d tasks, %d calls, %d limited, %d ignored, %d banned; rests: %s", n, s.Calls, s.Limited, s.Ignored, s.Banned,
				w.text("SELECT string_agg(concat_ws(' ', reason, writes, longest), ', ') FROM (SELECT reason, count(*) AS writes, max(rest) AS longest FROM key_rest GROUP BY 1) r"))
			if s.Banned != 0 || len(s.Keys) != tenKeys {
				t.Errorf("%d of %d keys are banned, want none of %d", s.Banned, len(s.Keys), tenKeys)
			}
			least, most := s.Keys[0].Calls, 0
			for _, k := range s.Keys {
				least, most = min(least, k.Calls), max(most, k.Calls)
				if k.Ignored >= banAfter {
					t.Errorf("key %s: %d calls ignored a 429", k.Key, k.Ignored)
				}
			}
			if most > 2*least {
				t.Errorf("a key has %d calls and another %d, want them shared evenly", most, least)
			}
			switch {
			case !tt.headers && s.Limited < tenKeys:
				t.Errorf("%d answers of 429: nothing was tested", s.Limited)
			case tt.headers && s.Limited > s.Calls/20: // two processes may make the last call in the same moment
				t.Errorf("%d of %d answers are 429 although quotas were told", s.Limited, s.Calls)
			}
			if got := w.text("SELECT max(rest)::text FROM key_rest WHERE rest > $1::interval", perWindow); got != "" {
				t.Errorf("a key was made to rest for %s, and told to for %v", got, perWindow)
			}
			if got := w.int("SELECT count(*) FROM credential WHERE source = $1 AND NOT enabled", keysSource); got != 0 {
				t.Errorf("%d keys are out of use", got)
			}
		})
	}
}

// tenKeys leaves one source, with ten keys. Table key_rest is told of each
// rest of theirs that is written.
func (w *world) tenKeys() {
	w.t.Helper()
	w.exec("DELETE FROM credential")
	w.exec(`INSERT INTO credential (idempotency_key, source, credentials, enabled)
SELECT 'key-' || i, $1, jsonb_build_object('X-RapidAPI-Key', 'sandbox-key-' || i, 'X-RapidAPI-Host', 'instagram-scraper-2022.p.rapidapi.com'), true
FROM generate_series(1, $2::int) i`, keysSource, tenKeys)
	w.exec("CREATE TABLE key_rest (reason text, rest interval)")
	w.exec(`CREATE FUNCTION key_rest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO key_rest VALUES (NEW.reason, NEW.disabled_till - clock_timestamp() AT TIME ZONE 'UTC');
    RETURN NULL;
END $$`)
	w.exec(`CREATE TRIGGER key_rest AFTER UPDATE ON credential
FOR EACH ROW WHEN (NEW.disabled_till IS DISTINCT FROM OLD.disabled_till) EXECUTE FUNCTION key_rest()`)
}

// basics stores n tasks of one call each, for profiles from the first on.
func (w *world) basics(first, n int) {
	w.t.Helper()
	rs := make([]schedule.Request, n)
	for i := range rs {
		rs[i] = schedule.Request{Flow: "refresh_profile_basic", Platform: social.Instagram,
			Params: json.RawMessage(fmt.Sprintf(`{"handle":"creator%05d","profile_id":null}`, first+i+1))}
	}
	if err := w.queue.EnqueueAll(w.t.Context(), rs); err != nil {
		w.t.Fatal(err)
	}
}
