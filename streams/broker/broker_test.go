package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"beat/streams/broker"
	"beat/streams/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

func TestParse(t *testing.T) {
	for addresses, want := range map[string]string{ // "" an error
		"amqp://a:b@h":                        "h:5672",
		"amqp://a:b@h/v":                      "h:5672/v",
		"amqps://a:b@h":                       "h:5671",
		" amqp://a:b@h , amqps://a:b@i:1/v ,": "h:5672,i:1/v",
		"amqp://a:b,c@h,amqp://a:b@i":         "h:5672,i:5672", // a comma in a password
		"amqp://[::1]":                        "[::1]:5672",
		"":                                    "",
		",":                                   "",
		"http://a:hunter2@h":                  "",
		"amqp://a:hunter2@[::":                "",
		"amqp://a:b@h,amqp://a:hunter2@h:hunter2port": "",
	} {
		c, err := broker.Parse(addresses, "")
		if (err == nil) != (want != "") || err == nil && c.String() != want {
			t.Errorf("%s: got %v, %v, want %s", addresses, c, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows it: %v", addresses, err)
		}
	}
	for _, ca := range []string{"/nowhere/ca.pem", os.Args[0]} {
		if _, err := broker.Parse("amqps://h", ca); err == nil {
			t.Errorf("authorities of %s: no error", ca)
		}
	}
}

// certificate makes a self-signed one for 127.0.0.1 and its PEM file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// inTLS is the broker behind TLS, as amqps://.
func inTLS(t *testing.T, to string, cert tls.Certificate) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	host := u.Host
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", host)
			if err != nil {
				c.Close() //nolint:errcheck // a test
				continue
			}
			pass := func(a, b net.Conn) func() {
				return func() {
					io.Copy(a, b) //nolint:errcheck // ends with either
					a.Close()     //nolint:errcheck // done with it
					b.Close()     //nolint:errcheck // done with it
				}
			}
			wg.Go(pass(c, d))
			wg.Go(pass(d, c))
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() }) //nolint:errcheck // done with it
	u.Scheme, u.Host = "amqps", ln.Addr().String()
	return u.String()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	vhost := servertest.Vhost(t)
	cert, ca := certificate(t)
	address := inTLS(t, vhost, cert)
	conn := dial(t, address, ca)
	if err := broker.DeclareExchange(conn, broker.BeatExchange); err != nil {
		t.Error(err)
	}
	conn.Close() //nolint:errcheck // done with it
	_, other := certificate(t)
	for _, bad := range []string{"", other} {
		c, err := broker.Parse(address, bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Dial(t.Context(), broker.Dialing{}); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("a broker that nobody vouches for: %v", err)
		}
	}
}

func dial(t *testing.T, addresses, ca string) *amqp.Connection {
	t.Helper()
	c, err := broker.Parse(addresses, ca)
	if err != nil {
		t.Fatal(err)
	}
	conn, _, err := c.Dial(t.Context(), broker.Dialing{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // done with it
	return conn
}

// The first node that answers is taken, and the next one after a loss.
func TestDialTakesTheNextNode(t *testing.T) {
	t.Parallel()
	vhost := servertest.Vhost(t)
	c, err := broker.Parse("amqp://guest:hunter2@127.0.0.1:1,"+vhost+","+vhost+"?heartbeat=5", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		conn, at, err := c.Dial(t.Context(), broker.Dialing{})
		if err != nil || at == "127.0.0.1:1" {
			t.Fatalf("%s: %v", at, err)
		}
		conn.Close() //nolint:errcheck // done with it
	}
	c, err = broker.Parse("amqp://guest:hunter2@127.0.0.1:1,amqp://guest:hunter2@127.0.0.1:2", "")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Dial(t.Context(), broker.Dialing{})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "127.0.0.1:2") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Dial(ctx, broker.Dialing{}); err == nil {
		t.Error("a dead context: no error")
	}
}

func TestPut(t *testing.T) {
	t.Parallel()
	vhost := servertest.Vhost(t)
	c, err := broker.Parse(vhost, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "nowhere_q", "1", []byte("{}")); err == nil || !strings.Contains(err.Error(), "no such queue") {
		t.Errorf("without a queue: %v", err)
	}
	ch, err := dial(t, vhost, "").Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("some_q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(t.Context(), "some_q", "id-1", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	d, ok, err := ch.Get("some_q", true)
	if err != nil || !ok || string(d.Body) != `{"a":1}` || d.MessageId != "id-1" || d.DeliveryMode != amqp.Persistent || len(d.Headers) > 0 {
		t.Errorf("got %+v, %v", d, err)
	}
}

// From nothing to all: what is reported, planned and made, with and without the
// management API; peers' queues and identity.dx are never made.
func TestInspectAndApply(t *testing.T) {
	t.Parallel()
	vhost := servertest.Vhost(t)
	conn := dial(t, vhost, "")
	c, err := broker.Parse(vhost, "")
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Management(servertest.RabbitAdmin(t))
	if err != nil {
		t.Fatal(err)
	}
	rows := []broker.Binding{
		{Exchange: broker.BeatExchange, Key: "ours", Queue: "ours_q", Ours: true, Required: true},
		{Exchange: broker.IdentityExchange, Key: "theirs", Queue: "early_q", Ours: true},
		{Exchange: broker.CoffeeExchange, Key: "done", Queue: "coffee_q", Required: true},
		{Exchange: broker.IdentityExchange, Key: "trace_log", Queue: "trace_q"},
	}
	inspect := func(m *broker.Management) broker.Report {
		t.Helper()
		r, err := broker.Inspect(t.Context(), conn, rows, m)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	states := func(r broker.Report) (out []string) {
		for _, b := range r.Bindings {
			out = append(out, b.State)
		}
		return out
	}
	var plan []string
	for _, s := range inspect(nil).Plan(rows) {
		plan = append(plan, s.Do+" "+s.What)
	}
	if d := cmp.Diff([]string{"declare exchange beat.dx", "declare exchange coffee.dx", "declare queue ours_q", "declare queue early_q",
		"bind ours_q to beat.dx/ours", "leave early_q to identity.dx/theirs", "leave coffee_q to coffee.dx/done", "leave trace_q to identity.dx/trace_log"}, plan); d != "" {
		t.Error(d)
	}
	for range 2 { // the second changes nothing
		if err := broker.Apply(conn, inspect(m), rows, broker.Plain); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"bound", "missing", "missing", "missing"}, states(inspect(m))); d != "" {
			t.Error(d)
		}
	}
	// The peers come.
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare(broker.IdentityExchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"coffee_q", "trace_q"} {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.QueueBind("trace_q", "*", broker.IdentityExchange, false, nil); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"unknown", "unknown", "unknown", "unknown"}, states(inspect(nil))); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"bound", "missing", "missing", "bound"}, states(inspect(m))); d != "" { // * is a word of a topic
		t.Error(d)
	}
	if err := broker.Apply(conn, inspect(nil), rows, broker.Plain); err != nil {
		t.Fatal(err)
	}
	r := inspect(m)
	if d := cmp.Diff([]string{"bound", "bound", "bound", "bound"}, states(r)); d != "" {
		t.Error(d)
	}
	if len(r.Plan(rows)) != 0 {
		t.Errorf("there is more to do: %v", r.Plan(rows))
	}
	if err := ch.Publish(broker.CoffeeExchange, "done", true, false, amqp.Publishing{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if q := inspect(nil).Queues[2]; q.Messages == 1 && q.Exists && !q.Ours {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the depth of coffee_q: %+v", q)
		}
	}
}
