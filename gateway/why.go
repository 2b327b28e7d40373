package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"beat/streams/schedule"
)

// whyTask answers why a task is not running: GET /tasks/{id}/why, for operators.
func (g *Gateway) whyTask(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		invalid(w, problem{Loc: []any{"path", "id"}, Msg: "value is not a valid integer", Type: "type_error.integer"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*queryTimeout)
	defer cancel()
	answer, err := g.cfg.Why(ctx, id)
	switch {
	case errors.Is(err, schedule.ErrNoTask):
		notFound(w)
	case err != nil:
		g.lg.ErrorContext(ctx, "task not explained", "task", id, "err", err)
		reply(w, http.StatusServiceUnavailable, detail{"What the task waits for cannot be looked at: a server does not answer"})
	default:
		reply(w, http.StatusOK, answer)
	}
}
