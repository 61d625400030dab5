//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

// endTimeout bounds the wait for the holder of a pid file to end, which takes at most
// 2 s.
const endTimeout = 10 * time.Second

// pidfile is a file with the pid of its holder, which holds a record lock on a second
// file. Only the lock determines the holder, not the content of the file: the kernel
// knows the holder of the lock and releases it when the process ends in any way. The
// lock is on a second file because all users may read the pid file, and a reader could
// lock it. Earlier versions locked the pid file itself, so that lock is checked too, and
// taken if possible. The files are never removed: a process that waits for a lock would
// then lock a file that no other process finds.
type pidfile struct {
	f    *os.File
	lock *os.File // nil if it may not be created: then f is locked
}

// lockName returns the name of the file that the holder of a pid file locks.
func lockName(path string) string { return path + ".lock" }

// lockPidfile locks a pid file. With replace it first ends the process that holds it.
func lockPidfile(ctx context.Context, path string, replace bool) (*pidfile, error) {
	for {
		p, err := openBoth(path)
		if err != nil {
			return nil, err
		}
		if holder, err := p.take(); err != nil {
			p.close()
			switch {
			case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES):
				return nil, command.Errorf(command.IOErr, "--pidfile %s: %w", path, err)
			case holder < 0:
				return nil, errUnseen(path)
			case !replace && holder > 0:
				return nil, command.Errorf(command.Unavailable, "--pidfile %s: held by process %d, which is running", path, holder)
			case !replace:
				continue // just released
			}
			if _, err := end(ctx, path); err != nil {
				return nil, err
			}
			continue
		}
		// The files may have been replaced before they were locked.
		if !inPlace(p.f, path) || p.lock != nil && !inPlace(p.lock, lockName(path)) {
			p.close()
			continue
		}
		err = p.f.Truncate(0)
		if err == nil {
			_, err = p.f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		}
		if err != nil {
			p.close()
			return nil, command.Errorf(command.IOErr, "--pidfile %s: %w", path, err)
		}
		return p, nil
	}
}

// openBoth opens a pid file and its lock file.
func openBoth(path string) (*pidfile, error) {
	f, err := openPidfile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	// Earlier versions created it with mode 0600. Chmod ignores the umask.
	if st, err := f.Stat(); err == nil && st.Mode().Perm() == 0o600 {
		_ = f.Chmod(0o644)
	}
	lock, err := openPidfile(lockName(path), os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS):
		lock = nil // the folder belongs to another user
	case err != nil:
		f.Close()
		return nil, err
	}
	return &pidfile{f, lock}, nil
}

// take takes the locks. If one is held, it returns an error and the pid of the
// holder, or 0 if it has been released since.
func (p *pidfile) take() (holder int, err error) {
	if p.lock != nil {
		if err := setLock(p.lock); err != nil {
			return lockedBy(p.lock, syscall.F_WRLCK), err
		}
	}
	if err := setLock(p.f); err != nil {
		if p.lock == nil {
			return lockedBy(p.f, syscall.F_WRLCK), err
		}
		// Any process that can read the file can hold a lock for reading.
		if pid := lockedBy(p.f, syscall.F_RDLCK); pid != 0 {
			return pid, err
		}
	}
	return 0, nil
}

// inPlace reports whether path names the open file f.
func inPlace(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// openPidfile opens a regular file. It follows no symbolic link, which another user
// may have created.
func openPidfile(path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, command.Errorf(command.IOErr, "--pidfile: %w", err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, command.Errorf(command.IOErr, "--pidfile %s is not a regular file", path)
	}
	return f, nil
}

// release empties the file and releases the locks.
func (p *pidfile) release() {
	_ = p.f.Truncate(0)
	p.close()
}

func (p *pidfile) close() {
	p.f.Close()
	if p.lock != nil {
		p.lock.Close()
	}
}

// setLock locks a file for this process. The kernel reports the holder of a record
// lock.
func setLock(f *os.File) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
}

// lockedBy returns the process that holds a lock that conflicts with one of type how
// (reading or writing), 0 if there is none.
func lockedBy(f *os.File, how int16) int {
	lock := syscall.Flock_t{Type: how}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// holder returns the process that holds a pid file, 0 if there is none.
func holder(path string) (pid int, err error) {
	for _, name := range []string{lockName(path), path} {
		f, err := openPidfile(name, os.O_RDWR, 0)
		if _, e := os.Stat(filepath.Dir(path)); errors.Is(err, os.ErrNotExist) && e == nil {
			continue
		}
		if err != nil {
			return 0, err
		}
		how := int16(syscall.F_WRLCK)
		if name == path {
			how = syscall.F_RDLCK // see take
		}
		pid := lockedBy(f, how)
		f.Close()
		if pid != 0 {
			return pid, nil
		}
	}
	return 0, nil
}

// end sends SIGTERM to the process that holds a pid file and waits until it releases
// it. It returns the pid, 0 if no process holds the file.
func end(ctx context.Context, path string) (int, error) {
	ctx, stop := context.WithTimeout(ctx, endTimeout)
	defer stop()
	asked := 0
	for {
		pid, err := holder(path)
		switch {
		case err != nil:
			return 0, err
		case pid == 0:
			return asked, nil
		case pid < 0:
			return 0, errUnseen(path)
		case pid != asked:
			if err := terminate(pid, func() bool { p, _ := holder(path); return p == pid }); err != nil {
				return 0, command.Errorf(command.Unavailable, "--pidfile %s: process %d: %w", path, pid, err)
			}
			asked = pid
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			if context.Cause(ctx) == errStopped {
				return 0, errStopped
			}
			return 0, command.Errorf(command.Unavailable, "--pidfile %s: process %d got SIGTERM and still runs", path, pid)
		}
	}
}

// errUnseen returns the error for a holder in another pid namespace.
func errUnseen(path string) error {
	return command.Errorf(command.Unavailable, "--pidfile %s: held by a process of another pid namespace", path)
}

// stopHolder is --stop.
func stopHolder(ctx context.Context, path string, stderr io.Writer) error {
	pid, err := end(ctx, path)
	if err == nil && pid == 0 {
		fmt.Fprintf(stderr, "%s: --pidfile %s: no process holds it\n", name, path)
	}
	return err
}
