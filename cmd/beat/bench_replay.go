package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"beat/processors"
	"beat/projections"
	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/replay"
	"beat/streams/schedule"
	"beat/streams/social"
)

type benchReplayCmd struct {
	pgFlags
	Answers int           `help:"How many raw answers are parsed again, of a profile with 12 posts each." default:"3000"`
	Rows    int           `help:"How many post rows are rebuilt, from as many events; 0 leaves that out." default:"100000"`
	Live    float64       `help:"Full refreshes per second that run beside the rebuild." default:"5"`
	Quiet   time.Duration `help:"How long they run before it, for comparison." default:"10s"`
	Profile string        `help:"Write CPU profiles of the replays to FILE, and of the rebuild to FILE.rebuild." type:"path"`
	Timeout time.Duration `help:"How long it may take." default:"30m"`
}

// A benchReplayResult is what it prints, one JSON object.
type benchReplayResult struct {
	Answers      int     `json:"answers"`
	Entities     int     `json:"entities_per_answer"`
	Changed      int     `json:"changed_answers"`
	DryPerS      float64 `json:"dry_answers_per_s"`
	ApplyPerS    float64 `json:"apply_answers_per_s"`
	AppliedPerS  float64 `json:"applied_answers_per_s"`   // until the rows are there
	DryCPU       float64 `json:"dry_cpu_ms_per_answer"`   // beat and Postgres
	ApplyCPU     float64 `json:"apply_cpu_ms_per_answer"` // likewise, until the rows are there
	Rows         int64   `json:"rows"`
	StoredPerS   float64 `json:"stored_rows_per_s"` // the rows before, by the projections
	RebuildS     float64 `json:"rebuild_s"`
	RowsPerS     float64 `json:"rebuild_rows_per_s"`
	RebuildCPU   float64 `json:"rebuild_cpu_s"` // beat and Postgres, with the live traffic
	StandstillMS float64 `json:"standstill_ms"`
	SwapTries    int     `json:"swap_tries"`
	LiveTasks    int     `json:"live_tasks"`    // during the rebuild
	LiveFailed   int     `json:"live_failed"`   // of them
	QuietP50     float64 `json:"quiet_ms_p50"`  // enqueue to COMPLETE before the rebuild
	LiveP50      float64 `json:"live_ms_p50"`   // during it
	LiveWorst    float64 `json:"live_ms_worst"` // likewise
	LiveDelayed  float64 `json:"live_delayed_ms"`
}

func (c *benchReplayCmd) Run(ctx context.Context, g *globals) error {
	if c.Answers < 1 || c.Rows < 0 || c.Live <= 0 {
		return usageError{errors.New("--answers and --live must be positive, --rows not negative")}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := newRig(ctx, g, localConfig{pgURL: c.PGURL, syncAlways: true})
	if err != nil {
		return err
	}
	defer r.Stop()
	b := &replayBench{benchReplayCmd: c, rig: r}
	if err := b.replays(ctx); err != nil {
		return err
	}
	if c.Rows > 0 {
		if err := b.rebuild(ctx); err != nil {
			return err
		}
	}
	return show(g.stdout, b.benchReplayResult)
}

type replayBench struct {
	*benchReplayCmd
	*rig
	benchReplayResult
}

// profiled runs fn with its CPU profile written to a file, unless that has no name.
func profiled(path string, fn func() error) error {
	if path == "" {
		return fn()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return fn()
}

// replays measures answers that are parsed again by a parser that reads one in ten
// otherwise, all of its entities.
func (b *replayBench) replays(ctx context.Context) error {
	b.say("storing %d answers …", b.benchReplayCmd.Answers)
	n := b.benchReplayCmd.Answers
	for from := 0; from < n; from += 5000 {
		outs, err := b.answersOf(ctx, from, min(5000, n-from))
		if err != nil {
			return err
		}
		if err := b.pub.Send(ctx, outs...); err != nil {
			return err
		}
	}
	if err := until(ctx, func() (done bool, err error) {
		err = b.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM profile_log) = $1`, n).Scan(&done)
		return done && reached(ctx, b.app, "project"), err
	}); err != nil {
		return fmt.Errorf("the answers were not stored: %w", err)
	}
	set := maps.Clone(b.set)
	set["graphapi"] = tenth(b.set["graphapi"])
	r := b.replayerOf(set)
	return profiled(b.benchReplayCmd.Profile, func() error {
		b.say("parsing them again, dry …")
		stored, err := b.stored(ctx)
		if err != nil {
			return err
		}
		began, cpu := time.Now(), b.cpu()
		dry, err := r.Do(ctx, replay.Run{})
		if err != nil {
			return err
		}
		b.DryPerS = round(float64(dry.Answers) / time.Since(began).Seconds())
		b.DryCPU = round((b.cpu() - cpu) * 1000 / float64(max(dry.Answers, 1)))
		if err := b.dry(ctx, dry, stored); err != nil {
			return err
		}
		b.say("parsing them again, applied …")
		began, cpu = time.Now(), b.cpu()
		j, err := replay.Create(ctx, b.db, replay.Job{})
		if err != nil {
			return err
		}
		if j, err = r.Apply(ctx, j, nil); err != nil {
			return err
		}
		b.ApplyPerS = round(float64(j.Answers) / time.Since(began).Seconds())
		if err := until(ctx, func() (bool, error) { return reached(ctx, b.app, "project"), nil }); err != nil {
			return err
		}
		b.AppliedPerS = round(float64(j.Answers) / time.Since(began).Seconds())
		b.ApplyCPU = round((b.cpu() - cpu) * 1000 / float64(max(j.Answers, 1)))
		b.benchReplayResult.Answers, b.Changed = int(j.Answers), int(j.Changed)
		if j.Changed > 0 {
			b.Entities = j.Report.Another / int(j.Changed)
		}
		if int(j.Answers) != n || dry.Changed != int(j.Changed) {
			return fmt.Errorf("%d answers were stored, %d read again, %d changed dry and %d applied", n, j.Answers, dry.Changed, j.Changed)
		}
		return nil
	})
}

// stored is how many rows and messages there are, and of rows which versions.
func (b *replayBench) stored(ctx context.Context) (string, error) {
	var out string
	for _, table := range []string{"instagram_account", "instagram_post", "profile_log", "post_log", "scrape_request_log", "task_progress", "beat_quarantine"} {
		var versions string
		if err := b.db.QueryRow(ctx, `SELECT count(*) || ' rows, versions ' || coalesce(sum(xmin::text::bigint), 0) FROM `+table).Scan(&versions); err != nil {
			return "", err
		}
		out += table + ": " + versions + "\n"
	}
	for _, name := range []string{bus.Tasks, bus.Raw, bus.Parsed, bus.Events, bus.Dead} {
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return "", err
		}
		out += fmt.Sprintf("%s: up to %d\n", name, s.CachedInfo().State.LastSeq)
	}
	return out, nil
}

// dry checks that a dry run has written nothing since, and shows what tenth does.
func (b *replayBench) dry(ctx context.Context, got *replay.Report, before string) error {
	after, err := b.stored(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("a dry run has written: there was\n%sand is\n%s", before, after)
	}
	changed := 0
	for i := range b.benchReplayCmd.Answers {
		if isTenth(answerHandle(i)) {
			changed++
		}
	}
	want := fmt.Sprintf("%d answers, %d changed, %d observations, followers of %d profiles, likes of %d posts",
		b.benchReplayCmd.Answers, changed, changed*13, changed, changed*12)
	fields := map[string]int{}
	for _, f := range got.Fields {
		fields[f.Kind+" "+f.Name] = f.Changed
	}
	is := fmt.Sprintf("%d answers, %d changed, %d observations, followers of %d profiles, likes of %d posts",
		got.Answers, got.Changed, got.Another, fields["profile followers"], fields["post likes"])
	if is != want || len(fields) != 2 || got.New+got.Gone+got.Unreadable+len(got.Skipped) != 0 {
		return fmt.Errorf("a dry run shows %s, not %s; fields %v, %d new, %d gone, %d unreadable, %v", is, want, fields, got.New, got.Gone, got.Unreadable, got.Skipped)
	}
	return nil
}

// answerHandle is whose profile the i-th answer is, and isTenth whether tenth reads
// it otherwise.
func answerHandle(i int) string { return benchHandle(500000 + i) }

func isTenth(handle string) bool {
	h := fnv.New32a()
	h.Write([]byte(handle)) //nolint:errcheck // never fails
	return h.Sum32()%10 == 0
}

// tenth is a later version of a parser, which reads one answer in ten otherwise.
func tenth(p *providers.Provider) *providers.Provider {
	out := *p
	out.Parser, out.Calls = p.Parser+1, maps.Clone(p.Calls)
	c := out.Calls[social.ProfileByHandle]
	parse := c.Parse
	c.Parse = func(ask social.Ask, at time.Time, body []byte) (social.Batch, error) {
		batch, err := parse(ask, at, body)
		if err != nil || !isTenth(ask.Keys[0]) {
			return batch, err
		}
		for i := range batch.Logs {
			for _, name := range []string{"followers", "likes"} {
				if n, ok := batch.Logs[i].Metrics.Int(name); ok {
					batch.Logs[i].Metrics.Set(name, social.Int(n+1))
				}
			}
		}
		return batch, err
	}
	out.Calls[social.ProfileByHandle] = c
	return &out
}

// answersOf asks the sandbox for n profiles, as messages of RAW.
func (b *replayBench) answersOf(ctx context.Context, first, n int) ([]bus.Out, error) {
	p := b.set["graphapi"]
	box, err := sandbox.New(sandbox.Config{})
	if err != nil {
		return nil, err
	}
	defer box.Close()
	cred := providers.Credential{ID: 1, Source: p.Source, Fields: map[string]providers.Secret{}}
	for k, v := range box.Credential(p.Source).Fields {
		cred.Fields[k] = providers.Secret(v)
	}
	client := providers.NewClient(providers.ClientConfig{})
	outs := make([]bus.Out, n)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			ask := social.Ask{Task: social.TaskRef{ID: int64(1_000_000_000 + first + i), Fence: 1, Flow: "refresh_profile_basic", Platform: social.Instagram},
				Fetch: social.ProfileByHandle, Keys: []string{answerHandle(first + i)}}
			q, err := p.Calls[ask.Fetch].Request(cred, ask)
			if err != nil {
				return err
			}
			ans, err := client.Do(ctx, p.BaseURL, q)
			if err != nil {
				return err
			}
			if ans.Status != http.StatusOK {
				return fmt.Errorf("the sandbox answers %d", ans.Status)
			}
			text, err := json.Marshal(ask)
			if err != nil {
				return err
			}
			id := ask.ID()
			outs[i] = bus.Out{Subject: processors.RawSubject(social.Instagram, p.Source, ask.Fetch), ID: id, Data: ans.Body, Header: nats.Header{
				processors.HeaderRawID: {id}, processors.HeaderSource: {p.Source}, processors.HeaderFetch: {string(ask.Fetch)},
				processors.HeaderStatus: {"200"}, processors.HeaderCredential: {"1"}, processors.HeaderObserved: {time.Now().UTC().Format(time.RFC3339Nano)},
				processors.HeaderAsk: {string(text)}, processors.HeaderVerdict: {processors.OK},
			}}
			return nil
		})
	}
	return outs, g.Wait()
}

// rebuild measures a rebuild of the posts while refreshes go on.
func (b *replayBench) rebuild(ctx context.Context) error {
	rows := b.benchReplayCmd.Rows
	b.say("storing %d posts from as many events …", rows)
	began := time.Now()
	const page = 12
	var outs []bus.Out
	for from := 0; from < rows; from += page {
		c := pageOfPosts(from, min(page, rows-from))
		data, err := c.Marshal()
		if err != nil {
			return err
		}
		outs = append(outs, bus.Out{Subject: c.Subject(), ID: c.MsgID(), Data: data})
		if len(outs) == 1000 || from+page >= rows {
			if err := b.pub.Send(ctx, outs...); err != nil {
				return err
			}
			outs = outs[:0]
		}
	}
	if err := until(ctx, func() (bool, error) { return reached(ctx, b.app, "project"), nil }); err != nil {
		return fmt.Errorf("the posts were not stored: %w", err)
	}
	b.StoredPerS = round(float64(rows) / time.Since(began).Seconds())

	db, err := pgFlags{b.cfg.PGURL}.database(ctx, 7)
	if err != nil {
		return err
	}
	defer db.Close()
	b.say("%g refreshes per second, %s before the rebuild and while it runs …", b.benchReplayCmd.Live, b.Quiet)
	traffic, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() { failed = b.refreshes(traffic) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.Quiet):
	}
	from, cpu := time.Now().UTC(), b.cpu()
	line := &progress{out: lines(b.say), began: time.Now()}
	var out *projections.Rebuilt
	err = profiled(suffixed(b.benchReplayCmd.Profile, ".rebuild"), func() (err error) {
		out, err = projections.NewRebuilder(b.lg, db, b.js, projections.RebuildConfig{Tables: []string{"instagram_post"}, Say: line.steps()}).Run(ctx)
		return err
	})
	to := time.Now().UTC()
	b.RebuildCPU = round(b.cpu() - cpu)
	stop()
	wg.Wait()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	table := out.Tables[0]
	if table.Changing != 0 || table.Appearing != 0 || table.Vanishing != 0 || out.Observations.Missing != 0 {
		text, err := json.Marshal(out)
		return errors.Join(fmt.Errorf("the rebuilt table is another: %s", text), err)
	}
	b.benchReplayResult.Rows, b.RebuildS, b.StandstillMS, b.SwapTries = table.Rows, out.Seconds, out.StandstillMS, out.Tries
	b.RowsPerS = round(float64(table.Rows) / out.Seconds)
	if err := until(ctx, func() (done bool, err error) {
		err = b.db.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM scrape_request_log WHERE status IN ('PENDING', 'PROCESSING'))`).Scan(&done)
		return done, err
	}); err != nil {
		return fmt.Errorf("the refreshes did not end: %w", err)
	}
	err = b.db.QueryRow(ctx, `
SELECT count(*) FILTER (WHERE during), count(*) FILTER (WHERE during AND status <> 'COMPLETE'),
    coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE NOT during), 0),
    coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE during), 0), coalesce(max(ms) FILTER (WHERE during), 0)
FROM (SELECT status, extract(epoch FROM scraped_at - created_at) * 1000 AS ms, scraped_at >= $1 AS during FROM scrape_request_log WHERE created_at <= $2) t`,
		from, to).Scan(&b.LiveTasks, &b.LiveFailed, &b.QuietP50, &b.LiveP50, &b.LiveWorst)
	b.LiveDelayed = round(max(b.LiveWorst-b.QuietP50, 0))
	for _, f := range []*float64{&b.QuietP50, &b.LiveP50, &b.LiveWorst} {
		*f = round(*f)
	}
	return err
}

func suffixed(path, suffix string) string {
	if path == "" {
		return ""
	}
	return path + suffix
}

// refreshes enqueues full refreshes, evenly, until ctx ends.
func (b *replayBench) refreshes(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / b.benchReplayCmd.Live))
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		params, err := json.Marshal(map[string]string{"handle": fmt.Sprintf("creator%05d", i)})
		if err != nil {
			return err
		}
		_, err = b.queue.Enqueue(context.WithoutCancel(ctx), schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: params})
		if err != nil {
			return err
		}
	}
}

// pageOfPosts is an answer about n posts, the first of which has a number.
func pageOfPosts(first, n int) event.Commit {
	owner := fmt.Sprintf("1784%013d", first/120)
	raw := social.Raw{ID: social.ID("bench", first), Source: "rapidapi-arraybobo", At: time.Now().UTC().Add(-time.Hour), Status: http.StatusOK}
	c := event.Commit{Task: social.TaskRef{ID: int64(2_000_000_000 + first), Fence: 1, Platform: social.Instagram}, Parts: 1, Raw: raw,
		Fetch: social.PostsByID, Parser: 1, Lane: owner}
	for i := range n {
		l := social.Log{Kind: social.Post, Key: fmt.Sprintf("C%010d", (first+i)*7919%10_000_000_019), Owner: owner, Source: raw.Source,
			Dimensions: social.KVs{
				{Key: "profile_id", Value: social.String(owner)}, {Key: "handle", Value: social.String(fmt.Sprintf("handle%d", first/120))},
				{Key: "post_type", Value: social.String("reels")}, {Key: "post_id", Value: social.String(fmt.Sprintf("31%015d", first+i))},
				{Key: "display_url", Value: social.String(fmt.Sprintf("https://scontent.example.net/v/t51.2885-15/%064x_n.jpg", first+i))},
				{Key: "thumbnail_src", Value: social.String(fmt.Sprintf("https://scontent.example.net/v/t51.2885-15/%064x_t.jpg", first+i))},
				{Key: "taken_at_timestamp", Value: social.Int(1_695_550_000 + int64(first+i))},
				{Key: "caption", Value: social.String("Morning run by the river, and a little further.")}, {Key: "keywords", Value: social.String(`["Morning", "river"]`)},
			},
			Metrics: social.KVs{{Key: "comments", Value: social.Int(int64(i))}, {Key: "likes", Value: social.Int(int64(first % 9973))}, {Key: "play_count", Value: social.Int(int64(first))}}}
		c.Events = append(c.Events, event.Event{ID: event.LogID(raw.ID, l), Log: l})
	}
	return c
}

// lines is a writer that says each line.
type lines func(format string, args ...any)

func (l lines) Write(p []byte) (int, error) {
	l("  %s", p[:max(len(p)-1, 0)])
	return len(p), nil
}
