package main

import (
	"log/slog"
	"os"
	"sync"
	"time"
)

// A reread is what files say, read again once one of them has changed: so a
// certificate or a token is replaced without a restart. What cannot be read is
// logged once, and what was read before it counts on.
type reread[T any] struct {
	lg    *slog.Logger
	files []string
	read  func() (T, error)

	mu     sync.Mutex
	looked time.Time
	seen   []fileState
	value  T
}

// fileState is a file as it was seen.
type fileState struct {
	size  int64
	mtime time.Time
}

// lookEvery bounds how often files are looked at.
const lookEvery = time.Second

// newReread reads for the first time, which has to succeed.
func newReread[T any](lg *slog.Logger, read func() (T, error), files ...string) (*reread[T], error) {
	r := &reread[T]{lg: lg, files: files, read: read, looked: time.Now()}
	r.seen = r.look()
	var err error
	r.value, err = read()
	return r, err
}

// look comes before reading: a change in between is seen the next time.
func (r *reread[T]) look() []fileState {
	out := make([]fileState, len(r.files))
	for i, f := range r.files {
		if s, err := os.Stat(f); err == nil {
			out[i] = fileState{s.Size(), s.ModTime()}
		}
	}
	return out
}

// get is the newest that could be read.
func (r *reread[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < lookEvery {
		return r.value
	}
	r.looked = time.Now()
	now := r.look()
	same := true
	for i := range now {
		same = same && now[i].size == r.seen[i].size && now[i].mtime.Equal(r.seen[i].mtime)
	}
	if same {
		return r.value
	}
	r.seen = now
	value, err := r.read()
	if err != nil {
		r.lg.Error("changed file not used, what it said before counts on", "files", r.files, "err", err)
		return r.value
	}
	r.lg.Info("changed file read", "files", r.files)
	r.value = value
	return value
}
