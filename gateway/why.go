package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"beat/streams/schedule"
	"beat/streams/social"
)

// A Why is the answer to "why is this task not running?".
type Why struct {
	ID       int64            `json:"id"`
	Flow     string           `json:"flow"`
	Status   string           `json:"status"`
	Says     string           `json:"says" jsonschema:"for people"`
	Waits    string           `json:"waits,omitempty" jsonschema:"kind:name of what is missing, such as limit:rocketapi; or scheduler, backlog, places, nats or redis"`
	Expected time.Time        `json:"expected,omitzero" jsonschema:"when it will run, or go on, as far as can be told"`
	Ahead    *int             `json:"ahead,omitempty" jsonschema:"tasks of the flow that are claimed before it"`
	Stage    string           `json:"stage,omitempty" jsonschema:"role whose turn it is at a running task"`
	Attempts []social.Attempt `json:"attempts,omitempty" jsonschema:"sources that failed the step it is at"`
}

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
