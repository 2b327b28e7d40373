package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"beat/streams/bus/natsd"
	"beat/streams/bus/natsd/powercut"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A storeConfig is of a JetStream in a process of its own, whose power can be cut.
type storeConfig struct {
	Dir        string
	Port       int
	SyncAlways bool
}

// serveStore is that process. It ends by being killed.
func serveStore(text string) {
	var cfg storeConfig
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = powercut.Watch(cfg.Dir, cfg.Dir+".platter")
	}
	if err == nil {
		_, err = natsd.Start(natsd.Config{Dir: cfg.Dir, Port: cfg.Port, SyncAlways: cfg.SyncAlways})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// startStore runs a JetStream as a process of its own and waits until it is ready.
func (w *world) startStore(cfg storeConfig) *exec.Cmd {
	w.t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BEAT_TEST_STORE="+string(text))
	cmd.Stderr = w.t.Output()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { kill(cmd) })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		w.t.Fatalf("JetStream does not start: %q, %v", line, err)
	}
	return cmd
}

// setting is that of an environment variable, or the one that is given.
func setting(t *testing.T, name string, def int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// The power goes out while tasks run: every process is killed at a random moment,
// and of JetStream's files there is what had been synced by then. Nothing is lost:
// all tasks end COMPLETE, once, and the audit is clean, after each cut.
//
// BEAT_POWER_CUTS and BEAT_POWER_TASKS say how often, and how many tasks run
// each time. BEAT_POWER_LAZY=1 does the same with the server's lazy fsync, which
// beat is not run with, and only tells what is found.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	cuts, tasks, lazy := setting(t, "BEAT_POWER_CUTS", 2), setting(t, "BEAT_POWER_TASKS", 40), os.Getenv("BEAT_POWER_LAZY") != ""
	w := newWorld(t, localConfig{})
	_, port, err := net.SplitHostPort(freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg := storeConfig{Dir: filepath.Join(t.TempDir(), "jetstream"), SyncAlways: !lazy}
	if cfg.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	w.deps.NATSURL = "nats://127.0.0.1:" + port
	store := w.startStore(cfg)
	beat := w.start(freePort(t))
	wrong := 0
	for cut := range cuts {
		done := cut * tasks
		rs := make([]schedule.Request, tasks)
		for i := range rs {
			rs[i] = schedule.Request{Flow: "refresh_profile_by_handle", Platform: social.Instagram,
				Params: json.RawMessage(fmt.Sprintf(`{"handle":"creator%05d"}`, done+i+1))}
		}
		if err := w.queue.EnqueueAll(t.Context(), rs); err != nil {
			t.Fatal(err)
		}
		at := done + rand.IntN(tasks*4/5)
		w.until("the moment of the cut", func() bool { return w.complete() >= at })
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // within whatever it does then
		store.Process.Kill()                                         //nolint:errcheck // it may not fail twice
		kill(beat)
		kill(store)
		ended := w.complete()
		if err := os.RemoveAll(cfg.Dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(cfg.Dir+".platter", cfg.Dir); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		store = w.startStore(cfg)
		beat = w.start(freePort(t))
		if lazy {
			for deadline := time.Now().Add(patience); w.complete() < done+tasks && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			}
		} else {
			w.until("all tasks after a power cut", func() bool { return w.complete() == done+tasks })
		}
		code := 0
		if lazy {
			code = -1
		}
		r := w.audited(code)
		t.Logf("cut %d with %d of %d tasks complete: %d after %s; the audit misses %d", cut+1, ended-done, tasks, w.complete()-done,
			time.Since(began).Round(100*time.Millisecond), r.Missing())
		for _, c := range r.Checks {
			if c.Missing > 0 {
				wrong++
				t.Logf("%s: %d, such as %s", c.Name, c.Missing, c.IDs[0])
			}
		}
	}
	if lazy {
		t.Logf("with lazy fsync %d checks of %d cuts found something", wrong, cuts)
		return
	}
	w.until("the end of every run", func() bool { return w.int("SELECT count(*) FROM task_progress") == 0 })
	w.check(cuts * tasks)
}
