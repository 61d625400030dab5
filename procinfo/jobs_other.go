//go:build !linux

package procinfo

import "errors"

// errJobs is returned where jobs cannot be followed.
var errJobs = errors.New("procinfo: jobs are only followed on Linux")

// Jobs follows jobs on this host; on Linux only.
type Jobs struct{}

// Job is a job that is followed.
type Job struct{}

// NewJobs returns an empty set of jobs.
func NewJobs(FS) *Jobs { return &Jobs{} }

// Add returns an error.
func (*Jobs) Add(JobOptions) (*Job, error) { return nil, errJobs }

// Close does nothing.
func (*Jobs) Close() error { return nil }

// Sample returns an error.
func (*Job) Sample(Choice) (JobSample, error) { return JobSample{}, errJobs }

// Remove does nothing.
func (*Job) Remove() {}

// Has returns false.
func (*Job) Has(int) bool { return false }
