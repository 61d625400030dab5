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

	"github.com/apmon-go/apmon/internal/backoff"
)

const (
	// maxPoll is the time between two checks of a file. It is less if windows are
	// short, so that no line is late even if the file is rotated.
	maxPoll = 500 * time.Millisecond
	// drain bounds reading a file after it was rotated, while it grows: a server
	// writes to it until it has reopened its log.
	drain = 10 * time.Second
	// letGo is the time after which a file that was removed from its path and does
	// not grow is closed: while it is open it uses disk space.
	letGo = time.Minute
	// maxTail is the number of bytes by which a file and its copy are recognized.
	maxTail = 1 << 10
)

// file follows the file at a path.
type file struct {
	l     *Log
	path  string
	lines *lines

	f       *os.File // nil for none
	info    os.FileInfo
	offset  int64
	tail    []byte    // the bytes before the offset, up to maxTail
	fromEnd bool      // the file that exists at first is not read
	rotated time.Time // when another file was found at the path; zero if none was
	gone    time.Time // when the file was missing at its path, or last grew since; zero if it exists
}

// follow reads a file as it grows, and the files that replace it.
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
		// A file that does not exist at first is new when it appears.
		f.fromEnd = f.fromEnd && err != nil && !errors.Is(err, fs.ErrNotExist)
		backoff.Sleep(ctx, min(maxPoll, l.grace/4))
	}
}

func (f *file) close() {
	if f.f != nil {
		f.f.Close()
		f.lines.end(false)
	}
	f.f, f.rotated, f.gone = nil, time.Time{}, time.Time{}
}

// poll reads the new lines. An error means that the file cannot be read.
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
		// Deleted, or renamed before the new file exists.
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
		// The old file is complete, or its time is over.
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

// openRegular opens a file and returns an error if it is not a regular file.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	// Check the file type before opening: opening a FIFO would unblock its writer.
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file; give a pipe as standard input", path)
	}
	// It may be a FIFO by now: opening one without a writer would block.
	opened, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := opened.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		opened.Close()
		return nil, nil, err
	}
	return opened, info, nil
}

// toEnd seeks to the end of the file; the rest of a line that is incomplete there will be
// skipped.
func (f *file) toEnd(opened *os.File, size int64) error {
	tail := make([]byte, min(size, maxTail))
	n, err := opened.ReadAt(tail, size-int64(len(tail)))
	if err != nil && err != io.EOF {
		return err
	}
	if n < len(tail) { // truncated since
		size, tail = 0, nil
	}
	f.lines.skip = len(tail) > 0 && tail[len(tail)-1] != '\n'
	f.tail = append(f.tail[:0], tail...)
	f.offset, err = opened.Seek(size, io.SeekStart)
	return err
}

// read reads to the end of the file, from its beginning if it was truncated.
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

// toEOF reads all lines.
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

// Read reads the file, and keeps the tail of the bytes it has read.
func (f *file) Read(b []byte) (int, error) {
	n, err := f.f.Read(b)
	f.offset += int64(n)
	if over := len(f.tail) + n - maxTail; over > 0 {
		f.tail = slices.Delete(f.tail, 0, min(over, len(f.tail)))
	}
	f.tail = append(f.tail, b[max(0, n-maxTail):n]...)
	return n, err
}

// truncated reports whether the file no longer holds the bytes that were read: it is
// shorter, or was shorter and has grown since.
func (f *file) truncated() (bool, error) {
	info, err := f.f.Stat()
	if err != nil || info.Size() < f.offset {
		return err == nil, err
	}
	holds, err := f.isOf(f.f)
	return !holds, err
}

// isOf reports whether a file holds the tail at its offset.
func (f *file) isOf(r io.ReaderAt) (bool, error) {
	var buf [maxTail]byte
	b := buf[:len(f.tail)]
	n, err := r.ReadAt(b, f.offset-int64(len(b)))
	if err != nil && err != io.EOF {
		return false, err
	}
	return n == len(b) && bytes.Equal(b, f.tail), nil
}

// readCopy reads the lines after the offset from a copy in the same folder that was
// made before the truncation, as logrotate does with copytruncate. The name of the copy
// begins like that of the file, and the copy has the same bytes before the offset.
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

// isCopy reports whether a file is the copy, and if so reads the rest of it.
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
	// After an error lines may be lost; the truncation is counted in any case.
	_ = f.toEOF(ctx, c)
	return true
}
