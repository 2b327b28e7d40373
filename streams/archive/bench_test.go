package archive

import (
	"fmt"
	"testing"
	"time"

	"beat/streams/bus"
)

// What writing and reading takes, of answers like a profile with its posts: some
// 20 KB each.
func BenchmarkArchive(b *testing.B) {
	w := newWorld(b, bus.Options{})
	a := w.open(Config{Every: time.Second})
	const n = 6000
	for len(w.sent) < n {
		w.send(200, func(o bus.Out) bus.Out {
			for i := 0; len(o.Data) < 20<<10; i++ {
				o.Data = fmt.Appendf(o.Data, `{"id":%d,"caption":"another sunny day at the sea","likes":%d},`, i*7919*(len(w.sent)+1), i*31337%10007)
			}
			return o
		})
	}
	read := func(b *testing.B) {
		for b.Loop() {
			got, bytes := 0, int64(0)
			for r, err := range a.History(b.Context(), Filter{}) {
				if err != nil {
					b.Fatal(err)
				}
				got++
				bytes += int64(len(r.Data))
			}
			if got != n {
				b.Fatalf("%d answers", got)
			}
			b.SetBytes(bytes)
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "answers/s")
	}
	b.Run("history from the stream", read)
	began := time.Now()
	stop := w.run(a)
	gs := w.archived(a)
	stop()
	var plain, packed int64
	for _, g := range gs {
		plain, packed = plain+g.PlainBytes, packed+g.Bytes+g.IndexBytes
	}
	b.Logf("written in %s: %d segments, %.0f MB as %.1f MB", time.Since(began), len(gs), float64(plain)/1e6, float64(packed)/1e6)
	w.purgeAll()
	b.Run("history from the archive", read)
	b.Run("entries from the archive", func(b *testing.B) {
		for b.Loop() {
			for _, err := range a.Entries(b.Context(), Filter{}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "answers/s")
	})
}
