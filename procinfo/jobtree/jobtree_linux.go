package jobtree

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// Set follows jobs on this host: trees of processes, with what they leave when
// they end. It is safe for concurrent use.
//
// A job is its root processes, all their descendants, the processes of the
// session that a root leads, and those of the cgroup that is the job's own. A
// process is known by pid and start time, and once seen as a job's it stays so
// until it is reaped. One scan of /proc serves all jobs, and the host if
// [Host.Jobs] says so.
//
// CPU time that nobody saw is lost: see docs/jobs.md.
type Set struct {
	fs    procinfo.FS
	host  *procinfo.Processes
	clock func() time.Time // of this process
	boot  func() (time.Duration, bool)

	mu      sync.Mutex
	closed  bool
	scanner *process.Scanner
	buf     [32 << 10]byte // of one file
	own     bool           // the processes are those of our own pid namespace
	self    int            // our pid among them, 0 for unknown
	sizedFD bool           // the size of PID/fd is how many there are

	procs      map[int]*proc
	ioFiles    int // that are open
	generation uint64
	scanned    time.Time // when the last scan began
	scanTick   uint64    // the same in clock ticks since boot
	scanErr    error
	strangers  []stranger // processes of this scan that are of no job so far
	vanished   []*proc    // that are to be buried
	switches   []threadSwitches
	tids       []int
	oldest     uint64 // no process of a job started before
	grown      bool   // a job was added since the last scan

	pids     []int            // of refresh
	sessions map[int][]*Job   // by the roots that lead one
	started  *Job             // the one that this process started
	reaper   *proc            // this process, while there is such a job
	services []*Job           // the jobs that are services
	look     *serviceLook     // the last look for their processes, nil for none
	finder   *process.Scanner // of the look that is under way
	closing  chan struct{}    // closed by Close

	memTotal procinfo.Value
	mounts   []kernel.Mount
	mounted  bool // mounts were read

	exits exits
}

// A Job is a job that is followed.
type Job struct {
	set     *Set
	options Options
	roots   []*proc
	led     []int // sessions that a root leads, or has led
	added   time.Time
	start   time.Duration // since boot
	hasEnd  bool          // all roots have ended,
	end     time.Time     // and when that was noticed
	over    bool          // nothing is left of it, since the last sample
	removed bool

	members  []*proc // parents before children
	gone     counters
	baseline counters // what is not the job's
	last     counters // of the last sample: no counter goes down
	user     int64    // likewise
	unheired bool     // see JobSample.LowerBound
	unwaited bool
	ignored  bool
	strayed  bool   // out of its own cgroup
	total    uint64 // processes ever seen
	samples  uint64
	peaks    jobPeaks
	ran      procinfo.Value // s, the last run time
	told     map[string]bool
	errs     []error

	cgroup  jobCgroup
	memory  jobMemory
	service serviceState
}

// New returns an empty set of jobs on the host with these trees, and whose
// processes these are. It opens nothing yet.
func New(fs procinfo.FS, host *procinfo.Processes) *Set {
	s := &Set{fs: fs, host: host, clock: time.Now, procs: map[int]*proc{}, sessions: map[int][]*Job{}, closing: make(chan struct{})}
	s.scanner, s.finder = process.NewScanner(fs.Proc), process.NewScanner(fs.Proc)
	s.self, s.own = ownProcesses(fs)
	s.boot = s.uptime
	if s.own {
		s.boot = process.SinceBoot
	}
	host.Follow(s.recent)
	return s
}

// Add starts to follow a job. The error names the process or cgroup that is not
// there.
func (s *Set) Add(o Options) (*Job, error) {
	j := &Job{set: s, options: o}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errJobsClosed
	case len(o.PIDs) == 0 && o.Cgroup == "" && o.Service == nil:
		return nil, errors.New("procinfo: a job has a process or a cgroup")
	case o.Started && s.started != nil:
		return nil, errors.New("procinfo: this process has started a job already")
	case o.Started && len(o.PIDs) == 0:
		return nil, errors.New("procinfo: a job that was started has a process")
	case o.Started && o.Service != nil:
		return nil, errors.New("procinfo: a job that was started is no service")
	}
	if err := s.scanner.Open(); err != nil {
		return nil, fmt.Errorf("procinfo: %w", err)
	}
	if s.generation == 0 {
		s.sizedFD = s.own && s.scanner.SizesFiles(s.self)
	}
	now, ok := s.boot()
	if !ok {
		return nil, fmt.Errorf("procinfo: %s tells no time", s.fs.ProcPath("uptime"))
	}
	if o.Cgroup != "" {
		if err := j.cgroup.give(s, o.Cgroup); err != nil {
			return nil, fmt.Errorf("procinfo: cgroup %s: %w", o.Cgroup, err)
		}
	}
	var usage counters
	if o.Started {
		usage = childrenUsage() // before the root can have ended unseen
	}
	type root struct {
		pid  int
		stat kernel.PIDStat
	}
	var roots []root
	for _, pid := range o.PIDs {
		if o.Service != nil {
			break // a look will find those that are there
		}
		if slices.ContainsFunc(roots, func(r root) bool { return r.pid == pid }) {
			continue
		}
		st, err := s.scanner.Process(pid)
		if err != nil {
			return nil, fmt.Errorf("procinfo: %w", err)
		}
		if o.Started && st.PPID != s.self {
			return nil, fmt.Errorf("procinfo: process %d is not a child of this one", pid)
		}
		roots = append(roots, root{pid, st})
	}
	// Nothing fails from here on.
	j.added = s.clock()
	j.start = now
	if len(roots) > 0 {
		j.start = process.TicksSinceBoot(slices.MinFunc(roots, func(a, b root) int { return cmp.Compare(a.stat.Start, b.stat.Start) }).stat.Start)
	}
	var given time.Duration
	if !o.Start.IsZero() {
		given = now - j.added.Sub(o.Start)
		j.start = given
	}
	if o.Started {
		s.started = j
		s.reaper = &proc{pid: s.self, jobs: []*Job{j}}
		s.reaper.setReaped(&usage)
		s.reaper.settle(0, nCounters)
		j.baseline = usage
	}
	for _, r := range roots {
		// A start is not told to the tick.
		s.addRoot(j, r.pid, &r.stat, !o.Start.IsZero() && process.TicksSinceBoot(r.stat.Start) < given-5*process.Tick)
	}
	if s.started == j {
		for _, p := range j.roots {
			p.parent = s.reaper
		}
	}
	s.grown = true
	if o.Started && s.generation == 0 {
		// It has just begun: there is nobody else to be found.
		s.generation, s.scanned = 1, j.added
	}
	if o.Service != nil {
		s.services = append(s.services, j)
	}
	s.exits.watch(s, j, j.roots)
	return j, nil
}

// addRoot makes a process a root of a job. If it is older than the job, what its
// children have used so far is not the job's.
func (s *Set) addRoot(j *Job, pid int, st *kernel.PIDStat, older bool) *proc {
	p := s.procs[pid]
	if p == nil || p.start != st.Start {
		if p != nil {
			s.vanished = append(s.vanished, p)
		}
		p = &proc{pid: pid, start: st.Start, generation: s.generation}
		s.procs[pid] = p
		p.setStat(st)
		p.settle(0, treeCounters)
	}
	s.openIO(p)
	if older {
		if b, errno := s.io(p); errno == 0 {
			io := kernel.ParsePIDIO(b)
			p.setIO(&io)
		}
		j.baseline.add(&p.taken)
	}
	s.join(p, j)
	j.roots = append(j.roots, p)
	if st.Session == pid && !slices.Contains(s.sessions[pid], j) {
		s.sessions[pid] = append(s.sessions[pid], j)
		j.led = append(j.led, pid)
	}
	return p
}

var (
	errJobsClosed = errors.New("procinfo: jobs are closed")
	errJobRemoved = errors.New("procinfo: the job was removed")
)

// Remove ends the following of a job. It may be called twice.
func (j *Job) Remove() {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.removed {
		return
	}
	j.removed = true
	for _, p := range j.members {
		s.leave(p, j)
	}
	j.members = nil
	for _, session := range j.led {
		s.unlead(j, session)
	}
	s.services = slices.DeleteFunc(s.services, func(k *Job) bool { return k == j })
	if s.started == j {
		s.started, s.reaper = nil, nil
	}
	s.exits.unwatch(j)
}

// Has reports whether a process was of the job in the last scan.
func (j *Job) Has(pid int) bool {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.procs[pid]
	return p != nil && p.member(j)
}

// Close ends the following of all jobs, waits for what runs, and closes what is
// open. Samples fail from then on.
func (s *Set) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.host.Follow(nil)
		close(s.closing)
	}
	s.mu.Unlock()
	s.exits.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanner.Close()
	if s.look == nil || s.look.isDone() { // else the look closes it
		s.finder.Close()
	}
	for _, p := range s.procs {
		s.closeIO(p)
	}
	return nil
}

// maxIOFiles is how many io files are kept open: others need descriptors, too.
const maxIOFiles = 256

// openIO opens the io file of a root.
func (s *Set) openIO(p *proc) {
	if p.io != nil || s.ioFiles >= maxIOFiles {
		return
	}
	f, err := os.Open(s.fs.ProcPath(strconv.Itoa(p.pid) + "/io"))
	if err != nil {
		return
	}
	if st, err := s.stat(p.pid); err != nil || st.Start != p.start {
		f.Close()
		return
	}
	p.io = f
	s.ioFiles++
}

func (s *Set) closeIO(p *proc) {
	if p.io != nil {
		p.io.Close()
		p.io = nil
		s.ioFiles--
	}
}

// stat reads the stat file of a process.
func (s *Set) stat(pid int) (kernel.PIDStat, error) {
	b, errno := s.scanner.Read(pid, "stat")
	if errno != 0 {
		return kernel.PIDStat{}, errno
	}
	st, ok := kernel.ParsePIDStat(b)
	if !ok {
		return kernel.PIDStat{}, process.ErrStat
	}
	return st, nil
}

// Sample takes a sample of what is chosen, nil for everything that is not
// opt-in. The processes are those of a scan that is at most 500 ms old. What
// cannot be read is unknown, and its cause returned once, not with every sample;
// the rest of the sample is good, unless the job was removed.
func (j *Job) Sample(choose procinfo.Choice) (procinfo.JobSample, error) {
	want := func(option string) bool {
		if choose == nil {
			return true
		}
		on, _ := choose(option)
		return on
	}
	pss := choose != nil && (want("job_pss") || want("job_swappss"))
	if pss {
		// Not under the lock: it may wait for a process that is stuck.
		j.memory.mu.Lock()
		defer j.memory.mu.Unlock()
	}
	if j.options.Service != nil {
		j.lookBefore()
	}
	sample, err := j.sample(want)
	if err == errJobRemoved || err == errJobsClosed {
		return sample, err
	}
	if pss {
		err = errors.Join(err, j.memory.sample(j, &sample))
	}
	return sample, err
}

func (j *Job) sample(want func(option string) bool) (procinfo.JobSample, error) {
	s := j.set
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return procinfo.JobSample{}, errJobsClosed
	case j.removed:
		return procinfo.JobSample{}, errJobRemoved
	}
	j.errs = j.errs[:0]
	before := s.generation
	notBefore := s.clock().Add(-scanAge)
	switch {
	case !j.options.Started:
		j.fail("", j.service.err)
		j.fail("", s.scan(j.notBefore()))
	case s.generation > 0 && (j.hasEnd && s.scanned.After(notBefore) || s.scanned.After(s.clock().Add(-startAge))):
		// Of who has come since, what matters is in what this process reaps.
		s.refresh()
	default:
		j.fail("", s.scan(s.clock())) // what it has reaped must be seen
	}
	if before == s.generation && s.own {
		for _, p := range j.members {
			// Gone is noticed by the next scan.
			if cpu, ok := process.CPUClock(p.pid); ok {
				p.setCPU(cpu)
			}
		}
	}
	now := s.clock()
	boot, hasBoot := s.boot()
	if want("job_cgroup") || j.cgroup.given || want("job_cpu_time") {
		j.sampleCgroup()
	}
	if len(j.roots) == 0 && j.options.Service == nil && j.options.Start.IsZero() && j.samples == 0 && len(j.members) > 0 {
		j.start = process.TicksSinceBoot(j.members[0].start)
	}
	for _, p := range j.roots { // where there is no pidfd
		if p.zombie {
			s.checkEnd(j, now)
			break
		}
	}
	d := details{want("job_context_switches"), want("job_io"), want("job_open_files")}
	s.details(j, d)
	j.samples++
	sample := procinfo.JobSample{At: now, Samples: procinfo.Known(float64(j.samples)), ProcessesTotal: procinfo.Known(float64(j.total))}
	if j.options.NumCPUs > 0 {
		sample.NumCPUs = procinfo.Known(j.options.NumCPUs)
	}
	if j.options.Service != nil {
		j.service.fill(&sample)
		if !j.service.ever { // nothing else is known of it
			return sample, errors.Join(j.errs...)
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
	if len(j.errs) == 0 {
		return sample, nil
	}
	return sample, errors.Join(j.errs...)
}

// notBefore is when what serves a sample may have been read at the earliest.
func (j *Job) notBefore() time.Time {
	t := j.set.clock().Add(-scanAge)
	if j.added.After(t) {
		t = j.added
	}
	if j.hasEnd && j.end.After(t) {
		t = j.end
	}
	return t
}

// alive reports whether a process of the job has not ended.
func (j *Job) alive() bool {
	return slices.ContainsFunc(j.members, func(p *proc) bool { return !p.zombie && !p.ended })
}

// sum fills in what is summed over the processes.
func (j *Job) sum(to *procinfo.JobSample, d details) {
	s := j.set
	all := j.gone
	for i := range all {
		all[i] -= j.baseline[i]
	}
	if s.reaper != nil && s.started == j {
		total := s.reaper.total()
		all.add(&total)
	}
	var threads, vsize, rss, files uint64
	ioKnown, csKnown, filesKnown := d.io, d.switches, d.files
	for _, p := range j.members {
		total := p.total()
		if p.fading { // its I/O may be in its parent's already
			clear(total[cntRChar : cntWritten+1])
		}
		all.add(&total)
		threads += p.threads
		vsize += p.vsize
		rss += p.rss
		files += p.files
		ioKnown = ioKnown && p.ioKnown
		csKnown = csKnown && p.csKnown
		filesKnown = filesKnown && p.filesKnown
		j.ignored = j.ignored || p.ignoresSIGCHLD
		raise(&j.peaks.rss, procinfo.Known(float64(p.peakRSS)))
	}
	exact, lost := false, j.unheired || j.unwaited || j.ignored || j.strayed
	better := func(cpu int64) {
		exact = true
		all[cntCPU] = max(all[cntCPU], cpu)
	}
	if c := &j.cgroup; c.cpu.OK {
		better(int64(c.cpu.N) - c.cpuBaseline)
		exact = !j.strayed
		if c.system.OK {
			all[cntSystem] = max(all[cntSystem], int64(c.system.N)-c.systemBaseline)
		}
	}
	if j.options.Counter != nil {
		if cpu, ok := j.options.Counter(); ok {
			// It may be off by a few percent, and counts stolen time, so it
			// counts only where the tree is known to lack something, or lacks
			// far more than that.
			if lost || int64(cpu) > all[cntCPU]+all[cntCPU]/4+int64(100*time.Millisecond) {
				better(int64(cpu))
			}
			exact = true
		}
	}
	for i := range all {
		all[i] = max(all[i], j.last[i])
	}
	j.last = all
	j.user = max(j.user, all[cntCPU]-all[cntSystem])

	seconds := func(ns int64) procinfo.Value { return procinfo.Known(time.Duration(ns).Seconds()) }
	number := func(i int, known bool) procinfo.Value {
		if !known {
			return procinfo.Value{}
		}
		return procinfo.Known(float64(all[i]))
	}
	to.CPUTime, to.CPUUser, to.CPUSystem = seconds(all[cntCPU]), seconds(j.user), seconds(all[cntCPU]-j.user)
	if to.RunTime.OK {
		to.CPUUsage = procinfo.Percent(to.CPUTime.V-time.Duration(j.service.cpuBefore).Seconds(), to.RunTime.V)
	}
	to.LowerBound = lost && !exact
	to.PageFaultsMin, to.PageFaultsMaj = number(cntMinFlt, true), number(cntMajFlt, true)
	to.RChar, to.WChar = number(cntRChar, ioKnown), number(cntWChar, ioKnown)
	to.ReadBytes, to.WriteBytes = number(cntRead, ioKnown), number(cntWritten, ioKnown)
	to.CSVoluntary, to.CSNonvoluntary = number(cntVoluntary, csKnown), number(cntNonvoluntary, csKnown)
	to.Processes, to.Threads = procinfo.Known(float64(len(j.members))), procinfo.Known(float64(threads))
	if filesKnown {
		to.OpenFiles = procinfo.Known(float64(files))
	}
	to.VirtualMem = procinfo.Known(float64(vsize) / 1024)
	to.RSS = procinfo.Known(float64(rss))
	p := &j.peaks
	to.MaxRSS, to.MaxVirtualMem = raise(&p.rss, to.RSS), raise(&p.virtualMem, to.VirtualMem)
	to.MaxProcesses, to.MaxThreads, to.MaxOpenFiles = raise(&p.processes, to.Processes), raise(&p.threads, to.Threads), raise(&p.openFiles, to.OpenFiles)
	if !s.memTotal.OK {
		b, _ := os.ReadFile(s.fs.ProcPath("meminfo"))
		s.memTotal = procinfo.KnownIf(kernel.ParseMeminfo(b).Total.Float())
	}
	if s.memTotal.OK {
		to.MemUsage = procinfo.Percent(to.RSS.V, s.memTotal.V)
	}
	j.cgroup.fill(to)
	if to.Ended {
		// Nothing is left that could have any: a zero would pass for a measurement.
		for _, v := range []*procinfo.Value{&to.VirtualMem, &to.RSS, &to.MemUsage, &to.OpenFiles, &to.Processes, &to.Threads,
			&to.CgroupMem, &to.CgroupMemAnon, &to.CgroupProcs} {
			*v = procinfo.Value{}
		}
	}
}

// jobPeaks are the most that a job had at any sample.
type jobPeaks struct{ rss, virtualMem, processes, threads, openFiles procinfo.Value }

// raise raises a peak to a value, and returns it. Nothing, as of a zombie, is no
// peak.
func raise(peak *procinfo.Value, v procinfo.Value) procinfo.Value {
	if v.OK && v.V > peak.V {
		*peak = v
	}
	return *peak
}

// fail notes an error unless it only says that a thing is not there, or its
// cause was told before. Causes are told apart by what is read, empty for the
// whole error.
func (j *Job) fail(what string, err error) {
	if err == nil || process.Gone(err) {
		return
	}
	cause := err.Error()
	if what != "" {
		var e *fs.PathError
		if errors.As(err, &e) {
			cause = what + ": " + e.Err.Error()
		}
	}
	if j.told[cause] {
		return
	}
	if j.told == nil {
		j.told = map[string]bool{}
	}
	if len(j.told) < 100 {
		j.told[cause] = true
		j.errs = append(j.errs, err)
	}
}

// pathError is an error about a file of a process.
func (s *Set) pathError(pid int, name string, err error) error {
	return &fs.PathError{Op: "read", Path: s.fs.ProcPath(strconv.Itoa(pid) + "/" + name), Err: err}
}
