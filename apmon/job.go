package apmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/procinfo/workdir"
)

// DefaultJobCluster is the cluster of jobs that name none.
const DefaultJobCluster = "ApMon_JobMon"

// Job is a job to be monitored: fill in what is known and give it to
// [Client.AddJob].
type Job struct {
	// PID is the root process; PIDs are more of them. A job has a process, a
	// Cgroup, or both, or is a Service.
	PID  int
	PIDs []int
	// Service, if not nil, makes the job a service, whose processes are found
	// anew for each report: see [procinfo.Service]. It is reported with "up" and
	// "restarts", whether it runs or not, until it is removed.
	Service *jobtree.Service
	// Cgroup is the directory of a cgroup that is the job's own: all that is
	// in it belongs to the job.
	Cgroup string
	// WorkDir is the directory whose size and file system are reported; empty
	// for none.
	WorkDir string
	// Cluster is by default [DefaultJobCluster], Node HOST_PID.
	Cluster, Node string
	// NumCPUs is how many CPUs the job was given; 0 for unknown.
	NumCPUs float64
	// Interval between two reports; 0 for that of the configuration, each
	// source its own.
	Interval time.Duration
	// Params switches single parameters by the name of their option, such as
	// "pss"; they count over the configuration. See docs/parameters.md.
	Params map[string]bool
	// Start is when the job started, if that was not with its root process.
	Start time.Time
	// Also are parameters that are sent with each report.
	Also []Param
	// Started, Not and Counter are for who starts the job: see
	// [procinfo.JobOptions].
	Started bool
	Not     []int
	Counter func() (cpu time.Duration, ok bool)
}

// MonitoredJob is a job that is monitored.
type MonitoredJob struct {
	c     *Client
	job   Job
	proc  *jobtree.Job
	dir   *workdir.Dir // nil without
	exit  atomic.Pointer[JobExit]
	state atomic.Pointer[procinfo.Value] // of a service: the last Up
	shift time.Duration                  // of its slots
	tasks []*task                        // one for each group; the monitor's lock guards it
}

// JobExit is how a job ended.
type JobExit struct {
	Code   int // if Signal is 0
	Signal int // that ended it
	// MaxRSS is the most memory that one process of it had, in KB, as wait4(2)
	// tells; 0 for unknown.
	MaxRSS int64
}

// AddTo adds what is known of the end to a sample, as the last report has it.
func (e JobExit) AddTo(s *procinfo.JobSample) {
	if e.Signal != 0 {
		s.ExitSignal = procinfo.Known(float64(e.Signal))
	} else {
		s.ExitCode = procinfo.Known(float64(e.Code))
	}
	if v := float64(e.MaxRSS); v > s.MaxRSS.V {
		s.MaxRSS = procinfo.Known(v)
	}
}

// jobsPerSecond is how many jobs share a slot: their reports, a datagram or two
// each, shall leave the better part of the rate limit to others.
const jobsPerSecond = 15

// AddJob monitors a job until its root process ends or it is removed, a service
// until it is removed. While
// [Client.Monitor] runs it is reported at its interval; in any case when it has
// ended, and when the client is closed. The first sample is taken now.
//
// The error names what is wrong: the process or cgroup that is not there, a
// bad name, an unknown option.
func (c *Client) AddJob(j Job) (*MonitoredJob, error) {
	j, err := c.completeJob(j)
	if err != nil {
		return nil, err
	}
	m := &c.monitor
	scan := m.scan()
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.closed.Load() {
		return nil, ErrClosed
	}
	if m.procs == nil {
		fs := procinfo.DefaultFS(os.Getenv)
		m.procs, m.dirs = jobtree.New(fs, scan), workdir.New(fs)
	}
	mj := &MonitoredJob{c: c, job: j}
	mj.proc, err = m.procs.Add(jobtree.Options{
		PIDs: j.PIDs, Service: j.Service, Cgroup: j.Cgroup, NumCPUs: j.NumCPUs, Start: j.Start, Started: j.Started, Not: j.Not, Counter: j.Counter,
		Exited: func() { go mj.ended() },
	})
	if err != nil {
		return nil, fmt.Errorf("apmon: job %s: %w", j.Node, err)
	}
	if j.WorkDir != "" {
		mj.dir = m.dirs.Add(j.WorkDir)
	}
	mj.shift = time.Duration(m.added/jobsPerSecond) * time.Second
	m.added++
	m.jobs = append(m.jobs, mj)
	m.regroup()
	m.rearm()
	return mj, nil
}

// completeJob checks a job, and fills in what it leaves open.
func (c *Client) completeJob(j Job) (Job, error) {
	if j.PID != 0 {
		j.PIDs = append([]int{j.PID}, j.PIDs...)
	}
	if j.Cluster == "" {
		j.Cluster = DefaultJobCluster
	}
	if j.Node == "" {
		if len(j.PIDs) == 0 {
			return j, errors.New("apmon: a job without a process needs a node name")
		}
		j.Node = fmt.Sprintf("%s_%d", procinfo.Hostname(), j.PIDs[0])
	}
	if err := c.Check(Message{Cluster: j.Cluster, Node: j.Node}); err != nil {
		return j, fmt.Errorf("job: %w", err)
	}
	if err := checkInterval(j.Interval); err != nil {
		return j, fmt.Errorf("apmon: job %s: %w", j.Node, err)
	}
	if !(j.NumCPUs >= 0) {
		return j, fmt.Errorf("apmon: job %s: %v CPUs", j.Node, j.NumCPUs)
	}
	params := map[string]bool{}
	for name, on := range j.Params {
		canonical, ok := KnownOption("job_" + strings.TrimPrefix(name, "job_"))
		if !ok {
			return j, fmt.Errorf("apmon: job %s: unknown option %q", j.Node, name)
		}
		params[canonical] = on
	}
	j.Params = params
	return j, nil
}

// ReportJob sends a sample of a job that is not monitored, such as one that could
// not be started, with more parameters if any are given. Of the job, only its
// names, Params and Also count. It goes to all sources that want reports of jobs.
// The errors are those of [Client.AddJob] and [Client.Send].
func (c *Client) ReportJob(ctx context.Context, j Job, s procinfo.JobSample, more ...Param) error {
	j, err := c.completeJob(j)
	if err != nil {
		return err
	}
	s.Factors = c.benchmarks()
	set := c.set.Load()
	if len(set.groups) == 0 {
		return fmt.Errorf("%w: no configuration has been loaded", ErrNoDestination)
	}
	mj := &MonitoredJob{c: c, job: j}
	var errs []error
	for _, g := range set.wanted(c.opt.tap != nil) {
		if g.opts.JobMonitoring.Or(true) {
			errs = append(errs, c.sendReport(ctx, g, mj.message(nil, &s, mj.choose(g), more)))
		}
	}
	return errors.Join(errs...)
}

// choose returns the [procinfo.Choice] for a group, nil for none.
func (j *MonitoredJob) choose(g *group) procinfo.Choice {
	return func(option string) (on bool, spelled string) {
		if on, ok := j.job.Params[option]; ok {
			return on, ""
		}
		if g != nil {
			return g.choose(option)
		}
		return !optIn()[option], ""
	}
}

// Sample returns the numbers, and sends nothing. It reads what the job's Params
// and the configuration choose, of several sources what any of them does. Rates
// are unknown. What cannot be read is unknown, and its cause returned once.
func (j *MonitoredJob) Sample() (procinfo.JobSample, error) {
	var choices []procinfo.Choice
	for _, g := range j.c.set.Load().groups {
		if g.opts.JobMonitoring.Or(true) {
			choices = append(choices, j.choose(g))
		}
	}
	if len(choices) == 0 {
		return j.sample(j.choose(nil))
	}
	return j.sample(func(option string) (on bool, spelled string) {
		return slices.ContainsFunc(choices, func(c procinfo.Choice) bool { on, _ := c(option); return on }), ""
	})
}

// workDirWait is how long a report waits for the work directory: long enough for
// a small one, so that short jobs have it in their only report.
const workDirWait = 200 * time.Millisecond

func (j *MonitoredJob) sample(choose procinfo.Choice) (procinfo.JobSample, error) {
	s, err := j.proc.Sample(choose)
	if j.dir != nil {
		on := func(options ...string) bool {
			return slices.ContainsFunc(options, func(o string) bool { on, _ := choose("job_" + o); return on })
		}
		u := j.dir.Sample(workDirWait, on("workdir_size"), on("disk_total", "disk_used", "disk_free", "disk_usage"))
		u.Fill(&s)
		err = errors.Join(err, u.Err)
	}
	if e := j.exit.Load(); e != nil {
		e.AddTo(&s)
	}
	s.Factors = j.c.benchmarks()
	j.logState(&s)
	return s, err
}

// logState logs when a service is up, or down, for the first time or again.
func (j *MonitoredJob) logState(s *procinfo.JobSample) {
	if !s.Up.OK {
		return
	}
	if old := j.state.Swap(&s.Up); old != nil && *old == s.Up {
		return
	}
	level, what := slog.LevelInfo, "service is up"
	if s.Up.V == 0 {
		level, what = slog.LevelWarn, "service is down"
	}
	j.c.opt.logger.LogAttrs(context.Background(), level, what, slog.String("cluster", j.job.Cluster), slog.String("node", j.job.Node), slog.Float64("restarts", s.Restarts.V))
}

// Report reports the job now, with more parameters if any are given, and
// returns when that is done.
func (j *MonitoredJob) Report(ctx context.Context, more ...Param) error {
	tasks, err := j.current()
	if err != nil {
		return err
	}
	return j.run(ctx, tasks, false, more)
}

// current returns the tasks that report the job.
func (j *MonitoredJob) current() ([]*task, error) {
	m := &j.c.monitor
	m.mu.Lock()
	tasks, there := slices.Clone(j.tasks), slices.Contains(m.jobs, j)
	m.mu.Unlock()
	switch {
	case j.c.closed.Load():
		return nil, ErrClosed
	case !there:
		return nil, fmt.Errorf("apmon: job %s has been removed", j.job.Node)
	}
	if len(tasks) == 0 && len(j.c.set.Load().groups) == 0 {
		return nil, fmt.Errorf("%w: no configuration has been loaded", ErrNoDestination)
	}
	return tasks, nil
}

func (j *MonitoredJob) run(ctx context.Context, tasks []*task, last bool, more []Param) error {
	return j.c.monitor.runNow(ctx, tasks, last, func(ctx context.Context, t *task) error { return t.report(ctx, more) })
}

// End reports the job a last time, with how it ended, and removes it. It waits
// for its turn where the rate limit is reached, however long that takes, or until
// ctx ends. The error is that of the report.
func (j *MonitoredJob) End(ctx context.Context, e JobExit, more ...Param) error {
	j.exit.Store(&e)
	err := j.last(ctx, more)
	j.Remove()
	return err
}

// last makes the last report: to every destination group that there is now, and
// to those that a reload makes while the report waits for its turn.
func (j *MonitoredJob) last(ctx context.Context, more []Param) error {
	if _, err := j.current(); err != nil {
		return err
	}
	var errs []error
	for tasks := j.c.monitor.end(j); len(tasks) > 0; tasks = j.c.monitor.end(j) {
		errs = append(errs, j.run(ctx, tasks, true, more))
	}
	return errors.Join(errs...)
}

// Ended reports whether the job is no longer monitored: its root processes have
// ended, unless it is a service, or it was removed.
func (j *MonitoredJob) Ended() bool {
	m := &j.c.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	return !slices.Contains(m.jobs, j)
}

// Has reports whether a process was of the job when that was last sampled.
func (j *MonitoredJob) Has(pid int) bool { return j.proc.Has(pid) }

// Remove ends the monitoring of the job, without another report.
func (j *MonitoredJob) Remove() {
	m := &j.c.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.jobs, j); i >= 0 {
		m.jobs = slices.Delete(m.jobs, i, i+1)
		for len(j.tasks) > 0 {
			m.removeLocked(j.tasks[0])
			j.tasks = j.tasks[1:]
		}
		j.proc.Remove()
		m.rearm()
	}
}

// ended reports a job whose roots have ended, unless its launcher does. For a
// service, which may run again, it is one report more; for any other job, the
// last.
func (j *MonitoredJob) ended() {
	switch {
	case j.job.Started:
	case j.job.Service != nil:
		_ = j.Report(j.c.ctx) // the reports count and log what fails
	default:
		if err := j.last(j.c.ctx, nil); err != nil && !j.c.closed.Load() {
			j.c.monitor.lost(j.job.Node, err)
		}
		j.Remove()
	}
}

// message is the report of a sample; its parameters are appended to params.
func (j *MonitoredJob) message(params []Param, s *procinfo.JobSample, choose procinfo.Choice, more []Param) Message {
	params = append(append(s.Append(params, choose), j.job.Also...), more...)
	return Message{Cluster: j.job.Cluster, Node: j.job.Node, Params: params}
}

// jobTask reports on a job to one group.
func (m *monitor) jobTask(j *MonitoredJob, g *group) *task {
	interval := j.job.Interval
	if interval == 0 {
		interval = orDefault(g.opts.JobInterval)
	}
	name := "job " + j.job.Node
	if j.job.Service != nil {
		name = "service " + j.job.Cluster // the node is that of all
	}
	t := &task{name: name, interval: interval, shift: j.shift % interval, group: g, job: j}
	choose := j.choose(g)
	var params []Param
	var prev *procinfo.JobSample
	t.prime = func() {
		s, err := j.sample(choose)
		m.c.notRead(err)
		prev = &s
	}
	t.report = func(ctx context.Context, more []Param) error {
		s, err := j.sample(choose)
		m.c.notRead(err)
		s.Rates(prev)
		prev = &s
		message := j.message(params[:0], &s, choose, more)
		params = message.Params
		return m.c.sendReport(ctx, g, message)
	}
	t.run = func(ctx context.Context, _ bool) error { return t.report(ctx, nil) }
	return t
}
