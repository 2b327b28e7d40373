package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Request is a task to be.
type Request struct {
	Flow     string `json:"flow"`     // beat flows list
	Platform string `json:"platform"` // INSTAGRAM, YOUTUBE or SHOPIFY: that of the flow
	Params   any    `json:"params"`   // an object with the parameters of the flow
	Reason   string `json:"reason,omitempty"`
	Account  string `json:"-"` // whom it is for; Tasks finds it by that
}

// A Task is a task as it is stored.
type Task struct {
	ID        int64           `json:"scrape_id"`
	Account   *string         `json:"account_id"` // of Tasks alone
	Flow      *string         `json:"flow"`
	Platform  *string         `json:"platform"`
	Params    json.RawMessage `json:"params"`
	Status    *string         `json:"status"` // PENDING, PROCESSING, COMPLETE, FAILED
	Data      *string         `json:"data"`   // its result or its error, once it has ended
	CreatedAt *Time           `json:"created_at"`
	ScrapedAt *Time           `json:"scraped_at"`
}

// Enqueue stores a task and returns its id.
func (c *Client) Enqueue(ctx context.Context, r Request) (int64, error) {
	if r.Params == nil {
		r.Params = struct{}{}
	}
	var a struct {
		ScrapeID int64 `json:"scrape_id"`
	}
	err := c.with("X-Bb-Account-Id", r.Account).do(ctx, http.MethodPost, path("scrape_request_log", "flow", r.Flow), nil, r, &a)
	return a.ScrapeID, err
}

// Task is the task with an id.
func (c *Client) Task(ctx context.Context, id int64) (*Task, error) {
	var a struct {
		Post Task `json:"post"` // sic
	}
	if err := c.do(ctx, http.MethodGet, path("scrape_request_log", "flow", strconv.FormatInt(id, 10)), nil, nil, &a); err != nil {
		return nil, err
	}
	return &a.Post, nil
}

// Tasks are the newest tasks of an account, at most limit; 0 is the gateway's 10.
func (c *Client) Tasks(ctx context.Context, account string, limit int) ([]Task, error) {
	q := url.Values{}
	if limit > 0 {
		q.Set("size", strconv.Itoa(limit))
	}
	var a struct {
		List []Task `json:"scrape_list"`
	}
	err := c.do(ctx, http.MethodGet, path("list_scrape_data", account), q, nil, &a)
	return a.List, err
}

// An Update is what has become of a task. Flow, Platform and Params are told with
// the event.
type Update struct {
	Flow       string          `json:"flow"`
	Platform   string          `json:"platform"`
	Params     json.RawMessage `json:"params"`
	RetryCount int             `json:"retry_count"`
	Status     string          `json:"status"` // PENDING, which queues it again, COMPLETE or FAILED
}

// UpdateTask says what has become of a task.
func (c *Client) UpdateTask(ctx context.Context, id int64, u Update) error {
	return c.do(ctx, http.MethodPost, path("scrape_request_log", "flow", "update", strconv.FormatInt(id, 10)), nil, u, nil)
}

// A Why is the answer to "why is this task not running?".
type Why struct {
	ID       int64     `json:"id"`
	Flow     string    `json:"flow"`
	Status   string    `json:"status"`
	Says     string    `json:"says"`
	Waits    string    `json:"waits"`    // kind:name of what is missing, "" for nothing
	Expected time.Time `json:"expected"` // zero: it cannot be told
	Ahead    *int      `json:"ahead"`    // tasks of the flow that come before it
	Stage    string    `json:"stage"`    // role whose turn it is at a running task
	Attempts []Attempt `json:"attempts"` // sources that failed the step it is at
}

// An Attempt is a source that was asked in vain.
type Attempt struct {
	Source  string `json:"source"`
	Verdict string `json:"verdict"`
	Status  int    `json:"status"`
	Reason  string `json:"reason"`
}

// Why says why a task is not running.
func (c *Client) Why(ctx context.Context, id int64) (*Why, error) {
	var w Why
	if err := c.do(ctx, http.MethodGet, path("tasks", strconv.FormatInt(id, 10), "why"), nil, nil, &w); err != nil {
		return nil, err
	}
	return &w, nil
}
