package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"beat/gateway"
	"beat/providers/ratelimit"
)

// limitsCmd looks at what is counted in Redis, by name: nobody needs to know the keys.
type limitsCmd struct {
	List  limitsListCmd  `cmd:"" help:"List the limits of the providers and of the gateway, and how much of each is used."`
	Show  limitsShowCmd  `cmd:"" help:"Show one limit: beat limits show refresh_profile_insta_per_handle_natgeo"`
	Reset limitsResetCmd `cmd:"" help:"Forget what was taken from a limit, so that it is open again."`
}

// limitFlags say which limits there are, the same as for the running roles.
type limitFlags struct {
	RedisURL string            `help:"Redis, for the rate limits." env:"REDIS_URL" name:"redis-url" default:"redis://127.0.0.1:6379/0"`
	Limit    map[string]string `help:"Rate limit of a source instead of the contract's, source=REQUESTS/SECONDS." env:"BEAT_LIMITS" placeholder:"SOURCE=N/S"`
	Sliding  bool              `help:"The gateway's limits are sliding." env:"BEAT_SLIDING_LIMITS" name:"sliding-limits"`
}

// A named is a limit that can be looked at. One that is counted for each
// entity has a name that the entity's must be added to.
type named struct {
	spec   ratelimit.Spec
	prefix string
	of     []string // the sources or the route that keep it
	entity bool
}

// all are the limits of the contract, those that a source has beside them, and
// those of the gateway.
func (f *limitFlags) all() ([]named, error) {
	set := providerTable(func(string) string { return "" })
	d := deps{Limit: f.Limit}
	if err := d.checkSources(slices.Sorted(maps.Keys(set))); err != nil {
		return nil, err
	}
	instead, err := d.limits()
	if err != nil {
		return nil, err
	}
	of := map[ratelimit.Spec][]string{}
	for _, s := range ratelimit.Contract {
		of[s] = nil
	}
	for _, source := range slices.Sorted(maps.Keys(set)) {
		s := set[source].Limit
		if o, ok := instead[source]; ok {
			s = o
		}
		if !s.Zero() {
			of[s] = append(of[s], source)
		}
	}
	var out []named
	for s, sources := range of {
		out = append(out, named{spec: s, prefix: ratelimit.Calls, of: sources})
	}
	slices.SortFunc(out, func(a, b named) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	for _, l := range gateway.Limits {
		s := l.Spec
		s.Sliding = f.Sliding
		out = append(out, named{s, ratelimit.Requests, []string{l.Route}, l.Entity})
	}
	return out, nil
}

// find is the limit of a whole name.
func (f *limitFlags) find(name string) (named, error) {
	all, err := f.all()
	if err != nil {
		return named{}, err
	}
	var names []string
	for _, n := range all {
		if entity, ok := strings.CutPrefix(name, n.spec.Name); ok && n.entity == (entity != "") {
			n.spec.Name = name
			return n, nil
		}
		names = append(names, n.label())
	}
	return named{}, usageError{fmt.Errorf("unknown limit %q: limits are %s", name, strings.Join(names, ", "))}
}

func (n named) label() string {
	if n.entity {
		return n.spec.Name + "…"
	}
	return n.spec.Name
}

// A limitRow is a limit as it is printed.
type limitRow struct {
	Name     string           `json:"name"`
	Of       []string         `json:"of"` // sources, or a route of the gateway
	Requests int              `json:"requests"`
	Seconds  int              `json:"seconds"`
	Sliding  bool             `json:"sliding"`
	Key      string           `json:"key,omitempty"`   // in Redis; none for all entities together
	State    *ratelimit.State `json:"state,omitempty"` // likewise
}

func (r limitRow) cells() []any {
	used, opens, waiting := "-", "-", "-"
	if r.State != nil {
		used, opens, waiting = fmt.Sprintf("%d/%d", r.State.Used, r.Requests), "now", fmt.Sprint(r.State.Waits)
		if !r.State.Opens.IsZero() {
			opens = r.State.Opens.UTC().Format("2006-01-02 15:04:05")
		}
	}
	return []any{r.Name, strings.Join(r.Of, ", "), fmt.Sprintf("%d/%v", r.Requests, time.Duration(r.Seconds)*time.Second), used, opens, waiting}
}

var limitHead = []any{"limit", "of", "allows", "used", "opens", "waiting"}

// limiters are one Limiter for each prefix.
type limiters map[string]*ratelimit.Limiter

// open connects to Redis; stop ends that.
func (f *limitFlags) open(ctx context.Context) (by limiters, stop func(), err error) {
	rdb, err := openRedis(ctx, f.RedisURL)
	if err != nil {
		return nil, nil, err
	}
	return limiters{
		ratelimit.Calls:    ratelimit.New(rdb, ratelimit.Calls),
		ratelimit.Requests: ratelimit.New(rdb, ratelimit.Requests),
	}, func() { rdb.Close() }, nil //nolint:errcheck // ends with the process
}

func (by limiters) row(ctx context.Context, n named, whole bool) (limitRow, error) {
	r := limitRow{Name: n.label(), Of: n.of, Requests: n.spec.Requests, Seconds: n.spec.Seconds, Sliding: n.spec.Sliding}
	if n.entity && !whole {
		return r, nil
	}
	st, err := by[n.prefix].Show(ctx, n.spec)
	r.Name, r.Key, r.State = n.spec.Name, n.spec.Key(n.prefix), &st
	return r, err
}

type limitsListCmd struct{ limitFlags }

func (c *limitsListCmd) Run(ctx context.Context, g *globals) error {
	all, err := c.all()
	if err != nil {
		return err
	}
	by, stop, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var rows []limitRow
	var cells [][]any
	for _, n := range all {
		r, err := by.row(ctx, n, false)
		if err != nil {
			return err
		}
		rows, cells = append(rows, r), append(cells, r.cells())
	}
	if g.JSON {
		return show(g.stdout, rows)
	}
	grid(g.stdout, limitHead, cells)
	return nil
}

type limitsShowCmd struct {
	limitFlags
	Name string `arg:"" help:"Name of the limit; beat limits list shows them."`
}

func (c *limitsShowCmd) Run(ctx context.Context, g *globals) error {
	n, err := c.find(c.Name)
	if err != nil {
		return err
	}
	by, stop, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	r, err := by.row(ctx, n, true)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, r)
	}
	grid(g.stdout, limitHead, [][]any{r.cells()})
	return nil
}

type limitsResetCmd struct {
	limitFlags
	Name string `arg:"" help:"Name of the limit; beat limits list shows them."`
}

func (c *limitsResetCmd) Run(ctx context.Context, g *globals) error {
	n, err := c.find(c.Name)
	if err != nil {
		return err
	}
	by, stop, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	r, err := by.row(ctx, n, true)
	if err != nil {
		return err
	}
	if err := by[n.prefix].Reset(ctx, n.spec); err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, r) // as it was
	}
	fmt.Fprintf(g.stdout, "%s is reset, %d of %d were used\n", r.Name, r.State.Used, r.Requests)
	return nil
}
