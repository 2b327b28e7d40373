package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// RabbitConfig says how to start RabbitMQ. The zero value will do.
type RabbitConfig struct {
	Dir string // default: a temporary one; one that holds a broker's data is used again

	// Management also starts the HTTP API, whose address is then AdminURL. It
	// makes virtual hosts in milliseconds, where rabbitmqctl takes seconds, but
	// samples statistics all the time and makes Stop (not Discard) take six
	// seconds.
	Management bool
}

// Rabbit starts RabbitMQ as the current user, root too, with the user guest
// and its own name server (epmd), so that a broker of the system is neither
// seen nor disturbed. It takes about seven seconds on two cores, most of it
// Erlang loading code.
func Rabbit(ctx context.Context, cfg RabbitConfig) (*Server, error) {
	server, epmd, err := rabbitBin()
	if err != nil {
		return nil, err
	}
	return begin(ctx, cfg.Dir, "rabbitmq", func(dir string, port int) (*Server, error) {
		var ports [3]int // epmd, distribution, management
		for i := range ports {
			if ports[i], err = freePort(); err != nil {
				return nil, err
			}
		}
		name := "beat-" + rand.Text() // by which the ready check knows the broker
		if err := rabbitFiles(dir, name, port, ports[2], cfg.Management); err != nil {
			return nil, err
		}
		env := environ(dir,
			fmt.Sprintf("ERL_EPMD_PORT=%d", ports[0]),
			"ERL_EPMD_ADDRESS=127.0.0.1",
			// The name is part of the stored data. It can be the same for all,
			// since each has its own epmd; localhost always resolves.
			"RABBITMQ_NODENAME=beat@localhost",
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[1]),
			"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
			"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
			"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
			"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
			"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
			"RABBITMQ_ADVANCED_CONFIG_FILE="+filepath.Join(dir, "none.config"),
			"RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none.conf"),
			"RABBITMQ_FEATURE_FLAGS_FILE="+filepath.Join(dir, "feature_flags"),
			// Two schedulers are enough here; the distribution listens on
			// loopback only, which no other setting does.
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none +A 8 -kernel inet_dist_use_interface {127,0,0,1}",
			// Makes the script become Erlang instead of waiting for it, so that
			// the process we signal is the broker.
			"RUNNING_UNDER_SYSTEMD=true",
		)
		cmds := []command{
			{path: epmd, args: []string{"-address", "127.0.0.1", "-port", fmt.Sprint(ports[0])}, env: env},
			{path: server, env: env},
		}
		s := &Server{
			URL: "amqp://guest:guest@" + loopback(port) + "/",
			recipe: recipe{
				name:     "rabbitmq",
				port:     port,
				commands: func() ([]command, error) { return cmds, nil },
				stop:     syscall.SIGTERM,
				quit:     syscall.SIGKILL,
			},
		}
		if cfg.Management {
			s.AdminURL = "http://guest:guest@" + loopback(ports[2])
		}
		s.recipe.ready = func(ctx context.Context, _ int) error { return rabbitReady(ctx, s.URL, name) }
		return s, nil
	})
}

// rabbitFiles writes the configuration. Directories that exist are kept.
func rabbitFiles(dir, name string, port, admin int, management bool) error {
	plugins := "[]."
	conf := fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%d
cluster_name = %s
log.file = false
log.console = true
log.console.level = info
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
`, port, name)
	if management {
		plugins = "[rabbitmq_management]."
		conf += fmt.Sprintf("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = %d\n", admin)
	}
	cookie := filepath.Join(dir, ".erlang.cookie")
	if _, err := os.Stat(cookie); err != nil {
		if err := os.WriteFile(cookie, []byte(rand.Text()), 0o400); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "enabled_plugins"), []byte(plugins+"\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "rabbitmq.conf"), []byte(conf), 0o644)
}

// rabbitReady logs in, and looks whether the broker has the given name.
func rabbitReady(ctx context.Context, url, name string) error {
	timeout := 5 * time.Second
	if at, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(at))
	}
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(timeout)})
	if err != nil {
		return err
	}
	defer conn.Close()
	if got := conn.Properties["cluster_name"]; got != name {
		return fmt.Errorf("the broker %v answers, not %s", got, name)
	}
	return nil
}

// rabbitBin returns the broker's own start script and epmd. Debian's
// rabbitmq-server on the PATH is a wrapper that changes to the system's
// directory and user; the script itself lies elsewhere.
func rabbitBin() (server, epmd string, err error) {
	patterns := []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"}
	erlang := []string{"/usr/lib/erlang/erts-*/bin/epmd"}
	for _, dir := range homebrew {
		patterns = append(patterns, dir+"/opt/rabbitmq/sbin/rabbitmq-server", dir+"/sbin/rabbitmq-server")
		erlang = append(erlang, dir+"/bin/epmd", dir+"/opt/erlang/lib/erlang/erts-*/bin/epmd")
	}
	for _, path := range candidates(patterns) {
		if executable(path) {
			server = path
			break
		}
	}
	if path, ok := program("rabbitmq-server"); ok && server == "" {
		if real, err := filepath.EvalSymlinks(path); err == nil && !strings.Contains(filepath.Base(real), "wrapper") {
			server = path
		}
	}
	if server == "" {
		return "", "", missing("rabbitmq-server", "rabbitmq-server", "rabbitmq")
	}
	epmd, ok := program("epmd", erlang...)
	if !ok {
		return "", "", missing("epmd (of Erlang)", "erlang-base", "erlang")
	}
	return server, epmd, nil
}
