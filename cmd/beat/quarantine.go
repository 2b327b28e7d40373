package main

import (
	"context"
	"fmt"
	"strings"

	"beat/processors/quarantine"
	"beat/streams/bus"
)

type quarantineCmd struct {
	List   quarantineListCmd   `cmd:"" help:"List observations, the newest first; those that wait to be decided on by default."`
	Show   quarantineShowCmd   `cmd:"" help:"Show one observation with all it says."`
	Accept quarantineAcceptCmd `cmd:"" help:"Pass held observations on, to the tables and to RabbitMQ."`
	Reject quarantineRejectCmd `cmd:"" help:"Turn held observations down; what is stored stays."`
}

// store is the quarantine for a person: it looks and decides, and asks for no
// tasks. end closes the connection.
func (c pgFlags) store(ctx context.Context, g *globals) (s *quarantine.Store, end func(), err error) {
	lg, err := g.logger()
	if err != nil {
		return nil, nil, usageError{err}
	}
	db, err := openPG(ctx, c.PGURL, 2)
	if err != nil {
		return nil, nil, err
	}
	return quarantine.New(lg, db, nil), db.Close, nil
}

type quarantineListCmd struct {
	pgFlags
	State    string `help:"Only this state: held, confirmed, accepted, rejected, replaced; or all." enum:"held,confirmed,accepted,rejected,replaced,all" default:"held"`
	Platform string `help:"Only this platform, such as INSTAGRAM."`
	Key      string `help:"Only this profile id."`
	Source   string `help:"Only what this source said."`
	Limit    int    `help:"At most this many; 0 is all." default:"100"`
}

func (c *quarantineListCmd) Run(ctx context.Context, g *globals) error {
	s, end, err := c.store(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	f := quarantine.Filter{State: quarantine.State(c.State), Platform: strings.ToUpper(c.Platform), Key: c.Key, Source: c.Source}
	if c.State == "all" {
		f.State = ""
	}
	rows, err := s.List(ctx, f, c.Limit)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, append([]quarantine.Row{}, rows...))
	}
	if len(rows) == 0 {
		fmt.Fprintln(g.stdout, "nothing in quarantine")
		return nil
	}
	var out [][]any
	for _, r := range rows {
		out = append(out, []any{r.ID, r.State, when(&r.ObservedAt), r.Platform, r.Key, r.Source, clip(r.Reason, 60)})
	}
	grid(g.stdout, []any{"id", "state", "observed", "platform", "key", "source", "fell"}, out)
	return nil
}

type quarantineShowCmd struct {
	pgFlags
	ID int64 `arg:"" help:"Number of the observation."`
}

func (c *quarantineShowCmd) Run(ctx context.Context, g *globals) error {
	s, end, err := c.store(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	r, err := s.Get(ctx, c.ID)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, r)
	}
	confirm := "-"
	if r.ConfirmTaskID != nil {
		confirm = number(*r.ConfirmTaskID)
	}
	decided := when(r.DecidedAt)
	if r.DecidedBy != nil {
		decided += " by event " + *r.DecidedBy
	}
	grid(g.stdout, []any{"observation", r.ID}, [][]any{
		{"state", r.State}, {"fell", r.Reason}, {"what", r.Platform + " " + r.Kind + " " + r.Key}, {"observed", when(&r.ObservedAt)},
		{"source", r.Source}, {"raw id", r.RawID}, {"parser", r.Parser}, {"event", r.EventID}, {"task", r.TaskID},
		{"looked at again by task", confirm}, {"kept back", when(&r.CreatedAt)}, {"decided", decided},
	})
	body, _ := readable(r.Log)
	fmt.Fprintln(g.stdout, body)
	return nil
}

type quarantineIDs struct {
	IDs    []int64 `arg:"" name:"id" help:"Numbers of held observations, as list shows them."`
	DryRun bool    `help:"Only say what would happen."`
}

// each decides on the observations, or only says whether they can be.
func (c quarantineIDs) each(ctx context.Context, g *globals, s *quarantine.Store, done string, do func(id int64) error) error {
	if c.DryRun {
		done, do = "would be "+done+"; dry run, nothing is changed", func(id int64) error {
			_, err := s.Waits(ctx, id)
			return err
		}
	} else {
		done = "is " + done
	}
	return eachID(g, "observation", c.IDs, done, do)
}

type quarantineAcceptCmd struct {
	pgFlags
	deadNATS
	quarantineIDs
}

func (c *quarantineAcceptCmd) Run(ctx context.Context, g *globals) error {
	s, end, err := c.store(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	lg, err := g.logger()
	if err != nil {
		return usageError{err}
	}
	js, hangUp, err := openJetStream(c.NATSURL)
	if err != nil {
		return err
	}
	defer hangUp()
	pub := bus.NewPublisher(lg, js, bus.PublisherConfig{})
	defer pub.Close() //nolint:errcheck // only waits
	return c.each(ctx, g, s, string(quarantine.Accepted), func(id int64) error { return s.Accept(ctx, pub, id) })
}

type quarantineRejectCmd struct {
	pgFlags
	quarantineIDs
}

func (c *quarantineRejectCmd) Run(ctx context.Context, g *globals) error {
	s, end, err := c.store(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	return c.each(ctx, g, s, string(quarantine.Rejected), func(id int64) error { return s.Reject(ctx, id) })
}
