package bus_test

import (
	"slices"
	"testing"
	"time"

	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

func TestEnsureReportsDrift(t *testing.T) {
	_, _, js := natstest.New(t)
	consumers := []bus.Consumer{
		{Stream: bus.Tasks, Durable: "one", Filter: []string{"beat.task.a.one"}, MaxAckPending: 5},
		{Stream: bus.Raw, Durable: "two", Filter: []string{"beat.raw.a.>", "beat.raw.b.>"}, AckWait: time.Minute},
		{Stream: bus.Events, Durable: "three"},
	}
	for range 2 { // the second finds all as it should be
		ensure(t, js, consumers...)
	}

	consumers[0].MaxAckPending = 7
	consumers[1].Filter = []string{"beat.raw.a.>"}
	o := bus.Options{RetainRaw: time.Hour, MaxBytes: map[string]int64{bus.Events: 1 << 30}}
	want := []bus.Drift{
		{Stream: bus.Raw, Field: "max age", Want: "1h0m0s", Got: "168h0m0s"},
		{Stream: bus.Events, Field: "max bytes", Want: "1073741824", Got: "-1"},
		{Stream: bus.Tasks, Consumer: "one", Field: "max ack pending", Want: "7", Got: "5"},
		{Stream: bus.Raw, Consumer: "two", Field: "filter", Want: "[beat.raw.a.>]", Got: "[beat.raw.a.> beat.raw.b.>]"},
	}
	for range 2 { // reported, and not changed
		got, err := bus.Ensure(t.Context(), js, o, consumers)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("drift (-want +got):\n%s", diff)
		}
	}
	if got, want := want[2].String(), "TASKS/one: max ack pending is 5, not 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTasksHaveNoLimit(t *testing.T) {
	_, _, js := natstest.New(t)
	if _, err := bus.Ensure(t.Context(), js, bus.Options{MaxBytes: map[string]int64{bus.Tasks: 1}}, nil); err == nil {
		t.Error("a limit on TASKS was taken; it drops the oldest task")
	}
}

func TestStreamTable(t *testing.T) {
	all := bus.Streams(bus.Options{Replicas: 3})
	names := []string{}
	for _, s := range all {
		names = append(names, s.Name)
		if s.Replicas != 3 || !s.AllowAtomicPublish || s.Duplicates != 2*time.Minute || s.Storage != jetstream.FileStorage {
			t.Errorf("%s: %+v", s.Name, s)
		}
		// Discard old with a limit loses what nobody has read.
		if (s.Name == bus.Tasks || s.Name == bus.Parsed) && s.Discard == jetstream.DiscardOld && (s.MaxMsgs > 0 || s.MaxBytes > 0 || s.MaxAge > 0) {
			t.Errorf("%s forgets unread messages", s.Name)
		}
	}
	if want := []string{bus.Tasks, bus.Raw, bus.Parsed, bus.Events, bus.Dead}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
