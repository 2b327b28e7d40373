package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"beat/streams/lineage"
)

// lineageTimeout is that of a search through all raw answers, after which a client
// is told to ask the command, which has time.
const lineageTimeout = 30 * time.Second

// lineage answers what belongs together with a name: GET /lineage/{kind}/{id}, for
// operators.
func (g *Gateway) lineage(w http.ResponseWriter, r *http.Request) {
	kind, id := r.PathValue("kind"), r.PathValue("id")
	if !slices.Contains(lineage.Kinds(), kind) {
		invalid(w, problem{Loc: []any{"path", "kind"}, Msg: "value is not one of the kinds", Type: "type_error.enum", Ctx: map[string]any{"enum_values": lineage.Kinds()}})
		return
	}
	if err := lineage.Check(kind, id); err != nil || !storable(id) {
		invalid(w, problem{Loc: []any{"path", "id"}, Msg: "value is no id of a " + kind, Type: "value_error"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lineageTimeout)
	defer cancel()
	answer, err := g.cfg.Lineage(ctx, kind, id)
	switch {
	case errors.Is(err, lineage.ErrUnknown):
		notFound(w)
	case err != nil:
		g.lg.ErrorContext(ctx, "lineage not found", "kind", kind, "err", err)
		reply(w, http.StatusServiceUnavailable, detail{"The lineage cannot be looked at: a server does not answer, or the search takes too long (beat lineage has time)"})
	default:
		reply(w, http.StatusOK, answer)
	}
}
