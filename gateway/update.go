package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"beat/streams/schedule"
	"beat/streams/social"
)

// updateTask is R12: the client says what has become of a task. PENDING queues it
// again. A task is PROCESSING only while somebody works on it, so nobody can say
// that.
func (g *Gateway) updateTask(w http.ResponseWriter, r *http.Request) {
	var wrong check
	id, tooBig := wrong.taskID(r, "scrape_id", "scrape_id")
	if wrong.answered(w) {
		return
	}
	members, ok := readObject(w, r)
	if !ok {
		return
	}
	u, err := readUpdate(members)
	if err == nil && g.cfg.Send == nil {
		err = errors.New("tasks cannot be updated here")
	}
	if err != nil {
		fail(w, 400, "Something went wrong - "+err.Error())
		return
	}
	if u.ID = id; tooBig {
		err = schedule.ErrNoTask
	} else {
		err = g.bulk.queue.Update(r.Context(), g.cfg.Send, u)
	}
	switch {
	case errors.Is(err, schedule.ErrNoTask):
		fail(w, 404, "scrape log not found for scrape_id - "+r.PathValue("scrape_id"))
	case err != nil:
		g.lg.ErrorContext(r.Context(), "update task", "task", id, "err", err)
		message := "the update could not be stored and told"
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
			message = pg.Message
		}
		fail(w, 400, "Something went wrong - "+message)
	default:
		reply(w, http.StatusOK, doneAnswer{success("Scrape request log updated")})
	}
}

// readUpdate reads the body of R12, of which every member is required.
func readUpdate(members map[string]json.RawMessage) (u schedule.Update, err error) {
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil && err == nil {
			err = fmt.Errorf("%s must be text", name)
		}
		return s
	}
	for _, name := range []string{"flow", "platform", "params", "retry_count", "status"} {
		if _, ok := members[name]; !ok {
			return u, fmt.Errorf("field required: %s", name)
		}
	}
	u.Flow, u.Params, u.Status = text("flow"), members["params"], text("status")
	u.Platform = social.Platform(strings.ToUpper(text("platform")))
	retries, wrong := strconv.ParseInt(strings.Trim(string(members["retry_count"]), `"`), 10, 32)
	u.RetryCount = int(retries)
	switch {
	case err != nil:
	case wrong != nil:
		err = errors.New("retry_count must be a whole number")
	case u.Flow == "" || len(u.Flow) > 512:
		err = fmt.Errorf("flow is %d bytes long, want 1 to 512", len(u.Flow))
	case u.Params[0] != '{':
		err = errors.New("params must be an object")
	case u.Platform != social.Instagram && u.Platform != social.YouTube && u.Platform != social.Shopify:
		err = errors.New("platform must be INSTAGRAM, YOUTUBE or SHOPIFY")
	case u.Status != social.Pending && u.Status != social.Complete && u.Status != social.Failed:
		err = errors.New("status must be PENDING, COMPLETE or FAILED")
	}
	return u, err
}
