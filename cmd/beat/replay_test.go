package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"beat/processors"
	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/bridge"
	"beat/streams/bus"
	"beat/streams/replay"
	"beat/streams/servers/servertest"
	"beat/streams/social"
)

// fixed is what the parser of Graph's profiles says, in its second version.
func fixed(p *providers.Provider) *providers.Provider {
	p.Parser = 2
	return p
}

// planted is the parser with three mistakes: three times the followers, a
// category where there is none, and likes of the post beside; and every seventh
// post goes by another name.
func planted(p *providers.Provider) *providers.Provider {
	c := p.Calls[social.ProfileByHandle]
	parse := c.Parse
	c.Parse = func(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
		b, err := parse(ask, at, body)
		for i := range b.Logs {
			l := &b.Logs[i]
			if l.Kind == social.Profile {
				if n, ok := l.Metrics.Int("followers"); ok {
					l.Metrics.Set("followers", social.Int(3*n))
				}
				l.Dimensions = append(l.Dimensions, social.KV{Key: "category", Value: social.String("planted")})
				continue
			}
			if n, ok := l.Metrics.Int("likes"); ok {
				l.Metrics.Set("likes", social.Int(n+1))
			}
			if l.Key[len(l.Key)-1]%7 == 0 {
				l.Key += "_planted"
			}
		}
		return b, err
	}
	p.Calls[social.ProfileByHandle] = c
	return p
}

// days are answers of several sources over simulated days, as RAW keeps them:
// in an order that is not that of their times.
func days(t *testing.T, w *world, n int) []bus.Out {
	set := providerTable(func(source string) string { return w.box.BaseURL(w.box.URL, source) })
	sources := []string{"graphapi", "rapidapi-arraybobo", "rapidapi-jotucker", "lama"}
	client := providers.NewClient(providers.ClientConfig{})
	start := time.Now().UTC().Add(-20 * 24 * time.Hour).Truncate(time.Second)
	rnd := rand.New(rand.NewPCG(1, 2))
	outs := make([]bus.Out, 0, n)
	for i := range n {
		p := set[sources[rnd.IntN(len(sources))]]
		ask := social.Ask{Task: social.TaskRef{ID: int64(i + 1), Fence: 1, Flow: "refresh_profile_basic", Platform: social.Instagram},
			Fetch: social.ProfileByHandle, Keys: []string{fmt.Sprintf("creator%05d", rnd.IntN(n/20+1))}}
		c := w.box.Credential(p.Source)
		cred := providers.Credential{ID: 1, Source: p.Source, Fields: map[string]providers.Secret{}}
		for k, v := range c.Fields {
			cred.Fields[k] = providers.Secret(v)
		}
		q, err := p.Calls[ask.Fetch].Request(cred, ask)
		if err != nil {
			t.Fatal(err)
		}
		ans, err := client.Do(t.Context(), p.BaseURL, q)
		if err != nil || ans.Status != http.StatusOK {
			t.Fatalf("%s: status %d, %v", p.Source, ans.Status, err)
		}
		text, err := json.Marshal(ask)
		if err != nil {
			t.Fatal(err)
		}
		at := start.Add(time.Duration(rnd.IntN(18*24*3600)) * time.Second)
		id := ask.ID()
		outs = append(outs, bus.Out{Subject: processors.RawSubject(social.Instagram, p.Source, ask.Fetch), ID: id, Data: ans.Body, Header: nats.Header{
			processors.HeaderRawID: {id}, processors.HeaderSource: {p.Source}, processors.HeaderFetch: {string(ask.Fetch)},
			processors.HeaderStatus: {"200"}, processors.HeaderCredential: {"1"}, processors.HeaderObserved: {at.Format(time.RFC3339Nano)},
			processors.HeaderAsk: {string(text)}, processors.HeaderVerdict: {processors.OK},
		}})
	}
	return outs
}

// ingest has the answers parsed and stored by a parser of Graph.
func (w *world) ingest(outs []bus.Out, graph func(*providers.Provider) *providers.Provider) {
	w.t.Helper()
	set := providerTable(func(source string) string { return w.deps.Endpoint[source] })
	w.deps.more = []*providers.Provider{graph(set["graphapi"])}
	a, stop := w.runRoles("parsing", "processing", "projections")
	defer stop()
	for from := 0; from < len(outs); from += 200 {
		if err := a.pub.Send(w.t.Context(), outs[from:min(from+200, len(outs))]...); err != nil {
			w.t.Fatal(err)
		}
	}
	w.until("all answers are stored", func() bool {
		return w.int("SELECT count(DISTINCT raw_id) FROM profile_log") == len(outs)
	})
}

// rowsOf are the tables, without what tells when and by whom they were written.
func (w *world) rowsOf() map[string]string {
	out := map[string]string{}
	for name, key := range map[string]string{"instagram_account": "profile_id", "instagram_post": "shortcode"} {
		out[name] = w.text("SELECT string_agg(line, E'\n' ORDER BY line) FROM (SELECT x." + key + " || ' ' || (to_jsonb(x) - '{id,updated_at,refreshed_at,lineage}'::text[])::text AS line FROM " + name + " x) lines")
	}
	return out
}

// replay runs the command's work with the parsers of the world.
func (w *world) replay(job *replay.Job, f replay.Filter) (*replay.Report, replay.Job) {
	w.t.Helper()
	nc, err := w.nats.Connect()
	if err != nil {
		w.t.Fatal(err)
	}
	defer nc.Close()
	a, err := newApp(w.t.Context(), slog.New(slog.DiscardHandler), w.deps, nc)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Close()
	r := a.replayer()
	if job == nil {
		report, err := r.Do(w.t.Context(), replay.Run{Filter: f})
		if err != nil {
			w.t.Fatal(err)
		}
		return report, replay.Job{}
	}
	job.Filter = f
	j, err := replay.Create(w.t.Context(), w.db, *job)
	if err != nil {
		w.t.Fatal(err)
	}
	if j, err = r.Apply(w.t.Context(), j, nil); err != nil {
		w.t.Fatal(err)
	}
	return j.Report, j
}

// writes counts everything that a replay could have written.
func (w *world) writes() string {
	w.t.Helper()
	last, err := w.events()
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(last, w.text(`SELECT md5(string_agg(x, '')) FROM (
		SELECT xmin::text || ctid::text AS x FROM instagram_account UNION ALL SELECT xmin::text || ctid::text FROM instagram_post
		UNION ALL SELECT xmin::text || ctid::text FROM profile_log UNION ALL SELECT xmin::text || ctid::text FROM post_log ORDER BY 1) v`))
}

// A parser had three mistakes. Its second version, and a replay of the past, lead
// to the tables that the second version would have led to from the start, whatever
// other sources said in between. A dry run says what differs and writes nothing;
// RabbitMQ hears of it only if asked to, and then of exactly what changed.
func TestReplayOfAFixedParser(t *testing.T) {
	t.Parallel()
	n := 300
	if os.Getenv("BEAT_SOAK") != "" {
		n = 5000
	}
	clean := newWorld(t, localConfig{sources: sandbox.All})
	outs := days(t, clean, n)
	clean.ingest(outs, fixed)

	rmq := servertest.Vhost(t)
	declare(t, rmq)
	w := newWorld(t, localConfig{sources: sandbox.All, archive: true})
	w.deps.ArchiveEvery = 200 * time.Millisecond
	w.ingest(outs, planted)
	if d := w.rowsOf(); d["instagram_account"] == clean.rowsOf()["instagram_account"] || d["instagram_post"] == clean.rowsOf()["instagram_post"] {
		t.Fatal("the planted mistakes are not to be seen")
	}
	set := providerTable(func(source string) string { return w.deps.Endpoint[source] })
	w.deps.more = []*providers.Provider{fixed(set["graphapi"])}

	before := w.writes()
	dry, _ := w.replay(nil, replay.Filter{})
	if after := w.writes(); after != before {
		t.Error("a dry run has written something")
	}
	graph := w.int("SELECT count(DISTINCT raw_id) FROM profile_log WHERE source = 'graphapi'")
	if dry.Answers != n || dry.Changed != graph || dry.Unchanged != n-graph || dry.Unreadable != 0 || len(dry.Skipped) != 0 {
		t.Errorf("dry run: %+v, want %d answers and the %d of Graph to differ", dry, n, graph)
	}
	for _, want := range []struct {
		kind, name              string
		changed, added, removed int
	}{
		{"profile", "followers", graph, 0, 0},
		{"profile", "category", 0, 0, graph},
		{"post", "likes", w.int(`SELECT count(*) FROM post_log l, jsonb_array_elements(metrics) m WHERE source = 'graphapi' AND platform_post_id NOT LIKE '%\_planted'
			AND m ->> 'key' = 'likes' AND m ->> 'value' IS NOT NULL`), 0, 0},
	} {
		found := false
		for _, f := range dry.Fields {
			if f.Kind == want.kind && f.Name == want.name {
				found = f.Changed == want.changed && f.Added == want.added && f.Removed == want.removed && len(f.Samples) > 0
				if !found {
					t.Errorf("%s %s: %+v, want %+v", want.kind, want.name, f, want)
				}
			}
		}
		if !found {
			t.Errorf("%s %s is not told right: %+v", want.kind, want.name, want)
		}
	}
	renamed := w.int(`SELECT count(*) FROM post_log WHERE platform_post_id LIKE '%\_planted'`)
	if dry.Gone != renamed || dry.New != renamed {
		t.Errorf("%d gone and %d new, want the %d that have another name", dry.Gone, dry.New, renamed)
	}

	// Half of it in silence, the other half told.
	middle := time.Now().UTC().Add(-11 * 24 * time.Hour)
	w.deps.RMQURL = rmq
	_, stop := w.runRoles("projections", "bridge")
	defer stop()
	w.until("the first telling is over", func() bool { return w.bridged() && len(drain(t, rmq, everything)) == 0 })
	silent, _ := w.replay(&replay.Job{}, replay.Filter{Until: middle})
	w.until("the replay is applied", w.bridged)
	if got := drain(t, rmq, everything); len(got) != 0 {
		t.Errorf("RabbitMQ was told %d times of a replay without --publish", len(got))
	}
	w.archiveAll(n) // and it goes on from the archive alone
	loud, _ := w.replay(&replay.Job{Publish: true}, replay.Filter{Since: middle})
	w.until("the replay is applied", w.bridged)
	told := map[string]int{}
	for _, d := range drain(t, rmq, everything) {
		told[d.RoutingKey]++
	}
	if got, want := told[bridge.KeyProfile]+told[bridge.KeyPost], loud.New+loud.Another; got != want || len(told) != 2 {
		t.Errorf("RabbitMQ was told %v, want %d", told, want)
	}
	if silent.Changed+loud.Changed != graph {
		t.Errorf("%d and %d answers changed, want %d", silent.Changed, loud.Changed, graph)
	}
	for name, want := range clean.rowsOf() {
		if got := w.rowsOf()[name]; got != want {
			t.Errorf("%s is not what a run with the fixed parser leads to: %s", name, difference(want, got))
		}
	}
	again, _ := w.replay(nil, replay.Filter{})
	if again.Changed != 0 {
		t.Errorf("a second replay would change %d answers", again.Changed)
	}
}

// A replay while the other half of the answers, of the same entities, comes in, with
// a kill -9 of every role and of the replay in the middle: the tables are those of
// the fixed parser from the start.
func TestReplayBesideLiveTrafficAndKills(t *testing.T) {
	t.Parallel()
	n := 600 // the past is more than one chunk
	if os.Getenv("BEAT_SOAK") != "" {
		n = 5000
	}
	clean := newWorld(t, localConfig{sources: sandbox.All})
	outs := days(t, clean, n)
	clean.ingest(outs, func(p *providers.Provider) *providers.Provider { return p })

	w := newWorld(t, localConfig{sources: sandbox.All})
	past, live := outs[:n/2], outs[n/2:]
	w.ingest(past, func(p *providers.Provider) *providers.Provider {
		p = planted(p)
		p.Parser--
		return p
	})
	w.deps.more = nil
	roles := []string{"parsing", "processing", "projections"}
	running := map[string]*exec.Cmd{}
	for _, r := range roles {
		running[r] = w.start("", r)
	}
	nc, err := w.nats.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	a, err := newApp(t.Context(), slog.New(slog.DiscardHandler), w.deps, nc)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()

	rerun := w.begin("replay", "--apply", "--rate=60")
	var sending sync.WaitGroup
	var sent atomic.Int64
	sending.Go(func() {
		for i, o := range live {
			if err := a.pub.Send(t.Context(), o); err != nil {
				t.Errorf("answer %d: %v", i, err)
				return
			}
			sent.Add(1)
			time.Sleep(20 * time.Millisecond)
		}
	})
	w.until("the beginning of the replay", func() bool { return w.int("SELECT count(*) FROM beat_replay") > 0 })
	for _, r := range roles {
		at := sent.Load()
		w.until("more answers", func() bool { return sent.Load() > at || int(sent.Load()) == len(live) })
		kill(running[r])
		running[r] = w.start("", r)
	}
	w.until("the middle of the replay", func() bool { return w.int("SELECT max(read)::int FROM beat_replay") > 0 })
	if state := w.text("SELECT state FROM beat_replay"); state != replay.Running {
		t.Fatalf("the replay is %s before it could be killed", state)
	}
	kill(rerun)
	rerun = w.begin("replay", "resume", "1")
	sending.Wait()
	if err := rerun.Wait(); err != nil {
		t.Errorf("the replay ended with %v", err)
	}
	if state := w.text("SELECT state FROM beat_replay"); state != replay.Finished {
		t.Errorf("the replay is %s", state)
	}
	w.until("all answers are stored", func() bool {
		return w.int("SELECT count(DISTINCT raw_id) FROM profile_log") == n
	})
	w.until("everything is applied", w.applied)
	for name, want := range clean.rowsOf() {
		if got := w.rowsOf()[name]; got != want {
			t.Errorf("%s is not what a run with the fixed parser leads to: %s", name, difference(want, got))
		}
	}
}

// archiveAll has all answers archived, and empties the stream.
func (w *world) archiveAll(n int) {
	w.t.Helper()
	_, stop := w.runRoles("archive")
	defer stop()
	w.until("all answers are archived", func() bool {
		return w.int("SELECT coalesce(sum(count), 0)::int FROM archive_segment WHERE state = 'stored'") == n
	})
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := js.Stream(w.t.Context(), bus.Raw)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.Purge(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// bridged reports whether projections and bridge have reached the end of EVENTS.
func (w *world) bridged() bool { return w.reached("project") && w.reached("bridge") }

func (w *world) events() (uint64, error) {
	js, err := jetstream.New(w.nc)
	if err != nil {
		return 0, err
	}
	s, err := js.Stream(w.t.Context(), bus.Events)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

// The command: a dry run by default, a job that can be listed, wrong input told.
func TestReplayCommand(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.runAll()
	w.outcome(w.basic("creator00001"), social.Complete)
	w.forCommands()
	beat := func(code int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(context.Background(), append([]string{"replay"}, args...), &out, &errs); got != code {
			t.Errorf("beat replay %v: exit code %d, want %d: %s", args, got, code, errs.String())
		}
		if slices.Contains(args, "--json") {
			return out.String()
		}
		return out.String() + errs.String()
	}
	var report replay.Report
	if err := json.Unmarshal([]byte(beat(0, "--source", "graphapi", "--json")), &report); err != nil || report.Answers != 1 || report.Unchanged != 1 {
		t.Errorf("a dry run: %+v, %v", report, err)
	}
	if text := beat(0, "--apply", "--entity", "creator00001"); !strings.Contains(text, "1 answers: 1 read as before, 0 differ") {
		t.Errorf("applied: %s", text)
	}
	var jobs []replay.Job
	if err := json.Unmarshal([]byte(beat(0, "list", "--json")), &jobs); err != nil || len(jobs) != 1 || jobs[0].State != replay.Finished || jobs[0].Answers != 1 {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
	id := strconv.FormatInt(jobs[0].ID, 10)
	for _, c := range []struct {
		code int
		args string
		says string
	}{
		{1, "cancel " + id, "the replay is over: replay " + id + " is done"},
		{1, "resume 99", "no such replay: 99"},
		{2, "--source nobody", `--source "nobody": unknown, the sources are graphapi, `},
		{2, "--publish", "--publish needs --apply"},
		{2, "--since yesterday", `--since "yesterday": want an age such as 2h30m`},
		{2, "--fingerprint abc", `--fingerprint "abc": no dead letter of an answer has it`},
	} {
		if text := beat(c.code, strings.Fields(c.args)...); !strings.Contains(text, c.says) {
			t.Errorf("beat replay %s: %s, want %q", c.args, text, c.says)
		}
	}
}
