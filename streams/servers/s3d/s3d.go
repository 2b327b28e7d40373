// Package s3d runs an S3 server inside this process that keeps its objects in a
// folder: for the demo, the benchmark and tests. It lets everybody in.
package s3d

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3afero"
	"github.com/spf13/afero"
)

// Config says where the server keeps its objects.
type Config struct {
	Dir  string // required
	Addr string // default a free port of 127.0.0.1
	// Around goes around what answers requests, to refuse or delay some of them.
	Around func(http.Handler) http.Handler
}

// A Server is a running server. Stop ends it.
type Server struct {
	URL  string
	Dir  string // of the buckets: the object a/b of bucket c is the file c/a/b
	http *http.Server
}

// Start runs a server.
func Start(cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("s3d: no folder")
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	backend, err := s3afero.MultiBucket(afero.NewBasePathFs(afero.NewOsFs(), cfg.Dir)) // makes buckets and metadata in it
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("s3d: %w", err)
	}
	h := gofakes3.New(backend).Server()
	if cfg.Around != nil {
		h = cfg.Around(h)
	}
	s := &Server{URL: "http://" + l.Addr().String(), Dir: filepath.Join(cfg.Dir, "buckets"), http: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}
	go s.http.Serve(l) //nolint:errcheck // ends with Stop
	return s, nil
}

// Stop ends the server and what it is about to answer. It may be called twice.
func (s *Server) Stop() { s.http.Close() } //nolint:errcheck // nothing to be done
