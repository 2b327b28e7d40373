package bridge

import (
	"net"
	"sync"
)

// corkSize is how much is held back at most: what one write gives the broker.
const corkSize = 64 << 10

// A cork holds writes back while somebody is about to write more. The AMQP
// client flushes after every message, which costs a system call here and a
// receive in the broker; one write for many messages costs each side a
// fraction.
type cork struct {
	net.Conn
	mu     sync.Mutex
	buf    []byte
	hands  int // who holds back
	failed error
}

// Write implements net.Conn. What is held back counts as written: should it
// fail later, the connection is closed, which its reader notices.
func (c *cork) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	if c.hands == 0 && len(c.buf) == 0 {
		return c.Conn.Write(b)
	}
	c.buf = append(c.buf, b...)
	if c.hands > 0 && len(c.buf) < corkSize {
		return len(b), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// hold begins to hold back.
func (c *cork) hold() {
	c.mu.Lock()
	c.hands++
	c.mu.Unlock()
}

// let ends what hold began, and writes what was held back.
func (c *cork) let() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hands--
	if len(c.buf) > 0 {
		_ = c.flush() // remembered
	}
}

// flush is called with mu held.
func (c *cork) flush() error {
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	if cap(c.buf) > 4*corkSize {
		c.buf = nil // it held a large message
	}
	if err != nil {
		c.failed = err
		_ = c.Conn.Close()
	}
	return err
}
