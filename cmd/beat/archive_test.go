package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beat/streams/archive"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/servers/s3d"
)

// archiveBeat runs beat archive against the world's servers.
func (w *world) archiveBeat(v any, args ...string) int {
	w.t.Helper()
	args = append(append([]string{"archive"}, args...), "--json", "--pg-url="+w.deps.PGURL, "--nats-url="+w.deps.NATSURL,
		"--s3-bucket="+w.deps.S3Bucket, "--s3-endpoint="+w.deps.S3Endpoint)
	cmd := w.child(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if out.Len() == 0 {
		w.t.Fatalf("beat %s: %v: %s", strings.Join(args[:2], " "), err, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), v); err != nil {
		w.t.Fatalf("beat %s: %v: %s", strings.Join(args[:2], " "), err, out.String())
	}
	return cmd.ProcessState.ExitCode()
}

// child is beat as a process of its own, which knows the world's keys.
func (w *world) child(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BEAT_TEST_CHILD=1", "AWS_ACCESS_KEY_ID=beat", "AWS_SECRET_ACCESS_KEY=beat")
	return cmd
}

// startS3 starts the world's S3 once more, on the same folder.
func (w *world) startS3(addr string) {
	w.t.Helper()
	s, err := s3d.Start(s3d.Config{Dir: filepath.Dir(w.s3.Dir), Addr: addr})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Stop)
}

type archiveList struct {
	Total    int
	Behind   uint64
	Alert    string
	Segments []archive.Segment
}

// raws are the ids of all raw answers that a can read, in order.
func raws(t *testing.T, a *app) (ids []string) {
	t.Helper()
	for r, err := range a.archive.History(t.Context(), archive.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Data) == 0 {
			t.Errorf("raw answer %s has no body", r.ID)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

// The role archive is killed again and again while others work. What they stored
// is archived once, and all of it can be read when the stream is empty; verify
// finds nothing, and a damaged object when there is one.
func TestArchiveSurvivesKills(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{archive: true})
	const profiles = 40
	w.enqueue(profiles)
	cmd := w.start(freePort(t), "archive")
	a, stop := w.runRoles("scheduler", "retrieval", "parsing", "processing", "projections")
	for w.complete() < profiles {
		time.Sleep(700 * time.Millisecond)
		kill(cmd)
		cmd = w.start(freePort(t), "archive")
		w.until("another task", func() bool { return w.complete() > 0 })
	}
	w.check(profiles)
	var l archiveList
	w.until("everything archived", func() bool { w.archiveBeat(&l, "list", "--limit=0"); return l.Behind == 0 && l.Total > 0 })
	kill(cmd)
	n := 0
	for i, s := range l.Segments {
		if n += s.Count; i > 0 && s.First != l.Segments[i-1].Last+1 {
			t.Errorf("segment %d begins at %d, the one before ended at %d", i, s.First, l.Segments[i-1].Last)
		}
	}
	ids := raws(t, a)
	if len(ids) < 3*profiles || n != len(ids) {
		t.Errorf("%d answers in %d segments, %d in the history; want at least %d", n, l.Total, len(ids), 3*profiles)
	}
	s, err := a.js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.MaxAge != 0 {
		t.Errorf("stream RAW drops after %s what may not be archived", c.MaxAge)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := raws(t, a); strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Errorf("from the archive alone: %d answers, not the %d from both", len(got), len(ids))
	}
	var r archive.Report
	if code := w.archiveBeat(&r, "verify"); code != 0 || len(r.Problems) > 0 || r.Messages != len(ids) {
		t.Errorf("verify: exit code %d, %+v", code, r)
	}
	stop()
	object := filepath.Join(w.s3.Dir, w.deps.S3Bucket, l.Segments[0].Object)
	if err := os.WriteFile(object, []byte("no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := w.archiveBeat(&r, "verify"); code != 1 || len(r.Problems) != 1 || r.Problems[0].Kind != archive.Damaged || r.Problems[0].Object != l.Segments[0].Object {
		t.Errorf("verify of a damaged object: exit code %d, %+v", code, r)
	}
}

// All bodies are too large for the stream: tasks complete as ever, and a dead
// letter shows its body.
func TestArchiveClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{archive: true})
	w.deps.claimFrom = 1
	w.deps.ArchiveEvery = 200 * time.Millisecond
	a := w.runAll()
	w.enqueue(3)
	w.until("3 tasks", func() bool { return w.complete() == 3 })
	w.check(3)
	w.until("claims", func() bool { return len(raws(t, a)) >= 9 })
	s, err := a.js.Stream(t.Context(), bus.Raw)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetMsg(t.Context(), 1)
	if err != nil || len(m.Data) > 0 || m.Header.Get(archive.HeaderBody) == "" {
		t.Fatalf("first answer: %d bytes, claim %q, %v", len(m.Data), m.Header.Get(archive.HeaderBody), err)
	}
	letter := bus.Letter(&bus.Msg{Subject: m.Subject, Header: m.Header, Stream: bus.Raw, Seq: 1}, "parse", "malformed", os.ErrInvalid)
	w.plant(a, letter)
	cmd := w.child("dead", "show", "1", "--json", "--nats-url="+w.deps.NATSURL, "--s3-bucket="+w.deps.S3Bucket, "--s3-endpoint="+w.deps.S3Endpoint)
	out, err := cmd.Output()
	var shown struct {
		dead.Letter
		Bytes int
		Body  string
	}
	if err != nil || json.Unmarshal(out, &shown) != nil || shown.Bytes < 100 || strings.HasPrefix(shown.Body, "cannot") {
		t.Errorf("dead show: %v: %.300s", err, out)
	}
}

// S3 is gone: tasks complete, /readyz and the metrics say what is the matter;
// when it is back, all is archived.
func TestArchiveAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{archive: true})
	w.deps.ArchiveEvery, w.deps.ArchiveAlert = 100*time.Millisecond, time.Second
	w.deps.claimFrom = 1
	addr := strings.TrimPrefix(w.s3.URL, "http://")
	w.s3.Stop()
	a := w.runAll()
	gateway := "http://" + <-a.addr
	w.enqueue(3)
	w.until("3 tasks", func() bool { return w.complete() == 3 })
	w.check(3)
	get := func(path string) string {
		r, err := http.Get(gateway + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body) //nolint:errcheck // for a test to look at
		return string(b)
	}
	w.until("/readyz naming the archive", func() bool { return strings.Contains(get("/readyz"), `"archive":"the oldest of`) })
	if m := get("/metrics"); !strings.Contains(m, "beat_archive_alert 1") || !strings.Contains(m, "beat_archive_lag_seconds ") {
		t.Error("metrics have no alert")
	}
	w.startS3(addr)
	w.until("the end of the alert", func() bool {
		h, err := a.archive.Health(t.Context())
		return err == nil && h.Behind == 0 && strings.Contains(get("/readyz"), `"ready":true`)
	})
	if got := len(raws(t, a)); got != 9 {
		t.Errorf("%d answers, want 9", got)
	}
}
