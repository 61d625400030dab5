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

// endTimeout is how long the holder of a pid file is waited for. It needs 2 s
// at most.
const endTimeout = 10 * time.Second

// pidfile is a file with the pid of its holder, who has locked another one beside
// it. What holds is the lock and not what stands in the file: it goes with the
// process, however that ends, and the kernel knows whose it is. The lock is not
// on the file itself, as everybody may read that, and whoever can read a file can
// lock it, too; but earlier versions locked it, so that lock counts as well, and
// is taken if it can be. The files are left in their place, since one who waits
// for a lock would then hold what nobody else finds.
type pidfile struct {
	f    *os.File
	lock *os.File // nil where it may not be made: then the file itself is locked
}

// lockName is the file that the holder of a pid file locks.
func lockName(path string) string { return path + ".lock" }

// lockPidfile locks the file, and ends who holds it if it is to be replaced.
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
				return nil, command.Errorf(command.Unavailable, "--pidfile %s: held by process %d, which runs", path, holder)
			case !replace:
				continue // it has just been let go
			}
			if _, err := end(ctx, path); err != nil {
				return nil, err
			}
			continue
		}
		// Others may be in their place by now.
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

// openBoth opens a pid file and the file to be locked.
func openBoth(path string) (*pidfile, error) {
	f, err := openPidfile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	// Those of earlier versions are their owner's alone; the umask of a daemon
	// does not matter.
	if st, err := f.Stat(); err == nil && st.Mode().Perm() == 0o600 {
		_ = f.Chmod(0o644)
	}
	lock, err := openPidfile(lockName(path), os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS):
		lock = nil // the folder is another's
	case err != nil:
		f.Close()
		return nil, err
	}
	return &pidfile{f, lock}, nil
}

// take takes the locks, or returns who has one, 0 if nobody has it any more.
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
		// A lock for reading is a reader's, who may be anybody.
		if pid := lockedBy(p.f, syscall.F_RDLCK); pid != 0 {
			return pid, err
		}
	}
	return 0, nil
}

// inPlace reports whether a file that is open is the one with this name.
func inPlace(f *os.File, path string) bool {
	mine, err1 := f.Stat()
	there, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(mine, there)
}

// openPidfile opens nothing but a regular file, and follows no link that
// somebody may have put there.
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

// release empties the file and lets it go.
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

// setLock locks a file for this process. Record locks tell who holds them.
func setLock(f *os.File) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
}

// lockedBy returns the process that has locked a file so that it could not be
// locked for reading or for writing, 0 for none.
func lockedBy(f *os.File, how int16) int {
	lock := syscall.Flock_t{Type: how}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// holder returns the process that holds a pid file, 0 for none.
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

// end ends the process that holds a file, waits until it does no more, and
// returns its pid, 0 for none.
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
			return 0, command.Errorf(command.Unavailable, "--pidfile %s: process %d has been told to end, and still runs", path, pid)
		}
	}
}

// errUnseen is for a holder in another pid namespace.
func errUnseen(path string) error {
	return command.Errorf(command.Unavailable, "--pidfile %s: held by a process that cannot be seen from here", path)
}

// stopHolder is --stop.
func stopHolder(ctx context.Context, path string, stderr io.Writer) error {
	pid, err := end(ctx, path)
	if err == nil && pid == 0 {
		fmt.Fprintf(stderr, "%s: --pidfile %s: nobody holds it\n", name, path)
	}
	return err
}
