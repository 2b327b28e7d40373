package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"beat/gateway"
)

// The types hold all that the gateway answers: its document's examples, which are
// of the types that it encodes, leave no field over and find none missing.
func TestTypes(t *testing.T) {
	t.Parallel()
	raw, err := gateway.OpenAPI("")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			ID        string `json:"operationId"`
			Responses map[string]struct {
				Content map[string]struct {
					Examples map[string]struct{ Value json.RawMessage }
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	examples := map[string]json.RawMessage{}
	for _, p := range doc.Paths {
		for _, op := range p {
			for _, r := range op.Responses {
				for name, e := range r.Content["application/json"].Examples {
					examples[name] = e.Value
				}
			}
		}
	}
	for _, c := range []struct {
		example string
		members []string // way to the value
		into    any
		absent  []string // fields of the type that this answer does not have
	}{
		{"profile", []string{"profile"}, &Profile{}, nil},
		{"profile-full", []string{"profile"}, &Profile{}, nil},
		{"profile-full", []string{"profile", "post_metrics"}, &PostMetrics{}, nil},
		{"profile-full", []string{"profile", "post_metrics", "reels"}, &Averages{}, nil},
		{"profile-youtube", []string{"profile"}, &Channel{}, nil},
		{"recent-posts", []string{"data", "recent_posts", "0"}, &Post{}, nil},
		{"task", []string{"post"}, &Task{}, []string{"account_id"}},
		{"task-list", []string{"scrape_list", "0"}, &Task{}, nil},
		{"why", nil, &Why{}, []string{"stage", "attempts"}},
	} {
		value := examples[c.example]
		for _, m := range c.members {
			var object map[string]json.RawMessage
			var list []json.RawMessage
			if json.Unmarshal(value, &list) == nil {
				value = list[0]
			} else if err := json.Unmarshal(value, &object); err == nil {
				value = object[m]
			}
		}
		d := json.NewDecoder(bytes.NewReader(value))
		d.DisallowUnknownFields()
		if err := d.Decode(c.into); err != nil {
			t.Errorf("%s %v: %v", c.example, c.members, err)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(value, &members); err != nil {
			t.Fatalf("%s %v: %v", c.example, c.members, err)
		}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(c.into).Elem()) {
			name := f.Tag.Get("json")
			if _, ok := members[name]; !ok && !strings.Contains(strings.Join(c.absent, " "), name) {
				t.Errorf("%s %v has no %s", c.example, c.members, name)
			}
		}
	}
}

// What the gateway says no with is told with its codes, and nothing that was sent
// is repeated.
func TestErrors(t *testing.T) {
	t.Parallel()
	status, header, body := 200, "", ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer beat_geheim" {
			t.Errorf("Authorization is %q", got)
		}
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) //nolint:errcheck // the test fails then
	}))
	defer srv.Close()
	c, err := New(srv.URL+"/", Config{Token: "beat_geheim"})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		status       int
		header, body string
		want         Error
		text         string
	}{
		{200, "", `{"status":{"type":"ERROR","message":"Profile not found - x","code":404}}`, Error{Status: 200, Code: 404, Message: "Profile not found - x"}, "beat: Profile not found - x (404)"},
		{200, "1", `{"status":{"type":"ERROR","message":"Concurrency Limit Exceeded","code":2}}`,
			Error{Status: 200, Code: 2, Message: "Concurrency Limit Exceeded", After: time.Second}, "beat: Concurrency Limit Exceeded (2)"},
		{403, "", `{"detail":"no"}`, Error{Status: 403, Message: "no"}, "beat: no (403)"},
		{422, "", `{"detail":[{"loc":["path","id"],"msg":"a","type":"t"},{"loc":["body",3],"msg":"b","type":"t"}]}`,
			Error{Status: 422, Message: "path id: a; body 3: b"}, "beat: path id: a; body 3: b (422)"},
		{500, "", "Internal Server Error", Error{Status: 500, Message: "Internal Server Error"}, "beat: Internal Server Error (500)"},
		{502, "", "<html>", Error{Status: 502, Message: "Bad Gateway"}, "beat: Bad Gateway (502)"},
	} {
		status, header, body = test.status, test.header, test.body
		_, err := c.Profile(t.Context(), "x", Reading{})
		got, ok := errors.AsType[*Error](err)
		if !ok || !reflect.DeepEqual(*got, test.want) || err.Error() != test.text {
			t.Errorf("%d %s: got %v, want %v", test.status, test.body, err, test.text)
		}
	}
	status, header, body = 200, "", `{"status":{"type":"SUCCESS","message":"Scrape request log added"},"code":200,"scrape_id":17}`
	if _, err := c.Profile(t.Context(), "x", Reading{OffPeak: true}); err == nil || err.Error() != "beat: put off to the off-peak hours, as task 17" {
		t.Errorf("put off: got %v", err)
	}
	body = "<html>"
	if _, err := c.Profile(t.Context(), "x", Reading{}); err == nil || !strings.Contains(err.Error(), "none of this version's") {
		t.Errorf("no JSON: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Validate(ctx, Token{Token: "geheim"}); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("cancelled: got %v", err)
	}
	for _, base := range []string{"", "localhost:8000", "ftp://x", "http://", "http://%zz"} {
		if _, err := New(base, Config{}); err == nil {
			t.Errorf("%q is taken for a base URL", base)
		}
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	if got := path("a", "b/c?d#e", "..", "ü%", "*"); got != "/a/b%2Fc%3Fd%23e/../%C3%BC%25/%2A" && got != "/a/b%2Fc%3Fd%23e/../%C3%BC%25/*" {
		t.Errorf("got %s", got)
	}
}
