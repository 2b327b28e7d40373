// Package natstest gives a test its own JetStream server.
package natstest

import (
	"testing"

	"beat/streams/bus/natsd"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// New starts a server in a directory of its own and connects to it. All three
// end with the test.
func New(t testing.TB) (*natsd.Server, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	return Start(t, natsd.Config{Dir: t.TempDir(), Port: -1})
}

// Start is New with a configuration.
func Start(t testing.TB, cfg natsd.Config) (*natsd.Server, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	s, err := natsd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return s, nc, js
}
