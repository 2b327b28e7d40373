package bus

import "time"

// costs learns whether messages are stored more cheaply in atomic batches or
// singly, which depends on the server's settings and cannot be asked for.
// Measured on one node with 1 KB messages:
//
//	                 sync_interval: always    lazy fsync
//	single           400 µs each              10–15 µs each
//	atomic batch     6 ms + 20 µs each        5 ms + 20 µs each
//
// The fixed part is the batch's staging file, which is synced in either case.
// So with "always" batches win from about 16 messages on; with lazy fsync never.
type costs struct {
	trip    time.Duration // of a lone message, there and back
	each    time.Duration // of one more message among pipelined singles; 0: not known
	fixed   time.Duration // of an atomic batch; 0: not known
	learned time.Time     // each
}

const (
	batchEach  = 20 * time.Microsecond
	batchFixed = 6 * time.Millisecond // until measured
	probeSize  = 16                   // about 6 ms of singles in the worst case
	probeEvery = time.Second          // so less than a hundredth of the time
	minProbe   = 4                    // fewer messages show the trip, not the cost

	// A batch must promise to be that much faster: a busy machine makes singles
	// look slow for a moment, and where batches are right they win by far more.
	batchGain = 1.5
)

// due says that the next few messages should show what a single one costs.
func (c *costs) due(now time.Time) bool {
	return c.each == 0 || now.Sub(c.learned) > probeEvery
}

// batch says that n messages are better stored as one batch.
func (c *costs) batch(n int) bool {
	if n < minProbe {
		return false
	}
	fixed := c.fixed
	if fixed == 0 {
		fixed = batchFixed
	}
	batch, single := fixed+time.Duration(n)*batchEach, c.trip+time.Duration(n)*c.each
	return batchGain*batch.Seconds() < single.Seconds()
}

func (c *costs) tookSingle(n int, d time.Duration) {
	if n == 1 {
		// The shortest counts: a long one tells of the first connection or a
		// busy moment, and would hide what the messages after it cost.
		if c.trip == 0 || d < c.trip {
			c.trip = d
		} else {
			c.trip += c.trip / 8
		}
	}
	if n >= minProbe {
		c.each = blend(c.each, max(time.Microsecond, (d-c.trip)/time.Duration(n)))
		c.learned = time.Now()
	}
}

func (c *costs) tookBatch(n int, d time.Duration) {
	c.fixed = blend(c.fixed, max(time.Millisecond/10, d-time.Duration(n)*batchEach))
}

func blend(old, now time.Duration) time.Duration {
	if old == 0 {
		return now
	}
	return (3*old + now) / 4
}
