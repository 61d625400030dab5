package farm

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/procinfo"
)

// kind is a sort of jobs.
type kind struct {
	cpus   float64 // that it was given
	busy   float64 // share of them that it uses
	memory float64 // KiB
	wave   float64 // share of the memory that comes and goes
	io     rates
}

// rates are MiB per second.
type rates struct{ read, write float64 }

func (r *rates) add(o rates) {
	r.read += o.read
	r.write += o.write
}

const gib = 1 << 20 // in KiB

var kinds = []kind{
	{cpus: 8, busy: .97, memory: 9 * gib, wave: .03, io: rates{.5, 2}},  // simulation
	{cpus: 8, busy: .88, memory: 12 * gib, wave: .15, io: rates{25, 6}}, // reconstruction
	{cpus: 4, busy: .64, memory: 5 * gib, wave: .1, io: rates{60, 1}},   // analysis
	{cpus: 1, busy: .35, memory: 2 * gib, wave: .05, io: rates{90, 85}}, // merging of files
}

const (
	memoryLimit = 16 * gib // of a job
	leaky       = 12       // one job in so many exceeds it
	warmUp      = 20       // seconds until a job is at full speed
	kill        = 9        // the signal that ends such a job
)

// job is a simulated job.
type job struct {
	kind
	name  string
	run   int     // seconds since its start
	left  int     // seconds until its end
	grows float64 // KiB per second that it leaks
	level walk    // share of the CPUs that it uses

	rss, peak     float64 // KiB
	using         float64 // CPUs
	cpuTime       float64 // s
	io            rates
	read, written float64 // MiB
	sample        procinfo.JobSample
	reported      *procinfo.JobSample // the sample of the last report, nil before
}

// newJob returns a job that begins now.
func newJob(name string, r *rand.Rand) *job {
	j := &job{kind: kinds[r.IntN(len(kinds))], name: name, left: 45 + r.IntN(160)}
	j.busy = min(1, j.busy*(.85+.2*r.Float64()))
	j.level = walk{value: j.busy, mean: j.busy, spread: .12 * (1.05 - j.busy)}
	if r.IntN(leaky) == 0 {
		j.leak(j.left, r)
	}
	return j
}

// begunBefore makes j a job that has been running for minutes or hours.
func (j *job) begunBefore(r *rand.Rand) {
	j.run = 300 + r.IntN(4*3600)
	j.left = 5 + r.IntN(180)
	j.cpuTime = float64(j.run) * j.busy * j.cpus
	j.read, j.written = float64(j.run)*j.kind.io.read, float64(j.run)*j.kind.io.write
	j.rss = j.memory
	j.peak, j.using = j.rss, j.busy*j.cpus
}

// leak makes j exceed its memory limit within some seconds.
func (j *job) leak(seconds int, r *rand.Rand) {
	j.left = seconds
	j.grows = (memoryLimit - max(j.rss, j.memory)) / float64(seconds) * (1.1 + .2*r.Float64())
	j.wave = 0
}

// step advances a job by [Interval]. It ends only if mayEnd is true.
func (j *job) step(r *rand.Rand, mayEnd bool) {
	j.run++
	j.left--
	speed := min(1, .15+float64(j.run)/warmUp)
	j.using = j.cpus * min(1, j.level.step(r)) * speed
	j.cpuTime += j.using * Interval.Seconds()
	vary := .6 + .8*r.Float64()
	j.io = rates{j.kind.io.read * vary, j.kind.io.write * vary * speed}
	j.read += j.io.read
	j.written += j.io.write
	if j.grows > 0 {
		j.rss = min(max(j.rss, j.memory*speed)+j.grows, memoryLimit)
	} else {
		j.rss = j.memory * speed * (1 + j.wave*math.Sin(float64(j.run)/9) + .01*r.Float64())
	}
	j.peak = max(j.peak, j.rss)

	const mib = 1 << 20
	s := &j.sample
	// Rates compares the times of two samples only.
	s.At = time.Time{}.Add(time.Duration(j.run) * Interval)
	s.RunTime, s.CPUTime, s.NumCPUs = procinfo.Known(float64(j.run)), procinfo.Known(j.cpuTime), procinfo.Known(j.cpus)
	s.CPUUsage = procinfo.Percent(j.cpuTime, float64(j.run))
	s.ReadBytes, s.WriteBytes = procinfo.Known(math.Floor(j.read*mib)), procinfo.Known(math.Floor(j.written*mib))
	s.CgroupMemPeak, s.MaxRSS = procinfo.Known(math.Floor(j.peak)), procinfo.Known(math.Floor(j.peak))
	s.WorkDirMB = procinfo.Known(120 + math.Floor(j.written))
	s.CgroupOOMKills = procinfo.Known(0)
	switch {
	case mayEnd && j.grows > 0 && j.rss >= memoryLimit:
		s.ExitSignal, s.CgroupOOMKills = procinfo.Known(kill), procinfo.Known(1)
	case mayEnd && j.grows == 0 && j.left <= 0:
		s.ExitCode = procinfo.Known(0)
	}
	j.setLiving()
}

// setLiving sets the values that a job has only while it runs.
func (j *job) setLiving() {
	s := &j.sample
	if s.Ended = j.ended(); s.Ended {
		s.RSS, s.VirtualMem, s.MemUsage, s.CgroupMem = procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}
		s.OpenFiles, s.Processes, s.Threads, s.CgroupProcs = procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}
		return
	}
	s.RSS, s.CgroupMem = procinfo.Known(math.Floor(j.rss)), procinfo.Known(math.Floor(j.rss*1.02))
	s.VirtualMem = procinfo.Known(math.Floor(j.rss*1.4 + gib))
	s.MemUsage = procinfo.Percent(j.rss/1024, nodeMemory)
	s.OpenFiles, s.Threads = procinfo.Known(24+6*j.cpus), procinfo.Known(j.cpus+3)
	s.Processes, s.CgroupProcs = procinfo.Known(4), procinfo.Known(4)
}

// ended reports whether the job has ended.
func (j *job) ended() bool { return j.sample.ExitCode.OK || j.sample.ExitSignal.OK }

// append appends the parameters of a report.
func (j *job) append(params []apmon.Param) []apmon.Param {
	j.sample.Rates(j.reported)
	if j.reported == nil {
		j.reported = new(procinfo.JobSample)
	}
	*j.reported = j.sample
	return j.sample.Append(params, nil)
}

// service is a simulated service.
type service struct {
	run      int // seconds since its start
	restarts int
	load     walk // CPUs
	cpuTime  float64
	up       bool
	sample   procinfo.JobSample
}

func newService(r *rand.Rand) *service {
	v := &service{run: 86400 + r.IntN(864000), load: walk{value: .3, mean: .3, spread: .15}, up: true}
	v.cpuTime = float64(v.run) * v.load.mean
	return v
}

// step advances a service by [Interval].
func (v *service) step(r *rand.Rand, down bool) {
	if !down && !v.up {
		v.restarts++
		v.run = 0
	}
	v.up = !down
	v.sample = procinfo.JobSample{Up: procinfo.Known(0), Restarts: procinfo.Known(float64(v.restarts))}
	if down {
		return
	}
	v.run++
	cpus := v.load.step(r)
	v.cpuTime += cpus * Interval.Seconds()
	s := &v.sample
	s.Up, s.RunTime, s.CPUTime = procinfo.Known(1), procinfo.Known(float64(v.run)), procinfo.Known(v.cpuTime)
	s.InstantCPUUsage = procinfo.Known(100 * cpus)
	s.RSS, s.VirtualMem = procinfo.Known(math.Floor(1.1*gib+.2*gib*v.load.value)), procinfo.Known(3*gib)
	s.OpenFiles, s.Processes, s.Threads = procinfo.Known(float64(180+r.IntN(60))), procinfo.Known(2), procinfo.Known(24)
}

// append appends the parameters of a report.
func (v *service) append(params []apmon.Param) []apmon.Param { return v.sample.Append(params, nil) }
