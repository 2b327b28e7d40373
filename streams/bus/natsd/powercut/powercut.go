//go:build linux

// Package powercut keeps what would be left of a process's files if the power went
// out now: of each file what had been synced, and nothing that only the page cache
// had. It is for tests. The process is the real one, and so are its files.
//
// # How
//
// Watch has the kernel hold every fsync, rename and removal of this process, and
// every opening with O_SYNC, until it has been told (seccomp user notification,
// Linux 5.7; no privileges). Before an fsync goes on, the file is copied from the
// folder to the platter, where it replaces the earlier copy in one step. So when
// the fsync returns, the platter has at least what was promised; and when the
// process is killed, at any time, the platter is the disk after a power cut.
//
// # The model
//
// It is that of a journaling file system such as ext4 or XFS. The content of a file
// lasts from its fsync on, with its name. Renames and removals last from the next
// fsync of anything on. A file that was opened with O_SYNC lasts as it is when it
// is renamed, and so does one that replaces another by a rename, which these file
// systems write out first. What was never synced is not there.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/seccomp.h; they are no part of package unix.
const (
	setModeFilter   = 1
	flagTsync       = 1 << 0
	flagNewListener = 1 << 3
	flagTsyncESRCH  = 1 << 4
	retAllow        = 0x7fff0000
	retNotify       = 0x7fc00000
	ioctlRecv       = 0xc0502100
	ioctlSend       = 0xc0182101
	goOn            = 1 // the call is made as if nothing had been
)

type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// Offsets in struct seccomp_data, on a machine of little endian.
const (
	offNr    = 0
	offFlags = 16 + 2*8 // lower half of the third argument, which are openat's flags
)

// filter holds the calls that Go makes for what is watched. The watcher itself
// makes none of them: it renames by renameat2.
func filter() []unix.SockFilter {
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	held := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_RENAMEAT, unix.SYS_UNLINKAT}
	out := []unix.SockFilter{load(offNr)}
	for i, nr := range held { // to the last instruction but none
		out = append(out, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(held) - i + 3)})
	}
	return append(out,
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_OPENAT, Jf: 2},
		load(offFlags),
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.O_SYNC &^ unix.O_DSYNC, Jt: 1},
		unix.SockFilter{Code: unix.BPF_RET, K: retAllow},
		unix.SockFilter{Code: unix.BPF_RET, K: retNotify})
}

// A watcher copies a folder to its platter.
type watcher struct {
	listener    int
	dir         string // absolute, without symbolic links
	platter     string
	trash       string
	gone        int
	synchronous map[string]bool // files that were opened with O_SYNC
	pending     []change        // since the last fsync
}

// A change is a rename, or a removal if it leads nowhere.
type change struct{ from, to string }

// Watch keeps platter as dir would be after a power cut, from now until the process
// ends. Both are folders of one file system; what dir has now is taken for synced.
// It is called once, before anything in dir is opened. What cannot be copied later
// ends the process: the platter would be wrong.
func Watch(dir, platter string) error {
	for _, d := range []string{dir, platter} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("powercut: %w", err)
		}
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	for _, old := range []string{platter, platter + ".trash"} { // of a process before
		if err == nil {
			err = os.RemoveAll(old)
		}
	}
	if err == nil {
		err = os.CopyFS(platter, os.DirFS(dir))
	}
	w := &watcher{dir: dir, platter: platter, trash: platter + ".trash", synchronous: map[string]bool{}}
	if err == nil {
		err = os.MkdirAll(w.trash, 0o755)
	}
	if err != nil {
		return fmt.Errorf("powercut: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("powercut: no new privileges: %w", err)
	}
	rules := filter()
	prog := unix.SockFprog{Len: uint16(len(rules)), Filter: &rules[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, flagTsync|flagTsyncESRCH|flagNewListener, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("powercut: seccomp: %w (needs Linux 5.7)", errno)
	}
	w.listener = int(fd)
	go w.run()
	return nil
}

func (w *watcher) run() {
	for {
		var n notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), ioctlRecv, uintptr(unsafe.Pointer(&n)))
		if errno == unix.EINTR || errno == unix.ENOENT { // it gave up waiting
			continue
		}
		err := error(errno)
		if errno == 0 {
			err = w.handle(&n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "powercut:", err)
			os.Exit(3)
		}
		r := response{id: n.id, flags: goOn}
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(w.listener), ioctlSend, uintptr(unsafe.Pointer(&r)))
		if errno != 0 && errno != unix.ENOENT {
			fmt.Fprintln(os.Stderr, "powercut: answer:", errno)
			os.Exit(3)
		}
	}
}

func (w *watcher) handle(n *notification) error {
	switch n.nr {
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(int32(n.args[0]))))
		if err != nil {
			return nil // it is no file descriptor, which fsync says itself
		}
		if !w.inside(name) {
			return nil
		}
		if err := w.settle(); err != nil {
			return err
		}
		return w.copy(name)
	case unix.SYS_RENAMEAT:
		from, err := path(n.args[0], n.args[1])
		if err != nil {
			return err
		}
		to, err := path(n.args[2], n.args[3])
		if err != nil {
			return err
		}
		if w.inside(from) && w.inside(to) {
			w.pending = append(w.pending, change{from, to})
		}
	case unix.SYS_UNLINKAT:
		name, err := path(n.args[0], n.args[1])
		if err != nil {
			return err
		}
		if w.inside(name) {
			w.pending = append(w.pending, change{name, ""})
		}
	case unix.SYS_OPENAT:
		name, err := path(n.args[0], n.args[1])
		if err != nil {
			return err
		}
		if w.inside(name) {
			w.synchronous[name] = true
		}
	}
	return nil
}

func (w *watcher) inside(name string) bool { return strings.HasPrefix(name, w.dir+"/") }

// on is where a file lies on the platter.
func (w *watcher) on(name string) string {
	return filepath.Join(w.platter, strings.TrimPrefix(name, w.dir))
}

// settle makes the renames and removals last that were made so far.
func (w *watcher) settle() error {
	for _, c := range w.pending {
		switch {
		case c.to == "":
			if _, err := os.Lstat(c.from); err == nil {
				continue // it failed, or was made anew
			}
			if err := w.drop(w.on(c.from)); err != nil {
				return err
			}
		default:
			_, err := os.Lstat(w.on(c.from))
			switch {
			case err == nil && !w.synchronous[c.from]:
				if err := w.move(w.on(c.from), w.on(c.to)); err != nil {
					return err
				}
			default: // as it is now
				if err := w.copy(c.to); err != nil {
					return err
				}
			}
			delete(w.synchronous, c.from)
		}
	}
	w.pending = w.pending[:0]
	return nil
}

// copy puts a file onto the platter as it is now. Of a folder it is the name.
func (w *watcher) copy(name string) error {
	in, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone since
	}
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	to := w.on(name)
	if info.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	part := filepath.Join(w.trash, "part")
	out, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return w.move(part, to)
}

// move renames on the platter, over what is there.
func (w *watcher) move(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) { // folders
		if err = w.drop(to); err == nil {
			err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return nil
}

// drop removes from the platter.
func (w *watcher) drop(name string) error {
	w.gone++
	err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, filepath.Join(w.trash, strconv.Itoa(w.gone)), 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// path is the file that a call names, by a folder's descriptor and a text in the
// memory of this process, whose thread waits.
func path(dirfd, at uint64) (string, error) {
	var buf [4096]byte
	n := 0
	for n < len(buf) && bytes.IndexByte(buf[:n], 0) < 0 { // page by page: the next may not be there
		page := min(len(buf)-n, 4096-int((at+uint64(n))%4096))
		local := []unix.Iovec{{Base: &buf[n]}}
		local[0].SetLen(page)
		got, err := unix.ProcessVMReadv(os.Getpid(), local, []unix.RemoteIovec{{Base: uintptr(at) + uintptr(n), Len: page}}, 0)
		if err != nil {
			return "", fmt.Errorf("read the name of a file: %w", err)
		}
		n += got
	}
	end := bytes.IndexByte(buf[:n], 0)
	if end < 0 {
		return "", errors.New("the name of a file has no end")
	}
	name := string(buf[:end])
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	dir, err := os.Getwd()
	if fd := int32(dirfd); fd != unix.AT_FDCWD {
		dir, err = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd)))
	}
	return filepath.Join(dir, name), err
}
