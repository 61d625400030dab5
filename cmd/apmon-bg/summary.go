package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/launch"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/xdr"
)

// summary is the content of --summary without the sample.
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

// write writes the summary of a job: its last sample, and how it ended. The file is
// replaced as a whole. "-" is standard output.
func (s *summary) write(path string, r launch.Result, last *procinfo.JobSample) error {
	b, err := s.marshal(r, last)
	if err != nil {
		return err
	}
	if path == "-" {
		return writeOwn(os.Stdout, b)
	}
	return writeFile(path, b)
}

// marshal returns the summary as one line of JSON.
func (s *summary) marshal(r launch.Result, last *procinfo.JobSample) ([]byte, error) {
	number := func(v procinfo.Value) any {
		if !v.OK {
			return nil
		}
		return v.V
	}
	integer := func(v procinfo.Value) any {
		if !v.OK {
			return nil
		}
		return int64(math.Round(v.V))
	}
	var code, signal, pid, failed any
	if r.Signal != 0 {
		signal = int(r.Signal)
	} else {
		code = r.ExitCode
	}
	if s.Err != nil {
		failed = s.Err.Error()
	}
	if n := s.PID.Load(); n != 0 {
		pid = n
	}
	values := map[string]any{}
	for _, p := range last.Append(nil, nil) {
		if p.Type() == xdr.TypeString {
			values[p.Name] = p.Text()
		} else {
			values[p.Name] = p.Float()
		}
	}
	b, err := json.Marshal(struct {
		Command        []string       `json:"command"`
		PID            any            `json:"pid"`
		Error          any            `json:"error"`
		ExitCode       any            `json:"exit_code"`
		Signal         any            `json:"signal"`
		Start          time.Time      `json:"start"`
		RunTime        any            `json:"run_time"`
		CPUTime        any            `json:"cpu_time"`
		CPUUser        any            `json:"cpu_user"`
		CPUSys         any            `json:"cpu_sys"`
		LowerBound     bool           `json:"cpu_time_lower_bound"`
		MaxRSS         any            `json:"max_rss_kb"`
		MaxPSS         any            `json:"max_pss_kb"`
		ReadBytes      any            `json:"read_bytes"`
		WriteBytes     any            `json:"write_bytes"`
		ProcessesTotal any            `json:"processes_total"`
		Samples        any            `json:"samples"`
		Last           map[string]any `json:"last"`
	}{
		s.Command, pid, failed, code, signal, s.Start.UTC().Truncate(time.Millisecond),
		number(last.RunTime), number(last.CPUTime), number(last.CPUUser), number(last.CPUSystem),
		last.LowerBound || r.Orphans, integer(last.MaxRSS), integer(last.MaxPSS), integer(last.ReadBytes), integer(last.WriteBytes),
		integer(last.ProcessesTotal), integer(last.Samples), values,
	})
	return append(b, '\n'), err
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

// removeSummary removes the summary of an earlier run: no summary is better than that of
// another job. It opens no file, since there may be no free descriptor.
func removeSummary(path string) {
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
