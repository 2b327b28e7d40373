package bus_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"beat/streams/bus"
	"beat/streams/bus/natsd"
	"beat/streams/bus/natsd/natstest"

	"github.com/nats-io/nats.go/jetstream"
)

var fsyncs = []struct {
	name   string
	always bool
}{{"lazy", false}, {"always", true}}

func benchBus(b *testing.B, always bool, consumers ...bus.Consumer) (jetstream.JetStream, *bus.Publisher) {
	b.Helper()
	_, _, js := natstest.Start(b, natsd.Config{Dir: b.TempDir(), Port: -1, SyncAlways: always})
	if _, err := bus.Ensure(b.Context(), js, bus.Options{}, consumers); err != nil {
		b.Fatal(err)
	}
	pub := bus.NewPublisher(quiet, js, bus.PublisherConfig{})
	b.Cleanup(func() { _ = pub.Close() })
	return js, pub
}

func fill(b *testing.B, pub *bus.Publisher, subject string, n int) {
	b.Helper()
	data := noise(1024)
	for n > 0 {
		outs := make([]bus.Out, min(n, 500))
		for i := range outs {
			outs[i] = bus.Out{Subject: subject, ID: subject + strconv.Itoa(n-i), Data: data}
		}
		if err := pub.Send(b.Context(), outs...); err != nil {
			b.Fatal(err)
		}
		n -= len(outs)
	}
}

// stages are the three ways a message takes through the pipeline. They differ in
// what an ack costs: in RAW it moves the consumer's position, in TASKS and
// PARSED it removes the message, which is a write to disk.
var stages = []struct{ name, stream, from, to string }{
	{"parse", bus.Raw, "beat.raw.a.b.c", "beat.parsed.a.b"},
	{"retrieve", bus.Tasks, "beat.task.a.b", "beat.raw.a.b.c"},
	{"process", bus.Parsed, "beat.parsed.a.b", "beat.event.0.a.b"},
}

// BenchmarkConsumePublishAck is one stage of the pipeline: a 1 KB message is
// consumed, one 1 KB message is published because of it, the first is acked.
func BenchmarkConsumePublishAck(b *testing.B) {
	for _, f := range fsyncs {
		for _, st := range stages {
			b.Run(f.name+"/"+st.name, func(b *testing.B) {
				c := bus.Consumer{Stream: st.stream, Durable: "bench", Filter: []string{st.from}, MaxAckPending: 512}
				// As in the pipeline, the target has a consumer.
				next := bus.Consumer{Stream: bus.Parsed, Durable: "next", Filter: []string{"beat.parsed.>"}}
				consumers := []bus.Consumer{c}
				if st.stream != bus.Parsed {
					consumers = append(consumers, next)
				}
				js, pub := benchBus(b, f.always, consumers...)
				fill(b, pub, st.from, b.N)

				var left atomic.Int64
				left.Store(int64(b.N))
				ctx, cancel := context.WithCancel(b.Context())
				r := bus.NewRouter(quiet, js, pub, bus.RouterConfig{})
				r.Add(bus.Route{Name: "bench", Consumer: c, Handle: func(_ context.Context, m *bus.Msg) ([]bus.Out, error) {
					if left.Add(-1) == 0 {
						defer cancel() // what is held is finished and acked before Run returns
					}
					return []bus.Out{{Subject: st.to, ID: "next" + strconv.FormatUint(m.Seq, 10), Data: m.Data}}, nil
				}})
				b.SetBytes(1024)
				b.ResetTimer()
				if err := r.Run(ctx); err != nil {
					b.Fatal(err)
				}
				if st.stream != bus.Raw {
					holds(b, js, st.stream, 0) // acks are part of the time
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				for _, stream := range []string{bus.Raw, bus.Parsed, bus.Events} {
					if n := stored(b, js, stream); stream != st.stream && n != 0 && n != b.N {
						b.Errorf("%s: got %d messages, want %d", stream, n, b.N)
					}
				}
			})
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	data := noise(1024)
	for _, f := range fsyncs {
		for _, callers := range []int{1, 256} {
			name := "single"
			if callers > 1 {
				name = "concurrent"
			}
			b.Run(f.name+"/"+name, func(b *testing.B) {
				_, pub := benchBus(b, f.always)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.SetBytes(1024)
				b.ReportAllocs()
				b.ResetTimer()
				for range callers {
					wg.Go(func() {
						for {
							n := next.Add(1)
							if n > int64(b.N) {
								return
							}
							err := pub.Send(b.Context(), bus.Out{Subject: "beat.raw.a.b.c", ID: strconv.FormatInt(n, 10), Data: data})
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}
