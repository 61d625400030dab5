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

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

const (
	// Two walks keep two file systems busy and leave the host's CPUs and
	// disks to the jobs.
	maxWalks = 2
	// What has not come back from a system call after this time hangs: a slow
	// server takes seconds at most.
	hungAfter = 5 * time.Second
	// Close waits this long for what runs, which looks up every few entries.
	closeWait = time.Second
	// Mounts come and go seldom; a table this old only misjudges which file
	// system a hang is blamed on.
	mountsAge = time.Second
)

// Dirs measures the work directories of jobs. One serves all of them, from
// any goroutine.
//
// Whatever touches a directory may hang for ever, as on a mount whose server is
// gone. So it is done by a goroutine of its own, one at a time for each file
// system, which is found in /proc/self/mountinfo without touching it. If it
// hangs, that goroutine and its thread are all that is lost: later measurements
// on the same file system are skipped and counted, those on others go on.
// Measurements wait for their turn otherwise: at most maxWalks walks run at a
// time.
type Dirs struct {
	mountinfo string
	limits    walkLimits
	stop      atomic.Bool
	epoch     time.Time

	// What touches a file system, to be replaced by tests.
	statfs func(fd int, st *syscall.Statfs_t) error
	openat func(dir int, name *byte) (fd int, errno syscall.Errno)

	mu       sync.Mutex
	mounts   []kernel.Mount
	mountsAt time.Time
	queues   map[string]*fsQueue // by mount.dev; only those with something to do
}

// fsQueue is what is to be measured on one file system.
type fsQueue struct {
	dev  string
	beat atomic.Int64 // when the goroutine last came back from a call, as Dirs.now
	due  atomic.Bool  // there are disks: a walk serves them in between

	// Under Dirs.mu:
	disks, sizes     []measurement
	running, walking bool
	ended            chan struct{} // closed when the goroutine that runs ends
}

// measurement is one that is asked for.
type measurement struct {
	dir   *Dir
	size  bool   // the size, else the file system's
	path  string // of the directory, with the symbolic links resolved so far
	links int    // how many those were
}

// Dir is one work directory.
type Dir struct {
	all  *Dirs
	path string

	// Under Dirs.mu:
	usage      Usage
	size, disk pending
	there      bool // it was, once
	told       map[string]bool
	errs       []error
}

// pending is a measurement that is under way, or waits for its turn.
type pending struct {
	done  chan struct{} // nil if there is none; closed when it is done
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

// Add returns the directory of this path, absolute or relative to the current
// directory. Nothing is touched, and nothing needs to be there yet. If the path
// has symbolic links, even as its last element, each measurement resolves them
// anew. Of an empty path nothing is known.
func (w *Dirs) Add(path string) *Dir {
	d := &Dir{all: w, path: path}
	if path != "" && path[0] != '/' {
		dir, err := syscall.Getwd() // not os.Getwd, which may touch it
		if err != nil {
			d.path, d.errs = "", []error{fmt.Errorf("work directory %s: no current directory: %w", path, err)}
			return d
		}
		d.path = dir + "/" + path
	}
	return d
}

// Close stops what runs, and waits for it a second at most; what hangs ends
// when its system call does. Samples return what is known then.
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

// Sample starts to measure the directory's size, its file system (disk), or
// both, unless that is under way already, waits for the result, wait at most,
// and returns what is known then, be it of an earlier measurement. It never
// blocks for longer, whatever the file system does.
//
// A walk for the size has limits (30 s, ten million entries, and those of its
// memory); one that exceeds them leaves the earlier size as it is. Of a
// directory that has vanished nothing is known, nor is anything of a file system
// that hangs but the size there was before.
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
	u.Err = errors.Join(d.errs...)
	d.errs = nil
	return u
}

// ask enters a measurement unless there is one already. It returns what to wait
// for.
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

// enter puts a measurement into the queue of the file system that its path
// leads to first.
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

// start lets goroutines run for the queues that have something to do.
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

// run asks for what is to be known of a file system, and makes one walk if its
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

// measure makes a measurement, or hands it on to another queue if a symbolic
// link leads there. It holds no lock while it touches a file system.
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
		// With O_PATH one that may not be read still has its file system.
		fd := -1
		err := again(func() (err error) {
			fd, err = syscall.Open(m.path, unix.O_PATH|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
			return err
		})
		switch {
		case err != nil:
			errs[0] = &fs.PathError{Op: "open", Path: m.path, Err: err}
		case m.size:
			complete, errs = w.walk(q, m.path, fd, &got)
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
		m.dir.there = true
	} else if !m.dir.there && process.Gone(errs[0]) {
		var e *fs.PathError
		errors.As(errs[0], &e)
		m.dir.note(fmt.Errorf("work directory %s: %w; it is measured once it is there", m.dir.path, e.Err))
	}
	for _, err := range errs {
		m.dir.fail(err)
	}
	m.finish()
}

// resolve follows the symbolic links of a measurement's path as long as they
// stay on the queue's file system; here says whether they do. It reads one
// element after the other, as the kernel would find out where a link leads only
// by going there.
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
		case err == syscall.EINVAL: // no link
			at = next
			continue
		case err != nil:
			return true, &fs.PathError{Op: "readlink", Path: next, Err: err}
		}
		if m.links++; m.links > 40 { // as the kernel
			return true, &fs.PathError{Op: "readlink", Path: m.dir.path, Err: syscall.ELOOP}
		}
		if m.path = string(buf[:n]) + "/" + rest; n == 0 || buf[0] != '/' {
			m.path = at + "/" + m.path
		}
		goto restart
	}
}

// askDisk asks for the file system's figures.
func (w *Dirs) askDisk(path string, fd int, u *Usage) error {
	var st syscall.Statfs_t
	if err := w.statfs(fd, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	unit := float64(st.Frsize)
	if unit <= 0 {
		unit = float64(st.Bsize)
	}
	// A file system that does not count says 0 of everything.
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

// fail notes an error unless it only says that something is not there (any
// more), or its cause was told before.
func (d *Dir) fail(err error) {
	if err == nil || process.Gone(err) || errors.Is(err, syscall.ESTALE) {
		return
	}
	d.note(err)
}

// note notes an error unless its cause was told before.
func (d *Dir) note(err error) {
	if cause := err.Error(); !d.told[cause] && len(d.told) < 100 {
		if d.told == nil {
			d.told = map[string]bool{}
		}
		d.told[cause] = true
		d.errs = append(d.errs, err)
	}
}

// skip counts a measurement that is not made as the file system hangs.
func (d *Dir) skip(size bool) {
	u := &d.usage
	u.Skipped++
	if !size { // what was free then may be gone; what was occupied is not
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

// finish tells those who wait.
func (m *measurement) finish() {
	p := m.dir.pending(m.size)
	close(p.done)
	*p = pending{}
}

// hangs reports whether the queue's goroutine does.
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
