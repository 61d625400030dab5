// Package launch runs a command as a batch system, a shell or a terminal would
// if nothing stood between: its descriptors, environment, priority and limits
// untouched, in the same process group, with the signals meant for it, and its
// exit code handed on.
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
// Run is for a process that does nothing else: it reaps whatever child it
// finds, those of os/exec included, and keeps the signals that it forwards.
//
// # Signals
//
// HUP INT QUIT TERM USR1 USR2 CONT TSTP WINCH ALRM VTALRM IO PWR, and the signals of faults (ABRT TRAP
// SYS ILL BUS FPE SEGV STKFLT) when they are sent, are forwarded, unless the command
// got them anyway: what a terminal sends goes to its whole foreground group, and
// a batch system kills a process group, a session or a cgroup. The siginfo of a
// signal names its sender and not whom else it was sent to, and os/signal does
// not even show that. So a second process stands beside us in the process group,
// the witness, which blocks all signals and tells which were sent to it. What it
// got too was sent to everyone and is not forwarded. It may get it after us: where
// nothing waits for a CPU, 20 ms are enough for a sender that goes from process to
// process; else we wait for 500 ms, as the sender may be what waits. What is left:
//
//   - A sender that takes longer looks like one that means us alone: a duplicate.
//   - A sender that picks us and the witness but not the command, as
//     "kill $(pidof apmon-bg)" does, looks like one that means everyone: nothing
//     is forwarded. (pkill and killall do not see the witness: it is called
//     signal-witness.)
//   - A command that left our process group gets everything forwarded, and so
//     does one that is just being started: a duplicate, if it was already there.
//   - A signal to us alone within 100 ms after the same one to everyone is taken
//     for the same.
//   - If the witness is killed, everything is forwarded.
//
// A signal that is ignored when we start stays ignored in the command if it is
// HUP, INT, TSTP, TTIN, TTOU or CONT; QUIT is taken to be ignored where INT is,
// as a shell without job control ignores both in its background commands. Of the
// others the Go runtime forgets what they were before our first line runs; the
// command gets them with their default action.
//
// # Limits
//
// A thread that cannot be created ends a Go program, and so does want of the first
// descriptors: [Prepare] has all that is needed before the command runs, and where
// there is no room for it [Exec] replaces us by the command. Before main the
// runtime needs 6 threads (ulimit -u; 4 with up to 2 CPUs) and 1.5 GB of addresses
// (ulimit -v; most values above 800 MB do).
//
// The runtime also opens /dev/null where a standard descriptor is closed, and
// keeps the first of several environment entries of one name.
package launch

import (
	"syscall"
	"time"
)

// Options say what to run and what to do around it.
type Options struct {
	// Args is the command and its arguments. The command is looked up as
	// execvp(3) does.
	Args []string

	// OrphanWait is how long to wait, after the command has ended, for
	// processes that it left behind. What was our child, or came from one,
	// before the command was started, is none of them; but a process that
	// comes from such a child later, and outlives it, cannot be told from one.
	OrphanWait time.Duration

	// KillOrphans ends those that are still there then: with TERM, a second
	// later with KILL.
	KillOrphans bool

	// CgroupDir is a directory of cgroup v2 to start the command in; "" for
	// ours.
	CgroupDir string

	// Started is called, beside everything else, once the command runs.
	Started func(Command)

	// Ended is called after Started has returned and the command has ended,
	// while it is still a zombie and nothing is reaped. Run waits for the two
	// for at most 1.5 s after the end, and goes on without them.
	Ended func(Result)

	// Warn is called with what went wrong without harm to the command.
	Warn func(error)
}

// A Command is a command that runs.
type Command struct {
	PID    int
	Cgroup bool // it was started in Options.CgroupDir

	// Not are processes that are not the command's though they are, or may
	// become, children of ours: the witness, and what was there before.
	Not []int

	// CPUTime is the CPU time, user and system, of the command and of every
	// process that comes from it, dead or alive, waited for by its parent or
	// not, until Run returns. It comes from inherited perf events, which are
	// attached some 20 ms after the start: what ended before, and was not waited
	// for, is missing. It is false before that, and where the kernel
	// refuses (perf_event_paranoid above 2, seccomp). A program that changes
	// its user (set-user-ID), or that its user may not read, leaves the count
	// with what comes from it.
	CPUTime func() (time.Duration, bool)
}

// A Result is how a command ended.
type Result struct {
	ExitCode int            // 126 if the command cannot be executed, 127 if it is not there
	Signal   syscall.Signal // that ended it, 0 for none
	Root     Usage          // of the command and of the processes it waited for
	All      Usage          // with the orphans that were reaped
	Orphans  bool           // some are left
	Ended    time.Time      // when the command did
}

// Usage is what the kernel counted for processes that have ended: wait4(2).
type Usage struct {
	User, System time.Duration
	MaxRSS       int64 // KB, of the largest single process
}

// Code is the exit code that tells of the end as a shell does: the command's
// own, or 128 and the signal's number.
func (r Result) Code() int {
	if r.Signal != 0 {
		return 128 + int(r.Signal)
	}
	return r.ExitCode
}
