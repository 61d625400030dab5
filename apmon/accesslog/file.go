package accesslog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	// maxTail is how many bytes are remembered to know a file by, and its copy.
	maxTail = 1 << 10
)

// file is what is followed at a path.
type file struct {
	l     *Log
	path  string
	lines *lines

	f       *os.File // nil for none
	info    os.FileInfo
	offset  int64
	tail    []byte    // what stands before the offset, up to maxTail
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
	opened, info, err := openRegular(f.path)
	if err != nil {
		return err
	}
	f.offset, f.tail = 0, f.tail[:0]
	if f.fromEnd {
		if err := f.toEnd(opened, info.Size()); err != nil {
			opened.Close()
			return err
		}
	}
	f.f, f.info, f.fromEnd = opened, info, false
	return nil
}

// openRegular opens a regular file, and nothing else.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	// Who writes to a pipe shall not be let in for a moment.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no file; give a pipe as standard input", path)
	}
	// It may have become a named pipe: to open one that nobody writes to would
	// wait for ever.
	opened, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		opened.Close()
		return nil, nil, err
	}
	return opened, info, nil
}

// toEnd goes to the end, or if that is in the middle of a line, to the end of
// that.
func (f *file) toEnd(opened *os.File, size int64) error {
	tail := make([]byte, min(size, maxTail))
	n, err := opened.ReadAt(tail, size-int64(len(tail)))
	if err != nil && err != io.EOF {
		return err
	}
	if n < len(tail) { // it was truncated just now
		size, tail = 0, nil
	}
	f.lines.skip = len(tail) > 0 && tail[len(tail)-1] != '\n'
	f.tail = append(f.tail[:0], tail...)
	f.offset, err = opened.Seek(size, io.SeekStart)
	return err
}

// read reads to the end of the file, from the beginning again if it was
// truncated.
func (f *file) read(ctx context.Context) error {
	truncated, err := f.truncated()
	if err != nil {
		return err
	}
	if truncated {
		f.readCopy(ctx)
		f.lines.end(false)
		f.l.truncated()
		f.tail = f.tail[:0]
		if f.offset, err = f.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return f.toEOF(ctx, f)
}

// toEOF takes all lines that there are.
func (f *file) toEOF(ctx context.Context, r io.Reader) error {
	for ctx.Err() == nil {
		_, err := f.lines.read(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Read reads on in the file, and remembers the end of what it has read.
func (f *file) Read(b []byte) (int, error) {
	n, err := f.f.Read(b)
	f.offset += int64(n)
	if over := len(f.tail) + n - maxTail; over > 0 {
		f.tail = slices.Delete(f.tail, 0, min(over, len(f.tail)))
	}
	f.tail = append(f.tail, b[max(0, n-maxTail):n]...)
	return n, err
}

// truncated reports whether the file no longer holds what was read of it: it is
// shorter, or has been, and has grown since.
func (f *file) truncated() (bool, error) {
	info, err := f.f.Stat()
	if err != nil || info.Size() < f.offset {
		return err == nil, err
	}
	holds, err := f.isOf(f.f)
	return !holds, err
}

// isOf reports whether a file holds what was read last, at the same place.
func (f *file) isOf(r io.ReaderAt) (bool, error) {
	var buf [maxTail]byte
	b := buf[:len(f.tail)]
	n, err := r.ReadAt(b, f.offset-int64(len(b)))
	if err != nil && err != io.EOF {
		return false, err
	}
	return n == len(b) && bytes.Equal(b, f.tail), nil
}

// readCopy reads what the file held behind the offset before it was truncated, if
// it was copied beside itself first, as logrotate does (copytruncate): the copy
// has a name that begins as the file's, and the same bytes before the offset.
func (f *file) readCopy(ctx context.Context) {
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil {
		return
	}
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return
	}
	for _, e := range entries {
		// access.log.1, access.log-20261121, access-20261121.log
		if !strings.HasPrefix(e.Name(), strings.TrimSuffix(name, filepath.Ext(name))) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err != nil || info.Size() < f.offset || os.SameFile(info, f.info) {
			continue
		}
		if f.isCopy(ctx, dir+e.Name()) {
			return
		}
	}
}

// isCopy reports whether a file is the copy, and if it is, reads the rest of it.
func (f *file) isCopy(ctx context.Context, path string) bool {
	c, _, err := openRegular(path)
	if err != nil {
		return false
	}
	defer c.Close()
	if is, err := f.isOf(c); err != nil || !is {
		return false
	}
	if _, err := c.Seek(f.offset, io.SeekStart); err != nil {
		return false
	}
	// An error ends it as the end of the file does: the truncation is counted.
	_ = f.toEOF(ctx, c)
	return true
}
