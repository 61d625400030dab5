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

	"github.com/apmon-go/apmon/internal/kernel"
	"github.com/apmon-go/apmon/internal/process"
	"github.com/apmon-go/apmon/procinfo"
)

// walkLimits bound the cost of a walk. A walk that exceeds one is abandoned.
type walkLimits struct {
	time    time.Duration
	entries int
	memory  int // bytes, for the folders that are still to be entered
	links   int // files with several links
}

var defaultLimits = walkLimits{
	// A quarter of the interval at which jobs report.
	time: 30 * time.Second,
	// Ten times what a large job has; on a local disk the time ends first.
	entries: 10_000_000,
	// A million folders side by side, or nearly as many nested ones.
	memory: 32 << 20,
	// About 40 MB in the worst case.
	links: 1 << 20,
}

// maxOpenDirs bounds the folders that a walk keeps open. Those further up are opened again
// from below on the way back.
const maxOpenDirs = 32

// checkEvery is the number of entries between two calls of check.
const checkEvery = 32

// walk adds up the sizes of all files in a directory.
//
// It reads a folder to its end before it enters those in it, one after the other. It
// keeps the names of folders that are still to be entered, and nothing else of an entry.
// It uses no path: each folder is opened from its parent, and only if it is no symbolic
// link, so that neither changes by the job nor a long path lead it astray.
type walk struct {
	limits walkLimits
	openat openDirFunc
	// alive is called every few entries, to show that the walk does not hang. It reports
	// whether to go on.
	alive func() bool
	name  string // of the work directory, for errors

	mounts     map[string]bool // mount points below the directory; not to be touched, as they may hang
	started    time.Time
	entries    int
	blocks     uint64 // of 512 bytes
	unreadable int
	partly     bool // the folder entered last, or something in it, could not be read
	errs       []error

	id    fileID // of the work directory
	stack []folder
	names []byte // zero-terminated, of folders to be entered, those of the innermost last
	path  []byte // of the innermost folder, only to be compared with mounts
	links map[fileID]struct{}
	st    unix.Statx_t
	ents  [32 << 10]byte
}

// A folder is a directory that the walk is in.
type folder struct {
	fd    int // -1 while it is closed
	ino   uint64
	names int // where its names start
	path  int // length of the path without it
}

// A fileID is equal for all links to one file.
type fileID struct{ dev, ino uint64 }

// These errors abandon a walk and are not reported: errMoved if the way back to a parent
// is lost, errStopped on Close.
var errMoved, errStopped = errors.New("moved"), errors.New("stopped")

// Names for system calls, zero-terminated.
var noName, dot, dotDot = [1]byte{}, [2]byte{'.'}, [3]byte{'.', '.'}

// newWalk returns a walk through the directory at path, which leaves out mount points.
func newWalk(path string, mounts []kernel.Mount) *walk {
	k := &walk{name: path, path: []byte(strings.TrimSuffix(path, "/")), started: time.Now(), links: map[fileID]struct{}{}}
	for _, m := range mounts {
		if strings.HasPrefix(m.Point, string(k.path)+"/") {
			if k.mounts == nil {
				k.mounts = map[string]bool{}
			}
			k.mounts[m.Point] = true
		}
	}
	return k
}

// run sets the size of the directory behind an open descriptor. If the walk exceeds a
// limit or is stopped, it is not complete and nothing is set. There may be errors in any
// case.
func (k *walk) run(dir int, u *Usage) (complete bool, errs []error) {
	defer func() {
		for _, f := range k.stack {
			k.close(f.fd)
		}
	}()
	if errno := k.stat(dir, &noName[0], unix.AT_EMPTY_PATH); errno != 0 {
		return true, []error{&fs.PathError{Op: "stat", Path: k.name, Err: errno}}
	}
	k.id, k.blocks = k.fileID(), k.st.Blocks
	known, err := k.all(dir)
	switch {
	case err == errMoved, err == errStopped:
		return false, nil
	case err != nil:
		return false, []error{err}
	}
	u.Unreadable = k.unreadable
	// A directory that was removed meanwhile has no size.
	if errno := k.stat(dir, &noName[0], unix.AT_EMPTY_PATH); known && errno == 0 && k.st.Nlink > 0 {
		u.SizeMB, u.SizeTime = procinfo.Known(float64(k.blocks)/2048), time.Now()
	}
	return true, k.errs
}

// all enters the directory and all folders in it. It reports whether the directory could
// be entered.
func (k *walk) all(dir int) (entered bool, err error) {
	err = k.enter(dir, dot[:])
	entered = len(k.stack) > 0
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
	return entered, err
}

// check returns an error if the walk is to be abandoned.
func (k *walk) check() error {
	limit := &k.limits
	exceeds := ""
	switch {
	case !k.alive():
		return errStopped
	case time.Since(k.started) > limit.time:
		exceeds = "takes longer than " + limit.time.String()
	case k.entries > limit.entries:
		exceeds = fmt.Sprintf("has more than %d entries", limit.entries)
	case len(k.names)+len(k.path)+len(k.stack)*int(unsafe.Sizeof(folder{})) > limit.memory:
		exceeds = "has too many folders side by side or nested"
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
	fd, errno := k.openat(parent, &name[0])
	if errno != 0 {
		return k.unread("open", errno)
	}
	// It may have been replaced since its parent was read.
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

// leave goes back to the parent of the innermost folder.
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
	fd, errno := k.openat(f.fd, &dotDot[0])
	k.close(f.fd)
	if errno != 0 {
		return errMoved
	}
	p := &k.stack[last-1]
	p.fd = fd
	// If a folder was moved, its .. is another folder.
	if k.stat(fd, &noName[0], unix.AT_EMPTY_PATH) != 0 || k.fileID() != (fileID{k.id.dev, p.ino}) {
		return errMoved
	}
	return nil
}

// read adds up the files in an open folder, and keeps the names of the folders in it.
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
		for name, b := process.NextDirent(k.ents[:n]); name != nil; name, b = process.NextDirent(b) {
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
			if k.st.Mode&unix.S_IFMT == unix.S_IFDIR {
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

// unread notes that a folder could not be read completely. It returns an error only if the
// walk is to be abandoned.
func (k *walk) unread(op string, errno syscall.Errno) error {
	switch errno {
	case 0, syscall.ENOENT, syscall.ESRCH, syscall.ENOTDIR, syscall.ELOOP, syscall.ESTALE:
		return nil // it was removed or replaced since its parent was read
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

// isMount reports whether an entry of the innermost folder is a mount point.
func (k *walk) isMount(name []byte) bool {
	n := len(k.path)
	k.path = append(append(k.path, '/'), cString(name)...)
	is := k.mounts[string(k.path)]
	k.path = k.path[:n]
	return is
}

// cString returns the part of b before its first zero byte.
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

// stat is statx(2), into k.st. It follows no symbolic link and triggers no automount. The
// system call is made directly, as package unix copies the name.
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

// oldStat does the same with fstatat(2), which is slower.
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

// openDirFunc is the type of openDir.
type openDirFunc func(dir int, name *byte) (fd int, errno syscall.Errno)

// openDir opens a folder by its name in another, unless it is a symbolic link. See
// openat(2).
func openDir(dir int, name *byte) (fd int, errno syscall.Errno) {
	for {
		fd, _, errno := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)),
			unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0, 0, 0)
		switch errno {
		case 0:
			return int(fd), 0
		case syscall.EINTR:
		default:
			return -1, errno
		}
	}
}
