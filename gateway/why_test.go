package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"beat/streams/schedule"
)

// GET /tasks/{id}/why is for operators: it has real status codes, and the
// cause of an error stays in the log.
func TestWhy(t *testing.T) {
	s := open(t, Config{Why: func(ctx context.Context, id int64) (Why, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		switch id {
		case 7:
			return Why{ID: id, Flow: "f", Status: "PENDING", Says: "The rate limit a<b is used up."}, nil
		case 8:
			return Why{}, fmt.Errorf("task 8: %w", schedule.ErrNoTask)
		}
		return Why{}, errors.New("postgres://u:geheim@db does not answer")
	}})
	for _, c := range []struct {
		method, path string
		code         int
		body         string
	}{
		{"GET", "/tasks/7/why", 200, `{"id":7,"flow":"f","status":"PENDING","says":"The rate limit a<b is used up."}`},
		{"GET", "/tasks/8/why", 404, `{"detail":"Not Found"}`},
		{"GET", "/tasks/9/why", 503, `{"detail":"What the task waits for cannot be looked at: a server does not answer"}`},
		{"GET", "/tasks/seven/why", 422, `{"detail":[{"loc":["path","id"],"msg":"value is not a valid integer","type":"type_error.integer"}]}`},
		{"GET", "/tasks/99999999999999999999/why", 422, `{"detail":[{"loc":["path","id"],"msg":"value is not a valid integer","type":"type_error.integer"}]}`},
		{"POST", "/tasks/7/why", 405, `{"detail":"Method Not Allowed"}`},
		{"GET", "/tasks/7", 404, `{"detail":"Not Found"}`},
	} {
		if code, body := s.call(c.method, c.path, ""); code != c.code || strings.TrimSpace(body) != c.body {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.path, code, body, c.code, c.body)
		}
	}
}

// Who looks for longer than a client waits is told so in time.
func TestWhyIsBounded(t *testing.T) {
	left := make(chan time.Duration, 1)
	s := open(t, Config{Why: func(ctx context.Context, _ int64) (Why, error) {
		end, _ := ctx.Deadline()
		left <- time.Until(end)
		return Why{}, ctx.Err()
	}})
	s.call("GET", "/tasks/7/why", "")
	if d := <-left; d <= 0 || d > 2*queryTimeout {
		t.Errorf("it may take %v, want at most %v", d, 2*queryTimeout)
	}
}

func TestNoWhyWithoutAnAnswer(t *testing.T) {
	s := open(t, Config{})
	if code, _ := s.call("GET", "/tasks/7/why", ""); code != 404 {
		t.Errorf("got %d, want 404", code)
	}
}
