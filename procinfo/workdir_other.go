//go:build !linux

package procinfo

import "time"

// WorkDirs measures work directories; on this system nothing is known of them.
type WorkDirs struct{}

// NewWorkDirs returns a WorkDirs.
func NewWorkDirs(FS) *WorkDirs { return &WorkDirs{} }

// Add returns a directory to be measured.
func (w *WorkDirs) Add(path string) *WorkDir { return &WorkDir{} }

// Close stops what runs.
func (w *WorkDirs) Close() error { return nil }

// WorkDir is one work directory.
type WorkDir struct{}

// Sample returns the zero WorkDirUsage.
func (d *WorkDir) Sample(wait time.Duration, size, disk bool) WorkDirUsage { return WorkDirUsage{} }
