package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// A crowd bounds how much is under way at once: of all clients together, and of
// each. It holds nothing of clients that have nothing under way.
type crowd struct {
	most, each int

	mu sync.Mutex
	n  int
	of map[string]int
}

func newCrowd(most, each int) *crowd { return &crowd{most: most, each: each, of: map[string]int{}} }

// What a crowd says to who may not enter.
const (
	fullForAll    = "busy"
	fullForClient = "client_busy"
)

// enter lets a client in until leave, or says why not.
func (c *crowd) enter(client string) (leave func(), why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.of[client] >= c.each: // first: who takes all the room is told so
		return nil, fullForClient
	case c.n >= c.most:
		return nil, fullForAll
	}
	c.n++
	c.of[client]++
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n--
		if c.of[client]--; c.of[client] == 0 {
			delete(c.of, client)
		}
	}), ""
}

func (c *crowd) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// address is whose an address is: it without its port, and of IPv6 its network of
// 64 bits, which one client has to itself.
func address(addr string) string {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	ip := a.Addr().Unmap()
	if ip.Is6() {
		if network, err := ip.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return ip.String()
}

// A bounded listener hangs up at once on connections that are too many, so that
// who holds many open keeps nobody else from connecting.
type bounded struct {
	net.Listener
	crowd *crowd
	away  func(why string) // is told of those
}

func (b bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, why := b.crowd.enter(address(c.RemoteAddr().String()))
		if why == "" {
			return &boundedConn{c, leave}, nil
		}
		b.away(why)
		c.Close() //nolint:errcheck // it is not wanted
	}
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
