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
	members, ok := readObject(w, r)
	if !ok {
		return
	}
	req, problems := readRequest(members)
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
	if account := r.Header.Get("X-Bb-Account-Id"); account != "" {
		req.AccountID = &account
	}
	req.RetryCount = new(1)
	id, err := g.bulk.intake.Enqueue(ctx, req)
	if err != nil {
		g.lg.ErrorContext(ctx, "store task", "flow", req.Flow, "err", err)
		fail(w, 400, "Something went wrong - "+public(err))
		return
	}
	reply(w, http.StatusOK, created(id))
}

// A createdAnswer is the id of a task that is queued.
type createdAnswer struct {
	Status   status `json:"status"`
	Code     int    `json:"code"`
	ScrapeID int64  `json:"scrape_id"`
}

func created(task int64) createdAnswer {
	return createdAnswer{success("Scrape request log added"), http.StatusOK, task}
}

// readObject reads a body that has to be a JSON object, whatever it calls itself.
// Of one that is not the client has been told.
func readObject(w http.ResponseWriter, r *http.Request) (members map[string]json.RawMessage, ok bool) {
	var body []byte
	err := error(&http.MaxBytesError{Limit: maxBody})
	if r.ContentLength <= maxBody { // who says so beforehand is not listened to
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		reply(w, http.StatusRequestEntityTooLarge, detail{"Request body is larger than 1 MiB"})
		return nil, false
	}
	if err != nil || !utf8.Valid(body) {
		reply(w, http.StatusBadRequest, detail{"There was an error parsing the body"})
		return nil, false
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) //nolint:errcheck // it is over; tests have no connection
	var wrong check
	var syntax *json.SyntaxError
	switch text := bytes.TrimSpace(body); {
	case len(text) == 0 || string(text) == "null":
		wrong.add("field required", "value_error.missing", "body")
	case errors.As(json.Unmarshal(body, &members), &syntax):
		wrong.add(syntax.Error(), "value_error.jsondecode", "body", max(syntax.Offset-1, 0))
	case text[0] != '{':
		wrong.add("value is not a valid dict", "type_error.dict", "body")
	}
	return members, !wrong.answered(w)
}

// readRequest reads the body of R11, and says all that is wrong with it.
func readRequest(members map[string]json.RawMessage) (schedule.Request, []problem) {
	var req schedule.Request
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

// A taskView is a task as R13 and R14 show it.
type taskView struct {
	Data      *string         `json:"data"`
	Status    *string         `json:"status"`
	Params    json.RawMessage `json:"params"`
	CreatedAt *string         `json:"created_at"`
	Flow      *string         `json:"flow"`
	ScrapedAt *string         `json:"scraped_at"`
	Platform  *string         `json:"platform"`
}

const viewSQL = `
SELECT id, account_id, data, status, params, created_at, flow, scraped_at, platform FROM scrape_request_log WHERE `

func scanView(row pgx.Row) (id int64, account *string, t taskView, err error) {
	var created, scraped *time.Time
	err = row.Scan(&id, &account, &t.Data, &t.Status, &t.Params, &created, &t.Flow, &scraped, &t.Platform)
	t.CreatedAt, t.ScrapedAt = stamp(created), stamp(scraped)
	return id, account, t, err
}

// taskID reads the id of a task from the path, where it is called name. tooBig: no
// row has an id of that size.
func (c *check) taskID(r *http.Request, segment, name string) (id int64, tooBig bool) {
	id, err := strconv.ParseInt(strings.TrimSpace(r.PathValue(segment)), 10, 64)
	tooBig = errors.Is(err, strconv.ErrRange)
	if err != nil && !tooBig {
		c.add("value is not a valid integer", "type_error.integer", "path", name)
	}
	return id, tooBig
}

// A shownTask is a task as R13 answers it.
type shownTask struct {
	ScrapeID int64 `json:"scrape_id"`
	taskView
}

type taskAnswer struct {
	Status status    `json:"status"`
	Post   shownTask `json:"post"` // sic
}

// readTask is R13.
func (g *Gateway) readTask(w http.ResponseWriter, r *http.Request) {
	var wrong check
	id, tooBig := wrong.taskID(r, "flow", "id")
	if wrong.answered(w) {
		return
	}
	missing := "scrape log not found for scrape_id - " + r.PathValue("flow")
	if tooBig {
		fail(w, 404, missing)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	_, _, t, err := scanView(g.bulk.db.QueryRow(ctx, viewSQL+"id = $1", id))
	if errors.Is(err, pgx.ErrNoRows) {
		fail(w, 404, missing)
		return
	}
	if err != nil {
		g.lg.ErrorContext(ctx, "read task", "task", id, "err", err)
		fail(w, 404, "scrape log not found - "+public(err))
		return
	}
	reply(w, http.StatusOK, taskAnswer{success("Scrape Log Data Retrieved"), shownTask{id, t}})
}

// maxList bounds R14, however many rows are asked for.
const maxList = 10_000

// A listedTask is a task as R14 answers it.
type listedTask struct {
	ScrapeID  int64   `json:"scrape_id"`
	AccountID *string `json:"account_id"`
	taskView
}

type listAnswer struct {
	AccountID string       `json:"account_id"`
	List      []listedTask `json:"scrape_list"`
}

// listTasks is R14: the newest tasks of an account. Its success has no envelope.
func (g *Gateway) listTasks(w http.ResponseWriter, r *http.Request) {
	account, q := r.PathValue("account_id"), queryOf(r)
	size, problem := 10, ""
	if text := q.get("size"); q.has("size") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		switch size = min(n, maxList); {
		case err != nil && !errors.Is(err, strconv.ErrRange):
			problem = "invalid literal for int() with base 10: '" + clip(printable(text)) + "'"
		case n < 0:
			problem = "LIMIT must not be negative"
		}
	}
	if problem == "" && !storable(account) {
		problem = "the account id is no text"
	}
	list := []listedTask{}
	if problem == "" {
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		rows, err := g.bulk.db.Query(ctx, viewSQL+"account_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2", account, size)
		if err == nil {
			list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l listedTask, err error) {
				l.ScrapeID, l.AccountID, l.taskView, err = scanView(row)
				return l, err
			})
		}
		if err != nil {
			g.lg.ErrorContext(ctx, "list tasks", "err", err)
			problem = public(err)
		}
	}
	if problem != "" {
		fail(w, 404, "scrape log not found for account id - "+problem)
		return
	}
	reply(w, http.StatusOK, listAnswer{account, list})
}
