package workdir

import (
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Usage is what is known of a job's work directory.
//
// Its size is that of the blocks it occupies (as du, so sparse files count what
// they hold), those of folders and symbolic links included. A file with several
// links counts once. Symbolic links are not followed, and what is mounted below
// is left out.
type Usage struct {
	SizeMB   procinfo.Value // MiB, of the last walk that came to its end
	SizeTime time.Time      // when that was
	// Unreadable is how many folders that walk could not read, or not wholly:
	// if it is not 0, SizeMB is a lower bound.
	Unreadable int

	// Of the file system the directory is on, MiB and percent, as df: Free is
	// what anybody may use, Usage is of Used + Free.
	Total, Used, Free, Usage procinfo.Value
	DiskTime                 time.Time // when that was asked for

	// Skipped is how many measurements so far were not made because the file
	// system did not answer an earlier one.
	Skipped int

	// Err is what went wrong since the last sample, each cause once for a
	// directory. That the directory is not there yet is such a cause: it is
	// measured once it appears. That the directory, or what is in it, has
	// vanished is no error.
	Err error
}

// Fill sets what a sample of a job says of its work directory.
func (u *Usage) Fill(s *procinfo.JobSample) {
	s.WorkDirMB = u.SizeMB
	s.DiskTotal, s.DiskUsed, s.DiskFree, s.DiskUsage = u.Total, u.Used, u.Free, u.Usage
}
