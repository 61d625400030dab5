//go:build !linux

package workdir

import (
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Dirs measures work directories; on this system nothing is known of them.
type Dirs struct{}

// New returns a Dirs.
func New(procinfo.FS) *Dirs { return &Dirs{} }

// Add returns a directory to be measured.
func (w *Dirs) Add(path string) *Dir { return &Dir{} }

// Close stops what runs.
func (w *Dirs) Close() error { return nil }

// Dir is one work directory.
type Dir struct{}

// Sample returns the zero WorkDirUsage.
func (d *Dir) Sample(wait time.Duration, size, disk bool) Usage { return Usage{} }
