package launch

import (
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reraise ends this process by a signal, as that signal ends any process, but
// without a core dump: the command has left its own. Where the signal does not
// end us, it exits with 128 and its number.
func Reraise(sig syscall.Signal) {
	runtime.LockOSThread() // the mask is a thread's
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // the limit is no limit to a core pattern that is a pipe

	// Nothing but zeros is SIG_DFL without flags, whatever the order of the
	// fields. The runtime has a handler of its own for each signal, which
	// signal.Reset leaves in place.
	var action [64]byte
	const setSize = 8 // 16 on mips, where the call fails and the handler may do
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, setSize, 0, 0)
	var set unix.Sigset_t
	for i := range set.Val {
		set.Val[i]--
	}
	// Everything but this one blocked: what comes now comes too late.
	if n := uint(sig) - 1; n < 64 {
		bits := uint(unsafe.Sizeof(set.Val[0])) * 8
		set.Val[n/bits] &^= 1 << (n % bits)
	}
	unix.PthreadSigmask(unix.SIG_SETMASK, &set, nil)
	unix.Tgkill(unix.Getpid(), unix.Gettid(), sig)

	time.Sleep(time.Second)
	os.Exit(128 + int(sig))
}
