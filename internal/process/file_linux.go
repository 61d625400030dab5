package process

import (
	"errors"
	"io/fs"
	"syscall"
)

// File is a file that is read again and again: it is opened once and read from
// the start each time.
type File struct {
	Path string
	fd   int // 0 for none; a descriptor is kept plus one
}

// Read reads the whole file into buf, which grows.
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
		// What has gone stale (a device, lxcfs restarted) may be there anew.
		if fresh {
			return buf[:0], &fs.PathError{Op: "read", Path: f.Path, Err: err}
		}
		fresh = true
	}
}

func (f *File) Close() {
	if f.fd != 0 {
		syscall.Close(f.fd - 1)
		f.fd = 0
	}
}

func Open(path string) (fd int, err error) {
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

// Gone reports whether an error means that a thing is not there (any more).
func Gone(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.EOPNOTSUPP) // PSI switched off
}
