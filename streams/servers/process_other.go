//go:build unix && !linux

package servers

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func sysProcAttr(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// guard starts a shell that signals pid when we are gone: only we hold the
// other end of the pipe it reads. The returned func ends it.
func guard(pid int, quit syscall.Signal) func() {
	sh := exec.Command("/bin/sh", "-c", `read x; kill -"$1" "$2"; sleep 2; kill -9 -"$2"`, "sh", strconv.Itoa(int(quit)), strconv.Itoa(pid))
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not reached by an interrupt from the terminal
	in, err := sh.StdinPipe()
	if err != nil {
		return func() {}
	}
	if err := sh.Start(); err != nil {
		return func() {}
	}
	return func() {
		_ = sh.Process.Kill()
		_ = in.Close()
		_ = sh.Wait()
	}
}

// nodes lists all processes of the machine that are not zombies.
func nodes() ([]node, error) {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=,stat=,time=").Output()
	if err != nil {
		return nil, err
	}
	var all []node
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 4 || strings.HasPrefix(f[2], "Z") {
			continue
		}
		var n node
		n.pid, _ = strconv.Atoi(f[0])
		n.ppid, _ = strconv.Atoi(f[1])
		n.cpu = psTime(f[3])
		all = append(all, n)
	}
	return all, nil
}

// psTime reads [[days-]hours:]minutes:seconds[.fraction].
func psTime(s string) time.Duration {
	var days float64
	if d, rest, ok := strings.Cut(s, "-"); ok {
		days, _ = strconv.ParseFloat(d, 64)
		s = rest
	}
	var sec float64
	for part := range strings.SplitSeq(s, ":") {
		v, _ := strconv.ParseFloat(part, 64)
		sec = sec*60 + v
	}
	return time.Duration((days*24*3600 + sec) * float64(time.Second))
}

func exists(n node) bool {
	return syscall.Kill(n.pid, 0) != syscall.ESRCH
}
