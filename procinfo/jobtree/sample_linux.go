package jobtree

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

var errJobRemoved = errors.New("procinfo: the job was removed")

// Sample takes a sample of the chosen parameters, nil for all that are not opt-in. The
// processes are those of a scan that is at most 500 ms old. A value that cannot be read
// is unknown. The error reports each cause once, not with every sample. The rest of the
// sample is valid in any case, unless the job was removed or the set closed.
func (j *Job) Sample(choose procinfo.Choice) (procinfo.JobSample, error) {
	want := func(option string) bool {
		if choose == nil {
			return true
		}
		on, _ := choose(option)
		return on
	}
	network := choose != nil && want("job_network")
	pss := choose != nil && (want("job_pss") || want("job_swappss"))
	if pss {
		// Without the set's lock: reading may wait for a process that is stuck.
		j.memory.mu.Lock()
		defer j.memory.mu.Unlock()
	}
	if j.options.Service != nil {
		j.lookBefore()
	}
	sample, err := j.sample(want, network)
	if err == errJobRemoved || err == errClosed {
		return sample, err
	}
	if pss {
		err = errors.Join(err, j.memory.sample(&j.set.forest, &j.tree, &sample))
	}
	return sample, err
}

// sample takes a sample without the memory of smaps_rollup.
func (j *Job) sample(want func(option string) bool, network bool) (procinfo.JobSample, error) {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return procinfo.JobSample{}, errClosed
	case j.removed:
		return procinfo.JobSample{}, errJobRemoved
	}
	before := s.generation
	notBefore := s.clock().Add(-scanAge)
	switch {
	case !j.options.ChildOfThisProcess:
		j.fail("", j.service.err)
		j.fail("", s.scan(j.notBefore()))
	case s.generation > 0 && (j.hasEnd && s.scanned.After(notBefore) || s.scanned.After(s.clock().Add(-startAge))):
		// Processes that began since are counted when this process reaps them.
		s.refresh()
	case s.walks():
		j.fail("", s.walk())
	default:
		j.fail("", s.scan(s.clock())) // what it has reaped must be seen
	}
	if before == s.generation && s.own {
		for _, p := range j.members {
			// The next scan notices if the process has ended.
			if cpu, ok := process.CPUClock(p.pid); ok {
				p.setCPU(cpu)
			}
		}
	}
	now := s.clock()
	boot, hasBoot := s.boot()
	if want("job_cgroup") || j.cgroup.given || want("job_cpu_time") {
		vanished := j.cgroup.sample(&s.forest, &s.cgroups, &j.tree)
		if vanished && len(j.roots) == 0 && j.options.Service == nil && !j.hasEnd {
			j.setEnd(now) // no root shows the end of the job
		}
	}
	if len(j.roots) == 0 && j.options.Service == nil && !j.startGiven && j.samples == 0 && len(j.members) > 0 {
		j.start = process.TicksSinceBoot(j.members[0].start)
	}
	j.checkEnd(now) // in case there is no pidfd
	d := details{want("job_context_switches"), want("job_io"), want("job_open_files")}
	s.details(&j.tree, d)
	if network {
		j.net.sample(&s.forest, &j.tree)
	}
	if want("job_gpu") {
		j.gpu.sample(&s.forest, &j.tree, now)
	}
	j.samples++
	sample := procinfo.JobSample{At: now, Samples: procinfo.Known(float64(j.samples)), ProcessesTotal: procinfo.Known(float64(j.total))}
	if j.options.NumCPUs > 0 {
		sample.NumCPUs = procinfo.Known(j.options.NumCPUs)
	}
	if j.options.Service != nil {
		j.service.fill(&sample)
		if !j.service.ever { // it has no other values yet
			return sample, j.errs.Take()
		}
	}
	over := j.hasEnd && (!j.alive() || j.options.Service != nil)
	if over {
		boot -= now.Sub(j.end)
	}
	if hasBoot && boot >= j.start && !j.over {
		if v := (boot - j.start).Seconds(); !j.ran.OK || v > j.ran.V {
			j.ran = procinfo.Known(v)
		}
	}
	sample.RunTime, j.over, sample.Ended = j.ran, over, over
	j.sum(&sample, d)
	j.net.fill(&sample)
	j.gpu.fill(&sample)
	j.fillExit(&sample)
	return sample, j.errs.Take()
}

// fillExit fills in the end of a root that another process started.
func (j *Job) fillExit(to *procinfo.JobSample) {
	switch e := j.exit; {
	case e == nil || j.options.ChildOfThisProcess || j.options.Service != nil:
	case e.Signaled():
		to.ExitSignal = procinfo.Known(float64(e.Signal()))
	default:
		to.ExitCode = procinfo.Known(float64(e.ExitStatus()))
	}
}

// sums are sums over the processes of a job.
type sums struct {
	counters                     counters
	threads, files               uint64
	vsize                        uint64 // bytes
	rss, swap                    uint64 // KiB
	ioKnown, csKnown, filesKnown bool
	swapKnown                    bool
}

// sum fills in the values that are summed over the processes.
func (j *Job) sum(to *procinfo.JobSample, d details) {
	all := j.add(d)
	to.LowerBound, to.CPUSource = j.correct(&all.counters)
	j.fillCounters(to, &all)
	j.fillCurrent(to, &all)
	j.cgroup.fill(to)
	if j.options.ChildOfThisProcess && !to.Ended {
		to.Children = j.children(j.options.Children)
	}
	if to.Ended {
		// No process is left that could have any: a zero would look like a measurement.
		for _, v := range []*procinfo.Value{&to.VirtualMem, &to.RSS, &to.Swap, &to.MemUsage, &to.OpenFiles, &to.Processes, &to.Threads,
			&to.CgroupMem, &to.CgroupMemAnon, &to.CgroupProcs} {
			*v = procinfo.Value{}
		}
	}
}

// add adds up the processes of the job.
func (j *Job) add(d details) (all sums) {
	s := j.set
	all.counters = j.gone
	for i := range all.counters {
		all.counters[i] -= j.baseline[i]
	}
	if s.reaper != nil && s.started == &j.tree {
		total := s.reaper.total()
		all.counters.add(&total)
	}
	all.ioKnown, all.csKnown, all.filesKnown, all.swapKnown = d.io, d.switches, d.files, true
	for _, p := range j.members {
		total := p.total()
		if p.fading { // its I/O may be in its parent's already
			clear(total[cntRChar : cntWritten+1])
		}
		all.counters.add(&total)
		all.threads += p.threads
		all.vsize += p.vsize
		all.rss += p.rss
		all.swap += p.swap
		all.swapKnown = all.swapKnown && !p.noSwap
		all.files += p.files
		all.ioKnown = all.ioKnown && p.ioKnown
		all.csKnown = all.csKnown && p.csKnown
		all.filesKnown = all.filesKnown && p.filesKnown
		j.ignored = j.ignored || p.ignoresSIGCHLD
		raise(&j.peaks.rss, procinfo.Known(float64(p.peakRSS)))
	}
	return all
}

// The sources of the CPU time.
const (
	cpuOfProcesses = "process CPU clocks, and the kernel's sums over ended children"
	cpuOfCgroup    = "the job's own cgroup"
	cpuOfCounter   = "an inherited perf counter"
)

// children returns the direct children of the roots, the oldest first, at most n. A process
// stays with the child that it was below when it was first seen.
func (j *Job) children(n int) (list []procinfo.JobChild) {
	if n == 0 {
		return nil
	}
	type sum struct {
		top *proc
		cpu int64
		rss uint64
	}
	var all []sum
	for _, p := range j.members { // parents before children
		switch {
		case p.branch != nil || p.parent == nil:
		case slices.Contains(j.roots, p.parent):
			p.branch = p
		default:
			p.branch = p.parent.branch
		}
		i := slices.IndexFunc(all, func(s sum) bool { return s.top == p.branch })
		if p.branch == nil || i < 0 && len(all) == n {
			continue
		}
		if i < 0 {
			i, all = len(all), append(all, sum{top: p.branch})
		}
		all[i].cpu += p.own[cntCPU] + p.taken[cntCPU]
		all[i].rss += p.rss
	}
	for _, s := range all {
		s.top.branchCPU = max(s.top.branchCPU, s.cpu)
		list = append(list, procinfo.JobChild{
			PID: s.top.pid, CPUTime: procinfo.Known(time.Duration(s.top.branchCPU).Seconds()), RSS: procinfo.Known(float64(s.rss)),
		})
	}
	return list
}

// correct replaces sums over the processes by better sources, and keeps counters from
// decreasing. It reports whether the CPU time is only a lower bound, and its source.
func (j *Job) correct(all *counters) (lowerBound bool, source string) {
	source = cpuOfProcesses
	exact, lost := false, j.unheired || j.unwaited || j.ignored || j.strayed
	if c := &j.cgroup; c.cpu.OK {
		exact, source = !j.strayed, cpuOfCgroup
		all[cntCPU] = max(all[cntCPU], int64(c.cpu.N)-c.cpuBaseline)
		if c.system.OK {
			all[cntSystem] = max(all[cntSystem], int64(c.system.N)-c.systemBaseline)
		}
	}
	if j.options.Counter != nil {
		if cpu, complete := j.options.Counter(); cpu > 0 {
			exact = exact || complete
			// It may be off by a few percent, and includes stolen time. So it is used
			// only if the sum is known to be incomplete, or is far below it.
			if lost || int64(cpu) > all[cntCPU]+all[cntCPU]/4+int64(100*time.Millisecond) {
				if int64(cpu) > all[cntCPU] {
					source = cpuOfCounter
				}
				all[cntCPU] = max(all[cntCPU], int64(cpu))
			}
		}
	}
	for i := range all {
		all[i] = max(all[i], j.last[i])
	}
	j.last = *all
	j.user = max(j.user, all[cntCPU]-all[cntSystem])
	return lost && !exact, source
}

// fillCounters fills in the counters and the CPU usage.
func (j *Job) fillCounters(to *procinfo.JobSample, all *sums) {
	c := &all.counters
	seconds := func(ns int64) procinfo.Value { return procinfo.Known(time.Duration(ns).Seconds()) }
	number := func(i int, known bool) procinfo.Value { return procinfo.KnownIf(float64(c[i]), known) }
	to.CPUTime, to.CPUUser, to.CPUSystem = seconds(c[cntCPU]), seconds(j.user), seconds(c[cntCPU]-j.user)
	if to.RunTime.OK {
		to.CPUUsage = procinfo.Percent(to.CPUTime.V-time.Duration(j.service.cpuBefore).Seconds(), to.RunTime.V)
	}
	to.PageFaultsMin, to.PageFaultsMaj = number(cntMinFlt, true), number(cntMajFlt, true)
	to.RChar, to.WChar = number(cntRChar, all.ioKnown), number(cntWChar, all.ioKnown)
	to.ReadBytes, to.WriteBytes = number(cntRead, all.ioKnown), number(cntWritten, all.ioKnown)
	to.CSVoluntary, to.CSNonvoluntary = number(cntVoluntary, all.csKnown), number(cntNonvoluntary, all.csKnown)
}

// fillCurrent fills in the values that only living processes have, and their peaks.
func (j *Job) fillCurrent(to *procinfo.JobSample, all *sums) {
	to.Processes, to.Threads = procinfo.Known(float64(len(j.members))), procinfo.Known(float64(all.threads))
	to.OpenFiles = procinfo.KnownIf(float64(all.files), all.filesKnown)
	to.VirtualMem = procinfo.Known(float64(all.vsize) / 1024)
	to.RSS, to.Swap = procinfo.Known(float64(all.rss)), procinfo.KnownIf(float64(all.swap), all.swapKnown)
	p := &j.peaks
	to.MaxRSS, to.MaxVirtualMem = raise(&p.rss, to.RSS), raise(&p.virtualMem, to.VirtualMem)
	to.MaxProcesses, to.MaxThreads, to.MaxOpenFiles = raise(&p.processes, to.Processes), raise(&p.threads, to.Threads), raise(&p.openFiles, to.OpenFiles)
	s := j.set
	if !s.memTotal.OK {
		b, _ := os.ReadFile(s.fs.ProcPath("meminfo"))
		s.memTotal = procinfo.KnownIf(kernel.ParseMeminfo(b).Total.Float())
	}
	if s.memTotal.OK {
		to.MemUsage = procinfo.Percent(to.RSS.V, s.memTotal.V)
	}
}

// raise raises a peak to a value, and returns the peak. A zero, as of a zombie, is
// ignored.
func raise(peak *procinfo.Value, v procinfo.Value) procinfo.Value {
	if v.OK && v.V > peak.V {
		*peak = v
	}
	return *peak
}
