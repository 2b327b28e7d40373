package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A Management is RabbitMQ's management API, which knows what AMQP does not
// tell: the bindings.
type Management struct {
	base  *url.URL
	vhost string
}

// Management reads the address of the API, http://user:password@host:15672. Its
// user, if it names none, and the virtual host are those of the cluster.
func (c *Cluster) Management(address string) (*Management, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("the address of the management API cannot be read: want http://user:password@host:15672")
	}
	uri, err := amqp.ParseURI(c.urls[0])
	if err != nil {
		return nil, errors.New("the address of RabbitMQ cannot be read")
	}
	if u.User == nil {
		u.User = url.UserPassword(uri.Username, uri.Password)
	}
	return &Management{u, uri.Vhost}, nil
}

// Known is what a virtual host has.
type Known struct {
	Types    map[string]string // of exchanges, by name
	bindings []row
}

type row struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Type        string `json:"destination_type"`
	Key         string `json:"routing_key"`
}

// routes reports whether messages of b get into its queue. On a topic exchange
// * is one word, which each of our keys is, and # is any.
func (k Known) routes(b Binding) bool {
	for _, r := range k.bindings {
		if r.Source != b.Exchange || r.Destination != b.Queue || r.Type != "queue" {
			continue
		}
		switch k.Types[b.Exchange] {
		case "fanout":
			return true
		case "topic":
			if r.Key == "*" || r.Key == "#" {
				return true
			}
		}
		if r.Key == b.Key {
			return true
		}
	}
	return false
}

// Known asks the API.
func (m *Management) Known(ctx context.Context) (Known, error) {
	k := Known{Types: map[string]string{}}
	var exchanges []struct{ Name, Type string }
	if err := m.get(ctx, "exchanges", &exchanges); err != nil {
		return k, err
	}
	for _, e := range exchanges {
		k.Types[e.Name] = e.Type
	}
	return k, m.get(ctx, "bindings", &k.bindings)
}

func (m *Management) get(ctx context.Context, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	u := *m.base
	u.User = nil
	u.Path = strings.TrimSuffix(u.Path, "/") + "/api/" + what + "/" + m.vhost
	u.RawPath = strings.TrimSuffix(m.base.EscapedPath(), "/") + "/api/" + what + "/" + url.PathEscape(m.vhost)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("management API: %w", err)
	}
	password, _ := m.base.User.Password()
	req.SetBasicAuth(m.base.User.Username(), password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("management API: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("management API at %s: %s of %s", u.Host, res.Status, what)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(into); err != nil {
		return fmt.Errorf("management API: read %s: %w", what, err)
	}
	return nil
}
