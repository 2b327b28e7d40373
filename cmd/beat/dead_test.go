package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"beat/processors"
	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/bus"
	"beat/streams/dead"
	"beat/streams/schedule"
	"beat/streams/social"
)

// beat runs a command against the world's servers.
func (w *world) beat(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	if args[1] == "redrive" {
		args = append(args, "--pg-url", w.deps.PGURL)
	}
	code = run(ctx, append(args, "--nats-url", w.deps.NATSURL), &out, &errs)
	return code, out.String(), errs.String()
}

// must is beat for what has to work, and reads its JSON into v.
func (w *world) must(v any, args ...string) {
	w.t.Helper()
	code, out, errs := w.beat(w.t.Context(), append(args, "--json")...)
	if code != 0 {
		w.t.Fatalf("beat %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		w.t.Fatalf("beat %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (w *world) letters(args ...string) (ls []dead.Letter) {
	w.t.Helper()
	w.must(&ls, append([]string{"dead", "list", "--each"}, args...)...)
	return ls
}

// plant stores letters as a stage would.
func (w *world) plant(a *app, outs ...bus.Out) {
	w.t.Helper()
	if err := a.pub.Send(w.t.Context(), outs...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) task(flow, params string) int64 {
	w.t.Helper()
	e, err := w.queue.Enqueue(w.t.Context(), schedule.Request{Flow: flow, Platform: social.Instagram, Params: json.RawMessage(params)})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.ID
}

func (w *world) ends(id int64, status string) taskRow {
	w.t.Helper()
	var row taskRow
	w.until(fmt.Sprintf("task %d as %s", id, status), func() bool {
		var err error
		row, err = readTask(w.t.Context(), w.db, id)
		return err == nil && row.Status == status
	})
	return row
}

// unjudged lets answers through to the parsers, which turn down by themselves
// what is not as they want it: such answers become dead letters.
func (w *world) unjudged() {
	for _, p := range providerTable(func(source string) string { return w.deps.Endpoint[source] }) {
		for fetch, c := range p.Calls {
			c.Judge = func(social.Ask, providers.Answer) *providers.Error { return nil }
			p.Calls[fetch] = c
		}
		w.deps.more = append(w.deps.more, p)
	}
}

// A task that failed because nobody could read its answers is redriven: once
// in vain, which is a failure of its own, then with a corrected body.
func TestDeadRedriveEndsTheTask(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.unjudged()
	a := w.runAll()
	fault := w.box.Inject(sandbox.Fault{Kind: "wrongtype"})
	id := w.task("refresh_profile_by_handle", `{"handle":"creator00001"}`)
	row := w.ends(id, social.Failed)
	if !strings.HasPrefix(deref(row.Data), "(") {
		t.Errorf("data: %q", deref(row.Data))
	}
	ls := w.letters("--task", fmt.Sprint(id))
	if len(ls) == 0 {
		t.Fatal("no letters")
	}
	last := ls[0]
	if last.Parser == 0 || last.RawID == "" || last.RawSeq == 0 || last.Source == "" || last.Flow != "refresh_profile_by_handle" ||
		last.Cause != "malformed" || last.Attempts != 1 || last.Error == "" {
		t.Errorf("letter: %+v", last)
	}
	w.box.Clear(fault)

	// The bytes are as bad as before, so it fails again, at once and visibly.
	var r deadReport
	w.must(&r, "dead", "redrive", fmt.Sprint(last.Seq))
	if r.Counts[dead.Reopened] != 1 {
		t.Fatalf("redrive: %+v", r)
	}
	w.until("a new letter", func() bool {
		ls := w.letters("--task", fmt.Sprint(id))
		return len(ls) > 0 && ls[0].Seq > last.Seq
	})
	w.ends(id, social.Failed)
	again := w.letters("--task", fmt.Sprint(id))[0]
	if again.Redriven != 1 || again.Fingerprint != last.Fingerprint || again.Fence <= last.Fence {
		t.Errorf("second letter: %+v", again)
	}

	// What the provider says when it is well, under the same ask.
	good := w.answer(a, again)
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(&r, "dead", "redrive", fmt.Sprint(again.Seq), "--data", file)
	if r.Counts[dead.Reopened] != 1 {
		t.Fatalf("redrive with another body: %+v", r)
	}
	w.ends(id, social.Complete)
	w.check(1)
	if got := w.int("SELECT count(*) FROM profile_log WHERE raw_id = $1", last.RawID); got != 1 {
		t.Errorf("observations of the redriven answer: got %d, want 1", got)
	}
	if got := w.int("SELECT coalesce(retry_count, 0) FROM scrape_request_log WHERE id = $1", id); got != 0 {
		t.Errorf("retry count: %d", got)
	}

	// What is left of the first run has data to give at most.
	for _, l := range w.letters() {
		w.must(&r, "dead", "redrive", fmt.Sprint(l.Seq))
		if r.Counts[dead.DataOnly] != 1 {
			t.Errorf("letter %d: %+v", l.Seq, r)
		}
	}
	w.ends(id, social.Complete)
	w.until("no run in progress", func() bool { return w.int("SELECT count(*) FROM task_progress") == 0 })
}

// answer is what the source of l says when it is well, to the same ask.
func (w *world) answer(a *app, l dead.Letter) []byte {
	w.t.Helper()
	s, err := a.js.Stream(w.t.Context(), bus.Raw)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := s.GetMsg(w.t.Context(), l.RawSeq)
	if err != nil {
		w.t.Fatal(err)
	}
	_, ask, err := processors.ReadRaw(m.Header)
	if err != nil {
		w.t.Fatal(err)
	}
	cred := providers.Credential{Source: l.Source, Fields: map[string]providers.Secret{}}
	var fields json.RawMessage
	if err := w.db.QueryRow(w.t.Context(), "SELECT credentials FROM credential WHERE source = $1 LIMIT 1", l.Source).Scan(&fields); err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(fields, &cred.Fields); err != nil {
		w.t.Fatal(err)
	}
	p := a.set[l.Source]
	q, err := p.Calls[ask.Fetch].Request(cred, ask)
	if err != nil {
		w.t.Fatal(err)
	}
	ans, err := providers.NewClient(providers.ClientConfig{}).Do(w.t.Context(), p.BaseURL, q)
	if err != nil || ans.Status != 200 {
		w.t.Fatalf("%s answers %d, %v", l.Source, ans.Status, err)
	}
	return ans.Body
}

// Nothing is changed without being asked for, and mistakes say what to do.
func TestDeadChoice(t *testing.T) {
	w := newWorld(t, localConfig{})
	a, stop := w.runRoles()
	defer stop()
	const n = few + 5
	for i := range n {
		m := &bus.Msg{Stream: bus.Raw, Seq: uint64(i + 1), Subject: "beat.raw.instagram.graphapi.fetch_profile_by_handle", Delivered: 1,
			Header: nats.Header{bus.HeaderSource: {"graphapi"}}, Data: []byte(`{"a":1}`)}
		w.plant(a, bus.Letter(m, "parse", "malformed", fmt.Errorf("item %d: no id", i), bus.ReadBy(3)))
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"redrive of all by accident", []string{"redrive"}, 2, "--all"},
		{"drop of all by accident", []string{"drop"}, 2, "--all"},
		{"no such age", []string{"list", "--since", "soon"}, 2, `--since "soon"`},
		{"no such letter", []string{"drop", "4711"}, 1, "there is no dead letter 4711"},
		{"no such letter to show", []string{"show", "4711"}, 1, "there is no dead letter 4711"},
		{"a body for many", []string{"redrive", "--cause", "malformed", "--data", "x"}, 2, "--data"},
		{"a body that is not there", []string{"redrive", "1", "--data", "/nowhere/x"}, 2, "--data"},
		{"nothing chosen", []string{"drop", "--cause", "panic"}, 0, "nothing to do"},
		{"dry run of many", []string{"drop", "--all", "--dry-run"}, 0, "dry run, nothing is changed: 25 dropped"},
		{"dry run of one", []string{"redrive", "3", "--dry-run"}, 0, "letter 3: sent again\ndry run, nothing is changed: 1 sent"},
		{"groups", []string{"list"}, 0, "no id"},
		{"each, up to a limit", []string{"list", "--each", "--limit", "2"}, 0, "2 of 25 lines"},
		{"from an hour ago", []string{"list", "--until", "1h"}, 0, "no dead letters"},
	} {
		code, out, errs := w.beat(t.Context(), append([]string{"dead"}, c.args...)...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit code %d, want %d; it says %s%s, want %q in it", c.name, code, c.code, out, errs, c.says)
		}
	}
	var gs []dead.Group
	w.must(&gs, "dead", "list", "--source", "graphapi", "--since", "1h")
	if len(gs) != 1 || gs[0].Count != n {
		t.Fatalf("groups: %+v", gs)
	}

	// Interrupted, it says how far it came, and has come no further.
	ctx, cancel := context.WithCancel(t.Context())
	g := &globals{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
	box, err := dead.Open(t.Context(), a.js)
	if err != nil {
		t.Fatal(err)
	}
	err = each(ctx, g, w.letters(), "dropped", func(ctx context.Context, l dead.Letter) (dead.Result, error) {
		if l.Seq == n-2 {
			cancel()
		}
		return dead.Result{Seq: l.Seq, Outcome: dropped}, box.Drop(ctx, l.Seq)
	})
	if err == nil || !strings.Contains(err.Error(), "interrupted: 3 of 25 letters dropped") {
		t.Errorf("interrupted: %v", err)
	}
	if got := len(w.letters()); got != n-3 {
		t.Errorf("%d letters left, want %d", got, n-3)
	}
	var r deadReport
	w.must(&r, "dead", "drop", "1", "2", "--cause", "malformed")
	if r.Matched != 2 || r.Counts[dropped] != 2 || len(w.letters()) != n-5 {
		t.Errorf("drop by number: %+v", r)
	}
	w.must(&r, "dead", "drop", "--fingerprint", gs[0].Fingerprint)
	if len(w.letters()) != 0 {
		t.Errorf("drop by fingerprint: %+v", r)
	}
}

// Many at once: tasks whose first ask is dead go on, all of them.
func TestDeadRedriveMany(t *testing.T) {
	w := newWorld(t, localConfig{})
	a := w.runAll()
	const n = few + 10
	for i := range n {
		ref := social.TaskRef{Flow: "refresh_profile_by_handle", Platform: social.Instagram}
		handle := fmt.Sprintf("creator%05d", i+1)
		if err := w.db.QueryRow(t.Context(), `
INSERT INTO scrape_request_log (flow, platform, params, status, fence)
VALUES ($1, 'INSTAGRAM', jsonb_build_object('handle', $2::text), 'FAILED', nextval('beat_fence_seq')) RETURNING id, fence`, ref.Flow, handle).Scan(&ref.ID, &ref.Fence); err != nil {
			t.Fatal(err)
		}
		o, err := schedule.AskOut(social.Ask{Task: ref, Fetch: social.ProfileByHandle, Keys: []string{handle}, State: social.State{Handle: handle}})
		if err != nil {
			t.Fatal(err)
		}
		m := &bus.Msg{Stream: bus.Tasks, Seq: uint64(i + 1), Subject: o.Subject, Data: o.Data, Delivered: 8}
		w.plant(a, bus.Letter(m, "retrieve-"+ref.Flow, bus.CauseRetries, errors.New("no route")))
	}
	var r deadReport
	w.must(&r, "dead", "redrive", "--stage", "retrieve", "--dry-run")
	if !r.DryRun || r.Counts[dead.Reopened] != n || len(w.letters()) != n || w.int("SELECT count(*) FROM scrape_request_log WHERE status = 'FAILED'") != n {
		t.Errorf("dry run: %+v", r.Counts)
	}
	code, out, errs := w.beat(t.Context(), "dead", "redrive", "--cause", "retries")
	if want := fmt.Sprintf("%d reopened\n", n); code != 0 || out != want {
		t.Errorf("exit code %d, it says %q %s, want %q", code, out, errs, want)
	}
	w.until("completion", func() bool { return w.complete() == n })
	w.check(n)
	if got := len(w.letters()); got != 0 {
		t.Errorf("%d letters left", got)
	}
}

// The bus names the headers of a raw answer by itself, since it knows no stage.
func TestDeadHeadersAreThoseOfAnswers(t *testing.T) {
	for got, want := range map[string]string{
		bus.HeaderAsk: processors.HeaderAsk, bus.HeaderSource: processors.HeaderSource, bus.HeaderRawID: processors.HeaderRawID,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDeadBodyFromStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	t.Cleanup(func() { os.Stdin = stdin })
	if _, err := w.WriteString("body"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got, err := readBody("-"); err != nil || string(got) != "body" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Whatever a body and its headers hold, no secret is shown.
func TestDeadShow(t *testing.T) {
	w := newWorld(t, localConfig{})
	a, stop := w.runRoles()
	defer stop()
	for _, c := range []struct {
		name, body, kind string
		shows            []string
	}{
		{"JSON", `{"b":{"access_token":"geheim1","key":"followers"},"a":[12345678901234567890,"https://x.test/p?access_token=geheim2&after=abc"]}`,
			"json", []string{"{\n  \"a\": [\n    12345678901234567890,", `access_token=***&after=abc`, `"key": "followers"`}},
		{"half an answer", `{"paging":{"next":"https://x.test/p?limit=3&access_token=geheim3","api_key":"geheim4","n`, "text", []string{"paging", "limit=3"}},
		{"binary", "\x00\x01\xff", "hex", []string{"00 01 ff"}},
		{"long", `"` + strings.Repeat("x", maxShown) + `"`, "json", []string{fmt.Sprintf("… %d of %d bytes; --full", maxShown, maxShown+2)}},
		{"empty", "", "text", []string{"0 bytes"}},
	} {
		m := &bus.Msg{Stream: bus.Raw, Seq: 1, Subject: "beat.raw.x.y.z", Delivered: 1, Data: []byte(c.body),
			Header: nats.Header{bus.HeaderSource: {"y"}, "Beat-Trace": {`{"uri":"https://x.test/?token=geheim5","headers":{"X-Api-Key":"geheim6"}}`}}}
		o := bus.Letter(m, "parse", "malformed", errors.New("no id"), bus.ReadBy(3))
		o.ID = ""
		w.plant(a, o)
		seq := fmt.Sprint(w.letters()[0].Seq)
		for _, flag := range []string{"", "--full", "--json"} {
			args := []string{"dead", "show", seq}
			if flag != "" {
				args = append(args, flag)
			}
			code, out, errs := w.beat(t.Context(), args...)
			if code != 0 || strings.Contains(out+errs, "geheim") {
				t.Errorf("%s %s: exit code %d, or a secret is shown: %s%s", c.name, flag, code, out, errs)
			}
			if flag != "" {
				continue
			}
			for _, want := range append(c.shows, c.kind, "malformed", "no id", "beat.raw.x.y.z") {
				if !strings.Contains(out, want) {
					t.Errorf("%s: want %q in\n%s", c.name, want, clip(out, 3000))
				}
			}
		}
	}
}

// A task that has been run again meanwhile takes the data of its letter, and
// nothing else.
func TestDeadRedriveOfATaskRunAgain(t *testing.T) {
	w := newWorld(t, localConfig{})
	w.unjudged()
	a := w.runAll()
	fault := w.box.Inject(sandbox.Fault{Kind: "wrongtype"})
	id := w.task("refresh_profile_by_handle", `{"handle":"creator00001"}`)
	w.ends(id, social.Failed)
	letter := w.letters("--task", fmt.Sprint(id))[0]
	good := filepath.Join(t.TempDir(), "body")
	w.box.Clear(fault)
	if err := os.WriteFile(good, w.answer(a, letter), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.Exec(t.Context(), "UPDATE scrape_request_log SET status = 'PENDING', data = NULL WHERE id = $1", id); err != nil {
		t.Fatal(err)
	}
	w.ends(id, social.Complete)
	fence := w.int("SELECT fence::int FROM scrape_request_log WHERE id = $1", id)
	asked := w.box.Stats().Total
	var r deadReport
	w.must(&r, "dead", "redrive", fmt.Sprint(letter.Seq), "--data", good)
	if r.Counts[dead.DataOnly] != 1 || r.Results[0].Status != social.Complete {
		t.Fatalf("got %+v", r)
	}
	w.until("the data of the letter", func() bool { return w.int("SELECT count(*) FROM profile_log WHERE raw_id = $1", letter.RawID) == 1 })
	w.until("no run in progress", func() bool { return w.int("SELECT count(*) FROM task_progress") == 0 })
	if got := w.int("SELECT fence::int FROM scrape_request_log WHERE id = $1 AND status = 'COMPLETE'", id); got != fence {
		t.Errorf("fence of the completed task: got %d, want %d", got, fence)
	}
	if got := w.box.Stats().Total; got != asked {
		t.Errorf("%d calls by a letter of no run", got-asked)
	}
}
