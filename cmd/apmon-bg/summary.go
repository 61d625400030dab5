package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
}

// write writes the summary of a job: what was sampled last, and what the kernel
// told of its end. The file is there as a whole, or as it was before.
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
	seconds := func(d time.Duration) procinfo.Value { return procinfo.Known(d.Seconds()) }
	// Where the job was not followed there is still what was waited for.
	or := func(v, otherwise procinfo.Value) procinfo.Value {
		if v.OK {
			return v
		}
		return otherwise
	}
	var code, signal any
	if r.Signal != 0 {
		signal = int(r.Signal)
	} else {
		code = r.ExitCode
	}
	waited := procinfo.Value{V: float64(r.All.MaxRSS), OK: r.All.MaxRSS > 0}
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
		PID            int64          `json:"pid"`
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
		s.Command, s.PID.Load(), code, signal, s.Start.UTC().Truncate(time.Millisecond),
		number(or(last.RunTime, seconds(s.Ended.Sub(s.Start)))),
		number(or(last.CPUTime, seconds(r.All.User+r.All.System))),
		number(or(last.CPUUser, seconds(r.All.User))), number(or(last.CPUSystem, seconds(r.All.System))),
		last.LowerBound || r.Orphans, integer(or(last.MaxRSS, waited)), integer(last.MaxPSS), integer(last.ReadBytes), integer(last.WriteBytes),
		integer(last.ProcessesTotal), integer(last.Samples), values,
	})
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'))
}

// writeTimeout bounds the writing of a summary into a pipe.
const writeTimeout = 300 * time.Millisecond

// writeFile writes a file in one step: who reads it sees the old one or the new.
// A link in its place is replaced; but what it leads to is written to if that is
// our own standard output or error, or no file, such as a terminal or a pipe that
// somebody reads.
func writeFile(path string, b []byte) error {
	st, err := os.Stat(path)
	if err == nil {
		for _, own := range []*os.File{os.Stdout, os.Stderr} {
			if same, err := own.Stat(); err == nil && os.SameFile(st, same) {
				_, err := own.Write(b)
				return err
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
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
