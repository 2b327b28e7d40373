package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"beat/streams/bus"
	"beat/streams/event"
	"beat/streams/lineage"
	"beat/streams/social"
)

// lineageOf is what beat lineage finds.
func (w *world) lineageOf(a *app, name string) *lineage.Lineage {
	w.t.Helper()
	kind, id, err := lineage.Parse(name)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := a.tracer().Of(w.t.Context(), kind, id, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) lineageCommand(args ...string) *exec.Cmd {
	args = append([]string{"lineage", "--pg-url=" + w.deps.PGURL, "--nats-url=" + w.deps.NATSURL}, args...)
	if w.s3 != nil {
		args = append(args, "--s3-bucket="+w.deps.S3Bucket, "--s3-endpoint="+w.deps.S3Endpoint)
	}
	cmd := w.child(args...)
	cmd.Stderr = w.t.Output()
	return cmd
}

// From an event, a raw answer, a task and a row the same chain is found, whether
// the streams still have it, the archive has its bytes, or only the tables know it.
func TestLineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{archive: true})
	w.deps.ArchiveEvery = 200 * time.Millisecond
	a, stop := w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections", "gateway")
	defer stop()
	root := "http://" + <-a.addr
	w.enqueue(3)
	w.until("completion", func() bool { return w.complete() == 3 })
	w.until("the end of every run is told", w.applied)
	post := w.text("SELECT min(event_id::text) FROM post_log WHERE task_id = 2")
	shortcode := w.text("SELECT platform_post_id FROM post_log WHERE event_id = $1::uuid", post)
	raw := w.text("SELECT raw_id FROM post_log WHERE event_id = $1::uuid", post)
	profile := w.text("SELECT profile_id FROM profile_log WHERE task_id = 2 LIMIT 1")
	credential := w.int("SELECT id FROM credential WHERE source = (SELECT source FROM profile_log WHERE task_id = 2 LIMIT 1)")
	bytes := ""

	// look follows the four names; streams tells whether RAW and EVENTS have it all.
	look := func(streams bool) {
		t.Helper()
		task := w.lineageOf(a, "2")
		if len(task.Tasks) != 1 || len(task.Tasks[0].Answers) < 3 {
			t.Fatalf("task: %+v", task)
		}
		row := task.Tasks[0]
		if row.Flow != "refresh_profile_by_handle" || row.Status != social.Complete || row.Fence == 0 || string(row.Params) != `{"handle": "creator00002"}` {
			t.Errorf("task: %+v", row)
		}
		ends := row.Told[len(row.Told)-1]
		if ends.EventID != event.TaskEventID(2, row.Fence, social.Complete) {
			t.Errorf("what was told of the task: %+v", row.Told)
		}
		n, held := 0, map[string]bool{}
		for _, x := range row.Answers {
			n += len(x.Observations)
			for _, o := range x.Observations {
				for c := range o.Columns {
					held[o.Table+" "+o.Row+" "+c] = true
				}
				if streams != (o.EventSeq > 0) {
					t.Errorf("observation %s: message %d of EVENTS", o.EventID, o.EventSeq)
				}
			}
		}
		if want := w.int("SELECT (SELECT count(*) FROM post_log WHERE task_id = 2) + (SELECT count(*) FROM profile_log WHERE task_id = 2)"); n != want {
			t.Errorf("task: %d observations, want %d", n, want)
		}
		// And back: each column of its rows that has an origin is one of these.
		if want := w.int(`SELECT (SELECT count(*) FROM instagram_account, jsonb_object_keys(lineage -> 'c') WHERE profile_id = $1)
			+ (SELECT count(*) FROM instagram_post, jsonb_object_keys(lineage -> 'c') WHERE profile_id = $1)`, profile); len(held) != want {
			t.Errorf("task: %d columns hold what it said, want %d", len(held), want)
		}
		one := func(id string) (*lineage.Task, *lineage.Answer) {
			t.Helper()
			l := w.lineageOf(a, id)
			if len(l.Tasks) != 1 || l.Tasks[0].ID != 2 || len(l.Tasks[0].Answers) == 0 {
				t.Fatalf("%s: %+v", id, l)
			}
			return l.Tasks[0], l.Tasks[0].Answers[0]
		}
		_, x := one(post)
		if x.RawID != raw || len(x.Observations) != 1 || x.Observations[0].Key != shortcode || x.Observations[0].RoutingKey != "post_log_events" || x.Parser == 0 || x.Digest == 0 {
			t.Errorf("event: %+v", x)
		}
		if one(raw); len(x.Observations)+x.Others == 0 {
			t.Errorf("raw: %+v", x)
		}
		columns := map[string]any{}
		of, _ := one("instagram_post/" + shortcode)
		for _, x := range of.Answers {
			for _, o := range x.Observations {
				maps.Copy(columns, o.Columns)
			}
		}
		if likes := w.int("SELECT likes::int FROM instagram_post WHERE shortcode = $1", shortcode); columns["likes"] != float64(likes) || columns["post_id"] == nil {
			t.Errorf("post: its answers gave %v, want %d likes among them", columns, likes)
		}
		if _, x := one("instagram_account/creator00002"); len(x.Observations) != 1 || x.Observations[0].Columns["handle"] != "creator00002" {
			t.Errorf("account: %+v", x)
		}
		one(event.TaskEventID(2, row.Fence, social.Processing))
		if x.Kept == nil {
			return
		}
		if x.Credential != int64(credential) || x.HTTPStatus != 200 || x.Verdict != "ok" || x.Fence != row.Fence || x.Kept.Stream != streams || (x.Kept.Object == "") != streams {
			t.Errorf("answer: %+v, %+v", x, x.Kept)
		}
		one(event.ID("trace", raw))
		got, err := a.tracer().Body(t.Context(), x)
		if bytes == "" {
			bytes = string(got)
		}
		if err != nil || len(got) != x.Bytes || len(got) == 0 || string(got) != bytes || !strings.Contains(string(got), shortcode) {
			t.Errorf("bytes: %d, want %d, %v", len(got), x.Bytes, err)
		}
	}
	look(true)
	code, got := ask(t, http.MethodGet, root+"/lineage/event/"+post, "")
	var l lineage.Lineage
	if err := json.Unmarshal([]byte(got), &l); code != 200 || err != nil || len(l.Tasks) != 1 || l.Tasks[0].Answers[0].RawID != raw {
		t.Errorf("over HTTP: %d %.300s", code, got)
	}
	for path, want := range map[string]int{"/lineage/task/999": 404, "/lineage/task/x": 422, "/lineage/planet/1": 422, "/lineage/event/" + event.ID("none"): 404} {
		if code, got := ask(t, http.MethodGet, root+path, ""); code != want {
			t.Errorf("%s: %d, want %d: %s", path, code, want, got)
		}
	}
	if out, err := w.lineageCommand(raw, "--raw").Output(); err != nil || string(out) != bytes {
		t.Errorf("--raw: %d bytes, want %d, %v", len(out), len(bytes), err)
	}
	if out, err := w.lineageCommand("2", "--json").Output(); err != nil || json.Unmarshal(out, &l) != nil || len(l.Tasks) != 1 || l.Kind != "task" {
		t.Errorf("--json: %v: %.300s", err, out)
	}
	text, err := w.lineageCommand(post).Output()
	if err != nil || !strings.Contains(string(text), "task 2  refresh_profile_by_handle  COMPLETE") || !strings.Contains(string(text), fmt.Sprintf("credential %d", credential)) ||
		!strings.Contains(string(text), "instagram_post "+shortcode+": ") {
		t.Errorf("as text: %v\n%s", err, text)
	}
	t.Logf("beat lineage %s\n%s", post, text)
	for _, bad := range [][]string{{"nonsense"}, {"2", "--raw"}, {"instagram_account/nobody"}} {
		if err := w.lineageCommand(bad...).Run(); err == nil {
			t.Errorf("beat lineage %v works", bad)
		}
	}

	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	w.archiveAll(int(s.CachedInfo().State.Msgs))
	if s, err = js.Stream(t.Context(), bus.Events); err == nil {
		err = s.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	look(false)
	w.exec("DELETE FROM archive_segment")
	look(false)
}

func TestLineageNames(t *testing.T) {
	for name, want := range map[string]string{
		"17":                                   "task 17",
		"6f0f8f5e-2b0b-5c49-9d0a-6d2f5c1b7e10": "event 6f0f8f5e-2b0b-5c49-9d0a-6d2f5c1b7e10",
		"0123456789abcdef0123456789abcdef":     "raw 0123456789abcdef0123456789abcdef",
		"instagram_post/a/b":                   "instagram_post a/b",
		"task/17":                              "task 17",
		"task/x":                               "", "": "", "instagram_post/": "", "pg_class/x": "", "1'; --": "",
	} {
		kind, id, err := lineage.Parse(name)
		if got := strings.TrimSpace(kind + " " + id); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
}
