package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Refresh is a choice of Instagram profiles that are refreshed by and by,
// without anybody asking for each: those whose last full refresh is long ago.
// When that was is instagram_account.refreshed_at, which the projections move
// once a full refresh is COMPLETE. Here the table is only read.
type Refresh struct {
	Name     string        // of its row in beat_refresh
	Creators bool          // is_business_or_creator is this, or not known
	Older    time.Duration // how long ago the last full refresh is at least; one that never was is
	Limit    int           // at most this many, the newest accounts first
	Every    time.Duration // how often a Refresher runs it, in the whole fleet
}

// The refreshes of the contract (flows.md 4.1). An account that nobody knows to
// be a creator or not is in both.
var (
	Creators    = Refresh{Name: "refresh-creators", Creators: true, Older: 7 * 24 * time.Hour, Limit: 1000}
	NonCreators = Refresh{Name: "refresh-non-creators", Creators: false, Older: 7 * 24 * time.Hour, Limit: 1000}
)

// A Profile is one that is due.
type Profile struct {
	Account     int64      `json:"account"` // instagram_account.id
	Handle      string     `json:"handle"`
	RefreshedAt *time.Time `json:"refreshed_at"`   // nil: never
	Task        int64      `json:"task,omitempty"` // its refresh; 0: not enqueued
}

// refreshTimeout bounds a run: unlike the queue's other statements it may have
// to go through all accounts.
const refreshTimeout = time.Minute

// The condition on the account is written out as four pairs, each a range of
// instagram_account_refresh_idx: so few that are due are found among many that
// are not. While many are due the planner goes by id instead, and stops at the
// limit.
//
// A handle that another account has shown within that time is not due: whoever
// was renamed leaves a row behind that no refresh by handle reaches any more.
// Both of its rows may be due; then it is asked for once.
const profilesSQL = `
WITH due AS MATERIALIZED (
    SELECT a.id, a.handle, a.refreshed_at FROM instagram_account a
    WHERE (a.is_business_or_creator = $1 AND a.refreshed_at <= now() AT TIME ZONE 'UTC' - $2::interval
        OR a.is_business_or_creator = $1 AND a.refreshed_at IS NULL
        OR a.is_business_or_creator IS NULL AND a.refreshed_at <= now() AT TIME ZONE 'UTC' - $2::interval
        OR a.is_business_or_creator IS NULL AND a.refreshed_at IS NULL)
      AND btrim(a.handle) <> ''
      AND NOT EXISTS (SELECT FROM scrape_request_log t
        WHERE t.flow = 'refresh_profile_by_handle' AND t.status IN ('PENDING', 'PROCESSING') AND t.params ->> 'handle' = a.handle)
      AND NOT EXISTS (SELECT FROM instagram_account b
        WHERE b.handle = a.handle AND b.refreshed_at > now() AT TIME ZONE 'UTC' - $2::interval)
    ORDER BY a.id DESC LIMIT $3
), profile AS MATERIALIZED (
    SELECT max(id) AS id, handle, max(refreshed_at) AS refreshed_at FROM due GROUP BY handle
)`

const listProfilesSQL = profilesSQL + `
SELECT id, handle, refreshed_at, 0::bigint FROM profile ORDER BY id DESC`

// The row of the contract (postgres.md 1.4): announced stays null, since these
// tasks have no PENDING event. In the order of the accounts, so that they are
// claimed in it.
const refreshSQL = profilesSQL + `, task AS (
    INSERT INTO scrape_request_log (flow, platform, params, status, priority, created_at, expires_at)
    SELECT 'refresh_profile_by_handle', 'INSTAGRAM', jsonb_build_object('handle', handle), 'PENDING', 1,
           now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC' + $4::interval
    FROM profile ORDER BY id DESC
    RETURNING id, params ->> 'handle' AS handle
)
SELECT p.id, p.handle, p.refreshed_at, task.id FROM profile p JOIN task USING (handle) ORDER BY p.id DESC`

// DueProfiles lists the profiles that Refresh would enqueue now.
func (q *Queue) DueProfiles(ctx context.Context, r Refresh) ([]Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	rows, err := q.db.Query(ctx, listProfilesSQL, r.Creators, r.Older, r.Limit)
	if err == nil {
		var ps []Profile
		if ps, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Profile]); err == nil {
			return ps, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", r.Name, err)
}

// Refresh enqueues a full refresh of each profile that is due, all or none, and
// returns them. A profile whose refresh waits or runs already is passed over, so
// that a second run finds only what the first left.
func (q *Queue) Refresh(ctx context.Context, r Refresh) ([]Profile, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	var ps []Profile
	err := pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) (err error) {
		if err := lockRefreshes(ctx, tx); err != nil {
			return err
		}
		ps, err = enqueueProfiles(ctx, tx, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name, err)
	}
	return ps, nil
}

// lockRefreshes lets runs take turns, those of both names, since an account may
// be in both. It is a statement of its own: the next one sees the tasks of
// whoever had the lock before.
func lockRefreshes(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('beat:refresh'), 0)`)
	return err
}

func enqueueProfiles(ctx context.Context, tx pgx.Tx, r Refresh) ([]Profile, error) {
	rows, err := tx.Query(ctx, refreshSQL, r.Creators, r.Older, r.Limit, expires)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Profile])
}

const refreshWaitSQL = `SELECT ran_at + $2::interval - now() AT TIME ZONE 'UTC' FROM beat_refresh WHERE name = $1`

// Of several that come at once the first moves the row; the others wait for its
// commit, and find nothing to move.
const refreshTurnSQL = `
INSERT INTO beat_refresh AS r (name, ran_at) VALUES ($1, now() AT TIME ZONE 'UTC')
ON CONFLICT (name) DO UPDATE SET ran_at = excluded.ran_at WHERE r.ran_at <= excluded.ran_at - $2::interval`

// A turn is what became of a look at whether a refresh has to run.
type turn struct {
	ran      bool
	profiles []Profile
	next     time.Duration // until it has to run again
}

// refreshInTurn runs r if nobody has within r.Every.
func (q *Queue) refreshInTurn(ctx context.Context, r Refresh) (t turn, err error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	err = q.db.QueryRow(ctx, refreshWaitSQL, r.Name, r.Every).Scan(&t.next)
	if err == nil && t.next > 0 {
		return t, nil
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return t, fmt.Errorf("%s: %w", r.Name, err)
	}
	t.next = r.Every
	err = pgx.BeginFunc(ctx, q.db, func(tx pgx.Tx) error {
		if err := lockRefreshes(ctx, tx); err != nil {
			return err
		}
		moved, err := tx.Exec(ctx, refreshTurnSQL, r.Name, r.Every)
		if err != nil || moved.RowsAffected() == 0 {
			return err
		}
		t.ran = true
		t.profiles, err = enqueueProfiles(ctx, tx, r)
		return err
	})
	if err != nil {
		return turn{}, fmt.Errorf("%s: %w", r.Name, err)
	}
	return t, nil
}

// A Refresher runs a Refresh every so often. Any number may: together they run
// it once in r.Every, the first time at once if it never ran. Killed in the
// middle it has not run, and another process runs it within refreshLook.
type Refresher struct {
	lg      *slog.Logger
	queue   *Queue
	refresh Refresh
}

// NewRefresher returns a Refresher of r. It does no I/O.
func NewRefresher(lg *slog.Logger, q *Queue, r Refresh) *Refresher {
	return &Refresher{lg: lg, queue: q, refresh: r}
}

// refreshLook is how long a Refresher sleeps at most, since what it goes by may
// be changed by others, or could not be read.
const refreshLook = time.Minute

// Run runs the refresh until ctx ends.
func (r *Refresher) Run(ctx context.Context) error {
	for {
		t, err := r.queue.refreshInTurn(ctx, r.refresh)
		wait := min(t.next, refreshLook)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = min(r.refresh.Every, refreshLook)
			r.lg.Warn("periodic refresh failed, trying again", "refresh", r.refresh.Name, "after", wait, "err", err)
		case t.ran:
			r.lg.Info("periodic refresh enqueued what is due", "refresh", r.refresh.Name, "tasks", len(t.profiles), "next", t.next)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
