package procinfo

import (
	"errors"
	"io/fs"
	"syscall"
	"unsafe"
)

// file is a file that is read again and again: it is opened once and read from
// the start each time.
type file struct {
	path string
	fd   int // 0 for none; a descriptor is kept plus one
}

// read reads the whole file into buf, which grows.
func (f *file) read(buf []byte) ([]byte, error) {
	fresh := f.fd == 0
	for {
		if f.fd == 0 {
			fd, err := open(f.path)
			if err != nil {
				return buf[:0], &fs.PathError{Op: "open", Path: f.path, Err: err}
			}
			f.fd = fd + 1
		}
		b, err := preadAll(f.fd-1, buf)
		if err == nil {
			return b, nil
		}
		buf = b
		f.close()
		// What has gone stale (a device, lxcfs restarted) may be there anew.
		if fresh {
			return buf[:0], &fs.PathError{Op: "read", Path: f.path, Err: err}
		}
		fresh = true
	}
}

func (f *file) close() {
	if f.fd != 0 {
		syscall.Close(f.fd - 1)
		f.fd = 0
	}
}

func open(path string) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// preadAll reads from the start until nothing comes: a file of /proc gives at
// most a page at a time, on lines' boundaries.
func preadAll(fd int, buf []byte) ([]byte, error) {
	buf = buf[:cap(buf)]
	n := 0
	for {
		if len(buf)-n < 4096 {
			buf = append(buf, make([]byte, len(buf)+16<<10)...)
			buf = buf[:cap(buf)]
		}
		m, err := syscall.Pread(fd, buf[n:], int64(n))
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return buf[:0], err
		case m <= 0:
			return buf[:n], nil
		default:
			n += m
		}
	}
}

// gone reports whether an error means that a thing is not there (any more).
func gone(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.EOPNOTSUPP) // PSI switched off
}

// procScan reads the directory of processes.
type procScan struct {
	dir  file
	ents [32 << 10]byte
	path [32]byte
	stat [2048]byte
}

// scan calls visit with the pid and the stat file of every process. What stat
// refers to is overwritten by the next.
func (s *procScan) scan(visit func(pid int, stat []byte)) error {
	if s.dir.fd == 0 {
		fd, err := open(s.dir.path)
		if err != nil {
			return &fs.PathError{Op: "open", Path: s.dir.path, Err: err}
		}
		s.dir.fd = fd + 1
	}
	fd := s.dir.fd - 1
	if _, err := syscall.Seek(fd, 0, 0); err != nil {
		s.dir.close()
		return &fs.PathError{Op: "seek", Path: s.dir.path, Err: err}
	}
	var first error
	for {
		n, err := syscall.ReadDirent(fd, s.ents[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			s.dir.close()
			return &fs.PathError{Op: "readdir", Path: s.dir.path, Err: err}
		}
		if n <= 0 {
			return first
		}
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name.
		for b := s.ents[:n]; len(b) >= 20; {
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
			stat, errno := s.readStat(fd, name[:i])
			if errno != 0 {
				if !gone(errno) && first == nil {
					first = &fs.PathError{Op: "read", Path: s.dir.path + "/PID/stat", Err: errno}
				}
				continue
			}
			visit(pid, stat)
		}
	}
}

// readStat reads PID/stat below the directory. System calls are made directly,
// as package syscall copies the path for each.
func (s *procScan) readStat(dir int, pid []byte) ([]byte, syscall.Errno) {
	n := copy(s.path[:], pid)
	copy(s.path[n:], "/stat\x00")
	fd, _, errno := syscall.Syscall6(syscall.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&s.path[0])),
		syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	m, _, errno := syscall.Syscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.stat[0])), uintptr(len(s.stat)))
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return s.stat[:m], 0
}
