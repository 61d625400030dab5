package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// pollerCommand runs apmon-send and fails if the runtime's network poller was started.
const pollerCommand = "apmon-send-poller"

func mainAndPoller() {
	code := run(context.Background(), os.Args, os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	for fd := range 64 { // opening the directory would start the poller
		if target, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); strings.Contains(target, "eventpoll") {
			fmt.Fprintln(os.Stderr, "the poller runs")
			code = 1
		}
	}
	os.Exit(code)
}

// A timer starts the poller and a thread that waits in it, which takes a tenth of the time
// of sending one message.
func TestOneMessageStartsNoPoller(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to list the open files of a process")
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(pollerCommand, "-d", l.LocalAddr().String(), "-c", "C", "-n", "N", "p=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
