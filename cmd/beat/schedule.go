package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beat/streams/schedule"
)

// scheduleCmd enqueues what is due. The names of the existing system stay, for
// whoever calls them from a crontab.
type scheduleCmd struct {
	Creators       scheduleCreatorsCmd    `cmd:"" name:"refresh-creators" help:"Enqueue a full refresh of each creator, and of each account not known to be one or not, that had none for a week."`
	NonCreators    scheduleNonCreatorsCmd `cmd:"" name:"refresh-non-creators" help:"Enqueue a full refresh of each account that is no creator, and of each not known to be one or not, that had none for a week."`
	OldCreators    scheduleCreatorsCmd    `cmd:"" name:"refresh_creator_profiles_insta" hidden:""`     // sic
	OldNonCreators scheduleNonCreatorsCmd `cmd:"" name:"refresh_non_creator_profiles_insta" hidden:""` // sic
}

type scheduleFlags struct {
	pgFlags
	DryRun bool          `help:"Only list the profiles that are due, enqueue nothing."`
	Limit  int           `help:"Enqueue at most this many, the newest accounts first." default:"1000"`
	Older  time.Duration `help:"How long ago the last full refresh is at least; 168h is a week, 0s takes every profile." default:"168h"`
}

const scheduleHelp = `
One task of flow refresh_profile_by_handle is stored for each profile. An account without a handle is left out, and so is one whose refresh waits or runs already: to run this twice, or on two machines at once, enqueues no profile twice. A profile is no longer due once its refresh is COMPLETE; one whose refresh FAILED is due again.

The exit code is 0 also when nothing was due. "beat run scheduler --%s-every 24h" does the same every day by itself, once in the whole fleet.`

type scheduleCreatorsCmd struct{ scheduleFlags }

// Help is shown below the flags.
func (c *scheduleCreatorsCmd) Help() string {
	return fmt.Sprintf(scheduleHelp, schedule.Creators.Name)
}

// Run runs schedule.Creators.
func (c *scheduleCreatorsCmd) Run(ctx context.Context, g *globals) error {
	return c.run(ctx, g, schedule.Creators)
}

type scheduleNonCreatorsCmd struct{ scheduleFlags }

// Help is shown below the flags.
func (c *scheduleNonCreatorsCmd) Help() string {
	return fmt.Sprintf(scheduleHelp, schedule.NonCreators.Name)
}

// Run runs schedule.NonCreators.
func (c *scheduleNonCreatorsCmd) Run(ctx context.Context, g *globals) error {
	return c.run(ctx, g, schedule.NonCreators)
}

func (c *scheduleFlags) run(ctx context.Context, g *globals, r schedule.Refresh) error {
	if c.Limit < 1 {
		return usageError{errors.New("--limit must be at least 1")}
	}
	if c.Older < 0 {
		return usageError{errors.New("--older must not be negative")}
	}
	r.Limit, r.Older = c.Limit, c.Older
	db, err := openPG(ctx, c.PGURL, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	q := schedule.NewQueue(db, 0)
	do := q.Refresh
	if c.DryRun {
		do = q.DueProfiles
	}
	ps, err := do(ctx, r)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, map[string]any{"name": r.Name, "dry_run": c.DryRun, "count": len(ps), "profiles": ps})
	}
	more := ""
	if len(ps) == c.Limit {
		more = "; that is the limit, more may be due"
	}
	switch {
	case len(ps) == 0:
		fmt.Fprintf(g.stdout, "nothing to do: the profiles were refreshed within %v, or their refreshes wait or run already\n", c.Older)
	case c.DryRun:
		rows := make([][]any, len(ps))
		for i, p := range ps {
			rows[i] = []any{p.Account, p.Handle, when(p.RefreshedAt)}
		}
		grid(g.stdout, []any{"account", "handle", "refreshed (UTC)"}, rows)
		fmt.Fprintf(g.stdout, "%d due, nothing enqueued (--dry-run)%s\n", len(ps), more)
	default:
		fmt.Fprintf(g.stdout, "%d enqueued, tasks %d to %d%s\n", len(ps), ps[0].Task, ps[len(ps)-1].Task, more)
	}
	return nil
}

// refreshFlags are the refreshes that role scheduler runs by itself.
type refreshFlags struct {
	RefreshCreatorsEvery    time.Duration `help:"Let the scheduler run \"beat schedule refresh-creators\" by itself, once in this time in the whole fleet, such as 24h. 0 is never." env:"BEAT_REFRESH_CREATORS_EVERY" placeholder:"DURATION"`
	RefreshNonCreatorsEvery time.Duration `help:"The same for refresh-non-creators." env:"BEAT_REFRESH_NON_CREATORS_EVERY" placeholder:"DURATION"`
	RefreshLimit            int           `help:"How many profiles each of these enqueues at most at a time." env:"BEAT_REFRESH_LIMIT" default:"1000"`
}

func (f refreshFlags) refreshes() ([]schedule.Refresh, error) {
	creators, others := schedule.Creators, schedule.NonCreators
	creators.Every, others.Every = f.RefreshCreatorsEvery, f.RefreshNonCreatorsEvery
	var out []schedule.Refresh
	for _, r := range []schedule.Refresh{creators, others} {
		switch r.Limit = f.RefreshLimit; {
		case r.Every == 0:
		case r.Every < time.Second:
			return nil, usageError{fmt.Errorf("--%s-every %v: want a second or more, or 0 for never", r.Name, r.Every)}
		case r.Limit < 1:
			return nil, usageError{errors.New("--refresh-limit must be at least 1")}
		default:
			out = append(out, r)
		}
	}
	return out, nil
}
