package servers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// PostgresConfig says how to start Postgres. The zero value is for tests.
type PostgresConfig struct {
	Dir      string            // default: a temporary one; one that holds a cluster is used again
	Fsync    bool              // survive a crash of the machine, as production does; a killed server keeps its rows either way
	Settings map[string]string // of postgresql.conf, over ours
}

// pgSettings are ours. 300 connections serve a suite whose packages test in
// parallel, each with a few pools; 128MB is Postgres's own default and fits a
// small machine.
var pgSettings = map[string]string{
	"listen_addresses":        "127.0.0.1",
	"unix_socket_directories": "", // no socket: nothing to collide on
	"max_connections":         "300",
	"shared_buffers":          "128MB",
	"timezone":                "UTC",
	"log_timezone":            "UTC",
	"log_checkpoints":         "off",
}

// pgCareless are added without Fsync: four times the commits on a slow disk.
var pgCareless = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
}

// Postgres starts Postgres with the superuser beat, without a password, on
// loopback. URL names the database postgres.
//
// Postgres refuses to run as root. Started by root, it runs as the user
// postgres or else nobody, who then owns Dir/data.
func Postgres(ctx context.Context, cfg PostgresConfig) (*Server, error) {
	bin, err := pgBin(ctx)
	if err != nil {
		return nil, err
	}
	as, name, err := pgUser()
	if err != nil {
		return nil, err
	}
	return begin(ctx, cfg.Dir, "postgres", func(dir string, port int) (*Server, error) {
		data := filepath.Join(dir, "data")
		if err := pgInit(ctx, cfg, bin, data, as, name); err != nil {
			return nil, err
		}
		set := maps.Clone(pgSettings)
		if !cfg.Fsync {
			maps.Copy(set, pgCareless)
		}
		maps.Copy(set, cfg.Settings)
		args := []string{"-D", data, "-p", strconv.Itoa(port)}
		for _, k := range slices.Sorted(maps.Keys(set)) {
			args = append(args, "-c", k+"="+set[k])
		}
		c := command{path: filepath.Join(bin, "postgres"), args: args, env: environ(data), as: as}
		url := "postgres://beat@" + loopback(port) + "/postgres?sslmode=disable"
		return &Server{
			URL: url,
			recipe: recipe{
				name:     "postgres",
				port:     port,
				commands: func() ([]command, error) { return []command{c}, nil },
				ready:    func(ctx context.Context, _ int) error { return pgReady(ctx, url, data) },
				stop:     syscall.SIGINT,  // "fast": roll back, write, end
				quit:     syscall.SIGQUIT, // "immediate": end, giving back shared memory
			},
		}, nil
	})
}

// pgInit makes a cluster in data unless there is one.
func pgInit(ctx context.Context, cfg PostgresConfig, bin, data string, as *syscall.Credential, name string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(data, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
		if err := openTo(filepath.Dir(data), name); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	args := []string{"-D", data, "-U", "beat", "-A", "trust", "--encoding=UTF8", "--locale=C"}
	if !cfg.Fsync {
		args = append(args, "--no-sync")
	}
	return run(ctx, command{path: filepath.Join(bin, "initdb"), args: args, env: environ(data), as: as},
		filepath.Join(filepath.Dir(data), logName))
}

// pgReady connects, which also fails while a crashed cluster recovers, and
// asks for the data directory.
func pgReady(ctx context.Context, url, data string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var got string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&got); err != nil {
		return err
	}
	if got != data {
		return fmt.Errorf("the server of %s answers, not that of %s", got, data)
	}
	return nil
}

// pgBin returns the directory with initdb and postgres. Debian keeps both off
// the PATH.
// PostgresBin is the folder of Postgres's programs, such as pg_dump.
func PostgresBin(ctx context.Context) (string, error) {
	dir, err := pgBin(ctx)
	if err != nil {
		return "", err
	}
	server, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")) // others may lie elsewhere than the links
	return filepath.Dir(server), err
}

func pgBin(ctx context.Context) (string, error) {
	var dirs []string
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if !pgComplete(dir) {
			return "", fmt.Errorf("PG_BIN=%s holds no initdb and postgres", dir)
		}
		dirs = append(dirs, dir)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	patterns := []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"}
	for _, dir := range homebrew {
		patterns = append(patterns, dir+"/opt/postgresql@*/bin", dir+"/opt/postgresql/bin")
	}
	for _, dir := range append(dirs, candidates(patterns)...) {
		if pgComplete(dir) {
			return filepath.Abs(dir)
		}
	}
	return "", missing("postgres (with initdb)", "postgresql", "postgresql@17")
}

func pgComplete(dir string) bool {
	return executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres"))
}

// pgUser returns whom Postgres runs as; nil is ourselves.
func pgUser() (*syscall.Credential, string, error) {
	if os.Geteuid() != 0 {
		return nil, "", nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, name, nil
		}
	}
	return nil, "", fmt.Errorf("postgres cannot run as root, and there is no user postgres or nobody: run as another user")
}
