package archive_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/archive"
	"beat/streams/objects"
)

// A job reads a week of one source, and goes on where it was when it is started
// again.
func ExampleArchive_History() {
	job := func(ctx context.Context, db *pgxpool.Pool, js jetstream.JetStream, done archive.Position) error {
		store, err := objects.Open(ctx, objects.Config{Bucket: "beat-raw"})
		if err != nil {
			return err
		}
		a := archive.New(slog.Default(), db, js, store, archive.Config{})
		end, err := a.End(ctx)
		if err != nil {
			return err
		}
		f := archive.Filter{Sources: []string{"graphapi"}, Verdicts: []string{"ok"}, Since: time.Now().AddDate(0, 0, -7), After: done, To: end}
		for raw, err := range a.History(ctx, f) {
			if err != nil {
				return fmt.Errorf("after %s: %w", done, err)
			}
			fmt.Println(raw.ID, raw.Observed, len(raw.Data))
			done = raw.Position // to be stored with what was made of the answer
		}
		return nil
	}
	_ = job
}
