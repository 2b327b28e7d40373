// Package broker reaches RabbitMQ: which addresses there are, how a connection
// is made, and what has to exist on it. It keeps nothing and runs nothing.
package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Cluster is the addresses of one RabbitMQ. It is safe for concurrent use.
type Cluster struct {
	urls []string // amqp:// or amqps://
	at   []string // the same for people, without user and password
	tls  *tls.Config
	next atomic.Uint32 // where the next Dial begins
}

// Parse reads addresses, separated by commas, of nodes that are one cluster. ca
// is a PEM file with the authorities that amqps:// addresses are trusted by; ""
// is those of the system. No error repeats an address: it has a password.
func Parse(addresses, ca string) (*Cluster, error) {
	c := &Cluster{}
	for i, u := range split(addresses) {
		uri, err := amqp.ParseURI(u)
		if err != nil {
			return nil, fmt.Errorf("address %d of RabbitMQ cannot be read: want amqp:// or amqps://, user, host and virtual host", i+1)
		}
		at := net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port))
		if uri.Vhost != "/" {
			at += "/" + uri.Vhost
		}
		c.urls, c.at = append(c.urls, u), append(c.at, at)
	}
	if len(c.urls) == 0 {
		return nil, errors.New("no address of RabbitMQ")
	}
	if ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("authorities of RabbitMQ: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authorities of RabbitMQ: %s holds no certificate in PEM", ca)
	}
	c.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return c, nil
}

// split cuts at the commas before a scheme: a password may have others.
func split(addresses string) []string {
	var out []string
	for part := range strings.SplitSeq(strings.Trim(addresses, ", \t\r\n"), ",") {
		switch trimmed := strings.TrimSpace(part); {
		case len(out) == 0 || strings.HasPrefix(trimmed, "amqp://") || strings.HasPrefix(trimmed, "amqps://"):
			if trimmed != "" {
				out = append(out, trimmed)
			}
		default:
			out[len(out)-1] += "," + part
		}
	}
	return out
}

// String is the addresses, without users and passwords.
func (c *Cluster) String() string { return strings.Join(c.at, ",") }

// Dialing says how to connect. A zero field means its default.
type Dialing struct {
	Name      string                  // of the connection, as the broker's operator sees it; default beat
	Timeout   time.Duration           // of TCP, TLS and AMQP handshake together, for each address; default 10s
	Heartbeat time.Duration           // default 10s; a silent peer is given up after three
	Wrap      func(net.Conn) net.Conn // goes around the TCP connection, beneath TLS; nil: nothing
}

// Dial connects to the first address that answers, and says which. Each call
// begins where the last one left off: after a lost connection the next node is
// tried first, so a dead one costs its timeout once.
func (c *Cluster) Dial(ctx context.Context, d Dialing) (conn *amqp.Connection, at string, err error) {
	if d.Name == "" {
		d.Name = "beat"
	}
	if d.Timeout <= 0 {
		d.Timeout = 10 * time.Second
	}
	if d.Heartbeat <= 0 {
		d.Heartbeat = 10 * time.Second
	}
	for range c.urls {
		i := int(c.next.Add(1)-1) % len(c.urls)
		conn, why := c.dial(ctx, c.urls[i], d)
		if why == nil {
			return conn, c.at[i], nil
		}
		why = fmt.Errorf("rabbitmq at %s: %w", c.at[i], why)
		if err == nil {
			err = why
		} else {
			err = fmt.Errorf("%w; %w", err, why)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", err
}

func (c *Cluster) dial(ctx context.Context, url string, d Dialing) (*amqp.Connection, error) {
	props := amqp.NewConnectionProperties()
	props.SetClientConnectionName(d.Name)
	dialer := net.Dialer{Timeout: d.Timeout}
	unhook := func() bool { return false }
	// From here on Close bounds the end, not ctx.
	defer func() { unhook() }()
	return amqp.DialConfig(url, amqp.Config{
		Heartbeat:       d.Heartbeat,
		Properties:      props,
		Locale:          "en_US",
		TLSClientConfig: c.tls.Clone(), // it is told the name of the host
		Dial: func(network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			// Of the handshake; amqp clears it afterwards.
			if err := conn.SetDeadline(time.Now().Add(d.Timeout)); err != nil {
				conn.Close() //nolint:errcheck // it is of no use
				return nil, err
			}
			unhook = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			if d.Wrap != nil {
				conn = d.Wrap(conn)
			}
			return conn, nil
		},
	})
}

// Put stores one persistent message in a queue, over a connection of its own,
// and returns nil once the broker has confirmed it. It is for messages that are
// rare; ctx bounds it, and ten seconds do.
func (c *Cluster) Put(ctx context.Context, queue, id string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, at, err := c.Dial(ctx, Dialing{Name: "beat-put"})
	if err != nil {
		return err
	}
	defer conn.CloseDeadline(time.Now().Add(12 * time.Second)) //nolint:errcheck // the message is stored, or is not
	fail := func(err error) error { return fmt.Errorf("put into queue %s at %s: %w", queue, at, err) }
	ch, err := conn.Channel()
	if err != nil {
		return fail(err)
	}
	if err := ch.Confirm(false); err != nil {
		return fail(err)
	}
	returned := ch.NotifyReturn(make(chan amqp.Return, 1))
	done, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, MessageId: id, Body: body,
	})
	if err != nil {
		return fail(err)
	}
	acked, err := done.WaitContext(ctx)
	if err != nil {
		return fail(err)
	}
	select {
	case <-returned:
		return fail(errors.New("there is no such queue"))
	default:
	}
	if !acked {
		return fail(errors.New("the broker refused it"))
	}
	return nil
}
