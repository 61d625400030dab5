package launch

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reraise ends this process by a signal, without a core dump: the command has left its
// own. If the signal does not end the process, Reraise exits with 128 plus its number.
func Reraise(sig syscall.Signal) {
	runtime.LockOSThread() // the signal mask belongs to the thread
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // the limit does not apply to a core pattern that is a pipe

	// All zeros is SIG_DFL without flags, in any order of the fields. signal.Reset
	// does not remove the runtime's own handlers.
	var action [64]byte
	const setSize = 8 // 16 on mips: there the call fails, and the handler stays
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, setSize, 0, 0)
	var set unix.Sigset_t
	for i := range set.Val {
		set.Val[i]--
	}
	// Block all other signals: one that arrives now must not end the process first.
	if n := uint(sig) - 1; n < 64 {
		bits := uint(unsafe.Sizeof(set.Val[0])) * 8
		set.Val[n/bits] &^= 1 << (n % bits)
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &set, nil)
	unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)

	time.Sleep(time.Second)
	os.Exit(128 + int(sig))
}
