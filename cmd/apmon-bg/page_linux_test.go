package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/apmon/apmontest"
)

// listening returns the number of TCP sockets on which a process listens.
func listening(t *testing.T, pid int) (n int) {
	t.Helper()
	own := map[string]bool{}
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, file := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, file))
		must(t, err)
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && own[f[9]] {
				n++
			}
		}
	}
	return n
}

// Nothing listens unless --http is given.
func TestNoPageWithoutFlag(t *testing.T) {
	t.Parallel()
	recv := apmontest.New(t)
	p := start(t, nil, "-d", recv.Addr(), "--interval", "1")
	recv.WaitFor(reports(2, "", "load1"))
	if n := listening(t, p.Process.Pid); n != 0 {
		t.Errorf("%d sockets listen", n)
	}
	q := start(t, nil, "-d", recv.Addr(), "--http", "0")
	q.pageAt()
	if n := listening(t, q.Process.Pid); n != 1 {
		t.Errorf("%d sockets listen with --http", n)
	}
}
