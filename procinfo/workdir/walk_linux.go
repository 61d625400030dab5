package workdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/procinfo"
)

// walkLimits are what a walk may cost; beyond that it is cut short.
type walkLimits struct {
	time    time.Duration
	entries int
	memory  int // bytes, for the folders that are not done yet
	links   int // files with several links
}

var defaultLimits = walkLimits{
	// A quarter of the interval at which jobs report.
	time: 30 * time.Second,
	// Ten times what a large job has; on a local disk the time ends first.
	entries: 10_000_000,
	// A million folders side by side, or nearly as many one in the other.
	memory: 32 << 20,
	// About 40 MB in the worst case.
	links: 1 << 20,
}

// maxOpenDirs is how many folders a walk keeps open; those further up are opened
// anew from below on the way back.
const maxOpenDirs = 32

// checkEvery is how many entries go between two looks at the clock.
const checkEvery = 32

// walk sums up what is in a directory.
//
// It reads a folder to its end before it enters those in it, one after the
// other. The names of those that are still to be entered are kept, nothing else
// of an entry, and no path is used: each folder is opened from the one it is in,
// and only if it is no symbolic link, so that neither what a job does meanwhile
// nor the length of a path leads it astray.
type walk struct {
	dirs  *Dirs
	queue *fsQueue
	name  string // of the work directory, for errors

	mounts     map[string]bool // what is mounted below; not to be touched, as it may hang
	started    time.Time
	entries    int
	blocks     uint64
	unreadable int
	partly     bool // the folder entered last is unreadable, or something in it
	errs       []error

	id    fileID // of the work directory
	stack []folder
	names []byte // zero-terminated, of folders to be entered, those of the innermost last
	path  []byte // of the innermost folder, only to be compared with mounts
	links map[fileID]struct{}
	st    unix.Statx_t
	ents  [32 << 10]byte
}

// folder is one that is entered.
type folder struct {
	fd    int // -1 while it is closed
	ino   uint64
	names int // where its names start
	path  int // how long the path is without it
}

// fileID is what links to one file have in common.
type fileID struct{ dev, ino uint64 }

// These cut a walk short without a word: one because the way back is gone, the
// other because of Close.
var errMoved, errStopped = errors.New("moved"), errors.New("stopped")

// Names as system calls want them.
var noName, dot, dotDot = [1]byte{}, [2]byte{'.'}, [3]byte{'.', '.'}

// walk sets the size of the directory behind an open descriptor. If it exceeds a
// limit or is stopped, it is not complete and nothing is set; there may be
// errors in any case.
func (w *Dirs) walk(q *fsQueue, path string, dir int, u *Usage) (complete bool, errs []error) {
	k := &walk{dirs: w, queue: q, name: path, path: []byte(strings.TrimSuffix(path, "/")),
		started: time.Now(), links: map[fileID]struct{}{}}
	w.mu.Lock()
	for _, m := range w.mountTable() {
		if strings.HasPrefix(m.Point, string(k.path)+"/") {
			if k.mounts == nil {
				k.mounts = map[string]bool{}
			}
			k.mounts[m.Point] = true
		}
	}
	w.mu.Unlock()
	defer func() {
		for _, f := range k.stack {
			k.close(f.fd)
		}
	}()
	if errno := k.stat(dir, &noName[0], unix.AT_EMPTY_PATH); errno != 0 {
		return true, []error{&fs.PathError{Op: "stat", Path: path, Err: errno}}
	}
	k.id, k.blocks = k.fileID(), k.st.Blocks
	err := k.enter(dir, dot[:])
	known := len(k.stack) > 0
	for err == nil {
		if k.partly {
			k.unreadable++
			k.partly = false
		}
		if len(k.stack) == 0 {
			break
		}
		f := &k.stack[len(k.stack)-1]
		if len(k.names) == f.names {
			err = k.leave()
			continue
		}
		i := bytes.LastIndexByte(k.names[:len(k.names)-1], 0) + 1
		name := k.names[i:]
		k.names = k.names[:i]
		err = k.enter(f.fd, name)
	}
	switch {
	case err == errMoved, err == errStopped:
		return false, nil
	case err != nil:
		return false, []error{err}
	}
	u.Unreadable = k.unreadable
	// What vanished while it was counted has no size.
	if errno := k.stat(dir, &noName[0], unix.AT_EMPTY_PATH); known && errno == 0 && k.st.Nlink > 0 {
		u.SizeMB, u.SizeTime = procinfo.Known(float64(k.blocks)/2048), time.Now()
	}
	return true, k.errs
}

// check says whether the walk goes on, and shows that it does not hang.
func (k *walk) check() error {
	k.queue.beat.Store(k.dirs.now())
	if k.queue.due.Load() {
		k.dirs.askDisks(k.queue)
	}
	limit := &k.dirs.limits
	exceeds := ""
	switch {
	case k.dirs.stop.Load():
		return errStopped
	case time.Since(k.started) > limit.time:
		exceeds = "takes longer than " + limit.time.String()
	case k.entries > limit.entries:
		exceeds = fmt.Sprintf("has more than %d entries", limit.entries)
	case len(k.names)+len(k.path)+len(k.stack)*int(unsafe.Sizeof(folder{})) > limit.memory:
		exceeds = "has too many folders side by side or one in the other"
	case len(k.links) > limit.links:
		exceeds = fmt.Sprintf("has more than %d files with several links", limit.links)
	default:
		return nil
	}
	return fmt.Errorf("%s %s: no size", k.name, exceeds)
}

// enter opens a folder by its name in another, reads it and puts it on the
// stack. The name may be part of k.names.
func (k *walk) enter(parent int, name []byte) error {
	if err := k.check(); err != nil {
		return err
	}
	fd, errno := k.dirs.openat(parent, &name[0])
	if errno != 0 {
		return k.unread("open", errno)
	}
	// It need not be what it was when its parent was read.
	if errno = k.stat(fd, &noName[0], unix.AT_EMPTY_PATH); errno != 0 || k.fileID().dev != k.id.dev {
		k.close(fd)
		return k.unread("stat", errno)
	}
	if i := len(k.stack) - maxOpenDirs; i >= 0 {
		k.close(k.stack[i].fd)
		k.stack[i].fd = -1
	}
	k.stack = append(k.stack, folder{fd: fd, ino: k.st.Ino, names: len(k.names), path: len(k.path)})
	if len(k.stack) > 1 {
		k.path = append(append(k.path, '/'), name[:len(name)-1]...)
	}
	return k.read(fd)
}

// leave goes back to the folder that the innermost is in.
func (k *walk) leave() error {
	last := len(k.stack) - 1
	f := k.stack[last]
	k.stack, k.path = k.stack[:last], k.path[:f.path]
	if last == 0 || k.stack[last-1].fd >= 0 {
		k.close(f.fd)
		return nil
	}
	if len(k.names) == 0 { // nothing is left to go back for
		k.close(f.fd)
		k.stack = k.stack[:0] // all of them are closed
		return nil
	}
	fd, errno := k.dirs.openat(f.fd, &dotDot[0])
	k.close(f.fd)
	if errno != 0 {
		return errMoved
	}
	p := &k.stack[last-1]
	p.fd = fd
	// A folder moved elsewhere leads elsewhere.
	if k.stat(fd, &noName[0], unix.AT_EMPTY_PATH) != 0 || k.fileID() != (fileID{k.id.dev, p.ino}) {
		return errMoved
	}
	return nil
}

// read adds up what is in an open folder, and notes the names of those in it.
func (k *walk) read(fd int) error {
	for {
		n, err := syscall.ReadDirent(fd, k.ents[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			errno, _ := err.(syscall.Errno)
			return k.unread("readdir", errno)
		}
		if n <= 0 {
			return nil
		}
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name, zero.
		for b := k.ents[:n]; len(b) >= 24; {
			size := int(*(*uint16)(unsafe.Pointer(&b[16])))
			if size < 24 || size > len(b) {
				break
			}
			name := b[19:size]
			b = b[size:]
			if name[0] == '.' && (name[1] == 0 || name[1] == '.' && name[2] == 0) {
				continue
			}
			if k.entries++; k.entries%checkEvery == 0 {
				if err := k.check(); err != nil {
					return err
				}
			}
			if k.mounts != nil && k.isMount(name) {
				continue
			}
			if errno := k.stat(fd, &name[0], 0); errno != 0 {
				if err := k.unread("stat", errno); err != nil {
					return err
				}
				continue
			}
			if k.st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				if k.fileID().dev != k.id.dev {
					continue
				}
				k.names = append(append(k.names, cString(name)...), 0)
			} else if k.st.Nlink > 1 {
				id := k.fileID()
				if _, seen := k.links[id]; seen {
					continue
				}
				k.links[id] = struct{}{}
			}
			k.blocks += k.st.Blocks
		}
	}
}

// unread notes that a folder could not be read, or not wholly. The error it returns is one
// that cuts the walk short.
func (k *walk) unread(op string, errno syscall.Errno) error {
	switch errno {
	case 0, syscall.ENOENT, syscall.ESRCH, syscall.ENOTDIR, syscall.ELOOP, syscall.ESTALE:
		return nil // it is not what it was when its parent was read
	}
	err := &fs.PathError{Op: op, Path: k.name + "/...", Err: errno}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM:
		return err
	}
	k.partly = true
	if len(k.errs) < 10 && !slices.ContainsFunc(k.errs, func(e error) bool { return *e.(*fs.PathError) == *err }) {
		k.errs = append(k.errs, err)
	}
	return nil
}

// isMount reports whether something is mounted on an entry of the innermost
// folder.
func (k *walk) isMount(name []byte) bool {
	n := len(k.path)
	k.path = append(append(k.path, '/'), cString(name)...)
	is := k.mounts[string(k.path)]
	k.path = k.path[:n]
	return is
}

// cString returns what is before the zero.
func cString(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

func (k *walk) close(fd int) {
	if fd >= 0 {
		syscall.Close(fd)
	}
}

func (k *walk) fileID() fileID {
	return fileID{uint64(k.st.Dev_major)<<32 | uint64(k.st.Dev_minor), k.st.Ino}
}

// stat is statx(2), into k.st. Links are not followed, nor does it mount
// anything. It is called directly, as package unix copies the name.
func (k *walk) stat(dir int, name *byte, flags int) syscall.Errno {
	flags |= unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags),
			unix.STATX_TYPE|unix.STATX_NLINK|unix.STATX_INO|unix.STATX_BLOCKS, uintptr(unsafe.Pointer(&k.st)), 0)
		switch errno {
		case syscall.EINTR:
		case syscall.ENOSYS, syscall.EPERM: // before Linux 4.11, and where a container's filter is older
			return k.oldStat(dir, name, flags)
		default:
			return errno
		}
	}
}

// oldStat is the same by fstatat(2), slower.
func (k *walk) oldStat(dir int, name *byte, flags int) syscall.Errno {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, unix.BytePtrToString(name), &st, flags); err != nil {
		errno, _ := err.(syscall.Errno)
		return errno
	}
	dev := uint64(st.Dev)
	k.st = unix.Statx_t{Mode: uint16(st.Mode), Nlink: uint32(st.Nlink), Ino: st.Ino, Blocks: uint64(st.Blocks),
		Dev_major: unix.Major(dev), Dev_minor: unix.Minor(dev)}
	return 0
}

// openDir is openat(2) of a folder that is no symbolic link.
func openDir(dir int, name *byte) (fd int, errno syscall.Errno) {
	for {
		fd, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)),
			syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), 0
		case syscall.EINTR:
		default:
			return -1, errno
		}
	}
}
