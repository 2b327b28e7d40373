package bridge

import (
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"beat/streams/servers/servertest"
)

// A proxy stands between publisher and broker and makes a bad network.
type proxy struct {
	url    string
	ln     net.Listener
	to     string
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  []net.Conn
	budget func() int64 // bytes that a new connection may send before it is cut; <0: all
	silent bool         // nothing comes back to the client any more
	opened int
}

func newProxy(t *testing.T, broker string, budget func() int64) *proxy {
	t.Helper()
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, to: u.Host, budget: budget}
	u.Host = ln.Addr().String()
	p.url = u.String()
	p.wg.Go(p.accept)
	t.Cleanup(func() { ln.Close(); p.cut(); p.wg.Wait() })
	return p
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, c, d)
		p.opened++
		n := p.budget()
		p.mu.Unlock()
		p.wg.Go(func() {
			defer c.Close()
			defer d.Close()
			if n < 0 {
				_, _ = io.Copy(d, c)
			} else {
				_, _ = io.CopyN(d, c, n)
			}
		})
		p.wg.Go(func() {
			defer c.Close()
			defer d.Close()
			buf := make([]byte, 4096)
			for {
				n, err := d.Read(buf)
				if err != nil {
					return
				}
				p.mu.Lock()
				drop := p.silent
				p.mu.Unlock()
				if drop {
					continue
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		})
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// The connection breaks again and again, anywhere, in the middle of frames
// too: everything arrives, in order.
func TestConnectionIsCut(t *testing.T) {
	broker := servertest.Vhost(t)
	leaks(t)
	ch := channel(t, broker)
	defer ch.Close()
	prof, post := key(KeyProfile), key(KeyPost)
	declareQueue(t, ch, prof, nil)
	declareQueue(t, ch, post, nil)
	cuts := 0
	px := newProxy(t, broker, func() int64 {
		if cuts++; cuts > 12 {
			return -1
		}
		return 1200 + rand.Int64N(30_000)
	})
	p := start(t, Config{URL: px.url, Window: 32})
	defer p.stop()
	profs, posts := messages(prof, "a", 0, 500), messages(post, "a", 0, 500)
	var all []Message
	for i := range profs {
		all = append(all, profs[i], posts[i])
	}
	ctx := within(t, time.Minute)
	for len(all) > 0 {
		if err := p.Publish(ctx, all[:100]); err != nil {
			t.Fatal(err)
		}
		all = all[100:]
	}
	inOrder(t, take(t, ch, prof.Queue), profs)
	inOrder(t, take(t, ch, post.Queue), posts)
	if value(t, p.Publisher, "beat_bridge_reconnects_total", "") == 0 {
		t.Error("no reconnect: the test is void")
	}
}

// The peer takes everything and says nothing: the connection is given up.
func TestBrokerFallsSilent(t *testing.T) {
	broker := servertest.Vhost(t)
	leaks(t)
	ch := channel(t, broker)
	defer ch.Close()
	post := key(KeyPost)
	declareQueue(t, ch, post, nil)
	px := newProxy(t, broker, func() int64 { return -1 })
	p := start(t, Config{URL: px.url, ConfirmTimeout: 300 * time.Millisecond})
	defer p.stop()
	msgs := messages(post, "a", 0, 20)
	if err := p.Publish(t.Context(), msgs[:10]); err != nil {
		t.Fatal(err)
	}
	px.mu.Lock()
	px.silent = true
	px.mu.Unlock()
	told := make(chan error, 1)
	go func() { told <- p.Publish(within(t, time.Minute), msgs[10:]) }()
	until(t, "down", func() bool { return value(t, p.Publisher, "beat_bridge_up", "") == 0 })
	px.mu.Lock()
	px.silent = false
	px.mu.Unlock()
	px.cut() // what was opened in between waits for a handshake
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	inOrder(t, take(t, ch, post.Queue), msgs)
}
