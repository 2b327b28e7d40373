package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"beat/streams/flow"
	"beat/streams/schedule"
)

// priority of a task that somebody waits for.
const priority = 1000

// A row is an account as it is stored.
type row interface {
	updated() *time.Time
}

// A lookup is one way to ask for the profiles of a platform: by what they are
// found, and how they are refreshed.
type lookup struct {
	key   func(string) string // as it is stored
	stale time.Duration       // older rows are refreshed first
	// flow is what refreshes the account, and its params.
	flow func(key string, full bool) (string, any)
	// read returns nil without an account.
	read func(g *Gateway, ctx context.Context, key string) (row, error)
	// after reads the account that a task was about when it has not got the key,
	// such as one that was renamed; nil: no account has.
	after func(g *Gateway, ctx context.Context, task int64) (row, error)
	force bool   // force_refresh counts
	limit string // route in Limits of a full refresh; none: unlimited
}

// The ways to ask of R1 to R4, by platform (contract/http.md 3.1 to 3.3).
var (
	byHandle = map[string]lookup{
		"instagram": {
			key:   handleKey,
			stale: day,
			flow: func(h string, full bool) (string, any) {
				if full {
					return "refresh_profile_by_handle", map[string]string{"handle": h}
				}
				return "refresh_profile_basic", map[string]*string{"profile_id": nil, "handle": &h}
			},
			read:  (*Gateway).readInstagram,
			after: (*Gateway).readRefreshed,
			force: true,
			limit: instagramByHandle,
		},
		"youtube": {key: strings.TrimSpace, stale: day, flow: refreshChannel, read: (*Gateway).readYouTube},
	}
	byID = map[string]lookup{
		"instagram": {
			key: strings.TrimSpace, stale: day, flow: refreshByID, read: (*Gateway).readInstagramByID,
			limit: instagramByID,
		},
		"youtube": {
			key: strings.TrimSpace, stale: day, flow: refreshChannel, read: (*Gateway).readYouTube,
			limit: youtubeByID,
		},
	}
	byProfileID = map[string]lookup{
		"instagram": {key: strings.TrimSpace, stale: 7 * day, flow: refreshByID, read: (*Gateway).readInstagramByID},
	}
)

// handleKey is an Instagram handle as the tables have it.
func handleKey(h string) string { return strings.ToLower(strings.TrimSpace(h)) }

func refreshByID(id string, _ bool) (string, any) {
	return "refresh_profile_by_profile_id", map[string]string{"profile_id": id}
}

func refreshChannel(id string, _ bool) (string, any) {
	return "refresh_yt_profiles", map[string][]string{"channel_ids": {id}}
}

// A want is what a request says about the refresh.
type want struct {
	full   bool
	force  bool
	urgent bool // not urgent: may be put off when the day's budget runs low
}

// urgent reports whether somebody waits, which is so unless they say no.
func urgent(q query) bool {
	v, told := boolean(q.get("urgent"))
	return v || !told
}

var platforms = []string{"instagram", "youtube", "shopify"}

var wrongPlatform = problem{[]any{"path", "platform"},
	"value is not a valid enumeration member; permitted: '" + strings.Join(platforms, "', '") + "'",
	"type_error.enum", map[string]any{"enum_values": platforms}}

// platformOf reads a path value: lower case, or all upper case.
func platformOf(s string) (string, bool) {
	for _, p := range platforms {
		if s == p || s == strings.ToUpper(p) {
			return p, true
		}
	}
	return "", false
}

func unsupported(w http.ResponseWriter, platform string) {
	fail(w, 400, "Platform not supported - "+platform)
}

// retrieved answers R1 to R6.
func retrieved(w http.ResponseWriter, profile any) {
	reply(w, http.StatusOK, profileAnswer[any]{success("Profile Retrieved"), profile})
}

// P is one of account, channel, nestedProfile, creatorProfile and creatorAudience.
type profileAnswer[P any] struct {
	Status  status `json:"status"`
	Profile P      `json:"profile"`
}

// A nestedProfile is R4's profile object.
type nestedProfile struct {
	Platform string  `json:"platform"`
	Handle   *string `json:"handle"`
	Profile  account `json:"profile"`
}

// byHandle is R1 and R2: the stored profile, refreshed first when it is older
// than a day.
func (g *Gateway) byHandle(w http.ResponseWriter, r *http.Request) {
	var wrong check
	platform := wrong.platform(r)
	if wrong.answered(w) {
		return
	}
	ways, ok := byHandle[platform]
	if !ok {
		unsupported(w, platform)
		return
	}
	handle, q := r.PathValue("handle"), queryOf(r)
	full := truthy(q.get("full_refresh"))
	row, err := g.profile(r.Context(), ways, handle, want{full, ways.force && truthy(q.get("force_refresh")), urgent(q)})
	var profile any = row
	if a, ok := row.(*account); err == nil && ok && full {
		profile, err = g.withRecent(r.Context(), a)
	}
	if err != nil {
		// Also for outages: no client tells them apart.
		g.unanswered(w, r, err, 404, "Profile not found - "+printable(handle))
		return
	}
	retrieved(w, profile)
}

// byID is R3: the same by the platform's own id, always refreshed in full.
func (g *Gateway) byID(w http.ResponseWriter, r *http.Request) {
	var wrong check
	platform, q := wrong.platform(r), queryOf(r)
	wrong.boolean(q, "third_party_fallback", false) // accepted, and without effect
	if wrong.answered(w) {
		return
	}
	ways, ok := byID[platform]
	if !ok {
		unsupported(w, platform)
		return
	}
	id := r.PathValue("id")
	row, err := g.profile(r.Context(), ways, id, want{full: true, urgent: urgent(q)})
	switch {
	case errors.Is(err, errNoRow):
		g.unanswered(w, r, err, 404, "profile not found for id - "+printable(id))
	case err != nil:
		g.unanswered(w, r, err, 404, "Error - "+saying(err))
	default:
		retrieved(w, row)
	}
}

// byProfileID is R4: Instagram's profile within another.
func (g *Gateway) byProfileID(w http.ResponseWriter, r *http.Request) {
	var wrong check
	platform := wrong.platform(r)
	if wrong.answered(w) {
		return
	}
	ways, ok := byProfileID[platform]
	if !ok {
		unsupported(w, platform)
		return
	}
	id := r.PathValue("profile_id")
	row, err := g.profile(r.Context(), ways, id, want{full: true, urgent: true})
	if err != nil {
		g.unanswered(w, r, err, 404, "Profile not found - "+printable(id))
		return
	}
	a := *row.(*account) //nolint:errcheck // readInstagramByID made it
	a.Platform = ""      // it is beside it
	retrieved(w, nestedProfile{platform, a.Handle, a})
}

// unanswered answers a request for a profile that err has come of.
func (g *Gateway) unanswered(w http.ResponseWriter, r *http.Request, err error, code int, message string) {
	if errors.Is(err, errLimited) {
		fail(w, 2, "Concurrency Limit Exceeded")
		return
	}
	if task, ok := errors.AsType[putOff](err); ok {
		task.reply(w)
		return
	}
	g.lg.WarnContext(r.Context(), "profile not answered", "route", r.Pattern, "path", r.URL.Path, "err", err)
	fail(w, code, message)
}

var errNoRow = errors.New("no such account")

// profile is the row, never nil. Its error wraps errNoRow when there is none.
func (g *Gateway) profile(ctx context.Context, ways lookup, asked string, ask want) (row, error) {
	if !storable(asked) {
		return nil, errNoRow
	}
	key := ways.key(asked)
	row, err := ways.read(g, ctx, key)
	if err != nil {
		return nil, err
	}
	if ask.force || row == nil || row.updated() == nil || time.Since(*row.updated()) > ways.stale {
		task, err := g.refresh(ctx, ways, key, ask, row != nil)
		switch {
		case errors.Is(err, errTimeout):
			g.lg.WarnContext(ctx, "answered before the refresh ended", "task", task, "key", key)
		case err != nil:
			return nil, err
		}
		ended := err == nil
		if row, err = ways.read(g, ctx, key); err != nil {
			return nil, err
		}
		if row == nil && !ended {
			return nil, errTimeout
		}
		if row == nil && ways.after != nil {
			if row, err = ways.after(g, ctx, task); err != nil {
				return nil, err
			}
		}
	}
	if row == nil {
		return nil, errNoRow
	}
	return row, nil
}

// refresh runs the flow that refreshes the account, or joins the run that is
// already under way, and waits for its end. It returns errTimeout when that does
// not come in time, errLimited when a limit is reached, and a putOff when there
// is room only for what is urgent. While the process is drained (see Drain) nobody
// waits for a refresh who can be told something without it.
func (g *Gateway) refresh(ctx context.Context, ways lookup, key string, ask want, stored bool) (int64, error) {
	g.refreshing.Add(1)
	defer g.refreshing.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Wait)
	defer cancel()
	name, args := ways.flow(key, ask.full)
	req, err := onDemand(name, key, args)
	if err != nil {
		return 0, err // empty, or too long for any platform
	}
	limit := ""
	if ask.full {
		limit = ways.limit
	}
	if !ask.urgent && g.busy(ctx, limit) {
		// With a key of its own: nobody waits for the night.
		req.Priority, req.JoinKey, req.RunAt = 0, new("offpeak:"+name+":"+key), new(g.cfg.OffPeak.pick(time.Now()))
		task, err := g.queue.Enqueue(ctx, req)
		if err != nil {
			return 0, err
		}
		if !task.Joined {
			g.metrics.deferred.WithLabelValues(limit).Inc()
		}
		return 0, putOff(task.ID)
	}
	taken, err := g.admit(ctx, limit, key)
	if err != nil {
		if ctx.Err() != nil {
			return 0, errTimeout
		}
		return 0, err
	}
	task, err := g.enqueue(ctx, req)
	if err != nil {
		return 0, err
	}
	if task.Joined {
		g.giveBack(ctx, taken)
	}
	if stored && g.Draining() {
		return task.ID, errTimeout
	}
	return task.ID, g.ended(ctx, task.ID, name)
}

// onDemand is a task that somebody waits for. All that ask for key at once share
// it.
func onDemand(name, key string, args any) (schedule.Request, error) {
	params, err := json.Marshal(args)
	if err != nil {
		return schedule.Request{}, err
	}
	f, ok := flow.ByName(name)
	if !ok {
		return schedule.Request{}, fmt.Errorf("no flow %s", name)
	}
	if _, err := f.Decode(params); err != nil {
		return schedule.Request{}, err
	}
	return schedule.Request{
		Flow: name, Platform: f.Platform, Params: params, Priority: priority,
		JoinKey: new("ondemand:" + name + ":" + key), RetryCount: new(1),
	}, nil
}

// enqueue stores a task, or finds the one to join. It returns errTimeout when
// ctx ends before that.
func (g *Gateway) enqueue(ctx context.Context, req schedule.Request) (schedule.Enqueued, error) {
	task, err := g.queue.Enqueue(ctx, req)
	if err != nil && ctx.Err() != nil {
		return task, errTimeout
	}
	return task, err
}

// demand runs a flow, or joins its run, and waits for the end.
func (g *Gateway) demand(ctx context.Context, name, key string, args any, most time.Duration) (int64, error) {
	g.refreshing.Add(1)
	defer g.refreshing.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	req, err := onDemand(name, key, args)
	if err != nil {
		return 0, err
	}
	task, err := g.enqueue(ctx, req)
	if err != nil {
		return 0, err
	}
	return task.ID, g.ended(ctx, task.ID, name)
}

// told is what a client hears of err: the code and the message of the provider,
// where one said something.
func told(err error) (code int, message string) {
	f, failed := errors.AsType[failure](err)
	param, wrong := errors.AsType[*flow.ParamError](err)
	switch {
	case failed:
		code, message, ok := f.status()
		switch {
		case !ok:
			return 500, string(f)
		case code == 0: // it was asked and did not answer
			return 500, message
		}
		return code, message
	case wrong:
		return 500, param.Error()
	}
	for _, ours := range []error{errTimeout, errNoRow, errNoPost, errToken} {
		if errors.Is(err, ours) {
			return 500, ours.Error()
		}
	}
	return 500, public(err)
}

// saying is err as one text, as it is the data of a task.
func saying(err error) string {
	if f, ok := errors.AsType[failure](err); ok {
		return string(f)
	}
	_, message := told(err)
	return message
}
