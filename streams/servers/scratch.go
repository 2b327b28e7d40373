package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Temporary directories are made in one directory per process,
//
//	$TMPDIR/beat-servers-XXXX/owner       held with flock by its process
//	$TMPDIR/beat-servers-XXXX/NAME-XXXX/  one per server
//
// The lock ends with its process, whatever end that was, so a directory whose
// lock is free belongs to nobody and is removed by the next process.
const scratchPrefix = "beat-servers-"

var scratchRoot = sync.OnceValues(func() (string, error) {
	sweep()
	dir, err := os.MkdirTemp("", scratchPrefix)
	if err != nil {
		return "", err
	}
	owner, err := os.Create(filepath.Join(dir, "owner"))
	if err != nil {
		return "", err
	}
	if err := syscall.Flock(int(owner.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	scratchOwner = owner
	return dir, nil
})

// scratchOwner keeps the lock's file from being closed as garbage.
var scratchOwner *os.File

// scratch returns the absolute directory for a server, which exists, and
// whether it is temporary.
func scratch(dir, name string) (abs string, temp bool, err error) {
	if dir != "" {
		if abs, err = filepath.Abs(dir); err != nil {
			return "", false, err
		}
		return abs, false, os.MkdirAll(abs, 0o755)
	}
	root, err := scratchRoot()
	if err != nil {
		return "", false, err
	}
	abs, err = os.MkdirTemp(root, name+"-")
	return abs, true, err
}

// sweep removes what dead processes left behind. It leaves what is younger
// than a minute, which may not be locked yet.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), scratchPrefix+"*"))
	for _, dir := range dirs {
		if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() || time.Since(fi.ModTime()) < time.Minute {
			continue
		}
		owner, err := os.Open(filepath.Join(dir, "owner"))
		if err != nil {
			if os.IsNotExist(err) {
				_ = os.RemoveAll(dir)
			}
			continue
		}
		if syscall.Flock(int(owner.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		owner.Close()
	}
}

// CleanUp removes the directory in which this process made temporary ones. Call
// it last, when all servers have ended; without it, the next process does it.
func CleanUp() error {
	if scratchOwner == nil {
		return nil
	}
	root, err := scratchRoot()
	if err != nil {
		return nil
	}
	return os.RemoveAll(root)
}

// openTo makes every directory above dir enterable by other users. It changes
// only what lies below the directory for temporary files, and otherwise says
// what stands in the way.
func openTo(dir, username string) error {
	tmp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for d := real; ; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err != nil {
			return err
		}
		if fi.Mode().Perm()&0o001 == 0 {
			rel, err := filepath.Rel(tmp, d)
			if err != nil || rel == "." || !filepath.IsLocal(rel) {
				return fmt.Errorf("user %s cannot enter %s: choose another directory (or TMPDIR), or chmod o+x it", username, d)
			}
			if err := os.Chmod(d, fi.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
		if d == filepath.Dir(d) {
			return nil
		}
	}
}

// Ports come from here. The kernel takes ports for outgoing connections from
// 32768 (Linux) or 49152 (macOS) up; a server's port must not be among them, or
// it may be in use when the server restarts.
const firstPort, lastPort = 20000, 29999

func freePort() (int, error) {
	for range 1000 {
		if port := firstPort + rand.IntN(lastPort-firstPort+1); portFree(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d", firstPort, lastPort)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
