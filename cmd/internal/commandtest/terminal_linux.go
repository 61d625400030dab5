package commandtest

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/internal/testkit"
)

// Terminal is a pseudo-terminal with an interactive shell.
type Terminal struct {
	t      testing.TB
	Master *os.File // the user's side
	mu     sync.Mutex
	out    strings.Builder
	seen   int // bytes of out that Expect has passed
}

// OpenTerminal starts a shell on a terminal of its own. It skips the test if the
// system has no pseudo-terminals. The shell and all its processes are killed at the
// end of the test.
func OpenTerminal(t testing.TB, shell ...string) *Terminal {
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
	term := &Terminal{t: t, Master: master}
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
		// All processes of the session, in any process group.
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
	_ = process.Numbers("/proc", func(pid int) {
		if sid, err := unix.Getsid(pid); err == nil && sid == leader {
			pids = append(pids, pid)
		}
	})
	return pids
}

// Enter types s.
func (term *Terminal) Enter(s string) {
	term.t.Helper()
	if _, err := term.Master.WriteString(s); err != nil {
		term.t.Fatal(err)
	}
}

// Expect waits for text that matches a pattern, after the text of the previous
// match, and returns the match and its groups.
func (term *Terminal) Expect(pattern string) []string {
	term.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(testkit.Patience); ; time.Sleep(2 * time.Millisecond) {
		term.mu.Lock()
		text := term.out.String()[term.seen:]
		at := re.FindStringSubmatchIndex(text)
		if at != nil {
			term.seen += at[1]
		}
		term.mu.Unlock()
		if at != nil {
			var found []string
			for i := 0; i < len(at); i += 2 {
				found = append(found, text[at[i]:at[i+1]])
			}
			return found
		}
		if time.Now().After(end) {
			term.t.Fatalf("not on the terminal: %s", pattern)
		}
	}
}
