package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"beat/streams/schedule"
	"beat/streams/servers"
	"beat/streams/social"
)

// A rig is what a benchmark runs on: all roles within this process, on private
// servers that write to disk before they answer, without any limit; and the sandbox
// in a process of its own, so that what it costs is not counted as ours.
type rig struct {
	*running
	base string // URL of the gateway
	pg   *servers.Server
	box  *exec.Cmd
	self *process.Process
	say  func(format string, args ...any)

	stops []func()
}

// newRig starts it all. Of cfg, the sandbox and fsync are its own.
func newRig(ctx context.Context, g *globals, cfg localConfig) (r *rig, err error) {
	r = &rig{say: func(format string, args ...any) { fmt.Fprintf(g.stderr, format+"\n", args...) }}
	defer func() {
		if err != nil {
			r.Stop()
		}
	}()
	if g.LogLevel == "info" {
		g.LogLevel = "warn"
	}
	lg, err := g.logger()
	if err != nil {
		return r, usageError{err}
	}
	if r.self, err = process.NewProcess(int32(os.Getpid())); err != nil {
		return r, err
	}
	r.say("starting servers …")
	if r.box, cfg.sandboxURL, err = startSandbox(ctx); err != nil {
		return r, err
	}
	r.stops = append(r.stops, func() { r.box.Process.Kill() }) //nolint:errcheck // ends with us anyway
	cfg.fsync = true
	l, err := startLocal(ctx, lg, cfg)
	if err != nil {
		return r, err
	}
	r.pg = l.pg
	r.stops = append(r.stops, l.Stop)
	for source := range l.deps.Endpoint {
		l.deps.Limit[source] = "0/1" // the contract's limits would be what is measured
	}
	l.deps.unlimited = true
	if r.running, err = l.run(ctx, lg); err != nil {
		return r, err
	}
	r.stops = append(r.stops, r.running.Stop)
	addr, err := r.listening(ctx)
	r.base = "http://" + addr
	return r, err
}

// Stop stops what was started, the last one first.
func (r *rig) Stop() {
	for i := len(r.stops) - 1; i >= 0; i-- {
		r.stops[i]()
	}
	r.stops = nil
}

// cpu is the seconds of processors that beat and Postgres have used.
func (r *rig) cpu() float64 { return cpuOf(r.self) + serverCPU(r.pg) }

// benchHandle is the handle of one of the sandbox's profiles, from 1.
func benchHandle(i int) string { return fmt.Sprintf("creator%05d", i) }

// refreshesOf are requests for full refreshes of the first n profiles.
func refreshesOf(n int) ([]schedule.Request, error) {
	out := make([]schedule.Request, n)
	for i := range out {
		raw, err := json.Marshal(map[string]string{"handle": benchHandle(i + 1)})
		if err != nil {
			return nil, err
		}
		out[i] = schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram, Params: raw}
	}
	return out, nil
}

// until waits for what will be.
func until(ctx context.Context, ok func() (bool, error)) error {
	for {
		if done, err := ok(); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
