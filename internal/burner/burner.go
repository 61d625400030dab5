// Package burner builds a program for tests of what follows processes: it forks,
// burns CPU time, allocates, ignores signals, and its processes tell how much
// CPU time they have used, by their own clocks.
//
// The program, in folder burn, is told what to do by its arguments (see there).
// Each process writes a [Report] to standard output when its work is done, and
// most wait then for the end of standard input before they exit.
package burner

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Build builds the program in a directory and returns its path. It needs Go
// alone.
func Build(dir string) (path string, err error) {
	path = filepath.Join(dir, "burner")
	c := exec.Command("go", "build", "-o", path, "github.com/apmon-go/apmon/internal/burner/burn")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the burner: %w\n%s", err, out)
	}
	return path, nil
}

// Report is what a process of the burner tells of itself.
type Report struct {
	PID int
	CPU time.Duration // used so far, user and system
}

// Read reads one report. It blocks until there is one, and returns io.EOF when
// all processes of the burner have ended.
func Read(r io.Reader) (Report, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Report{}, err
	}
	return Report{int(binary.LittleEndian.Uint64(b[:])), time.Duration(binary.LittleEndian.Uint64(b[8:]))}, nil
}
