package servertest

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestMain(m *testing.M) { Main(m) }

// Two tests may declare the same exchange and queue, each in its own host.
func TestVhost(t *testing.T) {
	Rabbit(t)
	begin := time.Now()
	one, two := Vhost(t), Vhost(t)
	t.Logf("one virtual host: %v", time.Since(begin).Round(time.Millisecond)/2)
	for _, url := range []string{one, two} {
		c, err := amqp.Dial(url)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		defer c.Close()
		ch, err := c.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.ExchangeDeclare("beat.dx", "direct", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		q, err := ch.QueueDeclare("q", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if q.Messages != 0 {
			t.Errorf("%s: got %d messages in a new host, want 0", url, q.Messages)
		}
		if err := ch.QueueBind("q", "k", "beat.dx", false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.PublishWithContext(t.Context(), "beat.dx", "k", false, false, amqp.Publishing{Body: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for url, scheme := range map[string]string{Postgres(t): "postgres://", Redis(t): "redis://", Rabbit(t): "amqp://"} {
		if !strings.HasPrefix(url, scheme) || !strings.Contains(url, "127.0.0.1:") {
			t.Errorf("got %s, want %s… on 127.0.0.1", url, scheme)
		}
	}
	if a, b := RedisPrefix(t), RedisPrefix(t); a == b {
		t.Errorf("got the prefix %s twice", a)
	}
}
