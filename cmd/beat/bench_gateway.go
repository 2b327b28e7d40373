package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"beat/streams/schedule"
)

type benchGatewayCmd struct {
	pgFlags
	Profiles    int           `help:"How many profiles are stored and read." default:"200"`
	Connections int           `help:"How many clients read at once, as fast as they can." default:"32"`
	Time        time.Duration `help:"How long they read." default:"10s"`
	OnDemand    int           `help:"How many on-demand refreshes, one after another, once it is idle." default:"100" name:"on-demand"`
	Rate        float64       `help:"Reads and refreshes per second beside the bulk; one in ten is a refresh." default:"100"`
	Bulk        int           `help:"How many tasks are created over HTTP meanwhile. Their flow is paused." default:"100000"`
	Creators    int           `help:"How many clients create them." default:"8"`
	Timeout     time.Duration `help:"How long it may take." default:"30m"`
}

// A benchGatewayResult is what it prints, one JSON object. The clients run in the
// same process: what they cost is counted.
type benchGatewayResult struct {
	Connections int     `json:"connections"`
	Reads       int     `json:"reads"`
	ReadsPerS   float64 `json:"reads_per_s"`
	ReadP50     float64 `json:"read_ms_p50"`
	ReadP99     float64 `json:"read_ms_p99"`
	OnDemandP50 float64 `json:"on_demand_ms_p50"`
	OnDemandP99 float64 `json:"on_demand_ms_p99"`
	Provider    float64 `json:"provider_ms_mean"` // of them, as retrieval sees it
	AddedP50    float64 `json:"added_ms_p50"`     // by beat
	Bulk        int     `json:"bulk"`
	BulkPerS    float64 `json:"bulk_per_s"`
	QuietP50    float64 `json:"interactive_quiet_ms_p50"`
	QuietP99    float64 `json:"interactive_quiet_ms_p99"`
	BusyP50     float64 `json:"interactive_bulk_ms_p50"`
	BusyP99     float64 `json:"interactive_bulk_ms_p99"`
	Factor      float64 `json:"interactive_p99_factor"`
	Fsync       string  `json:"fsync"`
}

const benchBulkFlow = "refresh_post_by_shortcode"

func (c *benchGatewayCmd) Run(ctx context.Context, g *globals) error {
	if c.Profiles < 1 || c.Connections < 1 || c.OnDemand < 1 || c.Rate <= 0 || c.Creators < 1 || c.Bulk < 0 {
		return usageError{errors.New("--profiles, --connections, --on-demand, --rate and --creators must be positive, --bulk not negative")}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := newRig(ctx, g, localConfig{pgURL: c.PGURL, syncAlways: true})
	if err != nil {
		return err
	}
	defer r.Stop()
	b := &gatewayBench{benchGatewayCmd: c, rig: r}
	b.Fsync = "always"
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024}}
	for _, step := range []func(context.Context) error{b.store, b.reads, b.onDemand, b.isolation} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return show(g.stdout, b.benchGatewayResult)
}

type gatewayBench struct {
	*benchGatewayCmd
	*rig
	benchGatewayResult
	client *http.Client
}

func (b *gatewayBench) store(ctx context.Context) error {
	b.say("storing %d profiles …", b.Profiles)
	requests, err := refreshesOf(b.Profiles)
	if err != nil {
		return err
	}
	if err := b.queue.EnqueueAll(ctx, requests); err != nil {
		return err
	}
	return until(ctx, func() (bool, error) {
		if n := b.proj.Stats.Failed.Load(); n > 0 {
			return false, fmt.Errorf("%d refreshes failed", n)
		}
		return int(b.proj.Stats.Complete.Load()) == b.Profiles, nil
	})
}

var success = []byte(`"type":"SUCCESS"`)

// ask is one request, whose answer must be a success, and how long it took in
// milliseconds.
func (b *gatewayBench) ask(ctx context.Context, method, path string, body []byte) (float64, error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	res, err := b.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if res.StatusCode != http.StatusOK || !bytes.Contains(text, success) {
		return 0, fmt.Errorf("%s %s: %d %.200s", method, path, res.StatusCode, text)
	}
	return float64(time.Since(began).Microseconds()) / 1000, nil
}

func (b *gatewayBench) read(ctx context.Context) (float64, error) {
	return b.ask(ctx, http.MethodGet, "/profiles/instagram/byhandle/"+benchHandle(1+rand.IntN(b.Profiles)), nil)
}

// refresh asks for what is stored all the same: one call of a provider.
func (b *gatewayBench) refresh(ctx context.Context, i int) (float64, error) {
	return b.ask(ctx, http.MethodGet, "/profiles/instagram/byhandle/"+benchHandle(1+i%b.Profiles)+"?force_refresh=1", nil)
}

// reads measures fresh profiles at as many connections as there are clients.
func (b *gatewayBench) reads(ctx context.Context) error {
	b.say("%d clients read for %s …", b.benchGatewayCmd.Connections, b.Time)
	took := make([][]float64, b.benchGatewayCmd.Connections)
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i := range took {
		g.Go(func() error {
			for time.Since(began) < b.Time {
				ms, err := b.read(ctx)
				if err != nil {
					return err
				}
				took[i] = append(took[i], ms)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	all := slices.Concat(took...)
	b.benchGatewayResult.Connections, b.Reads = len(took), len(all)
	b.ReadsPerS = round(float64(len(all)) / time.Since(began).Seconds())
	b.ReadP50, b.ReadP99 = quantiles(all)
	return nil
}

func (b *gatewayBench) onDemand(ctx context.Context) error {
	b.say("running %d on-demand refreshes …", b.benchGatewayCmd.OnDemand)
	calls, seconds := b.provided()
	var took []float64
	for i := range b.benchGatewayCmd.OnDemand {
		ms, err := b.refresh(ctx, i)
		if err != nil {
			return err
		}
		took = append(took, ms)
	}
	n, s := b.provided()
	if n-calls != float64(len(took)) {
		return fmt.Errorf("%d refreshes made %.0f calls of providers", len(took), n-calls)
	}
	b.OnDemandP50, b.OnDemandP99 = quantiles(took)
	b.Provider = round((s - seconds) * 1000 / (n - calls))
	b.AddedP50 = round(b.OnDemandP50 - b.Provider)
	return nil
}

// provided is the calls of providers so far, and the seconds that they took.
func (b *gatewayBench) provided() (calls, seconds float64) {
	families, err := b.reg.Gather()
	if err != nil {
		return 0, 0
	}
	for _, f := range families {
		if f.GetName() != "beat_provider_call_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			calls += float64(m.GetHistogram().GetSampleCount())
			seconds += m.GetHistogram().GetSampleSum()
		}
	}
	return calls, seconds
}

// isolation measures reads and refreshes at a steady rate, alone and while many
// tasks are created.
func (b *gatewayBench) isolation(ctx context.Context) error {
	if b.benchGatewayCmd.Bulk == 0 {
		return nil
	}
	if err := b.queue.Pause(ctx, schedule.Pause{Name: benchBulkFlow, Kind: schedule.PauseFlow}); err != nil {
		return err
	}
	b.say("%g requests per second for %s, alone …", b.Rate, b.Time)
	quiet, err := b.steady(ctx, func(began time.Time) bool { return time.Since(began) < b.Time })
	if err != nil {
		return err
	}
	b.say("and while %d tasks are created …", b.benchGatewayCmd.Bulk)
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- b.create(ctx) }()
	over := false
	busy, err := b.steady(ctx, func(time.Time) bool {
		if !over && len(done) > 0 {
			over, b.BulkPerS = true, round(float64(b.benchGatewayCmd.Bulk)/time.Since(began).Seconds())
		}
		return !over
	})
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	b.benchGatewayResult.Bulk = b.benchGatewayCmd.Bulk
	b.QuietP50, b.QuietP99 = quantiles(quiet)
	b.BusyP50, b.BusyP99 = quantiles(busy)
	b.Factor = round(b.BusyP99 / b.QuietP99)
	return nil
}

// steady sends requests at a fixed rate whether or not the ones before are
// answered, each counted from when it was due.
func (b *gatewayBench) steady(ctx context.Context, more func(began time.Time) bool) ([]float64, error) {
	var mu sync.Mutex
	var took []float64
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i := 0; more(began) && ctx.Err() == nil; i++ {
		due := began.Add(time.Duration(float64(i) / b.Rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		g.Go(func() error {
			var err error
			if i%10 == 0 {
				_, err = b.refresh(ctx, i/10)
			} else {
				_, err = b.read(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, float64(time.Since(due).Microseconds())/1000)
			return err
		})
	}
	return took, g.Wait()
}

func (b *gatewayBench) create(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(b.Creators)
	for i := range b.benchGatewayCmd.Bulk {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			body := fmt.Appendf(nil, `{"flow":%q,"platform":"INSTAGRAM","params":{"shortcode":"bulk%07d"}}`, benchBulkFlow, i)
			_, err := b.ask(ctx, http.MethodPost, "/scrape_request_log/flow/"+benchBulkFlow, body)
			return err
		})
	}
	return g.Wait()
}

// quantiles are the median and the 99th of a hundred.
func quantiles(ms []float64) (p50, p99 float64) {
	if len(ms) == 0 {
		return 0, 0
	}
	slices.Sort(ms)
	return round(ms[len(ms)/2]), round(ms[len(ms)*99/100])
}
