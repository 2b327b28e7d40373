package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A command is a process to start.
type command struct {
	path string
	args []string
	env  []string            // whole environment
	as   *syscall.Credential // nil: as ourselves
}

// A process is a started command. It leads its own process group.
type process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
	free func()        // ends what guards the process
}

// A node is one process of a tree. Two nodes with the same pid but another
// start are different processes.
type node struct {
	pid, ppid int
	start     string
	cpu       time.Duration // its own, and that of children it has reaped
}

// starts carries every start to one goroutine that keeps its OS thread for
// good. Linux sends the parent death signal when the *thread* that forked ends,
// and Go ends threads at will.
var starts = sync.OnceValue(func() chan<- func() {
	ch := make(chan func())
	go startLoop(ch)
	return ch
})

// startLoop runs until the process ends; a leak check has to allow for it.
func startLoop(ch <-chan func()) {
	runtime.LockOSThread()
	for f := range ch {
		f()
	}
}

// launch starts c with its output appended to the log. If we die, c gets quit.
func launch(c command, log string, quit syscall.Signal) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/" // ours may be closed to the other user
	cmd.SysProcAttr = sysProcAttr(quit)
	cmd.SysProcAttr.Credential = c.as
	started := make(chan error)
	starts() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, cmd: cmd, done: make(chan struct{})}
	p.free = guard(p.pid, quit)
	go func() {
		_ = cmd.Wait() // the state says it all
		p.free()
		close(p.done)
	}()
	return p, nil
}

// run runs c to its end, with its output in the log.
func run(ctx context.Context, c command, log string) error {
	p, err := launch(c, log, syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", filepath.Base(c.path), errorsOr(context.Cause(ctx), p.kill()))
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("%s: %v%s", filepath.Base(c.path), p.state(), tail(log))
	}
	return nil
}

func errorsOr(err, also error) error {
	if also != nil {
		return fmt.Errorf("%w; %w", err, also)
	}
	return err
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// state says how the process ended. Only after done.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// cpu returns what the process and its reaped children have used. Only after
// done.
func (p *process) cpu() time.Duration {
	<-p.done
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// end signals the process and waits until its whole tree is gone. When ctx
// ends first, it kills the tree and returns ctx's error.
func (p *process) end(ctx context.Context, sig syscall.Signal) error {
	if !p.alive() {
		return nil
	}
	nodes, _ := tree(p.pid)
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
		return reap(nodes)
	case <-ctx.Done():
		return errorsOr(context.Cause(ctx), p.kill())
	}
}

// kill ends the whole tree with SIGKILL. Descendants need not be in the
// process group: each Postgres backend is in one of its own.
func (p *process) kill() error {
	if !p.alive() {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no more
	nodes, _ := tree(p.pid)
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
	<-p.done
	for _, n := range nodes {
		if n.pid != p.pid && exists(n) {
			_ = syscall.Kill(n.pid, syscall.SIGKILL)
		}
	}
	return reap(nodes)
}

// reap waits until the nodes are gone, and helps after two seconds: by then a
// Postgres backend has seen its postmaster die, and a port program of Erlang
// the end of its pipe.
func reap(nodes []node) error {
	for deadline, start := 10*time.Second, time.Now(); ; time.Sleep(5 * time.Millisecond) {
		var left []node
		for _, n := range nodes {
			if exists(n) {
				left = append(left, n)
			}
		}
		since := time.Since(start)
		switch {
		case len(left) == 0:
			return nil
		case since > deadline:
			return fmt.Errorf("process %d does not end", left[0].pid)
		case since > 2*time.Second:
			for _, n := range left {
				_ = syscall.Kill(n.pid, syscall.SIGKILL)
			}
		}
	}
}

// tree returns pid and its descendants, pid first.
func tree(pid int) ([]node, error) {
	all, err := nodes()
	if err != nil {
		return nil, err
	}
	children := make(map[int][]node)
	var found []node
	for _, n := range all {
		children[n.ppid] = append(children[n.ppid], n)
		if n.pid == pid {
			found = append(found, n)
		}
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found, nil
}

const logName = "server.log"

func (s *Server) logPath() string { return filepath.Join(s.Dir, logName) }

// tail returns the end of a log as a block to add to an error.
func tail(path string) string {
	b, err := os.ReadFile(path)
	b = bytes.TrimSpace(b)
	if err != nil || len(b) == 0 {
		return ""
	}
	if max := 3000; len(b) > max {
		b = b[len(b)-max:]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			b = b[i+1:]
		}
	}
	return "\n    " + strings.ReplaceAll(string(b), "\n", "\n    ")
}
