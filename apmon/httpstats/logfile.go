package httpstats

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// maxPending is how much is kept for a disk that is behind, in bytes.
const maxPending = 1 << 20

// maxFree is the largest buffer that is kept for later.
const maxFree = 64 << 10

// LogFile is an access log in a file. It is safe for concurrent use.
//
// A request waits for the write of its own line at most, and not at all while
// another writes: its line is then written after that one, in the background. Of
// what a slow disk has not taken 1 MiB is kept; what comes on top is lost, and
// counted. There is no fsync.
type LogFile struct {
	path   string
	format func([]byte, *Record) []byte

	mu      sync.Mutex
	idle    sync.Cond // writing has become false
	pending []byte
	writing bool
	closed  bool
	errors  uint64
	last    error

	// Whoever has set writing may use the file, with this lock. It comes before mu.
	file sync.Mutex
	f    *os.File
	torn bool   // the file ends within a line
	free []byte // for pending
}

// OpenLogFile opens a log to append to, or creates it with mode 0640. The format
// is [AppendJSON], [AppendCombined] or one of your own; a line end is added. A
// named pipe that nobody reads is an error.
func OpenLogFile(path string, format func([]byte, *Record) []byte) (*LogFile, error) {
	f, err := openLog(path)
	if err != nil {
		return nil, err
	}
	l := &LogFile{path: path, format: format, f: f}
	l.idle.L = &l.mu
	return l, nil
}

func openLog(path string) (*os.File, error) {
	// Without O_NONBLOCK opening a named pipe that nobody reads would hang.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("httpstats: access log: %w", err)
	}
	return f, nil
}

// Log writes a line, for [WithLog]. It never fails: what could not be written is
// counted, see [LogFile.Errors].
func (l *LogFile) Log(r *Record) {
	line := append(l.format(make([]byte, 0, 512), r), '\n')
	l.mu.Lock()
	switch {
	case l.closed:
		l.lost(1, fmt.Errorf("httpstats: access log: %w", os.ErrClosed))
		l.mu.Unlock()
		return
	case len(l.pending)+len(line) > maxPending:
		l.lost(1, errors.New("httpstats: access log: the disk is too slow"))
		l.mu.Unlock()
		return
	}
	l.pending = append(l.pending, line...)
	if l.writing {
		l.mu.Unlock()
		return
	}
	l.writing = true
	l.mu.Unlock()
	if l.write() {
		go func() {
			for l.write() {
			}
		}()
	}
}

// lost counts lines that were not written. The caller holds l.mu.
func (l *LogFile) lost(lines int, err error) {
	l.errors += uint64(lines)
	l.last = err
}

// write writes what is pending, and reports whether there is more by then; else
// writing is over.
func (l *LogFile) write() (more bool) {
	l.file.Lock()
	l.mu.Lock()
	b := l.pending
	l.pending = l.free[:0]
	l.mu.Unlock()
	if l.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := l.f.Write(b)
	if n > 0 {
		l.torn = b[n-1] != '\n'
	}
	lost := bytes.Count(b[n:], []byte{'\n'})
	if l.free = b; cap(b) > maxFree {
		l.free = nil
	}
	l.file.Unlock()

	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.lost(lost, err)
	}
	if len(l.pending) > 0 {
		return true
	}
	l.writing = false
	l.idle.Broadcast()
	return false
}

// Reopen opens the file anew by its path, and goes on there: call it when the
// file has been renamed, as upon SIGHUP. No line is lost or torn. If it cannot be
// opened, the old one stays in use. A write that is under way is waited for, by
// Reopen only.
func (l *LogFile) Reopen() error {
	f, err := openLog(l.path)
	if err != nil {
		return err
	}
	l.file.Lock()
	defer l.file.Unlock()
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		_ = f.Close()
		return fmt.Errorf("httpstats: access log: %w", os.ErrClosed)
	}
	old := l.f
	l.f, l.torn = f, false
	if err := old.Close(); err != nil {
		return fmt.Errorf("httpstats: access log: %w", err)
	}
	return nil
}

// Errors returns how many lines could not be written, or not whole, and why the
// last could not.
func (l *LogFile) Errors() (lines uint64, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors, l.last
}

// Close writes what is pending, and closes the file. What is logged after that is
// lost, and counted. The error is that of closing; a second Close has none.
func (l *LogFile) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for l.writing {
		l.idle.Wait()
	}
	l.mu.Unlock()
	l.file.Lock()
	defer l.file.Unlock()
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("httpstats: access log: %w", err)
	}
	return nil
}
