package commandtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/internal/testkit"
)

// Tmux is a terminal of tmux, whose screen tests can read.
type Tmux struct {
	t      testing.TB
	socket string
}

// OpenTmux runs a script of sh in a terminal of width columns and height lines. It skips the
// test if there is no tmux. The terminal is closed at the end of the test.
func OpenTmux(t testing.TB, width, height int, script string, env ...string) *Tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skipf("the test reads the screen of tmux: %v", err)
	}
	dir, err := os.MkdirTemp("", "tmux") // a path that is short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	x := &Tmux{t, filepath.Join(dir, "s")}
	args := []string{"-u", "-f", os.DevNull, "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height)}
	for _, e := range env {
		args = append(args, "-e", e)
	}
	x.run(append(args, "sh", "-c", script)...)
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", x.socket, "kill-server").Run()
	})
	return x
}

// run runs a command of tmux and returns its output.
func (x *Tmux) run(args ...string) string {
	x.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// Screen returns the lines of the screen.
func (x *Tmux) Screen() string {
	x.t.Helper()
	return x.run("capture-pane", "-p")
}

// Wait waits until the screen contains a text, and returns it.
func (x *Tmux) Wait(text string) string {
	x.t.Helper()
	screen := ""
	defer func() {
		if x.t.Failed() {
			x.t.Logf("the screen:\n%s", screen)
		}
	}()
	testkit.Eventually(x.t, "on the screen: "+text, func() bool {
		screen = x.Screen()
		return strings.Contains(screen, text)
	})
	return screen
}

// Keys presses keys, which have the names of tmux.
func (x *Tmux) Keys(keys ...string) {
	x.t.Helper()
	for _, k := range keys { // one by one: an escape before another key would change it
		x.run("send-keys", k)
	}
}

// Resize changes the size of the terminal.
func (x *Tmux) Resize(width, height int) {
	x.t.Helper()
	x.run("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// Restored returns an empty text if the cursor is visible and the alternate screen is not
// shown, or what is wrong.
func (x *Tmux) Restored() string {
	x.t.Helper()
	got := strings.TrimSpace(x.run("display-message", "-p", "cursor #{cursor_flag}, alternate screen #{alternate_on}, mouse #{mouse_any_flag}, keypad #{keypad_flag}"))
	if want := "cursor 1, alternate screen 0, mouse 0, keypad 0"; got != want {
		return got
	}
	return ""
}

// Colored returns the lines of the screen with escape sequences for colours and styles.
func (x *Tmux) Colored() string {
	x.t.Helper()
	return x.run("capture-pane", "-p", "-e")
}
