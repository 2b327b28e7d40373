package servers

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// homebrew is where Homebrew installs: on Apple silicon, on Intel, on Linux.
var homebrew = []string{"/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"}

// program returns the first of an environment's PATH and the given glob
// patterns that names an executable. Of a pattern's matches, the highest
// version wins.
func program(name string, patterns ...string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			return abs, true
		}
	}
	for _, path := range candidates(patterns) {
		if executable(path) {
			return path, true
		}
	}
	return "", false
}

// candidates expands glob patterns, highest version first within each.
func candidates(patterns []string) []string {
	var all []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		all = append(all, found...)
	}
	return all
}

var number = regexp.MustCompile(`\d+(\.\d+)?`)

// version returns the last number in a path: 15 for /usr/lib/postgresql/15/bin.
func version(path string) float64 {
	found := number.FindAllString(path, -1)
	if len(found) == 0 {
		return 0
	}
	v, _ := strconv.ParseFloat(found[len(found)-1], 64)
	return v
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}

// missing is the error for a program that is not installed.
func missing(name, apt, brew string) error {
	return fmt.Errorf("%s not found: run `make servers`, or install it: apt-get install %s (Debian, Ubuntu), brew install %s (macOS)", name, apt, brew)
}

// environ is the whole environment of a server: nothing of ours that could
// change what it does (PGPORT, RABBITMQ_NODENAME, …).
func environ(home string, extra ...string) []string {
	path := []string{os.Getenv("PATH"), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	for _, dir := range homebrew {
		path = append(path, dir+"/bin:"+dir+"/sbin")
	}
	env := []string{"PATH=" + strings.Trim(strings.Join(path, ":"), ":"), "HOME=" + home, "LANG=C", "TZ=UTC"}
	return append(env, extra...)
}
