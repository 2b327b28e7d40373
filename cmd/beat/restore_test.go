package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"beat/streams/replay"
	"beat/streams/social"
)

// W8.2 and W8.3: what a bad deployment has written since a time is taken back,
// after a look at it; the profile is scraped again once, however often that is
// done; and what is scraped then counts.
func TestW8_2AndW8_3Restore(t *testing.T) {
	w := newWorld(t, localConfig{})
	bad := w.through("graphapi")
	w.runAll()
	w.forCommands()
	const handle = "creator00004"
	account := func() string {
		return w.text("SELECT (to_jsonb(a) - '{id,updated_at,refreshed_at}'::text[])::text FROM instagram_account a WHERE handle = $1", handle)
	}
	w.outcome(w.basic(handle), social.Complete)
	good := account()
	since := time.Now().UTC().Format(time.RFC3339Nano)
	bad.set("graphapi", func(l *social.Log) {
		if l.Kind == social.Profile {
			n, _ := l.Metrics.Int("followers")
			l.Metrics.Set("followers", social.Int(3*n))
			l.Dimensions = append(l.Dimensions, social.KV{Key: "category", Value: social.String("wrong")})
		}
	})
	w.outcome(w.basic(handle), social.Complete)
	corrupt := account()
	if corrupt == good || !strings.Contains(corrupt, `"wrong"`) {
		t.Fatalf("the corruption is not to be seen: %s", corrupt)
	}
	var was []stateAt
	if err := json.Unmarshal([]byte(w.command(0, "state", handle, "--at", since, "--json")), &was); err != nil || len(was) != 1 || was[0].Observations != 1 {
		t.Errorf("state then: %+v, %v", was, err)
	}
	for _, c := range was[0].Columns {
		if c.Name == "category" || c.Source != "graphapi" || c.Raw == "" || c.Task == 0 {
			t.Errorf("column then: %+v", c)
		}
	}

	restore := func(args ...string) restored {
		t.Helper()
		var all []restored
		out := w.command(0, append([]string{"restore", handle, "--since", since, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
			t.Fatalf("%v in %s", err, out)
		}
		return all[0]
	}
	r := restore("--dry-run")
	if r.TakenBack != 1 || len(r.Changes) != 2 || r.Changes["category"].Is != "wrong" || r.Changes["category"].To != nil || r.Task != 0 {
		t.Errorf("dry run: %+v", r)
	}
	if account() != corrupt {
		t.Error("a dry run has changed the account")
	}
	bad.set("graphapi", nil)
	restore("--no-scrape")
	w.until("the account is as before", func() bool { return account() == good })
	if r := restore("--no-scrape"); r.TakenBack != 0 || len(r.Changes) != 0 || r.Task != 0 {
		t.Errorf("done twice: %+v", r)
	}
	if report, _ := w.replay(nil, replay.Filter{}); report.Changed != 0 {
		t.Errorf("a replay would bring %d answers back", report.Changed)
	}
	first, second := restore(), restore()
	if second.Task != first.Task || first.Task == 0 {
		t.Errorf("scraped again by tasks %d and %d, want one", first.Task, second.Task)
	}
	if n := w.int("SELECT count(*) FROM scrape_request_log WHERE flow = 'refresh_profile_by_handle'"); n != 1 {
		t.Errorf("%d tasks scrape it again, want 1", n)
	}
	w.outcome(first.Task, social.Complete)
	if n := w.int("SELECT count(*) FROM instagram_account"); n != 1 {
		t.Errorf("%d accounts, want 1", n)
	}
	w.command(1, "restore", "nobody", "--since", since)
}
