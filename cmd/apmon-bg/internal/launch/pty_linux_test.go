package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal is what a user types into, with an interactive shell behind.
type terminal struct {
	t      testing.TB
	master *os.File
	mu     sync.Mutex
	out    strings.Builder
	seen   int // of out, by expect
}

func openTerminal(t testing.TB, shell ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip(err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer slave.Close()

	cmd := exec.Command(shell[0], shell[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.Env = append(os.Environ(), "PS1=$ ", "ENV=", "HISTFILE=", "TERM=dumb")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	term := &terminal{t: t, master: master}
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			term.mu.Lock()
			term.out.Write(buf[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		// All of the session, whatever their groups.
		for _, pid := range session(cmd.Process.Pid) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		cmd.Wait()
		master.Close()
		<-read
		if t.Failed() {
			t.Logf("on the terminal:\n%s", term.out.String())
		}
	})
	return term
}

// session lists the processes of a session.
func session(leader int) (pids []int) {
	names, _ := os.ReadDir("/proc")
	for _, name := range names {
		if pid, err := strconv.Atoi(name.Name()); err == nil {
			if sid, err := unix.Getsid(pid); err == nil && sid == leader {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (term *terminal) enter(s string) {
	term.t.Helper()
	if _, err := term.master.WriteString(s); err != nil {
		term.t.Fatal(err)
	}
}

// expect waits for text behind what was expected before.
func (term *terminal) expect(pattern string) []string {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	eventually(term.t, pattern, func() bool {
		term.mu.Lock()
		defer term.mu.Unlock()
		at := re.FindStringSubmatchIndex(term.out.String()[term.seen:])
		if at == nil {
			return false
		}
		for i := 0; i < len(at); i += 2 {
			found = append(found, term.out.String()[term.seen+at[i]:term.seen+at[i+1]])
		}
		term.seen += at[1]
		return true
	})
	return found
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, shell := range [][]string{{"sh", "-i"}, {"bash", "--norc", "--noprofile", "-i"}} {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell[0]); err != nil {
				t.Skip(err)
			}
			term := openTerminal(t, shell...)
			started := filepath.Join(t.TempDir(), "started")
			wrapper := fmt.Sprintf(`%s role=wrapper '{"StartedBy":"%s"}' `, self(t), started)
			ready := func() (command, us int) {
				t.Helper()
				command, _ = strconv.Atoi(term.expect(`ready (\d+)`)[1])
				eventually(t, "started", func() bool { return exists(started) })
				os.Remove(started)
				_, us, _ = stat(command)
				return command, us
			}
			// The shell must have noticed, or it takes the terminal back.
			stopped := func(command, us int) {
				t.Helper()
				eventually(t, "both stop", func() bool { return state(command) == 'T' && state(us) == 'T' })
				for known := ""; known != "Stopped"; {
					term.enter("jobs\n")
					known = term.expect(`Stopped|Running`)[0]
				}
			}
			resumed := func(command, us int) {
				t.Helper()
				term.enter("fg\n")
				eventually(t, "both go on", func() bool { return state(command) != 'T' && state(us) != 'T' })
			}

			// Each key is one signal.
			term.enter(wrapper + self(t) + " role=count\n")
			_, us := ready()
			for key, name := range map[string]string{"\x03": "SIGINT", "\x1c": "SIGQUIT", "\x1a": "SIGTSTP"} {
				term.enter(key)
				term.expect(name)
			}
			if err := unix.IoctlSetWinsize(int(term.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 11, Col: 22}); err != nil {
				t.Fatal(err)
			}
			term.expect("SIGWINCH")
			// To us alone, in the foreground or not.
			kill(t, us, syscall.SIGHUP)
			term.expect("SIGHUP")
			kill(t, us, syscall.SIGUSR2)
			if between := term.expect("(?s)(.*)SIGUSR2"); strings.Contains(between[1], "SIG") {
				t.Errorf("twice: %q", between[1])
			}

			// We stop and go on with the command.
			term.enter(wrapper + "sh -c 'echo ready $$; exec sleep 60'\n")
			command, us := ready()
			for range 2 {
				term.enter("\x1a")
				stopped(command, us)
				resumed(command, us)
			}
			// Stopped by itself, as a pager does.
			kill(t, command, syscall.SIGSTOP)
			stopped(command, us)
			resumed(command, us)

			term.enter("\x03")
			eventually(t, "the end", func() bool { return state(us) == 0 })
			term.enter("echo code=$?\n")
			term.expect("code=130")

			// In the background a read from the terminal stops both.
			term.enter(wrapper + "sh -c 'echo ready $$; read line; echo got $line; sleep 0.01' &\n")
			command, _ = strconv.Atoi(term.expect(`ready (\d+)`)[1])
			_, us, _ = stat(command)
			stopped(command, us)
			resumed(command, us)
			term.enter("text\n")
			term.expect("got text")
		})
	}
}

// When the terminal goes away, the command hears it once.
func TestHangup(t *testing.T) {
	t.Parallel()
	file, started := filepath.Join(t.TempDir(), "hup"), filepath.Join(t.TempDir(), "started")
	term := openTerminal(t, "sh", "-c", fmt.Sprintf(`exec %s role=wrapper '{"StartedBy":"%s"}' sh -c 'trap "echo HUP >>%s" HUP; trap "exit" TERM; echo ready $$; while :; do sleep 0.01; done' 2>/dev/null`, self(t), started, file))
	command, _ := strconv.Atoi(term.expect(`ready (\d+)`)[1])
	_, us, _ := stat(command)
	eventually(t, "started", func() bool { return exists(started) })
	term.master.Close()
	read := func() string { b, _ := os.ReadFile(file); return string(b) }
	eventually(t, "HUP", func() bool { return read() != "" })
	kill(t, us, syscall.SIGTERM) // decided after all before
	eventually(t, "the end", func() bool { return gone(us) })
	if got := read(); got != "HUP\n" {
		t.Errorf("got %q", got)
	}
}
