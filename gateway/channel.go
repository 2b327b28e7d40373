package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// channelTime is how long R10 may take: its client waits for thirty seconds.
const channelTime = 25 * time.Second

// channelID is R10: the id of the channel that a handle stands for, as its page
// says now.
func (g *Gateway) channelID(w http.ResponseWriter, r *http.Request) {
	handle := r.PathValue("handle")
	id, err := g.findChannel(r.Context(), handle)
	if err != nil {
		message := "Something went wrong - " + saying(err)
		if f, ok := errors.AsType[failure](err); ok {
			switch code, says, told := f.status(); {
			case told && code != 0 && code != http.StatusOK: // the page is not there
				message = "Failed to fetch Channel ID for - " + printable(handle)
			case told:
				message = "Something went wrong - " + says
			}
		}
		g.unanswered(w, r, err, 400, message)
		return
	}
	reply(w, http.StatusOK, channelAnswer{success("Channel ID Retrieved"), channelID{handle, id}})
}

type channelID struct {
	Handle string `json:"handle"` // as asked for
	ID     string `json:"channel_id"`
}

type channelAnswer struct {
	Status   status    `json:"status"`
	Response channelID `json:"response"`
}

func (g *Gateway) findChannel(ctx context.Context, handle string) (string, error) {
	if !storable(handle) {
		return "", failure("(404, 'Something went wrong')")
	}
	if !strings.Contains(handle, "@") {
		handle = "@" + handle
	}
	task, err := g.demand(ctx, "fetch_yt_channel_id", handle, map[string]string{"handle": handle}, min(channelTime, g.cfg.Wait))
	if err != nil {
		return "", err
	}
	o, err := g.outcome(ctx, task)
	return o.data, err
}
