package launch

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
)

// forwarded returns the signals that are forwarded. The runtime ends a program for
// those of the third line, unless they are caught. SIGALRM also comes from a timer
// that was set before this program was executed. SIGXCPU and SIGXFSZ are not
// forwarded: the kernel sends them for limits that this process exceeds itself.
var forwarded = sync.OnceValue(func() []syscall.Signal {
	signals := []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGWINCH,
		syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPWR,
		syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGILL, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV,
	}
	if sig := unix.SignalNum("SIGSTKFLT"); sig != 0 { // some architectures lack it
		signals = append(signals, sig)
	}
	return signals
})

// A sender that signals one process after the other does so at once, unless it has to
// wait for a CPU, for an unknown time.
const (
	settle   = 20 * time.Millisecond   // wait for such a sender if no process waits for a CPU
	patience = 500 * time.Millisecond  // otherwise, at most
	earlier  = 100 * time.Millisecond  // a signal to all may be this old to match, if this process received it too
	answer   = time.Second             // wait for the witness on a busy machine
	grace    = time.Second             // wait for orphans after TERM, and after KILL
	hooks    = 1500 * time.Millisecond // wait for Started and Ended after the end
)

var errNoCommand = errors.New("no command")

// Run runs a command and waits for its end. The error is the reason why the command could
// not be started; the result has the exit code for it. The error wraps [ErrNoRoom] if
// [Exec] may still start the command.
//
// The signals that Run forwards stay caught after its return, so that the caller can
// finish its work: see [Reraise] and [signal.Reset].
func Run(o Options) (Result, error) {
	if len(o.Args) == 0 {
		return Result{ExitCode: 127}, errNoCommand
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	j := job{
		warn:     o.Warn,
		children: make(chan os.Signal, 1),
		signals:  make(chan os.Signal, 64),
		heard:    map[syscall.Signal]hearing{},
		timer:    time.NewTimer(0),
		pause:    time.NewTimer(0),
	}
	j.timer.Stop()
	j.pause.Stop()
	if _, _, err := peek(unix.P_ALL, 0); err == nil {
		j.before = map[int]uint64{}
		for _, pid := range process.Descendants(os.Getpid()) {
			st, _ := process.Stat(pid)
			j.before[pid] = st.Start
		}
	}
	ignored := j.catch()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		o.Warn(fmt.Errorf("orphans cannot be found: %w", err))
	}
	count := newCounter()
	defer count.close()
	created.Wait()
	runtime.LockOSThread() // the kernel ends the witness with this thread
	defer runtime.UnlockOSThread()
	pid, w, cgroupErr, err := start(o.Args, o.CgroupDir, ignored)
	if err != nil {
		unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
		return notStarted(o.Args, err)
	}
	go count.attach(pid, time.Now())
	j.root, j.witness, j.result.witness = pid, w, w.pid
	if cgroupErr != nil {
		o.Warn(fmt.Errorf("cannot start in cgroup %s: %w", o.CgroupDir, cgroupErr))
	}

	ended, done := make(chan Result, 1), make(chan struct{})
	not := append(slices.Collect(maps.Keys(j.before)), w.pid)
	go func() {
		defer close(done)
		if o.Started != nil {
			o.Started(Command{PID: pid, Cgroup: o.CgroupDir != "" && cgroupErr == nil, Exclude: not, CPUTime: count.read})
		}
		if r := <-ended; o.Ended != nil {
			o.Ended(r)
		}
	}()

	j.follow()
	j.dismiss()
	j.result.Ended = time.Now()
	ended <- j.result
	j.until(done, hooks)

	j.reapRoot = true
	if !j.wait(time.Until(j.result.Ended.Add(o.OrphanWait))) && o.KillOrphans {
		j.killOrphans()
	}
	j.result.Orphans = j.left
	return j.result, nil
}

// Release reaps the helper process of [Run], which is a zombie until then:
// getrusage(RUSAGE_CHILDREN) would count it as a part of the command.
func (r Result) Release() {
	if r.witness != 0 {
		wait4(r.witness, unix.WALL, nil)
	}
}

// job is a command that runs.
type job struct {
	root     int
	warn     func(error)
	witness  *witness       // nil after its end
	children chan os.Signal // SIGCHLD
	signals  chan os.Signal

	before map[int]uint64 // descendants of this process from before the start, with their start times

	waiting []arrival // signals that the witness has not reported yet
	timer   *time.Timer
	heard   map[syscall.Signal]hearing // the last report of the witness for each signal

	askedAt time.Time      // when this process received TSTP, zero after CONT
	stopped syscall.Signal // the signal that stopped the command, 0 for none
	pause   *time.Timer    // fires at paused, to stop this process too
	paused  time.Time

	ended    bool // the root has ended
	reapRoot bool // the root may be reaped
	hurry    bool // a signal has ended the wait for orphans
	left     bool // there are children
	result   Result
}

// An arrival is a signal that this process received.
type arrival struct {
	sig   syscall.Signal
	at    time.Time
	asked bool // the witness was asked to report all earlier signals
}

// A hearing is a signal that the witness received.
type hearing struct {
	at   time.Time
	ours bool // this process received it too
}

// catch begins to catch the signals that are forwarded, unless they are ignored, and
// returns the ignored ones.
func (j *job) catch() (ignored uint64) {
	signal.Notify(j.children, syscall.SIGCHLD)
	ignored = ignoredSignals()
	if ignored&bit(syscall.SIGINT) != 0 {
		signal.Ignore(syscall.SIGQUIT)
		ignored |= bit(syscall.SIGQUIT)
	}
	for _, sig := range forwarded() {
		if ignored&bit(sig) == 0 {
			signal.Notify(j.signals, sig)
		}
	}
	return ignored
}

// follow forwards signals and reaps children until the root has ended.
func (j *job) follow() {
	for j.reap(); !j.ended; {
		select {
		case <-j.children:
			j.reap()
		case sig := <-j.signals:
			j.arrived(sig.(syscall.Signal), time.Now())
		case sig, ok := <-j.witnessed():
			switch {
			case !ok:
				j.dismiss()
				j.decide()
			case sig == mark:
				j.decide()
			default:
				j.hear(sig, time.Now())
			}
		case <-j.pause.C:
			j.stopToo()
		case <-j.timer.C:
			j.settled(time.Now())
		}
	}
}

// witnessed returns the channel of the witness, nil after its end.
func (j *job) witnessed() <-chan syscall.Signal {
	if j.witness == nil {
		return nil
	}
	return j.witness.heard
}

// dismiss ends the witness.
func (j *job) dismiss() {
	if j.witness != nil {
		j.witness.end()
		j.witness = nil
	}
}

// arrived handles a signal to this process. The command may have received it too.
func (j *job) arrived(sig syscall.Signal, now time.Time) {
	j.note(sig, now)
	if j.witness == nil {
		j.forward(sig)
		return
	}
	if j.match(sig, now) || slices.ContainsFunc(j.waiting, func(a arrival) bool { return a.sig == sig }) {
		return
	}
	j.waiting = append(j.waiting, arrival{sig: sig, at: now})
	if len(j.waiting) == 1 {
		j.timer.Reset(settle)
	}
}

// hear handles a signal to the witness.
func (j *job) hear(sig syscall.Signal, now time.Time) {
	j.heard[sig] = hearing{at: now}
	j.waiting = slices.DeleteFunc(j.waiting, func(a arrival) bool { return j.match(a.sig, now) })
}

// match reports whether a signal to this process was sent to all, and forwards it if
// the command has left the process group.
func (j *job) match(sig syscall.Signal, now time.Time) bool {
	fresh := func(sig syscall.Signal, ours bool) bool {
		h := j.heard[sig]
		if ours || h.ours {
			return now.Sub(h.at) < earlier
		}
		return now.Sub(h.at) < patience
	}
	// Each of these signals cancels a pending one of the other kind.
	pair := sig == syscall.SIGCONT && fresh(syscall.SIGTSTP, true) || sig == syscall.SIGTSTP && fresh(syscall.SIGCONT, true)
	if !fresh(sig, false) {
		if !pair {
			return false
		}
	} else if h := j.heard[sig]; !h.ours {
		j.heard[sig] = hearing{h.at, true}
	}
	if group, err := unix.Getpgid(j.root); err == nil && group != unix.Getpgrp() {
		j.forward(sig)
	}
	return true
}

// settled asks the witness about the signals whose settle time is over. If the witness
// has not answered in time, settled decides without it.
func (j *job) settled(now time.Time) {
	if slices.ContainsFunc(j.waiting, func(a arrival) bool { return a.asked }) {
		j.decide()
		return
	}
	calm, ask := quiet(), false
	for i := range j.waiting {
		a := &j.waiting[i]
		if d := now.Sub(a.at); d >= patience || d >= settle && calm {
			a.asked, ask = true, true
		}
	}
	if !ask {
		if len(j.waiting) > 0 {
			j.timer.Reset(settle)
		}
		return
	}
	// This system call waits until the kernel has sent a signal to all processes of
	// a group, if it has begun to.
	_ = unix.Setpgid(0, unix.Getpgrp())
	j.witness.ask()
	j.timer.Reset(answer)
}

// note records a signal to stop or to continue.
func (j *job) note(sig syscall.Signal, now time.Time) {
	switch sig {
	case syscall.SIGTSTP:
		j.askedAt = now
	case syscall.SIGCONT:
		j.askedAt = time.Time{}
	default:
		return
	}
	j.stopSoon() // the command may change its state before or after
}

// decide forwards the signals that the witness did not receive.
func (j *job) decide() {
	j.waiting = slices.DeleteFunc(j.waiting, func(a arrival) bool {
		lone := a.asked || j.witness == nil
		if lone {
			j.forward(a.sig)
		}
		return lone
	})
	if j.timer.Stop(); len(j.waiting) > 0 {
		j.timer.Reset(settle)
	}
}

// forward sends a signal to the command. The pid is valid until the command is reaped.
func (j *job) forward(sig syscall.Signal) {
	if err := syscall.Kill(j.root, sig); err != nil {
		j.warn(fmt.Errorf("%v is not forwarded: %w", sig, err))
	}
}

// stopSoon stops this process shortly after the command, unless the command has continued
// by then: a signal to a group reaches one process after the other.
func (j *job) stopSoon() {
	if j.stopped != 0 {
		j.paused = time.Now().Add(settle)
		j.pause.Reset(settle)
	}
}

// stopToo stops this process for job control: if it received TSTP too, or is in the
// foreground of its terminal. A batch system suspends and continues the command
// alone: it would never continue this process.
func (j *job) stopToo() {
	if time.Since(j.paused) > settle {
		j.stopSoon() // this process was stopped and continued in between
		return
	}
	asked := j.stopped == syscall.SIGTSTP && time.Since(j.askedAt) < 10*time.Second
	if j.stopped == 0 || !asked && !foreground() {
		return
	}
	if st, ok := process.Stat(j.root); ok && st.State == 'T' {
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
}

// foreground reports whether this process is in the foreground of its terminal.
func foreground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// reap handles the changes of all children, including adopted orphans. After its end the
// root stays a zombie, and no other child is reaped, until reapRoot is set. Only reap
// waits for children, and it does not see the witness.
func (j *job) reap() {
	for j.reapRoot || !j.ended {
		info, usage, left := j.next()
		if info.pid == 0 {
			j.left = left
			return
		}
		pid := int(info.pid)
		if end := info.code == cldExited || info.code == cldKilled || info.code == cldDumped; pid == j.root && end && !j.reapRoot {
			j.ended = true
			if info.code == cldExited {
				j.result.ExitCode = int(info.status)
			} else {
				j.result.Signal = syscall.Signal(info.status)
			}
			j.result.Root.add(usage)
			j.result.All.add(usage)
			return
		}
		var rusage syscall.Rusage
		status, ok := wait4(pid, syscall.WNOHANG|syscall.WUNTRACED|unix.WCONTINUED, &rusage)
		switch {
		case !ok:
		case status.Stopped() && pid == j.root:
			j.stopped = status.StopSignal()
			j.stopSoon()
		case status.Continued() && pid == j.root:
			j.stopped = 0
		case !status.Exited() && !status.Signaled() || pid == j.root:
		default:
			j.result.All.add(rusage)
		}
	}
}

// next returns a child whose state has changed, without reaping it; pid is 0 for none.
// left reports whether there are any children.
func (j *job) next() (info childInfo, usage syscall.Rusage, left bool) {
	if len(j.before) == 0 {
		info, usage, err := peek(unix.P_ALL, 0)
		return info, usage, err == nil
	}
	// Do not ask for any child: an ended one from before the start would hide the
	// others.
	for _, pid := range j.ownChildren() {
		info, usage, err := peek(unix.P_PID, pid)
		if left = left || err == nil; info.pid != 0 {
			return info, usage, left
		}
	}
	return info, usage, left
}

// ownChildren returns the children except those from before the start.
func (j *job) ownChildren() []int {
	return slices.DeleteFunc(process.Children(os.Getpid()), func(pid int) bool {
		start, was := j.before[pid]
		if !was {
			return false
		}
		st, ok := process.Stat(pid)
		return ok && st.Start == start
	})
}

// until waits for done, for at most d.
func (j *job) until(done <-chan struct{}, d time.Duration) {
	timeout := time.After(d)
	for {
		select {
		case <-done:
			return
		case <-timeout:
			j.warn(fmt.Errorf("the last report takes more than %v: no longer waiting for it", d))
			return
		case sig := <-j.signals:
			j.hurried(sig)
		}
	}
}

// wait reaps until no child is left, for at most d.
func (j *job) wait(d time.Duration) (none bool) {
	timeout := time.After(d)
	for {
		if j.reap(); !j.left {
			return true
		}
		if j.hurry {
			return false
		}
		select {
		case <-timeout:
			return false
		case <-j.children:
		case sig := <-j.signals:
			j.hurried(sig)
		}
	}
}

// hurried handles a signal after the end of the command: a signal to end also ends the
// wait for orphans.
func (j *job) hurried(sig os.Signal) {
	switch sig {
	case syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGTSTP, syscall.SIGWINCH:
	default:
		j.hurry = true
	}
}

// killOrphans ends the children, and their children once this process adopts them.
// Only children receive signals: their pids are valid until they are reaped.
func (j *job) killOrphans() {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		j.hurry = false
		sent := map[int]bool{}
		for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
			for _, pid := range j.ownChildren() {
				if !sent[pid] {
					sent[pid] = true
					syscall.Kill(pid, sig)
					syscall.Kill(pid, syscall.SIGCONT)
				}
			}
			if j.wait(min(50*time.Millisecond, time.Until(deadline))) {
				return
			}
			if j.hurry {
				break
			}
		}
	}
}

// childInfo is the siginfo_t of waitid(2).
type childInfo struct {
	signo, errno, code int32
	_                  [0]uintptr // aligns the rest as a pointer
	pid                int32
	uid                uint32
	status             int32
	_                  [128 - 24]byte
}

const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// peek returns a child, or any child, whose state has changed, without reaping it;
// pid is 0 if no state has changed, and the error is ECHILD if there is no child.
func peek(kind, pid int) (info childInfo, usage syscall.Rusage, err error) {
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, uintptr(kind), uintptr(pid), uintptr(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG|unix.WNOWAIT, uintptr(unsafe.Pointer(&usage)), 0)
		switch errno {
		case 0:
			return info, usage, nil
		case syscall.EINTR:
		default:
			return info, usage, errno
		}
	}
}

// wait4 waits for one child.
func wait4(pid, options int, usage *syscall.Rusage) (status syscall.WaitStatus, ok bool) {
	for {
		got, err := syscall.Wait4(pid, &status, options, usage)
		if err != syscall.EINTR {
			return status, err == nil && got == pid
		}
	}
}

func (u *Usage) add(r syscall.Rusage) {
	u.User += time.Duration(r.Utime.Nano())
	u.System += time.Duration(r.Stime.Nano())
	u.MaxRSS = max(u.MaxRSS, int64(r.Maxrss))
}
