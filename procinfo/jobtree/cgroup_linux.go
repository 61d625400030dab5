package jobtree

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// What is read of a cgroup comes from one directory in version 2, and from
// those of three controllers in version 1; where both are mounted (hybrid), from
// wherever a controller is.
const (
	cgMemory = iota
	cgCPUAcct
	cgCPU
	nCgControllers
)

var cgControllers = [nCgControllers]string{"memory", "cpuacct", "cpu"}

// jobCgroup is the cgroup of a job and the last that was read of it.
type jobCgroup struct {
	given bool
	dirs  [nCgControllers]cgroupDir
	text  string // the root's /proc/PID/cgroup that dirs are from

	cpu, system                 kernel.Count // ns; system is part of cpu
	cpuBaseline, systemBaseline int64        // what of them is not the job's
	based                       bool

	mem, memPeak, memAnon, throttled, oomKills, procs procinfo.Value
}

// cgroupDir is the directory of a cgroup; the zero value is none.
type cgroupDir struct {
	path  string
	v2    bool
	top   bool   // the root of what is mounted: never a job's own
	own   bool   // it holds nothing but the job
	since uint64 // as is known since then, in ticks since boot
	other int    // one of the processes in it that are not the job's
}

// give sets the cgroup that the caller says is the job's.
func (c *jobCgroup) give(s *Set, dir string) error {
	dir = filepath.Clean(dir)
	if !filepath.IsAbs(dir) {
		return errors.New("the path is not absolute")
	}
	if _, err := os.Stat(dir + "/cgroup.procs"); err != nil {
		var e *fs.PathError
		if errors.As(err, &e) {
			err = e.Err
		}
		return err
	}
	c.given = true
	_, err := os.Stat(dir + "/cgroup.controllers")
	v2 := err == nil
	for i := range c.dirs {
		c.dirs[i] = cgroupDir{path: dir, v2: v2, own: true}
	}
	if v2 {
		return nil
	}
	// The same path in the hierarchies of the other controllers.
	for _, m := range s.cgroupMounts() {
		rel, ok := strings.CutPrefix(dir, s.fs.CgroupPath(m.Point)+"/")
		if !ok || m.Controllers == "" {
			continue
		}
		for i, controller := range cgControllers {
			c.dirs[i] = cgroupDir{}
			for _, n := range s.cgroupMounts() {
				path := filepath.Join(s.fs.CgroupPath(n.Point), rel)
				if _, err := os.Stat(path); err == nil && n.Controllers != "" && kernel.HasController(n.Controllers, controller) {
					c.dirs[i] = cgroupDir{path: path, own: true}
				}
			}
		}
		break
	}
	return nil
}

// cgroupMounts returns the hierarchies that are mounted.
func (s *Set) cgroupMounts() []kernel.Mount {
	if !s.mounted {
		s.mounted = true
		b, _ := os.ReadFile(s.fs.ProcPath("self/mountinfo"))
		s.mounts = kernel.CgroupMounts(kernel.ParseMountinfo(b))
	}
	return s.mounts
}

// locate finds the cgroup of a process from its cgroup file.
func (s *Set) locate(text []byte) (dirs [nCgControllers]cgroupDir) {
	for i, controller := range cgControllers {
		for _, m := range s.cgroupMounts() {
			name := controller
			if m.Controllers == "" {
				name = "" // of version 2: unless version 1 has it
				if dirs[i].path != "" {
					continue
				}
			} else if !kernel.HasController(m.Controllers, controller) {
				continue
			}
			cgroup, ok := kernel.ParseCgroup(text, name)
			if !ok {
				continue
			}
			if rel, ok := m.Below(cgroup); ok {
				dirs[i] = cgroupDir{path: filepath.Join(s.fs.CgroupPath(m.Point), rel), v2: name == "", top: rel == "/"}
			}
		}
	}
	return dirs
}

// sampleCgroup reads the job's own cgroup, if it has one. What belongs to one
// that has vanished keeps its last values.
func (j *Job) sampleCgroup() {
	s, c := j.set, &j.cgroup
	if !c.given {
		if text, ok := j.cgroupText(); ok && text != c.text {
			c.text = text
			for i, d := range s.locate([]byte(text)) {
				if d.path != c.dirs[i].path {
					c.dirs[i] = d
					c.forget(i)
				}
			}
		}
	}
	for i := range c.dirs {
		d := &c.dirs[i]
		same := -1
		for k := range i {
			if c.dirs[k].path == d.path {
				same = k
			}
		}
		if same >= 0 {
			d.own, d.since = c.dirs[same].own, c.dirs[same].since
			continue
		}
		if d.path == "" || d.top {
			continue
		}
		n, err := j.judge(d)
		switch {
		case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV):
			// It has vanished. Whoever gave it without a root is told.
			if len(j.roots) == 0 && j.options.Service == nil && !j.hasEnd {
				j.hasEnd, j.end = true, s.clock()
				s.exits.ended(j)
			}
		case d.own && err == nil:
			c.procs = procinfo.Known(float64(n))
		case !d.own:
			c.forget(i)
		}
	}
	c.readMemory(&c.dirs[cgMemory])
	c.readCPU(j)
	if d := &c.dirs[cgCPU]; d.own {
		if !d.v2 {
			if ns := kernel.ParseKeyed(readSmall(d.path+"/cpu.stat"), "throttled_time"); ns.OK {
				c.throttled = procinfo.KnownIf(ns.Float()).Scaled(1e-9)
			}
		} else if us := kernel.ParseKeyed(readSmall(d.path+"/cpu.stat"), "throttled_usec"); us.OK {
			c.throttled = procinfo.KnownIf(us.Float()).Scaled(1e-6)
		}
	}
}

// cgroupText returns the cgroup file of the roots that live, if there are any:
// empty if they are not all in the same cgroups, as none of these is the job's
// then.
func (j *Job) cgroupText() (text string, ok bool) {
	for _, p := range j.roots {
		if !p.alive() {
			continue
		}
		b, errno := j.set.scanner.Read(p.pid, "cgroup")
		switch {
		case errno != 0:
		case !ok:
			text, ok = string(b), true
		case string(b) != text:
			return "", true
		}
	}
	return text, ok
}

// forget drops the values of a cgroup that is not the job's any more.
func (c *jobCgroup) forget(controller int) {
	switch controller {
	case cgMemory:
		c.mem, c.memPeak, c.memAnon, c.oomKills, c.procs = procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}
	case cgCPUAcct:
		c.cpu, c.system, c.based = kernel.Count{}, kernel.Count{}, false
	case cgCPU:
		c.throttled = procinfo.Value{}
	}
}

// errStranger ends a walk through a cgroup.
var errStranger = errors.New("a process of another")

// judge decides whether a cgroup is the job's own: it was given, or every
// process in it and below belongs to the job, and this process is not among
// them. It returns how many there are.
func (j *Job) judge(d *cgroupDir) (n int, err error) {
	s := j.set
	if d.other > 0 {
		// With thousands of jobs in one cgroup: is it still there?
		p := s.procs[d.other]
		b, errno := s.scanner.Read(d.other, "cgroup")
		if errno == 0 && string(b) == j.cgroup.text && (p == nil || !p.member(j)) {
			return 0, nil
		}
		d.other = 0
	}
	seen, last := 0, 0
	err = s.walkCgroup(d.path, func(pid int) bool {
		n++
		last = pid
		p := s.procs[pid]
		switch {
		case p != nil && p.member(j):
			p.inside = s.generation
			seen++
			return true
		case j.cgroup.given:
			if pid > 0 && pid != s.self {
				j.enter(pid)
			}
			return true
		case pid == 0 || pid == s.self:
			return false
		}
		st, err := s.stat(pid)
		if err != nil {
			return process.Gone(err)
		}
		if d.own && st.PPID == 1 && st.Start >= d.since {
			// It was made in here, by one that did not wait for it.
			j.enter(pid)
			return true
		}
		return st.Start >= s.scanTick // of others the next scan will tell
	})
	if j.cgroup.given && err == nil {
		j.findStrayed()
	}
	if j.cgroup.given || err != nil && err != errStranger {
		return n, err
	}
	if err == errStranger {
		d.other = last
	}
	if own := err == nil && (d.own || seen > 0); own != d.own {
		d.own, d.since = own, s.scanTick
	}
	return n, nil
}

// findStrayed notes if a process of the job has left the cgroup that it was given:
// what it uses elsewhere, the cgroup does not tell.
func (j *Job) findStrayed() {
	for _, p := range j.members {
		if p.inside == j.set.generation || p.zombie || p.ended || j.strayed {
			continue
		}
		if st, err := j.set.stat(p.pid); err == nil && st.Start == p.start && !st.Dead() {
			j.strayed = true
		}
	}
}

// enter makes a process of the job's cgroup a member.
func (j *Job) enter(pid int) {
	s := j.set
	st, err := s.stat(pid)
	if err != nil {
		return
	}
	if p := s.procs[pid]; p != nil && p.start == st.Start {
		s.join(p, j)
	} else if s.enter(pid, st.Start, []*Job{j}) {
		s.readClock(s.procs[pid])
	}
	if p := s.procs[pid]; p != nil {
		p.inside = s.generation
	}
}

// walkCgroup calls visit for every process in a cgroup and those below, until
// it says false. It reads no more than it has to: a daemon's or a session's may
// be large.
func (s *Set) walkCgroup(dir string, visit func(pid int) bool) error {
	fd, err := process.Open(dir + "/cgroup.procs")
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	buf, n := s.buf[:], 0
	for {
		m, err := syscall.Read(fd, buf[n:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EOPNOTSUPP: // a threaded one
			m = 0
		case err != nil:
			return err
		}
		if m <= 0 {
			break
		}
		whole := bytes.LastIndexByte(buf[:n+m], '\n') + 1
		stopped := false
		kernel.ParsePIDs(buf[:whole], func(pid int) bool {
			stopped = !visit(pid)
			return !stopped
		})
		if stopped {
			return errStranger
		}
		if n = copy(buf, buf[whole:n+m]); n == len(buf) {
			return nil // lines of that length hold no pids
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := s.walkCgroup(dir+"/"+e.Name(), visit); err != nil && !process.Gone(err) {
			return err
		}
	}
	return nil
}

// readSmall returns a file, nothing where it cannot be read.
func readSmall(name string) []byte {
	b, _ := os.ReadFile(name)
	return b
}

func (c *jobCgroup) readMemory(d *cgroupDir) {
	if !d.own {
		return
	}
	mem, peak, anon := "/memory.current", "/memory.peak", "anon"
	events := "/memory.events"
	if !d.v2 {
		mem, peak, anon = "/memory.usage_in_bytes", "/memory.max_usage_in_bytes", "total_rss"
		events = "/memory.oom_control"
	}
	set := func(to *procinfo.Value, c kernel.Count, scale float64) {
		if c.OK {
			*to = procinfo.KnownIf(c.Float()).Scaled(scale)
		}
	}
	number := func(name string) kernel.Count {
		line, _ := kernel.NextLine(readSmall(d.path + name))
		return kernel.ParseUint(line)
	}
	set(&c.mem, number(mem), 1./1024)
	set(&c.memPeak, number(peak), 1./1024)
	set(&c.memAnon, kernel.ParseKeyed(readSmall(d.path+"/memory.stat"), anon), 1./1024)
	set(&c.oomKills, kernel.ParseKeyed(readSmall(d.path+events), "oom_kill"), 1)
}

// readCPU reads the CPU time of the job's cgroup.
func (c *jobCgroup) readCPU(j *Job) {
	d := &c.dirs[cgCPUAcct]
	if !d.own {
		return
	}
	var usage, system kernel.Count
	if d.v2 {
		b := readSmall(d.path + "/cpu.stat")
		usage, system = kernel.ParseKeyed(b, "usage_usec"), kernel.ParseKeyed(b, "system_usec")
		usage.N *= 1000
		system.N *= 1000
	} else {
		number := func(name string) kernel.Count {
			line, _ := kernel.NextLine(readSmall(d.path + name))
			return kernel.ParseUint(line)
		}
		usage, system = number("/cpuacct.usage"), number("/cpuacct.usage_sys")
	}
	if !usage.OK || usage.N > 1<<62 {
		return
	}
	system.OK = system.OK && system.N <= usage.N
	if !c.based {
		// A cgroup that was given belongs to the job from its first moment,
		// unless the job began later. What another had in it before is not
		// known: the job has used what its processes say.
		c.based = true
		c.cpuBaseline, c.systemBaseline = 0, 0
		if !c.given || !j.options.Start.IsZero() && len(j.members) > 0 && process.TicksSinceBoot(j.members[0].start) < j.start-100*process.Tick {
			c.cpuBaseline = int64(usage.N) - max(j.known(cntCPU), j.last[cntCPU])
			c.systemBaseline = int64(system.N) - max(j.known(cntSystem), j.last[cntSystem])
		}
	}
	c.cpu, c.system = usage, system
}

// known returns a counter of the job as its processes tell it.
func (j *Job) known(i int) int64 {
	sum := j.gone[i] - j.baseline[i]
	if s := j.set; s.reaper != nil && s.started == j {
		sum += s.reaper.taken[i]
	}
	for _, p := range j.members {
		sum += p.own[i] + p.taken[i]
	}
	return sum
}

// fill fills in what is known of the cgroup.
func (c *jobCgroup) fill(to *procinfo.JobSample) {
	to.CgroupMem, to.CgroupMemPeak, to.CgroupMemAnon = c.mem, c.memPeak, c.memAnon
	to.CgroupThrottled, to.CgroupOOMKills, to.CgroupProcs = c.throttled, c.oomKills, c.procs
}
