//go:build linux

package powercut_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"beat/streams/bus/natsd/powercut"
)

// TestMain lets the test binary be the process whose power is cut.
func TestMain(m *testing.M) {
	if dir := os.Getenv("POWERCUT_DIR"); dir != "" {
		if err := powercut.Watch(dir, dir+".platter"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		steps(dir)
		p, _ := os.FindProcess(os.Getpid()) //nolint:errcheck // it is this one
		p.Kill()                            //nolint:errcheck // it cannot survive
		select {}
	}
	os.Exit(m.Run())
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(name, text string, flags int, sync bool) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flags, 0o644)
	check(err)
	_, err = f.WriteString(text)
	check(err)
	if sync {
		check(f.Sync())
	}
	check(f.Close())
}

func steps(dir string) {
	at := func(name string) string { return filepath.Join(dir, name) }
	write(at("never"), "x", 0, false)
	write(at("synced"), "one", 0, true)
	write(at("synced"), " two", os.O_APPEND, true)
	write(at("synced"), " three", os.O_APPEND, false)
	check(os.MkdirAll(at("sub/deep"), 0o755))
	write(at("sub/deep/file"), "deep", 0, true)
	write(at("new.tmp"), "state", os.O_SYNC, false)
	check(os.Rename(at("new.tmp"), at("new")))
	write(at("old"), "to be removed", 0, true)
	check(os.Remove(at("old")))
	write(at("tree/a"+""), "", 0, false)
}

// After the power was cut there is what was synced, as it was then.
func TestPowerCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.MkdirAll(filepath.Join(dir, "tree"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"before", "tree/b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("was there"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "POWERCUT_DIR="+dir)
	var says strings.Builder
	cmd.Stderr = &says
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("it was not killed: %v %s", err, says.String())
	}
	got := map[string]string{}
	platter := os.DirFS(dir + ".platter")
	for _, name := range []string{"never", "synced", "sub/deep/file", "new", "new.tmp", "old", "before", "tree/a", "tree/b"} {
		if data, err := os.ReadFile(filepath.Join(dir+".platter", name)); err == nil {
			got[name] = string(data)
		}
	}
	// The removal of old and the rename of new had no fsync after them but that of
	// old itself, which came between.
	want := map[string]string{"synced": "one two", "sub/deep/file": "deep", "new": "state", "old": "to be removed", "before": "was there", "tree/b": "was there"}
	if !maps.Equal(got, want) {
		t.Errorf("on the platter %v: %v\nwant %v: %v", platter, got, slices.Sorted(maps.Keys(want)), want)
	}
}
