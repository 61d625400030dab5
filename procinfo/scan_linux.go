package procinfo

import (
	"io/fs"
	"strconv"
	"syscall"
	"unsafe"
)

// procScan reads the directory of processes, and files of single ones.
type procScan struct {
	dir  file
	ents [32 << 10]byte
	path [64]byte
	buf  [16 << 10]byte // a file: such as status comes whole in one read

	counts processCounts // of the last scan
}

// processCounts are how many processes there are, in all and by state.
type processCounts struct {
	n      uint64
	states [len(processStates)]uint64
}

// scan counts the processes and calls visit, if there is one, with the pid and
// the stat file of every process. What stat refers to is overwritten by the next.
func (s *procScan) scan(visit func(pid int, stat []byte)) error {
	s.counts = processCounts{}
	if err := s.open(); err != nil {
		return err
	}
	fd := s.dir.fd - 1
	if _, err := syscall.Seek(fd, 0, 0); err != nil {
		s.dir.close()
		return &fs.PathError{Op: "seek", Path: s.dir.path, Err: err}
	}
	var first error
	err := readPIDs(fd, s.ents[:], func(pid int, name []byte) {
		n := copy(s.path[:], name)
		copy(s.path[n:], "/stat\x00")
		stat, errno := s.readPath()
		if errno != 0 {
			if !gone(errno) && first == nil {
				first = &fs.PathError{Op: "read", Path: s.dir.path + "/PID/stat", Err: errno}
			}
			return
		}
		s.counts.add(parseProcState(stat))
		if visit != nil {
			visit(pid, stat)
		}
	})
	if err != nil {
		s.dir.close()
		return &fs.PathError{Op: "readdir", Path: s.dir.path, Err: err}
	}
	return first
}

// open opens the directory of processes unless it is open.
func (s *procScan) open() error {
	if s.dir.fd == 0 {
		fd, err := open(s.dir.path)
		if err != nil {
			return &fs.PathError{Op: "open", Path: s.dir.path, Err: err}
		}
		s.dir.fd = fd + 1
	}
	return nil
}

// add counts a process of this state.
func (c *processCounts) add(state byte) {
	c.n++
	switch state {
	case 'D':
		c.states[0]++
	case 'R':
		c.states[1]++
	case 'S':
		c.states[2]++
	case 'T', 't': // t: by a debugger
		c.states[3]++
	case 'Z':
		c.states[4]++
	case 'I':
		c.states[5]++
	}
}

// readPIDs calls visit for each entry of a directory that is a number below
// 10^10; name is its digits.
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
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name.
		for b := ents[:n]; len(b) >= 20; {
			size := int(*(*uint16)(unsafe.Pointer(&b[16])))
			if size < 20 || size > len(b) {
				break
			}
			name := b[19:size]
			b = b[size:]
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

// setPath sets the path to a file of a process, below the directory of
// processes.
func (s *procScan) setPath(pid int, name string) {
	b := strconv.AppendInt(s.path[:0], int64(pid), 10)
	b = append(append(append(b, '/'), name...), 0)
	copy(s.path[:], b)
}

// read reads a file of a process; what it returns is overwritten by the next.
func (s *procScan) read(pid int, name string) ([]byte, syscall.Errno) {
	s.setPath(pid, name)
	return s.readPath()
}

// readPath reads the file at the path with one read. System calls are made
// directly, as package syscall copies the path for each.
func (s *procScan) readPath() ([]byte, syscall.Errno) {
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

// openPath opens what is at the path.
func (s *procScan) openPath(flags uintptr) (fd uintptr, errno syscall.Errno) {
	fd, _, errno = syscall.Syscall6(syscall.SYS_OPENAT, uintptr(s.dir.fd-1), uintptr(unsafe.Pointer(&s.path[0])),
		flags|syscall.O_CLOEXEC, 0, 0, 0)
	return fd, errno
}

// setThreadPath sets the path to a file of a thread.
func (s *procScan) setThreadPath(pid, tid int, name string) {
	b := strconv.AppendInt(s.path[:0], int64(pid), 10)
	b = strconv.AppendInt(append(b, "/task/"...), int64(tid), 10)
	b = append(append(append(b, '/'), name...), 0)
	copy(s.path[:], b)
}
