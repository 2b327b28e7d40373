package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"beat/providers"
	"beat/providers/sandbox"
	"beat/streams/replay"
	"beat/streams/snapshot"
)

// W8.6: answers are saved where they are, under a mask, and loaded by a system of its
// own. There the parsers of the next release are compared with those of now, by field,
// before it is out.
func TestW8_6StagingOnASnapshot(t *testing.T) {
	const n = 120
	production := newWorld(t, localConfig{sources: sandbox.All})
	production.ingest(days(t, production, n), fixed)
	path := filepath.Join(t.TempDir(), "answers.zst")
	beat := func(w *world, code int, args ...string) string {
		t.Helper()
		w.forCommands()
		var out, errs bytes.Buffer
		if got := run(context.Background(), args, &out, &errs); got != code {
			t.Errorf("beat %v: exit code %d, want %d: %s", args, got, code, errs.String())
		}
		if args[len(args)-1] == "--json" {
			return out.String()
		}
		return out.String() + errs.String()
	}
	var saved snapshot.Saved
	if err := json.Unmarshal([]byte(beat(production, 0, "snapshot", "save", path, "--json")), &saved); err != nil || saved.Answers != n || len(saved.By) != 4 || len(saved.Left) != 0 {
		t.Fatalf("saved: %+v, %v", saved, err)
	}
	if text := beat(production, 2, "snapshot", "save", path); !strings.Contains(text, "is there already") {
		t.Errorf("saved over a file: %s", text)
	}

	// Nobody can be told by it.
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := production.db.Query(t.Context(), `
		SELECT unnest(ARRAY[handle, full_name, biography, profile_id, fbid, profile_pic_url]) FROM instagram_account
		UNION SELECT unnest(ARRAY[shortcode, post_id, caption, thumbnail_url, display_url]) FROM instagram_post`)
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for rows.Next() {
		var secret *string
		if err := rows.Scan(&secret); err != nil {
			t.Fatal(err)
		}
		if secret == nil || len(*secret) < 5 {
			continue
		}
		looked++
		if quoted, _ := json.Marshal(*secret); bytes.Contains(text, quoted[1:len(quoted)-1]) {
			t.Errorf("%q can be read in the snapshot", *secret)
		}
	}
	if err := rows.Err(); err != nil || looked < 5*n/20 {
		t.Fatalf("looked for %d texts, %v", looked, err)
	}

	// On the other system, with the parsers of now, it makes what there is here, but
	// for names; nothing is asked, no task is made.
	staging := newWorld(t, localConfig{sources: sandbox.All})
	set := providerTable(func(source string) string { return staging.deps.Endpoint[source] })
	staging.deps.more = []*providers.Provider{fixed(set["graphapi"])}
	asked := staging.box.Stats()
	_, stop := staging.runRoles("projections")
	loaded, _ := staging.replay(&replay.Job{}, replay.Filter{From: path})
	if loaded.Answers != n || loaded.Changed != n || loaded.Unreadable != 0 || len(loaded.Skipped) != 0 {
		t.Errorf("loaded: %+v", loaded)
	}
	staging.until("the snapshot is loaded", func() bool { return staging.reached("project") })
	stop()
	for name, sql := range map[string]string{
		"accounts": "SELECT string_agg(x, E'\n' ORDER BY x) FROM (SELECT concat_ws(' ', followers, following, media_count, is_verified, is_private) AS x FROM instagram_account) a",
		"posts":    "SELECT string_agg(x, E'\n' ORDER BY x) FROM (SELECT concat_ws(' ', likes, comments, plays, post_type, publish_time) AS x FROM instagram_post) a",
	} {
		if d := cmp.Diff(strings.Split(production.text(sql), "\n"), strings.Split(staging.text(sql), "\n")); d != "" {
			t.Errorf("%s of the other system (-want +got):\n%s", name, d)
		}
	}
	if n := staging.int("SELECT count(*) FROM scrape_request_log"); n != 0 || !cmp.Equal(staging.box.Stats(), asked) {
		t.Errorf("%d tasks were made; asked before and now:\n%+v\n%+v", n, asked, staging.box.Stats())
	}

	// The next release has a mistake: it is told by field, and nothing is written.
	staging.deps.more = []*providers.Provider{planted(providerTable(func(source string) string { return staging.deps.Endpoint[source] })["graphapi"])}
	staging.deps.more[0].Parser = 3
	before := staging.writes()
	compared, _ := staging.replay(nil, replay.Filter{From: path})
	graph := saved.By["graphapi fetch_profile_by_handle"]
	counts := map[string]int{}
	for _, f := range compared.Fields {
		counts[f.Kind+" "+f.Name] += f.Changed + f.Added
	}
	if compared.Answers != n || compared.Changed != graph || counts["profile followers"] != graph || counts["profile category"] != graph || counts["post likes"] == 0 {
		t.Errorf("compared: %+v, fields %v, want the %d answers of Graph to differ", compared, counts, graph)
	}
	if staging.writes() != before {
		t.Error("a comparison has written something")
	}
	if same, _ := production.replay(nil, replay.Filter{}); same.Changed != 0 {
		t.Errorf("%d answers changed where they came from", same.Changed)
	}

	if text := beat(production, 2, "replay", "--from", path, "--apply"); !strings.Contains(text, "has no answers and no tasks of its own") {
		t.Errorf("a snapshot was loaded beside what is real: %s", text)
	}

	// By the commands: what is no snapshot is told.
	bad := filepath.Join(t.TempDir(), "bad.zst")
	if err := os.WriteFile(bad, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := beat(staging, 1, "replay", "--from", bad); !strings.Contains(text, "not made by beat snapshot save") {
		t.Errorf("beat replay --from: %s", text)
	}
	if text := beat(staging, 0, "replay", "--from", path, "--source", "lama"); !strings.Contains(text, "nothing was written") || strings.HasPrefix(text, "0 ") {
		t.Errorf("beat replay --from: %s", text)
	}
}
