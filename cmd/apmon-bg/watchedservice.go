package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/xdr"
)

// watchedService is a service to be monitored.
type watchedService struct {
	name string
	pid  int
	file string // holds its pid
	expr *regexp.Regexp
	spec string // as written
}

// parseService reads NAME=PID, NAME=PIDFILE or NAME=~REGEX.
func parseService(s string) (*watchedService, error) {
	name, processes, ok := strings.Cut(s, "=")
	if !ok || name == "" || processes == "" {
		return nil, fmt.Errorf("%q is not NAME=PID, NAME=PIDFILE or NAME=~REGEX", s)
	}
	if err := xdr.CheckName(name); err != nil {
		return nil, err
	}
	sv := &watchedService{name: name, spec: s}
	if pid, err := strconv.Atoi(processes); err == nil {
		if pid <= 0 {
			return nil, fmt.Errorf("%q is not a process id", processes)
		}
		sv.pid = pid
	} else if expr, ok := strings.CutPrefix(processes, "~"); ok {
		if sv.expr, err = regexp.Compile(expr); err != nil {
			return nil, err
		}
	} else {
		sv.file = processes
	}
	return sv, nil
}

// job returns the job that reports the service on a node, whether it runs or not.
func (sv *watchedService) job(node string) apmon.Job {
	job := apmon.Job{Service: &jobtree.Service{}, Cluster: sv.name + "_Services", Node: node}
	switch {
	case sv.pid > 0:
		job.PID = sv.pid
	case sv.file != "":
		job.Service.PIDs = func() ([]int, error) { return readPID(sv.file) }
	default:
		job.Service.Match = sv.match
	}
	return job
}

// match reports whether a process is the service by its command line. Command lines that
// contain the whole specification are apmon-bg itself, and the shells and wrappers that
// started it.
func (sv *watchedService) match(pid int, args []string) bool {
	if pid == os.Getpid() || filepath.Base(args[0]) == name {
		return false
	}
	line := strings.Join(args, " ")
	return sv.expr.MatchString(line) && !strings.Contains(line, sv.spec)
}

// readStart reads the first n bytes of a regular file.
func readStart(file string, n int64) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a regular file", file))
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// readPID reads a process id from a file.
func readPID(file string) ([]int, error) {
	b, err := readStart(file, 64)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return nil, fmt.Errorf("%s does not begin with a process id", file)
	}
	return []int{pid}, nil
}
