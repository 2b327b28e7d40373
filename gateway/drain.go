package gateway

import (
	"sync"
	"time"
)

// drainTime is how long a drained process makes clients wait: whoever deploys
// turns the heartbeat off, waits for ten seconds and kills (contract/http.md 4.1).
const drainTime = 8 * time.Second

// A drain is whether the process is about to end.
//
// The load balancer sends nothing more to a process whose heartbeat is off, once
// it has noticed. What comes until then is answered, and what is held is finished:
// tasks that requests wait for are still begun (see Held), and no others. Whoever
// can be told something without a refresh does not wait for one; the refresh is
// queued all the same, for whoever runs it. When the time is over, all who still
// wait are answered with what there is.
//
// The heartbeat is off when a process starts, which is no drain.
type drain struct {
	mu    sync.Mutex
	on    bool
	timer *time.Timer
	ended chan struct{} // closed once nobody is to wait any more; nil before anybody has
}

// over is closed once nobody is to wait any more.
func (d *drain) over() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func (d *drain) channel() chan struct{} {
	if d.ended == nil {
		d.ended = make(chan struct{})
	}
	return d.ended
}

// Drain begins the end of the process: nobody waits for longer than most from now
// on. A drain that has begun goes on as it was. It may be called at any time.
func (g *Gateway) Drain(most time.Duration) {
	d := &g.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on {
		return
	}
	d.on = true
	ended := d.channel()
	d.timer = time.AfterFunc(most, func() { close(ended) })
	g.lg.Info("draining: nothing more is begun but what requests wait for", "at_most", most)
}

// fill ends a drain.
func (g *Gateway) fill() {
	d := &g.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		return
	}
	d.on = false
	if !d.timer.Stop() { // it was closed, or is about to be
		d.ended = nil
	}
	g.lg.Info("draining has ended")
}

// Draining reports whether the process is about to end.
func (g *Gateway) Draining() bool {
	g.drain.mu.Lock()
	defer g.drain.mu.Unlock()
	return g.drain.on
}
