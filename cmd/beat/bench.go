package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"beat/streams/bridge"
	"beat/streams/servers"
)

type benchCmd struct {
	Run     benchRunCmd     `cmd:"" default:"withargs" help:"Measure full refreshes, from the task to the row and the message."`
	Replay  benchReplayCmd  `cmd:"" help:"Measure how fast the past is parsed again, and how fast a table is rebuilt beside live traffic."`
	Gateway benchGatewayCmd `cmd:"" help:"Measure fresh reads, on-demand refreshes, and both beside the creation of many tasks."`
}

type benchRunCmd struct {
	pgFlags
	RMQURL   string        `help:"RabbitMQ to use instead of a private one." env:"BEAT_BENCH_RMQ_URL" name:"rmq-url" placeholder:"URL"`
	NoRabbit bool          `help:"Measure without RabbitMQ." name:"no-rabbit"`
	Archive  bool          `help:"Also archive the raw answers, on an S3 within this process."`
	Lazy     bool          `help:"Let JetStream acknowledge before fsync; production does not."`
	Tasks    int           `help:"How many full refreshes." default:"1000"`
	OnDemand int           `help:"How many on-demand refreshes over HTTP, one after another, once it is idle." default:"50" name:"on-demand"`
	Profile  string        `help:"Write a CPU profile of this process, of the full refreshes only, to this file, and of its heap to FILE.heap." type:"path"`
	Timeout  time.Duration `help:"How long it may take." default:"10m"`
}

// A benchResult is what --json prints. CPU is of all cores together.
type benchResult struct {
	Tasks           int     `json:"tasks"`
	Failed          int     `json:"failed"`
	Seconds         float64 `json:"seconds"`
	TasksPerS       float64 `json:"tasks_per_s"`
	DataPoints      int64   `json:"data_points"` // distinct account and post rows
	DataPointsPerS  float64 `json:"data_points_per_s"`
	RowsWrittenPerS float64 `json:"rows_written_per_s"` // a post seen twice is written twice
	AMQP            int     `json:"amqp"`
	AMQPPerS        float64 `json:"amqp_per_s"` // until the last one was confirmed
	CompleteP50     float64 `json:"complete_ms_p50"`
	CompleteP99     float64 `json:"complete_ms_p99"`
	OnDemandP50     float64 `json:"on_demand_ms_p50"`
	OnDemandP99     float64 `json:"on_demand_ms_p99"`
	CPUPerTask      float64 `json:"cpu_ms_per_task"` // this process
	CPUPostgres     float64 `json:"cpu_ms_per_task_postgres"`
	CPURabbit       float64 `json:"cpu_ms_per_task_rabbitmq"`
	CPUSandbox      float64 `json:"cpu_ms_per_task_sandbox"`
	RSSMB           float64 `json:"rss_mb"`
	Fsync           string  `json:"fsync"`
	RabbitMQ        bool    `json:"rabbitmq"`
}

func (c *benchRunCmd) Run(ctx context.Context, g *globals) error {
	if c.Tasks < 1 {
		return usageError{errors.New("--tasks must be positive")}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cfg := localConfig{pgURL: c.PGURL, syncAlways: !c.Lazy, rmqURL: c.RMQURL, archive: c.Archive}
	var rabbit *servers.Server
	var err error
	if !c.NoRabbit && c.RMQURL == "" {
		if rabbit, err = servers.Rabbit(ctx, servers.RabbitConfig{}); err != nil {
			return fmt.Errorf("%w (or measure with --no-rabbit)", err)
		}
		defer rabbit.Discard() //nolint:errcheck // a private server
		cfg.rmqURL = rabbit.URL
	}
	if c.NoRabbit {
		cfg.rmqURL = ""
	}
	if cfg.rmqURL != "" {
		if err := bridge.DeclareConsumers(ctx, cfg.rmqURL, bridge.Consumers{MaxLength: 20000}); err != nil {
			return err
		}
	}
	if r, err := servers.Redis(ctx, servers.RedisConfig{}); err == nil {
		defer r.Discard() //nolint:errcheck // a private server
		cfg.redisURL = r.URL
	}
	a, err := newRig(ctx, g, cfg)
	if err != nil {
		return err
	}
	defer a.Stop()
	box, err := process.NewProcess(int32(a.box.Process.Pid))
	if err != nil {
		return err
	}
	cpu := func() [4]float64 {
		return [4]float64{cpuOf(a.self), serverCPU(a.pg), serverCPU(rabbit), cpuOf(box)}
	}
	requests, err := refreshesOf(c.Tasks)
	if err != nil {
		return err
	}
	a.say("running %d full refreshes …", c.Tasks)
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	before := cpu()
	began := time.Now()
	if err := a.queue.EnqueueAll(ctx, requests); err != nil {
		return err
	}
	var r benchResult
	r.Tasks, r.RabbitMQ, r.Fsync = c.Tasks, cfg.rmqURL != "", "always"
	if c.Lazy {
		r.Fsync = "lazy"
	}
	var peak uint64
	done := 0
	for last := time.Now(); done < c.Tasks; {
		done = int(a.proj.Stats.Complete.Load() + a.proj.Stats.Failed.Load())
		if m, err := a.self.MemoryInfo(); err == nil {
			peak = max(peak, m.RSS)
		}
		if time.Since(last) > 2*time.Second {
			last = time.Now()
			a.say("  %d of %d", done, c.Tasks)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d tasks ended: %w", done, c.Tasks, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	took := time.Since(began)
	r.Seconds = took.Seconds()
	r.TasksPerS = float64(c.Tasks) / took.Seconds()
	r.RowsWrittenPerS = float64(a.proj.Stats.Accounts.Load()+a.proj.Stats.Posts.Load()) / took.Seconds()
	if a.bridge != nil {
		for !told(ctx, a.app) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("RabbitMQ is behind: %w", ctx.Err())
			case <-time.After(20 * time.Millisecond):
			}
		}
		r.AMQP = published(a.app)
		r.AMQPPerS = float64(r.AMQP) / time.Since(began).Seconds()
	}
	after := cpu()
	pprof.StopCPUProfile()
	if c.Profile != "" {
		if err := writeHeap(c.Profile + ".heap"); err != nil {
			return err
		}
	}
	per := func(i int) float64 { return round((after[i] - before[i]) * 1000 / float64(c.Tasks)) }
	r.CPUPerTask, r.CPUPostgres, r.CPURabbit, r.CPUSandbox = per(0), per(1), per(2), per(3)
	err = a.db.QueryRow(ctx, `
SELECT (SELECT count(*) FROM instagram_account) + (SELECT count(*) FROM instagram_post),
       (SELECT count(*) FROM scrape_request_log WHERE status = 'FAILED'),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - created_at) * 1000),
       percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM scraped_at - created_at) * 1000)
FROM scrape_request_log`).Scan(&r.DataPoints, &r.Failed, &r.CompleteP50, &r.CompleteP99)
	if err != nil {
		return err
	}
	r.DataPointsPerS = float64(r.DataPoints) / took.Seconds()

	a.say("running %d on-demand refreshes …", c.OnDemand)
	var ms []float64
	for i := range c.OnDemand {
		t := time.Now()
		if err := onDemand(ctx, a.base, benchHandle(900001+i)); err != nil {
			return err
		}
		ms = append(ms, float64(time.Since(t).Microseconds())/1000)
	}
	slices.Sort(ms)
	if len(ms) > 0 {
		r.OnDemandP50, r.OnDemandP99 = ms[len(ms)/2], ms[len(ms)*99/100]
	}
	r.RSSMB = float64(peak) / (1 << 20)
	for _, f := range []*float64{&r.Seconds, &r.TasksPerS, &r.DataPointsPerS, &r.RowsWrittenPerS, &r.AMQPPerS, &r.CompleteP50, &r.CompleteP99,
		&r.OnDemandP50, &r.OnDemandP99, &r.RSSMB} {
		*f = round(*f)
	}
	if g.JSON {
		return show(g.stdout, r)
	}
	grid(g.stdout, []any{"measured", "value"}, [][]any{
		{"full refreshes per second", r.TasksPerS}, {"data points per second (distinct rows)", r.DataPointsPerS},
		{"rows written per second", r.RowsWrittenPerS}, {"AMQP messages confirmed per second", r.AMQPPerS},
		{"enqueue to COMPLETE, ms p50 / p99", fmt.Sprintf("%.0f / %.0f", r.CompleteP50, r.CompleteP99)},
		{"on demand over HTTP, ms p50 / p99", fmt.Sprintf("%.1f / %.1f", r.OnDemandP50, r.OnDemandP99)},
		{"CPU ms per task: beat / Postgres / RabbitMQ / sandbox", fmt.Sprintf("%.1f / %.1f / %.1f / %.1f", r.CPUPerTask, r.CPUPostgres, r.CPURabbit, r.CPUSandbox)},
		{"peak memory of beat, MB", r.RSSMB}, {"JetStream fsync", r.Fsync}, {"tasks / failed", fmt.Sprintf("%d / %d", r.Tasks, r.Failed)},
	})
	return nil
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

func cpuOf(p *process.Process) float64 {
	t, err := p.Times()
	if err != nil {
		return 0
	}
	return t.User + t.System
}

func serverCPU(s *servers.Server) float64 {
	if s == nil {
		return 0
	}
	d, err := s.CPU()
	if err != nil {
		return 0
	}
	return d.Seconds()
}

// startSandbox runs the sandbox in a process of its own, so that what it
// costs is not counted as ours.
func startSandbox(ctx context.Context) (*exec.Cmd, string, error) {
	cmd, err := child(ctx, nil, "sandbox", "--listen", "127.0.0.1:0", "--json")
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	var said struct {
		URL string `json:"url"`
	}
	s := bufio.NewScanner(out)
	if !s.Scan() || json.Unmarshal(s.Bytes(), &said) != nil || said.URL == "" {
		cmd.Process.Kill() //nolint:errcheck // it is no use
		return nil, "", errors.New("the sandbox did not start")
	}
	return cmd, said.URL, nil
}

func onDemand(ctx context.Context, base, handle string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/profiles/instagram/byhandle/"+handle+"?full_refresh=1&force_refresh=1", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var body struct {
		Status struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"status"`
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		return err
	}
	if body.Status.Type != "SUCCESS" {
		return fmt.Errorf("on demand %s: %s", handle, body.Status.Message)
	}
	return nil
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		f.Close() //nolint:errcheck // the error is told
		return err
	}
	return f.Close()
}
