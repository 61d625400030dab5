package jobtree

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/testkit"
	"github.com/apmon-go/apmon/procinfo"
)

// The exit code or signal of a job that another part of the program started is known: of
// a zombie, and, on Linux 6.15 and later, of one whose parent was faster.
func TestJobExitCode(t *testing.T) {
	t.Parallel()
	s := liveJobs(t)
	if !s.own {
		t.Skip("no pidfds of these processes")
	}
	for _, tt := range []struct {
		script       string
		wait         bool // the parent waits for it at once
		code, signal procinfo.Value
	}{
		{"read x; exit 7", false, procinfo.Known(7), procinfo.Value{}},
		{"read x; kill -TERM $$", false, procinfo.Value{}, procinfo.Known(15)},
		{"read x; exit 0", false, procinfo.Known(0), procinfo.Value{}},
		{"read x; exit 9", true, procinfo.Known(9), procinfo.Value{}},
	} {
		cmd := exec.Command("/bin/sh", "-c", tt.script)
		in := testkit.StartFed(t, cmd)
		told := make(chan struct{})
		j := addJob(t, s, Options{PIDs: []int{cmd.Process.Pid}, Exited: func() { close(told) }})
		if got := sampleNow(t, j, nil); got.ExitCode.OK || got.ExitSignal.OK {
			t.Errorf("while it runs: %v, %v", got.ExitCode, got.ExitSignal)
		}
		in.Close()
		if tt.wait {
			_ = cmd.Wait()
		}
		waitFor(t, "the exit", told)
		if !tt.wait {
			_ = cmd.Wait()
		}
		got := sampleNow(t, j, nil)
		if tt.wait && !got.ExitCode.OK && !pidfdTellsExit() {
			continue
		}
		if got.ExitCode != tt.code || got.ExitSignal != tt.signal {
			t.Errorf("%s: exit code %v, signal %v", tt.script, got.ExitCode, got.ExitSignal)
		}
		j.Remove()
	}
}

// pidfdTellsExit reports whether the kernel keeps exit codes for pidfds.
func pidfdTellsExit() bool {
	cmd := exec.Command("/bin/true")
	if cmd.Start() != nil {
		return false
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	_ = cmd.Wait()
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	return unix.IoctlPidfdInfo(fd, &info) == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0
}
