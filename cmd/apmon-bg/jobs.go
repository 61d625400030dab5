package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/xdr"
	"github.com/urfave/cli/v2"
)

// findInterval is how often cgroups are looked for.
const findInterval = 10 * time.Second

// jobFlags is what the agent is told of jobs.
type jobFlags struct {
	jobs     []apmon.Job
	own      []apmon.Job // of configurations: one that is not there ends nothing
	services []*watched
	globs    []*cgroupGlob
	node     string // template
	cluster  string
	benchmarks
}

func (f *jobFlags) flags() []cli.Flag {
	return command.Group("Jobs and services",
		&command.Repeat{Forms: []string{"job"}, Value: "PID[,WORKDIR[,CLUSTER[,NODE]]]", Usage: "monitor the job that this process is the root of (repeatable)", Add: f.addJob},
		&command.Repeat{Forms: []string{"service"}, Value: "NAME=PID|NAME=PIDFILE|NAME=~REGEX", Usage: "report a service, whether it runs or not, in cluster NAME_Services; it is all processes whose command lines match REGEX (repeatable)", Add: f.addService},
		&command.Repeat{Forms: []string{"job-cgroup"}, Value: "GLOB", Usage: "every cgroup that matches is a job, found and dropped as they come and go (repeatable)", Add: f.addGlob},
		&cli.StringFlag{Name: "job-node", Usage: "`TEMPLATE` of the nodes of --job-cgroup: {1}, {2}... are what its asterisks matched", DefaultText: "the last element of the path", Destination: &f.node},
		&cli.StringFlag{Name: "job-cluster", Usage: "`CLUSTER` of jobs that name none", DefaultText: "G_Jobs with --host-group G, else " + apmon.DefaultJobCluster, Destination: &f.cluster},
		f.benchmarks.flag(),
	)
}

func (f *jobFlags) addJob(s string) error {
	j, err := parseJob(s)
	if err == nil {
		f.jobs = append(f.jobs, j)
	}
	return err
}

func parseJob(s string) (apmon.Job, error) {
	// A node may hold commas, as it is the last.
	part := append(strings.SplitN(s, ",", 4), "", "", "")
	pid, err := strconv.Atoi(part[0])
	if err != nil || pid <= 0 {
		return apmon.Job{}, fmt.Errorf("%q is not a process id", part[0])
	}
	return apmon.Job{PID: pid, WorkDir: part[1], Cluster: part[2], Node: part[3]}, nil
}

func (f *jobFlags) addService(s string) error {
	name, what, ok := strings.Cut(s, "=")
	if !ok || name == "" || what == "" {
		return fmt.Errorf("%q is none of NAME=PID, NAME=PIDFILE, NAME=~REGEX", s)
	}
	if err := xdr.CheckName(name); err != nil {
		return err
	}
	sv := &watched{name: name, spec: s}
	if pid, err := strconv.Atoi(what); err == nil {
		if pid <= 0 {
			return fmt.Errorf("%q is not a process id", what)
		}
		sv.pid = pid
	} else if expr, ok := strings.CutPrefix(what, "~"); ok {
		if sv.expr, err = regexp.Compile(expr); err != nil {
			return err
		}
	} else {
		sv.file = what
	}
	f.services = append(f.services, sv)
	return nil
}

func (f *jobFlags) addGlob(s string) error {
	g, err := newCgroupGlob(s)
	if err == nil {
		f.globs = append(f.globs, g)
	}
	return err
}

// check refuses what does not go together.
func (f *jobFlags) check() error {
	if f.node != "" && len(f.globs) == 0 {
		return errors.New("--job-node is for --job-cgroup")
	}
	for _, g := range f.globs {
		if err := g.setTemplate(f.node); err != nil {
			return err
		}
	}
	if f.cluster != "" {
		if err := xdr.CheckName(f.cluster); err != nil {
			return command.Errorf(command.DataErr, "--job-cluster: %w", err)
		}
	}
	return nil
}

// jobFinder keeps the jobs of a client in step with what is there.
type jobFinder struct {
	*jobFlags
	client *apmon.Client
	log    *slog.Logger
	host   string          // node of services
	told   map[string]bool // causes

	looking sync.Mutex
}

// begin sets the benchmarks and adds the jobs that are named.
func (f *jobFinder) begin() error {
	f.benchmarks.tell(f.client)
	for _, j := range f.jobs {
		if j.Cluster == "" {
			j.Cluster = f.cluster
		}
		if _, err := f.client.AddJob(j); err != nil {
			return command.Errorf(command.NoInput, "--job: %w", err)
		}
	}
	for _, j := range f.own {
		j.Cluster = cmp.Or(j.Cluster, f.cluster)
		if _, err := f.client.AddJob(j); err != nil {
			f.log.Error("job not monitored", slog.String("directive", "xApMon_watch_job"), slog.String("error", err.Error()))
		}
	}
	for _, sv := range f.services {
		if err := sv.add(f); err != nil {
			return fmt.Errorf("--service %s: %w", sv.name, err)
		}
	}
	found := make(chan struct{})
	go func() {
		f.find(context.Background())
		close(found)
	}()
	select {
	case <-found:
	case <-time.After(findTime): // it goes on, and is not waited for
	}
	return nil
}

// findTime is how long the first look for cgroups is waited for: a file system
// may hang.
const findTime = 2 * time.Second

// run looks for cgroups until ctx ends.
func (f *jobFinder) run(ctx context.Context) {
	if len(f.globs) == 0 {
		return
	}
	tick := time.NewTicker(findInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			go f.find(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// find looks once, unless another look is under way.
func (f *jobFinder) find(ctx context.Context) {
	if !f.looking.TryLock() {
		return
	}
	defer f.looking.Unlock()
	for _, g := range f.globs {
		f.tell("--job-cgroup "+g.pattern, g.find(ctx, f))
	}
}

// tell logs an error once, and once more after it was over.
func (f *jobFinder) tell(what string, err error) {
	if err == nil {
		delete(f.told, what)
		return
	}
	if !f.told[what] {
		f.told[what] = true
		f.log.Warn("jobs not found", slog.String("by", what), slog.String("error", err.Error()))
	}
}

// watched is a service to be monitored.
type watched struct {
	name string
	pid  int
	file string // with its pid
	expr *regexp.Regexp
	spec string // as it was given
}

// add has the service monitored, whether it runs or not.
func (sv *watched) add(f *jobFinder) error {
	job := apmon.Job{Service: &jobtree.Service{}, Cluster: sv.name + "_Services", Node: f.host}
	switch {
	case sv.pid > 0:
		job.PID = sv.pid
	case sv.file != "":
		job.Service.PIDs = func() ([]int, error) { return readPID(sv.file) }
	default:
		job.Service.Match = sv.match
	}
	_, err := f.client.AddJob(job)
	return err
}

// match reports whether a process is the service by its command line. Those that
// hold our own argument are apmon-bg itself, and the shells and wrappers it was
// started by.
func (sv *watched) match(pid int, cmdline []byte) bool {
	exe, _, _ := bytes.Cut(cmdline, []byte{0})
	if pid == os.Getpid() || filepath.Base(string(exe)) == name {
		return false
	}
	line := bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '})
	return sv.expr.Match(line) && !bytes.Contains(line, []byte(sv.spec))
}

// readStart reads the first n bytes of a file, and waits for no pipe.
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

// readPID reads a pid file.
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

// cgroupGlob is a pattern of cgroups that are jobs.
type cgroupGlob struct {
	pattern  string
	expr     *regexp.Regexp // matches the path, a group for each asterisk
	template string
	jobs     map[string]*apmon.MonitoredJob // by path
}

// cgroupRoot is where cgroups are, for patterns that do not begin with a slash.
const cgroupRoot = "/sys/fs/cgroup"

func newCgroupGlob(pattern string) (*cgroupGlob, error) {
	if !path.IsAbs(pattern) {
		pattern = path.Join(cgroupRoot, pattern)
	}
	pattern = path.Clean(pattern)
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	var expr strings.Builder
	expr.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			expr.WriteString("([^/]*)")
		case '?':
			expr.WriteString("[^/]")
		case '[':
			end := i + 1 + strings.IndexByte(pattern[i+1:], ']')
			expr.WriteString(pattern[i : end+1]) // of one syntax, but for what path.Match has refused
			i = end
		case '\\':
			i++
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	expr.WriteString("$")
	re, err := regexp.Compile(expr.String())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", pattern, err)
	}
	return &cgroupGlob{pattern: pattern, expr: re, jobs: map[string]*apmon.MonitoredJob{}}, nil
}

var placeholder = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{[^{}]*\}`) })

// setTemplate sets the template of node names.
func (g *cgroupGlob) setTemplate(template string) error {
	for _, p := range placeholder().FindAllString(template, -1) {
		n, err := strconv.Atoi(strings.Trim(p, "{}"))
		if err != nil || n < 1 || n > g.expr.NumSubexp() {
			return fmt.Errorf("--job-node %q: %s is not of %s, which has %d asterisks", template, p, g.pattern, g.expr.NumSubexp())
		}
	}
	g.template = template
	return nil
}

// node returns the node name of a cgroup.
func (g *cgroupGlob) node(dir string) string {
	m := g.expr.FindStringSubmatch(dir)
	if g.template == "" || m == nil {
		return path.Base(dir)
	}
	return placeholder().ReplaceAllStringFunc(g.template, func(p string) string {
		n, _ := strconv.Atoi(strings.Trim(p, "{}"))
		return m[n]
	})
}

// find adds the cgroups that have come, and drops those that have gone.
func (g *cgroupGlob) find(ctx context.Context, f *jobFinder) error {
	dirs, err := filepath.Glob(g.pattern)
	if err != nil {
		return err
	}
	var errs []error
	there := map[string]bool{}
	for _, dir := range dirs {
		if _, err := os.Stat(dir + "/cgroup.procs"); err != nil {
			continue // not a cgroup (any more)
		}
		there[dir] = true
		if g.jobs[dir] != nil {
			continue
		}
		job, err := f.client.AddJob(apmon.Job{Cgroup: dir, Cluster: f.cluster, Node: g.node(dir)})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		g.jobs[dir] = job
	}
	for dir, job := range g.jobs {
		if there[dir] {
			continue
		}
		delete(g.jobs, dir)
		go func() { // many may go at once, and wait for the rate limit
			ctx, stop := context.WithTimeout(ctx, time.Minute)
			defer stop()
			if err := job.Report(ctx); err != nil {
				f.log.Warn("last report of a job not sent", slog.String("cgroup", dir), slog.String("error", err.Error()))
			}
			job.Remove()
		}()
	}
	return errors.Join(errs...)
}
