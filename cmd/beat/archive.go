package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/flow"
	"beat/streams/objects"
)

// s3Flags are where the archive is. Who we are the environment says, as for
// every program that speaks to AWS: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
// a profile, or the role of the machine.
type s3Flags struct {
	S3Bucket    string `help:"Bucket of the archive of raw answers. Without it they are kept as long as stream RAW keeps them. Keys are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or the machine's role." env:"S3_BUCKET" name:"s3-bucket" placeholder:"NAME"`
	S3Endpoint  string `help:"S3 server of the bucket, if it is not AWS." env:"S3_ENDPOINT" name:"s3-endpoint" placeholder:"URL"`
	S3Region    string `help:"Region of the bucket; AWS_REGION by default." env:"S3_REGION" name:"s3-region" placeholder:"REGION"`
	S3Prefix    string `help:"Folder of the archive within the bucket." env:"S3_PREFIX" name:"s3-prefix" placeholder:"PATH"`
	S3HostStyle bool   `help:"The bucket is in the host name also at --s3-endpoint, not in the path." env:"S3_HOST_STYLE" name:"s3-host-style"`

	s3Key, s3Secret string // of a server within this process
	claimFrom       int    // bytes of a large body; for tests
}

// bucket is the store of the archive; nil if there is none.
func (f s3Flags) bucket(ctx context.Context) (*objects.Store, error) {
	if f.S3Bucket == "" {
		if f.S3Endpoint != "" {
			return nil, usageError{errors.New("--s3-endpoint without a bucket: set S3_BUCKET or --s3-bucket")}
		}
		return nil, nil
	}
	s, err := objects.Open(ctx, objects.Config{Bucket: f.S3Bucket, Endpoint: f.S3Endpoint, Region: f.S3Region, Prefix: f.S3Prefix,
		HostStyle: f.S3HostStyle, AccessKey: f.s3Key, SecretKey: f.s3Secret})
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

// archiveFlags say what the archive keeps, and how long.
type archiveFlags struct {
	s3Flags
	RawRetention     time.Duration `help:"How long stream RAW keeps raw answers; those that are not archived yet it keeps for longer." env:"BEAT_RAW_RETENTION" default:"168h"`
	RawMaxBytes      int64         `help:"Most that stream RAW may hold when it is made. With an archive a full one refuses, and what is archived goes early; without, the oldest go." env:"BEAT_RAW_MAX_BYTES" placeholder:"BYTES"`
	ArchiveEvery     time.Duration `help:"How long a raw answer waits to be archived at most." env:"BEAT_ARCHIVE_EVERY" default:"10m"`
	ArchiveRetention time.Duration `help:"How long the archive keeps raw answers; for ever by default." env:"BEAT_ARCHIVE_RETENTION" placeholder:"AGE"`
	ArchiveMaxBytes  int64         `help:"Most that the archive may hold; then the oldest go, but none that stream RAW still has." env:"BEAT_ARCHIVE_MAX_BYTES" placeholder:"BYTES"`
	ArchiveAlert     time.Duration `help:"Age of a raw answer that is not archived from which on /readyz and beat_archive_alert say so." env:"BEAT_ARCHIVE_ALERT" default:"30m"`
}

// streams are the options of the streams.
func (f archiveFlags) streams(replicas int) bus.Options {
	o := bus.Options{Replicas: replicas, RetainRaw: f.RawRetention, HoldRaw: f.S3Bucket != ""}
	if f.RawMaxBytes > 0 {
		o.MaxBytes = map[string]int64{bus.Raw: f.RawMaxBytes}
	}
	return o
}

// archive is the archive of this installation, which may have none.
func (f archiveFlags) archive(ctx context.Context, lg *slog.Logger, db *pgxpool.Pool, js jetstream.JetStream) (*archive.Archive, error) {
	if f.ArchiveRetention > 0 && f.ArchiveRetention < f.RawRetention {
		return nil, usageError{fmt.Errorf("--archive-retention %s is shorter than --raw-retention %s", f.ArchiveRetention, f.RawRetention)}
	}
	store, err := f.bucket(ctx)
	if err != nil {
		return nil, err
	}
	var readers []string
	for _, c := range consumers(flow.All) {
		if c.Stream == bus.Raw {
			readers = append(readers, c.Durable)
		}
	}
	return archive.New(lg, db, js, store, archive.Config{Every: f.ArchiveEvery, RetainRaw: f.RawRetention, Retain: f.ArchiveRetention,
		MaxBytes: f.ArchiveMaxBytes, Alert: f.ArchiveAlert, Readers: readers, ClaimFrom: f.claimFrom}), nil
}

type archiveCmd struct {
	List   archiveListCmd   `cmd:"" help:"List what is archived, and how far it is behind."`
	Verify archiveVerifyCmd `cmd:"" help:"Read everything that is archived and compare it with its hashes; exit code 1 if something is lost."`
}

// archiveAt is an archive for a person: it looks, and writes nothing.
type archiveAt struct {
	pgFlags
	s3Flags
	NATSURL string `help:"NATS with JetStream." env:"NATS_URL" name:"nats-url" default:"nats://127.0.0.1:4222"`
}

func (c archiveAt) open(ctx context.Context, g *globals) (_ *archive.Archive, end func(), err error) {
	lg, err := g.logger()
	if err != nil {
		return nil, nil, usageError{err}
	}
	if c.S3Bucket == "" {
		return nil, nil, usageError{errors.New("no archive: set S3_BUCKET or --s3-bucket")}
	}
	db, err := openPG(ctx, c.PGURL, 4)
	if err != nil {
		return nil, nil, err
	}
	js, hangUp, err := openJetStream(c.NATSURL)
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	end = func() { hangUp(); db.Close() }
	a, err := (archiveFlags{s3Flags: c.s3Flags}).archive(ctx, lg, db, js)
	if err != nil {
		end()
		return nil, nil, err
	}
	return a, end, nil
}

type archiveListCmd struct {
	archiveAt
	Limit int `help:"At most this many segments, the newest; 0 is all." default:"20"`
}

func (c *archiveListCmd) Run(ctx context.Context, g *globals) error {
	a, end, err := c.archiveAt.open(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	all, err := a.Segments(ctx)
	if err != nil {
		return err
	}
	h, err := a.Health(ctx)
	if err != nil {
		return err
	}
	shown := all
	if c.Limit > 0 && len(shown) > c.Limit {
		shown = shown[len(shown)-c.Limit:]
	}
	if g.JSON {
		return show(g.stdout, struct {
			Total      int               `json:"total"` // segments
			Bytes      int64             `json:"bytes"` // of all, with large bodies
			LagSeconds float64           `json:"lag_seconds"`
			Behind     uint64            `json:"behind"` // answers that are not archived
			Alert      string            `json:"alert,omitempty"`
			Segments   []archive.Segment `json:"segments"`
		}{len(all), h.Bytes, h.Lag.Seconds(), h.Behind, h.Alert, append([]archive.Segment{}, shown...)})
	}
	var rows [][]any
	for i, s := range shown {
		if i > 0 && shown[i-1].Run == s.Run && shown[i-1].Last+1 < s.First {
			rows = append(rows, []any{fmt.Sprintf("%d to %d", shown[i-1].Last+1, s.First-1), "not archived: they went from the stream before"})
		}
		rows = append(rows, []any{fmt.Sprintf("%d to %d", s.First, s.Last), when(&s.FirstAt), when(&s.LastAt), s.Count, mib(s.Bytes), mib(s.PlainBytes), s.Object})
	}
	if len(rows) > 0 {
		grid(g.stdout, []any{"messages", "stored from", "to", "answers", "MiB", "unpacked", "object"}, rows)
	}
	fmt.Fprintf(g.stdout, "%d segments, %s MiB; %d answers are not archived yet, the oldest for %s\n", len(all), mib(h.Bytes), h.Behind, h.Lag.Round(time.Second))
	if h.Alert != "" {
		fmt.Fprintln(g.stdout, h.Alert)
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.2f", float64(n)/(1<<20)) }

type archiveVerifyCmd struct {
	archiveAt
	Since string `help:"Only what was archived since: younger than this, such as 48h, or from a time on." placeholder:"AGE|TIME"`
}

func (c *archiveVerifyCmd) Run(ctx context.Context, g *globals) error {
	since, err := moment("since", c.Since, time.Now().UTC())
	if err != nil {
		return err
	}
	a, end, err := c.archiveAt.open(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	r, err := a.Verify(ctx, since)
	if err != nil {
		return err
	}
	if g.JSON {
		if err := show(g.stdout, r); err != nil {
			return err
		}
	} else {
		var rows [][]any
		for _, p := range r.Problems {
			rows = append(rows, []any{p.Kind, fmt.Sprintf("%d to %d", p.From, p.To), p.Object, p.Says})
		}
		if len(rows) > 0 {
			grid(g.stdout, []any{"problem", "messages", "object", "says"}, rows)
		}
		fmt.Fprintf(g.stdout, "%d segments with %d answers and %d large bodies read, %s MiB\n", r.Segments, r.Messages, r.Bodies, mib(r.Bytes))
	}
	if n := len(r.Problems); n > 0 {
		return fmt.Errorf("%d problems in the archive", n)
	}
	return nil
}
