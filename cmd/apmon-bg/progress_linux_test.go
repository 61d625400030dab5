package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/procinfo"
)

// The live line is on standard error if that is a terminal and standard output is not. It is
// erased at the end, and nothing else is printed.
func TestExecProgress(t *testing.T) {
	t.Parallel()
	link, out := linked(t), filepath.Join(t.TempDir(), "out")
	term := commandtest.OpenTerminal(t, "sh", "-i")
	term.Expect(`\$ $`)
	term.Enter(link + " exec --no-send --progress -- sh -c 'read x; exit 3' >" + out + "; echo code=$?\n")
	term.Expect(`\x1b7\x1b\[\?7l\x1b\[\d+G\d+s  CPU \d+%, \S+  memory \d+ KiB, max \d+ KiB  1 processes\x1b\[K`)
	term.Enter("\n")
	if got := term.Expect(`(\x1b\[\d+G\x1b\[K\x1b\[\?7h\x1b8)?code=(\d+)\r`); got[1] == "" || got[2] != "3" {
		t.Errorf("at the end: %q", got)
	}
	// On the terminal of the job there is no line.
	term.Enter(link + " exec --no-send --progress -- sleep 1.5; echo co''de=$?\n")
	if got := term.Expect(`de=\$\?\r\n((?s).*)code=0`); got[1] != "" {
		t.Errorf("beside the job: %q", got[1])
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	last := &procinfo.JobSample{At: time.Unix(100, 0), CPUTime: procinfo.Known(10)}
	s := &procinfo.JobSample{At: time.Unix(101, 0), CPUTime: procinfo.Known(12), RunTime: procinfo.Known(75.9), CPUUsage: procinfo.Known(15),
		RSS: procinfo.Known(3 << 20), MaxRSS: procinfo.Known(40 << 20), Processes: procinfo.Known(4)}
	if got, want := progressLine(s, last), "1m15s  CPU 200%, 12s  memory 3072 MiB, max 40 GiB  4 processes"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := progressLine(s, new(procinfo.JobSample)), "1m15s  CPU 15%, 12s  memory 3072 MiB, max 40 GiB  4 processes"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
