package launch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/internal/testkit"
)

// TestMain makes the test binary also the wrapper and the command: Run reaps every child,
// so it needs a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "role=wrapper":
			wrapper(os.Args[2:])
		case "role=count":
			count()
		case "role=burn":
			burn(os.Args[2:])
		case "role=abandon":
			abandon(os.Args[2:])
		case "role=alarm":
			alarm(os.Args[2:])
		}
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // of the race detector, at the end of each process
	os.Exit(m.Run())
}

// settings are the options of a wrapper, and the file for its results.
type settings struct {
	OrphanWait  time.Duration
	KillOrphans bool
	Cgroup      string
	Reraise     bool
	Hang        bool   // Ended does not return
	Hold        int    // MB
	StartedFile string // created once the command runs
	ResultFile  string
}

type told struct {
	Result   Result
	Reaped   time.Duration // CPU time of all children that Run reaped
	Left     bool          // there are children after Release
	Error    string
	Warnings []string
	Ended    Result
	Zombie   bool // the command was a zombie when Ended was called
	InCgroup bool
	CPU      time.Duration
	CPUAfter time.Duration // the count after Run
}

func wrapper(args []string) {
	var s settings
	if err := json.Unmarshal([]byte(args[0]), &s); err != nil {
		panic(err)
	}
	var t told
	var command Command
	held := make([]byte, s.Hold<<20)
	for i := range held {
		held[i] = 1
	}
	defer runtime.KeepAlive(held)
	before := reaped()
	r, err := Run(Options{
		Args: args[1:], OrphanWait: s.OrphanWait, KillOrphans: s.KillOrphans, CgroupDir: s.Cgroup,
		Started: func(c Command) {
			command = c
			if s.StartedFile != "" {
				os.WriteFile(s.StartedFile, nil, 0o600)
			}
		},
		Ended: func(r Result) {
			if s.Hang {
				select {}
			}
			t.Ended = r
			t.Zombie = state(command.PID) == 'Z'
			t.InCgroup = command.Cgroup
			t.CPU, _ = command.CPUTime()
		},
		Warn: func(err error) { t.Warnings = append(t.Warnings, err.Error()) },
	})
	t.Result, t.Reaped = r, reaped()-before
	if err != nil {
		t.Error = err.Error()
	}
	r.Release()
	_, err = syscall.Wait4(-1, nil, unix.WALL|syscall.WNOHANG, nil)
	t.Left = err != syscall.ECHILD
	if command.CPUTime != nil {
		t.CPUAfter, _ = command.CPUTime()
	}
	if s.ResultFile != "" {
		b, _ := json.Marshal(t)
		if err := os.WriteFile(s.ResultFile, b, 0o600); err != nil {
			panic(err)
		}
	}
	if s.Reraise && r.Signal != 0 {
		Reraise(r.Signal)
	}
	os.Exit(r.Code())
}

// reaped returns the CPU time of the children that this process has reaped.
func reaped() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// count is a command that prints each signal it receives, and ends on USR2.
func count() {
	c := make(chan os.Signal, 100)
	for _, sig := range append(fatal, forwarded()...) {
		signal.Notify(c, sig)
	}
	fmt.Println("ready", os.Getpid())
	for sig := range c {
		fmt.Println(unix.SignalName(sig.(syscall.Signal)))
		if sig == syscall.SIGUSR2 {
			os.Exit(0)
		}
	}
}

// burn uses CPU time and prints the amount.
func burn(args []string) {
	want, _ := time.ParseDuration(args[0])
	var ts unix.Timespec
	buf := make([]byte, 1<<16)
	zero, _ := os.Open("/dev/zero")
	for x := 1; time.Duration(ts.Nano()) < want; unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) {
		if args[1] == "system" {
			zero.Read(buf)
		} else {
			for range 10000 {
				x ^= x << 7
			}
			buf[0] = byte(x)
		}
	}
	fmt.Println(ts.Nano())
	os.Exit(0)
}

// abandon runs a command several times and ignores SIGCHLD, so that the children are
// not waited for.
func abandon(args []string) {
	signal.Ignore(syscall.SIGCHLD)
	n, _ := strconv.Atoi(args[0])
	for range n {
		syscall.ForkExec(args[1], args[1:], &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	}
	wait4(-1, 0, nil) // until there are no children
	os.Exit(0)
}

func self(t testing.TB) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wrapped is a running wrapper.
type wrapped struct {
	*exec.Cmd
	t        testing.TB
	settings settings
	out      *bufio.Reader
}

// wrap makes a wrapper of a command. It leads its own process group, which is killed at
// the end of the test.
func wrap(t testing.TB, s settings, args ...string) *wrapped {
	s.StartedFile = filepath.Join(t.TempDir(), "started")
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t), append([]string{"role=wrapper", string(b)}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	return &wrapped{Cmd: cmd, t: t, settings: s}
}

func (w *wrapped) start() {
	w.t.Helper()
	out, err := w.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	w.out = bufio.NewReader(out)
	if err := w.Start(); err != nil {
		w.t.Fatal(err)
	}
	timer := time.AfterFunc(testkit.Patience, w.killAll)
	w.t.Cleanup(func() {
		timer.Stop()
		w.killAll()
		w.Wait()
	})
}

func (w *wrapped) killAll() { syscall.Kill(-w.Process.Pid, syscall.SIGKILL) }

// line reads a line of the command.
func (w *wrapped) line() string {
	w.t.Helper()
	line, err := w.out.ReadString('\n')
	if err != nil {
		w.t.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// exists reports whether a file exists.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ready waits until the command count runs, and returns its pid.
func (w *wrapped) ready() int {
	w.t.Helper()
	testkit.Eventually(w.t, "started", func() bool { return exists(w.settings.StartedFile) })
	var pid int
	if _, err := fmt.Sscanf(w.line(), "ready %d", &pid); err != nil {
		w.t.Fatal(err)
	}
	return pid
}

// rest reads to the end, and returns the exit code, or minus the signal.
func (w *wrapped) rest() ([]string, int) {
	w.t.Helper()
	b, err := io.ReadAll(w.out)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Wait()
	status := w.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return strings.Fields(string(b)), -int(status.Signal())
	}
	return strings.Fields(string(b)), status.ExitStatus()
}

// endCount sends USR2, which ends the command that counts. The command receives nothing
// else.
func (w *wrapped) endCount() {
	w.t.Helper()
	kill(w.t, w.Process.Pid, syscall.SIGUSR2)
	if rest, code := w.rest(); !slices.Equal(rest, []string{"SIGUSR2"}) || code != 0 {
		w.t.Errorf("then got %v, exit code %d", rest, code)
	}
}

func (w *wrapped) told() (r told) {
	w.t.Helper()
	b, err := os.ReadFile(w.settings.ResultFile)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// state returns the state of a process, 0 for none.
func state(pid int) byte {
	st, _ := process.Stat(pid)
	return st.State
}

// gone reports whether a process has ended, reaped or not.
func gone(pid int) bool { return state(pid) == 0 || state(pid) == 'Z' }

// witnessOf finds the witness of a wrapper.
func witnessOf(t testing.TB, wrapper int) (pid int) {
	t.Helper()
	testkit.Eventually(t, "a witness", func() bool {
		for _, pid = range process.Children(wrapper) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if string(b) == "signal-witness\n" {
				return true
			}
		}
		return false
	})
	return pid
}

func kill(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("%v to %d: %v", sig, pid, err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "echo \"$0\" \"$@\"; exit 9\n", 0o755)
	denied := write("denied", "exit 0\n", 0o644)
	orphaned := write("orphaned", "#!/no/such/shell\n", 0o755)
	other, first := filepath.Join(dir, "other"), filepath.Join(dir, "first")
	for _, d := range []string{other, first} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("first/both", "exit 1\n", 0o644)
	write("other/both", "exit 5\n", 0o755)
	write("first/half", "exit 1\n", 0o644)
	path := "PATH=/no/such/dir:" + denied + ":" + first + ":" + other + ":/usr/bin:/bin"

	for _, test := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"none", []string{"true"}, 0, ""},
		{"its own", []string{"sh", "-c", "exit 3"}, 3, ""},
		{"of a signal", []string{"sh", "-c", "kill -TERM $$"}, 143, ""},
		{"of KILL", []string{"sh", "-c", "kill -KILL $$"}, 137, ""},
		{"not in PATH", []string{"no-such-command"}, 127, ""},
		{"not there", []string{dir + "/no-such-command"}, 127, ""},
		{"without a name", []string{""}, 127, ""},
		{"without its interpreter", []string{orphaned}, 127, ""},
		{"not executable", []string{denied}, 126, ""},
		{"not executable, in PATH", []string{"half"}, 126, ""},
		{"a folder", []string{dir}, 126, ""},
		{"below a file", []string{plain + "/x"}, 126, ""},
		{"a script without #!", []string{plain, "a b", "-c"}, 9, plain + " a b -c"},
		{"executable later in PATH", []string{"both"}, 5, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := wrap(t, settings{ResultFile: filepath.Join(t.TempDir(), "told")}, test.args...)
			w.Env = append(os.Environ(), path)
			w.start()
			out, code := w.rest()
			if got := strings.Join(out, " "); code != test.code || got != test.out {
				t.Errorf("exit code %d, output %q; want %d, %q", code, got, test.code, test.out)
			}
			r := w.told()
			if failed := r.Error != ""; failed != (code == 126 || code == 127) || failed && !strings.HasPrefix(r.Error, test.args[0]+": ") {
				t.Errorf("error %q", r.Error)
			}
			if r.Warnings != nil {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

// A command has the same environment with and without the wrapper.
func TestUntouched(t *testing.T) {
	t.Parallel()
	const show = `pwd; umask; nice; env | sort; ulimit -S -a; ulimit -H -a
		grep -E "^(Sig(Ign|Blk|Cgt|Pnd)|ShdPnd|Cap|NoNewPrivs|Seccomp|THP|Cpus_allowed|CoreDumping)" /proc/self/status
		cat /proc/self/oom_score_adj /proc/self/timerslack_ns /proc/self/cgroup
		ls /proc/self/fd; readlink /proc/self/fd/0 /proc/self/fd/7; cut -d" " -f5-8 /proc/self/stat
		read line; echo "$line"; read line <&7; echo "$line"; echo error >&2; exit 4`
	for name, prelude := range map[string]string{
		"plain":           ``,
		"limits":          `ulimit -S -n 123; ulimit -H -n 4567; ulimit -t 100; umask 027; cd /; renice -n 7 $$ >&2`,
		"nohup":           `trap "" HUP`,
		"background":      `trap "" INT QUIT`,
		"no job control":  `trap "" TSTP TTIN TTOU`,
		"all soft limits": `ulimit -S -n $(ulimit -H -n)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			in := filepath.Join(dir, "in")
			if err := os.WriteFile(in, []byte("one\ntwo\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			run := func(args ...string) (string, string) {
				stdin, err := os.Open(in)
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				var stdout, stderr bytes.Buffer
				cmd := exec.Command("/bin/sh", append([]string{"-c", "exec 7<" + in + "; " + prelude + "\n" + `exec "$@"`, "sh"}, args...)...)
				cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
				cmd.Env = append(os.Environ(), "LAUNCH=a  b", "EMPTY=")
				cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
				var exit *exec.ExitError
				if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
					t.Fatalf("%v: %s", err, stderr.String())
				}
				// The process groups in stat are the pid of the wrapper.
				group := strconv.Itoa(cmd.Process.Pid)
				return strings.ReplaceAll(stdout.String(), group+" "+group, "GROUP SESSION"), stderr.String()
			}
			want, wantErr := run("/bin/sh", "-c", show)
			got, gotErr := run(self(t), "role=wrapper", "{}", "/bin/sh", "-c", show)
			// A shell sets this variable.
			strip := func(s string) string {
				lines := strings.Split(s, "\n")
				return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "_=") }), "\n")
			}
			if strip(got) != strip(want) || !strings.Contains(want, "GROUP SESSION") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if !strings.HasSuffix(gotErr, "error\n") || !strings.HasSuffix(wantErr, "error\n") {
				t.Errorf("standard error %q, want %q", gotErr, wantErr)
			}
		})
	}
}

// names returns the forwarded signals and their names. USR2, which ends the command
// count, is the last.
func names() (signals []syscall.Signal, names []string) {
	for _, sig := range forwarded() {
		if sig != syscall.SIGUSR2 {
			signals = append(signals, sig)
			names = append(names, unix.SignalName(sig))
		}
	}
	return signals, names
}

// A signal reaches the command once, no matter which other processes receive it.
func TestSignalOnce(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(t *testing.T, w *wrapped, command int, sig syscall.Signal){
		"to the wrapper": func(t *testing.T, w *wrapped, _ int, sig syscall.Signal) {
			kill(t, w.Process.Pid, sig)
		},
		"to the process group": func(t *testing.T, w *wrapped, _ int, sig syscall.Signal) {
			kill(t, -w.Process.Pid, sig)
		},
		"to each process, the wrapper first": func(t *testing.T, w *wrapped, command int, sig syscall.Signal) {
			for _, pid := range []int{w.Process.Pid, command, witnessOf(t, w.Process.Pid)} {
				kill(t, pid, sig)
			}
		},
		"to each process, the wrapper last": func(t *testing.T, w *wrapped, command int, sig syscall.Signal) {
			for _, pid := range []int{witnessOf(t, w.Process.Pid), command, w.Process.Pid} {
				kill(t, pid, sig)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wrap(t, settings{}, self(t), "role=count")
			w.start()
			command := w.ready()
			signals, names := names()
			for i, sig := range signals {
				send(t, w, command, sig)
				if got := w.line(); got != names[i] {
					t.Errorf("got %s, want %s", got, names[i])
				}
			}
			// It is forwarded after all earlier signals.
			w.endCount()
		})
	}
}

// fatal are signals that end a Go program with a dump.
var fatal = []syscall.Signal{
	syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGILL, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, 16, // SIGSTKFLT
}

func TestFatalSignal(t *testing.T) {
	t.Parallel()
	w := wrap(t, settings{}, self(t), "role=count")
	w.start()
	w.ready()
	for _, sig := range fatal {
		for _, pid := range []int{w.Process.Pid, -w.Process.Pid} {
			kill(t, pid, sig)
			if got := w.line(); got != unix.SignalName(sig) {
				t.Errorf("%v: got %s", sig, got)
			}
		}
	}
	w.endCount()
}

// A timer that is set before exec, as in perl -e 'alarm 5; exec ...', ends the command.
func TestAlarm(t *testing.T) {
	t.Parallel()
	for every := 200 * time.Millisecond; ; every *= 2 {
		code := runAlarm(t, every)
		if code == -int(syscall.SIGALRM) && every < 10*time.Second {
			continue // it came before the wrapper was ready, on a busy machine
		}
		if code != 128+int(syscall.SIGALRM) {
			t.Errorf("exit code %d", code)
		}
		return
	}
}

// runAlarm runs a command that receives SIGALRM repeatedly, and returns its exit code.
func runAlarm(t *testing.T, every time.Duration) int {
	r, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer stdin.Close()
	w := wrap(t, settings{}, "cat")
	w.Stdin = r
	w.Args = append([]string{self(t), "role=alarm", every.String(), w.Path}, w.Args[1:]...)
	w.start()
	timeout := time.AfterFunc(testkit.Patience, func() { stdin.Close() })
	defer timeout.Stop()
	_, code := w.rest()
	return code
}

// alarm executes a command that receives SIGALRM repeatedly: the first one may arrive
// before the command is ready.
func alarm(args []string) {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		panic(err)
	}
	every := unix.NsecToTimeval(int64(d))
	if _, err := unix.Setitimer(unix.ItimerReal, unix.Itimerval{Interval: every, Value: every}); err != nil {
		panic(err)
	}
	panic(syscall.Exec(args[1], args[1:], os.Environ()))
}

// A sender that signals one process after the other may have to wait for a CPU.
func TestSignalOfSlowSender(t *testing.T) {
	t.Parallel()
	for range 2 * runtime.NumCPU() {
		burner := exec.Command(self(t), "role=burn", "1h", "user")
		if err := burner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { burner.Process.Kill(); burner.Wait() })
	}
	testkit.Eventually(t, "a busy machine", func() bool { return !quiet() })
	for name, order := range map[string]func(wrapper, command, witness int) []int{
		"the wrapper first": func(wrapper, command, witness int) []int { return []int{wrapper, command, witness} },
		"the wrapper last":  func(wrapper, command, witness int) []int { return []int{witness, command, wrapper} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wrap(t, settings{}, self(t), "role=count")
			w.start()
			command := w.ready()
			for i, pid := range order(w.Process.Pid, command, witnessOf(t, w.Process.Pid)) {
				if i > 0 {
					time.Sleep(3 * settle) // the delay of the sender
				}
				kill(t, pid, syscall.SIGTERM)
			}
			if got := w.line(); got != "SIGTERM" {
				t.Errorf("got %s", got)
			}
			w.endCount()
		})
	}
}

// Run decides about simultaneous signals one by one.
func TestSignalsTogether(t *testing.T) {
	t.Parallel()
	w := wrap(t, settings{}, self(t), "role=count")
	w.start()
	w.ready()
	kill(t, -w.Process.Pid, syscall.SIGTERM)
	kill(t, w.Process.Pid, syscall.SIGUSR1)
	kill(t, -w.Process.Pid, syscall.SIGHUP)
	got := []string{w.line(), w.line(), w.line()}
	slices.Sort(got)
	kill(t, w.Process.Pid, syscall.SIGUSR2)
	rest, _ := w.rest()
	if got = append(got, rest...); !slices.Equal(got, []string{"SIGHUP", "SIGTERM", "SIGUSR1", "SIGUSR2"}) {
		t.Errorf("got %v", got)
	}
}

// Without a witness no signal is lost. A command that left the group receives all
// signals.
func TestSignalForwardedInDoubt(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "stopped": syscall.SIGSTOP} {
		t.Run("witness "+name, func(t *testing.T) {
			t.Parallel()
			w := wrap(t, settings{}, self(t), "role=count")
			w.start()
			w.ready()
			witness := witnessOf(t, w.Process.Pid)
			kill(t, witness, sig)
			testkit.Eventually(t, name, func() bool { return state(witness) == 'Z' || state(witness) == 'T' })
			kill(t, w.Process.Pid, syscall.SIGTERM)
			if got := w.line(); got != "SIGTERM" {
				t.Errorf("got %s", got)
			}
			w.endCount()
		})
	}
	t.Run("command in another session", func(t *testing.T) {
		t.Parallel()
		setsid, err := exec.LookPath("setsid")
		if err != nil {
			t.Skip(err)
		}
		w := wrap(t, settings{}, setsid, self(t), "role=count")
		w.start()
		command := w.ready()
		defer syscall.Kill(command, syscall.SIGKILL)
		kill(t, -w.Process.Pid, syscall.SIGTERM)
		if got := w.line(); got != "SIGTERM" {
			t.Errorf("got %s", got)
		}
		kill(t, w.Process.Pid, syscall.SIGUSR2)
		w.rest()
	})
}

// An ignored signal is not forwarded.
func TestIgnoredSignal(t *testing.T) {
	t.Parallel()
	w := wrap(t, settings{}, "sh", "-c", `trap "echo usr1; exit" USR1; echo ready $$; while :; do sleep 0.01; done`)
	w.Args = append([]string{"sh", "-c", `trap "" HUP INT; exec "$@"`, "sh", w.Path}, w.Args[1:]...)
	w.Path = "/bin/sh"
	w.start()
	w.ready()
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1} {
		kill(t, w.Process.Pid, sig)
	}
	if rest, code := w.rest(); !slices.Equal(rest, []string{"usr1"}) || code != 0 {
		t.Errorf("got %v, exit code %d", rest, code)
	}
}

func TestWitness(t *testing.T) {
	t.Parallel()
	w := wrap(t, settings{}, self(t), "role=count")
	w.start()
	command := w.ready()
	witness := witnessOf(t, w.Process.Pid)
	var fds []os.DirEntry
	testkit.Eventually(t, "one descriptor", func() bool {
		fds, _ = os.ReadDir(fmt.Sprintf("/proc/%d/fd", witness))
		return len(fds) == 1
	})
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", witness)); err != nil || string(bytes.TrimRight(b, "\x00")) != "signal-witness" {
		t.Errorf("command line %q, %v", b, err)
	}

	// If the wrapper is killed, the witness ends too, and the job keeps running.
	if err := w.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the witness ends", func() bool { return gone(witness) })
	kill(t, command, syscall.SIGUSR1)
	if got := w.line(); got != "SIGUSR1" {
		t.Errorf("got %s", got)
	}
}

// Without a terminal the wrapper stops with the command if it received TSTP too, and
// keeps running if the command was stopped alone.
func TestStop(t *testing.T) {
	t.Parallel()
	w := wrap(t, settings{}, "sh", "-c", "echo ready $$; exec sleep 60")
	w.start()
	command := w.ready()
	wrapper := w.Process.Pid
	both := func(stopped bool) func() bool {
		return func() bool { return state(command) == 'T' == stopped && state(wrapper) == 'T' == stopped }
	}

	kill(t, wrapper, syscall.SIGTSTP)
	testkit.Eventually(t, "both stop", both(true))
	kill(t, wrapper, syscall.SIGCONT)
	testkit.Eventually(t, "both go on", both(false))
	kill(t, -wrapper, syscall.SIGTSTP)
	testkit.Eventually(t, "both stop", both(true))
	kill(t, -wrapper, syscall.SIGCONT)
	testkit.Eventually(t, "both go on", both(false))

	kill(t, command, syscall.SIGSTOP)
	testkit.Eventually(t, "the command stops", func() bool { return state(command) == 'T' })
	kill(t, wrapper, syscall.SIGTERM) // pending, forwarded by a running wrapper
	testkit.Eventually(t, "TERM is forwarded", func() bool { return pending(command)&bit(syscall.SIGTERM) != 0 })
	if s := state(wrapper); s == 'T' {
		t.Error("the wrapper stopped too")
	}
	kill(t, command, syscall.SIGCONT)
	if _, code := w.rest(); code != 143 {
		t.Errorf("exit code %d", code)
	}
}

// pending returns the signals of a process that are pending.
func pending(pid int) (set uint64) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, _ := bytes.Cut(b, []byte("\nShdPnd:\t"))
	fmt.Sscanf(string(after), "%x", &set)
	return set
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	burner := self(t) + " role=burn 100ms user"

	t.Run("are waited for and counted", func(t *testing.T) {
		w := wrap(t, settings{OrphanWait: testkit.Patience, ResultFile: file}, "sh", "-c", "("+burner+" &) ; ("+burner+" &) ; exit 3")
		w.start()
		out, code := w.rest()
		r := w.told()
		if len(out) != 2 || code != 3 || r.Result.Orphans {
			t.Fatalf("output %q, exit code %d, %+v", out, code, r)
		}
		if cpu := r.Result.All.User + r.Result.All.System; cpu < 200*time.Millisecond {
			t.Errorf("CPU time of all %v", cpu)
		}
		if cpu := r.Result.Root.User + r.Result.Root.System; cpu >= 100*time.Millisecond {
			t.Errorf("CPU time of the command %v", cpu)
		}
		// Nothing but the command and the orphans is reaped.
		if d := r.Reaped - (r.Result.All.User + r.Result.All.System); d.Abs() > 50*time.Microsecond || r.Left {
			t.Errorf("reaped processes used %v more than those of the command; others left: %v", d, r.Left)
		}
	})
	t.Run("are not killed after the wait", func(t *testing.T) {
		w := wrap(t, settings{OrphanWait: 50 * time.Millisecond, ResultFile: file}, "sh", "-c", "sleep 60 >&- & echo $!")
		w.start()
		pid, _ := strconv.Atoi(w.line())
		if _, code := w.rest(); code != 0 || gone(pid) || !w.told().Result.Orphans {
			t.Errorf("exit code %d, state %c", code, state(pid))
		}
	})
	t.Run("are not waited for after TERM", func(t *testing.T) {
		w := wrap(t, settings{OrphanWait: time.Hour, ResultFile: file}, "sh", "-c", "sleep 60 >&- & echo $$; echo $!")
		w.start()
		command, _ := strconv.Atoi(w.line())
		pid, _ := strconv.Atoi(w.line())
		testkit.Eventually(t, "the command is reaped", func() bool { return state(command) == 0 })
		kill(t, w.Process.Pid, syscall.SIGTERM)
		if _, code := w.rest(); code != 0 || gone(pid) {
			t.Errorf("exit code %d, state %c", code, state(pid))
		}
	})
	t.Run("are ended", func(t *testing.T) {
		// One ends on TERM, one does not and has a child, one is stopped.
		w := wrap(t, settings{OrphanWait: 10 * time.Millisecond, KillOrphans: true, ResultFile: file}, "sh", "-c", `
			sleep 60 >&- & echo $!
			sh -c 'trap "" TERM; sleep 60 & echo $!; exec >&-; wait; sleep 60' & echo $!
			sleep 60 >&- & echo $!; kill -STOP $!; read line`)
		stdin, err := w.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		var pids []int
		for range 4 {
			pid, _ := strconv.Atoi(w.line())
			pids = append(pids, pid)
		}
		stdin.Close()
		start := time.Now()
		w.rest()
		if r := w.told(); r.Result.Orphans {
			t.Errorf("%+v", r)
		}
		for _, pid := range pids {
			if !gone(pid) {
				t.Errorf("%d lives", pid)
			}
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// An earlier child does not belong to the command, and is neither waited for nor killed.
func TestForeignChildren(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, done := filepath.Join(dir, "told"), filepath.Join(dir, "done")
	burner := self(t) + " role=burn "
	// One ends while the command runs, and one does not; the orphan of the command
	// is waited for.
	if err := syscall.Mkfifo(done, 0o600); err != nil {
		t.Fatal(err)
	}
	w := wrap(t, settings{OrphanWait: time.Hour, KillOrphans: true, ResultFile: file},
		"sh", "-c", "read x <"+done+"; ("+burner+"50ms user >"+filepath.Join(dir, "orphan")+" &) ; exit 3")
	w.Args = append([]string{"sh", "-c", burner + "300ms user >" + done + " & sleep 1000 >&- 2>&- & echo $!; exec \"$@\"", "sh", w.Path}, w.Args[1:]...)
	w.Path = "/bin/sh"
	w.start()
	foreign, _ := strconv.Atoi(w.line())
	if _, code := w.rest(); code != 3 {
		t.Errorf("exit code %d", code)
	}
	r := w.told().Result
	if r.Orphans {
		t.Error("an earlier child counts as an orphan")
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "orphan")); len(b) == 0 {
		t.Error("the orphan was not waited for")
	}
	if cpu := r.All.User + r.All.System; cpu < 50*time.Millisecond || cpu > 250*time.Millisecond {
		t.Errorf("CPU time of all %v", cpu)
	}
	if gone(foreign) {
		t.Error("an earlier child was killed")
	}
}

// The memory of a command excludes that of the wrapper, even for a small command.
func TestMaxRSS(t *testing.T) {
	t.Parallel()
	if testkit.Race {
		t.Skip("the race detector adds to the memory")
	}
	file := filepath.Join(t.TempDir(), "told")
	for name, test := range map[string]struct {
		args      []string
		low, high int64 // MB
	}{
		"small": {[]string{"true"}, 0, 3},
		"large": {[]string{"dd", "if=/dev/zero", "of=/dev/null", "bs=50M", "count=1", "status=none"}, 50, 60},
	} {
		w := wrap(t, settings{ResultFile: file, Hold: 200}, test.args...)
		w.start()
		if _, code := w.rest(); code != 0 {
			t.Fatalf("%s: exit code %d", name, code)
		}
		if kb := w.told().Result.Root.MaxRSS; kb <= test.low<<10 || kb >= test.high<<10 {
			t.Errorf("%s: %d KB", name, kb)
		}
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	w := wrap(t, settings{ResultFile: file}, self(t), "role=burn", "50ms", "user")
	w.start()
	_, code := w.rest()
	r := w.told()
	if code != 0 || !r.Zombie || r.Ended.Root.User+r.Ended.Root.System < 50*time.Millisecond {
		t.Errorf("%+v", r)
	}
	if !reflect.DeepEqual(r.Ended, r.Result) {
		t.Errorf("%+v, then %+v", r.Ended, r.Result)
	}

	w = wrap(t, settings{ResultFile: file, Hang: true}, "sh", "-c", "exit 6")
	start := time.Now()
	w.start()
	if _, code := w.rest(); code != 6 || len(w.told().Warnings) != 1 {
		t.Errorf("exit code %d, %+v", code, w.told())
	}
	if d := time.Since(start); d < hooks || d > hooks+5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestReraise(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGXCPU, syscall.SIGPIPE} {
		w := wrap(t, settings{Reraise: true}, "sh", "-c", fmt.Sprintf("ulimit -c 0; kill -%d $$", sig))
		w.Args = append([]string{"sh", "-c", `ulimit -c unlimited; exec "$@"`, "sh", w.Path}, w.Args[1:]...)
		w.Path, w.Dir = "/bin/sh", dir
		w.start()
		if _, code := w.rest(); code != -int(sig) {
			t.Errorf("%v: %d", sig, code)
		}
		if w.ProcessState.Sys().(syscall.WaitStatus).CoreDump() {
			t.Errorf("%v: core dumped", sig)
		}
	}
}

// A counter that begins late may lack descendants that have ended, and says so as long as that
// matters.
func TestLateCounter(t *testing.T) {
	t.Parallel()
	cpus := time.Duration(runtime.NumCPU())
	for _, c := range []struct {
		late, before, count time.Duration
		complete            bool
	}{
		{25 * time.Millisecond, 25 * time.Millisecond * cpus, 100 * time.Millisecond, true}, // all is known
		{25 * time.Millisecond, 0, 190 * time.Millisecond, false},
		{80 * time.Millisecond, 0, time.Hour * cpus, true}, // too little to matter
	} {
		k := newCounter()
		k.attached, k.before, k.late = true, c.before, c.late
		k.total, k.closed = c.count, true
		if cpu, complete := k.read(); cpu != c.count || complete != c.complete {
			t.Errorf("%+v: %v, %v", c, cpu, complete)
		}
	}
}

func TestCPUTime(t *testing.T) {
	t.Parallel()
	if probe, err := openEvent(0, 0); err != nil {
		t.Skip("the kernel refuses an inherited perf event: ", err)
	} else {
		probe.Close()
	}
	file := filepath.Join(t.TempDir(), "told")
	exe := self(t)
	for name, args := range map[string][]string{
		"user time":      {exe, "role=burn", "300ms", "user"},
		"system time":    {exe, "role=burn", "300ms", "system"},
		"second exec":    {"sh", "-c", "exec " + exe + " role=burn 300ms user"},
		"not waited for": {exe, "role=abandon", "3", exe, "role=burn", "100ms", "user"},
	} {
		// The counter begins some 20 ms after the start, and later on a busy machine.
		testkit.Retry(t, func(t testing.TB) {
			w := wrap(t, settings{ResultFile: file}, args...)
			w.start()
			out, _ := w.rest()
			var own time.Duration
			for _, s := range out {
				n, _ := strconv.Atoi(s)
				own += time.Duration(n)
			}
			r := w.told()
			t.Logf("%s: counted %v, burnt %v, waited for %v", name, r.CPU, own, r.Result.Root.User+r.Result.Root.System)
			// The programs do not include their own starts and ends.
			if own < 300*time.Millisecond || r.CPU < own*8/10 || r.CPU > own*12/10+30*time.Millisecond {
				t.Errorf("%s: counted %v, the burners report %v", name, r.CPU, own)
			}
			if lost := r.Result.Root.User+r.Result.Root.System < own/2; lost != (name == "not waited for") {
				t.Errorf("%s: %+v, the burners report %v", name, r.Result, own)
			}
			if r.CPUAfter < r.CPU {
				t.Errorf("%s: the count after Run is %v, before it %v", name, r.CPUAfter, r.CPU)
			}
		})
	}
}

func TestCgroup(t *testing.T) {
	t.Parallel()
	dir := testkit.Cgroup(t)
	defer os.Remove(dir)
	file := filepath.Join(t.TempDir(), "told")
	w := wrap(t, settings{ResultFile: file, Cgroup: dir}, "sed", "-n", "s/^0:://p", "/proc/self/cgroup")
	w.start()
	out, code := w.rest()
	if r := w.told(); code != 0 || len(out) != 1 || filepath.Base(out[0]) != filepath.Base(dir) || !r.InCgroup || r.Warnings != nil {
		t.Errorf("%d %q %+v", code, out, r)
	}
}

// A cgroup that cannot be used is a warning.
func TestNoCgroup(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "told")
	for _, dir := range []string{filepath.Dir(file), "/no/such/cgroup"} {
		w := wrap(t, settings{ResultFile: file, Cgroup: dir}, "sh", "-c", "exit 3")
		w.start()
		_, code := w.rest()
		if r := w.told(); code != 3 || r.InCgroup || len(r.Warnings) != 1 {
			t.Errorf("%s: exit code %d, %+v", dir, code, r)
		}
		w = wrap(t, settings{ResultFile: file, Cgroup: dir}, "/no/such/command")
		w.start()
		if _, code := w.rest(); code != 127 {
			t.Errorf("%s: exit code %d", dir, code)
		}
	}
}

func parentOf(pid int) int {
	st, _ := process.Stat(pid)
	return st.PPID
}
