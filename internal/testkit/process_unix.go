//go:build unix

package testkit

import (
	"os/exec"
	"sync"
	"testing"
)

// Sleeper starts a process that waits for the end of its standard input, uses no
// CPU time, and then exits with 3. Its command line holds args. The function end
// ends the process and waits for it; so does the end of the test.
func Sleeper(t testing.TB, args ...string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read x; exit 3", "sh"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
	t.Cleanup(end)
	return cmd.Process.Pid, end
}
