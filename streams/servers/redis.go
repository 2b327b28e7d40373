package servers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// RedisConfig says how to start Redis. The zero value will do.
type RedisConfig struct {
	Dir string // default: a temporary one
}

// Redis starts redis-server without persistence: a restart empties it.
func Redis(ctx context.Context, cfg RedisConfig) (*Server, error) {
	var patterns []string
	for _, dir := range homebrew {
		patterns = append(patterns, dir+"/bin/redis-server", dir+"/opt/redis/bin/redis-server")
	}
	bin, ok := program("redis-server", patterns...)
	if !ok {
		return nil, missing("redis-server", "redis-server", "redis")
	}
	return begin(ctx, cfg.Dir, "redis", func(dir string, port int) (*Server, error) {
		c := command{path: bin, env: environ(dir), args: []string{
			"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir,
			"--save", "", "--appendonly", "no", "--daemonize", "no",
			"--maxclients", "1000", // fits the usual limit of 1024 open files
		}}
		return &Server{
			URL: "redis://" + loopback(port) + "/0",
			recipe: recipe{
				name:     "redis",
				port:     port,
				commands: func() ([]command, error) { return []command{c}, nil },
				ready:    func(ctx context.Context, pid int) error { return redisReady(ctx, loopback(port), pid) },
				stop:     syscall.SIGTERM,
				quit:     syscall.SIGKILL,
			},
		}, nil
	})
}

// redisReady asks for the server's process.
func redisReady(ctx context.Context, addr string, pid int) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("INFO server\r\nQUIT\r\n")); err != nil {
		return err
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if got, ok := strings.CutPrefix(lines.Text(), "process_id:"); ok {
			if got != strconv.Itoa(pid) {
				return fmt.Errorf("process %s answers, not %d", got, pid)
			}
			return nil
		}
	}
	return fmt.Errorf("no process_id in the answer to INFO")
}
