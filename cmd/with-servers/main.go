// Command with-servers runs a command next to a private Postgres, Redis and
// RabbitMQ:
//
//	with-servers [--only pg,redis,rabbit] -- go test ./...
//
// It starts the servers together, sets BEAT_TEST_PG_URL, BEAT_TEST_REDIS_URL,
// BEAT_TEST_RMQ_URL and BEAT_TEST_RMQ_ADMIN_URL, which package servertest
// reads, runs the command, ends the servers and exits with the command's code.
// Signals go to the command. If with-servers itself is killed, the servers end
// too; see package servers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"beat/streams/servers"
	"beat/streams/servers/servertest"
)

type kind struct {
	name  string
	start func(context.Context) (*servers.Server, error)
	env   func(*servers.Server) []string
}

// kinds are the servers there are.
var kinds = []kind{
	{"pg", func(ctx context.Context) (*servers.Server, error) {
		return servers.Postgres(ctx, servers.PostgresConfig{})
	}, func(s *servers.Server) []string {
		return []string{servertest.EnvPostgres + "=" + s.URL}
	}},
	{"redis", func(ctx context.Context) (*servers.Server, error) {
		return servers.Redis(ctx, servers.RedisConfig{})
	}, func(s *servers.Server) []string {
		return []string{servertest.EnvRedis + "=" + s.URL}
	}},
	{"rabbit", func(ctx context.Context) (*servers.Server, error) {
		return servers.Rabbit(ctx, servers.RabbitConfig{Management: true})
	}, func(s *servers.Server) []string {
		return []string{servertest.EnvRabbit + "=" + s.URL, servertest.EnvRabbitAdmin + "=" + s.AdminURL}
	}},
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "with-servers:", err)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	flags := flag.NewFlagSet("with-servers", flag.ContinueOnError)
	only := flags.String("only", "pg,redis,rabbit", "the `servers` to start")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "usage: with-servers [--only pg,redis,rabbit] -- command [argument …]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil // flags has said why
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2, nil
	}
	wanted := make(map[string]bool)
	for name := range strings.SplitSeq(*only, ",") {
		if !slices.ContainsFunc(kinds, func(k kind) bool { return k.name == name }) {
			return 2, fmt.Errorf("no server is called %q", name)
		}
		wanted[name] = true
	}

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()

	var (
		wg    sync.WaitGroup
		found = make([]*servers.Server, len(kinds))
		errs  = make([]error, len(kinds))
		took  = make([]string, len(kinds))
	)
	defer func() {
		for _, s := range found {
			if s != nil {
				wg.Go(func() { _ = s.Discard() })
			}
		}
		wg.Wait()
		_ = servers.CleanUp()
	}()
	begin := time.Now()
	for i, kind := range kinds {
		if !wanted[kind.name] {
			continue
		}
		wg.Go(func() {
			found[i], errs[i] = kind.start(ctx)
			took[i] = fmt.Sprintf(" %s %.1fs", kind.name, time.Since(begin).Seconds())
			if errs[i] != nil {
				cancel() // the others need not go on
			}
		})
	}
	ready := make(chan struct{})
	go func() { wg.Wait(); close(ready) }()
	select {
	case <-ready:
	case sig := <-signals:
		cancel()
		<-ready
		return 128 + int(sig.(syscall.Signal)), fmt.Errorf("%v while starting servers", sig)
	}
	if err := first(errs); err != nil {
		return 1, err
	}
	fmt.Fprintf(os.Stderr, "with-servers: ready:%s\n", strings.Join(took, ""))

	cmd := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = os.Environ()
	for i, s := range found {
		if s != nil {
			cmd.Env = append(cmd.Env, kinds[i].env(s)...)
		}
	}
	if err := cmd.Start(); err != nil {
		return 127, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig)
		case err := <-done:
			if exit := new(exec.ExitError); errors.As(err, &exit) {
				if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
					return 128 + int(ws.Signal()), nil
				}
				return exit.ExitCode(), nil
			}
			if err != nil {
				return 1, err
			}
			return 0, nil
		}
	}
}

// first returns the error that is not merely the end of the others.
func first(errs []error) error {
	var found error
	for _, err := range errs {
		if err != nil && (found == nil || errors.Is(found, context.Canceled)) {
			found = err
		}
	}
	return found
}
