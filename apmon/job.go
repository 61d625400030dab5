package apmon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apmon-go/apmon/apmon/internal/schedule"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/procinfo/jobtree"
	"github.com/apmon-go/apmon/procinfo/workdir"
)

// Job describes a job to be monitored, see [Client.AddJob]. Fields that are not
// known stay zero.
type Job struct {
	// PID is the root process; PIDs are further root processes. A job has a root
	// process, a Cgroup, or both, or is a Service.
	PID  int
	PIDs []int
	// Service, if not nil, makes the job a service: its processes are looked up
	// for each report, see [jobtree.Service]. The reports have "up" and "restarts".
	// They continue until the job is removed, whether the service runs or not.
	Service *jobtree.Service
	// Cgroup is the directory of a cgroup. All its processes belong to the job.
	Cgroup string
	// WorkDir is the directory whose size and file system are reported; empty
	// for none.
	WorkDir string
	// Cluster and Node are the names of the reports, by default
	// [DefaultJobCluster] and HOST_PID.
	Cluster, Node string
	// NumCPUs is the number of CPUs that the job was given; 0 for unknown.
	NumCPUs float64
	// Interval is the time between two reports; 0 for that of the configuration,
	// which may differ between sources.
	Interval time.Duration
	// Start is the start time of the job, if that is before the start of its root
	// process; zero for the latter.
	Start time.Time
	// Switches select parameters by the name of their option, such as "pss".
	// They override the configuration. See docs/parameters.md.
	Switches map[string]bool
	// Params are sent with each report.
	Params []Param
	// Requested and Allocated are what the job asked for and what it was given, for
	// [MonitoredJob.Record]; see [jobrecord.NewBatch]. NumCPUs, and for a child of this
	// process its own limits, may reduce what was given.
	Requested, Allocated jobrecord.Amounts
	// Launcher is for the program that starts the job; the zero value for all
	// others.
	Launcher JobLauncher
}

// JobLauncher holds the fields of a [Job] that only the program that starts the job
// sets.
type JobLauncher struct {
	// ChildOfThisProcess: this process started the root process, is its parent
	// and a child subreaper (prctl(2)), and calls [MonitoredJob.End]. All
	// processes that it reaps from AddJob on belong to the job. Therefore a process
	// can have only one such job at a time, and must not be part of another job.
	ChildOfThisProcess bool
	// Exclude are other children of this process, which do not belong to the job.
	Exclude []int
	// Children is how many direct children of the root process a sample lists at most.
	Children int
	// Counter, if not nil, returns the CPU time of the whole job from another
	// source, such as an inherited perf counter: 0 if it is unknown, and whether it
	// is complete. It is called for each sample.
	Counter func() (cpu time.Duration, complete bool)
}

// JobExit describes the end of a job.
type JobExit struct {
	Code   int // exit code, if Signal is 0
	Signal int // the signal that ended the job, or 0
	// MaxRSS is the maximum resident memory of a single process of the job, in
	// KB, as wait4(2) returns it; 0 for unknown.
	MaxRSS int64
}

// AddTo adds the exit code or signal and MaxRSS to a sample, as in the last report.
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

// jobsPerSecond is the number of jobs that share a slot: their reports, one or
// two datagrams each, must leave most of the rate limit to other messages.
const jobsPerSecond = 15

// jobs reports on jobs: for each job, one task for each group of report options.
type jobs struct {
	reporter   *reporter
	benchmarks *benchmarks
	processes  *procinfo.Processes // shared with the host

	mu     sync.Mutex
	groups *groups
	procs  *jobtree.Set  // nil before the first job
	dirs   *workdir.Dirs // likewise
	list   []*MonitoredJob
	host   func() *procinfo.General // for records; nil before the first job
	added  int                      // jobs so far
	lost   noted                    // last reports that were not sent
}

// MonitoredJob is a job that is monitored.
type MonitoredJob struct {
	jobs    *jobs
	job     Job
	proc    *jobtree.Job
	dir     *workdir.Dir // nil without
	exit    atomic.Pointer[JobExit]
	record  jobrecord.Recorder
	state   stateLog      // of a service
	shift   time.Duration // of its slots
	reports []*jobReport  // one for each group; the mutex of jobs guards it

	finishing atomic.Bool   // the last report is under way or was made
	finished  chan struct{} // closed when it has been made
	lastErr   error         // of the last report
}

// jobReport is the [Messenger] that reports on a job to one group.
type jobReport struct {
	job    *MonitoredJob
	group  *group
	task   *schedule.Task
	more   []Param // for one report on demand
	params []Param
	prev   *procinfo.JobSample
}

// AddJob monitors a job until its root process ends or the job is removed, a service
// until it is removed. The job is reported at its interval while
// [Client.Monitor] runs, and in any case when it has ended and when the client is
// closed. AddJob takes the first sample.
//
// The error names a process or cgroup that does not exist, a bad name, or an unknown
// option.
func (c *Client) AddJob(j Job) (*MonitoredJob, error) { return c.jobs.add(j) }

// ReportJob sends a sample of a job that is not monitored, such as one that could
// not be started, with more parameters if any are given. It uses only the names,
// Switches and Params of the job. It sends to all destinations whose sources want
// reports on jobs. The errors are those of [Client.AddJob] and [Client.Send].
func (c *Client) ReportJob(ctx context.Context, j Job, s procinfo.JobSample, more ...Param) error {
	return c.jobs.report(ctx, j, s, more)
}

// add is [Client.AddJob].
func (js *jobs) add(j Job) (*MonitoredJob, error) {
	j, err := js.complete(j)
	if err != nil {
		return nil, err
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.reporter.sender.closed.Load() {
		return nil, ErrClosed
	}
	if js.procs == nil {
		fs := procinfo.DefaultFS(os.Getenv)
		js.procs, js.dirs = jobtree.New(fs, js.processes), workdir.New(fs)
		js.host = sync.OnceValue(func() *procinfo.General { return hardware(fs) })
	}
	mj := &MonitoredJob{jobs: js, job: j, finished: make(chan struct{})}
	mj.proc, err = js.procs.Add(jobtree.Options{
		PIDs: j.PIDs, Service: j.Service, Cgroup: j.Cgroup, NumCPUs: j.NumCPUs, Start: j.Start,
		ChildOfThisProcess: j.Launcher.ChildOfThisProcess, Exclude: j.Launcher.Exclude, Counter: j.Launcher.Counter, Children: j.Launcher.Children,
		Exited: func() { go mj.ended() },
	})
	if err != nil {
		return nil, fmt.Errorf("apmon: job %s: %w", j.Node, err)
	}
	if j.WorkDir != "" {
		mj.dir = js.dirs.Add(j.WorkDir)
	}
	mj.shift = time.Duration(js.added/jobsPerSecond) * time.Second
	js.added++
	js.list = append(js.list, mj)
	js.regroup()
	return mj, nil
}

// complete checks a job, and fills in its defaults.
func (js *jobs) complete(j Job) (Job, error) {
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
	if err := js.reporter.sender.check(&Message{Cluster: j.Cluster, Node: j.Node}); err != nil {
		return j, fmt.Errorf("job: %w", err)
	}
	if err := checkInterval(j.Interval); err != nil {
		return j, fmt.Errorf("apmon: job %s: %w", j.Node, err)
	}
	if !(j.NumCPUs >= 0) {
		return j, fmt.Errorf("apmon: job %s: %v CPUs", j.Node, j.NumCPUs)
	}
	switches := map[string]bool{}
	for name, on := range j.Switches {
		canonical, ok := KnownOption("job_" + strings.TrimPrefix(name, "job_"))
		if !ok {
			return j, fmt.Errorf("apmon: job %s: unknown option %q", j.Node, name)
		}
		switches[canonical] = on
	}
	j.Switches = switches
	return j, nil
}

// follow changes the tasks to those of a new configuration.
func (js *jobs) follow(gs *groups) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.groups = gs
	js.regroup()
}

// regroup adds and removes tasks. The caller holds the mutex.
func (js *jobs) regroup() {
	for _, j := range js.list {
		j.reports = slices.DeleteFunc(j.reports, func(r *jobReport) bool {
			if slices.Contains(js.groups.wanted, r.group) {
				return false
			}
			js.reporter.schedule.Remove(r.task)
			return true
		})
		for _, g := range js.groups.wanted {
			if g.jobs() && !slices.ContainsFunc(j.reports, func(r *jobReport) bool { return r.group == g }) {
				j.reports = append(j.reports, j.add(g))
			}
		}
	}
}

// inForce returns the groups in force.
func (js *jobs) inForce() *groups {
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.groups
}

// report is [Client.ReportJob].
func (js *jobs) report(ctx context.Context, j Job, s procinfo.JobSample, more []Param) error {
	j, err := js.complete(j)
	if err != nil {
		return err
	}
	s.Factors = js.benchmarks.get()
	gs := js.inForce()
	if len(gs.all) == 0 {
		return errNotLoaded
	}
	mj := &MonitoredJob{jobs: js, job: j}
	var errs []error
	for _, g := range gs.wanted {
		if g.jobs() {
			errs = append(errs, js.reporter.sender.report(ctx, g.tag, mj.message(nil, &s, mj.choose(g), more)))
		}
	}
	return errors.Join(errs...)
}

// lastReports reports every job, except those just reported, for half a second
// at most.
func (js *jobs) lastReports(ctx context.Context) {
	const justNow, limit = time.Second, 500 * time.Millisecond
	js.mu.Lock()
	var runs []schedule.Run
	for _, j := range js.list {
		for _, r := range j.reports {
			if !js.reporter.schedule.RanWithin(r.task, justNow) {
				runs = append(runs, schedule.Run{Task: r.task})
			}
		}
	}
	js.mu.Unlock()
	if len(runs) == 0 {
		return
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	_ = js.reporter.schedule.RunNow(ctx, runs...) // failures are counted and logged
}

// close closes the files of the jobs.
func (js *jobs) close() {
	js.mu.Lock()
	procs, dirs := js.procs, js.dirs
	js.mu.Unlock()
	if procs != nil {
		procs.Close()
		dirs.Close()
	}
}

// logLost logs that the last report of a job was not sent. Many jobs may end
// together, so it logs at most one line a minute.
func (js *jobs) logLost(node string, err error) {
	js.mu.Lock()
	more, pass := js.lost.pass(js.reporter.sender.network.now())
	js.mu.Unlock()
	if !pass {
		return
	}
	js.reporter.logger.LogAttrs(context.Background(), slog.LevelWarn, "last report of a job not sent, or incomplete",
		append([]slog.Attr{slog.String("node", node), slog.String("error", err.Error())}, repeated(more)...)...)
}

// add adds the task that reports the job to one group.
func (j *MonitoredJob) add(g *group) *jobReport {
	interval := j.job.Interval
	if interval == 0 {
		interval = orDefault(g.opts.JobInterval)
	}
	name := "job " + j.job.Node
	if j.job.Service != nil {
		name = "service " + j.job.Cluster // all services of a host have one node
	}
	rep := j.jobs.reporter
	r := &jobReport{job: j, group: g}
	r.task = &schedule.Task{Name: name, Interval: interval, Shift: j.shift % interval, Prime: r.prime}
	r.task.Run = rep.run(r.task, route{to: g.tag}, r)
	rep.schedule.Add(r.task)
	return r
}

// prime takes the sample from which the rates of the first report are computed.
func (r *jobReport) prime() {
	s, err := r.job.sample(r.job.choose(r.group))
	r.job.jobs.reporter.notRead(err)
	r.prev = &s
}

func (r *jobReport) Messages(_ context.Context, send func(Message) error) error {
	choose := r.job.choose(r.group)
	s, err := r.job.sample(choose)
	r.job.jobs.reporter.notRead(err)
	s.Rates(r.prev)
	r.prev = &s
	m := r.job.message(r.params[:0], &s, choose, r.more)
	r.params = m.Params
	return send(m)
}

// with returns a run of the report with more parameters.
func (r *jobReport) with(more []Param) schedule.Run {
	return schedule.Run{Task: r.task, Do: func(ctx context.Context) error {
		r.more = more
		defer func() { r.more = nil }()
		return r.task.Run(ctx)
	}}
}

// choose returns the [procinfo.Choice] for a group, nil for the default.
func (j *MonitoredJob) choose(g *group) procinfo.Choice {
	return func(option string) (on bool, spelled string) {
		if on, ok := j.job.Switches[option]; ok {
			return on, ""
		}
		return g.choose(option)
	}
}

// message returns the report of a sample; its parameters are appended to params.
func (j *MonitoredJob) message(params []Param, s *procinfo.JobSample, choose procinfo.Choice, more []Param) Message {
	params = append(append(s.Append(params, choose), j.job.Params...), more...)
	return Message{Cluster: j.job.Cluster, Node: j.job.Node, Params: params}
}

// Sample takes a sample of the job and sends nothing. It reads the parameters that
// the job's Switches or any source of configuration choose. Rates are unknown. A
// value that cannot be read is unknown, and the error is returned once.
func (j *MonitoredJob) Sample() (procinfo.JobSample, error) {
	var choices []procinfo.Choice
	for _, g := range j.jobs.inForce().all {
		if g.jobs() {
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
// a small one, so that it is in the only report of a short job.
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
	s.Factors = j.jobs.benchmarks.get()
	j.record.Add(s, err)
	j.logState(&s)
	return s, err
}

// hardware reads the values of a host for records. What cannot be read is unknown.
func hardware(fs procinfo.FS) *procinfo.General {
	h := procinfo.NewHost(fs)
	defer h.Close()
	g, _ := h.Hardware()
	return g
}

// Record returns the record of the job so far: of all samples that reports and
// [MonitoredJob.Sample] have taken. It takes none, and can also be called after the end of
// the job. The first call reads the hardware of the host.
//
// The exit code is known if [MonitoredJob.End] was called, or if the kernel let this
// process read it: see [procinfo.JobSample].
func (j *MonitoredJob) Record() *jobrecord.Record {
	r := j.record.Record()
	job := &r.Job
	job.Cluster, job.Node, job.Host = jobrecord.Text(j.job.Cluster), jobrecord.Text(j.job.Node), jobrecord.Text(procinfo.Hostname())
	if len(j.job.PIDs) > 0 {
		job.PID = procinfo.Known(float64(j.job.PIDs[0]))
	}
	g := j.jobs.host()
	r.Hardware = jobrecord.NewHardware(g)
	r.Hardware.Benchmarks = j.jobs.benchmarks.get()
	allocated := j.job.Allocated
	if j.job.NumCPUs > 0 {
		allocated = allocated.Least(jobrecord.Amounts{CPUs: jobrecord.Amount{Value: procinfo.Known(j.job.NumCPUs), Source: "NumCPUs"}})
	}
	if j.job.Launcher.ChildOfThisProcess { // others may be in other cgroups
		allocated = allocated.Least(jobrecord.Limits(g))
	}
	r.SetResources(j.job.Requested, allocated)
	return r
}

// A service may start and stop frequently: its first stateLines changes of state
// are logged at once, and later ones at most every stateEvery.
const (
	stateLines = 10
	stateEvery = 6 * time.Minute
)

// stateLog bounds the log lines about the state of a service.
type stateLog struct {
	mu  sync.Mutex
	up  procinfo.Value // as logged last
	due time.Time      // the time of the next line if lines are logged every stateEvery
}

// pass reports whether a state must be logged now. A state that does not pass is
// logged later, unless it has changed back by then.
func (l *stateLog) pass(up procinfo.Value, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up == l.up || l.due.Sub(now) > (stateLines-1)*stateEvery {
		return false
	}
	if l.due.Before(now) {
		l.due = now
	}
	l.up, l.due = up, l.due.Add(stateEvery)
	return true
}

// logState logs when a service goes up or down.
func (j *MonitoredJob) logState(s *procinfo.JobSample) {
	if !s.Up.OK || !j.state.pass(s.Up, time.Now()) {
		return
	}
	level, state := slog.LevelInfo, "service is up"
	if s.Up.V == 0 {
		level, state = slog.LevelWarn, "service is down"
	}
	j.jobs.reporter.logger.LogAttrs(context.Background(), level, state, slog.String("cluster", j.job.Cluster), slog.String("node", j.job.Node), slog.Float64("restarts", s.Restarts.V))
}

// Report reports the job now, with more parameters if any are given, and
// returns when that is done. If the last report of the job is under way, Report
// waits for it and returns its error.
func (j *MonitoredJob) Report(ctx context.Context, more ...Param) error {
	reports, err := j.current()
	if err != nil {
		return err
	}
	err = j.jobs.reporter.schedule.RunNow(ctx, runs(reports, more)...)
	if j.finishing.Load() {
		return j.awaitLast(ctx) // it replaces this report
	}
	return err
}

// current returns the reports of the job.
func (j *MonitoredJob) current() ([]*jobReport, error) {
	js := j.jobs
	js.mu.Lock()
	reports, monitored, loaded := slices.Clone(j.reports), slices.Contains(js.list, j), len(js.groups.all) > 0
	js.mu.Unlock()
	switch {
	case js.reporter.sender.closed.Load():
		return nil, ErrClosed
	case !monitored:
		return nil, fmt.Errorf("apmon: job %s has been removed", j.job.Node)
	case len(reports) == 0 && !loaded:
		return nil, errNotLoaded
	}
	return reports, nil
}

// runs returns a run of each report, with more parameters.
func runs(reports []*jobReport, more []Param) []schedule.Run {
	all := make([]schedule.Run, len(reports))
	for i, r := range reports {
		all[i] = r.with(more)
	}
	return all
}

// End is [MonitoredJob.Finish] for a job whose exit code or signal is known.
func (j *MonitoredJob) End(ctx context.Context, e JobExit, more ...Param) error {
	j.exit.Store(&e)
	return j.Finish(ctx, more...)
}

// Finish makes the last report of the job, with more parameters if any are given, and
// removes the job. If the rate limit is reached, it waits without a time limit or
// until ctx ends. There is only one last report: if it is already under way because
// the processes of the job have ended, Finish waits for it and returns its error.
func (j *MonitoredJob) Finish(ctx context.Context, more ...Param) error {
	if j.finishing.Swap(true) {
		return j.awaitLast(ctx)
	}
	defer close(j.finished)
	defer j.Remove()
	j.lastErr = j.last(ctx, more)
	return j.lastErr
}

// awaitLast waits for the last report and returns its error.
func (j *MonitoredJob) awaitLast(ctx context.Context) error {
	select {
	case <-j.finished:
		return j.lastErr
	case <-ctx.Done():
		return fmt.Errorf("apmon: job %s: waiting for the last report: %w", j.job.Node, context.Cause(ctx))
	}
}

// last makes the last report, to every present group and to those that a reload adds
// while the report waits for the rate limit.
func (j *MonitoredJob) last(ctx context.Context, more []Param) error {
	if _, err := j.current(); err != nil {
		return err
	}
	var errs []error
	for reports := j.reserve(); len(reports) > 0; reports = j.reserve() {
		errs = append(errs, j.jobs.reporter.schedule.RunFinal(ctx, runs(reports, more)...))
	}
	return errors.Join(errs...)
}

// reserve reserves the tasks of the job for the last report. It returns each task
// only once.
func (j *MonitoredJob) reserve() (reports []*jobReport) {
	j.jobs.mu.Lock()
	defer j.jobs.mu.Unlock()
	for _, r := range j.reports {
		if j.jobs.reporter.schedule.Finish(r.task) {
			reports = append(reports, r)
		}
	}
	return reports
}

// Ended reports whether the job is no longer monitored: it was removed, or its
// root processes have ended and it is not a service.
func (j *MonitoredJob) Ended() bool {
	j.jobs.mu.Lock()
	defer j.jobs.mu.Unlock()
	return !slices.Contains(j.jobs.list, j)
}

// Has reports whether a process belonged to the job when it was last sampled.
func (j *MonitoredJob) Has(pid int) bool { return j.proc.Has(pid) }

// Remove ends the monitoring of the job, without another report.
func (j *MonitoredJob) Remove() {
	js := j.jobs
	js.mu.Lock()
	defer js.mu.Unlock()
	if i := slices.Index(js.list, j); i >= 0 {
		js.list = slices.Delete(js.list, i, i+1)
		for _, r := range j.reports {
			js.reporter.schedule.Remove(r.task)
		}
		j.reports = nil
		j.proc.Remove()
	}
}

// ended is called when the root processes have ended. It reports the job, unless its
// launcher does. A service may start again and stays monitored; any other job is
// removed.
func (j *MonitoredJob) ended() {
	sender := j.jobs.reporter.sender
	switch {
	case j.job.Launcher.ChildOfThisProcess:
	case j.job.Service != nil:
		_ = j.Report(sender.network.ctx) // failures are counted and logged
	default:
		if err := j.Finish(sender.network.ctx); err != nil && !sender.closed.Load() {
			j.jobs.logLost(j.job.Node, err)
		}
	}
}
