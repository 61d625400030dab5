package httpstats

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// maxPending is the maximum number of bytes that wait for a slow disk.
const maxPending = 1 << 20

// maxFree is the largest buffer that is kept for reuse, in bytes.
const maxFree = 64 << 10

// LogFile is an access log in a file. It is safe for concurrent use.
//
// A request waits at most for the write of its own line. While another line is
// written it does not wait: its line is written after that, in the background. Up to
// 1 MiB of lines waits for a slow disk; lines beyond that are lost and counted. There
// is no fsync.
type LogFile struct {
	path   string
	format func([]byte, *Record) []byte

	mu      sync.Mutex
	idle    sync.Cond // writing became false
	pending []byte
	writing bool
	closed  bool
	errors  uint64
	last    error

	// file guards the fields below. Lock it before mu. Only the goroutine that set
	// writing writes.
	file sync.Mutex
	f    *os.File
	torn bool   // the file ends within a line
	free []byte // for pending
}

// OpenLogFile opens a log for appending, or creates it with mode 0640. The format
// is [AppendJSON], [AppendCombined] or a function of the program; a line end is added.
// A named pipe without a reader is an error.
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
	// Without O_NONBLOCK opening a named pipe without a reader would hang.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, fmt.Errorf("httpstats: access log: %w", err)
	}
	return f, nil
}

// Log writes a line, for [Options].Log. It never fails: lines that could not be
// written are counted, see [LogFile.Errors].
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

// write writes the pending lines, and reports whether there are more by then; if not,
// it resets writing.
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

// Reopen opens the file at its path again and continues there: call it after the file
// has been renamed, such as on SIGHUP. No line is lost or torn. If the file cannot be
// opened, the old one stays in use. Reopen waits for a write under way; requests do
// not.
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

// Errors returns the number of lines that could not be written as a whole, and the
// last error.
func (l *LogFile) Errors() (lines uint64, last error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors, l.last
}

// Close writes the pending lines and closes the file. Lines logged later are lost and
// counted. The error is that of closing the file; a second Close returns nil.
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
