package launch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
	"github.com/apmon-go/apmon/internal/testkit"
)

func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, shell := range [][]string{{"sh", "-i"}, {"bash", "--norc", "--noprofile", "-i"}} {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell[0]); err != nil {
				t.Skip(err)
			}
			jobControl(t, shell)
		})
	}
}

// jobControl tests the keys and the job control of an interactive shell.
func jobControl(t *testing.T, shell []string) {
	term := commandtest.OpenTerminal(t, shell...)
	started := filepath.Join(t.TempDir(), "started")
	wrapper := fmt.Sprintf(`%s role=wrapper '{"StartedFile":"%s"}' `, self(t), started)
	ready := func() (command, us int) {
		t.Helper()
		command, _ = strconv.Atoi(term.Expect(`ready (\d+)`)[1])
		testkit.Eventually(t, "started", func() bool { return exists(started) })
		os.Remove(started)
		us = parentOf(command)
		return command, us
	}
	// Wait until the shell has noticed: it takes the terminal back.
	stopped := func(command, us int) {
		t.Helper()
		testkit.Eventually(t, "both stop", func() bool { return state(command) == 'T' && state(us) == 'T' })
		for known := ""; known != "Stopped"; {
			term.Enter("jobs\n")
			known = term.Expect(`Stopped|Running`)[0]
		}
	}
	resumed := func(command, us int) {
		t.Helper()
		term.Enter("fg\n")
		testkit.Eventually(t, "both continue", func() bool { return state(command) != 'T' && state(us) != 'T' })
	}

	// Each key is one signal.
	term.Enter(wrapper + self(t) + " role=count\n")
	_, us := ready()
	for key, name := range map[string]string{"\x03": "SIGINT", "\x1c": "SIGQUIT", "\x1a": "SIGTSTP"} {
		term.Enter(key)
		term.Expect(name)
	}
	if err := unix.IoctlSetWinsize(int(term.Master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 11, Col: 22}); err != nil {
		t.Fatal(err)
	}
	term.Expect("SIGWINCH")
	// To the wrapper alone, in the foreground or not.
	kill(t, us, syscall.SIGHUP)
	term.Expect("SIGHUP")
	kill(t, us, syscall.SIGUSR2)
	if between := term.Expect("(?s)(.*)SIGUSR2"); strings.Contains(between[1], "SIG") {
		t.Errorf("twice: %q", between[1])
	}

	// The wrapper stops and continues with the command.
	term.Enter(wrapper + "sh -c 'echo ready $$; exec sleep 60'\n")
	command, us := ready()
	for range 2 {
		term.Enter("\x1a")
		stopped(command, us)
		resumed(command, us)
	}
	// The command stops itself, as a pager does.
	kill(t, command, syscall.SIGSTOP)
	stopped(command, us)
	resumed(command, us)

	term.Enter("\x03")
	testkit.Eventually(t, "the end", func() bool { return state(us) == 0 })
	term.Enter("echo code=$?\n")
	term.Expect("code=130")

	// In the background a read from the terminal stops both.
	term.Enter(wrapper + "sh -c 'echo ready $$; read line; echo got $line; sleep 0.01' &\n")
	command, _ = strconv.Atoi(term.Expect(`ready (\d+)`)[1])
	us = parentOf(command)
	stopped(command, us)
	resumed(command, us)
	term.Enter("text\n")
	term.Expect("got text")
}

// When the terminal is closed, the command receives HUP once.
func TestHangup(t *testing.T) {
	t.Parallel()
	file, started := filepath.Join(t.TempDir(), "hup"), filepath.Join(t.TempDir(), "started")
	term := commandtest.OpenTerminal(t, "sh", "-c", fmt.Sprintf(`exec %s role=wrapper '{"StartedFile":"%s"}' sh -c 'trap "echo HUP >>%s" HUP; trap "exit" TERM; echo ready $$; while :; do sleep 0.01; done' 2>/dev/null`, self(t), started, file))
	command, _ := strconv.Atoi(term.Expect(`ready (\d+)`)[1])
	us := parentOf(command)
	testkit.Eventually(t, "started", func() bool { return exists(started) })
	term.Master.Close()
	read := func() string { b, _ := os.ReadFile(file); return string(b) }
	testkit.Eventually(t, "HUP", func() bool { return read() != "" })
	kill(t, us, syscall.SIGTERM) // decided after all earlier signals
	testkit.Eventually(t, "the end", func() bool { return gone(us) })
	if got := read(); got != "HUP\n" {
		t.Errorf("got %q", got)
	}
}
