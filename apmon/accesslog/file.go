package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

const (
	// maxPoll is how often a file is looked at; more often where windows are
	// short, so that nothing comes too late even if it is rotated.
	maxPoll = 500 * time.Millisecond
	// drain is how long a file that was rotated is read on at most, as long as
	// it grows: a server goes on writing to it until it has reopened its log.
	drain = 10 * time.Second
	// letGo is how long a file that is no longer at its path is kept open
	// without growing: it may take disk space that nobody else sees.
	letGo = time.Minute
)

// file is what is followed at a path.
type file struct {
	l     *Log
	path  string
	lines *lines

	f       *os.File // nil for none
	info    os.FileInfo
	offset  int64
	fromEnd bool      // that what is there at first is not read
	rotated time.Time // when another file was found at the path; zero if not
	gone    time.Time // when there was none any more, or when the file grew since; zero if there is
}

// follow reads a file as it grows, and what takes its place.
func (l *Log) follow(ctx context.Context, path string) {
	f := &file{l: l, path: path, lines: newLines(l), fromEnd: !l.opt.FromStart}
	defer f.close()
	for ctx.Err() == nil {
		err := f.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			l.current()
		}
		l.state(err)
		// One that is not there at first is new when it comes.
		f.fromEnd = f.fromEnd && err != nil && !errors.Is(err, fs.ErrNotExist)
		sleep(ctx, min(maxPoll, l.grace/4))
	}
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
		f.lines.end(false)
	}
	f.f, f.rotated, f.gone = nil, time.Time{}, time.Time{}
}

// poll reads what has been written since, to the end. An error says that there
// is nothing to read from.
func (f *file) poll(ctx context.Context) error {
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	before := f.offset
	if err := f.read(ctx); err != nil {
		f.close()
		return err
	}
	quiet := f.offset == before

	switch there, err := os.Stat(f.path); {
	case errors.Is(err, fs.ErrNotExist):
		// Renamed, and the new one is not there yet; or deleted.
		f.rotated = time.Time{}
		if f.gone.IsZero() || !quiet {
			f.gone = time.Now()
		}
		if time.Since(f.gone) >= letGo {
			f.close()
			return f.poll(ctx)
		}
		return nil
	case err != nil || os.SameFile(there, f.info):
		f.rotated = time.Time{}
	case f.rotated.IsZero():
		f.rotated = time.Now()
	case quiet || time.Since(f.rotated) >= drain:
		// The old one had its time: nothing came since the last look.
		f.close()
		return f.poll(ctx)
	}
	f.gone = time.Time{}
	return nil
}

// open opens the file at the path.
func (f *file) open() error {
	// Who writes to a pipe shall not be let in for a moment.
	if st, err := os.Stat(f.path); err == nil && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; give a pipe as standard input", f.path)
	}
	// It may have become a named pipe: to open one that nobody writes to would
	// wait for ever.
	opened, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", f.path)
	}
	f.offset = 0
	if err == nil && f.fromEnd {
		f.offset, err = f.toEnd(opened, info.Size())
	}
	if err != nil {
		opened.Close()
		return err
	}
	f.f, f.info, f.fromEnd = opened, info, false
	return nil
}

// toEnd goes to the end, or if that is in the middle of a line, to the end of
// that.
func (f *file) toEnd(opened *os.File, size int64) (int64, error) {
	last := []byte{'\n'}
	if size > 0 {
		if _, err := opened.ReadAt(last, size-1); err != nil && err != io.EOF {
			return 0, err
		}
	}
	f.lines.skip = last[0] != '\n'
	return opened.Seek(size, io.SeekStart)
}

// read reads to the end of the file, from the beginning again if it was
// truncated.
func (f *file) read(ctx context.Context) error {
	info, err := f.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.offset {
		f.lines.end(false)
		if f.offset, err = f.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		n, err := f.lines.read(f.f)
		f.offset += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
