package projections

import (
	"testing"

	"beat/migrations/pgtest"
	"beat/streams/event"
	"beat/streams/social"
)

// An answer that comes late, of a run that has ended or was replaced, leaves nothing
// that nobody would ever remove; one of a run that goes on is noted.
func TestProgressOfRunsThatAreOver(t *testing.T) {
	db := pgtest.New(t)
	if _, err := db.Exec(t.Context(), `INSERT INTO scrape_request_log (id, flow, platform, status, fence) VALUES
		(1, 'f', 'INSTAGRAM', 'COMPLETE', 7), (2, 'f', 'INSTAGRAM', 'FAILED', 7), (3, 'f', 'INSTAGRAM', 'PROCESSING', 8),
		(4, 'f', 'INSTAGRAM', 'PROCESSING', 7), (5, 'f', 'INSTAGRAM', 'PENDING', NULL)`); err != nil {
		t.Fatal(err)
	}
	var commits []event.Commit
	for id := range int64(6) {
		commits = append(commits, event.Commit{
			Task: social.TaskRef{ID: id + 1, Fence: 7, Flow: "f", Platform: social.Instagram}, Seq: 1, Parts: 1, Raw: social.Raw{ID: social.ID("late", id), At: at},
		})
	}
	if err := apply(t.Context(), db, commits); err != nil {
		t.Fatal(err)
	}
	var noted string
	if err := db.QueryRow(t.Context(), `SELECT string_agg(task_id::text, ' ' ORDER BY task_id) FROM task_progress`).Scan(&noted); err != nil {
		t.Fatal(err)
	}
	// 5 overtakes the commit of its claim; 6 has no row: its task may be of another
	// database, as after a restore.
	if noted != "4 5 6" {
		t.Errorf("progress is noted of tasks %s, want 4 5 6", noted)
	}
}
