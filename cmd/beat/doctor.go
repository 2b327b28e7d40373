package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"beat/migrations"
)

type doctorCmd struct{ deps }

// A check is one line of the doctor.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
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
			if !k.OK {
				mark = "FAIL"
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
		k := check{name, err == nil, ok}
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
			set := providerTable(func(string) string { return "" })
			for source := range set {
				var n int
				err := db.QueryRow(ctx, `SELECT count(*) FROM credential WHERE source = $1 AND enabled AND NOT coalesce(data_access_expired, false)`, source).Scan(&n)
				if err == nil && n == 0 {
					err = fmt.Errorf("no enabled credential of %s: insert a row into table credential", source)
				}
				add("credential", err, fmt.Sprintf("%s: %d enabled", source, n))
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
	if c.RMQURL == "" {
		add("rabbitmq", nil, "not configured (RMQ_URL): events wait in the stream")
	} else {
		add("rabbitmq", dialRabbit(c.RMQURL), "answers")
	}
	return out
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
