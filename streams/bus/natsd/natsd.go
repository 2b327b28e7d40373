// Package natsd runs a NATS server with JetStream inside this process: for the
// demo, for tests and for a single machine without a cluster. What it stores
// lies in Config.Dir, and a server started again on that directory continues
// where the last one stopped.
package natsd

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	defaultMaxPayload = 8 << 20          // a raw answer of up to 256 KiB fits, and so does a commit of a few thousand events
	readyTimeout      = 30 * time.Second // recovery of a large store directory after a crash
)

// Config says where the server keeps its data and who may reach it. A zero
// field means its default.
type Config struct {
	Dir        string // store directory; required
	Host       string // default 127.0.0.1
	Port       int    // 0: a free port; -1: no listener, in-process connections only
	SyncAlways bool   // fsync before every acknowledgement; production says yes
	MaxPayload int32  // bytes of one message; default 8 MiB
	MaxMem     int64  // bytes of memory storage; default: the server's choice
	MaxStore   int64  // bytes of file storage; default: the server's choice
	LogFile    string // default: no log
}

// Server is a running server. Stop ends it.
type Server struct {
	ns *server.Server
}

// Start runs a server and returns once it accepts connections.
func Start(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("natsd: no store directory")
	}
	opts := &server.Options{
		ServerName:         "beat",
		Host:               cfg.Host,
		Port:               cfg.Port,
		DontListen:         cfg.Port < 0,
		NoSigs:             true,
		NoLog:              cfg.LogFile == "",
		LogFile:            cfg.LogFile,
		MaxPayload:         cfg.MaxPayload,
		MaxPending:         64 << 20, // per connection; the server's own default
		JetStream:          true,
		StoreDir:           cfg.Dir,
		SyncAlways:         cfg.SyncAlways,
		JetStreamMaxMemory: cfg.MaxMem,
		JetStreamMaxStore:  cfg.MaxStore,
	}
	if opts.Host == "" {
		opts.Host = "127.0.0.1"
	}
	switch {
	case cfg.Port == 0:
		opts.Port = server.RANDOM_PORT
	case cfg.Port < 0:
		opts.Port = 0
	}
	if opts.MaxPayload == 0 {
		opts.MaxPayload = defaultMaxPayload
	}
	// Zero would be taken as "nothing allowed"; minus one asks for the default.
	if opts.JetStreamMaxMemory == 0 {
		opts.JetStreamMaxMemory = -1
	}
	if opts.JetStreamMaxStore == 0 {
		opts.JetStreamMaxStore = -1
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("natsd: %w", err)
	}
	if cfg.LogFile != "" {
		ns.ConfigureLogger()
	}
	ns.Start()
	s := &Server{ns: ns}
	if !ns.ReadyForConnections(readyTimeout) {
		s.Stop()
		return nil, fmt.Errorf("natsd: not ready within %s", readyTimeout)
	}
	if !ns.JetStreamEnabled() {
		s.Stop()
		return nil, errors.New("natsd: JetStream could not be started; see its log")
	}
	return s, nil
}

// URL is where clients of other processes connect. It is of no use to them when
// the server has no listener.
func (s *Server) URL() string { return s.ns.ClientURL() }

// Connect returns a connection that goes through memory, not through a socket.
// It reconnects for ever, also to a server that was started again only if that
// one listens on the same URL; an in-process pipe ends with its server.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{nats.InProcessServer(s.ns), nats.MaxReconnects(-1)}, opts...)
	nc, err := nats.Connect(nats.DefaultURL, all...)
	if err != nil {
		return nil, fmt.Errorf("natsd: connect: %w", err)
	}
	return nc, nil
}

// Stop ends the server and waits until its store is closed. It may be called
// twice.
func (s *Server) Stop() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
}
