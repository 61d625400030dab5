package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/cmd/apmon-bg/internal/launch"
	"github.com/apmon-go/apmon/cmd/internal/command"
	"github.com/apmon-go/apmon/conf"
	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/jobrecord"
	"github.com/apmon-go/apmon/xdr"
)

const execDescription = `Runs CMD and monitors it as a job: sends a report at the start (status=started),
one each interval, and a last one (status=ended) with the exit code, totals and
peaks. With --no-send, or without a destination, exec measures the job for the
files of its record and sends nothing.

Record:
--summary has the whole record at the end: docs/job-record.schema.json describes it.
--series and --prmon-txt grow by a line with each sample, and --prmon-json is
replaced with each line, so that a node that dies leaves what was measured so far.
Efficiencies refer to what the job requested, and to what it was given: --cpus,
--memory and --time-limit; else _CONDOR_JOB_AD, _CONDOR_MACHINE_AD or SLURM_*; the
latter also to the limits of the cgroup.

Streams and signals:
CMD inherits standard input, output and error, the environment, the process group
and the limits. Signals to the process group reach CMD directly; exec forwards
signals that are sent to exec alone. Under job control, exec stops and continues
together with CMD. Processes that outlive CMD (orphans) are counted, and exec waits
for them for the time of --orphan-wait. If apmon-bg is killed, CMD keeps running.

Faults:
Monitoring never makes the job fail: a broken configuration, an unreachable
destination and a file that cannot be written are warnings. exec does not delay
the start of CMD. It delays the end by at most 2 s. While orphans live, it delays
the end by --orphan-wait plus 0.5 s if that is longer; --kill-orphans adds up to 2 s. If
CMD cannot be started, exec still sends a last report and an accounting record and
writes the summary. If the limits leave no room for monitoring (descriptors,
processes), exec prints one line, removes the files of an earlier run and
replaces itself by CMD. exec needs at least 6 processes (ulimit -u) and 1.5 GB of
addresses (ulimit -v) to start.

Names:
The node is the first of these that is set: -n, APMON_NODE, MonitorJobID,
ALIEN_PROC_ID, the job of _CONDOR_JOB_AD, SLURM_JOB_ID, PBS_JOBID, LSB_JOBID,
GRID_GLOBAL_JOBID. The cluster is -c, APMON_CLUSTER, MonitorID, else
` + apmon.DefaultJobCluster + `.

Cgroups:
If exec may create a cgroup (version 2) below its own, CMD runs in it, and its CPU
time is exact. The peak of its memory and the OOM kills are exact, too, if the own
cgroup has the memory controller and no other process. Otherwise see docs/jobs.md.

Environment:
   APMON_INTERVAL       interval, if --interval is not given
   ` + disabledVariable + `   parameters that are not measured, such as pss,io
` + command.Variables + `, else none.

Exit status:
That of CMD, or 128+N if signal N ended it; 126 if CMD cannot be executed, 127 if
it does not exist; 64 for wrong usage, 65 for an invalid --set.

Examples:
   apmon-bg exec -d ml.example.org -c MySite_Jobs -n 123456 -- ./job 7
   apmon-bg exec --summary usage.json --workdir . --cpus 4 -- ./job`

// sampleInterval is the longest time between two samples of the job: samples
// between the reports find the peaks.
const sampleInterval = 10 * time.Second

// After the end of a job, exec itself ends within afterEnd, or within afterOrphans of
// the end of the wait for orphans if that is later. Reports may take this time, except
// its last part, closing. The help promises 2 s and 0.5 s: on a busy machine the end of
// the process takes a part of them.
const (
	afterEnd     = 1800 * time.Millisecond
	afterOrphans = 400 * time.Millisecond
	closing      = 250 * time.Millisecond
	orphanWait   = afterEnd - afterOrphans // by default
)

// runner runs a job. Each wait of it has a time limit: a goroutine that hangs ends with
// the process.
type runner struct {
	command.Destinations
	benchmarks
	recording
	set    []apmon.Param // of --set
	setErr error
	flush  func() // of the log
	client *apmon.Client
	as     apmon.Job // the names and settings of the reports
	sends  bool      // there are destinations
	log    *slog.Logger

	ctx   context.Context                    // ends after the last report
	job   atomic.Pointer[apmon.MonitoredJob] // nil if the job cannot be followed
	begun chan struct{}                      // closed when client and job are set
	first chan struct{}                      // closed after the first report
}

func execCommand(getenv func(string) string, stderr *command.LossyWriter) *cli.Command {
	r := &runner{
		flush:        stderr.Flush,
		Destinations: command.Destinations{Name: name, Getenv: getenv, Stderr: stderr, System: conf.SystemFile},
	}
	return &cli.Command{
		Name:        "exec",
		Usage:       "run a job and monitor it",
		UsageText:   name + " exec [options] -- CMD ARG...",
		Description: execDescription,
		ArgsUsage:   "CMD ARG...",
		Flags: slices.Concat(r.Flags(), command.Group("Reports",
			&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of the job"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Usage: "`NODE` of the job, usually its id"},
			intervalFlag(),
			&cli.StringFlag{Name: "workdir", Usage: "report the size and the file system of `DIR`"},
			&cli.BoolFlag{Name: "no-send", DisableDefaultText: true, Usage: "send nothing: measure for the files only"},
			&cli.StringFlag{Name: "accounting", Usage: "send an accounting record for `GROUP/USER` at the end"},
			&command.Repeat{Forms: []string{"set"}, Value: "NAME=VALUE", Usage: "send this with each report (repeatable)", Add: r.addSet},
			r.benchmarks.flag(),
		), recordFlags(), command.Group("Command",
			&cli.GenericFlag{Name: "orphan-wait", Value: command.NewDuration(orphanWait), Usage: "wait `TIME` for processes that outlive CMD; a number is seconds"},
			&cli.BoolFlag{Name: "kill-orphans", DisableDefaultText: true, Usage: "end these processes after that time: TERM, then KILL after 1 s"},
			&cli.BoolFlag{Name: "cgroup", DisableDefaultText: true, Usage: "warn if CMD cannot run in a cgroup of its own"},
			&cli.BoolFlag{Name: "reraise", DisableDefaultText: true, Usage: "end by the signal that ended CMD"},
		)),
		Action: r.run,
	}
}

func (r *runner) addSet(s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME=VALUE", s)
	}
	p, err := command.ParseValue(name, value)
	if err != nil {
		if r.setErr == nil {
			r.setErr = err // returned by run: the flag parser would drop its exit code
		}
		return nil
	}
	r.set = append(r.set, p)
	return nil
}

func (r *runner) run(cc *cli.Context) error {
	if err := r.checkUsage(cc); err != nil {
		return err
	}
	if err := launch.Prepare(); err != nil {
		unmonitored(cc, r.files(), err)
	}
	// Writing to a closed standard output or error must not end exec.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	r.log = r.Logger()
	r.recording.log = r.log

	ctx, stop := context.WithCancel(cc.Context)
	defer stop()
	r.ctx, r.begun, r.first = ctx, make(chan struct{}), make(chan struct{})
	dir, err := makeCgroup()
	if err != nil && cc.Bool("cgroup") {
		r.log.Warn("no cgroup for the job", slog.String("error", err.Error()))
	}
	s := summary{Command: cc.Args().Slice(), Start: time.Now()}
	result, err := launch.Run(r.options(cc, &s, dir))
	if errors.Is(err, launch.ErrNoRoom) {
		dir.remove()
		unmonitored(cc, r.files(), err)
	}
	if s.Ended, s.Err = time.Now(), err; err != nil {
		r.open(cc)
		close(r.begun)
	}
	r.progress.end()
	limit := endLimit(result, s.Ended)
	written := r.end(cc, &s, result, limit.Add(-closing))
	stop()
	r.close(written, time.Until(limit)-closing/2)
	result.Release() // not earlier: it would be billed to the job
	dir.remove()
	if s.Err != nil {
		return command.Errorf(result.Code(), "%w", s.Err)
	}
	if result.Signal != 0 && cc.Bool("reraise") {
		r.flush() // main cannot
		launch.Reraise(result.Signal)
	}
	return command.Silent(result.Code())
}

// checkUsage returns an error for wrong flags and arguments.
func (r *runner) checkUsage(cc *cli.Context) error {
	if !cc.Args().Present() {
		return errors.New("no command to run")
	}
	if cc.Float64("cpus") < 0 || cc.Duration("orphan-wait") < 0 {
		return errors.New("--cpus and --orphan-wait must not be negative")
	}
	if err := r.recording.read(cc); err != nil {
		return err
	}
	if group, user, ok := strings.Cut(cc.String("accounting"), "/"); cc.IsSet("accounting") && (!ok || group == "" || user == "") {
		return fmt.Errorf("--accounting %q is not GROUP/USER", cc.String("accounting"))
	}
	return r.setErr
}

// unmonitored replaces this process by the command, for limits that leave no room
// for monitoring. It does not return.
func unmonitored(cc *cli.Context, files []string, err error) {
	for _, file := range files {
		removeResult(file)
	}
	launch.Exec(name, "the job runs without monitoring: "+err.Error(), cc.Args().Slice())
}

// options returns the options to run the job with, in the cgroup dir.
func (r *runner) options(cc *cli.Context, s *summary, dir *ownCgroup) launch.Options {
	return launch.Options{
		Args:        s.Command,
		OrphanWait:  cc.Duration("orphan-wait"),
		KillOrphans: cc.Bool("kill-orphans"),
		CgroupDir:   dir.path(),
		Started: func(c launch.Command) {
			defer close(r.begun)
			s.PID.Store(int64(c.PID))
			r.open(cc) // after the start, which must not wait for it
			r.begin(c, dir, r.as)
		},
		Ended: func(launch.Result) {
			if job := r.job.Load(); job != nil {
				r.sample(job) // some values exist only until the root is reaped
			}
		},
		Warn: func(err error) { r.log.Warn("running the job", slog.String("error", err.Error())) },
	}
}

// open creates the client and sets the names of the reports. Errors are warnings. It does
// not wait for files or the network.
func (r *runner) open(cc *cli.Context) {
	warn := func(err error) {
		if err != nil {
			r.log.Warn("monitoring", slog.String("error", err.Error()))
		}
	}
	warn(r.Check(cc))
	adjust, err := r.Adjust()
	if warn(err); err != nil {
		adjust = func(*conf.Config) {}
	}
	interval, err := interval(cc, r.Getenv)
	warn(err)
	var sources []conf.Source
	if !cc.Bool("no-send") {
		sources, err = r.Sources()
		warn(err)
	}
	if onlyDefault(sources) {
		sources = nil // no destination is configured
	}
	r.sends = len(sources) > 0
	cluster, node := command.JobNames(r.Getenv, cc.String("cluster"), cc.String("node"))
	for _, name := range []*string{&cluster, &node} {
		if *name != "" {
			if err := xdr.CheckName(*name); err != nil {
				warn(fmt.Errorf("name of the job: %w", err))
				*name = ""
			}
		}
	}
	o := r.Options(cc)
	o.OpenInBackground, o.Adjust = true, adjust
	o.AdjustSource = func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }
	if r.client, err = apmon.OpenSources(cc.Context, sources, o, apmon.WithLogger(r.Logger())); err != nil {
		warn(err)
		r.client, err = apmon.OpenSources(cc.Context, nil, apmon.Options{OpenInBackground: true})
		warn(err)
	}
	r.benchmarks.set(r.client)
	r.as = apmon.Job{Cluster: cluster, Node: node, WorkDir: cc.String("workdir"), NumCPUs: cc.Float64("cpus"), Interval: interval, Params: r.set}
	for _, err := range r.recording.prepare(&r.as, r.Getenv) {
		warn(err)
	}
}

// begin starts to follow the job, and sends its first report.
func (r *runner) begin(c launch.Command, dir *ownCgroup, j apmon.Job) {
	j.PID = c.PID
	j.Launcher = apmon.JobLauncher{ChildOfThisProcess: true, Exclude: c.Exclude, Counter: c.CPUTime}
	j.Launcher.Children = r.children
	if c.Cgroup {
		j.Cgroup = dir.path()
	}
	job, err := r.client.AddJob(j)
	if err != nil {
		r.log.Warn("the job is not monitored", slog.String("error", err.Error()))
		return
	}
	if err := r.client.Monitor(r.ctx); err != nil {
		r.log.Warn("the job is not monitored", slog.String("error", err.Error()))
	}
	r.job.Store(job)
	go func() {
		defer close(r.first)
		if !r.sends {
			return
		}
		if r.client.Ready(r.ctx) == nil {
			if err := job.Report(r.ctx, apmon.String("status", "started")); err != nil && r.ctx.Err() == nil {
				r.log.Warn("first report not sent", slog.String("error", err.Error()))
			}
		}
	}()
	go r.follow(job)
}

// follow takes samples of the job until its end, and writes them to the files.
func (r *runner) follow(job *apmon.MonitoredJob) {
	began := time.Now()
	r.recording.open(began)
	if r.summary != "" {
		go job.Record() // reads the hardware while the job runs
	}
	if r.whileRunning() {
		s := r.sample(job)
		r.recording.add(&s, job.Record)
	}
	for trimmed := false; ; {
		elapsed := time.Since(began)
		select {
		case <-time.After(r.recording.next(elapsed) - elapsed):
			if !trimmed {
				launch.Trim() // not earlier: a short job needs the memory anyway
				trimmed = true
			}
			s := r.sample(job)
			r.recording.add(&s, job.Record)
		case <-r.ctx.Done():
			return
		}
	}
}

// sample takes a sample of the job. Sample returns each cause of an error once, so
// each is logged here.
func (r *runner) sample(job *apmon.MonitoredJob) procinfo.JobSample {
	s, err := job.Sample()
	if err != nil && r.ctx.Err() == nil && !job.Ended() {
		r.log.Warn("some values cannot be read and are not reported", slog.String("error", err.Error()))
	}
	return s
}

// end starts to write the summary and sends the last reports, until limit. The job
// has been reaped, or could not be started. It returns a channel that is closed
// once the files are written.
func (r *runner) end(cc *cli.Context, s *summary, result launch.Result, limit time.Time) (written <-chan struct{}) {
	exit := apmon.JobExit{Code: result.ExitCode, Signal: int(result.Signal), MaxRSS: result.All.MaxRSS}
	var job *apmon.MonitoredJob
	begun := false
	select {
	case <-r.begun:
		begun, job = true, r.job.Load()
	default: // Started hangs; Warn has reported it
	}
	last := s.waitedFor(result)
	if job != nil {
		if now := r.sample(job); now.CPUTime.OK {
			last = now
		}
	}
	exit.AddTo(&last)
	if begun {
		written = r.writeFiles(job, s, result, last)
	} else {
		written = (&runner{recording: recording{summary: r.summary, log: r.log}}).writeFiles(nil, s, result, last) // Started still uses r
	}
	if !begun || !r.sends {
		if job != nil {
			job.Remove() // otherwise Close reports it
		}
		return written
	}
	ctx, stop := context.WithDeadline(r.ctx, limit)
	defer stop()
	if err := r.client.Ready(ctx); err != nil {
		r.log.Warn("nothing was reported: no configuration was read in time")
		return written
	}
	account, report := r.lastReports(ctx, s, job, exit, last)
	if group, user, ok := strings.Cut(cc.String("accounting"), "/"); ok {
		if err := account(apmon.Accounting{Group: group, User: user, RSSKB: last.MaxRSS}); err != nil {
			r.log.Warn("accounting record not sent", slog.String("error", err.Error()))
		}
	}
	if err := report(apmon.String("status", "ended")); err != nil {
		r.log.Warn("last report not sent, or incomplete", slog.String("error", err.Error()))
	}
	return written
}

// lastReports returns functions that send the accounting record and the last
// report: of job, or of the sample last if job is nil.
func (r *runner) lastReports(ctx context.Context, s *summary, job *apmon.MonitoredJob, exit apmon.JobExit, last procinfo.JobSample) (account func(apmon.Accounting) error, report func(apmon.Param) error) {
	if job != nil {
		select {
		case <-r.first:
		case <-time.After(afterOrphans / 4): // the last report is more important
		}
		account = func(a apmon.Accounting) error { return job.Account(ctx, a) }
		report = func(status apmon.Param) error { return job.End(ctx, exit, status) }
		return account, report
	}
	j := r.as
	if j.Node == "" {
		j.Node = fmt.Sprintf("%s_%d", procinfo.Hostname(), cmp.Or(int(s.PID.Load()), os.Getpid()))
	}
	account = func(a apmon.Accounting) error {
		a.JobID, a.Start, a.Stop, a.CPUUser, a.CPUSystem = j.Node, s.Start, s.Ended, last.CPUUser, last.CPUSystem
		return r.client.SendAccounting(ctx, a)
	}
	report = func(status apmon.Param) error { return r.client.ReportJob(ctx, j, last, status) }
	return account, report
}

// writeFiles writes the summary and the last lines of the other files concurrently with
// the last reports: a file system or a pipe that hangs must not delay them. It closes
// written at the end. job is nil if it could not be followed.
func (r *runner) writeFiles(job *apmon.MonitoredJob, s *summary, result launch.Result, last procinfo.JobSample) (written <-chan struct{}) {
	done := make(chan struct{})
	if len(r.files()) == 0 {
		close(done)
		return done
	}
	record := func() *jobrecord.Record {
		var rec *jobrecord.Record
		if job != nil {
			rec = job.Record()
		} else {
			var unfollowed jobrecord.Recorder
			unfollowed.Add(last, nil)
			rec = unfollowed.Record()
			rec.Job.Cluster, rec.Job.Node = jobrecord.Text(r.as.Cluster), jobrecord.Text(r.as.Node)
			rec.SetResources(r.as.Requested, r.as.Allocated)
		}
		s.complete(rec, result, &r.batch)
		return rec
	}
	go func() {
		defer close(done)
		r.recording.end(&last, record)
	}()
	return done
}

// close closes the client and waits for the summary, for at most d.
func (r *runner) close(written <-chan struct{}, d time.Duration) {
	timeout := time.After(d)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		select {
		case <-r.begun:
			r.client.Close()
		default:
		}
	}()
	for _, done := range []<-chan struct{}{closed, written} {
		select {
		case <-done:
			continue
		case <-timeout:
		}
		if done == written {
			r.log.Warn("the files of the job were not written in time")
		}
		return
	}
}

// endLimit returns the time at which exec ends at the latest, for a job that has
// ended or could not be started; now is the end of the wait for orphans.
func endLimit(result launch.Result, now time.Time) time.Time {
	if result.Ended.IsZero() {
		return now.Add(afterEnd)
	}
	if limit := result.Ended.Add(afterEnd); limit.After(now.Add(afterOrphans)) {
		return limit
	}
	return now.Add(afterOrphans)
}

func intervalFlag() cli.Flag {
	return &cli.StringFlag{Name: "interval", Usage: "report every `TIME`, such as 120s or 2m; a number is seconds", DefaultText: "of the configuration, else 120s"}
}

// interval returns the interval of --interval or APMON_INTERVAL, 0 if neither is
// set.
func interval(cc *cli.Context, getenv func(string) string) (time.Duration, error) {
	what, s := "--interval", cc.String("interval")
	if !cc.IsSet("interval") {
		if what, s = "APMON_INTERVAL", getenv("APMON_INTERVAL"); s == "" {
			return 0, nil
		}
	}
	d, err := conf.ParseDuration(s)
	if err != nil || d < conf.MinInterval {
		return 0, command.Errorf(command.Usage, "%s %q is not a time of at least 1 s, such as 120s or 2m", what, s)
	}
	return d, nil
}
