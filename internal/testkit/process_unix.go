//go:build unix

package testkit

import (
	"io"
	"os/exec"
	"strconv"
	"sync"
	"testing"
)

// StartFed starts a command and returns a pipe to its standard input. The end of the test closes
// the pipe and waits for the command.
func StartFed(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() }) // both may be repeated
	return in
}

// StartPiped is like [StartFed], and also returns a pipe from the command's standard output.
func StartPiped(t testing.TB, cmd *exec.Cmd) (in io.WriteCloser, out io.ReadCloser) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return StartFed(t, cmd), out
}

// Sleeper starts a process that waits for the end of its standard input, uses no
// CPU time, and then exits with 3. Its command line holds args. The function end
// ends the process and waits for it; so does the end of the test.
func Sleeper(t testing.TB, args ...string) (pid int, end func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read x; exit 3", "sh"}, args...)...)
	in := StartFed(t, cmd)
	return cmd.Process.Pid, sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
}

// Crowd starts n processes that sleep, cheaply: copies of one shell that wait for the end of
// its standard input. The function end ends them; so does the end of the test.
func Crowd(t testing.TB, n int) (end func()) {
	t.Helper()
	c := exec.Command("/bin/sh", "-c", "exec 3<&0; i=0; while [ $i -lt "+strconv.Itoa(n)+" ]; do { read x; } <&3 & i=$((i+1)); done; exec 3<&-; echo ready; wait")
	in, out := StartPiped(t, c)
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("%d processes cannot be started: %v", n, err)
	}
	return sync.OnceFunc(func() { in.Close(); _ = c.Wait() })
}
