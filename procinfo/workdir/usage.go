package workdir

import (
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Usage is the result of measuring a work directory.
//
// Its size is that of the blocks it occupies, as reported by du(1): a sparse file counts
// only its blocks. Folders and symbolic links are included. A file with several links
// counts once. Symbolic links are not followed, and mount points below are left out.
type Usage struct {
	SizeMB   procinfo.Value // MiB, of the last complete walk
	SizeTime time.Time      // end of that walk
	// Unreadable is the number of folders that the walk could not read completely. If it is
	// not 0, SizeMB is a lower bound.
	Unreadable int

	// The file system of the directory, in MiB and percent, as reported by df(1): Free is
	// the space that every user may use, Usage is Used in percent of Used + Free.
	Total, Used, Free, Usage procinfo.Value
	DiskTime                 time.Time // when these were measured

	// Skipped is the number of measurements so far that were not made because an earlier
	// one hangs.
	Skipped int

	// Err is nil, or the errors since the last sample, each cause once for a directory. A
	// directory that does not exist yet is such a cause: it is measured once it exists.
	// It is no error if the directory, or a file in it, is removed later.
	Err error
}

// Fill sets the values of a work directory in a sample of a job.
func (u *Usage) Fill(s *procinfo.JobSample) {
	s.WorkDirMB = u.SizeMB
	s.DiskTotal, s.DiskUsed, s.DiskFree, s.DiskUsage = u.Total, u.Used, u.Free, u.Usage
}
