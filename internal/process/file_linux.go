package process

import (
	"errors"
	"io/fs"
	"syscall"
)

// A File is a file that is read repeatedly. It is opened once, and read from the start each
// time.
type File struct {
	Path string
	fd   int // the descriptor plus one, 0 if it is not open
}

// Read reads the whole file into buf, and returns buf, which it enlarges if needed. If a
// file that was open cannot be read, it is opened once more. An error is an *fs.PathError.
func (f *File) Read(buf []byte) ([]byte, error) {
	fresh := f.fd == 0
	for {
		if f.fd == 0 {
			fd, err := Open(f.Path)
			if err != nil {
				return buf[:0], &fs.PathError{Op: "open", Path: f.Path, Err: err}
			}
			f.fd = fd + 1
		}
		b, err := preadAll(f.fd-1, buf)
		if err == nil {
			return b, nil
		}
		buf = b
		f.Close()
		// A stale descriptor (a removed device, a restart of lxcfs) may be replaced.
		if fresh {
			return buf[:0], &fs.PathError{Op: "read", Path: f.Path, Err: err}
		}
		fresh = true
	}
}

// Close closes the file. The next Read opens it again.
func (f *File) Close() {
	if f.fd != 0 {
		syscall.Close(f.fd - 1)
		f.fd = 0
	}
}

// Open opens a file for reading, without blocking.
func Open(path string) (fd int, err error) {
	for {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// preadAll reads a file from the start to its end. A read of a file of /proc may return less
// than the rest: at most a page, up to the end of a line.
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

// Gone reports whether an error means that a file or process does not exist, or no more.
func Gone(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.EOPNOTSUPP) // pressure stall information is switched off
}
