// Package burner builds a program for tests that monitor processes. It forks, burns
// CPU time, allocates and ignores signals. Its processes report the CPU time that they
// used, by their own clocks.
//
// The arguments of the program, in folder burn, select what it does (see there). Each
// process writes a [Report] to standard output when its work is done. Most then wait
// for the end of standard input before they exit.
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

// Build builds the program in a directory and returns its path. It needs only Go.
func Build(dir string) (path string, err error) {
	path = filepath.Join(dir, "burner")
	c := exec.Command("go", "build", "-o", path, "github.com/apmon-go/apmon/internal/burner/burn")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the burner: %w\n%s", err, out)
	}
	return path, nil
}

// Report is written by each process of the burner.
type Report struct {
	PID int
	CPU time.Duration // used so far, user and system
}

// Read reads one report. It blocks until one is written, and returns io.EOF when all
// processes of the burner have ended.
func Read(r io.Reader) (Report, error) {
	var b [16]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Report{}, err
	}
	return Report{int(binary.LittleEndian.Uint64(b[:])), time.Duration(binary.LittleEndian.Uint64(b[8:]))}, nil
}
