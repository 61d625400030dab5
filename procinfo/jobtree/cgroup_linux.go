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

// The controllers that are read. In version 2 all are in one directory, in version 1 each
// has its own. If both are mounted (hybrid), each is in either version.
//
// See https://docs.kernel.org/admin-guide/cgroup-v2.html.
const (
	cgMemory = iota
	cgCPUAcct
	cgCPU
	nCgControllers
)

var cgControllers = [nCgControllers]string{"memory", "cpuacct", "cpu"}

// jobCgroup is the cgroup of a job, with the values that were read last.
type jobCgroup struct {
	given bool
	dirs  [nCgControllers]cgroupDir
	text  string // the /proc/PID/cgroup of the root from which dirs were found

	cpu, system                 kernel.Count // ns; system is part of cpu
	cpuBaseline, systemBaseline int64        // the parts that do not belong to the job
	based                       bool

	mem, memPeak, memAnon, throttled, oomKills, procs procinfo.Value
}

// cgroupDir is the directory of a cgroup; the zero value is none.
type cgroupDir struct {
	path  string
	v2    bool
	top   bool   // the root of the mounted hierarchy, never a job's own
	own   bool   // it holds only processes of the job
	since uint64 // when own last changed, in ticks since boot
	other int    // a process in it that does not belong to the job, 0 for none
}

// cgroupMounts are the cgroup hierarchies of a host.
type cgroupMounts struct {
	fs     procinfo.FS
	mounts []kernel.Mount
	read   bool
}

// all returns the hierarchies, which are read once.
func (c *cgroupMounts) all() []kernel.Mount {
	if !c.read {
		c.read = true
		b, _ := os.ReadFile(c.fs.ProcPath("self/mountinfo"))
		c.mounts = kernel.CgroupMounts(kernel.ParseMountinfo(b))
	}
	return c.mounts
}

// give sets the cgroup that the caller declares to be the job's.
func (c *jobCgroup) give(mounts *cgroupMounts, dir string) error {
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
	// Find the same path in the hierarchies of the other controllers.
	for _, m := range mounts.all() {
		rel, ok := strings.CutPrefix(dir, mounts.fs.CgroupPath(m.Point)+"/")
		if !ok || m.Controllers == "" {
			continue
		}
		for i, controller := range cgControllers {
			c.dirs[i] = cgroupDir{}
			for _, n := range mounts.all() {
				path := filepath.Join(mounts.fs.CgroupPath(n.Point), rel)
				if _, err := os.Stat(path); err == nil && n.Controllers != "" && kernel.HasController(n.Controllers, controller) {
					c.dirs[i] = cgroupDir{path: path, own: true}
				}
			}
		}
		break
	}
	return nil
}

// locate returns the cgroups that a /proc/PID/cgroup names.
func (c *cgroupMounts) locate(text []byte) (dirs [nCgControllers]cgroupDir) {
	for i, controller := range cgControllers {
		for _, m := range c.all() {
			name := controller
			if m.Controllers == "" {
				name = "" // of version 2, used unless version 1 has the controller
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
				dirs[i] = cgroupDir{path: filepath.Join(c.fs.CgroupPath(m.Point), rel), v2: name == "", top: rel == "/"}
			}
		}
	}
	return dirs
}

// sample reads the job's own cgroup, if it has one. It reports whether a cgroup has
// vanished. The values of a cgroup that has vanished stay.
func (c *jobCgroup) sample(s *forest, mounts *cgroupMounts, t *tree) (vanished bool) {
	if !c.given {
		if text, ok := s.cgroupText(t); ok && text != c.text {
			c.text = text
			for i, d := range mounts.locate([]byte(text)) {
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
		n, err := c.judge(s, t, d)
		switch {
		case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV):
			vanished = true
		case d.own && err == nil:
			c.procs = procinfo.Known(float64(n))
		case !d.own:
			c.forget(i)
		}
	}
	c.readMemory(&c.dirs[cgMemory])
	c.readCPU(s, t)
	c.readThrottled(&c.dirs[cgCPU])
	return vanished
}

// cgroupText returns the cgroup file of the living roots, if there are any. It is empty
// if they are not all in the same cgroups: then none of these belongs to the job.
func (s *forest) cgroupText(t *tree) (text string, ok bool) {
	for _, p := range t.roots {
		if !p.alive() {
			continue
		}
		b, errno := s.scanner.Read(p.pid, "cgroup")
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

// forget drops the values of a cgroup that does not belong to the job any more.
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

// errStranger is returned by a walk through a cgroup that visit ended.
var errStranger = errors.New("a process of another")

// judge decides whether a cgroup is the job's own: it was given, or every process in it
// and below belongs to the job, and this process is not among them. It returns the number
// of processes.
func (c *jobCgroup) judge(s *forest, t *tree, d *cgroupDir) (n int, err error) {
	if d.other > 0 {
		// There may be thousands of jobs in one cgroup: look at this process first.
		p := s.procs[d.other]
		b, errno := s.scanner.Read(d.other, "cgroup")
		if errno == 0 && string(b) == c.text && (p == nil || !p.member(t)) {
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
		case p != nil && p.member(t):
			p.inside = s.generation
			seen++
			return true
		case c.given:
			if pid > 0 && pid != s.self {
				s.enterPID(t, pid)
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
			// It was created in here, by a process that has ended.
			s.enterPID(t, pid)
			return true
		}
		return st.Start >= s.scanTick // the next scan decides about a new process
	})
	if c.given && err == nil {
		s.findStrayed(t)
	}
	if c.given || err != nil && err != errStranger {
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

// findStrayed notes if a process of the job has left the cgroup that the job was given:
// the cgroup does not count the CPU time that it uses elsewhere.
func (s *forest) findStrayed(t *tree) {
	for _, p := range t.members {
		if p.inside == s.generation || p.zombie || p.ended || t.strayed {
			continue
		}
		if st, err := s.stat(p.pid); err == nil && st.Start == p.start && !st.Dead() {
			t.strayed = true
		}
	}
}

// enterPID makes a process of the job's cgroup a member of the tree.
func (s *forest) enterPID(t *tree, pid int) {
	st, err := s.stat(pid)
	if err != nil {
		return
	}
	if p := s.procs[pid]; p != nil && p.start == st.Start {
		s.join(p, t)
	} else if s.enter(pid, st.Start, []*tree{t}) {
		s.readClock(s.procs[pid])
	}
	if p := s.procs[pid]; p != nil {
		p.inside = s.generation
	}
}

// walkCgroup calls visit for every process in a cgroup and those below, until visit
// returns false. It reads no more than needed: the cgroup of a daemon or session may be
// large.
func (s *forest) walkCgroup(dir string, visit func(pid int) bool) error {
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
		case err == syscall.EOPNOTSUPP: // a threaded cgroup
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

// readNumber reads a file that holds one number.
func readNumber(name string) kernel.Count { return kernel.ParseNumber(readSmall(name)) }

// readMemory reads the memory of the job's cgroup and the events of its shortage.
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
	set(&c.mem, readNumber(d.path+mem), 1./1024)
	set(&c.memPeak, readNumber(d.path+peak), 1./1024)
	set(&c.memAnon, kernel.ParseKeyed(readSmall(d.path+"/memory.stat"), anon), 1./1024)
	set(&c.oomKills, kernel.ParseKeyed(readSmall(d.path+events), "oom_kill"), 1)
}

// readCPU reads the CPU time of the job's cgroup.
func (c *jobCgroup) readCPU(s *forest, t *tree) {
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
		usage, system = readNumber(d.path+"/cpuacct.usage"), readNumber(d.path+"/cpuacct.usage_sys")
	}
	if !usage.OK || usage.N > 1<<62 {
		return
	}
	system.OK = system.OK && system.N <= usage.N
	if !c.based {
		// A cgroup that was given belongs to the job from its first moment,
		// unless the job began later. It is not known how much time another job
		// used in it before: the job starts with the time of its processes.
		c.based = true
		c.cpuBaseline, c.systemBaseline = 0, 0
		if !c.given || t.startGiven && len(t.members) > 0 && process.TicksSinceBoot(t.members[0].start) < t.start-100*process.Tick {
			c.cpuBaseline = int64(usage.N) - max(s.known(t, cntCPU), t.last[cntCPU])
			c.systemBaseline = int64(system.N) - max(s.known(t, cntSystem), t.last[cntSystem])
		}
	}
	c.cpu, c.system = usage, system
}

// readThrottled reads the time in which the cgroup had used up its CPU quota.
func (c *jobCgroup) readThrottled(d *cgroupDir) {
	if !d.own {
		return
	}
	key, unit := "throttled_usec", 1e-6
	if !d.v2 {
		key, unit = "throttled_time", 1e-9
	}
	if n := kernel.ParseKeyed(readSmall(d.path+"/cpu.stat"), key); n.OK {
		c.throttled = procinfo.KnownIf(n.Float()).Scaled(unit)
	}
}

// fill fills in the values of the cgroup.
func (c *jobCgroup) fill(to *procinfo.JobSample) {
	to.CgroupMem, to.CgroupMemPeak, to.CgroupMemAnon = c.mem, c.memPeak, c.memAnon
	to.CgroupThrottled, to.CgroupOOMKills, to.CgroupProcs = c.throttled, c.oomKills, c.procs
}
