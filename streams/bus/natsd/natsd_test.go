package natsd_test

import (
	"testing"

	"beat/streams/bus/natsd"
	"beat/streams/bus/natsd/natstest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestRestartKeepsMessages(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		t.Run("", func(t *testing.T) {
			_, _, js := natstest.Start(t, natsd.Config{Dir: dir, Port: -1, SyncAlways: run%2 == 0})
			s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := s.CachedInfo().State.Msgs, uint64(run); got != want {
				t.Errorf("run %d: got %d messages, want %d", run, got, want)
			}
			if _, err := js.Publish(t.Context(), "s", nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestListens(t *testing.T) {
	s, _, _ := natstest.Start(t, natsd.Config{Dir: t.TempDir()})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestNoDirectory(t *testing.T) {
	if _, err := natsd.Start(natsd.Config{}); err == nil {
		t.Error("started without a store directory")
	}
}
