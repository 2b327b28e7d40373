package s3d_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"beat/streams/objects"
	"beat/streams/servers/s3d"
)

func open(t *testing.T, url, bucket string) *objects.Store {
	t.Helper()
	s, err := objects.Open(t.Context(), objects.Config{Endpoint: url, Bucket: bucket, Prefix: "/a/b/", AccessKey: "key", SecretKey: "geheim-secret", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// All that objects.Store does, against the server; which keeps it over a restart.
func TestStore(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	srv, err := s3d.Start(s3d.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	s := open(t, srv.URL, "bucket")
	if err := s.Check(ctx); err == nil {
		t.Error("check of a bucket that is not there: no error")
	}
	for range 2 {
		if err := s.MakeBucket(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, key := range []string{"x/1", "x/2", "x/y/3", "z"} {
		if err := s.Put(ctx, key, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(ctx, "z", data[:7]); err != nil {
		t.Fatal(err)
	}
	if file, err := os.ReadFile(filepath.Join(srv.Dir, "bucket", "a", "b", "z")); err != nil || string(file) != "0123456" {
		t.Errorf("file of z: %q, %v", file, err)
	}
	srv.Stop()
	if _, err := s.Get(ctx, "z"); err == nil || errors.Is(err, objects.ErrNotFound) {
		t.Errorf("get from nobody: %v", err)
	}
	if srv, err = s3d.Start(s3d.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	s = open(t, srv.URL, "bucket")

	if got, err := s.Get(ctx, "x/1"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("get: %d bytes, %v", len(got), err)
	}
	if got, err := s.Range(ctx, "x/1", 999_990, 10); err != nil || string(got) != "0123456789" {
		t.Errorf("range: %q, %v", got, err)
	}
	for _, off := range []int64{999_995, 2_000_000} {
		if _, err := s.Range(ctx, "x/1", off, 10); !errors.Is(err, objects.ErrShort) {
			t.Errorf("range from %d: %v, want ErrShort", off, err)
		}
	}
	if n, err := s.Size(ctx, "x/1"); err != nil || n != 1_000_000 {
		t.Errorf("size: %d, %v", n, err)
	}
	if err := s.Delete(ctx, "x/2"); err != nil {
		t.Error(err)
	}
	if err := s.Delete(ctx, "x/2"); err != nil {
		t.Errorf("delete of what is gone: %v", err)
	}
	for name, f := range map[string]func() error{
		"get":   func() error { _, err := s.Get(ctx, "x/2"); return err },
		"range": func() error { _, err := s.Range(ctx, "x/2", 0, 5); return err },
		"size":  func() error { _, err := s.Size(ctx, "x/2"); return err },
	} {
		if err := f(); !errors.Is(err, objects.ErrNotFound) {
			t.Errorf("%s of what is gone: %v, want ErrNotFound", name, err)
		}
	}
	var keys, folders []string
	for k, err := range s.List(ctx, "x/") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	for k, err := range s.Folders(ctx, "x/") {
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, k)
	}
	if d := cmp.Diff([]string{"x/1", "x/y/3"}, keys) + cmp.Diff([]string{"x/y"}, folders); d != "" {
		t.Errorf("list (-want +got): %s", d)
	}
	for _, err := range open(t, srv.URL, "nobucket").List(ctx, "") {
		if err == nil {
			t.Error("list of a bucket that is not there: no error")
		}
	}
}

// Errors say what and where in a line, without who we are.
func TestErrors(t *testing.T) {
	s := open(t, "http://127.0.0.1:1", "bucket")
	err := s.Put(t.Context(), "x", nil)
	if got, want := fmt.Sprint(err), "objects: put x: dial tcp 127.0.0.1:1: connect: connection refused"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, cfg := range []objects.Config{{}, {Bucket: "b", Endpoint: "nats://x"}, {Bucket: "b", Endpoint: "host:80"}} {
		if _, err := objects.Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}
