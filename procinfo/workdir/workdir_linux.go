package workdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/causes"
	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

const (
	// Two walks keep two file systems busy, and leave the host's CPUs and disks to the
	// jobs.
	maxWalks = 2
	// A system call that takes longer than this is considered to hang: a slow server
	// takes seconds at most.
	hungAfter = 5 * time.Second
	// Close waits this long for measurements, which check every few entries.
	closeWait = time.Second
	// Mounts seldom change. With a table of this age, at worst a hang is attributed to
	// the wrong file system.
	mountsAge = time.Second
)

// Dirs measures the work directories of jobs. One Dirs serves all of them. It is safe for
// concurrent use.
//
// Any access to a directory may hang for ever, for example on a mount whose server is
// gone. So measurements run in goroutines of their own, one at a time for each file
// system, which is found in /proc/self/mountinfo without touching it. If a measurement
// hangs, only its goroutine and thread are lost: later measurements on the same file
// system are skipped and counted, those on others go on. At most two walks run at the
// same time; others wait for their turn.
type Dirs struct {
	mountinfo string
	limits    walkLimits
	stop      atomic.Bool
	epoch     time.Time

	// System calls that touch a file system; tests replace them.
	statfs func(fd int, st *syscall.Statfs_t) error
	openat openDirFunc

	mu       sync.Mutex
	mounts   []kernel.Mount
	mountsAt time.Time
	queues   map[string]*fsQueue // by kernel.Mount.Dev; only those with work
}

// A fsQueue holds the measurements to make on one file system.
type fsQueue struct {
	dev  string
	beat atomic.Int64 // when the goroutine last returned from a system call, as Dirs.now
	due  atomic.Bool  // disks is not empty: a walk serves them in between

	// Under Dirs.mu:
	disks, sizes     []measurement
	running, walking bool
	ended            chan struct{} // closed when the running goroutine ends
}

// A measurement is a request to measure a directory.
type measurement struct {
	dir   *Dir
	size  bool   // measure the size, otherwise the file system
	path  string // of the directory, with the symbolic links resolved so far
	links int    // number of links resolved so far
}

// A Dir is a work directory.
type Dir struct {
	all  *Dirs
	path string

	// Under Dirs.mu:
	usage      Usage
	size, disk pending
	found      bool // a measurement has found the directory
	errs       causes.Once
}

// pending is a measurement that is under way or waits for its turn, or none.
type pending struct {
	done  chan struct{} // closed when the measurement is done; nil for none
	queue *fsQueue
}

// New returns a Dirs that finds mounts in fs.
func New(fs procinfo.FS) *Dirs {
	return &Dirs{
		mountinfo: fs.ProcPath("self/mountinfo"),
		limits:    defaultLimits,
		epoch:     time.Now(),
		statfs:    fstatfs,
		openat:    openDir,
		queues:    map[string]*fsQueue{},
	}
}

// Add returns the directory of this path, absolute or relative to the current directory.
// It does not touch the directory, which need not exist yet. If the path contains symbolic
// links, even as its last element, each measurement resolves them again. All values of an
// empty path are unknown.
func (w *Dirs) Add(path string) *Dir {
	d := &Dir{all: w, path: path}
	if path != "" && path[0] != '/' {
		dir, err := syscall.Getwd() // unlike os.Getwd, it does not touch the directory
		if err != nil {
			d.path = ""
			d.errs.Add("", fmt.Errorf("work directory %s: no current directory: %w", path, err))
			return d
		}
		d.path = dir + "/" + path
	}
	return d
}

// Close stops all measurements, and waits for them for a second at most. One that hangs
// ends when its system call returns. Samples return the last known values afterwards.
func (w *Dirs) Close() error {
	var ends []chan struct{}
	w.mu.Lock()
	w.stop.Store(true)
	for _, q := range w.queues {
		if q.running && !w.hangs(q) {
			ends = append(ends, q.ended)
		}
		for _, m := range append(q.disks, q.sizes...) {
			m.finish()
		}
		q.disks, q.sizes = nil, nil
	}
	w.mu.Unlock()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	for _, end := range ends {
		select {
		case <-end:
		case <-timer.C:
			return nil
		}
	}
	return nil
}

// Sample starts to measure the directory's size, its file system (disk), or both, unless
// that is under way already. It waits for the result, but not longer than wait, and
// returns the known values, which may be those of an earlier measurement. It never blocks
// for longer, even if the file system hangs.
//
// A walk for the size has limits: 30 s, ten million entries, and some 70 MB of memory. If
// it exceeds them, the earlier size stays. The values of a directory that has vanished
// become unknown. The values of a file system that hangs become unknown, but an earlier
// size stays.
func (d *Dir) Sample(wait time.Duration, size, disk bool) Usage {
	w := d.all
	w.mu.Lock()
	var done [2]chan struct{}
	if disk {
		done[0] = w.ask(d, false)
	}
	if size {
		done[1] = w.ask(d, true)
	}
	w.start()
	w.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for _, c := range done {
			if c == nil {
				continue
			}
			select {
			case <-c:
				continue
			case <-timer.C:
			}
			break
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u := d.usage
	u.Err = d.errs.Take()
	return u
}

// ask enters a measurement unless one is pending already. The channel that it returns is
// closed when the measurement is done.
func (w *Dirs) ask(d *Dir, size bool) chan struct{} {
	if w.stop.Load() || d.path == "" {
		return nil
	}
	p := d.pending(size)
	if p.done == nil {
		p.done = make(chan struct{})
		w.enter(measurement{dir: d, size: size, path: d.path})
	} else if w.hangs(p.queue) {
		d.skip(size)
		return nil
	}
	return p.done // nil if it was skipped
}

// enter puts a measurement into the queue of the file system to which its path leads
// before any symbolic link is resolved.
func (w *Dirs) enter(m measurement) {
	dev, _, _ := mountOf(w.mountTable(), m.path)
	q := w.queues[dev]
	if q == nil {
		q = &fsQueue{dev: dev}
		w.queues[dev] = q
	}
	switch {
	case w.stop.Load():
		m.finish()
		return
	case w.hangs(q):
		m.dir.skip(m.size)
		m.finish()
		return
	case m.size:
		q.sizes = append(q.sizes, m)
	default:
		q.disks = append(q.disks, m)
		q.due.Store(true)
	}
	m.dir.pending(m.size).queue = q
}

// start starts goroutines for the queues that have work.
func (w *Dirs) start() {
	if w.stop.Load() {
		return
	}
	walks := 0
	for _, q := range w.queues {
		if q.walking && !w.hangs(q) {
			walks++
		}
	}
	for _, q := range w.queues {
		if q.running {
			continue
		}
		if q.walking = len(q.sizes) > 0 && walks < maxWalks; q.walking {
			walks++
		}
		if q.walking || len(q.disks) > 0 {
			q.running, q.ended = true, make(chan struct{})
			q.beat.Store(w.now())
			go w.run(q, q.walking)
		}
	}
}

// run makes the measurements of a file system that need no walk, and then one walk if its
// turn has come.
func (w *Dirs) run(q *fsQueue, walk bool) {
	w.askDisks(q)
	var m measurement
	w.mu.Lock()
	if walk = walk && len(q.sizes) > 0; walk {
		m = q.sizes[0]
		q.sizes = append(q.sizes[:0], q.sizes[1:]...)
	}
	w.mu.Unlock()
	if walk {
		w.measure(q, m)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	q.running, q.walking = false, false
	close(q.ended)
	if len(q.disks)+len(q.sizes) == 0 {
		delete(w.queues, q.dev)
	}
	w.start()
}

// askDisks makes the measurements that need no walk.
func (w *Dirs) askDisks(q *fsQueue) {
	w.mu.Lock()
	todo := q.disks
	q.disks = nil
	q.due.Store(false)
	w.mu.Unlock()
	for _, m := range todo {
		w.measure(q, m)
	}
}

// measure makes a measurement, or moves it to another queue if a symbolic link leads
// there. It holds no lock while it touches a file system.
func (w *Dirs) measure(q *fsQueue, m measurement) {
	q.beat.Store(w.now())
	here, err := w.resolve(q, &m)
	if err == nil && !here {
		w.mu.Lock()
		w.enter(m)
		w.start()
		w.mu.Unlock()
		return
	}
	var got Usage
	found, complete, errs := false, true, []error{err}
	if err == nil {
		// O_PATH opens even a directory without read permission.
		fd := -1
		err := again(func() (err error) {
			fd, err = syscall.Open(m.path, unix.O_PATH|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
			return err
		})
		switch {
		case err != nil:
			errs[0] = &fs.PathError{Op: "open", Path: m.path, Err: err}
		case m.size:
			complete, errs = w.walk(q, m.path).run(fd, &got)
		default:
			errs[0] = w.askDisk(m.path, fd, &got)
		}
		if found = err == nil; found {
			syscall.Close(fd)
		}
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	u := &m.dir.usage
	switch {
	case !m.size:
		u.Total, u.Used, u.Free, u.Usage, u.DiskTime = got.Total, got.Used, got.Free, got.Usage, got.DiskTime
	case complete:
		u.SizeMB, u.SizeTime, u.Unreadable = got.SizeMB, got.SizeTime, got.Unreadable
	}
	if found {
		m.dir.found = true
	} else if !m.dir.found && process.Gone(errs[0]) {
		var e *fs.PathError
		errors.As(errs[0], &e)
		m.dir.errs.Add("", fmt.Errorf("work directory %s: %w; it is measured once it exists", m.dir.path, e.Err))
	}
	for _, err := range errs {
		m.dir.fail(err)
	}
	m.finish()
}

// resolve follows the symbolic links of a measurement's path as long as they stay on the
// queue's file system; here reports whether they do. It resolves one element after the
// other: the kernel would find out where a link leads only by following it.
func (w *Dirs) resolve(q *fsQueue, m *measurement) (here bool, err error) {
	buf := make([]byte, 4096) // PATH_MAX
restart:
	w.mu.Lock()
	dev, at, rest := mountOf(w.mountTable(), m.path)
	w.mu.Unlock()
	if dev != q.dev {
		return false, nil
	}
	for {
		var name string
		name, rest = cutName(rest)
		switch name {
		case "":
			m.path = at
			return true, nil
		case "..":
			m.path = at[:strings.LastIndexByte(at, '/')] + "/" + rest
			goto restart
		}
		next := strings.TrimSuffix(at, "/") + "/" + name
		n := 0
		err := again(func() (err error) {
			n, err = syscall.Readlink(next, buf)
			return err
		})
		switch {
		case err == syscall.EINVAL: // not a link
			at = next
			continue
		case err != nil:
			return true, &fs.PathError{Op: "readlink", Path: next, Err: err}
		}
		if m.links++; m.links > 40 { // the kernel's limit
			return true, &fs.PathError{Op: "readlink", Path: m.dir.path, Err: syscall.ELOOP}
		}
		if m.path = string(buf[:n]) + "/" + rest; n == 0 || buf[0] != '/' {
			m.path = at + "/" + m.path
		}
		goto restart
	}
}

// walk returns a walk through a directory. It shows that the queue does not hang, and
// serves measurements of its file system in between.
func (w *Dirs) walk(q *fsQueue, path string) *walk {
	w.mu.Lock()
	k := newWalk(path, w.mountTable())
	w.mu.Unlock()
	k.limits, k.openat = w.limits, w.openat
	k.alive = func() bool {
		q.beat.Store(w.now())
		if q.due.Load() {
			w.askDisks(q)
		}
		return !w.stop.Load()
	}
	return k
}

// askDisk reads the size and the free space of the file system.
func (w *Dirs) askDisk(path string, fd int, u *Usage) error {
	var st syscall.Statfs_t
	if err := w.statfs(fd, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	unit := float64(st.Frsize)
	if unit <= 0 {
		unit = float64(st.Bsize)
	}
	// A file system that does not count its blocks returns zeros.
	if st.Blocks == 0 || unit <= 0 {
		return nil
	}
	unit /= 1 << 20
	used := max(0, float64(st.Blocks)-float64(st.Bfree))
	free := float64(max(0, int64(st.Bavail))) // negative inside the reserve
	u.Total, u.Used, u.Free = procinfo.Known(float64(st.Blocks)*unit), procinfo.Known(used*unit), procinfo.Known(free*unit)
	u.Usage = procinfo.Percent(used, used+free)
	u.DiskTime = time.Now()
	return nil
}

// fstatfs is statfs(2) of an open directory.
func fstatfs(fd int, st *syscall.Statfs_t) error {
	return again(func() error { return syscall.Fstatfs(fd, st) })
}

// again makes a system call until no signal interrupts it.
func again(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// fail keeps an error for the next sample, unless a file is merely missing or the cause was
// reported before.
func (d *Dir) fail(err error) {
	if err != nil && !process.Gone(err) && !errors.Is(err, syscall.ESTALE) {
		d.errs.Add("", err)
	}
}

// skip counts a measurement that is not made because the file system hangs.
func (d *Dir) skip(size bool) {
	u := &d.usage
	u.Skipped++
	if !size { // the free space may have changed since
		u.Total, u.Used, u.Free, u.Usage, u.DiskTime = procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, procinfo.Value{}, time.Time{}
	}
	d.fail(fmt.Errorf("%s: the file system does not answer", d.path))
}

func (d *Dir) pending(size bool) *pending {
	if size {
		return &d.size
	}
	return &d.disk
}

// finish ends the waiting for the measurement.
func (m *measurement) finish() {
	p := m.dir.pending(m.size)
	close(p.done)
	*p = pending{}
}

// hangs reports whether the queue's goroutine hangs in a system call.
func (w *Dirs) hangs(q *fsQueue) bool {
	return q.running && w.now()-q.beat.Load() > int64(hungAfter)
}

func (w *Dirs) now() int64 { return int64(time.Since(w.epoch)) }

// mountTable returns the mounts.
func (w *Dirs) mountTable() []kernel.Mount {
	if now := time.Now(); w.mountsAt.IsZero() || now.Sub(w.mountsAt) > mountsAge {
		// Without mounts all directories are taken to be on one file system.
		b, _ := os.ReadFile(w.mountinfo)
		w.mounts, w.mountsAt = kernel.ParseMountinfo(b), now
	}
	return w.mounts
}
