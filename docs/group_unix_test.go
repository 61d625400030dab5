//go:build unix

package docs_test

import (
	"os/exec"
	"syscall"
)

// group lets the end of cmd end all processes that it starts.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}
