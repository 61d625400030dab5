package command

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every command initializes all its packages before main, whether it uses them or not, so
// tables and expressions are built on first use. Apmon-recv runs for long, and its libraries
// need far more. The runtime counts the allocations of package initialization exactly, also on
// a busy machine.
func TestPackageInitializationAllocatesLittle(t *testing.T) {
	t.Parallel()
	const maxBytes, maxAllocs = 1024, 16 // of one package, mostly error values
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "../../apmon-send", "../../apmon-bg")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	commands, err := os.ReadDir(dir)
	if err != nil || len(commands) != 2 {
		t.Fatalf("built %v, %v", commands, err)
	}
	for _, c := range commands {
		cmd := exec.Command(filepath.Join(dir, c.Name()), "--version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var trace bytes.Buffer
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v: %s", c.Name(), err, trace.Bytes())
		}
		packages := 0
		for lines := bufio.NewScanner(&trace); lines.Scan(); {
			name, rest, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "init "), " @")
			if !ok {
				continue
			}
			packages++
			if name != "main" && !strings.HasPrefix(name, "github.com/apmon-go/apmon/") {
				continue
			}
			var at, took float64
			var size, allocs int
			if _, err := fmt.Sscanf(rest, "%g ms, %g ms clock, %d bytes, %d allocs", &at, &took, &size, &allocs); err != nil {
				t.Errorf("%s: %q: %v", c.Name(), lines.Text(), err)
			}
			if size > maxBytes || allocs > maxAllocs {
				t.Errorf("%s: initialization of %s allocates %d bytes in %d pieces, at most %d in %d", c.Name(), name, size, allocs, maxBytes, maxAllocs)
			}
		}
		if packages == 0 {
			t.Errorf("%s: no trace of package initialization", c.Name())
		}
	}
}
