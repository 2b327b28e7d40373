package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"beat/streams/event"
	"beat/streams/schedule"
	"beat/streams/social"
)

// A seen is what has arrived of one answer.
type seen struct {
	N   int   `json:"n"`   // parts
	Got []int `json:"got"` // which
}

// A run is a row of task_progress.
type run struct {
	id, fence int64
	Seen      map[int]*seen
	Final     *runFinal
}

type runFinal struct {
	Seq       int    `json:"seq"`
	Status    string `json:"status"`
	Data      string `json:"data"`
	Refreshed string `json:"refreshed,omitempty"`
}

func (r *run) add(c event.Commit) {
	if c.Task.Fence < r.fence {
		return // of a run that another has replaced
	}
	if c.Task.Fence > r.fence {
		*r = run{id: r.id, fence: c.Task.Fence, Seen: map[int]*seen{}}
	}
	s := r.Seen[c.Seq]
	if s == nil {
		s = &seen{}
		r.Seen[c.Seq] = s
	}
	s.N = c.Parts
	if !slices.Contains(s.Got, c.Part) {
		s.Got = append(s.Got, c.Part)
	}
	if c.Final != nil {
		r.Final = &runFinal{c.Seq, c.Final.Status, c.Final.Data, c.Final.Refreshed}
	}
}

// over reports whether all answers of the run have arrived. A failure does
// not wait for the answers before it.
func (r *run) over() bool {
	if r.Final == nil {
		return false
	}
	if r.Final.Status == social.Failed {
		return true
	}
	for seq := range r.Final.Seq + 1 {
		if s := r.Seen[seq]; s == nil || len(s.Got) < s.N {
			return false
		}
	}
	return true
}

const progressSQL = `SELECT task_id, fence, seen, final FROM task_progress WHERE task_id = ANY($1) ORDER BY task_id FOR UPDATE`

// keepSQL passes over runs that have ended or been replaced, of which an answer
// comes late or once more.
const keepSQL = `
INSERT INTO task_progress (task_id, fence, seen, final)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::jsonb[], $4::jsonb[]) AS u(id, fence, seen, final)
WHERE NOT EXISTS (SELECT FROM scrape_request_log s WHERE s.id = u.id
    AND (s.fence > u.fence OR s.fence = u.fence AND s.status IN ('COMPLETE', 'FAILED')))
ON CONFLICT (task_id) DO UPDATE SET fence = excluded.fence, seen = excluded.seen, final = excluded.final,
    updated_at = excluded.updated_at`

// progress notes which answers have arrived and returns the runs that are
// over. Answers of one run may lie in several shards, which several processes
// apply at once: the advisory locks make them take turns, also where there is
// no row yet to be locked.
func progress(ctx context.Context, tx pgx.Tx, commits []event.Commit) ([]schedule.Finish, error) {
	commits = slices.DeleteFunc(slices.Clone(commits), func(c event.Commit) bool { return c.Replay != nil })
	if len(commits) == 0 {
		return nil, nil
	}
	var ids []int64
	runs := map[int64]*run{}
	for _, c := range commits {
		if runs[c.Task.ID] == nil {
			ids = append(ids, c.Task.ID)
			runs[c.Task.ID] = &run{id: c.Task.ID, Seen: map[int]*seen{}}
		}
	}
	slices.Sort(ids)
	if _, err := tx.Exec(ctx, `
SELECT pg_advisory_xact_lock(hashtext('beat:progress'), (id % 2147483647)::int) FROM unnest($1::int8[]) AS id ORDER BY id`, ids); err != nil {
		return nil, fmt.Errorf("lock progress: %w", err)
	}
	stored := map[int64]bool{}
	rs, err := tx.Query(ctx, progressSQL, ids)
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	var id, fence int64
	var seenJSON, finalJSON []byte
	_, err = pgx.ForEachRow(rs, []any{&id, &fence, &seenJSON, &finalJSON}, func() error {
		r := runs[id]
		r.fence = fence
		stored[id] = true
		if err := json.Unmarshal(seenJSON, &r.Seen); err != nil {
			return err
		}
		if finalJSON != nil {
			return json.Unmarshal(finalJSON, &r.Final)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	for _, c := range commits {
		runs[c.Task.ID].add(c)
	}
	var out []schedule.Finish
	var gone, keep, fences []int64
	var seens, finals []*string
	for _, id := range ids {
		r := runs[id]
		if r.over() {
			out = append(out, schedule.Finish{ID: id, Fence: r.fence, Status: r.Final.Status, Data: r.Final.Data, Refreshed: r.Final.Refreshed})
			if stored[id] {
				gone = append(gone, id)
			}
			continue
		}
		s, err := json.Marshal(r.Seen)
		if err != nil {
			return nil, err
		}
		text := string(s)
		var final *string
		if r.Final != nil {
			f, err := json.Marshal(r.Final)
			if err != nil {
				return nil, err
			}
			t := string(f)
			final = &t
		}
		keep, fences = append(keep, id), append(fences, r.fence)
		seens, finals = append(seens, &text), append(finals, final)
	}
	if len(keep) > 0 {
		if _, err := tx.Exec(ctx, keepSQL, keep, fences, seens, finals); err != nil {
			return nil, fmt.Errorf("write progress: %w", err)
		}
	}
	if len(gone) > 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM task_progress WHERE task_id = ANY($1)`, gone); err != nil {
			return nil, fmt.Errorf("write progress: %w", err)
		}
	}
	return out, nil
}

// refreshed moves instagram_account.refreshed_at, which the periodic refreshes
// go by: a run that has fetched all of a profile has ended.
func refreshed(ctx context.Context, tx pgx.Tx, finishes []schedule.Finish, ended []schedule.Finished) error {
	over := map[int64]bool{}
	for _, e := range ended {
		over[e.ID] = e.Status == social.Complete
	}
	var ids []string
	for _, f := range finishes {
		if f.Refreshed != "" && over[f.ID] {
			ids = append(ids, f.Refreshed)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	_, err := tx.Exec(ctx, `
UPDATE instagram_account SET refreshed_at = now() AT TIME ZONE 'UTC' WHERE profile_id = ANY($1)`, ids)
	if err != nil {
		return fmt.Errorf("mark %d profiles refreshed: %w", len(ids), err)
	}
	return nil
}
