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
	"github.com/apmon-go/apmon/xdr"
)

const execDescription = `Runs CMD as if it stood there alone, and monitors it as a job: a report at the
start (status=started), one each interval, a last one (status=ended) with exit
code, totals and peaks. Where no destination is named, and with --no-send, the job
is measured for the summary, and nothing is sent.

Streams and signals:
CMD has our standard streams, environment, process group and limits. Signals to
the group reach it as they are, those to us alone are forwarded. We stop and go
on with it. Orphans that it leaves behind are counted, and waited for as long as
--orphan-wait tells. If we are killed, CMD lives on.

Faults:
Monitoring never makes the job fail: a broken configuration, a destination that
cannot be reached, a summary that cannot be written are warnings. It delays the
end by 2 s at most, or by --orphan-wait and half a second where that is more and
an orphan lives that long, and the start not at all. A CMD that cannot be started
has a last report, an accounting record and a summary, too. Where the limits leave no
room for it (descriptors, processes), CMD takes our place, and a line says so. To
start at all takes 6 processes (ulimit -u) and 1.5 GB of addresses (ulimit -v).

Names:
The node is the first there is of -n, APMON_NODE, MonitorJobID, ALIEN_PROC_ID,
what _CONDOR_JOB_AD names, SLURM_JOB_ID, PBS_JOBID, LSB_JOBID, GRID_GLOBAL_JOBID;
the cluster of -c, APMON_CLUSTER, MonitorID, else ` + apmon.DefaultJobCluster + `.

Cgroups:
Where a cgroup of version 2 is ours to divide, CMD gets one of its own, and its
CPU time is exact whatever it does; else see docs/jobs.md.

Environment:
   APMON_INTERVAL       interval, if --interval is not given
` + command.Variables + `, else none.

Exit status:
That of CMD, or 128+N if signal N ended it; 126 if it cannot be executed, 127 if
it is not there; 64 if we were called wrongly, 65 for a bad --set.

Examples:
   apmon-bg exec -d ml.example.org -c MySite_Jobs -n 123456 -- ./job 7
   apmon-bg exec --summary usage.json --workdir . --cpus 4 -- ./job`

// sampleInterval is how often a job that we run is sampled beside its reports, so
// that peaks are seen.
const sampleInterval = 10 * time.Second

// All that is done after the end of a job takes no longer than afterEnd, or than
// afterOrphans once orphans have been waited for; closing is what of that is for
// what closes.
const (
	afterEnd     = 2 * time.Second
	afterOrphans = 500 * time.Millisecond
	closing      = 200 * time.Millisecond
	orphanWait   = afterEnd - afterOrphans // by default
)

// runner runs a job. Nothing in it waits for what hangs: at the end the process
// does not, either.
type runner struct {
	command.Destinations
	benchmarks
	set    []apmon.Param // of --set
	setErr error
	flush  func() // of what was logged
	client *apmon.Client
	as     apmon.Job // what the job is reported as
	sends  bool      // there are destinations
	log    *slog.Logger

	ctx   context.Context                    // ends when all is over
	job   atomic.Pointer[apmon.MonitoredJob] // nil where it cannot be followed
	begun chan struct{}                      // closed when it is clear whether it can
	first chan struct{}                      // closed when the first report has been made
}

func execCommand(getenv func(string) string, stderr *command.LossyWriter) *cli.Command {
	r := &runner{
		flush:        stderr.Flush,
		Destinations: command.Destinations{Name: name, Getenv: getenv, Stderr: stderr, System: conf.SystemFile},
	}
	return &cli.Command{
		Name:        "exec",
		Usage:       "run a job, and monitor it",
		UsageText:   name + " exec [options] -- CMD ARG...",
		Description: execDescription,
		ArgsUsage:   "CMD ARG...",
		Flags: slices.Concat(r.Flags(), command.Group("Reports",
			&cli.StringFlag{Name: "cluster", Aliases: []string{"c"}, Usage: "`CLUSTER` of the job"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Usage: "`NODE` of the job, usually its id"},
			intervalFlag(),
			&cli.StringFlag{Name: "workdir", Usage: "report size and file system of this `DIR`"},
			&cli.Float64Flag{Name: "cpus", Usage: "`N` CPUs were given to the job", DefaultText: "unknown"},
			&cli.StringFlag{Name: "summary", Usage: "write what the job used to `FILE`, as JSON; - is standard output"},
			&cli.BoolFlag{Name: "no-send", DisableDefaultText: true, Usage: "send nothing: measure for the summary alone"},
			&cli.StringFlag{Name: "accounting", Usage: "send an accounting record for `GROUP/USER` in the end"},
			&command.Repeat{Forms: []string{"set"}, Value: "NAME=VALUE", Usage: "send this with each report (repeatable)", Add: r.addSet},
			r.benchmarks.flag(),
		), command.Group("Command",
			&cli.GenericFlag{Name: "orphan-wait", Value: command.NewDuration(orphanWait), Usage: "wait `TIME` for processes that outlive CMD; a number is seconds"},
			&cli.BoolFlag{Name: "kill-orphans", DisableDefaultText: true, Usage: "end them then"},
			&cli.BoolFlag{Name: "cgroup", DisableDefaultText: true, Usage: "warn if CMD cannot have a cgroup of its own"},
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
			r.setErr = err // that it has a code would be forgotten on the way
		}
		return nil
	}
	r.set = append(r.set, p)
	return nil
}

func (r *runner) run(cc *cli.Context) error {
	if !cc.Args().Present() {
		return errors.New("no command to run")
	}
	if cc.Float64("cpus") < 0 || cc.Duration("orphan-wait") < 0 {
		return errors.New("--cpus and --orphan-wait are not negative")
	}
	if group, user, ok := strings.Cut(cc.String("accounting"), "/"); cc.IsSet("accounting") && (!ok || group == "" || user == "") {
		return fmt.Errorf("--accounting %q is not GROUP/USER", cc.String("accounting"))
	}
	if r.setErr != nil {
		return r.setErr
	}
	if err := launch.Prepare(); err != nil {
		unmonitored(cc, err)
	}
	// Log lines may go where nobody reads: that must not end us.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	r.log = r.Logger()

	ctx, stop := context.WithCancel(cc.Context)
	defer stop()
	r.ctx, r.begun, r.first = ctx, make(chan struct{}), make(chan struct{})
	dir, err := makeCgroup()
	if err != nil && cc.Bool("cgroup") {
		r.log.Warn("no cgroup for the job", slog.String("error", err.Error()))
	}
	s := summary{Command: cc.Args().Slice(), Start: time.Now()}
	result, err := launch.Run(launch.Options{
		Args:        s.Command,
		OrphanWait:  cc.Duration("orphan-wait"),
		KillOrphans: cc.Bool("kill-orphans"),
		CgroupDir:   dir.path(),
		Started: func(c launch.Command) {
			defer close(r.begun)
			s.PID.Store(int64(c.PID))
			r.open(cc) // not before: the job waits for nothing
			r.begin(c, dir, r.as)
		},
		Ended: func(launch.Result) {
			if job := r.job.Load(); job != nil {
				r.sample(job) // it counts what is known only while the root is there
			}
		},
		Warn: func(err error) { r.log.Warn("running the job", slog.String("error", err.Error())) },
	})
	if errors.Is(err, launch.ErrNoRoom) {
		dir.remove()
		unmonitored(cc, err)
	}
	s.Ended, s.Err = time.Now(), err
	if err != nil {
		r.open(cc)
		close(r.begun)
	}
	last := r.end(cc, &s, result)
	if file := cc.String("summary"); file != "" {
		if err := s.write(file, result, &last); err != nil {
			r.log.Warn("summary not written", slog.String("error", err.Error()))
		}
	}
	stop()
	select {
	case <-r.begun:
		r.client.Close()
	default:
	}
	dir.remove()
	r.flush()
	if s.Err != nil {
		return command.Errorf(result.Code(), "%w", s.Err)
	}
	if result.Signal != 0 && cc.Bool("reraise") {
		launch.Reraise(result.Signal)
	}
	return command.Silent(result.Code())
}

// unmonitored replaces us by the job, where limits leave no room to monitor it.
func unmonitored(cc *cli.Context, err error) {
	launch.Exec(name, "the job runs, and is not monitored: "+err.Error(), cc.Args().Slice())
}

// open makes the client, and decides what is to be said of the job. Whatever is
// wrong is a warning, and nothing is waited for.
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
	if len(sources) == 1 && sources[0].Static() && sources[0].Name == conf.DefaultSource {
		sources = nil // nobody named it
	}
	r.sends = len(sources) > 0
	cluster, node := conf.JobNames(r.Getenv, cc.String("cluster"), cc.String("node"))
	for _, name := range []*string{&cluster, &node} {
		if *name != "" {
			if err := xdr.CheckName(*name); err != nil {
				warn(fmt.Errorf("name of the job: %w", err))
				*name = ""
			}
		}
	}
	opts := append(r.Options(cc),
		apmon.WithOpenInBackground(),
		apmon.WithAdjust(adjust),
		apmon.WithMonitoring(func(o *conf.Options) { o.SysMonitoring, o.GeneralInfo = conf.Off, conf.Off }))
	if r.client, err = apmon.OpenSources(cc.Context, sources, opts...); err != nil {
		warn(err)
		r.client, err = apmon.OpenSources(cc.Context, nil, apmon.WithOpenInBackground())
		warn(err)
	}
	r.benchmarks.tell(r.client)
	r.as = apmon.Job{Cluster: cluster, Node: node, WorkDir: cc.String("workdir"), NumCPUs: cc.Float64("cpus"), Interval: interval, Also: r.set}
}

// begin follows the job.
func (r *runner) begin(c launch.Command, dir *ownCgroup, j apmon.Job) {
	j.PID, j.Started, j.Not, j.Counter = c.PID, true, c.Not, c.CPUTime
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
	go func() {
		// At first often, as most of what happens at all happens then.
		wait := 100 * time.Millisecond
		for {
			select {
			case <-time.After(wait):
				r.sample(job) // for the peaks
				wait = min(3*wait, sampleInterval)
			case <-r.ctx.Done():
				return
			}
		}
	}()
}

// sample takes a sample. Causes are returned once, so whoever has them logs them.
func (r *runner) sample(job *apmon.MonitoredJob) procinfo.JobSample {
	s, err := job.Sample()
	if err != nil && r.ctx.Err() == nil && !job.Ended() {
		r.log.Warn("not everything can be read, reports lack it", slog.String("error", err.Error()))
	}
	return s
}

// end reports a last time, and returns what was reported. The job has been
// reaped with all that is waited for, or could not be started.
func (r *runner) end(cc *cli.Context, s *summary, result launch.Result) (last procinfo.JobSample) {
	exit := apmon.JobExit{Code: result.ExitCode, Signal: int(result.Signal), MaxRSS: result.All.MaxRSS}
	var job *apmon.MonitoredJob
	begun := false
	select {
	case <-r.begun:
		begun, job = true, r.job.Load()
	default: // it hangs, as was warned of
	}
	last = s.waitedFor(result)
	if job != nil {
		if now := r.sample(job); now.CPUTime.OK {
			last = now
		}
	}
	exit.AddTo(&last)
	if !begun || !r.sends {
		if job != nil {
			job.Remove() // or Close reports it
		}
		return last
	}
	ctx, stop := context.WithDeadline(r.ctx, lastMoment(result, time.Now()))
	defer stop()
	if err := r.client.Ready(ctx); err != nil {
		r.log.Warn("nothing was reported: no configuration was read in time")
		return last
	}
	account := func(a apmon.Accounting) error { return job.Account(ctx, a) }
	report := func(status apmon.Param) error { return job.End(ctx, exit, status) }
	if job != nil {
		select {
		case <-r.first:
		case <-time.After(afterOrphans / 4): // the last report is worth more
		}
	} else {
		j := r.as
		if j.Node == "" {
			j.Node = fmt.Sprintf("%s_%d", procinfo.Hostname(), cmp.Or(int(s.PID.Load()), os.Getpid()))
		}
		account = func(a apmon.Accounting) error {
			a.JobID, a.Start, a.Stop, a.CPUUser, a.CPUSystem = j.Node, s.Start, s.Ended, last.CPUUser, last.CPUSystem
			return r.client.SendAccounting(ctx, a)
		}
		report = func(status apmon.Param) error { return r.client.ReportJob(ctx, j, last, status) }
	}
	if group, user, ok := strings.Cut(cc.String("accounting"), "/"); ok {
		if err := account(apmon.Accounting{Group: group, User: user, RSSKB: last.MaxRSS}); err != nil {
			r.log.Warn("accounting record not sent", slog.String("error", err.Error()))
		}
	}
	if err := report(apmon.String("status", "ended")); err != nil {
		r.log.Warn("last report not sent, or not whole", slog.String("error", err.Error()))
	}
	return last
}

// lastMoment is until when a job that has ended, or never started, may be
// reported.
func lastMoment(result launch.Result, now time.Time) time.Time {
	if result.Ended.IsZero() {
		return now.Add(afterEnd - closing)
	}
	moment := now.Add(afterOrphans)
	if whole := result.Ended.Add(afterEnd); whole.After(moment) {
		moment = whole
	}
	return moment.Add(-closing)
}

func intervalFlag() cli.Flag {
	return &cli.StringFlag{Name: "interval", Usage: "report every `TIME`, such as 120s or 2m; a number is seconds", DefaultText: "of the configuration, else 120s"}
}

// interval is what --interval or APMON_INTERVAL say, 0 for nothing.
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
