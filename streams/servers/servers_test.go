package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) {
	if os.Getenv("SERVERS_TEST_PARENT") != "" {
		parent()
		return
	}
	code := m.Run()
	_ = CleanUp()
	os.Exit(code)
}

// kinds are the rows that every test of the common behaviour goes through.
var kinds = []struct {
	name  string
	start func(ctx context.Context, dir string) (*Server, error)
	put   func(t *testing.T, ctx context.Context, url string) // stores something
	get   func(t *testing.T, ctx context.Context, url string) // finds it
	kept  bool                                                // whether it outlives a restart
}{
	{"postgres", func(ctx context.Context, dir string) (*Server, error) {
		return Postgres(ctx, PostgresConfig{Dir: dir})
	}, pgPut, pgGet, true},
	{"redis", func(ctx context.Context, dir string) (*Server, error) {
		return Redis(ctx, RedisConfig{Dir: dir})
	}, redisPut, redisGet, false},
	{"rabbitmq", func(ctx context.Context, dir string) (*Server, error) {
		return Rabbit(ctx, RabbitConfig{Dir: dir})
	}, rabbitPut, rabbitGet, true},
}

// Two at a time, then stopped, killed and started again, all on the same data.
func TestLife(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			other := make(chan *Server, 1)
			go func() {
				s, err := kind.start(ctx, "")
				if err != nil {
					t.Errorf("start of the second: %v", err)
				}
				other <- s
			}()
			dir := t.TempDir()
			begin := time.Now()
			s, err := kind.start(ctx, dir)
			if err != nil {
				t.Fatalf("start: %v", err)
			}
			t.Logf("start: %v", time.Since(begin).Round(time.Millisecond))
			t.Cleanup(func() { _ = s.Discard() })
			o := <-other
			if o == nil {
				t.FailNow()
			}
			t.Cleanup(func() { _ = o.Discard() })
			if o.URL == s.URL || o.Dir == s.Dir {
				t.Errorf("two servers share %s, %s", o.URL, o.Dir)
			}
			kind.put(t, ctx, s.URL)
			kind.get(t, ctx, s.URL)

			pids, err := s.PIDs()
			if err != nil || s.Pid() == 0 || len(pids) == 0 {
				t.Errorf("PIDs: got %v, %v with main %d", pids, err, s.Pid())
			}
			used, err := s.CPU()
			if err != nil || used < 0 || (used == 0 && kind.name != "redis") {
				t.Errorf("CPU: got %v, %v, want more than nothing", used, err)
			}

			url := s.URL
			for _, step := range []struct {
				name string
				do   func() error
			}{
				{"restart while running", nil},
				{"restart after kill", s.Kill},
				{"restart after stop", func() error { return s.Stop(ctx) }},
			} {
				if step.do != nil {
					if err := step.do(); err != nil {
						t.Fatalf("%s: %v", step.name, err)
					}
					nothingLeft(t, s, pids)
				}
				begin := time.Now()
				if err := s.Restart(ctx); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				t.Logf("%s: %v", step.name, time.Since(begin).Round(time.Millisecond))
				if s.URL != url {
					t.Errorf("%s: URL: got %s, want %s", step.name, s.URL, url)
				}
				if !kind.kept {
					kind.put(t, ctx, s.URL)
				}
				kind.get(t, ctx, s.URL)
				if pids, err = s.PIDs(); err != nil {
					t.Fatal(err)
				}
				again, err := s.CPU()
				if err != nil || again < used {
					t.Errorf("%s: CPU: got %v, %v, want at least %v", step.name, again, err, used)
				}
				used = again
			}

			begin = time.Now()
			if err := s.Stop(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
			t.Logf("stop: %v", time.Since(begin).Round(time.Millisecond))
			nothingLeft(t, s, pids)
			if _, err := os.Stat(dir); err != nil {
				t.Errorf("the directory that was given is gone: %v", err)
			}
			// A new server on the old directory finds the data too.
			if kind.kept {
				s2, err := kind.start(ctx, dir)
				if err != nil {
					t.Fatalf("start on the same directory: %v", err)
				}
				t.Cleanup(func() { _ = s2.Discard() })
				kind.get(t, ctx, s2.URL)
			}

			pids, _ = o.PIDs()
			begin = time.Now()
			if err := o.Discard(); err != nil {
				t.Errorf("discard: %v", err)
			}
			t.Logf("discard: %v", time.Since(begin).Round(time.Millisecond))
			nothingLeft(t, o, pids)
			if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
				t.Errorf("temporary directory after discard: got %v, want it gone", err)
			}
			if err := o.Restart(ctx); err == nil {
				t.Error("restart after discard: got no error")
			}
			if err := o.Stop(ctx); err != nil {
				t.Errorf("stop after discard: %v", err)
			}
		})
	}
}

// nothingLeft checks that no process and no listener is there any more.
func nothingLeft(t *testing.T, s *Server, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if exists := syscall.Kill(pid, 0) == nil; exists {
			// Nothing: it ended since we looked.
			out, _ := exec.Command("ps", "-o", "pid=,ppid=,stat=,args=", "-p", fmt.Sprint(pid)).Output()
			if len(out) > 0 && !strings.Contains(string(out), "<defunct>") {
				t.Errorf("process %d is left: %s", pid, out)
			}
		}
	}
	if s.Pid() != 0 {
		t.Errorf("Pid: got %d, want 0", s.Pid())
	}
	if conn, err := net.Dial("tcp", loopback(s.recipe.port)); err == nil {
		conn.Close()
		t.Errorf("port %d still answers", s.recipe.port)
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func pgPut(t *testing.T, ctx context.Context, url string) {
	pgDo(t, ctx, url, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "CREATE TABLE kept AS SELECT 42 AS n")
		return err
	})
}

func pgGet(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	pgDo(t, ctx, url, func(c *pgx.Conn) error {
		var n int
		var zone, most string
		err := c.QueryRow(ctx, "SELECT n, current_setting('timezone'), current_setting('max_connections') FROM kept").Scan(&n, &zone, &most)
		if err == nil && (n != 42 || zone != "UTC" || most != "300") {
			t.Errorf("got %d %s %s, want 42 UTC 300", n, zone, most)
		}
		return err
	})
}

func pgDo(t *testing.T, ctx context.Context, url string, f func(*pgx.Conn) error) {
	t.Helper()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if err := f(c); err != nil {
		t.Fatal(err)
	}
}

func redisPut(t *testing.T, ctx context.Context, url string) {
	redisDo(t, url, func(c *redis.Client) error { return c.Set(ctx, "kept", 42, 0).Err() })
}

func redisGet(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	redisDo(t, url, func(c *redis.Client) error {
		n, err := c.Get(ctx, "kept").Int()
		if err == nil && n != 42 {
			t.Errorf("got %d, want 42", n)
		}
		return err
	})
}

func redisDo(t *testing.T, url string, f func(*redis.Client) error) {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	if err := f(c); err != nil {
		t.Fatal(err)
	}
}

// rabbitPut stores a persistent message in a durable queue.
func rabbitPut(t *testing.T, ctx context.Context, url string) {
	rabbitDo(t, url, func(ch *amqp.Channel) error {
		if _, err := ch.QueueDeclare("kept", true, false, false, false, nil); err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", "kept", true, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("42")})
		if err != nil {
			return err
		}
		if !c.Wait() {
			return fmt.Errorf("not confirmed")
		}
		return nil
	})
}

// rabbitGet reads the message and leaves it there.
func rabbitGet(t *testing.T, _ context.Context, url string) {
	t.Helper()
	rabbitDo(t, url, func(ch *amqp.Channel) error {
		m, ok, err := ch.Get("kept", false)
		if err != nil || !ok || string(m.Body) != "42" {
			return fmt.Errorf("got %q, %v, %v, want 42", m.Body, ok, err)
		}
		return m.Nack(false, true)
	})
}

func rabbitDo(t *testing.T, url string, f func(*amqp.Channel) error) {
	t.Helper()
	c, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := f(ch); err != nil {
		t.Fatal(err)
	}
}

// parent is a process that starts one of each server, says which, and is
// killed. Its last line names the directory of its servers.
func parent() {
	ctx := context.Background()
	var all []int
	for _, kind := range kinds {
		s, err := kind.start(ctx, "")
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		pids, _ := s.PIDs()
		all = append(all, pids...)
	}
	root, _ := scratchRoot()
	fmt.Println(root, all)
	select {}
}

// Everything dies with a parent that had no time to say anything, and what it
// left in the file system goes at the next start.
func TestParentKilled(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(deadline(t), os.Args[0])
	cmd.Env = append(os.Environ(), "SERVERS_TEST_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var line [4096]byte
	n, err := out.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	root, rest, ok := strings.Cut(strings.TrimSpace(string(line[:n])), " ")
	if !ok || !filepath.IsAbs(root) {
		t.Fatalf("parent said %q", line[:n])
	}
	var pids []int
	for f := range strings.FieldsSeq(strings.Trim(rest, "[]")) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) < 5 {
		t.Fatalf("got processes %v, want those of three servers", pids)
	}
	before, err := nodes()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var left []int
		for _, n := range before {
			for _, pid := range pids {
				if n.pid == pid && exists(n) {
					left = append(left, pid)
				}
			}
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("processes %v outlive their parent", left)
		}
	}

	if err := os.Chtimes(root, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	sweep()
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("directory of a dead process: got %v, want it gone", err)
	}
	mine, err := scratchRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(mine, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	sweep()
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("directory of a living process: %v", err)
	}
}

func TestManagement(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	s, err := Rabbit(deadline(t), RabbitConfig{Management: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start: %v", time.Since(begin).Round(time.Millisecond))
	defer s.Discard()
	if s.AdminURL == "" {
		t.Error("no AdminURL")
	}
}

// An error shows what the server wrote.
func TestFailedStart(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	_, err := Postgres(ctx, PostgresConfig{Settings: map[string]string{"shared_buffers": "much"}})
	if err == nil || !strings.Contains(err.Error(), "shared_buffers") {
		t.Errorf("got %v, want the server's words about shared_buffers", err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := Rabbit(short, RabbitConfig{}); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v, want the deadline", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v to give up", took)
	}
}

func TestMissing(t *testing.T) {
	got := missing("redis-server", "redis-server", "redis").Error()
	for _, want := range []string{"redis-server not found", "make servers", "apt-get install redis-server", "brew install redis"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"9.6", "15", "17"} {
		if err := os.MkdirAll(filepath.Join(dir, v, "bin"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := candidates([]string{filepath.Join(dir, "*", "bin")})
	if len(got) != 3 || !strings.HasSuffix(got[0], "/17/bin") || !strings.HasSuffix(got[2], "/9.6/bin") {
		t.Errorf("got %v, want 17, 15, 9.6", got)
	}
}
