package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
)

// TestPrintOnTerminal: on a terminal --print is for people; other tests read the JSON of
// a pipe.
func TestPrintOnTerminal(t *testing.T) {
	t.Parallel()
	exe, err := exec.LookPath(name) // that of testscript
	if err != nil {
		t.Fatal(err)
	}
	for env, colored := range map[string]bool{"NO_COLOR=1": false, "A=b": true} {
		x := commandtest.OpenTmux(t, 100, 60, fmt.Sprintf(`exec 2>&1; '%s' --once --print; echo "done: $?"; exec cat`, exe), env, "HOME=/nonexistent")
		screen := x.Wait("done: 0")
		if !regexp.MustCompile(`(?m)^20\S+Z  ApMon_SysMon/\S+\n  load1=\S+ +load5=`).MatchString(screen) || !strings.Contains(screen, " GiB") || strings.Contains(screen, `{"from"`) {
			t.Errorf("%s: the screen:\n%s", env, screen)
		}
		if got := strings.Contains(x.Colored(), "\x1b["); got != colored {
			t.Errorf("%s: colours %v", env, got)
		}
	}
}
