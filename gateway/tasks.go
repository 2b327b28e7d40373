package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"beat/streams/flow"
	"beat/streams/schedule"
	"beat/streams/social"
)

// maxBody bounds the body of a task.
const maxBody = 1 << 20

// createTask is R11: it queues a flow. The flow of the path is ignored, as is
// the content type.
func (g *Gateway) createTask(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		reply(w, http.StatusRequestEntityTooLarge, detail{"Request body is larger than 1 MiB"})
		return
	}
	if err != nil || !utf8.Valid(body) {
		reply(w, http.StatusBadRequest, detail{"There was an error parsing the body"})
		return
	}
	req, problems := readRequest(body)
	if len(problems) > 0 {
		invalid(w, problems...)
		return
	}
	f, ok := flow.ByName(req.Flow)
	if !ok {
		fail(w, 422, "unknown flow - "+clip(req.Flow))
		return
	}
	if !strings.EqualFold(string(req.Platform), string(f.Platform)) {
		// It would become part of subjects and table names downstream.
		fail(w, 422, fmt.Sprintf("flow %s has platform %s, not %s", f.Name, f.Platform, clip(string(req.Platform))))
		return
	}
	req.Platform = f.Platform
	if _, err := f.Decode(req.Params); err != nil {
		fail(w, 422, err.Error())
		return
	}
	if id := r.Header.Get("X-Bb-Account-Id"); id != "" {
		req.AccountID = &id
	}
	req.RetryCount = new(1)
	task, err := g.queue.Enqueue(ctx, req)
	if err != nil {
		g.lg.ErrorContext(ctx, "store task", "flow", req.Flow, "err", err)
		fail(w, 400, "Something went wrong - "+public(err))
		return
	}
	reply(w, http.StatusOK, struct {
		Status   status `json:"status"`
		Code     int    `json:"code"`
		ScrapeID int64  `json:"scrape_id"`
	}{success("Scrape request log added"), 200, task.ID})
}

// readRequest reads the body of R11, and says all that is wrong with it.
func readRequest(body []byte) (schedule.Request, []problem) {
	var req schedule.Request
	if len(bytes.TrimSpace(body)) == 0 || string(bytes.TrimSpace(body)) == "null" {
		return req, []problem{{Loc: []any{"body"}, Msg: "field required", Type: "value_error.missing"}}
	}
	var top json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, &top); errors.As(err, &syntax) {
		return req, []problem{{Loc: []any{"body", max(syntax.Offset-1, 0)}, Msg: syntax.Error(), Type: "value_error.jsondecode"}}
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(top, &members) != nil {
		return req, []problem{{Loc: []any{"body"}, Msg: "value is not a valid dict", Type: "type_error.dict"}}
	}
	var problems []problem
	wrong := func(name, msg, kind string) {
		problems = append(problems, problem{Loc: []any{"body", name}, Msg: msg, Type: kind})
	}
	// given says whether there is a value to look at.
	given := func(name string, required bool) bool {
		v, ok := members[name]
		if !ok && required {
			wrong(name, "field required", "value_error.missing")
		} else if string(v) == "null" && required {
			wrong(name, "none is not an allowed value", "type_error.none.not_allowed")
		}
		return ok && string(v) != "null"
	}
	text := func(name string, required bool) *string {
		if !given(name, required) {
			return nil
		}
		var s string
		if json.Unmarshal(members[name], &s) != nil {
			wrong(name, "str type expected", "type_error.str")
			return nil
		}
		return &s
	}
	req.Flow = value(text("flow", true))
	platform := text("platform", true)
	if given("params", true) {
		if members["params"][0] != '{' {
			wrong("params", "value is not a valid dict", "type_error.dict")
		}
		req.Params = members["params"]
	}
	req.Reason = text("reason", false)
	text("status", false)
	for _, name := range []string{"retry_count", "priority"} {
		if given(name, false) && !isInteger(members[name]) {
			wrong(name, "value is not a valid integer", "type_error.integer")
		}
	}
	for _, name := range []string{"event_timestamp", "picked_at", "expires_at"} {
		if given(name, false) && !isTime(members[name]) {
			wrong(name, "invalid datetime format", "value_error.datetime")
		}
	}
	if platform != nil {
		req.Platform = social.Platform(*platform)
	}
	return req, problems
}

// isInteger: a whole number, or text that is one.
func isInteger(v json.RawMessage) bool {
	s := strings.Trim(string(v), `"`)
	if f, err := strconv.ParseFloat(s, 64); err == nil && v[0] != '"' {
		return f == float64(int64(f))
	}
	_, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return err == nil
}

// isTime: seconds of the epoch, or one of the usual forms.
func isTime(v json.RawMessage) bool {
	var f float64
	if json.Unmarshal(v, &f) == nil {
		return true
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return false
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return true
	}
	s = strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		for _, zone := range []string{"", "Z07:00", "Z0700"} {
			if _, err := time.Parse(layout+zone, s); err == nil {
				return true
			}
		}
	}
	return false
}

// public is what a client is told of a failed statement: never an address.
func public(err error) string {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Message
	case errors.Is(err, context.DeadlineExceeded):
		return "the database did not answer in time"
	}
	return "the database did not answer"
}

func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "…"
	}
	return s
}

// A taskView is R13's payload.
type taskView struct {
	ScrapeID  int64           `json:"scrape_id"`
	Data      *string         `json:"data"`
	Status    *string         `json:"status"`
	Params    json.RawMessage `json:"params"`
	CreatedAt *string         `json:"created_at"`
	Flow      *string         `json:"flow"`
	ScrapedAt *string         `json:"scraped_at"`
	Platform  *string         `json:"platform"`
}

// readTask is R13.
func (g *Gateway) readTask(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("flow")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		invalid(w, problem{Loc: []any{"path", "id"}, Msg: "value is not a valid integer", Type: "type_error.integer"})
		return
	}
	missing := "scrape log not found for scrape_id - " + text
	if err != nil { // no row has an id of that size
		fail(w, 404, missing)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	t := taskView{ScrapeID: id}
	var created, scraped *time.Time
	err = g.db.QueryRow(ctx, `
SELECT data, status, params, created_at, flow, scraped_at, platform FROM scrape_request_log WHERE id = $1`, id).
		Scan(&t.Data, &t.Status, &t.Params, &created, &t.Flow, &scraped, &t.Platform)
	if errors.Is(err, pgx.ErrNoRows) {
		fail(w, 404, missing)
		return
	}
	if err != nil {
		g.lg.ErrorContext(ctx, "read task", "task", id, "err", err)
		fail(w, 404, "scrape log not found - "+public(err))
		return
	}
	t.CreatedAt, t.ScrapedAt = stamp(created), stamp(scraped)
	reply(w, http.StatusOK, struct {
		Status status   `json:"status"`
		Post   taskView `json:"post"` // sic
	}{success("Scrape Log Data Retrieved"), t})
}
