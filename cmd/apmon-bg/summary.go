package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/launch"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
)

// summary is what this process knows of the job that it started.
type summary struct {
	Command      []string
	PID          atomic.Int64
	Start, Ended time.Time
	Err          error // the reason why the command could not be started
}

// waitedFor returns the sample of a job that was not followed: the resources that
// the kernel counted for the processes that were waited for.
func (s *summary) waitedFor(r launch.Result) procinfo.JobSample {
	seconds := func(d time.Duration) procinfo.Value { return procinfo.Known(d.Seconds()) }
	return procinfo.JobSample{
		At: s.Ended, Ended: true, RunTime: seconds(s.Ended.Sub(s.Start)),
		CPUTime: seconds(r.All.User + r.All.System), CPUUser: seconds(r.All.User), CPUSystem: seconds(r.All.System),
	}
}

// complete adds to the record of a job what only the process that started it knows.
func (s *summary) complete(rec *jobrecord.Record, r launch.Result, batch *jobrecord.Batch) {
	job := &rec.Job
	job.Command, job.Start = s.Command, jobrecord.Time{Time: s.Start}
	job.BatchSystem, job.BatchID = jobrecord.Text(batch.System), jobrecord.Text(batch.ID)
	job.Host = jobrecord.Text(procinfo.Hostname())
	if n := s.PID.Load(); n != 0 {
		job.PID = procinfo.Known(float64(n))
	}
	end := r.Ended
	if end.IsZero() {
		end = s.Ended
	}
	rec.SetEnd(end, r.ExitCode, int(r.Signal), s.Err, r.All.MaxRSS)
	rec.CPU.LowerBound = rec.CPU.LowerBound || r.Orphans
}

// writeResult writes to standard output for "-", otherwise to a file, which is replaced as
// a whole.
func writeResult(path string, b []byte) error {
	if path == "-" {
		return writeOwn(os.Stdout, b)
	}
	return writeFile(path, b)
}

// writeTimeout bounds the writing of a summary into a pipe or a terminal.
const writeTimeout = 300 * time.Millisecond

// writeFile replaces the file at path in one step. A new file has the mode that the
// umask leaves, an existing one keeps its mode. A link is replaced, not followed,
// except to standard output, standard error, a terminal, another character device
// or a named pipe: these are written to.
func writeFile(path string, b []byte) error {
	if st, err := os.Stat(path); err == nil {
		if own := ownStream(st); own != nil {
			return writeOwn(own, b)
		}
		if !st.Mode().IsRegular() {
			return writeDevice(path, b)
		}
	}
	err := replaceFile(path, b)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		// The file is a mount point, as in a container, or its folder belongs to
		// another user.
		if overwriteFile(path, b) == nil {
			return nil
		}
	}
	return err
}

// writeDevice writes to a character device, or to a named pipe that has a reader.
func writeDevice(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode()&(os.ModeCharDevice|os.ModeNamedPipe) == 0 {
		return fmt.Errorf("%s is neither a file, a character device nor a named pipe", path)
	}
	_ = f.SetWriteDeadline(time.Now().Add(writeTimeout)) // fails for devices that never block
	_, err = f.Write(b)
	return err
}

// replaceFile writes a new file and gives it the name path.
func replaceFile(path string, b []byte) error {
	// This name does not contain that of path, which may have the maximum length.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), fmt.Sprintf(".apmon-bg-%016x", rand.Uint64())), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if st, e := os.Lstat(path); e == nil && st.Mode().IsRegular() {
		err = f.Chmod(st.Mode().Perm()) // before the file has content
	}
	if err == nil {
		_, err = f.Write(b)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = renameOver(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// renameOver renames a file to path, which must be free, a regular file or a link:
// a device must never be replaced.
func renameOver(file, path string) error {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() && st.Mode()&os.ModeSymlink == 0 {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return os.Rename(file, path)
}

// overwriteFile writes to an existing regular file.
func overwriteFile(path string, b []byte) error {
	before, err := os.Lstat(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	if st, e := f.Stat(); e != nil || !st.Mode().IsRegular() || !os.SameFile(before, st) {
		f.Close()
		return errors.Join(e, fmt.Errorf("%s is not a regular file", path))
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Truncate(int64(len(b)))
	}
	return errors.Join(err, f.Close())
}

// removeResult removes a file of an earlier run: no summary is better than that of
// another job. It opens no file, since there may be no free descriptor.
func removeResult(path string) {
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && ownStream(st) == nil {
		_ = os.Remove(path)
	}
}

// ownStream returns which of standard output and error st is, nil for neither.
func ownStream(st os.FileInfo) *os.File {
	for _, own := range []*os.File{os.Stdout, os.Stderr} {
		if same, err := own.Stat(); err == nil && os.SameFile(st, same) {
			return own
		}
	}
	return nil
}

// writeOwn writes to standard output or error, which may be a pipe that is never read.
func writeOwn(f *os.File, b []byte) error {
	done := make(chan error, 1)
	go func() {
		_, err := f.Write(b)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(writeTimeout):
		return fmt.Errorf("%s: nothing was written within %v", f.Name(), writeTimeout)
	}
}
