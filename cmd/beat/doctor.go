package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"beat/migrations"
	"beat/providers/credential"
	"beat/streams/schedule"
)

type doctorCmd struct{ deps }

// A check is one line of the doctor.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
	Warn bool   `json:"warn,omitempty"` // it may be as somebody wants it, or has forgotten
}

func (c *doctorCmd) Run(ctx context.Context, g *globals) error {
	checks := c.checks(ctx)
	bad := 0
	for _, k := range checks {
		if !k.OK {
			bad++
		}
	}
	if g.JSON {
		if err := show(g.stdout, checks); err != nil {
			return err
		}
	} else {
		for _, k := range checks {
			mark := "ok  "
			switch {
			case !k.OK:
				mark = "FAIL"
			case k.Warn:
				mark = "warn"
			}
			fmt.Fprintf(g.stdout, "%s  %-12s %s\n", mark, k.Name, k.Says)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks failed", bad, len(checks))
	}
	return nil
}

func (c *doctorCmd) checks(ctx context.Context) (out []check) {
	add := func(name string, err error, ok string) {
		k := check{Name: name, OK: err == nil, Says: ok}
		if err != nil {
			k.Says = err.Error()
		}
		out = append(out, k)
	}
	if db, err := openPG(ctx, c.PGURL, 2); err != nil {
		add("postgres", err, "")
	} else {
		defer db.Close()
		var v, tz string
		var schema int64
		err := db.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('timezone')`).Scan(&v, &tz)
		add("postgres", err, "version "+v+", session zone "+tz)
		err = db.QueryRow(ctx, `SELECT max(version_id) FROM beat_schema_version`).Scan(&schema)
		switch {
		case err != nil:
			add("schema", errors.New("not there: run beat migrate"), "")
		case schema != migrations.Latest():
			add("schema", fmt.Errorf("version %d, this build wants %d: run beat migrate", schema, migrations.Latest()), "")
		default:
			add("schema", nil, "version "+strconv.FormatInt(schema, 10))
			out = append(out, c.sources(ctx, db)...)
			pauses, err := schedule.NewQueue(db, 0).Paused(ctx)
			if err != nil {
				add("pause", err, "")
			}
			for _, p := range pauses {
				out = append(out, paused(p))
			}
		}
	}
	if nc, err := openNATS(c.NATSURL); err != nil {
		add("nats", err, "")
	} else {
		defer nc.Close()
		v := nc.ConnectedServerVersion()
		if versionBelow(v, 2, 15) {
			err = fmt.Errorf("version %s: atomic batches and message schedules need 2.15 or newer", v)
		}
		add("nats", err, "version "+v)
		add("payload", payload(nc.MaxPayload()), fmt.Sprintf("messages up to %d MiB", nc.MaxPayload()>>20))
	}
	if rdb, err := openRedis(ctx, c.RedisURL); err != nil {
		add("redis", err, "")
	} else {
		rdb.Close() //nolint:errcheck // done with it
		add("redis", nil, "answers")
	}
	if store, err := c.s3Flags.bucket(ctx); err != nil {
		add("s3", err, "")
	} else if store == nil {
		add("s3", nil, "not configured (S3_BUCKET): raw answers are kept as long as stream RAW keeps them")
	} else {
		add("s3", store.Check(ctx), "bucket "+store.Bucket())
	}
	if c.RMQURL == "" {
		add("rabbitmq", nil, "not configured (RMQ_URL): events wait in the stream, nobody listens")
	} else {
		add("rabbitmq", dialRabbit(ctx, c.rmqFlags), "answers; beat amqp check looks at its queues")
	}
	return out
}

// sources are the credentials: of each source how many can be used, each row
// that cannot be and why, and the alarm of contract/enrichment.md W3.7.
func (c *doctorCmd) sources(ctx context.Context, db *pgxpool.Pool) []check {
	fail := func(says string) check { return check{Name: "credential", Says: says} }
	key, err := credential.ParseKey(c.CredentialKey)
	if err != nil {
		return []check{fail(err.Error())}
	}
	store := credential.New(slog.New(slog.DiscardHandler), db, providerTable(realHosts), credential.Config{Key: key})
	if err := store.Load(ctx); err != nil {
		return []check{fail(err.Error())}
	}
	var out []check
	for _, s := range store.States() {
		k := check{Name: "credential", OK: s.Ready > 0, Says: fmt.Sprintf("%s: %d ready, %d resting", s.Source, s.Ready, s.Resting)}
		switch {
		case s.Ready > 0:
		case s.Down:
			k.Says = fmt.Sprintf("%s does not answer: its credentials rest until %s UTC at the latest, unless it is back sooner", s.Source, when(&s.Next))
		case s.Resting > 0:
			k.Says = fmt.Sprintf("%s: all of its %d credentials rest, the first until %s UTC", s.Source, s.Resting, when(&s.Next))
		case s.Refused > 0 || s.Unusable > 0:
			k.Says = fmt.Sprintf("%s: none of its %d credentials can be used (beat credentials list --source %s): beat credentials add %s",
				s.Source, s.Refused+s.Unusable, s.Source, s.Source)
		default:
			k.OK, k.Warn = true, true // nobody has to have all of them
			k.Says = fmt.Sprintf("%s has no credential and is not asked: beat credentials add %s", s.Source, s.Source)
		}
		out = append(out, k)
	}
	bad := store.Bad()
	for _, id := range slices.Sorted(maps.Keys(bad)) {
		out = append(out, fail(bad[id]+": beat credentials add replaces it"))
	}
	alert := store.Alert()
	for _, p := range slices.Sorted(maps.Keys(alert)) {
		if alert[p] {
			out = append(out, fail(fmt.Sprintf("%s: more than half of the credentials rest or are out of use (beat credentials list)", p)))
		}
	}
	return out
}

// paused is a warning.
func paused(p schedule.Pause) check {
	text := fmt.Sprintf("%s %s has been paused since %s UTC", p.Kind, p.Name, when(&p.Since))
	if p.Until != nil {
		text += " until " + when(p.Until)
	}
	if p.Reason != nil {
		text += ", " + *p.Reason
	}
	return check{Name: "pause", OK: true, Says: text + ": beat resume " + p.Name, Warn: true}
}

func payload(n int64) error {
	if n < 7<<20 {
		return fmt.Errorf("max_payload is %d bytes: answers of up to 6 MiB need 8MB in nats.conf", n)
	}
	return nil
}

func versionBelow(v string, major, minor int) bool {
	p := strings.SplitN(v, ".", 3)
	if len(p) < 2 {
		return false
	}
	a, _ := strconv.Atoi(p[0]) //nolint:errcheck // 0 is below
	b, _ := strconv.Atoi(p[1]) //nolint:errcheck // 0 is below
	return a < major || a == major && b < minor
}
