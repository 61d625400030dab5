package launch

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// BenchmarkRun measures the overhead of Run for a command that does nothing: the
// difference to a bare fork, exec and wait. "process" is the start of a wrapper that
// calls Run, which includes its own runtime and the test binary.
func BenchmarkRun(b *testing.B) {
	const program = "/bin/true"
	b.Run("bare", func(b *testing.B) {
		attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}
		for b.Loop() {
			pid, err := syscall.ForkExec(program, []string{program}, attr)
			if err != nil {
				b.Fatal(err)
			}
			wait4(pid, 0, nil)
		}
	})
	b.Run("Run", func(b *testing.B) {
		for b.Loop() {
			if r, err := Run(Options{Args: []string{program}}); err != nil || r.Code() != 0 {
				b.Fatal(r, err)
			}
		}
	})
	b.Run("process", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command(self(b), "role=wrapper", "{}", program).Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
