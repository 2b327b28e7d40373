// Command beat is the whole system: each stage is a role of `beat run`, and
// everything that an operator does is a subcommand.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// globals are the flags that every command has.
type globals struct {
	JSON     bool   `help:"Print JSON for machines instead of text." name:"json"`
	LogLevel string `help:"Log threshold: debug, info, warn or error." env:"LOG_LEVEL" default:"info"`

	stdout, stderr io.Writer
}

func (g *globals) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(g.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", g.LogLevel)
	}
	return slog.New(slog.NewTextHandler(g.stderr, &slog.HandlerOptions{Level: level})), nil
}

type cli struct {
	globals

	Run         runCmd         `cmd:"" help:"Run roles of the pipeline until interrupted; all of them by default."`
	Demo        demoCmd        `cmd:"" help:"Run the main job with nothing but Postgres, and show it happening."`
	Enqueue     enqueueCmd     `cmd:"" help:"Store a task: beat enqueue FLOW key=value …"`
	Tasks       tasksCmd       `cmd:"" help:"Look at tasks, ask why they wait, retry and cancel them."`
	Schedule    scheduleCmd    `cmd:"" help:"Enqueue refreshes of the profiles that are due."`
	Flows       flowsCmd       `cmd:"" help:"Look at the flow table."`
	Pause       pauseCmd       `cmd:"" help:"Stop claiming a flow, or asking a source, or list what is paused."`
	Resume      resumeCmd      `cmd:"" help:"End a pause."`
	Credentials credentialsCmd `cmd:"" help:"Look at the keys of the providers, add, disable and test them."`
	Token       tokenCmd       `cmd:"" help:"Make tokens with which the gateway may be asked."`
	Limits      limitsCmd      `cmd:"" help:"Look at the rate limits and reset them."`
	Dead        deadCmd        `cmd:"" help:"Look at dead letters, send them once more, or drop them."`
	AMQP        amqpCmd        `cmd:"" name:"amqp" help:"Look at what RabbitMQ has of the exchanges, queues and bindings that are needed, and make it."`
	Archive     archiveCmd     `cmd:"" help:"Look at the archive of raw answers, and verify it."`
	Snapshot    snapshotCmd    `cmd:"" help:"Keep raw answers in a file that tells of nobody, to try the next release on."`
	Quarantine  quarantineCmd  `cmd:"" help:"Look at observations that are kept back because a count fell too far, and decide on them."`
	Replay      replayCmd      `cmd:"" help:"Parse the past again after a parser was fixed; shows what would change, or changes it."`
	State       stateCmd       `cmd:"" help:"Show an account or post, now or as of then, and where each value came from."`
	Restore     restoreCmd     `cmd:"" help:"Take back what was observed of profiles since a time."`
	Lineage     lineageCmd     `cmd:"" help:"Follow an event, a raw answer, a task or a row to all that it came from and all that came of it."`
	Projections projectionsCmd `cmd:"" help:"Look at the tables that are folded from EVENTS, verify them, and build them anew while they are in use."`
	Audit       auditCmd       `cmd:"" help:"Count what each stage was given against what it has made of it, and name what is missing."`
	Migrate     migrateCmd     `cmd:"" help:"Bring the database schema up to date."`
	Doctor      doctorCmd      `cmd:"" help:"Check every dependency and say what to do."`
	Sandbox     sandboxCmd     `cmd:"" help:"Serve the provider sandbox over HTTP."`
	Bench       benchCmd       `cmd:"" help:"Measure the whole path through the sandbox."`
	OpenAPI     openAPICmd     `cmd:"" name:"openapi" help:"Print the document of the HTTP API, OpenAPI 3.1."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// collectLate trades memory for CPU: beat makes much short-lived garbage beside
// little that lives, so the collector runs rarely until the heap nears its limit.
// The whole pipeline with its JetStream then stays under 400 MB and spends a
// fifth less CPU than by Go's defaults. GOMEMLIMIT and GOGC in the environment
// win, each; a process with gigabytes of backlog in an embedded server wants a
// larger limit.
func collectLate() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(330 << 20)
	}
}

func main() {
	collectLate()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// usageError is a mistake in the command line: exit code 2.
type usageError struct{ error }

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	c.stdout, c.stderr = stdout, stderr
	exited := -1
	p, err := kong.New(&c, kong.Name("beat"), kong.UsageOnError(), kong.Writers(stdout, stderr),
		kong.Description("Collects social media data: fetches, keeps every answer, folds it into Postgres, tells RabbitMQ."),
		kong.Exit(func(code int) { exited = code; panic(exitPanic{}) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(&c.globals))
	if err != nil {
		fmt.Fprintln(stderr, "beat:", err)
		return 2
	}
	k, err := parse(p, args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(stderr, "beat:", userinfo.ReplaceAllString(err.Error(), "//***@"))
		return 2
	}
	if err := k.Run(); err != nil {
		fmt.Fprintln(stderr, "beat:", err)
		var u usageError
		if errors.As(err, &u) {
			return 2
		}
		return 1
	}
	return 0
}

type exitPanic struct{}

// userinfo is what kong repeats of a URL that is no SOURCE=URL.
var userinfo = regexp.MustCompile(`//[^\s"]*@`)

// parse turns kong's exit after --help into a return.
func parse(p *kong.Kong, args []string) (k *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitPanic); !ok {
				panic(r)
			}
		}
	}()
	return p.Parse(args)
}
