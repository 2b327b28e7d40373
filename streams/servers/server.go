// Package servers starts private Postgres, Redis and RabbitMQ servers from the
// binaries that are installed on this machine. Tests, the demo and the
// benchmark use it, so they never touch a server that happens to run here.
//
// What a server owns:
//
//   - one loopback port (RabbitMQ: two to four), chosen below the range from
//     which the kernel takes ports for outgoing connections, so that Restart
//     finds it free again;
//   - one directory, Server.Dir, with its data and server.log. A directory the
//     caller named is kept. One we made is removed by Stop and Discard; if the
//     process is killed first, the next process that uses this package removes
//     it (see scratch.go);
//   - one process tree. It dies with the process that started it, however that
//     one ends: on Linux by the parent death signal, elsewhere through a small
//     shell that waits for the end of a pipe (see process.go).
//
// Nothing is shared with a system service: no port, directory, socket, cookie,
// configuration file or environment variable. Installing the packages may
// start such a service; it is ignored.
//
// A start returns when the server has answered a real request and has shown
// that it is the one we started (not a stranger who took the port first). When
// it fails, the error ends with the last lines of the server's log.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Server is a running private server. Its methods are safe for concurrent
// use, but Stop, Kill, Discard and Restart wait for each other.
type Server struct {
	URL      string // how clients reach it; the same after Restart
	AdminURL string // RabbitMQ's management API, if asked for; otherwise empty
	Dir      string // absolute; data and server.log

	recipe recipe
	temp   bool // Dir is ours to remove

	op    sync.Mutex // held by Stop, Kill, Discard, Restart
	mu    sync.Mutex // guards what follows
	procs []*process // helpers first, the server itself last
	spent time.Duration
	gone  bool // Dir has been removed
}

// A recipe is what differs between the kinds of server.
type recipe struct {
	name     string
	commands func() ([]command, error)                // helpers first, the server itself last
	ready    func(ctx context.Context, pid int) error // nil when the server answers and is that process
	stop     syscall.Signal                           // asks for an orderly end
	quit     syscall.Signal                           // asks for a quick end that need not keep data
	port     int
}

// pollEvery is how often a starting server is asked whether it is ready:
// short against the quickest start (Redis, 20ms), and a refused connection on
// loopback costs next to nothing.
const pollEvery = 10 * time.Millisecond

var errPortTaken = errors.New("port was taken by another process")

// begin makes a server by trying make with a new port each time, since another
// process can take a port between our look and the server's bind.
func begin(ctx context.Context, dir, name string, mk func(dir string, port int) (*Server, error)) (*Server, error) {
	dir, temp, err := scratch(dir, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for try := 0; ; try++ {
		s, err := func() (*Server, error) {
			port, err := freePort()
			if err != nil {
				return nil, err
			}
			s, err := mk(dir, port)
			if err != nil {
				return nil, err
			}
			s.Dir, s.temp = dir, temp
			return s, s.start(ctx)
		}()
		if err == nil {
			return s, nil
		}
		if errors.Is(err, errPortTaken) && try < 4 {
			continue
		}
		if temp {
			_ = os.RemoveAll(dir)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
}

// start runs the commands and waits until the server is ready.
func (s *Server) start(ctx context.Context) error {
	cmds, err := s.recipe.commands()
	if err != nil {
		return err
	}
	var procs []*process
	fail := func(err error) error {
		for _, p := range procs {
			p.kill()
		}
		return err
	}
	for _, c := range cmds {
		p, err := launch(c, s.logPath(), s.recipe.quit)
		if err != nil {
			return fail(err)
		}
		procs = append(procs, p)
	}
	main := procs[len(procs)-1]
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for last := errors.New("not asked yet"); ; {
		select {
		case <-main.done:
			err := fmt.Errorf("ended while starting: %v%s", main.state(), tail(s.logPath()))
			if !portFree(s.recipe.port) {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return fail(err)
		case <-ctx.Done():
			return fail(fmt.Errorf("not ready: %w (last: %v)%s", context.Cause(ctx), last, tail(s.logPath())))
		case <-tick.C:
		}
		// Long enough for a loaded machine, short enough to notice an end.
		rctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		last = s.recipe.ready(rctx, main.pid)
		cancel()
		if last == nil {
			break
		}
	}
	s.mu.Lock()
	s.procs = procs
	s.mu.Unlock()
	return nil
}

// Stop ends the server in an orderly way, so that its data can be used again,
// and removes its directory if the caller did not name one. When ctx ends
// first, the server is killed and Stop says so. Stopping twice does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	return errors.Join(s.end(ctx, s.recipe.stop), s.remove())
}

// Discard ends the server as quickly as it can without leaving anything
// behind in the machine, and removes its directory if the caller did not name
// one. What was written last may be lost.
func (s *Server) Discard() error {
	s.op.Lock()
	defer s.op.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.end(ctx, s.recipe.quit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // it was killed, which is all that was asked
	}
	return errors.Join(err, s.remove())
}

// Kill ends the whole process tree with SIGKILL, as a crash would. The
// directory stays, so Restart finds what a crash leaves. On Linux a killed
// Postgres keeps a small segment of shared memory until its next start.
func (s *Server) Kill() error {
	s.op.Lock()
	defer s.op.Unlock()
	var errs []error
	for _, p := range s.running() {
		errs = append(errs, p.kill())
	}
	return errors.Join(errs...)
}

// Restart stops the server if it runs and starts it on the same port and
// data. Redis keeps no data.
func (s *Server) Restart(ctx context.Context) error {
	s.op.Lock()
	defer s.op.Unlock()
	s.mu.Lock()
	gone := s.gone
	s.mu.Unlock()
	if gone {
		return fmt.Errorf("%s: restart: its directory is removed", s.recipe.name)
	}
	if err := s.end(ctx, s.recipe.stop); err != nil {
		return err
	}
	s.mu.Lock()
	for _, p := range s.procs {
		s.spent += p.cpu()
	}
	s.procs = nil
	s.mu.Unlock()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("%s: restart: %w", s.recipe.name, err)
	}
	return nil
}

// Pid returns the server's main process, or 0 when it does not run.
func (s *Server) Pid() int {
	procs := s.running()
	if len(procs) == 0 || !procs[len(procs)-1].alive() {
		return 0
	}
	return procs[len(procs)-1].pid
}

// PIDs returns every process of the server: the main one, its helpers and all
// their descendants.
func (s *Server) PIDs() ([]int, error) {
	var pids []int
	for _, p := range s.running() {
		if !p.alive() {
			continue
		}
		t, err := tree(p.pid)
		if err != nil {
			return nil, err
		}
		for _, q := range t {
			pids = append(pids, q.pid)
		}
	}
	return pids, nil
}

// CPU returns the user and system time that the server has used since it was
// first started, over all its processes and restarts. Its resolution is 10ms;
// a process that ends during the call may be missed or counted twice.
func (s *Server) CPU() (time.Duration, error) {
	s.mu.Lock()
	sum := s.spent
	s.mu.Unlock()
	for _, p := range s.running() {
		if !p.alive() {
			sum += p.cpu()
			continue
		}
		t, err := tree(p.pid)
		if err != nil {
			return 0, err
		}
		for _, q := range t {
			sum += q.cpu
		}
	}
	return sum, nil
}

func (s *Server) running() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*process(nil), s.procs...)
}

// end signals the server, waits for it, and then ends its helpers.
func (s *Server) end(ctx context.Context, sig syscall.Signal) error {
	var err error
	procs := s.running()
	for i := len(procs) - 1; i >= 0; i-- {
		if e := procs[i].end(ctx, sig); e != nil && err == nil {
			err = fmt.Errorf("%s: killed, as it did not stop: %w%s", s.recipe.name, e, tail(s.logPath()))
		}
		sig = syscall.SIGTERM // what a helper understands
	}
	return err
}

func (s *Server) remove() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.temp || s.gone {
		return nil
	}
	s.gone = true
	return os.RemoveAll(s.Dir)
}
