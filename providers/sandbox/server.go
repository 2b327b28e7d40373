package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A Server is a Sandbox that listens.
type Server struct {
	*Sandbox
	URL string // http://host:port

	http *http.Server
	gone chan struct{} // closed when Serve returned
}

// Listen serves a sandbox at addr, such as 127.0.0.1:0, until Close.
func Listen(addr string, cfg Config) (*Server, error) {
	s, err := New(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	srv := &Server{
		Sandbox: s,
		URL:     "http://" + ln.Addr().String(),
		gone:    make(chan struct{}),
		http: &http.Server{
			Handler:           s,
			ReadHeaderTimeout: 10 * time.Second,
			// No ReadTimeout: it would end hanging calls. Bodies have their
			// own, see readBody.
			WriteTimeout:   maxHang + time.Minute, // a hanging call ends by its own clock
			IdleTimeout:    2 * time.Minute,
			MaxHeaderBytes: 64 << 10,
		},
	}
	go func() {
		defer close(srv.gone)
		srv.http.Serve(ln) // returns when Close is called
	}()
	return srv, nil
}

// Close stops the server. Calls in flight get a second.
func (s *Server) Close() error {
	s.Sandbox.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.gone
	return err
}
