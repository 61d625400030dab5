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

// pidfile is a file that its holder has locked. What holds is the lock and not
// what stands in the file: it goes with the process, however that ends, and the
// kernel knows whose it is. The file is left in its place, since one who waits
// for its lock would then hold what nobody else finds.
type pidfile struct{ f *os.File }

// lockPidfile locks the file, and ends who holds it if it is to be replaced.
func lockPidfile(ctx context.Context, path string, replace bool) (*pidfile, error) {
	for {
		f, err := openPidfile(path, os.O_RDWR|os.O_CREATE)
		if err != nil {
			return nil, err
		}
		if err := setLock(f); err != nil {
			holder := holder(f)
			f.Close()
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
		// Another may be in its place by now.
		mine, err1 := f.Stat()
		there, err2 := os.Lstat(path)
		if err1 != nil || err2 != nil || !os.SameFile(mine, there) {
			f.Close()
			continue
		}
		err = f.Truncate(0)
		if err == nil {
			_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
		}
		if err != nil {
			f.Close()
			return nil, command.Errorf(command.IOErr, "--pidfile %s: %w", path, err)
		}
		return &pidfile{f}, nil
	}
}

// openPidfile opens nothing but a regular file, and follows no link that
// somebody may have put there. A new one is its owner's alone: whoever can read
// it can lock it, too.
func openPidfile(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
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
	p.f.Close()
}

// setLock locks a file for this process. Record locks tell who holds them.
func setLock(f *os.File) error {
	return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
}

// holder returns the process that has locked a file, 0 for none.
func holder(f *os.File) int {
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil || lock.Type == syscall.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// end ends the process that holds a file, waits until it does no more, and
// returns its pid, 0 for none.
func end(ctx context.Context, path string) (int, error) {
	ctx, stop := context.WithTimeout(ctx, endTimeout)
	defer stop()
	asked := 0
	for {
		f, err := openPidfile(path, os.O_RDWR)
		if _, e := os.Stat(filepath.Dir(path)); errors.Is(err, os.ErrNotExist) && e == nil {
			return asked, nil
		}
		if err != nil {
			return 0, err
		}
		pid := holder(f)
		switch {
		case pid == 0:
			f.Close()
			return asked, nil
		case pid < 0:
			f.Close()
			return 0, errUnseen(path)
		case pid != asked:
			if err := terminate(pid, func() bool { return holder(f) == pid }); err != nil {
				f.Close()
				return 0, command.Errorf(command.Unavailable, "--pidfile %s: process %d: %w", path, pid, err)
			}
			asked = pid
		}
		f.Close()
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
