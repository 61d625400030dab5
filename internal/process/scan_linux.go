package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/apmon-go/apmon/internal/kernel"
)

// Cmdline reads the command line of a process into buf: arguments, each ended by a zero
// byte. It returns nil if the process has none. The directory must be open.
func (s *Scanner) Cmdline(pid int, buf []byte) []byte {
	s.setPath(pid, "cmdline")
	fd, errno := s.openPath(syscall.O_RDONLY)
	if errno != 0 {
		return nil
	}
	n, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return nil
	}
	return buf[:n]
}

// Process reads the stat file of a process. It returns an error if pid is the id of a
// thread. The directory must be open.
func (s *Scanner) Process(pid int) (kernel.PIDStat, error) {
	b, errno := s.Read(pid, "stat")
	if Gone(errno) {
		errno = syscall.ESRCH // clearer than a missing file
	}
	if errno != 0 {
		return kernel.PIDStat{}, fmt.Errorf("process %d: %w", pid, errno)
	}
	st, ok := kernel.ParsePIDStat(b)
	if !ok {
		return kernel.PIDStat{}, fmt.Errorf("process %d: %w", pid, ErrStat)
	}
	if b, errno := s.Read(pid, "status"); errno == 0 {
		if tgid := kernel.ParseStatus(b).Tgid; tgid.OK && tgid.N != uint64(pid) {
			return kernel.PIDStat{}, fmt.Errorf("%d is a thread of process %d", pid, tgid.N)
		}
	}
	return st, nil
}

// ErrStat is returned if the stat file of a process cannot be parsed.
var ErrStat = errors.New("its stat file cannot be understood")

// A Scanner reads the directory of processes, and files of single processes. It is not safe
// for concurrent use.
type Scanner struct {
	Dir  File
	ents [32 << 10]byte
	path [64]byte
	buf  [16 << 10]byte // large enough for a whole file, such as status, in one read

	Counts Counts // of the last scan

	sizedFiles bool // the size of a directory fd is the number of its entries
	countFiles bool // it is not
}

// NewScanner returns a scanner of a directory such as /proc. It opens nothing yet.
func NewScanner(dir string) *Scanner { return &Scanner{Dir: File{Path: dir}} }

// Close closes the directory. The next call of Scan or Open opens it again.
func (s *Scanner) Close() { s.Dir.Close() }

// Each calls visit with the id of each process. The directory must be open.
func (s *Scanner) Each(visit func(pid int)) error {
	if _, err := syscall.Seek(s.Dir.fd-1, 0, 0); err != nil {
		return err
	}
	return readPIDs(s.Dir.fd-1, s.ents[:], func(pid int, _ []byte) { visit(pid) })
}

// ReadThread reads a file of a thread. The next read overwrites the result. The directory
// must be open.
func (s *Scanner) ReadThread(pid, tid int, name string) ([]byte, syscall.Errno) {
	s.setThreadPath(pid, tid, name)
	return s.readPath()
}

// Children calls visit with each child of a thread, which must not use the Scanner. A list
// that is read while children are reaped may lack others: if one of the listed ones is not
// a child any more afterwards, the list may be incomplete. The error is ENOENT if the kernel
// was built without CONFIG_PROC_CHILDREN. The directory must be open.
func (s *Scanner) Children(pid, tid int, visit func(pid int)) syscall.Errno {
	s.setThreadPath(pid, tid, "children")
	fd, errno := s.openPath(syscall.O_RDONLY)
	if errno != 0 {
		return errno
	}
	defer syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	rest := 0 // the bytes of a number that is not complete
	for {
		n, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[rest])), uintptr(len(s.buf)-rest))
		if errno != 0 || n == 0 {
			return errno
		}
		text := s.buf[:rest+int(n)]
		whole := bytes.LastIndexByte(text, ' ') + 1
		kernel.ParseChildren(text[:whole], visit)
		rest = copy(s.buf[:], text[whole:])
	}
}

// Entries returns how many entries of a directory of a process are numbers, and calls visit
// with each, unless visit is nil. The directory of processes must be open.
func (s *Scanner) Entries(pid int, dir string, visit func(n int)) (int, syscall.Errno) {
	s.setPath(pid, dir)
	fd, errno := s.openPath(syscall.O_RDONLY | syscall.O_DIRECTORY)
	if errno != 0 {
		return 0, errno
	}
	n := 0
	err := readPIDs(int(fd), s.ents[:], func(id int, _ []byte) {
		n++
		if visit != nil {
			visit(id)
		}
	})
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if err != nil {
		errno, _ = err.(syscall.Errno)
	}
	return n, errno
}

// OpenFiles returns the number of open files of a process. Since Linux 6.2 that is the
// size of its directory fd. Before, the size is 0, and the entries are counted.
func (s *Scanner) OpenFiles(pid int) (int, syscall.Errno) {
	if !s.countFiles {
		size, errno := s.size(pid, "fd")
		switch {
		case errno == unix.ENOSYS || errno == unix.EPERM: // before Linux 4.11, or a container's filter
			s.countFiles = true
		case errno != 0:
			return 0, errno
		case s.sizedFiles, size > 0 && s.isProc():
			s.sizedFiles = true
			return size, 0
		}
	}
	own := pid == os.Getpid() && s.Dir.Path == "/proc"
	n, errno := s.Entries(pid, "fd", nil)
	if n > 0 {
		s.countFiles = true
		if own {
			n-- // the descriptor that reads the directory
		}
	}
	return n, errno
}

// size returns the size of a file or directory of a process. System calls are made
// directly, as package unix copies the path for each.
func (s *Scanner) size(pid int, name string) (int, syscall.Errno) {
	s.setPath(pid, name)
	var st unix.Statx_t
	_, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(s.Dir.fd-1), uintptr(unsafe.Pointer(&s.path[0])), 0,
		unix.STATX_SIZE, uintptr(unsafe.Pointer(&st)), 0)
	return int(st.Size), errno
}

// isProc reports whether the directory is a proc file system, not a copy of one.
func (s *Scanner) isProc() bool {
	var st unix.Statfs_t
	return unix.Fstatfs(s.Dir.fd-1, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// Counts are numbers of processes: in total, and by state in the order of States.
type Counts struct {
	N      uint64
	States [len(States)]uint64
}

// Scan counts the processes, and calls visit, unless it is nil, with the id and the stat file
// of each. The next process overwrites stat.
func (s *Scanner) Scan(visit func(pid int, stat []byte)) error {
	s.Counts = Counts{}
	if err := s.Open(); err != nil {
		return err
	}
	fd := s.Dir.fd - 1
	if _, err := syscall.Seek(fd, 0, 0); err != nil {
		s.Dir.Close()
		return &fs.PathError{Op: "seek", Path: s.Dir.Path, Err: err}
	}
	var first error
	err := readPIDs(fd, s.ents[:], func(pid int, name []byte) {
		n := copy(s.path[:], name)
		copy(s.path[n:], "/stat\x00")
		stat, errno := s.readPath()
		if errno != 0 {
			if !Gone(errno) && first == nil {
				first = &fs.PathError{Op: "read", Path: s.Dir.Path + "/PID/stat", Err: errno}
			}
			return
		}
		s.Counts.add(kernel.ParsePIDState(stat))
		if visit != nil {
			visit(pid, stat)
		}
	})
	if err != nil {
		s.Dir.Close()
		return &fs.PathError{Op: "readdir", Path: s.Dir.Path, Err: err}
	}
	return first
}

// Open opens the directory of processes unless it is open.
func (s *Scanner) Open() error {
	if s.Dir.fd == 0 {
		fd, err := Open(s.Dir.Path)
		if err != nil {
			return &fs.PathError{Op: "open", Path: s.Dir.Path, Err: err}
		}
		s.Dir.fd = fd + 1
	}
	return nil
}

// add counts a process of this state.
func (c *Counts) add(state byte) {
	c.N++
	switch state {
	case 'D':
		c.States[0]++
	case 'R':
		c.States[1]++
	case 'S':
		c.States[2]++
	case 'T', 't': // t: stopped by a debugger
		c.States[3]++
	case 'Z':
		c.States[4]++
	case 'I':
		c.States[5]++
	}
}

// readPIDs calls visit with each entry of a directory that is a number below 10^10, and its
// digits.
func readPIDs(fd int, ents []byte, visit func(pid int, name []byte)) error {
	for {
		n, err := syscall.ReadDirent(fd, ents)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		for name, b := NextDirent(ents[:n]); name != nil; name, b = NextDirent(b) {
			pid, i := 0, 0
			for i < len(name) && i < 10 && name[i]-'0' <= 9 {
				pid = pid*10 + int(name[i]-'0')
				i++
			}
			if i == 0 || i == len(name) || name[i] != 0 {
				continue
			}
			visit(pid, name[:i])
		}
	}
}

// NextDirent cuts the first entry off the entries that getdents64(2) returned. name is
// followed by at least one zero byte, and nil if there are no more entries.
func NextDirent(b []byte) (name, rest []byte) {
	const reclenOffset, nameOffset, minSize = unsafe.Offsetof(unix.Dirent{}.Reclen), unsafe.Offsetof(unix.Dirent{}.Name), 24
	if len(b) < minSize {
		return nil, nil
	}
	size := int(*(*uint16)(unsafe.Pointer(&b[reclenOffset])))
	if size < minSize || size > len(b) {
		return nil, nil
	}
	return b[nameOffset:size], b[size:]
}

// setPath sets the path to a file of a process, relative to the directory of processes.
func (s *Scanner) setPath(pid int, name string) {
	b := strconv.AppendInt(s.path[:0], int64(pid), 10)
	b = append(append(append(b, '/'), name...), 0)
	copy(s.path[:], b)
}

// Read reads a file of a process. The next read overwrites the result. The directory must be
// open.
func (s *Scanner) Read(pid int, name string) ([]byte, syscall.Errno) {
	s.setPath(pid, name)
	return s.readPath()
}

// readPath reads the file at the path with one read. It makes system calls directly, as
// package syscall copies the path in each call.
func (s *Scanner) readPath() ([]byte, syscall.Errno) {
	fd, errno := s.openPath(syscall.O_RDONLY)
	if errno != 0 {
		return nil, errno
	}
	m, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return s.buf[:m], 0
}

// openPath opens the file or directory at the path.
func (s *Scanner) openPath(flags uintptr) (fd uintptr, errno syscall.Errno) {
	fd, _, errno = syscall.Syscall6(syscall.SYS_OPENAT, uintptr(s.Dir.fd-1), uintptr(unsafe.Pointer(&s.path[0])),
		flags|syscall.O_CLOEXEC, 0, 0, 0)
	return fd, errno
}

// setThreadPath sets the path to a file of a thread.
func (s *Scanner) setThreadPath(pid, tid int, name string) {
	b := strconv.AppendInt(s.path[:0], int64(pid), 10)
	b = strconv.AppendInt(append(b, "/task/"...), int64(tid), 10)
	b = append(append(append(b, '/'), name...), 0)
	copy(s.path[:], b)
}
