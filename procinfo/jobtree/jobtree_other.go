//go:build !linux

package jobtree

import (
	"errors"

	"github.com/apmon-go/apmon/procinfo"
)

// errJobs is returned on systems on which jobs cannot be followed.
var errJobs = errors.New("procinfo: jobs are only followed on Linux")

// Set follows jobs on this host; on Linux only.
type Set struct{}

// Job is a job that is followed.
type Job struct{}

// New returns an empty set of jobs.
func New(procinfo.FS, *procinfo.Processes) *Set { return &Set{} }

// Add returns an error.
func (*Set) Add(Options) (*Job, error) { return nil, errJobs }

// Close does nothing.
func (*Set) Close() error { return nil }

// Sample returns an error.
func (*Job) Sample(procinfo.Choice) (procinfo.JobSample, error) { return procinfo.JobSample{}, errJobs }

// Remove does nothing.
func (*Job) Remove() {}

// Has returns false.
func (*Job) Has(int) bool { return false }
