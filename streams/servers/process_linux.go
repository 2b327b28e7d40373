package servers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func sysProcAttr(quit syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: quit}
}

// guard has nothing to do: the kernel sends the parent death signal.
func guard(int, syscall.Signal) func() { return func() {} }

// nodes lists all processes of the machine that are not zombies.
func nodes() ([]node, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []node
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if n, err := stat(pid); err == nil {
			all = append(all, n)
		}
	}
	return all, nil
}

var errZombie = errors.New("zombie")

// stat reads /proc/pid/stat; proc(5) gives the numbers of its fields.
func stat(pid int) (node, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return node{}, err
	}
	i := bytes.LastIndexByte(b, ')') // the name before it may hold anything
	if i < 0 {
		return node{}, fmt.Errorf("/proc/%d/stat: no name", pid)
	}
	f := strings.Fields(string(b[i+1:])) // f[0] is field 3
	if len(f) < 20 {
		return node{}, fmt.Errorf("/proc/%d/stat: too few fields", pid)
	}
	if f[0] == "Z" || f[0] == "X" {
		return node{}, errZombie
	}
	n := node{pid: pid, start: f[19]}
	n.ppid, _ = strconv.Atoi(f[1])
	for _, ticks := range f[11:15] { // utime stime cutime cstime, 100 a second for every user of Linux
		t, _ := strconv.ParseInt(ticks, 10, 64)
		n.cpu += time.Duration(t) * 10 * time.Millisecond
	}
	return n, nil
}

// exists says whether n still runs. An orphan that nobody reaps does not.
func exists(n node) bool {
	now, err := stat(n.pid)
	return err == nil && now.start == n.start
}
