// Package launch runs a command as a batch system, a shell or a terminal would run
// it directly: with the same descriptors, environment, priority and limits, in the
// same process group, with the signals that are sent to it, and with its exit code.
//
//	err := launch.Prepare()
//	var r launch.Result
//	if err == nil {
//		r, err = launch.Run(launch.Options{Args: os.Args[1:], OrphanWait: 2 * time.Second})
//	}
//	if errors.Is(err, launch.ErrNoRoom) {
//		launch.Exec("apmon-bg", err.Error(), os.Args[1:]) // does not return
//	}
//	if err != nil {
//		fmt.Fprintln(os.Stderr, "apmon-bg:", err)
//	}
//	os.Exit(r.Code())
//
// Use Run in a process that does nothing else: it reaps all children of the process, also
// those of os/exec, and keeps catching the signals that it forwards. After Run,
// getrusage(RUSAGE_CHILDREN) has grown by what the command and the reaped orphans used;
// [Result.Release] then frees what Run needed.
//
// # Signals
//
// HUP INT QUIT TERM USR1 USR2 CONT TSTP WINCH ALRM VTALRM IO PWR, and the signals of
// faults (ABRT TRAP SYS ILL BUS FPE SEGV STKFLT) if a process sends them, are
// forwarded, unless the command receives them itself: a terminal sends a signal to
// its whole foreground group, and a batch system to a process group, a session or a
// cgroup. The siginfo of a signal names its sender but not the other receivers, and
// os/signal does not show it. Therefore a second process, the witness, runs in the
// process group. It blocks all signals and reports those that are sent to it. A
// signal that reaches the witness too was sent to all and is not forwarded. The
// witness may receive it later than this process: if no process waits for a CPU,
// 20 ms are enough for a sender that signals one process after the other; otherwise
// Run waits for up to 500 ms, because the sender may be waiting. These cases remain:
//
//   - A slower sender seems to signal this process alone: the command receives the
//     signal twice.
//   - A sender that signals this process and the witness but not the command, as
//     "kill $(pidof apmon-bg)" does, seems to signal all: nothing is forwarded.
//     (pkill and killall do not match the witness: its name is signal-witness.)
//   - A command that left the process group, or is being started, receives all signals
//     by forwarding. If it is in the group already when it is started, it receives the
//     signal twice.
//   - A signal to this process alone, within 100 ms after the same signal to all, is
//     not forwarded.
//   - If the witness is killed, all signals are forwarded.
//
// The command ignores HUP, INT, TSTP, TTIN, TTOU and CONT if this process ignored
// them when it started. It ignores QUIT if INT is ignored: a shell without job
// control ignores both in its background commands. The Go runtime replaces the
// initial action of all other signals before main; the command has their default
// action.
//
// # Limits
//
// A Go program ends if it cannot create a thread or its first descriptors.
// [Prepare] creates the necessary ones before the command runs. If the limits leave no
// room for them, call [Exec] to replace this process by the command. Before main, the
// runtime needs 6 threads (ulimit -u; 4 with up to 2 CPUs) and 1.5 GB of addresses
// (ulimit -v; most values above 800 MB are enough).
//
// The runtime also opens /dev/null for a standard descriptor that is closed, and
// keeps the first of several environment entries of one name.
package launch

import (
	"syscall"
	"time"
)

// Options are the command and the settings of Run.
type Options struct {
	// Args is the command and its arguments. The command is looked up as
	// execvp(3) does.
	Args []string

	// OrphanWait is how long Run waits, after the end of the command, for
	// processes that outlive it. Children of this process from before the start,
	// and their descendants of that time, do not count. A process that such a
	// child creates later, and that outlives it, cannot be distinguished from one
	// of the command.
	OrphanWait time.Duration

	// KillOrphans ends the remaining orphans after OrphanWait: with TERM, and
	// 1 s later with KILL. It takes up to 2 s.
	KillOrphans bool

	// CgroupDir is a directory of cgroup v2 to start the command in; "" is the
	// cgroup of this process.
	CgroupDir string

	// Started is called once the command runs, in a goroutine.
	Started func(Command)

	// Ended is called after Started has returned and the command has ended, while
	// it is still a zombie and no process has been reaped. Run waits for Started
	// and Ended for at most 1.5 s after the end, and then continues without them.
	Ended func(Result)

	// Warn is called with errors that do not affect the command.
	Warn func(error)
}

// A Command is a running command.
type Command struct {
	PID    int
	Cgroup bool // it was started in Options.CgroupDir

	// Exclude are processes that do not belong to the command although they are, or
	// may become, children of this process: the witness, and earlier children.
	Exclude []int

	// CPUTime returns the CPU time, user and system, of the command and all its
	// descendants, alive or not, waited for by their parents or not, until Run
	// returns. It comes from inherited perf events, which are attached some 20 ms
	// after the start, or later on a busy machine: descendants that ended before that,
	// and were not waited for, are missing. It returns false if that may matter. It
	// returns 0 and false before that, and if the kernel refuses
	// perf events (perf_event_paranoid above 2, seccomp). A program that changes
	// its user (set-user-ID), or that its user may not read, is no longer counted,
	// nor are its descendants.
	CPUTime func() (time.Duration, bool)
}

// A Result describes the end of a command.
type Result struct {
	ExitCode int            // 126 if the command cannot be executed, 127 if it does not exist
	Signal   syscall.Signal // the signal that ended the command, 0 for none
	Root     Usage          // of the command and the processes it waited for
	All      Usage          // Root and the orphans that were reaped
	Orphans  bool           // some orphans still run
	Ended    time.Time      // when the command ended; zero if it was not started
	witness  int            // the pid of the witness, 0 for none
}

// Usage is the resources that the kernel counted for ended processes: wait4(2).
type Usage struct {
	User, System time.Duration
	MaxRSS       int64 // KB, of the largest single process
}

// Code returns the exit code as a shell reports it: that of the command, or 128 plus the
// number of the signal.
func (r Result) Code() int {
	if r.Signal != 0 {
		return 128 + int(r.Signal)
	}
	return r.ExitCode
}
