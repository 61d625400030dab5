//go:build !linux

package workdir

import (
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Dirs measures work directories; on this system all values are unknown.
type Dirs struct{}

// New returns a Dirs.
func New(procinfo.FS) *Dirs { return &Dirs{} }

// Add returns a directory to be measured.
func (w *Dirs) Add(path string) *Dir { return &Dir{} }

// Close stops what runs.
func (w *Dirs) Close() error { return nil }

// Dir is one work directory.
type Dir struct{}

// Sample returns the zero Usage.
func (d *Dir) Sample(wait time.Duration, size, disk bool) Usage { return Usage{} }
