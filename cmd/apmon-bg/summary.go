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

// summary is what --summary writes.
type summary struct {
	Command      []string
	PID          atomic.Int64
	Start, Ended time.Time
	Err          error // why it could not be started
}

// waitedFor is what is known of a job that was not followed: what the kernel says
// of those that were waited for.
func (s *summary) waitedFor(r launch.Result) procinfo.JobSample {
	seconds := func(d time.Duration) procinfo.Value { return procinfo.Known(d.Seconds()) }
	return procinfo.JobSample{
		At: s.Ended, Ended: true, RunTime: seconds(s.Ended.Sub(s.Start)),
		CPUTime: seconds(r.All.User + r.All.System), CPUUser: seconds(r.All.User), CPUSystem: seconds(r.All.System),
	}
}

// write writes the summary of a job: what was sampled last, and what the kernel
// told of its end. The file is there as a whole, or as it was before; "-" is
// standard output.
func (s *summary) write(path string, r launch.Result, last *procinfo.JobSample) error {
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
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if path == "-" {
		return writeOwn(os.Stdout, b)
	}
	return writeFile(path, b)
}

// writeTimeout bounds the writing of a summary into a pipe or a terminal.
const writeTimeout = 300 * time.Millisecond

// writeFile writes a file in one step: who reads it sees the old one or the new.
// A link in its place is replaced; but what it leads to is written to if that is
// our own standard output or error, or no file, such as a terminal or a pipe that
// somebody reads. A new file has the mode that the umask leaves it, another keeps
// its own.
func writeFile(path string, b []byte) error {
	st, err := os.Stat(path)
	if err == nil {
		for _, own := range []*os.File{os.Stdout, os.Stderr} {
			if same, err := own.Stat(); err == nil && os.SameFile(st, same) {
				return writeOwn(own, b)
			}
		}
	}
	if err == nil && !st.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if st, err := f.Stat(); err != nil || st.Mode().IsRegular() {
			return errors.Join(err, fmt.Errorf("%s has become another", path))
		}
		_ = f.SetWriteDeadline(time.Now().Add(writeTimeout)) // not of everything; that does not block
		_, err = f.Write(b)
		return err
	}
	// The name of the file may have no room for more.
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), fmt.Sprintf(".apmon-bg-%016x", rand.Uint64())), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if st, e := os.Lstat(path); e == nil && st.Mode().IsRegular() {
		err = f.Chmod(st.Mode().Perm()) // before there is anything to read
	}
	if err == nil {
		_, err = f.Write(b)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// writeOwn writes to our own standard output or error, which somebody may have
// stopped reading.
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
		return fmt.Errorf("%s takes no more", f.Name())
	}
}
